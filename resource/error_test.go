package resource_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/resource"
)

func TestError(t *testing.T) {
	cause := errors.New("row is gone")
	e := &resource.Error{Code: resource.InvalidGrant, Description: "No such code", Cause: cause}
	assert.EqualError(t, e, "invalid_grant: No such code (row is gone)")
	assert.EqualError(t, &resource.Error{Code: resource.InvalidGrant}, "invalid_grant")
	assert.EqualError(t, resource.InvalidGrant, "invalid_grant")
	wrapped := fmt.Errorf("token: %w", e)
	assert.ErrorIs(t, wrapped, resource.InvalidGrant)
	assert.ErrorIs(t, wrapped, &resource.Error{Code: resource.InvalidGrant})
	assert.ErrorIs(t, wrapped, cause)
	assert.NotErrorIs(t, wrapped, resource.InvalidClient)
	assert.NotErrorIs(t, wrapped, &resource.Error{Code: resource.InvalidClient})
}

func TestErrorStatus(t *testing.T) {
	for _, tt := range []struct {
		rfc  string
		e    resource.Error
		want int
	}{
		{"RFC 6749 5.2", resource.Error{Code: resource.InvalidRequest}, 400},
		{"RFC 6749 5.2", resource.Error{Code: resource.InvalidGrant}, 400},
		{"RFC 6749 5.2", resource.Error{Code: resource.InvalidClient}, 401},
		{"RFC 6750 3.1", resource.Error{Code: resource.InvalidToken}, 401},
		{"RFC 6750 3.1", resource.Error{Code: resource.InsufficientScope}, 403},
		{"RFC 9110 15.6.1", resource.Error{Code: resource.ServerError}, 500},
		{"RFC 9110 15.6.4", resource.Error{Code: resource.TemporarilyUnavailable}, 503},
		{"RFC 6585 4", resource.Error{Code: resource.TemporarilyUnavailable, Status: 429}, 429},
		{"unknown code", resource.Error{Code: "other"}, 400},
	} {
		t.Run(tt.rfc+" "+string(tt.e.Code), func(t *testing.T) { assert.Equal(t, tt.want, tt.e.HTTPStatus()) })
	}
}

func TestErrorSetHeader(t *testing.T) {
	for _, tt := range []struct {
		name string
		e    resource.Error
		want string
	}{
		{"RFC 6585 4 whole seconds", resource.Error{Status: 429, RetryAfter: 30 * time.Second}, "30"},
		{"RFC 9110 10.2.3 rounded up", resource.Error{Code: resource.TemporarilyUnavailable, RetryAfter: time.Millisecond}, "1"},
		{"RFC 9110 10.2.3 the longest", resource.Error{Status: 503, RetryAfter: math.MaxInt64}, "9223372037"},
		{"none", resource.Error{Status: 503}, ""},
		{"negative", resource.Error{Status: 503, RetryAfter: -time.Second}, ""},
		{"another status", resource.Error{Code: resource.InvalidGrant, RetryAfter: time.Second}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{"Cache-Control": {"max-age=60"}}
			tt.e.SetHeader(h)
			assert.Equal(t, []string{"no-store"}, h.Values("Cache-Control"))
			assert.Equal(t, []string{"no-cache"}, h.Values("Pragma"))
			assert.Equal(t, tt.want, h.Get("Retry-After"))
		})
	}
}

func TestWriteError(t *testing.T) {
	for _, tt := range []struct {
		name   string
		e      resource.Error
		status int
		body   string
	}{
		{"RFC 6749 5.2 code alone", resource.Error{Code: resource.InvalidGrant}, 400, `{"error":"invalid_grant"}`},
		{
			"RFC 6749 5.2 all members",
			resource.Error{Code: resource.InvalidRequest, Description: "Missing required parameter: code_verifier", URI: "https://as.example/e#1"},
			400,
			`{"error":"invalid_request","error_description":"Missing required parameter: code_verifier","error_uri":"https://as.example/e#1"}`,
		},
		{"RFC 6749 5.2 URI alone", resource.Error{Code: "x", URI: "/e"}, 400, `{"error":"x","error_uri":"/e"}`},
		{
			"RFC 6749 5.2 characters outside the range",
			resource.Error{Code: "a\"b", Description: "say \"no\"\\\r\nü\x00\x7f\xff!", URI: "/a b\"\\ü\n"},
			400,
			`{"error":"a'b","error_description":"say 'no'/  ?  ?!","error_uri":"/a%20b%22%5C%C3%BC%0A"}`,
		},
		{"RFC 6750 3 what no URI has", resource.Error{Code: "x", URI: "/<a>{b}|^`?c=%2f%zz%"}, 400, `{"error":"x","error_uri":"/%3Ca%3E%7Bb%7D%7C%5E%60?c=%2f%25zz%25"}`},
		{"the cause stays here", resource.Error{Code: resource.ServerError, Cause: errors.New("secret")}, 500, `{"error":"server_error"}`},
		{"no code", resource.Error{Status: 429}, 429, `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			resource.WriteError(w, httptest.NewRequest(http.MethodPost, "/token", nil), &tt.e)
			assert.Equal(t, tt.status, w.Code)
			assert.Equal(t, tt.body, w.Body.String())
			assert.Equal(t, http.Header{"Content-Type": {"application/json"}, "X-Content-Type-Options": {"nosniff"}}, w.Header())
		})
	}
}

func FuzzWriteError(f *testing.F) {
	f.Add("invalid_request", "Missing \"x\"", "https://as.example/é")
	f.Add("", "\\\x00\u2028</script>", "%")
	f.Fuzz(func(t *testing.T, code, description, uri string) {
		w := httptest.NewRecorder()
		resource.WriteError(w, nil, &resource.Error{Code: resource.Code(code), Description: description, URI: uri})
		var got map[string]string
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		for name, sent := range map[string]string{"error": code, "error_description": description, "error_uri": uri} {
			_, is := got[name]
			assert.Equal(t, sent != "", is, name)
			for _, c := range []byte(got[name]) {
				assert.True(t, ' ' <= c && c <= '~' && c != '"' && c != '\\', "%s has %q", name, c)
			}
		}
		if utf8.ValidString(description) {
			assert.Equal(t, utf8.RuneCountInString(description), len(got["error_description"]))
		}
		assert.Regexp(t, uriCharacters, got["error_uri"])
	})
}

func TestChallenge(t *testing.T) {
	full := resource.API{Realm: `a "b" \c` + "\r\nX-Evil: 1 é", Metadata: &resource.Metadata{Resource: "https://api.example/m\"1\" é"}}
	const fullFront = `Bearer realm="a \"b\" \\c  X-Evil: 1 ?", scope="read w'r/ite", resource_metadata="https://api.example/.well-known/oauth-protected-resource/m%221%22%20%C3%A9"`
	scopes := []string{"read", `w"r\ite`}
	for _, tt := range []struct {
		name   string
		api    resource.API
		e      *resource.Error
		scopes []string
		want   string
	}{
		{"RFC 6750 3 S388 never bare", resource.API{}, nil, nil, `Bearer realm="oauth"`},
		{"RFC 6750 3 realm", resource.API{Realm: "example"}, nil, nil, `Bearer realm="example"`},
		{"RFC 6750 3 scope", resource.API{}, nil, []string{"a", "b"}, `Bearer scope="a b"`},
		{"RFC 9728 5.1 resource_metadata", resource.API{Metadata: &resource.Metadata{Resource: "https://api.example/m"}}, nil, nil,
			`Bearer resource_metadata="https://api.example/.well-known/oauth-protected-resource/m"`},
		{"RFC 9728 5.1 no metadata without a URL", resource.API{Metadata: &resource.Metadata{Resource: "api"}}, nil, nil, `Bearer realm="oauth"`},
		{
			"RFC 9470 3 step-up", resource.API{},
			&resource.Error{Code: resource.InsufficientUserAuthentication, Description: "Again", ACRValues: []string{"gold", `si"lver`}, MaxAge: 90 * time.Second},
			[]string{"a"}, `Bearer scope="a", error="insufficient_user_authentication", error_description="Again", acr_values="gold si'lver", max_age="90"`,
		},
		{
			"RFC 9470 3 neither acr_values nor max_age", resource.API{}, &resource.Error{Code: resource.InsufficientUserAuthentication},
			nil, `Bearer error="insufficient_user_authentication"`,
		},
		{
			"RFC 9470 3 only there", resource.API{}, &resource.Error{Code: resource.InvalidToken, ACRValues: []string{"gold"}, MaxAge: time.Minute},
			nil, `Bearer error="invalid_token"`,
		},
		{"RFC 6750 3 error", resource.API{}, &resource.Error{Code: resource.InvalidToken}, nil, `Bearer error="invalid_token"`},
		{
			"RFC 6750 3 description and URI",
			resource.API{},
			&resource.Error{Code: resource.InvalidRequest, Description: "Twice", URI: "https://as.example/e"},
			nil, `Bearer error="invalid_request", error_description="Twice", error_uri="https://as.example/e"`,
		},
		{
			"RFC 6750 3 error_uri is a URI", resource.API{}, &resource.Error{Code: resource.InvalidToken, URI: "https://as.example/<e>?50%"},
			nil, `Bearer error="invalid_token", error_uri="https://as.example/%3Ce%3E?50%25"`,
		},
		{"RFC 6750 3.1 no other codes", resource.API{}, &resource.Error{Code: resource.ServerError, Description: "x"}, nil, `Bearer realm="oauth"`},
		{
			"RFC 6750 3.1 scopes of the error",
			resource.API{},
			&resource.Error{Code: resource.InsufficientScope, Scopes: []string{"c"}},
			[]string{"a"},
			`Bearer scope="c", error="insufficient_scope"`,
		},
		{"S394 injection", full, nil, scopes, fullFront},
		{
			"S394 injection by an error", full,
			&resource.Error{Code: resource.InvalidToken, Description: "\"\r\nSet-Cookie: a=b\\", URI: "\" \\\n"},
			scopes, fullFront + `, error="invalid_token", error_description="'  Set-Cookie: a=b/", error_uri="%22%20%5C%0A"`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.want, tt.api.Challenge(tt.e, tt.scopes...)) })
	}
}

// parseChallenge reads one challenge as RFC 9110, section 11 has it, with the
// parameters as quoted-strings, and fails on anything else.
func parseChallenge(s string) (params map[string]string, err error) {
	rest, ok := strings.CutPrefix(s, "Bearer")
	if !ok {
		return nil, errors.New("another scheme")
	}
	params = map[string]string{}
	for first := true; rest != ""; first = false {
		if !first {
			if rest, ok = strings.CutPrefix(rest, ","); !ok {
				return nil, errors.New("no comma")
			}
		}
		if rest, ok = strings.CutPrefix(rest, " "); !ok {
			return nil, errors.New("no space")
		}
		var name string
		if name, rest, ok = strings.Cut(rest, `="`); !ok || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return nil, errors.New("no parameter")
		}
		if _, twice := params[name]; twice {
			return nil, errors.New("parameter twice")
		}
		var value []byte
		i := 0
		for ; i < len(rest) && rest[i] != '"'; i++ {
			if rest[i] == '\\' {
				i++
			}
			if i == len(rest) || rest[i] < ' ' || rest[i] > '~' {
				return nil, errors.New("character outside a quoted-string")
			}
			value = append(value, rest[i])
		}
		if i == len(rest) {
			return nil, errors.New("open quoted-string")
		}
		params[name], rest = string(value), rest[i+1:]
	}
	return params, nil
}

func FuzzChallenge(f *testing.F) {
	f.Add("realm", "read", "Access token is invalid", "https://as.example/e", "https://api.example/m")
	f.Add("a\"b\\", "x\r\ny", "\"\r\nSet-Cookie: a=b", "\x00\xff é", "\", error=\"x")
	f.Add("", "", "", "", "")
	f.Fuzz(func(t *testing.T, realm, scope, description, uri, identifier string) {
		a := resource.API{Realm: realm, Metadata: &resource.Metadata{Resource: identifier}}
		e := &resource.Error{Code: resource.InsufficientScope, Description: description, URI: uri}
		for _, code := range []resource.Code{resource.InvalidToken, resource.ServerError} {
			params, err := parseChallenge(a.Challenge(&resource.Error{Code: code}, scope))
			require.NoError(t, err)
			assert.NotEmpty(t, params, "RFC 6750, section 3: one or more")
		}
		params, err := parseChallenge(a.Challenge(e, scope))
		require.NoError(t, err)
		assert.Equal(t, "insufficient_scope", params["error"])
		for name, given := range map[string]string{"realm": realm, "error_description": description, "error_uri": uri} {
			_, is := params[name]
			assert.Equal(t, given != "", is, name)
		}
		if at, is := params["resource_metadata"]; is {
			u, err := url.Parse(at)
			require.NoError(t, err)
			assert.True(t, u.Host != "" && strings.HasPrefix(u.Path, "/.well-known/oauth-protected-resource"), at)
		}
		for _, name := range []string{"error_uri", "resource_metadata"} {
			assert.Regexp(t, uriCharacters, params[name])
		}
		for _, name := range []string{"scope", "error_description", "error_uri", "resource_metadata"} {
			assert.NotContains(t, params[name], `"`, "RFC 6750, section 3")
			assert.NotContains(t, params[name], `\`, "RFC 6750, section 3")
		}
		if strings.Trim(realm, printableASCII) == "" {
			assert.Equal(t, realm, params["realm"], "escaped, not lost")
		}
	})
}

// uriCharacters are those of RFC 3986, section 2, with every % the begin of an escape.
var uriCharacters = regexp.MustCompile(`^(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*$`)

var printableASCII = func() string {
	var b strings.Builder
	for c := byte(' '); c <= '~'; c++ {
		b.WriteByte(c)
	}
	return b.String()
}()
