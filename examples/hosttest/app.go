package main

import (
	"crypto/rand"
	"html/template"
	"net/http"
	"sync"

	"github.com/go-chi/chi/v5"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/resource"
)

// An app keeps notes. It has users and sessions of its own.
type app struct {
	users map[string]string // name to password
	notes map[string]string // by user

	mu       sync.Mutex
	sessions map[string]string // cookie to user
}

func newApp() *app {
	return &app{
		users:    map[string]string{"alice": "wonderland", "bob": "the-builder"},
		notes:    map[string]string{"alice": "Down the rabbit hole", "bob": "Yes we can"},
		sessions: map[string]string{},
	}
}

// configure is the part of the Config that is the same in production and in tests.
func (a *app) configure(c *oauth.Config) {
	c.Clients = oauth.StaticClients(oauth.Client{ID: "notes-cli", Name: "Notes on the command line", Public: true,
		RedirectURIs: []string{"http://127.0.0.1/callback"}, Scopes: []string{"notes:read", "notes:write"}})
	c.Scopes = []oauth.Scope{{Name: "notes:read", Description: "Read your notes"}, {Name: "notes:write", Description: "Change your notes"}}
	c.Interact = a.interact
}

// routes are the host's pages, the API and the authorization server.
func (a *app) routes(srv *oauth.Server) http.Handler {
	r := chi.NewRouter()
	for path, handler := range srv.Routes() {
		r.Handle(path, handler)
	}
	r.Get("/login", a.loginPage)
	r.Post("/login", a.login)
	r.Post("/consent", func(w http.ResponseWriter, r *http.Request) { a.consent(srv, w, r) })
	api := srv.API()
	r.With(api.Require("notes:read")).Get("/notes", a.read)
	r.With(api.Require("notes:write")).Put("/notes", a.write)
	return r
}

const layout = `<!doctype html><meta charset="utf-8"><title>Notes</title>{{template "page" .}}`

var loginPage = template.Must(template.Must(template.New("").Parse(layout)).New("page").Parse(`{{if .Wrong}}<p>The name or the password is wrong.</p>{{end}}
<form method="post" action="/login"><input type="hidden" name="interaction" value="{{.Handle}}">
<input name="name"><input name="password" type="password"><button>Sign in</button></form>`))

var consentPage = template.Must(template.Must(template.New("").Parse(layout)).New("page").Parse(`<p>{{.User}}, may {{.Client}} do this?</p>
<form method="post" action="/consent"><input type="hidden" name="interaction" value="{{.Handle}}">
{{range .Scopes}}<label><input type="checkbox" name="{{.Name}}" checked> {{.Description}}</label>{{end}}
<button name="decision" value="yes">Allow</button><button name="decision" value="no">Cancel</button></form>`))

func show(w http.ResponseWriter, status int, page *template.Template, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_ = page.ExecuteTemplate(w, "", data) // the browser is gone
}

// interact asks who it is, and then whether the client may.
func (a *app) interact(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
	user := a.user(r)
	if user == "" {
		http.Redirect(w, r, "/login?interaction="+in.Handle(), http.StatusSeeOther)
		return
	}
	show(w, http.StatusOK, consentPage, map[string]any{"User": user, "Client": in.Client().DisplayName(), "Handle": in.Handle(), "Scopes": in.ScopeTable()})
}

func (a *app) loginPage(w http.ResponseWriter, r *http.Request) {
	show(w, http.StatusOK, loginPage, map[string]any{"Handle": r.URL.Query().Get("interaction")})
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	name, password := r.PostFormValue("name"), r.PostFormValue("password")
	if want, ok := a.users[name]; !ok || want != password { // a real host compares hashes
		show(w, http.StatusForbidden, loginPage, map[string]any{"Handle": r.PostFormValue("interaction"), "Wrong": true})
		return
	}
	session := rand.Text()
	a.mu.Lock()
	a.sessions[session] = name
	a.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "__Host-notes", Value: session, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/oauth/authorize?interaction="+r.PostFormValue("interaction"), http.StatusSeeOther)
}

func (a *app) consent(srv *oauth.Server, w http.ResponseWriter, r *http.Request) {
	in, err := srv.Interaction(r)
	user := a.user(r)
	switch {
	case err != nil || user == "":
		show(w, http.StatusBadRequest, loginPage, map[string]any{})
	case r.PostFormValue("decision") != "yes":
		in.Deny(w, r, nil)
	default:
		var granted []string
		for _, scope := range in.Scopes() {
			if r.PostFormValue(scope) != "" {
				granted = append(granted, scope)
			}
		}
		in.Approve(w, r, oauth.Approval{Subject: user, Scopes: granted})
	}
}

// user is who is signed in; "" for nobody.
func (a *app) user(r *http.Request) string {
	c, err := r.Cookie("__Host-notes")
	if err != nil {
		return ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sessions[c.Value]
}

func (a *app) read(w http.ResponseWriter, r *http.Request) {
	token, _ := resource.FromContext(r.Context())
	a.mu.Lock()
	defer a.mu.Unlock()
	_, _ = w.Write([]byte(a.notes[token.Subject]))
}

func (a *app) write(w http.ResponseWriter, r *http.Request) {
	token, _ := resource.FromContext(r.Context())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.notes[token.Subject] = r.FormValue("text")
	w.WriteHeader(http.StatusNoContent)
}
