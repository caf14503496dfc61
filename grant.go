package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/internal/form"
)

// A Grant is a way to get a token (RFC 6749, section 1.3). It is a [TokenGrant],
// an [AuthorizeGrant] or both. Grants decide; the server makes the tokens,
// commits and answers.
type Grant interface {
	// GrantType names the grant as clients are registered for it and metadata lists it.
	GrantType() string
}

// A TokenGrant answers at the token endpoint to its GrantType.
type TokenGrant interface {
	Grant
	// Token checks the request and says what to issue. It changes nothing and may
	// run again for the same request after a lost race. An error is the answer: an
	// *Error or ErrorCode as it is, any other a 503.
	Token(ctx context.Context, r *TokenRequest) (*Issue, error)
}

// An AuthorizeGrant answers at the authorization endpoint to one word of
// response_type.
type AuthorizeGrant interface {
	Grant
	// ResponseType is the word, such as "code".
	ResponseType() string
	// Authorize checks the parameters that belong to the grant and says what to
	// issue. It changes nothing; it runs before the resource owner is asked, and
	// again whenever the handle of the interaction is opened. An error goes to the
	// client by redirect.
	Authorize(ctx context.Context, r *AuthorizeRequest) (*Issue, error)
}

// An Issue is what a grant decides shall be issued. The zero Issue, after
// [TokenRequest.Open], is an access token for all that was approved.
type Issue struct {
	// Subject is the resource owner of a new authorization, from a token grant that
	// opened nothing. Zero there: the client acts for itself.
	Subject string
	// Scopes of the access token. nil: all that was approved.
	Scopes []string
	// Resources that the access token is for. nil: all that were approved.
	Resources []string
	// RefreshToken asks for a refresh token too. It is issued if the server has
	// the grant, the client may use it and the policy does not say NoRefresh; never
	// where the client acts for itself, never from the authorization endpoint.
	// Without it the authorization has no refresh token from then on, whatever was
	// opened.
	RefreshToken bool

	// The rest is for the authorization endpoint: a code, bound to CodeChallenge
	// where that is set (RFC 7636), an access token, or both.
	Code          bool
	CodeChallenge string
	AccessToken   bool
}

// An AuthorizeRequest is an authorization request whose client and redirect URI
// are right.
type AuthorizeRequest struct {
	Client      *Client
	RedirectURI string
	Scopes      []string
	params      *form.Values
}

// Param returns a parameter of the request, "" if it was omitted.
func (r *AuthorizeRequest) Param(name string) string { return r.params.Get(name) }

// A TokenRequest is a request at the token endpoint whose client has been
// authenticated.
type TokenRequest struct {
	Client    *Client
	GrantType string

	server  *Server
	params  *form.Values
	began   time.Time
	opened  *opened
	refused *refusal
}

// opened is a code or refresh token that passed every check.
type opened struct {
	*authorization
	verdict    verdict
	generation uint32 // presented
	isCode     bool   // it was a code, no refresh token
	wentBack   bool   // the store has lost writes
	policy     Policy
}

// A refusal is an answer with what else must happen: the event that tells of it,
// and the record that must end.
type refusal struct {
	*Error
	event Event
	ends  *Record
	// foreign says that the credential is not one that this server has made.
	foreign bool
	// redirect is set where the answer goes to the client by way of the browser.
	redirect *redirection
}

// String and GoString leave the parameters out.
func (r *TokenRequest) String() string {
	return fmt.Sprintf("oauth.TokenRequest(%s %s)", r.GrantType, r.Client)
}

// GoString is String, for the format %#v.
func (r *TokenRequest) GoString() string { return r.String() }

// Param returns a parameter of the request, "" if it was omitted.
func (r *TokenRequest) Param(name string) string { return r.params.Get(name) }

// Params returns all parameters of the request, credentials included.
func (r *TokenRequest) Params() url.Values { return urlValues(r.params) }

// RequestedScopes reads the scope parameter: what it names, within what the
// client may have, or where it names nothing the defaults.
func (r *TokenRequest) RequestedScopes() ([]string, error) {
	names, err := r.server.scopes.requested(r.Client, r.Param("scope"))
	if err != nil {
		return nil, err
	}
	return names, nil
}

// NarrowedScopes reads the scope parameter of a request that may ask for less
// than was approved and never for more (RFC 6749, section 6). nil without one.
func (r *TokenRequest) NarrowedScopes(approved []string) ([]string, error) {
	text := r.Param("scope")
	if text == "" {
		return nil, nil
	}
	names, ok := parseScope(text)
	if !ok || !r.server.scopes.covers(approved, names) {
		return nil, &Error{Code: InvalidScope, Description: "The scope is malformed or was not approved", Parameter: "scope"}
	}
	return names, nil
}

// Open reads the code or refresh token that the request presents: param is
// "code" or "refresh_token". It checks the credential, its client and, for a
// code, redirect_uri and code_verifier, and decides whether it may be used. What
// Open accepts is used up by the commit that issues; what it refuses stays
// refused, whatever the grant returns, and the server ends what must end.
func (r *TokenRequest) Open(ctx context.Context, param string) (*Authorization, error) {
	o, no := r.open(ctx, param)
	if no != nil {
		r.refused = no
		return nil, no.Error
	}
	r.opened = o
	return o.public(), nil
}

func (r *TokenRequest) open(ctx context.Context, param string) (*opened, *refusal) {
	purpose, format := derive.Code, Opaque{}
	switch param {
	case "code":
	case refreshToken:
		purpose, format = derive.Refresh, r.server.refreshOpaque
	default:
		return nil, &refusal{Error: broken(fmt.Errorf("Open(%q): it is code or refresh_token", param))}
	}
	if r.opened != nil {
		return nil, &refusal{Error: broken(errors.New("Open was called twice for one request"))}
	}
	text := r.Param(param)
	if text == "" {
		return nil, &refusal{Error: missing(param)}
	}
	a, c, no := r.find(ctx, purpose, format, text)
	if no != nil && no.foreign && purpose == derive.Refresh && r.server.cfg.Import != nil {
		o, refused := r.adopt(ctx, text)
		if refused != nil && refused.event.Type == "" && errors.Is(refused.Error, InvalidGrant) {
			refused.event.Type = no.event.Type // an unknown secret, perhaps
		}
		return o, refused
	}
	if no != nil {
		return nil, no
	}
	if purpose == derive.Code {
		return r.judgeCode(a, c)
	}
	return r.judgeRefresh(ctx, a, c.Generation)
}

func parseCredential(f Opaque, text string) (c derive.Credential, ok bool) {
	if len(text) > maxTokenText {
		return c, false
	}
	raw, ok := derive.Decode(f.Prefix, f.Hex, text)
	if !ok {
		return c, false
	}
	return derive.ParseCredential(raw)
}

// invalid is invalid_grant with the reason for the operator.
func (r *TokenRequest) invalid(why string) *refusal {
	return &refusal{Error: &Error{Code: InvalidGrant, Description: "The credential is invalid, expired or revoked", Cause: errors.New(why)}}
}

// find reads the record of a credential and checks the credential's MAC, the
// record's own and the client.
func (r *TokenRequest) find(ctx context.Context, purpose derive.Purpose, format Opaque, text string) (*authorization, derive.Credential, *refusal) {
	c, ok := parseCredential(format, text)
	if !ok {
		no := r.invalid("malformed")
		no.foreign = true
		return nil, c, no
	}
	a, no := r.findRecord(ctx, purpose, c)
	return a, c, no
}

func (r *TokenRequest) findRecord(ctx context.Context, purpose derive.Purpose, c derive.Credential) (*authorization, *refusal) {
	s := r.server
	if !s.ring.Has(c.KeyID) {
		no := r.invalid("made with a secret that is not in Config.Secrets")
		no.event.Type, no.foreign = EventUnknownSecret, true
		return nil, no
	}
	rec, err := s.get(ctx, authorizationID(c.Record), KindAuthorization)
	switch {
	case isNotFound(err):
		no := r.invalid("unknown")
		no.foreign = true
		return nil, no
	case err != nil:
		return nil, &refusal{Error: unavailable(fmt.Errorf("storage: %w", err))}
	}
	// The record first: where somebody changed its nonce, no credential is right any more.
	a, no := r.decode(rec)
	if no != nil {
		return nil, no
	}
	if !s.ring.Authentic(purpose, c, &a.head.nonce) {
		return nil, r.invalid("wrong MAC")
	}
	if a.rec.ClientID != r.Client.ID {
		no := r.invalid("issued to another client")
		no.event = Event{Type: EventWrongClient, Authorization: rec.ID, Subject: rec.Subject, Generation: c.Generation}
		return nil, no
	}
	if !a.live(s.now()) {
		return nil, r.invalid("its authorization has ended")
	}
	return a, nil
}

// decode takes a record apart, or says which refusal an unreadable one is.
func (r *TokenRequest) decode(rec Record) (*authorization, *refusal) {
	a, err := r.server.decodeAuthorization(rec)
	switch {
	case errors.Is(err, errNewerFormat):
		return nil, &refusal{Error: unavailable(err), event: Event{Type: EventUnknownFormat, Authorization: rec.ID}}
	case err != nil:
		no := r.invalid("its record was altered")
		no.event = Event{Type: EventRecordAltered, Authorization: rec.ID}
		return nil, no
	}
	return a, nil
}

// judgeCode checks what binds a code, in this order, and only then whether it
// was used already: a stranger's attempt must not end anything.
func (r *TokenRequest) judgeCode(a *authorization, c derive.Credential) (*opened, *refusal) {
	if c.Generation != 0 || !a.code.exists() {
		return nil, r.invalid("no code")
	}
	if err := r.checkBinding(a); err != nil {
		return nil, &refusal{Error: err}
	}
	v := a.judgeCode(r.began, r.server.now())
	if v == accepted {
		return &opened{authorization: a, verdict: v, isCode: true}, nil
	}
	return nil, r.unusable(a, v, 0)
}

// checkBinding checks what the token request must repeat: redirect URI, then PKCE.
func (r *TokenRequest) checkBinding(a *authorization) *Error {
	verifier := r.Param("code_verifier")
	if a.code.Redeemed == 0 {
		if err := r.checkRedirect(a); err != nil {
			return err
		}
		return checkVerifier(a.code.Challenge, verifier)
	}
	uri, challenge := r.Param("redirect_uri"), ""
	if uri == "" && a.code.Sent {
		return missing("redirect_uri")
	}
	if verifier != "" {
		challenge = challengeOf(verifier)
	}
	repeats := true
	if !a.code.Sent && uri != "" { // then it was the one that the client has
		_, repeats = matchRedirect(r.Client, uri)
		uri = ""
	}
	if !repeats || codeProof(uri, challenge) != a.code.Proof {
		return &Error{Code: InvalidGrant, Description: "The request does not repeat what the authorization request said"}
	}
	return nil
}

// checkRedirect holds redirect_uri against that of the authorization request: it
// must be there if it was there (RFC 6749, section 4.1.3).
func (r *TokenRequest) checkRedirect(a *authorization) *Error {
	sent := r.Param("redirect_uri")
	switch {
	case sent == "" && a.code.Sent:
		return missing("redirect_uri")
	case sent != "" && sent != a.code.RedirectURI:
		return &Error{Code: InvalidGrant, Description: "redirect_uri differs from the authorization request", Parameter: "redirect_uri"}
	}
	return nil
}

// judgeRefresh applies the table of refresh tokens.
func (r *TokenRequest) judgeRefresh(ctx context.Context, a *authorization, g uint32) (*opened, *refusal) {
	s := r.server
	p, err := s.policy(ctx, PolicyRequest{Client: r.Client, GrantType: r.GrantType, Subject: a.rec.Subject,
		Scopes: a.grant.Scopes, Extra: a.grant.Extra})
	if err != nil {
		return nil, &refusal{Error: err}
	}
	v := a.judgeRefresh(g, r.began, s.now(), p.RetryWindow)
	switch v {
	case accepted, repeated:
		if v == repeated && !s.ring.Has(a.head.keyID) {
			return nil, r.invalid("its successor was made with a secret that is not in Config.Secrets")
		}
		return &opened{authorization: a, verdict: v, generation: g, wentBack: g > a.head.generation, policy: p}, nil
	}
	return nil, r.unusable(a, v, g)
}

// unusable is the refusal of a credential that is right in itself.
func (r *TokenRequest) unusable(a *authorization, v verdict, g uint32) *refusal {
	var no *refusal
	switch v {
	case raceLost:
		no = r.invalid("used a moment ago by another request")
		no.event.Type = EventRaceLost
	case replayed:
		no = r.invalid("used before: the authorization ends")
		no.event.Type = EventReuseDetected
		no.ends = &a.rec
	default:
		no = r.invalid("expired or ended")
	}
	no.event.Authorization, no.event.Subject, no.event.Generation = a.rec.ID, a.rec.Subject, g
	return no
}

func urlValues(v *form.Values) url.Values {
	all := url.Values{}
	for _, f := range v.Fields() {
		all.Add(f.Name, f.Value)
	}
	return all
}
