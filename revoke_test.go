package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// withJWT makes access tokens JWTs, signed by a key of this test.
func withJWT(t *testing.T) func(*oauth.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return func(c *oauth.Config) {
		c.AccessToken, c.Keys = oauth.JWT{}, oauth.StaticKeys(oauth.Key{Signer: key})
	}
}

// revoke revokes as a client and demands the empty 200 of RFC 7009.
func (w *wire) revoke(client, token string, hint ...string) {
	w.t.Helper()
	f := url.Values{"token": {token}}
	if len(hint) > 0 {
		f["token_type_hint"] = hint
	}
	a := wantOK(w.t, w.Post("/oauth/revoke", client, f))
	assert.Empty(w.t, a.Body)
	assert.Empty(w.t, a.Header.Get("Content-Type"))
}

func TestRevokeRefreshToken(t *testing.T) {
	for _, client := range []string{spa, web} {
		t.Run("V064 S151 S165 S168 FT-25 FL-28 it ends the authorization: "+client, func(t *testing.T) {
			w := newWire(t)
			a := w.Redeem(w.Code(client))
			other := w.Redeem(w.Code(client))
			w.Store.Reset()
			w.revoke(client, a.String("refresh_token"))
			assert.Equal(t, []string{"Get", "Update"}, w.Store.Methods())
			assert.False(t, w.active(a.String("access_token")))
			w.refused(client, a.String("refresh_token"))
			e := w.Events(oauth.EventRevoked)
			require.Len(t, e, 1)
			assert.Equal(t, []any{client, "alice", "revoke"}, []any{e[0].ClientID, e[0].Subject, e[0].Endpoint})
			// S151: no theft: nothing else of the user ends.
			assert.Empty(t, w.Events(oauth.EventReuseDetected))
			assert.True(t, w.active(other.String("access_token")))
			w.rotate(client, other.String("refresh_token"))
			w.revoke(client, a.String("refresh_token"))
			assert.Len(t, w.Events(oauth.EventRevoked), 1, "once")
		})
	}
	t.Run("RFC 7009 2.1 an old generation is a token of the authorization too", func(t *testing.T) {
		w, first := signIn(t, spa)
		a := w.refreshed(spa, first)
		w.Clock.Advance(time.Hour)
		w.revoke(spa, first)
		w.refused(spa, a.String("refresh_token"))
		assert.Empty(t, w.Events(oauth.EventReuseDetected))
	})
	t.Run("S167 another client's stays alive", func(t *testing.T) {
		w, first := signIn(t, spa)
		before := w.record()
		w.revoke(otherSPA, first)
		w.revoke(web, first)
		assert.Equal(t, before, w.record())
		assert.Len(t, w.Events(oauth.EventWrongClient), 2)
		assert.Empty(t, w.Events(oauth.EventRevoked))
		w.rotate(spa, first)
	})
	t.Run("RFC 7009 2.1 a code cannot be revoked, and no code is redeemed after Revoke", func(t *testing.T) {
		w := newWire(t)
		code := w.Code(spa)
		w.revoke(spa, code.Code)
		n, err := w.Revoke(t.Context(), oauth.Selector{Subject: "alice"})
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		wantError(t, w.Token(spa, code.Form()), 400, oauth.InvalidGrant)
	})
}

func TestRevokeAccessToken(t *testing.T) {
	for name, edit := range map[string]func(*oauth.Config){"opaque": func(*oauth.Config) {}, "JWT": withJWT(t)} {
		t.Run("S169 FL-28 every one so far dies, the refresh token lives: "+name, func(t *testing.T) {
			w := newWire(t, edit)
			a := w.Redeem(w.Code(spa))
			b := w.refreshed(spa, a.String("refresh_token"))
			c := w.refreshed(spa, a.String("refresh_token")) // a retry
			w.Store.Reset()
			w.revoke(spa, b.String("access_token"))
			assert.Equal(t, []string{"Get", "Update"}, w.Store.Methods())
			for _, x := range []*oauthtest.Answer{a, b, c} {
				assert.False(t, w.active(x.String("access_token")))
				_, err := w.VerifyToken(t.Context(), x.String("access_token"))
				require.ErrorIs(t, err, oauth.InvalidToken)
			}
			retried := w.refreshed(spa, a.String("refresh_token"))
			assert.True(t, w.active(retried.String("access_token")), "a retry after it gets a live one")
			d := w.refreshed(spa, b.String("refresh_token"))
			assert.True(t, w.active(d.String("access_token")))
			w.revoke(spa, b.String("access_token")) // dead already: nothing happens
			assert.True(t, w.active(d.String("access_token")))
			assert.True(t, w.active(retried.String("access_token")))
		})
		t.Run("RFC 7009 2.1 the newer ones die with an older one: "+name, func(t *testing.T) {
			w := newWire(t, edit)
			a := w.Redeem(w.Code(spa))
			b := w.refreshed(spa, a.String("refresh_token"))
			w.revoke(spa, a.String("access_token"))
			assert.False(t, w.active(b.String("access_token")))
			w.rotate(spa, b.String("refresh_token"))
		})
		t.Run("RFC 7009 2.1 of a kept refresh token: "+name, func(t *testing.T) {
			w, token := signIn(t, web, withPolicy(oauth.Policy{Refresh: oauth.Keep}), edit)
			a, b := w.refreshed(web, token), w.refreshed(web, token)
			w.revoke(web, a.String("access_token"))
			assert.False(t, w.active(b.String("access_token")))
			c := w.refreshed(web, token)
			assert.True(t, w.active(c.String("access_token")))
			w.revoke(web, c.String("access_token"))
			assert.False(t, w.active(c.String("access_token")))
			assert.True(t, w.active(w.refreshed(web, token).String("access_token")))
		})
		t.Run("S167 another client's stays alive: "+name, func(t *testing.T) {
			w := newWire(t, edit)
			a := w.Redeem(w.Code(spa)).String("access_token")
			w.revoke(otherSPA, a)
			w.revoke(oauthtest.APIClient, a)
			assert.True(t, w.active(a))
			assert.Len(t, w.Events(oauth.EventWrongClient), 2)
		})
		t.Run("design 1 a token without a record: "+name, func(t *testing.T) {
			w := newWire(t, edit)
			a := wantOK(t, w.Token(oauthtest.MachineClient, machineForm())).String("access_token")
			b := wantOK(t, w.Token(oauthtest.MachineClient, machineForm())).String("access_token")
			w.revoke(web, a)
			assert.True(t, w.active(a))
			w.Store.Reset()
			w.revoke(oauthtest.MachineClient, a)
			assert.Equal(t, []string{"Create"}, w.Store.Methods())
			assert.False(t, w.active(a))
			assert.True(t, w.active(b))
			w.revoke(oauthtest.MachineClient, a)
			assert.False(t, w.active(a))
			for rec, err := range w.Config.Storage.List(t.Context(), oauth.Filter{Kind: oauth.KindSpent}) {
				require.NoError(t, err)
				assert.Equal(t, w.Clock.Now().Add(30*time.Minute), rec.ExpiresAt)
			}
			w.Clock.Advance(31*time.Minute + time.Millisecond)
			n, err := w.DeleteExpired(t.Context(), 10)
			require.NoError(t, err)
			assert.Equal(t, 1, n)
			assert.False(t, w.active(a), "expired meanwhile")
		})
	}
	t.Run("RFC 7009 2.2 an expired one writes nothing", func(t *testing.T) {
		w := newWire(t)
		a := w.Redeem(w.Code(spa)).String("access_token")
		m := wantOK(t, w.Token(oauthtest.MachineClient, machineForm())).String("access_token")
		w.Clock.Advance(30 * time.Minute)
		w.Store.Reset()
		w.revoke(spa, a)
		w.revoke(oauthtest.MachineClient, m)
		assert.NotContains(t, w.Store.Methods(), "Update")
		assert.NotContains(t, w.Store.Methods(), "Create")
	})
}

func TestRevokeRequest(t *testing.T) {
	w := newWire(t)
	a := w.Redeem(w.Code(spa))
	access := a.String("access_token")
	t.Run("S164 FS-24 FL-27 unknown", func(t *testing.T) {
		for _, token := range []string{"xyz", "a.b.c", strings.Repeat("A", 55), strings.Repeat("A", 30000), access + "A", access[:len(access)-1]} {
			w.revoke(spa, token)
			w.revoke(web, token)
		}
		assert.True(t, w.active(access))
	})
	t.Run("V065 S166 who is asking", func(t *testing.T) {
		form := url.Values{"token": {access}}
		wantError(t, w.send("POST", "/oauth/revoke", formType, form.Encode()), 401, oauth.InvalidClient)
		wantError(t, w.send("POST", "/oauth/revoke", formType, form.Encode(), header("Authorization", "Bearer "+access)), 401, oauth.InvalidClient)
		wantError(t, w.send("POST", "/oauth/revoke", formType, form.Encode(), basic(web, "wrong-secret-x")), 401, oauth.InvalidClient)
		wantError(t, w.send("POST", "/oauth/revoke", formType, form.Encode()+"&client_id=nobody"), 401, oauth.InvalidClient)
		assert.True(t, w.active(access))
	})
	t.Run("FS-24 token missing", func(t *testing.T) {
		for _, f := range []url.Values{{}, {"token": {""}}} {
			r := w.Post("/oauth/revoke", spa, f)
			wantError(t, r, 400, oauth.InvalidRequest)
			assert.Equal(t, "Missing required parameter: token", r.String("error_description"))
		}
	})
	t.Run("S172 GET, or a token in the query", func(t *testing.T) {
		r := w.send("GET", "/oauth/revoke?callback=f&client_id=spa&token="+access, "", "")
		assert.Equal(t, 405, r.Status)
		assert.Equal(t, "POST", r.Header.Get("Allow"))
		assert.NotContains(t, string(r.Body), "f(")
		wantError(t, w.send("POST", "/oauth/revoke?token="+access, formType, "client_id=spa"), 400, oauth.InvalidRequest)
		assert.True(t, w.active(access))
	})
	for _, hint := range []string{"refresh_token", "access_token", "unknown", ""} {
		t.Run("FS-24 FL-27 the hint does not matter: "+hint, func(t *testing.T) {
			w := newWire(t)
			a, b := w.Redeem(w.Code(spa)), w.Redeem(w.Code(spa))
			w.revoke(spa, a.String("access_token"), hint)
			assert.False(t, w.active(a.String("access_token")))
			w.rotate(spa, a.String("refresh_token"))
			w.revoke(spa, b.String("refresh_token"), hint)
			w.refused(spa, b.String("refresh_token"))
		})
	}
}

func TestRevokeStorageFails(t *testing.T) {
	for _, method := range []string{"Get", "Update", "Create"} {
		t.Run("S343 a store that fails at "+method+" is 503, and the token still active", func(t *testing.T) {
			w := newWire(t)
			a := w.Redeem(w.Code(spa))
			m := wantOK(t, w.Token(oauthtest.MachineClient, machineForm())).String("access_token")
			w.may5.Store(true)
			w.Store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
				if c.Method == method {
					return oauthtest.FailBefore
				}
				return oauthtest.NoFault
			})
			if method != "Create" {
				wantError(t, w.Post("/oauth/revoke", spa, url.Values{"token": {a.String("refresh_token")}}), 503, oauth.TemporarilyUnavailable)
				wantError(t, w.Post("/oauth/revoke", spa, url.Values{"token": {a.String("access_token")}}), 503, oauth.TemporarilyUnavailable)
			}
			if method == "Create" {
				wantError(t, w.Post("/oauth/revoke", oauthtest.MachineClient, url.Values{"token": {m}}), 503, oauth.TemporarilyUnavailable)
			}
			w.Store.Fail(nil)
			assert.True(t, w.active(a.String("access_token")))
			assert.True(t, w.active(m))
			assert.Empty(t, w.Events(oauth.EventRevoked))
			w.revoke(spa, a.String("refresh_token"))
			w.revoke(oauthtest.MachineClient, m)
			assert.False(t, w.active(a.String("access_token")))
			assert.False(t, w.active(m))
		})
	}
	t.Run("design 1 a write whose answer was lost is done", func(t *testing.T) {
		w, token := signIn(t, spa)
		w.Store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
			return oauthtest.FailAfter * oauthtest.Fault(boolInt(c.Method == "Update"))
		})
		w.revoke(spa, token)
		w.Store.Fail(nil)
		w.refused(spa, token)
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestRevokeByHost(t *testing.T) {
	setup := func(t *testing.T) (*wire, map[string]*oauthtest.Answer) {
		w, all := newWire(t), map[string]*oauthtest.Answer{}
		for _, who := range []string{"alice", "bob"} {
			for _, client := range []string{spa, web} {
				w.Interact(approveIn(who, "session of "+who+" in "+client))
				all[who+" "+client] = w.Redeem(w.Code(client))
			}
		}
		return w, all
	}
	alive := func(w *wire, all map[string]*oauthtest.Answer) (names []string) {
		for name, a := range all {
			if w.active(a.String("access_token")) {
				names = append(names, name)
			}
		}
		return names
	}
	for _, c := range []struct {
		name string
		sel  oauth.Selector
		left []string
	}{
		{"subject", oauth.Selector{Subject: "alice"}, []string{"bob spa", "bob web"}},
		{"client", oauth.Selector{ClientID: "spa"}, []string{"alice web", "bob web"}},
		{"subject and client", oauth.Selector{Subject: "alice", ClientID: "spa"}, []string{"alice web", "bob web", "bob spa"}},
		{"session", oauth.Selector{Session: "session of bob in web"}, []string{"alice web", "alice spa", "bob spa"}},
		{"subject and another's session", oauth.Selector{Subject: "alice", Session: "session of bob in web"}, []string{"alice web", "alice spa", "bob spa", "bob web"}},
		{"nobody", oauth.Selector{Subject: "carol"}, []string{"alice web", "alice spa", "bob spa", "bob web"}},
		{"unknown ID", oauth.Selector{ID: "a_AAAAAAAAAAAAAAAAAAAAAA"}, []string{"alice web", "alice spa", "bob spa", "bob web"}},
		{"erased", oauth.Selector{Subject: "alice", Erase: true}, []string{"bob spa", "bob web"}},
	} {
		t.Run("design 6 Revoke by "+c.name, func(t *testing.T) {
			w, all := setup(t)
			n, err := w.Revoke(t.Context(), c.sel)
			require.NoError(t, err)
			assert.Equal(t, 4-len(c.left), n)
			assert.ElementsMatch(t, c.left, alive(w, all))
			assert.Len(t, w.Events(oauth.EventRevoked), n)
			n, err = w.Revoke(t.Context(), c.sel)
			require.NoError(t, err)
			assert.Zero(t, n, "once")
			list, err := w.Authorizations(t.Context(), "alice")
			require.NoError(t, err)
			want := 0
			for _, name := range c.left {
				want += boolInt(strings.HasPrefix(name, "alice"))
			}
			assert.Len(t, list, want)
			if c.sel.Erase {
				for rec, err := range w.Config.Storage.List(t.Context(), oauth.Filter{}) {
					require.NoError(t, err)
					assert.NotEqual(t, "alice", rec.Subject)
					assert.NotContains(t, string(rec.Data), "alice")
				}
			}
		})
	}
	t.Run("design 6 Revoke by ID, and what Authorizations tells", func(t *testing.T) {
		w, all := setup(t)
		list, err := w.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		require.Len(t, list, 2)
		one := list[0]
		assert.Equal(t, []any{"alice", "authorization_code", []string{"read", "write"}, "session of alice in " + one.ClientID, w.Clock.Now(), w.Clock.Now().Add(180 * day)},
			[]any{one.Subject, one.GrantType, one.Scopes, one.Session, one.CreatedAt, one.EndsAt})
		for _, a := range all { // S373
			assert.NotContains(t, fmt.Sprintf("%+v", *one), a.String("refresh_token"))
			assert.NotContains(t, fmt.Sprintf("%+v", *one), a.String("access_token"))
		}
		n, err := w.Revoke(t.Context(), oauth.Selector{ID: one.ID})
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		assert.Len(t, alive(w, all), 3)
		w.refused(one.ClientID, all["alice "+one.ClientID].String("refresh_token"))
	})
	t.Run("design 6 a selector is needed, and a failure is told", func(t *testing.T) {
		w, all := setup(t)
		_, err := w.Revoke(t.Context(), oauth.Selector{Erase: true})
		require.Error(t, err)
		_, err = w.Authorizations(t.Context(), "")
		require.Error(t, err)
		w.Store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
		_, err = w.Revoke(t.Context(), oauth.Selector{Subject: "alice"})
		require.ErrorIs(t, err, oauthtest.ErrFault)
		_, err = w.Authorizations(t.Context(), "alice")
		require.ErrorIs(t, err, oauthtest.ErrFault)
		w.Store.Fail(nil)
		assert.Len(t, alive(w, all), 4)
	})
}
