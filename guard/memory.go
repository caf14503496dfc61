package guard

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

const (
	defaultKeys = 1 << 16
	ways        = 8 // keys of a set
	maxLimits   = 8
)

// A memory is a [Counter] with a fixed number of keys, all with the same limits.
//
// Keys share sets by a hash with a seed of this process, so that nobody can aim at
// one. Each set has places for some keys, and one more state, rest: slice by slice
// the greatest count of all the keys that had to go. A new key begins with rest, so
// a key that went and comes again has at least the counts that it had: to be pushed
// out is never to be forgotten. The key that goes is the one farthest from its
// limit, so that rest grows as slowly as can be.
type memory struct {
	columns []column
	size    int // of the state of a key
	seed    maphash.Seed
	sets    []set
}

// A column is the part of a key's state that belongs to one limit.
type column struct {
	span
	from, to int
}

func (c column) of(state []int64) []int64 { return state[c.from:c.to] }

type set struct {
	mu    sync.Mutex
	keys  [ways][16]byte
	used  int
	state []int64 // of the keys, then rest; nil before the first key
}

func newMemory(keys int, limits []Limit) *memory {
	m := &memory{seed: maphash.MakeSeed(), sets: make([]set, (keys+ways-1)/ways)}
	for _, l := range limits {
		s := spanOf(l)
		m.columns = append(m.columns, column{s, m.size, m.size + s.size()})
		m.size += s.size()
	}
	return m
}

// Take is of [Counter]. The limits are those that m was made for.
func (m *memory) Take(_ context.Context, key [16]byte, _ []Limit, now time.Time) (Taken, error) {
	s := &m.sets[maphash.Bytes(m.seed, key[:])%uint64(len(m.sets))]
	ms := now.UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == nil {
		s.state = make([]int64, (ways+1)*m.size)
	}
	var scratch [maxLimits * (1 + parts + 1)]int64
	state := scratch[:m.size]
	for i := range s.used {
		if s.keys[i] != key {
			continue
		}
		copy(state, m.state(s, i))
		m.roll(state, ms)
		t := m.look(state)
		if t.OK {
			t = m.count(state)
			copy(m.state(s, i), state)
		}
		return t, nil
	}
	return m.takeNew(s, key, ms, state), nil
}

// takeNew takes for a key that has no place. It gets one only if the call passes.
// What it begins with is made in begin.
func (m *memory) takeNew(s *set, key [16]byte, now int64, begin []int64) Taken {
	rest := m.state(s, ways)
	copy(begin, rest)
	m.roll(begin, now)
	place, live := m.place(s, now)
	if live {
		for _, c := range m.columns {
			c.merge(c.of(begin), c.of(m.state(s, place)))
		}
	}
	if t := m.look(begin); !t.OK {
		return t
	}
	copy(rest, begin)
	s.keys[place], s.used = key, max(s.used, place+1)
	copy(m.state(s, place), begin)
	return m.count(m.state(s, place))
}

// place chooses where a new key goes, and says whether a key with live counts is
// there.
func (m *memory) place(s *set, now int64) (place int, live bool) {
	if s.used < ways {
		return s.used, false
	}
	least := 2.0
	for i := range ways {
		state := m.state(s, i)
		m.roll(state, now)
		full := 0.0
		for _, c := range m.columns {
			full = max(full, min(1, float64(c.sum(c.of(state)))/float64(c.span.count)))
		}
		if full < least {
			place, least = i, full
		}
	}
	return place, least > 0
}

// look says whether a call would pass, and if not which limit it meets and until
// when.
func (m *memory) look(state []int64) Taken {
	t := Taken{OK: true}
	var reset int64
	for i, c := range m.columns {
		sum := c.sum(c.of(state))
		if sum < c.span.count {
			continue
		}
		if free := c.freed(c.of(state), sum); t.OK || free > reset {
			t, reset = Taken{Limit: i}, free
		}
	}
	t.Reset = time.UnixMilli(reset)
	return t
}

// count counts a call that passes.
func (m *memory) count(state []int64) Taken {
	t := Taken{OK: true}
	var reset int64
	for i, c := range m.columns {
		c.of(state)[1]++
		sum := c.sum(c.of(state))
		left, free := int(c.span.count-sum), c.freed(c.of(state), sum)
		if i == 0 || left < t.Remaining || left == t.Remaining && free > reset {
			t.Limit, t.Remaining, reset = i, left, free
		}
	}
	t.Reset = time.UnixMilli(reset)
	return t
}

// state is that of one key of a set, or with ways its rest.
func (m *memory) state(s *set, i int) []int64 { return s.state[i*m.size : (i+1)*m.size] }

func (m *memory) roll(state []int64, now int64) {
	for _, c := range m.columns {
		c.roll(c.of(state), c.at(now))
	}
}
