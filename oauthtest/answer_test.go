package oauthtest_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// A failing is a testing.TB that notes what was said instead of failing.
type failing struct {
	testing.TB
	said bytes.Buffer
}

func (f *failing) Helper()                      {}
func (f *failing) Errorf(s string, args ...any) { fmt.Fprintf(&f.said, s+"\n", args...) }
func (f *failing) Fatalf(s string, args ...any) { f.Errorf(s, args...); panic(f) }
func (f *failing) Fatal(args ...any)            { f.Errorf("%s", fmt.Sprint(args...)); panic(f) }

// said is what a function says to a test that it fails; "" if it does not.
func said(t testing.TB, do func(t testing.TB)) string {
	t.Helper()
	f := &failing{TB: t}
	func() {
		defer func() {
			if v := recover(); v != nil && v != any(f) {
				panic(v)
			}
		}()
		do(f)
	}()
	return f.said.String()
}

// good are answers of the library.
func TestAssertionsHold(t *testing.T) {
	srv := oauthtest.NewServer(t)
	srv.Token(oauthtest.MachineClient, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}).WantOK(t, "Content-Type", "application/json", "Location", "")
	srv.Get("/.well-known/oauth-authorization-server", "").WantOK(t)
	srv.Refresh(oauthtest.WebClient, "none").WantError(t, 400, oauth.InvalidGrant, "Content-Type", "application/json", "Retry-After", "")
	srv.Refresh("nobody", "none").WantError(t, 401, oauth.InvalidClient)
	srv.Get("/oauth/userinfo", "").WantError(t, 401, "")
	srv.Get("/oauth/userinfo", "none").WantError(t, 401, "invalid_token")
	a, _ := srv.Authorize("nobody", nil)
	a.WantError(t, 400, "")
	a, _ = srv.Authorize(oauthtest.SPAClient, url.Values{"scope": {"root"}})
	a.WantError(t, 303, oauth.InvalidScope)
}

// Each thing that is wrong has a line.
func TestAssertionsFail(t *testing.T) {
	const token = "a-token-that-nobody-may-read-in-a-message"
	answer := func(status int, body map[string]any, headers ...string) *oauthtest.Answer {
		a := &oauthtest.Answer{Status: status, Header: http.Header{}, JSON: body, Body: []byte("text " + token)}
		for i := 0; i < len(headers); i += 2 {
			a.Header.Set(headers[i], headers[i+1])
		}
		return a
	}
	json := []string{"Content-Type", "application/json", "Cache-Control", "no-store"}
	issued := map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 1800.0}
	with := func(name string, value any) map[string]any {
		m := map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 1800.0}
		m[name] = value
		return m
	}
	refused := map[string]any{"error": "invalid_grant"}
	for _, c := range []struct {
		name, want string
		assert     func(t testing.TB)
	}{
		{"a token as it should be", "", func(t testing.TB) { answer(200, issued, json...).WantOK(t) }},
		{"another status", `status is "400", want "200"`, func(t testing.TB) { answer(400, refused, json...).WantOK(t) }},
		{"a token that is cached", `Cache-Control is "", want "no-store"`, func(t testing.TB) { answer(200, issued).WantOK(t) }},
		{"a small token_type", `token_type is "bearer", want "Bearer"`, func(t testing.TB) { answer(200, with("token_type", "bearer"), json...).WantOK(t) }},
		{"expires_in that is text", `expires_in is 1800, want whole seconds`, func(t testing.TB) { answer(200, with("expires_in", "1800"), json...).WantOK(t) }},
		{"expires_in that is a fraction", `expires_in is 0.5, want whole seconds`, func(t testing.TB) { answer(200, with("expires_in", 0.5), json...).WantOK(t) }},
		{"a header", `X-A is "", want "b"`, func(t testing.TB) { answer(200, nil).WantOK(t, "X-A", "b") }},
		{"a header that should not be", `X-A is "b", want ""`, func(t testing.TB) { answer(200, nil, "X-A", "b").WantOK(t, "X-A", "") }},
		{"a header without a value", "headers come in pairs", func(t testing.TB) { answer(200, nil).WantOK(t, "X-A") }},

		{"a refusal as it should be", "", func(t testing.TB) { answer(400, refused, json...).WantError(t, 400, oauth.InvalidGrant) }},
		{"another error", `error is "invalid_grant", want "invalid_client"`, func(t testing.TB) { answer(400, refused, json...).WantError(t, 400, oauth.InvalidClient) }},
		{"another status of an error", `status is "500", want "400"`, func(t testing.TB) { answer(500, refused, json...).WantError(t, 400, oauth.InvalidGrant) }},
		{"plain text", `Content-Type is "text/plain", want "application/json"`, func(t testing.TB) {
			answer(400, refused, "Content-Type", "text/plain; charset=utf-8", "Cache-Control", "no-store").WantError(t, 400, oauth.InvalidGrant)
		}},
		{"a refusal that is cached", `Cache-Control is "max-age=60", want "no-store"`, func(t testing.TB) {
			answer(400, refused, "Content-Type", "application/json", "Cache-Control", "max-age=60").WantError(t, 400, oauth.InvalidGrant)
		}},
		{"401 without a challenge", `WWW-Authenticate is none, want a challenge`, func(t testing.TB) { answer(401, nil, json...).WantError(t, 401, "") }},
		{"another error in the challenge", `error of the challenge is "invalid_token", want "insufficient_scope"`, func(t testing.TB) {
			answer(403, map[string]any{"error": "insufficient_scope"}, append([]string{"WWW-Authenticate", `Bearer error="invalid_token"`}, json...)...).WantError(t, 403, "insufficient_scope")
		}},
		{"a challenge that says why", `error of the challenge is "invalid_token", want ""`, func(t testing.TB) {
			answer(401, nil, append([]string{"WWW-Authenticate", `Bearer error="invalid_token"`}, json...)...).WantError(t, 401, "")
		}},
		{"a token and an error", `access_token is one, want none`, func(t testing.TB) {
			answer(400, with("error", "invalid_grant"), json...).WantError(t, 400, oauth.InvalidGrant)
		}},
		{"a redirect as it should be", "", func(t testing.TB) {
			answer(303, nil, "Location", "https://a.example/#error=access_denied").WantError(t, 303, oauth.AccessDenied)
		}},
		{"a redirect with another error", `error is "server_error", want "access_denied"`, func(t testing.TB) {
			answer(303, nil, "Location", "https://a.example/?error=server_error").WantError(t, 303, oauth.AccessDenied)
		}},
		{"a redirect with a code", `code is a code, want none in a refusal`, func(t testing.TB) {
			answer(303, nil, "Location", "https://a.example/?error=access_denied&code="+token).WantError(t, 303, oauth.AccessDenied)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			message := said(t, c.assert)
			if c.want == "" {
				assert.Empty(t, message)
				return
			}
			assert.Contains(t, message, c.want)
			assert.NotContains(t, message, token, "no message has a credential")
		})
	}
}

func TestAssertionsAreReadable(t *testing.T) {
	srv := oauthtest.NewServer(t)
	a := srv.Redeem(srv.Code(oauthtest.WebClient))
	message := said(t, func(t testing.TB) { a.WantError(t, 400, oauth.InvalidGrant) })
	assert.Equal(t, `oauthtest: POST /oauth/token:
  status is "200", want "400"
  error is "", want "invalid_grant"
  access_token is one, want none in a refusal
the answer: 200
  Content-Type: application/json
  Cache-Control: no-store
  {"access_token":"(`+fmt.Sprint(len(a.String("access_token")))+` characters)","expires_in":1800,"refresh_token":"(55 characters)","scope":"read write","token_type":"Bearer"}
`, message)
}

// A short password on a page is not in the message either.
func TestAssertionsKnowTheCredentials(t *testing.T) {
	srv := oauthtest.NewServer(t)
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "welcome, %s", r.PostFormValue("password"))
	})
	a := srv.Post("/login", "", url.Values{"password": {"hunter2"}})
	message := said(t, func(t testing.TB) { a.WantError(t, 403, "") })
	assert.Contains(t, message, "welcome, (7 characters)")
	assert.NotContains(t, message, "hunter2")
}
