package main

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

const jwtHead = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9" // {"alg":"RS256","typ":"JWT"}

// tokenRequirements are those of the token endpoint and the API.
func tokenRequirements() []requirement {
	return []requirement{
		{"FT-12 the token endpoint takes a form", testTokenRequest},
		{"FT-13 redirect_uri is repeated", testRepeatedRedirectURI},
		{"FT-14 clients are authenticated", testClientAuthentication},
		{"FT-15 the token response", testTokenResponse},
		{"FT-16 the access token", testAccessToken},
		{"FT-17 the refresh token", testRefreshToken},
		{"FT-18 an access token lives for an hour", testExpiry},
		{"FT-19 the body of a failure at the API", testUnauthorized},
		{"FT-20 the causes of a failure at the API", testCauses},
		{"FT-21 no token in the query", testQuery},
		{"FT-22 a refresh", testRefresh},
		{"FT-23 rotation is the host's choice", testRotation},
		{"FT-24 a refresh token that is no more", testDeadRefreshToken},
		{"FT-25 revocation ends the grant", testRevocation},
		{"FT-29 the public key can be published", testJWKS},
	}
}

func testTokenRequest(t *testing.T) {
	w := newWire(t)
	code := w.code()
	form := exchange(code)
	c := &http.Client{Transport: w}
	a := w.do(c, http.MethodGet, issuer+"/oauth/token?"+form.Encode(), nil)
	w.refused(a, http.StatusMethodNotAllowed, oauth.InvalidRequest)
	assert.Equal(t, "POST", a.header.Get("Allow"))
	w.refused(w.do(c, http.MethodPost, issuer+"/oauth/token?"+form.Encode(), url.Values{}), 400, oauth.InvalidRequest)

	members := map[string]string{}
	for name := range form {
		members[name] = form.Get(name)
	}
	text, err := json.Marshal(members)
	require.NoError(t, err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, issuer+"/oauth/token", strings.NewReader(string(text)))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, http.StatusBadRequest, resp.StatusCode)
	var answered map[string]any
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answered))
	assert.Equal(t, "invalid_request", answered["error"])

	w.refused(w.token(exchange(code, "grant_type", "")), 400, oauth.InvalidRequest)
	w.refused(w.token(exchange("")), 400, oauth.InvalidRequest)
	w.ok(w.token(form)) // none of that burnt the code
}

func testRepeatedRedirectURI(t *testing.T) {
	const second = "https://your-app.example.com/second"
	w := newWire(t, func(o *options) {
		o.Clients = []oauth.Client{demoClient}
		o.Clients[0].RedirectURIs = []string{redirectURI, second}
	})
	code := w.code()
	w.refused(w.token(exchange(code, "redirect_uri", second)), 400, oauth.InvalidGrant)
	w.refused(w.token(exchange(code, "redirect_uri", "")), 400, oauth.InvalidRequest)
	w.ok(w.token(exchange(code)))
}

func testClientAuthentication(t *testing.T) {
	w := newWire(t, func(o *options) {
		other := demoClient
		other.ID, other.Secrets = "OTHER_CLIENT_ID", []string{oauth.HashSecret("OTHER_CLIENT_SECRET")}
		o.Clients = []oauth.Client{demoClient, other}
	})
	code := w.code()
	for _, secret := range []string{"wrong", strings.ToLower(clientSecret), clientSecret + "x", ""} {
		w.refused(w.token(exchange(code, "client_secret", secret)), 401, oauth.InvalidClient)
	}
	w.refused(w.token(exchange(code, "client_id", "NOT_A_CLIENT")), 401, oauth.InvalidClient)
	w.refused(w.token(exchange(code, "client_id", "OTHER_CLIENT_ID", "client_secret", "OTHER_CLIENT_SECRET")), 400, oauth.InvalidGrant)
	a := w.ok(w.token(exchange(code)))
	w.refused(w.token(refresh(a.text("refresh_token"), "client_secret", "wrong")), 401, oauth.InvalidClient)
	w.refused(w.token(refresh(a.text("refresh_token"), "client_id", "OTHER_CLIENT_ID", "client_secret", "OTHER_CLIENT_SECRET")), 400, oauth.InvalidGrant)
	w.ok(w.me(a.text("access_token")))
}

func testTokenResponse(t *testing.T) {
	w := newWire(t)
	a := w.ok(w.token(exchange(w.code())))
	documented := []string{"access_token", "token_type", "expires_in", "refresh_token"}
	assert.Equal(t, documented, memberNames(t, a.body))
	assert.Equal(t, "Bearer", a.json["token_type"])
	assert.Contains(t, a.body, `"expires_in":3600,`)
	assert.Equal(t, "application/json", a.header.Get("Content-Type"))
	assert.Equal(t, "no-store", a.header.Get("Cache-Control"))

	code := w.authorize(request(), "contacts:read").Query().Get("code") // the other scope is declined
	a = w.ok(w.token(exchange(code)))
	assert.Equal(t, append(slices.Clone(documented), "scope"), memberNames(t, a.body), "RFC 6749, section 5.1")
	assert.Equal(t, "contacts:read", a.json["scope"])
	a = w.ok(w.token(refresh(a.text("refresh_token"))))
	assert.Equal(t, documented, memberNames(t, a.body), "no other than was granted")
}

func testAccessToken(t *testing.T) {
	w := newWire(t)
	access, _ := w.tokens()
	head, rest, _ := strings.Cut(access, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	require.True(t, ok)
	assert.Equal(t, jwtHead, head)
	claims := decode[map[string]any](t, payload)
	sum := sha256.Sum256([]byte(head + "." + payload))
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	require.NoError(t, err)
	require.NoError(t, rsa.VerifyPKCS1v15(w.publishedKey(), crypto.SHA256, sum[:], raw))

	assert.Equal(t, issuer, claims["iss"])
	assert.Equal(t, userName, claims["sub"])
	assert.Equal(t, clientID, claims["client_id"])
	assert.NotEmpty(t, claims["jti"])
	assert.InDelta(t, w.clock.Now().Unix(), claims["iat"], 0)
	assert.InDelta(t, 3600, claims["exp"].(float64)-claims["iat"].(float64), 0)

	t.Run("forgeries", func(t *testing.T) {
		w.t = t
		der, err := x509.MarshalPKIXPublicKey(w.publishedKey())
		require.NoError(t, err)
		none := encode(t, map[string]string{"alg": "none", "typ": "JWT"}) + "." + payload + "."
		w.unauthorized(w.me(none), true)
		w.unauthorized(w.me(none+signature), true)
		for _, key := range [][]byte{
			der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
			x509.MarshalPKCS1PublicKey(w.publishedKey()), w.publishedKey().N.Bytes(),
		} {
			text := encode(t, map[string]string{"alg": "HS256", "typ": "JWT"}) + "." + payload
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(text))
			w.unauthorized(w.me(text+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil))), true)
		}
		longer := maps.Clone(claims)
		longer["exp"] = claims["exp"].(float64) + 3600
		w.unauthorized(w.me(head+"."+encode(t, longer)+"."+signature), true)
		w.unauthorized(w.me(access[:len(access)-4]+"AAAA"), true)
		w.ok(w.me(access))
	})
}

func decode[T any](t *testing.T, part string) (v T) {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(part)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &v))
	return v
}

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(text)
}

// publishedKey is what the JWKS says.
func (w *wire) publishedKey() *rsa.PublicKey {
	w.t.Helper()
	a := w.ok(w.do(&http.Client{Transport: w}, http.MethodGet, issuer+"/oauth/jwks", nil))
	var set struct {
		Keys []struct{ N, E string }
	}
	require.NoError(w.t, json.Unmarshal([]byte(a.body), &set))
	require.Len(w.t, set.Keys, 1)
	n, err := base64.RawURLEncoding.DecodeString(set.Keys[0].N)
	require.NoError(w.t, err)
	e, err := base64.RawURLEncoding.DecodeString(set.Keys[0].E)
	require.NoError(w.t, err)
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
}

func testRefreshToken(t *testing.T) {
	w := newWire(t)
	code := w.code()
	first := w.ok(w.token(exchange(code)))
	second := w.ok(w.token(refresh(first.text("refresh_token"))))
	credentials := []string{code}
	for _, a := range []answer{first, second} {
		assert.Regexp(t, `^def50200[0-9a-f]+$`, a.text("refresh_token"))
		credentials = append(credentials, a.text("refresh_token"), a.text("access_token"))
	}
	opaque := second.text("refresh_token")[len("def50200"):]
	for _, secret := range []string{userName, clientID, "contacts"} {
		assert.NotContains(t, opaque, hex.EncodeToString([]byte(secret)), "it says nothing")
	}

	var dump strings.Builder
	records := 0
	for r, err := range w.store.List(t.Context(), oauth.Filter{}) {
		require.NoError(t, err)
		fmt.Fprintf(&dump, "%+v\n%s\n", r, r.Data)
		records++
	}
	require.Positive(t, records)
	require.Contains(t, dump.String(), userName, "the dump is one")
	for _, c := range credentials {
		assert.NotContains(t, dump.String(), c)
		tail := c[len(c)-22:] // the part that nobody can guess, however it is written
		assert.NotContains(t, dump.String(), tail)
		if raw, err := hex.DecodeString(strings.TrimPrefix(c, "def50200")); err == nil {
			assert.NotContains(t, dump.String(), base64.RawURLEncoding.EncodeToString(raw[len(raw)-15:]))
			assert.NotContains(t, dump.String(), base64.StdEncoding.EncodeToString(raw[len(raw)-15:]))
		}
	}
}

func testExpiry(t *testing.T) {
	w := newWire(t)
	access, _ := w.tokens()
	w.clock.Advance(3599 * time.Second)
	w.ok(w.me(access))
	w.clock.Advance(2 * time.Second)
	w.unauthorized(w.me(access), true)
}

func testUnauthorized(t *testing.T) {
	w := newWire(t)
	for _, path := range []string{"/api/me", "/api/contacts"} {
		a := w.call(path, "Authorization", "Bearer nonsense")
		w.unauthorized(a, true)
		assert.Equal(t, []string{"error", "message"}, memberNames(t, a.body))
		w.unauthorized(w.call(path), false)
	}
	// The server's own endpoints keep the codes of RFC 6749.
	w.refused(w.token(refresh("nonsense")), 400, oauth.InvalidGrant)
}

func testCauses(t *testing.T) {
	w := newWire(t)
	access, refreshToken := w.tokens()
	w.unauthorized(w.call("/api/me"), false)
	half := len(access) / 2
	for _, header := range []string{
		"Bearer x", "Bearer " + access + " x", "Bearer " + access[:half] + " " + access[half:], "Bearer " + access + "\t",
		"Bearer", "Bearer " + refreshToken, "Bearer " + access[:half], "Bearer " + access + "=", "Bearer\t" + access,
	} {
		w.unauthorized(w.call("/api/me", "Authorization", header), true)
	}
	for _, header := range []string{"Basic " + access, access, "BearerX " + access} {
		w.unauthorized(w.call("/api/me", "Authorization", header), false) // of another scheme: no bearer token was sent
	}
	w.unauthorized(w.call("/api/me", "Authorization", "Bearer "+access, "Authorization", "Bearer "+access), true)
	w.ok(w.call("/api/me", "Authorization", "Bearer   "+access)) // RFC 6750, section 2.1: 1*SP
	w.ok(w.me(access))

	other, _ := w.tokens()
	all, err := w.server.Authorizations(t.Context(), userName)
	require.NoError(t, err)
	require.Len(t, all, 2)
	n, err := w.server.Revoke(t.Context(), oauth.Selector{Subject: userName, ClientID: clientID})
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	w.unauthorized(w.me(access), true)
	w.unauthorized(w.me(other), true)

	access, _ = w.tokens()
	w.clock.Advance(3601 * time.Second)
	w.unauthorized(w.me(access), true)
}

func testQuery(t *testing.T) {
	w := newWire(t)
	access, _ := w.tokens()
	w.unauthorized(w.call("/api/me?access_token="+access), false)
	form := url.Values{"access_token": {access}}
	w.unauthorized(w.do(&http.Client{Transport: w}, http.MethodGet, issuer+"/api/me", form), false)
	assert.NotEqual(t, http.StatusOK, w.call("/api/me?access_token="+access, "Authorization", "Bearer "+access).status, "RFC 6750, section 2")
}

func testRefresh(t *testing.T) {
	w := newWire(t)
	first := w.ok(w.token(exchange(w.code())))
	w.clock.Advance(2 * time.Hour)
	w.unauthorized(w.me(first.text("access_token")), true)
	second := w.ok(w.token(refresh(first.text("refresh_token"))))
	assert.Equal(t, memberNames(t, first.body), memberNames(t, second.body))
	assert.Equal(t, "Bearer", second.json["token_type"])
	assert.InDelta(t, 3600, second.json["expires_in"], 0)
	assert.True(t, strings.HasPrefix(second.text("access_token"), jwtHead+"."))
	assert.NotEqual(t, first.text("access_token"), second.text("access_token"))
	w.ok(w.me(second.text("access_token")))
}

func testRotation(t *testing.T) {
	t.Run("on", func(t *testing.T) {
		w := newWire(t)
		_, r0 := w.tokens()
		r1 := w.ok(w.token(refresh(r0))).text("refresh_token")
		assert.NotEqual(t, r0, r1)
		w.clock.Advance(29 * time.Second)
		assert.Equal(t, r1, w.ok(w.token(refresh(r0))).text("refresh_token"), "a retry has the same successor")
		w.clock.Advance(2 * time.Second)
		w.ok(w.me(w.ok(w.token(refresh(r1))).text("access_token"))) // r1 is good all the same

		// The window of r0 is over: whoever has it is no honest client.
		access, r2 := w.tokens()
		r3 := w.ok(w.token(refresh(r2))).text("refresh_token")
		w.clock.Advance(31 * time.Second)
		w.refused(w.token(refresh(r2)), 400, oauth.InvalidGrant)
		w.refused(w.token(refresh(r3)), 400, oauth.InvalidGrant) // RFC 9700, section 4.14.2: it has ended
		w.unauthorized(w.me(access), true)
	})
	t.Run("on, one older still", func(t *testing.T) {
		w := newWire(t)
		_, r0 := w.tokens()
		r1 := w.ok(w.token(refresh(r0))).text("refresh_token")
		r2 := w.ok(w.token(refresh(r1))).text("refresh_token")
		w.refused(w.token(refresh(r0)), 400, oauth.InvalidGrant)
		w.refused(w.token(refresh(r2)), 400, oauth.InvalidGrant)
	})
	t.Run("off", func(t *testing.T) {
		w := newWire(t, func(o *options) { o.Policy.Refresh = oauth.Keep })
		old, r0 := w.tokens()
		for range 3 {
			w.clock.Advance(time.Hour)
			a := w.ok(w.token(refresh(r0)))
			assert.Equal(t, r0, a.text("refresh_token"))
			assert.NotEqual(t, old, a.text("access_token"))
			old = a.text("access_token")
			w.ok(w.me(old))
		}
	})
}

func testDeadRefreshToken(t *testing.T) {
	w := newWire(t, func(o *options) { o.Policy.RefreshIdle = 24 * time.Hour })
	_, idle := w.tokens()
	w.clock.Advance(24*time.Hour + time.Second)
	w.refused(w.token(refresh(idle)), 400, oauth.InvalidGrant)
	_, revoked := w.tokens()
	_, err := w.server.Revoke(t.Context(), oauth.Selector{Subject: userName})
	require.NoError(t, err)
	w.refused(w.token(refresh(revoked)), 400, oauth.InvalidGrant)
	for _, text := range []string{"nonsense", "def50200", "def50200zz", revoked[:len(revoked)-2], revoked + "00", strings.ToUpper(revoked), strings.Repeat("a", 8<<10)} {
		w.refused(w.token(refresh(text)), 400, oauth.InvalidGrant)
	}
	w.ok(w.token(exchange(w.code()))) // the whole flow is what helps
}

func testRevocation(t *testing.T) {
	w := newWire(t)
	access, refreshToken := w.tokens()
	all, err := w.server.Authorizations(t.Context(), userName)
	require.NoError(t, err)
	require.Len(t, all, 1)
	_, err = w.server.Revoke(t.Context(), oauth.Selector{ID: all[0].ID})
	require.NoError(t, err)
	w.unauthorized(w.me(access), true)
	w.refused(w.token(refresh(refreshToken)), 400, oauth.InvalidGrant)

	access, refreshToken = w.tokens() // RFC 7009, section 2.1: the client does it
	form := url.Values{"token": {refreshToken}, "client_id": {clientID}, "client_secret": {clientSecret}}
	w.ok(w.do(&http.Client{Transport: w}, http.MethodPost, issuer+"/oauth/revoke", form))
	w.unauthorized(w.me(access), true)
	w.refused(w.token(refresh(refreshToken)), 400, oauth.InvalidGrant)
}

func testJWKS(t *testing.T) {
	w := newWire(t)
	a := w.ok(w.do(&http.Client{Transport: w}, http.MethodGet, issuer+"/oauth/jwks", nil))
	var set struct{ Keys []map[string]string }
	require.NoError(t, json.Unmarshal([]byte(a.body), &set))
	require.Len(t, set.Keys, 1)
	for name := range set.Keys[0] {
		assert.Contains(t, []string{"kty", "alg", "use", "n", "e"}, name, "no kid, and nothing private")
	}
	assert.Equal(t, "RSA", set.Keys[0]["kty"])
	assert.Equal(t, &theKey().PublicKey, w.publishedKey())
}
