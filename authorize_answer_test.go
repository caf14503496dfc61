//lint:file-ignore SA1019 the implicit grant is served, so it is tested

package oauth_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/internal/derive"
)

// What a guard has to say is the host's, and may repeat what the request said.
func TestAuthorizePageIsText(t *testing.T) {
	w := watch(t, func(c *oauth.Config) {
		c.Guards = []oauth.Guard{func(context.Context, *oauth.Call) error {
			return &oauth.Error{Code: oauth.AccessDenied, Status: http.StatusForbidden, Description: "<img src=x onerror=alert(1)>&amp;"}
		}}
	})
	a := w.get(az())
	assert.Equal(t, http.StatusForbidden, a.Status)
	assert.Contains(t, string(a.Body), "&lt;img src=x onerror=alert(1)&gt;&amp;amp;.")
	assert.NotContains(t, string(a.Body), "<img")
}

// leaky would send an access token where codes go.
type leaky struct{}

func (leaky) GrantType() string    { return "leaky" }
func (leaky) ResponseType() string { return "code" }

func (leaky) Authorize(context.Context, *oauth.AuthorizeRequest) (*oauth.Issue, error) {
	return &oauth.Issue{AccessToken: true}, nil
}

func TestAuthorizeTokenInTheQuery(t *testing.T) {
	w := watch(t, func(c *oauth.Config) {
		c.Grants = []oauth.Grant{leaky{}}
		c.Clients = oauth.StaticClients(oauth.Client{ID: caseP, Public: true, Scopes: []string{"read"}, RedirectURIs: []string{backP}, Grants: []string{"leaky"}})
	})
	got := w.reTo(w.get(az()), oauth.ServerError, backP+"?", "xyz")
	assert.Empty(t, got.Get("access_token"))
}

func TestAuthorizeTokenEndsInTime(t *testing.T) {
	w := watch(t, mayImplicit, withPolicy(oauth.Policy{Access: 2 * time.Hour, RefreshAbsolute: time.Hour}),
		func(c *oauth.Config) { c.Grants = append(c.Grants, grants.Implicit{}) })
	a := w.get(az("response_type=token", "-code_challenge", "-code_challenge_method"))
	assert.Contains(t, a.Header.Get("Location"), "&expires_in=3600&", "its authorization ends then")
}

// A handle of a format that is not known, by somebody who has the secrets: another version
// of this library.
func TestHandleOfAnotherFormat(t *testing.T) {
	w := watch(t)
	handle, cookie := w.begin(az())
	sealed, ok := derive.Decode("", false, handle)
	require.True(t, ok)
	ring := newThief(t, w.Config).ring
	b, err := ring.Open(nil, derive.Handle, sealed)
	require.NoError(t, err)
	for format, want := range map[byte]error{b[0]: nil, b[0] + 1: oauth.ErrNoInteraction} {
		b[0] = format
		again := derive.Encode("", false, ring.Seal(nil, derive.Handle, b))
		_, err = w.Server.Interaction(hostPage(again, cookie))
		require.ErrorIs(t, err, want)
	}
}
