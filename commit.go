package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	commitDeadline = 5 * time.Second
	readDeadline   = 2 * time.Second
)

// commit stores one record. A client that hangs up does not stop it. The errors
// are errRaceLost, and an *Error that is a 503.
//
// Drivers send a write twice, and connections break after it took effect: so
// whatever error comes back, the record is read once, and if it is byte for byte
// what was to be written, random mark included, then it is written.
func (s *Server) commit(ctx context.Context, w write) error {
	return w.commit(ctx, s.cfg.Storage)
}

func (w write) commit(ctx context.Context, storage Storage) error {
	ctx = context.WithoutCancel(ctx)
	want := w.rec
	want.Version++
	err := func() error {
		ctx, cancel := context.WithTimeout(ctx, commitDeadline)
		defer cancel()
		if w.create {
			return storage.Create(ctx, want)
		}
		return storage.Update(ctx, w.rec)
	}()
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readDeadline)
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
