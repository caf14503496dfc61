package derive_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/grantwell/oauth/internal/derive"
)

func TestSealRoundTrip(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	for _, size := range []int{0, 1, 15, 16, 17, 63, 64, 65, 200, 1000, 10_000} {
		plaintext := count(1, size)
		for _, room := range []int{0, 1, 100, 20_000} {
			before := append(make([]byte, 0, 7+room), "before "...)
			sealed := r.Seal(before, derive.Access, plaintext)
			require.Equal(t, "before ", string(sealed[:7]))
			sealed = sealed[7:]
			require.Len(t, sealed, 1+24+size+16)
			require.Equal(t, r.First(), sealed[0])

			before = append(make([]byte, 0, 7+room), "before "...)
			opened, err := r.Open(before, derive.Access, sealed)
			require.NoError(t, err)
			require.Equal(t, "before ", string(opened[:7]))
			require.True(t, bytes.Equal(plaintext, opened[7:]))
		}
	}
}

func TestSealIsNeverTheSameTwice(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	nonces := make(map[string]bool)
	for range 1000 {
		sealed := r.Seal(nil, derive.Access, []byte(knownPlaintext))
		assert.NotContains(t, string(sealed), knownPlaintext)
		nonces[string(sealed[1:25])] = true
	}
	assert.Len(t, nonces, 1000)
}

func TestOpenRefusesEveryFlippedBit(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	for _, k := range known {
		t.Run(k.name, func(t *testing.T) {
			sealed := unhex(t, k.sealed)
			for bit := range len(sealed) * 8 {
				flipped := bytes.Clone(sealed)
				flipped[bit/8] ^= 1 << (bit % 8)
				got, err := r.Open([]byte("before"), k.purpose, flipped)
				require.Nil(t, got)
				if bit < 8 {
					require.ErrorIs(t, err, derive.ErrUnknownKey, "bit %d of the key id", bit)
				} else {
					require.ErrorIs(t, err, derive.ErrForged, "byte %d, bit %d", bit/8, bit%8)
				}
			}
		})
	}
}

// The key id is authenticated: a text cannot be passed to another secret of
// the same ring.
func TestOpenRefusesAnotherKeyOfTheRing(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret, secretWithID(t, 5, 1))
	sealed := unhex(t, known[0].sealed)
	sealed[0] = 5
	_, err := r.Open(nil, derive.Code, sealed)
	assert.ErrorIs(t, err, derive.ErrForged)
}

func TestOpenRefusesOtherLengths(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	sealed := unhex(t, known[0].sealed)
	for n := range len(sealed) {
		got, err := r.Open(nil, derive.Code, sealed[:n])
		require.ErrorIs(t, err, derive.ErrForged, "%d bytes", n)
		require.Nil(t, got)
	}
	for _, extra := range []string{"\x00", "\n", "x", string(sealed)} {
		_, err := r.Open(nil, derive.Code, append(bytes.Clone(sealed), extra...))
		require.ErrorIs(t, err, derive.ErrForged)
	}
	_, err := r.Open(nil, derive.Code, nil)
	assert.ErrorIs(t, err, derive.ErrForged)
	_, err = r.Open(nil, derive.Code, []byte{knownKeyID ^ 1})
	assert.ErrorIs(t, err, derive.ErrUnknownKey, "the key id is read first, whatever follows")
}

// Purpose and key id are additional data: even the right key does not open a
// text that was sealed without them, or with others.
func TestOpenNeedsTheAdditionalData(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	aead, err := chacha20poly1305.NewX(subKey(t, knownSecret, "seal", "access", knownIssuer))
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"as it is", []byte{byte(derive.Access), knownKeyID}, nil},
		{"none", nil, derive.ErrForged},
		{"another purpose", []byte{byte(derive.Handle), knownKeyID}, derive.ErrForged},
		{"another key id", []byte{byte(derive.Access), knownKeyID + 1}, derive.ErrForged},
		{"purpose alone", []byte{byte(derive.Access)}, derive.ErrForged},
		{"more", []byte{byte(derive.Access), knownKeyID, 0}, derive.ErrForged},
	} {
		t.Run(c.name, func(t *testing.T) {
			sealed := append([]byte{knownKeyID}, knownSealNonce...)
			sealed = aead.Seal(sealed, knownSealNonce, []byte(knownPlaintext), c.data)
			_, err := r.Open(nil, derive.Access, sealed)
			assert.ErrorIs(t, err, c.want)
		})
	}
}

// A failed Open leaves what was in dst alone.
func TestOpenKeepsDst(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	sealed := unhex(t, known[0].sealed)
	sealed[len(sealed)-1] ^= 1
	dst := append(make([]byte, 0, 100), "before"...)
	_, err := r.Open(dst, derive.Code, sealed)
	require.ErrorIs(t, err, derive.ErrForged)
	assert.Equal(t, "before", string(dst))
}

// No text opens that was not sealed, and every text that was does.
func FuzzOpen(f *testing.F) {
	sealedOnce := make(map[string]derive.Purpose)
	for i, k := range known {
		sealed := unhex(f, k.sealed)
		sealedOnce[string(sealed)] = k.purpose
		f.Add(byte(i), sealed)
		f.Add(byte(i+1), sealed) // of another purpose
		f.Add(byte(i), sealed[:len(sealed)-1])
	}
	f.Add(byte(0), []byte{})
	f.Add(byte(0), []byte{knownKeyID})
	f.Add(byte(0), append([]byte{knownKeyID}, make([]byte, 40)...))
	r := newRing(f, knownIssuer, knownSecret)
	f.Fuzz(func(t *testing.T, index byte, b []byte) {
		p := known[int(index)%len(known)].purpose
		got, err := r.Open(nil, p, b)
		switch {
		case err == nil:
			require.Equal(t, p, sealedOnce[string(b)], "a text opened that nobody sealed")
			require.Equal(t, knownPlaintext, string(got))
		case len(b) > 0 && b[0] != knownKeyID:
			require.ErrorIs(t, err, derive.ErrUnknownKey)
		default:
			require.ErrorIs(t, err, derive.ErrForged)
			require.NotEqual(t, p, sealedOnce[string(b)], "a sealed text did not open")
		}
		got, err = r.Open(nil, p, r.Seal(nil, p, b))
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, got))
	})
}
