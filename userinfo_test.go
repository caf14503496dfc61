package oauth_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/oauthtest"
)

// withProfiles has scopes with claims, and a user who has all of them.
func withProfiles(c *oauth.Config) {
	c.Scopes = []oauth.Scope{
		{Name: "read"}, {Name: "write"},
		{Name: "profile", Claims: []string{"sub", "name", "has_custom_picture", "address"}},
		{Name: "email", Claims: []string{"email", "email_verified", "scope"}},
		{Name: "all", Includes: []string{"profile", "email"}},
	}
	c.Clients = oauth.StaticClients(append(wireClients(),
		oauth.Client{ID: "app", Public: true, RedirectURIs: []string{oauthtest.Callback}, Scopes: []string{"all", "read"}})...)
	c.Claims = func(_ context.Context, r oauth.ClaimsRequest) (f oauth.Fields, err error) {
		f.Set("email", r.Subject+"@example.com")
		f.Set("password_hash", "never")
		f.Set("sub", "somebody else")
		f.Set("name", "Alice <\"&é\u2028>")
		f.Set("email_verified", false)
		f.Set("has_custom_picture", true)
		f.Set("address", map[string]string{"country": "NZ"})
		f.Set("scope", r.Scopes)
		return f, nil
	}
}

func (w *wire) userinfo(token string) *oauthtest.Answer {
	return w.send("GET", "/oauth/userinfo", "", "", header("Authorization", "Bearer "+token))
}

func TestUserInfo(t *testing.T) {
	w := newWire(t, withProfiles)
	t.Run("V070 S246 FS-19 FS-20 claims by scope, in the order of the hook, sub first", func(t *testing.T) {
		for scope, want := range map[string][]string{
			"profile":       {"sub", "name", "has_custom_picture", "address"},
			"email":         {"sub", "email", "email_verified", "scope"},
			"profile email": {"sub", "email", "name", "email_verified", "has_custom_picture", "address", "scope"},
			"read":          {"sub"},
		} {
			a := wantOK(t, w.userinfo(w.Redeem(w.Code("app", scope)).String("access_token")))
			wantKeys(t, a, want...)
			assert.Equal(t, "alice", a.JSON["sub"], "whatever the hook says")
		}
		a := wantOK(t, w.userinfo(w.Redeem(w.Code("app", "profile email")).String("access_token")))
		assert.Equal(t, map[string]any{"sub": "alice", "email": "alice@example.com", "name": "Alice <\"&é\u2028>", "email_verified": false,
			"has_custom_picture": true, "address": map[string]any{"country": "NZ"}, "scope": []any{"profile", "email"}}, a.JSON)
	})
	t.Run("FS-20 a scope that includes others gives theirs", func(t *testing.T) {
		a := wantOK(t, w.userinfo(w.Redeem(w.Code("app", "all")).String("access_token")))
		wantKeys(t, a, "sub", "email", "name", "email_verified", "has_custom_picture", "address", "scope")
	})
	t.Run("FS-19 what the hook is asked", func(t *testing.T) {
		var asked oauth.ClaimsRequest
		w := newWire(t, withProfiles, func(c *oauth.Config) {
			c.Claims = func(_ context.Context, r oauth.ClaimsRequest) (oauth.Fields, error) {
				asked = r
				return oauth.Fields{}, nil
			}
		})
		wantKeys(t, wantOK(t, w.userinfo(w.Redeem(w.Code("app", "email")).String("access_token"))), "sub")
		assert.Equal(t, oauth.ClaimsRequest{Subject: "alice", ClientID: "app", Scopes: []string{"email"}, Audience: []string{oauthtest.Issuer},
			Names: []string{"email", "email_verified", "scope"}}, asked)
	})
	t.Run("FS-19 without a hook", func(t *testing.T) {
		w := newWire(t)
		assert.JSONEq(t, `{"sub":"alice"}`, string(wantOK(t, w.userinfo(w.AccessToken("alice", "read"))).Body))
	})
	t.Run("FS-19 errors of the hook", func(t *testing.T) {
		var err error
		w := newWire(t, func(c *oauth.Config) {
			c.Claims = func(context.Context, oauth.ClaimsRequest) (oauth.Fields, error) { return oauth.Fields{}, err }
		})
		token := w.AccessToken("alice", "read")
		w.may5.Store(true)
		err = errBoom
		wantError(t, w.userinfo(token), 503, oauth.TemporarilyUnavailable)
		err = &oauth.Error{Code: oauth.TemporarilyUnavailable, RetryAfter: time.Second}
		wantError(t, w.userinfo(token), 503, oauth.TemporarilyUnavailable)
		err = nil
		wantOK(t, w.userinfo(token))
	})
	t.Run("FS-19 a claim that no JSON can hold", func(t *testing.T) {
		w := newWire(t, withProfiles, func(c *oauth.Config) {
			c.Claims = func(context.Context, oauth.ClaimsRequest) (f oauth.Fields, _ error) {
				f.Set("name", func() {})
				return f, nil
			}
		})
		token := w.Redeem(w.Code("app", "profile")).String("access_token")
		w.may5.Store(true)
		wantError(t, w.userinfo(token), 500, oauth.ServerError)
	})
}

func TestUserInfoBearer(t *testing.T) {
	w := newWire(t)
	token := w.AccessToken("alice", "read")
	t.Run("RFC 6750 2.1 GET and POST, any case of the scheme", func(t *testing.T) {
		wantOK(t, w.userinfo(token))
		wantOK(t, w.send("GET", "/oauth/userinfo", "", "", header("Authorization", "bEARER  "+token)))
		wantOK(t, w.send("POST", "/oauth/userinfo", "", "", header("Authorization", "Bearer "+token)))
		wantOK(t, w.send("POST", "/oauth/userinfo", formType, "x=y", header("Authorization", "Bearer "+token)))
	})
	const bad = `{"error":"invalid_token","error_description":"Access token is invalid or expired"}`
	t.Run("S388 FS-22 none", func(t *testing.T) {
		for _, edits := range [][]func(*http.Request){nil, {header("Authorization", "Basic abc")}} {
			a := w.send("GET", "/oauth/userinfo", "", "", edits...)
			assert.Equal(t, 401, a.Status)
			assert.Equal(t, `Bearer realm="oauth"`, a.Header.Get("WWW-Authenticate"))
			assert.Equal(t, bad, string(a.Body))
		}
	})
	t.Run("FS-22 FT-20 bad ones", func(t *testing.T) {
		revoked := w.AccessToken("alice", "read")
		w.revoke(spa, revoked)
		for name, line := range map[string]string{"unknown": "Bearer x", "revoked": "Bearer " + revoked, "more": "Bearer " + token + " x",
			"cut by a space": "Bearer " + token[:20] + " " + token[20:], "empty": "Bearer ", "quoted": `Bearer "` + token + `"`} {
			a := w.send("GET", "/oauth/userinfo", "", "", header("Authorization", line))
			assert.Equal(t, 401, a.Status, name)
			assert.Equal(t, bad, string(a.Body), name)
			assert.Contains(t, a.Header.Get("WWW-Authenticate"), `error="invalid_token"`, name)
		}
		a := w.send("GET", "/oauth/userinfo", "", "", header("Authorization", "Bearer "+token), header("Authorization", "Bearer "+token))
		assert.Equal(t, 401, a.Status)
	})
	t.Run("S389 FT-21 in the query", func(t *testing.T) {
		assert.Equal(t, 401, w.send("GET", "/oauth/userinfo?access_token="+token, "", "").Status)
		wantError(t, w.send("GET", "/oauth/userinfo?access_token="+token, "", "", header("Authorization", "Bearer "+token)), 400, oauth.InvalidRequest)
	})
	t.Run("S390 in the body", func(t *testing.T) {
		body := url.Values{"access_token": {token}}.Encode()
		assert.Equal(t, 401, w.send("POST", "/oauth/userinfo", formType, body).Status)
		wantError(t, w.send("POST", "/oauth/userinfo", formType, body, header("Authorization", "Bearer "+token)), 400, oauth.InvalidRequest)
		wantError(t, w.send("POST", "/oauth/userinfo", formType, body+"&"+body, header("Authorization", "Bearer "+token)), 400, oauth.InvalidRequest)
	})
	t.Run("S391 OpenID Connect Core 5.3 a token of no user", func(t *testing.T) {
		a := w.userinfo(wantOK(t, w.Token(oauthtest.MachineClient, machineForm())).String("access_token"))
		wantError(t, a, 403, "insufficient_scope")
		assert.Contains(t, a.Header.Get("WWW-Authenticate"), `error="insufficient_scope"`)
	})
	t.Run("FS-16 FT-18 it ends to the second", func(t *testing.T) {
		token := w.AccessToken("alice", "read")
		w.Clock.Advance(1799 * time.Second)
		wantOK(t, w.userinfo(token))
		w.Clock.Advance(time.Second)
		assert.Equal(t, 401, w.userinfo(token).Status)
	})
	t.Run("RFC 9110 15.5.6 other methods", func(t *testing.T) {
		a := w.send("DELETE", "/oauth/userinfo", "", "", header("Authorization", "Bearer "+token))
		assert.Equal(t, 405, a.Status)
		assert.Equal(t, "GET, POST, HEAD", a.Header.Get("Allow"))
	})
}

func TestIssued(t *testing.T) {
	var seen []oauth.Issued
	w := newWire(t, func(c *oauth.Config) {
		c.Resources = []oauth.Resource{{Identifier: "https://api.example"}}
		c.Respond = func(_ context.Context, i *oauth.Issued, f *oauth.Fields) error {
			seen = append(seen, *i)
			return nil
		}
	})
	w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), Extra: map[string]string{"plan": "gold"}})
	})
	_, code := w.Authorize(oauthtest.SPAClient, url.Values{"resource": {"https://api.example"}})
	a := w.Redeem(code)
	wantOK(t, w.Token(code.Client, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.String("refresh_token")}, "scope": {"read"}}))
	wantOK(t, w.Token(oauthtest.MachineClient, machineForm()))
	require.Len(t, seen, 4)
	now := w.Clock.Now()
	id := w.Events(oauth.EventTokenIssued)[0].Authorization
	for i, want := range []oauth.Issued{
		{Endpoint: "authorize", GrantType: "authorization_code", Authorization: id, Subject: "alice", Requested: []string{"read", "write"}, Scopes: []string{"read", "write"},
			Resources: []string{"https://api.example"}, Extra: map[string]string{"plan": "gold"}, IssuedAt: now, ExpiresAt: now.Add(time.Minute)},
		{Endpoint: "token", GrantType: "authorization_code", Authorization: id, Subject: "alice", Requested: []string{"read", "write"}, Scopes: []string{"read", "write"},
			Resources: []string{"https://api.example"}, Extra: map[string]string{"plan": "gold"}, IssuedAt: now, ExpiresAt: now.Add(30 * time.Minute)},
		{Endpoint: "token", GrantType: "refresh_token", Authorization: id, Subject: "alice", Requested: []string{"read"}, Scopes: []string{"read"},
			Resources: []string{"https://api.example"}, Extra: map[string]string{"plan": "gold"}, IssuedAt: now, ExpiresAt: now.Add(30 * time.Minute)},
		{Endpoint: "token", GrantType: "client_credentials", Requested: []string{"read"}, Scopes: []string{"read"},
			Resources: []string{oauthtest.Issuer}, IssuedAt: now, ExpiresAt: now.Add(30 * time.Minute)},
	} {
		want.Client = seen[i].Client
		assert.NotNil(t, seen[i].Client)
		assert.Equal(t, want, seen[i], "answer %d", i)
	}
}

func TestRequestedScopes(t *testing.T) {
	var last oauth.Issued
	w := newWire(t, func(c *oauth.Config) {
		c.Respond = func(_ context.Context, i *oauth.Issued, _ *oauth.Fields) error {
			last = *i
			return nil
		}
	})
	w.Approve("alice", "read")
	code := w.Code(oauthtest.SPAClient, "write", "read")
	refresh := url.Values{"grant_type": {"refresh_token"}}
	t.Run("RFC 6749 5.1 a code knows what its request asked for", func(t *testing.T) {
		a := wantOK(t, w.Redeem(code))
		refresh.Set("refresh_token", a.String("refresh_token"))
		assert.Equal(t, []string{"write", "read"}, last.Requested)
		assert.Equal(t, []string{"read"}, last.Scopes)
	})
	t.Run("RFC 6749 6 a refresh without scope asks for what was granted", func(t *testing.T) {
		a := wantOK(t, w.Token(code.Client, refresh))
		refresh.Set("refresh_token", a.String("refresh_token"))
		assert.Equal(t, []string{"read"}, last.Requested)
	})
}

func TestResources(t *testing.T) {
	const api, other = "https://api.example", "https://other.example"
	w := newWire(t, func(c *oauth.Config) {
		c.Resources = []oauth.Resource{{Identifier: api}, {Identifier: other}}
		sees := client(c, oauthtest.APIClient)
		sees.Resources = []string{api, other, c.Issuer}
		c.Clients = oauth.StaticClients(client(c, oauthtest.SPAClient), client(c, oauthtest.MachineClient), sees)
	})
	audience := func(token string) any { return w.Introspect(token).JSON["aud"] }
	_, code := w.Authorize(oauthtest.SPAClient, url.Values{"resource": {api, other}})
	require.NotEmpty(t, code.Code)
	t.Run("V136 S135 RFC 8707 2.2 an unknown resource burns nothing", func(t *testing.T) {
		wantError(t, w.Token(code.Client, changed(code.Form(), url.Values{"resource": {"https://evil.example"}})), 400, oauth.InvalidTarget)
	})
	a := wantOK(t, w.Token(code.Client, changed(code.Form(), url.Values{"resource": {api}})))
	assert.Equal(t, api, audience(a.String("access_token")))
	refresh := func(client, token string, resource ...string) *oauthtest.Answer {
		return w.Token(client, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "resource": resource})
	}
	t.Run("RFC 8707 2.2 the refresh has all that was approved", func(t *testing.T) {
		b := wantOK(t, refresh(code.Client, a.String("refresh_token")))
		assert.Equal(t, []any{api, other}, audience(b.String("access_token")))
		wantError(t, refresh(code.Client, b.String("refresh_token"), "https://evil.example"), 400, oauth.InvalidTarget)
		b = wantOK(t, refresh(code.Client, b.String("refresh_token"), other))
		assert.Equal(t, other, audience(b.String("access_token")))
	})
	t.Run("RFC 8707 2.2 a resource that was not approved", func(t *testing.T) {
		_, code := w.Authorize(oauthtest.SPAClient, url.Values{"resource": {api}})
		wantError(t, w.Token(code.Client, changed(code.Form(), url.Values{"resource": {other}})), 400, oauth.InvalidTarget)
		w.Redeem(code)
	})
	t.Run("RFC 8707 2 client_credentials", func(t *testing.T) {
		a := wantOK(t, w.Token(oauthtest.MachineClient, changed(machineForm(), url.Values{"resource": {other}})))
		assert.Equal(t, other, audience(a.String("access_token")))
		a = wantOK(t, w.Token(oauthtest.MachineClient, machineForm()))
		assert.Equal(t, oauthtest.Issuer, audience(a.String("access_token")))
	})
	t.Run("RFC 8707 2 a resource of another API is refused by this one", func(t *testing.T) {
		a := wantOK(t, w.Token(oauthtest.MachineClient, changed(machineForm(), url.Values{"resource": {other}})))
		assert.Equal(t, 401, w.send("GET", "/oauth/userinfo", "", "", header("Authorization", "Bearer "+a.String("access_token"))).Status)
	})
}

func TestRespond(t *testing.T) {
	t.Run("design 6 its error is the answer and nothing is lost", func(t *testing.T) {
		var err error
		w := newWire(t, func(c *oauth.Config) {
			c.Respond = func(_ context.Context, i *oauth.Issued, _ *oauth.Fields) error {
				if i.Endpoint == "token" {
					return err
				}
				return nil
			}
		})
		refresh, code := w.Redeem(w.Code(spa)).String("refresh_token"), w.Code(spa)
		for _, c := range []struct {
			err    error
			status int
			code   oauth.ErrorCode
		}{
			{oauth.AccessDenied, 400, oauth.AccessDenied},
			{&oauth.Error{Code: "unpaid", Description: "Pay first", Status: 402}, 402, "unpaid"},
			{errBoom, 503, oauth.TemporarilyUnavailable},
		} {
			err = c.err
			w.may5.Store(c.status >= 500)
			w.Store.Reset()
			for _, a := range []*oauthtest.Answer{w.Token(spa, code.Form()), w.Refresh(spa, refresh), w.Token(oauthtest.MachineClient, machineForm())} {
				wantError(t, a, c.status, c.code)
			}
			assert.Equal(t, []string{"Get", "Get"}, w.Store.Methods())
		}
		err = nil
		w.may5.Store(false)
		w.Redeem(code)
		w.rotate(spa, refresh)
	})
	t.Run("FL-17 FL-18 FL-29 members, order and types of another server's answer", func(t *testing.T) {
		w := newWire(t, func(c *oauth.Config) {
			c.Respond = func(_ context.Context, i *oauth.Issued, f *oauth.Fields) error {
				if i.Endpoint != "token" {
					return nil
				}
				f.Set("type", "access")
				f.Set("token_type", "bearer")
				f.Set("issued_at", i.IssuedAt.Unix())
				f.Set("appStatus", "trusted")
				f.Set("user", i.Subject)
				f.Select("type", "token_type", "access_token", "issued_at", "expires_in", "appStatus", "user", "scope", "refresh_token")
				return nil
			}
		})
		a := w.Redeem(w.Code(web))
		b := w.refreshed(web, a.String("refresh_token"))
		for _, x := range []*oauthtest.Answer{a, b} {
			wantKeys(t, x, "type", "token_type", "access_token", "issued_at", "expires_in", "appStatus", "user", "scope", "refresh_token")
			end := x.JSON["issued_at"].(float64) + x.JSON["expires_in"].(float64)
			assert.Equal(t, end, w.Introspect(x.String("access_token")).JSON["exp"])
		}
	})
	t.Run("FL-12 a refresh token where the approval says offline", func(t *testing.T) {
		w := newWire(t, func(c *oauth.Config) {
			c.Policy = func(_ context.Context, r oauth.PolicyRequest) (p oauth.Policy) {
				if r.Extra["access_type"] != "offline" {
					p.Refresh = oauth.NoRefresh
				}
				return p
			}
		})
		for kind, want := range map[string]bool{"offline": true, "online": false, "": false} {
			w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
				in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), Extra: map[string]string{"access_type": kind}})
			})
			assert.Equal(t, want, w.Redeem(w.Code(web)).String("refresh_token") != "", kind)
		}
	})
	t.Run("FT-19 an ErrorWriter has the body, the challenge stays", func(t *testing.T) {
		s := newServer(t, func(c *oauth.Config) {
			c.Error = func(rw http.ResponseWriter, _ *http.Request, e *oauth.Error) {
				rw.WriteHeader(e.HTTPStatus())
				rw.Write([]byte(`{"message":"` + e.Endpoint + " " + string(e.Code) + `"}`))
			}
		})
		a := s.Post("/oauth/userinfo", "", url.Values{})
		assert.Equal(t, []any{401, `Bearer realm="oauth"`, `{"message":"userinfo invalid_token"}`}, []any{a.Status, a.Header.Get("WWW-Authenticate"), string(a.Body)})
		a = s.Token("", url.Values{})
		assert.Equal(t, []any{401, "no-store", "application/json", `{"message":"token invalid_client"}`},
			[]any{a.Status, a.Header.Get("Cache-Control"), a.Header.Get("Content-Type"), string(a.Body)})
	})
	t.Run("FT-12 FL-16 a code without PKCE, credentials in the body", func(t *testing.T) {
		w := newWire(t, func(c *oauth.Config) {
			c.Grants = []oauth.Grant{grants.AuthorizationCode{PKCE: grants.PKCEOptional}, grants.RefreshToken{}, grants.ClientCredentials{}}
		})
		_, code := w.Authorize(web, url.Values{"code_challenge": {""}, "code_challenge_method": {""}})
		f := code.Form()
		f.Set("client_id", web)
		f.Set("client_secret", "wrong-secret-x")
		wantError(t, w.send("POST", "/oauth/token", formType, f.Encode()), 401, oauth.InvalidClient)
		f.Set("client_secret", oauthtest.Secret)
		wantOK(t, w.send("POST", "/oauth/token", formType, f.Encode()))
	})
}
