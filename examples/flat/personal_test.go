package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var personalRequirements = []requirement{
	{"FL-23 a token is made", func(t *testing.T) {
		h := newTestHost(t)
		v := h.account("demo")
		assert.Contains(t, v.page.Body, "You have none.")
		a := v.make(" Backup <script> ", scriptKey, "scores.readonly", "account.public_profile")
		require.Equal(t, http.StatusCreated, a.Status, a.Body)
		assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		assert.Equal(t, "DENY", a.Header.Get("X-Frame-Options"))
		assert.Contains(t, a.Body, "Backup &lt;script&gt;")
		token := shown.FindString(a.Body)
		assert.Equal(t, 1, strings.Count(a.Body, token))

		again := v.open(tokensURL, nil)
		assert.NotContains(t, again.Body, token, "it is shown once")
		assert.NotContains(t, again.Body, "flat_pat_")
		for _, words := range []string{"Backup &lt;script&gt;", "Practice Script", "scores.readonly account.public_profile", "18 April 2017", "13 April 2037"} {
			assert.Contains(t, again.Body, words)
		}
		assert.Equal(t, http.StatusOK, h.get(scoresURL, token).Status)
		assert.Equal(t, http.StatusForbidden, h.do("POST", scoresURL, "", "Authorization", "Bearer "+token).Status)
	}},
	{"FL-23 what is refused", func(t *testing.T) {
		h := newTestHost(t)
		v := h.account("demo")
		for about, f := range map[string]url.Values{
			"no name":                    {"app": {scriptKey}, "scope": {"scores"}},
			"an empty name":              {"name": {" "}, "app": {scriptKey}, "scope": {"scores"}},
			"a long name":                {"name": {strings.Repeat("é", 61)}, "app": {scriptKey}, "scope": {"scores"}},
			"no text":                    {"name": {"\xff"}, "app": {scriptKey}, "scope": {"scores"}},
			"no scope":                   {"name": {"x"}, "app": {scriptKey}},
			"an empty scope":             {"name": {"x"}, "app": {scriptKey}, "scope": {""}},
			"an unknown scope":           {"name": {"x"}, "app": {scriptKey}, "scope": {"scores", "admin"}},
			"not for this kind of user":  {"name": {"x"}, "app": {scriptKey}, "scope": {"account.education_profile"}},
			"no app":                     {"name": {"x"}, "scope": {"scores"}},
			"an unknown app":             {"name": {"x"}, "app": {"nobody"}, "scope": {"scores"}},
			"an app of somebody else's":  {"name": {"x"}, "app": {boxKey}, "scope": {"scores.readonly"}},
			"a form of too many letters": {"name": {"x"}, "app": {scriptKey}, "scope": {"scores"}, "more": {strings.Repeat("x", 9000)}},
		} {
			a := v.open(tokensURL, f)
			assert.Equal(t, http.StatusBadRequest, a.Status, about)
			assert.Empty(t, shown.FindString(a.Body), about)
		}
		assert.Contains(t, v.open(tokensURL, nil).Body, "You have none.")
		a := v.open(tokensURL, url.Values{"name": {strings.Repeat("é", 60)}, "app": {siteKey}, "scope": {"scores", "scores"}})
		assert.Equal(t, http.StatusCreated, a.Status)

		teacher := h.account("teacher")
		a = teacher.make("x", boxKey, "scores")
		assert.Equal(t, http.StatusBadRequest, a.Status, "the app may not have it")
		assert.Contains(t, a.Body, "The app may not have one of these scopes.")
		assert.Contains(t, teacher.page.Body, "account.education_profile")
	}},
	{"FL-23 nobody else makes one", func(t *testing.T) {
		h := newTestHost(t)
		f := url.Values{"name": {"x"}, "app": {scriptKey}, "scope": {"scores"}}
		assert.Contains(t, h.visitor().open(tokensURL, f).Body, `name="password"`, "signed out")
		v := h.account("demo")
		cookies := ""
		for name, value := range v.cookies {
			cookies += name + "=" + value
		}
		forged := h.do("POST", tokensURL, f.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Cookie", cookies, "Sec-Fetch-Site", "cross-site")
		assert.Equal(t, http.StatusForbidden, forged.Status, "from another site")
	}},
	{"FL-23 a session ends", func(t *testing.T) {
		h := newTestHost(t)
		v := h.account("demo")
		h.clock.Advance(12*time.Hour - time.Second)
		assert.Contains(t, v.open(tokensURL, nil).Body, "Dana Demo")
		h.clock.Advance(time.Second)
		assert.Contains(t, v.open(tokensURL, nil).Body, `name="password"`)
		v = h.account("demo")
		cookies := map[string]string{"__Host-flat-account": v.cookies["__Host-flat-account"]}
		v.open(webBase+"/account/logout", url.Values{})
		v.cookies = cookies
		assert.Contains(t, v.open(tokensURL, nil).Body, `name="password"`, "whoever has kept the cookie")
	}},
	{"FL-23 passwords cannot be guessed on its page", func(t *testing.T) {
		v := newTestHost(t).visitor()
		guess := func(password string) int {
			return v.open(webBase+loginPath, url.Values{"username": {"demo"}, "password": {password}}).Status
		}
		for range 20 {
			require.Equal(t, http.StatusForbidden, guess("x"))
		}
		assert.Equal(t, http.StatusTooManyRequests, guess("demo"), "not even the right one")
		v.clock.Advance(12 * time.Minute)
		assert.Equal(t, http.StatusOK, guess("demo"))
	}},
	{"FL-24 it works like any other", func(t *testing.T) {
		h := newTestHost(t)
		personal := h.get(meURL, h.account("demo").personal("x", "account.public_profile"))
		other := h.get(meURL, h.tokens().member("access_token"))
		assert.Equal(t, http.StatusOK, personal.Status)
		assert.Equal(t, other.Body, personal.Body)
		assert.Equal(t, other.Header, personal.Header)
		assert.Equal(t, demoID, personal.member("id"), "its maker")
		assert.NotContains(t, h.tokens().member("access_token"), "flat_pat_", "the prefix is that of personal ones alone")
	}},
	{"FL-25 it lasts", func(t *testing.T) {
		h := newTestHost(t)
		v := h.account("demo")
		token := v.personal("x", "account.public_profile")
		v.open(webBase+"/account/logout", url.Values{})
		assert.Contains(t, v.open(tokensURL, nil).Body, `name="password"`)
		assert.Equal(t, http.StatusOK, h.get(meURL, token).Status, "it outlives the session")
		h.clock.Advance(10 * year)
		assert.Equal(t, http.StatusOK, h.get(meURL, token).Status)
		h.refresh(site, token).refused(t, http.StatusBadRequest, "invalid_grant", "it is no refresh token")
		h.clock.Advance(10*year - time.Second)
		assert.Equal(t, http.StatusOK, h.get(meURL, token).Status)
		assert.Contains(t, h.account("demo").page.Body, "<bdi>x</bdi>")
		h.clock.Advance(time.Second)
		assert.Equal(t, http.StatusUnauthorized, h.get(meURL, token).Status)
		h.clock.Advance(time.Minute) // the list is a little behind
		assert.Contains(t, h.account("demo").page.Body, "You have none.")
	}},
	{"FL-25 it is listed and revoked by its owner", func(t *testing.T) {
		h := newTestHost(t)
		v := h.account("demo")
		granted := h.tokens("access_type", "offline").member("access_token") // not on this list
		one := v.personal("one", "account.public_profile")
		h.clock.Advance(time.Minute)
		two := v.personal("two", "account.public_profile")
		v.open(tokensURL, nil)
		ids := hidden.FindAllStringSubmatch(v.page.Body, -1)
		require.Len(t, ids, 2)
		assert.Less(t, strings.Index(v.page.Body, "<bdi>two</bdi>"), strings.Index(v.page.Body, "<bdi>one</bdi>"), "the latest first")

		stranger := h.account("teacher")
		assert.Contains(t, stranger.page.Body, "You have none.")
		stranger.open(tokensURL+"/revoke", url.Values{"id": {ids[0][2]}})
		assert.Equal(t, http.StatusBadRequest, v.open(tokensURL+"/revoke", url.Values{"id": {""}}).Status)
		for _, token := range []string{one, two, granted} {
			assert.Equal(t, http.StatusOK, h.get(meURL, token).Status)
		}
		v.open(tokensURL+"/revoke", url.Values{"id": {ids[0][2]}})
		assert.NotContains(t, v.page.Body, "<bdi>two</bdi>")
		assert.Contains(t, v.page.Body, "<bdi>one</bdi>")
		assert.Equal(t, http.StatusUnauthorized, h.get(meURL, two).Status)
		assert.Equal(t, http.StatusOK, h.get(meURL, one).Status)
	}},
	{"FL-25 the invalidation endpoint ends it too", func(t *testing.T) {
		h := newTestHost(t)
		v := h.account("demo")
		token := v.personal("x", "account.public_profile")
		h.revoke(site, token)
		assert.Equal(t, http.StatusOK, h.get(meURL, token).Status, "another app's")
		assert.Equal(t, http.StatusOK, h.revoke(credentials{"client_id", scriptKey, "client_secret", scriptSecret}, token).Status)
		assert.Equal(t, http.StatusUnauthorized, h.get(meURL, token).Status)
	}},
}
