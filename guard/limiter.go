package guard

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grantwell/oauth/resource"
)

const (
	maxCount       = 1_000_000_000
	maxWindow      = 31 * 24 * time.Hour
	maxKeys        = 1 << 28
	defaultTimeout = time.Second
	retryAfter     = 5 * time.Second // where a guard cannot do its work
)

// endpoints are the names that a [resource.Call] may have.
var endpoints = [...]string{"authorize", "token", "revoke", "introspect", "userinfo", "metadata", "jwks", "api"}

// A limiter is a RateLimit that was checked.
type limiter struct {
	rules   []limitRule
	proxies Proxies
	timeout time.Duration
	headers Headers
	expose  string // the names that a browser's script could not read otherwise
	log     *slog.Logger
}

// A limitRule is a rule with its counts.
type limitRule struct {
	Rule
	id      [sha256.Size]byte
	counter Counter
	local   bool // the counter is in this process: it does not fail
	texts   []string
	causes  []error // by limit
}

// Guard returns the guard. The error names everything that is wrong with l.
func (l RateLimit) Guard() (resource.Guard, error) {
	all := []error{l.Proxies.check(), l.Headers.check()}
	if len(l.Rules) == 0 {
		all = append(all, errors.New("RateLimit needs Rules"))
	}
	if l.Keys < 0 || l.Keys > maxKeys {
		all = append(all, fmt.Errorf("RateLimit.Keys is not between 0 and %d", maxKeys))
	}
	if l.Timeout < 0 {
		all = append(all, errors.New("RateLimit.Timeout is negative"))
	}
	for i, r := range l.Rules {
		all = append(all, r.check(fmt.Sprintf("RateLimit.Rules[%d]", i)))
	}
	if err := errors.Join(all...); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	g := &limiter{proxies: l.Proxies.kept(), timeout: l.Timeout, log: l.Logger}
	if g.timeout == 0 {
		g.timeout = defaultTimeout
	}
	g.headers, g.expose = l.Headers.filled()
	for i, r := range l.Rules {
		kept := l.rule(r)
		if slices.ContainsFunc(g.rules, func(o limitRule) bool { return o.id == kept.id }) {
			return nil, fmt.Errorf("guard: RateLimit.Rules[%d] is there twice", i)
		}
		g.rules = append(g.rules, kept)
	}
	return g.guard, nil
}

func (r Rule) check(name string) error {
	all := []error{checkEndpoints(name, r.Endpoints)}
	if r.Per < PerAddress || r.Per > PerToken {
		all = append(all, fmt.Errorf("%s.Per is unknown", name))
	}
	if len(r.Limits) == 0 || len(r.Limits) > maxLimits {
		all = append(all, fmt.Errorf("%s has %d Limits, not 1 to %d", name, len(r.Limits), maxLimits))
	}
	for i, l := range r.Limits {
		if l.Count < 1 || l.Count > maxCount {
			all = append(all, fmt.Errorf("%s.Limits[%d].Count is not between 1 and %d", name, i, maxCount))
		}
		if l.Window < time.Second || l.Window > maxWindow || l.Window%time.Second != 0 {
			all = append(all, fmt.Errorf("%s.Limits[%d].Window is not whole seconds, up to 31 days", name, i))
		}
		if slices.Contains(r.Limits[:i], l) {
			all = append(all, fmt.Errorf("%s.Limits[%d] is there twice", name, i))
		}
	}
	return errors.Join(all...)
}

func checkEndpoints(name string, list []string) error {
	if list != nil && len(list) == 0 {
		return fmt.Errorf("%s.Endpoints is empty: leave it nil for all", name)
	}
	var all []error
	for i, e := range list {
		if !slices.Contains(endpoints[:], e) || slices.Contains(list[:i], e) {
			all = append(all, fmt.Errorf("%s.Endpoints[%d], %q, is unknown or there twice: there are %s", name, i, e, strings.Join(endpoints[:], ", ")))
		}
	}
	return errors.Join(all...)
}

// rule prepares a rule. Its id is made of what it says, so that processes with the
// same rule share its counts, and a rule that was changed begins anew.
func (l RateLimit) rule(r Rule) limitRule {
	r.Endpoints, r.Limits = slices.Sorted(slices.Values(r.Endpoints)), slices.Clone(r.Limits)
	kept := limitRule{Rule: r, counter: l.Counter}
	kept.id = sha256.Sum256(fmt.Appendf(nil, "1 %q %d %v", r.Endpoints, r.Per, r.Limits))
	if kept.counter == nil {
		keys := l.Keys
		if keys == 0 {
			keys = defaultKeys
		}
		kept.counter, kept.local = newMemory(keys, r.Limits), true
	}
	for _, limit := range r.Limits {
		kept.texts = append(kept.texts, strconv.Itoa(limit.Count))
		kept.causes = append(kept.causes, fmt.Errorf("guard: more than %d calls in %v per %s", limit.Count, limit.Window, [...]string{"address", "client", "token"}[r.Per]))
	}
	return kept
}

// A visit is one request on its way through the rules.
type visit struct {
	*limiter
	call    *resource.Call
	address netip.Addr
	// Of all limits so far the one with the least left, for the headers.
	least Taken
	count string // of that limit; "" if nothing was counted yet
}

func (g *limiter) guard(ctx context.Context, c *resource.Call) error {
	v := visit{limiter: g, call: c, address: g.proxies.Address(c.Request)}
	var claims []*limitRule
	for i := range g.rules {
		r := &g.rules[i]
		if r.Endpoints != nil && !slices.Contains(r.Endpoints, c.Endpoint) {
			continue
		}
		key, claimed := v.key(r)
		if claimed {
			claims = append(claims, r)
		}
		if err := v.take(ctx, r, key); err != nil {
			return err
		}
	}
	v.tell()
	if claims != nil {
		later := v // so that other visits stay off the heap
		c.OnAuthenticated = append(c.OnAuthenticated, func(ctx context.Context) error { return later.proven(ctx, claims) })
	}
	return nil
}

// proven counts for the client that has authenticated.
func (v *visit) proven(ctx context.Context, claims []*limitRule) error {
	for _, r := range claims {
		if err := v.take(ctx, r, r.hash('c', v.call.ClientID, "", nil)); err != nil {
			return err
		}
	}
	v.tell()
	return nil
}

// take counts the request under one rule.
func (v *visit) take(ctx context.Context, r *limitRule, key [16]byte) error {
	t, err := v.ask(ctx, r, key)
	if err != nil {
		if !r.InsecureFailOpen {
			v.tell()
			return unavailable(err)
		}
		if v.log != nil {
			v.log.ErrorContext(ctx, "a request passes uncounted", "endpoint", v.call.Endpoint, "cause", err)
		}
		return nil
	}
	if t.OK {
		if v.count == "" || t.Remaining < v.least.Remaining || t.Remaining == v.least.Remaining && t.Reset.After(v.least.Reset) {
			v.least, v.count = t, r.texts[t.Limit]
		}
		return nil
	}
	t.Remaining = 0
	v.least, v.count = t, r.texts[t.Limit]
	v.tell()
	return &resource.Error{
		Code: resource.TemporarilyUnavailable, Status: http.StatusTooManyRequests, // RFC 6585, section 4
		Description: "Too many requests", Cause: r.causes[t.Limit],
		RetryAfter: max(time.Second, t.Reset.Sub(v.call.Now)),
	}
}

var errAnswer = errors.New("guard: the Counter names a limit that there is not")

func (v *visit) ask(ctx context.Context, r *limitRule, key [16]byte) (Taken, error) {
	if r.local {
		return r.counter.Take(ctx, key, r.Limits, v.call.Now)
	}
	// A client that hangs up is counted all the same: else, with InsecureFailOpen, it
	// would pass.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.timeout)
	defer cancel()
	t, err := r.counter.Take(ctx, key, r.Limits, v.call.Now)
	if err == nil && (t.Limit < 0 || t.Limit >= len(r.Limits)) {
		err = errAnswer
	}
	return t, err
}

func unavailable(cause error) error {
	return &resource.Error{Code: resource.TemporarilyUnavailable, Description: "The request cannot be checked at the moment",
		RetryAfter: retryAfter, Cause: cause}
}

// key is what the request counts as, and whether that is a client that is claimed.
func (v *visit) key(r *limitRule) (key [16]byte, claimed bool) {
	c := v.call
	switch {
	case r.Per == PerToken && c.Token != nil:
		id := c.Token.ID
		if id == "" { // a verifier that is not told: the token is known by its text
			id, _ = resource.Bearer(c.Request)
		}
		return r.hash('t', c.Token.Issuer, id, nil), false
	case r.Per == PerClient && c.Token != nil && c.ClientID != "":
		return r.hash('c', c.ClientID, "", nil), false
	case r.Per == PerClient && c.ClientID != "":
		return r.hash('C', c.ClientID, "", v.network()), true
	}
	return r.hash('a', "", "", v.network()), false
}

// network is what of an address counts: all of an IPv4 address, and 64 bits of
// IPv6, for every network has as many of those as it likes. nil if there is none.
func (v *visit) network() []byte {
	if !v.address.IsValid() {
		return nil
	}
	b := v.address.As16()
	if v.address.Is6() {
		clear(b[8:])
	}
	return b[:]
}

// hash is a key. Two that differ in any part differ; above all, what was claimed is
// of another kind than what was proven.
func (r *limitRule) hash(kind byte, a, b string, network []byte) (key [16]byte) {
	var buf [512]byte
	text := append(buf[:0], r.id[:]...)
	text = append(text, kind)
	text = binary.BigEndian.AppendUint32(text, uint32(len(a)))
	text = append(text, a...)
	text = binary.BigEndian.AppendUint32(text, uint32(len(b)))
	text = append(text, b...)
	sum := sha256.Sum256(append(text, network...))
	return [16]byte(sum[:16])
}
