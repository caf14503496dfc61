package oauth_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/floor"
	"github.com/grantwell/oauth/oauthtest"
)

// A sink is a ResponseWriter that keeps nothing but the status, so that a
// benchmark measures the server.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// post is a form request that can be sent again and again.
func post(b *testing.B, h http.Handler, client string, form url.Values) {
	r := httptest.NewRequest(http.MethodPost, "https://as.example/", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		r.SetBasicAuth(client, oauthtest.Secret)
	}
	text := form.Encode()
	r.ContentLength = int64(len(text))
	body := strings.NewReader(text)
	r.Body = reader{body}
	w := &sink{header: http.Header{}}
	h.ServeHTTP(w, r)
	if w.status != 0 && w.status != http.StatusOK {
		b.Fatal(w.status)
	}
}

type reader struct{ *strings.Reader }

func (reader) Close() error { return nil }

func quiet(c *oauth.Config) { c.Events = nil }

func BenchmarkClientCredentials(b *testing.B) {
	s := newServer(b, quiet)
	h := s.TokenHandler()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}
	b.ReportAllocs()
	for b.Loop() {
		post(b, h, oauthtest.MachineClient, form)
	}
}

func BenchmarkRefreshRetry(b *testing.B) {
	s := newServer(b, quiet)
	h := s.TokenHandler()
	token := s.Redeem(s.Code(oauthtest.WebClient)).String("refresh_token")
	s.Refresh(oauthtest.WebClient, token)
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	b.ReportAllocs()
	for b.Loop() {
		post(b, h, oauthtest.WebClient, form)
	}
}

func BenchmarkRefreshKept(b *testing.B) { // one Get, no write
	s := newServer(b, quiet, func(c *oauth.Config) {
		c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy { return oauth.Policy{Refresh: oauth.Keep} }
	})
	h := s.TokenHandler()
	token := s.Redeem(s.Code(oauthtest.WebClient)).String("refresh_token")
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	b.ReportAllocs()
	for b.Loop() {
		post(b, h, oauthtest.WebClient, form)
	}
}

func BenchmarkRefreshRotated(b *testing.B) {
	s := newServer(b, quiet)
	caller := floor.Callers(s.TokenHandler(), 1)[0]
	token := s.Redeem(s.Code(oauthtest.SPAClient)).String("refresh_token")
	b.ReportAllocs()
	for b.Loop() { // the answer is read too: it has the next token
		var err error
		token, err = caller.Token("grant_type=refresh_token&client_id=" + oauthtest.SPAClient + "&refresh_token=" + token)
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIntrospect(b *testing.B) {
	s := newServer(b, quiet)
	h := s.IntrospectHandler()
	form := url.Values{"token": {s.AccessToken("alice", "read")}}
	b.ReportAllocs()
	for b.Loop() {
		post(b, h, oauthtest.APIClient, form)
	}
}

func BenchmarkBearer(b *testing.B) {
	s := newServer(b, quiet)
	h := s.API().Require("read")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequest(http.MethodGet, "https://as.example/", nil)
	r.Header.Set("Authorization", "Bearer "+s.AccessToken("alice", "read"))
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
	if w.status != 0 {
		b.Fatal(w.status)
	}
}

func BenchmarkBadSecret(b *testing.B) {
	s := newServer(b, quiet)
	h := s.TokenHandler()
	r := func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, "https://as.example/", strings.NewReader("grant_type=client_credentials"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(oauthtest.MachineClient, "wrong")
		return r
	}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(&sink{header: http.Header{}}, r())
	}
}

func BenchmarkMetadata(b *testing.B) {
	h := newServer(b, quiet).MetadataHandler()
	r := httptest.NewRequest(http.MethodGet, "https://as.example/", nil)
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
