package main_test

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/oauthtest/probe"
)

// serve runs the program on a port of its own, once it answers.
func serve(t *testing.T) (issuer string) {
	t.Helper()
	port := freePort(t)
	issuer = "http://localhost:" + port
	start(t, build(t, port))
	require.Eventually(t, func() bool {
		resp, err := http.Get(issuer + "/.well-known/oauth-authorization-server")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, 10*time.Second, 20*time.Millisecond, "the program does not answer")
	return issuer
}

// TestProbe points the misbehaving client at the program.
func TestProbe(t *testing.T) {
	issuer := serve(t)
	oauthtest.TestHost(t, issuer, probe.Target{
		Public: probe.Client{ID: "app", RedirectURI: "http://127.0.0.1/callback", Scopes: []string{"read"}},
		Fields: map[string]string{"username": "alice", "password": "wonderland"},
	})
}

// TestREADMEProbe does what README.md says, but for the port: everything that needs no
// second client is run, and nothing is found.
func TestREADMEProbe(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, block, found := strings.Cut(string(readme), "```sh\n# while examples/host30 runs\n")
	require.True(t, found, "README.md does not run the probe")
	block, _, _ = strings.Cut(block, "```")
	require.Contains(t, block, "http://localhost:8080")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(block, "http://localhost:8080", serve(t)))
	cmd.Dir = "../.."
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), " 0 findings, ")
	assert.NotContains(t, string(out), "no code came")
}
