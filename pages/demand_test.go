package pages_test

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/pages"
)

// The parameters of OpenID Connect Core, section 3.1.2.1.

func TestPrompt(t *testing.T) {
	t.Run("OIDC 3.1.2.6 none, nobody is signed in", func(t *testing.T) {
		s := start(t)
		assert.Equal(t, "login_required", answered(t, newBrowser(t, s).begin("prompt", "none")).Get("error"))
		assert.Len(t, s.Events(oauth.EventDenied), 1)
	})
	t.Run("OIDC 3.1.2.6 none, somebody is signed in", func(t *testing.T) {
		b := newBrowser(t, start(t))
		b.consent("alice")
		assert.Equal(t, "consent_required", answered(t, b.begin("prompt", "none")).Get("error"))
	})
	t.Run("OIDC 3.1.2.6 none, the sign-in is too old", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		b.consent("alice")
		s.Clock.Advance(time.Minute)
		assert.Equal(t, "login_required", answered(t, b.begin("prompt", "none", "max_age", "30")).Get("error"))
	})
	t.Run("OIDC 3.1.2.1 none with another value", func(t *testing.T) {
		for _, prompt := range []string{"none login", "consent none", "none none"} {
			assert.Equal(t, "invalid_request", answered(t, newBrowser(t, start(t)).begin("prompt", prompt)).Get("error"), prompt)
		}
	})
	for _, prompt := range []string{"login", "login consent", "select_account login"} {
		t.Run("OIDC 3.1.2.1 "+prompt+": once, even with a session", func(t *testing.T) {
			s := start(t)
			b := newBrowser(t, s)
			b.consent("alice")
			before := s.Clock.Now()
			s.Clock.Advance(time.Minute)
			p := b.begin("prompt", prompt)
			isLogin(t, p)

			p.fields.Set("user", "x")
			again := b.press(p, "approve") // to go round it
			nothing(t, s, again, http.StatusForbidden)
			isLogin(t, again)

			p = b.signIn(p, "alice")
			isConsent(t, p)
			isConsent(t, b.get(endpoint+"?interaction="+p.fields.Get("interaction"))) // reloaded
			token := redeem(t, s, b.press(p, "approve"))
			assert.True(t, token.AuthTime.After(before), token.AuthTime)

			isLogin(t, b.begin("prompt", prompt)) // another request asks again
			isConsent(t, b.begin())
		})
	}
	for _, prompt := range []string{"consent", "select_account", "create", "LOGIN"} {
		t.Run(prompt+" asks for consent", func(t *testing.T) {
			b := newBrowser(t, start(t))
			b.consent("alice")
			isConsent(t, b.begin("prompt", prompt))
		})
	}
	t.Run("login, and a sign-in for another request does not count", func(t *testing.T) {
		b := newBrowser(t, start(t))
		one, two := b.begin("prompt", "login"), b.begin("prompt", "login")
		isConsent(t, b.signIn(two, "alice"))
		isLogin(t, b.get(endpoint+"?interaction="+one.fields.Get("interaction")))
	})
}

func TestMaxAge(t *testing.T) {
	for _, c := range []struct {
		name, maxAge string
		after        time.Duration
		again        bool
	}{
		{"young enough", "60", 59 * time.Second, false},
		{"just young enough", "60", time.Minute, false},
		{"too old", "60", 61 * time.Second, true},
		{"by a part of a second", "60", time.Minute + time.Millisecond, true},
		{"zero is like prompt=login", "0", time.Second, true},
		{"larger than any time", "99999999999999", 11 * time.Hour, false},
	} {
		t.Run("S242 OIDC 3.1.2.1 "+c.name, func(t *testing.T) {
			s := start(t)
			b := newBrowser(t, s)
			b.consent("alice")
			s.Clock.Advance(c.after)
			p := b.begin("max_age", c.maxAge)
			if !c.again {
				isConsent(t, p)
				return
			}
			isLogin(t, p)
			p = b.signIn(p, "alice")
			s.Clock.Advance(30 * time.Minute) // this very interaction was signed in for: no second time
			isConsent(t, p)
			token := redeem(t, s, b.press(b.get(endpoint+"?interaction="+p.fields.Get("interaction")), "approve"))
			assert.True(t, unix(s.Clock.Now().Add(-30*time.Minute)).Equal(token.AuthTime))
		})
	}
	// V132: pocket-id took what was no login for a new one.
	for name, use := range map[string]func(b *browser){
		"a consent":                     func(b *browser) { answered(b.t, b.press(b.begin(), "approve")) },
		"a refusal":                     func(b *browser) { answered(b.t, b.press(b.begin(), "deny")) },
		"a wrong password":              func(b *browser) { isLogin(b.t, b.submit(b.begin("prompt", "login"), "alice", "wrong")) },
		"a page that is opened again":   func(b *browser) { isConsent(b.t, b.begin("max_age", "60")) },
		"a login in another browser":    func(b *browser) { newBrowser(b.t, b.s).consent("alice") },
		"a prompt that shows no login":  func(b *browser) { isConsent(b.t, b.begin("prompt", "select_account")) },
		"a login that was not finished": func(b *browser) { isLogin(b.t, b.begin("prompt", "login")) },
	} {
		t.Run("S242 V132 "+name+" is no new login", func(t *testing.T) {
			s := start(t)
			b := newBrowser(t, s)
			first := redeem(t, s, b.press(b.consent("alice"), "approve")).AuthTime
			s.Clock.Advance(40 * time.Second)
			use(b)
			assert.Equal(t, first, redeem(t, s, b.press(b.begin("max_age", "60"), "approve")).AuthTime)
			s.Clock.Advance(21 * time.Second)
			p := b.begin("max_age", "60")
			isLogin(t, p)
			b.press(p, "approve") // to go round it
			p = b.signIn(b.begin("max_age", "60"), "alice")
			assert.True(t, unix(s.Clock.Now()).Equal(redeem(t, s, b.press(p, "approve")).AuthTime))
		})
	}
	for _, text := range []string{"-1", "+1", "x", "1.5", "1 ", "0x10", "99999999999999999999"} {
		t.Run("malformed "+text, func(t *testing.T) {
			p := newBrowser(t, start(t)).begin("max_age", text)
			assert.Equal(t, "invalid_request", answered(t, p).Get("error"))
		})
	}
}

func TestLoginHint(t *testing.T) {
	b := newBrowser(t, start(t))
	for hint, want := range map[string]string{
		"alice":                  "alice",
		"alice@example.com":      "alice@example.com",
		`"><b>`:                  `"><b>`,
		strings.Repeat("a", 255): strings.Repeat("a", 255),
		strings.Repeat("a", 256): "",
	} {
		p := b.begin("login_hint", hint)
		assert.Equal(t, want, p.fields.Get("username"))
		assert.NotContains(t, p.text, "<b>")
	}
	p := b.submit(b.begin("login_hint", "alice"), "bob", "wrong")
	assert.Equal(t, "bob", p.fields.Get("username"), "what was typed counts more")
}

// Whatever a browser and a client send, nobody is signed in who did not sign in.
func FuzzRequest(f *testing.F) {
	s := start(f)
	b := newBrowser(f, s)
	b.consent("alice")
	good := b.session()
	f.Add("", "login", "0", "alice")
	f.Add(good[:len(good)-2], "", "60", `"><script>`)
	f.Add(good+"x", "none", "-1", "\x00\r\n")
	secrets, runs := s.Config.Secrets, 0
	f.Fuzz(func(t *testing.T, value, prompt, maxAge, hint string) {
		if runs++; runs%1000 == 0 { // the kit keeps every request
			s = start(t, func(p *pages.Config, c *oauth.Config) { p.Secrets, c.Secrets = secrets, secrets })
		}
		b := newBrowser(t, s)
		u, err := url.Parse(issuer)
		require.NoError(t, err)
		b.jar.SetCookies(u, []*http.Cookie{{Name: cookie, Value: value, Path: "/", Secure: true}})
		p := b.begin("prompt", prompt, "max_age", maxAge, "login_hint", hint)
		if value != good {
			require.NotContains(t, p.text, `value="approve"`)
		}
		switch p.Status {
		case http.StatusOK:
			name := p.fields.Get("username")
			require.True(t, name == "" || name == html.UnescapeString(html.EscapeString(hint)), "%q", name)
		case http.StatusSeeOther:
			require.Contains(t, []string{"invalid_request", "login_required"}, answered(t, p).Get("error"))
		default:
			require.Equal(t, http.StatusBadRequest, p.Status)
		}
	})
}
