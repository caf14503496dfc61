package oauthtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/oauthtest"
)

// Tests that pass under a fault show nothing if the fault does nothing.

// A recorder is a store that notes the calls that reach it.
type recorder struct {
	oauth.Storage
	reached []string
}

func (r *recorder) Create(ctx context.Context, rec oauth.Record) error {
	r.reached = append(r.reached, "Create")
	return r.Storage.Create(ctx, rec)
}

func (r *recorder) Update(ctx context.Context, rec oauth.Record) error {
	r.reached = append(r.reached, "Update")
	return r.Storage.Update(ctx, rec)
}

func (r *recorder) Get(ctx context.Context, id string) (oauth.Record, error) {
	r.reached = append(r.reached, "Get")
	return r.Storage.Get(ctx, id)
}

func (r *recorder) DeleteExpired(ctx context.Context, before time.Time, limit int) (int, error) {
	r.reached = append(r.reached, "DeleteExpired")
	return r.Storage.DeleteExpired(ctx, before, limit)
}

func TestFaulty(t *testing.T) {
	const before, after, twice, canceled = oauthtest.FailBefore, oauthtest.FailAfter, oauthtest.Twice, oauthtest.Canceled
	old := time.Unix(1_000_000_000, 0).UTC()
	record := func(id string) oauth.Record {
		return oauth.Record{ID: id, Kind: oauth.KindConsent, Version: 1, CreatedAt: old, ExpiresAt: old}
	}
	calls := map[string]func(ctx context.Context, s oauth.Storage) error{
		"Create": func(ctx context.Context, s oauth.Storage) error { return s.Create(ctx, record("new")) },
		"Update": func(ctx context.Context, s oauth.Storage) error { return s.Update(ctx, record("there")) },
		"Get":    func(ctx context.Context, s oauth.Storage) error { _, err := s.Get(ctx, "there"); return err },
		"List": func(ctx context.Context, s oauth.Storage) error {
			for _, err := range s.List(ctx, oauth.Filter{}) {
				return err
			}
			return nil
		},
		"DeleteExpired": func(ctx context.Context, s oauth.Storage) error {
			_, err := s.DeleteExpired(ctx, old.Add(time.Hour), 10)
			return err
		},
	}
	for _, c := range []struct {
		method string
		fault  oauthtest.Fault
		want   error
		effect string // what is in the store afterwards
	}{
		{"Create", oauthtest.NoFault, nil, "there 1, new 1"},
		{"Create", before, oauthtest.ErrFault, "there 1"},
		{"Create", after, oauthtest.ErrFault, "there 1, new 1"},
		{"Create", twice, oauth.ErrExists, "there 1, new 1"},
		{"Create", canceled, context.Canceled, "there 1"},
		{"Update", oauthtest.NoFault, nil, "there 2"},
		{"Update", before, oauthtest.ErrFault, "there 1"},
		{"Update", after, oauthtest.ErrFault, "there 2"},
		{"Update", twice, oauth.ErrConflict, "there 2"},
		{"Update", canceled, context.Canceled, "there 1"},
		{"Get", before, oauthtest.ErrFault, "there 1"},
		{"Get", after, oauthtest.ErrFault, "there 1"},
		{"Get", twice, nil, "there 1"},
		{"Get", canceled, context.Canceled, "there 1"},
		{"List", before, oauthtest.ErrFault, "there 1"},
		{"List", after, oauthtest.ErrFault, "there 1"},
		{"List", canceled, context.Canceled, "there 1"},
		{"DeleteExpired", before, oauthtest.ErrFault, "there 1"},
		{"DeleteExpired", after, oauthtest.ErrFault, ""},
		{"DeleteExpired", twice, nil, ""},
	} {
		t.Run(c.method+" "+[...]string{"no fault", "fails before", "fails after", "twice", "panics", "canceled"}[c.fault], func(t *testing.T) {
			inner := &recorder{Storage: memstore.New()}
			s := oauthtest.NewFaulty(inner)
			require.NoError(t, s.Create(t.Context(), record("there")))
			s.Reset()
			inner.reached = nil
			n := 0
			s.Fail(func(call oauthtest.StoreCall) oauthtest.Fault {
				n++
				assert.Equal(t, []any{1, c.method}, []any{call.N, call.Method})
				return c.fault
			})
			require.ErrorIs(t, calls[c.method](t.Context(), s), c.want)
			require.Equal(t, 1, n, "asked once")
			s.Fail(nil)
			if c.fault == twice && c.method != "Get" {
				assert.Equal(t, []string{c.method, c.method}, inner.reached)
			}
			effect := ""
			for _, id := range []string{"there", "new"} {
				if r, err := inner.Storage.Get(t.Context(), id); err == nil {
					effect += map[bool]string{true: "", false: ", "}[effect == ""] + id + map[int64]string{1: " 1", 2: " 2"}[r.Version]
				}
			}
			assert.Equal(t, c.effect, effect)
			require.Equal(t, []string{c.method}, s.Methods())
		})
	}
	for method, call := range calls {
		t.Run(method+" panics", func(t *testing.T) {
			inner := &recorder{Storage: memstore.New()}
			s := oauthtest.NewFaulty(inner)
			s.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.Panic })
			assert.Panics(t, func() { _ = call(t.Context(), s) })
			assert.Empty(t, inner.reached)
		})
	}
	t.Run("the n-th call of a method", func(t *testing.T) {
		s := oauthtest.NewFaulty(memstore.New())
		n := 0
		s.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
			if c.Method == "Create" && c.ID != "" {
				if n++; n == 2 {
					return before
				}
			}
			return oauthtest.NoFault
		})
		for i, want := range []error{nil, oauthtest.ErrFault, nil} {
			require.ErrorIs(t, s.Create(t.Context(), record(string(rune('a'+i)))), want)
			_, _ = s.Get(t.Context(), "a")
		}
		assert.Equal(t, oauthtest.StoreCall{N: 3, Method: "Create", ID: "b"}, s.Calls()[2])
	})
	t.Run("a call waits, and no longer than its context", func(t *testing.T) {
		inner := &recorder{Storage: memstore.New()}
		s := oauthtest.NewFaulty(inner)
		s.Delay(func() time.Duration { return time.Hour })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for method, call := range calls {
			require.ErrorIs(t, call(ctx, s), context.Canceled, method)
		}
		assert.Empty(t, inner.reached)
		s.Delay(func() time.Duration { return 20 * time.Millisecond })
		began := time.Now()
		require.NoError(t, s.Create(t.Context(), record("a")))
		assert.GreaterOrEqual(t, time.Since(began), 20*time.Millisecond)
	})
}
