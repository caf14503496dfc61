package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/guard"
)

// A requirement is one behaviour that the document states or implies.
type requirement struct {
	name string // begins with its id in testdata/requirements.txt
	test func(t *testing.T)
}

func requirements() []requirement {
	return slices.Concat(flowRequirements(), tokenRequirements())
}

func TestHost(t *testing.T) {
	for _, r := range requirements() {
		t.Run(r.name, r.test)
	}
}

func TestEveryRequirementHasATest(t *testing.T) {
	list, err := os.ReadFile("testdata/requirements.txt")
	require.NoError(t, err)
	id := regexp.MustCompile(`(?m)^FT-\d\d\b`)
	var tested []string
	for _, r := range requirements() {
		require.Regexp(t, id, r.name)
		tested = append(tested, id.FindString(r.name))
	}
	want := id.FindAllString(string(list), -1)
	require.Len(t, want, 29)
	assert.ElementsMatch(t, want, tested, "each id has one subtest, and each subtest an id")
}

// flowRequirements are those of the browser's part.
func flowRequirements() []requirement {
	return []requirement{
		{"FT-01 an API request needs its bearer token", testBearer},
		{"FT-02 the authorization endpoint takes the documented parameters", testAuthorize},
		{"FT-03 state is optional", testState},
		{"FT-04 PKCE is optional for this client", testPKCE},
		{"FT-05 sign-in comes first", testSignIn},
		{"FT-06 the consent screen", testConsent},
		{"FT-07 approval sends the code to redirect_uri", testApproval},
		{"FT-08 refusal sends access_denied to redirect_uri", testRefusal},
		{"FT-09 redirect_uri is one that is registered", testRedirectURI},
		{"FT-10 a code is for one use", testSingleUse},
		{"FT-11 a code expires quickly", testCodeExpiry},
		{"FT-26 plain HTTP is refused", testHTTPS},
		{"FT-27 scopes are required and known", testScopes},
		{"FT-28 the secret stays in the token request", testSecret},
	}
}

func testBearer(t *testing.T) {
	w := newWire(t)
	access, _ := w.tokens()
	a := w.ok(w.me(access))
	assert.Equal(t, "application/json", a.header.Get("Content-Type"))
	assert.Equal(t, userName, a.text("id"))
	w.unauthorized(w.call("/api/me"), false)
}

func testAuthorize(t *testing.T) {
	w := newWire(t)
	a := w.press(w.consent(request()), url.Values{"decision": {"approve"}})
	assert.Equal(t, http.StatusSeeOther, a.status)
	require.NotNil(t, a.location)
	assert.NotEmpty(t, a.location.Query().Get("code"))
	for _, name := range []string{"response_type", "client_id"} {
		a = w.open(request(name, ""))
		if a.location != nil { // where client and redirect URI are known
			assert.Equal(t, "invalid_request", a.location.Query().Get("error"), name)
			continue
		}
		assert.Equal(t, http.StatusBadRequest, a.status, name)
	}
	a = w.open(request("response_type", "token"))
	require.NotNil(t, a.location)
	answered, err := url.ParseQuery(a.location.Fragment) // where an answer to this type goes
	require.NoError(t, err)
	assert.Equal(t, "unsupported_response_type", answered.Get("error"))
}

func testState(t *testing.T) {
	w := newWire(t)
	assert.Equal(t, []string{"code"}, names(w.authorize(request())))
	to := w.authorize(request() + "&state=a%20b%26c")
	assert.Equal(t, []string{"code", "state"}, names(to))
	assert.Equal(t, "a b&c", to.Query().Get("state"))
}

// names are the parameters of a callback, in their order.
func names(to *url.URL) []string {
	var all []string
	for pair := range strings.SplitSeq(to.RawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		all = append(all, name)
	}
	return all
}

func testPKCE(t *testing.T) {
	const ( // RFC 7636, appendix B
		verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
		challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	)
	w := newWire(t)
	w.ok(w.token(exchange(w.code())))
	w.refused(w.token(exchange(w.code(), "code_verifier", verifier)), 400, oauth.InvalidGrant) // RFC 9700, section 4.8.2
	code := w.code("code_challenge", challenge, "code_challenge_method", "S256")
	w.refused(w.token(exchange(code)), 400, oauth.InvalidRequest)
	w.refused(w.token(exchange(code, "code_verifier", strings.ToLower(verifier))), 400, oauth.InvalidGrant)
	w.ok(w.token(exchange(code, "code_verifier", verifier)))

	t.Run("a public client needs it", func(t *testing.T) {
		w := newWire(t, func(o *options) {
			o.Clients = []oauth.Client{{ID: clientID, Public: true, RedirectURIs: []string{redirectURI}, Scopes: demoClient.Scopes}}
		})
		a := w.open(request())
		require.NotNil(t, a.location, a.body)
		assert.Equal(t, "invalid_request", a.location.Query().Get("error"))
	})
}

func testSignIn(t *testing.T) {
	w := newWire(t)
	to := request("state", "s1")
	page := w.open(to)
	assert.Equal(t, http.StatusOK, page.status)
	assert.Nil(t, page.location)
	assert.Contains(t, page.body, `name="password"`)
	wrong := w.press(page, url.Values{"username": {userName}, "password": {"wrong"}})
	assert.Equal(t, http.StatusForbidden, wrong.status)
	assert.Nil(t, wrong.location)
	page = w.signIn(to)
	assert.Contains(t, page.body, `value="approve"`, "back on the same request")
	a := w.press(page, url.Values{"decision": {"approve"}})
	require.NotNil(t, a.location)
	assert.Equal(t, "s1", a.location.Query().Get("state"))
	assert.Contains(t, w.open(to).body, `value="approve"`, "signed in already")
}

func testConsent(t *testing.T) {
	w := newWire(t, func(o *options) {
		o.Clients = []oauth.Client{demoClient}
		o.Clients[0].Name = `<b>A & B</b>`
	})
	page := w.consent(request())
	assert.Equal(t, http.StatusOK, page.status)
	assert.Equal(t, "text/html; charset=utf-8", page.header.Get("Content-Type"))
	assert.Equal(t, "no-store", page.header.Get("Cache-Control"))
	assert.Equal(t, "DENY", page.header.Get("X-Frame-Options"))
	assert.Contains(t, page.header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	assert.Contains(t, page.body, "&lt;b&gt;A &amp; B&lt;/b&gt;")
	assert.NotContains(t, page.body, "<b>A")
	for _, s := range scopes {
		assert.Contains(t, page.body, s.Description)
	}
	assert.NotContains(t, w.open(request("scope", "contacts:read")).body, "Send messages", "it was not asked for")

	form := url.Values{"decision": {"approve"}, "interaction": {""}, "user": {hidden(page.body, "user")}}
	assert.Nil(t, codeOf(w.press(page, form)), "without the page's own value")
	form.Set("interaction", hidden(page.body, "interaction")[1:])
	assert.Nil(t, codeOf(w.press(page, form)), "with another value")
	form = url.Values{"decision": {"approve"}, "interaction": {hidden(page.body, "interaction")}, "user": {hidden(page.body, "user")}}
	other := w.do(w.newBrowser(), http.MethodPost, issuer+"/oauth/authorize", form, "Sec-Fetch-Site", "same-origin")
	assert.Nil(t, codeOf(other), "from another browser")
	cross := w.do(w.browser, http.MethodPost, issuer+"/oauth/authorize", form, "Sec-Fetch-Site", "cross-site")
	assert.Nil(t, codeOf(cross), "from another site")
	assert.NotNil(t, codeOf(w.press(page, url.Values{"decision": {"approve"}})), "and with it there is one")
}

// codeOf are the codes in where the browser is sent; nil if there is none.
func codeOf(a answer) []string {
	if a.location == nil {
		return nil
	}
	return a.location.Query()["code"]
}

func testApproval(t *testing.T) {
	w := newWire(t)
	a := w.press(w.consent(request()), url.Values{"decision": {"approve"}})
	assert.Contains(t, []int{http.StatusFound, http.StatusSeeOther}, a.status)
	require.NotNil(t, a.location)
	assert.True(t, strings.HasPrefix(a.location.String(), redirectURI+"?code="), a.location)

	const withQuery = redirectURI + "?tenant=7"
	w = newWire(t, func(o *options) {
		o.Clients = []oauth.Client{demoClient}
		o.Clients[0].RedirectURIs = []string{withQuery}
	})
	to := w.authorize(request("redirect_uri", withQuery, "state", "s"))
	assert.True(t, strings.HasPrefix(to.String(), withQuery+"&code="), to)
	assert.Equal(t, []string{"tenant", "code", "state"}, names(to))
}

func testRefusal(t *testing.T) {
	w := newWire(t)
	for _, signedIn := range []bool{false, true} {
		page := w.open(request("state", "s2"))
		require.Equal(t, signedIn, strings.Contains(page.body, `value="approve"`))
		a := w.press(page, url.Values{"decision": {"deny"}})
		require.NotNil(t, a.location)
		assert.True(t, strings.HasPrefix(a.location.String(), redirectURI+"?"), a.location)
		q := a.location.Query()
		assert.Equal(t, "access_denied", q.Get("error"))
		assert.Equal(t, "s2", q.Get("state"))
		assert.False(t, q.Has("code"))
		assert.False(t, q.Has("iss"))
		w.consent(request())
	}
}

func testRedirectURI(t *testing.T) {
	w := newWire(t)
	for _, to := range []string{
		request("redirect_uri", redirectURI+"/x"),
		request("redirect_uri", redirectURI+"?a=1"),
		request("redirect_uri", strings.Replace(redirectURI, "callback", "Callback", 1)),
		request("redirect_uri", strings.Replace(redirectURI, "https:", "http:", 1)),
		request("redirect_uri", "https://evil.example.com/callback"),
		request("client_id", "NOT_A_CLIENT"),
		request("redirect_uri", redirectURI+"/x", "response_type", "nonsense"),
	} {
		a := w.open(to)
		assert.Equal(t, http.StatusBadRequest, a.status, to)
		assert.Nil(t, a.location, to)
		assert.Equal(t, "text/html; charset=utf-8", a.header.Get("Content-Type"), to)
	}
}

func testSingleUse(t *testing.T) {
	w := newWire(t)
	code := w.code()
	first := w.ok(w.token(exchange(code)))
	w.ok(w.me(first.text("access_token")))
	w.clock.Advance(3 * time.Second)
	w.refused(w.token(exchange(code)), 400, oauth.InvalidGrant)
	w.unauthorized(w.me(first.text("access_token")), true)
	w.refused(w.token(refresh(first.text("refresh_token"))), 400, oauth.InvalidGrant)

	code = w.code()
	answers := make([]answer, 20)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = w.token(exchange(code)) })
	}
	wg.Wait()
	won := slices.DeleteFunc(slices.Clone(answers), func(a answer) bool { return a.status != http.StatusOK })
	require.Len(t, won, 1)
	for _, a := range answers {
		if a.status != http.StatusOK {
			w.refused(a, 400, oauth.InvalidGrant)
		}
	}
	w.ok(w.me(won[0].text("access_token")))
}

func testCodeExpiry(t *testing.T) {
	for _, life := range []time.Duration{0, 5 * time.Second, 10 * time.Minute} {
		w := newWire(t, func(o *options) { o.Policy.Code = life })
		if life == 0 {
			life = time.Minute // the default
		}
		early, late := w.code(), w.code()
		w.clock.Advance(life - time.Second)
		w.ok(w.token(exchange(early)))
		w.clock.Advance(2 * time.Second)
		w.refused(w.token(exchange(late)), 400, oauth.InvalidGrant)
	}
	_, err := newServer(options{Policy: oauth.Policy{Code: 10*time.Minute + time.Second}, Key: theKey()})
	assert.ErrorContains(t, err, "Policy.Code", "RFC 6749, section 4.1.2: at most ten minutes")
}

func testScopes(t *testing.T) {
	w := newWire(t)
	to := w.authorize(request("scope", "messages:send"), "messages:send")
	narrow := w.ok(w.token(exchange(to.Query().Get("code")))).text("access_token")
	w.ok(w.me(narrow))
	a := w.call("/api/contacts", "Authorization", "Bearer "+narrow)
	assert.Equal(t, http.StatusForbidden, a.status)
	assert.Equal(t, "insufficient_scope", a.text("error"))
	challenge := a.header.Get("WWW-Authenticate")
	assert.Contains(t, challenge, `scope="contacts:read"`)
	assert.Contains(t, challenge, `error="insufficient_scope"`)
	access, _ := w.tokens()
	w.ok(w.call("/api/contacts", "Authorization", "Bearer "+access))

	for _, scope := range []string{"no:such", "contacts:read no:such", ""} {
		a = w.open(request("scope", scope, "state", "s"))
		require.NotNil(t, a.location, scope)
		assert.Equal(t, "invalid_scope", a.location.Query().Get("error"), scope)
		assert.Equal(t, "s", a.location.Query().Get("state"))
	}
}

func testSecret(t *testing.T) {
	w := newWire(t)
	page := w.consent(request())
	w.press(page, url.Values{"decision": {"approve"}})
	code := w.code()
	a := w.ok(w.token(exchange(code)))
	w.ok(w.token(refresh(a.text("refresh_token"))))
	w.refused(w.token(exchange(code, "client_id", "NOT_A_CLIENT")), 401, oauth.InvalidClient)
	w.refused(w.token(exchange(code, "grant_type", "password")), 400, oauth.UnsupportedGrantType)
	w.refused(w.token(exchange(code, "redirect_uri", redirectURI+"/x")), 400, oauth.InvalidGrant)
	w.open(request("client_secret", clientSecret))

	form := exchange(w.code())
	form.Del("client_secret")
	c := &http.Client{Transport: w}
	w.refused(w.do(c, http.MethodPost, issuer+"/oauth/token?client_secret="+clientSecret, form), 400, oauth.InvalidRequest)
	form.Set("client_secret", clientSecret)
	w.refused(w.do(c, http.MethodPost, issuer+"/oauth/token?client_secret="+clientSecret, form), 400, oauth.InvalidRequest)
	w.ok(w.token(form)) // and the code was not burnt

	said := w.transcript()
	require.Contains(t, said, "level=", "the log is in it")
	require.Contains(t, said, clientID)
	assert.NotContains(t, said, clientSecret)
	for r, err := range w.store.List(t.Context(), oauth.Filter{}) {
		require.NoError(t, err)
		assert.NotContains(t, fmt.Sprintf("%+v %s", r, r.Data), clientSecret)
	}
}

func testHTTPS(t *testing.T) {
	w := newWire(t, func(o *options) {
		o.Proxies = guard.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Header: "X-Forwarded-For"}
	})
	access, refreshToken := w.tokens()
	code := w.code()
	over := func(method, to string, form url.Values, peer, proto string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, to, strings.NewReader(form.Encode()))
		r.RemoteAddr = peer + ":40000"
		r.Header.Set("Authorization", "Bearer "+access)
		if form != nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Del("Authorization")
		}
		if proto != "" {
			r.Header.Set("X-Forwarded-For", "203.0.113.9")
			r.Header.Set("X-Forwarded-Proto", proto)
		}
		return w.serve(r)
	}
	plain := strings.Replace(issuer, "https:", "http:", 1)
	for _, from := range []struct{ peer, proto string }{
		{"203.0.113.9", ""}, {"203.0.113.9", "https"}, {"10.1.2.3", "http"}, {"10.1.2.3", ""}, {"127.0.0.1", ""}, {"127.0.0.1", "https"},
	} {
		for _, rec := range []*httptest.ResponseRecorder{
			over("GET", plain+"/api/me", nil, from.peer, from.proto),
			over("GET", strings.Replace(request(), "https:", "http:", 1), nil, from.peer, from.proto),
			over("POST", plain+"/oauth/token", exchange(code), from.peer, from.proto),
			over("POST", plain+"/oauth/token", refresh(refreshToken), from.peer, from.proto),
			over("POST", plain+"/oauth/token", exchange(code, "client_secret", "wrong"), from.peer, from.proto), // it is not even compared
		} {
			assert.Equal(t, http.StatusBadRequest, rec.Code, "%v %s", from, rec.Body)
			assert.Empty(t, rec.Header().Get("Location"), from)
			assert.NotContains(t, rec.Body.String(), "_token\":", from)
			assert.NotContains(t, rec.Body.String(), "invalid_client", from)
		}
	}
	assert.Equal(t, http.StatusOK, over("GET", plain+"/api/me", nil, "10.1.2.3", "https").Code, "TLS ends at the proxy")
	assert.Equal(t, http.StatusOK, over("POST", plain+"/oauth/token", exchange(code), "10.1.2.3", "https").Code, "and nothing was burnt")
	w.ok(w.token(refresh(refreshToken)))

	local := options{Issuer: "http://localhost:8080", Key: theKey()}
	handler := newHost(local)
	for peer, status := range map[string]int{"127.0.0.1:4": 401, "[::1]:4": 401, "203.0.113.9:4": 400} {
		r, rec := httptest.NewRequest("GET", "http://localhost:8080/api/me", nil), httptest.NewRecorder()
		r.RemoteAddr = peer
		handler.ServeHTTP(rec, r)
		assert.Equal(t, status, rec.Code, peer)
	}
	_, err := newServer(options{Issuer: "http://flextell.example", Key: theKey()})
	assert.ErrorContains(t, err, "Issuer")
	client := demoClient
	client.RedirectURIs = []string{"http://your-app.example.com/callback"}
	_, err = newServer(options{Clients: []oauth.Client{client}, Key: theKey()})
	assert.ErrorContains(t, err, "RedirectURIs[0]")
	client.RedirectURIs = []string{"http://127.0.0.1/callback"}
	_, err = newServer(options{Clients: []oauth.Client{client}, Key: theKey()})
	assert.NoError(t, err, "RFC 8252, section 8.3")
}
