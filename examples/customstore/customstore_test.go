package customstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/customstore"
	"github.com/grantwell/oauth/oauthtest"
)

func TestContract(t *testing.T) {
	// What a power cut would do is not asked here, and 10,000 waits for a disk are long.
	options := &bbolt.Options{NoSync: true, NoFreelistSync: true}
	oauthtest.TestStorage(t, func(t *testing.T) oauth.Storage { return open(t, filepath.Join(t.TempDir(), "oauth.db"), options) })
}

func open(t *testing.T, path string, options *bbolt.Options) *customstore.Store {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := customstore.New(db)
	require.NoError(t, err)
	return store
}

// A server over the store, and another one over the same file after a restart.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oauth.db")
	secret := oauth.NewSecret()
	var refresh string
	for range 2 {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
		require.NoError(t, err)
		store, err := customstore.New(db)
		require.NoError(t, err)
		srv := oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage, c.Secrets = store, [][]byte{secret} })
		a := srv.Refresh(oauthtest.SPAClient, refresh)
		if refresh == "" {
			a = srv.Redeem(srv.Code(oauthtest.SPAClient))
		}
		require.Equal(t, 200, a.Status, "%s", a.Body)
		require.NotEqual(t, refresh, a.String("refresh_token"))
		refresh = a.String("refresh_token")
		require.NoError(t, db.Close())
	}
}

func TestFewerThanAHundredLines(t *testing.T) {
	text, err := os.ReadFile("customstore.go")
	require.NoError(t, err)
	code := 0
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			code++
		}
	}
	require.Less(t, code, 100, "lines that are neither blank nor a comment")
	require.Greater(t, code, 50)
}
