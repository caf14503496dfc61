package keystore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/grantwell/oauth/internal/jose"
)

// The algorithms: RFC 7518, section 3.1, and RFC 8037, section 3.1.
const (
	es256 = "ES256"
	es384 = "ES384"
	eddsa = "EdDSA"
	rs256 = "RS256"
	ps256 = "PS256"
)

// modulus of RSA keys, in bits: as strong as P-256, whatever RFC 7518, section
// 3.3, would still allow.
const modulus = 3072

func known(alg string) bool {
	switch alg {
	case es256, es384, eddsa, rs256, ps256:
		return true
	}
	return false
}

// generate makes a key for one algorithm (RFC 8725, section 3.1). RSA takes some
// hundred milliseconds.
func generate(alg string) (*key, error) {
	var private crypto.Signer
	var err error
	switch alg {
	case es256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case es384:
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case eddsa:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, modulus)
	}
	if err != nil {
		return nil, fmt.Errorf("keystore: no %s key could be made: %w", alg, err)
	}
	return newKey(private)
}

func newKey(private crypto.Signer) (*key, error) {
	id, err := jose.Thumbprint(private.Public())
	if err != nil {
		return nil, err
	}
	return &key{id: id, public: private.Public(), private: private}, nil
}

func parsePrivate(der []byte) (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("a key that does not sign")
	}
	return private, nil
}
