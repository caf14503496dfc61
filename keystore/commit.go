package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/grantwell/oauth"
)

const (
	commitDeadline = 5 * time.Second
	readDeadline   = 2 * time.Second
	maxAttempts    = 8
)

var errRaceLost = errors.New("keystore: other writes came first, again and again")

// get reads the keys of an algorithm; nil if there are none. What is in memory
// already is not taken apart again.
func (s *Store) get(ctx context.Context, alg string, before *chain) (*chain, error) {
	ctx, cancel := context.WithTimeout(ctx, readDeadline)
	defer cancel()
	rec, err := s.storage.Get(ctx, s.recordID(alg))
	switch {
	case errors.Is(err, oauth.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("keystore: storage: %w", err)
	}
	if before != nil && before.rec.Version == rec.Version && bytes.Equal(before.rec.Data, rec.Data) {
		return before, nil
	}
	return s.decode(alg, rec)
}

// An edit changes a chain, one without keys if there is none yet. It reports
// whether the chain is to be written, and may be asked several times.
type edit func(c *chain, now int64) (bool, error)

// tend is what is due.
func (s *Store) tend(alg string) edit {
	fresh := s.fresh(alg)
	return func(c *chain, now int64) (bool, error) {
		changed, err := c.tend(now, s.options, fresh)
		// The first secret may be another than that of the last write.
		reseal := c.rec.Version > 0 && c.sealedBy != s.ring.First() && now-c.written >= resealAfter.Milliseconds()
		return changed || reseal, err
	}
}

// first is the edit of a store that has no keys. One that cannot be written to is
// tried again by every request, one after the other: for a while they take the key
// that the first of them made. Not for long, for a write that was given up may take
// effect late, and what has become of its key is not known then.
func (s *Store) first(alg string) edit {
	return func(c *chain, now int64) (bool, error) {
		if len(c.keys) > 0 {
			return false, nil // another process was faster
		}
		return true, c.add(now, now, func() (*key, error) {
			s.mu.Lock()
			u := s.unused[alg]
			s.mu.Unlock()
			if age := now - u.made; u.key != nil && age >= 0 && age < reuse.Milliseconds() {
				return u.key, nil
			}
			k, err := s.generate(alg)
			if err == nil {
				s.mu.Lock()
				s.unused[alg] = unused{k, now}
				s.mu.Unlock()
			}
			return k, err
		})
	}
}

// fresh makes one key, when it is first needed: an edit that lost a race uses it
// again.
func (s *Store) fresh(alg string) func() (*key, error) {
	return sync.OnceValues(func() (*key, error) { return s.generate(alg) })
}

// change lets do edit a chain as it was read and stores it; if another process
// was faster, do sees what that one has stored. The chain that is returned is
// what is in the store, whoever has written it.
func (s *Store) change(ctx context.Context, alg string, c *chain, do edit) (*chain, error) {
	ctx = context.WithoutCancel(ctx)
	for range maxAttempts {
		next := &chain{alg: alg}
		if c != nil {
			next = c.clone()
		}
		now := millis(s.now())
		changed, err := do(next, now)
		if err != nil || !changed {
			return c, err
		}
		won, err := s.commit(ctx, next, now)
		if err != nil {
			return nil, err
		}
		if won {
			return next, nil
		}
		if c, err = s.get(ctx, alg, nil); err != nil {
			return nil, err
		}
	}
	return nil, errRaceLost
}

// commit stores a chain. Whatever error comes back, the record is read once, and
// if it is byte for byte what was to be written, random mark included, then it is
// written. It is false if another write came first.
func (s *Store) commit(ctx context.Context, c *chain, now int64) (won bool, err error) {
	rec, err := s.encode(c, now)
	if err != nil {
		return false, err
	}
	c.rec = rec
	c.rec.Version++
	err = func() error {
		ctx, cancel := context.WithTimeout(ctx, commitDeadline)
		defer cancel()
		if rec.Version == 0 {
			return s.storage.Create(ctx, c.rec)
		}
		return s.storage.Update(ctx, rec)
	}()
	if err == nil {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readDeadline)
	defer cancel()
	got, readErr := s.storage.Get(ctx, rec.ID)
	switch {
	case readErr == nil && got.Version == c.rec.Version && got.Realm == rec.Realm && got.Kind == rec.Kind && bytes.Equal(got.Data, rec.Data):
		return true, nil
	case readErr != nil && !errors.Is(readErr, oauth.ErrNotFound):
		return false, fmt.Errorf("keystore: storage: %w, then %w", err, readErr)
	case errors.Is(err, oauth.ErrConflict), errors.Is(err, oauth.ErrExists), errors.Is(err, oauth.ErrNotFound):
		return false, nil
	}
	return false, fmt.Errorf("keystore: storage: %w", err)
}
