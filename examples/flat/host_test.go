package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A requirement is one line of testdata/requirements.txt with its proof.
type requirement struct {
	name string // begins with the id
	test func(*testing.T)
}

var requirements = [][]requirement{authorizeRequirements, tokenRequirements, personalRequirements}

// TestRequirements shows that the host is what was published.
func TestRequirements(t *testing.T) {
	for _, part := range requirements {
		for _, r := range part {
			t.Run(r.name, r.test)
		}
	}
}

// TestEveryRequirement fails where a requirement has no test, or a test no requirement.
func TestEveryRequirement(t *testing.T) {
	tested := map[string]int{}
	for _, part := range requirements {
		for _, r := range part {
			id, _, _ := strings.Cut(r.name, " ")
			tested[id]++
		}
	}
	text, err := os.ReadFile("testdata/requirements.txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		id, _, _ := strings.Cut(line, " ")
		assert.Regexp(t, `^FL-\d\d$`, id)
		assert.Positive(t, tested[id], "%s has no test", strings.TrimSpace(line))
		delete(tested, id)
	}
	assert.Empty(t, tested, "tests of what is not in the list")
}
