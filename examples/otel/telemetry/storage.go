package telemetry

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/grantwell/oauth"
)

// Storage passes calls on to another store and records how long each took in
// the histogram oauth.storage.duration, in seconds, by method and outcome: ok,
// not_found, conflict, exists or error.
func Storage(next oauth.Storage, meter metric.Meter) (oauth.Storage, error) {
	h, err := meter.Float64Histogram("oauth.storage.duration", metric.WithUnit("s"),
		metric.WithDescription("How long calls of the store take"),
		metric.WithExplicitBucketBoundaries(.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5))
	return &timed{next, h}, err
}

type timed struct {
	next     oauth.Storage
	duration metric.Float64Histogram
}

func (s *timed) record(ctx context.Context, method string, took time.Duration, err error) {
	outcome := "ok"
	switch {
	case errors.Is(err, oauth.ErrNotFound):
		outcome = "not_found"
	case errors.Is(err, oauth.ErrConflict):
		outcome = "conflict"
	case errors.Is(err, oauth.ErrExists):
		outcome = "exists"
	case err != nil:
		outcome = "error"
	}
	s.duration.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String("method", method), attribute.String("outcome", outcome)))
}

func (s *timed) Create(ctx context.Context, r oauth.Record) (err error) {
	defer func(start time.Time) { s.record(ctx, "Create", time.Since(start), err) }(time.Now())
	return s.next.Create(ctx, r)
}

func (s *timed) Get(ctx context.Context, id string) (_ oauth.Record, err error) {
	defer func(start time.Time) { s.record(ctx, "Get", time.Since(start), err) }(time.Now())
	return s.next.Get(ctx, id)
}

func (s *timed) Update(ctx context.Context, r oauth.Record) (err error) {
	defer func(start time.Time) { s.record(ctx, "Update", time.Since(start), err) }(time.Now())
	return s.next.Update(ctx, r)
}

func (s *timed) DeleteExpired(ctx context.Context, before time.Time, limit int) (_ int, err error) {
	defer func(start time.Time) { s.record(ctx, "DeleteExpired", time.Since(start), err) }(time.Now())
	return s.next.DeleteExpired(ctx, before, limit)
}

// List is timed without what the loop does with the records.
func (s *timed) List(ctx context.Context, f oauth.Filter) iter.Seq2[oauth.Record, error] {
	return func(yield func(oauth.Record, error) bool) {
		start, took, failed := time.Now(), time.Duration(0), error(nil)
		defer func() { s.record(ctx, "List", took, failed) }()
		for r, err := range s.next.List(ctx, f) {
			took, failed = took+time.Since(start), err
			if !yield(r, err) {
				return
			}
			start = time.Now()
		}
		took += time.Since(start)
	}
}
