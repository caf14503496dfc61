package oauth_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// RFC 9470: what the client asks of the authentication.
func TestStepUp(t *testing.T) {
	const web = oauthtest.WebClient
	levels := func(c *oauth.Config) { c.ACRValues = []string{"urn:gold", "urn:silver"} }
	type seen struct {
		acr  []string
		age  time.Duration
		asks bool
	}
	start := func(t *testing.T, ap func(s *oauthtest.Server) oauth.Approval, edits ...func(*oauth.Config)) (*oauthtest.Server, *seen) {
		s, saw := newServer(t, edits...), &seen{}
		s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			saw.acr = in.ACRValues()
			saw.age, saw.asks = in.MaxAge()
			a := ap(s)
			a.Subject, a.Scopes = "alice", in.Scopes()
			in.Approve(w, r, a)
		})
		return s, saw
	}
	gold := func(ago time.Duration) func(*oauthtest.Server) oauth.Approval {
		return func(s *oauthtest.Server) oauth.Approval {
			return oauth.Approval{ACR: "urn:gold", AuthTime: s.Clock.Now().Add(-ago)}
		}
	}
	for name, c := range map[string]struct {
		query  url.Values
		ap     func(*oauthtest.Server) oauth.Approval
		edits  []func(*oauth.Config)
		saw    seen
		refuse oauth.ErrorCode
	}{
		"4 both are met":            {url.Values{"acr_values": {"urn:gold"}, "max_age": {"60"}}, gold(time.Minute), []func(*oauth.Config){levels}, seen{[]string{"urn:gold"}, time.Minute, true}, ""},
		"4 one of several":          {url.Values{"acr_values": {"urn:platinum urn:silver urn:gold"}}, gold(0), []func(*oauth.Config){levels}, seen{[]string{"urn:silver", "urn:gold"}, 0, false}, ""},
		"4 the server has no table": {url.Values{"acr_values": {"urn:other"}}, gold(0), nil, seen{[]string{"urn:other"}, 0, false}, ""},
		"5 another acr":             {url.Values{"acr_values": {"urn:silver"}}, gold(0), []func(*oauth.Config){levels}, seen{[]string{"urn:silver"}, 0, false}, oauth.UnmetAuthenticationRequirements},
		"5 none is known":           {url.Values{"acr_values": {"urn:platinum"}}, gold(0), []func(*oauth.Config){levels}, seen{}, oauth.UnmetAuthenticationRequirements},
		"5 too long ago":            {url.Values{"max_age": {"60"}}, gold(61 * time.Second), nil, seen{nil, time.Minute, true}, oauth.UnmetAuthenticationRequirements},
		"5 the host does not say when": {url.Values{"max_age": {"60"}}, func(*oauthtest.Server) oauth.Approval { return oauth.Approval{} }, nil, seen{nil, time.Minute, true},
			oauth.UnmetAuthenticationRequirements},
		"OIDC 3.1.2.1 max_age=0, signed in just now": {url.Values{"max_age": {"0"}}, gold(0), nil, seen{nil, 0, true}, ""},
		"OIDC 3.1.2.1 max_age=0, a second ago":       {url.Values{"max_age": {"0"}}, gold(time.Second), nil, seen{nil, 0, true}, oauth.UnmetAuthenticationRequirements},
		"max_age beyond all time":                    {url.Values{"max_age": {"18446744073709551"}}, gold(time.Hour), nil, seen{nil, 100 * 366 * 24 * time.Hour, true}, ""},
		"2.2.1 of RFC 9068: a time to come":          {nil, gold(-time.Hour), nil, seen{nil, 0, false}, oauth.ServerError},
		"max_age is no number":                       {url.Values{"max_age": {"-1"}}, gold(0), nil, seen{}, oauth.InvalidRequest},
		"max_age overflows":                          {url.Values{"max_age": {"99999999999999999999"}}, gold(0), nil, seen{}, oauth.InvalidRequest},
	} {
		t.Run("RFC 9470 "+name, func(t *testing.T) {
			s, saw := start(t, c.ap, c.edits...)
			a, code := s.Authorize(web, c.query)
			_, params := a.Location()
			assert.Equal(t, string(c.refuse), params.Get("error"))
			if len(c.saw.acr) == 0 {
				c.saw.acr = saw.acr[:0:len(saw.acr)]
			}
			assert.Equal(t, c.saw, *saw)
			if c.refuse != "" {
				assert.NotContains(t, s.Store.Methods(), "Create")
				return
			}
			require.NotEmpty(t, code.Code)
		})
	}
	t.Run("max_age is counted from the request, not from the decision", func(t *testing.T) {
		s := newServer(t)
		p := open(t, s, web, url.Values{"max_age": {"0"}})
		signedIn := s.Clock.Now()
		s.Clock.Advance(30 * time.Minute)
		s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), AuthTime: signedIn})
		})
		require.Equal(t, "303 code", result(p.decide(s)))
	})
	t.Run("nor by how long another process lets handles live", func(t *testing.T) {
		s := newServer(t)
		p := open(t, s, web, url.Values{"max_age": {"60"}})
		other := newServer(t, func(c *oauth.Config) { c.Secrets, c.HandleLifetime = s.Config.Secrets, 24*time.Hour })
		other.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), AuthTime: s.Clock.Now().Add(-20 * time.Hour)})
		})
		require.Equal(t, "303 unmet_authentication_requirements", result(p.decide(other)))
	})
	t.Run("challenge, new authorization, token, check", func(t *testing.T) {
		s, _ := start(t, gold(time.Minute), levels)
		_, code := s.Authorize(web, url.Values{"acr_values": {"urn:gold"}, "max_age": {"3600"}})
		token, err := s.VerifyToken(t.Context(), s.Redeem(code).String("access_token"))
		require.NoError(t, err)
		assert.Equal(t, "urn:gold", token.ACR)
		assert.Equal(t, s.Clock.Now().Add(-time.Minute).Unix(), token.AuthTime.Unix())
		introspected := s.Introspect(s.Redeem(s.Code(web)).String("access_token"))
		assert.Equal(t, "urn:gold", introspected.JSON["acr"])
		assert.NotEmpty(t, introspected.JSON["auth_time"])
	})
	t.Run("7 the metadata says what there is", func(t *testing.T) {
		s, _ := start(t, gold(0), levels)
		a := s.Do(mustRequest(t, "GET", oauthtest.Issuer+wellKnown))
		assert.Equal(t, []any{"urn:gold", "urn:silver"}, a.JSON["acr_values_supported"])
	})
	t.Run("New", func(t *testing.T) {
		cfg := newServer(t).Config
		cfg.ACRValues = []string{"a", "b c"}
		_, err := oauth.New(cfg)
		require.ErrorContains(t, err, "Config.ACRValues[1] is empty or has a space")
	})
}

func mustRequest(t *testing.T, method, uri string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, uri, nil)
	require.NoError(t, err)
	return r
}
