package oauth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/oauthtest"
)

// What docs/conformance.md names and no other file tests.

// A hook that sets a member which is there replaces it.
func TestResponseMembersOnce(t *testing.T) {
	s := newServer(t, func(c *oauth.Config) {
		c.Respond = func(_ context.Context, i *oauth.Issued, f *oauth.Fields) error {
			for _, name := range f.Names() {
				f.Set(name, f.Get(name))
			}
			f.Set("state", "of the hook")
			f.Set("extra", "a")
			f.Set("extra", "b")
			return nil
		}
	})
	a, code := s.Authorize(oauthtest.WebClient, nil)
	t.Run("RFC 6749 3.1 a redirect", func(t *testing.T) {
		_, query, ok := strings.Cut(a.Header.Get("Location"), "?")
		require.True(t, ok)
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		require.Contains(t, values, "code")
		require.Contains(t, values, "extra")
		for name, v := range values {
			assert.Len(t, v, 1, name)
		}
	})
	t.Run("RFC 6749 3.2 a token response", func(t *testing.T) {
		keys := jsonKeys(t, s.Redeem(code).Body)
		require.Contains(t, keys, "extra")
		seen := map[string]bool{}
		for _, k := range keys {
			assert.False(t, seen[k], k)
			seen[k] = true
		}
	})
}

func TestUnknownParameters(t *testing.T) {
	s := newServer(t)
	more := func(form url.Values) url.Values {
		form.Set("nobody_knows", "x")
		form.Set("audience", "https://elsewhere.example")
		return form
	}
	code := s.Code(oauthtest.SPAClient)
	a := s.Token(oauthtest.SPAClient, more(code.Form()))
	t.Run("RFC 6749 3.2 with a code", func(t *testing.T) { a.WantOK(t) })
	t.Run("RFC 6749 3.2 with a refresh token", func(t *testing.T) {
		s.Token(oauthtest.SPAClient, more(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.String("refresh_token")}})).WantOK(t)
	})
	t.Run("RFC 6749 3.2 with nothing but the client", func(t *testing.T) {
		s.Token(oauthtest.MachineClient, more(url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}})).WantOK(t)
	})
}

// A host may put anything into its errors: what is sent has the characters that
// the RFC allows.
func TestErrorCharacters(t *testing.T) {
	odd := "a\"b\\c\x00d\ne\x7ff é g"
	s := newServer(t)
	for name, err := range map[string]error{
		"code":        oauth.ErrorCode(odd),
		"description": &oauth.Error{Code: oauth.AccessDenied, Description: odd},
		"both":        &oauth.Error{Code: oauth.ErrorCode(odd), Description: odd},
	} {
		t.Run("RFC 6749 4.1.2.1 "+name, func(t *testing.T) {
			s.Fail(err)
			a, _ := s.Authorize(oauthtest.WebClient, nil)
			_, params := a.Location()
			require.NotEmpty(t, params.Get("error"))
			for _, member := range []string{"error", "error_description"} {
				for _, c := range []byte(params.Get(member)) {
					assert.True(t, c >= 0x20 && c <= 0x7e && c != '"' && c != '\\', "%s has %q", member, c)
				}
			}
		})
	}
}

func TestErrorURI(t *testing.T) {
	s := newServer(t)
	s.Fail(&oauth.Error{Code: oauth.AccessDenied, URI: "https://as.example/<why>?50% \"é"})
	a, _ := s.Authorize(oauthtest.WebClient, nil)
	_, params := a.Location()
	assert.Equal(t, "https://as.example/%3Cwhy%3E?50%25%20%22%C3%A9", params.Get("error_uri"))
}

func TestImplicitScope(t *testing.T) {
	s := newServer(t, func(c *oauth.Config) {
		c.Grants = append(c.Grants, grants.Implicit{}) //lint:ignore SA1019 it is what is tested
		c.Clients = oauth.StaticClients(oauth.Client{
			ID: "old", Public: true, Grants: []string{"implicit"},
			RedirectURIs: []string{oauthtest.Callback}, Scopes: []string{"read", "write"},
		})
	})
	s.Approve("alice", "read")
	a, _ := s.Authorize("old", url.Values{
		"response_type": {"token"}, "scope": {"read write"},
		"code_challenge": nil, "code_challenge_method": nil,
	})
	_, params := a.Location()
	t.Run("RFC 6749 4.2.2 less was granted than asked for", func(t *testing.T) {
		require.NotEmpty(t, params.Get("access_token"))
		assert.Equal(t, "read", params.Get("scope"))
		assert.Equal(t, "Bearer", params.Get("token_type"))
		assert.Equal(t, "1800", params.Get("expires_in"))
	})
}

func TestNoStore(t *testing.T) {
	s := newServer(t)
	authorized, code := s.Authorize(oauthtest.SPAClient, nil)
	redeemed := s.Redeem(code)
	for name, a := range map[string]*oauthtest.Answer{
		"code":               authorized,
		"code to tokens":     redeemed,
		"refresh":            s.Refresh(oauthtest.SPAClient, redeemed.String("refresh_token")),
		"client_credentials": s.Token(oauthtest.MachineClient, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}),
		"introspection":      s.Introspect(redeemed.String("access_token")),
		"a refusal":          s.Token(oauthtest.SPAClient, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}),
	} {
		t.Run("RFC 6749 5.1 "+name, func(t *testing.T) {
			assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
			assert.Equal(t, "no-cache", a.Header.Get("Pragma"))
		})
	}
}

func TestSizes(t *testing.T) {
	for name, c := range map[string]struct {
		format oauth.Opaque
		size   int
	}{
		"base64url":             {oauth.Opaque{}, 55},
		"hexadecimal":           {oauth.Opaque{Hex: true}, 82},
		"hexadecimal, a prefix": {oauth.Opaque{Hex: true, Prefix: "rt_"}, 85},
	} {
		t.Run("RFC 6749 5.1 refresh token, "+name, func(t *testing.T) {
			s := newServer(t, func(c2 *oauth.Config) { c2.RefreshToken = c.format })
			tokens := s.CodeFlow(oauthtest.SPAClient)
			assert.Len(t, tokens.RefreshToken, c.size)
		})
	}
	s := newServer(t)
	code := s.Code(oauthtest.SPAClient)
	t.Run("RFC 6749 4.1.2 code", func(t *testing.T) { assert.Len(t, code.Code, 55) })
	t.Run("RFC 6749 5.1 opaque access token", func(t *testing.T) {
		short, long := s.AccessToken("a", "read"), s.AccessToken(strings.Repeat("a", 255), "read", "write")
		assert.Less(t, len(short), 256)
		assert.InDelta(t, len(short)+(254+len(" write"))*4/3, len(long), 8, "four characters for three bytes of what it carries")
	})
}

// Whoever sees a code or a handle does not see the challenge in it.
func TestChallengeIsNowhere(t *testing.T) {
	s := newServer(t)
	var handle string
	s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		handle = in.Handle()
		in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes()})
	})
	a, code := s.Authorize(oauthtest.SPAClient, url.Values{"code_challenge": {rfcChallenge}})
	require.NotEmpty(t, handle)
	require.NotEmpty(t, code.Code)
	raw, err := base64.RawURLEncoding.DecodeString(rfcChallenge)
	require.NoError(t, err)
	for name, text := range map[string]string{
		"code": code.Code, "handle": handle, "Location": a.Header.Get("Location"),
		"cookies": strings.Join(a.Header.Values("Set-Cookie"), " "),
	} {
		t.Run("RFC 7636 4.4 "+name, func(t *testing.T) {
			assert.NotContains(t, text, rfcChallenge)
			if b, err := base64.RawURLEncoding.DecodeString(text); err == nil {
				assert.NotContains(t, string(b), rfcChallenge)
				assert.NotContains(t, string(b), string(raw))
			}
		})
	}
}

func TestIntrospectAnyHint(t *testing.T) {
	s := newServer(t)
	tokens := s.CodeFlow(oauthtest.WebClient)
	for _, hint := range []string{"access_token", "refresh_token", "id_token", "nonsense", ""} {
		for name, token := range map[string]string{"access": tokens.AccessToken, "refresh": tokens.RefreshToken} {
			t.Run("RFC 7662 2.1 "+name+" token, hint "+hint, func(t *testing.T) {
				a := s.Post("/oauth/introspect", oauthtest.WebClient, url.Values{"token": {token}, "token_type_hint": {hint}})
				assert.Equal(t, true, a.JSON["active"])
			})
		}
	}
}

func TestIntrospectInactive(t *testing.T) {
	s := newServer(t)
	old := s.AccessToken("alice", "read")
	s.Clock.Advance(31 * time.Minute)
	live, revoked := s.AccessToken("alice", "read"), s.AccessToken("alice", "read")
	s.RevokeToken(revoked)
	_, err := s.VerifyToken(t.Context(), revoked)
	require.True(t, errors.Is(err, oauth.InvalidToken))
	for name, c := range map[string]struct{ caller, token string }{
		"expired":               {oauthtest.APIClient, old},
		"revoked":               {oauthtest.APIClient, revoked},
		"unknown":               {oauthtest.APIClient, "x"},
		"cut":                   {oauthtest.APIClient, live[:len(live)-1]},
		"of another client":     {oauthtest.WebClient, live},
		"a code":                {oauthtest.APIClient, s.Code(oauthtest.WebClient).Code},
		"another's refresh one": {oauthtest.APIClient, s.RefreshToken("alice", "read")},
	} {
		t.Run("RFC 7662 2.2 "+name, func(t *testing.T) {
			a := s.Post("/oauth/introspect", c.caller, url.Values{"token": {c.token}})
			assert.Equal(t, 200, a.Status)
			assert.JSONEq(t, `{"active":false}`, string(a.Body))
		})
	}
	t.Run("RFC 7662 2.2 control", func(t *testing.T) { assert.Equal(t, true, s.Introspect(live).JSON["active"]) })
}

// What a browser is told beside the answer.
func TestRedirectHeaders(t *testing.T) {
	s := newServer(t)
	a, _ := s.Authorize(oauthtest.WebClient, nil)
	s.Deny()
	denied, _ := s.Authorize(oauthtest.WebClient, nil)
	for name, a := range map[string]*oauthtest.Answer{"code": a, "error": denied} {
		t.Run("RFC 9700 4.2.4 "+name, func(t *testing.T) {
			assert.Equal(t, 303, a.Status)
			assert.Equal(t, "no-referrer", a.Header.Get("Referrer-Policy"))
		})
	}
	t.Run("RFC 9700 4.16 the page of a refusal", func(t *testing.T) {
		page := s.Do(mustRequest(t, "GET", oauthtest.Issuer+"/oauth/authorize?client_id=nobody"))
		assert.Equal(t, 400, page.Status)
		assert.Equal(t, "DENY", page.Header.Get("X-Frame-Options"))
		assert.Equal(t, "no-referrer", page.Header.Get("Referrer-Policy"))
		policy := page.Header.Get("Content-Security-Policy")
		assert.Contains(t, policy, "default-src 'none'")
		assert.Contains(t, policy, "frame-ancestors 'none'")
		assert.NotContains(t, string(page.Body), "<script")
	})
}
