// Hosttest is a small application with users, pages and an API of its own, and above
// all its tests: hosttest_test.go shows what package oauthtest does for a host.
package main

import (
	"log"
	"net/http"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/memstore"
)

func main() {
	a := newApp()
	config := oauth.Config{
		Issuer: "http://localhost:8080", Storage: memstore.New(), Secrets: [][]byte{oauth.NewSecret()},
		Grants: []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}},
	}
	a.configure(&config)
	srv, err := oauth.New(config)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8080", a.routes(srv)))
}
