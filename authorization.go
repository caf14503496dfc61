package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/grantwell/oauth/internal/derive"
)

// An Authorization is what a resource owner allowed a client, from the approval
// to the last refresh; or a consent that is remembered.
type Authorization struct {
	ID string // of its record; no credential
	// Kind is [KindAuthorization], or [KindConsent]: that has no tokens, it only spares
	// the question at the next request.
	Kind      Kind
	ClientID  string
	Subject   string
	GrantType string // that began it; "" for a consent, and where the host did by [Server.Issue]
	Scopes    []string
	Resources []string // RFC 8707
	AuthTime  time.Time
	ACR       string
	AMR       []string
	Session   string
	Extra     map[string]string
	CreatedAt time.Time
	// EndsAt is the time at which it ends however often it is refreshed.
	EndsAt time.Time
}

func (a *authorization) public() *Authorization {
	g := &a.grant
	p := &Authorization{
		ID: a.rec.ID, Kind: a.rec.Kind, ClientID: a.rec.ClientID, Subject: a.rec.Subject, GrantType: g.Type,
		Scopes: slices.Clone(g.Scopes), Resources: slices.Clone(g.Resources),
		ACR: g.ACR, AMR: slices.Clone(g.AMR), Session: g.Session, Extra: maps.Clone(g.Extra),
		CreatedAt: a.rec.CreatedAt, EndsAt: fromMillis(g.End),
	}
	if g.AuthTime != 0 {
		p.AuthTime = time.Unix(g.AuthTime, 0).UTC()
	}
	return p
}

// A verdict is what the table of a presented code or refresh token says.
type verdict int

const (
	accepted verdict = iota // one update, then answer
	repeated                // the same successor again, nothing is written
	raceLost                // refused, nothing changes: two requests were in flight
	replayed                // refused, and the authorization ends
	dead                    // refused: ended or expired
)

// inFlight is how long after a code was redeemed, or a token rotated under
// NoRetry, a request may have begun and still be taken for one of two that
// crossed each other. The clocks of the processes agree within a second.
const inFlight = 2 * time.Second

// judgeRefresh decides about an authentic refresh token of generation g by a
// client that it belongs to. began is when the request came in.
func (a *authorization) judgeRefresh(g uint32, began, now time.Time, window time.Duration) verdict {
	h := &a.head
	since := began.Sub(fromMillis(h.rotated))
	switch {
	case h.flags&(flagEnded|flagNoRefresh) != 0 || millis(now) >= a.refreshEnd():
		return dead
	case g >= h.generation: // a newer one is ours too: the store has lost writes
		return accepted
	case g+1 < h.generation:
		return replayed
	case window == NoRetry && since <= inFlight:
		return raceLost
	case window != NoRetry && since <= window:
		return repeated
	}
	return replayed
}

// judgeCode decides about an authentic code that passed every other check.
func (a *authorization) judgeCode(began, now time.Time) verdict {
	switch {
	case a.head.flags&flagEnded != 0:
		return dead
	case a.head.generation == 0:
		if millis(now) >= a.code.Expires {
			return dead
		}
		return accepted
	case began.Sub(fromMillis(a.code.Redeemed)) <= inFlight:
		return raceLost
	}
	return replayed
}

// refreshEnd is when the refresh token expires, in Unix milliseconds.
func (a *authorization) refreshEnd() int64 { return min(a.head.idleEnd, a.grant.End) }

// extend moves ExpiresAt where it is no longer behind everything that needs the
// record: the refresh token, the last access token and its retry window, the
// interaction handle. It goes an eighth of the idle life further than needed,
// because an index on a column that always moves costs SQL stores dearly.
func (a *authorization) extend(p Policy, accessEnd time.Time) {
	needed := millis(accessEnd.Add(p.window()))
	slack := int64(0)
	if a.head.generation > 0 && a.head.flags&flagNoRefresh == 0 {
		needed = max(needed, a.refreshEnd())
		slack = (p.RefreshIdle / 8).Milliseconds()
	}
	if a.head.generation == 0 {
		needed = max(needed, a.code.Expires)
	}
	if a.head.flags&flagImported != 0 { // recognised for as long as the foreign token could come
		needed = max(needed, a.grant.End)
	}
	if a.rec.ExpiresAt.IsZero() || needed > millis(a.rec.ExpiresAt) {
		a.rec.ExpiresAt = fromMillis(needed + slack)
	}
}

// redeem moves the code, or the refresh token of generation g, on by one.
func (a *authorization) redeem(g uint32, keyID byte) {
	a.head.generation = max(g, a.head.generation) + 1
	a.head.keyID = keyID
}

// stamp sets the time of the step that redeem took: directly before its write.
func (a *authorization) stamp(at time.Time) {
	a.head.rotated = millis(at)
	if a.code.exists() && a.code.Redeemed == 0 {
		a.code.spend(millis(at))
		a.setCode()
	}
}

// Record IDs are a prefix for the Kind and the base64url of their bytes.
const (
	authorizationPrefix = "a_"
	spentPrefix         = "s_"
)

func newID() (id [16]byte) {
	rand.Read(id[:])
	return id
}

func newNonce() (n [32]byte) {
	rand.Read(n[:])
	return n
}

func newMark() (m [8]byte) {
	rand.Read(m[:])
	return m
}

func authorizationID(id [16]byte) string {
	return derive.Encode(authorizationPrefix, false, id[:])
}

func authorizationBytes(id string) (b [16]byte, ok bool) {
	raw, ok := derive.Decode(authorizationPrefix, false, id)
	return b, ok && copy(b[:], raw) == len(raw) && len(raw) == len(b)
}

// hashID names what outside text names: a hash with realm and kind, each
// preceded by its length.
func hashID(prefix, realm string, kind Kind, text string) string {
	h := sha256.New()
	for _, part := range [...]string{realm, string(kind), text} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return prefix + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// get reads a record. One of another kind or realm is not found.
func (s *Server) get(ctx context.Context, id string, kind Kind) (Record, error) {
	rec, err := s.cfg.Storage.Get(ctx, id)
	if err == nil && (rec.Kind != kind || rec.Realm != s.cfg.Realm || rec.ID != id) {
		return Record{}, ErrNotFound
	}
	return rec, err
}

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// end marks an authorization as ended. It works on a record whose MAC cannot be
// checked too.
func (s *Server) end(ctx context.Context, rec Record, erase bool) error {
	a := authorization{rec: rec}
	h, err := parseHead(rec.Data)
	if erase {
		a.rec.Subject, a.rec.Data = "", nil
		// An authorization stays while a handle that it may have come from can still be approved, and
		// an imported one as long as it would have: the foreign token must not be adopted
		// again.
		gone := s.now()
		if rec.Kind == KindAuthorization {
			gone = latest(gone, rec.CreatedAt.Add(maxHandle))
		}
		if h.flags&flagImported == 0 && (rec.ExpiresAt.IsZero() || gone.Before(rec.ExpiresAt)) {
			a.rec.ExpiresAt = fromMillis(millis(gone)) // as stores keep it: the write may have to be recognised
		}
		return s.commit(ctx, write{rec: a.rec})
	}
	if errors.Is(err, errNewerFormat) {
		return unavailable(err)
	}
	if all, err := splitMembers(rec.Data); err == nil {
		for _, m := range all {
			if m.name != "head" && m.name != "mac" {
				a.members = append(a.members, m)
			}
		}
	}
	a.head = h
	a.head.flags |= flagEnded
	return s.commit(ctx, write{rec: s.encodeAuthorization(&a)})
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// A Selector names authorizations and remembered consents. Every field that is
// set must match; at least one of ID, Subject, ClientID and Session must be.
type Selector struct {
	ID       string
	Subject  string
	ClientID string
	Session  string // as the approval said it; asks for Subject, ClientID or a walk over all. No consent has one
	// Erase removes the subject's name and all data from the records, not only
	// their validity.
	Erase bool
}

// Authorizations returns the live authorizations and remembered consents of a
// subject, in no particular order: what a page of connected applications shows.
func (s *Server) Authorizations(ctx context.Context, subject string) ([]*Authorization, error) {
	if subject == "" {
		return nil, errors.New("oauth: Authorizations needs a subject")
	}
	var all []*Authorization
	for rec, err := range s.list(ctx, Selector{Subject: subject}) {
		if err != nil {
			return nil, err
		}
		a, err := s.decodeAuthorization(rec)
		if err != nil {
			event := Event{Type: EventRecordAltered, ClientID: rec.ClientID, Subject: subject, Authorization: rec.ID, Err: err}
			if errors.Is(err, errNewerFormat) {
				event.Type = EventUnknownFormat
			}
			s.emit(ctx, event)
			continue
		}
		if a.usable(s.now()) {
			all = append(all, a.public())
		}
	}
	return all, nil
}

// usable reports whether the client can still get an access token; where it has
// no refresh token, whether one that it got may still be good.
func (a *authorization) usable(now time.Time) bool {
	switch {
	case !a.live(now) || millis(now) >= a.grant.End: // its record outlives its tokens by a little
		return false
	case a.head.generation == 0 && a.code.exists():
		return millis(now) < a.code.Expires
	case a.head.generation > 0 && a.head.flags&flagNoRefresh == 0:
		return millis(now) < a.refreshEnd()
	}
	return true
}

// live reports whether the authorization has neither ended nor run out. Its
// record outlives its tokens by a little.
func (a *authorization) live(now time.Time) bool {
	return a.head.flags&flagEnded == 0 && !a.expired(now)
}

func (a *authorization) expired(now time.Time) bool {
	return !a.rec.ExpiresAt.IsZero() && !now.Before(a.rec.ExpiresAt)
}

// Revoke ends the authorizations that match, and forgets the consents: no code,
// refresh token or access token of theirs is accepted afterwards, and the
// resource owner is asked again. It returns how many records it ended. When it
// fails, those counted have ended, the others were tried, and the call can be
// made again.
func (s *Server) Revoke(ctx context.Context, sel Selector) (int, error) {
	if sel.ID != "" {
		kind := KindAuthorization
		if strings.HasPrefix(sel.ID, consentPrefix) {
			kind = KindConsent
		}
		rec, err := s.get(ctx, sel.ID, kind)
		if isNotFound(err) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		return s.revokeOne(ctx, rec, sel)
	}
	if sel.Subject == "" && sel.ClientID == "" && sel.Session == "" {
		return 0, errors.New("oauth: Revoke needs a selector")
	}
	ended, failed := 0, error(nil)
	for rec, err := range s.list(ctx, sel) {
		if err != nil {
			return ended, errors.Join(failed, err)
		}
		n, err := s.revokeOne(ctx, rec, sel)
		ended += n
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("authorization %s: %w", rec.ID, err))
		}
	}
	return ended, failed
}

// list yields the records of client and subject, both kinds; consents have no
// session.
func (s *Server) list(ctx context.Context, sel Selector) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, kind := range [...]Kind{KindAuthorization, KindConsent} {
			if kind == KindConsent && sel.Session != "" {
				return
			}
			f := Filter{Realm: s.cfg.Realm, Kind: kind, ClientID: sel.ClientID, Subject: sel.Subject}
			for rec, err := range s.cfg.Storage.List(ctx, f) {
				if !yield(rec, err) {
					return
				}
			}
		}
	}
}

// revokeOne ends one record, read again where another write came first. Nothing
// of a consent that has ended is needed any more, so it is erased in any case.
func (s *Server) revokeOne(ctx context.Context, rec Record, sel Selector) (int, error) {
	sel.Erase = sel.Erase || rec.Kind == KindConsent
	for range maxAttempts {
		if !sel.matches(rec) {
			return 0, nil
		}
		h, err := parseHead(rec.Data)
		if err == nil && h.flags&flagEnded != 0 && (!sel.Erase || len(rec.Data) == 0) {
			return 0, nil
		}
		err = s.end(ctx, rec, sel.Erase)
		if err == nil {
			s.emit(ctx, Event{Type: EventRevoked, ClientID: rec.ClientID, Subject: rec.Subject, Authorization: rec.ID})
			return 1, nil
		}
		if !errors.Is(err, errRaceLost) {
			return 0, err
		}
		if rec, err = s.get(ctx, rec.ID, rec.Kind); isNotFound(err) {
			return 0, nil
		} else if err != nil {
			return 0, err
		}
	}
	return 0, unavailable(errRaceLost)
}

func (sel Selector) matches(rec Record) bool {
	if g, _ := readGrant(rec); sel.Session != "" && g.Session != sel.Session {
		return false
	}
	return (sel.Subject == "" || sel.Subject == rec.Subject) && (sel.ClientID == "" || sel.ClientID == rec.ClientID)
}

// DeleteExpired deletes at most limit expired records and returns how many it
// deleted. The host calls it now and then, until it returns less than limit.
func (s *Server) DeleteExpired(ctx context.Context, limit int) (int, error) {
	// A minute late: the clocks of other processes may be behind.
	return s.cfg.Storage.DeleteExpired(ctx, s.now().Add(-time.Minute), limit)
}
