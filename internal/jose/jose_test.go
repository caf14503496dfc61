package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/jose"
)

// The keys of all tests, each made once. P-224 and P-521 serve the refusals.
var (
	p224    = sync.OnceValue(func() *ecdsa.PrivateKey { return newECDSA(elliptic.P224()) })
	p256    = sync.OnceValue(func() *ecdsa.PrivateKey { return newECDSA(elliptic.P256()) })
	p384    = sync.OnceValue(func() *ecdsa.PrivateKey { return newECDSA(elliptic.P384()) })
	p521    = sync.OnceValue(func() *ecdsa.PrivateKey { return newECDSA(elliptic.P521()) })
	rsa1024 = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(1024) })
	rsa2048 = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	ed      = sync.OnceValue(func() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(sum("ed25519")) })
)

func newECDSA(curve elliptic.Curve) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func newRSA(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// sum makes 32 bytes of a name.
func sum(name string) []byte {
	s := sha256.Sum256([]byte(name))
	return s[:]
}

// everyKey is one key for each algorithm.
func everyKey() []jose.Key {
	return []jose.Key{
		{ID: "es256", Algorithm: "ES256", Signer: p256()},
		{ID: "es384", Algorithm: "ES384", Signer: p384()},
		{ID: "rs256", Algorithm: "RS256", Signer: rsa2048()},
		{ID: "ps256", Algorithm: "PS256", Signer: rsa2048()},
		{ID: "eddsa", Algorithm: "EdDSA", Signer: ed()},
		{ID: "hs256", Algorithm: "HS256", Secret: sum("hs256")},
	}
}

// remote hides the type of a signer, as a client of a KMS does.
type remote struct{ inner crypto.Signer }

func (r remote) Public() crypto.PublicKey { return r.inner.Public() }
func (r remote) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return r.inner.Sign(random, digest, opts)
}

var errOffline = errors.New("the KMS is offline")

// publicOnly has no private half.
type publicOnly struct{ pub crypto.PublicKey }

func (p publicOnly) Public() crypto.PublicKey { return p.pub }
func (p publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errOffline
}

// faulty answers with a signature of its own.
type faulty struct {
	pub  crypto.PublicKey
	sign func(digest []byte, opts crypto.SignerOpts) []byte
}

func (f faulty) Public() crypto.PublicKey { return f.pub }
func (f faulty) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return f.sign(digest, opts), nil
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	require.NoError(t, err)
	return b
}

func bigInt(t testing.TB, s string) *big.Int {
	t.Helper()
	return new(big.Int).SetBytes(unb64(t, s))
}

func hmac256(secret, input []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(input)
	return mac.Sum(nil)
}

// forge makes a compact JWS with a header as it stands, signed by sign.
func forge(header, payload string, sign func(input []byte) []byte) string {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	return input + "." + b64(sign([]byte(input)))
}

// forgeHS256 makes a compact JWS with a header as it stands and a good HMAC.
func forgeHS256(header, payload string, secret []byte) string {
	return forge(header, payload, func(input []byte) []byte { return hmac256(secret, input) })
}

// forgeEdDSA makes a compact JWS with a header as it stands and a good signature of the key.
func forgeEdDSA(header, payload string, key ed25519.PrivateKey) string {
	return forge(header, payload, func(input []byte) []byte { return ed25519.Sign(key, input) })
}

func sign(t testing.TB, k jose.Key, typ, payload string) string {
	t.Helper()
	token, err := jose.Sign(k, typ, []byte(payload))
	require.NoError(t, err)
	return token
}

func requireVerified(t testing.TB, token, typ, payload string, keys ...jose.Key) {
	t.Helper()
	got, err := jose.Verify(token, typ, keys)
	require.NoError(t, err)
	require.Equal(t, payload, string(got))
}

// assertRefused also looks at the text: it is fixed, so it is short and has no part of the token.
func assertRefused(t testing.TB, token, typ string, keys ...jose.Key) {
	t.Helper()
	payload, err := jose.Verify(token, typ, keys)
	assert.ErrorIs(t, err, jose.ErrInvalid)
	assert.Nil(t, payload)
	if err == nil {
		return
	}
	reason, ok := strings.CutPrefix(err.Error(), "jose: token refused: ")
	assert.True(t, ok, err.Error())
	assert.Contains(t, []string{
		"longer than MaxToken", "not a compact JWS in strict base64url", "the header is not a JSON object with unique members",
		"a header member that is never accepted", "typ", "alg", "an empty kid", "no key of its kid and alg", "signature",
		"signature, and there is no kid to say whose",
	}, reason)
}

// checkCase is a key and a part of what Check says of it; nothing: the key can be used.
type checkCase struct {
	name string
	key  jose.Key
	want string
}

func TestCheck(t *testing.T) {
	secret := make([]byte, 32)
	testCheck(t, []checkCase{
		{"ES256", jose.Key{Algorithm: "ES256", Signer: p256()}, ""},
		{"ES256, remote", jose.Key{Algorithm: "ES256", Signer: remote{p256()}}, ""},
		{"ES256, public half", jose.Key{Algorithm: "ES256", Signer: publicOnly{p256().Public()}}, ""},
		{"ES384", jose.Key{Algorithm: "ES384", Signer: p384()}, ""},
		{"RS256", jose.Key{Algorithm: "RS256", Signer: rsa2048()}, ""},
		{"PS256", jose.Key{Algorithm: "PS256", Signer: rsa2048()}, ""},
		{"EdDSA", jose.Key{Algorithm: "EdDSA", Signer: ed()}, ""},
		{"HS256, RFC 7518 3.2: 32 bytes", jose.Key{Algorithm: "HS256", Secret: secret}, ""},
		{"zero", jose.Key{}, "exactly one"},
		{"neither", jose.Key{Algorithm: "ES256"}, "exactly one"},
		{"both", jose.Key{Algorithm: "ES256", Signer: p256(), Secret: secret}, "exactly one"},
		{"no algorithm", jose.Key{Signer: p256()}, "is none of"},
		{"none", jose.Key{Algorithm: "none", Signer: p256()}, "is none of"},
		{"lower case", jose.Key{Algorithm: "es256", Signer: p256()}, "is none of"},
		{"ES512", jose.Key{Algorithm: "ES512", Signer: p521()}, "is none of"},
		{"HS512", jose.Key{Algorithm: "HS512", Secret: make([]byte, 64)}, "is none of"},
		{"HS256, RFC 7518 3.2: 31 bytes", jose.Key{Algorithm: "HS256", Secret: secret[:31]}, "at least 32 bytes"},
		{"HS256, a signer", jose.Key{Algorithm: "HS256", Signer: p256()}, "needs a Secret"},
		{"RS256, a secret", jose.Key{Algorithm: "RS256", Secret: secret}, "needs a Signer"},
		{"ES256, P-384", jose.Key{Algorithm: "ES256", Signer: p384()}, "does not fit"},
		{"ES384, P-256", jose.Key{Algorithm: "ES384", Signer: p256()}, "does not fit"},
		{"ES256, RSA", jose.Key{Algorithm: "ES256", Signer: rsa2048()}, "does not fit"},
		{"RS256, P-256", jose.Key{Algorithm: "RS256", Signer: p256()}, "does not fit"},
		{"PS256, P-256", jose.Key{Algorithm: "PS256", Signer: p256()}, "does not fit"},
		{"PS256, Ed25519", jose.Key{Algorithm: "PS256", Signer: ed()}, "does not fit"},
		{"EdDSA, RSA", jose.Key{Algorithm: "EdDSA", Signer: rsa2048()}, "does not fit"},
		{"RS256, Ed25519", jose.Key{Algorithm: "RS256", Signer: ed()}, "does not fit"},
		{"ES256, P-224", jose.Key{Algorithm: "ES256", Signer: p224()}, "neither P-256 nor P-384"},
		{"ES256, P-521", jose.Key{Algorithm: "ES256", Signer: p521()}, "neither P-256 nor P-384"},
		{"RFC 7518 3.3: RSA 1024", jose.Key{Algorithm: "RS256", Signer: rsa1024()}, "2048 to 4096 bits"},
		{"ID not UTF-8", jose.Key{ID: "\xff", Algorithm: "ES256", Signer: p256()}, "not UTF-8"},
	})
}

// The parts of a key that a program can leave out or get wrong: no panic for any of them.
func TestCheckOfBrokenKeys(t *testing.T) {
	//lint:ignore SA1019 there is no other way to make one
	offCurve := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}
	n := rsa2048().N
	testCheck(t, []checkCase{
		{"no public key", jose.Key{Algorithm: "ES256", Signer: publicOnly{}}, "is none of"},
		{"public key by value", jose.Key{Algorithm: "ES256", Signer: publicOnly{p256().PublicKey}}, "is none of"},
		{"nil *ecdsa.PrivateKey", jose.Key{Algorithm: "ES256", Signer: (*ecdsa.PrivateKey)(nil)}, "not whole"},
		{"ECDSA without D", jose.Key{Algorithm: "ES256", Signer: &ecdsa.PrivateKey{PublicKey: p256().PublicKey}}, "not whole"},
		{"nil *rsa.PrivateKey", jose.Key{Algorithm: "RS256", Signer: (*rsa.PrivateKey)(nil)}, "not whole"},
		{"RSA without D", jose.Key{Algorithm: "RS256", Signer: &rsa.PrivateKey{PublicKey: rsa2048().PublicKey}}, "not whole"},
		{"nil ed25519.PrivateKey", jose.Key{Algorithm: "EdDSA", Signer: ed25519.PrivateKey(nil)}, "not whole"},
		{"short ed25519.PrivateKey", jose.Key{Algorithm: "EdDSA", Signer: ed()[:63]}, "not whole"},
		{"nil *ecdsa.PublicKey", jose.Key{Algorithm: "ES256", Signer: publicOnly{(*ecdsa.PublicKey)(nil)}}, "is nil"},
		{"ECDSA without a curve", jose.Key{Algorithm: "ES256", Signer: publicOnly{&ecdsa.PublicKey{}}}, "neither P-256 nor P-384"},
		{"ECDSA without a point", jose.Key{Algorithm: "ES256", Signer: publicOnly{&ecdsa.PublicKey{Curve: elliptic.P256()}}}, "no point"},
		{"ECDSA off the curve", jose.Key{Algorithm: "ES256", Signer: publicOnly{offCurve}}, "not on its curve"},
		{"short Ed25519", jose.Key{Algorithm: "EdDSA", Signer: publicOnly{ed25519.PublicKey(make([]byte, 31))}}, "wrong length"},
		{"Ed25519 of low order", jose.Key{Algorithm: "EdDSA", Signer: publicOnly{lowOrder()}}, "low order"},
		{"nil *rsa.PublicKey", jose.Key{Algorithm: "RS256", Signer: publicOnly{(*rsa.PublicKey)(nil)}}, "missing or even"},
		{"RSA without a modulus", jose.Key{Algorithm: "RS256", Signer: publicOnly{&rsa.PublicKey{E: 65537}}}, "missing or even"},
		{"RSA, even", rsaPublic(new(big.Int).Sub(n, big.NewInt(1)), 65537), "missing or even"},
		{"RSA, negative", rsaPublic(new(big.Int).Neg(n), 65537), "missing or even"},
		{"RSA 2047", rsaPublic(odd(2047), 65537), "2048 to 4096 bits"},
		{"RSA 2048", rsaPublic(odd(2048), 65537), ""},
		{"RSA 4096", rsaPublic(odd(4096), 65537), ""},
		{"RSA 4097", rsaPublic(odd(4097), 65537), "2048 to 4096 bits"},
		{"RSA, e=0", rsaPublic(n, 0), "exponent"},
		{"RSA, e=1", rsaPublic(n, 1), "exponent"},
		{"RSA, e=3", rsaPublic(n, 3), "exponent"},
		{"RSA, e=-65537", rsaPublic(n, -65537), "exponent"},
		{"RSA, e=65538", rsaPublic(n, 65538), "exponent"},
		{"RSA, e=2^31-1", rsaPublic(n, 1<<31-1), ""},
		{"RSA, e=2^31+1", rsaPublic(n, 1<<31+1), "exponent"},
	})
}

func testCheck(t *testing.T, cases []checkCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			err := jose.Check(tt.key)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			_, signing := jose.Sign(tt.key, "JWT", []byte("{}"))
			assert.EqualError(t, signing, err.Error(), "Sign says the same")
			_, rendering := jose.JWKS([]jose.Key{tt.key})
			assert.ErrorContains(t, rendering, err.Error(), "JWKS says the same")
		})
	}
}

func rsaPublic(n *big.Int, e int) jose.Key {
	return jose.Key{Algorithm: "RS256", Signer: publicOnly{&rsa.PublicKey{N: n, E: e}}}
}

// odd is an odd number of that many bits.
func odd(bits int) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return n.Add(n, big.NewInt(1))
}

// lowOrder is the neutral element of the curve: with it as the key, R = [S]B is a signature of everything.
func lowOrder() ed25519.PublicKey {
	pub := make([]byte, ed25519.PublicKeySize)
	pub[0] = 1
	return pub
}

func TestKeyPrintsNoSecret(t *testing.T) {
	key := jose.Key{ID: "k", Algorithm: "HS256", Secret: []byte("0123456789abcdef0123456789abcdef")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		assert.Equal(t, "jose.Key(HS256, redacted)", fmt.Sprintf(verb, key), verb)
		assert.NotContains(t, fmt.Sprintf(verb, []jose.Key{key}), "0123", verb)
	}
}
