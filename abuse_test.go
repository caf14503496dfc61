package oauth_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// flood is for make abuse.
var flood = flag.Int("flood", 0, "distinct client ids that TestAbuseFloods sends; 0: 10⁵")

// heap is what is in use when everything that can be freed is freed, and how many
// goroutines there are.
func heap() (bytes int64, goroutines int) {
	for range 3 { // sync.Pool gives up what it has at the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), runtime.NumGoroutine()
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
	store *countedWrites
	vault *vault
}

type countedWrites struct {
	oauth.Storage
	writes atomic.Int64
}

func (s *countedWrites) Create(ctx context.Context, r oauth.Record) error {
	s.writes.Add(1)
	return s.Storage.Create(ctx, r)
}

func (s *countedWrites) Update(ctx context.Context, r oauth.Record) error {
	s.writes.Add(1)
	return s.Storage.Update(ctx, r)
}

func newTarget(t *testing.T, edits ...func(*oauth.Config)) *target {
	t.Helper()
	s := newServer(t)
	v := newVault(t, s.Config.Now)
	target := &target{vault: v, store: &countedWrites{Storage: v}}
	cfg := s.Config
	for _, edit := range edits {
		edit(&cfg)
	}
	cfg.Storage, cfg.Events, cfg.Logger = target.store, nil, slog.New(slog.DiscardHandler)
	cfg.Interact = func(http.ResponseWriter, *http.Request, *oauth.Interaction) {} // the user looks at the page, for ever
	if cfg.Clients == nil {
		cfg.Clients = oauth.StoredClients(target.store)
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

// growth is by how much the heap grew while a flood came, after a first wave that
// fills what is filled once.
func growth(h http.Handler, n int, request func(i int) *http.Request) (bytes int64, goroutines int, statuses map[int]int) {
	pour(h, n, n+n/10, request)
	before, were := heap()
	statuses = pour(h, 0, n, request)
	after, are := heap()
	return after - before, are - were, statuses
}

// maxGrowth is about 10 bytes for each client id of a flood: a table of them would have
// many times as much.
const maxGrowth = 256 << 10

// A wave is one kind of flood.
type wave struct {
	name     string
	n        int
	statuses []int // that may be answered
	request  func(i int) *http.Request
}

// nobodys is the name of a client that there is not.
func nobodys(i int) string { return "client-of-nobody-" + strconv.Itoa(i) }

// waves are twice ids requests by as many clients, all different from those of another
// turn, and some of every other kind.
func waves(turn, ids, some int) []wave {
	first := turn * 10_000_000
	bearer := func(path, token string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, oauthtest.Issuer+path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		return r
	}
	authenticated := func(r *http.Request, id, secret string) *http.Request {
		r.SetBasicAuth(id, secret)
		return r
	}
	junk := func(i int) string { return strings.Repeat(strconv.Itoa(i)+"%zz\x00&=;", 20) }
	code := func(i int) string { return fmt.Sprintf("A%054d", i) }
	many := func(i int) string {
		var b strings.Builder
		for n := range 4000 {
			fmt.Fprintf(&b, "&p%d-%d=%d", i, n, n)
		}
		return b.String()
	}
	return []wave{
		{"client ids at the authorization endpoint", ids, []int{400}, func(i int) *http.Request { return asking(nobodys(first+2*i), "") }},
		{"client ids at the token endpoint", ids, []int{401}, func(i int) *http.Request {
			return authenticated(nobody("grant_type=client_credentials"), nobodys(first+2*i+1), "secret")
		}},
		{"good authorization requests that nobody decides", some, []int{200}, func(i int) *http.Request {
			return asking(oauthtest.SPAClient, "&nonce="+strconv.Itoa(i))
		}},
		{"bodies that are no form", some, []int{400}, func(i int) *http.Request { return nobody(junk(i)) }},
		{"bodies that are too large", some / 50, []int{413}, func(i int) *http.Request { return nobody(strings.Repeat("a=b&", 1<<15) + strconv.Itoa(i)) }},
		{"many parameters in a form", some / 50, []int{400, 401}, func(i int) *http.Request { return nobody("client_id=spa&grant_type=x" + many(i)) }},
		{"many parameters in a query", some / 50, []int{303, 400, 414}, func(i int) *http.Request { return asking(oauthtest.SPAClient, many(i)) }},
		{"codes", some, []int{400}, func(i int) *http.Request {
			return nobody("client_id=spa&grant_type=authorization_code&code_verifier=" + rfcVerifier + "&redirect_uri=" + url.QueryEscape(oauthtest.Callback) + "&code=" + code(i))
		}},
		{"refresh tokens", some, []int{400}, func(i int) *http.Request {
			return nobody("client_id=spa&grant_type=refresh_token&refresh_token=" + code(i))
		}},
		{"secrets of a client", some, []int{401}, func(i int) *http.Request {
			return authenticated(nobody("grant_type=client_credentials"), oauthtest.MachineClient, "guess"+strconv.Itoa(i))
		}},
		{"access tokens", some, []int{401}, func(i int) *http.Request { return bearer("/oauth/userinfo", code(i)) }},
		{"handles of interactions", some, []int{400}, func(i int) *http.Request {
			return httptest.NewRequest(http.MethodGet, oauthtest.Issuer+"/oauth/authorize?interaction="+code(i), nil)
		}},
	}
}

// Whoever cannot authenticate costs no memory that stays, no goroutine and no write.
func TestAbuseFloods(t *testing.T) {
	ids, some := 25_000, 2_000
	switch {
	case *flood > 0:
		ids, some = *flood/4, *flood/40
	case faultRounds != raceRounds || testing.Short(): // a store that is slower than memory
		ids, some = 500, 100
	}
	for turn, registry := range []struct {
		name string
		edit func(*oauth.Config)
	}{
		{"clients in the configuration", func(*oauth.Config) {}},
		{"clients in the store", func(c *oauth.Config) { c.Clients = nil }},
	} {
		s := newTarget(t, registry.edit)
		stored := s.vault.dump(t)
		for _, f := range waves(turn, ids, some) {
			if registry.name == "clients in the store" && f.n != ids {
				continue
			}
			t.Run(registry.name+": "+f.name, func(t *testing.T) {
				writes := s.store.writes.Load()
				bytes, goroutines, statuses := growth(s, f.n, f.request)
				for status := range statuses {
					assert.Contains(t, f.statuses, status, "%v", statuses)
				}
				assert.Less(t, bytes, int64(maxGrowth), "the heap grew")
				assert.LessOrEqual(t, goroutines, 0, "goroutines are left")
				assert.Equal(t, writes, s.store.writes.Load(), "an unauthenticated request writes nothing")
				t.Logf("%d requests, the heap grew by %d bytes", f.n, bytes)
			})
		}
		assert.Equal(t, stored, s.vault.dump(t))
	}
	t.Run("the measure sees a table of client ids", func(t *testing.T) {
		seen := map[string]bool{}
		leaky := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen[r.FormValue("client_id")] = true })
		bytes, _, _ := growth(leaky, 25_000, func(i int) *http.Request { return asking(nobodys(i), "") })
		assert.Greater(t, bytes, int64(maxGrowth))
		assert.NotEmpty(t, seen)
	})
}

// A server with the timeouts that README asks for is done with whoever sends slowly or
// too much, and nothing is left of it.
func TestAbuseSlowAndHuge(t *testing.T) {
	s := newTarget(t)
	front := httptest.NewUnstartedServer(s)
	front.Config.ReadHeaderTimeout, front.Config.ReadTimeout = 300*time.Millisecond, 600*time.Millisecond
	patient := httptest.NewUnstartedServer(s)
	patient.Config.ReadHeaderTimeout, patient.Config.ReadTimeout = 5*time.Second, 10*time.Second
	for _, server := range []*httptest.Server{front, patient} {
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		server.Start()
		defer server.Close()
	}
	before, were := heap()
	post := func(path, more string, length int) string {
		return "POST " + path + " HTTP/1.1\r\nHost: as.example\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: " +
			strconv.Itoa(length) + "\r\n" + more + "\r\n"
	}
	var all sync.WaitGroup
	const started = "grant_type=client_credentials&client_id="
	for _, c := range []struct {
		name     string
		server   *httptest.Server
		sent     string
		statuses []int // where the connection is not closed before
	}{
		{"a header that does not end", front, "POST /oauth/token HTTP/1.1\r\nHost: as.exa", []int{408}},
		{"a body that does not begin", front, post("/oauth/token", "", 1000), []int{400, 408}},
		{"a body that does not end", front, post("/oauth/token", "", 1000) + started, []int{400, 408}},
		{"a body of unknown length that does not end", front, strings.Replace(post("/oauth/token", "", 0), "Content-Length: 0", "Transfer-Encoding: chunked", 1) + "5\r\ngrant\r\n", []int{400, 408}},
		{"a body that does not end, to revoke", front, post("/oauth/revoke", "", 1000) + started, []int{400, 408}},
		{"a body that does not end, to introspect", front, post("/oauth/introspect", "", 1000) + started, []int{400, 408}},
		{"a body that does not end, to authorize", front, post("/oauth/authorize", "", 1000) + started, []int{400, 408}},
		{"a header of 2 MiB", patient, post("/oauth/token", "X-Huge: "+strings.Repeat("x", 2<<20)+"\r\n", 0), []int{431}},
		{"headers of 2 MiB", patient, post("/oauth/token", strings.Repeat("X-Huge: x\r\n", 2<<20/11), 0), []int{400, 431}},
		{"an Authorization header of 512 KiB", patient, post("/oauth/token", "Authorization: Basic "+strings.Repeat("eHg6", 128<<10)+"\r\n", 0), []int{400, 401}},
		{"a cookie of 512 KiB", patient, post("/oauth/authorize", "Cookie: x="+strings.Repeat("x", 512<<10)+"\r\n", 0), []int{303, 400}},
	} {
		for range 10 {
			all.Go(func() {
				if status := raw(t, c.server.Listener.Addr(), c.sent); status != 0 {
					assert.Contains(t, c.statuses, status, c.name)
				}
			})
		}
	}
	all.Wait()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for give := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > were && time.Now().Before(give); {
		<-tick.C
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), were, "goroutines are left")
	after, _ := heap()
	assert.Less(t, after-before, int64(maxGrowth), "the heap grew")
	assert.Zero(t, s.store.writes.Load())
	assert.Empty(t, s.vault.dump(t))
}

// raw sends text, and nothing more, and returns the status of the answer, 0 if the
// connection was closed without one. A server that waits for ever fails the test.
func raw(t *testing.T, to net.Addr, text string) int {
	conn, err := net.Dial(to.Network(), to.String())
	if !assert.NoError(t, err) {
		return -1
	}
	defer conn.Close()
	assert.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, _ = io.WriteString(conn, text) // the server may close before all of it is sent
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		assert.False(t, errors.Is(err, os.ErrDeadlineExceeded), "the server waits for ever")
		return 0
	}
	defer answer.Body.Close()
	return answer.StatusCode
}
