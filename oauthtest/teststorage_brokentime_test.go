package oauthtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grantwell/oauth"
)

// Mistakes about time: expiry, deletion, and contexts that end.

// dying is a store that drops records at a time which it noted.
func dying(atCreate, atUpdate func(r oauth.Record) time.Time) func() oauth.Storage {
	return func() oauth.Storage {
		dies := sync.Map{}
		s := made(func(s *table) {
			s.visible = func(r oauth.Record) bool {
				at, _ := dies.Load(r.ID)
				return at == nil || at.(time.Time).IsZero() || time.Now().Before(at.(time.Time))
			}
		})
		return &patched{Storage: s,
			create: func(ctx context.Context, r oauth.Record) error {
				err := s.Create(ctx, r)
				if err == nil {
					dies.Store(r.ID, atCreate(r))
				}
				return err
			},
			update: func(ctx context.Context, r oauth.Record) error {
				err := s.Update(ctx, r)
				if err == nil && atUpdate != nil {
					dies.Store(r.ID, atUpdate(r))
				}
				return err
			},
		}
	}
}

// later adds to a time that is not zero.
func later(t time.Time, d time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(d)
}

func brokenExpiry() []brokenStore {
	const before = "ExpiresAt/never gone before"
	exact := func(r oauth.Record) time.Time { return r.ExpiresAt }
	slack := func(r oauth.Record) time.Time { return later(r.ExpiresAt, 5*time.Minute) }
	return []brokenStore{
		{"a TTL that Update does not move", []string{before}, dying(exact, nil)},
		{"a TTL with slack that Update does not move", []string{before}, dying(slack, nil)},
		{"a TTL that Update moves and never unsets", []string{before}, func() oauth.Storage {
			s, dies := right().(*table), sync.Map{}
			note := func(r oauth.Record) {
				if !r.ExpiresAt.IsZero() {
					dies.Store(r.ID, slack(r))
				}
			}
			s.keep = func(r *oauth.Record) { note(*r) }
			s.visible = func(r oauth.Record) bool {
				at, ok := dies.Load(r.ID)
				return !ok || time.Now().Before(at.(time.Time))
			}
			return s
		}},
		{"a TTL in whole seconds", []string{before}, dying(func(r oauth.Record) time.Time {
			return later(time.Now(), time.Until(r.ExpiresAt).Truncate(time.Second))
		}, exact)},
		{"a TTL of zero is over at once", []string{before, "Record/every field comes back"}, func() oauth.Storage {
			return made(func(s *table) { s.visible = func(r oauth.Record) bool { return time.Now().Before(r.ExpiresAt) } })
		}},
		{"a clock of another zone", []string{before, "Record/every field comes back"}, func() oauth.Storage {
			return made(func(s *table) {
				s.visible = func(r oauth.Record) bool {
					return r.ExpiresAt.IsZero() || time.Now().Add(9*time.Hour).Before(r.ExpiresAt)
				}
			})
		}},
		{"an error of its own past ExpiresAt", []string{"ExpiresAt/past it: there or ErrNotFound"}, func() oauth.Storage {
			s := right()
			return &patched{Storage: s, get: func(ctx context.Context, id string) (oauth.Record, error) {
				r, err := s.Get(ctx, id)
				if err == nil && !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(time.Now()) {
					return oauth.Record{}, errors.New("expired")
				}
				return r, err
			}}
		}},
		{"a husk past ExpiresAt", []string{"ExpiresAt/past it: there or ErrNotFound"}, func() oauth.Storage {
			s := right()
			return &patched{Storage: s, list: func(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
				return func(yield func(oauth.Record, error) bool) {
					for r, err := range s.List(ctx, f) {
						if !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(time.Now()) {
							r.Data = nil
						}
						if !yield(r, err) {
							return
						}
					}
				}
			}}
		}},
	}
}

func brokenSweeps() []brokenStore {
	const everywhere, limit, spares, at, meanwhile = "DeleteExpired/deletes what expired, of every realm and kind", "DeleteExpired/at most limit, and counts",
		"DeleteExpired/spares what lives", "DeleteExpired/before the time given, not at it", "DeleteExpired/spares what an Update lets live meanwhile"
	judging := func(expired func(r oauth.Record, before time.Time) bool) func() oauth.Storage {
		return func() oauth.Storage { return made(func(s *table) { s.expired = expired }) }
	}
	sweeping := func(sweep func(s *table, before time.Time, limit int) (int, error)) func() oauth.Storage {
		return func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, sweep: func(_ context.Context, before time.Time, limit int) (int, error) { return sweep(s, before, limit) }}
		}
	}
	return []brokenStore{
		{"deletes nothing", []string{everywhere, limit, at, "DeleteExpired/nothing is left of what it deleted", "DeleteExpired/many at once"},
			judging(func(oauth.Record, time.Time) bool { return false })},
		{"deletes authorizations only", []string{everywhere, "DeleteExpired/many at once"}, judging(func(r oauth.Record, before time.Time) bool {
			return r.Kind == oauth.KindAuthorization && !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(before)
		})},
		{"deletes in one realm only", []string{everywhere, limit}, judging(func(r oauth.Record, before time.Time) bool {
			return r.Realm == "" && !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(before)
		})},
		{"deletes what never expires", []string{spares}, judging(func(r oauth.Record, before time.Time) bool { return r.ExpiresAt.Before(before) })},
		{"deletes what lives", []string{everywhere, spares, "DeleteExpired/nothing is left of what it deleted"}, judging(func(r oauth.Record, before time.Time) bool {
			return !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(before.Add(24*time.Hour))
		})},
		{"judges by CreatedAt", []string{everywhere, spares}, judging(func(r oauth.Record, before time.Time) bool {
			return !r.ExpiresAt.IsZero() && r.CreatedAt.Before(before)
		})},
		{"deletes at the time", []string{at}, judging(func(r oauth.Record, before time.Time) bool {
			return !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(before)
		})},
		{"judges in whole seconds", []string{at}, judging(func(r oauth.Record, before time.Time) bool {
			return !r.ExpiresAt.IsZero() && r.ExpiresAt.Unix() < before.Unix()
		})},
		{"judges by the clock on the wall", []string{at}, judging(func(r oauth.Record, before time.Time) bool {
			return !r.ExpiresAt.IsZero() && r.ExpiresAt.UTC().Format(time.RFC3339Nano) < before.Format(time.RFC3339Nano)
		})},
		{"ignores the limit", []string{limit}, sweeping(func(s *table, before time.Time, n int) (int, error) {
			deleted, err := s.DeleteExpired(context.Background(), before, 1<<30)
			return min(max(n, 0), deleted), err
		})},
		{"no limit at zero", []string{limit}, sweeping(func(s *table, before time.Time, n int) (int, error) {
			if n == 0 {
				n = 1 << 30
			}
			return s.DeleteExpired(context.Background(), before, n)
		})},
		{"counts nothing", []string{limit}, sweeping(func(s *table, before time.Time, n int) (int, error) {
			_, err := s.DeleteExpired(context.Background(), before, n)
			return 0, err
		})},
		{"counts the limit", []string{everywhere, limit}, sweeping(func(s *table, before time.Time, n int) (int, error) {
			_, err := s.DeleteExpired(context.Background(), before, n)
			return n, err
		})},
		{"judges, then deletes", []string{meanwhile}, sweeping(func(s *table, before time.Time, n int) (int, error) {
			var ids []string
			s.mu.Lock()
			for id, r := range s.rows {
				if len(ids) < n && s.expired(r, before) {
					ids = append(ids, id)
				}
			}
			s.mu.Unlock()
			linger()
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, id := range ids {
				delete(s.rows, id)
			}
			return len(ids), nil
		})},
		{"an update revives what was deleted", []string{meanwhile, "DeleteExpired/nothing is left of what it deleted"}, func() oauth.Storage {
			s := right()
			return &patched{Storage: s, update: func(ctx context.Context, r oauth.Record) error {
				err := s.Update(ctx, r)
				if errors.Is(err, oauth.ErrNotFound) {
					_ = s.Create(ctx, r)
				}
				return err
			}}
		}},
		{"an index that leads to what was deleted", []string{"DeleteExpired/nothing is left of what it deleted"}, func() oauth.Storage {
			s, ghosts := right().(*table), sync.Map{}
			return &patched{Storage: s,
				sweep: func(_ context.Context, before time.Time, limit int) (int, error) {
					s.mu.Lock()
					defer s.mu.Unlock()
					n := 0
					for id, r := range s.rows {
						if _, gone := ghosts.Load(id); n < limit && !gone && s.expired(r, before) {
							ghosts.Store(id, true)
							n++
						}
					}
					return n, nil
				},
				get: func(ctx context.Context, id string) (oauth.Record, error) {
					if _, gone := ghosts.Load(id); gone {
						return oauth.Record{}, oauth.ErrNotFound
					}
					return s.Get(ctx, id)
				},
				update: func(ctx context.Context, r oauth.Record) error {
					if _, gone := ghosts.Load(r.ID); gone {
						return oauth.ErrNotFound
					}
					return s.Update(ctx, r)
				}}
		}},
		{"a deadlock where others delete", []string{"DeleteExpired/many at once"}, func() oauth.Storage {
			s, deleting := right(), atomic.Int32{}
			return &patched{Storage: s, sweep: func(ctx context.Context, before time.Time, limit int) (int, error) {
				defer deleting.Add(-1)
				if deleting.Add(1) > 1 {
					return 0, errors.New("database is locked")
				}
				linger()
				return s.DeleteExpired(ctx, before, limit)
			}}
		}},
	}
}

func brokenContexts() []brokenStore {
	const create, update, during = "Context/done before Create: all or nothing", "Context/done before Update: all or nothing", "Context/done during Create and Update: all or nothing"
	const get, list = "Context/done before Get: the record or the context's error", "Context/done before or during List: everything or an error"
	ended := func(end func(yield func(oauth.Record, error) bool, r oauth.Record, err error)) func() oauth.Storage {
		return func() oauth.Storage {
			s := right()
			return &patched{Storage: s, list: func(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
				return func(yield func(oauth.Record, error) bool) {
					var last oauth.Record
					for r, err := range s.List(ctx, f) {
						if err != nil {
							end(yield, last, err)
							return
						}
						if last = r; !yield(r, nil) {
							return
						}
					}
				}
			}}
		}
	}
	return []brokenStore{
		{"a record before its index", []string{create}, func() oauth.Storage {
			unlisted := sync.Map{}
			s := made(func(s *table) {
				s.matches = func(f oauth.Filter, r oauth.Record) bool {
					_, ok := unlisted.Load(r.ID)
					return !ok && matches(f, r)
				}
			})
			return &patched{Storage: s, create: func(ctx context.Context, r oauth.Record) error {
				err := s.Create(context.WithoutCancel(ctx), r)
				if err == nil && ctx.Err() != nil {
					unlisted.Store(r.ID, true)
					return ctx.Err()
				}
				return err
			}}
		}},
		{"says that it was written", []string{create, update}, func() oauth.Storage {
			s := right()
			dropped := func(ctx context.Context, err error) error {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			return &patched{Storage: s,
				create: func(ctx context.Context, r oauth.Record) error { return dropped(ctx, s.Create(ctx, r)) },
				update: func(ctx context.Context, r oauth.Record) error { return dropped(ctx, s.Update(ctx, r)) }}
		}},
		{"sends again what was written", []string{create, update}, func() oauth.Storage {
			s := right()
			again := func(ctx context.Context, do func(ctx context.Context) error) error {
				err := do(context.WithoutCancel(ctx))
				if ctx.Err() != nil {
					return do(context.WithoutCancel(ctx))
				}
				return err
			}
			return &patched{Storage: s,
				create: func(ctx context.Context, r oauth.Record) error {
					return again(ctx, func(ctx context.Context) error { return s.Create(ctx, r) })
				},
				update: func(ctx context.Context, r oauth.Record) error {
					return again(ctx, func(ctx context.Context) error { return s.Update(ctx, r) })
				}}
		}},
		{"Data before the version", []string{update}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, update: func(ctx context.Context, r oauth.Record) error {
				if err := ctx.Err(); err != nil {
					s.mu.Lock()
					defer s.mu.Unlock()
					now := s.rows[r.ID]
					now.Data = r.Data
					s.rows[r.ID] = now
					return err
				}
				return s.Update(ctx, r)
			}}
		}},
		{"the subject, then the rest", []string{during}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, update: func(ctx context.Context, r oauth.Record) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				s.mu.Lock()
				old := s.rows[r.ID]
				if old.Version == r.Version {
					now := old
					now.Subject = r.Subject
					s.rows[r.ID] = now
				}
				s.mu.Unlock()
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(300 * time.Microsecond):
				}
				return s.Update(ctx, r)
			}}
		}},
		{"a read given up finds nothing", []string{get}, func() oauth.Storage {
			s := right()
			return &patched{Storage: s, get: func(ctx context.Context, id string) (oauth.Record, error) {
				r, err := s.Get(ctx, id)
				if err != nil {
					err = fmt.Errorf("%w: %w", oauth.ErrNotFound, err)
				}
				return r, err
			}}
		}},
		{"a List given up ends as if that were all", []string{list}, ended(func(func(oauth.Record, error) bool, oauth.Record, error) {})},
		{"an error beside a record", []string{list}, ended(func(yield func(oauth.Record, error) bool, r oauth.Record, err error) { yield(r, err) })},
		{"an error in the middle", []string{list}, ended(func(yield func(oauth.Record, error) bool, r oauth.Record, err error) {
			if yield(oauth.Record{}, err) {
				yield(r, nil)
			}
		})},
	}
}
