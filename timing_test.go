package oauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"encoding/base64"
	"flag"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/htmlform"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/pages"
)

// pairs is for make timing.
var pairs = flag.Int("pairs", 2_000, "pairs of requests for each BenchmarkTiming; a hundredth of them where a hash is slow")

// A contest is two kinds of requests that get the same answer: does the time tell them
// apart? It measures them in pairs, either one first by chance, so that whatever else
// the machine does meets both.
type contest struct {
	http.Handler
	status      int // of both
	left, right func() *http.Request
}

// run reports what n pairs say.
//
//	ns-median   how long the left one takes: the middle of all
//	ns-diff     left less right: the middle of the differences of the pairs
//	ns-low/high that middle lies between them with a probability of 99.9 %
//	%-diff      ns-diff as a part of ns-median
//	t           Welch's t of the two means, without the slowest tenth of all
//
// Read it so: t below 4.5 says nothing; BenchmarkTimingControl shows what this machine
// makes of nothing. Beyond that there is a difference, and ns-diff says how much of one:
// the more pairs, the smaller are those that t finds. The store is in memory, so a look
// at it that only one of the two takes is some hundred nanoseconds here, and with a
// database the whole way there and back.
func (c contest) run(b *testing.B, n int) {
	for _, request := range []func() *http.Request{c.left, c.right} {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, request())
		require.Equal(b, c.status, w.Code, w.Body)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // between the pairs, not within
	for b.Loop() {
		left, right := make([]float64, n), make([]float64, n)
		c.pairs(left[:min(n, 500)], right[:min(n, 500)]) // the first are slower
		c.pairs(left, right)
		report(b, left, right)
	}
}

func (c contest) pairs(left, right []float64) {
	for i := range left {
		if i%256 == 0 {
			runtime.GC()
		}
		l, r := c.left(), c.right()
		if rand.IntN(2) == 0 {
			left[i] = c.time(l)
			right[i] = c.time(r)
		} else {
			right[i] = c.time(r)
			left[i] = c.time(l)
		}
	}
}

func (c contest) time(r *http.Request) float64 {
	w := &forgetful{http.Header{}, http.StatusOK}
	began := time.Now()
	c.ServeHTTP(w, r)
	return float64(time.Since(began))
}

func report(b *testing.B, left, right []float64) {
	n := len(left)
	diffs := make([]float64, n)
	for i := range diffs {
		diffs[i] = left[i] - right[i]
	}
	slices.Sort(diffs)
	// The middle of a distribution is above the k-th of n samples as often as k of n
	// coins show heads: whatever the distribution is.
	reach := int(math.Ceil(3.29 * math.Sqrt(float64(n)) / 2))
	for unit, value := range map[string]float64{
		"ns/op": 0, "t": tOfMeans(left, right), "ns-median": median(left), "ns-diff": diffs[n/2],
		"ns-low": diffs[max(0, n/2-reach)], "ns-high": diffs[min(n-1, n/2+reach)], "%-diff": 100 * diffs[n/2] / median(left),
	} {
		b.ReportMetric(value, unit)
	}
}

// tOfMeans is Welch's t, without the slowest tenth of both together, which is that of
// the machine.
func tOfMeans(left, right []float64) float64 {
	limit := slices.Sorted(slices.Values(slices.Concat(left, right)))[len(left)*2*9/10]
	moments := func(all []float64) (n, mean, variance float64) {
		for _, x := range all {
			if x <= limit {
				n++
				d := x - mean
				mean += d / n
				variance += d * (x - mean)
			}
		}
		return n, mean, variance / (n - 1)
	}
	n1, mean1, v1 := moments(left)
	n2, mean2, v2 := moments(right)
	return (mean1 - mean2) / math.Sqrt(v1/n1+v2/n2)
}

// plain is a server as a host has it, without what the kit keeps of every request, and
// the kit's on the same store and secrets.
func plain(b *testing.B, edits ...func(*oauth.Config)) (http.Handler, *oauthtest.Server) {
	var store oauth.Storage
	kit := newServer(b, append(edits, func(c *oauth.Config) {
		store = newStorage(b, c.Now)
		c.Storage = oauthtest.NewFaulty(store)
		if stored, is := c.Clients.(*oauth.ClientStore); is {
			stored.Storage = store
		}
	})...)
	cfg := kit.Config
	cfg.Storage, cfg.Events, cfg.Guards, cfg.Logger = store, nil, nil, slog.New(slog.DiscardHandler)
	srv, err := oauth.New(cfg)
	require.NoError(b, err)
	return srv.Handler(), kit
}

// formTo is a request with a form, of a client that authenticates if it has a secret.
func formTo(path, client, secret string, form url.Values) func() *http.Request {
	if secret == "" && client != "" {
		form.Set("client_id", client)
	}
	body := form.Encode()
	return func() *http.Request {
		r := nobody(body)
		r.URL.Path = path
		if secret != "" {
			r.SetBasicAuth(client, secret)
		}
		return r
	}
}

// bent is a credential with one bit of the byte at that place, from the end if it is
// negative, turned over.
func bent(b *testing.B, credential string, at int) string {
	raw, err := base64.RawURLEncoding.DecodeString(credential)
	require.NoError(b, err)
	if at < 0 {
		at += len(raw)
	}
	raw[at] ^= 1
	return base64.RawURLEncoding.EncodeToString(raw)
}

const (
	tokenPath      = "/oauth/token"
	introspectPath = "/oauth/introspect"
	macBegins      = 1 + 16 + 4 // of a code or a refresh token: key id, record, generation
)

// A request against itself: what the measure makes of nothing, and against one with
// some more work: that it finds something.
func BenchmarkTimingControl(b *testing.B) {
	h, _ := plain(b)
	wrong := formTo(tokenPath, oauthtest.MachineClient, "wrong", machineForm())
	b.Run("the same", func(b *testing.B) { contest{h, 401, wrong, wrong}.run(b, *pairs) })
	long := formTo(tokenPath, oauthtest.MachineClient, strings.Repeat("wrong", 100), machineForm())
	b.Run("500 bytes and 5", func(b *testing.B) { contest{h, 401, long, wrong}.run(b, *pairs) })
}

// A client that there is not, and a wrong secret of one that there is; or one that was
// disabled.
func BenchmarkTimingUnknownClient(b *testing.B) {
	slow, err := bcrypt.GenerateFromPassword([]byte(oauthtest.Secret), bcrypt.DefaultCost)
	require.NoError(b, err)
	fast := oauth.HashSecret(oauthtest.Secret)
	for _, c := range []struct {
		name, hash       string
		stored, disabled bool
		pairs            int
	}{
		{"sha256", fast, false, false, *pairs},
		{"sha256 disabled", fast, false, true, *pairs},
		{"sha256 stored", fast, true, false, *pairs},
		{"sha256 stored disabled", fast, true, true, *pairs},
		{"bcrypt", string(slow), false, false, max(2, *pairs/100)},
		{"argon2id", argon2id(oauthtest.Secret, 19456, 2), false, false, max(2, *pairs/100)},
	} {
		b.Run(c.name, func(b *testing.B) {
			client := machine(oauthtest.MachineClient, c.hash)
			client.Disabled = c.disabled
			stored := new(oauth.ClientStore)
			h, _ := plain(b, func(cfg *oauth.Config) {
				cfg.Clients = oauth.StaticClients(client)
				if c.stored {
					stored.Now, cfg.Clients = cfg.Now, stored
				}
			})
			if c.stored {
				require.NoError(b, stored.Create(b.Context(), client))
			}
			contest{h, 401, formTo(tokenPath, "nobody!", "wrong", machineForm()), formTo(tokenPath, oauthtest.MachineClient, "wrong", machineForm())}.run(b, c.pairs)
		})
	}
}

// A wrong secret that begins like the right one, and one that does not.
func BenchmarkTimingSecret(b *testing.B) {
	h, _ := plain(b)
	near := oauthtest.Secret[:len(oauthtest.Secret)-1] + "!"
	far := "!" + oauthtest.Secret[1:]
	contest{h, 401, formTo(tokenPath, oauthtest.MachineClient, near, machineForm()), formTo(tokenPath, oauthtest.MachineClient, far, machineForm())}.run(b, *pairs)
}

// A code, a refresh token, an access token or a handle whose first byte under the MAC
// is wrong, and one where it is the last.
func BenchmarkTimingMAC(b *testing.B) {
	h, kit := plain(b)
	code := kit.Code(oauthtest.SPAClient)
	redeem := func(at int) func() *http.Request {
		c := code
		c.Code = bent(b, code.Code, at)
		return formTo(tokenPath, oauthtest.SPAClient, "", c.Form())
	}
	b.Run("code", func(b *testing.B) { contest{h, 400, redeem(macBegins), redeem(-1)}.run(b, *pairs) })

	tokens := kit.Redeem(kit.Code(oauthtest.SPAClient))
	refresh := func(at int) func() *http.Request {
		return formTo(tokenPath, oauthtest.SPAClient, "", url.Values{"grant_type": {"refresh_token"},
			"refresh_token": {bent(b, tokens.String("refresh_token"), at)}})
	}
	b.Run("refresh token", func(b *testing.B) { contest{h, 400, refresh(macBegins), refresh(-1)}.run(b, *pairs) })

	userinfo := func(at int) func() *http.Request {
		token := bent(b, tokens.String("access_token"), at)
		return func() *http.Request {
			r := httptest.NewRequest(http.MethodGet, oauthtest.Issuer+"/oauth/userinfo", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			return r
		}
	}
	b.Run("access token", func(b *testing.B) { contest{h, 401, userinfo(-16), userinfo(-1)}.run(b, *pairs) })
	b.Run("access token sealed part", func(b *testing.B) { contest{h, 401, userinfo(1 + 24), userinfo(-1)}.run(b, *pairs) })

	var handle string
	kit.Interact(func(_ http.ResponseWriter, _ *http.Request, in *oauth.Interaction) { handle = in.Handle() })
	kit.Do(asking(oauthtest.SPAClient, ""))
	open := func(at int) func() *http.Request {
		to := oauthtest.Issuer + "/oauth/authorize?interaction=" + bent(b, handle, at)
		return func() *http.Request { return httptest.NewRequest(http.MethodGet, to, nil) }
	}
	b.Run("handle", func(b *testing.B) { contest{h, 400, open(-16), open(-1)}.run(b, *pairs) })
}

// What introspection says is not active: a token that nobody issued, and a live one of
// another client. Who asks has the token, so this one tells him nothing that an API
// would not; the figure is what the look at the store costs.
func BenchmarkTimingIntrospection(b *testing.B) {
	h, kit := plain(b)
	tokens := kit.Redeem(kit.Code(oauthtest.SPAClient))
	for _, kind := range []string{"access_token", "refresh_token"} {
		ask := func(token string) func() *http.Request {
			return formTo(introspectPath, oauthtest.WebClient, oauthtest.Secret, url.Values{"token": {token}})
		}
		live := tokens.String(kind)
		b.Run(strings.ReplaceAll(kind, "_", " "), func(b *testing.B) {
			contest{h, 200, ask(bent(b, live, -1)), ask(live)}.run(b, *pairs)
		})
	}
}

// The login page for a name that there is and one that there is not, where the host's
// Login takes as long for both.
func BenchmarkTimingLogin(b *testing.B) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	h, _ := plain(b, func(c *oauth.Config) {
		p, err := pages.New(pages.Config{Issuer: c.Issuer, Secrets: c.Secrets, Now: func() time.Time { return now },
			Login: func(_ context.Context, name, password string) (*pages.User, error) {
				if name == "alice" && password == oauthtest.Secret {
					return &pages.User{Subject: name}, nil
				}
				return nil, nil
			}})
		require.NoError(b, err)
		c.Interact = p.Interact
	})
	handle, cookie := loginPage(b, h)
	in := func(name string) func() *http.Request {
		return func() *http.Request {
			now = now.Add(2 * time.Minute) // or the tenth is refused
			return formPost(handle, cookie, name, "wrong")
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, formPost(handle, cookie, "alice", oauthtest.Secret))
	require.Equal(b, 303, w.Code, "alice there is")
	contest{h, 403, in("mallo"), in("alice")}.run(b, *pairs)
}

// An assertion of a client that there is not, and a badly signed one of one that there
// is: the signature is looked at only with a key.
func BenchmarkTimingAssertion(b *testing.B) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	require.NoError(b, err)
	key := jose.JSONWebKey{Key: private, KeyID: "k", Algorithm: "ES256"}
	h, kit := plain(b, signing(oauth.Client{JWKS: publicJWKS(b, key)}))
	ask := func(client string) func() *http.Request {
		text := signed(b, key, "", claimsOf(kit, map[string]any{"iss": client, "sub": client}))
		at := strings.LastIndexByte(text, '.') + 1
		return formTo(tokenPath, "", "", asserted(text[:at]+bent(b, text[at:], -1), machineGrant))
	}
	contest{h, 401, ask("nobody"), ask(signer)}.run(b, *pairs)
}

// loginPage opens the page that a good authorization request meets.
func loginPage(t testing.TB, h http.Handler) (handle string, cookie *http.Cookie) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, asking(oauthtest.SPAClient, ""))
	require.Equal(t, 200, w.Code)
	require.Len(t, w.Result().Cookies(), 1)
	for _, f := range htmlform.Parse(w.Body.String()) {
		for _, field := range f.Fields {
			if field.Name == "interaction" {
				handle = field.Value
			}
		}
	}
	require.NotEmpty(t, handle)
	return handle, w.Result().Cookies()[0]
}

// formPost is what a browser sends from that page.
func formPost(handle string, cookie *http.Cookie, name, password string) *http.Request {
	body := url.Values{"interaction": {handle}, "username": {name}, "password": {password}}.Encode()
	r := httptest.NewRequest(http.MethodPost, oauthtest.Issuer+"/oauth/authorize", strings.NewReader(body))
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.AddCookie(cookie)
	return r
}

func median(all []float64) float64 { return slices.Sorted(slices.Values(all))[len(all)/2] }
