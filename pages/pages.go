// Package pages is a ready Interact for [oauth.Config]: a login page and a
// consent page in plain HTML, without any script. A host with its own pages
// never imports it.
//
//	p, err := pages.New(pages.Config{Issuer: issuer, Secrets: secrets, Login: checkPassword})
//	cfg.Interact = p.Interact
//
// Everything happens at the authorization endpoint: the forms post there, with
// the handle of the interaction. Who is signed in is in a sealed cookie; nothing
// is stored here. Consent is asked for every time, or remembered if Config says so.
//
// Ten failed attempts to sign in within ten minutes make a name wait until the
// ten minutes are over, fifty make an address wait (an IPv6 network of 64 bits);
// attempts under way count as failed until they succeed. Until then the right
// password is refused too, with status 429, so somebody who knows a name can keep
// its owner waiting: never for longer than the ten minutes at a time, and
// whoever is signed in already is not concerned.
//
// Forms are taken from the server's own pages alone, as the browser tells it in
// Sec-Fetch-Site; browsers from before 2023 do not, and are refused.
//
// Of the parameters of OpenID Connect Core, section 3.1.2.1, the pages honour
// prompt (none, login, consent; select_account is like consent, for the page
// shows the account and lets it be changed), max_age and login_hint.
package pages

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/derive"
)

// A User is somebody who has signed in.
type User struct {
	// Subject is the host's own identifier of the user: up to 255 bytes, the same
	// every time. Required.
	Subject string
	// Name is what the pages call the user. Zero: the Subject. What is over 255
	// bytes is cut off.
	Name string
}

// Config is all that [Pages] need to know.
type Config struct {
	// Issuer is that of [oauth.Config]. Required.
	Issuer string
	// Realm is that of [oauth.Config]: a sign-in to one is none to another.
	Realm string
	// Secrets are those of [oauth.Config]: the key of the session cookie is derived
	// from them. The first one seals, all of them open. Required.
	Secrets [][]byte `json:"-"`
	// Login checks a name and a password, neither of which is empty, of at most 255 and
	// 1024 bytes of UTF-8 without a NUL: nil and nil mean that they are wrong. An error
	// is answered with a page and status 503. It should take as long for a name that
	// does not exist as for one that does. Required.
	Login func(ctx context.Context, name, password string) (*User, error) `json:"-"`
	// Active says whether a session is still good: it is asked whenever somebody who
	// signed in at that time meets a page, so that a user who was disabled, or whose
	// password was changed since, is out. An error is answered with a page and status
	// 503. Zero: a session is good until it expires.
	Active func(ctx context.Context, subject string, signedIn time.Time) (bool, error) `json:"-"`
	// Offer says what this user may approve: it may take scopes and resources away
	// and set Extra, ACR and AMR. The consent page shows the scopes that are left; it
	// is asked again when the user has decided. An error is the answer to the client:
	// an *Error or ErrorCode as it is, any other is temporarily_unavailable; so is
	// access_denied where no scope is left. Zero: all that was asked for.
	Offer func(ctx context.Context, in *oauth.Interaction, a *oauth.Approval) error `json:"-"`
	// Remember is how long an answer on the consent page is good: until then the same
	// user is not asked again whether the same client may have the same scopes, and is
	// sent back at once. It does not hold for apps on the user's device; see
	// [oauth.Interaction.Remembered]. Zero: consent is asked for every time; at most
	// ten years.
	Remember time.Duration
	// Title is the name of the service, on all pages. Zero: the host of the Issuer.
	Title string
	// SessionLifetime is how long a sign-in lasts. Zero: 12 h; 1 min to 30 days.
	SessionLifetime time.Duration
	// Templates replace those here of the same names one by one: "login",
	// "consent" and "message" are the pages, "layout" is around each of them. They
	// get a [Page]; they are not changed, and must not have been executed. nil: none.
	Templates *template.Template `json:"-"`
	// Style is CSS that comes after the one here; the Content-Security-Policy allows
	// it by its hash. Most of the look is in custom properties: --accent, --on-accent,
	// --back, --card, --ink, --soft, --line, --radius and --font. Images may come from
	// the same origin. Zero: none.
	Style string
	// Address says who asks, for limiting attempts to sign in. Behind a proxy it must
	// be set, or all users are one; the zero Addr is not limited by address. Zero:
	// the peer address.
	Address func(*http.Request) netip.Addr `json:"-"`
	// Logger is told of failures and of too many attempts, never of names or
	// passwords. Zero: nothing is logged.
	Logger *slog.Logger `json:"-"`
	// Now is the clock. Zero: time.Now.
	Now func() time.Time `json:"-"`
}

// String names the issuer and nothing secret, and so do GoString and LogValue.
func (c Config) String() string { return fmt.Sprintf("pages.Config(%q)", c.Issuer) }

// GoString is String, for the format %#v.
func (c Config) GoString() string { return c.String() }

// LogValue implements [slog.LogValuer].
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Pages are the login and consent pages of one server. Attempts to sign in are
// counted in memory, so N processes allow N times as many; all else is in the
// browser. They are safe for concurrent use.
type Pages struct {
	cfg       Config
	ring      *derive.Ring
	origin    *http.CrossOriginProtection
	templates *template.Template
	style     template.CSS
	policy    string // the Content-Security-Policy
	cookie    string // the session cookie's name
	secure    bool   // the cookie is for https alone
	attempts  *attempts
}

const (
	defaultSession = 12 * time.Hour
	minSession     = time.Minute
	maxSession     = 30 * 24 * time.Hour
	maxRemember    = 3660 * 24 * time.Hour
)

// New checks the Config and makes Pages of it. The error names every field that
// is wrong.
func New(cfg Config) (*Pages, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Address == nil {
		cfg.Address = peer
	}
	if cfg.SessionLifetime == 0 {
		cfg.SessionLifetime = defaultSession
	}
	p := &Pages{cfg: cfg, attempts: newAttempts()}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("pages: Config."+format, args...))
	}
	if err := p.setIssuer(); err != nil {
		fault("Issuer %w", err)
	}
	var err error
	if p.ring, err = derive.NewRing(cfg.Issuer, cfg.Realm, cfg.Secrets); err != nil {
		fault("Secrets: %w", err)
	}
	if cfg.Login == nil {
		fault("Login is missing")
	}
	if cfg.Remember < 0 || cfg.Remember > maxRemember {
		fault("Remember is %v: it is 0 to %v", cfg.Remember, maxRemember)
	}
	if cfg.SessionLifetime < minSession || cfg.SessionLifetime > maxSession {
		fault("SessionLifetime is %v: it is %v to %v", cfg.SessionLifetime, minSession, maxSession)
	}
	if err := p.setStyle(); err != nil {
		fault("Style %w", err)
	}
	if err := p.setTemplates(); err != nil {
		fault("Templates: %w", err)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return p, nil
}

// setIssuer takes from the issuer what follows it: cookie, trusted origin, title.
func (p *Pages) setIssuer() error {
	u, err := url.Parse(p.cfg.Issuer)
	switch {
	case p.cfg.Issuer == "":
		return errors.New("is missing")
	case err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("is not an absolute URL with a host")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return errors.New("is not https (http is for loopback addresses alone)")
	}
	// The scheme is the issuer's, never the request's: behind a proxy that ends
	// TLS the request would lie. __Host- keeps sibling hosts from setting it.
	p.cookie, p.secure = "oauth-session", false
	if u.Scheme == "https" {
		p.cookie, p.secure = "__Host-oauth-session", true
	}
	if p.cfg.Title == "" {
		p.cfg.Title = u.Host
	}
	// Sec-Fetch-Site decides where the browser sends it, whatever a proxy does to the
	// Host; the issuer's origin is for browsers that send Origin alone.
	p.origin = http.NewCrossOriginProtection()
	return p.origin.AddTrustedOrigin(u.Scheme + "://" + u.Host)
}

// String names the issuer and nothing secret, and so do GoString and LogValue.
func (p *Pages) String() string { return fmt.Sprintf("pages.Pages(%q)", p.cfg.Issuer) }

// GoString is String, for the format %#v.
func (p *Pages) GoString() string { return p.String() }

// LogValue implements [slog.LogValuer].
func (p *Pages) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Interact shows the login page or the consent page, takes what they post, and
// approves or denies the interaction. It is for [oauth.Config].Interact.
func (p *Pages) Interact(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
	v := &visit{Pages: p, w: w, r: r, in: in, at: p.cfg.Now()}
	if err := p.origin.Check(r); err != nil {
		v.message(http.StatusForbidden, "This was not sent from here",
			"The form came from another site, or your browser is too old to tell. Nothing was done. Go back to the application and start again.")
		return
	}
	var err error
	if v.ask, err = readDemand(in.Params()); err != nil {
		in.Deny(w, r, err)
		return
	}
	gone, err := v.recognise()
	if err != nil {
		p.cfg.Logger.ErrorContext(r.Context(), "pages: Active failed", "error", err)
		v.unavailable()
		return
	}
	posted := r.Method == http.MethodPost
	decision := r.PostForm.Get("decision")
	allowed, err := v.allowedBefore(posted)
	if err != nil {
		p.cfg.Logger.ErrorContext(r.Context(), "pages: the remembered consent could not be read", "error", err)
		v.unavailable()
		return
	}
	switch {
	case allowed:
		v.answer(in.Scopes(), 0)
	case v.ask.none && v.session == nil:
		in.Deny(w, r, loginRequired)
	case v.ask.none:
		in.Deny(w, r, consentRequired)
	case posted && decision == "deny": // of whoever it is: it gives nothing away
		in.Deny(w, r, oauth.AccessDenied)
	case posted && decision == "approve" && gone:
		in.Deny(w, r, &oauth.Error{Code: oauth.AccessDenied, Description: "The account is not active"})
	case posted && decision == "approve":
		v.approve()
	case posted && decision == "switch":
		v.leave()
	case posted && decision == "" && r.PostForm.Has("password"):
		v.signIn()
	case posted:
		v.show(http.StatusBadRequest, "That was not one of the choices. Nothing was sent.")
	default:
		v.show(http.StatusOK, "")
	}
}

// The codes of OpenID Connect Core, section 3.1.2.6, for prompt=none.
const (
	loginRequired   oauth.ErrorCode = "login_required"
	consentRequired oauth.ErrorCode = "consent_required"
)

// A visit is one request to the pages.
type visit struct {
	*Pages
	w       http.ResponseWriter
	r       *http.Request
	in      *oauth.Interaction
	at      time.Time
	ask     demand
	session *session // nil: nobody is signed in, or not freshly enough for the demand
}

// recognise finds out who is signed in. It reports whether somebody was and is
// active no more.
func (v *visit) recognise() (gone bool, err error) {
	s, ok := v.readSession(v.r, v.at)
	if !ok {
		return false, nil
	}
	if v.cfg.Active != nil {
		active, err := v.cfg.Active(v.r.Context(), s.subject, s.signedIn)
		if err != nil {
			return false, err
		}
		if !active {
			v.dropSession(v.w)
			return true, nil
		}
	}
	if v.ask.fresh(s, v.in.Handle(), v.at) {
		v.session = s
	}
	return false, nil
}

// allowedBefore reports whether the user need not be asked.
func (v *visit) allowedBefore(posted bool) (bool, error) {
	if v.cfg.Remember == 0 || v.session == nil || v.ask.show || posted {
		return false, nil
	}
	return v.in.Remembered(v.r.Context(), v.session.subject)
}

// answer approves the request for who is signed in.
func (v *visit) answer(scopes []string, remember time.Duration) {
	a, err := v.offer(scopes)
	if err != nil {
		v.in.Deny(v.w, v.r, err)
		return
	}
	a.Remember = remember
	v.in.Approve(v.w, v.r, a)
}

// offer is what who is signed in may approve of these scopes.
func (v *visit) offer(scopes []string) (oauth.Approval, error) {
	s := v.session
	a := oauth.Approval{Subject: s.subject, Scopes: slices.Clone(scopes), AuthTime: s.signedIn, Session: s.name()}
	if v.cfg.Offer == nil {
		return a, nil
	}
	err := v.cfg.Offer(v.r.Context(), v.in, &a)
	asked := v.in.Scopes()
	a.Scopes = slices.DeleteFunc(slices.Clone(a.Scopes), func(n string) bool { // what the user declined stays so
		return slices.Contains(asked, n) && !slices.Contains(scopes, n)
	})
	if err == nil && len(a.Scopes) == 0 && len(scopes) > 0 {
		err = &oauth.Error{Code: oauth.AccessDenied, Description: "The user can grant none of the scopes"}
	}
	return a, err
}

// show is the page that is due: consent for who is signed in, login for others.
func (v *visit) show(status int, alert string) {
	page := v.page()
	page.Alert = alert
	if v.session == nil {
		page.Name = v.ask.hint
		v.render(status, "login", page)
		return
	}
	s := v.session
	offered, err := v.offer(v.in.Scopes())
	if err != nil {
		v.in.Deny(v.w, v.r, err)
		return
	}
	page.User, page.UserKey = s.displayName(), v.userKey(s, v.in.Handle(), offered.Scopes)
	v.describe(&page, offered.Scopes)
	v.render(status, "consent", page)
}

const (
	maxName     = 255  // bytes of a name: longer ones are wrong
	maxPassword = 1024 // bytes: hashing more is work for an attacker's sake
)

// fit reports whether a text can be a name or a password: what is no text, or has a NUL
// in it, is an error to some directories and the part before it to others.
func fit(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.Contains(s, "\x00")
}

// signIn takes the login form.
func (v *visit) signIn() {
	page := v.page()
	name, password := v.r.PostForm.Get("username"), v.r.PostForm.Get("password")
	if page.Name = name; !fit(name, maxName) {
		page.Name = ""
	}
	if name == "" || password == "" { // to some directories an empty password is an anonymous user, and right
		page.Alert = "Enter your user name and your password."
		v.render(http.StatusBadRequest, "login", page)
		return
	}
	address := v.cfg.Address(v.r)
	attempt, wait := v.attempts.take(v.at, name, address)
	if wait > 0 {
		v.cfg.Logger.WarnContext(v.r.Context(), "pages: too many attempts to sign in", "address", address, "wait", wait)
		v.tooMany(page, wait)
		return
	}
	var user *User
	var err error
	if fit(name, maxName) && fit(password, maxPassword) {
		user, err = v.cfg.Login(v.r.Context(), name, password)
	}
	if err == nil && user != nil {
		err = user.check()
	}
	switch {
	case err != nil:
		v.attempts.giveBack(attempt)
		v.cfg.Logger.ErrorContext(v.r.Context(), "pages: Login failed", "error", err)
		v.unavailable()
	case user == nil:
		// Not 200, or browsers offer to save the wrong password; not 401, which has to
		// name an authentication scheme (RFC 9110, section 15.5.2).
		page.Alert = "The user name or the password is wrong."
		v.render(http.StatusForbidden, "login", page)
	default:
		v.attempts.giveBack(attempt)
		v.startSession(v.w, newSession(user, v.in.Handle(), v.at))
		v.reload()
	}
}

// approve takes the consent form.
func (v *visit) approve() {
	s := v.session
	if s == nil {
		v.show(http.StatusForbidden, "You are not signed in any more. Nothing was sent. Sign in and decide again.")
		return
	}
	offered, err := v.offer(v.in.Scopes())
	if err != nil {
		v.in.Deny(v.w, v.r, err)
		return
	}
	if !v.isUser(s, v.in.Handle(), offered.Scopes, v.r.PostForm.Get("user")) {
		v.show(http.StatusForbidden, "Since this page was opened, somebody has signed in again, or what you can allow has changed. Nothing was sent. Check the account and decide again.")
		return
	}
	v.answer(v.granted(offered.Scopes), v.cfg.Remember)
}

// granted are the scopes that the form leaves of those that were on the page: only
// those that are Optional can have been declined, and none can have come in addition.
func (v *visit) granted(offered []string) []string {
	var names []string
	chosen := v.r.PostForm["scope"]
	for _, sc := range v.in.ScopeTable() {
		if slices.Contains(offered, sc.Name) && (!sc.Optional || slices.Contains(chosen, sc.Name)) {
			names = append(names, sc.Name)
		}
	}
	return names
}

// leave ends the session, for somebody else to sign in.
func (v *visit) leave() {
	v.dropSession(v.w)
	v.reload()
}

// reload sends the browser to the interaction again with a GET, so that going
// back or loading the page again posts nothing.
func (v *visit) reload() {
	v.header()
	http.Redirect(v.w, v.r, v.in.AuthorizeURL()+"?"+url.Values{"interaction": {v.in.Handle()}}.Encode(), http.StatusSeeOther)
}

// page is what all pages of a visit have.
func (v *visit) page() Page {
	return Page{Title: v.cfg.Title, Style: v.style, Action: v.in.AuthorizeURL(), Interaction: v.in.Handle(),
		Client: v.in.Client().DisplayName(), RedirectHost: v.in.RedirectHost()}
}
