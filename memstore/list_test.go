package memstore_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

// What storage.go says of List and Filter.

func listContract() []contract {
	return []contract{
		{"nothing in an empty store", func(t *testing.T, s oauth.Storage) {
			require.Empty(t, list(t, s, oauth.Filter{}))
			require.Empty(t, list(t, s, oauth.Filter{Realm: "tenant-1", Kind: oauth.KindClient, ClientID: "c", Subject: "s", After: "a"}))
		}},
		{"every field that is set must match", listFields},
		{"the zero Filter matches the realm without a name", func(t *testing.T, s oauth.Storage) {
			create(t, s, record("a-1"))
			r := record("a-2")
			r.Realm = ""
			create(t, s, r)
			require.Equal(t, []string{"a-2"}, listIDs(t, s, oauth.Filter{}))
		}},
		{"subjects are compared byte by byte", listSubjects},
		{"client IDs are compared byte by byte", listClientIDs},
		{"realms are apart", listRealms},
		{"After: greater only, byte by byte", listAfter},
		{"10,000 records in order, in one go and in pages", listMany},
		{"yields whole records", func(t *testing.T, s oauth.Storage) {
			for i := range 20 {
				r := record(fmt.Sprintf("a-%02d", i))
				r.Data = fmt.Appendf(nil, `{"n":%d}`, i)
				create(t, s, r)
				r.ExpiresAt = day.Add(time.Duration(i) * time.Hour)
				require.NoError(t, s.Update(t.Context(), r))
			}
			for _, r := range list(t, s, oauth.Filter{Realm: "tenant-1"}) {
				requireRecord(t, get(t, s, r.ID), r)
			}
		}},
		{"the loop may end early, and the store goes on", listBreak},
		{"the loop may call any method", listLoopCalls},
		{"the loop may update what it gets", listLoopUpdates},
		{"never yields what does not match", listLoopMoves},
	}
}

// mixed is a record of every mixture of realm, kind, client and subject, in an
// order that is not that of the IDs.
func mixed() []oauth.Record {
	var all []oauth.Record
	for _, realm := range []string{"", "tenant-1"} {
		for _, kind := range []oauth.Kind{oauth.KindAuthorization, oauth.KindClient, oauth.KindSpent} {
			for _, client := range []string{"", "app", "web"} {
				for _, subject := range []string{"", "alice", "bob"} {
					r := record(fmt.Sprintf("a-%02d", len(all)*7%54))
					r.Realm, r.Kind, r.ClientID, r.Subject = realm, kind, client, subject
					all = append(all, r)
				}
			}
		}
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// pick is the IDs that a filter selects, told in the words of the contract.
func pick(all []oauth.Record, f oauth.Filter) []string {
	ids := []string{}
	for _, r := range all {
		if r.Realm != f.Realm ||
			f.Kind != "" && f.Kind != r.Kind ||
			f.ClientID != "" && f.ClientID != r.ClientID ||
			f.Subject != "" && f.Subject != r.Subject ||
			f.After != "" && cmp.Compare(r.ID, f.After) <= 0 {
			continue
		}
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	return ids
}

func listFields(t *testing.T, s oauth.Storage) {
	all := mixed()
	for _, r := range all {
		create(t, s, r)
	}
	found := 0
	for _, realm := range []string{"", "tenant-1", "tenant-2"} {
		for _, kind := range []oauth.Kind{"", oauth.KindAuthorization, oauth.KindClient, oauth.KindSpent, oauth.KindKey} {
			for _, client := range []string{"", "app", "web", "none"} {
				for _, subject := range []string{"", "alice", "bob", "nobody"} {
					for _, after := range []string{"", "a-20", "a-5", "b"} {
						f := oauth.Filter{Realm: realm, Kind: kind, ClientID: client, Subject: subject, After: after}
						got := listIDs(t, s, f)
						require.Equal(t, pick(all, f), got, "%+v", f)
						found += len(got)
					}
				}
			}
		}
	}
	require.Greater(t, found, len(all))
}

func listSubjects(t *testing.T, s oauth.Storage) {
	ids := map[string]string{}
	for _, subject := range subjects() {
		ids[subject] = fmt.Sprintf("a-%02d", len(ids))
		r := record(ids[subject])
		r.Subject = subject
		create(t, s, r)
	}
	for subject, id := range ids {
		require.Equal(t, []string{id}, listIDs(t, s, oauth.Filter{Realm: "tenant-1", Subject: subject}), "%q", subject)
	}
}

func listClientIDs(t *testing.T, s oauth.Storage) {
	ids := map[string]string{}
	for _, client := range clientIDs() {
		ids[client] = fmt.Sprintf("a-%02d", len(ids))
		r := record(ids[client])
		r.ClientID = client
		create(t, s, r)
	}
	for client, id := range ids {
		require.Equal(t, []string{id}, listIDs(t, s, oauth.Filter{Realm: "tenant-1", ClientID: client}), "%q", client)
	}
}

func listRealms(t *testing.T, s oauth.Storage) {
	realms := []string{"", "a", "A", "aa", "a ", "a/b", "%", "世"}
	for i, realm := range realms {
		r := record(fmt.Sprintf("a-%d", i))
		r.Realm = realm
		create(t, s, r)
	}
	for i, realm := range realms {
		for _, f := range []oauth.Filter{
			{}, {Kind: oauth.KindAuthorization}, {Subject: "alice"}, {ClientID: "https://client.example/app"},
		} {
			f.Realm = realm
			require.Equal(t, []string{fmt.Sprintf("a-%d", i)}, listIDs(t, s, f), "%+v", f)
		}
	}
	// No concatenation of two fields is another two.
	r := record("b-1")
	r.Realm, r.Subject = "aa", "lice"
	create(t, s, r)
	require.Equal(t, []string{"b-1"}, listIDs(t, s, oauth.Filter{Realm: "aa", Subject: "lice"}))
}

func listAfter(t *testing.T, s oauth.Storage) {
	ids := []string{"a--", "a-0", "a-A", "a-AA", "a-Z", "a-_", "a-a", "a-aa", "a-z", "b-0"}
	for _, id := range ids {
		create(t, s, record(id))
	}
	filters := []oauth.Filter{{}, {Kind: oauth.KindAuthorization}, {Subject: "alice"}, {ClientID: "https://client.example/app"}}
	for _, f := range filters {
		f.Realm = "tenant-1"
		for i, id := range ids {
			f.After = id
			require.Equal(t, ids[i+1:], listIDs(t, s, f), "%+v", f)
		}
		for after, from := range map[string]int{"": 0, "a": 0, "a-": 0, "a-00": 2, "a-B": 4, "a-b": 8, "b-": 9, "c": 10, "\xff": 10} {
			f.After = after
			require.Equal(t, ids[from:], listIDs(t, s, f), "%+v", f)
		}
	}
}

func listMany(t *testing.T, s oauth.Storage) {
	const total = 10_000
	var all []oauth.Record
	for i := range total {
		r := record(fmt.Sprintf("a-%x", uint32(i)*2654435761)) // scattered, of different lengths
		r.Subject = fmt.Sprintf("subject-%d", i%100)
		r.ClientID = fmt.Sprintf("client-%d", i%7)
		if i%10 == 0 {
			r.Kind = oauth.KindClient
		}
		all = append(all, r)
		create(t, s, r)
	}
	for _, f := range []oauth.Filter{
		{},
		{Kind: oauth.KindClient},
		{Subject: "subject-42"},
		{ClientID: "client-3"},
		{Kind: oauth.KindAuthorization, Subject: "subject-1", ClientID: "client-1"},
	} {
		f.Realm = "tenant-1"
		want := pick(all, f)
		require.NotEmpty(t, want)
		require.True(t, slices.Equal(want, listIDs(t, s, f)), "%+v", f)

		size := len(want)/6 + 1
		paged := []string{}
		for {
			page := 0
			for r, err := range s.List(t.Context(), f) {
				require.NoError(t, err)
				paged = append(paged, r.ID)
				f.After = r.ID
				if page++; page == size {
					break
				}
			}
			if page < size {
				break
			}
		}
		require.True(t, slices.Equal(want, paged), "in pages: %+v", f)
	}
}

func listBreak(t *testing.T, s oauth.Storage) {
	for i := range 10 {
		create(t, s, record(fmt.Sprintf("a-%d", i)))
	}
	for range 100 {
		turns := 0
		for range s.List(t.Context(), oauth.Filter{Realm: "tenant-1"}) {
			turns++
			break
		}
		require.Equal(t, 1, turns)
	}
	require.NoError(t, s.Update(t.Context(), record("a-0")))
	create(t, s, record("b-1"))
	require.Len(t, list(t, s, oauth.Filter{Realm: "tenant-1"}), 11)
}

func listLoopCalls(t *testing.T, s oauth.Storage) {
	for i := range 10 {
		create(t, s, record(fmt.Sprintf("a-%d", i)))
	}
	gone := record("z-0")
	gone.Realm, gone.ExpiresAt = "tenant-2", day.Add(-time.Hour)
	turns := 0
	for r, err := range s.List(t.Context(), oauth.Filter{Realm: "tenant-1"}) {
		require.NoError(t, err)
		requireRecord(t, record(fmt.Sprintf("a-%d", turns)), r)
		turns++
		require.NoError(t, s.Update(t.Context(), r))
		require.Equal(t, int64(2), get(t, s, r.ID).Version)
		create(t, s, gone)
		require.Equal(t, 1, sweep(t, s, day, 1))
		require.Len(t, list(t, s, oauth.Filter{Realm: "tenant-1"}), 10)
	}
	require.Equal(t, 10, turns)
}

func listLoopUpdates(t *testing.T, s oauth.Storage) {
	// As Revoke does it: everything of one subject, each by its own Update.
	for i := range 100 {
		r := record(fmt.Sprintf("a-%02d", i))
		if i%4 == 0 {
			r.Subject = "bob"
		}
		create(t, s, r)
	}
	turns := 0
	for r, err := range s.List(t.Context(), oauth.Filter{Realm: "tenant-1", Kind: oauth.KindAuthorization, Subject: "alice"}) {
		require.NoError(t, err)
		turns++
		r.Subject, r.Data = "", nil
		require.NoError(t, s.Update(t.Context(), r))
	}
	require.Equal(t, 75, turns)
	require.Empty(t, list(t, s, oauth.Filter{Realm: "tenant-1", Subject: "alice"}))
	require.Len(t, list(t, s, oauth.Filter{Realm: "tenant-1", Subject: "bob"}), 25)
}

func listLoopMoves(t *testing.T, s oauth.Storage) {
	for i := range 50 {
		create(t, s, record(fmt.Sprintf("a-%02d", i)))
	}
	last := ""
	for r, err := range s.List(t.Context(), oauth.Filter{Realm: "tenant-1", Subject: "alice"}) {
		require.NoError(t, err)
		require.Equal(t, "alice", r.Subject)
		require.Greater(t, r.ID, last)
		last = r.ID
		for _, id := range []string{"a-10", "a-20", "a-49"} { // behind, here or ahead
			moved := get(t, s, id)
			if moved.Subject = "bob"; r.ID >= "a-30" {
				moved.Subject = "alice"
			}
			require.NoError(t, s.Update(t.Context(), moved))
		}
	}
	require.GreaterOrEqual(t, last, "a-48")
	require.Len(t, list(t, s, oauth.Filter{Realm: "tenant-1", Subject: "alice"}), 50)
}
