package oauth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// methodOf is one of the methods that an endpoint must deal with.
func methodOf(n byte) string {
	all := []string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "post"}
	return all[int(n)%len(all)]
}

// goodQuery is an authorization request of spa that is right.
const goodQuery = "response_type=code&client_id=spa&redirect_uri={callback}&scope=read&state=xyz&code_challenge_method=S256&code_challenge=" + rfcChallenge

// azChanges are those of the security cases, on goodQuery: what to replace, with what.
var azChanges = [][2]string{
	{"", ""}, {"client.example", "client.example%40evil.example"}, {"{callback}", "https://evil.example/"}, {"{callback}", ""},
	{"{callback}", "https://client.example/callback%2F..%2F%0d%0aLocation:%20https:%2F%2Fevil.example"}, {"{callback}", "https%3A%2F%2Fclient.example%2Fcallback%23x"},
	{"{callback}", "//evil.example"}, {"{callback}", "https://client.example%5c@evil.example"}, {"{callback}", "javascript:alert(1)"},
	{"client_id=spa&redirect_uri={callback}", "client_id=native&redirect_uri=http://127.0.0.1:51004/cb"},
	{"client_id=spa&redirect_uri={callback}", "client_id=native&redirect_uri=http://127.0.0.1:80%40evil.example/cb"},
	{"client_id=spa&redirect_uri={callback}", "client_id=native&redirect_uri=com.example.app:/cb"},
	{"client_id=spa&redirect_uri={callback}", "client_id=tenant&redirect_uri=https://client.example/cb?tenant%3D7"},
	{"response_type=code", "response_type=token&response_mode=query"}, {"response_type=code&client_id=spa", "response_type=token&client_id=old"},
	{"response_type=code", "response_type=code+token"}, {"response_type=code", "response_mode=fragment&response_type=code"}, {"response_type=code", "response_mode=form_post&response_type=code"},
	{"scope=read", "scope=admin"}, {"scope=read", "scope=read++write"}, {"scope=read", "scope=%22"}, {"scope=read", "resource=https://api.example&resource=x:y"},
	{"state=xyz", "state=%00%zz"}, {"state=xyz", "state=a&state=b"}, {"state=xyz", "state=%E2%80%AE%3Cscript%3E"}, {"S256", "plain"}, {"&code_challenge=" + rfcChallenge, ""},
	{"state=xyz", "request_uri=http://127.0.0.1:1/"}, {"state=xyz", "request=e30.e30.AA"}, {"state=xyz", "client_secret={secret}"}, {"state=xyz", "max_age=-1&acr_values=gold+x"},
	{"state=xyz", "prompt=none&max_age=0&ui_locales=x"}, {"&", ";"}, {"client_id=spa", "client_id=spa&client_id=web"}, {"client_id=spa", "client_id=%73%70%61"},
	{"{callback}", "{callback}&redirect_uri=https://evil.example"},
}

// FuzzAuthorizeRequest: beside the oracles of a stage, a code or a token only for a
// request that names the client, and a token only to the client that may have one, in
// the fragment.
func FuzzAuthorizeRequest(f *testing.F) {
	for _, change := range azChanges {
		query := strings.ReplaceAll(goodQuery, change[0], change[1])
		f.Add(false, query, "")
		f.Add(true, "", query)
	}
	f.Add(true, goodQuery, "interaction=AAAA")
	f.Add(true, goodQuery, "interaction={handle}")
	f.Add(false, "interaction={handle}", "")
	f.Add(false, "interaction=AAAA;&%", "")
	st := newStage(f)
	f.Fuzz(func(t *testing.T, post bool, query, body string) {
		at := attempt{method: http.MethodGet, path: "/oauth/authorize", query: query, body: body}
		if post {
			at.method, at.media = http.MethodPost, formType
		}
		at = st.act(at)
		a := st.try(t, at)
		to := a.Header.Get("Location")
		place, params := a.Location()
		named, _ := url.ParseQuery(at.query)
		if to != "" && !strings.HasPrefix(to, oauthtest.Issuer) {
			require.False(t, post, "an answer to what was posted without a handle")
			require.Equal(t, strings.ToValidUTF8(params.Get("state"), "?"), params.Get("state"))
			require.True(t, params.Get("state") == "" || named.Get("state") == params.Get("state"), to)
		}
		if params.Has("access_token") {
			require.Contains(t, to, "#", to)
			require.Equal(t, "old", named.Get("client_id"), to)
			require.Equal(t, oauthtest.Callback, place)
		}
		if params.Has("code") && !strings.HasPrefix(to, oauthtest.Issuer) {
			require.NotEmpty(t, named.Get("code_challenge")+map[bool]string{true: "web"}[named.Get("client_id") == "web"], "a public client without PKCE")
			require.Len(t, st.vault.dump(t), len(st.base)+1)
		}
		st.stillWorks(t, false)
	})
}

// FuzzInteraction: an approval needs the handle and the cookie of the browser that the
// handle was made for, both to the byte.
func FuzzInteraction(f *testing.F) {
	for _, cookie := range []string{"{cookie.name}={cookie}", "", "{cookie.name}=", "x=y; {cookie.name}={cookie}", "{cookie.name}={cookie}A", "{cookie.name}={handle}", "{cookie}", "{cookie.name}=\"{cookie}\"",
		"{cookie.name}=AAAA; {cookie.name}={cookie}"} {
		f.Add(true, "", "interaction={handle}", cookie, formType)
		f.Add(false, "interaction={handle}", "", cookie, "")
	}
	f.Add(true, "interaction={handle}", "", "{cookie.name}={cookie}", formType)
	f.Add(true, "", "interaction={handle}&interaction=x&user=a&user=b", "{cookie.name}={cookie}", formType)
	f.Add(true, "", "interaction={handle}", "{cookie.name}={cookie}", "multipart/form-data; boundary=x")
	f.Add(true, "", "interaction={handle}A&%zz", "{cookie.name}={cookie}", formType+"; charset=x")
	f.Add(false, "interaction={web.code}", "", "{cookie.name}={web.refresh}", "")
	f.Add(false, "interaction={handle}&client_id=web&redirect_uri=https://evil.example", "", "{cookie.name}={cookie}", "")
	st := newStage(f)
	f.Fuzz(func(t *testing.T, post bool, query, body, cookie, media string) {
		at := attempt{method: http.MethodGet, path: "/oauth/authorize", query: query, body: body, cookie: cookie, media: media}
		if post {
			at.method = http.MethodPost
		}
		at = st.act(at)
		a := st.try(t, at)
		to, params := a.Location()
		if !params.Has("code") && !params.Has("access_token") || strings.HasPrefix(to, oauthtest.Issuer) {
			st.stillWorks(t, false)
			return
		}
		q, _ := url.ParseQuery(at.query)
		b, _ := url.ParseQuery(at.body)
		handle := slices.Contains(q["interaction"], st.props["{handle}"]) || slices.Contains(b["interaction"], st.props["{handle}"])
		whole := q.Get("client_id") != "" && !q.Has("interaction") && !post
		require.True(t, whole || handle && strings.Contains(at.cookie, st.props["{cookie}"]), "approved without the handle or the cookie")
		if handle {
			require.Equal(t, oauthtest.Callback, to)
		}
		st.stillWorks(t, false)
	})
}

// tokenForms are the good requests of the token endpoint, by what authenticates them.
var tokenForms = [][2]string{
	{"Basic {basic.web}", "grant_type=authorization_code&code={web.code}&code_verifier={web.verifier}&redirect_uri={callback}"},
	{"", "client_id=spa&grant_type=authorization_code&code={spa.code}&code_verifier={spa.verifier}&redirect_uri={callback}"},
	{"", "client_id=web&client_secret={secret}&grant_type=refresh_token&refresh_token={web.refresh}"},
	{"", "client_id=spa&grant_type=refresh_token&refresh_token={spa.refresh}&scope=read"},
	{"Basic {basic.machine}", "grant_type=client_credentials&scope=read"},
	{"Basic {basic.web}", "grant_type=refresh_token&refresh_token={foreign}"},
	{"Basic {basic.web}", "grant_type=authorization_code&code={spent.code}&code_verifier={spent.verifier}&redirect_uri={callback}"},
	{"Basic {basic.web}", "grant_type=refresh_token&refresh_token={spent.refresh}"},
}

// tokenChanges are what the security cases do to them.
var tokenChanges = [][2]string{
	{"", ""}, {"{callback}", "https://evil.example"}, {"{callback}", "https://client.example/callback/"}, {".verifier}", ".verifier}A"}, {"code_verifier", "x"}, {"{web.", "{spa."},
	{"{spa.", "{web."}, {"client_id=spa", "client_id=web"}, {"{secret}", ""}, {"{secret}", "{secret}&client_secret={secret}"}, {"grant_type=", "grant_type=password&x="},
	{"scope=read", "scope=admin"}, {"scope=read", "scope=read&scope=write"}, {"refresh}", "refresh}&resource=https://api.example"}, {"refresh}", "refresh}%00"}, {"refresh}", "refresh}&client_assertion=a.b.c"},
	{"&", ";"}, {"grant_type", "grant%5Ftype"}, {"=", "=="}, {"authorization_code", "refresh_token"}, {".refresh}", ".access}"}, {".code}", ".refresh}"},
}

// FuzzTokenRequest: beside the oracles of a stage, a token only for a request with the
// right credentials of the client and a live credential of that client's.
func FuzzTokenRequest(f *testing.F) {
	for _, form := range tokenForms {
		for _, change := range tokenChanges {
			if body := strings.ReplaceAll(form[1], change[0], change[1]); body != form[1] || change[0] == "" {
				f.Add(byte(1), form[0], formType, "", body)
			}
		}
		f.Add(byte(1), "", formType, "", form[1])
		f.Add(byte(1), "Basic {basic.api}", formType+"; charset=utf-8", "", form[1])
		f.Add(byte(1), form[0], "multipart/form-data; boundary=x", "", form[1])
		f.Add(byte(1), form[0], formType, form[1], "")
		f.Add(byte(0), form[0], "", form[1], "")
	}
	for _, authorization := range []string{"Basic d2ViOndyb25n", "Basic \x00", "basic {basic.machine}", "Basic  {basic.machine}", "Basic {basic.machine}, Bearer x", "Bearer {web.access}", "Basic", "Basic d2Vi"} {
		f.Add(byte(1), authorization, formType, "", "grant_type=client_credentials&scope=read")
	}
	for method := range byte(9) {
		f.Add(method, "Basic {basic.machine}", formType, "", "grant_type=client_credentials&scope=read")
	}
	f.Add(byte(1), "", "application/json", "", `{"grant_type":"client_credentials","client_id":"machine","client_secret":"{secret}"}`)
	f.Add(byte(1), "", formType, "client_secret={secret}", "grant_type=client_credentials&client_id=machine")
	st := newStage(f)
	f.Fuzz(func(t *testing.T, method byte, authorization, media, query, body string) {
		at := st.act(attempt{methodOf(method), "/oauth/token", query, media, authorization, "", body})
		a := st.try(t, at)
		if a.Status != 200 {
			require.NotContains(t, a.JSON, "access_token")
			st.stillWorks(t, false)
			return
		}
		require.Equal(t, "POST", at.method)
		require.Equal(t, "Bearer", a.String("token_type"))
		v, err := url.ParseQuery(strings.ReplaceAll(at.body, ";", "%3B")) // which separates nothing
		require.NoError(t, err)
		web, spa := knows(at, oauthtest.WebClient), slices.Equal(v["client_id"], []string{oauthtest.SPAClient})
		code := func(c oauthtest.Code) bool {
			return v.Get("code") == c.Code && v.Get("code_verifier") == c.Verifier && v.Get("redirect_uri") == c.RedirectURI
		}
		require.Len(t, v["grant_type"], 1)
		switch refresh := v.Get("refresh_token"); v.Get("grant_type") {
		case "client_credentials":
			require.True(t, knows(at, oauthtest.MachineClient), "a token without authentication")
			require.NotContains(t, a.JSON, "refresh_token")
		case "authorization_code":
			require.True(t, web && code(st.web) || spa && code(st.spa), "a token without a code, or without its client")
		case "refresh_token":
			require.True(t, web && slices.Contains([]string{st.props["{web.refresh}"], foreignToken}, refresh) || (spa && (refresh == st.props["{spa.refresh}"] || refresh == foreignToken)),
				"a token without a refresh token, or without its client")
		default:
			t.Fatalf("a token for the grant type %q", v.Get("grant_type"))
		}
		require.True(t, within(a.String("scope"), "read", "write"), "%s", a.Body)
		st.stillWorks(t, true)
	})
}

// within reports whether a scope has no more in it than this.
func within(scope string, names ...string) bool {
	return !slices.ContainsFunc(strings.Fields(scope), func(n string) bool { return !slices.Contains(names, n) })
}

// FuzzRevokeRequest: only the client whose token it is, authenticated, ends something.
func FuzzRevokeRequest(f *testing.F) {
	for _, token := range []string{"{web.refresh}", "{web.access}", "{spa.refresh}", "{spa.access}", "{machine.access}", "{web.code}", "{spent.refresh}", "{foreign}", "{web.access}A", "%00", "a.b.c", ""} {
		f.Add(byte(1), "Basic {basic.web}", formType, "token="+token)
		f.Add(byte(1), "Basic {basic.machine}", formType, "token="+token)
		f.Add(byte(1), "", formType, "client_id=spa&token_type_hint=refresh_token&token="+token)
		f.Add(byte(1), "", formType, "token_type_hint=access_token&token="+token)
		f.Add(byte(1), "", formType, "client_id=web&client_secret=wrong-secret&token="+token)
	}
	f.Add(byte(0), "Basic {basic.web}", "", "token={web.refresh}")
	for method := range byte(9) {
		f.Add(method, "Basic {basic.web}", formType, "token={web.refresh}")
	}
	f.Add(byte(1), "Basic {basic.web}", "application/json", `{"token":"{web.refresh}"}`)
	f.Add(byte(1), "Basic {basic.web}", formType, "token={web.refresh}&token={spa.refresh}")
	st := newStage(f)
	f.Fuzz(func(t *testing.T, method byte, authorization, media, body string) {
		at := st.act(attempt{methodOf(method), "/oauth/revoke", "", media, authorization, "", body})
		st.try(t, at)
		v, _ := url.ParseQuery(at.body)
		token := v.Get("token")
		owner := map[string]bool{
			st.props["{web.refresh}"]: knows(at, oauthtest.WebClient), st.props["{web.access}"]: knows(at, oauthtest.WebClient), st.props["{spent.refresh}"]: knows(at, oauthtest.WebClient),
			st.props["{spa.refresh}"]: v.Get("client_id") == oauthtest.SPAClient, st.props["{spa.access}"]: v.Get("client_id") == oauthtest.SPAClient,
			st.props["{machine.access}"]: knows(at, oauthtest.MachineClient), foreignToken: knows(at, oauthtest.WebClient) || knows(at, oauthtest.MachineClient) || knows(at, oauthtest.APIClient) || v.Get("client_id") != "",
		}[token]
		if !owner {
			require.Equal(t, st.base, st.vault.dump(t), "a stranger's request changed something")
		}
		st.stillWorks(t, owner)
	})
}

// FuzzIntrospectRequest: a token is active only for an authenticated client that may
// know, and only one that is alive.
func FuzzIntrospectRequest(f *testing.F) {
	for _, token := range []string{"{web.refresh}", "{web.access}", "{spa.refresh}", "{spa.access}", "{machine.access}", "{web.code}", "{spent.refresh}", "{foreign}", "{web.access}A", "..&token_type_hint=%ff", "{web.access}&token={spa.access}"} {
		for _, id := range []string{"api", "web", "machine"} {
			f.Add(byte(1), "Basic {basic."+id+"}", formType, "token="+token)
		}
		f.Add(byte(1), "", formType, "token="+token)
		f.Add(byte(1), "", formType, "client_id=spa&token="+token)
		f.Add(byte(1), "Basic YXBpOg==", formType, "token="+token)
	}
	for method := range byte(9) {
		f.Add(method, "Basic {basic.api}", formType, "token={web.access}")
	}
	st := newStage(f)
	f.Fuzz(func(t *testing.T, method byte, authorization, media, body string) {
		at := st.act(attempt{methodOf(method), "/oauth/introspect", "", media, authorization, "", body})
		a := st.try(t, at)
		st.changesNothing(t, attempt{})
		defer st.stillWorks(t, false)
		if a.Status != 200 {
			require.NotContains(t, a.JSON, "active")
			return
		}
		if a.JSON["active"] != true {
			require.Equal(t, map[string]any{"active": false}, a.JSON, "RFC 7662 2.2: no more is said")
			return
		}
		v, err := url.ParseQuery(strings.ReplaceAll(at.body, ";", "%3B")) // which separates nothing
		require.NoError(t, err)
		require.Len(t, v["token"], 1)
		access := slices.Contains([]string{st.props["{web.access}"], st.props["{spa.access}"], st.props["{machine.access}"]}, v.Get("token"))
		own := knows(at, oauthtest.WebClient) && slices.Contains([]string{st.props["{web.access}"], st.props["{web.refresh}"]}, v.Get("token")) ||
			knows(at, oauthtest.MachineClient) && v.Get("token") == st.props["{machine.access}"]
		require.True(t, knows(at, oauthtest.APIClient) && access || own, "active for somebody who may not know")
	})
}

// FuzzUserInfoRequest: claims only for a live access token of a user in the one place
// where it may be.
func FuzzUserInfoRequest(f *testing.F) {
	for _, authorization := range []string{"Bearer {web.access}", "bearer {spa.access}", "Bearer  {web.access}", "Bearer {machine.access}", "Bearer {web.refresh}", "Bearer {web.code}", "Bearer {web.access}A", "Bearer {web.access} x",
		"Bearer", "", "Basic {basic.web}", "DPoP {web.access}", "Bearer {web.access}, Bearer {spa.access}", "Bearer \x00\xff", "Bearer a.b.c"} {
		f.Add(byte(0), authorization, "", "", "")
		f.Add(byte(1), authorization, formType, "", "x=y")
		f.Add(byte(1), authorization, formType, "", "access_token={web.access}")
		f.Add(byte(0), authorization, "", "access_token={web.access}", "")
	}
	for method := range byte(9) {
		f.Add(method, "Bearer {web.access}", "", "", "")
	}
	st := newStage(f, func(c *oauth.Config) { c.Scopes[0].Claims = []string{"name"} })
	f.Fuzz(func(t *testing.T, method byte, authorization, media, query, body string) {
		at := st.act(attempt{methodOf(method), "/oauth/userinfo", query, media, authorization, "", body})
		a := st.try(t, at)
		st.changesNothing(t, attempt{})
		if a.Status == 200 {
			scheme, token, _ := strings.Cut(at.authorization, " ")
			require.True(t, strings.EqualFold(scheme, "Bearer"))
			require.Contains(t, []string{st.props["{web.access}"], st.props["{spa.access}"]}, strings.TrimLeft(token, " "))
			require.Equal(t, map[string]any{"sub": "alice"}, a.JSON)
		} else {
			require.NotContains(t, a.JSON, "sub")
		}
		st.stillWorks(t, false)
	})
}

// FuzzJSONTokenRequest: the same where bodies are JSON and a part may be elsewhere
// (Config.Decode): a token only if encoding/json finds the credentials there too.
func FuzzJSONTokenRequest(f *testing.F) {
	for _, body := range []string{`{"grant_type":"client_credentials","client_id":"machine","client_secret":"{secret}","scope":"read"}`,
		`{"grant_type":"refresh_token","client_id":"spa","refresh_token":"{spa.refresh}"}`, `{"grant_type":"refresh_token","client_id":"web","client_secret":"{secret}","refresh_token":"{web.refresh}"}`,
		`{"grant_type":"authorization_code","client_id":"spa","code":"{spa.code}","code_verifier":"{spa.verifier}","redirect_uri":"https://client.example/callback"}`} {
		f.Add("application/json", "", body)
		f.Add("application/json; charset=utf-8", "", "\ufeff"+body)
		f.Add("application/json", "grant_type=client_credentials", body)
		f.Add("application/json", "", strings.Replace(body, `"client_id"`, `"client_id":"web","client_id"`, 1))
		f.Add("application/json", "", strings.Replace(body, `"client_id"`, `"CLIENT_ID"`, 1))
		f.Add("application/json", "", strings.Replace(body, `"client_id"`, `"client\u005fid"`, 1))
		f.Add("application/json", "", strings.Replace(body, `":"`, `":["`, 1))
		f.Add("application/json", "", strings.Replace(body, `{"`, `{"x":[[[[{}]]]],"`, 1))
		f.Add("application/json", "", body+body)
	}
	f.Add(formType, "", "grant_type=client_credentials&client_id=machine&client_secret={secret}&scope=read")
	st := newStage(f, func(c *oauth.Config) {
		c.Decode = oauth.Merge(oauth.FormBody, oauth.JSONBody, oauth.Query("grant_type", "scope"))
	})
	f.Fuzz(func(t *testing.T, media, query, body string) {
		at := st.act(attempt{"POST", "/oauth/token", query, media, "", "", body})
		a := st.try(t, at)
		if a.Status != 200 {
			require.NotContains(t, a.JSON, "access_token")
			st.stillWorks(t, false)
			return
		}
		if kind, _, _ := mime.ParseMediaType(media); kind == formType {
			st.stillWorks(t, true) // that is FuzzTokenRequest
			return
		}
		var v map[string]any
		require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(at.body, "\ufeff")), &v))
		id, _ := v["client_id"].(string)
		secret := v["client_secret"] == oauthtest.Secret
		live := v["refresh_token"] == st.props["{"+id+".refresh}"] || v["code"] == st.props["{"+id+".code}"] && v["code_verifier"] == st.props["{"+id+".verifier}"] || v["refresh_token"] == foreignToken
		require.True(t, id == oauthtest.MachineClient && secret || live && (id == oauthtest.WebClient && secret || id == oauthtest.SPAClient), "%s", at.body)
		st.stillWorks(t, true)
	})
}

// FuzzImportRequest: a foreign refresh token is adopted once, whatever its text; a text
// that differs is another token; and no scope comes with it that the client may not have.
func FuzzImportRequest(f *testing.F) {
	f.Add("token-of-before", "token-of-before ", "read", false)
	f.Add("a", "b", "read admin", true)
	f.Add("\x00", "é", "", false)
	f.Add(strings.Repeat("x", 5000), "A_A.B-C~/+=", "write", true)
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "a.b.c", "read write", false)
	var scope string
	st := newStage(f, func(c *oauth.Config) {
		before := c.Import
		c.Import = func(ctx context.Context, client *oauth.Client, token string) (*oauth.Approval, error) {
			if token == foreignToken || strings.HasPrefix(token, "no") {
				return before(ctx, client, token)
			}
			return &oauth.Approval{Subject: "bob", Scopes: strings.Fields(scope)}, nil
		}
	})
	f.Fuzz(func(t *testing.T, one, two, scopes string, revoked bool) {
		scope = ""
		for _, n := range strings.Fields(scopes) { // a hook's own mistakes are another matter
			if n == "read" || n == "write" || n == "admin" {
				scope += n + " "
			}
		}
		ask := func(path, name, token string) *oauthtest.Answer {
			return st.try(t, attempt{"POST", path, "", formType, "Basic " + basicOf(oauthtest.WebClient), "", "grant_type=refresh_token&" + name + "=" + url.QueryEscape(token)})
		}
		records := func() int { return len(st.vault.dump(t)) - len(st.base) }
		first := ask("/oauth/token", "refresh_token", one)
		if first.Status != 200 {
			require.Zero(t, records())
			st.stillWorks(t, false)
			return
		}
		require.False(t, strings.HasPrefix(one, "no") || strings.Contains(scope, "admin"), "%q %q", one, scope)
		require.True(t, within(first.String("scope"), strings.Fields(scope)...))
		if len(one) > 20 {
			require.NotContains(t, string(first.Body), one)
		}
		require.Equal(t, 1, records())
		if revoked {
			r := st.send(attempt{"POST", "/oauth/revoke", "", formType, "Basic " + basicOf(oauthtest.WebClient), "", "token=" + url.QueryEscape(one)})
			require.Equal(t, 200, r.Status)
		}
		again := st.send(attempt{"POST", "/oauth/token", "", formType, "Basic " + basicOf(oauthtest.WebClient), "", "grant_type=refresh_token&refresh_token=" + url.QueryEscape(one)})
		require.Equal(t, revoked, again.Status != 200, "%s", again.Body)
		require.Equal(t, 1, records(), "adopted twice")
		if !revoked {
			require.Equal(t, first.String("refresh_token"), again.String("refresh_token"), "of the same generation")
		}
		other := st.send(attempt{"POST", "/oauth/token", "", formType, "Basic " + basicOf(oauthtest.WebClient), "", "grant_type=refresh_token&refresh_token=" + url.QueryEscape(two)})
		if other.Status == 200 && two != one {
			require.Equal(t, 2, records())
			require.NotEqual(t, first.String("refresh_token"), other.String("refresh_token"))
		}
		st.stillWorks(t, true)
	})
}

func basicOf(id string) string {
	return base64.StdEncoding.EncodeToString([]byte(id + ":" + oauthtest.Secret))
}

// FuzzAssertionRequest: a client that signs: whatever header and claims it signs or
// somebody else does, a token only for those that encoding/json finds right, and once.
func FuzzAssertionRequest(f *testing.F) {
	const now = 1893553745 // of the stage
	good := func(change string) string {
		return `{"iss":"signer","sub":"signer","aud":"https://as.example","exp":` + fmt.Sprint(now+60) + `,"iat":` + fmt.Sprint(now) + `,"jti":"1"` + change + `}`
	}
	for _, header := range []string{`{"alg":"ES256","kid":"1"}`, `{"alg":"ES256"}`, `{"alg":"ES256","typ":"JWT","kid":"1"}`, `{"alg":"none"}`, `{"alg":"HS256"}`, `{"alg":"ES256","kid":"2"}`, `{"alg":"ES256","typ":"at+jwt"}`,
		`{"alg":"ES256","crit":["x"],"x":1}`, `{"alg":"ES256","jwk":{}}`, `{"alg":"ES256","alg":"none"}`, `{"alg":"ES256","typ":"client-authentication+jwt"}`} {
		f.Add(header, good(""), "", byte(0))
	}
	for _, claims := range []string{good(`,"nbf":1`), good(`,"iss":"signer"`), good(`,"x":{"y":[1]}`), strings.Replace(good(""), `"https://as.example"`, `["https://as.example"]`, 1), strings.Replace(good(""), `"https://as.example"`, `["https://as.example","x"]`, 1),
		strings.Replace(good(""), `"jti":"1"`, `"jti":""`, 1), strings.Replace(good(""), `"jti":"1"`, `"jti":1`, 1), strings.Replace(good(""), `"iat":`, `"nbf":`, 1), strings.Replace(good(""), `"exp":`, `"x":`, 1), strings.Replace(good(""), `,"exp":18`, `,"exp":98`, 1),
		strings.Replace(good(""), `"sub":"signer"`, `"sub":"web"`, 1), good("")[1:], `{}`, `null`} {
		f.Add(`{"alg":"ES256","kid":"1"}`, claims, "", byte(0))
	}
	f.Add(`{"alg":"ES256","kid":"1"}`, good(""), "", byte(1))
	f.Add(`{"alg":"ES256","kid":"1"}`, good(""), "&client_id=signer", byte(0))
	f.Add(`{"alg":"ES256","kid":"1"}`, good(""), "&client_id=machine", byte(0))
	f.Add(`{"alg":"ES256","kid":"1"}`, good(""), "&client_secret={secret}", byte(0))
	key, other := esKey(f, "1"), esKey(f, "1")
	set := publicJWKS(f, key)
	st := newStage(f, func(c *oauth.Config) {
		c.Clients = oauth.StaticClients(client(c, oauthtest.WebClient), client(c, oauthtest.SPAClient), client(c, oauthtest.MachineClient), client(c, oauthtest.APIClient),
			oauth.Client{ID: signer, JWKS: set, Grants: []string{"client_credentials"}, Scopes: []string{"read"}})
	})
	require.Equal(f, int64(now), st.Clock.Now().Unix())
	f.Fuzz(func(t *testing.T, header, claims, more string, forged byte) {
		sign := es256(key)
		if forged%4 == 1 {
			sign = es256(other)
		} else if forged%4 == 2 {
			sign = hs256(set)
		}
		b64 := base64.RawURLEncoding.EncodeToString
		input := b64([]byte(header)) + "." + b64([]byte(claims))
		assertion := input + "." + b64(sign([]byte(input)))
		at := st.act(attempt{method: "POST", path: "/oauth/token", media: formType,
			body: "grant_type=client_credentials&scope=read&client_assertion_type=" + url.QueryEscape(assertionURN) + "&client_assertion=" + assertion + more})
		a := st.try(t, at)
		if a.Status == 200 && !strings.Contains(at.body, oauthtest.Secret) {
			require.True(t, forged%4 != 1 && forged%4 != 2, "signed by another key")
			wantAssertion(t, header, claims, now)
			replay := st.send(at)
			require.Equal(t, 401, replay.Status, "used twice")
		}
		st.stillWorks(t, true)
	})
}

// wantAssertion asserts that encoding/json finds header and claims right.
func wantAssertion(t *testing.T, header, claims string, now float64) {
	t.Helper()
	var h, c map[string]any
	require.NoError(t, json.Unmarshal([]byte(header), &h))
	require.NoError(t, json.Unmarshal([]byte(claims), &c))
	require.Equal(t, "ES256", h["alg"])
	require.NotContains(t, h, "crit")
	typ, _ := h["typ"].(string)
	require.Contains(t, []string{"", "jwt", "client-authentication+jwt"}, strings.TrimPrefix(strings.ToLower(typ), "application/"))
	require.Equal(t, signer, c["iss"])
	require.Equal(t, signer, c["sub"])
	if c["aud"] != oauthtest.Issuer {
		require.Equal(t, []any{oauthtest.Issuer}, c["aud"])
	}
	require.IsType(t, 0.5, c["exp"])
	require.IsType(t, 0.5, c["iat"])
	require.Greater(t, c["exp"], now)
	require.LessOrEqual(t, c["exp"], now+3630+1)
	require.Less(t, c["iat"], now+31)
	if c["nbf"] != nil {
		require.Less(t, c["nbf"], now+31)
	}
	require.IsType(t, "", c["jti"])
	require.NotEmpty(t, c["jti"])
}

// FuzzPresentedToken: of each format, no text is an access token but one that was issued.
func FuzzPresentedToken(f *testing.F) {
	for _, text := range []string{"{0}", "{1}", "{2}", "{0}A", "{1}=", "{1}.", " {0}", "{0}{0}", "{1}.{1}", "A{0}", "", ".", "..", "a.b.c", "{refresh}", "{code}", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.", strings.Repeat("A", 140), "\x00", "é"} {
		f.Add(text)
	}
	formats := []oauth.Format{oauth.Opaque{}, oauth.JWT{InsecureSymmetricKey: oauth.NewSecret()}, oauth.Opaque{Hex: true}}
	var stages []*stage
	var pairs, live []string
	for i, format := range formats {
		st := newStage(f, func(c *oauth.Config) { c.AccessToken = format })
		stages = append(stages, st)
		live = append(live, st.props["{web.access}"], st.props["{spa.access}"], st.props["{machine.access}"])
		pairs = append(pairs, fmt.Sprint("{", i, "}"), st.props["{web.access}"], fmt.Sprint("{m", i, "}"), st.props["{machine.access}"])
	}
	marks := strings.NewReplacer(append(pairs, "{refresh}", stages[0].props["{web.refresh}"], "{code}", stages[0].props["{web.code}"])...)
	f.Fuzz(func(t *testing.T, text string) {
		text = marks.Replace(text)
		for i, st := range stages {
			st.Store.Reset() // it keeps every call
			token, err := st.VerifyToken(t.Context(), text)
			if err != nil {
				require.ErrorIs(t, err, oauth.InvalidToken)
				require.Nil(t, token)
				require.NotContains(t, live[3*i:3*i+3], text)
				if len(text) > 20 {
					require.NotContains(t, err.Error(), text)
				}
				continue
			}
			require.Contains(t, live[3*i:3*i+3], text)
		}
	})
}
