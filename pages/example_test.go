package pages_test

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/pages"
)

// A server with a login page and a consent page.
func Example() {
	secrets := [][]byte{oauth.NewSecret()} // kept somewhere safe in real life
	p, err := pages.New(pages.Config{
		Issuer:  "https://as.example",
		Secrets: secrets,
		Title:   "Example Cloud",
		Style:   ":root { --accent: #0a6b4f }",
		Login: func(_ context.Context, name, password string) (*pages.User, error) {
			// A real host compares with a slow hash, for unknown names too.
			if name == "alice" && subtle.ConstantTimeCompare([]byte(password), []byte("wonderland")) == 1 {
				return &pages.User{Subject: "user-7", Name: "Alice"}, nil
			}
			return nil, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv, err := oauth.New(oauth.Config{
		Issuer:  "https://as.example",
		Secrets: secrets,
		Storage: memstore.New(),
		Clients: oauth.StaticClients(oauth.Client{ID: "app", Public: true,
			RedirectURIs: []string{"https://app.example/cb"}, Scopes: []string{"read"}}),
		Grants:   []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}},
		Scopes:   []oauth.Scope{{Name: "read", Description: "Read your documents"}},
		Interact: p.Interact,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	r := httptest.NewRequest(http.MethodGet, "https://as.example/oauth/authorize?response_type=code&client_id=app"+
		"&scope=read&code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", nil)
	w := httptest.NewRecorder()
	srv.Handler().ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}
