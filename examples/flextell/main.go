// Command flextell is a host that behaves as the published OAuth 2.0 API of that
// name does: authorization code and refresh token for clients with a secret, JWT
// access tokens that live for an hour, and an API with an error body of its own.
//
//	go run ./examples/flextell
//
// Read host.go: its configuration is all there is to it.
package main

import (
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "`host:port` to listen on; the issuer is http:// and this")
	flag.Parse()
	issuer := "http://" + *addr
	server := &http.Server{
		Addr:              *addr,
		Handler:           newHost(options{Issuer: issuer, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}),
		MaxHeaderBytes:    64 << 10,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
	}
	fmt.Printf("Open this and sign in as %s with the password %s; the code is then in the address bar:\n\n"+
		"  %s/oauth/authorize?response_type=code&client_id=%s&redirect_uri=%s&scope=contacts:read%%20messages:send\n\n",
		userName, password, issuer, clientID, redirectURI)
	log.Fatal(server.ListenAndServe())
}
