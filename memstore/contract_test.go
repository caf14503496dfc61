package memstore_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

// What storage.go says of Record, Create, Get, Update and DeleteExpired.

func recordContract() []contract {
	cases := []contract{
		{"IDs are compared byte by byte", recordIDsByteByByte},
		{"times are exact to the millisecond, in whatever zone", recordTimes},
		{"Data is never looked inside", recordData},
	}
	change := func(name string, f func(r *oauth.Record)) {
		cases = append(cases, contract{name, func(t *testing.T, s oauth.Storage) {
			r := record("a-1")
			f(&r)
			create(t, s, r)
			requireRecord(t, r, get(t, s, r.ID))
			all := list(t, s, oauth.Filter{Realm: r.Realm, Kind: r.Kind, ClientID: r.ClientID, Subject: r.Subject})
			require.Len(t, all, 1)
			requireRecord(t, r, all[0])
		}})
	}
	for _, kind := range []oauth.Kind{oauth.KindAuthorization, oauth.KindClient, oauth.KindConsent, oauth.KindKey, oauth.KindSpent, "of-a-later-release"} {
		change("Kind "+string(kind), func(r *oauth.Record) { r.Kind = kind })
	}
	for name, subject := range subjects() {
		change("Subject "+name, func(r *oauth.Record) { r.Subject = subject })
	}
	for name, id := range clientIDs() {
		change("ClientID "+name, func(r *oauth.Record) { r.ClientID = id })
	}
	change("no Realm", func(r *oauth.Record) { r.Realm = "" })
	change("no ClientID, no Subject", func(r *oauth.Record) { r.ClientID, r.Subject = "", "" })
	change("never expires", func(r *oauth.Record) { r.ExpiresAt = time.Time{} })
	change("an ID of a prefix and 64 characters", func(r *oauth.Record) {
		r.ID = "a-" + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	})
	return cases
}

func subjects() map[string]string {
	return map[string]string{
		"plain":                    "alice",
		"of another case":          "Alice",
		"with a space behind":      "alice ",
		"composed":                 "zo\u00eb",
		"decomposed":               "zoe\u0308",
		"wildcards":                "%_*?",
		"quotes":                   `a'b"c\d` + "`",
		"beyond the basic plane":   "👩‍🔬\U00010348",
		"right to left":            "משתמש",
		"255 bytes":                strings.Repeat("s", 255),
		"255 bytes, the last else": strings.Repeat("s", 254) + "t",
		"255 bytes of 3 each":      strings.Repeat("世", 85),
		"a number":                 "0042",
		"a number of less digits":  "42",
		"a line break":             "a\nb",
	}
}

func clientIDs() map[string]string {
	long := "https://client.example/" + strings.Repeat("p", 2048-len("https://client.example/"))
	return map[string]string{
		"plain":                       "app",
		"of another case":             "App",
		"a URL":                       "https://client.example/metadata.json?a=b&c=%2F",
		"2048 bytes":                  long,
		"2048 bytes, the last else":   long[:2047] + "q",
		"a part of the 2048 bytes":    long[:2047],
		"2048 bytes of 2 each":        strings.Repeat("ü", 1024),
		"every other ASCII it may be": " !\"#$%&'()*+,-./:;<=>?@[]^_`{|}~",
	}
}

func recordIDsByteByByte(t *testing.T, s oauth.Storage) {
	// In the order of their bytes; that of a collation would be another.
	ids := []string{"a--", "a-0", "a-9", "a-A", "a-AA", "a-Aa", "a-Z", "a-_", "a-a", "a-aA", "a-aa", "a-z", "b-0"}
	for i := len(ids) - 1; i >= 0; i-- {
		r := record(ids[i])
		r.Data = []byte(fmt.Sprint(i))
		create(t, s, r)
	}
	for i, id := range ids {
		require.Equal(t, fmt.Sprint(i), string(get(t, s, id).Data))
	}
	require.Equal(t, ids, listIDs(t, s, oauth.Filter{Realm: "tenant-1"}))
}

func recordTimes(t *testing.T, s oauth.Storage) {
	zones := []*time.Location{time.UTC, time.FixedZone("west", -11*3600), time.FixedZone("odd", 5*3600+45*60)}
	for i, zone := range zones {
		for _, ms := range []int{0, 1, 499, 500, 999} {
			r := record(fmt.Sprintf("a-%d-%d", i, ms))
			r.CreatedAt = day.Truncate(time.Second).Add(time.Duration(ms) * time.Millisecond).In(zone)
			r.ExpiresAt = r.CreatedAt.AddDate(90, 0, 0)
			create(t, s, r)
			requireRecord(t, r, get(t, s, r.ID))
		}
	}
}

func recordData(t *testing.T, s oauth.Storage) {
	for i, data := range []string{
		`{ "z" : 1 , "a" : 2.0, "z" : 1e2 }`, // order, spaces, doubles and numbers as they are written
		`{"text":"\u00e9 é 世 \ud83d\ude00"}`,
		`"`,
		" \r\n\t ",
		"{\"long\":\"" + strings.Repeat("x", 1<<20) + "\"}",
		"",
	} {
		r := record(fmt.Sprintf("a-%d", i))
		r.Data = []byte(data)
		create(t, s, r)
		require.Equal(t, data, string(get(t, s, r.ID).Data))
		require.NoError(t, s.Update(t.Context(), r))
		require.Equal(t, data, string(get(t, s, r.ID).Data))
	}
}

func createContract() []contract {
	return []contract{
		{"stores version 1, whatever was given", func(t *testing.T, s oauth.Storage) {
			for i, v := range []int64{0, 1, 2, -1, math.MaxInt64} {
				r := record(fmt.Sprintf("a-%d", i))
				r.Version = v
				create(t, s, r)
				r.Version = 1
				requireRecord(t, r, get(t, s, r.ID))
			}
		}},
		{"ErrExists, nothing is written", createTaken},
		{"ErrExists for an ID that was updated", func(t *testing.T, s oauth.Storage) {
			r := record("a-1")
			create(t, s, r)
			require.NoError(t, s.Update(t.Context(), r))
			require.ErrorIs(t, s.Create(t.Context(), r), oauth.ErrExists)
			require.Equal(t, int64(2), get(t, s, "a-1").Version)
		}},
	}
}

func createTaken(t *testing.T, s oauth.Storage) {
	old := record("a-1")
	create(t, s, old)
	for name, change := range map[string]func(r *oauth.Record){
		"the same":      func(*oauth.Record) {},
		"another realm": func(r *oauth.Record) { r.Realm = "tenant-2" },
		"no realm":      func(r *oauth.Record) { r.Realm = "" },
		"another kind":  func(r *oauth.Record) { r.Kind = oauth.KindSpent },
		"all else": func(r *oauth.Record) {
			r.ClientID, r.Subject, r.ExpiresAt, r.Data = "other", "bob", time.Time{}, nil
		},
	} {
		r := old
		change(&r)
		require.ErrorIs(t, s.Create(t.Context(), r), oauth.ErrExists, name)
		requireRecord(t, old, get(t, s, "a-1"))
		require.Len(t, list(t, s, oauth.Filter{Realm: old.Realm, Subject: old.Subject}), 1)
	}
	require.Empty(t, list(t, s, oauth.Filter{Realm: "tenant-2"}))
	require.Empty(t, list(t, s, oauth.Filter{}))
	require.Empty(t, list(t, s, oauth.Filter{Realm: old.Realm, Subject: "bob"}))
}

func getContract() []contract {
	return []contract{
		{"ErrNotFound if there is none", func(t *testing.T, s oauth.Storage) {
			requireMissing(t, s, "a-1")
			create(t, s, record("a-12"))
			for _, id := range []string{"a-1", "a-123", "A-12", "a-12 ", "", "a-%", "a-__"} {
				requireMissing(t, s, id)
			}
		}},
		{"past ExpiresAt: the record or ErrNotFound", func(t *testing.T, s oauth.Storage) {
			r := record("a-1")
			r.CreatedAt, r.ExpiresAt = time.UnixMilli(1000), time.UnixMilli(2000)
			create(t, s, r)
			got, err := s.Get(t.Context(), r.ID)
			if err != nil {
				require.ErrorIs(t, err, oauth.ErrNotFound)
				return
			}
			requireRecord(t, r, got)
		}},
		{"sees every write that returned before", getSeesWrites},
	}
}

func getSeesWrites(t *testing.T, s oauth.Storage) {
	written := make(chan int64)
	go func() {
		defer close(written)
		r := record("a-1")
		if !assert.NoError(t, s.Create(t.Context(), r)) {
			return
		}
		for written <- 1; r.Version < 200; r.Version++ {
			if !assert.NoError(t, s.Update(t.Context(), r)) {
				return
			}
			written <- r.Version + 1
		}
	}()
	last := int64(0)
	for last = range written {
		r, err := s.Get(t.Context(), "a-1")
		assert.NoError(t, err)
		assert.GreaterOrEqual(t, r.Version, last)
	}
	require.Equal(t, int64(200), last)
}

func updateContract() []contract {
	return []contract{
		{"adds one to the version", func(t *testing.T, s oauth.Storage) {
			create(t, s, record("a-1"))
			for v := int64(1); v <= 20; v++ {
				r := get(t, s, "a-1")
				require.Equal(t, v, r.Version)
				require.NoError(t, s.Update(t.Context(), r))
			}
			require.Equal(t, int64(21), get(t, s, "a-1").Version)
		}},
		{"changes Subject, ExpiresAt and Data and nothing else", updateChanges},
		{"ErrConflict, nothing is written", updateConflict},
		{"ErrNotFound, nothing is written", func(t *testing.T, s oauth.Storage) {
			for v := range int64(3) {
				r := record("a-1")
				r.Version = v
				require.ErrorIs(t, s.Update(t.Context(), r), oauth.ErrNotFound)
			}
			requireMissing(t, s, "a-1")
			require.Empty(t, list(t, s, oauth.Filter{Realm: "tenant-1"}))
		}},
		{"moves the record to another subject", updateSubject},
		{"sets, moves and unsets ExpiresAt", updateExpiresAt},
		{"leaves other records alone", func(t *testing.T, s oauth.Storage) {
			for _, id := range []string{"a-1", "a-2", "A-1"} {
				create(t, s, record(id))
			}
			r := record("a-1")
			r.Subject, r.Data = "bob", nil
			require.NoError(t, s.Update(t.Context(), r))
			requireRecord(t, record("a-2"), get(t, s, "a-2"))
			requireRecord(t, record("A-1"), get(t, s, "A-1"))
		}},
		{"empties Subject and Data, to erase", func(t *testing.T, s oauth.Storage) {
			r := record("a-1")
			create(t, s, r)
			r.Subject, r.Data = "", nil
			require.NoError(t, s.Update(t.Context(), r))
			got := get(t, s, "a-1")
			require.Empty(t, got.Subject)
			require.Empty(t, got.Data)
		}},
	}
}

func updateChanges(t *testing.T, s oauth.Storage) {
	old := record("a-1")
	create(t, s, old)
	require.NoError(t, s.Update(t.Context(), oauth.Record{
		Realm: "tenant-2", ID: "a-1", Kind: oauth.KindClient, Version: 1, ClientID: "other", Subject: "bob",
		CreatedAt: day.Add(time.Minute), ExpiresAt: day.Add(time.Hour), Data: []byte(`{"n":2}`),
	}))
	want := old
	want.Version, want.Subject, want.ExpiresAt, want.Data = 2, "bob", day.Add(time.Hour), []byte(`{"n":2}`)
	requireRecord(t, want, get(t, s, "a-1"))
	for _, f := range []oauth.Filter{
		{Realm: old.Realm}, {Realm: old.Realm, Kind: old.Kind}, {Realm: old.Realm, ClientID: old.ClientID},
	} {
		require.Equal(t, []string{"a-1"}, listIDs(t, s, f), "%+v", f)
	}
	for _, f := range []oauth.Filter{
		{Realm: "tenant-2"}, {Realm: old.Realm, Kind: oauth.KindClient}, {Realm: old.Realm, ClientID: "other"},
	} {
		require.Empty(t, listIDs(t, s, f), "%+v", f)
	}
}

func updateConflict(t *testing.T, s oauth.Storage) {
	create(t, s, record("a-1"))
	for range 3 {
		require.NoError(t, s.Update(t.Context(), get(t, s, "a-1")))
	}
	want := get(t, s, "a-1")
	require.Equal(t, int64(4), want.Version)
	for _, v := range []int64{3, 5, 1, 0, -4, math.MaxInt64, math.MinInt64} {
		r := want
		r.Version, r.Subject, r.ExpiresAt, r.Data = v, "bob", time.Time{}, []byte(`{"lost":true}`)
		require.ErrorIs(t, s.Update(t.Context(), r), oauth.ErrConflict, "version %d", v)
		requireRecord(t, want, get(t, s, "a-1"))
	}
	require.Empty(t, listIDs(t, s, oauth.Filter{Realm: want.Realm, Subject: "bob"}))
	require.Equal(t, 1, sweep(t, s, day.Add(time.Second), 10), "ExpiresAt was not unset")
}

func updateSubject(t *testing.T, s oauth.Storage) {
	for _, id := range []string{"a-1", "a-2", "a-3"} {
		create(t, s, record(id))
	}
	for _, subject := range []string{"bob", "", "carol", "alice", "alice", "Alice"} {
		r := get(t, s, "a-2")
		old := r.Subject
		r.Subject = subject
		require.NoError(t, s.Update(t.Context(), r))
		if subject != "" {
			require.Contains(t, listIDs(t, s, oauth.Filter{Realm: r.Realm, Subject: subject}), "a-2")
		}
		if old != "" && old != subject {
			require.NotContains(t, listIDs(t, s, oauth.Filter{Realm: r.Realm, Subject: old}), "a-2")
		}
		require.Equal(t, []string{"a-1", "a-2", "a-3"}, listIDs(t, s, oauth.Filter{Realm: r.Realm, ClientID: r.ClientID}))
	}
	require.Equal(t, []string{"a-1", "a-3"}, listIDs(t, s, oauth.Filter{Realm: "tenant-1", Subject: "alice"}))
}

func updateExpiresAt(t *testing.T, s oauth.Storage) {
	create(t, s, record("a-1"))
	for _, at := range []time.Time{day.Add(time.Hour), {}, {}, day.Add(time.Minute), day.Add(-time.Minute)} {
		r := get(t, s, "a-1")
		r.ExpiresAt = at
		require.NoError(t, s.Update(t.Context(), r))
		require.True(t, at.Equal(get(t, s, "a-1").ExpiresAt))
	}
	require.Zero(t, sweep(t, s, day.Add(-time.Minute), 10))
	require.Equal(t, 1, sweep(t, s, day, 10))
}

func deleteExpiredContract() []contract {
	return []contract{
		{"before the time given, not at it", func(t *testing.T, s oauth.Storage) {
			create(t, s, record("a-1"))
			require.Zero(t, sweep(t, s, day.Add(-time.Millisecond), 10))
			require.Zero(t, sweep(t, s, day, 10))
			require.Equal(t, 1, sweep(t, s, day.Add(time.Millisecond), 10))
			requireMissing(t, s, "a-1")
			require.Zero(t, sweep(t, s, day.Add(time.Millisecond), 10))
		}},
		{"the time given may be of any zone", func(t *testing.T, s oauth.Storage) {
			create(t, s, record("a-1"))
			zone := time.FixedZone("west", -9*3600)
			require.Zero(t, sweep(t, s, day.In(zone), 10))
			require.Equal(t, 1, sweep(t, s, day.Add(time.Millisecond).In(zone), 10))
		}},
		{"never what has no ExpiresAt", func(t *testing.T, s oauth.Storage) {
			r := record("a-1")
			r.ExpiresAt = time.Time{}
			create(t, s, r)
			require.Zero(t, sweep(t, s, day.AddDate(1000, 0, 0), 10))
			requireRecord(t, r, get(t, s, "a-1"))
		}},
		{"at most limit", deleteLimit},
		{"of every realm and kind", deleteEverywhere},
		{"not what was updated to live longer", func(t *testing.T, s oauth.Storage) {
			for i := range 10 {
				create(t, s, record(fmt.Sprintf("a-%d", i)))
			}
			r := record("a-5")
			r.ExpiresAt = day.Add(time.Hour)
			require.NoError(t, s.Update(t.Context(), r))
			r = record("a-6")
			r.ExpiresAt = time.Time{}
			require.NoError(t, s.Update(t.Context(), r))
			require.Equal(t, 8, sweep(t, s, day.Add(time.Second), 100))
			require.Equal(t, []string{"a-5", "a-6"}, listIDs(t, s, oauth.Filter{Realm: "tenant-1"}))
		}},
		{"nothing is left of what was deleted", deleteLeavesNothing},
		{"20,000 records", deleteMany},
	}
}

func deleteLimit(t *testing.T, s oauth.Storage) {
	for i := range 10 {
		create(t, s, record(fmt.Sprintf("a-%d", i)))
	}
	left := 10
	for _, c := range []struct{ limit, want int }{{0, 0}, {-1, 0}, {math.MinInt, 0}, {1, 1}, {3, 3}, {6, 6}, {6, 0}} {
		require.Equal(t, c.want, sweep(t, s, day.Add(time.Second), c.limit), "limit %d", c.limit)
		left -= c.want
		require.Len(t, listIDs(t, s, oauth.Filter{Realm: "tenant-1"}), left)
	}
	create(t, s, record("b-1"))
	require.Equal(t, 1, sweep(t, s, day.Add(time.Second), math.MaxInt))
}

func deleteEverywhere(t *testing.T, s oauth.Storage) {
	n := 0
	for _, realm := range []string{"", "tenant-1", "tenant-2"} {
		for _, kind := range []oauth.Kind{oauth.KindAuthorization, oauth.KindClient, oauth.KindConsent, oauth.KindKey, oauth.KindSpent, "later"} {
			r := record(fmt.Sprintf("a-%d", n))
			r.Realm, r.Kind = realm, kind
			create(t, s, r)
			n++
		}
	}
	require.Equal(t, n, sweep(t, s, day.Add(time.Second), 100))
	for _, realm := range []string{"", "tenant-1", "tenant-2"} {
		require.Empty(t, list(t, s, oauth.Filter{Realm: realm}))
	}
}

func deleteLeavesNothing(t *testing.T, s oauth.Storage) {
	stays := record("a-2")
	stays.ExpiresAt = day.Add(time.Hour)
	create(t, s, stays)
	r := record("a-1")
	create(t, s, r)
	require.Equal(t, 1, sweep(t, s, day.Add(time.Second), 10))

	requireMissing(t, s, r.ID)
	require.ErrorIs(t, s.Update(t.Context(), r), oauth.ErrNotFound)
	filters := []oauth.Filter{
		{Realm: r.Realm}, {Realm: r.Realm, Kind: r.Kind}, {Realm: r.Realm, Subject: r.Subject}, {Realm: r.Realm, ClientID: r.ClientID},
	}
	for _, f := range filters {
		require.Equal(t, []string{"a-2"}, listIDs(t, s, f))
	}
	// The server never uses an ID again; a store does not remember that.
	create(t, s, r)
	requireRecord(t, r, get(t, s, r.ID))
	for _, f := range filters {
		require.Equal(t, []string{"a-1", "a-2"}, listIDs(t, s, f))
	}
}

func deleteMany(t *testing.T, s oauth.Storage) {
	const total = 20_000
	var live []string
	for i := range total {
		r := record(fmt.Sprintf("a-%05d", i))
		if i%20 == 0 {
			r.ExpiresAt = day.Add(time.Hour)
			live = append(live, r.ID)
		}
		create(t, s, r)
	}
	require.Equal(t, 777, sweep(t, s, day.Add(time.Second), 777))
	require.Equal(t, total-total/20-777, sweep(t, s, day.Add(time.Second), total))
	require.True(t, slices.Equal(live, listIDs(t, s, oauth.Filter{Realm: "tenant-1"})))
	require.Equal(t, total/20, sweep(t, s, day.Add(2*time.Hour), total))
	require.Empty(t, list(t, s, oauth.Filter{Realm: "tenant-1"}))
}
