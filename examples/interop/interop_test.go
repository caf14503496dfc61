// Package interop_test runs clients that other people wrote against a real
// server: openid-client and oauth4webapi from npm, x/oauth2, and curl.
package interop_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/memstore"
)

// The secrets that scenario.mjs uses: one is full of what Basic has to encode
// (RFC 6749, section 2.3.1), the other of nothing such, as curl encodes nothing.
const (
	webSecret     = `s3cret: 50%+more & "so"`
	machineSecret = "machine-secret"
	sharedKey     = "a key of client_secret_jwt, in the clear"
)

// A server is the library behind a real socket, which approves every request as
// alice unless its parameter "decision" is "deny".
type server struct {
	*oauth.Server
	issuer string
	keys   clientKeys
	mu     sync.Mutex
	events []oauth.Event
}

func newServer(t *testing.T, edits ...func(*oauth.Config)) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	s := &server{issuer: "http://localhost:" + port, keys: newClientKeys(t)}
	cfg := s.config()
	for _, edit := range edits {
		edit(&cfg)
	}
	s.Server, err = oauth.New(cfg)
	require.NoError(t, err)
	web := httptest.NewUnstartedServer(s.Handler())
	require.NoError(t, web.Listener.Close())
	web.Listener = listener
	web.Start()
	t.Cleanup(web.Close)
	return s
}

func (s *server) config() oauth.Config {
	scopes := []string{"profile", "notes:read"}
	loopback := []string{"http://127.0.0.1/callback"} // any port (RFC 8252, section 7.3)
	return oauth.Config{
		Issuer:  s.issuer,
		Storage: memstore.New(),
		Secrets: [][]byte{oauth.NewSecret()},
		Clients: oauth.StaticClients(
			oauth.Client{ID: "native", Public: true, RedirectURIs: loopback, Scopes: scopes},
			oauth.Client{ID: "web:app+1", Secrets: []string{oauth.HashSecret(webSecret)}, RedirectURIs: loopback, Scopes: scopes},
			oauth.Client{
				ID: "machine", Secrets: []string{oauth.HashSecret(machineSecret)}, Scopes: scopes,
				Grants: []string{"client_credentials"},
			},
			oauth.Client{
				ID: "signer", JWKS: s.keys.public, RedirectURIs: loopback, Scopes: scopes,
				Grants: []string{"authorization_code", "refresh_token", "client_credentials"},
			},
			oauth.Client{ID: "remote", JWKSURI: clientJWKS, RedirectURIs: loopback, Scopes: scopes},
			oauth.Client{ID: "shared", InsecureSharedKey: []byte(sharedKey), RedirectURIs: loopback, Scopes: scopes},
		),
		Transport: s.keys,
		Grants:    []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}, grants.ClientCredentials{}},
		Scopes: []oauth.Scope{
			{Name: "profile", Description: "Your name", Claims: []string{"name"}},
			{Name: "notes:read", Description: "Read your notes"},
		},
		Interact: func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			if in.Params().Get("decision") == "deny" {
				in.Deny(w, r, oauth.AccessDenied)
				return
			}
			in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes()})
		},
		Claims: func(context.Context, oauth.ClaimsRequest) (oauth.Fields, error) {
			var f oauth.Fields
			f.Set("name", "Alice Liddell")
			f.Set("email", "alice@example.com") // no scope lists it
			return f, nil
		},
		Events: func(_ context.Context, e oauth.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		},
	}
}

// ended are the authorizations that the server ended because it saw an attack.
func (s *server) ended() (all []oauth.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Type == oauth.EventReuseDetected {
			all = append(all, e)
		}
	}
	return all
}

// An outcome is the line that a script prints.
type outcome struct {
	None, Basic, Post journey
	Machine           struct {
		Members      []string
		Scope        string
		Introspected map[string]any
	}
	Failures struct {
		WrongSecretInBody, WrongSecretInHeader, UnknownScope     failure
		OtherIssuer, NoIssuer, OtherState, WrongVerifier, Denied failure
		RightVerifierThen                                        string
		DeniedCallback                                           map[string]string
		DeniedState                                              string
	}
	Signed         map[string]journey // by algorithm
	Remote, Shared journey
	Asserted       struct {
		EndpointAudience, Expired, OtherClient, OtherKey, Twice failure
		Once, OtherName                                         string
	}
}

type journey struct {
	Callback                   []string
	Iss, TokenType, Scope      string
	ExpiresIn                  int
	Claims, ClaimsAfterRefresh map[string]any
	Rotated, Retried           bool
	Before, After              map[string]any // introspected around the revocation
	UserinfoAfter              failure
	RefreshAfter               failure
}

// A failure is an exception of the library: its own code for the kind, the error
// of a response body or redirect, and that of a WWW-Authenticate challenge.
type failure struct {
	Code, Error, Challenge string
	Status                 int
}

// What both libraries call the kinds of failure.
const (
	body      = "OAUTH_RESPONSE_BODY_ERROR"
	challenge = "OAUTH_WWW_AUTHENTICATE_CHALLENGE" // the body was not even looked at
	redirect  = "OAUTH_AUTHORIZATION_RESPONSE_ERROR"
	invalid   = "OAUTH_INVALID_RESPONSE" // refused by the library
)

func TestOpenIDClient(t *testing.T) { testLibrary(t, "openid-client") }
func TestOAuth4WebAPI(t *testing.T) { testLibrary(t, "oauth4webapi") }

func testLibrary(t *testing.T, library string) {
	t.Helper()
	t.Parallel()
	s := newServer(t)
	got := runScript(t, library, s)

	t.Run("RFC 8414, 7636: a public client", func(t *testing.T) { checkJourney(t, s.issuer, "native", got.None, false) })
	t.Run("RFC 6749 2.3.1: a confidential client, Basic", func(t *testing.T) { checkJourney(t, s.issuer, "web:app+1", got.Basic, true) })
	t.Run("RFC 6749 2.3.1: a confidential client, body", func(t *testing.T) { checkJourney(t, s.issuer, "web:app+1", got.Post, true) })
	t.Run("RFC 6749 4.4: client_credentials", func(t *testing.T) {
		assert.Equal(t, []string{"access_token", "expires_in", "scope", "token_type"}, got.Machine.Members)
		assert.Equal(t, "notes:read", got.Machine.Scope)
		assert.Equal(t, true, got.Machine.Introspected["active"])
		assert.Equal(t, "machine", got.Machine.Introspected["client_id"])
	})
	checkFailures(t, s.issuer, got)
	checkAssertions(t, s.issuer, got)
	assert.Empty(t, s.ended(), "authorizations that the server took for stolen")
}

func runScript(t *testing.T, library string, s *server) (got outcome) {
	t.Helper()
	node, err := exec.LookPath("node")
	require.NoError(t, err, "node is needed: install Node 20 or later")
	_, err = os.Stat("node_modules/" + library)
	require.NoError(t, err, "the npm packages are missing: run make deps")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, library+".mjs", s.issuer, s.keys.private)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s%s", &stdout, &stderr)
	require.Equal(t, 1, strings.Count(stdout.String(), "\n"), stdout.String())
	require.NoError(t, json.Unmarshal([]byte(stdout.String()), &got), stdout.String())
	return got
}

func checkJourney(t *testing.T, issuer, client string, got journey, introspects bool) {
	t.Helper()
	assert.Equal(t, []string{"code", "iss", "state"}, got.Callback)
	assert.Equal(t, issuer, got.Iss, "RFC 9207")
	assert.Equal(t, "bearer", got.TokenType)
	assert.Equal(t, "profile notes:read", got.Scope)
	assert.Equal(t, 1800, got.ExpiresIn)
	claims := map[string]any{"sub": "alice", "name": "Alice Liddell"}
	assert.Equal(t, claims, got.Claims)
	assert.Equal(t, claims, got.ClaimsAfterRefresh)
	assert.True(t, got.Rotated, "the refresh gave both tokens anew")
	assert.True(t, got.Retried, "the refresh sent again gave the same successor")
	if introspects {
		assert.Equal(t, true, got.Before["active"])
		assert.Equal(t, client, got.Before["client_id"])
		assert.Equal(t, "alice", got.Before["sub"])
		assert.Equal(t, map[string]any{"active": false}, got.After, "RFC 7662 2.2")
	}
	assert.Equal(t, failure{Code: challenge, Status: 401, Challenge: "invalid_token"}, got.UserinfoAfter)
	assert.Equal(t, failure{Code: body, Status: 400, Error: "invalid_grant"}, got.RefreshAfter)
}

func checkFailures(t *testing.T, issuer string, got outcome) {
	t.Helper()
	f := got.Failures
	for _, c := range []struct {
		name      string
		got, want failure
	}{
		{"RFC 6749 5.2: a wrong secret in the body is no challenge", f.WrongSecretInBody, failure{Code: body, Status: 401, Error: "invalid_client"}},
		{"RFC 6749 5.2: a wrong secret in the header is one", f.WrongSecretInHeader, failure{Code: challenge, Status: 401}},
		{"RFC 6749 3.3: a scope that does not exist", f.UnknownScope, failure{Code: body, Status: 400, Error: "invalid_scope"}},
		{"RFC 9207 2.4: the callback of another server", f.OtherIssuer, failure{Code: invalid}},
		{"RFC 9207 2.4: iss is advertised, so it may not be missing", f.NoIssuer, failure{Code: invalid}},
		{"RFC 6749 10.12: the state of another tab", f.OtherState, failure{Code: invalid}},
		{"RFC 7636 4.6: a wrong verifier", f.WrongVerifier, failure{Code: body, Status: 400, Error: "invalid_grant"}},
		{"RFC 6749 4.1.2.1: the user says no", f.Denied, failure{Code: redirect, Error: "access_denied"}},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, c.got) })
	}
	assert.Equal(t, "bearer", f.RightVerifierThen, "the wrong verifier did not burn the code")
	assert.Equal(t, issuer, f.DeniedCallback["iss"], "RFC 9207 2: in errors too")
	assert.Equal(t, f.DeniedState, f.DeniedCallback["state"])
	assert.NotContains(t, f.DeniedCallback, "code")
}
