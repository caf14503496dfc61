package guard_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/resource"
)

// server has guards.
func server(t testing.TB, guards ...oauth.Guard) *oauthtest.Server {
	return oauthtest.NewServer(t, func(c *oauth.Config) { c.Guards = guards })
}

// post sends a form to the token endpoint from an address, with Basic where there is
// a secret.
func post(s *oauthtest.Server, peer, client, secret string, form url.Values) *oauthtest.Answer {
	if secret == "" {
		form.Set("client_id", client)
	}
	r := httptest.NewRequest("POST", oauthtest.Issuer+"/oauth/token", strings.NewReader(form.Encode()))
	r.RemoteAddr = peer
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if secret != "" {
		r.SetBasicAuth(client, secret)
	}
	return s.Do(r)
}

func machine(s *oauthtest.Server, peer, secret string) *oauthtest.Answer {
	return post(s, peer, oauthtest.MachineClient, secret, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}})
}

func requireAnswer429(t testing.TB, a *oauthtest.Answer) {
	t.Helper()
	require.Equal(t, 429, a.Status)
	require.JSONEq(t, `{"error":"temporarily_unavailable","error_description":"Too many requests"}`, string(a.Body))
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	require.Equal(t, "0", a.Header.Get("X-RateLimit-Remaining"))
}

func TestServerNobodyIsLockedOut(t *testing.T) {
	s := server(t, mustGuard(t, guard.RateLimit{Rules: []guard.Rule{{Endpoints: []string{"token"}, Per: guard.PerClient, Limits: perMinute(5)}}}))
	const attacker, home, away = "203.0.113.9:1", "192.0.2.1:1", "192.0.2.2:1"
	for range 5 {
		require.Equal(t, 401, machine(s, attacker, "wrong").Status)
	}
	requireAnswer429(t, machine(s, attacker, "wrong"))
	requireAnswer429(t, machine(s, attacker, oauthtest.Secret))
	for left := 4; left >= 0; left-- {
		a := machine(s, []string{home, away}[left%2], oauthtest.Secret)
		require.Equal(t, 200, a.Status, "who sent another's id has used up nothing of its")
		require.Equal(t, strconv.Itoa(left), a.Header.Get("X-RateLimit-Remaining"), "of all its addresses together")
	}
	requireAnswer429(t, machine(s, home, oauthtest.Secret))
	requireAnswer429(t, machine(s, "192.0.2.3:1", oauthtest.Secret))
	s.Clock.Advance(time.Minute)
	require.Equal(t, 200, machine(s, attacker, oauthtest.Secret).Status)
}

// A public client proves nothing: it is counted with its address for ever.
func TestServerPublicClient(t *testing.T) {
	s := server(t, mustGuard(t, guard.RateLimit{Rules: []guard.Rule{{Endpoints: []string{"token"}, Per: guard.PerClient, Limits: perMinute(2)}}}))
	bad := func(peer string) *oauthtest.Answer {
		return post(s, peer, oauthtest.SPAClient, "", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}})
	}
	for i := range 10 {
		peer := fmt.Sprintf("192.0.2.%d:1", i)
		require.Equal(t, 400, bad(peer).Status)
		require.Equal(t, 400, bad(peer).Status)
		requireAnswer429(t, bad(peer))
	}
}

func TestServerLimitedCallsChangeNothing(t *testing.T) {
	s := server(t, mustGuard(t, guard.RateLimit{Rules: []guard.Rule{{Endpoints: []string{"token"}, Per: guard.PerClient,
		Limits: []guard.Limit{{Count: 2, Window: 10 * time.Second}}}}}))
	code := s.Code(oauthtest.WebClient)
	for i := range 2 {
		require.Equal(t, 400, post(s, fmt.Sprintf("192.0.2.%d:1", i), oauthtest.WebClient, oauthtest.Secret, url.Values{}).Status)
	}
	s.Store.Reset()
	requireAnswer429(t, post(s, "192.0.2.9:1", oauthtest.WebClient, oauthtest.Secret, code.Form())) // after it has authenticated
	requireAnswer429(t, post(s, "192.0.2.9:1", oauthtest.WebClient, oauthtest.Secret, code.Form()))
	requireAnswer429(t, post(s, "192.0.2.9:1", oauthtest.WebClient, oauthtest.Secret, code.Form())) // before
	assert.Empty(t, s.Store.Methods())
	s.Clock.Advance(10 * time.Second)
	refresh := s.Redeem(code).String("refresh_token")
	require.Equal(t, 200, s.Refresh(oauthtest.WebClient, refresh).Status)
	s.Clock.Advance(10 * time.Second)
}

func TestServerHeadersOnEveryAnswer(t *testing.T) {
	s := server(t, mustGuard(t, guard.RateLimit{Rules: []guard.Rule{
		{Endpoints: []string{"authorize"}, Limits: perMinute(100)},
		{Endpoints: []string{"token"}, Per: guard.PerClient, Limits: perMinute(50)},
		{Endpoints: []string{"userinfo"}, Per: guard.PerToken, Limits: perMinute(500)},
	}}))
	seen := func(a *oauthtest.Answer) string {
		return a.Header.Get("X-RateLimit-Limit") + " " + a.Header.Get("X-RateLimit-Remaining")
	}
	a, code := s.Authorize(oauthtest.SPAClient, nil)
	assert.Equal(t, "100 99", seen(a), "FS-26 redirect")
	a, _ = s.Authorize(oauthtest.SPAClient, url.Values{"redirect_uri": {"https://evil.example"}})
	assert.Equal(t, 400, a.Status)
	assert.Equal(t, "100 98", seen(a), "FS-26 page")
	a = s.Token(oauthtest.SPAClient, code.Form())
	assert.Equal(t, "50 49", seen(a), "FS-26 success")
	assert.Equal(t, "50 48", seen(s.Token(oauthtest.SPAClient, nil)), "FS-26 400")
	assert.Equal(t, "50 49", seen(s.Token("", nil)), "FS-26 401, no client: by address")
	r := httptest.NewRequest("PUT", oauthtest.Issuer+"/oauth/token", nil)
	assert.Equal(t, "50 48", seen(s.Do(r)), "FS-26 405")
	userinfo := func(token string) *oauthtest.Answer {
		r := httptest.NewRequest("GET", oauthtest.Issuer+"/oauth/userinfo", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		return s.Do(r)
	}
	assert.Equal(t, "500 499", seen(userinfo(a.String("access_token"))))
	assert.Equal(t, "500 498", seen(userinfo(a.String("access_token"))))
	assert.Equal(t, "500 499", seen(userinfo("x")), "FS-26 401")
	for range 97 {
		s.Authorize(oauthtest.SPAClient, nil)
	}
	a, _ = s.Authorize(oauthtest.SPAClient, nil)
	assert.Equal(t, "100 0", seen(a), "FS-25 the 100th")
	assert.Equal(t, 303, a.Status)
	a, _ = s.Authorize(oauthtest.SPAClient, nil)
	assert.Equal(t, "100 0", seen(a), "FS-25 the 101st")
	assert.Equal(t, 429, a.Status)
	assert.Empty(t, a.Header.Get("Location"), "FS-27 a page, not a redirect")
	assert.Contains(t, a.Header.Get("Content-Type"), "text/html")
}

func TestServerAllowList(t *testing.T) {
	list, err := guard.AllowList{Clients: map[string][]netip.Prefix{oauthtest.MachineClient: prefixes("203.0.113.0/24")}}.Guard()
	require.NoError(t, err)
	s := server(t, list)
	wrong := machine(s, "203.0.113.9:1", "wrong")
	require.Equal(t, 401, wrong.Status)
	unlisted := machine(s, "192.0.2.1:1", oauthtest.Secret)
	assert.Equal(t, wrong, unlisted, "FP-12 the answer of a wrong secret: status, headers, body")
	assert.Equal(t, `Basic realm="oauth"`, unlisted.Header.Get("WWW-Authenticate"))
	assert.Equal(t, 401, post(s, "203.0.113.9:1", oauthtest.WebClient, oauthtest.Secret, url.Values{}).Status, "FP-15 a client that is not in the table")
	good := machine(s, "203.0.113.9:1", oauthtest.Secret)
	require.Equal(t, 200, good.Status)

	ran := 0
	api := &resource.API{Verifier: s, Now: s.Clock.Now, Guards: []resource.Guard{list}}
	handler := api.Require("read")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran++ }))
	call := func(peer string) *httptest.ResponseRecorder {
		r := request(peer, "Authorization: Bearer "+good.String("access_token"))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	refused := call("192.0.2.1:1")
	assert.Equal(t, 403, refused.Code, "FP-13")
	assert.JSONEq(t, `{"error":"access_denied","error_description":"The client may not call from this address"}`, refused.Body.String())
	assert.Zero(t, ran)
	assert.Equal(t, 200, call("[::ffff:203.0.113.9]:1").Code)
	assert.Equal(t, 1, ran)
}

func TestServerHTTPS(t *testing.T) {
	https, err := guard.HTTPS{}.Guard()
	require.NoError(t, err)
	s := server(t, https)
	r := httptest.NewRequest("POST", "http://as.example/oauth/token", strings.NewReader("grant_type=client_credentials"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(oauthtest.MachineClient, "wrong")
	a := s.Do(r)
	assert.Equal(t, 400, a.Status, "FT-26 the secret was not looked at")
	assert.Equal(t, "invalid_request", a.String("error"))
	a = s.Do(httptest.NewRequest("GET", "http://as.example/oauth/authorize?response_type=code&client_id=spa", nil))
	assert.Equal(t, 400, a.Status)
	assert.Empty(t, a.Header.Get("Location"), "FT-26 no redirect to https")
	assert.Equal(t, 200, machine(s, "198.51.100.7:1", oauthtest.Secret).Status)
}
