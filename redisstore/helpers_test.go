package redisstore_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

// record is a record with every field set; it lives.
func record(id string) oauth.Record {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return oauth.Record{
		Realm: "tenant-1", ID: id, Kind: oauth.KindAuthorization, Version: 1, ClientID: "https://client.example/app", Subject: "alice",
		CreatedAt: now.Add(-time.Minute), ExpiresAt: now.Add(time.Hour), Data: []byte(`{"head":"AQID"}`),
	}
}

func filterOf(r oauth.Record) oauth.Filter {
	return oauth.Filter{Realm: r.Realm, Kind: r.Kind, Subject: r.Subject}
}

// filters are all that select a record, each by its own way.
func filters(r oauth.Record) []oauth.Filter {
	all := []oauth.Filter{{}, {Kind: r.Kind}, {ClientID: r.ClientID}, {Kind: r.Kind, ClientID: r.ClientID}}
	if r.Subject != "" {
		all = append(all, oauth.Filter{Subject: r.Subject}, oauth.Filter{Kind: r.Kind, Subject: r.Subject},
			oauth.Filter{Kind: r.Kind, ClientID: r.ClientID, Subject: r.Subject})
	}
	for i := range all {
		all[i].Realm = r.Realm
	}
	return all
}

func ids(t testing.TB, s oauth.Storage, f oauth.Filter) []string {
	t.Helper()
	found := []string{}
	for r, err := range s.List(t.Context(), f) {
		require.NoError(t, err)
		found = append(found, r.ID)
	}
	return found
}

// keys are all keys of a server.
func keys(t testing.TB, c redis.UniversalClient) []string {
	t.Helper()
	all, err := c.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	return all
}
