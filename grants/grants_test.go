package grants_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/oauthtest"
)

// StepUp is a grant of a host's own, in ten lines: a refresh token buys an access
// token for one payment, and no new refresh token.
type StepUp struct{}

func (StepUp) GrantType() string { return "urn:example:step-up" }

func (StepUp) Token(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
	if _, err := r.Open(ctx, "refresh_token"); err != nil {
		return nil, err
	}
	if r.Param("pin") != "1234" {
		return nil, oauth.AccessDenied
	}
	return &oauth.Issue{Scopes: []string{"write"}, RefreshToken: true}, nil
}

// Badge is a grant that opens nothing: a badge that was held to a reader names
// the subject.
type Badge struct{}

func (Badge) GrantType() string { return "urn:example:badge" }

func (Badge) Token(_ context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
	if r.Param("badge") != "4711" {
		return nil, oauth.InvalidGrant
	}
	scopes, err := r.RequestedScopes()
	if err != nil {
		return nil, err
	}
	return &oauth.Issue{Subject: "bob", Scopes: scopes, RefreshToken: true}, nil
}

// A careless grant does whatever its function does.
type careless func(context.Context, *oauth.TokenRequest) (*oauth.Issue, error)

func (careless) GrantType() string { return "careless" }

func (g careless) Token(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
	return g(ctx, r)
}

const app, other = "app", "other" // both public, with every grant

func newServer(t *testing.T, more ...oauth.Grant) *oauthtest.Server {
	return oauthtest.NewServer(t, func(c *oauth.Config) {
		c.Grants = append(c.Grants, more...)
		types := []string{"authorization_code", "refresh_token"}
		for _, g := range more {
			types = append(types, g.GrantType())
		}
		callback, scopes := []string{oauthtest.Callback}, []string{"read", "write"}
		c.Clients = oauth.StaticClients(
			oauth.Client{ID: app, Public: true, RedirectURIs: callback, Scopes: scopes, Grants: types},
			oauth.Client{ID: other, Public: true, RedirectURIs: callback, Scopes: scopes, Grants: types},
			oauth.Client{ID: oauthtest.APIClient, Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, Grants: []string{}, Introspect: true},
			oauth.Client{ID: oauthtest.MachineClient, Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, RedirectURIs: callback,
				Grants: append(types, "client_credentials"), Scopes: []string{"read"}},
		)
	})
}

func wantError(t *testing.T, a *oauthtest.Answer, status int, code oauth.ErrorCode) {
	t.Helper()
	require.Equal(t, status, a.Status, string(a.Body))
	require.Equal(t, string(code), a.String("error"), string(a.Body))
	assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
}

func TestGrantTypes(t *testing.T) {
	for want, g := range map[string]oauth.Grant{"authorization_code": grants.AuthorizationCode{}, "refresh_token": grants.RefreshToken{},
		"client_credentials": grants.ClientCredentials{}, "implicit": grants.Implicit{}} {
		assert.Equal(t, want, g.GrantType())
		_, isToken := g.(oauth.TokenGrant)
		assert.Equal(t, want != "implicit", isToken, "RFC 6749 4.2: implicit has no token request")
	}
	assert.Equal(t, "code", grants.AuthorizationCode{}.ResponseType())
	assert.Equal(t, "token", grants.Implicit{}.ResponseType())
}

func TestStepUp(t *testing.T) {
	s := newServer(t, StepUp{})
	a := s.Redeem(s.Code(app))
	refresh := a.String("refresh_token")
	step := func(client, token, pin string) *oauthtest.Answer {
		return s.Token(client, url.Values{"grant_type": {"urn:example:step-up"}, "refresh_token": {token}, "pin": {pin}})
	}
	t.Run("A5 its own check burns nothing", func(t *testing.T) {
		s.Store.Reset()
		wantError(t, step(app, refresh, "0000"), 400, oauth.AccessDenied)
		assert.NotContains(t, s.Store.Methods(), "Update")
	})
	t.Run("A5 Open binds to the client", func(t *testing.T) {
		wantError(t, step(other, refresh, "1234"), 400, oauth.InvalidGrant)
		assert.Len(t, s.Events(oauth.EventWrongClient), 1)
	})
	t.Run("A5 the table of refresh tokens holds", func(t *testing.T) {
		b := step(app, refresh, "1234")
		require.Equal(t, http.StatusOK, b.Status, string(b.Body))
		assert.Equal(t, "write", b.String("scope"))
		assert.Equal(t, "write", s.Introspect(b.String("access_token")).String("scope"))
		again := step(app, refresh, "1234")
		assert.Equal(t, b.String("refresh_token"), again.String("refresh_token"), "a retry has the same successor")
		s.Clock.Advance(time.Minute)
		wantError(t, step(app, refresh, "1234"), 400, oauth.InvalidGrant)
		wantError(t, s.Refresh(app, b.String("refresh_token")), 400, oauth.InvalidGrant)
		assert.Len(t, s.Events(oauth.EventReuseDetected), 1)
	})
	t.Run("A5 the metadata lists it", func(t *testing.T) {
		r, err := http.NewRequest("GET", oauthtest.Issuer+"/.well-known/oauth-authorization-server", nil)
		require.NoError(t, err)
		assert.Contains(t, s.Do(r).JSON["grant_types_supported"], "urn:example:step-up")
	})
}

func TestBadge(t *testing.T) {
	s := newServer(t, Badge{})
	ask := func(client, badge, scope string) *oauthtest.Answer {
		return s.Token(client, url.Values{"grant_type": {"urn:example:badge"}, "badge": {badge}, "scope": {scope}})
	}
	t.Run("A5 a new authorization by one Create", func(t *testing.T) {
		s.Store.Reset()
		a := ask(app, "4711", "read")
		require.Equal(t, http.StatusOK, a.Status, string(a.Body))
		assert.Equal(t, []string{"Create"}, s.Store.Methods())
		i := s.Introspect(a.String("access_token"))
		assert.Equal(t, []string{"bob", app, "read"}, []string{i.String("sub"), i.String("client_id"), i.String("scope")})
		list, err := s.Authorizations(t.Context(), "bob")
		require.NoError(t, err)
		require.Len(t, list, 1)
		assert.Equal(t, "urn:example:badge", list[0].GrantType)
		b := s.Refresh(app, a.String("refresh_token"))
		require.Equal(t, http.StatusOK, b.Status, string(b.Body))
		assert.Equal(t, b.String("refresh_token"), s.Refresh(app, a.String("refresh_token")).String("refresh_token"))
		s.Clock.Advance(time.Minute)
		wantError(t, s.Refresh(app, a.String("refresh_token")), 400, oauth.InvalidGrant)
		assert.Equal(t, false, s.Introspect(a.String("access_token")).JSON["active"])
	})
	t.Run("A5 its refusals, and scopes of the client alone", func(t *testing.T) {
		s.Store.Reset()
		wantError(t, ask(app, "1", "read"), 400, oauth.InvalidGrant)
		wantError(t, ask(app, "4711", "admin"), 400, oauth.InvalidScope)
		wantError(t, ask(oauthtest.MachineClient, "4711", "write"), 400, oauth.InvalidScope)
		assert.Empty(t, s.Store.Calls())
	})
}

// TestCareless proves that a grant that is wrong can refuse, and nothing worse.
func TestCareless(t *testing.T) {
	issue := &oauth.Issue{RefreshToken: true}
	for _, c := range []struct {
		name   string
		grant  careless
		status int
		code   oauth.ErrorCode
		form   url.Values // in place of a good refresh token
	}{
		{"ignores the error of Open", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			r.Open(ctx, "refresh_token")
			return issue, nil
		}, 400, oauth.InvalidGrant, url.Values{"refresh_token": {"stolen"}}},
		{"ignores it and names a subject", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			r.Open(ctx, "refresh_token")
			return &oauth.Issue{Subject: "admin", Scopes: []string{"write"}}, nil
		}, 400, oauth.InvalidGrant, url.Values{"refresh_token": {"stolen"}}},
		{"ignores it and opens another", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			r.Open(ctx, "code")
			r.Open(ctx, "refresh_token")
			return issue, nil
		}, 400, oauth.InvalidRequest, nil},
		{"answers a refused one with an error of its own", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			r.Open(ctx, "refresh_token")
			return nil, errors.New("mine")
		}, 400, oauth.InvalidGrant, url.Values{"refresh_token": {"stolen"}}},
		{"issues for another subject", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			if _, err := r.Open(ctx, "refresh_token"); err != nil {
				return nil, err
			}
			return &oauth.Issue{Subject: "admin", RefreshToken: true}, nil
		}, 500, oauth.ServerError, nil},
		{"issues wider scopes", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			if _, err := r.Open(ctx, "refresh_token"); err != nil {
				return nil, err
			}
			return &oauth.Issue{Scopes: []string{"read", "write"}}, nil
		}, 500, oauth.ServerError, nil},
		{"issues for other resources", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			if _, err := r.Open(ctx, "refresh_token"); err != nil {
				return nil, err
			}
			return &oauth.Issue{Resources: []string{"https://bank.example"}}, nil
		}, 400, oauth.InvalidTarget, nil},
		{"widens what Open returned", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			a, err := r.Open(ctx, "refresh_token")
			if err != nil {
				return nil, err
			}
			a.Scopes[0], a.Subject = "write", "admin"
			return &oauth.Issue{Scopes: a.Scopes}, nil
		}, 500, oauth.ServerError, nil},
		{"opens twice", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			r.Open(ctx, "refresh_token")
			r.Open(ctx, "refresh_token")
			return issue, nil
		}, 500, oauth.ServerError, nil},
		{"opens something else", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			r.Open(ctx, "assertion")
			return issue, nil
		}, 500, oauth.ServerError, nil},
		{"opens the right one and then something else", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			r.Open(ctx, "refresh_token")
			r.Open(ctx, "assertion")
			return issue, nil
		}, 500, oauth.ServerError, nil},
		{"asks for a code", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			_, err := r.Open(ctx, "refresh_token")
			return &oauth.Issue{Code: true}, err
		}, 500, oauth.ServerError, nil},
		{"asks for an access token as at the other endpoint", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			_, err := r.Open(ctx, "refresh_token")
			return &oauth.Issue{AccessToken: true}, err
		}, 500, oauth.ServerError, nil},
		{"returns nothing", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			_, err := r.Open(ctx, "refresh_token")
			return nil, err
		}, 500, oauth.ServerError, nil},
		{"fails after Open", func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			r.Open(ctx, "refresh_token")
			return nil, errors.New("a database")
		}, 503, oauth.TemporarilyUnavailable, nil},
		{"opens nothing and names nobody, for a public client", func(context.Context, *oauth.TokenRequest) (*oauth.Issue, error) {
			return &oauth.Issue{Scopes: []string{"read"}}, nil
		}, 500, oauth.ServerError, nil},
		{"issues a scope that the client may not have", func(context.Context, *oauth.TokenRequest) (*oauth.Issue, error) {
			return &oauth.Issue{Subject: "alice", Scopes: []string{"admin"}}, nil
		}, 500, oauth.ServerError, nil},
		{"names a subject that looks like a client", func(context.Context, *oauth.TokenRequest) (*oauth.Issue, error) {
			return &oauth.Issue{Subject: "client:machine", Scopes: []string{"read"}}, nil
		}, 500, oauth.ServerError, nil},
	} {
		t.Run("A5 a grant that "+c.name, func(t *testing.T) {
			s := newServer(t, c.grant)
			a := s.Redeem(s.Code(app, "read"))
			f := url.Values{"grant_type": {"careless"}, "refresh_token": {a.String("refresh_token")}}
			for name, values := range c.form {
				f[name] = values
			}
			s.Store.Reset()
			r := s.Token(app, f)
			wantError(t, r, c.status, c.code)
			assert.NotContains(t, s.Store.Methods(), "Update")
			assert.NotContains(t, s.Store.Methods(), "Create")
			assert.Equal(t, true, s.Introspect(a.String("access_token")).JSON["active"])
			b := s.Refresh(app, a.String("refresh_token"))
			require.Equal(t, http.StatusOK, b.Status, "nothing was lost: %s", b.Body)
			assert.Equal(t, "read", b.String("scope"))
		})
	}
	t.Run("A5 a grant that swallows a replay cannot keep the authorization alive", func(t *testing.T) {
		s := newServer(t, careless(func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			r.Open(ctx, "refresh_token")
			return &oauth.Issue{Subject: "alice", Scopes: []string{"read"}}, nil
		}))
		a := s.Redeem(s.Code(app))
		b := s.Refresh(app, a.String("refresh_token"))
		s.Clock.Advance(time.Minute)
		wantError(t, s.Token(app, url.Values{"grant_type": {"careless"}, "refresh_token": {a.String("refresh_token")}}), 400, oauth.InvalidGrant)
		assert.Equal(t, false, s.Introspect(b.String("access_token")).JSON["active"])
		wantError(t, s.Refresh(app, b.String("refresh_token")), 400, oauth.InvalidGrant)
	})
	t.Run("A5 a grant gives a client that acts for itself its own scopes alone", func(t *testing.T) {
		for scope, status := range map[string]int{"read": 200, "write": 500} {
			s := newServer(t, careless(func(context.Context, *oauth.TokenRequest) (*oauth.Issue, error) {
				return &oauth.Issue{Scopes: []string{scope}}, nil
			}))
			a := s.Token(oauthtest.MachineClient, url.Values{"grant_type": {"careless"}})
			require.Equal(t, status, a.Status, string(a.Body))
			assert.Equal(t, status == 200, a.JSON["access_token"] != nil)
		}
	})
	t.Run("A5 one Issue for all requests is not written into", func(t *testing.T) {
		shared := &oauth.Issue{RefreshToken: true}
		s := newServer(t, careless(func(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
			_, err := r.Open(ctx, "refresh_token")
			return shared, err
		}))
		for _, scope := range []string{"read write", "read", "write"} {
			a := s.Redeem(s.Code(app, scope))
			b := s.Token(app, url.Values{"grant_type": {"careless"}, "refresh_token": {a.String("refresh_token")}})
			require.Equal(t, http.StatusOK, b.Status, string(b.Body))
			assert.Len(t, b.String("scope"), len(scope))
		}
		assert.Equal(t, oauth.Issue{RefreshToken: true}, *shared)
	})
}

func TestClientCredentials(t *testing.T) {
	t.Run("RFC 6749 4.4 confidential clients alone", func(t *testing.T) {
		s := oauthtest.NewServer(t, func(c *oauth.Config) {
			c.Clients = oauth.StaticClients(oauth.Client{ID: app, Public: true, Grants: []string{"client_credentials"}, Scopes: []string{"read"}})
		})
		wantError(t, s.Token(app, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}), 400, oauth.UnauthorizedClient)
	})
	t.Run("S155 no refresh token, nothing is stored", func(t *testing.T) {
		s := oauthtest.NewServer(t)
		a := s.Token(oauthtest.MachineClient, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}})
		require.Equal(t, http.StatusOK, a.Status)
		assert.NotContains(t, a.JSON, "refresh_token")
		assert.Empty(t, s.Store.Calls())
	})
}

func TestImplicit(t *testing.T) {
	serve := func(t *testing.T, uri string) (*oauthtest.Server, url.Values) {
		s := oauthtest.NewServer(t, func(c *oauth.Config) {
			c.Grants = append(c.Grants, grants.Implicit{})
			c.Clients = oauth.StaticClients(oauth.Client{ID: app, Public: true, RedirectURIs: []string{uri}, Scopes: []string{"read", "write"}, Grants: []string{"implicit"}},
				oauth.Client{ID: oauthtest.APIClient, Secrets: []string{oauth.HashSecret(oauthtest.Secret)}, Grants: []string{}, Introspect: true})
		})
		a, _ := s.Authorize(app, url.Values{"response_type": {"token"}, "redirect_uri": {uri}, "code_challenge": {""}, "code_challenge_method": {""}})
		_, params := a.Location()
		return s, params
	}
	t.Run("RFC 6749 4.2.2 an access token, never a refresh token", func(t *testing.T) {
		s, params := serve(t, oauthtest.Callback)
		assert.Equal(t, []string{"Bearer", "1800", "read write", "xyz", oauthtest.Issuer},
			[]string{params.Get("token_type"), params.Get("expires_in"), params.Get("scope"), params.Get("state"), params.Get("iss")})
		assert.False(t, params.Has("refresh_token") || params.Has("code"))
		assert.Equal(t, true, s.Introspect(params.Get("access_token")).JSON["active"])
	})
	for _, uri := range []string{"http://127.0.0.1/cb", "com.example.app:/cb"} {
		t.Run("S162 never to "+uri, func(t *testing.T) {
			_, params := serve(t, uri)
			assert.Equal(t, "unauthorized_client", params.Get("error"))
			assert.False(t, params.Has("access_token"))
		})
	}
}
