package pages

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/derive"
)

// A session is what the sealed cookie says: who signed in, when, and at which
// interaction.
type session struct {
	keyID    byte     // of the secret that sealed it
	id       [16]byte // random, new with every sign-in
	signedIn time.Time
	expires  time.Time
	at       [16]byte // hash of the handle of the interaction it was signed in at
	subject  string
	user     string // what the pages call the user; "": the subject
}

// newSession is the session of somebody who has just signed in.
func newSession(u *User, handle string, now time.Time) *session {
	s := &session{signedIn: now, at: handleHash(handle), subject: u.Subject, user: cut(u.Name, maxUserName)}
	rand.Read(s.id[:]) // it never fails: it ends the program instead
	return s
}

// name is what an approval calls the session.
func (s *session) name() string { return derive.Encode("", false, s.id[:]) }

func (s *session) displayName() string {
	if s.user != "" {
		return s.user
	}
	return s.subject
}

const (
	sessionFormat = 1
	sessionHead   = 1 + 16 + 8 + 8 + 16 + 1 // format, id, times, interaction, length of the subject
	maxUserName   = 255                     // bytes
	maxCookie     = 2 << 10                 // characters; a session takes up to 800
)

// startSession seals a session into a cookie of a new value, so that whatever
// was in the browser before the sign-in is not signed in.
func (p *Pages) startSession(w http.ResponseWriter, s *session) {
	b := make([]byte, 0, sessionHead+len(s.subject)+len(s.user))
	b = append(b, sessionFormat)
	b = append(b, s.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.signedIn.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(s.signedIn.Add(p.cfg.SessionLifetime).UnixMilli()))
	b = append(b, s.at[:]...)
	b = append(b, byte(len(s.subject)))
	b = append(b, s.subject...)
	b = append(b, s.user...)
	p.setCookie(w, derive.Encode("", false, p.ring.Seal(nil, derive.Session, b)), int(p.cfg.SessionLifetime/time.Second))
}

// dropSession takes the cookie from the browser.
func (p *Pages) dropSession(w http.ResponseWriter) { p.setCookie(w, "", -1) }

func (p *Pages) setCookie(w http.ResponseWriter, value string, maxAge int) {
	// Lax, not Strict: the user comes from the client's site and may be signed in.
	http.SetCookie(w, &http.Cookie{Name: p.cookie, Value: value, Path: "/", MaxAge: maxAge,
		Secure: p.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// readSession opens the cookie. It is false where there is none, where it was
// not made here, and where it has expired.
func (p *Pages) readSession(r *http.Request, now time.Time) (*session, bool) {
	c, err := r.Cookie(p.cookie)
	if err != nil || len(c.Value) > maxCookie {
		return nil, false
	}
	sealed, ok := derive.Decode("", false, c.Value)
	if !ok {
		return nil, false
	}
	b, err := p.ring.Open(nil, derive.Session, sealed)
	if err != nil || len(b) < sessionHead || b[0] != sessionFormat {
		return nil, false
	}
	s := &session{keyID: sealed[0], id: [16]byte(b[1:]), signedIn: millis(b[17:]), expires: millis(b[25:]), at: [16]byte(b[33:])}
	names := string(b[sessionHead:])
	end := int(b[sessionHead-1])
	if end == 0 || end > len(names) || !now.Before(s.expires) {
		return nil, false
	}
	s.subject, s.user = names[:end], names[end:]
	return s, true
}

func millis(b []byte) time.Time { return time.UnixMilli(int64(binary.BigEndian.Uint64(b))) }

func handleHash(handle string) [16]byte {
	sum := sha256.Sum256([]byte(handle))
	return [16]byte(sum[:])
}

// userKey ties a consent page to the session, user and interaction that it was
// made for, and to the scopes on it: what was shown to one user is never decided by
// another who signed in meanwhile, and what was not shown is not decided.
func (p *Pages) userKey(s *session, handle string, offered []string) string {
	scopes := strings.Join(slices.Sorted(slices.Values(offered)), " ")
	sum, _ := p.ring.MAC(derive.Session, s.keyID, []byte("consent"), s.id[:], []byte(s.subject), []byte(handle), []byte(scopes)) // the ring has it: it opened the cookie
	return derive.Encode("", false, sum[:16])
}

func (p *Pages) isUser(s *session, handle string, offered []string, key string) bool {
	return subtle.ConstantTimeCompare([]byte(p.userKey(s, handle, offered)), []byte(key)) == 1
}

// check says what a host got wrong.
func (u *User) check() error {
	if u.Subject == "" || len(u.Subject) > 255 || !utf8.ValidString(u.Subject) || strings.ContainsRune(u.Subject, 0) {
		return errors.New("the User's Subject is empty, longer than 255 bytes or not text")
	}
	return nil
}

// cut leaves as much of a text as fits into so many bytes.
func cut(text string, size int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	for len(text) > size {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	return text
}

// A demand is what the client wants of the sign-in (OpenID Connect Core, section
// 3.1.2.1).
type demand struct {
	none   bool   // prompt=none: show no page
	login  bool   // prompt=login: sign in again
	show   bool   // prompt=consent or select_account: show the consent page
	maxAge int64  // seconds; -1: any
	hint   string // login_hint
}

// readDemand reads the parameters of a request.
func readDemand(params map[string][]string) (demand, error) {
	get := func(name string) string {
		if v := params[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	d := demand{maxAge: -1}
	if h := get("login_hint"); len(h) <= maxName {
		d.hint = h
	}
	words := strings.Fields(get("prompt"))
	for _, w := range words {
		d.none = d.none || w == "none"
		d.login = d.login || w == "login"
		d.show = d.show || w == "consent" || w == "select_account"
	}
	if d.none && len(words) > 1 {
		return d, &oauth.Error{Code: oauth.InvalidRequest, Description: "none is together with another prompt", Parameter: "prompt"}
	}
	if text := get("max_age"); text != "" {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return d, &oauth.Error{Code: oauth.InvalidRequest, Description: "max_age is not a number of seconds", Parameter: "max_age"}
		}
		d.maxAge = int64(min(n, 1<<31)) // a Duration has room for it
	}
	return d, nil
}

// fresh reports whether a session meets the demand. One that was signed in at
// this very interaction does: the user has just done what was asked for.
func (d demand) fresh(s *session, handle string, now time.Time) bool {
	if s.at == handleHash(handle) {
		return true
	}
	return !d.login && (d.maxAge < 0 || now.Sub(s.signedIn) <= time.Duration(d.maxAge)*time.Second)
}
