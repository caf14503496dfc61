package oauthtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grantwell/oauth/resource"
)

// TestGuard puts a guard to the contract of [resource.Guard], one subtest per sentence.
// Every subtest calls open for a new guard. What it lets through and what it refuses is
// its own affair; how it refuses is not.
//
//	func TestMine(t *testing.T) {
//		oauthtest.TestGuard(t, func(t *testing.T) resource.Guard { return mine.Guard })
//	}
//
// Run with -race, it also finds a guard that goes on looking at a request that it has
// decided about.
func TestGuard(t *testing.T, open func(t *testing.T) resource.Guard) {
	t.Helper()
	for _, c := range guardContract() {
		t.Run(c.says, func(t *testing.T) {
			if err := c.test(&guardTrial{ctx: t.Context(), guard: open(t)}); err != nil {
				t.Errorf("resource.Guard: %s: %v", c.says, err)
			}
		})
	}
}

// A guardCheck is a sentence of the contract and its proof.
type guardCheck struct {
	says string
	test func(g *guardTrial) error
}

// A guardTrial is one guard.
type guardTrial struct {
	ctx   context.Context
	guard resource.Guard
}

func guardContract() []guardCheck {
	return []guardCheck{
		{"it lets through, or refuses with an error that can be sent", checkGuardError},
		{"it changes nothing of the request", checkGuardRequest},
		{"it does not read the body", checkGuardBody},
		{"what it sets in the header can be sent", checkGuardHeader},
		{"it keeps credentials out of errors and headers", checkGuardSilent},
		{"it keeps what others want to ask after authentication", checkGuardAuthenticated},
		{"it never panics", checkGuardOdd},
		{"it comes back when the context is done", checkGuardContext},
		{"it is safe for concurrent use", checkGuardConcurrency},
	}
}

// The credentials in the calls of the suite.
const (
	guardBearer = "guard-suite-bearer-token-4f1c9b"
	guardSecret = "guard-suite-client-secret-77ad0e"
	guardCode   = "guard-suite-code-in-the-query-a5"
)

// guardTime is the present of all calls.
var guardTime = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// guardCalls are the calls that a server and an API make, new with every call.
func guardCalls() map[string]*resource.Call {
	calls := map[string]*resource.Call{}
	for _, endpoint := range []string{"authorize", "token", "revoke", "introspect", "userinfo", "metadata", "jwks"} {
		r := httptest.NewRequest(http.MethodPost, "https://as.example/oauth/"+endpoint+"?code="+guardCode, strings.NewReader("a=b&client_secret="+guardSecret))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("app", guardSecret)
		c := &resource.Call{Request: r, Endpoint: endpoint, Header: http.Header{}, ClientID: "app", Now: guardTime}
		if endpoint == "metadata" || endpoint == "jwks" {
			c.Request, c.ClientID = httptest.NewRequest(http.MethodGet, "https://as.example/"+endpoint, nil), ""
		}
		calls[endpoint] = c
	}
	for _, unknown := range []string{"an API without a token", "an API"} {
		r := httptest.NewRequest(http.MethodGet, "https://api.example/notes", nil)
		c := &resource.Call{Request: r, Endpoint: "api", Header: http.Header{}, Now: guardTime}
		if unknown == "an API" {
			r.Header.Set("Authorization", "Bearer "+guardBearer)
			c.ClientID = "app"
			c.Token = &resource.Token{ID: "t-1", Issuer: "https://as.example", ClientID: "app", Subject: "alice", Scopes: []string{"read"},
				Audience: []string{"https://api.example"}, IssuedAt: guardTime.Add(-time.Minute), ExpiresAt: guardTime.Add(time.Hour), Extra: map[string]string{"a": "b"}}
		}
		calls[unknown] = c
	}
	return calls
}

// ask calls the guard, and then what it wants to ask after authentication, as a server
// does. A panic is an error too.
func (g *guardTrial) ask(ctx context.Context, c *resource.Call) (err, broken error) {
	defer func() {
		if v := recover(); v != nil {
			broken = fmt.Errorf("it panicked: %v\n%s", v, debug.Stack())
		}
	}()
	if err = g.guard(ctx, c); err != nil {
		return err, nil
	}
	for i, f := range c.OnAuthenticated {
		if f == nil {
			return nil, fmt.Errorf("OnAuthenticated[%d] is nil", i)
		}
		if err = f(ctx); err != nil {
			return err, nil
		}
	}
	return nil, nil
}

// each asks about every call, some times, so that a limit is met too.
func (g *guardTrial) each(test func(name string, c *resource.Call) error) error {
	for range 3 {
		calls := guardCalls()
		for _, name := range slices.Sorted(maps.Keys(calls)) {
			if err := test(name, calls[name]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// sendable checks that an error of a guard can be an answer.
func sendable(err error) error {
	if err == nil {
		return nil
	}
	v := reflect.ValueOf(err)
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("the error is a nil %T, which is not nil", err)
	}
	e, ok := errors.AsType[*resource.Error](err)
	switch {
	case !ok:
		return nil // a bare Code, or a failure, which is a 503
	case e == nil:
		return errors.New("the error wraps a nil *Error")
	case e.Code == "":
		return errors.New("the *Error has no Code")
	case e.HTTPStatus() < 400 || e.HTTPStatus() > 599:
		return fmt.Errorf("the *Error has the Status %d, which is no refusal", e.HTTPStatus())
	case e.Status == http.StatusTooManyRequests && e.RetryAfter <= 0:
		return errors.New("a 429 without RetryAfter")
	case e.RetryAfter < 0:
		return fmt.Errorf("the RetryAfter is %v", e.RetryAfter)
	}
	return nil
}

func checkGuardError(g *guardTrial) error {
	return g.each(func(_ string, c *resource.Call) error {
		err, broken := g.ask(g.ctx, c)
		return errors.Join(broken, sendable(err))
	})
}

// A guardView is what a guard must leave as it is.
type guardView struct {
	Method, URL, Host, RemoteAddr, RequestURI, Proto string
	Header                                           http.Header
	Form, PostForm                                   url.Values
	Endpoint, ClientID                               string
	Token                                            *resource.Token
	Now                                              time.Time
	Length                                           int64
}

func viewOf(c *resource.Call) guardView {
	r := c.Request
	v := guardView{r.Method, r.URL.String(), r.Host, r.RemoteAddr, r.RequestURI, r.Proto, r.Header.Clone(), r.Form, r.PostForm,
		c.Endpoint, c.ClientID, nil, c.Now, r.ContentLength}
	if c.Token != nil {
		t := *c.Token
		t.Scopes, t.Audience, t.Extra = slices.Clone(t.Scopes), slices.Clone(t.Audience), maps.Clone(t.Extra)
		v.Token = &t
	}
	return v
}

func checkGuardRequest(g *guardTrial) error {
	return g.each(func(_ string, c *resource.Call) error {
		before, request, ctx := viewOf(c), c.Request, c.Request.Context()
		if _, broken := g.ask(g.ctx, c); broken != nil {
			return broken
		}
		if c.Request != request || c.Request.Context() != ctx {
			return errors.New("Request is another one")
		}
		after := reflect.ValueOf(viewOf(c))
		for i, want := range reflect.ValueOf(before).Fields() {
			if got := after.FieldByIndex(i.Index); !reflect.DeepEqual(got.Interface(), want.Interface()) {
				return fmt.Errorf("%s has changed", i.Name)
			}
		}
		return nil
	})
}

// An untouched body says when it is read.
type untouched struct{ read bool }

func (u *untouched) Read([]byte) (int, error) { u.read = true; return 0, io.EOF }
func (u *untouched) Close() error             { u.read = true; return nil }

func checkGuardBody(g *guardTrial) error {
	return g.each(func(_ string, c *resource.Call) error {
		body := &untouched{}
		c.Request.Body = body
		if _, broken := g.ask(g.ctx, c); broken != nil {
			return broken
		}
		if body.read || c.Request.Body != io.ReadCloser(body) {
			return errors.New("the body was read, closed or replaced: the endpoint finds none")
		}
		return nil
	})
}

func checkGuardHeader(g *guardTrial) error {
	return g.each(func(_ string, c *resource.Call) error {
		c.Header.Set("X-Set-Before", "by the server")
		if _, broken := g.ask(g.ctx, c); broken != nil {
			return broken
		}
		if c.Header.Get("X-Set-Before") != "by the server" {
			return errors.New("a header that was there before is gone")
		}
		for name, values := range c.Header {
			if name == "" || http.CanonicalHeaderKey(name) != name || strings.ContainsAny(name, " :\r\n\x00") {
				return fmt.Errorf("the header %q is no header: names are canonical", name)
			}
			for _, value := range values {
				if i := strings.IndexFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7F }); i >= 0 {
					return fmt.Errorf("the header %s has a control character", name)
				}
			}
		}
		return nil
	})
}

func checkGuardSilent(g *guardTrial) error {
	return g.each(func(_ string, c *resource.Call) error {
		err, broken := g.ask(g.ctx, c)
		if broken != nil {
			return broken
		}
		var told bytes.Buffer
		fmt.Fprintf(&told, "%v", c.Header)
		if err != nil {
			fmt.Fprintf(&told, "%v %+v", err, err)
		}
		for _, text := range []string{guardBearer, guardSecret, guardCode} {
			for _, part := range []string{text[:20], text[len(text)-20:]} {
				if strings.Contains(told.String(), part) {
					return errors.New("the error or a header has a part of a credential")
				}
			}
		}
		return nil
	})
}

func checkGuardAuthenticated(g *guardTrial) error {
	return g.each(func(_ string, c *resource.Call) error {
		asked := 0
		c.OnAuthenticated = []func(context.Context) error{func(context.Context) error { asked++; return nil }}
		if err := g.guard(g.ctx, c); err != nil {
			return sendable(err)
		}
		if asked != 0 {
			return errors.New("it called a function of another guard, before anything was authenticated")
		}
		if len(c.OnAuthenticated) == 0 {
			return errors.New("it removed the function of another guard")
		}
		if err := c.OnAuthenticated[0](g.ctx); err != nil || asked != 1 {
			return errors.New("it replaced the function of another guard")
		}
		return nil
	})
}

// checkGuardOdd makes calls that a server or an API makes of what it gets.
func checkGuardOdd(g *guardTrial) error {
	change := map[string]func(c *resource.Call){
		"no address":                  func(c *resource.Call) { c.Request.RemoteAddr = "" },
		"an address that is none":     func(c *resource.Call) { c.Request.RemoteAddr = "@" },
		"a socket's address":          func(c *resource.Call) { c.Request.RemoteAddr = "/run/as.sock" },
		"an address with a zone":      func(c *resource.Call) { c.Request.RemoteAddr = "[fe80::1%eth0]:9" },
		"a mapped address":            func(c *resource.Call) { c.Request.RemoteAddr = "[::ffff:192.0.2.1]:9" },
		"an address without a port":   func(c *resource.Call) { c.Request.RemoteAddr = "192.0.2.1" },
		"no header":                   func(c *resource.Call) { c.Request.Header = http.Header{} },
		"a nil header of the request": func(c *resource.Call) { c.Request.Header = nil },
		"empty forwarding headers": func(c *resource.Call) {
			c.Request.Header["Forwarded"], c.Request.Header["X-Forwarded-For"], c.Request.Header["X-Forwarded-Proto"] = []string{""}, []string{}, []string{",,"}
		},
		"odd forwarding headers": func(c *resource.Call) {
			c.Request.Header.Set("Forwarded", `for="[`+strings.Repeat(`,for="`, 1000))
			c.Request.Header.Set("X-Forwarded-For", strings.Repeat("::,", 10000)+"%")
		},
		"an empty URL":           func(c *resource.Call) { c.Request.URL, c.Request.Host = &url.URL{}, "" },
		"a URL that is a star":   func(c *resource.Call) { c.Request.URL = &url.URL{Path: "*"} },
		"a malformed query":      func(c *resource.Call) { c.Request.URL.RawQuery = "%zz&=&;;&a=%" },
		"no method":              func(c *resource.Call) { c.Request.Method = "" },
		"an unknown method":      func(c *resource.Call) { c.Request.Method = "BREW" },
		"no body":                func(c *resource.Call) { c.Request.Body = nil },
		"TLS":                    func(c *resource.Call) { c.Request.TLS = &tls.ConnectionState{} },
		"no client":              func(c *resource.Call) { c.ClientID = "" },
		"a long client":          func(c *resource.Call) { c.ClientID = strings.Repeat("x", 2048) },
		"a client that is odd":   func(c *resource.Call) { c.ClientID = "\x00\xff\r\n\"" },
		"an unknown endpoint":    func(c *resource.Call) { c.Endpoint = "device" },
		"no endpoint":            func(c *resource.Call) { c.Endpoint = "" },
		"a token with nothing":   func(c *resource.Call) { c.Token = &resource.Token{} },
		"a token without a user": func(c *resource.Call) { c.Token = &resource.Token{ID: "t-2", ClientID: "app"} },
		"no time":                func(c *resource.Call) { c.Now = time.Time{} },
		"a time long ago":        func(c *resource.Call) { c.Now = time.Unix(-1<<40, 0) },
		"a time far ahead":       func(c *resource.Call) { c.Now = time.Unix(1<<40, 0) },
		"a clock that went back": func(c *resource.Call) { c.Now = guardTime.Add(-time.Hour) },
	}
	for _, odd := range slices.Sorted(maps.Keys(change)) {
		err := g.each(func(_ string, c *resource.Call) error {
			change[odd](c)
			err, broken := g.ask(g.ctx, c)
			return errors.Join(broken, sendable(err))
		})
		if err != nil {
			return fmt.Errorf("%s: %w", odd, err)
		}
	}
	return nil
}

// guardPatience is how long a guard may take when nobody waits for it any more.
const guardPatience = 10 * time.Second

func checkGuardContext(g *guardTrial) error { return g.returns(guardPatience) }

func (g *guardTrial) returns(patience time.Duration) error {
	ctx, cancel := context.WithCancel(g.ctx)
	cancel()
	done := make(chan error, 1)
	go func() {
		done <- g.each(func(_ string, c *resource.Call) error {
			err, broken := g.ask(ctx, c)
			return errors.Join(broken, sendable(err))
		})
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		return fmt.Errorf("it has not come back for %v", patience)
	}
}

func checkGuardConcurrency(g *guardTrial) error {
	failures := make(chan error, 16)
	var all sync.WaitGroup
	for n := range cap(failures) {
		all.Go(func() {
			err := g.each(func(_ string, c *resource.Call) error {
				if n%2 == 0 {
					c.ClientID, c.Request.RemoteAddr = fmt.Sprint("client-", n), fmt.Sprintf("192.0.2.%d:9", n)
				}
				err, broken := g.ask(g.ctx, c)
				// What is decided is no more the guard's to look at.
				c.Header.Set("X-Afterwards", "x")
				c.Request.Header.Set("X-Afterwards", "x")
				c.ClientID, c.Token, c.OnAuthenticated = "", nil, nil
				return errors.Join(broken, sendable(err))
			})
			if err != nil {
				failures <- err
			}
		})
	}
	all.Wait()
	close(failures)
	return <-failures // nil where there is none
}
