package redisstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/grantwell/oauth"
)

const (
	firstPage  = 8   // entries that List reads of each list at first
	lastPage   = 128 // and later on
	readAtOnce = 100 // records that List reads at a time
)

// List yields the records that match f in ascending order of ID. With a Subject it
// reads what leads from that subject to records, else the 64 lists of all records,
// from which it takes those of the Realm and Kind, and reads only records of the
// ClientID: so by ClientID or Realm alone it is the slower the more the store holds.
// It reads entries and then records some at a time and holds nothing meanwhile.
func (s *Store) List(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	return func(yield func(oauth.Record, error) bool) {
		if err := s.find(ctx, f, func(r oauth.Record) bool { return yield(r, nil) }); err != nil {
			yield(oauth.Record{}, fmt.Errorf("redisstore: list: %w", err))
		}
	}
}

// find yields what matches until yield has enough, and returns nil then.
func (s *Store) find(ctx context.Context, f oauth.Filter, yield func(oauth.Record) bool) error {
	streams, err := s.streams(ctx, &f)
	if err != nil {
		return err
	}
	size := firstPage
	if len(streams) == 1 {
		size = lastPage
	}
	for more := len(streams) > 0; more; size = min(2*size, lastPage) {
		if err := s.fill(ctx, streams, size); err != nil {
			return err
		}
		var ids []string
		ids, more = merge(streams, &f)
		for part := range slices.Chunk(ids, readAtOnce) {
			records, err := s.records(ctx, part)
			if err != nil {
				return err
			}
			for _, r := range records {
				if err := ctx.Err(); err != nil {
					return err
				}
				if matches(&f, &r) && !yield(r) {
					return nil
				}
			}
		}
	}
	return nil
}

// A stream is the part of a sorted set whose members begin with a prefix, an ID
// behind it.
type stream struct {
	key, prefix string
	from        string   // behind what was read
	members     []string // read and not yet merged
	done        bool     // all were read
}

func (s *stream) id(member string) string {
	id, _, _ := strings.Cut(member[len(s.prefix):], " ")
	return id
}

// A range of members that begin with a text: no character of an ID or a tag is less
// than "!" or greater than "}".
const least, greatest = "!", "~"

// streams are those that together lead to all records that match f.
func (s *Store) streams(ctx context.Context, f *oauth.Filter) ([]*stream, error) {
	keys, prefix := []string{s.subjectKey(subjectOf(f.Realm, f.Subject))}, ""
	if f.Subject == "" {
		keys, prefix = keys[:0], tag(f.Realm, realmTag)
		for shard := range shardCount {
			byID, _ := s.listKeys(shard)
			keys = append(keys, byID)
		}
	}
	kinds := []string{tag(string(f.Kind), kindTag)}
	if f.Kind == "" {
		var err error
		if kinds, err = s.kinds(ctx, keys, prefix); err != nil {
			return nil, err
		}
	}
	var all []*stream
	for _, kind := range kinds {
		for _, key := range keys {
			all = append(all, &stream{key: key, prefix: prefix + kind, from: "(" + prefix + kind + f.After + least})
		}
	}
	return all, nil
}

// kinds are the tags of the kinds that the sets have behind a prefix. It asks each
// for its first member, then for the first one behind that kind, and so on.
func (s *Store) kinds(ctx context.Context, keys []string, prefix string) ([]string, error) {
	var kinds []string
	var streams []*stream
	for _, key := range keys {
		streams = append(streams, &stream{key: key, prefix: prefix, from: "(" + prefix + least})
	}
	for len(streams) > 0 {
		if err := s.fill(ctx, streams, 1); err != nil {
			return nil, err
		}
		streams = slices.DeleteFunc(streams, func(t *stream) bool { return len(t.members) == 0 })
		for _, t := range streams {
			kind := t.members[0][len(prefix):]
			if len(kind) < kindTag {
				return nil, errMember(t.members[0])
			}
			kind = kind[:kindTag]
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
			t.from, t.members = "("+prefix+kind+greatest, nil
		}
	}
	return kinds, nil
}

// fill reads on in the streams that have few members left, in one round trip.
func (s *Store) fill(ctx context.Context, streams []*stream, size int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	pipe := s.client.Pipeline()
	cmds := make([]*redis.Cmd, len(streams))
	for i, t := range streams {
		if t.done || len(t.members) >= size && t.id(t.members[0]) != t.id(t.members[len(t.members)-1]) {
			continue
		}
		cmds[i] = redis.NewCmd(ctx, "zrangebylex", t.key, t.from, "("+t.prefix+greatest, "limit", 0, size)
		_ = pipe.Process(ctx, once{cmds[i]}) // once: it is not cached either; errors come from Exec
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, t := range streams {
		if cmds[i] == nil {
			continue
		}
		members, err := cmds[i].StringSlice()
		if err != nil {
			return err
		}
		t.done = len(members) < size
		t.members = append(t.members, members...)
		if len(members) > 0 {
			t.from = "(" + members[len(members)-1]
		}
	}
	return nil
}

// merge takes the IDs from the streams that come before anything that was not read,
// in order and each once, and says whether there is more to read. More than one
// entry may lead to a record, if a write was broken off.
func merge(streams []*stream, f *oauth.Filter) (ids []string, more bool) {
	bound := ""
	for _, t := range streams {
		if !t.done {
			if last := t.id(t.members[len(t.members)-1]); !more || last < bound {
				bound = last
			}
			more = true
		}
	}
	client := tag(f.ClientID, clientTag)
	for _, t := range streams {
		n := 0
		for ; n < len(t.members) && (!more || t.id(t.members[n]) < bound); n++ {
			if f.ClientID != "" && f.Subject == "" { // a subject's set has no clients
				if e, ok := parseEntry(t.members[n]); ok && e.client != client {
					continue
				}
			}
			ids = append(ids, t.id(t.members[n]))
		}
		t.members = t.members[n:]
	}
	slices.Sort(ids)
	return slices.Compact(ids), more
}

// records reads those of the records that are there.
func (s *Store) records(ctx context.Context, ids []string) ([]oauth.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pipe := s.client.Pipeline()
	cmds := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		cmds[i] = s.read(ctx, id)
		_ = pipe.Process(ctx, cmds[i]) // errors come from Exec
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	records := make([]oauth.Record, 0, len(ids))
	for i, cmd := range cmds {
		if errors.Is(cmd.Err(), redis.Nil) {
			continue
		}
		if err := cmd.Err(); err != nil {
			return nil, err
		}
		r, _, err := parse(ids[i], cmd.Val())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ids[i], err)
		}
		records = append(records, r)
	}
	return records, nil
}

// matches says whether f selects r.
func matches(f *oauth.Filter, r *oauth.Record) bool {
	return r.Realm == f.Realm && r.ID > f.After &&
		(f.Kind == "" || f.Kind == r.Kind) &&
		(f.ClientID == "" || f.ClientID == r.ClientID) &&
		(f.Subject == "" || f.Subject == r.Subject)
}
