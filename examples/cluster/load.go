package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A load is users with a browser and an app, who sign in, refresh, call an API and
// let it introspect their tokens, and it counts what came of it.
type load struct {
	deployment
	transport *http.Transport
	steps     int // with a session, before the user signs in anew as on another device

	mu       sync.Mutex
	counts   summary
	sessions []*session // all that there ever were, but those that were lost
	refused  []string   // codes that came back refused after an answer was lost
}

// A session is what an app keeps of a user who has signed in.
type session struct {
	user    *user
	access  string
	refresh string
}

// A user has a browser and works on one session at a time.
type user struct {
	*load
	name    string
	browser *http.Client
	app     *http.Client
}

const (
	tryTime = 10 * time.Second // for one answer
	// After that long a client gives up. Within 30 s of a rotation a refresh token can
	// be sent again; afterwards it would look like a stolen one.
	patience = 25 * time.Second
)

func newLoad(d deployment) *load { return &load{deployment: d, transport: transport(), steps: 12} }

// run lets n users work until ctx is done; requests under way are finished.
func (l *load) run(ctx context.Context, n int) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { l.newUser("user " + strconv.Itoa(i+1)).work(ctx) })
	}
	all.Wait()
}

// check uses every session that there ever was once more, n at a time.
func (l *load) check(n int) {
	l.mu.Lock()
	sessions := l.sessions
	l.sessions = nil
	l.mu.Unlock()
	queue := make(chan *session)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for s := range queue {
				if s.user.refreshToken(s, false) && s.user.callAPI(s) {
					l.keep(s)
				}
			}
		})
	}
	for _, s := range sessions {
		queue <- s
	}
	close(queue)
	all.Wait()
}

func (l *load) newUser(name string) *user {
	jar, _ := cookiejar.New(nil) // without options it cannot fail
	return &user{
		load: l, name: name,
		app: &http.Client{Transport: l.transport, Timeout: tryTime},
		browser: &http.Client{Transport: l.transport, Timeout: tryTime, Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(r.URL.String(), redirectURI) {
				return http.ErrUseLastResponse // the app's: see signIn
			}
			return nil
		}},
	}
}

// work is a user's day. It ends early where something was wrong.
func (u *user) work(ctx context.Context) {
	for ctx.Err() == nil {
		s := u.newSession()
		if s == nil {
			return
		}
		for range u.steps {
			if ctx.Err() != nil {
				break
			}
			if !u.step(s) {
				return
			}
		}
		u.keep(s)
	}
}

// step does one thing with a session.
func (u *user) step(s *session) bool {
	switch mathrand.IntN(8) {
	case 0, 1, 2:
		return u.callAPI(s)
	case 3, 4:
		return u.introspect(s)
	case 5:
		return u.refreshToken(s, true)
	}
	return u.refreshToken(s, false)
}

func (l *load) keep(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions = append(l.sessions, s)
}

// newSession signs the user in and redeems the code.
func (u *user) newSession() *session {
	for {
		code, verifier, ok := u.signIn()
		if !ok {
			return nil
		}
		s, again := u.redeem(code, verifier)
		if !again {
			return s
		}
	}
}

// redeem exchanges a code for a session (RFC 6749, section 4.1.3).
//
// A code is good once. If it is refused after an answer was lost, then the code was
// redeemed by that request: its tokens have reached nobody, and the user signs in
// again.
func (u *user) redeem(code, verifier string) (s *session, again bool) {
	answers, unsure := u.deliver(u.token(url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier},
	}), mathrand.IntN(3) == 0)
	refused := 0
	for _, a := range answers {
		switch {
		case a.status == http.StatusOK && s == nil:
			s = &session{user: u}
			s.access, s.refresh = a.text("access_token"), a.text("refresh_token")
		case a.status == http.StatusOK:
			u.count(func(n *summary) { n.RedeemedTwice++ })
		case a.status == http.StatusBadRequest && a.text("error") == "invalid_grant":
			refused++
		default:
			u.unexpected("a code", a)
			return nil, false
		}
	}
	switch {
	case s != nil:
		u.count(func(n *summary) { n.Sessions++ })
	case refused > 0 && unsure:
		u.count(func(n *summary) { n.BegunAgain++ })
		u.mu.Lock()
		u.refused = append(u.refused, code)
		u.mu.Unlock()
		return nil, true
	case refused > 0:
		u.unexpected("a code that was sent once", answers[0])
	}
	return s, false
}

// refreshToken replaces the tokens of a session (RFC 6749, section 6). Sent again, or
// twice at once, the same refresh token has the same successor.
func (u *user) refreshToken(s *session, double bool) bool {
	answers, _ := u.deliver(u.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.refresh}}), double)
	next := ""
	for _, a := range answers {
		if a.status != http.StatusOK {
			u.count(func(n *summary) { n.Lost++ })
			u.unexpected("a refresh token", a)
			return false
		}
		successor := a.text("refresh_token")
		if next != "" && successor != next {
			u.count(func(n *summary) { n.TwoSuccessors++ })
		}
		next, s.access = successor, a.text("access_token")
	}
	s.refresh = next
	return next != ""
}

// callAPI uses the access token.
func (u *user) callAPI(s *session) bool {
	a, _ := u.send(u.app, call{method: http.MethodGet, url: u.Issuer + "/api/me", bearer: s.access})
	if a.status == http.StatusOK && a.text("sub") == u.name {
		return true
	}
	u.count(func(n *summary) { n.Lost++ })
	u.unexpected("an access token", a)
	return false
}

// introspect asks what the access token means, as the API in another process does
// (RFC 7662).
func (u *user) introspect(s *session) bool {
	a, _ := u.send(u.app, call{
		method: http.MethodPost, url: u.Issuer + "/oauth/introspect",
		form: url.Values{"token": {s.access}}, client: "api", secret: u.APISecret,
	})
	if a.status == http.StatusOK && a.json()["active"] == true && a.text("sub") == u.name {
		return true
	}
	u.count(func(n *summary) { n.Lost++ })
	u.unexpected("introspection", a)
	return false
}

// token is a request to the token endpoint.
func (u *user) token(form url.Values) call {
	return call{method: http.MethodPost, url: u.Issuer + "/oauth/token", form: form, client: "app", secret: u.AppSecret}
}

// signIn takes the user through the pages, and returns a code (RFC 6749, section
// 4.1.1, with PKCE: RFC 7636).
func (u *user) signIn() (code, verifier string, ok bool) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		verifier = rand.Text() + rand.Text()
		sum := sha256.Sum256([]byte(verifier))
		state := rand.Text()
		q := url.Values{
			"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {redirectURI}, "scope": {"profile"}, "state": {state},
			"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
		}
		a := u.browse(call{method: http.MethodGet, url: u.Issuer + "/oauth/authorize?" + q.Encode()})
		back := a.header.Get("Location")
		if !strings.HasPrefix(back, redirectURI+"?") {
			u.unexpected("signing in", a)
			return "", "", false
		}
		u.count(func(n *summary) { n.SignIns++ })
		to, err := url.Parse(back)
		if err != nil || to.Query().Get("state") != state || to.Query().Get("iss") != u.Issuer {
			u.unexpected("the way back to the app", a)
			return "", "", false
		}
		switch p := to.Query(); {
		case p.Get("code") != "":
			return p.Get("code"), verifier, true
		case p.Get("error") != "temporarily_unavailable": // the store is not there
			u.unexpected("signing in ("+p.Get("error")+")", a)
			return "", "", false
		}
		u.count(func(n *summary) { n.Retries++ })
		time.Sleep(time.Second)
	}
	u.unexpected("signing in for a long time", answer{})
	return "", "", false
}

var (
	hiddenFields = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	maxPages     = 4 // login, consent, and one more of each
)

// browse opens a page and fills in the forms that follow, until something else comes.
func (u *user) browse(c call) answer {
	a, _ := u.send(u.browser, c)
	for range maxPages {
		if a.status != http.StatusOK {
			break
		}
		form := url.Values{}
		for _, field := range hiddenFields.FindAllStringSubmatch(string(a.body), -1) {
			form.Set(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
		}
		if strings.Contains(string(a.body), `name="password"`) {
			form.Set("username", u.name)
			form.Set("password", "password of "+u.name)
		} else {
			form.Set("decision", "approve")
		}
		a, _ = u.send(u.browser, call{method: http.MethodPost, url: u.Issuer + "/oauth/authorize", form: form, page: true})
	}
	return a
}

// A call is a request that can be sent again.
type call struct {
	method, url    string
	form           url.Values // nil: there is no body
	client, secret string     // HTTP Basic (RFC 6749, section 2.3.1)
	bearer         string
	page           bool // sent by a form of a page
}

func (c call) request() (*http.Request, error) {
	r, err := http.NewRequestWithContext(context.Background(), c.method, c.url, strings.NewReader(c.form.Encode()))
	if err != nil {
		return nil, err
	}
	if c.form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.client != "" {
		r.SetBasicAuth(url.QueryEscape(c.client), url.QueryEscape(c.secret))
	}
	if c.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	if c.page {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return r, nil
}

// An answer is what came back. The status is 0 where the connection broke.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// unknown reports whether nobody can say what became of the request: nothing, or
// all of it but the answer.
func (a answer) unknown() bool {
	return a.status == 0 || a.status == http.StatusBadGateway || a.unavailable()
}

// unavailable reports a 503 that says when to come again.
func (a answer) unavailable() bool {
	return a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != ""
}

func (a answer) json() (members map[string]any) {
	json.Unmarshal(a.body, &members) //nolint:errcheck // then it has no members
	return members
}

func (a answer) text(member string) string {
	text, _ := a.json()[member].(string)
	return text
}

// deliver sends a request until there is an answer; its first try twice at once if
// double is set, as two tabs of a browser do. There can be two answers then. unsure
// says that another was lost.
func (u *user) deliver(c call, double bool) (answers []answer, unsure bool) {
	if !double {
		a, again := u.send(u.app, c)
		return []answer{a}, again
	}
	u.count(func(n *summary) { n.SentTwice++ })
	var both [2]answer
	var wg sync.WaitGroup
	for i := range both {
		wg.Go(func() { both[i] = u.try(u.app, c) })
	}
	wg.Wait()
	for _, a := range both {
		if a.unknown() {
			unsure = true
		} else {
			answers = append(answers, a)
		}
	}
	if len(answers) > 0 {
		return answers, unsure
	}
	u.pause(both[0], 0)
	a, _ := u.send(u.app, c)
	return []answer{a}, true
}

// send sends a request, and the same again as long as its outcome is unknown.
func (u *user) send(client *http.Client, c call) (a answer, again bool) {
	began := time.Now()
	for i := 0; ; i++ {
		a = u.try(client, c)
		if !a.unknown() || time.Since(began) > patience {
			return a, i > 0
		}
		u.pause(a, i)
	}
}

// try sends a request once.
func (u *user) try(client *http.Client, c call) (a answer) {
	u.count(func(n *summary) { n.Requests++ })
	r, err := c.request()
	if err != nil {
		return answer{}
	}
	resp, err := client.Do(r)
	if err != nil {
		return answer{}
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return answer{}
	}
	a = answer{resp.StatusCode, resp.Header, body}
	if a.unavailable() {
		u.count(func(n *summary) { n.Unavailable++ })
	}
	return a
}

// pause waits before a request is sent again: as long as the server asks for, or a
// little longer each time.
func (u *user) pause(a answer, tries int) {
	u.count(func(n *summary) { n.Retries++ })
	wait := min(time.Second, 20*time.Millisecond<<min(tries, 6))
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err == nil {
		wait = time.Duration(seconds) * time.Second
	}
	time.Sleep(wait)
}

func (l *load) count(add func(*summary)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add(&l.counts)
}

// unexpected notes an answer that a client has no use for.
func (l *load) unexpected(what string, a answer) {
	text := fmt.Sprintf("%s: %d", what, a.status)
	if code := a.text("error"); code != "" {
		text += " " + code
	}
	l.count(func(n *summary) { n.Unexpected = append(n.Unexpected, text) })
}
