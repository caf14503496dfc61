package main

import (
	"context"
	"crypto/subtle"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/pages"
)

// The credentials of the demo's apps. They are in the source for you to try; a
// real host keeps the hashes alone, see oauth.HashSecret.
const (
	siteKey      = "58f663db7d9f4e1a0c2b6a55"
	siteSecret   = "site-secret-1f0a4be2"
	siteCallback = "https://my-website.example.com/callback"

	boxKey      = "5a02c7be91d0483fb1e7d6aa"
	boxSecret   = "box-secret-77c1d09e"
	boxCallback = "https://box.example.com/callback"

	scriptKey    = "5b8f02ce64a7493d8d0ef1c3"
	scriptSecret = "script-secret-e04b7713"
)

// An app is what the host knows of a client beyond what OAuth asks for.
type app struct {
	ID     string
	Status string // "trusted" once the product team has looked at it
	Owner  string // the user who may make personal access tokens for it
}

var allScopes = []string{"account.public_profile", "account.education_profile", "scores.readonly", "scores.social", "scores"}

// apps are those that the product team has given credentials. There is no other
// way to get any.
var apps = []oauth.Client{
	{
		ID: siteKey, Name: "My Website", Secrets: []string{oauth.HashSecret(siteSecret)}, RedirectURIs: []string{siteCallback},
		Grants: []string{"authorization_code", "refresh_token", "implicit"}, Scopes: allScopes,
		Data: app{ID: "58f6641be0c2f53a7d1b9c01", Status: "trusted", Owner: demoID},
	},
	{
		ID: boxKey, Name: "Music <Box>", Secrets: []string{oauth.HashSecret(boxSecret)}, RedirectURIs: []string{boxCallback},
		Scopes: []string{"account.public_profile", "scores.readonly"}, // and no implicit grant
		Data:   app{ID: "5a02c80f3b66a1240d77e802", Status: "sandbox", Owner: teacherID},
	},
	{
		ID: scriptKey, Name: "Practice Script", Secrets: []string{oauth.HashSecret(scriptSecret)},
		Grants: []string{}, Scopes: allScopes, // personal access tokens alone
		Data: app{ID: "5b8f0311aa25e0473cc9d203", Status: "personal", Owner: demoID},
	},
}

// appsOf are the clients that a user owns.
func appsOf(user string) (mine []oauth.Client) {
	for _, c := range apps {
		if c.Data.(app).Owner == user {
			mine = append(mine, c)
		}
	}
	return mine
}

// appName is what an app is called.
func appName(key string) string {
	for _, c := range apps {
		if c.ID == key {
			return c.DisplayName()
		}
	}
	return key
}

var scopes = []oauth.Scope{
	{Name: "account.public_profile", Description: "See your public profile"},
	{Name: "account.education_profile", Description: "See your education profile and your organization"},
	{Name: "scores.readonly", Description: "Read your scores"},
	{Name: "scores.social", Description: "Post comments and like scores in your name"},
	{Name: "scores", Description: "Read, change and delete all of your scores", Includes: []string{"scores.readonly"}},
}

// A user of the demo. The ID is what tokens say.
type user struct {
	ID, Username, password, Name string
	Organization                 string // of an education account; "" for others
}

const (
	demoID    = "58f6612a8f00b204e9800998"
	teacherID = "59a1c04be3b0c44298fc1c14"
)

var users = []user{
	{ID: demoID, Username: "demo", password: "demo", Name: "Dana Demo"},
	{ID: teacherID, Username: "teacher", password: "teacher", Name: "Toni Teacher", Organization: "Springfield Music School"},
	{ID: "5d1f3a9070b2c84e1a6f0b37", Username: "guest", password: "guest", Name: "Gil Guest"}, // owns no app
}

// may says whether a user can grant a scope at all.
func (u user) may(scope string) bool {
	return scope != "account.education_profile" || u.Organization != ""
}

func userByID(id string) user {
	for _, u := range users {
		if u.ID == id {
			return u
		}
	}
	return user{}
}

// signIn checks a password. A real host compares slow hashes, and takes as long
// for a name that nobody has.
func signIn(_ context.Context, name, password string) (*pages.User, error) {
	for _, u := range users {
		if u.Username == name && subtle.ConstantTimeCompare([]byte(u.password), []byte(password)) == 1 {
			return &pages.User{Subject: u.ID, Name: u.Name}, nil
		}
	}
	return nil, nil
}
