package form_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/form"
)

func text(s string) bool     { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
func escape(s string) string { return url.QueryEscape(s) }

// grouped is what the fields say, without their order and without what is empty.
func grouped(list []form.Field) url.Values {
	values := url.Values{}
	for _, f := range list {
		if f.Name != "" && f.Value != "" {
			values.Add(f.Name, f.Value)
		}
	}
	return values
}

// checkDefects asserts what holds for the defects of any request.
func checkDefects(t *testing.T, v *form.Values, err *form.Error) {
	for _, e := range []*form.Error{err, v.Err(), v.ErrOf("state")} {
		if e == nil {
			continue
		}
		assert.Contains(t, []int{400, 413}, e.Status)
		assert.True(t, describable(e.Description), "%q", e.Description)
		assert.True(t, e.Parameter == "" || strings.HasSuffix(e.Description, ": "+e.Parameter))
		assert.Empty(t, strings.Trim(e.Parameter, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."))
	}
	for _, f := range v.Fields() {
		assert.True(t, f.Name != "" && text(f.Name) && text(f.Value))
		assert.Nil(t, v.ErrOf(f.Name))
		assert.Equal(t, v.Has(f.Name), v.Get(f.Name) != "")
		assert.Equal(t, v.Has(f.Name), len(v.All(f.Name)) > 0)
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, query := range []string{
		"", "a=1&b=2", "a=%zz&%zz=a", "&&=x&a", "a=1&a=2", "resource=1&resource=2", "a=+%25%26%2B%C2%A3%E2%82%AC", "a;b=1;2",
		"state=%FF%FE&x=%00", strings.Repeat("a&", 101), "a=%4", "=%0", "a%3d=%2B&a=b=c", strings.Repeat("n", 129) + "=1",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		v := form.ParseQuery(query, form.MaxBody)
		checkDefects(t, v, nil)

		again := form.ParseQuery(encode(v), 4*form.MaxBody)
		require.Nil(t, again.Err(), "sound fields are a sound request")
		filled := slices.DeleteFunc(v.Fields(), func(f form.Field) bool { return f.Value == "" })
		assert.Equal(t, filled, again.Fields())

		want, err := url.ParseQuery(query)
		if v.Err() != nil || strings.Contains(query, ";") {
			return
		}
		if !strings.HasPrefix(query, "=") && !strings.Contains(query, "&=") { // what has no name is not looked at
			require.NoError(t, err, "net/url is nowhere stricter, semicolons apart")
		}
		var fields []form.Field
		for name, values := range want {
			for _, value := range values {
				fields = append(fields, form.Field{Name: name, Value: value})
			}
		}
		assert.Equal(t, grouped(fields), grouped(v.Fields()))
	})
}

func FuzzRead(f *testing.F) {
	f.Add("grant_type=a", formType, "", "P", []byte("grant_type=a&b=%20"), true, false, false)
	f.Add("client_secret=a&x=1", "application/json; charset=utf-8", "identity", "", []byte(`{"a":"b","resource":["c"]}`), true, true, true)
	f.Add("client_id=P&%zz=%zz", "multipart/form-data; boundary=b", "gzip", "\x01", []byte("--b--"), false, false, true)
	f.Add("grant_type=%zz", formType+"; charset=latin1", "", "Q", []byte("client_id=P&client_id=P"), false, true, false)
	f.Fuzz(func(t *testing.T, query, media, coding, header string, body []byte, readForm, readJSON, unknown bool) {
		decoder := form.Decoder{
			Form: readForm, JSON: readJSON,
			Query:   []string{"grant_type", "resource", "client_id", "code"},
			Headers: []form.Header{{Name: "X-Client-Id", Parameter: "client_id"}},
		}
		r := post(query, media, string(body))
		if unknown {
			r.ContentLength = -1
		}
		r.Header["Content-Encoding"] = []string{coding}
		r.Header["X-Client-Id"] = []string{header}
		v, err := decoder.Read(r)
		require.NotNil(t, v)
		checkDefects(t, v, err)

		// Nothing but what the decoder names comes from the query.
		empty := post(query, "", "")
		q, err := decoder.Read(empty)
		checkDefects(t, q, err)
		for _, field := range q.Fields() {
			assert.Contains(t, []string{"grant_type", "resource"}, field.Name)
		}
		if err == nil && q.Err() == nil {
			alone, _ := url.ParseQuery(query)
			for name := range alone {
				assert.False(t, form.Secret(name) && alone.Get(name) != "", "a secret in the URL is refused")
			}
		}
		// A body read as a form says what the same text says as a query.
		b, err := form.Decoder{}.Read(post("", formType, string(body)))
		if err == nil {
			assert.Equal(t, form.ParseQuery(string(body), form.MaxBody).Fields(), b.Fields())
		} else {
			assert.Greater(t, len(body), form.MaxBody)
		}
	})
}
