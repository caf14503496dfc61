// Command mutants breaks the library on purpose, one line at a time, and tells which
// test notices. mutants.txt lists the lines: each is one whose loss somebody could
// make use of. A mutation that no test notices is a hole in the tests.
//
// The files themselves are never touched: the go command is told by -overlay to read
// the broken line in place of the good one.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// outcome is what became of one mutation.
type outcome string

const (
	killed     outcome = "killed"
	survived   outcome = "SURVIVED"
	uncompiled outcome = "does not compile"
	unplaced   outcome = "is not to be had" // a mistake in the list
)

// A result is an outcome with the test that made it, or what is wrong with the list.
type result struct {
	outcome
	by    string
	first bool // the tests that the list names were enough
}

// A bench runs mutations on one module.
type bench struct {
	root     string // of the module, an absolute path
	temp     string
	packages []string // all that are tested, but those that need servers
}

func main() {
	root := flag.String("C", ".", "the `directory` of the module")
	list := flag.String("list", "tools/mutants/mutants.txt", "the list, below that directory")
	only := flag.String("only", "", "a `regexp`: take only the mutations whose file, line or reason has it")
	flag.Parse()
	ok, err := run(*root, *list, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(root, list, only string) (ok bool, err error) {
	began := time.Now()
	b := &bench{}
	if b.root, err = filepath.Abs(root); err != nil {
		return false, err
	}
	text, err := os.ReadFile(filepath.Join(b.root, list))
	if err != nil {
		return false, err
	}
	all, err := parse(string(text))
	if err != nil {
		return false, fmt.Errorf("%s: %w", list, err)
	}
	take, err := regexp.Compile(only)
	if err != nil {
		return false, err
	}
	all = slices.DeleteFunc(all, func(m mutation) bool { return !take.MatchString(m.String()) })
	if b.temp, err = os.MkdirTemp("", "mutants"); err != nil {
		return false, err
	}
	defer os.RemoveAll(b.temp)
	if err := b.prepare(); err != nil {
		return false, err
	}
	results := b.runAll(all)
	count := map[outcome]int{}
	late := 0
	for _, r := range results {
		count[r.outcome]++
		if r.outcome == killed && !r.first {
			late++
		}
	}
	fmt.Printf("%d mutations: %d killed (%d of them by a test that the list does not name), %d survived, %d did not compile, %d not to be had; %v\n",
		len(all), count[killed], late, count[survived], count[uncompiled], count[unplaced], time.Since(began).Round(time.Second))
	return count[killed] == len(all), nil
}

// prepare finds the packages, and makes sure that their tests pass as they are: a test
// that fails anyway would kill everything.
func (b *bench) prepare() error {
	out, err := b.command("list", "./...").CombinedOutput()
	if err != nil {
		return fmt.Errorf("go list: %w\n%s", err, out)
	}
	b.packages = slices.DeleteFunc(strings.Fields(string(out)), func(p string) bool { return strings.HasSuffix(p, "/internal/servertest") })
	if out, err := b.command(append([]string{"test", "-vet=off", "-timeout=10m"}, b.packages...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("the tests fail without a mutation, the first of them is %s: %w", killer(string(out)), err)
	}
	return nil
}

func (b *bench) command(args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = b.root, append(os.Environ(), "GOWORK=off")
	return cmd
}

// runAll runs two at a time, and tells of each as soon as it is done.
func (b *bench) runAll(all []mutation) []result {
	results := make([]result, len(all))
	next := make(chan int)
	var workers sync.WaitGroup
	var mu sync.Mutex // of the output
	for range 2 {
		workers.Go(func() {
			for i := range next {
				r := b.run(i, all[i])
				results[i] = r
				mu.Lock()
				fmt.Printf("%s  %s  (%s)\n", r.outcome, all[i], cmp.Or(r.by, "by no test"))
				mu.Unlock()
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	workers.Wait()
	return results
}

// run makes one mutation and runs the tests that the list names, then all others.
func (b *bench) run(i int, m mutation) result {
	overlay, err := b.overlay(i, m)
	if err != nil {
		return result{outcome: unplaced, by: err.Error()}
	}
	out, passed := b.test(overlay, "-run="+m.tests, m.pkg)
	switch {
	case strings.Contains(out, "[build failed]"):
		return result{outcome: uncompiled, by: out}
	case strings.Contains(out, "[no tests to run]"), strings.Contains(out, "[setup failed]"):
		return result{outcome: unplaced, by: "no test of " + m.pkg + " is called " + m.tests}
	case !passed:
		return result{outcome: killed, by: killer(out), first: true}
	}
	for _, pkg := range b.packages {
		if out, passed := b.test(overlay, pkg); !passed {
			return result{outcome: killed, by: killer(out)}
		}
	}
	return result{outcome: survived}
}

// overlay writes the mutated file and what tells the go command of it.
func (b *bench) overlay(i int, m mutation) (string, error) {
	name := filepath.Join(b.root, filepath.FromSlash(m.file))
	good, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	bad, err := m.apply(string(good))
	if err != nil {
		return "", err
	}
	file := filepath.Join(b.temp, fmt.Sprint(i, ".go"))
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": {name: file}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(b.temp, fmt.Sprint(i, ".json"))
	return overlay, os.WriteFile(overlay, text, 0o600)
}

// test runs tests until the first that fails. The results of packages that have no
// part in the mutation come from the cache.
func (b *bench) test(overlay string, args ...string) (out string, passed bool) {
	text, err := b.command(append([]string{"test", "-vet=off", "-p=1", "-failfast", "-timeout=4m", "-overlay=" + overlay}, args...)...).CombinedOutput()
	return string(text), err == nil
}

// killer is the name of the test that failed first, as far down as it goes.
func killer(out string) string {
	name := ""
	for line := range strings.Lines(out) {
		rest, failed := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: ")
		if !failed && name != "" {
			break
		}
		if failed {
			name, _, _ = strings.Cut(rest, " (")
		}
	}
	if strings.Contains(out, "panic: test timed out") {
		return strings.TrimSpace(name + " by its time")
	}
	return cmp.Or(name, "a test that ended the process")
}
