package sqlite_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/sqlstore/sqlite"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "oauth")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	store, err := sqlite.Open(filepath.Join(dir, "oauth.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	config := oauth.Config{Storage: store, Clients: oauth.StoredClients(store) /* … */}
	fmt.Println(config.Storage == oauth.Storage(store))
	// Output: true
}
