// Package oauthtest is for the tests of programs that embed the server: a strict
// authorization server in process, a clock to move, a store that fails on
// demand, and the suites that prove a store and a verifier of access tokens. What
// passes here holds in production, for it is the real library.
//
//	srv := oauthtest.NewServer(t)
//	token := srv.AccessToken("alice", "read")
package oauthtest
