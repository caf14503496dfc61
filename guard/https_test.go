package guard_test

import (
	"crypto/tls"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/resource"
)

func TestHTTPS(t *testing.T) {
	const stranger, local, proxy = "198.51.100.7:1", "127.0.0.1:1", "10.0.0.1:1"
	loopbackProxy := guard.Proxies{Trusted: prefixes("127.0.0.0/8"), Header: "X-Forwarded-For"}
	for _, tt := range []struct {
		name  string
		h     guard.HTTPS
		peer  string
		tls   bool
		lines []string
		want  bool
	}{
		{"http", guard.HTTPS{}, stranger, false, nil, false},
		{"https", guard.HTTPS{}, stranger, true, nil, true},
		{"http from loopback", guard.HTTPS{}, local, false, nil, false},
		{"http from loopback, allowed", guard.HTTPS{AllowLoopback: true}, local, false, nil, true},
		{"http from IPv6 loopback, allowed", guard.HTTPS{AllowLoopback: true}, "[::1]:1", false, nil, true},
		{"http from IPv4 in IPv6 loopback, allowed", guard.HTTPS{AllowLoopback: true}, "[::ffff:127.0.0.1]:1", false, nil, true},
		{"http from elsewhere where loopback is allowed", guard.HTTPS{AllowLoopback: true}, stranger, false, nil, false},
		{"http from no address where loopback is allowed", guard.HTTPS{AllowLoopback: true}, "@", false, nil, false},
		{"a proxy on this machine that nobody named", guard.HTTPS{AllowLoopback: true}, local, false, []string{"X-Forwarded-For: 198.51.100.7"}, false},
		{"a proxy on this machine that nobody named", guard.HTTPS{AllowLoopback: true}, local, false, []string{"X-Forwarded-Proto: https"}, false},
		{"a proxy on this machine", guard.HTTPS{AllowLoopback: true, Proxies: loopbackProxy}, local, false, []string{"X-Forwarded-Proto: https"}, true},
		{"a proxy on this machine, http", guard.HTTPS{AllowLoopback: true, Proxies: loopbackProxy}, local, false, []string{"X-Forwarded-Proto: http"}, false},
		{"a proxy on this machine that says nothing", guard.HTTPS{AllowLoopback: true, Proxies: loopbackProxy}, local, false, nil, false},
		{"the proxy", guard.HTTPS{Proxies: behind("X-Forwarded-For")}, proxy, false, []string{"X-Forwarded-Proto: https"}, true},
		{"a stranger like the proxy", guard.HTTPS{Proxies: behind("X-Forwarded-For")}, stranger, false, []string{"X-Forwarded-Proto: https"}, false},
	} {
		t.Run("FT-26 "+tt.name, func(t *testing.T) {
			g, err := tt.h.Guard()
			require.NoError(t, err)
			for _, endpoint := range []string{"authorize", "token", "api"} {
				c := &caller{t: t, guard: g}
				err := c.send(endpoint, tt.peer, "app", func(c *resource.Call) {
					if tt.tls {
						c.Request.TLS = &tls.ConnectionState{}
					}
					c.Request.Header = request("", tt.lines...).Header
				})
				if tt.want {
					assert.NoError(t, err)
					continue
				}
				assert.Equal(t, 400, status(t, err))
				assert.ErrorIs(t, err, resource.InvalidRequest)
				assert.Empty(t, c.call.Header, "no redirect")
			}
		})
	}
}

func TestProxiesChecks(t *testing.T) {
	for _, tt := range []struct {
		want string
		p    guard.Proxies
	}{
		{"Proxies.Header must be", guard.Proxies{Trusted: prefixes("10.0.0.0/8")}},
		{"Proxies.Header must be", guard.Proxies{Trusted: prefixes("10.0.0.0/8"), Header: "X Forwarded For"}},
		{"neither Trusted nor UnixSocket", guard.Proxies{Header: "Forwarded"}},
		{"Trusted[1], 0.0.0.0/0, is everybody", guard.Proxies{Trusted: prefixes("10.0.0.0/8", "0.0.0.0/0"), Header: "Forwarded"}},
		{"Trusted[0], ::/0, is everybody", guard.Proxies{Trusted: prefixes("::/0"), Header: "Forwarded"}},
		{"Trusted[0], ::ffff:0.0.0.0/96, is everybody", guard.Proxies{Trusted: prefixes("::ffff:0.0.0.0/96"), Header: "Forwarded"}},
		{"Trusted[0] is not valid", guard.Proxies{Trusted: make([]netip.Prefix, 1), Header: "Forwarded"}},
	} {
		t.Run(tt.want, func(t *testing.T) {
			g, err := guard.HTTPS{Proxies: tt.p}.Guard()
			require.ErrorContains(t, err, tt.want)
			assert.Nil(t, g)
		})
	}
}
