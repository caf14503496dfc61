package oauth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/grantwell/oauth/internal/derive"
)

// serveIntrospect is the introspection endpoint (RFC 7662), for clients that
// authenticate with a secret: about their own tokens, and about the access
// tokens of others where the client is a resource server.
func (s *Server) serveIntrospect(w http.ResponseWriter, r *http.Request) *refusal {
	ad, no := s.admit(w, r, nameIntrospect)
	if no != nil {
		return no
	}
	event := Event{ClientID: ad.client.ID}
	if ad.client.Public {
		// RFC 7662, section 2.1: the endpoint is for those who are authorized, or
		// anybody could scan for live tokens.
		return &refusal{Error: refuse(InvalidClient, "Client authentication is required"), event: event}
	}
	text := ad.params.Get("token")
	if text == "" {
		return &refusal{Error: missing("token"), event: event}
	}
	f, err := s.introspect(r.Context(), ad.client, text)
	if err != nil {
		return &refusal{Error: unavailable(err), event: event}
	}
	return s.writeFields(w, &f)
}

// introspect answers about a token; inactive for whatever the client may not see.
func (s *Server) introspect(ctx context.Context, c *Client, text string) (Fields, error) {
	var none Fields
	none.Set("active", false)
	if cred, ok := parseCredential(s.refreshOpaque, text); ok && s.ring.Has(cred.KeyID) {
		f, ok, err := s.introspectRefresh(ctx, c, cred)
		if err != nil {
			return none, err
		}
		if ok {
			return f, nil
		}
	}
	t, err := s.VerifyToken(ctx, text)
	if errors.Is(err, InvalidToken) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	if t.ClientID != c.ID && !s.mayIntrospect(c, t) {
		return none, nil // RFC 7662, section 2.2: not more than that it is not active
	}
	var f Fields
	f.Set("active", true)
	if len(t.Scopes) > 0 {
		f.Set("scope", strings.Join(t.Scopes, " "))
	}
	f.Set("client_id", t.ClientID)
	f.Set("token_type", "Bearer")
	f.Set("exp", t.ExpiresAt.Unix())
	f.Set("iat", t.IssuedAt.Unix())
	if t.Subject != "" {
		f.Set("sub", t.Subject)
	}
	f.Set("aud", audienceValue(t.Audience))
	f.Set("iss", t.Issuer)
	f.Set("jti", t.ID)
	if !t.AuthTime.IsZero() {
		f.Set("auth_time", t.AuthTime.Unix()) // RFC 9470, section 6.2
	}
	if t.ACR != "" {
		f.Set("acr", t.ACR)
	}
	if len(t.AMR) > 0 {
		f.Set("amr", t.AMR)
	}
	if method, value, ok := strings.Cut(t.Confirmation, ":"); ok {
		f.Set("cnf", map[string]string{method: value})
	}
	return f, nil
}

// mayIntrospect reports whether a resource server is one that the token is for. To
// any other it is as good as unknown (RFC 7662, section 4).
func (s *Server) mayIntrospect(c *Client, t *Token) bool {
	return c.Introspect && slices.ContainsFunc(t.Audience, func(a string) bool {
		return slices.Contains(c.Resources, a) || c.Resources == nil && a == s.cfg.Issuer
	})
}

// audienceValue is one string or a list (RFC 7662, section 2.2).
func audienceValue(audience []string) any {
	if len(audience) == 1 {
		return audience[0]
	}
	return audience
}

// introspectRefresh answers about a refresh token, to its owner alone: a resource
// server must not take one for an access token.
func (s *Server) introspectRefresh(ctx context.Context, c *Client, cred derive.Credential) (f Fields, ok bool, err error) {
	rec, ok, err := s.recordOf(ctx, cred)
	if err != nil || !ok {
		return f, false, err
	}
	f.Set("active", false)
	a, err := s.decodeAuthorization(rec)
	if err != nil {
		s.emit(ctx, Event{Type: EventRecordAltered, Endpoint: nameIntrospect, ClientID: c.ID, Authorization: rec.ID, Err: err})
	}
	if err != nil || rec.ClientID != c.ID || !a.live(s.now()) || a.head.generation != cred.Generation ||
		a.head.flags&flagNoRefresh != 0 || millis(s.now()) >= a.refreshEnd() {
		return f, true, nil
	}
	f = Fields{}
	f.Set("active", true)
	if len(a.grant.Scopes) > 0 {
		f.Set("scope", strings.Join(a.grant.Scopes, " "))
	}
	f.Set("client_id", rec.ClientID)
	f.Set("exp", a.refreshEnd()/int64(time.Second/time.Millisecond))
	f.Set("iat", a.head.rotated/int64(time.Second/time.Millisecond))
	f.Set("sub", rec.Subject)
	f.Set("iss", s.cfg.Issuer)
	return f, true, nil
}
