package oauthtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
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

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/resource"
)

// body is what a URL answers.
func body(t *testing.T, c *http.Client, at string) (int, string) {
	t.Helper()
	res, err := c.Get(at)
	require.NoError(t, err)
	text, err := io.ReadAll(res.Body)
	require.NoError(t, errors.Join(err, res.Body.Close()))
	return res.StatusCode, string(text)
}

// A server is the same by a socket, by TLS, and without either.
func TestServerListens(t *testing.T) {
	for name, open := range map[string]func(testing.TB, ...func(*oauth.Config)) *oauthtest.Server{
		"no socket": oauthtest.NewServer, "http": oauthtest.NewHTTPServer, "https": oauthtest.NewTLSServer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen string
			srv := open(t, oauthtest.JWTs, func(c *oauth.Config) { seen = c.Issuer })
			assert.Equal(t, srv.Config.Issuer, seen, "the edits know the Issuer")
			if srv.HTTP != nil {
				assert.Equal(t, srv.HTTP.URL, srv.Config.Issuer)
			}
			status, metadata := body(t, srv.Client(""), srv.Config.Issuer+"/.well-known/oauth-authorization-server")
			assert.Equal(t, 200, status)
			assert.Contains(t, metadata, `"issuer":"`+srv.Config.Issuer+`"`)
			token := srv.AccessToken("alice", "read")
			status, who := body(t, srv.Client(token), srv.Config.Issuer+"/oauth/userinfo")
			assert.Equal(t, 200, status)
			assert.JSONEq(t, `{"sub":"alice"}`, who)
			verifier := &resource.JWT{Issuer: srv.Config.Issuer, Transport: srv.Client("").Transport, Now: srv.Clock.Now}
			_, err := verifier.VerifyToken(t.Context(), token)
			require.NoError(t, err)

			srv.Down(true)
			_, err = srv.Client("").Get(srv.Config.Issuer + "/oauth/jwks")
			require.Error(t, err)
			srv.Down(false)
			status, _ = body(t, srv.Client(""), srv.Config.Issuer+"/oauth/jwks")
			assert.Equal(t, 200, status)
		})
	}
}

func TestIssuerFollowsTheSocket(t *testing.T) {
	srv := oauthtest.NewHTTPServer(t, func(c *oauth.Config) { c.Issuer += "/tenant" })
	status, _ := body(t, http.DefaultClient, srv.HTTP.URL+"/.well-known/oauth-authorization-server/tenant")
	assert.Equal(t, 200, status)
	message := said(t, func(t testing.TB) {
		oauthtest.NewHTTPServer(t, func(c *oauth.Config) { c.Issuer = "https://as.example" })
	})
	assert.Contains(t, message, "an edit made the Issuer https://as.example, and the server listens at http://127.0.0.1:")
}

// The decision is what the test says, and before that what the Config says.
func TestDecisions(t *testing.T) {
	srv := oauthtest.NewServer(t)
	decided := func(change url.Values) string {
		a, code := srv.Authorize(oauthtest.SPAClient, change)
		_, params := a.Location()
		if code.Code == "" {
			return params.Get("error")
		}
		token, err := srv.VerifyToken(t.Context(), srv.Redeem(code).String("access_token"))
		require.NoError(t, err)
		return token.Subject + " " + strings.Join(token.Scopes, " ")
	}
	assert.Equal(t, "alice read write", decided(nil))
	srv.Approve("bob")
	assert.Equal(t, "bob read write", decided(nil))
	srv.Approve("bob", "read")
	assert.Equal(t, "bob read", decided(nil))
	srv.Deny()
	assert.Equal(t, "access_denied", decided(nil))
	srv.Fail(oauth.TemporarilyUnavailable)
	assert.Equal(t, "temporarily_unavailable", decided(nil))
	srv.Fail(&oauth.Error{Code: "interaction_required"})
	assert.Equal(t, "interaction_required", decided(nil))
	token, err := srv.VerifyToken(t.Context(), srv.AccessToken("carol"))
	require.NoError(t, err)
	assert.Equal(t, "carol", token.Subject, "a one-liner asks nobody")
	srv.Interact(nil)
	assert.Equal(t, "alice write", decided(url.Values{"scope": {"write"}}))
}

// Subtests share a server, and each gets the subject it asked for.
func TestOneLinersAreParallel(t *testing.T) {
	srv := oauthtest.NewServer(t)
	srv.Deny()
	for _, subject := range []string{"alice", "bob", "carol", "dave", "eve", "frank"} {
		t.Run(subject, func(t *testing.T) {
			t.Parallel()
			for range 20 {
				token, err := srv.VerifyToken(t.Context(), srv.AccessToken(subject, "read"))
				require.NoError(t, err)
				require.Equal(t, subject, token.Subject)
			}
		})
	}
}

// A host with a registry, scopes, endpoints and pages of its own.
func TestServerOfAHost(t *testing.T) {
	srv := oauthtest.NewServer(t, func(c *oauth.Config) {
		c.Clients = oauth.StaticClients(oauth.Client{ID: "cli", Public: true, RedirectURIs: []string{"http://127.0.0.1/cb"}, Scopes: []string{"notes"}})
		c.Scopes = []oauth.Scope{{Name: "notes"}}
		c.Endpoints = oauth.Endpoints{Authorize: "/a", Token: "/t", Revoke: "/r"}
		c.Interact = func(w http.ResponseWriter, _ *http.Request, _ *oauth.Interaction) {
			_, _ = io.WriteString(w, "who are you?")
		}
	})
	srv.App = "cli"
	token := srv.AccessToken("alice")
	got, err := srv.VerifyToken(t.Context(), token)
	require.NoError(t, err)
	assert.Equal(t, []string{"notes"}, got.Scopes)
	a, _ := srv.Authorize("cli", nil)
	assert.Equal(t, "who are you?", string(a.Body))
	srv.Approve("bob")
	assert.NotEmpty(t, srv.CodeFlow("cli").RefreshToken)
	srv.RevokeToken(token)
	_, err = srv.VerifyToken(t.Context(), token)
	require.ErrorIs(t, err, oauth.InvalidToken)
}

func TestExpireAndRevoke(t *testing.T) {
	srv := oauthtest.NewServer(t, func(c *oauth.Config) { c.RefreshToken = oauth.Opaque{Prefix: "rt_", Hex: true} })
	access, machine, refresh := srv.AccessToken("alice"), srv.ClientToken(oauthtest.MachineClient, "read"), srv.RefreshToken("alice")
	dead := func(token string) {
		t.Helper()
		_, err := srv.VerifyToken(t.Context(), token)
		require.ErrorIs(t, err, oauth.InvalidToken)
	}
	srv.RevokeToken(machine)
	dead(machine)
	_, err := srv.VerifyToken(t.Context(), access)
	require.NoError(t, err, "the others live")
	srv.Expire(access)
	dead(access)
	refreshed := srv.Refresh(oauthtest.SPAClient, refresh)
	refreshed.WantOK(t)
	srv.Expire(refreshed.String("refresh_token"))
	srv.Refresh(oauthtest.SPAClient, refreshed.String("refresh_token")).WantError(t, 400, oauth.InvalidGrant)

	refresh = srv.RefreshToken("alice")
	srv.RevokeToken(refresh)
	srv.Refresh(oauthtest.SPAClient, refresh).WantError(t, 400, oauth.InvalidGrant)
	assert.Equal(t, "alice", srv.WantEvent(t, oauth.EventRevoked).Subject)
}

func TestRotateKeys(t *testing.T) {
	srv := oauthtest.NewServer(t, oauthtest.JWTs)
	kid := func(token string) string {
		header, _, _ := strings.Cut(token, ".")
		return header
	}
	verifier := &resource.JWT{Issuer: srv.Config.Issuer, Transport: srv, Now: srv.Clock.Now}
	before := srv.AccessToken("alice")
	_, err := verifier.VerifyToken(t.Context(), before)
	require.NoError(t, err)
	srv.RotateKeys()
	after := srv.AccessToken("alice")
	assert.NotEqual(t, kid(before), kid(after))
	srv.Clock.Advance(time.Minute) // a verifier asks for unknown keys once in a while
	for _, token := range []string{before, after} {
		_, err = verifier.VerifyToken(t.Context(), token)
		require.NoError(t, err)
	}
	var set struct{ Keys []json.RawMessage }
	require.NoError(t, json.Unmarshal(srv.Get("/oauth/jwks", "").Body, &set))
	assert.Len(t, set.Keys, 2)
}

// What FailNext says is what the library says when it cannot answer.
func TestFailNext(t *testing.T) {
	srv := oauthtest.NewServer(t, oauthtest.JWTs)
	api := srv.API().Require("read")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	token := srv.AccessToken("alice")
	for endpoint, send := range map[string]func() *oauthtest.Answer{
		"token": func() *oauthtest.Answer { return srv.Refresh(oauthtest.SPAClient, "none") },
		"revoke": func() *oauthtest.Answer {
			return srv.Post("/oauth/revoke", oauthtest.SPAClient, url.Values{"token": {"none"}})
		},
		"introspect": func() *oauthtest.Answer { return srv.Introspect("none") },
		"userinfo":   func() *oauthtest.Answer { return srv.Get("/oauth/userinfo", token) },
		"metadata":   func() *oauthtest.Answer { return srv.Get("/.well-known/oauth-authorization-server", "") },
		"jwks":       func() *oauthtest.Answer { return srv.Get("/oauth/jwks", "") },
		"api": func() *oauthtest.Answer {
			r := httptest.NewRequest(http.MethodGet, "https://api.example/", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			api.ServeHTTP(w, r)
			a := &oauthtest.Answer{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()}
			_ = json.Unmarshal(a.Body, &a.JSON)
			return a
		},
	} {
		t.Run(endpoint, func(t *testing.T) {
			srv.FailNext(endpoint, oauth.TemporarilyUnavailable)
			srv.FailNext(endpoint, &oauth.Error{Code: oauth.InvalidRequest, Status: 429, RetryAfter: 3 * time.Second})
			send().WantError(t, 503, oauth.TemporarilyUnavailable)
			send().WantError(t, 429, oauth.InvalidRequest, "Retry-After", "3")
			assert.Less(t, send().Status, 429)
		})
	}
	t.Run("authorize", func(t *testing.T) {
		srv.FailNext("authorize", oauth.TemporarilyUnavailable)
		a, _ := srv.Authorize(oauthtest.SPAClient, nil)
		a.WantError(t, 503, "")
		assert.NotEmpty(t, srv.Code(oauthtest.SPAClient).Code)
	})
}

// What the client has sent is there for the test, and for nobody who prints it.
func TestRequests(t *testing.T) {
	srv := oauthtest.NewHTTPServer(t)
	code := srv.Code(oauthtest.WebClient)
	require.Empty(t, srv.Requests(), "its own are not counted")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.Config.Issuer+"/oauth/token?a=b&access_token=in-the-query", strings.NewReader(code.Form().Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(oauthtest.WebClient, oauthtest.Secret)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	sent := srv.Requests()
	require.Len(t, sent, 1)
	got := sent[0]
	assert.Equal(t, []string{"POST", "/oauth/token"}, []string{got.Method, got.Path})
	assert.Equal(t, code.Form(), got.Form)
	assert.Equal(t, "b", got.Query.Get("a"))
	for _, text := range []string{got.String(), got.GoString()} {
		assert.Contains(t, text, "code=(55 characters)")
		assert.Contains(t, text, "(Basic web)")
		for _, secret := range []string{code.Code, code.Verifier, oauthtest.Secret, "in-the-query"} {
			assert.NotContains(t, text, secret)
		}
	}
	_, _ = body(t, srv.Client("a-token-of-a-client"), srv.Config.Issuer+"/oauth/userinfo")
	assert.Equal(t, "Bearer a-token-of-a-client", srv.Requests()[1].Header.Get("Authorization"))
	assert.Equal(t, "GET /oauth/userinfo (Bearer (19 characters))", srv.Requests()[1].String())
}

// The kit sees what passes, and changes nothing of it.
func TestServerIsTransparent(t *testing.T) {
	srv := oauthtest.NewServer(t)
	long := strings.Repeat("x", 200<<10)
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.NoError(t, http.NewResponseController(w).Flush())
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(text)
	})
	a := srv.Do(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(long)))
	assert.Equal(t, long, string(a.Body))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.Config.Issuer, http.NoBody)
	require.NoError(t, err)
	_, err = srv.RoundTrip(r)
	require.ErrorIs(t, err, context.Canceled)
}

func TestClock(t *testing.T) {
	t.Run("one for server and tokens", func(t *testing.T) {
		srv := oauthtest.NewServer(t)
		token := srv.AccessToken("alice")
		srv.Clock.Advance(29*time.Minute + 59*time.Second)
		_, err := srv.VerifyToken(t.Context(), token)
		require.NoError(t, err)
		srv.Clock.Advance(time.Second)
		_, err = srv.VerifyToken(t.Context(), token)
		require.ErrorIs(t, err, oauth.InvalidToken)
	})
	t.Run("in a bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := oauthtest.NewServer(t)
			token := srv.AccessToken("alice")
			time.Sleep(time.Hour)
			_, err := srv.VerifyToken(t.Context(), token)
			require.NoError(t, err, "it stands still")
			srv.Clock.Advance(time.Hour)
			_, err = srv.VerifyToken(t.Context(), token)
			require.ErrorIs(t, err, oauth.InvalidToken)

			srv.Clock.Run()
			assert.Equal(t, time.Now(), srv.Clock.Now())
			source := oauthtest.NewTokenSource[oauthtest.Tokens](srv, "alice", "read")
			first, err := source.Token()
			require.NoError(t, err)
			assert.WithinDuration(t, time.Now().Add(30*time.Minute), first.Expiry, 0)
			time.Sleep(30*time.Minute - time.Second)
			same, err := source.Token()
			require.NoError(t, err)
			assert.Equal(t, first, same)
			time.Sleep(time.Second)
			_, err = srv.VerifyToken(t.Context(), first.AccessToken)
			require.ErrorIs(t, err, oauth.InvalidToken)
			next, err := source.Token()
			require.NoError(t, err)
			assert.NotEqual(t, first.AccessToken, next.AccessToken)
			srv.Clock.Advance(time.Minute)
			assert.Equal(t, time.Now().Add(time.Minute), srv.Clock.Now())

		})
	})
}

// A TokenSource fills what its type is, and fails where that is no token.
func TestTokenSource(t *testing.T) {
	srv := oauthtest.NewServer(t)
	type token struct { // as that of golang.org/x/oauth2
		AccessToken string    `json:"access_token"`
		Expiry      time.Time `json:"expiry"`
	}
	source := oauthtest.NewTokenSource[token](srv, "alice", "read")
	first, err := source.Token()
	require.NoError(t, err)
	assert.Equal(t, srv.Clock.Now().Add(30*time.Minute), first.Expiry)
	srv.Expire(first.AccessToken)
	second, err := source.Token()
	require.NoError(t, err)
	got, err := srv.VerifyToken(t.Context(), second.AccessToken)
	require.NoError(t, err)
	assert.Equal(t, "alice", got.Subject)
	srv.Clock.Advance(time.Hour)
	srv.FailNext("token", oauth.TemporarilyUnavailable)
	_, err = source.Token()
	require.ErrorIs(t, err, oauth.TemporarilyUnavailable)
	_, err = source.Token()
	require.NoError(t, err)
	_, err = oauthtest.NewTokenSource[struct{ Name string }](srv, "alice").Token()
	require.ErrorContains(t, err, "no member access_token")
	_, err = oauthtest.NewTokenSource[int](srv, "alice").Token()
	require.ErrorContains(t, err, "is no token")
}

// A user signs in, consents, and is back at the client.
func TestBrowserTakesTheSteps(t *testing.T) {
	srv := oauthtest.NewServer(t, oauthtest.Pages)
	at, code := srv.AuthorizeURL(oauthtest.SPAClient, nil)
	b := srv.Browser()
	assert.Contains(t, string(b.Open(at).Body), "Sign in")
	b.Press("Sign in", "username", "bob", "password", "wrong-password").WantError(t, 403, "")
	assert.Contains(t, string(b.Press("Sign in", "username", "bob", "password", oauthtest.Secret).Body), "Change your things")
	callback, params := b.Press("Allow").Location()
	assert.Equal(t, oauthtest.Callback, callback)
	code.Code = params.Get("code")
	got, err := srv.VerifyToken(t.Context(), srv.Redeem(code).String("access_token"))
	require.NoError(t, err)
	assert.Equal(t, "bob", got.Subject)

	t.Run("who signed in stays", func(t *testing.T) {
		assert.Contains(t, string(b.Open(at).Body), "Allow")
		b.Press("Cancel").WantError(t, 303, oauth.AccessDenied)
	})
	t.Run("another browser has not", func(t *testing.T) {
		assert.NotContains(t, string(srv.Browser().Open(at).Body), "Allow")
	})
	assert.Empty(t, srv.Requests())
	srv.NoSecrets(t)
}

// What cannot be done ends the test, and says what could.
func TestBrowserThatIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		want string
		do   func(s *oauthtest.Server)
	}{
		"no page":      {"Press needs a page", func(s *oauthtest.Server) { s.Browser().Press("Go") }},
		"no button":    {`no button "Go" on /oauth/authorize, but ["Sign in" "Cancel"]`, func(s *oauthtest.Server) { b := s.Browser(); open(s, b); b.Press("Go") }},
		"no field":     {`has no field "pin"`, func(s *oauthtest.Server) { b := s.Browser(); open(s, b); b.Press("Sign in", "pin", "1234") }},
		"no pair":      {"pairs of name and value", func(s *oauthtest.Server) { b := s.Browser(); open(s, b); b.Press("Sign in", "username") }},
		"no URL":       {"the browser has no way to", func(s *oauthtest.Server) { s.Browser().Open("%zz") }},
		"another host": {"nobody answers there", func(s *oauthtest.Server) { s.Browser().Open("https://other.example/") }},
		"no code":      {`no code for the client "spa": 200`, func(s *oauthtest.Server) { s.CodeFlow(oauthtest.SPAClient) }},
		"no scope":     {"invalid_scope", func(s *oauthtest.Server) { s.ClientToken(oauthtest.MachineClient, "root") }},
		"no client":    {`no code for the client "nobody": 400`, func(s *oauthtest.Server) { s.CodeFlow("nobody") }},
		"no App":       {"", func(s *oauthtest.Server) { s.App = oauthtest.SPAClient; s.AccessToken("alice") }},
		"used code":    {`code of the client "spa" not redeemed: 400`, func(s *oauthtest.Server) { s.Approve("a"); c := s.Code(oauthtest.SPAClient); s.Redeem(c); s.Redeem(c) }},
		"no token":     {"(8 characters) is no live token", func(s *oauthtest.Server) { s.Expire("no-token") }},
		"no keys":      {"made with JWTs", func(s *oauthtest.Server) { s.RotateKeys() }},
	} {
		t.Run(name, func(t *testing.T) {
			message := said(t, func(tb testing.TB) { c.do(oauthtest.NewServer(tb, oauthtest.Pages)) })
			if c.want == "" {
				assert.Empty(t, message)
				return
			}
			assert.Contains(t, message, c.want)
		})
	}
	message := said(t, func(tb testing.TB) {
		srv := oauthtest.NewServer(tb, func(c *oauth.Config) { c.Clients = oauth.StaticClients() })
		srv.AccessToken("alice")
	})
	assert.Contains(t, message, `there is no client "spa": set App`)
	message = said(t, func(tb testing.TB) {
		srv := oauthtest.NewServer(tb, func(c *oauth.Config) { c.Now = time.Now })
		srv.Expire(srv.AccessToken("alice"))
	})
	assert.Contains(t, message, "an edit replaced Now")
}

func open(s *oauthtest.Server, b *oauthtest.Browser) {
	at, _ := s.AuthorizeURL(oauthtest.SPAClient, nil)
	b.Open(at)
}

// Boxes are checked as the test says.
func TestBrowserForms(t *testing.T) {
	srv := oauthtest.NewServer(t)
	const page = `<form action="/got"><input type=checkbox name=a value=1 checked><input type=checkbox name=a value=2>
<input type=checkbox name=b checked><select name=c><option value=x>X<option value=y selected>Y</select><textarea name=d>old</textarea>
<input name=e value=kept><button name=go value=now>Send</button></form>`
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/got" {
			_, _ = io.WriteString(w, r.URL.Query().Encode())
			return
		}
		_, _ = io.WriteString(w, page)
	})
	for _, c := range []struct {
		fields []string
		want   string
	}{
		{nil, "a=1&b=on&c=y&d=old&e=kept&go=now"},
		{[]string{"a", "2", "b", "", "c", "x", "d", "new"}, "a=2&c=x&d=new&e=kept&go=now"},
	} {
		b := srv.Browser()
		b.Open("/form")
		assert.Equal(t, c.want, string(b.Press("Send", c.fields...).Body))
		assert.Equal(t, "/got", b.URL.Path)
	}
}

func TestEvents(t *testing.T) {
	srv := oauthtest.NewServer(t)
	srv.WantNoEvent(t)
	code := srv.Code(oauthtest.WebClient)
	srv.Redeem(code)
	srv.WantNoEvent(t, oauth.EventReuseDetected, oauth.EventWrongClient)
	srv.Clock.Advance(3 * time.Second)
	srv.Token(oauthtest.WebClient, code.Form()).WantError(t, 400, oauth.InvalidGrant)
	e := srv.WantEvent(t, oauth.EventReuseDetected)
	assert.Equal(t, "alice", e.Subject)

	message := said(t, func(t testing.TB) { srv.WantEvent(t, oauth.EventRevoked) })
	assert.Contains(t, message, "no event revoked, but 3:\n   1 type=approved")
	assert.Contains(t, message, "\n   3 type=reuse_detected endpoint=token client=web subject=alice")
	message = said(t, func(t testing.TB) { srv.WantNoEvent(t, oauth.EventReuseDetected, oauth.EventRevoked) })
	assert.Contains(t, message, "unwanted events: 1:\n   1 type=reuse_detected")
	assert.Contains(t, said(t, func(t testing.TB) { oauthtest.NewServer(t).WantEvent(t, oauth.EventRevoked) }), "none at all")
	assert.True(t, slices.ContainsFunc(srv.Events(), func(e oauth.Event) bool { return e.Type == oauth.EventApproved }))
}
