package oauthtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/derive"
)

// A Code is an authorization code with what is needed to redeem it.
type Code struct{ Client, Code, RedirectURI, Verifier string }

// Form is the token request that redeems the code.
func (c Code) Form() url.Values {
	f := url.Values{"grant_type": {"authorization_code"}, "code": {c.Code}, "redirect_uri": {c.RedirectURI}}
	if c.Verifier != "" {
		f.Set("code_verifier", c.Verifier)
	}
	return f
}

// AuthorizeURL is where a browser is sent for a code: an authorization request with the
// parameters of a good one, all of the client's scopes among them; those given replace
// them, an empty value leaves one out. The code is still to come.
func (s *Server) AuthorizeURL(client string, change url.Values) (string, Code) {
	redirectURI, scopes := s.registered(client)
	code := Code{Client: client, RedirectURI: redirectURI, Verifier: rand.Text() + rand.Text()}
	sum := sha256.Sum256([]byte(code.Verifier))
	q := url.Values{"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirectURI}, "scope": {scopes},
		"state": {"xyz"}, "code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}}
	for name, values := range change {
		q[name] = values
		if len(values) == 1 && values[0] == "" {
			q.Del(name)
		}
	}
	if !q.Has("code_challenge") {
		code.Verifier = ""
	}
	return s.endpoint(s.Config.Endpoints.Authorize, "/oauth/authorize") + "?" + q.Encode(), code
}

// registered are a redirect URI and the scopes of a client: what the registry has, or
// where the table of scopes is still that of this package, what its own clients have.
func (s *Server) registered(client string) (redirectURI, scopes string) {
	redirectURI, scopes = Callback, "read write"
	has := func(scope string) bool {
		return slices.ContainsFunc(s.Config.Scopes, func(row oauth.Scope) bool { return row.Name == scope })
	}
	if (client == WebClient || client == SPAClient) && has("read") && has("write") {
		return redirectURI, scopes // without a question that tests of a registry would count
	}
	c, err := s.Config.Clients.Client(context.Background(), client)
	if err == nil && !slices.Contains(c.RedirectURIs, Callback) && len(c.RedirectURIs) > 0 {
		redirectURI, scopes = c.RedirectURIs[0], strings.Join(c.Scopes, " ")
	}
	return redirectURI, scopes
}

// Authorize sends an authorization request as [Server.AuthorizeURL] makes it, in a
// browser of its own.
func (s *Server) Authorize(client string, change url.Values) (*Answer, Code) {
	return s.authorize(context.Background(), client, change)
}

func (s *Server) authorize(ctx context.Context, client string, change url.Values) (*Answer, Code) {
	to, code := s.AuthorizeURL(client, change)
	a := s.Do(httptest.NewRequestWithContext(ctx, http.MethodGet, to, nil))
	_, params := a.Location()
	code.Code = params.Get("code")
	return a, code
}

// Code is an approved code for the client. The test fails if there is none.
func (s *Server) Code(client string, scopes ...string) Code {
	s.t.Helper()
	return s.code(context.Background(), client, scopes)
}

func (s *Server) code(ctx context.Context, client string, scopes []string) Code {
	s.t.Helper()
	change := url.Values{}
	if len(scopes) > 0 {
		change.Set("scope", strings.Join(scopes, " "))
	}
	a, code := s.authorize(ctx, client, change)
	if code.Code == "" {
		s.t.Fatalf("oauthtest: no code for the client %q: %s", client, a.redacted())
	}
	return code
}

// Redeem exchanges a code. The test fails if the answer is not 200.
func (s *Server) Redeem(c Code) *Answer {
	s.t.Helper()
	a := s.Token(c.Client, c.Form())
	if a.Status != http.StatusOK {
		s.t.Fatalf("oauthtest: code of the client %q not redeemed: %s", c.Client, a.redacted())
	}
	return a
}

// Tokens are what a client holds after a flow. The fields are those of the Token of
// golang.org/x/oauth2, and as JSON they become one.
type Tokens struct {
	AccessToken  string    `json:"access_token"`
	TokenType    string    `json:"token_type"`              // "Bearer"
	RefreshToken string    `json:"refresh_token,omitempty"` // "" where there is none
	Expiry       time.Time `json:"expiry"`                  // of the access token, by the Clock
	Scope        string    `json:"scope"`                   // as granted, separated by spaces
}

// String names the scope alone, and so does GoString.
func (t Tokens) String() string { return fmt.Sprintf("oauthtest.Tokens(%s)", t.Scope) }

// GoString is String, for the format %#v.
func (t Tokens) GoString() string { return t.String() }

// tokens are those of an answer of the token endpoint; nil if it has none.
func (s *Server) tokens(a *Answer) *Tokens {
	life, _ := a.JSON["expires_in"].(float64)
	if a.Status != http.StatusOK || a.String("access_token") == "" || life < 1 {
		return nil
	}
	return &Tokens{AccessToken: a.String("access_token"), TokenType: a.String("token_type"), RefreshToken: a.String("refresh_token"),
		Scope: a.String("scope"), Expiry: s.Config.Now().Add(time.Duration(life) * time.Second)}
}

// must is tokens, where the test fails if there are none.
func (s *Server) must(a *Answer) *Tokens {
	s.t.Helper()
	t := s.tokens(a)
	if t == nil {
		s.t.Fatalf("oauthtest: no token: %s", a.redacted())
	}
	return t
}

// CodeFlow is a whole code flow of the client: the authorization request, the decision
// that [Server.Approve] has set, the exchange. Without scopes it asks for all of the
// client's. The test fails if anything is refused.
func (s *Server) CodeFlow(client string, scopes ...string) *Tokens {
	s.t.Helper()
	return s.must(s.Redeem(s.Code(client, scopes...)))
}

// flow is a code flow of App for this subject, whatever else the server does with
// requests at the moment.
func (s *Server) flow(subject string, scopes []string) *Tokens {
	s.t.Helper()
	if _, err := s.Config.Clients.Client(context.Background(), s.App); err != nil && s.App == SPAClient {
		s.t.Fatalf("oauthtest: there is no client %q: set App to one of the Config's (%v)", s.App, err)
	}
	ctx := context.WithValue(context.Background(), decisionKey{}, approve(subject))
	return s.must(s.Redeem(s.code(ctx, s.App, scopes)))
}

// AccessToken is a live access token of this subject, issued to App by a whole code
// flow. Without scopes it has all that the client may have.
func (s *Server) AccessToken(subject string, scopes ...string) string {
	s.t.Helper()
	return s.flow(subject, scopes).AccessToken
}

// RefreshToken is a live refresh token of this subject, as [Server.AccessToken] is an
// access token.
func (s *Server) RefreshToken(subject string, scopes ...string) string {
	s.t.Helper()
	return s.flow(subject, scopes).RefreshToken
}

// ClientToken is a live access token of a client for itself, by client_credentials:
// [MachineClient] may have one. Without scopes it has those that are the default of
// the Config, and the test fails where there are none.
func (s *Server) ClientToken(client string, scopes ...string) string {
	s.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	return s.must(s.Token(client, form)).AccessToken
}

// Issue is that of the [oauth.Server]; [Server.NoSecrets] knows the token.
func (s *Server) Issue(ctx context.Context, clientID string, ap oauth.Approval) (string, *oauth.Authorization, error) {
	token, a, err := s.Server.Issue(ctx, clientID, ap)
	s.known.add("access_token", token, issued)
	return token, a, err
}

// Expire moves the Clock to the moment when a token ends: of an access token its own
// end, of a refresh token that of its authorization. Whatever ends before, ends too.
func (s *Server) Expire(token string) {
	s.t.Helper()
	_, end := s.owner(token)
	s.Clock.Advance(end.Sub(s.Clock.Now()))
	if s.Config.Now().Before(end) {
		s.t.Fatal("oauthtest: the server does not go by its Clock: an edit replaced Now")
	}
}

// RevokeToken has a token revoked by the client that it was issued to (RFC 7009): of a
// refresh token the authorization ends, with an access token all access tokens of its
// authorization.
func (s *Server) RevokeToken(token string) {
	s.t.Helper()
	client, _ := s.owner(token)
	a := s.post(context.Background(), s.endpoint(s.Config.Endpoints.Revoke, "/oauth/revoke"), client, url.Values{"token": {token}})
	if a.Status != http.StatusOK {
		s.t.Fatalf("oauthtest: token not revoked: %s", a.redacted())
	}
}

// owner is the client of a live token, and when the token ends. The test fails if there
// is no such token.
func (s *Server) owner(token string) (client string, end time.Time) {
	s.t.Helper()
	ctx := context.Background()
	if t, err := s.VerifyToken(ctx, token); err == nil {
		return t.ClientID, t.ExpiresAt
	}
	f, _ := s.Config.RefreshToken.(oauth.Opaque)
	b, _ := derive.Decode(f.Prefix, f.Hex, token)
	if c, ok := derive.ParseCredential(b); ok {
		id := "a_" + base64.RawURLEncoding.EncodeToString(c.Record[:])
		if rec, err := s.Store.Get(ctx, id); err == nil {
			all, err := s.Authorizations(ctx, rec.Subject)
			for _, a := range all {
				if err == nil && a.ID == id {
					return a.ClientID, a.EndsAt
				}
			}
		}
	}
	s.t.Fatalf("oauthtest: %s is no live token of this server", hide(token))
	return "", time.Time{}
}

// A TokenSource has the method Token by which programs ask for a live access token:
// TokenSource[oauth2.Token] is a TokenSource of golang.org/x/oauth2, which this package
// does not import. T is any struct that encoding/json fills from [Tokens].
type TokenSource[T any] struct {
	s      *Server
	mu     sync.Mutex
	tokens *Tokens
}

// NewTokenSource is a source of access tokens of this subject, as [Server.AccessToken]
// makes them.
func NewTokenSource[T any](s *Server, subject string, scopes ...string) *TokenSource[T] {
	s.t.Helper()
	return &TokenSource[T]{s: s, tokens: s.flow(subject, scopes)}
}

// Token is the token that it was before, or a refreshed one where that has expired by
// the Clock. The error is that of the server, or says that T is no struct for tokens.
func (ts *TokenSource[T]) Token() (*T, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if !ts.s.Config.Now().Before(ts.tokens.Expiry) {
		a := ts.s.Refresh(ts.s.App, ts.tokens.RefreshToken)
		fresh := ts.s.tokens(a)
		if fresh == nil {
			return nil, &oauth.Error{Code: oauth.ErrorCode(a.String("error")), Description: a.String("error_description"), Status: a.Status}
		}
		ts.tokens = fresh
	}
	b, err := json.Marshal(ts.tokens)
	if err != nil {
		return nil, err
	}
	token := new(T)
	if err := json.Unmarshal(b, token); err != nil {
		return nil, fmt.Errorf("oauthtest: a %T is no token: %w", token, err)
	}
	back, err := json.Marshal(token)
	if err != nil || !strings.Contains(string(back), ts.tokens.AccessToken) {
		return nil, fmt.Errorf("oauthtest: a %T is no token: it has no member access_token", token)
	}
	return token, nil
}
