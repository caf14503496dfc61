package derive

import (
	"crypto/rand"
	"errors"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
)

// What [Ring.Open] answers to a text that it does not open.
var (
	// ErrUnknownKey says that the key id is of no secret of the ring: a secret was
	// taken away too early, or the text is another server's.
	ErrUnknownKey = errors.New("derive: sealed with an unknown key")
	// ErrForged says that the text was not sealed by a server with this secret and
	// issuer for this purpose, or not left as it was.
	ErrForged = errors.New("derive: forged")
)

const (
	nonceEnd    = 1 + chacha20poly1305.NonceSizeX      // key id and nonce
	sealedExtra = nonceEnd + chacha20poly1305.Overhead // by how much a sealed text is longer
)

// Seal appends to dst the key id of the first secret (1 byte), a random nonce (24)
// and the plaintext under XChaCha20-Poly1305, 16 bytes longer than it was. Purpose
// and key id are authenticated with it. Nonces of this length may be random for
// ever: 2⁸⁰ texts of one key would meet in one with a chance of 2⁻³³.
// The plaintext must not be in the spare capacity of dst.
func (r *Ring) Seal(dst []byte, p Purpose, plaintext []byte) []byte {
	keyID := r.First()
	s := r.seal(p, keyID)
	dst = slices.Grow(dst, len(plaintext)+sealedExtra)
	dst = append(dst, keyID)
	nonce := dst[len(dst) : len(dst)+chacha20poly1305.NonceSizeX]
	rand.Read(nonce) // it never fails: it ends the program instead
	dst = dst[:len(dst)+len(nonce)]
	// In place: what is passed to a cipher.AEAD is allocated, so the plaintext is not.
	begin := len(dst)
	dst = append(dst, plaintext...)
	return s.aead.Seal(dst[:begin], nonce, dst[begin:], s.data[:])
}

// Open appends to dst the plaintext of what [Ring.Seal] made for the same purpose
// with any secret of the ring. The error is [ErrUnknownKey] if the text begins
// with a key id that the ring does not have, else [ErrForged]; then the slice
// is nil. The sealed text must not be in the spare capacity of dst.
func (r *Ring) Open(dst []byte, p Purpose, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, ErrForged
	}
	s := r.seal(p, sealed[0])
	if s == nil {
		return nil, ErrUnknownKey
	}
	if len(sealed) < sealedExtra {
		return nil, ErrForged
	}
	plaintext, err := s.aead.Open(dst, sealed[1:nonceEnd], sealed[nonceEnd:], s.data[:])
	if err != nil {
		return nil, ErrForged
	}
	return plaintext, nil
}
