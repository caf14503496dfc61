package form_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/form"
)

func TestReadJSON(t *testing.T) {
	const broken = "Request body is not a JSON object"
	for _, test := range []struct {
		name, body string
		want       []form.Field
		refused    string // the *Error
		fault      string // Values.Err
	}{
		{"FS-09 sample", ` {"grant_type": "refresh_token", "refresh_token": "r", "client_id": "c"} `,
			fields("grant_type", "refresh_token", "refresh_token", "r", "client_id", "c"), "", ""},
		{"empty object", `{}`, fields(), "", ""},
		{"escapes", `{"\u0061":"\ud83d\ude00\n\"\\ud800"}`, fields("a", "😀\n\"\\ud800"), "", ""},
		{"the replacement character itself", `{"a":"` + "\uFFFD" + `\ufffd"}`, fields("a", "\uFFFD\uFFFD"), "", ""},
		{"S007 empty value", `{"a":""}`, fields("a", ""), "", ""},
		{"empty name", `{"":"x","":1,"a":"1"}`, fields("a", "1"), "", ""},
		{"S264 names are compared byte by byte", `{"Client_ID":"a","client_id":"b"}`, fields("Client_ID", "a", "client_id", "b"), "", ""},
		{"RFC 8707 2 array of resources", `{"resource":["a","b"],"audience":["c"]}`, fields("resource", "a", "resource", "b", "audience", "c"), "", ""},
		{"one resource as a string", `{"resource":"a"}`, fields("resource", "a"), "", ""},
		{"empty array of resources", `{"resource":[]}`, fields(), "", ""},
		{"S264 duplicate member", `{"a":"1","a":"1"}`, fields(), "", "Parameter appears more than once: a"},
		{"S264 duplicate member under an escape", `{"a":"1","\u0061":"2"}`, fields(), "", "Parameter appears more than once: a"},
		{"S264 duplicate array", `{"resource":[],"resource":["a"]}`, fields(), "", "Parameter appears more than once: resource"},
		{"S264 number", `{"a":1e999,"b":"x"}`, fields("b", "x"), "", "Parameter must be a string: a"},
		{"S264 boolean", `{"a":true}`, fields(), "", "Parameter must be a string: a"},
		{"S264 null", `{"client_secret":null}`, fields(), "", "Parameter must be a string: client_secret"},
		{"S264 object", `{"scope":{"a":["b",{}]},"b":"x"}`, fields("b", "x"), "", "Parameter must be a string: scope"},
		{"S264 array", `{"scope":["a"]}`, fields(), "", "Parameter must be a string: scope"},
		{"S264 array of other things", `{"resource":["a",1,[["b"]],null]}`, fields(), "", "Parameter must be a string: resource"},
		{"NUL", `{"a":"x\u0000","b":"y"}`, fields("b", "y"), "", "Parameter is badly encoded: a"},
		{"NUL in a name", `{"a\u0000":"x","b":"y"}`, fields("b", "y"), "", "Parameter name is badly encoded"},
		{"S264 trailing data", `{"a":"1"}{}`, fields(), broken, ""},
		{"S264 trailing text", `{"a":"1"} x`, fields(), broken, ""},
		{"trailing comma", `{"a":"1",}`, fields(), broken, ""},
		{"FS-10 array", `["a"]`, fields(), broken, ""},
		{"FS-10 string", `"a"`, fields(), broken, ""},
		{"FS-10 null", `null`, fields(), broken, ""},
		{"FS-10 form text", `grant_type=password`, fields(), broken, ""},
		{"FS-10 cut off", `{"a":"1"`, fields(), broken, ""},
		{"spaces only", `  `, fields(), broken, ""},
		{"byte order mark", "\uFEFF{}", fields(), broken, ""},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", fields(), broken, ""},
		{"lone high surrogate", `{"a":"\ud800"}`, fields(), broken, ""},
		{"lone low surrogate", `{"a":"\uDC00"}`, fields(), broken, ""},
		{"two high surrogates", `{"a":"\ud800\ud800\udc00"}`, fields(), broken, ""},
		{"high surrogate before another escape", `{"a":"\ud800\n\udc00"}`, fields(), broken, ""},
		{"lone surrogate in a name", `{"\udfff":"a"}`, fields(), broken, ""},
		{"lone surrogate in a nested value", `{"a":["\ud800"]}`, fields(), broken, ""},
		{"pair then lone surrogate", `{"a":"\ud83d\ude00\ude00"}`, fields(), broken, ""},
		{"depth", strings.Repeat("[", form.MaxBody), fields(), broken, ""},
		{"depth inside a member", `{"a":` + strings.Repeat(`[`, 30000) + strings.Repeat(`]`, 30000) + `}`, fields(), broken, ""},
		{"less depth inside a member", `{"a":` + strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000) + `,"b":"x"}`, fields("b", "x"), "", "Parameter must be a string: a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := form.Decoder{JSON: true}.Read(post("", "application/json", test.body))
			require.NotNil(t, v)
			assert.Equal(t, test.want, v.Fields())
			if test.refused != "" {
				require.NotNil(t, err)
				assert.Equal(t, form.Error{Status: 400, Description: test.refused}, *err)
				return
			}
			require.Nil(t, err)
			if test.fault == "" {
				assert.Nil(t, v.Err())
				return
			}
			assert.EqualError(t, v.Err(), test.fault)
		})
	}
}

func TestReadJSONLimits(t *testing.T) {
	read := func(body string) *form.Values {
		v, err := form.Decoder{JSON: true}.Read(post("", "application/json", body))
		require.Nil(t, err)
		return v
	}
	array := func(n int) string { return `["r"` + strings.Repeat(`,"r"`, n-1) + `]` }
	t.Run("S348 elements", func(t *testing.T) {
		assert.Nil(t, read(`{"resource":`+array(form.MaxFields)+`}`).Err())
		v := read(`{"resource":` + array(form.MaxFields+1) + `,"a":"b"}`)
		assert.EqualError(t, v.Err(), "Too many parameters")
		assert.Len(t, v.All("resource"), form.MaxFields)
		assert.NotNil(t, v.ErrOf("a"))
	})
	t.Run("S348 elements and members", func(t *testing.T) {
		assert.Nil(t, read(`{"a":"b","resource":`+array(form.MaxFields-1)+`}`).Err())
		assert.EqualError(t, read(`{"a":"b","resource":`+array(form.MaxFields)+`}`).Err(), "Too many parameters")
	})
	t.Run("long names", func(t *testing.T) {
		name := strings.Repeat("n", form.MaxName)
		assert.Nil(t, read(`{"`+name+`":"b"}`).Err())
		assert.EqualError(t, read(`{"`+name+`n":"b"}`).Err(), "Parameter name is too long")
	})
}

func FuzzJSON(f *testing.F) {
	for _, body := range []string{
		`{"a":"b","resource":["c","d"]}`, `{"a":"\ud83d\ude00","b":1}`, `{"a":"\ud800"}`, `{"\\\u0061":"\\ud800"}`,
		`{"a":"b"}{}`, `{"a":[[[{"b":null}]]]}`, `[1]`, "{\"a\":\"\xff\"}", `{"a":"1","a":"2"}`, ` {"resource":[ ], "":""} `,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := form.Decoder{JSON: true}.Read(post("", "application/json", string(body)))
		if err != nil {
			assert.Empty(t, v.Fields())
			return
		}
		if v.Err() != nil || len(body) == 0 {
			return
		}
		// All was accepted: encoding/json has to read the same.
		var want map[string]any
		require.NoError(t, json.Unmarshal(body, &want))
		got := map[string][]string{}
		for _, field := range v.Fields() {
			got[field.Name] = append(got[field.Name], field.Value)
		}
		for name, value := range want {
			switch value := value.(type) {
			case string:
				if name != "" {
					assert.Equal(t, []string{value}, got[name])
				}
			case []any:
				require.Contains(t, []string{"resource", "audience", ""}, name)
				assert.Len(t, got[name], len(value)*min(len(name), 1))
				for i, s := range got[name] {
					assert.Equal(t, value[i], s)
				}
			default:
				assert.Empty(t, name, "only the parameter without a name may be no string")
			}
			delete(got, name)
		}
		assert.Empty(t, slices.Sorted(maps.Keys(got)), "nothing was made up")
	})
}

// post makes a request with a body of known length.
func post(query, contentType, body string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, "https://as.example/token", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.URL.RawQuery = query
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}
