package main

import (
	"fmt"
	"strings"
)

// A mutation is one entry of the list:
//
//	token.go tokenGrant
//	- case !c.May(grantType):
//	+ case false:
//	why a client uses a grant that it was not given
//	run . TestGrantType
//
// The first line is a file, and where the text stands in it more than once the
// function, up to its parenthesis. The text after "-" is a part of one line, which the
// text after "+" replaces; "run" has the package and the tests that should notice.
type mutation struct {
	file, scope, old, new, why, pkg, tests string
	line                                   int // of the list
}

func (m mutation) String() string {
	return fmt.Sprintf("%d: %s: %q for %q: %s", m.line, strings.TrimSpace(m.file+" "+m.scope), m.new, m.old, m.why)
}

// parse reads a list. An empty line ends an entry, "#" begins a comment.
func parse(text string) (all []mutation, err error) {
	var m mutation
	lines := strings.Split(text, "\n")
	for i, line := range append(lines, "") {
		key, rest, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			if m == (mutation{}) {
				continue
			}
			if m.file == "" || m.old == "" || m.old == m.new || m.why == "" || m.tests == "" {
				return nil, fmt.Errorf("line %d: the entry that ends here is not whole", i+1)
			}
			all, m = append(all, m), mutation{}
		case key == "-":
			m.old = rest
		case key == "+":
			m.new = rest
		case key == "why":
			m.why = rest
		case key == "run":
			m.pkg, m.tests, _ = strings.Cut(rest, " ")
		case m.file == "":
			m.file, m.scope, m.line = key, rest, i+1
		default:
			return nil, fmt.Errorf("line %d: %q begins like nothing that is known", i+1, key)
		}
	}
	return all, nil
}

// apply returns the file with the mutation in it.
func (m mutation) apply(file string) (string, error) {
	lines := strings.SplitAfter(file, "\n")
	inside, at := m.scope == "", -1
	for i, line := range lines {
		if m.scope != "" && strings.HasPrefix(line, "func ") {
			inside = strings.Contains(line, m.scope+"(")
		}
		n := strings.Count(line, m.old)
		if !inside || n == 0 {
			continue
		}
		if n > 1 || at >= 0 {
			return "", fmt.Errorf("the text is there twice, in line %d again", i+1)
		}
		at = i
	}
	if at < 0 {
		return "", fmt.Errorf("the text is not there")
	}
	lines[at] = strings.Replace(lines[at], m.old, m.new, 1)
	return strings.Join(lines, ""), nil
}
