package oauth_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A listed case is a line of testdata/security: what has to be shown, and how far it is.
type listedCase struct {
	id, level, state string
	covered, open    bool
	pending          string // the feature that is missing
}

var (
	caseID    = regexp.MustCompile(`^[SN]\d{3}$`)
	vulnID    = regexp.MustCompile(`^V\d{3}$`)
	feature   = regexp.MustCompile(`^[A-Za-z]+( [A-Za-z]+){0,2}(, [A-Za-z]+( [A-Za-z]+){0,2})*$`)
	idInText  = regexp.MustCompile(`\b[SNV]\d{3}\b`)
	idInIdent = regexp.MustCompile(`[SNV]\d{3}`)
)

// noCases are words that look like ids: the digest method of PKCE, one that it is not,
// and what tests of lists take for an id that is not there. The case S256 is told by
// its place, at the beginning of a name.
var noCases = map[string]bool{"S256": true, "S512": true, "S999": true}

// parseState reads what one state says: "covered", "pending X", "decided: why",
// "host: who does what" or "open", and after "covered" one more of those in the middle.
func (c *listedCase) parseState(parts []string) error {
	for i, part := range parts {
		name, text, _ := strings.Cut(part, " ")
		words := len(strings.Fields(text))
		switch {
		case part == "covered" && i == 0:
			c.covered = true
		case part == "open" && len(parts) == 1:
			c.open = true
			if c.level == "M" {
				return fmt.Errorf("a case of level M may not be open")
			}
		case name == "pending" && feature.MatchString(text):
			c.pending = text
		case name == "decided:" && words >= 3:
			if c.level == "M" {
				return fmt.Errorf("a case of level M is no choice")
			}
		case name == "host:" && words >= 3:
		default:
			return fmt.Errorf("unknown state %q", part)
		}
		if i > 1 || i == 1 && !c.covered {
			return fmt.Errorf("too many states")
		}
	}
	if c.level == "D" && c.covered && len(parts) == 1 {
		return fmt.Errorf("a case of level D says what was decided")
	}
	return nil
}

// counts are what a case is counted as: its state, with what level; a second state, such
// as the part of it that is pending, is counted beside the first.
func (c *listedCase) counts() []string {
	kind := "case"
	if vulnID.MatchString(c.id) {
		kind = "advisory"
	}
	first, second, more := strings.Cut(c.state, "; ")
	word := func(state string) string {
		name, _, _ := strings.Cut(state, " ")
		return strings.TrimSuffix(name, ":")
	}
	all := []string{kind + " " + c.level + " " + word(first)}
	if more {
		all = append(all, kind+" "+c.level+" also "+word(second))
	}
	return all
}

// logCounts is the table of counts that -v shows. Advisories have no level: all are musts.
func logCounts(t *testing.T, count map[string]int) {
	t.Helper()
	states := []string{"covered", "also pending", "also decided", "also host", "pending", "decided", "host", "open"}
	shown := 0
	t.Logf("%-10s %s", "", strings.Join(states, " | "))
	for _, row := range []string{"case M", "case S", "case D", "advisory M"} {
		var cells []string
		for _, state := range states {
			n := count[row+" "+state]
			shown += n
			cells = append(cells, fmt.Sprintf("%*d", len(state), n))
		}
		t.Logf("%-10s %s", row, strings.Join(cells, " | "))
	}
	sum := 0
	for _, n := range count {
		sum += n
	}
	assert.Equal(t, sum, shown, "a state is in no column: %v", count)
}

// parseCase reads a line: id, level, words, state.
func parseCase(line string) (c listedCase, err error) {
	fields := strings.Split(line, " | ")
	if len(fields) != 4 {
		return c, fmt.Errorf("%d fields, want 4", len(fields))
	}
	c = listedCase{id: fields[0], level: fields[1], state: fields[3]}
	switch n := len(strings.Fields(fields[2])); {
	case !caseID.MatchString(c.id):
		return c, fmt.Errorf("%q is no id", c.id)
	case !slices.Contains([]string{"M", "S", "D"}, c.level):
		return c, fmt.Errorf("%q is no level", c.level)
	case n < 3 || n > 8:
		return c, fmt.Errorf("%d words, want 3 to 8", n)
	}
	return c, c.parseState(strings.Split(c.state, "; "))
}

// parseAdvisory reads a line: id, advisory, product, case, state.
func parseAdvisory(line string) (c listedCase, to string, err error) {
	fields := strings.Split(line, " | ")
	if len(fields) != 5 {
		return c, "", fmt.Errorf("%d fields, want 5", len(fields))
	}
	c, to = listedCase{id: fields[0], level: "M", state: fields[4]}, fields[3]
	if !vulnID.MatchString(c.id) || fields[1] == "" || fields[2] == "" || !caseID.MatchString(to) {
		return c, to, fmt.Errorf("an id, an advisory, a product or a case is missing")
	}
	if err = c.parseState([]string{c.state}); err == nil && !c.covered && c.pending == "" {
		err = fmt.Errorf("an advisory is covered or pending")
	}
	return c, to, err
}

// listed are the lines of a file that are no comments.
func listed(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "security", file))
	require.NoError(t, err)
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// idsOf are the ids in the names of a test file: its string literals, of which the
// names of subtests are made, and its test functions. Those in comments name nothing.
func idsOf(t *testing.T, file string) map[string]bool {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	ids := map[string]bool{}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && (strings.HasPrefix(n.Name.Name, "Test") || strings.HasPrefix(n.Name.Name, "Fuzz")) {
				for _, id := range idInIdent.FindAllString(n.Name.Name, -1) {
					if !noCases[id] { // TestES256 is about no case
						ids[id] = true
					}
				}
			}
		case *ast.BasicLit:
			if n.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(n.Value)
			require.NoError(t, err)
			for _, id := range idInText.FindAllString(text, -1) {
				if !noCases[id] || id == "S256" && strings.HasPrefix(text, id+" ") {
					ids[id] = true
				}
			}
		}
		return true
	})
	return ids
}

// shown are the ids in the tests of the whole repository, each with a file.
func shown(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go") || path == "security_test.go":
			return nil
		}
		for id := range idsOf(t, path) {
			all[id] = path
		}
		return nil
	}))
	return all
}

// TestSecurityCases holds testdata/security against the tests: what is called covered
// is in the name of a test, and every id in a name is one of the lists.
func TestSecurityCases(t *testing.T) {
	tests, known, count := shown(t), map[string]listedCase{}, map[string]int{}
	add := func(c listedCase, line string, err error) {
		t.Helper()
		assert.NoError(t, err, line)
		if known[c.id].id != "" {
			t.Errorf("twice: %s", line)
		}
		if c.covered && tests[c.id] == "" {
			t.Errorf("covered, but in the name of no test: %s", line)
		}
		if !c.covered && c.pending != "" && tests[c.id] != "" {
			t.Errorf("pending, but a part of it is in %s: %s", tests[c.id], line)
		}
		known[c.id] = c
		for _, state := range c.counts() {
			count[state]++
		}
	}
	for _, line := range listed(t, "cases.txt") {
		c, err := parseCase(line)
		add(c, line, err)
	}
	for _, line := range listed(t, "advisories.txt") {
		c, to, err := parseAdvisory(line)
		if known[to].id == "" {
			t.Errorf("%s is no case: %s", to, line)
		}
		add(c, line, err)
	}
	for id, file := range tests {
		if known[id].id == "" {
			t.Errorf("%s is no case, in %s", id, file)
		}
	}
	logCounts(t, count)
	for _, id := range slices.Sorted(maps.Keys(known)) {
		if known[id].open {
			t.Logf("open: %s", id)
		}
	}
	assert.GreaterOrEqual(t, len(known), 278+90, "no line was lost")
}

// The rules of the lists can fail.
func TestSecurityCaseRules(t *testing.T) {
	for line, want := range map[string]bool{
		"S001 | M | client_id is missing | covered":                         true,
		"S001 | S | client_id is missing | open":                            true,
		"S001 | M | client_id is missing | pending token exchange, DPoP":    true,
		"S001 | M | client_id is missing | covered; pending PAR":            true,
		"S001 | D | client_id is missing | covered; decided: as it is here": true,
		"S001 | M | client_id is missing | host: its own server's limits":   true,
		"S001 | M | client_id is missing | open":                            false,
		"S001 | M | client_id is missing | decided: we do not care":         false,
		"S001 | D | client_id is missing | covered":                         false,
		"S001 | S | client_id is missing | decided: no":                     false,
		"S001 | S | client_id is missing | host: x":                         false,
		"S001 | S | client_id is missing | pending":                         false,
		"S001 | S | client_id is missing | covered; covered":                false,
		"S001 | S | client_id is missing | covered; open":                   false,
		"S001 | S | client_id is missing | pending PAR; pending DPoP":       false,
		"S001 | S | client_id is missing | ":                                false,
		"S001 | S | client_id is missing":                                   false,
		"S001 | S | too short | covered":                                    false,
		"S001 | X | client_id is missing | covered":                         false,
		"S1 | S | client_id is missing | covered":                           false,
		"V001 | M | client_id is missing | covered":                         false,
	} {
		_, err := parseCase(line)
		assert.Equal(t, want, err == nil, "%s: %v", line, err)
	}
	for line, want := range map[string]bool{
		"V003 | CVE-2026-1 | it | S129 | covered":                true,
		"V003 | CVE-2026-1 | it | S129 | pending PAR":            true,
		"V003 | CVE-2026-1 | it | S129 | open":                   false,
		"V003 | CVE-2026-1 | it | host: not at all us | covered": false,
		"V003 |  | it | S129 | covered":                          false,
		"S003 | CVE-2026-1 | it | S129 | covered":                false,
		"V003 | CVE-2026-1 | it | S129":                          false,
	} {
		_, _, err := parseAdvisory(line)
		assert.Equal(t, want, err == nil, "%s: %v", line, err)
	}
	for line, want := range map[string][]string{
		"S001 | M | client_id is missing | covered":                         {"case M covered"},
		"N001 | S | client_id is missing | pending token exchange, DPoP":    {"case S pending"},
		"S001 | M | client_id is missing | covered; pending PAR":            {"case M covered", "case M also pending"},
		"S001 | D | client_id is missing | covered; decided: as it is here": {"case D covered", "case D also decided"},
		"S001 | S | client_id is missing | host: its own server's limits":   {"case S host"},
		"S001 | S | client_id is missing | open":                            {"case S open"},
	} {
		c, err := parseCase(line)
		require.NoError(t, err)
		assert.Equal(t, want, c.counts(), line)
	}
	file := filepath.Join(t.TempDir(), "x_test.go")
	require.NoError(t, os.WriteFile(file, []byte("package x\n\n// S001\nfunc TestS002S003Is(){ _ = \"N001 V002 xS004 S0055 the method S256 S512\"; _ = `S006`; S007() }\n"+
		"func helpS008(){ _ = \"S256 a client\" }\nfunc TestES512(){}\n"), 0o600))
	assert.Equal(t, []string{"N001", "S002", "S003", "S006", "S256", "V002"}, slices.Sorted(maps.Keys(idsOf(t, file))))
}
