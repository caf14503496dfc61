package oauth

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/grantwell/oauth/internal/derive"
)

// adopt opens another server's refresh token as generation 0 of an authorization
// of this one. The record's ID is a keyed hash of the token, so that it is
// adopted once, and recognised when it comes again as any older generation is.
func (r *TokenRequest) adopt(ctx context.Context, text string) (*opened, *refusal) {
	s := r.server
	var first [16]byte
	for i, keyID := range s.ring.IDs() {
		mac, _ := s.ring.MAC(derive.Import, keyID, []byte(text)) // an ID of the ring
		id := [16]byte(mac[:16])
		if i == 0 {
			first = id
		}
		rec, err := s.get(ctx, authorizationID(id), KindAuthorization)
		switch {
		case isNotFound(err):
			continue
		case err != nil:
			return nil, &refusal{Error: unavailable(fmt.Errorf("storage: %w", err))}
		}
		return r.adoptedBefore(ctx, rec)
	}
	ap, err := s.cfg.Import(ctx, r.Client, text)
	switch {
	case errors.Is(err, InvalidGrant):
		return nil, r.invalid("malformed, and not to be imported")
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
	if err := s.newAuthorization(o.authorization, first, r.Client, r.GrantType, imported); err != nil {
		return nil, &refusal{Error: err}
	}
	o.head.flags |= flagImported
	return o, nil
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
