package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// A meddler sees each command before it is sent, and after it took effect. Commands
// in a pipeline are one.
type meddler struct {
	before, after func(ctx context.Context, cmds []redis.Cmder) error
}

func (m meddler) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m meddler) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := m.around(ctx, []redis.Cmder{cmd}, func() error { return next(ctx, cmd) })
		if err != nil {
			cmd.SetErr(err)
		}
		return err
	}
}

func (m meddler) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := m.around(ctx, cmds, func() error { return next(ctx, cmds) })
		if errors.Is(err, errMeddled) {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
		}
		return err
	}
}

func (m meddler) around(ctx context.Context, cmds []redis.Cmder, next func() error) error {
	if m.before != nil {
		if err := m.before(ctx, cmds); err != nil {
			return err
		}
	}
	err := next()
	if m.after != nil && err == nil {
		return m.after(ctx, cmds)
	}
	return err
}

var errMeddled = errors.New("meddled")

// failing fails the n-th command, before or after it took effect, and counts.
func failing(client redis.UniversalClient, n int64, after bool) *atomic.Int64 {
	count := new(atomic.Int64)
	strike := func(context.Context, []redis.Cmder) error {
		if count.Add(1) == n {
			return errMeddled
		}
		return nil
	}
	if after {
		client.AddHook(meddler{after: strike})
	} else {
		client.AddHook(meddler{before: strike})
	}
	return count
}

// A cutter breaks a connection when the answer to a command comes: the command took
// effect and nobody hears of it.
type cutter struct {
	armed atomic.Pointer[string] // the command
	cuts  atomic.Int64
}

func (c *cutter) arm(command string) { c.armed.Store(&command) }

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &cutConn{Conn: conn, c: c}, err
}

type cutConn struct {
	net.Conn
	c      *cutter
	doomed atomic.Bool
	mu     sync.Mutex
	closed bool
}

func (c *cutConn) Write(b []byte) (int, error) {
	if command := c.c.armed.Load(); command != nil && bytes.Contains(b, []byte("\r\n"+*command+"\r\n")) {
		c.c.armed.Store(nil)
		c.doomed.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.doomed.CompareAndSwap(true, false) {
		c.c.cuts.Add(1)
		return 0, errors.Join(io.EOF, c.Conn.Close())
	}
	return n, err
}

func (c *cutConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	if err := c.Conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// slotsOf returns the hash slots of the keys of a command.
func slotsOf(t testing.TB, client redis.UniversalClient, args []any) []int64 {
	var keys []any
	switch name := args[0].(string); name {
	case "eval", "evalsha":
		keys = args[3:][:args[2].(int)]
	case "getex", "zadd", "zrem", "zcount", "zrangebylex", "zrangebyscore":
		keys = args[1:2]
	case "time", "ping", "cluster", "config", "info", "command", "hello", "client":
	default:
		t.Errorf("a command that this test does not know: %v", args)
	}
	var slots []int64
	for _, key := range keys {
		slot, err := client.ClusterKeySlot(context.Background(), key.(string)).Result()
		require.NoError(t, err)
		slots = append(slots, slot)
	}
	return slots
}
