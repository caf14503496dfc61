package resource

import (
	"net/http"
	"strconv"
	"time"

	"github.com/grantwell/oauth/internal/wire"
)

// A Code is an error code of an OAuth specification, as it goes over the wire.
// It is an error itself, so that a hook can return one without more words.
type Code string

func (c Code) Error() string { return string(c) }

// The error codes of RFC 6749, sections 4.1.2.1 and 5.2, RFC 6750, section 3.1,
// RFC 8707, section 2, and RFC 9470, section 3.
const (
	InvalidRequest          Code = "invalid_request"
	InvalidClient           Code = "invalid_client"
	InvalidGrant            Code = "invalid_grant"
	UnauthorizedClient      Code = "unauthorized_client"
	UnsupportedGrantType    Code = "unsupported_grant_type"
	UnsupportedResponseType Code = "unsupported_response_type"
	InvalidScope            Code = "invalid_scope"
	InvalidTarget           Code = "invalid_target"
	AccessDenied            Code = "access_denied"
	ServerError             Code = "server_error"
	TemporarilyUnavailable  Code = "temporarily_unavailable"
	InvalidToken            Code = "invalid_token"
	InsufficientScope       Code = "insufficient_scope"

	InsufficientUserAuthentication Code = "insufficient_user_authentication"
)

// An Error is a refusal: what the other side may see (Code, Description, URI),
// how it is sent (Status, RetryAfter), and for the operator alone the Cause.
type Error struct {
	Code        Code
	Description string // one sentence; only %x20-21 %x23-5B %x5D-7E go over the wire
	URI         string // error_uri: a page about this error; "" for none

	// Parameter is the request parameter that is missing or wrong; "" if it is
	// none in particular. It is not sent.
	Parameter string
	// Status is the HTTP status; zero means the one that the specification names
	// for the Code (mostly 400).
	Status int
	// RetryAfter, in whole seconds on the wire, is sent with 429 and 503; zero
	// means none.
	RetryAfter time.Duration
	// Endpoint says where the request was refused: "authorize", "token", "revoke",
	// "introspect", "userinfo", "metadata", "jwks", or "api" for a protected resource.
	Endpoint string
	// Scopes are those that insufficient_scope asks for, and
	// insufficient_user_authentication along with what it asks for itself.
	Scopes []string
	// ACRValues and MaxAge are what insufficient_user_authentication asks for, as in
	// [Rule].
	ACRValues []string
	MaxAge    time.Duration
	// Cause is for logs and events. It never goes over the wire.
	Cause error
}

func (e *Error) Error() string {
	s := string(e.Code)
	if e.Description != "" {
		s += ": " + e.Description
	}
	if e.Cause != nil {
		s += " (" + e.Cause.Error() + ")"
	}
	return s
}

// Unwrap returns the Cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is the Code of e, or an Error of the same Code, so
// that errors.Is(err, InvalidGrant) works.
func (e *Error) Is(target error) bool {
	switch t := target.(type) {
	case Code:
		return e.Code == t
	case *Error:
		return e.Code == t.Code
	}
	return false
}

// HTTPStatus is Status, or where that is zero the status that the specification
// of the Code names: 401 for invalid_client, invalid_token and
// insufficient_user_authentication, 403 for insufficient_scope, 500 and 503 for the server's own failures, else 400.
func (e *Error) HTTPStatus() int {
	if e.Status != 0 {
		return e.Status
	}
	switch e.Code {
	case InvalidClient, InvalidToken, InsufficientUserAuthentication:
		return http.StatusUnauthorized
	case InsufficientScope:
		return http.StatusForbidden
	case ServerError:
		return http.StatusInternalServerError
	case TemporarilyUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// An ErrorWriter writes the status and the body of a refusal. The headers that
// belong to it (WWW-Authenticate, Cache-Control, Allow, Retry-After and those of
// CORS) are set already. It calls w.WriteHeader(e.HTTPStatus()) and then writes a
// body, with a Content-Type of its own where that is not JSON.
type ErrorWriter func(w http.ResponseWriter, r *http.Request, e *Error)

// SetHeader sets in h what goes with every refusal: Cache-Control and Pragma, for
// an answer must not be stored (RFC 6749, section 5.1), and with the status 429
// or 503 the Retry-After, rounded up to whole seconds.
func (e *Error) SetHeader(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	status := e.HTTPStatus()
	if e.RetryAfter <= 0 || status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return
	}
	seconds := int64(e.RetryAfter / time.Second)
	if e.RetryAfter%time.Second > 0 {
		seconds++
	}
	h.Set("Retry-After", strconv.FormatInt(seconds, 10))
}

// WriteError is the [ErrorWriter] of endpoints that answer in JSON: the status,
// and of error, error_description and error_uri those that are set (RFC 6749,
// section 5.2). Characters that have no place there are replaced.
func WriteError(w http.ResponseWriter, r *http.Request, e *Error) {
	b := append(make([]byte, 0, 128), '{')
	b = appendMember(b, "error", wire.Printable(string(e.Code)))
	b = appendMember(b, "error_description", wire.Printable(e.Description))
	b = appendMember(b, "error_uri", wire.URI(e.URI))
	b = append(b, '}')
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(e.HTTPStatus())
	_, _ = w.Write(b) // a client that is gone is not ours to report
}

// appendMember appends a member of a JSON object if it is set. The value holds
// nothing that JSON would have to escape.
func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":"`...)
	b = append(b, value...)
	return append(b, '"')
}
