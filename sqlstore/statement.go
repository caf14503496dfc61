package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"strings"
)

// A querier is a *sql.DB or a *sql.Tx.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// A statement is a *sql.Stmt, or a text that is not prepared.
type statement interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...any) *sql.Row
}

// A plain statement is prepared by nobody, or by the driver.
type plain struct {
	on   querier
	text string
}

func (p plain) ExecContext(ctx context.Context, args ...any) (sql.Result, error) {
	return p.on.ExecContext(ctx, p.text, args...)
}

func (p plain) QueryContext(ctx context.Context, args ...any) (*sql.Rows, error) {
	return p.on.QueryContext(ctx, p.text, args...)
}

func (p plain) QueryRowContext(ctx context.Context, args ...any) *sql.Row {
	return p.on.QueryRowContext(ctx, p.text, args...)
}

// statement returns one of the texts of s.q, ready to run. What it prepares lives
// as long as the host's *sql.DB.
func (s *Store) statement(ctx context.Context, text string) (statement, error) {
	if s.db == nil || s.dialect == PostgreSQL {
		return plain{s.on, text}, nil
	}
	if ready, ok := s.prepared.Load(text); ok {
		return ready.(*sql.Stmt), nil
	}
	fresh, err := s.db.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	first, loaded := s.prepared.LoadOrStore(text, fresh)
	if loaded {
		err = fresh.Close()
	}
	return first.(*sql.Stmt), err
}

// exec runs a statement that writes and returns how many rows it wrote.
func (s *Store) exec(ctx context.Context, text string, args ...any) (rows int, err error) {
	if s.turn != nil {
		select {
		case s.turn <- struct{}{}:
			defer func() {
				<-s.turn
				runtime.Gosched() // the next one first: it will wait for the disk, while this one goes on
			}()
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	err = s.retry(ctx, func() error {
		write, err := s.statement(ctx, text)
		if err != nil {
			return err
		}
		result, err := write.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if s.dialect == MySQL && text == s.q.create && err == nil {
			var taken int64
			taken, err = result.LastInsertId()
			n = 1 - taken
		}
		rows = int(n)
		return err
	})
	return rows, err
}

// attempts is how often a statement is tried that the database rolled back.
const attempts = 8

// retry runs do again while the database says that it rolled the statement back
// in favour of another one. That is no resending: nothing of it was written, and
// it was the database that said so. Within a transaction all of that is rolled
// back, and only the host can begin it again.
func (s *Store) retry(ctx context.Context, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		if err == nil || n == attempts || s.db == nil || ctx.Err() != nil || !s.dialect.rolledBack(err) {
			return err
		}
	}
}

// rolledBack says whether err reports a deadlock or a serialization failure.
// No driver is imported for it: those of PostgreSQL have a method for the
// SQLSTATE, and those of MySQL begin their text with the error's number.
func (d Dialect) rolledBack(err error) bool {
	switch d {
	case PostgreSQL:
		state, ok := errors.AsType[interface {
			error
			SQLState() string
		}](err)
		return ok && (state.SQLState() == "40001" || state.SQLState() == "40P01")
	case MySQL:
		text := err.Error()
		// 1213 is a deadlock; 1020 is MariaDB's innodb_snapshot_isolation.
		return strings.Contains(text, "Error 1213") || strings.Contains(text, "Error 1020")
	}
	return false
}
