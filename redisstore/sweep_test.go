package redisstore_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

// Of several sweeps at once none counts the other's, whether the records are still
// there or Redis has dropped them, and nothing is left.
func TestSweepsAtOnceCountEachRecordOnce(t *testing.T) {
	const total = 600
	for name, ago := range map[string]time.Duration{"in the slack": 2 * time.Minute, "dropped": time.Hour} {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, private(t))
			s := redisEngine().openAt(t, c, "oauth:")
			for i := range total {
				r := record(fmt.Sprintf("a-%d", i))
				r.ExpiresAt = time.Now().Add(-ago)
				r.Subject = fmt.Sprintf("subject-%d", i%7)
				require.NoError(t, s.Create(t.Context(), r))
			}
			live := record("a-live")
			require.NoError(t, s.Create(t.Context(), live))
			var deleted atomic.Int64
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for {
						n, err := s.DeleteExpired(t.Context(), time.Now(), 25)
						assert.NoError(t, err)
						assert.LessOrEqual(t, n, 25)
						if deleted.Add(int64(n)); n == 0 {
							return
						}
					}
				})
			}
			wg.Wait()
			require.Equal(t, int64(total), deleted.Load())
			requireFound(t, s, "a-live")
			require.Len(t, keys(t, c), 4, "the record that lives and what leads to it")
		})
	}
}

// What lives is looked at again when it may have expired, and after 30 days at the
// latest; what Update moved back is found by then.
func TestSweepLooksAgain(t *testing.T) {
	c := clientOf(t, private(t))
	s := redisEngine().openAt(t, c, "oauth:")
	now := time.Now().Truncate(time.Millisecond)
	dues := func() (all []int64) {
		for _, key := range keys(t, c) {
			if strings.HasSuffix(key, ":due") {
				for _, z := range c.ZRangeWithScores(t.Context(), key, 0, -1).Val() {
					all = append(all, int64(z.Score)-now.UnixMilli())
				}
			}
		}
		return all
	}
	const day = 24 * time.Hour
	r := record("a-1")
	r.ExpiresAt = time.Time{}
	require.NoError(t, s.Create(t.Context(), r))
	require.InDelta(t, (30 * day).Milliseconds(), dues()[0], 5000)
	sweep := func(after time.Duration) int {
		n, err := s.DeleteExpired(t.Context(), now.Add(after), 10)
		require.NoError(t, err)
		return n
	}
	require.Zero(t, sweep(29*day))
	require.InDelta(t, (30 * day).Milliseconds(), dues()[0], 5000)
	require.Zero(t, sweep(31*day), "it never expires")
	require.Equal(t, []int64{(61 * day).Milliseconds()}, dues())

	r.ExpiresAt = now.Add(40 * day)
	require.NoError(t, s.Update(t.Context(), r))
	require.Equal(t, []int64{(61 * day).Milliseconds()}, dues(), "an Update costs nothing")
	requireFound(t, s, "a-1")
	require.Equal(t, 1, sweep(62*day))
	require.Empty(t, keys(t, c))

	require.NoError(t, s.Create(t.Context(), record("a-2"))) // for an hour
	r = record("a-2")
	r.ExpiresAt = now.Add(10 * day)
	require.NoError(t, s.Update(t.Context(), r))
	require.Zero(t, sweep(2*time.Hour), "Update let it live")
	require.Equal(t, []int64{(10 * day).Milliseconds()}, dues())
	require.Zero(t, sweep(10*day))
	require.Equal(t, 1, sweep(10*day+time.Millisecond))
	require.Empty(t, keys(t, c))
}

// A sweep passes over any number of entries that it has to leave.
func TestSweepPassesOver(t *testing.T) {
	c := clientOf(t, private(t))
	s := redisEngine().openAt(t, c, "oauth:")
	for i := range 1000 { // dropped by the server only now, so their entries stay a while
		r := record(fmt.Sprintf("a-%d", i))
		r.ExpiresAt = time.Now().Add(-6 * time.Minute)
		require.NoError(t, s.Create(t.Context(), r))
	}
	for i := range 100 {
		r := record(fmt.Sprintf("b-%d", i))
		r.ExpiresAt = time.Now().Add(-2 * time.Minute)
		require.NoError(t, s.Create(t.Context(), r))
	}
	for _, limit := range []int{1, 3, 1000} {
		n, err := s.DeleteExpired(t.Context(), time.Now(), limit)
		require.NoError(t, err)
		require.Equal(t, min(limit, 96), n)
	}
	require.Empty(t, ids(t, s, oauth.Filter{Realm: "tenant-1"}))
}

// What was written with "appendfsync always" is there after a crash.
func TestRestart(t *testing.T) {
	server := private(t, "appendonly yes", "appendfsync always")
	s := redisEngine().openAt(t, clientOf(t, server), "oauth:")
	for i := range 100 {
		r := record(fmt.Sprintf("a-%02d", i))
		require.NoError(t, s.Create(t.Context(), r))
		r.Subject, r.ExpiresAt = fmt.Sprintf("subject-%d", i%3), r.ExpiresAt.Add(time.Hour)
		require.NoError(t, s.Update(t.Context(), r))
	}
	before := ids(t, s, oauth.Filter{Realm: "tenant-1"})
	require.Len(t, before, 100)
	require.NoError(t, server.Kill())
	_, err := s.Get(t.Context(), "a-01")
	require.Error(t, err)
	require.NotErrorIs(t, err, oauth.ErrNotFound)
	require.NoError(t, server.Start())
	require.Equal(t, before, ids(t, s, oauth.Filter{Realm: "tenant-1"}))
	require.Len(t, ids(t, s, oauth.Filter{Realm: "tenant-1", Subject: "subject-1"}), 33)
	r, err := s.Get(t.Context(), "a-01")
	require.NoError(t, err)
	require.Equal(t, int64(2), r.Version)
	require.NoError(t, s.Update(t.Context(), r))
}
