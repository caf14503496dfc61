package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	encodingasn1 "encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/keystore"
	"github.com/grantwell/oauth/memstore"
)

const (
	notesAPI = "https://notes.example/api" // what the three APIs are called
	filesAPI = "https://files.example"
	secret   = "the secret of every client here"
	callback = "http://127.0.0.1/callback"
	gold     = "urn:example:gold"
)

// algorithms are those that a client can get its tokens in: its ID says which.
var algorithms = []string{"ES256", "RS256", "PS256", "EdDSA", "ES384"}

// An authority is the library behind a real socket. It approves everything as alice.
// Its ES256 key rotates, the others stay.
type authority struct {
	*oauth.Server
	issuer string
	web    *http.Client
	pages  *http.ServeMux // of the host
	keys   *keystore.Store
	fixed  []oauth.Key
	ahead  atomic.Int64 // of the clock of keys
	down   atomic.Bool
	asked  atomic.Int64 // for the JWKS
}

// Keys implements oauth.KeySource.
func (a *authority) Keys(ctx context.Context) ([]oauth.Key, error) {
	keys, err := a.keys.Keys(ctx)
	return append(keys[:len(keys):len(keys)], a.fixed...), err
}

func startAuthority(t *testing.T, edits ...func(*oauth.Config)) *authority {
	t.Helper()
	a := &authority{pages: http.NewServeMux()}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/jwks") {
			a.asked.Add(1)
		}
		if a.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		a.pages.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	a.issuer, a.web = web.URL+"/as", web.Client() // RFC 8414, section 3.1: a path makes it interesting
	a.web.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	cfg := a.config()
	for _, edit := range edits {
		edit(&cfg)
	}
	ofKeys := cfg
	ofKeys.Now = func() time.Time { return time.Now().Add(time.Duration(a.ahead.Load())) }
	var err error
	a.keys, err = keystore.New(ofKeys, keystore.Options{})
	require.NoError(t, err)
	a.fixed = fixedKeys(t)
	cfg.Keys = a
	a.Server, err = oauth.New(cfg)
	require.NoError(t, err)
	a.pages.Handle("/", a.Handler())
	return a
}

func fixedKeys(t *testing.T) []oauth.Key {
	t.Helper()
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	es384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return []oauth.Key{
		{ID: "rs", Algorithm: "RS256", Signer: rs}, {ID: "ps", Algorithm: "PS256", Signer: rs},
		{ID: "ed", Signer: ed}, {ID: "p384", Signer: es384},
	}
}

func (a *authority) config() oauth.Config {
	scopes := []string{"notes:read", "notes:write", "notes:reader"}
	client := func(id string) oauth.Client {
		return oauth.Client{
			ID: id, Secrets: []string{oauth.HashSecret(secret)}, RedirectURIs: []string{callback}, Scopes: scopes,
			Grants: []string{"authorization_code", "refresh_token", "client_credentials"}, Introspect: true, Resources: []string{notesAPI, filesAPI},
		}
	}
	clients := []oauth.Client{client("opaque")}
	formats := []oauth.Format{oauth.Opaque{}}
	for _, alg := range algorithms {
		clients = append(clients, client(alg))
		formats = append(formats, oauth.JWT{Algorithm: alg})
	}
	return oauth.Config{
		Issuer: a.issuer, Storage: memstore.New(), Secrets: [][]byte{oauth.NewSecret()}, Clients: oauth.StaticClients(clients...),
		Grants:    []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}, grants.ClientCredentials{}},
		Resources: []oauth.Resource{{Identifier: notesAPI}, {Identifier: filesAPI}},
		Scopes:    []oauth.Scope{{Name: "notes:read"}, {Name: "notes:write"}, {Name: "notes:reader"}},
		ACRValues: []string{gold, "urn:example:silver"},
		Interact: func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), AuthTime: time.Now(), ACR: gold, AMR: []string{"otp"}})
		},
		OtherFormats: formats,
		Policy: func(_ context.Context, r oauth.PolicyRequest) oauth.Policy {
			if r.Client.ID == "opaque" {
				return oauth.Policy{AccessToken: oauth.Opaque{}}
			}
			return oauth.Policy{AccessToken: oauth.JWT{Algorithm: r.Client.ID}}
		},
	}
}

// client is x/oauth2 for one of the clients.
func (a *authority) client(id string, scopes ...string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: id, ClientSecret: secret, RedirectURL: callback, Scopes: scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL: a.issuer + "/oauth/authorize", TokenURL: a.issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInHeader,
		},
	}
}

// authorize is a whole code flow for these resources.
func (a *authority) authorize(t *testing.T, client *oauth2.Config, resources ...string) *oauth2.Token {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	to, err := url.Parse(client.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
	require.NoError(t, err)
	query := to.Query()
	query["resource"] = resources
	to.RawQuery = query.Encode()
	resp, err := a.web.Get(to.String())
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	back, err := resp.Location()
	require.NoError(t, err)
	require.Equal(t, a.issuer, back.Query().Get("iss"), back)
	token, err := client.Exchange(t.Context(), back.Query().Get("code"), oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	return token
}

// token is alice's access token for the notes.
func (a *authority) token(t *testing.T, client string, scopes ...string) string {
	t.Helper()
	return a.authorize(t, a.client(client, scopes...), notesAPI).AccessToken
}

// machine is a token without a user.
func (a *authority) machine(t *testing.T, client, resource string) string {
	t.Helper()
	config := clientcredentials.Config{
		ClientID: client, ClientSecret: secret, TokenURL: a.issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInHeader,
		Scopes: []string{"notes:read"}, EndpointParams: url.Values{"resource": {resource}},
	}
	token, err := config.Token(t.Context())
	require.NoError(t, err)
	return token.AccessToken
}

// key is the one that signs with an algorithm.
func (a *authority) key(t *testing.T, alg string) oauth.Key {
	t.Helper()
	keys, err := a.Keys(t.Context())
	require.NoError(t, err)
	for _, k := range keys {
		if k.Algorithm == alg || alg == "EdDSA" && k.ID == "ed" || alg == "ES384" && k.ID == "p384" {
			return k
		}
	}
	require.FailNow(t, "no key", alg)
	return oauth.Key{}
}

// claims are those of a good token, changed; nil leaves one out.
func (a *authority) claims(change map[string]any) map[string]any {
	now := time.Now().Unix()
	return changed(map[string]any{
		"iss": a.issuer, "sub": "alice", "aud": notesAPI, "client_id": "ES256", "scope": "notes:read",
		"iat": now - 60, "exp": now + 600, "jti": "forged",
	}, change)
}

func changed(m, change map[string]any) map[string]any {
	m = maps.Clone(m)
	for name, value := range change {
		if m[name] = value; value == nil {
			delete(m, name)
		}
	}
	return m
}

// sign makes a token as somebody does who has the key: the header is that of a good
// token, changed.
func sign(t *testing.T, alg string, key oauth.Key, header, claims map[string]any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	for name, value := range changed(map[string]any{"typ": "at+jwt", "kid": key.ID}, header) {
		options = options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: cryptosigner.Opaque(key.Signer)}, options)
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	object, err := signer.Sign(payload)
	require.NoError(t, err)
	token, err := object.CompactSerialize()
	require.NoError(t, err)
	return token
}

var b64 = base64.RawURLEncoding.EncodeToString

// handmade is a token with whatever header and signature.
func handmade(t *testing.T, header, claims map[string]any, signature func(input []byte) []byte) string {
	t.Helper()
	head, err := json.Marshal(header)
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	input := b64(head) + "." + b64(payload)
	return input + "." + b64(signature([]byte(input)))
}

func hs256(key []byte) func([]byte) []byte {
	return func(input []byte) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write(input)
		return mac.Sum(nil)
	}
}

// stranger is a key that the authority does not have, under a kid that it may have.
func stranger(t *testing.T, kid string) oauth.Key {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return oauth.Key{ID: kid, Algorithm: "ES256", Signer: crypto.Signer(k)}
}

// asn1 is the other form of an ECDSA signature, which JWS does not have.
func asn1(t *testing.T, signature string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	require.NoError(t, err)
	half := len(raw) / 2
	out, err := encodingasn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:half]), new(big.Int).SetBytes(raw[half:])})
	require.NoError(t, err)
	return out
}

// respelled is a token whose signature is the same to a decoder that does not look at
// the spare bits of the last letter.
func respelled(token string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	return token[:last] + string(letters[strings.IndexByte(letters, token[last])|1])
}
