package main

import (
	"bytes"
	"encoding/json"
	"html"
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
	webBase = "https://flat.io"
	apiBase = "https://api.flat.io"

	authorizeURL = webBase + "/auth/oauth"
	tokenURL     = apiBase + "/oauth/access_token"
	revokeURL    = apiBase + "/oauth/invalidate_token"
	meURL        = apiBase + "/v2/me"
	scoresURL    = apiBase + "/v2/me/scores"
	tokensURL    = webBase + tokensPath
)

// issuedAt is that of the document's sample.
var issuedAt = time.Unix(1492542537, 0)

// A host is the server of one test, on a clock of its own and without sockets.
type host struct {
	http.Handler
	t     *testing.T
	clock *oauthtest.Clock
}

// newTestHost is newHost, or where there are edits what it would be with them.
func newTestHost(t *testing.T, edits ...func(*oauth.Config)) *host {
	t.Helper()
	h := &host{t: t, clock: oauthtest.NewClock(issuedAt)}
	o := options{Now: h.clock.Now}
	if len(edits) == 0 {
		h.Handler = newHost(o)
		return h
	}
	cfg, err := newConfig(o.complete())
	require.NoError(t, err)
	for _, edit := range edits {
		edit(&cfg)
	}
	srv, err := oauth.New(cfg)
	require.NoError(t, err)
	h.Handler, err = mount(srv, o.complete())
	require.NoError(t, err)
	return h
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

// callback is what a redirect to an app has after its redirect URI: "?" or "#",
// and the parameters as they are written.
func (a *answer) callback() (mark, params string) {
	for _, uri := range []string{siteCallback, boxCallback} {
		if rest, found := strings.CutPrefix(a.Header.Get("Location"), uri); found && rest != "" {
			return rest[:1], rest[1:]
		}
	}
	return "", ""
}

// param is a parameter of the redirect, in the query or in the fragment.
func (a *answer) param(name string) string {
	_, params := a.callback()
	values, err := url.ParseQuery(params)
	if err != nil {
		return ""
	}
	return values.Get(name)
}

// names are those of the parameters of the redirect, in order.
func (a *answer) names() (all []string) {
	_, params := a.callback()
	for pair := range strings.SplitSeq(params, "&") {
		name, _, _ := strings.Cut(pair, "=")
		all = append(all, name)
	}
	return all
}

// refused asserts what an error answer says in JSON.
func (a *answer) refused(t *testing.T, status int, code string, about ...any) {
	t.Helper()
	assert.Equal(t, status, a.Status, about...)
	assert.Equal(t, code, a.member("error"), about...)
	assert.Equal(t, "application/json", a.Header.Get("Content-Type"), about...)
	assert.Equal(t, "no-store", a.Header.Get("Cache-Control"), about...)
}

// noRedirect asserts a page with status 400 that leads nowhere.
func (a *answer) noRedirect(t *testing.T, about ...any) {
	t.Helper()
	assert.Equal(t, http.StatusBadRequest, a.Status, about...)
	assert.Empty(t, a.Header.Get("Location"), about...)
	assert.Equal(t, "text/html; charset=utf-8", a.Header.Get("Content-Type"), about...)
}

// sentBack asserts an error that goes to the app.
func (a *answer) sentBack(t *testing.T, mark, code string, about ...any) {
	t.Helper()
	assert.Equal(t, http.StatusSeeOther, a.Status, about...)
	got, _ := a.callback()
	assert.Equal(t, mark, got, about...)
	assert.Equal(t, code, a.param("error"), about...)
	assert.Equal(t, "xyz", a.param("state"), about...)
}

// headers are name, value, name, value.
func (h *host) do(method, target, body string, headers ...string) *answer {
	h.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return &answer{Status: w.Code, Header: w.Result().Header, Body: w.Body.String()}
}

func (h *host) post(target string, pairs ...string) *answer {
	h.t.Helper()
	return h.do("POST", target, form(pairs...).Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// get calls the API.
func (h *host) get(target, token string) *answer {
	h.t.Helper()
	return h.do("GET", target, "", "Authorization", "Bearer "+token)
}

// form is a form of name, value, name, value; those that are "" are left out.
func form(pairs ...string) url.Values {
	f := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if f.Set(pairs[i], pairs[i+1]); pairs[i+1] == "" {
			f.Del(pairs[i])
		}
	}
	return f
}

// A credentials is an app with key and secret, as a request sends them.
type credentials []string

var (
	site = credentials{"client_id", siteKey, "client_secret", siteSecret, "redirect_uri", siteCallback}
	box  = credentials{"client_id", boxKey, "client_secret", boxSecret, "redirect_uri", boxCallback}
)

// redeem is the documented exchange.
func (h *host) redeem(app credentials, code string, more ...string) *answer {
	h.t.Helper()
	return h.post(tokenURL, append(append([]string{"grant_type", "authorization_code", "code", code}, app...), more...)...)
}

func (h *host) refresh(app credentials, token string) *answer {
	h.t.Helper()
	return h.post(tokenURL, append([]string{"grant_type", "refresh_token", "refresh_token", token}, app[:4]...)...)
}

func (h *host) revoke(app credentials, token string, more ...string) *answer {
	h.t.Helper()
	return h.post(revokeURL, append(append([]string{"token", token}, app[:4]...), more...)...)
}

// request is an authorization request with these parameters in place of the usual
// ones; an empty one is left out.
func request(change ...string) string {
	return authorizeURL + "?" + form(append([]string{"client_id", siteKey, "response_type", "code", "state", "xyz",
		"scope", "account.public_profile scores", "redirect_uri", siteCallback}, change...)...).Encode()
}

// A visitor is a user in front of a browser, who follows redirects as long as
// they stay on the host.
type visitor struct {
	*host
	cookies map[string]string
	page    *answer
}

func (h *host) visitor() *visitor { return &visitor{host: h, cookies: map[string]string{}} }

// open sends a request of a page of the host's own; form is nil for a GET.
func (v *visitor) open(target string, form url.Values, headers ...string) *answer {
	v.t.Helper()
	method := "GET"
	for range 5 {
		all := append([]string{"Sec-Fetch-Site", "same-origin"}, headers...)
		for name, value := range v.cookies {
			all = append(all, "Cookie", name+"="+value)
		}
		if form != nil {
			method, all = "POST", append(all, "Content-Type", "application/x-www-form-urlencoded")
		}
		v.page = v.do(method, target, form.Encode(), all...)
		for _, c := range (&http.Response{Header: v.page.Header}).Cookies() {
			v.cookies[c.Name] = c.Value
		}
		to := v.page.Header.Get("Location")
		if strings.HasPrefix(to, "/") {
			to = webBase + to
		}
		if !strings.HasPrefix(to, webBase+"/") {
			return v.page
		}
		method, target, form = "GET", to, nil
	}
	v.t.Fatal("the redirects have no end")
	return nil
}

var hidden = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)

// submit posts a form of the authorization page, hidden fields included.
func (v *visitor) submit(pairs ...string) *answer {
	v.t.Helper()
	fields := form(pairs...)
	for _, m := range hidden.FindAllStringSubmatch(v.page.Body, -1) {
		fields.Set(m[1], html.UnescapeString(m[2]))
	}
	return v.open(authorizeURL, fields)
}

func (v *visitor) decide(decision string) *answer {
	v.t.Helper()
	return v.submit("decision", decision)
}

// consent is a user who has just signed in for a request, and sees the consent page.
func (h *host) consent(username string, change ...string) *visitor {
	h.t.Helper()
	v := h.visitor()
	v.open(request(change...), nil)
	require.Contains(h.t, v.page.Body, `name="password"`, "%d %s", v.page.Status, v.page.Header)
	v.submit("username", username, "password", username)
	require.Contains(h.t, v.page.Body, `value="approve"`)
	return v
}

// allowed is the answer to the app after the user demo has allowed a request.
func (h *host) allowed(change ...string) *answer {
	h.t.Helper()
	a := h.consent("demo", change...).decide("approve")
	require.Equal(h.t, http.StatusSeeOther, a.Status, a.Body)
	require.Empty(h.t, a.param("error"), a.Header)
	return a
}

// tokens is the token response of the whole flow of the code grant.
func (h *host) tokens(change ...string) *answer {
	h.t.Helper()
	a := h.redeem(site, h.allowed(change...).param("code"))
	require.Equal(h.t, http.StatusOK, a.Status, a.Body)
	return a
}

// account is a user who is signed in at the page of the personal access tokens.
func (h *host) account(username string) *visitor {
	h.t.Helper()
	v := h.visitor()
	v.open(tokensURL, nil)
	require.Contains(h.t, v.page.Body, `name="password"`)
	v.open(webBase+loginPath, url.Values{"username": {username}, "password": {username}})
	require.Contains(h.t, v.page.Body, "Personal access tokens")
	return v
}

// make fills in the form of a new token.
func (v *visitor) make(name, app string, scopes ...string) *answer {
	v.t.Helper()
	return v.open(tokensURL, url.Values{"name": {name}, "app": {app}, "scope": scopes})
}

var shown = regexp.MustCompile(`flat_pat_[\w-]+`)

// personal makes a token and returns it.
func (v *visitor) personal(name string, scopes ...string) string {
	v.t.Helper()
	a := v.make(name, scriptKey, scopes...)
	require.Equal(v.t, http.StatusCreated, a.Status, a.Body)
	found := shown.FindAllString(a.Body, -1)
	require.Len(v.t, found, 1, a.Body)
	return found[0]
}

// A pair is a member of a JSON object.
type pair struct {
	Name  string
	Value any
}

// members are those of a JSON object, in their order.
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

func memberNames(t *testing.T, text string) (all []string) {
	t.Helper()
	for _, p := range members(t, text) {
		all = append(all, p.Name)
	}
	return all
}
