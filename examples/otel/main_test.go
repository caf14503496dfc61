package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMetricsPage(t *testing.T) {
	var traces strings.Builder
	h, err := newHost("localhost:8080", "secret-of-the-test", &traces)
	require.NoError(t, err)
	for _, secret := range []string{"secret-of-the-test", "wrong"} {
		r := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader("grant_type=client_credentials"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("report", secret)
		h.endpoints.ServeHTTP(httptest.NewRecorder(), r)
	}
	w := httptest.NewRecorder()
	h.metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	page, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	for _, want := range []string{
		`oauth_events_total{oauth_client_id="report",oauth_endpoint="token",oauth_error="",oauth_event="token_issued",oauth_grant="client_credentials",`,
		`oauth_error="invalid_client",oauth_event="client_refused",oauth_grant="",`,
		`http_server_request_duration_seconds_count{http_request_method="POST",http_response_status_code="401",http_route="/oauth/token",`,
	} {
		assert.Contains(t, string(page), want)
	}
	w = httptest.NewRecorder()
	h.endpoints.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	assert.Equal(t, http.StatusNotFound, w.Code, "not at the public address")
	require.NoError(t, h.traces.Shutdown(t.Context()))
	assert.Contains(t, traces.String(), "client_refused")
	assert.NotContains(t, traces.String(), "secret-of-the-test")
}
