package derive_test

import (
	"testing"

	"github.com/grantwell/oauth/internal/derive"
)

// tokenSize is about the plaintext of an opaque access token, in bytes.
const tokenSize = 200

func BenchmarkNewRing(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		newRing(b, knownIssuer, knownSecret)
	}
}

func BenchmarkDerive(b *testing.B) {
	r := newRing(b, knownIssuer, knownSecret)
	b.ReportAllocs()
	for b.Loop() {
		r.Derive(derive.Refresh, knownKeyID, knownRecord, knownGeneration, &knownNonce)
	}
}

func BenchmarkAuthentic(b *testing.B) {
	r := newRing(b, knownIssuer, knownSecret)
	c, _ := derive.ParseCredential(unhex(b, known[1].credential))
	b.ReportAllocs()
	for b.Loop() {
		if !r.Authentic(derive.Refresh, c, &knownNonce) {
			b.Fatal("not authentic")
		}
	}
}

func BenchmarkAuthenticParallel(b *testing.B) {
	r := newRing(b, knownIssuer, knownSecret)
	c, _ := derive.ParseCredential(unhex(b, known[1].credential))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !r.Authentic(derive.Refresh, c, &knownNonce) {
				b.Error("not authentic")
			}
		}
	})
}

func BenchmarkMAC(b *testing.B) {
	r := newRing(b, knownIssuer, knownSecret)
	data := count(0, 600)
	b.ReportAllocs()
	for b.Loop() {
		r.MAC(derive.Data, knownKeyID, knownParts[0], knownParts[2], data)
	}
}

func BenchmarkSeal(b *testing.B) {
	r := newRing(b, knownIssuer, knownSecret)
	plaintext := count(0, tokenSize)
	b.ReportAllocs()
	for b.Loop() {
		r.Seal(nil, derive.Access, plaintext)
	}
}

func BenchmarkOpen(b *testing.B) {
	r := newRing(b, knownIssuer, knownSecret)
	sealed := r.Seal(nil, derive.Access, count(0, tokenSize))
	room := make([]byte, 0, tokenSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Open(room, derive.Access, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	raw := unhex(b, known[0].credential)
	b.ReportAllocs()
	for b.Loop() {
		derive.Encode("gw_", false, raw)
	}
}

func BenchmarkDecode(b *testing.B) {
	text := derive.Encode("gw_", false, unhex(b, known[0].credential))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := derive.Decode("gw_", false, text); !ok {
			b.Fatal("refused")
		}
	}
}
