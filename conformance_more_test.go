package oauth_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/resource"
)

// What the files rfc6750, 7009, 7636, 7662, 9470 and 9728 of testdata/conformance
// name and no other file tests.

// An access token of every format goes through the Authorization header as it is.
func TestTokensAreB64(t *testing.T) {
	for name, edit := range map[string]func(*oauth.Config){
		"opaque":                func(*oauth.Config) {},
		"hexadecimal, a prefix": func(c *oauth.Config) { c.AccessToken = oauth.Opaque{Hex: true, Prefix: "at-_9"} },
		"JWT":                   withJWT(t),
	} {
		t.Run("RFC 6750 2.1 "+name, func(t *testing.T) {
			s := newServer(t, edit)
			for _, token := range []string{s.AccessToken("alice", "read"), s.ClientToken(oauthtest.MachineClient, "read")} {
				r := mustRequest(t, "GET", oauthtest.Issuer+"/")
				r.Header.Set("Authorization", "Bearer "+token)
				got, err := resource.Bearer(r)
				require.Nil(t, err)
				assert.Equal(t, token, got)
			}
		})
	}
}

// The description says what is wrong with the challenge.
func TestPKCEDescriptions(t *testing.T) {
	s := newServer(t)
	for name, c := range map[string]struct {
		change url.Values
		says   string
	}{
		"no challenge":   {url.Values{"code_challenge": nil, "code_challenge_method": nil}, "code_challenge"},
		"another method": {url.Values{"code_challenge_method": {"plain"}}, "S256"},
	} {
		t.Run("RFC 7636 4.4.1 "+name, func(t *testing.T) {
			a, _ := s.Authorize(oauthtest.WebClient, c.change)
			_, params := a.Location()
			assert.Equal(t, "invalid_request", params.Get("error"))
			assert.Contains(t, params.Get("error_description"), c.says)
		})
	}
}

// The answer as it stands on the wire.
func TestIntrospectMembers(t *testing.T) {
	s := newServer(t)
	s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), ACR: "gold", AuthTime: s.Clock.Now()})
	})
	tokens := s.CodeFlow(oauthtest.WebClient)
	for name, token := range map[string]string{"access": tokens.AccessToken, "refresh": tokens.RefreshToken} {
		t.Run("RFC 7662 2.2 "+name+" token", func(t *testing.T) {
			a := s.Post("/oauth/introspect", oauthtest.WebClient, url.Values{"token": {token}})
			assert.Equal(t, 200, a.Status)
			assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
			var got map[string]any
			d := json.NewDecoder(bytes.NewReader(a.Body))
			d.UseNumber()
			require.NoError(t, d.Decode(&got))
			assert.Equal(t, true, got["active"])
			assert.Equal(t, "read write", got["scope"])
			whole := []string{"exp", "iat"}
			if name == "access" {
				whole = append(whole, "auth_time")
			}
			for _, member := range whole {
				n, ok := got[member].(json.Number)
				require.True(t, ok, member)
				_, err := strconv.ParseInt(n.String(), 10, 64)
				assert.NoError(t, err, member)
			}
		})
	}
	t.Run("RFC 7662 2.2 without scopes there is no scope", func(t *testing.T) {
		s := newServer(t, func(c *oauth.Config) {
			c.Scopes = nil
			c.Clients = oauth.StaticClients(oauth.Client{ID: oauthtest.WebClient, Secrets: []string{oauth.HashSecret(oauthtest.Secret)},
				RedirectURIs: []string{oauthtest.Callback}})
		})
		_, code := s.Authorize(oauthtest.WebClient, url.Values{"scope": nil})
		tokens := s.Redeem(code)
		for _, token := range []string{tokens.String("access_token"), tokens.String("refresh_token")} {
			a := s.Post("/oauth/introspect", oauthtest.WebClient, url.Values{"token": {token}})
			assert.Equal(t, true, a.JSON["active"])
			assert.NotContains(t, a.JSON, "scope", "RFC 6749, section 3.3: a scope has one token at least")
		}
	})
}

// Who the user is and when the user signed in is for the callers that may see the token.
func TestIntrospectTellsStrangersNothing(t *testing.T) {
	s := newServer(t)
	s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), ACR: "gold", AuthTime: s.Clock.Now()})
	})
	tokens := s.CodeFlow(oauthtest.WebClient)
	for name, token := range map[string]string{"access": tokens.AccessToken, "refresh": tokens.RefreshToken} {
		t.Run("RFC 7662 5 "+name+" token", func(t *testing.T) {
			stranger := s.Post("/oauth/introspect", oauthtest.MachineClient, url.Values{"token": {token}})
			assert.Equal(t, `{"active":false}`, string(stranger.Body))
			owner := s.Post("/oauth/introspect", oauthtest.WebClient, url.Values{"token": {token}})
			assert.Equal(t, "alice", owner.JSON["sub"])
			assert.Equal(t, "no-store", owner.Header.Get("Cache-Control"))
			assert.NotContains(t, owner.JSON, "username")
		})
	}
}

// A refresh signs nobody in.
func TestStepUpAfterRefresh(t *testing.T) {
	for name, edit := range map[string]func(*oauth.Config){"opaque": func(*oauth.Config) {}, "JWT": withJWT(t)} {
		t.Run("RFC 9470 6.1 "+name, func(t *testing.T) {
			s := newServer(t, edit)
			signedIn := s.Clock.Now().Add(-time.Minute)
			s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
				in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), ACR: "gold", AuthTime: signedIn})
			})
			tokens := s.CodeFlow(oauthtest.WebClient)
			s.Clock.Advance(time.Hour)
			refreshed := s.Refresh(oauthtest.WebClient, tokens.RefreshToken)
			refreshed.WantOK(t)
			next := refreshed.String("access_token")
			a := s.Introspect(next)
			assert.Equal(t, "gold", a.JSON["acr"])
			assert.EqualValues(t, signedIn.Unix(), a.JSON["auth_time"])
			if name == "JWT" {
				_, claims := jwtParts(t, next)
				assert.Contains(t, claims, `"auth_time":`+strconv.FormatInt(signedIn.Unix(), 10))
				assert.Contains(t, claims, `"acr":"gold"`)
			}
		})
	}
}

// Identifiers are compared as they are: no normal form of Unicode makes two of them one.
func TestResourceCodePoints(t *testing.T) {
	const composed, decomposed = "https://api.example/\u00e9", "https://api.example/e\u0301"
	s := newServer(t, func(c *oauth.Config) { c.Resources = []oauth.Resource{{Identifier: composed}} })
	for name, c := range map[string]struct{ resource, refuse string }{
		"the same":            {composed, ""},
		"another normal form": {decomposed, "invalid_target"},
		"another case":        {"https://API.example/\u00e9", "invalid_target"},
	} {
		t.Run("RFC 9728 6 "+name, func(t *testing.T) {
			a, code := s.Authorize(oauthtest.WebClient, url.Values{"resource": {c.resource}})
			_, params := a.Location()
			assert.Equal(t, c.refuse, params.Get("error"))
			assert.Equal(t, c.refuse == "", code.Code != "")
		})
	}
}

// A browser keeps the cookie of the interaction and no token.
func TestNoTokenInCookies(t *testing.T) {
	s := newServer(t)
	authorized, code := s.Authorize(oauthtest.SPAClient, nil)
	redeemed := s.Redeem(code)
	access, refresh := redeemed.String("access_token"), redeemed.String("refresh_token")
	refreshed := s.Refresh(oauthtest.SPAClient, refresh)
	answers := map[string]*oauthtest.Answer{
		"code to tokens": redeemed, "refresh": refreshed, "introspection": s.Introspect(access),
		"userinfo":   s.Get("/oauth/userinfo", access),
		"revocation": s.Post("/oauth/revoke", oauthtest.SPAClient, url.Values{"token": {refreshed.String("refresh_token")}}),
	}
	for name, a := range answers {
		t.Run("RFC 6750 5.3 "+name, func(t *testing.T) {
			require.Equal(t, 200, a.Status)
			assert.Empty(t, a.Header.Values("Set-Cookie"))
		})
	}
	t.Run("RFC 6750 5.3 authorization", func(t *testing.T) {
		require.NotEmpty(t, code.Code)
		for _, line := range authorized.Header.Values("Set-Cookie") {
			for _, secret := range []string{code.Code, access, refresh} {
				assert.NotContains(t, line, secret)
			}
		}
	})
}
