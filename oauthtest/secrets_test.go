package oauthtest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// A run leaves one credential of every kind behind.
type run struct {
	*oauthtest.Server
	code    oauthtest.Code
	tokens  *oauthtest.Tokens
	machine string
	pat     string
	handle  string
	cookie  string
}

const password = "Käse & \"wein\"" // 14 bytes: shorter than a piece

func newRun(t testing.TB) run {
	t.Helper()
	r := run{Server: oauthtest.NewServer(t)}
	r.tokens = r.CodeFlow(oauthtest.WebClient)
	r.code = r.Code(oauthtest.SPAClient)
	r.Redeem(r.code)
	r.machine = r.ClientToken(oauthtest.MachineClient, "read")
	var err error
	r.pat, _, err = r.Issue(t.Context(), oauthtest.SPAClient, oauth.Approval{Subject: "alice", Scopes: []string{"read"}})
	require.NoError(t, err)
	r.Interact(func(w http.ResponseWriter, _ *http.Request, in *oauth.Interaction) {
		r.handle = in.Handle()
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<form><input name="interaction" value="%s"></form>`, in.Handle())
	})
	a, _ := r.Authorize(oauthtest.SPAClient, nil)
	r.cookie = (&http.Response{Header: a.Header}).Cookies()[0].Value
	r.Post("/oauth/authorize", "", url.Values{"interaction": {r.handle}, "password": {password}})
	return r
}

// log is one that something wrote to.
func log(text string) fmt.Stringer { return bytes.NewBufferString("before " + text + " after\n") }

func TestNoSecretsOfAQuietRun(t *testing.T) {
	r := newRun(t)
	a := r.WantEvent(t, oauth.EventApproved).Authorization
	r.NoSecrets(t, log("authorization "+a+" of alice, read write, "+oauthtest.Callback+" "+oauthtest.WebClient), log(""))
	e := r.Refresh(oauthtest.WebClient, "unknown-refresh-token")
	e.WantError(t, 400, oauth.InvalidGrant)
	r.NoSecrets(t)
}

// Every kind of credential is found, in every form, whole or in part.
func TestNoSecretsFinds(t *testing.T) {
	r := newRun(t)
	secret := string(r.Config.Secrets[0])
	for name, text := range map[string]string{
		"code": r.code.Code, "verifier": r.code.Verifier, "access token": r.tokens.AccessToken, "refresh token": r.tokens.RefreshToken,
		"token of a client": r.machine, "personal token": r.pat, "client secret": oauthtest.Secret, "password": password,
		"handle": r.handle, "cookie": r.cookie, "secret of the Config": secret,
	} {
		forms := map[string]string{
			"as it is": text, "in hex": hex.EncodeToString([]byte(text)), "in a URL": url.QueryEscape(text), "percent-encoded": percent(text),
			"quoted": fmt.Sprintf("%q", text), "in JSON": jsonText(t, text), "in HTML": html.EscapeString(text), "base64": base64.StdEncoding.EncodeToString([]byte(text)),
			"base64 after one": base64.RawURLEncoding.EncodeToString([]byte("a" + text + "bc")), "base64 after two": base64.StdEncoding.EncodeToString([]byte("ab" + text + "c")),
			"Basic": base64.StdEncoding.EncodeToString([]byte("app:" + text)),
		}
		if len(text) >= 40 {
			forms["its first half"], forms["its last half"] = text[:20], text[len(text)-20:]
			forms["its middle"] = text[len(text)/2-10 : len(text)/2+10]
			forms["its middle, base64"] = base64.StdEncoding.EncodeToString([]byte(text[7:35]))
		}
		if !utf8.ValidString(text) { // as the Config's are, which text formats change beyond recognition
			delete(forms, "in JSON")
			delete(forms, "quoted")
		}
		for form, shown := range forms {
			t.Run(name+" "+form, func(t *testing.T) {
				message := said(t, func(t testing.TB) { r.NoSecrets(t, log("nothing"), log("x="+shown)) })
				assert.Contains(t, message, "log 2 has a credential: ")
				assert.Contains(t, message, fmt.Sprintf("(%d characters)", len(text)))
				assert.NotContains(t, message, text)
			})
		}
	}
}

func jsonText(t *testing.T, text string) string {
	b, err := json.Marshal(map[string]string{"x": text})
	require.NoError(t, err)
	return string(b)
}

func percent(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, "%%%02x", text[i])
	}
	return b.String()
}

// What is no credential, or a short part of one, is not found.
func TestNoSecretsIsNotShy(t *testing.T) {
	r := newRun(t)
	for _, text := range []string{r.code.Code[:15], r.tokens.AccessToken[10:25], "correct-horse", "alice", "%zz %4", "wein", strings.Repeat("A", 1000)} {
		assert.Empty(t, said(t, func(t testing.TB) { r.NoSecrets(t, log(text)) }), text)
	}
}

// Events and pages are looked at too.
func TestNoSecretsLooksAt(t *testing.T) {
	t.Run("an event", func(t *testing.T) {
		srv := oauthtest.NewServer(t, func(c *oauth.Config) {
			events := c.Events
			c.Import = func(_ context.Context, _ *oauth.Client, token string) (*oauth.Approval, error) {
				return nil, fmt.Errorf("lookup of %s: no connection", token)
			}
			c.Events = events
		})
		srv.Refresh(oauthtest.WebClient, "a-token-of-another-server-before")
		message := said(t, func(t testing.TB) { srv.NoSecrets(t) })
		assert.Contains(t, message, "event 1, storage_failed, has a credential: refresh_token (32 characters)")
	})
	host := func(t testing.TB, answer func(w http.ResponseWriter, r *http.Request)) *oauthtest.Server {
		srv := oauthtest.NewServer(t)
		srv.Handler = http.HandlerFunc(answer)
		return srv
	}
	login := func(srv *oauthtest.Server) {
		r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(url.Values{"user": {"alice"}, "password": {"wonderland-22"}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		srv.Do(r)
	}
	t.Run("a page", func(t *testing.T) {
		srv := host(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintf(w, `<input name="password" value="%s">`, r.PostFormValue("password"))
		})
		login(srv)
		assert.Contains(t, said(t, func(t testing.TB) { srv.NoSecrets(t) }), "the answer 200 to POST /login has a credential: password (13 characters)")
	})
	t.Run("an error", func(t *testing.T) {
		srv := host(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "bad: "+r.PostFormValue("password"))
		})
		login(srv)
		assert.Contains(t, said(t, func(t testing.TB) { srv.NoSecrets(t) }), "the answer 400 to POST /login has a credential")
	})
	t.Run("not a page that shows a new token", func(t *testing.T) {
		srv := oauthtest.NewServer(t)
		token := srv.AccessToken("alice", "read")
		inner := srv.Handler
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/tokens" {
				inner.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "yours, shown once: "+token)
		})
		srv.Get("/tokens", "")
		srv.Get("/oauth/userinfo", token).WantOK(t)
		srv.NoSecrets(t)
		srv.Get("/tokens", "again")
		srv.NoSecrets(t) // the same page
	})
}

// Real pages, with everything a user does on them.
func TestNoSecretsOnThePages(t *testing.T) {
	srv := oauthtest.NewServer(t, oauthtest.Pages)
	at, code := srv.AuthorizeURL(oauthtest.SPAClient, nil)
	b := srv.Browser()
	b.Open(at)
	b.Press("Sign in", "username", "bob", "password", "a-wrong-password")
	b.Press("Sign in", "username", "bob", "password", oauthtest.Secret)
	_, params := b.Press("Allow").Location()
	code.Code = params.Get("code")
	srv.Redeem(code)
	srv.Token(oauthtest.SPAClient, code.Form())
	srv.NoSecrets(t)
}
