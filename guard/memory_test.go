package guard

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

func keyOf(n int) (key [16]byte) {
	binary.BigEndian.PutUint64(key[:], uint64(n))
	return key
}

func mustTake(t testing.TB, c Counter, key int, limits []Limit, now time.Time) Taken {
	t.Helper()
	got, err := c.Take(t.Context(), keyOf(key), limits, now)
	require.NoError(t, err)
	return got
}

func TestFixedWindow(t *testing.T) {
	limits := []Limit{{Count: 3, Window: time.Minute}}
	m := newMemory(1, limits)
	now := noon.Add(40 * time.Second)
	for left := 2; left >= 0; left-- {
		got := mustTake(t, m, 1, limits, now)
		assert.Equal(t, Taken{OK: true, Remaining: left, Reset: got.Reset}, got)
		assert.True(t, noon.Add(time.Minute).Equal(got.Reset), "aligned to the clock")
		now = now.Add(6 * time.Second)
	}
	got := mustTake(t, m, 1, limits, now)
	assert.False(t, got.OK)
	assert.True(t, noon.Add(time.Minute).Equal(got.Reset))
	assert.True(t, mustTake(t, m, 2, limits, now).OK, "another key")
	assert.False(t, mustTake(t, m, 1, limits, noon.Add(time.Minute-time.Millisecond)).OK)
	assert.Equal(t, 2, mustTake(t, m, 1, limits, noon.Add(time.Minute)).Remaining)
}

func TestSlidingWindow(t *testing.T) {
	limits := []Limit{{Count: 3, Window: 80 * time.Second, Sliding: true}}
	m := newMemory(1, limits)
	at := func(seconds int) time.Time { return time.Unix(80*1000+int64(seconds), 0) }
	assert.True(t, mustTake(t, m, 1, limits, at(5)).OK)
	assert.True(t, mustTake(t, m, 1, limits, at(25)).OK)
	third := mustTake(t, m, 1, limits, at(79))
	assert.True(t, third.OK)
	assert.True(t, at(90).Equal(third.Reset), "the first is forgotten")
	assert.False(t, mustTake(t, m, 1, limits, at(85)).OK, "80 seconds after the first, to the eighth")
	refused := mustTake(t, m, 1, limits, at(89))
	assert.False(t, refused.OK)
	assert.True(t, at(90).Equal(refused.Reset))
	fourth := mustTake(t, m, 1, limits, at(90))
	assert.True(t, fourth.OK)
	assert.True(t, at(110).Equal(fourth.Reset), "the second is forgotten")
	assert.False(t, mustTake(t, m, 1, limits, at(109)).OK)
	assert.True(t, mustTake(t, m, 1, limits, at(110)).OK)
	assert.Equal(t, 2, mustTake(t, m, 1, limits, at(1000)).Remaining)
}

func TestSeveralLimits(t *testing.T) {
	limits := []Limit{{Count: 3, Window: time.Hour}, {Count: 2, Window: time.Second}}
	m := newMemory(1, limits)
	for want := range 2 {
		got := mustTake(t, m, 1, limits, noon)
		assert.Equal(t, 1, got.Limit, "the one with the least left")
		assert.Equal(t, 1-want, got.Remaining)
	}
	for range 10 {
		got := mustTake(t, m, 1, limits, noon)
		assert.False(t, got.OK)
		assert.Equal(t, 1, got.Limit)
		assert.True(t, noon.Add(time.Second).Equal(got.Reset))
	}
	got := mustTake(t, m, 1, limits, noon.Add(time.Second))
	assert.True(t, got.OK, "what was refused by one limit is counted in none")
	assert.Equal(t, 0, got.Limit)
	assert.Equal(t, 0, got.Remaining)
	mustTake(t, m, 1, limits, noon.Add(time.Second))
	got = mustTake(t, m, 1, limits, noon.Add(time.Second))
	assert.False(t, got.OK)
	assert.Equal(t, 0, got.Limit)
	assert.True(t, noon.Add(time.Hour).Equal(got.Reset))
	for _, limits := range [][]Limit{{limits[0], {Count: 3, Window: time.Second}}, {{Count: 3, Window: time.Second}, limits[0]}} {
		m = newMemory(1, limits)
		for range 3 {
			require.True(t, mustTake(t, m, 1, limits, noon).OK)
		}
		got = mustTake(t, m, 1, limits, noon)
		assert.Equal(t, time.Hour, limits[got.Limit].Window, "of two that are reached the one that lasts longest")
		assert.True(t, noon.Add(time.Hour).Equal(got.Reset))
	}
}

func TestClockThatIsPutBack(t *testing.T) {
	for _, sliding := range []bool{false, true} {
		t.Run(fmt.Sprintf("S376 sliding %v", sliding), func(t *testing.T) {
			limits := []Limit{{Count: 1, Window: 8 * time.Second, Sliding: sliding}}
			m := newMemory(1, limits)
			require.True(t, mustTake(t, m, 1, limits, noon).OK)
			for _, back := range []time.Duration{time.Millisecond, time.Second, 5 * time.Second} {
				assert.False(t, mustTake(t, m, 1, limits, noon.Add(-back)).OK, "a clock that is behind gives nothing back")
			}
			assert.True(t, mustTake(t, m, 1, limits, noon.Add(-time.Hour)).OK, "nobody waits for a clock that was wrong by an hour")
			assert.False(t, mustTake(t, m, 1, limits, noon.Add(-time.Hour)).OK)
		})
	}
}

// 1000 requests at once: exactly as many as the limit says pass.
func TestExactlyTheLimitPasses(t *testing.T) {
	for _, limit := range []Limit{{Count: 100, Window: time.Minute}, {Count: 100, Window: time.Minute, Sliding: true}} {
		limits := []Limit{limit, {Count: 5000, Window: time.Hour}}
		m := newMemory(64, limits)
		var passed [4]atomic.Int64
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				got, err := m.Take(t.Context(), keyOf(i%4), limits, noon)
				assert.NoError(t, err)
				if got.OK {
					passed[i%4].Add(1)
				}
			})
		}
		all.Wait()
		for i := range passed {
			assert.Equal(t, int64(100), passed[i].Load())
		}
	}
}

// No key ever passes more often than its limits say, however many others come and
// whichever has to make room. It is compared with all calls that passed.
func TestNobodyGetsALimitBack(t *testing.T) {
	for seed := range uint64(24) {
		random := rand.New(rand.NewPCG(seed, 1))
		limits := []Limit{{Count: 1 + random.IntN(6), Window: 8 * time.Second, Sliding: seed%2 == 0}, {Count: 12, Window: 32 * time.Second, Sliding: seed%3 == 0}}
		m := newMemory(ways, limits) // one set
		passed := map[int][]time.Time{}
		now := noon
		for range 1500 {
			now = now.Add(time.Duration(random.IntN(400)) * time.Millisecond)
			key := int(random.ExpFloat64() * 6) // far more keys than places, some of them often
			if mustTake(t, m, key, limits, now).OK {
				passed[key] = append(passed[key], now)
				requireWithin(t, limits, passed[key])
			}
		}
		require.Greater(t, len(passed), 2*ways)
	}
}

// requireWithin fails if the last of the calls was one too many.
func requireWithin(t *testing.T, limits []Limit, calls []time.Time) {
	t.Helper()
	last := calls[len(calls)-1]
	for _, l := range limits {
		begin := last.Truncate(l.Window)
		if l.Sliding {
			begin = last.Add(-l.Window + 1)
		}
		n := 0
		for _, c := range slices.Backward(calls) {
			if c.Before(begin) {
				break
			}
			n++
		}
		require.LessOrEqual(t, n, l.Count, "%+v", l)
	}
}

// A million names in one window: memory stays where it is, who is at the limit stays
// there, and who comes new still gets in.
func TestAMillionKeys(t *testing.T) {
	for _, tt := range []struct {
		limit                Limit
		places, calls, bytes int
	}{
		{Limit{Count: 100, Window: time.Hour}, defaultKeys, 1_000_000, 21 + 18},
		{Limit{Count: 100, Window: time.Hour, Sliding: true}, 1 << 12, 1 << 16, 21 + 90},
	} {
		t.Run(fmt.Sprintf("%d names, sliding %v", tt.calls, tt.limit.Sliding), func(t *testing.T) {
			limits := []Limit{tt.limit}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			m := newMemory(tt.places, limits)
			for range 100 {
				require.True(t, mustTake(t, m, -1, limits, noon).OK)
			}
			ctx, refused := t.Context(), 0
			for i := range tt.calls {
				if got, _ := m.Take(ctx, keyOf(i), limits, noon); !got.OK {
					refused++
				}
				if i%1000 == 0 {
					require.False(t, mustTake(t, m, -1, limits, noon).OK, i)
				}
			}
			assert.Zero(t, refused, "new keys")
			runtime.GC()
			runtime.ReadMemStats(&after)
			assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(tt.places*tt.bytes+1<<19))
			got := mustTake(t, m, -2, limits, noon)
			assert.True(t, got.OK)
			assert.Greater(t, got.Remaining, 75, "16 calls for each place")
			runtime.KeepAlive(m)
		})
	}
}
