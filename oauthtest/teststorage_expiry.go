package oauthtest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/grantwell/oauth"
)

// What the contract says of ExpiresAt and DeleteExpired.

func expiresAtChecks() []check {
	return []check{
		{"never gone before", "A store may drop a record any time after ExpiresAt and never before; a zero ExpiresAt means never.", expiresNotBefore},
		{"past it: there or ErrNotFound", "A record past its ExpiresAt is returned or is not found; both are right.", expiresPast},
	}
}

// expiresNotBefore lets some time pass, and looks at what must still be there,
// because its ExpiresAt is ahead or was moved ahead or unset by an Update.
func expiresNotBefore(t *trial) {
	const soon, later = 1500 * time.Millisecond, 5 * time.Hour
	const slack = -5*time.Minute + time.Second // what a store with just that slack drops as soon
	const never = 0
	at := func(d time.Duration) time.Time {
		if d == never {
			return time.Time{}
		}
		return present().Add(d)
	}
	stays := map[string]oauth.Record{}
	for _, c := range []struct {
		name          string
		first, second time.Duration
	}{
		{"moved-ahead", soon, later}, {"unset", soon, never}, {"moved-far-ahead", soon, 20_000 * time.Hour},
		{"moved-back", later, later / 2}, {"set", never, later}, {"not-moved", later, later}, {"never", never, never},
		{"past-moved-ahead", slack, later}, {"past-unset", slack, never},
	} {
		r := t.record("-" + c.name)
		r.Subject, r.ExpiresAt = c.name, at(c.first)
		t.create(r)
		first := r.ExpiresAt
		r.ExpiresAt = at(c.second)
		err := t.store.Update(t.ctx, r)
		if c.first != never && time.Now().After(first) && errors.Is(err, oauth.ErrNotFound) {
			continue // dropped already, and rightly so
		}
		t.answer(err, nil, "Update of %q", r.ID)
		r.Version = 2
		stays[c.name] = r
	}
	short := t.record("-short")
	short.ExpiresAt = at(soon)
	t.create(short)
	for end := short.ExpiresAt.Add(100 * time.Millisecond); time.Now().Before(end); t.wait(100 * time.Millisecond) {
		got, err := t.store.Get(t.ctx, short.ID)
		if left := time.Until(short.ExpiresAt); err != nil && left > 0 {
			t.fail("Get of a record that expires in %v returned the error %q", left, err)
		}
		if err == nil {
			t.same(short, got, "Get of a record that expires soon,")
		}
		for name, r := range stays {
			t.same(r, t.get(r.ID), "Get of a record that lives (%s)", name)
		}
	}
	for name, r := range stays {
		t.yields(oauth.Filter{Kind: r.Kind, Subject: r.Subject}, []string{"-" + name})
	}
}

func expiresPast(t *trial) {
	thereOrNot := func(r oauth.Record) {
		got, err := t.store.Get(t.ctx, r.ID)
		if err == nil {
			t.same(r, got, "Get of an expired record,")
		} else {
			t.answer(err, oauth.ErrNotFound, "Get of the expired record %q", r.ID)
		}
		for _, got := range t.list(oauth.Filter{Realm: t.realm, Kind: r.Kind, Subject: r.Subject}) {
			t.same(r, got, "List of an expired record,")
		}
	}
	for i, ago := range []time.Duration{time.Second, 10 * time.Minute, time.Hour, 48 * time.Hour, 800 * time.Hour} {
		r := t.record(fmt.Sprintf("-%d", i))
		r.Subject = fmt.Sprintf("created-%d", i)
		r.CreatedAt, r.ExpiresAt = t.now.Add(-ago-time.Hour), t.now.Add(-ago)
		t.create(r)
		thereOrNot(r)

		r = t.record(fmt.Sprintf("-updated-%d", i))
		t.create(r)
		r.Subject, r.ExpiresAt = fmt.Sprintf("updated-%d", i), t.now.Add(-ago)
		t.update(r)
		r.Version = 2
		thereOrNot(r)
		if err := t.store.Update(t.ctx, r); err == nil {
			r.Version++
			thereOrNot(r)
		} else {
			t.answer(err, oauth.ErrNotFound, "Update of the expired record %q", r.ID)
		}
	}
}

func deleteExpiredChecks() []check {
	const what = "DeleteExpired deletes at most limit records, of every realm and kind, whose ExpiresAt is set and before the time given, and returns how many it deleted."
	const step = "DeleteExpired judges each record in the same step that deletes it, so one that is updated to live longer meanwhile stays."
	return []check{
		{"deletes what expired, of every realm and kind", what, deleteEverywhere},
		{"nothing is left of what it deleted", what, deleteLeavesNothing},
		{"at most limit, and counts", what, deleteLimit},
		{"before the time given, not at it", what, deleteAtTheTime},
		{"spares what lives", what, deleteSpares},
		{"spares what an Update lets live meanwhile", step, deleteWhileUpdated},
		{"many at once", what, deleteAtOnce},
	}
}

// sweep deletes once, and checks the count.
func (t *trial) sweep(before time.Time, limit int) int {
	n, err := t.store.DeleteExpired(t.ctx, before, limit)
	t.answer(err, nil, "DeleteExpired(limit %d)", limit)
	if n < 0 || n > max(limit, 0) {
		t.fail("DeleteExpired(limit %d) says that it deleted %d", limit, n)
	}
	return n
}

// drain deletes in batches until nothing is left, as a host does. There may be
// expired records of others, so it does not know how many to expect.
func (t *trial) drain(before time.Time, limit int) {
	for range 10_000 {
		if t.sweep(before, limit) == 0 {
			return
		}
	}
	t.fail("DeleteExpired(limit %d) says 10,000 times in a row that it deleted something", limit)
}

// there counts which of the records Get finds.
func (t *trial) there(ids []string) int {
	n := 0
	for _, id := range ids {
		_, err := t.store.Get(t.ctx, id)
		if err == nil {
			n++
			continue
		}
		t.answer(err, oauth.ErrNotFound, "Get of the expired record %q", id)
	}
	return n
}

func deleteEverywhere(t *trial) {
	var gone []string
	var live []oauth.Record
	for i, realm := range []string{t.realm, t.realm + "2", ""} {
		for _, kind := range kinds() {
			r := t.expired(fmt.Sprintf("-%d-%s", i, kind))
			r.Realm, r.Kind, r.Subject = realm, kind, t.id("")
			t.create(r)
			gone = append(gone, r.ID)
			r.ID, r.ExpiresAt = r.ID+"-live", t.now.Add(5*time.Hour)
			t.create(r)
			live = append(live, r)
		}
	}
	t.drain(t.now.Add(-30*time.Minute), 100)
	for _, id := range gone {
		t.missing(id, "which expired an hour ago and DeleteExpired should have deleted,")
	}
	for _, r := range live {
		t.holds(r, "after DeleteExpired:")
	}
}

func deleteLeavesNothing(t *trial) {
	stays := t.record("-2")
	t.create(stays)
	r := t.record("-1")
	t.create(r)
	r.ExpiresAt = t.now.Add(-time.Hour)
	t.update(r)
	r.Version = 2
	t.drain(t.now.Add(-30*time.Minute), 100)
	t.missing(r.ID, "which expired an hour ago and DeleteExpired should have deleted,")
	t.answer(t.store.Update(t.ctx, r), oauth.ErrNotFound, "Update of a record that DeleteExpired deleted")
	t.missing(r.ID, "which only Update was called for since it was deleted,")
	for _, f := range []oauth.Filter{{}, {Kind: r.Kind}, {Subject: r.Subject}, {ClientID: r.ClientID}, {Kind: r.Kind, Subject: r.Subject}} {
		t.yields(f, []string{"-2"})
	}
}

// rounds is how often a store must look wrong before it is. Records that expired
// may go by a clock of the store's own, or by somebody else's DeleteExpired.
const rounds = 3

func deleteLimit(t *trial) {
	problem := ""
	for round := range rounds {
		var ids []string
		for i := range 9 {
			r := t.expired(fmt.Sprintf("-%d-%d", round, i))
			t.create(r)
			ids = append(ids, r.ID)
		}
		problem = ""
		for _, limit := range []int{0, -1, 1, 3} {
			before := t.there(ids)
			n := t.sweep(t.now.Add(-30*time.Minute), limit)
			if gone := before - t.there(ids); gone > n {
				problem = fmt.Sprintf("DeleteExpired(limit %d) says that it deleted %d, and at least %d records are gone", limit, n, gone)
			}
		}
		t.drain(t.now.Add(-30*time.Minute), 100)
		if left := t.there(ids); left > 0 {
			t.fail("DeleteExpired says that it deleted 0 while %d records are left that expired an hour ago", left)
		}
		if problem == "" {
			return
		}
	}
	t.fail("%s", problem)
}

func deleteAtTheTime(t *trial) {
	zone := time.FixedZone("west", -9*3600)
	for round := range rounds {
		lost := 0
		at := t.now.Add(-time.Hour).Truncate(time.Second)
		for _, ms := range []time.Duration{0, 1, 500, 999} {
			at := at.Add(ms * time.Millisecond)
			r := t.expired(fmt.Sprintf("-%d-%d", round, ms))
			r.ExpiresAt = at
			t.create(r)
			before := t.there([]string{r.ID})
			t.drain(at.Add(-time.Millisecond), 100)
			t.drain(at, 100)
			t.drain(at.In(zone), 100)
			lost += before - t.there([]string{r.ID})
			t.drain(at.Add(time.Millisecond).In(zone), 100)
			t.missing(r.ID, "which DeleteExpired should have deleted a millisecond after its ExpiresAt,")
		}
		if lost == 0 {
			return
		}
	}
	t.fail("DeleteExpired(before) deleted records whose ExpiresAt is at that time or after it")
}

func deleteSpares(t *trial) {
	var live []oauth.Record
	stays := func(r oauth.Record) { live = append(live, r) }
	for i, at := range []time.Time{{}, t.now.Add(time.Hour), t.now.AddDate(60, 0, 0)} {
		r := t.record(fmt.Sprintf("-created-%d", i))
		r.ExpiresAt = at
		t.create(r)
		stays(r)

		r = t.record(fmt.Sprintf("-updated-%d", i))
		r.ExpiresAt = t.now.Add(30 * time.Minute)
		t.create(r)
		r.ExpiresAt = at
		t.update(r)
		r.Version = 2
		stays(r)

		r = t.expired(fmt.Sprintf("-extended-%d", i))
		t.create(r)
		r.ExpiresAt = at
		if err := t.store.Update(t.ctx, r); err == nil {
			r.Version = 2
			stays(r)
		} else {
			t.answer(err, oauth.ErrNotFound, "Update of the expired record %q", r.ID)
		}
	}
	r := t.record("-conflict")
	t.create(r)
	stays(r)
	r.Version, r.ExpiresAt = 2, t.now.Add(-time.Hour)
	t.answer(t.store.Update(t.ctx, r), oauth.ErrConflict, "Update of version 2 where version 1 is stored")

	t.drain(t.now, 100)
	for _, r := range live {
		t.holds(r, "after DeleteExpired:")
	}
}

// deleteWhileUpdated races sweeps with updates that let the same records live.
// Either may win, but not both.
func deleteWhileUpdated(t *trial) {
	const total, workers = 240, 8
	later := t.now.Add(5 * time.Hour)
	records := make([]oauth.Record, total)
	for i := range records {
		records[i] = t.record(fmt.Sprintf("-%03d", i))
		if records[i].ExpiresAt = t.now.Add(-time.Hour); i%2 == 0 { // a store with slack of its own has these for certain
			records[i].ExpiresAt = t.now.Add(-2 * time.Minute)
		}
		t.create(records[i])
	}
	updated := make([]error, total)
	t.all(together(workers, func(racer int) error {
		if racer%2 == 0 {
			for range total / 8 {
				if n, err := t.store.DeleteExpired(t.ctx, t.now.Add(-time.Minute), 4); err != nil || n < 0 || n > 4 {
					return fmt.Errorf("DeleteExpired(limit 4) while others update returned %d, %v", n, err)
				}
			}
			return nil
		}
		for i := total - 1 - racer/2; i >= 0; i -= workers / 2 { // the other way round
			r := records[i]
			r.ExpiresAt = later
			updated[i] = t.store.Update(t.ctx, r)
		}
		return nil
	}))
	for i, err := range updated {
		if err != nil {
			t.answer(err, oauth.ErrNotFound, "Update while DeleteExpired runs")
			t.missing(records[i].ID, "after its Update returned ErrNotFound,")
			continue
		}
		want := records[i]
		want.Version, want.ExpiresAt = 2, later
		t.same(want, t.get(want.ID), "after an Update that lets it live returned nil, Get")
	}
}

func deleteAtOnce(t *trial) {
	const total = 160
	var gone []string
	for i := range total {
		r := t.expired(fmt.Sprintf("-%03d", i))
		r.Kind = kinds()[i%6]
		t.create(r)
		gone = append(gone, r.ID)
	}
	live := t.record("-live")
	t.create(live)
	t.all(together(8, func(int) error {
		for range total {
			n, err := t.store.DeleteExpired(t.ctx, t.now.Add(-30*time.Minute), 7)
			if err != nil || n < 0 || n > 7 {
				return fmt.Errorf("one of 8 DeleteExpired(limit 7) at once returned %d, %v", n, err)
			}
			if n == 0 {
				return nil
			}
		}
		return nil
	}))
	t.drain(t.now.Add(-30*time.Minute), 100)
	if left := t.there(gone); left > 0 {
		t.fail("DeleteExpired says that it deleted 0 while %d records are left that expired an hour ago", left)
	}
	t.holds(live, "after DeleteExpired:")
	if all := t.suffixes(oauth.Filter{Kind: live.Kind, Subject: live.Subject}); !slices.Equal(all, []string{"-live"}) {
		t.fail("List yields %q after DeleteExpired, want -live alone", all)
	}
}
