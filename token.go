package oauth

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/internal/form"
	"github.com/grantwell/oauth/resource"
)

// maxAttempts bounds how often a request starts over after it lost a race.
const maxAttempts = 8

// An Issued is what is about to be issued, as [Config].Respond sees it. It
// contains no credential.
type Issued struct {
	Endpoint      string // "token" or "authorize"
	Client        *Client
	GrantType     string // of the request; at the authorization endpoint the grant of its response type
	Authorization string // ID of the record; "" where the client acts for itself
	Subject       string
	// Requested are the scopes that were asked for: by the request, or where it names
	// none by the authorization request that its code is from, and for a refresh token
	// those approved (RFC 6749, section 6). Where Scopes are the same, the answer need
	// not have scope (section 5.1). nil: none was named.
	Requested []string
	Scopes    []string // scopes of the access token, or at the code redirect those approved
	Resources []string
	Extra     map[string]string // of the approval
	IssuedAt  time.Time
	ExpiresAt time.Time // of the access token; at the code redirect of the code
}

// A plan is a whole answer, made and signed, and the write that makes it true.
type plan struct {
	write  func(at time.Time) (write, error) // nil: there is nothing to write
	issued Issued
	fields Fields
	body   []byte // the fields as JSON
	event  Event
}

// admitted is a request whose client is authenticated.
type admitted struct {
	began     time.Time
	client    *Client
	params    *form.Values
	assertion *Record // that authenticated the client and is to be used up; nil if none did
}

// admit reads a request and authenticates its client: read strictly, find the
// client, guards, then compare the secret.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, endpoint string) (*admitted, *refusal) {
	entered := s.now()
	params, malformed := s.cfg.Decode.from.Read(r)
	// A request counts as begun when it came in, so that two that crossed each other
	// are seen to; but who holds one open must not carry it over a rotation.
	began := latest(entered, s.now().Add(-inFlight))
	if malformed == nil {
		malformed = params.Err()
	}
	claim := readClaim(r, params)
	client, failure := s.client(r.Context(), claim.id)
	claimed := ""
	if client != nil {
		claimed = client.ID
	}
	event := Event{ClientID: claimed}
	later, err := s.ask(w, r, endpoint, claimed)
	if err != nil {
		return nil, &refusal{Error: claim.refuse(w, err), event: event}
	}
	switch {
	case malformed != nil:
		return nil, &refusal{Error: fromForm(malformed), event: event}
	case failure != nil:
		return nil, &refusal{Error: failure, event: event}
	}
	assertion, err := s.authenticate(r.Context(), client, claim, endpoint)
	if err != nil {
		event.ClientID = shown(claim.id)
		return nil, &refusal{Error: claim.refuse(w, err), event: event}
	}
	if !client.Public { // a public one has proven nothing
		for _, f := range later {
			if err := f(r.Context()); err != nil {
				return nil, &refusal{Error: asError(err), event: event}
			}
		}
	}
	return &admitted{began: began, client: client, params: params, assertion: assertion}, nil
}

func fromForm(e *form.Error) *Error {
	return &Error{Code: InvalidRequest, Description: e.Description, Parameter: e.Parameter, Status: e.Status}
}

// guard asks the host's guards.
func (s *Server) guard(w http.ResponseWriter, r *http.Request, endpoint, clientID string) *Error {
	_, err := s.ask(w, r, endpoint, clientID)
	return err
}

// ask is guard, and returns what the guards have to ask once the client has
// authenticated.
func (s *Server) ask(w http.ResponseWriter, r *http.Request, endpoint, clientID string) (later []func(context.Context) error, refused *Error) {
	if len(s.cfg.Guards) == 0 {
		return nil, nil
	}
	call := &resource.Call{Request: r, Endpoint: endpoint, Header: w.Header(), ClientID: clientID, Now: s.now()}
	for _, g := range s.cfg.Guards {
		if err := g(r.Context(), call); err != nil {
			return nil, asError(err)
		}
	}
	return call.OnAuthenticated, nil
}

// serveToken is the token endpoint (RFC 6749, section 3.2).
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) *refusal {
	ad, no := s.admit(w, r, "token")
	if no != nil {
		return no
	}
	grantType := ad.params.Get("grant_type")
	grant, err := s.tokenGrant(ad.client, grantType)
	if err != nil {
		return &refusal{Error: err, event: Event{ClientID: ad.client.ID, GrantType: shown(grantType)}}
	}
	for range maxAttempts {
		t := &TokenRequest{Client: ad.client, GrantType: grantType, server: s, params: ad.params, began: ad.began}
		p, no := s.planToken(r.Context(), t, grant)
		if no == nil {
			no = s.carryOutOf(r.Context(), ad, p)
		} else {
			no = s.endWhatMustEnd(r.Context(), no)
		}
		if no != nil && errors.Is(no.Error, errRaceLost) {
			continue
		}
		if no != nil {
			no.event.ClientID, no.event.GrantType = ad.client.ID, grantType
			return no
		}
		s.emit(r.Context(), p.event)
		s.writeJSON(w, p.body)
		return nil
	}
	return &refusal{Error: unavailable(errRaceLost), event: Event{ClientID: ad.client.ID, GrantType: grantType}}
}

// tokenGrant finds the grant of a request and whether the client may use it.
func (s *Server) tokenGrant(c *Client, grantType string) (TokenGrant, *Error) {
	if grantType == "" {
		return nil, missing("grant_type")
	}
	grant, ok := s.tokenGrants[grantType]
	switch {
	case !ok:
		return nil, refuse(UnsupportedGrantType, "The grant type is not supported")
	case !c.May(grantType):
		return nil, refuse(UnauthorizedClient, "The client may not use this grant type")
	}
	return grant, nil
}

// endWhatMustEnd ends the authorization that a refusal names. If that cannot be
// stored, the refusal is a 503, so that the same request can be sent again.
func (s *Server) endWhatMustEnd(ctx context.Context, no *refusal) *refusal {
	if no.ends == nil {
		return no
	}
	if err := s.end(ctx, *no.ends, false); err != nil {
		return &refusal{Error: asError(err), event: Event{Authorization: no.ends.ID, Subject: no.ends.Subject}}
	}
	return no
}

// carryOutOf records an assertion that authenticated the request, once however
// often the request starts over, and commits the plan.
func (s *Server) carryOutOf(ctx context.Context, ad *admitted, p *plan) *refusal {
	if ad.assertion != nil {
		if err := ctx.Err(); err != nil {
			return &refusal{Error: unavailable(err)}
		}
		if err := s.spend(ctx, ad.assertion); err != nil {
			return &refusal{Error: err}
		}
		ad.assertion = nil
	}
	return s.carryOut(ctx, p)
}

// carryOut commits a plan.
func (s *Server) carryOut(ctx context.Context, p *plan) *refusal {
	if p.write == nil {
		return nil
	}
	fail := func(err *Error) *refusal {
		return &refusal{Error: err, event: Event{Subject: p.issued.Subject, Authorization: p.issued.Authorization}}
	}
	if err := ctx.Err(); err != nil {
		return fail(unavailable(err)) // nothing was written yet
	}
	w, err := p.write(s.now())
	if err != nil {
		return fail(broken(err))
	}
	if err := s.commit(ctx, w); err != nil {
		return fail(asError(err))
	}
	return nil
}

// planToken lets the grant decide and makes everything that is to be issued.
// Nothing is changed.
func (s *Server) planToken(ctx context.Context, t *TokenRequest, grant TokenGrant) (*plan, *refusal) {
	issue, err := grant.Token(ctx, t)
	switch {
	case t.refused != nil: // whatever the grant made of it
		return nil, t.refused
	case err != nil:
		return nil, &refusal{Error: asError(err)}
	case issue == nil:
		return nil, &refusal{Error: broken(errors.New("the grant returned nothing"))}
	}
	requested, _ := parseScope(t.Param("scope"))
	if requested == nil && t.opened != nil && s.cfg.Respond != nil {
		requested = t.opened.asked() // a redeemed code no longer knows
	}
	decided := *issue // what is filled in below is not the grant's: it may return one Issue to all requests
	p, failure := s.planIssue(ctx, t, &decided)
	if failure != nil {
		return nil, &refusal{Error: failure}
	}
	p.issued.Requested = requested
	if failure := s.respond(ctx, &p.issued, &p.fields); failure != nil {
		return nil, &refusal{Error: failure}
	}
	if p.body, err = p.fields.appendJSON(make([]byte, 0, 512)); err != nil {
		return nil, &refusal{Error: broken(err)}
	}
	return p, nil
}

// respond lets the host's hook change an answer. What it is told is its own.
func (s *Server) respond(ctx context.Context, issued *Issued, f *Fields) *Error {
	if s.cfg.Respond == nil {
		return nil
	}
	told := *issued
	told.Requested, told.Scopes = slices.Clone(issued.Requested), slices.Clone(issued.Scopes)
	told.Resources, told.Extra = slices.Clone(issued.Resources), maps.Clone(issued.Extra)
	if err := s.cfg.Respond(ctx, &told, f); err != nil {
		return asError(err)
	}
	return nil
}

// planIssue makes the tokens of an Issue at the token endpoint.
func (s *Server) planIssue(ctx context.Context, t *TokenRequest, issue *Issue) (*plan, *Error) {
	if issue.Code || issue.AccessToken {
		return nil, broken(errors.New("Issue.Code and Issue.AccessToken are for the authorization endpoint"))
	}
	resources, err := s.requestedResources(t.Client, t.params)
	if err != nil {
		return nil, err
	}
	if issue.Resources == nil {
		issue.Resources = resources
	}
	switch {
	case t.opened != nil:
		return s.planOpened(ctx, t, issue)
	case issue.Subject != "":
		return s.planNew(ctx, t, issue)
	}
	return s.planClient(ctx, t, issue)
}

// planClient issues to a client that acts for itself: nothing is stored, and
// there is no refresh token (RFC 6749, section 4.4.3).
func (s *Server) planClient(ctx context.Context, t *TokenRequest, issue *Issue) (*plan, *Error) {
	if t.Client.Public || issue.RefreshToken {
		return nil, broken(errors.New("a token without a subject is for confidential clients, without a refresh token"))
	}
	if !s.scopes.covers(t.Client.Scopes, issue.Scopes) {
		return nil, broken(errors.New("the grant issued a scope that the client may not have"))
	}
	policy, err := s.policy(ctx, PolicyRequest{Client: t.Client, GrantType: t.GrantType, Scopes: issue.Scopes})
	if err != nil {
		return nil, err
	}
	now := s.now()
	at := accessToken{clientID: t.Client.ID, scopes: issue.Scopes}
	life, format, err := s.aim(&at, issue.Resources, policy)
	if err != nil {
		return nil, err
	}
	at.live(now, now.Add(life))
	return s.planResponse(ctx, t, &at, new([32]byte), format, "", nil)
}

// planNew issues for a subject of a host's own grant: a new authorization.
func (s *Server) planNew(ctx context.Context, t *TokenRequest, issue *Issue) (*plan, *Error) {
	o := &opened{authorization: &authorization{}, verdict: accepted}
	if err := s.newAuthorization(o.authorization, newID(), t.Client, t.GrantType, Approval{
		Subject: issue.Subject, Scopes: issue.Scopes, Resources: issue.Resources}); err != nil {
		return nil, err
	}
	if !s.scopes.covers(t.Client.Scopes, issue.Scopes) {
		return nil, broken(errors.New("the grant issued a scope that the client may not have"))
	}
	t.opened = o
	return s.planOpened(ctx, t, issue)
}

// planOpened issues what an opened code or refresh token, or a new
// authorization, is good for.
func (s *Server) planOpened(ctx context.Context, t *TokenRequest, issue *Issue) (*plan, *Error) {
	o := t.opened
	if err := s.narrow(issue, o.grant.Scopes, t.Client); err != nil {
		return nil, err
	}
	if issue.Resources == nil {
		issue.Resources = o.grant.Resources
	}
	if (issue.Subject != "" && issue.Subject != o.rec.Subject) || !s.scopes.covers(o.grant.Scopes, issue.Scopes) {
		return nil, broken(errors.New("the grant issued more than was approved"))
	}
	if !subset(s.audience(issue.Resources), s.audience(o.grant.Resources)) {
		return nil, &Error{Code: InvalidTarget, Description: "The resource was not approved", Parameter: "resource"}
	}
	if o.policy == (Policy{}) {
		p, err := s.policy(ctx, PolicyRequest{Client: t.Client, GrantType: t.GrantType, Subject: o.rec.Subject,
			Scopes: o.grant.Scopes, Extra: o.grant.Extra})
		if err != nil {
			return nil, err
		}
		o.policy = p
	}
	if o.grant.End == 0 {
		o.grant.End = millis(s.now().Add(o.policy.RefreshAbsolute))
		o.setGrant()
	}
	return s.planRecord(ctx, t, issue)
}

// narrow settles the scopes of an access token: what the grant names, or all that
// was approved and that the client may still have.
func (s *Server) narrow(issue *Issue, approved []string, c *Client) *Error {
	if issue.Scopes == nil {
		issue.Scopes = approved
		if !s.scopes.covers(c.Scopes, approved) {
			issue.Scopes = slices.DeleteFunc(slices.Clone(approved), func(n string) bool { return !s.scopes.covers(c.Scopes, []string{n}) })
		}
	}
	if !s.scopes.covers(c.Scopes, issue.Scopes) || (len(issue.Scopes) == 0 && len(approved) > 0) {
		return &Error{Code: InvalidScope, Description: "The client may not have this scope any more", Parameter: "scope"}
	}
	return nil
}

// planRecord moves the record on and makes the tokens that belong to its new state.
func (s *Server) planRecord(ctx context.Context, t *TokenRequest, issue *Issue) (*plan, *Error) {
	o, now := t.opened, s.now()
	end := fromMillis(o.grant.End)
	at := accessToken{clientID: t.Client.ID, subject: o.rec.Subject, scopes: issue.Scopes, grant: &o.grant}
	at.record, _ = authorizationBytes(o.rec.ID)
	life, format, err := s.aim(&at, issue.Resources, o.policy)
	if err != nil {
		return nil, err
	}
	at.live(now, earliest(now.Add(life), end)) // access tokens never outlive the authorization

	refresh := issue.RefreshToken && o.policy.Refresh != NoRefresh && t.Client.May(refreshToken) && s.tokenGrants[refreshToken] != nil
	write := s.advance(o, refresh, now, time.Unix(at.expires, 0))
	at.version = max(o.rec.Version, o.head.floor)
	if write != nil {
		at.version = max(o.rec.Version+1, o.head.floor)
	}
	var token string
	if refresh {
		raw, ok := s.ring.Derive(derive.Refresh, o.head.keyID, at.record, o.head.generation, &o.head.nonce)
		if !ok {
			// Only where histories of a restored store met a change of secrets.
			return nil, &Error{Code: InvalidGrant, Description: "The credential is invalid, expired or revoked",
				Cause: errors.New("its successor was made with a secret that is not in Config.Secrets")}
		}
		token = derive.Encode(s.refreshOpaque.Prefix, s.refreshOpaque.Hex, raw)
	}
	p, err := s.planResponse(ctx, t, &at, &o.head.nonce, format, token, o)
	if err != nil {
		return nil, err
	}
	p.write = write
	return p, nil
}

// advance moves the state of the record in memory to what it will be after the
// commit, and returns that commit; nil if nothing needs to be stored.
func (s *Server) advance(o *opened, refresh bool, now, accessEnd time.Time) func(at time.Time) (write, error) {
	kept := refresh && o.kept()
	idleEnd := min(millis(now.Add(o.policy.RefreshIdle)), o.grant.End)
	switch {
	case o.verdict == repeated:
		return nil
	case kept && !o.mustMove(idleEnd, accessEnd):
		return nil
	case !kept:
		o.redeem(o.generation, s.ring.First())
	}
	o.head.idleEnd = idleEnd
	if !refresh {
		o.head.flags |= flagNoRefresh
	}
	o.extend(o.policy, accessEnd)
	return func(at time.Time) (write, error) {
		if !kept {
			o.stamp(at)
		}
		return write{create: o.rec.Version == 0, rec: s.encodeAuthorization(o.authorization)}, nil
	}
}

// kept reports whether the refresh token that was presented stays as it is.
func (o *opened) kept() bool {
	return o.policy.Refresh == Keep && !o.isCode && !o.wentBack && o.head.generation > 0
}

// mustMove reports whether a refresh token that stays needs a write all the same:
// its idle end moves by an eighth of the idle life or more, or the record would
// expire before the new access token.
func (o *opened) mustMove(idleEnd int64, accessEnd time.Time) bool {
	moved := time.Duration(idleEnd-o.head.idleEnd) * time.Millisecond
	return moved >= o.policy.RefreshIdle/8 || o.rec.ExpiresAt.Before(accessEnd.Add(o.policy.window()))
}

// planResponse makes the access token and the members of the answer (RFC 6749,
// section 5.1).
func (s *Server) planResponse(ctx context.Context, t *TokenRequest, at *accessToken, nonce *[32]byte, f Format, refresh string, o *opened) (*plan, *Error) {
	text, err := s.signAccessToken(ctx, at, nonce, f)
	if err != nil {
		return nil, unsigned(err)
	}
	p := &plan{
		issued: Issued{Endpoint: "token", Client: t.Client, GrantType: t.GrantType, Subject: at.subject,
			Scopes: at.scopes, Resources: at.audience, IssuedAt: time.Unix(at.issued, 0).UTC(), ExpiresAt: time.Unix(at.expires, 0).UTC()},
		event: Event{Type: EventTokenIssued, Endpoint: "token", ClientID: t.Client.ID, Subject: at.subject,
			GrantType: t.GrantType, Scopes: at.scopes, Refresh: refresh != "",
			Imported: o != nil && o.rec.Version == 0 && o.head.flags&flagImported != 0},
	}
	p.fields.list = make([]field, 0, 6)
	p.fields.setText("access_token", text)
	p.fields.setText("token_type", "Bearer")
	p.fields.Set("expires_in", at.expires-at.issued)
	if refresh != "" {
		p.fields.setText("refresh_token", refresh)
	}
	if len(at.scopes) > 0 {
		p.fields.setText("scope", strings.Join(at.scopes, " "))
	}
	if o != nil {
		p.issued.Authorization, p.issued.Extra = o.rec.ID, o.grant.Extra
		p.event.Authorization, p.event.Generation = o.rec.ID, o.head.generation
		switch {
		case o.verdict == repeated:
			p.event.Type = EventRefreshRetried
		case o.wentBack:
			p.event.Type = EventStoreWentBack
		}
	}
	return p, nil
}

// asked are the scopes that whoever names none expects.
func (a *authorization) asked() []string {
	if a.code.Asked != "" {
		return strings.Split(a.code.Asked, " ")
	}
	return slices.Clone(a.grant.Scopes)
}

// live sets the times of an access token, in whole seconds.
func (t *accessToken) live(from, to time.Time) {
	t.issued = from.Unix()
	t.expires = max(t.issued+1, t.issued+int64(to.Sub(from)/time.Second))
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
