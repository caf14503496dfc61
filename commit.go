package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A write is one Create or Update; of an Update, the record has the version
// that was read.
type write struct {
	create bool
	rec    Record
}

// errRaceLost says that another write came first: the request starts over from
// its first check.
var errRaceLost = errors.New("oauth: another request was faster")

const (
	commitDeadline = 5 * time.Second // at most; sharedFor less at least
	sharedFor      = time.Second
	readDeadline   = 2 * time.Second
)

// commit stores one record. A client that hangs up does not stop it. The errors
// are errRaceLost, and an *Error that is a 503.
//
// Drivers send a write twice, and connections break after it took effect: so
// whatever error comes back, the record is read once, and if it is byte for byte
// what was to be written, random mark included, then it is written.
func (s *Server) commit(ctx context.Context, w write) error {
	return w.commit(ctx, s.cfg.Storage, s.deadline)
}

func (w write) commit(ctx context.Context, storage Storage, d *deadline) error {
	want := w.rec
	want.Version++
	var err error
	if w.create {
		err = storage.Create(d.of(ctx), want)
	} else {
		err = storage.Update(d.of(ctx), w.rec)
	}
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readDeadline)
	defer cancel()
	got, readErr := storage.Get(ctx, want.ID)
	switch {
	case readErr == nil && sameWrite(got, want):
		return nil
	case readErr != nil && !isNotFound(readErr):
		return unavailable(fmt.Errorf("storage: %w, then %w", err, readErr))
	case errors.Is(err, ErrConflict) || errors.Is(err, ErrExists) || isNotFound(err):
		return errRaceLost
	}
	return unavailable(fmt.Errorf("storage: %w", err))
}

func sameWrite(got, want Record) bool {
	return got.Version == want.Version && got.Realm == want.Realm && got.Kind == want.Kind &&
		got.ClientID == want.ClientID && got.Subject == want.Subject &&
		got.ExpiresAt.Equal(want.ExpiresAt) && bytes.Equal(got.Data, want.Data)
}

// A deadline is what the commits that begin within a second have in common: a timer
// of its own would cost each more than all its hashes. The zero deadline is ready.
type deadline struct{ latest atomic.Pointer[limit] }

// A limit is a context that ends commitDeadline after it was made.
type limit struct {
	context.Context
	cancel context.CancelFunc // never called: who is the last to have the context, nobody knows
}

// of is ctx with this deadline in place of its own end.
func (d *deadline) of(ctx context.Context) context.Context {
	l := d.latest.Load()
	if l == nil || !l.fresh() {
		l = &limit{}
		l.Context, l.cancel = context.WithTimeout(context.Background(), commitDeadline)
		d.latest.Store(l)
	}
	return ending{l.Context, ctx}
}

// fresh reports whether as much is left as a commit must have. A clock that is not
// monotonic is one of testing/synctest: of these there can be several, and what was
// made under one is of no use under another.
func (l *limit) fresh() bool {
	now := l.now()
	end, _ := l.Deadline()
	return now != now.Round(0) && end.Sub(now) > commitDeadline-sharedFor
}

// now is real time, whatever Config.Now says, as the end of a context is.
func (l *limit) now() time.Time { return time.Now() }

// An ending context ends when its first does, and has the values of both: by one
// of the first, package context does without a goroutine for what is made from it.
type ending struct {
	context.Context
	values context.Context
}

func (e ending) Value(key any) any {
	if v := e.Context.Value(key); v != nil {
		return v
	}
	return e.values.Value(key)
}
