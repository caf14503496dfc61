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
	"github.com/grantwell/oauth/memstore"
)

// The store is compared with a plain map, step by step, over random sequences.

func TestModel(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			s := memstore.New()
			m := model{map[string]oauth.Record{}, map[string]int{}, rand.New(rand.NewPCG(seed, 2026))}
			for range 2000 {
				m.step(t, s)
			}
			for _, seen := range []string{"created", "exists", "updated", "conflict", "not found", "deleted", "yielded"} {
				require.Positive(t, m.seen[seen], "never happened: %s", seen)
			}
		})
	}
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

type model struct {
	records map[string]oauth.Record
	seen    map[string]int // how often each kind of answer came
	rnd     *rand.Rand
}

func (m *model) step(t *testing.T, s oauth.Storage) {
	switch n := m.rnd.IntN(100); {
	case n < 25:
		m.create(t, s)
	case n < 60:
		m.update(t, s)
	case n < 75:
		m.get(t, s)
	case n < 95:
		m.list(t, s)
	default:
		m.deleteExpired(t, s)
	}
}

func (m *model) id() string { return fmt.Sprintf("a-%d", m.rnd.IntN(60)) }

func (m *model) time() time.Time {
	if m.rnd.IntN(5) == 0 {
		return time.Time{}
	}
	return day.Add(time.Duration(m.rnd.IntN(20)) * time.Millisecond)
}

func (m *model) of(choices ...string) string { return choices[m.rnd.IntN(len(choices))] }

// random is a record with an ID from a few and fields from fewer.
func (m *model) random() oauth.Record {
	return oauth.Record{
		Realm:     m.of("", "tenant-1", "tenant-2"),
		ID:        m.id(),
		Kind:      oauth.Kind(m.of("authorization", "client", "spent")),
		Version:   m.rnd.Int64N(6),
		ClientID:  m.of("", "app", "web"),
		Subject:   m.of("", "alice", "bob", "carol"),
		CreatedAt: day.Add(-time.Duration(m.rnd.IntN(1000)) * time.Millisecond),
		ExpiresAt: m.time(),
		Data:      fmt.Appendf(nil, `{"n":%d}`, m.rnd.Uint32()),
	}
}

func (m *model) create(t *testing.T, s oauth.Storage) {
	r := m.random()
	err := s.Create(t.Context(), r)
	if _, taken := m.records[r.ID]; taken {
		require.ErrorIs(t, err, oauth.ErrExists)
		m.seen["exists"]++
		return
	}
	require.NoError(t, err)
	r.Version = 1
	m.records[r.ID] = r
	m.seen["created"]++
}

func (m *model) update(t *testing.T, s oauth.Storage) {
	r := m.random()
	old, ok := m.records[r.ID]
	if ok && m.rnd.IntN(4) > 0 {
		r.Version = old.Version
	}
	err := s.Update(t.Context(), r)
	switch {
	case !ok:
		require.ErrorIs(t, err, oauth.ErrNotFound)
		m.seen["not found"]++
	case r.Version != old.Version:
		require.ErrorIs(t, err, oauth.ErrConflict)
		m.seen["conflict"]++
	default:
		require.NoError(t, err)
		old.Version++
		old.Subject, old.ExpiresAt, old.Data = r.Subject, r.ExpiresAt, r.Data
		m.records[r.ID] = old
		m.seen["updated"]++
	}
}

func (m *model) get(t *testing.T, s oauth.Storage) {
	id := m.id()
	want, ok := m.records[id]
	if !ok {
		requireMissing(t, s, id)
		return
	}
	requireRecord(t, want, get(t, s, id))
}

func (m *model) list(t *testing.T, s oauth.Storage) {
	f := oauth.Filter{
		Realm:    m.of("", "tenant-1", "tenant-2", "tenant-3"),
		Kind:     oauth.Kind(m.of("", "authorization", "client", "spent", "key")),
		ClientID: m.of("", "", "app", "web"),
		Subject:  m.of("", "", "alice", "bob"),
		After:    m.of("", m.id()),
	}
	var all []oauth.Record
	for _, r := range m.records {
		all = append(all, r)
	}
	want := pick(all, f)
	if m.rnd.IntN(3) == 0 { // a page
		size := min(1+m.rnd.IntN(5), len(want))
		page := []string{}
		for r, err := range s.List(t.Context(), f) {
			require.NoError(t, err)
			if page = append(page, r.ID); len(page) >= size {
				break
			}
		}
		require.Equal(t, want[:size], page, "%+v", f)
		return
	}
	got := list(t, s, f)
	require.Len(t, got, len(want), "%+v", f)
	for i, r := range got {
		require.Equal(t, want[i], r.ID)
		requireRecord(t, m.records[r.ID], r)
		m.seen["yielded"]++
	}
}

// deleteExpired leaves it to the store which of the expired records it deletes.
func (m *model) deleteExpired(t *testing.T, s oauth.Storage) {
	before, limit := m.time(), m.rnd.IntN(12)-1
	expired := []string{}
	for id, r := range m.records {
		if !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(before) {
			expired = append(expired, id)
		}
	}
	n := sweep(t, s, before, limit)
	require.Equal(t, max(0, min(limit, len(expired))), n)
	left := []string{}
	for _, realm := range []string{"", "tenant-1", "tenant-2"} {
		left = append(left, listIDs(t, s, oauth.Filter{Realm: realm})...)
	}
	for _, id := range expired {
		if !slices.Contains(left, id) {
			delete(m.records, id)
			m.seen["deleted"]++
			n--
		}
	}
	require.Zero(t, n, "counted and gone differ")
	require.Len(t, left, len(m.records), "a record is gone that had not expired")
}
