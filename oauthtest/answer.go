package oauthtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/grantwell/oauth"
)

// An Answer is a response whose body was read.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	JSON   map[string]any // nil if the body is no JSON object

	request string       // what was asked, for messages
	known   *credentials // what no message shows; nil for an answer that a test made
}

// String returns a member of the JSON body that is a string, or "".
func (a *Answer) String(member string) string {
	text, _ := a.JSON[member].(string)
	return text
}

// Location is the target of a redirect, its parameters taken from the query or
// the fragment; empty if there is none.
func (a *Answer) Location() (uri string, params url.Values) {
	uri, text, found := strings.Cut(a.Header.Get("Location"), "#")
	if !found {
		uri, text, _ = strings.Cut(uri, "?")
	}
	params, err := url.ParseQuery(text)
	if err != nil {
		return "", url.Values{}
	}
	return uri, params
}

// WantOK fails the test unless the answer is a 200, with these headers: name, value,
// name, value, where "" stands for a header that is not there. A token response must
// also be what RFC 6749, section 5.1, says.
func (a *Answer) WantOK(t testing.TB, headers ...string) {
	t.Helper()
	d := a.compare(t, http.StatusOK, headers)
	if a.String("access_token") != "" {
		expires, _ := a.JSON["expires_in"].(float64)
		d.want("token_type", a.String("token_type"), "Bearer")
		d.that("expires_in", expires >= 1 && expires == float64(int64(expires)), fmt.Sprint(a.JSON["expires_in"]), "whole seconds, 1 or more")
		d.notStored(a)
	}
	d.report(t, a)
}

// WantError fails the test unless the answer is a refusal with this status and error
// code, as the RFCs have it, and with these headers, as in [Answer.WantOK]. The code is
// looked for where it belongs: in the JSON body, in the parameters of a redirect, in
// the challenge of an API. The code "" is for a page, or an API that was called without
// a token: there is none.
func (a *Answer) WantError(t testing.TB, status int, code oauth.ErrorCode, headers ...string) {
	t.Helper()
	d := a.compare(t, status, headers)
	if status >= 300 && status < 400 {
		// RFC 6749, section 4.1.2.1.
		_, params := a.Location()
		d.want("error", params.Get("error"), string(code))
		d.that("code", !params.Has("code"), "a code", "none in a refusal")
		d.report(t, a)
		return
	}
	challenge := a.Header.Get("WWW-Authenticate")
	if _, told, ok := strings.Cut(challenge, `error="`); ok { // RFC 6750, section 3
		told, _, _ = strings.Cut(told, `"`)
		d.want("error of the challenge", told, string(code))
	}
	if code != "" {
		// RFC 6749, section 5.2.
		d.want("error", a.String("error"), string(code))
		mediaType, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
		d.want("Content-Type", mediaType, "application/json")
	}
	if status == http.StatusUnauthorized && code != oauth.InvalidClient { // RFC 6750, section 3
		d.that("WWW-Authenticate", challenge != "", "none", "a challenge")
	}
	d.that("access_token", a.String("access_token") == "", "one", "none in a refusal")
	d.notStored(a)
	d.report(t, a)
}

// complaints are what an answer has and should not have, line by line.
type complaints []string

func (a *Answer) compare(t testing.TB, status int, headers []string) *complaints {
	t.Helper()
	if len(headers)%2 != 0 {
		t.Fatalf("oauthtest: headers come in pairs of name and value: %q", headers)
	}
	d := &complaints{}
	d.want("status", fmt.Sprint(a.Status), fmt.Sprint(status))
	for pair := range slices.Chunk(headers, 2) {
		d.want(pair[0], strings.Join(a.Header.Values(pair[0]), ", "), pair[1])
	}
	return d
}

func (d *complaints) want(what, got, want string) {
	d.that(what, got == want, fmt.Sprintf("%q", redactText(got)), fmt.Sprintf("%q", want))
}

func (d *complaints) that(what string, ok bool, got, want string) {
	if !ok {
		*d = append(*d, fmt.Sprintf("  %s is %s, want %s", what, got, want))
	}
}

// notStored is RFC 6749, sections 5.1 and 5.2: what holds a token, and what refuses
// one, stays in no cache.
func (d *complaints) notStored(a *Answer) {
	control := a.Header.Get("Cache-Control")
	d.that("Cache-Control", strings.Contains(control, "no-store"), fmt.Sprintf("%q", control), `"no-store"`)
}

func (d *complaints) report(t testing.TB, a *Answer) {
	t.Helper()
	if len(*d) == 0 {
		return
	}
	asked := a.request
	if asked == "" {
		asked = "an answer"
	}
	t.Errorf("oauthtest: %s:\n%s\nthe answer: %s", asked, a.known.hide(strings.Join(*d, "\n")), a.redacted())
}

// maxShown is how much of a body a message shows, in bytes.
const maxShown = 600

// redacted is the answer as a message shows it: no credential is in it.
func (a *Answer) redacted() string {
	b := []byte(fmt.Sprint(a.Status))
	for _, name := range []string{"Content-Type", "Cache-Control", "WWW-Authenticate", "Retry-After", "Allow"} {
		if v := a.Header.Get(name); v != "" {
			b = fmt.Appendf(b, "\n  %s: %s", name, redactText(v))
		}
	}
	if to := a.Header.Get("Location"); to != "" {
		uri, params := a.Location()
		b = fmt.Appendf(b, "\n  Location: %s?%s", uri, redactForm(params))
	}
	body := string(a.Body)
	if a.JSON != nil {
		hidden := make(map[string]any, len(a.JSON))
		for name, value := range a.JSON {
			if text, ok := value.(string); ok && credentialName(name) {
				value = hide(text)
			}
			hidden[name] = value
		}
		if text, err := json.Marshal(hidden); err == nil {
			body = string(text)
		}
	} else {
		body = redactText(body)
	}
	if len(body) > maxShown {
		body = body[:maxShown] + fmt.Sprintf(" … (%d bytes)", len(a.Body))
	}
	if body != "" {
		b = append(append(b, "\n  "...), body...)
	}
	return a.known.hide(string(b))
}
