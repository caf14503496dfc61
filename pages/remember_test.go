package pages_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/pages"
)

const days = 24 * time.Hour

func remembering(pc *pages.Config, _ *oauth.Config) {
	pc.Remember, pc.SessionLifetime = 10*days, 30*days
}

func TestRemember(t *testing.T) {
	t.Run("the second time the user is sent back at once", func(t *testing.T) {
		s := start(t, remembering)
		b := newBrowser(t, s)
		p := b.consent("alice")
		assert.Contains(t, p.text, "You will not be asked again for 10 days.")
		redeem(t, s, b.press(p, "approve", "scope", "profile"))
		token := redeem(t, s, b.begin())
		assert.Equal(t, "alice", token.Subject)
		redeem(t, s, b.begin("prompt", "none"))

		s.Clock.Advance(9 * days)
		redeem(t, s, b.begin())
		s.Clock.Advance(1 * days)
		isConsent(t, b.begin())
	})
	t.Run("after a sign-in too", func(t *testing.T) {
		s := start(t, remembering)
		b := newBrowser(t, s)
		redeem(t, s, b.press(b.consent("alice"), "approve", "scope", "profile"))
		other := newBrowser(t, s)
		signed := other.submit(other.begin(), "alice", password)
		redeem(t, s, other.get(signed.Header.Get("Location")))
	})
	t.Run("somebody else is asked, and so is who is asked to choose", func(t *testing.T) {
		s := start(t, remembering)
		b := newBrowser(t, s)
		redeem(t, s, b.press(b.consent("alice"), "approve", "scope", "profile"))
		isConsent(t, b.begin("prompt", "consent"))
		isConsent(t, b.begin("prompt", "select_account"))
		isConsent(t, newBrowser(t, s).consent("bob"))
	})
	t.Run("what was declined is asked for again", func(t *testing.T) {
		s := start(t, remembering)
		b := newBrowser(t, s)
		redeem(t, s, b.press(b.consent("alice"), "approve"))
		isConsent(t, b.begin())
		redeem(t, s, b.begin("scope", "read write"))
	})
	t.Run("a page that was open before is decided as it says", func(t *testing.T) {
		s := start(t, remembering)
		b := newBrowser(t, s)
		b.consent("alice")
		denied, switched := b.begin(), b.begin()
		redeem(t, s, b.press(b.begin(), "approve", "scope", "profile"))
		assert.Equal(t, "access_denied", answered(t, b.press(denied, "deny")).Get("error"))
		isLogin(t, b.get(b.press(switched, "switch").Header.Get("Location")))
	})
	t.Run("more is asked for", func(t *testing.T) {
		s := start(t, remembering)
		b := newBrowser(t, s)
		b.consent("alice")
		redeem(t, s, b.press(b.begin("scope", "read"), "approve"))
		redeem(t, s, b.begin("scope", "read"))
		isConsent(t, b.begin("scope", "read write"))
		assert.Equal(t, "consent_required", answered(t, b.begin("scope", "read write", "prompt", "none")).Get("error"))
	})
	t.Run("revoked", func(t *testing.T) {
		s := start(t, remembering)
		b := newBrowser(t, s)
		redeem(t, s, b.press(b.consent("alice"), "approve", "scope", "profile"))
		_, err := s.Revoke(t.Context(), oauth.Selector{Subject: "alice"})
		require.NoError(t, err)
		isConsent(t, b.begin())
	})
	t.Run("the store fails", func(t *testing.T) {
		s := start(t, remembering)
		b := newBrowser(t, s)
		b.consent("alice")
		s.Store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
		nothing(t, s, b.begin(), http.StatusServiceUnavailable)
	})
	t.Run("an app on the device is never remembered", func(t *testing.T) {
		s := start(t, remembering)
		b := newBrowser(t, s)
		b.consent("alice")
		for range 2 {
			p := b.begin("client_id", "native", "redirect_uri", loopback)
			isConsent(t, p)
			assert.NotContains(t, p.text, "asked again")
			require.Equal(t, http.StatusSeeOther, b.press(p, "approve").Status)
		}
	})
	t.Run("by default it asks every time", func(t *testing.T) {
		s := start(t)
		b := newBrowser(t, s)
		p := b.consent("alice")
		assert.NotContains(t, p.text, "asked again")
		redeem(t, s, b.press(p, "approve"))
		isConsent(t, b.begin())
	})
	t.Run("out of bounds", func(t *testing.T) {
		for _, d := range []time.Duration{-1, 3661 * days} {
			_, err := pages.New(pages.Config{Issuer: issuer, Secrets: [][]byte{oauth.NewSecret()}, Login: login, Remember: d})
			require.ErrorContains(t, err, "pages: Config.Remember is ")
		}
	})
}
