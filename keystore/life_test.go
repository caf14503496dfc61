package keystore_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/keystore"
	"github.com/grantwell/oauth/oauthtest"
)

// slow lets every call of the store take a moment, never the same.
func (w *world) slow() {
	w.store.Delay(func() time.Duration { return time.Duration(mathrand.IntN(4000)) * time.Microsecond })
}

// S327 eight processes that start at once on an empty store end with one key, and
// so they do when the next one is due.
func TestRace(t *testing.T) {
	for round := range 5 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			w := newWorld(t)
			w.slow()
			all := make([]*keystore.Store, 8)
			for i := range all {
				all[i] = w.process(keystore.Options{Algorithms: []string{"ES256", "EdDSA"}})
			}
			together := func() []string {
				t.Helper()
				var done sync.WaitGroup
				ids := make([]string, len(all))
				for i, s := range all {
					done.Go(func() { ids[i] = strings.Join(idsOf(keysOf(t, s)), " ") })
				}
				done.Wait()
				for _, text := range ids { // what one has made meanwhile another may not have seen
					assert.Equal(t, strings.Fields(ids[0])[:2], strings.Fields(text)[:2])
				}
				return strings.Fields(ids[0])
			}
			first := together()
			w.clock.Advance(time.Minute)
			keys := together()
			require.Len(t, keys, 4)
			assert.Equal(t, first[:2], keys[:2])
			w.clock.Advance(30 * day)
			next := together()
			assert.Equal(t, keys[2:], next[:2])
			w.clock.Advance(time.Minute)
			next = together()
			require.Len(t, next, 6)
			assert.Equal(t, keys[2:], next[:2])
			assert.Equal(t, keys[:2], next[4:])
		})
	}
}

// A year, looked at every six hours by one of three processes, each with a clock
// that is up to half a minute off.
func TestYear(t *testing.T) {
	w := newWorld(t)
	o := keystore.Options{RotateEvery: 7 * day, TokenLifetime: 3 * day}
	all := make([]*keystore.Store, 3)
	for i := range all {
		cfg := w.config()
		off := time.Duration(i-1) * 30 * time.Second
		cfg.Now = func() time.Time { return w.clock.Now().Add(off) }
		var err error
		all[i], err = keystore.New(cfg, o)
		require.NoError(t, err)
	}
	firstSeen, lastSigned := map[string]time.Time{}, map[string]time.Time{}
	signers := 0
	random := mathrand.New(mathrand.NewPCG(1, 2))
	for range 365 * 4 {
		now := w.clock.Now()
		keys := keysOf(t, all[random.IntN(3)])
		signer := keys[0].ID
		for _, id := range idsOf(keys) {
			if firstSeen[id].IsZero() {
				firstSeen[id] = now
			}
		}
		if lastSigned[signer].IsZero() {
			if signers++; signers > 1 {
				assert.GreaterOrEqual(t, now.Sub(firstSeen[signer]), day-time.Minute, "S378 published before it signs")
			}
		}
		lastSigned[signer] = now
		for id, at := range lastSigned {
			if now.Sub(at) <= 3*day {
				assert.Contains(t, idsOf(keys), id, "published until its last token has expired")
			}
			if now.Sub(at) > 4*day {
				assert.NotContains(t, idsOf(keys), id, "and then no more")
			}
		}
		assert.LessOrEqual(t, len(keys), 3)
		assert.GreaterOrEqual(t, len(keys), 2)
		w.clock.Advance(6 * time.Hour)
	}
	assert.InDelta(t, 52, signers, 1)
	writes := 0
	for _, c := range w.store.Methods() {
		if c == "Create" || c == "Update" {
			writes++
		}
	}
	assert.LessOrEqual(t, writes, 2*53+2, "two writes for each rotation: the next key, and the erasing of the last")
	rec, err := w.store.Get(t.Context(), all[0].RecordID("ES256"))
	require.NoError(t, err)
	assert.Less(t, len(rec.Data), 4000)
}

// What is stored of a key that has stopped signing is its public part.
func TestErased(t *testing.T) {
	w := newWorld(t)
	s := w.process(keystore.Options{})
	private := func() int {
		keysOf(t, s)
		rec, err := w.store.Get(t.Context(), s.RecordID("ES256"))
		require.NoError(t, err)
		return strings.Count(string(rec.Data), `"private"`)
	}
	assert.Equal(t, 2, private(), "the one that signs, and the next")
	w.clock.Advance(30*day + time.Minute)
	assert.Equal(t, 3, private(), "a clock that is behind may still sign with it")
	w.clock.Advance(5 * time.Minute)
	assert.Equal(t, 2, private())
	assert.Equal(t, "ES256 signing, ES256 next, ES256 retired", states(listOf(t, s)))
	assert.Len(t, keysOf(t, w.process(keystore.Options{})), 3, "and another process reads it")
}

// That there are too many keys for a next one does not keep old ones from being
// erased.
func TestErasedWithTooMany(t *testing.T) {
	w := newWorld(t)
	s := w.process(keystore.Options{})
	keysOf(t, s)
	var err error
	for range 32 {
		if err = s.RotateNow(t.Context()); err != nil {
			break
		}
	}
	require.ErrorContains(t, err, "more than 32 keys")
	w.clock.Advance(6 * time.Minute)
	require.Len(t, keysOf(t, s), 32)
	rec, err := w.store.Get(t.Context(), s.RecordID("ES256"))
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(string(rec.Data), `"private"`), "the one that signs")
	w.clock.Advance(2 * day)
	keysOf(t, s)
	assert.Equal(t, "ES256 signing, ES256 next", states(listOf(t, s)))
}

// A server that slept for a year signs with the key that was published then, and
// publishes another for long enough.
func TestLongSleep(t *testing.T) {
	w := newWorld(t)
	old := idsOf(keysOf(t, w.process(keystore.Options{})))
	w.clock.Advance(365 * day)
	s := w.process(keystore.Options{})
	keys := idsOf(keysOf(t, s))
	require.Len(t, keys, 2)
	assert.Equal(t, old[1], keys[0])
	assert.Equal(t, w.clock.Now().Add(day), listOf(t, s)[1].Signs)
	w.clock.Advance(day - time.Millisecond)
	assert.Equal(t, keys[0], keysOf(t, s)[0].ID)
	w.clock.Advance(time.Millisecond)
	assert.Equal(t, keys[1], keysOf(t, s)[0].ID)
}

// A shorter RotateEvery takes effect at once, but no key signs before its time.
func TestRotateEveryLowered(t *testing.T) {
	for _, c := range []struct{ age, want time.Duration }{{0, 7 * day}, {3 * day, 7 * day}, {20 * day, 20 * day}} {
		w := newWorld(t)
		s := w.process(keystore.Options{})
		keysOf(t, s)
		require.Equal(t, began.Add(30*day), listOf(t, s)[1].Signs)
		w.clock.Advance(c.age)
		young := w.process(keystore.Options{RotateEvery: 7 * day})
		keysOf(t, young)
		all := listOf(t, s)
		next := slices.IndexFunc(all, func(k keystore.Key) bool { return k.Signs.After(began) })
		assert.Equal(t, began.Add(c.want), all[next].Signs)
		assert.Equal(t, began.Add(c.want+day+time.Hour+time.Minute), all[slices.IndexFunc(all, func(k keystore.Key) bool { return k.Signs.Equal(began) })].Until)
		w.clock.Advance(time.Minute)
		w.store.Reset()
		keysOf(t, s)
		keysOf(t, young)
		assert.NotContains(t, w.store.Methods()[:1], "Update", "a process with the longer one changes nothing back")
	}
}

func TestTokenLifetimeRaised(t *testing.T) {
	w := newWorld(t)
	s := w.process(keystore.Options{})
	keysOf(t, s)
	before := listOf(t, s)[0].Until
	require.Equal(t, began.Add(30*day+day+time.Hour+time.Minute), before)
	longer := w.process(keystore.Options{TokenLifetime: 10 * day})
	keysOf(t, longer)
	assert.Equal(t, before.Add(9*day), listOf(t, s)[0].Until)
	w.store.Reset()
	w.clock.Advance(2 * time.Minute)
	keysOf(t, s)
	assert.Equal(t, []string{"Get"}, w.store.Methods(), "a process that knows less changes nothing back")
}

func TestRotate(t *testing.T) {
	t.Run("an empty store", func(t *testing.T) {
		w := newWorld(t)
		s := w.process(keystore.Options{})
		assert.Empty(t, listOf(t, s))
		assert.Empty(t, listOf(t, s), "looking makes no key")
		at, err := s.Rotate(t.Context())
		require.NoError(t, err)
		assert.Equal(t, w.clock.Now(), at)
		assert.Equal(t, "ES256 signing", states(listOf(t, s)))
	})
	t.Run("a new key signs when it was published", func(t *testing.T) {
		w := newWorld(t)
		s := w.process(keystore.Options{Algorithms: []string{"ES256", "EdDSA"}})
		keys := idsOf(keysOf(t, s))
		w.clock.Advance(time.Hour)
		at, err := s.Rotate(t.Context())
		require.NoError(t, err)
		assert.Equal(t, began.Add(day), at)
		assert.Equal(t, keys, idsOf(keysOf(t, s)))
		again, err := s.Rotate(t.Context())
		require.NoError(t, err)
		assert.Equal(t, at, again, "asked twice, rotated once")
		w.clock.Advance(day - time.Hour)
		after := idsOf(keysOf(t, s))
		require.Len(t, after, 6)
		assert.Equal(t, keys[2:], after[:2])
		assert.Equal(t, keys[:2], after[4:])
		all := listOf(t, s)
		assert.Equal(t, w.clock.Now().Add(day+time.Hour+time.Minute), all[4].Until, "its last token, and slack")
		assert.Equal(t, w.clock.Now().Add(30*day), all[2].Signs, "the rhythm goes on from there")
	})
	t.Run("the next key signs at once if it was published", func(t *testing.T) {
		w := newWorld(t)
		s, other := w.process(keystore.Options{}), w.process(keystore.Options{})
		keys := idsOf(keysOf(t, s))
		w.clock.Advance(day)
		keysOf(t, s)
		at, err := other.Rotate(t.Context())
		require.NoError(t, err)
		assert.Equal(t, w.clock.Now(), at)
		assert.Equal(t, keys[1], keysOf(t, other)[0].ID)
		assert.Equal(t, keys[0], keysOf(t, s)[0].ID)
		w.clock.Advance(time.Minute)
		assert.Equal(t, keys[1], keysOf(t, s)[0].ID, "other processes follow")
		assert.Equal(t, "ES256 signing, ES256 next, ES256 retired", states(listOf(t, s)))
	})
	t.Run("now", func(t *testing.T) {
		w := newWorld(t)
		s := w.process(keystore.Options{})
		var ids []string
		for range 4 {
			ids = append(ids, keysOf(t, s)[0].ID)
			require.NoError(t, s.RotateNow(t.Context()))
		}
		keys := keysOf(t, s)
		require.Len(t, keys, 5)
		assert.NotContains(t, ids, keys[0].ID)
		assert.ElementsMatch(t, ids, idsOf(keys)[1:])
		assert.True(t, signs(t, keys[0]))
		w.clock.Advance(day + time.Hour + time.Minute)
		assert.Len(t, keysOf(t, s), 2)
	})
	t.Run("now, before the next one was published for long", func(t *testing.T) {
		w := newWorld(t)
		s := w.process(keystore.Options{})
		keys := idsOf(keysOf(t, s))
		require.NoError(t, s.RotateNow(t.Context()))
		assert.Equal(t, []string{keys[1], keys[0]}, idsOf(keysOf(t, s)))
		assert.Equal(t, w.clock.Now().Add(day+time.Hour+time.Minute), listOf(t, s)[1].Until)
	})
	t.Run("by a process whose clock is behind", func(t *testing.T) {
		w := newWorld(t)
		keys := idsOf(keysOf(t, w.process(keystore.Options{})))
		cfg := w.config()
		cfg.Now = func() time.Time { return w.clock.Now().Add(-30 * time.Second) }
		late, err := keystore.New(cfg, keystore.Options{})
		require.NoError(t, err)
		assert.Equal(t, keys[0], keysOf(t, late)[0].ID, "the first key signs there, too")
		require.NoError(t, late.RotateNow(t.Context()))
		assert.Equal(t, keys[1], keysOf(t, late)[0].ID)
		assert.Equal(t, keys[1], keysOf(t, w.process(keystore.Options{}))[0].ID)
	})
	t.Run("too large", func(t *testing.T) {
		private, err := rsa.GenerateKey(rand.Reader, 3072)
		require.NoError(t, err)
		w := newWorld(t)
		s := w.process(keystore.Options{Algorithms: []string{"RS256"}})
		s.Generate(func(string) (crypto.Signer, error) { return private, nil })
		for range 100 {
			if err = s.RotateNow(t.Context()); err != nil {
				break
			}
		}
		assert.ErrorContains(t, err, "too many keys for one record")
		rec, err := w.store.Get(t.Context(), s.RecordID("RS256"))
		require.NoError(t, err)
		assert.Greater(t, len(rec.Data), 60<<10)
		assert.LessOrEqual(t, len(rec.Data), 64<<10)
		keysOf(t, s)
	})
	t.Run("too often", func(t *testing.T) {
		w := newWorld(t)
		s := w.process(keystore.Options{})
		var err error
		n := 0
		for ; err == nil && n < 100; n++ {
			err = s.RotateNow(t.Context())
		}
		assert.ErrorContains(t, err, "more than 32 keys")
		assert.Equal(t, 33, n)
		assert.Len(t, keysOf(t, s), 32)
		w.clock.Advance(2 * day)
		require.NoError(t, s.RotateNow(t.Context()))
		assert.Equal(t, "ES256 signing, ES256 retired", states(listOf(t, s)))
	})
}

func TestRetire(t *testing.T) {
	three := func(t *testing.T) (w *world, s *keystore.Store, retired, signing, next string) {
		w = newWorld(t)
		s = w.process(keystore.Options{RotateEvery: 10 * day, TokenLifetime: 15 * day})
		keysOf(t, s)
		w.clock.Advance(11 * day)
		keys := idsOf(keysOf(t, s))
		require.Len(t, keys, 3)
		return w, s, keys[2], keys[0], keys[1]
	}
	t.Run("S379 the one that signs: the next one signs", func(t *testing.T) {
		w, s, retired, signing, next := three(t)
		require.NoError(t, s.Retire(t.Context(), signing))
		assert.Equal(t, []string{next, retired}, idsOf(keysOf(t, s)))
		assert.Equal(t, w.clock.Now(), listOf(t, s)[0].Signs)
		assert.ErrorIs(t, s.Retire(t.Context(), signing), oauth.ErrNotFound)
	})
	t.Run("the next one: another is made", func(t *testing.T) {
		w, s, retired, signing, next := three(t)
		require.NoError(t, s.Retire(t.Context(), next))
		assert.Equal(t, []string{signing, retired}, idsOf(keysOf(t, s)))
		assert.Zero(t, listOf(t, s)[0].Until)
		w.clock.Advance(time.Minute)
		keys := idsOf(keysOf(t, s))
		require.Len(t, keys, 3)
		assert.NotContains(t, keys, next)
		assert.Equal(t, began.Add(20*day), listOf(t, s)[1].Signs)
	})
	t.Run("the second of two next ones, made by a clock that is ahead", func(t *testing.T) {
		w, o := newWorld(t), keystore.Options{RotateEvery: 10 * day}
		s := w.process(o)
		first := keysOf(t, s)[0].ID
		cfg := w.config()
		cfg.Now = func() time.Time { return w.clock.Now().Add(-30 * time.Second) }
		late, err := keystore.New(cfg, o)
		require.NoError(t, err)
		w.clock.Advance(10*day + time.Second)
		keysOf(t, s)
		require.Equal(t, first, keysOf(t, late)[0].ID)
		require.NoError(t, late.Retire(t.Context(), listOf(t, s)[1].ID))
		w.clock.Advance(31 * time.Second)
		assert.Contains(t, idsOf(keysOf(t, s)), first)
		w.clock.Advance(2 * day)
		assert.NotContains(t, idsOf(keysOf(t, s)), first, "it is forgotten all the same")
	})
	t.Run("one that has retired", func(t *testing.T) {
		_, s, retired, signing, next := three(t)
		require.NoError(t, s.Retire(t.Context(), retired))
		assert.Equal(t, []string{signing, next}, idsOf(keysOf(t, s)))
	})
	t.Run("one that is forgotten", func(t *testing.T) {
		w, s, retired, _, _ := three(t)
		w.clock.Advance(16 * day)
		assert.ErrorIs(t, s.Retire(t.Context(), retired), oauth.ErrNotFound)
	})
	t.Run("all of them, one by one", func(t *testing.T) {
		w, s, retired, signing, next := three(t)
		for _, id := range []string{retired, signing, next} {
			require.NoError(t, s.Retire(t.Context(), id))
		}
		keys := keysOf(t, s)
		require.Len(t, keys, 1)
		assert.NotContains(t, []string{retired, signing, next}, keys[0].ID)
		assert.True(t, signs(t, keys[0]))
		assert.Equal(t, keys[0].ID, keysOf(t, w.process(keystore.Options{}))[0].ID)
	})
	t.Run("of another algorithm", func(t *testing.T) {
		w := newWorld(t)
		s := w.process(keystore.Options{Algorithms: []string{"ES256", "EdDSA"}})
		keys := idsOf(keysOf(t, s))
		require.NoError(t, s.Retire(t.Context(), keys[1]))
		assert.Equal(t, []string{keys[0], keys[3], keys[2]}, idsOf(keysOf(t, s)))
	})
	t.Run("V112 S302 another process follows", func(t *testing.T) {
		w := newWorld(t)
		s, other := w.process(keystore.Options{CacheFor: 10 * time.Second}), w.process(keystore.Options{CacheFor: 10 * time.Second})
		id := keysOf(t, s)[0].ID
		require.Equal(t, id, keysOf(t, other)[0].ID)
		require.NoError(t, s.Retire(t.Context(), id))
		assert.NotEqual(t, id, keysOf(t, s)[0].ID, "at once where it was asked for")
		w.clock.Advance(10*time.Second - 1)
		assert.Equal(t, id, keysOf(t, other)[0].ID)
		w.clock.Advance(1)
		assert.NotContains(t, idsOf(keysOf(t, other)), id)
		assert.Equal(t, keysOf(t, s)[0].ID, keysOf(t, other)[0].ID)
	})
	t.Run("what was read before is not remembered after", func(t *testing.T) {
		w := newWorld(t)
		gated := &gatedStore{Faulty: w.store}
		cfg := w.config()
		cfg.Storage = gated
		s, err := keystore.New(cfg, keystore.Options{})
		require.NoError(t, err)
		id := keysOf(t, s)[0].ID
		w.clock.Advance(time.Minute)
		entered, leave := gated.arm()
		var done sync.WaitGroup
		done.Go(func() { keysOf(t, s) })
		<-entered // it has read the record, and nobody has seen it yet
		require.NoError(t, s.Retire(t.Context(), id))
		assert.NotContains(t, idsOf(keysOf(t, s)), id)
		close(leave)
		done.Wait()
		assert.NotContains(t, idsOf(keysOf(t, s)), id)
	})
	t.Run("unknown", func(t *testing.T) {
		s := newWorld(t).process(keystore.Options{})
		err := s.Retire(t.Context(), strings.Repeat("x", 1000)+"\n")
		assert.ErrorIs(t, err, oauth.ErrNotFound)
		assert.Less(t, len(err.Error()), 100)
	})
}

// N operators and servers at once: every write is one step.
func TestRacingOperators(t *testing.T) {
	w := newWorld(t)
	w.slow()
	s := w.process(keystore.Options{})
	id := keysOf(t, s)[0].ID
	var done sync.WaitGroup
	for i := range 6 {
		other := w.process(keystore.Options{})
		done.Go(func() {
			keysOf(t, other)
			if i < 3 {
				assert.NoError(t, other.RotateNow(t.Context()))
				return
			}
			if err := other.Retire(t.Context(), id); err != nil {
				assert.ErrorIs(t, err, oauth.ErrNotFound)
			}
		})
	}
	done.Wait()
	w.clock.Advance(time.Minute)
	keys := idsOf(keysOf(t, s))
	assert.NotContains(t, keys, id)
	assert.Equal(t, keys, idsOf(keysOf(t, w.process(keystore.Options{}))))
	assert.Equal(t, 1, strings.Count(states(listOf(t, s)), "signing"))
	// There were two; of three rotations each has added one at the most; one is gone,
	// and there is a next one.
	assert.LessOrEqual(t, len(keys), 5)
}

// Config.Secrets change process by process, in two rollouts: every process has
// the keys all the time, and they end up sealed with the new secret.
func TestSecretRotation(t *testing.T) {
	a, b := secret(0), secret(100)
	w := newWorld(t)
	processes := make([]*keystore.Store, 4)
	restart := func(i int, secrets ...[]byte) { processes[i] = w.process(keystore.Options{}, secrets...) }
	var want []string
	check := func() {
		t.Helper()
		for _, s := range processes {
			assert.Equal(t, want, idsOf(keysOf(t, s)))
		}
	}
	for i := range processes {
		restart(i, a)
	}
	want = idsOf(keysOf(t, processes[0]))
	w.clock.Advance(5 * day)
	for _, rollout := range [][][]byte{{a, b}, {b, a}} {
		w.store.Reset()
		for i := range processes {
			restart(i, rollout...)
			for range 10 {
				w.clock.Advance(time.Minute)
				check()
			}
		}
		writes := strings.Count(fmt.Sprint(w.store.Methods()), "Update")
		if &rollout[0][0] == &a[0] {
			assert.Zero(t, writes)
		} else {
			assert.Equal(t, 1, writes, "processes in a rollout do not outdo each other")
		}
	}
	for range 3 {
		w.clock.Advance(time.Hour)
		check()
	}
	assert.Equal(t, want, idsOf(keysOf(t, w.process(keystore.Options{}, b))), "the old secret can go")
	_, err := w.process(keystore.Options{}, a).Keys(t.Context())
	assert.ErrorContains(t, err, "sealed with a secret that is none of Config.Secrets")
	for i := range processes {
		restart(i, b)
		check()
	}
	assert.True(t, signs(t, keysOf(t, processes[0])[0]))
	w.clock.Advance(25 * day)
	require.Len(t, keysOf(t, processes[0]), 3, "and life goes on")
}

// A rollout that takes days: no more than a write in an hour, and always keys.
func TestSlowSecretRollout(t *testing.T) {
	a, b := secret(0), secret(100)
	w := newWorld(t)
	old, young := w.process(keystore.Options{}, a, b), w.process(keystore.Options{}, b, a)
	want := idsOf(keysOf(t, old))
	w.store.Reset()
	for range 24 * 60 {
		w.clock.Advance(time.Minute)
		require.Equal(t, want, idsOf(keysOf(t, old)))
		require.Equal(t, want, idsOf(keysOf(t, young)))
	}
	writes := strings.Count(fmt.Sprint(w.store.Methods()), "Update")
	assert.LessOrEqual(t, writes, 24)
	assert.NotZero(t, writes)
	w.clock.Advance(time.Hour)
	keysOf(t, young)
	assert.Equal(t, want, idsOf(keysOf(t, w.process(keystore.Options{}, b))))
}

// Two servers on one store have keys of their own, even with one secret.
func TestApart(t *testing.T) {
	w := newWorld(t)
	ids := map[string]bool{}
	for _, c := range []struct{ issuer, realm string }{{issuer, ""}, {issuer, "b"}, {issuer + "/b", ""}, {issuer + " b", ""}} {
		cfg := w.config()
		cfg.Issuer, cfg.Realm = c.issuer, c.realm
		for range 2 {
			s, err := keystore.New(cfg, keystore.Options{})
			require.NoError(t, err)
			ids[keysOf(t, s)[0].ID] = true
		}
	}
	assert.Len(t, ids, 4)
}

// A store that went backwards has the keys of that time, and a key that never
// signed is no loss.
func TestStoreWentBack(t *testing.T) {
	w := newWorld(t)
	s := w.process(keystore.Options{})
	first := idsOf(keysOf(t, s))
	rec, err := w.store.Get(t.Context(), s.RecordID("ES256"))
	require.NoError(t, err)
	w.clock.Advance(30 * day)
	keysOf(t, s)
	_, err = w.store.DeleteExpired(t.Context(), w.clock.Now(), 10)
	require.NoError(t, err)
	current, err := w.store.Get(t.Context(), rec.ID)
	require.NoError(t, err, "the keys never expire")
	assert.Zero(t, current.ExpiresAt)
	current.Data = rec.Data
	require.NoError(t, w.store.Update(t.Context(), current))
	w.clock.Advance(time.Minute)
	keys := idsOf(keysOf(t, s))
	require.Len(t, keys, 3)
	assert.Equal(t, first, []string{keys[2], keys[0]})
	assert.Equal(t, w.clock.Now().Add(30*day-time.Minute), listOf(t, s)[1].Signs, "another next key was made")
}

// What another version of this library has added stays.
func TestUnknownMembersStay(t *testing.T) {
	w := newWorld(t)
	s := w.process(keystore.Options{})
	keysOf(t, s)
	id := s.RecordID("ES256")
	rec, err := w.store.Get(t.Context(), id)
	require.NoError(t, err)
	rec.Data = s.Resign(rec, func(text string) string {
		text = strings.Replace(text, `"signs":`, `"x5c": [ "<&>" ] ,"signs":`, 1)
		return strings.Replace(text, `,"keys":`, `,"later" : {"a": "\u003c<", "a":1e3},"keys":`, 1)
	})
	require.NoError(t, w.store.Update(t.Context(), rec))
	w.clock.Advance(30 * day)
	require.Len(t, keysOf(t, s), 3)
	rec, err = w.store.Get(t.Context(), id)
	require.NoError(t, err)
	assert.Contains(t, string(rec.Data), `"x5c":[ "<&>" ]`)
	assert.Contains(t, string(rec.Data), `,"later":{"a": "\u003c<", "a":1e3}`)
	assert.True(t, json.Valid(rec.Data))
	w.clock.Advance(time.Hour)
	require.Len(t, keysOf(t, s), 3)
}

// gatedStore holds the answer to one Get back.
type gatedStore struct {
	*oauthtest.Faulty
	mu             sync.Mutex
	entered, leave chan struct{}
}

func (s *gatedStore) arm() (entered, leave chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entered, s.leave = make(chan struct{}), make(chan struct{})
	return s.entered, s.leave
}

func (s *gatedStore) Get(ctx context.Context, id string) (oauth.Record, error) {
	rec, err := s.Faulty.Get(ctx, id)
	s.mu.Lock()
	entered, leave := s.entered, s.leave
	s.entered = nil
	s.mu.Unlock()
	if entered != nil {
		close(entered)
		<-leave
	}
	return rec, err
}
