package fetch

import (
	"context"
	"errors"
	"sync"
	"time"
)

var errPanicked = errors.New("fetch: it panicked")

// A Flight lets calls for the same key that come while one is under way share its outcome. The first runs it, in its own goroutine
// and to the end, whatever becomes of its own context: those who wait rely on it, and a client that hangs up must not be able to
// keep it from ending. So what it does has a limit of time of its own. Who waits, waits no longer than its own context. The zero
// Flight is ready; it is safe for concurrent use.
type Flight[K comparable, V any] struct {
	mu   sync.Mutex
	runs map[K]*run[V]
}

type run[V any] struct {
	done  chan struct{}
	value V
	err   error
}

// Do runs do, or waits for the one that runs it.
func (f *Flight[K, V]) Do(ctx context.Context, key K, do func(context.Context) (V, error)) (V, error) {
	f.mu.Lock()
	r, ok := f.runs[key]
	if ok {
		f.mu.Unlock()
		select {
		case <-r.done:
			return r.value, r.err
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
	}
	if f.runs == nil {
		f.runs = map[K]*run[V]{}
	}
	r = &run[V]{done: make(chan struct{}), err: errPanicked}
	f.runs[key] = r
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.runs, key)
		f.mu.Unlock()
		close(r.done)
	}()
	r.value, r.err = do(context.WithoutCancel(ctx))
	return r.value, r.err
}

// A Document is what is loaded when it is needed, and kept: fresh for as long as Load says, and while it cannot be loaded again for
// a bounded time more. Its fields are not changed once it is in use; it is safe for concurrent use.
type Document[V any] struct {
	// Load gets it, and says how long it is fresh.
	Load func(context.Context) (V, time.Duration, error)
	// Stale is how long after it was loaded a document that is no longer fresh may be used, where it cannot be loaded again.
	Stale time.Duration
	// Pause is the least time between two loads, where the first failed, or where the document is fresh and a newer one is asked for.
	Pause time.Duration
	// Limit is for a whole Load.
	Limit time.Duration

	flight Flight[struct{}, struct{}]
	mu     sync.Mutex
	state  state[V]
}

// state is what the last loads left. Times are those of their beginning.
type state[V any] struct {
	value  V
	serial int // of value: how many were loaded; 0: none yet
	loaded time.Time
	keep   time.Duration
	tried  time.Time
	failed error // of the last one
	// loading: one is under way.
	loading bool
}

// Get returns the document and its serial number. after is 0, or the serial number of the document that would not do: then it is a
// newer one, if there is one to be had. Where there is not, for the last load is less than Pause ago, it is the same one again;
// where that load failed, and where there is no document that may be used, it is an error.
func (d *Document[V]) Get(ctx context.Context, now func() time.Time, after int) (V, int, error) {
	s := d.snapshot()
	if s.usable(now(), s.keep, after) {
		return s.value, s.serial, nil
	}
	// While one is under way nobody waits who can do without.
	if s.loading && s.usable(now(), d.Stale, after) || d.paused(s, now(), after) {
		return d.answer(s, now(), after)
	}
	if err := ctx.Err(); err != nil {
		var none V
		return none, 0, err
	}
	_, err := d.flight.Do(ctx, struct{}{}, func(ctx context.Context) (struct{}, error) {
		// Who came just too late for the last flight has what it brought.
		if s := d.snapshot(); !s.usable(now(), s.keep, after) && !d.paused(s, now(), after) {
			d.load(ctx, now())
		}
		return struct{}{}, nil
	})
	if err != nil {
		var none V
		return none, 0, err
	}
	return d.answer(d.snapshot(), now(), after)
}

// answer is what s has for who asked.
func (d *Document[V]) answer(s state[V], now time.Time, after int) (V, int, error) {
	switch {
	case s.usable(now, d.Stale, after):
		return s.value, s.serial, nil
	case s.failed == nil && s.usable(now, d.Stale, 0):
		return s.value, s.serial, nil // there is no newer one
	case s.failed == nil:
		s.failed = errors.New("fetch: the document is out of date")
	}
	var none V
	return none, 0, s.failed
}

func (d *Document[V]) load(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, d.Limit)
	defer cancel()
	d.mu.Lock()
	d.state.tried, d.state.loading = now, true
	d.mu.Unlock()
	var v V
	var keep time.Duration
	err := errPanicked
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.state.loading = false
		if d.state.failed = err; err == nil {
			d.state.value, d.state.loaded, d.state.keep = v, now, keep
			d.state.serial++
		}
	}()
	v, keep, err = d.Load(ctx)
}

func (d *Document[V]) snapshot() state[V] {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

// usable reports whether the value is newer than after and was loaded less than age ago. A clock that went back makes it no younger.
func (s *state[V]) usable(now time.Time, age time.Duration, after int) bool {
	return s.serial > after && within(now, s.loaded, age)
}

// paused reports whether it is too early for the next load.
func (d *Document[V]) paused(s state[V], now time.Time, after int) bool {
	return !s.loading && within(now, s.tried, d.Pause) && (s.failed != nil || s.serial == after)
}

// within reports whether now is in the time d that begins at from.
func within(now, from time.Time, d time.Duration) bool {
	past := now.Sub(from)
	return !from.IsZero() && past >= 0 && past < d
}
