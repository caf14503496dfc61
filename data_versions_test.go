package oauth_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// A successor is a newer version of this library that shares the store: it writes
// members that this version does not know.
type successor struct {
	*lab
	thief
	stored []string // the members, as they stand in Data, in order
}

// adds puts members behind the head of the only record, as the newer version does
// whenever it updates one.
func (s *successor) adds(t *testing.T, members ...string) {
	t.Helper()
	r := s.vault.record(t)
	cut := headTo + 1
	r.Data = []byte(string(r.Data[:cut]) + "," + strings.Join(members, ",") + string(r.Data[cut:]))
	s.vault.load(t, s.reseal(r))
	s.stored = append(append([]string{}, members...), s.stored...)
}

// still asserts that every byte of its members is there, in order, each once.
func (s *successor) still(t *testing.T, after string) {
	t.Helper()
	data := string(s.vault.record(t).Data)
	at := 0
	for _, member := range s.stored {
		i := strings.Index(data[at:], member)
		require.GreaterOrEqual(t, i, 0, "after %s: %s is not in %s", after, member, data)
		require.Equal(t, 1, strings.Count(data, member), "after %s", after)
		at += i + len(member)
	}
}

// Odd but valid: what a decoder that reads and writes values again would change.
var oddMembers = []string{
	`"device":{ "user_code" : "BCDF-GHJK",  "n": 1.50e1 , "n":12345678901234567890.10 }`,
	`"né\"w":[null, "\u0065\/", "😀", {"mac":"x","head":"y"} ]`,
	`"":""`,
	`"codes":[]`, `"Code":{"expires":1}`, `"x\u2028":true`, `"big":-0.0`,
	`"proto":{"b":{"a":[[],{}]},"a":"}\"],"}`,
}

func TestTwoVersionsOfData(t *testing.T) {
	const web = oauthtest.WebClient
	for _, c := range []struct {
		name   string
		config func(*oauth.Config)
	}{
		{"rotated", func(*oauth.Config) {}},
		{"kept", keep},
	} {
		t.Run("N013 "+c.name, func(t *testing.T) {
			l := newLab(t, c.config)
			s := &successor{lab: l, thief: newThief(t, l.Config)}
			p := open(t, l.Server, web, nil)
			require.Equal(t, "303 code", result(p.decide(l.Server)))
			s.adds(t, oddMembers...)
			require.Equal(t, "303 code", result(p.decide(l.Server)), "a double click")
			s.still(t, "a second approval")
			issued := l.Redeem(p.code)
			s.still(t, "the redemption of the code")
			s.adds(t, `"again":1`) // and so on, in turn
			token := issued.String("refresh_token")
			for i := range 3 {
				l.Clock.Advance(10 * 24 * time.Hour)
				a := l.Refresh(web, token)
				require.Equal(t, 200, a.Status, "%s", a.Body)
				token = a.String("refresh_token")
				s.still(t, "a refresh")
				s.adds(t, fmt.Sprintf(`"turn %d":{"i": %d}`, i, i))
				l.lives(t, a.String("access_token"))
				require.Equal(t, 200, revoke(l.Server, web, a.String("access_token")).Status)
				s.still(t, "the revocation of an access token")
				l.gone(t, a.String("access_token"))
			}
			n, err := l.Revoke(t.Context(), oauth.Selector{Subject: "alice"})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			s.still(t, "Revoke")
			require.Zero(t, l.count(oauth.EventRecordAltered))
			n, err = l.Revoke(t.Context(), oauth.Selector{Subject: "alice", Erase: true})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.Empty(t, l.vault.record(t).Data, "erasing spares nothing")
		})
	}
}

// The newer version's members survive the ways in which an authorization comes to a
// bad end, too.
func TestTwoVersionsOfDataAtTheEnd(t *testing.T) {
	const web = oauthtest.WebClient
	for _, c := range []struct {
		name string
		do   func(t *testing.T, s *successor, code oauthtest.Code, first string)
	}{
		{"a replayed code", func(t *testing.T, s *successor, code oauthtest.Code, _ string) {
			assert.Equal(t, "400 invalid_grant", outcome(s.Token(web, code.Form())))
			assert.Equal(t, 1, s.count(oauth.EventReuseDetected))
		}},
		{"a replayed refresh token", func(t *testing.T, s *successor, _ oauthtest.Code, first string) {
			require.Equal(t, 200, s.Refresh(web, s.Refresh(web, first).String("refresh_token")).Status)
			assert.Equal(t, "400 invalid_grant", outcome(s.Refresh(web, first)))
			assert.Equal(t, 1, s.count(oauth.EventReuseDetected))
		}},
		{"a revoked refresh token", func(t *testing.T, s *successor, _ oauthtest.Code, first string) {
			assert.Equal(t, 200, revoke(s.Server, web, first).Status)
		}},
		{"a store that went back", func(t *testing.T, s *successor, _ oauthtest.Code, first string) {
			dump := s.vault.dump(t)
			second := s.Refresh(web, first).String("refresh_token")
			third := s.Refresh(web, second).String("refresh_token")
			s.vault.load(t, dump...)
			assert.Equal(t, "200", outcome(s.Refresh(web, third)))
			assert.Equal(t, 1, s.count(oauth.EventStoreWentBack))
		}},
		{"new secrets", func(t *testing.T, s *successor, _ oauthtest.Code, first string) {
			renewed := another(t, s.Server, func(c *oauth.Config) { c.Secrets = append([][]byte{oauth.NewSecret()}, c.Secrets...) })
			assert.Equal(t, "200", outcome(renewed.Refresh(web, first)))
		}},
	} {
		t.Run("N013 "+c.name, func(t *testing.T) {
			l := newLab(t)
			s := &successor{lab: l, thief: newThief(t, l.Config)}
			code := l.Code(web)
			first := l.Redeem(code).String("refresh_token")
			s.adds(t, oddMembers...)
			l.Clock.Advance(3 * time.Second)
			before := l.vault.record(t).Version
			c.do(t, s, code, first)
			require.Greater(t, l.vault.record(t).Version, before, "it was written")
			s.still(t, c.name)
		})
	}
}

// unknownFormat raises the format number of the only record of this kind.
func (s *successor) unknownFormat(t *testing.T, kind oauth.Kind) {
	t.Helper()
	var all []oauth.Record
	for _, r := range s.vault.dump(t) {
		if r.Kind == kind {
			head := headOf(t, r)
			head[0]++
			r = withHead(r, head)
			if kind == oauth.KindAuthorization {
				r = s.reseal(r)
			}
		}
		all = append(all, r)
	}
	s.vault.load(t, all...)
}

// A format number above what this version knows: 503 and an event, whoever asks, and
// nothing changes.
func TestFormatOfANewerVersion(t *testing.T) {
	const web = oauthtest.WebClient
	l := newLab(t)
	s := &successor{lab: l, thief: newThief(t, l.Config)}
	p := open(t, l.Server, web, nil)
	require.Equal(t, "303 code", result(p.decide(l.Server)))
	s.unknownFormat(t, oauth.KindAuthorization)
	before := l.vault.dump(t)
	told := func(t *testing.T, want int) {
		t.Helper()
		assert.Equal(t, before, l.vault.dump(t), "nothing was written")
		assert.Len(t, l.Events(oauth.EventUnknownFormat), want)
		for _, e := range l.Events(oauth.EventUnknownFormat) {
			assert.Equal(t, before[0].ID, e.Authorization)
			require.Error(t, e.Err)
		}
	}
	t.Run("N013 TK", func(t *testing.T) {
		a := l.Token(web, p.code.Form())
		assert.Equal(t, "503 temporarily_unavailable", outcome(a))
		assert.NotEmpty(t, a.Header.Get("Retry-After"))
		told(t, 1)
	})
	t.Run("N013 a second approval", func(t *testing.T) {
		// RFC 6749, section 4.1.2.1: a redirect cannot be a 503, and says it in its error.
		assert.Contains(t, []string{"303 temporarily_unavailable", "503"}, result(p.decide(l.Server)))
		told(t, 2)
	})
	t.Run("N013 Authorizations", func(t *testing.T) {
		_, err := l.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		told(t, 3)
	})
	t.Run("N013 Revoke", func(t *testing.T) {
		for _, sel := range []oauth.Selector{{ID: before[0].ID}, {Subject: "alice"}, {ClientID: web}} {
			n, err := l.Revoke(t.Context(), sel)
			require.ErrorContains(t, err, "newer version")
			assert.Zero(t, n)
		}
		told(t, 3)
	})
	t.Run("N013 Revoke with Erase works on whatever is there", func(t *testing.T) {
		n, err := l.Revoke(t.Context(), oauth.Selector{Subject: "alice", Erase: true})
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		assert.Empty(t, l.vault.record(t).Data)
	})
}

// The same of a registered client: nobody is told that it is unknown.
func TestFormatOfANewerClient(t *testing.T) {
	const web = oauthtest.WebClient
	var clients *oauth.ClientStore
	l := newLab(t, func(c *oauth.Config) {
		clients = &oauth.ClientStore{Storage: c.Storage, Now: c.Now, CacheFor: -1}
		c.Clients = clients
	})
	s := &successor{lab: l}
	require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: web, Secrets: []string{oauth.HashSecret(oauthtest.Secret)},
		RedirectURIs: []string{oauthtest.Callback}, Scopes: []string{"read", "write"}}))
	code := l.Code(web)
	form := code.Form()
	form.Set("client_id", web)
	form.Set("client_secret", oauthtest.Secret)
	s.unknownFormat(t, oauth.KindClient)
	before := l.vault.dump(t)
	for name, send := range map[string]func() *oauthtest.Answer{
		"TK": func() *oauthtest.Answer { return l.Post("/oauth/token", "", form) },
		"revocation": func() *oauthtest.Answer {
			return l.Post("/oauth/revoke", "", url.Values{"client_id": {web}, "client_secret": {oauthtest.Secret}, "token": {"x"}})
		},
		"AZ": func() *oauthtest.Answer { a, _ := l.Authorize(web, nil); return a },
	} {
		t.Run("N013 "+name, func(t *testing.T) {
			events := l.count(oauth.EventUnknownFormat)
			a := send()
			assert.Equal(t, 503, a.Status, "%s", a.Body)
			assert.NotEmpty(t, a.Header.Get("Retry-After"))
			assert.Equal(t, events+1, l.count(oauth.EventUnknownFormat))
		})
	}
	t.Run("N013 changing it", func(t *testing.T) {
		_, err := clients.Update(t.Context(), web, func(*oauth.Client) error { return nil })
		require.ErrorContains(t, err, "newer version")
		_, err = clients.RotateSecret(t.Context(), web)
		require.ErrorContains(t, err, "newer version")
	})
	assert.Equal(t, before, l.vault.dump(t), "nothing was written")
	require.ErrorIs(t, clients.Create(context.Background(), oauth.Client{ID: web, Public: true}), oauth.ErrExists)
}
