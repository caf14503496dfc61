package resource

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grantwell/oauth/internal/wire"
)

// API protects the handlers of one protected resource with bearer tokens
// (RFC 6750). Its fields are not changed once a method was called; its methods
// are safe for concurrent use.
type API struct {
	// Verifier checks the tokens. Without one every request is answered 500: a
	// missing Verifier never lets anybody in.
	Verifier Verifier
	// Audience is what this resource is called in the audience of a token; "" for
	// the issuer of the token (see [Token.For]).
	Audience string
	// Guards run in their order, each at most once per request, after the token was
	// verified and before anything is answered; also when the token is missing or
	// bad, and then [Call.Token] is nil and [Call.ClientID] "". The first refusal is
	// the answer, whatever is wrong with the token. So they spare the handlers, not
	// the Verifier: a flood of made-up tokens is for what stands before the API (see
	// [Introspection]).
	Guards []Guard
	// Error writes the refusals; nil for [WriteError].
	Error ErrorWriter
	// Metadata describes this resource to clients; nil for none. The handler of
	// [API.MetadataHandler] serves it, and challenges carry its URL as
	// resource_metadata (RFC 9728, section 5.1).
	Metadata *Metadata
	// Realm is the realm of the challenges; "" for none, and for "oauth" where a
	// challenge would have no parameter at all.
	Realm string
	// Includes lists by scope the scopes that it contains, and these may contain
	// others; nil for none. It is for verifiers that leave [Token.Includes] empty.
	Includes map[string][]string
	// Logger is told of every refusal, with the reason and never a token: at level
	// Error those with a status of 500 and above, at level Info the others; nil to
	// discard.
	Logger *slog.Logger
	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

// Require is short for (&API{Verifier: v}).Require(scopes...).
func Require(v Verifier, scopes ...string) func(http.Handler) http.Handler {
	return (&API{Verifier: v}).Require(scopes...)
}

// Require is short for RequireRule(Rule{Scopes: scopes}).
func (a *API) Require(scopes ...string) func(http.Handler) http.Handler {
	return a.RequireRule(Rule{Scopes: scopes})
}

// RequireRule returns a middleware that lets a request through only if it carries
// a live bearer token for this resource that meets the rule. The handler finds the
// token with [FromContext].
//
// Everybody else is refused: 401 without a token or with one that is malformed,
// unknown, expired, revoked, for another audience or bound to a key, and 401 where
// the user has to be authenticated again or better (RFC 9470, section 3); 403
// without the scopes; 400 with a token in the header and the query at once; 503
// when the token cannot be checked (RFC 6750, section 3.1). The body of the request
// is not touched. Within a handler that RequireRule protects, a second one of the
// same API only looks at the rule.
func (a *API) RequireRule(rule Rule) func(http.Handler) http.Handler {
	d := a.demand(rule)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, e := a.check(r, w.Header(), d)
			switch {
			case e == nil:
				ctx := context.WithValue(r.Context(), contextKey{}, p)
				next.ServeHTTP(w, r.WithContext(ctx))
			case a.Error != nil:
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("X-Content-Type-Options", "nosniff")
				a.Error(w, r, e)
			default:
				WriteError(w, r, e)
			}
		})
	}
}

// Check is short for CheckRule(r, h, Rule{Scopes: scopes}).
func (a *API) Check(r *http.Request, h http.Header, scopes ...string) (*Token, *Error) {
	return a.CheckRule(r, h, Rule{Scopes: scopes})
}

// CheckRule is [API.RequireRule] without the handler, for a host whose rule depends
// on the request. It sets in h, the header of the answer, what Guards set and what
// belongs to a refusal; writing the refusal is left to the caller, by [WriteError]
// for one. Within a handler that RequireRule protects, it only looks at the rule.
func (a *API) CheckRule(r *http.Request, h http.Header, rule Rule) (*Token, *Error) {
	p, e := a.check(r, h, a.demand(rule))
	if e != nil {
		return nil, e
	}
	return p.token, nil
}

// FromContext returns the token of a request that [API.Require] let through.
func FromContext(ctx context.Context) (*Token, bool) {
	p, ok := ctx.Value(contextKey{}).(*passed)
	if !ok {
		return nil, false
	}
	return p.token, true
}

type contextKey struct{}

// passed is a token that was let through, and by whom.
type passed struct {
	api   *API
	text  string
	token *Token
}

// What a refused client is told. It learns that a token is no good, never why.
const (
	wordsInvalidToken = "Access token is invalid or expired"
	wordsScope        = "Access token lacks a required scope"
	wordsStepUp       = "A more recent or a stronger authentication of the user is required"
	wordsTwice        = "Access token is sent in more than one way"
	wordsUnavailable  = "The request cannot be checked at the moment"
	wordsServerError  = "Internal server error"
)

// Why, for the operator.
var (
	errMissing    = errors.New("no bearer token")
	errMalformed  = errors.New("malformed Authorization header")
	errTwice      = errors.New("token in the Authorization header and in the query")
	errAudience   = errors.New("token is for another audience")
	errBound      = errors.New("token is bound to a key that this resource cannot check")
	errExpired    = errors.New("token is expired or has no end")
	errNoVerifier = errors.New("resource: API without a Verifier")
	errNoAnswer   = errors.New("resource: Verifier returned neither a token nor an error")
	errNilError   = errors.New("resource: a hook returned a nil *Error as its error")
)

// retryAfter is what a client is told to wait when a hook has failed.
const retryAfter = 5 * time.Second

// check is the whole way of a request: read, verify, guards, rule.
func (a *API) check(r *http.Request, h http.Header, d *demand) (*passed, *Error) {
	now := a.now()
	text, e := Bearer(r)
	sent := text != "" || e != nil
	p, again := r.Context().Value(contextKey{}).(*passed)
	// A request made from another one's context is not that request: the text
	// must be the same too.
	again = again && e == nil && p.api == a && p.text == text
	if !again {
		p = &passed{api: a, text: text}
		if e == nil {
			p.token, e = a.verify(r.Context(), text)
		}
	}
	if a.Verifier == nil {
		e = &Error{Code: ServerError, Description: wordsServerError, Cause: errNoVerifier}
	}
	var good *Token // what guards and the log may believe
	if e == nil {
		if e = a.accept(p.token, now); e == nil {
			good = p.token
		}
	}
	if !again {
		if refused := a.guard(r, h, good, now); refused != nil {
			e = refused
		}
	}
	if e == nil {
		e = d.met(good, now)
	}
	if e != nil {
		return nil, a.refuse(r, h, d, good, e, sent)
	}
	return p, nil
}

func (a *API) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

// verify asks the Verifier. Only what it says of the token itself goes to the
// client; an error that is about something else means the token was not checked.
func (a *API) verify(ctx context.Context, text string) (*Token, *Error) {
	if a.Verifier == nil {
		return nil, nil
	}
	if text == "" {
		return nil, badToken(errMissing)
	}
	t, err := a.Verifier.VerifyToken(ctx, text)
	if err != nil {
		e := refusal(err)
		if e.Code == InvalidToken || e.HTTPStatus() >= http.StatusInternalServerError {
			return nil, e
		}
		return nil, unavailable(err)
	}
	if t == nil {
		return nil, &Error{Code: ServerError, Description: wordsServerError, Cause: errNoAnswer}
	}
	return t, nil
}

// accept checks what a live token must be, to be good for this resource.
func (a *API) accept(t *Token, now time.Time) *Error {
	switch {
	case t.ExpiresAt.IsZero() || !now.Before(t.ExpiresAt):
		return badToken(errExpired)
	case !t.For(a.Audience): // RFC 9700, section 2.3.
		return badToken(errAudience)
	case t.Confirmation != "": // RFC 9449, section 7.2: no downgrade to Bearer.
		return badToken(errBound)
	}
	return nil
}

func (a *API) guard(r *http.Request, h http.Header, t *Token, now time.Time) *Error {
	if len(a.Guards) == 0 {
		return nil
	}
	c := &Call{Request: r, Endpoint: "api", Header: h, Token: t, Now: now}
	if t != nil {
		c.ClientID = t.ClientID
	}
	for _, g := range a.Guards {
		if err := g(r.Context(), c); err != nil {
			return refusal(err)
		}
	}
	return nil
}

// refuse completes e, sets the headers of the refusal and logs it. The errors of
// hooks may be shared between requests, so it works on a copy.
func (a *API) refuse(r *http.Request, h http.Header, d *demand, t *Token, e *Error, sent bool) *Error {
	out := *e
	if out.Endpoint == "" {
		out.Endpoint = "api"
	}
	if out.Code == InvalidToken && out.Description == "" {
		out.Description = wordsInvalidToken
	}
	challenge := d.challenge
	switch {
	case out.Code != InsufficientScope && out.Code != InsufficientUserAuthentication:
	case out.Scopes == nil:
		out.Scopes = slices.Clone(d.asked)
	default:
		challenge = a.challenge(out.Scopes)
	}
	out.SetHeader(h)
	if hasChallenge(&out) {
		told := &out
		if !sent { // RFC 6750, section 3.1: no error code where no token was sent
			told = nil
		}
		h.Add("WWW-Authenticate", withError(challenge, told))
	}
	if a.Logger != nil {
		a.log(r.Context(), t, &out)
	}
	return &out
}

func (a *API) log(ctx context.Context, t *Token, e *Error) {
	level := slog.LevelInfo
	if e.HTTPStatus() >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	client := ""
	if t != nil {
		client = t.ClientID
	}
	a.Logger.LogAttrs(ctx, level, "request refused",
		slog.String("endpoint", e.Endpoint),
		slog.Int("status", e.HTTPStatus()),
		slog.String("code", string(e.Code)),
		slog.String("client", client),
		slog.Any("cause", e.Cause))
}

func badToken(cause error) *Error {
	return &Error{Code: InvalidToken, Description: wordsInvalidToken, Cause: cause}
}

func unavailable(cause error) *Error {
	return &Error{
		Code:        TemporarilyUnavailable,
		Description: wordsUnavailable,
		RetryAfter:  retryAfter,
		Cause:       cause,
	}
}

// refusal is what a hook's error says to the client: an Error or a bare Code
// speaks for itself, anything else is a failure of the server.
func refusal(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		if e == nil {
			return unavailable(errNilError)
		}
		return e
	}
	if c, ok := errors.AsType[Code](err); ok {
		return &Error{Code: c}
	}
	return unavailable(err)
}

// Bearer returns the token in the Authorization header of r (RFC 6750, section
// 2.1). It is "" with a nil error if there is none: no such header, or one of
// another scheme. A token in the query alone counts as none (RFC 9700, section
// 4.3.2); the body is not looked at.
//
// The error is InvalidToken for a malformed header, of which there may be only
// one, and InvalidRequest if access_token is in the query as well (RFC 6750,
// section 2). Its Endpoint is left to the caller.
func Bearer(r *http.Request) (string, *Error) {
	lines := r.Header["Authorization"]
	if len(lines) == 0 {
		return "", nil
	}
	token, bearer := parseBearer(lines[0])
	if !bearer && len(lines) == 1 {
		return "", nil
	}
	if queryHasToken(r.URL) {
		return "", &Error{Code: InvalidRequest, Description: wordsTwice, Parameter: "access_token", Cause: errTwice}
	}
	if len(lines) > 1 || token == "" {
		return "", badToken(errMalformed)
	}
	return token, nil
}

// scheme is that of the Authorization header and of every challenge.
const scheme = "Bearer"

// parseBearer reports whether the scheme is Bearer, and the token, "" if what
// follows is not 1*SP b64token (RFC 6750, section 2.1).
func parseBearer(line string) (token string, bearer bool) {
	// The scheme is not case-sensitive: RFC 9110, section 11.1.
	if len(line) < len(scheme) || !strings.EqualFold(line[:len(scheme)], scheme) {
		return "", false
	}
	rest := line[len(scheme):]
	if rest != "" && isTchar(rest[0]) {
		return "", false // the name of another scheme that begins alike
	}
	token = strings.TrimLeft(rest, " ")
	if token == rest || !isB64Token(token) {
		return "", true
	}
	return token, true
}

// isTchar is tchar of RFC 9110, section 5.6.2.
func isTchar(c byte) bool {
	return isAlnum(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// isB64Token is b64token of RFC 6750, section 2.1.
func isB64Token(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && strings.IndexByte("-._~+/", c) < 0 {
			return false
		}
	}
	return s != ""
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// queryHasToken reports whether the query has an access_token with a value.
func queryHasToken(u *url.URL) bool {
	if u == nil {
		return false
	}
	for rest := u.RawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		name, value, _ := strings.Cut(pair, "=")
		if value == "" {
			continue
		}
		if strings.IndexByte(name, '%') >= 0 {
			name, _ = url.QueryUnescape(name)
		}
		if name == "access_token" {
			return true
		}
	}
	return false
}

// Challenge returns the value of the WWW-Authenticate header that belongs to e,
// at a resource that requires these scopes (RFC 6750, section 3; RFC 9728,
// section 5.1). It carries error, error_description and error_uri only for the
// codes of RFC 6750, section 3.1, and of RFC 9470, section 3, and for that one
// acr_values and max_age; a nil e, for a request without a token, has none of
// them. [Error.Scopes] go before scopes. Whatever text it is given, the value is
// one well-formed challenge.
func (a *API) Challenge(e *Error, scopes ...string) string {
	if e != nil && e.Scopes != nil {
		scopes = e.Scopes
	}
	return withError(a.challenge(scopes), e)
}

// challenge is the challenge without an error.
func (a *API) challenge(scopes []string) string {
	b := []byte(scheme)
	if a.Realm != "" {
		b = appendParameter(b, "realm", a.Realm)
	}
	if len(scopes) > 0 {
		b = appendParameter(b, "scope", wire.Printable(strings.Join(scopes, " ")))
	}
	if u := a.metadataURL(); u != nil {
		b = appendParameter(b, "resource_metadata", wire.URI(u.String()))
	}
	return string(b)
}

// hasChallenge says whether a refusal comes with a challenge: every 401 (RFC 9110,
// section 15.5.2), and the other refusals of RFC 6750, section 3.1.
func hasChallenge(e *Error) bool {
	switch e.HTTPStatus() {
	case http.StatusUnauthorized:
		return true
	case http.StatusBadRequest, http.StatusForbidden:
		return inChallenge(e.Code)
	}
	return false
}

// inChallenge says whether a code is one of RFC 6750, section 3.1, or of RFC 9470,
// section 3.
func inChallenge(c Code) bool {
	return c == InvalidRequest || c == InvalidToken || c == InsufficientScope || c == InsufficientUserAuthentication
}

// withError appends the error, if it is one that a challenge tells, to a challenge
// without one.
func withError(challenge string, e *Error) string {
	switch {
	case e != nil && inChallenge(e.Code):
	case challenge == scheme: // RFC 6750, section 3: one parameter or more
		return scheme + ` realm="oauth"`
	default:
		return challenge
	}
	b := append(make([]byte, 0, len(challenge)+len(e.Description)+len(e.URI)+80), challenge...)
	b = appendParameter(b, "error", string(e.Code))
	if e.Description != "" {
		b = appendParameter(b, "error_description", wire.Printable(e.Description))
	}
	if e.URI != "" {
		b = appendParameter(b, "error_uri", wire.URI(e.URI))
	}
	if e.Code == InsufficientUserAuthentication {
		if len(e.ACRValues) > 0 {
			b = appendParameter(b, "acr_values", wire.Printable(strings.Join(e.ACRValues, " ")))
		}
		if e.MaxAge > 0 {
			b = appendParameter(b, "max_age", strconv.FormatInt(int64(e.MaxAge/time.Second), 10))
		}
	}
	return string(b)
}

// appendParameter appends an auth-param with a quoted-string (RFC 9110, sections
// 5.6.4 and 11.2). Control characters, and with them the end of the header line,
// become spaces.
func appendParameter(b []byte, name, value string) []byte {
	if b[len(b)-1] == '"' {
		b = append(b, ',')
	}
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, `="`...)
	for _, c := range value {
		if c == '"' || c == '\\' {
			b = append(b, '\\', byte(c))
			continue
		}
		b = append(b, wire.Printable(string(c))...)
	}
	return append(b, '"')
}
