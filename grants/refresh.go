package grants

import (
	"context"

	"github.com/grantwell/oauth"
)

// RefreshToken is the grant of RFC 6749, section 6. Whether tokens rotate, and
// for how long a retry is answered, is [oauth.Policy].
type RefreshToken struct{}

// GrantType is "refresh_token".
func (RefreshToken) GrantType() string { return "refresh_token" }

// Token exchanges a refresh token. The scope may be narrowed for the access
// token; the next refresh has all that was approved again.
func (RefreshToken) Token(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
	a, err := r.Open(ctx, "refresh_token")
	if err != nil {
		return nil, err
	}
	scopes, err := r.NarrowedScopes(a.Scopes)
	if err != nil {
		return nil, err
	}
	return &oauth.Issue{Scopes: scopes, RefreshToken: true}, nil
}
