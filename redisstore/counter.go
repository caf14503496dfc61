package redisstore

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/grantwell/oauth/guard"
)

var _ guard.Counter = (*Counter)(nil)

// Counter is a [guard.Counter] in Redis: processes that use one server and one prefix
// count together, exactly. Make one with [NewCounter]. It is safe for concurrent use.
//
// A call is one script on one key, <prefix>c:<hash>, which expires when its windows
// end; a call that is refused writes nothing. The time is that of the processes,
// whose clocks should agree within a second.
//
// What is counted need not be durable: the server may be another than that of the
// [Store], without a disk. One that evicts keys forgets counts, and so do a restart
// and a failover.
type Counter struct{ store Store }

// NewCounter returns a Counter on the host's client. prefix is what the keys begin
// with; "" means "oauth:", and a Store may have the same. It fails only without a
// client: a server that is down is for [guard.Rule] to decide about.
//
// A client waits for seconds before it gives up on a server, unless it is told
// otherwise: set ContextTimeoutEnabled, so that it keeps to RateLimit.Timeout, and
// DialerRetries.
func NewCounter(client redis.UniversalClient, prefix string) (*Counter, error) {
	if client == nil {
		return nil, errors.New("redisstore: NewCounter: the client is nil")
	}
	return &Counter{Store{client: client, prefix: cmp.Or(prefix, "oauth:")}}, nil
}

// lag is how much longer than its windows a key lives, for a process whose clock is
// ahead of another's.
const lag = 5 * time.Second

// countScript: KEYS counts; ARGV now, time to live, and for each limit its count, the
// length of a slice and how many slices count. Times are in milliseconds.
//
// The key has for each limit the number of the newest slice, and the counts of the
// slices from that one back. The reply is whether the call was counted, the index of
// the limit to tell of, the calls left under it, and when it is reset.
var countScript = newScript(`
local old, new, sums, heads = {}, {}, {}, {}
for n in string.gmatch(redis.call('GET', KEYS[1]) or '', '%d+') do old[#old + 1] = tonumber(n) end
local base, refused, which, left, reset = 0, false, 0, 0, 0
local function freed(base, slices, more)
	local back = slices - 1
	while back > 0 do
		more = more - new[base + 2 + back]
		if more <= 0 then break end
		back = back - 1
	end
	return new[base + 1] - back + slices
end
for i = 3, #ARGV, 3 do
	local count, length, slices = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
	local slice = math.floor(tonumber(ARGV[1]) / length)
	local head = old[base + 1] or slice
	local shift = slice - head
	if shift < -slices then shift = slices end -- the clock was put back
	if shift < 0 then shift = 0 else head = slice end
	local sum = 0
	new[base + 1] = head
	for j = 1, slices do
		local n = 0
		if j > shift then n = old[base + 1 + j - shift] or 0 end
		new[base + 1 + j] = n
		sum = sum + n
	end
	if sum >= count then
		local free = freed(base, slices, sum - count + 1) * length
		if not refused or free > reset then which, reset = i / 3 - 1, free end
		refused = true
	end
	sums[i], heads[i] = sum, base
	base = base + 1 + slices
end
if refused then return {0, which, 0, reset} end
for i = 3, #ARGV, 3 do
	local at = heads[i]
	new[at + 2] = new[at + 2] + 1
	local rest, free = ARGV[i] - sums[i] - 1, freed(at, tonumber(ARGV[i + 2]), 1) * ARGV[i + 1]
	if i == 3 or rest < left or rest == left and free > reset then which, left, reset = i / 3 - 1, rest, free end
end
redis.call('SET', KEYS[1], table.concat(new, ' '), 'PX', ARGV[2])
return {1, which, left, reset}`)

// Take is of [guard.Counter]. The outcome of an error is unknown: the call may have
// been counted.
func (c *Counter) Take(ctx context.Context, key [16]byte, limits []guard.Limit, now time.Time) (guard.Taken, error) {
	args := make([]any, 2, 2+3*len(limits))
	var life time.Duration
	for _, l := range limits {
		length, slices := l.Window, 1
		if l.Sliding {
			length, slices = l.Window/8, 9 // the eighth of now, and eight before
		}
		args = append(args, l.Count, length.Milliseconds(), slices)
		life = max(life, length*time.Duration(slices))
	}
	args[0], args[1] = now.UnixMilli(), (life + lag).Milliseconds()
	name := c.store.prefix + "c:" + base64.RawURLEncoding.EncodeToString(key[:])
	reply, err := c.store.run(ctx, countScript, []string{name}, args...)
	if err != nil {
		return guard.Taken{}, fmt.Errorf("redisstore: count: %w", err)
	}
	var n [4]int64
	list, _ := reply.([]any)
	for i, v := range list[:min(len(list), len(n))] {
		n[i], _ = v.(int64)
	}
	if len(list) != len(n) {
		return guard.Taken{}, fmt.Errorf("redisstore: count: %w", unexpected(reply))
	}
	return guard.Taken{OK: n[0] == 1, Limit: int(n[1]), Remaining: int(n[2]), Reset: time.UnixMilli(n[3])}, nil
}
