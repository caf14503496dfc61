package redisstore_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

// The client would send a command three times more when its answer is lost. Not one
// of the store's that writes.
func TestWritesAreNotSentAgain(t *testing.T) {
	server := private(t)
	watch := clientOf(t, server)
	cut := &cutter{}
	c := clientOf(t, server, func(o *redis.Options) { o.Dialer, o.MaxRetries = cut.dial, 3 })
	s := redisEngine().openAt(t, c, "oauth:")

	// The fault is one that the client answers by sending again.
	cut.arm("incr")
	require.NoError(t, c.Incr(t.Context(), "counter").Err())
	require.Equal(t, "2", watch.Get(t.Context(), "counter").Val(), "the client did not send INCR again: this test proves nothing")

	r := record("a-1")
	r.Subject = ""
	require.NoError(t, s.Create(t.Context(), r))
	for range 5 {
		cut.arm("evalsha")
		requireUnknown(t, s.Update(t.Context(), r))
		got, err := s.Get(t.Context(), "a-1")
		require.NoError(t, err)
		r.Version++
		require.Equal(t, r.Version, got.Version)
	}
	cut.arm("getex")
	got, err := s.Get(t.Context(), "a-1")
	require.NoError(t, err, "reads may be sent again")
	require.Equal(t, r.Version, got.Version)
	require.Equal(t, int64(7), cut.cuts.Load())
}

// requireUnknown fails unless an Update failed without an answer. Sent a second time
// it would have been answered by ErrConflict.
func requireUnknown(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	require.NotErrorIs(t, err, oauth.ErrConflict)
}

// A connection that breaks may do so at a server of a Cluster as well.
func TestWritesAreNotSentAgainInACluster(t *testing.T) {
	servers, err := startCluster()
	require.NoError(t, err)
	cut := &cutter{}
	c := closing(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs(), Dialer: cut.dial}))
	p := prefix()
	s := clusterEngine().openAt(t, c, p)
	cut.arm("incr")
	require.NoError(t, c.Incr(t.Context(), p+"counter").Err())
	require.Equal(t, "2", c.Get(t.Context(), p+"counter").Val(), "the client did not send INCR again: this test proves nothing")
	for _, id := range []string{"a-1", "a-2", "a-3", "a-4", "a-5"} {
		r := record(id)
		require.NoError(t, s.Create(t.Context(), r))
		require.NoError(t, s.Update(t.Context(), r)) // now this server has the script
		r.Version++
		cut.arm("evalsha")
		requireUnknown(t, s.Update(t.Context(), r))
		got, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, int64(3), got.Version)
	}
}

// What stands between a client and its server may send a command twice all the same.
func TestWritesThatAreSentTwice(t *testing.T) {
	c, p := single(t), prefix()
	s := redisEngine().openAt(t, c, p)
	c.AddHook(twice{})
	r := record("a-1")
	require.NoError(t, s.Create(t.Context(), r))
	requireFound(t, s, "a-1")
	require.ErrorIs(t, s.Create(t.Context(), r), oauth.ErrExists)
	requireFound(t, s, "a-1")
	for _, subject := range []string{"bob", "", "alice"} {
		r.Subject = subject
		require.NoError(t, s.Update(t.Context(), r))
		r.Version++
		requireFound(t, s, "a-1")
	}
	// The server that sent this reads the record and finds its own mark.
	require.ErrorIs(t, s.Update(t.Context(), r), oauth.ErrConflict)
	got, err := s.Get(t.Context(), "a-1")
	require.NoError(t, err)
	assert.Equal(t, r.Version+1, got.Version)
}

// twice sends every command twice and passes the second answer on.
type twice struct{ meddler }

func (twice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		_ = next(ctx, cmd)
		return next(ctx, cmd)
	}
}

// A client that caches must not do so here.
func TestClientSideCachingIsPassedBy(t *testing.T) {
	server := private(t)
	writer := redisEngine().openAt(t, clientOf(t, server), "oauth:")
	reader := redisEngine().openAt(t, clientOf(t, server, func(o *redis.Options) {
		o.Protocol, o.ClientSideCacheConfig = 3, &redis.ClientSideCacheConfig{}
	}), "oauth:")
	r := record("a-1")
	require.NoError(t, writer.Create(t.Context(), r))
	for range 200 {
		got, err := reader.Get(t.Context(), "a-1")
		require.NoError(t, err)
		require.Equal(t, r.Version, got.Version)
		require.Equal(t, []string{"a-1"}, ids(t, reader, filterOf(r)))
		require.NoError(t, writer.Update(t.Context(), r))
		r.Version++
	}
}
