package guard_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/resource"
)

func status(t testing.TB, err error) int {
	t.Helper()
	if err == nil {
		return http.StatusOK
	}
	var e *resource.Error
	require.ErrorAs(t, err, &e)
	return e.HTTPStatus()
}

func TestAllowList(t *testing.T) {
	table := map[string][]netip.Prefix{
		"shop":    prefixes("203.0.113.0/24", "2001:db8:1::/48", "198.51.100.7/32"),
		"mapped":  prefixes("::ffff:203.0.113.0/120"),
		"pending": {},
		"unset":   nil,
		"open":    guard.Anywhere(),
	}
	fixed, err := guard.AllowList{Clients: table}.Guard()
	require.NoError(t, err)
	asked, err := guard.AllowList{Lookup: func(_ context.Context, id string) ([]netip.Prefix, error) { return table[id], nil }}.Guard()
	require.NoError(t, err)
	for _, tt := range []struct {
		name, client, peer string
		want               bool
	}{
		{"FP-12 listed", "shop", "203.0.113.9:1", true},
		{"FP-12 not listed", "shop", "203.0.114.9:1", false},
		{"FP-13 one address", "shop", "198.51.100.7:1", true},
		{"FP-13 next to it", "shop", "198.51.100.8:1", false},
		{"FP-13 IPv6", "shop", "[2001:db8:1:2::3]:1", true},
		{"FP-13 IPv6 not listed", "shop", "[2001:db8:2::3]:1", false},
		{"FP-13 IPv4 in IPv6", "shop", "[::ffff:203.0.113.9]:1", true},
		{"FP-13 listed as IPv4 in IPv6", "mapped", "203.0.113.9:1", true},
		{"FP-13 not listed as IPv4 in IPv6", "mapped", "203.0.112.9:1", false},
		{"FP-15 empty is none", "pending", "203.0.113.9:1", false},
		{"FP-15 nil is none", "unset", "203.0.113.9:1", false},
		{"FP-15 not in the table", "nobody", "203.0.113.9:1", false},
		{"FP-15 anywhere", "open", "192.0.2.1:1", true},
		{"FP-15 anywhere by IPv6", "open", "[2001:db8:2::3]:1", true},
		{"no address", "shop", "@", false},
		{"no address, anywhere", "open", "@", false},
		{"no client", "", "192.0.2.1:1", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, g := range []resource.Guard{fixed, asked} {
				c := &caller{t: t, guard: g}
				refused := func(status int) int {
					if tt.want {
						return http.StatusOK
					}
					return status
				}
				for _, endpoint := range []string{"token", "revoke", "introspect"} {
					assert.Equal(t, refused(401), status(t, c.send(endpoint, tt.peer, tt.client)), endpoint)
				}
				for _, endpoint := range []string{"api", "userinfo"} {
					err := c.send(endpoint, tt.peer, tt.client)
					assert.Equal(t, refused(403), status(t, err), endpoint)
					assert.Equal(t, tt.want, !errors.Is(err, resource.AccessDenied))
				}
				for _, endpoint := range []string{"authorize", "metadata", "jwks"} {
					assert.NoError(t, c.send(endpoint, tt.peer, ""), "FP-12 users come with their browsers")
				}
				assert.NoError(t, c.send("authorize", tt.peer, tt.client))
			}
		})
	}
	t.Run("what was given may change afterwards", func(t *testing.T) {
		table["shop"][0] = netip.MustParsePrefix("192.0.2.0/24")
		delete(table, "open")
		c := &caller{t: t, guard: fixed}
		assert.NoError(t, c.send("token", "203.0.113.9:1", "shop"))
		assert.NoError(t, c.send("token", "192.0.2.1:1", "open"))
	})
}

func TestAllowListOfChosenEndpoints(t *testing.T) {
	g, err := guard.AllowList{Clients: map[string][]netip.Prefix{}, Endpoints: []string{"api", "authorize"}}.Guard()
	require.NoError(t, err)
	c := &caller{t: t, guard: g}
	assert.NoError(t, c.send("token", one, "shop"))
	assert.Equal(t, 403, status(t, c.send("authorize", one, "shop")))
	assert.Equal(t, 403, status(t, c.send("api", one, "shop")))
}

func TestAllowListBehindAProxy(t *testing.T) {
	list := map[string][]netip.Prefix{"shop": prefixes("203.0.113.0/24")}
	from := func(c *resource.Call) { c.Request.Header.Set("X-Forwarded-For", "203.0.113.9") }
	direct, err := guard.AllowList{Clients: list}.Guard()
	require.NoError(t, err)
	proxied, err := guard.AllowList{Clients: list, Proxies: behind("X-Forwarded-For")}.Guard()
	require.NoError(t, err)
	c := &caller{t: t, guard: direct}
	assert.Equal(t, 401, status(t, c.send("token", "192.0.2.1:1", "shop", from)), "FP-14 by default no header counts")
	c.guard = proxied
	assert.Equal(t, 401, status(t, c.send("token", "192.0.2.1:1", "shop", from)), "FP-14 nor that of a stranger")
	assert.NoError(t, c.send("token", "10.0.0.1:1", "shop", from), "FP-14")
	assert.Equal(t, 401, status(t, c.send("token", "10.0.0.1:1", "shop")))
}

func TestAllowListLookupFails(t *testing.T) {
	broken := errors.New("table is gone")
	g, err := guard.AllowList{Lookup: func(context.Context, string) ([]netip.Prefix, error) { return guard.Anywhere(), broken }}.Guard()
	require.NoError(t, err)
	c := &caller{t: t, guard: g}
	err = c.send("token", one, "shop")
	assert.Equal(t, 503, status(t, err))
	assert.ErrorIs(t, err, broken)
}

func TestAllowListChecks(t *testing.T) {
	table := map[string][]netip.Prefix{}
	for _, tt := range []struct {
		want string
		l    guard.AllowList
	}{
		{"needs Clients or Lookup", guard.AllowList{}},
		{"needs Clients or Lookup", guard.AllowList{Clients: table, Lookup: func(context.Context, string) ([]netip.Prefix, error) { return nil, nil }}},
		{`Clients["shop"][1] is not valid`, guard.AllowList{Clients: map[string][]netip.Prefix{"shop": append(prefixes("192.0.2.0/24"), netip.Prefix{})}}},
		{"Endpoints is empty", guard.AllowList{Clients: table, Endpoints: []string{}}},
		{`"tokn", is unknown`, guard.AllowList{Clients: table, Endpoints: []string{"tokn"}}},
		{"Trusted[0] is not valid", guard.AllowList{Clients: table, Proxies: guard.Proxies{Trusted: make([]netip.Prefix, 1), Header: "Forwarded"}}},
	} {
		t.Run(tt.want, func(t *testing.T) {
			g, err := tt.l.Guard()
			require.ErrorContains(t, err, tt.want)
			assert.Nil(t, g)
		})
	}
}
