package main

import (
	"context"
	"encoding/base64"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/internal/webtest"
	"github.com/grantwell/oauth/oauthtest"
)

// rows counts those of a table.
func rows(t *testing.T, h *host, table string) (n int) {
	t.Helper()
	require.NoError(t, h.db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
	return n
}

func TestSessions(t *testing.T) {
	clock := oauthtest.NewClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	s := serveFile(t, 1, options{Now: clock.Now})
	h := (*s.hosts.Load())[0]
	b := signedIn(t, s.issuer(), "alice", "wonderland")
	for range 3 {
		clock.Advance(forgetAfter - time.Second)
		require.NoError(t, h.sessions.sweep(t.Context()))
		b.Open(s.issuer() + "/")
		assert.Contains(t, b.Text, "Signed in as Alice", "used within the hour")
	}
	require.Equal(t, 1, rows(t, h, "browsers"), "the cookie is new after a sign-in, the row before is gone")
	clock.Advance(forgetAfter)
	b.Open(s.issuer() + "/")
	assert.Contains(t, b.Text, "Signed out")
	require.NoError(t, h.sessions.sweep(t.Context()))
	assert.Zero(t, rows(t, h, "browsers"))

	t.Run("what another tab has signed out of stays so", func(t *testing.T) {
		b := &browser{Pending: map[string]attempt{}}
		require.NoError(t, h.sessions.renew(t.Context(), b))
		other, err := h.sessions.load(t.Context(), b.cookie)
		require.NoError(t, err)
		require.Equal(t, b, other)
		require.NoError(t, h.sessions.renew(t.Context(), b))
		require.NoError(t, h.sessions.save(t.Context(), other))
		gone, err := h.sessions.load(t.Context(), other.cookie)
		require.NoError(t, err)
		assert.Empty(t, gone.cookie)
		assert.Equal(t, 1, rows(t, h, "browsers"))
	})
	t.Run("a row that was put under another id", func(t *testing.T) {
		b := &browser{Name: "Alice"}
		require.NoError(t, h.sessions.renew(t.Context(), b))
		real, _, err := boxOf(b.cookie)
		require.NoError(t, err)
		id, _, err := boxOf("planted")
		require.NoError(t, err)
		_, err = h.db.ExecContext(t.Context(), `UPDATE browsers SET id = ? WHERE id = ?`, id, real)
		require.NoError(t, err)
		_, err = h.sessions.load(t.Context(), "planted")
		assert.ErrorContains(t, err, "authentication failed")
	})
}

// The database is away: nobody is told that a password is wrong or a token bad.
func TestWithoutDatabase(t *testing.T) {
	s := serveFile(t, 1, options{})
	h := (*s.hosts.Load())[0]
	b := signedIn(t, s.issuer(), "alice", "wonderland")
	login := webtest.New(t, "")
	login.Open(s.issuer() + "/")
	login.Press("Sign in")
	require.NoError(t, h.db.Close())

	b.Open(s.issuer() + "/")
	assert.Equal(t, http.StatusServiceUnavailable, b.Status)
	login.Press("Sign in", "alice", "wonderland")
	assert.Equal(t, http.StatusServiceUnavailable, login.Status)
	resp, _ := post(t, s.issuer()+"/oauth/token", "demo-spa", "", map[string][]string{"grant_type": {"refresh_token"}, "refresh_token": {"x"}})
	assert.Equal(t, http.StatusBadRequest, resp.StatusCode, "no look at the database is needed for that")

	n := &notes{h.db.DB, time.Now, h.logger}
	for method, do := range map[string]http.HandlerFunc{http.MethodGet: n.list, http.MethodPost: n.add} {
		w := serveLocal(do, method, `{"text":"x"}`)
		assert.Equal(t, http.StatusServiceUnavailable, w.Code, method)
		assert.Equal(t, "2", w.Header().Get("Retry-After"))
	}
}

// In memory the one connection is the database: queries that are given up must not
// take it along.
func TestMemoryStays(t *testing.T) {
	h := startHost(t, options{})
	n := &notes{h.db.DB, time.Now, h.logger}
	var all sync.WaitGroup
	var given atomic.Int64
	for range 8 {
		all.Go(func() {
			for i := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Microsecond)
				if _, err := n.of(ctx, "user alice"); err != nil {
					given.Add(1)
				}
				cancel()
			}
		})
	}
	all.Wait()
	assert.Positive(t, given.Load(), "or this shows nothing")
	assert.Equal(t, 2, rows(t, h, "users"))
}

// The secret is replaced as an operator does it: the new one first, later the old
// one goes.
func TestNewSecret(t *testing.T) {
	s := serveFile(t, 1, options{})
	b := signedIn(t, s.issuer(), "alice", "wonderland")
	d := newDevice(s.issuer())
	token, err := d.redeem(t, d.code(t))
	require.NoError(t, err)
	old, err := os.ReadFile(s.o.secretFile())
	require.NoError(t, err)
	keys := jwks(t, s.issuer())
	fresh := base64.StdEncoding.EncodeToString(oauth.NewSecret()) + "\n"

	require.NoError(t, os.WriteFile(s.o.secretFile(), []byte(fresh+"\n"+string(old)), 0o600))
	s.restart(1)
	b.Press("Read my notes")
	assert.Contains(t, latest(t, b), "200 OK")
	next, err := d.refresh(t, token)
	require.NoError(t, err)
	assert.NotEqual(t, keys, jwks(t, s.issuer()))

	require.NoError(t, os.WriteFile(s.o.secretFile(), []byte(fresh), 0o600))
	s.restart(1)
	b.Press("Read my notes")
	assert.Contains(t, latest(t, b), "401 Unauthorized", "of the old secret")
	_, err = d.refresh(t, token)
	assert.ErrorContains(t, err, "invalid_grant")
	_, err = d.refresh(t, next)
	assert.NoError(t, err, "of the new one")
}
