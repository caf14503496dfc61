package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/internal/chromium"
)

// TestChromium goes through the pages in a real browser and looks at each.
func TestChromium(t *testing.T) {
	browser := chromium.Start(t)
	for name, run := range map[string]func(*testing.T, *chromium.Tab){
		"FL-14 sign-in and consent":     chromiumConsent,
		"FL-23 personal access tokens":  chromiumTokens,
		"FL-23 without a mouse":         chromiumKeyboard,
		"FL-23 a form of another site":  chromiumForged,
		"FL-23 somebody without an app": chromiumNoApp,
	} {
		t.Run(name, func(t *testing.T) { run(t, browser.Tab(t)) })
	}
}

const laptopKey = "5c0e53d7b1a94be08b7c44f2"

// withLaptop adds an app whose callback is on this machine, where a browser
// without a network gets to.
func withLaptop(cfg *oauth.Config) {
	cfg.Clients = oauth.StaticClients(append([]oauth.Client{{ID: laptopKey, Name: "Laptop Player", Secrets: []string{oauth.HashSecret(siteSecret)},
		RedirectURIs: []string{"http://127.0.0.1/callback"}, Scopes: allScopes, Data: app{Status: "sandbox"}}}, apps...)...)
}

func chromiumConsent(t *testing.T, b *chromium.Tab) {
	s := serve(t, withLaptop)
	player := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><title>Player</title><h1>Player</h1>`)
	}))
	t.Cleanup(player.Close)
	ask := s.Web + "/auth/oauth?" + url.Values{"client_id": {laptopKey}, "response_type": {"code"}, "state": {"xyz"},
		"scope": {"account.public_profile account.education_profile scores.social scores"}, "redirect_uri": {player.URL + "/callback"}}.Encode()

	b.Visit(ask)
	assert.Equal(t, "Sign in", b.Heading())
	b.Look("sign-in")
	b.Fill("username", "demo")
	b.Fill("password", "demo")
	b.Press("Sign in")
	require.Equal(t, "Laptop Player asks for access", b.Heading())
	assert.Contains(t, b.Text(), "Read, change and delete all of your scores")
	assert.NotContains(t, b.Text(), "organization", "Dana has no education account")
	b.Look("consent")
	b.Press("Allow")
	require.Equal(t, "Player", b.Heading())
	assert.NotEmpty(t, b.URL().Query().Get("code"))

	b.Visit(ask)
	b.Press("Cancel")
	require.Equal(t, "Player", b.Heading())
	assert.Equal(t, "access_denied", b.URL().Query().Get("error"))

	assert.Equal(t, http.StatusBadRequest, b.Visit(s.Web+"/auth/oauth?client_id="+siteKey))
	b.Look("refused")
}

// chromiumAccount signs in at the page of the tokens.
func chromiumAccount(t *testing.T, b *chromium.Tab, s *socket, username string) {
	t.Helper()
	b.Visit(s.Web + "/")
	require.Equal(t, "Sign in", b.Heading())
	b.Fill("username", username)
	b.Fill("password", username)
	b.Press("Sign in")
	require.Equal(t, "Personal access tokens", b.Heading())
}

func chromiumTokens(t *testing.T, b *chromium.Tab) {
	s := serve(t)
	b.Visit(s.Web + "/")
	b.Fill("username", "demo")
	b.Fill("password", "wrong")
	assert.Equal(t, http.StatusForbidden, b.Press("Sign in"))
	assert.Contains(t, b.Text(), "password is wrong")
	b.Look("account-sign-in")
	b.Fill("password", "demo")
	b.Press("Sign in")
	assert.Contains(t, b.Text(), "You have none.")

	b.Fill("name", "Backup of my scores")
	assert.Equal(t, http.StatusBadRequest, b.Press("Create token"))
	assert.Contains(t, b.Text(), "Choose at least one scope")
	b.Look("tokens-refused")
	b.Fill("name", "") // the focus; what was entered is still there
	b.Type("\t\t ")
	assert.Equal(t, http.StatusCreated, b.Press("Create token"))
	token := shown.FindString(b.Text())
	require.NotEmpty(t, token, b.Text())
	b.Look("tokens-made")

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.API+"/v2/me", http.NoBody)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	status := func() int {
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	assert.Equal(t, http.StatusOK, status())
	b.Press("Revoke")
	assert.Contains(t, b.Text(), "You have none.")
	assert.Equal(t, http.StatusUnauthorized, status())
	b.Press("Sign out")
	assert.Equal(t, "Sign in", b.Heading())
	b.Visit(s.Web + tokensPath)
	assert.Equal(t, "Sign in", b.Heading())
}

func chromiumKeyboard(t *testing.T, b *chromium.Tab) {
	s := serve(t)
	b.Visit(s.Web + "/")
	b.Type("\t")
	b.Focused("username")
	b.Type("demo\tdemo")
	b.Enter()
	require.Equal(t, "Personal access tokens", b.Heading())
	b.TabKey("Sign out")
	b.Type("\t")
	b.Focused("name")
	b.Type("Robot\t\t \t\t\t ")
	b.TabKey("Create token")
	b.Enter()
	assert.Contains(t, b.Text(), "Your new token: Robot")
	assert.Contains(t, b.Text(), "account.public_profile scores ")
	b.TabKey("Revoke")
	b.Enter()
	assert.Contains(t, b.Text(), "You have none.")
}

func chromiumForged(t *testing.T, b *chromium.Tab) {
	s := serve(t)
	chromiumAccount(t, b, s, "demo")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><title>Prize</title><form method="post" action="%s"><input name="name" value="x"><input name="app" value="%s">
			<input name="scope" value="scores"><button>Win</button></form>`, s.Web+tokensPath, scriptKey)
	}))
	t.Cleanup(elsewhere.Close)
	b.Visit(elsewhere.URL)
	assert.Equal(t, http.StatusForbidden, b.Press("Win"))
	b.Visit(s.Web + tokensPath)
	assert.Contains(t, b.Text(), "You have none.")
}

func chromiumNoApp(t *testing.T, b *chromium.Tab) {
	s := serve(t)
	chromiumAccount(t, b, s, "guest")
	assert.Contains(t, b.Text(), "you own none")
	assert.NotContains(t, b.Text(), "Create token")
}
