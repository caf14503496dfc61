package keystore_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/keystore"
	"github.com/grantwell/oauth/memstore"
)

// storedAs is a store that has one record.
func storedAs(t testing.TB, rec oauth.Record) oauth.Storage {
	t.Helper()
	m := memstore.New()
	require.NoError(t, m.Create(t.Context(), rec))
	return m
}

// threeKeys is a world with a retired key, one that signs, and the next one.
func threeKeys(t *testing.T) (*world, *keystore.Store, oauth.Record) {
	t.Helper()
	w := newWorld(t)
	s := w.process(keystore.Options{RotateEvery: 10 * day, TokenLifetime: 15 * day})
	for range 3 {
		keysOf(t, s)
		w.clock.Advance(10*day + time.Hour)
	}
	keysOf(t, s)
	w.clock.Advance(5 * day)
	require.Equal(t, "ES256 signing, ES256 next, ES256 retired", states(listOf(t, s)))
	rec, err := w.store.Get(t.Context(), s.RecordID("ES256"))
	require.NoError(t, err)
	return w, s, rec
}

// A record that was changed by anybody else is refused, by a process that has no
// keys yet and by one that has, and nothing is written over it.
func TestAltered(t *testing.T) {
	w, s, rec := threeKeys(t)
	ids := idsOf(keysOf(t, s))
	refused := func(t *testing.T, data []byte, want string) {
		t.Helper()
		changed := rec
		changed.Data = data
		cfg := w.config()
		cfg.Storage = storedAs(t, changed)
		fresh, err := keystore.New(cfg, keystore.Options{})
		require.NoError(t, err)
		_, err = fresh.Keys(t.Context())
		require.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, rec.ID, "the error names the record")
		assert.NotContains(t, err.Error(), "\n")
		_, listErr := fresh.List(t.Context())
		assert.Equal(t, err, listErr)
		_, err = fresh.Rotate(t.Context())
		assert.Error(t, err)
		assert.Error(t, fresh.RotateNow(t.Context()))
		assert.Error(t, fresh.Retire(t.Context(), ids[0]))
		after, err := cfg.Storage.Get(t.Context(), rec.ID)
		require.NoError(t, err)
		assert.EqualValues(t, 1, after.Version)
	}
	t.Run("every byte", func(t *testing.T) {
		for i := range rec.Data {
			data := bytes.Clone(rec.Data)
			data[i] ^= 1 << (i % 7)
			changed := rec
			changed.Data = data
			cfg := w.config()
			cfg.Storage = storedAs(t, changed)
			fresh, err := keystore.New(cfg, keystore.Options{})
			require.NoError(t, err)
			_, err = fresh.Keys(t.Context())
			require.Error(t, err, "byte %d", i)
		}
	})
	t.Run("every length", func(t *testing.T) {
		for _, data := range [][]byte{nil, {}, []byte("{}"), rec.Data[:len(rec.Data)-1], rec.Data[:110], append(bytes.Clone(rec.Data), ' '), make([]byte, 1<<20)} {
			refused(t, data, "altered")
		}
	})
	t.Run("erased", func(t *testing.T) {
		erased := rec
		erased.Data, erased.ExpiresAt = nil, w.clock.Now()
		cfg := w.config()
		cfg.Storage = storedAs(t, erased)
		fresh, err := keystore.New(cfg, keystore.Options{})
		require.NoError(t, err)
		_, err = fresh.Keys(t.Context())
		require.ErrorContains(t, err, rec.ID+": erased, but not deleted yet")
		_, err = cfg.Storage.DeleteExpired(t.Context(), w.clock.Now().Add(time.Second), 10)
		require.NoError(t, err)
		assert.NotContains(t, idsOf(keysOf(t, fresh)), ids[0], "new ones")
	})
	replace := func(old, young string) []byte {
		require.Contains(t, string(rec.Data), old)
		return []byte(strings.Replace(string(rec.Data), old, young, 1))
	}
	t.Run("a member", func(t *testing.T) {
		refused(t, replace(`"keys":[`, `"keys" :[`), "altered")
		refused(t, replace(`"signs":1`, `"signs":2`), "altered")
	})
	t.Run("the error names the keys", func(t *testing.T) {
		refused(t, replace(`"written":1`, `"written":2`), ids[0])
		refused(t, replace(`"kid":"`+ids[0], `"kid":"\n`+ids[0][1:]), " "+ids[1])
	})
	t.Run("a newer format", func(t *testing.T) {
		refused(t, replace(`{"head":"AQ`, `{"head":"Ag`), "newer version")
	})
	t.Run("another record's Data", func(t *testing.T) {
		other := w.process(keystore.Options{Algorithms: []string{"EdDSA"}})
		keysOf(t, other)
		r, err := w.store.Get(t.Context(), other.RecordID("EdDSA"))
		require.NoError(t, err)
		refused(t, r.Data, "altered")
	})
	t.Run("another realm's record", func(t *testing.T) {
		cfg := w.config()
		cfg.Realm = "b"
		other, err := keystore.New(cfg, keystore.Options{})
		require.NoError(t, err)
		moved := rec
		moved.ID, moved.Realm = other.RecordID("ES256"), "b"
		cfg.Storage = storedAs(t, moved)
		other, err = keystore.New(cfg, keystore.Options{})
		require.NoError(t, err)
		_, err = other.Keys(t.Context())
		assert.ErrorContains(t, err, "altered")
	})
	t.Run("an unknown secret", func(t *testing.T) {
		cfg := w.config(secret(50))
		cfg.Storage = storedAs(t, rec)
		other, err := keystore.New(cfg, keystore.Options{})
		require.NoError(t, err)
		_, err = other.Keys(t.Context())
		require.ErrorContains(t, err, "sealed with a secret that is none of Config.Secrets")
		for _, id := range ids {
			assert.ErrorContains(t, err, id)
		}
	})
	t.Run("a record of another kind has the ID", func(t *testing.T) {
		changed := rec
		changed.Kind = oauth.KindSpent
		cfg := w.config()
		cfg.Storage = storedAs(t, changed)
		other, err := keystore.New(cfg, keystore.Options{})
		require.NoError(t, err)
		_, err = other.Keys(t.Context())
		assert.ErrorContains(t, err, "altered")
	})
}

// Parts that do not belong together are refused even if the MAC is right.
func TestParts(t *testing.T) {
	w, s, rec := threeKeys(t)
	var shown struct {
		Keys []map[string]any `json:"keys"`
	}
	for _, c := range []struct {
		name string
		edit func(keys []map[string]any) []map[string]any
	}{
		{"private parts exchanged", func(k []map[string]any) []map[string]any {
			a, b := k[len(k)-1], k[len(k)-2]
			a["private"], b["private"] = b["private"], a["private"]
			return k
		}},
		{"kids exchanged", func(k []map[string]any) []map[string]any {
			k[0]["kid"], k[1]["kid"] = k[1]["kid"], k[0]["kid"]
			return k
		}},
		{"no private part at all", func(k []map[string]any) []map[string]any {
			for i := range k {
				delete(k[i], "private")
			}
			return k
		}},
		{"no keys", func([]map[string]any) []map[string]any { return []map[string]any{} }},
		{"null", func([]map[string]any) []map[string]any { return nil }},
		{"null keys", func([]map[string]any) []map[string]any { return make([]map[string]any, 3) }},
		{"an empty private part", func(k []map[string]any) []map[string]any { k[1]["private"] = ""; return k }},
		{"no public part", func(k []map[string]any) []map[string]any { delete(k[0], "public"); return k }},
		{"a time that is none", func(k []map[string]any) []map[string]any { k[0]["signs"] = "x"; return k }},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, json.Unmarshal(rec.Data, &shown))
			text, err := json.Marshal(c.edit(shown.Keys))
			require.NoError(t, err)
			changed := rec
			changed.Data = s.Resign(rec, func(data string) string {
				before, _, ok := strings.Cut(data, `"keys":`)
				require.True(t, ok)
				return before + `"keys":` + string(text)
			})
			cfg := w.config()
			cfg.Storage = storedAs(t, changed)
			fresh, err := keystore.New(cfg, keystore.Options{})
			require.NoError(t, err)
			_, err = fresh.Keys(t.Context())
			assert.ErrorContains(t, err, "altered")
		})
	}
	t.Run("as it was", func(t *testing.T) {
		changed := rec
		changed.Data = s.Resign(rec, func(data string) string { return data })
		cfg := w.config()
		cfg.Storage = storedAs(t, changed)
		fresh, err := keystore.New(cfg, keystore.Options{})
		require.NoError(t, err)
		keysOf(t, fresh)
	})
}

// A golden is a record that a release has written, with the secret 0, 1, 2 … of 32
// bytes, and what it said.
type golden struct {
	ID         string          `json:"id"`
	Now        time.Time       `json:"now"`
	Algorithms []string        `json:"algorithms"`
	Keys       []keystore.Key  `json:"keys"`
	Data       json.RawMessage `json:"data"`
}

// Records of every release are read for ever.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/v*/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		t.Run(filepath.ToSlash(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			var g golden
			require.NoError(t, json.Unmarshal(text, &g))
			rec := oauth.Record{ID: g.ID, Kind: oauth.KindKey, Data: g.Data, CreatedAt: began}
			s, err := keystore.New(oauth.Config{Issuer: issuer, Secrets: [][]byte{secret(0)}, Storage: storedAs(t, rec),
				Now: func() time.Time { return g.Now }}, keystore.Options{Algorithms: g.Algorithms})
			require.NoError(t, err)
			assert.Equal(t, g.ID, s.RecordID(g.Algorithms[0]))
			assert.Equal(t, g.Keys, listOf(t, s))
			keys := keysOf(t, s)
			for i, k := range keys[:len(g.Keys)] {
				assert.Equal(t, g.Keys[i].ID, k.ID)
				assert.Equal(t, i == 0, signs(t, k))
			}
		})
	}
}

// FuzzData: whatever is stored, reading it does not panic, nobody can write a
// record that opens, and what does open comes back as it was.
func FuzzData(f *testing.F) {
	files, err := filepath.Glob("testdata/v*/*.json")
	require.NoError(f, err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		var g golden
		require.NoError(f, json.Unmarshal(text, &g))
		for _, resign := range []bool{false, true} {
			f.Add([]byte(g.Data), resign)
			f.Add(bytes.Replace(g.Data, []byte(`"until":1`), []byte(`"until":-1`), 1), resign)
			f.Add(bytes.Replace(g.Data, []byte(`"keys":[`), []byte(`"keys":[null,`), 1), resign)
		}
	}
	f.Add([]byte(`{}`), true)
	s, err := keystore.New(oauth.Config{Issuer: issuer, Secrets: [][]byte{secret(0)}, Storage: memstore.New()}, keystore.Options{})
	require.NoError(f, err)
	made := map[string]bool{}
	for _, name := range files {
		text, _ := os.ReadFile(name)
		var g golden
		require.NoError(f, json.Unmarshal(text, &g))
		made[string(g.Data)] = true
	}
	f.Fuzz(func(t *testing.T, data []byte, resign bool) {
		rec := oauth.Record{ID: s.RecordID("ES256"), Kind: oauth.KindKey, Data: data, Version: 1}
		if resign && len(data) > 1000 {
			rec.Data = s.Resign(rec, func(text string) string { return text })
		}
		again, ok := s.Reopen(rec)
		if !ok {
			return
		}
		if !resign && !made[string(data)] {
			t.Fatalf("opened, but nobody wrote it: %q", data)
		}
		if !again {
			t.Fatalf("not what it was when written again: %q", rec.Data)
		}
	})
}
