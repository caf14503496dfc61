package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

const (
	issuer = "http://localhost:8080"
	// The verifier of RFC 7636, appendix B, whose challenge the document prints.
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	secondApp = "flowsta_app_second"
)

// A host is the server of one test, on a clock of its own and without sockets.
type host struct {
	http.Handler
	t     *testing.T
	clock *oauthtest.Clock
	addr  string // of whoever asks
}

// newTestHost is newHost, or where there are edits what it would be with them.
func newTestHost(t *testing.T, edits ...func(*oauth.Config)) *host {
	t.Helper()
	h := &host{t: t, clock: oauthtest.NewClock(time.Unix(1699564800, 0)), addr: "192.0.2.1"}
	o := options{Now: h.clock.Now}
	if len(edits) == 0 {
		h.Handler = newHost(o)
		return h
	}
	cfg, err := newConfig(o)
	require.NoError(t, err)
	for _, edit := range edits {
		edit(&cfg)
	}
	srv, err := oauth.New(cfg)
	require.NoError(t, err)
	h.Handler = srv.Handler()
	return h
}

// twoApps registers a second application.
func twoApps(cfg *oauth.Config) {
	second := apps[0]
	second.ID = secondApp
	cfg.Clients = oauth.StaticClients(apps[0], second)
}

// An answer is a response whose body was read.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// member is a member of a JSON body that is a string, or "".
func (a *answer) member(name string) string {
	var all map[string]any
	if json.Unmarshal([]byte(a.Body), &all) != nil {
		return ""
	}
	text, _ := all[name].(string)
	return text
}

// code is the code of a redirect to the application, or "".
func (a *answer) code() string { return a.callback().Get("code") }

// callback are the parameters of a redirect to the application. Errors of response
// types with a token come in the fragment.
func (a *answer) callback() url.Values {
	params, found := strings.CutPrefix(a.Header.Get("Location"), appCallback)
	if !found || params == "" || params[0] != '?' && params[0] != '#' {
		return nil
	}
	values, err := url.ParseQuery(params[1:])
	if err != nil {
		return nil
	}
	return values
}

// refused asserts what an error answer says in JSON.
func (a *answer) refused(t *testing.T, status int, code string, about ...any) {
	t.Helper()
	assert.Equal(t, status, a.Status, about...)
	assert.Equal(t, code, a.member("error"), about...)
	assert.Equal(t, "application/json", a.Header.Get("Content-Type"), about...)
	assert.Equal(t, "no-store", a.Header.Get("Cache-Control"), about...)
	assert.NotEmpty(t, a.member("error_description"), about...)
}

// headers are name, value, name, value.
func (h *host) do(method, target, body string, headers ...string) *answer {
	h.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr = h.addr + ":4711"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return &answer{Status: w.Code, Header: w.Result().Header, Body: w.Body.String()}
}

func (h *host) postJSON(path, body string, headers ...string) *answer {
	h.t.Helper()
	return h.do("POST", issuer+path, body, append([]string{"Content-Type", "application/json"}, headers...)...)
}

// object is a JSON object of name, value, name, value; those that are "" are left out.
func object(pairs ...string) string {
	all := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			all[pairs[i]] = pairs[i+1]
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// redeem is the documented token request.
func (h *host) redeem(code, verifier string) *answer {
	h.t.Helper()
	return h.postJSON("/oauth/token", object("grant_type", "authorization_code", "code", code,
		"redirect_uri", appCallback, "client_id", appID, "code_verifier", verifier))
}

func (h *host) refresh(token string, more ...string) *answer {
	h.t.Helper()
	return h.postJSON("/oauth/token", object(append([]string{"grant_type", "refresh_token", "refresh_token", token, "client_id", appID}, more...)...))
}

func (h *host) userinfo(token string) *answer {
	h.t.Helper()
	return h.do("GET", issuer+"/oauth/userinfo", "", "Authorization", "Bearer "+token)
}

func (h *host) revoke(body string, headers ...string) *answer {
	h.t.Helper()
	return h.postJSON("/oauth/revoke", body, headers...)
}

// A request is an authorization request: that of the document, with these
// parameters in place of its own; an empty one is left out.
func request(change ...string) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {appID}, "redirect_uri": {appCallback}, "scope": {"profile email"},
		"state": {"random_state"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(change); i += 2 {
		if q.Set(change[i], change[i+1]); change[i+1] == "" {
			q.Del(change[i])
		}
	}
	return issuer + "/oauth/authorize?" + q.Encode()
}

// A visitor is the user in front of a browser, who follows redirects as long as
// they stay on the host.
type visitor struct {
	*host
	cookies map[string]string
	page    *answer
}

func (h *host) visitor() *visitor { return &visitor{host: h, cookies: map[string]string{}} }

// signedIn is a visitor who has just signed in for a request, and sees the consent page.
func (h *host) signedIn(change ...string) *visitor {
	h.t.Helper()
	v := h.visitor()
	v.open("GET", request(change...), nil)
	require.Contains(h.t, v.page.Body, `name="password"`)
	v.submit(url.Values{"username": {userName}, "password": {userPassword}})
	require.Contains(h.t, v.page.Body, `value="approve"`)
	return v
}

// code is a code for both scopes, or for those of the change.
func (h *host) code(change ...string) string {
	h.t.Helper()
	v := h.signedIn(change...)
	v.decide("approve", "email")
	require.NotEmpty(h.t, v.page.code(), "%d %s", v.page.Status, v.page.Header)
	return v.page.code()
}

// tokens are those of a whole flow.
func (h *host) tokens(change ...string) (access, refresh string) {
	h.t.Helper()
	a := h.redeem(h.code(change...), verifier)
	require.Equal(h.t, http.StatusOK, a.Status, a.Body)
	return a.member("access_token"), a.member("refresh_token")
}

func (v *visitor) open(method, target string, form url.Values) {
	v.t.Helper()
	for range 5 {
		headers := []string{"Sec-Fetch-Site", "same-origin"}
		for name, value := range v.cookies {
			headers = append(headers, "Cookie", name+"="+value)
		}
		if form != nil {
			headers = append(headers, "Content-Type", "application/x-www-form-urlencoded")
		}
		v.page = v.do(method, target, form.Encode(), headers...)
		for _, c := range (&http.Response{Header: v.page.Header}).Cookies() {
			v.cookies[c.Name] = c.Value
		}
		to := v.page.Header.Get("Location")
		if !strings.HasPrefix(to, issuer+"/") {
			return
		}
		method, target, form = "GET", to, nil
	}
	v.t.Fatal("the redirects have no end")
}

var hidden = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)

// submit posts the last form of the page, hidden fields included.
func (v *visitor) submit(fields url.Values) {
	v.t.Helper()
	for _, m := range hidden.FindAllStringSubmatch(v.page.Body, -1) {
		fields.Set(m[1], m[2])
	}
	v.open("POST", issuer+"/oauth/authorize", fields)
}

// decide answers the consent page with these of the optional scopes.
func (v *visitor) decide(decision string, optional ...string) {
	v.t.Helper()
	v.submit(url.Values{"decision": {decision}, "scope": optional})
}

// A pair is a member of a JSON object.
type pair struct {
	Name  string
	Value any
}

// members are those of a flat JSON object, in their order.
func members(t *testing.T, text string) []pair {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	start, err := d.Token()
	require.NoError(t, err, text)
	require.Equal(t, json.Delim('{'), start, text)
	var all []pair
	for d.More() {
		name, err := d.Token()
		require.NoError(t, err, text)
		p := pair{Name: name.(string)}
		require.NoError(t, d.Decode(&p.Value), text)
		all = append(all, p)
	}
	return all
}

func names(t *testing.T, text string) []string {
	t.Helper()
	var all []string
	for _, p := range members(t, text) {
		all = append(all, p.Name)
	}
	return all
}
