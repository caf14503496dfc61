package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asProgram is the variable that makes the test binary the program.
const asProgram = "APIS_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		serveAhead(os.Args[1], os.Args[2], os.Args[3:])
	}
	os.Exit(m.Run())
}

// serveAhead is main with a clock that the test sets forward: resource.JWT keeps
// keys for minutes.
func serveAhead(issuer, audience string, algorithms []string) {
	var ahead atomic.Int64
	api := newAPI(issuer, audience, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }, algorithms...)
	mux := http.NewServeMux()
	mux.Handle("/notes", api)
	mux.HandleFunc("POST /clock", func(w http.ResponseWriter, r *http.Request) {
		by, err := time.ParseDuration(r.URL.Query().Get("by"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ahead.Add(int64(by))
	})
	if err := serve(mux); err != nil {
		panic(err)
	}
}

// An api is one of the three, running.
type api struct{ name, url string }

// apis are the three.
type apis []api

// startAPIs starts the three APIs, and ends them after the test. maxAge is how long
// those in Node and Python keep keys: what the one in Go keeps, its clock decides.
func startAPIs(t *testing.T, issuer, audience, maxAge string, algorithms ...string) apis {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	all := apis{{name: "go"}, {name: "node"}, {name: "python"}}
	ready := make([]func() string, len(all))
	for i, command := range [][]string{{self}, {"node", "api.mjs"}, {"python3", "-B", "api.py"}} {
		cmd := exec.CommandContext(t.Context(), command[0], slices.Concat(command[1:], []string{issuer, audience}, algorithms)...)
		cmd.Env = append(os.Environ(), asProgram+"=yes", "KEYS_MAX_AGE="+maxAge, "KEYS_COOLDOWN=0", "PYTHONPATH=packages", "GORACE=atexit_sleep_ms=20")
		ready[i] = start(t, cmd)
	}
	for i := range all {
		all[i].url = ready[i]()
	}
	return all
}

// start starts a program and returns what waits for the line that it prints.
func start(t *testing.T, cmd *exec.Cmd) func() string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	dieWithParent(cmd)
	require.NoError(t, cmd.Start(), "%s is needed: run make deps", cmd.Path)
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone: the context of the test is done
		_ = cmd.Wait()
		assert.Empty(t, stderr.String(), "%v has something to complain of", cmd.Args)
	})
	return func() string {
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil {
			_ = cmd.Wait()
			require.NoError(t, err, "%v: run make deps? %s", cmd.Args, &stderr)
		}
		return strings.TrimSpace(line)
	}
}

// ahead sets the clock of the API in Go forward.
func (a apis) ahead(t *testing.T, by string) {
	t.Helper()
	resp, err := http.Post(a[0].url+"/clock?by="+by, "", http.NoBody)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// A verdict is how an API answers: what it knows of the caller, or why not.
type verdict struct {
	Status              int
	Error, Scope        string // of the challenge
	Client, User, Might string
}

var parameter = regexp.MustCompile(`(error|scope)="([^"]*)"`)

// ask sends a request with an Authorization header, or none.
func (a api) ask(t *testing.T, method, authorization string) verdict {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, a.url+"/notes", http.NoBody)
	require.NoError(t, err)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	v := verdict{Status: resp.StatusCode}
	for _, found := range parameter.FindAllStringSubmatch(resp.Header.Get("WWW-Authenticate"), -1) {
		if found[1] == "error" {
			v.Error = found[2]
		} else {
			v.Scope = found[2]
		}
	}
	if resp.StatusCode == http.StatusOK {
		var body struct{ Client, User, Scope string }
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&body))
		v.Client, v.User, v.Might = body.Client, body.User, body.Scope
	}
	return v
}

// all asks each API and wants one verdict of them.
func (a apis) all(t *testing.T, want verdict, method, authorization string) {
	t.Helper()
	for _, api := range a {
		assert.Equal(t, want, api.ask(t, method, authorization), api.name)
	}
}

// The verdicts.
var (
	noToken = verdict{Status: 401, Scope: "notes:read"}
	invalid = verdict{Status: 401, Scope: "notes:read", Error: "invalid_token"}
	lacking = verdict{Status: 403, Scope: "notes:read", Error: "insufficient_scope"}
	down    = verdict{Status: 503}
)

func good(client, user, scope string) verdict {
	return verdict{Status: 200, Client: client, User: user, Might: scope}
}

// accepted wants that all three let a token of alice in.
func (a apis) accepted(t *testing.T, token string) {
	t.Helper()
	for _, api := range a {
		v := api.ask(t, http.MethodGet, "Bearer "+token)
		assert.Equal(t, 200, v.Status, api.name)
		assert.Equal(t, "alice", v.User, api.name)
	}
}

// refused wants that all three say that a token is bad.
func (a apis) refused(t *testing.T, token string) {
	t.Helper()
	a.all(t, invalid, http.MethodGet, "Bearer "+token)
}
