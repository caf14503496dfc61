package oauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// approveIn approves everything as a subject in a browser session of the host.
func approveIn(subject, session string) func(http.ResponseWriter, *http.Request, *oauth.Interaction) {
	return func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		in.Approve(rw, r, oauth.Approval{Subject: subject, Scopes: in.Scopes(), Session: session})
	}
}

func (w *wire) introspectAs(client, token string) *oauthtest.Answer {
	w.t.Helper()
	return wantOK(w.t, w.Post("/oauth/introspect", client, url.Values{"token": {token}}))
}

func TestIntrospectAudience(t *testing.T) {
	const notes, files = "https://notes.example", "https://files.example"
	hash, its := []string{oauth.HashSecret(oauthtest.Secret)}, []string{notes}
	w := newWire(t, func(c *oauth.Config) {
		c.Resources = []oauth.Resource{{Identifier: notes}, {Identifier: files}}
		c.Clients = oauth.StaticClients(
			oauth.Client{ID: oauthtest.MachineClient, Secrets: hash, Grants: []string{"client_credentials"}, Scopes: []string{"read"}},
			oauth.Client{ID: "server", Secrets: hash, Grants: []string{}, Introspect: true},
			oauth.Client{ID: "notes", Secrets: hash, Grants: []string{}, Introspect: true, Resources: its},
			oauth.Client{ID: "files", Secrets: hash, Grants: []string{}, Introspect: true, Resources: []string{files}},
			oauth.Client{ID: "none", Secrets: hash, Grants: []string{}, Introspect: true, Resources: []string{}},
			oauth.Client{ID: "app", Secrets: hash, Grants: []string{}},
		)
	})
	its[0] = files // the host's, and too late
	all := []string{"server", "notes", "files", "none", "app", oauthtest.MachineClient}
	for name, c := range map[string]struct{ resources, active []string }{
		"the server itself": {nil, []string{"server", oauthtest.MachineClient}},
		"one":               {[]string{notes}, []string{"notes", oauthtest.MachineClient}},
		"two":               {[]string{notes, files}, []string{"notes", "files", oauthtest.MachineClient}},
	} {
		t.Run("RFC 7662 4 a token for "+name, func(t *testing.T) {
			form := changed(machineForm(), url.Values{"resource": c.resources})
			token := wantOK(t, w.Token(oauthtest.MachineClient, form)).String("access_token")
			var active []string
			for _, client := range all {
				a := w.introspectAs(client, token)
				if a.JSON["active"] == true {
					active = append(active, client)
				} else {
					assert.Equal(t, inactiveBody, string(a.Body), client)
				}
			}
			assert.Equal(t, c.active, active)
		})
	}
}

const inactiveBody = `{"active":false}`

func TestIntrospect(t *testing.T) {
	w := newWire(t)
	w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), AuthTime: w.Clock.Now().Add(-time.Minute), ACR: "gold"})
	})
	a := w.Redeem(w.Code(web))
	access, refresh := a.String("access_token"), a.String("refresh_token")
	now := w.Clock.Now().Unix()
	t.Run("RFC 7662 2.2 an access token, to a resource server and to its owner", func(t *testing.T) {
		for _, client := range []string{oauthtest.APIClient, web} {
			i := w.introspectAs(client, access)
			wantKeys(t, i, "active", "scope", "client_id", "token_type", "exp", "iat", "sub", "aud", "iss", "jti", "auth_time", "acr")
			for name, want := range map[string]any{"active": true, "scope": "read write", "client_id": web, "token_type": "Bearer", "exp": float64(now + 1800), "iat": float64(now),
				"sub": "alice", "aud": oauthtest.Issuer, "iss": oauthtest.Issuer, "auth_time": float64(now - 60), "acr": "gold"} {
				assert.Equal(t, want, i.JSON[name], name)
			}
			assert.NotEqual(t, access, i.String("jti"))
		}
	})
	t.Run("RFC 7662 2.2 one of client_credentials", func(t *testing.T) {
		i := w.Introspect(wantOK(t, w.Token(oauthtest.MachineClient, machineForm())).String("access_token"))
		wantKeys(t, i, "active", "scope", "client_id", "token_type", "exp", "iat", "aud", "iss", "jti")
	})
	t.Run("V066 S176 another client is told that it is not active", func(t *testing.T) {
		for _, token := range []string{access, refresh} {
			assert.Equal(t, inactiveBody, string(w.introspectAs(otherWeb, token).Body))
		}
		assert.Equal(t, inactiveBody, string(w.introspectAs(oauthtest.MachineClient, access).Body))
	})
	t.Run("S177 public clients, and those that do not authenticate", func(t *testing.T) {
		wantError(t, w.Post("/oauth/introspect", spa, url.Values{"token": {access}}), 401, oauth.InvalidClient)
		wantError(t, w.send("POST", "/oauth/introspect", formType, "token="+access), 401, oauth.InvalidClient)
		wantError(t, w.send("POST", "/oauth/introspect", formType, "client_id=api&token="+access), 401, oauth.InvalidClient)
		wantError(t, w.send("POST", "/oauth/introspect", formType, "token="+access, header("Authorization", "Bearer "+access)), 401, oauth.InvalidClient)
		wantError(t, w.send("POST", "/oauth/introspect", formType, "token="+access, basic("api", "wrong-secret-x")), 401, oauth.InvalidClient)
	})
	t.Run("S180 GET, or the token in the query", func(t *testing.T) {
		assert.Equal(t, 405, w.send("GET", "/oauth/introspect?token="+access, "", "", basic("api", oauthtest.Secret)).Status)
		wantError(t, w.send("POST", "/oauth/introspect?token="+access, formType, "", basic("api", oauthtest.Secret)), 400, oauth.InvalidRequest)
	})
	t.Run("RFC 7662 2.1 token missing", func(t *testing.T) {
		i := w.Post("/oauth/introspect", oauthtest.APIClient, url.Values{})
		wantError(t, i, 400, oauth.InvalidRequest)
		assert.Equal(t, "Missing required parameter: token", i.String("error_description"))
	})
	t.Run("S181 a refresh token, to its owner alone", func(t *testing.T) {
		i := w.introspectAs(web, refresh)
		wantKeys(t, i, "active", "scope", "client_id", "exp", "iat", "sub", "iss")
		assert.Equal(t, float64(now+30*24*3600), i.JSON["exp"])
		assert.Equal(t, inactiveBody, string(w.Introspect(refresh).Body))
		next := w.rotate(web, refresh)
		assert.Equal(t, inactiveBody, string(w.introspectAs(web, refresh).Body), "it was rotated")
		assert.Equal(t, true, w.introspectAs(web, next).JSON["active"])
		w.Clock.Advance(30 * day)
		assert.Equal(t, inactiveBody, string(w.introspectAs(web, next).Body))
	})
	t.Run("S370 cut, longer, re-encoded", func(t *testing.T) {
		for _, edit := range []func(*oauth.Config){func(*oauth.Config) {}, withJWT(t)} {
			w := newWire(t, edit)
			token := w.Redeem(w.Code(web)).String("access_token")
			require.True(t, w.active(token))
			bad := []string{"", token + "A", token + "=", token + ".", "A" + token, " " + token, token + "\n", strings.ToUpper(token), strings.ToLower(token), token + token}
			for n := 1; n < len(token); n += 1 + n/7 {
				bad = append(bad, token[:len(token)-n], token[n:])
			}
			for n := 0; n < len(token); n += 5 {
				other := "A"
				if token[n] == 'A' {
					other = "B"
				}
				bad = append(bad, token[:n]+other+token[n+1:])
			}
			for _, b := range bad[1:] {
				assert.Equal(t, inactiveBody, string(w.Introspect(b).Body), "%q", b)
			}
		}
	})
	t.Run("S179 after a revocation", func(t *testing.T) {
		w := newWire(t)
		token := w.Redeem(w.Code(web)).String("access_token")
		require.True(t, w.active(token))
		w.revoke(web, token)
		assert.Equal(t, inactiveBody, string(w.Introspect(token).Body))
	})
	t.Run("S336 its record is gone", func(t *testing.T) {
		swap := &swapStore{}
		w := newWire(t, func(c *oauth.Config) { swap.Storage, c.Storage = c.Storage, swap })
		a, code := w.Redeem(w.Code(web)), w.Code(web)
		swap.Storage = notThere{}
		assert.Equal(t, inactiveBody, string(w.Introspect(a.String("access_token")).Body))
		assert.Equal(t, inactiveBody, string(w.introspectAs(web, a.String("refresh_token")).Body))
		w.refused(web, a.String("refresh_token"))
		wantError(t, w.Token(web, code.Form()), 400, oauth.InvalidGrant)
		w.revoke(web, a.String("refresh_token"))
		w.revoke(web, a.String("access_token"))
	})
}

// notThere is a store that has nothing, and says so in a wrapped error.
type notThere struct{ oauth.Storage }

func (notThere) Get(context.Context, string) (oauth.Record, error) {
	return oauth.Record{}, &url.Error{Op: "get", URL: "db", Err: &url.Error{Op: "select", URL: "db", Err: oauth.ErrNotFound}}
}

func TestStorageDown(t *testing.T) {
	w := newWire(t)
	do := endpointRequests(w)
	w.may5.Store(true)
	w.Store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
	for name, send := range do {
		t.Run("S343 the store fails: "+name, func(t *testing.T) {
			a := send()
			wantError(t, a, 503, oauth.TemporarilyUnavailable)
			assert.NotContains(t, a.JSON, "active")
			assert.Empty(t, a.Header.Values("WWW-Authenticate"))
		})
	}
	assert.NotEmpty(t, w.Events(oauth.EventStorageFailed))
	w.Store.Fail(nil)
	w.may5.Store(false)
	for _, name := range []string{"code", "refresh", "introspect", "userinfo", "revoke"} {
		t.Run("S343 nothing was lost: "+name, func(t *testing.T) { wantOK(t, do[name]()) })
	}
}

func TestDeadline(t *testing.T) {
	// blocked is a store or a hook that waits for as long as its context lets it.
	blocked := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	var hook func(ctx context.Context) error
	run := func(ctx context.Context) error {
		if hook == nil {
			return nil
		}
		return hook(ctx)
	}
	w := newWire(t, func(c *oauth.Config) {
		c.Respond = func(ctx context.Context, _ *oauth.Issued, _ *oauth.Fields) error { return run(ctx) }
		c.Claims = func(ctx context.Context, _ oauth.ClaimsRequest) (oauth.Fields, error) {
			return oauth.Fields{}, run(ctx)
		}
	})
	a := w.Redeem(w.Code(spa))
	code := w.Code(spa)
	w.may5.Store(true)
	send := func(t *testing.T, method, path, body string, edits ...func(*http.Request)) *oauthtest.Answer {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		r := httptest.NewRequest(method, oauthtest.Issuer+path, strings.NewReader(body)).WithContext(ctx)
		r.Header.Set("Content-Type", formType)
		for _, edit := range edits {
			edit(r)
		}
		began := time.Now()
		answer := w.Do(r)
		assert.Less(t, time.Since(began), 3*time.Second)
		return answer
	}
	form := code.Form()
	form.Set("client_id", spa)
	token := func(t *testing.T) *oauthtest.Answer { return send(t, "POST", "/oauth/token", form.Encode()) }
	userinfo := func(t *testing.T) *oauthtest.Answer {
		return send(t, "GET", "/oauth/userinfo", "", header("Authorization", "Bearer "+a.String("access_token")))
	}
	t.Run("S386 reads see the deadline", func(t *testing.T) {
		w.Store.Delay(func() time.Duration { return time.Minute })
		wantError(t, token(t), 503, oauth.TemporarilyUnavailable)
		wantError(t, userinfo(t), 503, oauth.TemporarilyUnavailable)
		w.Store.Delay(nil)
	})
	t.Run("S386 hooks see the deadline", func(t *testing.T) {
		hook = blocked
		wantError(t, token(t), 503, oauth.TemporarilyUnavailable)
		wantError(t, userinfo(t), 503, oauth.TemporarilyUnavailable)
	})
	t.Run("S338 a client that is gone before the commit leaves nothing written", func(t *testing.T) {
		hook = func(ctx context.Context) error { <-ctx.Done(); return nil }
		w.Store.Reset()
		wantError(t, token(t), 503, oauth.TemporarilyUnavailable)
		assert.Equal(t, []string{"Get"}, w.Store.Methods())
	})
	hook = nil
	w.may5.Store(false)
	w.Redeem(code)
}

func TestGuards(t *testing.T) {
	type seen struct {
		endpoint, client, address string
	}
	var calls []seen
	var refusal error
	w := newWire(t, func(c *oauth.Config) {
		c.Guards = []oauth.Guard{func(_ context.Context, call *oauth.Call) error {
			calls = append(calls, seen{call.Endpoint, call.ClientID, call.Request.RemoteAddr})
			call.Header.Set("X-RateLimit-Limit", "10")
			return refusal
		}}
	})
	do := endpointRequests(w)
	refusal = &oauth.Error{Code: "rate_limited", Description: "Slow down", Status: 429, RetryAfter: 1500 * time.Millisecond}
	for name, want := range map[string]seen{"code": {"token", spa, ""}, "refresh": {"token", spa, ""}, "introspect": {"introspect", "api", ""}, "userinfo": {"userinfo", spa, ""}, "revoke": {"revoke", spa, ""}} {
		t.Run("S360 "+name, func(t *testing.T) {
			calls = nil
			a := do[name]()
			wantError(t, a, 429, "rate_limited")
			assert.Equal(t, "2", a.Header.Get("Retry-After"), "rounded up")
			assert.Equal(t, "10", a.Header.Get("X-RateLimit-Limit"))
			require.Len(t, calls, 1, "once")
			want.address = "192.0.2.1:1234"
			assert.Equal(t, want, calls[0])
		})
	}
	t.Run("S360 before a secret is compared, and when the request is malformed", func(t *testing.T) {
		calls = nil
		wantError(t, w.asClient(nil, basic("machine", "wrong-secret-x")), 429, "rate_limited")
		wantError(t, w.send("POST", "/oauth/token", "text/plain", "x"), 429, "rate_limited")
		wantError(t, w.asClient(nil, basic("nobody", "x")), 429, "rate_limited")
		assert.Equal(t, []seen{{"token", "machine", "192.0.2.1:1234"}, {"token", "", "192.0.2.1:1234"}, {"token", "", "192.0.2.1:1234"}}, calls)
	})
	refusal = nil
	for _, name := range []string{"code", "refresh", "introspect", "userinfo", "revoke"} {
		assert.Equal(t, "10", wantOK(t, do[name]()).Header.Get("X-RateLimit-Limit"))
	}
	t.Run("S360 a guard that breaks lets nobody in", func(t *testing.T) {
		refusal = errBoom
		w.may5.Store(true)
		wantError(t, w.asClient(nil, basic("machine", oauthtest.Secret)), 503, oauth.TemporarilyUnavailable)
		refusal = oauth.AccessDenied
		w.may5.Store(false)
		wantError(t, w.asClient(nil, basic("machine", oauthtest.Secret)), 400, oauth.AccessDenied)
	})
}

var errBoom = errors.New("boom: sk_live_very_secret_123456")

// endpointRequests are a request to each endpoint that meets the store or a hook,
// for a code, a refresh and an access token that are live.
func endpointRequests(w *wire) map[string]func() *oauthtest.Answer {
	a := w.Redeem(w.Code(oauthtest.SPAClient))
	code := w.Code(oauthtest.SPAClient)
	access, refresh := a.String("access_token"), a.String("refresh_token")
	return map[string]func() *oauthtest.Answer{
		"code":    func() *oauthtest.Answer { return w.Token(code.Client, code.Form()) },
		"refresh": func() *oauthtest.Answer { return w.Refresh(oauthtest.SPAClient, refresh) },
		"introspect": func() *oauthtest.Answer {
			return w.send("POST", "/oauth/introspect", formType, "token="+access, basic(oauthtest.APIClient, oauthtest.Secret))
		},
		"userinfo": func() *oauthtest.Answer {
			return w.send("GET", "/oauth/userinfo", "", "", header("Authorization", "Bearer "+access))
		},
		"revoke": func() *oauthtest.Answer {
			return w.Post("/oauth/revoke", oauthtest.SPAClient, url.Values{"token": {refresh}})
		},
	}
}

func TestPanics(t *testing.T) {
	var armed atomic.Value
	armed.Store("")
	on := func(hook string) {
		if armed.Load() == hook {
			panic("a hook broke on sk_live_very_secret_123456")
		}
	}
	w := newWire(t, func(c *oauth.Config) {
		c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy { on("Policy"); return oauth.Policy{} }
		c.Respond = func(context.Context, *oauth.Issued, *oauth.Fields) error { on("Respond"); return nil }
		c.Claims = func(context.Context, oauth.ClaimsRequest) (oauth.Fields, error) {
			on("Claims")
			return oauth.Fields{}, nil
		}
		c.Guards = []oauth.Guard{func(context.Context, *oauth.Call) error { on("Guard"); return nil }}
		c.Import = func(context.Context, *oauth.Client, string) (*oauth.Approval, error) {
			on("Import")
			return nil, oauth.InvalidGrant
		}
	})
	w.note("sk_live_very_secret_123456")
	do := endpointRequests(w)
	do["import"] = func() *oauthtest.Answer { return w.Refresh(oauthtest.SPAClient, "def50200aabb") }
	w.may5.Store(true)
	for _, c := range []struct {
		hook     string
		requests []string
	}{
		{"Policy", []string{"code", "refresh"}}, {"Respond", []string{"code", "refresh"}}, {"Claims", []string{"userinfo"}},
		{"Guard", []string{"code", "refresh", "introspect", "userinfo", "revoke"}}, {"Import", []string{"import"}},
		{"store", []string{"code", "refresh", "introspect", "userinfo", "revoke"}},
	} {
		for _, request := range c.requests {
			t.Run("S337 "+c.hook+" panics at "+request, func(t *testing.T) {
				armed.Store(c.hook)
				if c.hook == "store" {
					w.Store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.Panic })
				}
				w.Store.Reset()
				a := do[request]()
				armed.Store("")
				w.Store.Fail(nil)
				wantError(t, a, 500, oauth.ServerError)
				assert.NotContains(t, w.Store.Methods(), "Update")
				assert.NotContains(t, w.Store.Methods(), "Create")
			})
		}
	}
	w.may5.Store(false)
	assert.Contains(t, w.log.String(), "stack")
	for _, request := range []string{"code", "refresh", "introspect", "userinfo", "revoke"} {
		wantOK(t, do[request]())
	}
}
