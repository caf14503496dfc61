package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/sqlstore/sqlite"
)

func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func record(id string) oauth.Record {
	now := time.Date(2030, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	return oauth.Record{
		ID: id, Kind: oauth.KindAuthorization, Version: 1, ClientID: "app", Subject: "alice",
		CreatedAt: now, ExpiresAt: now.Add(time.Hour), Data: []byte(`{"a":1}`),
	}
}

func TestContract(t *testing.T) {
	oauthtest.TestStorage(t, func(t *testing.T) oauth.Storage { return open(t, filepath.Join(t.TempDir(), "oauth.db")) })
}

func TestStaysOverARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oauth.db")
	first, err := sqlite.Open(path)
	require.NoError(t, err)
	require.NoError(t, first.Create(t.Context(), record("a-1")))
	require.NoError(t, first.Close())
	_, err = first.Get(t.Context(), "a-1")
	require.ErrorContains(t, err, "closed")

	got, err := open(t, path).Get(t.Context(), "a-1")
	require.NoError(t, err)
	require.Equal(t, record("a-1"), got)
}

// The path is a path, whatever is in it, and no part of a URI.
func TestPaths(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"plain.db", "a b.db", "a?mode=memory", "a#b", "100%25.db", "ü世.db", "a&b=c", "a'b\"c", "file:x.db", "a;b+c"} {
		t.Run(name, func(t *testing.T) {
			s := open(t, name)
			require.NoError(t, s.Create(t.Context(), record("a-1")))
			info, err := os.Stat(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Positive(t, info.Size())
		})
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	for _, f := range files {
		info, err := os.Stat(f)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), f)
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, []byte("this is no database, and longer than a header of one would be: 100 bytes and then some more of it"), 0o600))
	for name, c := range map[string]struct{ path, want string }{
		"no path":         {"", "a path is needed"},
		"memory":          {":memory:", "there is memstore"},
		"no directory":    {filepath.Join(dir, "none", "oauth.db"), "no such file or directory; the directory must be there"},
		"a directory":     {dir, "this account must be allowed to write to it and to its directory, where SQLite makes two files more: unable to open database file"},
		"another content": {text, "it must be a database of SQLite, and"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sqlite.Open(c.path)
			require.ErrorContains(t, err, "sqlite: Open")
			require.ErrorContains(t, err, c.want)
		})
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing was made")
}

func TestSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oauth.db")
	s := open(t, path)
	db, err := sql.Open("sqlite", "file:"+path) // WAL is a matter of the file
	require.NoError(t, err)
	defer db.Close()
	var mode string
	require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode))
	require.Equal(t, "wal", mode)
	for pragma, want := range map[string]int{"synchronous": 2, "busy_timeout": 5000, "foreign_keys": 1, "fullfsync": 1} {
		got, err := sqlite.Pragma(s, pragma)
		require.NoError(t, err)
		require.Equal(t, want, got, pragma)
	}
}

// As many processes as start at once, on a file that is not there yet.
func TestOpenAtOnce(t *testing.T) {
	for range 4 {
		path := filepath.Join(t.TempDir(), "oauth.db")
		stores, errs := make([]*sqlite.Store, 12), make([]error, 12)
		var all sync.WaitGroup
		for i := range stores {
			all.Go(func() {
				stores[i], errs[i] = sqlite.Open(path)
				if errs[i] == nil {
					errs[i] = stores[i].Create(t.Context(), record(fmt.Sprintf("a-%d", i)))
				}
			})
		}
		all.Wait()
		for i, s := range stores {
			require.NoError(t, errs[i])
			_, err := s.Get(t.Context(), "a-7")
			require.NoError(t, err)
			defer s.Close()
		}
	}
}

// Another process reads a file that is not in WAL mode yet, so the mode cannot be
// changed: Open waits.
func TestOpenWhileAnotherOneReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oauth.db")
	db, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), "CREATE TABLE host (n INTEGER)")
	require.NoError(t, err)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	var n int
	require.NoError(t, tx.QueryRowContext(t.Context(), "SELECT count(*) FROM host").Scan(&n))

	opened := make(chan error)
	go func() {
		s, err := sqlite.Open(path)
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		require.NoError(t, err)
		t.Fatal("it did not have to wait: this shows nothing")
	case <-time.After(200 * time.Millisecond):
	}
	require.NoError(t, tx.Rollback())
	require.NoError(t, <-opened)
}

// Two pools, as two processes have, on one file: of those that update one version
// one wins, and nobody fails because another one writes.
func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oauth.db")
	both := [2]*sqlite.Store{open(t, path), open(t, path)}
	for round := range 20 {
		r := record(fmt.Sprintf("a-%d", round))
		require.NoError(t, both[0].Create(t.Context(), r))
		errs := make([]error, 16)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() { errs[i] = both[i%2].Update(t.Context(), r) })
		}
		all.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
				continue
			}
			require.ErrorIs(t, err, oauth.ErrConflict)
		}
		require.Equal(t, 1, won)
	}
}

// A read does not wait for a write, and a write in the queue ends with its context.
func TestReadsDoNotWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oauth.db")
	s := open(t, path)
	require.NoError(t, s.Create(t.Context(), record("a-1")))
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	require.NoError(t, err)
	defer db.Close()
	tx, err := db.BeginTx(t.Context(), nil) // another process writes
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	errs := make([]error, 20) // more than there are connections
	for i := range errs {
		all.Go(func() { errs[i] = s.Update(ctx, record("a-1")) })
	}
	for start := time.Now(); time.Since(start) < 200*time.Millisecond; {
		_, err := s.Get(ctx, "a-1")
		require.NoError(t, err, "while they wait")
	}
	all.Wait()
	for _, err := range errs {
		require.Error(t, err)
		require.NotErrorIs(t, err, oauth.ErrConflict)
	}
	require.NoError(t, tx.Rollback())
	require.NoError(t, s.Update(t.Context(), record("a-1")), "none of them was written")
}
