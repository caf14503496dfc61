package derive

import (
	"crypto/subtle"
	"encoding/binary"
)

const (
	credentialSize = 1 + 16 + 4 + 20     // key id, record, generation, MAC
	credentialIn   = 1 + 16 + 4 + 32     // what its MAC is over: nonce in place of the MAC
	macAt          = credentialSize - 20 // where the MAC begins
)

// A Credential is what a code or a refresh token says about itself. Nothing of it
// is to be believed before [Ring.Authentic] has said so, except for finding the
// record whose nonce that takes.
type Credential struct {
	KeyID      byte     // of the secret that made it
	Record     [16]byte // the authorization's id
	Generation uint32   // 0 for a code; one more with every rotation of the refresh token
	// MAC is 160 bits: to guess one is as unlikely as RFC 6749, section 10.10,
	// says it should be.
	MAC [20]byte
}

// ParseCredential reads the 41 bytes that [Ring.Derive] makes. It is false for
// any other length; every text of 41 bytes is some credential, authentic or not.
func ParseCredential(b []byte) (Credential, bool) {
	if len(b) != credentialSize {
		return Credential{}, false
	}
	return Credential{
		KeyID:      b[0],
		Record:     [16]byte(b[1:17]),
		Generation: binary.BigEndian.Uint32(b[17:21]),
		MAC:        [20]byte(b[macAt:]),
	}, true
}

// String returns "redacted": with its MAC, a Credential is the token itself.
func (c Credential) String() string { return "redacted" }

// GoString returns "redacted", for the verb %#v.
func (c Credential) GoString() string { return "redacted" }

// Derive makes a code or a refresh token: key id (1 byte), record (16),
// generation (4, big endian) and MAC (20). The same arguments give the same bytes
// every time. It is false if the ring does not have keyID.
func (r *Ring) Derive(p Purpose, keyID byte, record [16]byte, generation uint32, nonce *[32]byte) ([]byte, bool) {
	m := r.mac(p, keyID)
	if m == nil {
		return nil, false
	}
	sum := m.credential(keyID, record, generation, nonce)
	b := make([]byte, 0, credentialSize)
	b = append(b, keyID)
	b = append(b, record[:]...)
	b = binary.BigEndian.AppendUint32(b, generation)
	return append(b, sum[:]...), true
}

// Authentic reports whether c is what [Ring.Derive] makes for this purpose and
// the nonce of c's record. It is false for a key id that the ring does not have,
// and compares in constant time.
func (r *Ring) Authentic(p Purpose, c Credential, nonce *[32]byte) bool {
	m := r.mac(p, c.KeyID)
	if m == nil {
		return false
	}
	sum := m.credential(c.KeyID, c.Record, c.Generation, nonce)
	return subtle.ConstantTimeCompare(sum[:], c.MAC[:]) == 1
}

// credential makes the MAC of a credential: the first 20 bytes of HMAC-SHA-256
// over its other parts and the nonce, always 53 bytes.
func (m *mac) credential(keyID byte, record [16]byte, generation uint32, nonce *[32]byte) [20]byte {
	s := m.get()
	in := append(s.in[:0], keyID)
	in = append(in, record[:]...)
	in = binary.BigEndian.AppendUint32(in, generation)
	in = append(in, nonce[:]...)
	sum := [20]byte(s.sum(in)) // RFC 2104, section 5: truncation keeps the leftmost bits
	m.states.Put(s)
	return sum
}
