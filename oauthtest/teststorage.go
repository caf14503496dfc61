package oauthtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grantwell/oauth"
)

// TestStorage puts a store to the contract of [oauth.Storage], one subtest per
// sentence. A failure quotes the sentence and says what the store did.
//
//	func TestStore(t *testing.T) {
//		oauthtest.TestStorage(t, func(t *testing.T) oauth.Storage {
//			db, err := sql.Open("pgx", "postgres://localhost/test")
//			if err != nil {
//				t.Fatal(err)
//			}
//			t.Cleanup(func() { db.Close() })
//			db.SetMaxOpenConns(1) // once more with one: List holds none while it yields
//			return mystore.New(db)
//		})
//	}
//
// Every subtest calls open and takes whatever it returns for its own: an empty
// store, or a handle on one database that all of them share, together with other
// records. Each works in a realm of its own, with random IDs, and leaves its
// records behind, some of which never expire: give it a database for tests. No
// other program should call DeleteExpired on that database meanwhile.
//
// Subtests run in parallel, those of DeleteExpired excepted. Times are relative
// to the real present. A store may drop what has expired by a clock of its own,
// or leave it all to DeleteExpired. A call that does not return within 20 seconds
// fails its subtest. With -short the subtest "List/10,000 records" makes 1,000.
//
// Where [oauth.Record] says that neither side changes Data after the call,
// TestStorage asks for copies: what is stored must not change with a slice that
// the caller gave or got.
func TestStorage(t *testing.T, open func(t *testing.T) oauth.Storage) {
	t.Helper()
	for _, c := range storageContract() {
		t.Run(c.method, func(t *testing.T) {
			for _, check := range c.checks {
				t.Run(check.name, func(t *testing.T) {
					if !c.alone {
						t.Parallel()
					}
					if err := check.run(t.Context(), open(t), storagePatience); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

// storagePatience is how long a call may take before its store counts as hung.
const storagePatience = 20 * time.Second

// A chapter of the contract is about one method.
type chapter struct {
	method string
	checks []check
	alone  bool // its checks delete what others may have let expire
}

// A check is a sentence of the contract and its proof.
type check struct {
	name string // of the subtest
	says string // the sentence
	test func(t *trial)
}

func storageContract() []chapter {
	return []chapter{
		{method: "Record", checks: recordChecks()},
		{method: "Create", checks: createChecks()},
		{method: "Get", checks: getChecks()},
		{method: "Update", checks: updateChecks()},
		{method: "List", checks: listChecks()},
		{method: "ExpiresAt", checks: expiresAtChecks()},
		{method: "DeleteExpired", checks: deleteExpiredChecks(), alone: true},
		{method: "Context", checks: contextChecks()},
	}
}

// run puts one store to one check and returns how it failed. The check runs in a
// goroutine of its own, which is left behind if the store never returns.
func (c check) run(ctx context.Context, store oauth.Storage, patience time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &watched{storage: store, calls: map[*storageCall]bool{}}
	t := &trial{ctx: ctx, store: w, realm: "realm-" + rand.Text(), prefix: "t-" + rand.Text(), now: present()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				t.did = fmt.Sprintf("panicked: %v\n%s", p, debug.Stack())
			}
		}()
		c.test(t)
	}()
	tick := time.NewTicker(patience / 10)
	defer tick.Stop()
	did := ""
	for running := true; running; {
		select {
		case <-done:
			did, running = t.did, false
		case <-tick.C:
			did = w.overdue(patience)
			running = did == ""
		}
	}
	if did == "" {
		return nil
	}
	return fmt.Errorf("oauth.Storage says: %s\nthis store: %s", c.says, did)
}

// present is the time to the millisecond.
func present() time.Time { return time.UnixMilli(time.Now().UnixMilli()).UTC() }

// A trial is one run of a check. Its methods, fail above all, are for the
// goroutine of the check alone.
type trial struct {
	ctx    context.Context
	store  oauth.Storage
	realm  string    // of this trial alone
	prefix string    // of its IDs
	now    time.Time // when it began
	twins  int
	did    string // how the store failed
}

// fail ends the check.
func (t *trial) fail(format string, args ...any) {
	t.did = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (t *trial) id(suffix string) string { return t.prefix + suffix }

// record is a record as a server would make it, with every field set; it lives.
func (t *trial) record(suffix string) oauth.Record {
	return oauth.Record{
		Realm:     t.realm,
		ID:        t.id(suffix),
		Kind:      oauth.KindAuthorization,
		Version:   1,
		ClientID:  "https://client.example/app",
		Subject:   "alice",
		CreatedAt: t.now.Add(-3 * time.Hour),
		ExpiresAt: t.now.Add(5 * time.Hour),
		Data:      []byte(`{"head":"AQID","scope":"read write"}`),
	}
}

// expired is a record that a store may have dropped already.
func (t *trial) expired(suffix string) oauth.Record {
	r := t.record(suffix)
	r.ExpiresAt = t.now.Add(-time.Hour)
	return r
}

func (t *trial) create(r oauth.Record) {
	t.answer(t.store.Create(t.ctx, r), nil, "Create of %q", r.ID)
}

func (t *trial) update(r oauth.Record) {
	t.answer(t.store.Update(t.ctx, r), nil, "Update of %q, version %d", r.ID, r.Version)
}

func (t *trial) get(id string) oauth.Record {
	r, err := t.store.Get(t.ctx, id)
	t.answer(err, nil, "Get of %q", id)
	return r
}

func (t *trial) missing(id, why string) {
	r, err := t.store.Get(t.ctx, id)
	if err == nil {
		t.fail("Get of %q finds %s, %s", id, brief(r.ID), why)
	}
	t.answer(err, oauth.ErrNotFound, "Get of %q, %s,", id, why)
}

// yielded fails at an error that List yields.
func (t *trial) yielded(f oauth.Filter, err error) {
	if err != nil {
		t.answer(err, nil, "%s", show(f))
	}
}

// list returns what List yields.
func (t *trial) list(f oauth.Filter) []oauth.Record {
	var all []oauth.Record
	for r, err := range t.store.List(t.ctx, f) {
		t.yielded(f, err)
		if all = append(all, r); len(all) > 1_000_000 {
			t.fail("%s does not end", show(f))
		}
	}
	return all
}

// suffixes returns the IDs that List yields, without the prefix of the trial. A
// filter that names no realm is for that of the trial.
func (t *trial) suffixes(f oauth.Filter) []string {
	if f.Realm == "" {
		f.Realm = t.realm
	}
	found := []string{}
	for _, r := range t.list(f) {
		found = append(found, strings.TrimPrefix(r.ID, t.prefix))
	}
	return found
}

// wait lets real time pass.
func (t *trial) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
		t.fail("waited for in vain: %v", t.ctx.Err())
	}
}

var sentinels = []struct {
	name string
	err  error
}{{"ErrNotFound", oauth.ErrNotFound}, {"ErrExists", oauth.ErrExists}, {"ErrConflict", oauth.ErrConflict}}

// sentinel names the first of the three that errors.Is finds in err.
func sentinel(err error) string {
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.name
		}
	}
	return ""
}

// answer fails unless err is want, nil or a sentinel, and no sentinel besides.
func (t *trial) answer(err, want error, call string, args ...any) {
	if problem := mistaken(err, want); problem != "" {
		t.fail("%s %s", fmt.Sprintf(call, args...), problem)
	}
}

// mistaken says what is wrong with an answer, or "".
func mistaken(err, want error) string {
	wanted := "nil"
	if want != nil {
		wanted = sentinel(want)
	}
	if err == nil {
		if want == nil {
			return ""
		}
		return "returned nil, want " + wanted
	}
	if want == nil || !errors.Is(err, want) {
		text := fmt.Sprintf("returned the error %q, want %s", err, wanted)
		if want != nil && strings.Contains(err.Error(), want.Error()) {
			text += ": the text is right, but errors.Is does not find it; return the sentinel or wrap it with %w"
		}
		return text
	}
	for _, s := range sentinels {
		if s.err != want && errors.Is(err, s.err) {
			return fmt.Sprintf("returned the error %q, which is %s and %s at once", err, wanted, s.name)
		}
	}
	return ""
}

// same fails unless the records are equal, times as instants and all else byte
// by byte.
func (t *trial) same(want, got oauth.Record, when string, args ...any) {
	if d := difference(want, got); d != "" {
		t.fail("%s of %q: %s", fmt.Sprintf(when, args...), want.ID, d)
	}
}

func difference(want, got oauth.Record) string {
	var all []string
	text := func(field, want, got string) {
		if want != got {
			all = append(all, fmt.Sprintf("%s is %s, want %s", field, brief(got), brief(want)))
		}
	}
	instant := func(field string, want, got time.Time) {
		if !want.Equal(got) {
			all = append(all, fmt.Sprintf("%s is %s, want %s", field, got.Format(time.RFC3339Nano), want.Format(time.RFC3339Nano)))
		}
	}
	text("Realm", want.Realm, got.Realm)
	text("ID", want.ID, got.ID)
	text("Kind", string(want.Kind), string(got.Kind))
	if want.Version != got.Version {
		all = append(all, fmt.Sprintf("Version is %d, want %d", got.Version, want.Version))
	}
	text("ClientID", want.ClientID, got.ClientID)
	text("Subject", want.Subject, got.Subject)
	instant("CreatedAt", want.CreatedAt, got.CreatedAt)
	instant("ExpiresAt", want.ExpiresAt, got.ExpiresAt)
	text("Data", string(want.Data), string(got.Data))
	return strings.Join(all, "; ")
}

// show names the fields of a filter that are set.
func show(f oauth.Filter) string {
	var set []string
	for _, field := range [][2]string{{"Realm", f.Realm}, {"Kind", string(f.Kind)}, {"ClientID", f.ClientID}, {"Subject", f.Subject}, {"After", f.After}} {
		if field[1] != "" {
			set = append(set, field[0]+" "+brief(field[1]))
		}
	}
	return "List(" + strings.Join(set, ", ") + ")"
}

// brief quotes a text, and what is long by its beginning and length.
func brief(s string) string {
	if len(s) <= 120 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q… (%d bytes)", s[:60], len(s))
}

// together runs f for 0 … n-1, all released at the same moment, and returns what
// each of them returned.
func together(n int, f func(i int) error) []error {
	var ready, done sync.WaitGroup
	start, errs := make(chan struct{}), make([]error, n)
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("panicked: %v\n%s", p, debug.Stack())
				}
			}()
			ready.Done()
			<-start
			errs[i] = f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return errs
}

// all fails with the first error, for a check whose racers must all succeed.
func (t *trial) all(errs []error) {
	for _, err := range errs {
		if err != nil {
			t.fail("%v", err)
		}
	}
}

// A watched store knows which of its calls are under way, and for how long.
type watched struct {
	storage oauth.Storage
	mu      sync.Mutex
	calls   map[*storageCall]bool
}

type storageCall struct {
	method, id string
	since      time.Time
}

// enter notes a call; what it returns may be called more than once.
func (w *watched) enter(method, id string) (leave func()) {
	c := &storageCall{method, id, time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[c] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.calls, c)
	}
}

// overdue names a call that has been under way for too long.
func (w *watched) overdue(patience time.Duration) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.calls {
		if time.Since(c.since) > patience {
			return fmt.Sprintf("hangs: %s(%s) has not returned for %v, with %d calls under way", c.method, c.id, patience, len(w.calls))
		}
	}
	return ""
}

func (w *watched) Create(ctx context.Context, r oauth.Record) error {
	defer w.enter("Create", r.ID)()
	return w.storage.Create(ctx, r)
}

func (w *watched) Get(ctx context.Context, id string) (oauth.Record, error) {
	defer w.enter("Get", id)()
	return w.storage.Get(ctx, id)
}

func (w *watched) Update(ctx context.Context, r oauth.Record) error {
	defer w.enter("Update", r.ID)()
	return w.storage.Update(ctx, r)
}

func (w *watched) DeleteExpired(ctx context.Context, before time.Time, limit int) (int, error) {
	defer w.enter("DeleteExpired", "")()
	return w.storage.DeleteExpired(ctx, before, limit)
}

// List is under way except while it yields, and again while it cleans up.
func (w *watched) List(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	leave := w.enter("List", "")
	defer leave()
	seq := w.storage.List(ctx, f)
	return func(yield func(oauth.Record, error) bool) {
		leave := w.enter("List", "")
		defer func() { leave() }()
		for r, err := range seq {
			leave()
			more := yield(r, err)
			leave = w.enter("List", "")
			if !more {
				return
			}
		}
	}
}
