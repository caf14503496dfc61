package oauth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/oauthtest"
)

const (
	filesAPI = "https://files.example"
	mailAPI  = "https://mail.example/v1"
	openAPI  = "https://open.example"
)

// jwtParts are header and claims of a token as they stand.
func jwtParts(t testing.TB, token string) (header, claims string) {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3, "a JWT")
	h, err := base64.RawURLEncoding.DecodeString(parts[0])
	require.NoError(t, err)
	c, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	return string(h), string(c)
}

func edKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return private
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return private
}

// threeAPIs has resources of all sorts.
func threeAPIs(t *testing.T) func(*oauth.Config) {
	keys := oauth.StaticKeys(oauth.Key{Signer: ecKey(t)}, oauth.Key{Signer: rsaKey(t)}, oauth.Key{Signer: edKey(t)})
	return func(c *oauth.Config) {
		c.Keys = keys
		c.Scopes = append(c.Scopes, oauth.Scope{Name: "files", Includes: []string{"read"}})
		c.Resources = []oauth.Resource{
			{Identifier: filesAPI, Scopes: []string{"files", "write"}, AccessToken: oauth.JWT{Algorithm: "RS256"}, Access: 5 * time.Minute},
			{Identifier: mailAPI, Scopes: []string{"read"}, AccessToken: oauth.JWT{Type: "JWT", Algorithm: "EdDSA"}},
			{Identifier: openAPI},
		}
		hash := []string{oauth.HashSecret(oauthtest.Secret)}
		scopes := []string{"read", "write", "files"}
		c.Clients = oauth.StaticClients(
			oauth.Client{ID: oauthtest.WebClient, Secrets: hash, RedirectURIs: []string{oauthtest.Callback}, Scopes: scopes},
			oauth.Client{ID: oauthtest.MachineClient, Secrets: hash, Grants: []string{"client_credentials"}, Scopes: scopes},
			oauth.Client{ID: "old", Public: true, Grants: []string{"implicit"}, RedirectURIs: []string{oauthtest.Callback}, Scopes: scopes},
			oauth.Client{ID: oauthtest.APIClient, Secrets: hash, Grants: []string{}, Introspect: true},
		)
		c.Grants = append(c.Grants, grants.Implicit{}) //lint:ignore SA1019 it is what is tested
	}
}

// forAPI adds resources to the form of a code or refresh.
func forAPI(form url.Values, names ...string) url.Values {
	form["resource"] = names
	return form
}

func TestResourceIndicators(t *testing.T) {
	const web = oauthtest.WebClient
	authorize := func(t *testing.T, s *oauthtest.Server, scopes string, names ...string) oauthtest.Code {
		t.Helper()
		_, code := s.Authorize(web, url.Values{"scope": {scopes}, "resource": names})
		require.NotEmpty(t, code.Code)
		return code
	}
	t.Run("RFC 8707 2.2 a token for one of several, each as its resource wants it", func(t *testing.T) {
		s := newServer(t, threeAPIs(t))
		code := authorize(t, s, "read write files", filesAPI, mailAPI, openAPI)
		a := s.Token(web, forAPI(code.Form(), filesAPI))
		require.Equal(t, 200, a.Status, a.Body)
		assert.Equal(t, "read write files", a.String("scope"), "files includes read")
		assert.EqualValues(t, 300, a.JSON["expires_in"])
		header, claims := jwtParts(t, a.String("access_token"))
		assert.Contains(t, header, `"alg":"RS256"`)
		assert.Contains(t, header, `"typ":"at+jwt"`)
		assert.Contains(t, claims, `"aud":"`+filesAPI+`"`)

		refresh := func(names ...string) *oauthtest.Answer {
			form := forAPI(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.String("refresh_token")}}, names...)
			next := s.Token(web, form)
			if r := next.String("refresh_token"); r != "" {
				a = next
			}
			return next
		}
		mail := refresh(mailAPI)
		require.Equal(t, 200, mail.Status, mail.Body)
		assert.Equal(t, "read", mail.String("scope"), "RFC 8707 2.2: what applies to the target")
		assert.EqualValues(t, 1800, mail.JSON["expires_in"])
		header, claims = jwtParts(t, mail.String("access_token"))
		assert.Contains(t, header, `"alg":"EdDSA"`)
		assert.Contains(t, header, `"typ":"JWT"`)
		assert.Contains(t, claims, `"aud":"`+mailAPI+`"`)

		plain := refresh(openAPI)
		require.Equal(t, 200, plain.Status)
		assert.NotContains(t, plain.String("access_token"), ".", "opaque")
		assert.Equal(t, "read write files", plain.String("scope"))
		two := refresh(filesAPI, openAPI)
		_, claims = jwtParts(t, two.String("access_token"))
		assert.Contains(t, claims, `"aud":["`+filesAPI+`","`+openAPI+`"]`)
		assert.Equal(t, "read write files", two.String("scope"))

		conflict := refresh(filesAPI, mailAPI)
		wantError(t, conflict, 400, oauth.InvalidTarget)
		wantError(t, refresh("https://nowhere.example"), 400, oauth.InvalidTarget)
		wantError(t, refresh(oauthtest.Issuer), 400, oauth.InvalidTarget)
		for _, answer := range []*oauthtest.Answer{mail, plain, two} {
			token, err := s.VerifyToken(t.Context(), answer.String("access_token"))
			require.NoError(t, err)
			require.Equal(t, "alice", token.Subject)
			require.False(t, token.For(oauthtest.Issuer), "a token for A is refused at B")
		}
		token, err := s.VerifyToken(t.Context(), mail.String("access_token"))
		require.NoError(t, err)
		assert.True(t, token.For(mailAPI))
		assert.False(t, token.For(filesAPI))
	})
	t.Run("RFC 8707 2.1 not more than was approved", func(t *testing.T) {
		s := newServer(t, threeAPIs(t))
		code := authorize(t, s, "read", mailAPI)
		wantError(t, s.Token(web, forAPI(code.Form(), openAPI)), 400, oauth.InvalidTarget)
		a := s.Redeem(code)
		_, claims := jwtParts(t, a.String("access_token"))
		assert.Contains(t, claims, `"aud":"`+mailAPI+`"`, "without resource, all that was approved")
	})
	t.Run("no scope means anything there", func(t *testing.T) {
		s := newServer(t, threeAPIs(t))
		code := authorize(t, s, "write", mailAPI)
		s.Store.Reset()
		wantError(t, s.Token(web, code.Form()), 400, oauth.InvalidScope)
		assert.Equal(t, []string{"Get"}, s.Store.Methods(), "nothing is lost")
	})
	t.Run("client_credentials", func(t *testing.T) {
		s := newServer(t, threeAPIs(t))
		form := url.Values{"grant_type": {"client_credentials"}, "scope": {"write files"}}
		a := s.Token(oauthtest.MachineClient, forAPI(form, filesAPI))
		require.Equal(t, 200, a.Status, a.Body)
		assert.EqualValues(t, 300, a.JSON["expires_in"])
		_, claims := jwtParts(t, a.String("access_token"))
		assert.Contains(t, claims, `"aud":"`+filesAPI+`"`)
		assert.Contains(t, claims, `"sub":"client:machine"`)
		wantError(t, s.Token(oauthtest.MachineClient, forAPI(form, mailAPI)), 400, oauth.InvalidScope)
		wantError(t, s.Token(oauthtest.MachineClient, forAPI(form, filesAPI, mailAPI)), 400, oauth.InvalidTarget)
	})
	t.Run("implicit", func(t *testing.T) {
		s := newServer(t, threeAPIs(t))
		a, _ := s.Authorize("old", url.Values{"response_type": {"token"}, "scope": {"read write"}, "resource": {mailAPI}})
		_, params := a.Location()
		header, _ := jwtParts(t, params.Get("access_token"))
		assert.Contains(t, header, "EdDSA")
		assert.Equal(t, "read", params.Get("scope"))
		a, _ = s.Authorize("old", url.Values{"response_type": {"token"}, "scope": {"read"}, "resource": {mailAPI, filesAPI}})
		_, params = a.Location()
		assert.Equal(t, "invalid_target", params.Get("error"))
	})
	t.Run("Issue", func(t *testing.T) {
		s := newServer(t, threeAPIs(t))
		token, _, err := s.Issue(t.Context(), web, oauth.Approval{Subject: "alice", Scopes: []string{"read"}, Resources: []string{mailAPI}})
		require.NoError(t, err)
		jwtParts(t, token)
		_, _, err = s.Issue(t.Context(), web, oauth.Approval{Subject: "alice", Scopes: []string{"read"}, Resources: []string{mailAPI, filesAPI}})
		require.ErrorIs(t, err, oauth.InvalidTarget)
	})
	t.Run("RFC 9728 4 the metadata names them", func(t *testing.T) {
		s := newServer(t, threeAPIs(t))
		a := s.Do(httptest.NewRequest("GET", oauthtest.Issuer+"/.well-known/oauth-authorization-server", nil))
		assert.Equal(t, []any{filesAPI, mailAPI, openAPI}, a.JSON["protected_resources"])
	})
	t.Run("New", func(t *testing.T) {
		for want, r := range map[string][]oauth.Resource{
			`Resources[0].Identifier is not an absolute URI`:   {{Identifier: "files"}},
			`Resources[1].Identifier "https://a.example" is`:   {{Identifier: "https://a.example"}, {Identifier: "https://a.example"}},
			`Resources[0].Scopes names the unknown scope "no"`: {{Identifier: "https://a.example", Scopes: []string{"no"}}},
			`Resources[0].Access is 500ms: it is 1s to`:        {{Identifier: "https://a.example", Access: time.Second / 2}},
			`Keys is missing: Resources[0].AccessToken is JWT`: {{Identifier: "https://a.example", AccessToken: oauth.JWT{}}},
		} {
			cfg := newServer(t).Config
			cfg.Resources = r
			_, err := oauth.New(cfg)
			require.ErrorContains(t, err, want)
		}
	})
}

func TestFormats(t *testing.T) {
	const web = oauthtest.WebClient
	keys := oauth.StaticKeys(oauth.Key{Signer: ecKey(t)}, oauth.Key{Signer: rsaKey(t)})
	t.Run("Policy chooses per client", func(t *testing.T) {
		s := newServer(t, func(c *oauth.Config) {
			c.Keys, c.AccessToken = keys, oauth.Opaque{Prefix: "acme_"}
			c.OtherFormats = []oauth.Format{oauth.JWT{Algorithm: "RS256"}, oauth.Opaque{Prefix: "acme_machine_", Hex: true}}
			c.Policy = func(_ context.Context, r oauth.PolicyRequest) oauth.Policy {
				switch r.Client.ID {
				case web:
					return oauth.Policy{AccessToken: oauth.JWT{Algorithm: "RS256"}}
				case oauthtest.MachineClient:
					return oauth.Policy{AccessToken: oauth.Opaque{Prefix: "acme_machine_", Hex: true}}
				}
				return oauth.Policy{}
			}
		})
		jwt := s.Redeem(s.Code(web)).String("access_token")
		header, _ := jwtParts(t, jwt)
		assert.Contains(t, header, "RS256")
		machine := s.ClientToken(oauthtest.MachineClient, "read")
		assert.Regexp(t, "^acme_machine_[0-9a-f]+$", machine)
		spa := s.Redeem(s.Code(oauthtest.SPAClient)).String("access_token")
		assert.Regexp(t, "^acme_", spa)
		for _, token := range []string{jwt, machine, spa} {
			_, err := s.VerifyToken(t.Context(), token)
			require.NoError(t, err)
			assert.Equal(t, true, s.Introspect(token).JSON["active"])
			_, err = s.VerifyToken(t.Context(), token[:len(token)-1])
			require.ErrorIs(t, err, oauth.InvalidToken)
			_, err = s.VerifyToken(t.Context(), "x"+token)
			require.ErrorIs(t, err, oauth.InvalidToken)
		}
	})
	t.Run("tokens of the format before live on", func(t *testing.T) {
		before := newServer(t, func(c *oauth.Config) { c.AccessToken = oauth.Opaque{Prefix: "old_"} })
		after := func(other ...oauth.Format) *oauthtest.Server {
			return newServer(t, func(c *oauth.Config) {
				c.Secrets, c.Storage, c.AccessToken, c.OtherFormats = before.Config.Secrets, before.Config.Storage, oauth.Opaque{Prefix: "new_"}, other
			})
		}
		token := before.AccessToken("alice", "read")
		_, err := after(oauth.Opaque{Prefix: "old_"}).VerifyToken(t.Context(), token)
		require.NoError(t, err)
		_, err = after().VerifyToken(t.Context(), token)
		require.ErrorIs(t, err, oauth.InvalidToken)
	})
	t.Run("a format that Policy made up is the host's mistake", func(t *testing.T) {
		cfg := newServer(t).Config
		cfg.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy {
			return oauth.Policy{AccessToken: oauth.Opaque{Prefix: "x"}}
		}
		_, err := oauth.New(cfg)
		require.ErrorContains(t, err, "Policy.AccessToken is neither Config.AccessToken nor one of OtherFormats")
	})
	t.Run("New", func(t *testing.T) {
		for want, f := range map[string]oauth.Format{
			"OtherFormats[0].Prefix is not of":                              oauth.Opaque{Prefix: "a.b"},
			"OtherFormats[0].InsecureSymmetricKey is shorter than 32 bytes": oauth.JWT{InsecureSymmetricKey: []byte("short")},
			`OtherFormats[0].Algorithm is "ES256"`:                          oauth.JWT{InsecureSymmetricKey: oauth.NewSecret(), Algorithm: "ES256"},
			`Keys has none for OtherFormats[0].Algorithm "EdDSA"`:           oauth.JWT{Algorithm: "EdDSA"},
			"OtherFormats[0] is neither Opaque nor JWT":                     nil,
		} {
			cfg := newServer(t).Config
			cfg.Keys, cfg.OtherFormats = keys, []oauth.Format{f}
			_, err := oauth.New(cfg)
			require.ErrorContains(t, err, want)
		}
		claims := func(context.Context, oauth.ClaimsRequest) (f oauth.Fields, err error) { return f, nil }
		cfg := newServer(t).Config
		cfg.Keys, cfg.AccessToken, cfg.OtherFormats = keys, oauth.JWT{}, []oauth.Format{oauth.JWT{Type: "JWT", Claims: claims}, oauth.JWT{Claims: claims}}
		_, err := oauth.New(cfg)
		require.ErrorContains(t, err, "OtherFormats[1].Claims would never be asked")
		require.NotContains(t, err.Error(), "OtherFormats[0]")
	})
}

// What limits a token for one resource is not lifted by naming, or taking away,
// another.
func TestLimitsOfResources(t *testing.T) {
	const web, machine = oauthtest.WebClient, oauthtest.MachineClient
	t.Run("RFC 8707 2.2 a resource that is gone lifts no limit of the others", func(t *testing.T) {
		s := newServer(t, threeAPIs(t))
		_, code := s.Authorize(web, url.Values{"scope": {"read write files"}, "resource": {openAPI, mailAPI}})
		a := s.Token(web, forAPI(code.Form(), mailAPI))
		require.Equal(t, "read", a.String("scope"), a.Body)
		later := newServer(t, func(c *oauth.Config) {
			*c = s.Config
			c.Resources = c.Resources[:2]
		})
		a = later.Refresh(web, a.String("refresh_token"))
		require.Equal(t, 200, a.Status, a.Body)
		assert.Equal(t, "read", a.String("scope"))
	})
	t.Run("RFC 8707 2 a row for the server itself holds where nothing is named too", func(t *testing.T) {
		s := newServer(t, func(c *oauth.Config) {
			c.Resources = []oauth.Resource{{Identifier: oauthtest.Issuer, Scopes: []string{"read"}, Access: time.Minute}}
		})
		for _, names := range [][]string{nil, {oauthtest.Issuer}} {
			a := s.Token(machine, forAPI(url.Values{"grant_type": {"client_credentials"}, "scope": {"read write"}}, names...))
			assert.Equal(t, []any{200, "read", 60.0}, []any{a.Status, a.String("scope"), a.JSON["expires_in"]}, names)
		}
	})
	t.Run("RFC 9068 5 what Claims say for one resource is not said to another", func(t *testing.T) {
		role := func(name string) oauth.JWT {
			return oauth.JWT{Claims: func(context.Context, oauth.ClaimsRequest) (f oauth.Fields, err error) {
				f.Set("role", name)
				return f, nil
			}}
		}
		s := newServer(t, func(c *oauth.Config) {
			c.Keys = oauth.StaticKeys(oauth.Key{Signer: ecKey(t)})
			c.Resources = []oauth.Resource{{Identifier: mailAPI, AccessToken: role("reader")}, {Identifier: filesAPI, AccessToken: role("admin")}, {Identifier: openAPI}}
		})
		ask := func(names ...string) *oauthtest.Answer {
			return s.Token(machine, forAPI(url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}, names...))
		}
		for _, names := range [][]string{{mailAPI, filesAPI}, {filesAPI, mailAPI}, {openAPI, filesAPI}, {filesAPI, oauthtest.Issuer}} {
			wantError(t, ask(names...), 400, oauth.InvalidTarget)
		}
		_, claims := jwtParts(t, ask(mailAPI).String("access_token"))
		assert.Contains(t, claims, `"role":"reader"`)
	})
}

func TestJWTClaims(t *testing.T) {
	const web = oauthtest.WebClient
	var asked oauth.ClaimsRequest
	var more func(f *oauth.Fields) error
	s := newServer(t, func(c *oauth.Config) {
		c.Keys = oauth.StaticKeys(oauth.Key{ID: "k", Signer: ecKey(t)})
		c.AccessToken = oauth.JWT{Claims: func(_ context.Context, r oauth.ClaimsRequest) (f oauth.Fields, err error) {
			asked = r
			if more != nil {
				err = more(&f)
			}
			return f, err
		}}
	})
	at := s.Clock.Now().Add(-time.Minute)
	s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), AuthTime: at, ACR: "gold", AMR: []string{"pwd", "otp"}, Extra: map[string]string{"tenant": "t1"}})
	})
	t.Run("RFC 9068 2.2 in this order", func(t *testing.T) {
		more = func(f *oauth.Fields) error { f.Set("tenant", "t1"); f.Set("roles", []string{"a"}); return nil }
		a := s.Redeem(s.Code(web))
		_, claims := jwtParts(t, a.String("access_token"))
		d := json.NewDecoder(strings.NewReader(claims))
		var names []string
		_, err := d.Token()
		require.NoError(t, err)
		for d.More() {
			name, err := d.Token()
			require.NoError(t, err)
			names = append(names, name.(string))
			var value json.RawMessage
			require.NoError(t, d.Decode(&value))
		}
		assert.Equal(t, []string{"iss", "sub", "aud", "client_id", "scope", "exp", "iat", "jti", "auth_time", "acr", "amr", "tie", "tenant", "roles"}, names)
		assert.Contains(t, claims, `"acr":"gold","amr":["pwd","otp"]`)
		assert.Equal(t, oauth.ClaimsRequest{Subject: "alice", ClientID: web, Scopes: []string{"read", "write"}, Audience: []string{oauthtest.Issuer},
			Extra: map[string]string{"tenant": "t1"}}, asked)
		again := s.Refresh(web, a.String("refresh_token"))
		_, claims = jwtParts(t, again.String("access_token"))
		assert.Contains(t, claims, `"acr":"gold"`)
		_, err = s.VerifyToken(t.Context(), again.String("access_token"))
		require.NoError(t, err)
	})
	t.Run("V131 S253 it cannot say what the server says", func(t *testing.T) {
		for _, name := range []string{"iss", "sub", "aud", "exp", "nbf", "scope", "client_id", "cnf", "act", "acr", "tie", "jti", "Sub", "SCOPE", "\u017fub"} {
			code := s.Code(web)
			more = func(f *oauth.Fields) error { f.Set(name, "x"); return nil }
			wantError(t, s.Token(web, code.Form()), 500, oauth.ServerError)
			more = nil
			s.Redeem(code)
		}
	})
	t.Run("its failure loses nothing", func(t *testing.T) {
		code := s.Code(web)
		more = func(*oauth.Fields) error { return errors.New("the directory is down") }
		wantError(t, s.Token(web, code.Form()), 503, oauth.TemporarilyUnavailable)
		more = nil
		s.Redeem(code)
	})
}
