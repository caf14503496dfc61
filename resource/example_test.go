package resource_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/grantwell/oauth/internal/jose"
	"github.com/grantwell/oauth/resource"
)

func ExampleAPI_Require() {
	api := &resource.API{
		Verifier: verifierOf("live", live("notes:read")), // an authorization server, for one
		Audience: "https://as.example",                   // of a server without resource identifiers: its issuer
		Metadata: &resource.Metadata{AuthorizationServers: []string{"https://as.example"}},
		Now:      clock,
	}
	mux := http.NewServeMux()
	mux.Handle(api.MetadataHandler())
	mux.Handle("GET /notes", api.Require("notes:read")(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		token, _ := resource.FromContext(r.Context())
		fmt.Println("the notes of", token.Subject)
	})))

	r := httptest.NewRequest(http.MethodGet, "/notes", nil)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))

	r.Header.Set("Authorization", "Bearer live")
	mux.ServeHTTP(httptest.NewRecorder(), r)
	// Output:
	// 401 Bearer scope="notes:read", resource_metadata="https://as.example/.well-known/oauth-protected-resource"
	// the notes of alice
}

// notes answers with whose notes it would show.
var notes = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	token, _ := resource.FromContext(r.Context())
	fmt.Fprintln(w, "the notes of", token.Subject)
})

// get sends a request with a token and prints the answer.
func get(h http.Handler, token string) {
	r := httptest.NewRequest(http.MethodGet, "/notes", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate")+w.Body.String())
}

// An API in a process of its own, which checks the signatures of JWT access tokens.
func ExampleJWT() {
	as := newAuthority(es256("k1", ecKey())) // stands in for the authorization server
	api := &resource.API{
		Verifier: &resource.JWT{
			Issuer:    "https://as.example",
			Transport: as, Now: as.now, // of this example: without both it asks over the network
		},
		Audience: "https://api.example",
		Now:      as.now,
	}
	h := api.Require("read")(notes)

	token, err := jose.Sign(es256("k1", ecKey()), "at+jwt", []byte(`{"iss":"https://as.example","aud":"https://api.example",
		"sub":"alice","client_id":"app","scope":"read","iat":1772366400,"exp":1772370000,"jti":"1"}`))
	if err != nil {
		fmt.Println(err)
	}
	get(h, token)
	get(h, token[1:])
	// Output:
	// 200 the notes of alice
	//
	// 401 Bearer scope="read", error="invalid_token", error_description="Access token is invalid or expired"{"error":"invalid_token","error_description":"Access token is invalid or expired"}
}

// An API in a process of its own, which asks the authorization server about every
// token, and so sees a revocation within seconds.
func ExampleIntrospection() {
	as := newOracle() // stands in for the authorization server
	api := &resource.API{
		Verifier: &resource.Introspection{
			Issuer:       "https://as.example",
			ClientID:     "api",
			ClientSecret: "the secret that the server has registered",
			Transport:    as, Now: as.now, // of this example: without both it asks over the network
		},
		Audience: "https://api.example",
		Now:      as.now,
	}
	get(api.Require("read")(notes), "live")
	// Output:
	// 200 the notes of alice
}

// A route that asks for more than the others: one of two scopes, and a user who has
// shown a second factor within the last five minutes.
func ExampleAPI_RequireRule() {
	token := live("notes:read", "notes:admin")
	token.AuthTime, token.ACR = start.Add(-time.Hour), "mfa"
	api := &resource.API{Verifier: verifierOf("live", token), Now: clock}

	h := api.RequireRule(resource.Rule{
		AnyOf:     []string{"notes:admin", "notes:owner"},
		MaxAge:    5 * time.Minute,
		ACRValues: []string{"mfa"},
	})(notes)
	r := httptest.NewRequest(http.MethodDelete, "/notes", nil)
	r.Header.Set("Authorization", "Bearer live")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Code)
	for _, part := range strings.Split(w.Header().Get("WWW-Authenticate"), ", ") {
		fmt.Println(part)
	}
	// Output:
	// 401
	// Bearer scope="notes:admin"
	// error="insufficient_user_authentication"
	// error_description="A more recent or a stronger authentication of the user is required"
	// acr_values="mfa"
	// max_age="300"
}

// Clients that do not know this API yet learn from it where to get a token.
func ExampleAPI_MetadataHandler() {
	api := &resource.API{
		Verifier: verifierOf("live", live()), // an authorization server, for one
		Audience: "https://api.example/notes",
		Metadata: &resource.Metadata{AuthorizationServers: []string{"https://as.example"}, Scopes: []string{"read"}},
	}
	mux := http.NewServeMux()
	mux.Handle(api.MetadataHandler())
	mux.Handle("/notes", api.Require("read")(notes))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/notes", nil))
	fmt.Println(w.Header().Get("WWW-Authenticate"))
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/.well-known/oauth-protected-resource/notes", nil))
	fmt.Println(w.Body)
	// Output:
	// Bearer scope="read", resource_metadata="https://api.example/.well-known/oauth-protected-resource/notes"
	// {"resource":"https://api.example/notes","authorization_servers":["https://as.example"],"scopes_supported":["read"],"bearer_methods_supported":["header"]}
}
