// Package keystore keeps the signing keys of a server in its own
// [oauth.Storage] and rotates them. A [Store] is an [oauth.KeySource]:
//
//	cfg := oauth.Config{ ... }
//	keys, err := keystore.New(cfg, keystore.Options{})
//	cfg.Keys = keys
//	srv, err := oauth.New(cfg)
//
// It is for keys that the server makes and keeps itself. A key that lives in a
// KMS or an HSM, or in a file, is a crypto.Signer and goes to [oauth.StaticKeys].
//
// # The life of a key
//
// A key is made and published, signs, is published on without signing, and is
// forgotten. There is always a next one:
//
//	RotateEvery              RotateEvery              TokenLifetime and some more
//	|---- next --------------|---- signing -----------|---- retired ----|
//	                         |---- next --------------|---- signing ----------···
//	                                                  |---- next -------------···
//
// An API that caches the JWKS has seen a key before it signs, and still sees it
// when the last of its tokens expires. When a key leaks and has to go at once,
// the one that takes its place is known everywhere. The first key on an empty store
// signs at once: nobody can have cached a JWKS without it. The private part of a
// key is erased some minutes after it has stopped signing.
//
// All keys of one algorithm are one record, and whatever happens to them is one
// conditional write of it. Every time is in the record, and what a key does now
// follows from the clock: any number of processes agree without a leader. Their
// clocks agree within a minute.
//
// Nothing runs by itself. A request that finds the keys due for a look reads
// them, one Get for each algorithm, and makes the next key if there is none;
// others use the keys in memory meanwhile. Making an RSA key takes some
// hundred milliseconds: to spare requests that, call [Store.Keys] from whatever
// runs DeleteExpired. Call it at the start too, so that keys that cannot be
// opened stop the program there.
//
// # What the store holds
//
// Private parts are sealed with the first of [oauth.Config].Secrets, and
// the record is authenticated with it: a copy of the database signs nothing, and
// a record that was changed, or moved to another server, is refused. When the
// first secret changes, the next process that reads the keys seals them again,
// but not within an hour of the last write: while the new list of secrets is
// rolled out, processes disagree about which is the first. An old secret can be
// removed two hours after the last process has the new one first, if any of them
// was asked for keys in the second hour and the Logger was told of no failure.
//
// A record that cannot be opened is an error, never replaced: the server answers
// 503 where it needs the keys. To give such keys up, together with every JWT they
// signed, delete the record that the error names. A record that was erased (its
// Data is empty, and it has an ExpiresAt) is such an error too, until DeleteExpired
// deletes it. Where the record is gone, new keys are made, and if this process had
// some in memory the Logger is told.
//
// A store that was restored from a backup has the keys of that time: retire again
// what was retired since. So has one in which somebody who may write to it has put
// the record of that time back: that is a record of this server, and not refused.
//
// # Changing the algorithms
//
// As with secrets: an algorithm is added at the end of the list everywhere, and
// used after PublishFor. It leaves the list TokenLifetime after it last signed.
package keystore
