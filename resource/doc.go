// Package resource protects APIs with OAuth 2.0 bearer tokens (RFC 6750), and
// declares what an authorization server and a protected resource both speak of:
// the [Token], its [Verifier], the [Error] and its [ErrorWriter], the [Guard].
//
//	http.Handle("GET /api/notes", resource.Require(srv, "notes:read")(notes))
//
// An authorization server in the same process is the Verifier of its own tokens. An
// API in a process of its own has the choice of two, and [API] treats all alike:
//
//	                what it asks for      sees a revocation    tokens
//	server          the store             at once              any
//	[Introspection] every token, once     after TTL            any
//	[JWT]           the keys              never: it waits for  RFC 9068
//	                                      the token's end
//
// What a route asks of a token is a [Rule]: scopes, and how recently and how well the
// user was authenticated (RFC 9470). [Metadata] tells clients where to get a token
// (RFC 9728).
//
// A token is taken from the Authorization header alone, never from the query or
// the body.
package resource
