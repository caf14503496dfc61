package jose_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/jose"
)

// jwk is the public key as a JSON object, with members changed; null leaves one out.
func jwk(t testing.TB, k jose.Key, change string) string {
	t.Helper()
	data, err := jose.JWKS([]jose.Key{k})
	require.NoError(t, err)
	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal(data, &set))
	var with map[string]any
	require.NoError(t, json.Unmarshal([]byte(change), &with))
	for name, value := range with {
		if set.Keys[0][name] = value; value == nil {
			delete(set.Keys[0], name)
		}
	}
	out, err := json.Marshal(set.Keys[0])
	require.NoError(t, err)
	return string(out)
}

func set(keys ...string) []byte { return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`) }

// RFC 7517: what JWKS writes, ParseJWKS reads, and what Sign signs with the one, Verify verifies with the other.
func TestParseJWKS(t *testing.T) {
	data, err := jose.JWKS(everyKey())
	require.NoError(t, err)
	keys, err := jose.ParseJWKS(data)
	require.NoError(t, err)
	require.Len(t, keys, len(everyKey())-1, "HS256 is not published")
	for i, k := range keys {
		assert.NoError(t, jose.Check(k))
		requireVerified(t, sign(t, everyKey()[i], "at+jwt", "{}"), "at+jwt", "{}", keys...)
		_, err := jose.Sign(k, "at+jwt", []byte("{}"))
		assert.Error(t, err, "it has no private part")
	}
	again, err := jose.JWKS(keys)
	require.NoError(t, err)
	assert.JSONEq(t, string(data), string(again))
}

func TestParseJWKSVectors(t *testing.T) {
	// RFC 7517, appendix A.1, and RFC 8037, appendix A.2.
	keys, err := jose.ParseJWKS(set(`{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
		"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}`,
		`{"kty":"RSA","n":"`+rfc7638Modulus+`","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
	require.NoError(t, err)
	require.Len(t, keys, 2, "the first is for encryption")
	thumbprint, err := jose.Thumbprint(keys[0].Signer.Public())
	require.NoError(t, err)
	assert.Equal(t, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", thumbprint, "RFC 7638, section 3.1")
	thumbprint, err = jose.Thumbprint(keys[1].Signer.Public())
	require.NoError(t, err)
	assert.Equal(t, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", thumbprint, "RFC 8037, appendix A.3")
}

// S293: what is odd about one key does not concern the others.
func TestParseJWKSOddKeys(t *testing.T) {
	ec := jose.Key{ID: "ec", Algorithm: "ES256", Signer: p256()}
	rs := jose.Key{ID: "rs", Algorithm: "RS256", Signer: rsa2048()}
	okp := jose.Key{ID: "okp", Algorithm: "EdDSA", Signer: ed()}
	point := jwk(t, ec, `{}`)
	for _, tt := range []struct {
		name string
		key  string
		want string // algorithms
	}{
		{"as it is", point, "ES256"},
		{"RFC 7517 4.4 no alg", jwk(t, ec, `{"alg":null}`), "ES256"},
		{"RFC 7517 4.4 no alg, RSA", jwk(t, rs, `{"alg":null}`), "RS256 PS256"},
		{"RFC 7517 4.4 no alg, OKP", jwk(t, okp, `{"alg":null}`), "EdDSA"},
		{"RFC 7517 4.2 no use", jwk(t, ec, `{"use":null}`), "ES256"},
		{"RFC 7517 4.3 key_ops", jwk(t, ec, `{"key_ops":["verify"]}`), "ES256"},
		{"RFC 7517 4.5 no kid", jwk(t, ec, `{"kid":null}`), "ES256"},
		{"certificates, unread", jwk(t, ec, `{"x5c":["%%%"],"x5t":"x","x5u":"http://127.0.0.1/"}`), "ES256"},
		{"unknown member", jwk(t, ec, `{"ext":true}`), "ES256"},
		{"RS256 named PS256", jwk(t, rs, `{"alg":"PS256"}`), "PS256"},

		{"null", `null`, ""}, {"number", `7`, ""}, {"text", `"x"`, ""}, {"array", `[]`, ""}, {"empty", `{}`, ""},
		{"unknown kty", `{"kty":"AKP","kid":"x","pub":"AA"}`, ""}, {"kty null", jwk(t, ec, `{"kty":7}`), ""}, {"no kty", jwk(t, ec, `{"kty":null}`), ""},
		{"oct", `{"kty":"oct","k":"` + strings.Repeat("A", 43) + `"}`, ""}, {"oct, HS256", `{"kty":"oct","alg":"HS256","k":"` + strings.Repeat("A", 43) + `"}`, ""},
		{"alg none", jwk(t, ec, `{"alg":"none"}`), ""}, {"alg HS256", jwk(t, ec, `{"alg":"HS256"}`), ""}, {"alg of another kty", jwk(t, ec, `{"alg":"RS256"}`), ""},
		{"alg of another curve", jwk(t, ec, `{"alg":"ES384"}`), ""}, {"alg ECDH-ES", jwk(t, ec, `{"alg":"ECDH-ES"}`), ""}, {"alg empty", jwk(t, ec, `{"alg":""}`), ""},
		{"alg number", jwk(t, ec, `{"alg":256}`), ""},
		{"RFC 7517 4.2 use enc", jwk(t, ec, `{"use":"enc"}`), ""}, {"use number", jwk(t, ec, `{"use":1}`), ""},
		{"RFC 7517 4.3 key_ops sign", jwk(t, ec, `{"key_ops":["sign"]}`), ""}, {"key_ops text", jwk(t, ec, `{"key_ops":"verify"}`), ""},
		{"kid empty", jwk(t, ec, `{"kid":""}`), ""}, {"kid number", jwk(t, ec, `{"kid":1}`), ""},
		{"S259 private", jwk(t, ec, `{"d":"AA"}`), ""}, {"S259 private RSA", jwk(t, rs, `{"p":"AA"}`), ""},
		{"member twice", strings.Replace(point, `{`, `{"kid":"ec",`, 1), ""},
		{"no x", jwk(t, ec, `{"x":null}`), ""}, {"no y", jwk(t, ec, `{"y":null}`), ""}, {"x of another length", jwk(t, ec, `{"x":"AAAA"}`), ""},
		{"point off the curve", jwk(t, ec, `{"x":"`+strings.Repeat("A", 43)+`"}`), ""}, {"x not base64url", jwk(t, ec, `{"x":"`+strings.Repeat("+", 43)+`"}`), ""},
		{"x number", jwk(t, ec, `{"x":1}`), ""}, {"curve P-521", jwk(t, ec, `{"crv":"P-521"}`), ""}, {"curve of another", jwk(t, ec, `{"crv":"P-384"}`), ""},
		{"no curve", jwk(t, ec, `{"crv":null}`), ""}, {"secp256k1", jwk(t, ec, `{"crv":"secp256k1"}`), ""},
		{"X25519", jwk(t, okp, `{"crv":"X25519"}`), ""}, {"Ed25519 too short", jwk(t, okp, `{"x":"AAAA"}`), ""},
		{"Ed25519 of low order", jwk(t, okp, `{"x":"`+strings.Repeat("A", 43)+`"}`), ""},
		{"no n", jwk(t, rs, `{"n":null}`), ""}, {"no e", jwk(t, rs, `{"e":null}`), ""}, {"n empty", jwk(t, rs, `{"n":""}`), ""},
		{"RFC 7518 3.3 RSA 1024", jwk(t, rs, `{"n":"`+b64(rsa1024().N.Bytes())+`"}`), ""},
		{"RSA too large", jwk(t, rs, `{"n":"`+strings.Repeat("_", 1000)+`"}`), ""},
		{"RSA e=3", jwk(t, rs, `{"e":"Aw"}`), ""}, {"RSA e of 4 KiB", jwk(t, rs, `{"e":"`+strings.Repeat("_", 5000)+`"}`), ""},
		{"RSA e=1", jwk(t, rs, `{"e":"AQ"}`), ""}, {"RSA e=0", jwk(t, rs, `{"e":"AA"}`), ""},
	} {
		t.Run("V114 S293 "+tt.name, func(t *testing.T) {
			keys, err := jose.ParseJWKS(set(tt.key, jwk(t, okp, `{"kid":"last"}`)))
			require.NoError(t, err)
			var algs []string
			for _, k := range keys {
				algs = append(algs, k.Algorithm)
			}
			assert.Equal(t, strings.Fields(tt.want+" EdDSA"), algs)
			assert.Equal(t, "last", keys[len(keys)-1].ID)
		})
	}
}

func TestParseJWKSRefuses(t *testing.T) {
	point := jwk(t, jose.Key{ID: "ec", Algorithm: "ES256", Signer: p256()}, `{}`)
	for name, data := range map[string]string{
		"nothing": "", "array": "[" + point + "]", "a bare key": point, "keys null": `{"keys":null}`, "keys an object": `{"keys":{}}`,
		"Keys": `{"Keys":[]}`, "keys twice": `{"keys":[],"keys":[]}`, "trailing": `{"keys":[]}x`, "a page": "<html>",
		"S293 too many": string(set(strings.Split(strings.Repeat("{} ", jose.MaxKeys)+"{}", " ")...)),
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := jose.ParseJWKS([]byte(data))
			assert.Error(t, err)
			assert.Nil(t, keys)
		})
	}
	for name, data := range map[string]string{"empty": `{"keys":[]}`, "as many as may be": string(set(strings.Split(strings.Repeat("{} ", jose.MaxKeys-1)+"{}", " ")...))} {
		keys, err := jose.ParseJWKS([]byte(data))
		assert.NoError(t, err, name)
		assert.Empty(t, keys, name)
	}
}

func TestRules(t *testing.T) {
	key := jose.Key{ID: "a", Algorithm: "EdDSA", Signer: ed()}
	nameless := jose.Key{Algorithm: "EdDSA", Signer: ed()}
	other := jose.Key{Algorithm: "EdDSA", Signer: otherEd()}
	rules := jose.Rules{Types: []string{"at+jwt", "JWT"}, Algorithms: []string{"EdDSA", "ES256"}}
	for _, tt := range []struct {
		name    string
		rules   jose.Rules
		token   string
		keys    []jose.Key
		reason  string // "" for none
		unknown bool
	}{
		{"good", rules, sign(t, key, "at+jwt", "{}"), []jose.Key{key}, "", false},
		{"RFC 7515 4.1.9 the whole media type", rules, sign(t, key, "application/AT+JWT", "{}"), []jose.Key{key}, "", false},
		{"another of the types", rules, sign(t, key, "jwt", "{}"), []jose.Key{key}, "", false},
		{"no typ, allowed", jose.Rules{Types: []string{"x", ""}}, sign(t, key, "", "{}"), []jose.Key{key}, "", false},
		{"S295 no typ", rules, sign(t, key, "", "{}"), []jose.Key{key}, "typ", false},
		{"S295 another typ", rules, sign(t, key, "id+jwt", "{}"), []jose.Key{key}, "typ", false},
		{"no types", jose.Rules{}, sign(t, key, "", "{}"), []jose.Key{key}, "typ", false},
		{"RFC 8725 3.1 alg not allowed", jose.Rules{Types: []string{"JWT"}, Algorithms: []string{"ES256"}}, sign(t, key, "JWT", "{}"), []jose.Key{key}, "alg", false},
		{"no alg allowed", jose.Rules{Types: []string{"JWT"}, Algorithms: []string{}}, sign(t, key, "JWT", "{}"), []jose.Key{key}, "alg", false},
		{"RFC 8725 3.2 none", rules, forgeHS256(`{"alg":"none","typ":"JWT"}`, "{}", nil), nil, "alg", false},
		{"kid empty", rules, forgeHS256(`{"alg":"EdDSA","kid":"","typ":"JWT"}`, "{}", nil), []jose.Key{nameless}, "an empty kid", false},
		{"no keys", rules, sign(t, key, "JWT", "{}"), nil, "no key of its kid and alg", true},
		{"another kid", rules, sign(t, key, "JWT", "{}"), []jose.Key{nameless}, "no key of its kid and alg", true},
		{"a bad signature", rules, sign(t, jose.Key{ID: "a", Algorithm: "EdDSA", Signer: otherEd()}, "JWT", "{}"), []jose.Key{key}, "signature", false},
		{"no kid, of another key", rules, sign(t, nameless, "JWT", "{}"), []jose.Key{other}, "signature, and there is no kid to say whose", true},
		{"no kid, one of several", rules, sign(t, nameless, "JWT", "{}"), []jose.Key{other, nameless}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			payload, err := tt.rules.Verify(tt.token, tt.keys)
			if tt.reason == "" {
				require.NoError(t, err)
				assert.Equal(t, "{}", string(payload))
				return
			}
			assert.Nil(t, payload)
			assert.EqualError(t, err, "jose: token refused: "+tt.reason)
			assert.ErrorIs(t, err, jose.ErrInvalid)
			assert.Equal(t, tt.unknown, errors.Is(err, jose.ErrUnknownKey))
		})
	}
}

func FuzzJWKS(f *testing.F) {
	for _, k := range everyKey() {
		if k.Secret == nil {
			f.Add([]byte(jwk(f, k, `{}`)))
			f.Add([]byte(jwk(f, k, `{"alg":null,"kid":null}`)))
		}
	}
	f.Add([]byte(`{"kty":"RSA","n":"AQ","e":"AQAB"}`))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"","y":""}`))
	token := sign(f, everyKey()[0], "JWT", "{}")
	f.Fuzz(func(t *testing.T, key []byte) {
		keys, err := jose.ParseJWKS(fmt.Appendf(nil, `{"keys":[%s]}`, key))
		if err != nil {
			return
		}
		for _, k := range keys {
			if err := jose.Check(k); err != nil {
				t.Fatal(err)
			}
		}
		// Everything that was read can be published again, and verifies or refuses.
		if _, err := jose.JWKS(keys); err != nil {
			t.Fatal(err)
		}
		_, _ = jose.Verify(token, "JWT", keys)
	})
}

// otherEd is another Ed25519 key.
func otherEd() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(sum("another")) }
