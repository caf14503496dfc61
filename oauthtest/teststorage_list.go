package oauthtest

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grantwell/oauth"
)

// What the contract says of List and Filter.

func listChecks() []check {
	const order = "List yields the records that match f in ascending order of ID, byte by byte."
	const frees = "List holds no lock, row set or connection while it yields, so the loop may call any method, Update included."
	const before = "List yields what was written before the call; of what is written meanwhile it may yield either state."
	return []check{
		{"every field that is set must match", "Every field of a Filter that is set must match.", listFields},
		{"compares Subject and ClientID byte by byte", "Every field that is set must match (byte by byte).", listTexts},
		{"keeps realms apart", "Filter.Realm is always compared, \"\" included.", listRealms},
		{"ascending order of ID, byte by byte", order, listOrder},
		{"After: greater IDs only", "Filter.After: only IDs greater than this, byte by byte: the last one of the page before.", listAfter},
		{"right after Create and Update", "List yields what was written before the call.", listSeesWrites},
		{"yields whole records", order, listWhole},
		{"the loop may end early", frees, listEndsEarly},
		{"the loop may call any method", frees, listCalls},
		{"the loop may update what it gets", frees, listUpdates},
		{"32 loops at once may update what they get", frees, listLoops},
		{"while others come, move and go", before, listMeanwhile},
		{"10,000 records", order, listMany},
	}
}

// pick is the suffixes of the records that a filter selects, in the words of the
// contract.
func (t *trial) pick(all []oauth.Record, f oauth.Filter) []string {
	found := []string{}
	for _, r := range all {
		if r.Realm == f.Realm &&
			(f.Kind == "" || r.Kind == f.Kind) &&
			(f.ClientID == "" || r.ClientID == f.ClientID) &&
			(f.Subject == "" || r.Subject == f.Subject) &&
			r.ID > f.After {
			found = append(found, r.ID[len(t.prefix):])
		}
	}
	slices.Sort(found)
	return found
}

// yields fails unless List yields just these suffixes, in this order.
func (t *trial) yields(f oauth.Filter, want []string) {
	got := t.suffixes(f)
	if slices.Equal(got, want) {
		return
	}
	if len(want)+len(got) > 60 {
		t.fail("%s yields %d records, want %d, or has another order", show(f), len(got), len(want))
	}
	t.fail("%s yields %q, want %q", show(f), got, want)
}

func listFields(t *trial) {
	// A record of every mixture, in an order that is not that of the IDs.
	var all []oauth.Record
	for _, realm := range []string{t.realm, t.realm + "2"} {
		for _, kind := range []oauth.Kind{oauth.KindAuthorization, oauth.KindClient, oauth.KindSpent} {
			for _, client := range []string{"", "app", "web"} {
				for _, subject := range []string{"", "alice", "bob"} {
					r := t.record(fmt.Sprintf("-%02d", len(all)*31%54))
					r.Realm, r.Kind, r.ClientID, r.Subject = realm, kind, client, subject
					all = append(all, r)
					t.create(r)
				}
			}
		}
	}
	for _, realm := range []string{t.realm, t.realm + "2", t.realm + "3"} {
		for _, kind := range []oauth.Kind{"", oauth.KindAuthorization, oauth.KindClient, oauth.KindKey} {
			for _, client := range []string{"", "app", "nobody"} {
				for _, subject := range []string{"", "alice", "bob", "nobody"} {
					for _, after := range []string{"", t.id("-20")} {
						f := oauth.Filter{Realm: realm, Kind: kind, ClientID: client, Subject: subject, After: after}
						t.yields(f, t.pick(all, f))
					}
				}
			}
		}
	}
}

func listTexts(t *trial) {
	for i, subject := range subjectTexts() {
		r := t.record(fmt.Sprintf("-s%02d", i))
		r.Subject = subject
		t.create(r)
	}
	for i, client := range clientTexts() {
		r := t.record(fmt.Sprintf("-c%02d", i))
		r.ClientID, r.Subject = client, "somebody"
		t.create(r)
	}
	for i, subject := range subjectTexts() {
		t.yields(oauth.Filter{Subject: subject}, []string{fmt.Sprintf("-s%02d", i)})
		t.yields(oauth.Filter{Kind: oauth.KindAuthorization, Subject: subject}, []string{fmt.Sprintf("-s%02d", i)})
	}
	for i, client := range clientTexts() {
		t.yields(oauth.Filter{ClientID: client}, []string{fmt.Sprintf("-c%02d", i)})
		t.yields(oauth.Filter{ClientID: client, Subject: "somebody"}, []string{fmt.Sprintf("-c%02d", i)})
	}
}

func listRealms(t *trial) {
	for i, realm := range t.realms() {
		r := t.record(fmt.Sprintf("-%02d", i))
		r.Realm = realm
		t.create(r)
	}
	unnamed := t.record("-99") // in a realm that others share
	unnamed.Realm, unnamed.Subject = "", t.id("")
	t.create(unnamed)
	t.yieldsOf(oauth.Filter{Subject: unnamed.Subject}, unnamed.ID)
	t.yieldsOf(oauth.Filter{Kind: unnamed.Kind, Subject: unnamed.Subject}, unnamed.ID)
	for i, realm := range t.realms() {
		for _, f := range []oauth.Filter{{}, {Kind: oauth.KindAuthorization}, {Subject: "alice"}, {ClientID: "https://client.example/app"},
			{Kind: oauth.KindAuthorization, Subject: "alice"}} {
			f.Realm = realm
			t.yields(f, []string{fmt.Sprintf("-%02d", i)})
		}
	}
	t.yieldsOf(oauth.Filter{Subject: "alice", After: t.id("")}) // the realm "" is no wildcard
	// No two fields put together are another two.
	t.yields(oauth.Filter{Realm: t.realm + "al", Subject: "ice"}, nil)
	t.yields(oauth.Filter{Realm: t.realm, Kind: "auth", Subject: "orizationalice"}, nil)
}

// yieldsOf fails unless List yields just these of the trial's records; a filter
// without a realm is for the realm "", where others have records too.
func (t *trial) yieldsOf(f oauth.Filter, want ...string) {
	var got []string
	for _, r := range t.list(f) {
		if len(r.ID) >= len(t.prefix) && r.ID[:len(t.prefix)] == t.prefix {
			got = append(got, r.ID)
		}
	}
	if !slices.Equal(got, want) {
		t.fail("%s yields %q, want %q", show(f), got, want)
	}
}

// paths are filters that all select the trial's records, each by its own way.
func paths() []oauth.Filter {
	return []oauth.Filter{{}, {Kind: oauth.KindClient}, {Subject: "alice"}, {ClientID: "https://client.example/app"},
		{Kind: oauth.KindClient, Subject: "alice"}, {Kind: oauth.KindClient, ClientID: "https://client.example/app", Subject: "alice"}}
}

// fill creates records of these suffixes that all paths lead to, the last first.
func (t *trial) fill(suffixes ...string) {
	for i := len(suffixes) - 1; i >= 0; i-- {
		r := t.record(suffixes[i])
		r.Kind = oauth.KindClient
		t.create(r)
	}
}

// numbered are the suffixes -00 … , ascending.
func numbered(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("-%04d", i))
	}
	return all
}

func listOrder(t *trial) {
	t.fill(ascending()...)
	for _, f := range paths() {
		t.yields(f, ascending())
	}
}

func listAfter(t *trial) {
	ids := ascending()
	t.fill(ids...)
	for _, f := range paths() {
		for i, suffix := range ids {
			f.After = t.id(suffix)
			t.yields(f, ids[i+1:])
		}
		for _, suffix := range []string{"", "-", "-0-", "-B", "-b", "-zz", "zz"} {
			from, _ := slices.BinarySearch(ids, suffix)
			f.After = t.id(suffix)
			t.yields(f, ids[from:])
		}
		for after, want := range map[string][]string{"": ids, "0": ids, "t": ids, "u": nil, "zzz": nil} {
			f.After = after
			t.yields(f, want)
		}
	}
}

func listSeesWrites(t *trial) {
	for i := range 20 {
		r := t.record(fmt.Sprintf("-%02d", i))
		r.Subject = fmt.Sprintf("first-%d", i)
		seen := func(subject string, n int) {
			t.all(together(4, func(int) error { // several at once, so that they take several connections
				found := 0
				for got, err := range t.store.List(t.ctx, oauth.Filter{Realm: t.realm, Kind: r.Kind, Subject: subject}) {
					if err != nil {
						return fmt.Errorf("List directly after a write: %w", err)
					}
					if d := difference(r, got); d != "" {
						return fmt.Errorf("List directly after version %d was written: %s", r.Version, d)
					}
					found++
				}
				if found != n {
					return fmt.Errorf("List by Subject %q yields %d records directly after version %d was written, want %d", subject, found, r.Version, n)
				}
				return nil
			}))
		}
		t.create(r)
		seen(r.Subject, 1)
		old := r.Subject
		r.Subject = fmt.Sprintf("second-%d", i)
		t.update(r)
		r.Version++
		seen(r.Subject, 1)
		seen(old, 0)
	}
}

func listWhole(t *trial) {
	var want []oauth.Record
	for i := range 40 {
		r := t.record(fmt.Sprintf("-%02d", i))
		r.Kind = oauth.KindClient
		r.CreatedAt = r.CreatedAt.Add(time.Duration(i) * time.Millisecond)
		r.Data = fmt.Appendf(nil, `{"n":%d}`, 1000+i)
		t.create(r)
		if i%2 == 0 {
			r.ExpiresAt, r.Data = time.Time{}, fmt.Appendf(nil, `{"m":%d}`, 1000+i)
			t.update(r)
			r.Version++
		}
		want = append(want, r)
	}
	for _, f := range paths() {
		f.Realm = t.realm
		got := t.list(f) // compared afterwards, so that none lives in a buffer of another
		if len(got) != len(want) {
			t.fail("%s yields %d records, want %d", show(f), len(got), len(want))
		}
		for i := range want {
			t.same(want[i], got[i], "%s", show(f))
		}
	}
}

func listEndsEarly(t *trial) {
	t.fill(numbered(10)...)
	for range 40 {
		for _, f := range paths()[:3] {
			f.Realm = t.realm
			turns := 0
			for r, err := range t.store.List(t.ctx, f) {
				t.yielded(f, err)
				if turns++; turns == 1+len(r.ID)%2 {
					break
				}
			}
		}
	}
	r := t.get(t.id("-0003"))
	t.update(r)
	t.fill("-1000")
	t.yields(oauth.Filter{}, append(numbered(10), "-1000"))
}

func listCalls(t *trial) {
	t.fill(numbered(6)...)
	for n, f := range paths() {
		f.Realm = t.realm
		turns := 0
		for r, err := range t.store.List(t.ctx, f) {
			t.yielded(f, err)
			t.update(r)
			if got := t.get(r.ID); got.Version != r.Version+1 {
				t.fail("Get in the loop returns version %d after version %d was written", got.Version, r.Version+1)
			}
			other := t.record(fmt.Sprintf("other-%d-%d", n, turns))
			other.Kind, other.Subject, other.ClientID = oauth.KindSpent, "bob", "web"
			other.Realm += "2"
			t.create(other)
			if _, err := t.store.DeleteExpired(t.ctx, t.now.AddDate(-5, 0, 0), 10); err != nil {
				t.fail("DeleteExpired in the loop returned the error %q", err)
			}
			t.yields(f, numbered(6))
			if turns++; turns > 6 {
				break
			}
		}
		if turns != 6 {
			t.fail("%s yields %d of 6 records when the loop calls other methods", show(f), turns)
		}
	}
}

// listUpdates does as Revoke does: everything of one subject, each by its own Update.
func listUpdates(t *trial) {
	const total = 300
	t.all(together(8, func(racer int) error {
		for i := racer; i < total; i += 8 {
			r := t.record(fmt.Sprintf("-%04d", i))
			if i%4 == 0 {
				r.Subject = "bob"
			}
			if err := t.store.Create(t.ctx, r); err != nil {
				return fmt.Errorf("Create returned the error %w", err)
			}
		}
		return nil
	}))
	f := oauth.Filter{Realm: t.realm, Kind: oauth.KindAuthorization, Subject: "alice"}
	turns := 0
	for r, err := range t.store.List(t.ctx, f) {
		t.yielded(f, err)
		if turns++; turns > total {
			break
		}
		r.Subject, r.Data = "", nil
		t.update(r)
	}
	if turns != total/4*3 {
		t.fail("%s yields %d of %d records when the loop gives them another Subject", show(f), turns, total/4*3)
	}
	t.yields(f, nil)
	f.Subject = "bob"
	if left := t.suffixes(f); len(left) != total/4 {
		t.fail("%s yields %d records, want %d", show(f), len(left), total/4)
	}
}

// listLoops has more loops inside their bodies than a pool has connections,
// before the first of them updates.
func listLoops(t *trial) {
	for i := range racers {
		for _, suffix := range []string{"-a", "-b"} {
			r := t.record(suffix + strconv.Itoa(i))
			r.Subject = "subject-" + strconv.Itoa(i)
			t.create(r)
		}
	}
	var inside sync.WaitGroup
	inside.Add(racers)
	everybody := make(chan struct{})
	t.all(together(racers+1, func(i int) error {
		if i == racers {
			inside.Wait()
			close(everybody)
			return nil
		}
		arrive := sync.OnceFunc(inside.Done)
		defer arrive()
		turns := 0
		for r, err := range t.store.List(t.ctx, oauth.Filter{Realm: t.realm, Kind: oauth.KindAuthorization, Subject: "subject-" + strconv.Itoa(i)}) {
			if err != nil {
				return fmt.Errorf("one of %d List at once yields the error %w", racers, err)
			}
			arrive()
			<-everybody
			if err := t.store.Update(t.ctx, r); err != nil {
				return fmt.Errorf("Update in one of %d loops at once: %w", racers, err)
			}
			turns++
		}
		if turns != 2 {
			return fmt.Errorf("List yields %d records in one of %d loops at once, want 2", turns, racers)
		}
		return nil
	}))
}

// listMeanwhile has stable records among others that come, move and go. Every
// List yields all of the stable ones, in order, and nothing that does not match.
func listMeanwhile(t *trial) {
	stable := numbered(100)
	t.fill(stable...)
	var walking atomic.Int32
	walking.Store(4)
	t.all(together(7, func(racer int) error {
		if racer < 3 {
			return t.churn(racer, func() bool { return walking.Load() == 0 })
		}
		defer walking.Add(-1)
		f := []oauth.Filter{{}, {Kind: oauth.KindClient}, {Subject: "alice"}, {Kind: oauth.KindClient, Subject: "alice"}}[racer-3]
		f.Realm = t.realm
		for range 8 {
			if err := t.walk(f, stable); err != nil {
				return fmt.Errorf("%s while others write: %w", show(f), err)
			}
		}
		return nil
	}))
}

// churn creates records between the stable ones, gives them to another subject
// and back, and lets them expire, until nobody walks any more.
func (t *trial) churn(racer int, over func() bool) error {
	for i := 0; i < 10 || !over(); i++ {
		r := t.record(fmt.Sprintf("-%04d-%d-%d", i*7%100, racer, i))
		r.Kind = oauth.KindClient
		if err := t.store.Create(t.ctx, r); err != nil {
			return fmt.Errorf("Create while others list: %w", err)
		}
		for _, subject := range []string{"bob", "alice", "", "alice"} {
			if r.Subject = subject; r.Version == 4 {
				r.ExpiresAt = t.now.Add(-time.Hour)
			}
			if err := t.store.Update(t.ctx, r); err != nil {
				return fmt.Errorf("Update while others list: %w", err)
			}
			r.Version++
			runtime.Gosched() // so that others read in between from a store in memory, too
		}
		if _, err := t.store.DeleteExpired(t.ctx, t.now.Add(-30*time.Minute), 10); err != nil {
			return fmt.Errorf("DeleteExpired while others list: %w", err)
		}
	}
	return nil
}

func (t *trial) walk(f oauth.Filter, stable []string) error {
	last, found := "", 0
	for r, err := range t.store.List(t.ctx, f) {
		switch {
		case err != nil:
			return err
		case r.ID <= last:
			return fmt.Errorf("%q comes after %q", r.ID, last)
		case r.Realm != f.Realm || f.Kind != "" && r.Kind != f.Kind || f.Subject != "" && r.Subject != f.Subject:
			return fmt.Errorf("yields a record of Kind %q, Subject %q", r.Kind, r.Subject)
		}
		last = r.ID
		runtime.Gosched()
		if _, ok := slices.BinarySearch(stable, r.ID[len(t.prefix):]); ok {
			found++
		}
	}
	if found != len(stable) {
		return fmt.Errorf("yields %d of %d records that nobody touches", found, len(stable))
	}
	return nil
}

func listMany(t *trial) {
	total := 10_000
	if testing.Short() {
		total = 1000
	}
	all := make([]oauth.Record, total)
	for i := range all {
		r := t.record(fmt.Sprintf("-%x", uint32(i)*2654435761)) // scattered, of different lengths
		r.ClientID = fmt.Sprintf("client-%d", i%7)
		if r.Subject = fmt.Sprintf("subject-%d", i%100); i%2 == 0 {
			r.Subject = "busy"
		}
		if i%10 < 2 {
			r.Kind = oauth.KindClient
		}
		all[i] = r
	}
	t.all(together(16, func(racer int) error {
		for i := racer; i < total; i += 16 {
			if err := t.store.Create(t.ctx, all[i]); err != nil {
				return fmt.Errorf("Create of one of %d records returned the error %w", total, err)
			}
		}
		return nil
	}))
	for _, f := range []oauth.Filter{{}, {Kind: oauth.KindClient}, {Subject: "subject-43"}, {Kind: oauth.KindAuthorization, Subject: "busy"},
		{ClientID: "client-3"}, {Kind: oauth.KindClient, ClientID: "client-1", Subject: "busy"}} {
		f.Realm = t.realm
		want := t.pick(all, f)
		t.yields(f, want)
		t.pages(f, want)
	}
	f := oauth.Filter{Realm: t.realm, Subject: "busy"}
	want, got := t.pick(all, f), []string{}
	for r, err := range t.store.List(t.ctx, f) {
		t.yielded(f, err)
		if got = append(got, r.ID[len(t.prefix):]); len(got)%50 == 1 {
			r.Subject = "gone"
			t.update(r)
		}
		if len(got) > len(want) {
			break
		}
	}
	if !slices.Equal(want, got) {
		t.fail("%s yields %d of %d records, or another order, when the loop gives some of them another Subject", show(f), len(got), len(want))
	}
}

// pages reads what a filter selects page by page, as a host does that shows them.
func (t *trial) pages(f oauth.Filter, want []string) {
	size := len(want)/5 + 1
	got := []string{}
	for read := size; read == size && len(got) <= len(want); {
		read = 0
		for r, err := range t.store.List(t.ctx, f) {
			t.yielded(f, err)
			got = append(got, r.ID[len(t.prefix):])
			f.After = r.ID
			if read++; read == size {
				break
			}
		}
	}
	if !slices.Equal(want, got) {
		t.fail("%s, in pages of %d, yields %d records, want %d, or has another order", show(f), size, len(got), len(want))
	}
}
