package oauthtest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/grantwell/oauth/resource"
)

// ServeHTTP implements [http.Handler]: Handler answers, and [Server.Requests] has the
// request. A server that listens somewhere is made by [NewHTTPServer], for the Issuer has
// to be where it listens.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seen := &exchange{ResponseWriter: w, body: r.Body}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = seen
	}
	query := r.URL.Query()
	defer func() {
		q := Request{Method: r.Method, Path: r.URL.Path, Query: query, Header: r.Header.Clone()}
		if mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); mediaType == "application/x-www-form-urlencoded" {
			q.Form, _ = url.ParseQuery(string(seen.sent)) // of a body that is no form, what can be read
		}
		s.known.note(q, seen)
		if r.Context().Value(ownKey{}) == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.sent = append(s.sent, q)
		}
	}()
	s.Handler.ServeHTTP(seen, r)
}

// serveSocket answers a request that came by the socket.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	if s.isDown() {
		panic(http.ErrAbortHandler) // the connection breaks
	}
	s.ServeHTTP(w, r)
}

// Requests are what was sent to the server by its ServeHTTP and RoundTrip and its
// socket so far: what a client under test has sent. Those of the Server's own methods
// and of a [Browser] are not among them.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.sent...)
}

// ownKey marks requests of the kit itself.
type ownKey struct{}

// maxSeen is how much of a body an exchange keeps, in bytes.
const maxSeen = 64 << 10

// An exchange is a request and its answer as they pass by.
type exchange struct {
	http.ResponseWriter
	body   io.ReadCloser
	sent   []byte // as far as the handler has read it
	status int
	answer []byte
}

// Read is that of the request's body.
func (e *exchange) Read(b []byte) (int, error) {
	n, err := e.body.Read(b)
	e.sent = append(e.sent, b[:min(n, maxSeen-len(e.sent))]...)
	return n, err
}

// Close is that of the request's body.
func (e *exchange) Close() error { return e.body.Close() }

// WriteHeader implements [http.ResponseWriter].
func (e *exchange) WriteHeader(status int) {
	if e.status == 0 {
		e.status = status
	}
	e.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (e *exchange) Write(b []byte) (int, error) {
	if e.status == 0 {
		e.status = http.StatusOK
	}
	e.answer = append(e.answer, b[:min(len(b), maxSeen-len(e.answer))]...)
	return e.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// Do serves a request of the test's own without a socket.
func (s *Server) Do(r *http.Request) *Answer {
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), ownKey{}, true)))
	return s.answer(r, rec.Result())
}

// answer reads a response that a recorder made.
func (s *Server) answer(r *http.Request, res *http.Response) *Answer {
	a := &Answer{Status: res.StatusCode, Header: res.Header, request: r.Method + " " + r.URL.Path, known: &s.known}
	a.Body, _ = io.ReadAll(res.Body) // a recorder's, which cannot fail
	if json.Unmarshal(a.Body, &a.JSON) != nil {
		a.JSON = nil
	}
	return a
}

// Get asks for a path below the Issuer, as the bearer of the token where that is not "".
// A host's own routes answer where Handler is the host.
func (s *Server) Get(path, token string) *Answer {
	r := httptest.NewRequest(http.MethodGet, s.Config.Issuer+path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return s.Do(r)
}

// Client is an HTTP client for a program under test. Its requests go to the server, in
// process or by its socket, with the access token as bearer; "" for none.
func (s *Server) Client(token string) *http.Client {
	var transport http.RoundTripper = s
	if s.HTTP != nil {
		transport = s.HTTP.Client().Transport
	}
	if token != "" {
		transport = bearer{transport, token}
	}
	return &http.Client{Transport: transport}
}

// bearer adds a token to requests.
type bearer struct {
	to    http.RoundTripper
	token string
}

// RoundTrip implements [http.RoundTripper].
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.to.RoundTrip(r)
}

// FailNext refuses the next request to an endpoint with this error, before anything
// else happens, the way the library answers an outage or a limit: an ErrorCode, such as
// TemporarilyUnavailable, or an *Error with a Status and RetryAfter. The endpoint is as
// in [oauth.Error].Endpoint: "token", "authorize", "jwks"; "api" is a resource that
// [oauth.Server.API] protects. Called twice, the next two requests fail.
func (s *Server) FailNext(endpoint string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails == nil {
		s.fails = map[string][]error{}
	}
	s.fails[endpoint] = append(s.fails[endpoint], err)
}

// failNow is the last of the server's guards.
func (s *Server) failNow(_ context.Context, c *resource.Call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.fails[c.Endpoint]
	if len(next) == 0 {
		return nil
	}
	s.fails[c.Endpoint] = next[1:]
	return next[0]
}

func (s *Server) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// endpoint is the URL of an endpoint, whose path is that where the Config has none.
func (s *Server) endpoint(set, path string) string {
	switch {
	case strings.Contains(set, "://"):
		return set
	case set != "":
		path = set
	}
	return s.Config.Issuer + path
}

// post posts a form to a URL.
func (s *Server) post(ctx context.Context, to, client string, form url.Values) *Answer {
	values := url.Values{}
	for name, v := range form {
		values[name] = v
	}
	confidential := false
	if client != "" {
		c, err := s.Config.Clients.Client(context.Background(), client)
		if confidential = err == nil && !c.Public; !confidential {
			values.Set("client_id", client)
		}
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if confidential {
		r.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(Secret))
	}
	return s.Do(r)
}

// Post posts a form to a path below the Issuer. A client that is not public authenticates by
// Basic with Secret; for a public one client_id is added to the form; "" is no client.
func (s *Server) Post(path, client string, form url.Values) *Answer {
	return s.post(context.Background(), s.Config.Issuer+path, client, form)
}

// Token posts a form to the token endpoint.
func (s *Server) Token(client string, form url.Values) *Answer {
	return s.post(context.Background(), s.endpoint(s.Config.Endpoints.Token, "/oauth/token"), client, form)
}

// Refresh posts a refresh token to the token endpoint.
func (s *Server) Refresh(client, token string) *Answer {
	return s.Token(client, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// Introspect asks about a token as [APIClient].
func (s *Server) Introspect(token string) *Answer {
	return s.post(context.Background(), s.endpoint(s.Config.Endpoints.Introspect, "/oauth/introspect"), APIClient, url.Values{"token": {token}})
}
