// Package docs_test keeps docs/*.md true: what they quote is compared with the files
// that are compiled and tested, and their SQL runs.
package docs_test

import (
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/sqlstore"
)

const root = "../../"

var update = flag.Bool("update", false, "write the quotations of the pages anew")

// A block is a fenced one of a page, with the comment that stands before it:
// <!-- kind: what -->.
type block struct {
	page, language, text string
	kind, what           string
}

var (
	fence = regexp.MustCompile("(?ms)^(?:<!-- ([a-z]+): ([^ ]+) -->\n)?```([a-z]+)\n(.*?)^```$")
)

func pages(t *testing.T) map[string]string {
	files, err := filepath.Glob(root + "docs/*.md")
	require.NoError(t, err)
	require.Len(t, files, 5)
	all := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		all[filepath.Base(f)] = string(text)
	}
	return all
}

func blocks(t *testing.T) (all []block) {
	for page, text := range pages(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			all = append(all, block{page, m[3], m[4], m[1], m[2]})
		}
	}
	require.NotEmpty(t, all)
	return all
}

// Every block of Go and SQL says where it is from, and is that. With -update the
// pages are written anew.
func TestQuotations(t *testing.T) {
	var quoted []string
	for _, b := range blocks(t) {
		if b.language != "go" && b.language != "sql" || b.kind == "psql" { // TestSQL runs those
			continue
		}
		t.Run(b.page+"/"+b.kind+" "+b.what, func(t *testing.T) {
			quoted = append(quoted, b.kind+" "+b.what)
			want := original(t, b)
			if *update {
				path := root + "docs/" + b.page
				text, err := os.ReadFile(path)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), b.text, want, 1)), 0o666))
				return
			}
			require.Equal(t, want, b.text, "go test ./docs -run Quotations -update writes it anew")
		})
	}
	for _, want := range []string{"file examples/customstore/customstore.go", "schema SQLite", "schema PostgreSQL", "schema MySQL"} {
		require.Contains(t, quoted, want)
	}
	for name := range functionsOf(t, "example_test.go") {
		require.Contains(t, quoted, "func examples/docs/example_test.go#"+name, "of example_test.go, but no page quotes it")
	}
}

// original is what a block quotes.
func original(t *testing.T, b block) string {
	switch b.kind {
	case "file":
		text, err := os.ReadFile(root + b.what)
		require.NoError(t, err)
		return string(text)
	case "func":
		path, name, _ := strings.Cut(b.what, "#")
		functions := functionsOf(t, root+path)
		require.Contains(t, functions, name)
		return functions[name]
	case "schema":
		dialects := map[string]sqlstore.Dialect{"SQLite": sqlstore.SQLite, "PostgreSQL": sqlstore.PostgreSQL, "MySQL": sqlstore.MySQL}
		require.Contains(t, dialects, b.what)
		return sqlstore.Schema(dialects[b.what])
	}
	t.Fatal("a block of this language must say where it is from:\n" + b.text)
	return ""
}

// functionsOf returns the text of each function of a file, without its comment.
func functionsOf(t *testing.T, path string) map[string]string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, text, 0)
	require.NoError(t, err)
	all := map[string]string{}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			all[f.Name.Name] = string(text[files.Position(f.Pos()).Offset:files.Position(f.End()).Offset]) + "\n"
		}
	}
	return all
}

// Every type of event is in the table of operations.md, once, with a meaning, an
// action and a way to be told; and nothing else is.
func TestEventTable(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), root+"events.go", nil, 0)
	require.NoError(t, err)
	var types []string
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 && strings.HasPrefix(v.Names[0].Name, "Event") {
			if lit, ok := v.Values[0].(*ast.BasicLit); ok {
				name, err := strconv.Unquote(lit.Value)
				require.NoError(t, err)
				types = append(types, name)
			}
		}
		return true
	})
	require.Greater(t, len(types), 10)
	_, table, found := strings.Cut(pages(t)["operations.md"], "\n| event | what it means | what to do | alert or graph |\n|---|---|---|---|\n")
	require.True(t, found, "the table is gone")
	table, _, _ = strings.Cut(table, "\n\n")
	var rows []string
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
		require.Len(t, cells, 4, row)
		for _, c := range cells {
			require.NotEmpty(t, strings.TrimSpace(c), row)
		}
		rows = append(rows, strings.Trim(strings.TrimSpace(cells[0]), "`"))
	}
	slices.Sort(types)
	slices.Sort(rows)
	require.Equal(t, types, rows)
}

// Links between the pages and to files of the repository lead somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	n := 0
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(m[1], "http") {
				continue
			}
			_, err := os.Stat(filepath.Join(root, "docs", m[1]))
			require.NoError(t, err, page)
			n++
		}
	}
	require.Greater(t, n, 5)
	readme, err := os.ReadFile(root + "README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), "(docs/storage.md)")
	require.Contains(t, string(readme), "(docs/operations.md)")
}

// What storage.md says of the length of Data is so, give or take a tenth. The bytes
// in each store are measured by BenchmarkLiveAuthorization.
func TestDataLength(t *testing.T) {
	m := regexp.MustCompile(`Its Data has (\d+) bytes`).FindStringSubmatch(pages(t)["storage.md"])
	require.NotNil(t, m)
	said, err := strconv.Atoi(m[1])
	require.NoError(t, err)
	require.InEpsilon(t, populate(t, memstore.New(), 80), said, 0.1, "measure again: %s", "go test -run '^$' -bench LiveAuthorization -benchtime 1x ./docs")
}

func ids(t *testing.T, store oauth.Storage, f oauth.Filter) (all []string) {
	for r, err := range store.List(context.Background(), f) {
		require.NoError(t, err)
		all = append(all, fmt.Sprintf("%s %s %q %d", r.ID, r.Kind, r.Subject, len(r.Data)))
	}
	return all
}
