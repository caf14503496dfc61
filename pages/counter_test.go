package pages

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// What no request can show in reasonable time: that the maps stay small.

func TestCounterIsBounded(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c := counter[int]{limit: 3, size: 100, seen: map[int]failures{}}
	for range 3 {
		c.add(at, -1)
	}
	for k := range 10_000 {
		c.add(at, k)
		assert.LessOrEqual(t, len(c.seen), 100)
	}
	assert.Positive(t, c.wait(at, -1), "a flood of names does not push out one that is at its limit")

	at = at.Add(window)
	assert.Zero(t, c.wait(at, -1))
	c.add(at, 20_000)
	assert.Less(t, len(c.seen), 100, "windows that are over make room")
	assert.Contains(t, c.seen, 20_000)
}

func TestCounterClockSetBack(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c := counter[int]{limit: 1, size: 10, seen: map[int]failures{}}
	c.add(at, 1)
	assert.Equal(t, window, c.wait(at, 1))
	assert.Zero(t, c.wait(at.Add(-time.Hour), 1), "nobody waits longer than a window")
}

func TestAttemptOfAnotherWindow(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	a := newAttempts()
	address := netip.MustParseAddr("192.0.2.1")
	old, wait := a.take(at, "alice", address)
	assert.Zero(t, wait)
	young, _ := a.take(at.Add(window), "alice", address)
	a.giveBack(old) // took ten minutes
	assert.Equal(t, 1, a.names.seen[young.name].count)
	a.giveBack(young)
	assert.Empty(t, a.names.seen)
	assert.Empty(t, a.addresses.seen)
	a.giveBack(young)
	assert.Empty(t, a.names.seen)
}

// A map that keeps its length grows all the same while keys come and go.
func TestCounterDoesNotGrowByTurnover(t *testing.T) {
	const size = 1 << 10
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c := counter[int]{limit: 3, size: size, seen: map[int]failures{}}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for k := range size {
		c.add(at, k)
	}
	before := heap()
	for k := range 60 * size {
		c.add(at, size+k)
	}
	assert.Less(t, heap()-before, int64(size*32), "without a new map it is 50 KiB and more")
	assert.Len(t, c.seen, size)
}
