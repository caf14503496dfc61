package pages_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/pages"
)

func TestLogin(t *testing.T) {
	t.Run("nobody is signed in", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		p := b.begin()
		nothing(t, s, p, http.StatusOK)
		isLogin(t, p)
		assert.Contains(t, p.text, `autocomplete="username"`)
		assert.Contains(t, p.text, `<form method="post" action="`+endpoint+`">`)
		assert.Contains(t, p.text, "Browser Client")
		assert.Contains(t, p.text, "<title>Sign in – as.example</title>")
		assert.NotContains(t, p.text, `role="alert"`)
		assert.Empty(t, b.session(), "a cookie before the sign-in")
	})
	t.Run("wrong password", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		p := b.submit(b.begin(), "Alice", "a-wrong-one")
		nothing(t, s, p, http.StatusForbidden)
		isLogin(t, p)
		isAlert(t, p, "wrong")
		assert.Equal(t, "Alice", p.fields.Get("username"))
		assert.NotContains(t, p.text, "a-wrong-one")
		assert.Empty(t, b.session())
		isConsent(t, b.signIn(p, "alice"))
	})
	t.Run("right password", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		first := b.begin()
		a := b.submit(first, "alice", password)
		require.Equal(t, http.StatusSeeOther, a.Status)
		assert.Equal(t, endpoint+"?interaction="+first.fields.Get("interaction"), a.Header.Get("Location"))
		assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		assert.Equal(t, "no-referrer", a.Header.Get("Referrer-Policy"))
		isConsent(t, b.get(a.Header.Get("Location")))
		isConsent(t, b.begin()) // and for the next application too
	})
	t.Run("name or password missing or too long", func(t *testing.T) {
		asked := 0
		s := start(t, func(p *pages.Config, _ *oauth.Config) {
			p.Login = func(context.Context, string, string) (*pages.User, error) {
				asked++
				return &pages.User{Subject: "alice"}, nil
			}
		})
		b := newBrowser(t, s)
		p := b.begin()
		nothing(t, s, b.submit(p, "", password), http.StatusBadRequest)
		nothing(t, s, b.submit(p, "alice", ""), http.StatusBadRequest)
		nothing(t, s, b.submit(p, strings.Repeat("a", 256), password), http.StatusForbidden)
		nothing(t, s, b.submit(p, "alice", strings.Repeat("p", 1025)), http.StatusForbidden)
		for _, odd := range []string{"a\x00", "alice\x00b", "\xff", "\xed\xa0\x80"} { // S016
			a := b.submit(p, odd, password)
			nothing(t, s, a, http.StatusForbidden)
			assert.Empty(t, a.fields.Get("username"))
			nothing(t, s, b.submit(p, "bob"+fmt.Sprint(len(odd)), odd), http.StatusForbidden)
		}
		assert.Zero(t, asked, "Login was asked")
		require.Equal(t, http.StatusSeeOther, b.submit(p, strings.Repeat("a", 255), strings.Repeat("p", 1024)).Status)
	})
	t.Run("Login fails", func(t *testing.T) {
		log := &strings.Builder{}
		s := start(t, func(p *pages.Config, _ *oauth.Config) {
			p.Logger = slog.New(slog.NewTextHandler(log, nil))
			p.Login = func(context.Context, string, string) (*pages.User, error) {
				return nil, errors.New("the directory is down")
			}
		})
		b := newBrowser(t, s)
		p := b.submit(b.begin(), "alice", password)
		nothing(t, s, p, http.StatusServiceUnavailable)
		assert.NotEmpty(t, p.Header.Get("Retry-After"))
		assert.NotContains(t, p.text, "directory")
		assert.Contains(t, log.String(), "the directory is down")
		assert.NotContains(t, log.String(), password)
		assert.NotContains(t, log.String(), "alice")
	})
	for name, subject := range map[string]string{"empty": "", "too long": strings.Repeat("s", 256), "no text": "\xff", "NUL": "a\x00b"} {
		t.Run("Login returns a Subject that is "+name, func(t *testing.T) {
			s := start(t, func(p *pages.Config, _ *oauth.Config) {
				p.Login = func(context.Context, string, string) (*pages.User, error) { return &pages.User{Subject: subject}, nil }
			})
			b := newBrowser(t, s)
			nothing(t, s, b.submit(b.begin(), "alice", password), http.StatusServiceUnavailable)
			assert.Empty(t, b.session())
		})
	}
	t.Run("longest Subject, a Name that is cut, a Name that is none", func(t *testing.T) {
		var user pages.User
		s := start(t, func(p *pages.Config, _ *oauth.Config) {
			p.Login = func(context.Context, string, string) (*pages.User, error) { return &user, nil }
		})
		user = pages.User{Subject: strings.Repeat("s", 255), Name: strings.Repeat("n", 254) + "é"}
		b := newBrowser(t, s)
		p := b.consent("alice")
		assert.Contains(t, p.text, "<bdi>"+strings.Repeat("n", 254)+"</bdi>")
		assert.Equal(t, user.Subject, redeem(t, s, b.press(p, "approve")).Subject)
		user = pages.User{Subject: "alice-7"}
		assert.Contains(t, newBrowser(t, s).consent("alice").text, "<bdi>alice-7</bdi>")
	})
	t.Run("cancel", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		assert.Equal(t, "access_denied", answered(t, b.press(b.begin(), "deny")).Get("error"))
		assert.Len(t, s.Events(oauth.EventDenied), 1)
	})
	t.Run("over http on a loopback address", func(t *testing.T) {
		s := start(t, func(p *pages.Config, c *oauth.Config) {
			p.Issuer = "http://127.0.0.1:8080"
			c.Issuer = p.Issuer
		})
		b := newBrowser(t, s)
		a := b.submit(b.begin(), "alice", password)
		require.Equal(t, http.StatusSeeOther, a.Status)
		c := (&http.Response{Header: a.Header}).Cookies()
		require.Len(t, c, 1)
		assert.Equal(t, "oauth-session", c[0].Name)
		assert.False(t, c[0].Secure)
		isConsent(t, b.get(a.Header.Get("Location")))
	})
}

func TestConsent(t *testing.T) {
	t.Run("what it shows", func(t *testing.T) {
		p := newBrowser(t, start(t, func(p *pages.Config, _ *oauth.Config) { p.Title = "Example Cloud" })).consent("alice", "scope", "read profile bare")
		assert.Contains(t, p.text, "<h1><bdi>Browser Client</bdi> asks for access</h1>")
		assert.Contains(t, p.text, "<bdi>Alice Example</bdi>")
		assert.Contains(t, p.text, "Not you?")
		assert.Contains(t, p.text, "Example Cloud")
		assert.Contains(t, p.text, `<strong class="host">client.example</strong>`)
		assert.Contains(t, p.text, "<li>Read your things</li>")
		assert.Contains(t, p.text, "<li>bare</li>", "a scope without Description shows its name")
		assert.NotContains(t, p.text, "Change your things", "a scope that was not asked for")
		assert.Regexp(t, `<input type="checkbox" name="scope" value="profile" checked>`, p.text)
		assert.Equal(t, 1, strings.Count(p.text, `type="checkbox"`))
		assert.NotContains(t, p.text, `class="note"`)
	})
	for _, c := range []struct{ name, redirect, host, note string }{
		{"a loopback address", loopback, "127.0.0.1:5000", "This goes to a program on your device"},
		{"RFC 8252 7.3 another port", "http://127.0.0.1:61234/cb", "127.0.0.1:61234", "This goes to a program on your device"},
		{"RFC 8252 7.1 an app, whose host means nothing", appScheme, "com.example.app:", "This goes to an app on your device"},
	} {
		t.Run("loud note for "+c.name, func(t *testing.T) {
			p := newBrowser(t, start(t)).consent("alice", "client_id", "native", "redirect_uri", c.redirect)
			assert.Contains(t, p.text, `<div class="note">`)
			assert.Contains(t, p.text, c.note)
			assert.Contains(t, p.text, `<strong class="host">`+c.host+`</strong>`)
			assert.NotContains(t, p.text, "bank.example")
		})
	}
	t.Run("approve", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		p := b.consent("alice")
		signedIn := s.Clock.Now()
		s.Clock.Advance(7 * time.Minute)
		a := b.press(p, "approve", "scope", "profile")
		token := redeem(t, s, a)
		assert.Equal(t, "alice", token.Subject)
		assert.Equal(t, []string{"read", "write", "profile"}, token.Scopes)
		assert.True(t, unix(signedIn).Equal(token.AuthTime), token.AuthTime)
	})
	t.Run("the session ends what was approved in it", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		token := redeem(t, s, b.press(b.consent("alice"), "approve"))
		other := newBrowser(t, s)
		elsewhere := redeem(t, s, other.press(other.consent("alice"), "approve"))
		all, err := s.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.NotEqual(t, all[0].Session, all[1].Session)
		session := all[0].Session
		if all[0].ID != token.AuthorizationID {
			session = all[1].Session
		}
		require.NotEmpty(t, session)
		n, err := s.Revoke(t.Context(), oauth.Selector{Session: session})
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		all, err = s.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		require.Len(t, all, 1)
		assert.Equal(t, elsewhere.AuthorizationID, all[0].ID)
	})
	t.Run("S069 cancel", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		params := answered(t, b.press(b.consent("alice"), "deny"))
		assert.Equal(t, "access_denied", params.Get("error"))
		assert.Empty(t, params.Get("code"))
		assert.Empty(t, s.Store.Calls())
	})
	t.Run("no choice, or one there is not", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		p := b.consent("alice")
		for _, decision := range []string{"", "yes", "Approve", "approve "} {
			again := b.press(p, decision)
			nothing(t, s, again, http.StatusBadRequest)
			isConsent(t, again)
			isAlert(t, again, "not one of the choices")
		}
		redeem(t, s, b.press(p, "approve"))
	})
	t.Run("a double click sends the same code", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		p := b.consent("alice")
		first, second := b.press(p, "approve"), b.press(p, "approve")
		assert.Equal(t, answered(t, first).Get("code"), answered(t, second).Get("code"))
		assert.Len(t, s.Events(oauth.EventApproved), 1)
	})
	t.Run("a double click on sign in", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		first := b.begin()
		require.Equal(t, http.StatusSeeOther, b.submit(first, "alice", password).Status)
		a := b.submit(first, "alice", password)
		require.Equal(t, http.StatusSeeOther, a.Status)
		redeem(t, s, b.press(b.get(a.Header.Get("Location")), "approve"))
	})
	t.Run("not you", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		p := b.consent("alice")
		a := b.press(p, "switch")
		require.Equal(t, http.StatusSeeOther, a.Status)
		assert.Empty(t, b.session())
		again := b.get(a.Header.Get("Location"))
		isLogin(t, again)
		p = b.signIn(again, "bob")
		assert.Contains(t, p.text, "Bob Example")
		assert.Equal(t, "bob", redeem(t, s, b.press(p, "approve")).Subject)
	})
	t.Run("without scopes", func(t *testing.T) {
		s := start(t, func(_ *pages.Config, c *oauth.Config) {
			c.Scopes = nil
			c.Clients = oauth.StaticClients(oauth.Client{ID: oauthtest.SPAClient, Public: true, RedirectURIs: []string{oauthtest.Callback}})
		})
		b := newBrowser(t, s)
		p := b.consent("alice", "scope", "")
		assert.Contains(t, p.text, "no permission in particular")
		assert.Contains(t, p.text, "<h1><bdi>spa</bdi>", "a client without a name")
		assert.Empty(t, redeem(t, s, b.press(p, "approve")).Scopes)
	})
	t.Run("every scope declined is a denial", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		assert.Equal(t, "access_denied", answered(t, b.press(b.consent("alice", "scope", "profile"), "approve")).Get("error"))
	})
}

func TestS077S088Headers(t *testing.T) {
	s := start(t, func(p *pages.Config, _ *oauth.Config) { p.Style = ":root{--accent:#060}\r\n.a>.b{color:red}\r" })
	b := newBrowser(t, s)
	loginPage := b.begin()
	consentPage := b.consent("alice")
	for name, p := range map[string]page{
		"login":       loginPage,
		"consent":     consentPage,
		"wrong":       b.submit(loginPage, "alice", "wrong"),
		"message":     b.post(consentPage.fields, func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") }),
		"no decision": b.press(consentPage, ""),
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, "DENY", p.Header.Get("X-Frame-Options"))
			assert.Equal(t, "no-referrer", p.Header.Get("Referrer-Policy"))
			assert.Equal(t, "no-store", p.Header.Get("Cache-Control"))
			assert.Equal(t, "nosniff", p.Header.Get("X-Content-Type-Options"))
			assert.Equal(t, "text/html; charset=utf-8", p.Header.Get("Content-Type"))
			_, style, ok := strings.Cut(p.text, "<style>")
			require.True(t, ok)
			style, _, _ = strings.Cut(style, "</style>")
			assert.Contains(t, style, ".a>.b{color:red}\n", "the host's own style, as a parser leaves it")
			assert.NotContains(t, p.text, "\r")
			sum := sha256.Sum256([]byte(style))
			assert.Equal(t, "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
				"'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'", p.Header.Get("Content-Security-Policy"))
			assert.NotRegexp(t, `(?i)<script|<link|<img|<iframe|\son[a-z]+=|\sstyle=|@import|url\(|javascript:`, p.text)
			assert.Equal(t, 1, strings.Count(p.text, "<h1>"), "one h1")
			assert.Contains(t, p.text, `<html lang="en">`)
			for _, tag := range regexp.MustCompile(`<(input|button)[^>]*>`).FindAllString(p.text, -1) {
				if id := attribute(tag, "id"); id != "" {
					assert.Contains(t, p.text, `<label for="`+id+`">`)
				}
			}
		})
	}
}

const hostile = `"><svg/onload=1>'</title><script>x</script>{{.}}`

func TestS080NothingIsReflectedRaw(t *testing.T) {
	s := start(t, func(p *pages.Config, _ *oauth.Config) {
		p.Title = hostile
		p.Login = func(context.Context, string, string) (*pages.User, error) {
			return &pages.User{Subject: "alice", Name: hostile}, nil
		}
	})
	b := newBrowser(t, s)
	change := []string{"client_id", "hostile", "scope", "read hostile", "login_hint", hostile, "state", hostile, "error_description", hostile, "ui_locales", hostile}
	loginPage := b.begin(change...)
	assert.Equal(t, hostile, loginPage.fields.Get("username"), "login_hint, escaped")
	wrong := b.submit(loginPage, "", hostile)
	consentPage := b.signIn(loginPage, hostile)
	isConsent(t, consentPage)
	for name, p := range map[string]page{"login": loginPage, "wrong": wrong, "consent": consentPage,
		"no decision": b.press(consentPage, hostile, "scope", hostile),
		"message":     b.post(consentPage.fields, func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") })} {
		t.Run(name, func(t *testing.T) {
			assert.NotContains(t, p.text, "<svg")
			assert.NotContains(t, p.text, "<script")
			assert.Equal(t, 1, strings.Count(p.text, "</title>"))
			assert.Contains(t, p.text, "&lt;svg/onload=1&gt;", "escaped")
			assert.NotContains(t, p.Header.Get("Content-Security-Policy"), "svg")
		})
	}
	_, params := b.press(consentPage, "approve").Location()
	assert.Equal(t, hostile, params.Get("state"), "the state goes back as it came")
	t.Run("S068 line breaks in login_hint", func(t *testing.T) {
		p := newBrowser(t, start(t)).begin("login_hint", "a\r\nLocation: https://evil.example/")
		assert.NotContains(t, p.Header, "Location")
	})
}

func TestS081Decision(t *testing.T) {
	fetchSite := func(value string) func(http.Header) {
		return func(h http.Header) { h.Set("Sec-Fetch-Site", value) }
	}
	t.Run("without the handle", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		form := b.consent("alice").fields
		form.Del("interaction")
		form.Set("decision", "approve")
		p := b.post(form)
		if p.Status == http.StatusSeeOther {
			uri, params := p.Location()
			assert.Equal(t, endpoint, uri, "restated as GET")
			assert.Empty(t, params.Get("code"))
		}
		assert.Empty(t, s.Events(oauth.EventApproved))
	})
	t.Run("without the user field, an empty one, a changed one", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		p := b.consent("alice")
		key := p.fields.Get("user")
		require.NotEmpty(t, key)
		for _, k := range []string{"", "x", key[:len(key)-1], key + "A", strings.ToLower(key) + "a"} {
			p.fields.Set("user", k)
			again := b.press(p, "approve")
			nothing(t, s, again, http.StatusForbidden)
			isConsent(t, again)
			isAlert(t, again, "Nothing was sent")
		}
		p.fields.Del("user")
		nothing(t, s, b.press(p, "approve"), http.StatusForbidden)
	})
	t.Run("with the user field of another interaction", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		first := b.consent("alice")
		second := b.begin()
		isConsent(t, second)
		first.fields.Set("user", second.fields.Get("user"))
		nothing(t, s, b.press(first, "approve"), http.StatusForbidden)
	})
	t.Run("on a page from before the same user signed in again", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		p := b.consent("alice")
		left := b.press(b.begin(), "switch")
		isConsent(t, b.signIn(b.get(left.Header.Get("Location")), "alice"))
		nothing(t, s, b.press(p, "approve"), http.StatusForbidden)
	})
	t.Run("with bob's fields", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		alice := b.consent("alice")
		bobs := newBrowser(t, s)
		bob := bobs.consent("bob")
		alice.fields.Set("user", bob.fields.Get("user"))
		nothing(t, s, b.press(alice, "approve"), http.StatusForbidden)
		nothing(t, s, b.press(bob, "approve"), http.StatusBadRequest) // his handle too
	})
	t.Run("after another user signed in, in another tab", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		shown := b.consent("alice")
		other := b.press(b.begin(), "switch")
		b.signIn(b.get(other.Header.Get("Location")), "bob")
		again := b.press(shown, "approve")
		nothing(t, s, again, http.StatusForbidden)
		isConsent(t, again)
		isAlert(t, again, "Check the account")
		assert.Contains(t, again.text, "Bob Example")
		assert.NotContains(t, again.text, "Alice Example")
		assert.Equal(t, "bob", redeem(t, s, b.press(again, "approve")).Subject, "and then bob may")
	})
	t.Run("after the session has ended", func(t *testing.T) {
		s := start(t, func(p *pages.Config, _ *oauth.Config) { p.SessionLifetime = 5 * time.Minute })
		b := newBrowser(t, s)
		p := b.consent("alice")
		s.Clock.Advance(5 * time.Minute)
		again := b.press(p, "approve")
		nothing(t, s, again, http.StatusForbidden)
		isLogin(t, again)
		isAlert(t, again, "not signed in any more")
	})
	for _, site := range []string{"cross-site", "same-site"} {
		t.Run("V072 S081 from another site: "+site, func(t *testing.T) {
			s := start(t)
			b := newBrowser(t, s)
			p := b.consent("alice")
			p.fields.Set("decision", "approve")
			refused := b.post(p.fields, fetchSite(site))
			nothing(t, s, refused, http.StatusForbidden)
			assert.Contains(t, refused.text, "This was not sent from here")
			assert.NotContains(t, refused.text, "<form")
			for _, decision := range []string{"deny", "switch"} {
				p.fields.Set("decision", decision)
				nothing(t, s, b.post(p.fields, fetchSite(site)), http.StatusForbidden)
			}
			assert.NotEmpty(t, b.session())
			form := url.Values{"interaction": p.fields["interaction"], "username": {"mallory"}, "password": {password}}
			nothing(t, s, b.post(form, fetchSite(site)), http.StatusForbidden)
			assert.Contains(t, b.begin().text, "Alice Example")
		})
	}
	for _, c := range []struct {
		name   string
		change func(http.Header)
		status int
	}{
		{"typed by the user", fetchSite("none"), http.StatusSeeOther},
		{"no browser", func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Del("Origin") }, http.StatusSeeOther},
		{"old browser, same origin", func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", issuer) }, http.StatusSeeOther},
		{"old browser, another origin", func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "https://evil.example") }, http.StatusForbidden},
		{"old browser, no origin told", func(h http.Header) { h.Del("Sec-Fetch-Site") }, http.StatusForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			b := newBrowser(t, s)
			p := b.consent("alice")
			p.fields.Set("decision", "approve")
			assert.Equal(t, c.status, b.post(p.fields, c.change).Status)
		})
	}
	for name, origin := range map[string]string{"told by Sec-Fetch-Site": "null", "told by Origin alone": issuer} {
		t.Run("behind a proxy that changes the host, "+name, func(t *testing.T) {
			s := start(t)
			b := newBrowser(t, s)
			p := b.consent("alice")
			p.fields.Set("decision", "approve")
			r := httptest.NewRequest(http.MethodPost, endpoint, strings.NewReader(p.fields.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", origin)
			if origin == "null" {
				r.Header.Set("Sec-Fetch-Site", "same-origin")
			}
			r.Host, r.TLS = "10.0.0.1:8080", nil
			assert.NotEmpty(t, answered(t, b.do(r)).Get("code"))
		})
	}
}

func TestS083ParametersAreFixed(t *testing.T) {
	s := start(t)
	b := newBrowser(t, s)
	p := b.consent("alice", "scope", "read profile")
	a := b.press(p, "approve", "scope", "profile", "scope", "write", "scope", "bare", "scope", "no-such", "scope", "profile",
		"redirect_uri", "https://evil.example/", "response_type", "token", "client_id", "native", "state", "evil", "subject", "bob")
	token := redeem(t, s, a)
	assert.Equal(t, []string{"read", "profile"}, token.Scopes)
	assert.Equal(t, "alice", token.Subject)
	assert.Equal(t, oauthtest.SPAClient, token.ClientID)
}

func TestS085AnotherBrowser(t *testing.T) {
	s := start(t)
	attacker, victim := newBrowser(t, s), newBrowser(t, s)
	victim.consent("victim")
	link := endpoint + "?interaction=" + attacker.begin().fields.Get("interaction")
	nothing(t, s, victim.get(link), http.StatusBadRequest)
	form := url.Values{"interaction": {attacker.begin().fields.Get("interaction")}, "decision": {"approve"}}
	nothing(t, s, victim.post(form), http.StatusBadRequest)
	form = url.Values{"interaction": form["interaction"], "username": {"victim"}, "password": {password}}
	nothing(t, s, victim.post(form), http.StatusBadRequest)
}

func TestS086S087SessionCookie(t *testing.T) {
	s := start(t, func(p *pages.Config, _ *oauth.Config) { p.SessionLifetime = time.Hour })
	b := newBrowser(t, s)
	first := b.begin()
	planted := "planted-by-an-attacker"
	u, _ := url.Parse(issuer)
	b.jar.SetCookies(u, []*http.Cookie{{Name: cookie, Value: planted, Path: "/", Secure: true}})
	isLogin(t, b.begin())
	a := b.submit(first, "alice", password)
	one := b.session()
	require.NotEmpty(t, one)
	assert.NotEqual(t, planted, one, "S086 a new value at the sign-in")

	t.Run("S087 flags", func(t *testing.T) {
		header := a.Header.Values("Set-Cookie")
		require.Len(t, header, 1)
		c, err := http.ParseSetCookie(header[0])
		require.NoError(t, err)
		assert.Equal(t, cookie, c.Name)
		assert.True(t, c.Secure)
		assert.True(t, c.HttpOnly)
		assert.Equal(t, http.SameSiteLaxMode, c.SameSite)
		assert.Equal(t, "/", c.Path)
		assert.Empty(t, c.Domain)
		assert.Equal(t, 3600, c.MaxAge)
		assert.NotContains(t, strings.ToLower(header[0]), "alice")
		b, err := base64.RawURLEncoding.DecodeString(c.Value)
		require.NoError(t, err)
		assert.NotContains(t, strings.ToLower(string(b)), "alice", "sealed")
	})
	t.Run("V082 S086 another value at the next sign-in", func(t *testing.T) {
		b.submit(b.begin("prompt", "login"), "alice", password)
		assert.NotEqual(t, one, b.session())
	})
	t.Run("it expires", func(t *testing.T) {
		b := newBrowser(t, s)
		b.consent("alice")
		value := b.session()
		s.Clock.Advance(time.Hour - time.Second)
		isConsent(t, b.begin())
		s.Clock.Advance(time.Second)
		b.jar.SetCookies(u, []*http.Cookie{{Name: cookie, Value: value, Path: "/", Secure: true}}) // whatever the browser thinks
		isLogin(t, b.begin())
	})
	t.Run("it cannot be changed", func(t *testing.T) {
		b := newBrowser(t, s)
		b.consent("alice")
		good := b.session()
		raw, err := base64.RawURLEncoding.DecodeString(good)
		require.NoError(t, err)
		values := []string{"", "x", good[:len(good)-1], good + "A", good + "=", first.fields.Get("interaction"), strings.Repeat("A", 5000)}
		for i := range raw {
			raw[i] ^= 1
			values = append(values, base64.RawURLEncoding.EncodeToString(raw))
			raw[i] ^= 1
		}
		for _, v := range values {
			b.jar.SetCookies(u, []*http.Cookie{{Name: cookie, Value: v, Path: "/", Secure: true}})
			isLogin(t, b.begin())
		}
		b.jar.SetCookies(u, []*http.Cookie{{Name: cookie, Value: good, Path: "/", Secure: true}})
		isConsent(t, b.begin())
	})
	t.Run("another issuer with the same secret does not take it", func(t *testing.T) {
		b := newBrowser(t, s)
		b.consent("alice")
		other := start(t, func(p *pages.Config, c *oauth.Config) {
			c.Secrets, p.Secrets = s.Config.Secrets, s.Config.Secrets
			p.Issuer = "https://other.example"
		})
		b.s = other
		isLogin(t, b.begin())
	})
	t.Run("another realm of the issuer does not take it", func(t *testing.T) {
		realm := func(name string) *oauthtest.Server {
			return start(t, func(p *pages.Config, c *oauth.Config) {
				c.Secrets, p.Secrets = s.Config.Secrets, s.Config.Secrets
				c.Realm, p.Realm = name, name
			})
		}
		b := newBrowser(t, realm("a"))
		b.consent("alice")
		b.s = realm("b")
		isLogin(t, b.begin())
		b.s = s
		isLogin(t, b.begin())
		b.s = realm("a")
		isConsent(t, b.begin())
	})
}

func TestSecretsRotate(t *testing.T) {
	old, young := oauth.NewSecret(), oauth.NewSecret()
	for !differ(old, young) { // one pair in 256 clashes
		old = oauth.NewSecret()
	}
	with := func(secrets ...[]byte) func(*pages.Config, *oauth.Config) {
		return func(p *pages.Config, c *oauth.Config) { p.Secrets, c.Secrets = secrets, secrets }
	}
	b := newBrowser(t, start(t, with(old)))
	p := b.consent("alice")
	b.s = start(t, with(young, old))
	token := redeem(t, b.s, b.press(p, "approve")) // a page from before the rotation
	assert.Equal(t, "alice", token.Subject)
	isConsent(t, b.begin())
	b.s = start(t, with(young))
	isLogin(t, b.begin())
}

func differ(a, b []byte) bool {
	_, err := pages.New(pages.Config{Issuer: issuer, Secrets: [][]byte{a, b}, Login: login})
	return err == nil
}

func TestS089LessIsGranted(t *testing.T) {
	s := start(t)
	b := newBrowser(t, s)
	a := answered(t, b.press(b.consent("alice", "scope", "read profile"), "approve"))
	redeemed := s.Redeem(oauthtest.Code{Client: oauthtest.SPAClient, Code: a.Get("code"), RedirectURI: oauthtest.Callback, Verifier: verifier})
	assert.Equal(t, "read", redeemed.String("scope"))
	wider := s.Token(oauthtest.SPAClient, url.Values{"grant_type": {"refresh_token"},
		"refresh_token": {redeemed.String("refresh_token")}, "scope": {"read profile"}})
	assert.Equal(t, "invalid_scope", wider.String("error"))
}

func TestS090UsersInParallel(t *testing.T) {
	s := start(t, func(p *pages.Config, _ *oauth.Config) {
		p.Address = func(r *http.Request) netip.Addr { return netip.MustParseAddrPort(r.RemoteAddr).Addr() }
	})
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			b := newBrowser(t, s)
			b.address = fmt.Sprintf("10.0.%d.1:9", i)
			name := fmt.Sprintf("user-%d", i)
			p := b.begin()
			a := b.submit(p, name, password)
			p = b.get(a.Header.Get("Location"))
			assert.Contains(t, p.text, "<bdi>User-"+strconv.Itoa(i)+" Example</bdi>")
			_, params := b.press(p, "approve").Location()
			answer := s.Token(oauthtest.SPAClient, oauthtest.Code{Client: oauthtest.SPAClient, Code: params.Get("code"),
				RedirectURI: oauthtest.Callback, Verifier: verifier}.Form())
			assert.Equal(t, name, s.Introspect(answer.String("access_token")).String("sub"))
		})
	}
	group.Wait()
	assert.Len(t, s.Events(oauth.EventApproved), 200)
}

func TestS091Active(t *testing.T) {
	active, failure := true, error(nil)
	var asked string
	var since time.Time
	s := start(t, func(p *pages.Config, _ *oauth.Config) {
		p.Active = func(_ context.Context, subject string, signedIn time.Time) (bool, error) {
			asked, since = subject, signedIn
			return active, failure
		}
	})
	b := newBrowser(t, s)
	p := b.consent("alice")
	assert.Equal(t, "alice", asked)
	assert.True(t, since.Equal(s.Clock.Now()), since)

	failure = errors.New("the directory is down")
	nothing(t, s, b.press(p, "approve"), http.StatusServiceUnavailable)
	assert.NotEmpty(t, b.session())
	failure = nil

	active = false
	value := b.session()
	assert.Equal(t, "access_denied", answered(t, b.press(p, "approve")).Get("error"))
	assert.Empty(t, b.session(), "the cookie is gone")
	assert.NotContains(t, s.Store.Methods(), "Create")
	u, _ := url.Parse(issuer)
	b.jar.SetCookies(u, []*http.Cookie{{Name: cookie, Value: value, Path: "/", Secure: true}})
	isLogin(t, b.begin())
}
