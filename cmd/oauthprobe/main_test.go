package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/oauthtest/probe"
)

// build builds the command as a user would.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "oauthprobe")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

// call runs the command and returns what it wrote and its exit status.
func call(t *testing.T, program, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, program, args...)
	var out, progress bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &progress
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return out.String(), progress.String(), cmd.ProcessState.ExitCode()
}

// serve starts the strict server by https, with its certificate in a file.
func serve(t *testing.T, edits ...func(*oauth.Config)) (url, ca string) {
	t.Helper()
	var h http.Handler
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(web.Close)
	edits = append(edits, func(c *oauth.Config) { c.Issuer, c.Now = web.URL, time.Now })
	h = oauthtest.NewServer(t, edits...).Handler
	ca = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600))
	return web.URL, ca
}

const fixtures = `{
	"public":       {"id": "spa", "redirect_uri": "https://client.example/callback", "scopes": ["read", "write"]},
	"confidential": {"id": "web", "secret": "` + oauthtest.Secret + `", "redirect_uri": "https://client.example/callback", "scopes": ["read", "write"]},
	"machine":      {"id": "machine", "secret": "` + oauthtest.Secret + `", "scopes": ["read"]},
	"introspector": {"id": "api", "secret": "` + oauthtest.Secret + `"}
}`

type report struct {
	URL                  string
	OK, Findings, NotRun int
	Error                string
	Results              []probe.Result
}

func TestCommand(t *testing.T) {
	program := build(t)
	file := filepath.Join(t.TempDir(), "fixtures.json")
	require.NoError(t, os.WriteFile(file, []byte(fixtures), 0o600))
	good, ca := serve(t)
	bad, badCA := serve(t, func(c *oauth.Config) { c.Origins, c.InsecureOmitIssuer = oauth.NoOrigins, true })

	t.Run("nothing is found: 0", func(t *testing.T) {
		out, progress, status := call(t, program, "", "-fixtures", file, "-ca", ca, good)
		assert.Equal(t, 0, status, out)
		assert.Contains(t, out, " 0 findings")
		assert.Contains(t, out, "Not run:")
		assert.Contains(t, progress, "code-single-use")
		assert.NotContains(t, out+progress, oauthtest.Secret)
	})
	t.Run("something is found: 1", func(t *testing.T) {
		out, progress, status := call(t, program, fixtures, "-quiet", "-fixtures", "-", "-ca", badCA, "-without", "code-replay-revokes", bad)
		assert.Equal(t, 1, status, out)
		assert.Contains(t, out, "authorize-iss  (RFC 9207, section 2)")
		assert.Contains(t, out, "change:     Add iss")
		assert.Empty(t, progress)
	})
	t.Run("-json", func(t *testing.T) {
		out, _, status := call(t, program, "", "-json", "-public", "spa", "-redirect", oauthtest.Callback, "-scope", "read write",
			"-ca", badCA, "-only", "cors,authorize-iss,client-credentials", bad)
		assert.Equal(t, 1, status, out)
		var r report
		require.NoError(t, json.Unmarshal([]byte(out), &r))
		assert.Equal(t, bad, r.URL)
		assert.Equal(t, 2, r.Findings)
		assert.Len(t, r.Results, len(probe.Checks()))
		assert.Contains(t, out, `"not_run": `)
		assert.Empty(t, r.Error)
	})
	t.Run("-against-prefix", func(t *testing.T) {
		out, _, status := call(t, program, "", "-against-prefix", "/auth", "-ca", ca, "-only", "metadata-prefix", good)
		assert.Equal(t, 1, status, out)
		assert.Contains(t, out, "token_endpoint is "+good+"/oauth/token")
	})
	t.Run("-list and -h", func(t *testing.T) {
		out, _, status := call(t, program, "", "-list")
		assert.Equal(t, 0, status)
		for _, c := range probe.Checks() {
			assert.Contains(t, out, c.ID+" ")
		}
		_, usage, status := call(t, program, "", "-h")
		assert.Equal(t, 0, status)
		assert.Contains(t, usage, "-against-prefix")
	})
	t.Run("it could not run: 2", func(t *testing.T) { cannotRun(t, program, file, good, bad) })
}

func cannotRun(t *testing.T, program, file, good, bad string) {
	for name, args := range map[string][]string{
		"no URL":                      {},
		"two URLs":                    {good, bad},
		"a flag that is none":         {"-nonsense", good},
		"no http":                     {"ftp://localhost"},
		"nobody there":                {"http://localhost:1"},
		"no certificate":              {good},
		"no fixtures":                 {"-fixtures", file + "x", good},
		"no certificates in the file": {"-ca", file, good},
		"a check that is none":        {"-only", "code", good},
		"a redirect without a client": {"-redirect", "https://a.example", good},
	} {
		_, progress, status := call(t, program, "", args...)
		assert.Equal(t, 2, status, name)
		assert.NotEmpty(t, progress, name)
	}
	_, progress, status := call(t, program, `{"publick": {"id": "`+oauthtest.Secret+`"}}`, "-fixtures", "-", good)
	assert.Equal(t, 2, status)
	assert.Contains(t, progress, `"publick"`)
	assert.NotContains(t, progress, oauthtest.Secret)
	out, _, status := call(t, program, "", "-json", "http://localhost:1")
	assert.Equal(t, 2, status)
	var r report
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	assert.NotEmpty(t, r.Error)
}

// The command is no test: nothing of testing is in it, and nothing of the server.
func TestLinks(t *testing.T) {
	const house = "github.com/grantwell/oauth/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for _, name := range strings.Fields(string(out)) {
		assert.False(t, name == "testing" || strings.HasPrefix(name, "testing/"), name)
		if strings.Contains(strings.Split(name, "/")[0], ".") {
			assert.Contains(t, []string{house + "internal/htmlform", house + "oauthtest/probe", house + "cmd/oauthprobe"}, name)
		}
	}
}
