package oauthtest

import (
	"context"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
)

// The suite has tests of its own: right stores of all sorts pass it, and each
// mistake of teststorage_broken*_test.go fails the checks that are named for it.

func TestStorageContract(t *testing.T) {
	shared := memstore.New()
	for name, open := range map[string]func() oauth.Storage{
		"one store for all":          func() oauth.Storage { return shared },
		"drops what expired at once": dropsAtOnce,
		"one connection":             func() oauth.Storage { return newPool(1) },
		"wraps, rounds, in a zone":   otherwise,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			TestStorage(t, func(*testing.T) oauth.Storage { return open() })
		})
	}
}

// dropsAtOnce has a clock of its own and leaves nothing to DeleteExpired.
func dropsAtOnce() oauth.Storage {
	s := made(func(s *table) {
		s.visible = func(r oauth.Record) bool { return r.ExpiresAt.IsZero() || r.ExpiresAt.After(time.Now()) }
	})
	return &patched{Storage: s, sweep: func(context.Context, time.Time, int) (int, error) { return 0, nil }}
}

// otherwise does all that the contract leaves open in another way than memstore:
// it wraps its errors, rounds times, returns them in a zone, knows no context,
// and turns empty Data into nil.
func otherwise() oauth.Storage {
	east := time.FixedZone("east", 9*3600)
	s := made(func(s *table) {
		s.keep = func(r *oauth.Record) {
			r.CreatedAt = r.CreatedAt.Round(time.Millisecond).In(east)
			if !r.ExpiresAt.IsZero() {
				r.ExpiresAt = r.ExpiresAt.Round(time.Millisecond).In(east)
			}
			if len(r.Data) == 0 {
				r.Data = nil
			}
		}
	})
	wrap := func(err error) error {
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		return nil
	}
	free := context.WithoutCancel
	return &patched{Storage: s,
		create: func(ctx context.Context, r oauth.Record) error { return wrap(s.Create(free(ctx), r)) },
		update: func(ctx context.Context, r oauth.Record) error { return wrap(s.Update(free(ctx), r)) },
		get: func(ctx context.Context, id string) (oauth.Record, error) {
			r, err := s.Get(free(ctx), id)
			return r, wrap(err)
		},
		list: func(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] { return s.List(free(ctx), f) },
	}
}

// hanging are the stores whose mistake is that a call does not return.
var hanging = map[string]bool{
	"rows held open, one connection": true, "rows held open, 10 connections": true,
	"rows left open where the loop ends early": true, "a lock held while it yields": true,
}

func TestStorageFindsMistakes(t *testing.T) {
	checks := map[string]check{}
	for _, c := range storageContract() {
		for _, check := range c.checks {
			checks[c.method+"/"+check.name] = check
		}
	}
	proven := map[string]bool{}
	for _, b := range brokenStores() {
		require.NotEmpty(t, b.fails, b.name)
		for _, name := range b.fails {
			require.Contains(t, checks, name, b.name)
			proven[name] = true
			t.Run(b.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				patience := storagePatience
				if hanging[b.name] {
					patience = 300 * time.Millisecond
				}
				err := lost(func() error { return checks[name].run(t.Context(), b.open(), patience) })
				require.Error(t, err, "the mistake was not found")
				assert.Contains(t, err.Error(), "oauth.Storage says: "+checks[name].says)
				assert.Contains(t, err.Error(), "\nthis store: ")
				assert.Equal(t, hanging[b.name], strings.Contains(err.Error(), "\nthis store: hangs: "), "%v", err)
				t.Log(err)
			})
		}
	}
	for name := range checks {
		assert.True(t, proven[name], "no broken store proves that this check can fail: %s", name)
	}
}

func TestStorageSaysWhatHangs(t *testing.T) {
	p := newPool(1)
	p.free <- struct{}{} // somebody has the only connection
	began := time.Now()
	err := check{says: "…", test: func(t *trial) { t.create(t.record("-1")) }}.run(t.Context(), p, 200*time.Millisecond)
	require.ErrorContains(t, err, "this store: hangs: Create(t-")
	assert.Less(t, time.Since(began), 10*time.Second)
}

// storeOfProcess names the broken store of a process that this one starts.
const storeOfProcess = "OAUTHTEST_BROKEN_STORE"

// TestStorageOfBrokenStore is what TestStorageReports runs; without its variable
// it puts a right store to one check, as a test should do something.
func TestStorageOfBrokenStore(t *testing.T) {
	name := os.Getenv(storeOfProcess)
	for _, b := range brokenStores() {
		if b.name == name {
			TestStorage(t, func(*testing.T) oauth.Storage { return b.open() })
			return
		}
	}
	require.Empty(t, name)
	require.NoError(t, recordChecks()[0].run(t.Context(), memstore.New(), storagePatience))
}

// What a store author sees of go test.
func TestStorageReports(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "-test.v", "-test.run", "^TestStorageOfBrokenStore$/^(Record|Update)$")
	cmd.Env = append(os.Environ(), storeOfProcess+"=conflict answered nil")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", out)
	text := string(out)
	assert.Contains(t, text, "--- FAIL: TestStorageOfBrokenStore/Update/ErrConflict,_and_nothing_is_written (")
	assert.Contains(t, text, "oauth.Storage says: If the stored version is another, it returns ErrConflict, and nothing is written.")
	assert.Contains(t, text, "this store: Update of version 3 where version 4 is stored returned nil, want ErrConflict")
	assert.Contains(t, text, "--- PASS: TestStorageOfBrokenStore/Record/every_field_comes_back (")
	assert.Equal(t, 3, strings.Count(text, "        --- FAIL:"), "%s", text)
}
