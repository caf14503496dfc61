package wire_test

import (
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/wire"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "Missing required parameter: code": "Missing required parameter: code",
		`"a\b"`: "'a/b'", "a\r\nSet-Cookie: b": "a  Set-Cookie: b", "\x00\x7f": "  ", "é\u202e": "??", "\xff": "?",
	} {
		assert.Equal(t, want, wire.Printable(in))
	}
}

func TestURI(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		"https://as.example/e?a=b&c=%20#d":   "https://as.example/e?a=b&c=%20#d",
		"https://as.example/<e>|\"\\^`{}":    "https://as.example/%3Ce%3E%7C%22%5C%5E%60%7B%7D",
		"50%":                                "50%25",
		"%zz%4":                              "%25zz%254",
		"a\r\nb é":                           "a%0D%0Ab%20%C3%A9",
		"docs/errors.html":                   "docs/errors.html",
		"https://[2001:db8::1]:8443/~me;v=1": "https://[2001:db8::1]:8443/~me;v=1",
	} {
		assert.Equal(t, want, wire.URI(in))
		assert.Equal(t, want, wire.URI(want), "once is enough")
	}
}

var (
	printable = regexp.MustCompile(`^[\x20-\x21\x23-\x5b\x5d-\x7e]*$`)
	uri       = regexp.MustCompile(`^(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*$`)
)

func FuzzWire(f *testing.F) {
	for _, s := range []string{"", "https://as.example/e?50%", "a\"b\\c\r\n", "\xff\x00", "é%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		require.Regexp(t, printable, wire.Printable(s))
		escaped := wire.URI(s)
		require.Regexp(t, uri, escaped)
		require.Equal(t, escaped, wire.URI(escaped))
		if uri.MatchString(s) {
			require.Equal(t, s, escaped)
		} else if back, err := url.PathUnescape(escaped); assert.NoError(t, err) {
			if plain, err := url.PathUnescape(s); err == nil {
				require.Equal(t, plain, back, "nothing is lost")
			}
		}
	})
}
