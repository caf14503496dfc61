package derive

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// MAC makes HMAC-SHA-256 over the key id and the SHA-256 of the parts, each
// preceded by its length as 8 bytes, big endian: ("ab", "c") and ("a", "bc")
// differ, and what is under the HMAC is always 33 bytes long, which no credential
// is. keyID is an argument because what was made with one secret is checked with
// that one. It is false if the ring does not have keyID. Compare the result in
// constant time.
func (r *Ring) MAC(p Purpose, keyID byte, parts ...[]byte) ([32]byte, bool) {
	m := r.mac(p, keyID)
	if m == nil {
		return [32]byte{}, false
	}
	s := m.get()
	s.digest.Reset()
	for _, part := range parts {
		s.digest.Write(binary.BigEndian.AppendUint64(s.in[:0], uint64(len(part))))
		for len(part) > 0 {
			n := copy(s.part[:], part)
			s.digest.Write(s.part[:n])
			part = part[n:]
		}
	}
	in := s.digest.Sum(append(s.in[:0], keyID))
	sum := [32]byte(s.sum(in))
	m.states.Put(s)
	return sum, true
}

// mac is one sub-key that makes MACs. Its states are kept and used again:
// keying HMAC costs as much as a short MAC, and allocates.
type mac struct {
	states sync.Pool // of *state
}

// init sets the sub-key; it is called once, before m is used.
func (m *mac) init(key []byte) {
	m.states.New = func() any {
		return &state{mac: hmac.New(sha256.New, key), digest: sha256.New()}
	}
}

// get takes a state that the caller puts back when it has copied the result.
func (m *mac) get() *state { return m.states.Get().(*state) }

// state is what making one MAC takes. The buffers are here because what is
// passed to a hash.Hash is allocated where it is not part of something that is.
type state struct {
	mac    hash.Hash // keyed
	digest hash.Hash // SHA-256 of the parts
	in     [credentialIn]byte
	part   [1024]byte // of the digest's input, or every caller would allocate his
	out    [sha256.Size]byte
}

// sum returns the MAC of in; it is good until the next call.
func (s *state) sum(in []byte) []byte {
	s.mac.Reset()
	s.mac.Write(in)
	return s.mac.Sum(s.out[:0])
}
