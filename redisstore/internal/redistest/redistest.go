//go:build unix

// Package redistest runs Redis servers for tests: the binary of the machine's
// package, in a directory of its own, on free ports of the loopback interface. A
// missing binary is an error, never a reason to skip a test.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	startTime = 30 * time.Second
	pollTime  = 20 * time.Millisecond
	slots     = 16384
)

// A Server is a Redis server that runs.
type Server struct {
	Addr string // host:port

	bus  string // the port on which servers of a Cluster talk
	args []string
	bin  string
	dir  string
	cmd  *exec.Cmd
	done chan error
}

// Start makes and starts a server that saves nothing. Settings are such as
// "appendonly yes".
func Start(settings ...string) (*Server, error) {
	return start(append([]string{"save ", "appendonly no"}, settings...))
}

func start(settings []string) (*Server, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("redistest: redis-server is not in the PATH: apt-get install redis-server: %w", err)
	}
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: "127.0.0.1:" + ports[0], bus: ports[1], bin: bin, dir: dir}
	for _, setting := range append([]string{"bind 127.0.0.1", "port " + ports[0], "dir " + dir, "daemonize no", "cluster-port " + ports[1]}, settings...) {
		name, values, _ := strings.Cut(setting, " ")
		s.args = append(append(s.args, "--"+name), strings.Split(values, " ")...)
	}
	return s, s.Start()
}

// Start starts a server that was stopped or killed, with its data and its port.
func (s *Server) Start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(s.bin, s.args...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{}
	dieWithParent(s.cmd.SysProcAttr)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan<- error) { done <- cmd.Wait() }(s.cmd, s.done)
	return s.wait(func(ctx context.Context, c *redis.Client) error { return c.Ping(ctx).Err() })
}

// wait returns when ready returns nil.
func (s *Server) wait(ready func(ctx context.Context, c *redis.Client) error) error {
	c := redis.NewClient(&redis.Options{Addr: s.Addr, DialerRetries: 1})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", s.Addr) // go-redis logs what cannot be dialled
		if err == nil {
			err = errors.Join(conn.Close(), ready(ctx, c))
		}
		if err == nil || redis.HasErrorPrefix(err, "NOAUTH") {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("redistest: not ready after %v: %w", startTime, err), s.Kill())
		case exit := <-s.done:
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("redistest: the server ended: %w\n%s", exit, text)
		}
	}
}

// Stop ends the server in order.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

// Kill ends the server as a power cut would, without the machine.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

func (s *Server) end(signal os.Signal) error {
	if err := s.cmd.Process.Signal(signal); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := <-s.done; err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// Remove stops the server and deletes its directory.
func (s *Server) Remove() error { return errors.Join(s.Stop(), os.RemoveAll(s.dir)) }

// A Cluster is a Redis Cluster of primaries without replicas.
type Cluster struct{ Servers []*Server }

// StartCluster makes and starts a Cluster of n servers.
func StartCluster(n int, settings ...string) (*Cluster, error) {
	c := &Cluster{}
	for range n {
		s, err := Start(append(settings, "cluster-enabled yes")...)
		if err != nil {
			return nil, errors.Join(err, c.Remove())
		}
		c.Servers = append(c.Servers, s)
	}
	if err := c.join(); err != nil {
		return nil, errors.Join(err, c.Remove())
	}
	return c, nil
}

// join makes one Cluster of the servers.
func (c *Cluster) join() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	for i, s := range c.Servers {
		client := redis.NewClient(&redis.Options{Addr: s.Addr})
		from, to := i*slots/len(c.Servers), (i+1)*slots/len(c.Servers)-1
		err := client.ClusterAddSlotsRange(ctx, from, to).Err()
		for _, other := range c.Servers[:i] {
			host, port, _ := net.SplitHostPort(other.Addr)
			err = errors.Join(err, client.Do(ctx, "cluster", "meet", host, port, other.bus).Err())
		}
		if err = errors.Join(err, client.Close()); err != nil {
			return fmt.Errorf("redistest: cluster: %w", err)
		}
	}
	for _, s := range c.Servers {
		err := s.wait(func(ctx context.Context, client *redis.Client) error {
			info, err := client.ClusterInfo(ctx).Result()
			if err == nil && (!strings.Contains(info, "cluster_state:ok") ||
				!strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(len(c.Servers)))) {
				return errors.New(info)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Addrs are the addresses of all servers.
func (c *Cluster) Addrs() []string {
	var all []string
	for _, s := range c.Servers {
		all = append(all, s.Addr)
	}
	return all
}

// Remove stops the servers and deletes their directories.
func (c *Cluster) Remove() error {
	var all error
	for _, s := range c.Servers {
		all = errors.Join(all, s.Remove())
	}
	return all
}

// freePorts returns ports that were free a moment ago.
func freePorts(n int) ([]string, error) {
	var ports []string
	var all error
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(all, err)
		}
		defer l.Close() // when all are found, so that no two are the same
		_, port, err := net.SplitHostPort(l.Addr().String())
		all = errors.Join(all, err)
		ports = append(ports, port)
	}
	return ports, all
}
