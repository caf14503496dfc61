package probe

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxRequests = 2000
	maxBody     = 1 << 20
	attacker    = "https://attacker.example"
)

// A session is one run.
type session struct {
	Target
	ctx     context.Context
	client  http.RoundTripper // not a client, which reads Location, and quotes it where it cannot
	timeout time.Duration     // of one request
	base    *url.URL
	origins []string

	metadata    *answer // nil: not looked for
	metadataURL string
	members     map[string]any    // of the metadata
	ends        map[string]string // endpoints by name
	issuer      string            // of the metadata

	browser  *browser // the user's
	controls map[string]string
	asked    int // submissions between the request and the callback, once signed in; -1: not known

	mu       sync.Mutex
	secrets  []string
	requests int
	broken   []string // answers of 500 and more
}

func newSession(t Target) (*session, error) {
	u, err := url.Parse(t.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, errNoURL
	}
	if p := t.Prefix; p != "" && !strings.HasPrefix(p, "/") {
		return nil, errors.New("probe: Prefix does not begin with a slash")
	}
	s := &session{Target: t, base: u, origins: []string{origin(u)}, controls: map[string]string{}, asked: -1, ends: map[string]string{}}
	for _, o := range t.Origins {
		ou, err := url.Parse(o)
		if err != nil || ou.Host == "" {
			return nil, fmt.Errorf("probe: Origins: %q is no origin", o)
		}
		s.origins = append(s.origins, origin(ou))
	}
	all := Checks()
	for _, id := range slices.Concat(t.Only, t.Without) {
		if !slices.ContainsFunc(all, func(c Check) bool { return c.ID == id }) {
			return nil, fmt.Errorf("probe: there is no check %q", id)
		}
	}
	for _, c := range []Client{t.Confidential, t.Public, t.Other, t.Machine, t.Introspector} {
		s.keep(c.Secret)
	}
	for _, v := range t.Fields {
		s.keep(v)
	}
	for _, list := range t.Header {
		for _, v := range list {
			s.keep(v)
		}
	}
	s.client, s.timeout = &http.Transport{ForceAttemptHTTP2: true}, 10*time.Second // without a proxy of the environment
	if t.HTTP != nil && t.HTTP.Transport != nil {
		s.client = t.HTTP.Transport
	}
	if t.HTTP != nil && t.HTTP.Timeout > 0 {
		s.timeout = t.HTTP.Timeout
	}
	s.browser = &browser{s: s, header: t.Header}
	return s, nil
}

// origin is scheme, host and port, the port always there.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

func (s *session) allowed(u *url.URL) bool {
	return u.User == nil && slices.Contains(s.origins, origin(u))
}

// An answer is a response whose body was read.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any
	url    *url.URL // of the request
}

// location is the target of a redirect, absolute; nil if there is none.
func (a *answer) location() *url.URL {
	if a.status < 300 || a.status > 399 || a.header.Get("Location") == "" {
		return nil
	}
	text := a.header.Get("Location")
	if u, err := a.url.Parse(text); err == nil {
		return u
	}
	// Browsers go where Go cannot read the way.
	text, fragment, _ := strings.Cut(text, "#")
	text, query, _ := strings.Cut(text, "?")
	scheme, host, _ := strings.Cut(text, "://")
	return &url.URL{Scheme: "unreadable-" + scheme, Host: host, RawQuery: query, Fragment: fragment}
}

func (a *answer) text(member string) string {
	v, _ := a.json[member].(string)
	return v
}

// granted says whether the answer gives a token.
func (a *answer) granted() bool { return a.status/100 == 2 && a.text("access_token") != "" }

// is says whether the media type of the answer is this one.
func (a *answer) is(media string) bool {
	m, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	return err == nil && m == media
}

var errorCode = regexp.MustCompile(`^[a-z_]{1,40}$`)

// brief describes an answer without anything that could be a credential.
func (a *answer) brief() string {
	text := strconv.Itoa(a.status)
	switch e := a.text("error"); {
	case a.granted():
		text += " with an access token"
	case errorCode.MatchString(e):
		text += " " + e
	case a.location() != nil:
		text += " to " + plain(a.location())
	}
	return text
}

// plain is a URL without what may be secret.
func plain(u *url.URL) string {
	if u.Host == "" {
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

// do sends a request. Where no answer comes, the check ends.
func (s *session) do(r *http.Request) *answer {
	a, err := s.try(r)
	if err != nil {
		cannot("%v", err)
	}
	return a
}

// try sends a request, again once where the server asks to wait.
func (s *session) try(r *http.Request) (*answer, error) {
	a, err := s.once(r)
	if err != nil || a.status != http.StatusTooManyRequests {
		return a, err
	}
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || seconds > 15 || r.GetBody == nil && r.Body != nil && r.Body != http.NoBody {
		return nil, errors.New("the server limits the rate of requests (429)")
	}
	if err := s.sleep(time.Duration(seconds) * time.Second); err != nil {
		return nil, err
	}
	if r.GetBody != nil {
		if r.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	if a, err = s.once(r); err == nil && a.status == http.StatusTooManyRequests {
		return nil, errors.New("the server limits the rate of requests (429, also after it was waited)")
	}
	return a, err
}

func (s *session) sleep(d time.Duration) error {
	if s.Wait != nil {
		return s.Wait(s.ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *session) once(r *http.Request) (*answer, error) {
	if !s.allowed(r.URL) {
		return nil, fmt.Errorf("%s is not on an origin of the target: no request was sent", plain(r.URL))
	}
	s.mu.Lock()
	s.requests++
	tooMany := s.requests > maxRequests
	s.mu.Unlock()
	if tooMany {
		return nil, fmt.Errorf("more than %d requests", maxRequests)
	}
	r.Header.Set("User-Agent", "oauthprobe")
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	defer cancel()
	resp, err := s.client.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("no answer from %s: %w", plain(r.URL), err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("half an answer from %s: %w", plain(r.URL), err)
	}
	a := &answer{status: resp.StatusCode, header: resp.Header, body: string(body), url: r.URL}
	if json.Unmarshal(body, &a.json) != nil {
		a.json = nil
	}
	s.learn(r, a)
	return a, nil
}

// learn keeps what an answer has of credentials, so that no report shows them.
func (s *session) learn(r *http.Request, a *answer) {
	for _, member := range []string{"access_token", "refresh_token", "id_token", "code"} {
		s.keep(a.text(member))
	}
	if to := a.location(); to != nil {
		for _, text := range []string{to.RawQuery, to.Fragment} {
			q, _ := url.ParseQuery(text)
			for _, name := range []string{"code", "access_token", "id_token", "interaction"} {
				s.keep(q.Get(name))
			}
		}
	}
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		s.keep(c.Value)
	}
	if a.status >= http.StatusInternalServerError {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken = append(s.broken, fmt.Sprintf("%s %s: %d", r.Method, plain(r.URL), a.status))
	}
}

// keep remembers what no report may show.
func (s *session) keep(secret string) {
	if len(secret) < 4 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, form := range []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
		if !slices.Contains(s.secrets, form) {
			s.secrets = append(s.secrets, form)
		}
	}
}

func (s *session) redact(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
	return text
}

// end is the URL of an endpoint. Where it is not known, the check ends.
func (s *session) end(name string) string {
	at := s.ends[name]
	if at == "" {
		cannot("no %s endpoint is known", name)
	}
	return at
}

// request makes a request.
func (s *session) request(method, at, body string) *http.Request {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(s.ctx, method, at, reader)
	if err != nil {
		cannot("the URL of the endpoint cannot be read")
	}
	return r
}

// get requests a URL without anything.
func (s *session) get(at string) *answer { return s.do(s.request(http.MethodGet, at, "")) }

// form makes a request that posts a form, as this client. The zero Client is nobody.
func (s *session) form(name string, values url.Values, c Client) *http.Request {
	at := s.end(name)
	body := url.Values{}
	for k, v := range values {
		body[k] = v
	}
	basic := c.Secret != "" && !c.SecretPost
	if c.ID != "" && !basic {
		body.Set("client_id", c.ID)
		if c.Secret != "" {
			body.Set("client_secret", c.Secret)
		}
	}
	r := s.request(http.MethodPost, at, body.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if basic { // RFC 6749, section 2.3.1: form-encoded, then Basic
		r.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	}
	return r
}

// post posts a form.
func (s *session) post(name string, values url.Values, c Client) *answer {
	return s.do(s.form(name, values, c))
}
