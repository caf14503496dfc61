package redisstore_test

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/floor"
	"github.com/grantwell/oauth/internal/servertest"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/redisstore"
)

// Unlike the tests, half of the benchmarks run on a server that writes to disk.
var benchSettings = map[string][]string{
	"memory":             nil,
	"appendfsync always": {"appendonly yes", "appendfsync always"},
}

// BenchmarkRefresh runs refreshes through the whole server, without sockets, and in turns with them their floor: a GET and a script that compares the
// version and writes, of a value of that size, through the same client, without the
// library; and Get and Update of the store alone. It reports each per second and
// divided by the floor.
func BenchmarkRefresh(b *testing.B) {
	for name, settings := range benchSettings {
		for _, workers := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s/%d workers", name, workers), func(b *testing.B) {
				store, client := benchStore(b, settings)
				srv := oauthtest.NewServer(b, func(c *oauth.Config) { c.Storage = store })
				refresh := refreshes(b, srv, store, workers) // first, for the floor copies what it made
				fillUp(b, store)
				record := first(b, store)
				for i := range workers {
					record.ID = floorID(i)
					require.NoError(b, store.Create(b.Context(), record))
					require.NoError(b, bare(b, client, record))
				}
				change := func(data []byte, version int64) []byte { return floor.Changed(data, version) }
				floor.Measure(b, b.N, workers,
					floor.Contestant{Name: "floor", Do: floors(b, client, floorID, change, time.Now().Add(time.Hour))},
					floor.Contestant{Name: "store", Do: stores(b, store)},
					floor.Contestant{Name: "refresh", Do: refresh},
				)
			})
		}
	}
}

// BenchmarkCode is the same for the redemption of a code: every time another record,
// which gets the Data and the expiry of one whose code was redeemed. That the code is
// issued is not counted.
func BenchmarkCode(b *testing.B) {
	for name, settings := range benchSettings {
		for _, workers := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s/%d workers", name, workers), func(b *testing.B) {
				store, client := benchStore(b, settings)
				srv := oauthtest.NewServer(b, func(c *oauth.Config) { c.Storage = store })
				code := srv.Code(oauthtest.SPAClient)
				before := first(b, store)
				srv.Redeem(code)
				after := first(b, store)
				forms := make([]string, floor.Share(b.N, workers))
				for i := range forms {
					code := srv.Code(oauthtest.SPAClient)
					form := code.Form()
					form.Set("client_id", code.Client)
					forms[i] = form.Encode()
					before.ID = floorID(i)
					require.NoError(b, bare(b, client, before))
				}
				callers := floor.Callers(plain(b, srv, store), workers)
				var redeemed, floored atomic.Int64
				written := []byte(text(after))
				change := func(_ []byte, version int64) []byte { return floor.Changed(written, version) }
				floor.Measure(b, b.N, workers,
					floor.Contestant{Name: "floor", Do: floors(b, client, func(int) string { return floorID(int(floored.Add(1) - 1)) }, change, after.ExpiresAt)},
					floor.Contestant{Name: "code", Do: func(i int) error {
						_, err := callers[i].Token(forms[redeemed.Add(1)-1])
						return err
					}},
				)
			})
		}
	}
}

// filled is how many other authorizations there are.
var filled = flag.Int("fill", 0, "benchmarks: authorizations in the store beside those that are refreshed")

// fillUp adds copies of an authorization, with all that leads to them.
func fillUp(b *testing.B, store *redisstore.Store) {
	if b.N == 1 { // the first run of a benchmark is a trial
		return
	}
	record := first(b, store)
	var done atomic.Int64
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			r := record
			for n := done.Add(1); n <= int64(*filled); n = done.Add(1) {
				r.ID = fmt.Sprintf("fill-%016x", uint64(n)*0x9e3779b97f4a7c15)
				if err := store.Create(b.Context(), r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// first is a record that the server made.
func first(b *testing.B, store *redisstore.Store) oauth.Record {
	for r, err := range store.List(b.Context(), oauth.Filter{}) {
		require.NoError(b, err)
		return r
	}
	panic("there is none")
}

// bare stores a record without the library, for the floor.
func bare(b *testing.B, client *redis.Client, r oauth.Record) error {
	return client.Set(b.Context(), r.ID, "1 "+text(r), time.Hour).Err()
}

// text is what of a record is not its version.
func text(r oauth.Record) string {
	return r.Realm + string(r.Kind) + r.ClientID + r.Subject + string(r.Data)
}

func benchStore(b *testing.B, settings []string) (*redisstore.Store, *redis.Client) {
	server := private(b, settings...)
	client := clientOf(b, server, func(o *redis.Options) { o.PoolSize = 32 })
	return redisEngine().openAt(b, client, "oauth:"), client
}

// refreshes returns what a worker does: it refreshes an authorization of its own.
func refreshes(b *testing.B, srv *oauthtest.Server, store oauth.Storage, workers int) func(worker int) error {
	tokens := make([]string, workers)
	for i := range tokens {
		tokens[i] = srv.Redeem(srv.Code(oauthtest.SPAClient)).String("refresh_token")
	}
	callers := floor.Callers(plain(b, srv, store), workers)
	return func(i int) (err error) {
		tokens[i], err = callers[i].Token("grant_type=refresh_token&client_id=" + oauthtest.SPAClient + "&refresh_token=" + tokens[i])
		return err
	}
}

// plain is the server without what the kit adds to it.
func plain(b *testing.B, srv *oauthtest.Server, store oauth.Storage) http.Handler {
	cfg := srv.Config
	cfg.Storage, cfg.Events, cfg.Guards = store, nil, nil
	at := srv.Clock.Now() // the kit's time, without its lock
	cfg.Now = func() time.Time { return at }
	s, err := oauth.New(cfg)
	require.NoError(b, err)
	return s.TokenHandler()
}

// stores returns the Get and the Update of a refresh, through the store.
func stores(b *testing.B, store *redisstore.Store) func(worker int) error {
	return func(i int) error {
		r, err := store.Get(b.Context(), floorID(i))
		if err != nil {
			return err
		}
		r.Data = floor.Changed(r.Data, r.Version)
		return store.Update(b.Context(), r)
	}
}

func floorID(i int) string { return fmt.Sprintf("floor-%016d", i) }

var floorScript = redis.NewScript(`
local old = redis.call('GET', KEYS[1])
if not old or string.match(old, '^(%d+) ') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1`)

// floors returns what any request must do at least: read one of these, and write the
// Data that change makes of it.
func floors(b *testing.B, client *redis.Client, id func(worker int) string, change func(data []byte, version int64) []byte, end time.Time) func(worker int) error {
	until := end.UnixMilli()
	return func(i int) error {
		key := id(i)
		old, err := client.Get(b.Context(), key).Result()
		if err != nil {
			return err
		}
		head, data, _ := strings.Cut(old, " ")
		version, err := strconv.ParseInt(head, 10, 64)
		if err != nil {
			return err
		}
		value := strconv.FormatInt(version+1, 10) + " " + string(change([]byte(data), version))
		done, err := floorScript.Run(b.Context(), client, []string{key}, head, value, until).Int()
		if err == nil && done != 1 {
			err = errors.New("not written")
		}
		return err
	}
}

// BenchmarkMemory reports the server's memory for each authorization that a code was
// redeemed for, with everything that leads to it: one of each subject, and ten.
func BenchmarkMemory(b *testing.B) {
	for _, each := range []int{1, 10} {
		b.Run(fmt.Sprintf("%d of each subject", each), func(b *testing.B) {
			const total = 20_000
			server, err := servertest.Redis()
			require.NoError(b, err)
			defer func() { require.NoError(b, server.Remove()) }()
			client := clientOf(b, server)
			store := redisEngine().openAt(b, client, "oauth:")
			used := func() float64 {
				n, err := strconv.ParseFloat(client.InfoMap(b.Context(), "memory").Item("Memory", "used_memory"), 64)
				require.NoError(b, err)
				return n
			}
			before := used()
			for b.Loop() {
				srv := oauthtest.NewServer(b, func(c *oauth.Config) { c.Storage = store })
				for i := range total {
					srv.Approve(fmt.Sprintf("user-%08d@example.com", i/each))
					srv.Redeem(srv.Code(oauthtest.SPAClient))
				}
				b.ReportMetric((used()-before)/total, "bytes/authorization")
				before = used()
			}
			sizes := 0
			for r, err := range store.List(b.Context(), oauth.Filter{Kind: oauth.KindAuthorization, Subject: "user-00000001@example.com"}) {
				require.NoError(b, err)
				sizes = len(r.Data)
			}
			b.ReportMetric(float64(sizes), "bytes/Data")
			b.ReportMetric(0, "ns/op")
		})
	}
}
