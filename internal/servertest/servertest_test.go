//go:build unix

package servertest

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answers says whether somebody listens at the server's address.
func answers(s *Server) bool {
	conn, err := net.Dial("tcp", s.Addr)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

func TestServers(t *testing.T) {
	tests := []struct {
		name    string
		start   func(settings ...string) (*Server, error)
		setting string
		unknown string
		dsn     string // what comes before its address
	}{
		{"PostgreSQL", PostgreSQL, "fsync=off", "no_such_setting=1", "postgres://postgres@"},
		{"MariaDB", MariaDB, "innodb_flush_log_at_trx_commit=0", "no_such_setting=1", "root@tcp("},
		{"Redis", Redis, "appendonly yes", "no_such_setting 1", "redis://"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := tt.start(tt.setting)
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Remove()) }()
			addr := s.Addr
			assert.True(t, strings.HasPrefix(s.DSN(""), tt.dsn+addr), s.DSN(""))
			for _, end := range []func() error{s.Kill, s.Stop} {
				require.True(t, answers(s))
				require.NoError(t, end())
				require.False(t, answers(s))
				require.NoError(t, s.Kill(), "of a server that is gone")
				require.NoError(t, s.Stop(), "of a server that is gone")
				require.NoError(t, s.Start())
				require.Equal(t, addr, s.Addr)
			}
			require.NoError(t, s.cmd.Process.Kill()) // by somebody else
			require.NoError(t, s.Kill())
			// The processes of PostgreSQL hold its socket until they see that it is gone.
			require.Eventually(t, func() bool { return !answers(s) }, startTime, 10*time.Millisecond)
			require.NoError(t, s.Remove())
			require.NoDirExists(t, s.Dir())

			_, err = tt.start(tt.unknown)
			require.ErrorIs(t, err, errEnded)
			require.ErrorContains(t, err, "no_such_setting", "its log says why")
		})
	}
}

func TestServerOnATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	require.NoError(t, err)
	_, err = Redis("port " + port)
	require.ErrorIs(t, err, errEnded, "it is not the other one that answered")
}

func TestCommand(t *testing.T) {
	s, err := Redis("requirepass secret-of-the-server")
	require.NoError(t, err, "a server that wants a password is ready")
	defer func() { require.NoError(t, s.Remove()) }()
	_, err = command(t.Context(), s.Dir(), "SET", "a", "1")
	require.ErrorContains(t, err, "NOAUTH")
	_, err = command(t.Context(), t.TempDir(), "PING")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestCluster(t *testing.T) {
	c, err := RedisCluster(3)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Remove()) }()
	require.Len(t, c.Addrs(), 3)
	info, err := command(t.Context(), c.Servers[2].Dir(), "CLUSTER", "INFO")
	require.NoError(t, err)
	require.Contains(t, info, "cluster_slots_ok:16384")
	_, err = command(t.Context(), c.Servers[2].Dir(), "SET", "a", "1") // of the third of the slots
	require.NoError(t, err)
	_, err = command(t.Context(), c.Servers[0].Dir(), "GET", "a")
	require.ErrorContains(t, err, "MOVED", "asked at the wrong one")
}
