package oauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

const (
	spa    = oauthtest.SPAClient
	web    = oauthtest.WebClient
	window = 30 * time.Second
	day    = 24 * time.Hour
)

// signIn is a wire with one authorization, and the refresh token of generation 1.
func signIn(t *testing.T, client string, edits ...func(*oauth.Config)) (w *wire, first string) {
	t.Helper()
	w = newWire(t, edits...)
	a := w.Redeem(w.Code(client))
	return w, a.String("refresh_token")
}

func (w *wire) refreshed(client, token string) *oauthtest.Answer {
	w.t.Helper()
	return wantOK(w.t, w.Refresh(client, token))
}

// rotate refreshes and returns the successor.
func (w *wire) rotate(client, token string) string {
	w.t.Helper()
	next := w.refreshed(client, token).String("refresh_token")
	require.NotEmpty(w.t, next)
	require.NotEqual(w.t, token, next)
	return next
}

func (w *wire) refused(client, token string) {
	w.t.Helper()
	wantError(w.t, w.Refresh(client, token), 400, oauth.InvalidGrant)
}

// record is the one authorization of the wire, as it is stored.
func (w *wire) record() oauth.Record {
	w.t.Helper()
	var all []oauth.Record
	for rec, err := range w.Config.Storage.List(w.t.Context(), oauth.Filter{Realm: w.Config.Realm, Kind: oauth.KindAuthorization}) {
		require.NoError(w.t, err)
		all = append(all, rec)
	}
	require.Len(w.t, all, 1)
	return all[0]
}

func TestRefreshUnknown(t *testing.T) {
	w, first := signIn(t, spa)
	flip := func(i int) string {
		other := "A"
		if first[i] == 'A' {
			other = "B"
		}
		return first[:i] + other + first[i+1:]
	}
	for name, token := range map[string]string{"garbage": "xyz", "key id": flip(0), "record id": flip(5), "generation": flip(25), "MAC": flip(40),
		"cut": first[:54], "longer": first + "A", "padded": first + "=", "a space": first + " ", "upper case": strings.ToUpper(first), "spare bits": first[:54] + "_" /* a last character with spare bits set */} {
		t.Run("design 2 unknown or altered: "+name, func(t *testing.T) {
			require.NotEqual(t, first, token)
			w.refused(spa, token)
		})
	}
	t.Run("S153 missing or empty", func(t *testing.T) {
		for _, f := range []url.Values{{"grant_type": {"refresh_token"}}, {"grant_type": {"refresh_token"}, "refresh_token": {""}}} {
			a := w.Token(spa, f)
			wantError(t, a, 400, oauth.InvalidRequest)
			assert.Equal(t, "Missing required parameter: refresh_token", a.String("error_description"))
		}
	})
	assert.Empty(t, w.Events(oauth.EventReuseDetected))
	w.refreshed(spa, first)
}

func TestRefreshClient(t *testing.T) {
	t.Run("S150 FT-14 another client changes nothing, in the window too", func(t *testing.T) {
		w, first := signIn(t, spa)
		w.refused(otherSPA, first)
		w.refused(web, first)
		second := w.rotate(spa, first)
		before := w.record()
		w.refused(otherSPA, first)
		w.refused(otherWeb, second)
		w.Clock.Advance(time.Hour)
		w.refused(otherSPA, first)
		assert.Equal(t, before, w.record())
		assert.Len(t, w.Events(oauth.EventWrongClient), 5)
		w.refreshed(spa, second)
	})
	t.Run("RFC 6749 6 a confidential client must authenticate", func(t *testing.T) {
		w, first := signIn(t, web)
		f := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first}, "client_id": {web}}
		wantError(t, w.send("POST", "/oauth/token", formType, f.Encode()), 401, oauth.InvalidClient)
		wantError(t, w.send("POST", "/oauth/token", formType, f.Encode(), basic(web, "wrong-wrong-wrong")), 401, oauth.InvalidClient)
		w.refreshed(web, first)
	})
}

func TestRefreshRotation(t *testing.T) {
	t.Run("S138 FT-22 a live one rotates by one Update", func(t *testing.T) {
		for _, client := range []string{spa, web} {
			w, first := signIn(t, client)
			w.Store.Reset()
			w.rotate(client, first)
			assert.Equal(t, []string{"Get", "Update"}, w.Store.Methods())
		}
	})
	for _, late := range []time.Duration{0, time.Second, window, -time.Second, -time.Hour} {
		t.Run(fmt.Sprintf("FS-18 sent again after %v: the same successor, nothing is written", late), func(t *testing.T) {
			w, first := signIn(t, spa)
			a := w.refreshed(spa, first)
			before := w.record()
			w.Clock.Advance(late)
			w.Store.Reset()
			b := w.refreshed(spa, first)
			assert.Equal(t, []string{"Get"}, w.Store.Methods())
			assert.Equal(t, a.String("refresh_token"), b.String("refresh_token"))
			assert.NotEqual(t, a.String("access_token"), b.String("access_token"))
			assert.True(t, w.active(a.String("access_token")))
			assert.True(t, w.active(b.String("access_token")))
			assert.Equal(t, before, w.record())
			assert.Len(t, w.Events(oauth.EventRefreshRetried), 1)
			w.rotate(spa, b.String("refresh_token"))
		})
	}
	t.Run("S139 FS-18 after the window the authorization ends", func(t *testing.T) {
		w, first := signIn(t, spa)
		a := w.refreshed(spa, first)
		w.Clock.Advance(window + time.Millisecond)
		w.refused(spa, first)
		w.refused(spa, a.String("refresh_token"))
		assert.False(t, w.active(a.String("access_token")))
		assert.Len(t, w.Events(oauth.EventReuseDetected), 1)
	})
	t.Run("design 2 a retry does not move the window", func(t *testing.T) {
		w, first := signIn(t, spa)
		second := w.rotate(spa, first)
		w.Clock.Advance(window - time.Second)
		w.refreshed(spa, first)
		w.Clock.Advance(time.Second + time.Millisecond)
		w.refused(spa, first)
		w.refused(spa, second)
	})
	t.Run("S140 a grandparent ends it inside the window", func(t *testing.T) {
		w, first := signIn(t, spa)
		third := w.rotate(spa, w.rotate(spa, first))
		w.refused(spa, first)
		w.refused(spa, third)
		assert.Len(t, w.Events(oauth.EventReuseDetected), 1)
	})
	t.Run("V016 S141 another process sees the reuse", func(t *testing.T) {
		w, first := signIn(t, spa)
		second := w.rotate(spa, first)
		w.Clock.Advance(time.Minute)
		again := newWire(t, func(c *oauth.Config) { c.Storage, c.Secrets, c.Now = w.Config.Storage, w.Config.Secrets, w.Config.Now })
		again.refused(spa, first)
		w.refused(spa, second)
	})
	t.Run("S376 the clock jumps back over a rotation and its grandparent", func(t *testing.T) {
		w, first := signIn(t, spa)
		w.rotate(spa, w.rotate(spa, first))
		w.Clock.Advance(-time.Hour)
		w.refused(spa, first)
	})
	t.Run("design 2 reuse that cannot be stored is 503, and ends it the next time", func(t *testing.T) {
		w, first := signIn(t, spa)
		second := w.rotate(spa, first)
		w.Clock.Advance(time.Minute)
		w.may5.Store(true)
		w.Store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
			if c.Method == "Update" {
				return oauthtest.FailBefore
			}
			return oauthtest.NoFault
		})
		wantError(t, w.Refresh(spa, first), 503, oauth.TemporarilyUnavailable)
		w.Store.Fail(nil)
		w.may5.Store(false)
		w.refused(spa, first)
		w.refused(spa, second)
	})
	t.Run("N002 a newer generation: the store has lost writes", func(t *testing.T) {
		swap := &swapStore{}
		w, first := signIn(t, spa, func(c *oauth.Config) { swap.Storage, c.Storage = c.Storage, swap })
		dump := w.record()
		third := w.rotate(spa, w.rotate(spa, first))
		swap.Storage = newStorage(t, w.Clock.Now)
		require.NoError(t, swap.Create(t.Context(), dump))
		fourth := w.rotate(spa, third)
		assert.Len(t, w.Events(oauth.EventStoreWentBack), 1)
		assert.Equal(t, uint32(4), w.Events(oauth.EventStoreWentBack)[0].Generation)
		assert.Equal(t, fourth, w.refreshed(spa, third).String("refresh_token"), "the retry of it")
		w.refused(spa, first)
		w.refused(spa, fourth)
	})
}

// A swapStore can be replaced by another while nothing uses it.
type swapStore struct{ oauth.Storage }

func TestNoRetry(t *testing.T) {
	edit := withPolicy(oauth.Policy{RetryWindow: oauth.NoRetry})
	for _, late := range []time.Duration{0, time.Second, 2 * time.Second, -time.Minute} {
		t.Run(fmt.Sprintf("design 2 sent again after %v: refused, nothing changes", late), func(t *testing.T) {
			w, first := signIn(t, spa, edit)
			second := w.rotate(spa, first)
			before := w.record()
			w.Clock.Advance(late)
			w.refused(spa, first)
			assert.Equal(t, before, w.record())
			assert.Len(t, w.Events(oauth.EventRaceLost), 1)
			w.rotate(spa, second)
		})
	}
	t.Run("design 2 after 2.001 s it ends", func(t *testing.T) {
		w, first := signIn(t, spa, edit)
		second := w.rotate(spa, first)
		w.Clock.Advance(2001 * time.Millisecond)
		w.refused(spa, first)
		w.refused(spa, second)
	})
	t.Run("design 2 a grandparent ends it at once", func(t *testing.T) {
		w, first := signIn(t, spa, edit)
		third := w.rotate(spa, w.rotate(spa, first))
		w.refused(spa, first)
		w.refused(spa, third)
	})
	t.Run("design 2 the window is the policy's", func(t *testing.T) {
		w, first := signIn(t, spa, withPolicy(oauth.Policy{RetryWindow: 10 * time.Minute}))
		second := w.rotate(spa, first)
		w.Clock.Advance(10 * time.Minute)
		assert.Equal(t, second, w.refreshed(spa, first).String("refresh_token"))
		w.Clock.Advance(time.Millisecond)
		w.refused(spa, first)
	})
}

func TestKeep(t *testing.T) {
	keep := oauth.Policy{Refresh: oauth.Keep, RefreshIdle: 8 * day}
	t.Run("S154 FT-23 the same one stays, for confidential clients", func(t *testing.T) {
		w, first := signIn(t, web, withPolicy(keep))
		w.Store.Reset()
		for range 3 {
			assert.Equal(t, first, w.refreshed(web, first).String("refresh_token"))
			w.Clock.Advance(time.Hour)
		}
		assert.Equal(t, []string{"Get", "Get", "Get"}, w.Store.Methods(), "the idle end moves by less than an eighth")
	})
	t.Run("design 1 a write from an eighth of the idle life on", func(t *testing.T) {
		w, first := signIn(t, web, withPolicy(keep))
		w.Store.Reset()
		w.Clock.Advance(day - time.Millisecond)
		w.refreshed(web, first)
		w.Clock.Advance(time.Millisecond)
		w.refreshed(web, first)
		w.refreshed(web, first)
		assert.Equal(t, []string{"Get", "Get", "Update", "Get"}, w.Store.Methods())
		w.Clock.Advance(8*day - time.Millisecond)
		w.refreshed(web, first)
		w.Clock.Advance(8 * day)
		w.refused(web, first)
	})
	t.Run("RFC 9700 2.2.2 those of public clients rotate", func(t *testing.T) {
		w, first := signIn(t, spa, withPolicy(keep))
		w.rotate(spa, first)
	})
	t.Run("design 2 a store that went back does not get an older one kept", func(t *testing.T) {
		policy := oauth.Policy{}
		w, first := signIn(t, web, func(c *oauth.Config) {
			c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy { return policy }
		})
		before := w.record()
		second := w.rotate(web, first)
		lost := w.record()
		lost.Data = before.Data
		require.NoError(t, w.Config.Storage.Update(t.Context(), lost))
		policy.Refresh = oauth.Keep
		third := w.rotate(web, second)
		assert.NotEqual(t, first, third)
		assert.Equal(t, third, w.refreshed(web, third).String("refresh_token"))
	})
	t.Run("design 2 a kept one has an absolute end too", func(t *testing.T) {
		w, first := signIn(t, web, withPolicy(oauth.Policy{Refresh: oauth.Keep, RefreshAbsolute: 20 * day}))
		w.Clock.Advance(20*day - time.Second)
		a := w.refreshed(web, first)
		assert.LessOrEqual(t, a.JSON["expires_in"], float64(1))
		w.Clock.Advance(time.Second)
		w.refused(web, first)
	})
	t.Run("design 2 keep after rotation: the old one is retried, then reuse", func(t *testing.T) {
		policy := oauth.Policy{}
		w, first := signIn(t, web, func(c *oauth.Config) {
			c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy { return policy }
		})
		second := w.rotate(web, first)
		policy.Refresh = oauth.Keep
		assert.Equal(t, second, w.refreshed(web, first).String("refresh_token"))
		assert.Equal(t, second, w.refreshed(web, second).String("refresh_token"))
		w.Clock.Advance(window + time.Second)
		w.refused(web, first)
		w.refused(web, second)
	})
	t.Run("FL-12 NoRefresh: none is issued", func(t *testing.T) {
		w := newWire(t, withPolicy(oauth.Policy{Refresh: oauth.NoRefresh}))
		a := w.Redeem(w.Code(web))
		wantKeys(t, a, "access_token", "token_type", "expires_in", "scope")
		assert.True(t, w.active(a.String("access_token")))
	})
	t.Run("FL-12 NoRefresh later: the chain stops, its access token lives", func(t *testing.T) {
		policy := oauth.Policy{}
		w, first := signIn(t, web, func(c *oauth.Config) {
			c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy { return policy }
		})
		policy.Refresh = oauth.NoRefresh
		a := w.refreshed(web, first)
		assert.NotContains(t, a.JSON, "refresh_token")
		w.refused(web, first)
		assert.True(t, w.active(a.String("access_token")))
	})
	t.Run("RFC 6749 5.1 none for a client that may not use it, or a server that has no such grant", func(t *testing.T) {
		w := newWire(t, withClients(oauth.Client{ID: "norefresh", Public: true, RedirectURIs: []string{oauthtest.Callback},
			Grants: []string{"authorization_code"}, Scopes: []string{"read", "write"}}))
		assert.NotContains(t, w.Redeem(w.Code("norefresh")).JSON, "refresh_token")
		w = newWire(t, func(c *oauth.Config) { c.Grants = c.Grants[:1] }, func(c *oauth.Config) {
			c.Clients = oauth.StaticClients(oauth.Client{ID: "app", Public: true, RedirectURIs: []string{oauthtest.Callback}, Scopes: []string{"read", "write"}})
		})
		assert.NotContains(t, w.Redeem(w.Code("app")).JSON, "refresh_token")
	})
}

func TestRefreshEnds(t *testing.T) {
	t.Run("S148 FS-17 idle: each use begins it anew", func(t *testing.T) {
		w, token := signIn(t, spa)
		for range 3 {
			w.Clock.Advance(29 * day)
			token = w.rotate(spa, token)
		}
		w.Clock.Advance(30*day - time.Millisecond)
		token = w.rotate(spa, token)
		w.Clock.Advance(30 * day)
		w.refused(spa, token)
		assert.Empty(t, w.Events(oauth.EventReuseDetected))
	})
	t.Run("S148 absolute: no rotation moves it", func(t *testing.T) {
		w, token := signIn(t, spa, withPolicy(oauth.Policy{RefreshAbsolute: 40 * day}))
		w.Clock.Advance(20 * day)
		token = w.rotate(spa, token)
		w.Clock.Advance(20*day - time.Second)
		token = w.rotate(spa, token)
		w.Clock.Advance(time.Second)
		w.refused(spa, token)
	})
	t.Run("design 2 access tokens never outlive the authorization", func(t *testing.T) {
		w := newWire(t, withPolicy(oauth.Policy{RefreshAbsolute: 10 * time.Minute}))
		a := w.Redeem(w.Code(spa))
		assert.Equal(t, float64(600), a.JSON["expires_in"])
		w.Clock.Advance(9 * time.Minute)
		b := w.refreshed(spa, a.String("refresh_token"))
		assert.Equal(t, float64(60), b.JSON["expires_in"])
		retried := w.refreshed(spa, a.String("refresh_token"))
		assert.Equal(t, float64(60), retried.JSON["expires_in"])
		w.Clock.Advance(time.Minute)
		for _, x := range []*oauthtest.Answer{a, b, retried} {
			assert.False(t, w.active(x.String("access_token")))
		}
	})
	// Nothing is written for a token that comes too late, so it is judged by the clock as
	// it is. What was used or ended stays so whatever the clock says.
	t.Run("S376 the clock jumps back over the end", func(t *testing.T) {
		w, token := signIn(t, spa)
		next := w.rotate(spa, token)
		w.Clock.Advance(30*day + time.Minute)
		before := len(w.Store.Methods())
		w.refused(spa, next)
		assert.NotContains(t, w.Store.Methods()[before:], "Update")
		w.Clock.Advance(-time.Hour)
		w.refused(spa, token) // used: its authorization ends
		w.refused(spa, next)
		assert.Len(t, w.Events(oauth.EventReuseDetected), 1)
		w.Clock.Advance(-29 * day)
		w.refused(spa, next)
	})
	t.Run("FT-24 S376 expired stays expired in the answer", func(t *testing.T) {
		w, token := signIn(t, spa)
		w.Clock.Advance(31 * day)
		a := w.Refresh(spa, token)
		wantError(t, a, 400, oauth.InvalidGrant)
		wantKeys(t, a, "error", "error_description")
	})
}

func TestRefreshScope(t *testing.T) {
	ask := func(w *wire, token, scope string) *oauthtest.Answer {
		return w.Token(spa, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "scope": {scope}})
	}
	t.Run("S144 FS-21 more than was approved burns nothing", func(t *testing.T) {
		w := newWire(t)
		token := w.Redeem(w.Code(spa, "read")).String("refresh_token")
		before := w.record()
		for _, scope := range []string{"read write", "write", "unknown", "read  read", " read", "read\"x"} {
			wantError(t, ask(w, token, scope), 400, oauth.InvalidScope)
		}
		assert.Equal(t, before, w.record())
		w.rotate(spa, token)
	})
	t.Run("S145 less, and then all again", func(t *testing.T) {
		w, token := signIn(t, spa)
		a := wantOK(t, ask(w, token, "read"))
		assert.Equal(t, "read", a.String("scope"))
		assert.Equal(t, "read", w.Introspect(a.String("access_token")).String("scope"))
		b := w.refreshed(spa, a.String("refresh_token"))
		assert.Equal(t, "read write", b.String("scope"))
		assert.Equal(t, "read write", w.Introspect(b.String("access_token")).String("scope"))
	})
	t.Run("S145 a retry may ask for another part", func(t *testing.T) {
		w, token := signIn(t, spa)
		a, b := wantOK(t, ask(w, token, "read")), wantOK(t, ask(w, token, "write"))
		assert.Equal(t, a.String("refresh_token"), b.String("refresh_token"))
		assert.Equal(t, "write", b.String("scope"))
	})
	t.Run("FS-21 what the user declined does not come back", func(t *testing.T) {
		w := newWire(t)
		w.Approve("alice", "read")
		a := w.Redeem(w.Code(spa))
		assert.Equal(t, "read", a.String("scope"))
		wantError(t, ask(w, a.String("refresh_token"), "read write"), 400, oauth.InvalidScope)
		assert.Equal(t, "read", w.refreshed(spa, a.String("refresh_token")).String("scope"))
	})
}

func TestPolicy(t *testing.T) {
	t.Run("FP-08 lifetimes per client, and what the policy is told", func(t *testing.T) {
		var asked []oauth.PolicyRequest
		w := newWire(t, func(c *oauth.Config) {
			c.Policy = func(_ context.Context, r oauth.PolicyRequest) oauth.Policy {
				if r.Subject != "" {
					asked = append(asked, r)
				}
				if r.Client.ID == web {
					return oauth.Policy{Access: 5 * time.Minute, RefreshIdle: time.Hour}
				}
				return oauth.Policy{}
			}
		})
		w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), Extra: map[string]string{"plan": "gold"}})
		})
		a, b := w.Redeem(w.Code(web)), w.Redeem(w.Code(spa))
		assert.Equal(t, float64(300), a.JSON["expires_in"])
		assert.Equal(t, float64(1800), b.JSON["expires_in"])
		w.refreshed(web, a.String("refresh_token"))
		last := asked[len(asked)-1]
		last.Client = nil
		assert.Equal(t, oauth.PolicyRequest{GrantType: "refresh_token", Subject: "alice", Scopes: []string{"read", "write"}, Extra: map[string]string{"plan": "gold"}}, last)
		w.Clock.Advance(time.Hour)
		w.refused(web, w.refreshedOr(web, a.String("refresh_token")))
		w.rotate(spa, b.String("refresh_token"))
	})
	for name, bad := range map[string]oauth.Policy{
		"Access over its maximum":          {Access: 367 * day},
		"RefreshIdle over its maximum":     {RefreshIdle: 3661 * day},
		"RefreshAbsolute over its maximum": {RefreshAbsolute: 3661 * day},
		"RetryWindow over its maximum":     {RetryWindow: 11 * time.Minute},
		"RetryWindow below NoRetry":        {RetryWindow: -2},
		"Access negative":                  {Access: -time.Second},
		"Access under a second":            {Access: time.Millisecond},
		"Refresh unknown":                  {Refresh: 7},
	} {
		t.Run("design 6 "+name+" is a server_error and nothing is lost", func(t *testing.T) {
			policy := oauth.Policy{}
			w, token := signIn(t, web, func(c *oauth.Config) {
				c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy { return policy }
			})
			code := w.Code(web)
			policy = bad
			w.may5.Store(true)
			w.Store.Reset()
			wantError(t, w.Refresh(web, token), 500, oauth.ServerError)
			wantError(t, w.Token(web, code.Form()), 500, oauth.ServerError)
			assert.NotContains(t, w.Store.Methods(), "Update")
			w.may5.Store(false)
			policy = oauth.Policy{}
			w.rotate(web, token)
			w.Redeem(code)
		})
	}
}

// refreshedOr is the successor of a token, or the token itself where it is dead.
func (w *wire) refreshedOr(client, token string) string {
	if a := w.Refresh(client, token); a.Status == http.StatusOK {
		return a.String("refresh_token")
	}
	return token
}

func TestExpiresAt(t *testing.T) {
	// holds says that the record outlives what needs it, by a sweep at the last moment.
	holds := func(t *testing.T, w *wire, until time.Time) {
		t.Helper()
		assert.False(t, w.record().ExpiresAt.Before(until), "ExpiresAt %v is before %v", w.record().ExpiresAt, until)
	}
	const half = 30 * time.Minute
	t.Run("design 1 an open code: its own end and the handle's", func(t *testing.T) {
		w := newWire(t)
		w.Code(spa)
		holds(t, w, w.Clock.Now().Add(time.Hour))
		w = newWire(t, withPolicy(oauth.Policy{Code: 10 * time.Minute}), func(c *oauth.Config) { c.HandleLifetime = time.Minute })
		w.Code(spa)
		holds(t, w, w.Clock.Now().Add(10*time.Minute))
	})
	t.Run("design 1 the refresh token, moved an eighth ahead", func(t *testing.T) {
		w, token := signIn(t, spa, withPolicy(oauth.Policy{RefreshIdle: 8 * day}))
		before := w.record().ExpiresAt
		assert.Equal(t, w.Clock.Now().Add(9*day), before)
		w.Clock.Advance(day)
		token = w.rotate(spa, token)
		assert.Equal(t, before, w.record().ExpiresAt, "not moved while it is not passed")
		w.Clock.Advance(time.Minute)
		w.rotate(spa, token)
		assert.Equal(t, w.Clock.Now().Add(9*day), w.record().ExpiresAt)
	})
	t.Run("design 1 the last access token and the retry window", func(t *testing.T) {
		w := newWire(t, withPolicy(oauth.Policy{Refresh: oauth.NoRefresh, Access: 5 * time.Hour}))
		w.Redeem(w.Code(spa))
		holds(t, w, w.Clock.Now().Add(5*time.Hour+window))
		w, token := signIn(t, spa, withPolicy(oauth.Policy{RefreshIdle: time.Minute, Access: 5 * time.Hour}))
		w.Clock.Advance(50 * time.Second)
		w.rotate(spa, token)
		holds(t, w, w.Clock.Now().Add(5*time.Hour+window))
		w.Clock.Advance(window)
		a := w.refreshed(spa, token)
		holds(t, w, w.Clock.Now().Add(time.Duration(a.JSON["expires_in"].(float64))*time.Second))
	})
	t.Run("design 1 a kept token and its access tokens", func(t *testing.T) {
		w, token := signIn(t, web, withPolicy(oauth.Policy{Refresh: oauth.Keep, RefreshIdle: time.Hour, Access: 2 * time.Hour}))
		for range 20 {
			w.Clock.Advance(5 * time.Minute)
			w.refreshed(web, token)
			holds(t, w, w.Clock.Now().Add(2*time.Hour+window))
		}
	})
	t.Run("design 1 a short policy keeps the record as long as the handle", func(t *testing.T) {
		w, _ := signIn(t, spa, withPolicy(oauth.Policy{Access: time.Second, RefreshIdle: time.Second, RefreshAbsolute: time.Second}))
		holds(t, w, w.Clock.Now().Add(time.Hour))
	})
	t.Run("design 1 a sweep takes nothing that is needed", func(t *testing.T) {
		w, token := signIn(t, spa)
		w.Clock.Advance(30*day - time.Millisecond)
		n, err := w.DeleteExpired(t.Context(), 100)
		require.NoError(t, err)
		assert.Zero(t, n)
		a := w.refreshed(spa, token)
		w.Clock.Advance(half - time.Second)
		_, err = w.DeleteExpired(t.Context(), 100)
		require.NoError(t, err)
		assert.True(t, w.active(a.String("access_token")))
		w.Clock.Advance(40 * day)
		n, err = w.DeleteExpired(t.Context(), 100)
		require.NoError(t, err)
		wantSwept(t, 1, n)
		w.refused(spa, a.String("refresh_token"))
	})
}
