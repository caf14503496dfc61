package sqlstore_test

import (
	"context"
	"database/sql"
	"log"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/sqlstore"
)

// A server on PostgreSQL. All processes of it may start at once.
func ExampleOpen() {
	ctx := context.Background()
	db, err := sql.Open("pgx", "postgres://oauth@db.example/oauth")
	if err != nil {
		log.Fatal(err)
	}
	store, err := sqlstore.Open(db, sqlstore.PostgreSQL)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Migrate(ctx); err != nil { // or Check, where the host runs Schema itself
		log.Fatal(err)
	}
	config := oauth.Config{Storage: store, Clients: oauth.StoredClients(store) /* … */}
	_ = config
}

// A user is deleted together with what clients may do in the user's name.
func ExampleStore_In() {
	deleteUser := func(ctx context.Context, db *sql.DB, store *sqlstore.Store, config oauth.Config, user string) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() // nothing, after the Commit
		if _, err := tx.ExecContext(ctx, "DELETE FROM users WHERE id = $1", user); err != nil {
			return err
		}
		config.Storage = store.In(tx)
		srv, err := oauth.New(config)
		if err != nil {
			return err
		}
		if _, err := srv.Revoke(ctx, oauth.Selector{Subject: user, Erase: true}); err != nil {
			return err
		}
		return tx.Commit()
	}
	_ = deleteUser
}
