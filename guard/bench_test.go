package guard_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/resource"
)

func BenchmarkRateLimit(b *testing.B) {
	fixed := guard.Limit{Count: 1_000_000_000, Window: time.Minute}
	sliding := guard.Limit{Count: 1_000_000_000, Window: time.Hour, Sliding: true}
	for _, bb := range []struct {
		name  string
		rule  guard.Rule
		peers int
	}{
		{"address", guard.Rule{Limits: []guard.Limit{fixed}}, 1},
		{"claimed client", guard.Rule{Per: guard.PerClient, Limits: []guard.Limit{fixed}}, 1},
		{"fixed and sliding", guard.Rule{Limits: []guard.Limit{fixed, sliding}}, 1},
		{"a million addresses", guard.Rule{Limits: []guard.Limit{fixed, sliding}}, 1_000_000},
	} {
		b.Run(bb.name, func(b *testing.B) {
			g, err := guard.RateLimit{Rules: []guard.Rule{bb.rule}}.Guard()
			require.NoError(b, err)
			peers := make([]string, bb.peers)
			for i := range peers {
				peers[i] = fmt.Sprintf("10.%d.%d.%d:1234", i>>16, i>>8&255, i&255)
			}
			r := request(peers[0])
			h := http.Header{}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.RemoteAddr = peers[i%len(peers)]
				if err := g(b.Context(), &resource.Call{Request: r, Endpoint: "token", ClientID: "web", Header: h, Now: start}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAddress(b *testing.B) {
	for name, r := range map[string]*http.Request{
		"peer":            request("198.51.100.7:80"),
		"X-Forwarded-For": request("10.0.0.1:80", "X-Forwarded-For: 198.51.100.1, 203.0.113.9"),
		"Forwarded":       request("10.0.0.1:80", "Forwarded: for=198.51.100.1;proto=https, for=203.0.113.9;proto=https"),
	} {
		b.Run(name, func(b *testing.B) {
			p := behind(name)
			b.ReportAllocs()
			for b.Loop() {
				if !p.Address(r).IsValid() {
					b.Fatal("no address")
				}
			}
		})
	}
}
