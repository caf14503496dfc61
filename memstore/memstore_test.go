package memstore_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/oauthtest"
)

// What oauth.Storage promises is for oauthtest.TestStorage to prove. The tests
// here are about what memstore promises beyond it.

func TestStorage(t *testing.T) {
	oauthtest.TestStorage(t, func(*testing.T) oauth.Storage { return memstore.New() })
}

func TestStorageOfZeroStore(t *testing.T) {
	var s memstore.Store // one for all
	oauthtest.TestStorage(t, func(*testing.T) oauth.Storage { return &s })
}

// contract is a sentence and its proof.
type contract struct {
	name string
	test func(t *testing.T, s oauth.Storage)
}

// day is a time far enough ahead that a store with a clock of its own keeps what
// expires then.
var day = time.Date(2100, time.February, 3, 4, 5, 6, 789_000_000, time.UTC)

// record is a record as a server would make it, with every field set.
func record(id string) oauth.Record {
	return oauth.Record{
		Realm:     "tenant-1",
		ID:        id,
		Kind:      oauth.KindAuthorization,
		Version:   1,
		ClientID:  "https://client.example/app",
		Subject:   "alice",
		CreatedAt: day.Add(-time.Hour),
		ExpiresAt: day,
		Data:      []byte(`{"head":"AQID","scope":"read write"}`),
	}
}

func create(t *testing.T, s oauth.Storage, r oauth.Record) {
	t.Helper()
	require.NoError(t, s.Create(t.Context(), r))
}

func get(t *testing.T, s oauth.Storage, id string) oauth.Record {
	t.Helper()
	r, err := s.Get(t.Context(), id)
	require.NoError(t, err)
	return r
}

func requireMissing(t *testing.T, s oauth.Storage, id string) {
	t.Helper()
	_, err := s.Get(t.Context(), id)
	require.ErrorIs(t, err, oauth.ErrNotFound)
}

// requireRecord compares times as instants and all the rest byte by byte.
func requireRecord(t *testing.T, want, got oauth.Record) {
	t.Helper()
	require.True(t, sameRecord(want, got), "want %+v\ngot  %+v", want, got)
}

func sameRecord(a, b oauth.Record) bool {
	return a.Realm == b.Realm && a.ID == b.ID && a.Kind == b.Kind && a.Version == b.Version &&
		a.ClientID == b.ClientID && a.Subject == b.Subject && string(a.Data) == string(b.Data) &&
		a.CreatedAt.Equal(b.CreatedAt) && a.ExpiresAt.Equal(b.ExpiresAt)
}

func list(t *testing.T, s oauth.Storage, f oauth.Filter) []oauth.Record {
	t.Helper()
	var all []oauth.Record
	for r, err := range s.List(t.Context(), f) {
		require.NoError(t, err)
		all = append(all, r)
	}
	return all
}

func listIDs(t *testing.T, s oauth.Storage, f oauth.Filter) []string {
	t.Helper()
	ids := []string{}
	for _, r := range list(t, s, f) {
		ids = append(ids, r.ID)
	}
	return ids
}

func sweep(t *testing.T, s oauth.Storage, before time.Time, limit int) int {
	t.Helper()
	n, err := s.DeleteExpired(t.Context(), before, limit)
	require.NoError(t, err)
	return n
}

func TestDataIsNotShared(t *testing.T) {
	const text = `{"a":1}`
	scribble := func(b []byte) {
		for i := range b {
			b[i] = '!'
		}
	}
	stored := func(t *testing.T, s oauth.Storage) string { return string(get(t, s, "a-1").Data) }

	for _, c := range []contract{
		{"what Create was given", func(t *testing.T, s oauth.Storage) {
			r := record("a-1")
			r.Data = []byte(text)
			create(t, s, r)
			scribble(r.Data)
			assert.Equal(t, text, stored(t, s))
		}},
		{"what Update was given", func(t *testing.T, s oauth.Storage) {
			create(t, s, record("a-1"))
			r := record("a-1")
			r.Data = []byte(text)
			require.NoError(t, s.Update(t.Context(), r))
			scribble(r.Data)
			assert.Equal(t, text, stored(t, s))
		}},
		{"what Get returned", func(t *testing.T, s oauth.Storage) {
			r := record("a-1")
			r.Data = []byte(text)
			create(t, s, r)
			got := get(t, s, "a-1")
			scribble(got.Data)
			_ = append(got.Data[:0], "overwritten"...)
			assert.Equal(t, text, stored(t, s))
		}},
		{"what List yielded", func(t *testing.T, s oauth.Storage) {
			r := record("a-1")
			r.Data = []byte(text)
			create(t, s, r)
			for _, got := range list(t, s, oauth.Filter{Realm: r.Realm}) {
				scribble(got.Data)
			}
			assert.Equal(t, text, stored(t, s))
		}},
		{"a record returned before an Update", func(t *testing.T, s oauth.Storage) {
			r := record("a-1")
			r.Data = []byte(text)
			create(t, s, r)
			before := get(t, s, "a-1")
			r.Data = []byte(`{"b":2}`)
			require.NoError(t, s.Update(t.Context(), r))
			assert.Equal(t, text, string(before.Data))
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, memstore.New()) })
	}
}

func TestTimesAreTruncatedAndUTC(t *testing.T) {
	east := time.FixedZone("east", 14*3600)
	for name, c := range map[string]struct{ given, want time.Time }{
		"nanoseconds are cut off": {day.Add(999_999 * time.Nanosecond), day},
		"another zone":            {day.In(east), day},
		"before 1970":             {time.Date(1969, 12, 31, 23, 59, 59, 999_900_000, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_000_000, time.UTC)},
		"the monotonic clock":     {time.Now(), time.Time{}},
		"never":                   {time.Time{}, time.Time{}},
		"never, in another zone":  {time.Time{}.In(east), time.Time{}},
	} {
		if name == "the monotonic clock" {
			c.want = time.UnixMilli(c.given.UnixMilli()).UTC()
		}
		t.Run(name, func(t *testing.T) {
			s := memstore.New()
			r := record("a-1")
			r.CreatedAt, r.ExpiresAt = c.given, c.given
			create(t, s, r)
			got := get(t, s, "a-1")
			// == looks at the location and the monotonic clock as well.
			assert.True(t, got.CreatedAt == c.want, "%v", got.CreatedAt)
			assert.True(t, got.ExpiresAt == c.want, "%v", got.ExpiresAt)

			r.ExpiresAt = c.given.Add(time.Second)
			require.NoError(t, s.Update(t.Context(), r))
			assert.True(t, get(t, s, "a-1").ExpiresAt == c.want.Add(time.Second))
		})
	}
}

func TestContextDone(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancelLate()

	for _, c := range []struct {
		name string
		ctx  context.Context
		want error
	}{
		{"canceled", canceled, context.Canceled},
		{"deadline", late, context.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := memstore.New()
			old := record("a-1")
			create(t, s, old)

			require.ErrorIs(t, s.Create(c.ctx, record("a-2")), c.want)
			changed := old
			changed.Data = []byte(`{}`)
			require.ErrorIs(t, s.Update(c.ctx, changed), c.want)
			_, err := s.Get(c.ctx, "a-1")
			require.ErrorIs(t, err, c.want)
			for _, limit := range []int{100, 0} {
				n, err := s.DeleteExpired(c.ctx, day.Add(time.Hour), limit)
				require.ErrorIs(t, err, c.want)
				require.Zero(t, n)
			}
			requireOnlyError(t, s.List(c.ctx, oauth.Filter{Realm: old.Realm}), c.want)

			require.Equal(t, []string{"a-1"}, listIDs(t, s, oauth.Filter{Realm: old.Realm}))
			requireRecord(t, old, get(t, s, "a-1"))
		})
	}
}

func requireOnlyError(t *testing.T, seq iter.Seq2[oauth.Record, error], want error) {
	t.Helper()
	turns := 0
	for r, err := range seq {
		turns++
		require.ErrorIs(t, err, want)
		require.Zero(t, r)
	}
	require.Equal(t, 1, turns)
}

// fuse is a context that is done once it was asked a number of times.
type fuse struct {
	context.Context
	left int
}

func (f *fuse) Err() error {
	if f.left == 0 {
		return context.Canceled
	}
	f.left--
	return nil
}

func TestContextDoneOnTheWay(t *testing.T) {
	const total = 640
	fill := func(t *testing.T) *memstore.Store {
		s := memstore.New()
		for i := range total {
			create(t, s, record(fmt.Sprintf("a-%03d", i)))
		}
		return s
	}

	t.Run("DeleteExpired says how many it deleted", func(t *testing.T) {
		s := fill(t)
		n, err := s.DeleteExpired(&fuse{t.Context(), 10}, day.Add(time.Hour), total)
		require.ErrorIs(t, err, context.Canceled)
		require.Positive(t, n)
		require.Less(t, n, total)
		require.Len(t, listIDs(t, s, oauth.Filter{Realm: "tenant-1"}), total-n)
	})
	t.Run("List while it collects", func(t *testing.T) {
		requireOnlyError(t, fill(t).List(&fuse{t.Context(), 10}, oauth.Filter{Realm: "tenant-1"}), context.Canceled)
	})
	t.Run("List while it yields: the error is last, with a zero record", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var errs []error
		turns := 0
		for r, err := range fill(t).List(ctx, oauth.Filter{Realm: "tenant-1"}) {
			turns++
			if turns == 5 {
				cancel()
			}
			if err != nil {
				require.Zero(t, r)
				errs = append(errs, err)
			}
		}
		require.Equal(t, 6, turns)
		require.Equal(t, []error{context.Canceled}, errs)
	})
}

func TestExpiredRecordStaysUntilItIsDeleted(t *testing.T) {
	s := memstore.New()
	r := record("a-1")
	r.CreatedAt, r.ExpiresAt = time.Unix(1000, 0), time.Unix(1001, 0)
	create(t, s, r)
	requireRecord(t, r, get(t, s, "a-1"))
	require.ErrorIs(t, s.Create(t.Context(), r), oauth.ErrExists)
	require.Len(t, list(t, s, oauth.Filter{Realm: r.Realm}), 1)
	require.NoError(t, s.Update(t.Context(), r))
}

// What is written while List yields, of which the contract allows either state.
func TestListReadsEachRecordWhenItsTurnComes(t *testing.T) {
	for _, c := range []struct {
		name     string
		atFirst  func(t *testing.T, s oauth.Storage)
		want     []string
		versions []int64
	}{
		{"deleted: left out", func(t *testing.T, s oauth.Storage) {
			r := get(t, s, "a-2")
			r.ExpiresAt = day.Add(-time.Minute)
			require.NoError(t, s.Update(t.Context(), r))
			require.Equal(t, 1, sweep(t, s, day, 10))
		}, []string{"a-1", "a-3"}, []int64{1, 1}},
		{"another subject: left out", func(t *testing.T, s oauth.Storage) {
			r := get(t, s, "a-2")
			r.Subject = "bob"
			require.NoError(t, s.Update(t.Context(), r))
		}, []string{"a-1", "a-3"}, []int64{1, 1}},
		{"updated: the new state", func(t *testing.T, s oauth.Storage) {
			require.NoError(t, s.Update(t.Context(), get(t, s, "a-3")))
		}, []string{"a-1", "a-2", "a-3"}, []int64{1, 1, 2}},
		{"deleted and made again in another realm: left out", func(t *testing.T, s oauth.Storage) {
			require.Equal(t, 3, sweep(t, s, day.Add(time.Second), 10))
			r := record("a-2")
			r.Realm = "tenant-2"
			create(t, s, r)
		}, []string{"a-1"}, []int64{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := memstore.New()
			for _, id := range []string{"a-1", "a-2", "a-3"} {
				create(t, s, record(id))
			}
			var ids []string
			var versions []int64
			for r, err := range s.List(t.Context(), oauth.Filter{Realm: "tenant-1", Subject: "alice"}) {
				require.NoError(t, err)
				if len(ids) == 0 {
					c.atFirst(t, s)
				}
				ids, versions = append(ids, r.ID), append(versions, r.Version)
			}
			require.Equal(t, c.want, ids)
			require.Equal(t, c.versions, versions)
		})
	}
}

func TestListLooksAfreshInEachLoop(t *testing.T) {
	s := memstore.New()
	seq := s.List(t.Context(), oauth.Filter{Realm: "tenant-1"})
	for want := range 4 {
		got := 0
		for _, err := range seq {
			require.NoError(t, err)
			got++
		}
		require.Equal(t, want, got)
		create(t, s, record(fmt.Sprintf("a-%d", want)))
	}
}

func ExampleNew() {
	ctx := context.Background()
	store := memstore.New()

	err := store.Create(ctx, oauth.Record{ID: "c-1", Kind: oauth.KindClient, Data: []byte(`{}`)})
	fmt.Println(err)
	r, err := store.Get(ctx, "c-1")
	fmt.Println(r.Version, err)

	fmt.Println(store.Update(ctx, r))
	fmt.Println(store.Update(ctx, r)) // r has version 1, version 2 is stored
	// Output:
	// <nil>
	// 1 <nil>
	// <nil>
	// oauth: another version is stored
}
