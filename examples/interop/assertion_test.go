package interop_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clientJWKS is where the client "remote" publishes its keys.
const clientJWKS = "https://client.example/jwks"

// clientKeys are the keys of the clients that sign assertions: the private ones, as a
// list of JWKs, are the scripts'.
type clientKeys struct {
	private string
	public  json.RawMessage
}

func newClientKeys(t *testing.T) (k clientKeys) {
	t.Helper()
	es256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	es384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	keys := []jose.JSONWebKey{
		{Key: es256, KeyID: "1", Algorithm: "ES256"}, {Key: es384, KeyID: "2", Algorithm: "ES384"},
		{Key: rs, KeyID: "3", Algorithm: "RS256"}, {Key: rs, KeyID: "4", Algorithm: "PS256"}, {Key: ed, KeyID: "5", Algorithm: "EdDSA"},
	}
	var public jose.JSONWebKeySet
	for _, key := range keys {
		public.Keys = append(public.Keys, key.Public())
	}
	private, err := json.Marshal(keys)
	require.NoError(t, err)
	k.private = string(private)
	k.public, err = json.Marshal(public)
	require.NoError(t, err)
	return k
}

// RoundTrip serves clientJWKS without a socket.
func (k clientKeys) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.String() != clientJWKS {
		return nil, fmt.Errorf("nobody is at %s", r.URL)
	}
	header := http.Header{"Content-Type": {"application/jwk-set+json"}}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(bytes.NewReader(k.public)), Request: r}, nil
}

func checkAssertions(t *testing.T, issuer string, got outcome) {
	t.Helper()
	for _, alg := range []string{"ES256", "ES384", "RS256", "PS256", "EdDSA"} {
		t.Run("RFC 7523 2.2: private_key_jwt, "+alg, func(t *testing.T) { checkJourney(t, issuer, "signer", got.Signed[alg], true) })
	}
	t.Run("RFC 7523 2.2: private_key_jwt, the keys at a jwks_uri", func(t *testing.T) { checkJourney(t, issuer, "remote", got.Remote, true) })
	t.Run("OpenID Connect Core 9: client_secret_jwt", func(t *testing.T) { checkJourney(t, issuer, "shared", got.Shared, true) })
	refused := failure{Code: body, Status: 401, Error: "invalid_client"}
	for name, f := range map[string]failure{
		"RFC 7523bis 4: the token endpoint as the audience": got.Asserted.EndpointAudience,
		"RFC 7523 3: expired":                               got.Asserted.Expired,
		"RFC 7523 3: of another client":                     got.Asserted.OtherClient,
		"RFC 7523 3: signed by a stranger":                  got.Asserted.OtherKey,
		"RFC 7523 3: a jti that was used":                   got.Asserted.Twice,
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, refused, f) })
	}
	assert.Equal(t, "bearer", got.Asserted.Once)
	assert.Equal(t, "bearer", got.Asserted.OtherName, "RFC 9864 2.2: as both libraries call EdDSA by themselves")
}
