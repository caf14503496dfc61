package main_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/oauthtest/probe"
)

// TestProbe points the misbehaving client at the program.
func TestProbe(t *testing.T) {
	port := freePort(t)
	issuer := "http://localhost:" + port
	start(t, build(t, port))
	require.Eventually(t, func() bool {
		resp, err := http.Get(issuer + "/.well-known/oauth-authorization-server")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, 10*time.Second, 20*time.Millisecond, "the program does not answer")
	oauthtest.TestHost(t, issuer, probe.Target{
		Public: probe.Client{ID: "app", RedirectURI: "http://127.0.0.1/callback", Scopes: []string{"read"}},
		Fields: map[string]string{"username": "alice", "password": "wonderland"},
	})
}
