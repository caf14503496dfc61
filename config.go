package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/grantwell/oauth/internal/form"
)

// Config is all that a [Server] needs to know. The zero value of every field
// that is not required is the safe choice.
type Config struct {
	// Issuer is the server's identifier: an https URL without query and fragment
	// (http on a loopback address alone), published and compared byte by byte.
	// All published URLs begin with it, whatever a request says. Required.
	Issuer string
	// Storage keeps the authorizations. Required.
	Storage Storage
	// Clients knows the clients. Required.
	Clients ClientRegistry
	// Grants are what the server serves and advertises, and nothing else. Required.
	Grants []Grant
	// Secrets derive and seal all credentials: each at least 32 random bytes, see
	// [NewSecret]. The first makes new ones, all of them open old ones. Required.
	Secrets [][]byte `json:"-"`
	// Realm keeps servers apart that share a Storage. Zero: the server has it to itself.
	Realm string

	// Interact asks the resource owner: it approves or denies the interaction, now
	// or after any number of pages. What it writes is not cached unless it says so.
	// Required if a grant uses the authorization endpoint.
	Interact func(w http.ResponseWriter, r *http.Request, in *Interaction) `json:"-"`
	// RequireRedirectURI refuses an authorization request that leaves redirect_uri out.
	// Zero: a client that has registered only one may (RFC 6749, section 3.1.2.3).
	RequireRedirectURI bool
	// HandleLifetime is how long the resource owner may take to decide. Zero: 1 h;
	// at most 24 h.
	HandleLifetime time.Duration

	// Endpoints says where the endpoints are. Zero: /oauth/authorize and so on.
	Endpoints Endpoints
	// Scopes is the table of scopes. Zero: there are none, and a request that asks
	// for one is invalid_scope.
	Scopes []Scope
	// Resources are the protected resources that a client may name (RFC 8707).
	// Zero: none, and the audience of tokens is the Issuer.
	Resources []Resource
	// ACRValues are the authentication contexts that Interact can tell apart, for
	// clients that ask for one with acr_values (RFC 9470): they are published, and an
	// approval that says another than asked for is refused. Zero: acr_values is left
	// to Interact.
	ACRValues []string
	// Claims says what userinfo knows of a subject. Members that no granted scope
	// lists are left out, "sub" is set by the server. Zero: "sub" alone.
	Claims func(context.Context, ClaimsRequest) (Fields, error) `json:"-"`

	// Keys sign JWTs; the public halves are published. Required for JWT access tokens.
	Keys KeySource `json:"-"`
	// AccessToken is the format of access tokens. Zero: Opaque{}.
	AccessToken Format
	// OtherFormats are formats that access tokens may have as well: that [Policy]
	// chooses for some clients, or that live tokens still have after AccessToken was
	// changed. Those of Resources need not be here. nil: none.
	OtherFormats []Format
	// RefreshToken is the format of refresh tokens. Zero: Opaque{}. It cannot be JWT.
	RefreshToken Format
	// Policy decides lifetimes and rotation per client, grant and request. It has
	// no side effects and may be asked several times. [New] asks it once for each
	// static client and grant, so that a lifetime over its maximum fails at the
	// start; later that is a server_error. Zero: Policy{} for all.
	Policy func(context.Context, PolicyRequest) Policy `json:"-"`

	// Decode says where the parameters of a POST request come from. Zero: [FormBody].
	Decode Decoder
	// Guards run once per request, in order: after the client is known, before a
	// secret is compared or anything changes, also when the request was malformed.
	Guards []Guard `json:"-"`
	// Respond may change the members of a token response, of a code redirect and
	// of an implicit fragment. It cannot drop state and iss, which are added after
	// it. It runs before the commit: an error is the answer and nothing is lost.
	Respond func(context.Context, *Issued, *Fields) error `json:"-"`
	// Error writes refusals. Zero: JSON, and a plain page at the authorization endpoint.
	Error ErrorWriter `json:"-"`
	// Origins says which origins may read answers from a browser (CORS). Zero: any;
	// [NoOrigins]: no CORS headers at all. Never with credentials, never at the
	// authorization endpoint.
	Origins func(origin string) bool `json:"-"`
	// Import adopts a refresh token of another server that is not one of this
	// server's: it returns what was approved there, or an error that is InvalidGrant
	// (or an *Error) if the token is not live or was not issued to this client. The token becomes the first of a new
	// authorization, once in that authorization's absolute life; a token that is
	// older than that, Import must refuse itself, and of a token that can be spelled
	// in several ways, all spellings but one. A scope that the client may not have
	// refuses the token: leave it out. Import is asked at the revocation endpoint
	// too, changes nothing and may be asked several times for one request. Zero: such
	// tokens are invalid_grant.
	Import func(ctx context.Context, c *Client, token string) (*Approval, error) `json:"-"`

	// Events is told what happened, after the commit or the refusal, in the
	// request's goroutine. Zero: nobody is.
	Events func(context.Context, Event) `json:"-"`
	// Logger gets the same events. Zero: they are not logged.
	Logger *slog.Logger `json:"-"`
	// Now is the clock. Zero: time.Now.
	Now func() time.Time `json:"-"`

	// Transport sends the requests to URLs that clients name, [Client].JWKSURI. Zero:
	// the library's own, which talks https to public addresses alone.
	Transport http.RoundTripper `json:"-"`

	// InsecureEndpointAudience takes client assertions whose audience is the URL of the
	// endpoint, too, and not the Issuer alone (RFC 7523, section 3, leaves both open).
	// A client that uses several servers can then be made to authenticate an
	// attacker: draft-ietf-oauth-rfc7523bis.
	InsecureEndpointAudience bool
	// InsecureOmitIssuer leaves iss out of authorization responses and metadata
	// (RFC 9207), for a documented callback that has no such parameter. Clients
	// that use several servers can then be sent to the wrong one.
	InsecureOmitIssuer bool
}

// String names the issuer and nothing secret, and so do GoString and LogValue.
func (c Config) String() string { return fmt.Sprintf("oauth.Config(%q)", c.Issuer) }

// GoString is String, for the format %#v.
func (c Config) GoString() string { return c.String() }

// LogValue implements [slog.LogValuer].
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Endpoints are the places of the endpoints: a path, which is below the issuer's
// own, or an absolute URL on another host. "-" means that the endpoint is not
// served and not advertised.
type Endpoints struct {
	Authorize  string // zero: /oauth/authorize
	Token      string // zero: /oauth/token
	Revoke     string // zero: /oauth/revoke
	Introspect string // zero: /oauth/introspect
	UserInfo   string // zero: /oauth/userinfo
	JWKS       string // zero: /oauth/jwks
}

// NoOrigins is the value of [Config].Origins that sends no CORS headers at all,
// for a host that has a CORS layer of its own.
func NoOrigins(origin string) bool { return false }

// A Decoder says where the parameters of a POST request come from. The zero
// Decoder is [FormBody]. Parameters that carry a secret are never taken from a URL.
type Decoder struct{ from form.Decoder }

// The media types of a request body: a form as in RFC 6749, or a JSON object
// whose members are strings.
var (
	FormBody = Decoder{form.Decoder{Form: true}}
	JSONBody = Decoder{form.Decoder{JSON: true}}
)

// Query takes these parameters from the URL's query too, for use with [Merge].
// [New] refuses the names of parameters that carry a secret, or name the client.
func Query(names ...string) Decoder {
	return Decoder{form.Decoder{Query: slices.Clone(names)}}
}

// Header takes a parameter from a header, for use with [Merge].
func Header(header, parameter string) Decoder {
	return Decoder{form.Decoder{Headers: []form.Header{{Name: header, Parameter: parameter}}}}
}

// Merge joins sources. A parameter that has two different values, or comes twice
// from one source, is an invalid_request.
func Merge(sources ...Decoder) Decoder {
	var d form.Decoder
	for _, s := range sources {
		d.Form = d.Form || s.from.Form
		d.JSON = d.JSON || s.from.JSON
		d.Query = append(d.Query, s.from.Query...)
		d.Headers = append(d.Headers, s.from.Headers...)
	}
	return Decoder{d}
}

// A Policy says how long things live. Durations are to the second; zero is the
// default named, never "for ever".
type Policy struct {
	Code            time.Duration // authorization code: 60 s; at most 10 min
	Access          time.Duration // access token: 30 min; at most a year, from [Server.Issue] a hundred
	RefreshIdle     time.Duration // refresh token that is not used: 30 days; at most ten years
	RefreshAbsolute time.Duration // authorization, however often refreshed: 180 days; at most ten years
	// AccessToken is the format of the access token, where its resources ask for none:
	// that of [Config] or one of its OtherFormats. nil: that of Config.
	AccessToken Format
	// Refresh says what becomes of a refresh token that is used. Zero: [Rotate].
	Refresh Refresh
	// RetryWindow is how long after a rotation the token before is answered with
	// the same successor again: a response may have been lost. Zero: 30 s; at most
	// 10 min; [NoRetry]: not at all.
	RetryWindow time.Duration
}

// NoRetry is the [Policy].RetryWindow of none: a token is refused from the moment
// it was rotated, and using it later than 2 s after that ends the authorization.
const NoRetry time.Duration = -1

// Refresh says what becomes of refresh tokens.
type Refresh int

// What becomes of a refresh token.
const (
	Rotate    Refresh = iota // a new one with every use (RFC 9700, section 2.2.2)
	Keep                     // the same one stays; for confidential clients, those of others rotate
	NoRefresh                // none is issued
)

// A PolicyRequest is what a [Policy] is asked for.
type PolicyRequest struct {
	Client    *Client
	GrantType string // of the request: "authorization_code" also at the approval; "" for [Server.Issue]
	Subject   string // "" where the client acts for itself
	Scopes    []string
	Extra     map[string]string // of the approval
}

// The defaults and maxima of a Policy.
const (
	defaultCode     = time.Minute
	defaultAccess   = 30 * time.Minute
	defaultIdle     = 30 * 24 * time.Hour
	defaultAbsolute = 180 * 24 * time.Hour
	defaultWindow   = 30 * time.Second
	defaultHandle   = time.Hour

	maxCode     = 10 * time.Minute // RFC 6749, section 4.1.2
	maxAccess   = 366 * 24 * time.Hour
	maxIssued   = 100 * maxAccess // access token of [Server.Issue]: its owner has it listed, and can end it
	maxIdle     = 3660 * 24 * time.Hour
	maxAbsolute = 3660 * 24 * time.Hour
	maxWindow   = 10 * time.Minute
	maxHandle   = 24 * time.Hour
)

// window is the retry window as a span: none under NoRetry.
func (p Policy) window() time.Duration { return max(p.RetryWindow, 0) }

// complete puts the defaults in and says what is out of bounds; access is the
// longest life of an access token.
func (p Policy) complete(access time.Duration) (Policy, error) {
	if p.RetryWindow == 0 {
		p.RetryWindow = defaultWindow
	}
	wrong := func(name string, is, to time.Duration) (Policy, error) {
		return p, fmt.Errorf("oauth: Policy.%s is %v: it is 1s to %v", name, is, to)
	}
	switch {
	case !bounded(&p.Code, defaultCode, maxCode):
		return wrong("Code", p.Code, maxCode)
	case !bounded(&p.Access, defaultAccess, access):
		return wrong("Access", p.Access, access)
	case !bounded(&p.RefreshIdle, defaultIdle, maxIdle):
		return wrong("RefreshIdle", p.RefreshIdle, maxIdle)
	case !bounded(&p.RefreshAbsolute, defaultAbsolute, maxAbsolute):
		return wrong("RefreshAbsolute", p.RefreshAbsolute, maxAbsolute)
	case p.RetryWindow != NoRetry && (p.RetryWindow < time.Second || p.RetryWindow > maxWindow):
		return p, fmt.Errorf("oauth: Policy.RetryWindow is %v: it is 1s to %v, or NoRetry", p.RetryWindow, maxWindow)
	case p.Refresh < Rotate || p.Refresh > NoRefresh:
		return p, fmt.Errorf("oauth: Policy.Refresh is %d: it is Rotate, Keep or NoRefresh", p.Refresh)
	}
	return p, nil
}

// bounded puts the default in for zero and reports whether it is 1s to most.
func bounded(d *time.Duration, zero, most time.Duration) bool {
	if *d == 0 {
		*d = zero
	}
	return *d >= time.Second && *d <= most
}

// policy asks the host's Policy for this request.
func (s *Server) policy(ctx context.Context, req PolicyRequest) (Policy, *Error) {
	var p Policy
	if s.cfg.Policy != nil {
		req.Scopes, req.Extra = slices.Clone(req.Scopes), maps.Clone(req.Extra) // the host's to keep
		p = s.cfg.Policy(ctx, req)
	}
	if p.Refresh == Keep && req.Client.Public {
		p.Refresh = Rotate // RFC 9700, section 2.2.2: rotation or key binding for public clients
	}
	longest := maxAccess
	if req.GrantType == "" {
		longest = maxIssued
	}
	p, err := p.complete(longest)
	if err != nil {
		return p, broken(err)
	}
	if p.AccessToken != nil {
		known := false
		if p.AccessToken, known = s.knownFormat(p.AccessToken); !known {
			return p, broken(errors.New("oauth: Policy.AccessToken is neither Config.AccessToken nor one of OtherFormats"))
		}
	}
	return p, nil
}
