package form

import (
	"encoding/base64"
	"strings"
)

// Scheme returns the scheme of an Authorization header in lower case, "" if
// the header does not begin with one (RFC 9110, section 11.4).
func Scheme(header string) string {
	word, _, _ := strings.Cut(header, " ")
	for i := range len(word) {
		if c := word[i]; c <= ' ' || c >= 0x7F || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return ""
		}
	}
	return strings.ToLower(word)
}

// Basic returns the client identifier and secret of an Authorization header of
// the Basic scheme (RFC 7617, section 2), both decoded as RFC 6749, section
// 2.3.1, has them encoded. The secret may be empty, the identifier may not. It
// is false for any other scheme and for whatever cannot be read in one way.
func Basic(header string) (id, secret string, ok bool) {
	if Scheme(header) != "basic" {
		return "", "", false
	}
	text := strings.TrimLeft(header[len("basic"):], " ")
	// The decoder steps over line breaks, so that one secret had many spellings.
	if strings.ContainsAny(text, "\r\n") {
		return "", "", false
	}
	pair, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(pair), ":")
	if !ok {
		return "", "", false
	}
	id, okID := unescape(id)
	secret, okSecret := unescape(secret)
	if !okID || !okSecret || id == "" || !isText(id) || !isText(secret) {
		return "", "", false
	}
	return id, secret, true
}
