package oauth

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// matchRedirect finds the registered redirect URI that a request may use. With
// none requested it is the only one registered (RFC 6749, section 3.1.2.3).
// It compares byte by byte (RFC 9700, section 2.1); the one exception is the
// port of a loopback address (RFC 8252, section 7.3).
func matchRedirect(c *Client, requested string) (string, bool) {
	if requested == "" {
		if len(c.RedirectURIs) != 1 {
			return "", false
		}
		requested = c.RedirectURIs[0]
	}
	if checkRedirect(requested) != nil {
		return "", false
	}
	for _, registered := range c.RedirectURIs {
		if registered == requested || sameButPort(registered, requested, c.LocalhostPort) {
			return requested, true
		}
	}
	return "", false
}

// sameButPort reports whether both are http URIs of the same loopback address
// and differ in nothing but the port.
func sameButPort(registered, requested string, localhost bool) bool {
	host, rest, ok := splitLoopback(registered, localhost)
	if !ok {
		return false
	}
	host2, rest2, ok := splitLoopback(requested, localhost)
	return ok && host == host2 && rest == rest2
}

// splitLoopback cuts the port out of http://127.0.0.1:port/path. It works on
// the text alone, so that no parser's idea of a host can differ from a browser's.
func splitLoopback(uri string, localhost bool) (host, rest string, ok bool) {
	for _, h := range [...]string{"http://127.0.0.1", "http://[::1]", "http://localhost"} {
		after, found := strings.CutPrefix(uri, h)
		if !found || (h == "http://localhost" && !localhost) {
			continue
		}
		if port, found := strings.CutPrefix(after, ":"); found {
			digits := strings.TrimLeft(port, "0123456789")
			n, err := strconv.ParseUint(port[:len(port)-len(digits)], 10, 16)
			if err != nil || n == 0 {
				return "", "", false
			}
			after = digits
		}
		if after == "" || after[0] == '/' || after[0] == '?' {
			return h, after, true
		}
	}
	return "", "", false
}

// checkRedirect says what is wrong with a redirect URI; it is held against
// those that are registered and those that are requested.
func checkRedirect(uri string) error {
	for i := range len(uri) {
		// Browsers drop or turn around some of these (WHATWG URL), parsers do not.
		if c := uri[i]; c <= 0x20 || c >= 0x7f || c == '\\' || c == '"' || c == '<' || c == '>' {
			return errors.New("has a character that no URI has")
		}
	}
	if strings.Contains(uri, "#") {
		return errors.New("has a fragment (RFC 6749, section 3.1.2)")
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return errors.New("is not a URI")
	case u.Scheme == "":
		return errors.New("is not absolute")
	case u.User != nil:
		return errors.New("has a user name in it")
	case strings.ContainsFunc(u.Host, func(c rune) bool { return c > 0x7e }):
		// Percent-encoded in uri. Shown to the user, letters of another alphabet pass for
		// those of a name he knows.
		return errors.New("has a host that is not ASCII: write it as xn--")
	case u.Scheme == "https" || u.Scheme == "http":
		if u.Hostname() == "" || u.Opaque != "" {
			return errors.New("has no host")
		}
		if u.Scheme == "http" && !loopback(u.Hostname()) {
			return errors.New("is http, which is for loopback addresses alone")
		}
	case !strings.Contains(u.Scheme, "."):
		// RFC 8252, section 7.1: a private-use scheme is a domain name turned around.
		// This leaves out javascript:, data:, file: and their like.
		return errors.New("has a scheme that is neither https nor a domain name in reverse order")
	}
	return nil
}

func loopback(host string) bool {
	return host == "127.0.0.1" || host == "::1" || host == "localhost"
}
