package guard_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/resource"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func perMinute(n int) []guard.Limit { return []guard.Limit{{Count: n, Window: time.Minute}} }

func mustGuard(t testing.TB, l guard.RateLimit) resource.Guard {
	t.Helper()
	g, err := l.Guard()
	require.NoError(t, err)
	return g
}

// A caller sends requests to one guard.
type caller struct {
	t     testing.TB
	guard resource.Guard
	now   time.Time
	call  *resource.Call // the last
}

func (c *caller) send(endpoint, peer, client string, edits ...func(*resource.Call)) error {
	c.call = &resource.Call{Request: request(peer), Endpoint: endpoint, ClientID: client, Header: http.Header{}, Now: c.now}
	for _, edit := range edits {
		edit(c.call)
	}
	return c.guard(c.t.Context(), c.call)
}

// proven is a request whose client authenticates.
func (c *caller) proven(endpoint, peer, client string) error {
	if err := c.send(endpoint, peer, client); err != nil {
		return err
	}
	for _, f := range c.call.OnAuthenticated {
		if err := f(c.t.Context()); err != nil {
			return err
		}
	}
	return nil
}

func (c *caller) header(name string) string { return c.call.Header.Get(name) }

func withToken(id string) func(*resource.Call) {
	return func(c *resource.Call) {
		c.Token = &resource.Token{ID: id, Issuer: "https://as.example", ClientID: c.ClientID}
	}
}

func requireLimited(t testing.TB, err error) *resource.Error {
	t.Helper()
	var e *resource.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 429, e.HTTPStatus())
	require.Equal(t, resource.TemporarilyUnavailable, e.Code)
	require.Positive(t, e.RetryAfter)
	return e
}

const (
	one   = "192.0.2.1:1"
	other = "192.0.2.2:1"
)

func TestRateLimitHeaders(t *testing.T) {
	c := &caller{t: t, now: start, guard: mustGuard(t, guard.RateLimit{Rules: []guard.Rule{{Limits: perMinute(3)}}})}
	for left := 2; left >= -1; left-- {
		err := c.send("token", one, "")
		assert.Equal(t, "3", c.header("X-RateLimit-Limit"))
		assert.Equal(t, strconv.Itoa(max(0, left)), c.header("X-RateLimit-Remaining"), "FS-26 falls by one and never below 0")
		assert.Equal(t, strconv.FormatInt(start.Truncate(time.Minute).Add(time.Minute).Unix(), 10), c.header("X-RateLimit-Reset"), "FS-26 Unix time, aligned to the clock")
		if left >= 0 {
			require.NoError(t, err)
			continue
		}
		e := requireLimited(t, err)
		assert.Equal(t, 55*time.Second, e.RetryAfter, "FS-27")
		assert.Equal(t, "Too many requests", e.Description)
		assert.EqualError(t, e.Cause, "guard: more than 3 calls in 1m0s per address")
	}
	c.now = start.Add(55 * time.Second)
	require.NoError(t, c.send("token", one, ""), "FS-25 the next window")
	assert.Equal(t, "2", c.header("X-RateLimit-Remaining"))
}

func TestRateLimitHeaderNames(t *testing.T) {
	c := &caller{t: t, now: start.Add(500 * time.Millisecond), guard: mustGuard(t, guard.RateLimit{
		Rules:   []guard.Rule{{Limits: perMinute(3)}},
		Headers: guard.Headers{Limit: "RateLimit-Limit", Remaining: "-", Reset: "ratelimit-reset", Delta: true},
	})}
	require.NoError(t, c.send("token", one, "", func(call *resource.Call) {
		call.Header.Set("Access-Control-Expose-Headers", "Retry-After")
	}))
	assert.Equal(t, http.Header{
		"Ratelimit-Limit": {"3"}, "Ratelimit-Reset": {"55"}, // 54.5, rounded up
		"Access-Control-Expose-Headers": {"Retry-After, Ratelimit-Limit, Ratelimit-Reset"},
	}, c.call.Header)
	require.NoError(t, c.proven("token", one, ""))
	assert.Len(t, c.call.Header, 2, "nothing is exposed where the server exposes nothing")
}

func TestRateLimitEndpoints(t *testing.T) {
	c := &caller{t: t, now: start, guard: mustGuard(t, guard.RateLimit{Rules: []guard.Rule{
		{Endpoints: []string{"token"}, Limits: perMinute(1)},
		{Endpoints: []string{"revoke", "introspect"}, Limits: perMinute(2)},
		{Limits: perMinute(5)},
	}})}
	require.NoError(t, c.send("token", one, ""))
	assert.Equal(t, "1", c.header("X-RateLimit-Limit"), "the limit with the least left")
	requireLimited(t, c.send("token", one, ""))
	require.NoError(t, c.send("revoke", one, ""), "FS-25 not touched by the count of token")
	require.NoError(t, c.send("introspect", one, ""))
	requireLimited(t, c.send("revoke", one, "")) // counted together
	require.NoError(t, c.send("jwks", one, ""))
	assert.Equal(t, "5", c.header("X-RateLimit-Limit"))
	assert.Equal(t, "1", c.header("X-RateLimit-Remaining"), "a rule behind one that refused has not counted")
}

func TestRateLimitPerAddress(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		same       bool
	}{
		{"two", one, other, false},
		{"two ports", "192.0.2.1:1", "192.0.2.1:2", true},
		{"IPv4 in IPv6", "192.0.2.1:1", "[::ffff:192.0.2.1]:1", true},
		{"in a /64", "[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::9]:1", true},
		{"in two /64", "[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", false},
		{"::/64 is not IPv4", "[::1]:1", "[::ffff:0.0.0.1]:1", false},
		{"no address", "@", "", true},
		{"no address and 0.0.0.0", "@", "0.0.0.0:1", false},
		{"no address and ::", "@", "[::]:1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &caller{t: t, now: start, guard: mustGuard(t, guard.RateLimit{Rules: []guard.Rule{{Limits: perMinute(1)}}})}
			require.NoError(t, c.send("token", tt.a, ""))
			if err := c.send("token", tt.b, ""); tt.same {
				requireLimited(t, err)
			} else {
				require.NoError(t, err)
			}
		})
	}
	t.Run("behind a proxy", func(t *testing.T) {
		c := &caller{t: t, now: start, guard: mustGuard(t, guard.RateLimit{Rules: []guard.Rule{{Limits: perMinute(1)}}, Proxies: behind("X-Forwarded-For")})}
		from := func(address string) func(*resource.Call) {
			return func(c *resource.Call) { c.Request.Header.Set("X-Forwarded-For", address) }
		}
		require.NoError(t, c.send("token", "10.0.0.1:1", "", from("192.0.2.1")))
		require.NoError(t, c.send("token", "10.0.0.1:1", "", from("192.0.2.1, 192.0.2.2")))
		requireLimited(t, c.send("token", "10.0.0.1:1", "", from("192.0.2.9, 192.0.2.1")))
		requireLimited(t, c.send("token", "192.0.2.2:1", "", from("192.0.2.77")))
	})
}

func TestRateLimitPerToken(t *testing.T) {
	c := &caller{t: t, now: start, guard: mustGuard(t, guard.RateLimit{Rules: []guard.Rule{{Per: guard.PerToken, Limits: perMinute(2)}}})}
	for range 2 {
		require.NoError(t, c.send("userinfo", one, "app", withToken("T1")))
	}
	requireLimited(t, c.send("userinfo", one, "app", withToken("T1")))
	requireLimited(t, c.send("userinfo", other, "app", withToken("T1")))
	require.NoError(t, c.send("userinfo", one, "app", withToken("T2")), "FS-25")
	require.NoError(t, c.send("userinfo", one, "app", func(c *resource.Call) {
		c.Token = &resource.Token{ID: "T1", Issuer: "https://other.example"}
	}), "another issuer's")
	assert.Empty(t, c.call.OnAuthenticated)
	t.Run("without a token by address", func(t *testing.T) {
		require.NoError(t, c.send("userinfo", one, ""))
		require.NoError(t, c.send("userinfo", one, ""))
		requireLimited(t, c.send("userinfo", one, ""))
		require.NoError(t, c.send("userinfo", other, ""))
	})
	t.Run("without an ID by its text", func(t *testing.T) {
		text := func(token string) func(*resource.Call) {
			return func(c *resource.Call) {
				c.Token = &resource.Token{}
				c.Request.Header.Set("Authorization", "Bearer "+token)
			}
		}
		require.NoError(t, c.send("api", one, "", text("a")))
		require.NoError(t, c.send("api", one, "", text("a")))
		requireLimited(t, c.send("api", one, "", text("a")))
		require.NoError(t, c.send("api", one, "", text("b")))
	})
}

func TestRateLimitPerClient(t *testing.T) {
	fresh := func(t *testing.T) *caller {
		return &caller{t: t, now: start, guard: mustGuard(t, guard.RateLimit{Rules: []guard.Rule{{Per: guard.PerClient, Limits: perMinute(3)}}})}
	}
	t.Run("FS-25 client A, not client B", func(t *testing.T) {
		c := fresh(t)
		for range 3 {
			require.NoError(t, c.send("token", one, "A"))
		}
		requireLimited(t, c.send("token", one, "A"))
		require.NoError(t, c.send("token", one, "B"))
	})
	t.Run("who sends another's id locks nobody out", func(t *testing.T) {
		c := fresh(t)
		for i := range 100 {
			_ = c.send("token", "203.0.113.9:1", "A")
			_ = c.send("token", fmt.Sprintf("198.51.100.%d:1", i), "A")
		}
		requireLimited(t, c.send("token", "203.0.113.9:1", "A"))
		for left := 2; left >= 0; left-- {
			require.NoError(t, c.proven("token", one, "A"))
			assert.Equal(t, strconv.Itoa(left), c.header("X-RateLimit-Remaining"))
		}
	})
	t.Run("from no address it is still a claim", func(t *testing.T) {
		c := fresh(t)
		for range 10 {
			_ = c.send("token", "@", "A")
		}
		require.NoError(t, c.proven("token", one, "A"))
		assert.Equal(t, "2", c.header("X-RateLimit-Remaining"))
	})
	t.Run("a client that authenticates counts from all its addresses", func(t *testing.T) {
		c := fresh(t)
		for i := range 3 {
			require.NoError(t, c.proven("token", fmt.Sprintf("198.51.100.%d:1", i), "A"))
		}
		requireLimited(t, c.proven("token", one, "A"))
		assert.Equal(t, "0", c.header("X-RateLimit-Remaining"))
		require.NoError(t, c.proven("token", one, "B"))
		assert.Equal(t, "2", c.header("X-RateLimit-Remaining"))
	})
	t.Run("with a token by its client", func(t *testing.T) {
		c := fresh(t)
		for i := range 3 {
			require.NoError(t, c.send("api", fmt.Sprintf("198.51.100.%d:1", i), "A", withToken(fmt.Sprint(i))))
			assert.Empty(t, c.call.OnAuthenticated)
		}
		requireLimited(t, c.send("api", one, "A", withToken("9")))
	})
	t.Run("FS-28 unknown ids count by address", func(t *testing.T) {
		c := fresh(t)
		for range 3 {
			require.NoError(t, c.send("token", one, "")) // the server leaves it empty if there is no such client
		}
		requireLimited(t, c.send("token", one, ""))
		assert.Empty(t, c.call.OnAuthenticated)
		require.NoError(t, c.send("token", other, ""))
	})
}

func TestRateLimitAtOnce(t *testing.T) {
	g := mustGuard(t, guard.RateLimit{Rules: []guard.Rule{{Per: guard.PerClient, Limits: []guard.Limit{
		{Count: 100, Window: time.Minute}, {Count: 200, Window: time.Hour, Sliding: true}}}}})
	var passed, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			c := &caller{t: t, guard: g, now: start}
			if err := c.proven("token", fmt.Sprintf("192.0.2.%d:%d", i%20, i), "A"); err != nil {
				refused.Add(1)
			} else {
				passed.Add(1)
			}
		})
	}
	all.Wait()
	assert.Equal(t, int64(100), passed.Load())
	assert.Equal(t, int64(900), refused.Load())
}

// A counter that a test says the answers of.
type counter struct {
	seen  []call
	taken guard.Taken
	err   error
}

type call struct {
	key      [16]byte
	limits   []guard.Limit
	now      time.Time
	canceled bool
	timeout  time.Duration
}

func (c *counter) Take(ctx context.Context, key [16]byte, limits []guard.Limit, now time.Time) (guard.Taken, error) {
	end, _ := ctx.Deadline()
	c.seen = append(c.seen, call{key, limits, now, ctx.Err() != nil, time.Until(end)})
	return c.taken, c.err
}

func TestRateLimitCounter(t *testing.T) {
	k := &counter{taken: guard.Taken{OK: true, Limit: 1, Remaining: 7, Reset: start.Add(90 * time.Minute)}}
	limits := []guard.Limit{{Count: 10, Window: time.Second}, {Count: 1000, Window: time.Hour, Sliding: true}}
	rules := []guard.Rule{{Endpoints: []string{"token", "revoke"}, Limits: limits}}
	c := &caller{t: t, now: start, guard: mustGuard(t, guard.RateLimit{Counter: k, Rules: rules})}
	require.NoError(t, c.send("token", one, ""))
	require.NoError(t, c.send("revoke", one, ""))
	require.NoError(t, c.send("token", other, ""))
	require.Len(t, k.seen, 3)
	assert.Equal(t, limits, k.seen[0].limits)
	assert.Equal(t, start, k.seen[0].now)
	assert.InDelta(t, time.Second, k.seen[0].timeout, float64(500*time.Millisecond))
	assert.Equal(t, k.seen[0].key, k.seen[1].key)
	assert.NotEqual(t, k.seen[0].key, k.seen[2].key)
	assert.Equal(t, "1000", c.header("X-RateLimit-Limit"))
	assert.Equal(t, "7", c.header("X-RateLimit-Remaining"))

	t.Run("a process with the same rules has the same keys", func(t *testing.T) {
		k.taken.Limit = 0
		again := &caller{t: t, now: start, guard: mustGuard(t, guard.RateLimit{Counter: k, Rules: []guard.Rule{{Limits: perMinute(5)}, {Endpoints: []string{"revoke", "token"}, Limits: limits}}})}
		require.NoError(t, again.send("token", one, ""))
		assert.Equal(t, k.seen[0].key, k.seen[len(k.seen)-1].key)
		assert.NotEqual(t, k.seen[0].key, k.seen[len(k.seen)-2].key, "another rule")
	})
	t.Run("refused", func(t *testing.T) {
		k.taken = guard.Taken{Limit: 0, Reset: start.Add(300 * time.Millisecond)}
		e := requireLimited(t, c.send("token", one, ""))
		assert.Equal(t, time.Second, e.RetryAfter, "a whole second at least")
		assert.Equal(t, "10", c.header("X-RateLimit-Limit"))
		assert.Equal(t, strconv.FormatInt(start.Unix()+1, 10), c.header("X-RateLimit-Reset"))
	})
	t.Run("nonsense", func(t *testing.T) {
		k.taken = guard.Taken{OK: true, Limit: 2}
		require.ErrorIs(t, c.send("token", one, ""), resource.TemporarilyUnavailable)
	})
}

func TestRateLimitCounterFails(t *testing.T) {
	broken := errors.New("dial tcp: refused")
	rules := []guard.Rule{
		{Endpoints: []string{"token"}, Limits: perMinute(1)},
		{Endpoints: []string{"jwks"}, Limits: perMinute(1), InsecureFailOpen: true},
	}
	k := &counter{err: broken}
	log := &strings.Builder{}
	c := &caller{t: t, now: start, guard: mustGuard(t, guard.RateLimit{Rules: rules, Counter: k, Timeout: time.Minute, Logger: slog.New(slog.NewTextHandler(log, nil))})}
	t.Run("closed", func(t *testing.T) {
		var e *resource.Error
		require.ErrorAs(t, c.send("token", one, ""), &e)
		assert.Equal(t, 503, e.HTTPStatus())
		assert.Equal(t, 5*time.Second, e.RetryAfter)
		assert.ErrorIs(t, e, broken)
		assert.NotContains(t, e.Description, "dial")
		assert.Empty(t, log.String(), "the server tells of its refusals itself")
	})
	t.Run("open where the host says so", func(t *testing.T) {
		require.NoError(t, c.send("jwks", one, ""))
		assert.Empty(t, c.call.Header)
		assert.Contains(t, log.String(), "a request passes uncounted")
		assert.Contains(t, log.String(), "dial tcp: refused")
	})
	t.Run("who hangs up is counted all the same", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		k.err = nil
		require.ErrorIs(t, c.guard(ctx, &resource.Call{Request: request(one), Endpoint: "jwks", Header: http.Header{}, Now: start}), resource.TemporarilyUnavailable)
		last := k.seen[len(k.seen)-1]
		assert.False(t, last.canceled)
		assert.InDelta(t, time.Minute, last.timeout, float64(30*time.Second))
	})
}

func TestRateLimitChecks(t *testing.T) {
	good := guard.Rule{Limits: perMinute(1)}
	for _, tt := range []struct {
		want string
		l    guard.RateLimit
	}{
		{"RateLimit needs Rules", guard.RateLimit{}},
		{"Rules[1].Per is unknown", guard.RateLimit{Rules: []guard.Rule{good, {Per: 3, Limits: perMinute(1)}}}},
		{"Rules[0] has 0 Limits", guard.RateLimit{Rules: []guard.Rule{{}}}},
		{"Rules[0] has 9 Limits", guard.RateLimit{Rules: []guard.Rule{{Limits: make([]guard.Limit, 9)}}}},
		{"Limits[0].Count is not between", guard.RateLimit{Rules: []guard.Rule{{Limits: perMinute(0)}}}},
		{"Limits[0].Count is not between", guard.RateLimit{Rules: []guard.Rule{{Limits: perMinute(1_000_000_001)}}}},
		{"Limits[0].Window is not whole seconds", guard.RateLimit{Rules: []guard.Rule{{Limits: []guard.Limit{{Count: 1}}}}}},
		{"Limits[0].Window is not whole seconds", guard.RateLimit{Rules: []guard.Rule{{Limits: []guard.Limit{{Count: 1, Window: 1500 * time.Millisecond}}}}}},
		{"Limits[0].Window is not whole seconds", guard.RateLimit{Rules: []guard.Rule{{Limits: []guard.Limit{{Count: 1, Window: 32 * 24 * time.Hour}}}}}},
		{"Limits[1] is there twice", guard.RateLimit{Rules: []guard.Rule{{Limits: append(perMinute(1), perMinute(1)...)}}}},
		{"Rules[1] is there twice", guard.RateLimit{Rules: []guard.Rule{good, good}}},
		{`Endpoints[0], "tokens", is unknown`, guard.RateLimit{Rules: []guard.Rule{{Endpoints: []string{"tokens"}, Limits: perMinute(1)}}}},
		{`Endpoints[1], "token", is unknown or there twice`, guard.RateLimit{Rules: []guard.Rule{{Endpoints: []string{"token", "token"}, Limits: perMinute(1)}}}},
		{"Rules[0].Endpoints is empty", guard.RateLimit{Rules: []guard.Rule{{Endpoints: []string{}, Limits: perMinute(1)}}}},
		{"Keys is not between", guard.RateLimit{Keys: -1, Rules: []guard.Rule{good}}},
		{"Timeout is negative", guard.RateLimit{Timeout: -1, Rules: []guard.Rule{good}}},
		{"Headers.Reset is not the name", guard.RateLimit{Headers: guard.Headers{Reset: "X Reset"}, Rules: []guard.Rule{good}}},
		{"Proxies.Header must be", guard.RateLimit{Proxies: guard.Proxies{UnixSocket: true}, Rules: []guard.Rule{good}}},
	} {
		t.Run(tt.want, func(t *testing.T) {
			g, err := tt.l.Guard()
			require.ErrorContains(t, err, tt.want)
			assert.Nil(t, g)
		})
	}
	t.Run("all at once", func(t *testing.T) {
		_, err := guard.RateLimit{Keys: -1, Timeout: -1}.Guard()
		for _, want := range []string{"Rules", "Keys", "Timeout"} {
			assert.ErrorContains(t, err, want)
		}
	})
	t.Run("what was given may change afterwards", func(t *testing.T) {
		rules := []guard.Rule{{Endpoints: []string{"token"}, Limits: perMinute(1)}}
		c := &caller{t: t, now: start, guard: mustGuard(t, guard.RateLimit{Rules: rules})}
		rules[0].Endpoints[0], rules[0].Limits[0].Count = "revoke", 100
		require.NoError(t, c.send("token", one, ""))
		requireLimited(t, c.send("token", one, ""))
	})
}
