package oauth_test

import (
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/oauthtest"
)

// Regression tests of advisories that no test of a case has in its name.

// V071: an API of Gitea looked at scopes where a token came as Bearer and not where it
// came as a password.
func TestScopesOnEveryPath(t *testing.T) {
	w := newWire(t)
	token := w.AccessToken("alice", "read")
	api := w.API().Require("write")(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Write([]byte("written"))
	}))
	encoded := func(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }
	for name, c := range map[string]struct {
		header, query, body string
		want                int
	}{
		"Bearer":                        {"Bearer " + token, "", "", 403},
		"Basic, the token as user":      {encoded(token + ":"), "", "", 401},
		"Basic, the token as password":  {encoded("alice:" + token), "", "", 401},
		"Basic, x-oauth-basic":          {encoded(token + ":x-oauth-basic"), "", "", 401},
		"the scheme token":              {"token " + token, "", "", 401},
		"in the query":                  {"", "?access_token=" + token, "", 401},
		"in the query, named token":     {"", "?token=" + token, "", 401},
		"in a form":                     {"", "", "access_token=" + token, 401},
		"in the query and Bearer":       {"Bearer " + token, "?access_token=" + token, "", 400},
		"a scope beside it in the form": {"Bearer " + token, "", "scope=write", 403},
	} {
		t.Run("S391 V071 "+name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/api/things"+c.query, strings.NewReader(c.body))
			r.Header.Set("Content-Type", formType)
			if c.header != "" {
				r.Header.Set("Authorization", c.header)
			}
			rec := httptest.NewRecorder()
			api.ServeHTTP(rec, r)
			assert.Equal(t, c.want, rec.Code, rec.Body)
			assert.NotContains(t, rec.Body.String(), "written")
			assert.NotContains(t, rec.Body.String(), token)
		})
	}
}

// V086: Keycloak fetched a request_uri for whoever asked. There are no request objects
// here: a request that has one is refused.
func TestRequestURIIsNotFetched(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	asked := make(chan struct{}, 10)
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
	})}}
	server.Start()
	w := watch(t)
	uri := "request_uri=" + url.QueryEscape(server.URL+"/")
	t.Run("V086 S238 beside a whole request", func(t *testing.T) {
		w := w.on(t)
		w.re(w.get(az("+"+uri)), "request_uri_not_supported")
		w.re(w.get(az("+"+uri, "-response_type", "-scope")), "request_uri_not_supported")
		w.re(w.get(az("+request=e30.e30.AA")), "request_not_supported")
		w.re(w.get(az("+request=e30.e30.AA", "+"+uri)), "request_not_supported")
	})
	t.Run("OIDC Core 3.1.2.6 empty ones are none", func(t *testing.T) {
		w := w.on(t)
		w.code(w.get(az("+request=", "+request_uri=")), backP+"?")
	})
	t.Run("V086 S238 with another client's redirect URI", func(t *testing.T) {
		w := w.on(t)
		query := az("redirect_uri="+url.QueryEscape(server.URL+"/"), "+"+uri)
		w.page(w.get(query), 400, query)
	})
	t.Run("V086 instead of one", func(t *testing.T) {
		w := w.on(t)
		a := w.get("client_id=P&" + uri)
		_, params := a.Location()
		assert.Empty(t, params.Get("code"))
		assert.NotContains(t, string(a.Body), server.URL)
	})
	server.Close() // waits for requests under way
	assert.Empty(t, asked)
}

// V137: a new grant of one install of a client ended those of the others.
func TestGrantsOfOneClientAreApart(t *testing.T) {
	for _, client := range []string{oauthtest.SPAClient, oauthtest.WebClient} {
		t.Run("V137 "+client, func(t *testing.T) {
			w := newWire(t)
			first := w.Redeem(w.Code(client))
			second := w.Redeem(w.Code(client))
			w.Approve("bob")
			third := w.Redeem(w.Code(client))
			require.Equal(t, "200", outcome(w.Refresh(client, second.String("refresh_token"))))
			w.revoke(client, third.String("refresh_token"))
			assert.True(t, w.active(first.String("access_token")))
			assert.True(t, w.active(second.String("access_token")))
			assert.False(t, w.active(third.String("access_token")))
			assert.Equal(t, "200", outcome(w.Refresh(client, first.String("refresh_token"))))
		})
	}
}

// V140: a client put the authorization endpoint of the metadata into a shell's words.
func TestMetadataURLsArePlain(t *testing.T) {
	w := newWire(t)
	m := w.Do(httptest.NewRequest("GET", "/.well-known/oauth-authorization-server", nil))
	require.Equal(t, 200, m.Status)
	urls := 0
	for name, value := range m.JSON {
		text, is := value.(string)
		if !is || name == "scopes_supported" {
			continue
		}
		t.Run("V140 "+name, func(t *testing.T) {
			u, err := url.Parse(text)
			require.NoError(t, err)
			assert.Equal(t, "https", u.Scheme)
			assert.Equal(t, "as.example", u.Host)
			assert.False(t, strings.ContainsFunc(text, func(c rune) bool {
				return c <= ' ' || c > '~' || strings.ContainsRune("\"'`$&|;<>(){}[]\\^*!#", c)
			}), text)
		})
		urls++
	}
	assert.GreaterOrEqual(t, urls, 5)
}
