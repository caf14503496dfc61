package pages_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/pages"
)

const (
	issuer    = oauthtest.Issuer
	endpoint  = issuer + "/oauth/authorize"
	verifier  = "a-code-verifier-of-more-than-forty-three-characters"
	cookie    = "__Host-oauth-session"
	password  = "correct-horse" // of everybody
	loopback  = "http://127.0.0.1:5000/cb"
	appScheme = "com.example.app://bank.example/cb"
)

// start makes a server whose users are all names that begin with a letter, with
// one password; the edits change what is built.
func start(t testing.TB, edits ...func(*pages.Config, *oauth.Config)) *oauthtest.Server {
	t.Helper()
	return oauthtest.NewServer(t, func(cfg *oauth.Config) {
		cfg.Scopes = append(cfg.Scopes, oauth.Scope{Name: "profile", Description: "Know your name", Optional: true}, oauth.Scope{Name: "bare"},
			oauth.Scope{Name: "hostile", Description: hostile, Optional: true})
		scopes := []string{"read", "write", "profile", "bare"}
		cfg.Clients = oauth.StaticClients(
			oauth.Client{ID: oauthtest.SPAClient, Name: "Browser Client", Public: true, RedirectURIs: []string{oauthtest.Callback}, Scopes: scopes},
			oauth.Client{ID: "native", Name: "Native Client", Public: true, RedirectURIs: []string{loopback, appScheme}, Scopes: scopes},
			oauth.Client{ID: "hostile", Name: hostile, Public: true, RedirectURIs: []string{oauthtest.Callback}, Scopes: append(scopes, "hostile")},
			oauth.Client{ID: oauthtest.APIClient, Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, Grants: []string{}, Introspect: true},
		)
		pc := pages.Config{Issuer: cfg.Issuer, Secrets: cfg.Secrets, Login: login, Now: cfg.Now}
		for _, edit := range edits {
			edit(&pc, cfg)
		}
		p, err := pages.New(pc)
		require.NoError(t, err)
		cfg.Interact = p.Interact
	})
}

func login(_ context.Context, name, given string) (*pages.User, error) {
	if given != password {
		return nil, nil
	}
	return &pages.User{Subject: strings.ToLower(name), Name: strings.ToUpper(name[:1]) + name[1:] + " Example"}, nil
}

// A browser keeps cookies as browsers do.
type browser struct {
	t       testing.TB
	s       *oauthtest.Server
	jar     http.CookieJar
	address string // "" is that of httptest
}

func newBrowser(t testing.TB, s *oauthtest.Server) *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{t: t, s: s, jar: jar}
}

// A page is an answer, with the form that was on it.
type page struct {
	*oauthtest.Answer
	text   string
	fields url.Values // hidden fields and the texts, by name
}

func (b *browser) do(r *http.Request) page {
	b.t.Helper()
	for _, c := range b.jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	r.RemoteAddr = cmp.Or(b.address, r.RemoteAddr)
	a := b.s.Do(r)
	b.jar.SetCookies(r.URL, (&http.Response{Header: a.Header}).Cookies())
	p := page{Answer: a, text: string(a.Body), fields: url.Values{}}
	for _, tag := range inputs.FindAllString(p.text, -1) {
		name, value := attribute(tag, "name"), attribute(tag, "value")
		if name != "" && !strings.Contains(tag, `type="checkbox"`) {
			p.fields.Set(name, value)
		}
	}
	return p
}

var inputs = regexp.MustCompile(`<input[^>]*>`)

func attribute(tag, name string) string {
	_, after, _ := strings.Cut(tag, " "+name+`="`)
	value, _, _ := strings.Cut(after, `"`)
	return html.UnescapeString(value)
}

func (b *browser) get(uri string) page {
	b.t.Helper()
	return b.do(httptest.NewRequest(http.MethodGet, uri, nil))
}

// post sends a form as a browser does from the same origin; change may say
// something else.
func (b *browser) post(form url.Values, change ...func(http.Header)) page {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodPost, b.s.Config.Issuer+"/oauth/authorize", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", "null") // what Referrer-Policy: no-referrer makes of it
	for _, c := range change {
		c(r.Header)
	}
	return b.do(r)
}

// press posts the form of a page with a button, and changes to its fields.
func (b *browser) press(p page, decision string, change ...string) page {
	b.t.Helper()
	form := url.Values{}
	for name, values := range p.fields {
		form[name] = values
	}
	form.Set("decision", decision)
	for i := 0; i+1 < len(change); i += 2 {
		form.Add(change[i], change[i+1])
	}
	return b.post(form)
}

// begin sends an authorization request; the changes are pairs of names and values.
func (b *browser) begin(change ...string) page {
	b.t.Helper()
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{"response_type": {"code"}, "client_id": {oauthtest.SPAClient}, "redirect_uri": {oauthtest.Callback},
		"scope": {"read write profile"}, "state": {"xyz"}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}}
	for i := 0; i+1 < len(change); i += 2 {
		q.Set(change[i], change[i+1])
	}
	return b.get(b.s.Config.Issuer + "/oauth/authorize?" + q.Encode())
}

// submit posts the login form of a page.
func (b *browser) submit(p page, name, password string) page {
	b.t.Helper()
	return b.post(url.Values{"interaction": p.fields["interaction"], "username": {name}, "password": {password}})
}

// signIn goes from the login page to the consent page.
func (b *browser) signIn(p page, name string) page {
	b.t.Helper()
	require.Contains(b.t, p.text, "current-password", "the login page")
	a := b.submit(p, name, password)
	require.Equal(b.t, http.StatusSeeOther, a.Status, a.text)
	p = b.get(a.Header.Get("Location"))
	require.Equal(b.t, http.StatusOK, p.Status)
	return p
}

// consent is the consent page of somebody who has just signed in.
func (b *browser) consent(name string, change ...string) page {
	b.t.Helper()
	p := b.signIn(b.begin(change...), name)
	isConsent(b.t, p)
	return p
}

func isConsent(t testing.TB, p page) {
	t.Helper()
	require.Contains(t, p.text, `value="approve"`, "the consent page")
	require.NotContains(t, p.text, "current-password")
}

func isLogin(t testing.TB, p page) {
	t.Helper()
	require.Contains(t, p.text, `autocomplete="current-password"`, "the login page")
	require.NotContains(t, p.text, `value="approve"`)
}

// session is the value of the session cookie; "" without one.
func (b *browser) session() string {
	u, _ := url.Parse(issuer)
	for _, c := range b.jar.Cookies(u) {
		if c.Name == cookie {
			return c.Value
		}
	}
	return ""
}

// answered is the answer to the client, which is at the callback.
func answered(t testing.TB, p page) url.Values {
	t.Helper()
	require.Equal(t, http.StatusSeeOther, p.Status, p.text)
	uri, params := p.Location()
	require.Equal(t, oauthtest.Callback, uri)
	require.Equal(t, "xyz", params.Get("state"))
	require.Equal(t, issuer, params.Get("iss"))
	return params
}

// nothing makes sure that a page sent nothing to the client and stored nothing.
func nothing(t testing.TB, s *oauthtest.Server, p page, status int) {
	t.Helper()
	require.Equal(t, status, p.Status, p.text)
	require.Empty(t, p.Header.Get("Location"))
	require.NotContains(t, s.Store.Methods(), "Create")
	require.Empty(t, s.Events(oauth.EventApproved))
}

// redeem exchanges the code of an answer and returns what the token says.
func redeem(t testing.TB, s *oauthtest.Server, p page) *oauth.Token {
	t.Helper()
	a := s.Redeem(oauthtest.Code{Client: oauthtest.SPAClient, Code: answered(t, p).Get("code"), RedirectURI: oauthtest.Callback, Verifier: verifier})
	token, err := s.VerifyToken(t.Context(), a.String("access_token"))
	require.NoError(t, err)
	return token
}

func isAlert(t testing.TB, p page, text string) {
	t.Helper()
	require.Regexp(t, `<p[^>]* role="alert"[^>]*>[^<]*`+regexp.QuoteMeta(text), p.text)
	require.Contains(t, p.text, "<title>Error: ")
}

// unix is a time as tokens carry it.
func unix(at time.Time) time.Time { return time.Unix(at.Unix(), 0) }
