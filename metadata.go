package oauth

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/grantwell/oauth/internal/jose"
)

// renderMetadata computes the metadata from what is served (RFC 8414, section
// 2). Nothing in it is typed twice.
func (s *Server) renderMetadata() ([]byte, error) {
	var f Fields
	f.Set("issuer", s.cfg.Issuer)
	for _, e := range [...]struct{ name, member string }{
		{nameAuthorize, "authorization_endpoint"},
		{nameToken, "token_endpoint"},
		{nameRevoke, "revocation_endpoint"},
		{nameIntrospect, "introspection_endpoint"},
		{nameUserInfo, "userinfo_endpoint"},
		{nameJWKS, "jwks_uri"},
	} {
		if at, ok := s.endpoints[e.name]; ok {
			f.Set(e.member, at.url)
		}
	}
	list := func(member string, values []string) {
		if len(values) > 0 { // RFC 8414, section 3.2: no empty arrays
			f.Set(member, values)
		}
	}
	var names, types []string
	for _, sc := range s.cfg.Scopes {
		names = append(names, sc.Name)
	}
	for _, g := range s.cfg.Grants {
		types = append(types, g.GrantType())
	}
	list("scopes_supported", names)
	list("response_types_supported", slices.Sorted(maps.Keys(s.authorizeGrants)))
	if len(s.authorizeGrants) > 0 {
		modes := []string{"fragment"}
		if s.authorizeGrants["code"] != nil {
			modes = []string{"query", "fragment"}
		}
		list("response_modes_supported", modes)
	}
	list("grant_types_supported", types)
	secret := []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}
	algorithms := publicKey.Algorithms
	if static, ok := s.cfg.Clients.(*staticClients); ok && slices.ContainsFunc(static.all, func(c Client) bool { return len(c.InsecureSharedKey) > 0 }) {
		secret, algorithms = append(secret, "client_secret_jwt"), append(slices.Clone(algorithms), sharedKey.Algorithms...)
	}
	withNone := secret
	if len(s.authorizeGrants) > 0 { // public clients have no other way in
		withNone = append(slices.Clip(secret), "none")
	}
	if _, ok := s.endpoints[nameToken]; ok {
		list("token_endpoint_auth_methods_supported", withNone)
		list("token_endpoint_auth_signing_alg_values_supported", algorithms)
	}
	if _, ok := s.endpoints[nameRevoke]; ok {
		list("revocation_endpoint_auth_methods_supported", withNone)
		list("revocation_endpoint_auth_signing_alg_values_supported", algorithms)
	}
	if _, ok := s.endpoints[nameIntrospect]; ok {
		list("introspection_endpoint_auth_methods_supported", secret)
		list("introspection_endpoint_auth_signing_alg_values_supported", algorithms)
	}
	if s.authorizeGrants["code"] != nil {
		list("code_challenge_methods_supported", []string{"S256"})
	}
	var resources []string
	for _, r := range s.cfg.Resources {
		if strings.HasPrefix(r.Identifier, "https://") { // RFC 9728, section 1.2: an https URL
			resources = append(resources, r.Identifier)
		}
	}
	list("protected_resources", resources) // RFC 9728, section 4
	if len(s.authorizeGrants) > 0 {
		list("acr_values_supported", s.cfg.ACRValues)
	}
	if len(s.authorizeGrants) > 0 && !s.cfg.InsecureOmitIssuer {
		f.Set("authorization_response_iss_parameter_supported", true) // RFC 9207, section 3
	}
	return f.appendJSON(nil)
}

func (s *Server) serveMetadata(w http.ResponseWriter, r *http.Request) *refusal {
	if err := s.guard(w, r, nameMetadata, ""); err != nil {
		return &refusal{Error: err}
	}
	s.writeDocument(w, s.metadata, "public, max-age=300")
	return nil
}

func (s *Server) serveJWKS(w http.ResponseWriter, r *http.Request) *refusal {
	if err := s.guard(w, r, nameJWKS, ""); err != nil {
		return &refusal{Error: err}
	}
	body := s.jwks
	if body == nil {
		keys, err := s.keys(r.Context())
		if err == nil {
			body, err = jose.JWKS(keys)
		}
		if err != nil {
			return &refusal{Error: unavailable(fmt.Errorf("keys: %w", err))}
		}
	}
	// Package keystore publishes a key for at least twice this long before it signs,
	// and a key that was retired must not come out of a cache that is older.
	s.writeDocument(w, body, "public, max-age=300, must-revalidate")
	return nil
}

// writeDocument answers with a public document that caches may keep for a while.
func (s *Server) writeDocument(w http.ResponseWriter, body []byte, keep string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", keep)
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(body) //nolint:errcheck // the client is gone: there is nobody to tell
}
