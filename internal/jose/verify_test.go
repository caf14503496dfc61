package jose_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/jose"
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

var (
	hsKey = jose.Key{Algorithm: "HS256", Secret: []byte("a secret of the tests, 32 bytes!")}
	hsGo  = hsKey.Secret
)

func edKey() jose.Key { return jose.Key{Algorithm: "EdDSA", Signer: ed()} }

func TestVerifyType(t *testing.T) {
	const section = "RFC 7515 4.1.9: "
	for _, tt := range []struct {
		name, member, want string
		ok                 bool
	}{
		{"equal", `,"typ":"at+jwt"`, "at+jwt", true},
		{"case of the header", `,"typ":"AT+JWT"`, "at+jwt", true},
		{"case of the argument", `,"typ":"jwt"`, "JWT", true},
		{"prefix in the header", `,"typ":"application/at+jwt"`, "at+jwt", true},
		{"prefix in the argument", `,"typ":"at+jwt"`, "application/at+jwt", true},
		{"prefix in both", `,"typ":"application/at+jwt"`, "application/at+jwt", true},
		{"case of the prefix", `,"typ":"APPLICATION/at+jwt"`, "at+jwt", true},
		{"escaped", `,"typ":"\u0061t+jwt"`, "at+jwt", true},
		{"none expected", ``, "", true},

		{"RFC 8725 3.11: JWT for at+jwt", `,"typ":"JWT"`, "at+jwt", false},
		{"RFC 8725 3.11: at+jwt for JWT", `,"typ":"at+jwt"`, "JWT", false},
		{"absent", ``, "at+jwt", false},
		{"unexpected", `,"typ":"JWT"`, "", false},
		{"empty, none expected", `,"typ":""`, "", false},
		{"empty", `,"typ":""`, "at+jwt", false},
		{"prefix only", `,"typ":"application/"`, "at+jwt", false},
		{"prefix twice", `,"typ":"application/application/at+jwt"`, "at+jwt", false},
		{"prefix before a slash", `,"typ":"application/a/b"`, "a/b", false},
		{"another prefix", `,"typ":"text/at+jwt"`, "at+jwt", false},
		{"parameter", `,"typ":"at+jwt; v=1"`, "at+jwt", false},
		{"space", `,"typ":" at+jwt"`, "at+jwt", false},
		{"longer", `,"typ":"at+jwtx"`, "at+jwt", false},
		{"letter that folds to ASCII", `,"typ":"logout+jwt\u212a"`, "logout+jwtk", false},
		{"null", `,"typ":null`, "at+jwt", false},
		{"null, none expected", `,"typ":null`, "", false},
		{"array", `,"typ":["at+jwt"]`, "at+jwt", false},
		{"number", `,"typ":1`, "1", false},
		{"another name", `,"Typ":"at+jwt"`, "at+jwt", false},
	} {
		t.Run(section+tt.name, func(t *testing.T) {
			token := forgeHS256(`{"alg":"HS256"`+tt.member+`}`, "{}", hsGo)
			if tt.ok {
				requireVerified(t, token, tt.want, "{}", hsKey)
			} else {
				assertRefused(t, token, tt.want, hsKey)
			}
		})
	}
}

// Every token here has a good signature over the header as it stands: only the header is at fault.
func TestVerifyHeader(t *testing.T) {
	jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + b64(ed().Public().(ed25519.PublicKey)) + `"}`
	for _, tt := range []struct {
		name, header string
		ok           bool
	}{
		{"plain", `{"alg":"EdDSA","typ":"JWT"}`, true},
		{"RFC 8259: white space", " {\r\n\t\"alg\" : \"EdDSA\" ,\n \"typ\":\"JWT\" } ", true},
		{"RFC 7515 4: unknown members are ignored", `{"alg":"EdDSA","typ":"JWT","x":[1,{"y":null}],"cty":"json","x5t":"AAAA"}`, true},
		{"RFC 7515 4: names have a case", `{"ALG":"none","alg":"EdDSA","Kid":"x","CRIT":["x"],"JWK":{},"typ":"JWT"}`, true},

		{"S279 jwk", `{"alg":"EdDSA","jwk":` + jwk + `,"typ":"JWT"}`, false},
		{"S279 jwk null", `{"alg":"EdDSA","jwk":null,"typ":"JWT"}`, false},
		{"S279 jwk escaped", `{"alg":"EdDSA","\u006awk":` + jwk + `,"typ":"JWT"}`, false},
		{"S279 jku", `{"alg":"EdDSA","jku":"https://evil.example/jwks","typ":"JWT"}`, false},
		{"S279 x5u", `{"alg":"EdDSA","x5u":"https://evil.example/x5c","typ":"JWT"}`, false},
		{"S279 x5c", `{"alg":"EdDSA","x5c":["AAAA"],"typ":"JWT"}`, false},
		{"S279 x5c empty", `{"alg":"EdDSA","x5c":[],"typ":"JWT"}`, false},
		{"RFC 7515 4.1.11: crit", `{"alg":"EdDSA","crit":["exp"],"exp":1,"typ":"JWT"}`, false},
		{"RFC 7515 4.1.11: crit empty", `{"alg":"EdDSA","crit":[],"typ":"JWT"}`, false},
		{"RFC 7515 4.1.11: crit null", `{"alg":"EdDSA","crit":null,"typ":"JWT"}`, false},
		{"RFC 7797: b64 with crit", `{"alg":"EdDSA","b64":true,"crit":["b64"],"typ":"JWT"}`, false},
		{"RFC 7797: b64", `{"alg":"EdDSA","b64":true,"typ":"JWT"}`, false},
		{"RFC 7516 9: enc", `{"alg":"EdDSA","enc":"A128GCM","typ":"JWT"}`, false},

		{"S289 alg twice", `{"alg":"EdDSA","alg":"EdDSA","typ":"JWT"}`, false},
		{"S289 alg twice, none first", `{"alg":"none","alg":"EdDSA","typ":"JWT"}`, false},
		{"S289 alg twice, escaped", `{"alg":"EdDSA","al\u0067":"EdDSA","typ":"JWT"}`, false},
		{"S289 typ twice", `{"alg":"EdDSA","typ":"JWT","typ":"JWT"}`, false},
		{"S289 kid twice", `{"alg":"EdDSA","kid":"a","kid":"a","typ":"JWT"}`, false},
		{"S289 unknown member twice", `{"alg":"EdDSA","x":1,"x":1,"typ":"JWT"}`, false},

		{"RFC 7515 4.1.1: no alg", `{"typ":"JWT"}`, false},
		{"RFC 7515 4.1.1: alg null", `{"alg":null,"typ":"JWT"}`, false},
		{"RFC 7515 4.1.1: alg empty", `{"alg":"","typ":"JWT"}`, false},
		{"RFC 7515 4.1.1: alg array", `{"alg":["EdDSA"],"typ":"JWT"}`, false},
		{"RFC 7515 4.1.1: alg number", `{"alg":1,"typ":"JWT"}`, false},
		{"RFC 7515 4.1.1: case of alg", `{"alg":"eddsa","typ":"JWT"}`, false},
		{"RFC 7515 4.1.1: space in alg", `{"alg":"EdDSA ","typ":"JWT"}`, false},
		{"RFC 7515 4.1.1: case of the name", `{"Alg":"EdDSA","typ":"JWT"}`, false},
		{"RFC 9864: another name of the same", `{"alg":"Ed25519","typ":"JWT"}`, false},
		{"RFC 7515 4.1.4: kid null", `{"alg":"EdDSA","kid":null,"typ":"JWT"}`, false},
		{"RFC 7515 4.1.4: kid empty", `{"alg":"EdDSA","kid":"","typ":"JWT"}`, false},
		{"RFC 7515 4.1.4: kid number", `{"alg":"EdDSA","kid":0,"typ":"JWT"}`, false},
		{"RFC 7515 4.1.4: kid array", `{"alg":"EdDSA","kid":[""],"typ":"JWT"}`, false},

		{"empty", ``, false},
		{"null", `null`, false},
		{"array", `[{"alg":"EdDSA","typ":"JWT"}]`, false},
		{"string", `"EdDSA"`, false},
		{"cut", `{"alg":"EdDSA","typ":"JWT"`, false},
		{"more after it", `{"alg":"EdDSA","typ":"JWT"}{}`, false},
		{"comma at the end", `{"alg":"EdDSA","typ":"JWT",}`, false},
		{"single quotes", `{'alg':'EdDSA','typ':'JWT'}`, false},
		{"comment", `{"alg":"EdDSA"/**/,"typ":"JWT"}`, false},
		{"zero byte", "{\"alg\":\"EdDSA\",\"typ\":\"JWT\"}\x00", false},
		{"NaN", `{"alg":"EdDSA","x":NaN,"typ":"JWT"}`, false},
		{"RFC 7515 5.2: byte order mark", "\ufeff{\"alg\":\"EdDSA\",\"typ\":\"JWT\"}", false},
		{"RFC 7515 5.2: not UTF-8", "{\"alg\":\"EdDSA\",\"x\":\"\xff\",\"typ\":\"JWT\"}", false},
		{"RFC 7515 5.2: name not UTF-8", "{\"alg\":\"EdDSA\",\"\xff\":1,\"typ\":\"JWT\"}", false},
		{"UTF-16", "{\x00\"\x00a\x00l\x00g\x00\"\x00:\x00\"\x00E\x00d\x00D\x00S\x00A\x00\"\x00}\x00", false},
		{"too deep", `{"alg":"EdDSA","typ":"JWT","x":` + strings.Repeat("[", 11000), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := forgeEdDSA(tt.header, "{}", ed())
			if tt.ok {
				requireVerified(t, token, "JWT", "{}", edKey())
			} else {
				assertRefused(t, token, "JWT", edKey())
			}
		})
	}
}

func TestVerifyRefusesNone(t *testing.T) {
	keys := append(everyKey(), edKey(), hsKey, jose.Key{}, jose.Key{Algorithm: "none"}, jose.Key{Algorithm: "none", Secret: hsGo},
		jose.Key{Algorithm: "none", Signer: p256()})
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "none ", ""} {
		header := b64([]byte(`{"alg":"` + alg + `","typ":"JWT"}`))
		body := b64([]byte(`{"sub":"admin"}`))
		for name, token := range map[string]string{
			"no signature":         header + "." + body + ".",
			"no signature, no dot": header + "." + body,
			"a signature":          header + "." + body + "." + b64(hmac256(hsGo, []byte(header+"."+body))),
			"HMAC without a key":   header + "." + body + "." + b64(hmac256(nil, []byte(header+"."+body))),
		} {
			t.Run(fmt.Sprintf("RFC 8725 3.2/%q/%s", alg, name), func(t *testing.T) { assertRefused(t, token, "JWT", keys...) })
		}
	}
}

// S277, RFC 8725 section 2.1: the public key, in every form in which it is published, as the secret of an HMAC.
func TestVerifyRefusesHMACWithThePublicKey(t *testing.T) {
	for _, key := range everyKey() {
		if key.Signer == nil {
			continue
		}
		for name, secret := range publicForms(t, key) {
			for _, kid := range []string{"", `,"kid":"` + key.ID + `"`} {
				t.Run("S277/"+key.Algorithm+"/"+name+kid, func(t *testing.T) {
					token := forgeHS256(`{"alg":"HS256"`+kid+`,"typ":"JWT"}`, `{"sub":"admin"}`, secret)
					nameless := key
					nameless.ID = ""
					assertRefused(t, token, "JWT", append(everyKey(), nameless, hsKey)...)
				})
			}
		}
	}
}

func publicForms(t *testing.T, key jose.Key) map[string][]byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Signer.Public())
	require.NoError(t, err)
	set, err := jose.JWKS([]jose.Key{key})
	require.NoError(t, err)
	var jwks struct{ Keys []json.RawMessage }
	require.NoError(t, json.Unmarshal(set, &jwks))
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	forms := map[string][]byte{
		"DER": der, "PEM": block, "PEM without the last line break": bytes.TrimSpace(block), "JWKS": set, "JWK": jwks.Keys[0], "empty": nil,
		"base64 DER": []byte(base64.StdEncoding.EncodeToString(der)), "kid": []byte(key.ID),
	}
	switch pub := key.Signer.Public().(type) {
	case *rsa.PublicKey:
		forms["PKCS #1"] = x509.MarshalPKCS1PublicKey(pub)
		forms["PKCS #1 PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: forms["PKCS #1"]})
		forms["n"] = pub.N.Bytes()
	case *ecdsa.PublicKey:
		forms["point"], err = pub.Bytes()
		require.NoError(t, err)
	case ed25519.PublicKey:
		forms["x"] = pub
	}
	return forms
}

// RFC 8725, section 3.1: one key, one algorithm. Here the signature is good, for another algorithm than that of the key.
func TestVerifyAlgorithmIsThatOfTheKey(t *testing.T) {
	for _, made := range everyKey() {
		made.ID = ""
		token := sign(t, made, "JWT", "{}")
		for _, key := range everyKey() {
			key.ID = ""
			t.Run(made.Algorithm+" for "+key.Algorithm, func(t *testing.T) {
				if made.Algorithm == key.Algorithm {
					requireVerified(t, token, "JWT", "{}", key)
					return
				}
				assertRefused(t, token, "JWT", key)
			})
		}
	}
	t.Run("PS256 signature, header says RS256", func(t *testing.T) {
		token := forge(`{"alg":"RS256","typ":"JWT"}`, "{}", func(input []byte) []byte {
			out, err := rsa.SignPSS(rand.Reader, rsa2048(), crypto.SHA256, sum(string(input)), nil)
			require.NoError(t, err)
			return out
		})
		assertRefused(t, token, "JWT", everyKey()...)
	})
}

func TestVerifyChoosesTheKey(t *testing.T) {
	key := func(id, name string) jose.Key { return jose.Key{ID: id, Algorithm: "HS256", Secret: sum(name)} }
	edKeyOf := func(id, name string) jose.Key {
		return jose.Key{ID: id, Algorithm: "EdDSA", Signer: ed25519.NewKeyFromSeed(sum(name))}
	}
	weak := jose.Key{Algorithm: "RS256", Signer: rsa1024()}
	weakToken := forge(`{"alg":"RS256","typ":"JWT"}`, "{}", func(input []byte) []byte {
		out, err := rsa.SignPKCS1v15(rand.Reader, rsa1024(), crypto.SHA256, sum(string(input)))
		require.NoError(t, err)
		return out
	})
	short := jose.Key{Algorithm: "HS256", Secret: []byte("short")}
	for _, tt := range []struct {
		name  string
		token string
		keys  []jose.Key
		ok    bool
	}{
		{"kid", sign(t, key("a", "a"), "JWT", "{}"), []jose.Key{key("b", "b"), key("a", "a")}, true},
		{"kid, two keys of that ID", sign(t, key("a", "a2"), "JWT", "{}"), []jose.Key{key("a", "a1"), key("a", "a2")}, true},
		{"kid, two algorithms of that ID", sign(t, edKeyOf("a", "e"), "JWT", "{}"), []jose.Key{key("a", "a"), edKeyOf("a", "e")}, true},
		{"no kid, one key without an ID", sign(t, key("", "a"), "JWT", "{}"), []jose.Key{key("a", "x"), key("", "a")}, true},
		{"no kid, several without an ID", sign(t, key("", "a"), "JWT", "{}"), []jose.Key{key("", "x"), edKeyOf("", "e"), key("", "a")}, true},
		{"unusable keys are passed over", sign(t, key("", "a"), "JWT", "{}"), []jose.Key{short, {Algorithm: "HS256"}, key("", "a")}, true},

		{"no keys", sign(t, key("a", "a"), "JWT", "{}"), nil, false},
		{"S281 kid of another, its own key", sign(t, key("1", "J2"), "JWT", "{}"), []jose.Key{key("1", "J")}, false},
		{"kid swapped", sign(t, key("a", "b"), "JWT", "{}"), []jose.Key{key("a", "a"), key("b", "b")}, false},
		{"kid unknown", sign(t, key("c", "a"), "JWT", "{}"), []jose.Key{key("a", "a"), key("", "a")}, false},
		{"kid, the same key without an ID", sign(t, key("a", "a"), "JWT", "{}"), []jose.Key{key("", "a")}, false},
		{"no kid, the same key with an ID", sign(t, key("", "a"), "JWT", "{}"), []jose.Key{key("a", "a")}, false},
		{"kid in another case", sign(t, key("A", "a"), "JWT", "{}"), []jose.Key{key("a", "a")}, false},
		{"kid longer", sign(t, key("a ", "a"), "JWT", "{}"), []jose.Key{key("a", "a")}, false},
		{"kid of an asymmetric key, HMAC", forgeHS256(`{"alg":"HS256","kid":"e","typ":"JWT"}`, "{}", sum("a")),
			[]jose.Key{edKeyOf("e", "e"), key("a", "a")}, false},
		{"secret too short", forgeHS256(`{"alg":"HS256","typ":"JWT"}`, "{}", []byte("short")), []jose.Key{short}, false},
		{"RFC 7518 3.3: RSA 1024", weakToken, []jose.Key{weak}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.ok {
				requireVerified(t, tt.token, "JWT", "{}", tt.keys...)
			} else {
				assertRefused(t, tt.token, "JWT", tt.keys...)
			}
		})
	}
}

func TestVerifyIsCompactOnly(t *testing.T) {
	token := sign(t, hsKey, "JWT", `{"sub":"J"}`)
	parts := strings.Split(token, ".")
	none := b64([]byte(`{"alg":"none","typ":"JWT"}`))
	flat := fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0], parts[2])
	jwe := b64([]byte(`{"alg":"A128KW","enc":"A128GCM","typ":"JWT"}`))
	for name, bad := range map[string]string{
		"S283 flattened JSON":        flat,
		"S283 flattened, white":      "\n" + flat,
		"S283 general JSON, two":     fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":""},{"protected":%q,"signature":%q}]}`, parts[1], none, parts[0], parts[2]),
		"V110 S283 unprotected alg":  fmt.Sprintf(`{"payload":%q,"header":{"alg":"HS256","typ":"JWT"},"signature":%q}`, parts[1], parts[2]),
		"S287 JWE":                   jwe + ".AAAA.AAAA.AAAA.AAAA",
		"V103 S287 JWE, empty parts": jwe + "....",
		"S287 JWE of a good JWS":     token + ".AAAA.AAAA",
		"S287 JWE header in a JWS":   jwe + "." + parts[1] + "." + parts[2],
		"empty":                      "",
		"one dot":                    ".",
		"two dots":                   "..",
		"three dots":                 "...",
		"one part":                   parts[0],
		"two parts":                  parts[0] + "." + parts[1],
		"three dots, good parts":     token + ".",
		"dot in front":               "." + token,
		"RFC 7515 F: detached":       parts[0] + ".." + parts[2],
		"no header":                  "." + parts[1] + "." + parts[2],
		"no signature":               parts[0] + "." + parts[1] + ".",
		"signature cut":              token[:len(token)-4],
		"signature longer":           token + "AAAA",
		"signature twice":            token + parts[2],
		"Bearer":                     "Bearer " + token,
		"spaces around it":           " " + token + " ",
		"zero byte after it":         token + "\x00",
		"not ASCII":                  token + "é",
		"full stop of another width": parts[0] + "。" + parts[1] + "。" + parts[2],
	} {
		t.Run(name, func(t *testing.T) { assertRefused(t, bad, "JWT", hsKey, edKey()) })
	}
	requireVerified(t, token, "JWT", `{"sub":"J"}`, hsKey)
}

// S292, RFC 7515 section 2: each part has one form. A lenient decoder would take all of these for the same token.
func TestVerifyBase64IsStrict(t *testing.T) {
	// The header has 32 bytes, the payload 8, the signature 32 or 64: all leave spare bits.
	for _, key := range []jose.Key{{ID: "k-1", Algorithm: "HS256", Secret: hsGo}, {ID: "k-1", Algorithm: "EdDSA", Signer: ed()}} {
		token := sign(t, key, "JW", "\xfb\xef\xff\xfb\xef\xff\xfb\xff") // "-" and "_" in its base64url
		requireVerified(t, token, "JW", "\xfb\xef\xff\xfb\xef\xff\xfb\xff", key)
		for i, segment := range strings.Split(token, ".") {
			bytesOf := unb64(t, segment)
			for name, variant := range base64Variants(t, segment) {
				t.Run(fmt.Sprintf("S292/%s/part %d/%s", key.Algorithm, i, name), func(t *testing.T) {
					parts := strings.Split(token, ".")
					parts[i] = variant
					require.Equal(t, bytesOf, lenient(t, variant), "the variant stands for the same bytes")
					assertRefused(t, strings.Join(parts, "."), "JW", key)
				})
			}
		}
	}
}

// base64Variants are other ways to write what segment stands for.
func base64Variants(t *testing.T, segment string) map[string]string {
	t.Helper()
	half := len(segment) / 2
	variants := map[string]string{
		"padding":           segment + strings.Repeat("=", 4-len(segment)%4),
		"one too many":      segment + "====",
		"line feed inside":  segment[:half] + "\n" + segment[half:],
		"line feed after":   segment + "\n",
		"line feed before":  "\n" + segment,
		"carriage return":   segment[:half] + "\r" + segment[half:],
		"CRLF":              segment[:half] + "\r\n" + segment[half:],
		"space":             segment[:half] + " " + segment[half:],
		"tab":               segment + "\t",
		"percent encoding":  fmt.Sprintf("%%%02X", segment[0]) + segment[1:],
		"standard alphabet": strings.NewReplacer("-", "+", "_", "/").Replace(segment),
	}
	if variants["standard alphabet"] == segment {
		delete(variants, "standard alphabet")
	}
	// RFC 4648, section 4: two characters at the end have 4 spare bits, three have 2.
	spare := map[int]int{2: 16, 3: 4}[len(segment)%4]
	require.NotZero(t, spare, "no spare bits to set")
	last := strings.IndexByte(alphabet, segment[len(segment)-1])
	for bits := 1; bits < spare; bits++ {
		variants[fmt.Sprintf("spare bits %d", bits)] = segment[:len(segment)-1] + string(alphabet[last|bits])
	}
	return variants
}

// lenient decodes what a careless implementation would.
func lenient(t *testing.T, s string) []byte {
	t.Helper()
	s = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "", "=", "", "+", "-", "/", "_").Replace(s)
	if strings.HasPrefix(s, "%") {
		var c byte
		_, err := fmt.Sscanf(s[:3], "%%%02X", &c)
		require.NoError(t, err)
		s = string(c) + s[3:]
	}
	return unb64(t, s)
}

// Every bit of every part counts.
func TestVerifyRefusesEveryFlippedBit(t *testing.T) {
	for _, key := range []jose.Key{
		{ID: "k", Algorithm: "ES256", Signer: p256()}, {ID: "k", Algorithm: "EdDSA", Signer: ed()}, {ID: "k", Algorithm: "HS256", Secret: hsGo},
	} {
		t.Run(key.Algorithm, func(t *testing.T) {
			token := sign(t, key, "JWT", `{"sub":"J"}`)
			for i := range len(token) {
				at := strings.IndexByte(alphabet, token[i])
				if at < 0 {
					require.Equal(t, byte('.'), token[i])
					continue
				}
				for bit := range 6 {
					bad := token[:i] + string(alphabet[at^1<<bit]) + token[i+1:]
					if payload, err := jose.Verify(bad, "JWT", []jose.Key{key}); err == nil {
						t.Fatalf("character %d, bit %d: verified as %q", i, bit, payload)
					}
				}
			}
		})
	}
}

// S284: what is too long costs nothing.
func TestVerifySize(t *testing.T) {
	keys := []jose.Key{hsKey, edKey()}
	for name, token := range map[string]string{
		"V099 S284 1 MiB of dots":      strings.Repeat(".", 1<<20),
		"S284 1 MiB after a header":    "eyJ" + strings.Repeat("A", 1<<20),
		"S284 1 MiB of opening":        strings.Repeat("{", 1<<20),
		"one byte more than MaxToken":  strings.Repeat(".", jose.MaxToken+1),
		"good signature, but too long": forgeHS256(`{"alg":"HS256","typ":"JWT"}`, strings.Repeat("x", jose.MaxToken), hsGo),
	} {
		t.Run(name, func(t *testing.T) {
			assertRefused(t, token, "JWT", keys...)
			assert.Zero(t, testing.AllocsPerRun(10, func() { _, _ = jose.Verify(token, "JWT", keys) }))
		})
	}
	t.Run("S284 MaxToken of dots", func(t *testing.T) {
		token := strings.Repeat(".", jose.MaxToken)
		assertRefused(t, token, "JWT", keys...)
		assert.LessOrEqual(t, testing.AllocsPerRun(10, func() { _, _ = jose.Verify(token, "JWT", keys) }), 4.0)
	})
}

// What Verify says must not help to log a token: a refusal has nothing of it. assertRefused checks the same everywhere.
func TestVerifyErrorsHaveNoTokenParts(t *testing.T) {
	const marker = "MARKERMARKER"
	for name, token := range map[string]string{
		"raw":              marker,
		"alg":              forgeHS256(`{"alg":"`+marker+`","typ":"JWT"}`, "{}", hsGo),
		"kid":              forgeHS256(`{"alg":"HS256","kid":"`+marker+`","typ":"JWT"}`, "{}", hsGo),
		"typ":              forgeHS256(`{"alg":"HS256","typ":"`+marker+`"}`, "{}", hsGo),
		"member twice":     forgeHS256(`{"alg":"HS256","`+marker+`":1,"`+marker+`":1,"typ":"JWT"}`, "{}", hsGo),
		"number too large": forgeHS256(`{"alg":"HS256","`+marker+`":1e999,"typ":"JWT"}`, "{}", hsGo),
		"payload":          forgeHS256(`{"alg":"HS256","typ":"JWT"}`, marker, []byte("another key")),
	} {
		t.Run(name, func(t *testing.T) {
			assertRefused(t, token, "JWT", hsKey)
			_, err := jose.Verify(token, "JWT", []jose.Key{hsKey})
			require.Error(t, err)
			assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), marker)
			assert.NotContains(t, err.Error(), b64([]byte(marker)))
		})
	}
}
