package keystore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/grantwell/oauth"
)

// A State says what a key does.
type State string

// The states of a key, in the order of its life.
const (
	Next    State = "next"    // published, does not sign yet
	Signing State = "signing" // signs
	Retired State = "retired" // published until its last token has expired
)

// A Key is what an operator sees of a key.
type Key struct {
	ID        string // the kid
	Algorithm string
	State     State
	Created   time.Time // in the JWKS from then on
	Signs     time.Time // from then on, until the next one does
	Until     time.Time // in the JWKS until then; zero: its end is not known yet
}

// List returns all keys, past the cache: in the order of [Store.Keys]. It changes
// nothing, not even where the first key is missing.
func (s *Store) List(ctx context.Context) ([]Key, error) {
	now := millis(s.now())
	var all []Key
	for _, alg := range s.options.Algorithms {
		c, err := s.get(ctx, alg, nil)
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue
		}
		at := c.signer(now)
		for i, k := range c.keys {
			if c.forgotten(i, now) {
				continue
			}
			status := Key{ID: k.id, Algorithm: alg, State: Retired, Created: fromMillis(k.created), Signs: fromMillis(k.signs)}
			switch {
			case i == at:
				status.State = Signing
			case i > at:
				status.State = Next
			}
			if k.until != 0 {
				status.Until = fromMillis(k.until)
			}
			all = append(all, status)
		}
	}
	order := []State{Signing, Next, Retired}
	slices.SortStableFunc(all, func(a, b Key) int {
		return cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State))
	})
	return all, nil
}

// Rotate replaces the keys that sign, of every algorithm, ahead of time and
// without anyone noticing: by the next key at once if it has been published for
// PublishFor, which it mostly has, else as soon as it has. It returns when the
// last of them signs. No token is refused for it. Other processes follow within
// CacheFor.
func (s *Store) Rotate(ctx context.Context) (time.Time, error) { return s.rotate(ctx, false) }

// RotateNow is Rotate without waiting: the next key signs at once. Where it has
// not been published for PublishFor, an API that has an older JWKS in its cache,
// and does not look again when it meets a new key, refuses new tokens until that
// expires; and so may other processes for CacheFor. The old keys stay published;
// to have their tokens refused, retire them.
func (s *Store) RotateNow(ctx context.Context) error {
	_, err := s.rotate(ctx, true)
	return err
}

func (s *Store) rotate(ctx context.Context, forced bool) (at time.Time, err error) {
	var errs []error
	for _, alg := range s.options.Algorithms {
		c, err := s.get(ctx, alg, nil)
		if err == nil {
			fresh := s.fresh(alg)
			c, err = s.change(ctx, alg, c, func(c *chain, now int64) (bool, error) {
				return true, c.rotate(now, s.options, forced, fresh)
			})
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.adopt(c)
		if signs := fromMillis(c.keys[len(c.keys)-1].signs); signs.After(at) {
			at = signs
		}
	}
	return at, errors.Join(errs...)
}

// Retire ends a key, after a leak: it leaves the JWKS, and here its tokens are
// refused at once. If it was the one that signs, the next one does, as with
// RotateNow. Other processes of the server follow within CacheFor (while the store
// does not answer them: when they give up the keys in memory, see [Store.Keys]),
// and what they have signed meanwhile is refused; an API in another process follows
// when its copy of the JWKS expires. The error is [oauth.ErrNotFound] if there is
// no such key, or not any more.
func (s *Store) Retire(ctx context.Context, kid string) error {
	var errs []error
	for _, alg := range s.options.Algorithms {
		c, err := s.get(ctx, alg, nil)
		if c != nil {
			fresh := s.fresh(alg)
			c, err = s.change(ctx, alg, c, func(c *chain, now int64) (bool, error) {
				return true, c.retire(kid, now, fresh)
			})
			if err == nil {
				s.adopt(c)
				return nil
			}
		}
		if err != nil && !errors.Is(err, oauth.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return fmt.Errorf("keystore: key %.43q: %w", kid, oauth.ErrNotFound)
}
