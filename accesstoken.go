package oauth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/internal/jose"
)

// A Format is how tokens look: [Opaque] or [JWT]. Whatever the format, expiry,
// revocation and checks are the same.
type Format interface{ format() }

// Opaque tokens mean nothing to anybody but this server. The zero value is
// base64url without a prefix.
type Opaque struct {
	// Prefix begins every token, for scanners that look for leaked secrets: ASCII
	// letters, digits, - and _.
	Prefix string
	// Hex writes the rest in hexadecimal.
	Hex bool
}

// JWT access tokens (RFC 9068) can be read and checked by others, who see their
// expiry but no revocation. Inside this process revocation is seen at once.
type JWT struct {
	// Type is the typ header. Zero: "at+jwt" (RFC 9068, section 2.1).
	Type string
	// InsecureSymmetricKey signs with HS256 and this key of at least 32 bytes
	// instead of [Config].Keys: whoever can check tokens can then make them.
	InsecureSymmetricKey []byte `json:"-"`
}

func (Opaque) format() {}
func (JWT) format()    {}

// String leaves the key out, and so do GoString and LogValue.
func (j JWT) String() string { return fmt.Sprintf("oauth.JWT(%q)", j.Type) }

// GoString is String, for the format %#v.
func (j JWT) GoString() string { return j.String() }

// LogValue implements [slog.LogValuer].
func (j JWT) LogValue() slog.Value { return slog.StringValue(j.String()) }

func (j JWT) typ() string {
	if j.Type == "" {
		return "at+jwt"
	}
	return j.Type
}

// An accessToken is what a token says, in either format.
type accessToken struct {
	record   [16]byte // zero: the token has no record
	version  int64    // of the record, or its access floor if that is higher
	serial   [16]byte // random
	clientID string
	subject  string
	scopes   []string
	audience []string
	issued   int64  // Unix seconds
	expires  int64  // Unix seconds
	confirm  string // as Token.Confirmation
}

// id is the jti: it names the token and is none.
func (t *accessToken) id() string {
	b := make([]byte, 0, 40)
	b = append(b, t.record[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.version))
	b = append(b, t.serial[:]...)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (t *accessToken) setID(id string) bool {
	raw, ok := derive.Decode("", false, id)
	if !ok || len(raw) != 40 {
		return false
	}
	copy(t.record[:], raw)
	t.version = int64(binary.BigEndian.Uint64(raw[16:]))
	copy(t.serial[:], raw[24:])
	return true
}

func (t *accessToken) hasRecord() bool { return t.record != [16]byte{} }

// signAccessToken writes the token in the configured format. nonce is the
// record's, or zero where there is no record.
func (s *Server) signAccessToken(ctx context.Context, t *accessToken, nonce *[32]byte) (string, error) {
	rand.Read(t.serial[:])
	payload := t.appendTo(make([]byte, 0, 256))
	first := s.ring.First()
	mac, _ := s.ring.MAC(derive.AccessRecord, first, payload, nonce[:]) // the ring has its own first secret
	if j, ok := s.cfg.AccessToken.(JWT); ok {
		keys, err := s.accessKeys(ctx, j)
		if err != nil {
			return "", err
		}
		claims, err := s.jwtClaims(t, append([]byte{first}, mac[:innerMAC]...))
		if err != nil {
			return "", err
		}
		return jose.Sign(keys[0], j.typ(), claims)
	}
	f := s.accessOpaque
	payload = append(payload, mac[:innerMAC]...)
	return derive.Encode(f.Prefix, f.Hex, s.ring.Seal(make([]byte, 0, len(payload)+64), derive.Access, payload)), nil
}

func (s *Server) accessKeys(ctx context.Context, j JWT) ([]jose.Key, error) {
	if j.InsecureSymmetricKey != nil {
		return []jose.Key{{Algorithm: "HS256", Secret: j.InsecureSymmetricKey}}, nil
	}
	keys, err := s.keys(ctx)
	if err == nil && len(keys) == 0 {
		err = errors.New("no signing key")
	}
	return keys, err
}

// jwtClaims are those of RFC 9068, section 2.2. Where a client acts for itself,
// sub names it in a way that no subject of a resource owner has. tie, key id and
// MAC, is for this server alone: it ties the token to its record, so that who has
// only the signing key cannot make one that passes here.
func (s *Server) jwtClaims(t *accessToken, tie []byte) ([]byte, error) {
	var f Fields
	f.Set("iss", s.cfg.Issuer)
	if t.subject == "" {
		f.Set("sub", clientSubject+t.clientID)
	} else {
		f.Set("sub", t.subject)
	}
	if len(t.audience) == 1 {
		f.Set("aud", t.audience[0])
	} else {
		f.Set("aud", t.audience)
	}
	f.Set("client_id", t.clientID)
	if len(t.scopes) > 0 {
		f.Set("scope", strings.Join(t.scopes, " "))
	}
	f.Set("exp", t.expires)
	f.Set("iat", t.issued)
	f.Set("jti", t.id())
	f.Set("tie", base64.RawURLEncoding.EncodeToString(tie))
	return f.appendJSON(make([]byte, 0, 512))
}

// clientSubject begins the sub of a token without a resource owner. Approve
// refuses subjects that begin so.
const clientSubject = "client:"

const (
	accessFormat = 1
	innerMAC     = 16 // bytes of the MAC that ties a token to its record's nonce
)

// appendTo writes the payload of a sealed token, all but its inner MAC.
func (t *accessToken) appendTo(b []byte) []byte {
	b = append(b, accessFormat)
	b = append(b, t.record[:]...)
	b = append(b, t.serial[:]...)
	b = binary.AppendVarint(b, t.version)
	b = binary.AppendVarint(b, t.issued)
	b = binary.AppendVarint(b, t.expires-t.issued)
	for _, s := range [...]string{t.clientID, t.subject, t.confirm} {
		b = appendText(b, s)
	}
	for _, list := range [...][]string{t.scopes, t.audience} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, s := range list {
			b = appendText(b, s)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// parseAccessToken reads what appendTo wrote. The text has been unsealed, so it
// was written by this library; a format it does not know is one of another version.
func parseAccessToken(b []byte) (t accessToken, ok bool) {
	if len(b) < 1+16+16 || b[0] != accessFormat {
		return t, false
	}
	copy(t.record[:], b[1:])
	copy(t.serial[:], b[17:])
	p := payload{rest: b[33:]}
	t.version, t.issued = p.number(), p.number()
	t.expires = t.issued + p.number()
	t.clientID, t.subject, t.confirm = p.text(), p.text(), p.text()
	t.scopes, t.audience = p.list(), p.list()
	return t, !p.failed && len(p.rest) == 0
}

// A payload is read from front to back; after a failure everything is zero.
type payload struct {
	rest   []byte
	failed bool
}

func (p *payload) number() int64 {
	n, size := binary.Varint(p.rest)
	if size <= 0 {
		p.rest, p.failed = nil, true
		return 0
	}
	p.rest = p.rest[size:]
	return n
}

func (p *payload) length() int {
	n, size := binary.Uvarint(p.rest)
	if size <= 0 || n > uint64(len(p.rest)-size) {
		p.rest, p.failed = nil, true
		return 0
	}
	p.rest = p.rest[size:]
	return int(n)
}

func (p *payload) text() string {
	n := p.length()
	s := string(p.rest[:n])
	p.rest = p.rest[n:]
	return s
}

func (p *payload) list() []string {
	n := p.length() // every item takes a byte at least
	if n == 0 {
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, p.text())
	}
	return list
}

// inactive is the refusal of an access token; why is for the operator.
func inactive(why string) *Error {
	return &Error{Code: InvalidToken, Description: "Access token is invalid or expired", Cause: errors.New(why)}
}

// InvalidToken is the code of an access token that is not live (RFC 6750, section 3.1).
const InvalidToken ErrorCode = "invalid_token"

// A presentedToken is an access token as it was read, before its record is.
type presentedToken struct {
	accessToken
	// ties reports whether the token belongs to a record with this nonce.
	ties func(nonce *[32]byte) bool
}

// openAccessToken reads a token of either format. The error is an *Error where
// the token is not one of ours.
func (s *Server) openAccessToken(ctx context.Context, text string) (*presentedToken, error) {
	if strings.Count(text, ".") == 2 {
		if j, ok := s.cfg.AccessToken.(JWT); ok {
			return s.openJWT(ctx, j, text)
		}
		return nil, inactive("a JWT, which this server does not issue")
	}
	if len(text) > maxTokenText {
		return nil, inactive("malformed")
	}
	sealed, ok := derive.Decode(s.accessOpaque.Prefix, s.accessOpaque.Hex, text)
	if !ok {
		return nil, inactive("malformed")
	}
	b, err := s.ring.Open(nil, derive.Access, sealed)
	if errors.Is(err, derive.ErrUnknownKey) {
		s.emit(ctx, Event{Type: EventUnknownSecret})
	}
	if err != nil || len(b) < innerMAC {
		return nil, inactive("not sealed by this server")
	}
	cut := len(b) - innerMAC
	t, ok := parseAccessToken(b[:cut])
	if !ok {
		return nil, inactive("of an unknown format")
	}
	return s.presented(t, sealed[0], b[:cut], b[cut:]), nil
}

// presented is a token whose payload ends with this MAC, made with that secret.
func (s *Server) presented(t accessToken, keyID byte, payload, mac []byte) *presentedToken {
	return &presentedToken{t, func(nonce *[32]byte) bool {
		want, ok := s.ring.MAC(derive.AccessRecord, keyID, payload, nonce[:])
		return ok && subtle.ConstantTimeCompare(want[:innerMAC], mac) == 1
	}}
}

const maxTokenText = 16 << 10 // characters of a token that is worth decoding

// openJWT reads an RFC 9068 token that this server signed.
func (s *Server) openJWT(ctx context.Context, j JWT, text string) (*presentedToken, error) {
	keys, err := s.accessKeys(ctx, j)
	if err != nil {
		return nil, err
	}
	claims, err := jose.Verify(text, j.typ(), keys)
	if err != nil {
		return nil, inactive(err.Error())
	}
	var c struct {
		Issuer   string   `json:"iss"`
		Subject  string   `json:"sub"`
		Audience audience `json:"aud"`
		ClientID string   `json:"client_id"`
		Scope    string   `json:"scope"`
		Expires  int64    `json:"exp"`
		Issued   int64    `json:"iat"`
		ID       string   `json:"jti"`
		Tie      string   `json:"tie"`
	}
	var t accessToken
	err = json.Unmarshal(claims, &c)
	tie, ok := derive.Decode("", false, c.Tie)
	if err != nil || !ok || len(tie) != 1+innerMAC || c.Issuer != s.cfg.Issuer || !t.setID(c.ID) {
		return nil, inactive("a JWT that is no access token of this server")
	}
	t.clientID, t.audience, t.expires, t.issued = c.ClientID, c.Audience, c.Expires, c.Issued
	if t.subject = c.Subject; c.Subject == clientSubject+c.ClientID {
		t.subject = ""
	}
	if c.Scope != "" {
		t.scopes = strings.Split(c.Scope, " ")
	}
	return s.presented(t, tie[0], t.appendTo(nil), tie[1:]), nil
}

// audience is one string or a list of them (RFC 7519, section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*a = make(audience, 1)
		return json.Unmarshal(b, &(*a)[0])
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// VerifyToken checks an access token that this server issued: [Verifier] for
// handlers in this process, which see a revocation at once. It asks the store
// once and the registry for the token's client. An *Error with the Code
// InvalidToken says that the token is not live; any other error, that it could
// not be checked.
func (s *Server) VerifyToken(ctx context.Context, token string) (*Token, error) {
	t, err := s.openAccessToken(ctx, token)
	if err != nil {
		return nil, err
	}
	rec, err := s.checkAccessToken(ctx, t)
	if err != nil {
		return nil, err
	}
	return s.tokenOf(&t.accessToken, rec), nil
}

// checkAccessToken asks the store and the registry whether the token is live.
// The Record is that of its authorization, or zero.
func (s *Server) checkAccessToken(ctx context.Context, t *presentedToken) (Record, error) {
	now := s.now()
	if t.expires <= t.issued || now.Unix() >= t.expires {
		return Record{}, inactive("expired")
	}
	rec, err := s.checkRecord(ctx, t, now)
	if err != nil {
		return Record{}, err
	}
	c, failure := s.client(ctx, t.clientID)
	switch {
	case failure != nil:
		return Record{}, failure.Cause
	case c == nil:
		return Record{}, inactive("its client is gone or disabled")
	case !t.hasRecord() && c.Public:
		return Record{}, inactive("its client is public and has no tokens of its own")
	case !s.scopes.covers(c.Scopes, t.scopes):
		return Record{}, inactive("its client may no longer have the scope")
	}
	return rec, nil
}

func (s *Server) checkRecord(ctx context.Context, t *presentedToken, now time.Time) (Record, error) {
	if !t.hasRecord() {
		if t.subject != "" || !t.ties(new([32]byte)) {
			// Whoever has the secrets can make these: they stand for a client, never for a user.
			return Record{}, inactive("forged")
		}
		switch _, err := s.get(ctx, s.spentToken(t), KindSpent); {
		case isNotFound(err):
			return Record{}, nil
		case err != nil:
			return Record{}, fmt.Errorf("storage: %w", err)
		}
		return Record{}, inactive("revoked")
	}
	rec, err := s.get(ctx, authorizationID(t.record), KindAuthorization)
	switch {
	case isNotFound(err):
		return rec, inactive("its authorization is gone")
	case err != nil:
		return rec, fmt.Errorf("storage: %w", err)
	}
	h, err := parseHead(rec.Data)
	if errors.Is(err, errNewerFormat) {
		s.emit(ctx, Event{Type: EventUnknownFormat, Authorization: rec.ID, Err: err})
		return rec, err
	}
	switch {
	case err != nil:
		return rec, inactive("its record was altered")
	case h.flags&flagEnded != 0 || (&authorization{rec: rec}).expired(now):
		return rec, inactive("its authorization has ended")
	case rec.ClientID != t.clientID || rec.Subject != t.subject:
		return rec, inactive("its record names another client or subject")
	case t.version < h.floor:
		return rec, inactive("revoked")
	// Equal versions are no shortcut: after a restore the same number can mean
	// another history, but the nonce cannot.
	case !t.ties(&h.nonce):
		return rec, inactive("forged, or of a record that is no more")
	}
	return rec, nil
}

// spentToken names the record that says a token without a record is revoked.
func (s *Server) spentToken(t *presentedToken) string {
	return hashID(spentPrefix, s.cfg.Realm, KindSpent, "token "+string(t.serial[:]))
}

// tokenOf is what hosts see of a token.
func (s *Server) tokenOf(t *accessToken, rec Record) *Token {
	p := &Token{
		ID: t.id(), Issuer: s.cfg.Issuer, ClientID: t.clientID, Subject: t.subject,
		Scopes: slices.Clip(t.scopes), Includes: s.scopes.implied(t.scopes), Audience: t.audience,
		IssuedAt: time.Unix(t.issued, 0).UTC(), ExpiresAt: time.Unix(t.expires, 0).UTC(), Confirmation: t.confirm,
	}
	if !t.hasRecord() {
		return p
	}
	p.AuthorizationID = rec.ID
	if h, err := parseHead(rec.Data); err != nil || h.flags&flagDetails == 0 {
		return p
	}
	// What the approval said beyond the token is believed only under the record's MAC.
	if a, err := s.decodeAuthorization(rec); err == nil {
		d := a.public()
		p.AuthTime, p.ACR, p.AMR, p.Extra = d.AuthTime, d.ACR, d.AMR, d.Extra
	}
	return p
}
