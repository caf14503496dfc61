package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"html"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/internal/form"
	"github.com/grantwell/oauth/internal/wire"
)

const formType = "application/x-www-form-urlencoded"

const (
	maxQuery      = 16 << 10 // bytes of an authorization request
	maxHandleText = 4 << 10  // characters of an interaction handle
)

// An authorizeRequest is what the authorization endpoint was asked for.
type authorizeRequest struct {
	params      *form.Values
	client      *Client
	redirectURI string
	grants      []AuthorizeGrant
	fragment    bool // the answer goes into the fragment
	state       string
	scopes      []string
	resources   []string
	issue       Issue // of all grants, merged
	acrValues   []string
	maxAge      time.Duration // negative: any
}

// A redirection is an answer by way of the browser.
type redirection struct {
	uri      string
	fragment bool
	fields   Fields
	location string // uri and fields, rendered
}

// serveAuthorize is the authorization endpoint.
func (s *Server) serveAuthorize(w http.ResponseWriter, r *http.Request) *refusal {
	if r.Method == http.MethodPost {
		if err := parsePost(w, r); err != nil {
			return s.unplaced(w, r, err)
		}
		if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); r.ContentLength != 0 && (err != nil || media != formType) {
			return s.unplaced(w, r, refuse(InvalidRequest, "Content-Type must be "+formType))
		}
	}
	if interactionHandle(r) != "" {
		return s.continueInteraction(w, r)
	}
	if r.Method == http.MethodPost {
		return s.restate(w, r)
	}
	params := form.ParseQuery(r.URL.RawQuery, maxQuery)
	a, failure := s.locate(r.Context(), params)
	clientID := ""
	if a != nil && a.client != nil {
		clientID = a.client.ID
	}
	event := Event{ClientID: clientID}
	if err := s.guard(w, r, nameAuthorize, clientID); err != nil {
		return &refusal{Error: err, event: event}
	}
	if failure != nil { // a page, never a redirect, until client and redirect URI are right
		return &refusal{Error: failure, event: event}
	}
	if err := s.examine(r.Context(), a); err != nil {
		return s.back(a, err, event)
	}
	in, err := s.newInteraction(w, r, a)
	if err != nil {
		return s.back(a, err, event)
	}
	noStore(w.Header()) // a cache would give cookie and handle to the next one; Interact may say otherwise
	s.cfg.Interact(w, r, in)
	return nil
}

// unplaced refuses a request that could not be read far enough to know whose it is.
func (s *Server) unplaced(w http.ResponseWriter, r *http.Request, err *Error) *refusal {
	if e := s.guard(w, r, nameAuthorize, ""); e != nil {
		err = e
	}
	return &refusal{Error: err}
}

// parsePost reads a form that was posted by a page of the host or by a client.
// A page may repeat a field, so this is net/http's reader, bounded.
func parsePost(w http.ResponseWriter, r *http.Request) *Error {
	if r.PostForm == nil {
		r.Body = http.MaxBytesReader(w, r.Body, form.MaxBody)
	}
	if err := r.ParseForm(); err != nil {
		e := refuse(InvalidRequest, "The request is malformed")
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			e.Status = http.StatusRequestEntityTooLarge
		}
		return e
	}
	return nil
}

// restate answers a request that was posted with the same request as a GET: the
// browser's cookie does not come with a POST from another site.
func (s *Server) restate(w http.ResponseWriter, r *http.Request) *refusal {
	query := r.Form.Encode()
	for name := range r.Form {
		if form.Secret(name) {
			return s.unplaced(w, r, refuse(InvalidRequest, "The request has a parameter that must not be in a URL"))
		}
	}
	if len(query) > maxQuery {
		return s.unplaced(w, r, refuse(InvalidRequest, "The request is too long"))
	}
	if err := s.guard(w, r, nameAuthorize, ""); err != nil {
		return &refusal{Error: err}
	}
	noStore(w.Header())
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, s.endpoints[nameAuthorize].url+"?"+query, http.StatusSeeOther)
	return nil
}

// locate finds the client and the redirect URI of a request. Until both are
// right nothing may be redirected (RFC 6749, section 4.1.2.1).
func (s *Server) locate(ctx context.Context, params *form.Values) (*authorizeRequest, *Error) {
	a := &authorizeRequest{params: params}
	if err := params.ErrOf("client_id"); err != nil {
		return a, fromForm(err)
	}
	id := params.Get("client_id")
	if id == "" {
		return a, missing("client_id")
	}
	var err *Error
	if a.client, err = s.client(ctx, id); err != nil {
		return a, err
	}
	if a.client == nil {
		return a, &Error{Code: InvalidRequest, Description: "The client is unknown", Parameter: "client_id"}
	}
	if err := params.ErrOf("redirect_uri"); err != nil {
		return a, fromForm(err)
	}
	if s.cfg.RequireRedirectURI && params.Get("redirect_uri") == "" {
		return a, missing("redirect_uri")
	}
	uri, ok := matchRedirect(a.client, params.Get("redirect_uri"))
	if !ok {
		return a, &Error{Code: InvalidRequest, Description: "The redirect URI is not one of the client's", Parameter: "redirect_uri"}
	}
	a.redirectURI = uri
	if params.ErrOf("state") == nil {
		a.state = params.Get("state")
	}
	return a, nil
}

// examine checks the rest of a request. Its errors go to the client.
func (s *Server) examine(ctx context.Context, a *authorizeRequest) *Error {
	responseType := a.params.Get("response_type")
	words := strings.Split(responseType, " ")
	slices.Sort(words)
	a.grants = s.authorizeGrants[strings.Join(words, " ")]
	// OAuth 2.0 Multiple Response Types, section 5: whatever gives a token answers in the fragment.
	a.fragment = slices.ContainsFunc(words, func(w string) bool { return w != "" && w != "code" && w != "none" }) && a.params.ErrOf("response_type") == nil
	badMode := a.readMode() // errors go by the response mode too
	if err := a.params.ErrOf("scope"); err != nil && err.Parameter == "scope" && !a.params.Has("scope") {
		// RFC 6749, section 3.3: characters that no scope has make it malformed.
		return &Error{Code: InvalidScope, Description: "The scope is malformed", Parameter: "scope"}
	}
	if err := a.params.Err(); err != nil {
		return fromForm(err)
	}
	for _, f := range a.params.Fields() { // a request object is no credential here
		if f.Value != "" && f.Name != "request" && form.Secret(f.Name) {
			return &Error{Code: InvalidRequest, Description: "The request has a parameter that must not be in a URL", Parameter: f.Name}
		}
	}
	if err := a.refuseObject(); err != nil {
		return err
	}
	if responseType == "" {
		return missing("response_type")
	}
	if a.grants == nil {
		return &Error{Code: UnsupportedResponseType, Description: "The response type is not supported", Parameter: "response_type"}
	}
	if badMode != nil {
		return badMode
	}
	for _, g := range a.grants {
		if !a.client.May(g.GrantType()) {
			return refuse(UnauthorizedClient, "The client may not use this response type")
		}
	}
	var err *Error
	if a.scopes, err = s.scopes.requested(a.client, a.params.Get("scope")); err != nil {
		return err
	}
	if a.resources, err = s.requestedResources(a.client, a.params); err != nil {
		return err
	}
	if err := s.readStepUp(a); err != nil {
		return err
	}
	return a.decide(ctx)
}

// refuseObject refuses a request object: what it says beside the other parameters
// cannot be left out unseen, and no URL of a stranger's is ever fetched (OpenID
// Connect Core, section 3.1.2.6; RFC 9101, section 10.4).
func (a *authorizeRequest) refuseObject() *Error {
	for _, name := range [...]string{"request", "request_uri"} {
		if a.params.Has(name) {
			return &Error{Code: ErrorCode(name + "_not_supported"), Description: "Request objects are not supported", Parameter: name}
		}
	}
	return nil
}

// readMode reads response_mode: where the answer goes.
func (a *authorizeRequest) readMode() *Error {
	switch mode := a.params.Get("response_mode"); {
	case mode == "" || a.params.ErrOf("response_mode") != nil:
	case mode == "query" && !a.fragment:
	case mode == "fragment":
		a.fragment = true
	default:
		return &Error{Code: InvalidRequest, Description: "The response mode is not supported here", Parameter: "response_mode"}
	}
	return nil
}

// decide asks the grants of the response type what to issue, and merges it.
func (a *authorizeRequest) decide(ctx context.Context) *Error {
	a.issue = Issue{}
	for _, g := range a.grants {
		issue, err := g.Authorize(ctx, &AuthorizeRequest{Client: a.client, RedirectURI: a.redirectURI,
			Scopes: slices.Clone(a.scopes), params: a.params})
		switch {
		case err != nil:
			return asError(err)
		case issue == nil || (!issue.Code && !issue.AccessToken):
			return broken(errors.New("the grant issues nothing"))
		}
		a.issue.Code = a.issue.Code || issue.Code
		a.issue.AccessToken = a.issue.AccessToken || issue.AccessToken
		if issue.CodeChallenge != "" {
			a.issue.CodeChallenge = issue.CodeChallenge
		}
	}
	if a.issue.AccessToken && !a.fragment {
		return broken(errors.New("an access token would be in the query"))
	}
	return nil
}

// back sends an error to the client, with state and iss.
func (s *Server) back(a *authorizeRequest, err *Error, event Event) *refusal {
	if err.Status == http.StatusTooManyRequests {
		return &refusal{Error: err, event: event}
	}
	to := &redirection{uri: a.redirectURI, fragment: a.fragment}
	to.fields.Set("error", wire.Printable(string(err.Code)))
	if d := wire.Printable(err.Description); d != "" {
		to.fields.Set("error_description", d)
	}
	if err.URI != "" {
		to.fields.Set("error_uri", wire.URI(err.URI))
	}
	if failure := s.finish(a, to); failure != nil {
		return &refusal{Error: failure, event: event}
	}
	return &refusal{Error: err, event: event, redirect: to}
}

// finish adds what no hook can drop, state and iss (RFC 9207, section 2), and
// renders the target.
func (s *Server) finish(a *authorizeRequest, to *redirection) *Error {
	to.fields.Delete("state")
	to.fields.Delete("iss")
	if a.state != "" {
		to.fields.Set("state", a.state)
	}
	if !s.cfg.InsecureOmitIssuer {
		to.fields.Set("iss", s.cfg.Issuer)
	}
	params, err := to.fields.encode()
	if err != nil {
		return broken(err)
	}
	separator := "?"
	switch {
	case to.fragment:
		separator = "#"
	case strings.HasSuffix(to.uri, "?") || strings.HasSuffix(to.uri, "&"):
		separator = ""
	case strings.Contains(to.uri, "?"): // RFC 6749, section 3.1.2: a query that is there stays
		separator = "&"
	}
	to.location = to.uri + separator + params
	return nil
}

// redirect sends the browser to the client.
func redirect(w http.ResponseWriter, to *redirection) {
	noStore(w.Header())
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Location", to.location)
	// RFC 9700, section 4.12: 303, so that no form is posted on to the client.
	w.WriteHeader(http.StatusSeeOther)
}

// approve is the commit of an approval: one Create, whose ID the handle decides.
func (s *Server) approve(ctx context.Context, in *Interaction, ap Approval) (*redirection, *refusal) {
	a := in.request
	event := Event{ClientID: a.client.ID, Subject: ap.Subject, Authorization: authorizationID(in.id)}
	if err := s.recheck(ctx, in); err != nil {
		return nil, &refusal{Error: err, event: event}
	}
	fail := func(err *Error) (*redirection, *refusal) { return nil, s.back(a, err, event) }
	if err := in.checkApproval(&ap); err != nil {
		return fail(err)
	}
	if err := in.checkStepUp(&ap); err != nil {
		return fail(err)
	}
	grantType := a.grants[0].GrantType()
	var z authorization
	if err := s.newAuthorization(&z, in.id, a.client, grantType, ap); err != nil {
		return fail(err)
	}
	policy, err := s.policy(ctx, PolicyRequest{Client: a.client, GrantType: grantType, Subject: ap.Subject,
		Scopes: ap.Scopes, Extra: ap.Extra})
	if err != nil {
		return fail(err)
	}
	to, accessEnd, err := s.planApproval(ctx, in, &z, policy)
	if err != nil {
		return fail(err)
	}
	z.extend(policy, accessEnd)
	no := s.carryOut(ctx, &plan{issued: Issued{Subject: ap.Subject, Authorization: z.rec.ID},
		write: func(time.Time) (write, error) { return write{create: true, rec: s.encodeAuthorization(&z)}, nil }})
	if no != nil && errors.Is(no.Error, errRaceLost) {
		if to, err = s.approvedBefore(ctx, in, &z); err != nil {
			if errors.Is(err, errNewerFormat) {
				event.Type = EventUnknownFormat
			}
			return nil, &refusal{Error: err, event: event}
		}
		return to, nil
	}
	if no != nil {
		return fail(no.Error)
	}
	// Only an approval that counts is remembered. Where that fails the user is asked
	// again next time, and the client has its answer all the same.
	if err := s.remember(ctx, in, &ap); err != nil {
		s.emit(ctx, Event{Type: EventStorageFailed, Endpoint: nameAuthorize, ClientID: a.client.ID, Subject: ap.Subject, Err: err})
	}
	event.Type, event.Endpoint, event.GrantType, event.Scopes = EventApproved, nameAuthorize, grantType, slices.Clone(ap.Scopes)
	s.emit(ctx, event)
	return to, nil
}

// recheck makes sure that client and redirect URI are still right when the
// approval comes.
func (s *Server) recheck(ctx context.Context, in *Interaction) *Error {
	a := in.request
	if !s.now().Before(in.expires) {
		return refuse(InvalidRequest, "The request has expired")
	}
	c, err := s.client(ctx, a.client.ID)
	if err != nil {
		return err
	}
	if c == nil {
		return refuse(InvalidRequest, "The client is unknown")
	}
	if uri, ok := matchRedirect(c, a.params.Get("redirect_uri")); !ok || uri != a.redirectURI {
		return refuse(InvalidRequest, "The redirect URI is not one of the client's")
	}
	a.client = c
	return nil
}

// newAuthorization fills in the record of something that was just approved.
func (s *Server) newAuthorization(z *authorization, id [16]byte, c *Client, grantType string, ap Approval) *Error {
	if err := ap.check(); err != nil {
		return broken(err)
	}
	now := s.now()
	z.rec = Record{Realm: s.cfg.Realm, ID: authorizationID(id), Kind: KindAuthorization,
		ClientID: c.ID, Subject: ap.Subject, CreatedAt: fromMillis(millis(now))}
	z.head = head{keyID: s.ring.First(), nonce: newNonce(), rotated: millis(now)}
	z.grant = grantPart{Type: grantType, Scopes: slices.Clone(ap.Scopes), Resources: slices.Clone(ap.Resources),
		ACR: ap.ACR, AMR: slices.Clone(ap.AMR), Session: ap.Session, Extra: maps.Clone(ap.Extra)}
	if ap.AuthTime.After(now.Add(time.Minute)) {
		return broken(errors.New("the approval's AuthTime is in the future"))
	}
	if !ap.AuthTime.IsZero() {
		z.grant.AuthTime = ap.AuthTime.Unix()
	}
	if len(ap.Extra) > 0 || z.grant.AuthTime != 0 || ap.ACR != "" || len(ap.AMR) > 0 {
		z.head.flags |= flagDetails
	}
	return nil
}

// planApproval makes the code, the access token or both, and what is stored of
// them.
func (s *Server) planApproval(ctx context.Context, in *Interaction, z *authorization, p Policy) (*redirection, time.Time, *Error) {
	a, now := in.request, s.now()
	end := now.Add(p.RefreshAbsolute)
	z.grant.End = millis(end)
	z.rec.ExpiresAt = in.expires // or a second approval would succeed after a sweep
	z.head.idleEnd = min(millis(now.Add(p.RefreshIdle)), z.grant.End)
	issued := z.issued(a, now, now.Add(p.Code))
	to := &redirection{uri: a.redirectURI, fragment: a.fragment}
	if a.issue.Code {
		z.code = codePart{Expires: millis(now.Add(p.Code)), RedirectURI: a.redirectURI,
			Sent: a.params.Has("redirect_uri"), Challenge: a.issue.CodeChallenge}
		if len(z.grant.Scopes) < len(a.scopes) {
			z.code.Asked = strings.Join(a.scopes, " ")
		}
		z.setCode()
		to.fields.Set("code", s.codeText(z, in.id))
	}
	z.setGrant()
	accessEnd := now
	if a.issue.AccessToken {
		at := accessToken{record: in.id, version: 1, clientID: a.client.ID, subject: z.rec.Subject,
			scopes: z.grant.Scopes, grant: &z.grant}
		life, format, failure := s.aim(&at, z.grant.Resources, p)
		if failure != nil {
			return nil, now, failure
		}
		at.live(now, earliest(now.Add(life), end))
		text, err := s.signAccessToken(ctx, &at, &z.head.nonce, format)
		if err != nil {
			return nil, now, unsigned(err)
		}
		accessEnd = time.Unix(at.expires, 0)
		issued.ExpiresAt = accessEnd
		to.fields.Set("access_token", text) // RFC 6749, section 4.2.2
		to.fields.Set("token_type", "Bearer")
		to.fields.Set("expires_in", at.expires-at.issued)
		if len(at.scopes) > 0 {
			to.fields.Set("scope", strings.Join(at.scopes, " "))
		}
	}
	if err := s.settle(ctx, &issued, to, a); err != nil {
		return nil, now, err
	}
	return to, accessEnd, nil
}

// issued is what the host's hook is told of an approval.
func (a *authorization) issued(r *authorizeRequest, at, end time.Time) Issued {
	g := &a.grant
	return Issued{Endpoint: nameAuthorize, Client: r.client, GrantType: g.Type, Authorization: a.rec.ID, Subject: a.rec.Subject,
		Requested: r.scopes, Scopes: g.Scopes, Resources: g.Resources, Extra: g.Extra, IssuedAt: at, ExpiresAt: end}
}

// settle runs the host's hook over a redirect and adds what it cannot drop.
func (s *Server) settle(ctx context.Context, issued *Issued, to *redirection, a *authorizeRequest) *Error {
	if err := s.respond(ctx, issued, &to.fields); err != nil {
		return err
	}
	return s.finish(a, to)
}

// codeText is the code of an authorization: generation 0 of its chain.
func (s *Server) codeText(z *authorization, id [16]byte) string {
	raw, _ := s.ring.Derive(derive.Code, z.head.keyID, id, 0, &z.head.nonce)
	return derive.Encode("", false, raw)
}

// approvedBefore answers a second approval of one handle, as a double click makes
// it: the same code again while it is open and the decision is the same.
func (s *Server) approvedBefore(ctx context.Context, in *Interaction, again *authorization) (*redirection, *Error) {
	used := refuse(InvalidRequest, "The request was answered already")
	rec, err := s.get(ctx, authorizationID(in.id), KindAuthorization)
	switch {
	case isNotFound(err):
		return nil, used
	case err != nil:
		return nil, unavailable(err)
	}
	z, err := s.decodeAuthorization(rec)
	if errors.Is(err, errNewerFormat) {
		return nil, unavailable(err)
	}
	a := in.request
	if err != nil || z.head.flags&flagEnded != 0 || z.head.generation != 0 || z.code.Expires <= millis(s.now()) ||
		!a.issue.Code || a.issue.AccessToken || rec.ClientID != a.client.ID || rec.Subject != again.rec.Subject ||
		!sameSet(z.grant.Scopes, again.grant.Scopes) || !sameSet(z.grant.Resources, again.grant.Resources) || !s.ring.Has(z.head.keyID) {
		return nil, used
	}
	issued := z.issued(a, rec.CreatedAt, fromMillis(z.code.Expires))
	to := &redirection{uri: a.redirectURI, fragment: a.fragment}
	to.fields.Set("code", s.codeText(z, in.id))
	if err := s.settle(ctx, &issued, to, a); err != nil {
		return nil, err
	}
	return to, nil
}

const pageStyle = ":root{color-scheme:light dark;--back:#fff;--ink:#171b24}" +
	"@media(prefers-color-scheme:dark){:root{--back:#0e1117;--ink:#edf0f5}}" +
	"html,body{background:var(--back);color:var(--ink)}" +
	"body{max-width:36rem;margin:0 auto;padding:2rem 1rem;font:1rem/1.5 system-ui,sans-serif}h1{font-size:1.5rem;line-height:1.25}"

// writePage is the plain page of a request that cannot be answered by redirect.
func writePage(w http.ResponseWriter, e *Error) {
	sum := sha256.Sum256([]byte(pageStyle))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
		"'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(e.HTTPStatus())
	text := html.EscapeString(wire.Printable(e.Description))
	if text == "" {
		text = html.EscapeString(string(e.Code))
	}
	//nolint:errcheck // the browser is gone: there is nobody to tell
	w.Write([]byte("<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">" +
		"<title>Sign-in request refused</title><style>" + pageStyle + "</style>\n" +
		"<h1>This sign-in request cannot be answered</h1>\n<p>" + text + ".</p>\n" +
		"<p>Go back to the application and start again.</p>\n</html>\n"))
}

// hostOf is the host of a redirect URI, or its scheme where it has no host.
func hostOf(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return ""
	case u.Host == "":
		return u.Scheme
	}
	return u.Host
}
