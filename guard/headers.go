package guard

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const none = "-"

func (h Headers) check() error {
	var all []error
	for _, f := range []struct{ field, name string }{{"Limit", h.Limit}, {"Remaining", h.Remaining}, {"Reset", h.Reset}} {
		if f.name != "" && !isToken(f.name) {
			all = append(all, fmt.Errorf("RateLimit.Headers.%s is not the name of a header", f.field))
		}
	}
	return errors.Join(all...)
}

// filled is h with its defaults, "" for what is left out, and a list of the names that
// are not the default ones: those the server lets scripts read.
func (h Headers) filled() (full Headers, own string) {
	var names []string
	name := func(set, normal string) string {
		normal = http.CanonicalHeaderKey(normal)
		switch set = http.CanonicalHeaderKey(cmp.Or(set, normal)); set {
		case none:
			return ""
		case normal:
		default:
			names = append(names, set)
		}
		return set
	}
	full = Headers{
		Limit: name(h.Limit, "X-RateLimit-Limit"), Remaining: name(h.Remaining, "X-RateLimit-Remaining"),
		Reset: name(h.Reset, "X-RateLimit-Reset"), Delta: h.Delta,
	}
	return full, strings.Join(names, ", ")
}

// exposing is the header by which a browser lets a script read others (Fetch, section
// 3.3.2). Where the server sets it, scripts of that origin may read the answer.
const exposing = "Access-Control-Expose-Headers"

// tell sets the headers.
func (v *visit) tell() {
	if v.count == "" {
		return
	}
	h := v.call.Header
	values := [...]string{v.count, strconv.Itoa(v.least.Remaining), strconv.FormatInt(v.reset(), 10)}
	for i, name := range [...]string{v.headers.Limit, v.headers.Remaining, v.headers.Reset} {
		if name != "" {
			h[name] = values[i : i+1 : i+1]
		}
	}
	if list := h[exposing]; len(list) == 1 && !strings.Contains(list[0], v.expose) {
		h[exposing] = []string{list[0] + ", " + v.expose}
	}
}

// reset is the value of the header Reset.
func (v *visit) reset() int64 {
	if v.headers.Delta {
		return int64((v.least.Reset.Sub(v.call.Now) + time.Second - 1) / time.Second)
	}
	return v.least.Reset.Add(time.Second - 1).Unix()
}
