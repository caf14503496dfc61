// Command sweep deletes what has expired from the PostgreSQL database that the
// variable DATABASE_URL names. It is for cron: any number may run at once, and one
// that is stopped half-way has done half of it.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/grantwell/oauth/sqlstore"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	n, err := sweep(ctx, os.Getenv("DATABASE_URL"))
	fmt.Println(n, "records deleted")
	if err != nil {
		log.Fatal(err)
	}
}

func sweep(ctx context.Context, dsn string) (total int, err error) {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	store, err := sqlstore.Open(db, sqlstore.PostgreSQL)
	if err != nil {
		return 0, err
	}
	before := time.Now().Add(-time.Minute) // the clocks of the servers may be behind
	for {
		n, err := store.DeleteExpired(ctx, before, 1000)
		total += n
		if n == 0 || err != nil {
			return total, err
		}
	}
}
