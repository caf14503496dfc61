package guard

import (
	"net/netip"
	"strings"
)

// parseList reads a line of X-Forwarded-For. What is no address is a hop without
// one.
func parseList(line string) hops {
	all := make(hops, 0, 4)
	for node := range strings.SplitSeq(line, ",") {
		if node = trim(node); node != "" { // RFC 9110, section 5.6.1.2: empty elements count for nothing
			all = append(all, hop{address: parseNode(node)})
		}
	}
	return all
}

// parseForwarded reads a line of the Forwarded header (RFC 7239, section 4), with
// white space around ";" as well. It is false if the line is malformed.
func parseForwarded(line string) (hops, bool) {
	all := make(hops, 0, 4)
	for rest := line; ; {
		var h hop
		var some, ok bool
		if h, some, rest, ok = parseElement(rest); !ok {
			return nil, false
		}
		if some {
			all = append(all, h)
		}
		if rest == "" {
			return all, true
		}
		rest = rest[1:] // the comma
	}
}

// parseElement reads up to the comma that ends an element, or to the end of the line.
// some is false for an empty element.
func parseElement(s string) (h hop, some bool, rest string, ok bool) {
	var node string
	seen := map[string]bool{}
	for {
		s = trimLeft(s)
		if s != "" && s[0] != ',' && s[0] != ';' {
			var name, value string
			if name, value, s, ok = parsePair(s); !ok || seen[name] {
				return h, false, "", false // RFC 7239, section 4: each parameter once
			}
			seen[name], some = true, true
			switch name {
			case "for":
				node = value
			case "proto":
				h.proto = value
			}
			s = trimLeft(s)
		}
		switch {
		case s == "" || s[0] == ',':
			h.address = parseNode(node)
			return h, some, s, true
		case s[0] != ';':
			return h, false, "", false
		}
		s = s[1:]
	}
}

// parsePair reads token "=" ( token / quoted-string ). The name comes in lower case.
func parsePair(s string) (name, value, rest string, ok bool) {
	n := tokenLen(s)
	if n == 0 || n == len(s) || s[n] != '=' {
		return "", "", "", false
	}
	name, s = strings.ToLower(s[:n]), s[n+1:]
	if s != "" && s[0] == '"' {
		value, rest, ok = parseQuoted(s[1:])
		return name, value, rest, ok
	}
	n = tokenLen(s)
	return name, s[:n], s[n:], n > 0
}

// parseQuoted reads a quoted-string behind its first quote (RFC 9110, section 5.6.4).
func parseQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case c < ' ' && c != '\t' || c == 0x7F || c == '\\':
			return "", "", false
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// parseNode reads an address, with a port or without (RFC 7239, section 6). The
// address is not valid for "unknown", a made-up name, and anything else.
func parseNode(s string) netip.Addr {
	host, port, hasPort := s, "", false
	if strings.HasPrefix(s, "[") {
		host, port, hasPort = strings.Cut(s[1:], "]")
		if !hasPort || port != "" && port[0] != ':' {
			return netip.Addr{}
		}
		hasPort, port = port != "", strings.TrimPrefix(port, ":")
	} else if strings.Count(s, ":") == 1 {
		host, port, hasPort = strings.Cut(s, ":")
	}
	if hasPort && (port == "" || tokenLen(port) < len(port)) {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(host)
	return plain(a)
}

func isToken(s string) bool { return s != "" && tokenLen(s) == len(s) }

// tokenLen is how many bytes at the beginning of s are tchar (RFC 9110, section 5.6.2).
func tokenLen(s string) int {
	for i := range len(s) {
		c := s[i]
		letter := '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return i
		}
	}
	return len(s)
}

// trim removes the white space of RFC 9110, section 5.6.3.
func trim(s string) string     { return strings.Trim(s, " \t") }
func trimLeft(s string) string { return strings.TrimLeft(s, " \t") }
