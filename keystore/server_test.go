package keystore_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/keystore"
	"github.com/grantwell/oauth/oauthtest"
)

// jwtServer is a server whose keys are in its own store.
func jwtServer(t *testing.T, o keystore.Options, edits ...func(*oauth.Config)) *oauthtest.Server {
	t.Helper()
	return oauthtest.NewServer(t, append(edits, func(c *oauth.Config) {
		keys, err := keystore.New(*c, o)
		require.NoError(t, err)
		c.Keys, c.AccessToken = keys, oauth.JWT{}
	})...)
}

func request(t *testing.T, s *oauthtest.Server, path string) *http.Request {
	return httptest.NewRequestWithContext(t.Context(), http.MethodGet, s.Config.Issuer+path, nil)
}
