// Command flowsta is an authorization server with the API that Flowsta has
// published: PKCE without client secrets, JSON bodies, and a userinfo endpoint.
//
//	go run ./flowsta
//
// Read it in this order: host.go is the configuration, and all that makes this
// server what it is; data.go is the demo's own application and user. This file
// starts and stops it.
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
	"strconv"
	"syscall"
	"time"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "`host:port` to listen on; the issuer is http:// and this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "flowsta:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done, then lets the requests under way finish.
func run(ctx context.Context, addr string, out io.Writer) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("-addr %s: %w", addr, err)
	}
	defer listener.Close() //nolint:errcheck // closed already where Serve has returned
	o := options{Issuer: "http://" + public(addr, listener)}
	srv, err := newServer(o)
	if err != nil {
		return fmt.Errorf("-addr %s: %w", addr, err)
	}
	server := &http.Server{
		Handler:           srv.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
	}
	printGuide(out, o.Issuer)
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

// public is the address as browsers see it: the one that was asked for, with the
// port that the system chose where that was 0.
func public(addr string, listener net.Listener) string {
	host, port, err := net.SplitHostPort(addr)
	if at, ok := listener.Addr().(*net.TCPAddr); err == nil && ok && port == "0" {
		return net.JoinHostPort(host, strconv.Itoa(at.Port))
	}
	return addr
}

// printGuide says what to open and what to do with the code. The pair of
// challenge and verifier is the one that RFC 7636 prints in appendix B.
func printGuide(out io.Writer, issuer string) {
	fmt.Fprintf(out, `
Open this and sign in as %s with the password %s:

  %s/oauth/authorize?response_type=code&client_id=%s&redirect_uri=%s&scope=profile%%20email&state=random_state&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256

The browser ends at an address that does not exist; the code is in it. Within
ten minutes, exchange it:

  CODE=...
  curl %s/oauth/token -H 'Content-Type: application/json' -d '{"grant_type":"authorization_code","code":"'$CODE'","redirect_uri":"%s","client_id":"%s","code_verifier":"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}'

And ask who signed in:

  AT=...
  curl -i %s/oauth/userinfo -H "Authorization: Bearer $AT"

Nothing is kept. Ctrl-C stops it.
`, userName, userPassword, issuer, appID, appCallback, issuer, appCallback, appID, issuer)
}
