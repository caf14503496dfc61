package oauth_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/oauthtest"
)

// twoSecrets are two that can be in one list.
func twoSecrets(t testing.TB) (a, b []byte) {
	t.Helper()
	a = oauth.NewSecret()
	return a, besides(a)
}

// besides is a secret that can be in one list with another: one pair in 256
// cannot.
func besides(secret []byte) []byte {
	for {
		b := oauth.NewSecret()
		if _, err := derive.NewRing(oauthtest.Issuer, "", [][]byte{secret, b}); err == nil {
			return b
		}
	}
}

// importsAll adopts every token that begins with "foreign-".
func importsAll(c *oauth.Config) {
	c.Import = func(_ context.Context, _ *oauth.Client, token string) (*oauth.Approval, error) {
		if !strings.HasPrefix(token, "foreign-") {
			return nil, oauth.InvalidGrant
		}
		return &oauth.Approval{Subject: "alice", Scopes: []string{"read"}}, nil
	}
}

// A stock is one credential of every kind, made by one process.
type stock struct {
	code           oauthtest.Code
	page, decided  *page
	refresh        string // newest of its authorization
	before         string // the one before, still in its window
	access, bare   string
	foreign, first string // another server's refresh token, and what it was exchanged for
}

func makeStock(t *testing.T, s *oauthtest.Server, name string) stock {
	const web = oauthtest.WebClient
	k := stock{page: open(t, s, web, nil), decided: open(t, s, web, nil), code: s.Code(web), bare: s.ClientToken(oauthtest.MachineClient, "read"), foreign: "foreign-" + name}
	require.Equal(t, "303 code", result(k.decided.decide(s)))
	issued := s.Redeem(s.Code(web))
	k.before = issued.String("refresh_token")
	second := s.Refresh(web, k.before)
	require.Equal(t, 200, second.Status)
	k.refresh, k.access = second.String("refresh_token"), second.String("access_token")
	adopted := s.Refresh(web, k.foreign)
	require.Equal(t, 200, adopted.Status)
	k.first = adopted.String("refresh_token")
	return k
}

// use uses every credential of the stock at another process.
func (k stock) use(t *testing.T, s *oauthtest.Server) {
	t.Helper()
	const web = oauthtest.WebClient
	for _, token := range []string{k.access, k.bare} {
		_, err := s.VerifyToken(t.Context(), token)
		require.NoError(t, err, "access token")
	}
	again := s.Refresh(web, k.before)
	require.Equal(t, k.refresh, again.String("refresh_token"), "a retry still gets the same successor")
	adopted := s.Refresh(web, k.foreign)
	require.Equal(t, k.first, adopted.String("refresh_token"), "an imported token too")
	require.Equal(t, true, s.Post("/oauth/introspect", web, url.Values{"token": {k.refresh}}).JSON["active"])
	next := s.Refresh(web, k.refresh)
	require.Equal(t, 200, next.Status, "refresh token")
	retried := s.Refresh(web, k.refresh)
	require.Equal(t, next.String("refresh_token"), retried.String("refresh_token"))
	require.Equal(t, 200, s.Token(web, k.code.Form()).Status, "code")
	p := *k.page
	require.Equal(t, "303 code", result(p.decide(s)), "handle")
	first := k.decided.code.Code
	require.Equal(t, "303 code", result(k.decided.decide(s)), "handle, a second time")
	require.Equal(t, first, k.decided.code.Code, "the same code again")
	require.Equal(t, 200, s.Token(web, k.decided.code.Form()).Status)
	for client, token := range map[string]string{web: k.access, oauthtest.MachineClient: k.bare} {
		require.Equal(t, 200, revoke(s, client, token).Status)
		_, err := s.VerifyToken(t.Context(), token)
		require.ErrorIs(t, err, oauth.InvalidToken, "revoked")
	}
	require.Equal(t, 200, revoke(s, web, k.before).Status)
	require.Equal(t, "400 invalid_grant", outcome(s.Refresh(web, next.String("refresh_token"))), "revoked")
}

// Two processes change their secrets one after the other.
func TestRollingChangeOfSecrets(t *testing.T) {
	old, new := twoSecrets(t)
	type list = [][]byte
	steps := []struct {
		name string
		a, b list
	}{
		{"before", list{old}, list{old}},
		{"one knows the new one", list{old, new}, list{old}},
		{"both know it", list{old, new}, list{old, new}},
		{"one uses it", list{new, old}, list{old, new}},
		{"both use it", list{new, old}, list{new, old}},
		{"one has forgotten the old one", list{new}, list{new, old}},
	}
	for name, format := range map[string]oauth.Format{"opaque": oauth.Opaque{}, "JWT": oauth.JWT{InsecureSymmetricKey: oauth.NewSecret()}} {
		t.Run("N012 "+name, func(t *testing.T) {
			l := newLab(t, importsAll, func(c *oauth.Config) { c.AccessToken = format })
			process := func(secrets list) *oauthtest.Server {
				return another(t, l.Server, func(c *oauth.Config) { c.Secrets = secrets })
			}
			var left []stock // what the step before has left, made by each process
			for i, step := range steps {
				a, b := process(step.a), process(step.b)
				t.Run(step.name, func(t *testing.T) {
					makeStock(t, a, fmt.Sprint(i, "-a")).use(t, b)
					makeStock(t, b, fmt.Sprint(i, "-b")).use(t, a)
					for j := range left {
						left[j].use(t, [...]*oauthtest.Server{a, b}[j%2])
					}
					left = []stock{makeStock(t, a, fmt.Sprint(i, "-a-later")), makeStock(t, b, fmt.Sprint(i, "-b-later"))}
				})
			}
			assert.Zero(t, l.count(oauth.EventUnknownSecret))
			assert.Zero(t, l.count(oauth.EventReuseDetected))
			assert.Zero(t, l.count(oauth.EventRecordAltered))
		})
	}
}

// A secret that leaked is taken out at once.
func TestWhatASecretMadeEndsWithIt(t *testing.T) {
	const web = oauthtest.WebClient
	old, new := twoSecrets(t)
	l := newLab(t, importsAll, func(c *oauth.Config) { c.Secrets = [][]byte{old} })
	k := makeStock(t, l.Server, "x")
	s := another(t, l.Server, func(c *oauth.Config) { c.Secrets, c.Import = [][]byte{new}, nil })
	before := l.vault.dump(t)
	t.Run("N012 refresh token", func(t *testing.T) {
		assert.Equal(t, "400 invalid_grant", outcome(s.Refresh(web, k.refresh)))
		assert.Equal(t, 1, l.count(oauth.EventUnknownSecret), "an event")
	})
	t.Run("N012 code", func(t *testing.T) {
		assert.Equal(t, "400 invalid_grant", outcome(s.Token(web, k.code.Form())))
		assert.Equal(t, 2, l.count(oauth.EventUnknownSecret), "an event")
	})
	t.Run("N012 access tokens", func(t *testing.T) {
		for _, token := range []string{k.access, k.bare} {
			_, err := s.VerifyToken(t.Context(), token)
			assert.ErrorIs(t, err, oauth.InvalidToken)
		}
	})
	t.Run("N012 handle", func(t *testing.T) { assert.Equal(t, "400", result(k.page.decide(s))) })
	assert.Equal(t, before, l.vault.dump(t))
}

// S380: the first secret makes what is new.
func TestNewCredentialsUseTheFirstSecret(t *testing.T) {
	old, new := twoSecrets(t)
	s := newServer(t, func(c *oauth.Config) { c.Secrets = [][]byte{old} })
	k := makeStock(t, another(t, s, func(c *oauth.Config) { importsAll(c) }), "x")
	after := another(t, s, func(c *oauth.Config) { c.Secrets = [][]byte{new, old} })
	ring, err := derive.NewRing(oauthtest.Issuer, "", [][]byte{new, old})
	require.NoError(t, err)
	keyID := func(token string) byte {
		b, err := base64.RawURLEncoding.DecodeString(token)
		require.NoError(t, err)
		return b[0]
	}
	for _, token := range []string{k.refresh, k.before, k.access, k.bare, k.code.Code, k.page.handle} {
		require.Equal(t, ring.IDs()[1], keyID(token))
	}
	next := after.Refresh(oauthtest.WebClient, k.refresh)
	redeemed := after.Token(oauthtest.WebClient, k.code.Form())
	for name, token := range map[string]string{
		"S380 successor of an old refresh token": next.String("refresh_token"), "S380 its access token": next.String("access_token"),
		"S380 refresh token for an old code": redeemed.String("refresh_token"), "S380 code": after.Code(oauthtest.WebClient).Code,
		"S380 token of client_credentials": after.ClientToken(oauthtest.MachineClient, "read"), "S380 handle": open(t, after, oauthtest.SPAClient, nil).handle,
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, ring.First(), keyID(token)) })
	}
}

// spread asserts that every bit of the samples is as often 1 as 0, and that no
// two samples begin or end alike: 7 standard deviations.
func spread(t *testing.T, samples [][]byte) {
	t.Helper()
	n := len(samples)
	size := len(slices.MinFunc(samples, func(a, b []byte) int { return len(a) - len(b) }))
	require.GreaterOrEqual(t, size, 16, "128 bits at least")
	starts, ends := map[string]bool{}, map[string]bool{}
	ones := make([]int, size*8)
	total := 0
	for _, s := range samples {
		starts[string(s[:8])], ends[string(s[len(s)-8:])] = true, true
		for i := range size * 8 {
			ones[i] += int(s[i/8] >> (i % 8) & 1)
		}
		for _, b := range s[:size] {
			total += bits.OnesCount8(b)
		}
	}
	require.Len(t, starts, n, "no two begin alike")
	require.Len(t, ends, n, "no two end alike")
	for i, k := range ones {
		require.InDelta(t, n/2, k, 7*math.Sqrt(float64(n))/2, "bit %d", i)
	}
	require.InDelta(t, n*size*4, total, 7*math.Sqrt(float64(n*size*8))/2)
}

// S362: what there is to guess.
func TestEntropy(t *testing.T) {
	const web, n = oauthtest.WebClient, 1000
	s := newServer(t)
	var records, codes, refreshes, access, bare, handles, serials, secrets [][]byte
	raw := func(text string, size int) []byte {
		b, err := base64.RawURLEncoding.DecodeString(text)
		require.NoError(t, err)
		if size > 0 {
			require.Len(t, b, size)
		}
		return b
	}
	take := func(a *oauthtest.Answer) string {
		require.Equal(t, 200, a.Status)
		b := raw(a.String("access_token"), 0)
		access = append(access, b[1:])
		token := a.String("refresh_token")
		require.Len(t, token, 55)
		refreshes = append(refreshes, raw(token, 41)[21:])
		return token
	}
	for range n {
		code := s.Code(web)
		require.Len(t, code.Code, 55)
		b := raw(code.Code, 41)
		records, codes = append(records, b[1:17]), append(codes, b[21:])
		take(s.Token(web, code.Form()))
		token := s.ClientToken(oauthtest.MachineClient, "read")
		bare = append(bare, raw(token, 0)[1:])
		known, err := s.VerifyToken(t.Context(), token)
		require.NoError(t, err)
		serials = append(serials, raw(known.ID, 40)[24:])
		secrets = append(secrets, oauth.NewSecret())
		s.Interact(func(_ http.ResponseWriter, _ *http.Request, in *oauth.Interaction) {
			handles = append(handles, raw(in.Handle(), 0)[1:])
		})
		s.Authorize(web, nil)
		s.Approve("alice")
	}
	for name, samples := range map[string][][]byte{
		"S362 record ids": records, "V011 V012 S362 codes": codes, "S362 refresh tokens": refreshes, "S362 access tokens": access,
		"S362 tokens of client_credentials": bare, "S362 serials": serials, "S362 handles": handles, "S362 NewSecret": secrets,
	} {
		t.Run(name, func(t *testing.T) { require.Len(t, samples, n); spread(t, samples) })
	}
	t.Run("S362 the generations of one authorization", func(t *testing.T) {
		refreshes, access = nil, nil
		token := s.Redeem(s.Code(web)).String("refresh_token")
		for range n {
			token = take(s.Refresh(web, token))
		}
		spread(t, refreshes)
		spread(t, access)
	})
}

// spellings are other texts that a careless decoder takes for this one, and
// shorter and longer ones.
func spellings(text string) []string {
	all := []string{strings.ToUpper(text), strings.ToLower(text), text + text, text + ".", text + ".x", "." + text,
		url.QueryEscape(" ") + text, "Bearer " + text, `"` + text + `"`, text + ",",
		strings.NewReplacer("-", "+", "_", "/").Replace(text), text[:len(text)/2] + "\n" + text[len(text)/2:],
		hex.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text))}
	for _, more := range []string{"A", "AA", "AAAA", "=", "==", " ", "\n", "\r\n", "%3D", "0", "00"} {
		all = append(all, text+more, more+text)
	}
	for i := range len(text) {
		all = append(all, text[:i], text[i+1:])
	}
	for _, at := range []int{len(text) - 1, len(text) - 2, 0} {
		for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=" {
			all = append(all, text[:at]+string(c)+text[at+1:])
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(other string) bool { return other == text || other == "" })
}

func TestOtherSpellings(t *testing.T) {
	const web, machine = oauthtest.WebClient, oauthtest.MachineClient
	for _, c := range []struct {
		name   string
		config func(*oauth.Config)
	}{
		{"V069 S370 opaque", func(*oauth.Config) {}},
		{"S370 with a prefix, in hexadecimal", func(c *oauth.Config) {
			c.AccessToken, c.RefreshToken = oauth.Opaque{Prefix: "gw_at_", Hex: true}, oauth.Opaque{Prefix: "gw_rt_", Hex: true}
		}},
		{"S370 JWT", func(c *oauth.Config) { c.AccessToken = oauth.JWT{InsecureSymmetricKey: oauth.NewSecret()} }},
	} {
		l := newLab(t, c.config)
		code, live := l.Code(web), l.Redeem(l.Code(web))
		refresh, access, bare := live.String("refresh_token"), live.String("access_token"), l.Server.ClientToken(oauthtest.MachineClient, "read")
		waiting := open(t, l.Server, web, nil)
		before := l.vault.dump(t)
		for kind, text := range map[string]string{"access token": access, "token without a record": bare} {
			t.Run(c.name+", "+kind, func(t *testing.T) {
				for i, other := range spellings(text) {
					_, err := l.VerifyToken(t.Context(), other)
					require.ErrorIs(t, err, oauth.InvalidToken, "%q", other)
					if i%7 > 0 { // the endpoints ask the same question
						continue
					}
					require.Equal(t, map[string]any{"active": false}, l.Introspect(other).JSON, "%q", other)
					require.Equal(t, 200, revoke(l.Server, machine, other).Status)
					if !strings.ContainsAny(other, " \r\n") {
						require.Equal(t, "401 invalid_token", outcome(l.Server.Get("/oauth/userinfo", other)), "%q", other)
					}
				}
			})
		}
		t.Run(c.name+", refresh token", func(t *testing.T) {
			for _, other := range spellings(refresh) {
				a := l.Refresh(web, other)
				require.Contains(t, []string{"400 invalid_grant", "400 invalid_request"}, outcome(a), "%q", other)
				require.Equal(t, 200, revoke(l.Server, web, other).Status, "%q", other)
				require.Equal(t, map[string]any{"active": false}, l.Post("/oauth/introspect", web, url.Values{"token": {other}}).JSON)
			}
		})
		t.Run(c.name+", code", func(t *testing.T) {
			for _, other := range spellings(code.Code) {
				require.Contains(t, []string{"400 invalid_grant", "400 invalid_request"},
					outcome(l.Token(web, with(code.Form(), "code", other))), "%q", other)
			}
		})
		t.Run(c.name+", handle", func(t *testing.T) {
			for _, other := range spellings(waiting.handle) {
				p := *waiting
				p.handle = url.QueryEscape(other)
				require.Equal(t, "400", result(p.decide(l.Server)), "%q", other)
			}
		})
		t.Run(c.name+", nothing has changed", func(t *testing.T) {
			require.Equal(t, before, l.vault.dump(t))
			l.lives(t, access, bare)
			require.Equal(t, 200, l.Token(web, code.Form()).Status)
			require.Equal(t, 200, l.Refresh(web, refresh).Status)
			require.Equal(t, "303 code", result(waiting.decide(l.Server)))
			require.Zero(t, l.count(oauth.EventReuseDetected))
		})
	}
}

// N011: a credential of one kind, or of one server, is nothing elsewhere.
func TestNothingIsConfused(t *testing.T) {
	const web = oauthtest.WebClient
	key := oauth.NewSecret()
	for _, c := range []struct {
		name   string
		config func(*oauth.Config)
		other  func(*oauth.Config)
	}{
		{"N011 S384 two issuers, one secret, one store, one realm", func(*oauth.Config) {}, func(c *oauth.Config) { c.Issuer = "https://other.example" }},
		{"N011 S384 two issuers of one host", func(*oauth.Config) {}, func(c *oauth.Config) {
			c.Issuer = oauthtest.Issuer + ":8443"
		}},
		{"N011 S384 two issuers and realms", func(c *oauth.Config) { c.Realm = "a" }, func(c *oauth.Config) {
			c.Issuer, c.Realm = "https://other.example", "b"
		}},
		{"N011 S384 two issuers that sign with one key", func(c *oauth.Config) { c.AccessToken = oauth.JWT{InsecureSymmetricKey: key} },
			func(c *oauth.Config) { c.Issuer = "https://other.example" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, c.config, importsAll)
			b := another(t, l.Server, c.other)
			k := makeStock(t, l.Server, "x")
			before := l.vault.dump(t, l.Config.Realm)
			assert.Equal(t, "400 invalid_grant", outcome(b.Refresh(web, k.refresh)))
			assert.Equal(t, "400 invalid_grant", outcome(b.Token(web, k.code.Form())))
			for _, token := range []string{k.access, k.bare} {
				_, err := b.VerifyToken(t.Context(), token)
				assert.ErrorIs(t, err, oauth.InvalidToken)
				assert.Equal(t, "401 invalid_token", outcome(b.Get("/oauth/userinfo", token)))
				assert.Equal(t, map[string]any{"active": false}, b.Introspect(token).JSON)
			}
			for client, token := range map[string]string{web: k.access, oauthtest.MachineClient: k.bare} {
				assert.Equal(t, 200, revoke(b, client, token).Status)
			}
			assert.Equal(t, 200, revoke(b, web, k.refresh).Status)
			p := *k.page
			assert.Equal(t, "400", result(p.decide(b)), "handle")
			assert.Equal(t, before, l.vault.dump(t, l.Config.Realm), "nothing has changed")
			k.use(t, l.Server)
		})
	}
	t.Run("N011 one issuer, two realms", func(t *testing.T) {
		l := newLab(t, importsAll, func(c *oauth.Config) { c.Realm = "a" })
		b := another(t, l.Server, func(c *oauth.Config) { c.Realm = "b" })
		k := makeStock(t, l.Server, "x")
		before := l.vault.dump(t, "a")
		assert.Equal(t, "400 invalid_grant", outcome(b.Refresh(web, k.refresh)))
		assert.Equal(t, "400 invalid_grant", outcome(b.Token(web, k.code.Form())))
		_, err := b.VerifyToken(t.Context(), k.access)
		assert.ErrorIs(t, err, oauth.InvalidToken)
		for _, r := range before {
			for _, selector := range []oauth.Selector{{Subject: "alice"}, {ClientID: web}, {ID: r.ID}, {ID: r.ID, Erase: true}} {
				n, err := b.Revoke(t.Context(), selector)
				assert.NoError(t, err)
				assert.Zero(t, n, "%+v", selector)
			}
		}
		assert.Equal(t, before, l.vault.dump(t, "a"), "nothing has changed")
		k.use(t, l.Server)
	})
}

// N011: one kind of credential presented as another.
func TestKindsAreNotConfused(t *testing.T) {
	const web = oauthtest.WebClient
	l := newLab(t)
	waiting := open(t, l.Server, web, nil)
	code, issued := l.Code(web), l.Redeem(l.Code(web))
	bare := l.Server.ClientToken(oauthtest.MachineClient, "read")
	token, err := l.VerifyToken(t.Context(), issued.String("access_token"))
	require.NoError(t, err)
	// A refresh token may be revoked and introspected as what it is, an access token used.
	kinds := map[string]string{
		"code": code.Code, "refresh token": issued.String("refresh_token"), "access token": issued.String("access_token"),
		"access token of a client": bare, "handle": waiting.handle, "jti": token.ID, "record id": token.AuthorizationID,
		"cookie": waiting.cookie.Value, "client secret": oauthtest.Secret, "verifier": code.Verifier,
	}
	before := l.vault.dump(t)
	for kind, text := range kinds {
		t.Run("N011 "+kind, func(t *testing.T) {
			b := burglar{l.Server, oauthtest.Code{Client: web, Code: "x", RedirectURI: code.RedirectURI, Verifier: code.Verifier}, waiting}
			var want []string
			switch kind {
			case "code":
				return // used below, as what it is
			case "refresh token", "handle":
				return
			case "access token":
				want = []string{"access token", "access token in process", "access token at userinfo"}
			case "access token of a client": // at userinfo it has no user
				want = []string{"access token", "access token in process"}
			case "client secret":
				want = []string{"secret of " + web, "secret of " + oauthtest.MachineClient, "secret of " + oauthtest.APIClient}
			}
			assert.Equal(t, want, b.accepted(text))
			assert.Equal(t, before, l.vault.dump(t))
		})
	}
	for _, c := range []struct {
		name string
		send func() *oauthtest.Answer
	}{
		{"refresh token as code", func() *oauthtest.Answer {
			return l.Token(web, with(code.Form(), "code", issued.String("refresh_token")))
		}},
		{"code as refresh token", func() *oauthtest.Answer { return l.Refresh(web, code.Code) }},
		{"handle as refresh token", func() *oauthtest.Answer { return l.Refresh(web, waiting.handle) }},
		{"handle as code", func() *oauthtest.Answer { return l.Token(web, with(code.Form(), "code", waiting.handle)) }},
		{"code as access token", func() *oauthtest.Answer { return l.Server.Get("/oauth/userinfo", code.Code) }},
		{"refresh token as access token", func() *oauthtest.Answer { return l.Server.Get("/oauth/userinfo", issued.String("refresh_token")) }},
		{"handle as access token", func() *oauthtest.Answer { return l.Server.Get("/oauth/userinfo", waiting.handle) }},
		{"code as handle", func() *oauthtest.Answer { p := *waiting; p.handle = code.Code; return p.decide(l.Server) }},
	} {
		t.Run("N011 "+c.name, func(t *testing.T) {
			a := c.send()
			assert.Contains(t, []string{"400 invalid_grant", "401 invalid_token", "400"}, result(a))
			assert.Equal(t, before, l.vault.dump(t))
		})
	}
	t.Run("N011 a code is no token to revoke or introspect", func(t *testing.T) {
		require.Equal(t, 200, revoke(l.Server, web, code.Code).Status)
		require.Equal(t, map[string]any{"active": false}, l.Post("/oauth/introspect", web, url.Values{"token": {code.Code}}).JSON)
		require.Equal(t, before, l.vault.dump(t))
	})
	l.Clock.Advance(time.Second)
	require.Equal(t, 200, l.Token(web, code.Form()).Status)
	require.Equal(t, 200, l.Refresh(web, issued.String("refresh_token")).Status)
	require.Equal(t, "303 code", result(waiting.decide(l.Server)))
}
