// Package chromium is Debian's Chromium for tests: it clicks, types, looks at
// the page and takes pictures of it.
package chromium

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience is how long one step may take.
const patience = 15 * time.Second

// A Browser is a running Chromium.
type Browser struct{ ctx context.Context }

// A Tab shows one page at a time. Where a step does not work, the test fails.
type Tab struct {
	t   *testing.T
	ctx context.Context
}

// Start starts a browser, which ends with the test. It fails where none is installed.
func Start(t *testing.T) *Browser {
	t.Helper()
	binary, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("chromium is needed, run make deps: %v", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(binary),
		chromedp.NoSandbox, // it refuses to have one where root starts it
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-features", "Translate,BackForwardCache"), // chromedp does not notice a page that is shown again
		chromedp.Flag("no-proxy-server", true),
	)
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, closeBrowser := chromedp.NewContext(ctx)
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium does not start: %v", err)
	}
	return &Browser{ctx}
}

// Tab opens a tab that has no cookies yet, and shares none with others.
func (b *Browser) Tab(t *testing.T) *Tab {
	t.Helper()
	return open(t, b.ctx, chromedp.WithNewBrowserContext())
}

// Another opens a second tab with the same cookies.
func (b *Tab) Another() *Tab {
	b.t.Helper()
	return open(b.t, b.ctx)
}

func open(t *testing.T, parent context.Context, options ...chromedp.ContextOption) *Tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(parent, options...)
	t.Cleanup(closeTab)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium: no tab: %v", err)
	}
	return &Tab{t: t, ctx: ctx}
}

// do runs steps that give nothing.
func (b *Tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("chromium: %v", err)
	}
}

// load runs steps that lead to another page, waits for it and gives its status.
func (b *Tab) load(what string, steps ...chromedp.Action[chromedp.Void]) int {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	var r *network.Response
	r, err := chromedp.RunResponse(ctx, steps...)
	if err != nil {
		b.t.Fatalf("chromium: %s: %v\n%s", what, err, b.Text())
	}
	return int(r.Status)
}

// get is what an action gives.
func get[T any](b *Tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("chromium: %v", err)
	}
	return v
}

// Visit goes to a URL.
func (b *Tab) Visit(to string) (status int) {
	b.t.Helper()
	return b.load("visit "+to, chromedp.Navigate(to))
}

// Back goes one page back, as the button of the browser does.
func (b *Tab) Back() {
	b.t.Helper()
	b.do(chromedp.NavigateBack())
}

// Press clicks the button or link with this text, and waits for the page that
// it leads to.
func (b *Tab) Press(label string) (status int) {
	b.t.Helper()
	return b.load("press "+label, chromedp.Click(control(label)))
}

// PressTwice is a double click.
func (b *Tab) PressTwice(label string) (status int) {
	b.t.Helper()
	return b.load("double click on "+label, chromedp.DoubleClick(control(label)))
}

// control finds a button or link by its text.
func control(label string) chromedp.Search {
	return chromedp.Search(`//*[self::button or self::a][normalize-space()="` + label + `"]`)
}

// Fill types into a field, by its name, before what is there.
func (b *Tab) Fill(name, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(`[name="`+name+`"]`), text))
}

// Type types into whatever has the focus.
func (b *Tab) Type(text string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(text))
}

// TabKey presses the Tab key until the button or link with this text has the
// focus, and can be seen to have it.
func (b *Tab) TabKey(label string) {
	b.t.Helper()
	const focused = `(() => {
		const e = document.activeElement, style = getComputedStyle(e)
		const seen = e.matches(":focus-visible") && (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2)
		return [e.innerText ?? "", seen ? "seen" : ""]
	})()`
	for range 20 {
		b.Type(kb.Tab)
		if at := get(b, chromedp.Evaluate[[]string](focused)); at[0] == label {
			if at[1] == "" {
				b.t.Errorf("nobody can see that %q has the focus", label)
			}
			return
		}
	}
	b.t.Fatalf("the Tab key does not lead to %q:\n%s", label, b.Text())
}

// Enter presses the Enter key and waits for the page that it leads to.
func (b *Tab) Enter() (status int) {
	b.t.Helper()
	return b.load("enter", chromedp.KeyEvent(kb.Enter))
}

// Focused waits until the field of this name has the focus: autofocus comes a
// little after the page.
func (b *Tab) Focused(name string) {
	b.t.Helper()
	get(b, chromedp.Poll[bool](fmt.Sprintf(`document.activeElement.name === %q`, name)))
}

// Text is what a person can read on the page, with single spaces.
func (b *Tab) Text() string {
	b.t.Helper()
	return strings.Join(strings.Fields(get(b, chromedp.Evaluate[string](`document.body.innerText`))), " ")
}

// Heading is that of the page.
func (b *Tab) Heading() string {
	b.t.Helper()
	return get(b, chromedp.Evaluate[string](`document.querySelector("h1")?.innerText ?? ""`))
}

// URL is where the tab is.
func (b *Tab) URL() *url.URL {
	b.t.Helper()
	u, err := url.Parse(get(b, chromedp.Location()))
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

// Form is what pressing the button with this text would post, and where to.
func (b *Tab) Form(label string) (action string, fields url.Values) {
	b.t.Helper()
	const read = `((label) => {
		const button = [...document.querySelectorAll("button")].find((e) => e.innerText === label)
		return [button.form.action, new URLSearchParams(new FormData(button.form, button)).toString()]
	})(%q)`
	form := get(b, chromedp.Evaluate[[]string](fmt.Sprintf(read, label)))
	fields, err := url.ParseQuery(form[1])
	if err != nil {
		b.t.Fatal(err)
	}
	return form[0], fields
}

// Cookies are those that the browser sends to a URL, as a header.
func (b *Tab) Cookies(to string) (header string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{to}})
	if err != nil {
		b.t.Fatalf("chromium: %v", err)
	}
	for _, c := range result.Cookies {
		header += "; " + c.Name + "=" + c.Value
	}
	if header == "" {
		return ""
	}
	return header[2:]
}
