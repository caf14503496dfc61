package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/pages"
)

const defaultAddr = "localhost:8080"

// options are what flags and tests change.
type options struct {
	Addr   string           // host:port as browsers see it. Zero: localhost:8080
	DB     string           // the file that everything is kept in. Zero: none, it is all in memory
	Secret string           // the file of the secrets. Zero: that of DB, with .secret behind
	Now    func() time.Time // the clock of server, API and app. Zero: time.Now
	Logger *slog.Logger     // gets every event. Zero: nobody does
}

// secretFile is where the secrets are.
func (o options) secretFile() string {
	if o.Secret == "" {
		return o.DB + ".secret"
	}
	return o.Secret
}

// A host is the whole program behind one handler.
type host struct {
	http.Handler
	issuer   string
	server   *oauth.Server
	db       *database
	sessions *sessions
	logger   *slog.Logger
}

// newHost puts the authorization server, the API and the app on one mux. It must
// be closed.
func newHost(ctx context.Context, o options) (*host, error) {
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
	db, err := openDatabase(ctx, o, issuer)
	if err != nil {
		return nil, err
	}
	srv, err := newServer(issuer, db, o)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	mux := http.NewServeMux()
	for path, handler := range srv.Routes() {
		mux.Handle(path, handler)
	}
	kept := &sessions{db: db.DB, now: o.Now}
	(&notes{db.DB, o.Now, o.Logger}).mount(mux, srv.API())
	newApp(issuer, kept, o.Logger).mount(mux)
	return &host{Handler: mux, issuer: issuer, server: srv, db: db, sessions: kept, logger: o.Logger}, nil
}

// Close closes the database. No request may be under way.
func (h *host) Close() error { return h.db.Close() }

// newServer is all that a program has to write to be an authorization server.
func newServer(issuer string, db *database, o options) (*oauth.Server, error) {
	keys, err := signingKeys(db.secrets)
	if err != nil {
		return nil, err
	}
	users := users{db.DB}
	login, err := pages.New(pages.Config{
		Issuer:  issuer,
		Secrets: db.secrets,
		Login:   users.signIn,
		Title:   "Quickstart",
		Logger:  o.Logger,
		Now:     o.Now,
	})
	if err != nil {
		return nil, err
	}
	return oauth.New(oauth.Config{
		Issuer:   issuer,
		Storage:  db.records,
		Secrets:  db.secrets,
		Clients:  oauth.StaticClients(clients(issuer)...),
		Grants:   []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}, grants.ClientCredentials{}},
		Scopes:   scopes,
		Claims:   users.claims,
		Interact: login.Interact,
		Keys:     oauth.StaticKeys(keys...), // published at /oauth/jwks
		Logger:   o.Logger,
		Now:      o.Now,
	})
}

// signingKeys derives a key from each secret, so that there is one file to keep.
// A real host has them apart, in a KMS or in a file of their own. Nothing is signed
// here as long as access tokens are opaque.
func signingKeys(secrets [][]byte) (keys []oauth.Key, err error) {
	for _, secret := range secrets {
		seed, err := hkdf.Key(sha256.New, secret, nil, "quickstart: key for ES256", 32)
		if err != nil {
			return nil, err
		}
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed)
		if err != nil {
			return nil, err
		}
		keys = append(keys, oauth.Key{Signer: key})
	}
	return keys, nil
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

// users is the host's own table of them.
type users struct{ *sql.DB }

// nobodys is a hash that no password is known for. It is compared where there is
// no such user: that takes as long as a wrong password.
const nobodys = "$2a$10$BUaQXHw9KQT1LsZkcmsi5eKCz.h0XKokoTpVTeMi40rm2AZa93GSa"

// signIn is the host's own check of a password, called by the login page. No user
// and no error mean that name or password is wrong; an error is a failure.
func (u users) signIn(ctx context.Context, name, password string) (*pages.User, error) {
	fullName, hash := "", nobodys
	err := u.QueryRowContext(ctx, `SELECT full_name, password FROM users WHERE name = ?`, name).Scan(&fullName, &hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil || err != nil {
		return nil, nil
	}
	return &pages.User{Subject: name, Name: fullName}, nil
}

// claims is what userinfo knows of a user. What the scopes of the token do not
// give is left out by the server.
func (u users) claims(ctx context.Context, r oauth.ClaimsRequest) (oauth.Fields, error) {
	var f oauth.Fields
	var fullName, email string
	err := u.QueryRowContext(ctx, `SELECT full_name, email FROM users WHERE name = ?`, r.Subject).Scan(&fullName, &email)
	if err != nil {
		return f, err
	}
	f.Set("name", fullName)
	f.Set("preferred_username", r.Subject)
	f.Set("email", email)
	f.Set("email_verified", true)
	return f, nil
}
