package oauthtest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/grantwell/oauth"
)

// What the contract says of a Record and of Create, Get and Update.

func recordChecks() []check {
	const bytewise = "Every field comes back as it was stored, and texts are compared byte by byte."
	return []check{
		{"every field comes back", "What Create and Update stored is what Get and List return.", recordFields},
		{"ID byte by byte", "ID is at most 64 characters in all of A–Z a–z 0–9 - and _. It is compared byte by byte.", recordIDs},
		{"Kind of any release", "A store treats the kinds alike, those of a later release included.", recordKinds},
		{"Realm byte by byte", "Realm is up to 255 bytes, \"\" where one server has the store to itself. " + bytewise, recordRealms},
		{"ClientID byte by byte", "ClientID is up to 2048 bytes (it may be a URL). " + bytewise, func(t *trial) {
			for i, name := range clientTexts() {
				r := t.record(fmt.Sprintf("-%d", i))
				r.ClientID = name
				t.roundTrip("ClientID "+brief(name), r)
			}
		}},
		{"Subject byte by byte", "Subject is up to 255 bytes of UTF-8. " + bytewise, func(t *trial) {
			for i, name := range subjectTexts() {
				r := t.record(fmt.Sprintf("-%d", i))
				r.Subject = name
				t.roundTrip("Subject "+brief(name), r)
			}
		}},
		{"times to the millisecond, in whatever zone", "CreatedAt and ExpiresAt are exact to the millisecond. (The instant counts, not the zone.)", recordTimes},
		{"Data byte by byte", "Data is the server's own JSON, in UTF-8; a store never looks inside.", recordData},
		{"no Data stays no Data", "Data may be empty: nil and empty are the same, and nothing else is.", func(t *trial) {
			for i, data := range [][]byte{nil, {}} {
				r := t.record(fmt.Sprintf("-%d", i))
				r.Data = data
				t.roundTrip("Data without a byte", r)
			}
		}},
		{"Data is not shared", "Neither side changes Data after the call that passed it. (So a store keeps a copy and gives out copies.)", recordNotShared},
	}
}

// roundTrip stores r by Create, and a twin of it by Update, and reads both.
func (t *trial) roundTrip(what string, r oauth.Record) {
	t.create(r)
	r.Version = 1
	t.holds(r, what+", created:")
	t.twins++
	twin := r
	twin.ID = t.id("-twin-" + strconv.Itoa(t.twins))
	first := twin
	first.Subject, first.ExpiresAt, first.Data = "somebody", t.now.Add(time.Hour), []byte(`{"first":true}`)
	t.create(first)
	t.update(twin)
	twin.Version = 2
	t.holds(twin, what+", updated:")
}

// holds fails unless Get and List return r.
func (t *trial) holds(r oauth.Record, what string) {
	t.same(r, t.get(r.ID), "%s Get", what)
	f := oauth.Filter{Realm: r.Realm, Kind: r.Kind, ClientID: r.ClientID, Subject: r.Subject}
	for _, got := range t.list(f) {
		if got.ID == r.ID {
			t.same(r, got, "%s List", what)
			return
		}
	}
	t.fail("%s List by all its fields does not yield %q", what, r.ID)
}

func recordFields(t *trial) {
	t.roundTrip("a usual record", t.record("-usual"))
	t.roundTrip("a record with nothing but Realm, ID and Kind", oauth.Record{Realm: t.realm, ID: t.id("-bare"), Kind: oauth.KindSpent})
	t.roundTrip("a record with everything at its greatest length", oauth.Record{
		Realm:     filled(t.realm, 255),
		ID:        filled(t.id("-"), 64),
		Kind:      oauth.KindAuthorization,
		ClientID:  filled("https://client.example/", 2048),
		Subject:   filled("subject-", 255),
		CreatedAt: t.now,
		ExpiresAt: t.now.AddDate(70, 0, 0),
		Data:      []byte(`{"head":"` + strings.Repeat("x", 70_000) + `"}`),
	})
	r := t.record("-never")
	r.ExpiresAt = time.Time{}
	t.roundTrip("a record that never expires", r)
}

// filled is a text with letters behind it until it has n bytes.
func filled(s string, n int) string { return s + strings.Repeat("f", n-len(s)) }

// ascending are suffixes of IDs in the order of their bytes; that of a collation
// would be another.
func ascending() []string {
	return []string{"--", "-0", "-00", "-9", "-A", "-AA", "-Aa", "-Z", "-_", "-__", "-a", "-aA", "-aa", "-z", "0-", "A", "_", "a"}
}

func recordIDs(t *trial) {
	numbered := func(i int, suffix string) oauth.Record {
		r := t.record(suffix)
		r.Data = fmt.Appendf(nil, `{"n":%d}`, i)
		return r
	}
	for i, suffix := range ascending() {
		t.create(numbered(i, suffix))
	}
	for i, suffix := range ascending() {
		t.same(numbered(i, suffix), t.get(t.id(suffix)), "Get")
	}
	r := numbered(99, "-aa")
	t.update(r)
	for i, suffix := range ascending() {
		if suffix != "-aa" {
			t.same(numbered(i, suffix), t.get(t.id(suffix)), "after an Update of another ID, Get")
		}
	}
}

func kinds() []oauth.Kind {
	return []oauth.Kind{oauth.KindAuthorization, oauth.KindClient, oauth.KindConsent, oauth.KindKey, oauth.KindSpent, "of-a-later-release"}
}

func recordKinds(t *trial) {
	for _, kind := range kinds() {
		r := t.record("-" + string(kind))
		r.Kind = kind
		t.roundTrip("Kind "+string(kind), r)
	}
}

// realms are realms of this trial that a collation, a pattern or a cut would mix up.
func (t *trial) realms() []string {
	long := filled(t.realm, 254)
	return []string{t.realm, strings.ToLower(t.realm), t.realm + " ", t.realm + "a", t.realm + "A", t.realm + "%",
		t.realm + "/b", t.realm + "世", long, long + "x", long + "y"}
}

func recordRealms(t *trial) {
	for i, realm := range append(t.realms(), "") {
		r := t.record(fmt.Sprintf("-%d", i))
		r.Realm, r.Subject = realm, t.id("")
		t.roundTrip("Realm "+brief(realm), r)
	}
}

// subjectTexts are subjects that a collation, a pattern, a cut or an encoding
// would change or mix up.
func subjectTexts() []string {
	return []string{
		"alice", "Alice", "ALICE", "alice ", " alice", "a", "ali%", "ali_e", "*", "42", "0042", "null",
		"zo\u00eb", "zoe\u0308", "zoe", "stra\u00dfe", "strasse", // composed, decomposed, folded
		`a'b"c\d` + "`;--", "a\nb\tc", "a:b", "משתמש", "👩‍🔬\U00010348", "👩‍🔬\U00010349",
		strings.Repeat("s", 254), strings.Repeat("s", 255), strings.Repeat("s", 254) + "t", strings.Repeat("世", 85),
	}
}

// clientTexts are the same for client IDs.
func clientTexts() []string {
	long := filled("https://client.example/", 2047)
	return []string{
		"app", "App", "app ", "https://client.example/metadata.json?a=b&c=%2F", "https://client.example/metadata.json?a=b&c=%2f",
		" !\"#$%&'()*+,-./:;<=>?@[]^_`{|}~\\", long, long + "q", long + "r", strings.Repeat("ü", 1024),
	}
}

func recordTimes(t *trial) {
	zones := []*time.Location{time.UTC, time.FixedZone("west", -11*3600), time.FixedZone("odd", 5*3600+45*60), time.Local}
	second := t.now.Truncate(time.Second)
	for i, zone := range zones {
		for _, ms := range []time.Duration{0, 1, 499, 500, 999} {
			r := t.record(fmt.Sprintf("-%d-%d", i, ms))
			r.CreatedAt = second.Add(ms * time.Millisecond).In(zone)
			r.ExpiresAt = r.CreatedAt.Add(5 * time.Hour)
			t.roundTrip("times in the zone "+zone.String(), r)
		}
		r := t.record(fmt.Sprintf("-far-%d", i))
		r.ExpiresAt = t.now.AddDate(70, 0, 0).In(zone) // after 2038
		t.roundTrip("an ExpiresAt in 70 years", r)
	}
	r := t.record("-fine")
	r.CreatedAt, r.ExpiresAt = r.CreatedAt.Add(499_999*time.Nanosecond), r.ExpiresAt.Add(999_999*time.Nanosecond)
	t.create(r)
	got := t.get(r.ID)
	if got.CreatedAt.Sub(r.CreatedAt).Abs() >= time.Millisecond || got.ExpiresAt.Sub(r.ExpiresAt).Abs() >= time.Millisecond {
		t.fail("made %v and %v of %v and %v", got.CreatedAt, got.ExpiresAt, r.CreatedAt, r.ExpiresAt)
	}
}

func recordData(t *trial) {
	for i, data := range []string{
		`{}`,
		`{ "z" : 1 , "a" : 2.0, "z" : 1e2, "n":12345678901234567890.10 }`, // order, spaces, doubles and numbers as they are written
		" \r\n\t{\"a\":\n1} ",
		`{"text":"\u00e9 é 世 😀 \ud83d\ude00 \u0000 \/ \\"}`,
		`{"text":"it's; -- $1 ? :x %s {{.}} <b>&amp;"}`,
		`{"text":"` + strings.Repeat("x", 70_000) + `"}`,
		`{"text":"` + strings.Repeat("世", 23_000) + `"}`,
	} {
		r := t.record(fmt.Sprintf("-%d", i))
		r.Data = []byte(data)
		t.roundTrip("Data "+brief(data), r)
	}
}

func recordNotShared(t *trial) {
	const text = `{"a":1}`
	scribble := func(b []byte) {
		for i := range b {
			b[i] = '!'
		}
	}
	want := t.record("-1")
	want.Data = []byte(text)
	fresh := func() oauth.Record {
		r := want
		r.Data = []byte(text)
		return r
	}

	given := fresh()
	t.create(given)
	scribble(given.Data)
	t.same(want, t.get(want.ID), "after the slice given to Create was changed, Get")
	given = fresh()
	t.update(given)
	scribble(given.Data)
	want.Version = 2
	got := t.get(want.ID)
	t.same(want, got, "after the slice given to Update was changed, Get")
	scribble(got.Data)
	_ = append(got.Data[:0], "overwritten"...)
	got = t.get(want.ID)
	t.same(want, got, "after the slice returned by Get was changed, Get")
	for _, r := range t.list(oauth.Filter{Realm: t.realm}) {
		scribble(r.Data)
	}
	t.same(want, t.get(want.ID), "after the slice yielded by List was changed, Get")

	other := t.record("-2")
	other.Data = []byte(`{"b":2}`) // of the same length, for one buffer
	t.create(other)
	t.list(oauth.Filter{Realm: t.realm})
	t.get(other.ID)
	given = fresh()
	given.Version, given.Data = 2, []byte(`{"c":3}`)
	t.update(given)
	t.same(want, got, "a record kept from before other calls, Get")
}

func createChecks() []check {
	return []check{
		{"version 1, whatever was given", "Create stores r with version 1.", func(t *trial) {
			for i, v := range []int64{0, 1, 2, -1, math.MaxInt64} {
				r := t.record(fmt.Sprintf("-%d", i))
				r.Version = v
				t.create(r)
				r.Version = 1
				t.holds(r, fmt.Sprintf("version %d given:", v))
			}
		}},
		{"ErrExists, and nothing is written", "If the ID is taken, by whichever realm or kind, it returns ErrExists and nothing is written.", createTaken},
		{"of 32 at once one wins", "If the ID is taken, it returns ErrExists and nothing is written.", createRace},
	}
}

func createTaken(t *trial) {
	old := t.record("-1")
	t.create(old)
	for again := range 2 {
		for name, change := range map[string]func(r *oauth.Record){
			"the same":      func(*oauth.Record) {},
			"another realm": func(r *oauth.Record) { r.Realm += "2" },
			"another kind":  func(r *oauth.Record) { r.Kind = oauth.KindSpent },
			"all else":      func(r *oauth.Record) { r.ClientID, r.Subject, r.ExpiresAt, r.Data = "web", "bob", time.Time{}, nil },
		} {
			r := old
			r.Version = 1
			change(&r)
			t.answer(t.store.Create(t.ctx, r), oauth.ErrExists, "Create of a taken ID, %s,", name)
			t.holds(old, "after Create of a taken ID, "+name+":")
		}
		for _, f := range []oauth.Filter{{Realm: t.realm + "2"}, {Realm: t.realm, Subject: "bob"}, {Realm: t.realm, Kind: oauth.KindSpent}} {
			if found := t.suffixes(f); len(found) > 0 {
				t.fail("%s yields %q after a Create that returned ErrExists", show(f), found)
			}
		}
		if again == 0 { // and of an ID that was updated
			t.update(old)
			old.Version = 2
		}
	}
}

// racers is how many calls come at once.
const racers = 32

// winner returns the index of the only nil; all else must be want.
func (t *trial) winner(errs []error, want error, what string) int {
	won := -1
	for i, err := range errs {
		if err != nil {
			t.answer(err, want, "one of %d %s at once", len(errs), what)
			continue
		}
		if won >= 0 {
			t.fail("two of %d %s at once returned nil, %d and %d", len(errs), what, won, i)
		}
		won = i
	}
	if won < 0 {
		t.fail("none of %d %s at once returned nil", len(errs), what)
	}
	return won
}

func createRace(t *trial) {
	for round := range 10 {
		racer := func(i int) oauth.Record {
			r := t.record(fmt.Sprintf("-%d", round))
			r.Subject, r.Data = fmt.Sprintf("subject-%d", i), fmt.Appendf(nil, `{"n":%d}`, i)
			return r
		}
		errs := together(racers, func(i int) error { return t.store.Create(t.ctx, racer(i)) })
		won := t.winner(errs, oauth.ErrExists, "creates of one ID")
		t.onlyWinner(won, racer)
	}
}

// onlyWinner fails unless the winner's record is stored and no index leads to it
// from another's subject.
func (t *trial) onlyWinner(won int, racer func(i int) oauth.Record) {
	want := racer(won)
	t.holds(want, "the winner's record:")
	for _, i := range []int{0, racers / 2, racers - 1} {
		loser := racer(i)
		if i != won && slices.ContainsFunc(t.list(oauth.Filter{Realm: t.realm, Subject: loser.Subject}), func(r oauth.Record) bool { return r.ID == want.ID }) {
			t.fail("List by the subject of a loser yields the winner's record %q", want.ID)
		}
	}
}

func getChecks() []check {
	return []check{
		{"ErrNotFound if there is none", "ErrNotFound if there is none.", func(t *trial) {
			t.missing(t.id("-ab"), "before anything was stored")
			t.create(t.record("-ab"))
			for _, suffix := range []string{"-a", "-abc", "-AB", "-aB", "-__", "", "-"} {
				t.missing(t.id(suffix), "where "+t.id("-ab")+" is stored")
			}
		}},
		{"sees every write that returned", "Get sees every Create and Update that returned before it was called, from any process: no replica, no cache.", getSeesWrites},
		{"never half of a write", "Update stores r atomically.", getNeverHalf},
	}
}

func getSeesWrites(t *trial) {
	r := t.record("-1")
	t.create(r)
	for r.Version = 1; r.Version < 40; r.Version++ {
		// Several at once, so that they take several connections.
		t.all(together(4, func(int) error {
			got, err := t.store.Get(t.ctx, r.ID)
			if err != nil {
				return fmt.Errorf("Get directly after version %d was written: %w", r.Version, err)
			}
			if d := difference(r, got); d != "" {
				return fmt.Errorf("Get directly after version %d was written: %s", r.Version, d)
			}
			return nil
		}))
		r.Subject, r.Data = fmt.Sprintf("subject-%d", r.Version), fmt.Appendf(nil, `{"n":%d}`, r.Version)
		t.update(r)
	}
	for i := range 40 {
		r := t.record(fmt.Sprintf("-new-%d", i))
		t.create(r)
		t.same(r, t.get(r.ID), "directly after Create, Get")
	}
}

func getNeverHalf(t *trial) {
	// All that an Update changes is made of the version, so a mixture shows.
	state := func(v int64) oauth.Record {
		r := t.record("-1")
		r.Kind, r.Version, r.Subject = oauth.KindClient, v, fmt.Sprintf("subject-%d", v)
		r.ExpiresAt = r.ExpiresAt.Add(time.Duration(v) * time.Second)
		r.Data = []byte(`{"n":"` + strings.Repeat(strconv.FormatInt(v, 10)+" ", 500) + `"}`)
		return r
	}
	t.create(state(1))
	const last = 150
	var written atomic.Bool
	t.all(together(5, func(racer int) error {
		if racer == 0 {
			defer written.Store(true)
			for v := int64(1); v < last; v++ {
				r := state(v + 1)
				r.Version = v
				if err := t.store.Update(t.ctx, r); err != nil {
					return fmt.Errorf("Update of version %d by its only writer: %w", v, err)
				}
			}
			return nil
		}
		for seen := int64(0); !written.Load(); {
			r, err := t.store.Get(t.ctx, t.id("-1"))
			if racer%2 == 0 {
				for r, err = range t.store.List(t.ctx, oauth.Filter{Realm: t.realm, Kind: oauth.KindClient}) {
				}
			}
			if err != nil {
				return fmt.Errorf("a read while another writes: %w", err)
			}
			if d := difference(state(r.Version), r); d != "" || r.Version < seen {
				return fmt.Errorf("a read while another writes: version %d after %d: %s", r.Version, seen, d)
			}
			seen = r.Version
		}
		return nil
	}))
	t.holds(state(last), "after the last write:")
}
