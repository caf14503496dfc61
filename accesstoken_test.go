package oauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

func TestVerifyToken(t *testing.T) {
	for name, edit := range map[string]func(*oauth.Config){"opaque": func(*oauth.Config) {}, "JWT": withJWT(t)} {
		t.Run("design 1 what a live token tells: "+name, func(t *testing.T) {
			w := newWire(t, edit, func(c *oauth.Config) {
				c.Scopes = append(c.Scopes, oauth.Scope{Name: "admin", Includes: []string{"read", "write"}})
			}, withClients(oauth.Client{ID: web, Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, RedirectURIs: []string{oauthtest.Callback}, Scopes: []string{"admin"}}))
			now := w.Clock.Now()
			w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
				in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), AuthTime: now.Add(-time.Minute), ACR: "gold", AMR: []string{"pwd"}, Extra: map[string]string{"plan": "x"}})
			})
			token := w.Redeem(w.Code(web, "admin")).String("access_token")
			w.Store.Reset()
			v, err := w.VerifyToken(t.Context(), token)
			require.NoError(t, err)
			assert.Equal(t, []string{"Get"}, w.Store.Methods())
			assert.NotEmpty(t, v.ID)
			assert.NotContains(t, token, v.ID)
			assert.Equal(t, &oauth.Token{ID: v.ID, AuthorizationID: w.record().ID, Issuer: oauthtest.Issuer, ClientID: web, Subject: "alice",
				Scopes: []string{"admin"}, Includes: []string{"read", "write"}, Audience: []string{oauthtest.Issuer}, IssuedAt: now, ExpiresAt: now.Add(30 * time.Minute),
				AuthTime: now.Add(-time.Minute), ACR: "gold", AMR: []string{"pwd"}, Extra: map[string]string{"plan": "x"}}, v)
		})
		t.Run("S343 a failure is no verdict: "+name, func(t *testing.T) {
			w := newWire(t, edit)
			token := w.AccessToken("alice", "read")
			w.Store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
			_, err := w.VerifyToken(t.Context(), token)
			require.ErrorIs(t, err, oauthtest.ErrFault)
			require.NotErrorIs(t, err, oauth.InvalidToken)
		})
		t.Run("N007 a row with another subject or client: "+name, func(t *testing.T) {
			swap := &editingStore{}
			w := newWire(t, edit, func(c *oauth.Config) { swap.Storage, c.Storage = c.Storage, swap })
			a := w.Redeem(w.Code(spa))
			for _, change := range []func(r *oauth.Record){
				func(r *oauth.Record) { r.Subject = "bob" }, func(r *oauth.Record) { r.ClientID = otherSPA },
				func(r *oauth.Record) { r.Realm = "other" }, func(r *oauth.Record) { r.Kind = oauth.KindConsent },
				func(r *oauth.Record) { r.Data = []byte(`{}`) }, func(r *oauth.Record) { r.Data = nil }, func(r *oauth.Record) { r.Data = []byte("garbage") },
			} {
				swap.edit = change
				_, err := w.VerifyToken(t.Context(), a.String("access_token"))
				require.ErrorIs(t, err, oauth.InvalidToken)
				w.refused(spa, a.String("refresh_token"))
			}
			swap.edit = func(r *oauth.Record) { r.Data = []byte(strings.Replace(string(r.Data), `"read"`, `"admin"`, 1)) }
			w.refused(spa, a.String("refresh_token"))
			assert.NotEmpty(t, w.Events(oauth.EventRecordAltered))
			v, err := w.VerifyToken(t.Context(), a.String("access_token"))
			require.NoError(t, err)
			assert.Equal(t, []string{"read", "write"}, v.Scopes, "its own")
			swap.edit = nil
			w.rotate(spa, a.String("refresh_token"))
		})
	}
}

// An editingStore shows rows as somebody changed them.
type editingStore struct {
	oauth.Storage
	edit func(*oauth.Record)
}

func (s *editingStore) Get(ctx context.Context, id string) (oauth.Record, error) {
	r, err := s.Storage.Get(ctx, id)
	if err == nil && s.edit != nil {
		s.edit(&r)
	}
	return r, err
}

func TestOpaque(t *testing.T) {
	t.Run("FT-17 prefix and hexadecimal", func(t *testing.T) {
		w := newWire(t, func(c *oauth.Config) {
			c.RefreshToken, c.AccessToken = oauth.Opaque{Prefix: "def50200", Hex: true}, oauth.Opaque{Prefix: "acme_at_"}
		})
		a := w.Redeem(w.Code(spa))
		hex := regexp.MustCompile(`^def50200[0-9a-f]+$`)
		assert.Regexp(t, hex, a.String("refresh_token"))
		assert.Regexp(t, `^acme_at_[A-Za-z0-9_-]+$`, a.String("access_token"))
		b := w.refreshed(spa, a.String("refresh_token"))
		assert.Regexp(t, hex, b.String("refresh_token"))
		assert.True(t, w.active(b.String("access_token")))
		token := b.String("refresh_token")
		w.refused(spa, strings.ToUpper(token))
		w.refused(spa, strings.TrimPrefix(token, "def50200"))
		w.refused(spa, "def50200"+token)
		w.rotate(spa, token)
		assert.False(t, w.active(strings.TrimPrefix(b.String("access_token"), "acme_at_")))
	})
	t.Run("S362 base64url of 55 characters by default, no two alike", func(t *testing.T) {
		w := newWire(t)
		seen := map[string]bool{}
		for range 200 {
			code := w.Code(spa)
			a := w.Redeem(code)
			for _, text := range []string{code.Code, a.String("refresh_token")} {
				assert.Regexp(t, `^[A-Za-z0-9_-]{55}$`, text)
				// The last 20 bytes are the MAC: what nobody can guess.
				seen[text[29:]] = true
			}
			seen[a.String("access_token")[:40]] = true
		}
		assert.Len(t, seen, 600)
	})
}

// segment decodes one part of a JWT.
func segment(t *testing.T, token string, n int) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	raw, err := base64.RawURLEncoding.DecodeString(parts[n])
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(raw, &m))
	return m
}

// A breakableSigner fails when it is told to.
type breakableSigner struct {
	crypto.Signer
	err error
}

func (s *breakableSigner) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.Signer.Sign(r, digest, o)
}

// A breakableSource is a KeySource that fails when it is told to.
type breakableSource struct {
	keys []oauth.Key
	err  error
}

func (s *breakableSource) Keys(context.Context) ([]oauth.Key, error) { return s.keys, s.err }

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func TestJWT(t *testing.T) {
	t.Run("RFC 9068 2.1 2.2 ES256: header and claims", func(t *testing.T) {
		w := newWire(t, withJWT(t))
		a := w.Redeem(w.Code(spa))
		token := a.String("access_token")
		h, c := segment(t, token, 0), segment(t, token, 1)
		assert.Equal(t, []any{"ES256", "at+jwt"}, []any{h["alg"], h["typ"]})
		assert.NotEmpty(t, h["kid"])
		now := float64(w.Clock.Now().Unix())
		v, err := w.VerifyToken(t.Context(), token)
		require.NoError(t, err)
		assert.Equal(t, map[string]any{"iss": oauthtest.Issuer, "sub": "alice", "aud": oauthtest.Issuer, "client_id": spa, "scope": "read write", "iat": now, "exp": now + 1800, "jti": v.ID, "tie": c["tie"]}, c)
		assert.Len(t, c["tie"], 23)
		m := wantOK(t, w.Token(oauthtest.MachineClient, machineForm())).String("access_token")
		assert.Equal(t, "client:machine", segment(t, m, 1)["sub"], "no subject of a user begins so")
	})
	t.Run("RFC 7515 5.2 the published key verifies it", func(t *testing.T) {
		w := newWire(t, withJWT(t))
		token := w.AccessToken("alice", "read")
		jwks := w.send("GET", "/oauth/jwks", "", "")
		key := jwks.JSON["keys"].([]any)[0].(map[string]any)
		assert.Equal(t, segment(t, token, 0)["kid"], key["kid"])
		assert.NotContains(t, key, "d")
		part := func(member string) []byte {
			b, err := base64.RawURLEncoding.DecodeString(key[member].(string))
			require.NoError(t, err)
			return b
		}
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, part("x"), part("y")))
		require.NoError(t, err)
		cut := strings.LastIndexByte(token, '.')
		sum := sha256.Sum256([]byte(token[:cut]))
		sig, err := base64.RawURLEncoding.DecodeString(token[cut+1:])
		require.NoError(t, err)
		require.Len(t, sig, 64)
		assert.True(t, ecdsa.Verify(pub, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])))
	})
	t.Run("FT-16 RS256, type JWT, no kid: the exact first segment", func(t *testing.T) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		w := newWire(t, func(c *oauth.Config) {
			c.AccessToken, c.Keys = oauth.JWT{Type: "JWT"}, oauth.StaticKeys(oauth.Key{ID: "-", Signer: key})
		})
		token := w.AccessToken("alice", "read")
		first, _, _ := strings.Cut(token, ".")
		assert.Equal(t, "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9", first)
		assert.True(t, w.active(token))
	})
	t.Run("FS-14 HS256 with InsecureSymmetricKey", func(t *testing.T) {
		secret := []byte("0123456789abcdef0123456789abcdef")
		w := newWire(t, func(c *oauth.Config) { c.AccessToken = oauth.JWT{Type: "JWT", InsecureSymmetricKey: secret} })
		token := w.AccessToken("alice", "read")
		assert.True(t, strings.HasPrefix(token, "eyJhbGciOiJIUzI1NiIs"))
		sign := func(key []byte, text string) string {
			m := hmac.New(sha256.New, key)
			m.Write([]byte(text))
			return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
		}
		cut := strings.LastIndexByte(token, '.')
		assert.Equal(t, token, sign(secret, token[:cut]))
		assert.True(t, w.active(token))
		none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
		_, claims, _ := strings.Cut(token[:cut], ".")
		for name, bad := range map[string]string{"another key": sign([]byte("another key another key another "), token[:cut]), "alg none": none + "." + claims + ".",
			"alg none, signed": none + "." + claims + token[cut:], "no signature": token[:cut+1]} {
			assert.Equal(t, inactiveBody, string(w.Introspect(bad).Body), name)
			assert.Equal(t, 401, w.userinfo(bad).Status, name)
		}
		assert.Equal(t, 404, w.send("GET", "/oauth/jwks", "", "").Status, "a symmetric key is never published")
	})
	t.Run("N006 the signing key alone makes no token that passes here", func(t *testing.T) {
		secret := []byte("0123456789abcdef0123456789abcdef")
		w := newWire(t, func(c *oauth.Config) { c.AccessToken = oauth.JWT{InsecureSymmetricKey: secret} })
		for _, token := range []string{w.AccessToken("alice", "read"), wantOK(t, w.Token(oauthtest.MachineClient, machineForm())).String("access_token")} {
			parts := strings.Split(token, ".")
			claims, err := base64.RawURLEncoding.DecodeString(parts[1])
			require.NoError(t, err)
			again := func(claims string) string {
				text := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
				m := hmac.New(sha256.New, secret)
				m.Write([]byte(text))
				return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
			}
			require.Equal(t, token, again(string(claims)))
			require.True(t, w.active(token))
			for _, forged := range []string{
				strings.Replace(string(claims), `"scope":"read"`, `"scope":"read write"`, 1),
				strings.Replace(string(claims), `"exp":1`, `"exp":2`, 1),
				strings.Replace(string(claims), `"aud":"`, `"aud":"https://x.example/`, 1),
				strings.Replace(string(claims), `"tie":"`, `"tie":"AA`, 1),
				strings.Replace(string(claims), `"tie":"`, `"not":"`, 1),
			} {
				require.NotEqual(t, string(claims), forged)
				assert.False(t, w.active(again(forged)), forged)
			}
		}
	})
	t.Run("design 3 a failing signer leaves code and refresh token usable", func(t *testing.T) {
		signer := &breakableSigner{Signer: ecKey(t)}
		w := newWire(t, func(c *oauth.Config) {
			c.AccessToken, c.Keys = oauth.JWT{}, oauth.StaticKeys(oauth.Key{Signer: signer})
		})
		refresh, code := w.Redeem(w.Code(spa)).String("refresh_token"), w.Code(spa)
		signer.err = errBoom
		w.may5.Store(true)
		w.Store.Reset()
		wantError(t, w.Token(spa, code.Form()), 503, oauth.TemporarilyUnavailable)
		wantError(t, w.Refresh(spa, refresh), 503, oauth.TemporarilyUnavailable)
		wantError(t, w.Token(oauthtest.MachineClient, machineForm()), 503, oauth.TemporarilyUnavailable)
		assert.Equal(t, []string{"Get", "Get"}, w.Store.Methods())
		signer.err = nil
		w.may5.Store(false)
		w.Redeem(code)
		w.rotate(spa, refresh)
	})
	t.Run("design 3 a KeySource that fails is 503, also where a token is checked", func(t *testing.T) {
		source := &breakableSource{keys: []oauth.Key{{Signer: ecKey(t)}}}
		w := newWire(t, func(c *oauth.Config) { c.AccessToken, c.Keys = oauth.JWT{}, source })
		token, code := w.AccessToken("alice", "read"), w.Code(spa)
		for _, s := range []breakableSource{{err: errors.New("kms")}, {}} {
			keys := source.keys
			*source = s
			w.may5.Store(true)
			wantError(t, w.Token(spa, code.Form()), 503, oauth.TemporarilyUnavailable)
			wantError(t, w.userinfo(token), 503, oauth.TemporarilyUnavailable)
			wantError(t, w.Introspect(token), 503, oauth.TemporarilyUnavailable)
			w.may5.Store(false)
			*source = breakableSource{keys: keys}
		}
		wantOK(t, w.userinfo(token))
		w.Redeem(code)
	})
	t.Run("S378 S379 keys change", func(t *testing.T) {
		source := &breakableSource{keys: []oauth.Key{{Signer: ecKey(t)}}}
		w := newWire(t, func(c *oauth.Config) { c.AccessToken, c.Keys = oauth.JWT{}, source })
		old := w.AccessToken("alice", "read")
		source.keys = []oauth.Key{{Signer: ecKey(t)}, source.keys[0]}
		assert.True(t, w.active(old))
		fresh := w.AccessToken("alice", "read")
		source.keys = source.keys[:1]
		assert.False(t, w.active(old))
		assert.True(t, w.active(fresh))
	})
	t.Run("FT-20 revocation by the host is seen in process", func(t *testing.T) {
		w := newWire(t, withJWT(t))
		token := w.AccessToken("alice", "read")
		_, err := w.Revoke(t.Context(), oauth.Selector{Subject: "alice"})
		require.NoError(t, err)
		assert.False(t, w.active(token))
		assert.Equal(t, 401, w.userinfo(token).Status)
	})
	t.Run("design 1 the two formats are never confused", func(t *testing.T) {
		o := newWire(t)
		j := newWire(t, withJWT(t), func(c *oauth.Config) { c.Storage, c.Secrets, c.Now = o.Config.Storage, o.Config.Secrets, o.Config.Now })
		opaque, jwt := o.AccessToken("alice", "read"), j.AccessToken("alice", "read")
		assert.False(t, o.active(jwt), "a server that makes none takes none")
		assert.True(t, j.active(opaque), "an opaque token from before the change lives on")
		for _, bad := range []string{opaque + ".." + "", opaque + "." + opaque + "." + opaque, strings.ReplaceAll(jwt, ".", ""), jwt + "." + jwt, "."} {
			assert.False(t, o.active(bad))
			assert.False(t, j.active(bad))
		}
	})
}

func TestIsolation(t *testing.T) {
	for name, change := range map[string]func(*oauth.Config){
		"N011 S384 two issuers": func(c *oauth.Config) { c.Issuer = "https://other.example" },
		"V130 S384 two realms":  func(c *oauth.Config) { c.Realm = "other" },
		"S384 both":             func(c *oauth.Config) { c.Issuer, c.Realm = "https://other.example", "other" },
	} {
		for format, use := range map[string]func(*oauth.Config){"opaque": func(*oauth.Config) {}, "JWT with one key": withJWT(t)} {
			isolated(t, name+" on one store with one secret, "+format, use, change)
		}
	}
}

func isolated(t *testing.T, name string, format, change func(*oauth.Config)) {
	t.Run(name, func(t *testing.T) {
		a := newWire(t, format)
		b := newWire(t, format, func(c *oauth.Config) { c.Storage, c.Secrets, c.Now = a.Config.Storage, a.Config.Secrets, a.Config.Now }, change)
		code, tokens := a.Code(web), a.Redeem(a.Code(web))
		m := wantOK(t, a.Token(oauthtest.MachineClient, machineForm())).String("access_token")
		access, refresh := tokens.String("access_token"), tokens.String("refresh_token")
		wantError(t, b.Token(web, code.Form()), 400, oauth.InvalidGrant)
		b.refused(web, refresh)
		for _, token := range []string{access, m, refresh} {
			assert.Equal(t, inactiveBody, string(b.introspectAs(web, token).Body))
			assert.False(t, b.active(token))
			assert.Equal(t, 401, b.userinfo(token).Status)
			b.revoke(web, token)
		}
		b.revoke(oauthtest.MachineClient, m)
		if a.Config.Realm != b.Config.Realm { // the issuer alone does not part the lists of one realm
			list, err := b.Authorizations(t.Context(), "alice")
			require.NoError(t, err)
			assert.Empty(t, list)
			n, err := b.Revoke(t.Context(), oauth.Selector{Subject: "alice"})
			require.NoError(t, err)
			assert.Zero(t, n)
		}
		assert.True(t, a.active(access))
		assert.True(t, a.active(m))
		a.Redeem(code)
		a.rotate(web, refresh)
	})
}

func TestAPI(t *testing.T) {
	w := newWire(t)
	served := 0
	handler := w.API().Require("write")(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { served++ }))
	get := func(token string) *httptest.ResponseRecorder {
		rec, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/api", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		handler.ServeHTTP(rec, r)
		return rec
	}
	t.Run("S391 scopes", func(t *testing.T) {
		assert.Equal(t, 200, get(w.AccessToken("alice", "write")).Code)
		rec := get(w.AccessToken("alice", "read"))
		assert.Equal(t, 403, rec.Code)
		assert.Contains(t, rec.Header().Get("WWW-Authenticate"), `scope="write"`)
		assert.Equal(t, 1, served)
	})
	t.Run("FT-25 a revoked token", func(t *testing.T) {
		token := w.AccessToken("alice", "write")
		_, err := w.Revoke(t.Context(), oauth.Selector{Subject: "alice"})
		require.NoError(t, err)
		assert.Equal(t, 401, get(token).Code)
	})
}

func TestSecretsRotate(t *testing.T) {
	first := newWire(t)
	old, next := first.Config.Secrets[0], besides(first.Config.Secrets[0])
	with := func(secrets ...[]byte) *wire {
		return newWire(t, func(c *oauth.Config) {
			c.Storage, c.Now, c.Secrets = first.Config.Storage, first.Config.Now, secrets
		})
	}
	t.Run("N012 S380 every kind survives the change, and a retry has the same successor", func(t *testing.T) {
		announced, swapped := with(old, next), with(next, old)
		for _, from := range []*wire{announced, swapped} {
			to := swapped
			if from == swapped {
				to = announced
			}
			code, tokens := from.Code(web), from.Redeem(from.Code(web))
			m := wantOK(t, from.Token(oauthtest.MachineClient, machineForm())).String("access_token")
			to.Redeem(code)
			assert.True(t, to.active(tokens.String("access_token")))
			assert.True(t, to.active(m))
			b := to.rotate(web, tokens.String("refresh_token"))
			assert.Equal(t, b, from.refreshed(web, tokens.String("refresh_token")).String("refresh_token"))
			from.rotate(web, b)
		}
	})
	t.Run("design 1 a credential of an unknown secret is refused, with an event", func(t *testing.T) {
		code, tokens := first.Code(web), first.Redeem(first.Code(web))
		gone := with(next)
		wantError(t, gone.Token(web, code.Form()), 400, oauth.InvalidGrant)
		gone.refused(web, tokens.String("refresh_token"))
		assert.False(t, gone.active(tokens.String("access_token")))
		gone.revoke(web, tokens.String("refresh_token"))
		assert.Len(t, gone.Events(oauth.EventUnknownSecret), 4)
		first.rotate(web, tokens.String("refresh_token"))
		first.Redeem(code)
	})
}

func TestATokenOfAnotherFormatIsNoUnknownSecret(t *testing.T) {
	personal := oauth.Opaque{Prefix: "pat_"}
	s := newServer(t, func(c *oauth.Config) {
		c.OtherFormats = []oauth.Format{personal}
		c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy { return oauth.Policy{AccessToken: personal} }
	})
	for _, subject := range []string{"a", "al", "ali", "alic"} { // of lengths that base64url has, and has not
		token, err := s.VerifyToken(t.Context(), s.AccessToken(subject))
		require.NoError(t, err)
		require.Equal(t, subject, token.Subject)
	}
	assert.Empty(t, s.Events(oauth.EventUnknownSecret))
	other := newServer(t, func(c *oauth.Config) { c.OtherFormats = s.Config.OtherFormats })
	_, err := other.VerifyToken(t.Context(), s.AccessToken("al"))
	require.ErrorIs(t, err, oauth.InvalidToken)
	assert.Len(t, other.Events(oauth.EventUnknownSecret), 1, "once, however many formats there are")
}
