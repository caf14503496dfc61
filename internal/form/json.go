package form

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"unicode/utf8"
)

// parseJSON takes the members of a JSON object (RFC 8259, section 4), names
// compared byte by byte. It stores nothing where it returns an Error.
func (v *Values) parseJSON(body []byte) *Error {
	broken := &Error{Status: http.StatusBadRequest, Description: "Request body is not a JSON object"}
	// encoding/json would replace invalid UTF-8 and lone surrogates silently.
	if !utf8.Valid(body) || !json.Valid(body) || !surrogatesPaired(body) {
		return broken
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return broken
	}
	var names []string
	for d.More() && !v.full() {
		token, _ := d.Token()
		name, ok := token.(string)
		var value json.RawMessage // nested values are stepped over, not built
		if err := d.Decode(&value); err != nil || !ok {
			return broken
		}
		if name == "" {
			continue
		}
		if slices.Contains(names, name) {
			v.fault(name, twice) // RFC 7493, section 2.3.
			continue
		}
		names = append(names, name)
		v.addMember(name, value)
	}
	return nil
}

// addMember takes a string, or the strings of an array where the parameter may
// be repeated. The value is valid JSON.
func (v *Values) addMember(name string, value json.RawMessage) {
	if value[0] != '[' || !repeatable(name) {
		v.addString(name, value)
		return
	}
	d := json.NewDecoder(bytes.NewReader(value))
	_, err := d.Token()
	v.pairs-- // the member was counted, now its elements are
	for err == nil && d.More() && !v.full() {
		var element json.RawMessage
		if err = d.Decode(&element); err == nil {
			v.addString(name, element)
		}
	}
	if err != nil {
		v.fault(name, notString)
	}
}

func (v *Values) addString(name string, value json.RawMessage) {
	var s string
	if value[0] != '"' || json.Unmarshal(value, &s) != nil {
		v.fault(name, notString)
		return
	}
	v.add(name, s)
}

// surrogatesPaired reports whether every escaped surrogate of valid JSON is
// one half of a pair. A backslash occurs in strings only.
func surrogatesPaired(body []byte) bool {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		high := unit(body[i:])
		i++ // the character after the backslash is no backslash of its own
		switch {
		case high>>10 == 0xDC00>>10:
			return false
		case high>>10 == 0xD800>>10:
			i += 5
			if low := unit(body[i:]); low>>10 != 0xDC00>>10 {
				return false
			}
			i += 5 // the loop steps over the last digit
		}
	}
	return true
}

// unit returns the UTF-16 code unit that b begins with as an escape, else 0.
func unit(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0
	}
	var u rune
	for _, c := range b[2:6] {
		u = u<<4 | rune(unhex(c))
	}
	return u
}
