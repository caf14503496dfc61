// Command flexpay is an authorization server with the API that Flex Pay has
// published: merchants' servers get tokens for themselves (client_credentials), from
// the addresses that were approved for them, in one of two environments.
//
//	go run ./flexpay
//
// Read it in this order: host.go is the configuration, and all that makes this
// server what it is; api.go is what the tokens are for; data.go is the demo's
// merchants. This file starts and stops it.
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
	addr := flag.String("addr", "localhost:8080", "`host:port` to listen on; the server URL is http:// and this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "flexpay:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done, then lets the requests under way finish.
func run(ctx context.Context, addr string, out io.Writer) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("-addr %s: %w", addr, err)
	}
	o := options{ServerURL: "http://" + addr}
	handler, err := build(o) // newHost could only panic
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
	}
	printGuide(out, o.ServerURL)
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

// printGuide says which curl to try.
func printGuide(out io.Writer, server string) {
	const merchant = "harbor-books-production:harbor-books-production-secret"
	fmt.Fprintf(out, `
A token for the servers of a merchant that may call from this machine:

  curl -s -X POST -u %s '%s/api/auth/v1/oauth/token?grant_type=client_credentials'

An order with it:

  TOKEN=...
  curl -s %s/api/checkout/v1/orders -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"amount":4200}'

The merchant whose servers are elsewhere is refused like one with a wrong secret:

  curl -si -X POST -u northwind-production:northwind-production-secret '%s/api/auth/v1/oauth/token?grant_type=client_credentials'

Pre-production is below %s/preprod, and has merchants and tokens of its own.
Nothing is kept. Ctrl-C stops it.
`, merchant, server, server, server, server)
}
