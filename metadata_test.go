//lint:file-ignore SA1019 the implicit grant is served, so it is tested

package oauth_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const wellKnown = "/.well-known/oauth-authorization-server"

// fetch gets a path of the server.
func (w *watched) fetch(path string) *oauthtest.Answer {
	w.t.Helper()
	return w.exchange(w.Handler, httptest.NewRequest(http.MethodGet, path, nil), 0)
}

// The profiles whose metadata is compared with a golden document.
var profiles = []struct {
	name string
	edit func(*testing.T) func(*oauth.Config)
}{
	{"full", func(t *testing.T) func(*oauth.Config) {
		_, signer, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		return func(c *oauth.Config) {
			c.Grants = append(c.Grants, grants.Implicit{})
			c.Keys = oauth.StaticKeys(oauth.Key{Signer: signer})
			c.AccessToken = oauth.JWT{}
		}
	}},
	{"machine", func(*testing.T) func(*oauth.Config) {
		return func(c *oauth.Config) {
			c.Grants = []oauth.Grant{grants.ClientCredentials{}}
			c.Scopes = nil
			c.Interact = nil
			c.Clients = oauth.StaticClients(oauth.Client{ID: caseM, Secrets: []string{oauth.HashSecret(oauthtest.Secret)},
				Grants: []string{"client_credentials"}})
		}
	}},
	{"elsewhere", func(*testing.T) func(*oauth.Config) {
		return func(c *oauth.Config) {
			c.Issuer = "https://as.example/tenant1"
			c.Endpoints = oauth.Endpoints{Authorize: "https://login.example/authorize", Token: "/t", Introspect: "-", UserInfo: "-"}
			c.InsecureOmitIssuer = true
		}
	}},
}

func TestMetadataGolden(t *testing.T) {
	for _, p := range profiles {
		t.Run("RFC 8414 2 "+p.name, func(t *testing.T) {
			w := watch(t, p.edit(t))
			issuer, err := url.Parse(w.Config.Issuer)
			require.NoError(t, err)
			a := w.fetch(wellKnown + issuer.Path)
			require.Equal(t, http.StatusOK, a.Status)
			var got bytes.Buffer
			require.NoError(t, json.Indent(&got, a.Body, "", "\t"))
			got.WriteByte('\n')
			file := filepath.Join("testdata", "metadata-"+p.name+".json")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err, "go test -run TestMetadataGolden . -update")
			assert.Equal(t, string(want), got.String())
			assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
			assert.Equal(t, "public, max-age=300", a.Header.Get("Cache-Control"))
			assert.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
			assert.NotContains(t, got.String(), "[]", "RFC 8414 3.2: no empty arrays")
			assert.Empty(t, w.Store.Calls())
		})
	}
}

func TestMetadataIsTrue(t *testing.T) {
	places := []struct{ member, path, method string }{
		{"authorization_endpoint", "/oauth/authorize", http.MethodGet},
		{"token_endpoint", "/oauth/token", http.MethodPost},
		{"revocation_endpoint", "/oauth/revoke", http.MethodPost},
		{"introspection_endpoint", "/oauth/introspect", http.MethodPost},
		{"userinfo_endpoint", "/oauth/userinfo", http.MethodGet},
		{"jwks_uri", "/oauth/jwks", http.MethodGet},
	}
	for _, p := range profiles {
		w := watch(t, p.edit(t))
		issuer, err := url.Parse(w.Config.Issuer)
		require.NoError(t, err)
		m := w.fetch(wellKnown + issuer.Path)
		for _, place := range places {
			t.Run("S309 "+p.name+" "+place.member, func(t *testing.T) {
				w := w.on(t)
				at := m.String(place.member)
				if at == "" {
					for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
						a := w.exchange(w.Handler, httptest.NewRequest(method, issuer.Path+place.path, nil), 0)
						assert.Equal(t, http.StatusNotFound, a.Status)
						h := w.single(place.member)
						assert.Equal(t, http.StatusNotFound, w.exchange(h, httptest.NewRequest(method, "/", nil), 0).Status, "the single handler")
					}
					return
				}
				u, err := url.Parse(at)
				require.NoError(t, err)
				assert.Contains(t, w.Routes(), u.Path)
				a := w.exchange(w.Handler, httptest.NewRequest(place.method, u.Path, nil), 0)
				assert.NotContains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed}, a.Status)
				a = w.exchange(w.single(place.member), httptest.NewRequest(place.method, "/any/where", nil), 0)
				assert.NotContains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed}, a.Status)
			})
		}
		t.Run("S309 "+p.name+" grants at the token endpoint", func(t *testing.T) {
			w := w.on(t)
			u, err := url.Parse(m.String("token_endpoint"))
			require.NoError(t, err)
			for _, g := range []string{"authorization_code", "refresh_token", "client_credentials", "password", "urn:ietf:params:oauth:grant-type:device_code",
				"urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange"} {
				a := w.Post(strings.TrimPrefix(u.Path, issuer.Path), caseM, url.Values{"grant_type": {g}, "scope": {""}})
				types, _ := m.JSON["grant_types_supported"].([]any)
				assert.Equal(t, !slices.Contains(types, any(g)), a.String("error") == "unsupported_grant_type", g)
			}
		})
		t.Run("S309 "+p.name+" response types", func(t *testing.T) {
			at := m.String("authorization_endpoint")
			if at == "" {
				assert.NotContains(t, m.JSON, "response_types_supported")
				return
			}
			w := w.on(t)
			types, _ := m.JSON["response_types_supported"].([]any)
			for _, rt := range []string{"code", "token", "id_token", "none", "code token", "code id_token"} {
				a := w.exchange(w.AuthorizeHandler(), w.request(az("response_type="+url.QueryEscape(rt))), 0)
				_, params := a.Location()
				assert.Equal(t, !slices.Contains(types, any(rt)), params.Get("error") == "unsupported_response_type", rt)
			}
			modes, _ := m.JSON["response_modes_supported"].([]any)
			for _, mode := range []string{"query", "fragment", "form_post", "jwt", "query.jwt", "web_message"} {
				a := w.exchange(w.AuthorizeHandler(), w.request(az("response_mode="+mode)), 0)
				_, params := a.Location()
				assert.Equal(t, slices.Contains(modes, any(mode)), params.Has("code"), mode)
			}
		})
	}
}

// single is the handler behind a member of the metadata.
func (w *watched) single(member string) http.Handler {
	return map[string]http.Handler{"authorization_endpoint": w.AuthorizeHandler(), "token_endpoint": w.TokenHandler(),
		"revocation_endpoint": w.RevokeHandler(), "introspection_endpoint": w.IntrospectHandler(),
		"userinfo_endpoint": w.UserInfoHandler(), "jwks_uri": w.JWKSHandler()}[member]
}

func TestMetadataAuthMethods(t *testing.T) {
	w := watch(t)
	m := w.fetch(wellKnown)
	attempt := func(path string, basic bool, form url.Values) string {
		form.Set("grant_type", "client_credentials")
		form.Set("scope", "read")
		form.Set("token", "unknown")
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if basic {
			r.SetBasicAuth(caseM, oauthtest.Secret)
		}
		return w.exchange(w.Handler, r, 0).String("error")
	}
	for _, e := range []struct{ member, path string }{
		{"token_endpoint_auth_methods_supported", "/oauth/token"},
		{"revocation_endpoint_auth_methods_supported", "/oauth/revoke"},
		{"introspection_endpoint_auth_methods_supported", "/oauth/introspect"},
	} {
		t.Run("S309 "+e.member, func(t *testing.T) {
			w.t = t
			methods, _ := m.JSON[e.member].([]any)
			assert.Contains(t, methods, "private_key_jwt", "TestClientAssertion uses it at each of the three")
			for method, got := range map[string]string{
				"client_secret_basic": attempt(e.path, true, url.Values{}),
				"client_secret_post":  attempt(e.path, false, url.Values{"client_id": {caseM}, "client_secret": {oauthtest.Secret}}),
				"none":                attempt(e.path, false, url.Values{"client_id": {caseP}}),
			} {
				assert.Equal(t, slices.Contains(methods, any(method)), got != "invalid_client", method+" "+got)
			}
		})
	}
	t.Run("S309 code_challenge_methods_supported", func(t *testing.T) {
		assert.Equal(t, []any{"S256"}, m.JSON["code_challenge_methods_supported"])
		assert.NotContains(t, m.JSON, "pushed_authorization_request_endpoint")
		assert.NotContains(t, m.JSON, "registration_endpoint")
	})
}

func TestMetadataIssuer(t *testing.T) {
	t.Run("S307 octet for octet the configured one, here and in iss", func(t *testing.T) {
		for _, issuer := range []string{"https://as.example", "https://as.example/Tenant1", "https://as.example:8443/a/b", "http://127.0.0.1:8080", "http://[::1]:9"} {
			w := watch(t, func(c *oauth.Config) { c.Issuer = issuer })
			u, err := url.Parse(issuer)
			require.NoError(t, err)
			m := w.fetch(wellKnown + u.Path)
			assert.Equal(t, issuer, m.String("issuer"))
			assert.Equal(t, issuer+"/oauth/token", m.String("token_endpoint"))
			a := w.exchange(w.AuthorizeHandler(), w.request(az()), 0)
			assert.Equal(t, []string{issuer}, w.code(a, backP+"?")["iss"])
		}
	})
	t.Run("S310 an issuer with a path: at the root, and nowhere else", func(t *testing.T) {
		w := watch(t, func(c *oauth.Config) { c.Issuer = "https://as.example/tenant1" })
		assert.Equal(t, http.StatusOK, w.fetch(wellKnown+"/tenant1").Status)
		for _, path := range []string{wellKnown, wellKnown + "/tenant2", wellKnown + "/tenant1/", "/tenant1" + wellKnown, "/tenant1", "/oauth/token"} {
			assert.Equal(t, http.StatusNotFound, w.fetch(path).Status, path)
		}
		assert.Contains(t, w.Routes(), "/tenant1/oauth/authorize")
	})
	t.Run("S307 what is no issuer", func(t *testing.T) {
		for _, issuer := range []string{"", "http://as.example", "https://as.example/", "https://as.example?x=1", "https://as.example#f", "https://u@as.example",
			"as.example", "//as.example", "https://", "https://as.example/a//b", "https://as.example/a/../b", "https://as.example/%41", "ftp://as.example",
			"https://as.example/a b", "http://127.0.0.2"} {
			cfg := watch(t).Config
			cfg.Issuer = issuer
			_, err := oauth.New(cfg)
			assert.ErrorContains(t, err, "oauth: Config.Issuer", issuer)
		}
	})
	forged := func(r *http.Request) *http.Request {
		r.Host = "evil.com"
		for name, value := range map[string]string{"X-Forwarded-Host": "evil.com", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "666",
			"X-Forwarded-Prefix": "/evil", "Forwarded": "host=evil.com;proto=http", "X-Original-URL": "/evil", "X-Rewrite-URL": "/evil"} {
			r.Header.Set(name, value)
		}
		return r
	}
	t.Run("V053 S308 Host and X-Forwarded-* shape nothing", func(t *testing.T) {
		w := watch(t)
		plain := w.fetch(wellKnown)
		a := w.exchange(w.Handler, forged(httptest.NewRequest(http.MethodGet, wellKnown, nil)), 0)
		assert.Equal(t, plain, a)
		for _, r := range []*http.Request{w.request(az()), w.request(az("client_id=nope")), w.request(az("scope=nope")), w.posted("", az())} {
			a := w.exchange(w.Handler, forged(r), 0)
			for name, values := range a.Header {
				assert.NotContains(t, strings.Join(values, " "), "evil", name)
			}
			assert.NotContains(t, string(a.Body), "evil")
		}
		a = w.exchange(w.Handler, forged(w.posted("", az())), 0)
		assert.True(t, strings.HasPrefix(a.Header.Get("Location"), "https://as.example/oauth/authorize?"))
		w.Interact(func(_ http.ResponseWriter, _ *http.Request, in *oauth.Interaction) {
			assert.Equal(t, "https://as.example/oauth/authorize", in.AuthorizeURL())
		})
		a = w.exchange(w.Handler, forged(w.request(az())), 0)
		cookies := (&http.Response{Header: a.Header}).Cookies()
		require.Len(t, cookies, 1)
		assert.Equal(t, "__Host-oauth", cookies[0].Name, "S087 the issuer's scheme counts, not the request's")
		assert.True(t, cookies[0].Secure)
	})
	t.Run("RFC 8414 3.1 methods", func(t *testing.T) {
		w := watch(t)
		for _, path := range []string{wellKnown} {
			a := w.exchange(w.Handler, httptest.NewRequest(http.MethodPost, path, nil), 0)
			assert.Equal(t, http.StatusMethodNotAllowed, a.Status)
			assert.Equal(t, "GET, HEAD", a.Header.Get("Allow"))
			assert.Equal(t, "invalid_request", a.String("error"))
			head := w.exchange(w.Handler, httptest.NewRequest(http.MethodHead, path, nil), 0)
			assert.Equal(t, http.StatusOK, head.Status)
			assert.Equal(t, "application/json", head.Header.Get("Content-Type"))
		}
	})
}

// keySource is a KeySource of the host's own.
type keySource func() ([]oauth.Key, error)

func (k keySource) Keys(context.Context) ([]oauth.Key, error) { return k() }

func TestMetadataJWKS(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	keys := []oauth.Key{{Signer: ed}, {Signer: ec}, {Signer: rs, ID: "rsa-2030"}}
	for name, source := range map[string]oauth.KeySource{"static": oauth.StaticKeys(keys...), "of the host": keySource(func() ([]oauth.Key, error) { return keys, nil })} {
		t.Run("S311 public members only, unique kid: "+name, func(t *testing.T) {
			w := watch(t, func(c *oauth.Config) { c.Keys = source })
			a := w.fetch("/oauth/jwks")
			require.Equal(t, http.StatusOK, a.Status)
			assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
			assert.Equal(t, "public, max-age=300, must-revalidate", a.Header.Get("Cache-Control"))
			var set struct{ Keys []map[string]any }
			require.NoError(t, json.Unmarshal(a.Body, &set))
			require.Len(t, set.Keys, 3)
			kids := map[any]bool{}
			for _, k := range set.Keys {
				kids[k["kid"]] = true
				assert.NotEqual(t, "oct", k["kty"])
				for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k", "oth"} {
					assert.NotContains(t, k, private)
				}
				assert.Equal(t, "sig", k["use"])
				assert.NotEmpty(t, k["alg"])
			}
			assert.Len(t, kids, 3)
			assert.True(t, kids["rsa-2030"])
		})
	}
	t.Run("S311 a symmetric key is never published", func(t *testing.T) {
		secret := []byte(strings.Repeat("symmetric", 4))
		w := watch(t, func(c *oauth.Config) {
			c.AccessToken = oauth.JWT{InsecureSymmetricKey: secret}
			c.Keys = oauth.StaticKeys(keys...)
		})
		a := w.fetch("/oauth/jwks")
		assert.NotContains(t, string(a.Body), `"oct"`)
		assert.NotContains(t, string(a.Body), string(secret))
	})
	t.Run("design 4 rule 4 a key source that fails is 503", func(t *testing.T) {
		w := watch(t, func(c *oauth.Config) {
			c.Keys = keySource(func() ([]oauth.Key, error) { return nil, errors.New("kms: 10.0.0.9") })
		})
		a := w.exchange(w.Handler, httptest.NewRequest(http.MethodGet, "/oauth/jwks", nil), 503)
		assert.Equal(t, "temporarily_unavailable", a.String("error"))
		assert.NotEmpty(t, a.Header.Get("Retry-After"))
		assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		assert.NotContains(t, string(a.Body), "10.0.0.9")
	})
	t.Run("S309 no keys, no JWKS", func(t *testing.T) {
		w := watch(t)
		assert.Equal(t, http.StatusNotFound, w.fetch("/oauth/jwks").Status)
		assert.NotContains(t, w.fetch(wellKnown).JSON, "jwks_uri")
	})
	t.Run("design 6 guards see metadata and keys once", func(t *testing.T) {
		var calls []string
		w := watch(t, func(c *oauth.Config) {
			c.Keys = oauth.StaticKeys(keys...)
			c.Guards = []oauth.Guard{func(_ context.Context, call *oauth.Call) error {
				calls = append(calls, call.Endpoint)
				return &oauth.Error{Code: oauth.AccessDenied, Status: http.StatusForbidden}
			}}
		})
		assert.Equal(t, http.StatusForbidden, w.fetch(wellKnown).Status)
		assert.Equal(t, http.StatusForbidden, w.fetch("/oauth/jwks").Status)
		assert.Equal(t, []string{"metadata", "jwks"}, calls)
	})
}

func TestMetadataEndpoints(t *testing.T) {
	for name, endpoints := range map[string]oauth.Endpoints{
		"RFC 6749 3.1 a fragment": {Token: "/t#f"}, "RFC 6749 3.2 a query": {Token: "/t?a=b"}, "http elsewhere": {Token: "http://x.example/t"},
		"RFC 7009 2 http, to revoke": {Revoke: "http://x.example/r"}, "RFC 7009 2 a fragment, to revoke": {Revoke: "https://x.example/r#f"},
		"RFC 7662 2 http, to introspect": {Introspect: "http://x.example/i"},
		"two at one path":                {Token: "/x", Revoke: "/x"}, "no path": {Token: "https://x.example"}, "relative": {Token: "t"}, "the place of the metadata": {Token: wellKnown},
	} {
		t.Run("design 6 refused: "+name, func(t *testing.T) {
			cfg := watch(t).Config
			cfg.Endpoints = endpoints
			_, err := oauth.New(cfg)
			assert.ErrorContains(t, err, "oauth: Config.Endpoints.")
		})
	}
}
