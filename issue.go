package oauth

import (
	"context"
	"errors"
	"time"
)

// Issue makes an access token outside HTTP: a personal access token that a user
// asks for on a page of the host's, or a token for a service. It is an
// authorization like any other: listed by [Server.Authorizations] with an empty
// GrantType, found by a [Selector], its name or purpose in [Approval].Extra. There
// is no refresh token; Policy, asked with an empty GrantType, says how long it
// lives.
//
// The token is shown once: only its authorization is stored. The scopes must be
// the client's; Resources, where given, the server's. An error that is
// [TemporarilyUnavailable] is a failure of the store or the registry and may pass;
// any other says what the host got wrong.
func (s *Server) Issue(ctx context.Context, clientID string, ap Approval) (token string, a *Authorization, err error) {
	z, text, failure := s.issue(ctx, clientID, ap)
	if failure != nil {
		return "", nil, failure
	}
	s.emit(ctx, Event{Type: EventTokenIssued, ClientID: clientID, Subject: ap.Subject, Authorization: z.rec.ID, Scopes: ap.Scopes})
	return text, z.public(), nil
}

func (s *Server) issue(ctx context.Context, clientID string, ap Approval) (*authorization, string, *Error) {
	c, failure := s.client(ctx, clientID)
	if failure != nil {
		return nil, "", failure
	}
	if c == nil {
		return nil, "", refuse(InvalidClient, "The client is unknown or disabled")
	}
	if !s.scopes.covers(c.Scopes, ap.Scopes) {
		return nil, "", refuse(InvalidScope, "The client may not have this scope")
	}
	for _, r := range ap.Resources {
		if !s.knownResource(r) {
			return nil, "", refuse(InvalidTarget, "The resource is unknown")
		}
	}
	if ap.Remember != 0 {
		return nil, "", broken(errors.New("an approval without a request has nothing to remember"))
	}
	ap.Scopes = unique(ap.Scopes)
	var z authorization
	id := newID()
	if err := s.newAuthorization(&z, id, c, "", ap); err != nil {
		return nil, "", err
	}
	policy, failure := s.policy(ctx, PolicyRequest{Client: c, Subject: ap.Subject, Scopes: ap.Scopes, Extra: z.grant.Extra})
	if failure != nil {
		return nil, "", failure
	}
	now := s.now()
	z.head.flags |= flagNoRefresh
	at := accessToken{record: id, version: 1, clientID: c.ID, subject: ap.Subject, scopes: z.grant.Scopes, grant: &z.grant}
	life, format, failure := s.aim(&at, z.grant.Resources, policy)
	if failure != nil {
		return nil, "", failure
	}
	at.live(now, now.Add(life))
	end := time.Unix(at.expires, 0)
	z.grant.End = millis(end)
	z.setGrant()
	z.extend(policy, end)
	text, err := s.signAccessToken(ctx, &at, &z.head.nonce, format)
	if err != nil {
		return nil, "", unsigned(err)
	}
	if err := s.commit(ctx, write{create: true, rec: s.encodeAuthorization(&z)}); err != nil {
		return nil, "", asError(err)
	}
	return &z, text, nil
}

// WithStorage returns a server that is the same but for its storage. It is cheap:
// made for one transaction of the host, whose rows are to change together with
// an [Server.Issue] or [Server.Revoke].
//
//	token, _, err := srv.WithStorage(store.In(tx)).Issue(ctx, clientID, approval)
//
// Its handlers must not be used: their answer would come before the COMMIT.
func (s *Server) WithStorage(storage Storage) *Server {
	other := *s
	other.cfg.Storage = storage
	other.api = other.newAPI()
	return &other
}
