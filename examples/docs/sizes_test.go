package docs_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/customstore"
	"github.com/grantwell/oauth/internal/servertest"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/redisstore"
	"github.com/grantwell/oauth/sqlstore"
	"github.com/grantwell/oauth/sqlstore/sqlite"
)

const (
	livePopulation = 10_000
	liveWorkers    = 8
	liveRefreshes  = 3
)

// BenchmarkLiveAuthorization measures what docs/storage.md says an authorization
// takes in each store: 10,000 of them, approved, redeemed and refreshed three times
// by the real server, and then the bytes of the whole store divided by 10,000.
//
//	go test -run '^$' -bench LiveAuthorization -benchtime 1x ./docs
func BenchmarkLiveAuthorization(b *testing.B) {
	b.Run("memory", memorySize)
	b.Run("SQLite", sqliteSize)
	b.Run("PostgreSQL", postgresSize)
	b.Run("MariaDB", mariaSize)
	b.Run("Redis", redisSize)
	b.Run("customstore", customSize)
}

// populate makes the authorizations and returns the mean length of their Data.
func populate(t testing.TB, store oauth.Storage, n int) int {
	return populateInSteps(t, store, n, n, func() {})
}

// populateInSteps calls between after each step, as the clean-up of a database comes
// now and then while a real one grows.
func populateInSteps(t testing.TB, store oauth.Storage, n, step int, between func()) int {
	secret := oauth.NewSecret()
	for from := 0; from < n; from += step {
		populateRange(t, store, secret, from, min(from+step, n))
		between()
	}
	size, found := 0, 0
	for r, err := range store.List(context.Background(), oauth.Filter{Kind: oauth.KindAuthorization}) {
		require.NoError(t, err)
		size += len(r.Data)
		found++
	}
	require.Equal(t, n, found)
	return size / n
}

func populateRange(t testing.TB, store oauth.Storage, secret []byte, from, to int) {
	var all sync.WaitGroup
	for w := range liveWorkers {
		all.Go(func() { // a server of its own, as a process has
			srv := oauthtest.NewServer(t, func(c *oauth.Config) {
				live := realistic(*c)
				live.Storage, live.Secrets = store, [][]byte{secret}
				*c = live
			})
			for i := from + w; i < to; i += liveWorkers {
				liveAuthorization(t, srv, i)
			}
		})
	}
	all.Wait()
}

// realistic has a client and scopes of the lengths that they usually have.
func realistic(c oauth.Config) oauth.Config {
	scopes := []string{"profile", "notes:read", "notes:write"}
	c.Clients = oauth.StaticClients(oauth.Client{ID: "notes-web", Public: true,
		RedirectURIs: []string{"https://notes.example.com/oauth/callback"}, Scopes: scopes})
	c.Scopes = nil
	for _, s := range scopes {
		c.Scopes = append(c.Scopes, oauth.Scope{Name: s, Description: s})
	}
	return c
}

// liveAuthorization is approved by a user whose subject is a UUID, redeemed, and
// refreshed three times.
func liveAuthorization(t testing.TB, srv *oauthtest.Server, i int) {
	srv.Approve(fmt.Sprintf("%08x-5e5a-4d0c-9b1f-%012x", uint32(i)*2654435761, i))
	const redirect = "https://notes.example.com/oauth/callback"
	a, code := srv.Authorize("notes-web", url.Values{"redirect_uri": {redirect}, "scope": {"profile notes:read notes:write"}})
	code.RedirectURI = redirect
	if code.Code == "" {
		t.Errorf("no code: %d %s", a.Status, a.Body)
		return
	}
	a = srv.Token(code.Client, code.Form())
	for range liveRefreshes {
		if a.Status != http.StatusOK {
			t.Errorf("%d %s", a.Status, a.Body)
			return
		}
		a = srv.Refresh(code.Client, a.String("refresh_token"))
	}
}

func report(b *testing.B, total int64, data int) {
	perRow(b, "bytes/authorization", total)
	b.ReportMetric(float64(data), "bytes-of-Data")
	b.ReportMetric(0, "ns/op")
}

func perRow(b *testing.B, unit string, total int64) {
	b.ReportMetric(float64(total)/livePopulation, unit)
}

func memorySize(b *testing.B) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, store := heap(), memstore.New()
	data := populate(b, store, livePopulation)
	report(b, heap()-before, data)
	runtime.KeepAlive(store)
}

func sqliteSize(b *testing.B) {
	path := filepath.Join(b.TempDir(), "oauth.db")
	store, err := sqlite.Open(path)
	require.NoError(b, err)
	data := populate(b, store, livePopulation)
	require.NoError(b, store.Close()) // which moves the -wal into the file
	report(b, fileSize(b, path), data)
}

func fileSize(b *testing.B, path string) int64 {
	info, err := os.Stat(path)
	require.NoError(b, err)
	return info.Size()
}

func postgresSize(b *testing.B) {
	server, err := servertest.PostgreSQL("fsync=off")
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, server.Remove()) })
	store, db := openSQL(b, server, sqlstore.PostgreSQL, "")
	data := populateInSteps(b, store, livePopulation, livePopulation/20, func() { // as autovacuum does
		_, err := db.Exec("VACUUM oauth_record")
		require.NoError(b, err)
	})
	report(b, ask(b, db, "SELECT pg_total_relation_size('oauth_record')"), data)
	perRow(b, "bytes-of-table", ask(b, db, "SELECT pg_relation_size('oauth_record')"))
	_, err = db.Exec("VACUUM FULL oauth_record")
	require.NoError(b, err)
	perRow(b, "bytes-compact", ask(b, db, "SELECT pg_total_relation_size('oauth_record')"))
}

func mariaSize(b *testing.B) {
	server, err := servertest.MariaDB("innodb_flush_log_at_trx_commit=0")
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, server.Remove()) })
	store, db := openSQL(b, server, sqlstore.MySQL, "docs")
	data := populate(b, store, livePopulation)
	_, err = db.Exec("ANALYZE TABLE oauth_record")
	require.NoError(b, err)
	const where = " FROM information_schema.tables WHERE table_schema = 'docs' AND table_name = 'oauth_record'"
	report(b, ask(b, db, "SELECT data_length + index_length"+where), data)
	perRow(b, "bytes-of-table", ask(b, db, "SELECT data_length"+where))
}

// openSQL opens a database that it makes, or for a name of "" the administrator's.
func openSQL(t testing.TB, server *servertest.Server, d sqlstore.Dialect, name string) (*sqlstore.Store, *sql.DB) {
	if name != "" {
		admin, err := sql.Open(server.Driver(), server.DSN(""))
		require.NoError(t, err)
		_, err = admin.Exec("CREATE SCHEMA " + name)
		require.NoError(t, err)
		require.NoError(t, admin.Close())
	}
	db, err := sql.Open(server.Driver(), server.DSN(name))
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(2 * liveWorkers)
	db.SetMaxIdleConns(2 * liveWorkers)
	store, err := sqlstore.Open(db, d)
	require.NoError(t, err)
	require.NoError(t, store.Migrate(context.Background()))
	return store, db
}

func ask(t testing.TB, db *sql.DB, query string) (n int64) {
	require.NoError(t, db.QueryRow(query).Scan(&n))
	return n
}

func redisSize(b *testing.B) {
	server, err := servertest.Redis()
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, server.Remove()) })
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	b.Cleanup(func() { _ = client.Close() })
	store, err := redisstore.Open(b.Context(), client, redisstore.Config{})
	require.NoError(b, err)
	before := usedMemory(b, client)
	data := populate(b, store, livePopulation)
	report(b, usedMemory(b, client)-before, data)
	var records int64
	keys := client.Scan(b.Context(), 0, "oauth:r:*", 1000).Iterator()
	for keys.Next(b.Context()) {
		n, err := client.MemoryUsage(b.Context(), keys.Val()).Result()
		require.NoError(b, err)
		records += n
	}
	require.NoError(b, keys.Err())
	perRow(b, "bytes-of-record", records)
}

func usedMemory(b *testing.B, client *redis.Client) int64 {
	info, err := client.Info(b.Context(), "memory").Result()
	require.NoError(b, err)
	_, rest, _ := strings.Cut(info, "used_memory:")
	text, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(b, err)
	return n
}

func customSize(b *testing.B) {
	path := filepath.Join(b.TempDir(), "oauth.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
	require.NoError(b, err)
	store, err := customstore.New(db)
	require.NoError(b, err)
	data := populate(b, store, livePopulation)
	require.NoError(b, db.View(func(tx *bbolt.Tx) error {
		stats := tx.Bucket([]byte("oauth")).Stats() // the file is larger: bbolt never shrinks it
		report(b, int64(stats.LeafAlloc+stats.BranchAlloc), data)
		return nil
	}))
	require.NoError(b, db.Close())
}
