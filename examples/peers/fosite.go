package peers

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"
	"golang.org/x/crypto/bcrypt"

	"github.com/grantwell/oauth/oauthtest/probe"
)

// newFosite is the quickstart of its README, with the routes for revocation and
// introspection of its example application, which also grants the scopes.
func newFosite() (Peer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return Peer{}, fmt.Errorf("key: %w", err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
	if err != nil {
		return Peer{}, fmt.Errorf("hash: %w", err)
	}
	scopes := []string{"photos", "offline"} // offline: with a refresh token
	web := &fosite.DefaultClient{
		ID: "web", Secret: hash, RedirectURIs: []string{callback}, Scopes: scopes, ResponseTypes: []string{"code"},
		GrantTypes: []string{"authorization_code", "refresh_token", "client_credentials"},
	}
	app := &fosite.DefaultClient{
		ID: "app", Public: true, RedirectURIs: []string{callback}, Scopes: scopes, ResponseTypes: []string{"code"},
		GrantTypes: []string{"authorization_code", "refresh_token"},
	}
	store := storage.NewMemoryStore()
	store.Clients[web.ID], store.Clients[app.ID] = web, app
	config := &fosite.Config{GlobalSecret: []byte("my super secret signing password")} // of 32 bytes
	provider := compose.ComposeAllEnabled(config, store, key)

	confidential := probe.Client{ID: web.ID, Secret: secret, RedirectURI: callback, Scopes: scopes}
	return Peer{Module: "github.com/ory/fosite", Handler: fositeRoutes(provider), Target: probe.Target{
		URL: "https://fosite.example.com",
		Endpoints: probe.Endpoints{Metadata: "-", Authorize: "/oauth2/auth", Token: "/oauth2/token",
			Revoke: "/oauth2/revoke", Introspect: "/oauth2/introspect"},
		Confidential: confidential, Machine: confidential, Introspector: confidential,
		Public: probe.Client{ID: app.ID, RedirectURI: callback, Scopes: scopes},
	}}, nil
}

func fositeRoutes(provider fosite.OAuth2Provider) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/oauth2/auth", func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		request, err := provider.NewAuthorizeRequest(ctx, r)
		if err != nil {
			provider.WriteAuthorizeError(ctx, w, request, err)
			return
		}
		for _, scope := range request.GetRequestedScopes() {
			request.GrantScope(scope)
		}
		response, err := provider.NewAuthorizeResponse(ctx, request, &fosite.DefaultSession{Username: user, Subject: user})
		if err != nil {
			provider.WriteAuthorizeError(ctx, w, request, err)
			return
		}
		provider.WriteAuthorizeResponse(ctx, w, request, response)
	})
	mux.HandleFunc("/oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		request, err := provider.NewAccessRequest(ctx, r, new(fosite.DefaultSession))
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		response, err := provider.NewAccessResponse(ctx, request)
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		provider.WriteAccessResponse(ctx, w, request, response)
	})
	mux.HandleFunc("/oauth2/revoke", func(w http.ResponseWriter, r *http.Request) {
		provider.WriteRevocationResponse(r.Context(), w, provider.NewRevocationRequest(r.Context(), r))
	})
	mux.HandleFunc("/oauth2/introspect", func(w http.ResponseWriter, r *http.Request) {
		response, err := provider.NewIntrospectionRequest(r.Context(), r, new(fosite.DefaultSession))
		if err != nil {
			provider.WriteIntrospectionError(r.Context(), w, err)
			return
		}
		provider.WriteIntrospectionResponse(r.Context(), w, response)
	})
	return mux
}
