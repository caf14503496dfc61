package derive_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/derive"
)

func TestParseCredentialLength(t *testing.T) {
	for n := range 100 {
		_, ok := derive.ParseCredential(make([]byte, n))
		assert.Equal(t, n == 41, ok, "%d bytes", n)
	}
	_, ok := derive.ParseCredential(nil)
	assert.False(t, ok)
}

// RFC 6749, section 10.10: what was not issued is not accepted.
func TestAuthenticRefusesEveryFlippedBit(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret, secretWithID(t, knownKeyID^1, 1))
	for _, k := range known {
		t.Run(k.name, func(t *testing.T) {
			b := unhex(t, k.credential)
			for bit := range len(b) * 8 {
				flipped := bytes.Clone(b)
				flipped[bit/8] ^= 1 << (bit % 8)
				c, ok := derive.ParseCredential(flipped)
				require.True(t, ok)
				require.False(t, r.Authentic(k.purpose, c, &knownNonce), "byte %d, bit %d", bit/8, bit%8)
			}
		})
	}
}

func TestAuthenticNeedsTheNonce(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	c, ok := derive.ParseCredential(unhex(t, known[0].credential))
	require.True(t, ok)
	require.True(t, r.Authentic(derive.Code, c, &knownNonce))
	assert.False(t, r.Authentic(derive.Code, c, new([32]byte)))
	for bit := range len(knownNonce) * 8 {
		nonce := knownNonce
		nonce[bit/8] ^= 1 << (bit % 8)
		require.False(t, r.Authentic(derive.Code, c, &nonce), "byte %d, bit %d", bit/8, bit%8)
	}
}

func TestAuthenticRefusesNoMAC(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	for id := range 256 {
		c := derive.Credential{KeyID: byte(id), Record: knownRecord, Generation: knownGeneration}
		assert.False(t, r.Authentic(derive.Code, c, &knownNonce), "key id %d", id)
	}
}

func TestDeriveGenerations(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	seen := make(map[string]uint32)
	for _, generation := range []uint32{0, 1, 2, 255, 256, 65535, 65536, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		b, ok := r.Derive(derive.Refresh, knownKeyID, knownRecord, generation, &knownNonce)
		require.True(t, ok)
		c, ok := derive.ParseCredential(b)
		require.True(t, ok)
		assert.Equal(t, generation, c.Generation)
		assert.True(t, r.Authentic(derive.Refresh, c, &knownNonce))
		before, dup := seen[string(b[21:])]
		assert.False(t, dup, "the MACs of generations %d and %d are equal", before, generation)
		seen[string(b[21:])] = generation

		c.Generation++
		assert.False(t, r.Authentic(derive.Refresh, c, &knownNonce), "generation %d passed for the next", generation)
	}
}

func TestDeriveUnknownKeyID(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	for id := range 256 {
		b, ok := r.Derive(derive.Code, byte(id), knownRecord, 0, &knownNonce)
		assert.Equal(t, id == knownKeyID, ok, "key id %d", id)
		assert.Equal(t, ok, b != nil, "key id %d", id)
	}
}

// What Derive returns is the caller's: nothing of it is used again.
func TestDeriveResultIsOwn(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	first, ok := r.Derive(derive.Code, knownKeyID, knownRecord, knownGeneration, &knownNonce)
	require.True(t, ok)
	clear(first)
	second, ok := r.Derive(derive.Code, knownKeyID, knownRecord, knownGeneration, &knownNonce)
	require.True(t, ok)
	assert.Equal(t, unhex(t, known[0].credential), second)
	assert.Equal(t, make([]byte, 41), first)
}

// Any 41 bytes read as what they are, and are authentic only if Derive makes
// the same 41 bytes.
func FuzzParseCredential(f *testing.F) {
	for _, k := range known {
		f.Add(unhex(f, k.credential))
	}
	f.Add([]byte{})
	f.Add(make([]byte, 40))
	f.Add(make([]byte, 41))
	f.Add(make([]byte, 42))
	r := newRing(f, knownIssuer, knownSecret)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := derive.ParseCredential(b)
		require.Equal(t, len(b) == 41, ok)
		if !ok {
			require.Zero(t, c)
			return
		}
		again := append([]byte{c.KeyID}, c.Record[:]...)
		again = binary.BigEndian.AppendUint32(again, c.Generation)
		require.Equal(t, b, append(again, c.MAC[:]...))
		for _, k := range known {
			want, _ := r.Derive(k.purpose, c.KeyID, c.Record, c.Generation, &knownNonce)
			require.Equal(t, bytes.Equal(want, b), r.Authentic(k.purpose, c, &knownNonce), k.name)
		}
	})
}
