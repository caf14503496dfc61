package oauthtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"sync"

	"github.com/grantwell/oauth"
)

// signingKeys are those of [JWTs].
type signingKeys struct {
	mu  sync.Mutex
	all []oauth.Key // the newest first
}

// Keys implements [oauth.KeySource].
func (k *signingKeys) Keys(context.Context) ([]oauth.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.all, nil
}

func (k *signingKeys) rotate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = slices.Insert(slices.Clone(k.all), 0, oauth.Key{Signer: key})
	return nil
}

// RotateKeys makes a new key, which signs from now on. Those before stay published, and
// what they signed stays good. The test fails if the server's keys are not those of
// [JWTs].
func (s *Server) RotateKeys() {
	s.t.Helper()
	keys, ok := s.Config.Keys.(*signingKeys)
	if !ok {
		s.t.Fatal("oauthtest: RotateKeys is for servers that were made with JWTs")
	}
	if err := keys.rotate(); err != nil {
		s.t.Fatalf("oauthtest: no new key: %v", err)
	}
}
