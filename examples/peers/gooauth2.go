package peers

import (
	"net/http"

	"github.com/go-oauth2/oauth2/v4/manage"
	"github.com/go-oauth2/oauth2/v4/models"
	"github.com/go-oauth2/oauth2/v4/server"
	"github.com/go-oauth2/oauth2/v4/store"

	"github.com/grantwell/oauth/oauthtest/probe"
)

// newGoOAuth2 is the quick start of its README, with clients of our names.
func newGoOAuth2() Peer {
	manager := manage.NewDefaultManager()
	manager.MustTokenStorage(store.NewMemoryTokenStore())
	clients := store.NewClientStore()
	for _, c := range []*models.Client{
		{ID: "web", Secret: secret, Domain: "https://client.example"},
		{ID: "app", Public: true, Domain: "https://client.example"},
	} {
		_ = clients.Set(c.ID, c) // it never fails
	}
	manager.MapClientStorage(clients)
	srv := server.NewDefaultServer(manager)
	srv.SetAllowGetAccessRequest(true)
	srv.SetClientInfoHandler(server.ClientFormHandler)
	srv.UserAuthorizationHandler = func(http.ResponseWriter, *http.Request) (string, error) { return user, nil }

	mux := http.NewServeMux()
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		if err := srv.HandleAuthorizeRequest(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		_ = srv.HandleTokenRequest(w, r) // it writes the answer itself
	})
	// The route of its example server that takes a token.
	mux.HandleFunc("/test", func(w http.ResponseWriter, r *http.Request) {
		if _, err := srv.ValidationBearerToken(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	scopes := []string{"read", "write"}
	confidential := probe.Client{ID: "web", Secret: secret, SecretPost: true, RedirectURI: callback, Scopes: scopes}
	return Peer{Module: "github.com/go-oauth2/oauth2/v4", Handler: mux, Target: probe.Target{
		URL:          "https://go-oauth2.example.com",
		Endpoints:    probe.Endpoints{Metadata: "-", Authorize: "/authorize", Token: "/token"},
		Confidential: confidential, Machine: confidential,
		Public:   probe.Client{ID: "app", RedirectURI: callback, Scopes: scopes},
		Resource: "https://go-oauth2.example.com/test",
	}}
}
