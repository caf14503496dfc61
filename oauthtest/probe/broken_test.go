package probe_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/oauthtest/probe"
)

// A breakage is a host with one fault, and the check that must find it. It is the
// strict server behind something that undoes one of its rules.
type breakage struct {
	name, check string
	wrap        func(srv *oauthtest.Server, h http.Handler) http.Handler
	edit        func(*oauth.Config)
	https       bool
	pages       bool // with login and consent
	target      func(*probe.Target)
}

// recorded serves a request and returns the answer.
func recorded(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func replay(w http.ResponseWriter, rec *httptest.ResponseRecorder, body []byte) {
	maps.Copy(w.Header(), rec.Header())
	w.Header().Del("Content-Length")
	w.WriteHeader(rec.Code)
	w.Write(body) //nolint:errcheck // a test
}

type wrap = func(*oauthtest.Server, http.Handler) http.Handler

// answers changes what comes from a path; "" is every path.
func answers(path string, change func(rec *httptest.ResponseRecorder, r *http.Request)) wrap {
	return func(_ *oauthtest.Server, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if path != "" && r.URL.Path != path {
				h.ServeHTTP(w, r)
				return
			}
			rec := recorded(h, r)
			change(rec, r)
			replay(w, rec, rec.Body.Bytes())
		})
	}
}

// without drops headers of the answers from a path.
func without(path string, headers ...string) wrap {
	return answers(path, func(rec *httptest.ResponseRecorder, _ *http.Request) {
		for _, name := range headers {
			rec.Header().Del(name)
		}
	})
}

func with(path, header, value string) wrap {
	return answers(path, func(rec *httptest.ResponseRecorder, _ *http.Request) { rec.Header().Set(header, value) })
}

// members changes the JSON that comes from a path.
func members(path string, change func(m map[string]any, rec *httptest.ResponseRecorder)) wrap {
	return answers(path, func(rec *httptest.ResponseRecorder, _ *http.Request) {
		var m map[string]any
		if json.Unmarshal(rec.Body.Bytes(), &m) != nil {
			return
		}
		change(m, rec)
		rec.Body.Reset()
		json.NewEncoder(rec.Body).Encode(m) //nolint:errcheck // in memory
	})
}

// location changes the parameters of a redirect from the authorization endpoint.
func location(change func(q url.Values, r *http.Request)) wrap {
	return answers("/oauth/authorize", func(rec *httptest.ResponseRecorder, r *http.Request) {
		rest, ok := strings.CutPrefix(rec.Header().Get("Location"), oauthtest.Callback)
		if ok && rest != "" { // a ? or a # and the parameters
			q, _ := url.ParseQuery(rest[1:])
			change(q, r)
			rec.Header().Set("Location", oauthtest.Callback+rest[:1]+q.Encode())
		}
	})
}

// forms changes what is posted to a path, before the server reads it.
func forms(path string, change func(r *http.Request, f url.Values)) wrap {
	return func(_ *oauthtest.Server, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path && r.Method == http.MethodPost {
				body, _ := io.ReadAll(r.Body)
				f, _ := url.ParseQuery(string(body))
				change(r, f)
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(f.Encode())), int64(len(f.Encode()))
			}
			h.ServeHTTP(w, r)
		})
	}
}

// queries changes the query of an authorization request.
func queries(change func(q url.Values)) wrap {
	return func(_ *oauthtest.Server, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/oauth/authorize" {
				q := r.URL.Query()
				change(q)
				r.URL.RawQuery = q.Encode()
			}
			h.ServeHTTP(w, r)
		})
	}
}

// both puts one wrapper around another.
func both(outer, inner wrap) wrap {
	return func(srv *oauthtest.Server, h http.Handler) http.Handler { return outer(srv, inner(srv, h)) }
}

// memory is what a wrapper remembers of what passed by.
type memory struct {
	sync.Mutex
	m map[string]string
}

func (x *memory) put(k, v string) {
	x.Lock()
	defer x.Unlock()
	if x.m == nil {
		x.m = map[string]string{}
	}
	x.m[k] = v
}

func (x *memory) get(k string) string {
	x.Lock()
	defer x.Unlock()
	return x.m[k]
}

// clientOf is the client of a token request.
func clientOf(r *http.Request, f url.Values) string {
	if id, _, ok := r.BasicAuth(); ok {
		return id
	}
	return f.Get("client_id")
}

// as authenticates a token request as this client.
func as(r *http.Request, f url.Values, id string) {
	r.Header.Del("Authorization")
	f.Del("client_secret")
	f.Set("client_id", id)
	if id != oauthtest.SPAClient {
		f.Del("client_id")
		r.SetBasicAuth(id, oauthtest.Secret)
	}
}

// same is the answer of the first time.
func same(w http.ResponseWriter, first string) { io.WriteString(w, first) } //nolint:errcheck // a test

// reusable answers itself whoever sends a credential again.
func reusable(param string, again func(w http.ResponseWriter, first string)) wrap {
	return func(_ *oauthtest.Server, h http.Handler) http.Handler {
		var seen memory
		var one sync.Mutex
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/oauth/token" {
				h.ServeHTTP(w, r)
				return
			}
			one.Lock()
			defer one.Unlock()
			body, _ := io.ReadAll(r.Body)
			f, _ := url.ParseQuery(string(body))
			if old := seen.get(f.Get(param)); f.Get(param) != "" && old != "" {
				w.Header().Set("Content-Type", "application/json")
				again(w, old)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			rec := recorded(h, r)
			if rec.Code == http.StatusOK {
				seen.put(f.Get(param), rec.Body.String())
			}
			replay(w, rec, rec.Body.Bytes())
		})
	}
}

// unbound lets any client present a credential: it comes as the one that it belongs to.
func unbound(param string) wrap {
	return func(_ *oauthtest.Server, h http.Handler) http.Handler {
		var owner memory
		remember := answers("", func(rec *httptest.ResponseRecorder, r *http.Request) {
			if to, err := url.Parse(rec.Header().Get("Location")); err == nil && to.Query().Get("code") != "" {
				owner.put(to.Query().Get("code"), r.URL.Query().Get("client_id"))
			}
			var m map[string]any
			if json.Unmarshal(rec.Body.Bytes(), &m) == nil && m["refresh_token"] != nil {
				owner.put(m["refresh_token"].(string), r.Header.Get("X-Client"))
			}
		})(nil, h)
		return forms("/oauth/token", func(r *http.Request, f url.Values) {
			if id := owner.get(f.Get(param)); id != "" && clientOf(r, f) != "" {
				as(r, f, id)
			}
			r.Header.Set("X-Client", clientOf(r, f))
		})(nil, remember)
	}
}

// burning uses a credential up when another client comes with it, or a wrong verifier.
func burning(param string, when func(r *http.Request, f url.Values, owner string) bool) wrap {
	return func(srv *oauthtest.Server, h http.Handler) http.Handler {
		var owner, burnt memory
		remember := answers("", func(rec *httptest.ResponseRecorder, r *http.Request) {
			if to, err := url.Parse(rec.Header().Get("Location")); err == nil && to.Query().Get("code") != "" {
				owner.put(to.Query().Get("code"), r.URL.Query().Get("client_id"))
			}
			var m map[string]any
			if json.Unmarshal(rec.Body.Bytes(), &m) == nil && m["refresh_token"] != nil {
				owner.put(m["refresh_token"].(string), r.Header.Get("X-Client"))
			}
		})(nil, h)
		return forms("/oauth/token", func(r *http.Request, f url.Values) {
			r.Header.Set("X-Client", clientOf(r, f))
			text := f.Get(param)
			if burnt.get(text) != "" {
				f.Set(param, "burnt")
			}
			if text != "" && when(r, f, owner.get(text)) {
				burnt.put(text, "yes")
			}
		})(srv, remember)
	}
}

// noPKCE puts a challenge of its own into every request, and its verifier: the client's do not count.
func noPKCE() wrap {
	const verifier = "a-verifier-that-the-host-knows-and-nobody-else-needs"
	return both(queries(func(q url.Values) {
		q.Set("code_challenge", s256(verifier))
		q.Set("code_challenge_method", "S256")
	}), forms("/oauth/token", func(_ *http.Request, f url.Values) {
		if f.Has("code") {
			f.Set("code_verifier", verifier)
		}
	}))
}

// redirects accepts redirect URIs that match accepts, and sends the answer there.
func redirects(accepts func(uri string) bool) wrap {
	return func(_ *oauthtest.Server, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			uri := q.Get("redirect_uri")
			if r.URL.Path != "/oauth/authorize" || uri == oauthtest.Callback || !accepts(uri) {
				h.ServeHTTP(w, r)
				return
			}
			q["redirect_uri"] = []string{oauthtest.Callback}
			r.URL.RawQuery = q.Encode()
			rec := recorded(h, r)
			if rest, ok := strings.CutPrefix(rec.Header().Get("Location"), oauthtest.Callback); ok {
				rec.Header().Set("Location", uri+rest)
			}
			replay(w, rec, rec.Body.Bytes())
		})
	}
}

// once lets only the first value of every parameter through.
func once(path string, keep int) wrap {
	return func(_ *oauthtest.Server, h http.Handler) http.Handler {
		pick := func(values url.Values) {
			for name, list := range values {
				if len(list) > 1 {
					values[name] = list[(keep+len(list))%len(list):][:1]
				}
			}
		}
		if path == "/oauth/authorize" {
			return queries(pick)(nil, h)
		}
		return forms(path, func(_ *http.Request, f url.Values) { pick(f) })(nil, h)
	}
}

// missing does not serve a path.
func missing(path string) wrap {
	return func(_ *oauthtest.Server, h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/", h)
		mux.Handle(path, http.NotFoundHandler())
		return mux
	}
}

// converted makes a form of a body of another type.
func converted(media string, read func(r *http.Request) url.Values) wrap {
	return func(_ *oauthtest.Server, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Header.Get("Content-Type"), media) {
				f := read(r)
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(f.Encode())), int64(len(f.Encode()))
			}
			h.ServeHTTP(w, r)
		})
	}
}

// merged moves the query of requests to a path into the body, whatever the method.
func merged(path string, only ...string) wrap {
	return func(_ *oauthtest.Server, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			if r.URL.Path == path && len(q) > 0 {
				body, _ := io.ReadAll(r.Body)
				f, _ := url.ParseQuery(string(body))
				for name, list := range q {
					if len(only) == 0 || slices.Contains(only, name) {
						f[name] = list
						q.Del(name)
					}
				}
				r.Method = http.MethodPost
				r.URL.RawQuery = q.Encode()
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(f.Encode())), int64(len(f.Encode()))
			}
			h.ServeHTTP(w, r)
		})
	}
}

// deaf answers 200 without doing anything.
func deaf(path string) wrap {
	return func(_ *oauthtest.Server, h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/", h)
		mux.HandleFunc("POST "+path, func(http.ResponseWriter, *http.Request) {})
		return mux
	}
}

// lateAuthentication lets a failed attempt with Basic use the code up.
func lateAuthentication(r *http.Request, f url.Values, _ string) bool {
	_, secret, basic := r.BasicAuth()
	return f.Has("code") && basic && secret != oauthtest.Secret
}

func TestBroken(t *testing.T) {
	known := map[string]bool{}
	for _, c := range probe.Checks() {
		known[c.ID] = false
	}
	all := slices.Concat(brokenMetadata(), brokenAuthorize(), brokenRedirects(), brokenPages(), brokenClients(), brokenTokens(),
		brokenCodes(), brokenRefreshes(), brokenLater())
	for _, b := range all {
		require.Contains(t, known, b.check, b.name)
		known[b.check] = true
	}
	t.Run("every check has a host that it finds something at", func(t *testing.T) {
		for id, found := range known {
			assert.True(t, found, id)
		}
	})
	for _, b := range all {
		t.Run(b.check+" "+b.name, func(t *testing.T) {
			t.Parallel()
			r := runOne(t, b)
			assert.Equal(t, probe.Finding, r.Verdict, "%s: %s", r.ID, r.Seen)
			assert.NotEmpty(t, r.Seen)
			assert.NotContains(t, r.Seen, oauthtest.Secret)
		})
	}
}

// runOne runs the check that a host is for, or what else the target says.
func runOne(t *testing.T, b breakage) probe.Result {
	t.Helper()
	var edits []func(*oauth.Config)
	if b.edit != nil {
		edits = append(edits, b.edit)
	}
	start := serve
	if b.pages {
		start = servePages
	}
	target := start(t, b.https, b.wrap, edits...)
	target.Only = []string{b.check}
	if b.target != nil {
		b.target(&target)
	}
	return run(t, target)[b.check]
}
