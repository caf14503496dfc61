package pages_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/pages"
)

func TestLimitByName(t *testing.T) {
	log := &strings.Builder{}
	s := start(t, func(p *pages.Config, _ *oauth.Config) { p.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	b := newBrowser(t, s)
	p := b.begin()
	for i := range 10 {
		b.address = fmt.Sprintf("10.0.0.%d:1", i) // wherever it comes from
		require.Equal(t, http.StatusForbidden, b.submit(p, []string{"alice", "ALICE", " Alice "}[i%3], "wrong").Status, i)
		s.Clock.Advance(6 * time.Second)
	}
	again := newBrowser(t, s)
	refused := again.submit(again.begin(), "Alice", password)
	nothing(t, s, refused, http.StatusTooManyRequests)
	isLogin(t, refused)
	isAlert(t, refused, "too many attempts to sign in. Try again in 9 minutes")
	assert.Equal(t, "540", refused.Header.Get("Retry-After"), "ten minutes after the first failure")
	assert.Equal(t, "Alice", refused.fields.Get("username"))
	assert.NotContains(t, refused.text, password)
	assert.Empty(t, again.session())
	assert.Contains(t, log.String(), "too many attempts")
	assert.NotContains(t, strings.ToLower(log.String()), "alice")
	again.consent("bob")

	s.Clock.Advance(9*time.Minute - time.Second) // and attempts in the meantime do not prolong it
	last := again.submit(again.begin("prompt", "login"), "alice", password)
	require.Equal(t, http.StatusTooManyRequests, last.Status)
	isAlert(t, last, "in 1 minute;")
	assert.Equal(t, "1", last.Header.Get("Retry-After"))
	s.Clock.Advance(time.Second)
	newBrowser(t, s).consent("alice")
}

func TestLimitByAddress(t *testing.T) {
	for _, c := range []struct {
		name, address, same, other string
		limited                    bool
	}{
		{"IPv4", "192.0.2.1:1000", "192.0.2.1:2000", "192.0.2.2:1000", true},
		{"IPv4 written as IPv6", "[::ffff:192.0.2.1]:1000", "192.0.2.1:2000", "[::ffff:192.0.2.2]:1000", true},
		{"IPv6 by /64", "[2001:db8::1]:1000", "[2001:db8::ffff:0:0:1]:1000", "[2001:db8:0:1::1]:1000", true},
		{"IPv6 with a zone", "[fe80::1%eth0]:1000", "[fe80::1%eth1]:1000", "[fe81::1]:1000", true},
		{"no address, a socket file", "@", "@", "@", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			b := newBrowser(t, s)
			b.address = c.address
			p := b.begin()
			for i := range 50 {
				require.Equal(t, http.StatusForbidden, b.submit(p, fmt.Sprint("user-", i), "wrong").Status)
			}
			b.address = c.same
			if !c.limited {
				b.consent("alice")
				return
			}
			refused := b.submit(p, "alice", password)
			nothing(t, s, refused, http.StatusTooManyRequests)
			assert.Equal(t, "600", refused.Header.Get("Retry-After"))
			other := newBrowser(t, s)
			other.address = c.other
			other.consent("alice") // refused attempts were not counted against her name
			s.Clock.Advance(10 * time.Minute)
			require.Equal(t, http.StatusSeeOther, b.submit(p, "alice", password).Status)
		})
	}
	t.Run("the host says who asks", func(t *testing.T) {
		s := start(t, func(p *pages.Config, _ *oauth.Config) {
			p.Address = func(r *http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.7") }
		})
		b := newBrowser(t, s)
		p := b.begin()
		for i := range 50 {
			b.address = fmt.Sprintf("10.0.0.%d:1", i)
			require.Equal(t, http.StatusForbidden, b.submit(p, fmt.Sprint("user-", i), "wrong").Status)
		}
		require.Equal(t, http.StatusTooManyRequests, b.submit(p, "alice", password).Status)
	})
}

func TestLimitSuccess(t *testing.T) {
	s := start(t)
	b := newBrowser(t, s)
	p := b.begin()
	for range 9 {
		require.Equal(t, http.StatusForbidden, b.submit(p, "alice", "wrong").Status)
	}
	for range 60 {
		require.Equal(t, http.StatusSeeOther, b.submit(p, "alice", password).Status, "a success gives its own attempt back")
	}
	require.Equal(t, http.StatusForbidden, b.submit(p, "alice", "wrong").Status)
	require.Equal(t, http.StatusTooManyRequests, b.submit(p, "alice", password).Status, "and no other one")
}

func TestLimitFailureOfLoginIsNone(t *testing.T) {
	s := start(t, func(p *pages.Config, _ *oauth.Config) {
		p.Login = func(ctx context.Context, name, given string) (*pages.User, error) {
			if given == "down" {
				return nil, context.DeadlineExceeded
			}
			return login(ctx, name, given)
		}
	})
	b := newBrowser(t, s)
	p := b.begin()
	for range 60 {
		require.Equal(t, http.StatusServiceUnavailable, b.submit(p, "alice", "down").Status)
	}
	require.Equal(t, http.StatusSeeOther, b.submit(p, "alice", password).Status)
}

// Guesses that are sent at once are counted before any of them is looked at.
func TestLimitParallelGuesses(t *testing.T) {
	var asked atomic.Int32
	full := make(chan struct{})
	s := start(t, func(p *pages.Config, _ *oauth.Config) {
		p.Login = func(context.Context, string, string) (*pages.User, error) {
			asked.Add(1)
			<-full
			return nil, nil
		}
	})
	var refused atomic.Int32
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			b := newBrowser(t, s)
			if b.submit(b.begin(), "alice", "guess").Status == http.StatusTooManyRequests && refused.Add(1) == 90 {
				close(full)
			}
		})
	}
	group.Wait()
	assert.Equal(t, int32(10), asked.Load())
	assert.Equal(t, int32(90), refused.Load())
}
