package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/internal/webtest"
	"github.com/grantwell/oauth/resource"
)

const silver = "urn:example:silver"

// A host is who signs users in: with a password, which is silver, or with a security
// key, which is gold.
type host struct {
	*authority
	mu      sync.Mutex
	session *session // of the one browser there is
	lax     bool     // approves whatever the client asked for
}

type session struct {
	at  time.Time
	acr string
}

func startHost(t *testing.T) *host {
	t.Helper()
	h := &host{}
	h.authority = startAuthority(t, func(c *oauth.Config) { c.Interact = h.interact })
	h.pages.HandleFunc("GET /login", h.page)
	h.pages.HandleFunc("POST /login", h.login)
	return h
}

// interact approves at once where the session is good enough for the client, and has
// the user sign in again where it is not.
func (h *host) interact(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
	h.mu.Lock()
	s, lax := h.session, h.lax
	h.mu.Unlock()
	age, limited := in.MaxAge()
	acr := in.ACRValues()
	if s == nil || !lax && (limited && time.Since(s.at) > age || len(acr) > 0 && !slices.Contains(acr, s.acr)) {
		http.Redirect(w, r, "/login?interaction="+in.Handle(), http.StatusSeeOther)
		return
	}
	in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), AuthTime: s.at, ACR: s.acr})
}

func (h *host) page(w http.ResponseWriter, r *http.Request) {
	in, err := h.Interaction(r)
	if err != nil {
		http.Error(w, "no such interaction", http.StatusBadRequest)
		return
	}
	acr := silver
	if values := in.ACRValues(); len(values) > 0 {
		acr = values[0]
	}
	fmt.Fprintf(w, `<form method="post" action="/login"><input type="hidden" name="interaction" value=%q>
<input type="hidden" name="acr" value=%q><button>Sign in</button></form>`, in.Handle(), acr)
}

func (h *host) login(w http.ResponseWriter, r *http.Request) {
	h.signIn(time.Now(), r.FormValue("acr"))
	http.Redirect(w, r, h.issuer+"/oauth/authorize?interaction="+url.QueryEscape(r.FormValue("interaction")), http.StatusSeeOther)
}

func (h *host) signIn(at time.Time, acr string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.session = &session{at, acr}
}

func (h *host) approveAll(lax bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lax = lax
}

// A user is a client with a browser that it sends to the server.
type user struct {
	t       *testing.T
	config  *oauth2.Config
	browser *webtest.Browser
}

// token is a whole code flow; the user signs in when asked, which is reported.
func (u *user) token(options ...oauth2.AuthCodeOption) (token *oauth2.Token, asked bool) {
	u.t.Helper()
	back, verifier, asked := u.authorize(options...)
	require.Empty(u.t, back.Get("error"))
	token, err := u.config.Exchange(u.t.Context(), back.Get("code"), oauth2.VerifierOption(verifier))
	require.NoError(u.t, err)
	return token, asked
}

func (u *user) authorize(options ...oauth2.AuthCodeOption) (back url.Values, verifier string, asked bool) {
	u.t.Helper()
	verifier = oauth2.GenerateVerifier()
	options = append(options, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("resource", notesAPI))
	u.browser.Open(u.config.AuthCodeURL("state", options...))
	if asked = u.browser.Text == "Sign in"; asked {
		u.browser.Press("Sign in")
	}
	require.Equal(u.t, "127.0.0.1", u.browser.URL.Host, u.browser.Text)
	return u.browser.URL.Query(), verifier, asked
}

// call asks an API. Where that refuses, it returns the parameters of the challenge.
func (u *user) call(at string, token *oauth2.Token) (status int, challenge map[string]string) {
	u.t.Helper()
	resp, err := oauth2.NewClient(u.t.Context(), oauth2.StaticTokenSource(token)).Get(at)
	require.NoError(u.t, err)
	require.NoError(u.t, resp.Body.Close())
	challenge = map[string]string{}
	for _, found := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(resp.Header.Get("WWW-Authenticate"), -1) {
		challenge[found[1]] = found[2]
	}
	return resp.StatusCode, challenge
}

// stepUp are the options of the authorization request that a challenge asks for (RFC
// 9470, section 4).
func stepUp(challenge map[string]string) (options []oauth2.AuthCodeOption) {
	for _, name := range []string{"acr_values", "max_age", "scope"} {
		if value, ok := challenge[name]; ok {
			options = append(options, oauth2.SetAuthURLParam(name, value))
		}
	}
	return options
}

// RFC 9470, from the challenge to the token that passes, with each verifier.
func TestStepUp(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	for _, c := range []struct {
		name, client string
		verifier     resource.Verifier
	}{
		{"in process, opaque", "opaque", h},
		{"in process, JWT", "ES256", h},
		{"JWT", "ES256", &resource.JWT{Issuer: h.issuer}},
		{"Introspection, opaque", "opaque", &resource.Introspection{Issuer: h.issuer, ClientID: "RS256", ClientSecret: secret}},
		{"Introspection, JWT", "ES256", &resource.Introspection{Issuer: h.issuer, ClientID: "RS256", ClientSecret: secret}},
	} {
		t.Run(c.name, func(t *testing.T) { testStepUp(t, h, c.client, c.verifier) })
	}
}

func testStepUp(t *testing.T, h *host, client string, verifier resource.Verifier) {
	t.Helper()
	api := &resource.API{Verifier: verifier, Audience: notesAPI}
	mux := http.NewServeMux()
	notes := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "notes") })
	mux.Handle("/read", api.Require("notes:read")(notes))
	mux.Handle("/secret", api.RequireRule(resource.Rule{Scopes: []string{"notes:read"}, ACRValues: []string{gold}})(notes))
	mux.Handle("/delete", api.RequireRule(resource.Rule{Scopes: []string{"notes:write"}, ACRValues: []string{gold, silver}, MaxAge: 5 * time.Minute})(notes))
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	newUser := func(t *testing.T) *user {
		return &user{t: t, config: h.client(client, "notes:read"), browser: webtest.New(t, callback)}
	}

	t.Run("RFC 9470 3 a better authentication", func(t *testing.T) {
		h.signIn(time.Now(), silver)
		u := newUser(t)
		token, asked := u.token()
		require.False(t, asked)
		status, _ := u.call(web.URL+"/read", token)
		require.Equal(t, 200, status)
		status, challenge := u.call(web.URL+"/secret", token)
		require.Equal(t, 401, status)
		require.Equal(t, "insufficient_user_authentication", challenge["error"])
		require.Equal(t, gold, challenge["acr_values"])
		require.NotContains(t, challenge, "max_age")

		better, asked := u.token(stepUp(challenge)...)
		require.True(t, asked, "the host had the user sign in with a security key")
		status, _ = u.call(web.URL+"/secret", better)
		require.Equal(t, 200, status)
		status, _ = u.call(web.URL+"/secret", token)
		require.Equal(t, 401, status, "the old token is what it was")
		again, err := u.config.TokenSource(t.Context(), &oauth2.Token{RefreshToken: better.RefreshToken}).Token()
		require.NoError(t, err)
		status, _ = u.call(web.URL+"/secret", again)
		require.Equal(t, 200, status, "a refresh keeps what is known of the authentication")
	})
	t.Run("RFC 9470 3 a more recent authentication, and a scope as well", func(t *testing.T) {
		signedIn := time.Now().Add(-10 * time.Minute)
		h.signIn(signedIn, gold)
		u := newUser(t)
		token, asked := u.token()
		require.False(t, asked)
		status, challenge := u.call(web.URL+"/delete", token)
		require.Equal(t, 401, status)
		want := map[string]string{"error": "insufficient_user_authentication", "max_age": "300", "acr_values": gold + " " + silver, "scope": "notes:write"}
		delete(challenge, "error_description")
		require.Equal(t, want, challenge, "everything that is missing, at once")

		fresh, asked := u.token(stepUp(challenge)...)
		require.True(t, asked)
		status, _ = u.call(web.URL+"/delete", fresh)
		require.Equal(t, 200, status)
		again, err := u.config.TokenSource(t.Context(), &oauth2.Token{RefreshToken: fresh.RefreshToken}).Token()
		require.NoError(t, err)
		status, _ = u.call(web.URL+"/delete", again)
		require.Equal(t, 200, status)
		fresh, asked = u.token(stepUp(challenge)...)
		require.False(t, asked, "the user has signed in within the five minutes")
		status, _ = u.call(web.URL+"/delete", fresh)
		require.Equal(t, 200, status)
	})
	t.Run("RFC 9470 5 a host that approves all the same", func(t *testing.T) {
		h.approveAll(true)
		defer h.approveAll(false)
		u := newUser(t)
		for name, c := range map[string]struct {
			session  session
			option   oauth2.AuthCodeOption
			expected string
		}{
			"another class": {session{time.Now(), silver}, oauth2.SetAuthURLParam("acr_values", gold), "unmet_authentication_requirements"},
			"too long ago":  {session{time.Now().Add(-time.Hour), gold}, oauth2.SetAuthURLParam("max_age", "300"), "unmet_authentication_requirements"},
			"good enough":   {session{time.Now(), gold}, oauth2.SetAuthURLParam("acr_values", gold), ""},
		} {
			h.signIn(c.session.at, c.session.acr)
			back, _, _ := u.authorize(c.option)
			assert.Equal(t, c.expected, back.Get("error"), name)
			assert.Equal(t, c.expected == "", back.Has("code"), name)
		}
	})
}
