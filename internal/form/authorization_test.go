package form_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/grantwell/oauth/internal/form"
)

func TestBasic(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, test := range []struct {
		name, header, id, secret string
		ok                       bool
	}{
		{"RFC 6749 2.3.1 example", "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW", "s6BhdRkqt3", "gX1fBat3bV", true},
		{"FP-04 scheme in any case", "bASIC " + encode("id:secret"), "id", "secret", true},
		{"several spaces", "Basic   " + encode("id:secret"), "id", "secret", true},
		{"FP-04 percent-encoded", "Basic " + encode("a%3Ab+c:p%25%C3%A9+x%2B"), "a:b c", "p%é x+", true},
		{"first colon", "Basic " + encode("id:a:b"), "id", "a:b", true},
		{"empty secret", "Basic " + encode("id:"), "id", "", true},
		{"empty id", "Basic " + encode(":secret"), "", "", false},
		{"FP-04 no colon", "Basic " + encode("idsecret"), "", "", false},
		{"encoded colon is no colon", "Basic " + encode("id%3Asecret"), "", "", false},
		{"FP-04 not base64", "Basic !!!!", "", "", false},
		{"no padding", "Basic aTpz" + "YQ", "", "", false},
		{"URL alphabet", "Basic " + base64.URLEncoding.EncodeToString([]byte("i:\xc3\xbf\xc3\xbf")), "", "", false},
		{"spare bits set", "Basic aTpzYR==", "", "", false},
		{"line break in base64", "Basic aTpz\nYQ==", "", "", false},
		{"trailing text", "Basic aTpzYQ== x", "", "", false},
		{"bad escape in the id", "Basic " + encode("i%zz:s"), "", "", false},
		{"bad escape in the secret", "Basic " + encode("i:100%"), "", "", false},
		{"invalid UTF-8", "Basic " + encode("i:\xff"), "", "", false},
		{"S016 NUL", "Basic " + encode("i%00:s"), "", "", false},
		{"nothing", "", "", "", false},
		{"scheme alone", "Basic", "", "", false},
		{"scheme and space", "Basic ", "", "", false},
		{"another scheme", "Bearer aTpzYQ==", "", "", false},
		{"longer word", "Basics aTpzYQ==", "", "", false},
		{"tab", "Basic\taTpzYQ==", "", "", false},
		{"letter that folds to ASCII", "Ba\u017fic aTpzYQ==", "", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			id, secret, ok := form.Basic(test.header)
			assert.Equal(t, test.ok, ok)
			assert.Equal(t, test.id, id)
			assert.Equal(t, test.secret, secret)
		})
	}
}

func TestScheme(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "Bearer x": "bearer", "DPoP": "dpop", "BASIC  x y": "basic", " Basic x": "", "Ba/sic x": "",
		"Bearer\tx": "", "B\u00e4sic x": "", "a-b_c.d x": "a-b_c.d", "\"x\" y": "", "Basic,Bearer x": "",
	} {
		assert.Equal(t, want, form.Scheme(header), "%q", header)
	}
}

func FuzzBasic(f *testing.F) {
	f.Add("s6BhdRkqt3", "gX1fBat3bV", "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW")
	f.Add("a:b c", "p%é x+", "basic   aTpz")
	f.Add("", "\x00", "Basic aTpzYR==")
	f.Fuzz(func(t *testing.T, id, secret, header string) {
		sound := id != "" && text(id) && text(secret)
		gotID, gotSecret, ok := form.Basic("Basic " + base64.StdEncoding.EncodeToString([]byte(escape(id)+":"+escape(secret))))
		assert.Equal(t, sound, ok)
		if sound {
			assert.Equal(t, id, gotID)
			assert.Equal(t, secret, gotSecret)
		}
		if id, secret, ok := form.Basic(header); ok {
			assert.Equal(t, "basic", form.Scheme(header))
			assert.True(t, id != "" && text(id) && text(secret))
		} else {
			assert.Empty(t, id+secret)
		}
	})
}
