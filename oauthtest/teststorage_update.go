package oauthtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/grantwell/oauth"
)

// What the contract says of Update.

func updateChecks() []check {
	const swap = "Update stores r with version r.Version+1, atomically and only if the stored version is r.Version."
	return []check{
		{"adds one to the version", swap, func(t *trial) {
			r := t.record("-1")
			t.create(r)
			for v := int64(1); v <= 12; v++ {
				if got := t.get(r.ID).Version; got != v {
					t.fail("has version %d after %d updates, want %d", got, v-1, v)
				}
				r.Version = v
				t.update(r)
			}
		}},
		{"changes Subject, ExpiresAt and Data and nothing else", "Update changes Subject, ExpiresAt and Data and nothing else.", updateChanges},
		{"ErrConflict, and nothing is written", "If the stored version is another, it returns ErrConflict, and nothing is written.", updateConflict},
		{"ErrNotFound, and nothing is written", "If there is no such record, it returns ErrNotFound, and nothing is written.", updateMissing},
		{"moves the record to another Subject", "Update changes Subject, and List finds the record by the new one alone.", updateSubject},
		{"erases with an empty Subject and no Data", "A record is erased by an Update that empties Subject and Data.", updateErases},
		{"sets, moves and unsets ExpiresAt", "Update changes ExpiresAt. A zero ExpiresAt means never.", func(t *trial) {
			r := t.record("-1")
			t.create(r)
			r.Version = 1
			for _, at := range []time.Time{t.now.Add(9 * time.Hour), {}, {}, t.now.Add(8 * time.Hour), t.now.Add(2 * time.Hour), {}} {
				r.ExpiresAt = at
				t.update(r)
				r.Version++
				t.holds(r, "after an Update of ExpiresAt:")
			}
		}},
		{"leaves other records alone", swap, func(t *trial) {
			for _, suffix := range []string{"-a", "-A", "-ab", "-b"} {
				t.create(t.record(suffix))
			}
			r := t.record("-a")
			r.Subject, r.Data = "bob", nil
			t.update(r)
			for _, suffix := range []string{"-A", "-ab", "-b"} {
				t.holds(t.record(suffix), "after an Update of another record:")
			}
		}},
		{"of 32 at once one wins", swap, updateRace},
		{"none is lost", swap, updateNoneLost},
	}
}

func updateChanges(t *trial) {
	old := t.record("-1")
	t.create(old)
	want := old
	want.Version, want.Subject, want.ExpiresAt, want.Data = 2, "bob", t.now.Add(2*time.Hour), []byte(`{"n":2}`)
	t.update(oauth.Record{
		Realm: t.realm + "2", ID: old.ID, Kind: oauth.KindClient, Version: 1, ClientID: "web", Subject: want.Subject,
		CreatedAt: t.now, ExpiresAt: want.ExpiresAt, Data: want.Data,
	})
	t.holds(want, "after an Update that names another Realm, Kind, ClientID and CreatedAt:")
	for _, f := range []oauth.Filter{{Realm: t.realm + "2"}, {Realm: t.realm, Kind: oauth.KindClient}, {Realm: t.realm, ClientID: "web"}} {
		if found := t.suffixes(f); len(found) > 0 {
			t.fail("%s yields the record by what Update must not change", show(f))
		}
	}
}

func updateConflict(t *trial) {
	want := t.record("-1")
	t.create(want)
	for want.Version = 1; want.Version < 4; want.Version++ {
		t.update(want)
	}
	for _, v := range []int64{3, 5, 1, 2, 0, -4, math.MaxInt64, math.MinInt64} {
		r := want
		r.Version, r.Subject, r.ExpiresAt, r.Data = v, "bob", time.Time{}, []byte(`{"lost":true}`)
		t.answer(t.store.Update(t.ctx, r), oauth.ErrConflict, "Update of version %d where version 4 is stored", v)
		t.holds(want, fmt.Sprintf("after an Update of version %d where version 4 is stored:", v))
	}
	if found := t.suffixes(oauth.Filter{Subject: "bob"}); len(found) > 0 {
		t.fail("List yields a record by the Subject of an Update that returned ErrConflict")
	}
	// The very same record, sent twice as drivers do.
	t.update(want)
	t.answer(t.store.Update(t.ctx, want), oauth.ErrConflict, "the same Update once more")
	want.Version++
	t.holds(want, "after the same Update came twice:")
}

func updateMissing(t *trial) {
	t.create(t.record("-ab"))
	for _, suffix := range []string{"-1", "-a", "-AB", "-__"} {
		for v := range int64(3) {
			r := t.record(suffix)
			r.Version, r.Subject = v, "bob"
			t.answer(t.store.Update(t.ctx, r), oauth.ErrNotFound, "Update of %q, version %d, which was never created,", r.ID, v)
		}
		t.missing(t.id(suffix), "which only Update was called for")
	}
	if found := t.suffixes(oauth.Filter{Subject: "bob"}); len(found) > 0 {
		t.fail("List yields %q, which was never created", found)
	}
	t.holds(t.record("-ab"), "after updates of other IDs:")
}

func updateSubject(t *trial) {
	for _, suffix := range []string{"-1", "-2", "-3"} {
		t.create(t.record(suffix))
	}
	r := t.record("-2")
	for _, subject := range []string{"bob", "", "carol", "alice", "alice", "Alice", "alice ", "bob"} {
		old := r.Subject
		r.Subject = subject
		t.update(r)
		r.Version++
		t.holds(r, fmt.Sprintf("moved from %q to %q:", old, subject))
		if old != subject && old != "" && slices.Contains(t.suffixes(oauth.Filter{Kind: r.Kind, Subject: old}), "-2") {
			t.fail("List by Subject %q yields a record that was moved to %q", old, subject)
		}
	}
	if left := t.suffixes(oauth.Filter{Subject: "alice"}); !slices.Equal(left, []string{"-1", "-3"}) {
		t.fail("List by Subject yields %q after another record came and went, want -1 and -3", left)
	}
}

func updateErases(t *trial) {
	for i, data := range [][]byte{nil, {}} {
		r := t.record(fmt.Sprintf("-%d", i))
		t.create(r)
		old := r.Subject
		r.Subject, r.Data = "", data
		t.update(r)
		r.Version = 2
		t.holds(r, "after it was erased:")
		for _, f := range []oauth.Filter{{Subject: old}, {Kind: r.Kind, Subject: old}} {
			if found := t.suffixes(f); len(found) > 0 {
				t.fail("%s yields %q, which was erased", show(f), found)
			}
		}
	}
}

func updateRace(t *trial) {
	for round := range 10 {
		racer := func(i int) oauth.Record {
			r := t.record(fmt.Sprintf("-%d", round))
			r.Version, r.Subject, r.Data = 2, fmt.Sprintf("subject-%d", i), fmt.Appendf(nil, `{"n":%d}`, i)
			return r
		}
		t.create(t.record(fmt.Sprintf("-%d", round)))
		errs := together(racers, func(i int) error {
			r := racer(i)
			r.Version = 1
			return t.store.Update(t.ctx, r)
		})
		won := t.winner(errs, oauth.ErrConflict, "updates of version 1")
		t.onlyWinner(won, racer)
	}
}

// updateNoneLost counts in Data, each writer until it has won so many times.
func updateNoneLost(t *trial) {
	const writers, each = 6, 10
	var count struct{ N int }
	r := t.record("-1")
	r.Data = []byte(`{"N":0}`)
	t.create(r)
	t.all(together(writers, func(int) error {
		for done, tries := 0, 0; done < each; tries++ {
			if tries > 100*writers*each {
				return fmt.Errorf("Update returned ErrConflict %d times to one of %d writers", tries-done, writers)
			}
			r, err := t.store.Get(t.ctx, r.ID)
			if err != nil {
				return fmt.Errorf("Get while others update: %w", err)
			}
			var count struct{ N int }
			if err := json.Unmarshal(r.Data, &count); err != nil {
				return fmt.Errorf("returned Data %q: %w", r.Data, err)
			}
			r.Data = fmt.Appendf(nil, `{"N":%d}`, count.N+1)
			runtime.Gosched() // so that a store in memory lets another in between, too
			switch err := t.store.Update(t.ctx, r); {
			case err == nil:
				done++
			case !errors.Is(err, oauth.ErrConflict):
				return fmt.Errorf("Update while others update returned the error %w, want nil or ErrConflict", err)
			}
		}
		return nil
	}))
	got := t.get(r.ID)
	if err := json.Unmarshal(got.Data, &count); err != nil {
		t.fail("returned Data %q: %v", got.Data, err)
	}
	if count.N != writers*each || got.Version != writers*each+1 {
		t.fail("says nil to %d updates and has version %d; the counter in Data is %d", writers*each, got.Version, count.N)
	}
}
