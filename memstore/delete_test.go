package memstore_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
)

// DeleteExpired is the only one that deletes here, and has no clock, so its counts
// are exact. oauthtest.TestStorage cannot ask that of every store.

const racers = 32

func TestDeleteExpired(t *testing.T) {
	for _, c := range []contract{
		{"before the time given, not at it", func(t *testing.T, s oauth.Storage) {
			create(t, s, record("a-1"))
			require.Zero(t, sweep(t, s, day.Add(-time.Millisecond), 10))
			require.Zero(t, sweep(t, s, day, 10))
			require.Equal(t, 1, sweep(t, s, day.Add(time.Millisecond), 10))
			requireMissing(t, s, "a-1")
			require.Zero(t, sweep(t, s, day.Add(time.Millisecond), 10))
		}},
		{"never what has no ExpiresAt", func(t *testing.T, s oauth.Storage) {
			r := record("a-1")
			r.ExpiresAt = time.Time{}
			create(t, s, r)
			require.Zero(t, sweep(t, s, day.AddDate(1000, 0, 0), 10))
			requireRecord(t, r, get(t, s, "a-1"))
		}},
		{"at most limit", deleteLimit},
		{"of every realm and kind", deleteEverywhere},
		{"nothing is left of what was deleted", deleteLeavesNothing},
		{"20,000 records", deleteMany},
		{"of two sweeps none counts the other's", raceSweeps},
		{"a sweep and an update that lets live: one of them", raceSweepUpdate},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, memstore.New()) })
	}
}

func deleteLimit(t *testing.T, s oauth.Storage) {
	for i := range 10 {
		create(t, s, record(fmt.Sprintf("a-%d", i)))
	}
	left := 10
	for _, c := range []struct{ limit, want int }{{0, 0}, {-1, 0}, {math.MinInt, 0}, {1, 1}, {3, 3}, {6, 6}, {6, 0}} {
		require.Equal(t, c.want, sweep(t, s, day.Add(time.Second), c.limit), "limit %d", c.limit)
		left -= c.want
		require.Len(t, listIDs(t, s, oauth.Filter{Realm: "tenant-1"}), left)
	}
	create(t, s, record("b-1"))
	require.Equal(t, 1, sweep(t, s, day.Add(time.Second), math.MaxInt))
}

func deleteEverywhere(t *testing.T, s oauth.Storage) {
	n := 0
	for _, realm := range []string{"", "tenant-1", "tenant-2"} {
		for _, kind := range []oauth.Kind{oauth.KindAuthorization, oauth.KindClient, oauth.KindConsent, oauth.KindKey, oauth.KindSpent, "later"} {
			r := record(fmt.Sprintf("a-%d", n))
			r.Realm, r.Kind = realm, kind
			create(t, s, r)
			n++
		}
	}
	require.Equal(t, n, sweep(t, s, day.Add(time.Second), 100))
	for _, realm := range []string{"", "tenant-1", "tenant-2"} {
		require.Empty(t, list(t, s, oauth.Filter{Realm: realm}))
	}
}

func deleteLeavesNothing(t *testing.T, s oauth.Storage) {
	stays := record("a-2")
	stays.ExpiresAt = day.Add(time.Hour)
	create(t, s, stays)
	r := record("a-1")
	create(t, s, r)
	require.Equal(t, 1, sweep(t, s, day.Add(time.Second), 10))

	requireMissing(t, s, r.ID)
	require.ErrorIs(t, s.Update(t.Context(), r), oauth.ErrNotFound)
	filters := []oauth.Filter{
		{Realm: r.Realm}, {Realm: r.Realm, Kind: r.Kind}, {Realm: r.Realm, Subject: r.Subject}, {Realm: r.Realm, ClientID: r.ClientID},
	}
	for _, f := range filters {
		require.Equal(t, []string{"a-2"}, listIDs(t, s, f))
	}
	// The server never uses an ID again; a store does not remember that.
	create(t, s, r)
	requireRecord(t, r, get(t, s, r.ID))
	for _, f := range filters {
		require.Equal(t, []string{"a-1", "a-2"}, listIDs(t, s, f))
	}
}

func deleteMany(t *testing.T, s oauth.Storage) {
	const total = 20_000
	var live []string
	for i := range total {
		r := record(fmt.Sprintf("a-%05d", i))
		if i%20 == 0 {
			r.ExpiresAt = day.Add(time.Hour)
			live = append(live, r.ID)
		}
		create(t, s, r)
	}
	require.Equal(t, 777, sweep(t, s, day.Add(time.Second), 777))
	require.Equal(t, total-total/20-777, sweep(t, s, day.Add(time.Second), total))
	require.True(t, slices.Equal(live, listIDs(t, s, oauth.Filter{Realm: "tenant-1"})))
	require.Equal(t, total/20, sweep(t, s, day.Add(2*time.Hour), total))
	require.Empty(t, list(t, s, oauth.Filter{Realm: "tenant-1"}))
}

// together runs f for 0 … n-1, all released at the same moment, and waits.
func together(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

func raceSweeps(t *testing.T, s oauth.Storage) {
	const total = 2000
	for i := range total {
		create(t, s, record(fmt.Sprintf("a-%d", i)))
	}
	var deleted atomic.Int64
	together(racers, func(int) {
		for {
			n, err := s.DeleteExpired(t.Context(), day.Add(time.Second), 25)
			assert.NoError(t, err)
			assert.LessOrEqual(t, n, 25)
			if n == 0 {
				return
			}
			deleted.Add(int64(n))
		}
	})
	require.Equal(t, int64(total), deleted.Load())
	require.Empty(t, list(t, s, oauth.Filter{Realm: "tenant-1"}))
}

func raceSweepUpdate(t *testing.T, s oauth.Storage) {
	const total = 1000
	for i := range total {
		create(t, s, record(fmt.Sprintf("a-%d", i)))
	}
	var deleted atomic.Int64
	errs := make([]error, total)
	together(8, func(w int) {
		if w%2 == 0 {
			for range total / 40 {
				n, err := s.DeleteExpired(t.Context(), day.Add(time.Second), 10)
				assert.NoError(t, err)
				deleted.Add(int64(n))
			}
			return
		}
		for i := w / 2; i < total; i += 4 {
			r := record(fmt.Sprintf("a-%d", i))
			r.ExpiresAt = day.Add(time.Hour)
			errs[i] = s.Update(t.Context(), r)
		}
	})
	lost := int64(0)
	for i, err := range errs {
		id := fmt.Sprintf("a-%d", i)
		if err == nil {
			require.True(t, get(t, s, id).ExpiresAt.Equal(day.Add(time.Hour)))
			continue
		}
		require.ErrorIs(t, err, oauth.ErrNotFound)
		requireMissing(t, s, id)
		lost++
	}
	require.Equal(t, lost, deleted.Load())
}
