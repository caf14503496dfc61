package sqlstore_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"flag"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/floor"
	"github.com/grantwell/oauth/internal/servertest"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/sqlstore"
	"github.com/grantwell/oauth/sqlstore/sqlite"
)

// Unlike the tests, the benchmarks run on servers that write to disk.

// filled is how many other authorizations there are.
var filled = flag.Int("fill", 0, "benchmarks: authorizations in the store beside those that are refreshed")

// spread is how many authorizations each worker refreshes in turn.
const spread = 50

type benchEngine struct {
	engine
	open func(b *testing.B) (*sqlstore.Store, *sql.DB)
}

func benchEngines(b *testing.B) []benchEngine {
	server := func(name string, d sqlstore.Dialect, start func(...string) (*servertest.Server, error)) benchEngine {
		run := sync.OnceValues(func() (*servertest.Server, error) {
			var settings []string
			if d == sqlstore.MySQL && *filled > 0 { // a million rows are not for a server that has 128 MB
				settings = []string{"innodb_buffer_pool_size=2G", "innodb_log_file_size=1G"}
			}
			s, err := start(settings...)
			if err == nil {
				b.Cleanup(func() { require.NoError(b, s.Remove()) })
			}
			return s, err
		})
		e := engine{name, d, run}
		return benchEngine{e, func(b *testing.B) (*sqlstore.Store, *sql.DB) {
			store, db := e.openAt(b, e.place(b))
			db.SetMaxOpenConns(32)
			db.SetMaxIdleConns(32)
			return store, db
		}}
	}
	return []benchEngine{
		{engine{"SQLite", sqlstore.SQLite, nil}, openFile},
		server("PostgreSQL", sqlstore.PostgreSQL, servertest.PostgreSQL),
		server("MariaDB", sqlstore.MySQL, servertest.MariaDB),
	}
}

// openFile opens a file as sqlite.Open does, and with a second pool, for the floor.
func openFile(b *testing.B) (*sqlstore.Store, *sql.DB) {
	path := filepath.Join(b.TempDir(), "oauth.db")
	s, err := sqlite.Open(path)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	db := connect(b, place{"sqlite", "file:" + path + "?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)"})
	return s.Store, db
}

// BenchmarkRefresh runs refreshes through the whole server, without sockets, and in turns with them their floor: the same SELECT and conditional
// UPDATE of a record of that size, prepared, through the same driver, without the
// library; and Get and Update of the store alone. It reports each per second and
// divided by the floor.
func BenchmarkRefresh(b *testing.B) {
	for _, e := range benchEngines(b) {
		for _, workers := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s/%d workers", e.name, workers), func(b *testing.B) {
				store, db := e.open(b)
				srv := oauthtest.NewServer(b, func(c *oauth.Config) { c.Storage = store })
				refresh := refreshes(b, srv, store, workers) // first, for the floor copies what it made
				fillUp(b, e.dialect, db)
				record := first(b, store)
				for i := range workers {
					for j := range spread {
						record.ID = floorID(i, j)
						require.NoError(b, store.Create(b.Context(), record))
					}
				}
				change := func(data []byte, version, expires int64) ([]byte, int64) {
					return floor.Changed(data, version), expires
				}
				floor.Measure(b, b.N, workers,
					floor.Contestant{Name: "floor", Do: floors(b, e.dialect, db, turns(workers), change)},
					floor.Contestant{Name: "store", Do: stores(b, store, workers)},
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
	for _, e := range benchEngines(b) {
		for _, workers := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s/%d workers", e.name, workers), func(b *testing.B) {
				store, db := e.open(b)
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
					before.ID = floorID(0, i)
					require.NoError(b, store.Create(b.Context(), before))
				}
				callers := floor.Callers(plain(b, srv, store), workers)
				var redeemed, floored atomic.Int64
				change := func(_ []byte, version, _ int64) ([]byte, int64) {
					return floor.Changed(after.Data, version), after.ExpiresAt.UnixMilli()
				}
				floor.Measure(b, b.N, workers,
					floor.Contestant{Name: "floor", Do: floors(b, e.dialect, db, func(int) string { return floorID(0, int(floored.Add(1)-1)) }, change)},
					floor.Contestant{Name: "code", Do: func(i int) error {
						_, err := callers[i].Token(forms[redeemed.Add(1)-1])
						return err
					}},
				)
			})
		}
	}
}

// fillUp adds copies of an authorization, all over the range of IDs.
func fillUp(b *testing.B, d sqlstore.Dialect, db *sql.DB) {
	if *filled == 0 || b.N == 1 { // the first run of a benchmark is a trial
		return
	}
	numbers := map[sqlstore.Dialect]string{
		sqlstore.SQLite:     "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n)",
		sqlstore.PostgreSQL: "generate_series(1, %d) AS n(i)",
		sqlstore.MySQL:      "(SELECT seq AS i FROM seq_1_to_%d) AS n",
	}[d]
	id := map[sqlstore.Dialect]string{
		sqlstore.SQLite:     "'a_' || substr(hex(randomblob(16)), 1, 20) || i",
		sqlstore.PostgreSQL: "'a_' || substr(md5(i::text), 1, 20) || i",
		sqlstore.MySQL:      "concat('a_', substr(md5(i), 1, 20), i)",
	}[d]
	_, err := db.ExecContext(b.Context(), "INSERT INTO oauth_record (id, realm, kind, client_id, subject, created_at, expires_at, version, data) SELECT "+id+
		", o.realm, o.kind, o.client_id, o.subject, o.created_at, o.expires_at, o.version, o.data FROM (SELECT * FROM oauth_record LIMIT 1) AS o, "+
		fmt.Sprintf(numbers, *filled))
	require.NoError(b, err)
	// What the database would do in the background about so many new rows, it does now.
	after := map[sqlstore.Dialect][]string{sqlstore.SQLite: {"ANALYZE"}, sqlstore.PostgreSQL: {"VACUUM ANALYZE oauth_record", "CHECKPOINT"}}
	for _, statement := range after[d] {
		_, err = db.ExecContext(b.Context(), statement)
		require.NoError(b, err)
	}
}

// refreshes returns what a worker does: it refreshes authorizations of its own.
func refreshes(b *testing.B, srv *oauthtest.Server, store oauth.Storage, workers int) func(worker int) error {
	tokens := make([][spread]string, workers)
	next := make([]int, workers)
	for i := range tokens {
		for j := range tokens[i] {
			tokens[i][j] = srv.Redeem(srv.Code(oauthtest.SPAClient)).String("refresh_token")
		}
	}
	callers := floor.Callers(plain(b, srv, store), workers)
	return func(i int) error {
		next[i] = (next[i] + 1) % spread
		token := &tokens[i][next[i]]
		var err error
		*token, err = callers[i].Token("grant_type=refresh_token&client_id=" + oauthtest.SPAClient + "&refresh_token=" + *token)
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

// turns returns the IDs of a worker's records, one after the other.
func turns(workers int) func(worker int) string {
	next := make([]int, workers)
	return func(i int) string {
		next[i] = (next[i] + 1) % spread
		return floorID(i, next[i])
	}
}

// floorID is spread over the range of IDs, as random ones are.
func floorID(worker, i int) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(worker, i)))
	return "a_" + hex.EncodeToString(sum[:10])
}

// stores returns the Get and the Update of a refresh, through the store.
func stores(b *testing.B, store *sqlstore.Store, workers int) func(worker int) error {
	id := turns(workers)
	return func(i int) error {
		r, err := store.Get(b.Context(), id(i))
		if err != nil {
			return err
		}
		r.Data = floor.Changed(r.Data, r.Version)
		return store.Update(b.Context(), r)
	}
}

// first is a record that the server made.
func first(b *testing.B, store *sqlstore.Store) oauth.Record {
	for r, err := range store.List(b.Context(), oauth.Filter{}) {
		require.NoError(b, err)
		return r
	}
	panic("there is none")
}

// floors returns what any request must do at least: read a record of these, and
// write the Data and the expiry that change makes of what it read.
func floors(b *testing.B, d sqlstore.Dialect, db *sql.DB, id func(worker int) string, change func(data []byte, version, expires int64) ([]byte, int64)) func(worker int) error {
	read := "SELECT id, realm, kind, client_id, subject, created_at, expires_at, version, data FROM oauth_record WHERE id = ?"
	write := "UPDATE oauth_record SET subject = ?, expires_at = ?, version = version + 1, data = ? WHERE id = ? AND version = ?"
	if d == sqlstore.PostgreSQL {
		read = strings.Replace(read, "?", "$1", 1)
		for i := 1; i <= 5; i++ {
			write = strings.Replace(write, "?", fmt.Sprintf("$%d", i), 1)
		}
	}
	get, err := db.PrepareContext(b.Context(), read)
	require.NoError(b, err)
	update, err := db.PrepareContext(b.Context(), write)
	require.NoError(b, err)
	return func(i int) error {
		var found, realm, kind, client, subject string
		var data []byte
		var created, expires, version int64
		err := get.QueryRowContext(b.Context(), id(i)).
			Scan(&found, &realm, &kind, &client, &subject, &created, &expires, &version, &data)
		if err != nil {
			return err
		}
		data, expires = change(data, version, expires)
		_, err = update.ExecContext(b.Context(), subject, expires, string(data), found, version)
		return err
	}
}
