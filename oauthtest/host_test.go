package oauthtest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/oauthtest/probe"
)

// mounted is a host with the server among its own routes.
func mounted(t *testing.T, edits ...func(*oauth.Config)) (string, probe.Target) {
	t.Helper()
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	srv := oauthtest.NewServer(t, append(edits, func(c *oauth.Config) { c.Issuer = web.URL })...)
	for path, h := range srv.Routes() {
		mux.Handle(path, h)
	}
	scopes := []string{"read", "write"}
	return web.URL, probe.Target{
		Confidential: probe.Client{ID: oauthtest.WebClient, Secret: oauthtest.Secret, RedirectURI: oauthtest.Callback, Scopes: scopes},
		Public:       probe.Client{ID: oauthtest.SPAClient, RedirectURI: oauthtest.Callback, Scopes: scopes},
		Machine:      probe.Client{ID: oauthtest.MachineClient, Secret: oauthtest.Secret, Scopes: scopes},
		Introspector: probe.Client{ID: oauthtest.APIClient, Secret: oauthtest.Secret},
		Wait:         func(_ context.Context, d time.Duration) error { srv.Clock.Advance(d); return nil },
	}
}

// inner says that this process is the one in which TestHost is meant to fail.
const inner = "OAUTHTEST_HOST_WITH_FAULTS"

func TestHost(t *testing.T) {
	if os.Getenv(inner) != "" {
		url, fixtures := mounted(t, func(c *oauth.Config) { c.InsecureOmitIssuer = true })
		fixtures.Introspector = probe.Client{}
		oauthtest.TestHost(t, url, fixtures)
		return
	}
	url, fixtures := mounted(t)
	oauthtest.TestHost(t, url, fixtures)
}

func TestHostFails(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestHost$", "-test.v")
	cmd.Env = append(os.Environ(), inner+"=1")
	out, err := cmd.CombinedOutput()
	require.Error(t, err, string(out))
	text := string(out)
	assert.Contains(t, text, "--- FAIL: TestHost/authorize-iss ")
	assert.Contains(t, text, "RFC 9207, section 2, medium")
	assert.Contains(t, text, "change: Add iss")
	assert.Contains(t, text, "--- PASS: TestHost/code-single-use ")
	assert.Contains(t, text, "not run: no client for introspection was given")
	assert.NotContains(t, text, oauthtest.Secret)
}
