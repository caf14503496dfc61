package redisstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/grantwell/oauth"
)

// Config says how a [Store] uses a server. The zero Config is good.
type Config struct {
	// Prefix is what the store's keys begin with; "" means "oauth:". Stores with
	// different prefixes may share a server.
	Prefix string

	// InsecureAllowEviction accepts a server that deletes keys when its memory is
	// full, live authorizations among them, or that does not say whether it does, as
	// miniredis in tests.
	InsecureAllowEviction bool
}

// maxSkew is how far a server's clock may be off: less than the slack, or records
// would be dropped that live.
const maxSkew = 4 * time.Minute

// Open returns a Store on a server, or on the primaries of a Cluster, that the host's
// client knows. It asks each of them what oauth.Storage must be able to rely on, and
// writes and deletes a record; the error says what is wrong and what to do. ctx is for
// Open alone.
func Open(ctx context.Context, client redis.UniversalClient, cfg Config) (*Store, error) {
	s := &Store{client: client, prefix: cmp.Or(cfg.Prefix, "oauth:")}
	if err := checkClient(client); err != nil {
		return nil, fmt.Errorf("redisstore: Open: %w", err)
	}
	err := eachPrimary(ctx, client, func(ctx context.Context, server redis.Cmdable) error {
		return checkServer(ctx, server, cfg)
	})
	if err == nil {
		err = s.probe(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("redisstore: Open: %w", s.advise(err))
	}
	return s, nil
}

// checkClient refuses clients that may read elsewhere than they write.
func checkClient(client redis.UniversalClient) error {
	switch c := client.(type) {
	case nil:
		return errors.New("the client is nil")
	case *redis.Ring:
		return errors.New("a redis.Ring looks on another server for the keys of one that is down, so what is revoked would be found again: use Redis Cluster or Sentinel")
	case *redis.ClusterClient:
		if o := c.Options(); o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return errors.New("the client reads from replicas, which lag behind: unset ReadOnly, ReplicaOnly, RouteByLatency and RouteRandomly, or make a client of its own for this store")
		}
	}
	return nil
}

// eachPrimary runs check on the server, or on every primary of a Cluster.
func eachPrimary(ctx context.Context, client redis.UniversalClient, check func(ctx context.Context, server redis.Cmdable) error) error {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return check(ctx, client)
	}
	var mu sync.Mutex
	var all []error
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, server *redis.Client) error {
		if err := check(ctx, server); err != nil {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, fmt.Errorf("%s: %w", server.Options().Addr, err))
		}
		return nil
	})
	return errors.Join(append(all, err)...)
}

// checkServer looks at the clock and the memory policy of one server.
func checkServer(ctx context.Context, server redis.Cmdable, cfg Config) error {
	now, err := server.Time(ctx).Result()
	if err != nil {
		return err
	}
	if skew := time.Until(now); skew.Abs() > maxSkew {
		return fmt.Errorf("the server's clock is %v away from that of this process, so that records would be dropped at the wrong time: set both by NTP",
			skew.Round(time.Second))
	}
	if cfg.InsecureAllowEviction {
		return nil
	}
	policy, err := memoryPolicy(ctx, server)
	if err != nil {
		return fmt.Errorf("the server does not say whether it deletes keys when its memory is full (CONFIG GET maxmemory-policy: %w): "+
			"look for the setting where the server is administered, see that it is noeviction, and set InsecureAllowEviction", err)
	}
	if policy != "noeviction" {
		return fmt.Errorf("the server deletes keys when its memory is full (maxmemory-policy is %s), live authorizations among them: "+
			"set maxmemory-policy to noeviction, and use another server for caches; or set InsecureAllowEviction", policy)
	}
	return nil
}

// memoryPolicy asks by CONFIG, or by INFO where a service does not allow that.
func memoryPolicy(ctx context.Context, server redis.Cmdable) (string, error) {
	const name = "maxmemory-policy"
	all, err := server.ConfigGet(ctx, name).Result()
	if policy := all[name]; policy != "" {
		return policy, nil
	}
	info, infoErr := server.Info(ctx, "memory").Result()
	for line := range strings.Lines(info) {
		if policy, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok {
			return policy, nil
		}
	}
	return "", cmp.Or(err, infoErr, errors.New("no answer"))
}

// probe writes, updates, reads and deletes a record.
func (s *Store) probe(ctx context.Context) error {
	now := time.Now()
	r := oauth.Record{ID: "open-" + rand.Text(), Kind: "open", CreatedAt: now, ExpiresAt: now}
	e, err := s.list(ctx, &r)
	if err != nil {
		return err
	}
	if created, err := s.create(ctx, &r, e.nonce); err != nil || !created {
		return cmp.Or(err, errors.New("the server says that a random key exists"))
	}
	r.Version = 1
	if err := s.Update(ctx, r); err != nil {
		return err
	}
	if got, err := s.Get(ctx, r.ID); err != nil || got.Version != 2 {
		return cmp.Or(err, errors.New("the server does not return what was written"))
	}
	if _, err := s.run(ctx, judgeScript, []string{s.recordKey(r.ID)}, now.UnixMilli()+1); err != nil {
		return err
	}
	s.unlist(ctx, e)
	return nil
}

// advise says what to do about an error that a server gave Open.
func (s *Store) advise(err error) error {
	for _, c := range []struct{ prefix, advice string }{
		{"NOAUTH", "give the client a Username and Password"},
		{"WRONGPASS", "the client has a wrong Username or Password"},
		{"NOPERM", "the user needs, on the keys " + s.prefix + "*, the commands " + commands},
		{"READONLY", replica},
		{"MASTERDOWN", replica},
		{"NOREPLICAS", "fewer replicas follow this server than its min-replicas-to-write asks for: mend those"},
		{"LOADING", "the server still reads its data from the disk: wait, and look at its log"},
		{"DB index is out of range", "the server has no database of the client's DB number: use DB 0, or raise databases"},
		{"MOVED", "this is a server of a Cluster: use redis.NewClusterClient"},
		{"This instance has cluster support disabled", "this is no Cluster: use redis.NewClient"},
		{"CLUSTERDOWN", "the Cluster has hash slots without a primary: mend it first"},
		{"MISCONF", "the server cannot save to its disk and accepts no writes: see its log"},
		{"OOM", "the server's memory is full: raise maxmemory"},
		{"unknown command", tooOld},
		{"syntax error", tooOld},
	} {
		if redis.HasErrorPrefix(err, c.prefix) {
			return fmt.Errorf("%w: %s", err, c.advice)
		}
	}
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		return fmt.Errorf("%w: give the client's TLSConfig the RootCAs and the ServerName of the server's certificate", err)
	}
	if _, answered := errors.AsType[redis.Error](err); !answered && ctxOrNet(err) {
		return fmt.Errorf("no answer from the server: %w: see that it runs, and look at the client's address and TLSConfig", err)
	}
	return err
}

const (
	commands = "EVAL EVALSHA GET GETEX SET DEL ZADD ZREM ZCOUNT ZRANGEBYLEX ZRANGEBYSCORE TIME, and CONFIG GET or INFO"
	replica  = "this is a replica: give the client the primary, or Sentinel's addresses (NewFailoverClient without ReplicaOnly)"
	tooOld   = "the store needs Redis 6.2 or newer, or Valkey, and these commands not renamed: " + commands
)

// ctxOrNet says whether an error comes from the way to the server.
func ctxOrNet(err error) bool {
	_, isNet := errors.AsType[net.Error](err)
	return isNet || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded)
}
