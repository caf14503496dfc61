package adopt_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/fosite/adopt"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/memstore"
)

// The new server with everything of the old one, on one mux.
func Example() {
	// This was there before: the store, the configuration and the provider.
	old := storage.NewExampleStore()
	config := &fosite.Config{GlobalSecret: []byte("some-super-cool-secret-that-is-32")}
	provider := compose.Compose(config, old, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2TokenIntrospectionFactory, compose.OAuth2TokenRevocationFactory)
	introspect := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		response, err := provider.NewIntrospectionRequest(r.Context(), r, new(fosite.DefaultSession))
		if err != nil {
			provider.WriteIntrospectionError(r.Context(), w, err)
			return
		}
		provider.WriteIntrospectionResponse(r.Context(), w, response)
	})

	served := []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}, grants.ClientCredentials{}}
	var clients []oauth.Client
	for _, c := range old.Clients {
		client, err := adopt.Client(c, served)
		if err != nil {
			fmt.Println(err)
			return
		}
		clients = append(clients, client)
	}
	var srv *oauth.Server
	tokens := &adopt.Tokens{
		Store: old, Keys: config, Prefix: adopt.Prefix, MaxAge: 180 * 24 * time.Hour,
		Session: func() fosite.Session { return new(fosite.DefaultSession) },
		End: func(ctx context.Context, of oauth.Selector) error {
			_, err := srv.Revoke(ctx, of)
			return err
		},
	}
	srv, err := oauth.New(oauth.Config{
		Issuer: "https://login.example", Secrets: [][]byte{oauth.NewSecret()}, Storage: memstore.New(),
		Clients: oauth.StaticClients(clients...), Grants: served, Import: tokens.Import,
		Endpoints: oauth.Endpoints{Authorize: "/oauth2/auth", Token: "/oauth2/token", Revoke: "/oauth2/revoke", Introspect: "/oauth2/introspect"},
		Scopes:    []oauth.Scope{{Name: "fosite"}, {Name: "openid"}, {Name: "photos"}, {Name: "offline"}},
		Interact:  func(http.ResponseWriter, *http.Request, *oauth.Interaction) {}, // your login page, or package pages
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	for path, h := range srv.Routes() {
		switch path {
		case "/oauth2/revoke":
			h = adopt.Split("ory_", tokens.RevokeHandler(provider), h)
		case "/oauth2/introspect":
			h = adopt.Split("ory_", introspect, h)
		}
		mux.Handle(path, h)
	}
	fmt.Println(len(clients), "clients")
	// Output: 3 clients
}
