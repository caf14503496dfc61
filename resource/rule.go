package resource

import (
	"errors"
	"slices"
	"time"
)

// A Rule says what a route asks of a token. The zero Rule asks for any live token
// for the resource. Where a scope is asked for, one that contains it will do as
// well ([Token.Includes], [API.Includes]).
type Rule struct {
	// Scopes are all required.
	Scopes []string
	// AnyOf are scopes of which one is enough; none: nothing more than Scopes.
	AnyOf []string
	// MaxAge is how long ago the user may have been authenticated, at most, in whole
	// seconds; zero: however long; negative: no token is good enough. A token that does
	// not say when is refused.
	MaxAge time.Duration
	// ACRValues are the authentication context classes of which the token must have
	// one, the best first; none: whatever it has.
	ACRValues []string
}

// Why, for the operator.
var (
	errMaxAge = errors.New("the user was authenticated too long ago, or the token does not say when")
	errACR    = errors.New("the user was authenticated in another class, or the token does not say in which")
)

// A demand is a Rule, prepared once.
type demand struct {
	all, any []wanted
	maxAge   time.Duration
	acr      []string
	// asked are the scopes that a client is told to get.
	asked []string
	// challenge is the one without an error: the front of all the others.
	challenge string
}

// wanted are a scope and all that contain it.
type wanted []string

func (w wanted) in(t *Token) bool { return slices.ContainsFunc(w, t.Has) }

func (a *API) demand(rule Rule) *demand {
	d := &demand{maxAge: rule.MaxAge, acr: slices.Clone(rule.ACRValues), asked: slices.Clone(rule.Scopes)}
	for _, s := range rule.Scopes {
		d.all = append(d.all, containing(a.Includes, s))
	}
	for _, s := range rule.AnyOf {
		d.any = append(d.any, containing(a.Includes, s))
	}
	// RFC 6750, section 3: scope has the scopes that are necessary. One of AnyOf is,
	// and the first is what the host would rather have.
	if len(rule.AnyOf) > 0 && !slices.Contains(d.asked, rule.AnyOf[0]) {
		d.asked = append(d.asked, rule.AnyOf[0])
	}
	d.challenge = a.challenge(d.asked)
	return d
}

// containing returns a scope and those that contain it, however deep.
func containing(includes map[string][]string, scope string) []string {
	found := []string{scope}
	for i := 0; i < len(found); i++ {
		for outer, inner := range includes {
			if slices.Contains(inner, found[i]) && !slices.Contains(found, outer) {
				found = append(found, outer)
			}
		}
	}
	return found
}

// met says what t lacks, nil for nothing. The authentication comes first, for its
// challenge names the scopes as well: a client gets both in one go.
func (d *demand) met(t *Token, now time.Time) *Error {
	why := error(nil)
	switch {
	case d.maxAge < 0 || d.maxAge > 0 && (t.AuthTime.IsZero() || now.Sub(t.AuthTime) > d.maxAge):
		why = errMaxAge
	case len(d.acr) > 0 && (t.ACR == "" || !slices.Contains(d.acr, t.ACR)):
		why = errACR
	}
	if why != nil {
		return &Error{
			Code: InsufficientUserAuthentication, Description: wordsStepUp,
			ACRValues: slices.Clone(d.acr), MaxAge: d.maxAge, Cause: why,
		}
	}
	for _, w := range d.all {
		if !w.in(t) {
			return &Error{Code: InsufficientScope, Description: wordsScope}
		}
	}
	if len(d.any) > 0 && !slices.ContainsFunc(d.any, func(w wanted) bool { return w.in(t) }) {
		return &Error{Code: InsufficientScope, Description: wordsScope}
	}
	return nil
}
