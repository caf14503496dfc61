// Package sqlstore is [oauth.Storage] in a SQL database: SQLite, PostgreSQL,
// MySQL or MariaDB, through database/sql and whatever driver the host brings.
//
//	db, err := sql.Open("pgx", dsn)
//	store, err := sqlstore.Open(db, sqlstore.PostgreSQL)
//	err = store.Migrate(ctx) // or run Schema among the host's own migrations
//	err = store.Check(ctx)
//
// Everything is in one table, oauth_record, whose schema does not change when the
// server gets a feature; its data column is JSON that can be read with the
// database's own tools. Table names are not qualified: they follow the search path
// or database of the connection.
//
// # What the database must promise
//
// A write is durable when it returns and the next read sees it, from any process.
// So give the store the primary, never a replica; leave synchronous_commit on
// (PostgreSQL), innodb_flush_log_at_trx_commit at 1 (MySQL), wsrep_sync_wait at 1
// or more (Galera), synchronous at FULL (SQLite). What is lost otherwise brings
// rotated refresh tokens back to life. Any isolation level will do.
//
// # Statements and connections
//
// Every write is one statement, and no transaction or connection is held from
// one call to the next.
//
// On SQLite and MySQL the store prepares its statements, once per connection:
// that halves the time of a read on SQLite, and saves the go-sql-driver a round
// trip. On PostgreSQL it does not, because a pooler that changes the connection
// between transactions (PgBouncer) would lose them; pgx does it by itself unless
// its default_query_exec_mode says otherwise, as it must behind such a pooler.
//
// On SQLite writes of one store queue in the order in which they came, before
// they ask for a connection: SQLite lets one write at a time, and its own way to
// wait is to sleep and try again. Reads do not wait for them if the pool has more
// connections than one. Set busy_timeout for the other processes, and WAL; package
// sqlite does all that.
//
// database/sql sends a statement again when the driver reports driver.ErrBadConn,
// and a driver may report that only if the database cannot have run it. The
// go-sql-driver, pgx and modernc.org/sqlite keep to it, so this repeats no write
// and stays on: without it every restart of the database would fail as many
// writes as the pool has connections. If a driver or proxy repeated one all the
// same, the second would find another version and change nothing, and the server
// recognises its own write by the mark in it.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/grantwell/oauth"
)

const (
	pageSize   = 500  // rows that List reads at a time
	sweepBatch = 1000 // rows that one statement of DeleteExpired deletes
)

var _ oauth.Storage = (*Store)(nil)

// Store is an [oauth.Storage] in a SQL database. Make one with [Open]. It is safe
// for concurrent use and holds nothing that must be closed; the *sql.DB stays the
// host's.
//
// Beyond the contract: a record stays until DeleteExpired deletes it; times are
// truncated to the millisecond and come back in UTC; empty Data comes back as nil.
// What a column could not hold exactly (text that is not UTF-8 or contains a zero
// byte, or that is too long) is an error before the database is asked.
type Store struct {
	db       *sql.DB // nil of a Store in a transaction
	on       querier
	dialect  Dialect
	q        *queries
	inTx     *queries      // those of a Store in a transaction
	turn     chan struct{} // full while a write of SQLite runs; nil elsewhere
	prepared sync.Map      // a *sql.Stmt by its text
}

// Open returns a Store on a database that the host opened and goes on to own. It
// does not talk to the database: that is for [Store.Migrate] and [Store.Check],
// one of which a host calls when it starts. The error is for a nil db or an
// unknown dialect.
func Open(db *sql.DB, d Dialect) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlstore: Open: the *sql.DB is nil")
	}
	if !d.known() {
		return nil, fmt.Errorf("sqlstore: Open: %v is none of SQLite, PostgreSQL and MySQL", d)
	}
	s := &Store{db: db, on: db, dialect: d, q: d.queries(), inTx: d.queriesInTx()}
	if d == SQLite {
		s.turn = make(chan struct{}, 1)
	}
	return s, nil
}

// In returns the storage as seen from within a transaction of the host, to issue,
// to revoke or to change clients together with the host's own rows:
//
//	token, made, err := srv.WithStorage(store.In(tx)).Issue(ctx, clientID, approval)
//
// Nothing of it counts before the host's COMMIT: tokens must not leave the
// process earlier, and so the HTTP handlers never run on it. After a ROLLBACK the
// server refuses them, but a JWT access token passes at a resource server that
// only checks signatures. Events are reported before the COMMIT too, and a registry
// of clients outside the transaction may remember a client for as long as its cache
// does. Like its transaction it is for one goroutine at a time; records that it wrote
// stay locked until the end, on MySQL those that it read too (it reads what is
// committed, not what was when the transaction began), so keep it short: a request
// that waits longer than 4 s may be answered 503. After an error that is none of the
// three answers, roll back (PostgreSQL accepts nothing else).
//
// On PostgreSQL use READ COMMITTED, the default. Above it a transaction does not see
// what was written since its first statement: Revoke would pass over an authorization
// that came later, and a lost race is such an error instead of ErrConflict. On SQLite
// begin the transaction with BEGIN IMMEDIATE (the driver's _txlock), or it may fail at
// its first write.
func (s *Store) In(tx *sql.Tx) oauth.Storage {
	return &Store{on: tx, dialect: s.dialect, q: s.inTx}
}

// Create stores r with version 1, whatever r.Version is, by one INSERT. It returns
// [oauth.ErrExists] if the ID is taken.
func (s *Store) Create(ctx context.Context, r oauth.Record) error {
	data := string(r.Data)
	if err := checkRecord(&r, data); err != nil {
		return fmt.Errorf("sqlstore: create: %w", err)
	}
	created, err := s.exec(ctx, s.q.create, r.ID, r.Realm, string(r.Kind), r.ClientID, r.Subject,
		r.CreatedAt.UnixMilli(), expiry(r.ExpiresAt), data)
	if err != nil {
		return fmt.Errorf("sqlstore: create: %w", err)
	}
	if created == 0 {
		return oauth.ErrExists
	}
	return nil
}

// Get returns the record with this ID, or [oauth.ErrNotFound].
func (s *Store) Get(ctx context.Context, id string) (oauth.Record, error) {
	if checkText("ID", id, maxID) != nil {
		return oauth.Record{}, oauth.ErrNotFound // none can have been created
	}
	var r oauth.Record
	err := s.retry(ctx, func() error {
		get, err := s.statement(ctx, s.q.get)
		if err != nil {
			return err
		}
		r, err = scan(get.QueryRowContext(ctx, id))
		return err
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return oauth.Record{}, oauth.ErrNotFound
	case err != nil:
		return oauth.Record{}, fmt.Errorf("sqlstore: get: %w", err)
	}
	return r, nil
}

// Update replaces Subject, ExpiresAt and Data and adds one to the version, if that
// is r.Version, by one UPDATE whose count of rows decides. Only if it is zero, a
// second look tells [oauth.ErrConflict] from [oauth.ErrNotFound].
func (s *Store) Update(ctx context.Context, r oauth.Record) error {
	data := string(r.Data)
	if err := checkRecord(&r, data); err != nil {
		return fmt.Errorf("sqlstore: update: %w", err)
	}
	// On SQLite first as if Subject and ExpiresAt stayed, as they do in most updates but
	// a record's first, which redeems its code: it writes index entries anew even if they
	// are the same, 3 pages instead of 1.
	if s.dialect == SQLite && r.Version > 1 {
		rows, err := s.exec(ctx, s.q.updateData, data, r.ID, r.Version, r.Subject, expiry(r.ExpiresAt))
		if err != nil {
			return fmt.Errorf("sqlstore: update: %w", err)
		}
		if rows == 1 {
			return nil
		}
	}
	rows, err := s.exec(ctx, s.q.update, r.Subject, expiry(r.ExpiresAt), data, r.ID, r.Version)
	if err != nil {
		return fmt.Errorf("sqlstore: update: %w", err)
	}
	if rows == 1 { // on MySQL too, which counts what changed: the version always does
		return nil
	}
	return s.whyNot(ctx, r.ID)
}

// whyNot returns why an Update found no row to write.
func (s *Store) whyNot(ctx context.Context, id string) error {
	var one int
	err := s.retry(ctx, func() error {
		exists, err := s.statement(ctx, s.q.exists)
		if err != nil {
			return err
		}
		return exists.QueryRowContext(ctx, id).Scan(&one)
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return oauth.ErrNotFound
	case err != nil:
		return fmt.Errorf("sqlstore: update: nothing was written, and why cannot be found out: %w", err)
	}
	return oauth.ErrConflict
}

// List yields the records that match f in ascending order of ID. It reads them
// some hundred at a time and has given the connection back before it yields one,
// so the loop may use the store even if the pool has but one connection.
func (s *Store) List(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	return func(yield func(oauth.Record, error) bool) {
		page, err := s.page(ctx, &f)
		for err == nil {
			for _, r := range page {
				if err = ctx.Err(); err != nil {
					break
				}
				if !yield(r, nil) {
					return
				}
				f.After = r.ID
			}
			if err != nil {
				break
			}
			if len(page) < pageSize {
				return
			}
			page, err = s.page(ctx, &f)
		}
		yield(oauth.Record{}, fmt.Errorf("sqlstore: list: %w", err))
	}
}

// page reads the first records that match f.
func (s *Store) page(ctx context.Context, f *oauth.Filter) ([]oauth.Record, error) {
	// A filter that cannot match is refused, not answered with nothing: whoever
	// erases a subject must not believe that there was none.
	if err := checkFilter(f); err != nil {
		return nil, err
	}
	by, args := 0, append(make([]any, 0, 5), f.Realm)
	if f.Kind != "" {
		by, args = by|byKind, append(args, string(f.Kind))
	}
	if f.ClientID != "" {
		by, args = by|byClient, append(args, f.ClientID)
	}
	if f.Subject != "" {
		by, args = by|bySubject, append(args, f.Subject)
	}
	args = append(args, f.After)

	var page []oauth.Record
	err := s.retry(ctx, func() error {
		page = page[:0]
		list, err := s.statement(ctx, s.q.list[by])
		if err != nil {
			return err
		}
		rows, err := list.QueryContext(ctx, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r, err := scan(rows)
			if err != nil {
				return err
			}
			page = append(page, r)
		}
		return errors.Join(rows.Err(), rows.Close())
	})
	return page, err
}

// DeleteExpired deletes at most limit records whose ExpiresAt is set and before
// the time given, a thousand per statement, and returns how many; a limit of zero
// or less deletes none. With an error it returns how many it had deleted before.
// On PostgreSQL it leaves to the next sweep what is locked at the moment.
func (s *Store) DeleteExpired(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	// Rounded up: what expires in the same millisecond, but earlier, goes too.
	bound := before.Add(time.Millisecond - time.Nanosecond).UnixMilli()
	deleted := 0
	for deleted < limit {
		want := min(limit-deleted, sweepBatch)
		rows, err := s.exec(ctx, s.q.deleteExpired, bound, want)
		if err != nil {
			return deleted, fmt.Errorf("sqlstore: delete expired: %w", err)
		}
		deleted += rows
		if rows < want {
			break
		}
	}
	return deleted, nil
}

// A row is one that a *sql.Row or *sql.Rows is at.
type row interface{ Scan(dest ...any) error }

// scan reads a row of columns.
func scan(from row) (oauth.Record, error) {
	var (
		r       oauth.Record
		created int64
		expires sql.NullInt64
	)
	err := from.Scan(&r.ID, &r.Realm, &r.Kind, &r.ClientID, &r.Subject, &created, &expires, &r.Version, &r.Data)
	if err != nil {
		return oauth.Record{}, err
	}
	r.CreatedAt = time.UnixMilli(created).UTC()
	if expires.Valid {
		r.ExpiresAt = time.UnixMilli(expires.Int64).UTC()
	}
	if len(r.Data) == 0 {
		r.Data = nil
	}
	return r, nil
}

// expiry is an ExpiresAt as it is stored.
func expiry(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}
