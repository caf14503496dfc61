package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"slices"

	"github.com/go-jose/go-jose/v4/json"
)

// MaxKeys is the number of keys beyond which a key set is refused as a whole.
const MaxKeys = 100

// ParseJWKS reads the keys of a JWK Set that can verify tokens (RFC 7517, section 5). What is odd about one key does not concern
// the others: one of an unknown kty, curve or algorithm, without what its kty needs, for another use than signatures, that fails
// [Check], or that is symmetric or has a private part and so is no secret any more, is left out. Members that carry certificates
// or name them are not looked at. An RSA key that names no algorithm is there twice, for RS256 and PS256. An error is a document
// that is no key set, or has more than [MaxKeys].
func ParseJWKS(data []byte) ([]Key, error) {
	set, err := ParseObject(data)
	if err != nil {
		return nil, err
	}
	var raw []json.RawMessage
	if !set.Has("keys") || json.Unmarshal(set.members["keys"], &raw) != nil || raw == nil {
		return nil, errors.New("jose: the key set has no array of keys")
	}
	if len(raw) > MaxKeys {
		return nil, errors.New("jose: the key set has too many keys")
	}
	keys := make([]Key, 0, len(raw))
	for _, r := range raw {
		o, err := ParseObject(r)
		if err != nil {
			continue
		}
		keys = append(keys, parseJWK(o)...)
	}
	return keys, nil
}

// parseJWK returns the keys, by algorithm, that one JWK stands for: none if it is not for us.
func parseJWK(o *Object) (keys []Key) {
	for _, private := range [...]string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if o.Has(private) {
			return nil
		}
	}
	// RFC 7517, sections 4.2 and 4.3: what the key is for.
	if o.Has("use") && o.Text("use") != "sig" || o.Has("key_ops") && !slices.Contains(o.Texts("key_ops"), "verify") {
		return nil
	}
	kid, alg := o.Text("kid"), o.Text("alg")
	pub := o.public()
	if o.Err() != nil || pub == nil || o.Has("kid") && kid == "" {
		return nil
	}
	for _, a := range [...]string{es256, es384, rs256, ps256, eddsa} {
		k := Key{ID: kid, Algorithm: a, Signer: verifyOnly{pub}}
		if (alg == a || !o.Has("alg") || alg == ed25519Name && a == eddsa) && Check(k) == nil {
			keys = append(keys, k)
		}
	}
	return keys
}

// public is the public key of a JWK (RFC 7518, section 6; RFC 8037, section 2), nil if it is of a kind that is not known. That it
// is a good one is for [Check] to say.
func (o *Object) public() crypto.PublicKey {
	switch o.Text("kty") {
	case "RSA":
		n, e := o.bytes("n"), o.bytes("e")
		if len(n) == 0 || len(n) > maxModulus/8 || len(e) == 0 || len(e) > 4 {
			return nil
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	case "EC":
		curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()}
		curve, x, y := curves[o.Text("crv")], o.bytes("x"), o.bytes("y")
		// RFC 7518, section 6.2.1.2: as long as the curve says.
		if curve == nil || len(x) != curve.Params().BitSize/8 || len(y) != len(x) {
			return nil
		}
		pub, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil
		}
		return pub
	case "OKP":
		x := o.bytes("x")
		if o.Text("crv") != "Ed25519" || len(x) != ed25519.PublicKeySize {
			return nil
		}
		return ed25519.PublicKey(x)
	}
	return nil
}

// bytes reads a member in base64url (RFC 7515, section 2).
func (o *Object) bytes(name string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(o.Text(name))
	if err != nil {
		o.fail("not base64url: ", name)
	}
	return b
}

// verifyOnly is a Signer that cannot sign.
type verifyOnly struct{ pub crypto.PublicKey }

func (v verifyOnly) Public() crypto.PublicKey { return v.pub }

func (verifyOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("jose: a public key cannot sign")
}
