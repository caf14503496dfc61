package oauth_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
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

// Hashes that are slow share half of the processors, whatever comes; clients with a fast
// one do not wait for them.
func TestAbuseSlowHashes(t *testing.T) {
	slow := []oauth.Client{machine("argon", argon2id("chosen", 4<<10, 2)), machine("crypt", bcryptHash(t, "chosen"))}
	s := newTarget(t, withClients(slow...))
	atWork := func() int {
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		return strings.Count(stacks, "argon2.IDKey(") + strings.Count(stacks, "bcrypt.CompareHashAndPassword(")
	}
	request := func(i int) *http.Request {
		return withBasic(nobody("grant_type=client_credentials"), slow[i%2].ID, "guess"+strconv.Itoa(i))
	}
	pour(s, 0, 2, request)
	before := inUse()
	const n = 30
	var left, served atomic.Int64
	left.Store(n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			assert.Equal(t, map[int]int{401: 1}, pour(s, i, i+1, request))
			left.Add(-1)
		})
	}
	most := 0
	for left.Load() > 0 {
		most = max(most, atWork())
		if pour(s, 0, 1, func(int) *http.Request {
			return withBasic(nobody(machineForm().Encode()), oauthtest.MachineClient, oauthtest.Secret)
		})[200] == 1 && left.Load() > 0 {
			served.Add(1)
		}
	}
	all.Wait()
	assert.Positive(t, most)
	assert.LessOrEqual(t, most, max(1, runtime.GOMAXPROCS(0)/2))
	assert.Greater(t, served.Load(), int64(3), "clients with fast hashes, while others wait")
	wantNoGrowth(t, before, n)
}

// A server with the timeouts that README asks for is done with whoever sends slowly or
// too much, and nothing is left of it.
func TestAbuseSlowAndHuge(t *testing.T) {
	s := newTarget(t)
	front := httptest.NewUnstartedServer(s)
	front.Config.ReadHeaderTimeout, front.Config.ReadTimeout = 300*time.Millisecond, 600*time.Millisecond
	patient := httptest.NewUnstartedServer(s)
	patient.Config.ReadHeaderTimeout, patient.Config.ReadTimeout = 2*time.Second, 4*time.Second
	for _, server := range []*httptest.Server{front, patient} {
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		server.Start()
		defer server.Close()
	}
	before := inUse()
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
	wantGone(t, before)
	assert.Zero(t, s.store.writes.Load())
	assert.Empty(t, s.vault.dump(t))
}

// wantGone waits until the goroutines of what was sent have ended, for at most 20 s, and
// asserts that they have left nothing.
func wantGone(t *testing.T, before usage) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for give := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before.goroutines && time.Now().Before(give); {
		<-tick.C
	}
	wantNoGrowth(t, before, 1)
}

// bodyCount counts what is read of a body.
type bodyCount struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (c bodyCount) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

// Where the host has set no timeouts, who sends slowly holds a connection, and of what
// he has sent 64 KiB at the most.
func TestAbuseSlowWithoutTimeouts(t *testing.T) {
	s := newTarget(t)
	var got atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = bodyCount{r.Body, &got}
		s.ServeHTTP(w, r)
	}))
	defer server.Close()
	const each, most = 10, 64 << 10
	for _, c := range []struct {
		name  string
		claim string // Content-Length or Transfer-Encoding
		sent  string
		seen  int   // of it, at the least, when it has come: a chunk is handed on late
		bytes int64 // of the heap that a connection may hold, with some 16 KiB of net/http
	}{
		{"64 KiB but one byte", fmt.Sprintf("Content-Length: %d", most), strings.Repeat("a", most-1), most - 1, 160 << 10},
		{"nothing of 64 KiB", fmt.Sprintf("Content-Length: %d", most), "a", 1, 24 << 10},
		{"64 KiB of a length that is not told", "Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n", most) + strings.Repeat("a", most-1), most / 2, 160 << 10},
	} {
		for _, path := range []string{"/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/authorize"} {
			t.Run(c.name+", to "+path, func(t *testing.T) {
				before := inUse()
				got.Store(0)
				var open []net.Conn
				for range each {
					conn, err := net.Dial("tcp", server.Listener.Addr().String())
					require.NoError(t, err)
					open = append(open, conn)
					_, err = io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: as.example\r\nContent-Type: "+formType+"\r\n"+c.claim+"\r\n\r\n"+c.sent)
					require.NoError(t, err)
				}
				until(t, "all is read", func() bool { return got.Load() >= int64(each*c.seen) })
				assert.Less(t, inUse().bytes-before.bytes, each*c.bytes, "bytes of the heap")
				for _, conn := range open {
					assert.NoError(t, conn.Close())
				}
				wantGone(t, before)
			})
		}
	}
	assert.Zero(t, s.store.writes.Load())
}

// A header as long as net/http takes costs a few times its length, and is gone then.
func TestAbuseHugeHeaders(t *testing.T) {
	s := newTarget(t)
	const size = 1 << 20 // http.DefaultMaxHeaderBytes
	with := func(r *http.Request, name, value string) *http.Request {
		r.Header.Set(name, value)
		return r
	}
	long := strings.Repeat("eHg6", size/4)
	names := strings.Repeat("a&b=c;", size/6)
	var many strings.Builder
	for i := 0; many.Len() < size; i++ {
		many.WriteString("&" + strconv.Itoa(i))
	}
	for name, request := range map[string]func() *http.Request{
		"Basic":                  func() *http.Request { return with(nobody("grant_type=x"), "Authorization", "Basic "+long) },
		"Basic, percent encoded": func() *http.Request { return withBasic(nobody("grant_type=x"), strings.Repeat("%41", size/5), "x") },
		"Bearer":                 func() *http.Request { return withBearer("/oauth/userinfo", long) },
		"Bearer, dots":           func() *http.Request { return withBearer("/oauth/userinfo", strings.Repeat("eHg.", size/4)) },
		"Cookie":                 func() *http.Request { return with(asking(oauthtest.SPAClient, ""), "Cookie", "__Host-oauth="+long) },
		"many cookies": func() *http.Request {
			return with(asking(oauthtest.SPAClient, ""), "Cookie", strings.Repeat("a=b;", size/4))
		},
		"Origin": func() *http.Request { return with(nobody("grant_type=x"), "Origin", "https://"+long) },
		"Content-Type": func() *http.Request {
			return with(nobody("grant_type=x"), "Content-Type", formType+strings.Repeat(";a=b", size/4))
		},
		"query of a token request": func() *http.Request {
			r := nobody("grant_type=x")
			r.URL.RawQuery = names
			return r
		},
		"query of an authorization request": func() *http.Request { return asking(oauthtest.SPAClient, "&"+names) },
		"handle":                            func() *http.Request { return asking(oauthtest.SPAClient, "&interaction="+long) },
		"handle among many":                 func() *http.Request { return asking(oauthtest.SPAClient, "&interaction=x"+many.String()) },
		"query of a posted one": func() *http.Request {
			r := nobodyAt("/oauth/authorize", "client_id=spa")
			r.URL.RawQuery = names
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			r, w := request(), &forgetful{http.Header{}, http.StatusOK}
			runtime.ReadMemStats(&before)
			s.ServeHTTP(w, r)
			runtime.ReadMemStats(&after)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4*size), "bytes that were ever allocated")
			t.Logf("%d, %d KiB", w.status, (after.TotalAlloc-before.TotalAlloc)>>10)
			for name, values := range w.header {
				assert.Less(t, len(strings.Join(values, "")), 1<<13, "what comes back in %s", name)
			}
		})
	}
	assert.Zero(t, s.store.writes.Load())
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
