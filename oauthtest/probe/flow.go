package probe

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A request is an authorization request.
type request struct {
	at       string
	client   Client
	params   url.Values
	verifier string
	state    string
}

func (q request) url() string {
	separator := "?"
	if strings.Contains(q.at, "?") {
		separator = "&"
	}
	return q.at + separator + q.params.Encode()
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ask makes a good request with some changes: values that replace those of a
// parameter, none to leave it out.
func (s *session) ask(c Client, change url.Values) request {
	q := request{at: s.end("authorize"), client: c, verifier: rand.Text() + rand.Text(), state: rand.Text()}
	s.keep(q.verifier)
	q.params = url.Values{"response_type": {"code"}, "client_id": {c.ID}, "redirect_uri": {c.RedirectURI}, "state": {q.state},
		"code_challenge": {challenge(q.verifier)}, "code_challenge_method": {"S256"}}
	if len(c.Scopes) > 0 {
		q.params.Set("scope", strings.Join(c.Scopes, " "))
	}
	for name, values := range change {
		if len(values) == 0 {
			q.params.Del(name)
			continue
		}
		q.params[name] = values
	}
	if !q.params.Has("code_challenge") {
		q.verifier = ""
	}
	return q
}

// users lists the clients that users are sent by.
func (s *session) users() (list []Client) {
	for _, c := range []Client{s.Public, s.Confidential} {
		if c.ID != "" && c.RedirectURI != "" {
			list = append(list, c)
		}
	}
	return list
}

// user is a client that users are sent by. Without one the check ends.
func (s *session) user() Client {
	if len(s.users()) == 0 {
		cannot("no client with a redirect URI was given")
	}
	return s.users()[0]
}

func (s *session) public() Client {
	if s.Public.ID == "" || s.Public.RedirectURI == "" {
		cannot("no public client with a redirect URI was given")
	}
	return s.Public
}

// confidential is a client with a secret: of a code flow, or else of client_credentials.
func (s *session) confidential() Client {
	switch {
	case s.Confidential.ID != "" && s.Confidential.Secret != "":
		return s.Confidential
	case s.Machine.ID != "" && s.Machine.Secret != "":
		return s.Machine
	}
	cannot("no client with a secret was given")
	return Client{}
}

func (s *session) machine() Client {
	if s.Machine.ID == "" || s.Machine.Secret == "" {
		cannot("no client for client_credentials was given")
	}
	return s.Machine
}

// another is another client than c.
func (s *session) another(c Client) Client {
	for _, o := range []Client{s.Other, s.Confidential, s.Public, s.Machine} {
		if o.ID != "" && o.ID != c.ID {
			return o
		}
	}
	cannot("no second client was given")
	return Client{}
}

// A grant is a code, or what else a token request presents.
type grant struct {
	client Client
	values url.Values
}

// with is a copy of the values with changes; none leaves a parameter out.
func (g grant) with(change url.Values) url.Values {
	values := url.Values{}
	for name, v := range g.values {
		values[name] = v
	}
	for name, v := range change {
		if len(v) == 0 {
			values.Del(name)
			continue
		}
		values[name] = v
	}
	return values
}

// code has a code approved. Where none comes, the check ends.
func (s *session) code(c Client, change url.Values) grant {
	q := s.ask(c, change)
	l := s.visit(q)
	if l.code() == "" {
		if l.stuck != "" {
			cannot("no code came: %s", l.stuck)
		}
		cannot("no code came: %s", l.brief())
	}
	s.keep(l.code())
	g := grant{c, url.Values{"grant_type": {"authorization_code"}, "code": {l.code()}}}
	if q.params.Has("redirect_uri") {
		g.values.Set("redirect_uri", q.params.Get("redirect_uri"))
	}
	if q.verifier != "" {
		g.values.Set("code_verifier", q.verifier)
	}
	return g
}

// good is a token request that must succeed: a fresh code, or client_credentials. It
// was shown to succeed once, or the check ends: whatever refuses the good request
// proves nothing by refusing a bad one.
func (s *session) good(c Client) grant {
	why, known := s.controls[c.ID]
	if !known {
		s.controls[c.ID] = "it was not answered"
		g := s.fresh(c)
		why = ""
		if a := s.post("token", g.values, c); !a.granted() {
			why = a.brief()
		}
		s.controls[c.ID] = why
	}
	if why != "" {
		cannot("the good token request of client %s does not succeed either: %s", c.ID, why)
	}
	return s.fresh(c)
}

// fresh is a token request that ought to succeed.
func (s *session) fresh(c Client) grant {
	if c.RedirectURI != "" && s.ends["authorize"] != "" {
		return s.code(c, nil)
	}
	g := grant{c, url.Values{"grant_type": {"client_credentials"}}}
	if len(c.Scopes) > 0 {
		g.values.Set("scope", strings.Join(c.Scopes, " "))
	}
	return g
}

// tokens are those of a whole code flow.
type tokens struct {
	client          Client
	code            grant
	access, refresh string
}

func (s *session) tokens(c Client) tokens {
	g := s.good(c)
	a := s.post("token", g.values, c)
	if !a.granted() {
		cannot("no tokens came: %s", a.brief())
	}
	return tokens{c, g, a.text("access_token"), a.text("refresh_token")}
}

// refreshable are tokens with a refresh token among them. Without one the check ends.
func (s *session) refreshable() tokens {
	for _, c := range s.users() {
		if t := s.tokens(c); t.refresh != "" {
			return t
		}
	}
	s.user()
	cannot("no refresh token is issued")
	return tokens{}
}

func (s *session) refresh(c Client, token string, change url.Values) *answer {
	g := grant{c, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}}
	return s.post("token", g.with(change), c)
}

// live says whether an access token is good, by introspection, a resource or
// userinfo. Without any of them the check ends.
func (s *session) live(token string) bool {
	switch {
	case s.Introspector.ID != "" && s.ends["introspect"] != "":
		a := s.post("introspect", url.Values{"token": {token}}, s.Introspector)
		if active, ok := a.json["active"].(bool); ok {
			return active
		}
		cannot("introspection does not answer the client that may ask: %s", a.brief())
	case s.resource() != "":
		a := s.bearer(token)
		return a.status/100 == 2 || a.status == http.StatusForbidden
	default:
		cannot("nothing tells whether a token is good: no client for introspection, no userinfo, no resource")
	}
	return false
}

// lively is live for a token that must be good, or else nothing can be told of it.
func (s *session) lively(token string) {
	if !s.live(token) {
		cannot("a fresh token is not known as a good one")
	}
}

// resource is where a token can be tried, "" where there is nothing.
func (s *session) resource() string {
	if s.Resource != "" {
		return s.Resource
	}
	return s.ends["userinfo"]
}

// needResource is the resource; without one the check ends.
func (s *session) needResource() string {
	if s.resource() == "" {
		cannot("no resource and no userinfo endpoint are known")
	}
	return s.resource()
}

// bearer calls the resource with a token.
func (s *session) bearer(token string) *answer {
	r := s.request(http.MethodGet, s.needResource(), "")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return s.do(r)
}

const maxProblems = 4 // in one finding

// verdict is one finding for all the problems.
func verdict(problems []string, fine string, args ...any) outcome {
	if n := len(problems) - maxProblems; n > 0 {
		problems = append(slices.Clone(problems[:maxProblems]), fmt.Sprintf("and %d more", n))
	}
	if len(problems) > 0 {
		return found("%s", strings.Join(problems, "; "))
	}
	return pass(fine, args...)
}
