package oauth_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/memstore"
	"github.com/grantwell/oauth/resource"
)

// A whole authorization server: its handlers are mounted beside the host's own.
func Example() {
	srv, err := oauth.New(oauth.Config{
		Issuer:  "https://example.com",
		Storage: memstore.New(),
		Clients: oauth.StaticClients(oauth.Client{ID: "app", Public: true, Name: "The App",
			RedirectURIs: []string{"https://app.example/callback"}, Scopes: []string{"notes:read"}}),
		Grants:  []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}},
		Secrets: [][]byte{oauth.NewSecret()}, // keep it: with a new one all tokens end
		Scopes:  []oauth.Scope{{Name: "notes:read", Description: "Read your notes"}},
		Interact: func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			// Who is signed in, and may the client have it? This host asks nobody.
			in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes()})
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	for path, handler := range srv.Routes() {
		mux.Handle(path, handler)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the host's own page") })

	// A browser comes with the request of a client.
	q := url.Values{"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {"https://app.example/callback"}, "scope": {"notes:read"},
		"state": {"xyz"}, "code_challenge_method": {"S256"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}}
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequest("GET", "/oauth/authorize?"+q.Encode(), nil))
	to, err := url.Parse(rec.Header().Get("Location"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rec.Code, to.Host, to.Query().Get("state"), to.Query().Has("code"))
	// Output: 303 app.example xyz true
}

// New says everything that is wrong with a Config.
func ExampleNew() {
	_, err := oauth.New(oauth.Config{
		Issuer:  "http://example.com",
		Storage: memstore.New(),
		Clients: oauth.StaticClients(oauth.Client{ID: "app", Public: true, RedirectURIs: []string{"javascript:alert(1)"}}),
		Grants:  []oauth.Grant{grants.AuthorizationCode{}},
		Secrets: [][]byte{[]byte("too short")},
	})
	fmt.Println(err)
	// Output:
	// oauth: Config.Issuer is not https (http is for loopback addresses alone)
	// oauth: Config.Secrets: secret 0: 9 bytes, at least 32 are needed
	// oauth: Config.Interact is missing: a grant uses the authorization endpoint
	// oauth: Config.Clients: "app": RedirectURIs[0] has a scheme that is neither https nor a domain name in reverse order
}

// What is kept of a client's secret is its hash. Two may be live at once, while
// the client changes from one to the other.
func ExampleHashSecret() {
	c := oauth.Client{ID: "machine", Secrets: []string{
		oauth.HashSecret("AQ7Y2DTRKX4JZJ2QOXQ3ENWQ5A"),
		oauth.HashSecret("MZXW6YTBOI7JZJ2QOXQ3ENWQ5B"),
	}}
	fmt.Println(c.Secrets[0])
	fmt.Println(c)
	// Output:
	// sha256$ds07BmyFCqHJf8hskg7UaurNYKDMpgdZjrVvxU74RvM
	// oauth.Client("machine")
}

// Voucher is a grant of the host's own: a voucher is worth a token for the user
// it was sent to.
type Voucher map[string]string

// GrantType is what clients send as grant_type.
func (Voucher) GrantType() string { return "urn:example:voucher" }

// Token decides. The server makes the token, commits and answers.
func (v Voucher) Token(_ context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
	subject, ok := v[r.Param("voucher")]
	if !ok {
		return nil, oauth.InvalidGrant
	}
	scopes, err := r.RequestedScopes()
	if err != nil {
		return nil, err
	}
	return &oauth.Issue{Subject: subject, Scopes: scopes}, nil
}

// shop is a server with a Voucher, and what it answers.
func shop(now func() time.Time) (srv *oauth.Server, token func(voucher string) (status int, body string)) {
	srv, err := oauth.New(oauth.Config{
		Issuer:  "https://example.com",
		Storage: memstore.New(),
		Clients: oauth.StaticClients(oauth.Client{ID: "app", Public: true, Grants: []string{"urn:example:voucher"}, Scopes: []string{"shop"}}),
		Grants:  []oauth.Grant{Voucher{"V-1": "alice"}},
		Secrets: [][]byte{oauth.NewSecret()},
		Scopes:  []oauth.Scope{{Name: "shop"}},
		Now:     now,
	})
	if err != nil {
		log.Fatal(err)
	}
	return srv, func(voucher string) (int, string) {
		form := url.Values{"grant_type": {"urn:example:voucher"}, "voucher": {voucher}, "client_id": {"app"}, "scope": {"shop"}}
		r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		srv.TokenHandler().ServeHTTP(rec, r)
		return rec.Code, rec.Body.String()
	}
}

func ExampleTokenGrant() {
	_, token := shop(time.Now)
	status, body := token("V-1")
	fmt.Println(status, strings.Contains(body, "access_token"))
	fmt.Println(token("V-2"))
	// Output:
	// 200 true
	// 400 {"error":"invalid_grant"}
}

// A page of connected applications lists what a user allowed and ends it.
func ExampleServer_Revoke() {
	srv, token := shop(func() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) })
	token("V-1")
	ctx := context.Background()
	list, err := srv.Authorizations(ctx, "alice")
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range list {
		fmt.Println(a.ClientID, a.Scopes, "until", a.EndsAt.Format(time.DateOnly))
		n, err := srv.Revoke(ctx, oauth.Selector{ID: a.ID})
		fmt.Println(n, err)
	}
	list, err = srv.Authorizations(ctx, "alice")
	fmt.Println(len(list), err)
	// Output:
	// app [shop] until 2030-07-01
	// 1 <nil>
	// 0 <nil>
}

// An API in the same process is protected by the server itself, and sees a
// revocation at once.
func ExampleServer_API() {
	srv, token := shop(time.Now)
	api := srv.API()
	orders := api.Require("shop")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, _ := resource.FromContext(r.Context())
		fmt.Fprintln(w, "orders of", t.Subject)
	}))
	get := func(accessToken string) {
		r := httptest.NewRequest("GET", "/orders", nil)
		if accessToken != "" {
			r.Header.Set("Authorization", "Bearer "+accessToken)
		}
		rec := httptest.NewRecorder()
		orders.ServeHTTP(rec, r)
		fmt.Println(rec.Code, rec.Header().Get("WWW-Authenticate"), strings.TrimSpace(rec.Body.String()))
	}
	_, body := token("V-1")
	_, after, _ := strings.Cut(body, `"access_token":"`)
	accessToken, _, _ := strings.Cut(after, `"`)
	get(accessToken)
	get("")
	// Output:
	// 200  orders of alice
	// 401 Bearer scope="shop" {"error":"invalid_token","error_description":"Access token is invalid or expired"}
}
