package oauth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/keystore"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/pages"
	"github.com/grantwell/oauth/resource"
)

// These two are for make abuse.
var (
	flood   = flag.Int("flood", 0, "distinct client ids that TestAbuseFloods sends; 0: 16,000")
	heapDir = flag.String("heaps", "", "directory for heap profiles of before and after TestAbuseFloods")
)

// floods are how many distinct client ids each endpoint gets, and how many requests of
// every other kind.
func floods() (ids, some int) {
	switch {
	case *flood > 0:
		return *flood / 4, *flood / 40
	case faultRounds != raceRounds || testing.Short(): // a store that is slower than memory
		return 500, 100
	}
	return 8_000, 500
}

// A usage is what is in use when everything that can be freed is freed.
type usage struct {
	bytes, objects int64
	goroutines     int
	packages       map[string]int64 // bytes that the code of each of our packages has allocated
}

func inUse() usage {
	for range 3 { // sync.Pool gives up what it has at the second, a heap profile is complete after it
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{int64(m.HeapAlloc), int64(m.HeapObjects), runtime.NumGoroutine(), heapByPackage()}
}

// heapByPackage reads the heap profile: the last of our functions on a stack counts.
func heapByPackage() map[string]int64 {
	records := make([]runtime.MemProfileRecord, 1<<12)
	n, ok := runtime.MemProfile(records, false)
	for ; !ok; n, ok = runtime.MemProfile(records, false) {
		records = make([]runtime.MemProfileRecord, 2*n)
	}
	all := map[string]int64{}
	for _, r := range records[:n] {
		size := float64(r.AllocBytes) / float64(r.AllocObjects)
		// A sample stands for so many: runtime/pprof scales them so too.
		scale := 1 / (1 - math.Exp(-size/float64(runtime.MemProfileRate)))
		frames := runtime.CallersFrames(r.Stack())
		for f, more := frames.Next(); ; f, more = frames.Next() {
			if name := packageOf(f.Function); (name == house || strings.HasPrefix(name, house+"/")) && name != house+"/oauthtest" {
				all[name] += int64(float64(r.InUseBytes()) * scale)
				break
			}
			if !more {
				break
			}
		}
	}
	return all
}

func packageOf(function string) string {
	function, _, _ = strings.Cut(function, "[")
	slash := strings.LastIndexByte(function, '/') + 1
	name, _, _ := strings.Cut(function[slash:], ".")
	return function[:slash] + name
}

// sampled lets the heap profile see one of 4 KiB while the test runs: by default it is
// one of 512.
func sampled(t *testing.T) {
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 4 << 10
	t.Cleanup(func() { runtime.MemProfileRate = rate })
}

// writeProfile is for those who want to look at a heap themselves.
func writeProfile(t *testing.T, name string) {
	if *heapDir == "" {
		return
	}
	inUse()
	var b bytes.Buffer
	require.NoError(t, pprof.WriteHeapProfile(&b))
	require.NoError(t, os.WriteFile(filepath.Join(*heapDir, name), b.Bytes(), 0o600))
}

// maxGrowth is in bytes, for a whole flood: a table of what it named would have many
// times as much.
const maxGrowth = 256 << 10

// wantNoGrowth holds what is in use against what was before n requests.
func wantNoGrowth(t *testing.T, before usage, n int) {
	t.Helper()
	after := inUse()
	assert.Less(t, after.bytes-before.bytes, int64(maxGrowth), "bytes of the heap")
	assert.Less(t, after.objects-before.objects, int64(max(1000, n/4)), "objects of the heap")
	assert.LessOrEqual(t, after.goroutines, before.goroutines, "goroutines are left")
	for name, bytes := range after.packages {
		assert.Less(t, bytes-before.packages[name], int64(maxGrowth), "bytes of %s", name)
	}
	t.Logf("%d requests: %d bytes, %d objects", n, after.bytes-before.bytes, after.objects-before.objects)
}

// nobody is a request to the token endpoint by whoever wants.
func nobody(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, oauthtest.Issuer+"/oauth/token", strings.NewReader(body))
	r.Header.Set("Content-Type", formType)
	return r
}

// asking is a good authorization request of this client, with more parameters.
func asking(client, more string) *http.Request {
	return httptest.NewRequest(http.MethodGet, oauthtest.Issuer+"/oauth/authorize?response_type=code&client_id="+url.QueryEscape(client)+
		"&redirect_uri="+url.QueryEscape(oauthtest.Callback)+"&scope=read&state=xyz&code_challenge="+rfcChallenge+"&code_challenge_method=S256"+more, nil)
}

// A target is a server whose store counts its writes, without the records that the
// kit keeps of everything.
type target struct {
	http.Handler
	kit   *oauthtest.Server // with the same secrets, on another store
	store *countedStore
	vault *vault
}

type countedStore struct {
	oauth.Storage
	writes, reads atomic.Int64
}

func (s *countedStore) Get(ctx context.Context, id string) (oauth.Record, error) {
	s.reads.Add(1)
	return s.Storage.Get(ctx, id)
}

func (s *countedStore) Create(ctx context.Context, r oauth.Record) error {
	s.writes.Add(1)
	return s.Storage.Create(ctx, r)
}

func (s *countedStore) Update(ctx context.Context, r oauth.Record) error {
	s.writes.Add(1)
	return s.Storage.Update(ctx, r)
}

func newTarget(t *testing.T, edits ...func(*oauth.Config)) *target {
	t.Helper()
	s := newServer(t)
	v := newVault(t, s.Config.Now)
	target := &target{kit: s, vault: v, store: &countedStore{Storage: v}}
	cfg := s.Config
	cfg.Storage, cfg.Events, cfg.Guards, cfg.Logger = target.store, nil, nil, slog.New(slog.DiscardHandler)
	cfg.Interact = func(http.ResponseWriter, *http.Request, *oauth.Interaction) {} // the user looks at the page, for ever
	for _, edit := range edits {
		edit(&cfg)
	}
	srv, err := oauth.New(cfg)
	require.NoError(t, err)
	target.Handler = srv.Handler()
	return target
}

// forgetful is a ResponseWriter that keeps the status.
type forgetful struct {
	header http.Header
	status int
}

func (w *forgetful) Header() http.Header         { return w.header }
func (w *forgetful) Write(p []byte) (int, error) { return len(p), nil }
func (w *forgetful) WriteHeader(status int)      { w.status = status }

// pour sends requests from to to, and returns how often each status came.
func pour(h http.Handler, from, to int, request func(i int) *http.Request) map[int]int {
	statuses := map[int]int{}
	for i := from; i < to; i++ {
		w := &forgetful{http.Header{}, http.StatusOK}
		h.ServeHTTP(w, request(i))
		statuses[w.status]++
	}
	return statuses
}

// A wave is one kind of flood.
type wave struct {
	name     string
	n        int
	statuses []int // that may be answered
	request  func(i int) *http.Request
	warm     int // requests before the flood, that fill what is filled once; 0: a tenth
}

// over sends the flood and asserts that nothing is left of it.
func (f wave) over(t *testing.T, s *target) {
	if f.warm == 0 {
		f.warm = f.n / 10
	}
	pour(s, f.n, f.n+f.warm, f.request)
	writes, before := s.store.writes.Load(), inUse()
	for status := range pour(s, 0, f.n, f.request) {
		assert.Contains(t, f.statuses, status)
	}
	wantNoGrowth(t, before, f.n)
	assert.Equal(t, writes, s.store.writes.Load(), "an unauthenticated request writes nothing")
}

// nobodys is the name of a client that there is not.
func nobodys(i int) string { return "client-of-nobody-" + strconv.Itoa(i) }

// withBasic is a request of whoever says that he is a client.
func withBasic(r *http.Request, id, secret string) *http.Request {
	r.SetBasicAuth(id, secret)
	return r
}

func withBearer(path, token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, oauthtest.Issuer+path, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// nobodyAt is nobody, at another endpoint.
func nobodyAt(path, body string) *http.Request {
	r := nobody(body)
	r.URL.Path = path
	return r
}

// idWaves are as many requests as many clients that there are not, at each of the two
// endpoints.
func idWaves(n int) []wave {
	return []wave{
		{name: "client ids at the authorization endpoint", n: n, statuses: []int{400}, request: func(i int) *http.Request { return asking(nobodys(2*i), "") }},
		{name: "client ids at the token endpoint", n: n, statuses: []int{401}, request: func(i int) *http.Request {
			return withBasic(nobody("grant_type=client_credentials"), nobodys(2*i+1), "secret")
		}},
	}
}

// credentialWaves are made-up credentials of all kinds, some of which look like those
// of the server: with the number of its secret, and an authorization that there is not.
func credentialWaves(t *testing.T, s *target, n int) []wave {
	code := s.kit.Code(oauthtest.SPAClient)
	refresh := s.kit.RefreshToken("alice")
	shaped := func(like string, i int) string {
		raw, err := base64.RawURLEncoding.DecodeString(like)
		require.NoError(t, err)
		binary.BigEndian.PutUint64(raw[1:], uint64(i))
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	junk := func(i int) string { return fmt.Sprintf("A%054d", i) }
	redeem := func(text string) *http.Request {
		c := code
		c.Code = text
		form := c.Form()
		form.Set("client_id", oauthtest.SPAClient)
		return nobody(form.Encode())
	}
	rotate := func(text string) *http.Request {
		return nobody("client_id=spa&grant_type=refresh_token&refresh_token=" + text)
	}
	bad, no := []int{400}, []int{401}
	return []wave{
		{name: "codes", n: n, statuses: bad, request: func(i int) *http.Request { return redeem(junk(i)) }},
		{name: "codes that look right", n: n, statuses: bad, request: func(i int) *http.Request { return redeem(shaped(code.Code, i)) }},
		{name: "refresh tokens", n: n, statuses: bad, request: func(i int) *http.Request { return rotate(junk(i)) }},
		{name: "refresh tokens that look right", n: n, statuses: bad, request: func(i int) *http.Request { return rotate(shaped(refresh, i)) }},
		{name: "refresh tokens of any length", n: n, statuses: bad, request: func(i int) *http.Request { return rotate(strings.Repeat("A", i%5000+1)) }},
		{name: "tokens to revoke, of a public client", n: n, statuses: []int{200}, request: func(i int) *http.Request {
			return nobodyAt("/oauth/revoke", "client_id=spa&token="+shaped(refresh, i))
		}},
		{name: "tokens to introspect", n: n, statuses: no, request: func(i int) *http.Request {
			return nobodyAt("/oauth/introspect", "client_id=spa&token="+shaped(refresh, i))
		}},
		{name: "secrets of a client", n: n, statuses: no, request: func(i int) *http.Request {
			return withBasic(nobody("grant_type=client_credentials"), oauthtest.MachineClient, "guess"+strconv.Itoa(i))
		}},
		{name: "access tokens", n: n, statuses: no, request: func(i int) *http.Request { return withBearer("/oauth/userinfo", junk(i)) }},
		{name: "handles of interactions", n: n, statuses: bad, request: func(i int) *http.Request {
			return httptest.NewRequest(http.MethodGet, oauthtest.Issuer+"/oauth/authorize?interaction="+junk(i), nil)
		}},
	}
}

// bodyWaves are requests that are none, and one that is good, but that nobody decides.
func bodyWaves(n int) []wave {
	var many strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&many, "&p%d=%d", i, i)
	}
	return []wave{
		{name: "good authorization requests that nobody decides", n: n, statuses: []int{200}, request: func(i int) *http.Request {
			return asking(oauthtest.SPAClient, "&nonce="+strconv.Itoa(i))
		}},
		{name: "bodies that are no form", n: n, statuses: []int{400}, request: func(i int) *http.Request {
			return nobody(strings.Repeat(strconv.Itoa(i)+"%zz\x00&=;", 20))
		}},
		{name: "bodies that are too large", n: n / 20, statuses: []int{413}, request: func(i int) *http.Request { return nobody(strings.Repeat("a=b&", 1<<15) + strconv.Itoa(i)) }},
		{name: "many parameters in a form", n: n / 20, statuses: []int{400, 401}, request: func(int) *http.Request { return nobody("client_id=spa&grant_type=x" + many.String()) }},
		{name: "many parameters in a query", n: n / 20, statuses: []int{303, 400, 414}, request: func(int) *http.Request { return asking(oauthtest.SPAClient, many.String()) }},
	}
}

// Whoever cannot authenticate costs no memory that stays, no goroutine and no write.
func TestAbuseFloods(t *testing.T) {
	sampled(t)
	ids, some := floods()
	s := newTarget(t)
	waves := append(append(idWaves(ids), credentialWaves(t, s, some)...), bodyWaves(some)...)
	for _, f := range waves { // what there is only once
		pour(s, 0, f.n/100, f.request)
	}
	stored := s.vault.dump(t)
	writeProfile(t, "before.pb.gz")
	for _, f := range waves {
		t.Run(f.name, func(t *testing.T) { f.over(t, s) })
	}
	writeProfile(t, "after.pb.gz")
	assert.Equal(t, stored, s.vault.dump(t))
	runtime.KeepAlive(s)
}

// A registry in the store remembers some clients, and none of those that there are not.
func TestAbuseStoredClients(t *testing.T) {
	sampled(t)
	ids, some := floods()
	s := newTarget(t, func(c *oauth.Config) {
		c.Clients = &oauth.ClientStore{Storage: c.Storage, CacheFor: time.Minute, Now: c.Now}
	})
	registered := func(i int) string { return "client-of-somebody-" + strconv.Itoa(i) }
	admin := oauth.StoredClients(s.store)
	n := 2 * some
	for i := range n {
		require.NoError(t, admin.Create(t.Context(), oauth.Client{ID: registered(i), Public: true, RedirectURIs: []string{oauthtest.Callback}}))
	}
	known := func(i int) *http.Request { return nobody("grant_type=refresh_token&client_id=" + registered(i%n)) }
	before, few := inUse(), min(n, 900)
	pour(s, 0, few, known)
	assert.Greater(t, inUse().packages[house]-before.packages[house], int64(few)*100, "the measure sees what is remembered")
	pour(s, 0, n, known)
	assert.Less(t, inUse().packages[house]-before.packages[house], int64(2<<20), "at most 1000 clients")
	for _, f := range append(idWaves(ids/2), wave{name: "clients that there are", n: n, warm: 2 * n, statuses: []int{400}, request: known}) {
		t.Run(f.name, func(t *testing.T) { f.over(t, s) })
	}
}

// What guards, keys and assertions keep is bounded too, and so is what is asked of
// others.
func TestAbuseTables(t *testing.T) {
	sampled(t)
	_, some := floods()
	t.Run("rate limits", func(t *testing.T) {
		limit := []guard.Limit{{Count: 100, Window: time.Hour, Sliding: true}}
		limits, err := guard.RateLimit{Keys: 1 << 10, Rules: []guard.Rule{{Limits: limit}, {Per: guard.PerClient, Limits: limit}, {Per: guard.PerToken, Limits: limit}}}.Guard()
		require.NoError(t, err)
		s := newTarget(t, func(c *oauth.Config) { c.Guards = []oauth.Guard{limits} })
		wave{n: 4 * some, warm: 4 * some, statuses: []int{400, 401, 429}, request: func(i int) *http.Request {
			r := withBasic(nobody("grant_type=client_credentials"), [...]string{nobodys(i), oauthtest.MachineClient}[i%2], "wrong")
			if i%3 == 0 {
				r = asking(nobodys(i), "")
			}
			r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", byte(i>>16), byte(i>>8), byte(i))
			return r
		}}.over(t, s)
	})
	t.Run("a store of signing keys", func(t *testing.T) {
		s := newTarget(t, func(c *oauth.Config) {
			keys, err := keystore.New(*c, keystore.Options{})
			require.NoError(t, err)
			c.Keys, c.AccessToken = keys, oauth.JWT{}
		})
		wave{n: some, statuses: []int{200, 401}, request: func(i int) *http.Request {
			if i%2 == 0 {
				return httptest.NewRequest(http.MethodGet, oauthtest.Issuer+"/oauth/jwks", nil)
			}
			return withBearer("/oauth/userinfo", madeUp("at+jwt", i))
		}}.over(t, s)
		assert.LessOrEqual(t, s.store.writes.Load(), int64(2), "the first keys, whoever asks for them")
		assert.LessOrEqual(t, s.store.reads.Load(), int64(4), "they are kept")
	})
	t.Run("assertions of any iss, kid and jku", func(t *testing.T) {
		key, elsewhere := esKey(t, "k"), &jwksServer{}
		elsewhere.keys.Store(&[]jose.JSONWebKey{key})
		grants := []string{"client_credentials"}
		s := newTarget(t, func(c *oauth.Config) {
			c.Transport = elsewhere
			c.Clients = oauth.StaticClients(oauth.Client{ID: "here", JWKS: publicJWKS(t, key), Grants: grants},
				oauth.Client{ID: "there", JWKSURI: "https://client.example/jwks", Grants: grants})
		})
		wave{n: some, statuses: []int{401}, request: func(i int) *http.Request {
			form := asserted(madeUp("JWT", i), machineGrant)
			if i%3 > 0 {
				form = changed(form, url.Values{"client_id": {[...]string{"here", "there"}[i%3-1]}})
			}
			return nobody(form.Encode())
		}}.over(t, s)
		assert.LessOrEqual(t, elsewhere.asked.Load(), int64(2), "requests to the client's server")
	})
}

// madeUp is a JWT of somebody who has no key.
func madeUp(typ string, i int) string {
	header := fmt.Sprintf(`{"alg":"ES256","typ":%q,"kid":"k-%d","jku":"https://attacker.example/%d"}`, typ, i, i)
	iss := nobodys(i)
	return handmade(header, map[string]any{"iss": iss, "sub": iss, "aud": oauthtest.Issuer, "jti": iss, "exp": 1 << 33},
		func([]byte) []byte { return bytes.Repeat([]byte{byte(i)}, 64) })
}

// answers is a server elsewhere, that says the same to everybody.
type answers struct {
	body  string
	asked atomic.Int64
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.asked.Add(1)
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

// An API in another process keeps a bounded number of answers, and asks for keys only
// now and then.
func TestAbuseVerifiers(t *testing.T) {
	sampled(t)
	_, n := floods()
	now := func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }
	behind := func(v resource.Verifier) *target {
		s := newTarget(t)
		s.Handler = (&resource.API{Verifier: v, Audience: "x", Now: now}).Require()(http.NotFoundHandler())
		return s
	}
	token := func(i int) *http.Request { return withBearer("/", "token-"+strconv.Itoa(i)) }
	live := fmt.Sprintf(`{"active":true,"client_id":"c","sub":"s","aud":"x","scope":"read","exp":%d}`, now().Unix()+3600)
	for name, c := range map[string]struct {
		body   string
		status int
	}{"tokens that are not live": {`{"active":false}`, 401}, "live tokens": {live, 404}} {
		t.Run("introspection: "+name, func(t *testing.T) {
			as := &answers{body: c.body}
			v := &resource.Introspection{Issuer: oauthtest.Issuer, Endpoint: oauthtest.Issuer + "/introspect", ClientID: "api", ClientSecret: "secret",
				Size: 50, TTL: time.Minute, Transport: as, Now: now}
			wave{n: n, statuses: []int{c.status}, request: token}.over(t, behind(v))
			assert.Equal(t, int64(n+n/10), as.asked.Load(), "one question for each, as the documentation says")
			runtime.KeepAlive(v)
		})
	}
	t.Run("keys of any kid and jku", func(t *testing.T) {
		as := &answers{body: string(publicJWKS(t, esKey(t, "k")))}
		v := &resource.JWT{Issuer: oauthtest.Issuer, JWKSURI: oauthtest.Issuer + "/jwks", Transport: as, Now: now}
		wave{n: n, statuses: []int{401}, request: func(i int) *http.Request { return withBearer("/", madeUp("at+jwt", i)) }}.over(t, behind(v))
		assert.LessOrEqual(t, as.asked.Load(), int64(2))
		runtime.KeepAlive(v)
	})
}

// The login page counts attempts for a bounded number of names and of addresses.
func TestAbuseLogin(t *testing.T) {
	sampled(t)
	_, n := floods()
	if *flood > 0 {
		n = *flood / 10
	}
	s := newTarget(t, func(c *oauth.Config) {
		p, err := pages.New(pages.Config{Issuer: c.Issuer, Secrets: c.Secrets, Now: c.Now,
			Login: func(context.Context, string, string) (*pages.User, error) { return nil, nil }})
		require.NoError(t, err)
		c.Interact = p.Interact
	})
	handle, cookie := loginPage(t, s)
	request := func(i int) *http.Request {
		r := formPost(handle, cookie, "user-"+strconv.Itoa(i), "guess")
		r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", byte(i>>16), byte(i>>8), byte(i))
		return r
	}
	before := inUse()
	assert.Equal(t, map[int]int{403: n}, pour(s, 0, n, request))
	const entries = 1 << 16 // of each of the two tables; an entry is some 130 bytes
	assert.Less(t, inUse().bytes-before.bytes, int64(min(n, entries)*2*200+maxGrowth))
	assert.Zero(t, s.store.writes.Load())
	if n > entries+entries/2 {
		before = inUse()
		pour(s, n, 2*n, request)
		assert.Less(t, inUse().bytes-before.bytes, int64(1<<20), "the tables are full")
	}
	runtime.KeepAlive(s)
}
