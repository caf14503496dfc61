// Package wire makes texts into what the RFCs let stand in an answer.
package wire

import "strings"

// Printable makes of s what may stand in an error and its description: %x20-21 /
// %x23-5B / %x5D-7E (RFC 6749, sections 4.1.2.1 and 5.2; RFC 6750, section 3).
func Printable(s string) string { return strings.Map(printable, s) }

func printable(c rune) rune {
	switch {
	case c == '"':
		return '\''
	case c == '\\':
		return '/'
	case c < ' ' || c == 0x7F:
		return ' '
	case c > 0x7F:
		return '?'
	}
	return c
}

// URI percent-encodes what no URI has, and a % that escapes nothing: an error_uri is
// a URI-reference (RFC 6749, sections 4.1.2.1 and 5.2; RFC 3986, section 2).
func URI(s string) string {
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		escape := c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2])
		if !escape && !unreserved(c) && strings.IndexByte(":/?#[]@!$&'()*+,;=", c) < 0 {
			out = append(out, '%', hex[c>>4], hex[c&15])
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' || 'a' <= c && c <= 'f'
}
