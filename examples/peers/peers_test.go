package peers_test

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/examples/peers"
	"github.com/grantwell/oauth/oauthtest/probe"
)

var update = flag.Bool("update", false, "write the table of docs/testing.md anew")

const (
	page       = "../../docs/testing.md"
	begin, end = "<!-- peers: begin -->\n", "<!-- peers: end -->\n"
)

// The table of the page is what the servers show.
func TestTable(t *testing.T) {
	all, err := peers.All()
	require.NoError(t, err)
	results := make([][]probe.Result, len(all))
	t.Run("probe", func(t *testing.T) {
		for i, p := range all {
			t.Run(p.Module, func(t *testing.T) {
				t.Parallel()
				results[i] = run(t, p)
			})
		}
	})
	want := table(t, all, results)
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), begin)
	require.True(t, found, "the first marker is gone")
	got, after, found := strings.Cut(rest, end)
	require.True(t, found, "the second marker is gone")
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(before+begin+want+end+after), 0o666))
		return
	}
	require.Equal(t, want, got, "go test ./... -update writes it anew")
}

// run probes a peer by HTTPS. Clients of httptest find every name below example.com.
func run(t *testing.T, p peers.Peer) []probe.Result {
	web := httptest.NewUnstartedServer(p.Handler)
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	defer web.Close()
	p.Target.HTTP = web.Client()
	results, err := probe.Run(t.Context(), p.Target, nil)
	require.NoError(t, err)
	require.Len(t, results, len(probe.Checks()))
	// A table in which nothing was tried would be worth nothing.
	for _, r := range results {
		if r.ID == "code-flow" {
			require.Equal(t, probe.OK, r.Verdict, r.Seen)
		}
	}
	return results
}

func table(t *testing.T, all []peers.Peer, results [][]probe.Result) string {
	var b strings.Builder
	b.WriteString("| check |")
	for _, p := range all {
		fmt.Fprintf(&b, " %s %s |", strings.TrimPrefix(p.Module, "github.com/"), version(t, p.Module))
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
	for row, c := range probe.Checks() {
		fmt.Fprintf(&b, "| `%s` |", c.ID)
		for i := range all {
			fmt.Fprintf(&b, " %s |", cell(results[i][row]))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// cell is a result in a few words: the first of what was seen.
func cell(r probe.Result) string {
	if r.Verdict != probe.Finding {
		return string(r.Verdict)
	}
	seen, more, _ := strings.Cut(r.Seen, "; ")
	seen = strings.TrimSuffix(seen, " to https://client.example/callback") // where it belongs
	if more != "" {
		seen += "; and more"
	}
	return "finding: " + strings.ReplaceAll(seen, "|", `\|`)
}

// version is what go.mod says of a module.
func version(t *testing.T, module string) string {
	text, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "\t"+module+" ")
	require.True(t, found, module)
	line, _, _ := strings.Cut(rest, "\n")
	return line
}
