package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
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
	"golang.org/x/oauth2/clientcredentials"
)

// start serves both environments on a port of this machine.
func start(t *testing.T, o options) (serverURL string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	o.ServerURL = "http://" + server.Listener.Addr().String()
	server.Config.Handler = newHost(o)
	server.Start()
	t.Cleanup(server.Close)
	return o.ServerURL
}

// command is a command of the document, what stands in braces filled in.
func command(t *testing.T, n int, values map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "commands.sh"))
	require.NoError(t, err)
	all := strings.Split(strings.TrimSpace(string(text)), "\n\n")
	require.Len(t, all, 2)
	line := all[n]
	for name, value := range values {
		line = strings.ReplaceAll(line, "{{"+name+"}}", value)
	}
	require.NotContains(t, line, "{{", "every placeholder has a value")
	return line
}

// shell runs a command as a person would. That curl prints the head of the answer,
// too, is said in its own configuration file, so that the command stays as it is.
func shell(t *testing.T, line string) (*http.Response, []byte) {
	t.Helper()
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, ".curlrc"), []byte("silent\nshow-error\ninclude\nraw\nnoproxy = *\n"), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "CURL_HOME=" + home}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s (curl is needed: run make deps)", &stderr)
	resp, err := http.ReadResponse(bufio.NewReader(&stdout), nil)
	require.NoError(t, err)
	defer resp.Body.Close() //nolint:errcheck // of a buffer
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, body
}

func TestDocument(t *testing.T) {
	base := start(t, options{})
	for _, d := range []struct{ name, server, id, merchant string }{
		{"production", base, "harbor-books-production", "Harbor Books"},
		{"pre-production", base + "/preprod", "integration-team-preprod", "Integration Team"},
	} {
		t.Run(d.name, func(t *testing.T) {
			credentials := base64.StdEncoding.EncodeToString([]byte(d.id + ":" + d.id + "-secret"))
			resp, body := shell(t, command(t, 0, map[string]string{"server_url": d.server, "base64_encoded_credentials": credentials}))
			require.Equal(t, 200, resp.StatusCode, string(body))
			// The document prints no response: this is RFC 6749, sections 4.4.3 and 5.1,
			// and the 30 minutes that it speaks of.
			assert.Equal(t, []string{"access_token string", "token_type string", "expires_in number"}, shape(t, body))
			var token struct {
				Access  string `json:"access_token"`
				Type    string `json:"token_type"`
				Expires int    `json:"expires_in"`
			}
			require.NoError(t, json.Unmarshal(body, &token))
			assert.Equal(t, []any{"Bearer", 1800}, []any{token.Type, token.Expires})

			order := `{"order":1,"lines":[{"sku":"a b","amount":4200}]}`
			resp, body = shell(t, command(t, 1, map[string]string{"server_url": d.server, "token": token.Access, "json": order}))
			require.Equal(t, 201, resp.StatusCode, string(body))
			assert.JSONEq(t, `{"client_id":"`+d.id+`","merchant":"`+d.merchant+`","order":`+order+`}`, string(body))
		})
	}
}

// shape is the members of a JSON object in their order, each with its type.
func shape(t *testing.T, body []byte) (members []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	start, err := d.Token()
	require.NoError(t, err)
	require.Equal(t, json.Delim('{'), start)
	for d.More() {
		name, err := d.Token()
		require.NoError(t, err)
		var value any
		require.NoError(t, d.Decode(&value))
		kind := "null"
		switch value.(type) {
		case string:
			kind = "string"
		case float64:
			kind = "number"
		case bool:
			kind = "boolean"
		case []any:
			kind = "array"
		case map[string]any:
			kind = "object"
		}
		members = append(members, name.(string)+" "+kind) //nolint:forcetypeassert // of a JSON object
	}
	return members
}

// x/oauth2 sends the grant type in the body as well, so it stands in two places.
func TestGoClient(t *testing.T) {
	base := start(t, options{})
	const id = "harbor-books-production"
	config := clientcredentials.Config{
		ClientID: id, ClientSecret: id + "-secret",
		TokenURL:  base + "/api/auth/v1/oauth/token?grant_type=client_credentials",
		AuthStyle: oauth2.AuthStyleInHeader,
	}
	token, err := config.Token(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []any{"Bearer", ""}, []any{token.Type(), token.RefreshToken})
	assert.WithinDuration(t, time.Now().Add(30*time.Minute), token.Expiry, time.Minute)

	resp, err := config.Client(t.Context()).Post(base+"/api/checkout/v1/orders", "application/json", strings.NewReader(`{"order":1}`))
	require.NoError(t, err)
	defer resp.Body.Close() //nolint:errcheck // read or not, it is over
	assert.Equal(t, 201, resp.StatusCode)

	config.ClientSecret = "wrong"
	_, err = config.Token(t.Context())
	var failed *oauth2.RetrieveError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, []any{401, "invalid_client"}, []any{failed.Response.StatusCode, failed.ErrorCode})
}

// TestMetadata calls every URL that an environment publishes.
func TestMetadata(t *testing.T) {
	base := start(t, options{})
	for _, path := range []string{"", "/preprod"} {
		resp, err := http.Get(base + "/.well-known/oauth-authorization-server" + path)
		require.NoError(t, err)
		var published map[string]any
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&published))
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, base+path, published["issuer"])
		assert.Equal(t, []any{"client_credentials"}, published["grant_types_supported"])
		urls := map[string]string{}
		for name, value := range published {
			if strings.HasSuffix(name, "_endpoint") || strings.HasSuffix(name, "_uri") {
				urls[name], _ = value.(string)
			}
		}
		require.Equal(t, map[string]string{"token_endpoint": base + path + "/api/auth/v1/oauth/token"}, urls)
		for name, u := range urls {
			resp, err := http.PostForm(u, url.Values{})
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, 401, resp.StatusCode, name)
		}
	}
}
