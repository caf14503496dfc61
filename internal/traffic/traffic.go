// Package traffic is load for an authorization server whose store comes and goes:
// clients that sign in, redeem codes, refresh, revoke and introspect over HTTP, and
// notice when an answer is not true. It is for tests of stores on real servers.
package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Target is the authorization server under load. Its endpoints have the default
// paths, it approves each request at once as the subject that login_hint names, and
// the client is confidential.
type Target struct {
	URLs         []string // of its processes; each request goes to another one
	ClientID     string
	ClientSecret string
	RedirectURI  string
}

// Traffic is load that runs.
type Traffic struct {
	target  Target
	http    *http.Client
	cancel  context.CancelFunc
	clients sync.WaitGroup

	mu         sync.Mutex
	next       int               // process to ask
	counts     []Counts          // of each client
	lies       []error           // what was not true
	successors map[string]string // of each refresh token that was presented
	revoked    []string          // access tokens
	sessions   []*session        // those that last
	changed    chan struct{}     // closed when the counts changed
}

// Counts are the answers that one client got.
type Counts struct{ Answered, Unavailable int }

const (
	pause   = 25 * time.Millisecond // before a request is sent again
	maxLies = 10
	patient = 30 * time.Second // for one answer: more than every deadline of the server
)

// Start lets clients loose on a server: sessions that refresh for as long as the load
// runs, every second of them sending each refresh twice at once, and newcomers that
// begin anew after each redemption.
func Start(target Target, sessions, newcomers int) *Traffic {
	ctx, cancel := context.WithCancel(context.Background())
	t := &Traffic{
		target: target, cancel: cancel, counts: make([]Counts, sessions+newcomers), changed: make(chan struct{}),
		successors: map[string]string{}, sessions: make([]*session, sessions),
		http: &http.Client{
			Timeout:       patient,
			Transport:     &http.Transport{MaxIdleConnsPerHost: 2 * (sessions + newcomers)},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for i := range t.counts {
		c := &client{Traffic: t, number: i}
		t.clients.Go(func() {
			if i < sessions {
				c.stay(ctx)
			} else {
				c.comeAndGo(ctx)
			}
		})
	}
	return t
}

// Await returns when every client got so many more answers, or when one found that an
// answer was not true.
func (t *Traffic) Await(ctx context.Context, more Counts) error {
	t.mu.Lock()
	want := append([]Counts(nil), t.counts...)
	t.mu.Unlock()
	for i := range want {
		want[i].Answered += more.Answered
		want[i].Unavailable += more.Unavailable
	}
	for {
		t.mu.Lock()
		changed, lied, waiting := t.changed, len(t.lies), -1
		for i, c := range t.counts {
			if c.Answered < want[i].Answered || c.Unavailable < want[i].Unavailable {
				waiting = i
			}
		}
		have := append([]Counts(nil), t.counts...)
		t.mu.Unlock()
		switch {
		case lied > 0:
			return t.found()
		case waiting < 0:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("traffic: client %d has %+v and waits for %+v: %w", waiting, have[waiting], want[waiting], ctx.Err())
		}
	}
}

// Total is what all clients got.
func (t *Traffic) Total() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	var sum Counts
	for _, c := range t.counts {
		sum.Answered += c.Answered
		sum.Unavailable += c.Unavailable
	}
	return sum
}

// End ends the load, if it has not ended yet.
func (t *Traffic) End() {
	t.cancel()
	t.clients.Wait()
	t.http.CloseIdleConnections()
}

// Verify ends the load and, the store being there, asks after everything that was
// said: each session goes on with what it last received, of its refresh tokens one is
// live, and what was revoked stays so. The error is all that was not true.
func (t *Traffic) Verify(ctx context.Context) error {
	t.End()
	defer t.http.CloseIdleConnections()
	t.mu.Lock()
	revoked, last := t.revoked, t.sessions
	t.mu.Unlock()
	for _, token := range revoked[max(0, len(revoked)-100):] {
		if active, ok := t.introspect(ctx, token); !ok || active {
			t.lie("a revoked access token: answered %v, active %v", ok, active)
		}
	}
	for i, s := range last {
		if s == nil {
			t.lie("session %d has not begun", i)
			continue
		}
		t.ask(ctx, i, s)
	}
	return t.found()
}

// ask asks after a session that lasted.
func (t *Traffic) ask(ctx context.Context, i int, s *session) {
	a := t.refresh(ctx, s.refresh[len(s.refresh)-1])
	if a.status != http.StatusOK {
		t.lie("session %d does not go on with the refresh token that it last received: %v", i, a)
		return
	}
	s.received(a)
	for n, token := range s.refresh[max(0, len(s.refresh)-5):] {
		live := token == s.refresh[len(s.refresh)-1]
		if active, ok := t.introspect(ctx, token); !ok || active != live {
			t.lie("session %d, refresh token %d of the last: answered %v, active %v, want %v", i, n, ok, active, live)
		}
	}
	if active, ok := t.introspect(ctx, s.access); !ok || !active {
		t.lie("session %d, its access token: answered %v, active %v", i, ok, active)
	}
}

func (t *Traffic) found() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.lies...)
}

func (t *Traffic) lie(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lies) < maxLies {
		t.lies = append(t.lies, fmt.Errorf("traffic: "+format, args...))
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *Traffic) count(client int, c Counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[client].Answered += c.Answered
	t.counts[client].Unavailable += c.Unavailable
	close(t.changed)
	t.changed = make(chan struct{})
}

// succeeds records the successor of a refresh token; it can have but one.
func (t *Traffic) succeeds(token, successor string) {
	t.mu.Lock()
	before, known := t.successors[token]
	t.successors[token] = successor
	t.mu.Unlock()
	if known && before != successor {
		t.lie("a refresh token has two successors")
	}
}

// An answer is a response, read. Of no response the status is 0.
type answer struct {
	status int
	text   string
	member map[string]any // of its JSON, or of the parameters of a redirect
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.text) }

func (a answer) get(name string) string {
	text, _ := a.member[name].(string)
	return text
}

// unavailable says whether the server could not answer, and said so.
func (a answer) unavailable() bool { return a.status == http.StatusServiceUnavailable }

// do sends a request and looks at what every answer must be.
func (t *Traffic) do(r *http.Request) answer {
	response, err := t.http.Do(r)
	if err != nil {
		if r.Context().Err() == nil {
			t.lie("no answer: %v", err)
		}
		return answer{text: err.Error()}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		if r.Context().Err() == nil {
			t.lie("half an answer: %v", err)
		}
		return answer{text: err.Error()}
	}
	a := answer{status: response.StatusCode, text: string(body), member: map[string]any{}}
	if location, err := response.Location(); err == nil {
		a.text = location.String()
		for name, values := range location.Query() {
			a.member[name] = values[0]
		}
		if a.get("error") == "temporarily_unavailable" { // RFC 6749, section 4.1.2.1: a redirect cannot be a 503
			a.status = http.StatusServiceUnavailable
		}
		return a
	}
	if json.Unmarshal(body, &a.member) != nil {
		a.member = map[string]any{}
	}
	if wait, err := strconv.Atoi(response.Header.Get("Retry-After")); a.unavailable() && (err != nil || wait < 1) {
		t.lie("a 503 without Retry-After: %v", a)
	}
	return a
}

// url is that of an endpoint, of each process in turn.
func (t *Traffic) url(path string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	return t.target.URLs[t.next%len(t.target.URLs)] + path
}

func (t *Traffic) post(ctx context.Context, path string, form url.Values) answer {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url(path), strings.NewReader(form.Encode()))
	if err != nil {
		return answer{text: err.Error()}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(t.target.ClientID), url.QueryEscape(t.target.ClientSecret))
	return t.do(r)
}

func (t *Traffic) refresh(ctx context.Context, token string) answer {
	a := t.post(ctx, "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
	if a.status == http.StatusOK {
		t.succeeds(token, a.get("refresh_token"))
	}
	return a
}

// introspect asks whether a token is live; not ok is no answer to that.
func (t *Traffic) introspect(ctx context.Context, token string) (active, ok bool) {
	a := t.post(ctx, "/oauth/introspect", url.Values{"token": {token}})
	active, ok = a.member["active"].(bool)
	if ok = ok && a.status == http.StatusOK; !ok && !a.unavailable() && ctx.Err() == nil {
		t.lie("introspection: %v", a)
	}
	return active, ok
}
