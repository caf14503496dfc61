package guard_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/resource"
)

// Two limits at once for each client, and headers with other names.
func ExampleRateLimit() {
	limits, err := guard.RateLimit{
		Rules: []guard.Rule{
			{Endpoints: []string{"authorize"}, Limits: []guard.Limit{{Count: 100, Window: time.Minute}}},
			{Endpoints: []string{"token"}, Per: guard.PerClient, Limits: []guard.Limit{
				{Count: 2, Window: time.Second}, {Count: 1000, Window: time.Hour, Sliding: true}}},
		},
		Headers: guard.Headers{Limit: "RateLimit-Limit", Remaining: "RateLimit-Remaining", Reset: "RateLimit-Reset", Delta: true},
	}.Guard()
	if err != nil {
		log.Fatal(err)
	}
	cfg := oauth.Config{Guards: []oauth.Guard{limits}} // and the rest

	for range 3 {
		call := &oauth.Call{Request: httptest.NewRequest("POST", "/oauth/token", nil), Endpoint: "token", ClientID: "web",
			Header: http.Header{}, Now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
		err := cfg.Guards[0](call.Request.Context(), call)
		fmt.Println(call.Header.Get("RateLimit-Limit"), call.Header.Get("RateLimit-Remaining"), call.Header.Get("RateLimit-Reset"), err != nil)
	}
	// Output:
	// 2 1 1 false
	// 2 0 1 false
	// 2 0 1 true
}

// An environment has an AllowList as it has a server. The same guard is for the
// server and for the API that takes its tokens.
func ExampleAllowList() {
	network := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	environments := map[string]map[string][]netip.Prefix{
		"sandbox": {"shop-test": guard.Anywhere()},
		"live":    {"shop": network("203.0.113.0/24"), "kiosk": {}}, // kiosk waits for approval
	}
	guards := map[string]resource.Guard{}
	for name, clients := range environments {
		g, err := guard.AllowList{
			Clients: clients,
			Proxies: guard.Proxies{Trusted: network("10.0.0.0/28"), Header: "X-Forwarded-For"},
		}.Guard()
		if err != nil {
			log.Fatal(err)
		}
		guards[name] = g
	}
	for _, client := range []string{"shop", "kiosk"} {
		r := httptest.NewRequest("POST", "/oauth/token", nil)
		r.RemoteAddr = "10.0.0.1:4711"
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		fmt.Println(client, guards["live"](r.Context(), &resource.Call{Request: r, Endpoint: "token", ClientID: client}))
	}
	// Output:
	// shop <nil>
	// kiosk invalid_client (guard: the client does not call from a listed address)
}

// TLS ends in a proxy; on a developer's machine there is none.
func ExampleHTTPS() {
	https, err := guard.HTTPS{
		Proxies:       guard.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/28")}, Header: "X-Forwarded-For"},
		AllowLoopback: true,
	}.Guard()
	if err != nil {
		log.Fatal(err)
	}
	for _, peer := range []string{"10.0.0.1:4711", "127.0.0.1:4711", "198.51.100.7:4711"} {
		r := httptest.NewRequest("POST", "http://as.example/oauth/token", nil)
		r.RemoteAddr = peer
		if peer == "10.0.0.1:4711" {
			r.Header.Set("X-Forwarded-Proto", "https")
		}
		fmt.Println(https(r.Context(), &resource.Call{Request: r, Endpoint: "token"}) == nil)
	}
	// Output:
	// true
	// true
	// false
}

// An API in a process of its own, without the server.
func Example() {
	limits, err := guard.RateLimit{Rules: []guard.Rule{{Per: guard.PerToken, Limits: []guard.Limit{{Count: 500, Window: time.Minute}}}}}.Guard()
	if err != nil {
		log.Fatal(err)
	}
	api := &resource.API{
		Verifier: &resource.JWT{Issuer: "https://as.example", JWKSURI: "https://as.example/jwks"},
		Guards:   []resource.Guard{limits},
		Now:      func() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) },
	}
	notes := api.Require("notes:read")(http.NotFoundHandler())

	w := httptest.NewRecorder()
	notes.ServeHTTP(w, httptest.NewRequest("GET", "/notes", nil))
	fmt.Println(w.Code, w.Header().Get("X-RateLimit-Remaining"))
	// Output: 401 499
}
