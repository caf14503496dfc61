// Package memstore is [oauth.Storage] in memory: the reference that every other
// store is compared with, and the store of tests, examples and servers that
// consist of one process and may forget everything when it ends.
//
// Nothing is written to disk and nothing is dropped unasked: a server has to
// call DeleteExpired from time to time or its memory grows.
package memstore

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grantwell/oauth"
)

const (
	// More shards than cores that could meet in one; a List visits them all.
	shardCount = 64
	// How many records DeleteExpired deletes before it lets others have the lock.
	sweepBatch = 256
)

var _ oauth.Storage = (*Store)(nil)

// Store is an [oauth.Storage] in memory. The zero Store is empty and ready to
// use. It must not be copied after its first use.
//
// Beyond the contract: a record stays until DeleteExpired deletes it, however
// long it has been expired; times are truncated to the millisecond and come back
// in UTC; a record shares no memory with the caller, in either direction; a
// context that is done is answered with its error and nothing is written.
// Lengths and characters are not checked.
type Store struct {
	shards [shardCount]shard
}

// New returns an empty store. It is the same as new(Store).
func New() *Store { return new(Store) }

// Create stores r with version 1, whatever r.Version is. It returns
// [oauth.ErrExists] if the ID is taken, or the error of ctx.
func (s *Store) Create(ctx context.Context, r oauth.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Strings are copied too: one that was cut out of a request would keep the
	// whole request in memory for as long as the record lives.
	e := &entry{pos: notQueued, rec: oauth.Record{
		Realm:     strings.Clone(r.Realm),
		ID:        strings.Clone(r.ID),
		Kind:      oauth.Kind(strings.Clone(string(r.Kind))),
		Version:   1,
		ClientID:  strings.Clone(r.ClientID),
		Subject:   strings.Clone(r.Subject),
		CreatedAt: stamp(r.CreatedAt),
		Data:      bytes.Clone(r.Data),
	}}
	expires := stamp(r.ExpiresAt)

	h := s.shard(r.ID)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.records[r.ID] != nil {
		return oauth.ErrExists
	}
	h.insert(e)
	h.setExpiry(e, expires)
	return nil
}

// Get returns the record with this ID, [oauth.ErrNotFound] if there is none, or
// the error of ctx. A record past its ExpiresAt is returned until it is deleted.
func (s *Store) Get(ctx context.Context, id string) (oauth.Record, error) {
	if err := ctx.Err(); err != nil {
		return oauth.Record{}, err
	}
	r, ok := s.shard(id).read(id)
	if !ok {
		return oauth.Record{}, oauth.ErrNotFound
	}
	r.Data = bytes.Clone(r.Data)
	return r, nil
}

// Update replaces Subject, ExpiresAt and Data of the stored record and adds one
// to its version, if that is r.Version. It returns [oauth.ErrConflict] if it is
// another, [oauth.ErrNotFound] if there is no such record, or the error of ctx;
// each of them means that nothing was written.
func (s *Store) Update(ctx context.Context, r oauth.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	data := bytes.Clone(r.Data)
	expires := stamp(r.ExpiresAt)

	h := s.shard(r.ID)
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.records[r.ID]
	if e == nil {
		return oauth.ErrNotFound
	}
	if e.rec.Version != r.Version {
		return oauth.ErrConflict
	}
	h.setSubject(e, r.Subject)
	h.setExpiry(e, expires)
	e.rec.Data = data // a new slice, never the old one changed: readers copy it without the lock
	e.rec.Version++
	return nil
}

// List yields the records that match f in ascending order of ID, byte by byte.
// The IDs are collected when the loop begins; each record is read when its turn
// comes, so one that was deleted or does not match any more is left out. If ctx
// is done, its error comes last. The sequence can be ranged over more than once
// and looks afresh each time.
func (s *Store) List(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	return func(yield func(oauth.Record, error) bool) {
		ids, err := s.find(ctx, &f)
		if err != nil {
			yield(oauth.Record{}, err)
			return
		}
		for _, id := range ids {
			if err := ctx.Err(); err != nil {
				yield(oauth.Record{}, err)
				return
			}
			r, ok := s.shard(id).read(id)
			if !ok || !matches(&f, &r) {
				continue
			}
			r.Data = bytes.Clone(r.Data)
			if !yield(r, nil) {
				return
			}
		}
	}
}

// DeleteExpired deletes at most limit records whose ExpiresAt is set and before
// the time given, and returns how many it deleted; a limit of zero or less
// deletes none. Its work is bounded by limit: records that live are not looked
// at. If ctx ends on the way, it returns the error of ctx and how many it had deleted.
func (s *Store) DeleteExpired(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	deleted := 0
	for i := range s.shards {
		for deleted < limit {
			if err := ctx.Err(); err != nil {
				return deleted, err
			}
			want := min(limit-deleted, sweepBatch)
			n := s.shards[i].deleteExpired(before, want)
			deleted += n
			if n < want {
				break
			}
		}
	}
	return deleted, nil
}

// find returns the IDs of the records that match f, sorted.
func (s *Store) find(ctx context.Context, f *oauth.Filter) ([]string, error) {
	var ids []string
	for i := range s.shards {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ids = s.shards[i].find(ids, f)
	}
	slices.Sort(ids)
	return ids, nil
}

// shard returns the shard of an ID, by FNV-1a. That an outsider could aim at one
// shard gains nothing but waiting: the maps inside have seeds of their own.
func (s *Store) shard(id string) *shard {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return &s.shards[(h^h>>16)%shardCount]
}

// A shard is a part of the store with its own lock and its own indexes, so that
// a record and what leads to it change in one step.
type shard struct {
	mu      sync.RWMutex
	records map[string]*entry
	index   [indexCount]map[key]chain
	expiry  queue
}

// read returns a record whose Data the caller has to copy before it passes it on.
func (s *shard) read(id string) (oauth.Record, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.records[id]; e != nil {
		return e.rec, true
	}
	return oauth.Record{}, false
}

// find appends the IDs of the shard's records that match f.
func (s *shard) find(ids []string, f *oauth.Filter) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.visit(f, func(e *entry) {
		if matches(f, &e.rec) {
			ids = append(ids, e.rec.ID)
		}
	})
	return ids
}

// deleteExpired deletes at most limit records that expired before the time given.
func (s *shard) deleteExpired(before time.Time, limit int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < limit && len(s.expiry) > 0 && s.expiry[0].rec.ExpiresAt.Before(before) {
		s.remove(s.expiry[0])
		n++
	}
	return n
}

// matches says whether f selects r.
func matches(f *oauth.Filter, r *oauth.Record) bool {
	return r.Realm == f.Realm && r.ID > f.After &&
		(f.Kind == "" || f.Kind == r.Kind) &&
		(f.ClientID == "" || f.ClientID == r.ClientID) &&
		(f.Subject == "" || f.Subject == r.Subject)
}

// stamp is a time as it is stored.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
