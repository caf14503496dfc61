package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/pages"
	"github.com/grantwell/oauth/resource"
)

// The demo's client and user.
const (
	clientID     = "YOUR_CLIENT_ID"
	clientSecret = "YOUR_CLIENT_SECRET"
	redirectURI  = "https://your-app.example.com/callback"

	userName = "demo"
	password = "demo"
)

var (
	demoClient = oauth.Client{
		ID:           clientID,
		Name:         "Your App",
		Secrets:      []string{oauth.HashSecret(clientSecret)},
		RedirectURIs: []string{redirectURI},
		Scopes:       []string{"contacts:read", "messages:send"},
	}
	scopes = []oauth.Scope{
		{Name: "contacts:read", Description: "See your contacts"},
		{Name: "messages:send", Description: "Send messages in your name", Optional: true},
	}
	//go:embed style.css
	style string
)

// options are what the command and tests change. The zero value is a demo on localhost.
type options struct {
	Issuer  string           // Zero: http://localhost:8080
	Proxies guard.Proxies    // that end TLS in front of it. Zero: none
	Clients []oauth.Client   // Zero: the demo's
	Policy  oauth.Policy     // Zero: access tokens live for an hour, refresh tokens rotate
	Storage oauth.Storage    // Zero: memory
	Secrets [][]byte         // Zero: one that is made now
	Key     crypto.Signer    // of access tokens, RSA. Zero: one that is made now
	Logger  *slog.Logger     // Zero: nothing is logged
	Now     func() time.Time // Zero: time.Now
}

func (o *options) complete() (err error) {
	if o.Issuer == "" {
		o.Issuer = "http://localhost:8080"
	}
	if o.Clients == nil {
		o.Clients = []oauth.Client{demoClient}
	}
	if o.Policy.Access == 0 {
		o.Policy.Access = time.Hour // expires_in: 3600
	}
	if o.Storage == nil {
		o.Storage = memstore.New()
	}
	if o.Secrets == nil {
		o.Secrets = [][]byte{oauth.NewSecret()}
	}
	if o.Key == nil {
		o.Key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	return err
}

// newHost is authorization server, pages and API on one mux. Its configuration is
// part of the program, so a fault in it is one of the program.
func newHost(o options) http.Handler {
	srv, err := newServer(o)
	if err != nil {
		panic(err)
	}
	return mount(srv)
}

// newServer is all that a program has to write to be this authorization server.
func newServer(o options) (*oauth.Server, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	// http is for an issuer on this machine, and for those who are on it too.
	https, err := guard.HTTPS{Proxies: o.Proxies, AllowLoopback: strings.HasPrefix(o.Issuer, "http://")}.Guard()
	if err != nil {
		return nil, err
	}
	login, err := pages.New(pages.Config{
		Issuer:  o.Issuer,
		Secrets: o.Secrets,
		Login:   signIn,
		Title:   "Flextell",
		Style:   style,
		Address: o.Proxies.Address,
		Logger:  o.Logger,
		Now:     o.Now,
	})
	if err != nil {
		return nil, err
	}
	return oauth.New(oauth.Config{
		Issuer:  o.Issuer,
		Storage: o.Storage,
		Secrets: o.Secrets,
		Clients: oauth.StaticClients(o.Clients...),
		Grants: []oauth.Grant{
			grants.AuthorizationCode{PKCE: grants.PKCEOptional}, // clients with a secret know nothing of PKCE here
			grants.RefreshToken{},
		},
		Endpoints:          oauth.Endpoints{Introspect: "-", UserInfo: "-"}, // /oauth/authorize, /oauth/token, /oauth/revoke, /oauth/jwks
		Scopes:             scopes,
		Interact:           login.Interact,
		Keys:               oauth.StaticKeys(oauth.Key{ID: "-", Signer: o.Key}), // the header has no kid
		AccessToken:        oauth.JWT{Type: "JWT"},
		RefreshToken:       oauth.Opaque{Prefix: "def50200", Hex: true},
		Policy:             func(context.Context, oauth.PolicyRequest) oauth.Policy { return o.Policy },
		Guards:             []oauth.Guard{https},
		Respond:            respond,
		InsecureOmitIssuer: true, // the callback has code and state, nothing else
		Logger:             o.Logger,
		Now:                o.Now,
	})
}

// mount puts the API beside the server.
func mount(srv *oauth.Server) http.Handler {
	mux := http.NewServeMux()
	for path, handler := range srv.Routes() {
		mux.Handle(path, handler)
	}
	api := srv.API()
	api.Error = writeError
	mux.Handle("GET /api/me", api.Require()(http.HandlerFunc(me)))
	mux.Handle("GET /api/contacts", api.Require("contacts:read")(http.HandlerFunc(contacts)))
	return mux
}

// respond leaves the scope out where it is what the client asked for (RFC 6749,
// section 5.1).
func respond(_ context.Context, issued *oauth.Issued, answer *oauth.Fields) error {
	lost := func(scope string) bool { return !slices.Contains(issued.Scopes, scope) }
	if !slices.ContainsFunc(issued.Requested, lost) {
		answer.Delete("scope")
	}
	return nil
}

// writeError is the API's: whatever is wrong with a token, it says the same. The
// challenge in the header has been set.
func writeError(w http.ResponseWriter, r *http.Request, e *oauth.Error) {
	if e.HTTPStatus() != http.StatusUnauthorized {
		resource.WriteError(w, r, e)
		return
	}
	w.WriteHeader(http.StatusUnauthorized)
	io.WriteString(w, `{"error":"unauthorized","message":"Bearer token is missing, invalid, or expired."}`) //nolint:errcheck // the client is gone
}

// signIn is the host's own check of a password. A real one compares hashes.
func signIn(_ context.Context, name, word string) (*pages.User, error) {
	if name != userName || subtle.ConstantTimeCompare([]byte(word), []byte(password)) != 1 {
		return nil, nil
	}
	return &pages.User{Subject: userName, Name: "Demo User"}, nil
}

// me is open to every live token.
func me(w http.ResponseWriter, r *http.Request) {
	token, _ := resource.FromContext(r.Context())
	writeJSON(w, map[string]any{"id": token.Subject, "name": "Demo User"})
}

// contacts needs the scope contacts:read.
func contacts(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{"contacts": []string{"Ada", "Grace"}})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client is gone
}
