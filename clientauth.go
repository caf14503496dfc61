package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/internal/form"
)

// NewSecret returns 32 random bytes: a secret for [Config].Secrets.
func NewSecret() []byte { return derive.NewSecret() }

// HashSecret returns what to keep in [Client].Secrets for a secret that was
// generated, such as [crypto/rand.Text]: its SHA-256. Stretching would protect a
// guessable secret only; for one that a person chose, keep a bcrypt or argon2id
// hash, and know that every token request then pays for it.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return sha256Prefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

const (
	sha256Prefix   = "sha256$"
	argon2idPrefix = "$argon2id$"
	maxSecret      = 1 << 10 // bytes; a longer one is refused before it is hashed
	maxBcrypt      = 72      // bytes; bcrypt looks at no more
)

// A claim is what a request says of the client it comes from.
type claim struct {
	id, secret string
	assertion  string // client_assertion
	header     bool   // the request used the Authorization header
	err        *Error // the claim contradicts itself or is malformed
}

// readClaim reads the client authentication of a request (RFC 6749, section 2.3.1).
func readClaim(r *http.Request, v *form.Values) claim {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		if v.Has("client_assertion") || v.Has("client_assertion_type") {
			return readAssertion(v)
		}
		return claim{id: v.Get("client_id"), secret: v.Get("client_secret")}
	}
	failed := claim{header: true, err: refuse(InvalidClient, notAuthenticated)}
	if len(headers) > 1 {
		return failed
	}
	id, secret, ok := form.Basic(headers[0])
	if !ok {
		return failed
	}
	c := claim{id: id, secret: secret, header: true}
	switch {
	case v.Has("client_secret") || v.Has("client_assertion"):
		// RFC 6749, section 2.3: not more than one authentication method in each request.
		c.err = refuse(InvalidRequest, "More than one client authentication method")
	case v.Has("client_id") && v.Get("client_id") != id:
		c.err = refuse(InvalidRequest, "client_id differs from the Authorization header")
	}
	return c
}

// refuse completes a refusal of the client. That of a guard, where it has no words
// of its own, cannot be told from that of a wrong secret.
func (c claim) refuse(w http.ResponseWriter, err *Error) *Error {
	if err.Code != InvalidClient {
		return err
	}
	if c.header {
		// RFC 6749, section 5.2, asks for this header where the client used the
		// Authorization header. Elsewhere it would hide the error from clients that
		// take any challenge for one of HTTP, so it is left out there, against
		// RFC 9110, section 15.5.2.
		w.Header().Set("WWW-Authenticate", `Basic realm="oauth"`)
	}
	if err.Description != "" {
		return err
	}
	e := *err // a guard may return one *Error to all requests
	e.Description = notAuthenticated
	return &e
}

// notAuthenticated is all that a client is told whose authentication failed.
const notAuthenticated = "Client authentication failed"

// authenticate decides whether the claim is true. An assertion is used up by the
// record that it returns.
func (s *Server) authenticate(ctx context.Context, c *Client, cl claim, endpoint string) (assertion *Record, err *Error) {
	if cl.err == nil && cl.assertion != "" {
		return s.checkAssertion(ctx, c, cl.assertion, endpoint)
	}
	return nil, s.checkSecret(ctx, c, cl)
}

// checkSecret: an unknown client and a wrong secret get the same answer, and cost
// the same work where all clients have hashes of one kind.
func (s *Server) checkSecret(ctx context.Context, c *Client, cl claim) *Error {
	failed := func(why string) *Error {
		return &Error{Code: InvalidClient, Description: notAuthenticated, Cause: errors.New(why)}
	}
	switch {
	case cl.err != nil:
		return cl.err
	case c != nil && c.Public:
		// A public client has no secret: whoever sends one is mistaken about what it is.
		if cl.secret != "" || cl.header {
			return failed("a public client sent a secret")
		}
		return nil
	case cl.id == "" || cl.secret == "":
		return failed("no client credentials")
	}
	hashes := s.secrets.dummy()
	if c != nil && len(c.Secrets) > 0 {
		hashes = c.Secrets
	}
	match, err := s.secrets.match(ctx, hashes, cl.secret)
	switch {
	case err != nil:
		return unavailable(err)
	case c == nil:
		return failed("unknown client")
	case len(c.Secrets) == 0 || !match:
		return failed("wrong secret")
	}
	return nil
}

// secretChecker compares secrets with their hashes. Slow hashes share a bounded
// number of places, so that wrong secrets cannot take all processors.
type secretChecker struct {
	slow chan struct{}
	kind atomic.Pointer[[]string] // hashes last seen: the work to do for an unknown client
}

func newSecretChecker(registry ClientRegistry) *secretChecker {
	k := &secretChecker{slow: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	seed := []string{HashSecret(rand.Text())}
	if static, ok := registry.(*staticClients); ok {
		for _, c := range static.all {
			if len(c.Secrets) > 0 {
				seed = c.Secrets
				break
			}
		}
	}
	k.kind.Store(&seed)
	return k
}

func (k *secretChecker) dummy() []string { return *k.kind.Load() }

// match compares the secret with every hash, whichever of them fits.
func (k *secretChecker) match(ctx context.Context, hashes []string, secret string) (bool, error) {
	if last := k.dummy(); len(last) != len(hashes) || hashKind(last[0]) != hashKind(hashes[0]) {
		kept := hashes // or every call would put hashes on the heap
		k.kind.Store(&kept)
	}
	if len(secret) > maxSecret {
		return false, nil
	}
	found := false
	for _, h := range hashes {
		ok, err := k.matchOne(ctx, h, secret)
		if err != nil {
			return false, err
		}
		found = found || ok
	}
	return found, nil
}

func (k *secretChecker) matchOne(ctx context.Context, hash, secret string) (bool, error) {
	if strings.HasPrefix(hash, sha256Prefix) {
		sum := sha256.Sum256([]byte(secret))
		var text [43]byte
		base64.RawURLEncoding.Encode(text[:], sum[:])
		return subtle.ConstantTimeCompare([]byte(hash[len(sha256Prefix):]), text[:]) == 1, nil
	}
	select {
	case k.slow <- struct{}{}:
		defer func() { <-k.slow }()
	case <-ctx.Done():
		return false, fmt.Errorf("waiting to check a secret: %w", ctx.Err())
	}
	if strings.HasPrefix(hash, argon2idPrefix) {
		return matchArgon2id(hash, secret), nil
	}
	// bcrypt looks at 72 bytes: a longer secret would match any that begins like it.
	return len(secret) <= maxBcrypt && bcrypt.CompareHashAndPassword([]byte(hash), []byte(secret)) == nil, nil
}

// hashKind is the part of a hash that says what it costs to compare with it.
func hashKind(hash string) string {
	switch {
	case strings.HasPrefix(hash, sha256Prefix):
		return sha256Prefix
	case strings.HasPrefix(hash, argon2idPrefix):
		params, _, _ := strings.Cut(strings.TrimPrefix(hash, argon2idPrefix+"v=19$"), "$")
		return argon2idPrefix + params
	}
	return hash[:min(len(hash), len("$2b$12$"))]
}

// argon2Hash is a PHC string: $argon2id$v=19$m=19456,t=2,p=1$salt$hash.
type argon2Hash struct {
	memory, time uint32 // KiB, passes
	threads      uint8
	salt, sum    []byte
}

// parseArgon2id reads a PHC string and bounds what it may cost.
func parseArgon2id(hash string) (h argon2Hash, ok bool) {
	parts := strings.Split(strings.TrimPrefix(hash, argon2idPrefix), "$")
	if len(parts) != 4 || parts[0] != "v=19" {
		return h, false
	}
	var n [3]uint64
	params := strings.Split(parts[1], ",")
	if len(params) != 3 {
		return h, false
	}
	for i, name := range [...]string{"m=", "t=", "p="} {
		text, found := strings.CutPrefix(params[i], name)
		v, err := strconv.ParseUint(text, 10, 32)
		if !found || err != nil || v == 0 {
			return h, false
		}
		n[i] = v
	}
	salt, err := base64.RawStdEncoding.Strict().DecodeString(parts[2])
	sum, err2 := base64.RawStdEncoding.Strict().DecodeString(parts[3])
	if err != nil || err2 != nil || len(salt) < 8 || len(sum) < 16 || len(sum) > 64 ||
		n[0] > 256<<10 || n[1] > 16 || n[2] > 16 {
		return h, false
	}
	return argon2Hash{memory: uint32(n[0]), time: uint32(n[1]), threads: uint8(n[2]), salt: salt, sum: sum}, true
}

func matchArgon2id(hash, secret string) bool {
	h, ok := parseArgon2id(hash)
	if !ok {
		return false
	}
	sum := argon2.IDKey([]byte(secret), h.salt, h.time, h.memory, h.threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

// checkHash says whether a text is a hash that matchOne can compare with.
func checkHash(hash string) error {
	switch {
	case strings.HasPrefix(hash, sha256Prefix):
		if b, err := base64url.DecodeString(hash[len(sha256Prefix):]); err != nil || len(b) != sha256.Size {
			return errors.New("is a malformed SHA-256 hash")
		}
	case strings.HasPrefix(hash, argon2idPrefix):
		if _, ok := parseArgon2id(hash); !ok {
			return errors.New("is a malformed argon2id hash, or one too costly to check")
		}
	default:
		if _, err := bcrypt.Cost([]byte(hash)); err != nil {
			return errors.New("is no hash: use HashSecret, bcrypt or argon2id")
		}
	}
	return nil
}
