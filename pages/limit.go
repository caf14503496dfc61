package pages

import (
	"crypto/sha256"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// The limits of failed attempts to sign in. A name that is under attack is
// refused to its owner too, with the right password: the alternative is a
// password that can be guessed at any speed. It lasts until the window ends, ten
// minutes after the first failure, and attempts in the meantime do not prolong
// it. So a stranger can keep a user waiting only by coming back every ten
// minutes, which the log shows, and which the limit by address makes visible.
const (
	window       = 10 * time.Minute
	perName      = 10
	perAddress   = 50
	maxNames     = 1 << 16 // entries: some 8 MiB
	maxAddresses = 1 << 16
)

// attempts counts failures by name and by address.
type attempts struct {
	mu        sync.Mutex
	names     counter[[16]byte]
	addresses counter[netip.Addr]
}

func newAttempts() *attempts {
	return &attempts{
		names:     counter[[16]byte]{limit: perName, size: maxNames, seen: map[[16]byte]failures{}},
		addresses: counter[netip.Addr]{limit: perAddress, size: maxAddresses, seen: map[netip.Addr]failures{}},
	}
}

// An attempt is one that was counted, to be given back if it succeeds.
type attempt struct {
	name       [16]byte
	address    netip.Addr // not valid: not limited by address
	nameEnd    time.Time
	addressEnd time.Time
}

// take counts an attempt as a failure before its password is looked at, so that
// guesses sent at once cannot slip through together. Where one of the limits is
// reached nothing is counted, and wait is how long that lasts.
func (a *attempts) take(now time.Time, name string, address netip.Addr) (t attempt, wait time.Duration) {
	t = attempt{name: nameKey(name), address: addressKey(address)}
	a.mu.Lock()
	defer a.mu.Unlock()
	wait = a.names.wait(now, t.name)
	if t.address.IsValid() {
		wait = max(wait, a.addresses.wait(now, t.address))
	}
	if wait > 0 {
		return t, wait
	}
	t.nameEnd = a.names.add(now, t.name)
	if t.address.IsValid() {
		t.addressEnd = a.addresses.add(now, t.address)
	}
	return t, 0
}

// giveBack takes an attempt out of the count: it was no failure.
func (a *attempts) giveBack(t attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names.remove(t.name, t.nameEnd)
	a.addresses.remove(t.address, t.addressEnd)
}

// nameKey is a hash, for names are as long as an attacker likes.
func nameKey(name string) [16]byte {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.TrimSpace(name))))
	return [16]byte(sum[:])
}

// addressKey is the address, or for IPv6 its /64: that is what one subscriber has.
func addressKey(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil { // without the zone
			return p.Addr()
		}
	}
	return a
}

// peer is the address at the other end of the connection; zero where it has none.
func peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr()
}

// failures are those of one key since its window began.
type failures struct {
	count int
	end   time.Time // of the window
}

// live is false once the window is over, and where the clock was set back by more
// than a window.
func (f failures) live(now time.Time) bool {
	return now.Before(f.end) && f.end.Sub(now) <= window
}

// A counter counts failures per key in windows, in a map that never has more
// than size entries.
type counter[K comparable] struct {
	limit, size int
	seen        map[K]failures
	gone        int // deleted from seen since it was made
}

// wait is how long a key is refused.
func (c *counter[K]) wait(now time.Time, k K) time.Duration {
	if f := c.seen[k]; f.live(now) && f.count >= c.limit {
		return f.end.Sub(now)
	}
	return 0
}

// add counts a failure and returns the end of its window.
func (c *counter[K]) add(now time.Time, k K) time.Time {
	f, ok := c.seen[k]
	if !f.live(now) {
		f = failures{end: now.Add(window)}
	}
	if !ok && len(c.seen) >= c.size {
		c.makeRoom(now)
	}
	if c.gone >= c.size { // a map grows by what comes and goes, and does not shrink again
		fresh := make(map[K]failures, c.size)
		maps.Copy(fresh, c.seen)
		c.seen, c.gone = fresh, 0
	}
	f.count++
	c.seen[k] = f
	return f.end
}

// remove takes one failure back from the window that ends then.
func (c *counter[K]) remove(k K, end time.Time) {
	f, ok := c.seen[k]
	if !ok || !f.end.Equal(end) {
		return
	}
	if f.count--; f.count <= 0 {
		c.drop(k)
		return
	}
	c.seen[k] = f
}

// makeRoom looks at a few entries, which a map gives in random order: those whose
// window is over go, or else the one with the fewest failures. So a flood of
// names pushes out its own entries before those near the limit.
func (c *counter[K]) makeRoom(now time.Time) {
	const look = 64
	var least K
	fewest, n := -1, 0
	for k, f := range c.seen {
		switch {
		case !f.live(now):
			c.drop(k)
			fewest = 0
		case fewest < 0 || (f.count < fewest):
			least, fewest = k, f.count
		}
		if n++; n == look {
			break
		}
	}
	if fewest > 0 {
		c.drop(least)
	}
}

func (c *counter[K]) drop(k K) {
	delete(c.seen, k)
	c.gone++
}
