package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// responseNames are the members of a token response; of one for an app that is
// offline there is a refresh_token behind them.
var responseNames = []string{"type", "token_type", "access_token", "issued_at", "expires_in", "app", "appStatus", "user", "scope"}

var tokenRequirements = []requirement{
	{"FL-16 the exchange", func(t *testing.T) {
		h := newTestHost(t)
		code := h.allowed().param("code")
		for name, f := range map[string][]string{
			"no secret":              {"client_secret", ""},
			"a wrong secret":         {"client_secret", "x"},
			"another app's secret":   {"client_secret", boxSecret},
			"no redirect_uri":        {"redirect_uri", ""},
			"another redirect_uri":   {"redirect_uri", boxCallback},
			"a code_verifier":        {"code_verifier", strings.Repeat("v", 43)},
			"another code":           {"code", "x"},
			"no code":                {"code", ""},
			"an unknown grant_type":  {"grant_type", "password"},
			"grant_type is left out": {"grant_type", ""},
		} {
			a := h.redeem(site, code, f...)
			assert.Contains(t, []int{400, 401}, a.Status, name)
			assert.NotContains(t, a.Body, "access_token", name)
		}
		inQuery := form("grant_type", "authorization_code", "code", code, "client_id", siteKey, "client_secret", siteSecret, "redirect_uri", siteCallback)
		assert.Equal(t, 400, h.do("POST", tokenURL+"?"+inQuery.Encode(), "", "Content-Type", "application/x-www-form-urlencoded").Status)
		h.do("POST", tokenURL, `{"grant_type":"authorization_code"}`, "Content-Type", "application/json").refused(t, http.StatusBadRequest, "invalid_request")
		h.do("GET", tokenURL, "").refused(t, http.StatusMethodNotAllowed, "invalid_request")

		a := h.redeem(site, code)
		require.Equal(t, http.StatusOK, a.Status, "no attempt has burnt it: %s", a.Body)
		assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
		h.clock.Advance(3 * time.Second)
		h.redeem(site, code).refused(t, http.StatusBadRequest, "invalid_grant", "once")
	}},
	{"FL-16 within a minute, by its app", func(t *testing.T) {
		h := newTestHost(t)
		code := h.allowed().param("code")
		h.redeem(box, code).refused(t, http.StatusBadRequest, "invalid_grant")
		h.clock.Advance(time.Minute)
		h.redeem(site, code).refused(t, http.StatusBadRequest, "invalid_grant")
	}},
	{"FL-17 the response", func(t *testing.T) {
		h := newTestHost(t)
		h.clock.Advance(700 * time.Millisecond) // seconds are whole all the same
		for _, accessType := range []string{"online", "offline"} {
			a := h.tokens("access_type", accessType)
			want := responseNames
			if accessType == "offline" {
				want = append(append([]string{}, want...), "refresh_token")
			}
			assert.Equal(t, want, memberNames(t, a.Body))
			for _, m := range members(t, a.Body) {
				switch m.Name {
				case "type":
					assert.Equal(t, "access", m.Value)
				case "token_type":
					assert.Equal(t, "bearer", m.Value)
				case "issued_at":
					assert.InEpsilon(t, 1492542537.0, m.Value, 1e-12)
				case "expires_in":
					assert.InEpsilon(t, 86400.0, m.Value, 1e-12)
				case "app":
					assert.Equal(t, "58f6641be0c2f53a7d1b9c01", m.Value)
				case "appStatus":
					assert.Equal(t, "trusted", m.Value)
				case "user":
					assert.Equal(t, demoID, m.Value)
				case "scope":
					assert.Equal(t, "account.public_profile scores", m.Value)
				default:
					assert.IsType(t, "", m.Value)
				}
			}
			if accessType == "offline" {
				h.clock.Advance(86400*time.Second - 701*time.Millisecond)
				assert.Equal(t, http.StatusOK, h.get(meURL, a.member("access_token")).Status)
				h.clock.Advance(time.Millisecond)
				assert.Equal(t, http.StatusUnauthorized, h.get(meURL, a.member("access_token")).Status, "issued_at + expires_in")
			}
		}
	}},
	{"FL-18 appStatus is that of the app", func(t *testing.T) {
		h := newTestHost(t)
		code := h.allowed("client_id", boxKey, "redirect_uri", boxCallback, "scope", "scores.readonly").param("code")
		a := h.redeem(box, code)
		assert.Equal(t, "sandbox", a.member("appStatus"))
		assert.Equal(t, "5a02c80f3b66a1240d77e802", a.member("app"))
	}},
	{"FL-19 an access token lives a day", func(t *testing.T) {
		h := newTestHost(t)
		token := h.tokens().member("access_token")
		h.clock.Advance(86399 * time.Second)
		assert.Equal(t, http.StatusOK, h.get(meURL, token).Status)
		h.clock.Advance(2 * time.Second)
		a := h.get(meURL, token)
		assert.Equal(t, http.StatusUnauthorized, a.Status)
		assert.Contains(t, a.Header.Get("WWW-Authenticate"), `error="invalid_token"`)
	}},
	{"FL-26 who am I", func(t *testing.T) {
		h := newTestHost(t)
		a := h.get(meURL, h.tokens("scope", "account.public_profile").member("access_token"))
		assert.Equal(t, http.StatusOK, a.Status)
		assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
		assert.Equal(t, []string{demoID, "demo", "Dana Demo"}, []string{a.member("id"), a.member("username"), a.member("name")})
		assert.Equal(t, http.StatusForbidden, h.get(meURL, h.tokens("scope", "scores").member("access_token")).Status)
		none := h.do("GET", meURL, "")
		assert.Equal(t, http.StatusUnauthorized, none.Status)
		assert.Equal(t, "Bearer", strings.Fields(none.Header.Get("WWW-Authenticate"))[0])
		token := h.tokens().member("access_token")
		assert.Equal(t, http.StatusUnauthorized, h.do("GET", meURL+"?access_token="+token, "").Status, "in the header alone")
		assert.Equal(t, http.StatusMethodNotAllowed, h.do("DELETE", meURL, "", "Authorization", "Bearer "+token).Status)
	}},
	{"FL-27 the endpoint", func(t *testing.T) {
		h := newTestHost(t)
		for _, hint := range []string{"", "access_token", "refresh_token", "nonsense"} {
			token := h.tokens().member("access_token")
			a := h.revoke(site, token, "token_type_hint", hint)
			assert.Equal(t, http.StatusOK, a.Status, hint)
			assert.Empty(t, a.Body)
			assert.Equal(t, http.StatusUnauthorized, h.get(meURL, token).Status, hint)
			assert.Equal(t, http.StatusOK, h.revoke(site, token).Status, "a second time")
		}
		assert.Equal(t, http.StatusOK, h.revoke(site, "unknown").Status)
		token := h.tokens().member("access_token")
		h.revoke(credentials{"client_id", siteKey, "client_secret", "x"}, token).refused(t, http.StatusUnauthorized, "invalid_client")
		h.revoke(credentials{"client_id", siteKey, "client_secret", ""}, token).refused(t, http.StatusUnauthorized, "invalid_client")
		assert.Equal(t, http.StatusOK, h.revoke(box, token).Status, "another app's")
		assert.Equal(t, http.StatusOK, h.get(meURL, token).Status, "it lives")
		h.revoke(site, "").refused(t, http.StatusBadRequest, "invalid_request")
		get := h.do("GET", revokeURL, "")
		get.refused(t, http.StatusMethodNotAllowed, "invalid_request")
		assert.Equal(t, "POST", get.Header.Get("Allow"))
	}},
	{"FL-28 what ends", func(t *testing.T) {
		h := newTestHost(t)
		a := h.tokens("access_type", "offline")
		h.revoke(site, a.member("access_token"))
		assert.Equal(t, http.StatusUnauthorized, h.get(meURL, a.member("access_token")).Status)
		b := h.refresh(site, a.member("refresh_token"))
		require.Equal(t, http.StatusOK, b.Status, "the refresh token lives")
		h.revoke(site, b.member("refresh_token"))
		assert.Equal(t, http.StatusUnauthorized, h.get(meURL, b.member("access_token")).Status, "RFC 7009, section 2.1")
		h.refresh(site, b.member("refresh_token")).refused(t, http.StatusBadRequest, "invalid_grant")
	}},
	{"FL-29 the refresh grant", func(t *testing.T) {
		h := newTestHost(t)
		first := h.tokens("access_type", "offline")
		h.clock.Advance(48 * time.Hour)
		h.refresh(box, first.member("refresh_token")).refused(t, http.StatusBadRequest, "invalid_grant", "another app")
		h.refresh(credentials{"client_id", siteKey, "client_secret", "x"}, first.member("refresh_token")).refused(t, http.StatusUnauthorized, "invalid_client")
		a := h.refresh(site, first.member("refresh_token"))
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		assert.Equal(t, append(append([]string{}, responseNames...), "refresh_token"), memberNames(t, a.Body))
		assert.InEpsilon(t, 1492542537.0+48*3600, members(t, a.Body)[3].Value, 1e-12, "issued_at")
		assert.Equal(t, "account.public_profile scores", a.member("scope"))
		assert.Equal(t, http.StatusOK, h.get(meURL, a.member("access_token")).Status)
		assert.NotEqual(t, first.member("refresh_token"), a.member("refresh_token"), "it rotates")
		h.clock.Advance(31 * time.Second)
		h.refresh(site, first.member("refresh_token")).refused(t, http.StatusBadRequest, "invalid_grant")
		h.refresh(site, a.member("refresh_token")).refused(t, http.StatusBadRequest, "invalid_grant", "all of it has ended")
	}},
	{"FL-30 no registration", func(t *testing.T) {
		h := newTestHost(t)
		assert.NotContains(t, h.do("GET", webBase+"/.well-known/oauth-authorization-server", "").Body, "registration_endpoint")
		for _, base := range []string{webBase, apiBase} {
			for _, path := range []string{"/oauth/register", "/register", "/oauth/clients"} {
				assert.Equal(t, http.StatusNotFound, h.do("POST", base+path, "{}", "Content-Type", "application/json").Status)
			}
		}
		h.redeem(credentials{"client_id", "nobody", "client_secret", "x", "redirect_uri", siteCallback}, "x").refused(t, http.StatusUnauthorized, "invalid_client")
	}},
	{"FL-31 the head of the response", func(t *testing.T) {
		h := newTestHost(t)
		for _, a := range []*answer{h.tokens(), h.refresh(site, h.tokens("access_type", "offline").member("refresh_token"))} {
			assert.Equal(t, http.StatusOK, a.Status)
			assert.Equal(t, []string{"application/json"}, a.Header["Content-Type"])
			assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		}
	}},
}
