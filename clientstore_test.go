package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// storedServer is a server whose clients are in its own store.
func storedServer(t *testing.T) (*oauthtest.Server, *oauth.ClientStore) {
	t.Helper()
	var clients *oauth.ClientStore
	s := newServer(t, func(c *oauth.Config) {
		clients = &oauth.ClientStore{Storage: c.Storage, Realm: c.Realm, Now: c.Now}
		c.Clients = clients
	})
	hash := []string{oauth.HashSecret(oauthtest.Secret)}
	for _, c := range []oauth.Client{
		{ID: oauthtest.WebClient, Name: "Web", Secrets: hash, RedirectURIs: []string{oauthtest.Callback}, Scopes: []string{"read", "write"}},
		{ID: oauthtest.APIClient, Secrets: hash, Grants: []string{}, Introspect: true},
	} {
		require.NoError(t, clients.Create(t.Context(), c))
	}
	return s, clients
}

func TestStoredClients(t *testing.T) {
	const web = oauthtest.WebClient
	t.Run("design 1 what could not be read again is not stored", func(t *testing.T) {
		s, clients := storedServer(t)
		long := strings.Repeat("x", 64<<10)
		_, err := clients.Update(t.Context(), web, func(c *oauth.Client) error { c.Name = long; return nil })
		require.ErrorContains(t, err, `client "web": it takes more than 64 KiB`)
		require.ErrorContains(t, clients.Create(t.Context(), oauth.Client{ID: "long", Public: true, Name: long}), "64 KiB")
		s.Redeem(s.Code(web))
		require.NoError(t, clients.Erase(t.Context(), web))
	})
	t.Run("design 1 what cannot be read can be erased", func(t *testing.T) {
		for _, from := range []string{`"client":{`, `{"head":"AQ`} {
			s, clients := storedServer(t)
			for rec, err := range s.Store.List(t.Context(), oauth.Filter{Kind: oauth.KindClient}) {
				require.NoError(t, err)
				rec.Data = []byte(strings.Replace(string(rec.Data), from, map[bool]string{true: `"c":{`, false: `{"head":"fw`}[from[0] == '"'], 1))
				require.NoError(t, s.Store.Update(t.Context(), rec))
			}
			_, err := clients.Client(t.Context(), web)
			require.Error(t, err)
			require.NotErrorIs(t, err, oauth.ErrNotFound)
			require.NoError(t, clients.Erase(t.Context(), web))
			_, err = clients.Client(t.Context(), web)
			require.ErrorIs(t, err, oauth.ErrNotFound)
			require.ErrorIs(t, clients.Erase(t.Context(), web), oauth.ErrNotFound)
		}
	})
	t.Run("every field comes back, Data apart", func(t *testing.T) {
		clients := oauth.StoredClients(newStorage(t, nil))
		want := oauth.Client{ID: "https://client.example/metadata.json", Name: "Ünïcode <b>", Secrets: []string{oauth.HashSecret("a"), oauth.HashSecret("b")},
			RedirectURIs: []string{"https://a.example/cb?x=1&y", "com.example.app:/cb"}, LocalhostPort: true, Grants: []string{"client_credentials"},
			Scopes: []string{"read"}, Introspect: true, Disabled: true}
		stored := want
		stored.Data = "the host's own"
		require.NoError(t, clients.Create(t.Context(), stored))
		got, err := clients.Client(t.Context(), want.ID)
		require.NoError(t, err)
		assert.Equal(t, want, *got)
	})
	t.Run("no grants and default grants are not the same", func(t *testing.T) {
		clients := oauth.StoredClients(newStorage(t, nil))
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "none", Public: true, Grants: []string{}}))
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "default", Public: true}))
		none, err := clients.Client(t.Context(), "none")
		require.NoError(t, err)
		byDefault, err := clients.Client(t.Context(), "default")
		require.NoError(t, err)
		assert.False(t, none.May("authorization_code"))
		assert.True(t, byDefault.May("authorization_code"))
	})
	t.Run("sentinels", func(t *testing.T) {
		clients := oauth.StoredClients(newStorage(t, nil))
		c := oauth.Client{ID: "a", Public: true}
		require.NoError(t, clients.Create(t.Context(), c))
		assert.ErrorIs(t, clients.Create(t.Context(), c), oauth.ErrExists)
		_, err := clients.Client(t.Context(), "A")
		assert.ErrorIs(t, err, oauth.ErrNotFound)
		_, err = clients.Update(t.Context(), "b", func(*oauth.Client) error { return nil })
		assert.ErrorIs(t, err, oauth.ErrNotFound)
		assert.ErrorIs(t, clients.Erase(t.Context(), "b"), oauth.ErrNotFound)
		_, err = clients.RotateSecret(t.Context(), "a")
		assert.ErrorContains(t, err, "public")
		own := errors.New("own")
		_, err = clients.Update(t.Context(), "a", func(*oauth.Client) error { return own })
		assert.ErrorIs(t, err, own)
	})
	t.Run("what is wrong with a client is refused", func(t *testing.T) {
		clients := oauth.StoredClients(newStorage(t, nil))
		for _, c := range []oauth.Client{
			{}, {ID: strings.Repeat("x", 2049), Public: true}, {ID: "a"}, {ID: "a", Public: true, Secrets: []string{oauth.HashSecret("x")}},
			{ID: "a", Secrets: []string{"in clear"}}, {ID: "a", Public: true, RedirectURIs: []string{"javascript:alert(1)"}},
		} {
			assert.Error(t, clients.Create(t.Context(), c), fmt.Sprint(c.ID))
		}
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "a", Public: true}))
		_, err := clients.Update(t.Context(), "a", func(c *oauth.Client) error { c.RedirectURIs = []string{"http://a.example"}; return nil })
		assert.ErrorContains(t, err, "RedirectURIs[0]")
	})
	t.Run("S327 N updates at once are all there", func(t *testing.T) {
		clients := oauth.StoredClients(newStorage(t, nil))
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "a", Public: true}))
		start, done := make(chan struct{}), sync.WaitGroup{}
		for i := range 6 {
			done.Go(func() {
				<-start
				_, err := clients.Update(context.Background(), "a", func(c *oauth.Client) error {
					c.Scopes = append(c.Scopes, fmt.Sprint("s", i))
					return nil
				})
				assert.NoError(t, err)
			})
		}
		close(start)
		done.Wait()
		c, err := clients.Client(t.Context(), "a")
		require.NoError(t, err)
		assert.Len(t, c.Scopes, 6)
	})
	t.Run("U14 two secrets are live while one is changed", func(t *testing.T) {
		s, clients := storedServer(t)
		ask := func(secret string) int {
			f := s.Code(web).Form()
			f.Set("client_id", web)
			f.Set("client_secret", secret)
			return s.Post("/oauth/token", "", f).Status
		}
		second, err := clients.RotateSecret(t.Context(), web)
		require.NoError(t, err)
		assert.Equal(t, []int{200, 200, 401}, []int{ask(oauthtest.Secret), ask(second), ask("neither")})
		third, err := clients.RotateSecret(t.Context(), web)
		require.NoError(t, err)
		assert.Equal(t, []int{401, 200, 200}, []int{ask(oauthtest.Secret), ask(second), ask(third)})
	})
	for name, end := range map[string]func(t *testing.T, c *oauth.ClientStore){
		"disabled": func(t *testing.T, c *oauth.ClientStore) {
			_, err := c.Update(t.Context(), web, func(c *oauth.Client) error { c.Disabled = true; return nil })
			require.NoError(t, err)
		},
		"erased": func(t *testing.T, c *oauth.ClientStore) { require.NoError(t, c.Erase(t.Context(), web)) },
		"without the scope": func(t *testing.T, c *oauth.ClientStore) {
			_, err := c.Update(t.Context(), web, func(c *oauth.Client) error { c.Scopes = nil; return nil })
			require.NoError(t, err)
		},
	} {
		t.Run("design 1 a client that is "+name+" has no tokens", func(t *testing.T) {
			s, clients := storedServer(t)
			token := s.Redeem(s.Code(web)).String("access_token")
			assert.Equal(t, true, s.Introspect(token).JSON["active"])
			end(t, clients)
			assert.Equal(t, false, s.Introspect(token).JSON["active"])
		})
	}
	t.Run("design 1 erasing leaves nothing but the ID", func(t *testing.T) {
		store := newStorage(t, nil)
		clients := oauth.StoredClients(store)
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "a", Name: "Secret Project", Public: true}))
		require.NoError(t, clients.Erase(t.Context(), "a"))
		for rec, err := range store.List(t.Context(), oauth.Filter{}) {
			require.NoError(t, err)
			assert.NotContains(t, fmt.Sprint(string(rec.Data), rec), "Secret Project")
		}
		for range clients.All(t.Context()) {
			t.Error("an erased client is listed")
		}
		n, err := store.DeleteExpired(t.Context(), time.Now().Add(time.Hour), 10)
		require.NoError(t, err)
		wantSwept(t, 1, n)
	})
	t.Run("V062 S373 a list shows neither secret nor hash", func(t *testing.T) {
		_, clients := storedServer(t)
		var ids []string
		for c, err := range clients.All(t.Context()) {
			require.NoError(t, err)
			assert.Nil(t, c.Secrets)
			ids = append(ids, c.ID)
		}
		assert.ElementsMatch(t, []string{web, oauthtest.APIClient}, ids)
	})
	t.Run("design 1 realms are apart", func(t *testing.T) {
		store := newStorage(t, nil)
		a, b := &oauth.ClientStore{Storage: store, Realm: "a"}, &oauth.ClientStore{Storage: store, Realm: "b"}
		require.NoError(t, a.Create(t.Context(), oauth.Client{ID: "x", Public: true}))
		_, err := b.Client(t.Context(), "x")
		assert.ErrorIs(t, err, oauth.ErrNotFound)
		require.NoError(t, b.Create(t.Context(), oauth.Client{ID: "x", Public: true, Name: "b's"}))
	})
}

// A row names its realm, its kind and its client beside the hash of all three in its
// ID. One whose columns were changed is nobody's.
func TestStoredClientsOfAnotherRow(t *testing.T) {
	for name, edit := range map[string]func(*oauth.Record){
		"realm":  func(r *oauth.Record) { r.Realm = "other" },
		"kind":   func(r *oauth.Record) { r.Kind = oauth.KindAuthorization },
		"client": func(r *oauth.Record) { r.ClientID = "b" },
	} {
		t.Run("N007 "+name, func(t *testing.T) {
			store := newStorage(t, nil)
			require.NoError(t, oauth.StoredClients(store).Create(t.Context(), oauth.Client{ID: "a", Public: true}))
			_, err := oauth.StoredClients(edited{store, func(*oauth.Record) {}}).Client(t.Context(), "a")
			require.NoError(t, err)
			_, err = oauth.StoredClients(edited{store, edit}).Client(t.Context(), "a")
			require.ErrorIs(t, err, oauth.ErrNotFound)
		})
	}
}

// edited is a store whose rows somebody has changed.
type edited struct {
	oauth.Storage
	edit func(*oauth.Record)
}

func (e edited) Get(ctx context.Context, id string) (oauth.Record, error) {
	r, err := e.Storage.Get(ctx, id)
	e.edit(&r)
	return r, err
}

// No resources are those of no API, and nil those of the server itself.
func TestStoredClientsResources(t *testing.T) {
	store := oauth.StoredClients(newStorage(t, nil))
	api := oauth.Client{ID: "api", Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, Grants: []string{}, Introspect: true}
	require.NoError(t, store.Create(t.Context(), api))
	for _, want := range [][]string{nil, {}, {"https://notes.example"}, {}, nil} {
		_, err := store.Update(t.Context(), "api", func(c *oauth.Client) error { c.Resources = want; return nil })
		require.NoError(t, err)
		c, err := store.Client(t.Context(), "api")
		require.NoError(t, err)
		assert.Equal(t, want, c.Resources)
	}
	err := store.Create(t.Context(), oauth.Client{ID: "app", Public: true, Resources: []string{"https://notes.example"}})
	require.ErrorContains(t, err, "Resources is for a client with Introspect")
}

func TestStoredClientsKeepTheirID(t *testing.T) {
	store := oauth.StoredClients(newStorage(t, nil))
	require.NoError(t, store.Create(t.Context(), oauth.Client{ID: "a", Public: true}))
	c, err := store.Update(t.Context(), "a", func(c *oauth.Client) error { c.ID = "b"; return nil })
	require.NoError(t, err)
	assert.Equal(t, "a", c.ID)
	_, err = store.Client(t.Context(), "b")
	assert.ErrorIs(t, err, oauth.ErrNotFound)
}

func TestStoredClientsAreSeenWithinAMinute(t *testing.T) {
	clock := oauthtest.NewClock(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	store := newStorage(t, nil)
	here := &oauth.ClientStore{Storage: store, Now: clock.Now, CacheFor: 24 * time.Hour}
	require.NoError(t, here.Create(t.Context(), oauth.Client{ID: "a", Public: true}))
	_, err := here.Client(t.Context(), "a")
	require.NoError(t, err)
	_, err = oauth.StoredClients(store).Update(t.Context(), "a", func(c *oauth.Client) error { c.Disabled = true; return nil })
	require.NoError(t, err)
	c, err := here.Client(t.Context(), "a")
	require.NoError(t, err)
	assert.False(t, c.Disabled, "it is remembered")
	clock.Advance(time.Minute)
	c, err = here.Client(t.Context(), "a")
	require.NoError(t, err)
	assert.True(t, c.Disabled, "whatever CacheFor says")
}

func TestStoredClientsCache(t *testing.T) {
	clock := oauthtest.NewClock(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	store := oauthtest.NewFaulty(newStorage(t, nil))
	here := &oauth.ClientStore{Storage: store, Now: clock.Now}
	there := &oauth.ClientStore{Storage: store, Now: clock.Now, CacheFor: -1}
	require.NoError(t, here.Create(t.Context(), oauth.Client{ID: "a", Public: true}))
	name := func(s *oauth.ClientStore) string {
		c, err := s.Client(t.Context(), "a")
		require.NoError(t, err)
		return c.Name
	}
	assert.Empty(t, name(here))
	_, err := there.Update(t.Context(), "a", func(c *oauth.Client) error { c.Name = "new"; return nil })
	require.NoError(t, err)
	assert.Equal(t, []string{"", "new"}, []string{name(here), name(there)}, "another process has changed it")
	clock.Advance(2 * time.Second)
	assert.Equal(t, "new", name(here))
	_, err = here.Update(t.Context(), "a", func(c *oauth.Client) error { c.Name = "newer"; return nil })
	require.NoError(t, err)
	assert.Equal(t, "newer", name(here), "what this process changes it sees at once")

	store.Reset()
	for range 10 {
		name(here)
	}
	assert.Empty(t, store.Calls())
	_, err = there.Update(t.Context(), "a", func(c *oauth.Client) error { c.Disabled = true; return nil })
	require.NoError(t, err)
	clock.Advance(2 * time.Second)
	store.Reset()
	for range 3 {
		_, err = here.Client(t.Context(), "a")
		require.NoError(t, err)
		_, err = here.Client(t.Context(), "nobody")
		require.ErrorIs(t, err, oauth.ErrNotFound)
	}
	assert.Equal(t, []string{"Get", "Get", "Get", "Get", "Get", "Get"}, store.Methods(), "a disabled client costs what one costs that never was")
	store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
	_, err = there.Client(t.Context(), "a")
	assert.ErrorIs(t, err, oauthtest.ErrFault)
	assert.NotErrorIs(t, err, oauth.ErrNotFound)
}

func TestStoredClientsWrites(t *testing.T) {
	for name, fault := range map[string]oauthtest.Fault{"N004 performed twice": oauthtest.Twice, "N005 its answer lost": oauthtest.FailAfter} {
		t.Run(name, func(t *testing.T) {
			store := oauthtest.NewFaulty(newStorage(t, nil))
			store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
				if c.Method == "Create" || c.Method == "Update" {
					return fault
				}
				return oauthtest.NoFault
			})
			clients := oauth.StoredClients(store)
			require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "a", Public: true}))
			_, err := clients.Update(t.Context(), "a", func(c *oauth.Client) error { c.Name = "n"; return nil })
			require.NoError(t, err)
			require.NoError(t, clients.Erase(t.Context(), "a"))
		})
	}
	t.Run("N013 members of another version stay", func(t *testing.T) {
		store := newStorage(t, nil)
		clients := oauth.StoredClients(store)
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "a", Public: true}))
		for rec, err := range store.List(t.Context(), oauth.Filter{Kind: oauth.KindClient}) {
			require.NoError(t, err)
			rec.Data = append(rec.Data[:len(rec.Data)-1], `,"later": [1, 2 ]}`...)
			require.NoError(t, store.Update(t.Context(), rec))
		}
		_, err := clients.Update(t.Context(), "a", func(c *oauth.Client) error { c.Name = "n"; return nil })
		require.NoError(t, err)
		for rec, err := range store.List(t.Context(), oauth.Filter{Kind: oauth.KindClient}) {
			require.NoError(t, err)
			assert.Contains(t, string(rec.Data), `"later":[1, 2 ]`)
			assert.True(t, json.Valid(rec.Data))
		}
	})
	t.Run("S335 a store that fails is a 503", func(t *testing.T) {
		s, _ := storedServer(t)
		code := s.Code(oauthtest.WebClient)
		s.Clock.Advance(3 * time.Second)
		s.Store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
		f := code.Form()
		f.Set("client_id", oauthtest.WebClient)
		f.Set("client_secret", oauthtest.Secret)
		a := s.Post("/oauth/token", "", f)
		assert.Equal(t, []any{503, "temporarily_unavailable"}, []any{a.Status, a.String("error")})
		s.Store.Fail(nil)
		assert.Equal(t, 200, s.Post("/oauth/token", "", f).Status)
		assert.Equal(t, 400, s.Post("/oauth/token", "", url.Values{"client_id": {oauthtest.WebClient}, "client_secret": {oauthtest.Secret}}).Status)
	})
}

// A latecomer does something between the reading of a record and the answer.
type latecomer struct {
	oauth.Storage
	meanwhile func()
}

func (s *latecomer) Get(ctx context.Context, id string) (oauth.Record, error) {
	rec, err := s.Storage.Get(ctx, id)
	if f := s.meanwhile; f != nil {
		s.meanwhile = nil
		f()
	}
	return rec, err
}

func TestStoredClientsStale(t *testing.T) {
	t.Run("what was read before a change is not remembered after it", func(t *testing.T) {
		store := &latecomer{Storage: newStorage(t, nil)}
		clients := oauth.StoredClients(store)
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "a", Public: true}))
		store.meanwhile = func() {
			_, err := clients.Update(t.Context(), "a", func(c *oauth.Client) error { c.Disabled = true; return nil })
			assert.NoError(t, err)
		}
		_, err := clients.Client(t.Context(), "a")
		require.NoError(t, err)
		c, err := clients.Client(t.Context(), "a")
		require.NoError(t, err)
		assert.True(t, c.Disabled)
	})
	t.Run("N013 members of a client that only a newer version knows stay", func(t *testing.T) {
		store := newStorage(t, nil)
		clients := oauth.StoredClients(store)
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "a", Name: "n", Public: true}))
		change := func(from, to string) {
			for rec, err := range store.List(t.Context(), oauth.Filter{Kind: oauth.KindClient}) {
				require.NoError(t, err)
				changed := strings.Replace(string(rec.Data), from, to, 1)
				require.NotEqual(t, changed, string(rec.Data))
				rec.Data = []byte(changed)
				require.NoError(t, store.Update(t.Context(), rec))
			}
		}
		change(`"client":{`, `"client":{"require_par":true, "name":`+`"x","later":{"a":[1 ]},"dropped":1,`)
		_, err := clients.Update(t.Context(), "a", func(c *oauth.Client) error { c.Name = "m"; return nil })
		require.NoError(t, err)
		for rec, err := range store.List(t.Context(), oauth.Filter{Kind: oauth.KindClient}) {
			require.NoError(t, err)
			assert.Contains(t, string(rec.Data), `"require_par":true,"later":{"a":[1 ]}`)
			assert.Equal(t, 1, strings.Count(string(rec.Data), `"name"`))
		}
	})
}

// A registry with a long list of clients does not grow for ever, and what is in use is
// not asked for again.
func TestStoredClientsRememberABoundedNumber(t *testing.T) {
	const bound = 1000
	store := oauthtest.NewFaulty(newStorage(t, nil))
	clients := oauth.StoredClients(store)
	now := time.Unix(2_000_000_000, 0)
	clients.Now = func() time.Time { return now }
	ids := make([]string, bound+1)
	for i := range ids {
		ids[i] = fmt.Sprintf("client-%d", i)
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: ids[i], Public: true}))
	}
	asked := func(ids ...string) int { // how many of them the store is asked for
		store.Reset()
		for _, id := range ids {
			c, err := clients.Client(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, id, c.ID)
		}
		return len(store.Methods())
	}
	require.Equal(t, bound, asked(ids[:bound]...))
	require.Zero(t, asked(ids[:bound]...), "all of them are remembered")
	require.Equal(t, 1, asked(ids[bound]))
	again := asked(ids[:bound]...)
	require.Positive(t, again, "one more is one too many")
	require.Zero(t, asked(ids[bound-1]), "what came last is remembered")
	now = now.Add(2*time.Second - time.Nanosecond)
	require.Zero(t, asked(ids[bound-1]))
	now = now.Add(time.Nanosecond)
	require.Equal(t, 1, asked(ids[bound-1]), "for two seconds")
	clients.CacheFor = 24 * time.Hour
	now = now.Add(time.Hour)
	require.Equal(t, 1, asked(ids[bound-1]))
	now = now.Add(time.Minute)
	require.Equal(t, 1, asked(ids[bound-1]), "for a minute at most")
}

func TestImportOnce(t *testing.T) {
	const foreign = "a-token-of-the-server-before"
	for name, end := range map[string]func(*testing.T, *oauthtest.Server, string){
		"erased": func(t *testing.T, s *oauthtest.Server, _ string) {
			_, err := s.Revoke(t.Context(), oauth.Selector{Subject: "alice", Erase: true})
			require.NoError(t, err)
		},
		"revoked":  func(t *testing.T, s *oauthtest.Server, token string) { revoke(s, oauthtest.WebClient, token) },
		"not used": func(*testing.T, *oauthtest.Server, string) {},
	} {
		t.Run("design 6 not again after the authorization was "+name, func(t *testing.T) {
			s := newServer(t, func(c *oauth.Config) {
				c.Import = func(context.Context, *oauth.Client, string) (*oauth.Approval, error) {
					return &oauth.Approval{Subject: "alice", Scopes: []string{"read"}}, nil
				}
			})
			end(t, s, s.Refresh(oauthtest.WebClient, foreign).String("refresh_token"))
			s.Clock.Advance(179 * 24 * time.Hour)
			_, err := s.DeleteExpired(t.Context(), 100)
			require.NoError(t, err)
			assert.Equal(t, "invalid_grant", s.Refresh(oauthtest.WebClient, foreign).String("error"))
		})
	}
}
