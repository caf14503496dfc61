package oauth

import (
	"slices"
	"strings"
)

// A Scope is a row of the table that feeds validation, consent, userinfo and
// the checks of routes.
type Scope struct {
	Name string // RFC 6749, section 3.3: %x21 / %x23-5B / %x5D-7E
	// Description says in plain words what the scope allows, for the consent page.
	Description string
	// Claims are the members that userinfo gives for this scope; "sub" is always there.
	Claims []string
	// Includes are scopes that this one contains: who has this one passes where
	// one of them is required.
	Includes []string
	// Optional scopes may be declined by the resource owner while the rest is granted.
	Optional bool
	// Default scopes are granted where a client asks for none at all, within what
	// that client may have. Without any, a request without scope is invalid_scope.
	Default bool
}

// scopes is the table by name, what each includes worked out to the end.
type scopes struct {
	rows     []Scope
	includes map[string][]string // of every known scope, itself not among them
}

func newScopes(rows []Scope) scopes {
	t := scopes{rows: slices.Clone(rows), includes: make(map[string][]string, len(rows))}
	direct := make(map[string][]string, len(rows))
	for i, r := range t.rows {
		t.rows[i].Claims, t.rows[i].Includes = slices.Clone(r.Claims), slices.Clone(r.Includes)
		direct[r.Name] = r.Includes
	}
	for _, r := range rows {
		seen := map[string]bool{r.Name: true}
		var all []string
		for next := slices.Clone(r.Includes); len(next) > 0; next = next[1:] {
			if n := next[0]; !seen[n] {
				seen[n] = true
				all = append(all, n)
				next = append(next, direct[n]...)
			}
		}
		t.includes[r.Name] = all
	}
	return t
}

func (t *scopes) known(name string) bool {
	_, ok := t.includes[name]
	return ok
}

// covers reports whether every scope asked for is one of those held, or is
// included in one.
func (t *scopes) covers(held, asked []string) bool {
	for _, a := range asked {
		if slices.Contains(held, a) {
			continue
		}
		if !slices.ContainsFunc(held, func(h string) bool { return slices.Contains(t.includes[h], a) }) {
			return false
		}
	}
	return true
}

// implied are the scopes that the held ones include and that are not among them.
func (t *scopes) implied(held []string) []string {
	var all []string
	for _, h := range held {
		for _, i := range t.includes[h] {
			if !slices.Contains(held, i) && !slices.Contains(all, i) {
				all = append(all, i)
			}
		}
	}
	return all
}

// requested reads the scope parameter of a client's request: the scopes it
// names, or where it names none the defaults that the client may have.
func (t *scopes) requested(c *Client, text string) ([]string, *Error) {
	if text == "" {
		var names []string
		for _, r := range t.rows {
			if r.Default && t.covers(c.Scopes, []string{r.Name}) {
				names = append(names, r.Name)
			}
		}
		if len(names) == 0 && len(t.rows) > 0 {
			// RFC 6749, section 3.3: without a default, a missing scope is an invalid one.
			return nil, &Error{Code: InvalidScope, Description: "Missing required parameter: scope", Parameter: "scope"}
		}
		return names, nil
	}
	names, ok := parseScope(text)
	if !ok {
		return nil, &Error{Code: InvalidScope, Description: "The scope is malformed", Parameter: "scope"}
	}
	for _, n := range names {
		if !t.known(n) {
			return nil, &Error{Code: InvalidScope, Description: "The scope is unknown", Parameter: "scope"}
		}
	}
	if !t.covers(c.Scopes, names) {
		return nil, &Error{Code: InvalidScope, Description: "The client may not have this scope", Parameter: "scope"}
	}
	return names, nil
}

const maxScopes = 100 // different ones in a request

// parseScope splits a scope by RFC 6749, section 3.3: tokens of the characters
// %x21 / %x23-5B / %x5D-7E with single spaces between. It is a set: order does
// not matter and a token given twice counts once.
func parseScope(text string) ([]string, bool) {
	var names []string
	for n := range strings.SplitSeq(text, " ") {
		if !scopeToken(n) || len(names) == maxScopes {
			return nil, false
		}
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names, true
}

func scopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

func sameSet(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

func subset(part, whole []string) bool {
	return !slices.ContainsFunc(part, func(s string) bool { return !slices.Contains(whole, s) })
}
