// Package webtest is a browser for tests: it keeps cookies, follows redirects
// and submits the forms of a page, without a screen and without scripts.
package webtest

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// A Browser shows one page at a time.
type Browser struct {
	URL    *url.URL // of the page; where a redirect was not followed, its target
	Status int      // of the answer
	Text   string   // what a person can read on the page, with single spaces
	HTML   string

	t      testing.TB
	client *http.Client
	leave  string
	root   *html.Node
}

// New opens a browser without cookies. A redirect to a URL that begins with
// leave is not followed: the URL is where the test wants it. "" follows all.
func New(t testing.TB, leave string) *Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, leave: leave}
	b.client = &http.Client{Jar: jar, Timeout: 10 * time.Second, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if leave != "" && strings.HasPrefix(r.URL.String(), leave) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return b
}

// Tab is another page of the same browser: the cookies are shared.
func (b *Browser) Tab() *Browser {
	return &Browser{t: b.t, client: b.client, leave: b.leave}
}

// Open goes to a URL.
func (b *Browser) Open(to string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, to, http.NoBody)
	if err != nil {
		b.t.Fatal(err)
	}
	b.do(r)
}

// Press presses the button with this text, after the fields of its form that a
// person can see were filled in, in their order.
func (b *Browser) Press(button string, fields ...string) {
	b.t.Helper()
	form, pressed := b.find(button)
	if form == nil {
		b.t.Fatalf("webtest: no form with a button %q on %s: %s", button, b.URL, b.Text)
	}
	values := fill(form, fields)
	if name := attr(pressed, "name"); name != "" {
		values.Set(name, attr(pressed, "value"))
	}
	to, err := b.URL.Parse(attr(form, "action"))
	if err != nil {
		b.t.Fatal(err)
	}
	if !strings.EqualFold(attr(form, "method"), http.MethodPost) {
		to.RawQuery = values.Encode()
		b.Open(to.String())
		return
	}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, to.String(), strings.NewReader(values.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", b.URL.Scheme+"://"+b.URL.Host)
	if to.Host == b.URL.Host {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	} else {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	b.do(r)
}

func (b *Browser) do(r *http.Request) {
	b.t.Helper()
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.URL, b.Status, b.HTML = resp.Request.URL, resp.StatusCode, string(body)
	if to, err := resp.Location(); err == nil {
		b.URL = to
	}
	if b.root, err = html.Parse(strings.NewReader(b.HTML)); err != nil {
		b.t.Fatal(err)
	}
	b.Text = text(b.root)
}

// find returns the form that has a button with this text, and the button.
func (b *Browser) find(button string) (form, pressed *html.Node) {
	if b.root == nil {
		return nil, nil
	}
	for n := range b.root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "button" && text(n) == button {
			for f := n.Parent; f != nil; f = f.Parent {
				if f.Data == "form" {
					return f, n
				}
			}
		}
	}
	return nil, nil
}

// fill is what a form sends: hidden fields as they are, boxes as they are
// checked, the other fields in their order as given, or as they are.
func fill(form *html.Node, fields []string) url.Values {
	values := url.Values{}
	for n := range form.Descendants() {
		name := attr(n, "name")
		if n.Type != html.ElementNode || n.Data != "input" || name == "" {
			continue
		}
		value := attr(n, "value")
		switch attr(n, "type") {
		case "submit", "reset", "button":
			continue
		case "checkbox", "radio":
			if !has(n, "checked") {
				continue
			}
			if value == "" {
				value = "on"
			}
		case "hidden":
		default:
			if len(fields) > 0 {
				value, fields = fields[0], fields[1:]
			}
		}
		values.Add(name, value)
	}
	return values
}

// text is what a person can read below a node.
func text(n *html.Node) string {
	var words []string
	for d := range n.Descendants() {
		if d.Type == html.TextNode && d.Parent.Data != "style" && d.Parent.Data != "script" && d.Parent.Data != "title" {
			words = append(words, strings.Fields(d.Data)...)
		}
	}
	return strings.Join(words, " ")
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}
