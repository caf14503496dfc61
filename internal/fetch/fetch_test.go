package fetch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/fetch"
)

// TestMain names a proxy that does not answer: net/http reads the environment once, so it has to be there from the start.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY"} {
		if err := os.Setenv(name, "http://127.0.0.1:1"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// serve starts a server on the loopback.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func get(t *testing.T, c *fetch.Client, target string) (*fetch.Answer, error) {
	t.Helper()
	a, err := c.Get(t.Context(), target, "application/json")
	assert.True(t, (a == nil) != (err == nil), "an answer or an error")
	return a, err
}

func TestPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "172.15.255.255": true, "172.32.0.0": true, "100.63.255.255": true, "100.128.0.0": true,
		"192.0.1.1": true, "198.17.255.255": true, "198.20.0.0": true, "223.255.255.255": true, "2606:4700::1111": true,
		"2001:200::1": true, "2001:4860:4860::8888": true, "::ffff:8.8.8.8": true, "2003::1": true,

		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "10.255.255.255": false, "100.64.0.1": false, "100.127.255.255": false,
		"127.0.0.1": false, "127.255.255.254": false, "169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.0.0.1": false, "192.0.2.1": false, "192.88.99.1": false, "192.168.0.1": false, "198.18.0.1": false, "198.19.255.255": false,
		"198.51.100.1": false, "203.0.113.1": false, "224.0.0.1": false, "239.255.255.255": false, "240.0.0.1": false,
		"255.255.255.255": false,

		"::": false, "::1": false, "::7f00:1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:10.0.0.1": false,
		"64:ff9b::a9fe:a9fe": false, "64:ff9b::808:808": false, "64:ff9b:1::1": false, "100::1": false, "2001::1": false,
		"2001:0:4136:e378::": false, "2001:1ff::1": false, "2001:db8::1": false, "2002:a9fe:a9fe::": false, "2002:808:808::": false,
		"3fff::1": false, "fc00::1": false, "fd00:ec2::254": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false,
		"ff02::1": false, "4000::1": false, "5f00::1": false,
	} {
		t.Run("V088 V123 S297 "+addr, func(t *testing.T) { assert.Equal(t, want, fetch.Public(netip.MustParseAddr(addr))) })
	}
	assert.False(t, fetch.Public(netip.Addr{}))
	assert.True(t, fetch.Any(netip.MustParseAddr("10.0.0.1")))
}

// listen counts the connections to an address of this machine.
func listen(t *testing.T, host string) (port string, count func() int64) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(t, err)
	var n atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	_, port, err = net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port, func() int64 {
		// A connection that was made before ours is accepted before ours.
		before := n.Load()
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		require.Eventually(t, func() bool { return n.Load() > before }, 5*time.Second, time.Millisecond)
		c.Close()
		defer n.Store(0)
		return n.Load() - 1
	}
}

func TestInternalTargets(t *testing.T) {
	port, count := listen(t, "127.0.0.1")
	for _, host := range []string{
		"127.0.0.1", "localhost", "localhost.", "0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
		"127.1", "0x7f.1", "017700000001", "2130706433", "0x7f000001", "127.0.0.1.", "[::1%25lo]",
		"169.254.169.254", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]",
		"10.0.0.1", "192.168.0.1", "100.64.0.1",
	} {
		t.Run("S296 S297 "+host, func(t *testing.T) {
			_, err := get(t, &fetch.Client{Timeout: 5 * time.Second}, "https://"+host+":"+port+"/")
			require.Error(t, err)
			// A name that is none resolves to nothing, or to what is refused.
			var dns *net.DNSError
			if !errors.Is(err, fetch.ErrURL) && !errors.As(err, &dns) {
				assert.ErrorIs(t, err, fetch.ErrAddress)
			}
		})
	}
	assert.Zero(t, count(), "connections")

	t.Run("the same target, allowed", func(t *testing.T) {
		_, err := get(t, &fetch.Client{Allow: fetch.Any}, "https://127.0.0.1:"+port+"/")
		assert.Error(t, err, "it speaks no TLS")
		assert.NotErrorIs(t, err, fetch.ErrAddress)
		assert.EqualValues(t, 1, count())
	})
}

func TestURLs(t *testing.T) {
	port, count := listen(t, "127.0.0.1")
	for name, target := range map[string]string{
		"S296 http":                 "http://127.0.0.1:" + port,
		"S296 file":                 "file:///etc/passwd",
		"S296 gopher":               "gopher://127.0.0.1:" + port,
		"S296 unix":                 "unix:///run/x.sock",
		"no scheme":                 "//127.0.0.1:" + port,
		"relative":                  "/x",
		"empty":                     "",
		"opaque":                    "https:127.0.0.1:" + port,
		"no host":                   "https:///x",
		"a port alone":              "https://:" + port,
		"user information":          "https://u:p@127.0.0.1:" + port,
		"user information, the dot": "https://as.example@127.0.0.1:" + port,
		"fragment":                  "https://127.0.0.1:" + port + "/#x",
		"empty fragment":            "https://127.0.0.1:" + port + "/#",
		"line break":                "https://127.0.0.1:" + port + "/\r\nX: y",
		"space in the host":         "https://127.0.0.1 :" + port,
		"backslash":                 `https://127.0.0.1:` + port + `\@as.example/`,
		"too long":                  "https://127.0.0.1:" + port + "/" + strings.Repeat("a", 2048),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := get(t, &fetch.Client{Allow: fetch.Any}, target)
			assert.ErrorIs(t, err, fetch.ErrURL)
		})
	}
	for name, target := range map[string]string{
		"http elsewhere":                "http://as.example:" + port,
		"http, unspecified":             "http://0.0.0.0:" + port,
		"http, private":                 "http://10.0.0.1:" + port,
		"http, a name like localhost":   "http://localhost.example:" + port,
		"http, localhost in upper case": "http://LOCALHOST:" + port,
	} {
		t.Run("Loopback, "+name, func(t *testing.T) {
			_, err := get(t, &fetch.Client{Allow: fetch.Any, Loopback: true}, target)
			assert.ErrorIs(t, err, fetch.ErrURL)
		})
	}
	assert.Zero(t, count(), "connections")
}

func TestLoopback(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "grantwell-oauth", r.UserAgent())
		assert.Equal(t, "application/json", r.Header.Get("Accept"))
		assert.Empty(t, r.Header["Cookie"])
		assert.Empty(t, r.Header["Referer"])
		w.Header().Set("Content-Type", "application/json")
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		_, _ = io.WriteString(w, `{"a":1}`)
	})
	c := &fetch.Client{Loopback: true}
	for range 2 {
		a, err := get(t, c, at+"/x")
		require.NoError(t, err)
		assert.Equal(t, 200, a.Status)
		assert.Equal(t, `{"a":1}`, string(a.Body))
		assert.True(t, a.Is("text/plain", "application/json"))
		assert.False(t, a.Is("text/plain"))
	}
	_, err := get(t, c, strings.Replace(at, "127.0.0.1", "localhost", 1))
	assert.NoError(t, err)
	_, err = get(t, &fetch.Client{}, at)
	assert.ErrorIs(t, err, fetch.ErrURL)
}

// dnsServer answers every question for an IPv4 address with what answers returns.
func dnsServer(answers func() []string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			var length [2]byte
			if _, err := io.ReadFull(there, length[:]); err != nil {
				return
			}
			q := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(there, q); err != nil {
				return
			}
			end := 12 + bytes.IndexByte(q[12:], 0) + 5 // name, type, class
			var list []string
			if binary.BigEndian.Uint16(q[end-4:]) == 1 {
				list = answers()
			}
			a := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, byte(len(list)), 0, 0, 0, 0}, q[12:end]...)
			for _, ip := range list {
				v4 := netip.MustParseAddr(ip).As4()
				a = append(a, 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, v4[0], v4[1], v4[2], v4[3])
			}
			_, _ = there.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
		}()
		return here, nil
	}}
}

// The name is resolved anew for every dial; what counts is the address that is dialled.
func TestNamesThatChange(t *testing.T) {
	port, secret := listen(t, "127.0.0.1")
	open, err := net.Listen("tcp", "127.0.0.2:"+port)
	require.NoError(t, err)
	defer open.Close()
	var reached atomic.Int64
	go func() {
		for {
			c, err := open.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			c.Close()
		}
	}()
	var answer atomic.Pointer[[]string]
	c := &fetch.Client{
		Allow:    func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.2") },
		Resolver: dnsServer(func() []string { return *answer.Load() }),
	}
	for _, tt := range []struct {
		name    string
		answer  []string
		refused bool
		reached int64
	}{
		{"allowed", []string{"127.0.0.2"}, false, 1},
		{"V089 S271 then it is another", []string{"127.0.0.1"}, true, 0},
		{"S271 and back", []string{"127.0.0.2"}, false, 1},
		{"S271 both", []string{"127.0.0.1", "127.0.0.2"}, false, 1},
		{"S296 metadata.internal", []string{"169.254.169.254"}, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reached.Store(0)
			answer.Store(&tt.answer)
			_, err := get(t, c, "https://as.example:"+port)
			assert.Equal(t, tt.refused, errors.Is(err, fetch.ErrAddress), "%v", err)
			assert.Equal(t, tt.reached, reached.Load())
			assert.Zero(t, secret())
		})
	}
	t.Run("http for localhost dials the loopback alone", func(t *testing.T) {
		answer.Store(&[]string{"127.0.0.1"})
		c := &fetch.Client{Loopback: true, Allow: func(netip.Addr) bool { return false }}
		_, err := get(t, c, "http://127.0.0.1:"+port)
		assert.NotErrorIs(t, err, fetch.ErrAddress, "whatever Allow says of others")
		assert.EqualValues(t, 1, secret())
	})
}

func TestRedirects(t *testing.T) {
	var followed atomic.Int64
	other := serve(t, func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		t.Run("S269 "+strconv.Itoa(status), func(t *testing.T) {
			at := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", other)
				w.WriteHeader(status)
			})
			c := &fetch.Client{Loopback: true}
			_, err := get(t, c, at)
			assert.ErrorIs(t, err, fetch.ErrRedirect)
			_, err = c.Post(t.Context(), at, "application/json", "Basic x", url.Values{"token": {"x"}})
			assert.ErrorIs(t, err, fetch.ErrRedirect)
			_, err = get(t, &fetch.Client{Loopback: true, Transport: http.DefaultTransport}, at)
			assert.ErrorIs(t, err, fetch.ErrRedirect, "with a host's own transport")
		})
	}
	assert.Zero(t, followed.Load())
}

func TestSizes(t *testing.T) {
	answer := func(write func(w http.ResponseWriter)) string {
		return serve(t, func(w http.ResponseWriter, r *http.Request) { write(w) })
	}
	endless := func(w http.ResponseWriter) {
		for {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}
	bomb := func(w http.ResponseWriter) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for range 100 {
			_, _ = z.Write(make([]byte, 4096))
		}
		z.Close()
	}
	for _, tt := range []struct {
		name string
		at   string
		max  int64
		want error
	}{
		{"S299 endless", answer(endless), 0, fetch.ErrTooLarge},
		{"S299 Content-Length", answer(func(w http.ResponseWriter) { w.Header().Set("Content-Length", "1000000000") }), 0, fetch.ErrTooLarge},
		{"S299 one byte more", answer(func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 101)) }), 100, fetch.ErrTooLarge},
		{"as long as may be", answer(func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 100)) }), 100, nil},
		{"S299 compressed", answer(bomb), 0, fetch.ErrEncoding},
		{"identity", answer(func(w http.ResponseWriter) { w.Header().Set("Content-Encoding", "identity") }), 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, transport := range []http.RoundTripper{nil, http.DefaultTransport} {
				_, err := get(t, &fetch.Client{Loopback: true, MaxBytes: tt.max, Transport: transport}, tt.at)
				if tt.want == nil {
					assert.NoError(t, err)
				} else {
					assert.ErrorIs(t, err, tt.want)
				}
			}
		})
	}
	t.Run("S299 a transport that inflates by itself", func(t *testing.T) {
		inflates := &http.Transport{DisableKeepAlives: true}
		asks := roundTripper(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.Header.Del("Accept-Encoding")
			return inflates.RoundTrip(r)
		})
		_, err := get(t, &fetch.Client{Loopback: true, Transport: asks}, answer(bomb))
		assert.ErrorIs(t, err, fetch.ErrEncoding)
	})
	t.Run("S299 200 KB of header", func(t *testing.T) {
		at := rawServer(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for range 50 {
				if _, err := io.WriteString(c, "X: "+strings.Repeat("y", 4096)+"\r\n"); err != nil {
					return
				}
			}
			_, _ = io.WriteString(c, "Content-Length: 0\r\n\r\n")
		})
		_, err := get(t, &fetch.Client{Loopback: true}, at)
		assert.Error(t, err)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// rawServer answers as it likes. Its connections end with the test.
func rawServer(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				answer(c)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

// S299: whatever is slow, the request ends in time, and nothing of it goes on.
func TestSlow(t *testing.T) {
	released := make(chan struct{})
	t.Cleanup(func() { close(released) })
	for name, answer := range map[string]func(net.Conn){
		"no answer":     func(net.Conn) { <-released },
		"half a header": func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "); <-released },
		"half a body": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
			<-released
		},
		"endless chunks": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			<-released
		},
	} {
		t.Run("S299 "+name, func(t *testing.T) {
			at := rawServer(t, answer)
			before := runtime.NumGoroutine()
			_, err := get(t, &fetch.Client{Loopback: true, Timeout: 30 * time.Millisecond}, at)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+2 }, 5*time.Second, time.Millisecond,
				"but for the server's, and the one that counts, no goroutine is left")
		})
	}
	t.Run("the caller's context", func(t *testing.T) {
		at := rawServer(t, func(net.Conn) { <-released })
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		_, err := (&fetch.Client{Loopback: true}).Get(ctx, at, "*/*")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestPost(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "POST", r.Method)
		assert.Equal(t, "application/x-www-form-urlencoded", r.Header.Get("Content-Type"))
		assert.Equal(t, "Basic eDp5", r.Header.Get("Authorization"))
		assert.NoError(t, r.ParseForm())
		assert.Equal(t, url.Values{"token": {"a+b&c"}}, r.PostForm)
		w.WriteHeader(http.StatusTeapot)
	})
	a, err := (&fetch.Client{Loopback: true}).Post(t.Context(), at, "application/json", "Basic eDp5", url.Values{"token": {"a+b&c"}})
	require.NoError(t, err)
	assert.Equal(t, http.StatusTeapot, a.Status, "what a status means is for the caller")
}

// The environment names no proxy to this library, and the error of a failure has neither the path nor the query.
func TestNoProxyNoURL(t *testing.T) {
	asked := false
	c := &fetch.Client{Allow: fetch.Any, Resolver: dnsServer(func() []string { asked = true; return nil })}
	_, err := get(t, c, "https://as.example/path?secret=s3cret")
	require.Error(t, err)
	assert.True(t, asked, "the name is looked up here, not by a proxy")
	assert.NotContains(t, err.Error(), "s3cret")
	assert.NotContains(t, err.Error(), "path")
	assert.Contains(t, err.Error(), "as.example")
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	_, err := get(t, &fetch.Client{Allow: fetch.Any}, s.URL)
	assert.ErrorContains(t, err, "x509", "a certificate of nobody")
	a, err := get(t, &fetch.Client{Transport: s.Client().Transport}, s.URL)
	require.NoError(t, err, "a host's own transport knows the authority, and which addresses are good is its affair")
	assert.Equal(t, 200, a.Status)
}

// A server that speaks nothing newer is refused before its certificate is looked at.
func TestOldTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	_, err := get(t, &fetch.Client{Allow: fetch.Any}, s.URL)
	assert.ErrorContains(t, err, "protocol version")
}

func TestReuse(t *testing.T) {
	for _, reuse := range []bool{false, true} {
		t.Run(strconv.FormatBool(reuse), func(t *testing.T) {
			var conns atomic.Int64
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.RemoteAddr)
			}))
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					conns.Add(1)
				}
			}
			s.Start()
			defer s.Close()
			c := &fetch.Client{Loopback: true, Reuse: reuse}
			for range 3 {
				_, err := get(t, c, s.URL)
				require.NoError(t, err)
			}
			if reuse {
				assert.EqualValues(t, 1, conns.Load())
			} else {
				assert.EqualValues(t, 3, conns.Load())
			}
		})
	}
}

func TestIs(t *testing.T) {
	for header, want := range map[string]bool{
		"application/json": true, "Application/JSON; charset=utf-8": true, "application/json;": true,
		"application/jsonx": false, "text/html": false, "": false, "application/json, text/html": false, ";": false,
	} {
		a := fetch.Answer{Header: http.Header{"Content-Type": {header}}}
		assert.Equal(t, want, a.Is("application/json"), header)
	}
	assert.False(t, (&fetch.Answer{Header: http.Header{"Content-Type": {"application/json", "application/json"}}}).Is("application/json"))
	assert.False(t, (&fetch.Answer{Header: http.Header{}}).Is(""))
}

func TestKeep(t *testing.T) {
	const least, usual, most = time.Minute, 5 * time.Minute, 15 * time.Minute
	for _, tt := range []struct {
		control, age string
		want         time.Duration
	}{
		{"", "", usual}, {"public", "", usual}, {"max-age=300", "", 5 * time.Minute}, {"public, Max-Age=600", "", 10 * time.Minute},
		{`max-age="600"`, "", 10 * time.Minute}, {"max-age=600", "120", 8 * time.Minute}, {"max-age=600", "700", least},
		{"max-age=0", "", least}, {"max-age=1", "", least}, {"max-age=-5", "", least}, {"max-age=x", "", least}, {"max-age", "", least},
		{"max-age=86400", "", most}, {"max-age=99999999999999999999999", "", most}, {"max-age=9223372036854775807", "", most},
		{"no-store", "", least}, {"no-cache, max-age=600", "", least}, {"max-age=600, no-store", "", least},
		{"max-age=600", "x", 10 * time.Minute}, {"max-age=600", "99999999999999999999", least}, {"s-maxage=600", "", usual},
	} {
		t.Run("RFC 9111 4.2 "+tt.control+" "+tt.age, func(t *testing.T) {
			h := http.Header{"Age": {tt.age}}
			if tt.control != "" {
				h["Cache-Control"] = []string{tt.control}
			}
			assert.Equal(t, tt.want, (&fetch.Answer{Header: h}).Keep(least, usual, most))
		})
	}
}

func FuzzKeep(f *testing.F) {
	f.Add("public, max-age=300", "5")
	f.Add(`no-cache="x, max-age=1"`, "")
	f.Fuzz(func(t *testing.T, control, age string) {
		a := fetch.Answer{Header: http.Header{"Cache-Control": {control}, "Age": {age}, "Content-Type": {control}}}
		keep := a.Keep(time.Minute, 2*time.Minute, 3*time.Minute)
		if keep < time.Minute || keep > 3*time.Minute {
			t.Fatal(keep)
		}
		a.Is("application/json")
	})
}
