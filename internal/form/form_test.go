package form_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/form"
)

// fields is a short way to write down what a test expects.
func fields(pairs ...string) []form.Field {
	list := []form.Field{}
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, form.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return list
}

// describable is the text that error_description may hold (RFC 6749, section 5.2).
func describable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7E || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

func TestParseQuery(t *testing.T) {
	long := strings.Repeat("n", form.MaxName)
	for _, test := range []struct {
		name, query string
		want        []form.Field
		fault       string // Err's description, "" if all is sound
		of          string // the parameter of ErrOf
	}{
		{"RFC 6749 4.1.1 example", "response_type=code&client_id=s6BhdRkqt3&state=xyz&redirect_uri=https%3A%2F%2Fclient%2Eexample%2Ecom%2Fcb",
			fields("response_type", "code", "client_id", "s6BhdRkqt3", "state", "xyz", "redirect_uri", "https://client.example.com/cb"), "", ""},
		{"RFC 6749 appendix B example", "a=+%25%26%2B%C2%A3%E2%82%AC", fields("a", " %&+£€"), "", ""},
		{"empty text", "", fields(), "", ""},
		{"empty pairs", "&&a=1&&&b=2&", fields("a", "1", "b", "2"), "", ""},
		{"empty name", "=x&a=1&=", fields("a", "1"), "", ""},
		{"no equals sign", "a&b=1", fields("a", "", "b", "1"), "", ""},
		{"first equals sign", "a=b=c==", fields("a", "b=c=="), "", ""},
		{"semicolon is ordinary", "a=1;b=2&c;d=3", fields("a", "1;b=2", "c;d", "3"), "", ""},
		{"lower case escapes", "a=%c3%a9%2f", fields("a", "é/"), "", ""},
		{"encoded name", "client%5fid=x", fields("client_id", "x"), "", ""},
		{"names are compared byte by byte", "State=1&state=2", fields("State", "1", "state", "2"), "", ""},
		{"S007 empty value is kept but not seen", "code_challenge=&a=1", fields("code_challenge", "", "a", "1"), "", ""},
		{"S008 unknown parameter", "foo=bar", fields("foo", "bar"), "", ""},
		{"S012 scope with a line feed", "scope=read%0Awrite", fields("scope", "read\nwrite"), "", ""},
		{"S012 scope with NUL", "scope=read%00", fields(), "Parameter is badly encoded: scope", "scope"},
		{"S015 odd bytes of state", "state=a%26b%3Dc%23d%2B%20e%25", fields("state", "a&b=c#d+ e%"), "", ""},
		{"S015 CR LF in state", "state=%0D%0ASet-Cookie:x=1", fields("state", "\r\nSet-Cookie:x=1"), "", ""},
		{"S015 state in invalid UTF-8", "a=1&state=%FF%FE", fields("a", "1"), "Parameter is badly encoded: state", "state"},
		{"S016 NUL in client_id", "client_id=P%00", fields(), "Parameter is badly encoded: client_id", "client_id"},
		{"S016 raw NUL in redirect_uri", "redirect_uri=https://app.example/cb\x00.evil", fields(), "Parameter is badly encoded: redirect_uri", "redirect_uri"},
		{"S016 overlong slash", "client_id=%C0%AF", fields(), "Parameter is badly encoded: client_id", "client_id"},
		{"escaped surrogate", "state=%ED%A0%80", fields(), "Parameter is badly encoded: state", "state"},
		{"raw invalid UTF-8", "state=\xff", fields(), "Parameter is badly encoded: state", "state"},
		{"escape cut off", "a=%", fields(), "Parameter is badly encoded: a", "a"},
		{"escape cut short", "a=%4&b=1", fields("b", "1"), "Parameter is badly encoded: a", "a"},
		{"escape of no hex digits", "a=%zz&b=1", fields("b", "1"), "Parameter is badly encoded: a", "a"},
		{"escape with one hex digit", "a=%4g", fields(), "Parameter is badly encoded: a", "a"},
		{"escape whose first digit would make it a text", "a=%Z0%90%80%80", fields(), "Parameter is badly encoded: a", "a"},
		{"escape with a sign", "a=%+1", fields(), "Parameter is badly encoded: a", "a"},
		{"bad name", "a%zz=1&b=1", fields("b", "1"), "Parameter name is badly encoded", ""},
		{"NUL in a name", "a%00=1&b=1", fields("b", "1"), "Parameter name is badly encoded", ""},
		{"long name", long + "=1", fields(long, "1"), "", ""},
		{"too long a name", long + "n=1&b=1", fields("b", "1"), "Parameter name is too long", ""},
		{"S003 duplicate", "response_type=code&response_type=code", fields(), "Parameter appears more than once: response_type", "response_type"},
		{"S004 duplicate redirect_uri", "redirect_uri=https://app.example/cb&a=1&redirect_uri=https://evil.example/", fields("a", "1"), "Parameter appears more than once: redirect_uri", "redirect_uri"},
		{"S005 duplicate state", "state=1&state=2", fields(), "Parameter appears more than once: state", "state"},
		{"S005 duplicate, the first empty", "scope=&scope=a", fields(), "Parameter appears more than once: scope", "scope"},
		{"S005 duplicate, the second empty", "scope=a&scope=", fields(), "Parameter appears more than once: scope", "scope"},
		{"S005 duplicate under an encoded name", "scope=a&%73cope=b", fields(), "Parameter appears more than once: scope", "scope"},
		{"duplicate of a defective one", "a=%zz&a=1", fields(), "Parameter is badly encoded: a", "a"},
		{"unknown duplicate", "foo=1&foo=1", fields(), "Parameter appears more than once: foo", "foo"},
		{"RFC 8707 2 resource may be repeated", "resource=a&resource=b&audience=c&audience=c", fields("resource", "a", "resource", "b", "audience", "c", "audience", "c"), "", ""},
		{"one bad resource", "resource=a&resource=%zz", fields(), "Parameter is badly encoded: resource", "resource"},
		{"name that is not shown", "a%22b=1&a%22b=2", fields(), "Parameter appears more than once", `a"b`},
		{"long name that is not shown", long + "=1&" + long + "=2", fields(), "Parameter appears more than once", long},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := form.ParseQuery(test.query, 1000)
			assert.Equal(t, test.want, v.Fields())
			if test.fault == "" {
				require.Nil(t, v.Err())
				return
			}
			require.NotNil(t, v.Err())
			assert.EqualError(t, v.Err(), test.fault)
			assert.True(t, describable(v.Err().Description))
			assert.Equal(t, 400, v.Err().Status)
			_, shown, _ := strings.Cut(test.fault, ": ")
			assert.Equal(t, shown, v.Err().Parameter)
			assert.Nil(t, v.ErrOf("sound"))
			if test.of != "" {
				assert.Same(t, v.Err(), v.ErrOf(test.of))
			}
		})
	}
}

func TestParseQueryLimits(t *testing.T) {
	t.Run("text of the length", func(t *testing.T) {
		v := form.ParseQuery("a=123", 5)
		assert.Nil(t, v.Err())
		assert.Equal(t, "123", v.Get("a"))
	})
	t.Run("S015 longer text", func(t *testing.T) {
		v := form.ParseQuery("a=1234", 5)
		require.EqualError(t, v.Err(), "Request is too long")
		assert.NotNil(t, v.ErrOf("a"))
		assert.NotNil(t, v.ErrOf("other"))
		assert.Empty(t, v.Fields())
	})
	t.Run("S348 number of fields", func(t *testing.T) {
		query := "client_id=P" + strings.Repeat("&resource=a", form.MaxFields-1)
		require.Nil(t, form.ParseQuery(query, form.MaxBody).Err())
		v := form.ParseQuery(query+"&&", form.MaxBody)
		require.Nil(t, v.Err(), "empty pairs are no fields")

		v = form.ParseQuery(query+"&state=x", form.MaxBody)
		require.EqualError(t, v.Err(), "Too many parameters")
		assert.Equal(t, "P", v.Get("client_id"), "what came before is still there, for a guard to count by")
		assert.NotNil(t, v.ErrOf("client_id"))
		assert.NotNil(t, v.ErrOf("other"))
		assert.False(t, v.Has("state"), "scanning stops")
		assert.Empty(t, v.Fields())
		assert.Empty(t, encode(v))
	})
}

func TestValues(t *testing.T) {
	t.Run("RFC 6749 3.1 empty means omitted", func(t *testing.T) {
		v := form.New(fields("a", "", "resource", "", "resource", "r", "b", "2")...)
		require.Nil(t, v.Err())
		assert.False(t, v.Has("a"))
		assert.Empty(t, v.Get("a"))
		assert.Nil(t, v.All("a"))
		assert.True(t, v.Has("b"))
		assert.Equal(t, "r", v.Get("resource"))
		assert.Equal(t, []string{"r"}, v.All("resource"))
		assert.Equal(t, "resource=r&b=2", encode(v))
	})
	t.Run("S005 the first value of a duplicate", func(t *testing.T) {
		v := form.ParseQuery("state=1&state=2", 100)
		assert.Equal(t, "1", v.Get("state"))
		assert.Equal(t, []string{"1"}, v.All("state"))
	})
	t.Run("S005 a duplicate does not stand in for an unreadable first", func(t *testing.T) {
		assert.False(t, form.ParseQuery("state=%zz&state=2", 100).Has("state"))
	})
	t.Run("New judges", func(t *testing.T) {
		assert.EqualError(t, form.New(fields("a", "1", "a", "1")...).Err(), "Parameter appears more than once: a")
		assert.EqualError(t, form.New(fields("a", "\x00")...).Err(), "Parameter is badly encoded: a")
		assert.EqualError(t, form.New(make([]form.Field, form.MaxFields+1)...).Err(), "Too many parameters")
	})
	t.Run("the zero Values", func(t *testing.T) {
		var v form.Values
		assert.Nil(t, v.Err())
		assert.Nil(t, v.ErrOf("a"))
		assert.Empty(t, v.Fields())
		assert.Empty(t, encode(&v))
		assert.False(t, v.Has("a"))
	})
	t.Run("Fields is a copy", func(t *testing.T) {
		v := form.New(fields("a", "1")...)
		v.Fields()[0].Value = "2"
		assert.Equal(t, "1", v.Get("a"))
	})
	t.Run("more fields than the usual", func(t *testing.T) {
		var want []form.Field
		for i := range form.MaxFields {
			want = append(want, form.Field{Name: "n" + strings.Repeat("x", i), Value: "v"})
		}
		v := form.New(want...)
		require.Nil(t, v.Err())
		assert.Equal(t, want, v.Fields())
		assert.Equal(t, want, form.ParseQuery(encode(v), form.MaxBody).Fields())
	})
	t.Run("S015 the sound fields give the same request", func(t *testing.T) {
		v := form.New(fields("state", "a&b=c#d+ e%\r\n;é", "x y", "=", "empty", "")...)
		assert.Equal(t, "state=a%26b%3Dc%23d%2B+e%25%0D%0A%3B%C3%A9&x+y=%3D", encode(v))
	})
	t.Run("several defects, the first counts", func(t *testing.T) {
		v := form.ParseQuery("a=1&a=2&b=%zz&c=3", 100)
		assert.EqualError(t, v.Err(), "Parameter appears more than once: a")
		assert.EqualError(t, v.ErrOf("b"), "Parameter is badly encoded: b")
		assert.Nil(t, v.ErrOf("c"))
		assert.Equal(t, "c=3", encode(v))
	})
}

func TestParseQueryAllocations(t *testing.T) {
	const query = "response_type=code&client_id=s6BhdRkqt3&state=xyz&scope=read&code_challenge_method=S256"
	var v *form.Values
	allocations := testing.AllocsPerRun(100, func() { v = form.ParseQuery(query, form.MaxBody) })
	assert.Equal(t, "xyz", v.Get("state"))
	assert.LessOrEqual(t, allocations, 1.0, "values without escapes are parts of the text")
}

// encode is the urlencoded text of the sound fields that have a value, in order.
func encode(v *form.Values) string {
	var pairs []string
	for _, f := range v.Fields() {
		if f.Value != "" {
			pairs = append(pairs, url.QueryEscape(f.Name)+"="+url.QueryEscape(f.Value))
		}
	}
	return strings.Join(pairs, "&")
}
