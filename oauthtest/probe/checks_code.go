package probe

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const racers = 8 // requests at once

var codeChecks = []check{
	{Check{"code-single-use", "A code is good once", "RFC 6749, section 4.1.2", High,
		"Use the code up by one conditional write, and refuse where it changed nothing."}, (*session).codeOnce},
	{Check{"code-race", "Of requests with one code at the same moment, one succeeds", "RFC 6749, section 4.1.2", High,
		"Use the code up by one conditional write (compare-and-swap, rows affected), not by read and delete."}, (*session).codeRace},
	{Check{"code-replay-revokes", "A code that is used again later ends what it gave", "RFC 6749, section 4.1.2", Medium,
		"Keep the code's authorization, and end it when a used code comes again."}, (*session).codeReplay},
	{Check{"code-client", "A code is good for its own client alone", "RFC 6749, section 4.1.3", High,
		"Compare the authenticated client with the one that the code was issued to."}, (*session).codeClient},
	{Check{"code-client-unharmed", "Another client's attempt does not use the code up", "RFC 6749, section 4.1.3", Medium,
		"Check everything before the code is used up; a failed check changes nothing."}, (*session).codeUnharmed},
	{Check{"code-redirect", "The redirect URI of the token request must be that of the authorization request", "RFC 6749, section 4.1.3", High,
		"Keep the redirect URI with the code and compare it as a whole string."}, (*session).codeRedirect},
	{Check{"code-failed-attempt", "A wrong verifier does not use the code up", "RFC 7636, section 4.6", Low,
		"Check everything before the code is used up: a retry with the right verifier must succeed."}, (*session).codeFailed},
	{Check{"code-scope", "A token request cannot widen the scope", "RFC 6749, section 4.1.3", High,
		"Issue the scopes that the user approved, whatever the token request says."}, (*session).codeScope},
	{Check{"code-kinds", "A code, a refresh token and an access token cannot stand for each other", "RFC 9700, section 2.2", High,
		"Give each kind of credential its own key or prefix, and check it."}, (*session).codeKinds},
	{Check{"code-guessing", "Codes and tokens are long and share no pattern", "RFC 6749, section 10.10", High,
		"Take 128 random bits or more from crypto/rand."}, (*session).codeGuessing},
}

var pkceChecks = []check{
	{Check{"pkce-required", "A public client must use PKCE", "RFC 9700, section 2.1.1", High,
		"Refuse authorization requests of public clients without code_challenge."}, (*session).pkceRequired},
	{Check{"pkce-plain", "The method plain is refused", "RFC 9700, section 2.1.1", Medium,
		"Accept S256 alone; without code_challenge_method the method is plain."}, (*session).pkcePlain},
	{Check{"pkce-verifier", "The verifier must be there and be the right one", "RFC 7636, section 4.6", High,
		"Where the code has a challenge, compare S256 of the verifier with it, also when none came."}, (*session).pkceVerifier},
	{Check{"pkce-downgrade", "A verifier for a code without a challenge is refused", "RFC 9700, section 2.1.1", Medium,
		"Refuse code_verifier where the authorization request had no code_challenge."}, (*session).pkceDowngrade},
	{Check{"pkce-format", "A malformed challenge is refused", "RFC 7636, section 4.2", Low,
		"Accept 43 base64url characters for S256."}, (*session).pkceFormat},
}

func (s *session) codeOnce() outcome {
	t := s.tokens(s.user())
	if a := s.post("token", t.code.values, t.client); a.granted() {
		return found("the second time it gives %s", a.brief())
	}
	return pass("refused the second time")
}

// race sends requests at the same moment.
func (s *session) race(next func() *http.Request) []*answer {
	var requests []*http.Request
	for range racers {
		requests = append(requests, next())
	}
	answers, failures := make([]*answer, racers), make([]error, racers)
	var begin, done sync.WaitGroup
	begin.Add(1)
	for i, r := range requests {
		done.Go(func() {
			begin.Wait()
			answers[i], failures[i] = s.once(r)
		})
	}
	begin.Done()
	done.Wait()
	for _, err := range failures {
		if err != nil {
			cannot("%v", err)
		}
	}
	return answers
}

func (s *session) codeRace() outcome {
	c := s.user()
	for range 3 {
		g := s.good(c)
		n := 0
		for _, a := range s.race(func() *http.Request { return s.form("token", g.values, c) }) {
			if a.granted() {
				n++
			}
		}
		if n != 1 {
			return found("%d of %d requests succeed", n, racers)
		}
	}
	return pass("1 of %d, three times", racers)
}

func (s *session) codeReplay() outcome {
	t := s.tokens(s.user())
	known := s.tellsLife()
	if known {
		s.lively(t.access)
	} else if t.refresh == "" {
		return notRun("there is no refresh token, and nothing tells whether a token is good")
	}
	if err := s.sleep(3 * time.Second); err != nil {
		cannot("%v", err)
	}
	if a := s.post("token", t.code.values, t.client); a.granted() {
		return found("after 3 s the code gives %s again", a.brief())
	}
	var bad []string
	if known && s.live(t.access) {
		bad = append(bad, "the access token is still good")
	}
	if t.refresh != "" {
		if a := s.refresh(t.client, t.refresh, nil); a.granted() {
			bad = append(bad, "the refresh token gives "+a.brief())
		}
	}
	return verdict(bad, "what it gave has ended")
}

// tellsLife says whether anything tells that an access token is good.
func (s *session) tellsLife() bool {
	return s.Introspector.ID != "" && s.ends["introspect"] != "" || s.resource() != ""
}

func (s *session) codeClient() outcome {
	var seen []string
	for _, c := range s.users() {
		g := s.good(c)
		other := s.another(c)
		if a := s.post("token", g.values, other); a.granted() {
			return found("the code of %s gives %s to %s", c.ID, a.brief(), other.ID)
		}
		seen = append(seen, c.ID)
	}
	s.user()
	return pass("refused: %s", strings.Join(seen, ", "))
}

func (s *session) codeUnharmed() outcome {
	c := s.user()
	g := s.good(c)
	if a := s.post("token", g.values, s.another(c)); a.granted() {
		return notRun("the other client gets tokens: see code-client")
	}
	if a := s.post("token", g.values, c); !a.granted() {
		return found("after another client's attempt the right one gets %s", a.brief())
	}
	return pass("still good")
}

func (s *session) codeRedirect() outcome {
	c := s.user()
	for _, uri := range []string{attacker + "/", c.RedirectURI + "/x"} {
		if a := s.post("token", s.good(c).with(url.Values{"redirect_uri": {uri}}), c); a.granted() {
			return found("redirect_uri=%s gives %s", uri, a.brief())
		}
	}
	return pass("refused")
}

func (s *session) codeFailed() outcome {
	c := s.user()
	g := s.good(c)
	if a := s.post("token", g.with(url.Values{"code_verifier": {strings.Repeat("w", 43)}}), c); a.granted() {
		return notRun("a wrong verifier gives tokens: see pkce-verifier")
	}
	if a := s.post("token", g.values, c); !a.granted() {
		return found("after a wrong verifier the right one gives %s", a.brief())
	}
	return pass("still good")
}

func (s *session) codeScope() outcome {
	c := s.user()
	if len(c.Scopes) == 0 {
		return notRun("the client has no scopes")
	}
	s.good(c)
	narrow := c.Scopes[:1]
	wide := append(slices.Clone(c.Scopes), "no-such-scope-of-a-probe")
	g := s.code(c, url.Values{"scope": narrow})
	a := s.post("token", g.with(url.Values{"scope": {strings.Join(wide, " ")}}), c)
	if a.granted() && a.json["scope"] != nil && len(strings.Fields(a.text("scope"))) > 1 {
		return found("asked and approved was %q, issued is %q", narrow, a.text("scope"))
	}
	return pass("%s", a.brief())
}

func (s *session) codeKinds() outcome {
	t := s.refreshable()
	if a := s.post("token", t.code.with(url.Values{"code": {t.refresh}}), t.client); a.granted() {
		return found("a refresh token as code gives %s", a.brief())
	}
	if a := s.refresh(t.client, t.access, nil); a.granted() {
		return found("an access token as refresh token gives %s", a.brief())
	}
	if s.resource() != "" {
		if a := s.bearer(t.refresh); a.status/100 == 2 {
			return found("a refresh token as access token gives %s", a.brief())
		}
	}
	return pass("refused")
}

func (s *session) codeGuessing() outcome {
	c := s.user()
	kinds := map[string][]string{}
	for range 4 {
		t := s.tokens(c)
		kinds["code"] = append(kinds["code"], t.code.values.Get("code"))
		kinds["access token"] = append(kinds["access token"], t.access)
		if t.refresh != "" {
			kinds["refresh token"] = append(kinds["refresh token"], t.refresh)
		}
	}
	var bad []string
	for kind, list := range kinds {
		for i, text := range list {
			if n := distinct(text, list[:i]); n < 22 { // 128 bits in base64url
				bad = append(bad, "a "+kind+" has less than 22 characters that are its own")
				break
			}
		}
	}
	slices.Sort(bad)
	return verdict(bad, "%d samples", 4*len(kinds))
}

// distinct counts the characters of a text that differ from those of the others at
// the same place, scaled by what chance leaves equal.
func distinct(text string, others []string) int {
	own := len(text)
	for _, o := range others {
		n := 0
		for i := range len(text) {
			if i >= len(o) || o[i] != text[i] {
				n++
			}
		}
		own = min(own, n+n/16) // one of 16 hex digits is equal by chance
	}
	return own
}

func (s *session) pkceRequired() outcome {
	c := s.public()
	s.good(c)
	if l, what := s.refusal(s.ask(c, url.Values{"code_challenge": nil, "code_challenge_method": nil})); what != "" {
		return found("without code_challenge the answer is %s", l.brief())
	}
	return pass("refused")
}

func (s *session) pkcePlain() outcome {
	c := s.flowing()
	verifier := strings.Repeat("p", 43)
	for _, method := range []url.Values{{"code_challenge_method": {"plain"}}, {"code_challenge_method": nil}} {
		method.Set("code_challenge", verifier)
		if l, what := s.refusal(s.ask(c, method)); what != "" {
			return found("code_challenge_method=%s gives %s", method.Get("code_challenge_method"), l.brief())
		}
	}
	return pass("refused")
}

func (s *session) pkceVerifier() outcome {
	var bad []string
	for _, c := range s.users() {
		g := s.good(c)
		own := g.values.Get("code_verifier")
		for what, verifier := range map[string][]string{"no verifier": nil, "an empty verifier": {""}, "a wrong verifier": {strings.Repeat("w", 43)},
			"the challenge as verifier": {challenge(own)}, "another flow's verifier": {s.good(c).values.Get("code_verifier")}} {
			g := s.good(c)
			if what == "the challenge as verifier" {
				verifier = []string{challenge(g.values.Get("code_verifier"))}
			}
			if a := s.post("token", g.with(url.Values{"code_verifier": verifier}), c); a.granted() {
				bad = append(bad, "client "+c.ID+": "+what+" gives "+a.brief())
			}
		}
	}
	s.user()
	slices.Sort(bad)
	return verdict(bad, "refused")
}

func (s *session) pkceDowngrade() outcome {
	for _, c := range []Client{s.Confidential, s.Public} {
		if c.ID == "" || c.RedirectURI == "" {
			continue
		}
		s.good(c)
		q := s.ask(c, url.Values{"code_challenge": nil, "code_challenge_method": nil})
		l := s.visit(q)
		if l.code() == "" {
			continue
		}
		s.keep(l.code())
		g := grant{c, url.Values{"grant_type": {"authorization_code"}, "code": {l.code()}, "redirect_uri": {c.RedirectURI},
			"code_verifier": {strings.Repeat("v", 43)}}}
		if a := s.post("token", g.values, c); a.granted() {
			return found("client %s: a verifier gives %s for a code without a challenge", c.ID, a.brief())
		}
		return pass("client %s: refused", c.ID)
	}
	s.user()
	return pass("no client gets a code without a challenge")
}

func (s *session) pkceFormat() outcome {
	c := s.flowing()
	for _, bad := range []string{strings.Repeat("s", 5), strings.Repeat("a", 42), strings.Repeat("+", 43), strings.Repeat("a", 129)} {
		if l, what := s.refusal(s.ask(c, url.Values{"code_challenge": {bad}})); what != "" {
			return found("a challenge of %d times %q gives %s", len(bad), bad[:1], l.brief())
		}
	}
	return pass("refused")
}
