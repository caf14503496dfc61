package oauth_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

func TestIssue(t *testing.T) {
	const web = oauthtest.WebClient
	pat := oauth.Approval{Subject: "alice", Scopes: []string{"read", "read"}, Extra: map[string]string{"name": "laptop"}}
	t.Run("a personal access token is used, listed and revoked", func(t *testing.T) {
		var asked oauth.PolicyRequest
		s := newServer(t, resources, func(c *oauth.Config) {
			c.AccessToken = oauth.Opaque{Prefix: "acme_"}
			c.Policy = func(_ context.Context, r oauth.PolicyRequest) oauth.Policy {
				if r.GrantType == "" {
					asked = r
					return oauth.Policy{Access: 90 * 24 * time.Hour}
				}
				return oauth.Policy{}
			}
		})
		ap := pat
		ap.Resources = []string{"https://api.example"}
		token, made, err := s.Issue(t.Context(), web, ap)
		require.NoError(t, err)
		require.Equal(t, []string{"Create"}, s.Store.Methods())
		assert.Regexp(t, "^acme_", token)
		assert.Equal(t, web, asked.Client.ID)
		asked.Client = nil
		assert.Equal(t, oauth.PolicyRequest{Subject: "alice", Scopes: []string{"read"}, Extra: pat.Extra}, asked)

		got, err := s.VerifyToken(t.Context(), token)
		require.NoError(t, err)
		assert.Equal(t, "alice", got.Subject)
		assert.Equal(t, []string{"read"}, got.Scopes)
		assert.Equal(t, []string{"https://api.example"}, got.Audience)
		assert.Equal(t, pat.Extra, got.Extra)
		assert.Equal(t, s.Clock.Now().Add(90*24*time.Hour).Truncate(time.Second).UTC(), got.ExpiresAt.UTC())

		listed, err := s.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		require.Equal(t, []*oauth.Authorization{made}, listed)
		assert.Empty(t, made.GrantType)
		assert.Equal(t, "laptop", made.Extra["name"])
		assert.Equal(t, got.ExpiresAt.UTC(), made.EndsAt)
		events := s.Events(oauth.EventTokenIssued)
		require.Len(t, events, 1)
		assert.Equal(t, made.ID, events[0].Authorization)

		s.Clock.Advance(89 * 24 * time.Hour)
		_, err = s.VerifyToken(t.Context(), token)
		require.NoError(t, err)
		n, err := s.Revoke(t.Context(), oauth.Selector{ID: made.ID})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		_, err = s.VerifyToken(t.Context(), token)
		require.ErrorIs(t, err, oauth.InvalidToken)
		listed, err = s.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		require.Empty(t, listed)
	})
	t.Run("expires, and its record goes", func(t *testing.T) {
		s := newServer(t)
		token, _, err := s.Issue(t.Context(), web, pat)
		require.NoError(t, err)
		s.Clock.Advance(30 * time.Minute)
		_, err = s.VerifyToken(t.Context(), token)
		require.ErrorIs(t, err, oauth.InvalidToken)
		listed, err := s.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		require.Empty(t, listed, "from that moment")
		s.Clock.Advance(time.Hour)
		n, err := s.DeleteExpired(t.Context(), 10)
		require.NoError(t, err)
		wantSwept(t, 1, n)
	})
	t.Run("lives longer than other access tokens may", func(t *testing.T) {
		const year = 365 * 24 * time.Hour
		life := 20 * year
		s := newServer(t, func(c *oauth.Config) {
			c.Policy = func(_ context.Context, r oauth.PolicyRequest) oauth.Policy {
				if r.GrantType != "" {
					return oauth.Policy{}
				}
				return oauth.Policy{Access: life}
			}
		})
		token, _, err := s.Issue(t.Context(), web, pat)
		require.NoError(t, err)
		s.Clock.Advance(20*year - time.Second)
		n, err := s.DeleteExpired(t.Context(), 10)
		require.NoError(t, err)
		wantSwept(t, 0, n)
		_, err = s.VerifyToken(t.Context(), token)
		require.NoError(t, err)
		s.Clock.Advance(time.Second)
		_, err = s.VerifyToken(t.Context(), token)
		require.ErrorIs(t, err, oauth.InvalidToken)

		life = 101 * year
		_, _, err = s.Issue(t.Context(), web, pat)
		require.ErrorIs(t, err, oauth.ServerError, "no token is without an end")
	})
	t.Run("JWT", func(t *testing.T) {
		s := newServer(t, func(c *oauth.Config) { c.AccessToken = oauth.JWT{InsecureSymmetricKey: oauth.NewSecret()} })
		token, made, err := s.Issue(t.Context(), web, pat)
		require.NoError(t, err)
		_, err = s.VerifyToken(t.Context(), token)
		require.NoError(t, err)
		_, err = s.Revoke(t.Context(), oauth.Selector{ID: made.ID})
		require.NoError(t, err)
		_, err = s.VerifyToken(t.Context(), token)
		require.ErrorIs(t, err, oauth.InvalidToken)
	})
	with := func(edit func(*oauth.Approval)) oauth.Approval { ap := pat; edit(&ap); return ap }
	for name, c := range map[string]struct {
		client string
		ap     oauth.Approval
		want   error
	}{
		"no such client":     {"nobody", pat, oauth.InvalidClient},
		"a foreign scope":    {web, with(func(a *oauth.Approval) { a.Scopes = []string{"admin"} }), oauth.InvalidScope},
		"unknown resource":   {web, with(func(a *oauth.Approval) { a.Resources = []string{"https://nowhere.example"} }), oauth.InvalidTarget},
		"one of two unknown": {web, with(func(a *oauth.Approval) { a.Resources = []string{oauthtest.Issuer, "https://nowhere.example"} }), oauth.InvalidTarget},
		"no subject":         {web, with(func(a *oauth.Approval) { a.Subject = "" }), oauth.ServerError},
		"a client's name":    {web, with(func(a *oauth.Approval) { a.Subject = "client:x" }), oauth.ServerError},
		"to be remembered":   {web, with(func(a *oauth.Approval) { a.Remember = time.Hour }), oauth.ServerError},
		"too many strings":   {web, with(func(a *oauth.Approval) { a.Extra = map[string]string{"a": string(make([]byte, 5000))} }), oauth.ServerError},
		"a failing storage":  {web, pat, oauth.TemporarilyUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			if c.want == oauth.TemporarilyUnavailable {
				s.Store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
			}
			token, made, err := s.Issue(t.Context(), c.client, c.ap)
			require.ErrorIs(t, err, c.want)
			require.Empty(t, token)
			require.Nil(t, made)
			s.Store.Fail(nil)
			for range s.Store.List(t.Context(), oauth.Filter{}) {
				t.Fatal("something was stored")
			}
		})
	}
	t.Run("an answer that was lost is read back", func(t *testing.T) {
		s := newServer(t)
		s.Store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
			if c.Method == "Create" {
				return oauthtest.FailAfter
			}
			return oauthtest.NoFault
		})
		token, _, err := s.Issue(t.Context(), web, pat)
		require.NoError(t, err)
		_, err = s.VerifyToken(t.Context(), token)
		require.NoError(t, err)
	})
	t.Run("with another storage", func(t *testing.T) {
		s, other := newServer(t), newStorage(t, nil)
		token, made, err := s.WithStorage(other).Issue(t.Context(), web, pat)
		require.NoError(t, err)
		_, err = s.VerifyToken(t.Context(), token)
		require.ErrorIs(t, err, oauth.InvalidToken, "as before a COMMIT")
		_, err = s.WithStorage(other).VerifyToken(t.Context(), token)
		require.NoError(t, err)
		n, err := s.WithStorage(other).Revoke(t.Context(), oauth.Selector{ID: made.ID})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Empty(t, s.Store.Methods()[1:], "one Get of the check, and nothing else")
	})
}
