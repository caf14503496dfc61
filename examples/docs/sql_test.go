package docs_test

import (
	"context"
	"database/sql"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/servertest"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/sqlstore"
)

// An inhabited database has two authorizations of alice, one refreshed twice and
// one ended, a client, and a realm "tenant-7".
func inhabited(t *testing.T) (*sqlstore.Store, *sql.DB, *servertest.Server) {
	server, err := servertest.PostgreSQL("fsync=off")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Remove()) })
	store, db := openSQL(t, server, sqlstore.PostgreSQL, "")
	for _, realm := range []string{"", "tenant-7"} {
		srv := oauthtest.NewServer(t, func(c *oauth.Config) {
			c.Storage, c.Realm = store, realm
			c.Now = time.Now
		})
		srv.Approve("alice")
		token := srv.Redeem(srv.Code(oauthtest.SPAClient)).String("refresh_token")
		for range 2 {
			token = srv.Refresh(oauthtest.SPAClient, token).String("refresh_token")
		}
		srv.Redeem(srv.Code(oauthtest.WebClient, "read"))
		_, err := srv.Revoke(t.Context(), oauth.Selector{Subject: "alice", ClientID: oauthtest.WebClient})
		require.NoError(t, err)
		clients := oauth.ClientStore{Storage: store, Realm: realm}
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "reports", Secrets: []string{oauth.HashSecret("hush")}, Grants: []string{"client_credentials"}}))
	}
	return store, db, server
}

// The SQL of operations.md runs, and answers with the columns that the page shows.
func TestSQL(t *testing.T) {
	store, db, _ := inhabited(t)
	const tenant = "SELECT count(*) FROM oauth_record WHERE realm = 'tenant-7'"
	const others = "SELECT count(*) FROM oauth_record WHERE realm = ''"
	before := ask(t, db, others)
	ran, text := 0, pages(t)["operations.md"]
	for _, b := range blocks(t) {
		if b.kind != "psql" {
			continue
		}
		t.Run(b.what, func(t *testing.T) {
			columns, n := query(t, db, b.text)
			if strings.HasPrefix(b.text, "DELETE") {
				return
			}
			require.Positive(t, n, "rows")
			_, after, _ := strings.Cut(text, b.text)
			shown := regexp.MustCompile("(?s)^```\n\n```text\n(.*?)\n").FindStringSubmatch(after)
			if shown != nil {
				var names []string
				for name := range strings.SplitSeq(shown[1], "|") {
					names = append(names, strings.TrimSpace(name))
				}
				require.Equal(t, names, columns)
			}
		})
		ran++
	}
	require.Greater(t, ran, 4)
	require.Zero(t, ask(t, db, tenant), "the realm is removed")
	require.Equal(t, before, ask(t, db, others), "nothing else is")
	require.NoError(t, store.Check(t.Context()))
}

func query(t *testing.T, db *sql.DB, text string) (columns []string, n int) {
	rows, err := db.QueryContext(t.Context(), strings.TrimSuffix(strings.TrimSpace(text), ";"))
	require.NoError(t, err)
	defer rows.Close()
	columns, err = rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		n++
	}
	require.NoError(t, rows.Err())
	return columns, n
}

// What the query "head" shows is what has happened.
func TestHeadQuery(t *testing.T) {
	_, db, _ := inhabited(t)
	for _, b := range blocks(t) {
		if b.what != "head" {
			continue
		}
		rows, err := db.QueryContext(context.Background(), "SELECT generation, ended, refreshable FROM ("+strings.TrimSuffix(strings.TrimSpace(b.text), ";")+") q WHERE client_id = 'spa'")
		require.NoError(t, err)
		defer rows.Close()
		require.True(t, rows.Next())
		var generation int
		var ended, refreshable bool
		require.NoError(t, rows.Scan(&generation, &ended, &refreshable))
		require.Equal(t, 3, generation, "redeemed once, refreshed twice")
		require.False(t, ended)
		require.True(t, refreshable)
		require.False(t, rows.Next())
		return
	}
	t.Fatal("there is no query of that name")
}
