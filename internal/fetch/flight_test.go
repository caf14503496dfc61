package fetch_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/fetch"
)

var errDown = errors.New("down")

func TestFlight(t *testing.T) {
	t.Run("one for many", func(t *testing.T) {
		var f fetch.Flight[string, int]
		var runs atomic.Int64
		release, started := make(chan struct{}), make(chan struct{})
		do := func(context.Context) (int, error) {
			runs.Add(1)
			close(started)
			<-release
			return 7, nil
		}
		var all sync.WaitGroup
		one := func() {
			v, err := f.Do(t.Context(), "a", do)
			assert.NoError(t, err)
			assert.Equal(t, 7, v)
		}
		all.Go(one)
		<-started
		var waiting atomic.Int64
		for range 20 {
			all.Go(func() { waiting.Add(1); one() })
		}
		v, err := f.Do(t.Context(), "b", func(context.Context) (int, error) { return 8, errDown })
		assert.Equal(t, 8, v, "another key does not wait")
		assert.ErrorIs(t, err, errDown)
		for waiting.Load() < 20 {
			runtime.Gosched()
		}
		close(release)
		all.Wait()
		assert.EqualValues(t, 1, runs.Load())
		started = make(chan struct{})
		one()
		assert.EqualValues(t, 2, runs.Load(), "the next one is a new one")
	})
	t.Run("who waits may give up, who runs it may not", func(t *testing.T) {
		var f fetch.Flight[int, int]
		leader, leave := context.WithCancel(t.Context())
		started, release := make(chan struct{}), make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			v, err := f.Do(leader, 1, func(ctx context.Context) (int, error) {
				close(started)
				<-release
				return 7, ctx.Err()
			})
			assert.NoError(t, err)
			assert.Equal(t, 7, v)
		})
		<-started
		leave()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := f.Do(ctx, 1, nil)
		assert.ErrorIs(t, err, context.Canceled)
		close(release)
		all.Wait()
	})
	t.Run("a panic holds nobody", func(t *testing.T) {
		var f fetch.Flight[int, int]
		started, release := make(chan struct{}), make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			assert.Panics(t, func() {
				_, _ = f.Do(t.Context(), 1, func(context.Context) (int, error) { close(started); <-release; panic("x") })
			})
		})
		<-started
		all.Go(func() {
			_, err := f.Do(t.Context(), 1, func(context.Context) (int, error) { return 0, errDown })
			assert.Error(t, err)
		})
		close(release)
		all.Wait()
		_, err := f.Do(t.Context(), 1, func(context.Context) (int, error) { return 0, nil })
		assert.NoError(t, err)
	})
}

// source is a document that can be down, and a clock.
type source struct {
	mu    sync.Mutex
	at    time.Time
	loads int
	err   error
	keep  time.Duration
	hold  chan struct{} // loads wait for it, if it is set
	begun chan struct{} // gets one of each load that waits
}

func (s *source) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *source) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *source) load(ctx context.Context) (int, time.Duration, error) {
	s.mu.Lock()
	s.loads++
	n, err, keep, hold := s.loads, s.err, s.keep, s.hold
	s.mu.Unlock()
	if hold != nil {
		s.begun <- struct{}{}
		<-hold
	}
	if err != nil {
		return 0, 0, err
	}
	return n, keep, ctx.Err()
}

func newDocument() (*source, *fetch.Document[int]) {
	s := &source{at: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), keep: 5 * time.Minute}
	return s, &fetch.Document[int]{Load: s.load, Stale: time.Hour, Pause: 10 * time.Second, Limit: time.Minute}
}

func TestDocument(t *testing.T) {
	s, d := newDocument()
	type step struct {
		name   string
		after  time.Duration // since the step before
		down   bool
		newer  int // as after of Get
		want   int
		serial int
		err    error
		loads  int // so far
	}
	for _, st := range []step{
		{"first", 0, false, 0, 1, 1, nil, 1},
		{"kept", 5*time.Minute - 1, false, 0, 1, 1, nil, 1},
		{"no longer fresh", 1, false, 0, 2, 2, nil, 2},
		{"S301 a newer one, too early", 10*time.Second - 1, false, 2, 2, 2, nil, 2},
		{"a newer one that is here already", 0, false, 1, 2, 2, nil, 2},
		{"a newer one", 1, false, 2, 3, 3, nil, 3},
		{"S300 down, fresh", 5*time.Minute - 1, true, 0, 3, 3, nil, 3},
		{"S300 down, stale", 1, true, 0, 3, 3, nil, 4},
		{"S300 down, no second time", 10*time.Second - 1, true, 0, 3, 3, nil, 4},
		{"down, a newer one, too early", 0, true, 3, 0, 0, errDown, 4},
		{"down, again", 1, true, 0, 3, 3, nil, 5},
		{"down, a newer one", 10 * time.Second, true, 3, 0, 0, errDown, 6},
		{"down, one second before an hour", 55*time.Minute - 21*time.Second, true, 0, 3, 3, nil, 7},
		{"S302 V112 down for an hour", time.Second, true, 0, 0, 0, errDown, 7},
		{"down still", 10 * time.Second, true, 0, 0, 0, errDown, 8},
		{"up, too early", 9 * time.Second, false, 0, 0, 0, errDown, 8},
		{"up", time.Second, false, 0, 9, 4, nil, 9},
		{"the clock goes back", -24 * time.Hour, false, 0, 10, 5, nil, 10},
		{"and is kept then", time.Minute, false, 0, 10, 5, nil, 10},
	} {
		t.Run(st.name, func(t *testing.T) {
			s.set(func() {
				s.at = s.at.Add(st.after)
				if s.err = nil; st.down {
					s.err = errDown
				}
			})
			v, serial, err := d.Get(t.Context(), s.now, st.newer)
			assert.ErrorIs(t, err, st.err)
			assert.Equal(t, []int{st.want, st.serial, st.loads}, []int{v, serial, s.loads})
		})
	}
}

func TestDocumentContext(t *testing.T) {
	s, d := newDocument()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := d.Get(gone, s.now, 0)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, s.loads, "nothing is begun for who is gone")
	_, _, err = d.Get(t.Context(), s.now, 0)
	require.NoError(t, err)
	v, _, err := d.Get(gone, s.now, 0)
	assert.NoError(t, err, "what is there needs no waiting")
	assert.Equal(t, 1, v)
}

func TestDocumentLimit(t *testing.T) {
	s, d := newDocument()
	d.Limit = time.Millisecond
	d.Load = func(ctx context.Context) (int, time.Duration, error) { <-ctx.Done(); return 0, 0, ctx.Err() }
	_, _, err := d.Get(t.Context(), s.now, 0)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestDocumentPanic(t *testing.T) {
	s, d := newDocument()
	d.Load = func(context.Context) (int, time.Duration, error) { panic("x") }
	assert.Panics(t, func() { _, _, _ = d.Get(t.Context(), s.now, 0) })
	_, _, err := d.Get(t.Context(), s.now, 0)
	assert.Error(t, err, "a pause, as after any failure")
	assert.NotPanics(t, func() { _, _, _ = d.Get(t.Context(), s.now, 0) })
}

// While a load hangs, who has a document that may be used goes on with it, and who has none waits for that one load.
func TestDocumentWhileLoading(t *testing.T) {
	s, d := newDocument()
	_, _, err := d.Get(t.Context(), s.now, 0)
	require.NoError(t, err)
	hold := make(chan struct{})
	s.set(func() { s.at, s.hold, s.begun = s.at.Add(6*time.Minute), hold, make(chan struct{}, 1) })
	var all sync.WaitGroup
	all.Go(func() {
		v, _, err := d.Get(t.Context(), s.now, 0)
		assert.NoError(t, err)
		assert.Equal(t, 2, v, "who loads has the new one")
	})
	<-s.begun
	v, serial, err := d.Get(t.Context(), s.now, 0)
	assert.NoError(t, err)
	assert.Equal(t, []int{1, 1}, []int{v, serial}, "the one that is there")
	for range 8 {
		all.Go(func() {
			v, serial, err := d.Get(t.Context(), s.now, 1)
			assert.NoError(t, err)
			assert.Equal(t, []int{2, 2}, []int{v, serial}, "a newer one: this")
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, _, err = d.Get(ctx, s.now, 1)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	close(hold)
	all.Wait()
	assert.Equal(t, 2, s.loads)
}

// A flood of requests for a newer document, with and without one that is fresh.
func TestDocumentFlood(t *testing.T) {
	s, d := newDocument()
	for round := 1; round <= 5; round++ {
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				_, serial, err := d.Get(t.Context(), s.now, 0)
				assert.NoError(t, err)
				_, _, err = d.Get(t.Context(), s.now, serial)
				assert.NoError(t, err)
			})
		}
		all.Wait()
		assert.LessOrEqual(t, s.loads, round, "S301 one per pause")
		s.set(func() { s.at = s.at.Add(10 * time.Second) })
	}
	assert.Equal(t, 5, s.loads)
	s.set(func() { s.at, s.err = s.at.Add(2*time.Hour), errDown })
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			_, _, err := d.Get(t.Context(), s.now, 0)
			assert.ErrorIs(t, err, errDown)
		})
	}
	all.Wait()
	assert.Equal(t, 6, s.loads, "S300")
}
