package adopt

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/token/hmac"

	"github.com/grantwell/oauth"
)

// Prefix begins the refresh tokens that compose.NewOAuth2HMACStrategy makes.
const Prefix = "ory_rt_"

// A Store is what is asked of the old server's store. It is read and never written.
type Store interface {
	// GetRefreshTokenSession is the method of fosite's oauth2.RefreshTokenStorage.
	GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error)
}

// Tokens are the refresh tokens of a server that was built with fosite.
type Tokens struct {
	// Store is the old server's. Required.
	Store Store
	// Keys are the old server's GlobalSecret and, if it has any, its
	// RotatedGlobalSecrets and HMACHasher: its whole Config will do. Required.
	Keys *fosite.Config
	// Session makes what the old server passed to NewAccessRequest: an empty
	// session of its type, for the store to fill. Required.
	Session func() fosite.Session
	// Prefix of the tokens: the constant Prefix, or "" where the old server uses
	// NewHMACSHAStrategyUnPrefixed.
	Prefix string
	// Extra are the keys of the session's extra claims that go into
	// [oauth.Approval].Extra, at most 4 KiB in all. Zero: none.
	Extra []string
	// MaxAge is [oauth.Policy].RefreshAbsolute, the least of all clients. An older
	// token is refused: if it was adopted long ago, nobody may remember. Required.
	MaxAge time.Duration
	// End ends what was adopted of these tokens: a function that calls
	// [oauth.Server.Revoke]. Required.
	End func(context.Context, oauth.Selector) error
	// Now is the clock. Zero: time.Now.
	Now func() time.Time
}

// Import is a function for [oauth.Config].Import. A token that is not the old
// server's costs no question to its store. One that the old server has rotated
// out, when its own client sends it, ends what was adopted of its successors.
func (t *Tokens) Import(ctx context.Context, c *oauth.Client, token string) (*oauth.Approval, error) {
	signature, ok := t.signature(ctx, token)
	if !ok {
		return nil, refused("not made by the old server")
	}
	req, err := t.Store.GetRefreshTokenSession(ctx, signature, t.Session())
	inactive := errors.Is(err, fosite.ErrInactiveToken)
	switch {
	case errors.Is(err, fosite.ErrNotFound):
		return nil, refused("not in the old store")
	case err != nil && !inactive:
		return nil, fmt.Errorf("the old store: %w", err)
	case req == nil: // some stores return nothing with ErrInactiveToken
		return nil, refused("used before at the old server")
	case req.GetClient().GetID() != c.ID:
		return nil, refused("issued to another client")
	case inactive:
		if err := t.End(ctx, family(req)); err != nil {
			return nil, err
		}
		return nil, refused("used before at the old server")
	}
	return t.approval(c, req)
}

func refused(why string) error {
	return &oauth.Error{Code: oauth.InvalidGrant, Cause: errors.New(why)}
}

// signature checks a token without the store. Only the spelling that was issued
// counts: base64 leaves spare bits and skips line ends, so that fosite takes
// several texts for one token, and each of them would be adopted by itself.
func (t *Tokens) signature(ctx context.Context, token string) (string, bool) {
	plain, ok := strings.CutPrefix(token, t.Prefix)
	key, signature, found := strings.Cut(plain, ".")
	if !ok || !found || !canonical(key) || !canonical(signature) {
		return "", false
	}
	mac := hmac.HMACStrategy{Config: t.Keys}
	return signature, mac.Validate(ctx, plain) == nil
}

func canonical(text string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && base64.RawURLEncoding.EncodeToString(raw) == text
}

// family names what was adopted of a request of the old server: its id stays the
// same from the first token to the last.
func family(req fosite.Requester) oauth.Selector {
	return oauth.Selector{Subject: req.GetSession().GetSubject(), ClientID: req.GetClient().GetID(), Session: "fosite:" + req.GetID()}
}

// approval is what the old server's user approved.
func (t *Tokens) approval(c *oauth.Client, req fosite.Requester) (*oauth.Approval, error) {
	now := time.Now
	if t.Now != nil {
		now = t.Now
	}
	session := req.GetSession().Clone() // a memory store shares it, and its getters write
	end := session.GetExpiresAt(fosite.RefreshToken)
	of := family(req)
	switch {
	case !end.IsZero() && !now().Before(end):
		return nil, refused("expired at the old server")
	case !now().Before(req.GetRequestedAt().Add(t.MaxAge)):
		return nil, refused("older than an authorization may become")
	case of.Subject == "":
		return nil, refused("without a subject")
	}
	ap := &oauth.Approval{Subject: of.Subject, Session: of.Session, Resources: slices.Clone(req.GetGrantedAudience())}
	for _, scope := range req.GetGrantedScopes() {
		if slices.Contains(c.Scopes, scope) { // what the client may no longer have would refuse the whole token
			ap.Scopes = append(ap.Scopes, scope)
		}
	}
	if len(ap.Scopes) == 0 && len(req.GetGrantedScopes()) > 0 {
		return nil, refused("the client may have none of its scopes any more")
	}
	if s, ok := session.(openid.Session); ok {
		claims := s.IDTokenClaims()
		ap.AuthTime, ap.ACR, ap.AMR = claims.AuthTime, claims.AuthenticationContextClassReference, claims.AuthenticationMethodsReferences
	}
	return ap, t.carry(ap, session)
}

// carry copies the extra claims that were asked for: texts as they are, anything
// else as JSON.
func (t *Tokens) carry(ap *oauth.Approval, session fosite.Session) error {
	s, ok := session.(fosite.ExtraClaimsSession)
	if !ok {
		return nil
	}
	for _, key := range t.Extra {
		value, ok := s.GetExtraClaims()[key]
		if !ok {
			continue
		}
		text, ok := value.(string)
		if !ok {
			b, err := json.Marshal(value)
			if err != nil {
				return fmt.Errorf("extra claim %q: %w", key, err)
			}
			text = string(b)
		}
		if ap.Extra == nil {
			ap.Extra = map[string]string{}
		}
		ap.Extra[key] = text
	}
	return nil
}
