// Package peers has two other public servers in Go, each mounted in the plainest way
// that its documentation shows: in memory, with one confidential and one public client,
// every request approved by alice. Its test runs the checks of oauthtest/probe against
// them and keeps the table of docs/testing.md true.
package peers

import (
	"net/http"

	"github.com/grantwell/oauth/oauthtest/probe"
)

// A Peer is a server and what the probe may use there.
type Peer struct {
	Module  string // its path
	Handler http.Handler
	Target  probe.Target
}

// leftOut are the checks that would be about this package and not about the servers:
// it approves everything, also what another site posts; the answer to a token that is
// refused is the host's; and stores in memory are not what two requests at once are for.
// Three of refresh tokens are left out until those whose servers these are know what
// the checks show.
var leftOut = []string{"authorize-post", "bearer-accepted", "bearer-challenge", "bearer-altered", "bearer-query", "code-race", "refresh-race",
	"refresh-client", "refresh-scope", "refresh-narrow"}

const (
	secret   = "a-secret-of-the-examples"
	callback = "https://client.example/callback"
	user     = "alice"
)

// All makes the servers, in the order of the table.
func All() ([]Peer, error) {
	first, err := newFosite()
	if err != nil {
		return nil, err
	}
	peers := []Peer{first, newGoOAuth2()}
	for i := range peers {
		peers[i].Target.Without = leftOut
	}
	return peers, nil
}
