package sqlstore_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/sqlstore"
)

// Each statement that must be fast uses the index that is there for it, also when
// most rows are of another kind.
func TestPlans(t *testing.T) {
	lists := []struct {
		name                  string
		kind, client, subject bool
		args                  []string
		index                 string
	}{
		{"by kind and subject", true, false, true, []string{"", "authorization", "subject-7"}, "oauth_record_subject"},
		{"by subject", false, false, true, []string{"", "subject-7"}, "oauth_record_subject"},
		{"by kind and client", true, true, false, []string{"", "authorization", "client-7"}, "oauth_record_client"},
		{"by client", false, true, false, []string{"", "client-7"}, "oauth_record_client"},
		{"by kind, a rare one", true, false, false, []string{"", "client"}, "oauth_record_kind"},
	}
	eachEngine(t, func(t *testing.T, e engine) {
		_, db := e.openAt(t, e.place(t))
		fill(t, db)
		for _, l := range lists {
			t.Run(l.name, func(t *testing.T) {
				plan := explain(t, e, db, sqlstore.ListQuery(e.dialect, l.kind, l.client, l.subject), append(l.args, "a-"))
				require.Contains(t, plan, l.index)
			})
		}
		t.Run("deleting what expired", func(t *testing.T) {
			require.Contains(t, explain(t, e, db, sqlstore.DeleteExpiredQuery(e.dialect), []string{"100", "500"}), "oauth_record_expires")
		})
	})
}

// fill writes 20,000 authorizations and 40 clients.
func fill(t *testing.T, db *sql.DB) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	const n = 20_040
	for i := 0; i < n; i += 100 {
		var rows []string
		for j := i; j < min(i+100, n); j++ {
			kind, id, subject := "authorization", fmt.Sprintf("a-%08d", j*7919%n), fmt.Sprintf("subject-%d", j%5000)
			if j%501 == 0 {
				kind, id, subject = "client", "c"+id[1:], ""
			}
			rows = append(rows, fmt.Sprintf("('%s', '', '%s', 'client-%d', '%s', 1, %d, 1, '{}')", id, kind, j%40, subject, j))
		}
		_, err := tx.ExecContext(t.Context(), "INSERT INTO oauth_record (id, realm, kind, client_id, subject, created_at, expires_at, version, data) VALUES "+strings.Join(rows, ", "))
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	for _, statement := range []string{"ANALYZE TABLE oauth_record", "ANALYZE oauth_record"} {
		_, _ = db.ExecContext(t.Context(), statement) // each of its dialects
	}
}

// explain returns the plans of a query: of PostgreSQL the one that knows the
// arguments and the one that does not.
func explain(t *testing.T, e engine, db *sql.DB, query string, args []string) string {
	t.Helper()
	for i, a := range args {
		if !strings.HasPrefix(query, "DELETE") {
			a = "'" + a + "'"
		}
		if e.dialect == sqlstore.PostgreSQL {
			args[i] = a
			continue
		}
		query = strings.Replace(query, "?", a, 1)
	}
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	switch e.dialect {
	case sqlstore.SQLite:
		return rowsOf(t, conn, "EXPLAIN QUERY PLAN "+query)
	case sqlstore.MySQL:
		return rowsOf(t, conn, "EXPLAIN "+query)
	}
	var plans []string
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		for _, statement := range []string{"SET plan_cache_mode = " + mode, "PREPARE " + mode + " AS " + query} {
			_, err := conn.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		plans = append(plans, rowsOf(t, conn, "EXPLAIN EXECUTE "+mode+" ("+strings.Join(args, ", ")+")"))
		_, err := conn.ExecContext(t.Context(), "DEALLOCATE "+mode)
		require.NoError(t, err)
	}
	custom, generic := plans[0], plans[1]
	for word := range strings.SplitSeq(custom, " ") {
		if strings.HasPrefix(word, "oauth_record_") {
			require.Contains(t, generic, word, "the generic plan is another:\n%s\n%s", custom, generic)
		}
	}
	return custom
}

func rowsOf(t *testing.T, conn *sql.Conn, query string) string {
	t.Helper()
	rows, err := conn.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var b strings.Builder
	for rows.Next() {
		row, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		require.NoError(t, rows.Scan(into...))
		for i := range row {
			if columns[i] != "possible_keys" { // what MariaDB considered
				b.WriteString(row[i].String + " ")
			}
		}
		b.WriteByte('\n')
	}
	require.NoError(t, rows.Err())
	return b.String()
}

// What a refresh costs PostgreSQL: no index is touched unless the expiry moved, and
// the log is the row's Data and little more. The clock goes on by four hours with
// every refresh, so that the expiry moves once in four days, as it does by default.
func TestUpdatesStayHot(t *testing.T) {
	e := engines()[1]
	store, db := e.openAt(t, e.place(t))
	db.SetMaxOpenConns(1) // the counters of a connection are written when it is asked to
	srv := oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage = store })
	const authorizations, each = 100, 24
	tokens := make([]string, authorizations)
	for i := range tokens {
		tokens[i] = srv.Redeem(srv.Code(oauthtest.SPAClient)).String("refresh_token")
	}
	counters := func() (updates, hot, wal int) {
		_, err := db.ExecContext(t.Context(), "SELECT pg_stat_force_next_flush()")
		require.NoError(t, err)
		err = db.QueryRowContext(t.Context(), `SELECT n_tup_upd, n_tup_hot_upd, (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint
			FROM pg_stat_user_tables WHERE relid = 'oauth_record'::regclass`).Scan(&updates, &hot, &wal)
		require.NoError(t, err)
		return updates, hot, wal
	}
	updates, hot, wal := counters()
	for range each {
		srv.Clock.Advance(4 * time.Hour)
		for i, token := range tokens {
			a := srv.Refresh(oauthtest.SPAClient, token)
			require.Equal(t, http.StatusOK, a.Status)
			tokens[i] = a.String("refresh_token")
		}
	}
	updates2, hot2, wal2 := counters()
	size := 0
	for r, err := range store.List(t.Context(), oauth.Filter{}) {
		require.NoError(t, err)
		size += len(r.Data)
	}
	size /= authorizations
	perUpdate := (wal2 - wal) / (authorizations * each)
	t.Logf("%d of %d updates HOT, %d bytes of log each, %d bytes of Data", hot2-hot, updates2-updates, perUpdate, size)
	require.Equal(t, authorizations*each, updates2-updates)
	require.GreaterOrEqual(t, float64(hot2-hot), 0.9*float64(updates2-updates))
	require.Less(t, hot2-hot, updates2-updates, "the expiry moved")
	require.Less(t, perUpdate, size+175, "commit, head of the update, pruning")
}
