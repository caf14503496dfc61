package resource_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/grantwell/oauth/resource"
)

func TestMetadata(t *testing.T) {
	a := &resource.API{Audience: "https://api.example/notes", Metadata: &resource.Metadata{
		AuthorizationServers: []string{issuer}, Scopes: []string{"read", "write"}, Name: "Notes", Documentation: "https://api.example/doc",
		Policy: "https://api.example/policy", TermsOfService: "https://api.example/tos",
	}}
	mux := http.NewServeMux()
	mux.Handle(a.MetadataHandler())
	send := func(method string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, "https://api.example/.well-known/oauth-protected-resource/notes", nil))
		return w
	}
	t.Run("RFC 9728 3.2 GET", func(t *testing.T) {
		w := send("GET")
		assert.Equal(t, 200, w.Code)
		assert.Equal(t, `{"resource":"https://api.example/notes","authorization_servers":["https://as.example"],"scopes_supported":["read","write"],`+
			`"bearer_methods_supported":["header"],"resource_name":"Notes","resource_documentation":"https://api.example/doc",`+
			`"resource_policy_uri":"https://api.example/policy","resource_tos_uri":"https://api.example/tos"}`, w.Body.String())
		assert.Equal(t, http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"public, max-age=300"},
			"X-Content-Type-Options": {"nosniff"}, "Access-Control-Allow-Origin": {"*"}}, w.Header())
	})
	t.Run("HEAD", func(t *testing.T) { assert.Equal(t, 200, send("HEAD").Code) })
	t.Run("preflight", func(t *testing.T) {
		w := send("OPTIONS")
		assert.Equal(t, 204, w.Code)
		assert.Equal(t, "GET, HEAD", w.Header().Get("Access-Control-Allow-Methods"))
		assert.Equal(t, "*", w.Header().Get("Access-Control-Allow-Headers"))
		assert.Empty(t, w.Body.String())
	})
	t.Run("POST", func(t *testing.T) {
		w := send("POST")
		assert.Equal(t, 405, w.Code)
		assert.Equal(t, "GET, HEAD, OPTIONS", w.Header().Get("Allow"))
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	})
	t.Run("RFC 9728 3.2 nothing empty", func(t *testing.T) {
		_, h := (&resource.API{Audience: "https://api.example", Metadata: &resource.Metadata{}}).MetadataHandler()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		assert.Equal(t, `{"resource":"https://api.example","bearer_methods_supported":["header"]}`, w.Body.String())
	})
}

// The document, its path and the challenge come from one value.
func TestMetadataURL(t *testing.T) {
	const at = "/.well-known/oauth-protected-resource"
	for resourceID, want := range map[string]string{ // the URL; "" where there is none
		"https://api.example":        "https://api.example" + at,
		"https://api.example/":       "https://api.example" + at,
		"https://api.example:8443":   "https://api.example:8443" + at,
		"https://api.example/mcp":    "https://api.example" + at + "/mcp",
		"https://api.example/a/b":    "https://api.example" + at + "/a/b",
		"https://api.example/a/":     "https://api.example" + at + "/a/",
		"https://api.example/a%2Fb":  "https://api.example" + at + "/a%2Fb",
		"https://api.example/{x}":    "https://api.example" + at + "/%7Bx%7D",
		"https://api.example/{$}":    "https://api.example" + at + "/%7B$%7D",
		"https://api.example/a b":    "https://api.example" + at + "/a%20b",
		"https://api.example/a%20b":  "https://api.example" + at + "/a%20b",
		"https://api.example/%7B%25": "https://api.example" + at + "/%7B%25",
		"https://api.example/é":      "https://api.example" + at + "/%C3%A9",
		"http://127.0.0.1:8080/mcp":  "http://127.0.0.1:8080" + at + "/mcp",
		"http://[::1]:8080":          "http://[::1]:8080" + at,
		"http://localhost/mcp":       "http://localhost" + at + "/mcp",
		"http://api.example":         "",
		"https://api.example?x=y":    "",
		"https://api.example#x":      "",
		"https://u:p@api.example":    "",
		"urn:example:api":            "",
		"api":                        "",
		"":                           "",
		"https://api.example/\r\nX:": "",
	} {
		t.Run("RFC 9728 3.1 "+resourceID, func(t *testing.T) {
			for _, a := range []*resource.API{
				{Audience: resourceID, Metadata: &resource.Metadata{}, Verifier: verifierOf("live", live())},
				{Audience: "other", Metadata: &resource.Metadata{Resource: resourceID}, Verifier: verifierOf("live", live())},
			} {
				if resourceID == "" && a.Audience == "other" {
					continue // then it is the Audience
				}
				path, h := a.MetadataHandler()
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
				mux := http.NewServeMux()
				mux.Handle(path, h)
				challenge := a.Challenge(nil)
				if want == "" {
					assert.Equal(t, `Bearer realm="oauth"`, challenge)
					assert.Equal(t, at, path)
					assert.Equal(t, 500, w.Code)
					continue
				}
				assert.Equal(t, 200, w.Code)
				assert.Equal(t, `Bearer resource_metadata="`+want+`"`, challenge)
				assert.Contains(t, w.Body.String(), `"resource":"`+resourceID+`"`, "RFC 9728, section 3.3")
				assert.True(t, strings.HasSuffix(want, path), path)
				w = httptest.NewRecorder()
				mux.ServeHTTP(w, httptest.NewRequest("GET", want, nil))
				assert.Equal(t, 200, w.Code)
				w = httptest.NewRecorder()
				mux.ServeHTTP(w, httptest.NewRequest("GET", "https://api.example"+at+"/other", nil))
				assert.Equal(t, 404, w.Code)
			}
		})
	}
	t.Run("misconfigured, and the operator learns it", func(t *testing.T) {
		var out bytes.Buffer
		a := &resource.API{Logger: slog.New(slog.NewTextHandler(&out, nil)), Error: func(w http.ResponseWriter, _ *http.Request, e *resource.Error) {
			w.WriteHeader(e.HTTPStatus())
			_, _ = w.Write([]byte("own"))
		}}
		_, h := a.MetadataHandler()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		assert.Equal(t, 500, w.Code)
		assert.Equal(t, "own", w.Body.String())
		assert.Contains(t, out.String(), "endpoint=metadata status=500")
		assert.Contains(t, out.String(), "no Metadata")
	})
}
