package probe

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

var authorizeChecks = []check{
	{Check{"code-flow", "The ordinary code flow works", "RFC 6749, section 4.1", Medium,
		"Check the fixtures first; then read what the server logs of this request."}, (*session).codeFlow},
	{Check{"authorize-client", "A client that is unknown gets a page, never a redirect", "RFC 6749, section 4.1.2.1", High,
		"Look the client up before anything is redirected."}, (*session).authorizeClient},
	{Check{"authorize-duplicate", "A parameter that comes twice is refused", "RFC 6749, section 3.1", Medium,
		"Read parameters with a reader that refuses duplicates, over the whole query."}, (*session).authorizeDuplicate},
	{Check{"authorize-error-redirect", "An error is sent to the redirect URI with its code and the state", "RFC 6749, section 4.1.2.1", Medium,
		"Redirect errors once client and redirect URI are valid, with error and state."}, (*session).authorizeError},
	{Check{"authorize-response-type", "A response type that is not advertised is refused", "RFC 8414, section 2", High,
		"Refuse what is not served with unsupported_response_type."}, (*session).authorizeResponseType},
	{Check{"authorize-scope", "A scope that does not exist is not granted", "RFC 6749, section 3.3", High,
		"Hold the scopes against those of the client, and answer invalid_scope."}, (*session).authorizeScope},
	{Check{"authorize-state", "The state comes back as it was sent, and cannot split the response", "RFC 6749, section 4.1.2", High,
		"Encode the state with a URL encoder when it is put into the redirect."}, (*session).authorizeState},
	{Check{"authorize-iss", "iss is in the answer and is the issuer", "RFC 9207, section 2", Medium,
		"Add iss to every authorization response (Config.InsecureOmitIssuer stays false)."}, (*session).authorizeIss},
	{Check{"authorize-iss-error", "iss is in error answers too", "RFC 9207, section 2", Medium,
		"Add iss to errors as well; whatever writes redirects must not drop it."}, (*session).authorizeIssError},
	{Check{"authorize-iss-advertised", "The metadata says that iss is sent, as it is", "RFC 9207, section 3", Medium,
		"Publish authorization_response_iss_parameter_supported exactly where iss is sent: clients refuse either half."}, (*session).authorizeIssAdvertised},
	{Check{"authorize-redirect-headers", "The redirect with the code is a 302 or 303 and is not cached", "RFC 9700, section 4.12", Medium,
		"Redirect with 303 and Cache-Control: no-store; 307 and 308 would post the password on."}, (*session).authorizeHeaders},
	{Check{"authorize-post", "A POST from another site does not decide", "RFC 6749, section 10.12", High,
		"Answer a POST that is no decision of the user with 303 to the same request as GET."}, (*session).authorizePost},
	{Check{"authorize-cookies", "Cookies are HttpOnly, SameSite and, by https, Secure", "RFC 9700, section 4.7", Medium,
		"Set HttpOnly, SameSite=Lax or Strict and, on https, Secure with the prefix __Host-."}, (*session).authorizeCookies},
	{Check{"authorize-reflection", "An error page shows nothing of the request as markup", "RFC 9700, section 4.16", High,
		"Escape what a page shows, and send X-Content-Type-Options: nosniff."}, (*session).authorizeReflection},
}

var redirectChecks = []check{
	{Check{"redirect-host", "A redirect URI of another host is refused", "RFC 9700, section 4.1.3", High,
		"Compare redirect URIs as whole strings, before anything parses them."}, (*session).redirectHost},
	{Check{"redirect-path", "A redirect URI that only begins like the registered one is refused", "RFC 9700, section 4.1.3", High,
		"Compare redirect URIs as whole strings: no prefixes, no patterns, no normalising."}, (*session).redirectPath},
	{Check{"redirect-fragment", "A redirect URI with a fragment is refused", "RFC 6749, section 3.1.2", Medium,
		"Refuse redirect URIs with a fragment, the empty one too."}, (*session).redirectFragment},
	{Check{"redirect-relative", "A relative redirect URI is refused", "RFC 6749, section 3.1.2", High,
		"Accept the registered absolute URI alone."}, (*session).redirectRelative},
	{Check{"redirect-duplicate", "Two redirect URIs are refused, in either order", "RFC 6749, section 3.1", High,
		"Refuse duplicate parameters before client and redirect URI are read."}, (*session).redirectDuplicate},
	{Check{"redirect-error", "An error is never sent to a redirect URI that is not the client's", "RFC 6749, section 4.1.2.1", High,
		"Check client and redirect URI before anything else, and answer with a page until both are right."}, (*session).redirectError},
	{Check{"redirect-loopback", "Of a loopback redirect URI the port is free, and nothing else", "RFC 8252, section 7.3", Medium,
		"Compare loopback redirect URIs part by part, every part but the port byte for byte."}, (*session).redirectLoopback},
}

// refusal visits a request that must be refused; what is not empty where it was not.
func (s *session) refusal(q request) (l landing, what string) {
	l = s.visit(q)
	switch {
	case l.code() != "" || l.params.Get("access_token") != "":
		s.keep(l.code())
		return l, "gives " + l.brief()
	case l.to != nil && l.params.Get("error") == "":
		return l, "gives " + l.brief()
	}
	return l, ""
}

// flowing makes sure that a good request gives a code.
func (s *session) flowing() Client {
	c := s.user()
	s.good(c)
	return c
}

func (s *session) codeFlow() outcome {
	var seen []string
	for _, c := range s.users() {
		g := s.code(c, nil)
		a := s.post("token", g.values, c)
		if !a.granted() {
			return found("client %s: the code is refused: %s", c.ID, a.brief())
		}
		seen = append(seen, c.ID)
	}
	if len(seen) == 0 {
		return notRun("no client with a redirect URI was given")
	}
	return pass("%s", strings.Join(seen, ", "))
}

func (s *session) authorizeClient() outcome {
	c := s.user()
	for _, id := range []string{"", "no-such-client-of-a-probe"} {
		for _, uri := range []string{attacker + "/", c.RedirectURI} {
			q := s.ask(c, url.Values{"client_id": {id}, "redirect_uri": {uri}})
			if id == "" {
				q.params.Del("client_id")
			}
			if l := s.visit(q); l.to != nil {
				return found("client_id=%s gives %s", id, l.brief())
			}
		}
	}
	return pass("refused with a page")
}

func (s *session) authorizeDuplicate() outcome {
	c := s.flowing()
	var bad []string
	for _, name := range []string{"response_type", "state", "scope", "code_challenge"} {
		q := s.ask(c, nil)
		first := q.params.Get(name)
		second := map[string]string{"response_type": first, "scope": first, "state": "other", "code_challenge": challenge("other")}[name]
		q.params[name] = []string{first, second}
		if _, what := s.refusal(q); what != "" {
			bad = append(bad, name+" twice "+what)
		}
	}
	return verdict(bad, "response_type, state, scope and code_challenge")
}

func (s *session) authorizeError() outcome {
	q := s.ask(s.flowing(), url.Values{"response_type": {"nonsense"}})
	switch l := s.visit(q); {
	case l.to == nil || l.params.Get("error") == "":
		return found("response_type=nonsense gives %s", l.brief())
	case l.params.Get("state") != q.state:
		return found("the state is missing, or another")
	default:
		return pass("%s", l.brief())
	}
}

func (s *session) authorizeResponseType() outcome {
	c := s.flowing()
	var bad []string
	for _, t := range []string{"token", "code token", "id_token"} {
		if slices.Contains(s.strings("response_types_supported"), t) {
			continue // metadata-grants tells of it
		}
		if _, what := s.refusal(s.ask(c, url.Values{"response_type": {t}, "nonce": {"n"}})); what != "" {
			bad = append(bad, fmt.Sprintf("response_type=%q %s", t, what))
		}
	}
	return verdict(bad, "token, code token and id_token are refused")
}

func (s *session) authorizeScope() outcome {
	c := s.flowing()
	const odd = "no-such-scope-of-a-probe"
	l := s.visit(s.ask(c, url.Values{"scope": {strings.TrimSpace(strings.Join(c.Scopes, " ") + " " + odd)}}))
	if l.code() == "" {
		return pass("%s", l.brief())
	}
	g := s.code(c, url.Values{"scope": {strings.TrimSpace(strings.Join(c.Scopes, " ") + " " + odd)}})
	a := s.post("token", g.values, c)
	switch {
	case !a.granted():
		return pass("the code is refused: %s", a.brief())
	case a.json["scope"] == nil || slices.Contains(strings.Fields(a.text("scope")), odd):
		return found("a token was issued, and nothing says that it is without the scope")
	}
	return pass("issued without it, and the answer says so")
}

func (s *session) authorizeState() outcome {
	c := s.flowing()
	for _, state := range []string{"a&b=c#d+ e%25\"<>", "x\r\nX-Probe: split\r\n\r\n"} {
		l := s.visit(s.ask(c, url.Values{"state": {state}}))
		switch {
		case l.answer != nil && l.answer.header.Get("X-Probe") != "":
			return found("a line break in the state makes a header of the response")
		case l.to != nil && l.params.Get("error") == "" && l.params.Get("state") != state:
			return found("the state %q comes back as %q", state, l.params.Get("state"))
		}
	}
	return pass("marks come back, line breaks split nothing")
}

// iss is what an authorization response has as iss.
func (s *session) iss(change url.Values) (iss []string, l landing) {
	l = s.visit(s.ask(s.flowing(), change))
	if l.to == nil {
		cannot("no redirect came: %s", l.brief())
	}
	return l.params["iss"], l
}

func (s *session) issFinding(iss []string, l landing) outcome {
	want := s.issuer
	if want == "" {
		want = s.URL
	}
	switch {
	case len(iss) == 0:
		return found("%s has no iss", l.brief())
	case len(iss) > 1 || iss[0] != want:
		return found("iss is %q, the issuer is %q", iss, want)
	}
	return pass("%s", iss[0])
}

func (s *session) authorizeIss() outcome { return s.issFinding(s.iss(nil)) }

func (s *session) authorizeIssError() outcome {
	iss, l := s.iss(url.Values{"response_type": {"nonsense"}})
	return s.issFinding(iss, l)
}

func (s *session) authorizeIssAdvertised() outcome {
	s.needMetadata()
	iss, _ := s.iss(nil)
	said, _ := s.members["authorization_response_iss_parameter_supported"].(bool)
	if said != (len(iss) > 0) {
		return found("the metadata says %t; iss came %d times", said, len(iss))
	}
	return pass("the metadata says %t", said)
}

func (s *session) authorizeHeaders() outcome {
	l := s.visit(s.ask(s.flowing(), nil))
	a := l.answer
	if a == nil || l.to == nil {
		return notRun("the redirect was not seen: Approve went through it")
	}
	var bad []string
	if a.status != http.StatusFound && a.status != http.StatusSeeOther {
		bad = append(bad, fmt.Sprintf("the status is %d", a.status))
	}
	if !strings.Contains(a.header.Get("Cache-Control"), "no-store") {
		bad = append(bad, "there is no Cache-Control: no-store")
	}
	return verdict(bad, "%d", a.status)
}

// crossSite are headers of a form that another site's page posts.
func crossSite(r *http.Request) *http.Request {
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", attacker)
	r.Header.Set("Referer", attacker+"/")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	return r
}

// foreign says whether a browser sends the cookie with a POST from another site.
func foreign(c *http.Cookie) bool { return c.SameSite == http.SameSiteNoneMode || c.SameSite == 0 }

func (s *session) authorizePost() outcome {
	c := s.flowing()
	for _, decision := range []url.Values{nil, {"decision": {"approve"}, "allow": {"yes"}, "approve": {"1"}, "consent": {"true"}}} {
		q := s.ask(c, decision)
		r := crossSite(s.request(http.MethodPost, q.at, q.params.Encode()))
		a := s.browser.do(r, foreign)
		if s.leaves(a, []string{c.RedirectURI}) {
			var l landing
			l.land(a.location())
			if l.code() != "" {
				return found("a form that %s posts gives a code", attacker)
			}
		}
	}
	return pass("no code")
}

func (s *session) authorizeCookies() outcome {
	s.visit(s.ask(s.user(), nil))
	var bad []string
	for _, c := range s.browser.cookies {
		switch {
		case !c.HttpOnly:
			bad = append(bad, c.Name+" is not HttpOnly")
		case c.SameSite != http.SameSiteLaxMode && c.SameSite != http.SameSiteStrictMode:
			bad = append(bad, c.Name+" has no SameSite=Lax or Strict")
		case s.base.Scheme == "https" && !c.Secure:
			bad = append(bad, c.Name+" is not Secure")
		}
	}
	if len(s.browser.cookies) == 0 {
		return notRun("no cookie was set")
	}
	return verdict(bad, "%d cookies", len(s.browser.cookies))
}

func (s *session) authorizeReflection() outcome {
	const mark = `"><svg/onload=probe>`
	q := s.ask(s.user(), url.Values{"client_id": {mark}, "redirect_uri": {attacker + "/" + mark}, "error_description": {mark},
		"scope": {mark}, "state": {mark}})
	a := s.stranger().get(q.url())
	switch {
	case strings.Contains(a.body, mark) && !a.is("text/plain") && !a.is("application/json"):
		return found("the page repeats markup of the request")
	case a.header.Get("X-Content-Type-Options") != "nosniff" && a.location() == nil:
		return found("the page has no X-Content-Type-Options: nosniff")
	}
	return pass("%s", a.brief())
}

// misdirect tries redirect URIs that must be refused.
func (s *session) misdirect(uris []string) outcome {
	c := s.flowing()
	var bad []string
	for _, uri := range uris {
		// From where the user already agreed: the browser leaves for any redirect.
		l := s.visit(s.ask(c, url.Values{"redirect_uri": {uri}}))
		if l.to != nil {
			bad = append(bad, fmt.Sprintf("redirect_uri=%s gives %s", uri, l.brief()))
		}
	}
	return verdict(bad, "%d variants are refused", len(uris))
}

// parts is the redirect URI of the user's client, parsed and as it is.
func (s *session) parts() (u *url.URL, uri string) {
	uri = s.user().RedirectURI
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" {
		cannot("the redirect URI has no host")
	}
	return u, uri
}

func (s *session) redirectHost() outcome {
	u, uri := s.parts()
	rest := strings.TrimPrefix(uri, site(u))
	other := "http"
	if u.Scheme == "http" {
		other = "https"
	}
	return s.misdirect([]string{
		attacker + rest,
		u.Scheme + "://" + u.Hostname() + ".attacker.example" + rest,
		u.Scheme + "://attacker" + u.Hostname() + rest,
		u.Scheme + "://" + u.Host + "@attacker.example" + rest,
		u.Scheme + "://attacker.example@" + u.Host + rest,
		u.Scheme + "://" + u.Host + "%40attacker.example" + rest,
		u.Scheme + "://" + u.Host + "\\@attacker.example" + rest,
		attacker + "/?" + uri,
		attacker + "/#" + uri,
		other + "://" + u.Host + rest,
	})
}

func (s *session) redirectPath() outcome {
	u, uri := s.parts()
	bare, query, _ := strings.Cut(uri, "?")
	if query != "" {
		query = "?" + query
	}
	uris := []string{
		bare + "/" + query,
		bare + "x" + query,
		bare + "/../attacker" + query,
		bare + "/%2e%2e/attacker" + query,
		bare + "/..;/attacker" + query,
		bare + "%252f..%252fattacker" + query,
		uri + "%00",
		uri + "\r\nX-Probe: 1",
		strings.ToUpper(u.Scheme) + uri[len(u.Scheme):],
	}
	if query == "" {
		uris = append(uris, bare+"?to="+attacker)
	} else {
		uris = append(uris, uri+"&to="+attacker)
	}
	if len(u.Path) > 1 {
		uris = append(uris, site(u)+"/")
	}
	if !loopback(u.Hostname()) {
		uris = append(uris, strings.Replace(uri, u.Host, u.Hostname()+":8443", 1))
	}
	return s.misdirect(uris)
}

func (s *session) redirectFragment() outcome {
	_, uri := s.parts()
	return s.misdirect([]string{uri + "#", uri + "#probe"})
}

func (s *session) redirectRelative() outcome {
	u, _ := s.parts()
	return s.misdirect([]string{u.Path, "//attacker.example/", "///attacker.example/", "https:/attacker.example/", "javascript:alert(1)"})
}

func (s *session) redirectDuplicate() outcome {
	c := s.flowing()
	var bad []string
	for i, pair := range [][]string{{c.RedirectURI, attacker + "/"}, {attacker + "/", c.RedirectURI}} {
		if l := s.visit(s.ask(c, url.Values{"redirect_uri": pair})); l.to != nil {
			bad = append(bad, fmt.Sprintf("with the good one %s it gives %s", []string{"first", "last"}[i], l.brief()))
		}
	}
	return verdict(bad, "refused with a page")
}

func (s *session) redirectError() outcome {
	c := s.user()
	var bad []string
	for _, change := range []url.Values{{"response_type": {"nonsense"}}, {"scope": {"\""}}, {"prompt": {"none"}}, {"code_challenge": nil},
		{"response_mode": {"nonsense"}}, {"request_uri": {"urn:x"}}, {"state": {"a", "b"}}} {
		q := s.ask(c, change)
		q.params.Set("redirect_uri", attacker+"/")
		if a := s.stranger().get(q.url()); a.location() != nil && origin(a.location()) == origin(must(attacker)) {
			for name := range change {
				bad = append(bad, "a bad "+name+" redirects to another site")
			}
		}
	}
	return verdict(bad, "no redirect")
}

func must(uri string) *url.URL {
	u, err := url.Parse(uri)
	if err != nil {
		cannot("%q is no URL", uri)
	}
	return u
}

func (s *session) redirectLoopback() outcome {
	for _, c := range []Client{s.Public, s.Confidential, s.Other} {
		u, err := url.Parse(c.RedirectURI)
		if c.ID == "" || err != nil || u.Scheme != "http" || u.Hostname() != "127.0.0.1" && u.Hostname() != "::1" {
			continue
		}
		with := func(host string) string { return "http://" + host + strings.TrimPrefix(c.RedirectURI, site(u)) }
		port := "127.0.0.1:53123"
		if u.Hostname() == "::1" {
			port = "[::1]:53123"
		}
		var bad []string
		if l := s.visit(s.ask(c, url.Values{"redirect_uri": {with(port)}})); l.code() == "" {
			if l.stuck != "" {
				return notRun("another port gives %s", l.stuck)
			}
			s.good(c) // where the registered port gives no code either, this one says nothing
			bad = append(bad, "another port gives "+l.brief())
		}
		for _, host := range []string{"127.0.0.2:53123", "127.1:53123", "2130706433", "0.0.0.0:53123", "attacker@" + port,
			"127.0.0.1.attacker.example:53123", "[::ffff:127.0.0.1]:53123", "localhost:53123"} {
			if l := s.visit(s.ask(c, url.Values{"redirect_uri": {with(host)}})); l.to != nil {
				bad = append(bad, "host "+host+" gives "+l.brief())
			}
		}
		for _, tail := range []string{"/other", "?other"} {
			if l := s.visit(s.ask(c, url.Values{"redirect_uri": {with(port) + tail}})); l.to != nil {
				bad = append(bad, "another port and "+tail+" gives "+l.brief())
			}
		}
		return verdict(bad, "client %s", c.ID)
	}
	return notRun("no client has a redirect URI of a loopback address")
}
