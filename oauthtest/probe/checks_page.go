package probe

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

var pageChecks = []check{
	{Check{"page-framing", "No other site can show the pages in a frame", "RFC 9700, section 4.16", Medium,
		"Send Content-Security-Policy with frame-ancestors 'none', and X-Frame-Options: DENY."}, (*session).pageFraming},
	{Check{"page-cached", "The pages are not cached and do not tell where they were", "RFC 9700, section 4.2.4", Low,
		"Send Cache-Control: no-store and Referrer-Policy: no-referrer."}, (*session).pageCached},
	{Check{"page-form-action", "The page's policy lets the form end at the client", "RFC 6749, section 4.1.2", Medium,
		"Leave form-action out of the Content-Security-Policy: Chromium holds it against the redirect too."}, (*session).pageFormAction},
	{Check{"consent-browser", "The decision counts only in the browser that began", "RFC 9700, section 4.7", High,
		"Bind what the page posts to a cookie of the browser that was sent to the authorization endpoint."}, (*session).consentBrowser},
	{Check{"consent-csrf", "Another site cannot post the decision", "RFC 6749, section 10.12", High,
		"Put an unguessable value into the form, and make the session's cookie SameSite."}, (*session).consentCSRF},
	{Check{"consent-fixed", "The decision cannot change the request", "RFC 6749, section 10.12", High,
		"Keep or seal the request when it is validated; read nothing of it from the form."}, (*session).consentFixed},
	{Check{"consent-once", "A decision sent twice makes no second code", "RFC 6749, section 10.5", Medium,
		"Let one request be approved once: send the same code again, or refuse."}, (*session).consentOnce},
}

// pending is the browser of a user before the last form, and how it is submitted.
func (s *session) pending(c Client) (*submission, request) {
	if s.Approve != nil {
		cannot("Approve goes through the pages")
	}
	if s.asked < 0 {
		s.flowing() // signs the user in
		l := s.visit(s.ask(c, nil))
		if l.code() == "" {
			cannot("no code came: %s", l.brief())
		}
		s.asked = l.forms
	}
	if s.asked == 0 {
		cannot("nobody is asked: there is no form")
	}
	q := s.ask(c, nil)
	l := s.browser.walk(s.browser.get(q.url()), []string{c.RedirectURI}, s.asked-1)
	if l.pending == nil || l.to != nil || l.stuck != "" {
		cannot("the form did not come again: %s", l.brief())
	}
	return l.pending, q
}

// page is what users see before they decide.
func (s *session) page() *answer {
	x, _ := s.pending(s.user())
	return x.page
}

func (s *session) pageFraming() outcome {
	h := s.page().header
	policy := strings.Join(h.Values("Content-Security-Policy"), ";")
	frame := strings.ToUpper(h.Get("X-Frame-Options"))
	if !strings.Contains(policy, "frame-ancestors") && frame != "DENY" && frame != "SAMEORIGIN" {
		return found("neither frame-ancestors nor X-Frame-Options")
	}
	return pass("frame-ancestors or X-Frame-Options")
}

func (s *session) pageCached() outcome {
	h := s.page().header
	var bad []string
	if !strings.Contains(h.Get("Cache-Control"), "no-store") {
		bad = append(bad, "there is no Cache-Control: no-store")
	}
	if h.Get("Referrer-Policy") == "" {
		bad = append(bad, "there is no Referrer-Policy")
	}
	return verdict(bad, "no-store, %s", h.Get("Referrer-Policy"))
}

func (s *session) pageFormAction() outcome {
	page := s.page()
	u, uri := s.parts()
	for _, policy := range page.header.Values("Content-Security-Policy") {
		for directive := range strings.SplitSeq(policy, ";") {
			words := strings.Fields(directive)
			if len(words) == 0 || !strings.EqualFold(words[0], "form-action") {
				continue
			}
			self := slices.Contains(words, "'self'") && origin(u) == origin(page.url)
			if !self && !slices.ContainsFunc(words[1:], func(w string) bool {
				return w == "*" || w == u.Scheme+":" || strings.HasPrefix(uri, strings.TrimSuffix(w, "/"))
			}) {
				return found("form-action does not have %s", site(u))
			}
		}
	}
	return pass("nothing in the way")
}

// decided submits a form in some way and says where a code went, nil for nowhere.
func (s *session) decided(b *browser, a *answer, uris ...string) *landing {
	l := b.walk(a, uris, 0)
	if l.code() == "" {
		return nil
	}
	s.keep(l.code())
	return &l
}

func (s *session) consentBrowser() outcome {
	c := s.user()
	x, _ := s.pending(c)
	b := s.stranger()
	if l := s.decided(b, b.submit(x), c.RedirectURI); l != nil {
		return found("a browser that has no cookie posts the form and gets %s", l.brief())
	}
	if s.decided(s.browser, s.browser.submit(x), c.RedirectURI) == nil {
		return notRun("afterwards the user's own browser cannot post it either")
	}
	return pass("refused; the user's own browser goes on")
}

func (s *session) consentCSRF() outcome {
	c := s.user()
	if len(s.Header) > 0 {
		return notRun("the session came as a header: whether other sites can use it cannot be seen")
	}
	x, q := s.pending(c)
	values := url.Values{}
	for name, list := range x.values {
		for _, v := range list {
			if len(v) < 12 || slices.Contains(q.params[name], v) || s.Fields[name] == v {
				values.Add(name, v) // what another site can know
			}
		}
	}
	at := *x.at
	known := url.Values{}
	for name, list := range at.Query() {
		if len(list[0]) < 12 || slices.Equal(list, q.params[name]) {
			known[name] = list
		}
	}
	at.RawQuery = known.Encode()
	r := s.request(http.MethodPost, at.String(), values.Encode())
	if x.method != http.MethodPost {
		at.RawQuery = values.Encode()
		r = s.request(http.MethodGet, at.String(), "")
	}
	b := &browser{s: s, cookies: slices.Clone(s.browser.cookies)}
	keep := foreign
	if x.method != http.MethodPost { // SameSite=Lax comes with a link
		keep = func(c *http.Cookie) bool { return c.SameSite != http.SameSiteStrictMode }
	}
	if l := s.decided(b, b.do(crossSite(r), keep), c.RedirectURI); l != nil {
		return found("what another site can know of the form is enough for %s", l.brief())
	}
	return pass("no code")
}

func (s *session) consentFixed() outcome {
	c := s.user()
	x, _ := s.pending(c)
	changed := *x
	changed.values = url.Values{"redirect_uri": {attacker + "/"}, "client_id": {"no-such-client-of-a-probe"}}
	for name, list := range x.values {
		if name != "redirect_uri" && name != "client_id" {
			changed.values[name] = list
		}
	}
	l := s.decided(s.browser, s.browser.submit(&changed), c.RedirectURI, attacker+"/")
	if l != nil && origin(l.to) == origin(must(attacker)) {
		return found("a redirect_uri in the form decides where the code goes")
	}
	if l == nil {
		return pass("refused")
	}
	return pass("%s", l.brief())
}

func (s *session) consentOnce() outcome {
	c := s.user()
	x, _ := s.pending(c)
	first := s.decided(s.browser, s.browser.submit(x), c.RedirectURI)
	if first == nil {
		return notRun("the form did not give a code")
	}
	second := s.decided(s.browser, s.browser.submit(x), c.RedirectURI)
	switch {
	case second == nil:
		return pass("the second is refused")
	case second.code() != first.code():
		return found("the same form sent twice gives two codes")
	}
	return pass("the same code again")
}

var lastChecks = []check{
	{Check{"server-errors", "Nothing of all this made the server fail", "RFC 6749, section 5.2", Medium,
		"Answer bad requests with 4xx; read the server's log for what went wrong."}, (*session).serverErrors},
}

func (s *session) serverErrors() outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.broken); n > 0 {
		return found("%s", fmt.Sprintf("%d answers of 500 and more, the first: %s", n, s.broken[0]))
	}
	return pass("%d requests", s.requests)
}
