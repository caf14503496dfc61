package oauthtest

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grantwell/oauth"
)

// A table is a right store of a map and a lock, with seams where it can be
// broken. A nil seam does what is right.
type table struct {
	mu   sync.Mutex
	rows map[string]oauth.Record

	key     func(id string) string                           // what IDs are found by
	keep    func(r *oauth.Record)                            // what becomes of a record on its way in
	visible func(r oauth.Record) bool                        // false: dropped already
	matches func(f oauth.Filter, r oauth.Record) bool        // of List
	order   func(a, b string) int                            // of List
	expired func(r oauth.Record, before time.Time) bool      // of DeleteExpired
	change  func(old *oauth.Record, r oauth.Record)          // of Update, under the lock
	copyIn  func(data []byte) []byte                         // of Create and Update
	copyOut func(data []byte) []byte                         // of Get and List
	refuse  func(ctx context.Context, r *oauth.Record) error // of Create and Update
}

// made lets a broken store be written as one expression.
func made(breakIt func(s *table)) oauth.Storage {
	s := &table{rows: map[string]oauth.Record{}, key: strings.Clone, copyIn: bytes.Clone, copyOut: bytes.Clone, matches: matches, order: cmp.Compare[string]}
	s.keep = func(*oauth.Record) {}
	s.visible = func(oauth.Record) bool { return true }
	s.expired = func(r oauth.Record, before time.Time) bool {
		return !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(before)
	}
	s.refuse = func(ctx context.Context, _ *oauth.Record) error { return ctx.Err() }
	s.change = func(old *oauth.Record, r oauth.Record) {
		old.Subject, old.ExpiresAt, old.Data, old.Version = r.Subject, r.ExpiresAt, r.Data, old.Version+1
	}
	breakIt(s)
	return s
}

func matches(f oauth.Filter, r oauth.Record) bool {
	return r.Realm == f.Realm && r.ID > f.After && (f.Kind == "" || r.Kind == f.Kind) &&
		(f.ClientID == "" || r.ClientID == f.ClientID) && (f.Subject == "" || r.Subject == f.Subject)
}

func (s *table) find(id string) (oauth.Record, bool) {
	r, ok := s.rows[s.key(id)]
	return r, ok && s.visible(r)
}

func (s *table) Create(ctx context.Context, r oauth.Record) error {
	if err := s.refuse(ctx, &r); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.find(r.ID); taken {
		return oauth.ErrExists
	}
	r.Version, r.Data = 1, s.copyIn(r.Data)
	s.keep(&r)
	s.rows[s.key(r.ID)] = r
	return nil
}

func (s *table) Get(ctx context.Context, id string) (oauth.Record, error) {
	if err := ctx.Err(); err != nil {
		return oauth.Record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.find(id)
	if !ok {
		return oauth.Record{}, oauth.ErrNotFound
	}
	r.Data = s.copyOut(r.Data)
	return r, nil
}

func (s *table) Update(ctx context.Context, r oauth.Record) error {
	if err := s.refuse(ctx, &r); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.find(r.ID)
	switch {
	case !ok:
		return oauth.ErrNotFound
	case old.Version != r.Version:
		return oauth.ErrConflict
	}
	r.Data = s.copyIn(r.Data)
	s.keep(&r)
	s.change(&old, r)
	s.rows[s.key(r.ID)] = old
	return nil
}

// snapshot is what List yields.
func (s *table) snapshot(f oauth.Filter) []oauth.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []oauth.Record
	for _, r := range s.rows {
		if s.visible(r) && s.matches(f, r) {
			r.Data = s.copyOut(r.Data)
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b oauth.Record) int { return s.order(a.ID, b.ID) })
	return found
}

func (s *table) List(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	return func(yield func(oauth.Record, error) bool) {
		err := ctx.Err()
		if err == nil {
			for _, r := range s.snapshot(f) {
				if err = ctx.Err(); err != nil {
					break
				}
				if !yield(r, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(oauth.Record{}, err)
		}
	}
}

func (s *table) DeleteExpired(ctx context.Context, before time.Time, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for key, r := range s.rows {
		if n < limit && s.expired(r, before) {
			delete(s.rows, key)
			n++
		}
	}
	return n, ctx.Err()
}

// A patched store has methods of its own in place of another's.
type patched struct {
	oauth.Storage
	create func(ctx context.Context, r oauth.Record) error
	get    func(ctx context.Context, id string) (oauth.Record, error)
	update func(ctx context.Context, r oauth.Record) error
	list   func(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error]
	sweep  func(ctx context.Context, before time.Time, limit int) (int, error)
}

func (p *patched) Create(ctx context.Context, r oauth.Record) error {
	if p.create != nil {
		return p.create(ctx, r)
	}
	return p.Storage.Create(ctx, r)
}

func (p *patched) Get(ctx context.Context, id string) (oauth.Record, error) {
	if p.get != nil {
		return p.get(ctx, id)
	}
	return p.Storage.Get(ctx, id)
}

func (p *patched) Update(ctx context.Context, r oauth.Record) error {
	if p.update != nil {
		return p.update(ctx, r)
	}
	return p.Storage.Update(ctx, r)
}

func (p *patched) List(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	if p.list != nil {
		return p.list(ctx, f)
	}
	return p.Storage.List(ctx, f)
}

func (p *patched) DeleteExpired(ctx context.Context, before time.Time, limit int) (int, error) {
	if p.sweep != nil {
		return p.sweep(ctx, before, limit)
	}
	return p.Storage.DeleteExpired(ctx, before, limit)
}

// A pool is a store behind so many connections, as database/sql has them: who
// finds none waits, as long as its context. List reads all and gives its
// connection back, unless it holds it.
type pool struct {
	storage oauth.Storage
	free    chan struct{}
	holds   bool // List holds its connection while it yields
	leaks   bool // one that holds does not give it back where the loop ends early
}

func newPool(size int) *pool {
	return &pool{storage: made(func(*table) {}), free: make(chan struct{}, size)}
}

func (p *pool) take(ctx context.Context) error {
	select {
	case p.free <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pool) give() { <-p.free }

func (p *pool) Create(ctx context.Context, r oauth.Record) error {
	if err := p.take(ctx); err != nil {
		return err
	}
	defer p.give()
	return p.storage.Create(ctx, r)
}

func (p *pool) Get(ctx context.Context, id string) (oauth.Record, error) {
	if err := p.take(ctx); err != nil {
		return oauth.Record{}, err
	}
	defer p.give()
	return p.storage.Get(ctx, id)
}

func (p *pool) Update(ctx context.Context, r oauth.Record) error {
	if err := p.take(ctx); err != nil {
		return err
	}
	defer p.give()
	return p.storage.Update(ctx, r)
}

func (p *pool) DeleteExpired(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := p.take(ctx); err != nil {
		return 0, err
	}
	defer p.give()
	return p.storage.DeleteExpired(ctx, before, limit)
}

func (p *pool) List(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	return func(yield func(oauth.Record, error) bool) {
		if err := p.take(ctx); err != nil {
			yield(oauth.Record{}, err)
			return
		}
		if p.holds {
			early := false
			for r, err := range p.storage.List(ctx, f) {
				if early = !yield(r, err); early {
					break
				}
			}
			if !early || !p.leaks {
				p.give()
			}
			return
		}
		all := p.storage.(*table).snapshot(f)
		p.give()
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	}
}
