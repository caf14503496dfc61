package oauth_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/oauthtest"
)

// goodConfig is one that New accepts.
func goodConfig() oauth.Config {
	return oauth.Config{
		Issuer: "https://as.example", Storage: memstore.New(), Secrets: [][]byte{bytes.Repeat([]byte("s"), 32)},
		Clients:  oauth.StaticClients(oauth.Client{ID: "app", Public: true, RedirectURIs: []string{"https://app.example/cb"}, Scopes: []string{"read"}}),
		Grants:   []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}},
		Scopes:   []oauth.Scope{{Name: "read"}},
		Interact: func(http.ResponseWriter, *http.Request, *oauth.Interaction) {},
	}
}

func clientWith(change func(*oauth.Client)) func(*oauth.Config) {
	c := oauth.Client{ID: "app", Public: true, RedirectURIs: []string{"https://app.example/cb"}, Scopes: []string{"read"}}
	change(&c)
	return func(cfg *oauth.Config) { cfg.Clients = oauth.StaticClients(c) }
}

func redirectOf(uri string) func(*oauth.Config) {
	return clientWith(func(c *oauth.Client) { c.RedirectURIs = append(c.RedirectURIs, uri) })
}

func confidentialWith(hash string) func(*oauth.Config) {
	return clientWith(func(c *oauth.Client) { c.Public, c.Secrets = false, []string{oauth.HashSecret("x"), hash} })
}

// A namedGrant is a grant that does nothing at all.
type namedGrant string

func (g namedGrant) GrantType() string { return string(g) }

// A misconfiguration is a change that New refuses, and words of its error.
type misconfiguration struct {
	name   string
	change func(*oauth.Config)
	want   []string
}

func misconfigurations() []misconfiguration {
	issuer := func(text string) func(*oauth.Config) { return func(c *oauth.Config) { c.Issuer = text } }
	policy := func(p oauth.Policy) func(*oauth.Config) { return withPolicy(p) }
	return []misconfiguration{
		{"no issuer", issuer(""), []string{"Config.Issuer", "missing"}},
		{"an http issuer", issuer("http://as.example"), []string{"Config.Issuer", "https"}},
		{"an issuer with a query", issuer("https://as.example?x"), []string{"Config.Issuer", "query"}},
		{"an issuer with an empty query", issuer("https://as.example?"), []string{"Config.Issuer", "query"}},
		{"an issuer with a fragment", issuer("https://as.example#x"), []string{"Config.Issuer", "fragment"}},
		{"an issuer that ends with a slash", issuer("https://as.example/"), []string{"Config.Issuer", "slash"}},
		{"an issuer without a host", issuer("https:///x"), []string{"Config.Issuer", "host"}},
		{"an issuer with a user", issuer("https://u:p4ssw0rd@as.example"), []string{"Config.Issuer"}},
		{"an issuer that is a path", issuer("/oauth"), []string{"Config.Issuer"}},
		{"an issuer with another scheme", issuer("ftp://as.example"), []string{"Config.Issuer", "https"}},
		{"an issuer with quotes", issuer(`https://as.example/"`), []string{"Config.Issuer"}},
		{"no storage", func(c *oauth.Config) { c.Storage = nil }, []string{"Config.Storage"}},
		{"no clients", func(c *oauth.Config) { c.Clients = nil }, []string{"Config.Clients"}},
		{"no grants", func(c *oauth.Config) { c.Grants, c.Clients = nil, newRegistry() }, []string{"Config.Grants"}},
		{"no secrets", func(c *oauth.Config) { c.Secrets = nil }, []string{"Config.Secrets"}},
		{"a short secret", func(c *oauth.Config) { c.Secrets = append(c.Secrets, []byte("hunter2hunter2")) }, []string{"Config.Secrets", "secret 1", "32"}},
		{"one secret twice", func(c *oauth.Config) { c.Secrets = append(c.Secrets, c.Secrets[0]) }, []string{"Config.Secrets", "secret 1"}},
		{"no Interact", func(c *oauth.Config) { c.Interact = nil }, []string{"Config.Interact"}},
		{"a long realm", func(c *oauth.Config) { c.Realm = strings.Repeat("r", 256) }, []string{"Config.Realm"}},
		{"a realm that is not text", func(c *oauth.Config) { c.Realm = "a\x00b" }, []string{"Config.Realm"}},
		{"a handle that lives too long", func(c *oauth.Config) { c.HandleLifetime = 25 * time.Hour }, []string{"Config.HandleLifetime"}},
		{"a handle that lives no time", func(c *oauth.Config) { c.HandleLifetime = -1 }, []string{"Config.HandleLifetime"}},
		{"a nil guard", func(c *oauth.Config) { c.Guards = []oauth.Guard{nil} }, []string{"Config.Guards[0]"}},
		{"a nil grant", func(c *oauth.Config) { c.Grants = append(c.Grants, nil) }, []string{"Config.Grants[2]"}},
		{"a grant that is none", func(c *oauth.Config) { c.Grants = append(c.Grants, namedGrant("x")) }, []string{"Config.Grants[2]", "neither"}},
		{"a grant without a name", func(c *oauth.Config) { c.Grants = append(c.Grants, namedGrant("")) }, []string{"Config.Grants[2]"}},
		{"a grant twice", func(c *oauth.Config) { c.Grants = append(c.Grants, grants.RefreshToken{}) }, []string{"Config.Grants[2]", "twice"}},
		{"an unknown grant of a client", clientWith(func(c *oauth.Client) { c.Grants = []string{"password"} }), []string{"Config.Clients", `"app"`, `"password"`}},
		{"an unknown resource of a client", clientWith(func(c *oauth.Client) { c.Introspect, c.Resources = true, []string{"https://nowhere.example"} }), []string{"Config.Clients", `"app"`, "Resources", "https://nowhere.example"}},
		{"resources of a client that looks at none", clientWith(func(c *oauth.Client) { c.Resources = []string{"https://as.example"} }), []string{"Config.Clients", `"app"`, "Resources", "Introspect"}},
		{"JWT without keys", func(c *oauth.Config) { c.AccessToken = oauth.JWT{} }, []string{"Config.Keys"}},
		{"a pointer to a JWT", func(c *oauth.Config) { c.AccessToken = &oauth.JWT{} }, []string{"Config.AccessToken"}},
		{"JWT as refresh token", func(c *oauth.Config) { c.RefreshToken = oauth.JWT{} }, []string{"Config.RefreshToken"}},
		{"FS-14 a short symmetric key", func(c *oauth.Config) { c.AccessToken = oauth.JWT{InsecureSymmetricKey: []byte("hunter2")} }, []string{"Config.AccessToken.InsecureSymmetricKey", "32"}},
		{"an empty symmetric key", func(c *oauth.Config) { c.AccessToken = oauth.JWT{InsecureSymmetricKey: []byte{}} }, []string{"Config.AccessToken.InsecureSymmetricKey"}},
		{"no key at all", func(c *oauth.Config) { c.Keys = oauth.StaticKeys() }, []string{"Config.Keys"}},
		{"a key without a signer", func(c *oauth.Config) { c.Keys = oauth.StaticKeys(oauth.Key{}) }, []string{"Config.Keys"}},
		{"a token prefix with a dot", func(c *oauth.Config) { c.AccessToken = oauth.Opaque{Prefix: "a.b."} }, []string{"Config.AccessToken.Prefix"}},
		{"a token prefix with a space", func(c *oauth.Config) { c.RefreshToken = oauth.Opaque{Prefix: "a b"} }, []string{"Config.RefreshToken.Prefix"}},
		{"a scope that is no token", func(c *oauth.Config) { c.Scopes = append(c.Scopes, oauth.Scope{Name: "a b"}) }, []string{"Config.Scopes[1].Name"}},
		{"a scope twice", func(c *oauth.Config) { c.Scopes = append(c.Scopes, oauth.Scope{Name: "read"}) }, []string{"Config.Scopes[1].Name", "twice"}},
		{"an unknown scope included", func(c *oauth.Config) { c.Scopes[0].Includes = []string{"nope"} }, []string{"Config.Scopes[0].Includes", "nope"}},
		{"a relative resource", func(c *oauth.Config) { c.Resources = []oauth.Resource{{Identifier: "/api"}} }, []string{"Config.Resources[0].Identifier"}},
		{"a resource with a fragment", func(c *oauth.Config) { c.Resources = []oauth.Resource{{Identifier: "https://api#x"}} }, []string{"Config.Resources[0].Identifier"}},
		{"two endpoints at one path", func(c *oauth.Config) { c.Endpoints.Revoke = "/oauth/token" }, []string{"Config.Endpoints.Revoke"}},
		{"an endpoint that is no path", func(c *oauth.Config) { c.Endpoints.Token = "oauth/token" }, []string{"Config.Endpoints.Token"}},
		{"an endpoint with a query", func(c *oauth.Config) { c.Endpoints.Token = "/token?x" }, []string{"Config.Endpoints.Token"}},
		{"an endpoint on http", func(c *oauth.Config) { c.Endpoints.Token = "http://other.example/token" }, []string{"Config.Endpoints.Token"}},
		{"an endpoint at the metadata", func(c *oauth.Config) { c.Endpoints.Token = "/.well-known/oauth-authorization-server" }, []string{"Config.Endpoints.Token"}},
		{"FP-02 a secret from the query", func(c *oauth.Config) { c.Decode = oauth.Merge(oauth.FormBody, oauth.Query("client_secret")) }, []string{"Config.Decode", "client_secret"}},
		{"FP-02 the client from the query", func(c *oauth.Config) { c.Decode = oauth.Query("client_id") }, []string{"Config.Decode", "client_id"}},
		{"a header without a name", func(c *oauth.Config) { c.Decode = oauth.Header("", "x") }, []string{"Config.Decode"}},
		{"the Authorization header as a parameter", func(c *oauth.Config) { c.Decode = oauth.Header("authorization", "x") }, []string{"Config.Decode"}},
		{"a client without an ID", clientWith(func(c *oauth.Client) { c.ID = "" }), []string{"Config.Clients", "ID"}},
		{"a client with a long ID", clientWith(func(c *oauth.Client) { c.ID = strings.Repeat("i", 2049) }), []string{"Config.Clients", "ID"}},
		{"a client twice", func(c *oauth.Config) {
			c.Clients = oauth.StaticClients(oauth.Client{ID: "a", Public: true}, oauth.Client{ID: "a", Public: true})
		}, []string{"Config.Clients", "twice"}},
		{"a public client with a secret", clientWith(func(c *oauth.Client) { c.Secrets = []string{oauth.HashSecret("x")} }), []string{"Config.Clients", "Secrets"}},
		{"a confidential client without one", clientWith(func(c *oauth.Client) { c.Public = false }), []string{"Config.Clients", "Secrets"}},
		{"V127 S366 a secret in clear", confidentialWith("hunter2hunter2"), []string{"Config.Clients", "Secrets[1]"}},
		{"an empty hash", confidentialWith(""), []string{"Config.Clients", "Secrets[1]"}},
		{"a cut SHA-256", confidentialWith("sha256$abc"), []string{"Config.Clients", "Secrets[1]"}},
		{"a cut argon2id", confidentialWith("$argon2id$v=19$m=64"), []string{"Config.Clients", "Secrets[1]"}},
		{"a costly argon2id", confidentialWith("$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA"), []string{"Config.Clients", "Secrets[1]"}},
		{"an unknown scope of a client", clientWith(func(c *oauth.Client) { c.Scopes = []string{"nope"} }), []string{"Config.Clients", `"nope"`}},
		{"S020 a redirect URI with a fragment", redirectOf("https://app.example/cb#x"), []string{"RedirectURIs[1]", "fragment"}},
		{"a redirect URI on http", redirectOf("http://app.example/cb"), []string{"RedirectURIs[1]", "http"}},
		{"a relative redirect URI", redirectOf("/cb"), []string{"RedirectURIs[1]"}},
		{"a redirect URI with javascript", redirectOf("javascript:alert(1)"), []string{"RedirectURIs[1]", "scheme"}},
		{"a redirect URI with data", redirectOf("data:text/html,x"), []string{"RedirectURIs[1]", "scheme"}},
		{"a redirect URI with a scheme of one word", redirectOf("myapp:/cb"), []string{"RedirectURIs[1]", "scheme"}},
		{"a redirect URI with a user", redirectOf("https://u@app.example/cb"), []string{"RedirectURIs[1]"}},
		{"a redirect URI with a backslash", redirectOf(`https://app.example\cb`), []string{"RedirectURIs[1]"}},
		{"a code that lives too long", policy(oauth.Policy{Code: 11 * time.Minute}), []string{"Policy", `"app"`, "Code"}},
		{"an access token that lives too long", policy(oauth.Policy{Access: 400 * day}), []string{"Policy", "Access"}},
		{"a refresh token that lives too long", policy(oauth.Policy{RefreshIdle: 4000 * day}), []string{"Policy", "RefreshIdle"}},
		{"an authorization that lives too long", policy(oauth.Policy{RefreshAbsolute: 4000 * day}), []string{"Policy", "RefreshAbsolute"}},
		{"a long retry window", policy(oauth.Policy{RetryWindow: time.Hour}), []string{"Policy", "RetryWindow"}},
	}
}

func TestNew(t *testing.T) {
	_, err := oauth.New(goodConfig())
	require.NoError(t, err)
	for _, m := range misconfigurations() {
		t.Run("A3 "+m.name, func(t *testing.T) {
			cfg := goodConfig()
			m.change(&cfg)
			srv, err := oauth.New(cfg)
			require.Error(t, err)
			assert.Nil(t, srv)
			for _, want := range m.want {
				assert.ErrorContains(t, err, want)
			}
			for _, secret := range []string{"hunter2", "p4ssw0rd"} { // S366
				assert.NotContains(t, err.Error(), secret)
			}
		})
	}
	t.Run("A3 all at once", func(t *testing.T) {
		cfg := goodConfig()
		cfg.Issuer, cfg.Storage, cfg.Secrets, cfg.Interact = "http://as.example#x", nil, nil, nil
		cfg.AccessToken, cfg.RefreshToken, cfg.Realm = oauth.JWT{}, oauth.JWT{}, strings.Repeat("r", 300)
		cfg.Scopes = append(cfg.Scopes, oauth.Scope{Name: `"`})
		redirectOf("https://app.example/#")(&cfg)
		_, err := oauth.New(cfg)
		require.Error(t, err)
		for _, field := range []string{"Issuer", "Storage", "Secrets", "Interact", "Keys", "RefreshToken", "Realm", "Scopes[1].Name", "RedirectURIs[1]"} {
			assert.ErrorContains(t, err, field)
		}
		_, err = oauth.New(oauth.Config{})
		require.Error(t, err)
		for _, field := range []string{"Issuer", "Storage", "Clients", "Grants", "Secrets"} {
			assert.ErrorContains(t, err, "oauth: Config."+field)
		}
	})
	for name, change := range map[string]func(*oauth.Config){
		"http on loopback":             func(c *oauth.Config) { c.Issuer = "http://localhost:8080" },
		"http on 127.0.0.1":            func(c *oauth.Config) { c.Issuer = "http://127.0.0.1:8080" },
		"an issuer with a path":        func(c *oauth.Config) { c.Issuer = "https://as.example/tenant" },
		"a redirect URI of an app":     redirectOf("com.example.app:/cb"),
		"a loopback redirect URI":      redirectOf("http://127.0.0.1/cb"),
		"an endpoint on another host":  func(c *oauth.Config) { c.Endpoints.Token = "https://token.example/t" },
		"endpoints that are off":       func(c *oauth.Config) { c.Endpoints = oauth.Endpoints{Revoke: "-", Introspect: "-", UserInfo: "-"} },
		"several secrets":              func(c *oauth.Config) { c.Secrets = append(c.Secrets, bytes.Repeat([]byte("t"), 40)) },
		"the longest lifetimes":        withPolicy(oauth.Policy{Code: 10 * time.Minute, Access: 366 * day, RefreshIdle: 3660 * day, RefreshAbsolute: 3660 * day, RetryWindow: 10 * time.Minute}),
		"scopes that include in rings": func(c *oauth.Config) { c.Scopes[0].Includes = []string{"read"} },
	} {
		t.Run("A3 accepted: "+name, func(t *testing.T) {
			cfg := goodConfig()
			change(&cfg)
			_, err := oauth.New(cfg)
			require.NoError(t, err)
		})
	}
	t.Run("A3 the policy is asked per static client and grant", func(t *testing.T) {
		asked := map[string]bool{}
		newWire(t, func(c *oauth.Config) {
			c.Policy = func(_ context.Context, r oauth.PolicyRequest) oauth.Policy {
				asked[r.Client.ID+" "+r.GrantType] = true
				return oauth.Policy{}
			}
		})
		assert.True(t, asked["machine client_credentials"])
		assert.True(t, asked["spa refresh_token"])
		assert.False(t, asked["machine refresh_token"])
	})
}

func TestNothingPrintsSecrets(t *testing.T) {
	const secret, symmetric, hashed = "ring-secret-0123456789-0123456789", "hs256-secret-0123456789-012345678", "client-secret-0123456789"
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	var kept struct {
		in     *oauth.Interaction
		fields *oauth.Fields
		req    *oauth.TokenRequest
		client *oauth.Client
	}
	jwt := oauth.JWT{Type: "JWT", InsecureSymmetricKey: []byte(symmetric)}
	client := oauth.Client{ID: web, Secrets: []string{oauth.HashSecret(hashed), oauth.HashSecret(oauthtest.Secret)}, RedirectURIs: []string{oauthtest.Callback}, Scopes: []string{"read", "write"},
		Grants: []string{"authorization_code", "refresh_token", "spy"}, Data: "data-secret-0123456789"}
	w := newWire(t, func(c *oauth.Config) {
		c.Secrets, c.AccessToken, c.Keys = [][]byte{[]byte(secret)}, jwt, oauth.StaticKeys(oauth.Key{Signer: private})
		c.Respond = func(_ context.Context, i *oauth.Issued, f *oauth.Fields) error {
			kept.fields, kept.client = f, i.Client
			return nil
		}
		c.Grants = append(c.Grants, hostGrant{"spy", func(_ context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			kept.req = r
			return nil, oauth.InvalidGrant
		}})
	}, withClients(client))
	w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		kept.in = in
		in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes()})
	})
	code := w.Code(web)
	a := w.Redeem(code)
	f := code.Form()
	f.Set("grant_type", "spy")
	wantError(t, w.Token(web, f), 400, oauth.InvalidGrant)
	secrets := []string{secret, symmetric, hashed, oauth.HashSecret(hashed), code.Code, code.Verifier, a.String("access_token"), a.String("refresh_token"),
		kept.in.Handle(), "data-secret-0123456789", fmt.Sprint([]byte(secret))[1:40], fmt.Sprint([]byte(symmetric))[1:40], fmt.Sprint([]byte(private))[1:40],
		fmt.Sprintf("%x", secret), fmt.Sprintf("%x", symmetric), fmt.Sprintf("%#v", []byte(secret))[7:60], base64Of(secret), base64Of(symmetric), base64Of(string(private))}
	for name, value := range map[string]any{
		"Config": w.Config, "*Config": &w.Config, "*Server": w.Server.Server, "Client": client, "*Client": kept.client, "*Interaction": kept.in, "*TokenRequest": kept.req,
		"Fields": *kept.fields, "*Fields": kept.fields, "JWT": jwt, "*JWT": &jwt, "Key": oauth.Key{Signer: private}, "a struct with all": struct {
			C oauth.Config
			K *oauth.Client
			F oauth.Fields
			J oauth.JWT
		}{w.Config, kept.client, *kept.fields, jwt},
	} {
		t.Run("S367 "+name, func(t *testing.T) {
			var text, object bytes.Buffer
			slog.New(slog.NewTextHandler(&text, nil)).Info("x", "value", value)
			slog.New(slog.NewJSONHandler(&object, nil)).Info("x", "value", value)
			marshalled, err := json.Marshal(value)
			printed := fmt.Sprintf("%v\n%+v\n%#v\n%s\n%s\n%s\n%s %v", value, value, value, value, text.String(), object.String(), marshalled, err)
			for _, s := range secrets {
				assert.NotContains(t, printed, s)
			}
		})
	}
}
