package resource

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"
)

// A Token is what a [Verifier] knows of a live access token.
type Token struct {
	// ID names the token: the jti of a JWT, and the same value for an opaque one.
	// It is no credential.
	ID string
	// AuthorizationID names the authorization that the token belongs to; "" for a
	// token of client_credentials, and from verifiers that are not told.
	AuthorizationID string
	Issuer          string   // the authorization server's identifier
	ClientID        string   // the client the token was issued to
	Subject         string   // the resource owner; "" where the client acts for itself
	Scopes          []string // as granted
	// Includes are the scopes that the granted ones contain, where the verifier
	// knows the server's table of scopes.
	Includes  []string
	Audience  []string
	IssuedAt  time.Time
	ExpiresAt time.Time
	// AuthTime, ACR and AMR say when and how the resource owner was authenticated,
	// where that is known (RFC 9470, section 6).
	AuthTime time.Time
	ACR      string
	AMR      []string
	// Confirmation is the key that the token is bound to, as "method:value"
	// ("jkt:…" by RFC 9449, "x5t#S256:…" by RFC 8705). A middleware that cannot
	// check the binding refuses such a token. "" for a bearer token.
	Confirmation string
	// Extra are the host's own strings, from the approval; nil from verifiers that
	// are not told.
	Extra map[string]string
	// ClientData is the host's own value of the client, from a server that checks its
	// own tokens (Data of its Client); nil from verifiers that are not told.
	ClientData any `json:"-"`
}

// Has reports whether the token carries the scope, itself or as part of another.
func (t *Token) Has(scope string) bool {
	return slices.Contains(t.Scopes, scope) || slices.Contains(t.Includes, scope)
}

// For reports whether the token was issued for this audience. Compared byte by
// byte; where audience is "", it asks for the Issuer, which is the audience of
// a server without resource identifiers (RFC 8707).
func (t *Token) For(audience string) bool {
	if audience == "" {
		audience = t.Issuer
	}
	return slices.Contains(t.Audience, audience)
}

// clone is a copy that shares nothing with t.
func (t *Token) clone() *Token {
	c := *t
	c.Scopes, c.Includes = slices.Clone(t.Scopes), slices.Clone(t.Includes)
	c.Audience, c.AMR, c.Extra = slices.Clone(t.Audience), slices.Clone(t.AMR), maps.Clone(t.Extra)
	return &c
}

// A Verifier checks access tokens. An authorization server is one for its own
// tokens and sees a revocation at once.
type Verifier interface {
	// VerifyToken returns what it knows of a live token, in a Token that is the
	// caller's own. A token that is unknown, malformed, expired or revoked is an *Error
	// with the Code InvalidToken; any other error means that the token could not be
	// checked, which is a 503. No error has a part of the token in its text.
	//
	// For whom the token is, and whether it is bound to a key, is for the caller to
	// look at, as an [API] does.
	VerifyToken(ctx context.Context, token string) (*Token, error)
}

// A Call is a request on its way in, as a [Guard] sees it.
type Call struct {
	Request  *http.Request
	Endpoint string      // as in [Error].Endpoint
	Header   http.Header // of the answer; what a guard sets is on whatever answer follows
	// ClientID is the client that the request claims to come from, if that client
	// exists; nothing has been authenticated yet. At a protected resource it is
	// the client of the token. "" if unknown.
	ClientID string
	// Token is the access token of a call to a protected resource, once it was
	// verified; nil elsewhere.
	Token *Token
	Now   time.Time
	// OnAuthenticated takes what a guard has to ask once the client has proven that it
	// is the one of ClientID: the guard appends a function. They run in order, before
	// anything changes, and an error is the answer as a Guard's is. They do not run
	// where nothing is proven: for a public client, at the authorization endpoint, in a
	// request that is refused before. A call with a Token needs no other proof, and
	// they do not run there.
	OnAuthenticated []func(context.Context) error
}

// A Guard may refuse a request before a secret is compared or any state changes:
// a rate limit, a list of addresses. It runs once per request, also when reading
// the request failed. An *Error is the answer (429 with RetryAfter, 403, 401);
// any other error is a 503.
type Guard func(context.Context, *Call) error
