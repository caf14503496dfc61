package guard

import (
	"context"
	"errors"
	"fmt"

	"github.com/grantwell/oauth/resource"
)

// HTTPS refuses requests that did not come by https (RFC 6749, sections 3.1 and 3.2;
// RFC 6750, section 5.2): 400, invalid_request. It never redirects: what was sent by
// http was sent in the clear, and a client that gets through after a redirect would
// go on doing so.
type HTTPS struct {
	// Proxies say how a request came to those who end TLS in front of the host. Zero:
	// there are none, and only TLS to this process counts.
	Proxies Proxies
	// AllowLoopback lets plain http pass from a peer on this machine, for
	// development: one that is not a trusted proxy and sends none of the headers of
	// proxies. Zero: it is refused as well.
	AllowLoopback bool
}

var errPlain = errors.New("guard: the request did not come by https")

// Guard returns the guard. The error names everything that is wrong with h.
func (h HTTPS) Guard() (resource.Guard, error) {
	if err := h.Proxies.check(); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	h.Proxies = h.Proxies.kept()
	return h.guard, nil
}

// ofProxies are headers that come from a proxy: with one of them a peer on loopback
// is no browser or script on this machine.
var ofProxies = [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-Ip", "Via"}

func (h *HTTPS) guard(_ context.Context, c *resource.Call) error {
	if h.Proxies.HTTPS(c.Request) || h.AllowLoopback && h.local(c) {
		return nil
	}
	return &resource.Error{Code: resource.InvalidRequest, Description: "The request must be sent by https", Cause: errPlain}
}

// local reports whether the request comes from this machine without a proxy.
func (h *HTTPS) local(c *resource.Call) bool {
	peer := peerOf(c.Request)
	if !peer.IsLoopback() || h.Proxies.trusts(peer) {
		return false
	}
	for _, name := range ofProxies {
		if len(c.Request.Header[name]) > 0 {
			return false
		}
	}
	return true
}
