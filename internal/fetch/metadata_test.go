package fetch_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/fetch"
)

// site answers by URL; 404 for what it does not know.
type site struct {
	pages map[string]string // status, media type, body: "200 application/json {}"
	asked []string
}

func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked = append(s.asked, r.URL.String())
	page, ok := s.pages[r.URL.String()]
	if page == "down" {
		return nil, errDown
	}
	if !ok {
		page = "404 text/html <p>"
	}
	parts := strings.SplitN(page, " ", 3)
	res := &http.Response{StatusCode: int(parts[0][0]-'0')*100 + int(parts[0][2]-'0'), Header: http.Header{"Content-Type": {parts[1]}},
		Body: io.NopCloser(strings.NewReader(parts[2])), ContentLength: -1}
	return res, nil
}

func (s *site) now() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }

func TestDiscover(t *testing.T) {
	const (
		oauth  = "https://as.example/.well-known/oauth-authorization-server"
		openid = "https://as.example/.well-known/openid-configuration"
		good   = `200 application/json {"issuer":"https://as.example","jwks_uri":"https://as.example/k","introspection_endpoint":"https://as.example/i"}`
		other  = `200 application/json {"issuer":"https://evil.example","jwks_uri":"https://evil.example/k"}`
	)
	for _, tt := range []struct {
		name, issuer string
		pages        map[string]string
		ok           bool
		asked        []string
	}{
		{"RFC 8414 3.1", "https://as.example", map[string]string{oauth: good}, true, []string{oauth}},
		{"OpenID Discovery 4.1", "https://as.example", map[string]string{openid: good}, true, []string{oauth, openid}},
		{"RFC 8414 3.1 path", "https://as.example/a/b", map[string]string{oauth + "/a/b": strings.Replace(good, `example"`, `example/a/b"`, 1)}, true,
			[]string{oauth + "/a/b"}},
		{"OpenID Discovery 4.1 path", "https://as.example/a/b",
			map[string]string{"https://as.example/a/b/.well-known/openid-configuration": strings.Replace(good, `example"`, `example/a/b"`, 1)}, true,
			[]string{oauth + "/a/b", "https://as.example/a/b/.well-known/openid-configuration"}},
		{"RFC 8414 3.1 slash at the end", "https://as.example/a/", map[string]string{oauth + "/a": strings.Replace(good, `example"`, `example/a/"`, 1)}, true,
			[]string{oauth + "/a"}},
		{"escaped path", "https://as.example/a%2Fb", map[string]string{oauth + "/a%2Fb": strings.Replace(good, `example"`, `example/a%2Fb"`, 1)}, true,
			[]string{oauth + "/a%2Fb"}},
		{"port", "https://as.example:8443", map[string]string{"https://as.example:8443/.well-known/oauth-authorization-server": strings.Replace(good, `example"`, `example:8443"`, 1)}, true,
			[]string{"https://as.example:8443/.well-known/oauth-authorization-server"}},
		{"a redirect to a login", "https://as.example", map[string]string{oauth: "302 text/html x", openid: good}, true, []string{oauth, openid}},
		{"a page", "https://as.example", map[string]string{oauth: "200 text/html <p>", openid: good}, true, []string{oauth, openid}},
		{"S307 RFC 8414 3.3 another issuer there", "https://as.example", map[string]string{oauth: other, openid: good}, true, []string{oauth, openid}},

		{"S307 RFC 8414 3.3 another issuer", "https://as.example", map[string]string{oauth: other, openid: other}, false, []string{oauth, openid}},
		{"S307 a slash more", "https://as.example/", map[string]string{oauth: good, openid: good}, false, []string{oauth, openid}},
		{"S307 no issuer", "https://as.example", map[string]string{oauth: `200 application/json {"jwks_uri":"https://as.example/k"}`}, false, []string{oauth, openid}},
		{"S264 issuer in another case", "https://as.example", map[string]string{oauth: strings.Replace(good, `"issuer"`, `"Issuer"`, 1)}, false, []string{oauth, openid}},
		{"S264 twice", "https://as.example", map[string]string{oauth: strings.Replace(good, `{`, `{"jwks_uri":"x",`, 1)}, false, []string{oauth, openid}},
		{"S264 trailing data", "https://as.example", map[string]string{oauth: good + "x"}, false, []string{oauth, openid}},
		{"S264 wrong type", "https://as.example", map[string]string{oauth: strings.Replace(good, `"https://as.example/k"`, `["x"]`, 1)}, false, []string{oauth, openid}},
		{"neither", "https://as.example", nil, false, []string{oauth, openid}},
		{"status", "https://as.example", map[string]string{oauth: "500" + good[3:]}, false, []string{oauth, openid}},
		{"down", "https://as.example", map[string]string{oauth: "down", openid: good}, false, []string{oauth}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{pages: tt.pages}
			d := fetch.Discover(&fetch.Client{Transport: s}, tt.issuer)
			for range 2 {
				m, _, err := d.Get(t.Context(), s.now, 0)
				assert.Equal(t, tt.asked, s.asked, "once")
				if !tt.ok {
					require.Error(t, err)
					assert.NotContains(t, err.Error(), "evil", "S303")
					assert.NotContains(t, err.Error(), "<p>", "S303")
					continue
				}
				require.NoError(t, err)
				assert.Equal(t, fetch.Metadata{JWKSURI: "https://as.example/k", IntrospectionEndpoint: "https://as.example/i"}, m)
			}
		})
	}
	for _, issuer := range []string{"", "as.example", "https://as.example?x=y", "https://as.example#x", "https://u@as.example", "http://as.example"} {
		s := &site{}
		_, _, err := fetch.Discover(&fetch.Client{Transport: s}, issuer).Get(t.Context(), s.now, 0)
		assert.ErrorIs(t, err, fetch.ErrURL, issuer)
		assert.Empty(t, s.asked)
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://as.example","jwks_uri":"https://as.example/k"}`))
	f.Add([]byte(`{"issuer":"https://as.example","issuer":"https://as.example"}`))
	f.Add([]byte(`{"issuer":null}`))
	f.Add([]byte("[]"))
	for _, text := range []string{`{"issuer":"https://as.example/","jwks_uri":"https://as.example/k"}`, `{"issuer":"https://evil.example","jwks_uri":"https://evil.example/k"}`, `{"ISSUER":"https://as.example"}`,
		`{"issuer":"https://as.example","jwks_uri":"http://127.0.0.1/"}`, `{"issuer":"https://as.example","introspection_endpoint":["x"]}`, `{"issuer":"https://as.example"} {}`, "\ufeff{}", `{"issuer":"https:\/\/as.example","jwks_uri":null}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := &site{pages: map[string]string{"https://as.example/.well-known/oauth-authorization-server": "200 application/json " + string(body)}}
		m, _, err := fetch.Discover(&fetch.Client{Transport: s}, "https://as.example").Get(t.Context(), s.now, 0)
		if err == nil { // what is taken, encoding/json reads the same, and it is of this issuer
			var c map[string]any
			require.NoError(t, json.Unmarshal(body, &c))
			require.Equal(t, "https://as.example", c["issuer"])
			for name, got := range map[string]string{"jwks_uri": m.JWKSURI, "introspection_endpoint": m.IntrospectionEndpoint} {
				if got != "" {
					require.Equal(t, c[name], got)
				}
			}
		}
		if err != nil && m != (fetch.Metadata{}) {
			t.Fatal("a document and an error")
		}
	})
}
