//go:build unix

package main

import (
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/servertest"
)

const (
	rounds = 200
	racers = 32
)

// TestRaces sends one code, and then one refresh token, 32 times at once to two
// processes that share nothing but the store.
func TestRaces(t *testing.T) {
	onEach(t, func(t *testing.T, _ *servertest.Server, store string) {
		r := &race{t: t, cluster: startCluster(t, store, 2)}
		r.user = newLoad(r.cluster.deployment).newUser("user 1")
		for round := range rounds {
			r.refresh(r.code(), round)
		}
		require.Empty(t, r.user.summary().Unexpected)
	})
}

type race struct {
	t       *testing.T
	cluster *cluster
	user    *user
}

// at is a call to one of the two processes, past the proxy.
func (r *race) at(i int, c call) call {
	u, err := url.Parse(c.url)
	require.NoError(r.t, err)
	u.Host = r.cluster.processes[i%2].addr
	c.url = u.String()
	return c
}

// inFlight is how long a request may be under way and still count as sent at the
// same moment: what comes later is a code, or an old token, that comes back.
const inFlight = 2 * time.Second

// volley sends a call from behind a barrier, half of it to each process.
func (r *race) volley(c call) (answers []answer, took time.Duration) {
	answers = make([]answer, racers)
	var ready, done sync.WaitGroup
	ready.Add(racers)
	barrier := make(chan struct{})
	for i := range answers {
		c := r.at(i, c)
		done.Go(func() {
			ready.Done()
			<-barrier
			answers[i] = r.user.try(r.user.app, c)
		})
	}
	ready.Wait()
	began := time.Now()
	close(barrier)
	done.Wait()
	return answers, time.Since(began)
}

// lives asserts that both processes take an access token.
func (r *race) lives(accessToken string) {
	for i := range 2 {
		a := r.user.try(r.user.app, r.at(i, call{method: http.MethodGet, url: r.user.Issuer + "/api/me", bearer: accessToken}))
		require.Equal(r.t, 200, a.status, "an access token at process %d", i)
	}
}

// code: one of 32 succeeds, the others are refused and end nothing.
func (r *race) code() (refreshToken string) {
	answers, took := []answer(nil), inFlight
	for range 10 { // on a machine that is so busy there is no race
		if took < inFlight {
			break
		}
		code, verifier, ok := r.user.signIn()
		require.True(r.t, ok)
		answers, took = r.volley(r.user.token(url.Values{
			"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier},
		}))
	}
	require.Less(r.t, took, inFlight)
	var won []answer
	for _, a := range answers {
		if a.status == 200 {
			won = append(won, a)
			continue
		}
		require.Equal(r.t, 400, a.status, "%s", a.body)
		require.Equal(r.t, "invalid_grant", a.text("error"))
	}
	require.Len(r.t, won, 1, "answers with tokens")
	r.lives(won[0].text("access_token"))
	return won[0].text("refresh_token")
}

// refresh: all 32 get the same successor, and it is good.
func (r *race) refresh(first string, round int) {
	ask := func(token string) call {
		return r.user.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
	}
	answers, _ := r.volley(ask(first))
	second := answers[0].text("refresh_token")
	require.NotEmpty(r.t, second)
	require.NotEqual(r.t, first, second)
	for _, a := range answers {
		require.Equal(r.t, 200, a.status, "%s", a.body)
		require.Equal(r.t, second, a.text("refresh_token"), "one successor")
	}
	r.lives(answers[0].text("access_token"))
	r.lives(answers[1].text("access_token"))

	on := r.user.try(r.user.app, r.at(round, ask(second)))
	require.Equal(r.t, 200, on.status, "%s", on.body)
	require.NotEqual(r.t, second, on.text("refresh_token"))
	r.lives(on.text("access_token"))
}
