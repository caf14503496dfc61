package pages_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/pages"
)

// offering makes a server that asks a function what the user may approve.
func offering(offer func(context.Context, *oauth.Interaction, *oauth.Approval) error) func(*pages.Config, *oauth.Config) {
	return func(pc *pages.Config, _ *oauth.Config) { pc.Offer = offer }
}

func TestOffer(t *testing.T) {
	without := func(scope string) func(context.Context, *oauth.Interaction, *oauth.Approval) error {
		return func(_ context.Context, in *oauth.Interaction, a *oauth.Approval) error {
			if a.Subject != "alice" {
				return nil
			}
			a.Scopes = slices.DeleteFunc(a.Scopes, func(n string) bool { return n == scope })
			a.Extra = map[string]string{"plan": in.Params().Get("plan")}
			return nil
		}
	}
	t.Run("RFC 6749 3.3 what a user cannot grant is neither shown nor granted", func(t *testing.T) {
		s := start(t, offering(without("profile")))
		b := newBrowser(t, s)
		p := b.consent("alice", "scope", "bare profile", "plan", "gold")
		assert.NotContains(t, p.text, "Know your name")
		assert.Contains(t, p.text, "<li>bare</li>")
		token := redeem(t, s, b.press(p, "approve", "scope", "profile"))
		assert.Equal(t, []string{"bare"}, token.Scopes)
		assert.Equal(t, map[string]string{"plan": "gold"}, token.Extra)

		other := newBrowser(t, s)
		p = other.consent("bob", "scope", "bare profile")
		assert.Contains(t, p.text, "Know your name")
		token = redeem(t, s, other.press(p, "approve", "scope", "profile"))
		assert.Equal(t, []string{"bare", "profile"}, token.Scopes)
		assert.Empty(t, token.Extra)
	})
	t.Run("RFC 6749 4.1.2.1 nothing is left to grant", func(t *testing.T) {
		s := start(t, offering(without("bare")))
		b := newBrowser(t, s)
		p := b.submit(b.begin("scope", "bare"), "alice", password)
		p = b.get(p.Header.Get("Location"))
		assert.Equal(t, "access_denied", answered(t, p).Get("error"))
		assert.Empty(t, s.Events(oauth.EventApproved))
	})
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"an *Error":  {&oauth.Error{Code: oauth.InvalidTarget}, "invalid_target"},
		"a code":     {oauth.AccessDenied, "access_denied"},
		"some error": {errors.New("the directory is down"), "temporarily_unavailable"},
	} {
		t.Run(name+" before and after the question", func(t *testing.T) {
			var answer error
			s := start(t, offering(func(context.Context, *oauth.Interaction, *oauth.Approval) error { return answer }))
			b := newBrowser(t, s)
			p := b.consent("alice")
			answer = c.err
			params := answered(t, b.press(p, "approve"))
			assert.Equal(t, c.want, params.Get("error"))
			assert.NotContains(t, params.Get("error_description"), "directory")
			assert.Equal(t, c.want, answered(t, b.begin()).Get("error"))
			assert.Empty(t, s.Events(oauth.EventApproved))
		})
	}
	t.Run("what was not on the page is not granted, though the user could by now", func(t *testing.T) {
		limited := true
		s := start(t, offering(func(_ context.Context, _ *oauth.Interaction, a *oauth.Approval) error {
			if limited {
				a.Scopes = slices.DeleteFunc(a.Scopes, func(n string) bool { return n == "write" })
			}
			return nil
		}))
		b := newBrowser(t, s)
		p := b.consent("alice", "scope", "bare write")
		limited = false
		p = b.press(p, "approve")
		isConsent(t, p)
		assert.Contains(t, p.text, "what you can allow has changed")
		assert.Equal(t, []string{"bare", "write"}, redeem(t, s, b.press(p, "approve")).Scopes)
	})
	t.Run("more than was asked for is never granted", func(t *testing.T) {
		s := start(t, offering(func(_ context.Context, _ *oauth.Interaction, a *oauth.Approval) error {
			a.Scopes = append(a.Scopes, "write")
			return nil
		}))
		b := newBrowser(t, s)
		params := answered(t, b.press(b.consent("alice", "scope", "bare"), "approve"))
		assert.Equal(t, "server_error", params.Get("error"))
		require.Empty(t, s.Events(oauth.EventApproved))
	})
	t.Run("what the user declined is not granted, whatever Offer says", func(t *testing.T) {
		s := start(t, offering(func(_ context.Context, in *oauth.Interaction, a *oauth.Approval) error {
			a.Scopes = in.Scopes() // what this user may have, and not what is left of it
			return nil
		}))
		b := newBrowser(t, s)
		assert.Equal(t, []string{"bare"}, redeem(t, s, b.press(b.consent("alice", "scope", "bare profile"), "approve")).Scopes)
		assert.Equal(t, []string{"bare", "profile"}, redeem(t, s, b.press(b.begin("scope", "bare profile"), "approve", "scope", "profile")).Scopes)
		assert.Equal(t, "access_denied", answered(t, b.press(b.begin("scope", "profile"), "approve")).Get("error"))
	})
	t.Run("nor what was not on the page, though the user could from one look to the next", func(t *testing.T) {
		asked := 0
		s := start(t, offering(func(_ context.Context, _ *oauth.Interaction, a *oauth.Approval) error {
			if asked++; asked < 3 { // for the page, for the answer, and once more
				a.Scopes = slices.DeleteFunc(a.Scopes, func(n string) bool { return n == "write" })
			}
			return nil
		}))
		b := newBrowser(t, s)
		assert.Equal(t, []string{"bare"}, redeem(t, s, b.press(b.consent("alice", "scope", "bare write"), "approve")).Scopes)
		assert.Equal(t, 3, asked)
	})
	t.Run("a consent that is remembered is asked about too", func(t *testing.T) {
		allowed := true
		s := start(t, remembering, offering(func(_ context.Context, _ *oauth.Interaction, a *oauth.Approval) error {
			if !allowed {
				return oauth.AccessDenied
			}
			a.Extra = map[string]string{"plan": "gold"}
			return nil
		}))
		b := newBrowser(t, s)
		redeem(t, s, b.press(b.consent("alice", "scope", "bare"), "approve"))
		assert.Equal(t, "gold", redeem(t, s, b.begin("scope", "bare")).Extra["plan"])
		allowed = false
		assert.Equal(t, "access_denied", answered(t, b.begin("scope", "bare")).Get("error"))
	})
}
