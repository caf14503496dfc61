package oauth

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Kind says what a [Record] is.
type Kind string

// The kinds of records. A store treats them alike.
const (
	KindAuthorization Kind = "authorization" // from the approval to the last refresh
	KindClient        Kind = "client"        // a registered client
	KindConsent       Kind = "consent"       // what a resource owner allowed a client, remembered
	KindKey           Kind = "key"           // a signing key, its private part sealed
	KindSpent         Kind = "spent"         // a jti, handle or token id that was seen once
)

// A Record is what a [Storage] stores: one authorization with everything that
// happens to it, one client, one key. It contains no usable credential.
type Record struct {
	// Realm is [Config.Realm]: "" where one server has the store to itself.
	Realm string
	// ID is chosen by the server: at most 64 characters in all, of A–Z a–z 0–9 - and
	// _, beginning with a prefix for the Kind. It is compared byte by byte, is unique
	// in the store, whatever the Realm, and never used again.
	ID   string
	Kind Kind
	// Version is 1 when the record was created and one more with every update.
	Version int64
	// ClientID is up to 2048 bytes (it may be a URL); "" where no client is concerned.
	ClientID string
	// Subject is up to 255 bytes; "" where no resource owner is concerned.
	Subject string
	// CreatedAt and ExpiresAt are exact to the millisecond. A zero ExpiresAt
	// means never. A store may drop a record any time after ExpiresAt and never
	// before; one that expires records by its own clock adds 5 minutes of slack.
	CreatedAt time.Time
	ExpiresAt time.Time
	// Data is the server's own JSON, in UTF-8, up to 64 KiB of it; a store never
	// looks inside. Neither side changes it after the call that passed it; a store
	// keeps a copy and gives out copies.
	Data []byte
}

// A Filter selects the records that [Storage.List] yields. Every field that is
// set must match; the zero Filter matches the records of the realm "".
type Filter struct {
	Realm    string // always compared, "" included
	Kind     Kind   // "" for every kind
	ClientID string // "" for every client
	Subject  string // "" for every subject
	After    string // only IDs greater than this, byte by byte: the last one of the page before
}

// Storage keeps [Record]s. Anything with a conditional write can implement it:
// five methods, one record each, no transaction over several records, no clock.
//
// All methods are safe for concurrent use. The three sentinels [ErrNotFound],
// [ErrExists] and [ErrConflict] are answers, recognised by errors.Is; every
// other error means that the store failed, and the server answers 503.
// A context that is done leaves a write either done as a whole or not at all.
type Storage interface {
	// Create stores r with version 1; it is durable when Create returns.
	// If the ID is taken, by whichever realm or kind, it returns ErrExists and
	// nothing is written.
	Create(ctx context.Context, r Record) error

	// Get returns the record with this ID. It sees every Create and Update that
	// returned before it was called, from any process: no replica, no cache.
	// ErrNotFound if there is none. A record past its ExpiresAt is returned
	// or is not found; both are right.
	Get(ctx context.Context, id string) (Record, error)

	// Update stores r with version r.Version+1, atomically and only if the stored
	// version is r.Version; it is durable when Update returns. It changes Subject,
	// ExpiresAt and Data and nothing else. If the stored version is another, it
	// returns ErrConflict; if there is no such record, ErrNotFound; in both cases
	// nothing is written. After any other error the outcome is unknown.
	Update(ctx context.Context, r Record) error

	// List yields the records that match f in ascending order of ID, byte by byte.
	// It yields what was written before the call; of what is written meanwhile it
	// may yield either state. It holds no lock, row set or connection while it
	// yields, so the loop may call any method, Update included. An error is
	// yielded last, with a zero Record. By Kind and Subject, and by Kind alone for
	// clients, it is fast.
	List(ctx context.Context, f Filter) iter.Seq2[Record, error]

	// DeleteExpired deletes at most limit records, of every realm and kind, whose
	// ExpiresAt is set and before the time given, and returns how many it deleted.
	// It judges each record in the same step that deletes it, so one that is
	// updated to live longer meanwhile stays.
	DeleteExpired(ctx context.Context, before time.Time, limit int) (int, error)
}

// The answers of a [Storage], and of a [ClientRegistry] ErrNotFound alone.
// Implementations may wrap them.
var (
	ErrNotFound = errors.New("oauth: not found")
	ErrExists   = errors.New("oauth: exists already")
	ErrConflict = errors.New("oauth: another version is stored")
)
