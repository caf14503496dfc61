// Command apis is an API that accepts the access tokens of an authorization server
// in another process (RFC 9068). api.mjs and api.py beside it are the same API in
// other languages, made of what these have; all three take and refuse exactly the
// same tokens.
//
//	go run ./apis ISSUER AUDIENCE [ALGORITHM…]
//	node apis/api.mjs ISSUER AUDIENCE [ALGORITHM…]
//	PYTHONPATH=apis/packages python3 apis/api.py ISSUER AUDIENCE [ALGORITHM…]
//
// Each takes ES256, RS256, PS256, EdDSA and ES384, unless told which, and prints its
// address once it is ready.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/grantwell/oauth/resource"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: apis ISSUER AUDIENCE [ALGORITHM…]")
	}
	log.Fatal(serve(newAPI(os.Args[1], os.Args[2], time.Now, os.Args[3:]...)))
}

// newAPI is the whole API: a line protects a route.
func newAPI(issuer, audience string, now func() time.Time, algorithms ...string) http.Handler {
	tokens := &resource.JWT{Issuer: issuer, Now: now}
	if len(algorithms) > 0 {
		tokens.Algorithms = algorithms
	}
	api := &resource.API{Verifier: tokens, Audience: audience, Now: now}
	mux := http.NewServeMux()
	mux.Handle("GET /notes", api.Require("notes:read")(http.HandlerFunc(whoAmI)))
	mux.Handle("POST /notes", api.Require("notes:write")(http.HandlerFunc(whoAmI)))
	return mux
}

// whoAmI answers with what the API knows of the caller.
func whoAmI(w http.ResponseWriter, r *http.Request) {
	token, _ := resource.FromContext(r.Context())
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{ // a client that is gone is not ours to report
		"client": token.ClientID,
		"user":   token.Subject, // "" where the client acts for itself
		"scope":  strings.Join(token.Scopes, " "),
	})
}

func serve(h http.Handler) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	return server.Serve(listener)
}
