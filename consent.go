package oauth

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A consent that is remembered is a record of its own, one for each client, place
// that its answers go to and subject, made like an authorization but with no
// credential in it. It spares the resource owner a question; what it allows becomes
// an authorization only by the next approval.

const consentPrefix = "r_" // remembered; c_ is that of clients

// maxRemember is how long a consent can be remembered.
const maxRemember = maxAbsolute

// consentID has the scheme and host of the redirect URI in it: a client that comes
// from elsewhere than the resource owner was shown is another to him.
func (s *Server) consentID(a *authorizeRequest, subject string) string {
	origin := ""
	if u, err := url.Parse(a.redirectURI); err == nil { // it was matched with one that New or the registry has checked
		origin = u.Scheme + "://" + u.Hostname()
	}
	text := ""
	for _, part := range [...]string{s.cfg.Issuer, a.client.ID, origin} {
		text += strconv.Itoa(len(part)) + " " + part
	}
	return hashID(consentPrefix, s.cfg.Realm, KindConsent, text+subject)
}

// Remembered reports whether this subject has allowed this client everything that
// it asks for now, and wanted that to be remembered: [Approval].Remember. Then the
// host may approve without asking, unless the request says prompt=consent. An answer
// to a redirect URI of another scheme or host is another question. It makes one call
// of the storage, and the error is its failure.
//
// It is never so for a public client whose redirect URI is not https: whoever
// runs on the user's device can pretend to be that client (RFC 8252, section
// 8.6).
func (in *Interaction) Remembered(ctx context.Context, subject string) (bool, error) {
	s, a := in.server, in.request
	if !in.mayRemember() {
		return false, nil
	}
	rec, err := s.get(ctx, s.consentID(a, subject), KindConsent)
	switch {
	case isNotFound(err):
		return false, nil
	case err != nil:
		return false, err
	}
	z, err := s.readConsent(ctx, rec)
	if err != nil || z == nil {
		return false, err
	}
	return rec.Subject == subject && subset(a.scopes, z.grant.Scopes) &&
		subset(s.audience(a.resources), s.audience(z.grant.Resources)), nil
}

// mayRemember reports whether an answer to this client's redirect URI reaches
// this client and no other.
func (in *Interaction) mayRemember() bool {
	return !in.request.client.Public || strings.HasPrefix(in.request.redirectURI, "https://")
}

// readConsent is what a record says that has neither been revoked nor run out; nil
// for one that has, or that was altered: then the resource owner is asked.
func (s *Server) readConsent(ctx context.Context, rec Record) (*authorization, error) {
	z, err := s.decodeAuthorization(rec)
	switch {
	case errors.Is(err, errNewerFormat):
		return nil, err
	case err != nil:
		s.emit(ctx, Event{Type: EventRecordAltered, ClientID: rec.ClientID, Subject: rec.Subject, Authorization: rec.ID, Err: err})
		return nil, nil
	case !z.live(s.now()) || millis(s.now()) >= z.grant.End: // what the row says of its end has no MAC
		return nil, nil
	}
	return z, nil
}

// remember stores what was allowed, for as long as the approval says. Of scopes
// that this request asked for and the approval left out nothing is kept.
func (s *Server) remember(ctx context.Context, in *Interaction, ap *Approval) *Error {
	if ap.Remember == 0 || !in.mayRemember() {
		return nil
	}
	a := in.request
	for range maxAttempts {
		now := s.now()
		z := &authorization{rec: Record{Realm: s.cfg.Realm, ID: s.consentID(a, ap.Subject), Kind: KindConsent,
			ClientID: a.client.ID, CreatedAt: fromMillis(millis(now))}}
		rec, err := s.get(ctx, z.rec.ID, KindConsent)
		switch {
		case err == nil:
			z.rec = rec
			before, err := s.readConsent(ctx, rec)
			if err != nil {
				return unavailable(err)
			}
			if before != nil {
				z = before
			}
		case !isNotFound(err):
			return unavailable(err)
		}
		if z.allow(a, ap, now) {
			return nil
		}
		err = s.commit(ctx, write{create: z.rec.Version == 0, rec: s.encodeAuthorization(z)})
		if err == nil {
			return nil
		}
		if !errors.Is(err, errRaceLost) {
			return asError(err)
		}
	}
	return unavailable(errRaceLost)
}

// allow adds an approval to a consent: to what is remembered for the same resources,
// and for no longer than that is. It reports whether that changed nothing
// that is worth a write.
func (a *authorization) allow(r *authorizeRequest, ap *Approval, now time.Time) bool {
	g, end := a.grant, millis(now.Add(ap.Remember))
	if !sameSet(g.Resources, ap.Resources) {
		// A scope was allowed for the resources that it was asked with, and not for others.
		g = grantPart{Resources: slices.Clone(ap.Resources)}
	}
	kept := slices.DeleteFunc(slices.Clone(g.Scopes), func(n string) bool { return slices.Contains(r.scopes, n) })
	if len(kept) > 0 {
		end = min(end, g.End) // nobody was asked for them now
	}
	g.Scopes = append(kept, ap.Scopes...)
	same := a.rec.Version > 0 && len(a.members) > 0 && sameSet(g.Scopes, a.grant.Scopes) && sameSet(g.Resources, a.grant.Resources)
	if moved := end - g.End; same && moved >= 0 && moved < ap.Remember.Milliseconds()/8 {
		return true
	}
	g.End = end
	a.grant, a.rec.Subject, a.rec.ExpiresAt = g, ap.Subject, fromMillis(end)
	a.head.rotated = millis(now)
	a.setGrant()
	return false
}
