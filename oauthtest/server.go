package oauthtest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/pages"
)

// The clients of a [Server] that was not told otherwise.
const (
	WebClient     = "web"     // confidential, with Secret, redirects to Callback
	SPAClient     = "spa"     // public, redirects to Callback
	MachineClient = "machine" // confidential, with Secret, client_credentials alone
	APIClient     = "api"     // confidential, with Secret, may introspect: tokens for the server itself (see oauth.Client)
	Secret        = "correct-horse-battery-staple-of-tests"
	Callback      = "https://client.example/callback"
	Issuer        = "https://as.example"
)

// A Server is the real library, strict, on a store in memory or on another that an
// edit chose. It serves without sockets: it is an [http.Handler], an
// [http.RoundTripper], and has methods that send the usual requests. One that was made
// by [NewHTTPServer] or [NewTLSServer] listens as well.
//
// Methods that take no testing.TB fail the test that the Server was made for. All of
// them may be called at the same time by parallel subtests, where they do not say that
// they change what happens from now on.
type Server struct {
	*oauth.Server
	Config oauth.Config
	Clock  *Clock
	Store  *Faulty // what Config.Storage is: every call goes through it
	// Handler answers all requests: the authorization server alone, until it is set to
	// the handler of a whole host that mounts it. Set it before the first request.
	Handler http.Handler
	// App is the client that [Server.AccessToken], [Server.RefreshToken] and a
	// [TokenSource] get their tokens as. NewServer sets SPAClient; where an edit replaced
	// Clients, set it to one of those.
	App string
	// HTTP listens at the Issuer; nil where nothing does.
	HTTP *httptest.Server

	t      testing.TB
	known  credentials
	mu     sync.Mutex
	events []oauth.Event
	sent   []Request
	fails  map[string][]error // by endpoint, the next first
	decide decision           // nil: Config.Interact as it was made
	down   bool
}

// A decision is what becomes of an authorization request.
type decision = func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction)

// NewServer makes a server for one test. It has the clients and the scopes "read" and
// "write" of this package, and approves every request as "alice"; the edits change its
// Config before it is made. One that sets Storage chooses the store: it is wrapped as
// the Server's Store, unless it is a [Faulty] already, which then is that Store. One
// that sets Interact brings pages of its own, which are asked until Approve, Deny, Fail
// or Interact is called.
func NewServer(t testing.TB, edits ...func(*oauth.Config)) *Server {
	t.Helper()
	return newServer(t, nil, Issuer, edits)
}

// NewHTTPServer is NewServer on a free port of this machine, with http: the URL is the
// Issuer, which the edits find in their Config and must keep, but for a path below it.
// It is closed when the test ends.
func NewHTTPServer(t testing.TB, edits ...func(*oauth.Config)) *Server {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	t.Cleanup(web.Close)
	s := newServer(t, web, "http://"+web.Listener.Addr().String(), edits)
	web.Start()
	return s
}

// NewTLSServer is [NewHTTPServer] with https. [Server.Client] trusts its certificate,
// which is HTTP.Certificate.
func NewTLSServer(t testing.TB, edits ...func(*oauth.Config)) *Server {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	t.Cleanup(web.Close)
	s := newServer(t, web, "https://"+web.Listener.Addr().String(), edits)
	web.StartTLS()
	return s
}

// newServer makes a server whose Issuer is that or, without sockets, what an edit says.
func newServer(t testing.TB, web *httptest.Server, issuer string, edits []func(*oauth.Config)) *Server {
	t.Helper()
	s := &Server{t: t, Clock: NewClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)), Store: NewFaulty(memstore.New()), App: SPAClient, HTTP: web}
	s.Config = s.config(issuer)
	for _, edit := range edits {
		edit(&s.Config)
	}
	switch store := s.Config.Storage.(type) {
	case nil: // for New to refuse
	case *Faulty:
		s.Store = store
	default:
		s.Store = NewFaulty(store)
		s.Config.Storage = s.Store
	}
	if own := s.Config.Interact; own != nil {
		s.Config.Interact = func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) { s.decision(r, own)(w, r, in) }
	}
	s.Config.Guards = append(s.Config.Guards[:len(s.Config.Guards):len(s.Config.Guards)], s.failNow)
	if web != nil && s.Config.Issuer != issuer && !strings.HasPrefix(s.Config.Issuer, issuer+"/") {
		t.Fatalf("oauthtest: an edit made the Issuer %s, and the server listens at %s", s.Config.Issuer, issuer)
	}
	var err error
	if s.Server, err = oauth.New(s.Config); err != nil {
		t.Fatalf("oauthtest.NewServer: %v", err)
	}
	s.Handler = s.Server.Handler()
	if web != nil {
		web.Config.Handler = http.HandlerFunc(s.serveSocket)
	}
	return s
}

// config is the Config before the edits.
func (s *Server) config(issuer string) oauth.Config {
	hash := []string{oauth.HashSecret(Secret)}
	scopes := []string{"read", "write"}
	return oauth.Config{
		Issuer:  issuer,
		Storage: s.Store,
		Clients: oauth.StaticClients(
			oauth.Client{ID: WebClient, Name: "Web Client", Secrets: hash, RedirectURIs: []string{Callback}, Scopes: scopes},
			oauth.Client{ID: SPAClient, Name: "Browser Client", Public: true, RedirectURIs: []string{Callback}, Scopes: scopes},
			oauth.Client{ID: MachineClient, Secrets: hash, Grants: []string{"client_credentials"}, Scopes: scopes},
			oauth.Client{ID: APIClient, Secrets: hash, Grants: []string{}, Introspect: true},
		),
		Grants:  []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}, grants.ClientCredentials{}},
		Secrets: [][]byte{oauth.NewSecret()},
		Scopes: []oauth.Scope{{Name: "read", Description: "Read your things"},
			{Name: "write", Description: "Change your things"}},
		Interact: approve("alice"),
		Events: func(_ context.Context, e oauth.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		},
		Now: s.Clock.Now,
	}
}

// Pages is an edit for [NewServer]: users meet the login and consent pages of package
// pages, and a [Browser] takes the steps. Any name can sign in, with Secret as the
// password, and is the subject.
func Pages(c *oauth.Config) {
	p, err := pages.New(pages.Config{Issuer: c.Issuer, Realm: c.Realm, Secrets: c.Secrets, Login: func(_ context.Context, name, password string) (*pages.User, error) {
		if password != Secret {
			return nil, nil
		}
		return &pages.User{Subject: name}, nil
	}})
	if err != nil {
		panic(fmt.Errorf("oauthtest.Pages: %w", err)) // another edit made Issuer or Secrets what New would refuse
	}
	c.Interact = p.Interact
}

// decision is what becomes of this request: what the kit's own request says, what the
// test has said, or else what the Config says.
func (s *Server) decision(r *http.Request, own decision) decision {
	if d, ok := r.Context().Value(decisionKey{}).(decision); ok {
		return d
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.decide != nil {
		return s.decide
	}
	return own
}

type decisionKey struct{}

// Interact sets what happens to authorization requests from now on. nil: what the
// Config said when the server was made.
func (s *Server) Interact(decide func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide = decide
}

// Approve lets every request from now on be approved as this subject: with the scopes
// given, of those that were asked for, or with all of these.
func (s *Server) Approve(subject string, scopes ...string) { s.Interact(approve(subject, scopes...)) }

func approve(subject string, scopes ...string) decision {
	return func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		granted := in.Scopes()
		if len(scopes) > 0 {
			granted = scopes
		}
		in.Approve(w, r, oauth.Approval{Subject: subject, Scopes: granted})
	}
}

// Deny lets every request from now on be denied by the user.
func (s *Server) Deny() { s.Fail(oauth.AccessDenied) }

// Fail lets every authorization request from now on end with this error, an ErrorCode
// or an *Error, which the client is told at its redirect URI.
func (s *Server) Fail(err error) {
	s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) { in.Deny(w, r, err) })
}
