package form

import (
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// A Decoder says where the parameters of a POST request come from. The zero
// Decoder reads a form body (RFC 6749, section 3.2, and appendix B).
//
// A parameter may come from two sources if both say the same; if they differ
// it has a defect.
type Decoder struct {
	Form, JSON bool     // bodies that are read; neither: Form
	Query      []string // names taken from the URL's query too, but never client_id and never a Secret one
	Headers    []Header // headers that carry a parameter
}

// A Header is a request header that carries a parameter.
type Header struct{ Name, Parameter string }

// Secret reports whether the parameter carries a credential, or something that
// can be exchanged for one, and so is never taken from a URL: URLs end up in
// logs and histories (RFC 6749, section 2.3.1; RFC 9700, section 4.3). A
// request object is among them because it is pushed in order not to be seen.
// A username is not: the password beside it is.
func Secret(name string) bool {
	switch name {
	case "client_secret", "client_assertion", // RFC 6749, section 2.3.1; RFC 7521, section 4.2
		"code", "code_verifier", "refresh_token", "password", // RFC 6749, sections 4 and 6; RFC 7636
		"access_token", "token", // RFC 6750; RFC 7009; RFC 7662
		"assertion", "subject_token", "actor_token", // RFC 7521, section 4.1; RFC 8693
		"device_code", "auth_req_id", // RFC 8628; OpenID Connect CIBA
		"request": // RFC 9126, section 3
		return true
	}
	return false
}

// Read reads the whole body, once, and the query and the headers. The Values
// are never nil; with an *Error they hold what could be read all the same, a
// client_id perhaps. A nil *Error does not mean that all parameters are sound:
// Values.Err tells.
//
// A form that was parsed before the request came here is taken from
// r.PostForm; what net/http dropped from it cannot be seen any more.
func (d Decoder) Read(r *http.Request) (*Values, *Error) {
	v := empty()
	err := d.readBody(v, r)
	d.readHeaders(v, r.Header)
	if e := d.readQuery(v, r.URL.RawQuery); err == nil {
		err = e
	}
	return v, err
}

func (d Decoder) readBody(v *Values, r *http.Request) *Error {
	if r.ContentLength > MaxBody {
		return tooLarge()
	}
	media, charset := contentType(r.Header)
	parsed := r.PostForm != nil && media == formType
	var body []byte
	if !parsed {
		var err *Error
		if body, err = readAll(r); err != nil {
			return err
		}
	}
	// A body that is gone but left a form, multipart say, is not an empty one.
	if len(body) == 0 && len(r.PostForm) == 0 {
		return nil
	}
	switch {
	case encoded(r.Header):
		return errorOf("", "Content-Encoding is not supported")
	case !d.reads(media):
		return errorOf("", "Content-Type must be "+d.types())
	case charset != "" && !strings.EqualFold(charset, "utf-8"):
		return errorOf("", "Charset of the Content-Type must be utf-8")
	case media == jsonType:
		return v.parseJSON(body)
	case parsed:
		return v.addParsed(r.PostForm)
	}
	v.scan(string(body))
	return nil
}

func (d Decoder) form() bool { return d.Form || !d.JSON }

func (d Decoder) reads(media string) bool {
	return d.form() && media == formType || d.JSON && media == jsonType
}

func (d Decoder) types() string {
	switch {
	case !d.JSON:
		return formType
	case !d.Form:
		return jsonType
	}
	return formType + " or " + jsonType
}

// contentType returns the media type in lower case and its charset. The type
// is "" if there is none, more than one, or one that cannot be read.
func contentType(h http.Header) (media, charset string) {
	values := h["Content-Type"]
	if len(values) != 1 {
		return "", ""
	}
	if values[0] == formType || values[0] == jsonType { // nearly always, and for nothing
		return values[0], ""
	}
	media, parameters, err := mime.ParseMediaType(values[0])
	if err != nil {
		return "", ""
	}
	return media, parameters["charset"]
}

// encoded reports whether the body is compressed, or anything but itself.
func encoded(h http.Header) bool {
	return slices.ContainsFunc(h["Content-Encoding"], func(coding string) bool {
		return coding != "" && !strings.EqualFold(coding, "identity")
	})
}

func tooLarge() *Error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Description: "Request body is too large"}
}

// readAll reads the body up to MaxBody. The length that a client claims never
// makes more room than most requests need.
func readAll(r *http.Request) ([]byte, *Error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	const usual, most = 512, 4096
	room := r.ContentLength + 1
	if room <= 0 {
		room = usual
	}
	body := make([]byte, 0, min(room, most))
	for len(body) <= MaxBody {
		if len(body) == cap(body) {
			body = slices.Grow(body, 1)
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == nil {
			continue
		}
		if _, limited := errors.AsType[*http.MaxBytesError](err); limited {
			return nil, tooLarge()
		}
		if err != io.EOF {
			return nil, errorOf("", "Request body cannot be read")
		}
		if len(body) <= MaxBody {
			return body, nil
		}
	}
	return nil, tooLarge()
}

// addParsed takes a form that net/http parsed, in the order of the names, with
// the limits of a body.
func (v *Values) addParsed(form url.Values) *Error {
	size, fields := 0, 0
	for name, values := range form {
		fields += len(values)
		for _, value := range values {
			size += len(name) + len("=") + len(value) + len("&")
		}
	}
	if size > MaxBody {
		return tooLarge()
	}
	if fields > MaxFields {
		v.refuse(everyName, tooMany)
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, value := range form[name] {
			v.add(name, value)
		}
	}
	return nil
}

func (d Decoder) readHeaders(v *Values, h http.Header) {
	for _, header := range d.Headers {
		values := h.Values(header.Name)
		if len(values) == 0 {
			continue
		}
		value := values[0]
		switch {
		case slices.ContainsFunc(values, func(s string) bool { return s != value }):
			v.fault(header.Parameter, differs)
		case !isText(value) || strings.ContainsFunc(value, unicode.IsControl):
			v.fault(header.Parameter, badText)
		case value != "":
			v.merge(header.Parameter, []string{value})
		}
	}
}

// readQuery judges the query of a request whose parameters belong in its body
// (RFC 6749, section 3.2), and takes from it what the Decoder names.
func (d Decoder) readQuery(v *Values, raw string) *Error {
	if raw == "" {
		return nil
	}
	q := ParseQuery(raw, MaxBody)
	if name := q.exposed(); name != "" {
		return errorOf(name, inURL) // RFC 6749, section 2.3.1.
	}
	for _, fault := range q.defects {
		switch {
		case fault.reach == everyName:
			v.keep(fault)
			return nil
		case fault.reach == noName: // a name that is nobody's
		case d.queries(fault.name):
			v.keep(fault)
		case v.Has(fault.name):
			v.fault(fault.name, twice)
		}
	}
	for _, f := range q.fields {
		switch {
		case f.Value == "":
		case d.queries(f.Name):
			v.merge(f.Name, q.All(f.Name))
		case v.Has(f.Name):
			v.fault(f.Name, twice)
		}
	}
	return nil
}

// exposed returns the first secret parameter that has a value, readable or
// not, "" if there is none.
func (v *Values) exposed() string {
	for _, f := range v.fields {
		if f.Value != "" && Secret(f.Name) {
			return f.Name
		}
	}
	for _, fault := range v.defects {
		if Secret(fault.name) {
			return fault.name
		}
	}
	return ""
}

// queries reports whether the parameter, which is not exposed, is taken from
// the query. Who the client is comes with its authentication, so never from
// there.
func (d Decoder) queries(name string) bool {
	return name != "client_id" && slices.Contains(d.Query, name)
}
