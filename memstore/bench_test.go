package memstore_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
)

const benchRecords = 100_000

// benchStore holds benchRecords that live, ten of each subject.
func benchStore(b *testing.B) *memstore.Store {
	b.Helper()
	s := memstore.New()
	for i := range benchRecords {
		r := benchRecord(benchID(i))
		r.Subject = "subject-" + strconv.Itoa(i/10)
		if err := s.Create(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func benchRecord(id string) oauth.Record {
	r := record(id)
	r.Data = make([]byte, 512)
	return r
}

func benchID(i int) string { return fmt.Sprintf("a-%022d", i) }

func BenchmarkGet(b *testing.B) {
	s, ctx := benchStore(b), b.Context()
	ids := make([]string, 1024) // a power of two, so that the index is cheap
	for i := range ids {
		ids[i] = benchID(i * 97)
	}
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := next.Add(100); pb.Next(); i++ {
			if _, err := s.Get(ctx, ids[i%1024]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	s, ctx := benchStore(b), b.Context()
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		r := benchRecord(benchID(int(next.Add(1)))) // each goroutine its own
		for ; pb.Next(); r.Version++ {
			r.ExpiresAt = day.Add(time.Duration(r.Version%100) * time.Hour)
			if err := s.Update(ctx, r); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkCreate(b *testing.B) {
	s, ctx := memstore.New(), b.Context()
	var next atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		prefix := "a-" + strconv.FormatInt(next.Add(1), 10) + "-0000000000000000-"
		for n := int64(0); pb.Next(); n++ {
			r := benchRecord(prefix + strconv.FormatInt(n, 10)) // two allocations are the benchmark's
			if err := s.Create(ctx, r); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkListSubject(b *testing.B) {
	s, ctx := benchStore(b), b.Context()
	f := oauth.Filter{Realm: "tenant-1", Kind: oauth.KindAuthorization, Subject: "subject-4242"}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for range s.List(ctx, f) {
			n++
		}
		if n != 10 {
			b.Fatal(n)
		}
	}
}

// Nothing has expired: that must cost nothing, however much there is.
func BenchmarkDeleteExpiredNone(b *testing.B) {
	s, ctx := benchStore(b), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if n, err := s.DeleteExpired(ctx, day, 1000); n != 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}
