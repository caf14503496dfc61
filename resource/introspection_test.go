package resource_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/grantwell/oauth/resource"
)

const endpoint = issuer + "/introspect"

// oracle is an introspection endpoint: answers by token, and a clock.
type oracle struct {
	mu      sync.Mutex
	at      time.Time
	down    bool
	status  int
	kind    string // Content-Type
	moved   string // where the endpoint has moved; "": it has not
	answers map[string]string
	asked   []string // tokens
	found   int      // how often the metadata was asked for
	hold    chan struct{}
	begun   chan struct{}
	last    *http.Request
}

func newOracle() *oracle {
	return &oracle{at: start, status: 200, kind: "application/json", answers: map[string]string{"live": answer(`{}`)}}
}

// answer is a good one, with some members changed; null leaves one out.
func answer(change string) string {
	var m map[string]any
	if err := json.Unmarshal([]byte(claims(change)), &m); err != nil {
		panic(err)
	}
	if _, ok := m["active"]; !ok {
		m["active"] = true
	}
	if _, ok := m["token_type"]; !ok {
		m["token_type"] = "Bearer"
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (o *oracle) now() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.at
}

func (o *oracle) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *oracle) times(token string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range o.asked {
		if a == token {
			n++
		}
	}
	return n
}

func (o *oracle) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.found++
		body := `{"issuer":"` + issuer + `","introspection_endpoint":"` + cmp.Or(o.moved, endpoint) + `"}`
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	o.last = r
	token := form.Get("token")
	o.asked = append(o.asked, token)
	body, ok := o.answers[token]
	down, hold, status, kind := o.down, o.hold, o.status, o.kind
	if o.moved != "" && r.URL.String() != o.moved {
		status = 404
	}
	o.mu.Unlock()
	if hold != nil {
		o.begun <- struct{}{}
		<-hold
	}
	if down {
		return nil, errDown
	}
	if !ok {
		body = `{"active":false}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}, nil
}

func (o *oracle) verifier() *resource.Introspection {
	return &resource.Introspection{Issuer: issuer, Endpoint: endpoint, ClientID: "api", ClientSecret: "s3cret", Transport: o, Now: o.now}
}

func TestIntrospectionRequest(t *testing.T) {
	o := newOracle()
	v := o.verifier()
	v.Endpoint, v.ClientID, v.ClientSecret = "", "a:pi ü", "s3 +cret%"
	accepted(t, v, "live")
	assert.Equal(t, endpoint, o.last.URL.String(), "RFC 8414, section 2: from the metadata")
	id, secret, ok := o.last.BasicAuth()
	assert.True(t, ok)
	assert.Equal(t, "a%3Api+%C3%BC", id, "RFC 6749, section 2.3.1")
	assert.Equal(t, "s3+%2Bcret%25", secret, "RFC 6749, section 2.3.1")
	assert.Equal(t, "application/json", o.last.Header.Get("Accept"))
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", v, v, v), unavailableText(t, o, v)} {
		assert.NotContains(t, text, "s3")
	}
}

func unavailableText(t *testing.T, o *oracle, v *resource.Introspection) string {
	t.Helper()
	o.set(func() { o.down = true })
	return unavailable(t, v, "other").Error()
}

func TestIntrospectionToken(t *testing.T) {
	for _, tt := range []struct {
		name, change string
		want         func(tok *resource.Token)
	}{
		{"RFC 7662 2.2", `{}`, func(*resource.Token) {}},
		{"RFC 7662 2.2 optional members", `{"iss":null,"sub":null,"client_id":null,"scope":null,"iat":null,"jti":null,"token_type":null}`, func(tok *resource.Token) {
			tok.Subject, tok.ClientID, tok.Scopes, tok.IssuedAt, tok.ID = "", "", nil, time.Time{}, ""
		}},
		{"token_type in another case", `{"token_type":"bearer"}`, func(*resource.Token) {}},
		{"without aud it is for nobody", `{"aud":null}`, func(tok *resource.Token) { tok.Audience = nil }},
		{"RFC 9470 6.2", `{"auth_time":1772366300,"acr":"gold"}`, func(tok *resource.Token) {
			tok.AuthTime, tok.ACR = time.Unix(1772366300, 0).UTC(), "gold"
		}},
		{"S157 a client's own", `{"sub":"client:app"}`, func(tok *resource.Token) { tok.Subject = "" }},
		{"S205 cnf", `{"token_type":"DPoP","cnf":{"jkt":"x"}}`, func(tok *resource.Token) { tok.Confirmation = "jkt:x" }},
		{"RFC 8705 3.2 cnf", `{"cnf":{"x5t#S256":"x"}}`, func(tok *resource.Token) { tok.Confirmation = "x5t#S256:x" }},
		{"DPoP without its key", `{"token_type":"DPoP"}`, func(tok *resource.Token) { tok.Confirmation = "unknown:" }},
		{"token_use", `{"token_use":"access_token"}`, func(*resource.Token) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOracle()
			o.answers["live"] = answer(tt.change)
			if tt.name == "RFC 7662 2.2 optional members" {
				o.answers["live"] = fmt.Sprintf(`{"active":true,"exp":%d,"aud":%q}`, start.Add(time.Hour).Unix(), audience)
			}
			want := &resource.Token{ID: "t1", Issuer: issuer, ClientID: "app", Subject: "alice", Scopes: []string{"read", "write"},
				Audience: []string{audience}, IssuedAt: start.Add(-time.Minute), ExpiresAt: start.Add(time.Hour)}
			tt.want(want)
			got := accepted(t, o.verifier(), "live")
			if len(want.Scopes) == 0 {
				assert.Empty(t, got.Scopes)
				want.Scopes = got.Scopes
			}
			assert.Equal(t, want, got)
		})
	}
}

func TestIntrospectionAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"RFC 7662 2.2 inactive":         `{"active":false}`,
		"inactive, with members":        answer(`{"active":false}`),
		"of another issuer":             answer(`{"iss":"https://evil.example"}`),
		"expired":                       answer(fmt.Sprintf(`{"exp":%d}`, start.Unix())),
		"without an end":                answer(`{"exp":null}`),
		"S181 a refresh token":          answer(`{"token_use":"refresh_token"}`),
		"of an unknown type":            answer(`{"token_type":"mac"}`),
		"V067 an empty one is no Token": `{"active":true}`,
	} {
		t.Run("refused, "+name, func(t *testing.T) {
			o := newOracle()
			o.answers["live"] = body
			refused(t, o.verifier(), "live")
		})
	}
	for name, body := range map[string]string{
		"active text":           answer(`{"active":"true"}`),
		"active number":         answer(`{"active":1}`),
		"active null":           strings.Replace(answer(`{}`), `"active":true`, `"active":null`, 1),
		"Active":                strings.Replace(answer(`{}`), `"active"`, `"Active"`, 1),
		"no active":             `{"sub":"alice"}`,
		"active twice":          strings.Replace(answer(`{}`), `{`, `{"active":false,`, 1),
		"sub number":            answer(`{"sub":1}`),
		"exp text":              answer(`{"exp":"9999999999"}`),
		"aud number":            answer(`{"aud":1}`),
		"scope array":           answer(`{"scope":["read"]}`),
		"cnf text":              answer(`{"cnf":"x"}`),
		"iss number":            answer(`{"iss":1}`),
		"token_type number":     answer(`{"token_type":1}`),
		"not JSON":              `<html>secret`,
		"array":                 `[]`,
		"empty":                 ``,
		"trailing":              answer(`{}`) + `{}`,
		"S299 too large":        answer(`{"x":"` + strings.Repeat("x", 300_000) + `"}`),
		"not UTF-8":             `{"active":true,"sub":"` + "\xff" + `"}`,
		"a JWT (RFC 9701)":      `eyJ.eyJ.x`,
		"an error in a 200":     `{"error":"invalid_client"}`,
		"GHSA-qvp4-rpmr-xwrr 1": `null`,
	} {
		t.Run("S343 not understood, "+name, func(t *testing.T) {
			o := newOracle()
			o.answers["live"] = body
			err := unavailable(t, o.verifier(), "live")
			assert.NotContains(t, err.Error(), "secret", "S303")
		})
	}
	for name, change := range map[string]func(o *oracle){
		"401":                  func(o *oracle) { o.status = 401 },
		"403":                  func(o *oracle) { o.status = 403 },
		"404":                  func(o *oracle) { o.status = 404 },
		"500":                  func(o *oracle) { o.status = 500 },
		"503":                  func(o *oracle) { o.status = 503 },
		"204":                  func(o *oracle) { o.status = 204 },
		"302":                  func(o *oracle) { o.status = 302 },
		"down":                 func(o *oracle) { o.down = true },
		"text/html":            func(o *oracle) { o.kind = "text/html" },
		"RFC 9701 5 signed":    func(o *oracle) { o.kind = "application/token-introspection+jwt" },
		"no Content-Type":      func(o *oracle) { o.kind = "" },
		"401, inactive inside": func(o *oracle) { o.status, o.answers["live"] = 401, `{"active":false}` },
	} {
		t.Run("S343 fail closed, "+name, func(t *testing.T) {
			o := newOracle()
			change(o)
			unavailable(t, o.verifier(), "live")
			res, _, reached := call((&resource.API{Verifier: o.verifier(), Audience: audience, Now: o.now}).Require(), "/", "Bearer live")
			assert.Equal(t, 503, res.StatusCode)
			assert.False(t, reached)
		})
	}
}

func TestIntrospectionBehindAPI(t *testing.T) {
	for change, status := range map[string]int{
		`{}`: 200, `{"aud":null}`: 401, `{"aud":"https://other.example"}`: 401, `{"cnf":{"jkt":"x"}}`: 401, `{"token_type":"DPoP"}`: 401,
		`{"scope":"write"}`: 403,
	} {
		t.Run(change, func(t *testing.T) {
			o := newOracle()
			o.answers["live"] = answer(change)
			p := &resource.API{Verifier: o.verifier(), Audience: audience, Now: o.now}
			for range 2 { // V067: what is kept passes the same checks
				res, _, _ := call(p.Require("read"), "/", "Bearer live")
				assert.Equal(t, status, res.StatusCode)
			}
			assert.Equal(t, 1, o.times("live"))
		})
	}
}

func TestIntrospectionKeeps(t *testing.T) {
	t.Run("S179 a revocation is seen after TTL", func(t *testing.T) {
		o := newOracle()
		v := o.verifier()
		accepted(t, v, "live")
		o.set(func() { o.answers["live"], o.at = `{"active":false}`, o.at.Add(5*time.Second-1) })
		accepted(t, v, "live")
		o.set(func() { o.at = o.at.Add(1) })
		refused(t, v, "live")
		refused(t, v, "live")
		assert.Equal(t, 3, o.times("live"), "what is not active is not kept")
	})
	t.Run("S179 not at all", func(t *testing.T) {
		o := newOracle()
		v := o.verifier()
		v.TTL = -1
		accepted(t, v, "live")
		o.set(func() { o.answers["live"] = `{"active":false}` })
		refused(t, v, "live")
	})
	t.Run("never past exp", func(t *testing.T) {
		o := newOracle()
		v := o.verifier()
		v.TTL = 5 * time.Minute
		o.answers["live"] = answer(fmt.Sprintf(`{"exp":%d}`, start.Unix()+2))
		accepted(t, v, "live")
		o.set(func() { o.at = o.at.Add(2*time.Second - 1) })
		accepted(t, v, "live")
		o.set(func() { o.at = o.at.Add(1) })
		refused(t, v, "live")
		assert.Equal(t, 2, o.times("live"))
	})
	t.Run("down: what is kept, and then no more", func(t *testing.T) {
		o := newOracle()
		v := o.verifier()
		accepted(t, v, "live")
		o.set(func() { o.down = true })
		accepted(t, v, "live")
		unavailable(t, v, "other")
		o.set(func() { o.at = o.at.Add(5 * time.Second) })
		unavailable(t, v, "live")
		o.set(func() { o.down = false })
		accepted(t, v, "live")
	})
	t.Run("a clock that goes back", func(t *testing.T) {
		o := newOracle()
		v := o.verifier()
		accepted(t, v, "live")
		o.set(func() { o.at = o.at.Add(-time.Second) })
		accepted(t, v, "live")
		assert.Equal(t, 2, o.times("live"))
	})
	t.Run("a clock that goes back revives nothing", func(t *testing.T) {
		o := newOracle()
		v := o.verifier()
		v.Size = 1
		accepted(t, v, "live")
		o.set(func() { o.answers["live"], o.at = `{"active":false}`, o.at.Add(5*time.Second) })
		refused(t, v, "live")
		o.set(func() { o.at = o.at.Add(-time.Second) })
		refused(t, v, "live")
		o.set(func() { o.answers["live"] = answer(`{}`) })
		accepted(t, v, "live")
		accepted(t, v, "live")
		assert.Equal(t, 4, o.times("live"), "it is kept as before")
	})
	t.Run("Size", func(t *testing.T) {
		o := newOracle()
		v := o.verifier()
		v.Size = 3
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			o.answers[name] = answer(`{"jti":"` + name + `"}`)
			assert.Equal(t, name, accepted(t, v, name).ID)
		}
		for _, name := range []string{"c", "d", "e"} {
			accepted(t, v, name)
			assert.Equal(t, 1, o.times(name), name)
		}
		for _, name := range []string{"a", "b"} {
			accepted(t, v, name)
			assert.Equal(t, 2, o.times(name), "%s was pushed out", name)
		}
		o.set(func() { o.at = o.at.Add(6 * time.Second) })
		for range 2 {
			for _, name := range []string{"e", "a", "b"} {
				accepted(t, v, name)
			}
		}
		assert.Equal(t, []int{3, 3, 2}, []int{o.times("a"), o.times("b"), o.times("e")})
	})
	t.Run("what is returned is the caller's own", func(t *testing.T) {
		o := newOracle()
		v := o.verifier()
		first := accepted(t, v, "live")
		first.Scopes[0], first.Subject, first.Audience[0] = "admin", "root", "x"
		second := accepted(t, v, "live")
		assert.Equal(t, []any{"alice", []string{"read", "write"}, []string{audience}}, []any{second.Subject, second.Scopes, second.Audience})
	})
}

func TestIntrospectionSingleFlight(t *testing.T) {
	o := newOracle()
	v := o.verifier()
	o.hold, o.begun = make(chan struct{}), make(chan struct{}, 100)
	var all sync.WaitGroup
	one := func(ctx context.Context, token string) error {
		_, err := v.VerifyToken(ctx, token)
		return err
	}
	all.Go(func() { assert.NoError(t, one(t.Context(), "live")) })
	<-o.begun
	for range 50 {
		all.Go(func() { assert.NoError(t, one(t.Context(), "live")) })
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := one(ctx, "live")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.False(t, errors.Is(err, resource.InvalidToken))
	all.Go(func() { assert.ErrorIs(t, one(t.Context(), "dead"), resource.InvalidToken) })
	<-o.begun
	close(o.hold)
	all.Wait()
	assert.Equal(t, []int{1, 1}, []int{o.times("live"), o.times("dead")})
}

// With a negative TTL nobody gets an answer that was given before the request came.
func TestIntrospectionKeepsNothing(t *testing.T) {
	o := newOracle()
	v := o.verifier()
	v.TTL = -1
	o.hold, o.begun = make(chan struct{}), make(chan struct{}, 2)
	var all sync.WaitGroup
	all.Go(func() {
		_, err := v.VerifyToken(t.Context(), "live")
		assert.NoError(t, err)
	})
	<-o.begun // its answer is made
	o.set(func() { o.answers["live"] = `{"active":false}` })
	all.Go(func() {
		_, err := v.VerifyToken(t.Context(), "live")
		assert.ErrorIs(t, err, resource.InvalidToken)
	})
	select {
	case <-o.begun:
	case <-time.After(10 * time.Second):
		assert.Fail(t, "the second request has not asked")
	}
	close(o.hold)
	all.Wait()
}

// RFC 8414: an endpoint that has moved is found without waiting for the metadata to
// get old.
func TestIntrospectionMoved(t *testing.T) {
	o := newOracle()
	v := o.verifier()
	v.Endpoint, v.TTL = "", -1
	accepted(t, v, "live")
	o.set(func() { o.moved, o.at = issuer+"/moved", o.at.Add(9*time.Second) })
	unavailable(t, v, "live")
	assert.Equal(t, 1, o.found, "the metadata was asked for a moment ago")
	o.set(func() { o.at = o.at.Add(time.Second) })
	accepted(t, v, "live")
	accepted(t, v, "live")
	assert.Equal(t, 2, o.found)
	o.set(func() { o.status, o.at = 401, o.at.Add(10*time.Second) })
	for range 20 {
		unavailable(t, v, "live")
	}
	assert.Equal(t, 3, o.found, "once, however many requests fail")
	o.set(func() { o.status = 200 })
	refused(t, v, "other")
	o.set(func() { o.at = o.at.Add(10 * time.Second) })
	refused(t, v, "other")
	assert.Equal(t, 3, o.found, "a token that is not active is an answer")
}

func TestIntrospectionConcurrently(t *testing.T) {
	o := newOracle()
	v := o.verifier()
	v.Size = 4
	for i := range 8 {
		o.answers[fmt.Sprintf("t%d", i)] = answer(fmt.Sprintf(`{"jti":"t%d"}`, i))
	}
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 50 {
				name := fmt.Sprintf("t%d", (g+i)%8)
				tok, err := v.VerifyToken(t.Context(), name)
				if assert.NoError(t, err) {
					assert.Equal(t, name, tok.ID)
				}
			}
		})
	}
	all.Wait()
}

// What cannot be a token is not asked about.
func TestIntrospectionOddTokens(t *testing.T) {
	o := newOracle()
	v := o.verifier()
	for name, token := range map[string]string{
		"empty": "", "S284 oversized": strings.Repeat("a", 16<<10+1), "S284 dots": strings.Repeat(".", 1<<20), "space": "a b", "control": "a\r\nb",
		"not ASCII": "é", "quote": `a"b`,
	} {
		t.Run(name, func(t *testing.T) { refused(t, v, token) })
	}
	assert.Empty(t, o.asked)
}

func TestIntrospectionSettings(t *testing.T) {
	o := newOracle()
	for name, v := range map[string]*resource.Introspection{
		"nothing":           {},
		"no Issuer":         {Endpoint: endpoint, ClientID: "api", ClientSecret: "x"},
		"no ClientID":       {Issuer: issuer, ClientSecret: "x"},
		"no ClientSecret":   {Issuer: issuer, ClientID: "api"},
		"Endpoint http":     {Issuer: issuer, Endpoint: "http://as.example/i", ClientID: "api", ClientSecret: "x"},
		"TTL over 5 minute": {Issuer: issuer, ClientID: "api", ClientSecret: "x", TTL: 5*time.Minute + 1},
		"Size negative":     {Issuer: issuer, ClientID: "api", ClientSecret: "x", Size: -1},
	} {
		t.Run(name, func(t *testing.T) {
			v.Transport, v.Now = o, o.now
			assert.ErrorIs(t, unavailable(t, v, "live"), resource.ServerError)
		})
	}
	assert.Empty(t, o.asked)
}

func FuzzIntrospection(f *testing.F) {
	f.Add([]byte(answer(`{}`)))
	f.Add([]byte(`{"active":false}`))
	f.Add([]byte(`{"active":true,"exp":1e300,"aud":["x"]}`))
	f.Add([]byte(`{"active":true,"active":false}`))
	f.Add([]byte(answer(`{"cnf":{"jkt":"x"},"amr":["x"],"token_type":"DPoP"}`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		o := newOracle()
		o.answers["live"] = string(body)
		tok, err := o.verifier().VerifyToken(t.Context(), "live")
		if err != nil {
			if tok != nil {
				t.Fatal("a token and an error")
			}
			return
		}
		var m map[string]any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber() // a number that nobody reads may be out of all bounds
		if d.Decode(&m) != nil || d.More() || m["active"] != true || tok.Issuer != issuer || !start.Before(tok.ExpiresAt) {
			t.Fatalf("%q: %+v", body, tok)
		}
	})
}

// Escapes of JSON are taken off before anything is compared.
func TestIntrospectionEscapes(t *testing.T) {
	o := newOracle()
	escaped := strings.NewReplacer("live", `l\u0069ve`, "aud", `\u0061ud`, "https://", `https:\/\/`, "active", `act\u0069ve`).Replace(answer(`{}`))
	o.answers["live"] = escaped
	t.Run("RFC 9728 6 escapes of JSON", func(t *testing.T) {
		assert.NotEqual(t, answer(`{}`), escaped)
		tok := accepted(t, o.verifier(), "live")
		assert.Equal(t, issuer, tok.Issuer)
		assert.True(t, tok.For(audience))
	})
}
