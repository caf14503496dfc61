package jose_test

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/jose"
)

// RFC 9864: the name that says which curve. It is for tokens that others sign.
func TestEd25519Name(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	_, other, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	keys := []jose.Key{{ID: "k", Algorithm: "EdDSA", Signer: private}}
	allowed := jose.Rules{Types: []string{""}, Algorithms: []string{"EdDSA", "Ed25519"}}
	const header = `{"alg":"Ed25519","kid":"k"}`
	good := forgeEdDSA(header, `{"a":1}`, private)

	payload, err := allowed.Verify(good, keys)
	require.NoError(t, err)
	assert.Equal(t, `{"a":1}`, string(payload))
	for name, c := range map[string]struct {
		rules jose.Rules
		token string
		keys  []jose.Key
	}{
		"not among the algorithms":        {jose.Rules{Types: []string{""}, Algorithms: []string{"EdDSA"}}, good, keys},
		"no algorithms are named":         {jose.Rules{Types: []string{""}}, good, keys},
		"another key":                     {allowed, forgeEdDSA(header, `{"a":1}`, other), keys},
		"another kid":                     {allowed, forgeEdDSA(`{"alg":"Ed25519","kid":"x"}`, `{"a":1}`, private), keys},
		"the header of one, signed as it": {allowed, forgeEdDSA(`{"alg":"EdDSA","kid":"k"}`, `{"a":1}`, private)[:20] + good[20:], keys},
		"a signature cut":                 {allowed, good[:len(good)-4], keys},
		"a key of another kind":           {allowed, good, []jose.Key{{ID: "k", Algorithm: "EdDSA", Secret: make([]byte, 32)}}},
		"lower case":                      {jose.Rules{Types: []string{""}, Algorithms: []string{"ed25519"}}, forgeEdDSA(`{"alg":"ed25519","kid":"k"}`, `{"a":1}`, private), keys},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.rules.Verify(c.token, c.keys)
			assert.ErrorIs(t, err, jose.ErrInvalid)
		})
	}
	t.Run("in a JWK", func(t *testing.T) {
		set, err := jose.JWKS(keys)
		require.NoError(t, err)
		named := []byte(replaceOnce(t, string(set), `"alg":"EdDSA"`, `"alg":"Ed25519"`))
		parsed, err := jose.ParseJWKS(named)
		require.NoError(t, err)
		require.Len(t, parsed, 1)
		_, err = allowed.Verify(good, parsed)
		require.NoError(t, err)
	})
}

func replaceOnce(t *testing.T, text, old, new string) string {
	t.Helper()
	require.Equal(t, 1, strings.Count(text, old), text)
	return strings.Replace(text, old, new, 1)
}
