package jose_test

import (
	"testing"

	"github.com/grantwell/oauth/internal/jose"
)

const benchPayload = `{"iss":"https://as.example","sub":"alice","aud":"https://api.example","client_id":"s6BhdRkqt3","iat":1700000000,` +
	`"exp":1700001800,"jti":"aAbBcCdDeEfFgGhHiIjJkKlL","scope":"read write"}`

func BenchmarkSignES256(b *testing.B) {
	key := jose.Key{ID: "k1", Algorithm: "ES256", Signer: p256()}
	payload := []byte(benchPayload)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jose.Sign(key, "at+jwt", payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyES256(b *testing.B) {
	keys := []jose.Key{{ID: "k1", Algorithm: "ES256", Signer: p256()}}
	token := sign(b, keys[0], "at+jwt", benchPayload)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jose.Verify(token, "at+jwt", keys); err != nil {
			b.Fatal(err)
		}
	}
}
