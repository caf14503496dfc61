package telemetry

import (
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/grantwell/oauth"
)

// Routes are the endpoints of the server, each with a span per request and in
// the histograms http.server.*, by route and status.
//
// host is the issuer's host with its port ("as.example:443"). Without it the
// metrics would have a time series for every Host header that somebody sends.
func Routes(srv *oauth.Server, host string, traces trace.TracerProvider, metrics metric.MeterProvider) *http.ServeMux {
	mux := http.NewServeMux()
	for path, h := range srv.Routes() {
		mux.Handle(path, otelhttp.NewHandler(h, path,
			otelhttp.WithServerName(host), otelhttp.WithTracerProvider(traces), otelhttp.WithMeterProvider(metrics),
			// Strangers call these endpoints: their traceparent becomes a link and does
			// not decide whether a request is sampled.
			otelhttp.WithPublicEndpointFn(func(*http.Request) bool { return true })))
	}
	return mux
}
