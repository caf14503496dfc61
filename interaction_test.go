//lint:file-ignore SA1019 the implicit grant is served, so it is tested

package oauth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestInteractionHandle(t *testing.T) {
	w := watch(t)
	handle, cookie := w.begin(az("foo=bar"))
	finds := func(t *testing.T, r *http.Request) {
		t.Helper()
		in, err := w.Server.Interaction(r)
		require.NoError(t, err)
		assert.Equal(t, "bar", in.Params().Get("foo"))
		assert.Equal(t, caseP, in.Client().ID)
		assert.Equal(t, []string{"read"}, in.Scopes())
		assert.Equal(t, "Read your things", in.ScopeTable()[0].Description)
		assert.Len(t, in.ScopeTable(), 1)
		assert.Equal(t, backP, in.RedirectURI())
		assert.Equal(t, "app.example", in.RedirectHost())
		assert.Equal(t, "https://as.example/oauth/authorize", in.AuthorizeURL())
		assert.Equal(t, handle, in.Handle())
		assert.True(t, in.ExpiresAt().Equal(w.Clock.Now().Add(time.Hour)))
	}
	t.Run("design 4 FT-05 found by the query of a GET", func(t *testing.T) { finds(t, hostPage(handle, cookie)) })
	t.Run("design 4 found by a posted form", func(t *testing.T) { finds(t, hostForm(handle, cookie)) })
	t.Run("design 4 found by the query of a POST", func(t *testing.T) {
		r := hostForm("", cookie)
		r.URL.RawQuery = "interaction=" + handle
		finds(t, r)
	})
	t.Run("design 4 found after somebody called ParseForm", func(t *testing.T) {
		for _, r := range []*http.Request{hostPage(handle, cookie), hostForm(handle, cookie)} {
			require.NoError(t, r.ParseForm())
			finds(t, r)
		}
	})
	t.Run("design 4 no handle at all", func(t *testing.T) {
		for _, r := range []*http.Request{hostPage("", cookie), hostForm("", cookie), httptest.NewRequest(http.MethodGet, "/login", nil)} {
			_, err := w.Server.Interaction(r)
			assert.ErrorIs(t, err, oauth.ErrNoInteraction)
		}
	})
	t.Run("design 4 a form that cannot be read", func(t *testing.T) {
		r := hostForm("%zz", cookie)
		_, err := w.Server.Interaction(r)
		assert.ErrorIs(t, err, oauth.InvalidRequest)
		_, err = w.Server.Interaction(hostForm(strings.Repeat("x", 65<<10), cookie))
		assert.ErrorIs(t, err, oauth.InvalidRequest)
	})
	t.Run("S370 S081 tampered with in every character, cut and extended", func(t *testing.T) {
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		refused := func(text string) {
			t.Helper()
			_, err := w.Server.Interaction(hostPage(url.QueryEscape(text), cookie))
			assert.ErrorIs(t, err, oauth.ErrNoInteraction)
		}
		for i := range len(handle) {
			other := alphabet[(strings.IndexByte(alphabet, handle[i])+1)%64]
			refused(handle[:i] + string(other) + handle[i+1:])
			refused(handle[:i])
		}
		for _, more := range []string{"A", "AAAA", "=", "==", " ", "\n", "."} {
			refused(handle + more)
		}
		refused(strings.ToUpper(handle))
		refused(strings.Repeat("A", 5000))
		finds(t, hostPage(handle, cookie))
	})
	t.Run("N011 of another issuer or another secret", func(t *testing.T) {
		for name, edit := range map[string]func(*oauth.Config){
			"issuer": func(c *oauth.Config) { c.Issuer += "/b" },
			"secret": func(c *oauth.Config) { c.Secrets = [][]byte{oauth.NewSecret()} },
		} {
			_, err := w.another(edit).Interaction(hostPage(handle, cookie))
			assert.ErrorIs(t, err, oauth.ErrNoInteraction, name)
		}
	})
	t.Run("V009 V077 S085 another browser", func(t *testing.T) {
		_, other := w.begin(az())
		for name, cookies := range map[string][]*http.Cookie{
			"other cookie": {other}, "no cookie": nil, "no value": {{Name: cookie.Name}},
			"other name": {{Name: "oauth", Value: cookie.Value}}, "cut": {{Name: cookie.Name, Value: cookie.Value[1:]}},
		} {
			_, err := w.Server.Interaction(hostPage(handle, cookies...))
			assert.ErrorIs(t, err, oauth.ErrOtherBrowser, name)
		}
		finds(t, hostPage(handle, cookie)) // nothing has ended
	})
	t.Run("S367 formatted and in JSON it shows neither handle nor request", func(t *testing.T) {
		in, err := w.Server.Interaction(hostPage(handle, cookie))
		require.NoError(t, err)
		text, err := json.Marshal(in) //lint:ignore SA9005 that nothing comes out is what is tested
		require.NoError(t, err)
		for _, s := range []string{fmt.Sprint(in), fmt.Sprintf("%v %+v %#v %s", *in, *in, *in, *in),
			fmt.Sprintf("%+v %#v %s", in, in, in), in.LogValue().String(), string(text)} {
			assert.NotContains(t, s, handle)
			assert.NotContains(t, s, rfcChallenge)
			assert.NotContains(t, s, "xyz")
		}
	})
	t.Run("N012 secrets rotated meanwhile", func(t *testing.T) {
		w := w.on(t)
		handle, cookie := w.begin(az())
		next := w.another(func(c *oauth.Config) { c.Secrets = append([][]byte{besides(c.Secrets[0])}, c.Secrets...) })
		a, err := w.atHostOf(next, hostPage(handle, cookie), approveAs("alice"), 0)
		require.NoError(t, err)
		w.code(a, backP+"?")
	})
	t.Run("design 4 expires, at the host's page and at the endpoint", func(t *testing.T) {
		w := watch(t, func(c *oauth.Config) { c.HandleLifetime = 10 * time.Minute })
		handle, cookie := w.begin(az())
		in, err := w.Server.Interaction(hostPage(handle, cookie))
		require.NoError(t, err)
		w.Clock.Advance(10*time.Minute - time.Millisecond)
		_, err = w.Server.Interaction(hostPage(handle, cookie))
		require.NoError(t, err)
		w.Clock.Advance(time.Millisecond)
		_, err = w.Server.Interaction(hostPage(handle, cookie))
		assert.ErrorIs(t, err, oauth.ErrNoInteraction)
		w.page(w.get("interaction="+handle, cookie), http.StatusBadRequest, "interaction="+handle)
		a := w.exchange(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: []string{"read"}})
		}), hostPage(handle, cookie), 0)
		w.page(a, http.StatusBadRequest, "")
	})
	t.Run("design 4 a handle over 4 KiB", func(t *testing.T) {
		w := watch(t)
		w.re(w.get(az("foo="+strings.Repeat("f", 4<<10))), oauth.InvalidRequest)
		w.code(w.get(az("foo="+strings.Repeat("f", 2<<10))), backP+"?")
	})
}

func TestInteractionAtEndpoint(t *testing.T) {
	w := watch(t)
	handle, cookie := w.begin(az())
	t.Run("design 4 a handle at the endpoint calls Interact again, by GET and by POST", func(t *testing.T) {
		w := w.on(t)
		var methods []string
		w.Interact(func(_ http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			methods = append(methods, r.Method)
			assert.Equal(t, handle, in.Handle())
		})
		w.get("interaction="+handle, cookie)
		w.exchange(w.Handler, w.posted("", "interaction="+handle, cookie), 0)
		w.exchange(w.Handler, w.posted("interaction="+handle, "user=alice&password=hunter2", cookie), 0)
		assert.Equal(t, []string{"GET", "POST", "POST"}, methods)
	})
	for name, r := range map[string]*http.Request{
		"S085 another browser": w.request("interaction=" + handle),
		"S085 posted by another browser": w.posted("", "interaction="+handle, &http.Cookie{Name: cookie.Name,
			Value: strings.Repeat("A", len(cookie.Value))}),
		"S081 no handle of ours": w.posted("", "interaction="+handle[1:], cookie),
		"S081 too long":          w.posted("", "interaction="+strings.Repeat("A", 5000), cookie),
	} {
		t.Run(name+" is a page", func(t *testing.T) {
			w := w.on(t)
			w.Approve("mallory")
			w.page(w.exchange(w.Handler, r, 0), http.StatusBadRequest, "interaction="+handle)
			assert.Empty(t, w.Store.Calls())
		})
	}
	t.Run("V081 S083 fields posted beside the handle change nothing", func(t *testing.T) {
		w := w.on(t)
		w.Approve("alice")
		body := az("scope=read+write+admin", "redirect_uri=https://evil.example/", "response_type=token", "state=evil", "client_id=C") +
			"&interaction=" + handle
		got := w.code(w.exchange(w.Handler, w.posted("", body, cookie), 0), backP+"?")
		assert.Equal(t, "xyz", got.Get("state"))
		assert.Equal(t, "read", w.redeem(caseP, got.Get("code"), backP).String("scope"))
	})
}

func TestInteractionCookie(t *testing.T) {
	cookieOf := func(t *testing.T, issuer string) *http.Cookie {
		t.Helper()
		w := watch(t, func(c *oauth.Config) { c.Issuer = issuer })
		w.Interact(func(http.ResponseWriter, *http.Request, *oauth.Interaction) {})
		rec := httptest.NewRecorder()
		w.AuthorizeHandler().ServeHTTP(rec, w.request(az()))
		all := rec.Result().Cookies()
		require.Len(t, all, 1)
		return all[0]
	}
	t.Run("V133 S087 https", func(t *testing.T) {
		c := cookieOf(t, "https://as.example/tenant")
		assert.Equal(t, "__Host-oauth", c.Name)
		assert.True(t, c.Secure && c.HttpOnly)
		assert.Equal(t, http.SameSiteLaxMode, c.SameSite)
		assert.Equal(t, "/", c.Path)
		assert.Empty(t, c.Domain)
		assert.Regexp(t, `^[A-Z2-7]{26}$`, c.Value, "random, nothing of the request")
		assert.Zero(t, c.MaxAge)
		assert.True(t, c.Expires.IsZero())
	})
	t.Run("S087 http on a loopback address", func(t *testing.T) {
		c := cookieOf(t, "http://127.0.0.1:8080")
		assert.Equal(t, "oauth", c.Name)
		assert.False(t, c.Secure)
		assert.True(t, c.HttpOnly)
		assert.Equal(t, http.SameSiteLaxMode, c.SameSite)
	})
	t.Run("design 4 one cookie serves many tabs", func(t *testing.T) {
		w := watch(t)
		first, cookie := w.begin(az())
		second, same := w.begin(az("state=two"), cookie)
		assert.Same(t, cookie, same, "no second cookie")
		assert.NotEqual(t, first, second)
		assert.Equal(t, "two", w.code(w.approved(second, cookie, approveAs("alice")), backP+"?").Get("state"))
		assert.Equal(t, "xyz", w.code(w.approved(first, cookie, approveAs("alice")), backP+"?").Get("state"))
	})
	t.Run("design 4 a cookie that is not ours is replaced", func(t *testing.T) {
		w := watch(t)
		_, got := w.begin(az(), &http.Cookie{Name: "__Host-oauth", Value: "x"})
		assert.NotEqual(t, "x", got.Value)
	})
	t.Run("V080 S090 200 users at once: each code is of the user who approved it", func(t *testing.T) {
		w := watch(t)
		w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			in.Approve(rw, r, oauth.Approval{Subject: in.Params().Get("login_hint"), Scopes: in.Scopes()})
		})
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				user := fmt.Sprint("user", i)
				_, got := w.Do(w.request(az("login_hint=" + user))).Location()
				a := w.redeem(caseP, got.Get("code"), backP)
				token, err := w.VerifyToken(context.Background(), a.String("access_token"))
				if assert.NoError(t, err) {
					assert.Equal(t, user, token.Subject)
				}
			})
		}
		wg.Wait()
	})
}

func TestInteractionApprove(t *testing.T) {
	w := watch(t)
	t.Run("S089 FL-08 fewer scopes, in the order of the request", func(t *testing.T) {
		w := w.on(t)
		handle, cookie := w.begin(az("scope=write+read"))
		got := w.code(w.approved(handle, cookie, approveAs("alice", "read")), backP+"?")
		a := w.redeem(caseP, got.Get("code"), backP)
		assert.Equal(t, "read", a.String("scope"))
		again := w.Token(caseP, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.String("refresh_token")}, "scope": {"read write"}})
		assert.Equal(t, "invalid_scope", again.String("error"))
		handle, cookie = w.begin(az("scope=write+read"))
		got = w.code(w.approved(handle, cookie, approveAs("alice", "read", "write", "read")), backP+"?")
		assert.Equal(t, "write read", w.redeem(caseP, got.Get("code"), backP).String("scope"))
	})
	long := strings.Repeat("x", 256)
	for _, test := range []struct {
		name     string
		approval oauth.Approval
		code     oauth.ErrorCode
	}{
		{"design 4 never more scopes", oauth.Approval{Subject: "alice", Scopes: []string{"read", "write"}}, oauth.ServerError},
		{"design 4 never an unknown scope", oauth.Approval{Subject: "alice", Scopes: []string{"root"}}, oauth.ServerError},
		{"design 4 never another resource", oauth.Approval{Subject: "alice", Scopes: []string{"read"}, Resources: []string{"https://x.example"}}, oauth.ServerError},
		{"design 4 no subject", oauth.Approval{Scopes: []string{"read"}}, oauth.ServerError},
		{"RFC 9068 5 a subject like a client's", oauth.Approval{Subject: "client:M", Scopes: []string{"read"}}, oauth.ServerError},
		{"design 1 a subject over 255 bytes", oauth.Approval{Subject: long, Scopes: []string{"read"}}, oauth.ServerError},
		{"design 1 a subject that is no text", oauth.Approval{Subject: "a\x00", Scopes: []string{"read"}}, oauth.ServerError},
		{"design 4 Extra over 4 KiB", oauth.Approval{Subject: "alice", Scopes: []string{"read"},
			Extra: map[string]string{"k": strings.Repeat(long, 16)}}, oauth.ServerError},
		{"S069 no scopes is a denial", oauth.Approval{Subject: "alice"}, oauth.AccessDenied},
		{"S069 empty scopes are a denial", oauth.Approval{Subject: "alice", Scopes: []string{}}, oauth.AccessDenied},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := w.on(t)
			w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) { in.Approve(rw, r, test.approval) })
			w.Store.Reset()
			w.re(w.get(az()), test.code)
			assert.Empty(t, w.Store.Calls())
			w.Approve("alice")
			w.code(w.get(az()), backP+"?")
		})
	}
	t.Run("V034 S075 what the host does to its copies changes nothing", func(t *testing.T) {
		w := w.on(t)
		handle, cookie := w.begin(az("scope=read"))
		got := w.code(w.approved(handle, cookie, func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			in.Scopes()[0] = "admin"
			in.ScopeTable()[0].Name = "admin"
			in.Params().Set("redirect_uri", "https://evil.example/")
			in.Params().Set("state", "evil")
			in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes()})
		}), backP+"?")
		assert.Equal(t, "xyz", got.Get("state"))
		assert.Equal(t, "read", w.redeem(caseP, got.Get("code"), backP).String("scope"))
	})
	t.Run("design 1 what the approval says stays with the authorization", func(t *testing.T) {
		w := watch(t)
		at := w.Clock.Now().Add(-time.Minute).Truncate(time.Second)
		w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), AuthTime: at, ACR: "gold", AMR: []string{"pwd"},
				Session: "s1", Extra: map[string]string{"k": "v"}})
		})
		w.code(w.get(az()), backP+"?")
		all, err := w.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		require.Len(t, all, 1)
		z := all[0]
		assert.True(t, z.AuthTime.Equal(at))
		assert.Equal(t, []any{"gold", "pwd", "s1", "v", "authorization_code", caseP}, []any{z.ACR, z.AMR[0], z.Session, z.Extra["k"], z.GrantType, z.ClientID})
		events := w.Events(oauth.EventApproved)
		require.Len(t, events, 1)
		assert.Equal(t, z.ID, events[0].Authorization)
		assert.Equal(t, []string{"read"}, events[0].Scopes)
	})
	t.Run("FL-12 FL-13 a parameter of the request decides about the refresh token", func(t *testing.T) {
		w := watch(t, func(c *oauth.Config) {
			c.Policy = func(_ context.Context, r oauth.PolicyRequest) (p oauth.Policy) {
				if r.Extra["access_type"] != "offline" {
					p.Refresh = oauth.NoRefresh
				}
				return p
			}
		})
		w.Interact(func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			kind := in.Params().Get("access_type")
			if kind != "" && kind != "online" && kind != "offline" {
				in.Deny(rw, r, oauth.InvalidRequest)
				return
			}
			in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), Extra: map[string]string{"access_type": kind}})
		})
		for kind, refresh := range map[string]bool{"offline": true, "online": false, "": false} {
			got := w.code(w.get(az("access_type="+kind)), backP+"?")
			a := w.Token(caseP, url.Values{"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "redirect_uri": {backP},
				"code_verifier": {rfcVerifier}, "access_type": {"offline"}})
			assert.Equal(t, refresh, a.String("refresh_token") != "", kind)
		}
		w.re(w.get(az("access_type=x")), oauth.InvalidRequest)
	})
}

// changing is a registry whose clients a test changes while a request waits.
type changing map[string]*oauth.Client

func (c changing) Client(_ context.Context, id string) (*oauth.Client, error) {
	if found := c[id]; found != nil {
		return found, nil
	}
	return nil, oauth.ErrNotFound
}

func TestInteractionClientChanges(t *testing.T) {
	good := oauth.Client{ID: caseP, Public: true, RedirectURIs: []string{backP}, Scopes: []string{"read"}}
	with := func(edit func(*oauth.Client)) *oauth.Client { c := good; edit(&c); return &c }
	for name, client := range map[string]*oauth.Client{
		"disabled":               with(func(c *oauth.Client) { c.Disabled = true }),
		"gone":                   nil,
		"redirect URI removed":   with(func(c *oauth.Client) { c.RedirectURIs = []string{backC, backC + "2"} }),
		"no redirect URI at all": with(func(c *oauth.Client) { c.RedirectURIs = nil }),
		"redirect URI replaced":  with(func(c *oauth.Client) { c.RedirectURIs = []string{backC} }),
	} {
		for _, query := range []string{az(), az("-redirect_uri")} {
			t.Run("S091 meanwhile "+name+" "+query[:40], func(t *testing.T) {
				clients := changing{caseP: &good}
				w := watch(t, func(c *oauth.Config) { c.Clients = clients })
				handle, cookie := w.begin(query)
				in, err := w.Server.Interaction(hostPage(handle, cookie))
				require.NoError(t, err)
				clients[caseP] = client
				_, err = w.Server.Interaction(hostPage(handle, cookie))
				assert.ErrorIs(t, err, oauth.InvalidRequest)
				w.Approve("alice")
				w.page(w.get("interaction="+handle, cookie), http.StatusBadRequest, "interaction="+handle)
				a := w.exchange(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { approveAs("alice")(rw, r, in) }), hostPage(handle, cookie), 0)
				w.page(a, http.StatusBadRequest, "")
				assert.Empty(t, w.Store.Calls())
			})
		}
	}
	t.Run("S091 meanwhile a scope was taken away: by redirect", func(t *testing.T) {
		clients := changing{caseP: &good}
		w := watch(t, func(c *oauth.Config) { c.Clients = clients })
		handle, cookie := w.begin(az())
		clients[caseP] = with(func(c *oauth.Client) { c.Scopes = []string{"write"} })
		w.Approve("alice")
		w.re(w.get("interaction="+handle, cookie), oauth.InvalidScope)
		_, err := w.Server.Interaction(hostPage(handle, cookie))
		assert.ErrorIs(t, err, oauth.InvalidScope)
	})
	t.Run("S091 the registry fails at the approval: a 503 page", func(t *testing.T) {
		clients := &failing{ClientRegistry: changing{caseP: &good}}
		w := watch(t, func(c *oauth.Config) { c.Clients = clients })
		handle, cookie := w.begin(az())
		in, err := w.Server.Interaction(hostPage(handle, cookie))
		require.NoError(t, err)
		clients.down = true
		a := w.exchange(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { approveAs("alice")(rw, r, in) }), hostPage(handle, cookie), 503)
		w.page(a, http.StatusServiceUnavailable, "")
		_, err = w.Server.Interaction(hostPage(handle, cookie))
		assert.ErrorIs(t, err, oauth.TemporarilyUnavailable)
		clients.down = false
		w.code(w.approved(handle, cookie, approveAs("alice")), backP+"?")
	})
}

type failing struct {
	oauth.ClientRegistry
	down bool
}

func (f *failing) Client(ctx context.Context, id string) (*oauth.Client, error) {
	if f.down {
		return nil, errors.New("no route to host")
	}
	return f.ClientRegistry.Client(ctx, id)
}

func TestInteractionRespond(t *testing.T) {
	respond := func(f func(*oauth.Issued, *oauth.Fields) error) func(*oauth.Config) {
		return func(c *oauth.Config) {
			c.Respond = func(_ context.Context, i *oauth.Issued, fields *oauth.Fields) error { return f(i, fields) }
		}
	}
	implicit := func(c *oauth.Config) { c.Grants = append(c.Grants, grants.Implicit{}) }
	t.Run("design 6 the hook cannot drop or set state and iss", func(t *testing.T) {
		w := watch(t, respond(func(i *oauth.Issued, f *oauth.Fields) error {
			assert.Equal(t, "authorize", i.Endpoint)
			assert.Equal(t, "alice", i.Subject)
			assert.Equal(t, []string{"read"}, i.Scopes)
			f.Set("iss", "https://evil.example")
			f.Set("state", "evil")
			f.Set("session_state", "s 1")
			return nil
		}))
		a := w.get(az())
		assert.Regexp(t, `^https://app\.example/cb\?code=[^&]+&session_state=s\+1&state=xyz&iss=https%3A%2F%2Fas\.example$`, a.Header.Get("Location"))
		a = w.get(az("-state"))
		assert.NotContains(t, a.Header.Get("Location"), "&state=")
		events := len(w.Events())
		w.re(w.get(az("scope=nope")), oauth.InvalidScope) // errors do not pass the hook
		assert.Len(t, w.Events(), events+1)
	})
	t.Run("FL-20 the hook of an implicit answer chooses the members and their order", func(t *testing.T) {
		w := watch(t, implicit, mayImplicit, respond(func(i *oauth.Issued, f *oauth.Fields) error {
			if i.GrantType == "implicit" {
				f.Select("scope", "expires_in", "access_token")
			}
			return nil
		}), func(c *oauth.Config) {
			c.InsecureOmitIssuer = true
			c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy { return oauth.Policy{Access: 24 * time.Hour} }
		})
		a := w.get(az("response_type=token", "scope=read+write"))
		assert.Regexp(t, `^https://app\.example/cb#scope=read\+write&expires_in=86400&access_token=[^&]+&state=xyz$`, a.Header.Get("Location"))
		w.redirectHeaders(a)
		a = w.get(az("response_type=token", "-state"))
		assert.Regexp(t, `^https://app\.example/cb#scope=read&expires_in=86400&access_token=[^&]+$`, a.Header.Get("Location"))
	})
	t.Run("design 6 the hook sees the host's own strings and the second approval too", func(t *testing.T) {
		var seen []string
		w := watch(t, respond(func(i *oauth.Issued, f *oauth.Fields) error {
			seen = append(seen, i.Extra["k"])
			f.Set("k", i.Extra["k"])
			return nil
		}))
		handle, cookie := w.begin(az())
		approve := func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			in.Approve(rw, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), Extra: map[string]string{"k": "v"}})
		}
		first, second := w.approved(handle, cookie, approve), w.approved(handle, cookie, approve)
		assert.Equal(t, first.Header, second.Header)
		assert.Equal(t, []string{"v"}, slices.Compact(seen))
	})
	for name, err := range map[string]error{"temporarily_unavailable": errors.New("template: secret stuff"), "access_denied": oauth.AccessDenied,
		"invalid_scope": &oauth.Error{Code: oauth.InvalidScope, Description: "no"}} {
		for _, query := range []string{az(), az("response_type=token")} {
			t.Run("design 6 an error of the hook is the answer and nothing is stored: "+name+" "+query[:18], func(t *testing.T) {
				w := watch(t, implicit, mayImplicit, respond(func(*oauth.Issued, *oauth.Fields) error { return err }))
				a := w.get(query)
				to := map[bool]string{false: "?", true: "#"}[strings.Contains(query, "=token")]
				got := w.reTo(a, oauth.ErrorCode(name), backP+to, "xyz")
				assert.NotContains(t, got.Get("error_description"), "secret")
				assert.Empty(t, w.Store.Calls())
			})
		}
	}
	t.Run("design 6 a hook that panics is a 500 page", func(t *testing.T) {
		w := watch(t, respond(func(*oauth.Issued, *oauth.Fields) error { panic("oops") }))
		w.page(w.exchange(w.Handler, w.request(az()), 500), 500, az())
		assert.Empty(t, w.Store.Calls())
	})
}

func TestInteractionDeny(t *testing.T) {
	for _, test := range []struct {
		name        string
		err         error
		code        oauth.ErrorCode
		description string
	}{
		{"S069 AccessDenied", oauth.AccessDenied, oauth.AccessDenied, ""},
		{"S069 nil", nil, oauth.AccessDenied, ""},
		{"OpenID Connect Core 3.1.2.6 another code", oauth.ErrorCode("login_required"), "login_required", ""},
		{"RFC 6749 4.1.2.1 an *Error", &oauth.Error{Code: oauth.InvalidScope, Description: "Ask for less", Cause: errors.New("quota")}, oauth.InvalidScope, "Ask for less"},
		{"RFC 6749 4.1.2.1 a wrapped code", fmt.Errorf("alice is on holiday: %w", oauth.AccessDenied), oauth.AccessDenied, ""},
		{"RFC 6749 4.1.2.1 a plain error", errors.New("ldap: bind failed"), oauth.TemporarilyUnavailable, "The server cannot answer now, try again"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := watch(t)
			handle, cookie := w.begin(az())
			got := w.re(w.approved(handle, cookie, func(rw http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
				in.Deny(rw, r, test.err)
			}), test.code)
			assert.Equal(t, test.description, got.Get("error_description"))
			events := w.Events(oauth.EventDenied)
			require.Len(t, events, 1)
			assert.ErrorIs(t, events[0].Err, test.code)
			if test.err != nil {
				assert.ErrorContains(t, events[0].Err, strings.TrimSuffix(test.err.Error(), ": access_denied"))
			}
			assert.Empty(t, w.Store.Calls())
			w.code(w.approved(handle, cookie, approveAs("alice")), backP+"?") // the user may think again
		})
	}
}

func TestInteractionEntropy(t *testing.T) {
	w := watch(t)
	const n = 3000
	prefix, mac := map[string]bool{}, map[string]bool{}
	var ones [160]int
	for range n {
		_, got := w.Do(w.request(az())).Location()
		raw := decode64(t, got.Get("code"))
		require.Len(t, raw, 41, "key id, record id, generation, MAC")
		prefix[string(raw[1:17])] = true
		mac[string(raw[21:])] = true
		for i := range ones {
			ones[i] += int(raw[21+i/8] >> (i % 8) & 1)
		}
	}
	t.Run("S362 record ids and MACs of codes never repeat", func(t *testing.T) {
		assert.Len(t, prefix, n)
		assert.Len(t, mac, n)
	})
	t.Run("S362 each of the 160 bits of the MAC is a coin", func(t *testing.T) {
		for i, k := range ones {
			assert.InDelta(t, n/2, k, 6*27.4, "bit %d", i) // six standard deviations of 3000 tosses
		}
	})
	t.Run("S370 a code that is cut, extended or written otherwise", func(t *testing.T) {
		w := w.on(t)
		code := w.code(w.get(az()), backP+"?").Get("code")
		for _, other := range []string{code[:54], code[:10], code + "A", code + "=", " " + code, strings.ToUpper(code), strings.ToLower(code)} {
			assert.Equal(t, "invalid_grant", w.redeem(caseP, other, backP).String("error"), other)
		}
		assert.Equal(t, http.StatusOK, w.redeem(caseP, code, backP).Status)
	})
}

func decode64(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	return raw
}
