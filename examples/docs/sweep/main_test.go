package main

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/servertest"
	"github.com/grantwell/oauth/sqlstore"
)

func TestSweep(t *testing.T) {
	server, err := servertest.PostgreSQL("fsync=off")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Remove()) })
	db, err := sql.Open(server.Driver(), server.DSN(""))
	require.NoError(t, err)
	defer db.Close()
	store, err := sqlstore.Open(db, sqlstore.PostgreSQL)
	require.NoError(t, err)
	require.NoError(t, store.Migrate(t.Context()))
	now := time.Now()
	for id, expires := range map[string]time.Time{"a-1": now.Add(-time.Hour), "a-2": now, "a-3": now.Add(time.Hour), "a-4": {}} {
		require.NoError(t, store.Create(t.Context(), oauth.Record{ID: id, Kind: oauth.KindAuthorization, CreatedAt: now, ExpiresAt: expires}))
	}
	n, err := sweep(t.Context(), server.DSN(""))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = store.Get(t.Context(), "a-2")
	require.NoError(t, err, "it expired less than a minute ago")
}
