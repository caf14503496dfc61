package grants

import (
	"context"

	"github.com/grantwell/oauth"
)

// ClientCredentials is the grant of RFC 6749, section 4.4: a confidential client
// acts for itself. Nothing is stored and there is no refresh token.
type ClientCredentials struct{}

// GrantType is "client_credentials".
func (ClientCredentials) GrantType() string { return "client_credentials" }

// Token issues to the client itself.
func (ClientCredentials) Token(_ context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
	if r.Client.Public { // RFC 6749, section 4.4: MUST only be used by confidential clients
		return nil, oauth.UnauthorizedClient
	}
	scopes, err := r.RequestedScopes()
	if err != nil {
		return nil, err
	}
	return &oauth.Issue{Scopes: scopes}, nil
}
