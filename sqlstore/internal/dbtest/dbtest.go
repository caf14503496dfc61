//go:build unix

// Package dbtest runs database servers for tests: the binaries of the machine's
// packages, in a directory of their own, on a free port of the loopback interface.
// Missing binaries are an error, never a reason to skip a test.
package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver
	_ "github.com/jackc/pgx/v5/stdlib" // the driver
)

const (
	startTime = 60 * time.Second
	pollTime  = 50 * time.Millisecond
)

// A Server is a database server that runs.
type Server struct {
	driver  string
	dsn     func(name string) string
	command func() *exec.Cmd
	cmd     *exec.Cmd
	done    chan error
	stop    os.Signal
	kill    os.Signal
	log     string // the path of its log
	dir     string
}

// DSN is the data source name of a database of the server, of the administrator's
// if the name is "", and of a schema of that one if the server is PostgreSQL.
func (s *Server) DSN(name string) string { return s.dsn(name) }

// Driver is the name of its driver in database/sql.
func (s *Server) Driver() string { return s.driver }

// Start starts a server that was stopped or killed, with its data and its port.
func (s *Server) Start() error {
	s.cmd = s.command()
	log, err := os.OpenFile(s.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan<- error) { done <- cmd.Wait() }(s.cmd, s.done)
	return s.wait()
}

// wait returns when the server answers.
func (s *Server) wait() error {
	db, err := sql.Open(s.driver, s.dsn(""))
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("dbtest: no answer after %v: %w", startTime, err), s.Kill())
		case exit := <-s.done:
			text, _ := os.ReadFile(s.log)
			return fmt.Errorf("dbtest: the server ended: %w\n%s", exit, text)
		}
	}
}

// Stop ends the server in order, and lets it throw its clients out.
func (s *Server) Stop() error { return s.end(s.stop) }

// Kill ends the server as a power cut would, without the machine.
func (s *Server) Kill() error { return s.end(s.kill) }

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

// PostgreSQL makes and starts a PostgreSQL server. Settings are such as "fsync=off".
//
// Its default collation is ICU's English, which orders "a" before "B": what relies
// on the collation of the database shows.
func PostgreSQL(settings ...string) (*Server, error) {
	bin, err := directory("initdb", "/usr/lib/postgresql/*/bin", "postgresql")
	if err != nil {
		return nil, err
	}
	dir, as, err := place("postgres")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := as(exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
		"--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en", "--no-sync"))
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("dbtest: initdb: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args := []string{"-D", data, "-p", port, "-k", dir, "-h", "127.0.0.1", "-c", "max_connections=300"}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	s := &Server{
		driver: "pgx",
		dir:    dir,
		log:    filepath.Join(dir, "log"),
		stop:   syscall.SIGINT, // "fast": clients are thrown out
		// "immediate": nothing is written any more, and the next start recovers. After a
		// SIGKILL the processes of its connections would answer for a while.
		kill:    syscall.SIGQUIT,
		command: func() *exec.Cmd { return as(exec.Command(filepath.Join(bin, "postgres"), args...)) },
		dsn: func(schema string) string {
			dsn := "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable"
			if schema != "" {
				dsn += "&search_path=" + schema
			}
			return dsn
		},
	}
	return s, s.Start()
}

// MariaDB makes and starts a MariaDB server, with the defaults of the program and
// not those of the distribution. Settings are such as "sync_binlog=0".
func MariaDB(settings ...string) (*Server, error) {
	bin, err := directory("mariadbd", "/usr/sbin", "mariadb-server")
	if err != nil {
		return nil, err
	}
	install, err := directory("mariadb-install-db", "/usr/bin", "mariadb-server")
	if err != nil {
		return nil, err
	}
	dir, as, err := place("mysql")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := as(exec.Command(filepath.Join(install, "mariadb-install-db"), "--no-defaults", "--datadir="+data,
		"--auth-root-authentication-method=normal", "--skip-test-db"))
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("dbtest: mariadb-install-db: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args := []string{
		"--no-defaults", "--datadir=" + data, "--port=" + port, "--bind-address=127.0.0.1",
		"--socket=" + filepath.Join(dir, "socket"), "--pid-file=" + filepath.Join(dir, "pid"), "--max-connections=300",
	}
	for _, s := range settings {
		args = append(args, "--"+s)
	}
	s := &Server{
		driver:  "mysql",
		dir:     dir,
		log:     filepath.Join(dir, "log"),
		stop:    syscall.SIGTERM,
		kill:    syscall.SIGKILL,
		command: func() *exec.Cmd { return as(exec.Command(filepath.Join(bin, "mariadbd"), args...)) },
		dsn:     func(name string) string { return "root@tcp(127.0.0.1:" + port + ")/" + name },
	}
	return s, s.Start()
}

// directory finds the folder of a program: where Debian puts it, or in the PATH.
func directory(program, pattern, debian string) (string, error) {
	found, err := filepath.Glob(filepath.Join(pattern, program))
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("dbtest: %s is neither in %s nor in the PATH: apt-get install %s", program, pattern, debian)
	}
	return filepath.Dir(path), nil
}

// place makes a directory for a server, and returns what lets a command run in it
// as the account that owns it: for root the one given, as servers refuse root.
func place(account string) (dir string, as func(*exec.Cmd) *exec.Cmd, err error) {
	if dir, err = os.MkdirTemp("", "dbtest"); err != nil {
		return "", nil, err
	}
	attr := &syscall.SysProcAttr{}
	dieWithParent(attr)
	if os.Geteuid() == 0 {
		u, err := user.Lookup(account)
		if err != nil {
			return "", nil, fmt.Errorf("dbtest: %w: install the server's package, or do not run as root", err)
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
			return "", nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return dir, func(c *exec.Cmd) *exec.Cmd {
		c.Dir, c.SysProcAttr = dir, attr
		return c
	}, nil
}

// freePort returns a port that was free a moment ago.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
