package main

import "testing"

const entry = "# a comment\na.go f\n- x < 1\n+ x > 1\nwhy because\nrun . TestF\n"

func TestParse(t *testing.T) {
	all, err := parse("\n" + entry + "\n" + entry)
	want := mutation{file: "a.go", scope: "f", old: "x < 1", new: "x > 1", why: "because", pkg: ".", tests: "TestF", line: 3}
	if err != nil || len(all) != 2 || all[0] != want {
		t.Errorf("got %v, %v", all, err)
	}
	for _, bad := range []string{"a.go\n", entry + "if not\n", "a.go\n- x\n+ x\nwhy because\nrun . TestF", "a.go\n- x\nwhy because\nrun ."} {
		if all, err := parse(bad); err == nil {
			t.Errorf("%q: got %v", bad, all)
		}
	}
}

func TestApply(t *testing.T) {
	const file = "func f() {\n\tif x < 1 {\n}\nfunc g() {\n\tif x < 1 {\n}\n"
	for _, test := range []struct{ scope, old, want string }{
		{"f", "x < 1", "func f() {\n\tif X {\n}\nfunc g() {\n\tif x < 1 {\n}\n"},
		{"g", "x < 1", "func f() {\n\tif x < 1 {\n}\nfunc g() {\n\tif X {\n}\n"},
		{"", "g()", "func f() {\n\tif x < 1 {\n}\nfunc X {\n\tif x < 1 {\n}\n"},
		{"", "x < 1", ""}, // twice
		{"", "\t", ""},
		{"h", "x < 1", ""},
		{"g", "f()", ""},
	} {
		got, err := mutation{scope: test.scope, old: test.old, new: "X"}.apply(file)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q in %q: got %q, %v", test.old, test.scope, got, err)
		}
	}
}

func TestKiller(t *testing.T) {
	for out, want := range map[string]string{
		"--- FAIL: TestA (0.1s)\n    --- FAIL: TestA/b (0.0s)\n        x\n--- FAIL: TestC (0.0s)\n": "TestA/b",
		"panic: test timed out after 4m0s\n": "by its time",
		"exit status 2\n":                    "a test that ended the process",
	} {
		if got := killer(out); got != want {
			t.Errorf("%q: got %q, want %q", out, got, want)
		}
	}
}
