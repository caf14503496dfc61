package interop_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/resource"
)

// The two APIs of one server.
const (
	apiA = "https://a.example"
	apiB = "https://b.example/api"
)

// serveAPI is an API in the process of the server.
func serveAPI(t *testing.T, s *server, audience string) string {
	t.Helper()
	api := &resource.API{Verifier: s, Audience: audience}
	web := httptest.NewServer(api.Require("notes:read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := resource.FromContext(r.Context())
		_, _ = io.WriteString(w, token.Subject)
	})))
	t.Cleanup(web.Close)
	return web.URL
}

// call is what an API answers to a client of x/oauth2.
func call(t *testing.T, client *http.Client, at string) (int, string) {
	t.Helper()
	resp, err := client.Get(at)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

// RFC 8707 with x/oauth2, which knows the parameter as an AuthCodeOption alone.
func TestXOAuth2Resource(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *oauth.Config) {
		c.Resources = []oauth.Resource{{Identifier: apiA}, {Identifier: apiB}}
	})
	a, b := serveAPI(t, s, apiA), serveAPI(t, s, apiB)
	endpoint := oauth2.Endpoint{AuthURL: s.issuer + "/oauth/authorize", TokenURL: s.issuer + "/oauth/token"}
	config := &oauth2.Config{
		ClientID: "web:app+1", ClientSecret: webSecret, Endpoint: endpoint, RedirectURL: "http://127.0.0.1/callback", Scopes: []string{"notes:read"},
	}
	at := func(resource string) oauth2.AuthCodeOption { return oauth2.SetAuthURLParam("resource", resource) }
	verifier := oauth2.GenerateVerifier()
	authorize := func(t *testing.T, options ...oauth2.AuthCodeOption) url.Values {
		browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := browser.Get(config.AuthCodeURL("state", append(options, oauth2.S256ChallengeOption(verifier))...))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		back, err := resp.Location()
		require.NoError(t, err)
		return back.Query()
	}
	exchange := func(t *testing.T, code string, options ...oauth2.AuthCodeOption) (*oauth2.Token, error) {
		return config.Exchange(t.Context(), code, append(options, oauth2.VerifierOption(verifier))...)
	}
	only := func(t *testing.T, client *http.Client, good, bad, subject string) {
		status, text := call(t, client, good)
		assert.Equal(t, 200, status)
		assert.Equal(t, subject, text)
		status, text = call(t, client, bad)
		assert.Equal(t, 401, status)
		assert.Contains(t, text, "invalid_token")
	}
	t.Run("RFC 8707 2.1: a token for A is refused at B", func(t *testing.T) {
		token, err := exchange(t, authorize(t, at(apiA)).Get("code"))
		require.NoError(t, err)
		only(t, config.Client(t.Context(), token), a, b, "alice")
		token.Expiry = time.Now().Add(-time.Minute) // x/oauth2 refreshes it by itself
		only(t, config.Client(t.Context(), token), a, b, "alice")
	})
	t.Run("RFC 8707 2.2: and at the token endpoint", func(t *testing.T) {
		token, err := exchange(t, authorize(t, at(apiB)).Get("code"), at(apiB))
		require.NoError(t, err)
		only(t, config.Client(t.Context(), token), b, a, "alice")
	})
	t.Run("RFC 8707 2.2: not another one than was approved", func(t *testing.T) {
		code := authorize(t, at(apiA)).Get("code")
		_, err := exchange(t, code, at(apiB))
		var refused *oauth2.RetrieveError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, "invalid_target", refused.ErrorCode)
		_, err = exchange(t, code, at(apiA))
		require.NoError(t, err, "a failed attempt burns nothing")
	})
	t.Run("RFC 8707 2: one that does not exist", func(t *testing.T) {
		assert.Equal(t, "invalid_target", authorize(t, at("https://c.example")).Get("error"))
	})
	t.Run("RFC 8707 2.2: client_credentials", func(t *testing.T) {
		machine := clientcredentials.Config{
			ClientID: "machine", ClientSecret: machineSecret, TokenURL: endpoint.TokenURL, Scopes: []string{"notes:read"},
			EndpointParams: url.Values{"resource": {apiA}},
		}
		only(t, machine.Client(t.Context()), a, b, "")
	})
	assert.Empty(t, s.ended(), "x/oauth2 tries both ways to authenticate: nothing ends for it")
}
