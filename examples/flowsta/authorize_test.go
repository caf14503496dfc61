package main

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var authorizeRequirements = []requirement{
	{"FS-01 endpoints and methods", testEndpoints},
	{"FS-03 response_type", testResponseType},
	{"FS-04 required parameters", testRequired},
	{"FS-05 scopes between spaces", testSpaces},
	{"FS-06 state", testState},
	{"FS-07 code_challenge_method", testChallengeMethod},
	{"FS-08 the sample", testSample},
	{"FS-29 client ids", testClientID},
}

func testEndpoints(t *testing.T) {
	h := newTestHost(t)
	for path, methods := range map[string]string{
		"/oauth/authorize": "GET, POST", "/oauth/token": "POST", "/oauth/userinfo": "GET, POST, HEAD", "/oauth/revoke": "POST",
	} {
		for _, method := range []string{"PUT", "DELETE", "PATCH"} {
			a := h.do(method, issuer+path, "")
			assert.Equal(t, http.StatusMethodNotAllowed, a.Status, method+path)
			assert.Equal(t, methods, a.Header.Get("Allow"), method+path)
		}
	}
	assert.Equal(t, http.StatusMethodNotAllowed, h.do("GET", issuer+"/oauth/token", "").Status)
	assert.Equal(t, http.StatusMethodNotAllowed, h.do("GET", issuer+"/oauth/revoke", "").Status)
	for _, path := range []string{"/oauth/introspect", "/oauth/jwks", "/"} {
		assert.Equal(t, http.StatusNotFound, h.do("GET", issuer+path, "").Status, "%s is not in the document", path)
	}

	// Each once as documented: nobody, client_id and code_verifier, a bearer token, X-Client-Id.
	access, refresh := h.tokens()
	assert.Equal(t, http.StatusOK, h.userinfo(access).Status)
	assert.Equal(t, http.StatusOK, h.revoke(object("token", refresh), "X-Client-Id", appID).Status)
}

// toApp asserts that a request is answered by a redirect with an error.
func toApp(t *testing.T, h *host, code string, change ...string) {
	t.Helper()
	a := h.do("GET", request(change...), "")
	assert.Equal(t, http.StatusSeeOther, a.Status, change)
	assert.Equal(t, code, a.callback().Get("error"), "%s: %s", change, a.Header.Get("Location"))
	assert.Equal(t, "random_state", a.callback().Get("state"), change)
	assert.False(t, a.callback().Has("code"), change)
	assert.False(t, a.callback().Has("iss"), "the document has no such parameter")
}

// onPage asserts that a request is answered by a page and nothing is redirected.
func onPage(t *testing.T, h *host, target string) {
	t.Helper()
	a := h.do("GET", target, "")
	assert.Equal(t, http.StatusBadRequest, a.Status, target)
	assert.Contains(t, a.Header.Get("Content-Type"), "text/html", target)
	assert.NotContains(t, a.Header, "Location", target)
	assert.NotContains(t, a.Body, `name="password"`, target)
}

func testResponseType(t *testing.T) {
	h := newTestHost(t)
	toApp(t, h, "unsupported_response_type", "response_type", "token")
	toApp(t, h, "unsupported_response_type", "response_type", "code token")
	toApp(t, h, "invalid_request", "response_type", "")
}

func testRequired(t *testing.T) {
	h := newTestHost(t)
	onPage(t, h, request("client_id", ""))
	onPage(t, h, request("client_id", "flowsta_app_nobody"))
	onPage(t, h, request("redirect_uri", ""))
	onPage(t, h, request("redirect_uri", "")+"&interaction=")
	onPage(t, h, request("redirect_uri", "")+"&interaction=x")
	onPage(t, h, request("redirect_uri", "https://yourapp.com/callback/"))
	onPage(t, h, request("redirect_uri", "https://evil.example/callback"))
	a := h.do("GET", request("redirect_uri", ""), "")
	assert.Contains(t, a.Body, "Missing required parameter: redirect_uri")

	// Sent by POST, the same request is asked for again with GET.
	q, err := url.Parse(request("redirect_uri", ""))
	require.NoError(t, err)
	v := h.visitor()
	v.open("POST", issuer+"/oauth/authorize", q.Query())
	assert.Equal(t, http.StatusBadRequest, v.page.Status)

	toApp(t, h, "invalid_request", "code_challenge", "")
	toApp(t, h, "invalid_request", "code_challenge", "too-short")
	toApp(t, h, "invalid_scope", "scope", "")
	toApp(t, h, "invalid_scope", "scope", "profile everything")
}

func testSpaces(t *testing.T) {
	h := newTestHost(t)
	const base = issuer + "/oauth/authorize?response_type=code&client_id=" + appID + "&redirect_uri=" + appCallback +
		"&code_challenge=" + challenge + "&code_challenge_method=S256&scope="
	for _, scope := range []string{"profile%20email", "profile+email"} {
		v := h.visitor()
		v.open("GET", base+scope, nil)
		v.submit(url.Values{"username": {userName}, "password": {userPassword}})
		v.decide("approve", "email")
		a := h.redeem(v.page.code(), verifier)
		assert.Equal(t, "profile email", a.member("scope"), scope)
	}
}

func testState(t *testing.T) {
	h := newTestHost(t)
	v := h.signedIn("state", "")
	v.decide("approve")
	assert.Regexp(t, `^https://yourapp\.com/callback\?code=[\w-]+$`, v.page.Header.Get("Location"))

	const odd = "a b&c=d%2F+é\"<"
	v = h.signedIn("state", odd)
	v.decide("approve")
	assert.Equal(t, odd, v.page.callback().Get("state"))

	v = h.signedIn("state", odd)
	v.decide("deny")
	assert.Equal(t, "access_denied", v.page.callback().Get("error"))
	assert.Equal(t, odd, v.page.callback().Get("state"))
	assert.Empty(t, v.page.code())
}

func testChallengeMethod(t *testing.T) {
	h := newTestHost(t)
	for _, method := range []string{"plain", "", "s256", "S512"} {
		toApp(t, h, "invalid_request", "code_challenge_method", method)
	}
}

func testSample(t *testing.T) {
	h := newTestHost(t)
	v := h.visitor()
	v.open("GET", sampleURL(t, issuer), nil)
	v.submit(url.Values{"username": {userName}, "password": {userPassword}})
	for _, s := range scopes {
		assert.Contains(t, v.page.Body, s.Description)
	}
	v.decide("approve", "email")
	assert.Equal(t, http.StatusSeeOther, v.page.Status)
	assert.Regexp(t, `^https://yourapp\.com/callback\?code=[\w-]+&state=random_state$`, v.page.Header.Get("Location"))
	assert.Equal(t, http.StatusOK, h.redeem(v.page.code(), verifier).Status)
}

func testClientID(t *testing.T) {
	cfg, err := newConfig(options{})
	require.NoError(t, err)
	c, err := cfg.Clients.Client(t.Context(), appID)
	require.NoError(t, err)
	assert.Equal(t, "flowsta_app_abc123", c.ID)
	_, err = cfg.Clients.Client(t.Context(), "FLOWSTA_APP_ABC123")
	assert.Error(t, err, "ids are compared byte by byte")
	h := newTestHost(t)
	access, _ := h.tokens()
	assert.Equal(t, appID, payload(t, access)["client_id"])
}
