package keystore

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/grantwell/oauth"
)

// A chain is the keys of one algorithm, one record. A chain that others can see
// is never changed, only a clone of it.
type chain struct {
	alg      string
	rec      oauth.Record // as it is stored; version 0: not yet
	keys     []key        // in the order in which they sign; one at least has its private part
	head     [headSize]byte
	sealedBy byte     // key id of the secret
	written  int64    // Unix milliseconds
	rest     []member // of another version of this library
}

// A key is one key of a chain. Times are Unix milliseconds.
type key struct {
	id      string // its thumbprint (RFC 7638)
	created int64  // published from then on
	signs   int64  // from then on, until the next one does
	until   int64  // published until then; 0: the key has no successor yet
	public  crypto.PublicKey
	private crypto.Signer // nil: erased
	sealed  []byte        // the private part as it is stored; nil: not yet, or erased
	rest    []member      // of another version of this library
}

// String leaves the private part out.
func (k key) String() string { return "key " + k.id }

// GoString is String, for the format %#v.
func (k key) GoString() string { return k.String() }

const (
	eraseAfter  = 5 * time.Minute // the private part, once the next key signs: clocks differ
	resealAfter = time.Hour       // the last write: processes in a rollout do not outdo each other
	maxKeys     = 32              // of one algorithm, those made by hand included
)

func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// clone is a chain that may be changed.
func (c *chain) clone() *chain {
	n := *c
	n.keys = slices.Clone(c.keys)
	return &n
}

// signer is the index of the key that signs: the last one whose time has come. A
// clock that lags behind the one that made the first key takes that one.
func (c *chain) signer(now int64) int {
	first := -1
	for i := len(c.keys) - 1; i >= 0; i-- {
		if c.keys[i].private == nil {
			continue
		}
		if c.keys[i].signs <= now {
			return i
		}
		first = i
	}
	return first
}

// forgotten reports whether the key at i is not published any more.
func (c *chain) forgotten(i int, now int64) bool {
	k := &c.keys[i]
	return i < c.signer(now) && k.until != 0 && k.until <= now
}

// forget removes what is not published any more. It is no reason to write.
func (c *chain) forget(now int64) {
	var kept []key
	for i, k := range c.keys {
		if !c.forgotten(i, now) {
			kept = append(kept, k)
		}
	}
	c.keys = kept
}

// tend does what is due: the first key, or the next one, of which there always is
// one; the times that follow from the Options; and erasing what has no use. It
// reports whether there was anything.
func (c *chain) tend(now int64, o Options, fresh func() (*key, error)) (changed bool, err error) {
	if len(c.keys) == 0 {
		return true, c.add(now, now, fresh)
	}
	c.forget(now)
	at := c.signer(now)
	for i := range c.keys[:at] {
		if c.keys[i].private != nil && c.keys[i+1].signs+eraseAfter.Milliseconds() <= now {
			c.keys[i].private, c.keys[i].sealed = nil, nil
			changed = true
		}
	}
	due := c.keys[at].signs + o.RotateEvery.Milliseconds()
	if at == len(c.keys)-1 {
		if err := c.add(now, max(due, now+o.PublishFor.Milliseconds()), fresh); err != nil {
			if changed {
				return true, nil // what is erased is written first; the next look says why there is no next key
			}
			return false, err
		}
		c.handOver(at, o)
		return true, nil
	}
	next := &c.keys[at+1]
	if due = max(due, now, next.created+o.PublishFor.Milliseconds()); due < next.signs {
		next.signs = due // RotateEvery was lowered
		c.handOver(at, o)
		return true, nil
	}
	if c.keys[at].until < next.signs+o.grace().Milliseconds() {
		c.handOver(at, o) // TokenLifetime was raised
		return true, nil
	}
	return changed, nil
}

// rotate lets the next key sign: at once if it is published long enough, else as
// soon as it is; if forced, at once whatever is published.
func (c *chain) rotate(now int64, o Options, forced bool, fresh func() (*key, error)) error {
	if len(c.keys) == 0 {
		return c.add(now, now, fresh)
	}
	c.forget(now)
	at := c.signer(now)
	if at == len(c.keys)-1 {
		if err := c.add(now, now, fresh); err != nil {
			return err
		}
	}
	next := &c.keys[at+1]
	next.signs = now
	if !forced {
		next.signs = max(now, next.created+o.PublishFor.Milliseconds())
	}
	c.handOver(at, o)
	return nil
}

// retire removes a key. If it was the one that signs, the next one signs at once,
// a new one if there is none.
func (c *chain) retire(id string, now int64, fresh func() (*key, error)) error {
	c.forget(now)
	i := slices.IndexFunc(c.keys, func(k key) bool { return k.id == id })
	if i < 0 {
		return oauth.ErrNotFound
	}
	at := c.signer(now)
	c.keys = slices.Delete(c.keys, i, i+1)
	switch {
	case i == at && i < len(c.keys):
		c.keys[i].signs = now
	case i == at:
		return c.add(now, now, fresh)
	case i > at && i == len(c.keys):
		c.keys[i-1].until = 0 // not always the one at: a clock that is ahead has made two
	}
	return nil
}

var errTooMany = fmt.Errorf("keystore: more than %d keys of one algorithm: wait until some are forgotten, or retire some", maxKeys)

// add puts a new key at the end.
func (c *chain) add(now, signs int64, fresh func() (*key, error)) error {
	if len(c.keys) >= maxKeys {
		return errTooMany
	}
	k, err := fresh()
	if err != nil {
		return err
	}
	added := *k
	added.created, added.signs = now, signs
	c.keys = append(c.keys, added)
	return nil
}

// handOver says when the key at i may be forgotten: after its successor signs.
func (c *chain) handOver(i int, o Options) {
	c.keys[i].until = c.keys[i+1].signs + o.grace().Milliseconds()
}

// listing is the order of Keys, and when it changes next; zero: it does not.
func listing(chains []*chain, now time.Time) (keys []oauth.Key, until time.Time) {
	ms, change := millis(now), int64(0)
	soonest := func(t int64) {
		if t > ms && (change == 0 || t < change) {
			change = t
		}
	}
	var next, retired []oauth.Key
	for _, c := range chains {
		at := c.signer(ms)
		for i, k := range c.keys {
			soonest(k.signs)
			soonest(k.until)
			p := oauth.Key{ID: k.id, Algorithm: c.alg, Signer: silent{k.public}}
			switch {
			case i == at:
				p.Signer = k.private
				keys = append(keys, p)
			case i > at:
				next = append(next, p)
			case !c.forgotten(i, ms):
				retired = append(retired, p)
			}
		}
	}
	keys = append(append(keys, next...), retired...)
	if change != 0 {
		until = fromMillis(change)
	}
	return keys, until
}

// silent is a key that verifies and does not sign.
type silent struct{ public crypto.PublicKey }

func (s silent) Public() crypto.PublicKey { return s.public }

func (silent) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("keystore: this key does not sign now")
}
