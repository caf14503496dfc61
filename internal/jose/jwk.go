package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"

	gojose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// The sizes of RSA moduli that are taken, in bits. RFC 7518, section 3.3, gives the least. Keys beyond the greatest cost much and
// are refused by many who would have to verify with them, go-jose among them.
const (
	minModulus = 2048
	maxModulus = 4096
)

// Algorithm names the default algorithm of a public key: ES256 for P-256, ES384 for P-384, RS256 for RSA, EdDSA for Ed25519.
// Anything else is an error: other types and curves, a point that is not on its curve, an Ed25519 point of low order, an RSA
// modulus under 2048 or over 4096 bits, an RSA exponent that is even, under 65537 or over 2^31-1.
func Algorithm(pub crypto.PublicKey) (string, error) {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return curveAlgorithm(pub)
	case *rsa.PublicKey:
		return rs256, checkRSA(pub)
	case ed25519.PublicKey:
		// Anybody can sign for a point of low order. go-jose knows these and has no other way to ask.
		jwk := gojose.JSONWebKey{Key: pub}
		if _, err := jwk.Thumbprint(crypto.SHA256); err != nil {
			return "", errors.New("jose: the Ed25519 key has a wrong length or is a point of low order")
		}
		return eddsa, nil
	}
	return "", errors.New("jose: the public key is none of *ecdsa.PublicKey, *rsa.PublicKey, ed25519.PublicKey")
}

// curveAlgorithm names the algorithm of an ECDSA key: RFC 7518, section 3.4.
func curveAlgorithm(pub *ecdsa.PublicKey) (string, error) {
	if pub == nil {
		return "", errors.New("jose: the ECDSA key is nil")
	}
	var alg string
	switch pub.Curve {
	case elliptic.P256():
		alg = es256
	case elliptic.P384():
		alg = es384
	default:
		return "", errors.New("jose: the curve of the ECDSA key is neither P-256 nor P-384")
	}
	//lint:ignore SA1019 Bytes panics where there is no X or Y
	if pub.X == nil || pub.Y == nil {
		return "", errors.New("jose: the ECDSA key has no point")
	}
	if _, err := pub.Bytes(); err != nil {
		return "", errors.New("jose: the point of the ECDSA key is not on its curve")
	}
	return alg, nil
}

func checkRSA(pub *rsa.PublicKey) error {
	if pub == nil || pub.N == nil || pub.N.Sign() <= 0 || pub.N.Bit(0) == 0 {
		return errors.New("jose: the modulus of the RSA key is missing or even")
	}
	if bits := pub.N.BitLen(); bits < minModulus || bits > maxModulus {
		return errors.New("jose: the modulus of the RSA key needs 2048 to 4096 bits (RFC 7518, section 3.3)")
	}
	// FIPS 186-5, section 5.4: odd and over 2^16; crypto/rsa wants it to fit 31 bits.
	if pub.E <= 1<<16 || pub.E > 1<<31-1 || pub.E&1 == 0 {
		return errors.New("jose: the exponent of the RSA key is even, under 65537 or over 2^31-1")
	}
	return nil
}

// Thumbprint is the RFC 7638 thumbprint of a public key with SHA-256, in base64url: 43 characters. It refuses what [Algorithm]
// refuses.
func Thumbprint(pub crypto.PublicKey) (string, error) {
	if _, err := Algorithm(pub); err != nil {
		return "", err
	}
	jwk := gojose.JSONWebKey{Key: pub}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("jose: thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// JWKS renders the public halves as the JWK Set of RFC 7517, section 5, in the order given: asymmetric keys only, HS256 keys are
// left out. The members of a key are use ("sig"), kty, kid if the key has an ID, alg, and the public ones of RFC 7518, section 6,
// and RFC 8037, section 2; never a private one. Without any key the set is {"keys":[]}. A key that fails [Check] is an error.
func JWKS(keys []Key) ([]byte, error) {
	set := gojose.JSONWebKeySet{Keys: make([]gojose.JSONWebKey, 0, len(keys))}
	for i, k := range keys {
		pub, err := k.verifier()
		if err != nil {
			return nil, fmt.Errorf("key %d of the set: %w", i, err)
		}
		if k.Algorithm == hs256 {
			continue // RFC 7518, section 6.4: an oct key has no public half.
		}
		set.Keys = append(set.Keys, gojose.JSONWebKey{Key: pub, KeyID: k.ID, Algorithm: k.Algorithm, Use: "sig"})
	}
	out, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("jose: key set: %w", err)
	}
	return out, nil
}
