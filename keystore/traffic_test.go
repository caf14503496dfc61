package keystore_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/keystore"
	"github.com/grantwell/oauth/oauthtest"
)

// An api is in another process and has nothing but the JWKS: it caches that for as
// long as it may, and never looks again for a key it does not know.
type api struct {
	t       *testing.T
	clock   *oauthtest.Clock
	servers []*oauthtest.Server
	set     jose.JSONWebKeySet
	until   time.Time
}

func (a *api) accepts(token string) bool {
	now := a.clock.Now()
	if !now.Before(a.until) {
		answer := a.servers[rand.IntN(len(a.servers))].Do(request(a.t, a.servers[0], "/oauth/jwks"))
		require.Equal(a.t, http.StatusOK, answer.Status)
		_, age, ok := strings.Cut(answer.Header.Get("Cache-Control"), "max-age=")
		require.True(a.t, ok)
		age, _, _ = strings.Cut(age, ",")
		seconds, err := strconv.Atoi(age)
		require.NoError(a.t, err)
		a.set = jose.JSONWebKeySet{}
		require.NoError(a.t, json.Unmarshal(answer.Body, &a.set))
		a.until = now.Add(time.Duration(seconds) * time.Second)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	require.NoError(a.t, err)
	var claims jwt.Claims
	for _, k := range a.set.Key(parsed.Headers[0].KeyID) {
		if parsed.Claims(k.Key, &claims) == nil {
			return claims.ValidateWithLeeway(jwt.Expected{Issuer: issuer, Time: now}, 0) == nil
		}
	}
	return false
}

type issued struct {
	text, kid string
	expires   time.Time
}

func kidOf(t *testing.T, token string) string {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	require.NoError(t, err)
	return parsed.Headers[0].KeyID
}

// A day of traffic: three servers on one store, rotation every hour, tokens that
// live half an hour, checked in each server and by an API that knows the JWKS.
func TestDayOfTraffic(t *testing.T) {
	w := newWorld(t)
	o := keystore.Options{RotateEvery: time.Hour, PublishFor: 20 * time.Minute, TokenLifetime: 30 * time.Minute}
	var servers []*oauthtest.Server
	var stores []*keystore.Store
	for range 3 {
		servers = append(servers, jwtServer(t, o, func(c *oauth.Config) {
			c.Storage, c.Now, c.Secrets = w.store, w.clock.Now, [][]byte{secret(0)}
		}))
		stores = append(stores, servers[len(servers)-1].Config.Keys.(*keystore.Store))
	}
	remote := &api{t: t, clock: w.clock, servers: servers}
	random := rand.New(rand.NewPCG(3, 4))

	var live []issued
	kids, retired := map[string]bool{}, map[string]time.Time{}
	refused, accepted, checks := 0, 0, 0
	check := func(tok issued) {
		checks++
		now := w.clock.Now()
		at, isRetired := retired[tok.kid]
		for i, s := range servers {
			_, err := s.VerifyToken(t.Context(), tok.text)
			switch {
			case !isRetired && err != nil:
				refused++
			case isRetired && err == nil && (i == 0 || now.Sub(at) >= time.Minute):
				accepted++
			}
		}
		switch good := remote.accepts(tok.text); {
		case !isRetired && !good:
			refused++
		case isRetired && good && now.Sub(at) >= time.Minute+5*time.Minute: // CacheFor, and the max-age
			accepted++
		}
	}
	for minute := range 24 * 60 {
		now := w.clock.Now()
		s := servers[random.IntN(3)]
		a := s.Token(oauthtest.MachineClient, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}})
		require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
		token := issued{text: a.String("access_token"), expires: now.Add(30 * time.Minute)}
		token.kid = kidOf(t, token.text)
		kids[token.kid] = true
		live = append(live, token)
		check(token) // the moment it was issued
		check(live[random.IntN(len(live))])

		if h := minute / 60; minute%60 == 30 && h%6 == 4 { // the key leaks
			leaked := keysOf(t, stores[0])[0].ID
			require.NoError(t, stores[0].Retire(t.Context(), leaked))
			retired[leaked] = now
		}
		w.clock.Advance(time.Minute - time.Second)
		if live[0].expires.Sub(w.clock.Now()) == time.Second { // the last second of its life
			check(live[0])
		}
		w.clock.Advance(time.Second)
		for len(live) > 0 && !w.clock.Now().Before(live[0].expires) {
			live = live[1:]
		}
	}
	assert.Zero(t, refused, "valid tokens that were refused")
	assert.Zero(t, accepted, "tokens of retired keys that were accepted")
	assert.Greater(t, checks, 24*60*2+1000)
	assert.Len(t, retired, 4)
	assert.InDelta(t, 24+4, len(kids), 4)
}
