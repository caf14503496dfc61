//go:build unix

package main

import (
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/servertest"
)

var crashes = flag.Int("crashes", 5, "how often TestCrashS345 kills on each store")

const users = 16

// TestCrashS345 kills processes under load, one of the two or both, and starts them
// again. Every client goes on with what it last received, or with a retry.
func TestCrashS345(t *testing.T) {
	onEach(t, func(t *testing.T, _ *servertest.Server, url string) {
		c := startCluster(t, url, 2)
		l := newLoad(c.deployment)
		l.steps = 3 // codes are what a crash is worst for
		sum := l.under(t, users, func() {
			for i := range *crashes {
				l.goesOn(t, 50+rand.IntN(100))
				for _, victim := range [][]int{{0}, {1}, {0, 1}}[i%3] {
					require.NoError(t, c.kill(victim))
				}
				for p := range c.processes {
					if c.processes[p] == nil {
						require.NoError(t, c.start(p))
					}
				}
			}
			l.goesOn(t, 100)
		})
		require.Greater(t, sum.Retries, *crashes, "requests were under way")
		extra := requireTrueToStore(t, l, sum, url)
		require.Zero(t, extra, "each authorization is a client's")
	})
}

// goesOn returns when that many requests more were answered.
func (l *load) goesOn(t *testing.T, requests int) {
	t.Helper()
	answered := func() int {
		s := l.summary()
		return s.Requests - s.Retries
	}
	until := answered() + requests
	await(t, "the load goes on", func() bool {
		require.Empty(t, l.summary().Unexpected)
		return answered() >= until
	})
}

// requireTrueToStore compares what clients know with what the store has, and returns
// how many codes never reached a client.
func requireTrueToStore(t *testing.T, l *load, sum summary, url string) (extra int) {
	t.Helper()
	storage, closer, err := openStore(t.Context(), url)
	require.NoError(t, err)
	defer closer.Close() //nolint:errcheck // the end of the test
	version := map[string]int64{}
	for r, err := range storage.List(t.Context(), oauth.Filter{Kind: oauth.KindAuthorization}) {
		require.NoError(t, err)
		version[r.ID] = r.Version
	}
	refused := map[string]bool{}
	for _, code := range l.refused {
		id := idOf(t, code)
		refused[id] = true
		require.GreaterOrEqual(t, version[id], int64(2), "a code is refused only if it was redeemed: else it succeeds when it is sent again")
	}
	delivered := map[string]bool{}
	for _, s := range l.sessions {
		id := idOf(t, s.refresh)
		delivered[id] = true
		require.False(t, refused[id], "no token of a code that was refused was ever delivered")
	}
	require.Len(t, delivered, sum.Sessions)
	require.Len(t, refused, sum.BegunAgain)
	for id, v := range version {
		if !delivered[id] && !refused[id] {
			require.Equal(t, int64(1), v, "a code that reached nobody was redeemed by nobody")
			extra++
		}
	}
	return extra
}

// TestStoreStops stops the store under load and starts it again, then kills it.
func TestStoreStops(t *testing.T) {
	onEach(t, func(t *testing.T, server *servertest.Server, url string) {
		l := newLoad(startCluster(t, url, 2).deployment)
		sum := l.under(t, users, func() {
			for _, end := range []func() error{server.Stop, server.Kill} {
				l.goesOn(t, 300)
				before := l.summary().Unavailable
				require.NoError(t, end())
				await(t, "503 for everybody", func() bool { return l.summary().Unavailable >= before+users })
				require.NoError(t, server.Start())
			}
			l.goesOn(t, 300)
		})
		require.GreaterOrEqual(t, sum.Retries, 2*users)
		requireTrueToStore(t, l, sum, url)
	})
}
