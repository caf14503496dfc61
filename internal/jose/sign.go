package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"

	gojose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
)

// Sign makes a compact JWS (RFC 7515, section 3.1) over the payload, which is not looked at. The header has the members alg, kid
// (if the key has an ID) and typ (if typ is not empty), in this order and nothing else; typ is written as given.
//
// A key that fails [Check] is an error, as is a token of more than [MaxToken] bytes, which Verify would refuse. An error of the
// signer is wrapped. A signature made outside this process is verified before the token is returned: a KMS alias that has moved
// to another key must not hand out tokens that nobody can verify.
func Sign(k Key, typ string, payload []byte) (string, error) {
	if err := Check(k); err != nil {
		return "", err
	}
	options := new(gojose.SignerOptions)
	if k.ID != "" {
		// As a header, not in a JSONWebKey: there go-jose would leave out the kid of a symmetric key.
		options.WithHeader("kid", k.ID)
	}
	if typ != "" {
		options.WithType(gojose.ContentType(typ))
	}
	with := gojose.SigningKey{Algorithm: gojose.SignatureAlgorithm(k.Algorithm), Key: k.signer()}
	signer, err := gojose.NewSigner(with, options)
	if err != nil {
		return "", fmt.Errorf("jose: signing: %w", err)
	}
	object, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("jose: signing: %w", err)
	}
	token, err := object.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("jose: signing: %w", err)
	}
	if len(token) > MaxToken {
		return "", errors.New("jose: signing: the token is longer than MaxToken")
	}
	return token, nil
}

// signer is what go-jose signs with.
func (k Key) signer() any {
	switch s := k.Signer.(type) {
	case nil:
		return k.Secret
	case *ecdsa.PrivateKey, *rsa.PrivateKey, ed25519.PrivateKey:
		return s
	default:
		return cryptosigner.Opaque(remote{s})
	}
}

// remote is a signer that is not one of the standard library's private keys. It asks for the signature as RFC 7518 has it and
// passes on only one that its public key verifies; so what cryptosigner turns from ASN.1 into r and s is well-formed too.
type remote struct{ crypto.Signer }

func (r remote) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	pss, ok := opts.(*rsa.PSSOptions)
	if ok {
		// RFC 7518, section 3.5: the salt is as long as the hash. cryptosigner asks for the longest that fits.
		pss = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: pss.Hash}
		opts = pss
	}
	signature, err := r.Signer.Sign(random, digest, opts)
	if err != nil {
		return nil, err
	}
	made := false
	switch pub := r.Public().(type) {
	case *ecdsa.PublicKey:
		made = ecdsa.VerifyASN1(pub, digest, signature)
	case *rsa.PublicKey:
		if pss != nil {
			made = rsa.VerifyPSS(pub, pss.Hash, digest, signature, pss) == nil
		} else {
			made = rsa.VerifyPKCS1v15(pub, opts.HashFunc(), digest, signature) == nil
		}
	case ed25519.PublicKey:
		made = ed25519.Verify(pub, digest, signature)
	}
	if !made {
		return nil, errors.New("the signature does not fit the public key of the signer")
	}
	return signature, nil
}
