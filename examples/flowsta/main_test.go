package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRun starts the command, follows the first line of its guide, and stops it.
func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	guide, printed := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "localhost:0", printed) }()
	text := make([]byte, 4096) // the guide is one write
	n, err := guide.Read(text)
	require.NoError(t, err)
	link := regexp.MustCompile(`http://localhost:\d+/oauth/authorize\?\S+`).Find(text[:n])
	require.NotEmpty(t, link, string(text[:n]))

	resp, err := http.Get(string(link))
	require.NoError(t, err)
	page, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Contains(t, string(page), `name="password"`)
	stop()
	assert.NoError(t, <-ended)

	assert.ErrorContains(t, run(t.Context(), "localhost:99999", io.Discard), "-addr")
	assert.ErrorContains(t, run(t.Context(), "0.0.0.0:0", io.Discard), "Issuer", "http is for loopback addresses")
}
