package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/internal/form"
)

func (s *Server) checkRequired(fault func(string, ...any)) {
	if s.cfg.Storage == nil {
		fault("Storage is missing")
	}
	if s.cfg.Clients == nil {
		fault("Clients is missing")
	}
	if len(s.cfg.Grants) == 0 {
		fault("Grants is empty: list what the server serves")
	}
	if err := checkIssuer(s.cfg.Issuer); err != nil {
		fault("Issuer %v", err)
	}
	if len(s.cfg.Realm) > 255 || !utf8.ValidString(s.cfg.Realm) || strings.ContainsRune(s.cfg.Realm, 0) {
		fault("Realm is longer than 255 bytes or not text")
	}
	if s.cfg.HandleLifetime < time.Second || s.cfg.HandleLifetime > maxHandle {
		fault("HandleLifetime is %v: it is 1s to %v", s.cfg.HandleLifetime, maxHandle)
	}
	// A token without a record meets no Realm to compare: the key is the realm's own.
	ring, err := derive.NewRing(s.cfg.Issuer, s.cfg.Realm, s.cfg.Secrets)
	if err != nil {
		fault("Secrets: %v", err)
	}
	s.ring = ring
	for i, g := range s.cfg.Guards {
		if g == nil {
			fault("Guards[%d] is nil", i)
		}
	}
}

// checkIssuer: RFC 8414, section 2.
func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case issuer == "":
		return errors.New("is missing")
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" || u.User != nil:
		return errors.New("is not an absolute URL with a host")
	case strings.ContainsAny(issuer, "?#"):
		return errors.New("has a query or a fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return errors.New("is not https (http is for loopback addresses alone)")
	case strings.HasSuffix(issuer, "/"):
		return errors.New("ends with a slash: clients compare it byte by byte")
	case u.Path != "" && u.EscapedPath() != u.Path || strings.Contains(u.Path, "//") || strings.Contains(u.Path, "/."):
		return errors.New("has a path that can be written in several ways")
	}
	for i := range len(issuer) {
		if c := issuer[i]; c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '\'' || c == '$' || c == '<' || c == '>' {
			return errors.New("has a character that is no part of a plain URL")
		}
	}
	return nil
}

func (s *Server) checkScopes(fault func(string, ...any)) {
	s.scopes = newScopes(s.cfg.Scopes)
	seen := map[string]bool{}
	for i, sc := range s.cfg.Scopes {
		if !scopeToken(sc.Name) {
			fault("Scopes[%d].Name is not a scope token (RFC 6749, section 3.3)", i)
		}
		if seen[sc.Name] {
			fault("Scopes[%d].Name %q is there twice", i, sc.Name)
		}
		seen[sc.Name] = true
		for _, in := range sc.Includes {
			if !s.scopes.known(in) {
				fault("Scopes[%d].Includes names the unknown scope %q", i, in)
			}
		}
	}
}

func (s *Server) checkACR(fault func(string, ...any)) {
	for i, v := range s.cfg.ACRValues {
		if v == "" || strings.ContainsAny(v, " \t\r\n") {
			fault("ACRValues[%d] is empty or has a space", i)
		}
	}
}

func (s *Server) checkGrants(fault func(string, ...any)) {
	s.tokenGrants = map[string]TokenGrant{}
	s.authorizeGrants = map[string][]AuthorizeGrant{}
	seen := map[string]bool{}
	for i, g := range s.cfg.Grants {
		if g == nil || g.GrantType() == "" {
			fault("Grants[%d] has no grant type", i)
			continue
		}
		name := g.GrantType()
		if seen[name] {
			fault("Grants[%d]: %q is there twice", i, name)
		}
		seen[name] = true
		t, isToken := g.(TokenGrant)
		if isToken {
			s.tokenGrants[name] = t
		}
		a, isAuthorize := g.(AuthorizeGrant)
		if isAuthorize {
			word := a.ResponseType()
			if word == "" || strings.Contains(word, " ") || s.authorizeGrants[word] != nil {
				fault("Grants[%d]: the response type %q is not one word, or another grant has it", i, word)
			}
			s.authorizeGrants[word] = []AuthorizeGrant{a}
		}
		if !isToken && !isAuthorize {
			fault("Grants[%d]: %q is neither a TokenGrant nor an AuthorizeGrant", i, name)
		}
	}
	if len(s.authorizeGrants) > 0 && s.cfg.Interact == nil {
		fault("Interact is missing: a grant uses the authorization endpoint")
	}
}

// checkKeys completes static keys.
func (s *Server) checkKeys(fault func(string, ...any)) {
	static, ok := s.cfg.Keys.(staticKeys)
	if !ok {
		return
	}
	keys, err := joseKeys(static)
	if err != nil {
		fault("Keys: %v", err)
	}
	s.staticKeys = keys
}

// checkEndpoints works out where the endpoints are.
func (s *Server) checkEndpoints(fault func(string, ...any)) {
	s.endpoints = map[string]endpoint{}
	issuer, err := url.Parse(s.cfg.Issuer)
	if err != nil {
		return // told already
	}
	browser := len(s.authorizeGrants) > 0
	taken := map[string]string{}
	for _, e := range [...]struct {
		name, field, value, zero string
		served                   bool
	}{
		{nameAuthorize, "Authorize", s.cfg.Endpoints.Authorize, "/oauth/authorize", browser},
		{nameToken, "Token", s.cfg.Endpoints.Token, "/oauth/token", len(s.tokenGrants) > 0},
		{nameRevoke, "Revoke", s.cfg.Endpoints.Revoke, "/oauth/revoke", true},
		{nameIntrospect, "Introspect", s.cfg.Endpoints.Introspect, "/oauth/introspect", true},
		{nameUserInfo, "UserInfo", s.cfg.Endpoints.UserInfo, "/oauth/userinfo", browser},
		{nameJWKS, "JWKS", s.cfg.Endpoints.JWKS, "/oauth/jwks", s.cfg.Keys != nil},
	} {
		if e.value == "-" || (!e.served && e.value == "") {
			continue
		}
		if !e.served {
			fault("Endpoints.%s is set, but nothing is served there: a grant or Keys is missing", e.field)
			continue
		}
		if e.value == "" {
			e.value = e.zero
		}
		at, err := resolve(s.cfg.Issuer, issuer.Path, e.value)
		if err != nil {
			fault("Endpoints.%s %v", e.field, err)
			continue
		}
		if other := taken[at.path]; other != "" {
			fault("Endpoints.%s has the path of Endpoints.%s", e.field, other)
		}
		taken[at.path] = e.field
		s.endpoints[e.name] = at
	}
	// RFC 8414, section 3.1: between the host and the path of the issuer.
	path := "/.well-known/oauth-authorization-server" + issuer.Path
	if other := taken[path]; other != "" {
		fault("Endpoints.%s has the path of the metadata", other)
	}
	s.endpoints[nameMetadata] = endpoint{path: path}
}

func resolve(issuer, base, value string) (endpoint, error) {
	if strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "//") {
		if strings.ContainsAny(value, "?# ") {
			return endpoint{}, errors.New("is not a plain path")
		}
		return endpoint{url: issuer + value, path: base + value}, nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Path == "" || checkIssuer(value) != nil {
		return endpoint{}, errors.New("is neither a path nor an https URL with one")
	}
	return endpoint{url: value, path: u.Path}, nil
}

func (s *Server) checkDecoder(fault func(string, ...any)) {
	for _, name := range s.cfg.Decode.from.Query {
		if name == "" || name == "client_id" || form.Secret(name) {
			fault("Decode: Query(%q) would take what names or proves the client, or is a credential, from a URL", name)
		}
	}
	for _, h := range s.cfg.Decode.from.Headers {
		if h.Name == "" || h.Parameter == "" || http.CanonicalHeaderKey(h.Name) == "Authorization" {
			fault("Decode: Header(%q, %q) has no name, or is the Authorization header", h.Name, h.Parameter)
		}
	}
}

func (s *Server) checkClients(fault func(string, ...any)) {
	static, ok := s.cfg.Clients.(*staticClients)
	if !ok {
		return
	}
	types := map[string]bool{}
	for _, g := range s.cfg.Grants {
		if g != nil {
			types[g.GrantType()] = true
		}
	}
	if len(static.byID) != len(static.all) {
		fault("Clients: an ID is there twice")
	}
	for i := range static.all {
		c := &static.all[i]
		for _, err := range s.checkClient(c, types) {
			fault("Clients: %q: %v", c.ID, err)
		}
		for _, t := range slices.Sorted(maps.Keys(types)) {
			if s.cfg.Policy == nil || !c.May(t) {
				continue
			}
			if _, err := s.policy(context.Background(), PolicyRequest{Client: c, GrantType: t, Scopes: c.Scopes}); err != nil {
				fault("Policy for client %q, grant %q: %v", c.ID, t, err.Cause)
			}
		}
	}
}

// checkClient says everything that is wrong with a client of this server.
func (s *Server) checkClient(c *Client, types map[string]bool) []error {
	faults := c.check()
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, n := range c.Scopes {
		if !s.scopes.known(n) {
			fault("Scopes names the unknown scope %q", n)
		}
	}
	for _, t := range c.Grants {
		if !types[t] {
			fault("Grants names %q, which is not in Config.Grants", t)
		}
	}
	for _, r := range c.Resources {
		if s.resource(r) == nil && r != s.cfg.Issuer {
			fault("Resources names %q, which is not in Config.Resources", r)
		}
	}
	if c.Grants == nil && !c.Introspect && !types[authorizationCode] && !types[refreshToken] {
		fault("Grants is nil, and Config.Grants has neither authorization_code nor refresh_token")
	}
	for _, g := range s.cfg.Grants {
		if a, ok := g.(AuthorizeGrant); ok && slices.Contains(c.Grants, a.GrantType()) && len(c.RedirectURIs) == 0 {
			fault("RedirectURIs is empty, and %q needs one", a.GrantType())
		}
	}
	return faults
}

// check says everything that is wrong with a client of any server.
func (c *Client) check() (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.ID == "" || len(c.ID) > maxClientID {
		fault("ID is empty or longer than %d bytes", maxClientID)
	}
	switch {
	case c.Public && len(c.Secrets) > 0:
		fault("Secrets of a public client")
	case !c.Public && len(c.Secrets) == 0 && len(c.JWKS) == 0 && c.JWKSURI == "" && len(c.InsecureSharedKey) == 0:
		fault("Secrets is empty: a confidential client could not authenticate")
	}
	if len(c.Resources) > 0 && !c.Introspect {
		fault("Resources is for a client with Introspect")
	}
	c.checkKeys(fault)
	for i, h := range c.Secrets {
		if err := checkHash(h); err != nil {
			fault("Secrets[%d] %v", i, err)
		}
	}
	for i, u := range c.RedirectURIs {
		if err := checkRedirect(u); err != nil {
			fault("RedirectURIs[%d] %v", i, err)
		}
	}
	return faults
}
