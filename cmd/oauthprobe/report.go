package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/grantwell/oauth/oauthtest/probe"
)

// A report is what -json writes.
type report struct {
	URL      string         `json:"url"`
	OK       int            `json:"ok"`
	Findings int            `json:"findings"`
	NotRun   int            `json:"not_run"`
	Error    string         `json:"error,omitempty"` // why not everything was run
	Results  []probe.Result `json:"results"`
}

func newReport(url string, results []probe.Result, err error) report {
	r := report{URL: url, Results: results}
	if err != nil {
		r.Error = err.Error()
	}
	if r.Results == nil {
		r.Results = []probe.Result{}
	}
	for _, x := range results {
		switch x.Verdict {
		case probe.OK:
			r.OK++
		case probe.Finding:
			r.Findings++
		case probe.NotRun:
			r.NotRun++
		}
	}
	return r
}

func (r report) writeJSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// write writes the report for people: the worst findings first, then what was not run.
func (r report) write(out io.Writer) {
	fmt.Fprintf(out, "\n%s: %d ok, %d findings, %d not run\n", r.URL, r.OK, r.Findings, r.NotRun)
	for _, severity := range []probe.Severity{probe.High, probe.Medium, probe.Low} {
		for _, x := range r.Results {
			if x.Verdict == probe.Finding && x.Severity == severity {
				fmt.Fprintf(out, "\n%s  %s  (%s)\n  must hold:  %s\n  seen:       %s\n  change:     %s\n", x.Severity, x.ID, x.RFC, x.Name, x.Seen, x.Fix)
			}
		}
	}
	if r.NotRun > 0 {
		fmt.Fprintln(out, "\nNot run:")
	}
	for _, x := range r.Results {
		if x.Verdict == probe.NotRun {
			fmt.Fprintf(out, "  %-28s %s\n", x.ID, x.Seen)
		}
	}
}
