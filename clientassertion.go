package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/grantwell/oauth/internal/fetch"
	"github.com/grantwell/oauth/internal/form"
	"github.com/grantwell/oauth/internal/jose"
)

// Client authentication by a signed assertion (RFC 7523, section 3; OpenID Connect
// Core, section 9): private_key_jwt, and client_secret_jwt.

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	assertionSkew = 30 * time.Second // how far a client's clock may be ahead
	assertionLife = time.Hour        // how far exp may be ahead: until then the jti is kept
	maxJTI        = 255              // bytes
)

var (
	// publicKey are the rules for private_key_jwt. A token of another kind, an access
	// token or an ID token, has a typ of its own and is none (RFC 8725, section 3.11).
	publicKey = jose.Rules{Types: []string{"", "JWT", "client-authentication+jwt"}, Algorithms: []string{"ES256", "ES384", "RS256", "PS256", "EdDSA", "Ed25519"}}
	// sharedKey are those for client_secret_jwt.
	sharedKey = jose.Rules{Types: publicKey.Types, Algorithms: []string{"HS256"}}
)

// readAssertion reads client_assertion and client_assertion_type of a request
// without an Authorization header (RFC 7521, section 4.2).
func readAssertion(v *form.Values) claim {
	c := claim{id: v.Get("client_id"), assertion: v.Get("client_assertion")}
	switch {
	case v.Get("client_secret") != "":
		c.err = refuse(InvalidRequest, "More than one client authentication method")
		return c
	case v.Get("client_assertion_type") != assertionType:
		c.err = &Error{Code: InvalidRequest, Description: "client_assertion_type is missing or unknown", Parameter: "client_assertion_type"}
		return c
	case c.assertion == "":
		c.err = missing("client_assertion")
		return c
	}
	// Whose it says it is: nothing is believed before the signature is right.
	if claims, ok := peek(c.assertion); ok && c.id == "" {
		c.id = claims.Text("sub")
	}
	return c
}

// peek reads the claims of a JWT whose signature nobody has looked at.
func peek(token string) (*jose.Object, bool) {
	if len(token) > jose.MaxToken {
		return nil, false
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, false
	}
	payload, err := base64url.DecodeString(parts[1])
	if err != nil {
		return nil, false
	}
	claims, err := jose.ParseObject(payload)
	return claims, err == nil
}

// checkAssertion decides whether an assertion was made by the client for this
// server, and returns the record that keeps it from being used twice.
func (s *Server) checkAssertion(ctx context.Context, c *Client, text, endpoint string) (*Record, *Error) {
	fail := func(why string) (*Record, *Error) {
		e := refuse(InvalidClient, notAuthenticated)
		e.Cause = errors.New(why)
		return nil, e
	}
	if c == nil {
		return fail("unknown client")
	}
	payload, err := s.verifyAssertion(ctx, c, text)
	switch {
	case errors.Is(err, jose.ErrInvalid) || errors.Is(err, errNoKeys):
		return fail(err.Error())
	case errors.Is(err, fetch.ErrURL) || errors.Is(err, fetch.ErrAddress):
		return fail("JWKSURI: " + err.Error())
	case err != nil:
		return nil, unavailable(fmt.Errorf("keys of client %q: %w", c.ID, err))
	}
	claims, err := jose.ParseObject(payload)
	if err != nil {
		return fail("assertion: " + err.Error())
	}
	now := s.now()
	// RFC 7523, section 3; OpenID Connect Core, section 9. Neither asks for iat: here what
	// does not say when it was made is refused, as what does not say when it ends.
	claims.Require("iss", "sub", "aud", "exp", "iat", "jti")
	issuer, subject, audience, id := claims.Text("iss"), claims.Text("sub"), claims.TextOrTexts("aud"), claims.Text("jti")
	expires, issued, notBefore := claims.Date("exp"), claims.Date("iat"), claims.Date("nbf")
	switch latest := now.Add(assertionSkew); {
	case claims.Err() != nil:
		return fail("assertion: " + claims.Err().Error())
	case issuer != c.ID || subject != c.ID:
		return fail("assertion: iss and sub are not the client")
	case !s.isAudience(audience, endpoint):
		return fail("assertion: aud is not this server")
	case !now.Before(expires):
		return fail("assertion: it has expired")
	case expires.After(now.Add(assertionLife + assertionSkew)):
		return fail("assertion: exp is too far ahead")
	case issued.After(latest) || notBefore.After(latest):
		return fail("assertion: it is from the future")
	case id == "" || len(id) > maxJTI:
		return fail("assertion: jti is empty or too long")
	}
	name := strconv.Itoa(len(c.ID)) + " " + c.ID + id
	return &Record{Realm: s.cfg.Realm, ID: hashID(spentPrefix, s.cfg.Realm, KindSpent, "assertion "+s.cfg.Issuer+" "+name), Kind: KindSpent,
		ClientID: c.ID, CreatedAt: fromMillis(millis(now)), ExpiresAt: fromMillis(millis(expires.Add(time.Second))), Data: bareData()}, nil
}

// isAudience: the issuer, as the one audience, so that what a client was made to
// send to another server is no good here.
func (s *Server) isAudience(audience []string, endpoint string) bool {
	if len(audience) != 1 || audience[0] == "" { // an endpoint that is not served has no URL
		return false
	}
	if audience[0] == s.cfg.Issuer {
		return true
	}
	return s.cfg.InsecureEndpointAudience && (audience[0] == s.endpoints[nameToken].url || audience[0] == s.endpoints[endpoint].url)
}

var errNoKeys = errors.New("the client has no keys")

// verifyAssertion checks the signature with the keys that the client registered.
func (s *Server) verifyAssertion(ctx context.Context, c *Client, text string) ([]byte, error) {
	switch {
	case len(c.JWKS) > 0:
		// Reading keys is work: not for what no key could verify.
		if _, err := publicKey.Verify(text, nil); !errors.Is(err, jose.ErrUnknownKey) {
			return nil, err
		}
		keys, err := jose.ParseJWKS(c.JWKS)
		if err != nil || len(keys) == 0 {
			return nil, errNoKeys
		}
		return publicKey.Verify(text, keys)
	case c.JWKSURI != "":
		return s.keySets.of(c.ID, c.JWKSURI).Verify(ctx, text)
	case len(c.InsecureSharedKey) > 0:
		// The key has no kid, and an assertion that names one is not made with it.
		return sharedKey.Verify(text, []jose.Key{{Algorithm: "HS256", Secret: c.InsecureSharedKey}})
	}
	return nil, errNoKeys
}

// spend records that an assertion was used: directly before the commit, so that
// a request that failed before does not use it up.
func (s *Server) spend(ctx context.Context, assertion *Record) *Error {
	err := s.commit(ctx, write{create: true, rec: *assertion})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errRaceLost):
		return &Error{Code: InvalidClient, Description: notAuthenticated, Cause: errors.New("assertion: it was used before")}
	}
	return asError(err)
}

// maxKeySets bounds how many clients' keys are kept.
const maxKeySets = 1000

// keySets are the keys at the URLs that clients registered, apart for each client:
// two may have keys with one kid.
type keySets struct {
	client *fetch.Client
	now    func() time.Time

	mu   sync.Mutex
	sets map[[2]string]*fetch.KeySet
}

func newKeySets(transport http.RoundTripper, now func() time.Time) *keySets {
	return &keySets{client: &fetch.Client{Transport: transport}, now: now, sets: map[[2]string]*fetch.KeySet{}}
}

func (k *keySets) of(clientID, uri string) *fetch.KeySet {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := [2]string{clientID, uri}
	set := k.sets[name]
	if set == nil {
		for old := range k.sets {
			if len(k.sets) < maxKeySets {
				break
			}
			delete(k.sets, old) // whichever comes first: it is loaded again when it is needed
		}
		set = fetch.NewKeySet(k.client, func(context.Context) (string, error) { return uri, nil }, publicKey, k.now)
		k.sets[name] = set
	}
	return set
}

// checkKeys says what is wrong with the keys of a client.
func (c *Client) checkKeys(fault func(string, ...any)) {
	ways := 0
	for _, has := range [...]bool{len(c.JWKS) > 0, c.JWKSURI != "", len(c.InsecureSharedKey) > 0} {
		if has {
			ways++
		}
	}
	if ways > 1 {
		fault("JWKS, JWKSURI and InsecureSharedKey: only one of them says what its assertions are signed with")
	}
	if ways > 0 && c.Public {
		fault("keys of a public client")
	}
	if len(c.JWKS) > 0 {
		if keys, err := jose.ParseJWKS(c.JWKS); err != nil || len(keys) == 0 {
			fault("JWKS has no public key that can verify a signature")
		}
	}
	if c.JWKSURI != "" && !strings.HasPrefix(c.JWKSURI, "https://") {
		fault("JWKSURI is not https")
	}
	if n := len(c.InsecureSharedKey); n > 0 && n < 32 {
		fault("InsecureSharedKey is shorter than 32 bytes")
	}
}
