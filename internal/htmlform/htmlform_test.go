package htmlform_test

import (
	"strings"
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

// FuzzParse: whatever a server answers, reading it ends, and what is read is in the text:
// no form, field or button comes from nothing, and none from a comment or a script.
func FuzzParse(f *testing.F) {
	for _, page := range []string{"<form", "<form a", "<form a=", "<form a='", "<form><input name=a value=b><button>", "<form><select><option", "<form><textarea>x</textarea", "<a/><form/>", "<script>\u0130\u0130\u0130</script>",
		"", "<", "</", "</form", "<!--", "<!-- <form> -", "<!---->", "<!><form>", "<?x?><form></form>", "<form></form></form>", "<form><form><input name=a></form>",
		`<form method="POST" action="/x?a=1&amp;b=2&#x26;c"><input type=hidden name="interaction" value='x&#34;y'></form>`, "<FORM METHOD=post><INPUT NAME=A VALUE=B CHECKED>", "<form method=dialog><input type=image><input type=reset>",
		"<form><textarea name=a>\n</form></textarea></form>", "<form><script><form><input name=x></script><style></form></style>", "<form><select name=s multiple><option selected>a<option value selected>b</select>",
		"<form><select name=s><optgroup><option>a</optgroup></select>", "<form><input type=checkbox name=c><input type=radio name=r value=1 checked>", "<form><button name=d value=yes type=submit> Sign <b>in</b>&nbsp;</button>",
		"<form><button><button></form>", "<form><input name=a name=b value=1 value=2>", "<form><input disabled name=x><fieldset disabled><input name=y></fieldset>", "<form\taction=x\fmethod\n=\r'get'>", "<form action=a/b/><input name=x/>",
		"<form><input name=&amp;&lt;&unknown;&#0;&#x110000;&#;>", "<form>\x00<in\x00put name=a>", "<form><title><input name=a></title>", "<form\xff><input name=\xff>", "<form><noscript><input name=n></noscript><template><input name=t></template>",
		"<form " + strings.Repeat("a=b ", 500) + ">", strings.Repeat("<form>", 300), strings.Repeat("<", 1000), "<form>" + strings.Repeat("<select><option>", 200)} {
		f.Add(page)
	}
	f.Fuzz(func(t *testing.T, page string) {
		forms := htmlform.Parse(page)
		tags := strings.ToLower(page)
		assert.LessOrEqual(t, len(forms), strings.Count(tags, "<form"))
		fields, buttons := 0, 0
		for _, form := range forms {
			assert.NotEmpty(t, form.Method)
			assert.Equal(t, strings.ToUpper(form.Method), form.Method)
			fields, buttons = fields+len(form.Fields), buttons+len(form.Buttons)
		}
		inputs := strings.Count(tags, "<input")
		assert.LessOrEqual(t, fields, inputs+strings.Count(tags, "<textarea")+strings.Count(tags, "<option")+strings.Count(tags, "<select"))
		assert.LessOrEqual(t, buttons, inputs+strings.Count(tags, "<button"))
	})
}
