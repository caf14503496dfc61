package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/internal/chromium"
)

// TestChromium signs in and declines one of two scopes in a real browser, for a
// client that runs beside the host.
func TestChromium(t *testing.T) {
	called := make(chan url.Values, 1)
	client := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/callback" {
			called <- r.URL.Query()
		}
	}))
	t.Cleanup(client.Close)
	callback := client.URL + "/callback"
	w, s := serve(t, func(o *options) {
		o.Clients = []oauth.Client{demoClient}
		o.Clients[0].RedirectURIs = []string{callback}
		o.Now = nil // browsers hold cookies against their own clock
	})
	b := chromium.Start(t).Tab(t)
	assert.Equal(t, http.StatusOK, b.Visit(strings.Replace(request("redirect_uri", callback), issuer, s.url, 1)))
	b.Look("login")
	b.Fill("username", userName)
	b.Fill("password", password)
	assert.Equal(t, http.StatusOK, b.Press("Sign in"))
	b.Look("consent")
	b.TabKey("Not you?")
	b.Type("\t") // to the one box there is
	b.Type(" ")
	_, fields := b.Form("Allow")
	assert.Empty(t, fields["scope"])
	assert.Equal(t, http.StatusOK, b.Press("Allow"))
	back := <-called
	require.NotEmpty(t, back.Get("code"), back)
	a := w.ok(w.token(exchange(back.Get("code"), "redirect_uri", callback)))
	assert.Equal(t, "contacts:read", a.json["scope"])
}
