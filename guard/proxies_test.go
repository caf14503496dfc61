package guard_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/guard"
)

// request comes from a peer, with header lines "Name: value".
func request(peer string, lines ...string) *http.Request {
	r := httptest.NewRequest("POST", "/oauth/token", nil)
	r.RemoteAddr = peer
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		r.Header.Add(name, strings.TrimSpace(value))
	}
	return r
}

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

func behind(header string) guard.Proxies {
	return guard.Proxies{Trusted: prefixes("10.0.0.0/8", "2001:db8:aaaa::/48"), Header: header}
}

func TestAddressOfThePeer(t *testing.T) {
	for peer, want := range map[string]string{
		"198.51.100.7:4711":             "198.51.100.7",
		"198.51.100.7":                  "198.51.100.7",
		"[2001:db8::7]:4711":            "2001:db8::7",
		"[fe80::1%eth0]:4711":           "fe80::1",
		"[::ffff:203.0.113.9]:4711":     "203.0.113.9",
		"[::ffff:203.0.113.9%eth0]:471": "203.0.113.9",
		"@":                             "invalid IP",
		"":                              "invalid IP",
		"localhost:80":                  "invalid IP",
	} {
		t.Run(peer, func(t *testing.T) {
			r := request(peer, "X-Forwarded-For: 203.0.113.1", "Forwarded: for=203.0.113.1", "X-Real-IP: 203.0.113.1")
			assert.Equal(t, want, guard.Proxies{}.Address(r).String(), "no header is believed")
			if peer != "" && peer != "@" && want != "invalid IP" {
				assert.Equal(t, want, behind("X-Forwarded-For").Address(r).String(), "FP-14 nor that of a stranger")
				assert.Equal(t, want, behind("Forwarded").Address(r).String(), "FP-14 nor that of a stranger")
			}
		})
	}
}

func TestAddressInXForwardedFor(t *testing.T) {
	const proxy = "10.0.0.1:80"
	for _, tt := range []struct {
		name, peer string
		lines      []string
		want       string
	}{
		{"one", proxy, []string{"203.0.113.9"}, "203.0.113.9"},
		{"IPv6", "[2001:db8:aaaa::1]:80", []string{"2001:db8::9"}, "2001:db8::9"},
		{"proxy as IPv4 in IPv6", "[::ffff:10.0.0.1]:80", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"what the client sent stands to the left", proxy, []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		{"and may be anything", proxy, []string{"x\"(, ;, 203.0.113.9"}, "203.0.113.9"},
		{"in a line of its own", proxy, []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
		{"two proxies", proxy, []string{"198.51.100.1, 203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		{"two proxies in two lines", proxy, []string{"198.51.100.1,203.0.113.9", "10.9.9.9"}, "203.0.113.9"},
		{"empty elements", proxy, []string{"203.0.113.9,, ,10.2.2.2,"}, "203.0.113.9"},
		{"port", proxy, []string{"203.0.113.9:1234"}, "203.0.113.9"},
		{"port of IPv6", proxy, []string{"[2001:db8::9]:1234"}, "2001:db8::9"},
		{"brackets", proxy, []string{"[2001:db8::9]"}, "2001:db8::9"},
		{"all trusted", proxy, []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		{"malformed", proxy, []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		{"malformed behind a proxy", proxy, []string{"203.0.113.999, 10.2.2.2"}, "10.0.0.1"},
		{"port malformed", proxy, []string{"203.0.113.9:"}, "10.0.0.1"},
		{"bracket malformed", proxy, []string{"[2001:db8::9"}, "10.0.0.1"},
		{"behind the bracket", proxy, []string{"[2001:db8::9]x"}, "10.0.0.1"},
		{"empty", proxy, []string{""}, "10.0.0.1"},
		{"none", proxy, nil, "10.0.0.1"},
		{"a stranger", "198.51.100.7:80", []string{"203.0.113.9"}, "198.51.100.7"},
	} {
		t.Run("FP-14 "+tt.name, func(t *testing.T) {
			r := request(tt.peer, "Forwarded: for=192.0.2.99", "X-Real-IP: 192.0.2.99")
			for _, l := range tt.lines {
				r.Header.Add("X-Forwarded-For", l)
			}
			assert.Equal(t, tt.want, behind("x-forwarded-for").Address(r).String())
		})
	}
}

func TestAddressInForwarded(t *testing.T) {
	const proxy = "10.0.0.1:80"
	for _, tt := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"4 examples", []string{`for="_gazonk"`}, "10.0.0.1"},
		{"4 examples", []string{`For="[2001:db8:cafe::17]:4711"`}, "2001:db8:cafe::17"},
		{"4 examples", []string{`for=192.0.2.60;proto=http;by=203.0.113.43`}, "192.0.2.60"},
		{"4 examples", []string{`for=192.0.2.43, for=198.51.100.17`}, "198.51.100.17"},
		{"6.3 unknown", []string{`for=unknown`}, "10.0.0.1"},
		{"6.3 obfuscated port", []string{`for="192.0.2.43:_port"`}, "192.0.2.43"},
		{"4 without for", []string{`proto=https`}, "10.0.0.1"},
		{"7.1 list in lines", []string{`for=192.0.2.43`, `for=198.51.100.17, for=10.2.2.2;by=10.0.0.1`}, "198.51.100.17"},
		{"9110 5.6.4 quoted pair", []string{`for="192.0.2\.43"`}, "192.0.2.43"},
		{"quoted comma", []string{`ext="a, for=192.0.2.1";for=192.0.2.43`}, "192.0.2.43"},
		{"white space", []string{" for=192.0.2.1 ,\tfor=192.0.2.43 ; proto=https "}, "192.0.2.43"},
		{"empty elements and parameters", []string{`,, for=192.0.2.43;;proto=https; ,`}, "192.0.2.43"},
		{"all trusted", []string{`for=10.3.3.3, for=10.2.2.2`}, "10.3.3.3"},
		{"a quote that the client opened", []string{`for="x, for=192.0.2.43`}, "10.0.0.1"},
		{"a quote that the client opened, before one", []string{`for="x, for="[2001:db8::7]"`}, "10.0.0.1"},
		{"twice in an element", []string{`for=192.0.2.43;For=192.0.2.44`}, "10.0.0.1"},
		{"no equals sign", []string{`192.0.2.43`}, "10.0.0.1"},
		{"no value", []string{`for=`}, "10.0.0.1"},
		{"blank before the value", []string{`for= 192.0.2.43`}, "10.0.0.1"},
		{"colon without quotes", []string{`for=192.0.2.43:80`}, "10.0.0.1"},
		{"control character", []string{"for=\"192.0.2.43\x01\""}, "10.0.0.1"},
		{"backslash at the end", []string{`for="192.0.2.43\`}, "10.0.0.1"},
		{"none", nil, "10.0.0.1"},
	} {
		t.Run("RFC 7239 "+tt.name, func(t *testing.T) {
			r := request(proxy, "X-Forwarded-For: 192.0.2.99")
			for _, l := range tt.lines {
				r.Header.Add("Forwarded", l)
			}
			assert.Equal(t, tt.want, behind("forwarded").Address(r).String())
		})
	}
}

func TestAddressBehindAUnixSocket(t *testing.T) {
	p := guard.Proxies{UnixSocket: true, Header: "X-Forwarded-For"}
	assert.Equal(t, "203.0.113.9", p.Address(request("@", "X-Forwarded-For: 198.51.100.1, 203.0.113.9")).String())
	assert.False(t, p.Address(request("@")).IsValid())
	assert.False(t, p.Address(request("@", "X-Forwarded-For: 198.51.100.1, unknown")).IsValid(), "no address within is none that is trusted")
	assert.Equal(t, "127.0.0.1", p.Address(request("127.0.0.1:1", "X-Forwarded-For: 203.0.113.9")).String())
	p = guard.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Header: "X-Forwarded-For"}
	assert.Equal(t, "203.0.113.9", p.Address(request("127.0.0.1:1", "X-Forwarded-For: 203.0.113.9")).String())
	assert.False(t, p.Address(request("@", "X-Forwarded-For: 203.0.113.9")).IsValid(), "it is trusted where that is said, and nowhere else")
}

func TestAddressInAHeaderOfOneAddress(t *testing.T) {
	r := request("10.0.0.1:80", "CF-Connecting-IP: 203.0.113.9", "X-Forwarded-For: 192.0.2.99")
	assert.Equal(t, "203.0.113.9", behind("CF-Connecting-IP").Address(r).String())
}

func TestProxiesHTTPS(t *testing.T) {
	const proxy, stranger = "10.0.0.1:80", "198.51.100.7:80"
	for _, tt := range []struct {
		name, peer, header string
		tls                bool
		lines              []string
		want               bool
	}{
		{"plain", stranger, "X-Forwarded-For", false, nil, false},
		{"TLS", stranger, "X-Forwarded-For", true, nil, true},
		{"a stranger says https", stranger, "X-Forwarded-For", false, []string{"X-Forwarded-Proto: https"}, false},
		{"a stranger says https", stranger, "Forwarded", false, []string{"Forwarded: for=192.0.2.1;proto=https"}, false},
		{"a stranger says http over TLS", stranger, "X-Forwarded-For", true, []string{"X-Forwarded-Proto: http"}, true},
		{"the proxy says https", proxy, "X-Forwarded-For", false, []string{"X-Forwarded-Proto: https"}, true},
		{"in other letters", proxy, "X-Forwarded-For", false, []string{"X-Forwarded-Proto: HTTPS "}, true},
		{"the proxy says http", proxy, "X-Forwarded-For", false, []string{"X-Forwarded-Proto: http"}, false},
		{"the proxy says http over TLS", proxy, "X-Forwarded-For", true, []string{"X-Forwarded-Proto: http"}, false},
		{"the proxy says nothing", proxy, "X-Forwarded-For", false, []string{"X-Forwarded-For: 192.0.2.1"}, false},
		{"the proxy says nothing over TLS", proxy, "X-Forwarded-For", true, nil, true},
		{"the client said https to a proxy that appends", proxy, "X-Forwarded-For", false, []string{"X-Forwarded-Proto: https, http"}, false},
		{"in two lines", proxy, "X-Forwarded-For", false, []string{"X-Forwarded-Proto: http", "X-Forwarded-Proto: https"}, false},
		{"all https", proxy, "X-Forwarded-For", false, []string{"X-Forwarded-Proto: https,https"}, true},
		{"empty", proxy, "X-Forwarded-For", true, []string{"X-Forwarded-Proto: "}, false},
		{"the other header", proxy, "X-Forwarded-For", false, []string{"Forwarded: for=192.0.2.1;proto=https"}, false},
		{"the other header", proxy, "Forwarded", false, []string{"X-Forwarded-Proto: https"}, false},
		{"RFC 7239 5.4", proxy, "Forwarded", false, []string{"Forwarded: for=192.0.2.1;proto=https"}, true},
		{"RFC 7239 5.4 http", proxy, "Forwarded", true, []string{"Forwarded: for=192.0.2.1;proto=http"}, false},
		{"RFC 7239 of the hop to the client", proxy, "Forwarded", false, []string{"Forwarded: proto=http;for=192.0.2.9, for=192.0.2.1;proto=https, for=10.1.1.1;proto=http"}, true},
		{"RFC 7239 of the hop to the client, http", proxy, "Forwarded", false, []string{"Forwarded: for=192.0.2.1;proto=http, for=10.1.1.1;proto=https"}, false},
		{"RFC 7239 without proto", proxy, "Forwarded", false, []string{"Forwarded: for=192.0.2.1"}, false},
		{"RFC 7239 without proto over TLS", proxy, "Forwarded", true, []string{"Forwarded: for=192.0.2.1"}, true},
		{"RFC 7239 6.3 of a client without an address", proxy, "Forwarded", false, []string{"Forwarded: for=192.0.2.1;proto=http, for=unknown;proto=https"}, true},
		{"RFC 7239 6.3 of a client without an address, http", proxy, "Forwarded", false, []string{"Forwarded: for=192.0.2.1;proto=https, for=_hidden;proto=http"}, false},
		{"RFC 7239 malformed over TLS", proxy, "Forwarded", true, []string{`Forwarded: for="192.0.2.1`}, false},
	} {
		t.Run("FT-26 "+tt.name, func(t *testing.T) {
			r := request(tt.peer, tt.lines...)
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			assert.Equal(t, tt.want, behind(tt.header).HTTPS(r))
		})
	}
}

// Whatever a client writes before what the proxy appends, it does not choose whose
// address it is counted by.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"", "192.0.2.1", `for="x`, `for="x\`, "for=192.0.2.1;proto=https", `a="`, "10.0.0.1, ", ",", ";", "for=10.0.0.1;by=", "x=y;", "\x00", `for="[2001:db8::1`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		r := request("10.0.0.1:80")
		r.Header["X-Forwarded-For"] = []string{sent, sent + ", 203.0.113.9"}
		require.Equal(t, "203.0.113.9", behind("X-Forwarded-For").Address(r).String())
		for _, own := range []string{"for=203.0.113.9;proto=http", `for="203.0.113.9:80";proto="http"`, `proto=http;for="203.0.113.9"`} {
			for _, glue := range []string{", ", ",", " ,"} {
				r.Header["Forwarded"] = []string{sent, sent + glue + own}
				p := behind("Forwarded")
				require.Contains(t, []string{"203.0.113.9", "10.0.0.1"}, p.Address(r).String())
				require.False(t, p.HTTPS(r), "the proxy says http")
			}
		}
		r.Header["Forwarded"], r.Header["X-Forwarded-For"] = []string{sent}, []string{sent}
		for _, h := range []string{"Forwarded", "X-Forwarded-For"} {
			a := behind(h).Address(r)
			require.True(t, a.IsValid())
			require.False(t, a.Is4In6())
			require.Empty(t, a.Zone())
		}
	})
}
