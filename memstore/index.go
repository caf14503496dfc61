package memstore

import (
	"container/heap"
	"strings"
	"time"

	"github.com/grantwell/oauth"
)

// The indexes of a shard. Each is by the realm and one more field.
const (
	byKind = iota
	byClient
	bySubject
	indexCount
)

// notQueued is the position of an entry that never expires.
const notQueued = -1

// A key is what an index is looked up by. One with an empty term is not indexed:
// no filter asks for it.
type key struct{ realm, term string }

// A chain is the entries of one key, linked, the newest first.
type chain struct {
	first *entry
	n     int
}

// An entry is a record and its places in the indexes of its shard.
type entry struct {
	rec   oauth.Record
	links [indexCount]link
	pos   int // in the expiry queue
}

type link struct{ prev, next *entry }

// keys returns, index by index, where such a record is found or looked for.
func keys(realm string, kind oauth.Kind, client, subject string) [indexCount]key {
	return [indexCount]key{
		byKind:    {realm, string(kind)},
		byClient:  {realm, client},
		bySubject: {realm, subject},
	}
}

func (e *entry) keys() [indexCount]key {
	return keys(e.rec.Realm, e.rec.Kind, e.rec.ClientID, e.rec.Subject)
}

// visit calls do for every entry that could match f, out of the shortest chain that
// f names; for the whole shard only if f names nothing but a realm.
func (s *shard) visit(f *oauth.Filter, do func(*entry)) {
	which, shortest := -1, chain{}
	for i, k := range keys(f.Realm, f.Kind, f.ClientID, f.Subject) {
		if k.term == "" {
			continue
		}
		if c := s.index[i][k]; which < 0 || c.n < shortest.n {
			which, shortest = i, c
		}
	}
	if which < 0 {
		for _, e := range s.records {
			do(e)
		}
		return
	}
	for e := shortest.first; e != nil; e = e.links[which].next {
		do(e)
	}
}

// insert adds an entry whose ID is free; its expiry is set apart.
func (s *shard) insert(e *entry) {
	if s.records == nil { // so that the zero Store works
		s.records = make(map[string]*entry)
		for i := range s.index {
			s.index[i] = make(map[key]chain)
		}
	}
	s.records[e.rec.ID] = e
	for i, k := range e.keys() {
		s.link(i, k, e)
	}
}

// remove takes an entry out of the shard and of all that leads to it.
func (s *shard) remove(e *entry) {
	delete(s.records, e.rec.ID)
	for i, k := range e.keys() {
		s.unlink(i, k, e)
	}
	s.setExpiry(e, time.Time{})
}

func (s *shard) setSubject(e *entry, subject string) {
	if subject == e.rec.Subject {
		return
	}
	s.unlink(bySubject, key{e.rec.Realm, e.rec.Subject}, e)
	e.rec.Subject = strings.Clone(subject)
	s.link(bySubject, key{e.rec.Realm, e.rec.Subject}, e)
}

// setExpiry moves an entry to its place in the queue. It has at most one, however
// often it is moved.
func (s *shard) setExpiry(e *entry, at time.Time) {
	if at.Equal(e.rec.ExpiresAt) {
		return
	}
	e.rec.ExpiresAt = at
	switch {
	case at.IsZero():
		heap.Remove(&s.expiry, e.pos)
	case e.pos == notQueued:
		heap.Push(&s.expiry, e)
	default:
		heap.Fix(&s.expiry, e.pos)
	}
}

func (s *shard) link(i int, k key, e *entry) {
	if k.term == "" {
		return
	}
	c := s.index[i][k]
	e.links[i] = link{next: c.first}
	if c.first != nil {
		c.first.links[i].prev = e
	}
	s.index[i][k] = chain{first: e, n: c.n + 1}
}

func (s *shard) unlink(i int, k key, e *entry) {
	if k.term == "" {
		return
	}
	c, l := s.index[i][k], e.links[i]
	if l.prev != nil {
		l.prev.links[i].next = l.next
	} else {
		c.first = l.next
	}
	if l.next != nil {
		l.next.links[i].prev = l.prev
	}
	e.links[i] = link{}
	c.n--
	if c.n == 0 {
		delete(s.index[i], k)
		return
	}
	s.index[i][k] = c
}

// A queue is the entries that expire, as a heap: the first to expire is at 0.
// Every entry knows its position, so that it can be moved.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].rec.ExpiresAt.Before(q[j].rec.ExpiresAt) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].pos, q[j].pos = i, j
}

func (q *queue) Push(x any) {
	e := x.(*entry)
	e.pos = len(*q)
	*q = append(*q, e)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil // or the deleted entry stays in memory
	*q = (*q)[:last]
	e.pos = notQueued
	return e
}
