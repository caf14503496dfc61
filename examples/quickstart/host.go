package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/pages"
)

const defaultAddr = "localhost:8080"

// options are what a test changes; the zero value is what main runs with.
type options struct {
	Addr   string           // host:port as browsers see it. Zero: localhost:8080
	Now    func() time.Time // the clock of server, API and app. Zero: time.Now
	Logger *slog.Logger     // gets every event. Zero: nobody does
}

// A host is the whole program behind one handler.
type host struct {
	http.Handler
	issuer string
	server *oauth.Server
	logger *slog.Logger
}

// newHost puts the authorization server, the API and the app on one mux.
func newHost(o options) (*host, error) {
	if o.Addr == "" {
		o.Addr = defaultAddr
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	issuer := "http://" + o.Addr
	srv, err := newServer(issuer, o)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	for path, handler := range srv.Routes() {
		mux.Handle(path, handler)
	}
	newNotes(o.Now).mount(mux, srv.API())
	newApp(issuer, o.Now).mount(mux)
	return &host{Handler: mux, issuer: issuer, server: srv, logger: o.Logger}, nil
}

// newServer is all that a program has to write to be an authorization server.
func newServer(issuer string, o options) (*oauth.Server, error) {
	// New secrets at each start end all sessions and tokens of the run before, which
	// were in memory anyway. A real host makes one with oauth.NewSecret once, keeps
	// it where it keeps the password of its database, and gives it to all processes.
	secrets := [][]byte{oauth.NewSecret()}
	login, err := pages.New(pages.Config{
		Issuer:  issuer,
		Secrets: secrets,
		Login:   signIn,
		Title:   "Quickstart",
		Logger:  o.Logger,
		Now:     o.Now,
	})
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return oauth.New(oauth.Config{
		Issuer:   issuer,
		Storage:  memstore.New(),
		Secrets:  secrets,
		Clients:  oauth.StaticClients(clients(issuer)...),
		Grants:   []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}, grants.ClientCredentials{}},
		Scopes:   scopes,
		Claims:   claims,
		Interact: login.Interact,
		Keys:     oauth.StaticKeys(oauth.Key{Signer: key}), // published at /oauth/jwks
		Logger:   o.Logger,
		Now:      o.Now,
	})
}

// scopes are what clients can ask for: the description is what the user reads,
// the claims are what userinfo then tells.
var scopes = []oauth.Scope{
	{Name: "profile", Description: "See your name", Claims: []string{"name", "preferred_username"}},
	{Name: "email", Description: "See your e-mail address", Claims: []string{"email", "email_verified"}},
	{Name: "notes:read", Description: "Read your notes"},
	{Name: "notes:write", Description: "Add notes to yours"},
}

// clients are the applications that are known. The secrets are in the source for
// you to try; a real host keeps the hashes alone, see oauth.HashSecret.
func clients(issuer string) []oauth.Client {
	all := []string{"profile", "email", "notes:read", "notes:write"}
	return []oauth.Client{
		{
			ID:           "demo-web", // the app of app.go: it runs on a server and keeps a secret
			Name:         "Demo App",
			Secrets:      []string{oauth.HashSecret("demo-web-secret")},
			RedirectURIs: []string{issuer + "/callback"},
			Scopes:       all,
		},
		{
			ID:           "demo-spa", // a program on the user's machine, or in the browser: no secret
			Name:         "Demo Native App",
			Public:       true,
			RedirectURIs: []string{"http://127.0.0.1/callback"}, // with any port (RFC 8252)
			Scopes:       all,
		},
		{
			ID:      "demo-machine", // acts for itself: no user, no browser
			Secrets: []string{oauth.HashSecret("demo-machine-secret")},
			Grants:  []string{"client_credentials"},
			Scopes:  []string{"notes:read"},
		},
		{
			ID:         "demo-api", // an API in another process, which asks what a token means
			Secrets:    []string{oauth.HashSecret("demo-api-secret")},
			Grants:     []string{},
			Introspect: true,
		},
	}
}

// A user is what this host knows of its users.
type user struct{ name, email, password string }

// users stands for the table of users that a real host has, with an argon2id or
// bcrypt hash where this one has a password.
var users = map[string]user{
	"alice": {name: "Alice", email: "alice@example.com", password: "wonderland"},
	"bob":   {name: "Bob", email: "bob@example.com", password: "builder"},
}

// signIn is the host's own check of a password, called by the login page. No user
// and no error mean that name or password is wrong; an error would be a failure.
func signIn(_ context.Context, name, password string) (*pages.User, error) {
	u, known := users[name]
	if right := subtle.ConstantTimeCompare([]byte(u.password), []byte(password)) == 1; !known || !right {
		return nil, nil
	}
	return &pages.User{Subject: name, Name: u.name}, nil
}

// claims is what userinfo knows of a user. What the scopes of the token do not
// give is left out by the server.
func claims(_ context.Context, r oauth.ClaimsRequest) (oauth.Fields, error) {
	var f oauth.Fields
	u, known := users[r.Subject]
	if !known {
		return f, errors.New("no such user")
	}
	f.Set("name", u.name)
	f.Set("preferred_username", r.Subject)
	f.Set("email", u.email)
	f.Set("email_verified", true)
	return f, nil
}
