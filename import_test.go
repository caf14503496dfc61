package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

func TestImport(t *testing.T) {
	const foreign = "def50200c0ffee0123456789abcdef"
	type answer struct {
		ap  *oauth.Approval
		err error
	}
	setup := func(t *testing.T, policy oauth.Policy) (*wire, *answer, *int) {
		now, calls := &answer{ap: &oauth.Approval{Subject: "alice", Scopes: []string{"read"}, Extra: map[string]string{"from": "old"}}}, new(int)
		w := newWire(t, withPolicy(policy), func(c *oauth.Config) {
			c.Import = func(_ context.Context, c *oauth.Client, token string) (*oauth.Approval, error) {
				*calls++
				if token != foreign || c.ID != web {
					return nil, fmt.Errorf("not there: %w", oauth.InvalidGrant)
				}
				return now.ap, now.err
			}
		})
		w.note(foreign)
		return w, now, calls
	}
	t.Run("design 6 adopted once, as the first of a new authorization", func(t *testing.T) {
		w, _, calls := setup(t, oauth.Policy{})
		w.Store.Reset()
		a := w.refreshed(web, foreign)
		assert.Equal(t, []string{"Get", "Create"}, w.Store.Methods())
		assert.Equal(t, "read", a.String("scope"))
		assert.Equal(t, "alice", w.Introspect(a.String("access_token")).String("sub"))
		b := w.refreshed(web, foreign)
		assert.Equal(t, a.String("refresh_token"), b.String("refresh_token"), "the same successor on a retry")
		assert.Equal(t, 1, *calls)
		assert.NotContains(t, string(w.record().Data), foreign)
		w.rotate(web, a.String("refresh_token"))
	})
	t.Run("design 6 a replay ends it", func(t *testing.T) {
		w, _, calls := setup(t, oauth.Policy{})
		a := w.refreshed(web, foreign)
		w.Clock.Advance(window + time.Second)
		w.refused(web, foreign)
		w.refused(web, a.String("refresh_token"))
		assert.Len(t, w.Events(oauth.EventReuseDetected), 1)
		w.refused(web, foreign)
		assert.Equal(t, 1, *calls, "it is never adopted a second time")
	})
	t.Run("design 6 Keep gives a token of this server, and a replay ends it all the same", func(t *testing.T) {
		w, _, _ := setup(t, oauth.Policy{Refresh: oauth.Keep})
		own := w.rotate(web, foreign)
		assert.Equal(t, own, w.refreshed(web, own).String("refresh_token"))
		w.Clock.Advance(window + time.Second)
		w.refused(web, foreign)
		w.refused(web, own)
	})
	t.Run("design 6 a token that looks like one of ours", func(t *testing.T) {
		w, _, _ := setup(t, oauth.Policy{})
		ours := w.Redeem(w.Code(web)).String("refresh_token")
		lookalike := ours[:2] + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" // our key id, no record
		adopted := ""
		w = newWire(t, func(c *oauth.Config) {
			*c = w.Config
			c.Import = func(_ context.Context, _ *oauth.Client, token string) (*oauth.Approval, error) {
				adopted = token
				return &oauth.Approval{Subject: "alice", Scopes: []string{"read"}}, nil
			}
		})
		w.refreshed(web, lookalike)
		assert.Equal(t, lookalike, adopted)
		w.refreshed(web, ours)
	})
	t.Run("design 6 a code is never imported", func(t *testing.T) {
		w, _, calls := setup(t, oauth.Policy{})
		wantError(t, w.Token(web, url.Values{"grant_type": {"authorization_code"}, "code": {foreign}, "redirect_uri": {oauthtest.Callback}}), 400, oauth.InvalidGrant)
		assert.Zero(t, *calls)
	})
	t.Run("design 6 each realm and issuer on one store adopts it for itself", func(t *testing.T) {
		w, _, calls := setup(t, oauth.Policy{})
		servers := []*oauthtest.Server{w.Server, another(t, w.Server, func(c *oauth.Config) { c.Realm = "second" }),
			another(t, w.Server, func(c *oauth.Config) { c.Issuer = "https://second.example" })}
		for i, s := range servers {
			wantOK(t, s.Refresh(web, foreign))
			assert.Equal(t, i+1, *calls)
		}
	})
	t.Run("design 6 another client", func(t *testing.T) {
		w, _, _ := setup(t, oauth.Policy{})
		w.refused(otherWeb, foreign)
		a := w.refreshed(web, foreign)
		w.Clock.Advance(time.Hour)
		w.refused(otherWeb, foreign)
		assert.Len(t, w.Events(oauth.EventWrongClient), 1)
		w.rotate(web, a.String("refresh_token"))
	})
	t.Run("design 6 what Import says is the answer, and nothing is stored", func(t *testing.T) {
		w, now, _ := setup(t, oauth.Policy{})
		good := *now
		for _, c := range []struct {
			answer
			status int
			code   oauth.ErrorCode
		}{
			{answer{nil, oauth.InvalidGrant}, 400, oauth.InvalidGrant},
			{answer{nil, &oauth.Error{Code: oauth.InvalidGrant, Description: "gone"}}, 400, oauth.InvalidGrant},
			{answer{nil, &oauth.Error{Code: oauth.TemporarilyUnavailable, RetryAfter: time.Second}}, 503, oauth.TemporarilyUnavailable},
			{answer{nil, errBoom}, 503, oauth.TemporarilyUnavailable},
			{answer{nil, nil}, 500, oauth.ServerError},
			{answer{&oauth.Approval{Scopes: []string{"read"}}, nil}, 500, oauth.ServerError},
			{answer{&oauth.Approval{Subject: "alice", Scopes: []string{"admin"}}, nil}, 400, oauth.InvalidGrant},
		} {
			*now = c.answer
			w.may5.Store(c.status >= 500)
			w.Store.Reset()
			wantError(t, w.Refresh(web, foreign), c.status, c.code)
			assert.NotContains(t, w.Store.Methods(), "Create")
		}
		*now = good
		w.may5.Store(false)
		w.refreshed(web, foreign)
	})
	t.Run("design 1 secrets rotated between adoption and replay", func(t *testing.T) {
		w, _, calls := setup(t, oauth.Policy{})
		own := w.rotate(web, foreign)
		later := newWire(t, func(c *oauth.Config) {
			c.Storage, c.Now, c.Import = w.Config.Storage, w.Config.Now, w.Config.Import
			c.Secrets = append([][]byte{besides(w.Config.Secrets[0])}, w.Config.Secrets...)
		})
		assert.Equal(t, own, later.refreshed(web, foreign).String("refresh_token"))
		next := later.rotate(web, own)
		later.refused(web, foreign)
		later.refused(web, next)
		assert.Equal(t, 1, *calls)
	})
	t.Run("design 1 two processes in the midst of a change of secrets adopt it once", func(t *testing.T) {
		a := oauth.NewSecret()
		b := besides(a)
		for range 20 {
			first := newWire(t)
			process := func(secrets ...[]byte) *wire {
				return newWire(t, func(c *oauth.Config) {
					c.Storage, c.Now, c.Secrets = first.Config.Storage, first.Config.Now, secrets
					c.Import = func(context.Context, *oauth.Client, string) (*oauth.Approval, error) {
						return &oauth.Approval{Subject: "alice", Scopes: []string{"read"}}, nil
					}
				})
			}
			both := []*wire{process(a, b), process(b, a)}
			answers := volley(8, func(i int) *oauthtest.Answer { return both[i%2].Server.Refresh(web, foreign) })
			tokens := map[string]bool{}
			for _, a := range answers {
				require.Equal(t, 200, a.Status)
				tokens[a.String("refresh_token")] = true
			}
			require.Len(t, tokens, 1, "one successor for all")
		}
	})
	t.Run("design 6 a token of this server is never offered to Import", func(t *testing.T) {
		w, _, calls := setup(t, oauth.Policy{})
		token := w.Redeem(w.Code(web)).String("refresh_token")
		w.refused(otherWeb, token)
		w.rotate(web, token)
		assert.Zero(t, *calls)
	})
	t.Run("S335 Import that fails keeps the token adoptable", func(t *testing.T) {
		w, now, _ := setup(t, oauth.Policy{})
		now.err = errors.New("the old database is away")
		w.may5.Store(true)
		assert.GreaterOrEqual(t, w.Refresh(web, foreign).Status, 500)
		now.err = nil
		w.may5.Store(false)
		w.refreshed(web, foreign)
	})
	t.Run("RFC 7009 a token that was not adopted yet is revoked", func(t *testing.T) {
		w, _, calls := setup(t, oauth.Policy{})
		require.Equal(t, 200, revoke(w.Server, otherWeb, foreign).Status)
		require.Equal(t, 200, revoke(w.Server, web, "unknown").Status)
		require.Empty(t, w.Events(oauth.EventRevoked))
		require.Equal(t, 200, revoke(w.Server, web, foreign).Status)
		require.Len(t, w.Events(oauth.EventRevoked), 1)
		before := *calls
		w.refused(web, foreign)
		w.Clock.Advance(179 * 24 * time.Hour)
		w.refused(web, foreign)
		require.Equal(t, before, *calls, "it is not asked for any more")
		require.Equal(t, 200, revoke(w.Server, web, foreign).Status)
		require.Len(t, w.Events(oauth.EventRevoked), 1, "once")
	})
	t.Run("RFC 7009 the foreign token ends what was made of it", func(t *testing.T) {
		w, _, _ := setup(t, oauth.Policy{})
		a := w.refreshed(web, foreign)
		require.True(t, w.Events(oauth.EventTokenIssued)[0].Imported)
		require.Equal(t, 200, revoke(w.Server, otherWeb, foreign).Status)
		require.Len(t, w.Events(oauth.EventWrongClient), 1)
		own := w.rotate(web, a.String("refresh_token"))
		require.False(t, w.Events(oauth.EventTokenIssued)[1].Imported)
		require.Equal(t, 200, revoke(w.Server, web, foreign).Status)
		w.refused(web, own)
	})
	t.Run("RFC 7009 a failure of Import or the store is no 200", func(t *testing.T) {
		w, now, _ := setup(t, oauth.Policy{})
		w.may5.Store(true)
		good := now.ap
		now.ap, now.err = nil, errBoom
		wantError(t, revoke(w.Server, web, foreign), 503, oauth.TemporarilyUnavailable)
		now.err = nil
		wantError(t, revoke(w.Server, web, foreign), 500, oauth.ServerError)
		now.ap = good
		for _, method := range []string{"Get", "Create"} {
			w.Store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
				if c.Method == method {
					return oauthtest.FailBefore
				}
				return oauthtest.NoFault
			})
			wantError(t, revoke(w.Server, web, foreign), 503, oauth.TemporarilyUnavailable)
		}
		w.Store.Fail(nil)
		w.refreshed(web, foreign)
	})
	t.Run("design 2 without Import it is invalid_grant", func(t *testing.T) {
		w := newWire(t)
		w.refused(web, foreign)
		assert.Empty(t, slices.Collect(func(yield func(oauth.Record) bool) {
			for rec := range w.Config.Storage.List(t.Context(), oauth.Filter{}) {
				yield(rec)
			}
		}))
	})
}
