package oauthtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/resource"
)

func inProcess(_ *testing.T, srv *Server) resource.Verifier { return srv }

func byJWKS(_ *testing.T, srv *Server) resource.Verifier {
	return &resource.JWT{Issuer: srv.Config.Issuer, Transport: srv, Now: srv.Clock.Now}
}

func byIntrospection(ttl time.Duration) func(*testing.T, *Server) resource.Verifier {
	return func(_ *testing.T, srv *Server) resource.Verifier {
		return &resource.Introspection{Issuer: srv.Config.Issuer, ClientID: APIClient, ClientSecret: Secret, TTL: ttl, Transport: srv, Now: srv.Clock.Now}
	}
}

// The three verifiers of the library, for the formats that they can check.
func TestVerifiers(t *testing.T) {
	const never = 30 * time.Minute
	tenant := func(c *oauth.Config) { c.Issuer = "https://as.example/tenant" }
	otherType := func(c *oauth.Config) {
		JWTs(c)
		c.AccessToken = oauth.JWT{Type: "JWT"}
	}
	for _, tt := range []struct {
		name  string
		seen  time.Duration
		open  func(*testing.T, *Server) resource.Verifier
		edits []func(*oauth.Config)
	}{
		{"in process, opaque", 0, inProcess, nil},
		{"in process, JWT", 0, inProcess, []func(*oauth.Config){JWTs}},
		{"JWT", never, byJWKS, []func(*oauth.Config){JWTs}},
		{"JWT, an issuer with a path", never, byJWKS, []func(*oauth.Config){JWTs, tenant}},
		{"JWT, another type", never, func(_ *testing.T, srv *Server) resource.Verifier {
			return &resource.JWT{Issuer: srv.Config.Issuer, Types: []string{"JWT"}, Transport: srv, Now: srv.Clock.Now}
		}, []func(*oauth.Config){otherType}},
		{"introspection, opaque", 5 * time.Second, byIntrospection(0), nil},
		{"introspection, JWT", 5 * time.Second, byIntrospection(0), []func(*oauth.Config){JWTs}},
		{"introspection, nothing kept", 0, byIntrospection(-1), []func(*oauth.Config){tenant}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			TestVerifier(t, tt.seen, tt.open, tt.edits...)
		})
	}
}

// A brokenVerifier is a mistake, and the sentence that finds it.
type brokenVerifier struct {
	name  string
	fails string
	seen  time.Duration
	open  func(srv *Server) resource.Verifier
}

type verify func(ctx context.Context, token string) (*resource.Token, error)

func (f verify) VerifyToken(ctx context.Context, token string) (*resource.Token, error) {
	return f(ctx, token)
}

var errInvalid = &resource.Error{Code: resource.InvalidToken}

func brokenVerifiers() []brokenVerifier {
	// after lets a good verifier answer and then spoils it.
	after := func(spoil func(srv *Server, text string, got *resource.Token, err error) (*resource.Token, error)) func(*Server) resource.Verifier {
		return func(srv *Server) resource.Verifier {
			good := byJWKS(nil, srv)
			return verify(func(ctx context.Context, text string) (*resource.Token, error) {
				got, err := good.VerifyToken(ctx, text)
				return spoil(srv, text, got, err)
			})
		}
	}
	token := func(change func(*resource.Token)) func(*Server) resource.Verifier {
		return after(func(_ *Server, _ string, got *resource.Token, err error) (*resource.Token, error) {
			if got != nil {
				change(got)
			}
			return got, err
		})
	}
	claims := func(text string) *resource.Token { // whatever the signature
		parts := strings.Split(text, ".")
		if len(parts) != 3 {
			return nil
		}
		return &resource.Token{Subject: "alice", ExpiresAt: time.Unix(4e9, 0)}
	}
	return []brokenVerifier{
		{"refuses everything", "a live token is known", 0, func(*Server) resource.Verifier {
			return verify(func(context.Context, string) (*resource.Token, error) { return nil, errInvalid })
		}},
		{"answers nothing", "a live token is known", 0, func(*Server) resource.Verifier {
			return verify(func(context.Context, string) (*resource.Token, error) { return nil, nil })
		}},
		{"another Subject", "a live token is known", 0, token(func(t *resource.Token) { t.Subject = "root" })},
		{"more Scopes", "a live token is known", 0, token(func(t *resource.Token) { t.Scopes = append(t.Scopes, "admin") })},
		{"no Audience", "a live token is known", 0, token(func(t *resource.Token) { t.Audience = nil })},
		{"no ExpiresAt", "a live token is known", 0, token(func(t *resource.Token) { t.ExpiresAt = time.Time{} })},
		{"an ACR of its own", "a live token is known", 0, token(func(t *resource.Token) { t.ACR = "platinum" })},
		{"an AuthTime of its own", "a live token is known", 0, token(func(t *resource.Token) { t.AuthTime = t.IssuedAt })},
		{"a client is its own user", "a token without a user has no Subject", 0, token(func(t *resource.Token) {
			if t.Subject == "" {
				t.Subject = t.ClientID
			}
		})},
		{"shares its Token", "the Token is the caller's own", 0, func(srv *Server) resource.Verifier {
			good, kept := byJWKS(nil, srv), sync.Map{}
			return verify(func(ctx context.Context, text string) (*resource.Token, error) {
				if t, ok := kept.Load(text); ok {
					return t.(*resource.Token), nil
				}
				t, err := good.VerifyToken(ctx, text)
				if err == nil {
					kept.Store(text, t)
				}
				return t, err
			})
		}},
		{"shares its lists", "the Token is the caller's own", 0, func(srv *Server) resource.Verifier {
			good, kept := byJWKS(nil, srv), sync.Map{}
			return verify(func(ctx context.Context, text string) (*resource.Token, error) {
				t, ok := kept.Load(text)
				if !ok {
					first, err := good.VerifyToken(ctx, text)
					if err != nil {
						return nil, err
					}
					t, _ = kept.LoadOrStore(text, first)
				}
				copied := *t.(*resource.Token)
				return &copied, nil
			})
		}},
		{"garbage is an outage", "what is no token is refused", 0, after(func(_ *Server, _ string, got *resource.Token, err error) (*resource.Token, error) {
			if errors.Is(err, resource.InvalidToken) {
				err = errors.New("malformed")
			}
			return got, err
		})},
		{"trims", "what is no token is refused", 0, func(srv *Server) resource.Verifier {
			good := byJWKS(nil, srv)
			return verify(func(ctx context.Context, text string) (*resource.Token, error) {
				return good.VerifyToken(ctx, strings.TrimSpace(text))
			})
		}},
		{"a Token and an error", "what is no token is refused", 0, after(func(_ *Server, _ string, got *resource.Token, err error) (*resource.Token, error) {
			if err != nil {
				got = &resource.Token{}
			}
			return got, err
		})},
		{"takes refresh tokens", "other credentials are refused", 0, after(func(_ *Server, text string, got *resource.Token, err error) (*resource.Token, error) {
			if len(text) == 55 {
				return &resource.Token{}, nil
			}
			return got, err
		})},
		{"repeats the token", "an altered token is refused", 0, after(func(_ *Server, text string, got *resource.Token, err error) (*resource.Token, error) {
			if err != nil {
				err = &resource.Error{Code: resource.InvalidToken, Cause: fmt.Errorf("bad token %q", text)}
			}
			return got, err
		})},
		{"looks at no signature", "an altered token is refused", 0, after(func(_ *Server, text string, got *resource.Token, err error) (*resource.Token, error) {
			if t := claims(text); err != nil && t != nil {
				return t, nil
			}
			return got, err
		})},
		{"believes alg none", "a forged token is refused", 0, after(func(_ *Server, text string, got *resource.Token, err error) (*resource.Token, error) {
			if strings.HasSuffix(text, ".") && claims(text) != nil {
				return claims(text), nil
			}
			return got, err
		})},
		{"believes any issuer", "a token of another server is refused", 0, func(srv *Server) resource.Verifier {
			// The keys are those of this server, whatever iss says.
			return verify(func(ctx context.Context, text string) (*resource.Token, error) {
				for _, issuer := range []string{srv.Config.Issuer, "https://sibling.example"} {
					j := &resource.JWT{Issuer: issuer, JWKSURI: srv.Config.Issuer + "/oauth/jwks", Transport: srv, Now: srv.Clock.Now}
					if got, err := j.VerifyToken(ctx, text); err == nil {
						return got, nil
					}
				}
				return nil, errInvalid
			})
		}},
		{"an hour longer", "a token ends when it says", 0, func(srv *Server) resource.Verifier {
			return &resource.JWT{Issuer: srv.Config.Issuer, Transport: srv, Now: func() time.Time { return srv.Clock.Now().Add(-time.Second) }}
		}},
		{"sees no revocation", "a revocation is seen in time", time.Minute, func(srv *Server) resource.Verifier { return byJWKS(nil, srv) }},
		{"down is invalid", "what cannot be checked is not called invalid", 0, after(func(_ *Server, _ string, got *resource.Token, err error) (*resource.Token, error) {
			if err != nil {
				err = errInvalid
			}
			return got, err
		})},
		{"down is open", "what cannot be checked is not called invalid", 0, after(func(_ *Server, _ string, got *resource.Token, err error) (*resource.Token, error) {
			if err != nil && !errors.Is(err, resource.InvalidToken) {
				return &resource.Token{Subject: "alice"}, nil
			}
			return got, err
		})},
		{"never comes back", "what cannot be checked is not called invalid", 0, func(srv *Server) resource.Verifier {
			good := byJWKS(nil, srv)
			var failed error
			return verify(func(ctx context.Context, text string) (*resource.Token, error) {
				got, err := good.VerifyToken(ctx, text)
				if err != nil && !errors.Is(err, resource.InvalidToken) {
					failed = err
				}
				if failed != nil {
					return nil, failed
				}
				return got, err
			})
		}},
		{"gone is invalid", "a context that is done is no refusal", 0, func(srv *Server) resource.Verifier {
			good := byJWKS(nil, srv)
			return verify(func(ctx context.Context, text string) (*resource.Token, error) {
				if ctx.Err() != nil {
					return nil, errInvalid
				}
				return good.VerifyToken(ctx, text)
			})
		}},
		{"mixes up", "it is safe for concurrent use", 0, func(srv *Server) resource.Verifier {
			good := byJWKS(nil, srv)
			var mu sync.Mutex
			var last *resource.Token
			return verify(func(ctx context.Context, text string) (*resource.Token, error) {
				got, err := good.VerifyToken(ctx, text)
				mu.Lock()
				defer mu.Unlock()
				if err == nil && last == nil {
					last = got
				}
				if err != nil {
					return nil, err
				}
				return last, nil
			})
		}},
	}
}

// Every sentence finds somebody who breaks it.
func TestVerifierFindsWhatIsBroken(t *testing.T) {
	found := map[string]bool{}
	for _, b := range brokenVerifiers() {
		t.Run(b.name, func(t *testing.T) {
			for _, c := range verifierContract() {
				if c.says != b.fails {
					continue
				}
				srv := NewServer(t, JWTs)
				v := &verifierTrial{Server: srv, ctx: t.Context(), seen: b.seen, edits: []func(*oauth.Config){JWTs},
					open: func() resource.Verifier { return b.open(srv) }}
				v.verifier = v.open()
				assert.Error(t, c.test(v), c.says)
				found[c.says] = true
			}
		})
	}
	for _, c := range verifierContract() {
		assert.True(t, found[c.says], "nothing breaks: %s", c.says)
	}
}

func TestRoundTrip(t *testing.T) {
	srv := NewServer(t)
	client := &http.Client{Transport: srv}
	res, err := client.Get(Issuer + "/.well-known/oauth-authorization-server")
	require.NoError(t, err)
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, 200, res.StatusCode)
	assert.Contains(t, string(b), `"issuer":"`+Issuer+`"`)

	res, err = client.PostForm(Issuer+"/oauth/token", url.Values{"grant_type": {"authorization_code"}})
	require.NoError(t, err)
	assert.Equal(t, 401, res.StatusCode, "the form arrives, a client is missing")

	for _, other := range []string{"https://other.example/", "http://as.example/", "https://as.example:8443/"} {
		_, err = client.Get(other)
		assert.ErrorIs(t, err, errUnreachable, other)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, Issuer, nil)
	require.NoError(t, err)
	_, err = client.Do(r)
	assert.ErrorIs(t, err, context.Canceled)
	srv.Down(true)
	_, err = client.Get(Issuer)
	assert.ErrorIs(t, err, errUnreachable)
	srv.Down(false)
	_, err = client.Get(Issuer)
	assert.NoError(t, err)
}

func TestJWTsEdit(t *testing.T) {
	token := NewServer(t, JWTs).AccessToken("alice", "read")
	assert.Equal(t, 2, strings.Count(token, "."))
}
