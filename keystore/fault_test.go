package keystore_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/keystore"
	"github.com/grantwell/oauth/oauthtest"
)

// Whichever call of the store goes wrong, and however: afterwards all processes
// agree, with the store too, no key that was used is lost, and asking again does
// what was asked.
func TestFaults(t *testing.T) {
	operations := []struct {
		name   string
		before func(w *world, s *keystore.Store) // what happened until then
		do     func(ctx context.Context, s *keystore.Store, signer string) error
		after  string // the states in the end
	}{
		{"the first key", func(*world, *keystore.Store) {},
			func(ctx context.Context, s *keystore.Store, _ string) error { _, err := s.Keys(ctx); return err }, "ES256 signing, ES256 next"},
		{"the next key", func(w *world, s *keystore.Store) { keysOf(w.t, s); w.clock.Advance(30 * day) },
			func(ctx context.Context, s *keystore.Store, _ string) error { _, err := s.Keys(ctx); return err }, "ES256 signing, ES256 next, ES256 retired"},
		{"Rotate", func(w *world, s *keystore.Store) { keysOf(w.t, s); w.clock.Advance(day) },
			func(ctx context.Context, s *keystore.Store, _ string) error { _, err := s.Rotate(ctx); return err }, "ES256 signing, ES256 next, ES256 retired"},
		{"RotateNow", func(w *world, s *keystore.Store) { keysOf(w.t, s); w.clock.Advance(day) },
			func(ctx context.Context, s *keystore.Store, signer string) error {
				if keys, err := s.List(ctx); err == nil && keys[0].ID != signer {
					return nil // it took effect, whatever was said
				}
				return s.RotateNow(ctx)
			}, "ES256 signing, ES256 next, ES256 retired"},
		{"Retire", func(w *world, s *keystore.Store) { keysOf(w.t, s); w.clock.Advance(day) },
			func(ctx context.Context, s *keystore.Store, signer string) error { return s.Retire(ctx, signer) }, "ES256 signing, ES256 next"},
	}
	for _, op := range operations {
		for name, fault := range map[string]oauthtest.Fault{"before": oauthtest.FailBefore, "after": oauthtest.FailAfter,
			"twice": oauthtest.Twice, "panic": oauthtest.Panic} {
			for n := 1; n <= 4; n++ {
				t.Run(fmt.Sprintf("%s, call %d fails %s", op.name, n, name), func(t *testing.T) {
					w := newWorld(t)
					s := w.process(keystore.Options{})
					op.before(w, s)
					signer := ""
					if all := listOf(t, s); len(all) > 0 {
						signer = all[0].ID
					}
					w.store.Reset()
					w.store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
						if c.N == n {
							return fault
						}
						return oauthtest.NoFault
					})
					err := attempt(func() error { return op.do(t.Context(), s, signer) })
					written := slices.ContainsFunc(w.store.Calls(), func(c oauthtest.StoreCall) bool {
						return c.N == n && (c.Method == "Create" || c.Method == "Update")
					})
					if written && (fault == oauthtest.FailAfter || fault == oauthtest.Twice) {
						assert.NoError(t, err, "it was written, and reading it back says so")
					}
					w.store.Fail(nil)
					if err != nil {
						if err = op.do(t.Context(), s, signer); strings.HasPrefix(op.name, "Retire") && err != nil {
							require.ErrorIs(t, err, oauth.ErrNotFound)
							err = nil
						}
					}
					require.NoError(t, err)
					w.clock.Advance(time.Minute) // a key that was due is tried again
					mine := idsOf(keysOf(t, s))
					assert.Equal(t, op.after, states(listOf(t, s)))
					assert.Equal(t, mine, idsOf(keysOf(t, w.process(keystore.Options{}))))
					assert.True(t, signs(t, keysOf(t, s)[0]))
					if op.name != "Retire" && signer != "" {
						assert.Contains(t, mine, signer, "its tokens are out")
					}
				})
			}
		}
	}
}

// attempt turns a panic into an error.
func attempt(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do()
}

// Of a write that was given up nobody knows: it may take effect late.
func TestLateWrite(t *testing.T) {
	w := newWorld(t)
	late := &lateStore{Faulty: w.store}
	cfg := w.config()
	cfg.Storage = late
	s, err := keystore.New(cfg, keystore.Options{})
	require.NoError(t, err)
	_, err = s.Keys(t.Context())
	require.Error(t, err)
	require.NotNil(t, late.create)
	other := keysOf(t, w.process(keystore.Options{}))
	assert.ErrorIs(t, w.store.Create(t.Context(), *late.create), oauth.ErrExists)
	assert.Equal(t, idsOf(other), idsOf(keysOf(t, s)), "the key that was given up is used by nobody")
}

// lateStore keeps its first Create back.
type lateStore struct {
	*oauthtest.Faulty
	create *oauth.Record
}

func (s *lateStore) Create(ctx context.Context, r oauth.Record) error {
	if s.create == nil {
		s.create = &r
		return oauthtest.ErrFault
	}
	return s.Faulty.Create(ctx, r)
}

// A caller that hangs up does not leave a write half known.
func TestCallerHangsUp(t *testing.T) {
	w := newWorld(t)
	id := keysOf(t, w.process(keystore.Options{}))[0].ID
	ctx, cancel := context.WithCancel(t.Context())
	cfg := w.config()
	cfg.Storage = hangUp{w.store, cancel}
	s, err := keystore.New(cfg, keystore.Options{})
	require.NoError(t, err)
	require.NoError(t, s.Retire(ctx, id))
	assert.ErrorIs(t, ctx.Err(), context.Canceled)
	assert.NotEqual(t, id, listOf(t, s)[0].ID)
}

// hangUp is a store whose caller hangs up when a write begins.
type hangUp struct {
	*oauthtest.Faulty
	cancel func()
}

func (s hangUp) Update(ctx context.Context, r oauth.Record) error {
	s.cancel()
	return s.Faulty.Update(ctx, r)
}

// After a restore the same version can be another history.
func TestOtherHistory(t *testing.T) {
	a, b := newWorld(t), newWorld(t)
	want := idsOf(keysOf(t, b.process(keystore.Options{})))
	now := &struct{ oauth.Storage }{a.store}
	cfg := a.config()
	cfg.Storage = now
	s, err := keystore.New(cfg, keystore.Options{})
	require.NoError(t, err)
	require.NotEqual(t, want, idsOf(keysOf(t, s)))
	now.Storage = b.store
	a.clock.Advance(time.Minute)
	assert.Equal(t, want, idsOf(keysOf(t, s)))
}
