package oauth

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// parsedMatch is a second implementation of the rule, on parsed URIs: it knows
// nothing of the first. It says whether the requested URI may stand for the
// registered one.
func parsedMatch(registered, requested string, localhost bool) bool {
	for _, s := range []string{registered, requested} {
		u, err := url.Parse(s)
		if err != nil || !u.IsAbs() || u.User != nil || strings.Contains(s, "#") || !plainURI(s) {
			return false
		}
		switch u.Scheme {
		case "https":
			if u.Hostname() == "" || u.Opaque != "" {
				return false
			}
		case "http":
			if _, ok := loopbackName(u, true); !ok || u.Opaque != "" {
				return false
			}
		default:
			if !strings.Contains(u.Scheme, ".") {
				return false
			}
		}
	}
	if registered == requested {
		return true
	}
	a, _ := url.Parse(registered)
	b, _ := url.Parse(requested)
	if !strings.HasPrefix(registered, "http://") || !strings.HasPrefix(requested, "http://") {
		return false
	}
	hostA, okA := loopbackName(a, localhost)
	hostB, okB := loopbackName(b, localhost)
	return okA && okB && hostA == hostB && portFits(a) && portFits(b) && afterAuthority(registered) == afterAuthority(requested)
}

func plainURI(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`\"<>`, r) })
}

// loopbackName is the host if it is one of the loopback names, written as
// registered ones are.
func loopbackName(u *url.URL, localhost bool) (string, bool) {
	host := u.Hostname()
	if host == "localhost" {
		return host, localhost
	}
	addr, err := netip.ParseAddr(host)
	loop := addr == netip.MustParseAddr("127.0.0.1") || addr == netip.IPv6Loopback()
	return host, err == nil && loop && addr.String() == host && addr.Is6() == strings.HasPrefix(u.Host, "[")
}

// portFits: there is none and no colon, or one from 1 to 65535.
func portFits(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.Atoi(u.Port())
	return err == nil && n > 0 && n <= 65535
}

func afterAuthority(s string) string {
	_, rest, _ := strings.Cut(s, "://")
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		return rest[i:]
	}
	return ""
}

// butPort cuts the port of a loopback literal out of the text.
func butPort(s string, localhost bool) (string, bool) {
	hosts := []string{"http://127.0.0.1", "http://[::1]"}
	if localhost {
		hosts = append(hosts, "http://localhost")
	}
	for _, h := range hosts {
		if rest, ok := strings.CutPrefix(s, h); ok {
			if digits, ok := strings.CutPrefix(rest, ":"); ok {
				rest = strings.TrimLeft(digits, "0123456789")
			}
			return h + rest, true
		}
	}
	return "", false
}

func FuzzRedirect(f *testing.F) {
	for _, pair := range [][2]string{
		{"https://app.example/cb", "https://app.example/cb"},
		{"https://app.example/cb", "https://app.example:443/cb"},
		{"http://127.0.0.1/cb", "http://127.0.0.1:51234/cb"},
		{"http://127.0.0.1:80/cb?a=b", "http://127.0.0.1:81/cb?a=b"},
		{"http://[::1]/cb", "http://[::1]:1/cb"},
		{"http://[::1]", "http://[::1]:65536"},
		{"http://localhost/cb", "http://localhost:99/cb"},
		{"http://127.0.0.1/cb", "http://127.0.0.1:80@evil.com/cb"},
		{"http://127.0.0.1", "http://127.0.0.1.evil.com"},
		{"http://127.0.0.1/cb", "http://[::ffff:127.0.0.1]:80/cb"},
		{"http://127.0.0.1/cb", "http://127.0.0.1:080/cb"},
		{"com.example.app:/cb", "com.example.app:/cb"},
		{"javascript:alert(1)", "javascript:alert(1)"},
		{"https://app.example/cb#", "https://app.example/cb#"},
		{`https://app.example\cb`, `https://app.example\cb`},
	} {
		f.Add(pair[0], pair[1], true)
		f.Add(pair[0], pair[1], false)
	}
	f.Fuzz(func(t *testing.T, registered, requested string, localhost bool) {
		if requested == "" {
			requested = "/" // an empty value is an omitted one, which is another rule
		}
		c := &Client{RedirectURIs: []string{registered}, LocalhostPort: localhost}
		got, ok := matchRedirect(c, requested)
		if want := parsedMatch(registered, requested, localhost); ok != want {
			t.Fatalf("matchRedirect(%q, %q, %v) is %v, by net/url it is %v", registered, requested, localhost, ok, want)
		}
		if !ok {
			assert.Empty(t, got)
			return
		}
		assert.Equal(t, requested, got, "it is sent where the request says, to the byte")
		if registered == requested {
			return
		}
		a, okA := butPort(registered, localhost)
		b, okB := butPort(requested, localhost)
		assert.True(t, okA && okB && a == b, "%q and %q differ in more than the port of a loopback literal", registered, requested)
	})
}

func TestRedirectMatcherAgainstAnother(t *testing.T) {
	hosts := []string{"127.0.0.1", "[::1]", "localhost", "127.0.0.2", "127.1", "[::ffff:7f00:1]", "[0::1]", "app.example", "127.0.0.1.", "LOCALHOST", "u@127.0.0.1",
		"127.0.0.1@evil.com", "2130706433", "[::1%25lo]", ""}
	ports := []string{"", ":", ":0", ":1", ":080", ":443", ":65535", ":65536", ":-1", ":1:2", ":8o"}
	rests := []string{"", "/", "/cb", "/cb?a=b", "?a=b", "/cb#", "/../cb", "@evil.com/cb", "/cb/"}
	var all []string
	for _, scheme := range []string{"http://", "https://", "HTTP://", "http:", "http:/", "com.example.app://"} {
		for _, h := range hosts {
			for _, p := range ports {
				for _, r := range rests {
					all = append(all, scheme+h+p+r)
				}
			}
		}
	}
	for _, registered := range []string{"http://127.0.0.1/cb", "http://127.0.0.1:80/cb?a=b", "http://[::1]/cb", "http://[::1]", "http://localhost:1/cb",
		"https://app.example/cb", "https://127.0.0.1/cb", "http://127.0.0.2/cb", "com.example.app://127.0.0.1/cb"} {
		t.Run("RFC 8252 7.3 RFC 9700 2.1 "+registered, func(t *testing.T) {
			matched := 0
			for _, requested := range all {
				for _, localhost := range []bool{false, true} {
					_, ok := matchRedirect(&Client{RedirectURIs: []string{registered}, LocalhostPort: localhost}, requested)
					if ok != parsedMatch(registered, requested, localhost) {
						t.Errorf("%q, %v: %v", requested, localhost, ok)
					}
					if ok {
						matched++
					}
				}
			}
			assert.Equal(t, registered != "http://127.0.0.2/cb", matched > 0)
		})
	}
}
