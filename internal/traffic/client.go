package traffic

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A client sends one request after the other, and again what was not answered.
type client struct {
	*Traffic
	number int
}

// A session is what a client was given.
type session struct {
	access  string
	refresh []string // the last is the current one
}

func (s *session) received(a answer) {
	s.access = a.get("access_token")
	if token := a.get("refresh_token"); len(s.refresh) == 0 || s.refresh[len(s.refresh)-1] != token {
		s.refresh = append(s.refresh, token)
	}
}

// patiently sends a request until it is answered by something else than a 503. It
// returns how often it was not, and not ok if the load has ended.
func (c *client) patiently(ctx context.Context, send func() answer) (a answer, unavailable int, ok bool) {
	for {
		a = send()
		switch {
		case ctx.Err() != nil && a.status == 0:
			return a, unavailable, false
		case !a.unavailable():
			c.count(c.number, Counts{Answered: 1})
			return a, unavailable, true
		}
		unavailable++
		c.count(c.number, Counts{Unavailable: 1})
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return a, unavailable, false
		}
	}
}

// begin signs in and redeems the code, from the start again if it cannot be known
// whether a code was redeemed: then it may be refused, and nothing of it was given out.
func (c *client) begin(ctx context.Context) *session {
	for ctx.Err() == nil {
		verifier := rand.Text() + rand.Text()
		a, _, ok := c.patiently(ctx, func() answer { return c.authorize(ctx, verifier) })
		if !ok {
			return nil
		}
		code := a.get("code")
		if a.status != http.StatusSeeOther || code == "" {
			c.lie("signing in: %v", a)
			return nil
		}
		a, unknown, ok := c.patiently(ctx, func() answer {
			return c.post(ctx, "/oauth/token", url.Values{"grant_type": {"authorization_code"}, "code": {code},
				"redirect_uri": {c.target.RedirectURI}, "code_verifier": {verifier}})
		})
		switch {
		case !ok:
			return nil
		case a.status == http.StatusOK:
			s := &session{}
			s.received(a)
			return s
		case a.get("error") != "invalid_grant" || unknown == 0:
			c.lie("a code, after %d answers 503: %v", unknown, a)
			return nil
		}
	}
	return nil
}

func (c *client) authorize(ctx context.Context, verifier string) answer {
	sum := sha256.Sum256([]byte(verifier))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url("/oauth/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {c.target.ClientID}, "redirect_uri": {c.target.RedirectURI}, "state": {"xyz"}, "scope": {"read"},
		"login_hint":            {fmt.Sprintf("user-%d", c.number)},
		"code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}.Encode()), nil)
	if err != nil {
		return answer{text: err.Error()}
	}
	return c.do(r)
}

// stay is a session that lasts as long as the load.
func (c *client) stay(ctx context.Context) {
	s := c.begin(ctx)
	c.mu.Lock()
	c.sessions[c.number] = s
	c.mu.Unlock()
	for n := 1; s != nil && ctx.Err() == nil; n++ {
		c.move(ctx, s)
		c.look(ctx, s, true)
		if n%3 == 0 {
			c.revoke(ctx, s)
		}
	}
}

// comeAndGo signs in again and again.
func (c *client) comeAndGo(ctx context.Context) {
	for ctx.Err() == nil {
		if s := c.begin(ctx); s != nil {
			c.look(ctx, s, true)
			c.move(ctx, s)
		}
	}
}

// move refreshes: every second client sends the request twice at once. The load ends
// between requests, never in one: a client that hangs up knows less than it should.
func (c *client) move(ctx context.Context, s *session) {
	token := s.refresh[len(s.refresh)-1]
	a, _, ok := c.patiently(ctx, func() answer {
		both := make([]answer, 1+c.number%2)
		var sent sync.WaitGroup
		for i := range both {
			sent.Go(func() { both[i] = c.Traffic.refresh(context.WithoutCancel(ctx), token) })
		}
		sent.Wait()
		for _, a := range both { // what was not refused: one of two may be answered and the other not
			if a.status != http.StatusOK && !a.unavailable() {
				return a
			}
		}
		for _, a := range both {
			if a.status == http.StatusOK {
				return a
			}
		}
		return both[0]
	})
	switch {
	case !ok:
	case a.status == http.StatusOK && a.get("access_token") != "" && a.get("refresh_token") != token:
		s.received(a)
	default:
		c.lie("client %d, a refresh: %v", c.number, a)
	}
}

// look introspects the session's access token.
func (c *client) look(ctx context.Context, s *session, want bool) {
	a, _, ok := c.patiently(ctx, func() answer {
		return c.post(ctx, "/oauth/introspect", url.Values{"token": {s.access}})
	})
	if active, known := a.member["active"].(bool); ok && (a.status != http.StatusOK || !known || active != want) {
		c.lie("client %d, introspection, active is to be %v: %v", c.number, want, a)
	}
}

// revoke revokes the session's access token, and looks whether that is true.
func (c *client) revoke(ctx context.Context, s *session) {
	a, _, ok := c.patiently(ctx, func() answer {
		return c.post(context.WithoutCancel(ctx), "/oauth/revoke", url.Values{"token": {s.access}})
	})
	switch {
	case !ok:
		return
	case a.status != http.StatusOK:
		c.lie("client %d, a revocation: %v", c.number, a)
		return
	}
	c.mu.Lock()
	c.revoked = append(c.revoked, s.access)
	c.mu.Unlock()
	c.look(ctx, s, false)
}
