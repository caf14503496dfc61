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
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// Fuzzing of whole requests. The oracles, each a method or a function by its name:
//
//	never5xx        no panic (which is a 500), no 5xx, no word of a panic in the log
//	wellFormed      status, headers and members of an answer are what the RFCs say
//	landsAtHome     a Location is a registered redirect URI, or the endpoint itself
//	neverEchoes     no presented and no live credential in body, headers or log
//	changesNothing  an answer that is an error leaves the store as it was
//	stillWorks      the good sessions are alive after whatever came
//
// and in each target: what must have been in the request for an answer that gives
// something away.

// A stage is a server with live credentials in a store that every input finds alike.
type stage struct {
	*lab
	handler http.Handler
	log     bytes.Buffer
	props   map[string]string // live credentials by the marks that stand for them in an input
	marks   *strings.Replacer
	base    []oauth.Record
	web     oauthtest.Code
	spa     oauthtest.Code
	spent   string // the ID of the authorization whose credentials were used
}

const nativeCallback, tenantCallback = "http://127.0.0.1/cb", "https://client.example/cb?tenant=7"

// staged are clients with every kind of redirect URI.
func staged(c *oauth.Config) {
	implicit(c)
	all := []oauth.Client{client(c, "old")}
	for _, id := range []string{oauthtest.WebClient, oauthtest.SPAClient, oauthtest.MachineClient, oauthtest.APIClient} {
		all = append(all, client(c, id))
	}
	scopes := []string{"read", "write"}
	c.Clients = oauth.StaticClients(append(all,
		oauth.Client{ID: "native", Public: true, Scopes: scopes, RedirectURIs: []string{nativeCallback, "com.example.app:/cb"}},
		oauth.Client{ID: "tenant", Public: true, Scopes: scopes, RedirectURIs: []string{tenantCallback}})...)
}

func newStage(f testing.TB, edits ...func(*oauth.Config)) *stage {
	f.Helper()
	st := new(stage)
	st.lab = newLab(f, append([]func(*oauth.Config){staged, imports, resources, func(c *oauth.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&st.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Events = nil // the kit keeps every event
	}}, edits...)...)
	st.handler = st.Server.Server.Handler() // the kit's own keeps every request
	used := st.Code(oauthtest.WebClient)
	first := st.Redeem(used)
	require.Equal(f, 200, st.Refresh(oauthtest.WebClient, first.String("refresh_token")).Status)
	st.spent = st.vault.record(f).ID
	st.Clock.Advance(5 * time.Minute) // beyond the retry window, and not beyond an access token
	web, spa := st.Redeem(st.Code(oauthtest.WebClient)), st.Redeem(st.Code(oauthtest.SPAClient))
	waiting := open(f, st.Server, oauthtest.SPAClient, nil)
	st.web, st.spa = st.Code(oauthtest.WebClient), st.Code(oauthtest.SPAClient)
	st.props = map[string]string{
		"{secret}": oauthtest.Secret, "{foreign}": foreignToken,
		"{web.code}": st.web.Code, "{web.verifier}": st.web.Verifier, "{web.refresh}": web.String("refresh_token"), "{web.access}": web.String("access_token"),
		"{spa.code}": st.spa.Code, "{spa.verifier}": st.spa.Verifier, "{spa.refresh}": spa.String("refresh_token"), "{spa.access}": spa.String("access_token"),
		"{machine.access}": st.ClientToken(oauthtest.MachineClient, "read"),
		"{spent.code}":     used.Code, "{spent.verifier}": used.Verifier, "{spent.refresh}": first.String("refresh_token"),
		"{handle}": waiting.handle, "{cookie}": waiting.cookie.Value,
	}
	pairs := []string{"{cookie.name}", waiting.cookie.Name, "{callback}", url.QueryEscape(oauthtest.Callback)}
	for mark, value := range st.props {
		require.NotEmpty(f, value, mark)
		pairs = append(pairs, mark, value)
	}
	for _, id := range []string{oauthtest.WebClient, oauthtest.MachineClient, oauthtest.APIClient} {
		pairs = append(pairs, "{basic."+id+"}", base64.StdEncoding.EncodeToString([]byte(id+":"+oauthtest.Secret)))
	}
	st.marks = strings.NewReplacer(pairs...)
	st.base = st.vault.dump(f)
	return st
}

// An attempt is a request of which every part comes from outside.
type attempt struct{ method, path, query, media, authorization, cookie, body string }

// act puts the live credentials in.
func (st *stage) act(at attempt) attempt {
	at.query, at.authorization = st.marks.Replace(at.query), st.marks.Replace(at.authorization)
	at.cookie, at.body = st.marks.Replace(at.cookie), st.marks.Replace(at.body)
	return at
}

func (st *stage) send(at attempt) *oauthtest.Answer {
	r := httptest.NewRequest(at.method, oauthtest.Issuer+at.path, strings.NewReader(at.body))
	r.URL.RawQuery = at.query
	for name, value := range map[string]string{"Content-Type": at.media, "Authorization": at.authorization, "Cookie": at.cookie} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	st.log.Reset()
	rec := httptest.NewRecorder()
	st.handler.ServeHTTP(rec, r)
	a := &oauthtest.Answer{Status: rec.Code, Header: rec.Result().Header, Body: rec.Body.Bytes()}
	if json.Unmarshal(a.Body, &a.JSON) != nil {
		a.JSON = nil
	}
	return a
}

// try sends an input and holds the answer against the oracles that are the same for all.
func (st *stage) try(t *testing.T, at attempt) *oauthtest.Answer {
	t.Helper()
	a := st.send(at)
	log := st.log.String()
	never5xx(t, a, log)
	if at.method == http.MethodOptions && a.Status == http.StatusNoContent { // CORS: what a browser asks before
		require.Empty(t, a.Body)
		st.changesNothing(t, attempt{})
		return a
	}
	if at.path == "/oauth/authorize" {
		placed(t, a)
		st.landsAtHome(t, at, a)
	} else {
		wellFormed(t, at, a)
	}
	st.neverEchoes(t, at, a, log)
	_, params := a.Location()
	if a.Status >= 400 || params.Has("error") {
		st.changesNothing(t, at)
	}
	return a
}

func never5xx(t *testing.T, a *oauthtest.Answer, log string) {
	t.Helper()
	require.Less(t, a.Status, 500, "%s", a.Body)
	require.NotContains(t, log, "level=ERROR")
}

// errorMembers are those of RFC 6749, section 5.2.
var errorMembers = []string{"error", "error_description", "error_uri"}

// wellFormed is for the endpoints that answer in JSON (RFC 6749, sections 5.1 and 5.2).
func wellFormed(t *testing.T, at attempt, a *oauthtest.Answer) {
	t.Helper()
	require.Equal(t, []string{"no-store"}, a.Header["Cache-Control"])
	require.Empty(t, a.Header["Location"])
	require.Empty(t, a.Header["Set-Cookie"])
	if len(a.Body) == 0 { // RFC 7009, section 2.2; RFC 6750, section 3.1: nothing to say
		require.Contains(t, []int{200, 401}, a.Status)
		return
	}
	require.Equal(t, []string{"application/json"}, a.Header["Content-Type"])
	require.Equal(t, []string{"nosniff"}, a.Header["X-Content-Type-Options"])
	require.NotNil(t, a.JSON, "%s", a.Body)
	if a.Status == 200 {
		require.NotContains(t, a.JSON, "error")
		return
	}
	require.Contains(t, []int{400, 401, 403, 405, 413, 415, 429}, a.Status)
	require.NotEmpty(t, a.String("error"))
	for name := range a.JSON {
		require.Contains(t, errorMembers, name)
		require.True(t, legalDescription(a.String(name)), "%s", a.Body)
	}
	if a.Status == 401 && at.authorization != "" { // RFC 6749, section 5.2; RFC 6750, section 3
		require.NotEmpty(t, a.Header.Get("WWW-Authenticate"))
	}
}

// placed is the same for the authorization endpoint: a redirect, or a page.
func placed(t *testing.T, a *oauthtest.Answer) {
	t.Helper()
	require.Equal(t, []string{"no-store"}, a.Header["Cache-Control"])
	require.Equal(t, []string{"no-referrer"}, a.Header["Referrer-Policy"])
	if a.Status == http.StatusSeeOther {
		require.Len(t, a.Header["Location"], 1)
		return
	}
	require.True(t, a.Status >= 400, "%d", a.Status)
	require.Empty(t, a.Header["Location"])
	require.Equal(t, []string{"text/html; charset=utf-8"}, a.Header["Content-Type"])
	require.Equal(t, []string{"nosniff"}, a.Header["X-Content-Type-Options"])
}

// landsAtHome: a redirect goes to the endpoint itself or to a URI that some client
// registered, which is found by the text alone.
func (st *stage) landsAtHome(t *testing.T, at attempt, a *oauthtest.Answer) {
	t.Helper()
	to := a.Header.Get("Location")
	if to == "" {
		return
	}
	require.False(t, strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '\\' }), "%q", to)
	if strings.HasPrefix(to, oauthtest.Issuer+"/oauth/authorize?") {
		require.Equal(t, http.MethodPost, at.method, "the same request as GET")
		return
	}
	end := strings.IndexAny(to, "?#")
	if strings.HasPrefix(to, tenantCallback) {
		end = len(tenantCallback)
	}
	require.Positive(t, end, to)
	home := to[:end]
	if after, native := strings.CutPrefix(home, "http://127.0.0.1:"); native {
		home = "http://127.0.0.1" + strings.TrimLeft(after, "0123456789")
	}
	require.Contains(t, []string{oauthtest.Callback, nativeCallback, "com.example.app:/cb", tenantCallback}, home, to)
	u, err := url.Parse(to)
	require.NoError(t, err)
	require.Contains(t, []string{"client.example", "127.0.0.1", ""}, u.Hostname())
	params, err := url.ParseQuery(strings.TrimLeft(to[end:], "?#&"))
	require.NoError(t, err)
	require.Equal(t, []string{oauthtest.Issuer}, params["iss"])
	require.NotEqual(t, params.Has("error"), params.Has("code") || params.Has("access_token"), to)
}

// secrets are the names of parameters whose values are credentials.
var secrets = []string{"client_secret", "client_assertion", "code", "code_verifier", "refresh_token", "token", "access_token", "password", "assertion", "interaction"}

// presented are the values of a request that may be credentials, and the rest of it.
func presented(at attempt) (credentials []string, rest string) {
	var b strings.Builder
	for _, text := range []string{at.query, at.body} {
		for pair := range strings.SplitSeq(text, "&") {
			name, value, _ := strings.Cut(pair, "=")
			b.WriteString(name + "\n") // as it stands there, for what cannot be read may come back so
			name, _ = url.QueryUnescape(name)
			b.WriteString(name + "\n")
			if value, _ = url.QueryUnescape(value); slices.Contains(secrets, name) {
				credentials = append(credentials, value)
				continue
			}
			value, _, _ = strings.Cut(value, ";") // behind it there may be a credential
			b.WriteString(value + "\n")
		}
	}
	scheme, text, _ := strings.Cut(at.authorization, " ")
	b.WriteString(scheme)
	credentials = append(credentials, text)
	if pair, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text)); err == nil {
		id, secret, _ := strings.Cut(string(pair), ":")
		credentials = append(credentials, secret)
		b.WriteString("\n" + id)
	}
	for _, pair := range (&http.Request{Header: http.Header{"Cookie": {at.cookie}}}).Cookies() {
		credentials = append(credentials, pair.Value)
	}
	return credentials, b.String()
}

// neverEchoes: what was presented as a credential does not come back. A text that an
// answer has by itself is told from an echo by asking again with another in its place.
func (st *stage) neverEchoes(t *testing.T, at attempt, a *oauthtest.Answer, log string) {
	t.Helper()
	credentials, rest := presented(at)
	answered := func(a *oauthtest.Answer, log string) string {
		return string(a.Body) + "\n" + log + "\n" + a.Header.Get("WWW-Authenticate") + "\n" + strings.Join(a.Header["Set-Cookie"], "\n") + "\n" + a.Header.Get("Location")
	}
	told := answered(a, log)
	for mark, value := range st.props {
		if !strings.Contains(rest, value) { // put where no credential belongs, it is anybody's word
			require.NotContains(t, told, value, mark)
		}
	}
	for _, text := range credentials {
		if len(text) < 6 || !strings.Contains(told, text) || strings.Contains(rest, text) {
			continue
		}
		other := strings.Repeat("Zq7x", len(text)/4+1)[:len(text)]
		again := at
		for _, part := range []*string{&again.query, &again.authorization, &again.cookie, &again.body} {
			*part = strings.NewReplacer(text, other, url.QueryEscape(text), other).Replace(*part)
		}
		before := st.vault.dump(t)
		b := st.send(again)
		require.NotContains(t, answered(b, st.log.String()), other, "%q comes back", text)
		st.vault.load(t, before...)
	}
}

// changesNothing: the store is as it was. The one thing that a refused request does is
// to end an authorization whose used credential is shown again.
func (st *stage) changesNothing(t *testing.T, at attempt) {
	t.Helper()
	now := st.vault.dump(t)
	if strings.Contains(at.body, st.props["{spent.code}"]) || strings.Contains(at.body, st.props["{spent.refresh}"]) {
		for i, r := range now {
			if r.ID == st.spent && len(now) == len(st.base) {
				now[i] = st.base[i]
			}
		}
	}
	require.Equal(t, st.base, now, "a refused request changed the store")
}

// stillWorks: the good sessions go on, but for what was rightly done to them, and the
// next input finds what this one found.
func (st *stage) stillWorks(t *testing.T, done bool) {
	t.Helper()
	st.Store.Reset() // it keeps every call
	if done {
		st.vault.load(t, st.base...)
	}
	for _, token := range []string{"{web.access}", "{spa.access}", "{machine.access}"} {
		a := st.send(st.act(attempt{"POST", "/oauth/introspect", "", formType, "Basic {basic.api}", "", "token=" + token}))
		require.Equal(t, true, a.JSON["active"], "%s: %s", token, a.Body)
	}
	for _, at := range []attempt{
		{"POST", "/oauth/token", "", formType, "Basic {basic.web}", "", "grant_type=refresh_token&refresh_token={web.refresh}"},
		{"POST", "/oauth/token", "", formType, "", "", "client_id=spa&grant_type=authorization_code&redirect_uri={callback}&code={spa.code}&code_verifier={spa.verifier}"},
	} {
		a := st.send(st.act(at))
		require.Equal(t, 200, a.Status, "%s", a.Body)
		require.NotEmpty(t, a.String("access_token"))
	}
	st.vault.load(t, st.base...)
}

// knows reports whether the secret of a client is in a request, in whatever way, and
// names it.
func knows(at attempt, id string) bool {
	if _, text, ok := strings.Cut(at.authorization, " "); ok {
		pair, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		name, secret, _ := strings.Cut(string(pair), ":")
		name, _ = url.QueryUnescape(name)
		if secret, _ = url.QueryUnescape(secret); name == id && secret == oauthtest.Secret {
			return true
		}
	}
	v, _ := url.ParseQuery(at.body)
	return slices.Contains(v["client_id"], id) && slices.Contains(v["client_secret"], oauthtest.Secret)
}

// A form whose parts are joined by something else than "&" is one long parameter: no
// credential of it gets into the log by way of the client or the grant that it names.
func TestLogOfAWrongSeparator(t *testing.T) {
	st := newStage(t)
	for name, body := range map[string]string{
		"S124 semicolons behind the client":          "client_id=x;client_secret={secret};refresh_token={web.refresh}",
		"S124 an escaped ampersand behind it":        "client_id=x%26client_secret={secret}",
		"S124 semicolons behind the grant type":      "client_id=spa&grant_type=refresh_token;refresh_token={spa.refresh}",
		"S124 an escaped ampersand behind the grant": "client_id=spa&grant_type=x%26refresh_token={spa.refresh}",
	} {
		t.Run(name, func(t *testing.T) {
			at := st.act(attempt{method: "POST", path: "/oauth/token", media: formType, body: body})
			a := st.send(at)
			require.GreaterOrEqual(t, a.Status, 400)
			log := st.log.String()
			require.Contains(t, log, "event.type=")
			for mark, value := range st.props {
				require.NotContains(t, log, value, mark)
			}
		})
	}
}
