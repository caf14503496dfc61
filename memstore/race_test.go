package memstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

// What storage.go promises to callers that come at once.

const racers = 32

func raceContract() []contract {
	return []contract{
		{"of 32 updates of one version one wins", raceUpdate},
		{"of 32 creates of one ID one wins", raceCreate},
		{"no update is lost", raceCounter},
		{"of two sweeps none counts the other's", raceSweeps},
		{"a sweep and an update that lets live: one of them", raceSweepUpdate},
		{"a reader never sees half of a write", raceReaders},
		{"List, Create, Update and DeleteExpired at once", raceAll},
	}
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

// requireOneWinner returns the index of the one nil; all else must be want.
func requireOneWinner(t *testing.T, errs []error, want error) int {
	t.Helper()
	winner := -1
	for i, err := range errs {
		if err == nil {
			require.Equal(t, -1, winner, "two winners: %d and %d", winner, i)
			winner = i
			continue
		}
		require.ErrorIs(t, err, want)
	}
	require.NotEqual(t, -1, winner, "no winner")
	return winner
}

func raceUpdate(t *testing.T, s oauth.Storage) {
	for round := range 50 {
		id := fmt.Sprintf("a-%d", round)
		create(t, s, record(id))
		errs := make([]error, racers)
		together(racers, func(i int) {
			r := record(id)
			r.Subject, r.Data = fmt.Sprintf("subject-%d", i), []byte(strconv.Itoa(i))
			errs[i] = s.Update(t.Context(), r)
		})
		winner := requireOneWinner(t, errs, oauth.ErrConflict)
		got := get(t, s, id)
		require.Equal(t, int64(2), got.Version)
		require.Equal(t, strconv.Itoa(winner), string(got.Data))
		for i := range racers {
			ids := listIDs(t, s, oauth.Filter{Realm: "tenant-1", Subject: fmt.Sprintf("subject-%d", i)})
			require.Equal(t, i == winner, slices.Contains(ids, id))
		}
	}
}

func raceCreate(t *testing.T, s oauth.Storage) {
	for round := range 50 {
		id := fmt.Sprintf("a-%d", round)
		errs := make([]error, racers)
		together(racers, func(i int) {
			r := record(id)
			r.Realm, r.Data = fmt.Sprintf("tenant-%d", i), []byte(strconv.Itoa(i))
			errs[i] = s.Create(t.Context(), r)
		})
		winner := requireOneWinner(t, errs, oauth.ErrExists)
		got := get(t, s, id)
		require.Equal(t, int64(1), got.Version)
		require.Equal(t, strconv.Itoa(winner), string(got.Data))
		for i := range racers {
			ids := listIDs(t, s, oauth.Filter{Realm: fmt.Sprintf("tenant-%d", i)})
			require.Equal(t, i == winner, slices.Contains(ids, id))
		}
	}
}

func raceCounter(t *testing.T, s oauth.Storage) {
	const each = 30
	r := record("a-1")
	r.Data = []byte("0")
	create(t, s, r)
	together(racers, func(int) {
		for done := 0; done < each; {
			r, err := s.Get(t.Context(), "a-1")
			if !assert.NoError(t, err) {
				return
			}
			n, err := strconv.Atoi(string(r.Data))
			if !assert.NoError(t, err) {
				return
			}
			r.Data = []byte(strconv.Itoa(n + 1))
			switch err := s.Update(t.Context(), r); {
			case err == nil:
				done++
			case !errors.Is(err, oauth.ErrConflict):
				assert.NoError(t, err)
				return
			}
		}
	})
	got := get(t, s, "a-1")
	require.Equal(t, int64(1+racers*each), got.Version)
	require.Equal(t, strconv.Itoa(racers*each), string(got.Data))
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

func raceReaders(t *testing.T, s oauth.Storage) {
	// All that an Update changes is made of the version, so a mixture shows.
	state := func(v int64) oauth.Record {
		r := record("a-1")
		r.Version, r.Subject = v, fmt.Sprintf("subject-%d", v)
		r.ExpiresAt = day.Add(time.Duration(v) * time.Second)
		r.Data = slices.Repeat([]byte(strconv.FormatInt(v, 10)+" "), 200)
		return r
	}
	create(t, s, state(1))
	const last = 500
	var written atomic.Bool
	together(8, func(w int) {
		if w == 0 {
			defer written.Store(true)
			for v := int64(1); v < last; v++ {
				r := state(v + 1)
				r.Version = v
				assert.NoError(t, s.Update(t.Context(), r))
			}
			return
		}
		seen := int64(0)
		for !written.Load() {
			r, err := s.Get(t.Context(), "a-1")
			if w%2 == 0 {
				for r, err = range s.List(t.Context(), oauth.Filter{Realm: "tenant-1"}) {
				}
			}
			if !assert.NoError(t, err) || !assert.GreaterOrEqual(t, r.Version, seen, "back in time") ||
				!assert.True(t, sameRecord(state(r.Version), r), "torn: %+v", r) {
				return
			}
			seen = r.Version
		}
	})
	requireRecord(t, state(last), get(t, s, "a-1"))
}

// raceAll keeps 300 records of alice while others come, move and go; every List
// has to yield all of those 300, in order, and nothing that does not match.
func raceAll(t *testing.T, s oauth.Storage) {
	const rounds = 300
	stable := []string{}
	for i := range 300 {
		stable = append(stable, fmt.Sprintf("a-%03d-stable", i))
		create(t, s, record(stable[i]))
	}
	together(12, func(w int) {
		switch {
		case w < 4:
			churn(t, s, w, rounds)
		case w < 6:
			for range rounds {
				_, err := s.DeleteExpired(t.Context(), day, 7)
				assert.NoError(t, err)
			}
		case w < 8: // update the stable ones, too
			for i := w - 6; i < len(stable); i += 2 {
				r, err := s.Get(t.Context(), stable[i])
				assert.NoError(t, err)
				r.ExpiresAt = time.Time{}
				assert.NoError(t, s.Update(t.Context(), r))
			}
		default:
			f := []oauth.Filter{{}, {Subject: "alice"}, {ClientID: "https://client.example/app"}, {Kind: oauth.KindAuthorization, Subject: "alice"}}[w-8]
			f.Realm = "tenant-1"
			for range 20 {
				walk(t, s, f, stable)
			}
		}
	})
	require.Equal(t, stable, listIDs(t, s, oauth.Filter{Realm: "tenant-1", After: "a-"}))
}

// churn creates a record, gives it to another subject and back, and lets it expire.
func churn(t *testing.T, s oauth.Storage, w, rounds int) {
	for i := range rounds {
		r := record(fmt.Sprintf("a-%03d-%d-moving", i, w))
		assert.NoError(t, s.Create(t.Context(), r))
		for v, subject := range []string{"bob", "alice", ""} {
			r.Version, r.Subject = int64(v+1), subject
			assert.NoError(t, s.Update(t.Context(), r))
		}
		r.Version, r.ExpiresAt = 4, day.Add(-time.Hour)
		assert.NoError(t, s.Update(t.Context(), r))
	}
	for { // until what is left is gone
		n, err := s.DeleteExpired(t.Context(), day, 100)
		if assert.NoError(t, err); n == 0 {
			return
		}
	}
}

func walk(t *testing.T, s oauth.Storage, f oauth.Filter, stable []string) {
	last, found := "", []string{}
	for r, err := range s.List(t.Context(), f) {
		assert.NoError(t, err)
		assert.Greater(t, r.ID, last)
		last = r.ID
		assert.Equal(t, f.Realm, r.Realm)
		if f.Subject != "" {
			assert.Equal(t, f.Subject, r.Subject)
		}
		if _, isStable := slices.BinarySearch(stable, r.ID); isStable {
			found = append(found, r.ID)
		}
	}
	assert.True(t, slices.Equal(stable, found), "%d of %d", len(found), len(stable))
}
