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
	Name    string
	Handler http.Handler
	Target  probe.Target // without the URL
}

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
	return []Peer{first, newGoOAuth2()}, nil
}
