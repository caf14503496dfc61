// Command flat is an authorization server with the API that Flat has published:
// the authorization code and implicit grants with a page on one host, the token
// and revocation endpoints and the API on another, and personal access tokens
// that users make for themselves.
//
//	go run ./flat
//
// Read it in this order: host.go is the configuration, and all that makes this
// server what it is; account.go the pages of personal access tokens; api.go what
// is protected; data.go the demo's own apps and users. This file starts and stops it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "`host:port` to listen on, on this machine")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "flat:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done, then lets the requests under way finish.
func run(ctx context.Context, addr string, out io.Writer) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	o := local(listener)
	srv, err := newServer(o) // what newHost could only panic about
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	h, err := mount(srv, o)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
	}
	printGuide(out, o)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err = <-failed:
		return err
	case <-ctx.Done():
	}
	// The context that ended cannot bound what comes after it.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err = server.Shutdown(grace); err != nil {
		return fmt.Errorf("requests were still under way: %w", err)
	}
	if err = <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// local are the two hosts on one machine: two names of it, and one port.
func local(listener net.Listener) options {
	_, port, _ := net.SplitHostPort(listener.Addr().String()) // it listens: the address is one
	return options{Web: "http://localhost:" + port, API: "http://127.0.0.1:" + port}.complete()
}

func printGuide(out io.Writer, o options) {
	fmt.Fprintf(out, `
Personal access tokens: open this and sign in as demo with the password demo,
make one, and ask who it is:

  %[1]s%[2]s

  curl -H 'Authorization: Bearer <token>' %[3]s/v2/me

Authorization Code grant: open this, and the browser ends at an address that does
not exist; the code is in it, and has to be exchanged within a minute:

  %[1]s/auth/oauth?client_id=%[4]s&response_type=code&state=xyz&scope=account.public_profile+scores&redirect_uri=%[5]s

  CODE=...
  curl -i -d grant_type=authorization_code -d code=$CODE -d client_id=%[4]s -d client_secret=%[6]s -d redirect_uri=%[5]s %[3]s/oauth/access_token

Nothing is kept. Ctrl-C stops it.
`, o.Web, tokensPath, o.API, siteKey, siteCallback, siteSecret)
}
