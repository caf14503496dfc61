package oauth_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// docs/conformance.md is made of testdata/conformance: one file for each RFC, one
// block for each statement of it.
//
//	6 MUST: the refresh token was issued to the client that sends it
//		in: grant.go#open
//		in: resource/bearer.go#API.check
//		in: authorization.go: text of one line
//		by: TestRefreshClient/S150 FT-14 another client
//		by: resource/TestTokenFor
//		host: what is left to the host, and what New, the docs or the kit do about it
//		not served: why
//		open: what is missing
//		note: a remark
//
// A statement has places and tests, or is the host's, or not served, or open.

const conformanceDoc = "docs/conformance.md"

// openStatements are those that are known not to hold, or to have no test yet; the
// reasons are in their files. The list may only get shorter.
var openStatements = []string{}

// maxWords keeps a paraphrase short.
const maxWords = 20

// A standard is one RFC.
type standard struct {
	number, title string
	statements    []statement
}

// A statement is one sentence of an RFC that binds a server, in our words.
type statement struct {
	section, level, text string
	in, by               []string
	host, notServed      string
	open, note           string
}

func (s standard) key(st statement) string {
	return "RFC " + s.number + " " + st.section + ": " + st.text
}

// says is for a sentence that binds without one of the words of RFC 2119.
var levels = []string{"MUST", "MUST NOT", "REQUIRED", "SHALL", "SHALL NOT", "SHOULD", "SHOULD NOT", "RECOMMENDED", "says"}

var (
	standardLine  = regexp.MustCompile(`^RFC (\d+) (\S.*)$`)
	statementLine = regexp.MustCompile(`^([0-9A-Z][0-9.]*) ([A-Za-z ]+): (\S.*)$`)
)

// parseStandard reads one file of testdata/conformance.
func parseStandard(name, text string) (s standard, problems []string) {
	var now *statement
	for i, line := range strings.Split(text, "\n") {
		wrong := func(what string) { problems = append(problems, fmt.Sprintf("%s:%d: %s", name, i+1, what)) }
		m := statementLine.FindStringSubmatch(line)
		switch {
		case line == "" || line[0] == '#':
		case s.number == "":
			head := standardLine.FindStringSubmatch(line)
			if head == nil {
				wrong("the file does not begin with its RFC")
				return s, problems
			}
			s.number, s.title = head[1], head[2]
		case m != nil:
			s.statements = append(s.statements, statement{section: m[1], level: m[2], text: m[3]})
			now = &s.statements[len(s.statements)-1]
			if !slices.Contains(levels, now.level) {
				wrong("no such level")
			}
			if len(strings.Fields(now.text)) > maxWords {
				wrong("the paraphrase is too long")
			}
		case now == nil || line[0] != '\t' || !now.add(line[1:]):
			wrong("is neither a statement nor a line of one")
		}
	}
	return s, problems
}

// add takes one line of a statement's block.
func (st *statement) add(line string) bool {
	key, value, ok := strings.Cut(line, ": ")
	text := map[string]*string{"host": &st.host, "not served": &st.notServed, "open": &st.open, "note": &st.note}[key]
	switch {
	case !ok || value == "":
		return false
	case key == "in":
		st.in = append(st.in, value)
	case key == "by":
		st.by = append(st.by, value)
	case text == nil || *text != "":
		return false
	default:
		*text = value
	}
	return true
}

// problem says what a statement lacks; "" for nothing.
func (st statement) problem() string {
	shown := len(st.in) > 0 && len(st.by) > 0
	switch {
	case st.open != "":
		return ""
	case len(st.by) > 0 && len(st.in) == 0:
		return "has tests, but no place that enforces it"
	case st.notServed != "" && st.host != "":
		return "is both not served and the host's"
	case !shown && st.host == "" && st.notServed == "":
		return "has no test and no mark"
	}
	return ""
}

// A repository answers what a statement refers to.
type repository struct {
	t     *testing.T
	files map[string]string           // source by path
	dirs  map[string]map[string]*body // of the tests of a directory, by the name of a declaration
}

// A body is a declaration of a test file: what it says and what it uses.
type body struct {
	file     string
	isTest   bool
	literals []string
	uses     []string
}

// place finds what "in:" names: a file and the number of a line.
func (r *repository) place(ref string) (file string, line int, what string, err error) {
	if name, text, ok := strings.Cut(ref, ": "); ok {
		var at []int
		for i, l := range strings.Split(r.source(name), "\n") {
			if strings.Contains(l, text) {
				at = append(at, i+1)
			}
		}
		if len(at) != 1 {
			return "", 0, "", fmt.Errorf("%s has %d lines with %q", name, len(at), text)
		}
		return name, at[0], "", nil
	}
	name, fn, ok := strings.Cut(ref, "#")
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, r.source(name), parser.SkipObjectResolution)
	if !ok || err != nil {
		return "", 0, "", fmt.Errorf("no such place: %s", ref)
	}
	var at []int
	for _, d := range f.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && (d.Name.Name == fn || receiver(d)+"."+d.Name.Name == fn) {
			at = append(at, fset.Position(d.Pos()).Line)
		}
	}
	if len(at) != 1 {
		return "", 0, "", fmt.Errorf("%s has %d functions %s", name, len(at), fn)
	}
	return name, at[0], fn, nil
}

// receiver is the type whose method a function is.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if name, ok := t.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// source reads a file of the repository; "" if it is not there.
func (r *repository) source(name string) string {
	if text, ok := r.files[name]; ok {
		return text
	}
	text, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		text = nil
	}
	r.files[name] = string(text)
	return r.files[name]
}

var testName = regexp.MustCompile(`^(?:(.+)/)??((?:Test|Fuzz|Example)\w*)(?:/(.+))?$`)

// test finds what "by:" names: a test function, and a part of the name of one of
// its subtests as some text of it or of what it uses.
func (r *repository) test(ref string) (file, name, sub string, err error) {
	m := testName.FindStringSubmatch(ref)
	if m == nil {
		return "", "", "", fmt.Errorf("names no test: %s", ref)
	}
	decls := r.tests(path.Clean(m[1]))
	b := decls[m[2]]
	if b == nil || !b.isTest {
		return "", "", "", fmt.Errorf("no such test: %s", ref)
	}
	if m[3] != "" && !says(decls, m[2], m[3], map[string]bool{}) {
		return "", "", "", fmt.Errorf("no subtest of %s says %q", m[2], m[3])
	}
	return b.file, m[2], m[3], nil
}

// says reports whether a declaration, or one that it uses, has the text.
func says(decls map[string]*body, name, text string, seen map[string]bool) bool {
	b := decls[name]
	if b == nil || seen[name] {
		return false
	}
	seen[name] = true
	return slices.ContainsFunc(b.literals, func(l string) bool { return strings.Contains(l, text) }) ||
		slices.ContainsFunc(b.uses, func(u string) bool { return says(decls, u, text, seen) })
}

// tests parses the test files of a directory.
func (r *repository) tests(dir string) map[string]*body {
	if decls, ok := r.dirs[dir]; ok {
		return decls
	}
	decls := map[string]*body{}
	names, err := filepath.Glob(filepath.Join(filepath.FromSlash(dir), "*_test.go"))
	assert.NoError(r.t, err)
	for _, name := range names {
		name = filepath.ToSlash(name)
		f, err := parser.ParseFile(token.NewFileSet(), name, r.source(name), parser.SkipObjectResolution)
		if !assert.NoError(r.t, err) {
			continue
		}
		for _, d := range f.Decls {
			addDecl(decls, name, d)
		}
	}
	r.dirs[dir] = decls
	return decls
}

// addDecl keeps the texts and the names in a declaration. Methods and functions of
// one name are one here.
func addDecl(decls map[string]*body, file string, d ast.Decl) {
	var names []string
	isTest := false
	switch d := d.(type) {
	case *ast.FuncDecl:
		names = []string{d.Name.Name}
		isTest = d.Recv == nil && testName.MatchString(d.Name.Name)
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if v, ok := s.(*ast.ValueSpec); ok {
				for _, n := range v.Names {
					names = append(names, n.Name)
				}
			}
		}
	}
	b := &body{file: file, isTest: isTest}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil {
				b.literals = append(b.literals, text)
			}
		case *ast.Ident:
			if !testName.MatchString(n.Name) {
				b.uses = append(b.uses, n.Name)
			}
		}
		return true
	})
	for _, n := range names {
		if old := decls[n]; old != nil {
			old.literals, old.uses = append(old.literals, b.literals...), append(old.uses, b.uses...)
			continue
		}
		decls[n] = b
	}
}

func newRepository(t *testing.T) *repository {
	return &repository{t: t, files: map[string]string{}, dirs: map[string]map[string]*body{}}
}

// rows renders one RFC, and says what is wrong with its statements.
func (r *repository) rows(s standard) (table string, problems []string) {
	var b strings.Builder
	b.WriteString("| section | level | statement | enforced by | shown by |\n|---|---|---|---|---|\n")
	for _, st := range s.statements {
		wrong := func(what string) { problems = append(problems, s.key(st)+": "+what) }
		if what := st.problem(); what != "" {
			wrong(what)
		}
		var places, tests []string
		for _, ref := range st.in {
			file, line, fn, err := r.place(ref)
			if err != nil {
				wrong(err.Error())
				continue
			}
			link := fmt.Sprintf("[%s:%d](../%s#L%d)", file, line, file, line)
			if fn != "" {
				link += " `" + fn + "`"
			}
			places = append(places, link)
		}
		for _, ref := range st.by {
			file, name, sub, err := r.test(ref)
			if err != nil {
				wrong(err.Error())
				continue
			}
			link := fmt.Sprintf("[%s](../%s)", name, file)
			if sub != "" {
				link += " / " + sub
			}
			tests = append(tests, link)
		}
		for _, mark := range []struct{ name, text string }{
			{"the host", st.host}, {"not served", st.notServed}, {"OPEN", st.open}, {"note", st.note},
		} {
			if mark.text != "" {
				places = append(places, "*"+mark.name+"*: "+mark.text)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", st.section, st.level, cell(st.text), cell(strings.Join(places, "<br>")), cell(strings.Join(tests, "<br>")))
	}
	return b.String(), problems
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// count is how many statements are what.
func (s standard) count(is func(statement) bool) (n int) {
	for _, st := range s.statements {
		if is(st) {
			n++
		}
	}
	return n
}

const conformanceHead = `# Conformance

Each sentence of these RFCs that binds an authorization server or a resource server with MUST, REQUIRED or SHALL, and with SHOULD
where there was something to decide: in our words, with the place that enforces it and the tests that show it. Made of
[testdata/conformance](../testdata/conformance) by ` + "`go test -run TestConformance . -update`" + `; ` + "`go test`" + ` fails when a statement
has neither, when a place or a test is not there, and when this page is not what it makes. What a client alone must do is not here.

A test is a function and, after the slash, a part of the names of the subtests meant. *The host*: the program that embeds the
library decides, and the text says what New, the documentation or the kit do about it. *Not served*: the server has no such thing.
*OPEN*: not as the RFC says, or not shown; the text says why. *says*: binds without one of the words of RFC 2119.

`

// render makes the page.
func (r *repository) render(all []standard) (page string, problems []string) {
	var b, tables strings.Builder
	b.WriteString(conformanceHead)
	b.WriteString("| RFC | statements | with tests | the host's alone | not served | open |\n|---|---|---|---|---|---|\n")
	var sum [5]int
	for _, s := range all {
		table, wrong := r.rows(s)
		problems = append(problems, wrong...)
		anchor := "rfc-" + s.number
		fmt.Fprintf(&tables, "\n<a id=\"%s\"></a>\n\n## RFC %s, %s\n\n%s", anchor, s.number, s.title, table)
		n := [5]int{
			len(s.statements),
			s.count(func(st statement) bool { return len(st.by) > 0 && st.open == "" }),
			s.count(func(st statement) bool { return len(st.by) == 0 && st.host != "" && st.open == "" }),
			s.count(func(st statement) bool { return len(st.by) == 0 && st.notServed != "" && st.open == "" }),
			s.count(func(st statement) bool { return st.open != "" }),
		}
		for i := range n {
			sum[i] += n[i]
		}
		fmt.Fprintf(&b, "| [%s](#%s) %s | %d | %d | %d | %d | %d |\n", s.number, anchor, s.title, n[0], n[1], n[2], n[3], n[4])
	}
	fmt.Fprintf(&b, "| all | %d | %d | %d | %d | %d |\n", sum[0], sum[1], sum[2], sum[3], sum[4])
	b.WriteString(tables.String())
	return b.String(), problems
}

// opens lists what is open.
func opens(all []standard) (keys []string) {
	for _, s := range all {
		for _, st := range s.statements {
			if st.open != "" {
				keys = append(keys, s.key(st))
			}
		}
	}
	return keys
}

func TestConformance(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("testdata", "conformance", "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	slices.Sort(names)
	var all []standard
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		s, problems := parseStandard(filepath.ToSlash(name), string(text))
		for _, p := range problems {
			t.Error(p)
		}
		assert.Equal(t, "rfc"+s.number+".txt", filepath.Base(name))
		seen := map[string]bool{}
		for _, st := range s.statements {
			assert.False(t, seen[s.key(st)], "twice: %s", s.key(st))
			seen[s.key(st)] = true
		}
		all = append(all, s)
	}
	open := opens(all)
	t.Logf("%d open", len(open))
	for _, key := range open {
		t.Log("open: " + key)
	}
	assert.ElementsMatch(t, openStatements, open, "what is open is listed in openStatements")
	page, problems := newRepository(t).render(all)
	for _, p := range problems {
		t.Error(p)
	}
	if *update && len(problems) == 0 {
		require.NoError(t, os.WriteFile(filepath.FromSlash(conformanceDoc), []byte(page), 0o644))
	}
	want, err := os.ReadFile(filepath.FromSlash(conformanceDoc))
	require.NoError(t, err)
	if string(want) != page { // the whole difference is of no use to anybody
		t.Error(conformanceDoc + " is not what testdata/conformance makes: go test -run TestConformance . -update")
	}
}

// What TestConformance is there to find is found.
func TestConformanceBites(t *testing.T) {
	const head = "RFC 1 A test\n\n1 MUST: something\n"
	const place, test = "\tin: pkce.go#checkVerifier\n", "\tby: TestPKCEAtToken\n"
	repo := newRepository(t)
	for name, c := range map[string]struct{ text, want string }{
		"no RFC":                      {"1 MUST: something\n", "does not begin with its RFC"},
		"no level":                    {"RFC 1 A test\n1 MAY: something\n", "no such level"},
		"too many words":              {"RFC 1 A test\n1 MUST: " + strings.Repeat("word ", 21) + "\n", "too long"},
		"a line that is none":         {head + "\tat: pkce.go\n", "neither a statement"},
		"a mark twice":                {head + "\thost: a\n\thost: b\n", "neither a statement"},
		"a line before all":           {"RFC 1 A test\n" + place, "neither a statement"},
		"neither test nor mark":       {head, "no test and no mark"},
		"a place alone":               {head + place, "no test and no mark"},
		"a test alone":                {head + test, "no place"},
		"the host's and not served":   {head + "\thost: a\n\tnot served: b\n", "both"},
		"no such file":                {head + "\tin: nowhere.go#checkVerifier\n" + test, "no such place"},
		"no such function":            {head + "\tin: pkce.go#nothing\n" + test, "0 functions nothing"},
		"a file alone":                {head + "\tin: pkce.go\n" + test, "no such place"},
		"no such line":                {head + "\tin: pkce.go: there is no such line\n" + test, "0 lines"},
		"a line that is there twice":  {head + "\tin: pkce.go: return nil\n" + test, "lines with"},
		"no such test":                {head + place + "\tby: TestNothing\n", "no such test"},
		"no such directory":           {head + place + "\tby: nowhere/TestPKCEAtToken\n", "no such test"},
		"no test":                     {head + place + "\tby: newServer\n", "names no test"},
		"no such subtest":             {head + place + "\tby: TestPKCEAtToken/S999\n", "no subtest"},
		"a subtest of another":        {head + place + "\tby: TestPKCEAtToken/S051 no code_challenge\n", "no subtest"},
		"good":                        {head + place + test, ""},
		"good, a line":                {head + "\tin: pkce.go: RFC 9700, section 4.8.2\n" + test, ""},
		"good, a method":              {head + "\tin: internal/jose/verify.go#Rules.Verify\n" + test, ""},
		"of two of one name":          {head + "\tin: internal/jose/verify.go#Verify\n" + test, "2 functions Verify"},
		"good, a subtest":             {head + place + "\tby: TestPKCEAtToken/S054 wrong verifier\n", ""},
		"good, in a table elsewhere":  {head + place + "\tby: TestStoreFailsAtEachCall/S331 refresh\n", ""},
		"good, of another package":    {head + place + "\tby: resource/TestTokenFor/RFC 8707 2 none\n", ""},
		"good, with a slash in it":    {head + "\tin: pkce.go#checkVerifier\n\tby: internal/form/TestBasic\n", ""},
		"good, the host's":            {head + "\thost: does it\n", ""},
		"good, not served":            {head + "\tnot served: no\n", ""},
		"good, open, whatever it has": {head + "\topen: later\n" + place, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, problems := parseStandard("x", c.text)
			_, more := repo.render([]standard{s})
			problems = append(problems, more...)
			if c.want == "" {
				assert.Empty(t, problems)
				return
			}
			require.NotEmpty(t, problems)
			assert.Contains(t, strings.Join(problems, "\n"), c.want)
		})
	}
	s, _ := parseStandard("x", head+"\topen: later\n")
	assert.Equal(t, []string{"RFC 1 1: something"}, opens([]standard{s}))
}
