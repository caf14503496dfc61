// Package resource protects APIs with OAuth 2.0 bearer tokens (RFC 6750), and
// declares what an authorization server and a protected resource both speak of:
// the [Token], its [Verifier], the [Error] and its [ErrorWriter], the [Guard].
//
//	http.Handle("GET /api/notes", resource.Require(srv, "notes:read")(notes))
//
// A token is taken from the Authorization header alone, never from the query or
// the body.
package resource
