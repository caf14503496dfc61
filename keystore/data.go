package keystore

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/internal/jose"
)

// Data of a chain is a JSON object, as that of every record: first the head, of
// which only the format number and the write mark are used here; then alg,
// written and keys; then members that only another version of this library knows;
// last a MAC over all that, the record's ID, Kind and Realm. The issuer is in the
// key of the MAC and in the ID.

const (
	headFormat = 1
	headSize   = 72 // bytes, those of the mark last
	markSize   = 8
	headPrefix = `{"head":"`
	headEnd    = len(headPrefix) + headSize/3*4 // where the closing quote stands

	macMember = `,"mac":"`
	macSize   = 1 + sha256.Size // key id and MAC
	macTail   = len(macMember) + macSize/3*4 + len(`"}`)

	maxData  = 64 << 10 // bytes, that of every record
	idPrefix = "k_"
)

var (
	errNewerFormat = errors.New("written by a newer version of this library")
	errAltered     = errors.New("altered, or the record of another server")
	errErased      = errors.New("erased, but not deleted yet: DeleteExpired of the storage does that, and then new keys are made")
	errUnknown     = errors.New("sealed with a secret that is none of Config.Secrets")
	errTooLarge    = errors.New("keystore: too many keys for one record: wait until some are forgotten, or retire some")
)

// A member is one name and value of a JSON object; value is as it stands there.
type member struct {
	name  string
	value json.RawMessage
}

// keyPart is a key as it stands in Data.
type keyPart struct {
	ID      string `json:"kid"`
	Created int64  `json:"created"`
	Signs   int64  `json:"signs"`
	Until   int64  `json:"until,omitempty"`
	Public  []byte `json:"public"`            // PKIX
	Private []byte `json:"private,omitempty"` // PKCS #8, sealed
}

var keyMembers = []string{"kid", "created", "signs", "until", "public", "private"}

// recordID is where the keys of one algorithm are.
func (s *Store) recordID(alg string) string {
	h := sha256.New()
	for _, part := range [...]string{s.realm, string(oauth.KindKey), alg + " " + s.issuer} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return idPrefix + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// encode makes the record of a chain, everything sealed with the first secret.
func (s *Store) encode(c *chain, now int64) (oauth.Record, error) {
	rec := c.rec
	if rec.Version == 0 {
		rec = oauth.Record{Realm: s.realm, ID: s.recordID(c.alg), Kind: oauth.KindKey, CreatedAt: fromMillis(now)}
	}
	first := s.ring.First()
	keys := []byte{'['}
	for i := range c.keys {
		k := &c.keys[i]
		if k.private != nil && (k.sealed == nil || k.sealed[0] != first) {
			der, err := x509.MarshalPKCS8PrivateKey(k.private)
			if err != nil {
				return rec, fmt.Errorf("keystore: key %s cannot be stored", k.id)
			}
			k.sealed = s.ring.Seal(nil, derive.SigningKey, der)
		}
		public, err := x509.MarshalPKIXPublicKey(k.public)
		if err != nil {
			return rec, fmt.Errorf("keystore: key %s cannot be stored", k.id)
		}
		part, err := json.Marshal(keyPart{k.id, k.created, k.signs, k.until, public, k.sealed})
		if err != nil {
			return rec, err
		}
		if i > 0 {
			keys = append(keys, ',')
		}
		keys = append(append(keys, part[:len(part)-1]...), appendMembers(nil, k.rest)...)
		keys = append(keys, '}')
	}
	keys = append(keys, ']')
	c.sealedBy, c.written = first, now
	c.head[0] = headFormat
	rand.Read(c.head[headSize-markSize:])
	b := append(make([]byte, 0, len(keys)+512), headPrefix...)
	b = append(base64.RawURLEncoding.AppendEncode(b, c.head[:]), '"')
	b = appendMembers(b, []member{{"alg", fmt.Appendf(nil, "%q", c.alg)}, {"written", fmt.Append(nil, now)}, {"keys", keys}})
	b = appendMembers(b, c.rest)
	mac, _ := s.mac(first, rec, b) // the ring has its own first secret
	b = append(b, macMember...)
	b = base64.RawURLEncoding.AppendEncode(b, append([]byte{first}, mac[:]...))
	rec.Data = append(b, '"', '}')
	if len(rec.Data) > maxData {
		return rec, errTooLarge
	}
	return rec, nil
}

func (s *Store) mac(keyID byte, rec oauth.Record, data []byte) ([32]byte, bool) {
	return s.ring.MAC(derive.SigningKey, keyID, []byte(rec.ID), []byte(rec.Kind), []byte(rec.Realm), data)
}

// decode reads a record. The error names the record and its keys, as far as they
// can be made out, and nothing secret.
func (s *Store) decode(alg string, rec oauth.Record) (*chain, error) {
	c, err := s.open(alg, rec)
	if err != nil {
		return nil, fmt.Errorf("keystore: the %s keys%s, record %s: %w", alg, ids(rec.Data), rec.ID, err)
	}
	return c, nil
}

func (s *Store) open(alg string, rec oauth.Record) (*chain, error) {
	c := &chain{alg: alg, rec: rec}
	var err error
	if c.sealedBy, err = s.authentic(c); err != nil {
		return nil, err
	}
	all, err := split(rec.Data)
	if err != nil {
		return nil, err
	}
	var parts []json.RawMessage
	for _, m := range all {
		switch m.name {
		case "head", "alg", "mac": // alg is for operators: the ID says it too
		case "written":
			err = json.Unmarshal(m.value, &c.written)
		case "keys":
			err = json.Unmarshal(m.value, &parts)
		default:
			c.rest = append(c.rest, m)
		}
		if err != nil {
			return nil, errAltered
		}
	}
	for _, part := range parts {
		k, err := s.openKey(alg, part)
		if err != nil {
			return nil, err
		}
		c.keys = append(c.keys, k)
	}
	if c.signer(0) < 0 {
		return nil, errAltered
	}
	return c, nil
}

// authentic reads the head, checks the MAC, and returns the key id of the secret
// that made it.
func (s *Store) authentic(c *chain) (byte, error) {
	rec, data := c.rec, c.rec.Data
	if len(data) == 0 && !rec.ExpiresAt.IsZero() {
		return 0, errErased // as with any record that cannot be opened, no key is made in its place
	}
	if len(data) > maxData || len(data) < headEnd+1+macTail || !bytes.HasPrefix(data, []byte(headPrefix)) || data[headEnd] != '"' {
		return 0, errAltered
	}
	head, ok := derive.Decode("", false, string(data[len(headPrefix):headEnd]))
	if !ok {
		return 0, errAltered
	}
	if copy(c.head[:], head); c.head[0] > headFormat {
		return 0, errNewerFormat
	}
	cut := len(data) - macTail
	tail, ok := strings.CutPrefix(string(data[cut:]), macMember)
	if !ok {
		return 0, errAltered
	}
	tail, ok = strings.CutSuffix(tail, `"}`)
	mac, good := derive.Decode("", false, tail)
	if !ok || !good || len(mac) != macSize {
		return 0, errAltered
	}
	want, ok := s.mac(mac[0], rec, data[:cut])
	if !ok {
		return 0, errUnknown
	}
	if subtle.ConstantTimeCompare(want[:], mac[1:]) != 1 {
		return 0, errAltered
	}
	return mac[0], nil
}

// openKey reads one key, and checks that its parts belong together.
func (s *Store) openKey(alg string, data []byte) (key, error) {
	var p keyPart
	all, err := split(data)
	if err != nil || json.Unmarshal(data, &p) != nil {
		return key{}, errAltered
	}
	all = slices.DeleteFunc(all, func(m member) bool { return slices.Contains(keyMembers, m.name) })
	k := key{id: p.ID, created: p.Created, signs: p.Signs, until: p.Until, sealed: p.Private, rest: all}
	if k.public, err = x509.ParsePKIXPublicKey(p.Public); err != nil {
		return k, errAltered
	}
	if p.Private != nil {
		der, err := s.ring.Open(nil, derive.SigningKey, p.Private)
		switch {
		case errors.Is(err, derive.ErrUnknownKey):
			return k, errUnknown
		case err != nil:
			return k, errAltered
		}
		if k.private, err = parsePrivate(der); err != nil {
			return k, errAltered
		}
		public, ok := k.public.(interface{ Equal(x crypto.PublicKey) bool })
		if !ok || !public.Equal(k.private.Public()) {
			return k, errAltered
		}
	}
	id, err := jose.Thumbprint(k.public)
	if err != nil || id != k.id || jose.Check(jose.Key{ID: id, Algorithm: alg, Signer: silent{k.public}}) != nil {
		return k, errAltered
	}
	return k, nil
}

// split takes a JSON object apart without reading into its members.
func split(data []byte) (all []member, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errAltered
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errAltered
		}
		m := member{name: name.(string)} // the decoder yields strings where names stand
		if d.Decode(&m.value) != nil {
			return nil, errAltered
		}
		all = append(all, m)
	}
	if _, err := d.Token(); err != nil || d.InputOffset() != int64(len(data)) {
		return nil, errAltered
	}
	return all, nil
}

func appendMembers(b []byte, members []member) []byte {
	for _, m := range members {
		name, _ := json.Marshal(m.name) // a string always can be
		b = append(b, ',')
		b = append(b, name...)
		b = append(b, ':')
		b = append(b, m.value...)
	}
	return b
}

// ids are the kids that a record shows, for an error. It is not known who wrote
// them: what does not look like one is left out.
func ids(data []byte) string {
	var shown struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if len(data) > maxData || json.Unmarshal(data, &shown) != nil {
		return ""
	}
	text := ""
	for _, k := range shown.Keys[:min(len(shown.Keys), maxKeys)] {
		if raw, ok := derive.Decode("", false, k.ID); ok && len(raw) == sha256.Size {
			text += " " + k.ID
		}
	}
	return text
}
