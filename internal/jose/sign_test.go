package jose_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/jose"
)

func TestSignRoundTrip(t *testing.T) {
	payloads := map[string]string{
		"claims": `{"iss":"https://as.example","sub":"alice"}`, "empty": "", "zero byte": "\x00", "not UTF-8": "\xff\xfe", "dots": "a.b.c",
		"line breaks": "{\r\n}", "long": strings.Repeat("x", 8000),
	}
	for _, key := range everyKey() {
		kinds := map[string]jose.Key{"in memory": key}
		if key.Signer != nil {
			away := key
			away.Signer = remote{key.Signer}
			kinds["remote"] = away
		}
		nameless := key
		nameless.ID = ""
		kinds["no kid"] = nameless
		for kind, k := range kinds {
			for name, payload := range payloads {
				t.Run(key.Algorithm+"/"+kind+"/"+name, func(t *testing.T) {
					token := sign(t, k, "at+jwt", payload)
					requireVerified(t, token, "at+jwt", payload, k)
					if k.Signer != nil {
						half := k
						half.Signer = publicOnly{k.Signer.Public()}
						requireVerified(t, token, "at+jwt", payload, half)
					}
				})
			}
		}
	}
}

// RFC 7515, section 4: the members and their order, which clients have seen and hosts rely on.
func TestSignHeaderIsExact(t *testing.T) {
	for _, key := range everyKey() {
		named, nameless := key, key
		named.ID, nameless.ID = "k1", ""
		for _, tt := range []struct {
			name string
			key  jose.Key
			typ  string
			want string
		}{
			{"alg, kid, typ", named, "at+jwt", `{"alg":"` + key.Algorithm + `","kid":"k1","typ":"at+jwt"}`},
			{"alg, typ", nameless, "JWT", `{"alg":"` + key.Algorithm + `","typ":"JWT"}`},
			{"alg, kid", named, "", `{"alg":"` + key.Algorithm + `","kid":"k1"}`},
			{"alg", nameless, "", `{"alg":"` + key.Algorithm + `"}`},
		} {
			t.Run(key.Algorithm+"/"+tt.name, func(t *testing.T) {
				first, _, _ := strings.Cut(sign(t, tt.key, tt.typ, "{}"), ".")
				assert.Equal(t, tt.want, string(unb64(t, first)))
			})
		}
	}
}

// The first segments that the seed documents show.
func TestSignHeaderOfTheSeeds(t *testing.T) {
	asymmetric := sign(t, jose.Key{Algorithm: "RS256", Signer: rsa2048()}, "JWT", "{}")
	assert.True(t, strings.HasPrefix(asymmetric, "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9."), "RS256, no kid, JWT")
	symmetric := sign(t, jose.Key{Algorithm: "HS256", Secret: sum("hs256")}, "JWT", "{}")
	assert.True(t, strings.HasPrefix(symmetric, "eyJhbGciOiJIUzI1NiIs"), "HS256, JWT")
	named := sign(t, jose.Key{ID: "k", Algorithm: "HS256", Secret: sum("hs256")}, "JWT", "{}")
	assert.True(t, strings.HasPrefix(named, "eyJhbGciOiJIUzI1NiIs"), "HS256, kid, JWT")
}

// What is signed and what is written are made by two encodings of the header: they must not differ for any ID.
func TestSignWithOddIDs(t *testing.T) {
	for name, id := range map[string]string{
		"quote": `a"b\c`, "HTML": "<a&b>", "control": "\x00\x1f\x7f", "line separators": "\u2028\u2029", "not ASCII": "schlüssel-鍵-🔑",
		"replacement": "\ufffd", "path": "../../etc/passwd", "space": " ", "long": strings.Repeat("k", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			key := jose.Key{ID: id, Algorithm: "HS256", Secret: sum("hs256")}
			requireVerified(t, sign(t, key, "JWT", "{}"), "JWT", "{}", key)
			key = jose.Key{ID: id, Algorithm: "EdDSA", Signer: remote{ed()}}
			requireVerified(t, sign(t, key, "JWT", "{}"), "JWT", "{}", key)
		})
	}
}

// RFC 7518, section 3.4: r and s as two numbers of the length of the field, whatever the signer's own form. One signature of about
// 128 has a leading zero in r or s: it is waited for.
func TestSignECDSASignatureIsRaw(t *testing.T) {
	for kind, signer := range map[string]crypto.Signer{"in memory": p256(), "remote": remote{p256()}} {
		t.Run("ES256/"+kind, func(t *testing.T) {
			key := jose.Key{Algorithm: "ES256", Signer: signer}
			padded := false
			for i := 0; i < 5000 && !padded; i++ {
				token := sign(t, key, "", "x")
				raw := unb64(t, token[strings.LastIndexByte(token, '.')+1:])
				require.Len(t, raw, 64)
				if padded = raw[0] == 0 || raw[32] == 0; padded {
					requireVerified(t, token, "", "x", key)
				}
			}
			assert.True(t, padded, "no leading zero came up")
		})
	}
	for kind, signer := range map[string]crypto.Signer{"in memory": p384(), "remote": remote{p384()}} {
		t.Run("ES384/"+kind, func(t *testing.T) {
			token := sign(t, jose.Key{Algorithm: "ES384", Signer: signer}, "", "x")
			require.Len(t, unb64(t, token[strings.LastIndexByte(token, '.')+1:]), 96)
		})
	}
}

// RFC 7518, section 3.5: "The size of the salt value is the same size as the hash function output."
func TestSignPS256SaltHasTheLengthOfTheHash(t *testing.T) {
	for kind, signer := range map[string]crypto.Signer{"in memory": rsa2048(), "remote": remote{rsa2048()}} {
		t.Run(kind, func(t *testing.T) {
			token := sign(t, jose.Key{Algorithm: "PS256", Signer: signer}, "JWT", "{}")
			dot := strings.LastIndexByte(token, '.')
			digest := sum(token[:dot])
			require.NoError(t, rsa.VerifyPSS(&rsa2048().PublicKey, crypto.SHA256, digest, unb64(t, token[dot+1:]),
				&rsa.PSSOptions{SaltLength: 32}))
		})
	}
}

func TestSignWrapsTheErrorOfTheSigner(t *testing.T) {
	for _, key := range everyKey() {
		if key.Signer == nil {
			continue
		}
		t.Run(key.Algorithm, func(t *testing.T) {
			key.Signer = publicOnly{key.Signer.Public()}
			token, err := jose.Sign(key, "JWT", []byte("{}"))
			require.ErrorIs(t, err, errOffline)
			assert.NotErrorIs(t, err, jose.ErrInvalid)
			assert.Empty(t, token)
		})
	}
}

// A signer outside the process that answers with something else than a signature of its public key is an error, not a token
// that nobody can verify, and not a panic.
func TestSignRefusesWrongSignatures(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	otherEd := ed25519.NewKeyFromSeed(sum("other"))
	der := func(r, s *big.Int) []byte {
		out, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		require.NoError(t, err)
		return out
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 300)
	for _, tt := range []struct {
		name, alg string
		pub       crypto.PublicKey
		sign      func(digest []byte, opts crypto.SignerOpts) []byte
	}{
		{"ES256, nothing", "ES256", p256().Public(), func([]byte, crypto.SignerOpts) []byte { return nil }},
		{"ES256, another key", "ES256", p256().Public(), func(digest []byte, opts crypto.SignerOpts) []byte {
			out, _ := other.Sign(rand.Reader, digest, opts)
			return out
		}},
		{"ES256, r and s raw", "ES256", p256().Public(), func(digest []byte, _ crypto.SignerOpts) []byte {
			r, s, _ := ecdsa.Sign(rand.Reader, p256(), digest)
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}},
		{"ES256, r too large", "ES256", p256().Public(), func([]byte, crypto.SignerOpts) []byte { return der(huge, big.NewInt(1)) }},
		{"ES256, s too large", "ES256", p256().Public(), func([]byte, crypto.SignerOpts) []byte { return der(big.NewInt(1), huge) }},
		{"ES256, negative", "ES256", p256().Public(), func([]byte, crypto.SignerOpts) []byte { return der(big.NewInt(-1), big.NewInt(-1)) }},
		{"ES256, zero", "ES256", p256().Public(), func([]byte, crypto.SignerOpts) []byte { return der(new(big.Int), new(big.Int)) }},
		{"EdDSA, another key", "EdDSA", ed().Public(), func(message []byte, _ crypto.SignerOpts) []byte { return ed25519.Sign(otherEd, message) }},
		{"EdDSA, short", "EdDSA", ed().Public(), func(message []byte, _ crypto.SignerOpts) []byte { return ed25519.Sign(ed(), message)[:63] }},
		{"RS256, PSS instead", "RS256", rsa2048().Public(), func(digest []byte, _ crypto.SignerOpts) []byte {
			out, _ := rsa.SignPSS(rand.Reader, rsa2048(), crypto.SHA256, digest, nil)
			return out
		}},
		{"PS256, PKCS #1 instead", "PS256", rsa2048().Public(), func(digest []byte, _ crypto.SignerOpts) []byte {
			out, _ := rsa.SignPKCS1v15(rand.Reader, rsa2048(), crypto.SHA256, digest)
			return out
		}},
		{"PS256, another salt", "PS256", rsa2048().Public(), func(digest []byte, _ crypto.SignerOpts) []byte {
			out, _ := rsa.SignPSS(rand.Reader, rsa2048(), crypto.SHA256, digest, &rsa.PSSOptions{SaltLength: 20})
			return out
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, err := jose.Sign(jose.Key{Algorithm: tt.alg, Signer: faulty{tt.pub, tt.sign}}, "JWT", []byte("{}"))
			assert.ErrorContains(t, err, "does not fit the public key of the signer")
			assert.Empty(t, token)
		})
	}
}

func TestSignMakesNothingThatVerifyRefuses(t *testing.T) {
	key := jose.Key{Algorithm: "HS256", Secret: sum("hs256")}
	// Header 36, signature 43, two dots: the rest of MaxToken in base64url.
	fits := (jose.MaxToken - 36 - 43 - 2) * 3 / 4
	token := sign(t, key, "JWT", strings.Repeat("x", fits))
	assert.LessOrEqual(t, len(token), jose.MaxToken)
	assert.Greater(t, len(token), jose.MaxToken-4)
	requireVerified(t, token, "JWT", strings.Repeat("x", fits), key)
	_, err := jose.Sign(key, "JWT", bytes.Repeat([]byte("x"), fits+3))
	assert.ErrorContains(t, err, "longer than MaxToken")
}

// A Key of a KMS is used by many requests at once.
func TestSignAndVerifyInParallel(t *testing.T) {
	key := jose.Key{ID: "k", Algorithm: "ES256", Signer: remote{p256()}}
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 20 {
				requireVerified(t, sign(t, key, "JWT", "{}"), "JWT", "{}", key)
			}
		})
	}
}
