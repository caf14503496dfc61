package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/pages"
)

// The application and the user of the demo, with the values of the document's
// samples where it gives any.
const (
	appID       = "flowsta_app_abc123"
	appCallback = "https://yourapp.com/callback"

	userID       = "550e8400-e29b-41d4-a716-446655440000"
	userName     = "demo"
	userPassword = "demo"
	fullName     = "John Doe"
)

// apps are the registered applications. None has a secret: they prove
// themselves by PKCE.
var apps = []oauth.Client{
	{ID: appID, Name: "Your App", Public: true, RedirectURIs: []string{appCallback}, Scopes: []string{"profile", "email"}},
}

// scopes are what applications can ask for, and what userinfo then tells. That it
// tells the scope itself goes with each of them.
var scopes = []oauth.Scope{
	{
		Name:        "profile",
		Description: "See your name, your picture and your public identity",
		Claims:      []string{"name", "preferred_username", "did", "agent_pub_key", "profile_picture", "has_custom_picture", "scope"},
	},
	{
		Name:        "email",
		Description: "See your e-mail address",
		Claims:      []string{"email", "email_verified", "scope"},
		Optional:    true, // the user may decline it and go on
	},
}

// signIn checks a password. A real host compares hashes, and takes as long for a
// name that nobody has.
func signIn(_ context.Context, name, password string) (*pages.User, error) {
	if name != userName || password != userPassword {
		return nil, nil
	}
	return &pages.User{Subject: userID, Name: fullName}, nil
}

// claims is what is known of the user, in the order of the document. The server
// leaves out what the token's scopes do not give.
func claims(_ context.Context, r oauth.ClaimsRequest) (f oauth.Fields, err error) {
	if r.Subject != userID {
		return f, fmt.Errorf("no user %q", r.Subject)
	}
	f.Set("name", fullName)
	f.Set("preferred_username", "johndoe")
	f.Set("did", "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK")
	f.Set("agent_pub_key", "uhCAk7JpEWfkiVdNSdvXQtpBEbjSjXkCSmSJuGvCPHSvGqWhHcHMB")
	f.Set("profile_picture", "https://pictures.example/johndoe.png")
	f.Set("has_custom_picture", false)
	f.Set("email", "john@example.com")
	f.Set("email_verified", true)
	f.Set("scope", strings.Join(r.Scopes, " "))
	return f, nil
}
