package oauth_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/grantwell/oauth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestScopeRefused(t *testing.T) {
	w := watch(t)
	for _, test := range []struct{ name, change string }{
		{"S012 quotes", "scope=%22read%22"},
		{"S012 backslash", "scope=re%5Cad"},
		{"S012 text outside ASCII", "scope=r%C3%A9ad"},
		{"S012 line break", "scope=read%0Awrite"},
		{"S012 tab", "scope=read%09write"},
		{"S012 NUL", "scope=read%00"},
		{"S012 invalid UTF-8", "scope=read%FF"},
		{"S012 DEL", "scope=read%7F"},
		{"S012 two spaces", "scope=read++write"},
		{"S012 space before", "scope=+read"},
		{"S012 space after", "scope=read+"},
		{"S012 only a space", "scope=+"},
		{"RFC 6749 3.3 commas separate nothing", "scope=read,write"},
		{"RFC 6749 3.3 case-sensitive", "scope=READ"},
		{"FL-06 unknown", "scope=nope"},
		{"FL-06 one known and one unknown", "scope=read+nope"},
		{"S014 FL-06 one the client may not have", "scope=read+admin"},
		{"S014 that alone", "scope=admin"},
		{"FS-04 FL-06 absent", "-scope"},
		{"FL-06 empty", "scope="},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := w.on(t)
			w.re(w.get(az(test.change)), oauth.InvalidScope)
		})
	}
}

// A registry is the host's own: it may name scopes that the table has not.
func TestScopeOfTheRegistryAlone(t *testing.T) {
	client := &oauth.Client{ID: caseP, Public: true, Scopes: []string{"read", "ghost"}, RedirectURIs: []string{backP}}
	w := watch(t, func(c *oauth.Config) { c.Clients = changing{caseP: client} })
	w.re(w.get(az("scope=ghost")), oauth.InvalidScope)
	w.re(w.get(az("scope=read+ghost")), oauth.InvalidScope)
}

func TestScopeGranted(t *testing.T) {
	w := watch(t)
	asked := func(t *testing.T, w *watched, query string) (scopes []string) {
		t.Helper()
		w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			scopes = in.Scopes()
			in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: scopes})
		})
		w.code(w.get(query), backP+"?")
		return scopes
	}
	t.Run("FS-05 FL-06 a plus is a space", func(t *testing.T) {
		w := w.on(t)
		assert.Equal(t, asked(t, w, az("scope=read%20write")), asked(t, w, az("scope=read+write")))
	})
	t.Run("protocol-behaviours a set: order and repetition do not matter", func(t *testing.T) {
		w := w.on(t)
		assert.Equal(t, []string{"write", "read"}, asked(t, w, az("scope=write+read+write+read")))
	})
	defaults := func(c *oauth.Config) {
		c.Scopes = []oauth.Scope{{Name: "read", Default: true}, {Name: "write"}, {Name: "admin", Default: true}}
	}
	t.Run("RFC 6749 3.3 the defaults, within what the client may have", func(t *testing.T) {
		w := watch(t, defaults)
		assert.Equal(t, []string{"read"}, asked(t, w, az("-scope")))
		assert.Equal(t, []string{"read"}, asked(t, w, az("scope=")))
		assert.Equal(t, []string{"write"}, asked(t, w, az("scope=write")))
		_, got := w.get(az("-scope")).Location()
		assert.Equal(t, "read", w.redeem(caseP, got.Get("code"), backP).String("scope"), "what was not asked for is told")
	})
	t.Run("RFC 6749 3.3 defaults of which the client may have none", func(t *testing.T) {
		w := watch(t, func(c *oauth.Config) {
			c.Scopes = []oauth.Scope{{Name: "read"}, {Name: "write"}, {Name: "admin", Default: true}}
		})
		w.re(w.get(az("-scope")), oauth.InvalidScope)
	})
	noScopes := func(c *oauth.Config) {
		c.Scopes = nil
		c.Clients = oauth.StaticClients(oauth.Client{ID: caseP, Public: true, RedirectURIs: []string{backP}})
	}
	t.Run("RFC 6749 3.3 a server without scopes", func(t *testing.T) {
		w := watch(t, noScopes)
		assert.Empty(t, asked(t, w, az("-scope")))
		w.re(w.get(az("scope=read")), oauth.InvalidScope)
		_, got := w.get(az("-scope")).Location()
		a := w.redeem(caseP, got.Get("code"), backP)
		assert.Equal(t, http.StatusOK, a.Status)
		assert.NotContains(t, a.JSON, "scope")
	})
}

func TestScopeTable(t *testing.T) {
	names := []string{"account.public_profile", "account.education_profile", "scores.readonly", "scores.social", "scores"}
	w := watch(t, func(c *oauth.Config) {
		c.Scopes = nil
		for _, n := range names {
			c.Scopes = append(c.Scopes, oauth.Scope{Name: n, Description: "About " + n})
		}
		c.Scopes[4].Includes = []string{"scores.readonly", "scores.social"}
		c.Scopes[1].Optional = true
		c.Clients = oauth.StaticClients(
			oauth.Client{ID: caseP, Public: true, RedirectURIs: []string{backP}, Scopes: names},
			oauth.Client{ID: "full", Public: true, RedirectURIs: []string{backP}, Scopes: []string{"scores"}})
	})
	token := func(t *testing.T, changes ...string) string {
		t.Helper()
		w := w.on(t)
		_, got := w.get(az(changes...)).Location()
		client := "P"
		if strings.Contains(strings.Join(changes, " "), "full") {
			client = "full"
		}
		a := w.redeem(client, got.Get("code"), backP)
		require.Equal(t, http.StatusOK, a.Status, string(a.Body))
		return a.String("access_token")
	}
	call := func(token string, scopes ...string) int {
		r := httptest.NewRequest(http.MethodGet, "/api", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		w.API().Require(scopes...)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(rec, r)
		return rec.Code
	}
	t.Run("FL-07 FT-06 FS-05 FL-14 consent sees the description of each scope that is asked for", func(t *testing.T) {
		w := w.on(t)
		var rows []oauth.Scope
		w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) { rows = in.ScopeTable() })
		defer w.Approve("alice")
		w.get(az("scope=" + url.QueryEscape(strings.Join(names, " "))))
		require.Len(t, rows, 5)
		for i, r := range rows {
			assert.Equal(t, "About "+names[i], r.Description)
		}
		assert.True(t, rows[1].Optional)
	})
	t.Run("FL-08 the rest is granted and told", func(t *testing.T) {
		w := w.on(t)
		w.Approve("alice", "account.public_profile")
		defer w.Approve("alice")
		_, got := w.get(az("scope=account.public_profile+account.education_profile")).Location()
		assert.Equal(t, "account.public_profile", w.redeem(caseP, got.Get("code"), backP).String("scope"))
	})
	t.Run("FL-09 a scope contains others on a route, and not the other way round", func(t *testing.T) {
		full, readonly := token(t, "scope=scores"), token(t, "scope=scores.readonly")
		assert.Equal(t, http.StatusOK, call(full, "scores.readonly"))
		assert.Equal(t, http.StatusOK, call(full, "scores.readonly", "scores.social"))
		assert.Equal(t, http.StatusForbidden, call(readonly, "scores"))
		assert.Equal(t, http.StatusForbidden, call(full, "account.public_profile"))
	})
	t.Run("FL-09 a client that may have a scope may ask for what it contains", func(t *testing.T) {
		assert.Equal(t, http.StatusOK, call(token(t, "client_id=full", "scope=scores.readonly"), "scores.readonly"))
		w := w.on(t)
		w.re(w.get(az("client_id=full", "scope=account.public_profile")), oauth.InvalidScope)
	})
}

func TestScopeConfig(t *testing.T) {
	for name, edit := range map[string]func(*oauth.Config){
		"RFC 6749 3.3 a name with a space":  func(c *oauth.Config) { c.Scopes = []oauth.Scope{{Name: "a b"}} },
		"RFC 6749 3.3 a name with a quote":  func(c *oauth.Config) { c.Scopes = []oauth.Scope{{Name: `a"b`}} },
		"RFC 6749 3.3 an empty name":        func(c *oauth.Config) { c.Scopes = []oauth.Scope{{}} },
		"RFC 6749 3.3 a name twice":         func(c *oauth.Config) { c.Scopes = []oauth.Scope{{Name: "a"}, {Name: "a"}} },
		"RFC 6749 3.3 includes the unknown": func(c *oauth.Config) { c.Scopes = []oauth.Scope{{Name: "a", Includes: []string{"b"}}} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := watch(t).Config
			cfg.Clients = oauth.StaticClients()
			_, err := oauth.New(cfg)
			require.NoError(t, err)
			edit(&cfg)
			_, err = oauth.New(cfg)
			assert.ErrorContains(t, err, "Config.Scopes[")
		})
	}
	t.Run("RFC 6749 3.3 scopes that contain each other", func(t *testing.T) {
		cfg := watch(t).Config
		cfg.Clients = oauth.StaticClients()
		cfg.Scopes = []oauth.Scope{{Name: "a", Includes: []string{"b"}}, {Name: "b", Includes: []string{"a", "b"}}}
		_, err := oauth.New(cfg)
		assert.NoError(t, err)
	})
}
