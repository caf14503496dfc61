package main

import (
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

// sessions remembers who is signed in at the account pages. They are in memory: a
// restart signs everybody out, and no token with them.
type sessions struct {
	now    func() time.Time
	secure bool // the pages are on https

	mu   sync.Mutex
	byID map[string]session
}

type session struct {
	user    string
	expires time.Time
}

const sessionLife = 12 * time.Hour

func newSessions(o options) *sessions {
	return &sessions{now: o.Now, secure: strings.HasPrefix(o.Web, "https://"), byID: map[string]session{}}
}

// user is who is signed in; "" if nobody is.
func (s *sessions) user(r *http.Request) string {
	c, err := r.Cookie(s.cookieName())
	if err != nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.byID[c.Value]
	if !s.now().Before(found.expires) {
		return ""
	}
	return found.user
}

// start signs a user in, under a name that nobody knows yet.
func (s *sessions) start(w http.ResponseWriter, user string) {
	id, now := rand.Text(), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, v := range s.byID {
		if !now.Before(v.expires) {
			delete(s.byID, old)
		}
	}
	s.byID[id] = session{user, now.Add(sessionLife)}
	s.setCookie(w, id, int(sessionLife/time.Second))
}

// end signs a browser out.
func (s *sessions) end(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(s.cookieName()); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.byID, c.Value)
	}
	s.setCookie(w, "", -1)
}

func (s *sessions) cookieName() string {
	if s.secure {
		return "__Host-flat-account"
	}
	return "flat-account"
}

func (s *sessions) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: s.cookieName(), Value: value, Path: "/", MaxAge: maxAge,
		Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}
