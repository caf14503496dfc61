package docs_test

// The functions of this file are quoted in docs/testing.md: a test compares them.

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/resource"
)

func TestClients(t *testing.T) {
	oauthtest.TestRegistry(t, func(t *testing.T, clients []oauth.Client) oauth.ClientRegistry {
		registry := &oauth.ClientStore{Storage: memstore.New()} // or your own
		for _, c := range clients {
			require.NoError(t, registry.Create(t.Context(), c))
		}
		return registry
	})
}

func TestLimits(t *testing.T) {
	oauthtest.TestGuard(t, func(t *testing.T) resource.Guard {
		g, err := guard.RateLimit{Rules: []guard.Rule{{Limits: []guard.Limit{{Count: 2, Window: time.Minute}}}}}.Guard() // or your own
		require.NoError(t, err)
		return g
	})
}

func TestTokens(t *testing.T) {
	// It never hears of a revocation: such a token is taken until its end, 30 minutes.
	oauthtest.TestVerifier(t, 30*time.Minute, func(t *testing.T, srv *oauthtest.Server) resource.Verifier {
		return &resource.JWT{Issuer: srv.Config.Issuer, Transport: srv, Now: srv.Clock.Now} // or your own
	}, oauthtest.JWTs)
}
