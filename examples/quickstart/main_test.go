package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startProgram runs the program on a free port and reads what it prints.
func startProgram(t *testing.T) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, options{Addr: "localhost:0"}, in)
		in.Close() //nolint:errcheck // a pipe in memory
		done <- err
	}()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-done, "a signal is no failure")
	})
	var guide strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		guide.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			break
		}
	}
	return guide.String()
}

// TestGuide does what the program tells its user to do, to the letter.
func TestGuide(t *testing.T) {
	guide := startProgram(t)
	issuer := regexp.MustCompile(`http://localhost:\d+`).FindString(guide)
	require.NotEmpty(t, issuer, guide)
	assert.Contains(t, guide, "Open  "+issuer+"/ ")
	for _, word := range []string{"alice", "wonderland", "bob", "builder"} {
		assert.Contains(t, guide, word)
	}

	var answers []map[string]any
	for line := range strings.Lines(guide) {
		if !strings.HasPrefix(line, "  curl ") {
			continue
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", line).Output()
		require.NoError(t, err, line)
		var answer map[string]any
		require.NoError(t, json.Unmarshal(out, &answer), "%s%s", line, out)
		answers = append(answers, answer)
	}
	require.Len(t, answers, 3, guide)
	assert.Contains(t, guide, " "+issuer+"/.well-known/oauth-authorization-server\n")
	assert.NotEmpty(t, answers[0]["access_token"])
	assert.Equal(t, "Bearer", answers[0]["token_type"])
	assert.Equal(t, "notes:read", answers[0]["scope"])
	assert.NotContains(t, answers[0], "refresh_token")

	require.Len(t, answers[1]["notes"], 1)
	assert.Contains(t, answers[1]["notes"].([]any)[0].(map[string]any)["text"], "A program")

	assert.Equal(t, true, answers[2]["active"])
	assert.Equal(t, "demo-machine", answers[2]["client_id"])
}

func TestRun(t *testing.T) {
	t.Run("the port is taken", func(t *testing.T) {
		listener, err := net.Listen("tcp", "localhost:0")
		require.NoError(t, err)
		t.Cleanup(func() { listener.Close() }) //nolint:errcheck // the end of the test
		err = run(t.Context(), options{Addr: listener.Addr().String()}, io.Discard)
		assert.ErrorContains(t, err, "address already in use")
	})
	t.Run("the address is no loopback address", func(t *testing.T) {
		err := run(t.Context(), options{Addr: "0.0.0.0:0"}, io.Discard)
		assert.ErrorContains(t, err, "Issuer")
	})
}
