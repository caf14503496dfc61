package oauthtest

import (
	"testing"

	"github.com/grantwell/oauth/oauthtest/probe"
)

// TestHost points the misbehaving client of package probe at a server that is
// running, such as the routes of the program under test behind an httptest.Server.
// fixtures are what it may use there; its URL is set to url, the issuer. Every check
// is a subtest by its ID. It fails for a finding, with the section of the RFC and what
// to change; it passes for a check that was not run, and its log says why.
func TestHost(t *testing.T, url string, fixtures probe.Target) {
	t.Helper()
	fixtures.URL = url
	results, err := probe.Run(t.Context(), fixtures, nil)
	for _, r := range results {
		t.Run(r.ID, func(t *testing.T) {
			switch r.Verdict {
			case probe.Finding:
				t.Errorf("%s (%s, %s)\nseen: %s\nchange: %s", r.Name, r.RFC, r.Severity, r.Seen, r.Fix)
			case probe.NotRun:
				t.Logf("not run: %s", r.Seen)
			}
		})
	}
	if err != nil {
		t.Errorf("oauthtest.TestHost: %v", err)
	}
}
