package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// told is a writer that hands over what was written.
type told chan string

func (c told) Write(b []byte) (int, error) {
	c <- string(b)
	return len(b), nil
}

// TestGuide starts the program, runs the commands that it prints, and stops it.
func TestGuide(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := free.Addr().String()
	require.NoError(t, free.Close())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, ended := make(told, 1), make(chan error, 1)
	go func() { ended <- run(ctx, addr, out) }()
	var guide string
	select {
	case guide = <-out:
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		require.Fail(t, "it does not start")
	}

	var commands []string
	for line := range strings.Lines(guide) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "curl ") {
			commands = append(commands, line)
		}
	}
	require.Len(t, commands, 3)
	resp, body := shell(t, commands[0])
	require.Equal(t, 200, resp.StatusCode, string(body))
	var token struct {
		Access string `json:"access_token"`
	}
	require.NoError(t, json.Unmarshal(body, &token))
	resp, body = shell(t, "TOKEN="+token.Access+"; "+commands[1])
	assert.Equal(t, 201, resp.StatusCode, string(body))
	assert.Contains(t, string(body), `"order":{"amount":4200}`)
	resp, body = shell(t, commands[2])
	assert.Equal(t, 401, resp.StatusCode)
	assert.Contains(t, string(body), "invalid_client")
	page, err := http.Get("http://" + addr + "/preprod" + ordersPath)
	require.NoError(t, err)
	require.NoError(t, page.Body.Close())
	assert.Equal(t, 405, page.StatusCode, "pre-production is where the guide says")

	stop()
	select {
	case err := <-ended:
		assert.NoError(t, err)
	case <-time.After(20 * time.Second):
		assert.Fail(t, "it does not stop")
	}
}

func TestRunFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close() //nolint:errcheck // of a test
	var out bytes.Buffer
	for addr, want := range map[string]string{taken.Addr().String(): "-addr", "0.0.0.0:0": "not https"} {
		assert.ErrorContains(t, run(t.Context(), addr, &out), want)
	}
	assert.Empty(t, out.String(), "nothing is told of a server that is not there")
}
