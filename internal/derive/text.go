package derive

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// base64url is RFC 4648, section 5, without padding (section 3.2) and with the
// spare bits checked to be zero (section 3.5).
var base64url = base64.RawURLEncoding.Strict()

// Encode writes the prefix, then b in base64url without padding (RFC 4648,
// section 5) or, with asHex, in lower-case hexadecimal.
func Encode(prefix string, asHex bool, b []byte) string {
	var short [512]byte // on the stack: one allocation, of the string, for all but long texts
	text := append(short[:0], prefix...)
	if asHex {
		return string(hex.AppendEncode(text, b))
	}
	return string(base64url.AppendEncode(text, b))
}

// Decode is the strict inverse of [Encode]: it accepts exactly the texts that
// Encode writes with this prefix, one for each value, so a text that was
// spent or revoked cannot come back spelled differently. It refuses
// spare bits that are not zero, padding, line breaks and upper-case hexadecimal.
func Decode(prefix string, asHex bool, text string) ([]byte, bool) {
	text, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return nil, false
	}
	var b []byte
	var err error
	if asHex {
		if strings.ContainsAny(text, "ABCDEF") { // package hex reads both cases
			return nil, false
		}
		b, err = hex.DecodeString(text)
	} else {
		if strings.ContainsAny(text, "\r\n") { // package base64 skips them, Strict or not
			return nil, false
		}
		b, err = base64url.DecodeString(text)
	}
	if err != nil {
		return nil, false
	}
	return b, true
}
