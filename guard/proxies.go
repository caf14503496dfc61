package guard

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the reverse proxies in front of the host, and what they tell of the
// client. The zero Proxies are none: then no header is believed.
//
// The proxy must set the header itself, or append to it: a header that it passes on
// as the client sent it says what the client likes.
type Proxies struct {
	// Trusted are the addresses of the proxies, the narrower the better: who is in
	// here may say to be anybody. Loopback and private networks are not in it by
	// themselves.
	Trusted []netip.Prefix
	// UnixSocket trusts a peer that has no address: a proxy that connects by a Unix
	// socket. Zero: it is not trusted.
	UnixSocket bool
	// Header is the one header in which the proxies tell the client's address:
	// "Forwarded" (RFC 7239), or one with a list of addresses as X-Forwarded-For, or
	// with one as CF-Connecting-IP. Required with Trusted or UnixSocket.
	Header string
}

// Address returns the address of the client: the peer, or if that is trusted the
// last address in the header that is not trusted; where all are, the first. A header
// that is missing, or malformed as far as it is read, says nothing, and the peer is
// returned. IPv4 in IPv6 comes as IPv4, and all without a zone. The address is not
// valid if the peer has none.
//
// It fits pages.Config.Address.
func (p Proxies) Address(r *http.Request) netip.Addr {
	peer := peerOf(r)
	if !p.trusts(peer) {
		return peer
	}
	if h, ok := p.hop(r); ok && h.address.IsValid() {
		return h.address
	}
	return peer
}

// HTTPS reports whether the client sent r by https. A trusted proxy tells by
// X-Forwarded-Proto, in which all values must be https, or where Header is Forwarded
// by the proto of the element that tells of the client, be that by an address or by
// "unknown"; if it tells nothing, and from any other peer, what counts is whether
// this connection is TLS.
func (p Proxies) HTTPS(r *http.Request) bool {
	direct := r.TLS != nil
	if !p.trusts(peerOf(r)) {
		return direct
	}
	if p.forwarded() {
		h, ok := p.hop(r)
		if !ok || h.proto == "" {
			return ok && direct
		}
		return strings.EqualFold(h.proto, "https")
	}
	told := false
	for _, line := range r.Header["X-Forwarded-Proto"] {
		for value := range strings.SplitSeq(line, ",") {
			if !strings.EqualFold(trim(value), "https") {
				return false
			}
			told = true
		}
	}
	return told || direct
}

// A hop is what one proxy said of the peer that it had.
type hop struct {
	address netip.Addr // not valid if it said nothing
	proto   string
}

// hop finds the last peer in the header that is not trusted, or that has no address:
// what stands to the left of it may be its invention. It is false for a header that
// cannot be read up to there, and an empty hop if there is no header.
func (p Proxies) hop(r *http.Request) (first hop, ok bool) {
	for _, line := range slices.Backward(r.Header.Values(p.Header)) {
		hops := parseList(line)
		if p.forwarded() {
			// RFC 7239, section 4. Read from the left: only so one sees what is quoted.
			if hops, ok = parseForwarded(line); !ok {
				return hop{}, false
			}
		}
		for h := range hops.fromTheRight {
			if !h.address.IsValid() || !p.trusts(h.address) {
				return h, true
			}
			first = h
		}
	}
	return first, true
}

// hops are the hops of a line, the nearest last.
type hops []hop

func (l hops) fromTheRight(yield func(hop) bool) {
	for _, h := range slices.Backward(l) {
		if !yield(h) {
			return
		}
	}
}

func (p Proxies) forwarded() bool { return strings.EqualFold(p.Header, "Forwarded") }

func (p Proxies) trusts(a netip.Addr) bool {
	if !a.IsValid() {
		return p.UnixSocket
	}
	return contains(p.Trusted, a)
}

// peerOf is the address at the other end of the connection.
func peerOf(r *http.Request) netip.Addr {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return plain(ap.Addr())
	}
	a, _ := netip.ParseAddr(r.RemoteAddr)
	return plain(a)
}

// plain makes one of the ways to write an address.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// contains reports whether a plain address is in one of the prefixes.
func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if plainPrefix(p).Contains(a) {
			return true
		}
	}
	return false
}

// plainPrefix makes a prefix of IPv4 addresses of one within ::ffff:0:0/96.
func plainPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

func (p Proxies) check() error {
	var all []error
	for i, t := range p.Trusted {
		switch {
		case !t.IsValid():
			all = append(all, fmt.Errorf("Proxies.Trusted[%d] is not valid", i))
		case t.Bits() == 0 || plainPrefix(t).Bits() == 0:
			all = append(all, fmt.Errorf("Proxies.Trusted[%d], %v, is everybody: name the proxies", i, t))
		}
	}
	trusting := len(p.Trusted) > 0 || p.UnixSocket
	switch {
	case trusting && !isToken(p.Header):
		all = append(all, errors.New("Proxies.Header must be the name of the header in which the proxies tell the client's address"))
	case !trusting && p.Header != "":
		all = append(all, errors.New("Proxies.Header is set, and neither Trusted nor UnixSocket: nobody is trusted to send it"))
	}
	return errors.Join(all...)
}

// kept is p with a table of its own.
func (p Proxies) kept() Proxies {
	p.Trusted = slices.Clone(p.Trusted)
	return p
}
