package oauth_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
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

// posts are the endpoints that read a form, each with a client that may use it.
var posts = map[string]string{
	"/oauth/token": oauthtest.MachineClient, "/oauth/revoke": oauthtest.WebClient,
	"/oauth/introspect": oauthtest.APIClient, "/oauth/authorize": "", "/oauth/userinfo": "",
}

// S124: the wire holds the headers and the members of every error against the case;
// here is at least one error of each endpoint and status for it to look at.
func TestErrorAnswers(t *testing.T) {
	w := newWire(t, withClients(oauth.Client{ID: "odd", Secrets: []string{oauth.HashSecret("x")}, Grants: []string{}}))
	web := basic(oauthtest.WebClient, oauthtest.Secret)
	for _, c := range []struct {
		name, method, path, body string
		auth                     func(*http.Request)
		want                     string
	}{
		{"token, no grant_type", "POST", "/oauth/token", "x=%27%3B+DROP+TABLE+records%3B--", web, "400 invalid_request"},
		{"token, markup for a grant", "POST", "/oauth/token", "grant_type=%3Cscript%3Ealert(1)%3C/script%3E", web, "400 unsupported_grant_type"},
		{"token, a wrong secret", "POST", "/oauth/token", "grant_type=client_credentials", basic(oauthtest.WebClient, "wrong"), "401 invalid_client"},
		{"token, no grant allowed", "POST", "/oauth/token", "grant_type=client_credentials", basic("odd", "x"), "400 unauthorized_client"},
		{"token, no code", "POST", "/oauth/token", "grant_type=authorization_code&code=x&redirect_uri=x&code_verifier=x", web, "400 invalid_grant"},
		{"token, no refresh token", "POST", "/oauth/token", "grant_type=refresh_token&refresh_token=%27or%271", web, "400 invalid_grant"},
		{"token, a scope", "POST", "/oauth/token", "grant_type=client_credentials&scope=root", basic(oauthtest.MachineClient, oauthtest.Secret), "400 invalid_scope"},
		{"token, DELETE", "DELETE", "/oauth/token", "", web, "405 invalid_request"},
		{"token, too long", "POST", "/oauth/token", strings.Repeat("x", 70_000), web, "413 invalid_request"},
		{"revoke, no token", "POST", "/oauth/revoke", "", web, "400 invalid_request"},
		{"revoke, nobody", "POST", "/oauth/revoke", "token=x", header("X-None", "x"), "401 invalid_client"},
		{"introspect, nobody", "POST", "/oauth/introspect", "token=x", header("X-None", "x"), "401 invalid_client"},
		{"userinfo, no token there is", "GET", "/oauth/userinfo", "", header("Authorization", "Bearer x"), "401 invalid_token"},
	} {
		t.Run("S124 "+c.name, func(t *testing.T) {
			before := len(w.Store.Methods())
			a := w.send(c.method, c.path, formType, c.body, c.auth)
			require.Equal(t, c.want, outcome(a), string(a.Body))
			assert.NotContains(t, string(a.Body), "<script")
			assert.NotContains(t, string(a.Body), "DROP")
			for _, m := range w.Store.Methods()[before:] {
				assert.Contains(t, []string{"Get", "List"}, m, "an error stores nothing")
			}
		})
	}
}

// S278: what authenticates one kind of client does nothing for another.
func TestSecretAndKeyExchanged(t *testing.T) {
	es := esKey(t, "1")
	set := publicJWKS(t, es)
	w := newWire(t, withClients(
		oauth.Client{ID: signer, JWKS: set, Grants: []string{"client_credentials"}, Scopes: []string{"read"}},
		oauth.Client{ID: "secretly", Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, Grants: []string{"client_credentials"}, Scopes: []string{"read"}},
	))
	of := func(id string) map[string]any { return claimsOf(w.Server, map[string]any{"iss": id, "sub": id}) }
	send := func(form url.Values, edits ...func(*http.Request)) string {
		return outcome(w.send("POST", "/oauth/token", formType, changed(machineForm(), form).Encode(), edits...))
	}
	for name, form := range map[string]url.Values{
		"HS256 with the secret, of the client with a secret":   asserted(handmade(`{"alg":"HS256"}`, of("secretly"), hs256([]byte(oauthtest.Secret))), nil),
		"HS256 with its hash":                                  asserted(handmade(`{"alg":"HS256"}`, of("secretly"), hs256([]byte(oauth.HashSecret(oauthtest.Secret)))), nil),
		"HS256 with another's secret, of the client with keys": asserted(handmade(`{"alg":"HS256","kid":"1"}`, of(signer), hs256([]byte(oauthtest.Secret))), nil),
		"HS256 with nothing":                                   asserted(handmade(`{"alg":"HS256"}`, of(signer), hs256(nil)), nil),
		"a key, of the client with a secret":                   asserted(signed(t, es, "", of("secretly")), nil),
		"the public keys as a secret":                          inBody(signer, string(set)),
		"a secret, of the client with keys":                    inBody(signer, oauthtest.Secret),
		"an assertion as a secret":                             inBody(signer, signed(t, es, "", of(signer))),
		"an assertion as the secret of the other":              inBody("secretly", signed(t, es, "", of("secretly"))),
		"no secret, of the client with keys":                   {"client_id": {signer}},
		"an empty secret, of the client with keys":             inBody(signer, ""),
	} {
		t.Run("S278 "+name, func(t *testing.T) { assert.Equal(t, "401 invalid_client", send(form)) })
	}
	t.Run("S278 a secret by Basic, of the client with keys", func(t *testing.T) {
		assert.Equal(t, "401 invalid_client", send(nil, basic(signer, oauthtest.Secret)))
	})
	t.Run("S278 each by its own, as control", func(t *testing.T) {
		assert.Equal(t, "200", send(asserted(signed(t, es, "", of(signer)), nil)))
		assert.Equal(t, "200", send(inBody("secretly", oauthtest.Secret)))
	})
}

// S327: a request sees one version of a client, never a part of each.
func TestClientChangesUnderLoad(t *testing.T) {
	t.Run("S327 redirect URI and scope change together", func(t *testing.T) {
		clients := oauth.StoredClients(newStorage(t, nil))
		const one, two = "https://one.example/cb", "https://two.example/cb"
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "c", Public: true, RedirectURIs: []string{one}, Scopes: []string{"read"}}))
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "gone", Public: true, RedirectURIs: []string{one}, Scopes: []string{"read"}}))
		s := newWire(t, func(c *oauth.Config) { c.Clients = clients })
		ask := func(id, redirect, scope string) string {
			a, code := s.Authorize(id, url.Values{"redirect_uri": {redirect}, "scope": {scope}})
			if code.Code != "" {
				return "code"
			}
			_, params := a.Location()
			return fmt.Sprint(a.Status, params.Get("error"))
		}
		require.Equal(t, []string{"code", "code"}, []string{ask("c", one, "read"), ask("gone", one, "read")})
		changes, done := make(chan struct{}), sync.WaitGroup{}
		for range 4 {
			done.Go(func() {
				for {
					select {
					case <-changes:
						return
					default:
					}
					assert.Contains(t, []string{"code", "400"}, ask("c", one, "read"))
					assert.Contains(t, []string{"code", "400"}, ask("c", two, "write"))
					assert.Contains(t, []string{"400", "303invalid_scope"}, ask("c", one, "write"))
					assert.Contains(t, []string{"400", "303invalid_scope"}, ask("c", two, "read"))
					assert.Contains(t, []string{"code", "400"}, ask("gone", one, "read"))
				}
			})
		}
		for i := range 40 {
			_, err := clients.Update(t.Context(), "c", func(c *oauth.Client) error {
				c.RedirectURIs, c.Scopes = []string{one}, []string{"read"}
				if i%2 == 0 {
					c.RedirectURIs, c.Scopes = []string{two}, []string{"write"}
				}
				return nil
			})
			assert.NoError(t, err)
			if i == 20 {
				assert.NoError(t, clients.Erase(t.Context(), "gone"))
			}
		}
		close(changes)
		done.Wait()
		assert.Equal(t, "code", ask("c", one, "read"))
		assert.Equal(t, "400", ask("gone", one, "read"))
	})
}

// S328: all endpoints at once, on one server. The race detector looks on, and each
// goroutine holds its own session against what it must be.
func TestMixedLoad(t *testing.T) {
	w := newWire(t)
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	session := func(i int) {
		client := []string{oauthtest.SPAClient, oauthtest.WebClient}[i%2]
		_, code := w.Authorize(client, url.Values{"scope": {"read"}})
		a := w.Token(client, code.Form())
		assert.Equal(t, "200", outcome(a))
		next := w.Refresh(client, a.String("refresh_token"))
		assert.Equal(t, "200", outcome(next))
		assert.Equal(t, next.String("refresh_token"), w.Refresh(client, a.String("refresh_token")).String("refresh_token"))
		access := next.String("access_token")
		assert.Equal(t, true, w.Introspect(access).JSON["active"])
		assert.Equal(t, "alice", w.userinfo(access).JSON["sub"])
		assert.Equal(t, "200", outcome(w.asClient(nil, basic(oauthtest.MachineClient, oauthtest.Secret))))
		assert.Equal(t, "401 invalid_client", outcome(w.asClient(nil, basic(oauthtest.MachineClient, "wrong-secret-of-somebody"))))
		assert.Equal(t, 200, w.Do(httptest.NewRequest("GET", "/.well-known/oauth-authorization-server", nil)).Status)
		assert.Equal(t, 200, w.Post("/oauth/revoke", client, url.Values{"token": {next.String("refresh_token")}}).Status)
		assert.Equal(t, false, w.Introspect(access).JSON["active"])
		assert.Equal(t, "400 invalid_grant", outcome(w.Refresh(client, next.String("refresh_token"))))
	}
	t.Run("S328 every endpoint, sweeps and listings", func(t *testing.T) {
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for range rounds {
					session(i)
				}
			})
		}
		all.Go(func() {
			for range rounds {
				_, err := w.DeleteExpired(context.Background(), 100)
				assert.NoError(t, err)
				_, err = w.Authorizations(context.Background(), "alice")
				assert.NoError(t, err)
			}
		})
		all.Wait()
	})
}

// allocated is how many bytes f allocates, and how many of them are there afterwards.
func allocated(f func()) (total, kept int64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc), int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

func TestManyFields(t *testing.T) {
	var long strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&long, "k%05d&", i)
	}
	short := strings.Repeat("a&", 30_000)
	var pairs strings.Builder
	for i := range 5_000 {
		fmt.Fprintf(&pairs, "%d=1&", i)
	}
	w := newWire(t)
	for path, client := range posts {
		t.Run("S348 V118 "+path, func(t *testing.T) {
			for _, body := range []string{long.String(), short, pairs.String()} {
				r := httptest.NewRequest("POST", w.Config.Issuer+path, strings.NewReader(body))
				r.Header.Set("Content-Type", formType)
				if client != "" {
					r.SetBasicAuth(client, oauthtest.Secret)
				}
				var status int
				rec := httptest.NewRecorder()
				total, _ := allocated(func() {
					w.Server.Server.Handler().ServeHTTP(rec, r)
					status = rec.Code
				})
				assert.Contains(t, []int{400, 401, 413}, status, "%d bytes", len(body))
				assert.Less(t, total, int64(10<<20), "%d bytes", len(body))
				auth := basic(client, oauthtest.Secret)
				if client == "" {
					auth = header("X-None", "x")
				}
				assert.Equal(t, status, w.send("POST", path, formType, body, auth).Status)
			}
			assert.Empty(t, w.Store.Methods())
		})
	}
}

func TestManyHeaders(t *testing.T) {
	s := newServer(t)
	t.Run("S349 V119 at a server whose header bytes are limited", func(t *testing.T) {
		server := httptest.NewUnstartedServer(s.Handler)
		server.Config.MaxHeaderBytes = 64 << 10
		server.Start()
		defer server.Close()
		for _, value := range []string{strings.Repeat("a=;", 100<<10/3), "x=" + strings.Repeat("y", 100<<10)} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/oauth/authorize?"+az(), nil)
			require.NoError(t, err)
			r.Header.Set("Cookie", value)
			resp, err := http.DefaultTransport.RoundTrip(r)
			require.NoError(t, err)
			assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
			require.NoError(t, resp.Body.Close())
		}
	})
	t.Run("S349 V119 the handler alone: they change nothing", func(t *testing.T) {
		w := watch(t)
		for _, n := range []int{1_000, 34_000} {
			r := w.request(az())
			r.Header.Set("Cookie", strings.Repeat("a=;", n))
			for range 1000 {
				r.Header.Add("X-Odd", "x")
			}
			var a *oauthtest.Answer
			total, _ := allocated(func() { a = w.exchange(w.Handler, r, 0) })
			w.code(a, backP+"?")
			assert.Less(t, total, int64(16<<20))
		}
	})
}

// S350: who never decides leaves nothing behind.
func TestAuthorizeFlood(t *testing.T) {
	n := 5_000
	if testing.Short() {
		n = 500
	}
	s := newServer(t, caseClients, quiet)
	s.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		http.Redirect(rw, r, "/login?interaction="+in.Handle(), http.StatusSeeOther)
	})
	send := func(query string) int {
		rec := httptest.NewRecorder()
		s.Handler.ServeHTTP(rec, httptest.NewRequest("GET", "/oauth/authorize?"+query, nil))
		return rec.Code
	}
	for name, c := range map[string]struct {
		query func() string
		want  int
	}{
		"of good requests":      {func() string { return az("state=" + rand.Text()) }, 303},
		"of unknown clients":    {func() string { return az("client_id=" + rand.Text()) }, 400},
		"of other redirects":    {func() string { return az("redirect_uri=https://evil.example/" + rand.Text()) }, 400},
		"of handles of no one":  {func() string { return "interaction=" + rand.Text() }, 400},
		"of unknown parameters": {func() string { return az("+" + rand.Text() + "=x") }, 303},
	} {
		t.Run("S350 V117 "+name, func(t *testing.T) {
			w := watch(t, quiet)
			require.Equal(t, c.want, w.exchange(w.Handler, w.request(c.query()), 0).Status)
			require.Equal(t, c.want, send(c.query()))
			_, kept := allocated(func() {
				for range n {
					send(c.query())
				}
			})
			assert.Empty(t, s.Store.Methods(), "nothing is stored, nor looked for")
			assert.Less(t, kept, int64(2<<20), "%d requests", n)
		})
	}
}

// S354: a sweep deletes what it was told to, and those who live notice nothing.
func TestSweepUnderLoad(t *testing.T) {
	t.Run("S354 batches are bounded, refreshes go on", func(t *testing.T) {
		const client, dead, batch = oauthtest.SPAClient, 300, 20
		s := newWire(t)
		for range dead {
			s.Redeem(s.Code(client))
		}
		s.Clock.Advance(181 * 24 * time.Hour)
		token := s.Redeem(s.Code(client)).String("refresh_token")
		stop, deleted := make(chan struct{}), 0
		var load sync.WaitGroup
		load.Go(func() {
			for {
				a := s.Refresh(client, token)
				if !assert.Equal(t, "200", outcome(a)) {
					return
				}
				token = a.String("refresh_token")
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		for {
			n, err := s.DeleteExpired(t.Context(), batch)
			if !assert.NoError(t, err) || !assert.LessOrEqual(t, n, batch) || n == 0 {
				break
			}
			deleted += n
		}
		close(stop)
		load.Wait()
		wantSwept(t, dead, deleted)
		assert.Equal(t, "200", outcome(s.Refresh(client, token)))
	})
}

// What has just expired may be alive by another process's clock: it stays a minute.
func TestSweepLeavesAMinute(t *testing.T) {
	s := newWire(t)
	s.Code(oauthtest.SPAClient)
	s.Clock.Advance(time.Hour + time.Minute) // its handle, and with it the record, ended a minute ago
	n, err := s.DeleteExpired(t.Context(), 10)
	require.NoError(t, err)
	require.Zero(t, n)
	s.Clock.Advance(time.Millisecond)
	n, err = s.DeleteExpired(t.Context(), 10)
	require.NoError(t, err)
	wantSwept(t, 1, n)
}

// S358: redirect URIs are compared as text, whatever a pattern would make of them.
func TestPathologicalURIs(t *testing.T) {
	bad := "https://app.example/" + strings.Repeat("(a+)+", 300) + strings.Repeat(".*", 300) + "%5B%5E"
	star := "https://app.example/cb/*"
	w := watch(t, func(c *oauth.Config) {
		c.Clients = oauth.StaticClients(
			oauth.Client{ID: caseP, Public: true, Scopes: []string{"read"}, RedirectURIs: []string{bad}},
			oauth.Client{ID: "star", Public: true, Scopes: []string{"read"}, RedirectURIs: []string{star}})
	})
	ask := func(client, uri string) *oauthtest.Answer {
		return w.get(az("client_id="+client, "redirect_uri="+url.QueryEscape(uri)))
	}
	t.Run("S358 itself, byte for byte", func(t *testing.T) {
		w := w.on(t)
		w.code(ask(caseP, bad), bad+"?")
		w.code(ask("star", star), star+"?")
	})
	for name, uri := range map[string]string{
		"many a":           "https://app.example/" + strings.Repeat("a", 3000) + "!",
		"what it matches":  "https://app.example/" + strings.Repeat("a", 300) + strings.Repeat("x", 300) + "[",
		"one byte shorter": bad[:len(bad)-1],
		"anything":         ".*", "another glob": "https://*.example/*", "a class": "https://app.example/[a-z]+",
	} {
		t.Run("S358 refused: "+name, func(t *testing.T) {
			a := ask(caseP, uri)
			assert.Equal(t, 400, a.Status)
			assert.Empty(t, a.Header["Location"])
		})
	}
	t.Run("S358 a star is a star", func(t *testing.T) {
		for _, uri := range []string{"https://app.example/cb/x", "https://app.example/cb/", "https://app.example/cb", star + "x"} {
			a := ask("star", uri)
			assert.Equal(t, 400, a.Status, uri)
			assert.Empty(t, a.Header["Location"])
		}
	})
}

// near are a secret and others that share its first bytes.
func near() (secret string, others map[int]string) {
	secret = "s3cr3t-0123456789-abcdefghij-KLM"
	others = map[int]string{}
	for _, n := range []int{0, 8, 31} {
		others[n] = secret[:n] + strings.Repeat("_", len(secret)-n) // a character that a form leaves as it is
	}
	return secret, others
}

// S368, V054: what is compared is a digest, so that the time of the comparison, were
// it not constant, would tell nothing of a secret's first bytes.
func TestSecretsAreComparedAsDigests(t *testing.T) {
	secret, others := near()
	hash := oauth.HashSecret(secret)
	w := newWire(t, withClients(machine("timed", hash)))
	for n, other := range others {
		t.Run(fmt.Sprintf("S368 V054 %d bytes in common", n), func(t *testing.T) {
			there := oauth.HashSecret(other)
			same := 0
			for i := len("sha256$"); i < len(hash) && hash[i] == there[i]; i++ {
				same++
			}
			assert.Less(t, same, 4, "a prefix in common is none of the hashes")
			wantError(t, w.asClient(inBody("timed", other)), 401, oauth.InvalidClient)
			wantError(t, w.asClient(inBody("timed", hash)), 401, oauth.InvalidClient)
		})
	}
	wantOK(t, w.asClient(inBody("timed", secret)))
}

// BenchmarkSecretPrefix reports Welch's t between the times of wrong secrets that share
// nothing and 8 or 31 bytes with the right one, and as a control between two halves of
// those that share nothing. On a quiet machine all of them are alike.
func BenchmarkSecretPrefix(b *testing.B) {
	secret, others := near()
	s := newServer(b, quiet, withClients(machine("timed", oauth.HashSecret(secret))))
	shared := []int{0, 0, 8, 31}
	times := make([][]float64, len(shared))
	for b.Loop() {
		i := mathrand.N(len(shared))
		form := changed(machineForm(), inBody("timed", others[shared[i]])).Encode()
		r := httptest.NewRequest("POST", "/oauth/token", bytes.NewBufferString(form))
		r.Header.Set("Content-Type", formType)
		rec := httptest.NewRecorder()
		start := time.Now()
		s.Handler.ServeHTTP(rec, r)
		times[i] = append(times[i], float64(time.Since(start)))
		if rec.Code != 401 {
			b.Fatal(rec.Code)
		}
	}
	if len(times[3]) < 100 {
		return
	}
	for i, name := range []string{"", "t(control)", "t(8)", "t(31)"} {
		if i > 0 {
			b.ReportMetric(welch(times[0], times[i]), name)
		}
	}
}

// welch is the t of two samples, without the slowest tenth of each: the collector's.
func welch(a, b []float64) float64 {
	moments := func(x []float64) (mean, variance float64) {
		slices.Sort(x)
		x = x[:len(x)*9/10]
		for _, v := range x {
			mean += v / float64(len(x))
		}
		for _, v := range x {
			variance += (v - mean) * (v - mean) / float64(len(x)-1)
		}
		return mean, variance / float64(len(x))
	}
	ma, va := moments(a)
	mb, vb := moments(b)
	return math.Abs(ma-mb) / math.Sqrt(va+vb)
}
