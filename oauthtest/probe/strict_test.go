package probe_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/oauthtest/probe"
	"github.com/grantwell/oauth/pages"
)

// fixtures are those of oauthtest.NewServer.
func fixtures(srv *oauthtest.Server) probe.Target {
	scopes := []string{"read", "write"}
	return probe.Target{
		Confidential: probe.Client{ID: oauthtest.WebClient, Secret: oauthtest.Secret, RedirectURI: oauthtest.Callback, Scopes: scopes},
		Public:       probe.Client{ID: oauthtest.SPAClient, RedirectURI: oauthtest.Callback, Scopes: scopes},
		Machine:      probe.Client{ID: oauthtest.MachineClient, Secret: oauthtest.Secret, Scopes: scopes},
		Introspector: probe.Client{ID: oauthtest.APIClient, Secret: oauthtest.Secret},
		Wait:         func(_ context.Context, d time.Duration) error { srv.Clock.Advance(d); return nil },
	}
}

// serve starts the strict server behind a change, by http or https.
func serve(t *testing.T, https bool, change func(srv *oauthtest.Server, h http.Handler) http.Handler, edits ...func(*oauth.Config)) probe.Target {
	t.Helper()
	var h http.Handler
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	if https {
		web.StartTLS()
	} else {
		web.Start()
	}
	t.Cleanup(web.Close)
	srv := oauthtest.NewServer(t, append([]func(*oauth.Config){func(c *oauth.Config) { c.Issuer = web.URL }}, edits...)...)
	h = srv.Handler
	if change != nil {
		h = change(srv, h)
	}
	target := fixtures(srv)
	target.URL, target.HTTP = srv.Config.Issuer, web.Client()
	return target
}

// servePages is serve with the login and consent of package pages.
func servePages(t *testing.T, https bool, change func(srv *oauthtest.Server, h http.Handler) http.Handler, edits ...func(*oauth.Config)) probe.Target {
	t.Helper()
	target := serve(t, https, change, append(edits, func(c *oauth.Config) {
		login, err := pages.New(pages.Config{Issuer: c.Issuer, Secrets: c.Secrets, Now: c.Now,
			Login: func(_ context.Context, name, password string) (*pages.User, error) {
				if name == "alice" && password == "wonderland" {
					return &pages.User{Subject: name, Name: "Alice"}, nil
				}
				return nil, nil
			}})
		require.NoError(t, err)
		c.Interact = login.Interact
	})...)
	target.Fields = map[string]string{"username": "alice", "password": "wonderland"}
	return target
}

func run(t *testing.T, target probe.Target) map[string]probe.Result {
	t.Helper()
	results, err := probe.Run(t.Context(), target, nil)
	require.NoError(t, err)
	byID := map[string]probe.Result{}
	for _, r := range results {
		byID[r.ID] = r
	}
	return byID
}

// TestStrict runs all checks at the strict server, which none may find anything at.
// Every check is run somewhere.
func TestStrict(t *testing.T) {
	hosts := map[string]func(t *testing.T) probe.Target{
		"http":  func(t *testing.T) probe.Target { return serve(t, false, nil) },
		"https": func(t *testing.T) probe.Target { return serve(t, true, nil) },
		"https, with login and consent": func(t *testing.T) probe.Target {
			target := servePages(t, true, nil)
			target.Prefix = "/oauth"
			return target
		},
		"a path in the issuer, a loopback client and published keys": func(t *testing.T) probe.Target {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(t, err)
			target := serve(t, false, nil, native, func(c *oauth.Config) {
				c.Issuer += "/tenant"
				c.Keys = oauth.StaticKeys(oauth.Key{Signer: key})
				c.AccessToken = oauth.JWT{}
			})
			loopbackClient(&target)
			target.Prefix = "/tenant"
			target.Confidential, target.Machine, target.Introspector = probe.Client{}, probe.Client{}, probe.Client{}
			return target
		},
	}
	ran := map[string]bool{}
	for name, host := range hosts {
		t.Run(name, func(t *testing.T) {
			for id, r := range run(t, host(t)) {
				assert.NotEqual(t, probe.Finding, r.Verdict, "%s: %s", id, r.Seen)
				ran[id] = ran[id] || r.Verdict == probe.OK
			}
		})
	}
	for _, c := range probe.Checks() {
		assert.True(t, ran[c.ID], "%s was never run", c.ID)
	}
}
