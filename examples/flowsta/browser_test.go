package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/examples/internal/chromium"
)

// TestChromium signs in and declines one of two scopes, in a real browser.
func TestChromium(t *testing.T) {
	s := newSite(t, time.Now())
	b := chromium.Start(t).Tab(t)
	assert.Equal(t, http.StatusOK, b.Visit(sampleURL(t, s.base)))
	b.Look("login")
	b.Fill("username", userName)
	b.Fill("password", userPassword)
	assert.Equal(t, http.StatusOK, b.Press("Sign in"))
	assert.Contains(t, b.Text(), fullName)
	b.Look("consent")
	_, fields := b.Form("Allow")
	assert.Equal(t, []string{"email"}, fields["scope"])
	b.TabKey("Not you?")
	b.Type("\t") // to the one box there is
	b.Type(" ")
	action, fields := b.Form("Allow")
	assert.Empty(t, fields["scope"])
	assert.Equal(t, "approve", fields.Get("decision"))

	// What the button would send, for the answer leads to a site that does not exist.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, action, strings.NewReader(fields.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Cookie", b.Cookies(action))
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	back := &answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
	assert.Equal(t, "random_state", back.callback().Get("state"))
	token := s.sh(document(t, "token.sh"), "CODE="+back.code())
	assert.Equal(t, "profile", token.member("scope"))
}
