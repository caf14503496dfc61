package oauthtest

import (
	"sync"
	"time"
)

// A Clock stands still until it is moved, or made to [Clock.Run]. Give its Now to
// [oauth.Config].
type Clock struct {
	mu      sync.Mutex
	now     time.Time     // where it stands
	running bool          // then it shows the time,
	ahead   time.Duration // and so much more
}

// NewClock returns a clock that stands at the given time.
func NewClock(at time.Time) *Clock { return &Clock{now: at} }

// Now is the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running {
		return time.Now().Add(c.ahead)
	}
	return c.now
}

// Run lets the clock show time.Now from now on, within a testing/synctest bubble the time
// of the bubble: for a program under test that has no clock to set, as
// golang.org/x/oauth2 has none. Advance moves it ahead of that.
func (c *Clock) Run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running, c.ahead = true, 0
}

// Advance moves the clock, back if d is negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.ahead = c.now.Add(d), c.ahead+d
}
