package redisstore_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/servertest"
	"github.com/grantwell/oauth/redisstore"
)

// An engine is something that the tests run on. Its servers start when a test first
// needs them, and TestMain stops them.
type engine struct {
	name   string
	config redisstore.Config
	client func(t testing.TB) redis.UniversalClient
}

var (
	startRedis   = sync.OnceValues(func() (*servertest.Server, error) { started.Or(1); return servertest.Redis() })
	startCluster = sync.OnceValues(func() (*servertest.Cluster, error) { started.Or(2); return servertest.RedisCluster(3) })
	started      atomic.Int64 // bits of what was started
	prefixes     atomic.Int64
)

func engines() []engine {
	return []engine{miniEngine(), redisEngine(), clusterEngine()}
}

// miniEngine is miniredis. It does not know CONFIG.
func miniEngine() engine {
	return engine{"miniredis", redisstore.Config{InsecureAllowEviction: true}, func(t testing.TB) redis.UniversalClient {
		m := miniredis.RunT(t)
		// Under the race detector, on a busy machine, many requests wait long for a connection.
		return closing(t, redis.NewClient(&redis.Options{Addr: m.Addr(), PoolTimeout: time.Minute}))
	}}
}

func redisEngine() engine {
	return engine{"Redis", redisstore.Config{}, func(t testing.TB) redis.UniversalClient { return single(t) }}
}

func clusterEngine() engine {
	return engine{"Cluster", redisstore.Config{}, func(t testing.TB) redis.UniversalClient {
		c, err := startCluster()
		require.NoError(t, err)
		return closing(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()}))
	}}
}

// single is a client of the server that the tests share.
func single(t testing.TB, edits ...func(o *redis.Options)) *redis.Client {
	t.Helper()
	s, err := startRedis()
	require.NoError(t, err)
	return clientOf(t, s, edits...)
}

// private starts a server for one test.
func private(t testing.TB, settings ...string) *servertest.Server {
	t.Helper()
	s, err := servertest.Redis(settings...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Remove()) })
	return s
}

func clientOf(t testing.TB, s *servertest.Server, edits ...func(o *redis.Options)) *redis.Client {
	t.Helper()
	o := &redis.Options{Addr: s.Addr}
	for _, edit := range edits {
		edit(o)
	}
	return closing(t, redis.NewClient(o))
}

// closing closes a client when the test is over.
func closing[C redis.UniversalClient](t testing.TB, c C) C {
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestMain(m *testing.M) {
	code := m.Run()
	var err error
	if started.Load()&1 != 0 {
		if s, startErr := startRedis(); startErr == nil {
			err = s.Remove()
		}
	}
	if started.Load()&2 != 0 {
		if c, startErr := startCluster(); startErr == nil {
			err = errors.Join(err, c.Remove())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// eachEngine runs a test on every engine.
func eachEngine(t *testing.T, f func(t *testing.T, e engine)) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) { f(t, e) })
	}
}

// prefix is one that no other test has.
func prefix() string { return fmt.Sprintf("t%d:", prefixes.Add(1)) }

// open makes a store without records.
func (e engine) open(t testing.TB) *redisstore.Store {
	t.Helper()
	return e.openAt(t, e.client(t), prefix())
}

func (e engine) openAt(t testing.TB, client redis.UniversalClient, prefix string) *redisstore.Store {
	t.Helper()
	cfg := e.config
	cfg.Prefix = prefix
	s, err := redisstore.Open(t.Context(), client, cfg)
	require.NoError(t, err)
	return s
}
