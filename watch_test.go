package oauth_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The clients of the case list, by the names it gives them.
const (
	caseP = "P" // public, one redirect URI
	caseC = "C" // confidential, one redirect URI
	caseN = "N" // native: loopback addresses and a scheme of its own
	caseM = "M" // client_credentials alone, no redirect URI

	backP = "https://app.example/cb"
	backC = "https://web.example/cb"
)

// The pair of RFC 7636, appendix B.
const (
	rfcVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfcChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// caseClients puts the clients of the case list in place of those of oauthtest.
func caseClients(c *oauth.Config) {
	hash := []string{oauth.HashSecret(oauthtest.Secret)}
	scopes := []string{"read", "write"}
	c.Scopes = append(c.Scopes, oauth.Scope{Name: "admin"})
	c.Clients = oauth.StaticClients(
		oauth.Client{ID: caseP, Name: "App", Public: true, Scopes: scopes, RedirectURIs: []string{backP}},
		oauth.Client{ID: caseC, Name: "Web", Secrets: hash, Scopes: scopes, RedirectURIs: []string{backC}},
		oauth.Client{ID: "two", Secrets: hash, Scopes: scopes, RedirectURIs: []string{backC, backC + "2"}},
		oauth.Client{ID: caseN, Public: true, Scopes: scopes,
			RedirectURIs: []string{"http://127.0.0.1/cb", "http://[::1]/cb", "com.example.app:/cb"}},
		oauth.Client{ID: "localhost", Public: true, Scopes: scopes, RedirectURIs: []string{"http://localhost/cb"}},
		oauth.Client{ID: "localport", Public: true, Scopes: scopes, LocalhostPort: true, RedirectURIs: []string{"http://localhost/cb"}},
		oauth.Client{ID: "deep", Public: true, Scopes: scopes, RedirectURIs: []string{"https://app.example/a/cb"}},
		oauth.Client{ID: "dots", Public: true, Scopes: scopes, RedirectURIs: []string{"https://foo.example.com/cb"}},
		oauth.Client{ID: "query", Public: true, Scopes: scopes, RedirectURIs: []string{"https://app.example/cb?tenant=7"}},
		oauth.Client{ID: caseM, Secrets: hash, Scopes: scopes, Grants: []string{"client_credentials"}},
		oauth.Client{ID: "off", Public: true, Scopes: scopes, RedirectURIs: []string{backP}, Disabled: true},
	)
}

// az is the query of a good authorization request of P, changed as the case list
// writes it, in raw text: "name=value" replaces, "-name" drops, "+name=value" adds.
func az(changes ...string) string {
	pairs := []string{"response_type=code", "client_id=P", "redirect_uri=https%3A%2F%2Fapp.example%2Fcb", "scope=read",
		"state=xyz", "code_challenge=" + rfcChallenge, "code_challenge_method=S256"}
	index := func(name string) int {
		return slices.IndexFunc(pairs, func(p string) bool { return strings.HasPrefix(p, name+"=") })
	}
	for _, c := range changes {
		name, _, _ := strings.Cut(strings.TrimLeft(c, "+-"), "=")
		switch i := index(name); {
		case c[0] == '-':
			pairs = slices.Delete(pairs, i, i+1)
		case c[0] == '+' || i < 0:
			pairs = append(pairs, strings.TrimPrefix(c, "+"))
		default:
			pairs[i] = c
		}
	}
	return strings.Join(pairs, "&")
}

// A watched server holds every exchange against the four silent conditions of
// the case list: no 5xx unless named, no panic in the log, no credential in log,
// page or header, and nothing stored by an answer that is an error.
type watched struct {
	*oauthtest.Server
	t        *testing.T
	seen     *sighted
	mayStore bool // the case is about a write whose outcome is told wrongly
}

// sighted is what was logged, and the credentials that must not be there.
type sighted struct {
	mu      sync.Mutex
	log     bytes.Buffer
	handed  []string // codes and access tokens: they may be in a Location
	guarded []string // handles, cookies, secrets: they may not
}

func (s *sighted) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *sighted) guard(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guarded = append(s.guarded, texts...)
}

// watch starts a server with the clients of the case list.
func watch(t *testing.T, edits ...func(*oauth.Config)) *watched {
	t.Helper()
	w := &watched{t: t, seen: &sighted{}}
	all := []func(*oauth.Config){caseClients, func(c *oauth.Config) {
		c.Logger = slog.New(slog.NewTextHandler(w.seen, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}}
	all = append(append(all, edits...), func(c *oauth.Config) {
		if next := c.Interact; next != nil {
			c.Interact = func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
				w.seen.guard(in.Handle())
				next(rw, r, in)
			}
		}
	})
	w.Server = newServer(t, all...)
	w.seen.guard(oauthtest.Secret, rfcVerifier)
	for _, s := range w.Config.Secrets {
		w.seen.guard(string(s), base64.RawURLEncoding.EncodeToString(s), base64.StdEncoding.EncodeToString(s))
	}
	return w
}

// on is the same server for a subtest.
func (w *watched) on(t *testing.T) *watched {
	c := *w
	c.t = t
	return &c
}

// get sends an authorization request with this raw query.
func (w *watched) get(query string, cookies ...*http.Cookie) *oauthtest.Answer {
	w.t.Helper()
	return w.exchange(w.Handler, w.request(query, cookies...), 0)
}

func (w *watched) request(query string, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, w.Config.Issuer+"/oauth/authorize?"+query, nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return r
}

// posted is a form post to the authorization endpoint.
func (w *watched) posted(query, body string, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodPost, w.Config.Issuer+"/oauth/authorize?"+query, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return r
}

// exchange serves a request and checks the silent conditions. named is the 5xx
// that the case names, 0 for none; a named 500 may be a panic.
func (w *watched) exchange(h http.Handler, r *http.Request, named int) *oauthtest.Answer {
	w.t.Helper()
	before := w.writes()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	a := &oauthtest.Answer{Status: rec.Code, Header: rec.Result().Header, Body: rec.Body.Bytes()}
	if json.Unmarshal(a.Body, &a.JSON) != nil {
		a.JSON = nil
	}
	if a.Status >= 500 || named != 0 {
		assert.Equal(w.t, named, a.Status, "5xx")
	}
	_, params := a.Location()
	if failed := a.Status >= 400 || params.Has("error"); failed && !w.mayStore {
		assert.Equal(w.t, before, w.writes(), "an answer that is an error stored something")
	}
	w.noCredential(r, a, named == http.StatusInternalServerError)
	return a
}

// writes counts the calls of the store that may change something.
func (w *watched) writes() (n int) {
	for _, m := range w.Store.Methods() {
		if m != "Get" && m != "List" {
			n++
		}
	}
	return n
}

func (w *watched) noCredential(r *http.Request, a *oauthtest.Answer, mayPanic bool) {
	w.t.Helper()
	to, params := a.Location()
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	for _, name := range []string{"code", "access_token"} {
		if params.Has(name) && strings.HasPrefix(r.URL.Path, "/oauth/authorize") {
			w.seen.handed = append(w.seen.handed, params.Get(name))
		}
	}
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		w.seen.guarded = append(w.seen.guarded, c.Value)
	}
	log := w.seen.log.String()
	if !mayPanic {
		assert.NotContains(w.t, log, "panic")
	}
	isTokens := a.Status == http.StatusOK && a.JSON["access_token"] != nil
	for i, text := range slices.Concat(w.seen.guarded, w.seen.handed) {
		if strings.Contains(log, text) || !isTokens && bytes.Contains(a.Body, []byte(text)) {
			assert.Fail(w.t, "a credential is in the log or the body", text)
		}
		if i < len(w.seen.guarded) && (strings.Contains(to, text) || strings.Contains(params.Encode(), text)) {
			assert.Fail(w.t, "a credential is in the Location", text)
		}
	}
}

// legalDescription: RFC 6749, section 4.1.2.1.
func legalDescription(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c < 0x20 || c > 0x7e || c == '"' || c == '\\' })
}

// re is RE(code) of the case list for P.
func (w *watched) re(a *oauthtest.Answer, code oauth.ErrorCode) url.Values {
	w.t.Helper()
	return w.reTo(a, code, backP+"?", "xyz")
}

// reTo is RE(code): a redirect to this place, which ends with the ? or # that the
// parameters come after, with error, state and iss and nothing that is issued.
func (w *watched) reTo(a *oauthtest.Answer, code oauth.ErrorCode, to, state string) url.Values {
	w.t.Helper()
	require.Equal(w.t, http.StatusSeeOther, a.Status, string(a.Body))
	locations := a.Header["Location"]
	require.Len(w.t, locations, 1)
	require.Truef(w.t, strings.HasPrefix(locations[0], to), "%s is not at %s", locations[0], to)
	params, err := url.ParseQuery(strings.TrimPrefix(locations[0], to))
	require.NoError(w.t, err)
	for name, values := range params {
		assert.Contains(w.t, []string{"error", "error_description", "state", "iss"}, name)
		assert.Len(w.t, values, 1, name)
	}
	assert.Equal(w.t, string(code), params.Get("error"), params.Get("error_description"))
	assert.True(w.t, legalDescription(params.Get("error_description")))
	assert.Equal(w.t, state, params.Get("state"))
	assert.Equal(w.t, state != "", params.Has("state"))
	assert.Equal(w.t, []string{w.Config.Issuer}, params["iss"])
	w.redirectHeaders(a)
	return params
}

func (w *watched) redirectHeaders(a *oauthtest.Answer) {
	w.t.Helper()
	assert.Equal(w.t, "no-store", a.Header.Get("Cache-Control"))
	assert.Equal(w.t, "no-referrer", a.Header.Get("Referrer-Policy"))
	assert.Empty(w.t, a.Body)
}

// page is PAGE400 of the case list: an answer on the server itself that repeats
// nothing of the request.
func (w *watched) page(a *oauthtest.Answer, status int, query string) {
	w.t.Helper()
	require.Equal(w.t, status, a.Status, a.Header.Get("Location"))
	assert.Empty(w.t, a.Header["Location"])
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-6NfbJuwvorCcQU/EsUfFpwprydEb6unz5Lbd3rhOpV8='; frame-ancestors 'none'; base-uri 'none'",
	} {
		assert.Equal(w.t, want, a.Header.Get(name), name)
	}
	neutral := httptest.NewRecorder()
	w.Handler.ServeHTTP(neutral, httptest.NewRequest(http.MethodGet, "/oauth/authorize", nil))
	for pair := range strings.SplitSeq(query, "&") {
		_, raw, _ := strings.Cut(pair, "=")
		decoded, _ := url.QueryUnescape(raw)
		for _, v := range []string{raw, decoded} {
			if len(v) > 1 && v != "code" && !strings.Contains(neutral.Body.String(), v) {
				assert.NotContains(w.t, string(a.Body), v, "the page repeats the request")
			}
		}
	}
}

// code is the code of an approved request of P.
func (w *watched) code(a *oauthtest.Answer, to string) url.Values {
	w.t.Helper()
	require.Equal(w.t, http.StatusSeeOther, a.Status, string(a.Body))
	location := a.Header.Get("Location")
	require.Truef(w.t, strings.HasPrefix(location, to), "%s is not at %s", location, to)
	params, err := url.ParseQuery(strings.TrimPrefix(location, to))
	require.NoError(w.t, err)
	require.NotEmpty(w.t, params.Get("code"), location)
	w.redirectHeaders(a)
	return params
}

// redeem exchanges a code of a request that az made.
func (w *watched) redeem(client, code, redirect string) *oauthtest.Answer {
	w.t.Helper()
	return w.Token(client, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect},
		"code_verifier": {rfcVerifier}})
}

// begin sends a request and leaves it undecided: the handle, and the cookie that
// the browser got or had.
func (w *watched) begin(query string, cookies ...*http.Cookie) (string, *http.Cookie) {
	w.t.Helper()
	var handle string
	w.Interact(func(_ http.ResponseWriter, _ *http.Request, in *oauth.Interaction) { handle = in.Handle() })
	a := w.get(query, cookies...)
	require.NotEmpty(w.t, handle, a.Header.Get("Location"))
	set := (&http.Response{Header: a.Header}).Cookies()
	if len(set) == 0 {
		return handle, cookies[0]
	}
	return handle, set[0]
}

// hostPage is a request to a page of the host's own, in the browser with this
// cookie.
func hostPage(handle string, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/login?interaction="+handle, nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return r
}

// hostForm is the same by a posted form.
func hostForm(handle string, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader("user=a&user=b&interaction="+handle))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return r
}

type act func(http.ResponseWriter, *http.Request, *oauth.Interaction)

func approveAs(subject string, scopes ...string) act {
	return func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		if scopes == nil {
			scopes = in.Scopes()
		}
		in.Approve(rw, r, oauth.Approval{Subject: subject, Scopes: scopes})
	}
}

// atHost lets a page of the host find the interaction and act on it.
func (w *watched) atHost(r *http.Request, do act) (*oauthtest.Answer, error) {
	w.t.Helper()
	return w.atHostOf(w.Server.Server, r, do, 0)
}

func (w *watched) atHostOf(srv *oauth.Server, r *http.Request, do act, named int) (a *oauthtest.Answer, err error) {
	w.t.Helper()
	a = w.exchange(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var in *oauth.Interaction
		if in, err = srv.Interaction(r); err == nil {
			do(rw, r, in)
		}
	}), r, named)
	return a, err
}

// approved is what an approval at a page of the host answers.
func (w *watched) approved(handle string, cookie *http.Cookie, do act) *oauthtest.Answer {
	w.t.Helper()
	a, err := w.atHost(hostPage(handle, cookie), do)
	require.NoError(w.t, err)
	return a
}

// another is a second server on the same store and clock, its Config edited.
func (w *watched) another(edit func(*oauth.Config)) *oauth.Server {
	w.t.Helper()
	cfg := w.Config
	edit(&cfg)
	srv, err := oauth.New(cfg)
	require.NoError(w.t, err)
	return srv
}
