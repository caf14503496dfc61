package resource_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/resource"
)

const (
	issuer  = "https://as.example"
	badBody = `{"error":"invalid_token","error_description":"Access token is invalid or expired"}`
	bad     = `error="invalid_token", error_description="Access token is invalid or expired"`
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return start }

// verifier knows some tokens by their text, and counts how often it was asked.
type verifier struct {
	tokens map[string]*resource.Token
	err    error // for every token, if set
	asked  int
	got    string
}

func (v *verifier) VerifyToken(_ context.Context, text string) (*resource.Token, error) {
	v.asked++
	v.got = text
	if v.err != nil {
		return nil, v.err
	}
	if t, ok := v.tokens[text]; ok {
		return t, nil
	}
	return nil, &resource.Error{Code: resource.InvalidToken, Cause: errors.New("unknown")}
}

func live(scopes ...string) *resource.Token {
	return &resource.Token{
		ID: "t1", Issuer: issuer, ClientID: "app", Subject: "alice", Scopes: scopes,
		Audience: []string{issuer}, IssuedAt: start.Add(-time.Minute), ExpiresAt: start.Add(time.Hour),
	}
}

func verifierOf(text string, t *resource.Token) *verifier {
	return &verifier{tokens: map[string]*resource.Token{text: t}}
}

func api(v resource.Verifier) *resource.API { return &resource.API{Verifier: v, Now: clock} }

// call sends a request with these Authorization headers through the middleware;
// reached says whether the handler behind it ran.
func call(m func(http.Handler) http.Handler, target string, authorization ...string) (res *http.Response, body string, reached bool) {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for _, a := range authorization {
		r.Header.Add("Authorization", a)
	}
	w := httptest.NewRecorder()
	m(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })).ServeHTTP(w, r)
	res = w.Result()
	b, _ := io.ReadAll(res.Body)
	return res, string(b), reached
}

func TestRequireCredential(t *testing.T) {
	const none = `Bearer realm="oauth"` // the challenge of a request that had no token
	tests := []struct {
		name      string
		target    string
		headers   []string
		status    int
		challenge string
	}{
		{"RFC 6750 2.1 header", "/", []string{"Bearer live"}, 200, ""},
		{"RFC 9110 11.1 scheme in lower case", "/", []string{"bearer live"}, 200, ""},
		{"RFC 9110 11.1 scheme in upper case", "/", []string{"BEARER live"}, 200, ""},
		{"RFC 6750 2.1 several spaces before the token", "/", []string{"Bearer   live"}, 200, ""},
		{"S388 FT-20 no header", "/", nil, 401, none},
		{"FT-20 empty header", "/", []string{""}, 401, none},
		{"FT-20 another scheme", "/", []string{"Basic YTpi"}, 401, none},
		{"FT-20 another scheme that begins alike", "/", []string{"BearerX live"}, 401, none},
		{"FT-20 a token without a scheme", "/", []string{"live"}, 401, none},
		{"RFC 9449 7.1 DPoP scheme", "/", []string{"DPoP live"}, 401, none},
		{"FT-20 unknown token", "/", []string{"Bearer x"}, 401, "Bearer " + bad},
		{"V059 scheme alone", "/", []string{"Bearer"}, 401, "Bearer " + bad},
		{"V059 scheme and a space", "/", []string{"Bearer "}, 401, "Bearer " + bad},
		{"FT-20 something after the token", "/", []string{"Bearer live x"}, 401, "Bearer " + bad},
		{"FT-20 white space inside", "/", []string{"Bearer li ve"}, 401, "Bearer " + bad},
		{"FT-20 white space after", "/", []string{"Bearer live "}, 401, "Bearer " + bad},
		{"FT-20 tab before the token", "/", []string{"Bearer\tlive"}, 401, "Bearer " + bad},
		{"FT-20 tab and space", "/", []string{"Bearer \tlive"}, 401, "Bearer " + bad},
		{"FT-20 no space", "/", []string{"Bearer:live"}, 401, "Bearer " + bad},
		{"FT-20 no space, and a token that begins with a slash", "/", []string{"Bearer/live"}, 401, "Bearer " + bad},
		{"FT-20 list of credentials", "/", []string{"Bearer live, Bearer live"}, 401, "Bearer " + bad},
		{"FT-20 two headers, equal", "/", []string{"Bearer live", "Bearer live"}, 401, "Bearer " + bad},
		{"FT-20 two headers, another scheme first", "/", []string{"Basic YTpi", "Bearer live"}, 401, "Bearer " + bad},
		{"FT-20 two headers, empty one last", "/", []string{"Bearer live", ""}, 401, "Bearer " + bad},
		{"RFC 6750 2.1 character outside b64token", "/", []string{"Bearer li%76e"}, 401, "Bearer " + bad},
		{"RFC 6750 2.1 byte outside ASCII", "/", []string{"Bearer l\xefve"}, 401, "Bearer " + bad},
		{"RFC 6750 2.1 padding alone", "/", []string{"Bearer =="}, 401, "Bearer " + bad},
		{"RFC 6750 2.1 padding inside", "/", []string{"Bearer li=ve"}, 401, "Bearer " + bad},
		{"S389 V128 FT-21 token in the query", "/?access_token=live", nil, 401, none},
		{"S389 query and another scheme", "/?access_token=live", []string{"Basic YTpi"}, 401, none},
		{
			"S390 header and query", "/?a=b&access_token=live",
			[]string{"Bearer live"},
			400,
			`Bearer error="invalid_request", error_description="Access token is sent in more than one way"`,
		},
		{
			"S390 header and escaped query", "/?access%5Ftoken=other&x",
			[]string{"Bearer live"},
			400,
			`Bearer error="invalid_request", error_description="Access token is sent in more than one way"`,
		},
		{
			"S390 malformed header and query", "/?access_token=live",
			[]string{"Bearer a b"},
			400,
			`Bearer error="invalid_request", error_description="Access token is sent in more than one way"`,
		},
		{"S390 header and an empty value", "/?access_token=&access_token", []string{"Bearer live"}, 200, ""},
		{"S390 header and another parameter", "/?access_tokens=live&q=access_token", []string{"Bearer live"}, 200, ""},
	}
	known := verifierOf("live", live())
	known.tokens["/live"] = live()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body, reached := call(api(known).Require(), tt.target, tt.headers...)
			assert.Equal(t, tt.status, res.StatusCode)
			assert.Equal(t, tt.status == 200, reached)
			assert.Equal(t, tt.challenge, res.Header.Get("WWW-Authenticate"))
			switch tt.status {
			case 200:
				assert.Empty(t, res.Header, "an answer is the handler's own")
				return
			case 401:
				assert.Equal(t, badBody, body, "FS-22")
			default:
				assert.Equal(t, `{"error":"invalid_request","error_description":"Access token is sent in more than one way"}`, body)
			}
			assert.Equal(t, "application/json", res.Header.Get("Content-Type"))
			assert.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
			assert.Equal(t, "no-store", res.Header.Get("Cache-Control"))
			assert.Equal(t, "no-cache", res.Header.Get("Pragma"))
		})
	}
}

func TestRequireNeverAsksForWhatIsNoToken(t *testing.T) {
	for _, header := range []string{"", "Bearer", "Bearer ", "Bearer a b", "Basic live"} {
		v := verifierOf("live", live())
		call(api(v).Require(), "/?access_token=live", header)
		assert.Zero(t, v.asked, "%q", header)
	}
	v := verifierOf("live", live())
	call(api(v).Require(), "/", "bearer  live")
	assert.Equal(t, 1, v.asked)
	assert.Equal(t, "live", v.got)
}

func TestRequireToken(t *testing.T) {
	with := func(change func(*resource.Token)) *resource.Token {
		tok := live("read")
		change(tok)
		return tok
	}
	tests := []struct {
		name     string
		audience string
		token    *resource.Token
		cause    string // "" for a token that is let through
	}{
		{"live", "", live("read"), ""},
		{"RFC 8707 2 audience of its own", "https://api.example", with(func(k *resource.Token) {
			k.Audience = []string{"https://other.example", "https://api.example"}
		}), ""},
		{"RFC 9700 2.3 another audience", "https://api.example", live("read"), "another audience"},
		{"RFC 9700 2.3 audience is not the issuer", "", with(func(k *resource.Token) {
			k.Audience = []string{"https://api.example"}
		}), "another audience"},
		{"RFC 9700 2.3 audience differs by a slash", issuer + "/", live("read"), "another audience"},
		{"RFC 9700 2.3 no audience", "", with(func(k *resource.Token) { k.Audience = nil }), "another audience"},
		{"FT-18 a second before its end", "", with(func(k *resource.Token) { k.ExpiresAt = start.Add(time.Second) }), ""},
		{"FT-18 at its end", "", with(func(k *resource.Token) { k.ExpiresAt = start }), "expired"},
		{"FT-20 after its end", "", with(func(k *resource.Token) { k.ExpiresAt = start.Add(-time.Hour) }), "expired"},
		{"without an end", "", with(func(k *resource.Token) { k.ExpiresAt = time.Time{} }), "no end"},
		{"RFC 9449 7.2 bound to a key", "", with(func(k *resource.Token) { k.Confirmation = "jkt:x" }), "bound to a key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var refused *resource.Error
			a := api(verifierOf("live", tt.token))
			a.Audience = tt.audience
			a.Error = func(w http.ResponseWriter, r *http.Request, e *resource.Error) {
				refused = e
				resource.WriteError(w, r, e)
			}
			res, body, reached := call(a.Require("read"), "/", "Bearer live")
			if tt.cause == "" {
				assert.True(t, reached)
				assert.Nil(t, refused)
				return
			}
			assert.False(t, reached)
			assert.Equal(t, 401, res.StatusCode)
			assert.Equal(t, badBody, body)
			assert.Equal(t, `Bearer scope="read", `+bad, res.Header.Get("WWW-Authenticate"))
			require.NotNil(t, refused)
			assert.Equal(t, "api", refused.Endpoint)
			assert.ErrorContains(t, refused.Cause, tt.cause)
		})
	}
}

// A clock that stands at its zero time must not revive tokens without an end.
func TestRequireNoEndAtZeroClock(t *testing.T) {
	tok := live()
	tok.ExpiresAt = time.Time{}
	a := &resource.API{Verifier: verifierOf("live", tok), Now: func() time.Time { return time.Time{}.Add(-time.Hour) }}
	res, _, reached := call(a.Require(), "/", "Bearer live")
	assert.Equal(t, 401, res.StatusCode)
	assert.False(t, reached)
}

func TestRequireScopes(t *testing.T) {
	includes := map[string][]string{
		"scores": {"scores.readonly"},
		"admin":  {"scores", "users"},
		"users":  {"admin"}, // a circle
	}
	tests := []struct {
		name     string
		required []string
		granted  []string
		included []string
		status   int
	}{
		{"RFC 6750 3.1 none required", nil, nil, nil, 200},
		{"RFC 6750 3.1 the one", []string{"read"}, []string{"write", "read"}, nil, 200},
		{"RFC 6750 3.1 all of them", []string{"read", "write"}, []string{"write", "read"}, nil, 200},
		{"S391 FT-27 none", []string{"read"}, nil, nil, 403},
		{"S391 another", []string{"read"}, []string{"write"}, nil, 403},
		{"S391 one of two", []string{"read", "write"}, []string{"read"}, nil, 403},
		{"RFC 6749 3.3 case matters", []string{"read"}, []string{"Read"}, nil, 403},
		{"RFC 6749 3.3 no prefix match", []string{"read"}, []string{"read:all"}, nil, 403},
		{"empty scope is never granted", []string{""}, []string{"read"}, nil, 403},
		{"FL-09 contained, says the verifier", []string{"r"}, []string{"rw"}, []string{"r"}, 200},
		{"FL-09 contained, says the API", []string{"scores.readonly"}, []string{"scores"}, nil, 200},
		{"FL-09 contained at depth two", []string{"scores.readonly"}, []string{"admin"}, nil, 200},
		{"FL-09 contained in one of a circle", []string{"scores.readonly"}, []string{"users"}, nil, 200},
		{"FL-09 not the other way", []string{"scores"}, []string{"scores.readonly"}, nil, 403},
		{"FL-09 contained and plain", []string{"scores.readonly", "read"}, []string{"scores"}, nil, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tok := live(tt.granted...)
			tok.Includes = tt.included
			a := api(verifierOf("live", tok))
			a.Includes = includes
			res, body, reached := call(a.Require(tt.required...), "/", "Bearer live")
			assert.Equal(t, tt.status, res.StatusCode)
			assert.Equal(t, tt.status == 200, reached)
			if tt.status != 200 {
				assert.Equal(t, `{"error":"insufficient_scope","error_description":"Access token lacks a required scope"}`, body)
				assert.Equal(t, `Bearer scope="`+strings.Join(tt.required, " ")+
					`", error="insufficient_scope", error_description="Access token lacks a required scope"`,
					res.Header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestRequireCopiesScopes(t *testing.T) {
	scopes := []string{"admin"}
	m := api(verifierOf("live", live("read"))).Require(scopes...)
	scopes[0] = "read"
	res, _, _ := call(m, "/", "Bearer live")
	assert.Equal(t, 403, res.StatusCode)
	assert.Contains(t, res.Header.Get("WWW-Authenticate"), `scope="admin"`)
}

func TestRequireChallenge(t *testing.T) {
	a := api(verifierOf("live", live()))
	a.Realm = "notes"
	a.Metadata = &resource.Metadata{Resource: "https://api.example"}
	const front = `Bearer realm="notes", scope="read write", ` +
		`resource_metadata="https://api.example/.well-known/oauth-protected-resource"`
	tests := []struct{ name, header, challenge string }{
		{"RFC 6750 3.1 no token", "", front},
		{"RFC 6750 3.1 invalid_token", "Bearer x", front + ", " + bad},
		{
			"RFC 6750 3.1 insufficient_scope", "Bearer live",
			front + `, error="insufficient_scope", error_description="Access token lacks a required scope"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, _, _ := call(a.Require("read", "write"), "/", tt.header)
			assert.Equal(t, []string{tt.challenge}, res.Header.Values("WWW-Authenticate"))
		})
	}
}

func TestRequireVerifierFails(t *testing.T) {
	down := errors.New("connect: 10.0.0.7 secret-detail")
	var nilError *resource.Error
	tests := []struct {
		name   string
		err    error
		status int
		code   string
		after  string
	}{
		{"plain error", down, 503, "temporarily_unavailable", "5"},
		{"canceled", context.Canceled, 503, "temporarily_unavailable", "5"},
		{"nil *Error", nilError, 503, "temporarily_unavailable", "5"},
		{"error about something else", &resource.Error{Code: resource.InvalidClient, Cause: down}, 503, "temporarily_unavailable", "5"},
		{"its own 503", &resource.Error{
			Code: resource.TemporarilyUnavailable, RetryAfter: 1500 * time.Millisecond, Cause: down,
		}, 503, "temporarily_unavailable", "2"},
		{"its own 500", &resource.Error{Code: resource.ServerError, Cause: down}, 500, "server_error", ""},
		{"wrapped invalid_token", fmt.Errorf("cache: %w", &resource.Error{Code: resource.InvalidToken}), 401, "invalid_token", ""},
		{"bare code", resource.InvalidToken, 401, "invalid_token", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body, reached := call(api(&verifier{err: tt.err}).Require(), "/", "Bearer live")
			assert.Equal(t, tt.status, res.StatusCode)
			assert.False(t, reached)
			assert.Contains(t, body, `{"error":"`+tt.code+`"`)
			assert.NotContains(t, body, "secret-detail")
			assert.Equal(t, tt.after, res.Header.Get("Retry-After"))
			assert.Equal(t, tt.status == 401, res.Header.Get("WWW-Authenticate") != "")
			if tt.status == 401 {
				assert.Equal(t, badBody, body)
			}
		})
	}
}

// nothing is a Verifier that forgets to answer.
type nothing struct{}

func (nothing) VerifyToken(context.Context, string) (*resource.Token, error) { return nil, nil }

func TestRequireMisconfigured(t *testing.T) {
	for name, v := range map[string]resource.Verifier{"no verifier": nil, "neither token nor error": nothing{}} {
		t.Run(name, func(t *testing.T) {
			res, body, reached := call(resource.Require(v), "/", "Bearer live")
			assert.False(t, reached)
			assert.Equal(t, 500, res.StatusCode)
			assert.Equal(t, `{"error":"server_error","error_description":"Internal server error"}`, body)
		})
	}
	for _, header := range []string{"", "Bearer a b", "Basic YTpi"} {
		res, _, reached := call(resource.Require(nil), "/", header)
		assert.False(t, reached)
		assert.Equal(t, 500, res.StatusCode, "without a verifier, %q", header)
	}
}

// The errors of hooks may be values that every request shares.
func TestRequireDoesNotWriteToSharedErrors(t *testing.T) {
	shared := &resource.Error{Code: resource.InvalidToken}
	lacking := &resource.Error{Code: resource.InsufficientScope}
	a := api(&verifier{err: shared})
	a.Guards = []resource.Guard{func(_ context.Context, c *resource.Call) error {
		if c.Request.URL.Path == "/scope" {
			return lacking
		}
		return nil
	}}
	m := a.Require("read")
	for _, path := range []string{"/", "/scope"} {
		res, _, _ := call(m, path, "Bearer live")
		assert.Contains(t, res.Header.Get("WWW-Authenticate"), `scope="read"`)
	}
	assert.Equal(t, &resource.Error{Code: resource.InvalidToken}, shared)
	assert.Equal(t, &resource.Error{Code: resource.InsufficientScope}, lacking)
}

// Refusals that are built at the same time must not share memory.
func TestRequireConcurrently(t *testing.T) {
	a := &resource.API{Verifier: concurrent{}, Realm: "r", Now: clock}
	m := a.Require("read", "write")
	want := map[string]string{
		"one": `Bearer realm="r", scope="read write", error="invalid_token", error_description="one"`,
		"two": `Bearer realm="r", scope="read write", error="invalid_token", error_description="two"`,
	}
	var all sync.WaitGroup
	for range 8 {
		for text, challenge := range want {
			all.Go(func() {
				for range 50 {
					res, _, _ := call(m, "/", "Bearer "+text)
					assert.Equal(t, challenge, res.Header.Get("WWW-Authenticate"))
				}
			})
		}
	}
	all.Wait()
}

type concurrent struct{}

func (concurrent) VerifyToken(_ context.Context, text string) (*resource.Token, error) {
	return nil, &resource.Error{Code: resource.InvalidToken, Description: text}
}

func TestRequireErrorWriter(t *testing.T) {
	const body = `{"error":"unauthorized","message":"Bearer token is missing, invalid, or expired."}`
	a := api(verifierOf("live", live()))
	a.Error = func(w http.ResponseWriter, _ *http.Request, e *resource.Error) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(e.HTTPStatus())
		_, _ = io.WriteString(w, body)
	}
	for header, challenge := range map[string]string{"Bearer x": "Bearer " + bad, "Basic YTpi": `Bearer realm="oauth"`} {
		t.Run("FT-19 "+header, func(t *testing.T) {
			res, got, _ := call(a.Require(), "/", header)
			assert.Equal(t, 401, res.StatusCode)
			assert.Equal(t, body, got)
			assert.Equal(t, challenge, res.Header.Get("WWW-Authenticate"))
			assert.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		})
	}
}

// FP-10: the handler still reads the body whole, and a token in a form body is
// the handler's own affair.
func TestRequireLeavesBody(t *testing.T) {
	for _, body := range []string{`{"order":1}`, "access_token=live&x=1"} {
		r := httptest.NewRequest(http.MethodPost, "/api/checkout/v1/orders", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer live")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		var got []byte
		w := httptest.NewRecorder()
		api(verifierOf("live", live())).Require()(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got, _ = io.ReadAll(r.Body)
		})).ServeHTTP(w, r)
		assert.Equal(t, 200, w.Code)
		assert.Equal(t, body, string(got))
	}
}

func TestFromContext(t *testing.T) {
	_, ok := resource.FromContext(context.Background())
	assert.False(t, ok)

	tok := live("read")
	var got *resource.Token
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer live")
	api(verifierOf("live", tok)).Require("read")(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got, ok = resource.FromContext(r.Context())
	})).ServeHTTP(httptest.NewRecorder(), r)
	assert.True(t, ok)
	assert.Same(t, tok, got)
	_, ok = resource.FromContext(r.Context())
	assert.False(t, ok, "the caller's request is not changed")
}

// A router protected as a whole, with routes that ask for more: the token is
// verified once, the guards count the request once.
func TestRequireWithinRequire(t *testing.T) {
	v := verifierOf("live", live("read"))
	guarded := 0
	now := start
	a := &resource.API{Verifier: v, Now: func() time.Time { return now }}
	a.Guards = []resource.Guard{func(context.Context, *resource.Call) error { guarded++; return nil }}
	var inner http.Handler
	outer := a.Require()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inner.ServeHTTP(w, r) }))
	send := func(h http.Handler) int {
		v.asked, guarded, inner, now = 0, 0, h, start
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer live")
		w := httptest.NewRecorder()
		outer.ServeHTTP(w, r)
		return w.Code
	}
	end := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

	t.Run("same API", func(t *testing.T) {
		assert.Equal(t, 204, send(a.Require("read")(end)))
		assert.Equal(t, []int{1, 1}, []int{v.asked, guarded})
	})
	t.Run("same API, scope missing", func(t *testing.T) {
		assert.Equal(t, 403, send(a.Require("write")(end)))
		assert.Equal(t, []int{1, 1}, []int{v.asked, guarded})
	})
	t.Run("another API verifies again", func(t *testing.T) {
		b := &resource.API{Verifier: v, Guards: a.Guards, Now: clock}
		assert.Equal(t, 204, send(b.Require("read")(end)))
		assert.Equal(t, []int{2, 2}, []int{v.asked, guarded})
	})
	t.Run("expired meanwhile", func(t *testing.T) {
		assert.Equal(t, 401, send(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			now = start.Add(2 * time.Hour)
			a.Require("read")(end).ServeHTTP(w, r)
			tok, ok := resource.FromContext(r.Context())
			assert.True(t, ok && tok != nil, "what was let through stays what it was")
		})))
	})
	for header, want := range map[string]int{"": 401, "Bearer other": 401, "Bearer l ive": 401, "Bearer live": 204} {
		t.Run("a request of its own from the same context: "+header, func(t *testing.T) {
			send(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				sub := httptest.NewRequestWithContext(r.Context(), http.MethodGet, "/", nil)
				if header != "" {
					sub.Header.Set("Authorization", header)
				}
				w := httptest.NewRecorder()
				a.Require("read")(end).ServeHTTP(w, sub)
				assert.Equal(t, want, w.Code)
			}))
		})
	}
}

func TestCheck(t *testing.T) {
	tok := live("read")
	a := api(verifierOf("live", tok))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer live")
	h := http.Header{}
	got, e := a.Check(r, h, "read")
	assert.Nil(t, e)
	assert.Same(t, tok, got)
	assert.Empty(t, h)

	got, e = a.Check(r, h, "read", "write")
	assert.Nil(t, got)
	require.NotNil(t, e)
	assert.Equal(t, resource.InsufficientScope, e.Code)
	assert.Equal(t, []string{"read", "write"}, e.Scopes)
	assert.Equal(t, `Bearer scope="read write", error="insufficient_scope", error_description="Access token lacks a required scope"`,
		h.Get("WWW-Authenticate"))
	assert.Equal(t, "no-store", h.Get("Cache-Control"))
}

func TestRequireLogs(t *testing.T) {
	tests := []struct{ name, header, want string }{
		{"no token", "", "level=INFO msg=\"request refused\" endpoint=api status=401 code=invalid_token client=\"\" cause=\"no bearer token\""},
		{"bad token", "Bearer s3cret", "level=INFO msg=\"request refused\" endpoint=api status=401 code=invalid_token client=\"\" cause=unknown"},
		{"lacks a scope", "Bearer live", "level=INFO msg=\"request refused\" endpoint=api status=403 code=insufficient_scope client=app cause=<nil>"},
	}
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out.Reset()
			a := api(verifierOf("live", live()))
			a.Logger = logger
			call(a.Require("read"), "/", tt.header)
			assert.Equal(t, tt.want+"\n", out.String())
		})
	}
	t.Run("store down", func(t *testing.T) {
		out.Reset()
		a := api(&verifier{err: errors.New("store is down")})
		a.Logger = logger
		call(a.Require("read"), "/", "Bearer s3cret")
		assert.Equal(t, "level=ERROR msg=\"request refused\" endpoint=api status=503 code=temporarily_unavailable client=\"\" cause=\"store is down\"\n", out.String())
	})
	t.Run("nothing refused", func(t *testing.T) {
		out.Reset()
		a := api(verifierOf("live", live("read")))
		a.Logger = logger
		call(a.Require("read"), "/", "Bearer live")
		assert.Empty(t, out.String())
	})
}

// The zero Now is the time of day.
func TestRequireDefaultClock(t *testing.T) {
	tok := live()
	tok.ExpiresAt = time.Now().Add(time.Minute)
	_, _, reached := call(resource.Require(verifierOf("live", tok)), "/", "Bearer live")
	assert.True(t, reached)
	tok.ExpiresAt = time.Now().Add(-time.Minute)
	_, _, reached = call(resource.Require(verifierOf("live", tok)), "/", "Bearer live")
	assert.False(t, reached)
}

func FuzzBearer(f *testing.F) {
	for _, s := range []string{
		"Bearer abc", "bearer  a.b-c_d~e+f/g==", "Bearer", "Bearer ", "Bearer a b", "Basic YTpi", "", "Bearer\tx", "Bearerx y", "Bearer =", "BEARER \xff",
	} {
		f.Add(s, "", "")
		f.Add(s, "Bearer x", "access_token=x")
	}
	f.Add("Bearer a", "", "access%5ftoken=x&%zz=1;")
	wellFormed := regexp.MustCompile(`^(?i:bearer) +([A-Za-z0-9\-._~+/]+=*)$`)
	isBearer := regexp.MustCompile("^(?i:bearer)($|[^0-9A-Za-z!#$%&'*+\\-.^_`|~])")
	f.Fuzz(func(t *testing.T, first, second, query string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.RawQuery = query
		r.Header["Authorization"] = []string{first}
		if second != "" {
			r.Header["Authorization"] = []string{first, second}
		}
		token, e := resource.Bearer(r)
		match := wellFormed.FindStringSubmatch(first)
		inQuery := false
		for _, v := range r.URL.Query()["access_token"] {
			inQuery = inQuery || v != ""
		}
		switch {
		case second == "" && !isBearer.MatchString(first):
			assert.Empty(t, token)
			assert.Nil(t, e)
		case e == nil:
			require.NotNil(t, match)
			assert.Equal(t, match[1], token)
			assert.Empty(t, second)
			assert.False(t, inQuery)
		default:
			assert.Empty(t, token)
			assert.True(t, match == nil || second != "" || strings.Contains(query, "="), "refused without a reason")
			if inQuery {
				assert.Equal(t, resource.InvalidRequest, e.Code)
			}
		}
	})
}

func BenchmarkRequire(b *testing.B) {
	h := api(fixed{live("read", "write")}).Require("read")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for name, header := range map[string]string{"live": "Bearer live", "none": ""} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Authorization", header)
			w := discard{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				h.ServeHTTP(w, r)
			}
		})
	}
}

type fixed struct{ token *resource.Token }

func (f fixed) VerifyToken(context.Context, string) (*resource.Token, error) { return f.token, nil }

type discard struct{ h http.Header }

func (d discard) Header() http.Header       { return d.h }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
