package sqlstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/grantwell/oauth"
)

// schemaVersion is the number of the last file of each dialect.
const schemaVersion = 1

//go:embed schema
var schemaFiles embed.FS

// A migration is one numbered file of a dialect. Its last statement writes its
// number into oauth_schema.
func (d Dialect) migration(version int) string {
	name := fmt.Sprintf("schema/%s/%03d_oauth_record.sql", strings.ToLower(d.String()), version)
	text, err := schemaFiles.ReadFile(name)
	if err != nil {
		panic("sqlstore: " + err.Error()) // the files are compiled in, and a test reads them all
	}
	return string(text)
}

// Schema is the DDL of the dialect, for a host that keeps its own migrations: all
// files of this package's folder schema, which a migration tool can also run as
// they are (goose knows their first line). It is "" for an unknown dialect.
func Schema(d Dialect) string {
	if !d.known() {
		return ""
	}
	var b strings.Builder
	for v := 1; v <= schemaVersion; v++ {
		b.WriteString(d.migration(v))
	}
	return b.String()
}

// Migrate creates the tables or brings them to the version of this release, and
// does nothing if they are there already. Any number of processes may call it at
// once: one works, the others wait for it. It is done as a whole or not at all,
// except on MySQL, which commits each statement: there a Migrate that was cut off
// is finished by the next. The account must be allowed to create tables; a host
// whose account is not runs [Schema] with its own migrations. A schema newer than
// this release is an error and is left alone. At last it does a [Store.Check].
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.firstPing(ctx); err != nil {
		return fmt.Errorf("sqlstore: migrate: %w", err)
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("sqlstore: migrate: %w", err)
	}
	err = s.migrate(ctx, conn)
	if err != nil {
		// Whatever it holds, a transaction or a lock, ends with the connection.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	if closeErr := conn.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("sqlstore: migrate: %w", err)
	}
	return s.Check(ctx)
}

func (s *Store) migrate(ctx context.Context, conn *sql.Conn) error {
	version, err := s.version(ctx, conn)
	if err != nil || version == schemaVersion {
		return err // without a lock: also for an account that may not create tables
	}
	return s.patiently(ctx, conn, func() error { return s.migrateAlone(ctx, conn) })
}

// migrateAlone keeps other migrations out.
func (s *Store) migrateAlone(ctx context.Context, conn *sql.Conn) error {
	begin, commit := s.dialect.lock()
	if err := run(ctx, conn, begin); err != nil {
		return err
	}
	version, err := s.version(ctx, conn)
	if err != nil {
		return err
	}
	if version > schemaVersion {
		return newer(version)
	}
	for v := version + 1; v <= schemaVersion; v++ {
		if err := run(ctx, conn, statements(s.dialect.migration(v))); err != nil {
			return err
		}
	}
	return run(ctx, conn, commit)
}

// patiently runs do while SQLite waits 10 s for other processes on this connection,
// whatever the host has set.
func (s *Store) patiently(ctx context.Context, conn *sql.Conn, do func() error) error {
	if s.dialect != SQLite {
		return do()
	}
	var timeout int // the host's
	if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&timeout); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 10000"); err != nil {
		return err
	}
	err := do()
	// Also when ctx is done: Check gives the connection back to the pool.
	_, restored := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA busy_timeout = "+strconv.Itoa(timeout))
	return cmp.Or(err, restored)
}

// lock returns the statements that keep other migrations out, and those that end
// it, for one connection.
func (d Dialect) lock() (begin, commit []string) {
	switch d {
	case SQLite:
		return []string{"BEGIN IMMEDIATE"}, []string{"COMMIT"}
	case PostgreSQL:
		// READ COMMITTED: what is read after the lock is what the one before wrote.
		// The lock goes with the transaction, so PgBouncer is no obstacle.
		return []string{"BEGIN ISOLATION LEVEL READ COMMITTED", "SELECT pg_advisory_xact_lock(" + lockKey + ")"}, []string{"COMMIT"}
	}
	name := "LEFT(CONCAT('oauth_schema.', DATABASE()), 64)" // locks are the server's, not the database's
	return []string{"SELECT GET_LOCK(" + name + ", 60)"}, []string{"SELECT RELEASE_LOCK(" + name + ")"}
}

// lockKey is the first 8 bytes of SHA-256("github.com/grantwell/oauth/sqlstore").
const lockKey = "2448762952205009407"

// run executes statements in order.
func run(ctx context.Context, conn *sql.Conn, all []string) error {
	for _, statement := range all {
		if err := run1(ctx, conn, statement); err != nil {
			return fmt.Errorf("%w (Migrate needs the primary, writable, and an account that may create tables; if tables oauth_record "+
				"or oauth_schema are there already that are not this package's, give it a schema or database of its own)", err)
		}
	}
	return nil
}

func run1(ctx context.Context, conn *sql.Conn, statement string) error {
	if !strings.Contains(statement, "_LOCK(") {
		_, err := conn.ExecContext(ctx, statement)
		return err
	}
	var got sql.NullInt64 // MySQL's 1: done; 0: not in time; NULL: an error
	if err := conn.QueryRowContext(ctx, statement).Scan(&got); err != nil {
		return err
	}
	if got.Int64 != 1 {
		return errors.New("no lock after 60 s: another process is migrating, or the DSN names no database")
	}
	return nil
}

// statements splits a file of this package: each ends with a semicolon at the end
// of a line, and a comment has none there.
func statements(text string) []string {
	all := strings.SplitAfter(text, ";\n")
	return all[:len(all)-1] // nothing stands behind the last
}

func newer(version int) error {
	return fmt.Errorf("the schema in the database has version %d and this release knows none after %d: "+
		"a newer release migrated it; upgrade this program", version, schemaVersion)
}

// Check asks everything that a host should know before it serves: does the
// database answer, has its schema the version of this release, may the account
// read and write (on a standby or a read-only file it may not), does the table keep
// records as it must, is the clock of the database server within an hour of this
// machine's, can the encoding hold all text. The error says what is wrong and what to
// do. What it writes to find out, records of 64 KB, is rolled back: it is for the start
// of a program, not for a health check every few seconds.
func (s *Store) Check(ctx context.Context) error {
	err := s.ping(ctx)
	if err == nil {
		err = s.checkSchema(ctx)
	}
	if err == nil {
		err = s.checkWritable(ctx)
	}
	if err == nil {
		err = s.checkServer(ctx)
	}
	if err == nil {
		err = s.checkTable(ctx)
	}
	if err != nil {
		return fmt.Errorf("sqlstore: check: %w", err)
	}
	return nil
}

func (s *Store) ping(ctx context.Context) error {
	err := s.db.PingContext(ctx)
	switch {
	case err == nil:
		return nil
	case s.dialect == SQLite:
		return fmt.Errorf("the file cannot be opened; it must be a database of SQLite, and this account must be allowed to write to it "+
			"and to its directory, where SQLite makes two files more: %w", err)
	}
	return fmt.Errorf("the database does not answer; look at its address, account and whether it runs: %w", err)
}

// firstPing waits for others who make a new SQLite file: its journal_mode becomes
// WAL as connections open, and for that SQLite does not heed busy_timeout.
func (s *Store) firstPing(ctx context.Context) error {
	wait := time.NewTicker(20 * time.Millisecond)
	defer wait.Stop()
	for range 500 {
		err := s.ping(ctx)
		if err == nil || s.dialect != SQLite || !strings.Contains(err.Error(), "database is locked") {
			return err
		}
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.ping(ctx)
}

func (s *Store) checkSchema(ctx context.Context) error {
	version, err := s.version(ctx, s.db)
	switch {
	case err != nil:
		return err
	case version == 0:
		return errors.New("the database has no table oauth_schema, or an empty one: call Migrate, or run Schema with the host's own migrations")
	case version < schemaVersion:
		return fmt.Errorf("the schema in the database has version %d and this release needs %d: call Migrate, or run the newer files of Schema", version, schemaVersion)
	case version > schemaVersion:
		return newer(version)
	}
	return nil
}

// version returns the version of the schema; 0 if there is none.
func (s *Store) version(ctx context.Context, on interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
},
) (int, error) {
	there := map[Dialect]string{
		SQLite: "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'oauth_schema'",
		// Not to_regclass: in a transaction it may answer out of a cache that is older than the lock.
		PostgreSQL: "SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'oauth_schema' AND pg_table_is_visible(oid)",
		MySQL:      "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'oauth_schema'",
	}[s.dialect]
	var tables, version int
	err := on.QueryRowContext(ctx, there).Scan(&tables)
	if err == nil && tables > 0 {
		err = on.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM oauth_schema").Scan(&version)
	}
	if err != nil {
		return 0, fmt.Errorf("the version of the schema cannot be read; is this a database of the dialect %v, may the account read oauth_schema, "+
			"and is that table this package's? If not, give the store a schema or database of its own: %w", s.dialect, err)
	}
	return version, nil
}

// checkWritable runs every kind of statement on no row at all: a database refuses
// what it would refuse of a row.
func (s *Store) checkWritable(ctx context.Context) error {
	nothing := []string{
		"SELECT " + columns + " FROM oauth_record WHERE id = ''",
		"INSERT INTO oauth_record (" + columns + ") SELECT " + columns + " FROM oauth_record WHERE id = ''",
		"UPDATE oauth_record SET subject = '', expires_at = NULL, version = version + 1, data = '' WHERE id = ''",
		"DELETE FROM oauth_record WHERE id = ''",
	}
	for _, statement := range nothing {
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			word, _, _ := strings.Cut(statement, " ")
			return fmt.Errorf("%s on oauth_record is refused; give the store the primary, writable, "+
				"and an account with SELECT, INSERT, UPDATE and DELETE on oauth_record, and compare that table with Schema: %w", word, err)
		}
	}
	return nil
}

// checkTable stores records in a transaction that it rolls back. A table without its
// key would accept an ID twice, and one that is otherwise not what Schema makes would
// cut off or fold texts, or refuse in a year what it accepts today.
func (s *Store) checkTable(ctx context.Context) error {
	if s.turn != nil {
		select {
		case s.turn <- struct{}{}:
			defer func() { <-s.turn }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	err = s.patiently(ctx, conn, func() error {
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		return errors.Join(try(ctx, s.In(tx)), tx.Rollback())
	})
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("a record was not stored as it must be: %w; compare the table oauth_record with Schema", err)
	}
	return nil
}

// try stores a record with everything as long as it may be, and one whose ID differs
// from the first one's in case alone.
func try(ctx context.Context, store oauth.Storage) error {
	r := oauth.Record{
		Realm: strings.Repeat("r", maxRealm), ID: "check_" + rand.Text(), Kind: "check", Version: 1,
		ClientID: strings.Repeat("c", maxClientID), Subject: strings.Repeat("ü", maxSubject/2),
		CreatedAt: time.UnixMilli(1<<42 + 1).UTC(), ExpiresAt: time.UnixMilli(1<<43 + 1).UTC(), // 2109 and 2248
		Data: []byte(`{ "a":"` + strings.Repeat("世", 1<<16/3) + `"}`),
	}
	if err := store.Create(ctx, r); err != nil {
		return err
	}
	twin := r
	twin.Realm, twin.Kind = "another", "another"
	if err := store.Create(ctx, twin); !errors.Is(err, oauth.ErrExists) {
		return fmt.Errorf("the same ID a second time: %w", cmp.Or(err, errAccepted))
	}
	other := r
	other.ID, other.ExpiresAt = strings.ToLower(r.ID), time.Time{}
	if err := store.Create(ctx, other); err != nil {
		return fmt.Errorf("an ID in other letters: %w", err)
	}
	changed := r
	changed.Subject, changed.ExpiresAt, changed.Data = "", time.Time{}, nil
	if err := store.Update(ctx, changed); err != nil {
		return err
	}
	changed.Version++
	if err := store.Update(ctx, r); !errors.Is(err, oauth.ErrConflict) {
		return fmt.Errorf("an update of an old version: %w", cmp.Or(err, errAccepted))
	}
	other.Version = 1
	for _, want := range []oauth.Record{changed, other} {
		got, err := store.Get(ctx, want.ID)
		if err == nil && !reflect.DeepEqual(got, want) {
			err = errors.New("what comes back is not what was stored")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errAccepted = errors.New("it was accepted")

// maxClockError is less than what lifetimes are worth, and more than what a
// server whose clock nobody sets goes wrong in months.
const maxClockError = time.Hour

// checkServer looks at what only a database server has: a clock and an encoding
// of its own.
func (s *Store) checkServer(ctx context.Context) error {
	clock := map[Dialect]string{
		PostgreSQL: "SELECT CAST(extract(epoch FROM clock_timestamp()) AS bigint)",
		MySQL:      "SELECT CAST(unix_timestamp() AS SIGNED)",
	}[s.dialect]
	if clock == "" {
		return nil
	}
	var seconds int64
	if err := s.db.QueryRowContext(ctx, clock).Scan(&seconds); err != nil {
		return fmt.Errorf("the database does not tell the time: %w", err)
	}
	here, there := time.Now().UTC(), time.Unix(seconds, 0).UTC()
	if off := here.Sub(there).Abs(); off > maxClockError {
		return fmt.Errorf("the clock of this machine shows %s and that of the database server %s, %v apart: set both (NTP), for lifetimes and DeleteExpired go by them",
			here.Format(time.RFC3339), there.Format(time.RFC3339), off.Round(time.Second))
	}
	encoding, want, remedy := "SHOW server_encoding", "UTF8", "create the database with ENCODING 'UTF8'"
	if s.dialect == MySQL {
		encoding, want, remedy = "SELECT @@character_set_client", "utf8mb4", "set charset=utf8mb4 in the DSN"
	}
	var got string
	if err := s.db.QueryRowContext(ctx, encoding).Scan(&got); err != nil {
		return fmt.Errorf("the database does not tell its encoding: %w", err)
	}
	if got != want {
		return fmt.Errorf("the encoding is %s and cannot hold all text: %s", got, remedy)
	}
	return nil
}
