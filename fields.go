package oauth

import (
	"encoding/json"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Fields is an ordered list of named values: the members of a JSON answer, the
// parameters of a redirect, the claims of a user. Values are strings, booleans,
// integers, lists of strings, or whatever else encoding/json can write; in a
// redirect they are written as text. The zero Fields is empty.
type Fields struct{ list []field }

// A field keeps a string, as nearly all are, as it is: in an interface each would be
// an allocation.
type field struct {
	name   string
	text   string
	value  any // where it is no string
	isText bool
}

// Get returns the value of that name, nil if there is none.
func (f *Fields) Get(name string) any {
	i := f.index(name)
	switch {
	case i < 0:
		return nil
	case f.list[i].isText:
		return f.list[i].text
	}
	return f.list[i].value
}

// Set gives the name that value, where it stands or else at the end.
func (f *Fields) Set(name string, value any) {
	if text, ok := value.(string); ok {
		f.setText(name, text)
		return
	}
	f.put(field{name: name, value: value})
}

// setText is Set of a string.
func (f *Fields) setText(name, text string) { f.put(field{name: name, text: text, isText: true}) }

func (f *Fields) put(e field) {
	if i := f.index(e.name); i >= 0 {
		f.list[i] = e
		return
	}
	f.list = append(f.list, e)
}

// Delete removes the name, if it is there.
func (f *Fields) Delete(name string) {
	if i := f.index(name); i >= 0 {
		f.list = slices.Delete(f.list, i, i+1)
	}
}

// Select leaves the names given, those that are there, in the order given.
func (f *Fields) Select(names ...string) {
	var kept []field
	for _, n := range names {
		if i := f.index(n); i >= 0 {
			kept = append(kept, f.list[i])
		}
	}
	f.list = kept
}

// Names returns the names in order.
func (f *Fields) Names() []string {
	names := make([]string, len(f.list))
	for i, e := range f.list {
		names[i] = e.name
	}
	return names
}

// String and LogValue give the names alone: values may be tokens.
func (f Fields) String() string { return "[" + strings.Join(f.Names(), " ") + "]" }

// GoString is String, for the format %#v.
func (f Fields) GoString() string { return "oauth.Fields" + f.String() }

// LogValue implements [slog.LogValuer].
func (f Fields) LogValue() slog.Value { return slog.StringValue(f.String()) }

func (f *Fields) index(name string) int {
	for i := range f.list {
		if f.list[i].name == name {
			return i
		}
	}
	return -1
}

// appendJSON writes the fields as a JSON object.
func (f *Fields) appendJSON(b []byte) ([]byte, error) {
	b = append(b, '{')
	for i, e := range f.list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, e.name)
		b = append(b, ':')
		if e.isText {
			b = appendString(b, e.text)
			continue
		}
		var err error
		if b, err = appendValue(b, e.value); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// encode writes the fields as form parameters (RFC 6749, appendix B).
func (f *Fields) encode() (string, error) {
	var b strings.Builder
	for i, e := range f.list {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(e.name))
		b.WriteByte('=')
		if e.isText {
			b.WriteString(url.QueryEscape(e.text))
			continue
		}
		text, err := appendValue(nil, e.value)
		if err != nil {
			return "", err
		}
		b.WriteString(url.QueryEscape(string(text)))
	}
	return b.String(), nil
}

func appendValue(b []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case bool:
		return strconv.AppendBool(b, v), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case []string:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, s)
		}
		return append(b, ']'), nil
	case json.RawMessage:
		return append(b, v...), nil
	}
	text, err := json.Marshal(value)
	return append(b, text...), err
}

// appendString writes a JSON string. Text of the ASCII letters, digits and
// marks that tokens and scopes consist of is copied as it is.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	text, err := json.Marshal(s)
	if err != nil { // a valid string has always a JSON form
		return append(b, `""`...)
	}
	return append(b, text...)
}
