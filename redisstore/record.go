package redisstore

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/grantwell/oauth"
)

const (
	// How long after ExpiresAt the server drops a record: what oauth.Record demands
	// of a store that has a clock of its own.
	slack = 5 * time.Minute

	maxID = 128

	shardCount = 64 // pairs of sorted sets that list all records
)

// layout is how a record is stored: a line of format, version, ExpiresAt, entry,
// CreatedAt and four lengths, then the texts of those lengths, then Data. Times are
// in milliseconds, "-" is a zero ExpiresAt; the entry is that of the lists by which
// the record is found. What an Update leaves alone is in one piece.
//
//	1 <version> <expires> <entry> <created> <realm> <kind> <client> <subject>\n
//	<Realm><Kind><ClientID><Subject><Data>
const layout = "1 %d %s %s %d %d %d %d %d\n%s%s%s%s%s"

// value is a new record as it is stored.
func value(r *oauth.Record, entry string) string {
	return fmt.Sprintf(layout, 1, expiry(r.ExpiresAt), entry, r.CreatedAt.UnixMilli(), len(r.Realm), len(r.Kind), len(r.ClientID),
		len(r.Subject), r.Realm, string(r.Kind), r.ClientID, r.Subject, r.Data)
}

var errLayout = errors.New("the key does not hold a record that this version of the package can read")

// parse reads a stored value, and the entry in it.
func parse(id, stored string) (r oauth.Record, entry string, err error) {
	line, rest, _ := strings.Cut(stored, "\n")
	fields := strings.Split(line, " ")
	if len(fields) != 9 || fields[0] != "1" {
		return r, "", errLayout
	}
	var numbers [6]int64 // version, created, four lengths
	for i, field := range []string{fields[1], fields[4], fields[5], fields[6], fields[7], fields[8]} {
		if numbers[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return r, "", errLayout
		}
	}
	r.ID, r.Version, r.CreatedAt = id, numbers[0], time.UnixMilli(numbers[1]).UTC()
	if fields[2] != "-" {
		expires, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return oauth.Record{}, "", errLayout
		}
		r.ExpiresAt = time.UnixMilli(expires).UTC()
	}
	for i, text := range []*string{&r.Realm, (*string)(&r.Kind), &r.ClientID, &r.Subject} {
		n := numbers[2+i]
		if n < 0 || n > int64(len(rest)) {
			return oauth.Record{}, "", errLayout
		}
		*text, rest = rest[:n], rest[n:]
	}
	if rest != "" {
		r.Data = []byte(rest)
	}
	return r, fields[3], nil
}

// expiry is an ExpiresAt as it is stored.
func expiry(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// end is when the server shall drop a record, "" for never.
func end(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(max(1, t.Add(slack).UnixMilli()), 10) // zero and less are refused
}

// validID says whether a record can have this ID. The lists depend on it: they
// separate an ID from what follows by a space.
func validID(id string) bool {
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return id != "" && len(id) <= maxID
}

// tag is a text as it is named in keys and lists: n characters, four for three bytes
// of its hash. Two texts may have the same, so what a tag finds is compared in full.
func tag(text string, n int) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:24])[:n]
}

const (
	realmTag, kindTag, clientTag, subjectTag = 6, 3, 4, 12
	nonceLength                              = 8
)

// An entry leads to one record. It is a member of the pair of sorted sets of its ID,
// where it says where else an entry is: in the set of its subject.
//
//	<realm><kind><ID> <nonce><client><subject>     in the lists
//	<kind><ID> <nonce>                             in the set of a subject
//
// As a space is less than any character of an ID, members are in the order of IDs.
// The nonce is in the record, too. No two entries are the same, so one that no
// record relies on can be removed whatever others write meanwhile.
type entry struct {
	realm, kind, id, nonce, client string
	subject                        string // "" if there is none
}

func newEntry(r *oauth.Record) entry {
	e := entry{tag(r.Realm, realmTag), tag(string(r.Kind), kindTag), r.ID, rand.Text()[:nonceLength], tag(r.ClientID, clientTag), ""}
	if r.Subject != "" {
		e.subject = subjectOf(r.Realm, r.Subject)
	}
	return e
}

// ofRecord is the entry that a stored record relies on.
func ofRecord(r *oauth.Record, nonce string) entry {
	e := newEntry(r)
	e.nonce = nonce
	return e
}

func subjectOf(realm, subject string) string {
	return tag(strconv.Itoa(len(realm))+" "+realm+subject, subjectTag)
}

func (e entry) member() string {
	return e.realm + e.kind + e.id + " " + e.nonce + e.client + e.subject
}

func (e entry) subjectMember() string { return e.kind + e.id + " " + e.nonce }

// parseEntry reads a member of the lists.
func parseEntry(member string) (entry, bool) {
	head, rest, _ := strings.Cut(member, " ")
	const least = nonceLength + clientTag
	if len(head) <= realmTag+kindTag || (len(rest) != least && len(rest) != least+subjectTag) {
		return entry{}, false
	}
	e := entry{head[:realmTag], head[realmTag:][:kindTag], head[realmTag+kindTag:], rest[:nonceLength], rest[nonceLength:least], rest[least:]}
	return e, validID(e.id)
}

func errMember(member string) error {
	return fmt.Errorf("a list has the member %q, which is not of this version of the package", member)
}

// The keys.

func (s *Store) recordKey(id string) string { return s.prefix + "r:" + id }

func (s *Store) subjectKey(subject string) string { return s.prefix + "s:" + subject }

// listKeys is the pair of sorted sets of a shard: one slot, by the braces.
func (s *Store) listKeys(shard int) (byID, byDue string) {
	const digits = "0123456789abcdef"
	name := s.prefix + "{i" + digits[shard>>4:][:1] + digits[shard&15:][:1] + "}:"
	return name + "id", name + "due"
}

// shardOf is where an ID is listed, by FNV-1a.
func shardOf(id string) int {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int((h ^ h>>16) % shardCount)
}
