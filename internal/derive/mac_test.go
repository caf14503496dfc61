package derive_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/derive"
)

func TestMACBoundaries(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	seen := make(map[[32]byte]string)
	eight := string(make([]byte, 8)) // looks like the length of an empty part
	for _, parts := range [][]string{
		{}, {""}, {"", ""}, {eight}, {eight, ""}, {"", eight},
		{"ab", "c"}, {"a", "bc"}, {"abc"}, {"abc", ""}, {"", "abc"}, {"a", "b", "c"}, {"c", "ab"},
		{"a" + eight + "b"}, {"a", "b" + eight},
		{"\x00\x00\x00\x00\x00\x00\x00\x02ab"},
	} {
		name := fmt.Sprintf("%q", parts)
		var b [][]byte
		for _, part := range parts {
			b = append(b, []byte(part))
		}
		mac, ok := r.MAC(derive.Data, knownKeyID, b...)
		require.True(t, ok, name)
		assert.Empty(t, seen[mac], name)
		seen[mac] = name
	}
}

func TestMACRefusesEveryFlippedBit(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	want, ok := r.MAC(derive.Data, knownKeyID, knownParts...)
	require.True(t, ok)
	for i, part := range knownParts {
		for bit := range len(part) * 8 {
			flipped := bytes.Clone(part)
			flipped[bit/8] ^= 1 << (bit % 8)
			parts := append([][]byte(nil), knownParts...)
			parts[i] = flipped
			got, ok := r.MAC(derive.Data, knownKeyID, parts...)
			require.True(t, ok)
			require.NotEqual(t, want, got, "part %d, bit %d", i, bit)
		}
	}
}

func TestMACUnknownKeyID(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	for id := range 256 {
		mac, ok := r.MAC(derive.Data, byte(id), []byte("x"))
		assert.Equal(t, id == knownKeyID, ok, "key id %d", id)
		assert.Equal(t, ok, mac != [32]byte{}, "key id %d", id)
	}
}

// Two secrets make two MACs of the same parts.
func TestMACUsesTheKeyAsked(t *testing.T) {
	r := newRing(t, knownIssuer, secretWithID(t, 5, 1), knownSecret)
	first, ok := r.MAC(derive.Data, 5, knownParts...)
	require.True(t, ok)
	second, ok := r.MAC(derive.Data, knownKeyID, knownParts...)
	require.True(t, ok)
	assert.NotEqual(t, first, second)
	alone, ok := newRing(t, knownIssuer, knownSecret).MAC(derive.Data, knownKeyID, knownParts...)
	require.True(t, ok)
	assert.Equal(t, alone, second)
}

// The states of a MAC are used again and must not remember what they were used for.
func TestMACIsTheSameEveryTime(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	for i := range 20 {
		for _, k := range known {
			got, ok := r.MAC(k.purpose, knownKeyID, knownParts...)
			require.True(t, ok)
			require.Equal(t, unhex(t, k.mac), got[:], "%s, time %d", k.name, i)
			_, ok = r.MAC(k.purpose, knownKeyID, []byte("something else"))
			require.True(t, ok)
			_, ok = r.Derive(k.purpose, knownKeyID, knownRecord, uint32(i), &knownNonce)
			require.True(t, ok)
		}
	}
}
