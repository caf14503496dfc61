package redisstore

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

// What a server holds is never trusted to be what was written.
func FuzzParse(f *testing.F) {
	r := oauth.Record{Realm: "t", ID: "a-1", Kind: oauth.KindAuthorization, ClientID: "app", Subject: "alice", CreatedAt: time.UnixMilli(1), Data: []byte("{}")}
	f.Add(value(&r, "ABCDEFGH"))
	for _, seed := range []string{"", "1 ", "\n", "1 1 - n 0 0 0 0 0\n", "1 1 - n 0 9 0 0 0\nshort", "1 1 - n 0 -1 0 0 0\n", "1 9223372036854775808 - n 0 0 0 0 0\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		r, nonce, err := parse("a-1", stored)
		if err != nil {
			return
		}
		again, sameNonce, err := parse("a-1", value(&r, nonce))
		require.NoError(t, err)
		again.Version = r.Version // value is for new records
		require.Equal(t, nonce, sameNonce)
		require.Equal(t, r, again)
	})
}

func FuzzParseEntry(f *testing.F) {
	r := oauth.Record{Realm: "t", ID: "a-1", Kind: oauth.KindAuthorization, ClientID: "app"}
	f.Add(newEntry(&r).member())
	r.Subject = "alice"
	f.Add(newEntry(&r).member())
	f.Add("")
	f.Add(" ")
	f.Fuzz(func(t *testing.T, member string) {
		if e, ok := parseEntry(member); ok {
			require.Equal(t, member, e.member())
		}
	})
}
