// Package redisstore is [oauth.Storage] in Redis or Valkey: one server, one with
// replicas behind Sentinel, or a Cluster, through whatever go-redis client the
// host has.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
//	store, err := redisstore.Open(ctx, client, redisstore.Config{})
//
// It needs Redis 6.2 or any Valkey. Open looks at the server and says what is wrong
// with it.
//
// # What the server must promise
//
// A write is durable when it returns, says [oauth.Storage]; of a Redis that is true
// only as far as it is told to be:
//
//   - Persistence. With "appendonly yes" and "appendfsync always" a write is on the
//     disk before it is answered. With "everysec", the default, a crash of the
//     machine (not of the process) takes the last second or two with it; with
//     snapshots alone everything since the last one; with neither, all.
//   - Failover. Replicas get writes after they are answered, so a replica that is
//     promoted may lack the last ones, and a Sentinel or Cluster cannot tell which.
//     "min-replicas-to-write 1" and "min-replicas-max-lag" shorten the time in which
//     a primary that was cut off goes on accepting what will be lost.
//   - Eviction. A server that evicts throws live authorizations away when its memory
//     is full. Open refuses one whose maxmemory-policy is not noeviction.
//
// What is lost brings an older state back: a code that was redeemed can be redeemed
// again until it expires, a grant that was revoked in that moment lives again, and a
// refresh token that was rotated is the current one. The last heals itself: the next
// token that the rightful client sends is newer than the record, which only this
// server can have issued, so the server takes it, moves the record ahead and reports
// StoreWentBack. An authorization whose very first write was lost is gone, and its
// user signs in again. Who cannot accept that needs "appendfsync always" and no
// automatic failover, or a SQL database.
//
// Records are read from primaries only: by a command that replicas refuse and that
// client-side caching does not keep. Open refuses a ClusterClient that reads from
// replicas, and a Ring, which looks elsewhere for the keys of a server that is down.
//
// Redis drops a record 5 minutes after its ExpiresAt, by the server's clock. Open
// refuses a server whose clock is more than 4 minutes away from the process's.
//
// # Keys
//
//	<prefix>r:<ID>            a record, one string
//	<prefix>s:<tag>           a sorted set, what leads from a subject to records
//	<prefix>{i00}:id  … {i3f} 64 pairs of sorted sets that list all records, by ID
//	<prefix>{i00}:due … {i3f} and by the time to look whether they are still there
//
// Tags are short hashes, so that nobody's name is in a key, and after a record was
// erased it is nowhere. A record begins with a line of its own and then has the texts
// and Data as they are; redis-cli --raw GETRANGE shows it.
//
// Every command and script touches one slot: a record alone, or one pair of sorted
// sets. What leads to a record is written first and the record last, so a crash in
// between leaves an entry that leads nowhere, never a live record that cannot be
// found. List passes over such entries and DeleteExpired removes them.
//
// So DeleteExpired has to be called here as with any store, once an hour or so, though
// the records themselves expire unasked: without it the sorted sets grow.
//
// # Sending again
//
// go-redis sends a command again after a broken connection. Not those of this package
// that write: each of them tells the client so, whatever its MaxRetries. (After
// MOVED, ASK, or a connection that was never made, the command goes where it
// belongs: it was not run before.)
package redisstore
