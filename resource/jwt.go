package resource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grantwell/oauth/internal/fetch"
	"github.com/grantwell/oauth/internal/jose"
)

// JWT verifies the access tokens of RFC 9068 that an authorization server in
// another process signed. It asks that server for its keys and for nothing else,
// so that a revocation is not seen: a token is good until it expires. Only Issuer
// has to be set. Its fields are not changed once it is in use, and it is not
// copied; it is safe for concurrent use.
//
//	api := &resource.API{Verifier: &resource.JWT{Issuer: "https://as.example"}, Audience: "https://api.example"}
//
// It does not look at the audience, as no [Verifier] does: [API] always does. Who
// calls VerifyToken without an API asks [Token.For].
//
// A server that is not this library's may name the client in the sub of a token
// without a user, as RFC 9068, section 2.2, has it: then Subject and ClientID of the
// [Token] are the same, and an API that tells users by Subject compares the two.
//
// The keys are kept as long as the server's Cache-Control says, between one
// minute and 15 (5 minutes where it says nothing), and asked for again when a
// token names one that is not among them, at most every 10 seconds however many
// such tokens come. While the server cannot be reached, the keys that are there
// are used until they are an hour old. Then every token is a 503: it is not known
// any more whether a key was withdrawn, and a server that is away has issued no
// token for an hour, which is longer than they live by default. So a key that is
// withdrawn is refused here after 15 minutes, or an hour where somebody keeps this
// process from asking.
type JWT struct {
	// Issuer is the identifier of the authorization server: the iss of its tokens,
	// compared byte by byte, and where its metadata is found (RFC 8414, section 3, or
	// else OpenID Connect Discovery, section 4). An https URL; http for loopback hosts
	// alone.
	Issuer string
	// JWKSURI is the URL of the server's keys; "" for the jwks_uri of its metadata,
	// which is asked for again where the keys are not to be had any more.
	JWKSURI string
	// Algorithms are those that are taken, of ES256, RS256, PS256, EdDSA and ES384; nil
	// for these five. There is no other, and none for a key that both sides share.
	Algorithms []string
	// Types are the typ headers that are taken; nil for at+jwt (RFC 9068, section 4),
	// and one at least.
	// "JWT" is for a server that writes that: then nothing in the header keeps an ID
	// token apart, and the Audience of the [API] must not be the identifier of a client.
	Types []string
	// Leeway is how far the server's clock may be ahead: a token issued or valid so
	// much later than now is taken. Zero: one minute; at most 5. The end of a token is
	// its end.
	Leeway time.Duration
	// Transport sends the requests, for a server with a certificate of a private
	// authority, or one that asks for a client certificate; nil for connections of its
	// own, which use no proxy and no environment variable. Redirects are refused
	// and sizes and times limited either way.
	Transport http.RoundTripper
	// Now is the clock; nil for time.Now.
	Now func() time.Time

	once  sync.Once
	fault error // in the fields
	keys  *fetch.KeySet
}

const (
	defaultLeeway = time.Minute
	maxLeeway     = 5 * time.Minute
)

// algorithms are all that JWT knows.
var algorithms = []string{"ES256", "RS256", "PS256", "EdDSA", "ES384"}

// VerifyToken implements [Verifier]. An *Error with the Code InvalidToken says
// that the token is none of the server's live access tokens; one with ServerError,
// that a field of the JWT is wrong; any other error, that the keys could not be
// had.
func (j *JWT) VerifyToken(ctx context.Context, token string) (*Token, error) {
	j.once.Do(j.prepare)
	if j.fault != nil {
		return nil, &Error{Code: ServerError, Description: wordsServerError, Cause: j.fault}
	}
	claims, err := j.keys.Verify(ctx, token)
	if errors.Is(err, jose.ErrInvalid) {
		return nil, badToken(err)
	}
	if err != nil {
		return nil, fmt.Errorf("resource: keys of %s: %w", j.Issuer, err)
	}
	t, err := j.read(claims)
	if err != nil {
		return nil, badToken(err)
	}
	return t, nil
}

func (j *JWT) prepare() {
	j.fault = errors.Join(checkServer(j.Issuer), checkURL("JWKSURI", j.JWKSURI))
	wrong := func(a string) bool { return !slices.Contains(algorithms, a) }
	if slices.ContainsFunc(j.Algorithms, wrong) || j.Algorithms != nil && len(j.Algorithms) == 0 {
		j.fault = errors.Join(j.fault, errors.New("resource: JWT.Algorithms names none, or one that is not taken"))
	}
	if j.Types != nil && len(j.Types) == 0 {
		j.fault = errors.Join(j.fault, errors.New("resource: JWT.Types names none"))
	}
	if j.Leeway < 0 || j.Leeway > maxLeeway {
		j.fault = errors.Join(j.fault, errors.New("resource: JWT.Leeway is negative or over 5 minutes"))
	}
	rules := jose.Rules{Types: j.Types, Algorithms: j.Algorithms}
	if rules.Types == nil {
		rules.Types = []string{"at+jwt"}
	}
	if rules.Algorithms == nil {
		rules.Algorithms = algorithms
	}
	client := clientFor(j.Transport, false, j.Issuer, j.JWKSURI)
	place := &fetch.Place{URL: j.JWKSURI, Metadata: fetch.Discover(client, j.Issuer), Now: j.now,
		Name: "jwks_uri", Member: func(m fetch.Metadata) string { return m.JWKSURI }}
	j.keys = fetch.NewKeySetAt(client, place, rules, j.now)
}

func (j *JWT) now() time.Time {
	if j.Now != nil {
		return j.Now()
	}
	return time.Now()
}

// read reads the claims of a token whose signature is good (RFC 9068, section 4).
func (j *JWT) read(claims []byte) (*Token, error) {
	o, err := jose.ParseObject(claims)
	if err != nil {
		return nil, err
	}
	// RFC 9068, section 2.2: these are required.
	o.Require("iss", "exp", "aud", "sub", "client_id", "iat", "jti")
	t := readToken(o)
	notBefore := o.Date("nbf")
	if err := o.Err(); err != nil {
		return nil, err
	}
	leeway := j.Leeway
	if leeway == 0 {
		leeway = defaultLeeway
	}
	now := j.now()
	ahead := now.Add(leeway)
	switch {
	case t.Issuer != j.Issuer:
		return nil, errors.New("the token is of another issuer")
	case o.Text("sub") == "" || t.ClientID == "" || t.ID == "" || len(t.Audience) == 0:
		return nil, errors.New("sub, client_id, jti or aud of the token is empty")
	case !now.Before(t.ExpiresAt):
		return nil, errExpired
	case t.IssuedAt.After(ahead) || notBefore.After(ahead) || !t.IssuedAt.Before(t.ExpiresAt):
		return nil, errors.New("the token is not valid yet, or its times contradict each other")
	}
	return t, nil
}

// readToken reads what the claims of RFC 9068 and the members of RFC 7662 have in
// common.
func readToken(o *jose.Object) *Token {
	t := &Token{
		ID:        o.Text("jti"),
		Issuer:    o.Text("iss"),
		ClientID:  o.Text("client_id"),
		Subject:   o.Text("sub"),
		Audience:  o.TextOrTexts("aud"),
		IssuedAt:  o.Date("iat"),
		ExpiresAt: o.Date("exp"),
		AuthTime:  o.Date("auth_time"),
		ACR:       o.Text("acr"),
		AMR:       o.Texts("amr"),
	}
	t.Scopes = strings.FieldsFunc(o.Text("scope"), func(c rune) bool { return c == ' ' })
	if t.Subject == clientSubject+t.ClientID {
		t.Subject = ""
	}
	if o.Has("cnf") {
		t.Confirmation = confirmation(o.Object("cnf"))
	}
	return t
}

// clientSubject is what this library's server writes before the client in the sub
// of a token that has no resource owner.
const clientSubject = "client:"

// confirmation is the key that cnf names (RFC 7800, section 3.1). What is not
// exactly one key of a known kind is a key all the same, which nobody can check.
func confirmation(cnf *jose.Object) string {
	const unknown = "unknown:"
	if cnf == nil || cnf.Len() != 1 {
		return unknown
	}
	for _, method := range [...]string{"jkt", "x5t#S256"} {
		if value := cnf.Text(method); value != "" {
			return method + ":" + value
		}
	}
	return unknown
}

// clientFor makes the requests to an authorization server that the host named:
// it may well be in a private network, and on this machine in clear.
func clientFor(transport http.RoundTripper, reuse bool, urls ...string) *fetch.Client {
	return &fetch.Client{Allow: fetch.Any, Transport: transport, Reuse: reuse,
		Loopback: slices.ContainsFunc(urls, func(u string) bool { return strings.HasPrefix(u, "http://") })}
}

// checkServer is about an Issuer (RFC 8414, section 2).
func checkServer(issuer string) error {
	if issuer == "" {
		return errors.New("resource: there is no Issuer")
	}
	if strings.Contains(issuer, "?") {
		return errors.New("resource: the Issuer has a query")
	}
	return checkURL("Issuer", issuer)
}

// checkURL is about a URL that may be asked for; "" is none.
func checkURL(field, s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Contains(s, "#") ||
		u.Scheme != "https" && !(u.Scheme == "http" && fetch.IsLoopback(u.Hostname())) {
		return errors.New("resource: the " + field + " is not an https URL, or an http URL of a loopback host")
	}
	return nil
}
