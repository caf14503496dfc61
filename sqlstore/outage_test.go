package sqlstore_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/servertest"
	"github.com/grantwell/oauth/internal/traffic"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/sqlstore"
)

// listen serves a server over TCP, with the real clock, the clients in its store,
// every request approved as its login_hint, and the secrets of the first if there is
// one.
func listen(t *testing.T, store oauth.Storage, first *oauthtest.Server) (srv *oauthtest.Server, url string) {
	t.Helper()
	srv = oauthtest.NewServer(t, func(c *oauth.Config) {
		c.Storage, c.Now = store, time.Now
		c.Clients = &oauth.ClientStore{Storage: store, CacheFor: -1} // each request asks the store for its client
		// Longer than the outage: whose refresh was written as the server went, and not
		// answered, must be able to send it again.
		c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy {
			return oauth.Policy{RetryWindow: 5 * time.Minute}
		}
		if first != nil {
			c.Secrets = first.Config.Secrets
		}
	})
	srv.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		in.Approve(w, r, oauth.Approval{Subject: r.URL.Query().Get("login_hint"), Scopes: in.Scopes()})
	})
	listener := httptest.NewServer(srv.Handler)
	t.Cleanup(listener.Close)
	return srv, listener.URL
}

// trafficClient is the client of the load, as it is registered.
func trafficClient() oauth.Client {
	return oauth.Client{ID: "traffic", Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, RedirectURIs: []string{oauthtest.Callback},
		Scopes: []string{"read", "write"}, Introspect: true}
}

func target(urls ...string) traffic.Target {
	return traffic.Target{URLs: urls, ClientID: "traffic", ClientSecret: oauthtest.Secret, RedirectURI: oauthtest.Callback}
}

// The database is stopped and killed and started again while clients of all kinds are
// busy with two processes. Meanwhile they get 503, and nothing that is not true; then
// everybody goes on with what they have, or with the same request again.
func TestOutage(t *testing.T) {
	for _, e := range []engine{
		// With what the programs do by default: a write that was answered is on the disk.
		{"PostgreSQL", sqlstore.PostgreSQL, func() (*servertest.Server, error) { return servertest.PostgreSQL() }},
		{"MariaDB", sqlstore.MySQL, func() (*servertest.Server, error) { return servertest.MariaDB() }},
	} {
		t.Run(e.name, func(t *testing.T) {
			server, err := e.server()
			require.NoError(t, err)
			defer func() { require.NoError(t, server.Remove()) }()
			e.server = func() (*servertest.Server, error) { return server, nil }
			p := e.place(t)
			store, _ := e.openAt(t, p)
			require.NoError(t, oauth.StoredClients(store).Create(t.Context(), trafficClient()))
			first, url1 := listen(t, store, nil)
			other, _ := e.openAt(t, p)
			second, url2 := listen(t, other, first)

			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			load := traffic.Start(target(url1, url2), 6, 3)
			defer load.End()
			for _, end := range []func() error{server.Stop, server.Kill} {
				require.NoError(t, load.Await(ctx, traffic.Counts{Answered: 10}))
				require.NoError(t, end())
				require.NoError(t, load.Await(ctx, traffic.Counts{Unavailable: 3}))
				require.NoError(t, server.Start())
			}
			require.NoError(t, load.Await(ctx, traffic.Counts{Answered: 10}))
			require.NoError(t, load.Verify(ctx))
			t.Logf("%+v", load.Total())
			for _, srv := range []*oauthtest.Server{first, second} {
				require.Empty(t, srv.Events(oauth.EventReuseDetected, oauth.EventStoreWentBack, oauth.EventRecordAltered, oauth.EventClientRefused))
				require.NotEmpty(t, srv.Events(oauth.EventStorageFailed))
			}
		})
	}
}
