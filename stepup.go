package oauth

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// UnmetAuthenticationRequirements says that the resource owner was not authenticated as
// the client asked (RFC 9470, section 5).
const UnmetAuthenticationRequirements ErrorCode = "unmet_authentication_requirements"

// maxMaxAge is the greatest max_age that is told apart from a greater one.
const maxMaxAge = 100 * 366 * 24 * time.Hour

// readStepUp reads acr_values and max_age (RFC 9470, section 4; OpenID Connect
// Core, section 3.1.2.1).
func (s *Server) readStepUp(a *authorizeRequest) *Error {
	a.maxAge, a.acrValues = -1, strings.Fields(a.params.Get("acr_values"))
	if text := a.params.Get("max_age"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return &Error{Code: InvalidRequest, Description: "max_age is not a number of seconds", Parameter: "max_age"}
		}
		a.maxAge = time.Duration(min(seconds, uint64(maxMaxAge/time.Second))) * time.Second
	}
	if len(s.cfg.ACRValues) == 0 || len(a.acrValues) == 0 {
		return nil
	}
	known := slices.DeleteFunc(slices.Clone(a.acrValues), func(v string) bool { return !slices.Contains(s.cfg.ACRValues, v) })
	if a.acrValues = known; len(known) == 0 {
		return &Error{Code: UnmetAuthenticationRequirements, Description: "None of these authentication contexts is supported", Parameter: "acr_values"}
	}
	return nil
}

// ACRValues are the authentication contexts that the client asks for, the best
// one first (RFC 9470, section 4); of those, where [Config].ACRValues is set, that
// this server knows. Authenticate the user in one of these ways and say which in
// [Approval].ACR, or the client gets an error.
func (in *Interaction) ACRValues() []string { return slices.Clone(in.request.acrValues) }

// MaxAge is how long before this request the resource owner may have been
// authenticated at the earliest, to the second; ok is false if the client does not
// say. Authenticate the user again where it was longer ago, and say when in
// [Approval].AuthTime, or the client gets an error.
func (in *Interaction) MaxAge() (age time.Duration, ok bool) {
	return max(in.request.maxAge, 0), in.request.maxAge >= 0
}

// checkStepUp holds what the approval says of the authentication against the
// request.
func (in *Interaction) checkStepUp(ap *Approval) *Error {
	a := in.request
	unmet := func(why string) *Error {
		return &Error{Code: UnmetAuthenticationRequirements, Description: "The user was not authenticated as asked for", Cause: errors.New(why)}
	}
	if a.maxAge >= 0 {
		// Counted from the request, to the second: the user may take time to decide.
		if ap.AuthTime.IsZero() || ap.AuthTime.Unix() < in.began.Add(-a.maxAge).Unix() {
			return unmet("the approval's AuthTime is missing, or longer ago than max_age")
		}
	}
	if len(in.server.cfg.ACRValues) > 0 && len(a.acrValues) > 0 && !slices.Contains(a.acrValues, ap.ACR) {
		return unmet("the approval's ACR is none of acr_values")
	}
	return nil
}
