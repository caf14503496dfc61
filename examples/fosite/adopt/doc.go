// Package adopt moves a running authorization server from github.com/ory/fosite
// (v0.49, opaque tokens) to this library, without a second login for anybody who
// has a refresh token, and without a change at any client. It is meant to be
// copied and changed: sessions, scopes and stores differ from host to host.
//
// What comes along: clients with their bcrypt secrets, live refresh tokens with
// subject, scopes, audience, time and manner of login and the extra claims that
// you name. What does not: logins that are between the authorization endpoint and
// the token endpoint at that moment (the user begins again), access tokens (the
// old server answers for them until they expire), remembered consent, and clients
// that authenticate with private_key_jwt.
//
// # The plan
//
// 1. Write the new server beside the old one in the same program, or in another
// one that can read the old tables. The issuer and [oauth.Endpoints] have the old
// URLs, so no client changes. Make the clients with [Client], and the Config.Import
// with [Tokens]. The example below the package has all of it. List every scope
// in Config.Scopes, fosite's "offline" too: clients may name it when they refresh; and
// every audience in Config.Resources, or its tokens are refused (invalid_target). A
// scope that is a pattern ("photos.*") or a parent of others (photos, with
// HierarchicScopeStrategy) must be written out for each client.
//
// 2. Try it on a copy of the old tables. Refresh tokens of the copy are real:
// treat it as you treat the original.
//
// 3. Let the old server's access tokens be short, an hour or less, some days
// before. Look at what the new server demands and the old one did not: PKCE of
// public clients, exact redirect URIs, one client authentication per request.
//
// 4. Switch /authorize and /token together, everywhere at one moment. Import reads
// the old store and writes nothing there, so the old server would still take a
// token that the new one has adopted: from two servers two lines of successors
// would come, and no one would notice a thief. Switching routes of a mux or of a
// proxy is one moment. Changing DNS is not: let the old processes forward both
// paths to the new ones first, and change DNS afterwards.
//
// 5. Keep the old server's introspection and revocation behind [Split]: it answers
// for tokens that begin with "ory_". [Tokens.RevokeHandler] ends what was adopted of
// a refresh token too, so that a client that signs its user out with a token from
// before the switch does sign it out. The old server's jobs that delete expired
// rows may go on. A way back is open until the first tokens were adopted; later,
// those users would have to log in again.
//
// 6. Import while both live. Each client comes by itself, with its next refresh:
// the old token becomes the first one of a new authorization. If it comes again it
// is treated as any other that was used: the same answer within the retry window,
// after that the authorization ends. One that the old server had already rotated out
// ends what came of its successors, as fosite did.
//
// 7. Remove Split when the last old access token has expired. Remove Import, the
// old code, the old tables and the GlobalSecret when the last old refresh token
// has: the old RefreshTokenLifespan after the switch (30 days by default), or after
// MaxAge where that is shorter or the lifespan has no end. Who did not come back
// until then logs in again.
//
// 8. Checking a bcrypt hash of cost 12 takes about 0.2 s of a processor at every
// token request. Give clients new secrets when it suits them: a hash made with
// [oauth.HashSecret] may stand beside the old one in Client.Secrets meanwhile.
package adopt
