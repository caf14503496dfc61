package guard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/grantwell/oauth/resource"
)

// An AllowList knows from which addresses each client may call. A client that calls
// from another one gets the answer of a wrong secret at the endpoints where clients
// authenticate (401, invalid_client), and 403 (access_denied) elsewhere: at userinfo
// and in APIs. A request of no known client is let through: it cannot get anything.
//
// A host with several environments has one AllowList for each, as it has one server
// for each.
type AllowList struct {
	// Clients are the addresses by client. A client without any, or that is not in
	// the table, may call from nowhere; [Anywhere] is every address.
	Clients map[string][]netip.Prefix
	// Lookup is instead of Clients: it is asked on every request of a known client. No
	// prefixes: from nowhere. An error is a 503.
	Lookup func(ctx context.Context, clientID string) ([]netip.Prefix, error)
	// Proxies say whose address counts. Zero: the peer's.
	Proxies Proxies
	// Endpoints that the list is for, named as in [Rule].Endpoints. nil: all but
	// "authorize", where users come with their browsers.
	Endpoints []string
}

// Anywhere is every address, for a client that may call from all of them.
func Anywhere() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
}

var (
	errNotListed  = errors.New("guard: the client does not call from a listed address")
	errLookupFail = errors.New("guard: AllowList.Lookup")
)

// Guard returns the guard. The error names everything that is wrong with l.
func (l AllowList) Guard() (resource.Guard, error) {
	all := []error{l.Proxies.check(), checkEndpoints("AllowList", l.Endpoints)}
	if (l.Clients == nil) == (l.Lookup == nil) {
		all = append(all, errors.New("AllowList needs Clients or Lookup, one of them"))
	}
	clients := make(map[string][]netip.Prefix, len(l.Clients))
	for id, prefixes := range l.Clients {
		for i, p := range prefixes {
			if !p.IsValid() {
				all = append(all, fmt.Errorf("AllowList.Clients[%q][%d] is not valid", id, i))
			}
		}
		clients[id] = slices.Clone(prefixes)
	}
	if err := errors.Join(all...); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	l.Clients, l.Proxies, l.Endpoints = clients, l.Proxies.kept(), slices.Clone(l.Endpoints)
	return l.guard, nil
}

func (l *AllowList) guard(ctx context.Context, c *resource.Call) error {
	listed := slices.Contains(l.Endpoints, c.Endpoint) || l.Endpoints == nil && c.Endpoint != "authorize"
	if !listed || c.ClientID == "" {
		return nil
	}
	prefixes := l.Clients[c.ClientID]
	if l.Lookup != nil {
		var err error
		if prefixes, err = l.Lookup(ctx, c.ClientID); err != nil {
			return unavailable(fmt.Errorf("%w: %w", errLookupFail, err))
		}
	}
	if contains(prefixes, l.Proxies.Address(c.Request)) {
		return nil
	}
	switch c.Endpoint {
	case "token", "revoke", "introspect":
		// Without words: the server takes those it has for a wrong secret, so that who does
		// not call from the right place learns nothing of the client.
		return &resource.Error{Code: resource.InvalidClient, Cause: errNotListed}
	}
	return &resource.Error{Code: resource.AccessDenied, Status: http.StatusForbidden,
		Description: "The client may not call from this address", Cause: errNotListed}
}
