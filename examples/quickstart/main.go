// Command quickstart is an authorization server, an API that it protects and a
// web application that signs its users in with it, all in one process:
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -db notes.db
//
// The first forgets everything when it stops, the second goes on where it was.
//
// Read it in this order: host.go is the authorization server, db.go where things
// are kept, notes.go the API, app.go the application and sessions.go what that
// knows of a browser. This file starts and stops them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.Addr, "addr", defaultAddr, "`host:port` to listen on; the issuer is http:// and this")
	flag.StringVar(&o.DB, "db", "", "SQLite `file` to keep everything in; it is made if it is not there (default: in memory)")
	flag.StringVar(&o.Secret, "secret", "", "`file` of the server's secrets, made if it is not there (default: that of -db, with .secret behind)")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "quickstart: %q is not understood; a database is given as -db file\n", flag.Arg(0))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// What the server tells its operator goes to stderr: every event, with its reason.
	o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done, then lets the requests under way finish.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return fmt.Errorf("-addr %s: %w", o.Addr, err)
	}
	defer listener.Close() //nolint:errcheck // closed already where Serve has returned
	o.Addr = public(o.Addr, listener)
	h, err := newHost(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(h.logger.Handler(), slog.LevelWarn),
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go h.sweep(ctx)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	printGuide(out, h.issuer, o)

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

// public is the address that browsers use: the one that was asked for, with the
// port that the system chose where that was 0.
func public(addr string, listener net.Listener) string {
	host, port, err := net.SplitHostPort(addr)
	if at, ok := listener.Addr().(*net.TCPAddr); err == nil && ok && port == "0" {
		return net.JoinHostPort(host, strconv.Itoa(at.Port))
	}
	return addr
}

// sweep deletes what has expired, for the library has no goroutine of its own. On
// several machines any of them may do it.
func (h *host) sweep(ctx context.Context) {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_, err := h.server.DeleteExpired(ctx, 10_000)
			if err = errors.Join(err, h.sessions.sweep(ctx)); err != nil {
				h.logger.ErrorContext(ctx, "what has expired was not deleted", "error", err)
			}
		}
	}
}

// whole is a path that does not depend on where the program was started.
func whole(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// printGuide says what to open, as whom to sign in, and what to try.
func printGuide(out io.Writer, issuer string, o options) {
	token := "curl -s -u demo-machine:demo-machine-secret -d grant_type=client_credentials -d scope=notes:read " +
		issuer + "/oauth/token"
	kept := "Ctrl-C stops it. Nothing is kept; with -db notes.db everything is."
	if o.DB != "" {
		kept = "Everything is kept in " + whole(o.DB) + "\nbut for the server's secret, which is in " + whole(o.secretFile()) +
			"\nWho has that file can sign in as anybody: back it up, and not where the database's copies are.\n\n" +
			"Ctrl-C stops it. Start it again in the same way, and it goes on where it was."
	}
	inline := `$(` + token + ` | sed 's/.*"access_token":"\([^"]*\)".*/\1/')`
	fmt.Fprintf(out, `
Open  %s/  and sign in as

  alice   with the password   wonderland
  bob     with the password   builder

Or try it with curl, in another terminal. Where everything is: %s/.well-known/oauth-authorization-server

A token for a program that acts for itself (client_credentials):

  %s

The API, called with such a token:

  curl -s -H "Authorization: Bearer %s" %s/api/notes

What the token means, asked by the API's own client (introspection):

  curl -s -u demo-api:demo-api-secret -d "token=%s" %s/oauth/introspect

%s
`, issuer, issuer, token, inline, issuer, inline, issuer, kept)
}
