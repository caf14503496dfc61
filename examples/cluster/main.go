// Command cluster is one authorization server in three processes, as on three
// machines: on one PostgreSQL or one Redis, behind a proxy that hands out requests
// in turn. A user may meet another process with every request; no process keeps
// anything that the others would miss. While users sign in, refresh and call an API,
// one process is killed with SIGKILL and started again; at the end the program says
// whether a session was lost or anything was spent twice.
//
//	go run ./examples/cluster -store postgres://user:password@localhost/database
//	go run ./examples/cluster -store redis://localhost:6379/0
//	go run ./examples/cluster -store … -d 1m -n 32
//
// All users of a machine can see the arguments of a program. So a store with a
// password that matters goes into the variable CLUSTER_STORE in place of -store; the
// processes get it from this one in their environment, with the other secrets.
//
// Give it an empty database: its records stay there until they expire and are swept.
//
// Read it in this order: server.go is what each process runs, and what to copy;
// process.go starts and kills processes, proxy.go stands before them, load.go is the
// users and their app, summary.go what they count. This file puts them together.
//
// What a client must do to lose nothing is in load.go too: after a 502, a 503 or a
// broken connection it sends the same request again, a refresh within 30 s; and if a
// code is refused then, its user signs in again.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const processes = 3

// storeVariable is the variable that stands for -store.
const storeVariable = "CLUSTER_STORE"

// options are the flags.
type options struct {
	store    string
	duration time.Duration
	sessions int
}

func main() {
	var o options
	flag.StringVar(&o.store, "store", "", "postgres://… or redis://…: the `URL` of an empty database; without it, that in the variable "+storeVariable)
	flag.DurationVar(&o.duration, "d", 15*time.Second, "how long the load lasts")
	flag.IntVar(&o.sessions, "n", 16, "sessions that are in use at the same time")
	child := flag.String("serve", "", "be one process of the server, on this `address` (the program starts itself so)")
	flag.Parse()
	err := func() error {
		if *child != "" {
			return serve(*child, os.Getenv(environment))
		}
		o.store = cmp.Or(o.store, os.Getenv(storeVariable)) // not the flag's default, which -h would print
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return run(ctx, o, os.Stdout)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// run puts load on a cluster and kills a process meanwhile. The error is for what
// did not start, and for anything lost or spent twice.
func run(ctx context.Context, o options, out io.Writer) error {
	switch {
	case o.store == "":
		return errors.New("no store: say -store postgres://… or -store redis://…, or set " + storeVariable)
	case o.sessions < 1 || o.duration < time.Second:
		return errors.New("at least one session (-n) and one second (-d)")
	}
	// To see here, once and clearly, what would otherwise fail in each process.
	if err := tryStore(ctx, o.store); err != nil {
		return err
	}
	c, err := newCluster(o.store, processes, os.Stderr)
	if err != nil {
		return err
	}
	defer c.stop() //nolint:errcheck // of processes that are still there when something else failed
	fmt.Fprintf(out, "%d processes at %s, %d sessions at a time, for %v\n", processes, c.Issuer, o.sessions, o.duration)

	l := newLoad(c.deployment)
	over, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	began := time.Now()
	crashed := make(chan error, 1)
	go func() { crashed <- crash(over, c, o.duration, out) }()
	l.run(over, o.sessions)
	lasted := time.Since(began)
	if err := <-crashed; err != nil {
		return err
	}
	l.check(o.sessions)
	if err := c.stop(); err != nil {
		return err
	}
	sum := l.summary()
	fmt.Fprintf(out, "\n%s\n", sum)
	if err := sum.err(); err != nil {
		return err
	}
	fmt.Fprintf(out, "In %.1f s nothing was lost and nothing was spent twice.\n", lasted.Seconds())
	return nil
}

// crash kills a process when a third of the time is over, and starts it again when
// half of it is.
func crash(ctx context.Context, c *cluster, d time.Duration, out io.Writer) error {
	const victim = 1
	if !wait(ctx, d/3) {
		return nil
	}
	fmt.Fprintf(out, "kill -9 %d\n", c.processes[victim].pid())
	if err := c.kill(victim); err != nil {
		return err
	}
	if !wait(ctx, d/6) {
		return nil
	}
	if err := c.start(victim); err != nil {
		return err
	}
	fmt.Fprintf(out, "started again as %d\n", c.processes[victim].pid())
	return nil
}

// wait reports whether the time has passed before ctx was done.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
