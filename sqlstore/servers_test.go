package sqlstore_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/servertest"
	"github.com/grantwell/oauth/sqlstore"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// An engine is a database that the tests run on. Its servers start when a test
// first needs them, and TestMain stops them.
type engine struct {
	name    string
	dialect sqlstore.Dialect
	server  func() (*servertest.Server, error) // nil: SQLite
}

// The contract needs no disk that keeps its word, and is faster without.
var (
	startPostgreSQL = sync.OnceValues(func() (*servertest.Server, error) {
		return servertest.PostgreSQL("fsync=off", "full_page_writes=off")
	})
	startMariaDB = sync.OnceValues(func() (*servertest.Server, error) {
		return servertest.MariaDB("innodb_flush_log_at_trx_commit=0")
	})
	started atomic.Int64 // bits of what was started
	names   atomic.Int64
)

func engines() []engine {
	return []engine{
		{"SQLite", sqlstore.SQLite, nil},
		{"PostgreSQL", sqlstore.PostgreSQL, func() (*servertest.Server, error) { started.Or(1); return startPostgreSQL() }},
		{"MariaDB", sqlstore.MySQL, func() (*servertest.Server, error) { started.Or(2); return startMariaDB() }},
	}
}

func TestMain(m *testing.M) {
	_ = mysql.SetLogger(&mysql.NopLogger{}) // it logs every connection that a stopped server breaks
	code := m.Run()
	for bit, start := range map[int64]func() (*servertest.Server, error){1: startPostgreSQL, 2: startMariaDB} {
		if started.Load()&bit == 0 {
			continue
		}
		if s, err := start(); err == nil {
			if err := s.Remove(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// eachEngine runs a test on every engine.
func eachEngine(t *testing.T, f func(t *testing.T, e engine)) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) { f(t, e) })
	}
}

// A place is an empty database, or schema, that many may connect to.
type place struct{ driver, dsn string }

// place makes an empty one for a test or benchmark.
func (e engine) place(t testing.TB) place {
	t.Helper()
	if e.server == nil {
		path := filepath.Join(t.TempDir(), "oauth.db")
		return place{"sqlite", "file:" + path + "?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"}
	}
	s, err := e.server()
	require.NoError(t, err)
	name := fmt.Sprintf("t%d", names.Add(1))
	admin := connect(t, place{s.Driver(), s.DSN("")})
	_, err = admin.ExecContext(t.Context(), "CREATE SCHEMA "+name) // MariaDB: a database
	require.NoError(t, err)
	require.NoError(t, admin.Close())
	return place{s.Driver(), s.DSN(name)}
}

// connect opens a pool that ends with the test.
func connect(t testing.TB, p place) *sql.DB {
	t.Helper()
	db, err := sql.Open(p.driver, p.dsn)
	require.NoError(t, err)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	if p.driver == "sqlite" {
		db.SetMaxOpenConns(1)
	}
	t.Cleanup(func() { _ = db.Close() }) // its server may be gone
	return db
}

// open makes a store on an empty database.
func (e engine) open(t testing.TB) *sqlstore.Store {
	t.Helper()
	s, _ := e.openAt(t, e.place(t))
	return s
}

func (e engine) openAt(t testing.TB, p place) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db := connect(t, p)
	s, err := sqlstore.Open(db, e.dialect)
	require.NoError(t, err)
	require.NoError(t, s.Migrate(t.Context()))
	return s, db
}
