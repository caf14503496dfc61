// Command oauthprobe is a misbehaving OAuth 2.0 client. It points the checks of
// package oauthtest/probe at a server that is running, and reports what the server
// lets pass, with the section of the RFC and what to change.
//
//	go run ./cmd/oauthprobe -fixtures fixtures.json http://localhost:8080
//
// It sends requests to the origin of the URL alone, and to those that the fixtures
// list. What it may use there is in the fixtures, a JSON object, which also keeps
// secrets out of the list of processes:
//
//	{
//	  "public":       {"id": "app", "redirect_uri": "http://127.0.0.1/callback", "scopes": ["read", "write"]},
//	  "confidential": {"id": "web", "secret": "…", "redirect_uri": "https://client.example/callback", "scopes": ["read"]},
//	  "machine":      {"id": "worker", "secret": "…", "scopes": ["read"]},
//	  "introspector": {"id": "api", "secret": "…"},
//	  "fields":       {"username": "alice", "password": "…"},
//	  "press":        ["Allow", "Sign in"]
//	}
//
// Fields and press are how it gets through the pages; {"header": {"Cookie": ["…"]}}
// is a session instead. The other members are those of probe.Target. A check that
// needs what is not given is reported as not run.
//
// It makes authorizations for that user and leaves them behind: use it on a server
// for tests, or with a user and clients for it.
//
// The exit status is 0 where nothing was found, 1 where something was, and 2 where it
// could not do its work.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/grantwell/oauth/oauthtest/probe"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

const (
	clean  = 0
	dirty  = 1
	failed = 2
)

// options are what the flags say.
type options struct {
	fixtures, public, redirect, scope, prefix, only, without, ca string
	json, quiet, list                                            bool
	timeout                                                      time.Duration
}

// parse reads the flags and the URL.
func (o *options) parse(args []string, usage io.Writer) (*flag.FlagSet, error) {
	flags := flag.NewFlagSet("oauthprobe", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.Usage = func() {
		fmt.Fprintf(usage, "usage: oauthprobe [flags] URL\n\nThe URL is the issuer. Requests go to its origin alone.\n\n")
		flags.PrintDefaults()
	}
	flags.StringVar(&o.fixtures, "fixtures", "", "`file` of clients and a user that may be used, as JSON; - reads standard input")
	flags.StringVar(&o.public, "public", "", "`id` of a public client, in place of that of the fixtures")
	flags.StringVar(&o.redirect, "redirect", "", "redirect `URI` of the client of -public")
	flags.StringVar(&o.scope, "scope", "", "`scopes` of the client of -public, with spaces between")
	flags.StringVar(&o.prefix, "against-prefix", "", "`path` that every endpoint must be below; without metadata the endpoints are looked for there")
	flags.StringVar(&o.only, "only", "", "`checks` to run, by ID, with commas between (default: all)")
	flags.StringVar(&o.without, "without", "", "`checks` not to run, with commas between")
	flags.StringVar(&o.ca, "ca", "", "`file` of certificates to trust besides those of the system, as PEM")
	flags.DurationVar(&o.timeout, "timeout", 2*time.Minute, "for everything")
	flags.BoolVar(&o.json, "json", false, "write the report as JSON")
	flags.BoolVar(&o.quiet, "quiet", false, "show no progress")
	flags.BoolVar(&o.list, "list", false, "list the checks and stop")
	return flags, flags.Parse(args)
}

func run(ctx context.Context, args []string, in io.Reader, out, progress io.Writer) int {
	var o options
	flags, err := o.parse(args, progress)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return clean
	case err != nil:
		return failed
	}
	if o.list {
		for _, c := range probe.Checks() {
			fmt.Fprintf(out, "%-28s %-7s %s (%s)\n", c.ID, c.Severity, c.Name, c.RFC)
		}
		return clean
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return failed
	}
	target, err := o.target(flags.Arg(0), in)
	if err != nil {
		fmt.Fprintln(progress, "oauthprobe:", err)
		return failed
	}
	tell := func(p probe.Progress) {
		if p.Result != nil {
			fmt.Fprintf(progress, "%3d/%d  %-8s %s\n", p.N, p.Total, p.Result.Verdict, p.Check.ID)
		}
	}
	if o.quiet {
		tell = nil
	}
	results, err := probe.Run(ctx, target, tell)
	if err != nil {
		fmt.Fprintln(progress, "oauthprobe:", err)
	}
	r := newReport(target.URL, results, err)
	if o.json {
		err = errors.Join(err, r.writeJSON(out))
	} else if len(results) > 0 {
		r.write(out)
	}
	switch {
	case err != nil:
		return failed
	case r.Findings > 0:
		return dirty
	}
	return clean
}

// target is what the flags and the fixtures say.
func (o *options) target(url string, in io.Reader) (t probe.Target, err error) {
	if o.fixtures != "" {
		if t, err = readFixtures(o.fixtures, in); err != nil {
			return t, fmt.Errorf("-fixtures: %w", err)
		}
	}
	t.URL, t.Timeout = url, o.timeout
	if o.prefix != "" {
		t.Prefix = o.prefix
	}
	if o.public != "" {
		t.Public = probe.Client{ID: o.public, RedirectURI: o.redirect, Scopes: strings.Fields(o.scope)}
	} else if o.redirect != "" || o.scope != "" {
		return t, errors.New("-redirect and -scope are those of the client of -public")
	}
	if o.only != "" {
		t.Only = strings.Split(o.only, ",")
	}
	if o.without != "" {
		t.Without = append(t.Without, strings.Split(o.without, ",")...)
	}
	if o.ca != "" {
		pool, err := trust(o.ca)
		if err != nil {
			return t, fmt.Errorf("-ca: %w", err)
		}
		t.HTTP = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	}
	return t, nil
}

// readFixtures reads a target. What it says of a member is not quoted, for it may be
// a secret.
func readFixtures(name string, in io.Reader) (t probe.Target, err error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return t, err
		}
		defer f.Close() //nolint:errcheck // it was only read
		in = f
	}
	d := json.NewDecoder(in)
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return t, fmt.Errorf("no fixtures: %w", err)
	}
	if d.More() {
		return t, errors.New("something follows the object")
	}
	return t, nil
}

func trust(name string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", name)
	}
	return pool, nil
}
