package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

var tokenRequirements = []requirement{
	{"FS-02 no secret", testNoSecret},
	{"FS-09 JSON", testJSON},
	{"FS-10 broken JSON", testBrokenJSON},
	{"FS-11 the token request", testTokenRequest},
	{"FS-12 missing parameters", testMissing},
	{"FS-13 the token response", testTokenResponse},
	{"FS-14 HS256", testHS256},
	{"FS-15 life of a code", testCodeLife},
	{"FS-16 life of an access token", testAccessLife},
	{"FS-17 life of a refresh token", testRefreshLife},
	{"FS-18 refresh", testRefresh},
}

var tokenMembers = []string{"access_token", "token_type", "expires_in", "refresh_token", "scope"}

func testNoSecret(t *testing.T) {
	for _, c := range apps {
		assert.True(t, c.Public, c.ID)
		assert.Empty(t, c.Secrets, c.ID)
	}
	h := newTestHost(t)
	code := h.code()
	request := []string{"grant_type", "authorization_code", "code", code, "redirect_uri", appCallback, "client_id", appID, "code_verifier", verifier}
	a := h.postJSON("/oauth/token", object(append(request, "client_secret", "secret")...))
	a.refused(t, http.StatusUnauthorized, "invalid_client", "a secret in the body")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(appID+":secret"))
	a = h.postJSON("/oauth/token", object(request...), "Authorization", basic)
	a.refused(t, http.StatusUnauthorized, "invalid_client", "a secret in the header")
	assert.Contains(t, a.Header.Get("WWW-Authenticate"), "Basic")
	assert.Equal(t, http.StatusOK, h.postJSON("/oauth/token", object(request...)).Status, "the code is none the worse for it")
}

func testJSON(t *testing.T) {
	h := newTestHost(t)
	for _, media := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"} {
		a := h.do("POST", issuer+"/oauth/token", object("grant_type", "authorization_code", "code", h.code(),
			"redirect_uri", appCallback, "client_id", appID, "code_verifier", verifier), "Content-Type", media)
		assert.Equal(t, http.StatusOK, a.Status, media)
	}
	form := "grant_type=refresh_token&refresh_token=x&client_id=" + appID
	a := h.do("POST", issuer+"/oauth/token", form, "Content-Type", "application/x-www-form-urlencoded")
	a.refused(t, http.StatusBadRequest, "invalid_request", "a form")
	assert.Equal(t, "Content-Type must be application/json", a.member("error_description"))
	h.do("POST", issuer+"/oauth/token", "{}").refused(t, http.StatusBadRequest, "invalid_request", "no type")

	h = newTestHost(t, func(cfg *oauth.Config) { cfg.Decode = oauth.Decoder{} })
	h.refresh("x").refused(t, http.StatusBadRequest, "invalid_request", "JSON where nothing was said of it")
}

func testBrokenJSON(t *testing.T) {
	h := newTestHost(t)
	_, refresh := h.tokens()
	good := object("grant_type", "refresh_token", "refresh_token", refresh, "client_id", appID)
	with := func(member string) string { return strings.TrimSuffix(good, "}") + "," + member + "}" }
	for name, body := range map[string]string{
		"nothing":             "",
		"an array":            "[" + good + "]",
		"a string":            `"grant_type"`,
		"null":                "null",
		"a number":            "1",
		"text":                "grant_type=refresh_token",
		"cut off":             good[:len(good)-1],
		"trailing data":       good + "{}",
		"trailing text":       good + "x",
		"a member twice":      with(`"refresh_token":"` + refresh + `"`),
		"twice by an escape":  with(`"refresh_\u0074oken":"` + refresh + `"`),
		"null as a member":    with(`"scope":null`),
		"a number in it":      with(`"scope":1`),
		"an object":           with(`"scope":{}`),
		"an array in it":      with(`"scope":["profile"]`),
		"a boolean":           with(`"scope":true`),
		"not UTF-8":           with("\"x\":\"\xff\""),
		"half a surrogate":    with(`"x":"\ud800"`),
		"a trailing comma":    strings.TrimSuffix(good, "}") + ",}",
		"nested very deep":    with(`"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000)),
		"as many as can be":   with(strings.TrimSuffix(strings.Repeat(`"x":"",`, 5000), ",")),
		"a comment":           good + "// x",
		"a byte order mark":   "\ufeff" + good,
		"another name's case": strings.Replace(good, `"grant_type"`, `"Grant_Type"`, 1),
	} {
		a := h.postJSON("/oauth/token", body)
		if name == "nothing" { // no client is named either
			a.refused(t, http.StatusUnauthorized, "invalid_client", name)
			continue
		}
		a.refused(t, http.StatusBadRequest, "invalid_request", name)
	}
	a := h.postJSON("/oauth/token", with(`"x":"`+strings.Repeat("x", 64<<10)+`"`))
	a.refused(t, http.StatusRequestEntityTooLarge, "invalid_request", "more than is read")
	a = h.refresh(refresh)
	assert.Equal(t, http.StatusOK, a.Status, "none of these has used the token up: %s", a.Body)
}

func testTokenRequest(t *testing.T) {
	h := newTestHost(t)
	code := h.code()
	wrong := strings.Repeat("w", 43)
	h.redeem(code, wrong).refused(t, http.StatusBadRequest, "invalid_grant", "another verifier")
	h.redeem(code, challenge).refused(t, http.StatusBadRequest, "invalid_grant", "the challenge as verifier")
	h.redeem(code, "x").refused(t, http.StatusBadRequest, "invalid_grant", "no verifier at all")
	h.redeem(code+"x", verifier).refused(t, http.StatusBadRequest, "invalid_grant", "another code")
	a := h.postJSON("/oauth/token", object("grant_type", "authorization_code", "code", code,
		"redirect_uri", "https://yourapp.com/", "client_id", appID, "code_verifier", verifier))
	a.refused(t, http.StatusBadRequest, "invalid_grant", "another redirect_uri")

	first := h.redeem(code, verifier)
	assert.Equal(t, http.StatusOK, first.Status, "none of these has burned the code")
	h.clock.Advance(3 * time.Second)
	h.redeem(code, wrong).refused(t, http.StatusBadRequest, "invalid_grant", "a stranger with a used code")
	assert.Equal(t, http.StatusOK, h.userinfo(first.member("access_token")).Status, "who ends nothing")
	h.redeem(code, verifier).refused(t, http.StatusBadRequest, "invalid_grant", "the code again")
	assert.Equal(t, http.StatusUnauthorized, h.userinfo(first.member("access_token")).Status, "RFC 6749 4.1.2: used twice, all ends")
}

func testMissing(t *testing.T) {
	h := newTestHost(t, twoApps)
	code := h.code()
	request := map[string]string{
		"grant_type": "authorization_code", "code": code, "redirect_uri": appCallback, "client_id": appID, "code_verifier": verifier,
	}
	for _, name := range []string{"code_verifier", "code", "grant_type", "redirect_uri"} {
		for _, empty := range []bool{false, true} {
			value := request[name]
			delete(request, name)
			if empty { // RFC 6749, section 3.2: as if it was omitted
				request[name] = ""
			}
			body, err := json.Marshal(request)
			require.NoError(t, err)
			a := h.postJSON("/oauth/token", string(body))
			assert.Equal(t, http.StatusBadRequest, a.Status)
			assert.Equal(t, `{"error":"invalid_request","error_description":"Missing required parameter: `+name+`"}`, a.Body)
			request[name] = value
		}
	}
	a := h.postJSON("/oauth/token", object("grant_type", "authorization_code", "code", code, "redirect_uri", appCallback, "code_verifier", verifier))
	a.refused(t, http.StatusUnauthorized, "invalid_client", "no client_id")
	assert.Equal(t, http.StatusOK, h.redeem(code, verifier).Status)
	h.refresh("").refused(t, http.StatusBadRequest, "invalid_request")
}

func testTokenResponse(t *testing.T) {
	h := newTestHost(t)
	for scope, want := range map[string]string{"profile email": "profile email", "profile": "profile", "email profile": "email profile"} {
		a := h.redeem(h.code("scope", scope), verifier)
		assert.Equal(t, http.StatusOK, a.Status)
		assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
		assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		assert.Equal(t, tokenMembers, names(t, a.Body))
		assert.Equal(t, "Bearer", a.member("token_type"))
		assert.Equal(t, want, a.member("scope"))
		assert.Contains(t, a.Body, `"expires_in":3600,`)
	}
}

// payload is what a JWT says; nothing is checked.
func payload(t *testing.T, token string) (claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3, token)
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &claims))
	return claims
}

// sign is HS256 (RFC 7515, appendix A.1).
func sign(key []byte, signed string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func testHS256(t *testing.T) {
	var key []byte
	h := newTestHost(t, func(cfg *oauth.Config) { key = cfg.AccessToken.(oauth.JWT).InsecureSymmetricKey })
	token, _ := h.tokens()
	assert.True(t, strings.HasPrefix(token, "eyJhbGciOiJIUzI1NiIs"), token)
	head, rest, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	require.NoError(t, err)
	assert.Equal(t, `{"alg":"HS256","typ":"JWT"}`, string(text))
	body, signature, _ := strings.Cut(rest, ".")
	assert.Equal(t, sign(key, head+"."+body), token, "the signature is HMAC with the host's key")
	claims := payload(t, token)
	assert.Equal(t, issuer, claims["iss"])
	assert.Equal(t, userID, claims["sub"])
	assert.InDelta(t, 3600, claims["exp"].(float64)-claims["iat"].(float64), 0)

	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	claims["exp"] = claims["exp"].(float64) + 3600
	longer, err := json.Marshal(claims)
	require.NoError(t, err)
	other := base64.RawURLEncoding.EncodeToString(longer)
	for name, forged := range map[string]string{
		"another key":                     sign(oauth.NewSecret(), head+"."+body),
		"no key":                          sign(nil, head+"."+body),
		"alg none":                        none + "." + body + ".",
		"alg none, signed":                sign(key, none+"."+body),
		"no signature":                    head + "." + body + ".",
		"other claims":                    head + "." + other + "." + signature,
		"other claims, signed by a thief": sign(key, head+"."+other),
	} {
		assert.Equal(t, http.StatusUnauthorized, h.userinfo(forged).Status, name)
	}
	assert.Equal(t, http.StatusOK, h.userinfo(token).Status)

	cfg, err := newConfig(options{})
	require.NoError(t, err)
	cfg.AccessToken = oauth.JWT{Type: "JWT", InsecureSymmetricKey: key[:31]}
	_, err = oauth.New(cfg)
	assert.ErrorContains(t, err, "InsecureSymmetricKey is shorter than 32 bytes")
}

func testCodeLife(t *testing.T) {
	h := newTestHost(t)
	code := h.code()
	h.clock.Advance(599 * time.Second)
	assert.Equal(t, http.StatusOK, h.redeem(code, verifier).Status)
	code = h.code()
	h.clock.Advance(601 * time.Second)
	h.redeem(code, verifier).refused(t, http.StatusBadRequest, "invalid_grant")
}

func testAccessLife(t *testing.T) {
	h := newTestHost(t)
	token, _ := h.tokens()
	h.clock.Advance(3599 * time.Second)
	assert.Equal(t, http.StatusOK, h.userinfo(token).Status)
	h.clock.Advance(2 * time.Second)
	assert.Equal(t, http.StatusUnauthorized, h.userinfo(token).Status)
}

func testRefreshLife(t *testing.T) {
	h := newTestHost(t)
	_, token := h.tokens()
	for range 20 { // over a year and a half, no two uses more than 29 days apart
		h.clock.Advance(29 * day)
		a := h.refresh(token)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		token = a.member("refresh_token")
	}
	h.clock.Advance(30*day + time.Second)
	h.refresh(token).refused(t, http.StatusBadRequest, "invalid_grant")

	_, token = h.tokens()
	h.clock.Advance(30*day - time.Second)
	assert.Equal(t, http.StatusOK, h.refresh(token).Status)
}

func testRefresh(t *testing.T) {
	h := newTestHost(t, twoApps)
	_, first := h.tokens()
	a := h.postJSON("/oauth/token", object("grant_type", "refresh_token", "refresh_token", first, "client_id", secondApp))
	a.refused(t, http.StatusBadRequest, "invalid_grant", "another client")
	h.refresh(first, "client_secret", "x").refused(t, http.StatusUnauthorized, "invalid_client")

	a = h.refresh(first)
	assert.Equal(t, http.StatusOK, a.Status, "another client's attempt changed nothing")
	assert.Equal(t, tokenMembers, names(t, a.Body))
	assert.Equal(t, "profile email", a.member("scope"))
	second := a.member("refresh_token")
	assert.NotEqual(t, first, second)
	assert.Equal(t, http.StatusOK, h.userinfo(a.member("access_token")).Status)

	h.clock.Advance(29 * time.Second)
	again := h.refresh(first)
	assert.Equal(t, http.StatusOK, again.Status, "the answer may have been lost")
	assert.Equal(t, second, again.member("refresh_token"), "the same successor")
	h.clock.Advance(2 * time.Second)
	h.refresh(first).refused(t, http.StatusBadRequest, "invalid_grant", "31 s later it is a replay")
	h.refresh(second).refused(t, http.StatusBadRequest, "invalid_grant", "which ends the authorization")
	assert.Equal(t, http.StatusUnauthorized, h.userinfo(again.member("access_token")).Status)
}
