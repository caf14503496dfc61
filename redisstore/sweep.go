package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	sweepBatch = 200 // entries that DeleteExpired looks at in one go

	// How long after its record would have been dropped an entry stays: more than
	// the clocks of a Cluster's servers may differ.
	margin = 10 * time.Minute
)

// DeleteExpired deletes at most limit records whose ExpiresAt is set and before the
// time given, and what leads to records that Redis dropped by itself; it returns how
// many of both there were. A limit of zero or less deletes none. With an error it
// returns how many it had deleted before.
//
// Call it once an hour or so, with limits of some thousand, until it returns 0. It
// looks at what is due alone. A record whose ExpiresAt an Update moved back is due
// when it was before, or 30 days after it was listed; Redis drops it in time.
func (s *Store) DeleteExpired(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if limit <= 0 {
		return 0, nil
	}
	// Rounded up: what expires in the same millisecond, but earlier, goes too.
	w := sweep{before: before.Add(time.Millisecond - time.Nanosecond).UnixMilli()}
	now, err := s.client.Time(ctx).Result()
	if err != nil {
		return 0, fmt.Errorf("redisstore: delete expired: %w", err)
	}
	w.dropped = now.Add(-slack - margin).UnixMilli()
	due, err := s.due(ctx, &w)
	deleted := 0
	for shard := 0; shard < len(due) && err == nil && deleted < limit; shard++ {
		if due[shard] {
			var n int
			n, err = s.sweep(ctx, &w, shard, limit-deleted)
			deleted += n
		}
	}
	if err != nil {
		return deleted, fmt.Errorf("redisstore: delete expired: %w", err)
	}
	return deleted, nil
}

// A sweep is one DeleteExpired.
type sweep struct {
	before  int64 // what expired before goes
	dropped int64 // the server has dropped what expired before
}

// due says which shards have entries to look at.
func (s *Store) due(ctx context.Context, w *sweep) ([]bool, error) {
	pipe := s.client.Pipeline()
	cmds := make([]*redis.Cmd, shardCount)
	for shard := range cmds {
		_, byDue := s.listKeys(shard)
		cmds[shard] = redis.NewCmd(ctx, "zcount", byDue, "-inf", "("+strconv.FormatInt(w.before, 10))
		_ = pipe.Process(ctx, once{cmds[shard]}) // once: it is not cached either; errors come from Exec
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	due := make([]bool, shardCount)
	for shard, cmd := range cmds {
		n, err := cmd.Int64()
		if err != nil {
			return nil, err
		}
		due[shard] = n > 0
	}
	return due, nil
}

// sweep looks at the entries of a shard that are due.
func (s *Store) sweep(ctx context.Context, w *sweep, shard, limit int) (deleted int, err error) {
	_, byDue := s.listKeys(shard)
	for kept := 0; deleted < limit; {
		if err := ctx.Err(); err != nil {
			return deleted, err
		}
		want := min(limit-deleted, sweepBatch)
		cmd := redis.NewZSliceCmd(ctx, "zrangebyscore", byDue, "-inf", "("+strconv.FormatInt(w.before, 10), "withscores", "limit", kept, want)
		if err := s.client.Process(ctx, uncached{cmd}); err != nil {
			return deleted, err
		}
		v, err := s.judge(ctx, w, cmd.Val())
		if err != nil {
			return deleted, err
		}
		n, err := s.carryOut(ctx, shard, v)
		deleted += n
		if err != nil {
			return deleted, err
		}
		kept += v.kept
		if len(cmd.Val()) < want {
			break
		}
	}
	return deleted, nil
}

// uncached is a command whose answer client-side caching must not keep: it keeps
// none of a command that is not to be sent again.
type uncached struct{ *redis.ZSliceCmd }

func (uncached) NoRetry() bool { return true }

// verdicts are what becomes of some entries of a shard.
type verdicts struct {
	gone   []entry   // their record is deleted
	unused []entry   // their record relies on another entry
	later  []redis.Z // their record lives: to be looked at again
	kept   int       // their record may be about to be written
}

// judge deletes the records that have expired, each in the step that looks at it.
func (s *Store) judge(ctx context.Context, w *sweep, found []redis.Z) (v verdicts, err error) {
	entries := make([]entry, 0, len(found))
	dues := make([]redis.Z, 0, len(found))
	for _, z := range found {
		member, _ := z.Member.(string)
		e, ok := parseEntry(member)
		if !ok {
			return v, errMember(member)
		}
		entries, dues = append(entries, e), append(dues, z)
	}
	replies, err := s.judgements(ctx, w, entries)
	if err != nil {
		return v, err
	}
	for i, e := range entries {
		reply, _ := replies[i].([]any)
		if len(reply) == 0 {
			return v, unexpected(replies[i])
		}
		relies := len(reply) == 3 && reply[1] == e.nonce
		// A write that began when the entry was made and is still to come would
		// write what is dropped at once.
		settled := dues[i].Score < float64(w.dropped)
		switch {
		case reply[0] == replyDeleted && relies, reply[0] == replyMissing && settled:
			v.gone = append(v.gone, e)
		case reply[0] == replyLives && relies:
			v.later = append(v.later, redis.Z{Score: w.look(reply[2]), Member: dues[i].Member})
		case settled:
			v.unused = append(v.unused, e)
		default:
			v.kept++
		}
	}
	return v, nil
}

// look is when to look again at a record with this ExpiresAt.
func (w *sweep) look(expires any) float64 {
	last := float64(w.before + lookAfter.Milliseconds())
	text, _ := expires.(string)
	if at, err := strconv.ParseFloat(text, 64); err == nil {
		return min(at, last)
	}
	return last
}

// judgements runs the script on the records of the entries, in one round trip.
func (s *Store) judgements(ctx context.Context, w *sweep, entries []entry) ([]any, error) {
	pipe := s.client.Pipeline()
	cmds := make([]once, len(entries))
	for i, e := range entries {
		cmds[i] = judgeScript.command(ctx, "evalsha", []string{s.recordKey(e.id)}, []any{w.before})
		_ = pipe.Process(ctx, cmds[i]) // errors are looked at below, one by one
	}
	_, _ = pipe.Exec(ctx)
	replies := make([]any, len(entries))
	for i, cmd := range cmds {
		reply, err := cmd.Result()
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			reply, err = s.run(ctx, judgeScript, []string{s.recordKey(entries[i].id)}, w.before)
		}
		if err != nil {
			return nil, err
		}
		replies[i] = reply
	}
	return replies, nil
}

// carryOut removes and moves entries, and returns how many records are gone for
// whose end no other DeleteExpired answers. What is in subjects' sets goes first, for
// it is found by what is in the lists.
func (s *Store) carryOut(ctx context.Context, shard int, v verdicts) (int, error) {
	pipe := s.client.Pipeline()
	command := func(args ...any) *redis.Cmd {
		cmd := redis.NewCmd(ctx, args...)
		_ = pipe.Process(ctx, once{cmd}) // errors come from Exec
		return cmd
	}
	for _, all := range [][]entry{v.gone, v.unused} {
		for _, e := range all {
			if e.subject != "" {
				command("zrem", s.subjectKey(e.subject), e.subjectMember())
			}
		}
	}
	byID, byDue := s.listKeys(shard)
	for _, z := range v.later {
		command("zadd", byDue, "xx", z.Score, z.Member)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, err
	}
	pipe = s.client.Pipeline()
	var count *redis.Cmd
	for _, all := range [][]entry{v.gone, v.unused} {
		if len(all) == 0 {
			continue
		}
		members := make([]any, len(all))
		for i, e := range all {
			members[i] = e.member()
		}
		command(append([]any{"zrem", byID}, members...)...)
		cmd := command(append([]any{"zrem", byDue}, members...)...)
		if len(v.gone) > 0 && count == nil {
			count = cmd
		}
	}
	if _, err := pipe.Exec(ctx); err != nil || count == nil {
		return 0, err
	}
	return count.Int()
}
