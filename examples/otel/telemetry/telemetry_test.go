package telemetry_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/otel/telemetry"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/oauthtest"
)

const window = 30 * time.Second // the default of Policy.RetryWindow

// A lab is a server whose telemetry stays in memory.
type lab struct {
	*oauthtest.Server
	t      *testing.T
	inner  *oauthtest.Faulty // the store that is timed
	reader *sdkmetric.ManualReader
	spans  *tracetest.InMemoryExporter
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, inner: oauthtest.NewFaulty(memstore.New()), reader: sdkmetric.NewManualReader(), spans: tracetest.NewInMemoryExporter()}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(l.reader))
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(l.spans))
	l.Server = oauthtest.NewServer(t, func(c *oauth.Config) {
		events, err := telemetry.Events(meters.Meter("test"), c.Grants, oauthtest.WebClient, oauthtest.SPAClient)
		require.NoError(t, err)
		c.Events = events
		c.Storage, err = telemetry.Storage(l.inner, meters.Meter("test"))
		require.NoError(t, err)
	})
	l.Handler = telemetry.Routes(l.Server.Server, "as.example:443", traces, meters)
	return l
}

// measured is everything that the meters have so far.
func (l *lab) measured() metricdata.ResourceMetrics {
	l.t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(l.t, l.reader.Collect(context.Background(), &all))
	return all
}

// counts are the points of one instrument, by the values of these attributes.
func (l *lab) counts(instrument string, keys ...attribute.Key) map[string]int {
	l.t.Helper()
	found := map[string]int{}
	add := func(set attribute.Set, n int) {
		var values []string
		for _, k := range keys {
			v, ok := set.Value(k)
			require.True(l.t, ok, "%s has no %s", instrument, k)
			values = append(values, v.AsString())
		}
		found[strings.Join(values, " ")] += n
	}
	for _, scope := range l.measured().ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != instrument {
				continue
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, int(p.Value))
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, int(p.Count))
				}
			}
		}
	}
	return found
}

// series is how many time series there are.
func (l *lab) series() (n int) {
	for _, scope := range l.measured().ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				n += len(data.DataPoints)
			case metricdata.Histogram[float64]:
				n += len(data.DataPoints)
			case metricdata.Histogram[int64]:
				n += len(data.DataPoints)
			default:
				l.t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	return n
}

// seconds are the sums of a histogram, in ascending order.
func (l *lab) seconds(instrument string) (sums []float64) {
	for _, scope := range l.measured().ScopeMetrics {
		for _, m := range scope.Metrics {
			if data, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == instrument {
				for _, p := range data.DataPoints {
					sums = append(sums, p.Sum)
				}
			}
		}
	}
	slices.Sort(sums)
	return sums
}

// exported is everything that leaves the process, as text.
func (l *lab) exported() string {
	l.t.Helper()
	metrics, err := json.Marshal(l.measured())
	require.NoError(l.t, err)
	return string(metrics) + fmt.Sprintf("%+v", l.spans.GetSpans())
}

func (l *lab) status(want int, a *oauthtest.Answer) *oauthtest.Answer {
	l.t.Helper()
	require.Equal(l.t, want, a.Status, string(a.Body))
	return a
}

func machine(form ...string) url.Values {
	v := url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}
	for i := 0; i < len(form); i += 2 {
		v.Set(form[i], form[i+1])
	}
	return v
}

func TestEvents(t *testing.T) {
	t.Run("flows, failures and reuse are counted exactly", func(t *testing.T) {
		l := newLab(t)
		for range 3 {
			l.status(200, l.Token(oauthtest.MachineClient, machine()))
		}
		first := l.Redeem(l.Code(oauthtest.SPAClient)).String("refresh_token")
		second := l.status(200, l.Refresh(oauthtest.SPAClient, first)).String("refresh_token")
		l.status(200, l.Refresh(oauthtest.SPAClient, first)) // its answer was lost
		l.status(200, l.Refresh(oauthtest.SPAClient, second))
		l.Clock.Advance(window + time.Second)
		l.status(400, l.Refresh(oauthtest.SPAClient, first)) // stolen
		l.status(400, l.Token(oauthtest.MachineClient, machine("scope", "none")))
		l.status(400, l.Token(oauthtest.MachineClient, machine("grant_type", "password")))
		for range 2 {
			r := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader(machine().Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(oauthtest.WebClient, "wrong")
			l.status(401, l.Do(r))
		}
		l.Deny()
		a, _ := l.Authorize(oauthtest.WebClient, nil)
		l.status(303, a)

		assert.Equal(t, map[string]int{
			"token_issued token client_credentials  other":                 3,
			"approved authorize authorization_code  spa":                   1,
			"token_issued token authorization_code  spa":                   1,
			"token_issued token refresh_token  spa":                        2,
			"refresh_retried token refresh_token  spa":                     1,
			"reuse_detected token refresh_token invalid_grant spa":         1,
			"request_refused token client_credentials invalid_scope other": 1,
			"request_refused token other unsupported_grant_type other":     1,
			"client_refused token  invalid_client web":                     2,
			"denied authorize  access_denied web":                          1,
		}, l.counts("oauth.events", telemetry.Type, telemetry.Endpoint, telemetry.Grant, telemetry.ErrorCode, telemetry.Client))
	})
	t.Run("a store that fails is an event and a 503", func(t *testing.T) {
		l := newLab(t)
		code := l.Code(oauthtest.WebClient)
		l.inner.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
		l.status(503, l.Token(code.Client, code.Form()))
		assert.Equal(t, 1, l.counts("oauth.events", telemetry.Type, telemetry.ErrorCode)["storage_failed temporarily_unavailable"])
		assert.Equal(t, map[string]int{"Create ok": 1, "Get error": 1}, l.counts("oauth.storage.duration", "method", "outcome"))
		span := l.spans.GetSpans()[1]
		assert.Equal(t, "Error", span.Status.Code.String())
	})
	t.Run("the span of the request is told", func(t *testing.T) {
		l := newLab(t)
		answer := l.Redeem(l.Code(oauthtest.SPAClient, "read"))
		require.NotEmpty(t, answer.String("access_token"))
		spans := l.spans.GetSpans()
		require.Len(t, spans, 2)
		assert.Equal(t, "POST /oauth/token", spans[1].Name)
		require.Len(t, spans[1].Events, 1)
		event := spans[1].Events[0]
		assert.Equal(t, "token_issued", event.Name)
		assert.True(t, l.Clock.Now().Equal(event.Time))
		set := attribute.NewSet(event.Attributes...)
		assert.Len(t, event.Attributes, set.Len(), "no attribute is there twice")
		id, _ := set.Value(telemetry.Authorization)
		assert.Regexp(t, `^a_[A-Za-z0-9_-]{22}$`, id.AsString())
		scopes, _ := set.Value(telemetry.Scopes)
		assert.Equal(t, []string{"read"}, scopes.AsStringSlice())
		client, _ := set.Value(telemetry.Client)
		assert.Equal(t, "spa", client.AsString())
		assert.NotContains(t, l.exported(), "alice", "the subject's name stays in the house")
	})
	t.Run("an event outside a request has no span", func(t *testing.T) {
		l := newLab(t)
		l.Redeem(l.Code(oauthtest.SPAClient))
		before := len(l.spans.GetSpans())
		n, err := l.Revoke(t.Context(), oauth.Selector{Subject: "alice"})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		assert.Equal(t, 1, l.counts("oauth.events", telemetry.Type, telemetry.Endpoint, telemetry.Client)["revoked  spa"])
		assert.Len(t, l.spans.GetSpans(), before)
	})
}

func TestRoutes(t *testing.T) {
	l := newLab(t)
	l.status(200, l.Token(oauthtest.MachineClient, machine()))
	l.status(200, l.Do(httptest.NewRequest(http.MethodGet, "/.well-known/oauth-authorization-server", nil)))
	l.status(404, l.Do(httptest.NewRequest(http.MethodGet, "/somewhere", nil)))
	assert.Equal(t, map[string]int{"POST /oauth/token": 1, "GET /.well-known/oauth-authorization-server": 1},
		l.counts("http.server.request.duration", "http.request.method", "http.route"))

	otel.SetTextMapPropagator(propagation.TraceContext{}) // as hosts do that trace across services
	t.Cleanup(func() { otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator()) })
	l = newLab(t)
	r := httptest.NewRequest(http.MethodGet, "/.well-known/oauth-authorization-server", nil)
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	l.Do(r)
	spans := l.spans.GetSpans()
	require.Len(t, spans, 1)
	require.Len(t, spans[0].Links, 1)
	const sent = "0af7651916cd43dd8448eb211c80319c"
	assert.Equal(t, sent, spans[0].Links[0].SpanContext.TraceID().String())
	assert.NotEqual(t, sent, spans[0].SpanContext.TraceID().String(), "a stranger chose the trace")
}

// TestS372Cardinality sends what strangers choose, a thousand times over.
func TestS372Cardinality(t *testing.T) {
	l := newLab(t)
	flood := func() {
		text := rand.Text()
		for i, form := range []url.Values{
			machine("client_id", text, "client_secret", rand.Text()),
			machine("client_id", oauthtest.SPAClient, "grant_type", text), // a public client is anybody
			{"client_id": {oauthtest.SPAClient}, "grant_type": {"refresh_token"}, "refresh_token": {text}},
			machine("client_id", oauthtest.SPAClient, "scope", text, text, text),
		} {
			r := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Host = fmt.Sprintf("%s.example:%d", text, 1024+int(text[0])*256+int(text[1]))
			r.Header.Set("User-Agent", text)
			r.Header.Set("X-Forwarded-For", text)
			a := l.Do(r)
			require.GreaterOrEqual(t, a.Status, 400, i)
		}
		l.Do(httptest.NewRequest(http.MethodGet, "/oauth/authorize?client_id="+text+"&redirect_uri="+text, nil))
		l.Do(httptest.NewRequest(http.MethodGet, "/"+text, nil))
		l.Do(httptest.NewRequest(text, "/oauth/token", nil))
	}
	flood()
	one := l.series()
	require.Greater(t, one, 5)
	for range 1000 {
		flood()
		l.spans.Reset()
	}
	assert.Equal(t, one, l.series())
	assert.Equal(t, 1001, l.counts("oauth.events", telemetry.ErrorCode, telemetry.Client)["invalid_client other"])
	assert.Equal(t, 1001, l.counts("oauth.events", telemetry.Grant)["other"])
}

// TestS372Secrets runs every kind of request and looks for what was handed out, or
// sent by mistake in the wrong place, in everything that is exported.
func TestS372Secrets(t *testing.T) {
	l := newLab(t)
	var secrets []string
	keep := func(texts ...string) {
		for _, s := range texts {
			require.NotEmpty(t, s)
			secrets = append(secrets, s, url.QueryEscape(s))
		}
	}
	tokens := func(a *oauthtest.Answer) *oauthtest.Answer {
		keep(a.String("access_token"))
		if a.String("refresh_token") != "" {
			keep(a.String("refresh_token"))
		}
		return a
	}
	keep(oauthtest.Secret)
	l.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		keep(in.Handle())
		in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), Extra: map[string]string{"k": "extra-of-the-host"}})
	})
	code := l.Code(oauthtest.WebClient)
	keep(code.Code, code.Verifier, "extra-of-the-host")
	first := tokens(l.Redeem(code))
	second := tokens(l.status(200, l.Refresh(oauthtest.WebClient, first.String("refresh_token"))))
	l.status(200, l.Introspect(second.String("access_token")))
	l.status(200, l.Post("/oauth/revoke", oauthtest.WebClient, url.Values{"token": {second.String("access_token")}}))
	r := httptest.NewRequest(http.MethodGet, "/oauth/userinfo", nil)
	r.Header.Set("Authorization", "Bearer "+second.String("access_token"))
	l.status(401, l.Do(r))
	l.Clock.Advance(window + time.Second)
	l.status(400, l.Token(code.Client, code.Form()))                             // a code twice
	l.status(400, l.Refresh(oauthtest.WebClient, first.String("refresh_token"))) // a token twice
	l.status(400, l.Refresh(oauthtest.SPAClient, second.String("refresh_token")))
	tokens(l.status(200, l.Token(oauthtest.MachineClient, machine())))

	// Secrets in the wrong place.
	l.status(401, l.Token("", machine("client_id", oauthtest.Secret, "client_secret", "machine")))
	l.status(400, l.Token(oauthtest.SPAClient, machine("grant_type", first.String("refresh_token"))))
	l.status(400, l.Token(oauthtest.SPAClient, url.Values{
		"grant_type": {"authorization_code"}, "code": {code.Code},
		"redirect_uri": {code.Code}, "code_verifier": {code.Verifier},
	}))
	l.status(400, l.Do(httptest.NewRequest(http.MethodGet, "/oauth/authorize?client_id="+code.Code+"&code="+code.Code, nil)))
	l.status(400, l.Do(httptest.NewRequest(http.MethodPost, "/oauth/token?client_secret="+oauthtest.Secret, nil)))
	l.inner.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
	l.status(503, l.Refresh(oauthtest.WebClient, first.String("refresh_token")))

	out := l.exported()
	for _, s := range secrets {
		assert.NotContains(t, out, s)
	}
	assert.Len(t, l.spans.GetSpans(), 16)
	// The search finds what is there.
	assert.Contains(t, out, "reuse_detected")
	assert.Contains(t, out, "storage_failed")
	assert.Contains(t, out, "/oauth/introspect")
}

func TestStorage(t *testing.T) {
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())).Meter("test")
	t.Run("a store stays a store", func(t *testing.T) {
		oauthtest.TestStorage(t, func(t *testing.T) oauth.Storage {
			s, err := telemetry.Storage(memstore.New(), meter)
			require.NoError(t, err)
			return s
		})
	})
	t.Run("by method and outcome", func(t *testing.T) {
		l := newLab(t)
		s, ctx := l.Config.Storage, t.Context()
		rec := oauth.Record{ID: "a_1", Kind: oauth.KindAuthorization, CreatedAt: l.Clock.Now()}
		require.NoError(t, s.Create(ctx, rec))
		require.ErrorIs(t, s.Create(ctx, rec), oauth.ErrExists)
		_, err := s.Get(ctx, "a_1")
		require.NoError(t, err)
		_, err = s.Get(ctx, "a_2")
		require.ErrorIs(t, err, oauth.ErrNotFound)
		rec.Version = 1
		require.NoError(t, s.Update(ctx, rec))
		require.ErrorIs(t, s.Update(ctx, rec), oauth.ErrConflict)
		rec.ID = "a_2"
		require.ErrorIs(t, s.Update(ctx, rec), oauth.ErrNotFound)
		for _, err := range s.List(ctx, oauth.Filter{}) {
			require.NoError(t, err)
			break
		}
		_, err = s.DeleteExpired(ctx, l.Clock.Now(), 10)
		require.NoError(t, err)
		l.inner.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailAfter })
		for _, err := range s.List(ctx, oauth.Filter{}) {
			require.ErrorIs(t, err, oauthtest.ErrFault)
		}
		_, err = s.DeleteExpired(ctx, l.Clock.Now(), 10)
		require.ErrorIs(t, err, oauthtest.ErrFault)
		assert.Equal(t, map[string]int{
			"Create ok": 1, "Create exists": 1, "Get ok": 1, "Get not_found": 1, "Update ok": 1,
			"Update conflict": 1, "Update not_found": 1, "List ok": 1, "List error": 1, "DeleteExpired ok": 1, "DeleteExpired error": 1,
		},
			l.counts("oauth.storage.duration", "method", "outcome"))
	})
	t.Run("List does not count the time of the loop", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			s, ctx := l.Config.Storage, t.Context()
			for _, id := range []string{"a_1", "a_2"} {
				require.NoError(t, s.Create(ctx, oauth.Record{ID: id, Kind: oauth.KindAuthorization, CreatedAt: l.Clock.Now()}))
			}
			l.inner.Delay(func() time.Duration { return time.Second })
			for range s.List(ctx, oauth.Filter{}) {
				<-time.After(time.Hour)
			}
			assert.Equal(t, 1, l.counts("oauth.storage.duration", "method")["List"])
			assert.Equal(t, []float64{0, 1}, l.seconds("oauth.storage.duration"), "Create, List")
		})
	})
}
