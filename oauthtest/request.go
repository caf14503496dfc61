package oauthtest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A Request is what a client has sent. Its fields are as they came, credentials and
// all, for a test to compare; printed, it shows none of them.
type Request struct {
	Method string
	Path   string
	Query  url.Values  // of the URL
	Form   url.Values  // of a body that is a form; empty for any other
	Header http.Header // a copy
}

// String is the request on one line, without credentials; so is GoString.
func (r Request) String() string {
	b := []byte(r.Method + " " + r.Path)
	if len(r.Query) > 0 {
		b = append(append(b, '?'), redactForm(r.Query)...)
	}
	if len(r.Form) > 0 {
		b = append(append(b, ' '), redactForm(r.Form)...)
	}
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if id, _, ok := basic(text); ok && strings.EqualFold(scheme, "Basic") {
		b = fmt.Appendf(b, " (Basic %s)", id)
	} else if scheme != "" {
		b = fmt.Appendf(b, " (%s %s)", scheme, hide(text))
	}
	return string(b)
}

// GoString is String, for the format %#v.
func (r Request) GoString() string { return r.String() }

// basic are the client_id and the secret of Basic credentials, form-decoded as RFC
// 6749, section 2.3.1, has it, where they can be.
func basic(text string) (id, secret string, ok bool) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(b), ":")
	if plain, err := url.QueryUnescape(id); err == nil {
		id = plain
	}
	if plain, err := url.QueryUnescape(secret); err == nil {
		secret = plain
	}
	return id, secret, ok
}

// credentialNames are the parameters and members that hold a credential.
var credentialNames = []string{
	"access_token", "assertion", "client_assertion", "client_secret", "code", "code_verifier", "device_code", "id_token",
	"password", "refresh_token", "registration_access_token", "subject_token", "actor_token", "token",
}

// handleName holds what is worth nothing without the browser's cookie. It is at home on
// pages and in their URLs, and nowhere else.
const handleName = "interaction"

func credentialName(name string) bool {
	return slices.Contains(credentialNames, name) || name == handleName ||
		strings.Contains(name, "secret") || strings.Contains(name, "password")
}

// hide says that there was a text, and how long it is.
func hide(text string) string { return fmt.Sprintf("(%d characters)", len(text)) }

// redactForm is a form as a message shows it.
func redactForm(form url.Values) string {
	var pairs []string
	for name, values := range form {
		for _, value := range values {
			if credentialName(name) {
				value = hide(value)
			}
			pairs = append(pairs, name+"="+value)
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// redactText hides the words of a text that are as long as a credential.
func redactText(text string) string {
	word := func(c rune) bool {
		return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.ContainsRune("-_.~+/=%", c)
	}
	var b strings.Builder
	for text != "" {
		n := strings.IndexFunc(text, func(c rune) bool { return !word(c) })
		switch {
		case n == 0:
			n = 1
			for n < len(text) && text[n] >= 0x80 && text[n] < 0xC0 { // the rest of one character
				n++
			}
			b.WriteString(text[:n])
		default:
			if n < 0 {
				n = len(text)
			}
			if n >= 32 && !strings.Contains(text[:n], "//") {
				b.WriteString(hide(text[:n]))
			} else {
				b.WriteString(text[:n])
			}
		}
		text = text[n:]
	}
	return b.String()
}
