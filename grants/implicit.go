package grants

import (
	"context"
	"strings"

	"github.com/grantwell/oauth"
)

// Implicit is the grant of RFC 6749, section 4.2: the access token comes in the
// fragment of the redirect. There is never a refresh token.
//
// Deprecated: RFC 9700, section 2.1.2, advises against it: use
// [AuthorizationCode], also for clients in a browser. It is here for hosts that
// have such clients already.
type Implicit struct{}

// GrantType is "implicit".
func (Implicit) GrantType() string { return "implicit" }

// ResponseType is "token".
func (Implicit) ResponseType() string { return "token" }

// Authorize asks for an access token. It goes to https alone.
func (Implicit) Authorize(_ context.Context, r *oauth.AuthorizeRequest) (*oauth.Issue, error) {
	if !strings.HasPrefix(r.RedirectURI, "https://") { // OpenID Connect Core, section 3.2.2.1
		return nil, &oauth.Error{Code: oauth.UnauthorizedClient, Description: "The redirect URI is not https"}
	}
	return &oauth.Issue{AccessToken: true}, nil
}
