// Package derive is where every secret value of the server is born: codes and
// refresh tokens that are computed instead of stored, sealed access tokens and
// handles, the MACs of records, and the keys of all these.
//
// A [Ring] holds sub-keys only. Each is made by HKDF (RFC 5869) from one of the
// host's secrets, one purpose and the issuer, so that a value made for one
// purpose, by one server, means nothing for another purpose or to another
// server, even where two servers have the same secret.
package derive

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
)

// Purpose says what a value is for. Every purpose has sub-keys of its own. There
// is no zero Purpose: passing a value that is none of the constants is a mistake
// in the program and panics.
type Purpose uint8

// The purposes. Their numbers are in sealed texts (as additional data) and their
// names in the sub-keys, so neither ever changes; a new one is added at the end.
const (
	Code         Purpose = iota + 1 // authorization codes
	Refresh                         // refresh tokens
	Access                          // sealing of opaque access tokens
	AccessRecord                    // the MAC inside an access token that ties it to its record's nonce
	Handle                          // sealing of interaction handles
	Data                            // the MAC at the end of an authorization's Data
	Browser                         // hash of the browser cookie inside a handle
	Session                         // sealing of the session cookie of package pages
	Import                          // not used any more; its number stays
	SigningKey                      // sealing of stored signing keys, and the MAC of their record
)

// names are what the purposes are called in the info of HKDF. No name contains a
// space and no two are equal, so that an info can be read in one way only.
var names = [...]string{
	Code - 1:         "code",
	Refresh - 1:      "refresh",
	Access - 1:       "access",
	AccessRecord - 1: "access-record",
	Handle - 1:       "handle",
	Data - 1:         "data",
	Browser - 1:      "browser",
	Session - 1:      "session",
	Import - 1:       "import",
	SigningKey - 1:   "signing-key",
}

// MinSecret is the least length of a secret, in bytes.
const MinSecret = 32

const (
	info       = "grantwell/oauth v1 " // begins the info of every derivation
	subKeySize = 32
)

// A Ring holds the sub-keys of all secrets of one server, each found by its key
// id. The first secret derives and seals, all of them check and open. A Ring
// never changes and is safe for concurrent use. Make one with [NewRing].
type Ring struct {
	ids  []byte
	keys [256]*keys // by key id; nil where there is no secret
}

// keys are all sub-keys of one secret. A purpose has two, one that seals and one
// that makes MACs, because no key should serve two algorithms.
type keys struct {
	id    byte
	seals [len(names)]seal // by Purpose-1
	macs  [len(names)]mac  // by Purpose-1
}

// NewRing makes the Ring of the server with this issuer and realm, "" for none: two
// realms of one issuer have keys of their own. It takes at least one secret, each of
// at least [MinSecret] bytes, no two of which may have the same key id: that is so
// for the same secret given twice, and for one pair of secrets in 256 by chance. The
// error joins everything that is wrong and names a secret by its index, counted from
// 0, never by its content. The secrets are not kept.
func NewRing(issuer, realm string, secrets [][]byte) (*Ring, error) {
	if len(secrets) == 0 {
		return nil, fmt.Errorf("no secret: at least one of %d bytes is needed", MinSecret)
	}
	server := issuer
	if realm != "" {
		server += " " + realm // no issuer has a space in it
	}
	r := new(Ring)
	var owner [256]int // by key id, the index of the secret that has it
	var errs []error
	for i, secret := range secrets {
		if len(secret) < MinSecret {
			errs = append(errs, fmt.Errorf("secret %d: %d bytes, at least %d are needed", i, len(secret), MinSecret))
			continue
		}
		k, err := newKeys(server, secret)
		if err != nil {
			errs = append(errs, fmt.Errorf("secret %d: %w", i, err))
			continue
		}
		if r.Has(k.id) {
			errs = append(errs, fmt.Errorf("secret %d: same key id as secret %d: it is the same secret, or it clashes by chance and another must be made", i, owner[k.id]))
			continue
		}
		owner[k.id] = i
		r.keys[k.id] = k
		r.ids = append(r.ids, k.id)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return r, nil
}

// newKeys makes the sub-keys of one secret.
func newKeys(issuer string, secret []byte) (*keys, error) {
	// RFC 5869, section 3.1: a secret is random already, so the salt may be absent.
	prk, err := hkdf.Extract(sha256.New, secret, nil)
	if err != nil {
		return nil, err
	}
	// The key id comes from the secret alone: two secrets clash on every server
	// or on none, so a list of secrets that one issuer accepts suits all.
	id, err := hkdf.Expand(sha256.New, prk, info+"key id", 1)
	if err != nil {
		return nil, err
	}
	k := &keys{id: id[0]}
	for i, name := range names {
		key, err := hkdf.Expand(sha256.New, prk, info+"seal "+name+" "+issuer, subKeySize)
		if err != nil {
			return nil, err
		}
		if k.seals[i].aead, err = chacha20poly1305.NewX(key); err != nil {
			return nil, err
		}
		k.seals[i].data = [2]byte{byte(i + 1), k.id}

		key, err = hkdf.Expand(sha256.New, prk, info+"mac "+name+" "+issuer, subKeySize)
		if err != nil {
			return nil, err
		}
		k.macs[i].init(key)
	}
	return k, nil
}

// First returns the key id of the secret that derives and seals.
func (r *Ring) First() byte { return r.ids[0] }

// Has reports whether the ring has a secret with this key id.
func (r *Ring) Has(keyID byte) bool { return r.keys[keyID] != nil }

// IDs returns the key ids of all secrets in the order they were given, that of
// [Ring.First] first. The slice is the caller's own.
func (r *Ring) IDs() []byte { return slices.Clone(r.ids) }

// String returns "redacted": a Ring that gets into a log says nothing.
func (r *Ring) String() string { return "redacted" }

// GoString returns "redacted", for the verb %#v.
func (r *Ring) GoString() string { return "redacted" }

// seal returns the sealing key of p, nil for a key id that the ring does not have.
func (r *Ring) seal(p Purpose, keyID byte) *seal {
	if k := r.keys[keyID]; k != nil {
		return &k.seals[p-1]
	}
	return nil
}

// mac returns the MAC key of p, nil for a key id that the ring does not have.
func (r *Ring) mac(p Purpose, keyID byte) *mac {
	if k := r.keys[keyID]; k != nil {
		return &k.macs[p-1]
	}
	return nil
}

// seal is one sub-key that seals.
type seal struct {
	aead cipher.AEAD
	data [2]byte // additional data: the purpose and the key id
}

// NewSecret returns 32 random bytes, fit to be a secret of [NewRing].
func NewSecret() []byte {
	secret := make([]byte, MinSecret)
	rand.Read(secret) // it never fails: it ends the program instead
	return secret
}
