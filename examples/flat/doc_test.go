package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/internal/webtest"
	"github.com/grantwell/oauth/oauthtest"
)

// document is a piece of the published page: a command, a URL, or a sample of an
// answer.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/document", name))
	require.NoError(t, err)
	return strings.TrimSpace(string(text))
}

// sampleLink is the authorization link of the document, with the & that it lacks.
func sampleLink(t *testing.T, responseType string) string {
	t.Helper()
	return strings.NewReplacer("(code|token)", responseType+"&", "<client_id>", siteKey, "<state>", "xyz", "<redirect_uri>", siteCallback).
		Replace(document(t, "authorize.url"))
}

// sampleResponse is the token response of the document, with the comma that it lacks.
func sampleResponse(t *testing.T) string {
	t.Helper()
	return strings.Replace(document(t, "token.json"), `"bearer"`, `"bearer",`, 1)
}

// A socket is both hosts behind a socket: one machine by two names.
type socket struct {
	options
	t     *testing.T
	clock *oauthtest.Clock
}

func serve(t *testing.T, edits ...func(*oauth.Config)) *socket {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	s := &socket{t: t, options: local(listener), clock: oauthtest.NewClock(issuedAt)}
	s.Now = s.clock.Now
	cfg, err := newConfig(s.options)
	require.NoError(t, err)
	for _, edit := range edits {
		edit(&cfg)
	}
	srv, err := oauth.New(cfg)
	require.NoError(t, err)
	h, err := mount(srv, s.options)
	require.NoError(t, err)
	web := httptest.NewUnstartedServer(h)
	require.NoError(t, web.Listener.Close())
	web.Listener = listener
	web.Start()
	t.Cleanup(web.Close)
	return s
}

// at puts the hosts of this test, and values, in place of those of the document.
func (s *socket) at(text string, oldnew ...string) string {
	return strings.NewReplacer(append(oldnew, apiBase, s.API, webBase, s.Web)...).Replace(text)
}

// run runs a command as it stands, and returns what it prints.
func (s *socket) run(command string, oldnew ...string) string {
	s.t.Helper()
	_, err := exec.LookPath("curl")
	require.NoError(s.t, err, "curl is needed: run make deps")
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", s.at(command, oldnew...))
	cmd.Dir = s.t.TempDir()
	// No settings of the machine's user: neither a proxy nor a .curlrc.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "CURL_HOME=" + cmd.Dir, "no_proxy=*"}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(s.t, cmd.Run(), "%s", &stderr)
	return stdout.String()
}

// read takes what curl -i prints apart.
func read(t *testing.T, printed string) *answer {
	t.Helper()
	head, body, found := strings.Cut(printed, "\r\n\r\n")
	require.True(t, found, printed)
	line, fields, _ := strings.Cut(head, "\r\n")
	words := strings.Fields(line) // HTTP/1.1 200 OK
	require.GreaterOrEqual(t, len(words), 2, printed)
	status, err := strconv.Atoi(words[1])
	require.NoError(t, err, printed)
	header, err := textproto.NewReader(bufio.NewReader(strings.NewReader(fields + "\r\n\r\n"))).ReadMIMEHeader()
	require.NoError(t, err, printed)
	return &answer{Status: status, Header: http.Header(header), Body: body}
}

// granted is where the sample link leads a user who signs in and allows it.
func (s *socket) granted(responseType string) *url.URL {
	s.t.Helper()
	b := webtest.New(s.t, "https://")
	b.Open(s.at(sampleLink(s.t, responseType)))
	b.Press("Sign in", "demo", "demo")
	b.Press("Allow")
	require.Equal(s.t, "my-website.example.com", b.URL.Host, b.Text)
	return b.URL
}

// like asserts that an answer has the members of a sample in the same order, and
// their values, but for placeholders.
func like(t *testing.T, sample, got string) {
	t.Helper()
	require.Equal(t, memberNames(t, sample), memberNames(t, got))
	answered := members(t, got)
	for i, w := range members(t, sample) {
		text, isText := w.Value.(string)
		if isText && strings.HasPrefix(text, "<") {
			assert.IsType(t, "", answered[i].Value, w.Name)
			assert.NotEmpty(t, answered[i].Value, w.Name)
			continue
		}
		assert.Equal(t, w.Value, answered[i].Value, w.Name)
	}
}

// revokeCommand is RFC 7009, section 2.1: the document has the URL alone.
const revokeCommand = `curl -i -d token=<token> -d client_id=<client_id> -d client_secret=<client_secret> https://api.flat.io/oauth/invalidate_token`

func TestDocumentCodeGrant(t *testing.T) {
	s := serve(t)
	code := s.granted("code").Query().Get("code")
	a := read(t, s.run(document(t, "exchange.sh"), "<authz-code>", code, "<client_id>", siteKey, "<client_secret>", siteSecret, "<redirect_uri>", siteCallback))
	assert.Equal(t, http.StatusOK, a.Status)
	assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
	like(t, sampleResponse(t), a.Body) // at the very second of the sample
	me := s.run(document(t, "me.sh"), "<access-token>", a.member("access_token"))
	assert.Equal(t, demoID, (&answer{Body: me}).member("id"), me)
	assert.Equal(t, "invalid_token", (&answer{Body: s.run(document(t, "me.sh"))}).member("error"), "with the placeholder for a token")

	revoked := read(t, s.run(revokeCommand, "<token>", a.member("access_token"), "<client_id>", siteKey, "<client_secret>", siteSecret))
	assert.Equal(t, http.StatusOK, revoked.Status)
	assert.Empty(t, revoked.Body)
	assert.Equal(t, "invalid_token", (&answer{Body: s.run(document(t, "me.sh"), "<access-token>", a.member("access_token"))}).member("error"))
}

func TestDocumentImplicitGrant(t *testing.T) {
	s := serve(t)
	to := s.granted("token")
	sample, err := url.Parse(document(t, "callback.url"))
	require.NoError(t, err)
	assert.Equal(t, sample.Host+sample.Path, to.Host+to.Path)
	want, got := parameters(t, sample.EscapedFragment()), parameters(t, to.EscapedFragment())
	require.Len(t, got, len(want)+1)
	assert.Equal(t, pair{"state", "xyz"}, got[3])
	for i, w := range want {
		assert.Equal(t, w.Name, got[i].Name)
	}
	assert.Equal(t, want[1], got[1], "expires_in")
	me := s.run(document(t, "me.sh"), "<access-token>", got[2].Value.(string))
	assert.Equal(t, demoID, (&answer{Body: me}).member("id"), me)
}

// parameters are those of a fragment, in their order.
func parameters(t *testing.T, text string) (all []pair) {
	t.Helper()
	for p := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(p, "=")
		value, err := url.QueryUnescape(value)
		require.NoError(t, err)
		all = append(all, pair{name, value})
	}
	return all
}

func TestDocumentPersonalToken(t *testing.T) {
	s := serve(t)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	post := func(path string, form url.Values) string {
		resp, err := client.PostForm(s.Web+path, form)
		require.NoError(t, err)
		defer resp.Body.Close() //nolint:errcheck // it is read here
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	post(loginPath, url.Values{"username": {"demo"}, "password": {"demo"}})
	token := shown.FindString(post(tokensPath, url.Values{"name": {"curl"}, "app": {scriptKey}, "scope": {"account.public_profile"}}))
	require.NotEmpty(t, token)
	me := s.run(document(t, "me-personal.sh"), "<my_api_personal_access_token>", token)
	assert.Equal(t, demoID, (&answer{Body: me}).member("id"), me)
	assert.Equal(t, "invalid_token", (&answer{Body: s.run(document(t, "me-personal.sh"))}).member("error"))
}

// TestDocumentSamples shows that like can fail.
func TestDocumentSamples(t *testing.T) {
	sample := sampleResponse(t)
	good := strings.NewReplacer("<", "", ">", "").Replace(sample)
	like(t, sample, good)
	for _, change := range [][2]string{
		{`"type": "access",`, ``},
		{`"type": "access"`, `"type": "refresh"`},
		{`"bearer"`, `"Bearer"`},
		{`86400`, `"86400"`},
		{`86400`, `3600`},
		{`"app-id"`, `""`},
		{`"app-id"`, `1`},
		{`"trusted"`, `"sandbox"`},
		{`1492542537,
  "expires_in": 86400`, `1492542537`},
		{`"type": "access",
  "token_type": "bearer"`, `"token_type": "bearer",
  "type": "access"`},
		{`
}`, `, "refresh_token": "x"}`},
	} {
		broken := strings.Replace(good, change[0], change[1], 1)
		require.NotEqual(t, good, broken, change[0])
		probe := &testing.T{}
		done := make(chan struct{})
		go func() { // require ends the goroutine that it fails in
			defer close(done)
			like(probe, sample, broken)
		}()
		<-done
		assert.True(t, probe.Failed(), "%s instead of %s", change[1], change[0])
	}
}

// TestOAuth2 is golang.org/x/oauth2 as most programs use it: AuthStyle is unset, so
// that it finds out what the server takes.
func TestOAuth2(t *testing.T) {
	s := serve(t)
	for name, style := range map[string]oauth2.AuthStyle{"unset": oauth2.AuthStyleAutoDetect, "in the body": oauth2.AuthStyleInParams, "Basic": oauth2.AuthStyleInHeader} {
		t.Run(name, func(t *testing.T) {
			client := &oauth2.Config{
				ClientID: siteKey, ClientSecret: siteSecret, RedirectURL: siteCallback, Scopes: []string{"account.public_profile", "scores"},
				Endpoint: oauth2.Endpoint{AuthURL: s.Web + "/auth/oauth", TokenURL: s.API + "/oauth/access_token", AuthStyle: style},
			}
			b := webtest.New(t, "https://")
			b.Open(client.AuthCodeURL("xyz", oauth2.AccessTypeOffline))
			b.Press("Sign in", "demo", "demo")
			b.Press("Allow")
			token, err := client.Exchange(t.Context(), b.URL.Query().Get("code"))
			require.NoError(t, err, b.Text)
			assert.Equal(t, "Bearer", token.Type())
			assert.Equal(t, "trusted", token.Extra("appStatus"))
			assert.EqualValues(t, 86400, token.ExpiresIn)
			require.NotEmpty(t, token.RefreshToken)

			token.Expiry = time.Now().Add(-time.Minute)
			resp, err := client.Client(t.Context(), token).Get(s.API + "/v2/me") // refreshes first
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, http.StatusOK, resp.StatusCode)
			again, err := client.TokenSource(t.Context(), token).Token()
			require.NoError(t, err)
			assert.NotEqual(t, token.AccessToken, again.AccessToken)
			assert.NotEmpty(t, again.RefreshToken)
		})
	}
}
