package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/grantwell/oauth"
)

// A cluster is the processes of one server and the proxy before them.
type cluster struct {
	deployment
	proxy     *proxy
	front     *http.Server
	processes []*process // nil where one was stopped or killed
	stderr    io.Writer  // of the processes
}

// newCluster starts n processes on a store, and the proxy.
func newCluster(store string, n int, stderr io.Writer) (*cluster, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cluster{proxy: newProxy(n), processes: make([]*process, n), stderr: stderr, deployment: deployment{
		Issuer: "http://" + listener.Addr().String(), Store: store,
		Secret: oauth.NewSecret(), AppSecret: rand.Text(), APISecret: rand.Text(),
	}}
	for i := range n {
		if err := c.start(i); err != nil {
			return nil, errors.Join(err, listener.Close(), c.stop())
		}
	}
	c.front = &http.Server{Handler: c.proxy, ReadHeaderTimeout: 5 * time.Second}
	go c.front.Serve(listener) //nolint:errcheck // it ends when stop closes it
	return c, nil
}

// start starts a process that does not run, and points the proxy to it.
func (c *cluster) start(i int) error {
	p, err := startProcess(c.deployment, c.stderr)
	if err != nil {
		return fmt.Errorf("process %d: %w", i+1, err)
	}
	c.processes[i] = p
	c.proxy.point(i, p.addr)
	return nil
}

// kill ends a process by SIGKILL.
func (c *cluster) kill(i int) error {
	p := c.processes[i]
	c.processes[i] = nil
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	var killed *exec.ExitError
	if err := p.cmd.Wait(); !errors.As(err, &killed) {
		return fmt.Errorf("process %d was not killed: %w", i+1, err)
	}
	return nil
}

// stop ends the proxy, and the processes in order.
func (c *cluster) stop() error {
	var all []error
	if c.front != nil {
		all = append(all, c.front.Close())
	}
	c.proxy.processes.CloseIdleConnections() // or the processes would wait for them
	for i, p := range c.processes {
		if p != nil {
			c.processes[i] = nil
			all = append(all, p.stdin.Close(), p.cmd.Wait())
		}
	}
	return errors.Join(all...)
}

// A process is one of the server.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer // it ends when this is closed
	addr  string    // on which it listens
}

// startProcess starts this program once more and returns when it listens.
func startProcess(d deployment, stderr io.Writer) (*process, error) {
	shared, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-serve", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), environment+"="+string(shared))
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil { // it ended, and has said why
		return nil, errors.Join(fmt.Errorf("it does not start: %w", err), stdin.Close(), cmd.Wait())
	}
	return &process{cmd: cmd, stdin: stdin, addr: strings.TrimSpace(line)}, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }
