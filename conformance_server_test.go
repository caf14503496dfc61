package oauth_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/resource"
)

// What docs/conformance.md names of RFC 8414, 8707, 9068 and 7523 and no other file tests.

// documents answers by URL without a socket, and keeps what it was asked.
type documents struct {
	pages map[string]string
	asked []string
}

func (d *documents) RoundTrip(r *http.Request) (*http.Response, error) {
	d.asked = append(d.asked, r.Method+" "+r.URL.String())
	status, body := http.StatusNotFound, ""
	if page, ok := d.pages[r.URL.String()]; ok {
		status, body = http.StatusOK, page
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

const (
	composed   = "caf\u00e9"  // one code point for the last letter
	decomposed = "cafe\u0301" // two, which Unicode calls the same
)

// A resource server of another process: what it reads, how, and what it makes of it.
func TestReaderOfMetadata(t *testing.T) {
	const issuer, keys = "https://as.example/" + composed, "https://as.example/keys"
	const document = "https://as.example" + wellKnown + "/caf%C3%A9"
	s := newServer(t)
	key := esKey(t, "k")
	claims := `{"iss":"` + issuer + `","sub":"alice","aud":"https://api.example/` + composed + `","client_id":"app","jti":"1",` +
		`"iat":1893553445,"exp":1893553500}`
	reader := func(metadata string) (*resource.JWT, *documents) {
		d := &documents{pages: map[string]string{document: metadata, keys: string(publicJWKS(t, key))}}
		return &resource.JWT{Issuer: issuer, Transport: d, Now: s.Clock.Now}, d
	}
	verify := func(metadata, typ, claims string) (*resource.Token, error) {
		v, _ := reader(metadata)
		return v.VerifyToken(t.Context(), signed(t, key, typ, json.RawMessage(claims)))
	}
	good := `{"issuer":"` + issuer + `","jwks_uri":"` + keys + `"}`
	t.Run("RFC 8414 3.1 it asks by GET, at the path before the issuer's", func(t *testing.T) {
		v, d := reader(good)
		token, err := v.VerifyToken(t.Context(), signed(t, key, "at+jwt", json.RawMessage(claims)))
		require.NoError(t, err)
		assert.Equal(t, "alice", token.Subject)
		assert.Equal(t, []string{"GET " + document, "GET " + keys}, d.asked)
	})
	t.Run("RFC 8414 4 escapes are undone", func(t *testing.T) {
		written := strings.NewReplacer("/", `\/`, `"iss`, `"\u0069ss`, composed, `caf\u00E9`)
		token, err := verify(written.Replace(good), "at+jwt", written.Replace(claims))
		require.NoError(t, err)
		assert.Equal(t, issuer, token.Issuer)
		assert.True(t, token.For("https://api.example/"+composed))
	})
	t.Run("RFC 8414 4 nothing is normalized", func(t *testing.T) {
		other := strings.NewReplacer(composed, decomposed)
		_, err := verify(other.Replace(good), "at+jwt", claims)
		require.Error(t, err, "issuer of the document")
		require.NotErrorIs(t, err, resource.InvalidToken)
		_, err = verify(good, "at+jwt", strings.Replace(claims, composed, decomposed, 1))
		require.ErrorIs(t, err, resource.InvalidToken, "iss of the token")
		token, err := verify(good, "at+jwt", strings.Replace(claims, "api.example/"+composed, "api.example/"+decomposed, 1))
		require.NoError(t, err)
		assert.False(t, token.For("https://api.example/"+composed), "aud")
		assert.True(t, token.For("https://api.example/"+decomposed), "aud")
	})
	for typ, ok := range map[string]bool{
		"at+jwt": true, "application/at+jwt": true, "AT+JWT": true, "Application/At+Jwt": true,
		"JWT": false, "application/jwt": false, "text/at+jwt": false, "at+jwt; v=1": false, "at-jwt": false, "": false,
	} {
		t.Run("RFC 9068 4 typ "+typ, func(t *testing.T) {
			_, err := verify(good, typ, claims)
			if ok {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, resource.InvalidToken)
		})
	}
}

// What the metadata lists, of all profiles.
func TestMetadataLists(t *testing.T) {
	for _, p := range profiles {
		w := watch(t, p.edit(t))
		u, err := url.Parse(w.Config.Issuer)
		require.NoError(t, err)
		m := w.fetch(wellKnown + u.Path).JSON
		require.NotEmpty(t, m)
		t.Run("RFC 8414 3.2 lists are arrays, and not empty: "+p.name, func(t *testing.T) {
			for name, value := range m {
				if !strings.HasSuffix(name, "_supported") || name == "authorization_response_iss_parameter_supported" {
					continue
				}
				list, ok := value.([]any)
				assert.True(t, ok, name)
				assert.NotEmpty(t, list, name)
			}
		})
		t.Run("RFC 8414 2 algorithms: "+p.name, func(t *testing.T) {
			for _, e := range []string{"token", "revocation", "introspection"} {
				methods, _ := m[e+"_endpoint_auth_methods_supported"].([]any)
				algorithms, _ := m[e+"_endpoint_auth_signing_alg_values_supported"].([]any)
				if _, served := m[e+"_endpoint"]; !served {
					assert.Empty(t, methods, e)
					assert.Empty(t, algorithms, e)
					continue
				}
				assert.Contains(t, methods, "private_key_jwt", e)
				assert.Contains(t, algorithms, "RS256", e)
				assert.NotContains(t, algorithms, "none", e)
			}
		})
		t.Run("RFC 8414 2 nothing is left to a default: "+p.name, func(t *testing.T) {
			for endpoint, lists := range map[string][]string{
				"token_endpoint":         {"grant_types_supported", "token_endpoint_auth_methods_supported"},
				"revocation_endpoint":    {"revocation_endpoint_auth_methods_supported"},
				"introspection_endpoint": {"introspection_endpoint_auth_methods_supported"},
				"authorization_endpoint": {"response_types_supported", "response_modes_supported", "code_challenge_methods_supported"},
			} {
				_, served := m[endpoint]
				for _, name := range lists {
					_, listed := m[name]
					assert.Equal(t, served, listed, name)
				}
			}
		})
	}
}

func TestEndpointsAreHTTPS(t *testing.T) {
	const at = "http://other.example/x"
	for field, endpoints := range map[string]oauth.Endpoints{
		"Authorize": {Authorize: at}, "Token": {Token: at}, "Revoke": {Revoke: at},
		"Introspect": {Introspect: at}, "UserInfo": {UserInfo: at}, "JWKS": {JWKS: at},
	} {
		t.Run("RFC 8414 2 "+field, func(t *testing.T) {
			cfg := watch(t, profiles[0].edit(t)).Config
			_, err := oauth.New(cfg)
			require.NoError(t, err)
			cfg.Endpoints = endpoints
			_, err = oauth.New(cfg)
			require.ErrorContains(t, err, "oauth: Config.Endpoints."+field+" is neither a path nor an https URL")
		})
	}
}

func TestMalformedResource(t *testing.T) {
	const api = "https://api.example/v1"
	s := newServer(t, func(c *oauth.Config) { c.Resources = []oauth.Resource{{Identifier: api}} })
	machine := func(names ...string) *oauthtest.Answer {
		return s.Token(oauthtest.MachineClient, forAPI(url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}, names...))
	}
	wantOK(t, machine(api))
	for name, value := range map[string]string{
		"relative": "/v1", "a name": "api", "a fragment": api + "#x", "an empty fragment": api + "#", "a query": api + "?x=y",
		"a slash more": api + "/", "two in one": api + " " + api, "another case": "HTTPS://API.EXAMPLE/v1", "no URI": "%", "a port": "https://api.example:443/v1",
	} {
		for which, names := range map[string][]string{"alone": {value}, "beside a good one": {api, value}} {
			t.Run("RFC 8707 2.1 "+name+" "+which, func(t *testing.T) {
				a, code := s.Authorize(oauthtest.WebClient, url.Values{"resource": names})
				_, params := a.Location()
				assert.Equal(t, "invalid_target", params.Get("error"))
				assert.Empty(t, code.Code)
			})
			t.Run("RFC 8707 2.2 "+name+" "+which, func(t *testing.T) { wantError(t, machine(names...), 400, oauth.InvalidTarget) })
		}
	}
}

// The scope of a token for several resources is what means something at one of them.
func TestSeveralResources(t *testing.T) {
	const a, b = "https://a.example", "https://b.example"
	s := newServer(t, threeAPIs(t), func(c *oauth.Config) {
		c.AccessToken = oauth.JWT{}
		c.Resources = []oauth.Resource{{Identifier: a, Scopes: []string{"read"}}, {Identifier: b, Scopes: []string{"write"}}}
	})
	for name, c := range map[string]struct {
		resources []string
		scope     string
		audience  string
	}{
		"RFC 9068 5 both":           {[]string{a, b}, "read write", `["` + a + `","` + b + `"]`},
		"RFC 9068 2.2.3 the first":  {[]string{a}, "read", `"` + a + `"`},
		"RFC 9068 2.2.3 the second": {[]string{b}, "write", `"` + b + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			form := url.Values{"grant_type": {"client_credentials"}, "scope": {"read write files"}}
			answer := wantOK(t, s.Token(oauthtest.MachineClient, forAPI(form, c.resources...)))
			assert.Equal(t, c.scope, answer.String("scope"), "RFC 8707 2.2: the answer says it")
			_, claims := jwtParts(t, answer.String("access_token"))
			assert.Contains(t, claims, `"scope":"`+c.scope+`"`)
			assert.Contains(t, claims, `"aud":`+c.audience)
		})
	}
}

// Issuer, subject and audience of an assertion are compared as strings.
func TestAssertionNames(t *testing.T) {
	es := esKey(t, "1")
	start := func(t *testing.T) *oauthtest.Server {
		return newServer(t, signing(oauth.Client{JWKS: publicJWKS(t, es)}))
	}
	send := func(t *testing.T, s *oauthtest.Server, key jose.JSONWebKey, change map[string]any, edit ...string) string {
		text, err := json.Marshal(claimsOf(s, change))
		require.NoError(t, err)
		written := strings.NewReplacer(edit...).Replace(string(text))
		return outcome(postForm(s, "/oauth/token", asserted(signed(t, key, "", json.RawMessage(written)), machineGrant)))
	}
	for name, change := range map[string]map[string]any{
		"iss in another case":       {"iss": "SIGNER"},
		"sub in another case":       {"sub": "Signer"},
		"iss with a space":          {"iss": signer + " "},
		"aud in another case":       {"aud": strings.ToUpper(oauthtest.Issuer)},
		"aud with the port":         {"aud": oauthtest.Issuer + ":443"},
		"aud with a slash":          {"aud": oauthtest.Issuer + "/"},
		"aud with a percent escape": {"aud": strings.Replace(oauthtest.Issuer, "e", "%65", 1)},
	} {
		t.Run("RFC 7523 3 "+name, func(t *testing.T) { assert.Equal(t, "401 invalid_client", send(t, start(t), es, change)) })
	}
	t.Run("RFC 7523 3 written with escapes they are the same", func(t *testing.T) {
		assert.Equal(t, "200", send(t, start(t), es, nil, "/", `\/`, `"iss"`, `"\u0069ss"`, signer, `\u0073igner`))
	})
	t.Run("RFC 7523 3 control", func(t *testing.T) { assert.Equal(t, "200", send(t, start(t), es, nil)) })
}
