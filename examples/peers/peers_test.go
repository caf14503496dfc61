package peers_test

import (
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/examples/peers"
	"github.com/grantwell/oauth/oauthtest/probe"
)

func TestX(t *testing.T) {
	all, err := peers.All()
	require.NoError(t, err)
	for _, p := range all {
		web := httptest.NewUnstartedServer(p.Handler)
		web.Config.ErrorLog = log.New(io.Discard, "", 0)
		web.StartTLS()
		target := p.Target
		target.URL = "https://" + p.Name + ".example.com"
		target.Resource = target.URL + target.Resource
		target.HTTP = web.Client()
		results, err := probe.Run(t.Context(), target, nil)
		require.NoError(t, err)
		for _, r := range results {
			fmt.Println(p.Name, r.ID, r.Verdict, r.Seen)
		}
		web.Close()
	}
}
