package grants

import (
	"context"

	"github.com/grantwell/oauth"
)

// AuthorizationCode is the grant of RFC 6749, section 4.1, with PKCE (RFC 7636).
type AuthorizationCode struct {
	// PKCE says who must send a code_challenge. Zero: [PKCERequired].
	PKCE PKCE
}

// PKCE says who must send a code_challenge. The method is always S256.
type PKCE int

// Who must send a code_challenge. Where one was sent, its verifier is always
// required, and where none was sent, a verifier is refused.
const (
	PKCERequired PKCE = iota // every client
	PKCEOptional             // public clients alone; for confidential clients that know nothing of it
)

// GrantType is "authorization_code".
func (AuthorizationCode) GrantType() string { return "authorization_code" }

// ResponseType is "code".
func (AuthorizationCode) ResponseType() string { return "code" }

// Authorize checks the code_challenge and asks for a code.
func (g AuthorizationCode) Authorize(_ context.Context, r *oauth.AuthorizeRequest) (*oauth.Issue, error) {
	challenge, err := r.CodeChallenge(g.PKCE == PKCEOptional)
	if err != nil {
		return nil, err
	}
	return &oauth.Issue{Code: true, CodeChallenge: challenge}, nil
}

// Token redeems a code (RFC 6749, section 4.1.3).
func (AuthorizationCode) Token(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
	if _, err := r.Open(ctx, "code"); err != nil {
		return nil, err
	}
	return &oauth.Issue{RefreshToken: true}, nil
}
