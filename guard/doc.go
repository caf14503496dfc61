// Package guard has guards: what may refuse a request to an authorization server
// before a secret is compared, or a call of an API before its handler runs.
// [RateLimit] counts, [AllowList] knows from where each client may call, [HTTPS]
// refuses plain http. Each is a struct whose method Guard checks it and returns the
// [resource.Guard] for oauth.Config.Guards or [resource.API].Guards:
//
//	limits, err := guard.RateLimit{Rules: []guard.Rule{
//		{Endpoints: []string{"authorize"}, Limits: []guard.Limit{{Count: 100, Window: time.Minute}}},
//		{Endpoints: []string{"token"}, Per: guard.PerClient, Limits: []guard.Limit{
//			{Count: 10, Window: time.Second}, {Count: 1000, Window: time.Hour, Sliding: true}}},
//		{Endpoints: []string{"userinfo"}, Per: guard.PerToken, Limits: []guard.Limit{{Count: 500, Window: time.Minute}}},
//	}}.Guard()
//
// It needs package resource and nothing else of the library, so an API in a process
// of its own uses it without the server.
//
// # Whose address
//
// All three ask who is at the other end. That is the peer of the connection, unless
// it is a proxy that the host trusts: see [Proxies]. Behind a proxy that is not
// named there, all users are one, and one of them can use up the limit of all.
//
// # Who can lock whom out
//
// A guard runs before the client has shown its secret: anybody can send anybody's
// client_id. So [PerClient] counts a client that is only claimed together with the
// address it is claimed from, and once more, by itself, when it has authenticated.
// Who sends another's id uses up a count that is theirs alone. A public client
// proves nothing, and is always counted with the address.
//
// # Several processes
//
// Counts are kept in memory. N processes that are to share them have a [Counter]:
// redisstore.NewCounter makes one.
package guard
