package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/redisstore"
	"github.com/grantwell/oauth/resource"
)

func counter(t testing.TB, c redis.UniversalClient, prefix string) *redisstore.Counter {
	t.Helper()
	k, err := redisstore.NewCounter(c, prefix)
	require.NoError(t, err)
	return k
}

func limiter(t testing.TB, c guard.Counter, rules ...guard.Rule) resource.Guard {
	t.Helper()
	g, err := guard.RateLimit{Rules: rules, Counter: c, Timeout: time.Minute}.Guard()
	require.NoError(t, err)
	return g
}

// ask sends a request to a guard and returns the headers of the answer.
func ask(g resource.Guard, peer string, now time.Time) (http.Header, error) {
	r := httptest.NewRequest("POST", "/oauth/token", nil)
	r.RemoteAddr = peer
	c := &resource.Call{Request: r, Endpoint: "token", Header: http.Header{}, Now: now}
	return c.Header, g(r.Context(), c)
}

// passes sends requests and returns how many passed.
func passes(g resource.Guard, workers, each int, now time.Time) (passed int64, failed error) {
	var n atomic.Int64
	var mu sync.Mutex
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range each {
				_, err := ask(g, "192.0.2.1:1", now)
				var e *resource.Error
				switch {
				case err == nil:
					n.Add(1)
				case !errors.As(err, &e) || e.Status != http.StatusTooManyRequests:
					mu.Lock()
					failed = err
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return n.Load(), failed
}

var hundred = []guard.Limit{{Count: 100, Window: time.Minute}, {Count: 150, Window: time.Hour, Sliding: true}}

// Whatever comes in which order: Redis says what memory says.
func TestCounterIsLikeMemory(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		k := counter(t, e.client(t), prefix())
		random := rand.New(rand.NewPCG(1, 2))
		now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
		for round, limits := range [][]guard.Limit{
			{{Count: 3, Window: 2 * time.Second}},
			{{Count: 3, Window: 8 * time.Second, Sliding: true}},
			{{Count: 9, Window: 8 * time.Second, Sliding: true}, {Count: 2, Window: time.Second}, {Count: 12, Window: 10 * time.Second}, {Count: 12, Window: 9 * time.Second}},
			{{Count: 2, Window: time.Second}, {Count: 2, Window: 8 * time.Second}},
			{{Count: 2, Window: 8 * time.Second}, {Count: 2, Window: time.Second}},
			{{Count: 40, Window: 31 * 24 * time.Hour, Sliding: true}, {Count: 1, Window: time.Second, Sliding: true}},
		} {
			here, there := limiter(t, nil, guard.Rule{Limits: limits}), limiter(t, k, guard.Rule{Limits: limits})
			refused := 0
			for i := range 400 {
				switch random.IntN(40) {
				case 0:
					now = now.Add(-time.Duration(random.IntN(12)) * time.Second)
				case 1:
					now = now.Add(time.Duration(random.IntN(30)) * time.Second)
				default:
					now = now.Add(time.Duration(random.IntN(700)) * time.Millisecond)
				}
				peer := fmt.Sprintf("192.0.2.%d:1", random.IntN(3))
				want, wantErr := ask(here, peer, now)
				got, gotErr := ask(there, peer, now)
				require.Equal(t, want, got, "%d %d", round, i)
				require.Equal(t, wantErr, gotErr, "%d %d", round, i)
				if gotErr != nil {
					refused++
				}
			}
			require.Positive(t, refused)
			require.Less(t, refused, 400)
		}
	})
}

func TestCounterExactlyTheLimitPasses(t *testing.T) {
	now := time.Now()
	eachEngine(t, func(t *testing.T, e engine) {
		c, p := e.client(t), prefix()
		var total atomic.Int64
		var all sync.WaitGroup
		for range 3 {
			g := limiter(t, counter(t, c, p), guard.Rule{Limits: hundred})
			all.Go(func() {
				passed, err := passes(g, 64, 3, now)
				assert.NoError(t, err)
				total.Add(passed)
			})
		}
		all.Wait()
		assert.Equal(t, int64(100), total.Load())
		passed, err := passes(limiter(t, counter(t, c, p), guard.Rule{Limits: hundred}), 64, 1, now.Add(time.Minute))
		require.NoError(t, err)
		assert.Equal(t, int64(50), passed, "of the hour")
		for _, key := range []string{"other:", p + "x"} {
			passed, err = passes(limiter(t, counter(t, c, key+prefix()), guard.Rule{Limits: hundred}), 1, 1, now)
			require.NoError(t, err)
			assert.Equal(t, int64(1), passed, "another prefix")
		}
	})
}

// Three processes, 64 requests at once in each. The test starts itself.
func TestCounterOfThreeProcesses(t *testing.T) {
	const variable = "REDISSTORE_COUNTER_TEST"
	if text := os.Getenv(variable); text != "" {
		fields := strings.Fields(text)
		ms, err := strconv.ParseInt(fields[1], 10, 64)
		require.NoError(t, err)
		c := closing(t, redis.NewClient(&redis.Options{Addr: fields[0]}))
		passed, err := passes(limiter(t, counter(t, c, fields[2]), guard.Rule{Limits: hundred}), 64, 5, time.UnixMilli(ms))
		require.NoError(t, err)
		fmt.Println("passed", passed)
		return
	}
	server, err := startRedis()
	require.NoError(t, err)
	text := fmt.Sprint(server.Addr, " ", time.Now().UnixMilli(), " ", prefix())
	var total atomic.Int64
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
			cmd.Env = append(os.Environ(), variable+"="+text)
			out, err := cmd.CombinedOutput()
			if !assert.NoError(t, err, string(out)) {
				return
			}
			_, rest, _ := strings.Cut(string(out), "passed ")
			number, _, _ := strings.Cut(rest, "\n")
			n, err := strconv.ParseInt(number, 10, 64)
			assert.NoError(t, err, string(out))
			total.Add(n)
		})
	}
	all.Wait()
	assert.Equal(t, int64(100), total.Load())
}

func TestCounterKeys(t *testing.T) {
	server := private(t)
	c := clientOf(t, server)
	g := limiter(t, counter(t, c, ""), guard.Rule{Limits: hundred}, guard.Rule{Limits: []guard.Limit{{Count: 1, Window: time.Minute}}})
	now := time.Now()
	for range 3 {
		_, _ = ask(g, "192.0.2.1:1", now)
	}
	all := keys(t, c)
	require.Len(t, all, 2)
	for _, key := range all {
		assert.Regexp(t, `^oauth:c:[A-Za-z0-9_-]{22}$`, key, "no address is in a key")
		life := c.PTTL(t.Context(), key).Val()
		assert.Greater(t, life, 55*time.Second)
		assert.Less(t, life, time.Hour+time.Hour/8+6*time.Second)
	}
}

// One script, one key: nothing else is sent, and not again where the answer is lost.
func TestCounterIsNotSentAgain(t *testing.T) {
	server := private(t)
	cut := &cutter{}
	c := clientOf(t, server, func(o *redis.Options) { o.Dialer, o.MaxRetries = cut.dial, 3 })
	k := counter(t, c, "")
	now := time.Now()
	limits := []guard.Limit{{Count: 10, Window: time.Hour}}
	_, err := k.Take(t.Context(), [16]byte{}, limits, now)
	require.NoError(t, err)
	cut.arm("evalsha")
	_, err = k.Take(t.Context(), [16]byte{}, limits, now)
	require.Error(t, err)
	taken, err := k.Take(t.Context(), [16]byte{}, limits, now)
	require.NoError(t, err)
	assert.Equal(t, 7, taken.Remaining)
}

// A Redis that is not there: closed is 503, open passes uncounted, and both count
// again when it is back.
func TestCounterOutage(t *testing.T) {
	server := private(t)
	c := clientOf(t, server, func(o *redis.Options) { o.DialerRetries, o.ContextTimeoutEnabled = 1, true })
	minute := []guard.Limit{{Count: 2, Window: time.Minute}}
	closed := limiter(t, counter(t, c, "closed:"), guard.Rule{Limits: minute})
	open := limiter(t, counter(t, c, "open:"), guard.Rule{Limits: minute, InsecureFailOpen: true})
	now := time.Now()
	try := func(g resource.Guard) int {
		_, err := ask(g, "192.0.2.1:1", now)
		var e *resource.Error
		if errors.As(err, &e) {
			return e.HTTPStatus()
		}
		require.NoError(t, err)
		return http.StatusOK
	}
	require.Equal(t, 200, try(closed))
	require.NoError(t, server.Stop())
	for range 5 {
		require.Equal(t, 503, try(closed))
		require.Equal(t, 200, try(open))
	}
	require.NoError(t, server.Start())
	for _, g := range []resource.Guard{closed, open} {
		require.Equal(t, 200, try(g))
		require.Equal(t, 200, try(g))
		require.Equal(t, 429, try(g))
	}
}

func TestCounterOfAForeignKey(t *testing.T) {
	c := single(t)
	p := prefix()
	require.NoError(t, c.LPush(t.Context(), p+"c:AAAAAAAAAAAAAAAAAAAAAA", "x").Err())
	_, err := counter(t, c, p).Take(t.Context(), [16]byte{}, hundred, time.Now())
	require.ErrorContains(t, err, "WRONGTYPE")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = counter(t, c, p+"x").Take(ctx, [16]byte{}, hundred, time.Now())
	require.Error(t, err)
	_, err = redisstore.NewCounter(nil, "")
	require.ErrorContains(t, err, "client is nil")
}
