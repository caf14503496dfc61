// Command otel is an authorization server that is watched with OpenTelemetry:
// metrics for Prometheus at an address of their own, traces on stdout.
//
//	cd examples/otel && go run .
//
// Package telemetry beside it is the part to copy. A collector instead of stdout
// is another exporter in newHost; nothing else changes.
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
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"

	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/otel/telemetry"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/memstore"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "host:port of the authorization server")
	metrics := flag.String("metrics", "localhost:9464", "host:port of /metrics, which is not for the public")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *metrics, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "otel:", err)
		os.Exit(1)
	}
}

// A host is an authorization server, its metrics and what must be stopped with it.
type host struct {
	endpoints http.Handler
	metrics   http.Handler
	traces    *sdktrace.TracerProvider
}

// newHost makes a server with one client and everything that watches it. addr is
// the host and port of its issuer; traces are written to out.
func newHost(addr, secret string, out io.Writer) (*host, error) {
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	if err != nil {
		return nil, err
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	spans, err := stdouttrace.New(stdouttrace.WithWriter(out))
	if err != nil {
		return nil, err
	}
	traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans))

	served := []oauth.Grant{grants.ClientCredentials{}}
	meter := meters.Meter("github.com/grantwell/oauth/examples/otel")
	events, err := telemetry.Events(meter, served, "report")
	if err != nil {
		return nil, err
	}
	storage, err := telemetry.Storage(memstore.New(), meter)
	if err != nil {
		return nil, err
	}
	srv, err := oauth.New(oauth.Config{
		Issuer: "http://" + addr, Secrets: [][]byte{oauth.NewSecret()}, Storage: storage, Grants: served, Events: events,
		Clients: oauth.StaticClients(oauth.Client{
			ID: "report", Secrets: []string{oauth.HashSecret(secret)},
			Grants: []string{"client_credentials"}, Scopes: []string{"read"},
		}),
		Scopes: []oauth.Scope{{Name: "read", Default: true}},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return &host{telemetry.Routes(srv, addr, traces, meters), mux, traces}, nil
}

// run serves both addresses until ctx is done.
func run(ctx context.Context, addr, metricsAddr string, out io.Writer) error {
	const secret = "only-for-this-example"
	h, err := newHost(addr, secret, out)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "curl -u report:%s -d grant_type=client_credentials http://%s/oauth/token\n", secret, addr)
	fmt.Fprintf(out, "curl -s http://%s/metrics | grep oauth_\n", metricsAddr)

	failed := make(chan error, 2)
	var servers []*http.Server
	for at, handler := range map[string]http.Handler{addr: h.endpoints, metricsAddr: h.metrics} {
		listener, err := net.Listen("tcp", at)
		if err != nil {
			return err
		}
		s := &http.Server{
			Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
			WriteTimeout: 30 * time.Second, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
		}
		servers = append(servers, s)
		go func() { failed <- s.Serve(listener) }()
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
		err = nil
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(grace))
	}
	return errors.Join(err, h.traces.Shutdown(grace)) // sends the spans that are still held
}
