package probe

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/htmlform"
)

func TestFill(t *testing.T) {
	at, err := url.Parse("https://as.example/oauth/authorize?client_id=a")
	require.NoError(t, err)
	page := &answer{url: at, body: `<form method=post action="/decide?a=1&amp;b=2"><input type=hidden name=csrf value="of the page"><input name=user value=nobody>
<input type=password name=pass><input type=checkbox name=all checked><input type=checkbox name=off><input type=checkbox name=given value=1>
<textarea name=note>kept</textarea><input name=gone disabled><input value=nameless><select name=lang><option value=en><option value=de selected></select>
<button>Cancel</button><button name=go value=1>Allow</button></form>`}
	s := &session{Target: Target{Fields: map[string]string{"user": "alice", "csrf": "of the fixtures", "given": "2"}}}
	x := s.fill(page)
	require.NotNil(t, x)
	assert.Equal(t, "https://as.example/decide?a=1&b=2", x.at.String())
	assert.Equal(t, http.MethodPost, x.method)
	assert.Equal(t, htmlform.Button{Name: "go", Value: "1", Text: "Allow"}, x.button)
	assert.Equal(t, url.Values{"csrf": {"of the page"}, "user": {"alice"}, "pass": {""}, "all": {"on"}, "given": {"2"},
		"note": {"kept"}, "lang": {"de"}, "go": {"1"}}, x.values)
	assert.Contains(t, s.secrets, "of the page")

	for name, body := range map[string]string{"no form": "<p>Allow", "an action that is no URL": `<form action="http://%zz"><button>Allow</button></form>`} {
		assert.Nil(t, s.fill(&answer{url: at, body: body}), name)
	}
	// Letters that are longer in lower case, in what is no HTML.
	odd := s.fill(&answer{url: at, body: "<form><button>Allow</button></form><script>\u023a\u023a\u023a\u023a\u023a\u023a\u023a\u023a\u023a\u023a</script>"})
	require.NotNil(t, odd)
	assert.Equal(t, at, odd.at)
	assert.Equal(t, http.MethodGet, odd.method)
}

func TestChoose(t *testing.T) {
	form := func(texts ...string) *htmlform.Form {
		f := &htmlform.Form{Fields: []htmlform.Field{{Name: "user", Kind: "text"}}}
		for _, text := range texts {
			f.Buttons = append(f.Buttons, htmlform.Button{Text: text})
		}
		return f
	}
	for _, test := range []struct {
		name  string
		forms []*htmlform.Form
		press []string
		want  string
	}{
		{"a word", []*htmlform.Form{form("Not you?"), form("Cancel", "Allow")}, nil, "Allow"},
		{"one that is given", []*htmlform.Form{form("Ja", "Allow")}, []string{"ja"}, "Ja"},
		{"the only button", []*htmlform.Form{form("Weiter")}, nil, "Weiter"},
		{"none of two", []*htmlform.Form{form("Ja", "Nein")}, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, b := choose(test.forms, test.press, nil)
			if test.want == "" {
				assert.Nil(t, b)
				return
			}
			require.NotNil(t, b)
			assert.Equal(t, test.want, b.Text)
		})
	}
	f, b := choose([]*htmlform.Form{{}, form()}, nil, map[string]string{"user": "alice"})
	require.NotNil(t, f)
	assert.Len(t, f.Fields, 1, "the form that the fixtures fill in")
	assert.Empty(t, b.Text)
}
