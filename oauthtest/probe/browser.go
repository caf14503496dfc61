package probe

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/grantwell/oauth/internal/htmlform"
)

const maxSteps = 15 // redirects and forms between a request and its end

// A browser keeps cookies. It is not told apart by path or domain: all its pages are
// on the origins of the target.
type browser struct {
	s       *session
	header  http.Header
	cookies []*http.Cookie
}

// stranger is a browser that has never been there.
func (s *session) stranger() *browser { return &browser{s: s} }

// do sends a request with the cookies that keep says, all where it is nil.
func (b *browser) do(r *http.Request, keep func(*http.Cookie) bool) *answer {
	if keep == nil {
		for name, values := range b.header {
			r.Header[name] = append(r.Header[name], values...)
		}
	}
	for _, c := range b.cookies {
		if keep == nil || keep(c) {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value, Quoted: c.Quoted})
		}
	}
	a := b.s.do(r)
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		b.cookies = slices.DeleteFunc(b.cookies, func(old *http.Cookie) bool { return old.Name == c.Name })
		if c.MaxAge >= 0 && c.Value != "" {
			b.cookies = append(b.cookies, c)
		}
	}
	return a
}

func (b *browser) get(at string) *answer {
	r := b.s.request(http.MethodGet, at, "")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	return b.do(r, nil)
}

// A submission is a form that was filled in.
type submission struct {
	at     *url.URL
	method string
	values url.Values
	button htmlform.Button
	page   *answer // that the form is on
}

// submit submits a form, the way the page does that it is on.
func (b *browser) submit(x *submission) *answer {
	if x.method != http.MethodPost {
		to := *x.at
		to.RawQuery = x.values.Encode()
		return b.get(to.String())
	}
	r := b.s.request(http.MethodPost, x.at.String(), x.values.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", x.page.url.Scheme+"://"+x.page.url.Host)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	return b.do(r, nil)
}

// fill finds the form of a page that the user submits. nil: there is none.
func (s *session) fill(page *answer) *submission {
	f, pressed := choose(htmlform.Parse(page.body), s.Press, s.Fields)
	if f == nil {
		return nil
	}
	at, err := page.url.Parse(f.Action)
	if err != nil {
		return nil
	}
	x := &submission{at: at, method: f.Method, values: url.Values{}, page: page, button: *pressed}
	for _, in := range f.Fields {
		value, given := s.Fields[in.Name]
		if in.Name == "" || in.Off && !given {
			continue
		}
		if !given || in.Kind == "hidden" {
			value = in.Value
		}
		if in.Kind == "hidden" {
			s.keep(value)
		}
		x.values.Add(in.Name, value)
	}
	if pressed.Name != "" {
		x.values.Set(pressed.Name, pressed.Value)
	}
	return x
}

// visible are the kinds of input that a person fills in.
var visible = []string{"", "text", "email", "password", "tel", "number", "search", "url"}

// words are the buttons that a user who agrees presses.
var words = []string{"allow", "approve", "accept", "authorize", "authorise", "grant", "agree", "confirm", "yes", "continue",
	"sign in", "log in", "login", "signin", "submit"}

// choose finds the form to submit and the button to press: the first of press that a
// page has, else the only button of the first form that a person has to fill in.
func choose(forms []*htmlform.Form, press []string, fields map[string]string) (*htmlform.Form, *htmlform.Button) {
	if len(press) == 0 {
		press = words
	}
	for _, word := range press {
		for _, f := range forms {
			for i := range f.Buttons {
				b := &f.Buttons[i]
				if strings.EqualFold(b.Text, word) || b.Value != "" && strings.EqualFold(b.Value, word) {
					return f, b
				}
			}
		}
	}
	for _, f := range forms {
		needs := slices.ContainsFunc(f.Fields, func(x htmlform.Field) bool { return slices.Contains(visible, x.Kind) && fields[x.Name] != "" })
		if (needs || len(forms) == 1) && len(f.Buttons) < 2 {
			if len(f.Buttons) == 1 {
				return f, &f.Buttons[0]
			}
			return f, &htmlform.Button{}
		}
	}
	return nil, nil
}

// A landing is where an authorization request ended.
type landing struct {
	answer  *answer    // the last one; nil where Approve did it
	to      *url.URL   // the callback; nil: the browser stayed at the server
	params  url.Values // of the callback
	forms   int        // submitted on the way
	stuck   string     // why the browser did not get further, where it is a page that is no refusal
	pending *submission
}

func (l landing) code() string { return l.params.Get("code") }

// brief describes where the browser is.
func (l landing) brief() string {
	switch e := l.params.Get("error"); {
	case l.to != nil && l.code() != "":
		return "a code to " + plain(l.to)
	case l.to != nil && errorCode.MatchString(e):
		return e + " to " + plain(l.to)
	case l.to != nil:
		return "a redirect to " + plain(l.to)
	case l.answer != nil:
		return "a page with " + l.answer.brief()
	}
	return "no redirect"
}

// land reads a callback.
func (l *landing) land(to *url.URL) {
	l.to = to
	l.params, _ = url.ParseQuery(to.RawQuery)
	if to.Fragment != "" {
		in, _ := url.ParseQuery(to.Fragment)
		for name, values := range in {
			l.params[name] = append(l.params[name], values...)
		}
	}
}

// leaves says whether a redirect goes to a client: to another origin, or to one of
// the redirect URIs in play, which may be on this one.
func (s *session) leaves(a *answer, uris []string) bool {
	to := a.location()
	if to == nil {
		return false
	}
	if !s.allowed(to) {
		return true
	}
	bare := func(uri string) string { return uri[:strings.IndexAny(uri+"?", "?#")] }
	whole, sent := bare(to.String()), bare(a.header.Get("Location"))
	return slices.ContainsFunc(uris, func(uri string) bool {
		uri = bare(uri)
		return uri != "" && (whole == uri || sent == uri)
	})
}

// go on from an answer as the user would, until the browser leaves or cannot go
// further. It stops before form number before, if that is not negative.
func (b *browser) walk(a *answer, uris []string, before int) landing {
	l := landing{answer: a}
	for range maxSteps {
		if l.answer.status >= 300 && l.answer.status <= 399 && l.answer.header.Get("Location") != "" {
			to := l.answer.location()
			if b.s.leaves(l.answer, uris) {
				l.land(to)
				return l
			}
			l.answer = b.get(to.String())
			continue
		}
		if l.answer.status >= 400 {
			return l
		}
		x := b.s.fill(l.answer)
		if x == nil {
			l.stuck = "a page at " + plain(l.answer.url) + " without a form that the fixtures can fill in"
			return l
		}
		l.pending = x
		if l.forms == before {
			return l
		}
		l.forms++
		l.answer = b.submit(x)
	}
	l.stuck = "a page that keeps coming back: the sign-in does not work with these fixtures"
	return l
}

// visit sends an authorization request and goes as far as the user would.
func (s *session) visit(q request) landing {
	uris := append(slices.Clone(q.params["redirect_uri"]), q.client.RedirectURI)
	first := s.browser.get(q.url())
	if s.Approve == nil {
		return s.browser.walk(first, uris, -1)
	}
	if s.leaves(first, uris) {
		l := landing{answer: first}
		l.land(first.location())
		return l
	}
	if first.status >= 400 {
		return landing{answer: first}
	}
	callback, err := s.Approve(s.ctx, q.url())
	if err != nil {
		return landing{answer: first, stuck: "Approve failed: " + err.Error()}
	}
	to, err := url.Parse(callback)
	if err != nil || callback == "" {
		return landing{answer: first, stuck: "Approve returned no URL"}
	}
	l := landing{forms: 1}
	l.land(to)
	return l
}
