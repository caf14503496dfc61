package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

var clientChecks = []check{
	{Check{"client-secret-wrong", "A wrong, empty or missing secret is refused with 401", "RFC 6749, section 5.2", High,
		"Authenticate the client before anything of the grant is looked at; answer 401 invalid_client."}, (*session).clientWrong},
	{Check{"client-secret-query", "Client credentials in the URL do not count", "RFC 6749, section 2.3.1", High,
		"Read credentials from the Authorization header and the body alone, not from r.Form."}, (*session).clientQuery},
	{Check{"client-two-methods", "Two ways of authentication at once are refused", "RFC 6749, section 2.3", Medium,
		"Answer invalid_request where the header and the body both have credentials."}, (*session).clientTwo},
	{Check{"client-two-identities", "Two client identifiers in one request are refused", "RFC 6749, section 2.3", High,
		"Compare client_id of the body with the authenticated client."}, (*session).clientIdentities},
	{Check{"client-basic-encoding", "Basic credentials are form-decoded", "RFC 6749, section 2.3.1", Medium,
		"Decode both halves of the Basic credentials with url.QueryUnescape."}, (*session).clientEncoding},
	{Check{"client-basic-then-body", "A client may try Basic first and the body then, with one code", "RFC 6749, section 2.3", Medium,
		"Authenticate before the code is touched: a refused attempt must not use it up."}, (*session).clientThenBody},
	{Check{"client-challenge", "Only a client that used the Authorization header gets WWW-Authenticate", "RFC 6749, section 5.2", Low,
		"Send WWW-Authenticate: Basic with 401 where the client used the header, and nowhere else."}, (*session).clientChallenge},
	{Check{"client-unknown", "An unknown client is answered like a wrong secret", "RFC 6749, section 5.2", Low,
		"Give both the same status and the same words."}, (*session).clientUnknown},
	{Check{"client-credentials", "client_credentials gives a token without a refresh token", "RFC 6749, section 4.4.3", Low,
		"Issue no refresh token: the client can ask again."}, (*session).clientCredentials},
	{Check{"client-credentials-public", "A public client gets nothing by client_credentials", "RFC 6749, section 4.4", High,
		"Refuse client_credentials to clients that do not authenticate."}, (*session).clientPublic},
}

var tokenChecks = []check{
	{Check{"token-get", "A token request by GET is refused", "RFC 6749, section 3.2", High,
		"Accept POST alone; a URL ends up in logs."}, (*session).tokenGet},
	{Check{"token-query", "Parameters in the URL of a token request do not count", "RFC 6749, section 3.2", High,
		"Read the body alone, r.PostForm and not r.Form."}, (*session).tokenQuery},
	{Check{"token-json", "A JSON body is refused", "RFC 6749, section 3.2", Medium,
		"Check the Content-Type and answer 400; leave the check out where Config.Decode has JSONBody."}, (*session).tokenJSON},
	{Check{"token-multipart", "A multipart body is refused", "RFC 6749, appendix B", Low,
		"Check the Content-Type before the body is read, and never parse multipart."}, (*session).tokenMultipart},
	{Check{"token-duplicate", "A parameter that comes twice is refused", "RFC 6749, section 3.2", Medium,
		"Read parameters with a reader that refuses duplicates, over query and body."}, (*session).tokenDuplicate},
	{Check{"token-large", "A body of a megabyte is refused", "RFC 6749, section 3.2", Medium,
		"Bound the body with http.MaxBytesReader."}, (*session).tokenLarge},
	{Check{"token-success", "A token response is JSON with the right members and is not cached", "RFC 6749, section 5.1", Medium,
		"Send application/json, Cache-Control: no-store, token_type Bearer and expires_in as a number; leave out what is empty."}, (*session).tokenSuccess},
	{Check{"token-errors", "Errors are JSON with the code of the RFC and are not cached", "RFC 6749, section 5.2", Medium,
		"Answer 400 or 401 with application/json, the error code of section 5.2 and Cache-Control: no-store."}, (*session).tokenErrors},
	{Check{"token-nosniff", "Answers are marked as what they are", "RFC 6819, section 4.6.7", Low,
		"Send X-Content-Type-Options: nosniff."}, (*session).tokenNosniff},
	{Check{"token-leaks", "Errors tell nothing of the inside", "RFC 6749, section 5.2", Medium,
		"Answer with a fixed text and write the cause into the log."}, (*session).tokenLeaks},
	{Check{"token-password", "The password grant is refused", "RFC 9700, section 2.4", High,
		"Take the password grant out."}, (*session).tokenPassword},
}

func (s *session) clientWrong() outcome {
	c := s.confidential()
	var bad []string
	for _, secret := range []string{"wrong-secret-of-a-probe", c.Secret + "x", c.Secret[:len(c.Secret)-1], ""} {
		wrong := c
		wrong.Secret = secret
		g := s.good(c)
		r := s.form("token", g.values, wrong)
		if secret == "" && !c.SecretPost {
			r = s.form("token", g.values, Client{})
			r.SetBasicAuth(url.QueryEscape(c.ID), "")
		}
		a := s.do(r)
		what := "a wrong secret"
		if secret == "" {
			what = "no secret"
		}
		switch {
		case a.granted():
			bad = append(bad, what+" gives "+a.brief())
		case a.text("error") != "invalid_client" || a.status != http.StatusUnauthorized && (!c.SecretPost || a.status != http.StatusBadRequest):
			bad = append(bad, what+" gives "+a.brief()+", not 401 invalid_client")
		}
	}
	bare := c
	bare.Secret = ""
	if a := s.post("token", s.good(c).values, bare); a.granted() {
		bad = append(bad, "client_id alone gives "+a.brief())
	}
	return verdict(slices.Compact(bad), "401 invalid_client")
}

func (s *session) clientQuery() outcome {
	c := s.confidential()
	g := s.good(c)
	r := s.form("token", g.values, Client{})
	r.URL.RawQuery = url.Values{"client_id": {c.ID}, "client_secret": {c.Secret}}.Encode()
	if a := s.do(r); a.granted() {
		return found("client_id and client_secret in the query give %s", a.brief())
	}
	r = s.form("token", g.with(url.Values{"client_id": {c.ID}}), Client{})
	r.URL.RawQuery = url.Values{"client_secret": {c.Secret}}.Encode()
	if a := s.do(r); a.granted() {
		return found("client_secret in the query gives %s", a.brief())
	}
	return pass("refused")
}

func (s *session) clientTwo() outcome {
	c := s.confidential()
	r := s.form("token", s.good(c).with(url.Values{"client_id": {c.ID}, "client_secret": {c.Secret}}), Client{})
	r.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	if a := s.do(r); a.granted() {
		return found("the header and the body give %s", a.brief())
	}
	return pass("refused")
}

func (s *session) clientIdentities() outcome {
	c := s.confidential()
	other := s.another(c)
	r := s.form("token", s.good(c).with(url.Values{"client_id": {other.ID}}), Client{})
	r.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	if a := s.do(r); a.granted() {
		return found("client_id=%s with the credentials of %s gives %s", other.ID, c.ID, a.brief())
	}
	return pass("refused")
}

// encodeAll writes every byte as a percent escape, which form-decoding takes back.
func encodeAll(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, "%%%02X", text[i])
	}
	return b.String()
}

func (s *session) clientEncoding() outcome {
	c := s.confidential()
	if c.SecretPost {
		return notRun("the client does not use the Authorization header")
	}
	r := s.form("token", s.good(c).values, Client{})
	r.SetBasicAuth(encodeAll(c.ID), encodeAll(c.Secret))
	if a := s.do(r); !a.granted() {
		return found("the same credentials, with every character encoded, give %s", a.brief())
	}
	return pass("decoded")
}

func (s *session) clientThenBody() outcome {
	var seen []string
	for _, c := range s.users() {
		g := s.good(c)
		r := s.form("token", g.values, Client{})
		basic, then := c.Secret, c
		if c.Secret != "" && !c.SecretPost { // the first attempt fails, the second is right
			basic = "wrong-secret-of-a-probe"
		}
		r.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(basic))
		if a := s.do(r); a.granted() {
			if c.Secret != "" {
				return found("client %s: a wrong secret gives %s", c.ID, a.brief())
			}
			continue // a server may take an empty password for none
		} else if a.status >= 500 {
			return found("client %s: Basic gives %s", c.ID, a.brief())
		}
		if a := s.post("token", g.values, then); !a.granted() {
			return found("client %s: after a refused attempt with Basic the code gives %s", c.ID, a.brief())
		}
		seen = append(seen, c.ID)
	}
	if len(seen) == 0 {
		return notRun("no client with a redirect URI was given, or Basic without a secret is enough")
	}
	return pass("%s", strings.Join(seen, ", "))
}

func (s *session) clientChallenge() outcome {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {"no-such-code"}}
	inBody := s.post("token", form, Client{ID: "no-such-client-of-a-probe", Secret: "wrong", SecretPost: true})
	inHeader := s.post("token", form, Client{ID: "no-such-client-of-a-probe", Secret: "wrong"})
	switch {
	case inHeader.status == http.StatusUnauthorized && !strings.HasPrefix(strings.ToLower(inHeader.header.Get("WWW-Authenticate")), "basic"):
		return found("401 to Basic without WWW-Authenticate: Basic")
	case inBody.header.Get("WWW-Authenticate") != "":
		return found("WWW-Authenticate to credentials in the body, which hides the error from some clients")
	}
	return pass("%s; %s", inHeader.brief(), inBody.brief())
}

func (s *session) clientUnknown() outcome {
	c := s.confidential()
	wrong, unknown := c, c
	wrong.Secret, unknown.Secret = "wrong-secret-of-a-probe", "wrong-secret-of-a-probe"
	unknown.ID = "no-such-client-of-a-probe"
	form := url.Values{"grant_type": {"client_credentials"}}
	a, b := s.post("token", form, wrong), s.post("token", form, unknown)
	if a.status != b.status || a.text("error") != b.text("error") || a.text("error_description") != b.text("error_description") {
		return found("an unknown client gives %s, a wrong secret %s, or other words", b.brief(), a.brief())
	}
	return pass("%s", a.brief())
}

func (s *session) clientCredentials() outcome {
	c := s.machine()
	g := grant{c, url.Values{"grant_type": {"client_credentials"}}}
	if len(c.Scopes) > 0 {
		g.values.Set("scope", strings.Join(c.Scopes, " "))
	}
	a := s.post("token", g.values, c)
	switch {
	case !a.granted():
		return found("client %s: %s", c.ID, a.brief())
	case a.json["refresh_token"] != nil:
		return found("a refresh token is issued")
	}
	return pass("%s", c.ID)
}

func (s *session) clientPublic() outcome {
	c := s.public()
	g := grant{c, url.Values{"grant_type": {"client_credentials"}}}
	if len(c.Scopes) > 0 {
		g.values.Set("scope", strings.Join(c.Scopes, " "))
	}
	if a := s.post("token", g.values, c); a.granted() {
		return found("client %s gives %s", c.ID, a.brief())
	}
	return pass("refused")
}

// any is a client that can get a token.
func (s *session) any() Client {
	if len(s.users()) > 0 {
		return s.users()[0]
	}
	return s.confidential()
}

func (s *session) tokenGet() outcome {
	c := s.any()
	r := s.form("token", s.good(c).values, c)
	body, _ := r.GetBody() // of a strings.Reader, which cannot fail
	var query bytes.Buffer
	query.ReadFrom(body) //nolint:errcheck // the same
	get := s.request(http.MethodGet, s.end("token"), "")
	get.URL.RawQuery = query.String()
	get.Header["Authorization"] = r.Header["Authorization"]
	a := s.do(get)
	if a.status/100 == 2 {
		return found("GET gives %s", a.brief())
	}
	return pass("%s", a.brief())
}

func (s *session) tokenQuery() outcome {
	c := s.any()
	g := s.good(c)
	r := s.form("token", nil, c)
	r.URL.RawQuery = g.values.Encode()
	if a := s.do(r); a.granted() {
		return found("the parameters in the query give %s", a.brief())
	}
	return pass("refused")
}

// flat are the values of a form as a JSON object has them.
func flat(values url.Values) map[string]string {
	m := map[string]string{}
	for name := range values {
		m[name] = values.Get(name)
	}
	return m
}

// inForm is how a client authenticates where its request is no form.
func inForm(g grant) url.Values {
	change := url.Values{"client_id": {g.client.ID}}
	if g.client.Secret != "" && g.client.SecretPost {
		change.Set("client_secret", g.client.Secret)
	}
	return g.with(change)
}

func (s *session) other(g grant, media, body string) *answer {
	r := s.request(http.MethodPost, s.end("token"), body)
	r.Header.Set("Content-Type", media)
	if g.client.Secret != "" && !g.client.SecretPost {
		r.SetBasicAuth(url.QueryEscape(g.client.ID), url.QueryEscape(g.client.Secret))
	}
	return s.do(r)
}

func (s *session) tokenJSON() outcome {
	g := s.good(s.any())
	body, err := json.Marshal(flat(inForm(g)))
	if err != nil {
		cannot("no JSON: %v", err)
	}
	if a := s.other(g, "application/json", string(body)); a.granted() {
		return found("a JSON body gives %s", a.brief())
	}
	if a := s.other(g, "text/plain", inForm(g).Encode()); a.granted() {
		return found("a form sent as text/plain, which another site's page can post, gives %s", a.brief())
	}
	return pass("refused")
}

func (s *session) tokenMultipart() outcome {
	g := s.good(s.any())
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, value := range flat(inForm(g)) {
		if err := w.WriteField(name, value); err != nil {
			cannot("no multipart body: %v", err)
		}
	}
	if err := w.Close(); err != nil {
		cannot("no multipart body: %v", err)
	}
	if a := s.other(g, w.FormDataContentType(), body.String()); a.granted() {
		return found("a multipart body gives %s", a.brief())
	}
	return pass("refused")
}

func (s *session) tokenDuplicate() outcome {
	c := s.any()
	var bad []string
	for _, name := range []string{"grant_type", "code", "redirect_uri", "scope"} {
		g := s.good(c)
		if g.values.Get(name) == "" {
			continue
		}
		if a := s.post("token", g.with(url.Values{name: {g.values.Get(name), "other"}}), c); a.granted() {
			bad = append(bad, name+" twice gives "+a.brief())
		}
	}
	return verdict(bad, "refused")
}

func (s *session) tokenLarge() outcome {
	c := s.any()
	a := s.post("token", s.good(c).with(url.Values{"padding": {strings.Repeat("a", 1<<20)}}), c)
	if a.granted() {
		return found("a body of 1 MiB gives %s", a.brief())
	}
	return pass("%s", a.brief())
}

func (s *session) tokenSuccess() outcome {
	c := s.any()
	a := s.post("token", s.good(c).values, c)
	if !a.granted() {
		cannot("no token came: %s", a.brief())
	}
	var bad []string
	if !a.is("application/json") {
		bad = append(bad, fmt.Sprintf("the Content-Type is %q", a.header.Get("Content-Type")))
	}
	if !strings.Contains(a.header.Get("Cache-Control"), "no-store") {
		bad = append(bad, "there is no Cache-Control: no-store")
	}
	if t := a.text("token_type"); !strings.EqualFold(t, "Bearer") && !strings.EqualFold(t, "DPoP") {
		bad = append(bad, fmt.Sprintf("token_type is %q", t))
	}
	if n, ok := a.json["expires_in"].(float64); !ok || n <= 0 {
		bad = append(bad, "expires_in is no number above 0")
	}
	for _, name := range []string{"refresh_token", "scope"} {
		if v, there := a.json[name]; there && v != nil && a.text(name) == "" || there && v == nil {
			bad = append(bad, name+" is empty or no string")
		}
	}
	if len(a.header.Values("Set-Cookie")) > 0 {
		bad = append(bad, "the answer sets a cookie")
	}
	return verdict(bad, "application/json, no-store, %s", a.text("token_type"))
}

// errorsOf are answers to bad requests, with the codes that they must have.
func (s *session) errorsOf(c Client) map[string]struct {
	*answer
	codes []string
} {
	type want = struct {
		*answer
		codes []string
	}
	return map[string]want{
		"no grant_type":          {s.post("token", url.Values{"code": {"x"}}, c), []string{"invalid_request"}},
		"an unknown grant_type":  {s.post("token", url.Values{"grant_type": {"urn:example:probe"}}, c), []string{"unsupported_grant_type"}},
		"a code that is none":    {s.post("token", url.Values{"grant_type": {"authorization_code"}, "code": {"no-such-code"}, "redirect_uri": {c.RedirectURI}, "code_verifier": {strings.Repeat("v", 43)}}, c), []string{"invalid_grant", "unauthorized_client", "unsupported_grant_type"}},
		"no code":                {s.post("token", url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {c.RedirectURI}}, c), []string{"invalid_request", "unauthorized_client", "unsupported_grant_type"}},
		"a refresh token's lack": {s.post("token", url.Values{"grant_type": {"refresh_token"}}, c), []string{"invalid_request", "unauthorized_client", "unsupported_grant_type"}},
	}
}

func (s *session) tokenErrors() outcome {
	c := s.any()
	var bad []string
	for what, a := range s.errorsOf(c) {
		switch {
		case a.status/100 == 2 || a.status/100 == 3:
			bad = append(bad, what+" gives "+a.brief())
		case !a.is("application/json"):
			bad = append(bad, fmt.Sprintf("%s gives %q", what, a.header.Get("Content-Type")))
		case !slices.Contains(a.codes, a.text("error")) || a.status != http.StatusBadRequest && a.status != http.StatusUnauthorized:
			bad = append(bad, fmt.Sprintf("%s gives %s, not 400 %s", what, a.brief(), a.codes[0]))
		case !strings.Contains(a.header.Get("Cache-Control"), "no-store"):
			bad = append(bad, what+" gives no Cache-Control: no-store")
		}
	}
	slices.Sort(bad)
	return verdict(bad, "invalid_request, unsupported_grant_type, invalid_grant")
}

func (s *session) tokenNosniff() outcome {
	if a := s.post("token", url.Values{"grant_type": {"urn:example:probe"}}, Client{}); a.header.Get("X-Content-Type-Options") != "nosniff" {
		return found("there is no X-Content-Type-Options: nosniff")
	}
	return pass("nosniff")
}

// inside are words that an error text has only where the inside shows.
var inside = []string{"goroutine ", "panic", ".go:", "runtime error", "sql:", "syntax error", "pq: ", "SQLSTATE", "stack trace",
	"Traceback", "dial tcp", "no such file", "redis:", "*errors.", "*fmt."}

func (s *session) tokenLeaks() outcome {
	c := s.any()
	answers := map[string]*answer{
		"a NUL":          s.post("token", url.Values{"grant_type": {"authorization_code"}, "code": {"a\x00b'\""}}, c),
		"bad UTF-8":      s.post("token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"\xff\xfe"}}, c),
		"bad escape":     s.other(grant{client: c}, "application/x-www-form-urlencoded", "grant_type=%zz&code=1"),
		"a long code":    s.post("token", url.Values{"grant_type": {"authorization_code"}, "code": {strings.Repeat("a", 5000)}}, c),
		"bad Basic":      s.basic("Basic !!!"),
		"another scheme": s.basic("Bearer abc"),
	}
	for what, a := range s.errorsOf(c) {
		answers[what] = a.answer
	}
	var bad []string
	for what, a := range answers {
		for _, word := range inside {
			if strings.Contains(a.body, word) {
				bad = append(bad, fmt.Sprintf("%s gives a text with %q", what, word))
			}
		}
		for name := range a.json {
			if name != "error" && name != "error_description" && name != "error_uri" {
				bad = append(bad, fmt.Sprintf("%s gives the member %q", what, name))
			}
		}
		if d := a.text("error_description"); strings.IndexFunc(d, func(c rune) bool { return c < 0x20 || c > 0x7E || c == '"' || c == '\\' }) >= 0 {
			bad = append(bad, what+" gives an error_description with characters that it must not have")
		}
	}
	slices.Sort(bad)
	return verdict(bad, "%d bad requests", len(answers))
}

func (s *session) basic(header string) *answer {
	r := s.form("token", url.Values{"grant_type": {"client_credentials"}}, Client{})
	r.Header.Set("Authorization", header)
	return s.do(r)
}

func (s *session) tokenPassword() outcome {
	c := s.any()
	a := s.post("token", url.Values{"grant_type": {"password"}, "username": {"probe"}, "password": {"probe"}}, c)
	switch e := a.text("error"); {
	case a.granted():
		return found("any password gives %s", a.brief())
	case e == "invalid_grant" || e == "access_denied":
		return found("the password grant is served: %s", a.brief())
	}
	return pass("%s", a.brief())
}
