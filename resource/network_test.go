package resource_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/jose"
	"github.com/grantwell/oauth/resource"
)

// serveAuthority serves an authorization server over a socket; its issuer is the
// URL that it returns.
func serveAuthority(t *testing.T, start func(*httptest.Server), asked *[]string) (string, *httptest.Server) {
	t.Helper()
	var s *httptest.Server
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/oauth-authorization-server/tenant":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"introspection_endpoint":%q}`, s.URL+"/tenant", s.URL+"/keys", s.URL+"/introspect")
		case "/keys":
			set, err := jose.JWKS([]jose.Key{es256("k1", ecKey())})
			assert.NoError(t, err)
			_, _ = w.Write(set)
		case "/introspect":
			fmt.Fprint(w, strings.Replace(answer(`{}`), issuer, s.URL+"/tenant", 1))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	start(s)
	t.Cleanup(s.Close)
	return s.URL + "/tenant", s
}

// Over sockets, with the verifiers' own connections: http, on the loopback alone.
func TestOverTheNetwork(t *testing.T) {
	var asked []string
	at, _ := serveAuthority(t, (*httptest.Server).Start, &asked)
	token := sign(t, es256("k1", ecKey()), "at+jwt", claims(`{"iss":"`+at+`"}`))
	now := func() time.Time { return start }
	t.Run("JWT", func(t *testing.T) {
		asked = nil
		v := &resource.JWT{Issuer: at, Now: now}
		accepted(t, v, token)
		accepted(t, v, token)
		assert.Equal(t, []string{"GET /.well-known/oauth-authorization-server/tenant", "GET /keys"}, asked)
	})
	t.Run("Introspection", func(t *testing.T) {
		asked = nil
		v := &resource.Introspection{Issuer: at, ClientID: "api", ClientSecret: "x", Now: now}
		accepted(t, v, token)
		accepted(t, v, token)
		assert.Equal(t, []string{"GET /.well-known/oauth-authorization-server/tenant", "POST /introspect"}, asked)
	})
	t.Run("an issuer that nobody serves", func(t *testing.T) {
		err := unavailable(t, &resource.JWT{Issuer: strings.Replace(at, "/tenant", "/other", 1), Now: now}, token)
		assert.NotErrorIs(t, err, resource.ServerError)
	})
}

// A certificate that this machine does not trust: a Transport of the host's own does.
func TestOverTLS(t *testing.T) {
	var asked []string
	at, s := serveAuthority(t, (*httptest.Server).StartTLS, &asked)
	token := sign(t, es256("k1", ecKey()), "at+jwt", claims(`{"iss":"`+at+`"}`))
	now := func() time.Time { return start }
	err := unavailable(t, &resource.JWT{Issuer: at, Now: now}, token)
	assert.ErrorContains(t, err, "x509")
	err = unavailable(t, &resource.Introspection{Issuer: at, Endpoint: s.URL + "/introspect", ClientID: "api", ClientSecret: "x", Now: now}, token)
	assert.ErrorContains(t, err, "x509", "RFC 7662, section 4")
	assert.Empty(t, asked)
	accepted(t, &resource.JWT{Issuer: at, Now: now, Transport: s.Client().Transport}, token)
	accepted(t, &resource.Introspection{Issuer: at, ClientID: "api", ClientSecret: "x", Now: now, Transport: s.Client().Transport}, token)
}

// A day with a rotation every hour, the next key published ten minutes before it signs,
// the old one withdrawn when its last token has ended: no live token is refused, and
// when the issuer is down for half an hour in between nobody notices.
func TestJWTDay(t *testing.T) {
	signers := []jose.Key{es256("", ecKey()), es256("", ecKey2()), es256("", ecKey3())}
	key := func(hour int) jose.Key {
		k := signers[hour%len(signers)]
		k.ID = fmt.Sprintf("k%d", hour)
		return k
	}
	const lifetime = 30 * time.Minute
	a := newAuthority(key(0))
	a.cache = "public, max-age=300"
	verifiers := []*resource.JWT{a.jwt(), a.jwt(), a.jwt()}
	type issued struct {
		text string
		key  int
		ends time.Time
	}
	var tokens []issued
	for minute := range 24 * 60 {
		now := start.Add(time.Duration(minute) * time.Minute)
		hour, past := minute/60, minute%60
		keys := []jose.Key{key(hour)}
		if past < 30 && hour > 0 {
			keys = append(keys, key(hour-1))
		}
		if past >= 50 {
			keys = append(keys, key(hour+1))
		}
		a.set(func() { a.at, a.keys, a.down = now, keys, hour == 12 && past < 30 })
		if minute%7 == 0 && !a.down {
			text := sign(t, key(hour), "at+jwt", claims(fmt.Sprintf(`{"iat":%d,"exp":%d}`, now.Unix(), now.Add(lifetime).Unix())))
			tokens = append(tokens, issued{text, hour, now.Add(lifetime)})
		}
		if minute%5 != 0 {
			continue
		}
		var all sync.WaitGroup
		for _, tok := range tokens[max(0, len(tokens)-8):] {
			for _, v := range verifiers {
				all.Go(func() {
					_, err := v.VerifyToken(t.Context(), tok.text)
					if now.Before(tok.ends) {
						assert.NoError(t, err, "minute %d, key %d", minute, tok.key)
					} else {
						assert.ErrorIs(t, err, resource.InvalidToken)
					}
				})
			}
		}
		all.Wait()
		if hour >= 2 && past == 40 { // the key of two hours ago is gone, and signs for whoever stole it
			stolen := sign(t, key(hour-2), "at+jwt", claims(fmt.Sprintf(`{"iat":%d,"exp":%d}`, now.Unix(), now.Add(time.Hour).Unix())))
			for _, v := range verifiers {
				refused(t, v, stolen)
			}
		}
	}
	require.Greater(t, len(tokens), 190)
	assert.Less(t, a.requests(jwksURI), 3*24*60/5+50*3, "each verifier asks about every five minutes")
}
