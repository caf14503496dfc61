package oauth_test

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
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/resource"
)

// What a reviewer found and nobody had tested.

// A slowBody gives its text after the clock has moved.
type slowBody struct {
	io.Reader
	wait func()
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.wait != nil {
		b.wait()
		b.wait = nil
	}
	return b.Reader.Read(p)
}

func (*slowBody) Close() error { return nil }

// hold sends a form whose body comes only when so much time has passed.
func hold(s *oauthtest.Server, form url.Values, wait func()) *oauthtest.Answer {
	text := form.Encode()
	r := httptest.NewRequest(http.MethodPost, s.Config.Issuer+"/oauth/token", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Body, r.ContentLength = &slowBody{strings.NewReader(text), wait}, int64(len(text))
	return s.Do(r)
}

func TestARequestHeldOpen(t *testing.T) {
	const spa = oauthtest.SPAClient
	form := func(f url.Values) url.Values { f.Set("client_id", spa); return f }
	for name, window := range map[string]time.Duration{"default window": 0, "NoRetry": oauth.NoRetry} {
		t.Run("design 2 it does not carry an old refresh token over its window: "+name, func(t *testing.T) {
			s := newServer(t, func(c *oauth.Config) {
				c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy { return oauth.Policy{RetryWindow: window} }
			})
			old := s.Redeem(s.Code(spa)).String("refresh_token")
			var next string
			a := hold(s, form(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old}}), func() {
				next = s.Refresh(spa, old).String("refresh_token")
				s.Clock.Advance(time.Hour)
			})
			assert.Equal(t, []any{400, "invalid_grant"}, []any{a.Status, a.String("error")})
			assert.Len(t, s.Events(oauth.EventReuseDetected), 1)
			assert.Equal(t, 400, s.Refresh(spa, next).Status)
		})
	}
	t.Run("design 2 nor a code over its redemption", func(t *testing.T) {
		s := newServer(t)
		code := s.Code(spa)
		var token string
		a := hold(s, form(code.Form()), func() {
			token = s.Redeem(code).String("access_token")
			s.Clock.Advance(20 * time.Minute)
		})
		assert.Equal(t, 400, a.Status)
		assert.Equal(t, false, s.Introspect(token).JSON["active"])
	})
	t.Run("design 2 two that crossed each other are still seen to", func(t *testing.T) {
		s := newServer(t)
		code := s.Code(spa)
		var token string
		a := hold(s, form(code.Form()), func() {
			token = s.Redeem(code).String("access_token")
			s.Clock.Advance(2 * time.Second)
		})
		assert.Equal(t, 400, a.Status)
		assert.Equal(t, true, s.Introspect(token).JSON["active"])
	})
}

func TestTheAnswerIsRenderedBeforeTheCommit(t *testing.T) {
	bad := func(on *bool) func(*oauth.Config) {
		return func(c *oauth.Config) {
			c.Respond = func(_ context.Context, _ *oauth.Issued, f *oauth.Fields) error {
				if *on {
					f.Set("x", func() {})
				}
				return nil
			}
		}
	}
	t.Run("design 3 a value that JSON cannot write burns nothing", func(t *testing.T) {
		on := false
		s := newServer(t, bad(&on))
		code := s.Code(oauthtest.WebClient)
		on = true
		s.Store.Reset()
		a := s.Token(oauthtest.WebClient, code.Form())
		assert.Equal(t, []any{500, "server_error"}, []any{a.Status, a.String("error")})
		assert.Equal(t, []string{"Get"}, s.Store.Methods())
		assert.Empty(t, s.Events(oauth.EventTokenIssued))
		on = false
		s.Redeem(code)
	})
	t.Run("design 3 nor does one that a redirect cannot", func(t *testing.T) {
		on := true
		s := newServer(t, bad(&on))
		a, _ := s.Authorize(oauthtest.WebClient, nil)
		_, params := a.Location()
		assert.Equal(t, "server_error", params.Get("error"))
		assert.Empty(t, s.Store.Calls())
	})
	t.Run("design 6 an Events hook that panics costs nobody the answer", func(t *testing.T) {
		s := newServer(t, func(c *oauth.Config) { c.Events = func(context.Context, oauth.Event) { panic("metrics") } })
		a := s.Redeem(s.Code(oauthtest.SPAClient))
		assert.Equal(t, 200, s.Refresh(oauthtest.SPAClient, a.String("refresh_token")).Status)
	})
}

func TestAScopeTakenFromAClient(t *testing.T) {
	const web = oauthtest.WebClient
	s, clients := storedServer(t)
	code := s.Code(web)
	refresh := s.Redeem(s.Code(web)).String("refresh_token")
	_, err := clients.Update(t.Context(), web, func(c *oauth.Client) error { c.Scopes = []string{"read"}; return nil })
	require.NoError(t, err)
	a := s.Refresh(web, refresh)
	assert.Equal(t, []any{200, "read"}, []any{a.Status, a.String("scope")})
	assert.Equal(t, "read", s.Redeem(code).String("scope"))
	refresh = a.String("refresh_token")
	named := s.Token(web, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "scope": {"write"}})
	assert.Equal(t, []any{400, "invalid_scope"}, []any{named.Status, named.String("error")})
	_, err = clients.Update(t.Context(), web, func(c *oauth.Client) error { c.Scopes = nil; return nil })
	require.NoError(t, err)
	assert.Equal(t, "invalid_scope", s.Refresh(web, refresh).String("error"))
	_, err = clients.Update(t.Context(), web, func(c *oauth.Client) error { c.Scopes = []string{"read", "write"}; return nil })
	require.NoError(t, err)
	assert.Equal(t, "read write", s.Refresh(web, refresh).String("scope"), "the refused ones have burnt nothing")
}

func TestHooksThatErr(t *testing.T) {
	var none *oauth.Error
	t.Run("design 6 a nil *Error of a guard lets nobody past the next one", func(t *testing.T) {
		asked := 0
		s := newServer(t, func(c *oauth.Config) {
			c.Guards = []oauth.Guard{
				func(context.Context, *oauth.Call) error { return none },
				func(context.Context, *oauth.Call) error { asked++; return oauth.AccessDenied },
			}
		})
		a := s.Token(oauthtest.MachineClient, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}})
		assert.Equal(t, []any{503, 0}, []any{a.Status, asked})
	})
	t.Run("design 6 guards see a method that is not allowed", func(t *testing.T) {
		s := newServer(t, func(c *oauth.Config) {
			c.Guards = []oauth.Guard{func(context.Context, *oauth.Call) error {
				return &oauth.Error{Code: oauth.TemporarilyUnavailable, Status: http.StatusTooManyRequests, RetryAfter: time.Minute}
			}}
		})
		a := s.Do(httptest.NewRequest(http.MethodDelete, oauthtest.Issuer+"/oauth/token", nil))
		assert.Equal(t, []any{429, "60"}, []any{a.Status, a.Header.Get("Retry-After")})
	})
	t.Run("design 6 a guard's invalid_client is that of a wrong secret", func(t *testing.T) {
		listed := true
		shared := &oauth.Error{Code: oauth.InvalidClient}
		w := newWire(t, func(c *oauth.Config) {
			c.Guards = []oauth.Guard{func(context.Context, *oauth.Call) error {
				if listed {
					return nil
				}
				return shared
			}}
		})
		const id, secret = oauthtest.MachineClient, oauthtest.Secret
		for name, ask := range map[string]func(secret string) *oauthtest.Answer{
			"header": func(secret string) *oauthtest.Answer { return w.asClient(nil, basic(id, secret)) },
			"body":   func(secret string) *oauthtest.Answer { return w.asClient(inBody(id, secret)) },
		} {
			listed = true
			wantOK(t, ask(secret))
			want := ask("wrong")
			listed = false
			got := ask(secret)
			assert.Equal(t, []any{401, want.Header, string(want.Body)}, []any{got.Status, got.Header, string(got.Body)}, name)
			assert.Equal(t, name == "header", got.Header.Get("WWW-Authenticate") != "", name)
		}
		assert.Empty(t, shared.Description, "what a guard returned is not written into")
	})
	t.Run("design 6 a policy cannot widen what was checked", func(t *testing.T) {
		s := newServer(t, func(c *oauth.Config) {
			c.Policy = func(_ context.Context, r oauth.PolicyRequest) oauth.Policy {
				for i := range r.Scopes {
					r.Scopes[i] = "write"
				}
				return oauth.Policy{}
			}
		})
		a := s.Token(oauthtest.MachineClient, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}})
		assert.Equal(t, "read", a.String("scope"))
		assert.Equal(t, "read", s.Redeem(s.Code(oauthtest.WebClient, "read")).String("scope"))
	})
	t.Run("OpenID Connect Core 5.3 what Claims returned is not written into", func(t *testing.T) {
		var shared oauth.Fields
		shared.Set("sub", "the host's")
		s := newServer(t, func(c *oauth.Config) {
			c.Claims = func(context.Context, oauth.ClaimsRequest) (oauth.Fields, error) { return shared, nil }
		})
		assert.Equal(t, "alice", s.Get("/oauth/userinfo", s.AccessToken("alice", "read")).String("sub"))
		assert.Equal(t, "the host's", shared.Get("sub"))
	})
	t.Run("design 4 half a page is cut off, not continued", func(t *testing.T) {
		s := newServer(t)
		s.Interact(func(w http.ResponseWriter, _ *http.Request, _ *oauth.Interaction) {
			io.WriteString(w, "<form>") //nolint:errcheck // a recorder
			panic("template")
		})
		assert.PanicsWithValue(t, http.ErrAbortHandler, func() { s.Authorize(oauthtest.WebClient, nil) })
	})
}

func TestTokenClientData(t *testing.T) {
	hosts := &struct{ plan string }{"large"}
	s := newServer(t, func(c *oauth.Config) {
		c.Clients = oauth.StaticClients(oauth.Client{ID: oauthtest.MachineClient, Data: hosts, Grants: []string{"client_credentials"},
			Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, Scopes: []string{"read"}})
	})
	text := s.Token(oauthtest.MachineClient, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}).String("access_token")
	token, err := s.VerifyToken(t.Context(), text)
	require.NoError(t, err)
	assert.Same(t, hosts, token.ClientData)
	told, err := json.Marshal(token)
	require.NoError(t, err)
	assert.NotContains(t, string(told), "ClientData")
}

func TestAConfigIsCopied(t *testing.T) {
	uris := []string{oauthtest.Callback}
	guards := []oauth.Guard{func(context.Context, *oauth.Call) error { return nil }}
	s := newServer(t, func(c *oauth.Config) {
		c.Guards = guards
		c.Clients = oauth.StaticClients(oauth.Client{ID: oauthtest.SPAClient, Public: true, RedirectURIs: uris, Scopes: []string{"read", "write"}})
	})
	uris[0] = "https://evil.example/"
	guards[0] = func(context.Context, *oauth.Call) error { return errors.New("another") }
	a, _ := s.Authorize(oauthtest.SPAClient, url.Values{"redirect_uri": {"https://evil.example/"}})
	assert.Equal(t, 400, a.Status)
	s.Code(oauthtest.SPAClient)
}

func TestNewRefusesContradictions(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*oauth.Config)
		says string
	}{
		"an endpoint for which there is no grant": {func(c *oauth.Config) {
			c.Grants = slices.DeleteFunc(c.Grants, func(g oauth.Grant) bool { return g.GrantType() != "client_credentials" })
			c.Endpoints.Authorize = "/authorize"
		}, "Endpoints.Authorize"},
		"an endpoint for keys without keys": {func(c *oauth.Config) { c.Endpoints.JWKS = "/keys" }, "Endpoints.JWKS"},
		"a code grant without a redirect URI": {func(c *oauth.Config) {
			c.Clients = oauth.StaticClients(oauth.Client{ID: "a", Public: true, Grants: []string{"authorization_code"}})
		}, "RedirectURIs is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			config := s.Config
			c.edit(&config)
			_, err := oauth.New(config)
			assert.ErrorContains(t, err, c.says)
		})
	}
}

func TestOutsideHTTPWithRecordsOfAnotherVersion(t *testing.T) {
	const web = oauthtest.WebClient
	s := newServer(t)
	var tokens []string
	for range 3 {
		tokens = append(tokens, s.Redeem(s.Code(web)).String("access_token"))
	}
	var first oauth.Record
	for rec, err := range s.Config.Storage.List(t.Context(), oauth.Filter{Kind: oauth.KindAuthorization}) {
		require.NoError(t, err)
		first = rec
		break
	}
	newer := first
	newer.Data = slices.Clone(first.Data)
	newer.Data[len(`{"head":"`)] = '_' // a format number of 63 and more
	require.NoError(t, s.Config.Storage.Update(t.Context(), newer))

	list, err := s.Authorizations(t.Context(), "alice")
	require.NoError(t, err)
	assert.Len(t, list, 2)
	assert.Len(t, s.Events(oauth.EventUnknownFormat), 1)
	n, err := s.Revoke(t.Context(), oauth.Selector{Subject: "alice"})
	assert.Equal(t, 2, n, "the others have ended all the same")
	assert.ErrorContains(t, err, first.ID)
	n, err = s.Revoke(t.Context(), oauth.Selector{Subject: "alice", Erase: true})
	require.NoError(t, err, "erasing needs nothing of what is erased")
	assert.Equal(t, 3, n)
	for _, token := range tokens {
		assert.Equal(t, false, s.Introspect(token).JSON["active"])
	}
}

func TestAuthorizationsThatCanStillBeUsed(t *testing.T) {
	s := newServer(t)
	count := func() int {
		list, err := s.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		return len(list)
	}
	s.Code(oauthtest.WebClient)
	assert.Equal(t, 1, count())
	s.Clock.Advance(61 * time.Second)
	assert.Equal(t, 0, count(), "a code that was never redeemed")
	s.Redeem(s.Code(oauthtest.WebClient))
	s.Clock.Advance(30*24*time.Hour - time.Second)
	assert.Equal(t, 1, count())
	s.Clock.Advance(time.Second)
	assert.Equal(t, 0, count(), "a refresh token that was not used")
}

func TestManyScopes(t *testing.T) {
	s := newServer(t)
	var names []string
	for i := range 101 {
		names = append(names, "s"+strings.Repeat("x", i))
	}
	a, _ := s.Authorize(oauthtest.WebClient, url.Values{"scope": {strings.Join(names, " ")}})
	_, params := a.Location()
	assert.Equal(t, []string{"invalid_scope", "The scope is malformed"}, []string{params.Get("error"), params.Get("error_description")})
}

func TestResourcesAndTheIssuer(t *testing.T) {
	s := newServer(t, func(c *oauth.Config) {
		c.Resources = []oauth.Resource{{Identifier: "https://api.example/"}}
	})
	token := func(resources ...string) *oauthtest.Answer {
		return s.Token(oauthtest.MachineClient, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}, "resource": resources})
	}
	both := s.Introspect(token("https://api.example/", oauthtest.Issuer, "https://api.example/").String("access_token"))
	assert.Equal(t, []any{"https://api.example/", oauthtest.Issuer}, both.JSON["aud"], "each once, the issuer too")
	assert.Equal(t, "invalid_target", token("https://other.example/").String("error"))
}

func TestSecretsInAnAuthorizationRequest(t *testing.T) {
	s := newServer(t)
	for _, name := range []string{"client_secret", "password", "refresh_token"} {
		a, _ := s.Authorize(oauthtest.WebClient, url.Values{name: {"hunter2hunter2"}})
		_, params := a.Location()
		assert.Equal(t, "invalid_request", params.Get("error"), name)
		assert.NotContains(t, a.Header.Get("Location"), "hunter2")
	}
	r := httptest.NewRequest(http.MethodPost, oauthtest.Issuer+"/oauth/authorize", strings.NewReader(`{"client_id":"web"}`))
	r.Header.Set("Content-Type", "application/json")
	a := s.Do(r)
	assert.Equal(t, 400, a.Status)
	assert.Contains(t, string(a.Body), "application/x-www-form-urlencoded")
}

func TestLongNamesInEvents(t *testing.T) {
	s := newServer(t)
	r := httptest.NewRequest(http.MethodPost, oauthtest.Issuer+"/oauth/token", strings.NewReader("grant_type=x"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(strings.Repeat("a", 10_000)+"%0A", "secret")
	assert.Equal(t, 401, s.Do(r).Status)
	s.Token(oauthtest.WebClient, url.Values{"grant_type": {strings.Repeat("g\n", 5000)}})
	for _, e := range s.Events() {
		assert.LessOrEqual(t, len(e.ClientID), 256)
		assert.LessOrEqual(t, len(e.GrantType), 256)
		assert.NotContains(t, e.ClientID+e.GrantType, "\n")
	}
}

func TestAnErrorWriterOfAnAPI(t *testing.T) {
	api := resource.API{Error: func(w http.ResponseWriter, _ *http.Request, e *resource.Error) {
		w.WriteHeader(e.HTTPStatus())
		io.WriteString(w, `{}`) //nolint:errcheck // a recorder
	}, Verifier: newServer(t).Server}
	rec := httptest.NewRecorder()
	api.Require()(http.NotFoundHandler()).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	assert.Equal(t, []string{"application/json"}, rec.Result().Header["Content-Type"])
}

// approving is an Interact that allows all scopes, and what change makes of it.
func approving(change func(*oauth.Interaction, *oauth.Approval)) func(*oauth.Config) {
	return func(c *oauth.Config) {
		c.Interact = func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			ap := oauth.Approval{Subject: "alice", Scopes: in.Scopes()}
			change(in, &ap)
			in.Approve(w, r, ap)
		}
	}
}

func TestResourcesAreNeverWidened(t *testing.T) {
	const api, mail, web, machine = "https://api.example/", "https://mail.example/", oauthtest.WebClient, oauthtest.MachineClient
	two := func(c *oauth.Config) {
		c.Scopes = append(c.Scopes, oauth.Scope{Name: "all-mail", Includes: []string{"mail"}}, oauth.Scope{Name: "mail"})
		c.Resources = []oauth.Resource{{Identifier: api, Scopes: []string{"read"}, Access: time.Minute}, {Identifier: mail, Scopes: []string{"mail"}}}
	}
	asked := url.Values{"scope": {"read write"}, "resource": {api}}
	t.Run("design 4 an approval of none of the resources is a denial, not a token for this server", func(t *testing.T) {
		s := newServer(t, two, approving(func(in *oauth.Interaction, ap *oauth.Approval) {
			ap.Resources = slices.DeleteFunc(in.Resources(), func(string) bool { return true })
		}))
		a, _ := s.Authorize(web, asked)
		_, params := a.Location()
		assert.Equal(t, "access_denied", params.Get("error"))
		assert.Empty(t, s.Store.Calls())
		_, code := s.Authorize(web, url.Values{"scope": {"read"}})
		assert.Equal(t, oauthtest.Issuer, s.Introspect(s.Redeem(code).String("access_token")).JSON["aud"], "where none were asked for there are none to deny")
	})
	t.Run("design 3 nor does a grant of a host's own get there", func(t *testing.T) {
		s := newServer(t, two, func(c *oauth.Config) {
			c.Grants = slices.DeleteFunc(slices.Clone(c.Grants), func(g oauth.Grant) bool { return g.GrantType() == "refresh_token" })
			c.Grants = append(c.Grants, hostGrant{"refresh_token", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
				if _, err := r.Open(ctx, "refresh_token"); err != nil {
					return nil, err
				}
				return &oauth.Issue{RefreshToken: true, Resources: []string{}}, nil
			}})
		})
		_, code := s.Authorize(web, asked)
		wantError(t, s.Refresh(web, s.Redeem(code).String("refresh_token")), 400, oauth.InvalidTarget)
		_, code = s.Authorize(web, url.Values{"scope": {"read"}})
		assert.Equal(t, 200, s.Refresh(web, s.Redeem(code).String("refresh_token")).Status)
	})
	t.Run("RFC 8707 2.2 no token for a resource that is not known any more", func(t *testing.T) {
		s := newServer(t, two)
		_, code := s.Authorize(web, asked)
		one := s.Redeem(code)
		assert.Equal(t, []any{"read", 60.0}, []any{one.String("scope"), one.JSON["expires_in"]})
		gone := newServer(t, func(c *oauth.Config) { *c = s.Config; c.Resources = c.Resources[1:] })
		s.Store.Reset()
		wantError(t, gone.Refresh(web, one.String("refresh_token")), 400, oauth.InvalidTarget)
		assert.Equal(t, []string{"Get"}, s.Store.Methods(), "nothing is lost")
		assert.Equal(t, 200, s.Refresh(web, one.String("refresh_token")).Status)
	})
	t.Run("RFC 8707 2.2 it is no audience beside others either", func(t *testing.T) {
		s := newServer(t, two)
		_, code := s.Authorize(web, url.Values{"scope": {"read"}, "resource": {api, oauthtest.Issuer}})
		gone := newServer(t, func(c *oauth.Config) { *c = s.Config; c.Resources = c.Resources[1:] })
		a := gone.Refresh(web, s.Redeem(code).String("refresh_token"))
		assert.Equal(t, oauthtest.Issuer, gone.Introspect(a.String("access_token")).JSON["aud"])
	})
	t.Run("RFC 8707 2 a client that may have no scope of a resource does not name it beside another", func(t *testing.T) {
		s := newServer(t, two)
		form := func(names ...string) url.Values {
			return url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}, "resource": names}
		}
		for _, names := range [][]string{{mail}, {mail, api}, {api, mail}, {mail, oauthtest.Issuer}} {
			wantError(t, s.Token(machine, form(names...)), 400, oauth.InvalidTarget)
		}
		assert.Equal(t, 200, s.Token(machine, form(api, oauthtest.Issuer)).Status)
		a, _ := s.Authorize(web, url.Values{"scope": {"read"}, "resource": {api, mail}})
		_, params := a.Location()
		assert.Equal(t, "invalid_target", params.Get("error"))
		for _, scope := range []string{"mail", "all-mail"} { // itself, or one that includes it
			c := oauth.Client{ID: machine, Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, Grants: []string{"client_credentials"}, Scopes: []string{"read", scope}}
			may := newServer(t, two, func(cfg *oauth.Config) { cfg.Clients = oauth.StaticClients(c) })
			assert.Equal(t, 200, may.Token(machine, form(mail, api)).Status, scope)
		}
	})
}

func TestStringsOfAnApprovalAreText(t *testing.T) {
	const raw = "\xff\xfe\x00\x01"
	for name, change := range map[string]func(*oauth.Approval){
		"Session":        func(ap *oauth.Approval) { ap.Session = raw },
		"ACR":            func(ap *oauth.Approval) { ap.ACR = raw },
		"AMR":            func(ap *oauth.Approval) { ap.AMR = []string{"pwd", raw} },
		"AMR, too many":  func(ap *oauth.Approval) { ap.AMR = make([]string, 4<<10+1) },
		"Extra, a value": func(ap *oauth.Approval) { ap.Extra = map[string]string{"tenant": raw} },
		"Extra, a name":  func(ap *oauth.Approval) { ap.Extra = map[string]string{raw: "x"} },
	} {
		t.Run("design 6 "+name, func(t *testing.T) {
			s := newServer(t, approving(func(_ *oauth.Interaction, ap *oauth.Approval) { change(ap) }))
			a, _ := s.Authorize(oauthtest.WebClient, nil)
			_, params := a.Location()
			assert.Equal(t, "server_error", params.Get("error"))
			assert.Empty(t, s.Store.Calls())
			ap := oauth.Approval{Subject: "alice", Scopes: []string{"read"}}
			change(&ap)
			_, _, err := s.Server.Issue(t.Context(), oauthtest.WebClient, ap)
			require.ErrorContains(t, err, "server_error")
			assert.Empty(t, s.Store.Calls())
		})
	}
	t.Run("design 6 what was approved in a session is found by its name", func(t *testing.T) {
		const session = "sítzung\u2028<1>&\"\\"
		s := newServer(t, approving(func(_ *oauth.Interaction, ap *oauth.Approval) { ap.Session = session }))
		s.Code(oauthtest.WebClient)
		n, err := s.Revoke(t.Context(), oauth.Selector{Session: session})
		require.NoError(t, err)
		assert.Equal(t, 1, n)
	})
}

func TestHostsWithLettersOfOtherAlphabets(t *testing.T) {
	cfg := newServer(t).Config
	for _, uri := range []string{"https://%D0%B0pple.example/cb", "https://app.example%E2%88%95cb.evil.example/", "com.example.app://%D0%B0pple/cb", "https://%ff/cb"} {
		cfg.Clients = oauth.StaticClients(oauth.Client{ID: "x", Public: true, RedirectURIs: []string{uri}})
		_, err := oauth.New(cfg)
		require.ErrorContains(t, err, "RedirectURIs[0]", "S043 "+uri)
	}
	cfg.Clients = oauth.StaticClients(oauth.Client{ID: "x", Public: true, RedirectURIs: []string{"https://xn--pple-43d.example/%D0%B0?b=%D0%B0"}})
	_, err := oauth.New(cfg)
	require.NoError(t, err)
}

func TestThePageOfAHost(t *testing.T) {
	var seen [][]string
	s := newServer(t, func(c *oauth.Config) {
		c.Scopes = []oauth.Scope{{Name: "read", Claims: []string{"email"}, Includes: []string{"write"}}, {Name: "write"}}
		c.Interact = func(w http.ResponseWriter, _ *http.Request, in *oauth.Interaction) {
			row := in.ScopeTable()[0]
			seen = append(seen, append(slices.Clone(row.Claims), row.Includes...))
			row.Claims[0], row.Includes[0] = "phone_number", "read"
			io.WriteString(w, in.Handle()) //nolint:errcheck // a recorder
		}
	})
	at, _ := s.AuthorizeURL(oauthtest.WebClient, url.Values{"scope": {"read"}})
	a := s.Do(httptest.NewRequest(http.MethodGet, at, nil))
	t.Run("design 4 a cache does not give the cookie and the handle to the next one", func(t *testing.T) {
		assert.NotEmpty(t, a.Header.Get("Set-Cookie"))
		assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		r := httptest.NewRequest(http.MethodGet, oauthtest.Issuer+"/oauth/authorize?interaction="+string(a.Body), nil)
		r.Header.Set("Cookie", a.Header.Get("Set-Cookie"))
		again := s.Do(r)
		assert.Equal(t, []any{200, "no-store"}, []any{again.Status, again.Header.Get("Cache-Control")})
	})
	t.Run("design 6 what a page makes of the table of scopes is its own", func(t *testing.T) {
		assert.Equal(t, [][]string{{"email", "write"}, {"email", "write"}}, seen)
	})
}

func TestConfigIsTheServersOwn(t *testing.T) {
	const notes = "https://notes.example"
	shared, own := oauth.NewSecret(), oauth.NewSecret()
	scopes := []string{"read"}
	cfg := newServer(t).Config
	cfg.AccessToken = oauth.JWT{InsecureSymmetricKey: shared}
	cfg.Resources = []oauth.Resource{{Identifier: notes, Scopes: scopes, AccessToken: oauth.JWT{InsecureSymmetricKey: own, Type: "own+jwt"}}}
	s, err := oauth.New(cfg)
	require.NoError(t, err)
	issue := func(resources ...string) string {
		token, _, err := s.Issue(t.Context(), oauthtest.WebClient, oauth.Approval{Subject: "alice", Scopes: []string{"read", "write"}, Resources: resources})
		require.NoError(t, err)
		return token
	}
	before := []string{issue(), issue(notes)}
	clear(shared)
	clear(own)
	scopes[0] = "write"
	cfg.Scopes[0].Name = "other"
	cfg.Resources[0].Access = time.Second
	for i, token := range append(before, issue(), issue(notes)) {
		tok, err := s.VerifyToken(t.Context(), token)
		require.NoError(t, err, "the key is as it was")
		want := []string{"read", "write"}
		if i%2 == 1 {
			want = []string{"read"}
		}
		assert.Equal(t, want, tok.Scopes)
	}
}
