package derive_test

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/derive"
)

// secretWithID finds a secret of the key id; other numbers find other ones.
func secretWithID(t testing.TB, id byte, number int) []byte {
	t.Helper()
	for i := range 100_000 {
		s := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("secret"), uint64(number)<<32|uint64(i)))
		got, err := hkdf.Key(sha256.New, s[:], nil, "grantwell/oauth v1 key id", 1)
		require.NoError(t, err)
		if got[0] == id {
			return s[:]
		}
	}
	require.FailNow(t, "no secret found")
	return nil
}

func TestNewRing(t *testing.T) {
	a, b, c := secretWithID(t, 7, 1), secretWithID(t, 200, 1), secretWithID(t, 0, 1)
	r := newRing(t, knownIssuer, a, b, c)
	assert.Equal(t, byte(7), r.First())
	assert.Equal(t, []byte{7, 200, 0}, r.IDs())
	for id := range 256 {
		assert.Equal(t, id == 7 || id == 200 || id == 0, r.Has(byte(id)), "key id %d", id)
	}

	r.IDs()[0] = 99
	assert.Equal(t, byte(7), r.First(), "the slice is the caller's own")
	assert.Equal(t, []byte{7, 200, 0}, r.IDs())
}

func TestNewRingKeepsNoSecret(t *testing.T) {
	secret := bytes.Clone(knownSecret)
	r := newRing(t, knownIssuer, secret)
	clear(secret)
	got, ok := r.Derive(derive.Code, knownKeyID, knownRecord, knownGeneration, &knownNonce)
	require.True(t, ok)
	assert.Equal(t, unhex(t, known[0].credential), got)
}

func TestNewRingErrors(t *testing.T) {
	good, other := knownSecret, secretWithID(t, 9, 1)
	short := []byte("thirty-one bytes are too short.")
	require.Len(t, short, derive.MinSecret-1)
	clash := secretWithID(t, knownKeyID, 1)
	for _, c := range []struct {
		name    string
		secrets [][]byte
		want    []string // how the lines of the error begin
	}{
		{"none", nil, []string{"no secret"}},
		{"empty list", [][]byte{}, []string{"no secret"}},
		{"empty secret", [][]byte{{}}, []string{"secret 0: 0 bytes"}},
		{"short", [][]byte{good, short}, []string{"secret 1: 31 bytes"}},
		{"the same twice", [][]byte{good, bytes.Clone(good)}, []string{"secret 1: same key id as secret 0"}},
		{"a clash by chance", [][]byte{other, good, clash}, []string{"secret 2: same key id as secret 1"}},
		{"all at once", [][]byte{short, good, good, nil, clash, other}, []string{
			"secret 0: 31 bytes", "secret 2: same key id as secret 1", "secret 3: 0 bytes", "secret 4: same key id as secret 1",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := derive.NewRing(knownIssuer, "", c.secrets)
			require.Error(t, err)
			assert.Nil(t, r)
			lines := strings.Split(err.Error(), "\n")
			require.Len(t, lines, len(c.want))
			for i, want := range c.want {
				assert.True(t, strings.HasPrefix(lines[i], want), lines[i])
			}
			for _, secret := range c.secrets {
				for _, form := range []string{"%s", "%x", "%X", "%v"} {
					if len(secret) > 0 {
						assert.NotContains(t, err.Error(), fmt.Sprintf(form, secret))
					}
				}
			}
		})
	}
}

func TestRedacted(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	c, ok := derive.ParseCredential(unhex(t, known[0].credential))
	require.True(t, ok)
	for _, form := range []string{"%v", "%+v", "%s", "%#v"} {
		assert.Equal(t, "redacted", fmt.Sprintf(form, r))
		assert.Equal(t, "redacted", fmt.Sprintf(form, c))
		assert.Equal(t, "redacted", fmt.Sprintf(form, &c))
	}
}

// A maker is one purpose of one server. What one makes, no other accepts: not
// with another issuer, nor another secret, even one of the same key id.
type maker struct {
	name    string
	ring    *derive.Ring
	purpose derive.Purpose
}

func makers(t *testing.T) []maker {
	t.Helper()
	clash := secretWithID(t, knownKeyID, 2)
	rings := []struct {
		name string
		ring *derive.Ring
	}{
		{"issuer 1, secret 1", newRing(t, knownIssuer, knownSecret)},
		{"issuer 2, secret 1", newRing(t, knownIssuer+"/", knownSecret)},
		{"issuer 1, secret 2 of the same key id", newRing(t, knownIssuer, clash)},
		{"issuer 2, secret 2 of the same key id", newRing(t, knownIssuer+"/", clash)},
		{"issuer 1, secret 3", newRing(t, knownIssuer, secretWithID(t, 11, 1))},
	}
	var all []maker
	for _, r := range rings {
		for _, k := range known {
			all = append(all, maker{r.name + ", " + k.name, r.ring, k.purpose})
		}
	}
	return all
}

func TestEveryMakerIsAlone(t *testing.T) {
	all := makers(t)
	macs := make(map[[32]byte]string)
	for i, m := range all {
		b, ok := m.ring.Derive(m.purpose, m.ring.First(), knownRecord, knownGeneration, &knownNonce)
		require.True(t, ok, m.name)
		c, ok := derive.ParseCredential(b)
		require.True(t, ok, m.name)
		sealed := m.ring.Seal(nil, m.purpose, []byte(knownPlaintext))
		mac, ok := m.ring.MAC(m.purpose, m.ring.First(), knownParts...)
		require.True(t, ok, m.name)
		assert.NotContains(t, macs, mac, m.name)
		macs[mac] = m.name

		for j, other := range all {
			require.Equal(t, i == j, other.ring.Authentic(other.purpose, c, &knownNonce), "%s by %s", m.name, other.name)
			plaintext, err := other.ring.Open(nil, other.purpose, sealed)
			switch {
			case i == j:
				require.NoError(t, err, m.name)
				require.Equal(t, knownPlaintext, string(plaintext), m.name)
			case m.ring.First() == other.ring.First():
				require.ErrorIs(t, err, derive.ErrForged, "%s by %s", m.name, other.name)
			default:
				require.ErrorIs(t, err, derive.ErrUnknownKey, "%s by %s", m.name, other.name)
			}
		}
	}
	assert.Len(t, macs, len(all))
}

// Section 1 of the design: a rotation takes two rollouts, every credential
// survives both, and the old secret goes last.
func TestRotationOfSecrets(t *testing.T) {
	before, after := knownSecret, secretWithID(t, 5, 1)
	old := newRing(t, knownIssuer, before)
	first, ok := old.Derive(derive.Refresh, knownKeyID, knownRecord, 3, &knownNonce)
	require.True(t, ok)
	c, ok := derive.ParseCredential(first)
	require.True(t, ok)
	mac, ok := old.MAC(derive.Data, knownKeyID, knownParts...)
	require.True(t, ok)
	sealed := old.Seal(nil, derive.Access, []byte(knownPlaintext))

	for _, step := range []struct {
		name  string
		ring  *derive.Ring
		first byte
	}{
		{"new one last", newRing(t, knownIssuer, before, after), knownKeyID},
		{"new one first", newRing(t, knownIssuer, after, before), 5},
	} {
		t.Run(step.name, func(t *testing.T) {
			assert.Equal(t, step.first, step.ring.First())
			again, ok := step.ring.Derive(derive.Refresh, knownKeyID, knownRecord, 3, &knownNonce)
			require.True(t, ok)
			assert.Equal(t, first, again, "a retry gets the same successor")
			assert.True(t, step.ring.Authentic(derive.Refresh, c, &knownNonce))
			sameMAC, ok := step.ring.MAC(derive.Data, knownKeyID, knownParts...)
			require.True(t, ok)
			assert.Equal(t, mac, sameMAC)
			plaintext, err := step.ring.Open(nil, derive.Access, sealed)
			require.NoError(t, err)
			assert.Equal(t, knownPlaintext, string(plaintext))
			assert.Equal(t, step.first, step.ring.Seal(nil, derive.Access, nil)[0])
		})
	}
	t.Run("old one gone", func(t *testing.T) {
		r := newRing(t, knownIssuer, after)
		b, ok := r.Derive(derive.Refresh, knownKeyID, knownRecord, 3, &knownNonce)
		assert.False(t, ok)
		assert.Nil(t, b)
		assert.False(t, r.Authentic(derive.Refresh, c, &knownNonce))
		got, ok := r.MAC(derive.Data, knownKeyID, knownParts...)
		assert.False(t, ok)
		assert.Zero(t, got)
		_, err := r.Open(nil, derive.Access, sealed)
		assert.ErrorIs(t, err, derive.ErrUnknownKey)
	})
}

func TestNoSuchPurposePanics(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	sealed := unhex(t, known[0].sealed)
	for _, p := range []derive.Purpose{0, derive.SigningKey + 1, 255} {
		assert.Panics(t, func() { r.Derive(p, knownKeyID, knownRecord, 0, &knownNonce) })
		assert.Panics(t, func() { r.Authentic(p, derive.Credential{KeyID: knownKeyID}, &knownNonce) })
		assert.Panics(t, func() { r.MAC(p, knownKeyID) })
		assert.Panics(t, func() { r.Seal(nil, p, nil) })
		assert.Panics(t, func() { _, _ = r.Open(nil, p, sealed) })
	}
}

func TestNewSecret(t *testing.T) {
	a, b := derive.NewSecret(), derive.NewSecret()
	assert.Len(t, a, derive.MinSecret)
	assert.Len(t, b, derive.MinSecret)
	assert.NotEqual(t, a, b)
	newRing(t, knownIssuer, a)
}

// Run with -race: one Ring serves all requests at once, and states that are used
// again must not leak from one into another.
func TestConcurrentUse(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret, secretWithID(t, 5, 1))
	alone := newRing(t, knownIssuer, knownSecret)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 50 {
				generation := uint32(worker<<16 | i)
				p := known[(worker+i)%len(known)].purpose
				b, ok := r.Derive(p, knownKeyID, knownRecord, generation, &knownNonce)
				assert.True(t, ok)
				want, ok := alone.Derive(p, knownKeyID, knownRecord, generation, &knownNonce)
				assert.True(t, ok)
				assert.Equal(t, want, b)
				c, ok := derive.ParseCredential(b)
				assert.True(t, ok)
				assert.True(t, r.Authentic(p, c, &knownNonce))

				part := binary.BigEndian.AppendUint32(nil, generation)
				got, ok := r.MAC(p, knownKeyID, part, b)
				assert.True(t, ok)
				wantMAC, ok := alone.MAC(p, knownKeyID, part, b)
				assert.True(t, ok)
				assert.Equal(t, wantMAC, got)

				plaintext, err := r.Open(nil, p, r.Seal(nil, p, part))
				assert.NoError(t, err)
				assert.Equal(t, part, plaintext)
			}
		})
	}
	wg.Wait()
}
