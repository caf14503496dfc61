package oauth_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// The reference model of one authorization's life: the table of codes and refresh
// tokens, revocation, expiry, erasing, a store that went back and the rotation of
// secrets. It has no storage, no cryptography and no HTTP. Times are Unix seconds,
// secrets are called by a letter. TestModel holds the server against it.

// A life is what the record of an authorization means, with the consent that was
// remembered beside it.
type life struct {
	exists, ended, erased bool

	version, created, expires int64
	mac                       byte // the secret of the last write
	gen                       uint32
	key                       byte // the secret that made the current generation
	rotated, idleEnd, end     int64
	floor                     int64
	codeEnd, codeUsed         int64
	codeKey                   byte

	consentEnd int64 // 0: none
	consentMAC byte
}

// rules are a policy with its defaults filled in.
type rules struct {
	name                                string
	code, token, idle, absolute, window int64
	noRetry, keep                       bool
}

const (
	hour = 3600
	dayS = 24 * hour
)

// allRules are multiples of 8 s, so that an eighth of an idle life is whole seconds.
var allRules = []rules{
	{name: "defaults", code: 60, token: 1800, idle: 30 * dayS, absolute: 180 * dayS, window: 30},
	{name: "NoRetry", code: 60, token: 1800, idle: 30 * dayS, absolute: 180 * dayS, noRetry: true},
	{name: "Keep", code: 60, token: 1800, idle: 30 * dayS, absolute: 180 * dayS, window: 30, keep: true},
	{name: "short", code: 30, token: 296, idle: 2 * hour, absolute: 3 * hour, window: 64},
	{name: "short, Keep", code: 30, token: 2 * hour, idle: 2 * hour, absolute: 3 * hour, window: 64, keep: true},
}

func (r rules) policy() oauth.Policy {
	p := oauth.Policy{Code: seconds(r.code), Access: seconds(r.token), RefreshIdle: seconds(r.idle),
		RefreshAbsolute: seconds(r.absolute), RetryWindow: seconds(r.window)}
	if r.noRetry {
		p.RetryWindow = oauth.NoRetry
	}
	if r.keep {
		p.Refresh = oauth.Keep
	}
	return p
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// A trouble is how the store fails a request: at its first read or its first write.
type trouble int

const (
	noMishap    trouble = iota
	writeLost           // the answer to the write is lost, the read-back finds it
	writeTwice          // the write is sent twice
	writeFails          // it does not take effect
	outcomeLost         // it takes effect, and the read-back fails too
	readFails
)

func (m trouble) String() string {
	return [...]string{"", ", the write's answer lost", ", the write sent twice", ", the write fails", ", the write's answer and its read-back lost", ", the read fails"}[m]
}

type deed int

const (
	redeemCode deed = iota
	useRefresh
	revokeRefresh
	revokeAccess
	hostRevoke
	hostErase
	hostRevokeSubject
)

// A call is one request to the server.
type call struct {
	act      deed
	stranger bool // another client sends it
	wrong    bool // a code with another verifier
	gen      uint32
	key      byte   // of the presented credential
	access   string // the access token
	number   int    // of it, in the trace
	keys     []byte
	at       int // the process
	mishap   trouble
}

func (c call) String() string {
	who := ""
	if c.stranger {
		who = "a stranger: "
	}
	what := [...]string{"redeem the code", "refresh", "revoke refresh token", "revoke access token", "host: Revoke by ID", "host: Erase", "host: Revoke by subject"}[c.act]
	switch {
	case c.wrong:
		what += " with a wrong verifier"
	case c.act == useRefresh || c.act == revokeRefresh:
		what += fmt.Sprintf(" %d%c", c.gen, c.key)
	case c.act == revokeAccess:
		what += fmt.Sprintf(" #%d", c.number)
	}
	return fmt.Sprintf("%s%s at process %d (%s)%s", who, what, c.at, c.keys, c.mishap)
}

// A reply is what the model says that the server answers.
type reply struct {
	outcome string
	gen     uint32 // of the refresh token in the answer, 0: none
	key     byte
	event   oauth.EventType // of those in modelEvents
}

func (r reply) String() string {
	s := r.outcome
	if r.gen > 0 {
		s += fmt.Sprintf(", refresh token %d%c", r.gen, r.key)
	}
	if r.event != "" {
		s += ", " + string(r.event)
	}
	return s
}

// An issuedAccess is an access token that somebody holds.
type issuedAccess struct {
	version, expires int64
	key              byte
	text             string // filled in when it is seen
}

// A world is a life and the access tokens that are out, which no restore takes back.
type world struct {
	life
	rules
	now    int64
	access []issuedAccess
}

func (w *world) clone() *world {
	c := *w
	c.access = slices.Clone(w.access)
	return &c
}

const (
	served      = "200"
	invalid     = "400 invalid_grant"
	storeFailed = "503 temporarily_unavailable"
)

// live says that the record can be used at all.
func (l *life) live(now int64) bool { return l.exists && !l.ended && now < l.expires }

func (l *life) refreshEnd() int64 { return min(l.idleEnd, l.end) }

// accessLives says whether an access token is good at a process with these secrets.
func (w *world) accessLives(t issuedAccess, keys []byte) bool {
	return slices.Contains(keys, t.key) && w.now < t.expires && w.live(w.now) && t.version >= w.floor
}

// refreshActive is what introspection says of a refresh token.
func (w *world) refreshActive(gen uint32, key byte, keys []byte) bool {
	return slices.Contains(keys, key) && slices.Contains(keys, w.mac) && w.live(w.now) && w.gen == gen && w.now < w.refreshEnd()
}

func (w *world) remembered(keys []byte) bool {
	return w.now < w.consentEnd && slices.Contains(keys, w.consentMAC)
}

// answer performs a call on the model, without its mishap. It says what it read and
// wrote.
func (w *world) answer(c call) (r reply, reads, writes bool) {
	known := func(key byte) bool { return slices.Contains(c.keys, key) }
	switch c.act {
	case redeemCode, useRefresh:
		if c.act == redeemCode {
			c.key = w.codeKey
		}
		if !known(c.key) {
			return reply{outcome: invalid, event: oauth.EventUnknownSecret}, false, false
		}
		r, writes = w.present(c)
		return r, true, writes
	case revokeRefresh:
		if !known(c.key) {
			return reply{outcome: served, event: oauth.EventUnknownSecret}, false, false
		}
		if !w.exists || w.erased {
			return reply{outcome: served}, true, false
		}
		if c.stranger {
			return reply{outcome: served, event: oauth.EventWrongClient}, true, false
		}
		if w.ended {
			return reply{outcome: served}, true, false
		}
		w.finish(c.keys[0])
		return reply{outcome: served, event: oauth.EventRevoked}, true, true
	case revokeAccess:
		return w.revokeAccess(c)
	}
	return w.host(c)
}

func (w *world) revokeAccess(c call) (r reply, reads, writes bool) {
	t := w.access[slices.IndexFunc(w.access, func(t issuedAccess) bool { return t.text == c.access })]
	switch {
	case !slices.Contains(c.keys, t.key):
		return reply{outcome: served, event: oauth.EventUnknownSecret}, false, false
	case c.stranger:
		return reply{outcome: served, event: oauth.EventWrongClient}, false, false
	case w.now >= t.expires:
		return reply{outcome: served}, false, false
	case !w.accessLives(t, c.keys):
		return reply{outcome: served}, true, false
	case !slices.Contains(c.keys, w.mac): // a record that cannot be checked ends
		w.finish(c.keys[0])
		return reply{outcome: served, event: oauth.EventRecordAltered}, true, true
	}
	w.floor = max(w.version, t.version) + 1
	w.version++
	w.mac = c.keys[0]
	return reply{outcome: served, event: oauth.EventRevoked}, true, true
}

// host is Server.Revoke.
func (w *world) host(c call) (r reply, reads, writes bool) {
	r.outcome = served
	erase := c.act == hostErase
	if w.exists && (!w.ended || (erase && !w.erased)) {
		if erase {
			w.ended, w.erased = true, true
			w.version++
			w.expires = min(w.expires, max(w.now, w.created+dayS))
		} else {
			w.finish(c.keys[0])
		}
		r.event, writes = oauth.EventRevoked, true
	}
	if c.act == hostRevokeSubject && w.consentEnd > 0 {
		w.consentEnd, r.event = 0, oauth.EventRevoked
	}
	return r, true, writes
}

// finish ends the authorization.
func (w *world) finish(mac byte) {
	w.ended, w.mac = true, mac
	w.version++
}

// present is a code or refresh token at the token endpoint: design.md, section 2.
func (w *world) present(c call) (r reply, writes bool) {
	r.outcome = invalid
	switch {
	case !w.exists || w.erased:
		return r, false
	case !w.ended && !slices.Contains(c.keys, w.mac):
		r.event = oauth.EventRecordAltered
		return r, false
	case c.stranger:
		r.event = oauth.EventWrongClient
		return r, false
	case !w.live(w.now) || c.wrong:
		return r, false
	}
	if c.act == redeemCode {
		return w.presentCode(c)
	}
	switch since := w.now - w.rotated; {
	case w.now >= w.refreshEnd():
		return r, false
	case c.gen >= w.gen:
		return w.issue(c)
	case c.gen+1 < w.gen:
	case w.noRetry && since <= 2:
		r.event = oauth.EventRaceLost
		return r, false
	case !w.noRetry && since <= w.window:
		if !slices.Contains(c.keys, w.key) {
			return r, false
		}
		w.access = append(w.access, issuedAccess{max(w.version, w.floor), min(w.now+w.token, w.end), c.keys[0], ""})
		return reply{served, w.gen, w.key, oauth.EventRefreshRetried}, false
	}
	w.finish(c.keys[0])
	r.event = oauth.EventReuseDetected
	return r, true
}

func (w *world) presentCode(c call) (r reply, writes bool) {
	r.outcome = invalid
	switch {
	case w.gen == 0 && w.now >= w.codeEnd:
		return r, false
	case w.gen == 0:
		return w.issue(c)
	case w.now-w.codeUsed <= 2:
		r.event = oauth.EventRaceLost
		return r, false
	}
	w.finish(c.keys[0])
	r.event = oauth.EventReuseDetected
	return r, true
}

// issue moves the chain on, or under Keep only its idle end.
func (w *world) issue(c call) (r reply, writes bool) {
	r = reply{outcome: served, event: oauth.EventTokenIssued}
	wentBack := c.act == useRefresh && c.gen > w.gen
	if wentBack {
		r.event = oauth.EventStoreWentBack
	}
	kept := w.keep && c.act == useRefresh && !wentBack
	accessEnd, idleEnd := min(w.now+w.token, w.end), min(w.now+w.idle, w.end)
	writes = !kept || idleEnd-w.idleEnd >= w.idle/8 || w.expires < accessEnd+w.window
	if kept && !slices.Contains(c.keys, w.key) {
		return reply{outcome: "500 server_error"}, false
	}
	if !kept {
		w.gen, w.key, w.rotated = max(w.gen, c.gen)+1, c.keys[0], w.now
		if w.codeUsed == 0 {
			w.codeUsed = w.now
		}
	}
	if writes {
		w.idleEnd = idleEnd
		if needed := max(accessEnd+w.window, w.refreshEnd()); needed > w.expires {
			w.expires = needed + w.idle/8
		}
		w.version++
		w.mac = c.keys[0]
	}
	w.access = append(w.access, issuedAccess{max(w.version, w.floor), accessEnd, c.keys[0], ""})
	r.gen, r.key = w.gen, w.key
	return r, writes
}

// do performs a call with its mishap, alone.
func (w *world) do(c call) reply {
	next := w.clone()
	r, reads, writes := next.answer(c)
	lost := reply{outcome: storeFailed}
	switch {
	case c.mishap == readFails && reads, c.mishap == writeFails && writes:
		return lost
	case c.mishap == outcomeLost && writes:
		next.access = w.access // nobody got it
		*w = *next
		return lost
	}
	*w = *next
	return r
}

// A future is a world that a volley may have led to, with the replies in order of
// the calls.
type future struct {
	*world
	replies []reply
	issued  []int // the calls that got an access token, as they did
}

// futures are all that calls at the same time may lead to: each takes effect at one
// moment, in any order. One whose write had a mishap may find on reading back that
// others were faster: then it has taken effect, and is answered as if sent again.
func (w *world) futures(calls []call) []future {
	type step struct {
		call  int
		again bool
	}
	var all []future
	var walk func(f future, left []step)
	walk = func(f future, left []step) {
		if len(left) == 0 {
			all = append(all, f)
			return
		}
		for i, s := range left {
			rest := slices.Delete(slices.Clone(left), i, i+1)
			calm := calls[s.call]
			mishap := calm.mishap
			calm.mishap = noMishap
			after := func(w *world, r reply) future {
				n := future{w, slices.Clone(f.replies), slices.Clone(f.issued)}
				n.replies[s.call] = r
				if len(w.access) > len(f.world.access) {
					n.issued = append(n.issued, s.call)
				}
				return n
			}
			next := f.clone()
			r := next.do(calm)
			walk(after(next, r), rest)
			if mishap == noMishap || s.again {
				continue
			}
			failed := reply{outcome: storeFailed}
			if mishap == readFails || mishap == writeFails || mishap == outcomeLost { // of a write that lost its race
				walk(after(f.clone(), failed), rest)
			}
			if mishap == readFails || mishap == writeFails {
				continue
			}
			hidden := f.clone()
			hidden.do(calm)
			hidden.access = slices.Clone(f.world.access)
			walk(after(hidden, failed), rest)
			if mishap == writeTwice {
				walk(after(hidden, failed), append(rest, step{s.call, true}))
			}
		}
	}
	var left []step
	for i := range calls {
		left = append(left, step{call: i})
	}
	walk(future{w.clone(), make([]reply, len(calls)), nil}, left)
	return all
}

// A turn is the right of one of several requests to call the store: whoever holds a
// volley decides whose call is next, so that every interleaving can be run again.
type turn struct {
	parked, release chan struct{}
	mishap          *luck
}

// luck is a mishap that befalls the first call it can.
type luck struct {
	mishap trouble
	then   oauthtest.Fault // of the next read
}

func (l *luck) fault(c oauthtest.StoreCall) oauthtest.Fault {
	switch {
	case l == nil:
		return oauthtest.NoFault
	case c.Method == "Get":
		f := l.then
		if l.mishap == readFails {
			f = oauthtest.FailBefore
			l.mishap = noMishap
		}
		l.then = oauthtest.NoFault
		return f
	case c.Method != "Create" && c.Method != "Update":
		return oauthtest.NoFault
	}
	m := l.mishap
	l.mishap = noMishap
	switch m {
	case writeLost:
		return oauthtest.FailAfter
	case writeTwice:
		return oauthtest.Twice
	case writeFails:
		return oauthtest.FailBefore
	case outcomeLost:
		l.then = oauthtest.FailBefore
		return oauthtest.FailAfter
	}
	l.mishap = m
	return oauthtest.NoFault
}

type turnKey struct{}

// gated is a store whose calls wait for their request's turn.
type gated struct {
	oauth.Storage // a Faulty
	mishap        *luck
}

func (g *gated) wait(ctx context.Context) {
	if t, ok := ctx.Value(turnKey{}).(*turn); ok {
		t.parked <- struct{}{}
		<-t.release
		g.mishap = t.mishap
	}
}

func (g *gated) Create(ctx context.Context, r oauth.Record) error {
	g.wait(ctx)
	return g.Storage.Create(ctx, r)
}

func (g *gated) Update(ctx context.Context, r oauth.Record) error {
	g.wait(ctx)
	return g.Storage.Update(ctx, r)
}

func (g *gated) Get(ctx context.Context, id string) (oauth.Record, error) {
	g.wait(ctx)
	return g.Storage.Get(ctx, id)
}

func (g *gated) List(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	g.wait(ctx)
	return g.Storage.List(ctx, f)
}
