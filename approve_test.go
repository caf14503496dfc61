//lint:file-ignore SA1019 the implicit grant is served, so it is tested

package oauth_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestInteractionTwice(t *testing.T) {
	t.Run("N009 the same approval twice is the same code and one authorization", func(t *testing.T) {
		w := watch(t)
		handle, cookie := w.begin(az("scope=read+write"))
		first := w.approved(handle, cookie, approveAs("alice", "read", "write"))
		code := w.code(first, backP+"?").Get("code")
		w.Clock.Advance(59 * time.Second)
		again := w.approved(handle, cookie, approveAs("alice", "write", "read"))
		assert.Equal(t, first.Header.Get("Location"), again.Header.Get("Location"))
		all, err := w.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		assert.Len(t, all, 1)
		assert.Equal(t, http.StatusOK, w.redeem(caseP, code, backP).Status)
	})
	t.Run("N009 twenty at once", func(t *testing.T) {
		w := watch(t)
		handle, cookie := w.begin(az())
		var wg sync.WaitGroup
		locations := make([]string, 20)
		for i := range locations {
			wg.Go(func() {
				rec := httptest.NewRecorder()
				if in, err := w.Server.Interaction(hostPage(handle, cookie)); assert.NoError(t, err) {
					approveAs("alice")(rec, hostPage(handle, cookie), in)
				}
				locations[i] = rec.Header().Get("Location")
			})
		}
		wg.Wait()
		for _, l := range locations {
			assert.Contains(t, l, "code=")
			assert.Equal(t, locations[0], l)
		}
		all, err := w.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		assert.Len(t, all, 1)
	})
	for _, test := range []struct {
		name   string
		before func(w *watched, code string)
		second act
	}{
		{"other scopes", nil, approveAs("alice", "read")},
		{"another subject", nil, approveAs("bob")},
		{"after the code was redeemed", func(w *watched, code string) {
			require.Equal(w.t, http.StatusOK, w.redeem(caseP, code, backP).Status)
		}, approveAs("alice")},
		{"after the code expired", func(w *watched, _ string) { w.Clock.Advance(time.Minute) }, approveAs("alice")},
		{"after it was revoked", func(w *watched, _ string) {
			n, err := w.Revoke(w.t.Context(), oauth.Selector{Subject: "alice"})
			require.NoError(w.t, err)
			require.Equal(w.t, 1, n)
		}, approveAs("alice")},
		{"after it was erased", func(w *watched, _ string) {
			n, err := w.Revoke(w.t.Context(), oauth.Selector{Subject: "alice", Erase: true})
			require.NoError(w.t, err)
			require.Equal(w.t, 1, n)
			_, err = w.DeleteExpired(w.t.Context(), 100)
			require.NoError(w.t, err)
		}, approveAs("alice")},
		{"N008 after its record could be swept", func(w *watched, _ string) {
			w.Clock.Advance(59 * time.Minute)
			n, err := w.DeleteExpired(w.t.Context(), 100)
			require.NoError(w.t, err)
			require.Zero(w.t, n, "it lives as long as the handle")
		}, approveAs("alice")},
	} {
		t.Run("design 4 N009 refused: "+test.name, func(t *testing.T) {
			w := watch(t)
			w.mayStore = true // the Create that meets ErrExists
			handle, cookie := w.begin(az("scope=read+write"))
			code := w.code(w.approved(handle, cookie, approveAs("alice")), backP+"?").Get("code")
			if test.before != nil {
				test.before(w, code)
			}
			w.page(w.approved(handle, cookie, test.second), http.StatusBadRequest, "")
			all, err := w.Authorizations(t.Context(), "bob")
			require.NoError(t, err)
			assert.Empty(t, all)
			events := w.Events(oauth.EventRequestRefused)
			require.NotEmpty(t, events)
		})
	}
	t.Run("design 4 N009 refused: fewer resources", func(t *testing.T) {
		s := newServer(t, resources)
		p := open(t, s, oauthtest.WebClient, url.Values{"resource": {"https://api.example", "https://other.example"}})
		require.Equal(t, "303 code", result(p.decide(s)))
		s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
			in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), Resources: in.Resources()[:1]})
		})
		require.Equal(t, http.StatusBadRequest, p.decide(s).Status)
		s.Approve("alice")
		require.Equal(t, "303 code", result(p.decide(s)))
	})
	t.Run("N008 after the sweep the handle is no more", func(t *testing.T) {
		w := watch(t)
		handle, cookie := w.begin(az())
		in, err := w.Server.Interaction(hostPage(handle, cookie))
		require.NoError(t, err)
		w.code(w.approved(handle, cookie, approveAs("alice")), backP+"?")
		w.Clock.Advance(200 * 24 * time.Hour)
		n, err := w.DeleteExpired(t.Context(), 100)
		require.NoError(t, err)
		wantSwept(t, 1, n)
		_, err = w.Server.Interaction(hostPage(handle, cookie))
		assert.ErrorIs(t, err, oauth.ErrNoInteraction)
		a := w.exchange(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { approveAs("alice")(rw, r, in) }), hostPage(handle, cookie), 0)
		w.page(a, http.StatusBadRequest, "")
	})
	t.Run("design 4 an answer with a token beside the code is not sent twice", func(t *testing.T) {
		w := watch(t, mayTicket)
		w.mayStore = true // the Create that meets ErrExists
		handle, cookie := w.begin(az("response_type=ticket", "seat=7"))
		w.code(w.approved(handle, cookie, approveAs("alice")), backP+"#")
		w.page(w.approved(handle, cookie, approveAs("alice")), http.StatusBadRequest, "")
	})
	t.Run("N013 its record was written by a newer version", func(t *testing.T) {
		w := watch(t)
		w.mayStore = true // the Create that meets ErrExists
		handle, cookie := w.begin(az())
		w.code(w.approved(handle, cookie, approveAs("alice")), backP+"?")
		rec, err := w.Store.Get(t.Context(), w.Store.Calls()[0].ID)
		require.NoError(t, err)
		rec.Data = bytes.Replace(rec.Data, []byte(`{"head":"AQ`), []byte(`{"head":"fw`), 1) // format 127
		require.NoError(t, w.Store.Update(t.Context(), rec))
		a, err := w.atHostOf(w.Server.Server, hostPage(handle, cookie), approveAs("alice"), 503)
		require.NoError(t, err)
		w.page(a, http.StatusServiceUnavailable, "")
		assert.Len(t, w.Events(oauth.EventUnknownFormat), 1)
	})
	t.Run("design 4 an implicit token is not sent twice", func(t *testing.T) {
		w := watch(t, func(c *oauth.Config) { c.Grants = append(c.Grants, grants.Implicit{}) }, mayImplicit)
		w.mayStore = true // the Create that meets ErrExists
		handle, cookie := w.begin(az("response_type=token"))
		first := w.approved(handle, cookie, approveAs("alice"))
		assert.Contains(t, first.Header.Get("Location"), "#access_token=")
		w.page(w.approved(handle, cookie, approveAs("alice")), http.StatusBadRequest, "")
	})
}

func TestInteractionStorage(t *testing.T) {
	failCreate := func(f oauthtest.Fault) func(oauthtest.StoreCall) oauthtest.Fault {
		return func(c oauthtest.StoreCall) oauthtest.Fault {
			if c.Method == "Create" {
				return f
			}
			return oauthtest.NoFault
		}
	}
	for name, fault := range map[string]oauthtest.Fault{"N004 the driver writes twice": oauthtest.Twice, "N005 the answer is lost": oauthtest.FailAfter} {
		t.Run(name+": an ordinary answer", func(t *testing.T) {
			w := watch(t)
			w.Store.Fail(failCreate(fault))
			got := w.code(w.get(az()), backP+"?")
			assert.Equal(t, []string{"Create", "Get"}, w.Store.Methods())
			assert.Equal(t, http.StatusOK, w.redeem(caseP, got.Get("code"), backP).Status)
		})
	}
	t.Run("design 1 the write fails: by redirect, no code, and again it works", func(t *testing.T) {
		w := watch(t)
		w.mayStore = true // the Create that fails
		handle, cookie := w.begin(az())
		w.Store.Fail(failCreate(oauthtest.FailBefore))
		w.re(w.approved(handle, cookie, approveAs("alice")), oauth.TemporarilyUnavailable)
		require.Len(t, w.Events(oauth.EventStorageFailed), 1)
		w.Store.Fail(nil)
		w.code(w.approved(handle, cookie, approveAs("alice")), backP+"?")
	})
	t.Run("design 3 the outcome stays unknown: by redirect, and again gives the one code", func(t *testing.T) {
		w := watch(t)
		w.mayStore = true
		handle, cookie := w.begin(az())
		w.Store.Fail(func(oauthtest.StoreCall) oauthtest.Fault { return oauthtest.FailAfter })
		w.re(w.approved(handle, cookie, approveAs("alice")), oauth.TemporarilyUnavailable)
		w.Store.Fail(nil)
		code := w.code(w.approved(handle, cookie, approveAs("alice")), backP+"?").Get("code")
		assert.Equal(t, http.StatusOK, w.redeem(caseP, code, backP).Status)
		all, err := w.Authorizations(t.Context(), "alice")
		require.NoError(t, err)
		assert.Len(t, all, 1)
	})
	t.Run("design 3 the read of a second approval fails: 503", func(t *testing.T) {
		w := watch(t)
		w.mayStore = true
		handle, cookie := w.begin(az())
		w.code(w.approved(handle, cookie, approveAs("alice")), backP+"?")
		w.Store.Reset()
		w.Store.Fail(func(c oauthtest.StoreCall) oauthtest.Fault {
			if c.Method == "Get" && c.N > 2 {
				return oauthtest.FailBefore
			}
			return oauthtest.NoFault
		})
		a, err := w.atHostOf(w.Server.Server, hostPage(handle, cookie), approveAs("alice"), 503)
		require.NoError(t, err)
		w.page(a, http.StatusServiceUnavailable, "")
	})
	t.Run("design 3 a user who hung up before the commit has approved nothing", func(t *testing.T) {
		w := watch(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w.re(w.exchange(w.Handler, w.request(az()).WithContext(ctx), 0), oauth.TemporarilyUnavailable)
		assert.Empty(t, w.Store.Calls())
	})
}
