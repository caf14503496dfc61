package oauth_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/oauthtest"
)

func withDecoder(d oauth.Decoder) func(*oauth.Config) {
	return func(c *oauth.Config) { c.Decode = d }
}

// asJSON is a form as a JSON object.
func asJSON(t *testing.T, form url.Values) string {
	t.Helper()
	m := map[string]string{}
	for name := range form {
		m[name] = form.Get(name)
	}
	b, err := json.Marshal(m)
	require.NoError(t, err)
	return string(b)
}

func (w *wire) json(path, body string) *oauthtest.Answer {
	return w.send("POST", path, "application/json", body)
}

func TestJSONBody(t *testing.T) {
	w := newWire(t, withDecoder(oauth.JSONBody))
	redeem := func(code oauthtest.Code, change url.Values) *oauthtest.Answer {
		f := changed(code.Form(), change)
		f.Set("client_id", code.Client)
		return w.json("/oauth/token", asJSON(t, f))
	}
	t.Run("FS-09 FS-11 FS-18 code and refresh", func(t *testing.T) {
		a := wantOK(t, redeem(w.Code(spa), nil))
		wantKeys(t, a, "access_token", "token_type", "expires_in", "refresh_token", "scope")
		w.note(a.String("refresh_token"))
		body := asJSON(t, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.String("refresh_token")}, "client_id": {spa}})
		b := wantOK(t, w.json("/oauth/token", body))
		wantKeys(t, b, "access_token", "token_type", "expires_in", "refresh_token", "scope")
		c := wantOK(t, w.send("POST", "/oauth/token", "application/json; charset=utf-8", body))
		assert.Equal(t, b.String("refresh_token"), c.String("refresh_token"))
	})
	t.Run("FS-09 a form is refused where JSON alone is read", func(t *testing.T) {
		a := w.send("POST", "/oauth/token", formType, "grant_type=refresh_token&client_id=spa")
		wantError(t, a, 400, oauth.InvalidRequest)
		assert.Contains(t, a.String("error_description"), "application/json")
	})
	t.Run("FS-11 FS-12 a failed check burns nothing", func(t *testing.T) {
		code := w.Code(spa)
		wantError(t, redeem(code, url.Values{"code_verifier": {strings.Repeat("v", 43)}}), 400, oauth.InvalidGrant)
		a := redeem(code, url.Values{"code_verifier": nil})
		assert.Equal(t, `{"error":"invalid_request","error_description":"Missing required parameter: code_verifier"}`, string(a.Body))
		wantOK(t, redeem(code, nil))
	})
	for name, body := range map[string]string{
		"an array": `[]`, "a string": `"grant_type=x"`, "null": `null`, "nothing but spaces": ` `, "trailing data": `{"client_id":"spa"}{}`,
		"a duplicate": `{"client_id":"spa","grant_type":"refresh_token","grant_type":"refresh_token"}`,
		"a number":    `{"client_id":"spa","grant_type":1}`, "an object": `{"client_id":"spa","grant_type":{"a":"b"}}`, "a null": `{"client_id":"spa","grant_type":null}`,
		"an array of strings": `{"client_id":"spa","grant_type":["refresh_token"]}`, "cut": `{"client_id":"spa"`, "not UTF-8": "{\"client_id\":\"spa\",\"x\":\"\xff\"}",
		"deep": strings.Repeat(`[`, 20000),
	} {
		t.Run("V116 FS-10 "+name, func(t *testing.T) {
			wantError(t, w.json("/oauth/token", body), 400, oauth.InvalidRequest)
			wantError(t, w.json("/oauth/revoke", body), 400, oauth.InvalidRequest)
		})
	}
	t.Run("FS-10 over the limit", func(t *testing.T) {
		wantError(t, w.json("/oauth/token", `{"x":"`+strings.Repeat("y", 64<<10)+`"}`), 413, oauth.InvalidRequest)
	})
	t.Run("FS-12 the same wording for others", func(t *testing.T) {
		for missing, body := range map[string]string{"grant_type": `{"client_id":"spa"}`, "code": `{"client_id":"spa","grant_type":"authorization_code"}`} {
			assert.Equal(t, `{"error":"invalid_request","error_description":"Missing required parameter: `+missing+`"}`, string(w.json("/oauth/token", body).Body))
		}
	})
	t.Run("FS-09 both where both are asked for", func(t *testing.T) {
		w := newWire(t, withDecoder(oauth.Merge(oauth.JSONBody, oauth.FormBody)))
		token := w.Redeem(w.Code(spa)).String("refresh_token")
		wantOK(t, w.json("/oauth/token", asJSON(t, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {spa}})))
		a := w.send("POST", "/oauth/token", "text/plain", "x=y")
		wantError(t, a, 400, oauth.InvalidRequest)
	})
}

func TestHeaderDecoder(t *testing.T) {
	w := newWire(t, withDecoder(oauth.Merge(oauth.JSONBody, oauth.FormBody, oauth.Header("X-Client-Id", "client_id"))))
	tokens := func() (access, refresh string) {
		a := w.Redeem(w.Code(spa))
		return a.String("access_token"), a.String("refresh_token")
	}
	revoke := func(body string, client ...string) *oauthtest.Answer {
		r := w.send("POST", "/oauth/revoke", "application/json", body, headers("X-Client-Id", client)...)
		return r
	}
	t.Run("FS-23 the sample", func(t *testing.T) {
		access, refresh := tokens()
		a := wantOK(t, revoke(asJSON(t, url.Values{"token": {refresh}, "token_type_hint": {"refresh_token"}}), spa))
		assert.Empty(t, a.Body)
		w.refused(spa, refresh)
		assert.False(t, w.active(access))
	})
	access, refresh := tokens()
	body := asJSON(t, url.Values{"token": {refresh}})
	for _, c := range []struct {
		name    string
		body    string
		clients []string
		status  int
		code    oauth.ErrorCode
	}{
		{"unknown token", `{"token":"xyz"}`, []string{spa}, 200, ""},
		{"other client", body, []string{otherSPA}, 200, ""},
		{"missing header", body, nil, 401, oauth.InvalidClient},
		{"empty header", body, []string{""}, 401, oauth.InvalidClient},
		{"missing token", `{}`, []string{spa}, 400, oauth.InvalidRequest},
		{"header and body differ", `{"token":"xyz","client_id":"spa2"}`, []string{spa}, 400, oauth.InvalidRequest},
		{"header and body agree", `{"token":"xyz","client_id":"spa"}`, []string{spa}, 200, ""},
		{"two headers that differ", body, []string{spa, otherSPA}, 400, oauth.InvalidRequest},
		{"a confidential client", body, []string{web}, 401, oauth.InvalidClient},
		{"an unknown client", body, []string{"nobody"}, 401, oauth.InvalidClient},
	} {
		t.Run("FS-24 "+c.name, func(t *testing.T) {
			a := revoke(c.body, c.clients...)
			require.Equal(t, c.status, a.Status, string(a.Body))
			assert.Equal(t, string(c.code), a.String("error"))
			if c.name == "missing token" {
				assert.Equal(t, "Missing required parameter: token", a.String("error_description"))
			}
			assert.True(t, w.active(access))
		})
	}
	t.Run("FS-24 header and Basic differ", func(t *testing.T) {
		a := w.send("POST", "/oauth/revoke", formType, "token="+access, basic(web, oauthtest.Secret), header("X-Client-Id", spa))
		wantError(t, a, 400, oauth.InvalidRequest)
	})
	t.Run("FS-23 preflight allows the header", func(t *testing.T) {
		a := w.send("OPTIONS", "/oauth/revoke", "", "", header("Origin", "https://spa.example"))
		assert.Equal(t, 204, a.Status)
		assert.Contains(t, a.Header.Get("Access-Control-Allow-Headers"), "X-Client-Id")
	})
	w.rotate(spa, refresh)
}

func TestQueryDecoder(t *testing.T) {
	w := newWire(t, withDecoder(oauth.Merge(oauth.FormBody, oauth.Query("grant_type"))), func(c *oauth.Config) {
		c.Grants = []oauth.Grant{grants.ClientCredentials{}}
		c.Clients = oauth.StaticClients(machine("machine", oauth.HashSecret(oauthtest.Secret)))
		c.Scopes[0].Default = true
		c.Interact = nil
	})
	auth := basic("machine", oauthtest.Secret)
	for _, c := range []struct {
		name, query, media, body string
		status                   int
		code                     oauth.ErrorCode
	}{
		{"FP-01 empty body, no Content-Type", "?grant_type=client_credentials", "", "", 200, ""},
		{"FP-01 Basic alone, the parameter in the body", "", formType, "grant_type=client_credentials", 200, ""},
		{"FP-03 equal values in both", "?grant_type=client_credentials", formType, "grant_type=client_credentials", 200, ""},
		{"FP-03 differing values", "?grant_type=client_credentials", formType, "grant_type=refresh_token", 400, oauth.InvalidRequest},
		{"FP-03 twice in the query", "?grant_type=client_credentials&grant_type=client_credentials", "", "", 400, oauth.InvalidRequest},
		{"FP-02 other parameters are not read from the query", "?grant_type=client_credentials&scope=nothing", "", "", 200, ""},
		{"FP-06 refresh_token", "?grant_type=refresh_token", "", "", 400, oauth.UnsupportedGrantType},
		{"FP-06 authorization_code", "?grant_type=authorization_code", "", "", 400, oauth.UnsupportedGrantType},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.send("POST", "/oauth/token"+c.query, c.media, c.body, auth)
			require.Equal(t, c.status, a.Status, string(a.Body))
			assert.Equal(t, string(c.code), a.String("error"))
			if c.status == 200 {
				wantKeys(t, a, "access_token", "token_type", "expires_in", "scope")
			}
		})
	}
	for _, name := range []string{"client_secret", "code", "refresh_token", "code_verifier", "token", "client_assertion", "password", "access_token"} {
		t.Run("FP-02 never from the query: "+name, func(t *testing.T) {
			a := w.send("POST", "/oauth/token?grant_type=client_credentials&client_id=machine&"+name+"="+oauthtest.Secret, "", "")
			wantError(t, a, 400, oauth.InvalidRequest)
			cfg := w.Config
			cfg.Decode = oauth.Merge(oauth.FormBody, oauth.Query("grant_type", name))
			_, err := oauth.New(cfg)
			require.ErrorContains(t, err, "Config.Decode")
		})
	}
	t.Run("FP-02 client_id is not read from the query", func(t *testing.T) {
		a := w.send("POST", "/oauth/token?grant_type=client_credentials&client_id=machine", formType, "client_secret="+oauthtest.Secret)
		wantError(t, a, 401, oauth.InvalidClient)
	})
	t.Run("FP-06 no authorization endpoint", func(t *testing.T) {
		assert.Equal(t, 404, w.send("GET", "/oauth/authorize", "", "").Status)
	})
	t.Run("FP-01 without the opt-in it is not read", func(t *testing.T) {
		a := newWire(t).send("POST", "/oauth/token?grant_type=client_credentials", "", "", auth)
		wantError(t, a, 400, oauth.InvalidRequest)
		assert.Equal(t, "Missing required parameter: grant_type", a.String("error_description"))
	})
}

func TestClientCredentials(t *testing.T) {
	t.Run("FP-07 FP-08 FP-09 S155 tokens overlap, each with its own end", func(t *testing.T) {
		w := newWire(t, withClients(machine("short", oauth.HashSecret(oauthtest.Secret))), func(c *oauth.Config) {
			c.Policy = func(_ context.Context, r oauth.PolicyRequest) (p oauth.Policy) {
				if r.Client.ID == "short" {
					p.Access = 300e9
				}
				return p
			}
		})
		w.Store.Reset()
		a := wantOK(t, w.Token(oauthtest.MachineClient, machineForm()))
		assert.Empty(t, w.Store.Calls(), "nothing is stored")
		wantKeys(t, a, "access_token", "token_type", "expires_in", "scope")
		assert.Equal(t, float64(1800), a.JSON["expires_in"])
		assert.Equal(t, float64(300), wantOK(t, w.Token("short", machineForm())).JSON["expires_in"])
		w.Clock.Advance(1500e9)
		b := wantOK(t, w.Token(oauthtest.MachineClient, machineForm()))
		assert.Equal(t, float64(1800), b.JSON["expires_in"])
		assert.NotEqual(t, a.String("access_token"), b.String("access_token"))
		w.Clock.Advance(299e9)
		assert.True(t, w.active(a.String("access_token")))
		w.Clock.Advance(1e9)
		assert.False(t, w.active(a.String("access_token")))
		assert.True(t, w.active(b.String("access_token")))
	})
	t.Run("V138 S156 defaults within what the client may have", func(t *testing.T) {
		w := newWire(t, withClients(oauth.Client{ID: "writer", Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, Grants: []string{"client_credentials"}, Scopes: []string{"write"}}),
			func(c *oauth.Config) { c.Scopes[0].Default = true })
		none := url.Values{"grant_type": {"client_credentials"}}
		wantError(t, w.Token("writer", none), 400, oauth.InvalidScope)
		assert.Equal(t, "read", wantOK(t, w.Token(oauthtest.MachineClient, none)).String("scope"))
	})
	t.Run("S159 S144 a scope it may not have", func(t *testing.T) {
		w := newWire(t)
		for _, scope := range []string{"openid offline_access", "admin", "read admin", "read\twrite", "read  write", ""} {
			wantError(t, w.Token(oauthtest.MachineClient, url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}), 400, oauth.InvalidScope)
		}
	})
	for name, edit := range map[string]func(*oauth.Config){"opaque": func(*oauth.Config) {}, "JWT": withJWT(t)} {
		t.Run("S157 a client named like a user is not that user: "+name, func(t *testing.T) {
			w := newWire(t, withClients(machine("alice", oauth.HashSecret(oauthtest.Secret))), edit)
			token := wantOK(t, w.Token("alice", machineForm())).String("access_token")
			v, err := w.VerifyToken(t.Context(), token)
			require.NoError(t, err)
			assert.Equal(t, []string{"alice", ""}, []string{v.ClientID, v.Subject})
			assert.NotContains(t, w.Introspect(token).JSON, "sub")
			a := w.send("GET", "/oauth/userinfo", "", "", header("Authorization", "Bearer "+token))
			wantError(t, a, 403, "insufficient_scope")
		})
	}
}
