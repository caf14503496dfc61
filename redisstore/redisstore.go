package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/grantwell/oauth"
)

// lookAfter is the longest time after which DeleteExpired looks whether a record is
// still there that, when it was listed, expired later or never.
const lookAfter = 30 * 24 * time.Hour

var _ oauth.Storage = (*Store)(nil)

// Store is an [oauth.Storage] in Redis. Make one with [Open]. It is safe for
// concurrent use and holds nothing that must be closed; the client stays the host's.
//
// Beyond the contract: Redis drops a record 5 minutes after its ExpiresAt; times are
// truncated to the millisecond and come back in UTC; empty Data comes back as nil; an
// ID may have up to 128 characters. Lengths of texts are not checked.
type Store struct {
	client redis.UniversalClient
	prefix string
}

// Create stores r with version 1, whatever r.Version is. It returns
// [oauth.ErrExists] if the ID is taken. It takes two round trips, three with a
// Subject: what leads to the record is there before the record is.
func (s *Store) Create(ctx context.Context, r oauth.Record) error {
	if !validID(r.ID) {
		return fmt.Errorf("redisstore: create: the ID %q is not one to %d of A–Z a–z 0–9 - and _", r.ID, maxID)
	}
	e, err := s.list(ctx, &r)
	if err != nil {
		return fmt.Errorf("redisstore: create: %w", err)
	}
	switch created, err := s.create(ctx, &r, e.nonce); {
	case err != nil:
		return fmt.Errorf("redisstore: create: %w", err)
	case !created:
		s.unlist(ctx, e)
		return oauth.ErrExists
	}
	return nil
}

// create stores a record that is listed.
func (s *Store) create(ctx context.Context, r *oauth.Record, nonce string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	reply, err := s.run(ctx, createScript, []string{s.recordKey(r.ID)}, value(r, nonce), end(r.ExpiresAt), nonce)
	switch {
	case err != nil:
		return false, err
	case reply == replyWritten:
		return true, nil
	case reply == replyConflict:
		return false, nil
	}
	return false, unexpected(reply)
}

// Get returns the record with this ID, or [oauth.ErrNotFound]. It is one GETEX
// without an expiry: that is GET, but no replica answers it.
func (s *Store) Get(ctx context.Context, id string) (oauth.Record, error) {
	if !validID(id) {
		return oauth.Record{}, oauth.ErrNotFound // none can have been created
	}
	if err := ctx.Err(); err != nil {
		return oauth.Record{}, fmt.Errorf("redisstore: get: %w", err)
	}
	cmd := s.read(ctx, id)
	err := s.client.Process(ctx, cmd)
	if errors.Is(err, redis.Nil) {
		return oauth.Record{}, oauth.ErrNotFound
	}
	var r oauth.Record
	if err == nil {
		r, _, err = parse(id, cmd.Val())
	}
	if err != nil {
		return oauth.Record{}, fmt.Errorf("redisstore: get: %w", err)
	}
	return r, nil
}

// read is the command that reads a record.
func (s *Store) read(ctx context.Context, id string) *redis.StringCmd {
	return redis.NewStringCmd(ctx, "getex", s.recordKey(id))
}

// Update replaces Subject, ExpiresAt and Data and adds one to the version, if that
// is r.Version, by one script. It returns [oauth.ErrConflict] if it is another,
// [oauth.ErrNotFound] if there is no such record.
//
// One that changes the Subject takes more round trips: the script finds that out and
// writes nothing, the new entries are made, the script runs again, and the old
// entries are removed.
func (s *Store) Update(ctx context.Context, r oauth.Record) error {
	if !validID(r.ID) {
		return oauth.ErrNotFound
	}
	reply, err := s.update(ctx, &r, "")
	if stored, ok := reply.(string); ok && err == nil {
		return s.move(ctx, &r, stored)
	}
	return answer(reply, err)
}

func (s *Store) update(ctx context.Context, r *oauth.Record, nonce string) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	next := strconv.FormatInt(r.Version+1, 10) + " " + expiry(r.ExpiresAt)
	return s.run(ctx, updateScript, []string{s.recordKey(r.ID)},
		strconv.FormatInt(r.Version, 10), next, end(r.ExpiresAt), r.Subject, r.Data, nonce)
}

// move updates a record to another Subject.
func (s *Store) move(ctx context.Context, r *oauth.Record, stored string) error {
	old, nonce, err := parse(r.ID, stored)
	if err != nil {
		return answer(nil, err)
	}
	listed := old // Realm, Kind and ClientID are as stored, whatever r says
	listed.Subject, listed.ExpiresAt = r.Subject, r.ExpiresAt
	e, err := s.list(ctx, &listed)
	if err != nil {
		return answer(nil, err)
	}
	reply, err := s.update(ctx, r, e.nonce)
	switch {
	case err != nil: // perhaps it was written
	case reply == replyWritten:
		s.unlist(ctx, ofRecord(&old, nonce))
	default:
		s.unlist(ctx, e)
	}
	return answer(reply, err)
}

// answer is what Update returns for a reply of its script.
func answer(reply any, err error) error {
	if err != nil {
		return fmt.Errorf("redisstore: update: %w", err)
	}
	switch reply {
	case replyWritten:
		return nil
	case replyConflict:
		return oauth.ErrConflict
	case replyMissing:
		return oauth.ErrNotFound
	}
	return fmt.Errorf("redisstore: update: %w", unexpected(reply))
}

// list makes an entry for a record that is about to be written: first in the lists,
// where DeleteExpired finds it whatever happens next, then in its subject's set.
func (s *Store) list(ctx context.Context, r *oauth.Record) (entry, error) {
	e := newEntry(r)
	if err := ctx.Err(); err != nil {
		return e, err
	}
	byID, byDue := s.listKeys(shardOf(e.id))
	_, err := s.run(ctx, listScript, []string{byID, byDue}, e.member(), expiry(r.ExpiresAt), lookAfter.Milliseconds())
	if err != nil || e.subject == "" {
		return e, err
	}
	if err := ctx.Err(); err != nil {
		return e, err
	}
	return e, s.do(ctx, "zadd", s.subjectKey(e.subject), 0, e.subjectMember())
}

// unlist removes an entry that no record relies on. That it may fail does not
// matter, for List passes over it and DeleteExpired removes it later.
func (s *Store) unlist(ctx context.Context, e entry) {
	if e.subject != "" && s.do(ctx, "zrem", s.subjectKey(e.subject), e.subjectMember()) != nil {
		return // the entry in the lists says where this one is
	}
	byID, byDue := s.listKeys(shardOf(e.id))
	if s.do(ctx, "zrem", byID, e.member()) == nil {
		_ = s.do(ctx, "zrem", byDue, e.member())
	}
}
