// Package floor measures what the library adds to a store: the same reads and writes
// without it are the floor, run in turns with it. Only benchmarks import it.
package floor

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Contestant does one thing, again and again, as one of several workers.
type Contestant struct {
	Name string
	Do   func(worker int) error
}

// A Benchmark is what Measure needs of a *testing.B.
type Benchmark interface {
	ResetTimer()
	Elapsed() time.Duration
	ReportMetric(n float64, unit string)
	Error(args ...any)
}

// Measure runs n of each, by as many workers, a tenth of it in turn, so that what
// else the machine does meanwhile slows all. The floor is the first. It reports how
// often each is done in a second, and that divided by the floor.
func Measure(b Benchmark, n, workers int, all ...Contestant) {
	took := make([]time.Duration, len(all))
	share := max(n/10, workers) / workers
	done := 0
	b.ResetTimer()
	for ; done < n; done += share * workers {
		for i, c := range all {
			start := b.Elapsed()
			inParallel(b, workers, share, c.Do)
			took[i] += b.Elapsed() - start
		}
	}
	for i, c := range all {
		b.ReportMetric(float64(done)/took[i].Seconds(), c.Name+"/s")
		if i > 0 {
			b.ReportMetric(took[0].Seconds()/took[i].Seconds(), c.Name+"/floor")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// Share is how many times, at most, Measure lets the workers do a thing together.
func Share(n, workers int) int { return n + n/10 + 2*workers }

func inParallel(b Benchmark, workers, each int, do func(worker int) error) {
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			for range each {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// A Caller posts forms to a token endpoint, one at a time, with as little work around
// the handler as there can be.
type Caller struct {
	handler http.Handler
	request http.Request
	body    strings.Reader
	answer  writer
}

// Callers are as many of them as there are workers.
func Callers(h http.Handler, workers int) []*Caller {
	all := make([]*Caller, workers)
	for i := range all {
		c := &Caller{handler: h, answer: writer{header: http.Header{}}}
		c.request = http.Request{
			Method: http.MethodPost, URL: &url.URL{Path: "/oauth/token"}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: io.NopCloser(&c.body),
		}
		all[i] = c
	}
	return all
}

// Token posts a form and returns the refresh token of the answer.
func (c *Caller) Token(form string) (string, error) {
	c.body.Reset(form)
	c.request.ContentLength = int64(len(form))
	w := &c.answer
	clear(w.header)
	w.status, w.body = 0, w.body[:0]
	c.handler.ServeHTTP(w, &c.request)
	_, token, ok := bytes.Cut(w.body, []byte(`"refresh_token":"`))
	end := bytes.IndexByte(token, '"')
	if w.status != 0 && w.status != http.StatusOK || !ok || end < 0 {
		return "", fmt.Errorf("%d %s", w.status, w.body)
	}
	return string(token[:end]), nil
}

type writer struct {
	header http.Header
	status int
	body   []byte
}

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) WriteHeader(status int)      { w.status = status }
func (w *writer) Write(b []byte) (int, error) { w.body = append(w.body, b...); return len(b), nil }

// Changed returns Data with other bytes where the server's change with every refresh:
// in its head and in its MAC.
func Changed(data []byte, version int64) []byte {
	mark := fmt.Sprintf("%016x", version)
	data = slices.Clone(data)
	copy(data[60:], mark)
	copy(data[len(data)-20:], mark)
	return data
}
