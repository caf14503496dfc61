// Package form is the one strict reader of the requests of the authorization
// server: of URL queries, of form and JSON bodies, of headers that carry a
// parameter and of the Basic scheme. It decides nothing about a parameter's
// meaning. It only makes sure that one text has one reading: no parameter
// twice, nothing dropped or replaced silently, everything bounded.
package form

import (
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// The limits of one request.
const (
	MaxBody   = 64 << 10 // bytes of a body; more is answered 413
	MaxFields = 100      // parameters of one source: the body, or the query
	MaxName   = 128      // bytes of a parameter's name
)

// maxShown bounds, in bytes, a name that may appear in an error. The longest
// registered names have fewer than 50.
const maxShown = 64

// An Error says what is wrong with a request. It never contains a value of it.
type Error struct {
	Status      int    // 400 or 413
	Parameter   string // the parameter at fault; "" if it is none in particular or its name is not fit to be shown
	Description string // fit for error_description (RFC 6749, section 5.2)
}

// Error returns the description.
func (e *Error) Error() string { return e.Description }

// The sentences; the name follows where it is known and fit to be shown.
const (
	tooMany   = "Too many parameters"
	badName   = "Parameter name is badly encoded"
	twice     = "Parameter appears more than once"
	differs   = "Parameter has different values"
	badCoding = "Parameter is badly encoded"
	badText   = "Parameter contains characters that are not allowed"
	notString = "Parameter must be a string"
	inURL     = "Parameter must not be in the URL"
)

// errorOf makes the Error of one parameter.
func errorOf(name, sentence string) *Error {
	e := &Error{Status: http.StatusBadRequest, Description: sentence}
	if plausible(name) {
		e.Parameter = name
		e.Description += ": " + name
	}
	return e
}

// plausible reports whether the text looks like a parameter's name, so that
// it may be shown and logged.
func plausible(name string) bool {
	if name == "" || len(name) > maxShown {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// A Field is one parameter of a request.
type Field struct{ Name, Value string }

// reach says whom a defect concerns.
type reach int

const (
	oneName   reach = iota // the parameter of that name
	noName                 // the request, but no parameter that can be named
	everyName              // the request and each of its parameters
)

type defect struct {
	name  string
	reach reach
	err   *Error
}

// Values are the parameters of a request in the order they came, and what is
// wrong with them. An empty value means that the parameter was omitted (RFC
// 6749, section 3.1): Get, Has and All do not see it. The zero Values are
// those of a request without parameters. Values are not to be copied.
type Values struct {
	fields  []Field
	defects []defect
	pairs   int      // counted by full
	few     [8]Field // where fields begin: most requests need no more
}

// New returns Values of the fields, judged by the rules of a form body.
func New(fields ...Field) *Values {
	v := empty()
	for _, f := range fields {
		if v.full() {
			break
		}
		v.add(f.Name, f.Value)
	}
	return v
}

func empty() *Values {
	v := new(Values)
	v.fields = v.few[:0]
	return v
}

// Get returns the first value of the parameter, "" if it was omitted. A
// defect of the parameter is told by ErrOf only.
func (v *Values) Get(name string) string {
	for i := range v.fields {
		if f := &v.fields[i]; f.Name == name && f.Value != "" {
			return f.Value
		}
	}
	return ""
}

// Has reports whether the parameter has a value.
func (v *Values) Has(name string) bool { return v.Get(name) != "" }

// All returns every value of a parameter that may be repeated, nil if it was
// omitted.
func (v *Values) All(name string) []string {
	var all []string
	for _, f := range v.fields {
		if f.Name == name && f.Value != "" {
			all = append(all, f.Value)
		}
	}
	return all
}

// Fields returns a copy of the sound fields, those whose name has no defect,
// in order, empty ones included.
func (v *Values) Fields() []Field {
	sound := make([]Field, 0, len(v.fields))
	for _, f := range v.fields {
		if v.ErrOf(f.Name) == nil {
			sound = append(sound, f)
		}
	}
	return sound
}

// Err returns the first defect of any parameter, nil if all is sound.
func (v *Values) Err() *Error {
	if len(v.defects) == 0 {
		return nil
	}
	return v.defects[0].err
}

// ErrOf returns the defect of the parameter, nil if it is sound. A request
// that is too long or has too many parameters is a defect of every parameter;
// a name that cannot be read is a defect of none, and told by Err only.
func (v *Values) ErrOf(name string) *Error {
	for i := range v.defects {
		d := &v.defects[i]
		if d.reach == everyName || d.reach == oneName && d.name == name {
			return d.err
		}
	}
	return nil
}

// repeatable reports whether a request may carry the parameter more than once
// (RFC 8707, section 2; RFC 8693, section 2.1).
func repeatable(name string) bool { return name == "resource" || name == "audience" }

// add takes one decoded field of the first source.
func (v *Values) add(name, value string) {
	switch {
	case name == "":
	case len(name) > MaxName:
		v.refuse(noName, "Parameter name is too long")
	case !isText(name):
		v.refuse(noName, badName)
	case !isText(value):
		v.fault(name, badCoding)
	case !repeatable(name) && v.seen(name):
		v.fault(name, twice) // RFC 6749, sections 3.1 and 3.2.
	default:
		v.fields = append(v.fields, Field{name, value})
	}
}

// merge takes the values, none of them empty, that another source has for the
// name. Equal ones say nothing new; which of two differing ones counts is not
// ours to guess.
func (v *Values) merge(name string, values []string) {
	have := v.All(name)
	if len(have) == 0 {
		for _, value := range values {
			v.fields = append(v.fields, Field{name, value})
		}
		return
	}
	if !slices.Equal(have, values) {
		v.fault(name, differs)
	}
}

// seen reports whether the name came before, empty or with a defect included.
func (v *Values) seen(name string) bool {
	for i := range v.fields {
		if v.fields[i].Name == name {
			return true
		}
	}
	return slices.ContainsFunc(v.defects, func(d defect) bool { return d.reach == oneName && d.name == name })
}

// fault records a defect of one parameter. The first one is told.
func (v *Values) fault(name, sentence string) {
	v.keep(defect{name, oneName, errorOf(name, sentence)})
}

// refuse records a defect that belongs to no parameter in particular.
func (v *Values) refuse(whom reach, sentence string) {
	v.keep(defect{"", whom, errorOf("", sentence)})
}

func (v *Values) keep(d defect) { v.defects = append(v.defects, d) }

// full counts one more field of the first source and reports, and records,
// that it is one too many.
func (v *Values) full() bool {
	v.pairs++
	if v.pairs == MaxFields+1 {
		v.refuse(everyName, tooMany)
	}
	return v.pairs > MaxFields
}

// isText reports whether s is UTF-8 without NUL, which no database and no
// header takes.
func isText(s string) bool {
	return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}
