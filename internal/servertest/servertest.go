//go:build unix

// Package servertest runs database servers for tests: the binaries of the machine's
// packages, each in a directory of its own, on a free port of the loopback interface.
// Missing binaries are an error, never a reason to skip a test.
package servertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	startTime = 60 * time.Second
	pollTime  = 20 * time.Millisecond
)

// errEnded is the error of a server that ended while it was waited for.
var errEnded = errors.New("servertest: the server ended")

// A Server is a database server of a test. Its methods are for one goroutine at a
// time.
type Server struct {
	Addr string // host:port

	driver  string
	dsn     func(name string) string
	command func() *exec.Cmd
	ready   func(ctx context.Context) error // asks at a socket in dir, so no stranger answers
	stop    os.Signal
	kill    os.Signal
	dir     string
	bus     string // the port on which servers of a Cluster talk

	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	exit error         // of cmd, when it has ended
}

// Driver is the name of its driver in database/sql; "" for Redis.
func (s *Server) Driver() string { return s.driver }

// DSN is the data source name of a database of the server, of the administrator's
// if the name is "", and of a schema of that one if the server is PostgreSQL. For
// Redis it is its URL, and the name is the number of a database or "".
func (s *Server) DSN(name string) string { return s.dsn(name) }

// Dir is its directory, which Remove deletes. The server writes into it.
func (s *Server) Dir() string { return s.dir }

// Start starts a server that was stopped or killed, with its data and its port, and
// returns when it answers.
func (s *Server) Start() error {
	log, err := os.OpenFile(s.log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, done := s.command(), make(chan struct{})
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.done = cmd, done
	go func() {
		s.exit = cmd.Wait()
		close(done)
	}()
	return s.wait(s.ready)
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// wait returns when ready returns nil.
func (s *Server) wait(ready func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("servertest: no answer after %v: %w", startTime, err), s.Kill())
		case <-s.done:
			text, _ := os.ReadFile(s.log())
			return fmt.Errorf("%w: %w\n%s", errEnded, s.exit, text)
		}
	}
}

// Stop ends the server in order, and lets it throw its clients out. It is no error
// that the server is gone.
func (s *Server) Stop() error { return s.end(s.stop) }

// Kill ends the server as a power cut would, without the machine. It is no error
// that the server is gone.
func (s *Server) Kill() error { return s.end(s.kill) }

func (s *Server) end(signal os.Signal) error {
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.done
	var exit *exec.ExitError
	if s.exit != nil && !errors.As(s.exit, &exit) {
		return s.exit
	}
	return nil
}

// Remove stops the server and deletes its directory.
func (s *Server) Remove() error { return errors.Join(s.Stop(), os.RemoveAll(s.dir)) }

// fresh starts a server for the first time, on other ports if somebody took those
// that were free a moment ago. No directory is left of a server that does not start.
func fresh(dir string, n int, on func(ports []string) *Server) (*Server, error) {
	var err error
	for range 3 {
		var ports []string
		if ports, err = freePorts(n); err != nil {
			break
		}
		s := on(ports)
		s.dir, s.Addr = dir, "127.0.0.1:"+ports[0]
		if err = s.Start(); err == nil {
			return s, nil
		}
		if !errors.Is(err, errEnded) {
			break
		}
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

// freePorts returns ports that were free a moment ago. They are below those that a
// kernel gives to outgoing connections: else a client that dials a stopped server
// could get its port, and even be connected with itself.
func freePorts(n int) ([]string, error) {
	var ports []string
	var err error
	for range 100 {
		var l net.Listener
		port := strconv.Itoa(15_000 + rand.IntN(17_000))
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err != nil {
			continue
		}
		defer l.Close() // when all are found, so that no two are the same
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("servertest: no free port: %w", err)
}

// program finds a program: where Debian puts it, or in the PATH.
func program(name, pattern, debian string) (string, error) {
	found, err := filepath.Glob(filepath.Join(pattern, name))
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return found[len(found)-1], nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("servertest: %s is neither in %s nor in the PATH: apt-get install %s", name, pattern, debian)
	}
	return path, nil
}

// place makes a directory for a server, and returns what lets a command run in it
// as the account that owns it: for root the one given, if servers refuse root.
func place(account string) (dir string, as func(*exec.Cmd) *exec.Cmd, err error) {
	attr := &syscall.SysProcAttr{}
	dieWithParent(attr)
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 && account != "" {
		u, err := user.Lookup(account)
		if err != nil {
			return "", nil, fmt.Errorf("servertest: %w: install the server's package, or do not run as root", err)
		}
		var err1, err2 error
		uid, err1 = strconv.Atoi(u.Uid)
		gid, err2 = strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return "", nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if dir, err = os.MkdirTemp("", "servertest"); err != nil {
		return "", nil, err
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func(c *exec.Cmd) *exec.Cmd {
		c.Dir, c.SysProcAttr = dir, attr
		return c
	}, nil
}
