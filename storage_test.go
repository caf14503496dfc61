package oauth_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/oauthtest"
)

// openStorage makes the empty store of a server whose clock is now. It is a variable,
// because .ci/stores runs the tests of this package on every store that is shipped:
// testdata/stores/stores_test.go replaces it.
var openStorage = func(testing.TB, func() time.Time) oauth.Storage { return memstore.New() }

// storeExpires says that it drops records by itself.
var storeExpires = false

// wantSwept asserts how many expired records DeleteExpired has deleted: some or all of
// them may be gone already from a store that drops them by itself.
func wantSwept(t testing.TB, want, got int) {
	t.Helper()
	if !storeExpires || got > want {
		assert.Equal(t, want, got, "records deleted")
	}
}

// An emptiable store forgets everything, as if it was new.
type emptiable interface {
	oauth.Storage
	Empty(t testing.TB)
}

// faultRounds is how often a race is run whose every write goes wrong. The fault is in
// the wrapper, in this process, so that fewer do on a store: the same races without the
// fault are run there as often as on memory.
var faultRounds = raceRounds

// onMemory are the tests that are not run on the other stores, and why. Beside them
// those of house_test.go and the examples have nothing to do with a store, and what
// only makes a Config, or shows the use of package memstore, makes one itself.
var onMemory = map[string]string{
	"TestCommitDeadline":     "its time is that of testing/synctest, which a connection to a server cannot share",
	"TestStoreBlocks":        "its time is that of testing/synctest, which a connection to a server cannot share",
	"TestEntropy":            "counts the bits of some thousand credentials, in which no store has a part",
	"TestInteractionEntropy": "the same",
	"TestSlowHashes":         "is about the time that a hash takes",
}

// newStorage is a store of the kind that the tests run on.
func newStorage(t testing.TB, now func() time.Time) oauth.Storage {
	t.Helper()
	test, _, _ := strings.Cut(t.Name(), "/")
	if onMemory[test] != "" {
		return memstore.New()
	}
	return openStorage(t, now)
}

// newServer is oauthtest.NewServer on such a store.
func newServer(t testing.TB, edits ...func(*oauth.Config)) *oauthtest.Server {
	t.Helper()
	first := func(c *oauth.Config) { c.Storage = oauthtest.NewFaulty(newStorage(t, c.Now)) }
	return oauthtest.NewServer(t, append([]func(*oauth.Config){first}, edits...)...)
}

// The kit's server uses the store that an edit gives it, counts its calls and lets
// them fail.
func TestServerOnAChosenStore(t *testing.T) {
	get := func(s *oauthtest.Server) { s.AccessToken("alice", "read") }
	t.Run("none chosen", func(t *testing.T) {
		s := oauthtest.NewServer(t)
		get(s)
		assert.Same(t, s.Store, s.Config.Storage)
		assert.Equal(t, []string{"Create", "Get", "Update"}, s.Store.Methods())
	})
	t.Run("a store", func(t *testing.T) {
		store := memstore.New()
		s := oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage = store })
		get(s)
		assert.Same(t, s.Store, s.Config.Storage)
		assert.Equal(t, []string{"Create", "Get", "Update"}, s.Store.Methods())
		_, err := store.Get(t.Context(), s.Store.Calls()[0].ID)
		require.NoError(t, err)
		s.Store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
		_, err = s.Authorizations(t.Context(), "alice")
		require.ErrorIs(t, err, oauthtest.ErrFault)
	})
	t.Run("a Faulty", func(t *testing.T) {
		store := oauthtest.NewFaulty(memstore.New())
		s := oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage = store })
		assert.Same(t, store, s.Store)
		assert.Same(t, store, s.Config.Storage)
		twin := oauthtest.NewServer(t, func(c *oauth.Config) { *c = s.Config })
		assert.Same(t, store, twin.Store)
	})
	t.Run("one around that of the server", func(t *testing.T) {
		swap := &swapStore{}
		s := oauthtest.NewServer(t, func(c *oauth.Config) { swap.Storage, c.Storage = c.Storage, swap })
		get(s)
		assert.Equal(t, []string{"Create", "Get", "Update"}, s.Store.Methods())
		assert.Equal(t, s.Store.Methods(), swap.Storage.(*oauthtest.Faulty).Methods())
	})
}

// A test that makes a store of its own kind would leave the others out.
func TestEveryTestRunsOnEachStore(t *testing.T) {
	mayMake := map[string]string{
		"storage_test.go":  "oauthtest.NewServer memstore.New",
		"race_test.go":     "oauthtest.NewServer memstore.New", // newLab, another, load
		"example_test.go":  "memstore.New",
		"new_test.go":      "memstore.New",
		"redirect_test.go": "memstore.New",
	}
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	require.Contains(t, files, "storage_test.go")
	tests := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, call := range []string{"oauthtest.NewServer", "memstore.New"} {
			if !strings.Contains(mayMake[file], call) {
				assert.False(t, strings.Contains(string(text), call+"("), "%s calls %s: newServer, newLab and newStorage make what .ci/stores replaces", file, call)
			}
		}
		for line := range strings.Lines(string(text)) {
			name, _, _ := strings.Cut(strings.TrimPrefix(line, "func "), "(")
			tests[name] = tests[name] || strings.HasPrefix(line, "func Test")
		}
	}
	for name := range onMemory {
		assert.True(t, tests[name], "%s is no test", name)
	}
}
