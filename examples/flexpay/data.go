package main

import (
	"net/netip"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/guard"
)

// environments are where a merchant first tries, and then sells.
var environments = []environment{production, preProduction}

var production = environment{
	name: "production",
	clients: oauth.StaticClients(
		client("harbor-books-production", merchant{Name: "Harbor Books", Addresses: loopback}),
		client("northwind-production", merchant{Name: "Northwind", Addresses: []netip.Prefix{
			netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:77::/48"),
		}}),
		client("quick-cart-production", merchant{Name: "Quick Cart", Addresses: loopback, TokenLife: 5 * time.Minute}),
		client("pending-goods-production", merchant{Name: "Pending Goods"}), // its addresses are being reviewed
	),
}

var preProduction = environment{
	name: "pre-production",
	path: "/preprod",
	clients: oauth.StaticClients(
		client("harbor-books-preprod", merchant{Name: "Harbor Books", Addresses: loopback}),
		client("integration-team-preprod", merchant{Name: "Integration Team", Addresses: guard.Anywhere()}),
	),
}

// A merchant is the host's own record of a client.
type merchant struct {
	Name      string
	Addresses []netip.Prefix // of its servers, as approved
	TokenLife time.Duration  // zero: 30 minutes
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// client is a merchant in one environment. The secret is in the source for you to
// try; a real host has it made by crypto/rand.Text and keeps the hash alone.
func client(id string, m merchant) oauth.Client {
	return oauth.Client{
		ID:      id,
		Name:    m.Name,
		Secrets: []string{oauth.HashSecret(id + "-secret")},
		Grants:  []string{"client_credentials"},
		Data:    m,
	}
}
