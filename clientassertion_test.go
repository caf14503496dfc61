package oauth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

const (
	signer       = "signer" // a client that authenticates by assertions
	assertionURN = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

func publicJWKS(t testing.TB, keys ...jose.JSONWebKey) json.RawMessage {
	t.Helper()
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.Public())
	}
	text, err := json.Marshal(set)
	require.NoError(t, err)
	return text
}

// claimsOf are good claims of an assertion, changed; nil leaves one out.
func claimsOf(s *oauthtest.Server, change map[string]any) map[string]any {
	now := s.Clock.Now().Unix()
	c := map[string]any{"iss": signer, "sub": signer, "aud": oauthtest.Issuer, "exp": now + 60, "iat": now, "jti": rand.Text()}
	for name, value := range change {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

// signed makes an assertion as a client's library does.
func signed(t testing.TB, key jose.JSONWebKey, typ string, claims any) string {
	t.Helper()
	options := (&jose.SignerOptions{})
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	by, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, options)
	require.NoError(t, err)
	text, err := json.Marshal(claims)
	require.NoError(t, err)
	object, err := by.Sign(text)
	require.NoError(t, err)
	token, err := object.CompactSerialize()
	require.NoError(t, err)
	return token
}

// handmade is a JWS with whatever header.
func handmade(header string, claims any, sign func(input []byte) []byte) string {
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(header)) + "." + b64(text)
	return input + "." + b64(sign([]byte(input)))
}

func asserted(assertion string, more url.Values) url.Values {
	form := url.Values{"client_assertion": {assertion}, "client_assertion_type": {assertionURN}}
	maps.Copy(form, more)
	return form
}

func signing(client oauth.Client) func(*oauth.Config) {
	client.ID, client.Scopes, client.Grants = signer, []string{"read"}, []string{"client_credentials", "authorization_code", "refresh_token"}
	client.RedirectURIs, client.Introspect = []string{oauthtest.Callback}, true
	return func(c *oauth.Config) {
		c.Clients = oauth.StaticClients(client, oauth.Client{ID: oauthtest.SPAClient, Public: true, RedirectURIs: []string{oauthtest.Callback}, Scopes: []string{"read"}})
	}
}

func esKey(t testing.TB, kid string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: ecKey(t), KeyID: kid, Algorithm: "ES256"}
}

// postForm sends a form without any authentication but what is in it.
func postForm(s *oauthtest.Server, path string, form url.Values) *oauthtest.Answer {
	return s.Post(path, "", form)
}

var machineGrant = url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}

func TestClientAssertion(t *testing.T) {
	es, rs, ed := esKey(t, "1"), jose.JSONWebKey{Key: rsaKey(t), KeyID: "2"}, jose.JSONWebKey{Key: edKey(t), KeyID: "3", Algorithm: "EdDSA"}
	set := publicJWKS(t, es, rs, ed)
	start := func(t *testing.T, edits ...func(*oauth.Config)) *oauthtest.Server {
		return newServer(t, append([]func(*oauth.Config){signing(oauth.Client{JWKS: set})}, edits...)...)
	}
	t.Run("RFC 7523 2.2 at every endpoint, with every algorithm", func(t *testing.T) {
		s := start(t)
		for _, key := range []jose.JSONWebKey{es, {Key: rs.Key, KeyID: "2", Algorithm: "RS256"}, {Key: rs.Key, KeyID: "2", Algorithm: "PS256"}, ed} {
			a := postForm(s, "/oauth/token", asserted(signed(t, key, "JWT", claimsOf(s, nil)), machineGrant))
			require.Equal(t, 200, a.Status, "%s %s", key.Algorithm, a.Body)
			token := a.String("access_token")
			in := postForm(s, "/oauth/introspect", asserted(signed(t, key, "client-authentication+jwt", claimsOf(s, nil)), url.Values{"token": {token}, "client_id": {signer}}))
			require.Equal(t, true, in.JSON["active"])
			require.Equal(t, 200, postForm(s, "/oauth/revoke", asserted(signed(t, key, "", claimsOf(s, nil)), url.Values{"token": {token}})).Status)
			_, err := s.VerifyToken(t.Context(), token)
			require.ErrorIs(t, err, oauth.InvalidToken)
		}
	})
	t.Run("a code and a refresh", func(t *testing.T) {
		s := start(t)
		_, code := s.Authorize(signer, url.Values{"scope": {"read"}})
		form := code.Form()
		form.Del("client_id")
		a := postForm(s, "/oauth/token", asserted(signed(t, es, "", claimsOf(s, nil)), form))
		require.Equal(t, 200, a.Status, a.Body)
		refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.String("refresh_token")}}
		s.Store.Reset()
		require.Equal(t, 200, postForm(s, "/oauth/token", asserted(signed(t, es, "", claimsOf(s, nil)), refresh)).Status)
		assert.Equal(t, []string{"Get", "Create", "Update"}, s.Store.Methods(), "the jti directly before the commit")
	})
	now := func(s *oauthtest.Server) int64 { return s.Clock.Now().Unix() }
	for name, change := range map[string]func(s *oauthtest.Server) map[string]any{
		"V113 S294 no exp": func(*oauthtest.Server) map[string]any { return map[string]any{"exp": nil} },
		"V113 S294 no iat": func(*oauthtest.Server) map[string]any { return map[string]any{"iat": nil} },
		"no jti":           func(*oauthtest.Server) map[string]any { return map[string]any{"jti": nil} },
		"an empty jti":     func(*oauthtest.Server) map[string]any { return map[string]any{"jti": ""} },
		"a long jti":       func(*oauthtest.Server) map[string]any { return map[string]any{"jti": strings.Repeat("j", 256)} },
		"no iss":           func(*oauthtest.Server) map[string]any { return map[string]any{"iss": nil} },
		"another iss":      func(*oauthtest.Server) map[string]any { return map[string]any{"iss": "other"} },
		"another sub":      func(*oauthtest.Server) map[string]any { return map[string]any{"sub": oauthtest.SPAClient} },
		"no aud":           func(*oauthtest.Server) map[string]any { return map[string]any{"aud": nil} },
		"another aud":      func(*oauthtest.Server) map[string]any { return map[string]any{"aud": "https://evil.example"} },
		"RFC 7523bis the endpoint as aud": func(*oauthtest.Server) map[string]any {
			return map[string]any{"aud": oauthtest.Issuer + "/oauth/token"}
		},
		"RFC 7523bis two audiences": func(*oauthtest.Server) map[string]any {
			return map[string]any{"aud": []string{oauthtest.Issuer, "https://evil.example"}}
		},
		"aud with a slash":                  func(*oauthtest.Server) map[string]any { return map[string]any{"aud": oauthtest.Issuer + "/"} },
		"expired this second":               func(s *oauthtest.Server) map[string]any { return map[string]any{"exp": now(s)} },
		"S355 exp in ten years":             func(s *oauthtest.Server) map[string]any { return map[string]any{"exp": now(s) + 10*366*24*3600} },
		"exp is text":                       func(s *oauthtest.Server) map[string]any { return map[string]any{"exp": "soon"} },
		"exp is no date":                    func(s *oauthtest.Server) map[string]any { return map[string]any{"exp": 1e300} },
		"S374 issued a minute from now":     func(s *oauthtest.Server) map[string]any { return map[string]any{"iat": now(s) + 60} },
		"S374 not before a minute from now": func(s *oauthtest.Server) map[string]any { return map[string]any{"nbf": now(s) + 60} },
		"sub is a list":                     func(*oauthtest.Server) map[string]any { return map[string]any{"sub": []string{signer}} },
		"V105 aud is a list with a number":  func(*oauthtest.Server) map[string]any { return map[string]any{"aud": []any{oauthtest.Issuer, 1}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			a := postForm(s, "/oauth/token", asserted(signed(t, es, "", claimsOf(s, change(s))), machineGrant))
			wantError(t, a, 401, oauth.InvalidClient)
			assert.Empty(t, s.Store.Methods(), "S118 a failed one is not used up")
			assert.Len(t, s.Events(oauth.EventClientRefused), 1)
		})
	}
	for name, change := range map[string]func(s *oauthtest.Server) map[string]any{
		"aud as a list of one":         func(*oauthtest.Server) map[string]any { return map[string]any{"aud": []string{oauthtest.Issuer}} },
		"an hour, as some do":          func(s *oauthtest.Server) map[string]any { return map[string]any{"exp": now(s) + 3600} },
		"S374 a clock 8 seconds ahead": func(s *oauthtest.Server) map[string]any { return map[string]any{"iat": now(s) + 8, "nbf": now(s) + 8} },
		"other claims":                 func(*oauthtest.Server) map[string]any { return map[string]any{"x": []int{1}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			require.Equal(t, 200, postForm(s, "/oauth/token", asserted(signed(t, es, "", claimsOf(s, change(s))), machineGrant)).Status)
		})
	}
	t.Run("InsecureEndpointAudience", func(t *testing.T) {
		s := start(t, func(c *oauth.Config) { c.InsecureEndpointAudience = true })
		for _, c := range []struct{ path, aud, want string }{
			{"/oauth/token", "/oauth/token", "200"}, {"/oauth/revoke", "/oauth/token", "200"}, {"/oauth/revoke", "/oauth/revoke", "200"},
			{"/oauth/introspect", "/oauth/introspect", "200"}, {"/oauth/token", "", "200"},
			{"/oauth/token", "/oauth/revoke", "401 invalid_client"}, {"/oauth/revoke", "/oauth/introspect", "401 invalid_client"},
		} {
			form := asserted(signed(t, es, "", claimsOf(s, map[string]any{"aud": oauthtest.Issuer + c.aud})), machineGrant)
			form.Set("token", "x")
			assert.Equal(t, c.want, outcome(postForm(s, c.path, form)), c)
		}
	})
	t.Run("InsecureEndpointAudience not another server's", func(t *testing.T) {
		s := start(t, func(c *oauth.Config) { c.InsecureEndpointAudience, c.Endpoints.Introspect = true, "-" })
		form := asserted(signed(t, es, "", claimsOf(s, map[string]any{"aud": ""})), machineGrant)
		assert.Equal(t, "401 invalid_client", outcome(postForm(s, "/oauth/token", form)), "an endpoint that is not served has no URL")
		s = start(t, func(c *oauth.Config) { c.InsecureEndpointAudience, c.Endpoints.Token = true, "-" })
		form = asserted(signed(t, es, "", claimsOf(s, map[string]any{"aud": ""})), url.Values{"token": {"x"}})
		assert.Equal(t, "401 invalid_client", outcome(postForm(s, "/oauth/revoke", form)), "nor has the token endpoint then")
	})
	for name, make := range map[string]func(s *oauthtest.Server) string{
		"V109 alg none": func(s *oauthtest.Server) string {
			return handmade(`{"alg":"none"}`, claimsOf(s, nil), func([]byte) []byte { return nil })
		},
		"V109 HS256, public key": func(s *oauthtest.Server) string {
			return handmade(`{"alg":"HS256","kid":"1"}`, claimsOf(s, nil), hs256(set))
		},
		"another key": func(s *oauthtest.Server) string { return signed(t, esKey(t, "1"), "", claimsOf(s, nil)) },
		"an unknown kid": func(s *oauthtest.Server) string {
			return signed(t, jose.JSONWebKey{Key: es.Key, KeyID: "9", Algorithm: "ES256"}, "", claimsOf(s, nil))
		},
		"V111 S279 embedded jwk": func(s *oauthtest.Server) string {
			other := esKey(t, "1")
			jwk, _ := json.Marshal(other.Public())
			return handmade(`{"alg":"ES256","jwk":`+string(jwk)+`}`, claimsOf(s, nil), es256(other))
		},
		"S279 jku": func(s *oauthtest.Server) string {
			return handmade(`{"alg":"ES256","kid":"1","jku":"https://evil.example"}`, claimsOf(s, nil), es256(es))
		},
		"crit": func(s *oauthtest.Server) string {
			return handmade(`{"alg":"ES256","kid":"1","crit":["x"],"x":1}`, claimsOf(s, nil), es256(es))
		},
		"S237 an access token's typ":      func(s *oauthtest.Server) string { return signed(t, es, "at+jwt", claimsOf(s, nil)) },
		"V100 many dots":                  func(*oauthtest.Server) string { return strings.Repeat(".", 1<<14) },
		"no JWT":                          func(*oauthtest.Server) string { return "x" },
		"no JSON":                         func(*oauthtest.Server) string { return "e30.eA.e30" },
		"V115 S264 the same member twice": func(s *oauthtest.Server) string { return twice(s, es) },
		"a signature cut by one byte":     func(s *oauthtest.Server) string { x := signed(t, es, "", claimsOf(s, nil)); return x[:len(x)-2] },
		"a public client's assertion": func(s *oauthtest.Server) string {
			return signed(t, es, "", claimsOf(s, map[string]any{"iss": oauthtest.SPAClient, "sub": oauthtest.SPAClient}))
		},
		"an unknown client's": func(s *oauthtest.Server) string {
			return signed(t, es, "", claimsOf(s, map[string]any{"iss": "nobody", "sub": "nobody"}))
		},
		"client_secret_jwt, no secret": func(s *oauthtest.Server) string { return handmade(`{"alg":"HS256"}`, claimsOf(s, nil), hs256(nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			a := postForm(s, "/oauth/token", asserted(make(s), machineGrant))
			require.Equal(t, "401 invalid_client", outcome(a))
			assert.Empty(t, s.Store.Methods())
		})
	}
	for name, c := range map[string]struct {
		change url.Values
		want   string
	}{
		"S110 and a secret":           {url.Values{"client_secret": {"x"}}, "400 invalid_request"},
		"S121 no type":                {url.Values{"client_assertion_type": nil}, "400 invalid_request"},
		"S121 another type":           {url.Values{"client_assertion_type": {"urn:x"}}, "400 invalid_request"},
		"S121 the type alone":         {url.Values{"client_assertion": nil}, "400 invalid_request"},
		"another client_id":           {url.Values{"client_id": {oauthtest.SPAClient}}, "401 invalid_client"},
		"its own client_id":           {url.Values{"client_id": {signer}}, "200"},
		"twice":                       {url.Values{"client_assertion": {"a", "b"}}, "400 invalid_request"},
		"no assertion, as any secret": {url.Values{"client_assertion": nil, "client_assertion_type": nil, "client_id": {signer}, "client_secret": {"x"}}, "401 invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			form := changed(asserted(signed(t, es, "", claimsOf(s, nil)), machineGrant), c.change)
			assert.Equal(t, c.want, outcome(postForm(s, "/oauth/token", form)))
		})
	}
	t.Run("RFC 7523 3 another sub, though client_id and iss are right", func(t *testing.T) {
		s := start(t)
		assertion := signed(t, es, "", claimsOf(s, map[string]any{"sub": oauthtest.SPAClient}))
		a := postForm(s, "/oauth/token", changed(asserted(assertion, machineGrant), url.Values{"client_id": {signer}}))
		assert.Equal(t, "401 invalid_client", outcome(a))
	})
	t.Run("S110 and Basic", func(t *testing.T) {
		s := start(t)
		r := mustRequest(t, "POST", oauthtest.Issuer+"/oauth/token")
		form := asserted(signed(t, es, "", claimsOf(s, nil)), machineGrant).Encode()
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(form)), int64(len(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(signer, "x")
		assert.Equal(t, "400 invalid_request", outcome(s.Do(r)))
	})
}

func hs256(key []byte) func([]byte) []byte {
	return func(input []byte) []byte { m := hmac.New(sha256.New, key); m.Write(input); return m.Sum(nil) }
}

func es256(key jose.JSONWebKey) func([]byte) []byte {
	return func(input []byte) []byte {
		sum := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, key.Key.(*ecdsa.PrivateKey), sum[:])
		if err != nil {
			panic(err)
		}
		var raw [64]byte
		r.FillBytes(raw[:32])
		s.FillBytes(raw[32:])
		return raw[:]
	}
}

func twice(s *oauthtest.Server, key jose.JSONWebKey) string {
	text, _ := json.Marshal(claimsOf(s, nil))
	return handmade(`{"alg":"ES256","kid":"1"}`, json.RawMessage(strings.Replace(string(text), `{`, `{"jti":"a",`, 1)), es256(key))
}

func TestClientAssertionIsUsedOnce(t *testing.T) {
	es := esKey(t, "1")
	start := func(t *testing.T, edits ...func(*oauth.Config)) *oauthtest.Server {
		return newServer(t, append([]func(*oauth.Config){signing(oauth.Client{JWKS: publicJWKS(t, es)})}, edits...)...)
	}
	t.Run("V055 S118 a second time, at another process, until it expires", func(t *testing.T) {
		s := start(t)
		other := start(t, func(c *oauth.Config) { c.Storage, c.Secrets, c.Now = s.Config.Storage, s.Config.Secrets, s.Config.Now })
		assertion := signed(t, es, "", claimsOf(s, nil))
		require.Equal(t, 200, postForm(s, "/oauth/token", asserted(assertion, machineGrant)).Status)
		wantError(t, postForm(s, "/oauth/token", asserted(assertion, machineGrant)), 401, oauth.InvalidClient)
		wantError(t, postForm(other, "/oauth/token", asserted(assertion, machineGrant)), 401, oauth.InvalidClient)
		s.Clock.Advance(59 * time.Second)
		_, err := s.DeleteExpired(t.Context(), 10)
		require.NoError(t, err)
		wantError(t, postForm(s, "/oauth/token", asserted(assertion, machineGrant)), 401, oauth.InvalidClient)
		s.Clock.Advance(2 * time.Minute)
		n, err := s.DeleteExpired(t.Context(), 10)
		require.NoError(t, err)
		wantSwept(t, 1, n) // S355: nothing is kept for ever
	})
	t.Run("V055 a sweep before it expires does not make it good again", func(t *testing.T) {
		s := start(t)
		assertion := signed(t, es, "", claimsOf(s, map[string]any{"exp": s.Clock.Now().Add(time.Hour).Unix()}))
		require.Equal(t, 200, postForm(s, "/oauth/token", asserted(assertion, machineGrant)).Status)
		s.Clock.Advance(59 * time.Minute)
		n, err := s.DeleteExpired(t.Context(), 10)
		require.NoError(t, err)
		require.Zero(t, n)
		wantError(t, postForm(s, "/oauth/token", asserted(assertion, machineGrant)), 401, oauth.InvalidClient)
	})
	t.Run("two issuers on one store may be sent one jti", func(t *testing.T) {
		s := start(t)
		const second = "https://second.example"
		other := another(t, s, func(c *oauth.Config) { c.Issuer = second })
		require.Equal(t, 200, postForm(s, "/oauth/token", asserted(signed(t, es, "", claimsOf(s, map[string]any{"jti": "same"})), machineGrant)).Status)
		there := asserted(signed(t, es, "", claimsOf(s, map[string]any{"jti": "same", "aud": second})), machineGrant)
		require.Equal(t, 200, postForm(other, "/oauth/token", there).Status)
		wantError(t, postForm(other, "/oauth/token", there), 401, oauth.InvalidClient)
	})
	t.Run("two clients may use one jti", func(t *testing.T) {
		second := oauth.Client{ID: "second", JWKS: publicJWKS(t, es), Grants: []string{"client_credentials"}, Scopes: []string{"read"}}
		s := start(t, func(c *oauth.Config) {
			first, err := c.Clients.Client(context.Background(), signer)
			require.NoError(t, err)
			c.Clients = oauth.StaticClients(*first, second)
		})
		for _, id := range []string{signer, "second"} {
			claims := claimsOf(s, map[string]any{"jti": "same", "iss": id, "sub": id})
			require.Equal(t, 200, postForm(s, "/oauth/token", asserted(signed(t, es, "", claims), machineGrant)).Status)
		}
	})
	t.Run("S118 revocation and introspection use none up", func(t *testing.T) {
		s := start(t)
		assertion := signed(t, es, "", claimsOf(s, nil))
		for range 2 {
			require.Equal(t, 200, postForm(s, "/oauth/introspect", asserted(assertion, url.Values{"token": {"x"}})).Status)
			require.Equal(t, 200, postForm(s, "/oauth/revoke", asserted(assertion, url.Values{"token": {"x"}})).Status)
		}
		require.Equal(t, 200, postForm(s, "/oauth/token", asserted(assertion, machineGrant)).Status)
	})
	t.Run("S118 a request that fails a check uses none up", func(t *testing.T) {
		s := start(t)
		assertion := signed(t, es, "", claimsOf(s, nil))
		wantError(t, postForm(s, "/oauth/token", asserted(assertion, url.Values{"grant_type": {"client_credentials"}, "scope": {"admin"}})), 400, oauth.InvalidScope)
		wantError(t, postForm(s, "/oauth/token", asserted(assertion, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}})), 400, oauth.InvalidGrant)
		require.Equal(t, 200, postForm(s, "/oauth/token", asserted(assertion, machineGrant)).Status)
	})
	t.Run("V014 S326 fifty at once", func(t *testing.T) {
		s := start(t)
		assertion := signed(t, es, "", claimsOf(s, nil))
		answers := volley(50, func(int) *oauthtest.Answer { return postForm(s, "/oauth/token", asserted(assertion, machineGrant)) })
		assert.Equal(t, map[string]int{"200": 1, "401 invalid_client": 49}, tally(answers))
	})
	t.Run("a lost race of the refresh does not use it up twice", func(t *testing.T) {
		s := start(t)
		_, code := s.Authorize(signer, url.Values{"scope": {"read"}})
		form := code.Form()
		form.Del("client_id")
		token := postForm(s, "/oauth/token", asserted(signed(t, es, "", claimsOf(s, nil)), form)).String("refresh_token")
		refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
		answers := volley(16, func(int) *oauthtest.Answer {
			return postForm(s, "/oauth/token", asserted(signed(t, es, "", claimsOf(s, nil)), refresh))
		})
		assert.Equal(t, map[string]int{"200": 16}, tally(answers))
	})
	for name, c := range map[string]struct {
		fault oauthtest.Fault
		want  string
		again string
	}{
		"fails before":                {oauthtest.FailBefore, "503 temporarily_unavailable", "200"},
		"its answer is lost":          {oauthtest.FailAfter, "200", "401 invalid_client"},
		"the driver sends it twice":   {oauthtest.Twice, "200", "401 invalid_client"},
		"nothing happens, as control": {oauthtest.NoFault, "200", "401 invalid_client"},
	} {
		t.Run("V the write of the jti: "+name, func(t *testing.T) {
			s := start(t)
			s.Store.Fail(func(call oauthtest.StoreCall) oauthtest.Fault {
				if call.Method == "Create" {
					return c.fault
				}
				return oauthtest.NoFault
			})
			assertion := signed(t, es, "", claimsOf(s, nil))
			assert.Equal(t, c.want, outcome(postForm(s, "/oauth/token", asserted(assertion, machineGrant))))
			s.Store.Fail(nil)
			assert.Equal(t, c.again, outcome(postForm(s, "/oauth/token", asserted(assertion, machineGrant))))
		})
	}
}

// jwksServer answers requests for keys without a socket.
type jwksServer struct {
	keys  atomic.Pointer[[]jose.JSONWebKey]
	fail  atomic.Bool
	asked atomic.Int64
}

func (j *jwksServer) RoundTrip(r *http.Request) (*http.Response, error) {
	j.asked.Add(1)
	if j.fail.Load() {
		return nil, errors.New("connection refused by internal.example:8443")
	}
	set := jose.JSONWebKeySet{}
	for _, k := range *j.keys.Load() {
		set.Keys = append(set.Keys, k.Public())
	}
	text, err := json.Marshal(set)
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(text)), Request: r}, err
}

// keysByHost has one key at each host.
type keysByHost map[string]jose.JSONWebKey

func (k keysByHost) RoundTrip(r *http.Request) (*http.Response, error) {
	j := &jwksServer{}
	j.keys.Store(&[]jose.JSONWebKey{k[r.URL.Host]})
	return j.RoundTrip(r)
}

func TestClientJWKSURI(t *testing.T) {
	old, fresh := esKey(t, "old"), esKey(t, "fresh")
	start := func(t *testing.T) (*oauthtest.Server, *jwksServer) {
		j := &jwksServer{}
		j.keys.Store(&[]jose.JSONWebKey{old})
		return newServer(t, signing(oauth.Client{JWKSURI: "https://client.example/jwks"}), func(c *oauth.Config) { c.Transport = j }), j
	}
	send := func(t *testing.T, s *oauthtest.Server, key jose.JSONWebKey) string {
		return outcome(postForm(s, "/oauth/token", asserted(signed(t, key, "", claimsOf(s, nil)), machineGrant)))
	}
	t.Run("asked for once, and again for a new kid", func(t *testing.T) {
		s, j := start(t)
		for range 3 {
			require.Equal(t, "200", send(t, s, old))
		}
		require.EqualValues(t, 1, j.asked.Load())
		s.Clock.Advance(time.Minute)
		j.keys.Store(&[]jose.JSONWebKey{fresh, old})
		require.Equal(t, "200", send(t, s, fresh))
		require.EqualValues(t, 2, j.asked.Load())
	})
	t.Run("S301 random kids ask for it a few times", func(t *testing.T) {
		s, j := start(t)
		for range 50 {
			require.Equal(t, "401 invalid_client", send(t, s, esKey(t, rand.Text())))
		}
		require.LessOrEqual(t, j.asked.Load(), int64(2))
	})
	t.Run("S302 V112 a key that was withdrawn", func(t *testing.T) {
		s, j := start(t)
		require.Equal(t, "200", send(t, s, old))
		j.keys.Store(&[]jose.JSONWebKey{fresh})
		s.Clock.Advance(time.Hour)
		require.Equal(t, "401 invalid_client", send(t, s, old))
		require.Equal(t, "200", send(t, s, fresh))
	})
	t.Run("S300 S303 it fails: few requests, and nothing of it in the answer", func(t *testing.T) {
		s, j := start(t)
		j.fail.Store(true)
		for range 20 {
			a := postForm(s, "/oauth/token", asserted(signed(t, old, "", claimsOf(s, nil)), machineGrant))
			require.Equal(t, "503 temporarily_unavailable", outcome(a))
			require.NotContains(t, string(a.Body), "internal")
		}
		require.LessOrEqual(t, j.asked.Load(), int64(2))
	})
	t.Run("S296 S297 an internal address is never dialled", func(t *testing.T) {
		for _, uri := range []string{"https://127.0.0.1:1/jwks", "https://[::1]/jwks", "https://169.254.169.254/jwks", "https://10.0.0.1/", "https://[::ffff:169.254.169.254]/", "https://localhost/jwks"} {
			s := newServer(t, signing(oauth.Client{JWKSURI: uri}))
			require.Equal(t, "401 invalid_client", send(t, s, old), uri)
		}
	})
	t.Run("V091 S281 the keys at one client's URI are not another's, nor those at the URI before", func(t *testing.T) {
		at := func(uri string) *oauth.Client {
			return &oauth.Client{ID: signer, JWKSURI: uri, Grants: []string{"client_credentials"}, Scopes: []string{"read"}}
		}
		registry := changing{signer: at("https://client.example/jwks"), "other": at("https://other.example/jwks")}
		registry["other"].ID = "other"
		s := newServer(t, func(c *oauth.Config) {
			c.Clients, c.Transport = registry, keysByHost{"client.example": old, "other.example": fresh}
		})
		by := func(id string, key jose.JSONWebKey) string {
			return outcome(postForm(s, "/oauth/token", asserted(signed(t, key, "", claimsOf(s, map[string]any{"iss": id, "sub": id})), machineGrant)))
		}
		require.Equal(t, "200", by(signer, old))
		require.Equal(t, "200", by("other", fresh))
		require.Equal(t, "401 invalid_client", by("other", old))
		require.Equal(t, "401 invalid_client", by(signer, fresh))
		registry[signer] = at("https://other.example/jwks")
		require.Equal(t, "401 invalid_client", by(signer, old))
		require.Equal(t, "200", by(signer, fresh))
	})
	t.Run("V091 S281 one kid of two clients", func(t *testing.T) {
		j := &jwksServer{}
		j.keys.Store(&[]jose.JSONWebKey{old})
		s := newServer(t, func(c *oauth.Config) {
			c.Transport = j
			client := oauth.Client{ID: signer, JWKSURI: "https://client.example/jwks", Grants: []string{"client_credentials"}, Scopes: []string{"read"}}
			other := client
			other.ID, other.JWKSURI, other.JWKS = "other", "", publicJWKS(t, jose.JSONWebKey{Key: fresh.Key, KeyID: "old", Algorithm: "ES256"})
			c.Clients = oauth.StaticClients(client, other)
		})
		require.Equal(t, "200", send(t, s, old))
		require.Equal(t, "401 invalid_client", send(t, s, jose.JSONWebKey{Key: fresh.Key, KeyID: "old", Algorithm: "ES256"}))
	})
}

func TestClientSecretJWT(t *testing.T) {
	key := oauth.NewSecret()
	s := newServer(t, signing(oauth.Client{InsecureSharedKey: key}))
	for _, header := range []string{`{"alg":"HS256"}`, `{"alg":"HS256","typ":"JWT"}`} {
		require.Equal(t, "200", outcome(postForm(s, "/oauth/token", asserted(handmade(header, claimsOf(s, nil), hs256(key)), machineGrant))))
	}
	require.Equal(t, "401 invalid_client", outcome(postForm(s, "/oauth/token", asserted(handmade(`{"alg":"HS256"}`, claimsOf(s, nil), hs256(oauth.NewSecret())), machineGrant))))
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	require.Equal(t, "401 invalid_client", outcome(postForm(s, "/oauth/token", asserted(handmade(`{"alg":"EdDSA"}`, claimsOf(s, nil), func(in []byte) []byte {
		sig, _ := private.Sign(rand.Reader, in, crypto.Hash(0))
		return sig
	}), machineGrant))))
	m := s.Do(mustRequest(t, "GET", oauthtest.Issuer+wellKnown))
	assert.Contains(t, m.JSON["token_endpoint_auth_methods_supported"], "client_secret_jwt")
	assert.Contains(t, m.JSON["token_endpoint_auth_signing_alg_values_supported"], "HS256")
	clients := oauth.StoredClients(newStorage(t, time.Now))
	err = clients.Create(t.Context(), oauth.Client{ID: signer, InsecureSharedKey: key})
	require.ErrorContains(t, err, "InsecureSharedKey would be in the store in the clear")
}

func TestClientKeysAreChecked(t *testing.T) {
	set := publicJWKS(t, esKey(t, "1"))
	for want, c := range map[string]oauth.Client{
		"only one of them says":              {JWKS: set, JWKSURI: "https://client.example/jwks"},
		"keys of a public client":            {Public: true, JWKS: set},
		"JWKS has no public key":             {JWKS: json.RawMessage(`{"keys":[]}`)},
		"JWKSURI is not https":               {JWKSURI: "http://client.example/jwks"},
		"InsecureSharedKey is shorter than ": {InsecureSharedKey: []byte("short")},
	} {
		cfg := newServer(t).Config
		c.ID, c.RedirectURIs = "c", []string{oauthtest.Callback}
		cfg.Clients = oauth.StaticClients(c)
		_, err := oauth.New(cfg)
		require.ErrorContains(t, err, want)
	}
	t.Run("StoredClients keeps them", func(t *testing.T) {
		clients := oauth.StoredClients(newStorage(t, time.Now))
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "a", JWKS: set}))
		require.NoError(t, clients.Create(t.Context(), oauth.Client{ID: "b", JWKSURI: "https://client.example/jwks"}))
		a, err := clients.Client(t.Context(), "a")
		require.NoError(t, err)
		require.JSONEq(t, string(set), string(a.JWKS))
		b, err := clients.Update(t.Context(), "b", func(c *oauth.Client) error { c.Name = "B"; return nil })
		require.NoError(t, err)
		require.Equal(t, "https://client.example/jwks", b.JWKSURI)
	})
}
