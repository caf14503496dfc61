package oauthtest

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"github.com/grantwell/oauth/internal/htmlform"
)

// A Browser is a user at the server's pages, or at those of a host that is the server's
// Handler: it keeps cookies, follows redirects on the Issuer's host, and submits forms. It
// runs no script. A redirect to anywhere else is where it stops: at a client's callback,
// whose parameters [Answer.Location] has. A step that cannot be taken fails the test.
type Browser struct {
	URL  *url.URL // of the page
	Page *Answer  // nil before the first

	s      *Server
	client *http.Client
}

// Browser opens one that has no cookies yet.
func (s *Server) Browser() *Browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	client := &http.Client{Transport: s, Jar: jar, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Host != via[0].URL.Host || len(via) > 20 {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return &Browser{s: s, client: client}
}

// Open goes to a URL, or to a path of the page's host.
func (b *Browser) Open(to string) *Answer {
	b.s.t.Helper()
	return b.do(http.MethodGet, b.resolve(to), "")
}

func (b *Browser) resolve(to string) *url.URL {
	b.s.t.Helper()
	from, err := b.URL, error(nil)
	if from == nil {
		from, err = url.Parse(b.s.Config.Issuer)
	}
	if err == nil {
		if at, err := from.Parse(to); err == nil {
			return at
		}
	}
	b.s.t.Fatalf("oauthtest: the browser has no way to %q", to)
	return nil
}

// Press submits the form that has a button with this text, its fields set to these:
// name, value, name, value. All others stay as they are on the page. Of boxes with the
// name, the one of the value is checked and no other; "" checks none.
func (b *Browser) Press(button string, fields ...string) *Answer {
	b.s.t.Helper()
	if b.Page == nil || len(fields)%2 != 0 {
		b.s.t.Fatalf("oauthtest: Press needs a page, and fields in pairs of name and value: %d strings", len(fields))
	}
	var texts []string
	for _, form := range htmlform.Parse(string(b.Page.Body)) {
		for _, found := range form.Buttons {
			if found.Text == button {
				return b.submit(form, found, fields)
			}
			texts = append(texts, found.Text)
		}
	}
	b.s.t.Fatalf("oauthtest: no button %q on %s, but %q: %s", button, b.URL.Path, texts, b.Page.redacted())
	return nil
}

func (b *Browser) submit(form *htmlform.Form, pressed htmlform.Button, fields []string) *Answer {
	b.s.t.Helper()
	set := map[string]string{}
	for i := 0; i < len(fields); i += 2 {
		set[fields[i]] = fields[i+1]
	}
	values, filled := url.Values{}, map[string]bool{}
	for _, f := range form.Fields {
		value, given := set[f.Name]
		filled[f.Name] = true
		box := f.Kind == "checkbox" || f.Kind == "radio"
		switch {
		case f.Name == "" || box && given && value != f.Value || box && !given && f.Off:
		case given:
			values.Add(f.Name, value)
		default:
			values.Add(f.Name, f.Value)
		}
	}
	for name := range set {
		if !filled[name] {
			b.s.t.Fatalf("oauthtest: the form on %s has no field %q", b.URL.Path, name)
		}
	}
	if pressed.Name != "" {
		values.Set(pressed.Name, pressed.Value)
	}
	to := b.resolve(form.Action)
	if form.Method != http.MethodPost {
		to.RawQuery = values.Encode()
		return b.do(http.MethodGet, to, "")
	}
	return b.do(http.MethodPost, to, values.Encode())
}

func (b *Browser) do(method string, to *url.URL, form string) *Answer {
	b.s.t.Helper()
	ctx := context.WithValue(context.Background(), ownKey{}, true)
	r, err := http.NewRequestWithContext(ctx, method, to.String(), strings.NewReader(form))
	if err != nil {
		b.s.t.Fatalf("oauthtest: the browser: %v", err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.URL.Scheme+"://"+b.URL.Host)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.s.t.Fatalf("oauthtest: the browser: %s %s: %v", method, to.Path, err)
	}
	b.URL, b.Page = res.Request.URL, b.s.answer(res.Request, res)
	return b.Page
}
