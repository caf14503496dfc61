package main

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/sqlstore"

	_ "modernc.org/sqlite" // the driver
)

// A database is the one that the host has anyway, with its own tables; the library
// gets it too, and adds its table.
type database struct {
	*sql.DB
	records oauth.Storage // the library's part of it
	secrets [][]byte      // never in it
}

// schema is the host's own. Nothing here is worth anything to a thief: passwords
// are hashed, and what is known of a browser is sealed with its cookie.
const schema = `
CREATE TABLE quickstart (issuer TEXT NOT NULL); -- whose file this is

CREATE TABLE users (
	name      TEXT NOT NULL PRIMARY KEY,
	full_name TEXT NOT NULL,
	email     TEXT NOT NULL,
	password  TEXT NOT NULL -- bcrypt
);

CREATE TABLE notes (
	id    INTEGER PRIMARY KEY,
	owner TEXT NOT NULL,
	text  TEXT NOT NULL,
	at    INTEGER NOT NULL -- Unix time in seconds
);
CREATE INDEX notes_owner ON notes (owner);

CREATE TABLE browsers (
	id   BLOB NOT NULL PRIMARY KEY, -- hash of the cookie
	data BLOB NOT NULL,             -- sealed with the cookie
	seen INTEGER NOT NULL           -- Unix time in seconds
);
CREATE INDEX browsers_seen ON browsers (seen);
`

// demo is what a new database begins with. The passwords are wonderland and builder.
const demo = `
INSERT INTO users VALUES
	('alice', 'Alice', 'alice@example.com', '$2a$10$DGRlUDZtD8Is.qmGf2NzbOEPRvuyZyoWwSM9Otn8j9YYwYSSXKiDK'),
	('bob', 'Bob', 'bob@example.com', '$2a$10$Jf/NbOF43ksHz2Ubvqx/fOZpdlsrqRoNT.sPJnuOTxBAhez8EhS96');
INSERT INTO notes (owner, text, at) VALUES
	('user alice', 'Follow the white rabbit', ?1),
	('user bob', 'Can we fix it?', ?1),
	('client demo-machine', 'A program has notes of its own', ?1);
`

// openDatabase opens the file of o, and makes it if it is not there. Without a file
// everything is in memory.
func openDatabase(ctx context.Context, o options, issuer string) (*database, error) {
	if o.DB == "" && o.Secret != "" {
		return nil, errors.New("-secret is for -db: without a database there is nothing to keep")
	}
	if o.DB == "" {
		db, err := sql.Open("sqlite", ":memory:")
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1) // another connection would be another memory
		if err = inTx(ctx, db, func(tx *sql.Tx) error { return create(ctx, tx, issuer, o.Now()) }); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return &database{db, memstore.New(), [][]byte{oauth.NewSecret()}}, nil
	}
	secrets, err := claim(ctx, o, issuer)
	if err != nil {
		return nil, fmt.Errorf("-db %s: %w", o.DB, err)
	}
	db, err := openFile(o.DB, "&_pragma=journal_mode(WAL)") // one writes while others read, in several processes too
	if err != nil {
		return nil, err
	}
	store, err := sqlstore.Open(db, sqlstore.SQLite)
	if err == nil {
		err = store.Migrate(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("-db %s: %w", o.DB, err), db.Close())
	}
	return &database{db, store, secrets}, nil
}

// openFile opens a SQLite file. sqlite.Open of the library is shorter, but keeps
// the *sql.DB to itself.
func openFile(path, more string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if path = filepath.ToSlash(path); path[0] != '/' {
		path = "/" + path // of Windows
	}
	db, err := sql.Open("sqlite", "file://"+(&url.URL{Path: path}).EscapedPath()+
		"?_txlock=immediate"+ // or a transaction fails when it turns from reading to writing
		"&_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)&_pragma=fullfsync(1)"+more) // a write is on disk when it returns
	if err == nil {
		db.SetMaxOpenConns(8)
		db.SetMaxIdleConns(8)
	}
	return db, err
}

// claim makes a new file and its tables, or finds that the file is a quickstart's,
// of this issuer; any other is left as it is. It returns the secrets.
func claim(ctx context.Context, o options, issuer string) (secrets [][]byte, err error) {
	if err = makeFile(o.DB); err != nil {
		return nil, err
	}
	db, err := openFile(o.DB, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = inTx(ctx, db, func(tx *sql.Tx) error {
		var tables int
		err := tx.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master`).Scan(&tables)
		if err == nil && tables > 0 {
			err = belongs(ctx, tx, issuer)
		}
		if err != nil {
			return err
		}
		secrets, err = readSecrets(o.secretFile())
		if errors.Is(err, fs.ErrNotExist) {
			if tables > 0 {
				return fmt.Errorf("%s is missing, and without it the tokens and sessions in the database are worth nothing: put it back, or choose another file", o.secretFile())
			}
			secrets, err = makeSecret(o.secretFile())
		}
		if err == nil && tables == 0 {
			err = create(ctx, tx, issuer, o.Now())
		}
		return err
	})
	return secrets, err
}

// makeFile makes an empty file if there is none, for its owner alone: SQLite gives
// those beside it the same permissions.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is a directory or a device, not a file")
	}
	return err
}

// belongs says why the file is not for this issuer. Tokens and sessions are good at
// the address that gave them out and at no other.
func belongs(ctx context.Context, tx *sql.Tx, issuer string) error {
	var its string
	if err := tx.QueryRowContext(ctx, `SELECT issuer FROM quickstart`).Scan(&its); err != nil {
		return fmt.Errorf("it is the database of another program (%w); choose another file", err)
	}
	if its != issuer {
		return fmt.Errorf("it belongs to the server at %s: start with -addr %s, or choose another file",
			its, strings.TrimPrefix(its, "http://"))
	}
	return nil
}

// create fills an empty database.
func create(ctx context.Context, tx *sql.Tx, issuer string, now time.Time) error {
	_, err := tx.ExecContext(ctx, schema)
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO quickstart VALUES (?)`, issuer)
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, demo, now.Unix())
	}
	return err
}

// inTx runs do in a transaction, which is kept if do returns no error.
func inTx(ctx context.Context, db *sql.DB, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it was committed, or there is an error already
	if err = do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// readSecrets reads the file of the server's secrets: base64, one a line. The first
// signs, all are accepted.
func readSecrets(path string) (secrets [][]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s is open to others than its owner (mode %04o): chmod 600 %[1]s", path, mode)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	for n, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		secret, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(secret) < 32 {
			return nil, fmt.Errorf("%s: line %d is not 32 bytes or more in base64", path, n+1) // and not what it is
		}
		secrets = append(secrets, secret)
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%s holds no secret", path)
	}
	return secrets, nil
}

// makeSecret writes the first secret, for its owner's eyes. The file is there whole
// or not at all, wherever the program is stopped, and one that is there is left alone.
func makeSecret(path string) ([][]byte, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("%s cannot be made: %w", path, err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // an empty file more
	secret := oauth.NewSecret()
	_, err = fmt.Fprintln(f, base64.StdEncoding.EncodeToString(secret))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Link(f.Name(), path) // os.Rename would replace
	}
	if err == nil {
		err = syncDirectory(filepath.Dir(path))
	}
	return [][]byte{secret}, err
}

// syncDirectory makes new names of files last.
func syncDirectory(path string) error {
	if runtime.GOOS == "windows" {
		return nil // it cannot be done there
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
