package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

//go:embed templates
var files embed.FS // read by New alone

// The names of the templates: the pages, and what is around each of them.
var pageNames = [...]string{"login", "consent", "message"}

const layoutName = "layout"

// templateNames are all of them.
func templateNames() []string { return append(pageNames[:], layoutName) }

// A Page is what the templates get.
//
// The forms post to Action and have the hidden field "interaction" with
// Interaction. That of "login" has the fields "username" and "password"; that of
// "consent" has the field "user" with UserKey, and for each optional scope a
// checkbox "scope" with its Name. Buttons are called "decision": "approve" and
// "deny", and "switch" where somebody else wants to sign in.
type Page struct {
	Title   string        // of the service
	Heading string        // of this page
	Style   template.CSS  // "layout": what the Content-Security-Policy allows, and nothing else
	Content template.HTML // "layout": the page
	Alert   string        // what went wrong; "" if nothing did
	Text    string        // "message": the message

	Action      string // URL of the authorization endpoint
	Interaction string // the handle
	Client      string // name of the client: its own claim
	// RedirectHost is where the answer goes: a host, or the scheme of an app.
	RedirectHost string
	// OnDevice says that the answer goes to a program on the user's own device,
	// which nobody can vouch for: "loopback" for an address of the device itself,
	// "app" for a private-use scheme, "" for a web site.
	OnDevice string

	Name    string  // "login": what was entered, or login_hint
	User    string  // "consent": who is signed in
	UserKey string  // "consent"
	Scopes  []Scope // "consent": those asked for
	// Remembered is for how many whole days the answer is good; 0 if it is asked for
	// again next time or soon.
	Remembered int // "consent"
}

// A Scope is one that a client asks for.
type Scope struct {
	Name        string
	Description string // in plain words; the Name where the server has none
	Optional    bool   // the user may decline it alone
}

// setStyle puts the style together and makes the policy that allows it by hash.
func (p *Pages) setStyle() error {
	builtIn, err := files.ReadFile("templates/style.css")
	if err != nil {
		return err
	}
	// A browser hashes what its parser made of the text, and that has no CR.
	own := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(p.cfg.Style)
	if !utf8.ValidString(own) || strings.Contains(own, "\x00") || strings.Contains(own, "</") || strings.Contains(own, "<!--") {
		return errors.New("is not text, or would end the style element")
	}
	p.style = template.CSS(string(builtIn) + own)
	sum := sha256.Sum256([]byte(p.style))
	// No form-action: Chromium holds it against the redirect that answers the form,
	// too, and would keep the browser from going back to the client.
	p.policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
	return nil
}

// setTemplates puts the host's templates and those here together, and tries each.
func (p *Pages) setTemplates() error {
	builtIn := template.New("")
	for _, name := range templateNames() {
		text, err := files.ReadFile("templates/" + name + ".html")
		if err != nil {
			return err
		}
		if _, err := builtIn.New(name).Parse(string(text)); err != nil {
			return err
		}
	}
	p.templates = builtIn
	if p.cfg.Templates != nil {
		if err := p.mergeTemplates(builtIn); err != nil {
			return err
		}
	}
	for _, sample := range samples() {
		for _, name := range pageNames {
			if _, err := p.execute(name, sample); err != nil {
				return err
			}
		}
	}
	return nil
}

// mergeTemplates adds to a copy of the host's templates what they lack: that way
// round, because the functions of a template stay with its set.
func (p *Pages) mergeTemplates(builtIn *template.Template) error {
	set, err := p.cfg.Templates.Clone()
	if err != nil {
		return err
	}
	replaced := 0
	for _, name := range templateNames() {
		if t := set.Lookup(name); t != nil && t.Tree != nil {
			replaced++
			continue
		}
		if _, err := set.AddParseTree(name, builtIn.Lookup(name).Tree); err != nil {
			return err
		}
	}
	if replaced == 0 {
		return errors.New("none is called login, consent, message or layout")
	}
	p.templates = set
	return nil
}

// samples are pages with little and with much on them, for trying templates.
func samples() []Page {
	little := Page{Title: "Service", Action: "https://as.example/oauth/authorize", Interaction: "x", Client: "Client", RedirectHost: "client.example"}
	much := little
	much.Alert, much.Text, much.OnDevice, much.Name, much.User, much.UserKey = "Alert", "Text", "app", "name", "User", "key"
	much.Scopes = []Scope{{Name: "read", Description: "Read"}, {Name: "write", Description: "Write", Optional: true}}
	return []Page{little, much}
}

// execute makes a page with the layout around it.
func (p *Pages) execute(name string, page Page) ([]byte, error) {
	page.Heading = heading(name, page)
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, name, page); err != nil {
		return nil, err
	}
	page.Content = template.HTML(b.String()) // html/template has just escaped it
	b.Reset()
	if err := p.templates.ExecuteTemplate(&b, layoutName, page); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func heading(name string, page Page) string {
	switch name {
	case "login":
		return "Sign in"
	case "consent":
		return "Allow access?"
	}
	return page.Heading
}

// render writes a page.
func (v *visit) render(status int, name string, page Page) {
	h := v.header()
	body, err := v.execute(name, page)
	if err != nil {
		v.cfg.Logger.ErrorContext(v.r.Context(), "pages: a template failed", "template", name, "error", err)
		status, body = http.StatusInternalServerError, []byte("<!doctype html>\n<title>Error</title>\n<h1>The page cannot be shown</h1>\n")
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	v.w.Write(body) //nolint:errcheck // the browser is gone: there is nobody to tell
}

// header sets what every answer of the pages has.
func (v *visit) header() http.Header {
	h := v.w.Header()
	h.Set("Content-Security-Policy", v.policy)
	h.Set("X-Frame-Options", "DENY") // for browsers without frame-ancestors (RFC 9700, section 4.16)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	return h
}

// message is a page that only says something.
func (v *visit) message(status int, heading, text string) {
	page := v.page()
	page.Heading, page.Text = heading, text
	v.render(status, "message", page)
}

func (v *visit) unavailable() {
	v.w.Header().Set("Retry-After", "5")
	v.message(http.StatusServiceUnavailable, "This does not work at the moment", "Nothing was sent. Wait a little and load the page again.")
}

// tooMany is the login page of somebody who has to wait.
func (v *visit) tooMany(page Page, wait time.Duration) {
	seconds := int64((wait + time.Second - 1) / time.Second)
	v.w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	minutes, unit := (seconds+59)/60, "minutes"
	if minutes == 1 {
		unit = "minute"
	}
	page.Alert = fmt.Sprintf("There were too many attempts to sign in. Try again in %d %s; until then even the right password is refused.", minutes, unit)
	v.render(http.StatusTooManyRequests, "login", page)
}

// describe fills in what the client asks for and where the answer goes.
func (v *visit) describe(page *Page, offered []string) {
	for _, sc := range v.in.ScopeTable() {
		if !slices.Contains(offered, sc.Name) {
			continue
		}
		d := sc.Description
		if d == "" {
			d = sc.Name
		}
		page.Scopes = append(page.Scopes, Scope{Name: sc.Name, Description: d, Optional: sc.Optional})
	}
	u, err := url.Parse(v.in.RedirectURI())
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http":
		// The host of such a URI means nothing: any app may write a bank's name there.
		page.OnDevice = "app"
		if err == nil {
			page.RedirectHost = u.Scheme
		}
	case loopback(u.Hostname()):
		page.OnDevice = "loopback"
	}
	if page.OnDevice == "" || !v.in.Client().Public {
		page.Remembered = int(v.cfg.Remember / (24 * time.Hour))
	}
}

// loopback reports whether a host is the user's own device.
func loopback(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
