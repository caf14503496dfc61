package oauth_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// corsEndpoints are those that scripts of other origins may read, and the
// methods they answer to.
var corsEndpoints = map[string]string{
	"/oauth/token": "POST", "/oauth/revoke": "POST", "/oauth/userinfo": "GET, POST, HEAD",
	wellKnown: "GET, HEAD", "/oauth/jwks": "GET, HEAD",
}

const (
	friend  = "https://spa.example"
	foe     = "https://foe.example"
	exposed = "WWW-Authenticate, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
)

func watchCORS(t *testing.T, origins func(string) bool, edits ...func(*oauth.Config)) *watched {
	t.Helper()
	_, signer, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return watch(t, append(edits, func(c *oauth.Config) {
		c.Origins = origins
		c.Keys = oauth.StaticKeys(oauth.Key{Signer: signer})
	})...)
}

// crossed sends a request of a script; an empty origin sends none.
func (w *watched) crossed(method, path, origin string) *oauthtest.Answer {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(""))
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	if method == http.MethodOptions {
		r.Header.Set("Access-Control-Request-Method", http.MethodPost)
		r.Header.Set("Access-Control-Request-Headers", "authorization")
	}
	a := w.exchange(w.Handler, r, 0)
	assert.NotContains(w.t, a.Header, "Access-Control-Allow-Credentials")
	return a
}

// corsHeaders are all headers of CORS that an answer has.
func corsHeaders(a *oauthtest.Answer) map[string]string {
	found := map[string]string{}
	for name, values := range a.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			found[name] = strings.Join(values, "|")
		}
	}
	return found
}

func TestCORS(t *testing.T) {
	only := func(origin string) bool { return origin == friend }
	for _, test := range []struct {
		name    string
		origins func(string) bool
		origin  string
		allowed string // "" for no header at all
		vary    bool
	}{
		{"S312 any origin", nil, friend, "*", false},
		{"S312 any origin, null", nil, "null", "*", false},
		{"S312 any origin, none sent", nil, "", "*", false},
		{"S312 a list, one of them", only, friend, friend, true},
		{"S312 a list, another", only, foe, "", true},
		{"S312 a list, null", only, "null", "", true},
		{"S312 a list, a prefix", only, friend + ".foe.example", "", true},
		{"S312 a list, none sent", only, "", "", true},
		{"S312 NoOrigins", oauth.NoOrigins, friend, "", true},
	} {
		for path, methods := range corsEndpoints {
			t.Run(test.name+" "+path, func(t *testing.T) {
				w := watchCORS(t, test.origins)
				want := map[string]string{}
				if test.allowed != "" {
					want["Access-Control-Allow-Origin"] = test.allowed
					want["Access-Control-Expose-Headers"] = exposed
				}
				// Bad requests and wrong methods included.
				for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodPut} {
					a := w.crossed(method, path, test.origin)
					assert.Equal(t, want, corsHeaders(a), method)
					assert.Equal(t, test.vary, a.Header.Get("Vary") == "Origin", method)
				}
				a := w.crossed(http.MethodOptions, path, test.origin)
				assert.Equal(t, http.StatusNoContent, a.Status)
				assert.Empty(t, a.Body)
				assert.Equal(t, test.vary, a.Header.Get("Vary") == "Origin")
				if test.allowed != "" {
					want["Access-Control-Allow-Methods"] = methods
					want["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
					want["Access-Control-Max-Age"] = "3600"
				}
				assert.Equal(t, want, corsHeaders(a))
				assert.Empty(t, w.Store.Calls())
			})
		}
	}
	t.Run("S312 the preflight names the headers of Decode", func(t *testing.T) {
		w := watchCORS(t, nil, func(c *oauth.Config) {
			c.Decode = oauth.Merge(oauth.FormBody, oauth.Header("X-Client-Id", "client_id"), oauth.Header("X-Scope", "scope"))
		})
		a := w.crossed(http.MethodOptions, "/oauth/token", friend)
		assert.Equal(t, "Authorization, Content-Type, X-Client-Id, X-Scope", a.Header.Get("Access-Control-Allow-Headers"))
	})
	t.Run("S312 a failure and a panic can be read too", func(t *testing.T) {
		w := watchCORS(t, only, func(c *oauth.Config) { c.Clients = brokenRegistry{} })
		r := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader("client_id=P&grant_type=refresh_token&refresh_token=x"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", friend)
		a := w.exchange(w.Handler, r, http.StatusServiceUnavailable)
		assert.Equal(t, friend, a.Header.Get("Access-Control-Allow-Origin"))
		assert.Contains(t, a.Header.Get("Access-Control-Expose-Headers"), "Retry-After")
	})
	t.Run("S312 a successful answer", func(t *testing.T) {
		w := watchCORS(t, only)
		_, got := w.get(az()).Location()
		r := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader("client_id=P&grant_type=authorization_code&code="+got.Get("code")+
			"&redirect_uri="+backP+"&code_verifier="+rfcVerifier))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", friend)
		a := w.exchange(w.Handler, r, 0)
		assert.Equal(t, http.StatusOK, a.Status, string(a.Body))
		assert.Equal(t, friend, a.Header.Get("Access-Control-Allow-Origin"))
		assert.NotContains(t, a.Header, "Access-Control-Allow-Credentials")
	})
}

func TestCORSNever(t *testing.T) {
	w := watchCORS(t, nil)
	for _, path := range []string{"/oauth/authorize?" + az(), "/oauth/authorize?" + az("client_id=nope"), "/oauth/authorize?" + az("scope=nope"), "/oauth/introspect"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			t.Run("S313 "+method+" "+path, func(t *testing.T) {
				w := w.on(t)
				a := w.crossed(method, path, friend)
				assert.Empty(t, corsHeaders(a))
				if method == http.MethodOptions {
					assert.Equal(t, http.StatusMethodNotAllowed, a.Status)
				}
			})
		}
	}
	t.Run("S312 S313 allowing an origin says nothing at the authorization endpoint", func(t *testing.T) {
		w := watchCORS(t, func(string) bool { return true })
		assert.Empty(t, corsHeaders(w.crossed(http.MethodGet, "/oauth/authorize?"+az(), friend)))
	})
}
