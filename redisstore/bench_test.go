package redisstore_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
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
				floor.Measure(b, b.N, workers,
					floor.Contestant{Name: "floor", Do: floors(b, store, client, workers)},
					floor.Contestant{Name: "store", Do: stores(b, store)},
					floor.Contestant{Name: "refresh", Do: refresh},
				)
			})
		}
	}
}

// BenchmarkCode is the same for the redemption of a code. That the code is issued is
// not counted.
func BenchmarkCode(b *testing.B) {
	for _, workers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("%d workers", workers), func(b *testing.B) {
			store, client := benchStore(b, nil)
			srv := oauthtest.NewServer(b, func(c *oauth.Config) { c.Storage = store })
			codes := make([]oauthtest.Code, floor.Share(b.N, workers))
			for i := range codes {
				codes[i] = srv.Code(oauthtest.SPAClient)
			}
			handler := plain(b, srv, store)
			var mu sync.Mutex
			floor.Measure(b, b.N, workers,
				floor.Contestant{Name: "floor", Do: floors(b, store, client, workers)},
				floor.Contestant{Name: "code", Do: func(int) error {
					mu.Lock()
					code := codes[0]
					codes = codes[1:]
					mu.Unlock()
					form := code.Form()
					form.Set("client_id", code.Client)
					_, err := floor.Tokens(handler, form.Encode())
					return err
				}},
			)
		})
	}
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
	handler := plain(b, srv, store)
	return func(i int) (err error) {
		tokens[i], err = floor.Tokens(handler, "grant_type=refresh_token&client_id="+oauthtest.SPAClient+"&refresh_token="+tokens[i])
		return err
	}
}

// plain is the server without what the kit writes down of all that happens.
func plain(b *testing.B, srv *oauthtest.Server, store oauth.Storage) http.Handler {
	cfg := srv.Config
	cfg.Storage, cfg.Events = store, nil
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

// floors returns what any refresh must do at least, with a copy of a record that
// the server made.
func floors(b *testing.B, store *redisstore.Store, client *redis.Client, workers int) func(worker int) error {
	if len(ids(b, store, oauth.Filter{})) == 0 {
		srv := oauthtest.NewServer(b, func(c *oauth.Config) { c.Storage = store })
		srv.Code(oauthtest.SPAClient)
	}
	for r, err := range store.List(b.Context(), oauth.Filter{}) {
		require.NoError(b, err)
		for i := range workers {
			r.ID = floorID(i)
			require.NoError(b, store.Create(b.Context(), r))
			require.NoError(b, client.Set(b.Context(), r.ID, "1 "+r.Realm+string(r.Kind)+r.ClientID+r.Subject+string(r.Data), time.Hour).Err())
		}
		break
	}
	end := time.Now().Add(time.Hour).UnixMilli()
	return func(i int) error {
		old, err := client.Get(b.Context(), floorID(i)).Result()
		if err != nil {
			return err
		}
		text, data, _ := strings.Cut(old, " ")
		version, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		value := strconv.FormatInt(version+1, 10) + " " + string(floor.Changed([]byte(data), version))
		done, err := floorScript.Run(b.Context(), client, []string{floorID(i)}, text, value, end).Int()
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
