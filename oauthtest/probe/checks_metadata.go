package probe

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// endpointMembers are the members of the metadata that name endpoints.
var endpointMembers = [...]struct{ name, member string }{
	{"authorize", "authorization_endpoint"},
	{"token", "token_endpoint"},
	{"revoke", "revocation_endpoint"},
	{"introspect", "introspection_endpoint"},
	{"userinfo", "userinfo_endpoint"},
	{"jwks", "jwks_uri"},
}

// discover reads the metadata and finds the endpoints.
func (s *session) discover() (err error) {
	if at := s.Endpoints.Metadata; at != "-" {
		s.metadataURL = site(s.base) + "/.well-known/oauth-authorization-server" + strings.TrimSuffix(s.base.EscapedPath(), "/")
		if at != "" {
			s.metadataURL = s.absolute(at)
		}
		if s.metadata, err = s.plainGet(s.metadataURL); err != nil {
			return fmt.Errorf("probe: %w", err)
		}
		if oidc := strings.TrimSuffix(s.URL, "/") + "/.well-known/openid-configuration"; at == "" && !s.described() {
			other, err := s.plainGet(oidc) // OpenID Connect Discovery, section 4
			if err == nil && other.status == http.StatusOK && other.json != nil {
				s.metadata, s.metadataURL = other, oidc
			}
		}
		if s.described() {
			s.members = s.metadata.json
			s.issuer, _ = s.members["issuer"].(string)
		}
	} else if _, err := s.plainGet(s.URL); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	given := map[string]string{"authorize": s.Endpoints.Authorize, "token": s.Endpoints.Token, "revoke": s.Endpoints.Revoke,
		"introspect": s.Endpoints.Introspect, "userinfo": s.Endpoints.UserInfo, "jwks": s.Endpoints.JWKS}
	for _, e := range endpointMembers {
		at, _ := s.members[e.member].(string)
		if s.members == nil && s.Prefix != "" && e.name != "jwks" {
			at = strings.TrimSuffix(s.Prefix, "/") + "/" + e.name
		}
		if given[e.name] != "" {
			at = given[e.name]
		}
		if at != "" {
			s.ends[e.name] = s.absolute(at)
		}
	}
	return nil
}

func (s *session) described() bool {
	return s.metadata.status == http.StatusOK && s.metadata.json != nil
}

func (s *session) plainGet(at string) (*answer, error) {
	r, err := http.NewRequestWithContext(s.ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("the URL %q cannot be read", at)
	}
	return s.try(r)
}

// site is scheme and host as they are written.
func site(u *url.URL) string { return u.Scheme + "://" + u.Host }

func (s *session) absolute(at string) string {
	if strings.HasPrefix(at, "/") {
		return site(s.base) + at
	}
	return at
}

var metadataChecks = []check{
	{Check{"issuer-https", "The issuer is an https URL, or on this machine", "RFC 8414, section 2", High,
		"Serve it by https; plain http is for loopback addresses alone."}, (*session).issuerHTTPS},
	{Check{"metadata-served", "The metadata is where clients look for it", "RFC 8414, section 3.1", Medium,
		"Route the well-known path at the root of the host, with the path of the issuer behind it, to MetadataHandler or to what Routes lists."}, (*session).metadataServed},
	{Check{"metadata-issuer", "The metadata names the issuer that was asked, byte for byte", "RFC 8414, section 3.3", High,
		"Set Config.Issuer to the URL that clients are given, without a slash more or less."}, (*session).metadataIssuer},
	{Check{"metadata-endpoints", "The metadata names endpoints of the issuer's origin", "RFC 8414, section 2", High,
		"Set Config.Issuer and Config.Endpoints to the public URLs; list other origins in the target if they are meant."}, (*session).metadataEndpoints},
	{Check{"metadata-prefix", "Every endpoint is below the prefix that it is mounted at", "RFC 8414, section 2", Medium,
		"Set Config.Endpoints to the paths where the handlers are mounted."}, (*session).metadataPrefix},
	{Check{"metadata-host", "Host and X-Forwarded headers do not change the metadata", "RFC 8414, section 6.2", High,
		"Compute URLs from the configured issuer, never from the request."}, (*session).metadataHost},
	{Check{"metadata-members", "The metadata has the members that clients require", "RFC 8414, section 2", Medium,
		"Publish what is served: response_types_supported always, lists never null nor empty."}, (*session).metadataMembers},
	{Check{"metadata-pkce", "S256 is advertised, and plain is not", "RFC 9700, section 2.1.1", Medium,
		"Publish code_challenge_methods_supported with S256 alone."}, (*session).metadataPKCE},
	{Check{"metadata-grants", "Neither the password grant nor tokens in redirects are advertised", "RFC 9700, section 2.4", Medium,
		"Take the password grant and the implicit grant out of the server."}, (*session).metadataGrants},
	{Check{"endpoints-mounted", "Every endpoint that is named answers", "RFC 8414, section 3", High,
		"Mount the handler at the path that the metadata names, with its prefix: Server.Routes lists path and handler."}, (*session).endpointsMounted},
	{Check{"jwks-public", "The JWKS has public keys alone", "RFC 7517, section 4", High,
		"Publish public keys only; replace the keys that were published."}, (*session).jwksPublic},
	{Check{"cors", "Scripts of other origins can read metadata, token, revocation and userinfo", "RFC 9700, section 2.6", Low,
		"Let OPTIONS through to the handlers and answer with Access-Control-Allow-Origin; leave the check out where no browser client is meant."}, (*session).cors},
	{Check{"cors-credentials", "No origin is allowed to send credentials", "RFC 9700, section 2.6", High,
		"Never send Access-Control-Allow-Credentials from these endpoints."}, (*session).corsCredentials},
	{Check{"cors-authorize", "The authorization endpoint has no CORS headers", "RFC 9700, section 2.6", Medium,
		"Keep the CORS middleware off the authorization endpoint."}, (*session).corsAuthorize},
}

func (s *session) needMetadata() {
	if s.members == nil {
		cannot("there is no metadata")
	}
}

// loopback says whether a host is this machine.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (s *session) issuerHTTPS() outcome {
	if s.base.Scheme == "http" && !loopback(s.base.Hostname()) {
		return found("%s is plain http", plain(s.base))
	}
	return pass("%s", plain(s.base))
}

func (s *session) metadataServed() outcome {
	switch {
	case s.metadata == nil:
		return notRun("the target says that there is no metadata")
	case !s.described():
		return found("%s answers %d", s.metadataURL, s.metadata.status)
	case !s.metadata.is("application/json"):
		return found("%s is %q, not application/json", s.metadataURL, s.metadata.header.Get("Content-Type"))
	}
	return pass("%s", s.metadataURL)
}

func (s *session) metadataIssuer() outcome {
	s.needMetadata()
	if s.issuer != s.URL {
		return found("the issuer is %q; asked was %q", s.issuer, s.URL)
	}
	return pass("%s", s.issuer)
}

func (s *session) metadataEndpoints() outcome {
	s.needMetadata()
	var bad []string
	for _, name := range slices.Sorted(maps.Keys(s.members)) {
		if !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
			continue
		}
		at, _ := s.members[name].(string)
		u, err := url.Parse(at)
		switch {
		case err != nil || u.Host == "" || u.Fragment != "":
			bad = append(bad, fmt.Sprintf("%s is %q, no absolute URL", name, at))
		case !s.allowed(u):
			bad = append(bad, fmt.Sprintf("%s is on another origin: %s", name, plain(u)))
		}
	}
	return verdict(bad, "all on %s", site(s.base))
}

func (s *session) metadataPrefix() outcome {
	if s.Prefix == "" {
		return notRun("the target has no prefix")
	}
	s.needMetadata()
	var bad []string
	for _, e := range endpointMembers {
		at, _ := s.members[e.member].(string)
		if u, err := url.Parse(at); at != "" && err == nil && !strings.HasPrefix(u.Path, strings.TrimSuffix(s.Prefix, "/")+"/") {
			bad = append(bad, fmt.Sprintf("%s is %s", e.member, plain(u)))
		}
	}
	return verdict(bad, "all below %s", s.Prefix)
}

func (s *session) metadataHost() outcome {
	s.needMetadata()
	for _, header := range []string{"Host", "X-Forwarded-Host", "Forwarded"} {
		r := s.request(http.MethodGet, s.metadataURL, "")
		switch header {
		case "Host":
			r.Host = "attacker.example"
		case "Forwarded":
			r.Header.Set(header, "host=attacker.example;proto=http")
		default:
			r.Header.Set(header, "attacker.example")
			r.Header.Set("X-Forwarded-Proto", "http")
		}
		a, err := s.try(r)
		if err == nil && strings.Contains(a.body, "attacker.example") { // a server may refuse such a host in any way
			return found("with %s the metadata names attacker.example", header)
		}
	}
	return pass("the same with Host, X-Forwarded-Host and Forwarded of another host")
}

func (s *session) strings(member string) (list []string) {
	values, _ := s.members[member].([]any)
	for _, v := range values {
		if text, ok := v.(string); ok {
			list = append(list, text)
		}
	}
	return list
}

func (s *session) metadataMembers() outcome {
	s.needMetadata()
	var bad []string
	for _, name := range slices.Sorted(maps.Keys(s.members)) {
		if values, ok := s.members[name].([]any); strings.HasSuffix(name, "_supported") && !strings.HasSuffix(name, "parameter_supported") &&
			(s.members[name] == nil || ok && len(values) == 0) {
			bad = append(bad, name+" is null or empty")
		}
	}
	if s.members["response_types_supported"] == nil && s.members["authorization_endpoint"] != nil {
		bad = append(bad, "response_types_supported is missing")
	}
	if s.members["token_endpoint"] == nil {
		bad = append(bad, "token_endpoint is missing")
	}
	return verdict(bad, "%d members", len(s.members))
}

func (s *session) metadataPKCE() outcome {
	s.needMetadata()
	if s.members["authorization_endpoint"] == nil {
		return notRun("there is no authorization endpoint")
	}
	methods := s.strings("code_challenge_methods_supported")
	if !slices.Contains(methods, "S256") || slices.Contains(methods, "plain") {
		return found("code_challenge_methods_supported is %q", methods)
	}
	return pass("%q", methods)
}

func (s *session) metadataGrants() outcome {
	s.needMetadata()
	var bad []string
	for _, g := range []string{"password", "implicit"} {
		if slices.Contains(s.strings("grant_types_supported"), g) {
			bad = append(bad, "grant_types_supported has "+g)
		}
	}
	for _, t := range s.strings("response_types_supported") {
		if slices.Contains(strings.Fields(t), "token") {
			bad = append(bad, fmt.Sprintf("response_types_supported has %q", t))
		}
	}
	return verdict(bad, "%q", s.strings("grant_types_supported"))
}

func (s *session) endpointsMounted() outcome {
	if len(s.ends) == 0 {
		return notRun("no endpoint is known")
	}
	var bad []string
	for _, name := range slices.Sorted(maps.Keys(s.ends)) {
		method := http.MethodGet
		if name != "authorize" && name != "jwks" && name != "userinfo" {
			method = http.MethodPost
		}
		r := s.request(method, s.ends[name], "")
		if !s.allowed(r.URL) {
			continue // metadata-endpoints says so
		}
		switch a := s.do(r); {
		case a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed:
			bad = append(bad, fmt.Sprintf("%s %s answers %d", method, plain(r.URL), a.status))
		case name != "authorize" && a.is("text/html"):
			bad = append(bad, fmt.Sprintf("%s %s answers with a page, as if something else was mounted there", method, plain(r.URL)))
		}
	}
	return verdict(bad, "%d endpoints", len(s.ends))
}

func (s *session) jwksPublic() outcome {
	a := s.get(s.end("jwks"))
	keys, ok := a.json["keys"].([]any)
	if a.status != http.StatusOK || !ok {
		return found("%s answers %d without keys", s.ends["jwks"], a.status)
	}
	for _, k := range keys {
		key, _ := k.(map[string]any)
		for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if key[member] != nil {
				return found("a key has the private member %q", member)
			}
		}
	}
	return pass("%d keys", len(keys))
}

// scripted are the endpoints that scripts call.
func (s *session) scripted() map[string]string {
	ends := map[string]string{}
	for _, name := range []string{"token", "revoke", "userinfo", "jwks"} {
		if s.ends[name] != "" {
			ends[name] = s.ends[name]
		}
	}
	if s.members != nil {
		ends["metadata"] = s.metadataURL
	}
	return ends
}

// crossOrigin calls an endpoint as a script does: preflight, then an answer, which is an error.
func (s *session) crossOrigin(name, at string) (preflight, a *answer) {
	method := http.MethodPost
	if name == "metadata" || name == "jwks" || name == "userinfo" {
		method = http.MethodGet
	}
	r := s.request(http.MethodOptions, at, "")
	r.Header.Set("Origin", attacker)
	r.Header.Set("Access-Control-Request-Method", method)
	r.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
	preflight = s.do(r)
	r = s.request(method, at, "")
	r.Header.Set("Origin", attacker)
	return preflight, s.do(r)
}

func (s *session) cors() outcome {
	var bad []string
	ends := s.scripted()
	for _, name := range slices.Sorted(maps.Keys(ends)) {
		preflight, a := s.crossOrigin(name, ends[name])
		switch {
		case a.header.Get("Access-Control-Allow-Origin") == "":
			bad = append(bad, name+" has no Access-Control-Allow-Origin")
		case name == "metadata" || name == "jwks": // without a preflight
		case preflight.status/100 != 2 || preflight.header.Get("Access-Control-Allow-Origin") == "":
			bad = append(bad, fmt.Sprintf("%s answers the preflight with %d", name, preflight.status))
		case !strings.Contains(strings.ToLower(preflight.header.Get("Access-Control-Allow-Headers")), "authorization"):
			bad = append(bad, name+" does not allow the Authorization header")
		}
	}
	if len(ends) == 0 {
		return notRun("no endpoint is known")
	}
	return verdict(bad, "%d endpoints", len(ends))
}

func (s *session) corsCredentials() outcome {
	var bad []string
	ends := s.scripted()
	for _, name := range slices.Sorted(maps.Keys(ends)) {
		preflight, a := s.crossOrigin(name, ends[name])
		if preflight.header.Get("Access-Control-Allow-Credentials") == "true" || a.header.Get("Access-Control-Allow-Credentials") == "true" {
			bad = append(bad, name+" allows credentials from any origin")
		}
	}
	if len(ends) == 0 {
		return notRun("no endpoint is known")
	}
	return verdict(bad, "%d endpoints", len(ends))
}

func (s *session) corsAuthorize() outcome {
	r := s.request(http.MethodGet, s.end("authorize"), "")
	r.Header.Set("Origin", attacker)
	if allowed := s.do(r).header.Get("Access-Control-Allow-Origin"); allowed != "" {
		return found("Access-Control-Allow-Origin is %q", allowed)
	}
	return pass("none")
}
