//go:build unix

package main

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/servertest"
)

// asProgram is the variable that makes the test binary the program: so it starts
// itself, with the race detector where the test has it.
const asProgram = "CLUSTER_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	code := 2
	// The race detector would let each program sleep for a second before it exits.
	if err := errors.Join(os.Setenv(asProgram, "yes"), os.Setenv("GORACE", "atexit_sleep_ms=20")); err == nil {
		code = m.Run()
	}
	for _, e := range engines {
		if e.server == nil {
			continue
		}
		if err := e.server.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = cmp.Or(code, 1)
		}
	}
	os.Exit(code)
}

// An engine is a database server, started by the first test that needs it.
type engine struct {
	name   string
	start  func() (*servertest.Server, error)
	server *servertest.Server
	stores int
}

var engines = []*engine{
	{name: "PostgreSQL", start: func() (*servertest.Server, error) { return servertest.PostgreSQL() }},
	{name: "Redis", start: func() (*servertest.Server, error) {
		return servertest.Redis("appendonly yes", "appendfsync always")
	}},
}

// onEach runs a test on each engine, with the URL of an empty store.
func onEach(t *testing.T, test func(t *testing.T, server *servertest.Server, url string)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			if e.server == nil {
				var err error
				e.server, err = e.start()
				require.NoError(t, err)
			}
			e.stores++
			test(t, e.server, e.empty(t))
		})
	}
}

// empty makes a store of its own: a schema of PostgreSQL, a database of Redis.
func (e *engine) empty(t *testing.T) string {
	if e.server.Driver() == "" {
		return e.server.DSN(strconv.Itoa(e.stores))
	}
	name := fmt.Sprintf("cluster%d", e.stores)
	db, err := sql.Open(e.server.Driver(), e.server.DSN(""))
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "CREATE SCHEMA "+name)
	require.NoError(t, errors.Join(err, db.Close()))
	return e.server.DSN(name)
}

// startCluster starts processes that are stopped at the end of the test, and must
// then have nothing to complain of, data races among it.
func startCluster(t *testing.T, url string, n int) *cluster {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stderr")
	stderr, err := os.Create(path)
	require.NoError(t, err)
	c, err := newCluster(url, n, stderr)
	text, _ := os.ReadFile(path)
	require.NoError(t, err, string(text))
	t.Cleanup(func() {
		assert.NoError(t, errors.Join(c.stop(), stderr.Close()))
		text, err := os.ReadFile(path)
		assert.NoError(t, err)
		assert.NotRegexp(t, "DATA RACE|panic", string(text))
		if t.Failed() {
			t.Logf("the last that the processes said:\n%s", text[max(0, len(text)-8000):])
		}
	})
	return c
}

// await returns when a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not after a minute: %s", what)
		}
	}
}

// under runs a test while n users put load on a cluster, and then checks every
// session.
func (l *load) under(t *testing.T, n int, test func()) summary {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var done sync.WaitGroup
	done.Go(func() { l.run(ctx, n) })
	func() {
		defer done.Wait()
		defer stop()
		test()
	}()
	l.check(n)
	sum := l.summary()
	t.Logf("\n%s", sum)
	require.NoError(t, sum.err())
	require.Len(t, l.sessions, sum.Sessions, "all were used to the end")
	return sum
}

// idOf is the ID of the authorization that a code or refresh token belongs to.
func idOf(t *testing.T, token string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(token)
	require.NoError(t, err)
	require.Len(t, raw, 1+16+4+20)
	return "a_" + base64.RawURLEncoding.EncodeToString(raw[1:17])
}

// program runs the program as a user does, and returns its exit status and output.
func program(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil {
		require.ErrorAs(t, err, &exit, errs.String())
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestProgram(t *testing.T) {
	onEach(t, func(t *testing.T, _ *servertest.Server, url string) {
		status, out, errs := program(t, "-store", url, "-d", "3s", "-n", "8")
		require.Equal(t, 0, status, out+errs)
		require.Empty(t, errs)
		t.Log(out)
		number := func(row string) int {
			found := regexp.MustCompile(`(?m)^ *` + row + ` +(\d+)$`).FindStringSubmatch(out)
			require.NotNil(t, found, row)
			n, err := strconv.Atoi(found[1])
			require.NoError(t, err)
			return n
		}
		require.Regexp(t, `kill -9 \d+\nstarted again as \d+\n`, out)
		for _, row := range []string{"requests", "of them sent again", "sessions", "codes and refresh tokens sent twice at once"} {
			assert.Positive(t, number(row), row)
		}
		for _, row := range []string{"sessions lost", "codes redeemed twice", "refresh tokens with two successors", "unexpected answers"} {
			assert.Zero(t, number(row), row)
		}
		assert.Contains(t, out, "nothing was lost and nothing was spent twice")
	})
}

// The store may come in the environment, so that nobody sees its password in the
// arguments of a program: -store goes before it.
func TestStoreVariable(t *testing.T) {
	t.Setenv("CLUSTER_STORE", "redis://:the-password@127.0.0.1:1/0")
	for says, args := range map[string][]string{
		"the store cannot be used: redisstore: Open":      nil,
		`"mysql": it is postgres://… or redis://…` + "\n": {"-store", "mysql://localhost/test"},
		"CLUSTER_STORE\n": {"-h"},
	} {
		_, out, errs := program(t, args...)
		assert.Empty(t, out)
		assert.Contains(t, errs, says)
		assert.NotContains(t, errs, "the-password")
	}
}

// Of a process of the server all users of the machine see the arguments.
func TestArguments(t *testing.T) {
	onEach(t, func(t *testing.T, _ *servertest.Server, url string) {
		c := startCluster(t, url, 1)
		assert.Equal(t, []string{"-serve", "127.0.0.1:0"}, c.processes[0].cmd.Args[1:])
	})
}

func TestProgramRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		says string
	}{
		{"no store", nil, "no store: say -store postgres://… or -store redis://…, or set CLUSTER_STORE\n"},
		{"no session", []string{"-store", "redis://127.0.0.1:1/0", "-n", "0"}, "at least one session (-n) and one second (-d)\n"},
		{"no time", []string{"-store", "redis://127.0.0.1:1/0", "-d", "1ms"}, "at least one session (-n) and one second (-d)\n"},
		{"a store of another kind", []string{"-store", "mysql://localhost/test"}, `"mysql": it is postgres://… or redis://…` + "\n"},
		{"no URL", []string{"-store", "redis://:the-password@host:port/0"}, "the store is not a URL\n"},
		{"no PostgreSQL", []string{"-store", "postgres://user:the-password@127.0.0.1:1/test"}, "the store cannot be used: sqlstore: migrate: the database does not answer"},
		{"no Redis", []string{"-store", "redis://:the-password@127.0.0.1:1/0"}, "the store cannot be used: redisstore: Open: no answer from the server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, out, errs := program(t, tt.args...)
			assert.Equal(t, 1, status)
			assert.Empty(t, out)
			assert.Contains(t, errs, tt.says)
			assert.NotContains(t, errs, "the-password")
		})
	}
}
