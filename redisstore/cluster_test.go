package redisstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

// Every command has the keys of one slot, and together they are all over the Cluster.
func TestCommandsTouchOneSlot(t *testing.T) {
	e := clusterEngine()
	asker := e.client(t)
	for _, p := range []string{prefix(), "no-braces-{here:", "}{:"} {
		t.Run(p, func(t *testing.T) {
			client := e.client(t)
			var mu sync.Mutex
			used := map[int64]bool{}
			client.AddHook(meddler{before: func(_ context.Context, cmds []redis.Cmder) error {
				mu.Lock()
				defer mu.Unlock()
				for _, cmd := range cmds {
					slots := slotsOf(t, asker, cmd.Args())
					for _, slot := range slots {
						used[slot] = true
						assert.Equal(t, slots[0], slot, "%v", cmd.Args())
					}
				}
				return nil
			}})
			s := e.openAt(t, client, p)
			for i := range 40 {
				r := record(fmt.Sprintf("a-%d", i))
				require.NoError(t, s.Create(t.Context(), r))
				r.Subject = "bob"
				require.NoError(t, s.Update(t.Context(), r))
			}
			require.Len(t, ids(t, s, oauth.Filter{Realm: "tenant-1"}), 40)
			n, err := s.DeleteExpired(t.Context(), time.Now().Add(2*time.Hour), 100)
			require.NoError(t, err)
			require.Equal(t, 40, n)
			require.Greater(t, len(used), 60)
		})
	}
}

// One prefix may keep a whole store in one slot, beside what a host has there.
func TestPrefixWithAHashTag(t *testing.T) {
	s := clusterEngine().openAt(t, clusterEngine().client(t), "{"+prefix()+"}")
	r := record("a-1")
	require.NoError(t, s.Create(t.Context(), r))
	requireFound(t, s, "a-1")
}
