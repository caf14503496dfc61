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
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/internal/jose"
)

// An accessToken is what a token says, in either format.
type accessToken struct {
	record   [16]byte // zero: the token has no record
	version  int64    // of the record, or its access floor if that is higher
	serial   [16]byte // random
	clientID string
	subject  string
	scopes   []string
	audience []string
	issued   int64      // Unix seconds
	expires  int64      // Unix seconds
	confirm  string     // as Token.Confirmation
	grant    *grantPart // what a JWT says beyond this; nil where a client acts for itself, and of a token that was read
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

// signAccessToken writes the token in a format. nonce is the record's, or zero
// where there is no record.
func (s *Server) signAccessToken(ctx context.Context, t *accessToken, nonce *[32]byte, f Format) (string, error) {
	rand.Read(t.serial[:])
	payload := t.appendTo(make([]byte, 0, 256))
	first := s.ring.First()
	mac, _ := s.ring.MAC(derive.AccessRecord, first, payload, nonce[:]) // the ring has its own first secret
	switch f := f.(type) {
	case JWT:
		key, err := s.signer(ctx, f)
		if err != nil {
			return "", err
		}
		claims, err := s.jwtClaims(ctx, t, append([]byte{first}, mac[:innerMAC]...), f)
		if err != nil {
			return "", err
		}
		return jose.Sign(key, f.typ(), claims)
	case Opaque:
		payload = append(payload, mac[:innerMAC]...)
		return derive.Encode(f.Prefix, f.Hex, s.ring.Seal(make([]byte, 0, len(payload)+64), derive.Access, payload)), nil
	}
	return "", errors.New("a format that is neither Opaque nor JWT")
}

// jwtClaims are those of RFC 9068, section 2.2. Where a client acts for itself,
// sub names it in a way that no subject of a resource owner has. tie, key id and
// MAC, is for this server alone: it ties the token to its record, so that who has
// only the signing key cannot make one that passes here.
func (s *Server) jwtClaims(ctx context.Context, t *accessToken, tie []byte, j JWT) ([]byte, error) {
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
	if g := t.grant; g != nil { // RFC 9068, section 2.2.1
		if g.AuthTime != 0 {
			f.Set("auth_time", g.AuthTime)
		}
		if g.ACR != "" {
			f.Set("acr", g.ACR)
		}
		if len(g.AMR) > 0 {
			f.Set("amr", g.AMR)
		}
	}
	if method, value, ok := strings.Cut(t.confirm, ":"); ok {
		f.Set("cnf", map[string]string{method: value})
	}
	f.Set("tie", base64.RawURLEncoding.EncodeToString(tie))
	if err := t.addClaims(ctx, &f, j); err != nil {
		return nil, err
	}
	return f.appendJSON(make([]byte, 0, 512))
}

// addClaims adds what the host says.
func (t *accessToken) addClaims(ctx context.Context, f *Fields, j JWT) error {
	if j.Claims == nil {
		return nil
	}
	ask := ClaimsRequest{Subject: t.subject, ClientID: t.clientID, Scopes: slices.Clone(t.scopes), Audience: slices.Clone(t.audience)}
	if t.grant != nil {
		ask.Extra = maps.Clone(t.grant.Extra)
	}
	more, err := j.Claims(ctx, ask)
	if err != nil {
		return err
	}
	for _, e := range more.list {
		// Many readers of JSON do not tell the cases of a name apart, and take the last one.
		if slices.ContainsFunc(ownClaims[:], func(own string) bool { return strings.EqualFold(own, e.name) }) {
			return broken(fmt.Errorf("JWT.Claims sets %q, which is the server's", e.name))
		}
		f.put(e)
	}
	return nil
}

// ownClaims are what no hook may say.
var ownClaims = [...]string{"iss", "sub", "aud", "client_id", "scope", "exp", "iat", "nbf", "jti", "auth_time", "acr", "amr", "cnf", "act", "may_act", "tie"}

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

// openAccessToken reads a token of any format that the server has. The error is an *Error where
// the token is not one of ours.
func (s *Server) openAccessToken(ctx context.Context, text string) (*presentedToken, error) {
	if len(text) > maxTokenText {
		return nil, inactive("malformed")
	}
	isJWT, foreign := strings.Count(text, ".") == 2, false
	err := error(inactive("malformed"))
	for _, f := range s.formats {
		var t *presentedToken
		switch f := f.(type) {
		case JWT:
			if !isJWT {
				continue
			}
			t, err = s.openJWT(ctx, f, text)
		case Opaque:
			sealed, ok := derive.Decode(f.Prefix, f.Hex, text)
			if !ok {
				continue
			}
			t, err = s.openSealed(sealed)
			foreign = foreign || errors.Is(err, derive.ErrUnknownKey)
		}
		if err == nil {
			return t, nil
		}
		if !errors.Is(err, InvalidToken) {
			return nil, err
		}
	}
	if foreign { // to none of the formats: a token of one may look like one of another, too
		s.emit(ctx, Event{Type: EventUnknownSecret})
	}
	return nil, err
}

// openSealed reads an opaque token.
func (s *Server) openSealed(sealed []byte) (*presentedToken, error) {
	b, err := s.ring.Open(nil, derive.Access, sealed)
	if err != nil || len(b) < innerMAC {
		no := inactive("not sealed by this server")
		if err != nil {
			no.Cause = fmt.Errorf("not sealed by this server: %w", err)
		}
		return nil, no
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
	keys, err := s.verifiers(ctx, j)
	if err != nil {
		return nil, err
	}
	claims, err := jose.Verify(text, j.typ(), keys)
	if err != nil {
		return nil, inactive(err.Error())
	}
	var c struct {
		Issuer   string            `json:"iss"`
		Subject  string            `json:"sub"`
		Audience audience          `json:"aud"`
		ClientID string            `json:"client_id"`
		Scope    string            `json:"scope"`
		Expires  int64             `json:"exp"`
		Issued   int64             `json:"iat"`
		ID       string            `json:"jti"`
		Tie      string            `json:"tie"`
		Confirm  map[string]string `json:"cnf"`
	}
	var t accessToken
	err = json.Unmarshal(claims, &c)
	tie, ok := derive.Decode("", false, c.Tie)
	if err != nil || !ok || len(tie) != 1+innerMAC || c.Issuer != s.cfg.Issuer || !t.setID(c.ID) {
		return nil, inactive("a JWT that is no access token of this server")
	}
	for method, value := range c.Confirm {
		t.confirm = method + ":" + value
	}
	if len(c.Confirm) > 1 {
		return nil, inactive("a JWT that is bound to several keys")
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
	rec, c, err := s.checkAccessToken(ctx, t)
	if err != nil {
		return nil, err
	}
	p := s.tokenOf(&t.accessToken, rec)
	p.ClientData = c.Data
	return p, nil
}

// checkAccessToken asks the store and the registry whether the token is live.
// The Record is that of its authorization, or zero; the Client is the token's.
func (s *Server) checkAccessToken(ctx context.Context, t *presentedToken) (Record, *Client, error) {
	now := s.now()
	if t.expires <= t.issued || now.Unix() >= t.expires {
		return Record{}, nil, inactive("expired")
	}
	rec, err := s.checkRecord(ctx, t, now)
	if err != nil {
		return Record{}, nil, err
	}
	c, failure := s.client(ctx, t.clientID)
	switch {
	case failure != nil:
		return Record{}, nil, failure.Cause
	case c == nil:
		return Record{}, nil, inactive("its client is gone or disabled")
	case !t.hasRecord() && c.Public:
		return Record{}, nil, inactive("its client is public and has no tokens of its own")
	case !s.scopes.covers(c.Scopes, t.scopes):
		return Record{}, nil, inactive("its client may no longer have the scope")
	}
	return rec, c, nil
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
