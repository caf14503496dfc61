//lint:file-ignore SA1019 the implicit grant is served, so it is tested

package main

import (
	"encoding/json"
	"html"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
)

var authorizeRequirements = []requirement{
	{"FL-01 a code of one host is exchanged on the other", func(t *testing.T) {
		h := newTestHost(t)
		assert.Equal(t, http.StatusOK, h.redeem(site, h.allowed().param("code")).Status)
		for method, elsewhere := range map[string]string{"GET": apiBase + "/auth/oauth", "POST": webBase + "/oauth/access_token", "PUT": webBase + "/v2/me"} {
			assert.Equal(t, http.StatusNotFound, h.do(method, elsewhere, "").Status, elsewhere)
		}
		assert.Equal(t, http.StatusNotFound, h.do("POST", webBase+"/oauth/invalidate_token", "").Status)
		assert.Equal(t, http.StatusNotFound, h.do("GET", apiBase+tokensPath, "").Status)
	}},
	{"FL-01 every URL of the metadata answers", func(t *testing.T) {
		h := newTestHost(t)
		a := h.do("GET", webBase+"/.well-known/oauth-authorization-server", "")
		require.Equal(t, http.StatusOK, a.Status)
		urls := map[string]string{}
		for _, m := range members(t, a.Body) {
			if text, ok := m.Value.(string); ok && m.Name != "issuer" {
				urls[m.Name] = text
				assert.NotEqual(t, http.StatusNotFound, h.do("POST", text, "").Status, text)
				assert.NotEqual(t, http.StatusNotFound, h.do("GET", text, "").Status, text)
			}
		}
		assert.Equal(t, map[string]string{"authorization_endpoint": authorizeURL, "token_endpoint": tokenURL, "revocation_endpoint": revokeURL}, urls)
	}},
	{"FL-02 without the grant there is no implicit", func(t *testing.T) {
		h := newTestHost(t, func(cfg *oauth.Config) {
			cfg.Grants = slices.DeleteFunc(cfg.Grants, func(g oauth.Grant) bool { return g == grants.Implicit{} })
			website := apps[0]
			website.Grants = nil
			cfg.Clients = oauth.StaticClients(website)
		})
		h.visitor().open(request("response_type", "token"), nil).sentBack(t, "#", "unsupported_response_type")
		assert.NotEmpty(t, h.allowed().param("code"))
	}},
	{"FL-02 an app that may not use it", func(t *testing.T) {
		newTestHost(t).visitor().open(request("response_type", "token", "client_id", boxKey, "redirect_uri", boxCallback, "scope", "scores.readonly"), nil).
			sentBack(t, "#", "unauthorized_client")
	}},
	{"FL-03 the sample link", func(t *testing.T) {
		h := newTestHost(t)
		for responseType, mark := range map[string]string{"code": "?", "token": "#"} {
			v := h.visitor()
			v.open(sampleLink(t, responseType), nil)
			v.submit("username", "demo", "password", "demo")
			a := v.decide("approve")
			got, _ := a.callback()
			assert.Equal(t, mark, got, a.Header)
			assert.Equal(t, "xyz", a.param("state"))
		}
	}},
	{"FL-03 nothing is taken from a body", func(t *testing.T) {
		h := newTestHost(t)
		_, query, _ := strings.Cut(request(), "?")
		a := h.do("POST", authorizeURL, query, "Content-Type", "application/x-www-form-urlencoded")
		assert.NotEqual(t, http.StatusOK, a.Status, "it is sent on as a GET at most")
		assert.Empty(t, a.param("code"))
	}},
	{"FL-04 client_id", func(t *testing.T) {
		h := newTestHost(t)
		h.visitor().open(request("client_id", ""), nil).noRedirect(t)
		h.visitor().open(request("client_id", "nobody"), nil).noRedirect(t)
		h.visitor().open(request("client_id", strings.ToUpper(siteKey)), nil).noRedirect(t)
	}},
	{"FL-05 response_type", func(t *testing.T) {
		h := newTestHost(t)
		h.visitor().open(request("response_type", ""), nil).sentBack(t, "?", "invalid_request")
		for _, other := range []string{"id_token", "code token", "code id_token", "CODE"} {
			a := h.visitor().open(request("response_type", other), nil)
			assert.Equal(t, "unsupported_response_type", a.param("error"), other)
			assert.Equal(t, "xyz", a.param("state"), other)
		}
		slip := strings.Replace(request("response_type", "", "state", ""), "?", "?response_type=tokenstate=y&", 1)
		assert.Equal(t, "unsupported_response_type", h.visitor().open(slip, nil).param("error"))
	}},
	{"FL-06 scope", func(t *testing.T) {
		h := newTestHost(t)
		without := request("scope", "")
		h.visitor().open(without, nil).sentBack(t, "?", "invalid_scope", "absent")
		h.visitor().open(without+"&scope=", nil).sentBack(t, "?", "invalid_scope", "empty")
		for _, bad := range []string{"email", "scores email", "scores,scores.social", "Scores"} {
			h.visitor().open(request("scope", bad), nil).sentBack(t, "?", "invalid_scope", bad)
		}
		for _, mine := range []string{"scores", "scores.social", "scores.readonly account.education_profile"} {
			a := h.visitor().open(request("client_id", boxKey, "redirect_uri", boxCallback, "scope", mine), nil)
			a.sentBack(t, "?", "invalid_scope", "not granted to this app: "+mine)
		}
		for _, space := range []string{"+", "%20"} {
			v := h.visitor()
			v.open(without+"&scope=account.public_profile"+space+"scores.readonly", nil)
			v.submit("username", "demo", "password", "demo")
			a := h.redeem(site, v.decide("approve").param("code"))
			assert.Equal(t, "account.public_profile scores.readonly", a.member("scope"))
		}
	}},
	{"FL-07 the five scopes", func(t *testing.T) {
		h := newTestHost(t)
		documented := []string{"account.public_profile", "account.education_profile", "scores.readonly", "scores.social", "scores"}
		said := map[string]bool{}
		for i, s := range scopes {
			require.Equal(t, documented[i], s.Name)
			v := h.consent("teacher", "scope", s.Name)
			require.Contains(t, s.Description, " ", "it is in plain words")
			said[s.Description] = true
			for _, other := range scopes {
				assert.Equal(t, other.Name == s.Name, strings.Contains(v.page.Body, "<li>"+html.EscapeString(other.Description)+"</li>"), s.Name+": "+other.Name)
			}
			assert.Equal(t, s.Name, h.redeem(site, v.decide("approve").param("code")).member("scope"))
		}
		assert.Len(t, said, 5)
		a := h.do("GET", webBase+"/.well-known/oauth-authorization-server", "")
		var metadata struct {
			Scopes []string `json:"scopes_supported"`
		}
		require.NoError(t, json.Unmarshal([]byte(a.Body), &metadata))
		assert.Equal(t, documented, metadata.Scopes)
	}},
	{"FL-08 no education account", func(t *testing.T) {
		h := newTestHost(t)
		const both = "account.public_profile account.education_profile"
		v := h.consent("demo", "scope", both)
		assert.Contains(t, v.page.Body, "See your public profile")
		assert.NotContains(t, v.page.Body, "organization")
		a := h.redeem(site, v.submit("decision", "approve", "scope", "account.education_profile").param("code"))
		assert.Equal(t, "account.public_profile", a.member("scope"))
		assert.NotContains(t, h.get(meURL, a.member("access_token")).Body, "organization")

		v = h.consent("teacher", "scope", both)
		assert.Contains(t, v.page.Body, "organization")
		a = h.redeem(site, v.decide("approve").param("code"))
		assert.Equal(t, both, a.member("scope"))
		assert.Equal(t, "Springfield Music School", h.get(meURL, a.member("access_token")).member("organization"))
	}},
	{"FL-08 in the fragment", func(t *testing.T) {
		a := newTestHost(t).allowed("response_type", "token", "scope", "scores account.education_profile")
		assert.Equal(t, "scores", a.param("scope"))
	}},
	{"FL-08 nothing is left to grant", func(t *testing.T) {
		v := newTestHost(t).visitor()
		v.open(request("scope", "account.education_profile"), nil)
		v.submit("username", "demo", "password", "demo").sentBack(t, "?", "access_denied")
	}},
	{"FL-09 scores includes scores.readonly", func(t *testing.T) {
		h := newTestHost(t)
		full, reader := h.tokens("scope", "scores").member("access_token"), h.tokens("scope", "scores.readonly").member("access_token")
		for _, c := range []struct {
			method, url, token string
			status             int
		}{
			{"GET", scoresURL, full, 200}, {"POST", scoresURL, full, 201}, {"GET", scoresURL, reader, 200}, {"POST", scoresURL, reader, 403},
			{"POST", apiBase + "/v2/scores/1/likes", full, 403}, {"GET", meURL, full, 403},
		} {
			a := h.do(c.method, c.url, "", "Authorization", "Bearer "+c.token)
			assert.Equal(t, c.status, a.Status, c.method+c.url)
			if c.status == 403 {
				assert.Contains(t, a.Header.Get("WWW-Authenticate"), `error="insufficient_scope"`)
			}
		}
	}},
	{"FL-10 redirect_uri", func(t *testing.T) {
		h := newTestHost(t)
		h.visitor().open(request("redirect_uri", ""), nil).noRedirect(t, "absent")
		h.visitor().open(request("redirect_uri", "")+"&redirect_uri=", nil).noRedirect(t, "empty")
		h.visitor().open(request("redirect_uri", "", "response_type", "token"), nil).noRedirect(t, "absent")
		h.visitor().open(request("redirect_uri", "", "scope", ""), nil).noRedirect(t, "absent, and no scope either")
		for _, bad := range []string{siteCallback + "/", siteCallback + "?", siteCallback + "?a=1", siteCallback + "#", boxCallback,
			strings.ToUpper(siteCallback), strings.Replace(siteCallback, "https:", "http:", 1), strings.Replace(siteCallback, ".com", ".com:443", 1)} {
			h.visitor().open(request("redirect_uri", bad), nil).noRedirect(t, bad)
		}
	}},
	{"FL-11 state", func(t *testing.T) {
		h := newTestHost(t)
		const hard = `a&b#c=d%20 e+"é`
		a := h.allowed("state", hard)
		assert.Equal(t, hard, a.param("state"))
		a = h.allowed("state", hard, "response_type", "token")
		assert.Equal(t, hard, a.param("state"))
		mark, _ := a.callback()
		assert.Equal(t, "#", mark, "in the fragment only")
		assert.NotContains(t, a.Header.Get("Location"), "?")
		assert.Equal(t, []string{"code"}, h.allowed("state", "").names())
		assert.Equal(t, []string{"scope", "expires_in", "access_token"}, h.allowed("state", "", "response_type", "token").names())
	}},
	{"FL-12 access_type", func(t *testing.T) {
		h := newTestHost(t)
		for accessType, refresh := range map[string]bool{"offline": true, "online": false, "": false} {
			assert.Equal(t, refresh, h.tokens("access_type", accessType).member("refresh_token") != "", accessType)
		}
		for _, bad := range []string{"x", "Offline", "offline online"} {
			h.visitor().open(request("access_type", bad), nil).sentBack(t, "?", "invalid_request", bad)
		}
		a := h.allowed("response_type", "token", "access_type", "offline")
		assert.Equal(t, []string{"scope", "expires_in", "access_token", "state"}, a.names(), "RFC 6749, section 4.2.2")
	}},
	{"FL-13 it cannot be said later", func(t *testing.T) {
		h := newTestHost(t)
		a := h.redeem(site, h.allowed().param("code"), "access_type", "offline")
		assert.Equal(t, http.StatusOK, a.Status)
		assert.NotContains(t, a.Body, "refresh_token")
		a = h.redeem(site, h.allowed("access_type", "offline").param("code"), "access_type", "online")
		assert.NotEmpty(t, a.member("refresh_token"))
	}},
	{"FL-14 the authorization page", func(t *testing.T) {
		h := newTestHost(t)
		for _, responseType := range []string{"code", "token"} {
			v := h.consent("demo", "response_type", responseType)
			for _, words := range []string{`<p class="service">Flat</p>`, "<bdi>My Website</bdi>", "See your public profile", "Read, change and delete all of your scores", "Dana Demo", "my-website.example.com"} {
				assert.Contains(t, v.page.Body, words)
			}
			assert.NotContains(t, v.page.Body, "Post comments", "it was not asked for")
			header := v.page.Header
			assert.Equal(t, "text/html; charset=utf-8", header.Get("Content-Type"))
			assert.Equal(t, "no-store", header.Get("Cache-Control"))
			assert.Equal(t, "DENY", header.Get("X-Frame-Options"))
			assert.Contains(t, header.Get("Content-Security-Policy"), "frame-ancestors 'none'")

			forged := h.visitor()
			forged.cookies = v.cookies
			a := forged.open(authorizeURL, form("decision", "approve", "client_id", siteKey, "response_type", responseType))
			assert.Empty(t, a.param("code")+a.param("access_token"), "without the page's handle")
			other := h.visitor()
			other.page = v.page
			a = other.decide("approve")
			assert.Empty(t, a.param("code")+a.param("access_token"), "from another browser")
			a = v.decide("approve")
			assert.NotEmpty(t, a.param("code")+a.param("access_token"))
		}
		v := h.consent("demo", "client_id", boxKey, "redirect_uri", boxCallback, "scope", "scores.readonly")
		assert.Contains(t, v.page.Body, "Music &lt;Box&gt;")
		assert.NotContains(t, v.page.Body, "<Box>")
	}},
	{"FL-14 the page of somebody who is signed in", func(t *testing.T) {
		v := newTestHost(t).consent("demo")
		v.open(request("response_type", "token"), nil)
		assert.Contains(t, v.page.Body, `value="approve"`)
	}},
	{"FL-15 the callback", func(t *testing.T) {
		a := newTestHost(t).allowed()
		mark, _ := a.callback()
		assert.Equal(t, "?", mark)
		assert.Equal(t, []string{"code", "state"}, a.names())
		assert.True(t, strings.HasPrefix(a.Header.Get("Location"), "https://my-website.example.com/callback?code="))
	}},
	{"FL-20 the fragment", func(t *testing.T) {
		h := newTestHost(t)
		a := h.allowed("response_type", "token")
		assert.Equal(t, http.StatusSeeOther, a.Status)
		mark, params := a.callback()
		assert.Equal(t, "#", mark)
		assert.Regexp(t, `^scope=[^&]+&expires_in=86400&access_token=[^&]+&state=xyz$`, params)
		assert.Contains(t, params, "scope=account.public_profile+scores&")
		assert.Equal(t, "no-referrer", a.Header.Get("Referrer-Policy"))
		assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		me := h.get(meURL, a.param("access_token"))
		assert.Equal(t, http.StatusOK, me.Status)
		assert.Equal(t, demoID, me.member("id"))
		h.clock.Advance(86401 * time.Second)
		assert.Equal(t, http.StatusUnauthorized, h.get(meURL, a.param("access_token")).Status)
	}},
	{"FL-21 errors of the implicit grant", func(t *testing.T) {
		h := newTestHost(t)
		a := h.consent("demo", "response_type", "token").decide("deny")
		a.sentBack(t, "#", "access_denied")
		assert.Equal(t, []string{"error", "state"}, a.names())
		h.visitor().open(request("response_type", "token", "scope", "x"), nil).sentBack(t, "#", "invalid_scope")
		h.consent("demo").decide("deny").sentBack(t, "?", "access_denied")
	}},
	{"FL-22 a script in a browser", func(t *testing.T) {
		h := newTestHost(t)
		token := h.allowed("response_type", "token").param("access_token") // and nothing was called with a secret
		preflight := h.do("OPTIONS", meURL, "", "Origin", "https://my-website.example.com",
			"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
		assert.Equal(t, http.StatusNoContent, preflight.Status)
		assert.Equal(t, "*", preflight.Header.Get("Access-Control-Allow-Origin"))
		assert.Contains(t, preflight.Header.Get("Access-Control-Allow-Headers"), "Authorization")
		for _, bearer := range []string{token, "x"} { // refusals can be read too
			a := h.do("GET", meURL, "", "Origin", "https://my-website.example.com", "Authorization", "Bearer "+bearer)
			assert.Equal(t, "*", a.Header.Get("Access-Control-Allow-Origin"))
			assert.Empty(t, a.Header.Get("Access-Control-Allow-Credentials"))
		}
	}},
}
