package traffic_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/traffic"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/oauthtest"
)

// An outage is a store that can be away, and an error for it.
type outage struct {
	oauth.Storage
	away  atomic.Bool
	err   error
	loses bool // what it says to have updated meanwhile
}

func (s *outage) Get(ctx context.Context, id string) (oauth.Record, error) {
	if s.away.Load() && !s.loses {
		return oauth.Record{}, s.err
	}
	return s.Storage.Get(ctx, id)
}

func (s *outage) Update(ctx context.Context, r oauth.Record) error {
	switch {
	case !s.away.Load():
		return s.Storage.Update(ctx, r)
	case s.loses:
		return nil
	}
	return s.err
}

func (s *outage) Create(ctx context.Context, r oauth.Record) error {
	if s.away.Load() && !s.loses {
		return s.err
	}
	return s.Storage.Create(ctx, r)
}

// serve is a server on the store, changed by the wrapper.
func serve(t *testing.T, store oauth.Storage, wrap func(http.Handler) http.Handler) traffic.Target {
	t.Helper()
	srv := oauthtest.NewServer(t, func(c *oauth.Config) {
		c.Storage, c.Now = store, time.Now
		c.Clients = oauth.StaticClients(oauth.Client{ID: "traffic", Secrets: []string{oauth.HashSecret(oauthtest.Secret)},
			RedirectURIs: []string{oauthtest.Callback}, Scopes: []string{"read"}, Introspect: true})
	})
	listener := httptest.NewServer(wrap(srv.Handler))
	t.Cleanup(listener.Close)
	return traffic.Target{URLs: []string{listener.URL}, ClientID: "traffic", ClientSecret: oauthtest.Secret, RedirectURI: oauthtest.Callback}
}

// replacing answers with another text where one is, and without a header.
func replacing(old, text, without string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			for name, values := range rec.Header() {
				if name != without {
					w.Header()[name] = values
				}
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write([]byte(strings.ReplaceAll(rec.Body.String(), old, text)))
		})
	}
}

func TestTraffic(t *testing.T) {
	same := func(next http.Handler) http.Handler { return next }
	for _, c := range []struct {
		name  string
		store *outage
		wrap  func(http.Handler) http.Handler
		want  string // a pattern for the error; "": there is none
	}{
		{"what is true", &outage{err: oauthtest.ErrFault}, same, ""},
		{"a failure taken for an answer", &outage{err: oauth.ErrNotFound}, same, "invalid_grant|active is to be true"}, // whichever it meets first
		{"writes that are lost", &outage{loses: true}, same, "active"},
		{"another error", &outage{err: oauthtest.ErrFault}, replacing("temporarily_unavailable", "server_error", "Retry-After"), "without Retry-After"},
		{"a token that is none", &outage{err: oauthtest.ErrFault}, replacing(`"refresh_token":"`, `"refresh_token":"A`, ""), "invalid_grant"},
		{"everything is live", &outage{err: oauthtest.ErrFault}, replacing(`"active":false`, `"active":true`, ""), "active is to be false"},
		{"nothing is live", &outage{err: oauthtest.ErrFault}, replacing(`"active":true`, `"active":false`, ""), "active is to be true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := c.store
			store.Storage = memstore.New()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			load := traffic.Start(serve(t, store, c.wrap), 2, 1)
			defer load.End()
			err := load.Await(ctx, traffic.Counts{Answered: 10})
			store.away.Store(true)
			if err == nil && store.loses {
				err = load.Await(ctx, traffic.Counts{Answered: 10})
			} else if err == nil {
				err = load.Await(ctx, traffic.Counts{Unavailable: 2})
			}
			store.away.Store(false)
			if err == nil {
				err = load.Verify(ctx)
			}
			if c.want == "" {
				require.NoError(t, err)
				require.Positive(t, load.Total().Unavailable)
				return
			}
			require.Error(t, err)
			require.Regexp(t, c.want, err.Error())
		})
	}
}

func TestAwait(t *testing.T) {
	load := traffic.Start(serve(t, memstore.New(), func(next http.Handler) http.Handler { return next }), 1, 0)
	defer load.End()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, load.Await(ctx, traffic.Counts{Unavailable: 1}), context.DeadlineExceeded)
}
