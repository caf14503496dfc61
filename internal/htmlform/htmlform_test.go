package htmlform_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/htmlform"
)

func TestParse(t *testing.T) {
	const page = `<!doctype html><title>a < b</title><!-- <form action=/comment> -->
<script>if (a<b) document.write("<form action=/script>")</script><style>a>b{}</style>
<input name="outside"><form method=post action="/login?a=1&amp;b=2">
<input type=hidden name=interaction value='x&#34;y'><INPUT NAME=user value=alice autofocus><input name="off" disabled>
<input type="checkbox" name="scope" value="read" checked><input type="checkbox" name="scope" value="write">
<input type="radio" name="all"><textarea name=note>a &lt;b> </p></textarea>
<select name="one"><option value="a">A<option value="b" selected>B<option value="c">C</select>
<select name="two"><option value="a">A<option value="b">B</select>
<button name="decision" value="yes" type="submit"> Sign
 <b>in</b> </button><button type="button">No</button><input type="submit" value="Also">
</form><form><button>Go</button>`
	forms := htmlform.Parse(page)
	require.Len(t, forms, 2)
	assert.Equal(t, &htmlform.Form{Action: "/login?a=1&b=2", Method: "POST",
		Fields: []htmlform.Field{
			{Name: "interaction", Value: `x"y`, Kind: "hidden"}, {Name: "user", Value: "alice"},
			{Name: "scope", Value: "read", Kind: "checkbox"}, {Name: "scope", Value: "write", Kind: "checkbox", Off: true},
			{Name: "all", Value: "on", Kind: "radio", Off: true}, {Name: "note", Value: "a <b> </p>", Kind: "textarea"},
			{Name: "one", Value: "b", Kind: "select"}, {Name: "two", Value: "a", Kind: "select"},
		},
		Buttons: []htmlform.Button{{Name: "decision", Value: "yes", Text: "Sign in"}, {Value: "Also", Text: "Also"}},
	}, forms[0])
	assert.Equal(t, &htmlform.Form{Method: "GET", Buttons: []htmlform.Button{{Text: "Go"}}}, forms[1])
}

func TestParseNone(t *testing.T) {
	for _, page := range []string{"", "<", "<>", "</", "< form>", "<formal>", "plain", `{"a":"<b"}`, "<!-- <form>", "<script><form>"} {
		assert.Empty(t, htmlform.Parse(page), page)
	}
}

// Whatever a server answers, reading it ends.
func FuzzParse(f *testing.F) {
	for _, page := range []string{"<form", "<form a", "<form a=", "<form a='", "<form><input name=a value=b><button>", "<form><select><option", "<form><textarea>x</textarea", "<a/><form/>", "<script>\u0130\u0130\u0130</script>"} {
		f.Add(page)
	}
	f.Fuzz(func(t *testing.T, page string) {
		for _, form := range htmlform.Parse(page) {
			assert.NotEmpty(t, form.Method)
		}
	})
}
