package memstore

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

// What cannot be seen from outside: that the indexes lead to every record they
// should and keep nothing else, and that List and DeleteExpired look at no more
// than they must.

var day = time.Date(2100, time.February, 3, 4, 5, 6, 789_000_000, time.UTC)

func testRecord(id string) oauth.Record {
	return oauth.Record{
		Realm: "tenant-1", ID: id, Kind: oauth.KindAuthorization, Version: 1, ClientID: "app", Subject: "alice",
		CreatedAt: day.Add(-time.Hour), ExpiresAt: day, Data: []byte(`{}`),
	}
}

// requireSound checks every index of every shard against the records.
func requireSound(t *testing.T, s *Store) {
	t.Helper()
	for n := range s.shards {
		h := &s.shards[n]
		want := [indexCount]map[key]int{{}, {}, {}}
		queued := 0
		for id, e := range h.records {
			require.Equal(t, id, e.rec.ID)
			require.Same(t, h, s.shard(id))
			for i, k := range e.keys() {
				if k.term != "" {
					want[i][k]++
					continue
				}
				require.Zero(t, e.links[i], "leads to entries that may be deleted")
			}
			if e.rec.ExpiresAt.IsZero() {
				require.Equal(t, notQueued, e.pos)
				continue
			}
			queued++
			require.Same(t, e, h.expiry[e.pos])
			require.False(t, h.expiry.Less(e.pos, max(0, e.pos-1)/2), "not a heap")
		}
		require.Len(t, h.expiry, queued)
		for _, e := range h.expiry[len(h.expiry):cap(h.expiry)] {
			require.Nil(t, e, "a deleted entry is kept alive")
		}
		for i := range want {
			require.Len(t, h.index[i], len(want[i]))
			for k, n := range want[i] {
				requireChain(t, h, i, k, n)
			}
		}
	}
}

func requireChain(t *testing.T, h *shard, i int, k key, n int) {
	t.Helper()
	c := h.index[i][k]
	require.Equal(t, n, c.n)
	var prev *entry
	for e := c.first; e != nil; prev, e = e, e.links[i].next {
		require.Same(t, h.records[e.rec.ID], e)
		require.Equal(t, k, e.keys()[i])
		require.True(t, prev == e.links[i].prev)
		n--
	}
	require.Zero(t, n)
}

func TestIndexesStaySound(t *testing.T) {
	s, rnd := New(), rand.New(rand.NewPCG(7, 7))
	pick := func(choices ...string) string { return choices[rnd.IntN(len(choices))] }
	for n := range 30_000 {
		r := testRecord(fmt.Sprintf("a-%d", rnd.IntN(500)))
		r.Realm, r.Kind = pick("", "tenant-1"), oauth.Kind(pick("authorization", "client"))
		r.ClientID, r.Subject = pick("", "app", "web"), pick("", "alice", "bob")
		if r.ExpiresAt = day.Add(time.Duration(rnd.IntN(n+1)) * time.Second); rnd.IntN(4) == 0 {
			r.ExpiresAt = time.Time{}
		}
		if err := s.Create(t.Context(), r); err != nil {
			require.ErrorIs(t, err, oauth.ErrExists)
			stored, err := s.Get(t.Context(), r.ID)
			require.NoError(t, err)
			r.Version = stored.Version
			require.NoError(t, s.Update(t.Context(), r))
		}
		if n%50 == 0 {
			_, err := s.DeleteExpired(t.Context(), day.Add(time.Duration(n/2)*time.Second), 40)
			require.NoError(t, err)
		}
		if n%1000 == 0 {
			requireSound(t, s)
		}
	}
	requireSound(t, s)
}

func TestNothingIsLeftOfDeletedRecords(t *testing.T) {
	s := New()
	const total = 10_000
	for i := range total {
		r := testRecord(fmt.Sprintf("a-%d", i))
		r.Realm = fmt.Sprintf("tenant-%d", i%3)
		r.ClientID, r.Subject = fmt.Sprintf("client-%d", i), fmt.Sprintf("subject-%d", i)
		require.NoError(t, s.Create(t.Context(), r))
		r.Subject = fmt.Sprintf("other-%d", i)
		require.NoError(t, s.Update(t.Context(), r))
	}
	requireSound(t, s)
	n, err := s.DeleteExpired(t.Context(), day.Add(time.Second), total)
	require.NoError(t, err)
	require.Equal(t, total, n)
	requireSound(t, s)
	for n := range s.shards {
		require.Empty(t, s.shards[n].records)
		require.Empty(t, s.shards[n].expiry)
		for i := range s.shards[n].index {
			require.Empty(t, s.shards[n].index[i])
		}
	}
}

// One record, updated a million times, each time with another expiry and subject,
// has one place in the queue and one in each index.
func TestMillionUpdatesLeaveNothingBehind(t *testing.T) {
	s := New()
	r := testRecord("a-1")
	require.NoError(t, s.Create(t.Context(), r))
	for i := range int64(1_000_000) {
		r.Version = i + 1
		r.ExpiresAt = day.Add(time.Duration(i%1000) * time.Second)
		r.Subject = [...]string{"alice", "bob", ""}[i%3]
		if err := s.Update(t.Context(), r); err != nil {
			require.NoError(t, err)
		}
	}
	requireSound(t, s)
	h := s.shard("a-1")
	require.Len(t, h.expiry, 1)
	require.LessOrEqual(t, cap(h.expiry), 8)
	n, err := s.DeleteExpired(t.Context(), day.AddDate(1, 0, 0), 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	requireSound(t, s)
}

func TestListLooksAtTheShortestChain(t *testing.T) {
	s := New()
	for i := range 9000 {
		r := testRecord(fmt.Sprintf("a-%d", i))
		r.ClientID, r.Subject = fmt.Sprintf("client-%d", i%30), fmt.Sprintf("subject-%d", i%3000)
		if i%1000 == 0 {
			r.Kind, r.Subject = oauth.KindClient, ""
		}
		require.NoError(t, s.Create(t.Context(), r))
		r.Realm, r.ID = "tenant-2", "b"+r.ID
		require.NoError(t, s.Create(t.Context(), r))
	}
	for _, c := range []struct {
		filter oauth.Filter
		want   int
	}{
		{oauth.Filter{Kind: oauth.KindClient}, 9},
		{oauth.Filter{Kind: oauth.KindAuthorization}, 8991},
		{oauth.Filter{ClientID: "client-7"}, 300},
		{oauth.Filter{Subject: "subject-7"}, 3},
		{oauth.Filter{Kind: oauth.KindAuthorization, Subject: "subject-7"}, 3},
		{oauth.Filter{Kind: oauth.KindAuthorization, ClientID: "client-7", Subject: "subject-7"}, 3},
		{oauth.Filter{Kind: oauth.KindAuthorization, ClientID: "client-7", Subject: "nobody"}, 0},
		{oauth.Filter{Kind: oauth.KindKey}, 0},
		{oauth.Filter{}, 18_000},
	} {
		c.filter.Realm = "tenant-1"
		looked := 0
		for i := range s.shards {
			s.shards[i].visit(&c.filter, func(*entry) { looked++ })
		}
		// The shortest is chosen shard by shard, so it may be fewer.
		require.LessOrEqual(t, looked, c.want, "%+v", c.filter)
		if c.filter.ClientID == "" || c.filter.Subject == "" {
			require.Equal(t, c.want, looked, "%+v", c.filter)
		}
	}
}

func TestRecordsAreSpreadOverTheShards(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{1})
	const total = 64_000
	for name, id := range map[string]func(i int) string{
		"as the server makes them": func(int) string {
			b := make([]byte, 16)
			_, _ = rnd.Read(b)
			return "a-" + base64.RawURLEncoding.EncodeToString(b)
		},
		"counted":     func(i int) string { return fmt.Sprintf("c-%d", i) },
		"counted hex": func(i int) string { return fmt.Sprintf("%08x", i) },
	} {
		t.Run(name, func(t *testing.T) {
			s, counts := New(), map[*shard]int{}
			for i := range total {
				counts[s.shard(id(i))]++
			}
			require.Len(t, counts, shardCount)
			for _, n := range counts {
				require.Less(t, n, 2*total/shardCount)
			}
		})
	}
}
