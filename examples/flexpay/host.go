package main

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/memstore"
)

// options are what the command and tests change.
type options struct {
	ServerURL string           // the base URL as merchants see it. Zero: http://localhost:8080
	Proxies   guard.Proxies    // in front of this host. Zero: none
	Storage   oauth.Storage    // Zero: in memory
	Secrets   [][]byte         // Zero: new ones; a real host keeps them
	Logger    *slog.Logger     // gets every event. Zero: nobody does
	Now       func() time.Time // Zero: time.Now
}

func (o options) complete() options {
	o.ServerURL = cmp.Or(o.ServerURL, "http://localhost:8080")
	if o.Storage == nil {
		o.Storage = memstore.New()
	}
	if o.Secrets == nil {
		o.Secrets = [][]byte{oauth.NewSecret()}
	}
	return o
}

// newHost is both environments behind one handler. Their configuration is part of
// the program, so a fault in it is one of the program.
func newHost(o options) http.Handler {
	h, err := build(o)
	if err != nil {
		panic(err)
	}
	return h
}

func build(o options) (http.Handler, error) {
	o = o.complete()
	mux := http.NewServeMux()
	for _, e := range environments {
		if err := e.mount(mux, o); err != nil {
			return nil, err
		}
	}
	return mux, nil
}

// mount puts the endpoints and the API of an environment below its server URL.
func (e environment) mount(mux *http.ServeMux, o options) error {
	cfg, err := e.config(o)
	if err != nil {
		return err
	}
	srv, err := oauth.New(cfg)
	if err != nil {
		return err
	}
	base, err := url.Parse(cfg.Issuer)
	if err != nil {
		return err
	}
	for path, handler := range srv.Routes() {
		mux.Handle(path, handler)
	}
	mountAPI(mux, base.Path, srv.API())
	return nil
}

// An environment has merchants, credentials and tokens of its own. Both share a
// store and its secrets here, to show that nothing passes from one to the other all
// the same; a real host keeps these apart, too.
type environment struct {
	name    string
	path    string // of its server URL, below that of the host
	clients oauth.ClientRegistry
}

// config is the published API, line by line. What is not here is as the RFCs say,
// which is what the library does by itself.
func (e environment) config(o options) (oauth.Config, error) {
	https, err := guard.HTTPS{Proxies: o.Proxies, AllowLoopback: true}.Guard()
	if err != nil {
		return oauth.Config{}, err
	}
	approved, err := guard.AllowList{Lookup: e.addresses, Proxies: o.Proxies}.Guard()
	if err != nil {
		return oauth.Config{}, err
	}
	return oauth.Config{
		Issuer:    o.ServerURL + e.path,
		Realm:     e.name,
		Storage:   o.Storage,
		Secrets:   o.Secrets,
		Clients:   e.clients,
		Grants:    []oauth.Grant{grants.ClientCredentials{}},
		Endpoints: oauth.Endpoints{Token: "/api/auth/v1/oauth/token", Revoke: "-", Introspect: "-"},
		// The grant type is documented in the URL, with no body at all.
		Decode: oauth.Merge(oauth.FormBody, oauth.Query("grant_type")),
		Policy: policy,
		// They are asked at the token endpoint and in the API.
		Guards: []oauth.Guard{https, approved},
		Logger: o.Logger,
		Now:    o.Now,
	}, nil
}

// policy: tokens live 30 minutes, unless it was agreed otherwise.
func policy(_ context.Context, r oauth.PolicyRequest) oauth.Policy {
	m, _ := r.Client.Data.(merchant)
	return oauth.Policy{Access: cmp.Or(m.TokenLife, 30*time.Minute)}
}

// addresses are those that were approved for a merchant's servers. While a review is
// pending there are none, and none may call.
func (e environment) addresses(ctx context.Context, clientID string) ([]netip.Prefix, error) {
	c, err := e.clients.Client(ctx, clientID)
	if err != nil {
		return nil, err
	}
	m, _ := c.Data.(merchant)
	return m.Addresses, nil
}
