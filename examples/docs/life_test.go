package docs_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/keystore"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/oauthtest"
)

// operations.md, "Change the secrets": in each rollout both lists of secrets are
// live, and a client may meet either server with each request.
func TestRollouts(t *testing.T) {
	old, fresh, store := oauth.NewSecret(), oauth.NewSecret(), memstore.New()
	server := func(rollout func(c *oauth.Config)) *oauthtest.Server {
		return oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage = store; rollout(c) })
	}
	servers := []*oauthtest.Server{
		server(func(c *oauth.Config) { lastRollout(c, old) }),
		server(func(c *oauth.Config) { firstRollout(c, old, fresh) }),
		server(func(c *oauth.Config) { secondRollout(c, old, fresh) }),
		server(func(c *oauth.Config) { lastRollout(c, fresh) }),
	}
	unused := servers[0].Redeem(servers[0].Code(oauthtest.SPAClient)).String("refresh_token")
	token := unused
	refresh := func(srv *oauthtest.Server) {
		t.Helper()
		a := srv.Refresh(oauthtest.SPAClient, token)
		require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
		require.True(t, live(srv, a.String("access_token")))
		token = a.String("refresh_token")
	}
	for i := range len(servers) - 1 {
		for range 3 {
			refresh(servers[i])
			refresh(servers[i+1])
		}
		require.Empty(t, servers[i+1].Events(oauth.EventUnknownSecret), "rollout %d", i+1)
	}
	stale := servers[0].Redeem(servers[0].Code(oauthtest.SPAClient)).String("refresh_token")
	require.Equal(t, http.StatusBadRequest, servers[3].Refresh(oauthtest.SPAClient, stale).Status, "the old secret has gone")
	require.Len(t, servers[3].Events(oauth.EventUnknownSecret), 1)
}

func live(srv *oauthtest.Server, token string) bool {
	active, _ := srv.Introspect(token).JSON["active"].(bool)
	return active
}

func TestEraseUser(t *testing.T) {
	store := memstore.New()
	srv := oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage = store })
	token := srv.AccessToken("alice", "read")
	require.NoError(t, eraseUser(t.Context(), srv.Server, "alice"))
	require.False(t, live(srv, token))
	left := ids(t, store, oauth.Filter{})
	require.Len(t, left, 1)
	require.Contains(t, left[0], `authorization "" 0`)
	require.NoError(t, eraseUser(t.Context(), srv.Server, "alice"), "again")
}

func TestEndClient(t *testing.T) {
	store := memstore.New()
	clients := oauth.StoredClients(store)
	srv := oauthtest.NewServer(t, func(c *oauth.Config) {
		spa, err := c.Clients.Client(t.Context(), oauthtest.SPAClient)
		require.NoError(t, err)
		require.NoError(t, clients.Create(t.Context(), *spa))
		api, err := c.Clients.Client(t.Context(), oauthtest.APIClient)
		require.NoError(t, err)
		require.NoError(t, clients.Create(t.Context(), *api))
		c.Storage, c.Clients = store, clients
	})
	token := srv.AccessToken("alice", "read")
	require.True(t, live(srv, token))
	require.NoError(t, endClient(t.Context(), srv.Server, clients, oauthtest.SPAClient))
	require.False(t, live(srv, token))
	_, err := clients.Client(t.Context(), oauthtest.SPAClient)
	require.ErrorIs(t, err, oauth.ErrNotFound)
	all, err := srv.Authorizations(t.Context(), "alice")
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestRemoveRealm(t *testing.T) {
	store := memstore.New()
	for _, realm := range []string{"tenant-7", "tenant-8"} {
		srv := oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage, c.Realm = store, realm })
		srv.AccessToken("alice", "read")
		clients := oauth.ClientStore{Storage: store, Realm: realm}
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "app", Public: true}))
	}
	require.NoError(t, removeRealm(t.Context(), store, "tenant-7"))
	require.Empty(t, ids(t, store, oauth.Filter{Realm: "tenant-7"}))
	require.Len(t, ids(t, store, oauth.Filter{Realm: "tenant-8"}), 2)
}

// operations.md, "After a leak": stored signing keys are not opened by a new secret,
// and given up.
func TestDropSigningKeys(t *testing.T) {
	store, old, fresh := memstore.New(), oauth.NewSecret(), oauth.NewSecret()
	server := func(realm string, secret []byte) *oauthtest.Server {
		return oauthtest.NewServer(t, func(c *oauth.Config) {
			c.Storage, c.Realm, c.Secrets, c.AccessToken = store, realm, [][]byte{secret}, oauth.JWT{}
			keys, err := keystore.New(*c, keystore.Options{})
			require.NoError(t, err)
			c.Keys = keys
		})
	}
	ask := url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}
	before, other := server("", old), server("tenant-7", old)
	token := before.Token(oauthtest.MachineClient, ask).String("access_token")
	theirs := other.Token(oauthtest.MachineClient, ask).String("access_token")
	require.Equal(t, http.StatusServiceUnavailable, server("", fresh).Token(oauthtest.MachineClient, ask).Status)

	require.NoError(t, dropSigningKeys(t.Context(), store, ""))
	after := server("", fresh)
	require.Equal(t, http.StatusOK, after.Token(oauthtest.MachineClient, ask).Status)
	require.False(t, live(after, token))
	require.True(t, live(server("tenant-7", old), theirs), "another realm's are left alone")
}

// operations.md, "After a restore": an authorization that is older than what its
// client has goes on, what was revoked lives again, and is revoked again.
func TestAfterARestore(t *testing.T) {
	before, after, secret := memstore.New(), memstore.New(), oauth.NewSecret()
	old := oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage, c.Secrets = before, [][]byte{secret} })
	goes := old.Redeem(old.Code(oauthtest.SPAClient)).String("refresh_token")
	revoked := old.Redeem(old.Code(oauthtest.SPAClient)).String("refresh_token")
	for r, err := range before.List(t.Context(), oauth.Filter{}) { // the backup
		require.NoError(t, err)
		require.NoError(t, after.Create(t.Context(), r))
	}
	for range 2 {
		goes = old.Refresh(oauthtest.SPAClient, goes).String("refresh_token")
	}
	require.Equal(t, http.StatusOK, old.Post("/oauth/revoke", oauthtest.SPAClient, map[string][]string{"token": {revoked}}).Status)
	kept := old.Events(oauth.EventRevoked)
	require.Len(t, kept, 1)

	srv := oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage, c.Secrets = after, [][]byte{secret} })
	srv.Clock.Advance(time.Hour)
	require.NoError(t, revokeAgain(t.Context(), srv.Server, []string{kept[0].Authorization}))
	require.Equal(t, http.StatusBadRequest, srv.Refresh(oauthtest.SPAClient, revoked).Status)
	require.Equal(t, http.StatusOK, srv.Refresh(oauthtest.SPAClient, goes).Status)
	require.Len(t, srv.Events(oauth.EventStoreWentBack), 1)
}

func TestOpenPostgreSQLSaysWhatIsWrong(t *testing.T) {
	_, err := openPostgreSQL(t.Context(), "postgres://nobody@127.0.0.1:1/none?sslmode=disable")
	require.ErrorContains(t, err, "does not answer; look at its address")
}

// sweepHourly ends with its context; before it has deleted what had expired.
func TestSweepHourly(t *testing.T) {
	store := memstore.New()
	srv := oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage = store })
	srv.Code(oauthtest.SPAClient)
	srv.Clock.Advance(400 * 24 * time.Hour)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		sweepHourly(ctx, srv.Server)
	}()
	require.Eventually(t, func() bool { return len(ids(t, store, oauth.Filter{})) == 0 }, 10*time.Second, time.Millisecond)
	cancel()
	<-done
}
