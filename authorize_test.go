//lint:file-ignore SA1019 the implicit grant is served, so it is tested

package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAuthorizeClient(t *testing.T) {
	w := watch(t)
	for _, test := range []struct{ name, query string }{
		{"S001 FL-04 client_id missing", az("-client_id")},
		{"S001 client_id empty", az("client_id=")},
		{"S002 FL-04 unknown client_id", az("client_id=nope")},
		{"S002 FS-04 unknown client_id without anything else", "client_id=nope"},
		{"S002 disabled client", az("client_id=off")},
		{"S002 another case of the letters is another client", az("client_id=p")},
		{"S002 client_id over 2048 bytes", az("client_id=" + strings.Repeat("P", 2049))},
		{"S004 duplicate client_id", az("+client_id=C")},
		{"S004 the same client_id twice", az("+client_id=P")},
		{"S016 NUL in client_id", az("client_id=P%00")},
		{"S016 invalid UTF-8 in client_id", az("client_id=%C0%AF")},
		{"S016 broken escape in client_id", az("client_id=P%4")},
		{"S016 NUL in redirect_uri", az("redirect_uri=https://app.example/cb%00.evil")},
		{"S016 invalid UTF-8 in redirect_uri", az("redirect_uri=https://app.example/cb%C0%AF")},
		{"V074 V075 S080 markup in client_id", az(`client_id=%22%3E%3Csvg/onload=1%3E`, "error=%3Csvg%3E", "error_description=%3Cb%3Ehint",
			"error_hint=%3Ci%3Eyes", "error_uri=javascript:alert")},
		{"RFC 6749 3.1 nothing at all", ""},
		{"RFC 6749 3.1 query over 16 KiB", az("state=" + strings.Repeat("s", 16<<10))},
		{"RFC 6749 3.1 more than 100 parameters", az() + strings.Repeat("&x=1", 100)},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := w.on(t)
			w.page(w.get(test.query), http.StatusBadRequest, test.query)
		})
	}
	t.Run("S002 nobody can tell a disabled client from one that never was", func(t *testing.T) {
		w := w.on(t)
		unknown, disabled := w.get(az("client_id=nope")), w.get(az("client_id=off"))
		assert.Equal(t, string(unknown.Body), string(disabled.Body))
		unknown.Header.Del("Date")
		assert.Equal(t, unknown.Header, disabled.Header)
	})
}

func TestAuthorizeParameters(t *testing.T) {
	w := watch(t)
	for _, test := range []struct {
		name, query string
		code        oauth.ErrorCode
		state       string
	}{
		{"S003 duplicate response_type", az("+response_type=code"), oauth.InvalidRequest, "xyz"},
		{"S005 duplicate state", az("+state=abc"), oauth.InvalidRequest, ""},
		{"S005 duplicate scope", az("+scope=write"), oauth.InvalidRequest, "xyz"},
		{"S005 duplicate code_challenge", az("+code_challenge=" + rfcChallenge), oauth.InvalidRequest, "xyz"},
		{"S005 duplicate unknown parameter", az("+foo=1", "+foo=2"), oauth.InvalidRequest, "xyz"},
		{"S015 state is no UTF-8", az("state=%FF%FE"), oauth.InvalidRequest, ""},
		{"S015 NUL in state", az("state=a%00b"), oauth.InvalidRequest, ""},
		{"S016 a name that is no UTF-8", az() + "&%FF=1", oauth.InvalidRequest, "xyz"},
		{"FS-03 FL-05 response_type absent", az("-response_type"), oauth.InvalidRequest, "xyz"},
		{"FL-05 response_type empty", az("response_type="), oauth.InvalidRequest, "xyz"},
		{"S076 unknown response_mode", az("response_mode=xyz"), oauth.InvalidRequest, "xyz"},
		{"S074 web_message", az("response_mode=web_message"), oauth.InvalidRequest, "xyz"},
		{"S076 response_mode twice", az("response_mode=query", "+response_mode=query"), oauth.InvalidRequest, "xyz"},
		{"RFC 8707 2 unknown resource", az("resource=https%3A%2F%2Fapi.example"), oauth.InvalidTarget, "xyz"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := w.on(t)
			w.reTo(w.get(test.query), test.code, backP+"?", test.state)
		})
	}
	t.Run("S007 an empty code_challenge is none", func(t *testing.T) {
		w := w.on(t)
		empty, absent := w.get(az("code_challenge=")), w.get(az("-code_challenge"))
		w.re(empty, oauth.InvalidRequest)
		assert.Equal(t, absent.Header.Get("Location"), empty.Header.Get("Location"))
	})
	t.Run("S008 unknown parameters reach the host and nobody else", func(t *testing.T) {
		w := w.on(t)
		var params url.Values
		w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			params = in.Params()
			params.Set("state", "changed by the host")
			assert.Equal(t, "xyz", in.Params().Get("state"), "Params is a copy")
			in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes()})
		})
		defer w.Approve("alice")
		got := w.code(w.get(az("foo=b%20r", "ui_locales=de", "display=popup", "login_hint=a%0d%0ab")), backP+"?")
		assert.Equal(t, []string{"b r"}, params["foo"])
		assert.Equal(t, "a\r\nb", params.Get("login_hint"))
		assert.Len(t, got, 3)
		assert.Equal(t, "xyz", got.Get("state"))
	})
	t.Run("S068 no header out of a parameter", func(t *testing.T) {
		w := w.on(t)
		a := w.get(az("state=x%0d%0aLocation:%20https://evil.example", "login_hint=%0d%0aSet-Cookie:a=b"))
		assert.Len(t, a.Header["Location"], 1)
		assert.NotContains(t, a.Header.Get("Location"), "\r")
		assert.NotContains(t, a.Header.Get("Location"), "\n")
		assert.Equal(t, "x\r\nLocation: https://evil.example", w.code(a, backP+"?").Get("state"))
	})
}

func TestAuthorizeResponseType(t *testing.T) {
	w := watch(t)
	for _, test := range []struct{ name, value, separator string }{
		{"FS-03 FL-02 token where the grant is not there", "token", "#"},
		{"FL-05 id_token", "id_token", "#"},
		{"FL-05 code token", "code%20token", "#"},
		{"S011 token code is the same set as code token", "token+code", "#"},
		{"FL-05 tokenstate=y", "tokenstate%3Dy", "#"},
		{"RFC 6749 3.1.1 a word twice", "code%20code", "?"},
		{"RFC 6749 3.1.1 words are case-sensitive", "CODE", "#"},
		{"RFC 6749 3.1.1 only spaces separate words", "code%0A", "#"},
		{"RFC 6749 3.1.1 no space at the end", "code%20", "?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := w.on(t)
			w.reTo(w.get(az("response_type="+test.value)), oauth.UnsupportedResponseType, backP+test.separator, "xyz")
		})
	}
	t.Run("RFC 6749 4.1.2.1 a client that may not", func(t *testing.T) {
		w := watch(t, func(c *oauth.Config) {
			c.Clients = oauth.StaticClients(oauth.Client{ID: caseP, Public: true, Scopes: []string{"read"},
				RedirectURIs: []string{backP}, Grants: []string{"refresh_token"}})
		})
		w.re(w.get(az()), oauth.UnauthorizedClient)
	})
}

func TestAuthorizeState(t *testing.T) {
	w := watch(t)
	printable := make([]byte, 0, 95)
	for c := byte(0x20); c < 0x7f; c++ {
		printable = append(printable, c)
	}
	for name, state := range map[string]string{
		"S015 odd bytes":                                           "a&b=c#d+ e%",
		"S015 CR LF":                                               "\r\nSet-Cookie:x=1",
		"FL-11 value with marks":                                   "&#=%",
		"RFC 6749 A.5 every printable character":                   string(printable),
		"protocol-behaviours state of 1000 characters":             strings.Repeat("aZ09-._~ab", 100),
		"protocol-behaviours 1000 characters that are all escaped": strings.Repeat("%&=+\"", 200),
		"protocol-behaviours 1000 letters outside ASCII":           strings.Repeat("é", 1000),
		"S015 text outside ASCII":                                  "zażółć 状態 🎫",
		"FS-06 one character":                                      "0",
	} {
		t.Run(name, func(t *testing.T) {
			w := w.on(t)
			a := w.get(az("state=" + url.QueryEscape(state)))
			assert.NotContains(t, a.Header.Get("Location"), "\r")
			assert.NotContains(t, a.Header.Get("Location"), "\n")
			assert.Equal(t, []string{state}, w.code(a, backP+"?")["state"])
			w.reTo(w.get(az("scope=nope", "state="+url.QueryEscape(state))), oauth.InvalidScope, backP+"?", state)
		})
	}
	t.Run("FS-06 FT-03 FL-11 absent stays absent", func(t *testing.T) {
		w := w.on(t)
		assert.False(t, w.code(w.get(az("-state")), backP+"?").Has("state"))
		assert.False(t, w.code(w.get(az("state=")), backP+"?").Has("state"))
	})
	t.Run("S015 state of 8 KiB", func(t *testing.T) {
		w := w.on(t)
		state := strings.Repeat("s", 8<<10)
		w.reTo(w.get(az("state="+state)), oauth.InvalidRequest, backP+"?", state)
	})
}

func TestAuthorizeAnswer(t *testing.T) {
	w := watch(t)
	t.Run("S064 S066 FT-02 FT-07 FL-15 code, state and iss by 303", func(t *testing.T) {
		w := w.on(t)
		a := w.get(az())
		got := w.code(a, backP+"?")
		assert.Equal(t, []string{w.Config.Issuer}, got["iss"])
		assert.Regexp(t, `^https://app\.example/cb\?code=[A-Za-z0-9_-]{55}&state=xyz&iss=https%3A%2F%2Fas\.example$`, a.Header.Get("Location"))
		assert.Equal(t, http.StatusOK, w.redeem(caseP, got.Get("code"), backP).Status)
	})
	t.Run("FT-07 RFC 6749 3.1.2 a query of the redirect URI stays", func(t *testing.T) {
		w := w.on(t)
		const to = "https://app.example/cb?tenant=7&"
		own := []string{"client_id=query", "redirect_uri=" + url.QueryEscape("https://app.example/cb?tenant=7")}
		w.code(w.get(az(own...)), to)
		w.reTo(w.get(az(append(own, "scope=nope")...)), oauth.InvalidScope, to, "xyz")
		a := w.get(az(append(own, "response_mode=fragment")...))
		w.code(a, "https://app.example/cb?tenant=7#")
	})
	t.Run("RFC 6749 3.1.2 a redirect URI that ends with a question mark", func(t *testing.T) {
		w := watch(t, func(c *oauth.Config) {
			c.Clients = oauth.StaticClients(
				oauth.Client{ID: caseP, Public: true, Scopes: []string{"read"}, RedirectURIs: []string{backP + "?"}},
				oauth.Client{ID: "amp", Public: true, Scopes: []string{"read"}, RedirectURIs: []string{backP + "?a=1&"}})
		})
		assert.Contains(t, w.get(az("-redirect_uri")).Header.Get("Location"), backP+"?code=")
		w.code(w.get(az("client_id=amp", "-redirect_uri")), backP+"?a=1&")
	})
	t.Run("S069 FT-08 the user denies", func(t *testing.T) {
		w := watch(t)
		w.Deny()
		w.re(w.get(az()), oauth.AccessDenied)
		events := w.Events()
		require.Len(t, events, 1)
		assert.Equal(t, oauth.EventDenied, events[0].Type)
	})
	t.Run("S071 a description has legal characters only", func(t *testing.T) {
		w := watch(t)
		w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			in.Deny(rw, r, &oauth.Error{Code: oauth.AccessDenied, Description: "a\"b\\c\r\nd é \x7f~!"})
		})
		got := w.re(w.get(az()), oauth.AccessDenied)
		assert.Equal(t, "a'b/c  d ?  ~!", got.Get("error_description"), "as in a JSON answer")
	})
	t.Run("S071 what the request said is not in the description", func(t *testing.T) {
		w := w.on(t)
		for _, change := range []string{"scope=%22zonk%22", "scope=zonk", "response_type=zonk", "response_mode=zonk",
			"code_challenge_method=zonk", "code_challenge=zonk", "resource=zonk"} {
			assert.NotContains(t, w.get(az(change)).Header.Get("Location"), "zonk")
		}
	})
	t.Run("OAuth Multiple Response Types 2.1 response_mode", func(t *testing.T) {
		w := w.on(t)
		w.code(w.get(az("response_mode=query")), backP+"?")
		w.code(w.get(az("response_mode=fragment")), backP+"#")
		w.code(w.get(az("response_mode=")), backP+"?")
	})
	for _, change := range []string{"scope=nope", "+scope=write", "response_type=nope", "-response_type", "-code_challenge"} {
		t.Run("OAuth Multiple Response Types 2.1 errors go by the response_mode too "+change, func(t *testing.T) {
			w := w.on(t)
			a := w.get(az("response_mode=fragment", change))
			_, params := a.Location()
			w.reTo(a, oauth.ErrorCode(params.Get("error")), backP+"#", "xyz")
		})
	}
	t.Run("InsecureOmitIssuer leaves iss out of answers, errors and metadata together", func(t *testing.T) {
		w := watch(t, func(c *oauth.Config) { c.InsecureOmitIssuer = true; c.Grants = append(c.Grants, grants.Implicit{}) }, mayImplicit)
		for _, q := range []string{az(), az("scope=nope"), az("response_mode=fragment"), az("response_type=token")} {
			a := w.get(q)
			assert.Equal(t, http.StatusSeeOther, a.Status)
			assert.NotContains(t, a.Header.Get("Location"), "iss=")
		}
		m := w.exchange(w.Handler, httptest.NewRequest(http.MethodGet, "/.well-known/oauth-authorization-server", nil), 0)
		assert.NotContains(t, m.JSON, "authorization_response_iss_parameter_supported")
		assert.Equal(t, w.Config.Issuer, m.String("issuer"))
		on := watch(t)
		m = on.exchange(on.Handler, httptest.NewRequest(http.MethodGet, "/.well-known/oauth-authorization-server", nil), 0)
		assert.Equal(t, true, m.JSON["authorization_response_iss_parameter_supported"])
	})
}

// mayImplicit lets P use the implicit grant too, "native" on a loopback address.
func mayImplicit(c *oauth.Config) {
	all := []string{"authorization_code", "refresh_token", "implicit"}
	c.Clients = oauth.StaticClients(
		oauth.Client{ID: caseP, Public: true, Scopes: []string{"read", "write"}, RedirectURIs: []string{backP}, Grants: all},
		oauth.Client{ID: "loop", Public: true, Scopes: []string{"read"}, RedirectURIs: []string{"http://127.0.0.1/cb"}, Grants: all},
		oauth.Client{ID: "codeonly", Public: true, Scopes: []string{"read"}, RedirectURIs: []string{backP}},
	)
}

func TestAuthorizeImplicit(t *testing.T) {
	implicit := func(c *oauth.Config) { c.Grants = append(c.Grants, grants.Implicit{}) }
	w := watch(t, implicit, mayImplicit)
	t.Run("S072 FL-11 the token, state and iss are in the fragment and nowhere else", func(t *testing.T) {
		w := w.on(t)
		a := w.get(az("response_type=token", "state=%26%23%3D%25", "-code_challenge", "-code_challenge_method"))
		require.Equal(t, http.StatusSeeOther, a.Status)
		fragment, ok := strings.CutPrefix(a.Header.Get("Location"), backP+"#")
		require.True(t, ok, a.Header.Get("Location"))
		got, err := url.ParseQuery(fragment)
		require.NoError(t, err)
		for _, name := range []string{"access_token", "token_type", "expires_in", "scope", "state", "iss"} {
			assert.Len(t, got[name], 1, name)
		}
		assert.Len(t, got, 6, "FL-12 and never a refresh token or a code")
		assert.Equal(t, "&#=%", got.Get("state"))
		assert.Equal(t, "1800", got.Get("expires_in"))
		assert.NotContains(t, a.Header.Get("Location"), "?")
		w.redirectHeaders(a)
		token, err := w.VerifyToken(t.Context(), got.Get("access_token"))
		require.NoError(t, err)
		assert.Equal(t, "alice", token.Subject)
		assert.Equal(t, []string{"read"}, token.Scopes)
	})
	for _, test := range []struct {
		name, query string
		code        oauth.ErrorCode
		to          string
	}{
		{"S072 response_mode=query", az("response_type=token", "response_mode=query"), oauth.InvalidRequest, backP},
		{"FL-02 a client that may not", az("response_type=token", "client_id=codeonly"), oauth.UnauthorizedClient, backP},
		{"FL-21 RFC 6749 4.2.2.1 scope", az("response_type=token", "scope=nope"), oauth.InvalidScope, backP},
		{"FL-21 RFC 6749 4.2.2.1 a parameter twice", az("response_type=token", "+scope=read"), oauth.InvalidRequest, backP},
		{"OpenID Connect Core 3.2.2.1 http redirect", az("response_type=token", "client_id=loop",
			"redirect_uri=http%3A%2F%2F127.0.0.1:81%2Fcb"), oauth.UnauthorizedClient, "http://127.0.0.1:81/cb"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := w.on(t)
			w.reTo(w.get(test.query), test.code, test.to+"#", "xyz")
		})
	}
	t.Run("FL-21 deny", func(t *testing.T) {
		w := watch(t, implicit, mayImplicit)
		w.Deny()
		w.reTo(w.get(az("response_type=token")), oauth.AccessDenied, backP+"#", "xyz")
	})
	t.Run("RFC 6749 4.2.2 what comes of it is no refresh token, whatever the policy", func(t *testing.T) {
		w := watch(t, implicit, mayImplicit)
		_, got := w.get(az("response_type=token", "access_type=offline")).Location()
		require.NotEmpty(t, got.Get("access_token"))
		a := w.Token(caseP, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Get("access_token")}})
		assert.Equal(t, "invalid_grant", a.String("error"))
	})
}

// ticket is a grant of a host's own: the word "ticket" gives a code and an access
// token for a seat, and the code is redeemed by its own grant type.
type ticket struct{}

const ticketType = "urn:example:ticket"

func (ticket) GrantType() string    { return ticketType }
func (ticket) ResponseType() string { return "ticket" }

func (ticket) Authorize(_ context.Context, r *oauth.AuthorizeRequest) (*oauth.Issue, error) {
	switch r.Param("seat") {
	case "":
		return nil, &oauth.Error{Code: oauth.InvalidRequest, Description: "Missing required parameter: seat", Parameter: "seat"}
	case "taken":
		return nil, oauth.AccessDenied
	case "broken":
		return nil, errors.New("the hall burnt down")
	case "nothing":
		return &oauth.Issue{}, nil
	case "nil":
		return nil, nil
	}
	challenge, err := r.CodeChallenge(false)
	return &oauth.Issue{Code: true, CodeChallenge: challenge, AccessToken: true}, err
}

func (ticket) Token(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
	if _, err := r.Open(ctx, "code"); err != nil {
		return nil, err
	}
	return &oauth.Issue{}, nil
}

func mayTicket(c *oauth.Config) {
	c.Grants = append(c.Grants, ticket{})
	c.Clients = oauth.StaticClients(
		oauth.Client{ID: caseP, Public: true, Scopes: []string{"read"}, RedirectURIs: []string{backP}, Grants: []string{ticketType}},
		oauth.Client{ID: "codeonly", Public: true, Scopes: []string{"read"}, RedirectURIs: []string{backP}})
}

func TestAuthorizeOwnGrant(t *testing.T) {
	w := watch(t, mayTicket)
	t.Run("design 4 a grant of the host's own issues in the fragment", func(t *testing.T) {
		w := w.on(t)
		got := w.code(w.get(az("response_type=ticket", "seat=7")), backP+"#")
		assert.Equal(t, "xyz", got.Get("state"))
		assert.Equal(t, w.Config.Issuer, got.Get("iss"))
		token, err := w.VerifyToken(t.Context(), got.Get("access_token"))
		require.NoError(t, err)
		assert.Equal(t, "alice", token.Subject)
		form := url.Values{"grant_type": {ticketType}, "code": {got.Get("code")}, "redirect_uri": {backP}, "code_verifier": {rfcVerifier}}
		a := w.Token(caseP, form)
		assert.Equal(t, http.StatusOK, a.Status, string(a.Body))
		assert.Empty(t, a.String("refresh_token"))
		w.Clock.Advance(3 * time.Second)
		assert.Equal(t, "invalid_grant", w.Token(caseP, form).String("error"), "once only")
		_, err = w.VerifyToken(t.Context(), got.Get("access_token"))
		assert.Error(t, err, "the replay ended the authorization")
	})
	for _, test := range []struct {
		name, seat string
		code       oauth.ErrorCode
	}{
		{"design 4 an *Error is the answer", "", oauth.InvalidRequest},
		{"design 4 an ErrorCode is the answer", "taken", oauth.AccessDenied},
		{"design 4 a plain error may pass", "broken", oauth.TemporarilyUnavailable},
		{"design 4 an Issue of nothing is a server_error", "nothing", oauth.ServerError},
		{"design 4 no Issue is a server_error", "nil", oauth.ServerError},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := w.on(t)
			got := w.reTo(w.get(az("response_type=ticket", "seat="+test.seat)), test.code, backP+"#", "xyz")
			assert.NotContains(t, got.Get("error_description"), "burnt")
		})
	}
	t.Run("RFC 9700 2.1.1 CodeChallenge holds a public client to PKCE", func(t *testing.T) {
		w := w.on(t)
		w.reTo(w.get(az("response_type=ticket", "seat=7", "-code_challenge")), oauth.InvalidRequest, backP+"#", "xyz")
	})
	t.Run("RFC 6749 4.1.2.1 the client must be allowed", func(t *testing.T) {
		w := w.on(t)
		w.reTo(w.get(az("response_type=ticket", "seat=7", "client_id=codeonly")), oauth.UnauthorizedClient, backP+"#", "xyz")
	})
	t.Run("S309 it is advertised", func(t *testing.T) {
		w := w.on(t)
		m := w.exchange(w.Handler, httptest.NewRequest(http.MethodGet, "/.well-known/oauth-authorization-server", nil), 0)
		assert.Equal(t, []any{"code", "ticket"}, m.JSON["response_types_supported"])
		assert.Contains(t, m.JSON["grant_types_supported"], ticketType)
	})
}

func TestAuthorizeSamples(t *testing.T) {
	t.Run("FS-08 the sample request of the document, verbatim", func(t *testing.T) {
		w := watch(t, func(c *oauth.Config) {
			c.Scopes = []oauth.Scope{{Name: "profile"}, {Name: "email"}}
			c.Clients = oauth.StaticClients(oauth.Client{ID: "vendor_app_abc123", Public: true,
				RedirectURIs: []string{"https://yourapp.com/callback"}, Scopes: []string{"profile", "email"}})
		})
		const sample = "response_type=code&client_id=vendor_app_abc123&redirect_uri=https://yourapp.com/callback&scope=profile%20email&" +
			"state=random_state&code_challenge=" + rfcChallenge + "&code_challenge_method=S256"
		got := w.code(w.get(sample), "https://yourapp.com/callback?")
		assert.Equal(t, "random_state", got.Get("state"))
		a := w.redeem("vendor_app_abc123", got.Get("code"), "https://yourapp.com/callback")
		assert.Equal(t, "profile email", a.String("scope"))
		w.reTo(w.get(strings.Replace(sample, "=code&", "=token&", 1)), oauth.UnsupportedResponseType, "https://yourapp.com/callback#", "random_state")
	})
	t.Run("FT-02 FT-03 FT-04 the sample of a server that knows no PKCE and no state", func(t *testing.T) {
		w := watch(t, pkceOptional)
		got := w.code(w.get("response_type=code&client_id=C&redirect_uri=https://web.example/cb&scope=read%20write"), backC+"?")
		assert.Len(t, got, 2, "code and iss")
		a := w.Token(caseC, url.Values{"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "redirect_uri": {backC}})
		assert.Equal(t, http.StatusOK, a.Status)
	})
	t.Run("FL-03 FL-15 all parameters in the query, the answer is code and state in that order", func(t *testing.T) {
		w := watch(t, pkceOptional, func(c *oauth.Config) { c.InsecureOmitIssuer = true })
		a := w.get("client_id=C&response_type=code&scope=read+write&redirect_uri=https://web.example/cb&state=S&access_type=offline")
		assert.Regexp(t, `^https://web\.example/cb\?code=[A-Za-z0-9_-]{55}&state=S$`, a.Header.Get("Location"))
	})
	t.Run("FL-10 a guard makes redirect_uri required", func(t *testing.T) {
		w := watch(t, func(c *oauth.Config) {
			c.Guards = []oauth.Guard{func(_ context.Context, call *oauth.Call) error {
				if call.Endpoint == "authorize" && call.Request.Method == http.MethodGet && !call.Request.URL.Query().Has("redirect_uri") {
					return &oauth.Error{Code: oauth.InvalidRequest, Description: "Missing required parameter: redirect_uri"}
				}
				return nil
			}}
		})
		w.page(w.get(az("-redirect_uri")), http.StatusBadRequest, az("-redirect_uri"))
		w.code(w.get(az()), backP+"?")
	})
}

// pkceOptional lets confidential clients leave PKCE out.
func pkceOptional(c *oauth.Config) {
	for i, g := range c.Grants {
		if _, ok := g.(grants.AuthorizationCode); ok {
			c.Grants[i] = grants.AuthorizationCode{PKCE: grants.PKCEOptional}
		}
	}
}

func TestAuthorizePost(t *testing.T) {
	w := watch(t)
	restated := func(t *testing.T, a *oauthtest.Answer) url.Values {
		t.Helper()
		require.Equal(t, http.StatusSeeOther, a.Status, string(a.Body))
		to, err := url.Parse(a.Header.Get("Location"))
		require.NoError(t, err)
		assert.Equal(t, "https://as.example/oauth/authorize", to.Scheme+"://"+to.Host+to.Path)
		assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		assert.Empty(t, a.Header["Set-Cookie"], "the cookie is not looked at yet")
		return to.Query()
	}
	t.Run("N010 RFC 6749 3.1 a POST is answered with the same request as GET", func(t *testing.T) {
		w := w.on(t)
		q := restated(t, w.exchange(w.Handler, w.posted("", az()), 0))
		want, _ := url.ParseQuery(az())
		assert.Equal(t, want, q)
		w.code(w.get(q.Encode()), backP+"?")
	})
	t.Run("N010 query and body together", func(t *testing.T) {
		w := w.on(t)
		q := restated(t, w.exchange(w.Handler, w.posted("client_id=P&foo=1", az("-client_id")), 0))
		assert.Equal(t, []string{"P"}, q["client_id"])
		assert.Equal(t, []string{"1"}, q["foo"])
	})
	t.Run("N010 a parameter twice stays twice", func(t *testing.T) {
		w := w.on(t)
		q := restated(t, w.exchange(w.Handler, w.posted("scope=read", az()), 0))
		assert.Equal(t, []string{"read", "read"}, q["scope"])
		w.re(w.get(q.Encode()), oauth.InvalidRequest)
	})
	t.Run("N010 an open redirect URI is not followed on the way", func(t *testing.T) {
		w := w.on(t)
		q := restated(t, w.exchange(w.Handler, w.posted("", az("redirect_uri=https://evil.example/")), 0))
		w.page(w.get(q.Encode()), http.StatusBadRequest, q.Encode())
	})
	for _, name := range []string{"password", "client_secret", "code", "token", "refresh_token", "client_assertion"} {
		t.Run("N010 never in a URL: "+name, func(t *testing.T) {
			w := w.on(t)
			a := w.exchange(w.Handler, w.posted("", az(name+"=hunter2-hunter2")), 0)
			w.page(a, http.StatusBadRequest, az(name+"=hunter2-hunter2"))
			assert.NotContains(t, w.seen.log.String(), "hunter2")
		})
	}
	t.Run("N010 a posted request that is too long", func(t *testing.T) {
		w := w.on(t)
		w.page(w.exchange(w.Handler, w.posted("", az("state="+strings.Repeat("s", 16<<10))), 0), http.StatusBadRequest, "")
	})
	t.Run("N010 a body over 64 KiB", func(t *testing.T) {
		w := w.on(t)
		w.page(w.exchange(w.Handler, w.posted("", az("state="+strings.Repeat("s", 65<<10))), 0), http.StatusRequestEntityTooLarge, "")
	})
	t.Run("N010 a body that cannot be read", func(t *testing.T) {
		w := w.on(t)
		w.page(w.exchange(w.Handler, w.posted("", "client_id=%zz"), 0), http.StatusBadRequest, "client_id=%zz")
	})
	t.Run("N010 other tabs are unharmed by a POST from another site", func(t *testing.T) {
		w := watch(t)
		handle, cookie := w.begin(az())
		restated(t, w.exchange(w.Handler, w.posted("", az("state=evil")), 0)) // a Lax cookie does not come with it
		a, err := w.atHost(hostPage(handle, cookie), approveAs("alice"))
		require.NoError(t, err)
		w.code(a, backP+"?")
	})
}

func TestAuthorizeMethods(t *testing.T) {
	w := watch(t)
	for _, method := range []string{http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, http.MethodTrace, "BREW"} {
		t.Run("RFC 6749 3.1 method "+method, func(t *testing.T) {
			w := w.on(t)
			r := w.request(az())
			r.Method = method
			a := w.exchange(w.Handler, r, 0)
			w.page(a, http.StatusMethodNotAllowed, az())
			assert.Equal(t, "GET, POST", a.Header.Get("Allow"))
		})
	}
	t.Run("design 6 the handler does not look at the path", func(t *testing.T) {
		w := w.on(t)
		r := w.request(az())
		r.URL.Path = "/anywhere/at/all"
		w.code(w.exchange(w.AuthorizeHandler(), r, 0), backP+"?")
	})
}

func TestAuthorizeGuards(t *testing.T) {
	var calls []string
	guard := func(_ context.Context, c *oauth.Call) error {
		calls = append(calls, c.Endpoint+" "+c.ClientID)
		return nil
	}
	w := watch(t, func(c *oauth.Config) { c.Guards = []oauth.Guard{guard} })
	handle, cookie := w.begin(az())
	w.Approve("alice")
	for _, test := range []struct {
		name   string
		r      *http.Request
		client string
	}{
		{"good", w.request(az()), "P"},
		{"wrong scope", w.request(az("scope=nope")), "P"},
		{"a parameter twice", w.request(az("+scope=read")), "P"},
		{"wrong redirect URI", w.request(az("redirect_uri=https://evil.example/")), "P"},
		{"redirect URI twice", w.request(az("+redirect_uri=https://evil.example/")), "P"},
		{"unknown client", w.request(az("client_id=nope")), ""},
		{"disabled client", w.request(az("client_id=off")), ""},
		{"client twice", w.request(az("+client_id=C")), ""},
		{"too long", w.request(az("state=" + strings.Repeat("s", 17<<10))), ""},
		{"posted", w.posted("", az()), ""},
		{"posted and unreadable", w.posted("", "%zz"), ""},
		{"posted with a secret", w.posted("", az("password=x")), ""},
		{"posted and too large", w.posted("", strings.Repeat("s", 65<<10)), ""},
		{"a handle", w.request("interaction="+handle, cookie), "P"},
		{"a posted handle", w.posted("", "interaction="+handle, cookie), "P"},
		{"no handle of ours", w.request("interaction=x", cookie), ""},
	} {
		t.Run("design 6 guards run once: "+test.name, func(t *testing.T) {
			w := w.on(t)
			calls = nil
			w.exchange(w.Handler, test.r, 0)
			assert.Equal(t, []string{"authorize " + test.client}, calls)
		})
	}
	for _, test := range []struct {
		name   string
		err    error
		status int
		named  int
	}{
		{"S360 429", &oauth.Error{Code: oauth.TemporarilyUnavailable, Status: 429, RetryAfter: 7 * time.Second}, 429, 0},
		{"a code", oauth.AccessDenied, 400, 0},
		{"a failure", errors.New("redis: dial tcp 10.0.0.9"), 503, 503},
	} {
		t.Run("design 6 a guard's refusal is a page: "+test.name, func(t *testing.T) {
			w := watch(t, func(c *oauth.Config) {
				c.Guards = []oauth.Guard{func(context.Context, *oauth.Call) error { return test.err }}
			})
			for _, r := range []*http.Request{w.request(az()), w.request(az("client_id=nope")), w.request(az("scope=nope")), w.posted("", az())} {
				a := w.exchange(w.Handler, r, test.named)
				assert.Equal(t, test.status, a.Status)
				assert.Empty(t, a.Header["Location"])
				assert.NotContains(t, string(a.Body), "10.0.0.9")
				if test.status == 429 {
					assert.Equal(t, "7", a.Header.Get("Retry-After"))
				}
			}
			assert.Empty(t, w.Store.Calls())
		})
	}
}

func TestAuthorizeFailures(t *testing.T) {
	t.Run("design 6 Config.Error gets pages, and no redirect", func(t *testing.T) {
		var got []*oauth.Error
		w := watch(t, func(c *oauth.Config) {
			c.Error = func(rw http.ResponseWriter, _ *http.Request, e *oauth.Error) {
				got = append(got, e)
				rw.Header().Set("Content-Type", "text/plain")
				rw.WriteHeader(e.HTTPStatus())
				fmt.Fprintf(rw, "own page: %s", e.Code)
			}
		})
		w.re(w.get(az("scope=nope")), oauth.InvalidScope)
		assert.Empty(t, got)
		a := w.get(az("client_id=nope"))
		assert.Equal(t, "own page: invalid_request", string(a.Body))
		assert.Equal(t, "text/plain", a.Header.Get("Content-Type"))
		assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		require.Len(t, got, 1)
		assert.Equal(t, "authorize", got[0].Endpoint)
		assert.Equal(t, "client_id", got[0].Parameter)
	})
	t.Run("design 3 a registry that fails is a 503 page, never a redirect", func(t *testing.T) {
		w := watch(t, func(c *oauth.Config) { c.Clients = brokenRegistry{} })
		a := w.exchange(w.Handler, w.request(az()), http.StatusServiceUnavailable)
		w.page(a, http.StatusServiceUnavailable, az())
		assert.Equal(t, "2", a.Header.Get("Retry-After"))
		assert.NotContains(t, string(a.Body), "10.0.0.9")
		require.Len(t, w.Events(oauth.EventStorageFailed), 1)
	})
	t.Run("design 6 an Interact that panics is a 500 page", func(t *testing.T) {
		w := watch(t)
		w.Interact(func(http.ResponseWriter, *http.Request, *oauth.Interaction) { panic("the code is s3cr3t-s3cr3t") })
		a := w.exchange(w.Handler, w.request(az()), http.StatusInternalServerError)
		w.page(a, http.StatusInternalServerError, az())
		log := w.seen.log.String()
		assert.Contains(t, log, "panic")
		assert.NotContains(t, log, "s3cr3t")
		assert.Empty(t, w.Store.Calls())
	})
	t.Run("net/http ErrAbortHandler goes on to the server", func(t *testing.T) {
		w := watch(t)
		w.Interact(func(http.ResponseWriter, *http.Request, *oauth.Interaction) { panic(http.ErrAbortHandler) })
		assert.PanicsWithValue(t, http.ErrAbortHandler, func() { w.Do(w.request(az())) })
	})
	t.Run("design 1 budget: authorize stores nothing until the user decides", func(t *testing.T) {
		w := watch(t)
		w.begin(az())
		w.Interact(func(http.ResponseWriter, *http.Request, *oauth.Interaction) {})
		w.get(az("scope=nope"))
		assert.Empty(t, w.Store.Calls())
		w.Approve("alice")
		w.get(az())
		assert.Equal(t, []string{"Create"}, w.Store.Methods())
	})
}

type brokenRegistry struct{}

func (brokenRegistry) Client(context.Context, string) (*oauth.Client, error) {
	return nil, errors.New("dial tcp 10.0.0.9: refused")
}
