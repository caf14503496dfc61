// Package customstore is a whole [oauth.Storage], on bbolt: see docs/storage.md.
package customstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.etcd.io/bbolt"

	"github.com/grantwell/oauth"
)

// Store is an [oauth.Storage] in one bucket with two sorts of keys: IDs, whose values are
// records as JSON, and an index of keys without a value, which end in an ID. A write is one
// transaction of bbolt: nobody else writes meanwhile, and it is on disk when it returns.
type Store struct{ db *bbolt.DB }

var bucket = []byte("oauth")

// New makes the bucket. The DB stays the host's, who closes it.
func New(db *bbolt.DB) (*Store, error) {
	return &Store{db}, db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucketIfNotExists(bucket); return err })
}

// Create stores r with version 1, unless its ID is taken.
func (s *Store) Create(_ context.Context, r oauth.Record) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		if tx.Bucket(bucket).Get([]byte(r.ID)) != nil {
			return oauth.ErrExists
		}
		r.Version = 1
		return each(&r, tx.Bucket(bucket).Put)
	})
}

// Get returns the record with this ID.
func (s *Store) Get(_ context.Context, id string) (r oauth.Record, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error { return read(tx, id, &r) })
	return r, err
}

// Update compares the version and writes in one transaction: all depends on that.
func (s *Store) Update(_ context.Context, r oauth.Record) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		b, old := tx.Bucket(bucket), oauth.Record{}
		if err := read(tx, r.ID, &old); err != nil || old.Version != r.Version {
			return cmp.Or(err, oauth.ErrConflict)
		}
		err := each(&old, func(key, _ []byte) error { return b.Delete(key) })
		old.Version++ // Realm, Kind, ClientID and CreatedAt stay, whatever r says
		old.Subject, old.ExpiresAt, old.Data = r.Subject, r.ExpiresAt, r.Data
		return errors.Join(err, each(&old, b.Put))
	})
}

// List has no transaction open while it yields, so the loop may write.
func (s *Store) List(_ context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	return func(yield func(oauth.Record, error) bool) {
		for {
			var r oauth.Record
			err := s.db.View(func(tx *bbolt.Tx) error { return next(tx, list(f.Realm, f.Kind, f.Subject), f.After, &r) })
			if err != nil {
				yield(oauth.Record{}, err)
				return
			}
			if r.ID == "" || (f.ClientID == "" || f.ClientID == r.ClientID) && !yield(r, nil) {
				return
			}
			f.After = r.ID
		}
	}
}

// DeleteExpired deletes the record that ends first, again and again.
func (s *Store) DeleteExpired(_ context.Context, before time.Time, limit int) (n int, err error) {
	err = s.db.Update(func(tx *bbolt.Tx) error {
		for b := tx.Bucket(bucket); n < limit; n++ {
			var r oauth.Record
			if err := next(tx, "ends true ", "", &r); err != nil || r.ID == "" || !r.ExpiresAt.Before(before) {
				return err
			}
			if err := each(&r, func(key, _ []byte) error { return b.Delete(key) }); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func read(tx *bbolt.Tx, id string, r *oauth.Record) error {
	if value := tx.Bucket(bucket).Get([]byte(id)); value != nil {
		return json.Unmarshal(value, r)
	}
	return oauth.ErrNotFound
}

// next reads the record that the first key of the index behind an ID leads to, of those
// that begin like this. It leaves r alone if there is none.
func next(tx *bbolt.Tx, begin, id string, r *oauth.Record) error {
	key, _ := tx.Bucket(bucket).Cursor().Seek([]byte(begin + id + "\x00"))
	if !bytes.HasPrefix(key, []byte(begin)) {
		return nil
	}
	return read(tx, string(key[bytes.LastIndexByte(key, ' ')+1:]), r)
}

// each goes through all keys of a record: its ID, with the record for a value, and those of
// the index, one for each Filter (ClientID apart) and one for the time at which it ends.
func each(r *oauth.Record, do func(key, value []byte) error) error {
	value, err := json.Marshal(r)
	err = errors.Join(err, do([]byte(r.ID), value))
	for _, key := range []string{list(r.Realm, "", ""), list(r.Realm, r.Kind, ""), list(r.Realm, "", r.Subject),
		list(r.Realm, r.Kind, r.Subject), fmt.Sprintf("ends %t %020d ", !r.ExpiresAt.IsZero(), r.ExpiresAt.UnixMilli())} {
		err = errors.Join(err, do([]byte(key+r.ID), nil))
	}
	return err
}

// list is quoted, so that no two texts together are another two.
func list(realm string, kind oauth.Kind, subject string) string {
	return fmt.Sprintf("list %q %q %q ", realm, kind, subject)
}
