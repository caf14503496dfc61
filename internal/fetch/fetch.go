// Package fetch is the only way in which the library asks other servers for something over HTTP: a key set, a metadata document,
// an introspection. It asks by https, follows no redirect, dials only addresses that it is allowed to, and reads no more and waits
// no longer than it was told. It starts no goroutine of its own, reads no environment, so that no proxy is used that the host does
// not know of, and keeps no cookies.
package fetch

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What a Client refuses by itself, for errors.Is. None of these texts has anything of what the other side sent.
var (
	ErrURL      = errors.New("fetch: not a URL that may be asked for")
	ErrAddress  = errors.New("fetch: not an address that may be dialled")
	ErrRedirect = errors.New("fetch: the answer is a redirect")
	ErrEncoding = errors.New("fetch: the answer is compressed, which it was not asked to be")
	ErrTooLarge = errors.New("fetch: the answer is too large")
)

// A Client asks other servers. Its fields are not changed once it is in use; it is safe for concurrent use. The zero Client is for
// URLs that strangers name: https alone, and public addresses alone.
type Client struct {
	// Allow says which addresses may be dialled; nil for [Public]. It is asked about the address itself, at the moment when it is
	// dialled, so that a name that resolves to something else by then gains nothing.
	Allow func(netip.Addr) bool
	// Loopback takes http URLs as well whose host is localhost or a loopback address, and then dials loopback addresses alone.
	Loopback bool
	// Transport sends the requests in place of the Client's own connections: which addresses are dialled, and how the other side
	// proves who it is, is then its affair. All else holds. nil for the Client's own, without a proxy, TLS 1.2 or later.
	Transport http.RoundTripper
	// Resolver looks names up for the Client's own connections; nil for that of the machine.
	Resolver *net.Resolver
	// MaxBytes is the length of the longest answer; zero: 256 KiB. Its header is held to 64 KiB, unless a Transport says otherwise.
	MaxBytes int64
	// Timeout is for a whole request, from looking up the name to the last byte; zero: 5 s.
	Timeout time.Duration
	// Reuse keeps connections open for 30 s of idleness, for servers that are asked all the time. Without it a connection is closed
	// after one answer, and nothing is left running.
	Reuse bool

	once          sync.Once
	secure, plain http.RoundTripper
}

const (
	defaultBytes   = 256 << 10
	defaultTimeout = 5 * time.Second
	maxHeader      = 64 << 10
	maxURL         = 2048
	// maxConns bounds what a flood of requests to us can do to the other side. The rest wait, no longer than Timeout.
	maxConns = 64
)

// Any allows every address: for URLs that the host configured.
func Any(netip.Addr) bool { return true }

// An Answer is what came back, whatever its status, redirects apart.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Get asks for a document, of a media type in accept.
func (c *Client) Get(ctx context.Context, target, accept string) (*Answer, error) {
	return c.do(ctx, http.MethodGet, target, http.Header{"Accept": {accept}}, nil)
}

// Post sends a form; authorization is the value of that header, "" for none.
func (c *Client) Post(ctx context.Context, target, accept, authorization string, form url.Values) (*Answer, error) {
	h := http.Header{"Accept": {accept}, "Content-Type": {"application/x-www-form-urlencoded"}}
	if authorization != "" {
		h.Set("Authorization", authorization)
	}
	return c.do(ctx, http.MethodPost, target, h, []byte(form.Encode()))
}

func (c *Client) do(ctx context.Context, method, target string, h http.Header, body []byte) (*Answer, error) {
	u, err := c.parse(target)
	if err != nil {
		return nil, err
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var send io.Reader
	if body != nil {
		send = bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), send)
	if err != nil {
		return nil, ErrURL
	}
	r.Header = h
	r.Header.Set("User-Agent", "grantwell-oauth")
	// Asked for by name, it keeps a Transport from asking for gzip and inflating it: what is counted is what was sent.
	r.Header.Set("Accept-Encoding", "identity")
	client := &http.Client{Transport: c.transport(u.Scheme), CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	res, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetch: %s: %w", u.Host, cause(err))
	}
	defer res.Body.Close()
	a, err := c.read(res)
	if err != nil {
		return nil, fmt.Errorf("fetch: %s: %w", u.Host, cause(err))
	}
	return a, nil
}

// read takes the answer, if it is one that is taken.
func (c *Client) read(res *http.Response) (*Answer, error) {
	limit := c.MaxBytes
	if limit == 0 {
		limit = defaultBytes
	}
	switch encoding := strings.ToLower(res.Header.Get("Content-Encoding")); {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return nil, ErrRedirect
	case res.Uncompressed || encoding != "" && encoding != "identity":
		return nil, ErrEncoding
	case res.ContentLength > limit:
		return nil, ErrTooLarge
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, ErrTooLarge
	}
	return &Answer{Status: res.StatusCode, Header: res.Header, Body: body}, nil
}

// cause is err without the URL, which a *url.Error repeats whole.
func cause(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// parse takes an absolute URL without user information and fragment, of https, or of http where that is allowed.
func (c *Client) parse(target string) (*url.URL, error) {
	u, err := url.Parse(target)
	if err != nil || len(target) > maxURL || u.Opaque != "" || u.Hostname() == "" || u.User != nil || strings.Contains(target, "#") {
		return nil, ErrURL
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && c.Loopback && IsLoopback(u.Hostname())) {
		return nil, ErrURL
	}
	return u, nil
}

// IsLoopback reports whether a host is localhost or a loopback address.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func (c *Client) transport(scheme string) http.RoundTripper {
	if c.Transport != nil {
		return c.Transport
	}
	c.once.Do(func() {
		allow := c.Allow
		if allow == nil {
			allow = Public
		}
		c.secure, c.plain = c.dials(allow), c.dials(netip.Addr.IsLoopback)
	})
	if scheme == "http" {
		return c.plain
	}
	return c.secure
}

// dials returns a transport that dials what allow allows. It has its own limits of time, for a dial may outlive its request.
func (c *Client) dials(allow func(netip.Addr) bool) *http.Transport {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	dialer := &net.Dialer{
		Timeout:  timeout,
		Resolver: c.Resolver,
		// It runs once per address, when the socket exists and before it connects.
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil || !allow(to.Addr().Unmap().WithZone("")) {
				return ErrAddress
			}
			return nil
		},
	}
	return &http.Transport{
		Proxy:                  nil, // http.ProxyFromEnvironment would read the environment, and would dial for us, unchecked
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    timeout,
		DisableKeepAlives:      !c.Reuse,
		DisableCompression:     true,
		MaxConnsPerHost:        maxConns,
		MaxIdleConnsPerHost:    maxConns,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// Is reports whether the answer says that it is of one of these media types.
func (a *Answer) Is(types ...string) bool {
	lines := a.Header["Content-Type"]
	if len(lines) != 1 {
		return false
	}
	is, _, err := mime.ParseMediaType(lines[0])
	return err == nil && slices.Contains(types, is)
}

// Keep is how long the answer may be kept by what it says of itself (RFC 9111, section 4.2): its max-age less its Age, held
// between least and most; usual, where it says nothing.
func (a *Answer) Keep(least, usual, most time.Duration) time.Duration {
	said := false
	var keep time.Duration
	for _, line := range a.Header["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
			switch name {
			case "no-store", "no-cache":
				return least
			case "max-age":
				said, keep = true, seconds(strings.Trim(value, `"`))
			}
		}
	}
	if !said {
		return usual
	}
	return min(max(keep-seconds(a.Header.Get("Age")), least), most)
}

// seconds reads delta-seconds (RFC 9111, section 1.2.2); what is none is zero, and a year stands for more.
func seconds(s string) time.Duration {
	const year = 365 * 24 * time.Hour
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	if n > uint64(year/time.Second) {
		return year
	}
	return time.Duration(n) * time.Second
}
