package oauthtest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grantwell/oauth"
)

// linger lets others run: long enough for a race that is to be lost, on a machine that
// is busy too.
func linger() {
	for range 300 {
		runtime.Gosched()
	}
}

// lost makes a trial again and again until it finds the mistake: a race need not be
// lost the first time.
func lost(trial func() error) (err error) {
	for range 50 {
		if err = trial(); err != nil {
			return err
		}
	}
	return nil
}

// A brokenStore is a mistake that somebody will make, and the checks that must
// find it.
type brokenStore struct {
	name  string
	fails []string // "method/name"
	open  func() oauth.Storage
}

func brokenStores() []brokenStore {
	return slices.Concat(brokenRecords(), brokenCreates(), brokenGets(), brokenUpdates(), brokenLists(), brokenExpiry(), brokenSweeps(), brokenContexts())
}

func right() oauth.Storage { return made(func(*table) {}) }

// in breaks what comes in, out what goes out.
func in(keep func(r *oauth.Record)) func() oauth.Storage {
	return func() oauth.Storage { return made(func(s *table) { s.keep = keep }) }
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

func brokenRecords() []brokenStore {
	fold := strings.ToLower
	refusing := func(bad func(r *oauth.Record) bool) func() oauth.Storage {
		return func() oauth.Storage {
			return made(func(s *table) {
				s.refuse = func(ctx context.Context, r *oauth.Record) error {
					if bad(r) {
						return errors.New("invalid value for the column")
					}
					return ctx.Err()
				}
			})
		}
	}
	return []brokenStore{
		{"case-folded IDs", []string{"Record/ID byte by byte", "Get/ErrNotFound if there is none", "Update/ErrNotFound, and nothing is written"},
			func() oauth.Storage { return made(func(s *table) { s.key = fold }) }},
		{"IDs of 40 characters", []string{"Record/every field comes back"}, in(func(r *oauth.Record) { r.ID = cut(r.ID, 40) })},
		{"an enumeration of kinds", []string{"Record/Kind of any release"}, refusing(func(r *oauth.Record) bool { return strings.HasPrefix(string(r.Kind), "of-") })},
		{"trimmed realms", []string{"Record/Realm byte by byte"}, in(func(r *oauth.Record) { r.Realm = strings.TrimSpace(r.Realm) })},
		{"realms of 64 bytes", []string{"Record/Realm byte by byte", "Record/every field comes back"}, in(func(r *oauth.Record) { r.Realm = cut(r.Realm, 64) })},
		{"client IDs of 255 bytes", []string{"Record/ClientID byte by byte", "Record/every field comes back"}, in(func(r *oauth.Record) { r.ClientID = cut(r.ClientID, 255) })},
		{"client IDs as URLs made canonical", []string{"Record/ClientID byte by byte"}, in(func(r *oauth.Record) { r.ClientID = strings.ReplaceAll(r.ClientID, "%2f", "%2F") })},
		{"trimmed subjects", []string{"Record/Subject byte by byte"}, in(func(r *oauth.Record) { r.Subject = strings.TrimSpace(r.Subject) })},
		{"subjects of 3 bytes a character", []string{"Record/Subject byte by byte"}, refusing(func(r *oauth.Record) bool {
			return strings.ContainsFunc(r.Subject, func(c rune) bool { return c > 0xffff })
		})},
		{"Data as parsed JSON", []string{"Record/Data byte by byte"}, in(func(r *oauth.Record) {
			var v any
			if json.Unmarshal(r.Data, &v) == nil {
				r.Data, _ = json.Marshal(v)
			}
		})},
		{"Data in a column of 65,535 bytes", []string{"Record/Data byte by byte", "Record/every field comes back"}, in(func(r *oauth.Record) { r.Data = r.Data[:min(len(r.Data), 65535)] })},
		{"no Data becomes null", []string{"Record/no Data stays no Data"}, in(func(r *oauth.Record) {
			if len(r.Data) == 0 {
				r.Data = []byte("null")
			}
		})},
		{"no Data is refused", []string{"Record/no Data stays no Data", "Update/erases with an empty Subject and no Data"}, refusing(func(r *oauth.Record) bool { return r.Data == nil })},
		{"Data shared on its way in", []string{"Record/Data is not shared"}, func() oauth.Storage {
			return made(func(s *table) { s.copyIn = func(b []byte) []byte { return b } })
		}},
		{"Data shared on its way out", []string{"Record/Data is not shared"}, func() oauth.Storage {
			return made(func(s *table) { s.copyOut = func(b []byte) []byte { return b } })
		}},
		{"Data in one buffer for all", []string{"Record/Data is not shared", "List/yields whole records"}, func() oauth.Storage {
			var buffer []byte
			return made(func(s *table) {
				s.copyOut = func(b []byte) []byte { buffer = append(buffer[:0], b...); return buffer }
			})
		}},
		{"times in seconds", []string{"Record/times to the millisecond, in whatever zone"}, in(func(r *oauth.Record) {
			r.CreatedAt, r.ExpiresAt = r.CreatedAt.Truncate(time.Second), r.ExpiresAt.Truncate(time.Second)
		})},
		{"times of the wall, without their zone", []string{"Record/times to the millisecond, in whatever zone"}, in(func(r *oauth.Record) {
			r.CreatedAt, _ = time.Parse(time.DateTime+".999", r.CreatedAt.Format(time.DateTime+".999"))
		})},
		{"times that end in 2038", []string{"Record/times to the millisecond, in whatever zone", "Record/every field comes back"}, refusing(func(r *oauth.Record) bool { return r.ExpiresAt.Unix() > 1<<31 })},
		{"zero times become 1970", []string{"Record/every field comes back", "Update/sets, moves and unsets ExpiresAt", "ExpiresAt/never gone before"}, in(func(r *oauth.Record) {
			if r.ExpiresAt.IsZero() {
				r.ExpiresAt = time.Unix(0, 0)
			}
		})},
		{"panics at what it does not know", []string{"Record/every field comes back"}, func() oauth.Storage {
			return made(func(s *table) {
				s.keep = func(r *oauth.Record) {
					if r.Data == nil {
						panic("no Data")
					}
				}
			})
		}},
	}
}

func brokenCreates() []brokenStore {
	const taken = "Create/ErrExists, and nothing is written"
	return []brokenStore{
		{"create that overwrites", []string{taken, "Create/of 32 at once one wins"}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, create: func(ctx context.Context, r oauth.Record) error {
				s.mu.Lock()
				delete(s.rows, r.ID)
				s.mu.Unlock()
				return s.Create(ctx, r)
			}}
		}},
		{"create that does nothing if taken", []string{taken}, func() oauth.Storage {
			s := right()
			return &patched{Storage: s, create: func(ctx context.Context, r oauth.Record) error {
				if err := s.Create(ctx, r); !errors.Is(err, oauth.ErrExists) {
					return err
				}
				return nil
			}}
		}},
		{"create that says ErrExists and overwrites", []string{taken}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, create: func(ctx context.Context, r oauth.Record) error {
				err := s.Create(ctx, r)
				s.mu.Lock()
				defer s.mu.Unlock()
				r.Version = 1
				s.rows[r.ID] = r
				return err
			}}
		}},
		{"IDs unique in their realm only", []string{taken}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, create: func(ctx context.Context, r oauth.Record) error {
				if old, err := s.Get(ctx, r.ID); err == nil && old.Realm != r.Realm {
					r.ID = r.Realm + r.ID
				}
				return s.Create(ctx, r)
			}}
		}},
		{"ErrExists in words alone", []string{taken, "Create/of 32 at once one wins"}, func() oauth.Storage {
			s := right()
			return &patched{Storage: s, create: func(ctx context.Context, r oauth.Record) error {
				if err := s.Create(ctx, r); err != nil {
					return fmt.Errorf("insert: %v", err)
				}
				return nil
			}}
		}},
		{"the version that was given", []string{"Create/version 1, whatever was given"}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, create: func(ctx context.Context, r oauth.Record) error {
				err := s.Create(ctx, r)
				s.mu.Lock()
				defer s.mu.Unlock()
				if err == nil {
					s.rows[r.ID] = r
				}
				return err
			}}
		}},
		{"create that looks first", []string{"Create/of 32 at once one wins"}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, create: func(ctx context.Context, r oauth.Record) error {
				if _, err := s.Get(ctx, r.ID); err == nil {
					return oauth.ErrExists
				}
				linger()
				s.mu.Lock()
				defer s.mu.Unlock()
				r.Version = 1
				s.rows[r.ID] = r
				return nil
			}}
		}},
	}
}

func brokenGets() []brokenStore {
	return []brokenStore{
		{"ErrNotFound in words alone", []string{"Get/ErrNotFound if there is none"}, func() oauth.Storage {
			s := right()
			return &patched{Storage: s, get: func(ctx context.Context, id string) (oauth.Record, error) {
				r, err := s.Get(ctx, id)
				if err != nil {
					err = errors.New(err.Error())
				}
				return r, err
			}}
		}},
		{"no record and no error", []string{"Get/ErrNotFound if there is none"}, func() oauth.Storage {
			s := right()
			return &patched{Storage: s, get: func(ctx context.Context, id string) (oauth.Record, error) {
				r, err := s.Get(ctx, id)
				if errors.Is(err, oauth.ErrNotFound) {
					err = nil
				}
				return r, err
			}}
		}},
		{"IDs as patterns", []string{"Get/ErrNotFound if there is none"}, func() oauth.Storage {
			s := right()
			return &patched{Storage: s, get: func(ctx context.Context, id string) (oauth.Record, error) {
				r, err := s.Get(ctx, id)
				if prefix, ok := strings.CutSuffix(id, "__"); ok && err != nil {
					return s.Get(ctx, prefix+"ab")
				}
				return r, err
			}}
		}},
		{"a replica behind", []string{"Get/sees every write that returned"}, openReplica},
		{"updates in two steps", []string{"Get/never half of a write"}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, update: func(ctx context.Context, r oauth.Record) error {
				first := r
				if old, err := s.Get(ctx, r.ID); err == nil {
					first.Data = old.Data
				}
				if err := s.Update(ctx, first); err != nil {
					return err
				}
				linger()
				s.mu.Lock()
				defer s.mu.Unlock()
				now := s.rows[r.ID]
				now.Data = bytes.Clone(r.Data)
				s.rows[r.ID] = now
				return nil
			}}
		}},
	}
}

// openReplica reads every fourth time from a copy that is 5 ms behind.
func openReplica() oauth.Storage {
	type state struct {
		r     oauth.Record
		err   error
		until time.Time
	}
	var mu sync.Mutex
	var reads atomic.Int64
	behind := map[string]state{}
	s := right()
	write := func(ctx context.Context, id string, do func() error) error {
		old, oldErr := s.Get(ctx, id)
		err := do()
		mu.Lock()
		defer mu.Unlock()
		behind[id] = state{old, oldErr, time.Now().Add(5 * time.Millisecond)}
		return err
	}
	return &patched{Storage: s,
		create: func(ctx context.Context, r oauth.Record) error {
			return write(ctx, r.ID, func() error { return s.Create(ctx, r) })
		},
		update: func(ctx context.Context, r oauth.Record) error {
			return write(ctx, r.ID, func() error { return s.Update(ctx, r) })
		},
		get: func(ctx context.Context, id string) (oauth.Record, error) {
			mu.Lock()
			old, ok := behind[id]
			mu.Unlock()
			if ok && reads.Add(1)%4 == 0 && time.Now().Before(old.until) {
				return old.r, old.err
			}
			return s.Get(ctx, id)
		},
	}
}

func brokenUpdates() []brokenStore {
	const conflict, missing, changes = "Update/ErrConflict, and nothing is written", "Update/ErrNotFound, and nothing is written", "Update/changes Subject, ExpiresAt and Data and nothing else"
	const race, lost, subject = "Update/of 32 at once one wins", "Update/none is lost", "Update/moves the record to another Subject"
	answering := func(answer func(err error) error) func() oauth.Storage {
		return func() oauth.Storage {
			s := right()
			return &patched{Storage: s, update: func(ctx context.Context, r oauth.Record) error { return answer(s.Update(ctx, r)) }}
		}
	}
	changing := func(f func(old *oauth.Record, r oauth.Record)) func() oauth.Storage {
		return func() oauth.Storage {
			return made(func(s *table) {
				change := s.change
				s.change = func(old *oauth.Record, r oauth.Record) {
					change(old, r)
					f(old, r)
				}
			})
		}
	}
	return []brokenStore{
		{"blind update", []string{conflict, race, lost}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, update: func(ctx context.Context, r oauth.Record) error {
				s.mu.Lock()
				if old, ok := s.rows[r.ID]; ok {
					r.Version = old.Version
				}
				s.mu.Unlock()
				if err := s.Update(ctx, r); !errors.Is(err, oauth.ErrConflict) {
					return err
				}
				return nil
			}}
		}},
		{"conflict answered nil", []string{conflict, race, lost}, answering(func(err error) error {
			if errors.Is(err, oauth.ErrConflict) {
				return nil
			}
			return err
		})},
		{"not found answered nil", []string{missing}, answering(func(err error) error {
			if errors.Is(err, oauth.ErrNotFound) {
				return nil
			}
			return err
		})},
		{"not found answered ErrConflict", []string{missing}, answering(func(err error) error {
			if errors.Is(err, oauth.ErrNotFound) {
				return oauth.ErrConflict
			}
			return err
		})},
		{"conflict answered ErrNotFound", []string{conflict, race}, answering(func(err error) error {
			if errors.Is(err, oauth.ErrConflict) {
				return oauth.ErrNotFound
			}
			return err
		})},
		{"both answers at once", []string{conflict, missing, race}, answering(func(err error) error {
			if err != nil {
				return errors.Join(oauth.ErrConflict, oauth.ErrNotFound)
			}
			return nil
		})},
		{"a deadlock where others write", []string{race, lost}, func() oauth.Storage {
			s, writing := right(), atomic.Int32{}
			return &patched{Storage: s, update: func(ctx context.Context, r oauth.Record) error {
				defer writing.Add(-1)
				if writing.Add(1) > 1 {
					return errors.New("deadlock found when trying to get lock; try restarting transaction")
				}
				linger()
				return s.Update(ctx, r)
			}}
		}},
		{"update that creates", []string{missing}, func() oauth.Storage {
			s := right()
			return &patched{Storage: s, update: func(ctx context.Context, r oauth.Record) error {
				err := s.Update(ctx, r)
				if errors.Is(err, oauth.ErrNotFound) {
					return s.Create(ctx, r)
				}
				return err
			}}
		}},
		{"update that says ErrNotFound and creates", []string{missing}, func() oauth.Storage {
			s := right()
			return &patched{Storage: s, update: func(ctx context.Context, r oauth.Record) error {
				err := s.Update(ctx, r)
				if errors.Is(err, oauth.ErrNotFound) {
					_ = s.Create(ctx, r)
				}
				return err
			}}
		}},
		{"version not raised", []string{"Update/adds one to the version", conflict, race, lost}, changing(func(old *oauth.Record, _ oauth.Record) { old.Version-- })},
		{"version of the clock", []string{"Update/adds one to the version"}, changing(func(old *oauth.Record, _ oauth.Record) { old.Version = time.Now().UnixNano() })},
		{"update that looks first", []string{race, lost}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, update: func(ctx context.Context, r oauth.Record) error {
				old, err := s.Get(ctx, r.ID)
				if err != nil {
					return err
				}
				if old.Version != r.Version {
					return oauth.ErrConflict
				}
				linger()
				s.mu.Lock()
				defer s.mu.Unlock()
				now := s.rows[r.ID]
				now.Subject, now.ExpiresAt, now.Data, now.Version = r.Subject, r.ExpiresAt, r.Data, r.Version+1
				s.rows[r.ID] = now
				return nil
			}}
		}},
		{"changes ClientID", []string{changes}, changing(func(old *oauth.Record, r oauth.Record) { old.ClientID = r.ClientID })},
		{"changes CreatedAt", []string{changes}, changing(func(old *oauth.Record, r oauth.Record) { old.CreatedAt = r.CreatedAt })},
		{"changes Kind", []string{changes}, changing(func(old *oauth.Record, r oauth.Record) { old.Kind = r.Kind })},
		{"changes Realm", []string{changes}, changing(func(old *oauth.Record, r oauth.Record) { old.Realm = r.Realm })},
		{"keeps a Subject where none is given", []string{"Update/erases with an empty Subject and no Data", subject}, func() oauth.Storage {
			return made(func(s *table) {
				s.change = func(old *oauth.Record, r oauth.Record) {
					old.Subject, old.ExpiresAt, old.Data, old.Version = cmp.Or(r.Subject, old.Subject), r.ExpiresAt, r.Data, old.Version+1
				}
			})
		}},
		{"keeps an ExpiresAt where none is given", []string{"Update/sets, moves and unsets ExpiresAt"}, func() oauth.Storage {
			return made(func(s *table) {
				s.change = func(old *oauth.Record, r oauth.Record) {
					if !r.ExpiresAt.IsZero() {
						old.ExpiresAt = r.ExpiresAt
					}
					old.Subject, old.Data, old.Version = r.Subject, r.Data, old.Version+1
				}
			})
		}},
		{"stale index of subjects", []string{subject, "Update/erases with an empty Subject and no Data", "List/right after Create and Update"}, func() oauth.Storage {
			index := sync.Map{} // the subjects that a record ever had
			return made(func(s *table) {
				s.keep = func(r *oauth.Record) { index.Store(r.ID+r.Subject, true) }
				s.matches = func(f oauth.Filter, r oauth.Record) bool {
					if _, had := index.Load(r.ID + f.Subject); had {
						r.Subject = f.Subject
					}
					return matches(f, r)
				}
			})
		}},
		{"index of the first subject only", []string{subject}, func() oauth.Storage {
			first := sync.Map{}
			return made(func(s *table) {
				s.keep = func(r *oauth.Record) { first.LoadOrStore(r.ID, r.Subject) }
				s.matches = func(f oauth.Filter, r oauth.Record) bool {
					subject, _ := first.Load(r.ID)
					r.Subject = subject.(string)
					return matches(f, r)
				}
			})
		}},
		{"updates all whose ID begins so", []string{"Update/leaves other records alone"}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, update: func(ctx context.Context, r oauth.Record) error {
				if err := s.Update(ctx, r); err != nil {
					return err
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				for id, other := range s.rows {
					if strings.HasPrefix(id, r.ID) {
						other.Subject, other.Data = r.Subject, r.Data
						s.rows[id] = other
					}
				}
				return nil
			}}
		}},
	}
}
