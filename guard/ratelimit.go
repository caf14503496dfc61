package guard

import (
	"context"
	"log/slog"
	"time"
)

// A RateLimit refuses calls beyond a number in a time, with 429, Retry-After and the
// code temporarily_unavailable (RFC 6749 has none of its own for it). Its headers
// tell on every answer, refusals and pages too, how much is left.
//
// Of everything that is counted for one request, the headers tell of the limit that
// has least left, or that refused. Two RateLimits on one endpoint would overwrite
// each other's headers: put all rules in one.
type RateLimit struct {
	// Rules that apply to a request are asked in their order, and the first refusal is
	// the answer; the rules before it have counted the request. At least one.
	Rules []Rule
	// Proxies say whose address counts. Zero: the peer's.
	Proxies Proxies
	// Counter keeps the counts of all processes. nil: in the memory of this one.
	Counter Counter
	// Keys is how many keys (addresses, clients, tokens) each rule keeps in memory at
	// most: each at 21 bytes, and 18 for a fixed limit, 90 for a sliding one. Zero:
	// 65,536. Beyond that, a key that is far from its limit makes room, and whoever
	// comes new is taken to have called as often as the ones that had to go: so nobody
	// gets a limit back by calling under many names. Make it a few times the keys that
	// are expected in the longest window. It says nothing of a Counter.
	Keys int
	// Headers of the answers. Zero: X-RateLimit-Limit, -Remaining and -Reset.
	Headers Headers
	// Timeout is how long Counter may take. Zero: 1 s. A client that does not keep to
	// the deadline of a context needs timeouts of its own.
	Timeout time.Duration
	// Logger is told, at level Error, when Counter failed and the request passed all
	// the same by [Rule.InsecureFailOpen]. nil: nobody is.
	Logger *slog.Logger
}

// A Rule counts the calls to some endpoints, each key by itself.
type Rule struct {
	// Endpoints that the rule is for, counted together: "authorize", "token",
	// "revoke", "introspect", "userinfo", "metadata", "jwks", and "api" for everything
	// that a [resource.API] protects. nil: all.
	Endpoints []string
	// Per is what is counted. Zero: addresses.
	Per Per
	// Limits hold all at once. A call that one of them refuses is counted in none. At
	// least one, at most 8.
	Limits []Limit
	// InsecureFailOpen lets requests pass uncounted while the [Counter] fails. Zero:
	// they are refused, with 503.
	InsecureFailOpen bool
}

// Per is what a [Rule] counts.
type Per int

const (
	// PerAddress counts by address: IPv4 each by itself, IPv6 by /64.
	PerAddress Per = iota
	// PerClient counts by client. Where it is only claimed, by client and address; when
	// it has authenticated, by client as well; with an access token, by client. A
	// request of no client, or of one that does not exist, is counted by address.
	PerClient
	// PerToken counts by access token, where one was verified: at userinfo and in
	// APIs. Any other request is counted by address.
	PerToken
)

// A Limit is how many calls one key may make in a time.
type Limit struct {
	// Count is how many calls pass, from 1 to 1,000,000,000.
	Count int
	// Window is the time, in whole seconds, from one second to 31 days.
	Window time.Duration
	// Sliding makes Count hold in any span as long as Window: a call counts for the
	// Window, and up to an eighth longer. Zero: windows are fixed, aligned to the
	// clock (whole minutes, hours, days of UTC), and all calls of one are forgotten at
	// its end.
	Sliding bool
}

// Headers are the names of the headers that tell of the limits. "-" leaves one out.
type Headers struct {
	Limit     string // how many calls pass; "": X-RateLimit-Limit
	Remaining string // how many are left, never below 0; "": X-RateLimit-Remaining
	// Reset is when the fixed window ends, or when the first of the calls that are
	// counted in a sliding one is forgotten; after a refusal, when a call would pass
	// again. "": X-RateLimit-Reset
	Reset string
	// Delta makes Reset seconds from now, as RateLimit-Reset has them. Zero: it is
	// Unix time, in seconds. Both are rounded up.
	Delta bool
}

// A Counter counts for [RateLimit], safe for concurrent use. Counts may be lost when
// what keeps them is restarted, not otherwise before they end.
type Counter interface {
	// Take counts one call of key at the time now under all the limits, in one atomic
	// step; if one of them is reached, under none. key is a hash of what is counted,
	// by which rule, and of the limits: of one key they are always the same. The
	// caller does not change limits, nor does Take.
	//
	// A fixed limit counts by windows of Unix time: the call belongs to the one that
	// began at the last whole multiple of Window. A sliding limit counts by eighths of
	// Window, and adds up that of now and the eight before. The time of one key does
	// not run backwards: a call from a process whose clock is behind belongs to the
	// newest window.
	Take(ctx context.Context, key [16]byte, limits []Limit, now time.Time) (Taken, error)
}

// Taken is what a [Counter] tells of one call.
type Taken struct {
	OK bool // the call was counted; else a limit was reached
	// Limit is the index of the limit with the least calls left, or if not OK of the
	// reached one that lasts longest.
	Limit     int
	Remaining int // calls left under that limit, after this one
	// Reset is when the oldest counted call of that limit is forgotten, or if not OK
	// when a call will pass.
	Reset time.Time
}
