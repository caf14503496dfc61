package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/internal/chromium"
)

// TestChromium goes through the quickstart in a real browser. Each case has a
// server and cookies of its own.
func TestChromium(t *testing.T) {
	browser := chromium.Start(t)
	for name, run := range map[string]func(t *testing.T, issuer string, events *watcher, b *chromium.Tab){
		"from sign-in to revocation":                    chromiumJourney,
		"RFC 6749 4.1.2.1 the user says no":             chromiumCancel,
		"two tabs that sign in at once":                 chromiumTwoTabs,
		"two tabs that ask for consent at once":         chromiumTwoConsents,
		"a double click":                                chromiumDoubleClick,
		"back, and the same consent again":              chromiumBack,
		"one consent form is submitted again and again": chromiumTwice,
		"RFC 6749 3.1 a POST from another site":         chromiumCrossSite,
		"not you?":                                      chromiumNotYou,
		"without a mouse":                               chromiumKeyboard,
		"a restart":                                     chromiumRestart,
		"look":                                          chromiumLook,
	} {
		t.Run(name, func(t *testing.T) {
			events := &watcher{}
			run(t, serve(t, options{Logger: slog.New(events)}), events, browser.Tab(t))
		})
	}
}

// A watcher is a log that keeps the events.
type watcher struct {
	mu     sync.Mutex
	events []oauth.Event
}

func (w *watcher) Enabled(context.Context, slog.Level) bool { return true }
func (w *watcher) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *watcher) WithGroup(string) slog.Handler            { return w }

func (w *watcher) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if e, ok := a.Value.Any().(oauth.Event); ok {
			w.events = append(w.events, e)
		}
		return true
	})
	return nil
}

// count says how often something happened.
func (w *watcher) count(what oauth.EventType) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.Type == what {
			n++
		}
	}
	return n
}

// chromiumSignIn fills in the login page.
func chromiumSignIn(b *chromium.Tab, name, password string) (status int) {
	b.Fill("username", name)
	b.Fill("password", password)
	return b.Press("Sign in")
}

// chromiumConsent leads the app's first page to its consent page.
func chromiumConsent(t *testing.T, issuer string, b *chromium.Tab) {
	t.Helper()
	b.Visit(issuer + "/")
	b.Press("Sign in")
	chromiumSignIn(b, "alice", "wonderland")
	require.Equal(t, "Demo App asks for access", b.Heading())
}

// latestIn is what the app's page says of the last button.
func latestIn(t *testing.T, b *chromium.Tab) string {
	t.Helper()
	_, rest, found := strings.Cut(b.Text(), "the latest first")
	require.True(t, found, b.Text())
	rest, _, _ = strings.Cut(rest, "How you signed in")
	return rest
}

func chromiumJourney(t *testing.T, issuer string, events *watcher, b *chromium.Tab) {
	b.Visit(issuer + "/")
	assert.Contains(t, b.Text(), "Signed out")
	b.Press("Sign in")
	require.Equal(t, "/oauth/authorize", b.URL().Path)

	assert.Equal(t, http.StatusForbidden, chromiumSignIn(b, "alice", "builder"))
	assert.Contains(t, b.Text(), "password is wrong")
	b.Focused("password") // the name is still there
	b.Fill("password", "wonderland")
	assert.Equal(t, http.StatusOK, b.Press("Sign in"))
	require.Equal(t, "Demo App asks for access", b.Heading())
	for _, words := range []string{"Signed in as Alice", "See your name", "Add notes to yours", b.URL().Host} {
		assert.Contains(t, b.Text(), words)
	}

	b.Press("Allow")
	require.Equal(t, issuer+"/", b.URL().String())
	assert.Equal(t, "Hello, Alice", b.Heading())
	for _, words := range []string{"code_challenge", "sends you back with a code", "grant_type", "access_token", "refresh_token", "alice@example.com"} {
		assert.Contains(t, b.Text(), words)
	}

	b.Press("Read my notes")
	assert.Contains(t, latestIn(t, b), "Follow the white rabbit")
	b.Fill("text", "Ask the cat. ")
	b.Press("Add note")
	assert.Contains(t, latestIn(t, b), "201 Created")
	b.Press("Refresh")
	assert.Contains(t, latestIn(t, b), "refresh_token")
	b.Press("Read my notes")
	assert.Contains(t, latestIn(t, b), "Ask the cat. Buy milk")

	b.Press("Revoke")
	assert.Contains(t, b.Text(), "Revoked.")
	assert.Contains(t, latestIn(t, b), "401 Unauthorized")
	assert.Contains(t, latestIn(t, b), `error="invalid_token"`)
	b.Press("Refresh")
	assert.Contains(t, latestIn(t, b), "invalid_grant")
	assert.Equal(t, 1, events.count(oauth.EventApproved))

	b.Press("Sign out of this app")
	assert.Contains(t, b.Text(), "Signed out")
	b.Press("Sign in")
	assert.Equal(t, "Demo App asks for access", b.Heading(), "the server still knows who it is, and asks all the same")
}

func chromiumCancel(t *testing.T, issuer string, events *watcher, b *chromium.Tab) {
	chromiumConsent(t, issuer, b)
	b.Press("Cancel")
	assert.Equal(t, issuer+"/", b.URL().String())
	assert.Contains(t, b.Text(), "access_denied")
	assert.Contains(t, b.Text(), "You are not signed in")
	assert.Zero(t, events.count(oauth.EventApproved))

	b.Press("Sign in")
	b.Press("Allow") // it was no for once, not for ever
	assert.Equal(t, "Hello, Alice", b.Heading())
}

func chromiumTwoTabs(t *testing.T, issuer string, events *watcher, b *chromium.Tab) {
	tabs := []*chromium.Tab{b, b.Another()}
	for _, b := range tabs {
		b.Visit(issuer + "/")
		b.Press("Sign in")
	}
	for _, b := range tabs {
		chromiumSignIn(b, "alice", "wonderland")
	}
	tabs[1].Press("Allow")
	assert.Equal(t, "Hello, Alice", tabs[1].Heading())

	tabs[0].Press("Allow")
	assert.Contains(t, tabs[0].Text(), "somebody has signed in again", "what this page shows is older than that")
	tabs[0].Press("Allow")
	assert.Equal(t, "Hello, Alice", tabs[0].Heading())
	assert.Equal(t, 2, events.count(oauth.EventApproved))
	for _, b := range tabs {
		b.Press("Read my notes")
		assert.Contains(t, latestIn(t, b), "200 OK")
	}
}

func chromiumTwoConsents(t *testing.T, issuer string, events *watcher, b *chromium.Tab) {
	chromiumConsent(t, issuer, b)
	other := b.Another()
	other.Visit(issuer + "/")
	other.Press("Sign in")
	for _, b := range []*chromium.Tab{b, other} {
		b.Press("Allow")
		assert.Equal(t, "Hello, Alice", b.Heading())
	}
	assert.Equal(t, 2, events.count(oauth.EventApproved))
}

func chromiumDoubleClick(t *testing.T, issuer string, events *watcher, b *chromium.Tab) {
	chromiumConsent(t, issuer, b)
	b.PressTwice("Allow") // which of two answers it then shows, the browser decides
	b.Visit(issuer + "/")
	assert.Equal(t, "Hello, Alice", b.Heading())
	assert.Equal(t, 1, events.count(oauth.EventApproved))
}

func chromiumBack(t *testing.T, issuer string, events *watcher, b *chromium.Tab) {
	chromiumConsent(t, issuer, b)
	b.Press("Allow")
	require.Equal(t, "Hello, Alice", b.Heading())
	b.Back()
	require.Equal(t, "Demo App asks for access", b.Heading())
	assert.Equal(t, http.StatusBadRequest, b.Press("Allow"))
	assert.Contains(t, b.Text(), "answered already")
	assert.Equal(t, 1, events.count(oauth.EventApproved))

	b.Visit(issuer + "/")
	require.Equal(t, "Hello, Alice", b.Heading())
	b.Press("Refresh")
	assert.Contains(t, latestIn(t, b), "200 OK", "the authorization lives")
	assert.Zero(t, events.count(oauth.EventReuseDetected))
}

// A native is an application on the user's machine: the client demo-spa. The page
// at its root posts an authorization request to the server, which is another site.
type native struct {
	*httptest.Server
	issuer, verifier string

	mu    sync.Mutex
	codes []string // that arrived, each once
}

func newNative(t *testing.T, issuer string) *native {
	t.Helper()
	n := &native{issuer: issuer, verifier: oauth2.GenerateVerifier()}
	n.Server = httptest.NewServer(n) // at 127.0.0.1: to a browser localhost is another site
	t.Cleanup(n.Close)
	return n
}

func (n *native) client() *oauth2.Config {
	return &oauth2.Config{
		ClientID: "demo-spa", RedirectURL: n.URL + "/callback", Scopes: []string{"profile", "notes:read"},
		Endpoint: oauth2.Endpoint{AuthURL: n.issuer + "/oauth/authorize", TokenURL: n.issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
	}
}

// authorizeURL is a request of its own each time.
func (n *native) authorizeURL() string {
	return n.client().AuthCodeURL(rand.Text(), oauth2.S256ChallengeOption(n.verifier))
}

func (n *native) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if r.URL.Path == "/callback" {
		n.mu.Lock()
		defer n.mu.Unlock()
		if code := r.URL.Query().Get("code"); code != "" && !slices.Contains(n.codes, code) {
			n.codes = append(n.codes, code)
		}
		fmt.Fprint(w, `<!doctype html><title>Done</title><h1>Done</h1>`)
		return
	}
	to, query, _ := strings.Cut(n.authorizeURL(), "?")
	fmt.Fprintf(w, `<!doctype html><title>Native</title><h1>Native</h1><form method="post" action="%s">`, html.EscapeString(to))
	fields, _ := url.ParseQuery(query)
	for name, values := range fields {
		fmt.Fprintf(w, `<input type="hidden" name="%s" value="%s">`, html.EscapeString(name), html.EscapeString(values[0]))
	}
	fmt.Fprint(w, `<button>Go</button></form>`)
}

// arrived are the codes so far.
func (n *native) arrived() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.codes)
}

func chromiumTwice(t *testing.T, issuer string, events *watcher, b *chromium.Tab) {
	app := newNative(t, issuer)
	b.Visit(app.authorizeURL())
	chromiumSignIn(b, "alice", "wonderland")
	require.Equal(t, "Demo Native App asks for access", b.Heading())
	assert.Contains(t, b.Text(), "This goes to a program on your device")
	action, fields := b.Form("Allow")
	cookies := b.Cookies(issuer)

	again := func() *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, action, strings.NewReader(fields.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Cookie", cookies)
		resp, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp
	}
	codeOf := func(resp *http.Response) string {
		to, err := resp.Location()
		if err != nil {
			return ""
		}
		return to.Query().Get("code")
	}

	b.Press("Allow")
	require.Equal(t, app.URL, "http://"+b.URL().Host, "a policy of form-action would have kept the browser here")
	require.Len(t, app.arrived(), 1)
	code := app.arrived()[0]
	assert.Equal(t, code, codeOf(again()), "the code is still open: the same again")

	token, err := app.client().Exchange(t.Context(), code, oauth2.VerifierOption(app.verifier))
	require.NoError(t, err)
	assert.Empty(t, codeOf(again()), "it was redeemed: there is no other")
	b.Back()
	assert.Equal(t, http.StatusBadRequest, b.Press("Allow"))
	assert.Len(t, app.arrived(), 1)
	assert.Equal(t, 1, events.count(oauth.EventApproved))

	_, err = app.client().TokenSource(t.Context(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	assert.NoError(t, err, "the authorization lives")
}

func chromiumCrossSite(t *testing.T, issuer string, events *watcher, b *chromium.Tab) {
	app := newNative(t, issuer)
	open := b.Another() // was here first, and goes on afterwards
	open.Visit(issuer + "/")
	open.Press("Sign in")

	b.Visit(app.URL)
	assert.Equal(t, http.StatusOK, b.Press("Go"))
	require.Equal(t, "Sign in", b.Heading())
	require.Equal(t, issuer, "http://"+b.URL().Host)
	chromiumSignIn(b, "alice", "wonderland")
	b.Press("Allow")
	require.Len(t, app.arrived(), 1, b.Text())
	_, err := app.client().Exchange(t.Context(), app.arrived()[0], oauth2.VerifierOption(app.verifier))
	require.NoError(t, err)

	b.Visit(app.URL)
	b.Press("Go")
	assert.Contains(t, b.Text(), "Signed in as Alice", "the session is found")
	b.Press("Cancel")
	assert.Equal(t, "access_denied", b.URL().Query().Get("error"))
	assert.Equal(t, issuer, b.URL().Query().Get("iss"), "RFC 9207, section 2")

	chromiumSignIn(open, "alice", "wonderland")
	open.Press("Allow")
	assert.Equal(t, "Hello, Alice", open.Heading(), "the POST took nothing from the other tab")
	assert.Equal(t, 2, events.count(oauth.EventApproved))
}

func chromiumNotYou(t *testing.T, issuer string, _ *watcher, b *chromium.Tab) {
	chromiumConsent(t, issuer, b)
	b.Press("Not you?")
	assert.Equal(t, "Sign in", b.Heading())
	assert.NotContains(t, b.Text(), "Alice")
	chromiumSignIn(b, "bob", "builder")
	assert.Contains(t, b.Text(), "Signed in as Bob")
	b.Press("Allow")
	assert.Equal(t, "Hello, Bob", b.Heading())
	b.Press("Read my notes")
	assert.Contains(t, latestIn(t, b), "Can we fix it?")
}

func chromiumKeyboard(t *testing.T, issuer string, _ *watcher, b *chromium.Tab) {
	b.Visit(issuer + "/")
	b.TabKey("Sign in")
	b.Enter()
	b.Focused("username")
	b.Type("alice\t")
	b.Focused("password")
	b.Type("wonderland")
	b.TabKey("Sign in")
	b.TabKey("Cancel")
	b.TabKey("Sign in") // round, through the fields
	b.Enter()
	require.Equal(t, "Demo App asks for access", b.Heading())
	b.TabKey("Not you?")
	b.TabKey("Allow")
	b.TabKey("Cancel")
	b.TabKey("Allow")
	b.Enter()
	assert.Equal(t, "Hello, Alice", b.Heading())
	b.TabKey("Read my notes")
	b.Enter()
	assert.Contains(t, latestIn(t, b), "Follow the white rabbit")
}

// chromiumRestart has a server of its own, on a file, that stops and starts again.
func chromiumRestart(t *testing.T, _ string, events *watcher, b *chromium.Tab) {
	s := serveFile(t, 1, options{Logger: slog.New(events)})
	issuer := s.issuer()
	chromiumConsent(t, issuer, b)
	b.Press("Allow")
	b.Fill("text", "Ask the cat. ")
	b.Press("Add note")
	app := newNative(t, issuer)
	other := b.Another()
	other.Visit(app.authorizeURL())
	other.Press("Not you?")
	require.Equal(t, "Sign in", other.Heading())

	s.restart(1)

	chromiumSignIn(other, "bob", "builder")
	require.Equal(t, "Demo Native App asks for access", other.Heading(), "what was under way")
	other.Press("Allow")
	require.Len(t, app.arrived(), 1, other.Text())
	_, err := app.client().Exchange(t.Context(), app.arrived()[0], oauth2.VerifierOption(app.verifier))
	require.NoError(t, err)

	b.Press("Refresh") // on the page as it was
	require.Equal(t, "Hello, Alice", b.Heading(), "the app is signed in as before")
	assert.Contains(t, latestIn(t, b), "200 OK")
	assert.Contains(t, latestIn(t, b), "Ask the cat. Buy milk", "and remembers what its buttons did")
	b.Press("Read my notes")
	assert.Contains(t, latestIn(t, b), "Answer: 200 OK notes")
	assert.Equal(t, 2, events.count(oauth.EventApproved))
	assert.Zero(t, events.count(oauth.EventReuseDetected))
}

func chromiumLook(t *testing.T, issuer string, _ *watcher, b *chromium.Tab) {
	b.Visit(issuer + "/")
	b.Look("app")
	b.Press("Sign in")
	b.Look("login")
	chromiumSignIn(b, "alice", "wrong")
	b.Look("login-wrong")
	b.Fill("password", "wonderland")
	b.Press("Sign in")
	b.Look("consent")
	b.Press("Cancel")
	b.Look("app-denied")
	b.Press("Sign in")
	b.Press("Allow")
	b.Look("app-signed-in")
	b.Press("Read my notes")
	b.Press("Refresh")
	b.Press("Revoke")
	b.Look("app-revoked")

	b.Visit(newNative(t, issuer).authorizeURL())
	b.Look("consent-native")
	b.Visit(issuer + "/oauth/authorize?client_id=nobody")
	b.Look("refused")
}
