package oauth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/grantwell/oauth/internal/wire"
	"github.com/grantwell/oauth/resource"
)

// What both sides of an access token speak of is declared in package resource.
type (
	Error       = resource.Error       // a refusal, as it goes over the wire and into the log
	ErrorCode   = resource.Code        // an error code of an OAuth specification; an error itself
	ErrorWriter = resource.ErrorWriter // writes the status and body of a refusal
	Guard       = resource.Guard       // may refuse a request before anything is compared or changed
	Call        = resource.Call        // a request as a Guard sees it
	Token       = resource.Token       // what is known of a live access token
)

// The error codes that a host's hooks return.
const (
	InvalidRequest          = resource.InvalidRequest
	InvalidClient           = resource.InvalidClient
	InvalidGrant            = resource.InvalidGrant
	UnauthorizedClient      = resource.UnauthorizedClient
	UnsupportedGrantType    = resource.UnsupportedGrantType
	UnsupportedResponseType = resource.UnsupportedResponseType
	InvalidScope            = resource.InvalidScope
	InvalidTarget           = resource.InvalidTarget
	AccessDenied            = resource.AccessDenied
	ServerError             = resource.ServerError
	TemporarilyUnavailable  = resource.TemporarilyUnavailable
)

// retryAfter is what a client is told to wait when the store has failed.
const retryAfter = 2 * time.Second

// missing is the refusal of a request that lacks a required parameter. An empty
// value counts as none (RFC 6749, section 3.1).
func missing(parameter string) *Error {
	return &Error{Code: InvalidRequest, Description: "Missing required parameter: " + parameter, Parameter: parameter}
}

func refuse(code ErrorCode, description string) *Error {
	return &Error{Code: code, Description: description}
}

// unavailable is the answer to a failure of the store, the registry or the
// signer: never a protocol error, never a success.
func unavailable(cause error) *Error {
	return &Error{Code: TemporarilyUnavailable, Description: "The server cannot answer now, try again",
		RetryAfter: retryAfter, Cause: cause}
}

// broken is the answer to a failure that a retry will not mend: a hook that
// breaks its contract, a panic.
func broken(cause error) *Error {
	return &Error{Code: ServerError, Description: "The server met an unexpected condition", Cause: cause}
}

// unsigned is the answer where an access token could not be made.
func unsigned(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return unavailable(fmt.Errorf("signing an access token: %w", err))
}

// asError makes a refusal of whatever a hook returned: an *Error or an
// ErrorCode is what it says, anything else is a failure that may pass.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		if e == nil { // a nil pointer that was returned as an error
			return unavailable(errors.New("a hook returned a nil *Error as its error"))
		}
		return e
	}
	if c, ok := errors.AsType[ErrorCode](err); ok {
		return &Error{Code: c, Cause: wrapped(err, c)}
	}
	return unavailable(err)
}

// wrapped is the text around a bare code, if there is any.
func wrapped(err error, c ErrorCode) error {
	if err == error(c) {
		return nil
	}
	return err
}

// shown is a text from a request as it may stand in an event or a log: up to a
// separator, for behind one is what a client took for the next parameter, a secret
// perhaps.
func shown(text string) string {
	if i := strings.IndexAny(text, ";&"); i >= 0 {
		text = text[:i+1]
	}
	return wire.Printable(text[:min(len(text), maxShown)])
}

const maxShown = 256 // bytes
