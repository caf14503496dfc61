package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

const documented = "https://dev.flextell.ai"

// read is a command or a sample of the document.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return strings.TrimSpace(string(b))
}

// A served host is one that curl can reach.
type served struct{ url string }

// serve answers on a free port. curl's host is the issuer, for that is where
// the document's commands go.
func serve(t *testing.T, edits ...func(*options)) (*wire, served) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	t.Cleanup(server.Close)
	w := newWire(t, append(edits, func(o *options) { o.Issuer = "http://" + server.Listener.Addr().String() })...)
	server.Config.Handler = w.handler
	server.Start()
	w.browser.Transport = http.DefaultTransport
	return w, served{server.URL}
}

// run lets a shell run a command of the document, as it stands there but for
// scheme and host and for what the reader has to put in. It returns what came back.
func (s served) run(t *testing.T, file string, placeholders ...string) answer {
	t.Helper()
	_, err := exec.LookPath("curl")
	require.NoError(t, err, "curl is needed: run make deps")
	command := strings.NewReplacer(append(placeholders, documented, s.url)...).Replace(read(t, file))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	// The function adds what shows the header, and keeps curl off the settings of the machine.
	cmd := exec.CommandContext(ctx, "sh", "-c", "curl() { command curl -q -sS -i --raw --noproxy '*' \"$@\"; }\n"+command)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s\n%s", command, &stderr)
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), nil)
	require.NoError(t, err, "%s", out)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	a := answer{status: r.StatusCode, header: r.Header, body: string(body)}
	require.NoError(t, json.Unmarshal(body, &a.json), "%s", body)
	return a
}

// code goes through the document's authorization URL with a browser.
func (s served) code(t *testing.T, w *wire) string {
	t.Helper()
	to := strings.NewReplacer("YOUR_REDIRECT_URI", redirectURI, "YOUR_SCOPES", "contacts:read%20messages:send", documented, s.url).Replace(read(t, "authorize.url"))
	location := w.authorize(to, strings.Fields(bothScopes)...)
	shape, _, _ := strings.Cut(read(t, "callback.url"), "AUTHORIZATION_CODE")
	code, ok := strings.CutPrefix(location.String(), shape)
	require.True(t, ok, "%s is not %s and a code", location, shape)
	require.NotContains(t, code, "&")
	return code
}

func TestDocument(t *testing.T) {
	w, s := serve(t)
	bad := s.run(t, "call.sh", "<endpoint>", "me")
	assert.Equal(t, 401, bad.status)
	sameShape(t, read(t, "unauthorized.json"), bad.body)

	first := s.run(t, "exchange.sh", "AUTHORIZATION_CODE", s.code(t, w), "YOUR_REDIRECT_URI", redirectURI)
	require.Equal(t, 200, first.status, first.body)
	assert.Equal(t, "application/json", first.header.Get("Content-Type"))
	sameShape(t, read(t, "token.json"), first.body)

	me := s.run(t, "call.sh", "<endpoint>", "me", "YOUR_ACCESS_TOKEN", first.text("access_token"))
	assert.Equal(t, 200, me.status, me.body)
	assert.Equal(t, "application/json", me.header.Get("Content-Type"))
	assert.Equal(t, userName, me.text("id"))

	second := s.run(t, "refresh.sh", "YOUR_REFRESH_TOKEN", first.text("refresh_token"))
	require.Equal(t, 200, second.status, second.body)
	sameShape(t, read(t, "token.json"), second.body)
	assert.NotEqual(t, first.text("access_token"), second.text("access_token"))
	contacts := s.run(t, "call.sh", "<endpoint>", "contacts", "YOUR_ACCESS_TOKEN", second.text("access_token"))
	assert.Equal(t, 200, contacts.status, contacts.body)

	w.clock.Advance(3601 * time.Second)
	expired := s.run(t, "call.sh", "<endpoint>", "me", "YOUR_ACCESS_TOKEN", second.text("access_token"))
	assert.Equal(t, 401, expired.status)
	sameShape(t, read(t, "unauthorized.json"), expired.body)
}

// TestXOAuth2 is the flow with a client that this project did not write.
func TestXOAuth2(t *testing.T) {
	w := newWire(t)
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: w})
	config := oauth2.Config{
		ClientID: clientID, ClientSecret: clientSecret, RedirectURL: redirectURI, Scopes: strings.Fields(bothScopes),
		Endpoint: oauth2.Endpoint{AuthURL: issuer + "/oauth/authorize", TokenURL: issuer + "/oauth/token"},
	}
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleAutoDetect, oauth2.AuthStyleInParams, oauth2.AuthStyleInHeader} {
		t.Run(fmt.Sprintf("auth style %d", style), func(t *testing.T) {
			config := config
			config.Endpoint.AuthStyle = style
			code := w.authorize(config.AuthCodeURL("s"), strings.Fields(bothScopes)...).Query().Get("code")
			token, err := config.Exchange(ctx, code)
			require.NoError(t, err)
			assert.Equal(t, "Bearer", token.Type())
			assert.EqualValues(t, 3600, token.ExpiresIn)
			assert.Nil(t, token.Extra("scope"))

			token.Expiry = time.Now().Add(-time.Hour) // so that the client refreshes
			client := config.Client(ctx, token)
			resp, err := client.Get(issuer + "/api/me")
			require.NoError(t, err)
			defer resp.Body.Close()
			assert.Equal(t, 200, resp.StatusCode)
			fresh, err := client.Transport.(*oauth2.Transport).Source.Token()
			require.NoError(t, err)
			assert.NotEqual(t, token.AccessToken, fresh.AccessToken)
			assert.NotEqual(t, token.RefreshToken, fresh.RefreshToken)

			_, err = config.Exchange(ctx, "nonsense")
			var refused *oauth2.RetrieveError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, "invalid_grant", refused.ErrorCode)
		})
	}
}

// memberNames are the members of a JSON object, in their order.
func memberNames(t *testing.T, text string) []string {
	t.Helper()
	var names []string
	for _, m := range membersOf(t, text) {
		names = append(names, m.name)
	}
	return names
}

type member struct {
	name  string
	value any
}

// membersOf reads a flat JSON object.
func membersOf(t *testing.T, text string) (all []member) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	open, err := d.Token()
	require.NoError(t, err)
	require.Equal(t, json.Delim('{'), open)
	for d.More() {
		name, err := d.Token()
		require.NoError(t, err)
		var value any
		require.NoError(t, d.Decode(&value))
		all = append(all, member{name.(string), value})
	}
	_, err = d.Token()
	require.NoError(t, err)
	_, err = d.Token()
	require.ErrorIs(t, err, io.EOF)
	return all
}

// sameShape compares an answer with a sample: members, order, types and values.
// A text of the sample that is cut off with three dots is the beginning of one.
func sameShape(t *testing.T, sample, answer string) {
	t.Helper()
	want, got := membersOf(t, sample), membersOf(t, answer)
	require.Equal(t, memberNames(t, sample), memberNames(t, answer))
	for i, m := range want {
		text, isText := m.value.(string)
		start, isCut := strings.CutSuffix(text, "...")
		if !isText || !isCut {
			assert.Equal(t, m, got[i])
			continue
		}
		value, isText := got[i].value.(string)
		assert.True(t, isText && len(value) > len(start) && strings.HasPrefix(value, start), "%s: %v", m.name, got[i].value)
	}
}

// TestPublished calls every URL that the host publishes.
func TestPublished(t *testing.T) {
	w := newWire(t)
	c := &http.Client{Transport: w}
	metadata := w.ok(w.do(c, http.MethodGet, issuer+"/.well-known/oauth-authorization-server", nil))
	assert.Equal(t, issuer, metadata.json["issuer"])
	assert.NotContains(t, metadata.json, "authorization_response_iss_parameter_supported", "as the callback has no iss")
	published := []string{}
	for name, value := range metadata.json {
		if to, ok := value.(string); ok && name != "issuer" && strings.HasPrefix(to, issuer) {
			published = append(published, to)
		}
	}
	assert.ElementsMatch(t, []string{issuer + "/oauth/authorize", issuer + "/oauth/token", issuer + "/oauth/revoke", issuer + "/oauth/jwks"}, published)
	challenge := w.call("/api/me").header.Get("WWW-Authenticate")
	if _, rest, ok := strings.Cut(challenge, `resource_metadata="`); ok {
		to, _, _ := strings.Cut(rest, `"`)
		published = append(published, to)
	}
	for _, to := range published {
		assert.NotEqual(t, http.StatusNotFound, w.do(c, http.MethodGet, to, nil).status, to)
	}
}
