package redisstore_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/traffic"
	"github.com/grantwell/oauth/oauthtest"
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

// Redis is stopped and killed and started again while clients of all kinds are busy
// with two processes. Meanwhile they get 503, and nothing that is not true; then
// everybody goes on with what they have, or with the same request again.
func TestOutage(t *testing.T) {
	server := private(t, "appendonly yes", "appendfsync always")
	e := redisEngine()
	// By default go-redis dials five times before it gives up, and a 503 takes 2 s.
	fast := func(o *redis.Options) { o.DialerRetries = 1 }
	store := e.openAt(t, clientOf(t, server, fast), "oauth:")
	require.NoError(t, oauth.StoredClients(store).Create(t.Context(), oauth.Client{
		ID: "traffic", Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, RedirectURIs: []string{oauthtest.Callback},
		Scopes: []string{"read"}, Introspect: true,
	}))
	first, url1 := listen(t, store, nil)
	second, url2 := listen(t, e.openAt(t, clientOf(t, server, fast), "oauth:"), first)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	load := traffic.Start(traffic.Target{URLs: []string{url1, url2}, ClientID: "traffic", ClientSecret: oauthtest.Secret,
		RedirectURI: oauthtest.Callback}, 6, 3)
	defer load.End()
	for _, end := range []func() error{server.Stop, server.Kill} {
		require.NoError(t, load.Await(ctx, traffic.Counts{Answered: 10}))
		require.NoError(t, end())
		require.NoError(t, load.Await(ctx, traffic.Counts{Unavailable: 2}))
		require.NoError(t, server.Start())
	}
	require.NoError(t, load.Await(ctx, traffic.Counts{Answered: 10}))
	require.NoError(t, load.Verify(ctx))
	t.Logf("%+v", load.Total())
	for _, srv := range []*oauthtest.Server{first, second} {
		require.Empty(t, srv.Events(oauth.EventReuseDetected, oauth.EventStoreWentBack, oauth.EventRecordAltered, oauth.EventClientRefused))
		require.NotEmpty(t, srv.Events(oauth.EventStorageFailed))
	}
}
