package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/oauthtest"
)

const issuer = "https://dev.flextell.ai"

var bothScopes = "contacts:read messages:send"

// theKey is one for all tests, for making it takes long.
var theKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// A wire is a host with a clock that is moved by hand, and a browser. It keeps
// everything that the host says: to clients and browsers, and into the log.
type wire struct {
	t       *testing.T
	issuer  string
	clock   *oauthtest.Clock
	store   *memstore.Store
	server  *oauth.Server
	handler http.Handler
	browser *http.Client

	mu   sync.Mutex
	said bytes.Buffer
}

func newWire(t *testing.T, edits ...func(*options)) *wire {
	t.Helper()
	w := &wire{t: t, clock: oauthtest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), store: memstore.New()}
	o := options{
		Issuer: issuer, Storage: w.store, Key: theKey(), Now: w.clock.Now,
		Logger: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, edit := range edits {
		edit(&o)
	}
	w.issuer = o.Issuer
	var err error
	w.server, err = newServer(o)
	require.NoError(t, err)
	w.handler = mount(w.server)
	w.browser = w.newBrowser()
	return w
}

// newBrowser has cookies of its own and follows no redirect.
func (w *wire) newBrowser() *http.Client {
	jar, err := cookiejar.New(nil)
	require.NoError(w.t, err)
	return &http.Client{Jar: jar, Transport: w, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Write takes what is logged and what is answered.
func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.Write(b)
}

func (w *wire) transcript() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.String()
}

// RoundTrip lets the handler answer, as over the network.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	var body io.Reader = http.NoBody
	if r.Body != nil {
		body = r.Body
	}
	in := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), body)
	in.Header, in.ContentLength = r.Header.Clone(), r.ContentLength
	return w.serve(in).Result(), nil
}

func (w *wire) serve(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	fmt.Fprintln(w, rec.Code, rec.Header(), rec.Body)
	return rec
}

// An answer is what came back.
type answer struct {
	status   int
	header   http.Header
	body     string
	json     map[string]any // nil if the body is none
	location *url.URL       // nil if there is none
}

func (a answer) text(member string) string { s, _ := a.json[member].(string); return s }

func (w *wire) do(c *http.Client, method, to string, form url.Values, headers ...string) answer {
	w.t.Helper()
	var body io.Reader = http.NoBody
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, to, body)
	require.NoError(w.t, err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := c.Do(r)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(text)}
	if json.Unmarshal(text, &a.json) != nil {
		a.json = nil
	}
	if resp.Header.Get("Location") != "" {
		a.location, err = resp.Location()
		require.NoError(w.t, err)
	}
	return a
}

// request is an authorization request of the demo's client; a change to nothing
// leaves the parameter out.
func request(changes ...string) string {
	q := url.Values{"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {redirectURI}, "scope": {bothScopes}}
	return issuer + "/oauth/authorize?" + change(q, changes).Encode()
}

func change(v url.Values, changes []string) url.Values {
	for i := 0; i < len(changes); i += 2 {
		v.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			v.Del(changes[i])
		}
	}
	return v
}

func (w *wire) open(to string) answer { w.t.Helper(); return w.do(w.browser, http.MethodGet, to, nil) }

// press sends a form of a page.
func (w *wire) press(page answer, form url.Values) answer {
	w.t.Helper()
	for _, name := range []string{"interaction", "user"} {
		if v := hidden(page.body, name); v != "" && !form.Has(name) {
			form.Set(name, v)
		}
	}
	return w.do(w.browser, http.MethodPost, w.issuer+"/oauth/authorize", form, "Sec-Fetch-Site", "same-origin")
}

func hidden(page, name string) string {
	m := regexp.MustCompile(`<input type="hidden" name="` + name + `" value="([^"]*)">`).FindStringSubmatch(page)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// signIn leaves the browser signed in, and returns the consent page of a request.
func (w *wire) signIn(to string) answer {
	w.t.Helper()
	page := w.open(to)
	require.Contains(w.t, page.body, `name="password"`, "the login page")
	a := w.press(page, url.Values{"username": {userName}, "password": {password}})
	require.Equal(w.t, http.StatusSeeOther, a.status, a.body)
	return w.open(a.location.String())
}

// consent is the consent page of a request, whoever has to sign in first.
func (w *wire) consent(to string) answer {
	w.t.Helper()
	page := w.open(to)
	if strings.Contains(page.body, `name="password"`) {
		page = w.signIn(to)
	}
	require.Contains(w.t, page.body, `value="approve"`, "the consent page")
	return page
}

// authorize approves a request and returns where the browser is sent.
func (w *wire) authorize(to string, scopes ...string) *url.URL {
	w.t.Helper()
	a := w.press(w.consent(to), url.Values{"decision": {"approve"}, "scope": scopes})
	require.NotNil(w.t, a.location, a.body)
	return a.location
}

// code is one of the demo's client, for all that it may have.
func (w *wire) code(changes ...string) string {
	w.t.Helper()
	code := w.authorize(request(changes...), strings.Fields(bothScopes)...).Query().Get("code")
	require.NotEmpty(w.t, code)
	return code
}

func (w *wire) token(form url.Values) answer {
	w.t.Helper()
	return w.do(&http.Client{Transport: w}, http.MethodPost, issuer+"/oauth/token", form)
}

func exchange(code string, changes ...string) url.Values {
	return change(url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI},
		"client_id": {clientID}, "client_secret": {clientSecret},
	}, changes)
}

func refresh(token string, changes ...string) url.Values {
	return change(url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {clientID}, "client_secret": {clientSecret},
	}, changes)
}

// tokens are those of a new authorization.
func (w *wire) tokens() (access, refreshToken string) {
	w.t.Helper()
	a := w.ok(w.token(exchange(w.code())))
	return a.text("access_token"), a.text("refresh_token")
}

func (w *wire) ok(a answer) answer {
	w.t.Helper()
	require.Equal(w.t, http.StatusOK, a.status, a.body)
	return a
}

// refused checks an answer of the token endpoint (RFC 6749, section 5.2).
func (w *wire) refused(a answer, status int, code oauth.ErrorCode) {
	w.t.Helper()
	assert.Equal(w.t, status, a.status, a.body)
	assert.Equal(w.t, string(code), a.json["error"], a.body)
	assert.Equal(w.t, "application/json", a.header.Get("Content-Type"))
	assert.Equal(w.t, "no-store", a.header.Get("Cache-Control"))
	assert.NotContains(w.t, a.body, "_token\":")
	assert.NotContains(w.t, a.json, "message", "that is the API's")
}

// call is a request to the API with these headers.
func (w *wire) call(path string, headers ...string) answer {
	w.t.Helper()
	return w.do(&http.Client{Transport: w}, http.MethodGet, issuer+path, nil, append(headers, "Accept", "application/json")...)
}

func (w *wire) me(access string) answer {
	w.t.Helper()
	return w.call("/api/me", "Authorization", "Bearer "+access)
}

// unauthorized checks the answer of FT-19. sent says that there was a token.
func (w *wire) unauthorized(a answer, sent bool) {
	w.t.Helper()
	want, err := os.ReadFile("testdata/unauthorized.json")
	require.NoError(w.t, err)
	assert.Equal(w.t, http.StatusUnauthorized, a.status)
	assert.JSONEq(w.t, string(want), a.body)
	assert.Equal(w.t, "application/json", a.header.Get("Content-Type"))
	assert.Equal(w.t, "no-store", a.header.Get("Cache-Control"))
	require.Len(w.t, a.header.Values("WWW-Authenticate"), 1, "RFC 6750 3")
	challenge := a.header.Get("WWW-Authenticate")
	assert.Regexp(w.t, `^Bearer( |$)`, challenge)
	if sent {
		assert.Contains(w.t, challenge, ` error="invalid_token"`)
	} else {
		assert.NotContains(w.t, challenge, "error", "RFC 6750 3.1: no token, no error code")
	}
}
