package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
)

// metadata is what the server publishes of itself (RFC 8414).
func (a *authority) metadata(t *testing.T) (m struct {
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
}) {
	t.Helper()
	at := strings.Replace(a.issuer, "/as", "/.well-known/oauth-authorization-server/as", 1)
	resp, err := a.web.Get(at)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&m))
	require.Equal(t, a.issuer, m.Issuer)
	return m
}

// An API that is made of go-oidc's RemoteKeySet.
func TestGoOIDC(t *testing.T) {
	t.Parallel()
	a, other := startAuthority(t), startAuthority(t)
	keys := oidc.NewRemoteKeySet(t.Context(), a.metadata(t).JWKSURI)
	verifier := oidc.NewVerifier(a.issuer, keys, &oidc.Config{ClientID: notesAPI, SupportedSigningAlgs: algorithms})
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			token := a.token(t, alg, "notes:read")
			payload, err := keys.VerifySignature(t.Context(), token)
			require.NoError(t, err)
			var claims struct {
				Sub, Scope string
				ClientID   string `json:"client_id"`
			}
			require.NoError(t, json.Unmarshal(payload, &claims))
			assert.Equal(t, "alice", claims.Sub)
			assert.Equal(t, alg, claims.ClientID)
			assert.Equal(t, "notes:read", claims.Scope)

			verified, err := verifier.Verify(t.Context(), token)
			require.NoError(t, err)
			assert.Equal(t, []string{notesAPI}, verified.Audience)
			assert.Equal(t, "alice", verified.Subject)
			assert.WithinDuration(t, time.Now().Add(30*time.Minute), verified.Expiry, time.Minute)

			_, err = verifier.Verify(t.Context(), a.machine(t, alg, filesAPI))
			require.ErrorContains(t, err, "expected audience")
			_, err = keys.VerifySignature(t.Context(), token[:len(token)-4])
			require.Error(t, err)
			_, err = keys.VerifySignature(t.Context(), other.token(t, alg, "notes:read"))
			require.ErrorContains(t, err, "failed to verify")
		})
	}
	t.Run("a key that it has not seen", func(t *testing.T) {
		old, kid := a.token(t, "ES256", "notes:read"), a.key(t, "ES256").ID
		require.NoError(t, a.keys.Retire(t.Context(), kid))                  // the next one signs, which was published
		require.NoError(t, a.keys.Retire(t.Context(), a.key(t, "ES256").ID)) // so this one is new
		_, err := keys.VerifySignature(t.Context(), a.token(t, "ES256", "notes:read"))
		require.NoError(t, err)
		_, err = keys.VerifySignature(t.Context(), old)
		require.ErrorContains(t, err, "failed to verify")
	})
	t.Run("typ JWT and no kid, for those who cannot do otherwise", func(t *testing.T) {
		key := a.key(t, "ES256")
		plain := startAuthority(t, func(c *oauth.Config) {
			c.AccessToken = oauth.JWT{Type: "JWT", Algorithm: "ES256"}
			c.Policy = nil
		})
		token := plain.token(t, "ES256", "notes:read")
		_, err := oidc.NewRemoteKeySet(t.Context(), plain.metadata(t).JWKSURI).VerifySignature(t.Context(), token)
		require.NoError(t, err)
		_, err = keys.VerifySignature(t.Context(), sign(t, "ES256", key, map[string]any{"kid": nil, "typ": "JWT"}, a.claims(nil)))
		require.NoError(t, err)
	})
}
