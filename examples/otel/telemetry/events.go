// Package telemetry makes OpenTelemetry metrics and traces of what an
// authorization server does. It is meant to be copied: Events counts what
// happened and tells the request's span of it, Storage times the calls of the
// store, Routes wraps the endpoints for their latency.
//
// Two rules decide what becomes an attribute. A metric attribute makes a time
// series for each of its values, so none of them is text that a stranger chooses.
// A trace leaves the house, so it carries no credential, no name of a person and
// no error text, which may quote either; the log has those.
package telemetry

import (
	"context"
	"errors"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/grantwell/oauth"
)

// The names of the attributes.
const (
	Type          = attribute.Key("oauth.event")     // of the event
	Endpoint      = attribute.Key("oauth.endpoint")  // "token", "authorize", …; "" outside HTTP
	Grant         = attribute.Key("oauth.grant")     // one that is served, or Other
	Client        = attribute.Key("oauth.client_id") // one that the host named, or Other
	ErrorCode     = attribute.Key("oauth.error")     // of a refusal; "" for what succeeded
	Authorization = attribute.Key("oauth.authorization")
	Generation    = attribute.Key("oauth.generation")
	Scopes        = attribute.Key("oauth.scopes")
)

// Other stands for every value that is not one of those known beforehand.
const Other = "other"

// Events returns a function for [oauth.Config].Events. It adds one to the
// counter oauth.events and an event to the span of the request.
//
// grants are those of the Config: a request may name any other. clients are the
// IDs that are told apart in metrics, at most a few dozen; with none, no metric
// tells clients apart. The client of a refusal is only claimed.
//
// Worth an alert at once: record_altered, store_went_back, unknown_secret and
// unknown_format. By their rate: storage_failed, reuse_detected, client_refused.
func Events(meter metric.Meter, grants []oauth.Grant, clients ...string) (func(context.Context, oauth.Event), error) {
	counter, err := meter.Int64Counter("oauth.events", metric.WithDescription("What the authorization server did and refused"))
	if err != nil {
		return nil, err
	}
	served := make([]string, len(grants))
	for i, g := range grants {
		served[i] = g.GrantType()
	}
	return func(ctx context.Context, e oauth.Event) {
		what := []attribute.KeyValue{
			Type.String(string(e.Type)), Endpoint.String(e.Endpoint),
			Grant.String(oneOf(served, e.GrantType)), ErrorCode.String(code(e.Err)),
		}
		client := oneOf(clients, e.ClientID)
		counter.Add(ctx, 1, metric.WithAttributes(append(what, Client.String(client))...))
		if span := trace.SpanFromContext(ctx); span.IsRecording() {
			span.AddEvent(string(e.Type), trace.WithTimestamp(e.Time), trace.WithAttributes(append(what, details(e, client)...)...))
		}
	}, nil
}

// details are what a span is told besides.
func details(e oauth.Event, client string) []attribute.KeyValue {
	if e.Err == nil {
		// Without an error the client is one of the registry's. With one it is only
		// claimed, and who mixes up its id and its secret claims the secret.
		client = e.ClientID
	}
	all := []attribute.KeyValue{Client.String(client)}
	if e.Authorization != "" { // names the record, opens nothing
		all = append(all, Authorization.String(e.Authorization), Generation.Int64(int64(e.Generation)))
	}
	if e.Err == nil && len(e.Scopes) > 0 {
		all = append(all, Scopes.StringSlice(e.Scopes))
	}
	return all
}

// code is the error code of a refusal, which the server or a hook of the host's
// chose, never the request.
func code(err error) string {
	if refusal, ok := errors.AsType[*oauth.Error](err); ok {
		return string(refusal.Code)
	}
	if err != nil {
		return string(oauth.ServerError) // found outside a request, such as a record that was altered
	}
	return ""
}

// oneOf is the value if it is known, Other if not, and "" for none.
func oneOf(known []string, value string) string {
	if value == "" || slices.Contains(known, value) {
		return value
	}
	return Other
}
