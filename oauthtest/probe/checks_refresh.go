package probe

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

var refreshChecks = []check{
	{Check{"refresh-works", "A refresh token gives new tokens", "RFC 6749, section 6", Medium,
		"Read what the server logs of this request."}, (*session).refreshWorks},
	{Check{"refresh-rotation", "The refresh token of a public client is replaced with every use", "RFC 9700, section 4.14.2", Medium,
		"Rotate refresh tokens of public clients, or bind them to a key."}, (*session).refreshRotation},
	{Check{"refresh-reuse", "A refresh token that was replaced twice ends the authorization", "RFC 9700, section 4.14.2", High,
		"Recognise every earlier generation, and end the authorization when one comes."}, (*session).refreshReuse},
	{Check{"refresh-race", "Of refreshes at the same moment come no two chains of tokens", "RFC 9700, section 4.14.2", High,
		"Rotate by one conditional write; give all the same successor, or refuse all but one."}, (*session).refreshRace},
	{Check{"refresh-client", "A refresh token is good for its own client alone", "RFC 6749, section 6", High,
		"Compare the authenticated client with the one that the token was issued to."}, (*session).refreshClient},
	{Check{"refresh-client-unharmed", "Another client's attempt ends nothing", "RFC 6749, section 6", Medium,
		"Compare the client before the token is used up or reuse is considered."}, (*session).refreshUnharmed},
	{Check{"refresh-scope", "A refresh cannot widen the scope", "RFC 6749, section 6", High,
		"Hold the scope of the request against what was granted; answer invalid_scope."}, (*session).refreshScope},
	{Check{"refresh-narrow", "A narrower refresh keeps the scope of the grant", "RFC 6749, section 6", Low,
		"Narrow the access token alone; the next refresh has the original scope again."}, (*session).refreshNarrow},
}

var revokeChecks = []check{
	{Check{"revoke-effective", "After 200 the token is dead, and with a refresh token its access tokens", "RFC 7009, section 2.1", High,
		"End the authorization before the answer; answer 503 where that failed."}, (*session).revokeEffective},
	{Check{"revoke-access", "After 200 an access token is dead", "RFC 7009, section 2.1", High,
		"Check access tokens against what is stored, or keep a list of those revoked."}, (*session).revokeAccess},
	{Check{"revoke-unknown", "An unknown token is answered with 200", "RFC 7009, section 2.2", Low,
		"Answer 200: the client cannot do anything about it."}, (*session).revokeUnknown},
	{Check{"revoke-client", "A client cannot revoke another's token", "RFC 7009, section 2.1", Medium,
		"Compare the authenticated client with the one that the token was issued to."}, (*session).revokeClient},
	{Check{"revoke-anonymous", "Nobody revokes without being a client", "RFC 7009, section 2.1", Medium,
		"Authenticate as at the token endpoint; a public client sends its client_id."}, (*session).revokeAnonymous},
	{Check{"revoke-get", "A revocation by GET is refused", "RFC 7009, section 2.1", Medium,
		"Accept POST alone."}, (*session).revokeGet},
}

var introspectChecks = []check{
	{Check{"introspect-answer", "Introspection tells of a live token what it is", "RFC 7662, section 2.2", Medium,
		"Answer active, client_id, exp, scope and token_type, as JSON and with no-store."}, (*session).introspectAnswer},
	{Check{"introspect-unknown", "Of an unknown token it says that it is not active, and nothing else", "RFC 7662, section 2.2", Medium,
		"Answer active false alone."}, (*session).introspectUnknown},
	{Check{"introspect-authenticates", "Only clients with a secret may introspect", "RFC 7662, section 2.1", High,
		"Authenticate the caller; refuse public clients."}, (*session).introspectAnybody},
	{Check{"introspect-get", "An introspection by GET is refused", "RFC 7662, section 2.1", Medium,
		"Accept POST alone: a URL ends up in logs."}, (*session).introspectGet},
}

var bearerChecks = []check{
	{Check{"bearer-accepted", "A live token opens the resource", "RFC 6750, section 2.1", Medium,
		"Check the fixtures; then audience and scope that the resource asks for."}, (*session).bearerAccepted},
	{Check{"bearer-challenge", "Without a token the answer is 401 with a Bearer challenge", "RFC 6750, section 3", Medium,
		"Answer 401 with WWW-Authenticate: Bearer, and error only where a token came."}, (*session).bearerChallenge},
	{Check{"bearer-altered", "A token that was changed is refused", "RFC 6750, section 3.1", High,
		"Verify tokens whole: signature or MAC over everything."}, (*session).bearerAltered},
	{Check{"bearer-query", "A token in the URL does not count", "RFC 9700, section 4.3.2", High,
		"Read the Authorization header alone."}, (*session).bearerQuery},
}

func (s *session) refreshWorks() outcome {
	t := s.refreshable()
	if a := s.refresh(t.client, t.refresh, nil); !a.granted() {
		return found("client %s: %s", t.client.ID, a.brief())
	}
	return pass("client %s", t.client.ID)
}

// next refreshes, which must succeed, and returns the refresh token that is good then.
func (s *session) next(c Client, token string) string {
	a := s.refresh(c, token, nil)
	if !a.granted() {
		cannot("the refresh did not succeed: %s", a.brief())
	}
	if next := a.text("refresh_token"); next != "" {
		return next
	}
	return token
}

func (s *session) refreshRotation() outcome {
	c := s.public()
	t := s.tokens(c)
	if t.refresh == "" {
		return notRun("no refresh token is issued")
	}
	if s.next(c, t.refresh) == t.refresh {
		return found("the same refresh token is good again")
	}
	return pass("replaced")
}

func (s *session) refreshReuse() outcome {
	t := s.refreshable()
	second := s.next(t.client, t.refresh)
	third := s.next(t.client, second)
	if third == second && second == t.refresh {
		return notRun("refresh tokens are not replaced")
	}
	if a := s.refresh(t.client, t.refresh, nil); a.granted() {
		return found("the first of three refresh tokens gives %s", a.brief())
	}
	if a := s.refresh(t.client, third, nil); a.granted() {
		return found("after the first of three came again the last still gives %s", a.brief())
	}
	return pass("ended")
}

func (s *session) refreshRace() outcome {
	t := s.refreshable()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.refresh}}
	var tokens []string
	n := 0
	for _, a := range s.race(func() *http.Request { return s.form("token", form, t.client) }) {
		if a.status >= http.StatusInternalServerError {
			return found("one of %d answers is %d", racers, a.status)
		}
		if a.granted() {
			n++
			if next := a.text("refresh_token"); next != "" && !slices.Contains(tokens, next) {
				tokens = append(tokens, next)
			}
		}
	}
	if len(tokens) > 1 || n == 0 {
		return found("%d of %d succeed, with %d different refresh tokens", n, racers, len(tokens))
	}
	return pass("%d of %d succeed, with %d refresh token", n, racers, len(tokens))
}

func (s *session) refreshClient() outcome {
	t := s.refreshable()
	other := s.another(t.client)
	if a := s.refresh(other, t.refresh, nil); a.granted() {
		return found("the refresh token of %s gives %s to %s", t.client.ID, a.brief(), other.ID)
	}
	return pass("refused")
}

func (s *session) refreshUnharmed() outcome {
	t := s.refreshable()
	if a := s.refresh(s.another(t.client), t.refresh, nil); a.granted() {
		return notRun("the other client gets tokens: see refresh-client")
	}
	if a := s.refresh(t.client, t.refresh, nil); !a.granted() {
		return found("after another client's attempt the right one gets %s", a.brief())
	}
	return pass("still good")
}

func (s *session) refreshScope() outcome {
	t := s.refreshable()
	wide := append(slices.Clone(t.client.Scopes), "no-such-scope-of-a-probe")
	a := s.refresh(t.client, t.refresh, url.Values{"scope": {strings.Join(wide, " ")}})
	if a.granted() && (a.json["scope"] == nil || strings.Contains(a.text("scope"), "no-such-scope")) {
		return found("a wider scope gives %s", a.brief())
	}
	if len(t.client.Scopes) > 1 {
		c := t.client
		c.Scopes = c.Scopes[:1]
		g := s.code(c, nil)
		b := s.post("token", g.values, c)
		if refresh := b.text("refresh_token"); b.granted() && refresh != "" {
			b = s.refresh(c, refresh, url.Values{"scope": {strings.Join(t.client.Scopes, " ")}})
			if b.granted() && (b.json["scope"] == nil || len(strings.Fields(b.text("scope"))) > 1) {
				return found("a scope of the client that was not approved is granted")
			}
		}
	}
	return pass("%s", a.brief())
}

func (s *session) refreshNarrow() outcome {
	t := s.refreshable()
	if len(t.client.Scopes) < 2 {
		return notRun("the client has fewer than two scopes")
	}
	a := s.refresh(t.client, t.refresh, url.Values{"scope": {t.client.Scopes[0]}})
	if !a.granted() {
		return found("a narrower scope gives %s", a.brief())
	}
	next := a.text("refresh_token")
	if next == "" {
		next = t.refresh
	}
	b := s.refresh(t.client, next, nil)
	if !b.granted() || b.json["scope"] != nil && len(strings.Fields(b.text("scope"))) < len(t.client.Scopes) {
		return found("afterwards the scope is %q: %s", b.text("scope"), b.brief())
	}
	return pass("the next refresh has %d scopes again", len(t.client.Scopes))
}

func (s *session) revokeEffective() outcome {
	s.end("revoke")
	t := s.refreshable()
	a := s.post("revoke", url.Values{"token": {t.refresh}}, t.client)
	if a.status != http.StatusOK {
		return found("client %s cannot revoke its own refresh token: %s", t.client.ID, a.brief())
	}
	var bad []string
	if b := s.refresh(t.client, t.refresh, nil); b.granted() {
		bad = append(bad, "the refresh token still gives "+b.brief())
	}
	if s.tellsLife() && s.live(t.access) {
		bad = append(bad, "the access token is still good")
	}
	return verdict(bad, "dead")
}

func (s *session) revokeAccess() outcome {
	s.end("revoke")
	c := s.any()
	t := s.tokens(c)
	s.lively(t.access)
	if a := s.post("revoke", url.Values{"token": {t.access}}, c); a.status != http.StatusOK {
		return found("client %s cannot revoke its own access token: %s", c.ID, a.brief())
	}
	if s.live(t.access) {
		return found("the access token is still good")
	}
	return pass("dead")
}

func (s *session) revokeUnknown() outcome {
	a := s.post("revoke", url.Values{"token": {"no-such-token-of-a-probe"}}, s.any())
	if a.status != http.StatusOK {
		return found("%s", a.brief())
	}
	return pass("200")
}

func (s *session) revokeClient() outcome {
	s.end("revoke")
	t := s.refreshable()
	other := s.another(t.client)
	s.post("revoke", url.Values{"token": {t.refresh}}, other)
	if a := s.refresh(t.client, t.refresh, nil); !a.granted() {
		return found("client %s ended an authorization of %s", other.ID, t.client.ID)
	}
	return pass("the token lives")
}

func (s *session) revokeAnonymous() outcome {
	s.end("revoke")
	t := s.refreshable()
	a := s.post("revoke", url.Values{"token": {t.refresh}}, Client{})
	if b := s.refresh(t.client, t.refresh, nil); !b.granted() {
		return found("a request without a client ended the authorization")
	}
	if a.status == http.StatusOK {
		return found("a request without a client is answered with 200, and the token lives")
	}
	return pass("%s", a.brief())
}

// byGet sends a token in the URL, with the credentials of a client.
func (s *session) byGet(name, token string, c Client) *answer {
	r := s.request(http.MethodGet, s.end(name), "")
	q := url.Values{"token": {token}}
	if c.Secret == "" || c.SecretPost {
		q.Set("client_id", c.ID)
	} else {
		r.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	}
	r.URL.RawQuery = q.Encode()
	return s.do(r)
}

func (s *session) revokeGet() outcome {
	s.end("revoke")
	if a := s.byGet("revoke", "no-such-token-of-a-probe", s.any()); a.status/100 == 2 {
		return found("GET gives %s", a.brief())
	}
	return pass("refused")
}

func (s *session) introspector() Client {
	s.end("introspect")
	if s.Introspector.ID == "" {
		cannot("no client for introspection was given")
	}
	return s.Introspector
}

func (s *session) introspectAnswer() outcome {
	by := s.introspector()
	t := s.tokens(s.any())
	a := s.post("introspect", url.Values{"token": {t.access}}, by)
	var bad []string
	if active, _ := a.json["active"].(bool); !active {
		return found("a fresh token is not active: %s", a.brief())
	}
	if a.text("client_id") != t.client.ID {
		bad = append(bad, fmt.Sprintf("client_id is %q", a.text("client_id")))
	}
	if _, ok := a.json["exp"].(float64); !ok {
		bad = append(bad, "exp is no number")
	}
	if !strings.Contains(a.header.Get("Cache-Control"), "no-store") {
		bad = append(bad, "there is no Cache-Control: no-store")
	}
	return verdict(bad, "%d members", len(a.json))
}

func (s *session) introspectUnknown() outcome {
	a := s.post("introspect", url.Values{"token": {"no-such-token-of-a-probe"}}, s.introspector())
	active, ok := a.json["active"].(bool)
	if a.status != http.StatusOK || !ok || active || len(a.json) > 1 {
		return found("%s, %d members, active %t", a.brief(), len(a.json), active)
	}
	return pass("active false")
}

func (s *session) introspectAnybody() outcome {
	s.end("introspect")
	t := s.tokens(s.any())
	callers := map[string]Client{"nobody": {}, "a wrong secret": {ID: s.Introspector.ID, Secret: "wrong-secret-of-a-probe"}}
	if s.Public.ID != "" {
		callers["a public client"] = s.Public
	}
	var bad []string
	for who, c := range callers {
		if a := s.post("introspect", url.Values{"token": {t.access}}, c); a.status/100 == 2 && a.json["active"] != nil {
			bad = append(bad, who+" is answered")
		}
	}
	slices.Sort(bad)
	return verdict(bad, "refused")
}

func (s *session) introspectGet() outcome {
	by := s.introspector()
	if a := s.byGet("introspect", s.tokens(s.any()).access, by); a.status/100 == 2 {
		return found("GET gives %s", a.brief())
	}
	return pass("refused")
}

func (s *session) bearerAccepted() outcome {
	s.needResource()
	if a := s.bearer(s.tokens(s.user()).access); a.status/100 != 2 {
		return found("%s gives %s", s.resource(), a.brief())
	}
	return pass("%s", s.resource())
}

func (s *session) bearerChallenge() outcome {
	a, b := s.bearer(""), s.bearer("no-such-token-of-a-probe")
	for _, x := range []struct {
		*answer
		what  string
		error bool
	}{{a, "no token", false}, {b, "an unknown token", true}} {
		challenge := x.header.Get("WWW-Authenticate")
		switch {
		case x.status != http.StatusUnauthorized:
			return found("%s gives %s", x.what, x.brief())
		case !strings.HasPrefix(strings.ToLower(challenge), "bearer"):
			return found("%s gives no WWW-Authenticate: Bearer", x.what)
		case strings.Contains(challenge, "error=") != x.error:
			return found("%s: error in the challenge is %t", x.what, !x.error)
		}
	}
	return pass("401 with a challenge")
}

func (s *session) bearerAltered() outcome {
	token := s.tokens(s.user()).access
	if s.bearer(token).status/100 != 2 {
		return notRun("the token as it is does not open the resource")
	}
	for what, t := range map[string]string{"one character less": token[:len(token)-1], "one character more": token + "A",
		"its middle changed": token[:len(token)/2] + flip(token[len(token)/2]) + token[len(token)/2+1:]} {
		if a := s.bearer(t); a.status/100 == 2 {
			return found("with %s the token gives %s", what, a.brief())
		}
	}
	return pass("refused")
}

// flip is another character that tokens have.
func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

func (s *session) bearerQuery() outcome {
	token := s.tokens(s.user()).access
	r := s.request(http.MethodGet, s.needResource(), "")
	r.URL.RawQuery = url.Values{"access_token": {token}}.Encode()
	if a := s.do(r); a.status/100 == 2 {
		return found("?access_token= gives %s", a.brief())
	}
	return pass("refused")
}
