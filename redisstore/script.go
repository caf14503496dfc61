package redisstore

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Replies of the scripts.
const (
	replyMissing  = int64(0) // there is no such record
	replyConflict = int64(1) // another version, or another record, is stored
	replyWritten  = int64(2)
	replyDeleted  = int64(3)
	replyLives    = int64(4)
)

// A script runs on the server and touches one slot. Versions are compared as texts:
// the numbers of Lua are exact up to 2^53 only.
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) // the name that Redis gives it
	return script{text, hex.EncodeToString(sum[:])}
}

// The line that a record begins with is described at [layout].
const header = `'^1 (%d+) (%S+) (%S+) (%S+) (%d+) (%d+) (%d+) (%d+)\n()'`

// If the record relies on the very entry that was made for this write, then the write
// was done and something between here and there sent it twice: a success, for to
// report a conflict would mean to remove the entry.
var (
	// createScript: KEYS record; ARGV value, time of its end or "", entry.
	createScript = newScript(`
local done
if ARGV[2] == '' then done = redis.call('SET', KEYS[1], ARGV[1], 'NX')
else done = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PXAT', ARGV[2]) end
if done then return 2 end
local _, _, entry = string.match(redis.call('GET', KEYS[1]) or '', ` + header + `)
if entry == ARGV[3] then return 2 end
return 1`)

	// updateScript: KEYS record; ARGV version, next version and ExpiresAt, time of
	// its end or "", Subject, Data, entry or "". It returns the stored value and
	// writes nothing if the Subject is another and there is no entry for it yet.
	updateScript = newScript(`
local old = redis.call('GET', KEYS[1])
if not old then return 0 end
local version, _, entry, created, realm, kind, client, subject, at = string.match(old, ` + header + `)
if not version then return redis.error_reply('ERR redisstore: no record of this version of the package') end
if version ~= ARGV[1] then
	if ARGV[6] ~= '' and ARGV[6] == entry then return 2 end
	return 1
end
local behind = at + realm + kind + client
if ARGV[6] ~= '' then entry = ARGV[6]
elseif string.sub(old, behind, behind + subject - 1) ~= ARGV[4] then return old end
local new = '1 ' .. ARGV[2] .. ' ' .. entry .. ' ' .. created .. ' ' .. realm .. ' ' .. kind .. ' ' .. client .. ' ' ..
	#ARGV[4] .. '\n' .. string.sub(old, at, behind - 1) .. ARGV[4] .. ARGV[5]
if ARGV[3] == '' then redis.call('SET', KEYS[1], new)
else redis.call('SET', KEYS[1], new, 'PXAT', ARGV[3]) end
return 2`)

	// judgeScript: KEYS record; ARGV time. It deletes the record if it expired
	// before, and returns what it did, the record's entry and its ExpiresAt.
	judgeScript = newScript(`
local old = redis.call('GET', KEYS[1])
if not old then return {0} end
local _, expires, entry = string.match(old, ` + header + `)
if not entry then return redis.error_reply('ERR redisstore: no record of this version of the package') end
if expires == '-' or tonumber(expires) >= tonumber(ARGV[1]) then return {4, entry, expires} end
redis.call('DEL', KEYS[1])
return {3, entry, expires}`)

	// listScript: KEYS the pair of sorted sets; ARGV entry, ExpiresAt or "-", the
	// longest time without a look.
	listScript = newScript(`
local due = redis.call('TIME')[1] * 1000 + ARGV[3]
if ARGV[2] ~= '-' and tonumber(ARGV[2]) < due then due = ARGV[2] end
redis.call('ZADD', KEYS[2], due, ARGV[1])
redis.call('ZADD', KEYS[1], 0, ARGV[1])
return 2`)
)

// once is a command that must not be sent again when its answer is lost.
type once struct{ *redis.Cmd }

// NoRetry tells the client so.
func (once) NoRetry() bool { return true }

func (s script) command(ctx context.Context, verb string, keys []string, args []any) once {
	text := s.sha
	if verb == "eval" {
		text = s.text
	}
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, verb, text, len(keys))
	for _, key := range keys {
		all = append(all, key)
	}
	return once{redis.NewCmd(ctx, append(all, args...)...)}
}

// run runs a script by its name, or by its text if the server does not know it.
func (s *Store) run(ctx context.Context, sc script, keys []string, args ...any) (any, error) {
	cmd := sc.command(ctx, "evalsha", keys, args)
	err := s.client.Process(ctx, cmd)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		cmd = sc.command(ctx, "eval", keys, args)
		err = s.client.Process(ctx, cmd)
	}
	if err != nil {
		return nil, err
	}
	return cmd.Val(), nil
}

// do runs a command that writes.
func (s *Store) do(ctx context.Context, args ...any) error {
	return s.client.Process(ctx, once{redis.NewCmd(ctx, args...)})
}

// unexpected is the error for a reply that no script of this package returns.
func unexpected(reply any) error {
	return fmt.Errorf("the server answered a script with a %T", reply)
}
