package resource_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/resource"
)

// FuzzResourceMetadata: the document is JSON and names the resource to the byte; its URL
// is on the resource's own host, below the well-known path, and a mux takes it.
func FuzzResourceMetadata(f *testing.F) {
	for _, identifier := range []string{"https://api.example", "https://api.example/", "https://api.example/m/", "https://api.example:8443/a%2Fb/é", "http://127.0.0.1:1/x", "http://localhost", "http://api.example",
		"https://u@api.example", "https://api.example?x", "https://api.example#", "https://a<b.example", "https://[::1]/x", "https://api.example//evil.example/", "https://api.example/../x", "//api.example", "api", "https://api.example/{x}/{$}", "https://API.example\\x"} {
		f.Add(identifier, "read", "The API", "GET")
	}
	f.Add("https://api.example/m", "a\"b", "<script>\u2028\xff", "POST")
	f.Add("https://api.example/m", "", "", "OPTIONS")
	f.Fuzz(func(t *testing.T, identifier, scope, name, method string) {
		api := &resource.API{Metadata: &resource.Metadata{Resource: identifier, Scopes: []string{scope}, Name: name, AuthorizationServers: []string{"https://as.example"}}}
		path, h := api.MetadataHandler()
		params, err := parseChallenge(api.Challenge(nil))
		require.NoError(t, err)
		at, told := params["resource_metadata"]
		r := httptest.NewRequest(http.MethodGet, "https://api.example/", nil)
		r.Method = method
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if !told {
			require.Equal(t, 500, w.Code)
			require.True(t, json.Valid(w.Body.Bytes()))
			return
		}
		own, err := url.Parse(identifier)
		require.NoError(t, err)
		u, err := url.Parse(at)
		require.NoError(t, err)
		require.Equal(t, own.Host, u.Host)
		require.Equal(t, own.Scheme, u.Scheme)
		require.Contains(t, []string{"https", "http"}, u.Scheme)
		require.Equal(t, path, u.EscapedPath())
		require.True(t, strings.HasPrefix(path, "/.well-known/oauth-protected-resource"))
		require.Empty(t, u.RawQuery+u.Fragment)
		require.Equal(t, strings.TrimSuffix(own.Path, "/"), strings.TrimSuffix(strings.TrimPrefix(u.Path, "/.well-known/oauth-protected-resource"), "/"))
		switch method {
		case "GET", "HEAD":
			require.Equal(t, 200, w.Code)
			require.Equal(t, []string{"application/json"}, w.Header()["Content-Type"])
			var m map[string]any
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &m))
			if utf8.ValidString(identifier) {
				require.Equal(t, identifier, m["resource"])
			}
			require.Equal(t, []any{"header"}, m["bearer_methods_supported"])
			require.Equal(t, name != "", m["resource_name"] != nil)
		case "OPTIONS":
			require.Equal(t, 204, w.Code)
		default:
			require.Equal(t, 405, w.Code)
			require.Equal(t, "GET, HEAD, OPTIONS", w.Header().Get("Allow"))
		}
	})
}
