package pages_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/pages"
)

// A scene is a consent page that alice has before her, in a browser of which every
// input may have the cookies or not.
type scene struct {
	s       *oauthtest.Server
	handler http.Handler
	log     strings.Builder
	handle  string
	session string
	jar     string // the Cookie header of the browser
	marks   *strings.Replacer
}

func newScene(t testing.TB) *scene {
	t.Helper()
	sc := new(scene)
	sc.s = start(t, func(p *pages.Config, c *oauth.Config) {
		c.Events = nil // the kit keeps every event
		c.Logger = slog.New(slog.NewTextHandler(&sc.log, nil))
		p.Logger = c.Logger
		p.Address = func(*http.Request) netip.Addr { return netip.Addr{} }
	})
	sc.handler = sc.s.Server.Handler()
	b := newBrowser(t, sc.s)
	p := b.consent("alice")
	sc.handle, sc.session = p.fields.Get("interaction"), b.session()
	u, err := url.Parse(endpoint)
	require.NoError(t, err)
	var all, own []string
	for _, c := range b.jar.Cookies(u) {
		all = append(all, c.Name+"="+c.Value)
		if c.Name != cookie {
			own = append(own, c.Name+"="+c.Value)
		}
	}
	require.NotEmpty(t, sc.handle)
	require.NotEmpty(t, own)
	sc.jar = strings.Join(all, "; ")
	sc.marks = strings.NewReplacer("{all}", sc.jar, "{browser}", strings.Join(own, "; "), "{session}", cookie+"="+sc.session, "{handle}", sc.handle, "{password}", password)
	return sc
}

func (sc *scene) send(method, query, cookies, site, body string) *oauthtest.Answer {
	r := httptest.NewRequest(method, endpoint, strings.NewReader(body))
	r.URL.RawQuery = query
	for name, value := range map[string]string{"Cookie": cookies, "Sec-Fetch-Site": site, "Content-Type": "application/x-www-form-urlencoded"} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	sc.log.Reset()
	rec := httptest.NewRecorder()
	sc.handler.ServeHTTP(rec, r)
	return &oauthtest.Answer{Status: rec.Code, Header: rec.Result().Header, Body: rec.Body.Bytes()}
}

// FuzzPost: whatever is sent to the pages, a code needs the session, the cookie of the
// interaction, its handle, the button and a form from the server's own pages; a session
// needs the password; and nothing that was typed comes back but the name, escaped.
func FuzzPost(f *testing.F) {
	for _, jar := range []string{"{all}", "{browser}", "{session}", "", cookie + "=x; {browser}", "{all}; " + cookie + "=x"} {
		for _, body := range []string{"interaction={handle}&decision=approve", "interaction={handle}&decision=deny", "interaction={handle}&decision=switch", "interaction={handle}&username=bob&password={password}",
			"interaction={handle}&username=bob&password=a-wrong-one", "interaction={handle}&decision=approve&scope=read&scope=admin&user=x", "interaction={handle}&username=%3Cscript%3E&password=%00"} {
			f.Add(true, "", jar, "same-origin", body)
			f.Add(true, "", jar, "cross-site", body)
			f.Add(true, "", jar, "", body)
			f.Add(true, body, jar, "same-origin", "")
			f.Add(false, body, jar, "", "")
		}
	}
	sc := newScene(f)
	runs := 0
	f.Fuzz(func(t *testing.T, post bool, query, cookies, site, body string) {
		if runs++; runs%5000 == 0 {
			sc = newScene(t) // names that were tried are counted
		}
		query, cookies, body = sc.marks.Replace(query), sc.marks.Replace(cookies), sc.marks.Replace(body)
		method := http.MethodGet
		if post {
			method = http.MethodPost
		}
		sc.s.Store.Reset()
		a := sc.send(method, query, cookies, site, body)
		log := sc.log.String()
		require.Less(t, a.Status, 500, "%s", a.Body)
		require.NotContains(t, log, "level=ERROR")
		require.Equal(t, []string{"no-store"}, a.Header["Cache-Control"])
		q, _ := url.ParseQuery(query)
		b, _ := url.ParseQuery(body)
		text := string(a.Body)
		for _, value := range []string{password, sc.session} {
			require.NotContains(t, text, value)
			require.NotContains(t, log, value)
			misplaced := strings.Contains(query, value) // in a URL, or where no secret belongs: so it goes on
			for name, values := range b {
				misplaced = misplaced || name != "password" && (strings.Contains(name, value) || strings.Contains(strings.Join(values, " "), value))
			}
			if !misplaced {
				require.NotContains(t, a.Header.Get("Location"), value)
			}
		}
		for _, value := range slices.Concat(q["username"], b["username"], q["password"], b["password"], b["decision"]) {
			if strings.ContainsAny(value, `<"`) && len(value) > 3 {
				require.False(t, strings.Contains(text, value) && !strings.Contains(consentPage(t, sc), value), "%q is on the page as it came", value)
			}
		}
		to, params := a.Location()
		if a.Status == http.StatusSeeOther {
			require.Contains(t, []string{oauthtest.Callback, endpoint}, to)
		} else {
			require.Empty(t, to)
			require.Equal(t, []string{"text/html; charset=utf-8"}, a.Header["Content-Type"])
			require.NotEmpty(t, a.Header.Get("Content-Security-Policy"))
		}
		for _, c := range (&http.Response{Header: a.Header}).Cookies() {
			if c.Name == cookie && c.Value != "" && c.MaxAge >= 0 {
				require.Contains(t, b["password"], password, "signed in without the password")
				require.True(t, post && b.Has("username") && site != "cross-site")
				require.True(t, c.Secure && c.HttpOnly, c)
			}
		}
		if to != oauthtest.Callback || !params.Has("code") {
			require.NotContains(t, sc.s.Store.Methods(), "Create")
			require.NotContains(t, sc.s.Store.Methods(), "Update")
			require.Contains(t, consentPage(t, sc), `value="approve"`, "the good browser goes on")
			return
		}
		require.True(t, post && slices.Contains(slices.Concat(q["interaction"], b["interaction"]), sc.handle), "approved without the handle")
		require.Contains(t, b["decision"], "approve")
		require.Contains(t, cookies, sc.session)
		require.NotContains(t, []string{"cross-site", "same-site", ""}, site)
		sc = newScene(t)
	})
}

// consentPage is that of the good browser.
func consentPage(t *testing.T, sc *scene) string {
	t.Helper()
	a := sc.send(http.MethodGet, "interaction="+url.QueryEscape(sc.handle), sc.jar, "", "")
	require.Equal(t, http.StatusOK, a.Status)
	return string(a.Body)
}
