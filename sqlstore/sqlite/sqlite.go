// Package sqlite keeps everything of an authorization server in one file. It
// links modernc.org/sqlite, which needs no C compiler; a host that brings another
// driver uses [sqlstore.Open] with its own *sql.DB.
//
//	store, err := sqlite.Open("oauth.db")
//	defer store.Close()
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/grantwell/oauth/sqlstore"

	_ "modernc.org/sqlite" // the driver
)

// Store is a [sqlstore.Store] in a file of its own.
type Store struct {
	*sqlstore.Store
	db *sql.DB
}

// connections is more than the cores that could read at once on most machines; one
// costs some hundred kilobytes.
const connections = 8

// Open opens the file, creates it if it is not there, readable for its owner
// alone, and brings its schema up to date. Several processes of one machine may
// have it open; it must not lie on a network file system.
//
// A write is on disk when it returns (WAL, synchronous FULL). Beside the file are
// two more, with -wal and -shm behind its name: copy a live database with
// VACUUM INTO or sqlite3's .backup, not with cp.
func Open(path string) (*Store, error) {
	if path == "" || path == ":memory:" {
		return nil, errors.New("sqlite: Open: a path is needed; for a store that forgets there is memstore")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlite: Open: %w", err)
	}
	if err := create(path); err != nil {
		return nil, fmt.Errorf("sqlite: Open: %w; the directory must be there, and this account must be allowed to make files in it", err)
	}
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, fmt.Errorf("sqlite: Open: %w", err)
	}
	// One for the write that runs, the others for reads, which do not wait for it.
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	store, err := sqlstore.Open(db, sqlstore.SQLite)
	if err == nil {
		err = store.Migrate(context.Background())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: Open %s: %w", path, err), db.Close())
	}
	return &Store{Store: store, db: db}, nil
}

// Close closes the file. Calls that come later fail.
func (s *Store) Close() error { return s.db.Close() }

// create makes an empty file, so that SQLite, which gives -wal and -shm the
// permissions of the database, does not choose its own.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func dsn(path string) string {
	path = filepath.ToSlash(path)
	if path[0] != '/' {
		path = "/" + path // of Windows: file:///C:/…
	}
	return "file://" + (&url.URL{Path: path}).EscapedPath() + "?" + url.Values{
		"_txlock": {"immediate"}, // or a host's transaction fails when it turns from reading to writing
		"_pragma": {
			"busy_timeout(5000)", // for other processes
			"journal_mode(WAL)",
			"synchronous(FULL)", // NORMAL may lose the last commits with the power: rotated tokens would live again
			"fullfsync(1)",      // the same on macOS
			"foreign_keys(1)",   // for a host's own tables in the file
		},
	}.Encode()
}
