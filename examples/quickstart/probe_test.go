package main

import (
	"context"
	"testing"
	"time"

	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/oauthtest/probe"
)

// TestProbe points the misbehaving client at the whole program, by HTTP.
func TestProbe(t *testing.T) {
	clock := oauthtest.NewClock(time.Now())
	issuer := serve(t, options{Now: clock.Now})
	scopes := []string{"profile", "notes:read", "notes:write"}
	oauthtest.TestHost(t, issuer, probe.Target{
		Prefix:       "/oauth",
		Confidential: probe.Client{ID: "demo-web", Secret: "demo-web-secret", RedirectURI: issuer + "/callback", Scopes: scopes},
		Public:       probe.Client{ID: "demo-spa", RedirectURI: "http://127.0.0.1/callback", Scopes: scopes},
		Machine:      probe.Client{ID: "demo-machine", Secret: "demo-machine-secret", Scopes: []string{"notes:read"}},
		Introspector: probe.Client{ID: "demo-api", Secret: "demo-api-secret"},
		Fields:       map[string]string{"username": "alice", "password": "wonderland"},
		Resource:     issuer + "/api/notes",
		Wait:         func(_ context.Context, d time.Duration) error { clock.Advance(d); return nil },
	})
}
