package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/grantwell/oauth/examples/internal/webtest"
)

func TestREADME(t *testing.T) {
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), "```go\n")
	require.True(t, found, "README.md has no block of Go")
	block, _, found := strings.Cut(rest, "```")
	require.True(t, found, "the block has no end")
	assert.Equal(t, string(source), block, "the first block of Go in README.md is examples/host30/main.go")
}

func TestShort(t *testing.T) {
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	assert.LessOrEqual(t, bytes.Count(source, []byte("\n")), 37, "lines, imports and braces among them")
}

// TestRuns builds main.go with another port, starts it, and signs alice in.
func TestRuns(t *testing.T) {
	port := freePort(t)
	issuer := "http://localhost:" + port
	start(t, build(t, port))

	require.Eventually(t, func() bool {
		resp, err := http.Get(issuer + "/.well-known/oauth-authorization-server")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, 10*time.Second, 20*time.Millisecond, "the program does not answer")

	client := oauth2.Config{
		ClientID: "app", RedirectURL: "http://127.0.0.1:7777/callback", Scopes: []string{"read"},
		Endpoint: oauth2.Endpoint{AuthURL: issuer + "/oauth/authorize", TokenURL: issuer + "/oauth/token"},
	}
	verifier := oauth2.GenerateVerifier()
	b := webtest.New(t, client.RedirectURL)
	b.Open(client.AuthCodeURL("the-state", oauth2.S256ChallengeOption(verifier)))
	b.Press("Sign in", "alice", "builder")
	assert.NotContains(t, b.Text, "Read your notes", "the password was wrong")
	b.Press("Sign in", "alice", "wonderland")
	assert.Contains(t, b.Text, "Read your notes")
	b.Press("Allow")
	q := b.URL.Query()
	assert.Equal(t, url.Values{"code": q["code"], "state": {"the-state"}, "iss": {issuer}}, q)
	token, err := client.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	assert.NotEmpty(t, token.RefreshToken)
	token.Expiry = time.Unix(1, 0)
	again, err := client.TokenSource(t.Context(), token).Token()
	require.NoError(t, err)
	assert.NotEqual(t, token.AccessToken, again.AccessToken)
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return port
}

// build builds main.go as it is but for the port, so that the test runs also where
// something else listens on 8080.
func build(t *testing.T, port string) string {
	t.Helper()
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	require.Contains(t, string(source), "localhost:8080")
	dir := t.TempDir()
	changed := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(changed, bytes.ReplaceAll(source, []byte("localhost:8080"), []byte("localhost:"+port)), 0o600))
	path, err := filepath.Abs("main.go")
	require.NoError(t, err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	require.NoError(t, err)
	replace := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(replace, overlay, 0o600))
	program := filepath.Join(dir, "host30")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", replace, "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

func start(t *testing.T, program string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		stop()
		cmd.Wait() //nolint:errcheck // it was killed
	})
}
