package main

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/examples/internal/webtest"
)

// signedIn is a browser that shows the app's page, with somebody signed in.
func signedIn(t *testing.T, issuer, name, password string) *webtest.Browser {
	t.Helper()
	b := webtest.New(t, "")
	b.Open(issuer + "/")
	b.Press("Sign in")
	b.Press("Sign in", name, password)
	b.Press("Allow")
	require.Equal(t, issuer+"/", b.URL.String(), b.Text)
	return b
}

// latest is what the page says of the last button.
func latest(t *testing.T, b *webtest.Browser) string {
	t.Helper()
	_, rest, found := strings.Cut(b.Text, "the latest first ")
	require.True(t, found, b.Text)
	rest, _, _ = strings.Cut(rest, "How you signed in")
	for _, next := range []string{"The app reads your notes", "The app adds a note", "The app refreshes", "The app revokes"} {
		if i := strings.Index(rest[1:], next); i > 0 {
			rest = rest[:i+1]
		}
	}
	return rest
}

func TestAppSignIn(t *testing.T) {
	issuer := serve(t, options{})
	b := webtest.New(t, "")
	b.Open(issuer + "/")
	assert.Contains(t, b.Text, "Signed out")
	b.Press("Sign in")
	assert.Equal(t, "/oauth/authorize", b.URL.Path)
	b.Press("Sign in", "alice", "builder")
	assert.NotContains(t, b.Text, "Demo App asks for access", "a wrong password")
	b.Press("Sign in", "alice", "wonderland")
	for _, s := range scopes {
		assert.Contains(t, b.Text, s.Description)
	}
	assert.Contains(t, b.Text, "Demo App")
	b.Press("Allow")

	require.Equal(t, issuer+"/", b.URL.String(), "the code is not left in the address bar")
	assert.Contains(t, b.Text, "Signed in as Alice")
	at := 0
	for _, words := range []string{
		"sends you to the authorization server", "GET " + issuer + "/oauth/authorize", "client_id demo-web", "code_challenge_method S256",
		"response_type code", "scope profile email notes:read notes:write", "state ",
		"sends you back with a code", "GET " + issuer + "/callback", "code ", "iss " + issuer,
		"exchanges the code for tokens", "POST " + issuer + "/oauth/token", "Authorization: Basic demo-web and its secret",
		"code_verifier ", "grant_type authorization_code", "200 OK", "access_token ", "refresh_token ",
		"asks who you are", "GET " + issuer + "/oauth/userinfo", "200 OK", "name Alice", "email alice@example.com",
	} {
		i := strings.Index(b.Text[at:], words)
		require.GreaterOrEqual(t, i, 0, "%q is not in its place: %s", words, b.Text[at:])
		at += i
	}
	assert.NotRegexp(t, regexp.MustCompile(`[\w-]{50}`), b.Text, "tokens are shortened")
	assert.NotContains(t, b.HTML, "demo-web-secret")
}

func TestAppButtons(t *testing.T) {
	issuer := serve(t, options{})
	b := signedIn(t, issuer, "alice", "wonderland")

	b.Press("Read my notes")
	assert.Contains(t, latest(t, b), "GET "+issuer+"/api/notes")
	assert.Contains(t, latest(t, b), "200 OK")
	assert.Contains(t, latest(t, b), "Follow the white rabbit")

	b.Press("Add note", `<script>alert("tea")</script>`)
	assert.Contains(t, latest(t, b), "POST "+issuer+"/api/notes")
	assert.Contains(t, latest(t, b), "201 Created")
	assert.NotContains(t, b.HTML, "<script")
	b.Press("Read my notes")
	assert.Contains(t, latest(t, b), "tea")

	b.Press("Refresh")
	assert.Contains(t, latest(t, b), "grant_type refresh_token")
	assert.Contains(t, latest(t, b), "200 OK")
	b.Press("Read my notes")
	assert.Contains(t, latest(t, b), "200 OK", "with the new token")

	b.Press("Revoke")
	assert.Contains(t, latest(t, b), "POST "+issuer+"/oauth/revoke")
	assert.Contains(t, latest(t, b), "200 OK")
	assert.Contains(t, latest(t, b), "tries to read your notes all the same")
	assert.Contains(t, latest(t, b), "401 Unauthorized")
	assert.Contains(t, latest(t, b), `error="invalid_token"`)
	assert.Contains(t, b.Text, "Revoked.")
	b.Press("Refresh")
	assert.Contains(t, latest(t, b), "400 Bad Request")
	assert.Contains(t, latest(t, b), "error invalid_grant")
	b.Press("Add note", "x")
	assert.Contains(t, latest(t, b), "401 Unauthorized")

	b.Press("Sign in again")
	b.Press("Allow") // the server still knows who it is
	assert.NotContains(t, b.Text, "Revoked.")
	b.Press("Read my notes")
	assert.Contains(t, latest(t, b), "tea", "the notes are alice's, not the token's")

	b.Press("Sign out of this app")
	assert.Contains(t, b.Text, "Signed out")
	assert.NotContains(t, b.Text, "Alice")
}

func TestAppUsersAreApart(t *testing.T) {
	issuer := serve(t, options{})
	alice := signedIn(t, issuer, "alice", "wonderland")
	bob := signedIn(t, issuer, "bob", "builder")
	alice.Press("Add note", "the hatter's tea")
	bob.Press("Add note", "two spanners")
	alice.Press("Read my notes")
	bob.Press("Read my notes")
	assert.Contains(t, latest(t, alice), "the hatter's tea")
	assert.NotContains(t, alice.Text, "spanners")
	assert.NotContains(t, alice.Text, "Can we fix it?")
	assert.Contains(t, latest(t, bob), "two spanners")
	assert.Contains(t, latest(t, bob), "Can we fix it?")
	assert.NotContains(t, bob.Text, "tea")
}

func TestAppRefusals(t *testing.T) {
	issuer := serve(t, options{})
	t.Run("RFC 6749 4.1.2.1 the user says no", func(t *testing.T) {
		b := webtest.New(t, "")
		b.Open(issuer + "/")
		b.Press("Sign in")
		b.Press("Sign in", "bob", "builder")
		b.Press("Cancel")
		assert.Equal(t, issuer+"/", b.URL.String())
		assert.Contains(t, b.Text, "Signed out")
		assert.Contains(t, b.Text, "error access_denied")
	})
	for name, change := range map[string]func(url.Values){
		"RFC 9700 4.7 a state of nobody's":            func(q url.Values) { q.Set("state", "x") },
		"RFC 9700 4.7 no state":                       func(q url.Values) { q.Del("state") },
		"RFC 9207 2.4 the answer of another server":   func(q url.Values) { q.Set("iss", "https://evil.example") },
		"RFC 9207 2.4 an answer that does not say":    func(q url.Values) { q.Del("iss") },
		"RFC 9700 4.7 the answer for another browser": nil,
	} {
		t.Run(name, func(t *testing.T) {
			b := webtest.New(t, issuer+"/callback")
			b.Open(issuer + "/")
			b.Press("Sign in")
			b.Press("Sign in", "alice", "wonderland")
			b.Press("Allow")
			q := b.URL.Query()
			victim := b
			if change == nil {
				victim = webtest.New(t, "")
			} else {
				change(q)
			}
			victim.Open(issuer + "/callback?" + q.Encode())
			assert.Equal(t, http.StatusBadRequest, victim.Status)
			assert.Contains(t, victim.Text, "no answer to a sign-in of this browser")
			assert.Contains(t, victim.Text, "Signed out")
		})
	}
	t.Run("RFC 9700 4.5 a code that somebody else has, put into one's own sign-in", func(t *testing.T) {
		stolen, own := webtest.New(t, issuer+"/callback"), webtest.New(t, issuer+"/callback")
		for _, b := range []*webtest.Browser{stolen, own} {
			b.Open(issuer + "/")
			b.Press("Sign in")
			b.Press("Sign in", "alice", "wonderland")
			b.Press("Allow")
		}
		q := own.URL.Query()
		q.Set("code", stolen.URL.Query().Get("code"))
		b := own.Tab()
		b.Open(issuer + "/callback?" + q.Encode())
		assert.Contains(t, b.Text, "Signed out")
		assert.Contains(t, b.Text, "error invalid_grant", "PKCE: the verifier is not the one of that code")
	})
}

func TestAppTabs(t *testing.T) {
	issuer := serve(t, options{})
	one := webtest.New(t, "")
	two := one.Tab()
	one.Open(issuer + "/")
	two.Open(issuer + "/")
	one.Press("Sign in")
	two.Press("Sign in")
	one.Press("Sign in", "alice", "wonderland")
	two.Press("Sign in", "alice", "wonderland")
	two.Press("Allow")
	require.Equal(t, issuer+"/", two.URL.String(), two.Text)
	one.Press("Allow")
	assert.Contains(t, one.Text, "somebody has signed in again", "what this tab shows is older than that")
	one.Press("Allow")
	require.Equal(t, issuer+"/", one.URL.String(), one.Text)
	one.Press("Read my notes")
	assert.Contains(t, latest(t, one), "200 OK")
	two.Press("Read my notes")
	assert.Contains(t, latest(t, two), "200 OK")
}

func TestAppBrowserRules(t *testing.T) {
	issuer := serve(t, options{})
	get := func(r *http.Request) *http.Response {
		client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := client.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp
	}
	newRequest := func(method, path string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), method, issuer+path, http.NoBody)
		require.NoError(t, err)
		return r
	}
	t.Run("headers", func(t *testing.T) {
		h := get(newRequest("GET", "/")).Header
		policy := h.Get("Content-Security-Policy")
		assert.Contains(t, policy, "default-src 'none'")
		assert.NotContains(t, policy, "script")
		assert.NotContains(t, policy, "form-action", "it would stop the redirect after the form")
		assert.Equal(t, "no-referrer", h.Get("Referrer-Policy"))
		assert.Equal(t, "no-store", h.Get("Cache-Control"))
	})
	t.Run("the style sheet", func(t *testing.T) {
		resp := get(newRequest("GET", "/app.css"))
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.Equal(t, "text/css; charset=utf-8", resp.Header.Get("Content-Type"))
	})
	t.Run("a form of another site", func(t *testing.T) {
		for _, path := range []string{"/signin", "/signout", "/call/read", "/call/write", "/refresh", "/revoke"} {
			r := newRequest("POST", path)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			assert.Equal(t, http.StatusForbidden, get(r).StatusCode, path)
			assert.Equal(t, http.StatusMethodNotAllowed, get(newRequest("GET", path)).StatusCode, path)
		}
	})
	t.Run("a cookie that was planted", func(t *testing.T) {
		r := newRequest("POST", "/signin")
		r.AddCookie(&http.Cookie{Name: cookieName, Value: "planted"})
		cookies := get(r).Cookies()
		require.Len(t, cookies, 1)
		assert.NotEqual(t, "planted", cookies[0].Value)
		assert.True(t, cookies[0].HttpOnly)
		assert.Equal(t, http.SameSiteLaxMode, cookies[0].SameSite)
	})
	t.Run("buttons without a session", func(t *testing.T) {
		resp := get(newRequest("POST", "/revoke"))
		assert.Equal(t, http.StatusSeeOther, resp.StatusCode)
		assert.Equal(t, "/", resp.Header.Get("Location"))
	})
}
