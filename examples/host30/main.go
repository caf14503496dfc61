// An authorization server with its login and consent pages, complete.
package main

import (
	"context"
	"log"
	"net/http"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/pages"
)

func main() {
	const issuer = "http://localhost:8080"
	secrets := [][]byte{oauth.NewSecret()}
	users := map[[2]string]*pages.User{{"alice", "wonderland"}: {Subject: "alice", Name: "Alice"}}
	signIn := func(_ context.Context, name, password string) (*pages.User, error) {
		return users[[2]string{name, password}], nil // nil: the name or the password is wrong
	}
	login, err := pages.New(pages.Config{Issuer: issuer, Secrets: secrets, Login: signIn})
	if err != nil {
		log.Fatal(err)
	}
	app := oauth.Client{ID: "app", Public: true, RedirectURIs: []string{"http://127.0.0.1/callback"}, Scopes: []string{"read"}}
	srv, err := oauth.New(oauth.Config{
		Issuer: issuer, Secrets: secrets, Storage: memstore.New(), Clients: oauth.StaticClients(app),
		Grants:   []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}},
		Scopes:   []oauth.Scope{{Name: "read", Description: "Read your notes"}},
		Interact: login.Interact,
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8080", srv.Handler()))
}
