package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/grantwell/oauth/internal/derive"
)

// serveRevoke is the revocation endpoint (RFC 7009). Revoking a refresh token
// ends the authorization; revoking an access token ends every access token of
// its authorization made so far, and the refresh token lives.
func (s *Server) serveRevoke(w http.ResponseWriter, r *http.Request) *refusal {
	ad, no := s.admit(w, r, nameRevoke)
	if no != nil {
		return no
	}
	text := ad.params.Get("token")
	if text == "" {
		return &refusal{Error: missing("token"), event: Event{ClientID: ad.client.ID}}
	}
	for range maxAttempts {
		// token_type_hint is not needed: one look tells what the token is.
		event, err := s.revokeToken(r.Context(), ad.client, text)
		if errors.Is(err, errRaceLost) {
			continue
		}
		event.ClientID, event.Endpoint = ad.client.ID, nameRevoke
		if err != nil {
			event.Type = "" // nothing was revoked
			return &refusal{Error: asError(err), event: event}
		}
		if event.Type != "" {
			s.emit(r.Context(), event)
		}
		// RFC 7009, section 2.2: 200 for an invalid token too.
		noStore(w.Header())
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return &refusal{Error: unavailable(errRaceLost), event: Event{ClientID: ad.client.ID}}
}

// revokeToken revokes a token of this client. The errors are errRaceLost and
// 503s; a token that is not live is none.
func (s *Server) revokeToken(ctx context.Context, c *Client, text string) (Event, error) {
	if cred, ok := parseCredential(s.refreshOpaque, text); ok && s.ring.Has(cred.KeyID) {
		if rec, ok, err := s.recordOf(ctx, cred); ok || err != nil {
			return s.revokeRefresh(ctx, c, rec, cred, err)
		}
	}
	t, err := s.openAccessToken(ctx, text)
	if errors.Is(err, InvalidToken) && s.cfg.Import != nil {
		return s.revokeForeign(ctx, c, text)
	}
	if errors.Is(err, InvalidToken) {
		return Event{}, nil
	}
	if err != nil {
		return Event{}, unavailable(err)
	}
	return s.revokeAccess(ctx, c, t)
}

// recordOf finds the record of an authentic refresh token, of whichever generation.
func (s *Server) recordOf(ctx context.Context, cred derive.Credential) (Record, bool, error) {
	rec, err := s.get(ctx, authorizationID(cred.Record), KindAuthorization)
	if isNotFound(err) {
		return rec, false, nil
	}
	if err != nil {
		return rec, false, unavailable(fmt.Errorf("storage: %w", err))
	}
	h, err := parseHead(rec.Data)
	if errors.Is(err, errNewerFormat) {
		return rec, false, unavailable(err)
	}
	return rec, err == nil && s.ring.Authentic(derive.Refresh, cred, &h.nonce), nil
}

func (s *Server) revokeRefresh(ctx context.Context, c *Client, rec Record, cred derive.Credential, err error) (Event, error) {
	if err != nil {
		return Event{}, err
	}
	event := Event{Type: EventRevoked, Authorization: rec.ID, Subject: rec.Subject, Generation: cred.Generation}
	if rec.ClientID != c.ID {
		event.Type = EventWrongClient
		return event, nil
	}
	if h, err := parseHead(rec.Data); err == nil && h.flags&flagEnded != 0 {
		return Event{}, nil
	}
	return event, s.end(ctx, rec, false)
}

func (s *Server) revokeAccess(ctx context.Context, c *Client, t *presentedToken) (Event, error) {
	now := s.now()
	event := Event{Type: EventRevoked, Subject: t.subject}
	if t.clientID != c.ID {
		event.Type = EventWrongClient
		return event, nil
	}
	if now.Unix() >= t.expires || (!t.hasRecord() && !t.ties(new([32]byte))) {
		return Event{}, nil
	}
	if !t.hasRecord() {
		return event, s.spendToken(ctx, t)
	}
	rec, err := s.checkRecord(ctx, t, now)
	switch {
	case errors.Is(err, InvalidToken):
		return Event{}, nil
	case err != nil:
		return Event{}, unavailable(err)
	}
	event.Authorization = rec.ID
	a, err := s.decodeAuthorization(rec)
	if err != nil {
		// A record that was altered gets no new MAC: it ends.
		event.Type, event.Err = EventRecordAltered, err
		return event, s.end(ctx, rec, false)
	}
	a.head.floor = max(rec.Version, t.version) + 1
	return event, s.commit(ctx, write{rec: s.encodeAuthorization(a)})
}

// spendToken records that a token without a record is revoked, until it expires.
func (s *Server) spendToken(ctx context.Context, t *presentedToken) error {
	now := fromMillis(millis(s.now()))
	err := s.commit(ctx, write{create: true, rec: Record{Realm: s.cfg.Realm, ID: s.spentToken(t), Kind: KindSpent,
		ClientID: t.clientID, CreatedAt: now, ExpiresAt: time.Unix(t.expires, 0).UTC(), Data: bareData()}})
	if errors.Is(err, errRaceLost) {
		return nil // somebody else revoked it
	}
	return err
}
