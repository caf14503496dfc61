// Package probe is a misbehaving client: it speaks HTTP to an authorization server
// the way attackers, careless programs and broken networks do, and says what the
// server let pass, with the section of the RFC and what to change. It knows nothing
// of the server but its URL and the fixtures that a [Target] lists, so it can be
// pointed at the routes of any program that embeds this library, or at any other
// OAuth 2.0 server of one's own.
//
// It makes real authorizations for the user and the clients of the Target and
// leaves them behind. It sends a few hundred requests, one after the other but for
// two checks of races, and none to any origin that the Target does not name.
//
// [github.com/grantwell/oauth/oauthtest.TestHost] runs it as a test, the command
// oauthprobe against a running server.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// A Target is a server and what the probe may use there. A check that needs what is
// not given is reported as not run.
type Target struct {
	// URL is the issuer, byte for byte; where the server has no metadata, the URL that
	// the paths of Prefix are below. Required.
	URL string `json:"-"`
	// Prefix is the path that every endpoint must be below, such as "/oauth"; the
	// metadata is held against it. Where the metadata names no endpoint, authorize,
	// token, revoke, introspect and userinfo are looked for below it. "": not checked.
	Prefix string `json:"prefix"`
	// Endpoints are URLs that the metadata does not tell.
	Endpoints Endpoints `json:"endpoints"`
	// Origins may be sent requests besides that of URL, such as "https://api.example".
	Origins []string `json:"origins"`

	Confidential Client `json:"confidential"` // has a secret, and a redirect URI
	Public       Client `json:"public"`       // has none, and a redirect URI
	Other        Client `json:"other"`        // a third one, for what must not work with another client
	Machine      Client `json:"machine"`      // has a secret, may use client_credentials
	Introspector Client `json:"introspector"` // has a secret, may introspect the tokens of others

	// Approve takes an authorization request to where a signed-in user has agreed, and
	// returns the URL of the callback, which it must not request. nil: the probe is the
	// browser, with Header, Fields and Press.
	Approve func(ctx context.Context, authorizeURL string) (callback string, err error) `json:"-"`
	// Header is sent with what the signed-in browser requests: a Cookie of a session.
	Header http.Header `json:"header"`
	// Fields fills in the forms on the way, by the name of the input.
	Fields map[string]string `json:"fields"`
	// Press lists the buttons to press, by their text or value, the first that a page
	// has. nil: words such as Allow, Approve, Continue, Sign in.
	Press []string `json:"press"`
	// Resource is a URL that answers a GET with a live token of these clients with 2xx.
	// Zero: userinfo.
	Resource string `json:"resource"`

	// Only lists the checks to run, by ID. nil: all.
	Only []string `json:"only"`
	// Without lists checks not to run, by ID, for what is meant to be so.
	Without []string `json:"without"`

	// HTTP sends the requests; of it the Transport and the Timeout count. nil: one
	// without a proxy, 10 s for each request.
	HTTP *http.Client `json:"-"`
	// Wait lets time pass between two requests where a check needs that: 3 s. nil:
	// it sleeps. One who shares a clock with the server moves it.
	Wait func(ctx context.Context, d time.Duration) error `json:"-"`
	// Timeout is for all of it. 0: 2 minutes.
	Timeout time.Duration `json:"-"`
}

// String names the server, without secrets and passwords.
func (t Target) String() string { return fmt.Sprintf("target %q", t.URL) }

// GoString is String, for the format %#v.
func (t Target) GoString() string { return t.String() }

// Endpoints are absolute URLs, or paths on the origin of [Target].URL. They win over
// the metadata.
type Endpoints struct {
	Metadata   string `json:"metadata"` // zero: where RFC 8414, section 3.1, has it; "-": there is none
	Authorize  string `json:"authorize"`
	Token      string `json:"token"`
	Revoke     string `json:"revoke"`
	Introspect string `json:"introspect"`
	UserInfo   string `json:"userinfo"`
	JWKS       string `json:"jwks"`
}

// A Client is one that the server knows. Without an ID it is not there.
type Client struct {
	ID          string   `json:"id"`
	Secret      string   `json:"secret"`      // "": a public client
	SecretPost  bool     `json:"secret_post"` // the secret goes into the form, not into the Authorization header
	RedirectURI string   `json:"redirect_uri"`
	Scopes      []string `json:"scopes"` // to ask for; none: no scope is sent
}

// String names the client without its secret.
func (c Client) String() string { return fmt.Sprintf("client %q", c.ID) }

// GoString is String, for the format %#v.
func (c Client) GoString() string { return c.String() }

// A Severity says how bad a finding is.
type Severity string

// What can be done with what a check finds.
const (
	High   Severity = "high"   // tokens get into wrong hands
	Medium Severity = "medium" // a defence is missing, or honest clients break
	Low    Severity = "low"    // some clients break, or an attack gets easier
)

// A Verdict is how a check ended.
type Verdict string

// How a check ends.
const (
	OK      Verdict = "ok"
	Finding Verdict = "finding"
	NotRun  Verdict = "not run"
)

// A Check is something that must hold.
type Check struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"` // what must hold
	RFC      string   `json:"rfc"`  // the section that asks for it
	Severity Severity `json:"severity"`
	Fix      string   `json:"fix"` // what to change where it does not hold
}

// A Result is a Check and what came of it.
type Result struct {
	Check
	Verdict Verdict `json:"verdict"`
	Seen    string  `json:"seen"` // or why it was not run; never a secret or a token
}

// Progress is told before each check and after it.
type Progress struct {
	N, Total int
	Check    Check
	Result   *Result // nil: it begins
}

// Checks lists all that there are, in the order in which they run.
func Checks() []Check {
	var list []Check
	for _, c := range allChecks() {
		list = append(list, c.Check)
	}
	return list
}

// A check is a Check that can run.
type check struct {
	Check
	run func(*session) outcome
}

func allChecks() []check {
	return slices.Concat(metadataChecks, authorizeChecks, redirectChecks, pageChecks, clientChecks, tokenChecks,
		codeChecks, pkceChecks, refreshChecks, revokeChecks, introspectChecks, bearerChecks, lastChecks)
}

// Run runs all checks and returns a Result for each, in the order of [Checks]. The
// error says that the probe could not do its work: the Target makes no sense, the
// server does not answer at all, or time ran out; the results then are those so far,
// and the rest not run. progress may be nil.
func Run(ctx context.Context, t Target, progress func(Progress)) ([]Result, error) {
	s, err := newSession(t)
	if err != nil {
		return nil, err
	}
	timeout := t.Timeout
	if timeout <= 0 {
		timeout = 2 * time.Minute
	}
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	s.ctx = ctx
	if err := s.discover(); err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	checks := allChecks()
	var results []Result
	for i, c := range checks {
		progress(Progress{N: i + 1, Total: len(checks), Check: c.Check})
		r := s.result(c)
		results = append(results, r)
		progress(Progress{N: i + 1, Total: len(checks), Check: c.Check, Result: &r})
	}
	if err := ctx.Err(); err != nil {
		return results, fmt.Errorf("probe: not all checks were run: %w", err)
	}
	return results, nil
}

// Findings are the results that say something is wrong.
func Findings(results []Result) []Result {
	return slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Verdict != Finding })
}

// An outcome is what a check says.
type outcome struct {
	verdict Verdict
	seen    string
}

func pass(format string, args ...any) outcome { return outcome{OK, fmt.Sprintf(format, args...)} }
func found(format string, args ...any) outcome {
	return outcome{Finding, fmt.Sprintf(format, args...)}
}
func notRun(format string, args ...any) outcome { return outcome{NotRun, fmt.Sprintf(format, args...)} }

// stop ends a check from within: what it needs is not there.
type stop struct{ outcome }

func cannot(format string, args ...any) { panic(stop{notRun(format, args...)}) }

// result runs a check.
func (s *session) result(c check) (r Result) {
	r = Result{Check: c.Check}
	defer func() {
		if v := recover(); v != nil {
			end, ok := v.(stop)
			if !ok {
				panic(v)
			}
			r.Verdict, r.Seen = end.verdict, end.seen
		}
		r.Seen = s.redact(r.Seen)
	}()
	switch {
	case slices.Contains(s.Without, c.ID) || s.Only != nil && !slices.Contains(s.Only, c.ID):
		r.Verdict, r.Seen = NotRun, "left out, as the target says"
		return r
	case s.ctx.Err() != nil:
		r.Verdict, r.Seen = NotRun, "time ran out before it"
		return r
	}
	o := c.run(s)
	r.Verdict, r.Seen = o.verdict, o.seen
	return r
}

var errNoURL = errors.New("probe: the URL must be absolute, http or https, without query, fragment and user")
