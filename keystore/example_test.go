package keystore_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/keystore"
	"github.com/grantwell/oauth/memstore"
)

// The server's keys are in its own store and rotate.
func Example() {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	cfg := oauth.Config{
		Issuer:      "https://example.com",
		Storage:     memstore.New(),
		Clients:     oauth.StaticClients(),
		Grants:      []oauth.Grant{grants.ClientCredentials{}},
		Secrets:     [][]byte{oauth.NewSecret()}, // keep it: the keys are sealed with it
		AccessToken: oauth.JWT{},
		Now:         func() time.Time { return now },
	}
	keys, err := keystore.New(cfg, keystore.Options{Algorithms: []string{"ES256", "EdDSA"}})
	if err != nil {
		log.Fatal(err)
	}
	cfg.Keys = keys
	if _, err := oauth.New(cfg); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if _, err := keys.Keys(ctx); err != nil { // at the start: is there a key, and can it be opened?
		log.Fatal(err)
	}

	now = now.Add(10 * 24 * time.Hour)
	if _, err := keys.Rotate(ctx); err != nil { // ahead of time, and nobody notices
		log.Fatal(err)
	}
	all, err := keys.List(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, k := range all {
		fmt.Println(k.Algorithm, k.State)
	}
	// Output:
	// ES256 signing
	// EdDSA signing
	// ES256 retired
	// EdDSA retired
}

// A key has leaked: it leaves the JWKS, its tokens are refused, and the next key,
// which every API knows already, signs.
func ExampleStore_Retire() {
	keys, err := keystore.New(oauth.Config{Issuer: "https://example.com", Storage: memstore.New(),
		Secrets: [][]byte{oauth.NewSecret()}}, keystore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	before, err := keys.Keys(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := keys.Retire(ctx, before[0].ID); err != nil {
		log.Fatal(err)
	}
	after, err := keys.Keys(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(after[0].ID == before[1].ID)
	fmt.Println(errors.Is(keys.Retire(ctx, before[0].ID), oauth.ErrNotFound))
	// Output:
	// true
	// true
}

// A key that is not in memory, as that of a KMS or an HSM, needs no package
// keystore: it is a crypto.Signer and goes to oauth.StaticKeys. While it is
// replaced, the list has both, the one that signs first.
func Example_kms() {
	service := newKMS()
	defer service.Close()
	srv, err := oauth.New(oauth.Config{
		Issuer:  "https://example.com",
		Storage: memstore.New(),
		Clients: oauth.StaticClients(oauth.Client{ID: "job", Secrets: []string{oauth.HashSecret("a-secret-of-the-job")},
			Grants: []string{"client_credentials"}, Scopes: []string{"read"}}),
		Grants:      []oauth.Grant{grants.ClientCredentials{}},
		Secrets:     [][]byte{oauth.NewSecret()},
		Scopes:      []oauth.Scope{{Name: "read"}},
		AccessToken: oauth.JWT{},
		Keys:        oauth.StaticKeys(oauth.Key{ID: "kms-1", Signer: remoteKey{service.URL, service.public}}),
	})
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest("POST", "https://example.com/oauth/token", bytes.NewBufferString("grant_type=client_credentials&scope=read"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("job", "a-secret-of-the-job")
	w := httptest.NewRecorder()
	srv.TokenHandler().ServeHTTP(w, r)
	fmt.Println(w.Code, "signatures made by the service:", service.signatures)

	service.Close() // nothing is lost when it is down: the client tries again
	r.Body = io.NopCloser(bytes.NewBufferString("grant_type=client_credentials&scope=read"))
	w = httptest.NewRecorder()
	srv.TokenHandler().ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output:
	// 200 signatures made by the service: 1
	// 503
}

// kms is a service that signs and gives no private key out.
type kms struct {
	*httptest.Server
	public     crypto.PublicKey
	signatures int
}

func newKMS() *kms {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	k := &kms{public: private.Public()}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		digest, err := io.ReadAll(r.Body)
		if err != nil {
			log.Fatal(err)
		}
		signature, err := private.Sign(rand.Reader, digest, crypto.SHA256)
		if err != nil {
			log.Fatal(err)
		}
		k.signatures++
		_, _ = w.Write(signature)
	}))
	return k
}

// remoteKey is a crypto.Signer whose private part is in a kms.
type remoteKey struct {
	url    string
	public crypto.PublicKey
}

func (k remoteKey) Public() crypto.PublicKey { return k.public }

func (k remoteKey) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	answer, err := http.Post(k.url, "application/octet-stream", bytes.NewReader(digest))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}
