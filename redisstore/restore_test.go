package redisstore_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/redisstore"
)

// dumps are the ways to copy what a running server holds; each returns what starts a
// server from the copy.
var dumps = []struct {
	name string
	dump func(t *testing.T, c *redis.Client, to string) (settings []string)
}{
	{"append-only files", func(t *testing.T, c *redis.Client, to string) []string {
		// While one is rewritten, a copy of the folder may have two halves that do not fit.
		require.NoError(t, c.ConfigSet(t.Context(), "auto-aof-rewrite-percentage", "0").Err())
		folder := settingOf(t, c, "appenddirname")
		require.NoError(t, os.CopyFS(filepath.Join(to, folder), os.DirFS(filepath.Join(settingOf(t, c, "dir"), folder))))
		return []string{"dir " + to, "appendonly yes", "appendfsync always"}
	}},
	{"RDB file", func(t *testing.T, c *redis.Client, to string) []string {
		require.NoError(t, c.Save(t.Context()).Err())
		text, err := os.ReadFile(filepath.Join(settingOf(t, c, "dir"), settingOf(t, c, "dbfilename")))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(to, "dump.rdb"), text, 0o600))
		return []string{"dir " + to, "appendonly no"} // with yes Redis does not look at the file and starts empty
	}},
}

func settingOf(t *testing.T, c *redis.Client, name string) string {
	t.Helper()
	all, err := c.ConfigGet(t.Context(), name).Result()
	require.NoError(t, err)
	require.NotEmpty(t, all[name])
	return all[name]
}

const web = oauthtest.WebClient

// sessions are clients of a server whose store is going to be restored.
type sessions struct {
	*oauthtest.Server
	last map[string]*oauthtest.Answer // by subject
}

func (s *sessions) code(subject string) oauthtest.Code {
	s.Approve(subject)
	return s.Code(web)
}

func (s *sessions) rotate(t *testing.T, subject string) {
	t.Helper()
	a := s.Refresh(web, s.last[subject].String("refresh_token"))
	require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
	s.last[subject] = a
}

func (s *sessions) active(t *testing.T, token string) bool {
	t.Helper()
	a := s.Post("/oauth/introspect", web, url.Values{"token": {token}})
	require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
	return a.JSON["active"] == true
}

// on is another process on this store.
func (s *sessions) on(t *testing.T, store *redisstore.Store) *sessions {
	srv := oauthtest.NewServer(t, func(c *oauth.Config) {
		c.Storage, c.Secrets, c.Now = store, s.Config.Secrets, s.Config.Now
	})
	return &sessions{srv, s.last}
}

func TestRestore(t *testing.T) {
	for _, d := range dumps {
		t.Run(d.name, func(t *testing.T) {
			e := redisEngine()
			server := private(t, "appendonly yes", "appendfsync always")
			client := clientOf(t, server)
			store := e.openAt(t, client, "oauth:")
			s := &sessions{oauthtest.NewServer(t, func(c *oauth.Config) { c.Storage = store }), map[string]*oauthtest.Answer{}}
			for _, subject := range []string{"rotated", "access revoked", "erased"} {
				s.last[subject] = s.Redeem(s.code(subject))
			}
			code := s.code("code used")
			before := keys(t, client)

			settings := d.dump(t, client, t.TempDir())
			first := s.last["rotated"].String("refresh_token")
			s.rotate(t, "rotated")
			s.rotate(t, "rotated")
			s.last["code used"] = s.Redeem(code)
			revoked := s.last["access revoked"].String("access_token")
			require.Equal(t, http.StatusOK, s.Post("/oauth/revoke", web, url.Values{"token": {revoked}}).Status)
			require.False(t, s.active(t, revoked))
			_, err := s.Server.Revoke(t.Context(), oauth.Selector{Subject: "erased", Erase: true})
			require.NoError(t, err)
			s.last["new"] = s.Redeem(s.code("new"))
			require.NoError(t, server.Stop())

			client = clientOf(t, private(t, settings...))
			require.ElementsMatch(t, before, keys(t, client))
			s = s.on(t, e.openAt(t, client, "oauth:"))
			afterRestore(t, s, first, code, revoked)
		})
	}
}

func afterRestore(t *testing.T, s *sessions, first string, code oauthtest.Code, revoked string) {
	current := s.last["rotated"].String("refresh_token")
	s.rotate(t, "rotated")
	events := s.Events(oauth.EventStoreWentBack)
	require.Len(t, events, 1)
	require.Equal(t, uint32(4), events[0].Generation)
	next := s.last["rotated"]
	for token, live := range map[string]bool{first: false, current: false, next.String("refresh_token"): true, next.String("access_token"): true} {
		require.Equal(t, live, s.active(t, token), "one generation is live")
	}

	// What was used up or revoked after the dump is not any more.
	require.Equal(t, s.last["code used"].String("refresh_token"), s.Redeem(code).String("refresh_token"))
	require.Equal(t, "invalid_grant", s.Token(web, code.Form()).String("error"))
	require.True(t, s.active(t, revoked))
	s.rotate(t, "erased")
	require.Len(t, s.Events(oauth.EventStoreWentBack), 1, "no writes were lost of these")
	require.Equal(t, "invalid_grant", s.Refresh(web, s.last["new"].String("refresh_token")).String("error"))

	// The lists came back with the records: all is found and can be ended again.
	for _, subject := range []string{"rotated", "access revoked", "erased", "code used"} {
		n, err := s.Server.Revoke(t.Context(), oauth.Selector{Subject: subject})
		require.NoError(t, err)
		require.Equal(t, 1, n, subject)
	}
	require.False(t, s.active(t, next.String("access_token")))
}
