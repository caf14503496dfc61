package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/sqlstore"
)

func TestOpenRefuses(t *testing.T) {
	_, err := sqlstore.Open(nil, sqlstore.SQLite)
	require.ErrorContains(t, err, "*sql.DB is nil")
	db := connect(t, engines()[0].place(t))
	for _, d := range []sqlstore.Dialect{0, 4, -1} {
		_, err = sqlstore.Open(db, d)
		require.ErrorContains(t, err, "none of SQLite, PostgreSQL and MySQL")
		assert.Empty(t, sqlstore.Schema(d))
	}
	assert.Equal(t, "SQLite PostgreSQL MySQL Dialect(0)", fmt.Sprint(sqlstore.SQLite, sqlstore.PostgreSQL, sqlstore.MySQL, sqlstore.Dialect(0)))
}

// As many processes as start at once: pools of their own.
func TestMigrateAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		for range 3 {
			p := e.place(t)
			stores, errs := make([]*sqlstore.Store, 8), make([]error, 8)
			for i := range stores {
				var err error
				stores[i], err = sqlstore.Open(connect(t, p), e.dialect)
				require.NoError(t, err)
			}
			start := make(chan struct{})
			var all sync.WaitGroup
			for i, s := range stores {
				all.Go(func() {
					<-start
					errs[i] = s.Migrate(t.Context())
				})
			}
			close(start)
			all.Wait()
			for _, err := range errs {
				require.NoError(t, err)
			}
			require.Equal(t, 1, count(t, connect(t, p), "SELECT count(*) FROM oauth_schema"))
			require.NoError(t, stores[0].Create(t.Context(), oauth.Record{ID: "a-1"}))
			for _, s := range stores {
				require.NoError(t, s.Migrate(t.Context()), "again")
				_, err := s.Get(t.Context(), "a-1")
				require.NoError(t, err)
			}
		}
	})
}

func count(t testing.TB, db *sql.DB, query string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&n))
	return n
}

func TestMigrateLeavesSQLiteTimeoutAlone(t *testing.T) {
	p := engines()[0].place(t)
	p.dsn = strings.Replace(p.dsn, "busy_timeout(5000)", "busy_timeout(1234)", 1)
	_, db := engines()[0].openAt(t, p)
	require.Equal(t, 1234, count(t, db, "PRAGMA busy_timeout"))
}

func TestSchemaByTheHost(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		db := connect(t, e.place(t))
		all := sqlstore.MigrationStatements(e.dialect)
		require.Equal(t, sqlstore.Schema(e.dialect), strings.Join(all, ""), "the statements are all of it")
		require.Greater(t, len(all), 3)
		for _, statement := range all {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err, statement)
		}
		s, err := sqlstore.Open(db, e.dialect)
		require.NoError(t, err)
		require.NoError(t, s.Check(t.Context()))
		require.NoError(t, s.Migrate(t.Context()))
	})
}

func TestWrongSchema(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		exec := func(t *testing.T, db *sql.DB, statement string) {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		t.Run("none", func(t *testing.T) {
			s, err := sqlstore.Open(connect(t, e.place(t)), e.dialect)
			require.NoError(t, err)
			require.ErrorContains(t, s.Check(t.Context()), "call Migrate, or run Schema")
		})
		t.Run("newer", func(t *testing.T) {
			s, db := e.openAt(t, e.place(t))
			exec(t, db, "INSERT INTO oauth_schema (version) VALUES (7)")
			for _, err := range []error{s.Check(t.Context()), s.Migrate(t.Context())} {
				require.ErrorContains(t, err, "version 7")
				require.ErrorContains(t, err, "upgrade this program")
			}
			require.Equal(t, 2, count(t, db, "SELECT count(*) FROM oauth_schema"))
		})
		t.Run("a table of the host has the name", func(t *testing.T) {
			db := connect(t, e.place(t))
			exec(t, db, "CREATE TABLE oauth_record (mine INTEGER)")
			s, err := sqlstore.Open(db, e.dialect)
			require.NoError(t, err)
			for range 2 {
				require.ErrorContains(t, s.Migrate(t.Context()), "a schema or database of its own")
				require.Error(t, s.Check(t.Context()))
			}
			if e.dialect != sqlstore.MySQL { // which leaves an empty one behind
				require.Error(t, db.QueryRowContext(t.Context(), "SELECT 1 FROM oauth_schema").Scan(new(int)), "nothing was made")
			}
			// Nothing is half done: once the table is out of the way, it works.
			exec(t, db, "DROP TABLE oauth_record")
			require.NoError(t, s.Migrate(t.Context()))
		})
		t.Run("a table of the host has the other name", func(t *testing.T) {
			db := connect(t, e.place(t))
			exec(t, db, "CREATE TABLE oauth_schema (mine INTEGER)")
			s, err := sqlstore.Open(db, e.dialect)
			require.NoError(t, err)
			for _, err := range []error{s.Migrate(t.Context()), s.Check(t.Context())} {
				require.ErrorContains(t, err, "is that table this package's? If not, give the store a schema or database of its own")
			}
			require.Error(t, db.QueryRowContext(t.Context(), "SELECT 1 FROM oauth_record").Scan(new(int)), "nothing was made")
		})
		t.Run("a column is missing", func(t *testing.T) {
			s, db := e.openAt(t, e.place(t))
			exec(t, db, "ALTER TABLE oauth_record RENAME COLUMN data TO datum")
			require.ErrorContains(t, s.Check(t.Context()), "SELECT on oauth_record is refused")
		})
	})
}

// A table that a host made by hand, nearly as Schema says: each of these would lose or
// refuse something later.
func TestTableOfAnotherShape(t *testing.T) {
	const accepted = "the same ID a second time: it was accepted"
	for _, c := range []struct {
		dialect        sqlstore.Dialect
		name, from, to string
		want           string
	}{
		{sqlstore.SQLite, "no key", "NOT NULL PRIMARY KEY,\n    realm", "NOT NULL,\n    realm", "ON CONFLICT"},
		{sqlstore.PostgreSQL, "no key", "NOT NULL PRIMARY KEY,\n    realm", "NOT NULL,\n    realm", "ON CONFLICT"},
		{sqlstore.MySQL, "no key", "NOT NULL PRIMARY KEY,\n    realm", "NOT NULL,\n    realm", accepted},
		{sqlstore.PostgreSQL, "a key of two columns", "NOT NULL PRIMARY KEY,\n    realm", "NOT NULL,\n    PRIMARY KEY (id, realm),\n    realm", "ON CONFLICT"},
		{sqlstore.MySQL, "a key of two columns", "NOT NULL PRIMARY KEY,\n    realm", "NOT NULL,\n    PRIMARY KEY (id, realm),\n    realm", accepted},
		{sqlstore.SQLite, "IDs without case", "id         TEXT COLLATE BINARY", "id         TEXT COLLATE NOCASE", "an ID in other letters"},
		{sqlstore.MySQL, "IDs without case", "id         VARBINARY(128)", "id         VARCHAR(128) COLLATE utf8mb4_general_ci", "an ID in other letters"},
		{sqlstore.SQLite, "records must expire", "expires_at INTEGER,", "expires_at INTEGER NOT NULL,", "expires_at"},
		{sqlstore.PostgreSQL, "records must expire", "expires_at bigint,", "expires_at bigint NOT NULL,", "expires_at"},
		{sqlstore.MySQL, "records must expire", "expires_at BIGINT NULL", "expires_at BIGINT NOT NULL", "expires_at"},
		{sqlstore.PostgreSQL, "times in seconds", "created_at bigint", "created_at integer", "int4"},
		{sqlstore.MySQL, "times in seconds", "created_at BIGINT", "created_at INT", "created_at"},
		{sqlstore.PostgreSQL, "Data is JSONB", "data       text", "data       jsonb", "json"},
		{sqlstore.PostgreSQL, "short texts", "client_id  text", "client_id  varchar(255)", "value too long"},
		{sqlstore.MySQL, "64 KB less one", "MEDIUMTEXT", "TEXT", "data"},
		{sqlstore.PostgreSQL, "one column more", "version ", "mine integer NOT NULL, version ", "mine"},
		{sqlstore.MySQL, "one column more", "version    BIGINT", "mine INT NOT NULL, version    BIGINT", "mine"},
	} {
		e := engines()[c.dialect-1]
		t.Run(e.name+", "+c.name, func(t *testing.T) {
			db := connect(t, e.place(t))
			for _, statement := range sqlstore.MigrationStatements(e.dialect) {
				changed := statement
				if strings.Contains(statement, "CREATE TABLE") && strings.Contains(statement, "oauth_record") {
					changed = strings.Replace(statement, c.from, c.to, 1)
					require.NotEqual(t, statement, changed)
				}
				_, err := db.ExecContext(t.Context(), changed)
				require.NoError(t, err, changed)
			}
			s, err := sqlstore.Open(db, e.dialect)
			require.NoError(t, err)
			for _, err := range []error{s.Check(t.Context()), s.Migrate(t.Context())} {
				require.ErrorContains(t, err, c.want)
				require.ErrorContains(t, err, " with Schema")
			}
			require.Zero(t, count(t, db, "SELECT count(*) FROM oauth_record"))
		})
	}
}

func TestCheckLeavesNothing(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s, db := e.openAt(t, e.place(t))
		for range 2 {
			require.NoError(t, s.Check(t.Context()))
			require.Zero(t, count(t, db, "SELECT count(*) FROM oauth_record"))
		}
	})
}

func TestMigrateAfterACrash(t *testing.T) {
	e := engines()[2] // the one that commits each statement
	all := sqlstore.MigrationStatements(e.dialect)
	for n := range all {
		db := connect(t, e.place(t))
		for _, statement := range all[:n] {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		s, err := sqlstore.Open(db, e.dialect)
		require.NoError(t, err)
		require.ErrorContains(t, s.Check(t.Context()), "call Migrate", "after %d statements", n)
		require.NoError(t, s.Migrate(t.Context()), "after %d statements", n)
	}
}

func TestMigrateCanceled(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		p := e.place(t)
		s, err := sqlstore.Open(connect(t, p), e.dialect)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, s.Migrate(ctx), context.Canceled)
		require.ErrorContains(t, s.Check(t.Context()), "call Migrate")
		require.NoError(t, s.Migrate(t.Context()))
	})
}

func TestWrongDatabase(t *testing.T) {
	refused := func(t *testing.T, d sqlstore.Dialect, p place, want string) {
		t.Helper()
		s, err := sqlstore.Open(connect(t, p), d)
		require.NoError(t, err)
		require.ErrorContains(t, s.Migrate(t.Context()), want)
		require.ErrorContains(t, s.Check(t.Context()), want)
	}
	t.Run("unreachable", func(t *testing.T) {
		refused(t, sqlstore.PostgreSQL, place{"pgx", "postgres://nobody@127.0.0.1:1/none?sslmode=disable"}, "does not answer; look at its address")
		refused(t, sqlstore.MySQL, place{"mysql", "nobody@tcp(127.0.0.1:1)/none"}, "does not answer; look at its address")
		refused(t, sqlstore.SQLite, place{"sqlite", "file:/nowhere/at/all.db"}, "this account must be allowed to write to it and to its directory")
	})
	t.Run("no such database, or account", func(t *testing.T) {
		for i, from := range map[int][2]string{1: {"/postgres?", "/nowhere?"}, 2: {"root@", "nobody@"}} {
			p := engines()[i].place(t)
			changed := strings.Replace(p.dsn, from[0], from[1], 1)
			require.NotEqual(t, p.dsn, changed)
			refused(t, engines()[i].dialect, place{p.driver, changed}, "does not answer; look at its address, account and whether it runs")
		}
	})
	t.Run("another dialect", func(t *testing.T) {
		all := engines()
		for i, e := range all {
			refused(t, all[(i+1)%3].dialect, e.place(t), "is this a database of the dialect "+all[(i+1)%3].dialect.String())
		}
	})
	t.Run("no database in the DSN", func(t *testing.T) {
		e := engines()[2]
		server, err := e.server()
		require.NoError(t, err)
		s, err := sqlstore.Open(connect(t, place{"mysql", server.DSN("")}), e.dialect)
		require.NoError(t, err)
		require.ErrorContains(t, s.Migrate(t.Context()), "the DSN names no database")
	})
	t.Run("encoding", func(t *testing.T) {
		server, err := engines()[1].server()
		require.NoError(t, err)
		admin := connect(t, place{"pgx", server.DSN("")})
		_, err = admin.ExecContext(t.Context(), "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc")
		require.NoError(t, err)
		s, err := sqlstore.Open(connect(t, place{"pgx", strings.Replace(server.DSN(""), "/postgres?", "/latin?", 1)}), sqlstore.PostgreSQL)
		require.NoError(t, err)
		require.ErrorContains(t, s.Migrate(t.Context()), "the encoding is LATIN1 and cannot hold all text: create the database with ENCODING 'UTF8'")
		for _, charset := range []string{"utf8mb3", "latin1"} {
			p := engines()[2].place(t)
			p.dsn += "?charset=" + charset
			refused(t, sqlstore.MySQL, p, "set charset=utf8mb4 in the DSN")
		}
	})
	t.Run("a clock years off", func(t *testing.T) {
		e := engines()[2]
		p := e.place(t)
		e.openAt(t, p)
		p.dsn += "?timestamp=86400" // the session's now
		refused(t, e.dialect, p, "and that of the database server 1970-01-02")

		e = engines()[1]
		p = e.place(t)
		_, db := e.openAt(t, p)
		_, err := db.ExecContext(t.Context(), "CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT pg_catalog.clock_timestamp() + interval ''3 years'''")
		require.NoError(t, err)
		p.dsn += ",pg_catalog" // the search path: what is before is found first
		year := time.Now().UTC().AddDate(3, 0, 0).Year()
		refused(t, e.dialect, p, fmt.Sprintf("and that of the database server %d-", year))
		refused(t, e.dialect, p, "set both (NTP)")
	})
}

func TestReadOnly(t *testing.T) {
	readOnly := func(t *testing.T, e engine, p place) place {
		switch e.dialect {
		case sqlstore.SQLite:
			p.dsn += "&_pragma=query_only(1)"
		case sqlstore.PostgreSQL:
			p.dsn += "&default_transaction_read_only=on"
		case sqlstore.MySQL:
			server, err := e.server()
			require.NoError(t, err)
			admin := connect(t, place{"mysql", server.DSN("")})
			name := p.dsn[strings.LastIndex(p.dsn, "/")+1:]
			_, err = admin.ExecContext(t.Context(), "CREATE USER reader_"+name+"@'127.0.0.1'")
			require.NoError(t, err)
			_, err = admin.ExecContext(t.Context(), "GRANT SELECT ON "+name+".* TO reader_"+name+"@'127.0.0.1'")
			require.NoError(t, err)
			p.dsn = strings.Replace(p.dsn, "root@", "reader_"+name+"@", 1)
		}
		return p
	}
	eachEngine(t, func(t *testing.T, e engine) {
		p := e.place(t)
		if e.dialect == sqlstore.SQLite {
			require.NoError(t, connect(t, p).PingContext(t.Context())) // WAL is made while one may write
		}
		s, err := sqlstore.Open(connect(t, readOnly(t, e, p)), e.dialect)
		require.NoError(t, err)
		require.ErrorContains(t, s.Migrate(t.Context()), "needs the primary, writable")
		require.ErrorContains(t, s.Check(t.Context()), "call Migrate")

		e.openAt(t, p)
		for _, err := range []error{s.Check(t.Context()), s.Migrate(t.Context())} {
			require.ErrorContains(t, err, "on oauth_record is refused; give the store the primary, writable")
		}
		require.Error(t, s.Create(t.Context(), oauth.Record{ID: "a-1"}))
		_, err = s.Get(t.Context(), "a-1")
		require.ErrorIs(t, err, oauth.ErrNotFound, "reading goes on")
	})
}

func TestReadOnlyAccountOrFile(t *testing.T) {
	t.Run("PostgreSQL, an account that may read", func(t *testing.T) {
		e := engines()[1]
		p := e.place(t)
		_, db := e.openAt(t, p)
		schema := p.dsn[strings.LastIndex(p.dsn, "=")+1:]
		for _, statement := range []string{
			"CREATE ROLE reader LOGIN", "GRANT USAGE ON SCHEMA " + schema + " TO reader", "GRANT SELECT ON ALL TABLES IN SCHEMA " + schema + " TO reader",
		} {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		p.dsn = strings.Replace(p.dsn, "postgres@", "reader@", 1)
		s, err := sqlstore.Open(connect(t, p), e.dialect)
		require.NoError(t, err)
		for _, err := range []error{s.Check(t.Context()), s.Migrate(t.Context())} {
			require.ErrorContains(t, err, "INSERT on oauth_record is refused; give the store the primary, writable, and an account with SELECT, INSERT, UPDATE and DELETE")
		}
		_, err = db.ExecContext(t.Context(), "DROP TABLE oauth_record, oauth_schema")
		require.NoError(t, err)
		require.ErrorContains(t, s.Migrate(t.Context()), "an account that may create tables")
	})
	t.Run("SQLite, a file that is opened to read", func(t *testing.T) {
		e := engines()[0]
		p := e.place(t)
		e.openAt(t, p)
		path, _, _ := strings.Cut(p.dsn, "?")
		s, err := sqlstore.Open(connect(t, place{p.driver, path + "?mode=ro"}), e.dialect)
		require.NoError(t, err)
		for _, err := range []error{s.Check(t.Context()), s.Migrate(t.Context())} {
			require.ErrorContains(t, err, "on oauth_record is refused; give the store the primary, writable")
		}
		empty := filepath.Join(t.TempDir(), "empty.db")
		require.NoError(t, os.WriteFile(empty, nil, 0o600))
		s, err = sqlstore.Open(connect(t, place{p.driver, "file:" + empty + "?mode=ro"}), e.dialect)
		require.NoError(t, err)
		require.ErrorContains(t, s.Migrate(t.Context()), "Migrate needs the primary, writable")
	})
}
