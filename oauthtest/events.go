package oauthtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/grantwell/oauth"
)

// Events are those so far, of the types given or of all.
func (s *Server) Events(types ...oauth.EventType) []oauth.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(types) == 0 {
		return slices.Clone(s.events)
	}
	return slices.DeleteFunc(slices.Clone(s.events), func(e oauth.Event) bool { return !slices.Contains(types, e.Type) })
}

// WantEvent returns the newest event of this type. The test ends with a list of the
// events if there is none.
func (s *Server) WantEvent(t testing.TB, eventType oauth.EventType) oauth.Event {
	t.Helper()
	all := s.Events(eventType)
	if len(all) == 0 {
		t.Fatalf("oauthtest: no event %s, but %s", eventType, s.list(s.Events()))
	}
	return all[len(all)-1]
}

// WantNoEvent fails the test with a list if there was an event of one of these types,
// or of any if none is given.
func (s *Server) WantNoEvent(t testing.TB, types ...oauth.EventType) {
	t.Helper()
	if found := s.Events(types...); len(found) > 0 {
		t.Errorf("oauthtest: unwanted events: %s", s.list(found))
	}
}

// list is one event a line.
func (s *Server) list(events []oauth.Event) string {
	if len(events) == 0 {
		return "none at all"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", len(events))
	for i, e := range events {
		fmt.Fprintf(&b, "\n  %2d", i+1)
		for _, a := range e.LogValue().Group() {
			fmt.Fprintf(&b, " %s=%s", a.Key, redactText(a.Value.String()))
		}
	}
	return b.String()
}
