package keystore

import (
	"crypto"
	"encoding/base64"
	"errors"
	"reflect"

	"github.com/grantwell/oauth"
)

// Generate replaces what makes keys.
func (s *Store) Generate(f func(algorithm string) (crypto.Signer, error)) {
	s.generate = func(alg string) (*key, error) {
		private, err := f(alg)
		if err != nil {
			return nil, err
		}
		return newKey(private)
	}
}

// RecordID is where the keys of an algorithm are.
func (s *Store) RecordID(alg string) string { return s.recordID(alg) }

// Resign changes the text of a record before its MAC and makes that anew.
func (s *Store) Resign(rec oauth.Record, change func(string) string) []byte {
	return s.signed(rec, []byte(change(string(rec.Data[:len(rec.Data)-macTail]))))
}

// signed adds the MAC to the rest of a record's Data.
func (s *Store) signed(rec oauth.Record, data []byte) []byte {
	first := s.ring.First()
	mac, _ := s.mac(first, rec, data)
	data = append(data, macMember...)
	data = base64.RawURLEncoding.AppendEncode(data, append([]byte{first}, mac[:]...))
	return append(data, '"', '}')
}

// Reopen reads a record, writes it, and reads that: ok if it could be read, same if
// it came back with the same keys and members.
func (s *Store) Reopen(rec oauth.Record) (same, ok bool) {
	c, err := s.open(es256, rec)
	if err != nil {
		return false, false
	}
	if rec, err = s.encode(c.clone(), c.written); err != nil {
		return errors.Is(err, errTooLarge), true
	}
	d, err := s.open(es256, rec)
	if err != nil || d.written != c.written || d.sealedBy != c.sealedBy {
		return false, true
	}
	d.head = c.head // it has another mark
	c.rec, d.rec = oauth.Record{}, oauth.Record{}
	return reflect.DeepEqual(c, d), true
}
