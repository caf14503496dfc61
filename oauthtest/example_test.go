package oauthtest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/grantwell/oauth/resource"
)

// t stands for the *testing.T of a test.
var t testing.TB = exampleT{}

type exampleT struct{ testing.TB }

func (exampleT) Helper()                  {}
func (exampleT) Cleanup(func())           {} // the examples end with the process
func (exampleT) Context() context.Context { return context.Background() }
func (exampleT) Errorf(f string, a ...any) {
	fmt.Printf(f+"\n", a...)
}
func (exampleT) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (exampleT) Fatal(a ...any)            { panic(fmt.Sprint(a...)) }

// notes is an API that a test is about.
func notes(api *resource.API) http.Handler {
	return api.Require("read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := resource.FromContext(r.Context())
		fmt.Fprintf(w, "the notes of %s", token.Subject)
	}))
}

// The test of an API: a token in one line, the right answer, the wrong ones.
func Example() {
	srv := oauthtest.NewServer(t)
	host := http.NewServeMux()
	host.Handle("/notes", notes(srv.API()))
	host.Handle("/", srv.Handler)
	srv.Handler = host

	token := srv.AccessToken("alice", "read")
	fmt.Printf("%s\n", srv.Get("/notes", token).Body)
	srv.Get("/notes", "").WantError(t, 401, "")
	srv.Get("/notes", srv.AccessToken("alice", "write")).WantError(t, 403, "insufficient_scope")
	srv.Expire(token)
	srv.Get("/notes", token).WantError(t, 401, "invalid_token")
	// Output: the notes of alice
}

// A client under test gets what it would get in production: a wrong verifier is refused.
func ExampleServer_CodeFlow() {
	srv := oauthtest.NewServer(t)
	tokens := srv.CodeFlow(oauthtest.WebClient, "read")
	fmt.Println(tokens.TokenType, tokens.Scope, tokens.RefreshToken != "", tokens.Expiry.Sub(srv.Clock.Now()))

	code := srv.Code(oauthtest.WebClient)
	code.Verifier = strings.Repeat("x", 43)
	srv.Token(code.Client, code.Form()).WantError(t, 400, oauth.InvalidGrant)
	// Output: Bearer read true 30m0s
}

func ExampleServer_AccessToken() {
	srv := oauthtest.NewServer(t)
	token, err := srv.VerifyToken(context.Background(), srv.AccessToken("alice", "read"))
	fmt.Println(token.Subject, token.ClientID, token.Scopes, err)
	// Output: alice spa [read] <nil>
}

func ExampleServer_ClientToken() {
	srv := oauthtest.NewServer(t)
	token, err := srv.VerifyToken(context.Background(), srv.ClientToken(oauthtest.MachineClient, "write"))
	fmt.Printf("%q %s %s %v\n", token.Subject, token.ClientID, token.Scopes, err)
	// Output: "" machine [write] <nil>
}

// A refresh token that was stolen: when both have used it, nobody has anything.
func ExampleServer_RefreshToken() {
	srv := oauthtest.NewServer(t)
	first := srv.RefreshToken("alice")
	second := srv.Refresh(srv.App, first).String("refresh_token")
	srv.Refresh(srv.App, second).WantOK(t)
	srv.Clock.Advance(time.Minute)
	srv.Refresh(srv.App, first).WantError(t, 400, oauth.InvalidGrant)
	fmt.Println(srv.WantEvent(t, oauth.EventReuseDetected).Subject)
	// Output: alice
}

func ExampleServer_Expire() {
	srv := oauthtest.NewServer(t)
	token := srv.AccessToken("alice")
	srv.Expire(token)
	_, err := srv.VerifyToken(context.Background(), token)
	fmt.Println(err)
	// Output: invalid_token: Access token is invalid or expired (expired)
}

func ExampleServer_RevokeToken() {
	srv := oauthtest.NewServer(t)
	token := srv.AccessToken("alice")
	srv.RevokeToken(token)
	_, err := srv.VerifyToken(context.Background(), token)
	fmt.Println(err)
	// Output: invalid_token: Access token is invalid or expired (revoked)
}

// A verifier in another process has to ask for keys that it does not know.
func ExampleServer_RotateKeys() {
	srv := oauthtest.NewServer(t, oauthtest.JWTs)
	verifier := &resource.JWT{Issuer: srv.Config.Issuer, Transport: srv, Now: srv.Clock.Now}
	before := srv.AccessToken("alice")
	srv.RotateKeys()
	for _, token := range []string{before, srv.AccessToken("bob")} {
		known, err := verifier.VerifyToken(context.Background(), token)
		fmt.Println(known.Subject, err)
	}
	// Output:
	// alice <nil>
	// bob <nil>
}

// A client that is told to wait should come back, and with the same code.
func ExampleServer_FailNext() {
	srv := oauthtest.NewServer(t)
	code := srv.Code(oauthtest.SPAClient)
	srv.FailNext("token", &oauth.Error{Code: oauth.TemporarilyUnavailable, RetryAfter: 2 * time.Second})
	for range 2 {
		a := srv.Token(code.Client, code.Form())
		fmt.Println(a.Status, a.Header.Get("Retry-After"), a.String("error"))
	}
	// Output:
	// 503 2 temporarily_unavailable
	// 200
}

// What has the client under test sent?
func ExampleServer_Requests() {
	srv := oauthtest.NewServer(t)
	client := srv.Client("") // give it to the client under test
	form := strings.NewReader("grant_type=client_credentials&scope=read&client_id=machine&client_secret=" + oauthtest.Secret)
	res, err := client.Post(srv.Config.Issuer+"/oauth/token", "application/x-www-form-urlencoded", form)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	for _, r := range srv.Requests() {
		fmt.Println(r)
		fmt.Println(r.Form.Get("client_secret") == oauthtest.Secret)
	}
	// Output:
	// POST /oauth/token client_id=machine&client_secret=(37 characters)&grant_type=client_credentials&scope=read
	// true
}

// No log has a credential in it.
func ExampleServer_NoSecrets() {
	var log bytes.Buffer
	srv := oauthtest.NewServer(t, func(c *oauth.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	tokens := srv.CodeFlow(oauthtest.WebClient)
	srv.NoSecrets(t, &log)

	fmt.Fprintf(&log, "user signed in, token=%s", tokens.RefreshToken)
	srv.NoSecrets(t, &log)
	// Output: oauthtest: log 1 has a credential: refresh_token (55 characters), after "user signed in, token="
}

// A program that works with an http.Client.
func ExampleServer_Client() {
	srv := oauthtest.NewServer(t)
	res, err := srv.Client(srv.AccessToken("alice")).Get(srv.Config.Issuer + "/oauth/userinfo")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	fmt.Printf("%s\n", text)
	// Output: {"sub":"alice"}
}

// A program that works with an oauth2.TokenSource of golang.org/x/oauth2 gets a
// NewTokenSource[oauth2.Token](srv, "alice", "read").
func ExampleNewTokenSource() {
	srv := oauthtest.NewServer(t)
	type Token struct { // stands for oauth2.Token
		AccessToken  string    `json:"access_token"`
		RefreshToken string    `json:"refresh_token"`
		Expiry       time.Time `json:"expiry"`
	}
	var source interface{ Token() (*Token, error) } = oauthtest.NewTokenSource[Token](srv, "alice", "read")
	first, err := source.Token()
	fmt.Println(first.Expiry.Sub(srv.Clock.Now()), err)
	srv.Expire(first.AccessToken)
	second, err := source.Token()
	fmt.Println(second.AccessToken != first.AccessToken, err)
	// Output:
	// 30m0s <nil>
	// true <nil>
}

// Programs in another process, or in another language, need a socket.
func ExampleNewHTTPServer() {
	srv := oauthtest.NewHTTPServer(t)
	res, err := http.Get(srv.Config.Issuer + "/.well-known/oauth-authorization-server")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	fmt.Println(res.StatusCode, srv.HTTP.URL == srv.Config.Issuer)
	// Output: 200 true
}

// The user allows less than was asked for, and then nothing.
func ExampleServer_Approve() {
	srv := oauthtest.NewServer(t)
	srv.Approve("bob", "read")
	fmt.Println(srv.CodeFlow(oauthtest.SPAClient, "read", "write").Scope)
	srv.Deny()
	a, _ := srv.Authorize(oauthtest.SPAClient, nil)
	a.WantError(t, 303, oauth.AccessDenied)
	// Output: read
}

// Login page, consent page, callback.
func ExampleServer_Browser() {
	srv := oauthtest.NewServer(t, oauthtest.Pages)
	at, code := srv.AuthorizeURL(oauthtest.SPAClient, nil)
	b := srv.Browser()
	b.Open(at)
	b.Press("Sign in", "username", "bob", "password", oauthtest.Secret)
	callback, params := b.Press("Allow").Location()
	code.Code = params.Get("code")
	srv.Redeem(code).WantOK(t)
	fmt.Println(callback)
	// Output: https://client.example/callback
}

// An assertion that fails says what is wrong, and shows no credential.
func ExampleAnswer_WantError() {
	srv := oauthtest.NewServer(t)
	srv.Refresh(oauthtest.SPAClient, "unknown").WantError(t, 401, oauth.InvalidClient)
	// Output:
	// oauthtest: POST /oauth/token:
	//   status is "400", want "401"
	//   error is "invalid_grant", want "invalid_client"
	// the answer: 400
	//   Content-Type: application/json
	//   Cache-Control: no-store
	//   {"error":"invalid_grant","error_description":"The credential is invalid, expired or revoked"}
}

// A list of what happened instead.
func ExampleServer_WantNoEvent() {
	srv := oauthtest.NewServer(t)
	srv.ClientToken(oauthtest.MachineClient, "read")
	srv.WantNoEvent(t, oauth.EventReuseDetected)
	srv.WantNoEvent(t)
	// Output:
	// oauthtest: unwanted events: 1:
	//    1 type=token_issued endpoint=token client=machine grant=client_credentials
}

// The store fails when it has stored the refreshed token: the retry gets the same one.
func ExampleFaulty() {
	srv := oauthtest.NewServer(t)
	token := srv.RefreshToken("alice")
	lost := true
	srv.Store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
		if c.Method == "Update" && lost {
			lost = false
			return oauthtest.FailAfter
		}
		return oauthtest.NoFault
	})
	fmt.Println(srv.Refresh(srv.App, token).Status, srv.Store.Methods())
	// Output: 200 [Create Get Update Get Update Get]
}
