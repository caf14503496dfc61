package oauth

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/grantwell/oauth/internal/derive"
)

// Data of every record is a JSON object. Its first member is the head, of fixed
// length, so that the check of an access token reads that alone. Then come the
// members of its kind, and members that only another version of this library
// knows, which an update leaves byte for byte. The last member of an
// authorization is a MAC over everything else.

// A head is the part of Data that every kind has.
type head struct {
	flags      uint16
	keyID      byte   // of the secret that derived the current generation
	generation uint32 // 0: the code is open or there was none; 1: the first refresh token
	rotated    int64  // when the current generation was made; times are Unix milliseconds
	idleEnd    int64  // the end of the refresh token if it is not used
	floor      int64  // access tokens with a lower version are revoked
	nonce      [32]byte
	mark       [8]byte // of this very write
}

const (
	headFormat = 1
	headSize   = 72 // bytes: 96 characters, without spare bits

	flagEnded     = 1 << 0 // revoked, or ended by a replay
	flagNoRefresh = 1 << 1 // policy gave no refresh token
	flagImported  = 1 << 3 // adopted from another server
	flagDetails   = 1 << 2 // the approval said more than a token carries: Extra, AuthTime, ACR, AMR
)

const (
	headPrefix = `{"head":"`
	headEnd    = len(headPrefix) + headSize/3*4 // where the closing quote stands
)

var (
	errNewerFormat = errors.New("oauth: the record was written by a newer version of this library")
	errAltered     = errors.New("oauth: the record was altered")
)

// base64url is RFC 4648, section 5, without padding: one text for each value.
var base64url = base64.RawURLEncoding.Strict()

func (h *head) appendTo(b []byte) []byte {
	var raw [headSize]byte
	raw[0] = headFormat
	binary.BigEndian.PutUint16(raw[1:], h.flags)
	raw[3] = h.keyID
	binary.BigEndian.PutUint32(raw[4:], h.generation)
	binary.BigEndian.PutUint64(raw[8:], uint64(h.rotated))
	binary.BigEndian.PutUint64(raw[16:], uint64(h.idleEnd))
	binary.BigEndian.PutUint64(raw[24:], uint64(h.floor))
	copy(raw[32:64], h.nonce[:])
	copy(raw[64:72], h.mark[:])
	b = append(b, headPrefix...)
	b = base64.RawURLEncoding.AppendEncode(b, raw[:])
	return append(b, '"')
}

// parseHead reads the head of a record. Empty Data means that the record was
// erased: that is a head that says it has ended.
func parseHead(data []byte) (head, error) {
	if len(data) == 0 {
		return head{flags: flagEnded}, nil
	}
	if len(data) <= headEnd+1 || !bytes.HasPrefix(data, []byte(headPrefix)) || data[headEnd] != '"' {
		return head{}, errAltered
	}
	var raw [headSize]byte
	if n, err := base64url.Decode(raw[:], data[len(headPrefix):headEnd]); err != nil || n != headSize {
		return head{}, errAltered
	}
	if raw[0] > headFormat {
		return head{}, errNewerFormat
	}
	h := head{
		flags:      binary.BigEndian.Uint16(raw[1:]),
		keyID:      raw[3],
		generation: binary.BigEndian.Uint32(raw[4:]),
		rotated:    int64(binary.BigEndian.Uint64(raw[8:])),
		idleEnd:    int64(binary.BigEndian.Uint64(raw[16:])),
		floor:      int64(binary.BigEndian.Uint64(raw[24:])),
	}
	copy(h.nonce[:], raw[32:64])
	copy(h.mark[:], raw[64:72])
	return h, nil
}

// A member is one name and value of Data; value is JSON as it stands there.
type member struct {
	name  string
	value []byte
}

const maxData = 64 << 10 // bytes of Data that this library writes or reads

// splitMembers takes a JSON object apart without reading into its members.
func splitMembers(data []byte) ([]member, error) {
	if len(data) > maxData || !json.Valid(data) {
		return nil, errAltered
	}
	text := skipSpace(data)
	if text[0] != '{' {
		return nil, errAltered
	}
	all := make([]member, 0, 4)
	for quoted, value := range object(text) {
		name, err := memberName(quoted)
		if err != nil {
			return nil, errAltered
		}
		all = append(all, member{name, value})
	}
	return all, nil
}

// memberName reads a name: those that every record has cost nothing.
func memberName(quoted []byte) (string, error) {
	switch string(quoted) {
	case `"head"`:
		return "head", nil
	case `"code"`:
		return "code", nil
	case `"grant"`:
		return "grant", nil
	case `"mac"`:
		return "mac", nil
	}
	return readString(quoted)
}

func skipSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// valueEnd is where the JSON value at the start of b ends. b is valid JSON from
// there on.
func valueEnd(b []byte) int {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
			if !inString && depth == 0 {
				return i + 1
			}
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case depth == 0 && (c == ',' || c == ':' || c <= ' '):
			return i
		}
	}
	return len(b)
}

// An authorization is a record taken apart.
type authorization struct {
	rec     Record
	head    head
	members []member // all but head and mac, in order
	code    codePart // zero: there was none
	grant   grantPart
}

// decodeAuthorization takes a record apart whose MAC is right.
func (s *Server) decodeAuthorization(rec Record) (*authorization, error) {
	h, err := parseHead(rec.Data)
	if err != nil || h.flags&flagEnded != 0 {
		return &authorization{rec: rec, head: h}, err
	}
	if !s.checkMAC(rec) {
		return nil, errAltered
	}
	all, err := splitMembers(rec.Data)
	if err != nil {
		return nil, err
	}
	if len(all) < 2 || all[0].name != "head" || all[len(all)-1].name != "mac" {
		return nil, errAltered
	}
	a := &authorization{rec: rec, head: h, members: all[1 : len(all)-1]}
	for _, m := range a.members {
		switch m.name {
		case "code":
			err = a.code.read(m.value)
		case "grant":
			err = a.grant.read(m.value)
		}
		if err != nil {
			return nil, errAltered
		}
	}
	return a, nil
}

const (
	macMember = `,"mac":"`
	macSize   = 1 + 20 // key id and MAC: 28 characters, without spare bits
	macText   = macSize / 3 * 4
	macTail   = len(macMember) + macText + len(`"}`)
)

// checkMAC checks the last member of Data over everything before it.
func (s *Server) checkMAC(rec Record) bool {
	cut := len(rec.Data) - macTail
	if cut < 0 {
		return false
	}
	text, opened := bytes.CutPrefix(rec.Data[cut:], []byte(macMember))
	text, closed := bytes.CutSuffix(text, []byte(`"}`))
	if !opened || !closed {
		return false
	}
	var raw [macSize]byte
	n, err := base64url.Decode(raw[:], text) // line breaks, which it passes over, make it too short
	if err != nil || n != macSize {
		return false
	}
	want, ok := s.recordMAC(raw[0], rec, rec.Data[:cut])
	return ok && subtle.ConstantTimeCompare(want[:macSize-1], raw[1:]) == 1
}

func (s *Server) recordMAC(keyID byte, rec Record, data []byte) ([32]byte, bool) {
	names := make([]byte, 0, 128)
	names = append(names, rec.ID...)
	kind := len(names)
	names = append(names, rec.Kind...)
	client := len(names)
	names = append(names, rec.ClientID...)
	subject := len(names)
	names = append(names, rec.Subject...)
	return s.ring.MAC(derive.Data, keyID, names[:kind], names[kind:client], names[client:subject], names[subject:], data)
}

// set replaces or adds a member this version knows.
func (a *authorization) set(name string, text []byte) {
	for i := range a.members {
		if a.members[i].name == name {
			// The slice is shared with the record as it was read: never write into it.
			a.members = slices.Clone(a.members)
			a.members[i].value = text
			return
		}
	}
	a.members = append(slices.Clip(a.members), member{name, text})
}

// setCode and setGrant put the parts into the members.
func (a *authorization) setCode()  { a.set("code", a.code.appendTo(make([]byte, 0, 256))) }
func (a *authorization) setGrant() { a.set("grant", a.grant.appendTo(make([]byte, 0, 256))) }

// encodeAuthorization puts the Data of a record together, with a fresh mark and
// a MAC by the first secret.
func (s *Server) encodeAuthorization(a *authorization) Record {
	a.head.mark = newMark()
	rec := a.rec
	b := make([]byte, 0, max(512, len(rec.Data)+64)) // of a new record there is none yet
	b = appendMembers(a.head.appendTo(b), a.members)
	first := s.ring.First()
	mac, _ := s.recordMAC(first, rec, b) // the ring has its own first secret
	b = append(b, macMember...)
	b = base64.RawURLEncoding.AppendEncode(b, append([]byte{first}, mac[:macSize-1]...))
	rec.Data = append(b, '"', '}')
	return rec
}

func appendMembers(b []byte, members []member) []byte {
	for _, m := range members {
		b = append(b, ',')
		b = appendString(b, m.name)
		b = append(b, ':')
		b = append(b, m.value...)
	}
	return b
}

// bareData is the Data of a record that is nothing but its head.
func bareData() []byte {
	h := head{mark: newMark()}
	return append(h.appendTo(nil), '}')
}

func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// readGrant reads what was approved out of a record, whoever wrote it: for ending
// it, which must work on an altered one too.
func readGrant(rec Record) (g grantPart, ok bool) {
	all, err := splitMembers(rec.Data)
	if err != nil {
		return g, false
	}
	for _, m := range all {
		if m.name == "grant" {
			return g, g.read(m.value) == nil
		}
	}
	return g, false
}
