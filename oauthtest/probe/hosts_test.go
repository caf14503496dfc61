package probe_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/oauthtest/probe"
)

const metadataPath = "/.well-known/oauth-authorization-server"

func s256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

type rec = *httptest.ResponseRecorder

func set(name string, value any) wrap {
	return members(metadataPath, func(m map[string]any, _ rec) { m[name] = value })
}

// request changes every request before anything else.
func request(change func(r *http.Request)) wrap {
	return func(_ *oauthtest.Server, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			change(r)
			h.ServeHTTP(w, r)
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func brokenMetadata() []breakage {
	return []breakage{
		{name: "plain http", check: "issuer-https", target: func(p *probe.Target) {
			p.URL = "http://as.example"
			p.HTTP = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				return recorded(http.NotFoundHandler(), r).Result(), nil
			})}
		}},
		{name: "not there", check: "metadata-served", wrap: missing(metadataPath)},
		{name: "text/plain", check: "metadata-served", wrap: with(metadataPath, "Content-Type", "text/plain")},
		{name: "a slash too many", check: "metadata-issuer", wrap: members(metadataPath, func(m map[string]any, _ rec) { m["issuer"] = m["issuer"].(string) + "/" })},
		{name: "the address behind the proxy", check: "metadata-endpoints", wrap: set("token_endpoint", "http://10.0.0.1:8080/oauth/token")},
		{name: "a path alone", check: "metadata-endpoints", wrap: set("token_endpoint", "/oauth/token")},
		{name: "another prefix", check: "metadata-prefix", target: func(p *probe.Target) { p.Prefix = "/auth" }},
		{name: "X-Forwarded-Host", check: "metadata-host", wrap: answers(metadataPath, func(rec rec, r *http.Request) {
			if host := r.Header.Get("X-Forwarded-Host"); host != "" {
				body := strings.ReplaceAll(rec.Body.String(), r.Host, host)
				rec.Body.Reset()
				rec.Body.WriteString(body)
			}
		})},
		{name: "a list that is null", check: "metadata-members", wrap: set("scopes_supported", nil)},
		{name: "no response types", check: "metadata-members", wrap: members(metadataPath, func(m map[string]any, _ rec) { delete(m, "response_types_supported") })},
		{name: "plain", check: "metadata-pkce", wrap: set("code_challenge_methods_supported", []string{"plain", "S256"})},
		{name: "implicit", check: "metadata-grants", edit: implicit},
		{name: "password", check: "metadata-grants", wrap: set("grant_types_supported", []string{"password"})},
		{name: "one route is missing", check: "endpoints-mounted", wrap: missing("/oauth/revoke")},
		{name: "all routes below another prefix", check: "endpoints-mounted", wrap: func(_ *oauthtest.Server, h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/auth/", http.StripPrefix("/auth", h))
			mux.Handle(metadataPath, h)
			return mux
		}},
		{name: "a page for everything", check: "endpoints-mounted", wrap: func(_ *oauthtest.Server, h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle(metadataPath, h)
			mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>the app") }) //nolint:errcheck // a test
			return mux
		}},
		{name: "a private key", check: "jwks-public", wrap: func(_ *oauthtest.Server, h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/", h)
			mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, `{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b","d":"c"}]}`) //nolint:errcheck // a test
			})
			return mux
		}, target: func(p *probe.Target) { p.Endpoints.JWKS = "/keys" }},
		{name: "none", check: "cors", edit: func(c *oauth.Config) { c.Origins = oauth.NoOrigins }},
		{name: "not on errors", check: "cors", wrap: answers("/oauth/token", func(rec rec, _ *http.Request) {
			if rec.Code >= 400 {
				rec.Header().Del("Access-Control-Allow-Origin")
			}
		})},
		{name: "OPTIONS does not get through", check: "cors", wrap: func(_ *oauthtest.Server, h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/", h)
			mux.Handle("POST /oauth/token", h)
			mux.HandleFunc("OPTIONS /oauth/token", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) })
			return mux
		}},
		{name: "with credentials", check: "cors-credentials", wrap: with("/oauth/token", "Access-Control-Allow-Credentials", "true")},
		{name: "everywhere", check: "cors-authorize", wrap: with("", "Access-Control-Allow-Origin", "*")},
	}
}

func implicit(c *oauth.Config) {
	c.Grants = append(c.Grants, grants.Implicit{}) //lint:ignore SA1019 the fault is that it is there
	c.Clients = oauth.StaticClients(oauth.Client{ID: oauthtest.SPAClient, Public: true, RedirectURIs: []string{oauthtest.Callback},
		Scopes: []string{"read", "write"}, Grants: []string{"authorization_code", "implicit"}})
}

// openRedirect sends every refusal to whatever redirect_uri says.
var openRedirect = answers("/oauth/authorize", func(rec rec, r *http.Request) {
	if to := r.URL.Query().Get("redirect_uri"); rec.Code == http.StatusBadRequest && to != "" {
		rec.Code = http.StatusFound
		rec.Header().Set("Location", to+"?error=invalid_request")
	}
})

// cookies changes the cookies that are set.
func cookies(change func(text string) string) wrap {
	return answers("", func(rec rec, _ *http.Request) {
		for i, text := range rec.Header()["Set-Cookie"] {
			rec.Header()["Set-Cookie"][i] = change(text)
		}
	})
}

func cut(text string) func(string) string {
	return func(cookie string) string { return strings.ReplaceAll(cookie, text, "") }
}

func loopbackClient(p *probe.Target) {
	p.Public = probe.Client{ID: "native", RedirectURI: "http://127.0.0.1/cb", Scopes: []string{"read"}}
}

// native adds a client of loopbackClient.
func native(c *oauth.Config) {
	c.Clients = oauth.StaticClients(oauth.Client{ID: "native", Public: true, RedirectURIs: []string{"http://127.0.0.1/cb"}, Scopes: []string{"read"}})
}

func brokenAuthorize() []breakage {
	return []breakage{
		{name: "a token endpoint that is deaf", check: "code-flow", wrap: deaf("/oauth/token")},
		{name: "redirects first", check: "authorize-client", wrap: openRedirect},
		{name: "takes the first", check: "authorize-duplicate", wrap: once("/oauth/authorize", 0)},
		{name: "takes the last", check: "authorize-duplicate", wrap: once("/oauth/authorize", -1)},
		{name: "a page for every error", check: "authorize-error-redirect", wrap: answers("/oauth/authorize", func(rec rec, _ *http.Request) {
			if strings.Contains(rec.Header().Get("Location"), "error=") {
				rec.Code = http.StatusBadRequest
			}
		})},
		{name: "state forgotten in errors", check: "authorize-error-redirect", wrap: location(func(q url.Values, _ *http.Request) {
			if q.Has("error") {
				q.Del("state")
			}
		})},
		{name: "implicit, in secret", check: "authorize-response-type", edit: implicit,
			wrap: set("response_types_supported", []string{"code"})},
		{name: "dropped without a word", check: "authorize-scope", wrap: both(
			queries(func(q url.Values) { q.Set("scope", "read") }),
			members("/oauth/token", func(m map[string]any, _ rec) { delete(m, "scope") }))},
		{name: "encoded twice", check: "authorize-state", wrap: location(func(q url.Values, _ *http.Request) { q.Set("state", url.QueryEscape(q.Get("state"))) })},
		{name: "not encoded", check: "authorize-state", wrap: answers("/oauth/authorize", func(rec rec, r *http.Request) {
			for line := range strings.SplitSeq(r.URL.Query().Get("state"), "\r\n") { // what a server that writes raw bytes would send
				if name, value, ok := strings.Cut(line, ": "); ok {
					rec.Header().Set(name, value)
				}
			}
		})},
		{name: "left out", check: "authorize-iss", edit: func(c *oauth.Config) { c.InsecureOmitIssuer = true }},
		{name: "another", check: "authorize-iss", wrap: location(func(q url.Values, _ *http.Request) { q.Set("iss", q.Get("iss")+"/") })},
		{name: "left out", check: "authorize-iss-error", wrap: location(func(q url.Values, _ *http.Request) {
			if q.Has("error") {
				q.Del("iss")
			}
		})},
		{name: "not said", check: "authorize-iss-advertised", wrap: set("authorization_response_iss_parameter_supported", false)},
		{name: "said and not done", check: "authorize-iss-advertised", wrap: location(func(q url.Values, _ *http.Request) { q.Del("iss") })},
		{name: "307", check: "authorize-redirect-headers", wrap: answers("/oauth/authorize", func(rec rec, _ *http.Request) { rec.Code = http.StatusTemporaryRedirect })},
		{name: "cached", check: "authorize-redirect-headers", wrap: without("/oauth/authorize", "Cache-Control")},
		{name: "answered at once", check: "authorize-post", wrap: request(func(r *http.Request) {
			if r.Method == http.MethodPost && r.URL.Path == "/oauth/authorize" {
				body, _ := io.ReadAll(r.Body)
				r.Method, r.URL.RawQuery = http.MethodGet, string(body)
			}
		})},
		{name: "without Secure", check: "authorize-cookies", https: true, wrap: cookies(cut("; Secure"))},
		{name: "without HttpOnly", check: "authorize-cookies", wrap: cookies(cut("; HttpOnly"))},
		{name: "without SameSite", check: "authorize-cookies", wrap: cookies(cut("; SameSite=Lax"))},
		{name: "the name of the client", check: "authorize-reflection", wrap: answers("/oauth/authorize", func(rec rec, r *http.Request) {
			rec.Body.WriteString(r.URL.Query().Get("client_id"))
		})},
	}
}

func brokenRedirects() []breakage {
	host := func(uri string) bool { return strings.HasPrefix(uri, "https://client.example") }
	return []breakage{
		{name: "the host is a prefix", check: "redirect-host", wrap: redirects(host)},
		{name: "the host of another", check: "redirect-host", wrap: redirects(func(uri string) bool { return strings.HasSuffix(uri, "/callback") })},
		{name: "a pattern", check: "redirect-host", wrap: redirects(func(uri string) bool { return strings.Contains(uri, "client.example/callback") })},
		{name: "a prefix", check: "redirect-path", wrap: redirects(func(uri string) bool { return strings.HasPrefix(uri, oauthtest.Callback) })},
		{name: "the origin alone", check: "redirect-path", wrap: redirects(func(uri string) bool { return uri == "https://client.example/" })},
		{name: "cut off before it is compared", check: "redirect-fragment", wrap: redirects(func(uri string) bool { return strings.HasPrefix(uri, oauthtest.Callback+"#") })},
		{name: "without a scheme", check: "redirect-relative", wrap: redirects(func(uri string) bool { return strings.HasPrefix(uri, "//") })},
		{name: "a path", check: "redirect-relative", wrap: redirects(func(uri string) bool { return uri == "/callback" })},
		{name: "takes the last", check: "redirect-duplicate", wrap: once("/oauth/authorize", -1)},
		{name: "takes the first", check: "redirect-duplicate", wrap: once("/oauth/authorize", 0)},
		{name: "redirects first", check: "redirect-error", wrap: openRedirect},
		{name: "any loopback host", check: "redirect-loopback", edit: native, target: loopbackClient, wrap: queries(func(q url.Values) {
			q.Set("redirect_uri", strings.Replace(q.Get("redirect_uri"), "localhost", "127.0.0.1", 1))
		})},
		{name: "one port", check: "redirect-loopback", edit: native, target: loopbackClient, wrap: func(_ *oauthtest.Server, h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.RawQuery, "53123") {
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				h.ServeHTTP(w, r)
			})
		}},
	}
}

var hidden = regexp.MustCompile(`name="(interaction|user)" value="([^"]*)"`)

// carefree posts what another site's form lacks: the handle is kept with the cookie.
func carefree(_ *oauthtest.Server, h http.Handler) http.Handler {
	var page memory
	inner := answers("", func(rec rec, _ *http.Request) {
		for _, m := range hidden.FindAllStringSubmatch(rec.Body.String(), -1) {
			page.put(m[1], m[2])
		}
	})(nil, h)
	return forms("/oauth/authorize", func(r *http.Request, f url.Values) {
		r.Header.Del("Origin")
		r.Header.Del("Sec-Fetch-Site")
		for _, name := range []string{"interaction", "user"} {
			if !f.Has(name) && f.Has("decision") {
				f.Set(name, page.get(name))
			}
		}
	})(nil, cookies(func(text string) string { return strings.ReplaceAll(text, "SameSite=Lax", "SameSite=None") })(nil, inner))
}

func brokenPages() []breakage {
	list := []breakage{
		{name: "no header", check: "page-framing", wrap: without("", "Content-Security-Policy", "X-Frame-Options")},
		{name: "cached", check: "page-cached", wrap: without("", "Cache-Control")},
		{name: "no Referrer-Policy", check: "page-cached", wrap: without("", "Referrer-Policy")},
		{name: "'self'", check: "page-form-action", wrap: with("", "Content-Security-Policy", "default-src 'none'; form-action 'self'")},
		{name: "any browser", check: "consent-browser", wrap: func(_ *oauthtest.Server, h http.Handler) http.Handler {
			var last memory
			return request(func(r *http.Request) {
				if c := r.Header.Get("Cookie"); c != "" {
					last.put("", c)
				} else if r.Method == http.MethodPost {
					r.Header.Set("Cookie", last.get(""))
				}
			})(nil, h)
		}},
		{name: "the cookie is enough", check: "consent-csrf", wrap: carefree},
		{name: "the form says where to", check: "consent-fixed", wrap: func(_ *oauthtest.Server, h http.Handler) http.Handler {
			inner := answers("/oauth/authorize", func(rec rec, r *http.Request) {
				if _, params, ok := strings.Cut(rec.Header().Get("Location"), "code="); ok && r.Header.Get("X-To") != "" {
					rec.Header().Set("Location", r.Header.Get("X-To")+"?code="+params)
				}
			})(nil, h)
			return forms("/oauth/authorize", func(r *http.Request, f url.Values) { r.Header.Set("X-To", f.Get("redirect_uri")) })(nil, inner)
		}},
		{name: "a code each time", check: "consent-once", wrap: func(_ *oauthtest.Server, h http.Handler) http.Handler {
			var n atomic.Int64
			inner := forms("/oauth/token", func(_ *http.Request, f url.Values) {
				code, _, _ := strings.Cut(f.Get("code"), "~")
				f.Set("code", code)
			})(nil, h)
			return location(func(q url.Values, _ *http.Request) { q.Set("code", q.Get("code")+"~"+strconv.FormatInt(n.Add(1), 10)) })(nil, inner)
		}},
	}
	for i := range list {
		list[i].pages = true
	}
	return list
}

func tokenForms(change func(r *http.Request, f url.Values)) wrap {
	return forms("/oauth/token", change)
}

func brokenClients() []breakage {
	basic := func(r *http.Request, id, secret string) {
		if _, _, ok := r.BasicAuth(); ok {
			r.SetBasicAuth(id, secret)
		}
	}
	return []breakage{
		{name: "any secret", check: "client-secret-wrong", wrap: tokenForms(func(r *http.Request, _ url.Values) { basic(r, oauthtest.WebClient, oauthtest.Secret) })},
		{name: "400", check: "client-secret-wrong", wrap: answers("/oauth/token", func(rec rec, _ *http.Request) {
			if rec.Code == http.StatusUnauthorized {
				rec.Code = http.StatusForbidden
			}
		})},
		{name: "counts", check: "client-secret-query", wrap: merged("/oauth/token", "client_id", "client_secret")},
		{name: "the header wins", check: "client-two-methods", wrap: tokenForms(func(r *http.Request, f url.Values) {
			if _, _, ok := r.BasicAuth(); ok {
				f.Del("client_secret")
			}
		})},
		{name: "the header wins", check: "client-two-identities", wrap: tokenForms(func(r *http.Request, f url.Values) {
			if _, _, ok := r.BasicAuth(); ok {
				f.Del("client_id")
			}
		})},
		{name: "as they are", check: "client-basic-encoding", wrap: tokenForms(func(r *http.Request, _ url.Values) {
			if id, secret, ok := r.BasicAuth(); ok {
				r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
			}
		})},
		{name: "the code is used up first", check: "client-basic-then-body", wrap: burning("code", lateAuthentication)},
		{name: "always", check: "client-challenge", wrap: with("/oauth/token", "WWW-Authenticate", "Basic")},
		{name: "never", check: "client-challenge", wrap: without("/oauth/token", "WWW-Authenticate")},
		{name: "told", check: "client-unknown", wrap: answers("/oauth/token", func(rec rec, r *http.Request) {
			if id, _, _ := r.BasicAuth(); strings.HasPrefix(id, "no-such") {
				rec.Body.Reset()
				rec.Body.WriteString(`{"error":"invalid_client","error_description":"unknown client"}`)
			}
		})},
		{name: "a refresh token", check: "client-credentials", wrap: members("/oauth/token", func(m map[string]any, _ rec) { m["refresh_token"] = "a" })},
		{name: "anybody", check: "client-credentials-public", wrap: tokenForms(func(r *http.Request, f url.Values) {
			if f.Get("grant_type") == "client_credentials" {
				as(r, f, oauthtest.MachineClient)
			}
		})},
	}
}

func brokenTokens() []breakage {
	token := func(change func(m map[string]any, rec rec)) wrap { return members("/oauth/token", change) }
	onError := func(change func(m map[string]any, rec rec)) wrap {
		return token(func(m map[string]any, rec rec) {
			if m["error"] != nil {
				change(m, rec)
			}
		})
	}
	return []breakage{
		{name: "allowed", check: "token-get", wrap: merged("/oauth/token")},
		{name: "merged", check: "token-query", wrap: merged("/oauth/token")},
		{name: "accepted", check: "token-json", edit: func(c *oauth.Config) { c.Decode = oauth.Merge(oauth.FormBody, oauth.JSONBody) }},
		{name: "text/plain", check: "token-json", wrap: converted("text/plain", func(r *http.Request) url.Values {
			body, _ := io.ReadAll(r.Body)
			f, _ := url.ParseQuery(string(body))
			return f
		})},
		{name: "accepted", check: "token-multipart", wrap: converted("multipart/form-data", func(r *http.Request) url.Values {
			r.ParseMultipartForm(1 << 20) //nolint:errcheck // then there is nothing
			return r.PostForm
		})},
		{name: "takes the first", check: "token-duplicate", wrap: once("/oauth/token", 0)},
		{name: "read whole", check: "token-large", wrap: tokenForms(func(_ *http.Request, f url.Values) { f.Del("padding") })},
		{name: "cached", check: "token-success", wrap: without("/oauth/token", "Cache-Control")},
		{name: "a type of its own", check: "token-success", wrap: token(func(m map[string]any, _ rec) { m["token_type"] = "JWT" })},
		{name: "no type", check: "token-success", wrap: token(func(m map[string]any, _ rec) { delete(m, "token_type") })},
		{name: "expires_in as text", check: "token-success", wrap: token(func(m map[string]any, _ rec) { m["expires_in"] = "3600" })},
		{name: "an empty refresh token", check: "token-success", wrap: token(func(m map[string]any, _ rec) { m["refresh_token"] = "" })},
		{name: "text/plain", check: "token-success", wrap: with("/oauth/token", "Content-Type", "text/plain")},
		{name: "text/plain", check: "token-errors", wrap: with("/oauth/token", "Content-Type", "text/plain; charset=utf-8")},
		{name: "200", check: "token-errors", wrap: onError(func(_ map[string]any, rec rec) { rec.Code = http.StatusOK })},
		{name: "one code for all", check: "token-errors", wrap: onError(func(m map[string]any, _ rec) { m["error"] = "server_error" })},
		{name: "cached", check: "token-errors", wrap: without("/oauth/token", "Cache-Control")},
		{name: "left out", check: "token-nosniff", wrap: without("/oauth/token", "X-Content-Type-Options")},
		{name: "the cause", check: "token-leaks", wrap: onError(func(m map[string]any, _ rec) { m["error_description"] = "sql: no rows in result set" })},
		{name: "a member", check: "token-leaks", wrap: onError(func(m map[string]any, _ rec) { m["error_debug"] = "x" })},
		{name: "served", check: "token-password", wrap: onError(func(m map[string]any, _ rec) { m["error"] = "invalid_grant" })},
		{name: "a bad request is a 500", check: "server-errors", wrap: onError(func(_ map[string]any, rec rec) { rec.Code = http.StatusInternalServerError }),
			target: func(p *probe.Target) { p.Only = []string{"token-errors", "server-errors"} }},
	}
}

// together gives requests with one code that come at once one answer. One that comes
// later is refused.
func together(_ *oauthtest.Server, h http.Handler) http.Handler {
	type flight struct {
		second chan struct{}
		done   chan struct{}
		answer rec
	}
	var mu sync.Mutex
	flights := map[string]*flight{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/oauth/token" {
			h.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		mu.Lock()
		f, flying := flights[string(body)]
		if !flying {
			f = &flight{make(chan struct{}), make(chan struct{}), nil}
			flights[string(body)] = f
			mu.Unlock()
			select {
			case <-f.second:
			case <-time.After(50 * time.Millisecond):
			}
			f.answer = recorded(h, r)
			close(f.done)
			mu.Lock()
			delete(flights, string(body))
			mu.Unlock()
			replay(w, f.answer, f.answer.Body.Bytes())
			return
		}
		select {
		case <-f.second:
		default:
			close(f.second)
		}
		mu.Unlock()
		<-f.done
		replay(w, f.answer, f.answer.Body.Bytes())
	})
}

// onlySent compares the verifier only where one is sent.
func onlySent(_ *oauthtest.Server, h http.Handler) http.Handler {
	const own = "a-verifier-that-the-host-knows-and-nobody-else-needs"
	var challenges memory // by code
	inner := answers("/oauth/authorize", func(rec rec, r *http.Request) {
		if to, err := url.Parse(rec.Header().Get("Location")); err == nil && to.Query().Has("code") {
			challenges.put(to.Query().Get("code"), r.Header.Get("X-Challenge"))
		}
	})(nil, h)
	inner = request(func(r *http.Request) {
		if q := r.URL.Query(); q.Has("code_challenge") {
			r.Header.Set("X-Challenge", q.Get("code_challenge"))
			q.Set("code_challenge", s256(own))
			r.URL.RawQuery = q.Encode()
		}
	})(nil, inner)
	return tokenForms(func(_ *http.Request, f url.Values) {
		if v := f.Get("code_verifier"); v == "" || s256(v) == challenges.get(f.Get("code")) {
			f.Set("code_verifier", own)
		}
	})(nil, inner)
}

func brokenCodes() []breakage {
	const own = "a-verifier-that-the-host-knows-and-nobody-else-needs"
	foreign := func(r *http.Request, f url.Values, owner string) bool { return clientOf(r, f) != owner }
	ownChallenge := func(when func(q url.Values) bool) wrap {
		return queries(func(q url.Values) {
			if when(q) {
				q.Set("code_challenge", s256(own))
				q.Set("code_challenge_method", "S256")
			}
		})
	}
	return []breakage{
		{name: "reusable", check: "code-single-use", wrap: reusable("code", same)},
		{name: "reusable", check: "code-race", wrap: reusable("code", same)},
		{name: "while it is redeemed", check: "code-race", wrap: together},
		{name: "the replay is refused, and no more", check: "code-replay-revokes", wrap: reusable("code", func(w http.ResponseWriter, _ string) {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"error":"invalid_grant"}`) //nolint:errcheck // a test
		})},
		{name: "any client", check: "code-client", wrap: unbound("code")},
		{name: "burnt by a stranger", check: "code-client-unharmed", wrap: burning("code", foreign)},
		{name: "not compared", check: "code-redirect", wrap: tokenForms(func(_ *http.Request, f url.Values) {
			if f.Has("code") {
				f.Set("redirect_uri", oauthtest.Callback)
			}
		})},
		{name: "burnt by one mistake", check: "code-failed-attempt", wrap: burning("code", func(_ *http.Request, f url.Values, _ string) bool {
			return strings.HasPrefix(f.Get("code_verifier"), "wwww")
		})},
		{name: "all scopes of the client", check: "code-scope", wrap: queries(func(q url.Values) { q.Set("scope", "read write") })},
		{name: "a refresh token as code", check: "code-kinds", wrap: tokenForms(func(_ *http.Request, f url.Values) {
			if f.Has("code") && strings.HasPrefix(f.Get("code"), "rt-") {
				f.Set("grant_type", "refresh_token")
				f.Set("refresh_token", f.Get("code"))
			}
		}), edit: func(c *oauth.Config) { c.RefreshToken = oauth.Opaque{Prefix: "rt-"} }},
		{name: "numbered codes", check: "code-guessing", wrap: func(_ *oauthtest.Server, h http.Handler) http.Handler {
			var real memory
			var n atomic.Int64
			inner := tokenForms(func(_ *http.Request, f url.Values) {
				if code := real.get(f.Get("code")); code != "" {
					f.Set("code", code)
				}
			})(nil, h)
			return location(func(q url.Values, _ *http.Request) {
				alias := fmt.Sprintf("0123456789abcdef0123456789abcdef-%d", n.Add(1))
				real.put(alias, q.Get("code"))
				q.Set("code", alias)
			})(nil, inner)
		}},
		{name: "not needed", check: "pkce-required", wrap: ownChallenge(func(q url.Values) bool { return !q.Has("code_challenge") })},
		{name: "accepted", check: "pkce-plain", wrap: ownChallenge(func(q url.Values) bool { return q.Get("code_challenge_method") == "plain" })},
		{name: "what has no method is plain", check: "pkce-plain", wrap: ownChallenge(func(q url.Values) bool { return !q.Has("code_challenge_method") })},
		{name: "not compared", check: "pkce-verifier", wrap: noPKCE()},
		{name: "only where it is sent", check: "pkce-verifier", wrap: onlySent},
		{name: "not looked at", check: "pkce-downgrade", edit: func(c *oauth.Config) { c.Grants[0] = grants.AuthorizationCode{PKCE: grants.PKCEOptional} },
			wrap: tokenForms(func(_ *http.Request, f url.Values) {
				if strings.HasPrefix(f.Get("code_verifier"), "vvvv") {
					f.Del("code_verifier")
				}
			})},
		{name: "anything", check: "pkce-format", wrap: ownChallenge(func(q url.Values) bool { return len(q.Get("code_challenge")) != 43 })},
	}
}

func brokenRefreshes() []breakage {
	foreign := func(r *http.Request, f url.Values, owner string) bool { return clientOf(r, f) != owner }
	refreshing := func(change func(f url.Values)) wrap {
		return tokenForms(func(_ *http.Request, f url.Values) {
			if f.Get("grant_type") == "refresh_token" {
				change(f)
			}
		})
	}
	tail := func(_ *oauthtest.Server, h http.Handler) http.Handler { // every answer has a refresh token of its own
		var n atomic.Int64
		inner := refreshing(func(f url.Values) {
			token, _, _ := strings.Cut(f.Get("refresh_token"), "~")
			f.Set("refresh_token", token)
		})(nil, h)
		return members("/oauth/token", func(m map[string]any, _ rec) {
			if m["refresh_token"] != nil {
				m["refresh_token"] = fmt.Sprintf("%s~%d", m["refresh_token"], n.Add(1))
			}
		})(nil, inner)
	}
	keeping := func(_ *oauthtest.Server, h http.Handler) http.Handler { // one alias for all generations
		var newest memory
		inner := refreshing(func(f url.Values) { f.Set("refresh_token", newest.get(f.Get("refresh_token"))) })(nil, h)
		return members("/oauth/token", func(m map[string]any, _ rec) {
			if token, ok := m["refresh_token"].(string); ok {
				newest.put("the-same", token)
				m["refresh_token"] = "the-same"
			}
		})(nil, inner)
	}
	var narrowed memory
	return []breakage{
		{name: "refused", check: "refresh-works", wrap: refreshing(func(f url.Values) { f.Set("refresh_token", "x") })},
		{name: "kept", check: "refresh-rotation", wrap: keeping},
		{name: "good again", check: "refresh-reuse", wrap: reusable("refresh_token", same)},
		{name: "a token each", check: "refresh-race", wrap: tail},
		{name: "any client", check: "refresh-client", wrap: unbound("refresh_token")},
		{name: "burnt by a stranger", check: "refresh-client-unharmed", wrap: burning("refresh_token", foreign)},
		{name: "not held against anything", check: "refresh-scope", wrap: both(refreshing(func(f url.Values) { f.Del("scope") }),
			members("/oauth/token", func(m map[string]any, _ rec) { delete(m, "scope") }))},
		{name: "the grant gets narrower", check: "refresh-narrow", wrap: refreshing(func(f url.Values) {
			if f.Has("scope") {
				narrowed.put("", f.Get("scope"))
			} else if narrowed.get("") != "" {
				f.Set("scope", narrowed.get(""))
			}
		})},
	}
}

func brokenLater() []breakage {
	introspect := func(change func(m map[string]any, rec rec)) wrap { return members("/oauth/introspect", change) }
	var last memory
	return []breakage{
		{name: "200 and nothing done", check: "revoke-effective", wrap: deaf("/oauth/revoke")},
		{name: "200 and nothing done", check: "revoke-access", wrap: deaf("/oauth/revoke")},
		{name: "an error", check: "revoke-unknown", wrap: answers("/oauth/revoke", func(rec rec, _ *http.Request) { rec.Code = http.StatusBadRequest })},
		{name: "any client", check: "revoke-client", wrap: forms("/oauth/revoke", func(r *http.Request, f url.Values) { as(r, f, oauthtest.SPAClient) })},
		{name: "nobody", check: "revoke-anonymous", wrap: forms("/oauth/revoke", func(r *http.Request, f url.Values) {
			if clientOf(r, f) == "" {
				as(r, f, oauthtest.SPAClient)
			}
		})},
		{name: "allowed", check: "revoke-get", wrap: merged("/oauth/revoke")},
		{name: "exp left out", check: "introspect-answer", wrap: introspect(func(m map[string]any, _ rec) { delete(m, "exp") })},
		{name: "a reason", check: "introspect-unknown", wrap: introspect(func(m map[string]any, _ rec) { m["reason"] = "expired" })},
		{name: "anybody", check: "introspect-authenticates", wrap: forms("/oauth/introspect", func(r *http.Request, f url.Values) { as(r, f, oauthtest.APIClient) })},
		{name: "allowed", check: "introspect-get", wrap: merged("/oauth/introspect")},
		{name: "not there", check: "bearer-accepted", wrap: missing("/oauth/userinfo")},
		{name: "no challenge", check: "bearer-challenge", wrap: without("/oauth/userinfo", "WWW-Authenticate")},
		{name: "the beginning is enough", check: "bearer-altered", wrap: both(request(func(r *http.Request) {
			if token := last.get("access_token"); token != "" && strings.HasPrefix(r.Header.Get("Authorization"), "Bearer "+token) {
				r.Header.Set("Authorization", "Bearer "+token)
			}
		}), members("/oauth/token", func(m map[string]any, _ rec) {
			if token, ok := m["access_token"].(string); ok {
				last.put("access_token", token)
			}
		}))},
		{name: "counts", check: "bearer-query", wrap: request(func(r *http.Request) {
			if token := r.URL.Query().Get("access_token"); token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
				r.URL.RawQuery = ""
			}
		})},
	}
}
