package form

import "strings"

// ParseQuery reads urlencoded text, such as a URL's query, of at most max
// bytes. It never fails: what is wrong is recorded, and told by Err and ErrOf.
func ParseQuery(raw string, max int) *Values {
	v := empty()
	if len(raw) > max {
		v.refuse(everyName, "Request is too long")
		return v
	}
	v.scan(raw)
	return v
}

// unreadable stands for a value with a broken escape; add finds that it is no
// text.
const unreadable = "\x00"

// scan takes the fields of urlencoded text (RFC 6749, appendix B). Values
// without escapes are parts of raw, not copies.
func (v *Values) scan(raw string) {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		if v.full() {
			return
		}
		name, value, _ := strings.Cut(pair, "=")
		name, ok := unescape(name)
		if !ok {
			v.refuse(noName, badName)
			continue
		}
		value, ok = unescape(value)
		if !ok {
			value = unreadable
		}
		v.add(name, value)
	}
}

// unescape undoes the encoding of one name or value; false if an escape is
// not a percent sign with two hexadecimal digits.
func unescape(s string) (string, bool) {
	i := strings.IndexAny(s, "%+")
	if i < 0 {
		return s, true
	}
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:i])
	for ; i < len(s); i++ {
		switch s[i] {
		case '+':
			b.WriteByte(' ')
		case '%':
			if len(s)-i < 3 {
				return "", false
			}
			high, low := unhex(s[i+1]), unhex(s[i+2])
			if high > 15 || low > 15 {
				return "", false
			}
			b.WriteByte(high<<4 | low)
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), true
}

// unhex returns the value of a hexadecimal digit, 255 if it is none.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
