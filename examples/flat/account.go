package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/resource"
)

//go:embed templates
var files embed.FS

var templates = template.Must(template.ParseFS(files, "templates/*.html"))

// account has the pages on which users make, see and end their personal access
// tokens. The tokens are authorizations like any other: it keeps nothing itself.
type account struct {
	srv      *oauth.Server
	sessions *sessions
	attempts resource.Guard // how often an address may try to sign in
	now      func() time.Time
}

func newAccount(srv *oauth.Server, o options) (*account, error) {
	attempts, err := guard.RateLimit{Rules: []guard.Rule{{Limits: []guard.Limit{{Count: 20, Window: 10 * time.Minute, Sliding: true}}}}}.Guard()
	return &account{srv: srv, sessions: newSessions(o), attempts: attempts, now: o.Now}, err
}

const (
	tokensPath = "/account/tokens"
	loginPath  = "/account/login"
)

func (a *account) mount(mux *http.ServeMux, host string) {
	// A form of another site is refused by what the browser says of it.
	origin := http.NewCrossOriginProtection()
	handle := func(pattern string, h http.HandlerFunc) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.Handle(method+" "+host+path, origin.Handler(h))
	}
	handle("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, tokensPath, http.StatusSeeOther) })
	handle("GET /account/style.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "templates/style.css") })
	handle("GET "+loginPath, a.showLogin)
	handle("POST "+loginPath, a.login)
	handle("POST /account/logout", a.logout)
	handle("GET "+tokensPath, a.signedIn(a.list))
	handle("POST "+tokensPath, a.signedIn(a.create))
	handle("POST "+tokensPath+"/revoke", a.signedIn(a.revoke))
}

// A page is what the templates show.
type page struct {
	Heading, Alert   string
	Status           int // of the answer; zero: 200
	User             user
	Username         string // that was entered
	Form             url.Values
	Apps             []oauth.Client
	Scopes           []oauth.Scope
	Token, TokenName string // that has just been made: this page alone shows it
	Tokens           []tokenRow
}

// A tokenRow is what can be told of a token later.
type tokenRow struct {
	ID, Name, App, Scopes string
	Created, Ends         time.Time
}

// Has says whether a field was entered with this value.
func (p page) Has(field, value string) bool { return slices.Contains(p.Form[field], value) }

func (a *account) render(w http.ResponseWriter, name string, p page) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, p); err != nil {
		http.Error(w, "The page cannot be shown", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.Status != 0 {
		w.WriteHeader(p.Status)
	}
	w.Write(b.Bytes()) //nolint:errcheck // the browser is gone: there is nobody to tell
}

func (a *account) showLogin(w http.ResponseWriter, _ *http.Request) {
	a.render(w, "login.html", page{Heading: "Sign in"})
}

func (a *account) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
	name := r.PostFormValue("username")
	if err := a.attempts(r.Context(), &resource.Call{Request: r, Endpoint: "account", Header: w.Header(), Now: a.now()}); err != nil {
		a.render(w, "login.html", page{Heading: "Sign in", Username: name, Alert: "There were too many attempts to sign in. Try again in ten minutes.", Status: http.StatusTooManyRequests})
		return
	}
	u, err := signIn(r.Context(), name, r.PostFormValue("password"))
	if err != nil || u == nil {
		a.render(w, "login.html", page{Heading: "Sign in", Username: name, Alert: "The user name or the password is wrong.", Status: http.StatusForbidden})
		return
	}
	a.sessions.start(w, u.Subject)
	http.Redirect(w, r, tokensPath, http.StatusSeeOther)
}

func (a *account) logout(w http.ResponseWriter, r *http.Request) {
	a.sessions.end(w, r)
	http.Redirect(w, r, loginPath, http.StatusSeeOther)
}

// signedIn lets nobody through who is not.
func (a *account) signedIn(next func(http.ResponseWriter, *http.Request, user)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := a.sessions.user(r)
		if id == "" {
			http.Redirect(w, r, loginPath, http.StatusSeeOther)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "The form cannot be read", http.StatusBadRequest)
			return
		}
		next(w, r, userByID(id))
	}
}

func (a *account) list(w http.ResponseWriter, r *http.Request, u user) {
	a.show(w, r, u, page{})
}

// show is the page of the tokens, with what p says besides.
func (a *account) show(w http.ResponseWriter, r *http.Request, u user, p page) {
	p.Heading, p.User, p.Apps = "Personal access tokens", u, appsOf(u.ID)
	for _, s := range scopes {
		if u.may(s.Name) {
			p.Scopes = append(p.Scopes, s)
		}
	}
	var err error
	if p.Tokens, err = a.tokens(r.Context(), u); err != nil {
		p.Alert, p.Status = unavailable, http.StatusServiceUnavailable
	}
	a.render(w, "tokens.html", p)
}

const unavailable = "This does not work at the moment. Wait a little and load the page again."

// tokens are the live ones of a user, the latest first.
func (a *account) tokens(ctx context.Context, u user) ([]tokenRow, error) {
	all, err := a.srv.Authorizations(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	var rows []tokenRow
	for _, z := range all {
		if !isPersonal(z) {
			continue
		}
		rows = append(rows, tokenRow{ID: z.ID, Name: z.Extra["name"], App: appName(z.ClientID),
			Scopes: strings.Join(z.Scopes, " "), Created: z.CreatedAt, Ends: z.EndsAt})
	}
	slices.SortFunc(rows, func(a, b tokenRow) int { return b.Created.Compare(a.Created) })
	return rows, nil
}

// isPersonal tells personal access tokens from what apps were granted.
func isPersonal(z *oauth.Authorization) bool {
	return z.Kind == oauth.KindAuthorization && z.GrantType == ""
}

const maxTokenName = 60 // characters

// create makes a token. The answer to the form is the only place that shows it.
func (a *account) create(w http.ResponseWriter, r *http.Request, u user) {
	name := strings.TrimSpace(r.PostForm.Get("name"))
	key, chosen := r.PostForm.Get("app"), r.PostForm["scope"]
	refuse := func(status int, why string) { a.show(w, r, u, page{Alert: why, Status: status, Form: r.PostForm}) }
	switch {
	case name == "" || utf8.RuneCountInString(name) > maxTokenName || !utf8.ValidString(name):
		refuse(http.StatusBadRequest, "Give the token a name of 1 to 60 characters.")
		return
	case !slices.ContainsFunc(appsOf(u.ID), func(c oauth.Client) bool { return c.ID == key }):
		refuse(http.StatusBadRequest, "Choose one of your apps.")
		return
	case len(chosen) == 0 || slices.ContainsFunc(chosen, func(s string) bool { return !u.may(s) }):
		refuse(http.StatusBadRequest, "Choose at least one scope of those below.")
		return
	}
	token, _, err := a.srv.Issue(r.Context(), key, oauth.Approval{Subject: u.ID, Scopes: chosen, Extra: map[string]string{"name": name}})
	switch {
	case errors.Is(err, oauth.InvalidScope):
		refuse(http.StatusBadRequest, "The app may not have one of these scopes.")
	case err != nil:
		refuse(http.StatusServiceUnavailable, unavailable)
	default:
		a.show(w, r, u, page{Token: token, TokenName: name, Status: http.StatusCreated})
	}
}

// revoke ends a token of the user's own: the selector asks for both.
func (a *account) revoke(w http.ResponseWriter, r *http.Request, u user) {
	id := r.PostForm.Get("id")
	if id == "" { // or the selector would name all that the user has
		a.show(w, r, u, page{Alert: "Choose a token.", Status: http.StatusBadRequest})
		return
	}
	if _, err := a.srv.Revoke(r.Context(), oauth.Selector{ID: id, Subject: u.ID}); err != nil {
		a.show(w, r, u, page{Alert: unavailable, Status: http.StatusServiceUnavailable})
		return
	}
	http.Redirect(w, r, tokensPath, http.StatusSeeOther)
}
