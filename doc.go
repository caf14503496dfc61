// Package oauth is an OAuth 2.0 authorization server that a Go program embeds.
//
// The host brings its users and its database, and mounts plain handlers on the
// mux it has:
//
//	srv, err := oauth.New(oauth.Config{
//		Issuer:   "https://example.com",
//		Storage:  memstore.New(),
//		Clients:  oauth.StaticClients(oauth.Client{ID: "app", ...}),
//		Grants:   []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}},
//		Secrets:  [][]byte{secret},
//		Scopes:   []oauth.Scope{{Name: "notes:read", Description: "Read your notes"}},
//		Interact: login, // asks the user, then calls Approve or Deny
//	})
//	mux.Handle("/", srv.Handler())
//
// One authorization is one [Record], from the approval to the last refresh, and
// everything that happens to it is one conditional write. Codes and refresh
// tokens are derived from the record and a secret, access tokens are sealed: a
// copy of the database contains no usable credential, and no race can redeem a
// code or a refresh token twice.
//
// Where the specifications are enforced:
//
//	RFC 6749 2.3            clientauth.go
//	RFC 6749 3.1, 4.1, 4.2  authorize.go, RFC 9207 too; interaction.go is the hand-off to the host
//	RFC 6749 3.2, 5         token.go, the only place that makes tokens; commit.go
//	RFC 6749 3.3            scope.go
//	RFC 6749 6              authorization.go: the table of refresh tokens and codes
//	RFC 6750                resource/bearer.go
//	RFC 7009                revoke.go
//	RFC 7517                keys.go; package keystore rotates them
//	RFC 7521, 7523          clientassertion.go
//	RFC 7636                pkce.go
//	RFC 7662                introspect.go
//	RFC 8252, 9700 2.1      redirect.go
//	RFC 8414                metadata.go
//	RFC 8707                resources.go
//	RFC 9068                accesstoken.go, format.go; for APIs elsewhere resource/jwt.go
//	RFC 9470                stepup.go, resource/rule.go
//	RFC 9728                resource/metadata.go
//	OpenID Connect Core 5.3 userinfo.go
//
// The grants are in package grants; a host may add its own.
package oauth
