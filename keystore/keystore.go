package keystore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/internal/jose"
)

// Options say how keys are made and how long they are used. The zero Options are
// good for every server whose JWTs live a day at the most.
type Options struct {
	// Algorithms are those of the keys, ES256, ES384, EdDSA, RS256 and PS256 (both
	// with 3072 bits), the first the one that signs where none is named. Each has
	// keys of its own. Zero: ES256.
	Algorithms []string
	// RotateEvery is how long a key signs. Zero: 30 days; PublishFor to 366 days. A
	// longer one than before takes effect after the next rotation.
	RotateEvery time.Duration
	// PublishFor is how long a key is in the JWKS, at the least, before it signs:
	// longer than any API caches it, for not all of them look again when they meet a
	// new key. Zero: 24 h, twice the longest default of a library that is known; or
	// half of RotateEvery if that is less. At least 10 min, twice the max-age that
	// the JWKS is served with.
	PublishFor time.Duration
	// TokenLifetime is the longest life of any JWT of this server, of every Policy.
	// For so long a key is published after it has stopped signing; tokens that live
	// longer are refused early. Zero: 24 h; at most 366 days.
	TokenLifetime time.Duration
	// CacheFor is how long keys are remembered: for so long one that was retired by
	// another process is still good here. Zero: 1 min; 1 s to 5 min.
	CacheFor time.Duration
}

const (
	defaultRotate   = 30 * 24 * time.Hour
	defaultPublish  = 24 * time.Hour
	defaultLifetime = 24 * time.Hour
	defaultCache    = time.Minute

	maxRotate   = 366 * 24 * time.Hour
	minPublish  = 10 * time.Minute
	maxLifetime = 366 * 24 * time.Hour // as that of an access token
	maxCache    = 5 * time.Minute

	maxStale  = time.Hour       // how old the keys in memory get while the store is down
	skew      = time.Minute     // between the clocks of two processes
	retry     = 5 * time.Second // between two looks at a store that is down
	reuse     = time.Minute     // how long a first key that could not be written is tried again
	slip      = time.Second     // between two requests that took the time and then met here
	published = 28              // keys that one algorithm may have in the JWKS by its own rhythm
)

// complete puts the defaults in and says what is wrong.
func (o Options) complete(fault func(format string, args ...any)) Options {
	o.Algorithms = slices.Clone(o.Algorithms)
	if len(o.Algorithms) == 0 {
		o.Algorithms = []string{es256}
	}
	for i, alg := range o.Algorithms {
		if !known(alg) {
			fault("Options.Algorithms[%d] is %q: it is ES256, ES384, EdDSA, RS256 or PS256", i, alg)
		}
		if slices.Contains(o.Algorithms[:i], alg) {
			fault("Options.Algorithms[%d]: %q is there twice", i, alg)
		}
	}
	zero := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	zero(&o.RotateEvery, defaultRotate)
	zero(&o.PublishFor, min(defaultPublish, max(o.RotateEvery/2, minPublish)))
	zero(&o.TokenLifetime, defaultLifetime)
	zero(&o.CacheFor, defaultCache)
	for _, d := range [...]struct {
		name            string
		value, from, to time.Duration
	}{
		{"PublishFor", o.PublishFor, minPublish, maxRotate},
		{"RotateEvery", o.RotateEvery, max(o.PublishFor, minPublish), maxRotate},
		{"TokenLifetime", o.TokenLifetime, time.Second, maxLifetime},
		{"CacheFor", o.CacheFor, time.Second, maxCache},
	} {
		if d.value < d.from || d.value > d.to {
			fault("Options.%s is %v: it is %v to %v", d.name, d.value, d.from, d.to)
		}
	}
	if o.RotateEvery <= 0 {
		return o
	}
	old := int(o.grace() / o.RotateEvery)
	if old >= published {
		fault("Options.RotateEvery is %v: with a TokenLifetime of %v more than %d keys would be published", o.RotateEvery, o.TokenLifetime, published)
	}
	// One that is about to be forgotten, the one that signs and the next one come on top.
	if all := len(o.Algorithms) * (old + 3); old < published && all > jose.MaxKeys {
		fault("Options.RotateEvery is %v: with a TokenLifetime of %v and %d Algorithms %d keys would be published, and resource.JWT takes no more than %d",
			o.RotateEvery, o.TokenLifetime, len(o.Algorithms), all, jose.MaxKeys)
	}
	return o
}

// stale is how old the keys in memory may be while the store is down. A JWKS
// that old, cached for its max-age, still has every key that signs.
func (o Options) stale() time.Duration { return min(maxStale, o.PublishFor/2) }

// grace is how long a key is published after its successor signs: a process with
// old keys in memory signs with it a while longer, and then the token lives.
func (o Options) grace() time.Duration { return o.TokenLifetime + o.stale() + skew }

// A Store is an [oauth.KeySource] whose keys are in an [oauth.Storage] and
// rotate. Make one with [New]; it is safe for concurrent use.
type Store struct {
	issuer   string
	realm    string
	storage  oauth.Storage
	ring     *derive.Ring
	options  Options
	log      *slog.Logger
	now      func() time.Time
	generate func(algorithm string) (*key, error)

	answer atomic.Pointer[answer] // of Keys, while nothing has to be looked at

	mu      sync.Mutex
	chains  []*chain // by algorithm, in their order; nil: nothing was read yet
	loaded  time.Time
	tried   time.Time         // when the store last failed
	flight  *flight           // nil where nobody is reading
	unused  map[string]unused // first keys that could not be written, by algorithm
	changes int               // made by this process: what was read before one is not remembered after it
}

// New makes the Store of the server that is made of the same Config: of it
// Issuer, Realm, Storage, Secrets, Logger and Now are used, which must be set
// before. A program that only calls Rotate, Retire or List needs no others. The
// Logger is told what goes wrong without a request failing. The error names
// everything that is wrong. The storage is not asked before [Store.Keys] is called.
func New(cfg oauth.Config, o Options) (*Store, error) {
	s := &Store{issuer: cfg.Issuer, realm: cfg.Realm, storage: cfg.Storage, log: cfg.Logger, now: cfg.Now, generate: generate,
		unused: map[string]unused{}}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("keystore: "+format, args...))
	}
	if cfg.Issuer == "" {
		fault("Config.Issuer is missing")
	}
	if cfg.Storage == nil {
		fault("Config.Storage is missing")
	}
	var err error
	if s.ring, err = derive.NewRing(cfg.Issuer, cfg.Realm, cfg.Secrets); err != nil {
		fault("Config.Secrets: %w", err)
	}
	s.options = o.complete(fault)
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return s, nil
}

// String names the issuer and nothing secret, and so do GoString and LogValue.
func (s *Store) String() string { return fmt.Sprintf("keystore.Store(%q)", s.issuer) }

// GoString is String, for the format %#v.
func (s *Store) GoString() string { return s.String() }

// LogValue implements [slog.LogValuer].
func (s *Store) LogValue() slog.Value { return slog.StringValue(s.String()) }

// An answer is what Keys says from one moment to another.
type answer struct {
	keys        []oauth.Key
	from, until time.Time
}

// unused is a key that is not in the store.
type unused struct {
	key  *key
	made int64 // Unix milliseconds
}

// A flight is one reading of the store, for which others may wait.
type flight struct {
	done chan struct{}
	err  error
}

// Keys implements [oauth.KeySource]. The key that signs is first, that of the
// first algorithm; those that sign with the other algorithms follow, then the
// next ones, then those that have retired. Only keys that sign have a Signer that
// can. The slice is not to be changed.
//
// It answers from memory, and reads the store when that is older than CacheFor;
// while the store is down the keys in memory are good for an hour, or half of
// PublishFor if that is less, then it is an error.
func (s *Store) Keys(ctx context.Context) ([]oauth.Key, error) {
	for {
		now := s.now()
		if a := s.answer.Load(); a != nil && !now.Before(a.from) && now.Before(a.until) {
			return a.keys, nil
		}
		keys, f, first := s.remembered(now)
		switch {
		case first:
			err := s.fly(ctx, f)
			if err != nil && keys == nil {
				return nil, err
			}
			if err != nil {
				s.log.WarnContext(ctx, "keystore: the keys could not be read, the ones in memory are used", "error", err)
				return keys, nil
			}
			// What was read is the answer, however long reading took.
			if keys := s.read(); keys != nil {
				return keys, nil
			}
		case keys != nil:
			return keys, nil
		default:
			select {
			case <-f.done:
				if f.err != nil {
					return nil, f.err
				}
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
}

// remembered returns the keys in memory, nil if they are too old, and the flight
// that is to bring new ones: first means that the caller has to fly it.
func (s *Store) remembered(now time.Time) (keys []oauth.Key, f *flight, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := now.Sub(s.loaded)
	usable := s.chains != nil && age > -s.options.stale() && age < s.options.stale()
	if usable {
		keys = s.publish(now)
		if age > -slip && age < s.options.CacheFor || s.flight == nil && s.resting(now) {
			return keys, nil, false
		}
	}
	if s.flight != nil {
		return keys, s.flight, false
	}
	s.flight = &flight{done: make(chan struct{})}
	return keys, s.flight, true
}

// read returns the keys in memory, however old.
func (s *Store) read() []oauth.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chains == nil {
		return nil
	}
	return s.publish(s.now())
}

// fly reads the store for everybody: the request of the caller may end meanwhile.
func (s *Store) fly(ctx context.Context, f *flight) (err error) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.flight = nil; f.err != nil {
			s.tried = s.now()
		}
		close(f.done)
	}()
	f.err = s.load(context.WithoutCancel(ctx))
	return f.err
}

// load reads all keys, makes what is missing, and then sees to what is due. What
// is missing is an error if it cannot be made; what is due is tried again later.
func (s *Store) load(ctx context.Context) error {
	s.mu.Lock()
	began, changes, old := s.now(), s.changes, s.chains
	s.mu.Unlock()
	chains := make([]*chain, len(s.options.Algorithms))
	for i, alg := range s.options.Algorithms {
		var before *chain
		if old != nil {
			before = old[i]
		}
		c, err := s.get(ctx, alg, before)
		if err == nil && c == nil {
			if before != nil {
				s.log.WarnContext(ctx, "keystore: the keys are gone from the store, new ones are made", "algorithm", alg)
			}
			c, err = s.change(ctx, alg, nil, s.first(alg))
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		delete(s.unused, alg)
		s.mu.Unlock()
		chains[i] = c
	}
	s.remember(chains, began, changes)
	tended := slices.Clone(chains)
	for i, c := range chains {
		now, err := s.change(ctx, c.alg, c, s.tend(c.alg))
		if err != nil {
			s.log.WarnContext(ctx, "keystore: what is due could not be done, it is tried again", "algorithm", c.alg, "error", err)
			continue
		}
		tended[i] = now
	}
	s.remember(tended, began, changes)
	return nil
}

// remember keeps what was read, unless this process has changed it since.
func (s *Store) remember(chains []*chain, began time.Time, changes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes != changes {
		return
	}
	s.chains, s.loaded = chains, began
	s.publish(s.now())
}

// adopt keeps one chain that this process has changed.
func (s *Store) adopt(c *chain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	if s.chains == nil {
		return
	}
	s.chains = slices.Clone(s.chains)
	s.chains[slices.Index(s.options.Algorithms, c.alg)] = c
	s.publish(s.now())
}

// publish works out what Keys answers, and for how long it stands. s.mu is held.
func (s *Store) publish(now time.Time) []oauth.Key {
	keys, until := listing(s.chains, now)
	end := s.loaded.Add(s.options.CacheFor)
	if s.flight == nil && s.resting(now) {
		end = s.tried.Add(min(retry, s.options.stale()-s.tried.Sub(s.loaded)))
	}
	if until.IsZero() || end.Before(until) {
		until = end
	}
	if now.Before(s.loaded.Add(-slip)) {
		until = now // the clock was set back
	}
	s.answer.Store(&answer{keys: keys, from: now.Add(-slip), until: until})
	return keys
}

// resting reports whether the store has failed a moment ago. s.mu is held.
func (s *Store) resting(now time.Time) bool {
	wait := now.Sub(s.tried)
	return wait >= 0 && wait < retry
}
