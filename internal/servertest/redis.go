//go:build unix

package servertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const slots = 16384 // of a Cluster

// Redis makes and starts a Redis server that saves nothing. Settings are such as
// "appendonly yes".
func Redis(settings ...string) (*Server, error) {
	redis, err := program("redis-server", "/usr/bin", "redis-server")
	if err != nil {
		return nil, err
	}
	dir, as, err := place("")
	if err != nil {
		return nil, err
	}
	return fresh(dir, 2, func(ports []string) *Server {
		args := []string{}
		for _, setting := range append([]string{
			"save ", "appendonly no", "bind 127.0.0.1", "port " + ports[0], "cluster-port " + ports[1],
			"unixsocket " + filepath.Join(dir, "socket"), "dir " + dir, "daemonize no",
		}, settings...) {
			name, values, _ := strings.Cut(setting, " ")
			args = append(append(args, "--"+name), strings.Split(values, " ")...)
		}
		return &Server{
			bus:     ports[1],
			stop:    syscall.SIGTERM,
			kill:    syscall.SIGKILL,
			command: func() *exec.Cmd { return as(exec.Command(redis, args...)) },
			ready: func(ctx context.Context) error {
				_, err := command(ctx, dir, "PING")
				if err != nil && strings.HasPrefix(err.Error(), "NOAUTH") {
					return nil
				}
				return err
			},
			dsn: func(name string) string { return "redis://127.0.0.1:" + ports[0] + "/" + name },
		}
	})
}

// command sends one command to the server in the directory, and returns its answer,
// which must be no array.
func command(ctx context.Context, dir string, words ...string) (string, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", filepath.Join(dir, "socket"))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := io.WriteString(conn, strings.Join(words, " ")+"\r\n"); err != nil { // an "inline command"
		return "", err
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, text := line[0], strings.TrimSuffix(line[1:], "\r\n")
	switch kind {
	case '+', ':':
		return text, nil
	case '-':
		return "", errors.New(text)
	case '$':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return "", errors.Join(err, errors.New("servertest: no string: "+text))
		}
		b := make([]byte, n)
		_, err = io.ReadFull(in, b)
		return string(b), err
	}
	return "", fmt.Errorf("servertest: an answer of another kind: %q", line)
}

// A Cluster is a Redis Cluster of primaries without replicas.
type Cluster struct{ Servers []*Server }

// RedisCluster makes and starts a Cluster of n servers. Settings are those of each.
func RedisCluster(n int, settings ...string) (*Cluster, error) {
	c := &Cluster{}
	for range n {
		s, err := Redis(append(settings, "cluster-enabled yes")...)
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
		from, to := i*slots/len(c.Servers), (i+1)*slots/len(c.Servers)-1
		_, err := command(ctx, s.dir, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(from), strconv.Itoa(to))
		for _, other := range c.Servers[:i] {
			host, port, _ := net.SplitHostPort(other.Addr)
			_, meet := command(ctx, s.dir, "CLUSTER", "MEET", host, port, other.bus)
			err = errors.Join(err, meet)
		}
		if err != nil {
			return fmt.Errorf("servertest: cluster: %w", err)
		}
	}
	for _, s := range c.Servers {
		err := s.wait(func(ctx context.Context) error {
			info, err := command(ctx, s.dir, "CLUSTER", "INFO")
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
