package main

import (
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/oauth2"

	"github.com/grantwell/oauth/examples/internal/webtest"
	"github.com/grantwell/oauth/oauthtest"
)

// serve starts the whole quickstart on a port of its own and returns the issuer.
func serve(t *testing.T, o options) string {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	o.Addr = public("localhost:0", listener)
	h := startHost(t, o)
	web := httptest.NewUnstartedServer(h)
	require.NoError(t, web.Listener.Close())
	web.Listener = listener
	web.Start()
	t.Cleanup(web.Close)
	return "http://" + o.Addr
}

// startHost makes a host that ends with the test.
func startHost(t *testing.T, o options) *host {
	t.Helper()
	h, err := newHost(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.Close()) })
	cheapen(t, h.db.DB)
	return h
}

// cheapen hashes the users' passwords with less work than in earnest, which the race
// detector makes slow.
func cheapen(t *testing.T, db *sql.DB) {
	t.Helper()
	for name, password := range map[string]string{"alice": "wonderland", "bob": "builder"} {
		var hash []byte
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT password FROM users WHERE name = ?`, name).Scan(&hash))
		cost, err := bcrypt.Cost(hash)
		require.NoError(t, err)
		if cost == bcrypt.MinCost {
			continue
		}
		require.Equal(t, bcrypt.DefaultCost, cost)
		hash, err = bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `UPDATE users SET password = ? WHERE name = ?`, hash, name)
		require.NoError(t, err)
	}
}

// request sends a request and reads the answer, which is JSON or nothing.
func request(t *testing.T, r *http.Request) (*http.Response, map[string]any) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close() //nolint:errcheck // it is read here
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var members map[string]any
	if len(body) > 0 {
		require.NoError(t, json.Unmarshal(body, &members), string(body))
	}
	return resp, members
}

// post posts a form as a confidential client, or with client_id as a public one.
func post(t *testing.T, at, client, secret string, form url.Values) (*http.Response, map[string]any) {
	t.Helper()
	if secret == "" {
		form.Set("client_id", client)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if secret != "" {
		r.SetBasicAuth(client, secret)
	}
	return request(t, r)
}

// call calls something with a bearer token; body is JSON, "" for none.
func call(t *testing.T, method, at, token, body string) (*http.Response, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	return request(t, r)
}

// machineToken is a token of client_credentials.
func machineToken(t *testing.T, issuer string) string {
	t.Helper()
	resp, members := post(t, issuer+"/oauth/token", "demo-machine", "demo-machine-secret", url.Values{"grant_type": {"client_credentials"}, "scope": {"notes:read"}})
	require.Equal(t, http.StatusOK, resp.StatusCode, members)
	token, _ := members["access_token"].(string)
	return token
}

// TestOAuth2 is golang.org/x/oauth2 as most programs use it: AuthStyle is unset,
// so that it tries Basic first and then the body, with one and the same code.
func TestOAuth2(t *testing.T) {
	for _, c := range []struct{ name, id, secret, callback string }{
		{"RFC 6749 2.1 public client, any port (RFC 8252 7.3)", "demo-spa", "", "http://127.0.0.1:53682/callback"},
		{"RFC 6749 2.1 confidential client", "demo-web", "demo-web-secret", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			issuer := serve(t, options{})
			if c.callback == "" {
				c.callback = issuer + "/callback"
			}
			// Its own copy in each phase: it remembers the AuthStyle that worked.
			client := func() *oauth2.Config {
				return &oauth2.Config{
					ClientID: c.id, ClientSecret: c.secret, RedirectURL: c.callback,
					Scopes:   []string{"profile", "email", "notes:read", "notes:write"},
					Endpoint: oauth2.Endpoint{AuthURL: issuer + "/oauth/authorize", TokenURL: issuer + "/oauth/token"},
				}
			}
			verifier := oauth2.GenerateVerifier()
			b := webtest.New(t, c.callback)
			b.Open(client().AuthCodeURL("a state", oauth2.S256ChallengeOption(verifier)))
			b.Press("Sign in", "alice", "wonderland")
			b.Press("Allow")
			q := b.URL.Query()
			require.Equal(t, "a state", q.Get("state"), b.URL)

			_, err := client().Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier()))
			assert.ErrorContains(t, err, "invalid_grant", "another verifier; the code lives on")
			token, err := client().Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(verifier))
			require.NoError(t, err)
			assert.Equal(t, "Bearer", token.TokenType)
			assert.Equal(t, "profile email notes:read notes:write", token.Extra("scope"))

			old := &oauth2.Token{RefreshToken: token.RefreshToken}
			token, err = client().TokenSource(t.Context(), old).Token()
			require.NoError(t, err)
			assert.NotEqual(t, old.RefreshToken, token.RefreshToken, "RFC 9700, section 2.2.2: rotated")
			lifeOfATokenPair(t, issuer, c.id, c.secret, token)

			_, err = client().TokenSource(t.Context(), token).Token()
			require.NoError(t, err, "not expired as far as the client knows, so it does not ask")
			_, err = client().TokenSource(t.Context(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
			assert.ErrorContains(t, err, "invalid_grant", "after the revocation")
		})
	}
}

// lifeOfATokenPair uses alice's tokens everywhere, revokes them and uses them again.
func lifeOfATokenPair(t *testing.T, issuer, client, secret string, token *oauth2.Token) {
	t.Helper()
	resp, members := call(t, "GET", issuer+"/oauth/userinfo", token.AccessToken, "")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Equal(t, map[string]any{
		"sub": "alice", "name": "Alice", "preferred_username": "alice",
		"email": "alice@example.com", "email_verified": true,
	}, members)

	introspect := func(token string) map[string]any {
		resp, members := post(t, issuer+"/oauth/introspect", "demo-api", "demo-api-secret", url.Values{"token": {token}})
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		return members
	}
	members = introspect(token.AccessToken)
	assert.Equal(t, true, members["active"])
	assert.Equal(t, "alice", members["sub"])
	assert.Equal(t, client, members["client_id"])
	assert.Equal(t, "profile email notes:read notes:write", members["scope"])
	assert.Equal(t, map[string]any{"active": false}, introspect(token.RefreshToken), "a refresh token is its owner's affair")

	resp, _ = call(t, "POST", issuer+"/api/notes", token.AccessToken, `{"text":"tea at six"}`)
	assert.Equal(t, http.StatusCreated, resp.StatusCode)
	_, members = call(t, "GET", issuer+"/api/notes", token.AccessToken, "")
	assert.Len(t, members["notes"], 2)

	resp, _ = post(t, issuer+"/oauth/revoke", client, secret, url.Values{"token": {token.RefreshToken}})
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	for _, path := range []string{"/api/notes", "/oauth/userinfo"} {
		resp, members = call(t, "GET", issuer+path, token.AccessToken, "")
		assert.Equal(t, http.StatusUnauthorized, resp.StatusCode, path)
		assert.Contains(t, resp.Header.Get("WWW-Authenticate"), `error="invalid_token"`, path)
		assert.Equal(t, "invalid_token", members["error"], path)
	}
	assert.Equal(t, map[string]any{"active": false}, introspect(token.AccessToken))
}

func TestHost(t *testing.T) {
	t.Run("the zero options are those of main", func(t *testing.T) {
		h := startHost(t, options{})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/.well-known/oauth-authorization-server", http.NoBody))
		var members map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &members))
		const issuer = "http://localhost:8080"
		assert.Equal(t, issuer, members["issuer"])
		for member, path := range map[string]string{
			"authorization_endpoint": "authorize", "token_endpoint": "token",
			"revocation_endpoint": "revoke", "introspection_endpoint": "introspect", "userinfo_endpoint": "userinfo", "jwks_uri": "jwks",
		} {
			assert.Equal(t, issuer+"/oauth/"+path, members[member])
		}
		assert.Equal(t, []any{"profile", "email", "notes:read", "notes:write"}, members["scopes_supported"])
	})
	t.Run("RFC 8414 2 an issuer that is no loopback address", func(t *testing.T) {
		_, err := newHost(t.Context(), options{Addr: "example.com:8080"})
		assert.ErrorContains(t, err, "Issuer")
	})
	t.Run("RFC 7517 4 the public half of one key", func(t *testing.T) {
		issuer := serve(t, options{})
		resp, err := http.Get(issuer + "/oauth/jwks")
		require.NoError(t, err)
		defer resp.Body.Close() //nolint:errcheck // it is read here
		var set struct{ Keys []map[string]string }
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&set))
		require.Len(t, set.Keys, 1)
		assert.Equal(t, "ES256", set.Keys[0]["alg"])
		assert.NotContains(t, set.Keys[0], "d")
	})
	t.Run("RFC 6749 2.3.1 every client's secret is its own", func(t *testing.T) {
		issuer := serve(t, options{})
		resp, members := post(t, issuer+"/oauth/token", "demo-machine", "demo-api-secret", url.Values{"grant_type": {"client_credentials"}, "scope": {"notes:read"}})
		assert.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		assert.Equal(t, "invalid_client", members["error"])
	})
}

func TestNotes(t *testing.T) {
	clock := oauthtest.NewClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	issuer := serve(t, options{Now: clock.Now})
	token := machineToken(t, issuer)

	t.Run("RFC 6750 3 without a token", func(t *testing.T) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, issuer+"/api/notes", http.NoBody)
		require.NoError(t, err)
		resp, _ := request(t, r)
		assert.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		assert.Equal(t, `Bearer scope="notes:read"`, resp.Header.Get("WWW-Authenticate"))
	})
	t.Run("RFC 6750 3.1 without the scope", func(t *testing.T) {
		resp, members := call(t, "POST", issuer+"/api/notes", token, `{"text":"x"}`)
		assert.Equal(t, http.StatusForbidden, resp.StatusCode)
		assert.Equal(t, "insufficient_scope", members["error"])
		assert.Contains(t, resp.Header.Get("WWW-Authenticate"), `scope="notes:write"`)
	})
	t.Run("RFC 6749 4.4 the machine's own", func(t *testing.T) {
		resp, members := call(t, "GET", issuer+"/api/notes", token, "")
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.Equal(t, []any{map[string]any{"text": "A program has notes of its own", "at": "2030-01-02T03:04:05Z"}}, members["notes"])
	})
	t.Run("RFC 6750 3.1 expired after half an hour", func(t *testing.T) {
		clock.Advance(29 * time.Minute)
		resp, _ := call(t, "GET", issuer+"/api/notes", token, "")
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		clock.Advance(2 * time.Minute)
		resp, _ = call(t, "GET", issuer+"/api/notes", token, "")
		assert.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	})
}

// serveLocal calls a handler without a network.
func serveLocal(h http.Handler, method, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, "/api/notes", strings.NewReader(body)))
	return w
}

func TestNotesInput(t *testing.T) {
	n := &notes{startHost(t, options{}).db.DB, time.Now, slog.New(slog.DiscardHandler)}
	for name, body := range map[string]string{
		"no JSON": "text=x", "another type": `{"text":1}`, "nothing": "", "empty": `{"text":" "}`,
		"too long": `{"text":"` + strings.Repeat("é", maxText+1) + `"}`, "far too long": `{"text":"` + strings.Repeat("x", 5<<10) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, http.StatusBadRequest, serveLocal(http.HandlerFunc(n.add), http.MethodPost, body).Code)
		})
	}
	t.Run("the oldest go", func(t *testing.T) {
		for range maxNotes + 5 {
			w := serveLocal(http.HandlerFunc(n.add), http.MethodPost, `{"text":"`+strings.Repeat("é", maxText)+`"}`)
			assert.Equal(t, http.StatusCreated, w.Code)
		}
		left, err := n.of(t.Context(), "")
		require.NoError(t, err)
		assert.Len(t, left, maxNotes)
		others, err := n.of(t.Context(), "user alice")
		require.NoError(t, err)
		assert.Len(t, others, 1)
	})
}

// TestSweep leaves the record of a revoked token behind and waits until it is due.
func TestSweep(t *testing.T) {
	for _, swept := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := startHost(t, options{})
			if swept {
				go h.sweep(t.Context())
			}
			local := func(path string, form url.Values) *httptest.ResponseRecorder {
				r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.SetBasicAuth("demo-machine", "demo-machine-secret")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				return w
			}
			var token struct {
				Text string `json:"access_token"`
			}
			w := local("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"notes:read"}})
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &token))
			require.Equal(t, http.StatusOK, local("/oauth/revoke", url.Values{"token": {token.Text}}).Code)
			require.NoError(t, h.sessions.renew(t.Context(), &browser{}))

			<-time.After(62 * time.Minute)
			synctest.Wait()
			left, err := h.server.DeleteExpired(t.Context(), 10)
			require.NoError(t, err)
			assert.Equal(t, swept, left == 0)
			assert.Equal(t, swept, rows(t, h, "browsers") == 0)
		})
	}
}
