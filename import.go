package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/grantwell/oauth/internal/derive"
)

// adopt opens another server's refresh token as generation 0 of an authorization
// of this one. The record's ID is a hash of the token's text, so that it is
// adopted once, and recognised when it comes again as any older generation is. A
// second spelling of it would be another token: Import must refuse all but one.
func (r *TokenRequest) adopt(ctx context.Context, text string) (*opened, *refusal) {
	s := r.server
	rec, id, err := s.findAdopted(ctx, text)
	switch {
	case err == nil:
		return r.adoptedBefore(ctx, rec)
	case !isNotFound(err):
		return nil, &refusal{Error: unavailable(fmt.Errorf("storage: %w", err))}
	}
	ap, err := s.cfg.Import(ctx, r.Client, text)
	switch {
	case errors.Is(err, InvalidGrant):
		no := r.invalid("")
		no.Error.Cause = fmt.Errorf("not to be imported: %w", err)
		return nil, no
	case err != nil:
		return nil, &refusal{Error: asError(err)}
	case ap == nil:
		return nil, &refusal{Error: broken(errors.New("oauth: Import returned neither an approval nor an error"))}
	}
	if !s.scopes.covers(r.Client.Scopes, ap.Scopes) {
		return nil, r.invalid("imported with a scope that the client may not have")
	}
	o := &opened{authorization: &authorization{}, verdict: accepted}
	imported := *ap
	imported.Scopes = slices.Clone(ap.Scopes)
	if err := s.newAuthorization(o.authorization, id, r.Client, r.GrantType, imported); err != nil {
		return nil, &refusal{Error: err}
	}
	o.head.flags |= flagImported
	return o, nil
}

// findAdopted finds the authorization that was made of a foreign token. Where
// there is none, the error is ErrNotFound, and id is what it would get.
//
// The ID is a hash that has no key of this server in it: processes that disagree
// about the secrets, as they do while these are changed, must agree about the ID,
// or one token would be adopted by each of them.
func (s *Server) findAdopted(ctx context.Context, text string) (rec Record, id [16]byte, err error) {
	h := sha256.New()
	for _, part := range [...]string{"import", s.cfg.Realm, s.cfg.Issuer, text} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	id = [16]byte(h.Sum(nil))
	rec, err = s.get(ctx, authorizationID(id), KindAuthorization)
	return rec, id, err
}

// revokeForeign ends what was made of a foreign refresh token; a live one that was
// not adopted yet is kept from being it, by a record that has ended already.
func (s *Server) revokeForeign(ctx context.Context, c *Client, text string) (Event, error) {
	rec, id, err := s.findAdopted(ctx, text)
	if err == nil {
		return s.revokeRefresh(ctx, c, rec, derive.Credential{}, nil)
	}
	if !isNotFound(err) {
		return Event{}, unavailable(fmt.Errorf("storage: %w", err))
	}
	ap, err := s.cfg.Import(ctx, c, text)
	switch {
	case errors.Is(err, InvalidGrant): // RFC 7009, section 2.2: an invalid token is no error
		return Event{}, nil
	case err != nil:
		return Event{}, asError(err)
	case ap == nil:
		return Event{}, broken(errors.New("oauth: Import returned neither an approval nor an error"))
	}
	var a authorization
	if err := s.newAuthorization(&a, id, c, refreshToken, *ap); err != nil {
		return Event{}, err
	}
	policy, failure := s.policy(ctx, PolicyRequest{Client: c, GrantType: refreshToken, Subject: ap.Subject, Scopes: ap.Scopes, Extra: a.grant.Extra})
	if failure != nil {
		return Event{}, failure
	}
	a.head.flags |= flagImported | flagEnded
	a.grant.End = millis(s.now().Add(policy.RefreshAbsolute))
	a.setGrant()
	a.rec.ExpiresAt = fromMillis(a.grant.End)
	return Event{Type: EventRevoked, Authorization: a.rec.ID, Subject: ap.Subject}, s.commit(ctx, write{create: true, rec: s.encodeAuthorization(&a)})
}

// adoptedBefore judges a foreign token whose authorization is there already.
func (r *TokenRequest) adoptedBefore(ctx context.Context, rec Record) (*opened, *refusal) {
	a, no := r.decode(rec)
	if no != nil {
		return nil, no
	}
	if rec.ClientID != r.Client.ID {
		no := r.invalid("issued to another client")
		no.event = Event{Type: EventWrongClient, Authorization: rec.ID, Subject: rec.Subject}
		return nil, no
	}
	if !a.live(r.server.now()) {
		return nil, r.invalid("its authorization has ended")
	}
	return r.judgeRefresh(ctx, a, 0)
}
