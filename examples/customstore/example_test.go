package customstore_test

import (
	"log"
	"time"

	"go.etcd.io/bbolt"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/customstore"
	"github.com/grantwell/oauth/grants"
)

// A server whose authorizations and clients are in a file of bbolt.
func ExampleNew() {
	db, err := bbolt.Open("oauth.db", 0o600, &bbolt.Options{Timeout: time.Second}) // one process at a time
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := customstore.New(db)
	if err != nil {
		log.Fatal(err)
	}
	srv, err := oauth.New(oauth.Config{
		Issuer:  "https://as.example",
		Storage: store,
		Clients: oauth.StoredClients(store),
		Grants:  []oauth.Grant{grants.ClientCredentials{}},
		Secrets: [][]byte{oauth.NewSecret()},
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = srv.Handler()
}
