//go:build unix

package servertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// PostgreSQL makes and starts a PostgreSQL server. Settings are such as "fsync=off".
//
// Its default collation is ICU's English, which orders "a" before "B": what relies
// on the collation of the database shows.
func PostgreSQL(settings ...string) (*Server, error) {
	initdb, err := program("initdb", "/usr/lib/postgresql/*/bin", "postgresql")
	if err != nil {
		return nil, err
	}
	bin := filepath.Dir(initdb)
	dir, as, err := place("postgres")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := prepare(dir, as(exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
		"--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en", "--no-sync"))); err != nil {
		return nil, err
	}
	return fresh(dir, 1, func(ports []string) *Server {
		port := ports[0]
		args := []string{"-D", data, "-p", port, "-k", dir, "-h", "127.0.0.1", "-c", "max_connections=300"}
		for _, s := range settings {
			args = append(args, "-c", s)
		}
		return &Server{
			driver: "pgx",
			stop:   syscall.SIGINT, // "fast": clients are thrown out
			// "immediate": nothing is written any more, and the next start recovers. After a
			// SIGKILL the processes of its connections would answer for a while.
			kill:    syscall.SIGQUIT,
			command: func() *exec.Cmd { return as(exec.Command(filepath.Join(bin, "postgres"), args...)) },
			ready: func(ctx context.Context) error {
				return exec.CommandContext(ctx, filepath.Join(bin, "pg_isready"), "-q", "-h", dir, "-p", port, "-d", "postgres", "-U", "postgres").Run()
			},
			dsn: func(schema string) string {
				dsn := "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable"
				if schema != "" {
					dsn += "&search_path=" + schema
				}
				return dsn
			},
		}
	})
}

// MariaDB makes and starts a MariaDB server, with the defaults of the program and
// not those of the distribution. Settings are such as "sync_binlog=0".
func MariaDB(settings ...string) (*Server, error) {
	mariadbd, err1 := program("mariadbd", "/usr/sbin", "mariadb-server")
	install, err2 := program("mariadb-install-db", "/usr/bin", "mariadb-server")
	admin, err3 := program("mariadb-admin", "/usr/bin", "mariadb-client")
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	dir, as, err := place("mysql")
	if err != nil {
		return nil, err
	}
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "socket")
	if err := prepare(dir, as(exec.Command(install, "--no-defaults", "--datadir="+data,
		"--auth-root-authentication-method=normal", "--skip-test-db"))); err != nil {
		return nil, err
	}
	return fresh(dir, 1, func(ports []string) *Server {
		port := ports[0]
		args := []string{
			"--no-defaults", "--datadir=" + data, "--port=" + port, "--bind-address=127.0.0.1",
			"--socket=" + socket, "--pid-file=" + filepath.Join(dir, "pid"), "--max-connections=300",
		}
		for _, s := range settings {
			args = append(args, "--"+s)
		}
		return &Server{
			driver:  "mysql",
			stop:    syscall.SIGTERM,
			kill:    syscall.SIGKILL,
			command: func() *exec.Cmd { return as(exec.Command(mariadbd, args...)) },
			ready: func(ctx context.Context) error {
				return exec.CommandContext(ctx, admin, "--no-defaults", "--protocol=socket", "--socket="+socket, "--user=root", "ping").Run()
			},
			dsn: func(name string) string { return "root@tcp(127.0.0.1:" + port + ")/" + name },
		}
	})
}

// prepare runs the command that makes the server's files.
func prepare(dir string, cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("servertest: %s: %w\n%s", filepath.Base(cmd.Path), err, out), os.RemoveAll(dir))
	}
	return nil
}
