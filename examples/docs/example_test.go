package docs_test

// The functions of this file are quoted in docs/*.md: a test compares them.

import (
	"context"
	"database/sql"
	"errors"
	"log"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/sqlstore"
)

// sweepHourly is called in a goroutine of the host's, which ends it by the context.
func sweepHourly(ctx context.Context, srv *oauth.Server) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		for n := 1; n > 0; {
			var err error
			if n, err = srv.DeleteExpired(ctx, 1000); err != nil {
				log.Print(err) // the next hour tries again
				break
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func eraseUser(ctx context.Context, srv *oauth.Server, user string) error {
	_, err := srv.Revoke(ctx, oauth.Selector{Subject: user, Erase: true})
	return err // call it again: what was erased before does not matter
}

func endClient(ctx context.Context, srv *oauth.Server, clients *oauth.ClientStore, id string) error {
	// Its tokens are refused from now on; it can be undone.
	_, err := clients.Update(ctx, id, func(c *oauth.Client) error {
		c.Disabled = true
		return nil
	})
	if err != nil {
		return err
	}
	// For good: its authorizations end, and the client is forgotten.
	if _, err := srv.Revoke(ctx, oauth.Selector{ClientID: id}); err != nil {
		return err
	}
	return clients.Erase(ctx, id)
}

// removeRealm works on any store. First stop to serve the realm, everywhere.
func removeRealm(ctx context.Context, store oauth.Storage, realm string) error {
	for r, err := range store.List(ctx, oauth.Filter{Realm: realm}) {
		if err != nil {
			return err
		}
		r.Subject, r.Data, r.ExpiresAt = "", nil, time.Now().Add(-time.Hour)
		// ErrConflict: somebody still serves the realm.
		if err := store.Update(ctx, r); err != nil && !errors.Is(err, oauth.ErrNotFound) {
			return err
		}
	}
	for {
		n, err := store.DeleteExpired(ctx, time.Now(), 1000)
		if n == 0 || err != nil {
			return err
		}
	}
}

// dropSigningKeys gives up the keys of package keystore, while no process runs.
func dropSigningKeys(ctx context.Context, store oauth.Storage, realm string) error {
	for r, err := range store.List(ctx, oauth.Filter{Realm: realm, Kind: oauth.KindKey}) {
		if err != nil {
			return err
		}
		r.Data, r.ExpiresAt = nil, time.Now().Add(-time.Hour)
		if err := store.Update(ctx, r); err != nil {
			return err
		}
	}
	for {
		n, err := store.DeleteExpired(ctx, time.Now(), 1000)
		if n == 0 || err != nil {
			return err
		}
	}
}

// revokeAgain is for a store that went back: with the events "revoked" that the host
// has kept since.
func revokeAgain(ctx context.Context, srv *oauth.Server, authorizations []string) error {
	var failed error
	for _, id := range authorizations {
		_, err := srv.Revoke(ctx, oauth.Selector{ID: id})
		failed = errors.Join(failed, err)
	}
	return failed
}

func openPostgreSQL(ctx context.Context, dsn string) (*sqlstore.Store, error) {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(16) // processes times this must be below the database's max_connections
	db.SetMaxIdleConns(16) // as many: a connection that is closed and opened again costs more than a query
	db.SetConnMaxLifetime(time.Hour)
	store, err := sqlstore.Open(db, sqlstore.PostgreSQL)
	if err != nil {
		return nil, err
	}
	return store, store.Migrate(ctx) // or store.Check(ctx), where a migration tool has run Schema
}

// The two rollouts: both lists are live at the same time, and each opens what the
// other makes.
func firstRollout(config *oauth.Config, old, fresh []byte)  { config.Secrets = [][]byte{old, fresh} }
func secondRollout(config *oauth.Config, old, fresh []byte) { config.Secrets = [][]byte{fresh, old} }
func lastRollout(config *oauth.Config, fresh []byte)        { config.Secrets = [][]byte{fresh} }
