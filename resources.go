package oauth

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/grantwell/oauth/internal/form"
)

// A Resource is a protected resource that tokens can be restricted to (RFC 8707).
type Resource struct {
	// Identifier is an absolute URI without fragment; it becomes the audience. Required.
	Identifier string
	// Scopes are those that mean something there: a token for this resource alone has
	// no others, and a client that may have none of them gets no token for it. nil: all,
	// and every client may name it.
	Scopes []string
	// AccessToken is the format that the resource can check. Of two resources with
	// different ones no single token can be had, nor of one whose [JWT].Claims are its
	// own and any other: that is invalid_target. nil: what [Policy] or [Config] say.
	AccessToken Format
	// Access is how long a token for it lives at most. Zero: what Policy says.
	Access time.Duration
}

func (s *Server) checkResources(fault func(string, ...any)) {
	for i, r := range s.cfg.Resources {
		// RFC 8707, section 2: an absolute URI without a fragment.
		if u, err := url.Parse(r.Identifier); err != nil || !u.IsAbs() || strings.Contains(r.Identifier, "#") {
			fault("Resources[%d].Identifier is not an absolute URI without fragment", i)
		}
		if s.resource(r.Identifier) != &s.cfg.Resources[i] {
			fault("Resources[%d].Identifier %q is there twice", i, r.Identifier)
		}
		for _, n := range r.Scopes {
			if !s.scopes.known(n) {
				fault("Resources[%d].Scopes names the unknown scope %q", i, n)
			}
		}
		if r.Access != 0 && (r.Access < time.Second || r.Access > maxAccess) {
			fault("Resources[%d].Access is %v: it is 1s to %v", i, r.Access, maxAccess)
		}
	}
}

// resource is the row of a resource; nil if there is none.
func (s *Server) resource(identifier string) *Resource {
	for i := range s.cfg.Resources {
		if s.cfg.Resources[i].Identifier == identifier {
			return &s.cfg.Resources[i]
		}
	}
	return nil
}

// knownResource reports whether this server makes tokens for a resource: itself,
// and those of Config.
func (s *Server) knownResource(identifier string) bool {
	return identifier == s.cfg.Issuer || s.resource(identifier) != nil
}

// requestedResources reads the resource parameter of a client's request (RFC 8707,
// section 2).
func (s *Server) requestedResources(c *Client, v *form.Values) ([]string, *Error) {
	var names []string
	for _, n := range v.All("resource") {
		if !s.knownResource(n) {
			return nil, unknownResource()
		}
		if r := s.resource(n); r != nil && !s.scopes.meet(c.Scopes, r.Scopes) {
			// Named with another, it would be an audience of that one's token.
			return nil, &Error{Code: InvalidTarget, Description: "The client may have no scope of the resource", Parameter: "resource"}
		}
		names = append(names, n)
	}
	return unique(names), nil
}

func unknownResource() *Error {
	return &Error{Code: InvalidTarget, Description: "The resource is unknown", Parameter: "resource"}
}

// meet reports whether a client that holds some scopes may have one that means
// something at a resource; where the resource has no scopes of its own all do.
func (t *scopes) meet(held, allowed []string) bool {
	return len(allowed) == 0 || slices.ContainsFunc(t.rows, func(r Scope) bool {
		return t.covers(held, []string{r.Name}) && t.covers(allowed, []string{r.Name})
	})
}

// unique is a list without what it has already had.
func unique(names []string) []string {
	var once []string
	for _, n := range names {
		if !slices.Contains(once, n) {
			once = append(once, n)
		}
	}
	return once
}

// audience is what a token for these resources is meant for: without any, the
// server itself.
func (s *Server) audience(resources []string) []string {
	if len(resources) == 0 {
		return []string{s.cfg.Issuer}
	}
	return resources
}

// aim fits an access token to its resources: scopes that mean something there, a
// life that is not too long for any of them, and the one format that all of them
// can check. life is what Policy says.
func (s *Server) aim(t *accessToken, resources []string, p Policy) (life time.Duration, f Format, err *Error) {
	known, gone := resources, func(n string) bool { return !s.knownResource(n) }
	if slices.ContainsFunc(resources, gone) { // approved, and not known any more: nobody could say what limits it had
		if known = slices.DeleteFunc(slices.Clone(resources), gone); len(known) == 0 {
			return 0, nil, unknownResource()
		}
	}
	t.audience, life = s.audience(known), p.Access
	var allowed []string
	restricted, open := false, false
	for _, n := range t.audience {
		r := s.resource(n)
		if r == nil { // the server itself
			open = true
			continue
		}
		restricted, open = true, open || r.Scopes == nil
		allowed = append(allowed, r.Scopes...)
		if r.Access != 0 {
			life = min(life, r.Access)
		}
		// Two Claims cannot be told apart, and one resource must not take what is said for another for its own.
		j, _ := r.AccessToken.(JWT)
		if f != nil && r.AccessToken != nil && !sameFormat(f, r.AccessToken) || j.Claims != nil && len(known) > 1 {
			return 0, nil, &Error{Code: InvalidTarget, Description: "These resources need a token each", Parameter: "resource"}
		}
		if f == nil {
			f = r.AccessToken
		}
	}
	if restricted && !open {
		// RFC 8707, section 2.2: the scope of the token is that which applies to the target.
		kept := slices.DeleteFunc(slices.Clone(t.scopes), func(n string) bool { return !s.scopes.covers(allowed, []string{n}) })
		if len(kept) == 0 && len(t.scopes) > 0 {
			return 0, nil, &Error{Code: InvalidScope, Description: "No scope of the request means anything at the resource", Parameter: "scope"}
		}
		t.scopes = kept
	}
	for _, choice := range [...]Format{p.AccessToken, s.cfg.AccessToken} {
		if f == nil {
			f = choice
		}
	}
	return life, f, nil
}
