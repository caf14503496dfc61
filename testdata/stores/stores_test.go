package oauth_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/servertest"
	"github.com/grantwell/oauth/redisstore"
	"github.com/grantwell/oauth/sqlstore"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// This file lets the tests of package oauth run on the stores that are shipped. They
// are modules of their own, which depend on this one, so the file is not among the
// package's: .ci/stores lays it over them.

var storeName = flag.String("store", "", "SQLite, PostgreSQL, MariaDB or Redis")

// A place is a store that nobody else uses; it is used again and again, for to make
// one takes long.
type place interface {
	oauth.Storage
	empty(ctx context.Context) error
	Close() error
}

// An engine keeps places.
type engine struct {
	server *servertest.Server // nil: SQLite
	dir    string             // of files
	make   func(e *engine, n int) (place, error)

	mu   sync.Mutex
	all  []place
	free []place
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := onStore(m, *storeName)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func onStore(m *testing.M, name string) (code int, err error) {
	e := new(engine)
	// None of the tests stops the power, so none of the stores needs the disk.
	switch name {
	case "SQLite":
		e.make = sqliteFile
	case "PostgreSQL":
		e.make = schema
		e.server, err = servertest.PostgreSQL("fsync=off", "full_page_writes=off", "synchronous_commit=off")
	case "MariaDB":
		e.make = schema
		e.server, err = servertest.MariaDB("innodb_flush_log_at_trx_commit=0", "innodb_doublewrite=0")
	case "Redis":
		e.make = redisDatabase
		e.server, err = servertest.Redis("databases 256")
		storeExpires = true
	default:
		err = fmt.Errorf("-store=%q is none of SQLite, PostgreSQL, MariaDB and Redis", name)
	}
	if err == nil {
		e.dir, err = os.MkdirTemp("", "stores")
	}
	if err != nil {
		return 1, err
	}
	openStorage, faultRounds = e.open, 50
	skip := "^(TestHouse.*|Example.*|" + strings.Join(slices.Collect(maps.Keys(onMemory)), "|") + ")$"
	if err = flag.Set("test.skip", skip); err == nil {
		code = m.Run()
	}
	for _, p := range e.all {
		err = errors.Join(err, p.Close())
	}
	if len(e.all) == 0 {
		err = errors.Join(err, errors.New("no test has opened a store"))
	}
	if e.server != nil {
		err = errors.Join(err, e.server.Remove())
	}
	return code, errors.Join(err, os.RemoveAll(e.dir))
}

// open gives a test a place, and takes it back when the test is over.
func (e *engine) open(t testing.TB, now func() time.Time) oauth.Storage {
	t.Helper()
	p, err := e.take()
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, p.empty(context.Background()))
		e.mu.Lock()
		defer e.mu.Unlock()
		e.free = append(e.free, p)
	})
	if r, is := p.(redisPlace); is && now != nil {
		return newShifted(r, now)
	}
	return stored{p}
}

func (e *engine) take() (place, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.free); n > 0 {
		p := e.free[n-1]
		e.free = e.free[:n-1]
		return p, nil
	}
	p, err := e.make(e, len(e.all))
	if err == nil {
		e.all = append(e.all, p)
	}
	return p, err
}

// stored is a place as the tests see it.
type stored struct{ place }

func (s stored) Empty(t testing.TB) { require.NoError(t, s.empty(t.Context())) }

type sqlPlace struct {
	*sqlstore.Store
	db *sql.DB
}

func (p sqlPlace) Close() error { return p.db.Close() }

func (p sqlPlace) empty(ctx context.Context) error {
	_, err := p.db.ExecContext(ctx, "DELETE FROM oauth_record")
	return err
}

func sqliteFile(e *engine, n int) (place, error) {
	path := filepath.Join(e.dir, fmt.Sprintf("%d.db", n))
	return newSQLPlace(sqlstore.SQLite, "sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
}

func schema(e *engine, n int) (place, error) {
	admin, err := sql.Open(e.server.Driver(), e.server.DSN(""))
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	name := fmt.Sprintf("t%d", n)
	if _, err := admin.Exec("CREATE SCHEMA " + name); err != nil { // MariaDB: a database
		return nil, err
	}
	dialect := sqlstore.PostgreSQL
	if e.server.Driver() == "mysql" {
		dialect = sqlstore.MySQL
	}
	return newSQLPlace(dialect, e.server.Driver(), e.server.DSN(name))
}

func newSQLPlace(d sqlstore.Dialect, driver, dsn string) (place, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	s, err := sqlstore.Open(db, d)
	if err == nil {
		err = s.Migrate(context.Background())
	}
	return sqlPlace{s, db}, err
}

type redisPlace struct {
	*redisstore.Store
	client *redis.Client
}

func (p redisPlace) Close() error { return p.client.Close() }

func (p redisPlace) empty(ctx context.Context) error { return p.client.FlushDB(ctx).Err() }

func redisDatabase(e *engine, n int) (place, error) {
	client := redis.NewClient(&redis.Options{Addr: e.server.Addr, DB: n})
	s, err := redisstore.Open(context.Background(), client, redisstore.Config{Prefix: prefix})
	return redisPlace{s, client}, err
}

const (
	prefix = "t:"
	slack  = 5 * time.Minute // how long after its end Redis drops a record
)

// A shifted store is one in Redis for a server whose clock is that of a test, which
// stands in 2030 and steps, while Redis drops records by its own. So what is stored
// is shifted to where the clock of Redis is when the test begins; and when the test's
// clock steps by an hour, every record there is dropped an hour earlier.
type shifted struct {
	stored
	client *redis.Client
	now    func() time.Time
	start  time.Time     // by the test's clock
	shift  time.Duration // whole milliseconds, as a store keeps them

	mu      sync.Mutex
	stepped time.Duration // what the test's clock has stepped and the records have followed
}

func newShifted(p redisPlace, now func() time.Time) *shifted {
	start := now()
	return &shifted{stored: stored{p}, client: p.client, now: now, start: start, shift: time.Until(start).Truncate(time.Millisecond)}
}

// there is a time of the test as Redis gets it, and here the way back.
func (s *shifted) there(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-s.shift)
}

func (s *shifted) here(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(s.shift)
}

var (
	// follow lets every record end earlier. ARGV milliseconds.
	follow = redis.NewScript(`
for _, key in ipairs(redis.call('KEYS', '` + prefix + `r:*')) do
	local time = redis.call('PEXPIRETIME', key)
	if time > 0 then redis.call('PEXPIREAT', key, time - ARGV[1]) end
end`)

	// end lets a record of one version end. KEYS record; ARGV version, milliseconds.
	end = redis.NewScript(`
local head = '1 ' .. ARGV[1] .. ' '
if string.sub(redis.call('GET', KEYS[1]) or '', 1, #head) == head then redis.call('PEXPIREAT', KEYS[1], ARGV[2]) end`)
)

// step lets the records follow the test's clock, and says how far it has stepped.
func (s *shifted) step(ctx context.Context) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.now().Sub(s.start)
	if all == s.stepped {
		return all, nil
	}
	if err := follow.Run(ctx, s.client, []string{}, (all - s.stepped).Milliseconds()).Err(); err != nil && !errors.Is(err, redis.Nil) {
		return 0, err
	}
	s.stepped = all
	return all, nil
}

// write stores a record, which then is of that version.
func (s *shifted) write(ctx context.Context, r oauth.Record, version int64, do func(context.Context, oauth.Record) error) error {
	stepped, err := s.step(ctx)
	if err != nil {
		return err
	}
	r.CreatedAt, r.ExpiresAt = s.there(r.CreatedAt), s.there(r.ExpiresAt)
	if err := do(ctx, r); err != nil || stepped == 0 || r.ExpiresAt.IsZero() {
		return err
	}
	err = end.Run(ctx, s.client, []string{prefix + "r:" + r.ID}, version, r.ExpiresAt.Add(slack-stepped).UnixMilli()).Err()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

func (s *shifted) Create(ctx context.Context, r oauth.Record) error {
	return s.write(ctx, r, 1, s.stored.Create)
}

func (s *shifted) Update(ctx context.Context, r oauth.Record) error {
	return s.write(ctx, r, r.Version+1, s.stored.Update)
}

func (s *shifted) Get(ctx context.Context, id string) (oauth.Record, error) {
	if _, err := s.step(ctx); err != nil {
		return oauth.Record{}, err
	}
	r, err := s.stored.Get(ctx, id)
	r.CreatedAt, r.ExpiresAt = s.here(r.CreatedAt), s.here(r.ExpiresAt)
	return r, err
}

func (s *shifted) List(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	return func(yield func(oauth.Record, error) bool) {
		if _, err := s.step(ctx); err != nil {
			yield(oauth.Record{}, err)
			return
		}
		for r, err := range s.stored.List(ctx, f) {
			r.CreatedAt, r.ExpiresAt = s.here(r.CreatedAt), s.here(r.ExpiresAt)
			if !yield(r, err) {
				return
			}
		}
	}
}

func (s *shifted) DeleteExpired(ctx context.Context, before time.Time, limit int) (int, error) {
	if _, err := s.step(ctx); err != nil {
		return 0, err
	}
	return s.stored.DeleteExpired(ctx, s.there(before), limit)
}
