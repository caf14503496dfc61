package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// A course is the servers of one test: a server for each stage of a rotation of
// secrets, all on one store. Two processes are at a stage each, at most one apart.
type course struct {
	t      *testing.T
	clock  *oauthtest.Clock
	begin  time.Time
	stages []*oauth.Server
	keys   [][]byte
	vault  *vault
	gate   *gated
	rules  rules
	asked  func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction)
	mu     sync.Mutex
	events []oauth.EventType
	seen   map[string]int // what the sequences came to
}

func newCourse(t *testing.T) *course {
	first := newServer(t)
	c := &course{t: t, seen: map[string]int{}, clock: first.Clock, begin: first.Clock.Now(), vault: newVault(t, first.Clock.Now),
		keys: [][]byte{[]byte("A"), []byte("AB"), []byte("BA"), []byte("B")}}
	inner := oauthtest.NewFaulty(c.vault)
	inner.Fail(func(call oauthtest.StoreCall) oauthtest.Fault { inner.Reset(); return c.gate.mishap.fault(call) })
	c.gate = &gated{Storage: inner}
	secrets := map[byte][]byte{'A': oauth.NewSecret(), 'B': oauth.NewSecret()}
	cfg := first.Config
	cfg.Storage = c.gate
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy { return c.rules.policy() }
	cfg.Interact = func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) { c.asked(w, r, in) }
	cfg.Events = func(_ context.Context, e oauth.Event) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if slices.Contains(modelEvents, e.Type) {
			c.events = append(c.events, e.Type)
		}
	}
	for _, keys := range c.keys {
		cfg.Secrets = nil
		for _, k := range keys {
			cfg.Secrets = append(cfg.Secrets, secrets[k])
		}
		srv, err := oauth.New(cfg)
		require.NoError(t, err)
		c.stages = append(c.stages, srv)
	}
	return c
}

// modelEvents are those that the model foretells.
var modelEvents = []oauth.EventType{oauth.EventReuseDetected, oauth.EventStoreWentBack, oauth.EventRefreshRetried, oauth.EventRaceLost,
	oauth.EventWrongClient, oauth.EventRevoked, oauth.EventTokenIssued, oauth.EventUnknownSecret, oauth.EventRecordAltered}

// A generation is what tells refresh tokens of one authorization apart.
type generation struct {
	gen uint32
	key byte
}

// A backup is the store at a moment, and the model of it.
type backup struct {
	records []oauth.Record
	lives   []life
}

// A run is one sequence.
type run struct {
	*course
	t        *rapid.T
	worlds   []*world // that may be: volleys can end in more than one that look the same
	client   string
	stage    [2]int
	code     oauthtest.Code
	record   string // ID
	refresh  map[generation]string
	order    []generation // of the tokens, as they were first given out
	access   []string     // texts, by the index of world.access
	backups  []backup
	restored bool
	redeemed int
}

func (r *run) keysAt(at int) []byte { return r.keys[r.stage[at]] }

func (r *run) server(at int) *oauth.Server { return r.stages[r.stage[at]] }

// serve sends a request to a process.
func (r *run) serve(ctx context.Context, at int, req *http.Request) *oauthtest.Answer {
	rec := httptest.NewRecorder()
	r.server(at).Handler().ServeHTTP(rec, req.WithContext(ctx))
	a := &oauthtest.Answer{Status: rec.Code, Header: rec.Result().Header, Body: rec.Body.Bytes()}
	if json.Unmarshal(a.Body, &a.JSON) != nil {
		a.JSON = nil
	}
	return a
}

func (r *run) post(ctx context.Context, at int, client, path string, form url.Values) *oauthtest.Answer {
	if client == oauthtest.SPAClient {
		form.Set("client_id", client)
	}
	req := httptest.NewRequest(http.MethodPost, oauthtest.Issuer+"/oauth/"+path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != oauthtest.SPAClient {
		req.SetBasicAuth(client, oauthtest.Secret)
	}
	return r.serve(ctx, at, req)
}

// ask sends an authorization request; decide is the host.
func (r *run) ask(at int, decide func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction)) *oauthtest.Answer {
	r.asked = decide
	q := url.Values{"response_type": {"code"}, "client_id": {r.client}, "redirect_uri": {oauthtest.Callback}, "scope": {"read write"},
		"state": {"xyz"}, "code_challenge_method": {"S256"}, "code_challenge": {rfcChallenge}}
	return r.serve(context.Background(), at, httptest.NewRequest(http.MethodGet, oauthtest.Issuer+"/oauth/authorize?"+q.Encode(), nil))
}

// start lets a subject approve.
func (r *run) start() {
	r.vault.load(r.course.t)
	r.gate.mishap = nil
	r.clock.Advance(r.begin.Sub(r.clock.Now()))
	r.client = rapid.SampledFrom([]string{oauthtest.WebClient, oauthtest.SPAClient}).Draw(r.t, "client")
	r.rules = rapid.SampledFrom(allRules).Draw(r.t, "rules")
	keep := rapid.SampledFrom([]int64{0, 2 * dayS, 90 * dayS}).Draw(r.t, "remember")
	now := r.begin.Unix()
	w := &world{rules: r.rules, now: now}
	w.keep = w.keep && r.client == oauthtest.WebClient // a public client's always rotate
	a := r.ask(0, func(rw http.ResponseWriter, req *http.Request, in *oauth.Interaction) {
		in.Approve(rw, req, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), Remember: seconds(keep)})
	})
	_, params := a.Location()
	require.NotEmpty(r.t, params.Get("code"), "%d %s", a.Status, a.Body)
	r.code = oauthtest.Code{Client: r.client, Code: params.Get("code"), RedirectURI: oauthtest.Callback, Verifier: rfcVerifier}
	for _, rec := range r.vault.dump(r.course.t) {
		if rec.Kind == oauth.KindAuthorization {
			r.record = rec.ID
		}
	}
	w.life = life{exists: true, version: 1, created: now, expires: now + hour, mac: 'A', key: 'A', codeKey: 'A', rotated: now,
		idleEnd: min(now+w.idle, now+w.absolute), end: now + w.absolute, codeEnd: now + w.code}
	if keep > 0 {
		w.consentEnd, w.consentMAC = now+keep, 'A'
	}
	r.worlds = []*world{w}
	r.t.Logf("%s is approved under the rules %q, remembered for %v", r.client, w.name, seconds(keep))
}

// send performs a call on the server.
func (r *run) send(ctx context.Context, c call) *oauthtest.Answer {
	client := r.client
	if c.stranger {
		client = oauthtest.WebClient
		if r.client == client {
			client = oauthtest.SPAClient
		}
	}
	sel := oauth.Selector{ID: r.record}
	switch c.act {
	case redeemCode:
		form := r.code.Form()
		if c.wrong {
			form.Set("code_verifier", strings.Repeat("w", 50))
		}
		return r.post(ctx, c.at, client, "token", form)
	case useRefresh:
		return r.post(ctx, c.at, client, "token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.refresh[generation{c.gen, c.key}]}})
	case revokeRefresh:
		return r.post(ctx, c.at, client, "revoke", url.Values{"token": {r.refresh[generation{c.gen, c.key}]}})
	case revokeAccess:
		return r.post(ctx, c.at, client, "revoke", url.Values{"token": {c.access}})
	case hostErase:
		sel.Erase = true
	case hostRevokeSubject:
		sel = oauth.Selector{Subject: "alice"}
	}
	if _, err := r.server(c.at).Revoke(ctx, sel); err != nil {
		return &oauthtest.Answer{Status: 503, JSON: map[string]any{"error": "temporarily_unavailable"}}
	}
	return &oauthtest.Answer{Status: 200}
}

// volley performs calls that are under way at the same time; which of them goes on
// at each step is drawn.
func (r *run) volley(calls []call) []*oauthtest.Answer {
	answers := make([]*oauthtest.Answer, len(calls))
	turns, done := make([]*turn, len(calls)), make([]chan struct{}, len(calls))
	order := rapid.SliceOfN(rapid.IntRange(0, 2), 16, 16).Draw(r.t, "order")
	var waiting []int
	settle := func(i int) {
		select {
		case <-turns[i].parked:
			waiting = append(waiting, i)
			slices.Sort(waiting)
		case <-done[i]:
		}
	}
	for i, c := range calls {
		turns[i] = &turn{make(chan struct{}), make(chan struct{}), &luck{mishap: c.mishap}}
		done[i] = make(chan struct{})
		go func() {
			defer close(done[i])
			answers[i] = r.send(context.WithValue(context.Background(), turnKey{}, turns[i]), c)
		}()
		settle(i)
	}
	for n := 0; len(waiting) > 0; n++ {
		next := order[n%len(order)] % len(waiting)
		i := waiting[next]
		waiting = slices.Delete(waiting, next, next+1)
		turns[i].release <- struct{}{}
		settle(i)
	}
	r.gate.mishap = nil
	return answers
}

// perform sends calls, one or several at once, and finds the future that they led to.
func (r *run) perform(calls ...call) {
	var answers []*oauthtest.Answer
	var futures []future
	r.events = nil
	if len(calls) == 1 {
		for _, w := range r.worlds {
			next := w.clone()
			futures = append(futures, future{next, []reply{next.do(calls[0])}, make([]int, len(next.access)-len(w.access))})
		}
		r.gate.mishap = &luck{mishap: calls[0].mishap}
		answers = []*oauthtest.Answer{r.send(context.Background(), calls[0])}
		r.gate.mishap = nil
	} else {
		for _, w := range r.worlds {
			futures = append(futures, w.futures(calls)...)
		}
		answers = r.volley(calls)
	}
	for i, c := range calls {
		r.t.Logf("%v → %s", c, outcome(answers[i]))
	}
	var failed error
	var fit []future
	for _, f := range futures {
		if err := r.matches(f, calls, answers); err == nil {
			fit = append(fit, f)
		} else if failed == nil {
			failed = err
		}
	}
	if len(fit) > 0 {
		r.adopt(fit, calls, answers)
		return
	}
	for _, e := range r.events {
		r.t.Logf("event %s", e)
	}
	r.t.Fatalf("the model allows none of this (%d ways): %v", len(futures), failed)
}

// matches holds answers and everything that can be seen afterwards against a future.
func (r *run) matches(f future, calls []call, answers []*oauthtest.Answer) error {
	given := maps.Clone(r.refresh)
	for i, a := range answers {
		want := f.replies[i]
		if outcome(a) != want.outcome {
			return fmt.Errorf("%v: answered %s, want %s", calls[i], outcome(a), want)
		}
		text := a.String("refresh_token")
		if (text != "") != (want.gen > 0) {
			return fmt.Errorf("%v: refresh token in the answer: %t, want %s", calls[i], text != "", want)
		}
		if text != "" {
			g := generation{want.gen, want.key}
			if old, is := given[g]; is && old != text {
				return fmt.Errorf("%v: another successor than before, want %s", calls[i], want)
			}
			for other, old := range given {
				if old == text && other != g {
					return fmt.Errorf("%v: the token %d%c again, want %s", calls[i], other.gen, other.key, want)
				}
			}
			given[g] = text
		}
	}
	if len(calls) == 1 && calls[0].mishap == noMishap {
		var want []oauth.EventType
		if e := f.replies[0].event; e != "" {
			want = []oauth.EventType{e}
		}
		if got := r.events; calls[0].act < hostRevoke && !slices.Equal(got, want) {
			return fmt.Errorf("%v: events %v, want %v", calls[0], got, want)
		}
	}
	for n, i := range f.issued {
		f.access[len(f.access)-len(f.issued)+n].text = answers[i].String("access_token")
	}
	return r.agree(f.world, given)
}

// agree compares what can be seen from outside with a world.
func (r *run) agree(w *world, refresh map[generation]string) error {
	ctx := context.Background()
	rec, err := r.vault.Get(ctx, r.record)
	switch {
	case err != nil && !errors.Is(err, oauth.ErrNotFound):
		return err
	case err == nil && !w.exists, err != nil && w.exists && w.now < w.expires:
		return fmt.Errorf("the record is there: %t, want %t", err == nil, w.exists)
	case err == nil && (rec.Version != w.version || rec.ExpiresAt.Unix() != w.expires):
		return fmt.Errorf("the record is at version %d until %v, want %d until %v", rec.Version, rec.ExpiresAt.UTC(), w.version, time.Unix(w.expires, 0).UTC())
	}
	at := int(w.now/3+w.version) % 2
	keys := r.keysAt(at)
	for _, token := range w.access[max(0, len(w.access)-8):] {
		_, err := r.server(at).VerifyToken(ctx, token.text)
		if want := w.accessLives(token, keys); (err == nil) != want || (err != nil && !errors.Is(err, oauth.InvalidToken)) {
			return fmt.Errorf("access token #%d at process %d: %v, want it alive: %t", slices.Index(r.access, token.text), at, err, want)
		}
	}
	living := 0
	for g, text := range refresh {
		if r.client == oauthtest.SPAClient || g.gen+2 < w.gen { // a public client may not introspect
			continue
		}
		active := r.post(ctx, at, r.client, "introspect", url.Values{"token": {text}}).JSON["active"]
		if want := w.refreshActive(g.gen, g.key, keys); active != want {
			return fmt.Errorf("refresh token %d%c at process %d: active %v, want %t", g.gen, g.key, at, active, want)
		}
		if active == true {
			living++
		}
	}
	if living > 1 && !r.restored {
		return fmt.Errorf("%d refresh tokens live", living)
	}
	var known bool
	r.ask(at, func(_ http.ResponseWriter, req *http.Request, in *oauth.Interaction) {
		known, err = in.Remembered(req.Context(), "alice")
	})
	if want := w.remembered(keys); err != nil && !errors.Is(err, oauth.ErrNotFound) || known != want {
		return fmt.Errorf("the consent is remembered: %t (%v), want %t", known, err, want)
	}
	return nil
}

// adopt makes the futures that fit the present.
func (r *run) adopt(fit []future, calls []call, answers []*oauthtest.Answer) {
	for _, e := range r.events {
		r.seen[string(e)]++
	}
	for _, a := range answers {
		r.seen[outcome(a)]++
	}
	r.seen["calls"] += len(calls)
	f := fit[0]
	r.worlds = nil
	for _, other := range fit { // the same names for the refresh tokens
		same := true
		for i := range calls {
			same = same && other.replies[i].gen == f.replies[i].gen && other.replies[i].key == f.replies[i].key
		}
		if same {
			r.worlds = append(r.worlds, other.world)
		}
	}
	for _, a := range answers {
		if text := a.String("access_token"); text != "" {
			r.access = append(r.access, text)
		}
	}
	r.distinct()
	for i, a := range answers {
		if a.Status != 200 || a.String("refresh_token") == "" {
			continue
		}
		if calls[i].act == redeemCode {
			r.redeemed++
		}
		g := generation{f.replies[i].gen, f.replies[i].key}
		if _, is := r.refresh[g]; !is {
			r.refresh[g] = a.String("refresh_token")
			r.order = append(r.order, g)
		}
	}
	require.False(r.t, r.redeemed > 1 && !r.restored, "a code was redeemed twice")
}

// steps are what can happen, and how often. Most of it keeps an authorization alive,
// or nothing of interest could happen to it.
var steps = often(map[string]int{"refresh": 8, "wait": 5, "volley": 4, "retry": 2, "revoke access": 2, "backup": 2, "restore": 2,
	"refresh any": 1, "redeem": 1, "redeem wrongly": 1, "refresh as a stranger": 1, "revoke refresh": 1, "host": 1, "rollout": 1, "sweep": 1})

// together are those of a volley.
var together = often(map[string]int{"refresh": 6, "retry": 2, "redeem": 1, "refresh any": 1, "revoke access": 2, "revoke refresh": 1, "host": 1})

// often lists every name as many times as it says, in one order.
func often(weights map[string]int) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		all = append(all, slices.Repeat([]string{name}, weights[name])...)
	}
	return all
}

// waits are in seconds: about the limits of every rule, the short ones more often.
var waits = []int64{1, 1, 1, 2, 2, 3, 3, 10, 10, 27, 29, 30, 31, 34, 59, 60, 64, 65, 296, 1800, hour, 2 * hour, 4 * dayS, 29 * dayS}

func (r *run) step() {
	switch what := rapid.SampledFrom(steps).Draw(r.t, "step"); what {
	case "wait":
		n := rapid.SampledFrom(waits).Draw(r.t, "seconds")
		r.clock.Advance(seconds(n))
		for _, w := range r.worlds {
			w.now += n
		}
		r.t.Logf("%v later", seconds(n))
		r.settle(false)
	case "backup":
		b := backup{records: r.vault.dump(r.course.t)}
		for _, w := range r.worlds {
			b.lives = append(b.lives, w.life)
		}
		r.backups = append(r.backups, b)
		r.t.Logf("a backup")
	case "restore":
		r.restore()
	case "rollout":
		at := 0
		if r.stage[0] > r.stage[1] {
			at = 1
		}
		if r.stage[at] < len(r.keys)-1 {
			r.stage[at]++
			r.t.Logf("process %d has the secrets %s now", at, r.keysAt(at))
		}
	case "sweep":
		_, err := r.server(0).DeleteExpired(context.Background(), 10)
		require.NoError(r.t, err)
		r.t.Logf("DeleteExpired")
		r.settle(true)
	case "volley":
		var calls []call
		for range rapid.IntRange(2, 3).Draw(r.t, "at once") {
			calls = append(calls, r.call(rapid.SampledFrom(together).Draw(r.t, "one"), true))
		}
		for i := range calls[1:] { // one mishap is enough
			calls[i+1].mishap = noMishap
		}
		r.t.Logf("at the same time:")
		r.perform(calls...)
	default:
		r.perform(r.call(what, false))
		return
	}
	var failed error
	r.worlds = slices.DeleteFunc(r.worlds, func(w *world) bool {
		err := r.agree(w, r.refresh)
		if err != nil {
			failed = err
		}
		return err != nil
	})
	if len(r.worlds) == 0 {
		r.t.Fatalf("%v", failed)
	}
}

// call is a call of this sort, or the redemption of the code where there is nothing
// for it to present.
func (r *run) call(what string, atOnce bool) (c call) {
	c.at = rapid.IntRange(0, 1).Draw(r.t, "process")
	c.keys = r.keysAt(c.at)
	c.mishap = trouble(max(0, rapid.IntRange(-12, int(readFails)).Draw(r.t, "mishap")))
	switch what {
	case "redeem wrongly":
		c.wrong = rapid.Bool().Draw(r.t, "verifier")
		c.stranger = !c.wrong
		return c
	case "host":
		c.act = rapid.SampledFrom([]deed{hostRevoke, hostErase, hostRevokeSubject}).Draw(r.t, "how")
		if c.act == hostRevokeSubject && atOnce { // two records are no one moment
			c.act = hostRevoke
		}
		if c.act == hostRevokeSubject {
			c.mishap = noMishap
		}
		return c
	case "redeem":
		return c
	}
	if len(r.order) == 0 {
		return c
	}
	latest := r.order[len(r.order)-1]
	switch what {
	case "retry":
		latest = r.order[max(0, len(r.order)-2)]
	case "refresh any", "revoke refresh", "refresh as a stranger":
		latest = rapid.SampledFrom(r.order).Draw(r.t, "token")
	}
	c.act, c.gen, c.key = useRefresh, latest.gen, latest.key
	switch what {
	case "revoke refresh":
		c.act = revokeRefresh
		c.stranger = rapid.IntRange(0, 2).Draw(r.t, "stranger") > 0
	case "revoke access":
		c.act = revokeAccess
		c.number = rapid.IntRange(0, len(r.access)-1).Draw(r.t, "access token")
		c.access = r.access[c.number]
		c.stranger = rapid.IntRange(0, 3).Draw(r.t, "stranger") == 3
	case "refresh as a stranger":
		c.stranger = true
	}
	return c
}

// settle learns whether a record that has expired is gone: after a sweep it must be,
// but for the minute by which clocks differ, and before only stores that expire
// records themselves may have dropped it.
func (r *run) settle(swept bool) {
	_, err := r.vault.Get(context.Background(), r.record)
	gone := errors.Is(err, oauth.ErrNotFound)
	for _, w := range r.worlds { // they agree about this
		if !w.exists {
			return
		}
		if gone {
			require.True(r.t, w.now >= w.expires && (swept && w.now >= w.expires+60 || storeExpires), "the record is gone too early")
			w.exists = false
		} else if swept {
			require.LessOrEqual(r.t, w.now, w.expires+60, "the record is still there")
		}
	}
}

// distinct leaves one of each of the worlds that are the same.
func (r *run) distinct() {
	seen := map[string]bool{}
	r.worlds = slices.DeleteFunc(r.worlds, func(w *world) bool {
		slices.SortStableFunc(w.access, func(a, b issuedAccess) int {
			return slices.Index(r.access, a.text) - slices.Index(r.access, b.text)
		})
		key := fmt.Sprintf("%+v", *w)
		defer func() { seen[key] = true }()
		return seen[key]
	})
}

// restore takes the store back, as a backup or a failover does. What had expired is
// left out.
func (r *run) restore() {
	if len(r.backups) == 0 {
		return
	}
	n := rapid.IntRange(0, len(r.backups)-1).Draw(r.t, "backup")
	b := r.backups[n]
	now := r.clock.Now().Unix()
	live := slices.DeleteFunc(slices.Clone(b.records), func(rec oauth.Record) bool {
		return !rec.ExpiresAt.IsZero() && rec.ExpiresAt.Unix() <= now
	})
	r.vault.load(r.course.t, live...)
	var worlds []*world
	for _, w := range r.worlds {
		for _, l := range b.lives {
			w := w.clone()
			w.life = l
			w.exists = l.exists && now < l.expires
			worlds = append(worlds, w)
		}
	}
	r.worlds = worlds
	r.distinct()
	r.restored = true
	r.seen["restore"]++
	r.t.Logf("the store goes back to backup %d", n)
}

// TestModel holds the server against the model by random sequences, which rapid
// shrinks: -rapid.checks says how many, -rapid.seed repeats a failure.
func TestModel(t *testing.T) {
	modelFlags(t, 150)
	c := newCourse(t)
	rapid.Check(t, func(rt *rapid.T) {
		r := &run{course: c, t: rt, refresh: map[generation]string{}}
		r.start()
		if rapid.Bool().Draw(rt, "redeemed at once") {
			r.perform(call{at: 0, keys: r.keysAt(0)})
		}
		rt.Repeat(map[string]func(*rapid.T){"step": func(*rapid.T) { r.step() }})
	})
	t.Logf("seen: %v", c.seen)
}

// modelFlags sets how many sequences there are where nothing says it, fewer on stores
// that are slower than memory, and keeps the package's directory clean.
func modelFlags(t *testing.T, checks int) {
	set := func(name, value string) {
		before := flag.Lookup(name).Value.String()
		require.NoError(t, flag.Set(name, value))
		t.Cleanup(func() { require.NoError(t, flag.Set(name, before)) })
	}
	set("rapid.nofailfile", "true")
	if faultRounds != raceRounds {
		checks /= 12
	}
	if given := flag.Lookup("rapid.checks"); given.Value.String() == given.DefValue {
		set("rapid.checks", strconv.Itoa(checks))
	}
}

// An honest client uses the latest refresh token that it was given. Where it has no
// answer it sends the same again, now and then while the first is still under way, and
// has one before the retry window is over. It is never logged out. This test knows
// nothing of the model.
func TestModelHonestClient(t *testing.T) {
	modelFlags(t, 60)
	c := newCourse(t)
	rapid.Check(t, func(rt *rapid.T) {
		r := &run{course: c, t: rt}
		r.start()
		if r.rules.noRetry {
			r.rules = allRules[0]
		}
		a := r.send(context.Background(), call{})
		require.Equal(rt, "200", outcome(a))
		token, used, end := a.String("refresh_token"), c.clock.Now(), c.clock.Now().Add(seconds(r.rules.absolute))
		wait := func(n int64) {
			c.clock.Advance(seconds(n))
			rt.Logf("%v later", seconds(n))
		}
		rt.Repeat(map[string]func(*rapid.T){"use": func(*rapid.T) {
			wait(rapid.SampledFrom(waits).Draw(rt, "seconds"))
			idle := r.rules.idle
			if r.rules.keep {
				idle -= idle / 8 // an end that moves by less need not be stored
			}
			if now := c.clock.Now(); !now.Before(used.Add(seconds(idle))) || !now.Add(seconds(r.rules.window)).Before(end) {
				return
			}
			var first string // successor that came, delivered or not
			for left := r.rules.window; ; {
				calls := make([]call, rapid.IntRange(1, 3).Draw(rt, "at once"))
				for i := range calls {
					calls[i] = call{act: useRefresh, at: rapid.IntRange(0, 1).Draw(rt, "process")}
				}
				calls[0].mishap = trouble(max(0, rapid.IntRange(-3, int(readFails)).Draw(rt, "mishap")))
				r.refresh = map[generation]string{{}: token}
				answers := r.volley(calls)
				for i, a := range answers {
					rt.Logf("refresh%v → %s", calls[i].mishap, outcome(a))
					if a.Status != 503 || calls[i].mishap == noMishap {
						require.Equal(rt, "200", outcome(a), "an honest client is logged out")
					}
					if next := a.String("refresh_token"); next != "" {
						require.True(rt, first == "" || first == next, "two successors")
						first = next
					}
				}
				n := rapid.SampledFrom([]int64{0, 1, 2, 5, 20}).Draw(rt, "until it sends it again")
				if lost := rapid.Bool().Draw(rt, "no answer arrives"); first != "" && (!lost || n > left) {
					break
				}
				if n = min(n, left); n > 0 {
					wait(n)
					left -= n
				}
			}
			token, used = first, c.clock.Now()
		}})
	})
}
