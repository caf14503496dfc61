package oauthtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/resource"
)

// The guards of the library, and plain ones.
func TestGuards(t *testing.T) {
	made := func(g resource.Guard, err error) func(*testing.T) resource.Guard {
		return func(t *testing.T) resource.Guard { require.NoError(t, err); return g }
	}
	for name, open := range map[string]func(*testing.T) resource.Guard{
		"HTTPS":             made(guard.HTTPS{}.Guard()),
		"HTTPS by a header": made(guard.HTTPS{Proxies: guard.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.0.0/8")}, Header: "Forwarded"}}.Guard()),
		"RateLimit": func(t *testing.T) resource.Guard {
			g, err := guard.RateLimit{Rules: []guard.Rule{{Limits: []guard.Limit{{Count: 2, Window: time.Minute}}},
				{Per: guard.PerClient, Limits: []guard.Limit{{Count: 1, Window: time.Minute, Sliding: true}}}}}.Guard()
			require.NoError(t, err)
			return g
		},
		"lets through":    made(func(context.Context, *resource.Call) error { return nil }, nil),
		"refuses by code": made(func(context.Context, *resource.Call) error { return resource.AccessDenied }, nil),
		"fails":           made(func(context.Context, *resource.Call) error { return errors.New("counter is away") }, nil),
		"asks afterwards": made(func(_ context.Context, c *resource.Call) error {
			c.OnAuthenticated = append(c.OnAuthenticated, func(context.Context) error { return &resource.Error{Code: resource.AccessDenied, Status: 403} })
			return nil
		}, nil),
	} {
		t.Run(name, func(t *testing.T) { TestGuard(t, open) })
	}
}

// A brokenGuard is a mistake, and the sentence that finds it.
type brokenGuard struct {
	name, fails string
	guard       resource.Guard
}

func brokenGuards() []brokenGuard {
	const (
		sent, request, body = "it lets through, or refuses with an error that can be sent", "it changes nothing of the request", "it does not read the body"
		header, silent      = "what it sets in the header can be sent", "it keeps credentials out of errors and headers"
		later, odd          = "it keeps what others want to ask after authentication", "it never panics"
		done, parallel      = "it comes back when the context is done", "it is safe for concurrent use"
	)
	var none *resource.Error
	refusal := func(e *resource.Error) resource.Guard {
		return func(context.Context, *resource.Call) error { return e }
	}
	does := func(do func(c *resource.Call)) resource.Guard {
		return func(_ context.Context, c *resource.Call) error { do(c); return nil }
	}
	var busy sync.Mutex
	return []brokenGuard{
		{"a nil error that is not nil", sent, refusal(none)},
		{"wraps a nil error", sent, func(context.Context, *resource.Call) error { return fmt.Errorf("limit: %w", none) }},
		{"an error without a code", sent, refusal(&resource.Error{Status: 403})},
		{"a refusal that is a 200", sent, refusal(&resource.Error{Code: resource.AccessDenied, Status: 200})},
		{"429 and no RetryAfter", sent, refusal(&resource.Error{Code: resource.TemporarilyUnavailable, Status: 429})},
		{"a time that is over", sent, refusal(&resource.Error{Code: resource.TemporarilyUnavailable, Status: 503, RetryAfter: -time.Second})},
		{"a nil error after authentication", sent, does(func(c *resource.Call) {
			c.OnAuthenticated = append(c.OnAuthenticated, func(context.Context) error { return none })
		})},
		{"a nil function for after authentication", sent, does(func(c *resource.Call) { c.OnAuthenticated = append(c.OnAuthenticated, nil) })},
		{"believes X-Forwarded-For for all", request, does(func(c *resource.Call) { c.Request.RemoteAddr = "192.0.2.7:1" })},
		{"marks the request", request, does(func(c *resource.Call) { c.Request.Header.Set("X-Checked", "yes") })},
		{"hides the token from the rest", request, does(func(c *resource.Call) { c.Request.Header.Del("Authorization") })},
		{"parses the form", request, does(func(c *resource.Call) { _ = c.Request.ParseForm() })},
		{"names another client", request, does(func(c *resource.Call) { c.ClientID = "other" })},
		{"adds a scope", request, does(func(c *resource.Call) {
			if c.Token != nil {
				c.Token.Scopes[0] = "admin"
			}
		})},
		{"puts its own into the context", request, does(func(c *resource.Call) {
			c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), parallelKey{}, 1))
		})},
		{"reads the body", body, does(func(c *resource.Call) { _, _ = io.ReadAll(c.Request.Body) })},
		{"replaces the body", body, does(func(c *resource.Call) { c.Request.Body = io.NopCloser(strings.NewReader("")) })},
		{"a line break in a header", header, does(func(c *resource.Call) { c.Header.Set("X-Why", "a\r\nSet-Cookie: b") })},
		{"a header that nobody finds", header, does(func(c *resource.Call) { c.Header["x-limit"] = []string{"1"} })},
		{"empties the header", header, does(func(c *resource.Call) { clear(c.Header) })},
		{"quotes the Authorization header", silent, func(_ context.Context, c *resource.Call) error {
			return fmt.Errorf("refused %s", c.Request.Header.Get("Authorization"))
		}},
		{"quotes the URL in the cause", silent, func(_ context.Context, c *resource.Call) error {
			return &resource.Error{Code: resource.AccessDenied, Cause: errors.New(c.Request.URL.String())}
		}},
		{"shows the key that it counts by", silent, does(func(c *resource.Call) { c.Header.Set("X-Key", c.Request.Header.Get("Authorization")) })},
		{"replaces what others ask", later, does(func(c *resource.Call) {
			c.OnAuthenticated = []func(context.Context) error{func(context.Context) error { return nil }}
		})},
		{"removes what others ask", later, does(func(c *resource.Call) { c.OnAuthenticated = nil })},
		{"asks for others", later, func(ctx context.Context, c *resource.Call) error {
			for _, f := range c.OnAuthenticated {
				if err := f(ctx); err != nil {
					return err
				}
			}
			return nil
		}},
		{"takes an address for granted", odd, does(func(c *resource.Call) {
			host, _, _ := net.SplitHostPort(c.Request.RemoteAddr)
			netip.MustParseAddr(host)
		})},
		{"takes a user for granted", odd, does(func(c *resource.Call) {
			if c.Token != nil {
				_ = c.Token.Subject[0]
			}
		})},
		{"panics after authentication", odd, does(func(c *resource.Call) {
			c.OnAuthenticated = append(c.OnAuthenticated, func(context.Context) error { panic("counter") })
		})},
		{"does not wait for nothing", done, func(ctx context.Context, c *resource.Call) error {
			if ctx.Err() != nil {
				return refusal(none)(ctx, c)
			}
			return nil
		}},
		{"knows one call at a time", parallel, func(context.Context, *resource.Call) error {
			if !busy.TryLock() {
				return &resource.Error{}
			}
			defer busy.Unlock()
			for range 50 {
				linger()
			}
			return nil
		}},
	}
}

type parallelKey struct{}

// Each mistake is found by the sentence that is about it.
func TestGuardFindsMistakes(t *testing.T) {
	found := map[string]bool{}
	for _, b := range brokenGuards() {
		t.Run(b.name, func(t *testing.T) {
			at := slices.IndexFunc(guardContract(), func(c guardCheck) bool { return c.says == b.fails })
			require.Error(t, lost(func() error { return guardContract()[at].test(&guardTrial{ctx: t.Context(), guard: b.guard}) }))
			found[b.fails] = true
		})
	}
	for _, c := range guardContract() {
		assert.True(t, found[c.says], "no mistake is found by %q", c.says)
	}
}

// A guard that never comes back is left behind.
func TestGuardThatHangs(t *testing.T) {
	release := make(chan struct{})
	g := &guardTrial{ctx: t.Context(), guard: func(context.Context, *resource.Call) error { <-release; return nil }}
	err := g.returns(time.Millisecond)
	close(release)
	require.ErrorContains(t, err, "it has not come back")
}
