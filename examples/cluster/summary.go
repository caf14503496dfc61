package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A summary is what a load has counted.
type summary struct {
	Requests    int
	Retries     int // requests sent again after a 502, a 503 or a broken connection
	Unavailable int // answers 503
	SignIns     int // that came back to the app
	Sessions    int // codes that were exchanged for tokens
	BegunAgain  int // sign-ins whose code was redeemed by a request without an answer
	SentTwice   int // codes and refresh tokens that were sent twice at the same moment

	// What must not happen.
	Lost          int // sessions whose tokens were refused
	RedeemedTwice int // codes
	TwoSuccessors int // refresh tokens
	Unexpected    []string
}

// summary is a copy of the counts so far.
func (l *load) summary() summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.counts
	s.Unexpected = slices.Clone(s.Unexpected)
	return s
}

func (s summary) String() string {
	var b strings.Builder
	for _, row := range []struct {
		name  string
		value int
	}{
		{"requests", s.Requests},
		{"  of them sent again", s.Retries},
		{"sessions", s.Sessions},
		{"  sign-ins begun again", s.BegunAgain},
		{"codes and refresh tokens sent twice at once", s.SentTwice},
		{"sessions lost", s.Lost},
		{"codes redeemed twice", s.RedeemedTwice},
		{"refresh tokens with two successors", s.TwoSuccessors},
		{"unexpected answers", len(s.Unexpected)},
	} {
		fmt.Fprintf(&b, "%-44s%8d\n", row.name, row.value)
	}
	return b.String()
}

// err is an error if anything happened that must not.
func (s summary) err() error {
	if s.Lost+s.RedeemedTwice+s.TwoSuccessors+len(s.Unexpected) == 0 && s.Sessions > 0 {
		return nil
	}
	const few = 5
	return errors.New(strings.Join(append([]string{"something was lost, spent twice or not understood"},
		s.Unexpected[:min(few, len(s.Unexpected))]...), "\n  "))
}
