package main

import (
	"context"
	"net/http"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/pages"
)

// options are what the command and tests change.
type options struct {
	Issuer string           // the base URL as clients see it. Zero: http://localhost:8080
	Now    func() time.Time // Zero: time.Now
}

// newHost is the whole server behind one handler. Its configuration is part of
// the program, so a fault in it is one of the program.
func newHost(o options) http.Handler {
	srv, err := newServer(o)
	if err != nil {
		panic(err)
	}
	return srv.Handler()
}

func newServer(o options) (*oauth.Server, error) {
	cfg, err := newConfig(o)
	if err != nil {
		return nil, err
	}
	return oauth.New(cfg)
}

const day = 24 * time.Hour

// look is what the pages have of their own.
const look = `:root { --accent: #0f766e; --radius: 10px }
@media (prefers-color-scheme: dark) { :root { --accent: #5eead4; --on-accent: #042f2e } }`

// newConfig is the published API, line by line. What is not here is as the RFCs
// say, which is what the library does by itself.
func newConfig(o options) (oauth.Config, error) {
	if o.Issuer == "" {
		o.Issuer = "http://localhost:8080"
	}
	secrets := [][]byte{oauth.NewSecret()} // a real host keeps them
	login, err := pages.New(pages.Config{
		Issuer: o.Issuer, Secrets: secrets, Login: signIn, Title: "Flowsta", Style: look, Now: o.Now,
	})
	if err != nil {
		return oauth.Config{}, err
	}
	limited, err := limits.Guard()
	if err != nil {
		return oauth.Config{}, err
	}
	return oauth.Config{
		Issuer:    o.Issuer,
		Storage:   memstore.New(),
		Secrets:   secrets,
		Clients:   oauth.StaticClients(apps...),
		Grants:    []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}},
		Endpoints: oauth.Endpoints{Introspect: "-", JWKS: "-"},
		Interact:  login.Interact,
		Scopes:    scopes,
		Claims:    claims,
		// Bodies are JSON, and revocation names its client in a header.
		Decode: oauth.Merge(oauth.JSONBody, oauth.Header("X-Client-Id", "client_id")),
		// Access tokens begin with eyJhbGciOiJIUzI1NiIs, which is HS256.
		AccessToken:        oauth.JWT{Type: "JWT", InsecureSymmetricKey: oauth.NewSecret()},
		Policy:             policy,
		Guards:             []oauth.Guard{limited},
		RequireRedirectURI: true,
		// The callback has code and state and nothing else.
		InsecureOmitIssuer: true,
		Now:                o.Now,
	}, nil
}

// limits are per minute. A public client is told apart from somebody who uses its
// name by the address alone, so that is part of its key.
var limits = guard.RateLimit{Rules: []guard.Rule{
	{Endpoints: []string{"authorize"}, Limits: []guard.Limit{{Count: 100, Window: time.Minute}}},
	{Endpoints: []string{"token"}, Per: guard.PerClient, Limits: []guard.Limit{{Count: 50, Window: time.Minute}}},
	{Endpoints: []string{"userinfo"}, Per: guard.PerToken, Limits: []guard.Limit{{Count: 500, Window: time.Minute}}},
	{Endpoints: []string{"revoke"}, Per: guard.PerClient, Limits: []guard.Limit{{Count: 50, Window: time.Minute}}},
}}

// policy says how long things live. The 30 days slide: every use begins them
// anew, and no other end is documented, so the last one is as far away as it can be.
func policy(context.Context, oauth.PolicyRequest) oauth.Policy {
	return oauth.Policy{Code: 10 * time.Minute, Access: time.Hour, RefreshIdle: 30 * day, RefreshAbsolute: 3650 * day}
}
