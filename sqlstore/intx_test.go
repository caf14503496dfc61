package sqlstore_test

import (
	"database/sql"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/sqlstore"
)

// A house is a host with a table of its own beside the server's.
type house struct {
	*oauthtest.Server
	store *sqlstore.Store
	db    *sql.DB
}

func newHouse(t *testing.T, e engine) *house {
	t.Helper()
	store, db := e.openAt(t, e.place(t))
	_, err := db.ExecContext(t.Context(), "CREATE TABLE account (name VARCHAR(64) NOT NULL PRIMARY KEY)")
	require.NoError(t, err)
	return &house{oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage = store }), store, db}
}

// inside is the server for one transaction.
func (h *house) inside(tx *sql.Tx) *oauth.Server { return h.WithStorage(h.store.In(tx)) }

func (h *house) accounts(t *testing.T) int { return count(t, h.db, "SELECT count(*) FROM account") }

func (h *house) signIn(subject string) *oauthtest.Answer {
	h.Approve(subject)
	return h.Redeem(h.Code(web))
}

// ends are the ways in which a transaction ends, and whether what it did counts.
var ends = []struct {
	name  string
	end   func(tx *sql.Tx) error
	count int
}{
	{"COMMIT", (*sql.Tx).Commit, 1},
	{"ROLLBACK", (*sql.Tx).Rollback, 0},
}

// A host closes an account: its row goes, and with it all that clients may do in its name.
func TestRevokeInTransaction(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		h := newHouse(t, e)
		for _, c := range ends {
			t.Run(c.name, func(t *testing.T) {
				both := []*oauthtest.Answer{h.signIn(c.name), h.signIn(c.name)}
				other := h.signIn("somebody else")
				_, err := h.db.ExecContext(t.Context(), "INSERT INTO account (name) VALUES ('"+c.name+"')")
				require.NoError(t, err)

				tx, err := h.db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				_, err = tx.ExecContext(t.Context(), "DELETE FROM account WHERE name = '"+c.name+"'")
				require.NoError(t, err)
				n, err := h.inside(tx).Revoke(t.Context(), oauth.Selector{Subject: c.name, Erase: true})
				require.NoError(t, err)
				require.Equal(t, 2, n)
				require.NoError(t, c.end(tx))

				require.Equal(t, 1-c.count, count(t, h.db, "SELECT count(*) FROM account WHERE name = '"+c.name+"'"))
				for _, a := range both {
					require.Equal(t, c.count == 0, h.Introspect(a.String("access_token")).JSON["active"])
					refreshed := h.Refresh(web, a.String("refresh_token")).Status
					require.Equal(t, map[int]int{0: http.StatusOK, 1: http.StatusBadRequest}[c.count], refreshed)
				}
				require.Equal(t, http.StatusOK, h.Refresh(web, other.String("refresh_token")).Status)
			})
		}
	})
}

// A host makes a personal access token and its own row about it together.
func TestIssueInTransaction(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		h := newHouse(t, e)
		for _, c := range ends {
			t.Run(c.name, func(t *testing.T) {
				tx, err := h.db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				token, made, err := h.inside(tx).Issue(t.Context(), web, oauth.Approval{Subject: c.name, Scopes: []string{"read"}})
				require.NoError(t, err)
				_, err = tx.ExecContext(t.Context(), "INSERT INTO account (name) VALUES ('"+made.ID+"')")
				require.NoError(t, err)
				_, err = h.inside(tx).VerifyToken(t.Context(), token)
				require.NoError(t, err, "seen inside")
				require.NoError(t, c.end(tx))

				require.Equal(t, c.count, count(t, h.db, "SELECT count(*) FROM account WHERE name = '"+made.ID+"'"))
				_, err = h.VerifyToken(t.Context(), token)
				require.Equal(t, c.count == 0, errors.Is(err, oauth.InvalidToken), err)
				listed, err := h.Authorizations(t.Context(), c.name)
				require.NoError(t, err)
				require.Len(t, listed, c.count)
			})
		}
	})
}

func TestClientsInTransaction(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		h := newHouse(t, e)
		registry := &oauth.ClientStore{Storage: h.store, CacheFor: -1}
		for _, c := range ends {
			t.Run(c.name, func(t *testing.T) {
				app := oauth.Client{ID: c.name, Name: "before", Secrets: []string{oauth.HashSecret(oauthtest.Secret)}}
				require.NoError(t, registry.Create(t.Context(), oauth.Client{ID: c.name + " of before", Secrets: app.Secrets}))
				rows := h.accounts(t)

				tx, err := h.db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				inside := oauth.StoredClients(h.store.In(tx))
				require.NoError(t, inside.Create(t.Context(), app))
				_, err = inside.Update(t.Context(), c.name, func(c *oauth.Client) error { c.Name = "after"; return nil })
				require.NoError(t, err)
				require.NoError(t, inside.Erase(t.Context(), c.name+" of before"))
				_, err = tx.ExecContext(t.Context(), "INSERT INTO account (name) VALUES ('"+c.name+"')")
				require.NoError(t, err)
				got, err := inside.Client(t.Context(), c.name)
				require.NoError(t, err)
				require.Equal(t, "after", got.Name, "seen inside")
				require.ErrorIs(t, inside.Create(t.Context(), app), oauth.ErrExists, "an answer breaks no transaction")
				require.NoError(t, c.end(tx))

				require.Equal(t, rows+c.count, h.accounts(t))
				created, err := registry.Client(t.Context(), c.name)
				require.Equal(t, c.count == 0, errors.Is(err, oauth.ErrNotFound), err)
				require.Equal(t, c.count == 1, created != nil)
				_, err = registry.Client(t.Context(), c.name+" of before")
				require.Equal(t, c.count == 1, errors.Is(err, oauth.ErrNotFound), err)
			})
		}
	})
}

// A client that refreshes while a host's transaction revokes waits for its end, and
// then gets what is true.
func TestRefreshBesideTransaction(t *testing.T) {
	waiting := map[sqlstore.Dialect]string{
		sqlstore.PostgreSQL: "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE oauth_record%'",
		sqlstore.MySQL:      "SELECT count(*) FROM information_schema.innodb_lock_waits",
	}
	for _, e := range engines()[1:] { // SQLite lets one transaction write at a time
		for _, c := range ends {
			t.Run(e.name+", "+c.name, func(t *testing.T) {
				h := newHouse(t, e)
				a := h.signIn("alice")
				tx, err := h.db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				n, err := h.inside(tx).Revoke(t.Context(), oauth.Selector{Subject: "alice"})
				require.NoError(t, err)
				require.Equal(t, 1, n)
				answer := make(chan *oauthtest.Answer, 1)
				go func() { answer <- h.Refresh(web, a.String("refresh_token")) }()
				require.Eventually(t, func() bool { return count(t, h.db, waiting[e.dialect]) > 0 }, 4*time.Second, 150*time.Millisecond) // InnoDB refuses to look more often than each 100 ms
				require.NoError(t, c.end(tx))
				require.Equal(t, map[int]int{0: http.StatusOK, 1: http.StatusBadRequest}[c.count], (<-answer).Status)
			})
		}
	}
}

// A host's transaction that has read already sees the database as it was then, on
// MySQL by default. What clients did meanwhile must neither be lost nor stop it.
func TestRevokeInOldTransaction(t *testing.T) {
	for _, e := range engines()[1:] {
		t.Run(e.name, func(t *testing.T) {
			h := newHouse(t, e)
			a := h.signIn("alice")
			tx, err := h.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			var n int
			require.NoError(t, tx.QueryRowContext(t.Context(), "SELECT count(*) FROM oauth_record").Scan(&n))
			next := h.Refresh(web, a.String("refresh_token"))
			require.Equal(t, http.StatusOK, next.Status)
			later := h.signIn("alice")
			n, err = h.inside(tx).Revoke(t.Context(), oauth.Selector{Subject: "alice"})
			require.NoError(t, err)
			require.Equal(t, 2, n)
			require.NoError(t, tx.Commit())
			for _, a := range []*oauthtest.Answer{next, later} {
				require.Equal(t, "invalid_grant", h.Refresh(web, a.String("refresh_token")).String("error"))
			}
		})
	}
}

// Making a server for one transaction is cheap.
func BenchmarkNewInTransaction(b *testing.B) {
	e := engines()[0]
	store, db := e.openAt(b, e.place(b))
	c := oauthtest.NewServer(b).Config
	tx, err := db.BeginTx(b.Context(), nil)
	require.NoError(b, err)
	for b.Loop() {
		c.Storage = store.In(tx)
		_, err := oauth.New(c)
		require.NoError(b, err)
	}
	require.NoError(b, tx.Rollback())
}
