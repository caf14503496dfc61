package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/internal/jose"
	"github.com/grantwell/oauth/resource"
)

// A Server is an authorization server. It keeps no state of its own: any number
// of processes with the same Config serve as one.
type Server struct {
	cfg             Config
	ring            *derive.Ring
	log             *slog.Logger
	scopes          scopes
	secrets         *secretChecker
	keySets         *keySets // of clients
	completed       *completedKeys
	deadline        *deadline                   // of commits
	tokenGrants     map[string]TokenGrant       // by grant type
	authorizeGrants map[string][]AuthorizeGrant // by response type, its words sorted
	staticKeys      []jose.Key                  // nil where the KeySource is the host's
	formats         []Format                    // of access tokens, that of Config first
	refreshOpaque   Opaque
	endpoints       map[string]endpoint // those that are served, by name
	metadata        []byte
	jwks            []byte // nil where the KeySource is the host's
	api             *resource.API
}

// An endpoint is where one handler is.
type endpoint struct {
	url  string // as published
	path string // to mount it at
}

// New checks the Config and makes a Server of it. The error names every field
// that is wrong.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, log: cfg.Logger, completed: &completedKeys{}, deadline: &deadline{}}
	if s.cfg.Now == nil {
		s.cfg.Now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.own()
	if s.cfg.HandleLifetime == 0 {
		s.cfg.HandleLifetime = defaultHandle
	}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("oauth: Config."+format, args...))
	}
	s.checkRequired(fault)
	s.checkScopes(fault)
	s.checkGrants(fault)
	s.checkKeys(fault)
	s.checkFormats(fault)
	s.checkResources(fault)
	s.checkACR(fault)
	s.checkEndpoints(fault)
	s.checkDecoder(fault)
	s.checkClients(fault)
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.cfg.Secrets = nil // the ring has what it needs of them
	s.secrets = newSecretChecker(cfg.Clients)
	s.keySets = newKeySets(s.cfg.Transport, s.cfg.Now)
	var err error
	if s.metadata, err = s.renderMetadata(); err != nil {
		return nil, err
	}
	if s.staticKeys != nil {
		if s.jwks, err = jose.JWKS(s.staticKeys); err != nil {
			return nil, err
		}
	}
	s.api = s.newAPI()
	return s, nil
}

// own makes what the Config points to the server's own: what the host does with it
// afterwards changes nothing.
func (s *Server) own() {
	c := &s.cfg
	c.Guards, c.Scopes, c.ACRValues = slices.Clone(c.Guards), slices.Clone(c.Scopes), slices.Clone(c.ACRValues)
	c.Resources, c.OtherFormats = slices.Clone(c.Resources), slices.Clone(c.OtherFormats)
	c.AccessToken = ownFormat(c.AccessToken)
	for i, f := range c.OtherFormats {
		c.OtherFormats[i] = ownFormat(f)
	}
	for i := range c.Resources {
		r := &c.Resources[i]
		r.Scopes, r.AccessToken = slices.Clone(r.Scopes), ownFormat(r.AccessToken)
	}
}

// String names the issuer and nothing secret, and so do GoString and LogValue.
func (s *Server) String() string { return fmt.Sprintf("oauth.Server(%q)", s.cfg.Issuer) }

// GoString is String, for the format %#v.
func (s *Server) GoString() string { return s.String() }

// LogValue implements [slog.LogValuer].
func (s *Server) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (s *Server) now() time.Time { return s.cfg.Now() }

// The names of the endpoints, as in [Error].Endpoint.
const (
	nameAuthorize  = "authorize"
	nameToken      = "token"
	nameRevoke     = "revoke"
	nameIntrospect = "introspect"
	nameUserInfo   = "userinfo"
	nameMetadata   = "metadata"
	nameJWKS       = "jwks"
)

// Handler serves all endpoints at the paths that the metadata names, and the
// metadata at the root. Mount it at "/", or the single handlers wherever they
// belong: see [Server.Routes].
func (s *Server) Handler() http.Handler {
	routes := s.Routes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := routes[r.URL.Path]; h != nil {
			h.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})
}

// Routes lists the path of each endpoint that is served, with its handler. The
// metadata is at the root even if the issuer has a path (RFC 8414, section 3.1).
func (s *Server) Routes() map[string]http.Handler {
	all := map[string]http.Handler{
		nameAuthorize: s.AuthorizeHandler(), nameToken: s.TokenHandler(), nameRevoke: s.RevokeHandler(),
		nameIntrospect: s.IntrospectHandler(), nameUserInfo: s.UserInfoHandler(),
		nameMetadata: s.MetadataHandler(), nameJWKS: s.JWKSHandler(),
	}
	routes := make(map[string]http.Handler, len(s.endpoints))
	for name, e := range s.endpoints {
		routes[e.path] = all[name]
	}
	return routes
}

// AuthorizeHandler is the authorization endpoint (RFC 6749, section 3.1). No
// handler looks at the path of a request.
func (s *Server) AuthorizeHandler() http.Handler {
	return s.handler(nameAuthorize, false, s.serveAuthorize, http.MethodGet, http.MethodPost)
}

// TokenHandler is the token endpoint (RFC 6749, section 3.2).
func (s *Server) TokenHandler() http.Handler {
	return s.handler(nameToken, true, s.serveToken, http.MethodPost)
}

// RevokeHandler is the revocation endpoint (RFC 7009).
func (s *Server) RevokeHandler() http.Handler {
	return s.handler(nameRevoke, true, s.serveRevoke, http.MethodPost)
}

// IntrospectHandler is the introspection endpoint (RFC 7662).
func (s *Server) IntrospectHandler() http.Handler {
	return s.handler(nameIntrospect, false, s.serveIntrospect, http.MethodPost)
}

// UserInfoHandler is the userinfo endpoint (OpenID Connect Core, section 5.3).
func (s *Server) UserInfoHandler() http.Handler {
	return s.handler(nameUserInfo, true, s.serveUserInfo, http.MethodGet, http.MethodPost)
}

// MetadataHandler serves the server's metadata (RFC 8414).
func (s *Server) MetadataHandler() http.Handler {
	return s.handler(nameMetadata, true, s.serveMetadata, http.MethodGet)
}

// JWKSHandler serves the public keys (RFC 7517).
func (s *Server) JWKSHandler() http.Handler {
	return s.handler(nameJWKS, true, s.serveJWKS, http.MethodGet)
}

// handler is what all endpoints share: methods, CORS, refusals and panics.
func (s *Server) handler(name string, cors bool, serve func(http.ResponseWriter, *http.Request) *refusal, methods ...string) http.Handler {
	if name != nameAuthorize && slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead) // not where a GET may be approved at once
	}
	_, served := s.endpoints[name]
	allow := strings.Join(methods, ", ")
	return http.HandlerFunc(func(plain http.ResponseWriter, r *http.Request) {
		w := &answer{ResponseWriter: plain}
		if !served {
			http.NotFound(w, r)
			return
		}
		if cors {
			s.allowOrigin(w, r)
		}
		defer s.recovered(w, r, name)
		switch {
		case cors && r.Method == http.MethodOptions:
			s.preflight(w, allow)
		case !slices.Contains(methods, r.Method):
			w.Header().Set("Allow", allow)
			e := refuse(InvalidRequest, "The method is not allowed here")
			e.Status = http.StatusMethodNotAllowed
			if err := s.guard(w, r, name, ""); err != nil {
				e = err
			}
			s.refused(w, r, name, &refusal{Error: e})
		default:
			if no := serve(w, r); no != nil {
				s.refused(w, r, name, no)
			}
		}
	})
}

// recovered answers a panic in a hook, a store or this library with a 500. What
// the panic said stays out of the log, for it may be a credential; where it
// happened does not.
func (s *Server) recovered(w *answer, r *http.Request, name string) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	s.log.ErrorContext(r.Context(), "oauth: panic", "endpoint", name, "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
	if w.begun {
		panic(http.ErrAbortHandler) // half an answer is cut off, not continued
	}
	s.refused(w, r, name, &refusal{Error: broken(fmt.Errorf("panic: %T", v))})
}

// An answer knows whether it was begun.
type answer struct {
	http.ResponseWriter
	begun bool
}

func (a *answer) WriteHeader(status int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// allowOrigin lets a browser's script read the answer, errors included.
func (s *Server) allowOrigin(w http.ResponseWriter, r *http.Request) {
	h, origin := w.Header(), r.Header.Get("Origin")
	if s.cfg.Origins == nil {
		origin = "*"
	} else {
		h.Add("Vary", "Origin")
		if origin == "" || !s.cfg.Origins(origin) {
			return
		}
	}
	values := []string{origin, "WWW-Authenticate, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"}
	h["Access-Control-Allow-Origin"], h["Access-Control-Expose-Headers"] = values[0:1:1], values[1:2:2]
}

func (s *Server) preflight(w http.ResponseWriter, allow string) {
	h := w.Header()
	if h.Get("Access-Control-Allow-Origin") != "" {
		names := "Authorization, Content-Type"
		for _, f := range s.cfg.Decode.from.Headers {
			names += ", " + f.Name
		}
		h.Set("Access-Control-Allow-Methods", allow)
		h.Set("Access-Control-Allow-Headers", names)
		h.Set("Access-Control-Max-Age", "3600")
	}
	w.WriteHeader(http.StatusNoContent)
}

// refused tells of a refusal and writes it.
func (s *Server) refused(w http.ResponseWriter, r *http.Request, name string, no *refusal) {
	no.Error = s.report(r.Context(), name, no)
	h := w.Header()
	if no.redirect != nil {
		redirect(w, no.redirect)
		return
	}
	noStore(h)
	no.SetHeader(h)
	switch {
	case s.cfg.Error != nil:
		h.Set("Content-Type", "application/json")
		s.cfg.Error(w, r, no.Error)
	case name == nameAuthorize:
		writePage(w, no.Error)
	default:
		resource.WriteError(w, r, no.Error)
	}
}

// report makes an event of a refusal and returns the refusal with its endpoint.
func (s *Server) report(ctx context.Context, name string, no *refusal) *Error {
	e := *no.Error
	e.Endpoint = name
	event := no.event
	event.Endpoint, event.Err = name, &e
	if event.Type == "" {
		switch {
		case errors.Is(&e, errNewerFormat):
			event.Type = EventUnknownFormat
		case errors.Is(&e, errAltered):
			event.Type = EventRecordAltered
		case e.HTTPStatus() >= 500:
			event.Type = EventStorageFailed
		case e.Code == InvalidClient:
			event.Type = EventClientRefused
		default:
			event.Type = EventRequestRefused
		}
	}
	s.emit(ctx, event)
	return &e
}

// writeFields answers 200 with a JSON object.
func (s *Server) writeFields(w http.ResponseWriter, f *Fields) *refusal {
	body, err := f.appendJSON(make([]byte, 0, 512))
	if err != nil {
		return &refusal{Error: broken(err)}
	}
	s.writeJSON(w, body)
	return nil
}

func (s *Server) writeJSON(w http.ResponseWriter, body []byte) {
	h := w.Header()
	noStore(h)
	h["Content-Type"] = []string{"application/json"}
	w.Write(body) //nolint:errcheck // the client is gone: there is nobody to tell
}

// noStore sets the headers of RFC 6749, section 5.1.
func noStore(h http.Header) {
	values := []string{"no-store", "no-cache", "nosniff"} // one allocation, not three
	h["Cache-Control"], h["Pragma"], h["X-Content-Type-Options"] = values[0:1:1], values[1:2:2], values[2:3:3]
}

// API is a protected resource of this server, filled from the Config: its
// Require protects handlers in this process. Its audience is the Issuer; set
// Audience for one of Resources, and Metadata where its handler is mounted.
func (s *Server) API() *resource.API {
	api := *s.api
	return &api
}

func (s *Server) newAPI() *resource.API {
	return &resource.API{Verifier: s, Audience: s.cfg.Issuer, Guards: s.cfg.Guards, Error: s.cfg.Error, Logger: s.cfg.Logger, Now: s.cfg.Now}
}
