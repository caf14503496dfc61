package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/jose"
)

func TestAlgorithm(t *testing.T) {
	for _, tt := range []struct {
		name string
		pub  crypto.PublicKey
		want string
	}{
		{"RFC 7518 3.4: P-256", p256().Public(), "ES256"},
		{"RFC 7518 3.4: P-384", p384().Public(), "ES384"},
		{"RFC 7518 3.3: RSA", rsa2048().Public(), "RS256"},
		{"RFC 8037 3.1: Ed25519", ed().Public(), "EdDSA"},
		{"P-224", p224().Public(), ""},
		{"P-521", p521().Public(), ""},
		{"RSA 1024", rsa1024().Public(), ""},
		{"RSA, e=3", &rsa.PublicKey{N: rsa2048().N, E: 3}, ""},
		{"nil", nil, ""},
		{"a private key", p256(), ""},
		{"Ed25519 of low order", lowOrder(), ""},
		{"bytes", sum("secret"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := jose.Algorithm(tt.pub)
			if tt.want == "" {
				assert.Error(t, err)
				_, err = jose.Thumbprint(tt.pub)
				assert.Error(t, err, "Thumbprint refuses the same")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestThumbprint(t *testing.T) {
	for _, tt := range []struct {
		name string
		pub  crypto.PublicKey
		want string
	}{
		{"RFC 7638 3.1", &rsa.PublicKey{N: bigInt(t, rfc7638Modulus), E: 65537}, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{"RFC 8037 A.3", rfc8037Key(t).Public(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
		{"RFC 7638 3.2, the members of EC sorted", rfc7515A3Key(t).Public(),
			b64(sum(`{"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",` +
				`"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := jose.Thumbprint(tt.pub)
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestJWKSIsExact(t *testing.T) {
	out, err := jose.JWKS([]jose.Key{
		{ID: "ec", Algorithm: "ES256", Signer: rfc7515A3Key(t)},
		{ID: "shared", Algorithm: "HS256", Secret: sum("hs256")},
		{ID: "rsa", Algorithm: "PS256", Signer: rfc7515A2Key(t)},
		{Algorithm: "EdDSA", Signer: remote{rfc8037Key(t)}},
	})
	require.NoError(t, err)
	assert.Equal(t, `{"keys":[`+
		`{"use":"sig","kty":"EC","kid":"ec","crv":"P-256","alg":"ES256",`+
		`"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},`+
		`{"use":"sig","kty":"RSA","kid":"rsa","alg":"PS256","n":"`+rfc7515A2Modulus+`","e":"AQAB"},`+
		`{"use":"sig","kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`+
		`]}`, string(out))
}

// RFC 7518, section 6.2.1.2: a coordinate has the length of the field, leading zeros included.
func TestJWKSKeepsLeadingZeros(t *testing.T) {
	var key *ecdsa.PrivateKey
	for d := int64(1); key == nil; d++ {
		scalar := big.NewInt(d).FillBytes(make([]byte, 32))
		k, err := ecdsa.ParseRawPrivateKey(p256().Curve, scalar)
		require.NoError(t, err)
		point, err := k.PublicKey.Bytes()
		require.NoError(t, err)
		if point[1] == 0 {
			key = k
		}
	}
	out, err := jose.JWKS([]jose.Key{{Algorithm: "ES256", Signer: key}})
	require.NoError(t, err)
	var set struct {
		Keys []struct{ X, Y string }
	}
	require.NoError(t, json.Unmarshal(out, &set))
	require.Len(t, set.Keys, 1)
	assert.Len(t, unb64(t, set.Keys[0].X), 32)
	assert.Len(t, unb64(t, set.Keys[0].Y), 32)
}

func TestJWKSEmpty(t *testing.T) {
	for name, keys := range map[string][]jose.Key{
		"nil":        nil,
		"none":       {},
		"HS256 only": {{ID: "k", Algorithm: "HS256", Secret: sum("hs256")}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := jose.JWKS(keys)
			require.NoError(t, err)
			assert.Equal(t, `{"keys":[]}`, string(out))
		})
	}
}

// RFC 7517, section 9.2: the set is public, so it has public members only, for every kind of signer.
func TestJWKSHasPublicMembersOnly(t *testing.T) {
	keys := everyKey()
	for _, k := range everyKey() {
		if k.Signer != nil {
			keys = append(keys, jose.Key{Algorithm: k.Algorithm, Signer: remote{k.Signer}},
				jose.Key{ID: "public " + k.ID, Algorithm: k.Algorithm, Signer: publicOnly{k.Signer.Public()}})
		}
	}
	out, err := jose.JWKS(keys)
	require.NoError(t, err)
	var set struct{ Keys []map[string]string }
	require.NoError(t, json.Unmarshal(out, &set))
	require.Len(t, set.Keys, 15)
	for _, jwk := range set.Keys {
		want := map[string][]string{
			"EC": {"use", "kty", "alg", "crv", "x", "y"}, "RSA": {"use", "kty", "alg", "n", "e"}, "OKP": {"use", "kty", "alg", "crv", "x"},
		}[jwk["kty"]]
		if _, ok := jwk["kid"]; ok {
			want = append(want, "kid")
		}
		var members []string
		for name := range jwk {
			members = append(members, name)
		}
		assert.ElementsMatch(t, want, members)
		assert.Equal(t, "sig", jwk["use"])
	}
	for name, private := range map[string][]byte{
		"D of P-256": p256Scalar(t), "D of RSA": rsa2048().D.Bytes(), "P of RSA": rsa2048().Primes[0].Bytes(),
		"seed of Ed25519": ed().Seed(), "HS256": sum("hs256"),
	} {
		assert.NotContains(t, string(out), b64(private), name)
	}
}

func p256Scalar(t *testing.T) []byte {
	t.Helper()
	d, err := p256().Bytes()
	require.NoError(t, err)
	return d
}

// An ed25519.PrivateKey is a byte slice, as a secret is: it must not be rendered as one.
func TestJWKSOfEd25519(t *testing.T) {
	out, err := jose.JWKS([]jose.Key{{Algorithm: "EdDSA", Signer: ed()}})
	require.NoError(t, err)
	assert.Equal(t, `{"keys":[{"use":"sig","kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"`+
		b64(ed().Public().(ed25519.PublicKey))+`"}]}`, string(out))
}
