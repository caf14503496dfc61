package redisstore_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/redisstore"
)

func refused(t *testing.T, client redis.UniversalClient, cfg redisstore.Config, texts ...string) {
	t.Helper()
	_, err := redisstore.Open(t.Context(), client, cfg)
	require.Error(t, err)
	for _, text := range texts {
		assert.ErrorContains(t, err, text)
	}
}

func TestOpenRefusesClients(t *testing.T) {
	refused(t, nil, redisstore.Config{}, "the client is nil")
	refused(t, closing(t, redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})), redisstore.Config{},
		"redis.Ring", "use Redis Cluster or Sentinel")
	for _, o := range []redis.ClusterOptions{{ReadOnly: true}, {RouteByLatency: true}, {RouteRandomly: true}} {
		o.Addrs = []string{"127.0.0.1:1"}
		refused(t, closing(t, redis.NewClusterClient(&o)), redisstore.Config{}, "reads from replicas", "unset ReadOnly")
	}
}

func TestOpenRefusesEviction(t *testing.T) {
	c := clientOf(t, private(t))
	for _, policy := range []string{"allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"} {
		require.NoError(t, c.ConfigSet(t.Context(), "maxmemory-policy", policy).Err())
		refused(t, c, redisstore.Config{}, policy, "set maxmemory-policy to noeviction", "InsecureAllowEviction")
		_, err := redisstore.Open(t.Context(), c, redisstore.Config{InsecureAllowEviction: true})
		require.NoError(t, err)
	}
	require.NoError(t, c.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
	_, err := redisstore.Open(t.Context(), c, redisstore.Config{})
	require.NoError(t, err)
}

// A Cluster is as good as its worst server.
func TestOpenAsksEveryPrimary(t *testing.T) {
	cluster := clusterEngine().client(t)
	servers, err := startCluster()
	require.NoError(t, err)
	bad := clientOf(t, servers.Servers[2])
	require.NoError(t, bad.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
	defer func() {
		require.NoError(t, bad.ConfigSet(context.Background(), "maxmemory-policy", "noeviction").Err())
	}()
	refused(t, cluster, redisstore.Config{}, "allkeys-lru", servers.Servers[2].Addr)
}

func TestOpenWithoutCONFIG(t *testing.T) {
	c := clientOf(t, private(t))
	as := func(user string, rules ...any) *redis.Client {
		require.NoError(t, c.Do(t.Context(), append([]any{"acl", "setuser", user, "on", ">pw", "~oauth:*", "+@all"}, rules...)...).Err())
		return closing(t, redis.NewClient(&redis.Options{Addr: c.Options().Addr, Username: user, Password: "pw"}))
	}
	// What managed services do: INFO tells.
	noConfig := as("noconfig", "-config")
	_, err := redisstore.Open(t.Context(), noConfig, redisstore.Config{})
	require.NoError(t, err)
	require.NoError(t, c.ConfigSet(t.Context(), "maxmemory-policy", "volatile-lru").Err())
	refused(t, noConfig, redisstore.Config{}, "maxmemory-policy is volatile-lru")
	require.NoError(t, c.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())

	mute := as("mute", "-config", "-info")
	refused(t, mute, redisstore.Config{}, "does not say whether it deletes keys", "NOPERM", "set InsecureAllowEviction")
	_, err = redisstore.Open(t.Context(), mute, redisstore.Config{InsecureAllowEviction: true})
	require.NoError(t, err)

	// The commands that the error names are enough.
	least := as("least", "-@all", "+hello", "+ping", "+client", "+eval", "+evalsha", "+get", "+getex", "+set", "+del", "+zadd", "+zrem", "+zcount",
		"+zrangebylex", "+zrangebyscore", "+time", "+info")
	s, err := redisstore.Open(t.Context(), least, redisstore.Config{})
	require.NoError(t, err)
	r := record("a-1")
	require.NoError(t, s.Create(t.Context(), r))
	r.Subject = "bob"
	require.NoError(t, s.Update(t.Context(), r))
	require.Equal(t, []string{"a-1"}, ids(t, s, filterOf(r)))
	_, err = s.DeleteExpired(t.Context(), r.ExpiresAt.Add(time.Hour), 10)
	require.NoError(t, err)

	refused(t, as("noscripts", "-@scripting"), redisstore.Config{}, "NOPERM", "EVAL EVALSHA")
	refused(t, as("nokeys", "resetkeys", "~other:*"), redisstore.Config{}, "NOPERM", "on the keys oauth:*")
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		addr := l.Addr().String()
		require.NoError(t, l.Close())
		refused(t, closing(t, redis.NewClient(&redis.Options{Addr: addr, DialerRetries: 1, MaxRetries: -1})), redisstore.Config{}, "no answer from the server", addr)
		refused(t, closing(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, DialerRetries: 1})), redisstore.Config{}, "no answer from the server", addr)
	})
	t.Run("something else listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
		refused(t, closing(t, redis.NewClient(&redis.Options{Addr: l.Addr().String(), MaxRetries: -1})), redisstore.Config{}, "no answer from the server")
	})
	t.Run("a context that is done", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := redisstore.Open(ctx, single(t), redisstore.Config{})
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("a password", func(t *testing.T) {
		s := private(t, "requirepass secret-of-the-server")
		refused(t, clientOf(t, s), redisstore.Config{}, "NOAUTH", "Username and Password")
		refused(t, clientOf(t, s, func(o *redis.Options) { o.Password = "a-wrong-one" }), redisstore.Config{}, "WRONGPASS", "wrong Username or Password")
	})
	t.Run("a replica", func(t *testing.T) {
		primary := private(t)
		host, port, err := net.SplitHostPort(primary.Addr)
		require.NoError(t, err)
		refused(t, clientOf(t, private(t, "replicaof "+host+" "+port)), redisstore.Config{}, "READONLY", "this is a replica")
	})
	t.Run("a Cluster by a plain client", func(t *testing.T) {
		c, err := startCluster()
		require.NoError(t, err)
		// The key of the probe is random: it may happen to be at the server that is asked.
		_, err = redisstore.Open(t.Context(), clientOf(t, c.Servers[0]), redisstore.Config{Prefix: "{elsewhere}:"})
		other, otherErr := redisstore.Open(t.Context(), clientOf(t, c.Servers[1]), redisstore.Config{Prefix: "{elsewhere}:"})
		if err == nil {
			require.Nil(t, other)
			err = otherErr
		}
		require.ErrorContains(t, err, "use redis.NewClusterClient")
	})
	t.Run("no Cluster by the client of a Cluster", func(t *testing.T) {
		s, err := startRedis()
		require.NoError(t, err)
		refused(t, closing(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.Addr}})), redisstore.Config{}, "use redis.NewClient")
	})
}

func TestOpenSaysWhatIsWrongWithAServer(t *testing.T) {
	t.Run("a full memory", func(t *testing.T) {
		c := clientOf(t, private(t))
		require.NoError(t, c.ConfigSet(t.Context(), "maxmemory", "1").Err())
		refused(t, c, redisstore.Config{}, "OOM", "raise maxmemory")
	})
	t.Run("a clock years off", func(t *testing.T) {
		for _, off := range []time.Duration{5 * time.Minute, -5 * time.Minute, 3 * 365 * 24 * time.Hour} {
			m := miniredis.RunT(t)
			m.SetTime(time.Now().Add(off))
			refused(t, closing(t, redis.NewClient(&redis.Options{Addr: m.Addr()})), redisstore.Config{InsecureAllowEviction: true}, "clock", "NTP")
		}
		m := miniredis.RunT(t)
		m.SetTime(time.Now().Add(time.Minute))
		_, err := redisstore.Open(t.Context(), closing(t, redis.NewClient(&redis.Options{Addr: m.Addr()})), redisstore.Config{InsecureAllowEviction: true})
		require.NoError(t, err)
	})
	t.Run("a server without CONFIG and INFO", func(t *testing.T) {
		c := closing(t, redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()}))
		refused(t, c, redisstore.Config{}, "does not say whether it deletes keys", "set InsecureAllowEviction")
	})
	t.Run("a server that is too old", func(t *testing.T) {
		s := private(t, "rename-command GETEX ELSEWHERE")
		refused(t, clientOf(t, s), redisstore.Config{}, "unknown command", "Redis 6.2")
	})
}

func TestOpenLeavesNothing(t *testing.T) {
	c := clientOf(t, private(t))
	_, err := redisstore.Open(t.Context(), c, redisstore.Config{})
	require.NoError(t, err)
	require.Zero(t, c.DBSize(t.Context()).Val())
}

// withTLS makes a server listen with TLS too, and returns where.
func withTLS(t *testing.T, c *redis.Client) (addr string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "pem")
	require.NoError(t, os.WriteFile(file, append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), 0o600))
	for _, set := range [][2]string{{"tls-cert-file", file}, {"tls-key-file", file}, {"tls-auth-clients", "no"}} {
		require.NoError(t, c.ConfigSet(t.Context(), set[0], set[1]).Err())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr = l.Addr().String()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, c.ConfigSet(t.Context(), "tls-port", port).Err())
	roots = x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return addr, roots
}

func TestOpenWithTLS(t *testing.T) {
	s := private(t, "tls-auth-clients no")
	addr, roots := withTLS(t, clientOf(t, s))
	client := func(addr string, config *tls.Config) *redis.Client {
		return closing(t, redis.NewClient(&redis.Options{Addr: addr, TLSConfig: config, DialerRetries: 1, MaxRetries: -1, DialTimeout: time.Second}))
	}
	_, err := redisstore.Open(t.Context(), client(addr, &tls.Config{RootCAs: roots}), redisstore.Config{})
	require.NoError(t, err)
	refused(t, client(addr, nil), redisstore.Config{}, "no answer from the server", "look at the client's address and TLSConfig")
	refused(t, client(s.Addr, &tls.Config{RootCAs: roots}), redisstore.Config{}, "no answer from the server", "look at the client's address and TLSConfig")
	refused(t, client(addr, &tls.Config{}), redisstore.Config{}, "certificate", "give the client's TLSConfig the RootCAs")
	refused(t, client(addr, &tls.Config{RootCAs: roots, ServerName: "other.example"}), redisstore.Config{}, "certificate", "the ServerName")
}

func TestOpenOfAServerThatCannotServe(t *testing.T) {
	refused(t, clientOf(t, private(t, "min-replicas-to-write 1")), redisstore.Config{}, "NOREPLICAS", "min-replicas-to-write asks for")
	refused(t, single(t, func(o *redis.Options) { o.DB = 99 }), redisstore.Config{}, "use DB 0")

	primary := private(t, "repl-diskless-sync-delay 0")
	host, port, err := net.SplitHostPort(primary.Addr)
	require.NoError(t, err)
	replica := private(t, "replicaof "+host+" "+port, "replica-serve-stale-data no")
	require.NoError(t, primary.Kill()) // one that is stopped waits for its replicas
	c := clientOf(t, replica, func(o *redis.Options) { o.MaxRetries = -1 })
	require.Eventually(t, func() bool {
		return redis.HasErrorPrefix(c.Get(t.Context(), "a").Err(), "MASTERDOWN")
	}, 10*time.Second, 20*time.Millisecond)
	refused(t, c, redisstore.Config{}, "MASTERDOWN", "this is a replica")
}
