package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/grantwell/oauth"
)

var apiRequirements = []requirement{
	{"FS-19 userinfo", testUserInfo},
	{"FS-20 members by scope", testMembersByScope},
	{"FS-21 email is optional", testDecline},
	{"FS-22 no good token", testNoGoodToken},
	{"FS-23 revoke", testRevoke},
	{"FS-24 RFC 7009", testRevokeRest},
	{"FS-30 other origins", testOrigins},
}

var (
	profileMembers = []string{"sub", "name", "preferred_username", "did", "agent_pub_key", "profile_picture", "has_custom_picture"}
	emailMembers   = []string{"email", "email_verified"}
)

func testUserInfo(t *testing.T) {
	h := newTestHost(t)
	token, _ := h.tokens()
	a := h.userinfo(token)
	assert.Equal(t, http.StatusOK, a.Status)
	assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
	assert.Equal(t, append(append(append([]string{}, profileMembers...), emailMembers...), "scope"), names(t, a.Body))
	assert.Contains(t, a.Body, `"has_custom_picture":false,`)
	assert.Contains(t, a.Body, `"email_verified":true,`)
	assert.Equal(t, "profile email", a.member("scope"))
}

func testMembersByScope(t *testing.T) {
	h := newTestHost(t)
	token, _ := h.tokens("scope", "profile")
	a := h.userinfo(token)
	assert.Equal(t, append(append([]string{}, profileMembers...), "scope"), names(t, a.Body))
	assert.Equal(t, "profile", a.member("scope"))

	token, _ = h.tokens("scope", "email")
	a = h.userinfo(token)
	assert.Equal(t, []string{"sub", "email", "email_verified", "scope"}, names(t, a.Body))
	assert.Equal(t, "email", a.member("scope"))
}

func testDecline(t *testing.T) {
	h := newTestHost(t)
	v := h.signedIn()
	assert.Contains(t, v.page.Body, `<input type="checkbox" name="scope" value="email" checked>`)
	assert.NotContains(t, v.page.Body, `value="profile"`, "profile is no choice")
	v.decide("approve")
	a := h.redeem(v.page.code(), verifier)
	assert.Equal(t, tokenMembers, names(t, a.Body))
	assert.Equal(t, "profile", a.member("scope"))
	for range 2 {
		info := h.userinfo(a.member("access_token"))
		assert.Equal(t, append(append([]string{}, profileMembers...), "scope"), names(t, info.Body))
		refresh := a.member("refresh_token")
		h.refresh(refresh, "scope", "profile email").refused(t, http.StatusBadRequest, "invalid_scope")
		a = h.refresh(refresh)
		assert.Equal(t, "profile", a.member("scope"), "a refresh does not bring it back")
	}

	v = h.signedIn("scope", "email")
	v.decide("approve")
	assert.Equal(t, "access_denied", v.page.callback().Get("error"), "nothing is left of the request")
}

func testNoGoodToken(t *testing.T) {
	h := newTestHost(t)
	const want = `{"error":"invalid_token","error_description":"Access token is invalid or expired"}`
	expired, _ := h.tokens()
	h.clock.Advance(3601 * time.Second)
	revoked, refresh := h.tokens()
	h.revoke(object("token", refresh), "X-Client-Id", appID)
	live, _ := h.tokens()
	for name, headers := range map[string][]string{
		"none":            nil,
		"nonsense":        {"Authorization", "Bearer nonsense"},
		"a refresh token": {"Authorization", "Bearer " + refresh},
		"expired":         {"Authorization", "Bearer " + expired},
		"revoked":         {"Authorization", "Bearer " + revoked},
		"white space":     {"Authorization", "Bearer " + live[:40] + " " + live[40:]},
		"another scheme":  {"Authorization", "Basic " + live},
		"no scheme":       {"Authorization", live},
	} {
		a := h.do("GET", issuer+"/oauth/userinfo", "", headers...)
		assert.Equal(t, http.StatusUnauthorized, a.Status, name)
		assert.Equal(t, want, a.Body, name)
		challenge := a.Header.Get("WWW-Authenticate")
		assert.True(t, strings.HasPrefix(challenge, "Bearer"), name)
		sent := name != "none" && name != "another scheme" && name != "no scheme"
		assert.Equal(t, sent, strings.Contains(challenge, `error="invalid_token"`), "%s: RFC 6750 3.1", name)
	}
	a := h.do("GET", issuer+"/oauth/userinfo?access_token="+live, "")
	assert.Equal(t, want, a.Body, "a token in the query is none")
	assert.Equal(t, http.StatusOK, h.userinfo(live).Status)
}

func testRevoke(t *testing.T) {
	h := newTestHost(t)
	access, refresh := h.tokens()
	a := h.revoke(object("token", refresh, "token_type_hint", "refresh_token"), "X-Client-Id", appID)
	assert.Equal(t, http.StatusOK, a.Status)
	assert.Empty(t, a.Body)
	h.refresh(refresh).refused(t, http.StatusBadRequest, "invalid_grant")
	assert.Equal(t, http.StatusUnauthorized, h.userinfo(access).Status)
}

func testRevokeRest(t *testing.T) {
	h := newTestHost(t, func(cfg *oauth.Config) {
		second, secret := apps[0], apps[0]
		second.ID = secondApp
		secret.ID, secret.Public, secret.Secrets = "with_secret", false, []string{oauth.HashSecret("secret")}
		cfg.Clients = oauth.StaticClients(apps[0], second, secret)
	})
	_, refresh := h.tokens()
	body := object("token", refresh)
	assert.Equal(t, http.StatusOK, h.revoke(object("token", "unknown"), "X-Client-Id", appID).Status, "an unknown token")
	assert.Equal(t, http.StatusOK, h.revoke(body, "X-Client-Id", secondApp).Status, "another client's")
	h.revoke(body).refused(t, http.StatusUnauthorized, "invalid_client", "no header")
	h.revoke(body, "X-Client-Id", "nobody").refused(t, http.StatusUnauthorized, "invalid_client", "an unknown client")
	h.revoke(body, "X-Client-Id", "with_secret").refused(t, http.StatusUnauthorized, "invalid_client", "a client with a secret")
	h.revoke(object("token", refresh, "client_id", secondApp), "X-Client-Id", appID).
		refused(t, http.StatusBadRequest, "invalid_request", "header and body differ")
	h.revoke(body, "X-Client-Id", appID, "X-Client-Id", secondApp).
		refused(t, http.StatusBadRequest, "invalid_request", "two headers")
	a := h.revoke(object("token_type_hint", "refresh_token"), "X-Client-Id", appID)
	assert.Equal(t, http.StatusBadRequest, a.Status)
	assert.Equal(t, `{"error":"invalid_request","error_description":"Missing required parameter: token"}`, a.Body)
	h.do("POST", issuer+"/oauth/revoke", "token="+refresh, "Content-Type", "application/x-www-form-urlencoded", "X-Client-Id", appID).
		refused(t, http.StatusBadRequest, "invalid_request", "a form")

	a = h.refresh(refresh)
	assert.Equal(t, http.StatusOK, a.Status, "none of these has revoked it")
	access, refresh := a.member("access_token"), a.member("refresh_token")
	assert.Equal(t, http.StatusOK, h.revoke(object("token", access), "X-Client-Id", appID).Status, "an access token, no hint")
	assert.Equal(t, http.StatusUnauthorized, h.userinfo(access).Status)
	assert.Equal(t, http.StatusOK, h.refresh(refresh).Status, "RFC 7009 2.1: the refresh token may live")
	for _, hint := range []string{"", "access_token", "something"} {
		_, refresh := h.tokens()
		assert.Equal(t, http.StatusOK, h.revoke(object("token", refresh, "token_type_hint", hint), "X-Client-Id", appID).Status)
		assert.Equal(t, http.StatusBadRequest, h.refresh(refresh).Status, "found with the hint %q", hint)
	}
	_, refresh = h.tokens()
	assert.Equal(t, http.StatusOK, h.revoke(object("token", refresh, "client_id", appID), "X-Client-Id", appID).Status, "both say the same")
	assert.Equal(t, http.StatusBadRequest, h.refresh(refresh).Status)
}

func testOrigins(t *testing.T) {
	const origin = "https://yourapp.com"
	preflight := func(h *host, path, names string) *answer {
		return h.do("OPTIONS", issuer+path, "", "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", names)
	}
	h := newTestHost(t)
	token, _ := h.tokens()
	for path, names := range map[string]string{
		"/oauth/token": "content-type", "/oauth/revoke": "content-type,x-client-id", "/oauth/userinfo": "authorization",
	} {
		a := preflight(h, path, names)
		assert.Equal(t, http.StatusNoContent, a.Status, path)
		assert.Equal(t, "*", a.Header.Get("Access-Control-Allow-Origin"), path)
		assert.NotContains(t, a.Header, "Access-Control-Allow-Credentials", path)
		allowed := strings.Split(strings.ToLower(a.Header.Get("Access-Control-Allow-Headers")), ", ")
		for _, name := range []string{"content-type", "authorization", "x-client-id"} {
			assert.Contains(t, allowed, name, path)
		}
		assert.Contains(t, a.Header.Get("Access-Control-Allow-Methods"), map[bool]string{true: "GET", false: "POST"}[path == "/oauth/userinfo"])
	}
	for name, a := range map[string]*answer{
		"success":        h.do("GET", issuer+"/oauth/userinfo", "", "Authorization", "Bearer "+token, "Origin", origin),
		"400":            h.postJSON("/oauth/token", "{", "Origin", origin),
		"401":            h.do("GET", issuer+"/oauth/userinfo", "", "Origin", origin),
		"another method": h.do("GET", issuer+"/oauth/token", "", "Origin", origin),
	} {
		assert.Equal(t, "*", a.Header.Get("Access-Control-Allow-Origin"), name)
		assert.Contains(t, a.Header.Get("Access-Control-Expose-Headers"), "X-RateLimit-Remaining", name)
	}
	for range 50 {
		h.refresh("x")
	}
	limited := h.postJSON("/oauth/token", object("grant_type", "refresh_token", "client_id", appID), "Origin", origin)
	assert.Equal(t, http.StatusTooManyRequests, limited.Status)
	assert.Equal(t, "*", limited.Header.Get("Access-Control-Allow-Origin"), "429")

	a := preflight(h, "/oauth/authorize", "content-type")
	assert.Equal(t, http.StatusMethodNotAllowed, a.Status)
	assert.NotContains(t, a.Header, "Access-Control-Allow-Origin")
	assert.NotContains(t, h.do("GET", request(), "", "Origin", origin).Header, "Access-Control-Allow-Origin")

	h = newTestHost(t, func(cfg *oauth.Config) { cfg.Origins = oauth.NoOrigins })
	for _, a := range []*answer{
		preflight(h, "/oauth/token", "content-type"),
		h.postJSON("/oauth/token", "{}", "Origin", origin),
		h.do("GET", issuer+"/oauth/userinfo", "", "Origin", origin),
	} {
		for name := range a.Header {
			assert.False(t, strings.HasPrefix(name, "Access-Control-"), name)
		}
	}
}
