package oauth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// stringsOf collects every string of a dump: the columns, Data as it is, the
// names and values inside it, and whatever these decode to.
func stringsOf(t testing.TB, records []oauth.Record) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	var value func(any)
	value = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, inner := range v {
				found[name] = true
				value(inner)
			}
		case []any:
			for _, inner := range v {
				value(inner)
			}
		case nil:
		default:
			found[fmt.Sprint(v)] = true
		}
	}
	for _, r := range records {
		for _, column := range []string{r.ID, string(r.Kind), r.ClientID, r.Subject, string(r.Data)} {
			found[column] = true
		}
		_, id, _ := strings.Cut(r.ID, "_")
		found[id] = true
		if len(r.Data) == 0 {
			continue
		}
		decoder := json.NewDecoder(bytes.NewReader(r.Data))
		decoder.UseNumber()
		var all map[string]any
		require.NoError(t, decoder.Decode(&all))
		value(all)
	}
	for text := range found {
		for _, b := range decoded(text) {
			for _, part := range append([][]byte{b}, windows(b)...) {
				found[string(part)] = true
				found[base64.RawURLEncoding.EncodeToString(part)] = true
				found[hex.EncodeToString(part)] = true
			}
		}
	}
	delete(found, "")
	return found
}

// decoded is what a text may mean in the usual encodings.
func decoded(text string) [][]byte {
	var all [][]byte
	for _, e := range []*base64.Encoding{base64.RawURLEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.StdEncoding} {
		if b, err := e.DecodeString(text); err == nil && len(b) > 0 {
			all = append(all, b)
			break
		}
	}
	if b, err := hex.DecodeString(text); err == nil && len(b) > 0 {
		all = append(all, b)
	}
	return all
}

// windows are the parts of a head and of a MAC: id, nonce, mark, and every part
// that is as long as a code.
func windows(b []byte) [][]byte {
	var all [][]byte
	switch len(b) {
	case 72:
		all = append(all, b[32:64], b[64:72], b[32:])
	case 33:
		all = append(all, b[1:], b[1:17], b[1:21])
	}
	for i := 0; i+41 <= len(b) && len(b) < 100; i++ {
		all = append(all, b[i:i+41])
	}
	return all
}

// A burglar tries a text at every endpoint, as every kind of credential.
type burglar struct {
	s    *oauthtest.Server
	open oauthtest.Code // whose verifier the burglar knows
	page *page          // whose cookie too
}

// accepted names the uses for which the text was good.
func (b burglar) accepted(text string) []string {
	var good []string
	try := func(as string, accepted bool) {
		if accepted {
			good = append(good, as)
		}
	}
	form := b.open.Form()
	form.Set("code", text)
	try("code", b.s.Token(b.open.Client, form).Status == 200)
	try("refresh token", b.s.Refresh(b.open.Client, text).Status == 200)
	try("access token", b.s.Introspect(text).JSON["active"] == true)
	_, err := b.s.VerifyToken(context.Background(), text)
	try("access token in process", err == nil)
	if !strings.ContainsAny(text, "\x00\r\n") {
		try("access token at userinfo", b.s.Get("/oauth/userinfo", text).Status == 200)
	}
	for _, id := range []string{oauthtest.WebClient, oauthtest.MachineClient, oauthtest.APIClient} {
		secret := url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}
		try("secret of "+id, postAs(b.s, secret, id, text).Status != 401)
	}
	p := *b.page
	p.handle = url.QueryEscape(text)
	try("handle", p.decide(b.s).Status == 303)
	return good
}

// S363: a copy of the database contains no usable credential.
func TestDumpHasNothingToUse(t *testing.T) {
	const web, spa, machine = oauthtest.WebClient, oauthtest.SPAClient, oauthtest.MachineClient
	for _, c := range []struct {
		name   string
		config func(*oauth.Config)
	}{
		{"V060 V061 S363 opaque", func(*oauth.Config) {}},
		{"S363 opaque in hexadecimal", func(c *oauth.Config) {
			c.AccessToken, c.RefreshToken = oauth.Opaque{Hex: true}, oauth.Opaque{Hex: true}
		}},
		{"S363 JWT", func(c *oauth.Config) { c.AccessToken = oauth.JWT{InsecureSymmetricKey: oauth.NewSecret()} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, implicit, imports, resources, c.config)
			var issued []string
			keep := func(a *oauthtest.Answer) *oauthtest.Answer {
				require.Less(t, a.Status, 400, "%s", a.Body)
				_, params := a.Location()
				for _, v := range []string{a.String("access_token"), a.String("refresh_token"), params.Get("code"), params.Get("access_token")} {
					if v != "" {
						issued = append(issued, v)
					}
				}
				return a
			}
			detailed(l.Server, "alice")
			a, first := l.Authorize(web, url.Values{"scope": {"read"}, "resource": {"https://api.example"}})
			keep(a)
			keep(l.Refresh(spa, keep(l.Redeem(l.Code(spa))).String("refresh_token")))
			ended := keep(l.Redeem(l.Code(web))) // ended by its client
			revoke(l.Server, web, ended.String("refresh_token"))
			dead := keep(l.Redeem(l.Code(web))) // its access tokens ended
			revoke(l.Server, web, dead.String("access_token"))
			spent := l.Server.ClientToken(oauthtest.MachineClient, "read")
			revoke(l.Server, machine, spent)
			bare := l.Server.ClientToken(oauthtest.MachineClient, "read")
			issued = append(issued, spent, bare)
			keep(l.Refresh(web, foreignToken))
			old, _ := l.Authorize("old", url.Values{"response_type": {"token"}})
			keep(old)
			live := keep(l.Redeem(l.Code(web)))
			waiting := open(t, l.Server, web, nil)
			issued = append(issued, waiting.handle, waiting.cookie.Value, foreignToken, oauthtest.Secret, first.Verifier)

			dump := l.vault.dump(t)
			found := stringsOf(t, dump)
			require.Greater(t, len(found), 300)
			whole := string(fmt.Appendf(nil, "%+v", dump))
			for _, text := range issued {
				require.False(t, found[text])
				require.NotContains(t, whole, text)
				for _, b := range decoded(strings.ReplaceAll(text, ".", "")) {
					if len(b) == 41 { // its MAC is nowhere
						text = string(b[21:])
					}
				}
				for other := range found {
					require.NotContains(t, other, text)
				}
			}

			b := burglar{l.Server, first, waiting}
			for text := range found {
				require.Empty(t, b.accepted(text), "%q of the dump was accepted", text)
			}
			require.Equal(t, dump, l.vault.dump(t), "and nothing has changed")

			// Had there been one, this would have found it.
			assert.Equal(t, []string{"code"}, b.accepted(first.Code))
			assert.Equal(t, []string{"refresh token"}, b.accepted(live.String("refresh_token")))
			assert.Contains(t, b.accepted(live.String("access_token")), "access token at userinfo")
			assert.Contains(t, b.accepted(bare), "access token in process")
			assert.Contains(t, b.accepted(oauthtest.Secret), "secret of "+machine)
			assert.Contains(t, b.accepted(waiting.handle), "handle")
		})
	}
}

// Fuzzing of whole requests. The handler must never panic (a panic is a 500) nor
// answer 5xx.

// fuzzed is a request whose parts come from outside.
func fuzzed(method, path, query, contentType, authorization, body string) *http.Request {
	r := httptest.NewRequest(method, oauthtest.Issuer+path, strings.NewReader(body))
	r.URL.RawQuery = query
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

const formMedia = "application/x-www-form-urlencoded"

func FuzzAuthorizeRequest(f *testing.F) {
	good := url.Values{"response_type": {"code"}, "client_id": {"spa"}, "redirect_uri": {oauthtest.Callback}, "scope": {"read"}, "state": {"x y"},
		"code_challenge_method": {"S256"}, "code_challenge": {strings.Repeat("A", 43)}}.Encode()
	f.Add(false, good, "")
	f.Add(true, "", good)
	f.Add(true, good, "interaction=AAAA")
	f.Add(false, good+"&redirect_uri=https://evil.example", "")
	f.Add(false, strings.Replace(good, "client.example", "client.example%40evil.example", 1), "")
	f.Add(false, strings.Replace(good, "callback", "callback%2F..%2F%0d%0aLocation:%20https:%2F%2Fevil.example", 1), "")
	f.Add(false, strings.Replace(good, "response_type=code", "response_type=token+code&response_mode=query", 1), "")
	f.Add(false, "client_id=spa&response_type=code&state=%00%zz", "")
	f.Add(false, "interaction=AAAA;&%", "")
	s := newServer(f, implicit)
	f.Fuzz(func(t *testing.T, post bool, query, body string) {
		method := http.MethodGet
		if post {
			method = http.MethodPost
		}
		a := s.Do(fuzzed(method, "/oauth/authorize", query, formMedia, "", body))
		require.Less(t, a.Status, 500, "%s", a.Body)
		to := a.Header.Get("Location")
		if to == "" {
			require.GreaterOrEqual(t, a.Status, 400)
			return
		}
		require.Equal(t, http.StatusSeeOther, a.Status)
		require.NotContains(t, to, "\n")
		if strings.HasPrefix(to, oauthtest.Issuer+"/oauth/authorize?") {
			require.True(t, post, "the same request as GET")
			return
		}
		require.True(t, strings.HasPrefix(to, oauthtest.Callback+"?") || strings.HasPrefix(to, oauthtest.Callback+"#"), to)
		u, err := url.Parse(to)
		require.NoError(t, err)
		require.Equal(t, "client.example", u.Host)
		require.NotContains(t, u.RawQuery, "access_token")
	})
}

func FuzzTokenRequest(f *testing.F) {
	s := newServer(f)
	code, issued := s.Code(oauthtest.WebClient), s.Redeem(s.Code(oauthtest.WebClient))
	live := issued.String("refresh_token")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("web:"+oauthtest.Secret))
	f.Add("Basic d2ViOndyb25n", formMedia, code.Form().Encode(), false)
	f.Add("", formMedia, code.Form().Encode()+"&client_id=web", false)
	f.Add("", formMedia, code.Form().Encode()+"&client_id=spa", false)
	f.Add("", formMedia, "grant_type=refresh_token&client_id=spa&refresh_token="+live, false)
	f.Add("", formMedia, "grant_type=client_credentials&client_id=machine&client_secret=wrong&scope=read", false)
	f.Add("", "application/json", `{"grant_type":"client_credentials"}`, false)
	f.Add("Bearer x", formMedia, "grant_type=&scope=%", false)
	f.Add("Basic \x00", formMedia+"; charset=utf-8", "grant_type=refresh_token&refresh_token=%ff&&=", true)
	f.Add("", formMedia, "grant_type=refresh_token&refresh_token="+live[:40], true)
	f.Add("", formMedia, "grant_type=authorization_code&code="+code.Code+"&code_verifier="+strings.Repeat("A", 43), true)
	f.Add("", formMedia, "grant_type=refresh_token&refresh_token="+live+"&scope=admin", true)
	f.Add("", formMedia, "grant_type=refresh_token&refresh_token="+live, true)
	f.Add("", formMedia, code.Form().Encode(), true)
	f.Fuzz(func(t *testing.T, authorization, contentType, body string, authenticated bool) {
		knows := strings.Contains(authorization, "correct") || strings.Contains(body, "correct") || strings.Contains(authorization, basic[6:])
		if authenticated {
			authorization = basic
		}
		a := s.Do(fuzzed(http.MethodPost, "/oauth/token", "", contentType, authorization, body))
		require.Less(t, a.Status, 500, "%s", a.Body)
		require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		require.Empty(t, a.Header.Get("Location"))
		if a.Status != 200 {
			noCredential(t, a)
			require.NotEmpty(t, a.String("error"))
			return
		}
		require.True(t, authenticated || knows, "a token without authentication")
		v, err := url.ParseQuery(body)
		require.NoError(t, err)
		require.True(t, v.Get("refresh_token") != "" || v.Get("code_verifier") == code.Verifier, "a token without a credential")
	})
}

// owns reports whether the token is one of these.
func owns(issued *oauthtest.Answer, token string) bool {
	return token == issued.String("access_token") || token == issued.String("refresh_token")
}

func FuzzRevokeRequest(f *testing.F) {
	s := newServer(f)
	mine, other := s.Redeem(s.Code(oauthtest.WebClient)), s.Redeem(s.Code(oauthtest.SPAClient))
	f.Add("", "token="+mine.String("refresh_token"), false)
	f.Add("", "token="+other.String("refresh_token"), true)
	f.Add("", "token="+other.String("access_token")+"&token_type_hint=refresh_token", true)
	f.Add("", "token="+mine.String("access_token")[:60], true)
	f.Add("Basic d2ViOg==", "token=%00&token=", false)
	f.Add("", "token=a.b.c", true)
	f.Add("", "client_id=spa&token="+mine.String("access_token"), false)
	f.Fuzz(func(t *testing.T, authorization, body string, authenticated bool) {
		v, _ := url.ParseQuery(body)
		if owns(mine, v.Get("token")) && authenticated || owns(other, v.Get("token")) && v.Get("client_id") == oauthtest.SPAClient {
			return // it is that client's own revocation
		}
		if authenticated {
			authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte("web:"+oauthtest.Secret))
		}
		a := s.Do(fuzzed(http.MethodPost, "/oauth/revoke", "", formMedia, authorization, body))
		require.Less(t, a.Status, 500, "%s", a.Body)
		for _, issued := range []*oauthtest.Answer{mine, other} {
			_, err := s.VerifyToken(t.Context(), issued.String("access_token"))
			require.NoError(t, err, "a stranger's request revoked it")
		}
	})
}

func FuzzIntrospectRequest(f *testing.F) {
	s := newServer(f)
	issued := s.Redeem(s.Code(oauthtest.WebClient))
	access, refresh := issued.String("access_token"), issued.String("refresh_token")
	f.Add("", "token="+access, false)
	f.Add("", "token="+access, true)
	f.Add("", "token="+refresh, true)
	f.Add("", "token="+access+"A", true)
	f.Add("Basic YXBpOg==", "token="+access, false)
	f.Add("", "client_id=spa&token="+access, false)
	f.Add("", "token=..&token_type_hint=%ff", true)
	f.Fuzz(func(t *testing.T, authorization, body string, authenticated bool) {
		if authenticated {
			authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte("api:"+oauthtest.Secret))
		} else if strings.Contains(body, "correct") || strings.Contains(authorization, "Y29ycmVjd") {
			return
		}
		a := s.Do(fuzzed(http.MethodPost, "/oauth/introspect", "", formMedia, authorization, body))
		require.Less(t, a.Status, 500, "%s", a.Body)
		if a.JSON["active"] != true {
			return
		}
		v, err := url.ParseQuery(body)
		require.NoError(t, err)
		require.True(t, authenticated, "active without authentication")
		require.Equal(t, access, v.Get("token"), fmt.Sprint("active: ", body))
	})
}
