// Package jose signs and verifies tokens in the compact serialization of RFC 7515 (JWS), and renders and reads public keys as the
// JWK Set of RFC 7517. It knows signatures and headers, never claims: a payload is opaque bytes, which [ParseObject] reads as
// strictly as a header.
//
// It is the only package of this module that imports go-jose, and no type of go-jose leaves it. What go-jose leaves open is
// closed here: its decoder takes line breaks and spare bits in base64url, it accepts any typ, it honours key material in a
// header, and its bridge to a crypto.Signer makes PSS salts of another length than RFC 7518 asks for.
package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// The algorithms that a Key can name: RFC 7518, section 3.1, and RFC 8037, section 3.1.
const (
	es256 = "ES256"
	es384 = "ES384"
	rs256 = "RS256"
	ps256 = "PS256"
	eddsa = "EdDSA"
	hs256 = "HS256"
)

// minSecret is the least length of an HS256 key in bytes: RFC 7518, section 3.2, that of the hash.
const minSecret = 32

// A Key signs and verifies. Exactly one of Signer and Secret is set. The zero Key can do neither.
//
// A Key is bound to one algorithm (RFC 8725, section 3.1): what a token's header says is compared with it and never chooses.
type Key struct {
	// ID is the kid of RFC 7515, section 4.1.4, valid UTF-8. Empty: no kid is written, and only tokens without a kid are
	// verified with this key.
	ID string
	// Algorithm is one of ES256, ES384, RS256, PS256, EdDSA, or HS256 with Secret. Empty is not a default; see [Algorithm].
	Algorithm string
	// Signer is a key in memory, in a KMS or in an HSM. To verify only its Public is called, so a Signer that cannot sign
	// still verifies. A private key of the standard library must be whole.
	Signer crypto.Signer
	// Secret is the key of HS256, at least 32 bytes.
	Secret []byte
}

// Format implements fmt.Formatter: whatever the verb, a Key prints its algorithm and never its secret.
func (k Key) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "jose.Key("+k.Algorithm+", redacted)")
}

// Check says what is wrong with a key: an unknown algorithm, one that does not fit the type or curve of the key, an RSA key that
// [Algorithm] refuses, a secret of less than 32 bytes, both or neither of Signer and Secret, an ID that is not UTF-8, a private key
// that is not whole. It is nil if the key can be used.
func Check(k Key) error {
	_, err := k.verifier()
	return err
}

// verifier is what go-jose verifies with: the public half or the secret. Its error is that of Check.
func (k Key) verifier() (any, error) {
	if !utf8.ValidString(k.ID) {
		return nil, errors.New("jose: the ID of the key is not UTF-8")
	}
	if (k.Signer == nil) == (len(k.Secret) == 0) {
		return nil, errors.New("jose: a key needs exactly one of Signer and Secret")
	}
	switch k.Algorithm {
	case hs256:
		if k.Signer != nil {
			return nil, errors.New("jose: HS256 needs a Secret, not a Signer")
		}
		if len(k.Secret) < minSecret {
			return nil, errors.New("jose: the secret of HS256 needs at least 32 bytes (RFC 7518, section 3.2)")
		}
		return k.Secret, nil
	case es256, es384, rs256, ps256, eddsa:
	default:
		return nil, errors.New("jose: the algorithm is none of ES256, ES384, RS256, PS256, EdDSA, HS256")
	}
	if k.Signer == nil {
		return nil, errors.New("jose: " + k.Algorithm + " needs a Signer, not a Secret")
	}
	pub, err := public(k.Signer)
	if err != nil {
		return nil, err
	}
	fits, err := Algorithm(pub)
	if err != nil {
		return nil, err
	}
	// RFC 7518, section 3.5: PS256 is made with the same keys as RS256.
	if fits != k.Algorithm && (fits != rs256 || k.Algorithm != ps256) {
		return nil, errors.New("jose: the algorithm does not fit the type or curve of the key")
	}
	return pub, nil
}

// public is s.Public() without the panics of the standard library's types when a part of the key is missing.
func public(s crypto.Signer) (crypto.PublicKey, error) {
	whole := true
	switch s := s.(type) {
	case *ecdsa.PrivateKey:
		//lint:ignore SA1019 only whether there is a D is looked at
		whole = s != nil && s.D != nil
	case *rsa.PrivateKey:
		whole = s != nil && s.D != nil
	case ed25519.PrivateKey:
		whole = len(s) == ed25519.PrivateKeySize
	}
	if !whole {
		return nil, errors.New("jose: the private key is not whole")
	}
	return s.Public(), nil
}
