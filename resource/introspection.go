package resource

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/grantwell/oauth/internal/fetch"
	"github.com/grantwell/oauth/internal/jose"
)

// Introspection verifies access tokens of any format by asking the authorization
// server in another process (RFC 7662). Issuer, ClientID and ClientSecret have to
// be set. Its fields are not changed once it is in use, and it is not copied; it
// is safe for concurrent use.
//
// The answer for a live token is kept for TTL and never beyond the token's end, and
// requests with the same token at the same time share one question. So a revocation
// is seen after TTL at most, or after the 5 seconds that a question may take if that
// is longer; with a negative TTL each request asks for itself. What is not active is
// not kept: it would only push out what is, since whoever sends such tokens has no
// end of them. At most Size answers are kept, under a hash of the token. Where the
// server cannot be asked, or what it answers is not understood, every token whose
// answer is not kept is a 503.
//
// So whoever sends tokens that nobody issued makes this process ask the server once
// for each, and [API.Guards] do not prevent that: they run after the token was
// verified. Where that matters, limit requests by their address before the API, in
// a middleware or a proxy.
//
// The server has to say in aud whom a token is for, as RFC 7662 leaves to it: an
// answer without it is good for no [API].
//
// A server that is not this library's may name the client in the sub of a token
// without a user: then Subject and ClientID of the [Token] are the same, and an API
// that tells users by Subject compares the two.
type Introspection struct {
	// Issuer is the identifier of the authorization server: what [Token.Issuer] will
	// say, what the iss of an answer must be if it has one, and where the server's
	// metadata is found, as with [JWT].
	Issuer string
	// Endpoint is the URL of the introspection endpoint; "" for the
	// introspection_endpoint of the metadata, which is asked for again where that one
	// does not answer as it should.
	Endpoint string
	// ClientID and ClientSecret are those of this API at the server, sent with HTTP
	// Basic authentication (RFC 6749, section 2.3.1). At this library's server it is a
	// client with Introspect, and with this API among its Resources.
	ClientID     string
	ClientSecret string
	// TTL is how long an answer for a live token is kept. Zero: 5 seconds, enough for
	// the burst of requests that one page makes; negative: not at all; at most 5
	// minutes.
	TTL time.Duration
	// Size is the number of answers that are kept; zero: 10,000, of a few hundred bytes
	// each.
	Size int
	// Transport sends the requests, as in [JWT].
	Transport http.RoundTripper
	// Now is the clock; nil for time.Now.
	Now func() time.Time

	once          sync.Once
	fault         error // in the fields
	authorization string
	client        *fetch.Client
	place         *fetch.Place
	flight        fetch.Flight[tokenHash, *Token]

	mu    sync.Mutex
	kept  map[tokenHash]keptToken
	order []tokenHash // of kept, as they came: a ring
	next  int         // where the next goes in the ring, once it is full
}

type tokenHash [sha256.Size]byte

// keptToken holds between two times, so that a clock that goes back makes it no
// younger.
type keptToken struct {
	token       *Token
	from, until time.Time
}

const (
	defaultTTL  = 5 * time.Second
	maxTTL      = 5 * time.Minute
	defaultSize = 10_000
	// maxToken is the length of the longest token that is asked about.
	maxToken = 16 << 10
)

// String leaves the secret out, and so does GoString.
func (i *Introspection) String() string { return fmt.Sprintf("resource.Introspection(%q)", i.Issuer) }

// GoString is String, for the format %#v.
func (i *Introspection) GoString() string { return i.String() }

// VerifyToken implements [Verifier]. An *Error with the Code InvalidToken says
// that the token is not live; one with ServerError, that a field of the
// Introspection is wrong; any other error, that the server could not be asked.
func (i *Introspection) VerifyToken(ctx context.Context, token string) (*Token, error) {
	i.once.Do(i.prepare)
	if i.fault != nil {
		return nil, &Error{Code: ServerError, Description: wordsServerError, Cause: i.fault}
	}
	if len(token) > maxToken || !isB64Token(token) { // RFC 6750, section 2.1: such a token cannot be sent to an API
		return nil, badToken(errMalformed)
	}
	hash := tokenHash(sha256.Sum256([]byte(token)))
	t, ok := i.lookUp(hash)
	if !ok {
		ask := func(ctx context.Context) (*Token, error) { return i.ask(ctx, hash, token) }
		var err error
		if i.TTL < 0 {
			t, err = ask(ctx) // of another's question the answer may be older than this request
		} else {
			t, err = i.flight.Do(ctx, hash, ask)
		}
		if err != nil {
			return nil, err
		}
	}
	return t.clone(), nil // of what is kept nobody else has a part
}

func (i *Introspection) prepare() {
	i.fault = errors.Join(checkServer(i.Issuer), checkURL("Endpoint", i.Endpoint))
	if i.ClientID == "" || i.ClientSecret == "" {
		i.fault = errors.Join(i.fault, errors.New("resource: Introspection has no ClientID or no ClientSecret"))
	}
	if i.TTL > maxTTL || i.Size < 0 {
		i.fault = errors.Join(i.fault, errors.New("resource: Introspection.TTL is over 5 minutes, or Size negative"))
	}
	// RFC 6749, section 2.3.1: both halves are form-encoded first.
	pair := url.QueryEscape(i.ClientID) + ":" + url.QueryEscape(i.ClientSecret)
	i.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
	i.client = clientFor(i.Transport, true, i.Issuer, i.Endpoint)
	i.place = &fetch.Place{URL: i.Endpoint, Metadata: fetch.Discover(i.client, i.Issuer), Now: i.now,
		Name: "introspection_endpoint", Member: func(m fetch.Metadata) string { return m.IntrospectionEndpoint }}
	i.kept = map[tokenHash]keptToken{}
}

func (i *Introspection) now() time.Time {
	if i.Now != nil {
		return i.Now()
	}
	return time.Now()
}

// ask asks the server about a token.
func (i *Introspection) ask(ctx context.Context, hash tokenHash, token string) (*Token, error) {
	asked := i.now()
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	var a *fetch.Answer
	err := i.place.Try(ctx, func(endpoint string) (err error) {
		a, err = i.client.Post(ctx, endpoint, "application/json", i.authorization, form)
		if err == nil && (a.Status != http.StatusOK || !a.Is("application/json")) {
			// 401 is about this API's own credentials (RFC 7662, section 2.3).
			err = fmt.Errorf("the answer is not a JSON document, status %d", a.Status)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("resource: introspection: %w", err)
	}
	t, err := i.read(a)
	if errors.Is(err, InvalidToken) {
		i.drop(hash)
	}
	if err != nil {
		return nil, err
	}
	i.keep(hash, t, asked)
	return t, nil
}

// read reads an answer (RFC 7662, section 2.2). Only one that says so in every
// detail makes a token live, and only one that says so makes it dead.
func (i *Introspection) read(a *fetch.Answer) (*Token, error) {
	o, err := jose.ParseObject(a.Body)
	if err != nil {
		return nil, fmt.Errorf("resource: introspection: %w", err)
	}
	o.Require("active")
	active := o.Bool("active")
	if err := o.Err(); err != nil {
		return nil, fmt.Errorf("resource: introspection: %w", err)
	}
	if !active {
		return nil, badToken(errors.New("the token is not active"))
	}
	t := readToken(o)
	kind, use := o.Text("token_type"), o.Text("token_use")
	if err := o.Err(); err != nil {
		return nil, fmt.Errorf("resource: introspection: %w", err)
	}
	if t.Issuer == "" {
		t.Issuer = i.Issuer
	}
	switch {
	case t.Issuer != i.Issuer:
		return nil, badToken(errors.New("the token is of another issuer"))
	case !i.now().Before(t.ExpiresAt): // also where there is no exp
		return nil, badToken(errExpired)
	case use != "" && use != "access_token":
		return nil, badToken(errors.New("the token is no access token")) // some servers tell refresh tokens so
	case strings.EqualFold(kind, "DPoP") && t.Confirmation == "":
		t.Confirmation = confirmation(nil)
	case kind != "" && !strings.EqualFold(kind, "Bearer") && !strings.EqualFold(kind, "DPoP"):
		return nil, badToken(errors.New("the token is of a type that is not known"))
	}
	return t, nil
}

// lookUp returns what is kept for a token, if it still holds.
func (i *Introspection) lookUp(hash tokenHash) (*Token, bool) {
	now := i.now()
	i.mu.Lock()
	defer i.mu.Unlock()
	k, ok := i.kept[hash]
	if !ok || now.Before(k.from) || !now.Before(k.until) {
		return nil, false
	}
	return k.token, true
}

// drop forgets what was kept for a token: a clock that goes back must not revive it.
// Its place in the ring stays, for the token may come back to it.
func (i *Introspection) drop(hash tokenHash) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.kept[hash]; ok {
		i.kept[hash] = keptToken{}
	}
}

// keep keeps the answer to a question that was asked then.
func (i *Introspection) keep(hash tokenHash, t *Token, asked time.Time) {
	ttl, size := i.TTL, i.Size
	if ttl == 0 {
		ttl = defaultTTL
	}
	if size == 0 {
		size = defaultSize
	}
	until := asked.Add(ttl)
	if t.ExpiresAt.Before(until) {
		until = t.ExpiresAt
	}
	if !asked.Before(until) {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.kept[hash]; !ok {
		// The oldest goes: all live equally long, so it is the first to end.
		if len(i.order) < size {
			i.order = append(i.order, hash)
		} else {
			delete(i.kept, i.order[i.next])
			i.order[i.next] = hash
			i.next = (i.next + 1) % size
		}
	}
	i.kept[hash] = keptToken{t, asked, until}
}
