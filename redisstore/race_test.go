package redisstore_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

const (
	racers = 32
	rounds = 50
)

// raceEngines are those on real servers.
func raceEngines() []engine { return []engine{redisEngine(), clusterEngine()} }

// twoServers are two with clients of their own, as two processes have, on one place.
func twoServers(t *testing.T, e engine) [2]*oauthtest.Server {
	t.Helper()
	shared := prefix()
	var both [2]*oauthtest.Server
	for i := range both {
		store := e.openAt(t, e.client(t), shared)
		both[i] = oauthtest.NewServer(t, func(c *oauth.Config) {
			c.Storage = store
			if i == 1 {
				c.Secrets, c.Now = both[0].Config.Secrets, both[0].Config.Now
			}
		})
	}
	return both
}

func atOnce(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

// version is that of the one authorization of a subject.
func version(t *testing.T, srv *oauthtest.Server, subject string) int64 {
	t.Helper()
	found := int64(0)
	for r, err := range srv.Config.Storage.List(t.Context(), oauth.Filter{Kind: oauth.KindAuthorization, Subject: subject}) {
		require.NoError(t, err)
		require.Zero(t, found, "one authorization of %s", subject)
		found = r.Version
	}
	return found
}

func TestRefreshRace(t *testing.T) {
	for _, e := range raceEngines() {
		t.Run(e.name, func(t *testing.T) {
			both := twoServers(t, e)
			for round := range rounds {
				subject := fmt.Sprintf("subject-%d", round)
				both[0].Approve(subject)
				token := both[0].Redeem(both[0].Code(oauthtest.SPAClient)).String("refresh_token")
				before := version(t, both[1], subject)
				answers := make([]*oauthtest.Answer, racers)
				atOnce(racers, func(i int) { answers[i] = both[i%2].Refresh(oauthtest.SPAClient, token) })

				successors, access := map[string]int{}, map[string]bool{}
				for _, a := range answers {
					require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
					successors[a.String("refresh_token")]++
					access[a.String("access_token")] = true
				}
				require.Len(t, successors, 1, "one successor, whoever asks")
				require.Len(t, access, racers)
				require.Equal(t, before+1, version(t, both[0], subject), "one write of %d", racers)
				next := both[1].Refresh(oauthtest.SPAClient, answers[0].String("refresh_token"))
				require.Equal(t, http.StatusOK, next.Status, "the session lives: %s", next.Body)
			}
			for _, srv := range both {
				require.Empty(t, srv.Events(oauth.EventReuseDetected, oauth.EventStoreWentBack))
			}
		})
	}
}

func TestCodeRace(t *testing.T) {
	for _, e := range raceEngines() {
		t.Run(e.name, func(t *testing.T) {
			both := twoServers(t, e)
			for round := range rounds {
				subject := fmt.Sprintf("subject-%d", round)
				both[0].Approve(subject)
				code := both[0].Code(oauthtest.SPAClient)
				answers := make([]*oauthtest.Answer, racers)
				atOnce(racers, func(i int) { answers[i] = both[i%2].Token(code.Client, code.Form()) })

				var won *oauthtest.Answer
				for _, a := range answers {
					if a.Status == http.StatusOK {
						require.Nil(t, won, "two winners")
						won = a
						continue
					}
					require.Equal(t, http.StatusBadRequest, a.Status, "%s", a.Body)
					require.Equal(t, "invalid_grant", a.String("error"))
				}
				require.NotNil(t, won)
				require.Equal(t, int64(2), version(t, both[0], subject))
				next := both[1].Refresh(oauthtest.SPAClient, won.String("refresh_token"))
				require.Equal(t, http.StatusOK, next.Status, "a double send ends no session: %s", next.Body)
			}
		})
	}
}
