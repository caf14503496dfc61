package oauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// refusedRedirects are the redirect URIs of section B that nobody registered,
// decoded, by client.
var refusedRedirects = []struct{ id, client, uris string }{
	{"S020 trailing slash", caseP, "https://app.example/cb/"},
	{"V038 V040 V043 S022 host prefix or suffix", caseP, "https://app.example.evil.com/cb https://evilapp.example/cb https://sub.app.example/cb"},
	{"V035 S023 userinfo before the host", caseP, "https://app.example@evil.com/cb https://evil.com@app.example/cb https://app.example%40evil.com/cb https://@app.example/cb https://:@app.example/cb"},
	{"V046 S025 dot segments and encoded dots", "deep", "https://app.example/a/../evil https://app.example/a/%2e%2e/evil https://app.example/a/cb/..;/evil https://app.example/a/./cb https://app.example/a/x/../cb https://app.example/a/%63b https://app.example//a/cb"},
	{"V044 S026 backslash", caseP, `https://app.example\@evil.com/cb; https:\\evil.com; https:\\app.example/cb https://app.example\cb https://app.example/cb\..`},
	{"S027 fragment", caseP, "https://app.example/cb#frag https://app.example/cb#"},
	{"V051 S028 relative and protocol-relative", caseP, "/cb //evil.com/cb ///evil.com https:/evil.com //app.example/cb https:app.example/cb https:///app.example/cb ///app.example/cb cb"},
	{"S033 a client with no registered URI", caseM, "https://x.example/ https://app.example/cb"},
	{"V036 S035 the loopback rule changes only the port", caseN, "http://127.0.0.1:5000/cb?bar=foo http://127.0.0.1:5000/other https://127.0.0.1:5000/cb http://127.0.0.1:5000/cb/ http://127.0.0.1:5000/CB http://127.0.0.1:5000/ http://127.0.0.1:5000 http://127.0.0.1:5000/cb#a HTTP://127.0.0.1:5000/cb"},
	{"V049 S036 loopback with userinfo", caseN, "http://attacker@127.0.0.1:5000/cb http://127.0.0.1:5000@evil.com/cb http://127.0.0.1@evil.com/cb http://127.0.0.1:80:81/cb"},
	{"S037 loopback host tricks", caseN, "http://127.0.0.2:5000/cb http://127.1:5000/cb http://2130706433/cb http://0.0.0.0:5000/cb http://[::ffff:127.0.0.1]:5000/cb http://127.0.0.1.evil.com:5000/cb http://[::1].evil.com/cb http://[0:0:0:0:0:0:0:1]:5000/cb http://[::1%25eth0]:5000/cb http://0x7f.0.0.1:5000/cb http://127.0.0.1.:5000/cb http://[::]:5000/cb http://017700000001/cb"},
	{"S037 ports that are none", caseN, "http://127.0.0.1:/cb http://127.0.0.1:0/cb http://127.0.0.1:65536/cb http://127.0.0.1:-1/cb http://127.0.0.1:+80/cb http://127.0.0.1:80a/cb http://127.0.0.1:0x50/cb http://127.0.0.1:999999999999999999999/cb http://127.0.0.1:٨٠/cb"},
	{"S039 never between localhost and an address", caseN, "http://localhost/cb http://localhost:5000/cb"},
	{"S039 localhost with another port without the opt-in", "localhost", "http://localhost:5000/cb http://127.0.0.1/cb http://[::1]/cb http://localhost.evil.com/cb"},
	{"S039 the opt-in is for the name localhost alone", "localport", "http://127.0.0.1:5000/cb http://localhost:5000/other http://localhost.:5000/cb http://LOCALHOST:5000/cb http://localhost.evil.com:5000/cb"},
	{"S040 port freedom only for loopback", caseP, "https://app.example:8443/cb https://app.example:443/cb https://app.example:/cb"},
	{"S041 the scheme counts", caseP, "http://app.example/cb ftp://app.example/cb HTTPS://app.example/cb javascript://app.example/cb"},
	{"S043 look-alikes", caseP, "https://xn--pp-xka.example/cb https://аpp.example/cb https://app．example/cb https://app。example/cb https://APP.example/cb https://app.example./cb"},
	{"V047 S048 there are no patterns", "dots", "https://fooaexample.com/cb https://evil.com/?https://foo.example.com/cb https://foo.example.com/cb.* https://*.example.com/cb https://evil.com/foo.example.com/cb"},
	{"S049 double encoding", caseP, "https://app.example/cb%252f..%252fevil https://app.example/cb%25252e https://app.example/c%62 https://app.example/cb%2f https://app.example/cb%00"},
	{"FT-09 FL-10 one byte differs", caseP, "https://app.example/cB https://app.example/c https://app.example/cbb https://app.example/cb? https://app.example/cb?a=b https://app.example/cb; https://app.example/cb&x https://app.exampl/cb https://app.example"},
	{"FT-09 a private-use scheme", caseN, "com.example.app:/cb2 com.example.app://cb com.example.app:///cb com.example.app:cb COM.EXAMPLE.APP:/cb com.example.app:/cb?x=1"},
}

func TestRedirectRefused(t *testing.T) {
	w := watch(t)
	for _, row := range refusedRedirects {
		for uri := range strings.FieldsSeq(row.uris) {
			t.Run(row.id+" "+uri, func(t *testing.T) {
				w := w.on(t)
				for _, more := range []string{"foo=1", "response_mode=fragment", "prompt=none"} {
					q := az("client_id="+row.client, "redirect_uri="+url.QueryEscape(uri), more)
					w.page(w.get(q), http.StatusBadRequest, q)
				}
			})
		}
	}
	for _, raw := range []string{"https://app.example%0d%0a/cb", "https://app.exam%09ple/cb", "https://app.example/cb%0a", "%20https://app.example/cb",
		"https://app.example/cb%20", "https://app.example%0aevil.com/cb", "%00https://app.example/cb", "https://app.example/cb%7f"} {
		t.Run("S026 control characters "+raw, func(t *testing.T) {
			w := w.on(t)
			q := az("redirect_uri=" + raw)
			w.page(w.get(q), http.StatusBadRequest, q)
		})
	}
	for _, raw := range []string{"redirect_uri=https://app.example/cb&redirect_uri=https://evil.example/", "redirect_uri=https://evil.example/&redirect_uri=https://app.example/cb",
		"redirect_uri=https://app.example/cb&redirect_uri=https://app.example/cb", "redirect_uri=&redirect_uri=https://evil.example/",
		"redirect_uri=https://app.example/cb&redirect%5Furi=https://evil.example/"} {
		t.Run("V045 S004 duplicate redirect_uri "+raw, func(t *testing.T) {
			w := w.on(t)
			q := az("-redirect_uri") + "&" + raw
			w.page(w.get(q), http.StatusBadRequest, q)
		})
	}
	for _, change := range []string{"response_type=bad", "scope=%22", "prompt=none", "-code_challenge", "+state=two", "response_mode=xyz", "-scope",
		"code_challenge_method=plain", "resource=x", "foo=%zz"} {
		t.Run("V041 V042 S047 no error redirects to what is not registered: "+change, func(t *testing.T) {
			w := w.on(t)
			q := az("redirect_uri=https://evil.example/", change)
			w.page(w.get(q), http.StatusBadRequest, q)
		})
	}
	t.Run("S032 omitted with several registered", func(t *testing.T) {
		w := w.on(t)
		for _, q := range []string{az("client_id=two", "-redirect_uri"), az("client_id=two", "redirect_uri="), az("client_id=N", "-redirect_uri")} {
			w.page(w.get(q), http.StatusBadRequest, q)
		}
	})
	t.Run("S033 omitted with none registered", func(t *testing.T) {
		w := w.on(t)
		q := az("client_id=M", "-redirect_uri")
		w.page(w.get(q), http.StatusBadRequest, q)
	})
}

func TestRedirectAccepted(t *testing.T) {
	w := watch(t)
	for _, test := range []struct{ id, client, uri string }{
		{"S034 IPv4 with a port", caseN, "http://127.0.0.1:51234/cb"},
		{"S034 IPv6 with a port", caseN, "http://[::1]:51234/cb"},
		{"S034 the highest port", caseN, "http://127.0.0.1:65535/cb"},
		{"S034 the lowest port", caseN, "http://[::1]:1/cb"},
		{"S034 without a port, as registered", caseN, "http://127.0.0.1/cb"},
		{"RFC 8252 7.1 a private-use scheme", caseN, "com.example.app:/cb"},
		{"S039 localhost as registered", "localhost", "http://localhost/cb"},
		{"S039 localhost with a port and the opt-in", "localport", "http://localhost:5000/cb"},
		{"FT-09 as registered", caseP, backP},
		{"S032 the second of two", "two", backC + "2"},
	} {
		t.Run(test.id, func(t *testing.T) {
			w := watch(t, pkceOptional).on(t)
			q := az("client_id="+test.client, "redirect_uri="+url.QueryEscape(test.uri))
			got := w.code(w.get(q), test.uri+"?")
			assert.Equal(t, http.StatusOK, w.redeem(test.client, got.Get("code"), test.uri).Status)
			w.reTo(w.get(strings.Replace(q, "scope=read", "scope=nope", 1)), oauth.InvalidScope, test.uri+"?", "xyz")
		})
	}
	t.Run("S031 omitted, exactly one registered", func(t *testing.T) {
		w := w.on(t)
		for _, change := range []string{"-redirect_uri", "redirect_uri="} {
			got := w.code(w.get(az(change)), backP+"?")
			form := url.Values{"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "code_verifier": {rfcVerifier}}
			assert.Equal(t, http.StatusOK, w.Token(caseP, form).Status)
		}
	})
	t.Run("S031 omitted, the one registered is a loopback address", func(t *testing.T) {
		w := w.on(t)
		w.code(w.get(az("client_id=localport", "-redirect_uri")), "http://localhost/cb?")
	})
}

func TestRequireRedirectURI(t *testing.T) {
	w := watch(t, func(c *oauth.Config) { c.RequireRedirectURI = true })
	for _, q := range []string{az("-redirect_uri"), az("redirect_uri=")} {
		w.page(w.get(q), http.StatusBadRequest, q)
	}
	w.mayStore = true
	w.code(w.get(az()), backP+"?")
}

func TestRedirectRegistration(t *testing.T) {
	config := func(uri string) oauth.Config {
		s := newServer(t)
		cfg := s.Config
		cfg.Storage = memstore.New()
		cfg.Clients = oauth.StaticClients(oauth.Client{ID: "x", Public: true, RedirectURIs: []string{uri}})
		return cfg
	}
	for id, uris := range map[string][]string{
		"S041 plain http for another host": {"http://app.example/cb", "http://127.0.0.2/cb", "http://localhost.evil.com/cb", "http://10.0.0.1/cb"},
		"S027 fragment":                    {"https://app.example/cb#frag", "https://app.example/cb#"},
		"S028 relative":                    {"/cb", "//app.example/cb", "cb", "", "https:/app.example/cb", "https:app.example", "https://", "https:///cb", "https://:443/cb"},
		"S023 userinfo":                    {"https://u@app.example/cb", "https://u:p@app.example/cb", "https://@app.example/cb"},
		"S026 characters no URI has":       {`https://app.example\cb`, `https://app.example/a\b`, "https://app.example/c b", "https://app.example/cb\n", "https://app.example/<cb>", "\thttps://app.example/cb", "https://app.example/cb\x00"},
		"S043 text outside ASCII":          {"https://аpp.example/cb", "https://app.example/é"},
		"RFC 8252 7.1 schemes of no domain": {"javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "myapp:/cb", "vbscript:x", "blob:https://app.example/1",
			"ftp://app.example/cb", "about:blank", "intent://x"},
	} {
		for _, uri := range uris {
			t.Run(id+" "+uri, func(t *testing.T) {
				_, err := oauth.New(config(uri))
				require.Error(t, err)
				assert.ErrorContains(t, err, "RedirectURIs[0]")
			})
		}
	}
	t.Run("S041 what may be registered", func(t *testing.T) {
		for _, uri := range []string{"https://app.example", "https://app.example/cb?a=b", "https://app.example:8443/", "http://127.0.0.1/cb", "http://[::1]:80/cb",
			"http://localhost/cb", "com.example.app:/cb", "com.example.app://cb", "https://xn--pp-xka.example/cb"} {
			_, err := oauth.New(config(uri))
			assert.NoError(t, err, uri)
		}
	})
	t.Run("S027 S041 a registry that is wrong does not help", func(t *testing.T) {
		for _, uri := range []string{"http://app.example/cb", "https://app.example/cb#frag", "javascript:alert(1)", "https://u@app.example/cb", "/cb"} {
			w := watch(t, func(c *oauth.Config) {
				c.Clients = changing{caseP: {ID: caseP, Public: true, Scopes: []string{"read"}, RedirectURIs: []string{uri}}}
			})
			for _, q := range []string{az("redirect_uri=" + url.QueryEscape(uri)), az("-redirect_uri")} {
				w.page(w.get(q), http.StatusBadRequest, q)
			}
		}
	})
}
