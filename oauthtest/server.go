package oauthtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/memstore"
)

// The clients of a [Server] that was not told otherwise.
const (
	WebClient     = "web"     // confidential, with Secret, redirects to Callback
	SPAClient     = "spa"     // public, redirects to Callback
	MachineClient = "machine" // confidential, with Secret, client_credentials alone
	APIClient     = "api"     // confidential, with Secret, may introspect
	Secret        = "correct-horse-battery-staple-of-tests"
	Callback      = "https://client.example/callback"
	Issuer        = "https://as.example"
)

// A Server is the real library, strict and without sockets, on a store in memory or
// on another that an edit chose.
type Server struct {
	*oauth.Server
	Config  oauth.Config
	Clock   *Clock
	Store   *Faulty // what Config.Storage is: every call goes through it
	Handler http.Handler

	t      testing.TB
	mu     sync.Mutex
	events []oauth.Event
	decide func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction)
	down   bool // of RoundTrip
}

// NewServer starts a server for one test. It has the clients and the scopes
// "read" and "write" of this package, and approves every request as "alice"; the
// edits change its Config before it is made. One that sets Storage chooses the store:
// it is wrapped as the Server's Store, unless it is a [Faulty] already, which then is
// that Store.
func NewServer(t testing.TB, edits ...func(*oauth.Config)) *Server {
	t.Helper()
	s := &Server{t: t, Clock: NewClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)), Store: NewFaulty(memstore.New())}
	s.Approve("alice")
	hash := []string{oauth.HashSecret(Secret)}
	scopes := []string{"read", "write"}
	s.Config = oauth.Config{
		Issuer:  Issuer,
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
		Interact: func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			s.mu.Lock()
			decide := s.decide
			s.mu.Unlock()
			decide(w, r, in)
		},
		Events: func(_ context.Context, e oauth.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		},
		Now: s.Clock.Now,
	}
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
	var err error
	if s.Server, err = oauth.New(s.Config); err != nil {
		t.Fatalf("oauthtest.NewServer: %v", err)
	}
	s.Handler = s.Server.Handler()
	return s
}

// Interact sets what happens to authorization requests from now on.
func (s *Server) Interact(decide func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide = decide
}

// Approve lets every request be approved as this subject: with the scopes given,
// or all that were asked for.
func (s *Server) Approve(subject string, scopes ...string) {
	s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		granted := in.Scopes()
		if len(scopes) > 0 {
			granted = scopes
		}
		in.Approve(w, r, oauth.Approval{Subject: subject, Scopes: granted})
	})
}

// Deny lets every request be denied.
func (s *Server) Deny() {
	s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) { in.Deny(w, r, oauth.AccessDenied) })
}

// Events are those so far, of the types given or of all.
func (s *Server) Events(types ...oauth.EventType) []oauth.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(types) == 0 {
		return slices.Clone(s.events)
	}
	return slices.DeleteFunc(slices.Clone(s.events), func(e oauth.Event) bool { return !slices.Contains(types, e.Type) })
}

// An Answer is a response whose body was read.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	JSON   map[string]any // nil if the body is no JSON object
}

// String returns a member of the JSON body that is a string, or "".
func (a *Answer) String(member string) string {
	text, _ := a.JSON[member].(string)
	return text
}

// Location is the target of a redirect, its parameters taken from the query or
// the fragment; empty if there is none.
func (a *Answer) Location() (uri string, params url.Values) {
	uri, text, found := strings.Cut(a.Header.Get("Location"), "#")
	if !found {
		uri, text, _ = strings.Cut(uri, "?")
	}
	params, err := url.ParseQuery(text)
	if err != nil {
		return "", url.Values{}
	}
	return uri, params
}

// Do serves a request without a socket.
func (s *Server) Do(r *http.Request) *Answer {
	rec := httptest.NewRecorder()
	s.Handler.ServeHTTP(rec, r)
	a := &Answer{Status: rec.Code, Header: rec.Result().Header, Body: rec.Body.Bytes()}
	if json.Unmarshal(a.Body, &a.JSON) != nil {
		a.JSON = nil
	}
	return a
}

// Post posts a form to a path. A client that is not public authenticates by
// Basic with Secret; for a public one client_id is added to the form; "" is no client.
func (s *Server) Post(path, client string, form url.Values) *Answer {
	if form = maps.Clone(form); form == nil {
		form = url.Values{}
	}
	var basic bool
	if client != "" {
		c, err := s.Config.Clients.Client(context.Background(), client)
		basic = err == nil && !c.Public
	}
	if client != "" && !basic {
		form.Set("client_id", client)
	}
	r := httptest.NewRequest(http.MethodPost, s.Config.Issuer+path, bytes.NewBufferString(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if basic {
		r.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(Secret))
	}
	return s.Do(r)
}

// Token posts a form to the token endpoint.
func (s *Server) Token(client string, form url.Values) *Answer {
	return s.Post("/oauth/token", client, form)
}

// Refresh posts a refresh token to the token endpoint.
func (s *Server) Refresh(client, token string) *Answer {
	return s.Token(client, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// Introspect asks about a token as [APIClient].
func (s *Server) Introspect(token string) *Answer {
	return s.Post("/oauth/introspect", APIClient, url.Values{"token": {token}})
}

// A Code is an authorization code with what is needed to redeem it.
type Code struct{ Client, Code, RedirectURI, Verifier string }

// Form is the token request that redeems the code.
func (c Code) Form() url.Values {
	f := url.Values{"grant_type": {"authorization_code"}, "code": {c.Code}, "redirect_uri": {c.RedirectURI}}
	if c.Verifier != "" {
		f.Set("code_verifier", c.Verifier)
	}
	return f
}

// Authorize sends an authorization request with the parameters of a good one, in
// a browser of its own; those given replace them, an empty value leaves one out.
func (s *Server) Authorize(client string, change url.Values) (*Answer, Code) {
	code := Code{Client: client, RedirectURI: Callback, Verifier: rand.Text() + rand.Text()}
	sum := sha256.Sum256([]byte(code.Verifier))
	q := url.Values{"response_type": {"code"}, "client_id": {client}, "redirect_uri": {Callback}, "scope": {"read write"},
		"state": {"xyz"}, "code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}}
	for name, values := range change {
		q[name] = values
		if len(values) == 1 && values[0] == "" {
			q.Del(name)
		}
	}
	if !q.Has("code_challenge") {
		code.Verifier = ""
	}
	a := s.Do(httptest.NewRequest(http.MethodGet, s.Config.Issuer+"/oauth/authorize?"+q.Encode(), nil))
	_, params := a.Location()
	code.Code = params.Get("code")
	return a, code
}

// Code is an approved code for the client. The test fails if there is none.
func (s *Server) Code(client string, scopes ...string) Code {
	s.t.Helper()
	change := url.Values{}
	if len(scopes) > 0 {
		change.Set("scope", strings.Join(scopes, " "))
	}
	a, code := s.Authorize(client, change)
	if code.Code == "" {
		s.t.Fatalf("oauthtest: no code: %d %s %s", a.Status, a.Header.Get("Location"), a.Body)
	}
	return code
}

// Redeem exchanges a code. The test fails if the answer is not 200.
func (s *Server) Redeem(c Code) *Answer {
	s.t.Helper()
	a := s.Token(c.Client, c.Form())
	if a.Status != http.StatusOK {
		s.t.Fatalf("oauthtest: code not redeemed: %d %s", a.Status, a.Body)
	}
	return a
}

// AccessToken is a live access token of this subject, issued to [SPAClient] by a
// whole code flow.
func (s *Server) AccessToken(subject string, scopes ...string) string {
	s.t.Helper()
	s.mu.Lock()
	before := s.decide
	s.mu.Unlock()
	s.Approve(subject)
	defer s.Interact(before)
	return s.Redeem(s.Code(SPAClient, scopes...)).String("access_token")
}
