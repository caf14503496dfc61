package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// A browser is what the app remembers of one.
type browser struct {
	cookie  string             // "" until there is something to remember
	Pending map[string]attempt // sign-ins that were begun, by their state: each tab has its own

	SignIn  []step // how the last sign-in went
	Token   *oauth2.Token
	Name    string
	Revoked bool
	Actions [][]step // what the buttons did, the latest first
}

// An attempt to sign in waits for the user to come back.
type attempt struct {
	Verifier string // PKCE: RFC 7636
	First    step
}

// forget drops the tokens and what was done with them.
func (b *browser) forget() {
	b.Token, b.Name, b.Revoked, b.Actions = nil, "", false, nil
}

// sessions keeps browsers in the database. A row is found by a hash of the cookie
// and sealed with another one, so who has a copy of the database has no cookie and
// none of the tokens.
type sessions struct {
	db  *sql.DB
	now func() time.Time
	// One request of a browser at a time: two that refresh at once would both use
	// the same refresh token.
	locks [64]sync.Mutex
}

const (
	forgetAfter = time.Hour // unused
	seenEvery   = time.Minute
)

// lock keeps other requests of the browser waiting until unlock is called.
func (s *sessions) lock(cookie string) (unlock func()) {
	mu := &s.locks[sha256.Sum256([]byte(cookie))[0]%64]
	mu.Lock()
	return mu.Unlock
}

// load finds what is known of a browser, or begins.
func (s *sessions) load(ctx context.Context, cookie string) (*browser, error) {
	id, box, err := boxOf(cookie)
	if err != nil {
		return nil, err
	}
	var data []byte
	var seen int64
	err = s.db.QueryRowContext(ctx, `SELECT data, seen FROM browsers WHERE id = ?`, id).Scan(&data, &seen)
	unused := s.now().Sub(time.Unix(seen, 0))
	if errors.Is(err, sql.ErrNoRows) || err == nil && unused >= forgetAfter {
		return &browser{Pending: map[string]attempt{}}, nil
	}
	if err == nil && unused >= seenEvery {
		_, err = s.db.ExecContext(ctx, `UPDATE browsers SET seen = ? WHERE id = ?`, s.now().Unix(), id)
	}
	if err == nil {
		data, err = box.Open(nil, nil, data, id)
	}
	if err != nil {
		return nil, err
	}
	b := &browser{cookie: cookie}
	return b, json.Unmarshal(data, b)
}

// save stores b under the cookie that it has.
func (s *sessions) save(ctx context.Context, b *browser) error {
	id, data, err := seal(b)
	if err != nil {
		return err
	}
	// No more than an update: what another tab has signed out of meanwhile stays so.
	_, err = s.db.ExecContext(ctx, `UPDATE browsers SET data = ?, seen = ? WHERE id = ?`, data, s.now().Unix(), id)
	return err
}

// renew stores b under a new cookie, so that a value which somebody planted in the
// browser before the sign-in is worth nothing after it.
func (s *sessions) renew(ctx context.Context, b *browser) error {
	old, _, err := boxOf(b.cookie)
	if err != nil {
		return err
	}
	b.cookie = rand.Text()
	id, data, err := seal(b)
	if err != nil {
		return err
	}
	return inTx(ctx, s.db, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM browsers WHERE id = ?`, old)
		if err == nil {
			_, err = tx.ExecContext(ctx, `INSERT INTO browsers (id, data, seen) VALUES (?, ?, ?)`, id, data, s.now().Unix())
		}
		return err
	})
}

// sweep deletes what load would not give out any more.
func (s *sessions) sweep(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM browsers WHERE seen <= ?`, s.now().Add(-forgetAfter).Unix())
	return err
}

// seal is b as it is stored.
func seal(b *browser) (id, data []byte, err error) {
	id, box, err := boxOf(b.cookie)
	if err != nil {
		return nil, nil, err
	}
	if data, err = json.Marshal(b); err != nil {
		return nil, nil, err
	}
	return id, box.Seal(nil, nil, data, id), nil
}

// boxOf gives what follows from a cookie, and does not lead back to it: where its
// row is, and what opens it.
func boxOf(cookie string) (id []byte, box cipher.AEAD, err error) {
	at, key := sha256.Sum256([]byte("id "+cookie)), sha256.Sum256([]byte("key "+cookie))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, nil, err
	}
	box, err = cipher.NewGCMWithRandomNonce(block)
	return at[:], box, err
}
