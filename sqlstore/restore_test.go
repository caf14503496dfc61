package sqlstore_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/sqlstore"
	"github.com/grantwell/oauth/sqlstore/sqlite"
)

// A backup is a database with a way to dump it and one to put the dump back. After each
// the storage that is returned is used.
type backup struct {
	name    string
	open    func(t *testing.T) oauth.Storage
	dump    func(t *testing.T) oauth.Storage
	restore func(t *testing.T) oauth.Storage
}

func backups(t *testing.T) []backup {
	return []backup{
		sqliteBackup("SQLite by VACUUM INTO", filepath.Join(t.TempDir(), "oauth.db"), vacuumInto),
		sqliteBackup("SQLite by a copy of the closed file", filepath.Join(t.TempDir(), "oauth.db"), copyClosed),
		postgresBackup(),
		mariaBackup(),
	}
}

// sqliteBackup restores as one must: with the file closed, and without the log of the
// one before.
func sqliteBackup(name, path string, dump func(t *testing.T, store *sqlite.Store, path string) *sqlite.Store) backup {
	var store *sqlite.Store
	open := func(t *testing.T) oauth.Storage {
		store = reopen(t, path)
		return store
	}
	return backup{
		name: name, open: open,
		dump: func(t *testing.T) oauth.Storage { store = dump(t, store, path); return store },
		restore: func(t *testing.T) oauth.Storage {
			require.NoError(t, store.Close())
			for _, file := range []string{path, path + "-wal", path + "-shm"} {
				require.NoError(t, os.RemoveAll(file))
			}
			copyFile(t, path+".dump", path)
			return open(t)
		},
	}
}

func reopen(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// vacuumInto copies while the server runs.
func vacuumInto(t *testing.T, store *sqlite.Store, path string) *sqlite.Store {
	db, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "VACUUM INTO ?", path+".dump")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return store
}

// copyClosed copies while nobody has the file open.
func copyClosed(t *testing.T, store *sqlite.Store, path string) *sqlite.Store {
	require.NoError(t, store.Close())
	require.NoFileExists(t, path+"-wal", "what was in the log is in the file")
	copyFile(t, path, path+".dump")
	return reopen(t, path)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, text, 0o600))
}

// postgresBackup restores below a server that goes on running, as mariaBackup does.
func postgresBackup() backup {
	var p place
	var file string
	var store *sqlstore.Store
	var db *sql.DB
	e := engines()[1]
	return backup{
		name: "PostgreSQL by pg_dump",
		open: func(t *testing.T) oauth.Storage {
			p, file = e.place(t), filepath.Join(t.TempDir(), "dump")
			store, db = e.openAt(t, p)
			return store
		},
		dump: func(t *testing.T) oauth.Storage {
			execute(t, nil, postgresProgram(t, "pg_dump"), "--format=custom", "--schema="+schemaOf(t, p), "--file="+file, administrator(t, e))
			return store
		},
		restore: func(t *testing.T) oauth.Storage {
			_, err := db.ExecContext(t.Context(), "DROP SCHEMA "+schemaOf(t, p)+" CASCADE")
			require.NoError(t, err)
			execute(t, nil, postgresProgram(t, "pg_restore"), "--exit-on-error", "--dbname="+administrator(t, e), file)
			return store
		},
	}
}

func administrator(t *testing.T, e engine) string {
	server, err := e.server()
	require.NoError(t, err)
	return server.DSN("")
}

func schemaOf(t *testing.T, p place) string {
	t.Helper()
	u, err := url.Parse(p.dsn)
	require.NoError(t, err)
	return u.Query().Get("search_path")
}

// postgresProgram is one that stands beside the server's.
func postgresProgram(t *testing.T, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("/usr/lib/postgresql/*/bin", name))
	require.NoError(t, err)
	if len(found) > 0 {
		return found[len(found)-1]
	}
	path, err := exec.LookPath(name)
	require.NoError(t, err)
	return path
}

func mariaBackup() backup {
	var name string
	var dump []byte
	var store *sqlstore.Store
	var login []string
	e := engines()[2]
	return backup{
		name: "MariaDB by mariadb-dump",
		open: func(t *testing.T) oauth.Storage {
			p := e.place(t)
			name = p.dsn[strings.LastIndex(p.dsn, "/")+1:]
			server, err := e.server()
			require.NoError(t, err)
			host, port, err := net.SplitHostPort(server.Addr)
			require.NoError(t, err)
			login = []string{"--no-defaults", "--protocol=tcp", "--host=" + host, "--port=" + port, "--user=root"}
			store, _ = e.openAt(t, p)
			return store
		},
		dump: func(t *testing.T) oauth.Storage {
			dump = execute(t, nil, "mariadb-dump", append(login, "--single-transaction", name)...)
			return store
		},
		restore: func(t *testing.T) oauth.Storage {
			execute(t, dump, "mariadb", append(login, name)...)
			return store
		},
	}
}

func execute(t *testing.T, in []byte, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &problems
	require.NoError(t, cmd.Run(), "%s: %s", program, &problems)
	return out.Bytes()
}

const web = oauthtest.WebClient

// A history is what happened to the clients of a server before its database was
// restored: each session has its refresh tokens in order, and the access token that
// came with each.
type history struct {
	*oauthtest.Server                     // on the restored database
	refresh, access   map[string][]string // by subject
	codes             map[string]oauthtest.Code
	machine           string // an access token of client_credentials
}

func (h *history) keep(subject string, a *oauthtest.Answer) {
	h.refresh[subject] = append(h.refresh[subject], a.String("refresh_token"))
	h.access[subject] = append(h.access[subject], a.String("access_token"))
}

func (h *history) signIn(subject string) {
	h.Approve(subject)
	h.codes[subject] = h.Code(web)
}

func (h *history) redeem(subject string) { h.keep(subject, h.Redeem(h.codes[subject])) }

func (h *history) rotate(t *testing.T, subject string) {
	t.Helper()
	all := h.refresh[subject]
	a := h.Refresh(web, all[len(all)-1])
	require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
	h.keep(subject, a)
}

func (h *history) active(t *testing.T, client, token string) bool {
	t.Helper()
	a := h.Post("/oauth/introspect", client, url.Values{"token": {token}})
	require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
	active, ok := a.JSON["active"].(bool)
	require.True(t, ok)
	return active
}

func (h *history) revoke(t *testing.T, client, token string) {
	t.Helper()
	a := h.Post("/oauth/revoke", client, url.Values{"token": {token}})
	require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
	require.False(t, h.active(t, client, token))
}

// liveAlone asserts that of the refresh tokens of a session only this one is live.
func (h *history) liveAlone(t *testing.T, subject, live string) {
	t.Helper()
	for i, token := range append(h.refresh[subject], live) {
		require.Equal(t, token == live, h.active(t, web, token), "%s, refresh token %d", subject, i+1)
	}
}

// restored lives through a dump, some more requests, and the restore of that dump.
func restored(t *testing.T, b backup) *history {
	t.Helper()
	storage := b.open(t)
	h := &history{refresh: map[string][]string{}, access: map[string][]string{}, codes: map[string]oauthtest.Code{},
		Server: oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage = storage })}
	require.NoError(t, oauth.StoredClients(storage).Create(t.Context(), oauth.Client{ID: "partner", Secrets: []string{oauth.HashSecret(oauthtest.Secret)}}))
	for _, subject := range []string{"code used", "code used, then refreshed"} {
		h.signIn(subject)
	}
	for _, subject := range []string{"rotated", "answer lost", "untouched", "stolen", "access revoked", "access of later", "ended", "erased"} {
		h.signIn(subject)
		h.redeem(subject)
	}
	h.machine = h.Token(oauthtest.MachineClient, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}).String("access_token")
	require.NotEmpty(t, h.machine)

	h.restart(t, b.dump(t))
	for _, subject := range []string{"rotated", "rotated", "answer lost", "stolen", "stolen", "access of later"} {
		h.rotate(t, subject)
	}
	h.redeem("code used")
	h.redeem("code used, then refreshed")
	h.revoke(t, web, h.access["access revoked"][0])
	h.revoke(t, web, h.refresh["ended"][0])
	n, err := h.Server.Revoke(t.Context(), oauth.Selector{Subject: "erased", Erase: true})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	h.revoke(t, oauthtest.MachineClient, h.machine)
	require.NoError(t, oauth.StoredClients(h.Config.Storage).Erase(t.Context(), "partner"))
	h.signIn("new")
	h.redeem("new")

	h.restart(t, b.restore(t))
	return h
}

// restart is another process on this storage.
func (h *history) restart(t *testing.T, storage oauth.Storage) {
	before := h.Server
	h.Server = oauthtest.NewServer(t, func(c *oauth.Config) {
		c.Storage, c.Secrets, c.Now = storage, before.Config.Secrets, before.Config.Now
	})
	h.Server.Clock = before.Clock
}

func TestRestore(t *testing.T) {
	for _, b := range backups(t) {
		t.Run(b.name, func(t *testing.T) {
			h := restored(t, b)
			t.Run("what the clients have goes on", func(t *testing.T) { goesOn(t, h) })
			t.Run("what was used is not used up any more", func(t *testing.T) { usedLives(t, h) })
			t.Run("what was revoked lives again", func(t *testing.T) { revokedLives(t, h) })
			t.Run("a thief has until the client comes", func(t *testing.T) { stolen(t, h) })
			t.Run("new secrets end all of it", func(t *testing.T) { newSecrets(t, h) })
		})
	}
}

// wentBack asserts how often the server has noticed that the store lost writes.
func (h *history) wentBack(t *testing.T, times int, generation uint32) {
	t.Helper()
	events := h.Events(oauth.EventStoreWentBack)
	require.Len(t, events, times)
	if times > 0 {
		require.Equal(t, generation, events[times-1].Generation, "of the token that was issued")
	}
}

func goesOn(t *testing.T, h *history) {
	all := h.refresh["rotated"]
	require.Len(t, all, 3)
	next := h.Refresh(web, all[2])
	require.Equal(t, http.StatusOK, next.Status, "%s", next.Body)
	h.wentBack(t, 1, 4)
	h.liveAlone(t, "rotated", next.String("refresh_token"))
	require.True(t, h.active(t, web, next.String("access_token")))
	again := h.Refresh(web, all[2])
	require.Equal(t, next.String("refresh_token"), again.String("refresh_token"), "a retry has no other successor")
	next = h.Refresh(web, next.String("refresh_token"))
	require.Equal(t, http.StatusOK, next.Status)
	h.wentBack(t, 1, 4) // it has healed

	// The client got no answer to its last request, which the dump does not know.
	lost := h.Refresh(web, h.refresh["answer lost"][1])
	require.Equal(t, http.StatusOK, lost.Status, "%s", lost.Body)
	h.wentBack(t, 2, 3)
	h.liveAlone(t, "answer lost", lost.String("refresh_token"))

	untouched := h.Refresh(web, h.refresh["untouched"][0])
	require.Equal(t, http.StatusOK, untouched.Status)
	h.wentBack(t, 2, 3) // nothing was lost of it
	h.liveAlone(t, "untouched", untouched.String("refresh_token"))

	// Of who signed in later nothing is known: the user signs in again.
	require.Equal(t, "invalid_grant", h.Refresh(web, h.refresh["new"][0]).String("error"))
	require.Equal(t, "invalid_grant", h.Token(web, h.codes["new"].Form()).String("error"))
	require.False(t, h.active(t, web, h.access["new"][0]))
}

func usedLives(t *testing.T, h *history) {
	// A code that was open in the dump is open, for the rest of its minute.
	second := h.Redeem(h.codes["code used"])
	require.Equal(t, h.refresh["code used"][0], second.String("refresh_token"), "the same session, not a second one")
	require.True(t, h.active(t, web, second.String("access_token")))
	require.True(t, h.active(t, web, h.access["code used"][0]))
	require.Equal(t, "invalid_grant", h.Token(web, h.codes["code used"].Form()).String("error"), "once")
	events := len(h.Events(oauth.EventStoreWentBack))

	// Whoever goes on with the refresh token closes it.
	next := h.Refresh(web, h.refresh["code used, then refreshed"][0])
	require.Equal(t, http.StatusOK, next.Status, "%s", next.Body)
	h.wentBack(t, events+1, 2)
	require.Equal(t, "invalid_grant", h.Token(web, h.codes["code used, then refreshed"].Form()).String("error"))
	h.liveAlone(t, "code used, then refreshed", next.String("refresh_token"))

	// Access tokens from after the dump pass, and can be revoked.
	later := h.access["access of later"][1]
	require.True(t, h.active(t, web, later))
	h.revoke(t, web, later)
	require.False(t, h.active(t, web, h.access["access of later"][0]))
	require.True(t, h.active(t, web, h.Refresh(web, h.refresh["access of later"][1]).String("access_token")))
}

func revokedLives(t *testing.T, h *history) {
	require.True(t, h.active(t, web, h.access["access revoked"][0]))
	require.True(t, h.active(t, oauthtest.MachineClient, h.machine))
	for _, subject := range []string{"ended", "erased"} {
		require.True(t, h.active(t, web, h.access[subject][0]), subject)
		require.Equal(t, http.StatusOK, h.Refresh(web, h.refresh[subject][0]).Status, subject)
		live, err := h.Authorizations(t.Context(), subject)
		require.NoError(t, err)
		require.Len(t, live, 1, "the name is in the store again")
	}
	_, err := oauth.StoredClients(h.Config.Storage).Client(t.Context(), "partner")
	require.NoError(t, err)
	// Revoking once more is what there is to do about it.
	n, err := h.Server.Revoke(t.Context(), oauth.Selector{Subject: "erased", Erase: true})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.False(t, h.active(t, web, h.access["erased"][0]))
}

func stolen(t *testing.T, h *history) {
	// A refresh token that was rotated away is the current one again.
	thief := h.Refresh(web, h.refresh["stolen"][0])
	require.Equal(t, http.StatusOK, thief.Status, "%s", thief.Body)
	events := len(h.Events(oauth.EventStoreWentBack))
	client := h.Refresh(web, h.refresh["stolen"][2])
	require.Equal(t, http.StatusOK, client.Status, "%s", client.Body)
	h.wentBack(t, events+1, 4)
	h.liveAlone(t, "stolen", client.String("refresh_token"))
	require.Empty(t, h.Events(oauth.EventReuseDetected))
	// The thief's next step shows him, and ends the session.
	require.Equal(t, "invalid_grant", h.Refresh(web, thief.String("refresh_token")).String("error"))
	require.Len(t, h.Events(oauth.EventReuseDetected), 1)
	require.Equal(t, "invalid_grant", h.Refresh(web, client.String("refresh_token")).String("error"))
	require.False(t, h.active(t, web, client.String("access_token")))
}

func newSecrets(t *testing.T, h *history) {
	before := h.Server
	h.Server = oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage, c.Now = before.Config.Storage, before.Config.Now })
	tokens := []string{h.machine}
	for subject := range h.codes {
		tokens = append(append(tokens, h.access[subject]...), h.refresh[subject]...)
		for i, token := range h.refresh[subject] {
			require.Equal(t, "invalid_grant", h.Refresh(web, token).String("error"), "%s, %d", subject, i)
		}
		require.Equal(t, "invalid_grant", h.Token(web, h.codes[subject].Form()).String("error"), subject)
	}
	for i, token := range tokens {
		require.False(t, h.active(t, web, token), fmt.Sprint(i))
		require.False(t, h.active(t, oauthtest.APIClient, token), fmt.Sprint(i))
	}
	require.NotEmpty(t, h.Events(oauth.EventUnknownSecret))
	h.Clock.Advance(time.Second)
	h.signIn("after")
	h.redeem("after")
	require.True(t, h.active(t, web, h.access["after"][0]))
}
