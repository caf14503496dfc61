//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
)

// TestLoad shows that the load sees what it says it sees: it runs against a server
// that is right, and against servers that do what must not happen.
func TestLoad(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(t *tampering, w http.ResponseWriter, r *http.Request) bool // reports whether it has answered
		check func(t *testing.T, s summary)
	}{
		{"nothing wrong", func(*tampering, http.ResponseWriter, *http.Request) bool { return false }, func(t *testing.T, s summary) {
			assert.NoError(t, s.err())
			assert.Positive(t, s.SentTwice)
			assert.Zero(t, s.Retries+s.BegunAgain+s.Unavailable)
		}},
		{"a code is good twice", (*tampering).answerCodesAgain, func(t *testing.T, s summary) {
			assert.Positive(t, s.RedeemedTwice)
			assert.Zero(t, s.Lost)
		}},
		{"a refresh token has two successors", (*tampering).changeSuccessors, func(t *testing.T, s summary) { assert.Positive(t, s.TwoSuccessors) }},
		{"a session is lost", refuse("refresh_token", 400, `{"error":"invalid_grant"}`), func(t *testing.T, s summary) { assert.Positive(t, s.Lost) }},
		{"a code is refused", refuse("authorization_code", 400, `{"error":"invalid_grant"}`), func(t *testing.T, s summary) {
			assert.Contains(t, s.Unexpected, "a code that was sent once: 400 invalid_grant")
			assert.Zero(t, s.BegunAgain)
		}},
		{"the client is refused", refuse("refresh_token", 401, `{"error":"invalid_client"}`), func(t *testing.T, s summary) {
			assert.Contains(t, s.Unexpected, "a refresh token: 401 invalid_client")
		}},
		{"a 503 does not say when to come again", refuse("authorization_code", 503, `{}`), func(t *testing.T, s summary) {
			assert.Contains(t, s.Unexpected, "a code: 503")
		}},
		{"the API refuses", func(_ *tampering, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/api/me" {
				w.WriteHeader(http.StatusUnauthorized)
			}
			return r.URL.Path == "/api/me"
		}, func(t *testing.T, s summary) { assert.Positive(t, s.Lost) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := runTampered(t, tt.fault)
			t.Logf("\n%s%q", s, s.Unexpected)
			tt.check(t, s)
			if tt.name != "nothing wrong" {
				require.Error(t, s.err())
			}
		})
	}
	require.Error(t, summary{}.err(), "a load that did nothing shows nothing")
}

// runTampered runs a load against one process with a memory store, whose answers
// are tampered with.
func runTampered(t *testing.T, fault func(*tampering, http.ResponseWriter, *http.Request) bool) summary {
	t.Helper()
	front := httptest.NewUnstartedServer(nil)
	d := deployment{Issuer: "http://" + front.Listener.Addr().String(), Secret: oauth.NewSecret(), AppSecret: rand.Text(), APISecret: rand.Text()}
	_, handler, err := newHost(d, memstore.New(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	tampered := &tampering{next: handler, answers: map[string]*httptest.ResponseRecorder{}}
	front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fault(tampered, w, r) {
			handler.ServeHTTP(w, r)
		}
	})
	front.Start()
	t.Cleanup(front.Close)

	l := newLoad(d)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var done sync.WaitGroup
	done.Go(func() { l.run(ctx, 2) })
	await(t, "enough", func() bool {
		s := l.summary()
		return s.Requests > 500 || len(s.Unexpected) > 0 || s.err() != nil && s.Sessions > 0
	})
	stop()
	done.Wait()
	l.check(2)
	return l.summary()
}

// tampering stands before a server.
type tampering struct {
	next    http.Handler
	mu      sync.Mutex
	answers map[string]*httptest.ResponseRecorder // by the code or refresh token sent
}

func grantType(r *http.Request) string {
	if r.URL.Path != "/oauth/token" {
		return ""
	}
	r.ParseForm() //nolint:errcheck // the load's own
	return r.PostForm.Get("grant_type")
}

// serve lets the server answer a request whose form was read.
func (t *tampering) serve(r *http.Request) *httptest.ResponseRecorder {
	again := httptest.NewRequest(r.Method, r.URL.String(), strings.NewReader(r.PostForm.Encode()))
	again.Header = r.Header
	w := httptest.NewRecorder()
	t.next.ServeHTTP(w, again)
	return w
}

// answerCodesAgain answers a code that comes again as it was answered before.
func (t *tampering) answerCodesAgain(w http.ResponseWriter, r *http.Request) bool {
	grant := grantType(r)
	if grant == "" {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	code := r.PostForm.Get("code")
	answer := t.answers[code]
	if answer == nil {
		answer = t.serve(r)
		if grant == "authorization_code" {
			t.answers[code] = answer
		}
	}
	w.WriteHeader(answer.Code)
	w.Write(answer.Body.Bytes()) //nolint:errcheck // the test sees it
	return true
}

// changeSuccessors gives a refresh token that comes again another successor.
func (t *tampering) changeSuccessors(w http.ResponseWriter, r *http.Request) bool {
	if grantType(r) == "" {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	answer := t.serve(r)
	body := answer.Body.String()
	if token := r.PostForm.Get("refresh_token"); t.answers[token] != nil {
		body = strings.Replace(body, `"refresh_token":"`, `"refresh_token":"another`, 1)
	} else if token != "" {
		t.answers[token] = answer
	}
	w.WriteHeader(answer.Code)
	w.Write([]byte(body)) //nolint:errcheck // the test sees it
	return true
}

// refuse answers requests of a grant type.
func refuse(grant string, status int, body string) func(*tampering, http.ResponseWriter, *http.Request) bool {
	return func(t *tampering, w http.ResponseWriter, r *http.Request) bool {
		switch grantType(r) {
		case "":
			return false
		case grant:
			w.WriteHeader(status)
			w.Write([]byte(body)) //nolint:errcheck // the test sees it
		default:
			answer := t.serve(r)
			w.WriteHeader(answer.Code)
			w.Write(answer.Body.Bytes()) //nolint:errcheck // the test sees it
		}
		return true
	}
}

func TestProcessThatDoesNotStart(t *testing.T) {
	stderr, err := os.Create(t.TempDir() + "/stderr")
	require.NoError(t, err)
	defer stderr.Close() //nolint:errcheck // the end of the test
	_, err = newCluster("redis://127.0.0.1:1/0", 2, stderr)
	require.ErrorContains(t, err, "process 1: it does not start")
	said, err := os.ReadFile(stderr.Name())
	require.NoError(t, err)
	require.Contains(t, string(said), "no answer from the server")
}
