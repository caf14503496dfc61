package oauth_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

const month = 30 * 24 * time.Hour

// asker is a host that asks only where nothing is remembered.
type asker struct {
	*oauthtest.Server
	mu      sync.Mutex
	asked   int
	failed  error
	subject string
	allow   []string // nil: everything
	keep    time.Duration
	session string
}

func newAsker(t *testing.T, edits ...func(*oauth.Config)) *asker {
	a := &asker{subject: "alice", keep: month}
	a.Server = newServer(t, append([]func(*oauth.Config){resources}, edits...)...)
	a.Interact(a.answer)
	return a
}

func (a *asker) answer(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
	ok, err := in.Remembered(r.Context(), a.subject)
	a.mu.Lock()
	a.failed = err
	ap := oauth.Approval{Subject: a.subject, Scopes: in.Scopes(), Session: a.session}
	if !ok {
		a.asked++
		ap.Remember = a.keep
		if a.allow != nil {
			ap.Scopes = a.allow
		}
	}
	a.mu.Unlock()
	in.Approve(w, r, ap)
}

// open is a request of the client's that waits for its decision.
func (a *asker) open(t *testing.T, client string, params url.Values) *page {
	t.Helper()
	p := open(t, a.Server, client, params)
	a.Interact(a.answer)
	return p
}

// question sends a request and reports whether the resource owner was asked.
func (a *asker) question(t *testing.T, client string, params url.Values) bool {
	t.Helper()
	before := a.asked
	_, code := a.Authorize(client, params)
	require.NotEmpty(t, code.Code)
	return a.asked > before
}

func scope(names string) url.Values { return url.Values{"scope": {names}} }

// records are those of a kind in the store.
func (a *asker) records(t *testing.T, kind oauth.Kind) (all []oauth.Record) {
	t.Helper()
	for r, err := range a.Store.List(t.Context(), oauth.Filter{Kind: kind}) {
		require.NoError(t, err)
		all = append(all, r)
	}
	return all
}

func TestRememberedConsent(t *testing.T) {
	const web, spa = oauthtest.WebClient, oauthtest.SPAClient
	t.Run("is asked for once", func(t *testing.T) {
		a := newAsker(t)
		require.True(t, a.question(t, web, scope("read")))
		require.False(t, a.question(t, web, scope("read")))
		require.Len(t, a.records(t, oauth.KindAuthorization), 2, "every approval is its own authorization")
		consents := a.records(t, oauth.KindConsent)
		require.Len(t, consents, 1)
		assert.Equal(t, "alice", consents[0].Subject)
		assert.Equal(t, web, consents[0].ClientID)
		assert.NotContains(t, consents[0].ID, "alice")
	})
	t.Run("is not written where nobody asked for that", func(t *testing.T) {
		a := newAsker(t)
		a.keep = 0
		require.True(t, a.question(t, web, scope("read")))
		require.True(t, a.question(t, web, scope("read")))
		require.Empty(t, a.records(t, oauth.KindConsent))
	})
	t.Run("holds for the host that the answer goes to", func(t *testing.T) {
		a := newAsker(t, func(c *oauth.Config) {
			app := client(c, web)
			app.RedirectURIs = []string{"https://client.example/one", "https://client.example:8443/two", "https://other.example/one"}
			c.Clients = oauth.StaticClients(app)
		})
		to := func(uri string) url.Values { return url.Values{"scope": {"read"}, "redirect_uri": {uri}} }
		require.True(t, a.question(t, web, to("https://client.example/one")))
		require.False(t, a.question(t, web, to("https://client.example:8443/two")))
		require.True(t, a.question(t, web, to("https://other.example/one")))
		require.False(t, a.question(t, web, to("https://client.example/one")))
		require.Len(t, a.records(t, oauth.KindConsent), 2)
	})
	t.Run("covers fewer scopes and not more", func(t *testing.T) {
		a := newAsker(t)
		require.True(t, a.question(t, web, scope("read")))
		require.True(t, a.question(t, web, scope("read write")))
		require.False(t, a.question(t, web, scope("read write")))
		require.False(t, a.question(t, web, scope("write")))
		require.False(t, a.question(t, web, scope("read")))
	})
	t.Run("adds up, and what was asked for and declined is out", func(t *testing.T) {
		a := newAsker(t)
		require.True(t, a.question(t, web, scope("read")))
		require.True(t, a.question(t, web, scope("write")))
		require.False(t, a.question(t, web, scope("read write")))
		a.keep = 0
		_, err := a.Revoke(t.Context(), oauth.Selector{Subject: "alice"})
		require.NoError(t, err)
		a.keep, a.allow = month, []string{"read"}
		require.True(t, a.question(t, web, scope("read write")))
		require.True(t, a.question(t, web, scope("read write")), "write was declined")
		require.False(t, a.question(t, web, scope("read")))
	})
	t.Run("what was declined later is out, though it was remembered", func(t *testing.T) {
		a := newAsker(t, func(c *oauth.Config) {
			c.Scopes = append(slices.Clone(c.Scopes), oauth.Scope{Name: "extra"})
			app := client(c, web)
			app.Scopes = append(slices.Clone(app.Scopes), "extra")
			c.Clients = oauth.StaticClients(app)
		})
		require.True(t, a.question(t, web, scope("read write")))
		a.allow = []string{"read", "extra"}
		require.True(t, a.question(t, web, scope("read write extra")))
		a.allow = nil
		require.True(t, a.question(t, web, scope("write")))
	})
	t.Run("is for each resource", func(t *testing.T) {
		a := newAsker(t)
		api, other := url.Values{"scope": {"read"}, "resource": {"https://api.example"}}, url.Values{"scope": {"read"}, "resource": {"https://other.example"}}
		require.True(t, a.question(t, web, api))
		require.False(t, a.question(t, web, api))
		require.True(t, a.question(t, web, other))
		require.False(t, a.question(t, web, other))
	})
	t.Run("is not for the server itself where it was for a resource", func(t *testing.T) {
		a := newAsker(t)
		require.True(t, a.question(t, web, url.Values{"scope": {"read"}, "resource": {"https://api.example"}}))
		require.True(t, a.question(t, web, scope("read")))
		require.False(t, a.question(t, web, scope("read")))
		require.False(t, a.question(t, web, url.Values{"scope": {"read"}, "resource": {oauthtest.Issuer}}), "the same by name")
	})
	t.Run("a scope allowed at one resource is not allowed at another", func(t *testing.T) {
		a := newAsker(t)
		require.True(t, a.question(t, web, url.Values{"scope": {"read"}, "resource": {"https://api.example"}}))
		require.True(t, a.question(t, web, url.Values{"scope": {"write"}, "resource": {"https://other.example"}}))
		require.True(t, a.question(t, web, url.Values{"scope": {"write"}, "resource": {"https://api.example"}}))
		both := url.Values{"scope": {"read write"}, "resource": {"https://api.example", "https://other.example"}}
		require.True(t, a.question(t, web, both))
		require.False(t, a.question(t, web, url.Values{"scope": {"write"}, "resource": {"https://api.example"}}), "within one answer all of it was")
	})
	t.Run("is not made longer by an answer about other scopes", func(t *testing.T) {
		a := newAsker(t)
		require.True(t, a.question(t, web, scope("read")))
		a.Clock.Advance(month - time.Hour)
		require.True(t, a.question(t, web, scope("write")))
		require.False(t, a.question(t, web, scope("read write")))
		a.Clock.Advance(time.Hour)
		require.True(t, a.question(t, web, scope("read")))
	})
	t.Run("is for one subject and one client", func(t *testing.T) {
		a := newAsker(t)
		require.True(t, a.question(t, web, scope("read")))
		require.True(t, a.question(t, spa, scope("read")))
		a.subject = "bob"
		require.True(t, a.question(t, web, scope("read")))
		a.subject = "alice"
		require.False(t, a.question(t, web, scope("read")))
	})
	t.Run("ends at its time", func(t *testing.T) {
		a := newAsker(t)
		require.True(t, a.question(t, web, scope("read")))
		a.Clock.Advance(month - time.Second)
		require.False(t, a.question(t, web, scope("read")))
		a.Clock.Advance(time.Second)
		require.True(t, a.question(t, web, scope("read")))
		require.False(t, a.question(t, web, scope("read")))
		a.Clock.Advance(month + time.Hour)
		_, err := a.DeleteExpired(t.Context(), 100)
		require.NoError(t, err)
		require.Empty(t, a.records(t, oauth.KindConsent))
		require.True(t, a.question(t, web, scope("read")))
	})
	t.Run("RFC 8252 8.6 what was remembered ends where the client turns out to be public", func(t *testing.T) {
		app := oauth.Client{ID: web, Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, RedirectURIs: []string{"com.example.app:/cb"}, Scopes: []string{"read"}}
		registry := changing{web: &app}
		a := newAsker(t, func(c *oauth.Config) { c.Clients = registry })
		at := url.Values{"scope": {"read"}, "redirect_uri": app.RedirectURIs}
		require.True(t, a.question(t, web, at))
		require.False(t, a.question(t, web, at))
		public := app
		public.Public, public.Secrets = true, nil
		registry[web] = &public
		require.True(t, a.question(t, web, at))
	})
	t.Run("RFC 8252 8.6 never for a public client on the device", func(t *testing.T) {
		for _, uri := range []string{"http://127.0.0.1:7777/cb", "com.example.app:/cb"} {
			a := newAsker(t, func(c *oauth.Config) {
				c.Clients = oauth.StaticClients(
					oauth.Client{ID: "app", Public: true, RedirectURIs: []string{uri}, Scopes: []string{"read"}},
					oauth.Client{ID: web, Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, RedirectURIs: []string{uri}, Scopes: []string{"read"}})
			})
			at := url.Values{"scope": {"read"}, "redirect_uri": {uri}}
			require.True(t, a.question(t, "app", at))
			require.True(t, a.question(t, "app", at), uri)
			require.Empty(t, a.records(t, oauth.KindConsent))
			require.True(t, a.question(t, web, at))
			require.False(t, a.question(t, web, at), "a confidential one proves who it is")
		}
	})
	t.Run("a Remember out of bounds is the host's mistake", func(t *testing.T) {
		for _, d := range []time.Duration{-1, 3661 * 24 * time.Hour} {
			a := newAsker(t)
			a.keep = d
			answer, code := a.Authorize(web, scope("read"))
			require.Empty(t, code.Code)
			require.Contains(t, answer.Header.Get("Location"), "error=server_error")
			require.Empty(t, a.records(t, ""))
		}
	})
}

func TestRememberedConsentIsListedAndRevoked(t *testing.T) {
	const web = oauthtest.WebClient
	for name, sel := range map[string]func(id string) oauth.Selector{
		"subject":            func(string) oauth.Selector { return oauth.Selector{Subject: "alice"} },
		"client":             func(string) oauth.Selector { return oauth.Selector{ClientID: web} },
		"subject and client": func(string) oauth.Selector { return oauth.Selector{Subject: "alice", ClientID: web} },
		"ID":                 func(id string) oauth.Selector { return oauth.Selector{ID: id} },
		"erase":              func(string) oauth.Selector { return oauth.Selector{Subject: "alice", Erase: true} },
	} {
		t.Run("by "+name, func(t *testing.T) {
			a := newAsker(t)
			require.True(t, a.question(t, web, scope("read write")))
			listed, err := a.Authorizations(t.Context(), "alice")
			require.NoError(t, err)
			require.Len(t, listed, 2)
			consent := listed[1]
			require.Equal(t, oauth.KindAuthorization, listed[0].Kind)
			require.Equal(t, oauth.KindConsent, consent.Kind)
			assert.Equal(t, web, consent.ClientID)
			assert.Equal(t, []string{"read", "write"}, consent.Scopes)
			assert.Empty(t, consent.GrantType)
			assert.Equal(t, a.Clock.Now().Add(month), consent.EndsAt)

			n, err := a.Revoke(t.Context(), sel(consent.ID))
			require.NoError(t, err)
			require.Equal(t, map[bool]int{true: 1, false: 2}[name == "ID"], n)
			for _, r := range a.records(t, oauth.KindConsent) {
				assert.Empty(t, r.Subject, "nothing is kept of it")
				assert.Empty(t, r.Data)
			}
			n, err = a.Revoke(t.Context(), sel(consent.ID))
			require.NoError(t, err)
			require.Zero(t, n, "once")
			require.True(t, a.question(t, web, scope("read write")), "asked again")
			require.False(t, a.question(t, web, scope("read write")), "and remembered again, in the same record")
			require.Len(t, a.records(t, oauth.KindConsent), 1)
		})
	}
	t.Run("a session has none", func(t *testing.T) {
		a := newAsker(t)
		a.session = "s1"
		require.True(t, a.question(t, web, scope("read")))
		n, err := a.Revoke(t.Context(), oauth.Selector{Subject: "alice", Session: "s1"})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.False(t, a.question(t, web, scope("read")), "signing out forgets no consent")
	})
}

func TestRememberedConsentIsNoCredential(t *testing.T) {
	const web = oauthtest.WebClient
	a := newAsker(t)
	require.True(t, a.question(t, web, scope("read")))
	consent := a.records(t, oauth.KindConsent)[0]
	edit := func(from, to string) oauth.Record {
		r := consent
		require.Equal(t, 1, strings.Count(string(r.Data), from))
		r.Data = []byte(strings.Replace(string(r.Data), from, to, 1))
		return r
	}
	longer := consent
	longer.ExpiresAt = consent.ExpiresAt.Add(month)
	for name, edited := range map[string]oauth.Record{
		"N007 scopes":      edit(`"read"`, `"read","write"`),
		"N007 end":         edit(`"end":1`, `"end":2`),
		"N007 the subject": func() oauth.Record { r := consent; r.Subject = "bob"; return r }(),
		"N007 no mac":      edit(`,"mac":"`, `,"m":"`),
	} {
		t.Run(name, func(t *testing.T) {
			b := newAsker(t, func(c *oauth.Config) { c.Secrets = a.Config.Secrets })
			require.NoError(t, b.Store.Create(t.Context(), edited))
			require.True(t, b.question(t, web, scope("read")))
			require.NotEmpty(t, b.Events(oauth.EventRecordAltered))
			require.False(t, b.question(t, web, scope("read")), "written anew")
		})
	}
	t.Run("N007 the row's expiry alone", func(t *testing.T) {
		b := newAsker(t, func(c *oauth.Config) { c.Secrets = a.Config.Secrets })
		require.NoError(t, b.Store.Create(t.Context(), longer))
		require.False(t, b.question(t, web, scope("read")))
		b.Clock.Advance(month)
		require.True(t, b.question(t, web, scope("read")))
	})
	t.Run("copied to another client's ID", func(t *testing.T) {
		b := newAsker(t, func(c *oauth.Config) { c.Secrets = a.Config.Secrets })
		require.True(t, b.question(t, oauthtest.SPAClient, scope("read")))
		own := b.records(t, oauth.KindConsent)[0]
		own.Data = consent.Data
		require.NoError(t, b.Store.Update(t.Context(), own))
		require.True(t, b.question(t, oauthtest.SPAClient, scope("read")))
	})
	t.Run("another issuer on the same store asks for itself", func(t *testing.T) {
		b := newAsker(t, func(c *oauth.Config) {
			c.Secrets, c.Issuer, c.Storage = a.Config.Secrets, "https://other.example", a.Store
		})
		require.True(t, b.question(t, web, scope("read")))
		require.False(t, a.question(t, web, scope("read")))
	})
}

func TestRememberedConsentWhenTheStoreFails(t *testing.T) {
	const web = oauthtest.WebClient
	fail := func(method string, kinds ...string) func(oauthtest.StoreCall) oauthtest.Fault {
		return func(c oauthtest.StoreCall) oauthtest.Fault {
			if c.Method == method && strings.HasPrefix(c.ID, "r_") {
				return oauthtest.FailBefore
			}
			return oauthtest.NoFault
		}
	}
	t.Run("reading it is an error for the host", func(t *testing.T) {
		a := newAsker(t)
		a.Store.Fail(fail("Get"))
		a.Authorize(web, scope("read"))
		require.ErrorIs(t, a.failed, oauthtest.ErrFault)
	})
	t.Run("without its write the user is asked again", func(t *testing.T) {
		a := newAsker(t)
		p := a.open(t, web, scope("read"))
		a.Store.Fail(fail("Create"))
		require.Equal(t, "303 code", result(p.decide(a.Server)))
		require.Len(t, a.Events(oauth.EventStorageFailed), 1)
		a.Store.Fail(nil)
		require.True(t, a.question(t, web, scope("read")))
		require.False(t, a.question(t, web, scope("read")))
	})
	t.Run("an approval that is refused is not remembered", func(t *testing.T) {
		a := newAsker(t)
		p := a.open(t, web, scope("read write"))
		require.Equal(t, "303 code", result(p.decide(a.Server)))
		_, err := a.Revoke(t.Context(), oauth.Selector{Subject: "alice"})
		require.NoError(t, err)
		a.allow = []string{"read"}
		require.Equal(t, "400", result(p.decide(a.Server)), "the back button")
		require.True(t, a.question(t, web, scope("read")))
	})
	t.Run("two at once agree", func(t *testing.T) {
		a := newAsker(t)
		pages := make([]*page, 8)
		for i := range pages {
			pages[i] = a.open(t, web, scope([]string{"read", "write"}[i%2]))
		}
		require.Equal(t, map[string]int{"303": 8}, tally(volley(8, func(i int) *oauthtest.Answer { return pages[i].decide(a.Server) })))
		require.False(t, a.question(t, web, scope("read write")))
	})
}
