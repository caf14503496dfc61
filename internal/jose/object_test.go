package jose_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/jose"
)

func TestParseObject(t *testing.T) {
	for name, data := range map[string]string{
		"S289 name twice":         `{"sub":"J","sub":"admin"}`,
		"S289 name twice, spelt":  `{"sub":"J","s\u0075b":"admin"}`,
		"S289 NaN":                `{"exp":NaN}`,
		"S264 trailing data":      `{} {}`,
		"S264 trailing comma":     `{"a":1,}`,
		"RFC 8259 4 not an array": `[]`,
		"a string":                `"{}"`,
		"null":                    `null`,
		"nothing":                 ``,
		"not UTF-8":               "{\"a\":\"\xff\"}",
		"byte order mark":         "\ufeff{}",
		"comment":                 `{/**/}`,
		"open":                    `{"a":1`,
	} {
		t.Run(name, func(t *testing.T) {
			o, err := jose.ParseObject([]byte(data))
			assert.Nil(t, o)
			assert.EqualError(t, err, "jose: not a JSON object with unique members")
		})
	}
	o, err := jose.ParseObject([]byte(` {"Sub":"x","a":{"b":1}} `))
	require.NoError(t, err)
	assert.False(t, o.Has("sub"), "S289 names are compared byte by byte")
	assert.True(t, o.Has("Sub"))
	assert.Equal(t, 2, o.Len())
	assert.Equal(t, "", o.Text("sub"), "what is absent is zero")
	assert.NoError(t, o.Err())
	o.Require("a", "sub")
	assert.EqualError(t, o.Err(), "jose: there is no member sub")
	o.Require("b")
	assert.EqualError(t, o.Err(), "jose: there is no member sub", "the first is remembered")
}

func TestObjectTypes(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	text := func(o *jose.Object) any { return o.Text("m") }
	texts := func(o *jose.Object) any { return o.Texts("m") }
	either := func(o *jose.Object) any { return o.TextOrTexts("m") }
	truth := func(o *jose.Object) any { return o.Bool("m") }
	date := func(o *jose.Object) any { return o.Date("m") }
	inner := func(o *jose.Object) any { return o.Object("m") != nil }
	for _, tt := range []struct {
		name   string
		read   func(o *jose.Object) any
		member string
		want   any // nil: the wrong type
	}{
		{"text", text, `"a\u00e9"`, "aé"}, {"empty text", text, `""`, ""},
		{"text null", text, `null`, nil}, {"text number", text, `1`, nil}, {"text object", text, `{}`, nil}, {"text array", text, `["a"]`, nil},
		{"texts", texts, `["a","b"]`, []string{"a", "b"}}, {"no texts", texts, `[]`, []string{}},
		{"texts null", texts, `null`, nil}, {"texts of null", texts, `["a",null]`, nil}, {"texts of numbers", texts, `[1]`, nil},
		{"texts nested", texts, `[["a"]]`, nil}, {"texts text", texts, `"a"`, nil},
		{"RFC 7519 4.1.3 aud text", either, `"a"`, []string{"a"}}, {"RFC 7519 4.1.3 aud texts", either, `["a","b"]`, []string{"a", "b"}},
		{"S290 aud number", either, `1`, nil}, {"S290 aud null", either, `null`, nil}, {"S290 aud nested", either, `[["a"]]`, nil},
		{"S290 aud object", either, `{"a":"b"}`, nil},
		{"RFC 7662 2.2 true", truth, `true`, true}, {"RFC 7662 2.2 false", truth, `false`, false},
		{"active text", truth, `"true"`, nil}, {"active number", truth, `1`, nil}, {"active null", truth, `null`, nil},
		{"RFC 7519 2 date", date, `1893553445`, at(1893553445)}, {"date 0", date, `0`, at(0)}, {"date with a fraction", date, `1.999`, at(1)},
		{"date with an exponent", date, `1.5e9`, at(1500000000)}, {"date, the last", date, `253402300799`, at(253402300799)},
		{"S289 date beyond", date, `253402300800`, nil}, {"S289 1e400", date, `1e400`, nil}, {"S289 2^63", date, `9223372036854775808`, nil},
		{"S289 negative", date, `-1`, nil}, {"S289 text", date, `"123"`, nil}, {"S289 date true", date, `true`, nil}, {"S289 date null", date, `null`, nil},
		{"S289 date array", date, `[1]`, nil}, {"date -0", date, `-0`, at(0)},
		{"object", inner, `{"a":1}`, true}, {"object twice", inner, `{"a":1,"a":1}`, nil}, {"object null", inner, `null`, nil}, {"object array", inner, `[]`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := jose.ParseObject([]byte(`{"m":` + tt.member + `}`))
			require.NoError(t, err)
			got := tt.read(o)
			if tt.want == nil {
				require.Error(t, o.Err())
				assert.Regexp(t, `^jose: not [a-z ]+: m$`, o.Err().Error())
				return
			}
			require.NoError(t, o.Err())
			assert.Equal(t, tt.want, got)
		})
	}
	o, err := jose.ParseObject([]byte(`{}`))
	require.NoError(t, err)
	assert.Equal(t, []any{"", []string(nil), []string(nil), false, time.Time{}, false},
		[]any{text(o), texts(o), either(o), truth(o), date(o), inner(o)})
	assert.NoError(t, o.Err())
}

func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"m":"a"}`))
	f.Add([]byte(`{"m":["a",null]}`))
	f.Add([]byte(`{"m":1e9,"M":2}`))
	f.Add([]byte(`{"m":{"m":true}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := jose.ParseObject(data)
		if err != nil {
			return
		}
		o.Text("m")
		o.Texts("m")
		o.TextOrTexts("m")
		o.Bool("m")
		o.Object("m")
		if o.Has("m") && o.Err() == nil {
			t.Fatalf("of all types at once: %q", data)
		}
		if d := o.Date("m"); !d.IsZero() && (d.Year() < 1970 || d.Year() > 9999) {
			t.Fatal(d)
		}
	})
}
