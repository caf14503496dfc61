package resource_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/grantwell/oauth/resource"
)

func ExampleAPI_Require() {
	api := &resource.API{
		Verifier: verifierOf("live", live("notes:read")), // an authorization server, for one
		Metadata: "https://as.example/.well-known/oauth-protected-resource",
		Now:      clock,
	}
	mux := http.NewServeMux()
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
