//lint:file-ignore SA1019 the implicit grant is served, so it is tested

package oauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/oauthtest"
)

// An askedRegistry counts how often it is asked.
type askedRegistry struct {
	oauth.ClientRegistry
	asked atomic.Int64
}

func (r *askedRegistry) Client(ctx context.Context, id string) (*oauth.Client, error) {
	r.asked.Add(1)
	return r.ClientRegistry.Client(ctx, id)
}

// implicit adds the implicit grant, and a client for it.
func implicit(c *oauth.Config) {
	c.Grants = append(c.Grants, grants.Implicit{})
	c.Clients = oauth.StaticClients(
		client(c, oauthtest.WebClient), client(c, oauthtest.SPAClient), client(c, oauthtest.MachineClient), client(c, oauthtest.APIClient),
		oauth.Client{ID: "old", Public: true, RedirectURIs: []string{oauthtest.Callback}, Grants: []string{"implicit"}, Scopes: []string{"read", "write"}})
}

func client(c *oauth.Config, id string) oauth.Client {
	found, err := c.Clients.Client(context.Background(), id)
	if err != nil {
		panic(err)
	}
	return *found
}

// A trustGrant is a host's own grant: it believes the request.
type trustGrant struct{}

func (trustGrant) GrantType() string { return "urn:example:trust" }

func (trustGrant) Token(_ context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
	return &oauth.Issue{Subject: r.Param("user"), Scopes: []string{"read"}, RefreshToken: true}, nil
}

// trust adds trustGrant, which the web client may use.
func trust(c *oauth.Config) {
	c.Grants = append(c.Grants, trustGrant{})
	web := client(c, oauthtest.WebClient)
	web.Grants = []string{"authorization_code", "refresh_token", "urn:example:trust"}
	c.Clients = oauth.StaticClients(web, client(c, oauthtest.SPAClient), client(c, oauthtest.MachineClient), client(c, oauthtest.APIClient))
}

const foreignToken = "a-live-refresh-token-of-the-server-before"

// imports adopts one refresh token of another server.
func imports(c *oauth.Config) {
	c.Import = func(_ context.Context, _ *oauth.Client, token string) (*oauth.Approval, error) {
		if token != foreignToken {
			return nil, oauth.InvalidGrant
		}
		return &oauth.Approval{Subject: "alice", Scopes: []string{"read"}}, nil
	}
}

func revoke(s *oauthtest.Server, client, token string) *oauthtest.Answer {
	return s.Post("/oauth/revoke", client, url.Values{"token": {token}})
}

// verify is VerifyToken as an answer.
func verify(s *oauthtest.Server, token string) *oauthtest.Answer {
	if _, err := s.VerifyToken(context.Background(), token); err != nil {
		return &oauthtest.Answer{Status: 401}
	}
	return &oauthtest.Answer{Status: 200}
}

// A page is an authorization request whose resource owner decides later: a
// browser with its cookie and the handle.
type page struct {
	s      *oauthtest.Server
	cookie *http.Cookie
	handle string
	code   oauthtest.Code
}

// open sends an authorization request and keeps it open. Afterwards the server
// approves again, as alice.
func open(t testing.TB, s *oauthtest.Server, client string, change url.Values) *page {
	t.Helper()
	p := &page{s: s}
	s.Interact(func(w http.ResponseWriter, _ *http.Request, in *oauth.Interaction) {
		p.handle = in.Handle()
		w.WriteHeader(http.StatusOK)
	})
	a, code := s.Authorize(client, change)
	require.Equal(t, http.StatusOK, a.Status)
	require.NotEmpty(t, p.handle)
	p.code = code
	cookies := (&http.Response{Header: a.Header}).Cookies()
	require.Len(t, cookies, 1)
	p.cookie = cookies[0]
	s.Approve("alice")
	return p
}

// decide shows the handle to a server, which decides as it was told to.
func (p *page) decide(s *oauthtest.Server) *oauthtest.Answer {
	r := httptest.NewRequest(http.MethodGet, s.Config.Issuer+"/oauth/authorize?interaction="+p.handle, nil)
	r.AddCookie(p.cookie)
	a := s.Do(r)
	_, params := a.Location()
	p.code.Code = params.Get("code")
	return a
}

// An answer is a request that is ready to be sent.
type answer = func() *oauthtest.Answer

// The table of design.md, section 1.
// remembered is an authorization request to a host that remembers consent.
func remembered(s *oauthtest.Server, before func()) answer {
	s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		ap := oauth.Approval{Subject: "alice", Scopes: in.Scopes()}
		if ok, _ := in.Remembered(r.Context(), "alice"); !ok {
			ap.Remember = time.Hour
		}
		in.Approve(w, r, ap)
	})
	before()
	return func() *oauthtest.Answer { a, _ := s.Authorize(oauthtest.WebClient, nil); return a }
}

func TestStorageBudget(t *testing.T) {
	const web, spa, machine = oauthtest.WebClient, oauthtest.SPAClient, oauthtest.MachineClient
	refreshOf := func(s *oauthtest.Server) string { return s.Redeem(s.Code(web)).String("refresh_token") }
	type row struct {
		name    string
		config  func(*oauth.Config)
		prepare func(t *testing.T, s *oauthtest.Server) answer
		want    []string
		outcome string
		asked   int64 // how often the registry
	}
	access := func(send func(*oauthtest.Server, string) *oauthtest.Answer) func(*testing.T, *oauthtest.Server) answer {
		return func(_ *testing.T, s *oauthtest.Server) answer {
			token := s.AccessToken("alice", "read")
			return func() *oauthtest.Answer { return send(s, token) }
		}
	}
	for _, c := range []row{
		{"authorize up to the decision", nil, func(t *testing.T, s *oauthtest.Server) answer {
			s.Interact(func(w http.ResponseWriter, _ *http.Request, _ *oauth.Interaction) { w.WriteHeader(200) })
			return func() *oauthtest.Answer { a, _ := s.Authorize(web, nil); return a }
		}, nil, "200", 1},
		{"authorize, the page shown again", nil, func(t *testing.T, s *oauthtest.Server) answer {
			p := open(t, s, web, nil)
			s.Interact(func(w http.ResponseWriter, _ *http.Request, _ *oauth.Interaction) { w.WriteHeader(200) })
			return func() *oauthtest.Answer { return p.decide(s) }
		}, nil, "200", 1},
		{"authorize, denied", nil, func(t *testing.T, s *oauthtest.Server) answer {
			p := open(t, s, web, nil)
			s.Deny()
			return func() *oauthtest.Answer { return p.decide(s) }
		}, nil, "303", 1},
		{"authorize, posted", nil, func(_ *testing.T, s *oauthtest.Server) answer {
			return func() *oauthtest.Answer {
				return s.Post("/oauth/authorize", spa, url.Values{"response_type": {"code"}})
			}
		}, nil, "303", -1},
		{"approve, code", nil, func(t *testing.T, s *oauthtest.Server) answer {
			p := open(t, s, web, nil)
			return func() *oauthtest.Answer { return p.decide(s) }
		}, []string{"Create"}, "303", 2},
		{"authorize, the consent is remembered", nil, func(_ *testing.T, s *oauthtest.Server) answer {
			return remembered(s, func() { s.Authorize(web, nil) })
		}, []string{"Get", "Create"}, "303", 2},
		{"approve, to be remembered", nil, func(_ *testing.T, s *oauthtest.Server) answer {
			return remembered(s, func() {})
		}, []string{"Get", "Create", "Get", "Create"}, "303", 2},
		{"approve, implicit token", implicit, func(t *testing.T, s *oauthtest.Server) answer {
			p := open(t, s, "old", url.Values{"response_type": {"token"}})
			return func() *oauthtest.Answer { return p.decide(s) }
		}, []string{"Create"}, "303", 2},
		{"approve, a second time", nil, func(t *testing.T, s *oauthtest.Server) answer {
			p := open(t, s, web, nil)
			p.decide(s)
			return func() *oauthtest.Answer { return p.decide(s) }
		}, []string{"Create", "Get", "Get"}, "303", 2},
		{"code to tokens", nil, func(_ *testing.T, s *oauthtest.Server) answer {
			code := s.Code(web)
			return func() *oauthtest.Answer { return s.Token(web, code.Form()) }
		}, []string{"Get", "Update"}, "200", -1},
		{"refresh", nil, func(_ *testing.T, s *oauthtest.Server) answer {
			token := refreshOf(s)
			return func() *oauthtest.Answer { return s.Refresh(web, token) }
		}, []string{"Get", "Update"}, "200", -1},
		{"refresh kept, the idle end moves by under an eighth", keep, func(_ *testing.T, s *oauthtest.Server) answer {
			token := refreshOf(s)
			s.Clock.Advance(30*24*time.Hour/8 - time.Second)
			return func() *oauthtest.Answer { return s.Refresh(web, token) }
		}, []string{"Get"}, "200", -1},
		{"refresh kept, the idle end moves by an eighth", keep, func(_ *testing.T, s *oauthtest.Server) answer {
			token := refreshOf(s)
			s.Clock.Advance(30 * 24 * time.Hour / 8)
			return func() *oauthtest.Answer { return s.Refresh(web, token) }
		}, []string{"Get", "Update"}, "200", -1},
		{"refresh inside the retry window", nil, func(_ *testing.T, s *oauthtest.Server) answer {
			token := refreshOf(s)
			s.Refresh(web, token)
			s.Clock.Advance(30 * time.Second)
			return func() *oauthtest.Answer { return s.Refresh(web, token) }
		}, []string{"Get"}, "200", -1},
		{"reuse: the authorization ends", nil, func(_ *testing.T, s *oauthtest.Server) answer {
			token := refreshOf(s)
			s.Refresh(web, token)
			s.Clock.Advance(31 * time.Second)
			return func() *oauthtest.Answer { return s.Refresh(web, token) }
		}, []string{"Get", "Update"}, "400 invalid_grant", -1},
		{"client_credentials", nil, func(_ *testing.T, s *oauthtest.Server) answer {
			return func() *oauthtest.Answer {
				return s.Token(machine, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}})
			}
		}, nil, "200", -1},
		{"a host's own grant", trust, func(_ *testing.T, s *oauthtest.Server) answer {
			return func() *oauthtest.Answer {
				return s.Token(web, url.Values{"grant_type": {"urn:example:trust"}, "user": {"alice"}})
			}
		}, []string{"Create"}, "200", -1},
		{"a refresh token of another server", imports, func(_ *testing.T, s *oauthtest.Server) answer {
			return func() *oauthtest.Answer { return s.Refresh(web, foreignToken) }
		}, []string{"Get", "Create"}, "200", -1},
		{"check an access token, in process", nil, access(verify), []string{"Get"}, "200", 1},
		{"check an access token, userinfo", nil, access(func(s *oauthtest.Server, token string) *oauthtest.Answer { return s.Get("/oauth/userinfo", token) }), []string{"Get"}, "200", 1},
		{"check an access token, middleware", nil, access(func(s *oauthtest.Server, token string) *oauthtest.Answer {
			r, w := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
			r.Header.Set("Authorization", "Bearer "+token)
			s.API().Require("read")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
			return &oauthtest.Answer{Status: w.Code}
		}), []string{"Get"}, "200", 1},
		{"check an access token, introspection", nil, access(func(s *oauthtest.Server, token string) *oauthtest.Answer {
			a := s.Introspect(token)
			if a.JSON["active"] != true {
				a.Status = 0
			}
			return a
		}), []string{"Get"}, "200", -1},
		{"check an access token, JWT", func(c *oauth.Config) {
			c.AccessToken = oauth.JWT{InsecureSymmetricKey: oauth.NewSecret()}
		}, access(verify), []string{"Get"}, "200", 1},
		{"check an access token without a record", nil, func(t *testing.T, s *oauthtest.Server) answer {
			token := s.ClientToken(oauthtest.MachineClient, "read")
			return func() *oauthtest.Answer { return verify(s, token) }
		}, []string{"Get"}, "200", 1},
		{"revoke a refresh token", nil, func(_ *testing.T, s *oauthtest.Server) answer {
			token := refreshOf(s)
			return func() *oauthtest.Answer { return revoke(s, web, token) }
		}, []string{"Get", "Update"}, "200", -1},
		{"revoke an access token", nil, access(func(s *oauthtest.Server, token string) *oauthtest.Answer {
			return revoke(s, spa, token)
		}), []string{"Get", "Update"}, "200", -1},
		{"revoke a token without a record", nil, func(t *testing.T, s *oauthtest.Server) answer {
			token := s.ClientToken(oauthtest.MachineClient, "read")
			return func() *oauthtest.Answer { return revoke(s, machine, token) }
		}, []string{"Create"}, "200", -1},
		{"revoke a text that is no token", nil, func(_ *testing.T, s *oauthtest.Server) answer {
			return func() *oauthtest.Answer { return revoke(s, web, "no token") }
		}, nil, "200", -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			registry := new(askedRegistry)
			s := newServer(t, func(cfg *oauth.Config) {
				if c.config != nil {
					c.config(cfg)
				}
				registry.ClientRegistry = cfg.Clients
				cfg.Clients = registry
			})
			send := c.prepare(t, s)
			s.Store.Reset()
			registry.asked.Store(0)
			a := send()
			assert.Equal(t, c.outcome, outcome(a), "%s", a.Body)
			assert.Equal(t, c.want, s.Store.Methods())
			if c.asked >= 0 {
				assert.Equal(t, c.asked, registry.asked.Load(), "the registry was asked")
			}
		})
	}
}

// "Any of these after a conflict or an error of the write: + 1 Get, and again
// from the first check."
func TestStorageBudgetAfterATroubledWrite(t *testing.T) {
	const web = oauthtest.WebClient
	redeem := func(l *lab) (send, rival answer) {
		code := l.Code(web)
		return func() *oauthtest.Answer { return l.Token(web, code.Form()) },
			func() *oauthtest.Answer { return l.twin.Token(web, code.Form()) }
	}
	refresh := func(l *lab) (send, rival answer) {
		token := l.Redeem(l.Code(web)).String("refresh_token")
		return func() *oauthtest.Answer { return l.Refresh(web, token) },
			func() *oauthtest.Answer { return l.twin.Refresh(web, token) }
	}
	revoked := func(l *lab) (send, rival answer) {
		token := l.Redeem(l.Code(web)).String("refresh_token")
		return func() *oauthtest.Answer { return revoke(l.Server, web, token) },
			func() *oauthtest.Answer { return l.twin.Refresh(web, token) }
	}
	accessRevoked := func(l *lab) (send, rival answer) {
		issued := l.Redeem(l.Code(web))
		return func() *oauthtest.Answer { return revoke(l.Server, web, issued.String("access_token")) },
			func() *oauthtest.Answer { return l.twin.Refresh(web, issued.String("refresh_token")) }
	}
	for _, c := range []struct {
		name    string
		config  func(*oauth.Config)
		prepare func(l *lab) (send, rival answer)
		lost    []string // the calls after a lost race
		outcome string
	}{
		{"code", nil, redeem, []string{"Get", "Update", "Get", "Get"}, "400 invalid_grant"},
		{"refresh", nil, refresh, []string{"Get", "Update", "Get", "Get"}, "200"},
		{"refresh under NoRetry", noRetry, refresh, []string{"Get", "Update", "Get", "Get"}, "400 invalid_grant"},
		{"revoke a refresh token", nil, revoked, []string{"Get", "Update", "Get", "Get", "Update"}, "200"},
		{"revoke an access token", nil, accessRevoked, []string{"Get", "Update", "Get", "Get", "Update"}, "200"},
	} {
		setup := func(t *testing.T) (*lab, answer, answer) {
			l := newLab(t, func(cfg *oauth.Config) {
				if c.config != nil {
					c.config(cfg)
				}
			})
			l.twin = another(t, l.Server, func(cfg *oauth.Config) { cfg.Storage = l.vault }) // not counted
			send, rival := c.prepare(l)
			l.Store.Reset()
			return l, send, rival
		}
		t.Run("lost race, "+c.name, func(t *testing.T) {
			l, send, rival := setup(t)
			l.Store.Fail(func(call oauthtest.StoreCall) oauthtest.Fault {
				if call.Method == "Update" && rival != nil {
					won := rival
					rival = nil
					require.Equal(t, 200, won().Status)
				}
				return oauthtest.NoFault
			})
			assert.Equal(t, c.outcome, outcome(send()))
			assert.Equal(t, c.lost, l.Store.Methods())
		})
		for _, f := range []struct {
			name    string
			fault   oauthtest.Fault
			outcome string
		}{
			{"failed before", oauthtest.FailBefore, "503 temporarily_unavailable"},
			{"failed after", oauthtest.FailAfter, "200"},
			{"performed twice", oauthtest.Twice, "200"},
		} {
			t.Run("write "+f.name+", "+c.name, func(t *testing.T) {
				l, send, _ := setup(t)
				l.Store.Fail(writes(f.fault))
				assert.Equal(t, f.outcome, outcome(send()))
				assert.Equal(t, []string{"Get", "Update", "Get"}, l.Store.Methods())
			})
		}
	}
}

// A wordyStore wraps its sentinels twice.
type wordyStore struct{ *vault }

func wordy(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store: %w", fmt.Errorf("row: %w", err))
}

func (s wordyStore) Create(ctx context.Context, r oauth.Record) error {
	return wordy(s.vault.Create(ctx, r))
}
func (s wordyStore) Update(ctx context.Context, r oauth.Record) error {
	return wordy(s.vault.Update(ctx, r))
}
func (s wordyStore) Get(ctx context.Context, id string) (oauth.Record, error) {
	r, err := s.vault.Get(ctx, id)
	return r, wordy(err)
}

func TestSentinelsMayBeWrapped(t *testing.T) {
	const web = oauthtest.WebClient
	var v *vault
	s := newServer(t, func(c *oauth.Config) {
		v = newVault(t, c.Now)
		c.Storage = wordyStore{v}
	})
	t.Run("S336 not found", func(t *testing.T) {
		code, issued := s.Code(web), s.Redeem(s.Code(web))
		v.load(t)
		assert.Equal(t, "400 invalid_grant", outcome(s.Token(web, code.Form())))
		assert.Equal(t, "400 invalid_grant", outcome(s.Refresh(web, issued.String("refresh_token"))))
		assert.Equal(t, "401 invalid_token", outcome(s.Get("/oauth/userinfo", issued.String("access_token"))))
		assert.Equal(t, false, s.Introspect(issued.String("access_token")).JSON["active"])
		for _, token := range []string{issued.String("access_token"), issued.String("refresh_token")} {
			assert.Equal(t, 200, revoke(s, web, token).Status)
		}
		l := &lab{Server: s, twin: s, vault: v}
		l.lives(t, s.ClientToken(oauthtest.MachineClient, "read"))
	})
	t.Run("S336 exists and conflict", func(t *testing.T) {
		p := open(t, s, web, nil)
		require.Equal(t, "303 code", result(p.decide(s)))
		first := p.code.Code
		require.Equal(t, "303 code", result(p.decide(s)))
		require.Equal(t, first, p.code.Code)
		token := s.Redeem(p.code).String("refresh_token")
		answers := volley(8, func(int) *oauthtest.Answer { return s.Refresh(web, token) })
		require.Equal(t, map[string]int{"200": 8}, tally(answers))
	})
	require.Empty(t, s.Events(oauth.EventStorageFailed))
}

func TestDeleteExpiredReportsItsFailure(t *testing.T) {
	s := newServer(t)
	s.Redeem(s.Code(oauthtest.WebClient))
	s.Store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
	_, err := s.DeleteExpired(t.Context(), 10)
	assert.ErrorIs(t, err, oauthtest.ErrFault)
	s.Store.Fail(nil)
	s.Clock.Advance(365 * 24 * time.Hour)
	n, err := s.DeleteExpired(t.Context(), 10)
	assert.NoError(t, err)
	wantSwept(t, 1, n)
}

// S338: a commit has a deadline, which it shares with others, and is otherwise its
// request's: the request's values reach the store, its end does not.
func TestCommitDeadline(t *testing.T) {
	type key struct{}
	l := newLab(t)
	token := l.Redeem(l.Code(oauthtest.WebClient)).String("refresh_token")
	var end time.Time
	var hangUp context.CancelFunc
	watched := newServer(t, func(c *oauth.Config) {
		*c = l.Config
		c.Storage = telling{l.Store, func(ctx context.Context) {
			hangUp()
			end, _ = ctx.Deadline()
			assert.Equal(t, "of the request", ctx.Value(key{}))
			assert.NoError(t, ctx.Err(), "the request has ended, the commit has not")
			assert.NoError(t, context.Cause(ctx), "and is not made from it")
			select { // drivers do
			case <-ctx.Done():
				assert.Fail(t, "the commit has ended")
			default:
			}
		}}
	})
	refresh := func() {
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "of the request"))
		defer cancel()
		hangUp = cancel
		r := httptest.NewRequest(http.MethodPost, oauthtest.Issuer+"/oauth/token",
			strings.NewReader(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(oauthtest.WebClient, oauthtest.Secret)
		a := watched.Do(r.WithContext(ctx))
		require.Equal(t, 200, a.Status, "%s", a.Body)
		token = a.String("refresh_token")
	}
	shared := func() bool {
		before := end
		refresh()
		return end.Equal(before)
	}
	for n := 0; !shared(); n++ { // a busy machine may take longer than they are shared for
		require.Less(t, n, 20, "each has a timer of its own")
	}
	for range 2 { // where it is another time, and the same one twice
		synctest.Test(t, func(t *testing.T) {
			for range 2 {
				refresh()
				assert.Equal(t, 5*time.Second, time.Until(end))
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	refresh()
	require.Positive(t, time.Until(end), "it is the other clock's")
}

// A telling store tells the context of every Update.
type telling struct {
	oauth.Storage
	update func(context.Context)
}

func (s telling) Update(ctx context.Context, r oauth.Record) error {
	s.update(ctx)
	return s.Storage.Update(ctx, r)
}

// S338: a store that blocks. The time is that of synctest.
func TestStoreBlocks(t *testing.T) {
	const web = oauthtest.WebClient
	request := func(ctx context.Context, form url.Values) *http.Request {
		r := httptest.NewRequest(http.MethodPost, oauthtest.Issuer+"/oauth/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(web, oauthtest.Secret)
		return r.WithContext(ctx)
	}
	// blocks lets the calls from the n-th on take that long.
	blocks := func(s *oauthtest.Server, n int, d time.Duration) {
		s.Store.Reset()
		s.Store.Delay(func() time.Duration {
			if len(s.Store.Calls()) < n {
				return 0
			}
			return d
		})
	}
	for _, c := range []struct {
		name    string
		from    int           // the call that blocks, 1 is the Get and 2 the Update
		block   time.Duration // for how long
		takes   time.Duration // until the answer
		outcome string
		written bool
	}{
		{"S338 before the commit: the handler ends with its request", 1, 30 * time.Second, time.Second, "503 temporarily_unavailable", false},
		{"S338 in the commit: it ends at its own deadline", 2, 30 * time.Second, 7 * time.Second, "503 temporarily_unavailable", false},
		{"S344 in the commit, for less than its deadline: it is completed", 2, 3 * time.Second, 3 * time.Second, "200", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				token := l.Redeem(l.Code(web)).String("refresh_token")
				before := l.vault.record(t)
				blocks(l.Server, c.from, c.block)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second) // then the client hangs up
				defer cancel()
				start := time.Now()
				a := l.Do(request(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}))
				assert.Equal(t, c.takes, time.Since(start))
				assert.Equal(t, c.outcome, outcome(a))
				l.Store.Delay(nil)
				if c.written {
					assert.Equal(t, before.Version+1, l.vault.record(t).Version)
				} else {
					assert.Equal(t, before, l.vault.record(t))
				}
				again := l.Refresh(web, token)
				assert.Equal(t, 200, again.Status, "whatever the client saw, it can send it again")
				l.lives(t, again.String("access_token"))
			})
		})
	}
}
