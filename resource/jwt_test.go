package resource_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/jose"
	"github.com/grantwell/oauth/resource"
)

const (
	audience = "https://api.example"
	jwksURI  = issuer + "/keys"
)

var (
	errDown = errors.New("the issuer is down")
	ecKey   = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P256()) })
	ecKey2  = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P256()) })
	ecKey3  = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P256()) })
	rsaKey  = sync.OnceValue(func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return k
	})
)

func newEC(curve elliptic.Curve) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

func es256(id string, k crypto.Signer) jose.Key {
	return jose.Key{ID: id, Algorithm: "ES256", Signer: k}
}

// authority is the side of the authorization server: documents by URL, and a clock.
type authority struct {
	mu    sync.Mutex
	at    time.Time
	down  bool
	keys  []jose.Key
	cache string            // Cache-Control of the keys
	pages map[string]string // other bodies, by URL, in application/json
	asked []string
}

func newAuthority(keys ...jose.Key) *authority {
	return &authority{at: start, keys: keys, pages: map[string]string{
		issuer + "/.well-known/oauth-authorization-server": `{"issuer":"` + issuer + `","jwks_uri":"` + jwksURI + `"}`,
	}}
}

func (a *authority) now() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at
}

func (a *authority) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// requests of a URL so far.
func (a *authority) requests(of string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range a.asked {
		if u == of {
			n++
		}
	}
	return n
}

func (a *authority) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.URL.String())
	if a.down {
		return nil, errDown
	}
	h := http.Header{"Content-Type": {"application/json"}}
	body, ok := a.pages[r.URL.String()]
	if r.URL.String() == jwksURI && !ok {
		set, err := jose.JWKS(a.keys)
		if err != nil {
			return nil, err
		}
		body, ok = string(set), true
		if a.cache != "" {
			h.Set("Cache-Control", a.cache)
		}
	}
	status := 200
	if !ok {
		status = 404
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
}

func (a *authority) jwt() *resource.JWT {
	return &resource.JWT{Issuer: issuer, Transport: a, Now: a.now}
}

// claims are good ones, with some changed; null leaves one out.
func claims(change string) string {
	m := map[string]any{"iss": issuer, "sub": "alice", "aud": audience, "client_id": "app", "scope": "read write",
		"exp": start.Add(time.Hour).Unix(), "iat": start.Add(-time.Minute).Unix(), "jti": "t1"}
	var with map[string]any
	d := json.NewDecoder(strings.NewReader(change))
	d.UseNumber()
	if err := d.Decode(&with); err != nil {
		panic(err)
	}
	for name, v := range with {
		if m[name] = v; v == nil {
			delete(m, name)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func sign(t testing.TB, k jose.Key, typ, payload string) string {
	t.Helper()
	token, err := jose.Sign(k, typ, []byte(payload))
	require.NoError(t, err)
	return token
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// forge makes a token with a header as it stands. A secret signs it with HS256, an
// ECDSA key with ES256, nil not at all.
func forge(header, payload string, with any) string {
	input := b64(header) + "." + b64(payload)
	var signature []byte
	switch with := with.(type) {
	case []byte:
		mac := hmac.New(sha256.New, with)
		mac.Write([]byte(input))
		signature = mac.Sum(nil)
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, with, sum[:])
		if err != nil {
			panic(err)
		}
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// refused asserts that the token is no good, and that this says nothing of it.
func refused(t *testing.T, v resource.Verifier, token string) {
	t.Helper()
	tok, err := v.VerifyToken(t.Context(), token)
	assert.Nil(t, tok)
	require.ErrorIs(t, err, resource.InvalidToken)
	for _, part := range strings.Split(token, ".") {
		if len(part) > 8 {
			assert.NotContains(t, err.Error(), part)
		}
	}
}

func accepted(t *testing.T, v resource.Verifier, token string) *resource.Token {
	t.Helper()
	tok, err := v.VerifyToken(t.Context(), token)
	require.NoError(t, err)
	require.NotNil(t, tok)
	return tok
}

// unavailable asserts that the token was not checked.
func unavailable(t *testing.T, v resource.Verifier, token string) error {
	t.Helper()
	tok, err := v.VerifyToken(t.Context(), token)
	assert.Nil(t, tok)
	require.Error(t, err)
	assert.NotErrorIs(t, err, resource.InvalidToken)
	return err
}

func TestJWTToken(t *testing.T) {
	a := newAuthority(es256("k1", ecKey()))
	v := a.jwt()
	for _, tt := range []struct {
		name, change string
		want         func(tok *resource.Token)
	}{
		{"RFC 9068 2.2 required claims", `{"scope":null}`, func(tok *resource.Token) { tok.Scopes = nil }},
		{"RFC 9068 2.2.3 scope", `{}`, func(*resource.Token) {}},
		{"RFC 6749 3.3 scope with more spaces", `{"scope":" read  write "}`, func(*resource.Token) {}},
		{"RFC 9068 2.2.1 authentication", `{"auth_time":1772366300,"acr":"gold","amr":["pwd","otp"]}`, func(tok *resource.Token) {
			tok.AuthTime, tok.ACR, tok.AMR = time.Unix(1772366300, 0).UTC(), "gold", []string{"pwd", "otp"}
		}},
		{"RFC 7519 4.1.3 several audiences", `{"aud":["a","b"]}`, func(tok *resource.Token) { tok.Audience = []string{"a", "b"} }},
		{"S157 a client's own", `{"sub":"client:app"}`, func(tok *resource.Token) { tok.Subject = "" }},
		{"S157 of another client", `{"sub":"client:other"}`, func(tok *resource.Token) { tok.Subject = "client:other" }},
		{"RFC 9449 6.1 cnf", `{"cnf":{"jkt":"x"}}`, func(tok *resource.Token) { tok.Confirmation = "jkt:x" }},
		{"RFC 8705 3.1 cnf", `{"cnf":{"x5t#S256":"y"}}`, func(tok *resource.Token) { tok.Confirmation = "x5t#S256:y" }},
		{"RFC 7800 3.1 two keys", `{"cnf":{"jkt":"x","x5t#S256":"y"}}`, func(tok *resource.Token) { tok.Confirmation = "unknown:" }},
		{"RFC 7800 3.1 another member", `{"cnf":{"jkt":"x","kid":"y"}}`, func(tok *resource.Token) { tok.Confirmation = "unknown:" }},
		{"RFC 7800 3.1 unknown key", `{"cnf":{"jwk":{}}}`, func(tok *resource.Token) { tok.Confirmation = "unknown:" }},
		{"RFC 7800 3.1 no key", `{"cnf":{}}`, func(tok *resource.Token) { tok.Confirmation = "unknown:" }},
		{"RFC 7800 3.1 no string", `{"cnf":{"jkt":1}}`, func(tok *resource.Token) { tok.Confirmation = "unknown:" }},
		{"unknown claims", `{"tie":"x","Scope":"admin","act":{"sub":"x"}}`, func(*resource.Token) {}},
		{"the clock of the issuer is ahead", fmt.Sprintf(`{"iat":%d,"nbf":%[1]d}`, start.Add(time.Minute).Unix()), func(tok *resource.Token) {
			tok.IssuedAt = start.Add(time.Minute)
		}},
		{"the last second", fmt.Sprintf(`{"exp":%d}`, start.Unix()+1), func(tok *resource.Token) { tok.ExpiresAt = start.Add(time.Second) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := &resource.Token{ID: "t1", Issuer: issuer, ClientID: "app", Subject: "alice", Scopes: []string{"read", "write"},
				Audience: []string{audience}, IssuedAt: start.Add(-time.Minute), ExpiresAt: start.Add(time.Hour)}
			tt.want(want)
			got := accepted(t, v, sign(t, es256("k1", ecKey()), "at+jwt", claims(tt.change)))
			if len(want.Scopes) == 0 {
				assert.Empty(t, got.Scopes)
				want.Scopes = got.Scopes
			}
			assert.Equal(t, want, got)
		})
	}
	assert.Equal(t, 1, a.requests(jwksURI))
	assert.Len(t, a.asked, 2, "the metadata and the keys, once")
}

// A bound token is one that the middleware cannot check.
func TestJWTBehindAPI(t *testing.T) {
	a := newAuthority(es256("k1", ecKey()))
	p := &resource.API{Verifier: a.jwt(), Audience: audience, Now: a.now}
	for name, tt := range map[string]struct {
		change string
		status int
	}{
		"good":                      {`{}`, 200},
		"RFC 9068 4 another aud":    {`{"aud":"https://other.example"}`, 401},
		"RFC 9068 4 aud begins so":  {`{"aud":"https://api.example/"}`, 401},
		"one of several":            {`{"aud":["https://other.example","https://api.example"]}`, 200},
		"RFC 9449 7.2 bound":        {`{"cnf":{"jkt":"x"}}`, 401},
		"bound in an unknown way":   {`{"cnf":{}}`, 401},
		"RFC 6750 3.1 no scope":     {`{"scope":"write"}`, 403},
		"scope in another case":     {`{"scope":"Read"}`, 403},
		"expired":                   {fmt.Sprintf(`{"exp":%d}`, start.Unix()), 401},
		"the issuer is no audience": {`{"aud":"` + issuer + `"}`, 401},
	} {
		t.Run(name, func(t *testing.T) {
			res, _, _ := call(p.Require("read"), "/", "Bearer "+sign(t, es256("k1", ecKey()), "at+jwt", claims(tt.change)))
			assert.Equal(t, tt.status, res.StatusCode)
		})
	}
	t.Run("an Audience that was forgotten lets nobody in", func(t *testing.T) {
		res, _, reached := call((&resource.API{Verifier: a.jwt(), Now: a.now}).Require(), "/", "Bearer "+sign(t, es256("k1", ecKey()), "at+jwt", claims(`{}`)))
		assert.Equal(t, 401, res.StatusCode)
		assert.False(t, reached)
	})
	t.Run("down", func(t *testing.T) {
		down := newAuthority()
		down.down = true
		res, body, _ := call((&resource.API{Verifier: down.jwt(), Audience: audience, Now: a.now}).Require(), "/",
			"Bearer "+sign(t, es256("k1", ecKey()), "at+jwt", claims(`{}`)))
		assert.Equal(t, 503, res.StatusCode)
		assert.NotContains(t, body, "down", "S303")
	})
}

func TestJWTForged(t *testing.T) {
	evil := es256("k1", ecKey3())
	a := newAuthority(es256("k1", ecKey()), jose.Key{ID: "r1", Algorithm: "RS256", Signer: rsaKey()}, es256("", ecKey2()))
	v := a.jwt()
	good := sign(t, es256("k1", ecKey()), "at+jwt", claims(`{}`))
	accepted(t, v, good)
	accepted(t, v, sign(t, es256("", ecKey2()), "at+jwt", claims(`{}`)))
	parts := strings.Split(good, ".")
	header := func(more string) string { return `{"alg":"ES256","kid":"k1","typ":"at+jwt"` + more + `}` }
	jwk := func(k crypto.PublicKey) string {
		set, err := jose.JWKS([]jose.Key{{ID: "k1", Algorithm: "ES256", Signer: evil.Signer}})
		require.NoError(t, err)
		return strings.TrimSuffix(strings.TrimPrefix(string(set), `{"keys":[`), `]}`)
	}(nil)
	der, err := x509.MarshalPKIXPublicKey(ecKey().Public())
	require.NoError(t, err)
	rsaDER, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	require.NoError(t, err)
	jwks, err := jose.JWKS(a.keys)
	require.NoError(t, err)
	tokens := map[string]string{
		"empty":                            "",
		"opaque":                           "kq3nXw2kq3nXw2kq3nXw2",
		"RFC 8725 3.2 alg none":            forge(`{"alg":"none","kid":"k1","typ":"at+jwt"}`, claims(`{}`), nil),
		"RFC 8725 3.2 alg NONE":            forge(`{"alg":"NONE","kid":"k1","typ":"at+jwt"}`, claims(`{}`), nil),
		"RFC 8725 3.2 alg none, signature": forge(`{"alg":"none","kid":"k1","typ":"at+jwt"}`, claims(`{}`), ecKey()),
		"no signature":                     parts[0] + "." + parts[1] + ".",
		"S277 HS256 with DER":              forge(`{"alg":"HS256","kid":"k1","typ":"at+jwt"}`, claims(`{}`), der),
		"S277 HS256 with PEM":              forge(`{"alg":"HS256","kid":"k1","typ":"at+jwt"}`, claims(`{}`), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"S277 HS256 with DER of RSA":       forge(`{"alg":"HS256","kid":"r1","typ":"at+jwt"}`, claims(`{}`), rsaDER),
		"S277 HS256 with the JWKS":         forge(`{"alg":"HS256","kid":"k1","typ":"at+jwt"}`, claims(`{}`), jwks),
		"S277 HS256 with nothing":          forge(`{"alg":"HS256","kid":"k1","typ":"at+jwt"}`, claims(`{}`), []byte{}),
		"RS256 of an EC key":               forge(`{"alg":"RS256","kid":"k1","typ":"at+jwt"}`, claims(`{}`), ecKey()),
		"ES256 of an RSA key":              forge(`{"alg":"ES256","kid":"r1","typ":"at+jwt"}`, claims(`{}`), ecKey()),
		"another key":                      sign(t, evil, "at+jwt", claims(`{}`)),
		"another key, no kid":              sign(t, es256("", ecKey3()), "at+jwt", claims(`{}`)),
		"kid of another key":               sign(t, es256("r1", ecKey()), "at+jwt", claims(`{}`)),
		"kid, the key without one":         sign(t, es256("k1", ecKey2()), "at+jwt", claims(`{}`)),
		"no kid, the key with one":         sign(t, es256("", ecKey()), "at+jwt", claims(`{}`)),
		"kid unknown":                      sign(t, es256("k2", ecKey()), "at+jwt", claims(`{}`)),
		"kid a path":                       sign(t, es256("../../dev/null", ecKey3()), "at+jwt", claims(`{}`)),
		"kid SQL":                          sign(t, es256("' UNION SELECT 'x", ecKey3()), "at+jwt", claims(`{}`)),
		"kid a URL":                        sign(t, es256("https://evil.example/k", ecKey3()), "at+jwt", claims(`{}`)),
		"kid an array":                     forge(`{"alg":"ES256","kid":["k1"],"typ":"at+jwt"}`, claims(`{}`), ecKey()),
		"kid null":                         forge(`{"alg":"ES256","kid":null,"typ":"at+jwt"}`, claims(`{}`), ecKey()),
		"S279 jku":                         forge(header(`,"jku":"https://evil.example/k"`), claims(`{}`), ecKey3()),
		"S279 jku, a good signature":       forge(header(`,"jku":"https://evil.example/k"`), claims(`{}`), ecKey()),
		"S279 x5u":                         forge(header(`,"x5u":"https://evil.example/k"`), claims(`{}`), ecKey3()),
		"S279 x5c":                         forge(header(`,"x5c":["AA"]`), claims(`{}`), ecKey3()),
		"S279 jwk":                         forge(header(`,"jwk":`+jwk), claims(`{}`), ecKey3()),
		"S279 jwk, a good signature":       forge(header(`,"jwk":`+jwk), claims(`{}`), ecKey()),
		"RFC 7515 4.1.11 crit":             forge(header(`,"crit":["x"],"x":1`), claims(`{}`), ecKey()),
		"RFC 7515 4.1.11 crit, empty":      forge(header(`,"crit":[]`), claims(`{}`), ecKey()),
		"RFC 7797 b64":                     forge(header(`,"b64":false`), claims(`{}`), ecKey()),
		"S295 no typ":                      sign(t, es256("k1", ecKey()), "", claims(`{}`)),
		"S295 typ JWT":                     sign(t, es256("k1", ecKey()), "JWT", claims(`{}`)),
		"S182 typ of an introspection":     sign(t, es256("k1", ecKey()), "token-introspection+jwt", claims(`{}`)),
		"S295 typ of a logout token":       sign(t, es256("k1", ecKey()), "logout+jwt", claims(`{}`)),
		"S289 header member twice":         forge(`{"alg":"none","alg":"ES256","kid":"k1","typ":"at+jwt"}`, claims(`{}`), ecKey()),
		"S289 claim twice":                 sign(t, es256("k1", ecKey()), "at+jwt", strings.Replace(claims(`{}`), `{`, `{"sub":"admin",`, 1)),
		"S283 JSON serialisation":          fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0], parts[2]),
		"S287 JWE":                         b64(`{"alg":"dir","enc":"A128GCM","typ":"at+jwt"}`) + "..AAAA.AAAA.AAAA",
		"S287 a header of JWE":             forge(header(`,"enc":"A128GCM"`), claims(`{}`), ecKey()),
		"S284 many dots":                   strings.Repeat(".", 1<<20),
		"S284 oversized":                   "eyJ" + strings.Repeat("A", 1<<20),
		"S284 a good one, oversized":       forge(header(""), claims(`{"x":"`+strings.Repeat("x", 16<<10)+`"}`), ecKey()),
		"S292 padding":                     good + "=",
		"S292 line break":                  good[:10] + "\n" + good[10:],
		"a part more":                      good + ".x",
		"payload of another":               parts[0] + "." + b64(claims(`{"sub":"admin"}`)) + "." + parts[2],
		"claims no object":                 sign(t, es256("k1", ecKey()), "at+jwt", `["x"]`),
		"claims not JSON":                  sign(t, es256("k1", ecKey()), "at+jwt", `x`),
	}
	for name, change := range map[string]string{
		"RFC 9068 4 wrong iss": `{"iss":"https://evil.example"}`, "iss with a slash": `{"iss":"` + issuer + `/"}`,
		"iss in another case": `{"iss":"HTTPS://as.example"}`, "no iss": `{"iss":null}`, "iss array": `{"iss":["` + issuer + `"]}`,
		"S294 no exp": `{"exp":null}`, "S294 no iat": `{"iat":null}`,
		"no sub": `{"sub":null}`, "no aud": `{"aud":null}`, "no client_id": `{"client_id":null}`, "no jti": `{"jti":null}`,
		"sub empty": `{"sub":""}`, "client_id empty": `{"client_id":""}`, "jti empty": `{"jti":""}`,
		"sub number": `{"sub":7}`, "client_id number": `{"client_id":7}`, "jti number": `{"jti":7}`, "scope array": `{"scope":["read"]}`,
		"S290 aud number": `{"aud":7}`, "S290 aud empty": `{"aud":[]}`, "S290 aud nested": `{"aud":[["x"]]}`, "S290 aud of null": `{"aud":[null]}`,
		"S289 exp text": `{"exp":"9999999999"}`, "S289 exp 1e400": `{"exp":1e400}`, "S289 exp 2^63": `{"exp":9223372036854775808}`,
		"S289 exp negative": `{"exp":-1}`, "S289 Sub": `{"sub":null,"Sub":"alice"}`, "S289 EXP": `{"exp":null,"EXP":9999999999}`,
		"RFC 7519 4.1.4 expired now":     fmt.Sprintf(`{"exp":%d}`, start.Unix()),
		"RFC 7519 4.1.4 expired":         fmt.Sprintf(`{"exp":%d,"iat":%d}`, start.Unix()-1, start.Unix()-2),
		"future iat":                     fmt.Sprintf(`{"iat":%d}`, start.Unix()+61),
		"RFC 7519 4.1.5 nbf":             fmt.Sprintf(`{"nbf":%d}`, start.Unix()+61),
		"nbf text":                       `{"nbf":"x"}`,
		"exp before iat":                 fmt.Sprintf(`{"iat":%d,"exp":%d}`, start.Unix()+50, start.Unix()+40),
		"auth_time text":                 `{"auth_time":"x"}`,
		"acr number":                     `{"acr":1}`,
		"amr text":                       `{"amr":"pwd"}`,
		"cnf text":                       `{"cnf":"x"}`,
		"S247 an ID token (no jti etc.)": `{"jti":null,"client_id":null,"nonce":"n"}`,
	} {
		tokens[name] = sign(t, es256("k1", ecKey()), "at+jwt", claims(change))
	}
	for name, token := range tokens {
		t.Run(name, func(t *testing.T) { refused(t, v, token) })
	}
	t.Run("and the good one still", func(t *testing.T) { accepted(t, v, good) })
	for _, u := range a.asked {
		assert.True(t, strings.HasPrefix(u, issuer+"/"), "S279 nobody else is asked: %s", u)
	}
	assert.LessOrEqual(t, a.requests(jwksURI), 2, "S301")
}

func TestJWTSettings(t *testing.T) {
	a := newAuthority(es256("k1", ecKey()), jose.Key{ID: "p1", Algorithm: "PS256", Signer: rsaKey()})
	t.Run("RFC 8725 3.1 Algorithms", func(t *testing.T) {
		v := a.jwt()
		v.Algorithms = []string{"PS256"}
		accepted(t, v, sign(t, jose.Key{ID: "p1", Algorithm: "PS256", Signer: rsaKey()}, "at+jwt", claims(`{}`)))
		refused(t, v, sign(t, es256("k1", ecKey()), "at+jwt", claims(`{}`)))
		refused(t, v, sign(t, jose.Key{ID: "p1", Algorithm: "RS256", Signer: rsaKey()}, "at+jwt", claims(`{}`)))
	})
	t.Run("Types", func(t *testing.T) {
		v := a.jwt()
		v.Types = []string{"JWT"}
		accepted(t, v, sign(t, es256("k1", ecKey()), "JWT", claims(`{}`)))
		refused(t, v, sign(t, es256("k1", ecKey()), "at+jwt", claims(`{}`)))
	})
	t.Run("Leeway", func(t *testing.T) {
		v := a.jwt()
		v.Leeway = 5 * time.Minute
		accepted(t, v, sign(t, es256("k1", ecKey()), "at+jwt", claims(fmt.Sprintf(`{"iat":%d}`, start.Unix()+300))))
		refused(t, v, sign(t, es256("k1", ecKey()), "at+jwt", claims(fmt.Sprintf(`{"iat":%d}`, start.Unix()+301))))
		refused(t, v, sign(t, es256("k1", ecKey()), "at+jwt", claims(fmt.Sprintf(`{"exp":%d}`, start.Unix()))))
	})
	t.Run("JWKSURI", func(t *testing.T) {
		own := newAuthority(es256("k1", ecKey()))
		own.pages = map[string]string{}
		v := own.jwt()
		v.JWKSURI = jwksURI
		accepted(t, v, sign(t, es256("k1", ecKey()), "at+jwt", claims(`{}`)))
		assert.Equal(t, []string{jwksURI}, own.asked)
	})
	t.Run("the time of day", func(t *testing.T) {
		v := a.jwt()
		v.Now = nil
		accepted(t, v, sign(t, es256("k1", ecKey()), "at+jwt", claims(fmt.Sprintf(`{"iat":%d,"exp":%d}`, time.Now().Unix(), time.Now().Unix()+60))))
	})
	for name, v := range map[string]*resource.JWT{
		"no Issuer":             {},
		"Issuer http":           {Issuer: "http://as.example"},
		"Issuer no URL":         {Issuer: "as.example"},
		"Issuer with a query":   {Issuer: issuer + "?x"},
		"Issuer with a user":    {Issuer: "https://u@as.example"},
		"Issuer with fragment":  {Issuer: issuer + "#x"},
		"JWKSURI http":          {Issuer: issuer, JWKSURI: "http://as.example/keys"},
		"JWKSURI no URL":        {Issuer: issuer, JWKSURI: "/keys"},
		"alg none":              {Issuer: issuer, Algorithms: []string{"ES256", "none"}},
		"alg HS256":             {Issuer: issuer, Algorithms: []string{"HS256"}},
		"alg RS512":             {Issuer: issuer, Algorithms: []string{"RS512"}},
		"no alg at all":         {Issuer: issuer, Algorithms: []string{}},
		"no typ at all":         {Issuer: issuer, Types: []string{}},
		"Leeway negative":       {Issuer: issuer, Leeway: -1},
		"Leeway over 5 minutes": {Issuer: issuer, Leeway: 5*time.Minute + 1},
	} {
		t.Run(name, func(t *testing.T) {
			v.Transport, v.Now = a, a.now
			err := unavailable(t, v, sign(t, es256("k1", ecKey()), "at+jwt", claims(`{}`)))
			assert.ErrorIs(t, err, resource.ServerError)
			res, body, _ := call((&resource.API{Verifier: v, Audience: audience, Now: a.now}).Require(), "/", "Bearer x")
			assert.Equal(t, 500, res.StatusCode)
			assert.Equal(t, `{"error":"server_error","error_description":"Internal server error"}`, body)
		})
	}
}

// Rotation as an issuer should do it, and as it should not.
func TestJWTRotation(t *testing.T) {
	k1, k2, k3 := es256("k1", ecKey()), es256("k2", ecKey2()), es256("k3", ecKey3())
	long := fmt.Sprintf(`{"exp":%d}`, start.Add(48*time.Hour).Unix())
	token := func(k jose.Key) string { return sign(t, k, "at+jwt", claims(long)) }
	a := newAuthority(k1)
	a.cache = "public, max-age=300"
	v := a.jwt()
	accepted(t, v, token(k1))
	refused(t, v, token(k2))
	assert.Equal(t, 1, a.requests(jwksURI), "the keys were asked for a moment ago")

	t.Run("S301 a key that signs before anybody has seen it", func(t *testing.T) {
		a.set(func() { a.keys, a.at = []jose.Key{k1, k2}, a.at.Add(10*time.Second) })
		accepted(t, v, token(k2))
		assert.Equal(t, 2, a.requests(jwksURI))
	})
	t.Run("S301 a flood of unknown kids", func(t *testing.T) {
		a.set(func() { a.at = a.at.Add(10 * time.Second) })
		var all sync.WaitGroup
		for i := range 100 {
			bad := sign(t, es256(fmt.Sprintf("x%d", i), ecKey3()), "at+jwt", claims(`{}`))
			all.Go(func() {
				_, err := v.VerifyToken(t.Context(), bad)
				assert.ErrorIs(t, err, resource.InvalidToken)
				_, err = v.VerifyToken(t.Context(), token(k1))
				assert.NoError(t, err)
			})
		}
		all.Wait()
		assert.Equal(t, 3, a.requests(jwksURI))
	})
	t.Run("S302 V112 a key that is withdrawn", func(t *testing.T) {
		a.set(func() { a.keys, a.at = []jose.Key{k2}, a.at.Add(5*time.Minute-time.Second) })
		accepted(t, v, token(k1))
		a.set(func() { a.at = a.at.Add(time.Second) })
		refused(t, v, token(k1))
		accepted(t, v, token(k2))
	})
	t.Run("S302 all keys withdrawn", func(t *testing.T) {
		a.set(func() { a.keys, a.at = nil, a.at.Add(5*time.Minute) })
		refused(t, v, token(k2))
		a.set(func() { a.keys, a.at = []jose.Key{k2}, a.at.Add(10*time.Second) })
		accepted(t, v, token(k2))
	})
	t.Run("S302 down: an hour, no longer", func(t *testing.T) {
		a.set(func() { a.down, a.keys, a.at = true, []jose.Key{k3}, a.at.Add(time.Hour-time.Second) })
		accepted(t, v, token(k2))
		n := a.requests(jwksURI)
		accepted(t, v, token(k2))
		assert.Equal(t, n, a.requests(jwksURI), "S300 not asked for each")
		unavailable(t, v, token(k3))
		refused(t, v, sign(t, k2, "JWT", claims(long)))
		refused(t, v, sign(t, es256("k2", ecKey3()), "at+jwt", claims(long)))
		a.set(func() { a.at = a.at.Add(time.Second) })
		for range 20 {
			err := unavailable(t, v, token(k2))
			assert.ErrorIs(t, err, errDown)
		}
		refused(t, v, "garbage")
		assert.Equal(t, n, a.requests(jwksURI), "S300 a pause of 10 s")
		a.set(func() { a.down, a.at = false, a.at.Add(10*time.Second) })
		accepted(t, v, token(k3))
		refused(t, v, token(k2))
	})
}

// RFC 8414: keys that have moved are found without waiting for the metadata to get
// old.
func TestJWTKeysMoved(t *testing.T) {
	const metadata, moved = issuer + "/.well-known/oauth-authorization-server", issuer + "/moved"
	k := es256("k1", ecKey())
	set, err := jose.JWKS([]jose.Key{k})
	require.NoError(t, err)
	token := sign(t, k, "at+jwt", claims(`{"exp":4000000000}`))
	a := newAuthority(k)
	v := a.jwt()
	accepted(t, v, token)
	a.set(func() {
		a.at = a.at.Add(5 * time.Minute)
		a.pages[jwksURI], a.pages[moved] = `<p>gone`, string(set)
		a.pages[metadata] = `{"issuer":"` + issuer + `","jwks_uri":"` + moved + `"}`
	})
	accepted(t, v, token)
	assert.Equal(t, []string{metadata, jwksURI, jwksURI, metadata, moved}, a.asked)
	a.set(func() { a.at, a.asked = a.at.Add(5*time.Minute), nil })
	accepted(t, v, token)
	assert.Equal(t, []string{moved}, a.asked)

	t.Run("S300 once, where the metadata knows no better", func(t *testing.T) {
		a.set(func() { a.at, a.asked, a.pages[moved] = a.at.Add(2*time.Hour), nil, `<p>gone` })
		for range 20 {
			unavailable(t, v, token)
		}
		assert.Equal(t, []string{metadata, moved}, a.asked, "it was old")
		a.set(func() { a.at, a.asked = a.at.Add(10*time.Second), nil })
		for range 20 {
			unavailable(t, v, token)
		}
		assert.Equal(t, []string{moved, metadata}, a.asked)
	})
}

// Keys without an ID: a token that none of them verifies may be of a new one.
func TestJWTRotationWithoutKid(t *testing.T) {
	k1, k2 := es256("", ecKey()), es256("", ecKey2())
	a := newAuthority(k1)
	v := a.jwt()
	accepted(t, v, sign(t, k1, "at+jwt", claims(`{}`)))
	a.set(func() { a.keys, a.at = []jose.Key{k2}, a.at.Add(10*time.Second) })
	accepted(t, v, sign(t, k2, "at+jwt", claims(`{}`)))
	refused(t, v, sign(t, k1, "at+jwt", claims(`{}`)))
	assert.Equal(t, 2, a.requests(jwksURI), "S301")
}

func TestJWTCaching(t *testing.T) {
	for control, want := range map[string]time.Duration{
		"": 5 * time.Minute, "max-age=300": 5 * time.Minute, "no-store": time.Minute, "max-age=0": time.Minute, "max-age=86400": 15 * time.Minute,
	} {
		t.Run("RFC 9111 "+control, func(t *testing.T) {
			a := newAuthority(es256("k1", ecKey()))
			a.cache = control
			v := a.jwt()
			token := sign(t, es256("k1", ecKey()), "at+jwt", claims(`{}`))
			accepted(t, v, token)
			a.set(func() { a.at = a.at.Add(want - 1) })
			accepted(t, v, token)
			assert.Equal(t, 1, a.requests(jwksURI))
			a.set(func() { a.at = a.at.Add(1) })
			accepted(t, v, token)
			assert.Equal(t, 2, a.requests(jwksURI))
		})
	}
}

func TestJWTOddDocuments(t *testing.T) {
	token := sign(t, es256("k1", ecKey()), "at+jwt", claims(`{}`))
	metadata := issuer + "/.well-known/oauth-authorization-server"
	good, err := jose.JWKS([]jose.Key{es256("k1", ecKey())})
	require.NoError(t, err)
	set := func(keys string) map[string]string {
		return map[string]string{jwksURI: strings.Replace(string(good), `{"keys":[`, `{"keys":[`+keys, 1)}
	}
	for name, tt := range map[string]struct {
		pages map[string]string
		ok    bool
	}{
		"as it is":                    {set(""), true},
		"S293 odd keys beside it":     {set(`null,7,{},{"kty":"AKP"},{"kty":"RSA","kid":"k1"},{"kty":"oct","k":"AAAA","kid":"k1"},`), true},
		"S293 a symmetric k1":         {set(`{"kty":"oct","alg":"HS256","k":"` + strings.Repeat("A", 43) + `","kid":"k1"},`), true},
		"S293 too many":               {set(strings.Repeat("{},", 100)), false},
		"S293 too large":              {set(strings.Repeat("{},", 100_000)), false},
		"no key set":                  {map[string]string{jwksURI: `{"issuer":"x"}`}, false},
		"no JSON":                     {map[string]string{jwksURI: `<html>secret`}, false},
		"no jwks_uri":                 {map[string]string{metadata: `{"issuer":"` + issuer + `"}`}, false},
		"jwks_uri http":               {map[string]string{metadata: `{"issuer":"` + issuer + `","jwks_uri":"http://127.0.0.1/keys"}`}, false},
		"jwks_uri a file":             {map[string]string{metadata: `{"issuer":"` + issuer + `","jwks_uri":"file:///etc/passwd"}`}, false},
		"S307 metadata of another":    {map[string]string{metadata: `{"issuer":"https://evil.example","jwks_uri":"` + jwksURI + `"}`}, false},
		"RFC 8414 3.3 with a slash":   {map[string]string{metadata: `{"issuer":"` + issuer + `/","jwks_uri":"` + jwksURI + `"}`}, false},
		"S264 jwks_uri twice":         {map[string]string{metadata: `{"issuer":"` + issuer + `","jwks_uri":"https://evil.example","jwks_uri":"` + jwksURI + `"}`}, false},
		"OpenID Discovery 4 instead":  {map[string]string{metadata: ``, issuer + "/.well-known/openid-configuration": `{"issuer":"` + issuer + `","jwks_uri":"` + jwksURI + `"}`}, true},
		"S307 OpenID, another issuer": {map[string]string{metadata: ``, issuer + "/.well-known/openid-configuration": `{"issuer":"https://as.example/x","jwks_uri":"` + jwksURI + `"}`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(es256("k1", ecKey()))
			for at, body := range tt.pages {
				a.pages[at] = body
			}
			if tt.ok {
				accepted(t, a.jwt(), token)
				return
			}
			err := unavailable(t, a.jwt(), token)
			assert.NotContains(t, err.Error(), "secret", "S303")
		})
	}
}

func TestJWTContext(t *testing.T) {
	a := newAuthority(es256("k1", ecKey()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	token := sign(t, es256("k1", ecKey()), "at+jwt", claims(`{}`))
	v := a.jwt()
	_, err := v.VerifyToken(ctx, token)
	assert.ErrorIs(t, err, context.Canceled)
	accepted(t, v, token)
	_, err = v.VerifyToken(ctx, token)
	assert.NoError(t, err, "what is known needs no asking")
}

// FuzzJWTClaims: whatever an issuer signs, there is a token with what RFC 9068 requires, or a refusal.
func FuzzJWTClaims(f *testing.F) {
	f.Add([]byte(claims(`{}`)))
	f.Add([]byte(claims(`{"aud":["a","b"],"cnf":{"jkt":"x"},"auth_time":1,"amr":["x"]}`)))
	f.Add([]byte(claims(`{"exp":1e300}`)))
	f.Add([]byte(`{"iss":"https://as.example","iss":"x"}`))
	key := jose.Key{ID: "k1", Algorithm: "ES256", Signer: ecKey()}
	v := newAuthority(key).jwt()
	f.Fuzz(func(t *testing.T, payload []byte) {
		token, err := jose.Sign(key, "at+jwt", payload)
		if err != nil {
			return
		}
		tok, err := v.VerifyToken(t.Context(), token)
		if err != nil {
			if !errors.Is(err, resource.InvalidToken) || tok != nil {
				t.Fatal(err)
			}
			return
		}
		if tok.Issuer != issuer || tok.ClientID == "" || tok.ID == "" || len(tok.Audience) == 0 || !start.Before(tok.ExpiresAt) ||
			tok.IssuedAt.After(start.Add(time.Minute)) {
			t.Fatalf("%+v", tok)
		}
	})
}

func BenchmarkJWT(b *testing.B) {
	a := newAuthority(es256("k1", ecKey()))
	v := a.jwt()
	token := sign(b, es256("k1", ecKey()), "at+jwt", claims(`{}`))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.VerifyToken(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}
