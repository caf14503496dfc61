// Package oauthtest is for the tests of programs that embed the server, call it, or
// trust its tokens: a strict authorization server in process, users who decide as they
// are told, a clock to move, a store that fails on demand, assertions, and suites that
// prove what a host has made itself. What passes here holds in production, for it is the
// real library.
//
//	srv := oauthtest.NewServer(t)
//	token := srv.AccessToken("alice", "read")
//
// A [Server] has one-liners for tokens, moves time, revokes, rotates keys, fails
// ([Server.FailNext], [Server.Down], [Server.Store]) and keeps what a client under test
// has sent. [Answer.WantOK] and [Answer.WantError] hold an answer against the RFCs,
// [Server.WantEvent] asks what the server has told its host, [Server.NoSecrets] whether a
// credential has got into a log or a page. A [Browser] signs in and consents on pages.
//
// The suites are [TestStorage], [TestRegistry], [TestVerifier], [TestGuard], and
// [TestHost] for everything as it is mounted.
package oauthtest
