package interop_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An answer is what curl printed.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

func curl(t *testing.T, args ...string) answer {
	t.Helper()
	binary, err := exec.LookPath("curl")
	require.NoError(t, err, "curl is needed: run make deps")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"-q", "-sS", "-i", "--raw", "--noproxy", "*"}, args...)...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s", &stderr)
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(stdout.String())), nil)
	require.NoError(t, err, stdout.String())
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	a := answer{status: r.StatusCode, header: r.Header}
	if len(text) > 0 {
		require.NoError(t, json.Unmarshal(text, &a.body), "%s", text)
	}
	return a
}

func TestCurlTokens(t *testing.T) {
	s := newServer(t)
	token := s.issuer + "/oauth/token"
	for _, c := range []struct {
		name string
		args []string
	}{
		{"RFC 6749 2.3.1: Basic", []string{"-u", "machine:" + machineSecret, "-d", "grant_type=client_credentials", "-d", "scope=notes:read"}},
		{"RFC 6749 2.3.1: body", []string{
			"-d", "grant_type=client_credentials", "-d", "client_id=machine",
			"--data-urlencode", "client_secret=" + machineSecret, "--data-urlencode", "scope=notes:read",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := curl(t, append(c.args, token)...)
			assert.Equal(t, 200, a.status)
			assert.Equal(t, "application/json", a.header.Get("Content-Type"))
			assert.Equal(t, "no-store", a.header.Get("Cache-Control"), "RFC 6749 5.1")
			assert.Equal(t, "Bearer", a.body["token_type"])
			assert.Equal(t, "notes:read", a.body["scope"])
			assert.NotContains(t, a.body, "refresh_token", "RFC 6749 4.4.3")

			access, _ := a.body["access_token"].(string)
			a = curl(t, "-u", "machine:"+machineSecret, "-d", "token="+access, s.issuer+"/oauth/introspect")
			assert.Equal(t, true, a.body["active"])
			a = curl(t, "-u", "machine:"+machineSecret, "-d", "token="+access, s.issuer+"/oauth/revoke")
			assert.Equal(t, 200, a.status)
			a = curl(t, "-u", "machine:"+machineSecret, "-d", "token="+access, s.issuer+"/oauth/introspect")
			assert.Equal(t, map[string]any{"active": false}, a.body)
		})
	}
}

func TestCurlErrors(t *testing.T) {
	s := newServer(t)
	basic := []string{"-u", "machine:" + machineSecret}
	for _, c := range []struct {
		name        string
		args        []string
		status      int
		code        string
		description string // "" is any
		challenge   string // the beginning; "" is none
	}{
		{
			"RFC 6749 5.2: a wrong secret, Basic",
			[]string{"-u", "machine:wrong", "-d", "grant_type=client_credentials"},
			401, "invalid_client", "", "Basic ",
		},
		{
			"RFC 6749 5.2: an unknown client, Basic",
			[]string{"-u", "nobody:wrong", "-d", "grant_type=client_credentials"},
			401, "invalid_client", "", "Basic ",
		},
		{
			"RFC 6749 5.2: a wrong secret, body",
			[]string{"-d", "grant_type=client_credentials&client_id=machine&client_secret=wrong"},
			401, "invalid_client", "", "",
		},
		{
			"RFC 6749 2.3: two methods at once", append([]string{"-d", "grant_type=client_credentials&client_secret=" + machineSecret}, basic...),
			400, "invalid_request", "", "",
		},
		{
			"RFC 6749 5.2: no grant_type", append([]string{"-d", "scope=notes:read"}, basic...),
			400, "invalid_request", "Missing required parameter: grant_type", "",
		},
		{
			"RFC 6749 5.2: an unknown grant_type", append([]string{"-d", "grant_type=password"}, basic...),
			400, "unsupported_grant_type", "", "",
		},
		{
			"RFC 6749 5.2: a grant_type that the client may not use",
			[]string{"-d", "grant_type=client_credentials&client_id=native"},
			400, "unauthorized_client", "", "",
		},
		{
			"RFC 6749 5.2: an unknown scope", append([]string{"-d", "grant_type=client_credentials&scope=no:such"}, basic...),
			400, "invalid_scope", "", "",
		},
		{
			"RFC 6749 3.2: a parameter that comes twice", append([]string{"-d", "grant_type=client_credentials&grant_type=client_credentials"}, basic...),
			400, "invalid_request", "", "",
		},
		{
			"RFC 6749 3.2: JSON", append([]string{"-H", "Content-Type: application/json", "-d", `{"grant_type":"client_credentials"}`}, basic...),
			400, "invalid_request", "application/x-www-form-urlencoded", "",
		},
		{
			"RFC 6749 3.2: GET", append([]string{"-G", "-d", "grant_type=client_credentials"}, basic...),
			405, "invalid_request", "", "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := curl(t, append(c.args, s.issuer+"/oauth/token")...)
			assert.Equal(t, c.status, a.status)
			assert.Equal(t, "application/json", a.header.Get("Content-Type"))
			assert.Equal(t, "no-store", a.header.Get("Cache-Control"))
			assert.Equal(t, c.code, a.body["error"])
			assert.Contains(t, a.body["error_description"], c.description)
			if c.challenge == "" {
				assert.NotContains(t, a.header, "Www-Authenticate")
			} else {
				assert.Contains(t, a.header.Get("Www-Authenticate"), c.challenge)
			}
		})
	}
}

func TestCurlUserinfo(t *testing.T) {
	s := newServer(t)
	a := curl(t, s.issuer+"/oauth/userinfo")
	assert.Equal(t, 401, a.status)
	assert.NotContains(t, a.header.Get("Www-Authenticate"), "error", "RFC 6750 3.1: no token, no error code")
	assert.Contains(t, a.header.Get("Www-Authenticate"), "Bearer")

	a = curl(t, "-H", "Authorization: Bearer nonsense", s.issuer+"/oauth/userinfo")
	assert.Equal(t, 401, a.status)
	assert.Contains(t, a.header.Get("Www-Authenticate"), `error="invalid_token"`)
}
