package jose_test

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/grantwell/oauth/internal/jose"
)

// FuzzVerify: no input makes it panic, and none is verified that Sign has not made. The keys are always the same and both
// algorithms have no randomness, so what Sign makes of a payload can be made again and compared byte for byte.
func FuzzVerify(f *testing.F) {
	keys := []jose.Key{
		{ID: "1", Algorithm: "HS256", Secret: sum("fuzz")},
		{Algorithm: "HS256", Secret: sum("fuzz, no ID")},
		{ID: "2", Algorithm: "EdDSA", Signer: ed25519.NewKeyFromSeed(sum("fuzz"))},
		{Algorithm: "EdDSA", Signer: ed25519.NewKeyFromSeed(sum("fuzz, no ID"))},
	}
	types := []string{"at+jwt", "JWT", ""}
	for _, k := range keys {
		for _, typ := range types {
			token := sign(f, k, typ, `{"sub":"alice"}`)
			f.Add(token, typ)
			f.Add(strings.TrimRight(token, token[len(token)-1:]), typ)
		}
	}
	f.Add(forgeHS256(`{"alg":"none","typ":"JWT"}`, "{}", nil), "JWT")
	f.Add(forgeHS256(`{"alg":"HS256","kid":"1","kid":"2","typ":"JWT"}`, "{}", []byte("x")), "JWT")
	f.Add(forgeHS256(`{"alg":"HS256","b64":false,"crit":["b64"]}`, "{}", []byte("x")), "")
	f.Add(forgeHS256(`{"alg":"EdDSA","kid":"2","jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}}`, "{}", []byte("x")), "")
	f.Add(`{"payload":"e30","signatures":[]}`, "JWT")
	f.Add("eyJhbGciOiJIUzI1NiJ9.e30.AAAA.AAAA.AAAA", "application/JWT")
	f.Add("..", "")
	f.Fuzz(func(t *testing.T, token, typ string) {
		payload, err := jose.Verify(token, typ, keys)
		if err != nil {
			assertRefused(t, token, typ, keys...)
			return
		}
		made := slices.ContainsFunc(keys, func(k jose.Key) bool {
			return slices.ContainsFunc(types, func(typ string) bool { return sign(t, k, typ, string(payload)) == token })
		})
		if !made {
			t.Fatalf("verified, but not made by Sign: %q", token)
		}
	})
}

// FuzzSign: what Sign makes, Verify takes, whatever the ID and the payload.
func FuzzSign(f *testing.F) {
	f.Add("", []byte("{}"))
	f.Add("k<&>\u2028\"\\", []byte{0, 0xff})
	f.Add("\xff", []byte("."))
	f.Fuzz(func(t *testing.T, id string, payload []byte) {
		for _, k := range []jose.Key{
			{ID: id, Algorithm: "HS256", Secret: sum("fuzz")},
			{ID: id, Algorithm: "EdDSA", Signer: remote{ed()}},
		} {
			token, err := jose.Sign(k, "at+jwt", payload)
			if err != nil {
				if utf8.ValidString(id) && len(id)*6+len(payload) < jose.MaxToken/2 {
					t.Fatal(err)
				}
				continue
			}
			got, err := jose.Verify(token, "at+jwt", []jose.Key{k})
			if err != nil || !bytes.Equal(got, payload) {
				t.Fatalf("%q: %v", token, err)
			}
		}
	})
}
