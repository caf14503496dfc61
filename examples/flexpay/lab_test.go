package main

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

const (
	tokenPath  = "/api/auth/v1/oauth/token"
	grantQuery = "?grant_type=client_credentials"
	ordersPath = "/api/checkout/v1/orders"
	offersPath = "/api/marketing/v1/offers"

	harbor    = "harbor-books-production"   // calls from this machine
	northwind = "northwind-production"      // from 203.0.113.0/24 and 2001:db8:77::/48
	quick     = "quick-cart-production"     // from this machine, its tokens live 5 minutes
	pending   = "pending-goods-production"  // from nowhere
	team      = "integration-team-preprod"  // from everywhere
	listed    = "203.0.113.9:40000"         // an address of Northwind's
	unlisted  = "198.51.100.7:40000"        // of nobody's
	listedV6  = "[2001:db8:77::5]:40000"    // an address of Northwind's
	mappedV4  = "[::ffff:203.0.113.9]:4000" // the first one, as a socket for both families tells it
)

// A lab is a host without sockets, with a clock to move.
type lab struct {
	http.Handler
	clock *oauthtest.Clock
	o     options
}

func newLab(edits ...func(*options)) *lab {
	clock := oauthtest.NewClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	o := options{Now: clock.Now}
	for _, edit := range edits {
		edit(&o)
	}
	o = o.complete()
	return &lab{newHost(o), clock, o}
}

// server is an environment made from another configuration than the host's.
func (l *lab) server(t *testing.T, e environment, edits ...func(*oauth.Config)) *oauth.Server {
	t.Helper()
	cfg, err := e.config(l.o)
	require.NoError(t, err)
	for _, edit := range edits {
		edit(&cfg)
	}
	srv, err := oauth.New(cfg)
	require.NoError(t, err)
	return srv
}

// An edit changes a request before it is sent.
type edit = func(*http.Request)

// from is a peer elsewhere, connected by https.
func from(address string) edit {
	return func(r *http.Request) { r.RemoteAddr, r.TLS = address, &tls.ConnectionState{} }
}

// plainly is a peer elsewhere, connected by http.
func plainly(address string) edit {
	return func(r *http.Request) { r.RemoteAddr, r.TLS = address, nil }
}

func header(name, value string) edit { return func(r *http.Request) { r.Header.Add(name, value) } }

func bearer(token string) edit { return header("Authorization", "Bearer "+token) }

// raw is the Authorization header as the document has it: nothing is urlencoded.
func raw(id, secret string) edit {
	return header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
}

// as is a merchant with the secret that the demo gave it.
func as(id string) edit { return raw(id, id+"-secret") }

// An answer is a response whose body was read.
type answer struct {
	status int
	header http.Header
	body   string
}

// member is a member of the JSON body.
func (a answer) member(name string) any {
	var all map[string]any
	if json.Unmarshal([]byte(a.body), &all) != nil {
		return nil
	}
	return all[name]
}

// outcome is the status, and the error where there is one.
func (a answer) outcome() string {
	if code, ok := a.member("error").(string); ok {
		return strconv.Itoa(a.status) + " " + code
	}
	return strconv.Itoa(a.status)
}

// send asks h, from this machine by plain http unless an edit says otherwise.
func send(h http.Handler, method, target, body string, edits ...edit) answer {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr, r.TLS = "127.0.0.1:40000", nil
	for _, edit := range edits {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// ask is the token request of the document.
func (l *lab) ask(edits ...edit) answer {
	return send(l, http.MethodPost, tokenPath+grantQuery, "", edits...)
}

// token is a new one.
func (l *lab) token(t *testing.T, id string, edits ...edit) string {
	t.Helper()
	return granted(t, l.ask(append([]edit{as(id)}, edits...)...))
}

func granted(t *testing.T, a answer) string {
	t.Helper()
	require.Equal(t, 200, a.status, a.body)
	token, ok := a.member("access_token").(string)
	require.True(t, ok && token != "", a.body)
	return token
}

// order calls the checkout API.
func (l *lab) order(token string, edits ...edit) answer {
	return send(l, http.MethodPost, ordersPath, `{"order":1}`, append([]edit{bearer(token)}, edits...)...)
}

// form is a body of a token request.
func form(pairs ...string) (string, edit) {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode(), header("Content-Type", "application/x-www-form-urlencoded")
}
