package resource_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/grantwell/oauth/resource"
)

func TestTokenHas(t *testing.T) {
	tok := resource.Token{Scopes: []string{"rw"}, Includes: []string{"r"}}
	assert.True(t, tok.Has("rw"))
	assert.True(t, tok.Has("r"))
	assert.False(t, tok.Has("w"))
	assert.False(t, tok.Has(""))
}

func TestTokenFor(t *testing.T) {
	for _, tt := range []struct {
		name, audience string
		token          resource.Token
		want           bool
	}{
		{"RFC 8707 2 the issuer where none is named", "", resource.Token{Issuer: "i", Audience: []string{"i"}}, true},
		{"RFC 8707 2 not the issuer where one is named", "r", resource.Token{Issuer: "i", Audience: []string{"i"}}, false},
		{"RFC 8707 2 one of several", "r", resource.Token{Issuer: "i", Audience: []string{"q", "r"}}, true},
		{"RFC 8707 2 none", "", resource.Token{Issuer: "i"}, false},
		{"RFC 9728 6 the same code points", "https://r/\u00e9", resource.Token{Issuer: "i", Audience: []string{"https://r/\u00e9"}}, true},
		{"RFC 9728 6 another normal form", "https://r/\u00e9", resource.Token{Issuer: "i", Audience: []string{"https://r/e\u0301"}}, false},
		{"RFC 9728 6 another case", "https://r/a", resource.Token{Issuer: "i", Audience: []string{"https://R/a"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.want, tt.token.For(tt.audience)) })
	}
}
