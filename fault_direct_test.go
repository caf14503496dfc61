package oauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// ofConsent are what a host does with a consent that is remembered, and the tokens
// that it issues itself.
func ofConsent() []occasion {
	const web = oauthtest.WebClient
	// consent lets one be remembered, and returns a request that waits.
	consent := func(t *testing.T, l *lab) (waits *oauth.Interaction) {
		l.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), Remember: time.Hour})
		})
		l.Code(web)
		l.Interact(func(_ http.ResponseWriter, _ *http.Request, in *oauth.Interaction) { waits = in })
		l.Authorize(web, nil)
		require.NotNil(t, waits)
		return waits
	}
	forgotten := func(t *testing.T, l *lab, _ *oauthtest.Answer) {
		for _, r := range l.vault.dump(t) {
			require.NotEqual(t, []any{oauth.KindConsent, "alice"}, []any{r.Kind, r.Subject})
		}
	}
	pat := oauth.Approval{Subject: "alice", Scopes: []string{"read"}}
	var issued string
	return []occasion{
		{name: "Remembered", direct: true, good: "200", prepare: func(t *testing.T, l *lab) answer {
			in := consent(t, l)
			return func() *oauthtest.Answer {
				is, err := in.Remembered(context.Background(), "alice")
				require.Equal(t, err == nil, is)
				return direct(err)
			}
		}},
		{name: "Revoke a consent", direct: true, good: "200", prepare: func(t *testing.T, l *lab) answer {
			consent(t, l)
			var id string
			for r := range l.vault.List(t.Context(), oauth.Filter{Kind: oauth.KindConsent}) {
				id = r.ID
			}
			return func() *oauthtest.Answer {
				_, err := l.Revoke(context.Background(), oauth.Selector{ID: id})
				return direct(err)
			}
		}, then: forgotten, lost: func(t *testing.T, l *lab, send answer) {
			require.Equal(t, "200", result(send()))
			forgotten(t, l, nil)
		}},
		{name: "Issue", direct: true, good: "200", prepare: func(t *testing.T, l *lab) answer {
			return func() *oauthtest.Answer {
				token, a, err := l.Issue(context.Background(), web, pat)
				require.Equal(t, err == nil, token != "" && a != nil)
				issued = token
				return direct(err)
			}
		}, then: func(t *testing.T, l *lab, _ *oauthtest.Answer) {
			l.lives(t, issued)
			require.Len(t, authorizations(t, l), 1)
		},
			lost: func(t *testing.T, l *lab, send answer) {
				require.Equal(t, "200", result(send()))
				require.Len(t, authorizations(t, l), 2, "one of them nobody has a token of; it is listed, and can be revoked")
			}},
	}
}

// ofAssertions are requests of a client that authenticates by assertions, a new one with
// each request: its jti is written directly before the commit.
func ofAssertions(t *testing.T) []occasion {
	key := esKey(t, "1")
	config := signing(oauth.Client{JWKS: publicJWKS(t, key)})
	post := func(l *lab, form url.Values) *oauthtest.Answer {
		return postForm(l.Server, "/oauth/token", asserted(signed(t, key, "", claimsOf(l.Server, nil)), form))
	}
	code := func(l *lab) url.Values {
		_, code := l.Authorize(signer, url.Values{"scope": {"read"}})
		form := code.Form()
		form.Del("client_id")
		return form
	}
	refresh := func(a *oauthtest.Answer) url.Values {
		return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.String("refresh_token")}}
	}
	sends := func(form func(l *lab) url.Values) func(*testing.T, *lab) answer {
		return func(_ *testing.T, l *lab) answer {
			f := form(l)
			return func() *oauthtest.Answer { return post(l, f) }
		}
	}
	onward := func(t *testing.T, l *lab, a *oauthtest.Answer) {
		l.lives(t, a.String("access_token"))
		require.Len(t, authorizations(t, l), 1)
		require.Equal(t, "200", outcome(post(l, refresh(a))))
	}
	return []occasion{
		{name: "S331 code, by an assertion", config: config, good: "200", prepare: sends(code), then: onward,
			lost: func(t *testing.T, l *lab, send answer) {
				if before := authorizations(t, l); before[0].Version > 1 { // it was the commit
					require.Equal(t, "400 invalid_grant", outcome(send()))
					require.Equal(t, before, authorizations(t, l))
					return
				}
				onward(t, l, send()) // it was the jti
			}},
		{name: "S331 refresh, by an assertion", config: config, good: "200", prepare: sends(func(l *lab) url.Values { return refresh(post(l, code(l))) }),
			then: onward, lost: func(t *testing.T, l *lab, send answer) { onward(t, l, send()) }},
		{name: "S330 client_credentials, by an assertion", config: config, good: "200", prepare: sends(func(*lab) url.Values { return machineGrant }),
			then: func(t *testing.T, l *lab, a *oauthtest.Answer) { l.lives(t, a.String("access_token")) },
			lost: func(t *testing.T, _ *lab, send answer) { require.Equal(t, "200", outcome(send())) }},
	}
}

// ofClients are the changes of clients that are in the store.
func ofClients() []occasion {
	const id = "https://new.example/client"
	store := func(l *lab) *oauth.ClientStore { return l.Config.Clients.(*oauth.ClientStore) }
	// changes makes the client, where it is to be changed, and returns the change.
	changes := func(made bool, change func(s *oauth.ClientStore) error) func(*testing.T, *lab) answer {
		return func(t *testing.T, l *lab) answer {
			if made {
				require.NoError(t, store(l).Create(t.Context(), oauth.Client{ID: id, Secrets: []string{oauth.HashSecret("x")}}))
			}
			return func() *oauthtest.Answer { return direct(change(store(l))) }
		}
	}
	named := func(want string) func(*testing.T, *lab, *oauthtest.Answer) {
		return func(t *testing.T, l *lab, _ *oauthtest.Answer) {
			c, err := store(l).Client(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, want, c.Name)
		}
	}
	create := func(s *oauth.ClientStore) error {
		return s.Create(context.Background(), oauth.Client{ID: id, Name: "new", Public: true})
	}
	rename := func(s *oauth.ClientStore) error {
		_, err := s.Update(context.Background(), id, func(c *oauth.Client) error { c.Name = "other"; return nil })
		return err
	}
	rotate := func(s *oauth.ClientStore) error {
		secret, err := s.RotateSecret(context.Background(), id)
		if (err == nil) != (secret != "") {
			return errors.New("a secret and an error, or neither")
		}
		return err
	}
	erase := func(s *oauth.ClientStore) error { return s.Erase(context.Background(), id) }
	erased := func(t *testing.T, l *lab, _ *oauthtest.Answer) {
		_, err := store(l).Client(t.Context(), id)
		require.ErrorIs(t, err, oauth.ErrNotFound)
	}
	return []occasion{
		{name: "create a client", config: storesClients, direct: true, good: "200", prepare: changes(false, create), then: named("new"),
			lost: func(t *testing.T, l *lab, _ answer) {
				require.ErrorIs(t, create(store(l)), oauth.ErrExists, "which says that it is there")
				named("new")(t, l, nil)
			}},
		{name: "change a client", config: storesClients, direct: true, good: "200", prepare: changes(true, rename), then: named("other"),
			lost: func(t *testing.T, l *lab, send answer) {
				require.Equal(t, "200", result(send()))
				named("other")(t, l, nil)
			}},
		{name: "rotate a client's secret", config: storesClients, direct: true, good: "200", prepare: changes(true, rotate),
			lost: func(t *testing.T, _ *lab, send answer) { require.Equal(t, "200", result(send())) }},
		{name: "erase a client", config: storesClients, direct: true, good: "200", prepare: changes(true, erase), then: erased,
			lost: func(t *testing.T, l *lab, _ answer) {
				require.ErrorIs(t, erase(store(l)), oauth.ErrNotFound)
				erased(t, l, nil)
			}},
		{name: "list the clients", config: storesClients, direct: true, good: "200", prepare: changes(true, func(s *oauth.ClientStore) error {
			for _, err := range s.All(context.Background()) {
				if err != nil {
					return err
				}
			}
			return nil
		})},
	}
}

// storesClients moves the clients into the store of the server.
func storesClients(c *oauth.Config) {
	clients := &oauth.ClientStore{Storage: c.Storage, Realm: c.Realm, Now: c.Now, CacheFor: -1}
	for _, id := range []string{oauthtest.WebClient, oauthtest.SPAClient, oauthtest.MachineClient, oauthtest.APIClient} {
		if err := clients.Create(context.Background(), client(c, id)); err != nil {
			panic(err)
		}
	}
	c.Clients = clients
}

// authorizations are the records of that kind.
func authorizations(t testing.TB, l *lab) []oauth.Record {
	t.Helper()
	return slices.DeleteFunc(l.vault.dump(t), func(r oauth.Record) bool { return r.Kind != oauth.KindAuthorization })
}

// A deafWriter is the connection of a client that is gone.
type deafWriter struct{ http.ResponseWriter }

func (deafWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// The failure matrix, "write response: client gone": the commit was done, and the
// answer does not arrive.
func TestAnswerIsLost(t *testing.T) {
	const web = oauthtest.WebClient
	lost := func(l *lab, form url.Values) {
		handler := l.Handler
		l.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(deafWriter{w}, r) })
		l.Token(web, form)
		l.Handler = handler
	}
	refresh := func(token string) url.Values {
		return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	}
	ended := func(t *testing.T, l *lab) {
		all, err := l.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		require.Empty(t, all)
	}
	t.Run("S344 code: the authorization exists and can be revoked", func(t *testing.T) {
		l := newLab(t)
		lost(l, l.Code(web).Form())
		all, err := l.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		require.Len(t, all, 1)
		n, err := l.Revoke(t.Context(), oauth.Selector{ID: all[0].ID})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		ended(t, l)
	})
	t.Run("S344 code: sent again it is refused, and 3 s later ends what it made", func(t *testing.T) {
		l := newLab(t)
		code := l.Code(web)
		lost(l, code.Form())
		before := l.vault.record(t)
		require.Equal(t, "400 invalid_grant", outcome(l.Token(web, code.Form())))
		require.Equal(t, before, l.vault.record(t))
		l.Clock.Advance(3 * time.Second)
		require.Equal(t, "400 invalid_grant", outcome(l.Token(web, code.Form())))
		ended(t, l)
	})
	t.Run("V021 S344 S329 refresh: sent again it gets the same successor, and nothing is written", func(t *testing.T) {
		l := newLab(t)
		first := l.Redeem(l.Code(web)).String("refresh_token")
		lost(l, refresh(first))
		before := l.vault.record(t)
		l.Clock.Advance(29 * time.Second)
		a, b := l.Refresh(web, first), l.twin.Refresh(web, first)
		require.Equal(t, []int{200, 200}, []int{a.Status, b.Status})
		require.Equal(t, a.String("refresh_token"), b.String("refresh_token"))
		require.Equal(t, before, l.vault.record(t))
		require.Equal(t, "200", outcome(l.Refresh(web, a.String("refresh_token"))))
	})
	t.Run("S344 refresh under NoRetry: the next use later than 2 s is reuse", func(t *testing.T) {
		l := newLab(t, noRetry)
		other := l.Redeem(l.Code(web)).String("refresh_token")
		first := l.Redeem(l.Code(web)).String("refresh_token")
		lost(l, refresh(first))
		l.Clock.Advance(3 * time.Second)
		require.Equal(t, "400 invalid_grant", outcome(l.Refresh(web, first)))
		require.Equal(t, 1, l.count(oauth.EventReuseDetected))
		require.Equal(t, "200", outcome(l.Refresh(web, other)), "S329: the user's other authorizations are untouched")
	})
}

// A lagging store reads from a replica that has not seen the last writes.
type lagging struct {
	oauth.Storage
	seen map[string]oauth.Record // nil: it reads the primary
}

func (s *lagging) Get(ctx context.Context, id string) (oauth.Record, error) {
	if r, ok := s.seen[id]; ok {
		return r, nil
	}
	return s.Storage.Get(ctx, id)
}

// S346: who sets a store up against its contract gets errors, and nothing is spent twice.
func TestStoreThatReadsFromAReplica(t *testing.T) {
	const web = oauthtest.WebClient
	for name, send := range map[string]func(l *lab) answer{
		"code": func(l *lab) answer {
			code := l.Code(web)
			return func() *oauthtest.Answer { return l.Token(web, code.Form()) }
		},
		"refresh": func(l *lab) answer {
			token := l.Redeem(l.Code(web)).String("refresh_token")
			return func() *oauthtest.Answer { return l.Refresh(web, token) }
		},
	} {
		t.Run("S346 a "+name+" that was used", func(t *testing.T) {
			store := new(lagging)
			l := newLab(t, func(c *oauth.Config) { store.Storage, c.Storage = c.Storage, store })
			send := send(l)
			old := l.vault.record(t)
			require.Equal(t, "200", outcome(send()))
			store.seen = map[string]oauth.Record{old.ID: old}
			before := l.vault.record(t)
			a := send()
			require.Equal(t, "503 temporarily_unavailable", outcome(a))
			noCredential(t, a)
			require.Equal(t, before, l.vault.record(t), "the stored version decides")
		})
	}
}
