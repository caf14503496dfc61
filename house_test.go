package oauth_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"os/exec"
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

// The tests of this file keep the house tidy: what the library links, which way
// its packages import each other, its package comments, its exported names, and
// what no package does. Each rule is a function of parsed source, and
// TestHouseRulesBite shows that each of them can fail.

const (
	house  = "github.com/grantwell/oauth"
	goJose = "github.com/go-jose/go-jose/v4"
)

// testServers is a package that only tests import.
const testServers = "internal/servertest"

// maxRootNames is how many types, functions and variables the root may export.
const maxRootNames = 60

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// linked are the modules that a program with the library in it contains.
var linked = []string{house, goJose, "golang.org/x/crypto", "golang.org/x/sys"}

// layers says for the first element of a package's directory which others it may
// import; "." is the root. What is not listed must get a place here first. A whole
// directory stands for itself: the black box knows nothing of the server. TestLinks
// of cmd/oauthprobe lists what it may link of internal.
var layers = map[string][]string{
	"internal":  {"internal"},
	"resource":  {"internal"},
	"guard":     {"resource", "internal"},
	".":         {"resource", "internal"},
	"grants":    {".", "resource", "internal"},
	"memstore":  {".", "resource", "internal"},
	"keystore":  {".", "resource", "internal"},
	"pages":     {"grants", "memstore", "guard", ".", "resource", "internal"},
	"oauthtest": {"oauthtest", "pages", "grants", "memstore", "guard", ".", "resource", "internal"},
	"cmd":       {"oauthtest"},

	"oauthtest/probe": {"internal"},
	// Modules of their own see what everybody sees: nothing internal.
	"sqlstore":   {"sqlstore", "grants", "memstore", ".", "resource"},
	"redisstore": {"redisstore", "grants", "memstore", "guard", ".", "resource"},
	"examples":   {"examples", "sqlstore", "redisstore", "oauthtest", "pages", "grants", "memstore", "keystore", "guard", ".", "resource"},
	"tools":      {}, // they look at the library, and are no part of it
	"bench":      {"bench", "sqlstore", "redisstore", "oauthtest", "pages", "grants", "memstore", "keystore", "guard", ".", "resource"},
}

// A source is one Go file that is no test.
type source struct {
	path   string // relative to the root, with slashes
	nested bool   // in a module of its own
	fset   *token.FileSet
	file   *ast.File
}

func (s source) dir() string { return path.Dir(s.path) }

// layer is the first element of the directory.
func (s source) layer() string {
	first, _, _ := strings.Cut(s.dir(), "/")
	return first
}

func (s source) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: ", s.path, s.fset.Position(n.Pos()).Line) + fmt.Sprintf(format, args...)
}

// sources parses every Go file of the repository that is no test.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	nested := map[string]bool{}
	walk(t, func(name string) {
		dir := path.Dir(name)
		if path.Base(name) == "go.mod" && dir != "." {
			nested[dir] = true
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, filepath.FromSlash(name), nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		all = append(all, source{path: name, fset: fset, file: f})
	})
	for i, s := range all {
		for dir := s.dir(); dir != "."; dir = path.Dir(dir) {
			all[i].nested = all[i].nested || nested[dir]
		}
	}
	require.NotEmpty(t, all)
	return all
}

// walk visits the files of the repository, without those that the go command
// does not look at and those that make deps has fetched.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch base := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (fetched(filepath.ToSlash(name)) || base == "testdata" || base[0] == '.' || base[0] == '_'):
			return filepath.SkipDir
		case !d.IsDir():
			visit(filepath.ToSlash(name))
		}
		return nil
	})
	require.NoError(t, err)
}

// fetched says whether a folder has packages from npm or PyPI: other people's files.
func fetched(dir string) bool {
	return path.Base(dir) == "node_modules" || dir == "examples/apis/packages"
}

func TestHouseLinks(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./...")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	modules := strings.Fields(string(out))
	require.Contains(t, modules, house)
	slices.Sort(modules)
	for _, m := range slices.Compact(modules) {
		assert.Contains(t, linked, m, "linked by a package of the library")
	}
}

func TestHouseImports(t *testing.T) {
	for _, s := range sources(t) {
		for _, problem := range importsOf(s) {
			t.Error(problem)
		}
	}
}

// importsOf checks the direction of imports, and who may import what is special.
func importsOf(s source) (problems []string) {
	allowed, known := layers[s.dir()]
	if !known {
		allowed, known = layers[s.layer()]
	}
	if !known {
		problems = append(problems, s.at(s.file.Name, "%s has no place in the table of layers", s.dir()))
	}
	for _, spec := range s.file.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		if name == house || strings.HasPrefix(name, house+"/") {
			to, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(name, house), "/"), "/")
			if to == "" {
				to = "."
			}
			if known && !slices.Contains(allowed, to) {
				problems = append(problems, s.at(spec, "%s must not import %s", s.dir(), name))
			}
			if name == house+"/"+testServers {
				problems = append(problems, s.at(spec, "only tests may import %s", name))
			}
		}
		var only string
		switch {
		case s.nested:
		case strings.HasPrefix(name, "github.com/stretchr/"), strings.HasPrefix(name, "pgregory.net/"):
			only = "tests"
		case strings.HasPrefix(name, "github.com/go-jose/"):
			only = "internal/jose"
		case name == "testing" || strings.HasPrefix(name, "testing/"):
			only = "oauthtest"
		}
		if only != "" && s.dir() != only {
			problems = append(problems, s.at(spec, "only %s may import %s", only, name))
		}
	}
	return problems
}

func TestHousePackageComments(t *testing.T) {
	packages := map[string][]source{}
	for _, s := range sources(t) {
		packages[s.dir()] = append(packages[s.dir()], s)
	}
	for _, files := range packages {
		for _, problem := range packageComment(files) {
			t.Error(problem)
		}
	}
}

// packageComment checks that of the files of a package one has the comment, in
// the form that go doc expects.
func packageComment(files []source) (problems []string) {
	var with []source
	for _, s := range files {
		if s.file.Doc != nil {
			with = append(with, s)
		}
	}
	if len(with) != 1 {
		return []string{fmt.Sprintf("%s: %d package comments, want 1", files[0].dir(), len(with))}
	}
	s := with[0]
	name := s.file.Name.Name
	text := s.file.Doc.Text()
	if name != "main" && !strings.HasPrefix(text, "Package "+name+" ") {
		problems = append(problems, s.at(s.file.Doc, "the package comment does not begin with Package %s", name))
	}
	return problems
}

func TestHouseCalls(t *testing.T) {
	for _, s := range sources(t) {
		for _, problem := range calls(s) {
			t.Error(problem)
		}
	}
}

// never are the functions that no package of the library uses, and why.
var never = map[string]string{
	"os.Getenv":    "the host configures, not the environment",
	"os.LookupEnv": "the host configures, not the environment",
	"os.Environ":   "the host configures, not the environment",
	"os.ExpandEnv": "the host configures, not the environment",

	"net/http.Error": "refusals go through an ErrorWriter",
	"time.Now":       "the clock is a field, and its default alone is time.Now",
	"time.Since":     "the clock is a field",
	"time.Until":     "the clock is a field",
}

// calls checks what the packages of the library never do. Package oauthtest races
// goroutines against a store, and internal/servertest, which only tests import, waits
// for servers, so those and the clock are their own affair.
func calls(s source) (problems []string) {
	if s.nested {
		return nil
	}
	names := importNames(s.file)
	clocks := clockDefaults(s.file)
	testKit := s.layer() == "oauthtest" || s.dir() == testServers
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				problems = append(problems, s.at(n, "init: nothing happens by being imported"))
			}
		case *ast.GoStmt:
			if !testKit {
				problems = append(problems, s.at(n, "go statement: the library starts no goroutine"))
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok || names[x.Name] == "" {
				return true
			}
			full := names[x.Name] + "." + n.Sel.Name
			why, bad := never[full]
			if bad && !clocks[n] && !(testKit && strings.HasPrefix(full, "time.")) {
				problems = append(problems, s.at(n, "%s: %s", full, why))
			}
		}
		return true
	})
	return problems
}

// importNames maps the names that the file gives to packages to their paths.
func importNames(f *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range f.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	}
	return names
}

// clockDefaults are the uses of time.Now that give a clock its default: the value
// of something called Now or now, and anything within a function called now.
func clockDefaults(f *ast.File) map[ast.Node]bool {
	found := map[ast.Node]bool{}
	isNow := func(e ast.Expr) bool {
		if s, ok := e.(*ast.SelectorExpr); ok {
			e = s.Sel
		}
		id, ok := e.(*ast.Ident)
		return ok && strings.EqualFold(id.Name, "now")
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == "now" && n.Body != nil {
				ast.Inspect(n.Body, func(n ast.Node) bool { found[n] = true; return true })
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if isNow(left) && i < len(n.Rhs) {
					found[n.Rhs[i]] = true
				}
			}
		case *ast.KeyValueExpr:
			if isNow(n.Key) {
				found[n.Value] = true
			}
		}
		return true
	})
	return found
}

func TestHouseWords(t *testing.T) {
	extensions := []string{".go", ".md", ".txt", ".html", ".sql", ".lua", ".sh", ".yml", ".yaml", ".conf", ".mod"}
	walk(t, func(name string) {
		if slices.Contains(extensions, path.Ext(name)) || path.Base(name) == "Makefile" {
			b, err := os.ReadFile(filepath.FromSlash(name))
			require.NoError(t, err)
			for _, problem := range words(name, string(b)) {
				t.Error(problem)
			}
		}
	})
}

// unfinished finds the words for work left over. They are spelled in two pieces,
// for this file is looked at too.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)

func words(name, text string) (problems []string) {
	for i, line := range strings.Split(text, "\n") {
		if w := unfinished.FindString(line); w != "" {
			problems = append(problems, fmt.Sprintf("%s:%d: %s: finish it, or say what is so", name, i+1, w))
		}
	}
	return problems
}

// TestHouseAPI compares the exported API with its listing, so that every change of
// it is seen in review: that of the stores too, which are modules of their own. Run
// it with -update to accept a change.
func TestHouseAPI(t *testing.T) {
	packages := map[string][]*ast.File{}
	for _, s := range sources(t) {
		library := !s.nested || s.layer() == "sqlstore" || s.layer() == "redisstore"
		if library && s.file.Name.Name != "main" && !slices.Contains(strings.Split(s.dir(), "/"), "internal") {
			packages[s.dir()] = append(packages[s.dir()], s.file)
		}
	}
	require.Contains(t, packages, ".")
	if *update {
		require.NoError(t, os.MkdirAll("testdata/api", 0o755))
	}
	var golden []string
	for dir, files := range packages {
		name := "oauth.txt"
		if dir != "." {
			name = strings.ReplaceAll(dir, "/", "-") + ".txt"
		}
		golden = append(golden, name)
		name = "testdata/api/" + name
		got := strings.Join(listing(files), "\n") + "\n"
		if *update {
			require.NoError(t, os.WriteFile(name, []byte(got), 0o644))
		}
		want, err := os.ReadFile(name)
		if assert.NoError(t, err, "go test -run TestHouseAPI . -update") {
			assert.Equal(t, string(want), got, "the API of %s; go test -run TestHouseAPI . -update", dir)
		}
	}
	stored, err := os.ReadDir("testdata/api")
	require.NoError(t, err)
	for _, f := range stored {
		assert.Contains(t, golden, f.Name(), "a listing without its package")
	}
}

func TestHouseRootIsSmall(t *testing.T) {
	var files []*ast.File
	for _, s := range sources(t) {
		if s.dir() == "." {
			files = append(files, s.file)
		}
	}
	names := exportedNames(listing(files))
	assert.LessOrEqual(t, len(names), maxRootNames, "types, functions and variables of the root: %v", names)
}

// exportedNames returns the types, functions and variables of a listing.
func exportedNames(listing []string) (names []string) {
	for _, line := range listing {
		kind, rest, _ := strings.Cut(line, " ")
		if kind == "type" || kind == "func" || kind == "var" {
			name := rest[:strings.IndexFunc(rest+" ", func(c rune) bool { return strings.ContainsRune(" ([", c) })]
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names) // a struct has a line per field
}

// listing returns the exported names of a package, sorted, one a line: constants
// with their values, types with their exported fields and methods.
func listing(files []*ast.File) (lines []string) {
	for _, f := range files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				lines = append(lines, listFunc(d)...)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						lines = append(lines, listType(spec)...)
					case *ast.ValueSpec:
						lines = append(lines, listValues(d.Tok, spec)...)
					}
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func listFunc(d *ast.FuncDecl) []string {
	if !d.Name.IsExported() {
		return nil
	}
	signature := strings.TrimPrefix(types.ExprString(d.Type), "func")
	if d.Recv == nil {
		return []string{"func " + d.Name.Name + typeParams(d.Type.TypeParams) + signature}
	}
	receiver := types.ExprString(d.Recv.List[0].Type)
	if !ast.IsExported(strings.TrimPrefix(receiver, "*")) {
		return nil
	}
	return []string{"method (" + receiver + ") " + d.Name.Name + signature}
}

func listType(spec *ast.TypeSpec) (lines []string) {
	if !spec.Name.IsExported() {
		return nil
	}
	head := "type " + spec.Name.Name + typeParams(spec.TypeParams)
	if spec.Assign.IsValid() {
		return []string{head + " = " + types.ExprString(spec.Type)}
	}
	var members *ast.FieldList
	switch typ := spec.Type.(type) {
	case *ast.StructType:
		head, members = head+" struct", typ.Fields
	case *ast.InterfaceType:
		head, members = head+" interface", typ.Methods
	default:
		return []string{head + " " + types.ExprString(spec.Type)}
	}
	lines = []string{head}
	sealed := false
	for _, m := range members.List {
		text := types.ExprString(m.Type)
		if len(m.Names) == 0 {
			lines = append(lines, head+", embedded "+text)
		}
		for _, name := range m.Names {
			_, method := m.Type.(*ast.FuncType)
			method = method && strings.HasSuffix(head, " interface")
			switch {
			case method && !name.IsExported():
				sealed = true
			case method:
				lines = append(lines, head+", "+name.Name+strings.TrimPrefix(text, "func"))
			case name.IsExported():
				lines = append(lines, head+", "+name.Name+" "+text)
			}
		}
	}
	if sealed {
		lines = append(lines, head+", unexported methods")
	}
	return lines
}

func listValues(tok token.Token, spec *ast.ValueSpec) (lines []string) {
	for i, name := range spec.Names {
		if !name.IsExported() {
			continue
		}
		line := tok.String() + " " + name.Name
		if spec.Type != nil {
			line += " " + types.ExprString(spec.Type)
		}
		if tok == token.CONST && i < len(spec.Values) {
			line += " = " + types.ExprString(spec.Values[i])
		}
		lines = append(lines, line)
	}
	return lines
}

func typeParams(list *ast.FieldList) string {
	if list == nil {
		return ""
	}
	var params []string
	for _, f := range list.List {
		for _, name := range f.Names {
			params = append(params, name.Name+" "+types.ExprString(f.Type))
		}
	}
	return "[" + strings.Join(params, ", ") + "]"
}

// A rule that finds nothing anywhere proves nothing.
func TestHouseRulesBite(t *testing.T) {
	comment := func(s source) []string { return packageComment([]source{s}) }
	tests := []struct {
		name, path, text string
		rule             func(source) []string
		want             string // part of the problem; "" for none
	}{
		{"layer known", "grants/a.go", `import "` + house + `"`, importsOf, ""},
		{"layer upwards", "resource/a.go", `import "` + house + `"`, importsOf, "resource must not import"},
		{"layer upwards from internal", "internal/form/a.go", `import "` + house + `/resource"`, importsOf, "internal/form must not import"},
		{"layer sideways", "memstore/a.go", `import "` + house + `/grants"`, importsOf, "memstore must not import"},
		{"layer root to grants", "a.go", `import "` + house + `/grants"`, importsOf, ". must not import"},
		{"layer unknown", "extra/a.go", "", importsOf, "no place in the table"},
		{"go-jose inside", "internal/jose/a.go", `import "` + goJose + `"`, importsOf, ""},
		{"go-jose outside", "a.go", `import "` + goJose + `/jwt"`, importsOf, "only internal/jose may import"},
		{"testing outside", "memstore/a.go", `import "testing"`, importsOf, "only oauthtest may import testing"},
		{"testing/fstest outside", "memstore/a.go", `import "testing/fstest"`, importsOf, "only oauthtest may import"},
		{"testing in the kit", "oauthtest/a.go", `import "testing"`, importsOf, ""},
		{"layer of the probe", "oauthtest/probe/a.go", `import "` + house + `/resource"`, importsOf, "oauthtest/probe must not import"},
		{"internal in the probe", "oauthtest/probe/a.go", `import "` + house + `/internal/htmlform"`, importsOf, ""},
		{"root in the probe", "oauthtest/probe/a.go", `import "` + house + `"`, importsOf, "oauthtest/probe must not import"},
		{"layer of a command", "cmd/x/a.go", `import "` + house + `/oauthtest/probe"`, importsOf, ""},
		{"testing in the probe", "oauthtest/probe/a.go", `import "testing"`, importsOf, "only oauthtest may import"},
		{"servers of tests", "internal/form/a.go", `import "` + house + "/" + testServers + `"`, importsOf, "only tests may import"},
		{"testify", "oauthtest/a.go", `import "github.com/stretchr/testify/require"`, importsOf, "only tests may import"},
		{"rapid", "oauthtest/a.go", `import "pgregory.net/rapid"`, importsOf, "only tests may import"},
		{"comment missing", "a.go", "", comment, "0 package comments"},
		{"init", "a.go", "func init() {}", calls, "init"},
		{"method called init", "a.go", "func (T) init() {}", calls, ""},
		{"go statement", "a.go", "func f() { go f() }", calls, "no goroutine"},
		{"go statement in the kit", "oauthtest/a.go", "func f() { go f() }", calls, ""},
		{"go statement for a server", testServers + "/a.go", "func f() { go f() }", calls, ""},
		{"environment", "a.go", `import "os"; var x = os.Getenv("X")`, calls, "os.Getenv"},
		{"environment by another name", "a.go", `import env "os"; var x, _ = env.LookupEnv("X")`, calls, "os.LookupEnv"},
		{"http.Error", "pages/a.go", `import "net/http"; func f(w http.ResponseWriter) { http.Error(w, "", 500) }`, calls, "net/http.Error"},
		{"http.Error of another package", "a.go", `import "example.com/http"; var x = http.Error`, calls, ""},
		{"clock called", "a.go", `import "time"; func f() time.Time { return time.Now() }`, calls, "time.Now"},
		{"clock called in an assignment", "a.go", `import "time"; func f() { now := time.Now(); _ = now.Add(1) }`, calls, "time.Now"},
		{"clock kept", "a.go", `import "time"; var clock = time.Now`, calls, "time.Now"},
		{"clock measured", "a.go", `import "time"; func f(t time.Time) time.Duration { return time.Since(t) }`, calls, "time.Since"},
		{"clock as a default", "a.go", `import "time"; func f(c *C) { if c.Now == nil { c.Now = time.Now } }`, calls, ""},
		{"clock as a field", "a.go", `import "time"; var c = C{now: time.Now}`, calls, ""},
		{"clock in now", "a.go", `import "time"; func (c *C) now() time.Time { return time.Now() }`, calls, ""},
		{"clock in the kit", "oauthtest/a.go", `import "time"; var x = time.Now()`, calls, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			problems := tt.rule(parse(t, tt.path, "package p; "+tt.text))
			if tt.want == "" {
				assert.Empty(t, problems)
				return
			}
			require.Len(t, problems, 1)
			assert.Contains(t, problems[0], tt.want)
		})
	}

	two := []source{parse(t, "a.go", "// Package p is.\npackage p"), parse(t, "b.go", "// Package p is.\npackage p")}
	assert.Empty(t, packageComment(two[:1]))
	assert.Len(t, packageComment(two), 1)
	assert.Len(t, packageComment([]source{parse(t, "a.go", "// About p.\npackage p")}), 1)
	assert.Equal(t, []string{"a.md:2: TO" + "DO: finish it, or say what is so"}, words("a.md", "x\n(TO"+"DO: y)\nTO"+"DOS"))
}

func TestHouseListing(t *testing.T) {
	s := parse(t, "a.go", `package p
type S struct { A, B int; c int; *E; F func(x int) (y string) }
type s struct{}
type I interface { M(ctx context.Context) error; n(); fmt.Stringer }
type K string
type G[T any] []T
type A = other.A
func (s *S) Do(a, b int) (*S, error) { return nil, nil }
func (*S) do() {}
func (s) Do() {}
func F[T any](list ...T) iter.Seq2[T, error] { return nil }
func f() {}
const C, d K = "c", "d"
var V, w = 1, 2
var E error`)
	lines := listing([]*ast.File{s.file})
	assert.Equal(t, []string{
		`const C K = "c"`,
		`func F[T any](list ...T) iter.Seq2[T, error]`,
		`method (*S) Do(a, b int) (*S, error)`,
		`type A = other.A`,
		`type G[T any] []T`,
		`type I interface`,
		`type I interface, M(ctx context.Context) error`,
		`type I interface, embedded fmt.Stringer`,
		`type I interface, unexported methods`,
		`type K string`,
		`type S struct`,
		`type S struct, A int`,
		`type S struct, B int`,
		`type S struct, F func(x int) (y string)`,
		`type S struct, embedded *E`,
		`var E error`,
		`var V`,
	}, lines)
	assert.Equal(t, []string{"A", "E", "F", "G", "I", "K", "S", "V"}, exportedNames(lines))
}

func parse(t *testing.T, name, text string) source {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	return source{path: name, fset: fset, file: f}
}
