package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// An app is a website that signs its users in with the authorization server and
// calls the API for them. It is an ordinary client: it talks to the server over
// HTTP, and could as well run elsewhere. It shows all that it sends and gets; any
// other app does the same without a word.
type app struct {
	issuer   string
	client   oauth2.Config
	sessions *sessions
	logger   *slog.Logger
}

const (
	cookieName  = "quickstart"
	maxPending  = 8
	maxActions  = 12
	callTimeout = 10 * time.Second
)

//go:embed templates
var files embed.FS

var page = template.Must(template.ParseFS(files, "templates/app.html"))

func newApp(issuer string, sessions *sessions, logger *slog.Logger) *app {
	return &app{
		issuer:   issuer,
		sessions: sessions,
		logger:   logger,
		client: oauth2.Config{
			ClientID:     "demo-web",
			ClientSecret: "demo-web-secret",
			RedirectURL:  issuer + "/callback",
			Scopes:       []string{"profile", "email", "notes:read", "notes:write"},
			Endpoint: oauth2.Endpoint{
				AuthURL:   issuer + "/oauth/authorize",
				TokenURL:  issuer + "/oauth/token",
				AuthStyle: oauth2.AuthStyleInHeader,
			},
		},
	}
}

// mount adds the app's pages. Requests that change something are refused when
// another site sent them.
func (a *app) mount(mux *http.ServeMux) {
	own := http.NewCrossOriginProtection()
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request, *browser) error{
		"GET /{$}":         a.home,
		"POST /signin":     a.begin,
		"GET /callback":    a.callback,
		"POST /signout":    a.signOut,
		"POST /call/read":  a.button(a.read),
		"POST /call/write": a.button(a.write),
		"POST /refresh":    a.button(a.refresh),
		"POST /revoke":     a.button(a.revoke),
	} {
		mux.Handle(pattern, own.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			setHeaders(w.Header())
			if err := a.serve(w, r, serve); err != nil {
				a.logger.ErrorContext(r.Context(), "what is known of a browser is not available", "error", err)
				w.Header().Set("Retry-After", "2")
				http.Error(w, "Something is wrong here. Please try again.", http.StatusServiceUnavailable)
			}
		})))
	}
	mux.HandleFunc("GET /app.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "templates/app.css")
	})
}

// serve lets do handle the request of a browser, and no other one of it meanwhile.
func (a *app) serve(w http.ResponseWriter, r *http.Request, do func(http.ResponseWriter, *http.Request, *browser) error) error {
	b := &browser{Pending: map[string]attempt{}}
	if c, err := r.Cookie(cookieName); err == nil {
		defer a.sessions.lock(c.Value)()
		if b, err = a.sessions.load(r.Context(), c.Value); err != nil {
			return err
		}
	}
	return do(w, r, b)
}

// keep stores what became of b and sends the browser on, which comes back at once.
// A browser that has gone away is no reason to lose its tokens.
func (a *app) keep(w http.ResponseWriter, r *http.Request, b *browser, to string) error {
	if err := a.sessions.save(context.WithoutCancel(r.Context()), b); err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// keepAnew is keep under a new cookie.
func (a *app) keepAnew(w http.ResponseWriter, r *http.Request, b *browser, to string) error {
	if err := a.sessions.renew(context.WithoutCancel(r.Context()), b); err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: b.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer") // the code is in the callback's URL
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}

// begin sends the browser to the authorization server.
func (a *app) begin(w http.ResponseWriter, r *http.Request, b *browser) error {
	if len(b.Pending) >= maxPending {
		clear(b.Pending) // tabs that were left open
	}
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	to := a.client.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
	b.Pending[state] = attempt{verifier, step{
		Title:     "The app sends you to the authorization server",
		Text:      "A redirect to its authorization endpoint. There you sign in and decide; the app never sees your password.",
		Exchanges: []exchange{navigation(to)},
	}}
	if b.cookie == "" {
		return a.keepAnew(w, r, b, to)
	}
	return a.keep(w, r, b, to)
}

// callback is where the authorization server sends the browser back to.
func (a *app) callback(w http.ResponseWriter, r *http.Request, b *browser) error {
	q := r.URL.Query()
	at, ours := b.Pending[q.Get("state")]
	if !ours || q.Get("iss") != a.issuer { // RFC 9700, section 4.7; RFC 9207, section 2.4
		w.WriteHeader(http.StatusBadRequest)
		a.render(w, b, "That was no answer to a sign-in of this browser. Nothing has changed; please begin again.")
		return nil
	}
	delete(b.Pending, q.Get("state"))
	b.forget()
	back := step{Exchanges: []exchange{navigation(a.issuer + r.URL.RequestURI())}}
	if q.Get("error") != "" {
		back.Title, back.Refused = "The server sends you back without a code", true
		back.Text = "You said no, or something was wrong with the request. The app gets an error and nothing else."
		b.SignIn = []step{at.First, back}
	} else {
		back.Title = "You agreed: the server sends you back with a code"
		back.Text = "The code alone is worth nothing: it is good once, for 60 seconds, and only together with the app's secret and the verifier."
		b.SignIn = append([]step{at.First, back}, a.exchange(r.Context(), b, q.Get("code"), at.Verifier)...)
	}
	return a.keepAnew(w, r, b, "/")
}

// exchange turns the code into tokens and asks whose they are.
func (a *app) exchange(ctx context.Context, b *browser, code, verifier string) []step {
	rec := &recorder{}
	token, err := a.client.Exchange(rec.context(ctx), code, oauth2.VerifierOption(verifier))
	redeemed := step{
		Title: "The app exchanges the code for tokens", Exchanges: rec.exchanges, Refused: err != nil,
		Text: "Server to server, the browser has no part in it. The verifier proves that whoever sent you off also came back for the tokens.",
	}
	if err != nil {
		redeemed.Failure = failure(err, rec)
		return []step{redeemed}
	}
	b.Token = token
	var who struct{ Name string }
	asked := a.call(ctx, b, http.MethodGet, "/oauth/userinfo", nil, &who)
	asked.Title = "The app asks who you are"
	asked.Text = "Userinfo tells what the scopes profile and email allow."
	b.Name = who.Name
	return []step{redeemed, asked}
}

// button serves a form that does something with the tokens, and shows the page again.
func (a *app) button(do func(*http.Request, *browser) []step) func(http.ResponseWriter, *http.Request, *browser) error {
	return func(w http.ResponseWriter, r *http.Request, b *browser) error {
		if b.Token == nil {
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return nil
		}
		r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
		b.Actions = append([][]step{do(r, b)}, b.Actions...)
		b.Actions = b.Actions[:min(len(b.Actions), maxActions)]
		return a.keep(w, r, b, "/#latest")
	}
}

func (a *app) read(r *http.Request, b *browser) []step {
	s := a.call(r.Context(), b, http.MethodGet, "/api/notes", nil, nil)
	s.Title = "The app reads your notes"
	s.Text = "A call to the API with the access token, which needs the scope notes:read."
	return []step{s}
}

func (a *app) write(r *http.Request, b *browser) []step {
	s := a.call(r.Context(), b, http.MethodPost, "/api/notes", map[string]string{"text": r.FormValue("text")}, nil)
	s.Title = "The app adds a note"
	s.Text = "The same with another method, which needs the scope notes:write."
	return []step{s}
}

// refresh gets a new access token without the user. oauth2.Config.Client would do
// it unasked when the old one expires.
func (a *app) refresh(r *http.Request, b *browser) []step {
	rec := &recorder{}
	old := &oauth2.Token{RefreshToken: b.Token.RefreshToken}
	token, err := a.client.TokenSource(rec.context(r.Context()), old).Token()
	s := step{
		Title: "The app refreshes", Exchanges: rec.exchanges, Refused: err != nil,
		Text: "New tokens without you. The refresh token is replaced with every use, so a copy of an old one gives itself away.",
	}
	if err != nil {
		s.Failure = failure(err, rec)
	} else {
		b.Token = token
	}
	return []step{s}
}

// revoke ends the authorization (RFC 7009), then shows that it has ended.
func (a *app) revoke(r *http.Request, b *browser) []step {
	s := a.revokeToken(r.Context(), b.Token.RefreshToken)
	s.Title = "The app revokes the refresh token"
	s.Text = "That ends the whole authorization: all its access tokens die with it, at once."
	if s.Refused {
		return []step{s}
	}
	b.Revoked = true
	after := a.read(r, b)[0]
	after.Title = "And tries to read your notes all the same"
	after.Text = "The access token would have been good for some more minutes. The API refuses it now."
	return []step{s, after}
}

// call sends a request with the access token. in is a JSON body, or nil; out gets
// the members of the answer, if it is not nil.
func (a *app) call(ctx context.Context, b *browser, method, path string, in, out any) step {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return step{Refused: true, Failure: "The request cannot be written."}
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, a.issuer+path, bytes.NewReader(body))
	if err != nil {
		return step{Refused: true, Failure: "The request cannot be made."}
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	b.Token.SetAuthHeader(r) // Authorization: Bearer, RFC 6750, section 2.1
	return send(r, out)
}

// revokeToken does what x/oauth2 has no function for (RFC 7009, section 2.1).
func (a *app) revokeToken(ctx context.Context, token string) step {
	form := url.Values{"token": {token}, "token_type_hint": {"refresh_token"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.issuer+"/oauth/revoke", strings.NewReader(form.Encode()))
	if err != nil {
		return step{Refused: true, Failure: "The request cannot be made."}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(a.client.ClientID), url.QueryEscape(a.client.ClientSecret))
	return send(r, nil)
}

// signOut makes the app forget the user. The authorization server does not: it
// has a session of its own.
func (a *app) signOut(w http.ResponseWriter, r *http.Request, b *browser) error {
	b.forget()
	b.SignIn = nil
	return a.keepAnew(w, r, b, "/")
}

// A view is what the page shows.
type view struct {
	Alert   string
	Name    string
	Tokens  []row // nil: signed out
	Revoked bool
	SignIn  []step
	Actions [][]step
}

func (a *app) home(w http.ResponseWriter, _ *http.Request, b *browser) error {
	a.render(w, b, "")
	return nil
}

func (a *app) render(w http.ResponseWriter, b *browser, alert string) {
	v := view{Alert: alert, Name: b.Name, Revoked: b.Revoked, SignIn: b.SignIn, Actions: b.Actions}
	if b.Token != nil {
		v.Tokens = []row{
			{Name: "Access token", Value: shorten(b.Token.AccessToken)},
			{Name: "Good until", Value: b.Token.Expiry.Format("15:04:05")},
			{Name: "Refresh token", Value: shorten(b.Token.RefreshToken)},
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	page.Execute(w, v) //nolint:errcheck // the browser is gone: there is nobody to tell
}
