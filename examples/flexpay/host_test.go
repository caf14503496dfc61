package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/resource"
)

// requirements are the numbered statements of testdata/requirements.txt, each with
// its test.
var requirements = []struct {
	name string
	test func(*testing.T)
}{
	{"FP-01 grant type in the query, empty body", grantTypeInQuery},
	{"FP-02 nothing else from the query", nothingElseFromQuery},
	{"FP-03 contradictions and repetitions", contradictions},
	{"FP-04 Basic, urlencoded or not", basicReadings},
	{"FP-05 a failed authentication", failedAuthentication},
	{"FP-06 client_credentials alone", oneGrant},
	{"FP-07 the response", response},
	{"FP-08 30 minutes, or what was agreed", lifetime},
	{"FP-09 tokens overlap", overlap},
	{"FP-10 every call carries the token", everyCall},
	{"FP-11 environments are apart", environmentsApart},
	{"FP-12 the allow list at the token endpoint", listAtTokenEndpoint},
	{"FP-13 the allow list in the API", listInAPI},
	{"FP-14 whose address", whoseAddress},
	{"FP-15 no addresses, no access", noAddresses},
	{"FP-16 secrets stay secret", secretsStaySecret},
	{"FP-17 no plain http", noPlainHTTP},
	{"FP-18 the handler knows the merchant", handlerKnowsMerchant},
	{"FP-19 any path, any URL", anyPath},
}

func TestRequirements(t *testing.T) {
	for _, r := range requirements {
		t.Run(r.name, r.test)
	}
}

func TestEveryRequirementHasItsTest(t *testing.T) {
	text, err := os.ReadFile("testdata/requirements.txt")
	require.NoError(t, err)
	var stated, tested []string
	for line := range strings.Lines(string(text)) {
		id, _, _ := strings.Cut(line, " ")
		stated = append(stated, id)
	}
	for i, r := range requirements {
		id, _, _ := strings.Cut(r.name, " ")
		tested = append(tested, id)
		assert.Equal(t, fmt.Sprintf("FP-%02d", i+1), id, "no number is left out")
		assert.NotNil(t, r.test, id)
	}
	assert.Equal(t, stated, tested)
}

func grantTypeInQuery(t *testing.T) {
	l := newLab()
	empty := func(r *http.Request) {
		require.Empty(t, r.Header.Get("Content-Type"))
		require.Zero(t, r.ContentLength)
	}
	a := l.ask(as(harbor), empty)
	assert.Equal(t, 200, a.status, a.body)
	token := granted(t, a)
	assert.Equal(t, 201, l.order(token).status)

	// The opt-in is what does it.
	strict := l.server(t, production, func(c *oauth.Config) { c.Decode = oauth.Decoder{} })
	a = send(strict.TokenHandler(), http.MethodPost, tokenPath+grantQuery, "", as(harbor))
	assert.Equal(t, "400 invalid_request", a.outcome())
	assert.Equal(t, "Missing required parameter: grant_type", a.member("error_description"))

	// A form is still one.
	body, typed := form("grant_type", "client_credentials")
	assert.Equal(t, 200, send(l, http.MethodPost, tokenPath, body, typed, as(harbor)).status)
}

func nothingElseFromQuery(t *testing.T) {
	l := newLab()
	secret := url.QueryEscape(harbor + "-secret")
	for name, c := range map[string]struct {
		query string
		want  string
		edits []edit
	}{
		"credentials":               {"&client_id=" + harbor + "&client_secret=" + secret, "400 invalid_request", nil},
		"id alone":                  {"&client_id=" + harbor, "401 invalid_client", nil},
		"secret beside Basic":       {"&client_secret=" + secret, "400 invalid_request", []edit{as(harbor)}},
		"code beside Basic":         {"&code=x", "400 invalid_request", []edit{as(harbor)}},
		"refresh_token":             {"&refresh_token=x", "400 invalid_request", []edit{as(harbor)}},
		"code_verifier":             {"&code_verifier=x", "400 invalid_request", []edit{as(harbor)}},
		"client_assertion":          {"&client_assertion=x", "400 invalid_request", []edit{as(harbor)}},
		"another's id beside Basic": {"&client_id=" + quick, "200", []edit{as(harbor)}}, // it is not read
		"scope is not read":         {"&scope=everything", "200", []edit{as(harbor)}},
	} {
		a := l.ask(append(c.edits, func(r *http.Request) { r.URL.RawQuery += c.query })...)
		assert.Equal(t, c.want, a.outcome(), name)
		assert.Equal(t, a.status == 200, a.member("access_token") != nil, name)
		assert.NotContains(t, a.body, harbor+"-secret", name)
	}
	for _, name := range []string{"client_secret", "client_id", "code", "refresh_token", "code_verifier"} {
		cfg, err := production.config(l.o)
		require.NoError(t, err)
		cfg.Decode = oauth.Merge(oauth.FormBody, oauth.Query("grant_type", name))
		_, err = oauth.New(cfg)
		assert.ErrorContains(t, err, name, "it cannot be configured either")
	}
}

func contradictions(t *testing.T) {
	l := newLab()
	for _, c := range []struct {
		name, query string
		body        []string
		want        string
	}{
		{"they differ", grantQuery, []string{"grant_type", "refresh_token"}, "400 invalid_request"},
		{"they are equal", grantQuery, []string{"grant_type", "client_credentials"}, "200"},
		{"twice in the query, different", "?grant_type=a&grant_type=b", nil, "400 invalid_request"},
		{"twice in the query, equal", grantQuery + "&grant_type=client_credentials", nil, "400 invalid_request"},
		{"twice in the body, equal", "", []string{"grant_type", "client_credentials", "grant_type", "client_credentials"}, "400 invalid_request"},
		{"twice in the body, and once in the query", grantQuery, []string{"grant_type", "client_credentials", "grant_type", "client_credentials"}, "400 invalid_request"},
		{"empty in the query", "?grant_type=", []string{"grant_type", "client_credentials"}, "200"},
		{"badly encoded in the query", "?grant_type=%zz", []string{"grant_type", "client_credentials"}, "400 invalid_request"},
	} {
		body, typed := form(c.body...)
		a := send(l, http.MethodPost, tokenPath+c.query, body, typed, as(harbor))
		assert.Equal(t, c.want, a.outcome(), c.name)
	}
}

func basicReadings(t *testing.T) {
	ctx, l := t.Context(), newLab()
	// Secrets that the library makes are read the same in both ways.
	store := oauth.StoredClients(memstore.New())
	require.NoError(t, store.Create(ctx, client("made", merchant{})))
	for range 8 {
		secret, err := store.RotateSecret(ctx, "made")
		require.NoError(t, err)
		assert.Equal(t, secret, url.QueryEscape(secret))
		assert.GreaterOrEqual(t, len(secret), 26)
	}

	const oddID, oddSecret = "odd: id/é", "p%w+d é:&="
	odd := environment{clients: oauth.StaticClients(
		oauth.Client{ID: oddID, Secrets: []string{oauth.HashSecret(oddSecret)}, Grants: []string{"client_credentials"}, Data: merchant{Addresses: loopback}},
		client(harbor, merchant{Addresses: loopback}))}
	h := l.server(t, odd).TokenHandler()
	good := base64Of(harbor + ":" + harbor + "-secret")
	for _, c := range []struct{ name, header, want string }{
		{"as the document has it", "Basic " + good, "200"},
		{"lower case", "basic " + good, "200"},
		{"upper case", "BASIC " + good, "200"},
		{"percent-encoded", "Basic " + base64Of(url.QueryEscape(oddID)+":"+url.QueryEscape(oddSecret)), "200"},
		{"every letter percent-encoded", "Basic " + base64Of(percent(harbor)+":"+percent(harbor+"-secret")), "200"},
		{"not base64", "Basic !!!!", "401 invalid_client"},
		{"base64 cut off", "Basic " + good[:len(good)-3], "401 invalid_client"},
		{"no colon", "Basic " + base64Of(harbor), "401 invalid_client"},
		{"no secret", "Basic " + base64Of(harbor+":"), "401 invalid_client"},
		{"a broken escape", "Basic " + base64Of(harbor+":%zz"), "401 invalid_client"},
		{"nothing behind the scheme", "Basic", "401 invalid_client"},
		{"another scheme", "Bearer " + good, "401 invalid_client"},
	} {
		a := send(h, http.MethodPost, tokenPath+grantQuery, "", header("Authorization", c.header))
		assert.Equal(t, c.want, a.outcome(), c.name)
		assert.Equal(t, a.status == 401, strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic "), c.name)
	}
	assert.Equal(t, "401 invalid_client", l.ask(as(harbor), as(harbor)).outcome(), "two headers")
}

func failedAuthentication(t *testing.T) {
	l := newLab()
	require.Equal(t, 200, l.ask(as(harbor)).status)
	wrong, unknown := l.ask(raw(harbor, "wrong")), l.ask(raw("nobody", harbor+"-secret"))
	assert.Equal(t, "401 invalid_client", wrong.outcome())
	assert.True(t, strings.HasPrefix(wrong.header.Get("WWW-Authenticate"), "Basic "))
	assert.Equal(t, wrong, unknown)
	// No credentials at all are the same error.
	assert.Equal(t, "401 invalid_client", l.ask().outcome())
}

func oneGrant(t *testing.T) {
	before := runtime.NumGoroutine()
	l := newLab()
	assert.LessOrEqual(t, runtime.NumGoroutine(), before, "nothing runs in the background")
	cfg, err := production.config(l.o)
	require.NoError(t, err)
	assert.Nil(t, cfg.Interact)

	for _, grant := range []string{"authorization_code", "refresh_token", "password", "implicit", "urn:ietf:params:oauth:grant-type:device_code", "Client_Credentials"} {
		a := l.ask(as(harbor), func(r *http.Request) { r.URL.RawQuery = url.Values{"grant_type": {grant}}.Encode() })
		assert.Equal(t, "400 unsupported_grant_type", a.outcome(), grant)
	}
	for _, path := range []string{"/oauth/authorize", "/api/auth/v1/oauth/authorize", "/oauth/token", "/oauth/userinfo", "/oauth/revoke", "/oauth/introspect", "/oauth/jwks"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			assert.Equal(t, 404, send(l, method, path, "", as(harbor)).status, path)
		}
	}
	a := send(l, http.MethodGet, "/.well-known/oauth-authorization-server", "")
	assert.Equal(t, []any{"client_credentials"}, a.member("grant_types_supported"))
	assert.Nil(t, a.member("authorization_endpoint"))
	assert.Nil(t, a.member("response_types_supported"))
}

func response(t *testing.T) {
	a := newLab().ask(as(harbor))
	require.Equal(t, 200, a.status)
	assert.Equal(t, []string{"access_token string", "token_type string", "expires_in number"}, shape(t, []byte(a.body)))
	assert.Equal(t, "Bearer", a.member("token_type"))
	assert.Equal(t, "no-store", a.header.Get("Cache-Control"))
	assert.Equal(t, "application/json", a.header.Get("Content-Type"))
	assert.Empty(t, a.header["Set-Cookie"])
}

func lifetime(t *testing.T) {
	for id, seconds := range map[string]int{harbor: 1800, quick: 300} {
		l := newLab()
		a := l.ask(as(id))
		assert.EqualValues(t, seconds, a.member("expires_in"), id)
		token := granted(t, a)
		l.clock.Advance(time.Duration(seconds-1) * time.Second)
		assert.Equal(t, 201, l.order(token).status, id)
		l.clock.Advance(2 * time.Second)
		assert.Equal(t, "401 invalid_token", l.order(token).outcome(), id)
	}
}

func overlap(t *testing.T) {
	l := newLab()
	first := l.token(t, harbor)
	l.clock.Advance(1790 * time.Second)
	a := l.ask(as(harbor))
	second := granted(t, a)
	assert.NotEqual(t, first, second)
	assert.EqualValues(t, 1800, a.member("expires_in"))
	l.clock.Advance(9 * time.Second)
	assert.Equal(t, 201, l.order(first).status, "to its own end")
	assert.Equal(t, 201, l.order(second).status)
	l.clock.Advance(2 * time.Second)
	assert.Equal(t, 401, l.order(first).status)
	l.clock.Advance(1788 * time.Second)
	assert.Equal(t, 201, l.order(second).status)
	l.clock.Advance(2 * time.Second)
	assert.Equal(t, 401, l.order(second).status)
}

func everyCall(t *testing.T) {
	l := newLab()
	token := l.token(t, harbor)
	long := `{"lines":["` + strings.Repeat("x", 200<<10) + `"]}`
	a := send(l, http.MethodPost, ordersPath, long, bearer(token), header("Content-Type", "application/json"))
	assert.Equal(t, 201, a.status)
	assert.Contains(t, a.body, long, "the body reaches the handler whole")
	assert.Equal(t, 200, send(l, http.MethodGet, offersPath, "", bearer(token)).status)

	for _, call := range [][2]string{{http.MethodPost, ordersPath}, {http.MethodGet, offersPath}} {
		method, path := call[0], call[1]
		a = send(l, method, path, "{}")
		assert.Equal(t, 401, a.status)
		assert.Equal(t, `Bearer realm="oauth"`, a.header.Get("WWW-Authenticate"), "no error code without a token: RFC 6750, section 3.1")
		a = send(l, method, path, "{}", bearer("nonsense"))
		assert.Equal(t, "401 invalid_token", a.outcome())
		assert.Contains(t, a.header.Get("WWW-Authenticate"), `error="invalid_token"`)
		assert.Equal(t, 401, send(l, method, path+"?access_token="+token, "{}").status, "a token in the query is none")
		body, typed := form("access_token", token)
		assert.Equal(t, 401, send(l, method, path, body, typed).status, "nor one in the body")
		assert.Equal(t, 401, send(l, method, path, "{}", as(harbor)).status, "nor are credentials")
	}
}

func environmentsApart(t *testing.T) {
	l := newLab()
	const test = "harbor-books-preprod"
	preprod := func(edits ...edit) answer {
		return send(l, http.MethodPost, "/preprod"+tokenPath+grantQuery, "", edits...)
	}
	wrong := l.ask(raw(harbor, "wrong"))
	assert.Equal(t, wrong, l.ask(as(test)), "credentials of pre-production")
	assert.Equal(t, wrong, preprod(as(harbor)), "credentials of production")

	live, trial := l.token(t, harbor), granted(t, preprod(as(test)))
	order := func(base, token string) string {
		return send(l, http.MethodPost, base+ordersPath, "{}", bearer(token)).outcome()
	}
	assert.Equal(t, "201", order("", live))
	assert.Equal(t, "201", order("/preprod", trial))
	assert.Equal(t, "401 invalid_token", order("", trial))
	assert.Equal(t, "401 invalid_token", order("/preprod", live))

	// Not even with the same client, store and secrets in one process.
	a, b := production, preProduction
	a.clients = oauth.StaticClients(client("one", merchant{Addresses: loopback}))
	b.clients = a.clients
	first, second := l.server(t, a), l.server(t, b)
	text := granted(t, send(first.TokenHandler(), http.MethodPost, "/"+grantQuery, "", as("one")))
	_, err := first.VerifyToken(t.Context(), text)
	assert.NoError(t, err)
	_, err = second.VerifyToken(t.Context(), text)
	assert.ErrorIs(t, err, oauth.InvalidToken)
}

func listAtTokenEndpoint(t *testing.T) {
	l := newLab()
	wrong := l.ask(raw(northwind, "wrong"), from(listed))
	require.Equal(t, "401 invalid_client", wrong.outcome())
	for _, address := range []string{listed, listedV6, mappedV4} {
		assert.Equal(t, 200, l.ask(as(northwind), from(address)).status, address)
	}
	for _, address := range []string{unlisted, "203.0.114.9:1", "[2001:db8:78::5]:1", "127.0.0.1:1", "[::ffff:198.51.100.7]:1"} {
		assert.Equal(t, wrong, l.ask(as(northwind), from(address)), address)
		assert.Equal(t, wrong, l.ask(raw(northwind, "wrong"), from(address)), "%s: nothing is told of the secret", address)
	}
	assert.Equal(t, wrong, l.ask(as(harbor), from(listed)), "another merchant's address")
	assert.Equal(t, wrong, l.ask(as("nobody"), from(unlisted)), "nor of which merchants there are")
}

func listInAPI(t *testing.T) {
	l := newLab()
	srv := l.server(t, production)
	ran := 0
	h := srv.API().Require()(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { ran++ }))
	token := l.token(t, northwind, from(listed))
	for i, address := range []string{listed, "203.0.113.250:1", listedV6, mappedV4} {
		assert.Equal(t, 200, send(h, http.MethodGet, "/", "", bearer(token), from(address)).status, address)
		assert.Equal(t, i+1, ran)
		assert.Equal(t, 201, l.order(token, from(address)).status, address)
	}
	ran = 0
	for _, address := range []string{unlisted, "203.0.114.1:1", "[2001:db8:78::1]:1", "127.0.0.1:1"} {
		a := send(h, http.MethodGet, "/", "", bearer(token), from(address))
		assert.Equal(t, []any{403, 0}, []any{a.status, ran}, address)
		assert.Equal(t, "403 access_denied", l.order(token, from(address)).outcome(), address)
		assert.Equal(t, 403, send(l, http.MethodGet, offersPath, "", bearer(token), from(address)).status, address)
	}
}

func whoseAddress(t *testing.T) {
	inside := netip.MustParsePrefix("10.0.0.0/8")
	direct := newLab()
	behind := newLab(func(o *options) {
		o.Proxies = guard.Proxies{Trusted: []netip.Prefix{inside}, Header: "X-Forwarded-For"}
	})
	const proxy = "10.1.2.3:40000"
	tells := func(addresses string) edit { return header("X-Forwarded-For", addresses) }
	for _, c := range []struct {
		name, peer, told string
		direct, behind   int
	}{
		{"a listed peer", listed, "", 200, 200},
		{"an unlisted peer that lies", unlisted, "203.0.113.9", 401, 401},
		{"the proxy tells", proxy, "203.0.113.9", 401, 200},
		{"the proxy tells IPv6", proxy, "2001:db8:77::1", 401, 200},
		{"the proxy tells of an unlisted one", proxy, "198.51.100.7", 401, 401},
		{"the proxy passes on a lie", proxy, "203.0.113.9, 198.51.100.7", 401, 401},
		{"two proxies", proxy, "203.0.113.9, 10.9.9.9", 401, 200},
		{"the proxy tells nothing", proxy, "", 401, 401},
		{"a listed peer that tells of another", listed, "198.51.100.7", 200, 200},
	} {
		edits := []edit{as(northwind), from(c.peer), header("X-Forwarded-Proto", "https")}
		if c.told != "" {
			edits = append(edits, tells(c.told))
		}
		assert.Equal(t, c.direct, direct.ask(edits...).status, "%s, no proxy is trusted", c.name)
		assert.Equal(t, c.behind, behind.ask(edits...).status, "%s, the proxy is trusted", c.name)
	}
	token := behind.token(t, northwind, from(listed))
	secure := header("X-Forwarded-Proto", "https")
	assert.Equal(t, 201, behind.order(token, from(proxy), secure, tells("203.0.113.9")).status)
	assert.Equal(t, 403, behind.order(token, from(proxy), secure, tells("198.51.100.7")).status)
	assert.Equal(t, 403, behind.order(token, from(unlisted), secure, tells("203.0.113.9")).status)
}

// A review is a registry of one merchant whose addresses change.
type review struct{ addresses []netip.Prefix }

func (r *review) Client(_ context.Context, id string) (*oauth.Client, error) {
	if id != "reviewed" {
		return nil, oauth.ErrNotFound
	}
	c := client(id, merchant{Addresses: r.addresses})
	return &c, nil
}

func noAddresses(t *testing.T) {
	l := newLab()
	everywhere := []string{"127.0.0.1:1", "[::1]:1", listed, unlisted, listedV6, mappedV4}
	for _, address := range everywhere {
		assert.Equal(t, "401 invalid_client", l.ask(as(pending), from(address)).outcome(), address)
		a := send(l, http.MethodPost, "/preprod"+tokenPath+grantQuery, "", as(team), from(address))
		assert.Equal(t, 200, a.status, "%s: Anywhere is a setting of its own", address)
	}

	r := new(review)
	srv := l.server(t, environment{clients: r})
	ask := func() answer { return send(srv.TokenHandler(), http.MethodPost, "/"+grantQuery, "", as("reviewed")) }
	api := srv.API().Require()(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for name, none := range map[string][]netip.Prefix{"nil": nil, "empty": {}} {
		r.addresses = loopback
		token := granted(t, ask())
		assert.Equal(t, 200, send(api, http.MethodGet, "/", "", bearer(token)).status)
		r.addresses = none
		assert.Equal(t, "401 invalid_client", ask().outcome(), name)
		assert.Equal(t, "403 access_denied", send(api, http.MethodGet, "/", "", bearer(token)).outcome(), name)
	}
	r.addresses = guard.Anywhere()
	assert.Equal(t, 200, ask().status)
}

func handlerKnowsMerchant(t *testing.T) {
	l := newLab()
	a := l.order(l.token(t, quick))
	assert.Equal(t, []any{quick, "Quick Cart"}, []any{a.member("client_id"), a.member("merchant")})
	a = send(l, http.MethodGet, offersPath, "", bearer(l.token(t, harbor)))
	assert.Equal(t, []any{harbor, "Harbor Books"}, []any{a.member("client_id"), a.member("merchant")})

	srv := l.server(t, production)
	var seen *resource.Token
	h := srv.API().Require()(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen, _ = resource.FromContext(r.Context())
	}))
	send(h, http.MethodGet, "/", "", bearer(l.token(t, quick)))
	require.NotNil(t, seen)
	assert.Equal(t, []any{quick, "", 5 * time.Minute}, []any{seen.ClientID, seen.Subject, seen.ClientData.(merchant).TokenLife})
}

func anyPath(t *testing.T) {
	l := newLab()
	h := l.server(t, production).TokenHandler()
	for _, path := range []string{"/", tokenPath, "/x/y/z", "/oauth/revoke", "/.well-known/oauth-authorization-server"} {
		mux := http.NewServeMux()
		mux.Handle(path, h)
		assert.Equal(t, 200, send(mux, http.MethodPost, path+grantQuery, "", as(harbor)).status, path)
	}
	for _, server := range []string{"https://pay.example", "https://pay.example:8443/eu/v2", "http://127.0.0.1:9000/x"} {
		l := newLab(func(o *options) { o.ServerURL = server })
		for base, id := range map[string]string{server: harbor, server + "/preprod": "harbor-books-preprod"} {
			tls := from("127.0.0.1:1")
			token := granted(t, send(l, http.MethodPost, base+tokenPath+grantQuery, "", as(id), tls))
			assert.Equal(t, 201, send(l, http.MethodPost, base+ordersPath, "{}", bearer(token), tls).status, base)
		}
		assert.Equal(t, 404, send(l, http.MethodPost, server+"/elsewhere"+tokenPath+grantQuery, "", as(harbor)).status)
	}
}

func percent(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, "%%%02X", text[i])
	}
	return b.String()
}

// TestBadRequests: whatever is sent, the server says what is wrong with it.
func TestBadRequests(t *testing.T) {
	l := newLab()
	const formType = "application/x-www-form-urlencoded"
	for _, c := range []struct{ name, method, query, contentType, body, want string }{
		{"JSON", "POST", "", "application/json", `{"grant_type":"client_credentials"}`, "400 invalid_request"},
		{"JSON beside the query", "POST", grantQuery, "application/json", `{}`, "400 invalid_request"},
		{"broken JSON", "POST", grantQuery, "application/json", `{`, "400 invalid_request"},
		{"no type", "POST", grantQuery, "", "scope=x", "400 invalid_request"},
		{"multipart", "POST", grantQuery, "multipart/form-data; boundary=b", "--b--", "400 invalid_request"},
		{"another charset", "POST", grantQuery, formType + "; charset=latin1", "a=b", "400 invalid_request"},
		{"broken escape", "POST", grantQuery, formType, "scope=%zz", "400 invalid_request"},
		{"oversized", "POST", grantQuery, formType, "x=" + strings.Repeat("y", 64<<10), "413 invalid_request"},
		{"oversized query", "POST", grantQuery + "&x=" + strings.Repeat("y", 64<<10), "", "", "400 invalid_request"},
		{"too many", "POST", grantQuery, formType, strings.Repeat("a&", 101), "400 invalid_request"},
		{"GET", "GET", grantQuery, "", "", "405 invalid_request"},
		{"no grant type", "POST", "", formType, "", "400 invalid_request"},
		{"a scope, and there are none", "POST", grantQuery, formType, "scope=x", "400 invalid_scope"},
		{"a resource, and there are none", "POST", grantQuery, formType, "resource=https://x.example", "400 invalid_target"},
	} {
		edits := []edit{as(harbor)}
		if c.contentType != "" {
			edits = append(edits, header("Content-Type", c.contentType))
		}
		a := send(l, c.method, tokenPath+c.query, c.body, edits...)
		assert.Equal(t, c.want, a.outcome(), c.name)
		assert.Equal(t, "no-store", a.header.Get("Cache-Control"), c.name)
	}
	assert.Equal(t, []string{"POST"}, send(l, "GET", tokenPath, "").header["Allow"])
	token := l.token(t, harbor)
	for _, body := range []string{"", "{", "{} x", `"` + strings.Repeat("y", maxOrder)} {
		assert.Equal(t, 400, send(l, "POST", ordersPath, body, bearer(token)).status)
	}
}
