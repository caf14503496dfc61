package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// newHost is the application with the authorization server of package oauthtest: its
// store and its clock, everything else as in production.
func newHost(t *testing.T, edits ...func(*oauth.Config)) *oauthtest.Server {
	a := newApp()
	srv := oauthtest.NewServer(t, append([]func(*oauth.Config){a.configure}, edits...)...)
	srv.Handler, srv.App = a.routes(srv.Server), "notes-cli"
	return srv
}

// The API: one line for a token, one for an answer.
func TestNotes(t *testing.T) {
	srv := newHost(t)
	token := srv.AccessToken("alice", "notes:read")
	a := srv.Get("/notes", token)
	a.WantOK(t)
	if string(a.Body) != "Down the rabbit hole" {
		t.Errorf("the notes of alice are %q", a.Body)
	}
	srv.Get("/notes", "").WantError(t, http.StatusUnauthorized, "", "WWW-Authenticate", `Bearer scope="notes:read"`)
	srv.Get("/notes", srv.AccessToken("alice", "notes:write")).WantError(t, http.StatusForbidden, "insufficient_scope")
	srv.RevokeToken(token)
	srv.Get("/notes", token).WantError(t, http.StatusUnauthorized, "invalid_token")
	token = srv.AccessToken("bob", "notes:read")
	srv.Expire(token)
	srv.Get("/notes", token).WantError(t, http.StatusUnauthorized, "invalid_token")
	token = srv.AccessToken("bob", "notes:read")
	srv.Store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
	srv.Get("/notes", token).WantError(t, http.StatusServiceUnavailable, oauth.TemporarilyUnavailable, "Retry-After", "5")
}

// The pages, as a user meets them; afterwards nothing secret is in a log or on a page.
func TestLoginAndConsent(t *testing.T) {
	var log bytes.Buffer
	srv := newHost(t, func(c *oauth.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	at, code := srv.AuthorizeURL("notes-cli", nil)
	b := srv.Browser()
	b.Open(at)
	b.Press("Sign in", "name", "alice", "password", "looking-glass").WantError(t, http.StatusForbidden, "")
	if page := b.Press("Sign in", "name", "alice", "password", "wonderland"); !bytes.Contains(page.Body, []byte("Notes on the command line")) {
		t.Fatalf("the consent page does not say who asks: %s", page.Body)
	}
	callback, params := b.Press("Allow", "notes:write", "").Location()
	code.Code = params.Get("code")
	answer := srv.Redeem(code)
	if callback != "http://127.0.0.1/callback" || answer.String("scope") != "notes:read" {
		t.Errorf("back at %s with %q", callback, answer.String("scope"))
	}
	b.Open(at) // the same browser is still signed in
	b.Press("Cancel").WantError(t, http.StatusSeeOther, oauth.AccessDenied)
	srv.Clock.Advance(time.Minute)
	srv.Token("notes-cli", code.Form()).WantError(t, http.StatusBadRequest, oauth.InvalidGrant)
	if e := srv.WantEvent(t, oauth.EventReuseDetected); e.Subject != "alice" {
		t.Errorf("the code of %q was used twice", e.Subject)
	}
	srv.NoSecrets(t, &log)
}

// The client of golang.org/x/oauth2, on the time of the bubble: an hour takes no time.
func TestClientThatRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newHost(t)
		srv.Clock.Run()
		config := &oauth2.Config{ClientID: "notes-cli", Endpoint: oauth2.Endpoint{TokenURL: srv.Config.Issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams}}
		ctx := context.WithValue(t.Context(), oauth2.HTTPClient, srv.Client(""))
		srv.Approve("bob")
		got := srv.CodeFlow("notes-cli")
		client := config.Client(ctx, &oauth2.Token{AccessToken: got.AccessToken, RefreshToken: got.RefreshToken, Expiry: got.Expiry})
		for range 3 {
			res, err := client.Get(srv.Config.Issuer + "/notes")
			if err != nil {
				t.Fatal(err)
			}
			if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || string(text) != "Yes we can" {
				t.Fatalf("%d %s", res.StatusCode, text)
			}
			time.Sleep(time.Hour)
		}
		if n := len(srv.Requests()); n != 5 {
			t.Errorf("%d requests, not 3 for notes and 2 for tokens: %v", n, srv.Requests())
		}
	})
}

// A program that takes a TokenSource gets one.
func TestTokenSource(t *testing.T) {
	srv := newHost(t)
	var source oauth2.TokenSource = oauthtest.NewTokenSource[oauth2.Token](srv, "alice", "notes:write")
	token, err := source.Token()
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPut, "/notes", strings.NewReader("text=Through+the+looking-glass"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	token.SetAuthHeader(r)
	if a := srv.Do(r); a.Status != http.StatusNoContent {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
