package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/servertest"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/sqlstore"
)

// What this package promises beyond the contract, and what differs from driver to
// driver and setting to setting.

func record(id string) oauth.Record {
	now := time.Date(2030, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	return oauth.Record{
		ID: id, Kind: oauth.KindAuthorization, ClientID: "app", Subject: "alice",
		CreatedAt: now, ExpiresAt: now.Add(time.Hour), Data: []byte(`{"a":1}`),
	}
}

// text is n random bytes that do not compress.
func text(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(rand.Text())
	}
	return b.String()[:n]
}

// Every setting under which a driver or server answers in its own way.
func settings() map[string]struct {
	e   engine
	dsn string
} {
	all := engines()
	lite, pg, maria := all[0], all[1], all[2]
	type setting = struct {
		e   engine
		dsn string
	}
	return map[string]setting{
		"SQLite":                             {lite, ""},
		"PostgreSQL":                         {pg, ""},
		"PostgreSQL exec mode, as PgBouncer": {pg, "&default_query_exec_mode=exec"},
		"PostgreSQL simple protocol":         {pg, "&default_query_exec_mode=simple_protocol"},
		"PostgreSQL repeatable read":         {pg, "&default_transaction_isolation=repeatable%20read"},
		"PostgreSQL serializable":            {pg, "&default_transaction_isolation=serializable"},
		"MariaDB":                            {maria, ""},
		"MariaDB clientFoundRows":            {maria, "?clientFoundRows=true"},
		"MariaDB interpolateParams":          {maria, "?interpolateParams=true&clientFoundRows=true"},
		"MariaDB not strict":                 {maria, "?sql_mode=''"},
		"MariaDB with spaces ignored":        {maria, "?sql_mode='ANSI,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES'"},
		"MariaDB serializable":               {maria, "?tx_isolation='SERIALIZABLE'"},
		"MariaDB read committed":             {maria, "?tx_isolation='READ-COMMITTED'"},
		"MariaDB snapshot isolation":         {maria, "?innodb_snapshot_isolation=1"},
	}
}

func TestSettings(t *testing.T) {
	for name, setting := range settings() {
		t.Run(name, func(t *testing.T) {
			p := setting.e.place(t)
			p.dsn += setting.dsn
			store, db := setting.e.openAt(t, p)
			t.Run("answers", func(t *testing.T) { answers(t, store, "a-1", text(200)) })
			t.Run("in a transaction", func(t *testing.T) {
				tx, err := db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				answers(t, store.In(tx), "a-2", text(200))
				require.NoError(t, tx.Commit())
				_, err = store.Get(t.Context(), "a-2")
				require.NoError(t, err)
			})
			t.Run("races", func(t *testing.T) { races(t, store) })
			t.Run("sweeps and updates", func(t *testing.T) { sweeps(t, store) })
		})
	}
}

func answers(t *testing.T, s oauth.Storage, id, subject string) {
	ctx := t.Context()
	r := record(id)
	r.Subject = subject
	r.Data = []byte(`{"t":"\\ ' \" é 世 ` + "`" + ` 👩‍🔬 $1 ? :x"}`)
	for range 2 {
		require.ErrorIs(t, s.Update(ctx, r), oauth.ErrNotFound)
	}
	_, err := s.Get(ctx, id)
	require.ErrorIs(t, err, oauth.ErrNotFound)
	require.NoError(t, s.Create(ctx, r))
	require.ErrorIs(t, s.Create(ctx, r), oauth.ErrExists)
	other := record(id)
	other.Realm, other.Data = "other", nil
	require.ErrorIs(t, s.Create(ctx, other), oauth.ErrExists)
	r.Version = 1
	got, err := s.Get(ctx, id)
	require.NoError(t, err)
	require.Equal(t, r, got)
	require.NoError(t, s.Update(ctx, r), "the same again but for the version")
	require.ErrorIs(t, s.Update(ctx, r), oauth.ErrConflict)
	r.Version, r.Subject, r.ExpiresAt, r.Data = 2, subject+" ", time.Time{}, nil
	require.NoError(t, s.Update(ctx, r))
	r.Version = 3
	for found, err := range s.List(ctx, oauth.Filter{Kind: r.Kind, Subject: subject + " "}) {
		require.NoError(t, err)
		require.Equal(t, r, found)
		require.NoError(t, s.Update(ctx, found))
	}
	got, err = s.Get(ctx, id)
	require.NoError(t, err)
	require.Equal(t, int64(4), got.Version)
	for range s.List(ctx, oauth.Filter{Subject: subject}) {
		t.Error("the subject of before, or without the space behind")
	}
}

func atOnce(n int, f func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	all.Wait()
}

// Under any isolation level a lost race is an answer and no failure.
func races(t *testing.T, s *sqlstore.Store) {
	for round := range 10 {
		r := record(fmt.Sprintf("race-%d", round))
		for _, race := range []struct {
			write func() error
			lost  error
		}{
			{func() error { return s.Create(t.Context(), r) }, oauth.ErrExists},
			{func() error { return s.Update(t.Context(), r) }, oauth.ErrConflict},
		} {
			errs := make([]error, 16)
			atOnce(len(errs), func(i int) { errs[i] = race.write() })
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
					continue
				}
				require.ErrorIs(t, err, race.lost)
			}
			require.Equal(t, 1, won)
			r.Version = 1
		}
	}
}

// Sweeps meet updates that move the expiry, in another order of locks: nobody fails.
func sweeps(t *testing.T, s *sqlstore.Store) {
	const n = 160
	before := record("").ExpiresAt.Add(time.Second)
	_, err := s.DeleteExpired(t.Context(), before, 1000) // what other tests left
	require.NoError(t, err)
	for i := range n {
		require.NoError(t, s.Create(t.Context(), record(fmt.Sprintf("sweep-%d", i))))
	}
	deleted, lost := make([]int, 8), make([]int, 8)
	atOnce(8, func(w int) {
		for i := w / 2; i < n; i += 4 {
			if w%2 == 0 {
				d, err := s.DeleteExpired(t.Context(), before, 7)
				assert.NoError(t, err)
				deleted[w] += d
				continue
			}
			r := record(fmt.Sprintf("sweep-%d", i))
			r.Version, r.ExpiresAt = 1, before.Add(time.Hour)
			if err := s.Update(t.Context(), r); err != nil {
				assert.ErrorIs(t, err, oauth.ErrNotFound)
				lost[w]++
			}
		}
	})
	all, gone, left := 0, 0, 0
	for i := range deleted {
		all, gone = all+deleted[i], gone+lost[i]
	}
	for _, err := range s.List(t.Context(), oauth.Filter{After: "sweep-"}) {
		require.NoError(t, err)
		left++
	}
	assert.Equal(t, n, all+left, "each was deleted and counted, or lives")
	assert.Equal(t, all, gone, "whoever came too late was told")
}

func TestMaximumLengths(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		for i, wide := range []string{"", "世"} {
			fill := func(n int) string { return strings.Repeat(wide, n/6) + text(n-len(wide)*(n/6)) }
			r := record(text(128))
			r.Realm, r.Kind, r.ClientID, r.Subject = fill(255), oauth.Kind(fill(64)), fill(2048), fill(255)
			r.Data = []byte(fill(1 << 20))
			require.NoError(t, s.Create(t.Context(), r))
			r.Version = 1
			require.NoError(t, s.Update(t.Context(), r))
			r.Version = 2
			n := 0
			for got, err := range s.List(t.Context(), oauth.Filter{Realm: r.Realm, Kind: r.Kind, ClientID: r.ClientID, Subject: r.Subject}) {
				require.NoError(t, err)
				require.Equal(t, r, got)
				n++
			}
			require.Equal(t, 1, n, "%d", i)
		}
	})
}

// What a database would refuse, cut off or change is refused before it is asked:
// this one is closed.
func TestWhatCannotBeStored(t *testing.T) {
	db := connect(t, engines()[0].place(t))
	s, err := sqlstore.Open(db, sqlstore.SQLite)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for name, c := range map[string]struct {
		change func(r *oauth.Record)
		want   string
	}{
		"no ID":                    {func(r *oauth.Record) { r.ID = "" }, "the record has no ID"},
		"ID not UTF-8":             {func(r *oauth.Record) { r.ID = "a\xff" }, "ID is not UTF-8"},
		"Realm not UTF-8":          {func(r *oauth.Record) { r.Realm = "\xc0\x80" }, "Realm is not UTF-8"},
		"Kind not UTF-8":           {func(r *oauth.Record) { r.Kind = "\x80" }, "Kind is not UTF-8"},
		"ClientID not UTF-8":       {func(r *oauth.Record) { r.ClientID = "\xed\xa0\x80" }, "ClientID is not UTF-8"},
		"Subject not UTF-8":        {func(r *oauth.Record) { r.Subject = "\xf8" }, "Subject is not UTF-8"},
		"Subject with a zero byte": {func(r *oauth.Record) { r.Subject = "a\x00" }, "Subject is not UTF-8 without zero bytes"},
		"Data not UTF-8":           {func(r *oauth.Record) { r.Data = []byte{0xff} }, "Data is not UTF-8"},
		"Data with a zero byte":    {func(r *oauth.Record) { r.Data = []byte{0} }, "Data is not UTF-8"},
		"ID too long":              {func(r *oauth.Record) { r.ID = text(129) }, "ID has 129 bytes, more than 128"},
		"Realm too long":           {func(r *oauth.Record) { r.Realm = text(256) }, "Realm has 256"},
		"Kind too long":            {func(r *oauth.Record) { r.Kind = oauth.Kind(text(65)) }, "Kind has 65"},
		"ClientID too long":        {func(r *oauth.Record) { r.ClientID = text(2049) }, "ClientID has 2049"},
		"Subject too long":         {func(r *oauth.Record) { r.Subject = text(256) }, "Subject has 256"},
		"Data too long":            {func(r *oauth.Record) { r.Data = make([]byte, 1<<24) }, "Data has 16777216"},
	} {
		t.Run(name, func(t *testing.T) {
			r := record("a-1")
			c.change(&r)
			require.ErrorContains(t, s.Create(t.Context(), r), c.want)
			require.ErrorContains(t, s.Update(t.Context(), r), c.want)
		})
	}
	require.ErrorContains(t, s.Create(t.Context(), record("a-1")), "database is closed", "or this test shows nothing")
	for _, id := range []string{"\xff", "a\x00", text(129)} {
		_, err = s.Get(t.Context(), id)
		require.ErrorIs(t, err, oauth.ErrNotFound)
	}
	for _, f := range []oauth.Filter{{Subject: "\xff"}, {ClientID: "\x00"}, {Realm: text(256)}, {After: "\xff"}, {Kind: "\xff"}} {
		for r, err := range s.List(t.Context(), f) {
			require.ErrorContains(t, err, "sqlstore: list: ", "whoever erases must not believe that there is nothing")
			require.NotContains(t, err.Error(), "closed")
			require.Zero(t, r)
		}
	}
}

func TestListOnOneConnection(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s, db := e.openAt(t, e.place(t))
		db.SetMaxOpenConns(1)
		const n = 1203 // pages of 500
		for i := range n {
			require.NoError(t, s.Create(t.Context(), record(fmt.Sprintf("a-%05d", i))))
		}
		i := 0
		for r, err := range s.List(t.Context(), oauth.Filter{Kind: oauth.KindAuthorization, Subject: "alice"}) {
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("a-%05d", i), r.ID)
			if i%100 == 0 {
				require.NoError(t, s.Update(t.Context(), r))
			}
			i++
		}
		require.Equal(t, n, i)
		require.Equal(t, 1, db.Stats().OpenConnections)
		require.Zero(t, db.Stats().InUse)
	})
}

func TestInTransaction(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		ctx := t.Context()
		store, db := e.openAt(t, e.place(t))
		_, err := db.ExecContext(ctx, "CREATE TABLE host (n INTEGER)")
		require.NoError(t, err)
		srv := oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage = store })
		live := func(token string) bool { return srv.Introspect(token).JSON["active"] == true }
		token := srv.AccessToken("alice")
		within := func(end func(tx *sql.Tx) error) {
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "INSERT INTO host VALUES (1)")
			require.NoError(t, err)
			in := store.In(tx)
			config := srv.Config
			config.Storage = in
			inside, err := oauth.New(config)
			require.NoError(t, err)
			n, err := inside.Revoke(ctx, oauth.Selector{Subject: "alice"})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			clients := oauth.StoredClients(in)
			require.NoError(t, clients.Create(ctx, oauth.Client{ID: "partner", Public: true, RedirectURIs: []string{oauthtest.Callback}}))
			// An answer is no error to the database: the transaction goes on.
			require.NoError(t, in.Create(ctx, record("a-1")))
			require.ErrorIs(t, in.Create(ctx, record("a-1")), oauth.ErrExists)
			require.ErrorIs(t, in.Update(ctx, record("a-1")), oauth.ErrConflict)
			require.NoError(t, end(tx))
		}

		within((*sql.Tx).Rollback)
		require.True(t, live(token))
		_, err = store.Get(ctx, "a-1")
		require.ErrorIs(t, err, oauth.ErrNotFound)
		_, err = oauth.StoredClients(store).Client(ctx, "partner")
		require.ErrorIs(t, err, oauth.ErrNotFound)

		within((*sql.Tx).Commit)
		require.False(t, live(token))
		_, err = store.Get(ctx, "a-1")
		require.NoError(t, err)
		_, err = oauth.StoredClients(store).Client(ctx, "partner")
		require.NoError(t, err)
		require.Equal(t, 1, count(t, db, "SELECT count(*) FROM host"))
	})
}

// A write that waits for a lock when its context ends is done as a whole or not at all.
func TestContextEndsWhileItWaits(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		p := e.place(t)
		s, _ := e.openAt(t, p)
		require.NoError(t, s.Create(t.Context(), record("a-1")))
		tx, err := connect(t, p).BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), "UPDATE oauth_record SET created_at = created_at + 1")
		require.NoError(t, err)

		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r := record("a-1")
		r.Version, r.Subject = 1, "bob"
		err = s.Update(ctx, r)
		require.Error(t, err)
		require.NotErrorIs(t, err, oauth.ErrConflict)
		require.NoError(t, tx.Rollback())

		got, err := s.Get(t.Context(), "a-1")
		require.NoError(t, err)
		switch got.Version {
		case 1:
			require.Equal(t, "alice", got.Subject)
		default:
			require.Equal(t, int64(2), got.Version)
			require.Equal(t, "bob", got.Subject)
		}
		got.Subject = "carol"
		err = s.Update(t.Context(), got)
		if errors.Is(err, oauth.ErrConflict) { // a server that hears late that the client is gone has done it since
			require.Equal(t, int64(1), got.Version)
			got, err = s.Get(t.Context(), "a-1")
			require.NoError(t, err)
			require.Equal(t, int64(2), got.Version)
			require.Equal(t, "bob", got.Subject)
			got.Subject = "carol"
			err = s.Update(t.Context(), got)
		}
		require.NoError(t, err, "the store goes on")
	})
}

// A server that goes away fails calls; it comes back, and so does the same Store.
func TestServerRestarts(t *testing.T) {
	for _, e := range []engine{
		{"PostgreSQL", sqlstore.PostgreSQL, func() (*servertest.Server, error) { return servertest.PostgreSQL() }},
		{"MariaDB", sqlstore.MySQL, func() (*servertest.Server, error) { return servertest.MariaDB() }},
	} {
		t.Run(e.name, func(t *testing.T) {
			server, err := e.server()
			require.NoError(t, err)
			defer func() { require.NoError(t, server.Remove()) }()
			e.server = func() (*servertest.Server, error) { return server, nil }
			s, _ := e.openAt(t, e.place(t))
			r := record("a-1")
			require.NoError(t, s.Create(t.Context(), r))
			atOnce(8, func(int) { _, _ = s.Get(t.Context(), "a-1") }) // connections that will be stale
			for r.Version = 1; r.Version <= 2; r.Version++ {
				require.NoError(t, s.Update(t.Context(), r))
				require.NoError(t, map[int64]func() error{1: server.Stop, 2: server.Kill}[r.Version]())
				for _, err := range []error{s.Create(t.Context(), record("a-2")), s.Update(t.Context(), r), s.Check(t.Context())} {
					require.Error(t, err)
					for _, answer := range []error{oauth.ErrExists, oauth.ErrConflict, oauth.ErrNotFound} {
						require.NotErrorIs(t, err, answer)
					}
				}
				require.NoError(t, server.Start())
				got, err := s.Get(t.Context(), "a-1")
				require.NoError(t, err, "with the first call")
				require.Equal(t, r.Version+1, got.Version, "what was returned is kept")
			}
			_, err = s.Get(t.Context(), "a-2")
			require.ErrorIs(t, err, oauth.ErrNotFound)
		})
	}
}
