package main

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/pages"
)

// options are what the command and tests change.
type options struct {
	Web string           // base URL of the pages, and the issuer. Zero: https://flat.io
	API string           // base URL of everything else. Zero: https://api.flat.io
	Now func() time.Time // Zero: time.Now
}

// newHost is both hosts behind one handler: the Host of a request decides. The
// configuration is part of the program, so a fault in it is one of the program.
func newHost(o options) http.Handler {
	o = o.complete()
	srv, err := newServer(o)
	if err != nil {
		panic(err)
	}
	h, err := mount(srv, o)
	if err != nil {
		panic(err)
	}
	return h
}

func newServer(o options) (*oauth.Server, error) {
	cfg, err := newConfig(o)
	if err != nil {
		return nil, err
	}
	return oauth.New(cfg)
}

func (o options) complete() options {
	if o.Web == "" {
		o.Web = "https://flat.io"
	}
	if o.API == "" {
		o.API = "https://api.flat.io"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// mount puts the endpoints where they are published, one by one: they are on two
// hosts.
func mount(srv *oauth.Server, o options) (http.Handler, error) {
	web, api := hostname(o.Web), hostname(o.API)
	mux := http.NewServeMux()
	mux.Handle(web+"/auth/oauth", srv.AuthorizeHandler())
	mux.Handle(web+"/.well-known/oauth-authorization-server", srv.MetadataHandler())
	mux.Handle(api+"/oauth/access_token", srv.TokenHandler())
	mux.Handle(api+"/oauth/invalidate_token", srv.RevokeHandler())
	mountAPI(mux, api, srv.API())
	account, err := newAccount(srv, o)
	if err != nil {
		return nil, err
	}
	account.mount(mux, web)
	return mux, nil
}

// hostname is the host of a base URL, as patterns of a ServeMux have it.
func hostname(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// personal is how personal access tokens look: scanners find one that leaked.
var personal = oauth.Opaque{Prefix: "flat_pat_"}

// look is what the pages have of their own.
const look = `:root { --accent: #1f5fd0; --back: #e9f1fb; --radius: 6px }
@media (prefers-color-scheme: dark) { :root { --accent: #8fbcff; --on-accent: #06203f; --back: #0b1420 } }`

// newConfig is the published API, line by line. What is not here is as the RFCs
// say, which is what the library does by itself.
func newConfig(o options) (oauth.Config, error) {
	secrets := [][]byte{oauth.NewSecret()} // a real host keeps them
	login, err := pages.New(pages.Config{
		Issuer: o.Web, Secrets: secrets, Login: signIn, Offer: offer, Title: "Flat", Style: look, Now: o.Now,
	})
	if err != nil {
		return oauth.Config{}, err
	}
	return oauth.Config{
		Issuer:  o.Web,
		Storage: memstore.New(),
		Secrets: secrets,
		Clients: oauth.StaticClients(apps...),
		Scopes:  scopes,
		// The credentials of an app are a key and a secret: no PKCE. Implicit is for
		// the apps that have it among their grants.
		//lint:ignore SA1019 the document has the implicit grant
		Grants: []oauth.Grant{grants.AuthorizationCode{PKCE: grants.PKCEOptional}, grants.RefreshToken{}, grants.Implicit{}},
		Endpoints: oauth.Endpoints{
			Authorize: "/auth/oauth",
			Token:     o.API + "/oauth/access_token",
			Revoke:    o.API + "/oauth/invalidate_token",
			UserInfo:  "-", Introspect: "-",
		},
		RequireRedirectURI: true,
		Interact: func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			if !slices.Contains([]string{"", "online", "offline"}, in.Params().Get("access_type")) {
				in.Deny(w, r, &oauth.Error{Code: oauth.InvalidRequest, Description: "access_type is online or offline", Parameter: "access_type"})
				return
			}
			login.Interact(w, r, in)
		},
		OtherFormats: []oauth.Format{personal},
		Policy:       policy,
		Respond:      respond,
		// The callback has code and state, or the token's members and state, and nothing else.
		InsecureOmitIssuer: true,
		Now:                o.Now,
	}, nil
}

// offer is what a user may approve: the scope of education accounts is for those
// alone. What was said of access_type stays with the authorization.
func offer(_ context.Context, in *oauth.Interaction, a *oauth.Approval) error {
	a.Scopes = slices.DeleteFunc(a.Scopes, func(s string) bool { return !userByID(a.Subject).may(s) })
	a.Extra = map[string]string{"access_type": in.Params().Get("access_type")}
	return nil
}

// policy says how long things live. An empty GrantType is that of personal access
// tokens, which have to last; no token is without an end.
func policy(_ context.Context, r oauth.PolicyRequest) oauth.Policy {
	switch {
	case r.GrantType == "":
		return oauth.Policy{Access: 20 * year, AccessToken: personal}
	case r.Extra["access_type"] == "offline":
		return oauth.Policy{Access: day}
	}
	return oauth.Policy{Access: day, Refresh: oauth.NoRefresh}
}

// respond gives the answers their documented members, in their documented order.
// The fragment of the implicit grant has no token_type, against RFC 6749, section
// 4.2.2.
func respond(_ context.Context, is *oauth.Issued, f *oauth.Fields) error {
	if is.Endpoint == "authorize" {
		f.Select("code", "scope", "expires_in", "access_token")
		return nil
	}
	app := is.Client.Data.(app)
	f.Set("type", "access")
	f.Set("token_type", "bearer")
	f.Set("issued_at", is.IssuedAt.Unix())
	f.Set("app", app.ID)
	f.Set("appStatus", app.Status)
	f.Set("user", is.Subject)
	f.Select("type", "token_type", "access_token", "issued_at", "expires_in", "app", "appStatus", "user", "scope", "refresh_token")
	return nil
}
