package mount_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/mount"
	"github.com/grantwell/oauth/oauthtest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode) // it prints its routes otherwise
	m.Run()
}

var mounts = []struct {
	name   string
	mount  func(*oauth.Server) http.Handler
	config func(*oauth.Config) // nil: as it is
}{
	{"ServeMux", mount.ServeMux, nil},
	{"Chi", mount.Chi, nil},
	{"Gin", mount.Gin, nil},
	{"Echo", mount.Echo, nil},
	{"Echo4", mount.Echo4, nil},
	{"Routes", mount.Routes, nil},
	{"Routes, issuer with a path", mount.Routes, func(c *oauth.Config) { c.Issuer = "https://as.example/tenant1" }},
	{"StripPrefix", mount.StripPrefix, nil},
	{"Elsewhere", mount.Elsewhere, func(c *oauth.Config) {
		c.Endpoints = oauth.Endpoints{
			Authorize: "/login", Token: "/api/v1/token", Revoke: "/api/v1/token/revoke",
			Introspect: "-", UserInfo: "-",
		}
	}},
}

// A call is one request to a server that is mounted somewhere.
type call struct {
	method   string
	endpoint string // a member of the metadata; "" for the metadata
	query    url.Values
	form     url.Values // nil: no body
	basic    bool
	header   map[string]string
	parsed   bool // by a middleware, before the server sees the request
}

var (
	credentials = url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}
	// The code_challenge is that of RFC 7636, appendix B.
	authorize = url.Values{
		"response_type": {"code"}, "client_id": {oauthtest.SPAClient}, "redirect_uri": {oauthtest.Callback},
		"scope": {"read write"}, "state": {"a b&c=d%2F+é"}, "code_challenge_method": {"S256"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"},
	}
)

var calls = []struct {
	name  string
	call  call
	check func(t *testing.T, s *oauthtest.Server, a *answer)
}{
	{"RFC 6749 3.2 POST token with form and Basic", call{method: "POST", endpoint: "token_endpoint", form: credentials, basic: true}, gotToken},
	{"RFC 6749 3.2 POST token, parsed by a middleware", call{method: "POST", endpoint: "token_endpoint", form: credentials, basic: true, parsed: true}, gotToken},
	{"RFC 6749 5.2 POST token, wrong scope, parsed by a middleware", call{
		method: "POST", endpoint: "token_endpoint",
		form: url.Values{"grant_type": {"client_credentials"}, "scope": {"all"}}, basic: true, parsed: true,
	}, refused},
	{"RFC 6749 3.1 GET authorize", call{method: "GET", endpoint: "authorization_endpoint", query: authorize}, gotCode},
	{"RFC 6749 3.1 GET authorize, parsed by a middleware", call{method: "GET", endpoint: "authorization_endpoint", query: authorize, parsed: true}, gotCode},
	{"RFC 6749 3.1 POST authorize", call{method: "POST", endpoint: "authorization_endpoint", form: authorize}, sentToGET},
	{"RFC 6749 3.1 POST authorize, parsed by a middleware", call{method: "POST", endpoint: "authorization_endpoint", form: authorize, parsed: true}, sentToGET},
	{"RFC 8414 3 GET metadata", call{method: "GET"}, gotMetadata},
	{"RFC 9110 9.3.2 HEAD metadata", call{method: "HEAD"}, gotNoBody},
	{"RFC 9110 15.5.6 GET token", call{method: "GET", endpoint: "token_endpoint"}, notAllowed("POST")},
	{"RFC 9110 15.5.6 DELETE token", call{method: "DELETE", endpoint: "token_endpoint"}, notAllowed("POST")},
	{"RFC 9110 15.5.6 PUT authorize", call{method: "PUT", endpoint: "authorization_endpoint"}, notAllowed("GET, POST")},
	{"Fetch 3.2.2 preflight of token", call{method: "OPTIONS", endpoint: "token_endpoint", header: map[string]string{
		"Origin": "https://spa.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization",
	}}, preflighted},
	{"RFC 7009 2 POST revoke", call{method: "POST", endpoint: "revocation_endpoint", form: url.Values{"token": {"unknown"}}, basic: true}, gotOK},
}

// TestMounts sends the same requests to the server on every router.
func TestMounts(t *testing.T) {
	for _, m := range mounts {
		t.Run(m.name, func(t *testing.T) {
			for _, c := range calls {
				t.Run(c.name, func(t *testing.T) {
					s := oauthtest.NewServer(t, func(cfg *oauth.Config) {
						if m.config != nil {
							m.config(cfg)
						}
					})
					h := m.mount(s.Server)
					if c.call.parsed {
						h = parsing(h)
					}
					web := httptest.NewServer(h)
					t.Cleanup(web.Close)
					c.check(t, s, send(t, web, s, c.call))
				})
			}
		})
	}
}

func TestNotMounted(t *testing.T) {
	for _, m := range mounts {
		t.Run(m.name, func(t *testing.T) {
			s := oauthtest.NewServer(t, func(cfg *oauth.Config) {
				if m.config != nil {
					m.config(cfg)
				}
			})
			for _, path := range []string{"/", "/oauth", "/oauth/", "/oauth/token/", "/oauth/tokens", "/.well-known/openid-configuration"} {
				w := httptest.NewRecorder()
				m.mount(s.Server).ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, http.NoBody))
				assert.NotEqual(t, http.StatusOK, w.Code, path)
				assert.Less(t, w.Code, http.StatusInternalServerError, path)
			}
		})
	}
}

// parsing is a middleware that reads the form, as loggers and CSRF filters do.
func parsing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			panic(err)
		}
		next.ServeHTTP(w, r)
	})
}

type answer struct {
	*http.Response
	body string
	json map[string]any
}

// location finds an endpoint in the metadata and where it is on the test's server.
func location(t *testing.T, web *httptest.Server, s *oauthtest.Server, endpoint string) string {
	t.Helper()
	issuer, err := url.Parse(s.Config.Issuer)
	require.NoError(t, err)
	metadata := web.URL + "/.well-known/oauth-authorization-server" + issuer.Path
	if endpoint == "" {
		return metadata
	}
	resp, err := web.Client().Get(metadata)
	require.NoError(t, err)
	defer resp.Body.Close() //nolint:errcheck // it was read
	var members map[string]any
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&members))
	at, _ := members[endpoint].(string)
	require.NotEmpty(t, at, endpoint)
	return web.URL + strings.TrimPrefix(at, "https://as.example")
}

func send(t *testing.T, web *httptest.Server, s *oauthtest.Server, c call) *answer {
	t.Helper()
	at := location(t, web, s, c.endpoint)
	if c.query != nil {
		at += "?" + c.query.Encode()
	}
	r, err := http.NewRequestWithContext(context.Background(), c.method, at, strings.NewReader(c.form.Encode()))
	require.NoError(t, err)
	if c.form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.basic {
		r.SetBasicAuth(oauthtest.MachineClient, oauthtest.Secret)
	}
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	client := *web.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close() //nolint:errcheck // it is read here
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	a := &answer{Response: resp, body: string(body)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") && len(body) > 0 {
		require.NoError(t, json.Unmarshal(body, &a.json), a.body)
	}
	return a
}

func gotToken(t *testing.T, s *oauthtest.Server, a *answer) {
	require.Equal(t, http.StatusOK, a.StatusCode, a.body)
	assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	assert.Equal(t, "*", a.Header.Get("Access-Control-Allow-Origin"))
	text, _ := a.json["access_token"].(string)
	token, err := s.VerifyToken(t.Context(), text)
	require.NoError(t, err)
	assert.Equal(t, oauthtest.MachineClient, token.ClientID)
	assert.Equal(t, []string{"read"}, token.Scopes)
}

func refused(t *testing.T, _ *oauthtest.Server, a *answer) {
	assert.Equal(t, http.StatusBadRequest, a.StatusCode)
	assert.Equal(t, "invalid_scope", a.json["error"])
}

func gotCode(t *testing.T, s *oauthtest.Server, a *answer) {
	require.Equal(t, http.StatusSeeOther, a.StatusCode, a.body)
	at, query, _ := strings.Cut(a.Header.Get("Location"), "?")
	assert.Equal(t, oauthtest.Callback, at)
	q, err := url.ParseQuery(query)
	require.NoError(t, err)
	assert.Equal(t, authorize["state"], q["state"])
	assert.Equal(t, []string{s.Config.Issuer}, q["iss"])
	assert.NotEmpty(t, q.Get("code"))
	assert.Empty(t, a.Header.Get("Access-Control-Allow-Origin"), "never at the authorization endpoint")
}

func sentToGET(t *testing.T, s *oauthtest.Server, a *answer) {
	require.Equal(t, http.StatusSeeOther, a.StatusCode, a.body)
	at, query, _ := strings.Cut(a.Header.Get("Location"), "?")
	assert.True(t, strings.HasPrefix(at, s.Config.Issuer), at)
	q, err := url.ParseQuery(query)
	require.NoError(t, err)
	assert.Equal(t, authorize, q)
}

func gotMetadata(t *testing.T, s *oauthtest.Server, a *answer) {
	require.Equal(t, http.StatusOK, a.StatusCode, a.body)
	assert.Equal(t, s.Config.Issuer, a.json["issuer"])
	assert.Contains(t, a.json["token_endpoint"], s.Config.Issuer)
}

func gotNoBody(t *testing.T, _ *oauthtest.Server, a *answer) {
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.Empty(t, a.body)
	assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
}

func gotOK(t *testing.T, _ *oauthtest.Server, a *answer) {
	assert.Equal(t, http.StatusOK, a.StatusCode, a.body)
}

func notAllowed(allow string) func(*testing.T, *oauthtest.Server, *answer) {
	return func(t *testing.T, _ *oauthtest.Server, a *answer) {
		assert.Equal(t, http.StatusMethodNotAllowed, a.StatusCode, a.body)
		assert.Equal(t, allow, a.Header.Get("Allow"))
	}
}

func preflighted(t *testing.T, _ *oauthtest.Server, a *answer) {
	assert.Equal(t, http.StatusNoContent, a.StatusCode, a.body)
	assert.Equal(t, "*", a.Header.Get("Access-Control-Allow-Origin"))
	assert.Equal(t, "POST", a.Header.Get("Access-Control-Allow-Methods"))
	assert.Contains(t, a.Header.Get("Access-Control-Allow-Headers"), "Authorization")
	assert.Empty(t, a.Header.Get("Access-Control-Allow-Credentials"))
}
