package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// A proxy hands requests to processes in turn: without stickiness, without a look at
// who lives. The turn of a dead process is a 502.
type proxy struct {
	httputil.ReverseProxy
	targets   []atomic.Pointer[url.URL]
	turn      atomic.Uint64
	processes *http.Transport
}

func newProxy(n int) *proxy {
	p := &proxy{targets: make([]atomic.Pointer[url.URL], n), processes: transport()}
	p.Rewrite = func(r *httputil.ProxyRequest) {
		r.SetURL(p.targets[p.turn.Add(1)%uint64(n)].Load())
		r.SetXForwarded()
		r.Out.Host = r.In.Host
	}
	p.Transport = p.processes
	p.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	p.ErrorLog = log.New(io.Discard, "", 0)
	return p
}

// point says where a process listens.
func (p *proxy) point(i int, addr string) { p.targets[i].Store(&url.URL{Scheme: "http", Host: addr}) }

// transport keeps as many connections as there may be requests at a time.
func transport() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 30 * time.Second}
}
