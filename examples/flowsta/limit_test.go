package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

var limitRequirements = []requirement{
	{"FS-25 limits", testLimits},
	{"FS-26 headers", testLimitHeaders},
	{"FS-27 over the limit", testOverLimit},
	{"FS-28 who is counted", testWhoIsCounted},
}

// times asks so often and asserts that the limit let all of it pass.
func times(t *testing.T, n int, ask func() *answer) {
	t.Helper()
	for i := range n {
		require.NotEqual(t, http.StatusTooManyRequests, ask().Status, "request %d of %d", i+1, n)
	}
}

// from is the same host, asked from another address.
func (h *host) from(addr string) *host {
	other := *h
	other.addr = addr
	return &other
}

// asApp is a token request of an application that never succeeds.
func (h *host) asApp(id string) func() *answer {
	return func() *answer {
		return h.postJSON("/oauth/token", object("grant_type", "refresh_token", "refresh_token", "x", "client_id", id))
	}
}

func testLimits(t *testing.T) {
	h := newTestHost(t, twoApps)
	ask := func() *answer { return h.do("GET", request(), "") }
	v := h.signedIn() // which takes three requests
	times(t, 96, ask)
	v.decide("approve", "email")
	assert.NotEmpty(t, v.page.code(), "the 100th, and a POST like the second")
	assert.Equal(t, http.StatusTooManyRequests, ask().Status, "the 101st to authorize")
	assert.Equal(t, http.StatusOK, h.from("192.0.2.2").do("GET", request(), "").Status, "another address")

	times(t, 50, h.asApp(appID))
	assert.Equal(t, http.StatusTooManyRequests, h.asApp(appID)().Status, "the 51st to token")
	times(t, 50, h.asApp(secondApp))
	revoke := func() *answer { return h.revoke(object("token", "x"), "X-Client-Id", appID) }
	times(t, 50, revoke)
	assert.Equal(t, http.StatusTooManyRequests, revoke().Status, "the 51st to revoke")
	assert.Equal(t, http.StatusOK, h.revoke(object("token", "x"), "X-Client-Id", secondApp).Status)

	h.clock.Advance(time.Minute)
	assert.Equal(t, http.StatusOK, ask().Status, "the next minute")
	assert.Equal(t, http.StatusBadRequest, h.asApp(appID)().Status)
	assert.Equal(t, http.StatusOK, revoke().Status)

	one, _ := h.tokens()
	two, _ := h.tokens()
	times(t, 500, func() *answer { return h.userinfo(one) })
	assert.Equal(t, http.StatusTooManyRequests, h.userinfo(one).Status, "the 501st with one token")
	assert.Equal(t, http.StatusTooManyRequests, h.from("192.0.2.2").userinfo(one).Status, "from wherever")
	assert.Equal(t, http.StatusOK, h.userinfo(two).Status, "another token")
	h.clock.Advance(time.Minute)
	assert.Equal(t, http.StatusOK, h.userinfo(one).Status)
}

// limit asserts the headers of an answer, and gives what remains.
func (h *host) limit(a *answer, limit int, about string) (remaining int) {
	h.t.Helper()
	assert.Equal(h.t, strconv.Itoa(limit), a.Header.Get("X-RateLimit-Limit"), about)
	remaining, err := strconv.Atoi(a.Header.Get("X-RateLimit-Remaining"))
	require.NoError(h.t, err, about)
	reset, err := strconv.ParseInt(a.Header.Get("X-RateLimit-Reset"), 10, 64)
	require.NoError(h.t, err, about)
	now := h.clock.Now().Unix()
	assert.Greater(h.t, reset, now, about)
	assert.LessOrEqual(h.t, reset, now+60, about)
	return remaining
}

func testLimitHeaders(t *testing.T) {
	h := newTestHost(t)
	v := h.signedIn()
	left := h.limit(v.page, 100, "the consent page")
	assert.Equal(t, 97, left)
	for about, a := range map[string]*answer{
		"the login page":              h.do("GET", request(), ""),
		"a page of an unknown client": h.do("GET", request("client_id", "x"), ""),
		"no redirect_uri":             h.do("GET", request("redirect_uri", ""), ""),
		"a redirect with an error":    h.do("GET", request("scope", ""), ""),
		"a POST without a form":       h.do("POST", issuer+"/oauth/authorize", "x"),
		"a POST of the request":       h.do("POST", issuer+"/oauth/authorize", "client_id=x", "Content-Type", "application/x-www-form-urlencoded"),
		"another method":              h.do("PUT", issuer+"/oauth/authorize", ""),
	} {
		h.limit(a, 100, about)
	}
	v.decide("approve", "email")
	assert.Equal(t, left-8, h.limit(v.page, 100, "the redirect with the code"), "one less with each")

	ok := h.redeem(v.page.code(), verifier)
	assert.Equal(t, 49, h.limit(ok, 50, "token"))
	assert.Equal(t, 48, h.limit(h.asApp(appID)(), 50, "token, 400"))
	assert.Equal(t, 47, h.limit(h.refresh("x", "client_secret", "x"), 50, "token, 401"))
	h.limit(h.postJSON("/oauth/token", "{"), 50, "token, broken JSON")
	h.limit(h.do("GET", issuer+"/oauth/token", ""), 50, "token, another method")
	for range 60 {
		h.asApp(appID)()
	}
	assert.Zero(t, h.limit(h.asApp(appID)(), 50, "token, 429"))

	access := ok.member("access_token")
	assert.Equal(t, 499, h.limit(h.userinfo(access), 500, "userinfo"))
	assert.Equal(t, 498, h.limit(h.userinfo(access), 500, "userinfo"))
	h.limit(h.userinfo("x"), 500, "userinfo, 401")
	h.limit(h.do("GET", issuer+"/oauth/userinfo", ""), 500, "userinfo, no token")

	revoke := func(headers ...string) *answer { return h.revoke(object("token", "x"), headers...) }
	assert.Equal(t, 49, h.limit(revoke("X-Client-Id", appID), 50, "revoke"))
	h.limit(revoke(), 50, "revoke, 401")
	h.limit(h.revoke("{}", "X-Client-Id", appID), 50, "revoke, 400")
}

func testOverLimit(t *testing.T) {
	h := newTestHost(t)
	code := h.code()
	_, refresh := h.tokens()
	h.clock.Advance(time.Minute)
	times(t, 50, h.asApp(appID))
	for about, a := range map[string]*answer{
		"a code": h.redeem(code, verifier), "a refresh token": h.refresh(refresh), "nonsense": h.asApp(appID)(),
	} {
		a.refused(t, http.StatusTooManyRequests, "temporarily_unavailable", about)
		wait, err := strconv.Atoi(a.Header.Get("Retry-After"))
		require.NoError(t, err, about)
		assert.Positive(t, wait, about)
		assert.LessOrEqual(t, wait, 60, about)
		h.limit(a, 50, about)
	}
	h.clock.Advance(time.Minute)
	assert.Equal(t, http.StatusOK, h.redeem(code, verifier).Status, "the code was not used up")
	a := h.refresh(refresh)
	assert.Equal(t, http.StatusOK, a.Status, "the refresh token was not rotated: a minute later its use would be a replay")

	for range 100 {
		h.do("GET", request(), "")
	}
	a = h.do("GET", request(), "")
	assert.Equal(t, http.StatusTooManyRequests, a.Status)
	assert.True(t, strings.HasPrefix(a.Header.Get("Content-Type"), "text/html"), "a page")
	assert.NotContains(t, a.Header, "Location")
	assert.NotEmpty(t, a.Header.Get("Retry-After"))
	assert.NotContains(t, h.do("GET", request("scope", ""), "").Header, "Location", "nor for what would be a redirect")
}

func testWhoIsCounted(t *testing.T) {
	h := newTestHost(t, twoApps)
	times(t, 20, h.asApp(appID))
	times(t, 20, func() *answer { // named by the header, also at the token endpoint
		return h.postJSON("/oauth/token", object("grant_type", "refresh_token", "refresh_token", "x"), "X-Client-Id", appID)
	})
	times(t, 10, func() *answer { return h.refresh("x", "client_secret", "x") })
	assert.Equal(t, http.StatusTooManyRequests, h.asApp(appID)().Status, "all three count for the same application")
	times(t, 1, h.asApp(secondApp))

	// Ids that nobody has are one caller, the address, and no id has a count.
	for i := range 1000 {
		a := h.asApp(fmt.Sprintf("flowsta_app_%d", i))()
		assert.Equal(t, max(0, 49-i), h.limit(a, 50, "an unknown client"))
		if i >= 50 {
			require.Equal(t, http.StatusTooManyRequests, a.Status)
		}
	}
	times(t, 1, h.asApp(secondApp))
	times(t, 1, h.from("192.0.2.2").asApp("flowsta_app_0"))

	// Who claims to be another's application does not use up that one's count.
	h = newTestHost(t)
	stranger := h.from("198.51.100.7")
	for range 60 {
		stranger.asApp(appID)()
	}
	assert.Equal(t, http.StatusTooManyRequests, stranger.asApp(appID)().Status)
	access, _ := h.tokens()
	assert.NotEmpty(t, access)
}

// TestLimitsAreReal: what refuses is the guard, not the clock that stands still.
func TestLimitsAreReal(t *testing.T) {
	h := newTestHost(t, func(cfg *oauth.Config) { cfg.Guards = nil })
	times(t, 200, h.asApp(appID))
	assert.NotContains(t, h.asApp(appID)().Header, "X-RateLimit-Limit")
}
