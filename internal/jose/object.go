package jose

import (
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

// An Object is a JSON object read strictly, with the decoder that reads the headers of tokens: UTF-8, names compared byte by
// byte, each name once (RFC 7519, section 4; RFC 8725, section 2.6). Its methods read members; the first that has another type
// than the one asked for is remembered, and Err says so. What is absent is zero; null is no absence but a wrong type.
type Object struct {
	members map[string]json.RawMessage
	err     error
}

// ParseObject reads one object with nothing after it. The error has nothing of the data.
func ParseObject(data []byte) (*Object, error) {
	o := new(Object)
	// A decoder would let different bytes that are no UTF-8 become one name.
	if !utf8.Valid(data) || json.Unmarshal(data, &o.members) != nil || o.members == nil {
		return nil, errors.New("jose: not a JSON object with unique members")
	}
	return o, nil
}

// Err is nil if every member read so far had its type. It names the member, never its value.
func (o *Object) Err() error { return o.err }

// Has reports whether there is such a member, of whatever type.
func (o *Object) Has(name string) bool {
	_, ok := o.members[name]
	return ok
}

// Require remembers the first of the members that is not there.
func (o *Object) Require(names ...string) {
	for _, name := range names {
		if !o.Has(name) {
			o.fail("there is no member ", name)
		}
	}
}

// Text reads a string.
func (o *Object) Text(name string) string {
	s, ok := text(o.members, name)
	if !ok {
		o.fail("not a string: ", name)
	}
	if s == nil {
		return ""
	}
	return *s
}

// Texts reads an array of strings, none of them null.
func (o *Object) Texts(name string) []string {
	raw, ok := o.members[name]
	if !ok {
		return nil
	}
	var list []*string
	if json.Unmarshal(raw, &list) != nil || list == nil {
		o.fail("not an array of strings: ", name)
		return nil
	}
	texts := make([]string, len(list))
	for i, s := range list {
		if s == nil {
			o.fail("not an array of strings: ", name)
			return nil
		}
		texts[i] = *s
	}
	return texts
}

// TextOrTexts reads what may be one string or an array of them, as aud is (RFC 7519, section 4.1.3).
func (o *Object) TextOrTexts(name string) []string {
	if raw := o.members[name]; len(raw) > 0 && raw[0] == '"' {
		return []string{o.Text(name)}
	}
	return o.Texts(name)
}

// Bool reads true or false.
func (o *Object) Bool(name string) bool {
	switch raw := o.members[name]; {
	case string(raw) == "true":
		return true
	case string(raw) != "false" && o.Has(name):
		o.fail("not a boolean: ", name)
	}
	return false
}

// lastSecond is that of the year 9999.
const lastSecond = 253402300799

// Date reads a NumericDate (RFC 7519, section 2), a number of seconds not before 1970 and not after the year 9999. A fraction is
// dropped.
func (o *Object) Date(name string) time.Time {
	raw, ok := o.members[name]
	if !ok {
		return time.Time{}
	}
	// The decoder has seen that this is JSON, where only numbers begin so. ParseFloat alone would take "Inf" and "0x1".
	number := len(raw) > 0 && (raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9')
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if !number || err != nil || !(0 <= seconds && seconds < lastSecond+1) {
		o.fail("not a time in seconds: ", name)
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

// Object reads an object, nil if it is absent.
func (o *Object) Object(name string) *Object {
	raw, ok := o.members[name]
	if !ok {
		return nil
	}
	inner, err := ParseObject(raw)
	if err != nil {
		o.fail("not an object with unique members: ", name)
	}
	return inner
}

// Len is the number of members.
func (o *Object) Len() int { return len(o.members) }

func (o *Object) fail(what, name string) {
	if o.err == nil {
		o.err = errors.New("jose: " + what + name)
	}
}
