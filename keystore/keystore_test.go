package keystore_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/jose"
	"github.com/grantwell/oauth/keystore"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/oauthtest"
)

const (
	issuer = "https://as.example"
	day    = 24 * time.Hour
)

var began = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func secret(n byte) []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = n + byte(i)
	}
	return b
}

// A world is one store and one clock, on which any number of processes run.
type world struct {
	t     *testing.T
	clock *oauthtest.Clock
	store *oauthtest.Faulty
}

func newWorld(t *testing.T) *world {
	return &world{t: t, clock: oauthtest.NewClock(began), store: oauthtest.NewFaulty(memstore.New())}
}

func (w *world) config(secrets ...[]byte) oauth.Config {
	if len(secrets) == 0 {
		secrets = [][]byte{secret(0)}
	}
	return oauth.Config{Issuer: issuer, Storage: w.store, Secrets: secrets, Now: w.clock.Now}
}

// process starts one.
func (w *world) process(o keystore.Options, secrets ...[]byte) *keystore.Store {
	w.t.Helper()
	s, err := keystore.New(w.config(secrets...), o)
	require.NoError(w.t, err)
	return s
}

func keysOf(t testing.TB, s *keystore.Store) []oauth.Key {
	t.Helper()
	keys, err := s.Keys(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	return keys
}

func idsOf(keys []oauth.Key) []string {
	var all []string
	for _, k := range keys {
		all = append(all, k.ID)
	}
	return all
}

func listOf(t testing.TB, s *keystore.Store) []keystore.Key {
	t.Helper()
	all, err := s.List(t.Context())
	require.NoError(t, err)
	return all
}

func states(all []keystore.Key) string {
	var text []string
	for _, k := range all {
		text = append(text, k.Algorithm+" "+string(k.State))
	}
	return strings.Join(text, ", ")
}

// signs reports whether the key makes signatures that verify.
func signs(t testing.TB, k oauth.Key) bool {
	t.Helper()
	j := jose.Key{ID: k.ID, Algorithm: k.Algorithm, Signer: k.Signer}
	require.NoError(t, jose.Check(j))
	token, err := jose.Sign(j, "at+jwt", []byte(`{}`))
	if err != nil {
		return false
	}
	_, err = jose.Verify(token, "at+jwt", []jose.Key{j})
	require.NoError(t, err)
	return true
}

func TestNew(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		edit func(*oauth.Config, *keystore.Options)
		want []string // parts of the error; none: there is no error
	}{
		{"zero Options", func(*oauth.Config, *keystore.Options) {}, nil},
		{"everything at once", func(c *oauth.Config, o *keystore.Options) {
			*c = oauth.Config{Secrets: [][]byte{[]byte("too-short")}}
			*o = keystore.Options{Algorithms: []string{"HS256"}, CacheFor: -1}
		}, []string{"Issuer is missing", "Storage is missing", "Secrets: secret 0: 9 bytes", `Algorithms[0] is "HS256"`, "CacheFor is -1ns: it is 1s to 5m0s"}},
		{"no secret", func(c *oauth.Config, _ *keystore.Options) { c.Secrets = nil }, []string{"no secret"}},
		{"RFC 8725 3.2 none", func(_ *oauth.Config, o *keystore.Options) { o.Algorithms = []string{"none"} }, []string{"Algorithms[0]"}},
		{"an algorithm twice", func(_ *oauth.Config, o *keystore.Options) { o.Algorithms = []string{"ES256", "EdDSA", "ES256"} }, []string{"Algorithms[2]"}},
		{"hourly", func(_ *oauth.Config, o *keystore.Options) { o.RotateEvery = time.Hour }, nil},
		{"S378 published for less than a JWKS is cached", func(_ *oauth.Config, o *keystore.Options) { o.PublishFor = 10*time.Minute - 1 }, []string{"PublishFor"}},
		{"published for just that", func(_ *oauth.Config, o *keystore.Options) { o.PublishFor = 10 * time.Minute }, nil},
		{"rotated before it was published", func(_ *oauth.Config, o *keystore.Options) { o.RotateEvery, o.PublishFor = day-1, day }, []string{"RotateEvery"}},
		{"rotated when it was published", func(_ *oauth.Config, o *keystore.Options) { o.RotateEvery, o.PublishFor = day, day }, nil},
		{"rotated too fast", func(_ *oauth.Config, o *keystore.Options) { o.RotateEvery = time.Minute }, []string{"RotateEvery"}},
		{"negative", func(_ *oauth.Config, o *keystore.Options) {
			o.RotateEvery, o.PublishFor, o.TokenLifetime = -1, -1, -1
		}, []string{"RotateEvery", "PublishFor", "TokenLifetime"}},
		{"for ever", func(_ *oauth.Config, o *keystore.Options) { o.RotateEvery, o.TokenLifetime = 367*day, 367*day }, []string{"RotateEvery", "TokenLifetime"}},
		{"too many keys at once", func(_ *oauth.Config, o *keystore.Options) { o.RotateEvery, o.TokenLifetime = day, 100*day }, []string{"more than 28 keys"}},
		{"too many keys of all algorithms", func(_ *oauth.Config, o *keystore.Options) {
			o.RotateEvery, o.Algorithms = time.Hour, []string{"ES256", "ES384", "EdDSA", "PS256"}
		}, []string{"4 Algorithms 108 keys"}},
		{"nearly", func(_ *oauth.Config, o *keystore.Options) {
			o.RotateEvery, o.Algorithms = time.Hour, []string{"ES256", "ES384", "EdDSA"}
		}, nil},
		{"cached too long", func(_ *oauth.Config, o *keystore.Options) { o.CacheFor = 5*time.Minute + 1 }, []string{"CacheFor"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, o := w.config(), keystore.Options{}
			c.edit(&cfg, &o)
			s, err := keystore.New(cfg, o)
			if c.want == nil {
				require.NoError(t, err)
				keysOf(t, s)
				return
			}
			require.Error(t, err)
			for _, part := range c.want {
				assert.ErrorContains(t, err, part)
			}
			assert.NotContains(t, err.Error(), "too-short", "S366")
		})
	}
	assert.Empty(t, newWorld(t).store.Calls(), "New asks nothing")
}

func TestAlgorithms(t *testing.T) {
	w := newWorld(t)
	algorithms := []string{"EdDSA", "PS256", "ES256", "RS256", "ES384"}
	s := w.process(keystore.Options{Algorithms: algorithms})
	keys := keysOf(t, s)
	require.Len(t, keys, 10)
	for i, k := range keys {
		assert.Equal(t, algorithms[i%5], k.Algorithm)
		assert.Equal(t, i < 5, signs(t, k), "only the keys that sign can: %d", i)
	}
	assert.Len(t, slices.Compact(slices.Sorted(slices.Values(idsOf(keys)))), 10)
	pub := keys[1].Signer.Public().(*rsa.PublicKey)
	assert.Equal(t, 3072, pub.N.BitLen())

	t.Run("another process reads them", func(t *testing.T) {
		w.store.Reset()
		other := keysOf(t, w.process(keystore.Options{Algorithms: algorithms}))
		assert.Equal(t, idsOf(keys), idsOf(other))
		for _, k := range other[:5] {
			assert.True(t, signs(t, k), k.Algorithm)
		}
		assert.Equal(t, []string{"Get", "Get", "Get", "Get", "Get"}, w.store.Methods())
	})
	t.Run("S311 the JWKS has public members alone", func(t *testing.T) {
		var all []jose.Key
		for _, k := range keys {
			all = append(all, jose.Key{ID: k.ID, Algorithm: k.Algorithm, Signer: k.Signer})
		}
		text, err := jose.JWKS(all)
		require.NoError(t, err)
		var set struct{ Keys []map[string]string }
		require.NoError(t, json.Unmarshal(text, &set))
		for _, k := range set.Keys {
			for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
				assert.NotContains(t, k, name)
			}
		}
	})
}

// The order of Keys: those that sign, by algorithm; the next ones; the retired.
func TestOrder(t *testing.T) {
	w := newWorld(t)
	s := w.process(keystore.Options{Algorithms: []string{"ES256", "EdDSA"}, RotateEvery: 10 * day})
	first := idsOf(keysOf(t, s))
	require.Len(t, first, 4)
	w.clock.Advance(10*day - time.Millisecond)
	assert.Equal(t, first, idsOf(keysOf(t, s)))
	w.clock.Advance(time.Millisecond)
	assert.Equal(t, "ES256 signing, EdDSA signing, ES256 retired, EdDSA retired", states(listOf(t, s)), "List makes no key")
	w.clock.Advance(time.Minute)
	after := keysOf(t, s)
	require.Len(t, after, 6)
	assert.Equal(t, first[2:], idsOf(after)[:2])
	assert.Equal(t, first[:2], idsOf(after)[4:])
	for i, k := range after {
		assert.Equal(t, []string{"ES256", "EdDSA"}[i%2], k.Algorithm)
		assert.Equal(t, i < 2, signs(t, k), "only the keys that sign can: %d", i)
	}
	assert.Equal(t, "ES256 signing, EdDSA signing, ES256 next, EdDSA next, ES256 retired, EdDSA retired", states(listOf(t, s)))
	w.clock.Advance(9 * day)
	assert.Equal(t, "ES256 signing, EdDSA signing, ES256 next, EdDSA next", states(listOf(t, s)), "no key that is forgotten")
}

// A process keeps the keys in memory: one Get for each algorithm in CacheFor.
func TestMemory(t *testing.T) {
	w := newWorld(t)
	s := w.process(keystore.Options{Algorithms: []string{"ES256", "EdDSA"}})
	keysOf(t, s)
	w.store.Reset()
	for range 60 {
		for range 20 {
			keysOf(t, s)
		}
		w.clock.Advance(time.Second)
	}
	assert.Empty(t, w.store.Calls())
	keysOf(t, s)
	keysOf(t, s)
	assert.Equal(t, []string{"Get", "Get"}, w.store.Methods())

	t.Run("the clock set back", func(t *testing.T) {
		w.store.Reset()
		w.clock.Advance(-20 * time.Minute)
		keysOf(t, s)
		keysOf(t, s)
		assert.Equal(t, []string{"Get", "Get"}, w.store.Methods())
	})
	t.Run("the clock set back while the store is down", func(t *testing.T) {
		keysOf(t, s)
		w.store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
		w.clock.Advance(-20 * time.Minute)
		keysOf(t, s)
		w.store.Fail(nil)
		w.clock.Advance(6 * time.Second)
		w.store.Reset()
		keysOf(t, s)
		assert.Equal(t, []string{"Get", "Get"}, w.store.Methods())
	})
	t.Run("a hit allocates nothing", func(t *testing.T) {
		ctx := t.Context()
		assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Keys(ctx) }))
	})
}

func TestStoreDown(t *testing.T) {
	down := func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore }
	for _, c := range []struct {
		name    string
		options keystore.Options
		good    time.Duration // for so long the keys in memory are used
	}{
		{"an hour", keystore.Options{}, time.Hour},
		{"half of PublishFor", keystore.Options{RotateEvery: time.Hour, PublishFor: 20 * time.Minute, TokenLifetime: time.Minute}, 10 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			s := w.process(c.options)
			want := idsOf(keysOf(t, s))
			w.store.Fail(down)
			w.store.Reset()
			w.clock.Advance(c.good - time.Second)
			for range 50 {
				assert.Equal(t, want, idsOf(keysOf(t, s)))
			}
			assert.Len(t, w.store.Calls(), 1, "a store that is down is left alone for a while")
			w.clock.Advance(time.Second)
			_, err := s.Keys(t.Context())
			assert.ErrorIs(t, err, oauthtest.ErrFault)
			w.store.Fail(nil)
			assert.Equal(t, want, idsOf(keysOf(t, s)), "back at once")
		})
	}
	t.Run("nothing in memory", func(t *testing.T) {
		w := newWorld(t)
		w.store.Fail(down)
		s := w.process(keystore.Options{})
		_, err := s.Keys(t.Context())
		assert.ErrorIs(t, err, oauthtest.ErrFault)
		_, err = s.List(t.Context())
		assert.ErrorIs(t, err, oauthtest.ErrFault)
		_, err = s.Rotate(t.Context())
		assert.ErrorIs(t, err, oauthtest.ErrFault)
		assert.ErrorIs(t, s.Retire(t.Context(), "x"), oauthtest.ErrFault)
	})
	t.Run("what is due waits", func(t *testing.T) {
		w := newWorld(t)
		s := w.process(keystore.Options{})
		keys := idsOf(keysOf(t, s))
		w.store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
			if c.Method == "Update" {
				return oauthtest.FailBefore
			}
			return oauthtest.NoFault
		})
		w.clock.Advance(300 * day)
		assert.Equal(t, keys[1:], idsOf(keysOf(t, s)), "the last key signs until there is another")
		w.store.Fail(nil)
		w.clock.Advance(time.Minute)
		after := idsOf(keysOf(t, s))
		require.Len(t, after, 2)
		assert.Equal(t, keys[1], after[0])
		w.clock.Advance(day)
		assert.Equal(t, after[1], keysOf(t, s)[0].ID, "published for as long as any")
	})
}

// A store that has no keys and takes none: each request tries, with one key.
func TestStoreReadOnly(t *testing.T) {
	w := newWorld(t)
	s := w.process(keystore.Options{})
	var made []string
	s.Generate(func(string) (crypto.Signer, error) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err == nil {
			id, idErr := jose.Thumbprint(k.Public())
			made, err = append(made, id), idErr
		}
		return k, err
	})
	w.store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
		if c.Method == "Create" {
			return oauthtest.FailBefore
		}
		return oauthtest.NoFault
	})
	try := func() {
		_, err := s.Keys(t.Context())
		require.ErrorIs(t, err, oauthtest.ErrFault)
	}
	for range 10 {
		try()
		w.clock.Advance(6*time.Second - time.Millisecond)
	}
	assert.Len(t, made, 1)
	w.clock.Advance(time.Second)
	try()
	assert.Len(t, made, 2, "one that is a minute old is not used any more")
	w.store.Fail(nil)
	keys := idsOf(keysOf(t, s))
	assert.Len(t, made, 3, "the next one")
	assert.Equal(t, made[1:], keys)
}

// Many ask at once, one reads.
func TestSingleFlight(t *testing.T) {
	w := newWorld(t)
	s := w.process(keystore.Options{})
	var made atomic.Int32
	gate := make(chan struct{})
	s.Generate(func(string) (crypto.Signer, error) {
		<-gate
		made.Add(1)
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	})
	var done sync.WaitGroup
	ids := make([]string, 16)
	for i := range ids {
		done.Go(func() { ids[i] = keysOf(t, s)[0].ID })
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Eventually(t, func() bool { return len(w.store.Calls()) == 1 }, 10*time.Second, time.Millisecond)
	_, err := s.Keys(ended)
	assert.ErrorIs(t, err, context.Canceled, "who waits may give up")
	close(gate)
	done.Wait()
	assert.Len(t, slices.Compact(ids), 1)
	assert.EqualValues(t, 2, made.Load(), "the one that signs, and the next")
	assert.Equal(t, []string{"Get", "Create", "Update"}, w.store.Methods())

	t.Run("a failure is everybody's", func(t *testing.T) {
		w := newWorld(t)
		s := w.process(keystore.Options{})
		gate, own := make(chan struct{}), errors.New("no entropy")
		s.Generate(func(string) (crypto.Signer, error) { <-gate; return nil, own })
		var done sync.WaitGroup
		for range 4 {
			done.Go(func() {
				_, err := s.Keys(context.Background())
				assert.ErrorIs(t, err, own)
			})
		}
		close(gate)
		done.Wait()
	})
	t.Run("a client that hangs up does not stop it", func(t *testing.T) {
		s := newWorld(t).process(keystore.Options{})
		_, err := s.Keys(ended)
		assert.NoError(t, err)
	})
}

// While one request makes the next key, others sign with the one there is.
func TestSlowKeyHoldsNobodyUp(t *testing.T) {
	w := newWorld(t)
	s := w.process(keystore.Options{})
	keys := idsOf(keysOf(t, s))
	gate, entered := make(chan struct{}), make(chan struct{})
	s.Generate(func(string) (crypto.Signer, error) {
		close(entered)
		<-gate
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	})
	w.clock.Advance(30*day + time.Minute)
	var done sync.WaitGroup
	done.Go(func() { assert.Len(t, keysOf(t, s), 3) })
	<-entered
	want := []string{keys[1], keys[0]}
	for range 100 {
		assert.Equal(t, want, idsOf(keysOf(t, s)))
	}
	w.clock.Advance(2 * time.Minute) // older than CacheFor, and still nobody waits
	for range 100 {
		assert.Equal(t, want, idsOf(keysOf(t, s)))
	}
	close(gate)
	done.Wait()
	assert.Len(t, keysOf(t, s), 3)
}

// The server answers 503 where it has no keys, and says why in its log alone.
func TestServerWithoutKeys(t *testing.T) {
	for _, c := range []struct {
		name  string
		wrong func(s *oauthtest.Server)
	}{
		{"S331 the store is down", func(s *oauthtest.Server) {
			s.Store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailBefore })
		}},
		{"a record that was altered", func(s *oauthtest.Server) {
			for rec, err := range s.Store.List(t.Context(), oauth.Filter{Kind: oauth.KindKey}) {
				require.NoError(t, err)
				rec.Data = []byte(strings.Replace(string(rec.Data), `"signs":1`, `"signs":2`, 1))
				require.NoError(t, s.Store.Update(t.Context(), rec))
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := jwtServer(t, keystore.Options{})
			token := s.AccessToken("alice")
			require.Equal(t, true, s.Introspect(token).JSON["active"])
			c.wrong(s)
			s.Clock.Advance(time.Hour)
			a := s.Do(request(t, s, "/oauth/jwks"))
			assert.Equal(t, http.StatusServiceUnavailable, a.Status)
			assert.NotEmpty(t, a.Header.Get("Retry-After"))
			assert.NotContains(t, string(a.Body), "ES256")
			a = s.Token(oauthtest.MachineClient, map[string][]string{"grant_type": {"client_credentials"}, "scope": {"read"}})
			assert.Equal(t, http.StatusServiceUnavailable, a.Status)
		})
	}
}

func TestNothingSecretInText(t *testing.T) {
	w := newWorld(t)
	s := w.process(keystore.Options{})
	keys := keysOf(t, s)
	private := keys[0].Signer.(*ecdsa.PrivateKey)
	raw, err := private.Bytes()
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	var texts []string
	for _, form := range []string{"%v", "%+v", "%#v", "%s"} {
		assert.Equal(t, `keystore.Store("https://as.example")`, fmt.Sprintf(form, s), "S367")
		texts = append(texts, fmt.Sprintf(form, keys), fmt.Sprintf(form, listOf(t, s)))
	}
	//lint:ignore SA9005 that there is nothing to be seen is what is shown
	text, err := json.Marshal(s)
	require.NoError(t, err)
	assert.JSONEq(t, "{}", string(text), "S367")
	assert.Equal(t, `keystore.Store("https://as.example")`, s.LogValue().String())
	for rec, err := range w.store.List(t.Context(), oauth.Filter{Kind: oauth.KindKey}) {
		require.NoError(t, err)
		texts = append(texts, string(rec.Data))
	}
	for _, text := range texts {
		for _, b := range [][]byte{raw, der, secret(0)} {
			for _, form := range []string{string(b), hex.EncodeToString(b), base64.StdEncoding.EncodeToString(b),
				base64.RawURLEncoding.EncodeToString(b), new(big.Int).SetBytes(b).String()} {
				assert.NotContains(t, text, form, "S363")
			}
		}
	}
}
