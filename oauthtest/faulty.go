package oauthtest

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/grantwell/oauth"
)

// ErrFault is what a [Faulty] store fails with.
var ErrFault = errors.New("oauthtest: the store failed, as it was told to")

// A Fault is how one call of a store goes wrong.
type Fault int

// How a call goes wrong. Of a read, FailAfter is FailBefore and Twice is nothing.
const (
	NoFault    Fault = iota
	FailBefore       // nothing happens, then ErrFault
	FailAfter        // it takes effect, then ErrFault: the answer was lost
	Twice            // it is sent twice, as drivers do, and the second answer comes back
	Panic            // it panics, before anything happens
	Canceled         // the store gets it with a context that has ended
)

// A StoreCall is one call of a store.
type StoreCall struct {
	N      int    // 1 for the first since the store was made or Reset
	Method string // "Create", "Get", "Update", "List", "DeleteExpired"
	ID     string // of the record, where the call names one
}

// A Faulty store passes calls on to another one, counts them, and lets some of
// them fail. It is safe for concurrent use.
type Faulty struct {
	storage oauth.Storage

	mu    sync.Mutex
	calls []StoreCall
	fault func(StoreCall) Fault
	delay func() time.Duration
}

// NewFaulty wraps a store. Until told otherwise no call fails.
func NewFaulty(storage oauth.Storage) *Faulty { return &Faulty{storage: storage} }

// Fail lets f decide about every call from now on. nil: none fails.
func (s *Faulty) Fail(f func(StoreCall) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Delay makes every call wait before it does anything, as long as f says and no
// longer than its context. nil: none waits.
func (s *Faulty) Delay(f func() time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = f
}

// Reset forgets the calls so far.
func (s *Faulty) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

// Calls are the calls since the store was made or Reset.
func (s *Faulty) Calls() []StoreCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]StoreCall(nil), s.calls...)
}

// Methods are the methods of those calls, in order.
func (s *Faulty) Methods() []string {
	var names []string
	for _, c := range s.Calls() {
		names = append(names, c.Method)
	}
	return names
}

// enter counts a call, waits, and says how it goes wrong.
func (s *Faulty) enter(ctx context.Context, method, id string) (Fault, error) {
	s.mu.Lock()
	call := StoreCall{N: len(s.calls) + 1, Method: method, ID: id}
	s.calls = append(s.calls, call)
	delay, decide := s.delay, s.fault
	s.mu.Unlock()
	if delay != nil {
		timer := time.NewTimer(delay())
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return NoFault, ctx.Err()
		}
	}
	if decide == nil {
		return NoFault, nil
	}
	fault := decide(call)
	if fault == Panic {
		panic("oauthtest: the store panicked, as it was told to")
	}
	return fault, nil
}

// canceled is the context that the store gets.
func canceled(ctx context.Context, fault Fault) context.Context {
	if fault != Canceled {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// write performs a write as the fault says.
func write(ctx context.Context, fault Fault, err error, do func(ctx context.Context) error) error {
	switch {
	case err != nil:
		return err
	case fault == FailBefore:
		return ErrFault
	}
	ctx = canceled(ctx, fault)
	err = do(ctx)
	if fault == Twice {
		err = do(ctx)
	}
	if fault == FailAfter && err == nil {
		return ErrFault
	}
	return err
}

// Create implements [oauth.Storage].
func (s *Faulty) Create(ctx context.Context, r oauth.Record) error {
	fault, err := s.enter(ctx, "Create", r.ID)
	return write(ctx, fault, err, func(ctx context.Context) error { return s.storage.Create(ctx, r) })
}

// Update implements [oauth.Storage].
func (s *Faulty) Update(ctx context.Context, r oauth.Record) error {
	fault, err := s.enter(ctx, "Update", r.ID)
	return write(ctx, fault, err, func(ctx context.Context) error { return s.storage.Update(ctx, r) })
}

// Get implements [oauth.Storage].
func (s *Faulty) Get(ctx context.Context, id string) (oauth.Record, error) {
	fault, err := s.enter(ctx, "Get", id)
	if err != nil {
		return oauth.Record{}, err
	}
	if fault == FailBefore || fault == FailAfter {
		return oauth.Record{}, ErrFault
	}
	return s.storage.Get(canceled(ctx, fault), id)
}

// List implements [oauth.Storage].
func (s *Faulty) List(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	fault, err := s.enter(ctx, "List", "")
	if err == nil && (fault == FailBefore || fault == FailAfter) {
		err = ErrFault
	}
	if err != nil {
		return func(yield func(oauth.Record, error) bool) { yield(oauth.Record{}, err) }
	}
	return s.storage.List(canceled(ctx, fault), f)
}

// DeleteExpired implements [oauth.Storage].
func (s *Faulty) DeleteExpired(ctx context.Context, before time.Time, limit int) (int, error) {
	fault, err := s.enter(ctx, "DeleteExpired", "")
	n := 0
	err = write(ctx, fault, err, func(ctx context.Context) error {
		var err error
		n, err = s.storage.DeleteExpired(ctx, before, limit)
		return err
	})
	return n, err
}
