package oauth

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/grantwell/oauth/internal/jose"
)

// A Key signs JWTs. Its private part may be elsewhere: any [crypto.Signer] does,
// one of a KMS or an HSM too.
type Key struct {
	// ID is the kid. Zero: the key's thumbprint (RFC 7638); "-": the key has none.
	ID string
	// Algorithm is ES256, ES384, RS256, PS256 or EdDSA. Zero: what fits the key
	// (ES256 for P-256, ES384 for P-384, RS256 for RSA, EdDSA for Ed25519).
	Algorithm string
	Signer    crypto.Signer `json:"-"`
}

// String and GoString leave the private part out.
func (k Key) String() string { return fmt.Sprintf("oauth.Key(%q)", k.ID) }

// GoString is String, for the format %#v.
func (k Key) GoString() string { return k.String() }

// A KeySource has the keys of the server. The first signs; all are published
// and verify.
type KeySource interface {
	// Keys is asked for every signature, every JWT and the JWKS; it answers from memory,
	// with a slice that nobody changes afterwards. The same slice again costs the
	// server nothing.
	Keys(ctx context.Context) ([]Key, error)
}

// StaticKeys is a KeySource of keys that do not change. [New] checks them.
func StaticKeys(keys ...Key) KeySource { return staticKeys(slices.Clone(keys)) }

type staticKeys []Key

func (k staticKeys) Keys(context.Context) ([]Key, error) { return k, nil }

// joseKey completes a key.
func (k Key) joseKey() (jose.Key, error) {
	if k.Signer == nil {
		return jose.Key{}, errors.New("has no Signer")
	}
	j := jose.Key{ID: k.ID, Algorithm: k.Algorithm, Signer: k.Signer}
	var err error
	if j.Algorithm == "" {
		if j.Algorithm, err = jose.Algorithm(k.Signer.Public()); err != nil {
			return j, err
		}
	}
	switch j.ID {
	case "-":
		j.ID = ""
	case "":
		if j.ID, err = jose.Thumbprint(k.Signer.Public()); err != nil {
			return j, err
		}
	}
	return j, jose.Check(j)
}

// keys are the keys of the KeySource; none if there is no KeySource.
func (s *Server) keys(ctx context.Context) ([]jose.Key, error) {
	if s.cfg.Keys == nil {
		return nil, nil
	}
	if s.staticKeys != nil {
		return s.staticKeys, nil
	}
	keys, err := s.cfg.Keys.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("key source: %w", err)
	}
	return s.completed.of(keys)
}

// completedKeys are the keys of the last slice that a KeySource gave out, completed.
type completedKeys struct {
	last atomic.Pointer[struct {
		from []Key
		keys []jose.Key
	}]
}

func (c *completedKeys) of(keys []Key) ([]jose.Key, error) {
	if l := c.last.Load(); l != nil && len(keys) > 0 && len(l.from) == len(keys) && &l.from[0] == &keys[0] {
		return l.keys, nil
	}
	all, err := joseKeys(keys)
	if err != nil {
		return nil, err
	}
	c.last.Store(&struct {
		from []Key
		keys []jose.Key
	}{keys, all})
	return all, nil
}

func joseKeys(keys []Key) ([]jose.Key, error) {
	if len(keys) == 0 {
		return nil, errors.New("key source: no key")
	}
	all := make([]jose.Key, len(keys))
	for i, k := range keys {
		j, err := k.joseKey()
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		if slices.ContainsFunc(all[:i], func(o jose.Key) bool { return o.ID == j.ID && j.ID != "" }) {
			return nil, fmt.Errorf("key %d: has the ID of another", i)
		}
		all[i] = j
	}
	return all, nil
}
