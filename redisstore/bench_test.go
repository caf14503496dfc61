package redisstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
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
				inTurns(b, workers, []contestant{
					{"floor", floors(b, store, client, workers)},
					{"store", stores(b, store)},
					{"refresh", refresh},
				})
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
			codes := make([]oauthtest.Code, b.N+b.N/10+2*workers) // the last share may go beyond b.N
			for i := range codes {
				codes[i] = srv.Code(oauthtest.SPAClient)
			}
			handler := plain(b, srv, store)
			var mu sync.Mutex
			inTurns(b, workers, []contestant{
				{"floor", floors(b, store, client, workers)},
				{"code", func(int) error {
					mu.Lock()
					code := codes[0]
					codes = codes[1:]
					mu.Unlock()
					form := code.Form()
					form.Set("client_id", code.Client)
					_, err := send(handler, form.Encode())
					return err
				}},
			})
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
		tokens[i], err = send(handler, "grant_type=refresh_token&client_id="+oauthtest.SPAClient+"&refresh_token="+tokens[i])
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

// send posts a form with as little work around the handler as there can be, and
// returns the refresh token of the answer.
func send(h http.Handler, form string) (string, error) {
	w := &writer{header: http.Header{}}
	h.ServeHTTP(w, &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/oauth/token"}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: io.NopCloser(strings.NewReader(form)), ContentLength: int64(len(form))})
	_, token, ok := bytes.Cut(w.body, []byte(`"refresh_token":"`))
	end := bytes.IndexByte(token, '"')
	if w.status != 0 && w.status != http.StatusOK || !ok || end < 0 {
		return "", fmt.Errorf("%d %s", w.status, w.body)
	}
	return string(token[:end]), nil
}

type writer struct {
	header http.Header
	status int
	body   []byte
}

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) WriteHeader(status int)      { w.status = status }
func (w *writer) Write(b []byte) (int, error) { w.body = append(w.body, b...); return len(b), nil }

// stores returns the Get and the Update of a refresh, through the store.
func stores(b *testing.B, store *redisstore.Store) func(worker int) error {
	return func(i int) error {
		r, err := store.Get(b.Context(), floorID(i))
		if err != nil {
			return err
		}
		r.Data = changed(r.Data, r.Version)
		return store.Update(b.Context(), r)
	}
}

func floorID(i int) string { return fmt.Sprintf("floor-%016d", i) }

// changed returns data with other bytes where the server's change: head and MAC.
func changed(data []byte, version int64) []byte {
	mark := fmt.Sprintf("%016x", version)
	data = slices.Clone(data)
	copy(data[60:], mark)
	copy(data[len(data)-40:], mark)
	return data
}

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
		value := strconv.FormatInt(version+1, 10) + " " + string(changed([]byte(data), version))
		done, err := floorScript.Run(b.Context(), client, []string{floorID(i)}, text, value, end).Int()
		if err == nil && done != 1 {
			err = errors.New("not written")
		}
		return err
	}
}

type contestant struct {
	name string
	do   func(worker int) error
}

// inTurns runs b.N of each, by as many workers, a tenth of it in turn, so that what
// else the machine does meanwhile slows all. The floor is the first.
func inTurns(b *testing.B, workers int, all []contestant) {
	took := make([]time.Duration, len(all))
	share := max(b.N/10, workers) / workers
	done := 0
	b.ResetTimer()
	for ; done < b.N; done += share * workers {
		for i, c := range all {
			start := b.Elapsed()
			inParallel(b, workers, share, c.do)
			took[i] += b.Elapsed() - start
		}
	}
	for i, c := range all {
		b.ReportMetric(float64(done)/took[i].Seconds(), c.name+"/s")
		if i > 0 {
			b.ReportMetric(took[0].Seconds()/took[i].Seconds(), c.name+"/floor")
		}
	}
	b.ReportMetric(0, "ns/op")
}

func inParallel(b *testing.B, workers, each int, do func(worker int) error) {
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			for range each {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
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
