package oauthtest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/grantwell/oauth"
)

// What the contract says of a context that is done.

func contextChecks() []check {
	const whole = "A context that is done leaves a write either done as a whole or not at all."
	const answers = "ErrNotFound, ErrExists and ErrConflict are answers; every other error means that the store failed. (A context that is done is no answer.)"
	return []check{
		{"done before Create: all or nothing", whole, func(t *trial) {
			for i, ctx := range t.done() {
				t.createGivenUp(ctx, fmt.Sprintf("-%d", i))
			}
		}},
		{"done before Update: all or nothing", whole, func(t *trial) {
			for i, ctx := range t.done() {
				t.updateGivenUp(ctx, fmt.Sprintf("-%d", i))
			}
		}},
		{"done during Create and Update: all or nothing", whole, func(t *trial) {
			for i := range 60 {
				after := time.Duration(i%20) * 100 * time.Microsecond
				t.createGivenUp(t.doneAfter(after), fmt.Sprintf("-c%d", i))
				t.updateGivenUp(t.doneAfter(after), fmt.Sprintf("-u%d", i))
			}
		}},
		{"done before Get: the record or the context's error", answers, func(t *trial) {
			r := t.record("-1")
			t.create(r)
			for _, ctx := range t.done() {
				if got, err := t.store.Get(ctx, r.ID); err == nil {
					t.same(r, got, "Get with a context that is done,")
				} else {
					t.noAnswer(err, "Get with a context that is done")
				}
			}
		}},
		{"done before or during List: everything or an error", "An error is yielded last, with a zero Record.", listGivenUp},
	}
}

// done are contexts that are done, by Cancel and by deadline.
func (t *trial) done() []context.Context {
	canceled, cancel := context.WithCancel(t.ctx)
	cancel()
	late, cancelLate := context.WithDeadline(t.ctx, time.Unix(1, 0))
	cancelLate()
	return []context.Context{canceled, late}
}

func (t *trial) doneAfter(d time.Duration) context.Context {
	ctx, cancel := context.WithCancel(t.ctx)
	time.AfterFunc(d, cancel)
	return ctx
}

// noAnswer fails if an error is one of the three sentinels.
func (t *trial) noAnswer(err error, call string) {
	if name := sentinel(err); name != "" {
		t.fail("%s returned %s (%q)", call, name, err)
	}
}

func (t *trial) createGivenUp(ctx context.Context, suffix string) {
	r := t.record(suffix)
	r.Subject = "subject" + suffix
	err := t.store.Create(ctx, r)
	t.noAnswer(err, "Create of a free ID with a context that is done")
	got, found := t.settled(r.ID, r.Subject)
	switch {
	case found:
		t.same(r, got, "Get after a Create whose context was done,")
	case err == nil:
		t.fail("Create returned nil and its record is not found; its context was done")
	default:
		// Nothing was written, so nothing is in the way; or it comes now, as a whole.
		if err := t.store.Create(t.ctx, r); err != nil {
			t.answer(err, oauth.ErrExists, "Create of %q, which was given up and is not found", r.ID)
			got, found := t.settled(r.ID, r.Subject)
			if !found {
				t.fail("Create of %q returned ErrExists, and it is not found", r.ID)
			}
			t.same(r, got, "Get after a Create that took effect late,")
		}
	}
	t.update(r)
	r.Version = 2
	t.holds(r, "updated after a Create whose context was done:")
}

func (t *trial) updateGivenUp(ctx context.Context, suffix string) {
	r := t.record(suffix)
	r.Subject = "first" + suffix
	t.create(r)
	changed := r
	changed.Subject, changed.ExpiresAt, changed.Data = "second"+suffix, t.now.Add(2*time.Hour), []byte(`{"n":2}`)
	err := t.store.Update(ctx, changed)
	t.noAnswer(err, "Update of the stored version with a context that is done")
	changed.Version = 2
	got, found := t.settled(r.ID, r.Subject, changed.Subject)
	switch {
	case !found:
		t.fail("%q is not found after an Update whose context was done", r.ID)
	case err == nil || got.Version == 2:
		t.same(changed, got, "Get after an Update whose context was done,")
	default:
		t.same(r, got, "Get after an Update whose context was done,")
	}
	if got.Version == 1 {
		// As it was; or the Update takes effect now, as a whole.
		if err := t.store.Update(t.ctx, got); err != nil {
			t.answer(err, oauth.ErrConflict, "Update of %q, version 1, after one that was given up", r.ID)
			got, _ = t.settled(r.ID, r.Subject, changed.Subject)
			t.same(changed, got, "Get after an Update that took effect late,")
			t.update(got)
		}
	} else {
		t.update(got)
	}
	got.Version++
	t.holds(got, "updated after an Update whose context was done:")
}

// settled returns the record with this ID, if there is one, once Get and List by
// each of the subjects agree about it: a write that was given up may still take
// effect a little later.
func (t *trial) settled(id string, subjects ...string) (oauth.Record, bool) {
	problem := ""
	for range 10 {
		r, err := t.store.Get(t.ctx, id)
		if err != nil {
			t.answer(err, oauth.ErrNotFound, "Get of %q, whose write had a context that was done,", id)
		}
		problem = ""
		for _, subject := range subjects {
			for _, f := range []oauth.Filter{{Subject: subject}, {Kind: oauth.KindAuthorization, Subject: subject}} {
				f.Realm = t.realm
				listed := slices.ContainsFunc(t.list(f), func(got oauth.Record) bool { return got.ID == id })
				if stored := err == nil && r.Subject == subject; listed != stored {
					problem = fmt.Sprintf("Get of %q returned %v with Subject %q; that %s yields it is %t", id, err, r.Subject, show(f), listed)
				}
			}
		}
		if problem == "" {
			return r, err == nil
		}
		t.wait(100 * time.Millisecond)
	}
	t.fail("a context that was done left half of a write: %s", problem)
	return oauth.Record{}, false
}

func listGivenUp(t *trial) {
	t.fill(numbered(40)...)
	f := oauth.Filter{Realm: t.realm, Kind: oauth.KindClient}
	for _, ctx := range t.done() {
		t.walkGivenUp(ctx, func() {}, f)
	}
	for range 5 {
		ctx, cancel := context.WithCancel(t.ctx)
		t.walkGivenUp(ctx, cancel, f)
		cancel()
	}
	t.yields(f, numbered(40))
}

// walkGivenUp ends the context at the third record.
func (t *trial) walkGivenUp(ctx context.Context, cancel func(), f oauth.Filter) {
	turns, failed := 0, false
	for r, err := range t.store.List(ctx, f) {
		if failed {
			t.fail("List goes on after it yielded an error")
		}
		if err != nil {
			failed = true
			t.noAnswer(err, "List with a context that is done")
			if r.ID != "" || r.Version != 0 || r.Data != nil {
				t.fail("List yields the record %q with the error %q, want a zero Record", r.ID, err)
			}
			continue
		}
		if turns++; turns == 3 {
			cancel()
		}
		if turns > 40 {
			break
		}
	}
	if !failed && turns != 40 {
		t.fail("List ends after %d of 40 records without an error; its context was done", turns)
	}
}
