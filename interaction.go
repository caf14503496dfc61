package oauth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/internal/form"
)

// An Interaction is an authorization request that waits for the resource owner.
// It was validated and is sealed into its Handle: nothing that a page posts can
// change it, and nothing is stored for a user who never decides. It belongs to one
// request and is not safe for concurrent use.
type Interaction struct {
	server  *Server
	request *authorizeRequest
	id      [16]byte // of the authorization's record: a second approval meets it
	browser [16]byte // hash of the browser's cookie
	began   time.Time
	expires time.Time
	handle  string
}

// An Approval is what the resource owner allowed, as the host tells it.
type Approval struct {
	// Subject is the resource owner: the host's own identifier of the user, of at
	// most 255 bytes, the same every time. Required.
	Subject string
	// Scopes that are granted: those of [Interaction.Scopes], or fewer of them. None
	// where some were asked for is a denial.
	Scopes []string
	// Resources that are granted: those asked for, or fewer of them. nil: all of
	// them. None where some were asked for is a denial.
	Resources []string
	// AuthTime, ACR and AMR say when and how the user was authenticated, for APIs
	// that ask (RFC 9470). Zero: not told.
	AuthTime time.Time
	ACR      string
	AMR      []string
	// Session is the host's name for the browser session, for [Selector].Session. It is
	// text: of a random number in bytes, take the base64.
	Session string
	// Remember is how long [Interaction.Remembered] says that these scopes were allowed
	// for these resources, counted from this approval. It adds to scopes that are
	// remembered for the same resources, for no longer than those are, and takes the
	// place of what is remembered for others. It ends with a Revoke of the subject or
	// the client too. Zero: it does not; at most ten years.
	Remember time.Duration
	// Extra are the host's own strings, at most 4 KiB of them. They stay with the
	// authorization: Policy, Respond and handlers of an API find them.
	Extra map[string]string
}

// The errors of [Server.Interaction].
var (
	// ErrNoInteraction: the request has no handle, or one that is not this server's,
	// or it has expired. Send the user back to the application.
	ErrNoInteraction = errors.New("oauth: no such interaction, or it has expired")
	// ErrOtherBrowser: the handle belongs to a request that another browser began.
	// Nothing has ended; this browser has to start again.
	ErrOtherBrowser = errors.New("oauth: the interaction was begun by another browser")
)

const interactionParameter = "interaction"

// Client is the client that asks.
func (in *Interaction) Client() *Client { return in.request.client }

// Scopes are those asked for, or the defaults where none were.
func (in *Interaction) Scopes() []string { return slices.Clone(in.request.scopes) }

// ScopeTable are the rows of [Config].Scopes for the scopes asked for.
func (in *Interaction) ScopeTable() []Scope {
	var rows []Scope
	for _, r := range in.server.scopes.rows {
		if slices.Contains(in.request.scopes, r.Name) {
			r.Claims, r.Includes = slices.Clone(r.Claims), slices.Clone(r.Includes)
			rows = append(rows, r)
		}
	}
	return rows
}

// Resources are those asked for (RFC 8707).
func (in *Interaction) Resources() []string { return slices.Clone(in.request.resources) }

// RedirectURI is where the answer will go. Show its host to the user.
func (in *Interaction) RedirectURI() string { return in.request.redirectURI }

// RedirectHost is the host of the RedirectURI, or its scheme where it has none.
func (in *Interaction) RedirectHost() string { return hostOf(in.request.redirectURI) }

// Params are all parameters of the request, those unknown to the server too.
func (in *Interaction) Params() url.Values { return urlValues(in.request.params) }

// Handle names the interaction in forms and URLs of the host, as the parameter
// "interaction". It is good for the browser that it was made for.
func (in *Interaction) Handle() string { return in.handle }

// ExpiresAt is when the handle stops being good.
func (in *Interaction) ExpiresAt() time.Time { return in.expires }

// AuthorizeURL is the authorization endpoint: a form that posts the handle there
// needs no route of the host's own.
func (in *Interaction) AuthorizeURL() string { return in.server.endpoints[nameAuthorize].url }

// String and GoString leave the request out.
func (in Interaction) String() string {
	return fmt.Sprintf("oauth.Interaction(%s)", in.request.client)
}

// GoString is String, for the format %#v.
func (in Interaction) GoString() string { return in.String() }

// LogValue implements [slog.LogValuer].
func (in Interaction) LogValue() slog.Value { return slog.StringValue(in.String()) }

// Approve issues what the client asked for, within the approval, and sends the
// browser back to it. Approving twice gives the same code while that is open,
// and nothing afterwards.
func (in *Interaction) Approve(w http.ResponseWriter, r *http.Request, a Approval) {
	to, no := in.server.approve(r.Context(), in, a)
	if no != nil {
		in.server.refused(w, r, nameAuthorize, no)
		return
	}
	redirect(w, to)
}

// Deny sends the browser back with an error: [AccessDenied] if the user said no,
// another ErrorCode or *Error for another reason. nil is AccessDenied.
func (in *Interaction) Deny(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		err = AccessDenied
	}
	event := Event{Type: EventDenied, ClientID: in.request.client.ID}
	in.server.refused(w, r, nameAuthorize, in.server.back(in.request, asError(err), event))
}

// Interaction finds the interaction that a request to a page of the host belongs
// to: by the parameter "interaction" of the query or of a posted form, and by
// the browser's cookie. The errors are ErrNoInteraction, ErrOtherBrowser, and an
// *Error where the request is no longer valid or a registry failed.
func (s *Server) Interaction(r *http.Request) (*Interaction, error) {
	if r.Method == http.MethodPost {
		if err := parsePost(nil, r); err != nil {
			return nil, err
		}
	}
	in, err := s.openInteraction(r)
	if err != nil {
		return nil, err
	}
	if err := s.reexamine(r.Context(), in); err != nil {
		return nil, err
	}
	return in, nil
}

// interactionHandle is the handle of a request whose form was parsed if it has one.
func interactionHandle(r *http.Request) string {
	if h := r.PostForm.Get(interactionParameter); h != "" {
		return h
	}
	if !strings.Contains(r.URL.RawQuery, interactionParameter+"=") {
		return ""
	}
	return r.URL.Query().Get(interactionParameter)
}

// openInteraction unseals a handle and holds it against the browser's cookie.
func (s *Server) openInteraction(r *http.Request) (*Interaction, error) {
	text := interactionHandle(r)
	sealed, ok := derive.Decode("", false, text)
	if !ok || len(text) > maxHandleText {
		return nil, ErrNoInteraction
	}
	b, err := s.ring.Open(nil, derive.Handle, sealed)
	if errors.Is(err, derive.ErrUnknownKey) {
		s.emit(r.Context(), Event{Type: EventUnknownSecret})
	}
	if err != nil || len(b) < handleHead || b[0] != handleFormat {
		return nil, ErrNoInteraction
	}
	in := &Interaction{server: s, handle: text, expires: fromMillis(int64(binary.BigEndian.Uint64(b[33:]))),
		began: fromMillis(int64(binary.BigEndian.Uint64(b[41:])))}
	copy(in.id[:], b[1:])
	copy(in.browser[:], b[17:])
	if !s.now().Before(in.expires) {
		return nil, ErrNoInteraction
	}
	cookie, ok := s.browserCookie(r)
	if !ok {
		return nil, ErrOtherBrowser
	}
	hash, ok := s.browserHash(sealed[0], cookie)
	if !ok || subtle.ConstantTimeCompare(hash[:], in.browser[:]) != 1 {
		return nil, ErrOtherBrowser
	}
	var fields []form.Field
	p := payload{rest: b[handleHead:]}
	redirectURI := p.text()
	for len(p.rest) > 0 {
		name := p.text()
		fields = append(fields, form.Field{Name: name, Value: p.text()})
	}
	in.request = &authorizeRequest{params: form.New(fields...), redirectURI: redirectURI}
	return in, nil
}

// reexamine validates the sealed request again: client and configuration may
// have changed since.
func (s *Server) reexamine(ctx context.Context, in *Interaction) error {
	sealed := in.request.redirectURI
	a, err := s.locate(ctx, in.request.params)
	if err == nil && sealed != "" && sealed != a.redirectURI {
		a.redirectURI = "" // not where the answer was to go when the user was first asked
		err = refuse(InvalidRequest, "The redirect URI is not one of the client's")
	}
	in.request = a
	if err != nil {
		return err
	}
	if err := s.examine(ctx, a); err != nil {
		return err
	}
	return nil
}

// continueInteraction serves a request to the authorization endpoint that carries
// a handle.
func (s *Server) continueInteraction(w http.ResponseWriter, r *http.Request) *refusal {
	in, err := s.openInteraction(r)
	if err != nil {
		e := &Error{Code: InvalidRequest, Description: "The page has expired", Cause: err}
		if errors.Is(err, ErrOtherBrowser) {
			e.Description = "The page belongs to another browser, or cookies are off"
		}
		return s.unplaced(w, r, e)
	}
	err = s.reexamine(r.Context(), in)
	a := in.request
	event := Event{}
	if a.client != nil {
		event.ClientID = a.client.ID
	}
	if e := s.guard(w, r, nameAuthorize, event.ClientID); e != nil {
		return &refusal{Error: e, event: event}
	}
	if err != nil {
		if a.redirectURI == "" {
			return &refusal{Error: asError(err), event: event}
		}
		return s.back(a, asError(err), event)
	}
	noStore(w.Header())
	s.cfg.Interact(w, r, in)
	return nil
}

const (
	handleFormat = 1
	handleHead   = 1 + 16 + 16 + 8 + 8 // format, id, browser, end and beginning
)

// newInteraction seals a request that was examined, and binds it to the browser.
func (s *Server) newInteraction(w http.ResponseWriter, r *http.Request, a *authorizeRequest) (*Interaction, *Error) {
	cookie, ok := s.browserCookie(r)
	if !ok {
		cookie = rand.Text()
		name, secure := s.cookieName()
		http.SetCookie(w, &http.Cookie{Name: name, Value: cookie, Path: "/", Secure: secure,
			HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	now := fromMillis(millis(s.now()))
	in := &Interaction{server: s, request: a, id: newID(), began: now, expires: fromMillis(millis(now.Add(s.cfg.HandleLifetime)))}
	in.browser, _ = s.browserHash(s.ring.First(), cookie) // the ring has its own first secret
	b := make([]byte, 0, 512)
	b = append(b, handleFormat)
	b = append(b, in.id[:]...)
	b = append(b, in.browser[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(millis(in.expires)))
	b = binary.BigEndian.AppendUint64(b, uint64(millis(in.began)))
	if a.params.Has("redirect_uri") {
		b = appendText(b, "")
	} else { // the only one registered, which may be another when the handle comes back
		b = appendText(b, a.redirectURI)
	}
	for _, f := range a.params.Fields() { // not urlencoded: a state of 1000 marks has to fit
		if f.Value != "" {
			b = appendText(appendText(b, f.Name), f.Value)
		}
	}
	in.handle = derive.Encode("", false, s.ring.Seal(nil, derive.Handle, b))
	if len(in.handle) > maxHandleText {
		return nil, refuse(InvalidRequest, "The request is too long")
	}
	return in, nil
}

// cookieName follows the issuer's scheme, never the request: behind a proxy that
// ends TLS the request would lie.
func (s *Server) cookieName() (name string, secure bool) {
	if strings.HasPrefix(s.cfg.Issuer, "https://") {
		return "__Host-oauth", true
	}
	return "oauth", false
}

// browserCookie is the random value that names the browser, for all its tabs.
func (s *Server) browserCookie(r *http.Request) (string, bool) {
	name, _ := s.cookieName()
	c, err := r.Cookie(name)
	if err != nil || len(c.Value) != len(rand.Text()) || !unreserved(c.Value) {
		return "", false
	}
	return c.Value, true
}

func (s *Server) browserHash(keyID byte, cookie string) (h [16]byte, ok bool) {
	mac, ok := s.ring.MAC(derive.Browser, keyID, []byte(cookie))
	copy(h[:], mac[:])
	return h, ok
}

// checkApproval holds an approval against the request: it may narrow it and
// never widen.
func (in *Interaction) checkApproval(ap *Approval) *Error {
	a := in.request
	if !subset(ap.Scopes, a.scopes) {
		return broken(errors.New("the approval has a scope that was not asked for"))
	}
	if len(ap.Scopes) == 0 && len(a.scopes) > 0 {
		return &Error{Code: AccessDenied, Description: "No scope was granted", Cause: errors.New("the approval has no scopes")}
	}
	if ap.Resources == nil {
		ap.Resources = a.resources
	}
	if !subset(ap.Resources, a.resources) {
		return broken(errors.New("the approval has a resource that was not asked for"))
	}
	if len(ap.Resources) == 0 && len(a.resources) > 0 { // it would be a token for this server, which is more
		return &Error{Code: AccessDenied, Description: "No resource was granted", Cause: errors.New("the approval has no resources")}
	}
	// In the order of the request, each once.
	ap.Scopes = slices.DeleteFunc(slices.Clone(a.scopes), func(n string) bool { return !slices.Contains(ap.Scopes, n) })
	return nil
}

const maxExtra = 4 << 10 // bytes of all strings that a host adds to an approval

// check says what a host got wrong.
func (ap *Approval) check() error {
	switch {
	case ap.Subject == "" || len(ap.Subject) > 255 || !utf8.ValidString(ap.Subject) || strings.ContainsRune(ap.Subject, 0):
		return errors.New("the approval's Subject is empty, longer than 255 bytes or not text")
	case strings.HasPrefix(ap.Subject, clientSubject):
		return errors.New("the approval's Subject begins like that of a client")
	}
	if ap.Remember < 0 || ap.Remember > maxRemember {
		return fmt.Errorf("the approval's Remember is %v: it is 0 to %v", ap.Remember, maxRemember)
	}
	all := append([]string{ap.Session, ap.ACR}, ap.AMR...)
	for k, v := range ap.Extra {
		all = append(all, k, v)
	}
	size := len(ap.AMR) // an empty one takes room, too
	for _, text := range all {
		if size += len(text); !utf8.ValidString(text) { // stored it would be another, and Revoke would not find the Session
			return errors.New("one of the approval's strings is not UTF-8")
		}
	}
	if size > maxExtra {
		return errors.New("the approval's strings are longer than 4 KiB")
	}
	return nil
}
