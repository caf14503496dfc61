package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRun starts the command on a port of its own, asks both hosts, and stops it.
func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	guide, out := io.Pipe()
	failed := make(chan error, 1)
	go func() { failed <- run(ctx, "localhost:0", out) }()
	text := make([]byte, 4096)
	n, err := guide.Read(text)
	require.NoError(t, err)
	client := &http.Client{Timeout: 5 * time.Second}
	for pattern, status := range map[string]int{`http://localhost:\d+/account/tokens`: 200, `http://127\.0\.0\.1:\d+/v2/me`: 401} {
		at := regexp.MustCompile(pattern).FindString(string(text[:n]))
		require.NotEmpty(t, at, "%s", text[:n])
		resp, err := client.Get(at)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, status, resp.StatusCode, at)
	}
	stop()
	require.NoError(t, <-failed)
	assert.Error(t, run(t.Context(), "localhost:70000", io.Discard))
}

// TestHosts shows that the defaults are those of the document.
func TestHosts(t *testing.T) {
	h := newTestHost(t)
	assert.Equal(t, http.StatusSeeOther, h.do("GET", "https://flat.io/", "").Status)
	assert.Equal(t, http.StatusUnauthorized, h.do("GET", "https://api.flat.io/v2/me", "").Status)
	assert.Panics(t, func() { newHost(options{Web: "http://example.com"}) }, "neither https nor this machine")
}
