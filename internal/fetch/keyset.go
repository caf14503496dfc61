package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/grantwell/oauth/internal/jose"
)

// The times of a key set. A key that its owner has withdrawn is believed here until the set is loaded again: at most keysFresh, and
// at most KeysStale while the owner cannot be reached. That is longer than the access tokens of this library live: after it all that
// could still be verified is what a withdrawn key signed.
const (
	keysLeast = time.Minute      // even if the owner forbids to keep them: S300
	keysUsual = 5 * time.Minute  // where the owner says nothing
	keysMost  = 15 * time.Minute // whatever the owner says
	KeysStale = time.Hour
	keysPause = 10 * time.Second // between two loads for keys that are not in the set, or after a failure: S301
	keysLimit = 10 * time.Second
)

// A KeySet verifies tokens with the keys at a URL (RFC 7517, section 5). It loads them when the first token comes, keeps them, and
// loads them again when they are old, or when a token names a key that is not among them. It is safe for concurrent use.
type KeySet struct {
	client   *Client
	try      func(ctx context.Context, do func(uri string) error) error // do, where the keys are
	rules    jose.Rules
	now      func() time.Time
	document Document[[]jose.Key]
}

// NewKeySet returns one that nothing was loaded for yet. uri finds where the keys are, and may ask others for that; rules say
// which tokens are looked at.
func NewKeySet(client *Client, uri func(context.Context) (string, error), rules jose.Rules, now func() time.Time) *KeySet {
	return newKeySet(client, func(ctx context.Context, do func(string) error) error {
		at, err := uri(ctx)
		if err != nil {
			return err
		}
		return do(at)
	}, rules, now)
}

// NewKeySetAt is NewKeySet for the keys of an issuer, which may move them: see [Place.Try].
func NewKeySetAt(client *Client, place *Place, rules jose.Rules, now func() time.Time) *KeySet {
	return newKeySet(client, place.Try, rules, now)
}

func newKeySet(client *Client, try func(context.Context, func(string) error) error, rules jose.Rules, now func() time.Time) *KeySet {
	k := &KeySet{client: client, try: try, rules: rules, now: now}
	k.document = Document[[]jose.Key]{Load: k.load, Stale: KeysStale, Pause: keysPause, Limit: keysLimit}
	return k
}

// Verify is [jose.Rules.Verify] with the keys there are: the refusal of a token is a [jose.ErrInvalid], any other error says that
// the keys could not be had. A token that no key could verify is refused without a look at the keys.
func (k *KeySet) Verify(ctx context.Context, token string) ([]byte, error) {
	s := k.document.snapshot()
	keys, serial := s.value, s.serial
	if !s.usable(k.now(), s.keep, 0) {
		_, err := k.rules.Verify(token, nil)
		if !errors.Is(err, jose.ErrUnknownKey) {
			return nil, err
		}
		if keys, serial, err = k.document.Get(ctx, k.now, 0); err != nil {
			return nil, err
		}
	}
	payload, refused := k.rules.Verify(token, keys)
	if !errors.Is(refused, jose.ErrUnknownKey) {
		return payload, refused
	}
	keys, newer, err := k.document.Get(ctx, k.now, serial)
	if err != nil {
		return nil, err
	}
	if newer == serial {
		return nil, refused
	}
	return k.rules.Verify(token, keys)
}

func (k *KeySet) load(ctx context.Context) (keys []jose.Key, keep time.Duration, err error) {
	err = k.try(ctx, func(uri string) (err error) {
		keys, keep, err = k.loadFrom(ctx, uri)
		return err
	})
	return keys, keep, err
}

func (k *KeySet) loadFrom(ctx context.Context, uri string) ([]jose.Key, time.Duration, error) {
	a, err := k.client.Get(ctx, uri, "application/jwk-set+json, application/json")
	if err != nil {
		return nil, 0, fmt.Errorf("key set: %w", err)
	}
	if a.Status != http.StatusOK || !a.Is("application/jwk-set+json", "application/json") {
		return nil, 0, fmt.Errorf("key set: the answer is not a JSON document, status %d", a.Status)
	}
	keys, err := jose.ParseJWKS(a.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("key set: %w", err)
	}
	return keys, a.Keep(keysLeast, keysUsual, keysMost), nil
}
