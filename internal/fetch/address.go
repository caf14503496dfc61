package fetch

import "net/netip"

// special are the IPv4 addresses that no public server has, by the registry of RFC 6890: what [netip.Addr] has no name for, and
// the old relays of 6to4.
var special4 = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network; some systems take it for the loopback
	netip.MustParsePrefix("100.64.0.0/10"),   // shared by carriers (RFC 6598)
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays (RFC 7526)
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, and the broadcast address
}

// global is what of IPv6 is given out to servers (RFC 4291, section 2.4). The loopback, private, link-local and multicast addresses,
// those that carry an IPv4 address for a translator (64:ff9b::/96, 64:ff9b:1::/48, ::/96) and all that has no use yet are outside.
var global = netip.MustParsePrefix("2000::/3")

// special6 are the parts of global that no public server has.
var special6 = [...]netip.Prefix{
	netip.MustParsePrefix("2001::/23"),     // protocol assignments, Teredo among them
	netip.MustParsePrefix("2001:db8::/32"), // documentation
	netip.MustParsePrefix("2002::/16"),     // 6to4, which carries an IPv4 address
	netip.MustParsePrefix("3fff::/20"),     // documentation
}

// Public allows the addresses that a server on the public internet can have, and nothing that leads back into the host's own
// network: not by a private, link-local, loopback or unspecified address, and not by an IPv6 address that carries an IPv4 one. An
// IPv4 address mapped into IPv6 counts as what it is. A network that translates addresses under a prefix of its own choice is not
// recognised: such a host sets another rule.
func Public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	special := special4[:]
	switch {
	case !addr.IsValid() || addr.IsUnspecified() || addr.IsLoopback() || addr.IsPrivate() || addr.IsMulticast() || addr.IsLinkLocalUnicast():
		return false
	case addr.Is6():
		if !global.Contains(addr) {
			return false
		}
		special = special6[:]
	}
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}
