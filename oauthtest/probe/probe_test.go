package probe_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/oauthtest/probe"
)

func TestChecks(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range probe.Checks() {
		assert.False(t, seen[c.ID], "%s is there twice", c.ID)
		seen[c.ID] = true
		assert.Regexp(t, `^[a-z]+(-[a-z0-9]+)*$`, c.ID)
		assert.NotEmpty(t, c.Name, c.ID)
		assert.Regexp(t, `^RFC \d{4}, (section [\d.]+|appendix [A-Z])$`, c.RFC, c.ID)
		assert.Contains(t, []probe.Severity{probe.High, probe.Medium, probe.Low}, c.Severity, c.ID)
		assert.Regexp(t, `\.$`, c.Fix, c.ID)
	}
	assert.GreaterOrEqual(t, len(seen), 70)
}

// watched lets every answer be looked at, and counts requests by host.
type watched struct {
	http.RoundTripper
	mu      sync.Mutex
	hosts   map[string]int
	secrets []string
}

func (w *watched) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.RoundTripper.RoundTrip(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[r.URL.Host]++
	if err == nil {
		if to, e := url.Parse(resp.Header.Get("Location")); e == nil && to.Query().Get("code") != "" {
			w.secrets = append(w.secrets, to.Query().Get("code"))
		}
		for _, c := range resp.Cookies() {
			w.secrets = append(w.secrets, c.Value)
		}
	}
	return resp, err
}

func watch(target *probe.Target) *watched {
	w := &watched{RoundTripper: target.HTTP.Transport, hosts: map[string]int{}}
	target.HTTP = &http.Client{Transport: w}
	return w
}

func TestNoSecretsInResults(t *testing.T) {
	var tokens memory
	target := servePages(t, true, both(members("/oauth/token", func(m map[string]any, _ rec) {
		for _, name := range []string{"access_token", "refresh_token"} {
			if text, ok := m[name].(string); ok {
				tokens.put(text, name)
			}
		}
		m["error_description"] = "sql: " + oauthtest.Secret // what it must not repeat either
	}), reusable("code", same)))
	w := watch(&target)
	results, err := probe.Run(t.Context(), target, nil)
	require.NoError(t, err)
	require.NotEmpty(t, probe.Findings(results))
	text, err := json.Marshal(results)
	require.NoError(t, err)
	require.NotEmpty(t, w.secrets)
	require.NotEmpty(t, tokens.m)
	for _, secret := range append(w.secrets, oauthtest.Secret, "wonderland") {
		assert.NotContains(t, string(text), secret)
	}
	for secret := range tokens.m {
		assert.NotContains(t, string(text), secret)
	}
}

func TestNowhereElse(t *testing.T) {
	var hits atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(elsewhere.Close)
	t.Run("an endpoint of the metadata on another origin", func(t *testing.T) {
		target := serve(t, false, set("token_endpoint", elsewhere.URL+"/oauth/token"))
		w := watch(&target)
		results := run(t, target)
		assert.Equal(t, probe.Finding, results["metadata-endpoints"].Verdict)
		assert.Equal(t, probe.NotRun, results["code-single-use"].Verdict)
		assert.Contains(t, results["code-flow"].Seen, "no request was sent")
		assert.Len(t, w.hosts, 1)
	})
	t.Run("a redirect to another origin", func(t *testing.T) {
		target := serve(t, false, answers("/oauth/authorize", func(rec rec, _ *http.Request) {
			rec.Header().Set("Location", elsewhere.URL+"/login")
		}))
		w := watch(&target)
		run(t, target)
		assert.Len(t, w.hosts, 1)
	})
	t.Run("a form that goes to another origin", func(t *testing.T) {
		target := servePages(t, false, answers("/oauth/authorize", func(rec rec, _ *http.Request) {
			body := strings.ReplaceAll(rec.Body.String(), `action="`, `action="`+elsewhere.URL)
			rec.Body.Reset()
			rec.Body.WriteString(body)
		}))
		results := run(t, target)
		assert.Equal(t, probe.NotRun, results["code-flow"].Verdict)
	})
	assert.Zero(t, hits.Load())
	t.Run("an origin that is listed", func(t *testing.T) {
		target := serve(t, false, set("userinfo_endpoint", elsewhere.URL+"/userinfo"))
		target.Origins = []string{elsewhere.URL}
		assert.Equal(t, probe.OK, run(t, target)["metadata-endpoints"].Verdict)
	})
	assert.NotZero(t, hits.Load())
}

func TestCannotRun(t *testing.T) {
	for _, bad := range []string{"", "as.example", "ftp://as.example", "https://as.example?x=1", "https://user:pass@as.example", "https://as.example#x", "://"} {
		t.Run("the URL "+bad, func(t *testing.T) {
			results, err := probe.Run(t.Context(), probe.Target{URL: bad}, nil)
			assert.Error(t, err)
			assert.Empty(t, results)
			assert.NotContains(t, err.Error(), "pass@")
		})
	}
	t.Run("nobody answers", func(t *testing.T) {
		web := httptest.NewServer(http.NotFoundHandler())
		web.Close()
		_, err := probe.Run(t.Context(), probe.Target{URL: web.URL}, nil)
		assert.ErrorContains(t, err, "no answer")
	})
	t.Run("an unknown check", func(t *testing.T) {
		_, err := probe.Run(t.Context(), probe.Target{URL: "http://localhost:1", Only: []string{"code-singel-use"}}, nil)
		assert.ErrorContains(t, err, `"code-singel-use"`)
	})
	t.Run("time runs out", func(t *testing.T) {
		target := serve(t, false, nil)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		results, err := probe.Run(ctx, target, func(p probe.Progress) {
			if p.N == 5 {
				stop()
			}
		})
		assert.ErrorIs(t, err, context.Canceled)
		assert.Len(t, results, len(probe.Checks()))
		assert.Equal(t, probe.NotRun, results[len(results)-1].Verdict)
	})
}

func TestNothingGiven(t *testing.T) {
	target := serve(t, false, nil)
	var order []int
	results, err := probe.Run(t.Context(), probe.Target{URL: target.URL}, func(p probe.Progress) {
		if p.Result == nil {
			order = append(order, p.N)
		}
		assert.Equal(t, len(probe.Checks()), p.Total)
	})
	require.NoError(t, err)
	assert.Empty(t, probe.Findings(results))
	require.Len(t, results, len(order))
	n := 0
	for i, r := range results {
		assert.Equal(t, i+1, order[i])
		assert.NotEmpty(t, r.Seen, "%s says what was seen, or why it was not run", r.ID)
		if r.Verdict == probe.NotRun {
			n++
		}
	}
	assert.Greater(t, n, 50, "without clients little can be run")
}

func TestPrinted(t *testing.T) {
	target := probe.Target{URL: "https://as.example", Confidential: probe.Client{ID: "web", Secret: oauthtest.Secret}, Fields: map[string]string{"password": "wonderland"}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(format+" "+format, target, target.Confidential)
		assert.Equal(t, `target "https://as.example" client "web"`, text)
	}
}

func TestWithout(t *testing.T) {
	target := serve(t, false, nil, func(c *oauth.Config) { c.Origins = oauth.NoOrigins })
	target.Without = []string{"cors"}
	r := run(t, target)["cors"]
	assert.Equal(t, probe.NotRun, r.Verdict)
	assert.Contains(t, r.Seen, "left out")
}

// TestApprove has a page in front that asks for a login, which Approve alone gets through.
func TestApprove(t *testing.T) {
	front := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(front.Close)
	target := serve(t, false, nil)
	target.Endpoints.Authorize, target.Origins = front.URL+"/oauth/authorize", []string{front.URL}
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	target.Approve = func(_ context.Context, at string) (string, error) {
		resp, err := browser.Get(strings.Replace(at, front.URL, target.URL, 1))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close() //nolint:errcheck // a test
		if resp.Header.Get("Location") == "" {
			return "", errors.New("a page")
		}
		return resp.Header.Get("Location"), nil
	}
	results := run(t, target)
	for id, r := range results {
		if r.Verdict == probe.Finding && id != "authorize-reflection" { // the page has no headers
			t.Errorf("%s: %s", id, r.Seen)
		}
	}
	assert.Equal(t, probe.OK, results["code-single-use"].Verdict)
	assert.Equal(t, probe.NotRun, results["consent-csrf"].Verdict)
}

// TestOddServers: whatever a server answers, there is a result for every check.
func TestOddServers(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"a page for everything": func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`<form><input name=a><button>Allow</button></form>`)) //nolint:errcheck // a test
		},
		"a list":   func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`[1]`)) }, //nolint:errcheck // a test
		"failures": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"a circle": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"a redirect to nowhere": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "ht%tp://[::1")
			w.WriteHeader(http.StatusFound)
		},
		"tokens of one character": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/oauth/authorize" {
				w.Header().Set("Location", r.URL.Query().Get("redirect_uri")+"?code=1")
				w.WriteHeader(http.StatusFound)
				return
			}
			w.Write([]byte(`{"access_token":"1","refresh_token":"2","scope":7,"active":"yes","keys":[null]}`)) //nolint:errcheck // a test
		},
		"metadata of the wrong types": func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`{"issuer":1,"token_endpoint":["/a"],"authorization_endpoint":"::","response_types_supported":{}}`)) //nolint:errcheck // a test
		},
	} {
		t.Run(name, func(t *testing.T) {
			web := httptest.NewServer(h)
			t.Cleanup(web.Close)
			target := fixtures(&oauthtest.Server{})
			target.URL, target.Prefix = web.URL, "/oauth"
			target.Endpoints.JWKS, target.Wait = "/keys", func(context.Context, time.Duration) error { return nil }
			results, err := probe.Run(t.Context(), target, nil)
			require.NoError(t, err)
			assert.Len(t, results, len(probe.Checks()))
			assert.NotEmpty(t, probe.Findings(results))
		})
	}
}

func TestHeader(t *testing.T) {
	signedIn := func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		if c, err := r.Cookie("session"); err != nil || c.Value != "of-alice" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes()})
	}
	target := serve(t, false, nil, func(c *oauth.Config) { c.Interact = signedIn })
	assert.Equal(t, probe.NotRun, run(t, target)["code-flow"].Verdict)
	target.Header = http.Header{"Cookie": {"session=of-alice"}}
	results := run(t, target)
	assert.Equal(t, probe.OK, results["code-flow"].Verdict)
	for id, r := range results {
		assert.NotEqual(t, probe.Finding, r.Verdict, "%s: %s", id, r.Seen)
	}
}

// A wrong fixture must not make everything look refused, and so well.
func TestWrongFixtures(t *testing.T) {
	target := serve(t, false, nil)
	target.Confidential.Secret = "another-secret-than-the-client-has"
	target.Public = probe.Client{}
	results := run(t, target)
	assert.Equal(t, probe.Finding, results["code-flow"].Verdict)
	for _, id := range []string{"client-secret-wrong", "code-single-use", "code-client", "pkce-verifier", "refresh-client", "token-json", "redirect-host"} {
		assert.Equal(t, probe.NotRun, results[id].Verdict, id)
		assert.Contains(t, results[id].Seen, "invalid_client", id)
	}
}

// Nor does a login page that nobody gets through.
func TestNobodySignsIn(t *testing.T) {
	for name, target := range map[string]probe.Target{
		"several clients":    servePages(t, false, nil),
		"a client of an app": servePages(t, false, nil, native),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a client of an app" {
				target.Confidential, target.Machine, target.Introspector = probe.Client{}, probe.Client{}, probe.Client{}
				loopbackClient(&target)
			}
			target.Fields = nil
			for id, r := range run(t, target) {
				assert.NotEqual(t, probe.Finding, r.Verdict, "%s: %s", id, r.Seen)
			}
		})
	}
}

func TestRateLimit(t *testing.T) {
	var n atomic.Int64
	target := serve(t, false, func(_ *oauthtest.Server, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && n.Add(1)%10 == 0 {
				w.Header().Set("Retry-After", "2")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	var waited atomic.Int64
	wait := target.Wait
	target.Wait = func(ctx context.Context, d time.Duration) error {
		waited.Add(1)
		return wait(ctx, d)
	}
	target.Without = []string{"code-race", "refresh-race"} // which do not wait
	for id, r := range run(t, target) {
		assert.NotEqual(t, probe.Finding, r.Verdict, "%s: %s", id, r.Seen)
	}
	assert.Greater(t, waited.Load(), int64(5))
}

// Without metadata the endpoints are looked for below the prefix.
func TestNoMetadata(t *testing.T) {
	target := serve(t, false, missing(metadataPath))
	target.Prefix, target.Endpoints.Metadata = "/oauth", "-"
	results := run(t, target)
	assert.Equal(t, probe.NotRun, results["metadata-served"].Verdict)
	assert.Equal(t, probe.OK, results["code-single-use"].Verdict)
	assert.Equal(t, probe.OK, results["introspect-answer"].Verdict)
}
