package adopt_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/fosite/adopt"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/oauthtest"
)

const day = 24 * time.Hour

// A site is the new server, after the switch.
type site struct {
	*oauthtest.Server
	t       *testing.T
	old     *old
	tokens  *adopt.Tokens
	lookups atomic.Int64 // in the old store
	fail    atomic.Bool  // the old store fails
}

// GetRefreshTokenSession counts, and fails when it is told to.
func (s *site) GetRefreshTokenSession(ctx context.Context, signature string, into fosite.Session) (fosite.Requester, error) {
	s.lookups.Add(1)
	if s.fail.Load() {
		return nil, errors.New("the old database is away")
	}
	return s.old.store.GetRefreshTokenSession(ctx, signature, into)
}

// switchOver starts the new server with the old one's clients, tokens and URLs.
func switchOver(t *testing.T, o *old, edits ...func(*oauth.Config)) *site {
	t.Helper()
	s := &site{t: t, old: o}
	clock := oauthtest.NewClock(time.Now())
	s.tokens = &adopt.Tokens{
		Store: s, Keys: o.config, Session: newSession, Prefix: adopt.Prefix, Extra: []string{"tenant", "seats", "none"},
		MaxAge: 180 * day, Now: clock.Now, End: func(ctx context.Context, sel oauth.Selector) error {
			_, err := s.Revoke(ctx, sel)
			return err
		},
	}
	s.Server = oauthtest.NewServer(t, append([]func(*oauth.Config){func(c *oauth.Config) {
		c.Grants = []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}}
		c.Endpoints = oauth.Endpoints{Authorize: "/oauth2/auth", Token: "/oauth2/token", Revoke: "/oauth2/revoke", Introspect: "/oauth2/introspect"}
		c.Scopes = []oauth.Scope{{Name: "offline"}, {Name: "photos"}, {Name: "albums"}}
		c.Resources = []oauth.Resource{{Identifier: audience}}
		c.Clients = oauth.StaticClients(clients(t, o, c.Grants)...)
		c.Import, c.Now = s.tokens.Import, clock.Now
	}}, edits...)...)
	s.Clock = clock
	mux := http.NewServeMux()
	for path, h := range s.Routes() {
		switch path {
		case "/oauth2/revoke":
			h = adopt.Split("ory_", s.tokens.RevokeHandler(o.provider), h)
		case "/oauth2/introspect":
			h = adopt.Split("ory_", http.HandlerFunc(o.introspect), h)
		}
		mux.Handle(path, h)
	}
	s.Handler = mux
	return s
}

func clients(t *testing.T, o *old, served []oauth.Grant) (all []oauth.Client) {
	t.Helper()
	for _, c := range o.store.Clients {
		taken, err := adopt.Client(c, served)
		require.NoError(t, err)
		all = append(all, taken)
	}
	return all
}

func (s *site) refresh(client, token string) *oauthtest.Answer {
	s.t.Helper()
	return s.Post("/oauth2/token", client, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// rotate refreshes and returns the successor.
func (s *site) rotate(client, token string) string {
	s.t.Helper()
	a := s.refresh(client, token)
	require.Equal(s.t, http.StatusOK, a.Status, string(a.Body))
	require.NotEmpty(s.t, a.String("refresh_token"))
	require.NotEqual(s.t, token, a.String("refresh_token"))
	return a.String("refresh_token")
}

func (s *site) refused(client, token string) {
	s.t.Helper()
	a := s.refresh(client, token)
	require.Equal(s.t, http.StatusBadRequest, a.Status, string(a.Body))
	require.Equal(s.t, "invalid_grant", a.String("error"))
}

// adopted are the live authorizations of alice.
func (s *site) adopted() []*oauth.Authorization {
	s.t.Helper()
	all, err := s.Authorizations(s.t.Context(), "alice")
	require.NoError(s.t, err)
	return all
}

// writes are the calls of the new store that change something.
func (s *site) writes() (n int) {
	for _, m := range s.Store.Methods() {
		if m == "Create" || m == "Update" {
			n++
		}
	}
	return n
}

func TestSwitchUnderAClient(t *testing.T) {
	var serving atomic.Pointer[http.Handler]
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*serving.Load()).ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	turn := func(to http.Handler) { serving.Store(&to) }
	o := newOld(t)
	turn(o)
	app := &oauth2.Config{
		ClientID: web, ClientSecret: oauthtest.Secret, RedirectURL: oauthtest.Callback,
		Scopes: []string{"offline", "photos"}, Endpoint: oauth2.Endpoint{AuthURL: front.URL + "/oauth2/auth", TokenURL: front.URL + "/oauth2/token"},
	}

	verifier := oauth2.GenerateVerifier()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := browser.Get(app.AuthCodeURL("a-state-long-enough", oauth2.S256ChallengeOption(verifier)))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	to, err := response.Location()
	require.NoError(t, err)
	token, err := app.Exchange(t.Context(), to.Query().Get("code"), oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	expired := func(token *oauth2.Token) *oauth2.Token {
		e := *token
		e.Expiry = time.Now().Add(-time.Minute)
		return &e
	}
	next := func() {
		t.Helper()
		before := token.RefreshToken
		token, err = app.TokenSource(t.Context(), expired(token)).Token()
		require.NoError(t, err)
		require.NotEqual(t, before, token.RefreshToken)
	}
	next() // at the old server
	assert.True(t, strings.HasPrefix(token.RefreshToken, adopt.Prefix))
	s := switchOver(t, o)
	turn(s.Handler)
	for range 3 { // and on, at the new one
		next()
		assert.False(t, strings.HasPrefix(token.RefreshToken, adopt.Prefix))
		seen, err := s.VerifyToken(t.Context(), token.AccessToken)
		require.NoError(t, err)
		assert.Equal(t, "alice", seen.Subject)
		assert.Equal(t, []string{"offline", "photos"}, seen.Scopes)
	}
	assert.Equal(t, int64(1), s.lookups.Load(), "the old store is asked once")
	assert.Len(t, s.adopted(), 1)
}

func TestImport(t *testing.T) {
	t.Run("everything that was approved is carried over", func(t *testing.T) {
		o := newOld(t)
		s := switchOver(t, o)
		for _, client := range []string{web, cli, rotated} {
			next := s.rotate(client, o.login(client).Refresh)
			s.rotate(client, next)
		}
		all := s.adopted()
		require.Len(t, all, 3)
		for _, a := range all {
			assert.Equal(t, []string{"offline", "photos", "albums"}, a.Scopes)
			assert.Equal(t, []string{audience}, a.Resources)
			assert.True(t, o.loginAt.Equal(a.AuthTime))
			assert.Equal(t, "silver", a.ACR)
			assert.Equal(t, []string{"pwd", "otp"}, a.AMR)
			assert.Equal(t, map[string]string{"tenant": "t-17", "seats": "3"}, a.Extra)
			assert.Equal(t, 180*day, a.EndsAt.Sub(a.CreatedAt))
		}
	})
	t.Run("a token of the password grant", func(t *testing.T) {
		o := newOld(t)
		_, p := o.post(web, url.Values{"grant_type": {"password"}, "username": {"peter"}, "password": {"pan"}, "scope": {"offline photos"}})
		require.NotEmpty(t, p.Refresh)
		s := switchOver(t, o)
		a := s.refresh(web, p.Refresh)
		require.Equal(t, http.StatusOK, a.Status, string(a.Body))
		assert.Equal(t, "offline photos", a.String("scope"))
	})
	t.Run("a store that keeps rows", func(t *testing.T) {
		o := newOld(t)
		first := o.login(web)
		_, second := o.refresh(web, first.Refresh)
		s := switchOver(t, o)
		s.tokens.Store = rowsOf(t, o)
		s.refused(web, first.Refresh)
		s.rotate(web, second.Refresh)
		require.Len(t, s.adopted(), 1)
		assert.Equal(t, "t-17", s.adopted()[0].Extra["tenant"])
		assert.True(t, o.loginAt.Equal(s.adopted()[0].AuthTime))
	})
	t.Run("32 at once get one successor", func(t *testing.T) {
		o := newOld(t)
		token := o.login(cli).Refresh
		s := switchOver(t, o)
		var wg sync.WaitGroup
		got := make([]*oauthtest.Answer, 32)
		start := make(chan struct{})
		for i := range got {
			wg.Go(func() {
				<-start
				got[i] = s.refresh(cli, token)
			})
		}
		close(start)
		wg.Wait()
		successors := map[string]int{}
		for _, a := range got {
			require.Equal(t, http.StatusOK, a.Status, string(a.Body))
			successors[a.String("refresh_token")]++
		}
		assert.Len(t, successors, 1)
		assert.Len(t, s.adopted(), 1)
		assert.Equal(t, 1, s.writes()-lost(s), "one record, written once")
		s.rotate(cli, got[0].String("refresh_token"))
	})
	t.Run("a replay after the window ends it", func(t *testing.T) {
		o := newOld(t)
		token := o.login(cli).Refresh
		s := switchOver(t, o)
		next := s.rotate(cli, token)
		s.Clock.Advance(time.Minute)
		s.refused(cli, token)
		s.refused(cli, next)
		s.refused(cli, token)
		assert.Len(t, s.Events(oauth.EventReuseDetected), 1)
	})
	t.Run("what the client may no longer have is left out", func(t *testing.T) {
		o := newOld(t)
		token := o.login(web).Refresh
		o.store.Clients[web].(*fosite.DefaultClient).Scopes = []string{"photos"}
		s := switchOver(t, o)
		assert.Equal(t, "photos", s.refresh(web, token).String("scope"))
		o.store.Clients[web].(*fosite.DefaultClient).Scopes = nil
		s = switchOver(t, o)
		s.refused(web, token)
		assert.Zero(t, s.writes())
	})
	t.Run("the old server does not know: its token endpoint must be gone", func(t *testing.T) {
		o := newOld(t)
		token := o.login(cli).Refresh
		s := switchOver(t, o)
		s.rotate(cli, token)
		status, _ := o.refresh(cli, token)
		assert.Equal(t, http.StatusOK, status)
	})
}

// lost counts the Creates that met a record which was there already.
func lost(s *site) (n int) {
	seen := map[string]bool{}
	for _, c := range s.Store.Calls() {
		if c.Method == "Create" && seen[c.ID] {
			n++
		}
		seen[c.ID] = seen[c.ID] || c.Method == "Create"
	}
	return n
}

func TestImportRefuses(t *testing.T) {
	t.Run("a token that was rotated out", func(t *testing.T) {
		o := newOld(t)
		first := o.login(web).Refresh
		_, p := o.refresh(web, first)
		require.NotEmpty(t, p.Refresh)
		s := switchOver(t, o)
		s.refused(web, first)
		assert.Zero(t, s.writes(), "nothing was adopted: nothing to end")
		elsewhere := s.rotate(web, o.login(web).Refresh)
		next := s.rotate(web, p.Refresh)
		s.refused(other, first)
		s.refused(cli, first)
		next = s.rotate(web, next) // a stranger ends nothing
		s.refused(web, first)      // the thief and the owner: it cannot be told who
		s.refused(web, next)
		s.rotate(web, elsewhere)
		assert.Len(t, s.Events(oauth.EventRevoked), 1)
	})
	t.Run("one whose successor cannot be ended now may come again", func(t *testing.T) {
		o := newOld(t)
		first := o.login(web).Refresh
		_, p := o.refresh(web, first)
		s := switchOver(t, o)
		next := s.rotate(web, p.Refresh)
		s.Store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
			if c.Method == "List" {
				return oauthtest.FailBefore
			}
			return oauthtest.NoFault
		})
		assert.Equal(t, http.StatusServiceUnavailable, s.refresh(web, first).Status)
		s.Store.Fail(nil)
		s.refused(web, first)
		s.refused(web, next)
	})
	t.Run("one that expired", func(t *testing.T) {
		o := newOld(t)
		token := o.login(cli).Refresh
		s := switchOver(t, o)
		s.Clock.Advance(30*day + time.Second)
		s.refused(cli, token)
		assert.Zero(t, s.writes())
		s.Clock.Advance(-time.Minute)
		s.rotate(cli, token)
	})
	t.Run("one without an end, when it is older than an authorization may become", func(t *testing.T) {
		o := newOld(t)
		o.config.RefreshTokenLifespan = -1
		token, next := o.login(cli).Refresh, ""
		s := switchOver(t, o)
		s.Clock.Advance(100 * day)
		next = s.rotate(cli, token)
		s.Clock.Advance(time.Minute)
		s.refused(cli, token)
		s.refused(cli, next)
		s.Clock.Advance(190 * day)
		n, err := s.DeleteExpired(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, 1, n, "nobody remembers")
		s.refused(cli, token)
		assert.Empty(t, s.adopted())
	})
	t.Run("one of another client, which loses nothing", func(t *testing.T) {
		o := newOld(t)
		token := o.login(web).Refresh
		s := switchOver(t, o)
		s.refused(other, token)
		s.refused(cli, token)
		assert.Zero(t, s.writes())
		next := s.rotate(web, token)
		s.refused(other, token)
		s.rotate(web, next)
	})
	t.Run("every spelling but the one that was issued", func(t *testing.T) {
		o := newOld(t)
		token := o.login(cli).Refresh
		s := switchOver(t, o)
		_, signature, _ := strings.Cut(token, ".")
		for _, spelling := range append(spellings(token), adopt.Prefix+token, token+"=", token+".", " "+token, strings.ToUpper(token),
			strings.TrimSuffix(token, signature)+signature[:42]+after(signature[42])) {
			s.refused(cli, spelling)
		}
		assert.Zero(t, s.lookups.Load())
		s.rotate(cli, token)
		for i := range spellings(token) { // and what fosite makes of them
			status, p := o.refresh(cli, spellings(o.login(cli).Refresh)[i])
			assert.Equal(t, http.StatusOK, status, "%d: %s", i, p.Error)
		}
	})
	t.Run("garbage, without a question to the old store", func(t *testing.T) {
		o := newOld(t)
		live := o.login(cli)
		stranger := newOld(t)
		stranger.config.GlobalSecret = []byte("the global secret of another one")
		key, _, _ := strings.Cut(live.Refresh, ".")
		_, signature, _ := strings.Cut(o.login(cli).Refresh, ".")
		s := switchOver(t, o)
		for _, text := range []string{
			"x", adopt.Prefix, adopt.Prefix + ".", "a.b", live.Access, stranger.login(cli).Refresh, key + "." + signature,
			"ory_ac_" + strings.TrimPrefix(live.Refresh, adopt.Prefix), strings.Repeat("a", 10_000), adopt.Prefix + strings.Repeat("a.", 5_000),
		} {
			s.Store.Reset()
			s.refused(cli, text)
			assert.Subset(t, []string{"Get"}, s.Store.Methods())
			assert.LessOrEqual(t, len(s.Store.Methods()), 2)
		}
		assert.Zero(t, s.lookups.Load())
	})
	t.Run("one without a subject", func(t *testing.T) {
		o := newOld(t)
		token := o.login(cli).Refresh
		for _, kept := range o.store.RefreshTokens {
			kept.GetSession().(*session).Subject = ""
		}
		s := switchOver(t, o)
		s.refused(cli, token)
		assert.Zero(t, s.writes())
	})
	t.Run("nothing, while the old store is away", func(t *testing.T) {
		o := newOld(t)
		token := o.login(cli).Refresh
		s := switchOver(t, o)
		s.fail.Store(true)
		assert.Equal(t, http.StatusServiceUnavailable, s.refresh(cli, token).Status)
		s.fail.Store(false)
		s.rotate(cli, token)
	})
	t.Run("nor does a rotated global secret lose anybody", func(t *testing.T) {
		o := newOld(t)
		token := o.login(cli).Refresh
		o.config.RotatedGlobalSecrets = [][]byte{o.config.GlobalSecret}
		o.config.GlobalSecret = []byte("the global secret that came later")
		switchOver(t, o).rotate(cli, token)
	})
}

// spellings are texts that fosite takes for the same token.
func spellings(token string) []string {
	key, signature, _ := strings.Cut(strings.TrimPrefix(token, adopt.Prefix), ".")
	return []string{
		adopt.Prefix + key[:42] + after(key[42]) + "." + signature,
		adopt.Prefix + key[:20] + "\n" + key[20:] + "." + signature,
		adopt.Prefix + "\r\n" + key + "." + signature,
		key + "." + signature,
	}
}

// after is the next letter of base64: in the last of 43 places it differs in the
// two spare bits alone.
func after(letter byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, letter)
	return alphabet[i+1 : i+2]
}

func TestClients(t *testing.T) {
	o := newOld(t)
	s := switchOver(t, o)
	status := func(client, secret string) int {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {o.login(client).Refresh}}
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(client, secret)
		return s.Do(r).Status
	}
	assert.Equal(t, http.StatusOK, status(web, oauthtest.Secret))
	assert.Equal(t, http.StatusUnauthorized, status(web, "the-new-secret"))
	assert.Equal(t, http.StatusOK, status(rotated, oauthtest.Secret))
	assert.Equal(t, http.StatusOK, status(rotated, "the-new-secret"))
	assert.Equal(t, http.StatusUnauthorized, status(rotated, "another"))

	for _, c := range clients(t, o, []oauth.Grant{grants.RefreshToken{}}) {
		assert.Equal(t, []string{"refresh_token"}, c.Grants, "password and implicit are not served")
		assert.Equal(t, c.ID == cli, c.Public)
		assert.Equal(t, []string{oauthtest.Callback}, c.RedirectURIs)
		for _, h := range c.Secrets {
			assert.True(t, strings.HasPrefix(h, "$2a$"), "the hash as it was")
		}
	}
	_, err := adopt.Client(&fosite.DefaultClient{ID: "wild", Scopes: []string{"photos.*"}}, nil)
	require.ErrorContains(t, err, `"photos.*"`)
}

func TestRevokeAndIntrospect(t *testing.T) {
	revoke := func(s *site, client, token string) {
		t.Helper()
		a := s.Post("/oauth2/revoke", client, url.Values{"token": {token}})
		require.Equal(t, http.StatusOK, a.Status, string(a.Body))
	}
	t.Run("RFC 7009 an old token that was not adopted yet", func(t *testing.T) {
		o := newOld(t)
		token := o.login(web).Refresh
		s := switchOver(t, o)
		revoke(s, other, token)
		revoke(s, web, token)
		s.refused(web, token)
		assert.Zero(t, s.writes())
	})
	t.Run("RFC 7009 one that was, and whose successor got lost", func(t *testing.T) {
		o := newOld(t)
		token := o.login(web).Refresh
		s := switchOver(t, o)
		next := s.rotate(web, token)
		revoke(s, other, token)
		next = s.rotate(web, next)
		revoke(s, web, token)
		s.refused(web, next)
		assert.Empty(t, s.adopted())
	})
	t.Run("RFC 7009 one that was used before, by another client", func(t *testing.T) {
		o := newOld(t)
		first := o.login(web).Refresh
		_, p := o.refresh(web, first)
		s := switchOver(t, o)
		next := s.rotate(web, p.Refresh)
		revoke(s, other, first)
		next = s.rotate(web, next)
		revoke(s, web, first)
		s.refused(web, next)
	})
	t.Run("RFC 7009 a forged one with a right signature", func(t *testing.T) {
		o := newOld(t)
		token := o.login(web).Refresh
		s := switchOver(t, o)
		next := s.rotate(web, token)
		_, signature, _ := strings.Cut(token, ".")
		revoke(s, web, adopt.Prefix+"AAAA."+signature)
		s.rotate(web, next)
	})
	t.Run("RFC 7009 a wrong secret, and a store that is away", func(t *testing.T) {
		o := newOld(t)
		token := o.login(web).Refresh
		s := switchOver(t, o)
		next := s.rotate(web, token)
		r := httptest.NewRequest(http.MethodPost, "/oauth2/revoke", strings.NewReader("token="+token))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(web, "wrong")
		assert.NotEqual(t, http.StatusOK, s.Do(r).Status)
		next = s.rotate(web, next)
		s.fail.Store(true)
		assert.Equal(t, http.StatusServiceUnavailable, s.Post("/oauth2/revoke", web, url.Values{"token": {token}}).Status)
		s.fail.Store(false)
		s.rotate(web, next)
	})
	t.Run("RFC 7009 and RFC 7662 each server answers for its own", func(t *testing.T) {
		o := newOld(t)
		p := o.login(web)
		s := switchOver(t, o)
		ask := func(token string) bool {
			active, _ := s.Post("/oauth2/introspect", web, url.Values{"token": {token}}).JSON["active"].(bool)
			return active
		}
		assert.True(t, ask(p.Access), "the old server's access tokens live out their time")
		a := s.refresh(web, p.Refresh)
		assert.True(t, ask(p.Access))
		assert.True(t, ask(a.String("access_token")))
		revoke(s, web, a.String("refresh_token"))
		assert.False(t, ask(a.String("access_token")))
		s.refused(web, a.String("refresh_token"))
		big := s.Post("/oauth2/revoke", web, url.Values{"token": {strings.Repeat("a", 2<<20)}})
		assert.Equal(t, http.StatusRequestEntityTooLarge, big.Status)
	})
}
