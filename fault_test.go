package oauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// A failingSigner is a key store that is down while the switch is on.
type failingSigner struct {
	crypto.Signer
	down *atomic.Bool
}

func (f failingSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if f.down.Load() {
		return nil, errors.New("the key store is down")
	}
	return f.Signer.Sign(random, digest, opts)
}

// A failingRegistry is one that is down while the switch is on.
type failingRegistry struct {
	oauth.ClientRegistry
	down *atomic.Bool
}

func (f failingRegistry) Client(ctx context.Context, id string) (*oauth.Client, error) {
	if f.down.Load() {
		return nil, errors.New("the registry is down")
	}
	return f.ClientRegistry.Client(ctx, id)
}

// A failingGrant opens the credential and then fails while the switch is on.
type failingGrant struct {
	oauth.TokenGrant
	down *atomic.Bool
}

func (f failingGrant) Token(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
	issue, err := f.TokenGrant.Token(ctx, r)
	if err == nil && f.down.Load() {
		return nil, errors.New("the grant failed")
	}
	return issue, err
}

// with is the form with another value of a parameter, or none.
func with(form url.Values, name string, values ...string) url.Values {
	changed := url.Values{}
	for n, v := range form {
		changed[n] = v
	}
	delete(changed, name)
	if len(values) > 0 {
		changed[name] = values
	}
	return changed
}

// postAs posts a form to the token endpoint with these client credentials.
func postAs(s *oauthtest.Server, form url.Values, id, secret string) *oauthtest.Answer {
	r := httptest.NewRequest(http.MethodPost, s.Config.Issuer+"/oauth/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return s.Do(r)
}

// A mishap keeps a token request from succeeding.
type mishap struct {
	name    string
	config  func(c *oauth.Config, on *atomic.Bool)
	send    func(s *oauthtest.Server, form url.Values) *oauthtest.Answer // nil: as its owner
	outcome string
}

// hook sets Respond.
func hook(f func() error) func(*oauth.Config, *atomic.Bool) {
	return func(c *oauth.Config, on *atomic.Bool) {
		c.Respond = func(_ context.Context, i *oauth.Issued, _ *oauth.Fields) error {
			if on.Load() && i.Endpoint == "token" {
				return f()
			}
			return nil
		}
	}
}

// asked sets Policy.
func asked(f func() oauth.Policy) func(*oauth.Config, *atomic.Bool) {
	return func(c *oauth.Config, on *atomic.Bool) {
		c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy {
			if on.Load() {
				return f()
			}
			return oauth.Policy{}
		}
	}
}

// guarded sets one of the Guards.
func guarded(f func() error) func(*oauth.Config, *atomic.Bool) {
	return func(c *oauth.Config, on *atomic.Bool) {
		c.Guards = []oauth.Guard{func(context.Context, *oauth.Call) error {
			if on.Load() {
				return f()
			}
			return nil
		}}
	}
}

func mishaps(t *testing.T) []mishap {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	as := func(id, secret string) func(*oauthtest.Server, url.Values) *oauthtest.Answer {
		return func(s *oauthtest.Server, form url.Values) *oauthtest.Answer { return postAs(s, form, id, secret) }
	}
	changed := func(name string, values ...string) func(*oauthtest.Server, url.Values) *oauthtest.Answer {
		return func(s *oauthtest.Server, form url.Values) *oauthtest.Answer {
			return s.Token(oauthtest.WebClient, with(form, name, values...))
		}
	}
	return []mishap{
		{"the client secret is wrong", nil, as(oauthtest.WebClient, "wrong"), "401 invalid_client"},
		{"the client does not authenticate", nil, as("", ""), "401 invalid_client"},
		{"the client is unknown", nil, as("nobody", oauthtest.Secret), "401 invalid_client"},
		{"another public client", nil, func(s *oauthtest.Server, form url.Values) *oauthtest.Answer {
			return s.Token(oauthtest.SPAClient, form)
		}, "400 invalid_grant"},
		{"a client that may not use the grant", nil, as(oauthtest.MachineClient, oauthtest.Secret), "400 unauthorized_client"},
		{"a parameter twice", nil, changed("extra", "a", "b"), "400 invalid_request"},
		{"an unknown resource", nil, changed("resource", "https://other.example"), "400 invalid_target"},
		{"the registry is down", func(c *oauth.Config, on *atomic.Bool) {
			c.Clients = failingRegistry{c.Clients, on}
		}, nil, "503 temporarily_unavailable"},
		{"the signer fails", func(c *oauth.Config, on *atomic.Bool) {
			c.AccessToken = oauth.JWT{}
			c.Keys = oauth.StaticKeys(oauth.Key{Signer: failingSigner{private, on}})
		}, nil, "503 temporarily_unavailable"},
		{"Respond fails", hook(func() error { return errors.New("no") }), nil, "503 temporarily_unavailable"},
		{"Respond refuses", hook(func() error { return oauth.AccessDenied }), nil, "400 access_denied"},
		{"Respond panics", hook(func() error { panic("no") }), nil, "500 server_error"},
		{"Policy breaks its bounds", asked(func() oauth.Policy { return oauth.Policy{Access: -1} }), nil, "500 server_error"},
		{"Policy panics", asked(func() oauth.Policy { panic("no") }), nil, "500 server_error"},
		{"a guard refuses", guarded(func() error {
			return &oauth.Error{Code: oauth.TemporarilyUnavailable, Status: 429, RetryAfter: time.Minute}
		}), nil, "429 temporarily_unavailable"},
		{"a guard fails", guarded(func() error { return errors.New("no") }), nil, "503 temporarily_unavailable"},
		{"a guard panics", guarded(func() error { panic("no") }), nil, "500 server_error"},
		{"the grant fails after Open", func(c *oauth.Config, on *atomic.Bool) {
			for i, g := range c.Grants {
				if token, is := g.(oauth.TokenGrant); is && g.GrantType() == "refresh_token" {
					c.Grants[i] = failingGrant{token, on}
				}
			}
		}, nil, "503 temporarily_unavailable"},
		{"the client has hung up", nil, func(s *oauthtest.Server, form url.Values) *oauthtest.Answer {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			r := httptest.NewRequest(http.MethodPost, s.Config.Issuer+"/oauth/token", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(oauthtest.WebClient, oauthtest.Secret)
			return s.Do(r.WithContext(ctx))
		}, "503 temporarily_unavailable"},
	}
}

// The order of the token endpoint, design.md section 3: a failed check, signature
// or hook burns nothing.
func TestAFailedRequestBurnsNothing(t *testing.T) {
	const web = oauthtest.WebClient
	of := func(name string, value func(url.Values) []string, outcome string) mishap {
		return mishap{name: name, outcome: outcome, send: func(s *oauthtest.Server, form url.Values) *oauthtest.Answer {
			return s.Token(web, with(form, name, value(form)...))
		}}
	}
	is := func(values ...string) func(url.Values) []string { return func(url.Values) []string { return values } }
	flip := func(name string) func(url.Values) []string { // the last character stays, for its spare bits
		return func(form url.Values) []string {
			v := []byte(form.Get(name))
			v[len(v)/2] ^= 1
			return []string{string(v)}
		}
	}
	kinds := []struct {
		name    string
		form    func(s *oauthtest.Server) url.Values
		mishaps []mishap
	}{
		{"S135 code", func(s *oauthtest.Server) url.Values { return s.Code(web).Form() }, []mishap{
			of("code_verifier", is(strings.Repeat("x", 43)), "400 invalid_grant"),
			of("code_verifier", is(), "400 invalid_request"),
			of("redirect_uri", is("https://client.example/other"), "400 invalid_grant"),
			of("redirect_uri", is(), "400 invalid_request"),
			of("code", flip("code"), "400 invalid_grant"),
			of("grant_type", is("refresh_token"), "400 invalid_request"),
			of("grant_type", is("password"), "400 unsupported_grant_type"),
		}},
		{"refresh token", func(s *oauthtest.Server) url.Values {
			return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.Redeem(s.Code(web, "read")).String("refresh_token")}}
		}, []mishap{
			of("scope", is("read write"), "400 invalid_scope"),
			of("refresh_token", flip("refresh_token"), "400 invalid_grant"),
			of("grant_type", is("authorization_code"), "400 invalid_request"),
		}},
	}
	for _, kind := range kinds {
		for i, m := range append(mishaps(t), kind.mishaps...) {
			if kind.name != "refresh token" && m.name == "the grant fails after Open" {
				continue
			}
			t.Run(fmt.Sprintf("%s, %d %s", kind.name, i, m.name), func(t *testing.T) {
				on := new(atomic.Bool)
				l := newLab(t, func(c *oauth.Config) {
					if m.config != nil {
						m.config(c, on)
					}
				})
				form := kind.form(l.Server)
				owner := func(s *oauthtest.Server, form url.Values) *oauthtest.Answer {
					return postAs(s, form, web, oauthtest.Secret)
				}
				if m.send == nil {
					m.send = owner
				}
				before := l.vault.dump(t)
				l.Store.Reset()
				on.Store(true)
				a := m.send(l.Server, form)
				on.Store(false)
				assert.Equal(t, m.outcome, outcome(a))
				noCredential(t, a)
				assert.NotContains(t, l.Store.Methods(), "Create")
				assert.NotContains(t, l.Store.Methods(), "Update")
				assert.Equal(t, before, l.vault.dump(t), "nothing was written")
				assert.Zero(t, l.count(oauth.EventReuseDetected))

				a = owner(l.Server, form)
				require.Equal(t, "200", outcome(a), "its owner can still use it: %s", a.Body)
				l.lives(t, a.String("access_token"))
			})
		}
	}
}

// noCredential asserts that an answer that is an error has nothing to use in it.
func noCredential(t testing.TB, a *oauthtest.Answer) {
	t.Helper()
	for name := range a.JSON {
		assert.Contains(t, []string{"error", "error_description"}, name)
	}
	_, params := a.Location()
	for name := range params {
		assert.Contains(t, []string{"error", "error_description", "state", "iss"}, name)
	}
	if a.JSON == nil {
		assert.NotContains(t, string(a.Body), "access_token")
	}
}

// An occasion is a request that uses the store. It can be sent any number of times.
type occasion struct {
	name    string
	config  func(*oauth.Config)
	prepare func(t *testing.T, l *lab) answer
	good    string // what the ordinary answer is
	page    bool   // a failure may be a page: the application may have its answer already
	spare   int    // from this call on, a failure is told in an event and changes no answer
	direct  bool   // it is a call of a method, not a request: a panic is the caller's
	// then checks the state after the ordinary answer.
	then func(t *testing.T, l *lab, a *oauthtest.Answer)
	// lost checks that the state converges when the write took effect and the
	// server could not find out.
	lost func(t *testing.T, l *lab, send answer)
}

// result is the outcome of an answer that may be a redirect.
func result(a *oauthtest.Answer) string {
	_, params := a.Location()
	for _, name := range []string{"code", "access_token"} {
		if params.Get(name) != "" {
			return fmt.Sprint(a.Status, " ", name)
		}
	}
	if code := params.Get("error"); code != "" {
		return fmt.Sprint(a.Status, " ", code)
	}
	return outcome(a)
}

// direct is the outcome of a method as an answer.
func direct(err error) *oauthtest.Answer {
	switch {
	case errors.Is(err, oauth.InvalidToken):
		return &oauthtest.Answer{Status: 401}
	case err != nil:
		return &oauthtest.Answer{Status: 503, Header: http.Header{"Retry-After": {"direct"}}, JSON: map[string]any{"error": "temporarily_unavailable"}}
	}
	return &oauthtest.Answer{Status: 200}
}

func occasions() []occasion {
	const web, spa = oauthtest.WebClient, oauthtest.SPAClient
	// sends finds a credential and what to do with it.
	sends := func(credential func(t *testing.T, l *lab) string, send func(l *lab, text string) *oauthtest.Answer) func(*testing.T, *lab) answer {
		return func(t *testing.T, l *lab) answer {
			text := credential(t, l)
			return func() *oauthtest.Answer { return send(l, text) }
		}
	}
	tokens := func(l *lab) *oauthtest.Answer { return l.Redeem(l.Code(web)) }
	refreshOf := func(_ *testing.T, l *lab) string { return tokens(l).String("refresh_token") }
	accessOf := func(_ *testing.T, l *lab) string { return tokens(l).String("access_token") }
	refresh := func(l *lab, text string) *oauthtest.Answer { return l.Refresh(web, text) }
	again := func(want string) func(*testing.T, *lab, answer) {
		return func(t *testing.T, _ *lab, send answer) { require.Equal(t, want, result(send())) }
	}
	onward := func(t *testing.T, l *lab, a *oauthtest.Answer) { // the tokens work, and there is one family
		l.lives(t, a.String("access_token"))
		require.Equal(t, 200, l.Refresh(web, a.String("refresh_token")).Status)
		require.Len(t, authorizations(t, l), 1)
		require.Zero(t, l.count(oauth.EventReuseDetected))
	}
	one := func(t *testing.T, l *lab, _ *oauthtest.Answer) { require.Len(t, authorizations(t, l), 1) }
	retried := func(t *testing.T, l *lab, send answer) { onward(t, l, send()) }
	ended := func(t *testing.T, l *lab, _ *oauthtest.Answer) {
		authorizations, err := l.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		require.Empty(t, authorizations)
	}
	thenEnded := func(want string) func(*testing.T, *lab, answer) {
		return func(t *testing.T, l *lab, send answer) {
			require.Equal(t, want, result(send()))
			ended(t, l, nil)
		}
	}
	day := 24 * time.Hour
	var machine, access string
	all := []occasion{
		{name: "S330 approve, code", good: "303 code", prepare: func(t *testing.T, l *lab) answer {
			p := open(t, l.Server, web, nil)
			return func() *oauthtest.Answer { return p.decide(l.Server) }
		}, then: one, lost: again("303 code")},
		{name: "S330 approve, sent again", good: "303 code", prepare: func(t *testing.T, l *lab) answer {
			p := open(t, l.Server, web, nil)
			p.decide(l.Server)
			return func() *oauthtest.Answer { return p.decide(l.Server) }
		}, page: true, then: one},
		{name: "S330 approve and remember", good: "303 code", prepare: func(t *testing.T, l *lab) answer {
			p := open(t, l.Server, web, nil)
			l.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
				in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), Remember: day})
			})
			return func() *oauthtest.Answer { return p.decide(l.Server) }
		}, spare: 2, then: one, lost: again("303 code")},
		{name: "S330 approve, implicit token", config: implicit, good: "303 access_token", prepare: func(t *testing.T, l *lab) answer {
			p := open(t, l.Server, "old", url.Values{"response_type": {"token"}})
			return func() *oauthtest.Answer { return p.decide(l.Server) }
		}, lost: again("400")}, // answered already: a new request is needed, and no token was delivered
		{name: "S331 code", good: "200", prepare: func(_ *testing.T, l *lab) answer {
			code := l.Code(web)
			return func() *oauthtest.Answer { return l.Token(web, code.Form()) }
		}, then: onward, lost: func(t *testing.T, l *lab, send answer) {
			before := l.vault.record(t)
			require.Equal(t, "400 invalid_grant", result(send()))
			require.Equal(t, before, l.vault.record(t), "I5: one family or none")
			l.Clock.Advance(3 * time.Second)
			thenEnded("400 invalid_grant")(t, l, send)
		}},
		{name: "S331 refresh", good: "200", prepare: sends(refreshOf, refresh), then: onward, lost: retried},
		{name: "S335 refresh, the clients in the store", config: storesClients, good: "200", prepare: sends(refreshOf, func(l *lab, text string) *oauthtest.Answer {
			return postAs(l.Server, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {text}}, web, oauthtest.Secret)
		}), then: onward, lost: retried},
		{name: "S331 refresh under NoRetry", config: noRetry, good: "200", prepare: sends(refreshOf, refresh), then: onward,
			lost: func(t *testing.T, l *lab, send answer) {
				require.Equal(t, "400 invalid_grant", result(send()))
				require.Equal(t, 1, l.count(oauth.EventRaceLost))
				l.Clock.Advance(3 * time.Second)
				thenEnded("400 invalid_grant")(t, l, send)
			}},
		{name: "S331 refresh kept", config: keep, good: "200", prepare: sends(func(t *testing.T, l *lab) string {
			defer l.Clock.Advance(5 * day)
			return refreshOf(t, l)
		}, refresh), then: onward, lost: retried},
		{name: "S329 refresh inside the window", good: "200", prepare: sends(func(t *testing.T, l *lab) string {
			text := refreshOf(t, l)
			l.Refresh(web, text)
			return text
		}, refresh), then: onward},
		{name: "S331 another server's refresh token", config: imports, good: "200",
			prepare: sends(func(*testing.T, *lab) string { return foreignToken }, refresh), then: onward, lost: retried},
		{name: "S331 a host's own grant", config: trust, good: "200", prepare: func(_ *testing.T, l *lab) answer {
			form := url.Values{"grant_type": {"urn:example:trust"}, "user": {"alice"}}
			return func() *oauthtest.Answer { return l.Token(web, form) }
		}, then: onward, lost: again("200")},
		{name: "S340 reuse that must end the authorization", good: "400 invalid_grant", prepare: sends(func(t *testing.T, l *lab) string {
			text := refreshOf(t, l)
			l.Refresh(web, text)
			l.Clock.Advance(31 * time.Second)
			return text
		}, refresh), then: func(t *testing.T, l *lab, a *oauthtest.Answer) {
			ended(t, l, a)
			require.Equal(t, 1, l.count(oauth.EventReuseDetected))
		}, lost: thenEnded("400 invalid_grant")},
		{name: "S340 code reuse that must end the authorization", good: "400 invalid_grant", prepare: func(_ *testing.T, l *lab) answer {
			code := l.Code(web)
			l.Redeem(code)
			l.Clock.Advance(3 * time.Second)
			return func() *oauthtest.Answer { return l.Token(web, code.Form()) }
		}, then: ended, lost: thenEnded("400 invalid_grant")},
		{name: "revoke a refresh token", good: "200", prepare: sends(refreshOf, func(l *lab, text string) *oauthtest.Answer {
			return revoke(l.Server, web, text)
		}), then: ended, lost: thenEnded("200")},
		{name: "revoke an access token", good: "200", prepare: sends(func(_ *testing.T, l *lab) string {
			access = l.Redeem(l.Code(web)).String("access_token")
			return access
		}, func(l *lab, text string) *oauthtest.Answer { return revoke(l.Server, web, text) }),
			then: func(t *testing.T, l *lab, _ *oauthtest.Answer) { l.gone(t, access) }, lost: again("200")},
		{name: "revoke a token without a record", good: "200", prepare: sends(func(t *testing.T, l *lab) string {
			machine = l.Server.ClientToken(oauthtest.MachineClient, "read")
			return machine
		}, func(l *lab, text string) *oauthtest.Answer { return revoke(l.Server, oauthtest.MachineClient, text) }),
			then: func(t *testing.T, l *lab, _ *oauthtest.Answer) { l.gone(t, machine) }, lost: again("200")},
		{name: "S343 introspect an access token", good: "200", prepare: sends(accessOf, func(l *lab, text string) *oauthtest.Answer {
			return live(l.Introspect(text))
		})},
		{name: "S343 introspect a refresh token", good: "200", prepare: sends(refreshOf, func(l *lab, text string) *oauthtest.Answer {
			return live(l.Post("/oauth/introspect", web, url.Values{"token": {text}}))
		})},
		{name: "S343 introspect, the clients in the store", config: storesClients, good: "200", prepare: sends(accessOf, func(l *lab, text string) *oauthtest.Answer {
			r := httptest.NewRequest(http.MethodPost, oauthtest.Issuer+"/oauth/introspect", strings.NewReader(url.Values{"token": {text}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(oauthtest.APIClient, oauthtest.Secret)
			return live(l.Do(r))
		})},
		{name: "S343 introspect a token without a record", good: "200", prepare: sends(func(t *testing.T, l *lab) string {
			return l.Server.ClientToken(oauthtest.MachineClient, "read")
		}, func(l *lab, text string) *oauthtest.Answer { return live(l.Introspect(text)) })},
		{name: "userinfo", good: "200", prepare: sends(accessOf, func(l *lab, text string) *oauthtest.Answer {
			return l.Server.Get("/oauth/userinfo", text)
		})},
		{name: "VerifyToken", direct: true, good: "200", prepare: sends(accessOf, func(l *lab, text string) *oauthtest.Answer {
			_, err := l.VerifyToken(context.Background(), text)
			return direct(err)
		})},
		{name: "Authorizations", direct: true, good: "200", prepare: sends(accessOf, func(l *lab, _ string) *oauthtest.Answer {
			_, err := l.Authorizations(context.Background(), "alice")
			return direct(err)
		})},
		{name: "Revoke by ID", direct: true, good: "200", prepare: sends(accessOf, func(l *lab, text string) *oauthtest.Answer {
			return direct(revokeOnly(l, false))
		}), then: ended, lost: thenEnded("200")},
		{name: "Revoke by subject", direct: true, good: "200", prepare: sends(accessOf, func(l *lab, _ string) *oauthtest.Answer {
			_, err := l.Revoke(context.Background(), oauth.Selector{Subject: "alice"})
			return direct(err)
		}), then: ended, lost: thenEnded("200")},
		{name: "Revoke and erase", direct: true, good: "200", prepare: sends(func(t *testing.T, l *lab) string {
			text := accessOf(t, l)
			l.Clock.Advance(2*time.Hour + 1234567*time.Nanosecond) // a time that a store does not keep exactly
			return text
		}, func(l *lab, _ string) *oauthtest.Answer { return direct(revokeOnly(l, true)) }), then: func(t *testing.T, l *lab, _ *oauthtest.Answer) {
			r := l.vault.record(t)
			require.Empty(t, r.Subject)
			require.Empty(t, r.Data)
		}, lost: thenEnded("200")},
		{name: "Revoke by client", direct: true, good: "200", prepare: sends(accessOf, func(l *lab, _ string) *oauthtest.Answer {
			_, err := l.Revoke(context.Background(), oauth.Selector{ClientID: web})
			return direct(err)
		}), then: ended, lost: thenEnded("200")},
	}
	return append(all, slices.Concat(ofConsent(), ofClients())...)
}

// live is an answer of introspection, with status 0 if it is not "active".
func live(a *oauthtest.Answer) *oauthtest.Answer {
	if a.Status == 200 && a.JSON["active"] != true {
		a.Status = 0
	}
	return a
}

// revokeOnly revokes the one authorization there is.
func revokeOnly(l *lab, erase bool) error {
	for r := range l.vault.List(context.Background(), oauth.Filter{}) {
		_, err := l.Revoke(context.Background(), oauth.Selector{ID: r.ID, Erase: erase})
		return err
	}
	return errors.New("there is none")
}

// A store that fails at each call in turn: design.md section 3, and the failure
// matrix.
func TestStoreFailsAtEachCall(t *testing.T) {
	for _, o := range append(occasions(), ofAssertions(t)...) {
		setup := func(t *testing.T) (*lab, answer) {
			l := newLab(t, func(c *oauth.Config) {
				if o.config != nil {
					o.config(c)
				}
			})
			send := o.prepare(t, l)
			l.Store.Reset()
			return l, send
		}
		l, send := setup(t)
		before := l.vault.dump(t)
		require.Equal(t, o.good, result(send()), "%s, without a fault", o.name)
		calls := l.Store.Calls()
		require.NotEmpty(t, calls)
		changes := !assert.ObjectsAreEqual(before, l.vault.dump(t))
		if o.then != nil {
			l, send := setup(t)
			o.then(t, l, send())
		}
		wrote := false // before the call that fails
		for _, call := range calls {
			at := func(n int, f oauthtest.Fault) func(oauthtest.StoreCall) oauthtest.Fault {
				return func(c oauthtest.StoreCall) oauthtest.Fault {
					if c.N == n {
						return f
					}
					return oauthtest.NoFault
				}
			}
			isWrite := call.Method == "Create" || call.Method == "Update"
			place := fmt.Sprintf("%s, call %d, %s, ", o.name, call.N, call.Method)
			half := wrote
			wrote = wrote || isWrite
			if o.spare > 0 && call.N >= o.spare {
				for name, f := range map[string]oauthtest.Fault{"before": oauthtest.FailBefore, "after": oauthtest.FailAfter} {
					t.Run(place+"it and all after it fail "+name, func(t *testing.T) {
						l, send := setup(t)
						l.Store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
							if c.N >= call.N {
								return f
							}
							return oauthtest.NoFault
						})
						a := send()
						require.Equal(t, o.good, result(a))
						require.Equal(t, 1, l.count(oauth.EventStorageFailed))
						l.Store.Fail(nil)
						o.then(t, l, a)
					})
				}
				continue
			}
			t.Run(place+"fails before", func(t *testing.T) {
				l, send := setup(t)
				o.fails(t, l, send, half, at(call.N, oauthtest.FailBefore))
			})
			t.Run(place+"is canceled", func(t *testing.T) {
				l, send := setup(t)
				o.fails(t, l, send, half, at(call.N, oauthtest.Canceled))
			})
			t.Run(place+"panics", func(t *testing.T) {
				l, send := setup(t)
				if o.direct {
					l.Store.Fail(at(call.N, oauthtest.Panic))
					require.Panics(t, func() { send() })
					return
				}
				o.panics(t, l, send, half, at(call.N, oauthtest.Panic))
			})
			t.Run(place+"is performed twice", func(t *testing.T) {
				l, send := setup(t)
				l.Store.Fail(at(call.N, oauthtest.Twice))
				o.succeeds(t, l, send)
			})
			if !isWrite {
				continue
			}
			t.Run(place+"fails after", func(t *testing.T) {
				l, send := setup(t)
				l.Store.Fail(at(call.N, oauthtest.FailAfter))
				o.succeeds(t, l, send)
				assert.Zero(t, l.count(oauth.EventStorageFailed))
			})
			t.Run(place+"fails before, and so does the read-back", func(t *testing.T) {
				l, send := setup(t)
				o.fails(t, l, send, half, func(c oauthtest.StoreCall) oauthtest.Fault {
					if c.N == call.N || c.N == call.N+1 {
						return oauthtest.FailBefore
					}
					return oauthtest.NoFault
				})
			})
			if !changes { // a Create that only finds out what is there
				continue
			}
			t.Run(place+"fails after, and so does the read-back", func(t *testing.T) {
				l, send := setup(t)
				before := l.vault.dump(t)
				l.Store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
					if c.N == call.N || c.N == call.N+1 {
						return oauthtest.FailAfter
					}
					return oauthtest.NoFault
				})
				o.refused(t, l, send())
				assert.NotEqual(t, before, l.vault.dump(t), "it was written")
				l.Store.Fail(nil)
				o.lost(t, l, send)
			})
		}
	}
}

// refused asserts the answer to a failure of the store.
func (o occasion) refused(t *testing.T, l *lab, a *oauthtest.Answer) {
	t.Helper()
	noCredential(t, a)
	if o.direct {
		require.Equal(t, "503 temporarily_unavailable", result(a))
		return
	}
	require.Equal(t, 1, l.count(oauth.EventStorageFailed))
	if o.page && a.Status == http.StatusServiceUnavailable {
		require.NotEmpty(t, a.Header.Get("Retry-After"))
		require.Empty(t, a.Header.Get("Location"))
		return
	}
	if strings.HasPrefix(o.good, "303") { // RFC 6749, section 4.1.2.1
		require.Equal(t, "303 temporarily_unavailable", result(a))
		_, params := a.Location()
		require.Equal(t, "xyz", params.Get("state"))
		return
	}
	require.Equal(t, "503 temporarily_unavailable", result(a))
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
}

// fails asserts that nothing is written and the same can be sent again; half says that
// a write of another record came before.
func (o occasion) fails(t *testing.T, l *lab, send answer, half bool, fault func(oauthtest.StoreCall) oauthtest.Fault) {
	t.Helper()
	before := l.vault.dump(t)
	l.Store.Fail(fault)
	o.refused(t, l, send())
	if !half {
		require.Equal(t, before, l.vault.dump(t), "nothing was written")
	}
	require.Zero(t, l.count(oauth.EventReuseDetected))
	l.Store.Fail(nil)
	o.succeeds(t, l, send)
}

func (o occasion) panics(t *testing.T, l *lab, send answer, half bool, fault func(oauthtest.StoreCall) oauthtest.Fault) {
	t.Helper()
	before := l.vault.dump(t)
	l.Store.Fail(fault)
	a := send()
	require.Equal(t, 500, a.Status, "S337")
	require.Empty(t, a.Header.Get("Location"))
	noCredential(t, a)
	if !half {
		require.Equal(t, before, l.vault.dump(t), "nothing was written")
	}
	l.Store.Fail(nil)
	o.succeeds(t, l, send)
}

func (o occasion) succeeds(t *testing.T, l *lab, send answer) {
	t.Helper()
	a := send()
	require.Equal(t, o.good, result(a))
	if o.then != nil {
		l.Store.Fail(nil)
		o.then(t, l, a)
	}
}
