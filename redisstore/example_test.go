package redisstore_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/grantwell/oauth/redisstore"
)

func ExampleOpen() {
	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{"localhost:6379"}})
	defer client.Close()
	ctx := context.Background()
	store, err := redisstore.Open(ctx, client, redisstore.Config{Prefix: "notes:oauth:"})
	if err != nil {
		log.Fatal(err) // says what is wrong and what to do
	}
	// Give it to oauth.Config.Storage; and once an hour:
	for {
		n, err := store.DeleteExpired(ctx, time.Now(), 10_000)
		if err != nil || n == 0 {
			fmt.Println(err)
			break
		}
	}
}
