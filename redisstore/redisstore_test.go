package redisstore_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/redisstore"
)

// The server drops a record 5 minutes after its ExpiresAt, whichever way that was set.
func TestExpiry(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		c, p := e.client(t), prefix()
		s := e.openAt(t, c, p)
		end := func(r oauth.Record) time.Duration {
			at, err := c.PExpireTime(t.Context(), p+"r:"+r.ID).Result()
			require.NoError(t, err)
			return at
		}
		dropped := func(r oauth.Record) {
			t.Helper()
			want, got := r.ExpiresAt.Add(5*time.Minute).UnixMilli(), end(r).Milliseconds()
			if e.name != "miniredis" { // its time stands still
				assert.Equal(t, want, got)
			}
			assert.InDelta(t, want, got, 10_000)
		}
		now := time.Now().Truncate(time.Millisecond)
		r := record("a-1")
		r.ExpiresAt = now.Add(time.Hour)
		require.NoError(t, s.Create(t.Context(), r))
		dropped(r)
		for _, at := range []time.Time{now.Add(2 * time.Hour), {}, now.Add(time.Minute), now.Add(-4 * time.Minute), now.AddDate(60, 0, 0), {}, now} {
			r.ExpiresAt = at
			require.NoError(t, s.Update(t.Context(), r))
			r.Version++
			if at.IsZero() {
				assert.Equal(t, time.Duration(-1), end(r), "never")
			} else {
				dropped(r)
			}
			require.Equal(t, []string{"a-1"}, ids(t, s, filterOf(r)))
		}
		never := record("a-2")
		never.ExpiresAt = time.Time{}
		require.NoError(t, s.Create(t.Context(), never))
		assert.Equal(t, time.Duration(-1), end(never))

		r.ExpiresAt = now.Add(-6 * time.Minute)
		require.NoError(t, s.Update(t.Context(), r))
		_, err := s.Get(t.Context(), r.ID)
		require.ErrorIs(t, err, oauth.ErrNotFound)
	})
}

// Before, in and after the life of a record, on the server's own clock: the records
// are moved in time instead.
func TestRecordsShiftedInTime(t *testing.T) {
	s := redisEngine().open(t)
	for _, c := range []struct {
		left  time.Duration // until ExpiresAt
		there bool
	}{
		{time.Millisecond, true}, {0, true}, {-time.Minute, true}, {-4*time.Minute - 50*time.Second, true},
		{-5*time.Minute - time.Millisecond, false}, {-24 * time.Hour, false}, {-60 * 365 * 24 * time.Hour, false},
	} {
		r := record(fmt.Sprintf("a%d", c.left))
		r.Subject, r.ExpiresAt = c.left.String(), time.Now().Add(c.left)
		r.CreatedAt = r.ExpiresAt.Add(-time.Hour)
		require.NoError(t, s.Create(t.Context(), r))
		_, err := s.Get(t.Context(), r.ID)
		if c.there {
			require.NoError(t, err, "%v", c.left)
			require.Len(t, ids(t, s, filterOf(r)), 1)
		} else {
			require.ErrorIs(t, err, oauth.ErrNotFound, "%v", c.left)
			require.Empty(t, ids(t, s, filterOf(r)))
		}
	}
}

// Whatever command fails, before or after it took effect: a record that is there is
// found by every way, and one that is not leaves nothing that DeleteExpired would not
// remove.
func TestNothingIsLostByACrash(t *testing.T) {
	writes := map[string]func(s oauth.Storage, r oauth.Record) error{
		"Create": func(s oauth.Storage, r oauth.Record) error { return s.Create(context.Background(), r) },
		"Update to another Subject": func(s oauth.Storage, r oauth.Record) error {
			r.Subject = "bob"
			return s.Update(context.Background(), r)
		},
		"Update to no Subject": func(s oauth.Storage, r oauth.Record) error {
			r.Subject, r.Data = "", nil
			return s.Update(context.Background(), r)
		},
		"Update of the same Subject": func(s oauth.Storage, r oauth.Record) error { r.Data = nil; return s.Update(context.Background(), r) },
		"Create of what is there":    func(s oauth.Storage, r oauth.Record) error { return s.Create(context.Background(), r) },
		"Update of another version": func(s oauth.Storage, r oauth.Record) error {
			r.Version, r.Subject = 7, "bob"
			return s.Update(context.Background(), r)
		},
		"Update of what is not there": func(s oauth.Storage, r oauth.Record) error {
			r.Subject = "bob"
			return s.Update(context.Background(), r)
		},
		"DeleteExpired of the expired": func(s oauth.Storage, r oauth.Record) error {
			_, err := s.DeleteExpired(context.Background(), r.ExpiresAt.Add(time.Hour), 10)
			return err
		},
	}
	c := clientOf(t, private(t))
	e := redisEngine()
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			for _, after := range []bool{false, true} {
				for n := int64(1); ; n++ {
					require.NoError(t, c.FlushAll(t.Context()).Err())
					plain := e.openAt(t, c, "oauth:")
					r := record("a-1")
					r.ExpiresAt = time.Now().Add(time.Minute).Truncate(time.Millisecond)
					if !strings.Contains(name, "Create of") && name != "Create" && !strings.Contains(name, "not there") || strings.Contains(name, "is there") {
						require.NoError(t, plain.Create(t.Context(), r))
					}
					faulty := redis.NewClient(c.Options())
					s := e.openAt(t, faulty, "oauth:")
					count := failing(faulty, n, after)
					_ = write(s, r)
					sent := count.Load()
					require.NoError(t, faulty.Close())
					requireFound(t, plain, r.ID)
					requireSwept(t, c, plain)
					if sent < n { // it never struck
						require.Greater(t, n, int64(1), "no command was sent")
						break
					}
				}
			}
		})
	}
}

// requireFound fails unless Get and every List agree about a record.
func requireFound(t *testing.T, s oauth.Storage, id string) {
	t.Helper()
	r, err := s.Get(t.Context(), id)
	if err != nil {
		require.ErrorIs(t, err, oauth.ErrNotFound)
		for _, f := range filters(record(id)) {
			require.Empty(t, ids(t, s, f))
		}
		return
	}
	for _, f := range filters(r) {
		require.Equal(t, []string{id}, ids(t, s, f), "%+v", f)
	}
	for _, subject := range []string{"alice", "bob"} {
		if subject != r.Subject {
			require.Empty(t, ids(t, s, oauth.Filter{Realm: r.Realm, Subject: subject}))
		}
	}
}

// requireSwept lets an hour pass, for the entries, and fails unless DeleteExpired
// leaves nothing at all.
func requireSwept(t *testing.T, c redis.UniversalClient, s oauth.Storage) {
	t.Helper()
	for _, key := range keys(t, c) {
		if strings.HasSuffix(key, "}:due") {
			for _, z := range c.ZRangeWithScores(t.Context(), key, 0, -1).Val() {
				require.NoError(t, c.ZAdd(t.Context(), key, redis.Z{Score: z.Score - float64(time.Hour.Milliseconds()), Member: z.Member}).Err())
			}
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		n, err := s.DeleteExpired(t.Context(), time.Now().Add(time.Hour), 100)
		require.NoError(t, err)
		if n == 0 {
			break
		}
		require.True(t, time.Now().Before(deadline))
	}
	require.Empty(t, keys(t, c))
}

// A sweep that comes between the entry and its record must leave the entry, however
// the times are.
func TestASweepDuringAWrite(t *testing.T) {
	e := redisEngine()
	for _, subject := range []string{"alice", ""} {
		for name, expires := range map[string]time.Time{"never": {}, "in an hour": time.Now().Add(time.Hour), "in a year": time.Now().AddDate(1, 0, 0), "a minute ago": time.Now().Add(-time.Minute)} {
			t.Run("Create, Subject "+subject+", expires "+name, func(t *testing.T) {
				c, p := e.client(t), prefix()
				plain, s := e.openAt(t, single(t), p), e.openAt(t, c, p)
				c.AddHook(sweeping(t, plain))
				r := record("a-1")
				r.Subject, r.ExpiresAt, r.CreatedAt = subject, expires.Truncate(time.Millisecond), time.Time{}
				require.NoError(t, s.Create(t.Context(), r))
				for _, f := range filters(r) {
					require.Equal(t, []string{"a-1"}, ids(t, plain, f), "%+v", f)
				}
			})
		}
	}
	t.Run("Update to another Subject", func(t *testing.T) {
		c, p := e.client(t), prefix()
		plain, s := e.openAt(t, single(t), p), e.openAt(t, c, p)
		r := record("a-1")
		r.ExpiresAt = time.Time{}
		require.NoError(t, plain.Create(t.Context(), r))
		c.AddHook(sweeping(t, plain))
		for _, subject := range []string{"bob", "alice", "", "alice"} {
			r.Subject = subject
			require.NoError(t, s.Update(t.Context(), r))
			r.Version++
			requireFound(t, plain, "a-1")
		}
	})
}

// sweeping sweeps before each command, with all kinds of times.
func sweeping(t *testing.T, s *redisstore.Store) redis.Hook {
	return meddler{before: func(context.Context, []redis.Cmder) error {
		for _, from := range []time.Duration{-2 * time.Hour, -30 * time.Second, time.Minute, 2 * 365 * 24 * time.Hour} {
			_, err := s.DeleteExpired(context.Background(), time.Now().Add(from), 100)
			assert.NoError(t, err)
		}
		return nil
	}}
}

// Moving to and fro while others do the same: the last state is found by its Subject
// and by no other.
func TestSubjectsChangeAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		subjects := []string{"alice", "bob", "carol", ""}
		for round := range 10 {
			r := record(fmt.Sprintf("a-%d", round))
			require.NoError(t, s.Create(t.Context(), r))
			var wg sync.WaitGroup
			for racer := range 8 {
				wg.Go(func() {
					for i := range 10 {
						r, err := s.Get(t.Context(), r.ID)
						if !assert.NoError(t, err) {
							return
						}
						r.Subject = subjects[(racer+i)%len(subjects)]
						if err := s.Update(t.Context(), r); err != nil {
							assert.ErrorIs(t, err, oauth.ErrConflict)
						}
					}
				})
			}
			wg.Wait()
			last, err := s.Get(t.Context(), r.ID)
			require.NoError(t, err)
			for _, subject := range subjects[:3] {
				found := ids(t, s, oauth.Filter{Realm: r.Realm, Kind: r.Kind, Subject: subject})
				require.Equal(t, subject == last.Subject, slices.Contains(found, r.ID), "%q, and it is of %q", subject, last.Subject)
			}
			require.Contains(t, ids(t, s, oauth.Filter{Realm: r.Realm, Kind: r.Kind}), r.ID)
		}
	})
}

// After an erasure and a revocation nobody's name is in a key or value.
func TestErasedNameIsNowhere(t *testing.T) {
	c := clientOf(t, private(t))
	s := redisEngine().openAt(t, c, "oauth:")
	const name = "somebody@example.com"
	for i := range 20 {
		r := record(fmt.Sprintf("a-%d", i))
		r.Subject, r.Data = name, []byte(`{"name":"`+name+`"}`)
		require.NoError(t, s.Create(t.Context(), r))
	}
	before := len(keys(t, c))
	require.Contains(t, dump(t, c), name)
	for r, err := range s.List(t.Context(), oauth.Filter{Realm: "tenant-1", Subject: name}) {
		require.NoError(t, err)
		r.Subject, r.Data = "", nil
		require.NoError(t, s.Update(t.Context(), r))
	}
	require.NotContains(t, dump(t, c), name)
	require.Len(t, keys(t, c), before-1, "the set of the subject is gone, too")
	require.Len(t, ids(t, s, oauth.Filter{Realm: "tenant-1"}), 20)
}

// dump is everything that the store has on a server.
func dump(t *testing.T, c *redis.Client) string {
	var all strings.Builder
	for _, key := range keys(t, c) {
		all.WriteString(key + "\n")
		if strings.Contains(key, ":r:") {
			all.WriteString(c.Get(t.Context(), key).Val() + "\n")
		} else {
			all.WriteString(strings.Join(c.ZRange(t.Context(), key, 0, -1).Val(), "\n"))
		}
	}
	return all.String()
}

// The server may forget its scripts at any time.
func TestScriptsForgotten(t *testing.T) {
	c := clientOf(t, private(t))
	s := redisEngine().openAt(t, c, "oauth:")
	c.AddHook(meddler{before: func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "evalsha" {
			return single(t, func(o *redis.Options) { o.Addr = c.Options().Addr }).ScriptFlush(ctx).Err()
		}
		return nil
	}})
	r := record("a-1")
	require.NoError(t, s.Create(t.Context(), r))
	require.ErrorIs(t, s.Create(t.Context(), r), oauth.ErrExists)
	r.Subject = "bob"
	require.NoError(t, s.Update(t.Context(), r))
	require.ErrorIs(t, s.Update(t.Context(), r), oauth.ErrConflict)
	requireFound(t, s, "a-1")
	n, err := s.DeleteExpired(t.Context(), r.ExpiresAt.Add(time.Hour), 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// What another program wrote, or a later release, is an error and not overwritten.
func TestForeignValues(t *testing.T) {
	c, p := single(t), prefix()
	s := redisEngine().openAt(t, c, p)
	for _, value := range []string{"", "text", "2 1 - n 0 0 0 0 0\n", "1 1 - n 0 99 0 0 0\nshort", "1 1 x n 0 0 0 0 0\n", "1 x - n 0 0 0 0 0\n"} {
		require.NoError(t, c.Set(t.Context(), p+"r:a-1", value, 0).Err())
		_, err := s.Get(t.Context(), "a-1")
		require.Error(t, err)
		require.NotErrorIs(t, err, oauth.ErrNotFound)
		require.ErrorIs(t, s.Create(t.Context(), record("a-1")), oauth.ErrExists)
		require.Error(t, s.Update(t.Context(), record("a-9")), "there is none")
		err = s.Update(t.Context(), oauth.Record{ID: "a-1", Version: 5})
		require.Error(t, err)
		require.Equal(t, value, c.Get(t.Context(), p+"r:a-1").Val())
	}
	require.NoError(t, c.Del(t.Context(), p+"r:a-1").Err())
	require.NoError(t, c.SAdd(t.Context(), p+"r:a-1", "a set").Err())
	_, err := s.Get(t.Context(), "a-1")
	require.ErrorContains(t, err, "WRONGTYPE")
}

func TestInvalidIDs(t *testing.T) {
	s := redisEngine().open(t)
	for _, id := range []string{"", "a b", "a\n", "é", "a:1", "{a}", strings.Repeat("a", 129)} {
		r := record(id)
		require.ErrorContains(t, s.Create(t.Context(), r), "ID")
		require.ErrorIs(t, s.Update(t.Context(), r), oauth.ErrNotFound)
		_, err := s.Get(t.Context(), id)
		require.ErrorIs(t, err, oauth.ErrNotFound)
	}
	require.NoError(t, s.Create(t.Context(), record(strings.Repeat("a", 128))))
}

// Bytes are bytes.
func TestBinary(t *testing.T) {
	s := redisEngine().open(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	r := record("a-1")
	r.Realm, r.Kind, r.ClientID, r.Subject, r.Data = string(all), "\n 1 ", "2 3 4\n", " \x00\n", all
	require.NoError(t, s.Create(t.Context(), r))
	for range 3 {
		got, err := s.Get(t.Context(), "a-1")
		require.NoError(t, err)
		require.Equal(t, r, got)
		requireFound(t, s, "a-1")
		r.Subject += "\n9 9"
		require.NoError(t, s.Update(t.Context(), r))
		r.Version++
	}
}
