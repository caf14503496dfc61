package oauthtest

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grantwell/oauth"
)

// locked is a store that holds its lock while it yields, and knows no context.
type locked struct {
	oauth.Storage
	mu sync.Mutex
}

func (l *locked) List(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	return func(yield func(oauth.Record, error) bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for r, err := range l.Storage.List(ctx, f) {
			if !yield(r, err) {
				return
			}
		}
	}
}

func (l *locked) Update(ctx context.Context, r oauth.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Storage.Update(ctx, r)
}

// offsets reads pages by their offset, as many SQL examples do.
func offsets(size int) func() oauth.Storage {
	return func() oauth.Storage {
		s := right().(*table)
		return &patched{Storage: s, list: func(_ context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
			return func(yield func(oauth.Record, error) bool) {
				for offset := 0; ; offset += size {
					all := s.snapshot(f)
					for _, r := range all[min(offset, len(all)):min(offset+size, len(all))] {
						if !yield(r, nil) {
							return
						}
					}
					if offset+size >= len(all) {
						return
					}
				}
			}
		}}
	}
}

func brokenLists() []brokenStore {
	const fields, order, after, updates = "List/every field that is set must match", "List/ascending order of ID, byte by byte", "List/After: greater IDs only", "List/the loop may update what it gets"
	const texts, realms, calls, loops, many = "List/compares Subject and ClientID byte by byte", "List/keeps realms apart", "List/the loop may call any method", "List/32 loops at once may update what they get", "List/10,000 records"
	filter := func(f func(f *oauth.Filter, r *oauth.Record)) func() oauth.Storage {
		return func() oauth.Storage {
			return made(func(s *table) {
				s.matches = func(given oauth.Filter, r oauth.Record) bool { f(&given, &r); return matches(given, r) }
			})
		}
	}
	sorted := func(order func(a, b string) int) func() oauth.Storage {
		return func() oauth.Storage { return made(func(s *table) { s.order = order }) }
	}
	letters := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	return slices.Concat(brokenLoops(), []brokenStore{
		{"ignores ClientID", []string{fields, texts}, filter(func(f *oauth.Filter, _ *oauth.Record) { f.ClientID = "" })},
		{"ignores Kind", []string{fields}, filter(func(f *oauth.Filter, _ *oauth.Record) { f.Kind = "" })},
		{"ignores Subject beside Kind", []string{fields}, filter(func(f *oauth.Filter, _ *oauth.Record) {
			if f.Kind != "" {
				f.Subject = ""
			}
		})},
		{"an empty Subject matches nothing else", []string{fields}, func() oauth.Storage {
			return made(func(s *table) {
				s.matches = func(f oauth.Filter, r oauth.Record) bool {
					return matches(f, r) && (f.ClientID == "" || f.Subject != "" || r.Subject == "")
				}
			})
		}},
		{"folds subjects", []string{texts, subjectMoves}, filter(func(f *oauth.Filter, r *oauth.Record) {
			f.Subject, r.Subject = strings.ToLower(f.Subject), strings.ToLower(r.Subject)
		})},
		{"pads client IDs", []string{texts}, filter(func(f *oauth.Filter, r *oauth.Record) {
			f.ClientID, r.ClientID = strings.TrimRight(f.ClientID, " "), strings.TrimRight(r.ClientID, " ")
		})},
		{"an index of 255 bytes", []string{texts}, filter(func(f *oauth.Filter, r *oauth.Record) {
			f.ClientID, r.ClientID = cut(f.ClientID, 255), cut(r.ClientID, 255)
		})},
		{"mixes realms", []string{realms, fields}, filter(func(f *oauth.Filter, r *oauth.Record) { r.Realm = f.Realm })},
		{"the realm without a name sees all", []string{realms}, filter(func(f *oauth.Filter, r *oauth.Record) {
			if f.Realm == "" {
				r.Realm = ""
			}
		})},
		{"folds realms", []string{realms}, filter(func(f *oauth.Filter, r *oauth.Record) {
			f.Realm, r.Realm = strings.ToLower(f.Realm), strings.ToLower(r.Realm)
		})},
		{"two fields in one key", []string{realms}, func() oauth.Storage {
			return made(func(s *table) {
				s.matches = func(f oauth.Filter, r oauth.Record) bool {
					if f.Subject == "" || f.Kind != "" || f.ClientID != "" || f.After != "" {
						return matches(f, r)
					}
					return f.Realm+f.Subject == r.Realm+r.Subject
				}
			})
		}},
		{"no order", []string{order, fields, many}, sorted(func(a, b string) int { return cmp.Compare(a[len(a)-1], b[len(b)-1]) })},
		{"order of a collation", []string{order}, sorted(func(a, b string) int { return cmp.Or(cmp.Compare(letters(a), letters(b)), cmp.Compare(a, b)) })},
		{"After is not exclusive", []string{after, fields, many}, func() oauth.Storage {
			return made(func(s *table) {
				s.matches = func(f oauth.Filter, r oauth.Record) bool {
					if f.After == r.ID {
						f.After = ""
					}
					return matches(f, r)
				}
			})
		}},
		{"After must be stored", []string{after}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, list: func(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
				if _, err := s.Get(ctx, f.After); err != nil {
					f.After = ""
				}
				return s.List(ctx, f)
			}}
		}},
		{"After is ignored", []string{after, fields, many}, filter(func(f *oauth.Filter, _ *oauth.Record) { f.After = "" })},
		{"an index that follows later", []string{"List/right after Create and Update"}, func() oauth.Storage {
			written := sync.Map{}
			return made(func(s *table) {
				s.keep = func(r *oauth.Record) { written.Store(r.ID, time.Now()) }
				s.matches = func(f oauth.Filter, r oauth.Record) bool {
					at, _ := written.Load(r.ID)
					return matches(f, r) && time.Since(at.(time.Time)) > 5*time.Millisecond
				}
			})
		}},
		{"yields without Data", []string{"List/yields whole records", "Record/every field comes back"}, func() oauth.Storage {
			s := right()
			return &patched{Storage: s, list: func(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
				return func(yield func(oauth.Record, error) bool) {
					for r, err := range s.List(ctx, f) {
						r.Data = nil
						if !yield(r, err) {
							return
						}
					}
				}
			}}
		}},
		{"at most 900 records", []string{many}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, list: func(_ context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
				return func(yield func(oauth.Record, error) bool) {
					all := s.snapshot(f)
					for _, r := range all[:min(len(all), 900)] {
						if !yield(r, nil) {
							return
						}
					}
				}
			}}
		}},
		{"pages of 3,000 by offset", []string{many}, offsets(3000)},
		{"pages of 20 by offset", []string{updates, "List/while others come, move and go"}, offsets(20)},
		{"rows held open, one connection", []string{calls, updates, loops}, func() oauth.Storage {
			p := newPool(1)
			p.holds = true
			return p
		}},
		{"rows held open, 10 connections", []string{loops}, func() oauth.Storage {
			p := newPool(10)
			p.holds = true
			return p
		}},
		{"a lock held while it yields", []string{calls, updates}, func() oauth.Storage { return &locked{Storage: right()} }},
		{"rows left open where the loop ends early", []string{"List/the loop may end early"}, func() oauth.Storage {
			p := newPool(10)
			p.holds, p.leaks = true, true
			return p
		}},
	})
}

const subjectMoves = "Update/moves the record to another Subject"

// brokenLoops are mistakes with what is written while List yields.
func brokenLoops() []brokenStore {
	return []brokenStore{
		{"writes wait for the end of the loop", []string{"List/the loop may call any method"}, func() oauth.Storage {
			// As a snapshot that the whole connection reads from.
			s := right().(*table)
			var mu sync.Mutex
			var old map[string]oauth.Record
			return &patched{Storage: s,
				list: func(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
					return func(yield func(oauth.Record, error) bool) {
						mu.Lock()
						old = map[string]oauth.Record{}
						for _, r := range s.snapshot(f) {
							old[r.ID] = r
						}
						mu.Unlock()
						defer func() { mu.Lock(); old = nil; mu.Unlock() }()
						s.List(ctx, f)(yield)
					}
				},
				get: func(ctx context.Context, id string) (oauth.Record, error) {
					mu.Lock()
					defer mu.Unlock()
					if r, ok := old[id]; ok {
						return r, nil
					}
					return s.Get(ctx, id)
				}}
		}},
		{"yields a record again that was updated", []string{"List/the loop may update what it gets"}, func() oauth.Storage {
			s := right().(*table)
			return &patched{Storage: s, list: func(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
				return func(yield func(oauth.Record, error) bool) {
					for r, err := range s.List(ctx, f) {
						if !yield(r, err) {
							return
						}
						if now, _ := s.Get(ctx, r.ID); now.Version != r.Version && err == nil && !yield(now, nil) {
							return
						}
					}
				}
			}}
		}},
	}
}
