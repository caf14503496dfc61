package probe

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseForms(t *testing.T) {
	const page = `<!doctype html><!-- <form action="/comment"><button>No</button></form> -->
<script>document.write('<form action="/script">')</script>
<FORM METHOD=post action="/login?a=1&amp;b=2"><input type=hidden name=csrf value='a"b'/>
<input name="user" value=""><INPUT type="password" name=pass disabled><input type=checkbox name=all checked><input type="checkbox" name="off">
<select name=lang><option value=en>English<option value=de selected>Deutsch</select><textarea name=note></textarea>
<button type=button>Help</button><button name="go" value="1">Sign <b>in</b></button></form>
<form><input type="submit" name="x" value="Cancel &amp; close"></form> 1 < 2 <`
	forms := parseForms(page)
	require.Len(t, forms, 2)
	assert.Equal(t, &pageForm{action: "/login?a=1&b=2", method: "POST", fields: []field{{"csrf", `a"b`, "hidden"}, {"user", "", ""},
		{"all", "on", "checkbox"}, {"off", "on", "checkbox off"}, {"lang", "de", "select"}, {"note", "", "textarea"}},
		buttons: []button{{"go", "1", "Sign in"}}}, forms[0])
	assert.Equal(t, []button{{"x", "Cancel & close", "Cancel & close"}}, forms[1].buttons)
}

func TestChoose(t *testing.T) {
	form := func(texts ...string) *pageForm {
		f := &pageForm{fields: []field{{"user", "", "text"}}}
		for _, text := range texts {
			f.buttons = append(f.buttons, button{text: text})
		}
		return f
	}
	for _, test := range []struct {
		name  string
		forms []*pageForm
		press []string
		want  string
	}{
		{"a word", []*pageForm{form("Not you?"), form("Cancel", "Allow")}, nil, "Allow"},
		{"one that is given", []*pageForm{form("Ja", "Allow")}, []string{"ja"}, "Ja"},
		{"the only button", []*pageForm{form("Weiter")}, nil, "Weiter"},
		{"none of two", []*pageForm{form("Ja", "Nein")}, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, b := choose(test.forms, test.press, nil)
			if test.want == "" {
				assert.Nil(t, b)
				return
			}
			require.NotNil(t, b)
			assert.Equal(t, test.want, b.text)
		})
	}
	f, b := choose([]*pageForm{{}, {fields: []field{{"user", "", "text"}}}}, nil, map[string]string{"user": "alice"})
	require.NotNil(t, f)
	assert.Len(t, f.fields, 1, "the form that the fixtures fill in")
	assert.Empty(t, b.text)
}

func FuzzParseForms(f *testing.F) {
	f.Add(`<form action=a method="post"><input name=b value='c'><button>d</button></form>`)
	f.Add("<a b=\"")
	f.Add("</ <!-- <form =x>")
	f.Fuzz(func(t *testing.T, page string) {
		for _, form := range parseForms(page) {
			assert.LessOrEqual(t, len(form.fields)+len(form.buttons), len(page))
		}
	})
}
