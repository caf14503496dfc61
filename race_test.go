package oauth_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/oauthtest"
)

// A vault is a store that can be dumped and taken back to a dump, as backups and
// failovers do, or to rows that somebody has edited.
type vault struct{ oauth.Storage }

func newVault(t testing.TB, now func() time.Time) *vault {
	t.Helper()
	return &vault{newStorage(t, now)}
}

// dump is every record of these realms, or of the realm "".
func (v *vault) dump(t testing.TB, realms ...string) []oauth.Record {
	t.Helper()
	if len(realms) == 0 {
		realms = []string{""}
	}
	var all []oauth.Record
	for _, realm := range realms {
		for r, err := range v.List(t.Context(), oauth.Filter{Realm: realm}) {
			require.NoError(t, err)
			all = append(all, r)
		}
	}
	return all
}

// load replaces everything by these records, their versions included.
func (v *vault) load(t testing.TB, records ...oauth.Record) {
	t.Helper()
	if store, is := v.Storage.(emptiable); is {
		store.Empty(t)
	} else {
		v.Storage = memstore.New()
	}
	for _, r := range records {
		version := r.Version
		require.NoError(t, v.Create(t.Context(), r))
		for r.Version = 1; r.Version < version; r.Version++ {
			require.NoError(t, v.Update(t.Context(), r))
		}
	}
}

// record is the one record of the store.
func (v *vault) record(t testing.TB) oauth.Record {
	t.Helper()
	all := v.dump(t)
	require.Len(t, all, 1)
	return all[0]
}

// A lab is two servers of one Config on one store that can be taken back in time.
type lab struct {
	*oauthtest.Server
	twin  *oauthtest.Server // its events are at the first
	vault *vault
	skew  time.Duration // by how much the twin's clock is wrong
}

func newLab(t testing.TB, edits ...func(*oauth.Config)) *lab {
	t.Helper()
	l := new(lab)
	edits = append([]func(*oauth.Config){func(c *oauth.Config) {
		l.vault = newVault(t, c.Now)
		c.Storage = oauthtest.NewFaulty(l.vault)
	}}, edits...)
	l.Server = oauthtest.NewServer(t, edits...)
	l.twin = another(t, l.Server)
	return l
}

// another is one more process with the Config of the server, but for the edits.
// It asks its own Interact; its events are at the server.
func another(t testing.TB, s *oauthtest.Server, edits ...func(*oauth.Config)) *oauthtest.Server {
	t.Helper()
	same := func(c *oauth.Config) {
		own := c.Interact
		*c = s.Config
		c.Interact = own
	}
	return oauthtest.NewServer(t, append([]func(*oauth.Config){same}, edits...)...)
}

// at is one of the two servers: the requests of a volley go to both.
func (l *lab) at(i int) *oauthtest.Server {
	if i%2 == 0 {
		return l.Server
	}
	return l.twin
}

// step moves the clock on, and so far that the twin sees the same order of things.
func (l *lab) step(d time.Duration) {
	if l.skew != 0 {
		d += time.Millisecond
	}
	l.Clock.Advance(d)
}

// lives asserts that the access tokens are good at both servers.
func (l *lab) lives(t testing.TB, tokens ...string) {
	t.Helper()
	for i, token := range append(tokens, tokens...) {
		_, err := l.at(i/len(tokens)).VerifyToken(t.Context(), token)
		require.NoError(t, err)
	}
}

// gone asserts that the access tokens are good at neither server.
func (l *lab) gone(t testing.TB, tokens ...string) {
	t.Helper()
	for i, token := range append(tokens, tokens...) {
		_, err := l.at(i/len(tokens)).VerifyToken(t.Context(), token)
		require.ErrorIs(t, err, oauth.InvalidToken)
	}
}

// count is how many events of this type there were.
func (l *lab) count(e oauth.EventType) int { return len(l.Events(e)) }

// outcome is the status of an answer, and its error where it is one.
func outcome(a *oauthtest.Answer) string {
	if code := a.String("error"); code != "" {
		return strconv.Itoa(a.Status) + " " + code
	}
	return strconv.Itoa(a.Status)
}

// tally counts the outcomes.
func tally(answers []*oauthtest.Answer) map[string]int {
	n := map[string]int{}
	for _, a := range answers {
		n[outcome(a)]++
	}
	return n
}

// ok are the answers with status 200 that carry an access token.
func ok(answers []*oauthtest.Answer) []*oauthtest.Answer {
	var good []*oauthtest.Answer
	for _, a := range answers {
		if a.Status == 200 && a.String("access_token") != "" {
			good = append(good, a)
		}
	}
	return good
}

// each is one member of every answer.
func each(answers []*oauthtest.Answer, member string) []string {
	var all []string
	for _, a := range answers {
		all = append(all, a.String(member))
	}
	return all
}

// volley sends n requests at once, from behind a barrier.
func volley(n int, send func(i int) *oauthtest.Answer) []*oauthtest.Answer {
	answers := make([]*oauthtest.Answer, n)
	var ready, done sync.WaitGroup
	barrier := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-barrier
			answers[i] = send(i)
		})
	}
	ready.Wait()
	close(barrier)
	done.Wait()
	return answers
}

// race is a volley while the store answers about 2 ms late.
func (l *lab) race(send func(i int) *oauthtest.Answer) []*oauthtest.Answer {
	l.Store.Delay(func() time.Duration { return time.Millisecond + rand.N(2*time.Millisecond) })
	defer l.Store.Delay(nil)
	return volley(racers, send)
}

const (
	racers      = 32
	raceRounds  = 200
	raceWorkers = 2 // share the rounds of one case
)

// noRetry and keep are policies.
func noRetry(c *oauth.Config) {
	c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy {
		return oauth.Policy{RetryWindow: oauth.NoRetry}
	}
}

func keep(c *oauth.Config) {
	c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy { return oauth.Policy{Refresh: oauth.Keep} }
}

// writes lets every write go wrong in one way.
func writes(f oauthtest.Fault) func(oauthtest.StoreCall) oauthtest.Fault {
	return func(c oauthtest.StoreCall) oauthtest.Fault {
		if c.Method == "Create" || c.Method == "Update" {
			return f
		}
		return oauthtest.NoFault
	}
}

func TestRaces(t *testing.T) {
	for _, c := range []struct {
		name   string
		config func(*oauth.Config)
		fault  oauthtest.Fault
		skew   time.Duration
		rounds int
		round  func(t *testing.T, l *lab, round int)
	}{
		{name: "V005 V006 N001 S317 S319 one code", round: raceCode},
		{name: "N004 one code, every write performed twice", fault: oauthtest.Twice, round: raceCode},
		{name: "N005 one code, the answer of every write lost", fault: oauthtest.FailAfter, round: raceCode},
		{name: "V020 V023 S321 one refresh token", round: raceRefresh},
		{name: "N004 one refresh token, every write performed twice", fault: oauthtest.Twice, round: raceRefresh},
		{name: "N005 one refresh token, the answer of every write lost", fault: oauthtest.FailAfter, round: raceRefresh},
		{name: "S321 one refresh token under NoRetry", config: noRetry, round: raceNoRetry},
		{name: "S321 one refresh token that is kept", config: keep, rounds: 50, round: raceKeep},
		{name: "N002 one refresh token newer than the restored store", round: raceWentBack},
		{name: "S323 revoke during refresh", round: raceRevoke},
		{name: "S323 revoke an access token during refresh", rounds: 50, round: raceRevokeAccess},
		{name: "N014 one code, the second clock 1 s behind", skew: -time.Second, rounds: 20, round: raceCode},
		{name: "N014 one code, the second clock 1 s ahead", skew: time.Second, rounds: 20, round: raceCode},
		{name: "N014 one refresh token, the second clock 1 s behind", skew: -time.Second, rounds: 20, round: raceRefresh},
		{name: "N014 one refresh token, the second clock 1 s ahead", skew: time.Second, rounds: 20, round: raceRefresh},
		{name: "N014 NoRetry, the second clock 1 s behind", config: noRetry, skew: -time.Second, rounds: 20, round: raceNoRetry},
		{name: "N014 NoRetry, the second clock 1 s ahead", config: noRetry, skew: time.Second, rounds: 20, round: raceNoRetry},
	} {
		t.Run(c.name, func(t *testing.T) {
			rounds := max(c.rounds, 0)
			switch {
			case testing.Short():
				rounds = 10
			case c.fault != oauthtest.NoFault:
				rounds = faultRounds
			case rounds == 0:
				rounds = raceRounds
			}
			for w := range raceWorkers {
				t.Run(fmt.Sprintf("worker %d", w), func(t *testing.T) {
					t.Parallel()
					l := newLab(t, func(cfg *oauth.Config) {
						if c.config != nil {
							c.config(cfg)
						}
					})
					if l.skew = c.skew; l.skew != 0 {
						l.twin = another(t, l.Server, func(cfg *oauth.Config) {
							cfg.Now = func() time.Time { return l.Clock.Now().Add(l.skew) }
						})
					}
					l.Store.Fail(writes(c.fault))
					for round := range rounds / raceWorkers {
						c.round(t, l, round)
					}
				})
			}
		})
	}
}

// raceClient takes turns: the rules for public and confidential clients are the same here.
func raceClient(round int) string {
	return [...]string{oauthtest.SPAClient, oauthtest.WebClient}[round%2]
}

func raceCode(t *testing.T, l *lab, round int) {
	client := raceClient(round)
	code := l.Code(client)
	answers := l.race(func(i int) *oauthtest.Answer { return l.at(i).Token(client, code.Form()) })
	require.Equal(t, map[string]int{"200": 1, "400 invalid_grant": racers - 1}, tally(answers))
	require.Len(t, l.vault.dump(t), round+1, "one authorization for each code")
	require.Equal(t, (racers-1)*(round+1), l.count(oauth.EventRaceLost))

	won := ok(answers)[0]
	l.lives(t, won.String("access_token"))
	next := l.at(round/2).Refresh(client, won.String("refresh_token"))
	require.Equal(t, 200, next.Status)
	l.lives(t, won.String("access_token"), next.String("access_token"))

	l.step(3 * time.Second)
	require.Equal(t, round, l.count(oauth.EventReuseDetected))
	require.Equal(t, "400 invalid_grant", outcome(l.at(round/2+1).Token(client, code.Form())), "S319")
	require.Equal(t, round+1, l.count(oauth.EventReuseDetected))
	l.gone(t, won.String("access_token"), next.String("access_token"))
	require.Equal(t, "400 invalid_grant", outcome(l.Refresh(client, next.String("refresh_token"))))
}

func raceRefresh(t *testing.T, l *lab, round int) {
	client := raceClient(round)
	first := l.Redeem(l.Code(client)).String("refresh_token")
	before := l.count(oauth.EventRefreshRetried)
	answers := l.race(func(i int) *oauthtest.Answer { return l.at(i).Refresh(client, first) })
	require.Equal(t, map[string]int{"200": racers}, tally(answers))
	require.Equal(t, racers-1, l.count(oauth.EventRefreshRetried)-before)
	second := answers[0].String("refresh_token")
	require.NotEqual(t, first, second)
	for _, a := range answers {
		require.Equal(t, second, a.String("refresh_token"), "I2: one successor")
	}
	tokens := each(answers, "access_token")
	l.lives(t, tokens...)

	third := l.at(round/2+1).Refresh(client, second)
	require.Equal(t, 200, third.Status)
	l.lives(t, third.String("access_token"))
	old := first // older than the one before: reuse at once
	if round/2%2 == 1 {
		l.step(31 * time.Second)
		old = second // the one before, when its window is over
	}
	require.Equal(t, round, l.count(oauth.EventReuseDetected))
	require.Equal(t, "400 invalid_grant", outcome(l.at(round/2).Refresh(client, old)))
	require.Equal(t, round+1, l.count(oauth.EventReuseDetected))
	l.gone(t, append(tokens, third.String("access_token"))...)
	require.Equal(t, "400 invalid_grant", outcome(l.Refresh(client, third.String("refresh_token"))))
}

func raceNoRetry(t *testing.T, l *lab, round int) {
	const client = oauthtest.WebClient
	first := l.Redeem(l.Code(client)).String("refresh_token")
	answers := l.race(func(i int) *oauthtest.Answer { return l.at(i).Refresh(client, first) })
	require.Equal(t, map[string]int{"200": 1, "400 invalid_grant": racers - 1}, tally(answers))
	require.Equal(t, (racers-1)*(round+1), l.count(oauth.EventRaceLost))
	won := ok(answers)[0]
	l.lives(t, won.String("access_token"))
	ask := url.Values{"token": {won.String("refresh_token")}}
	require.Equal(t, true, l.at(round).Post("/oauth/introspect", client, ask).JSON["active"], "the authorization lives")

	l.step(3 * time.Second)
	require.Equal(t, "400 invalid_grant", outcome(l.at(round).Refresh(client, first)))
	require.Equal(t, round+1, l.count(oauth.EventReuseDetected))
	l.gone(t, won.String("access_token"))
	require.Equal(t, "400 invalid_grant", outcome(l.Refresh(client, won.String("refresh_token"))))
}

func raceKeep(t *testing.T, l *lab, round int) {
	const client = oauthtest.WebClient
	token := l.Redeem(l.Code(client)).String("refresh_token")
	l.step(5 * 24 * time.Hour) // more than an eighth of the idle life: its end moves
	answers := l.race(func(i int) *oauthtest.Answer { return l.at(i).Refresh(client, token) })
	require.Equal(t, map[string]int{"200": racers}, tally(answers))
	for _, a := range answers {
		require.Equal(t, token, a.String("refresh_token"))
	}
	l.lives(t, each(answers, "access_token")...)
	require.Zero(t, l.count(oauth.EventReuseDetected))
}

func raceWentBack(t *testing.T, l *lab, round int) {
	client := raceClient(round)
	l.vault.load(t)
	first := l.Redeem(l.Code(client)).String("refresh_token")
	dump := l.vault.dump(t)
	second := l.Refresh(client, first).String("refresh_token")
	third := l.at(1).Refresh(client, second).String("refresh_token")
	require.NotEmpty(t, third)
	generation := l.Events(oauth.EventTokenIssued)
	presented := generation[len(generation)-1].Generation

	l.vault.load(t, dump...)
	answers := l.race(func(i int) *oauthtest.Answer { return l.at(i).Refresh(client, third) })
	require.Equal(t, map[string]int{"200": racers}, tally(answers))
	back := l.Events(oauth.EventStoreWentBack)
	require.Len(t, back, round+1, "once")
	require.Equal(t, presented+1, back[round].Generation)
	fourth := answers[0].String("refresh_token")
	for _, a := range answers {
		require.Equal(t, fourth, a.String("refresh_token"), "I2: one successor")
	}
	l.lives(t, each(answers, "access_token")...)
	on := l.Refresh(client, fourth)
	require.Equal(t, 200, on.Status, "it goes on")
	require.Len(t, l.Events(oauth.EventStoreWentBack), round+1, "and has healed")

	require.Equal(t, "400 invalid_grant", outcome(l.at(round).Refresh(client, first)), "what the dump had is reuse")
	require.Equal(t, round+1, l.count(oauth.EventReuseDetected))
	l.gone(t, on.String("access_token"))
}

func raceRevoke(t *testing.T, l *lab, round int) {
	client := raceClient(round)
	first := l.Redeem(l.Code(client))
	token, err := l.VerifyToken(t.Context(), first.String("access_token"))
	require.NoError(t, err)
	answers := l.race(func(i int) *oauthtest.Answer {
		switch {
		case i%4 < 2:
			return l.at(i).Refresh(client, first.String("refresh_token"))
		case i%8 < 4 && round%4 > 1: // the host's own way
			if _, err := l.at(i).Revoke(context.Background(), oauth.Selector{ID: token.AuthorizationID}); err != nil {
				return &oauthtest.Answer{Status: 503}
			}
			return &oauthtest.Answer{Status: 200}
		}
		return l.at(i).Post("/oauth/revoke", client, url.Values{"token": {first.String("refresh_token")}})
	})
	n := tally(answers)
	require.Equal(t, racers, n["200"]+n["400 invalid_grant"], "%v", n)
	require.GreaterOrEqual(t, n["200"], racers/2, "every revocation is answered 200")
	good := ok(answers)
	l.gone(t, append(each(good, "access_token"), first.String("access_token"))...)
	for _, refresh := range append(each(good, "refresh_token"), first.String("refresh_token")) {
		require.Equal(t, "400 invalid_grant", outcome(l.at(round).Refresh(client, refresh)))
	}
}

func raceRevokeAccess(t *testing.T, l *lab, round int) {
	client := raceClient(round)
	first := l.Redeem(l.Code(client))
	answers := l.race(func(i int) *oauthtest.Answer {
		if i%4 < 2 {
			return l.at(i).Refresh(client, first.String("refresh_token"))
		}
		return l.at(i).Post("/oauth/revoke", client, url.Values{"token": {first.String("access_token")}})
	})
	require.Equal(t, map[string]int{"200": racers}, tally(answers), "the refresh token lives")
	l.gone(t, first.String("access_token"))
	next := l.Refresh(client, ok(answers)[0].String("refresh_token"))
	require.Equal(t, 200, next.Status)
	l.lives(t, next.String("access_token"))
	require.Zero(t, l.count(oauth.EventReuseDetected))
}
