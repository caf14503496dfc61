package form_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/form"
)

const (
	formType = "application/x-www-form-urlencoded"
	wantForm = "Content-Type must be application/x-www-form-urlencoded"
)

func TestReadContentType(t *testing.T) {
	const body = "grant_type=client_credentials"
	both, onlyJSON := form.Decoder{Form: true, JSON: true}, form.Decoder{JSON: true}
	for _, test := range []struct {
		name    string
		decoder form.Decoder
		media   string
		body    string
		refused string
	}{
		{"RFC 6749 appendix B", form.Decoder{}, formType, body, ""},
		{"form named", form.Decoder{Form: true}, formType, body, ""},
		{"media type in any case", form.Decoder{}, "Application/X-WWW-Form-URLEncoded", body, ""},
		{"charset", form.Decoder{}, formType + "; charset=UTF-8", body, ""},
		{"quoted charset", form.Decoder{}, formType + `;Charset="utf-8"`, body, ""},
		{"other parameters", form.Decoder{}, formType + "; boundary=x; q=1", body, ""},
		{"other charset", form.Decoder{}, formType + "; charset=iso-8859-1", body, "Charset of the Content-Type must be utf-8"},
		{"unreadable parameters", form.Decoder{}, formType + "; charset", body, wantForm},
		{"two charsets", form.Decoder{}, formType + "; charset=utf-8; charset=utf-7", body, wantForm},
		{"no Content-Type", form.Decoder{}, "", body, wantForm},
		{"no Content-Type, empty body", form.Decoder{}, "", "", ""},
		{"FP-01 another Content-Type, empty body", form.Decoder{}, "text/plain", "", ""},
		{"S096 JSON", form.Decoder{}, "application/json", `{"grant_type":"client_credentials"}`, wantForm},
		{"S097 multipart", form.Decoder{}, "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nclient_credentials\r\n--b--\r\n", wantForm},
		{"S097 text", form.Decoder{}, "text/plain", body, wantForm},
		{"longer type", form.Decoder{}, formType + "2", body, wantForm},
		{"several types in one line", form.Decoder{}, formType + ", application/json", body, wantForm},
		{"FS-09 JSON", onlyJSON, "application/json", `{"grant_type":"client_credentials"}`, ""},
		{"FS-09 JSON with charset", onlyJSON, "application/json; charset=utf-8", `{"grant_type":"client_credentials"}`, ""},
		{"JSON in another charset", onlyJSON, "application/json; charset=utf-16", `{}`, "Charset of the Content-Type must be utf-8"},
		{"form where JSON is read", onlyJSON, formType, body, "Content-Type must be application/json"},
		{"form where both are read", both, formType, body, ""},
		{"JSON where both are read", both, "application/json", `{"grant_type":"client_credentials"}`, ""},
		{"neither where both are read", both, "application/xml", body, wantForm + " or application/json"},
		{"empty JSON body", onlyJSON, "application/json", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := test.decoder.Read(post("", test.media, test.body))
			require.NotNil(t, v)
			require.Nil(t, v.Err())
			if test.refused != "" {
				require.NotNil(t, err)
				assert.Equal(t, form.Error{Status: 400, Description: test.refused}, *err)
				assert.Empty(t, v.Fields())
				return
			}
			require.Nil(t, err)
			if test.body == "" {
				assert.Empty(t, v.Fields())
				return
			}
			assert.Equal(t, fields("grant_type", "client_credentials"), v.Fields())
		})
	}
	t.Run("two Content-Type lines", func(t *testing.T) {
		r := post("", formType, body)
		r.Header.Add("Content-Type", "application/json")
		_, err := both.Read(r)
		assert.EqualError(t, err, wantForm+" or application/json")
	})
	for coding, refused := range map[string]bool{"gzip": true, "identity, gzip": true, "br": true, "identity": false, "Identity": false, "": false} {
		t.Run("Content-Encoding "+coding, func(t *testing.T) {
			r := post("", formType, body)
			r.Header.Set("Content-Encoding", coding)
			v, err := form.Decoder{}.Read(r)
			if !refused {
				assert.Nil(t, err)
				assert.True(t, v.Has("grant_type"))
				return
			}
			assert.EqualError(t, err, "Content-Encoding is not supported")
			assert.False(t, v.Has("grant_type"))
		})
	}
}

func TestReadBody(t *testing.T) {
	read := func(r *http.Request) (*form.Values, *form.Error) { return form.Decoder{}.Read(r) }
	value := func(n int) string { return "a=" + strings.Repeat("x", n-2) }
	t.Run("no body at all", func(t *testing.T) {
		r := post("", "", "")
		r.Body = nil
		v, err := read(r)
		require.Nil(t, err)
		assert.Empty(t, v.Fields())
	})
	t.Run("in small pieces, length unknown", func(t *testing.T) {
		text := "a=" + strings.Repeat("0123456789", 1000) + "&b=2"
		r := post("", formType, "")
		r.Body, r.ContentLength = io.NopCloser(iotest.OneByteReader(strings.NewReader(text))), -1
		v, err := read(r)
		require.Nil(t, err)
		assert.Equal(t, fields("a", strings.Repeat("0123456789", 1000), "b", "2"), v.Fields())
	})
	t.Run("length is wrong", func(t *testing.T) {
		r := post("", formType, "a=1&b=2")
		r.ContentLength = 0
		v, err := read(r)
		require.Nil(t, err)
		assert.Equal(t, "a=1&b=2", encode(v))
	})
	t.Run("last bytes come with the end", func(t *testing.T) {
		r := post("", formType, "")
		r.Body = io.NopCloser(iotest.DataErrReader(strings.NewReader(value(form.MaxBody))))
		v, err := read(r)
		require.Nil(t, err)
		assert.Len(t, v.Get("a"), form.MaxBody-2)
	})
	for _, unknown := range []bool{false, true} {
		name := " unknown length " + strconv.FormatBool(unknown)
		t.Run("largest body,"+name, func(t *testing.T) {
			r := post("", formType, value(form.MaxBody))
			if unknown {
				r.ContentLength = -1
			}
			v, err := read(r)
			require.Nil(t, err)
			assert.Len(t, v.Get("a"), form.MaxBody-2)
		})
		t.Run("larger body,"+name, func(t *testing.T) {
			r := post("", formType, value(form.MaxBody+1))
			if unknown {
				r.ContentLength = -1
			}
			v, err := read(r)
			require.NotNil(t, err)
			assert.Equal(t, form.Error{Status: 413, Description: "Request body is too large"}, *err)
			assert.Empty(t, v.Fields())
		})
	}
	t.Run("larger body that comes with its end", func(t *testing.T) {
		r := post("", formType, "")
		r.Body, r.ContentLength = io.NopCloser(iotest.DataErrReader(strings.NewReader(value(form.MaxBody+1)))), -1
		_, err := read(r)
		require.NotNil(t, err)
		assert.Equal(t, 413, err.Status)
	})
	t.Run("larger body that is announced is not read", func(t *testing.T) {
		r := post("", formType, "")
		r.Body, r.ContentLength = io.NopCloser(iotest.ErrReader(errors.New("read"))), form.MaxBody+1
		_, err := read(r)
		require.NotNil(t, err)
		assert.Equal(t, 413, err.Status)
	})
	t.Run("S348 announced length makes no room", func(t *testing.T) {
		r := post("", formType, "a=1")
		r.ContentLength = form.MaxBody
		assert.Less(t, allocated(func() { _, _ = read(r) }), uint64(form.MaxBody/4))
	})
	t.Run("a smaller limit of the host", func(t *testing.T) {
		r := post("", formType, value(1000))
		r.Body = http.MaxBytesReader(nil, r.Body, 10)
		_, err := read(r)
		require.NotNil(t, err)
		assert.Equal(t, 413, err.Status)
	})
	t.Run("client gone", func(t *testing.T) {
		r := post("", formType, "")
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("a=1"), iotest.ErrReader(errors.New("reset by 192.0.2.1"))))
		v, err := read(r)
		require.NotNil(t, err)
		assert.Equal(t, form.Error{Status: 400, Description: "Request body cannot be read"}, *err)
		assert.Empty(t, v.Fields(), "half a request is none")
	})
	t.Run("S348 fields of a body", func(t *testing.T) {
		v, err := read(post("", formType, "client_id=P&"+strings.Repeat("resource=r&", form.MaxFields)))
		require.Nil(t, err)
		assert.EqualError(t, v.Err(), "Too many parameters")
		assert.Equal(t, "P", v.Get("client_id"))
	})
	t.Run("FS-28 client_id where the body is refused", func(t *testing.T) {
		r := post("", "text/plain", "a=1")
		r.Header.Set("X-Client-Id", "P")
		v, err := form.Decoder{Headers: []form.Header{{Name: "X-Client-Id", Parameter: "client_id"}}}.Read(r)
		require.NotNil(t, err)
		assert.Equal(t, "P", v.Get("client_id"))
	})
}

func TestReadParsedForm(t *testing.T) {
	parse := func(t *testing.T, r *http.Request) *http.Request {
		require.NoError(t, r.ParseForm())
		return r
	}
	t.Run("taken", func(t *testing.T) {
		v, err := form.Decoder{}.Read(parse(t, post("c=3", formType, "b=2&a=1&resource=y&resource=x")))
		require.Nil(t, err)
		require.Nil(t, v.Err())
		assert.Equal(t, fields("a", "1", "b", "2", "resource", "y", "resource", "x"), v.Fields())
	})
	t.Run("S003 duplicate", func(t *testing.T) {
		v, err := form.Decoder{}.Read(parse(t, post("", formType, "a=1&a=1")))
		require.Nil(t, err)
		assert.EqualError(t, v.Err(), "Parameter appears more than once: a")
	})
	t.Run("S016 NUL", func(t *testing.T) {
		v, err := form.Decoder{}.Read(parse(t, post("", formType, "a=%00")))
		require.Nil(t, err)
		assert.EqualError(t, v.ErrOf("a"), "Parameter is badly encoded: a")
	})
	t.Run("size", func(t *testing.T) {
		r := parse(t, post("", formType, "a="+strings.Repeat("x", form.MaxBody)))
		r.ContentLength = -1
		v, err := form.Decoder{}.Read(r)
		require.NotNil(t, err)
		assert.Equal(t, 413, err.Status)
		assert.Empty(t, v.Fields())
	})
	t.Run("S348 fields", func(t *testing.T) {
		v, err := form.Decoder{}.Read(parse(t, post("", formType, strings.Repeat("resource=r&", form.MaxFields))))
		require.Nil(t, err)
		require.Nil(t, v.Err())
		assert.Len(t, v.All("resource"), form.MaxFields)
		v, err = form.Decoder{}.Read(parse(t, post("", formType, strings.Repeat("resource=r&", form.MaxFields+1))))
		require.Nil(t, err)
		assert.EqualError(t, v.ErrOf("any"), "Too many parameters")
	})
	t.Run("S096 another type is still read", func(t *testing.T) {
		v, err := form.Decoder{JSON: true}.Read(parse(t, post("", "application/json", `{"a":"1"}`)))
		require.Nil(t, err)
		assert.Equal(t, "1", v.Get("a"))
	})
	t.Run("form where JSON is read", func(t *testing.T) {
		_, err := form.Decoder{JSON: true}.Read(parse(t, post("", formType, "a=1")))
		assert.EqualError(t, err, "Content-Type must be application/json")
	})
	t.Run("S097 multipart", func(t *testing.T) {
		r := post("", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nclient_credentials\r\n--b--\r\n")
		require.NoError(t, r.ParseMultipartForm(1000))
		require.Equal(t, url.Values{"grant_type": {"client_credentials"}}, r.PostForm)
		v, err := form.Decoder{}.Read(r)
		assert.EqualError(t, err, wantForm)
		assert.Empty(t, v.Fields())
	})
	t.Run("empty", func(t *testing.T) {
		v, err := form.Decoder{}.Read(parse(t, post("a=1", formType, "")))
		require.Nil(t, err)
		assert.Empty(t, v.Fields())
	})
}

func TestReadSources(t *testing.T) {
	narrow := form.Decoder{Query: []string{"grant_type", "resource"}}
	wide := form.Decoder{Query: []string{"grant_type", "client_id", "client_secret", "code"}}
	header := form.Decoder{JSON: true, Form: true, Headers: []form.Header{{Name: "x-client-id", Parameter: "client_id"}}}
	const many = "1=&2=&3=&4=&5=&6=&7=&8=&9=&10=&"
	for _, test := range []struct {
		name    string
		decoder form.Decoder
		query   string
		headers []string
		body    string
		want    []form.Field
		refused string
		fault   string
	}{
		{"FP-01 empty body", narrow, "grant_type=client_credentials", nil, "", fields("grant_type", "client_credentials"), "", ""},
		{"FP-01 not without the opt-in", form.Decoder{}, "grant_type=client_credentials", nil, "", fields(), "", ""},
		{"FP-02 client_id stays out", narrow, "grant_type=a&client_id=P", nil, "", fields("grant_type", "a"), "", ""},
		{"FP-02 client_id stays out even if named", wide, "grant_type=a&client_id=P", nil, "", fields("grant_type", "a"), "", ""},
		{"FP-02 secrets stay out even if named", wide, "client_secret=S", nil, "a=1", fields("a", "1"), "Parameter must not be in the URL: client_secret", ""},
		{"FP-03 equal", narrow, "grant_type=a", nil, "grant_type=a&b=1", fields("grant_type", "a", "b", "1"), "", ""},
		{"FP-03 differing", narrow, "grant_type=client_credentials", nil, "grant_type=refresh_token&b=1", fields("b", "1"), "", "Parameter has different values: grant_type"},
		{"FP-03 twice in the query", narrow, "grant_type=a&grant_type=a", nil, "", fields(), "", "Parameter appears more than once: grant_type"},
		{"FP-03 twice in the body", narrow, "grant_type=a", nil, "grant_type=a&grant_type=a", fields(), "", "Parameter appears more than once: grant_type"},
		{"badly encoded in the query", narrow, "grant_type=%zz", nil, "b=1", fields("b", "1"), "", "Parameter is badly encoded: grant_type"},
		{"empty in the query", narrow, "grant_type=", nil, "grant_type=a", fields("grant_type", "a"), "", ""},
		{"empty in the body", narrow, "grant_type=a", nil, "grant_type=", fields("grant_type", "", "grant_type", "a"), "", ""},
		{"RFC 8707 2 equal lists", narrow, "resource=a&resource=b", nil, "resource=a&resource=b", fields("resource", "a", "resource", "b"), "", ""},
		{"RFC 8707 2 list in the query", narrow, "resource=a&resource=b", nil, "", fields("resource", "a", "resource", "b"), "", ""},
		{"RFC 8707 2 other order", narrow, "resource=b&resource=a", nil, "resource=a&resource=b", fields(), "", "Parameter has different values: resource"},
		{"RFC 8707 2 part of the list", narrow, "resource=a", nil, "resource=a&resource=b", fields(), "", "Parameter has different values: resource"},
		{"S094 credentials in the URI", form.Decoder{}, "client_id=CP&client_secret=S", nil, "grant_type=a", fields("grant_type", "a"), "Parameter must not be in the URL: client_secret", ""},
		{"S094 also in the body", form.Decoder{}, "client_secret=S", nil, "client_secret=S", fields("client_secret", "S"), "Parameter must not be in the URL: client_secret", ""},
		{"S094 encoded name", form.Decoder{}, "client%5Fsecret=S", nil, "", fields(), "Parameter must not be in the URL: client_secret", ""},
		{"S094 badly encoded value", form.Decoder{}, "client_secret=%zz", nil, "", fields(), "Parameter must not be in the URL: client_secret", ""},
		{"S094 nothing exposed", form.Decoder{}, "client_secret=", nil, "client_secret=S", fields("client_secret", "S"), "", ""},
		{"S095 code in the URI", form.Decoder{}, "grant_type=authorization_code&code=C", nil, "", fields(), "Parameter must not be in the URL: code", ""},
		{"S095 client_id in URI and body", form.Decoder{}, "client_id=P", nil, "client_id=P&a=1", fields("a", "1"), "", "Parameter appears more than once: client_id"},
		{"S095 unknown in URI and body", form.Decoder{}, "x=1", nil, "x=2&a=1", fields("a", "1"), "", "Parameter appears more than once: x"},
		{"S095 badly encoded in the URI, also in the body", form.Decoder{}, "x=%zz", nil, "x=2", fields(), "", "Parameter appears more than once: x"},
		{"S095 empty in the URI", form.Decoder{}, "x=", nil, "x=2", fields("x", "2"), "", ""},
		{"S008 unknown in the URI", form.Decoder{}, "x=1&x=2&tenant=7", nil, "a=1", fields("a", "1"), "", ""},
		{"badly encoded name in the URI", form.Decoder{}, "%zz=1&=&&%", nil, "a=1", fields("a", "1"), "", ""},
		{"S348 fields of the URI", form.Decoder{}, strings.Repeat(many, 10) + "x=1", nil, "a=1", fields(), "", "Too many parameters"},
		{"length of the URI", form.Decoder{}, "x=" + strings.Repeat("x", form.MaxBody), nil, "a=1", fields(), "", "Request is too long"},
		{"FS-23 header", header, "", []string{"P"}, "token=t", fields("token", "t", "client_id", "P"), "", ""},
		{"FS-24 header and body are equal", header, "", []string{"P"}, "client_id=P", fields("client_id", "P"), "", ""},
		{"FS-24 header and body differ", header, "", []string{"P"}, "client_id=Q&a=1", fields("a", "1"), "", "Parameter has different values: client_id"},
		{"header and URI", header, "client_id=P", []string{"P"}, "", fields(), "", "Parameter appears more than once: client_id"},
		{"no header", header, "", nil, "a=1", fields("a", "1"), "", ""},
		{"empty header", header, "", []string{""}, "client_id=P", fields("client_id", "P"), "", ""},
		{"header twice, equal", header, "", []string{"P", "P"}, "", fields("client_id", "P"), "", ""},
		{"header twice, differing", header, "", []string{"P", "Q"}, "a=1", fields("a", "1"), "", "Parameter has different values: client_id"},
		{"header twice, one empty", header, "", []string{"P", ""}, "", fields(), "", "Parameter has different values: client_id"},
		{"S016 control character in a header", header, "", []string{"P\x01"}, "", fields(), "", "Parameter contains characters that are not allowed: client_id"},
		{"S016 invalid UTF-8 in a header", header, "", []string{"P\xff"}, "", fields(), "", "Parameter contains characters that are not allowed: client_id"},
		{"letters in a header", header, "", []string{"Pé"}, "", fields("client_id", "Pé"), "", ""},
		{"header without the opt-in", form.Decoder{}, "", []string{"P"}, "", fields(), "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := post(test.query, formType, test.body)
			for _, value := range test.headers {
				r.Header.Add("X-Client-Id", value)
			}
			v, err := test.decoder.Read(r)
			assert.Equal(t, test.want, v.Fields())
			if test.refused != "" {
				require.EqualError(t, err, test.refused)
				assert.Equal(t, 400, err.Status)
				_, name, _ := strings.Cut(test.refused, ": ")
				assert.Equal(t, name, err.Parameter)
				return
			}
			require.Nil(t, err)
			if test.fault == "" {
				require.Nil(t, v.Err())
				return
			}
			require.NotNil(t, v.Err())
			assert.EqualError(t, v.Err(), test.fault)
		})
	}
}

func TestSecret(t *testing.T) {
	for _, name := range []string{
		"client_secret", "client_assertion", "code", "code_verifier", "refresh_token", "access_token", "token",
		"password", "assertion", "device_code", "auth_req_id", "subject_token", "actor_token", "request",
	} {
		assert.True(t, form.Secret(name), name)
		_, err := form.Decoder{Form: true, JSON: true, Query: []string{name}}.Read(post(name+"=HIDDEN", "", ""))
		require.NotNil(t, err, name)
		assert.Equal(t, form.Error{Status: 400, Parameter: name, Description: "Parameter must not be in the URL: " + name}, *err)
	}
	for _, name := range []string{"", "client_id", "grant_type", "username", "interaction", "user_code", "state", "Code"} {
		assert.False(t, form.Secret(name), name)
	}
}

// TestNoValueInErrors puts the same word into every value there is.
func TestNoValueInErrors(t *testing.T) {
	decoder := form.Decoder{Form: true, JSON: true, Query: []string{"q"}, Headers: []form.Header{{Name: "X-H", Parameter: "h"}}}
	for _, test := range []struct{ query, header, media, body string }{
		{"client_secret=HIDDEN", "", formType, ""},
		{"q=HIDDEN", "", formType, "q=HIDDEN2"},
		{"q=HIDDEN%zz", "HIDDEN\x01", formType, "h=HIDDEN&h=HIDDEN"},
		{"", "HIDDEN", formType, "h=HIDDEN2&x=HIDDEN%00"},
		{"", "", "application/json", `{"a":["HIDDEN"]}`},
		{"", "", "application/json", `{"a":"HIDDEN"`},
		{"", "", "text/HIDDEN", `HIDDEN`},
		{"", "", formType + ";charset=HIDDEN", `HIDDEN`},
	} {
		r := post(test.query, test.media, test.body)
		r.Header["X-H"] = []string{test.header}
		v, err := decoder.Read(r)
		if err == nil {
			err = v.Err()
		}
		require.NotNil(t, err)
		assert.NotContains(t, err.Error()+err.Parameter, "HIDDEN")
		assert.True(t, describable(err.Description))
	}
}

// manyKeys is text of 200,000 distinct names.
func manyKeys() string {
	var b strings.Builder
	for i := range 200_000 {
		b.WriteString(strconv.Itoa(i))
		b.WriteString("=&")
	}
	return b.String()
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestS348Memory(t *testing.T) {
	keys := manyKeys()
	require.Greater(t, len(keys), 1<<20)
	var members strings.Builder
	for i := range 5000 {
		members.WriteString(`"` + strconv.Itoa(i) + `":"",`)
	}
	object := `{` + members.String() + `"a":""}`
	for _, test := range []struct {
		name, query, media, body string
		length                   int64
		status                   int
	}{
		{"body", "", formType, keys, int64(len(keys)), 413},
		{"body of unknown length", "", formType, keys, -1, 413},
		{"body below the limit of its size", "", formType, keys[:form.MaxBody], form.MaxBody, 400},
		{"query", keys, formType, "a=1", 3, 400},
		{"query below the limit of its size", keys[:form.MaxBody], formType, "a=1", 3, 400},
		{"JSON", "", "application/json", object, int64(len(object)), 400},
		{"array", "", "application/json", `{"resource":[` + strings.Repeat(`"",`, 20_000) + `""]}`, -1, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := post(test.query, test.media, test.body)
			r.ContentLength = test.length
			var v *form.Values
			var err *form.Error
			bytes := allocated(func() { v, err = form.Decoder{Form: true, JSON: true}.Read(r) })
			if err == nil {
				err = v.Err()
			}
			require.NotNil(t, err)
			assert.Equal(t, test.status, err.Status)
			assert.Less(t, bytes, uint64(8*form.MaxBody))
		})
	}
}

// tokenRequest is a request of the usual size, and a way to read it again.
func tokenRequest() (*http.Request, func()) {
	const body = "grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA0123456789012345678901234567890123" +
		"&redirect_uri=https%3A%2F%2Fclient.example.com%2Fcb&client_id=s6BhdRkqt3&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	text := strings.NewReader(body)
	r := post("", formType, body)
	r.Body = io.NopCloser(text)
	return r, func() { text.Reset(body) }
}

func TestReadAllocations(t *testing.T) {
	r, again := tokenRequest()
	var v *form.Values
	allocations := testing.AllocsPerRun(100, func() {
		again()
		v, _ = form.Decoder{}.Read(r)
	})
	require.Nil(t, v.Err())
	assert.Equal(t, "https://client.example.com/cb", v.Get("redirect_uri"))
	assert.LessOrEqual(t, allocations, 4.0, "the body twice, the Values, the one value with escapes")
}

func BenchmarkRead(b *testing.B) {
	r, again := tokenRequest()
	b.ReportAllocs()
	for b.Loop() {
		again()
		if v, err := (form.Decoder{}).Read(r); err != nil || v.Err() != nil {
			b.Fatal(err, v.Err())
		}
	}
}

func BenchmarkReadJSON(b *testing.B) {
	const body = `{"grant_type":"refresh_token","refresh_token":"0123456789012345678901234567890123456789","client_id":"c"}`
	text := strings.NewReader(body)
	r := post("", "application/json", body)
	r.Body = io.NopCloser(text)
	b.ReportAllocs()
	for b.Loop() {
		text.Reset(body)
		if v, err := (form.Decoder{JSON: true}).Read(r); err != nil || v.Err() != nil {
			b.Fatal(err, v.Err())
		}
	}
}

func BenchmarkParseQuery(b *testing.B) {
	const query = "response_type=code&client_id=s6BhdRkqt3&state=xyz&scope=read+write&redirect_uri=https%3A%2F%2Fclient.example.com%2Fcb"
	b.ReportAllocs()
	for b.Loop() {
		if form.ParseQuery(query, form.MaxBody).Err() != nil {
			b.Fatal("defect")
		}
	}
}

func BenchmarkBasic(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := form.Basic("Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"); !ok {
			b.Fatal("refused")
		}
	}
}
