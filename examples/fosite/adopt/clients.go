package adopt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"github.com/grantwell/oauth"
)

// Client is a client of the old server as one of the new. The bcrypt hashes of
// its secret, and of rotated ones, stay as they are. Of its grants only those
// that the new server serves are kept; what else is wrong, [oauth.New] says.
func Client(old fosite.Client, served []oauth.Grant) (oauth.Client, error) {
	c := oauth.Client{
		ID: old.GetID(), Public: old.IsPublic(), RedirectURIs: slices.Clone(old.GetRedirectURIs()),
		Scopes: slices.Clone(old.GetScopes()), Grants: []string{},
	}
	for _, g := range served {
		if old.GetGrantTypes().Has(g.GrantType()) {
			c.Grants = append(c.Grants, g.GrantType())
		}
	}
	for _, s := range c.Scopes {
		if strings.Contains(s, "*") { // of fosite.WildcardScopeStrategy
			return c, fmt.Errorf("client %q: the scope %q is a pattern: list what it stands for", c.ID, s)
		}
	}
	if c.Public {
		return c, nil
	}
	hashes := [][]byte{old.GetHashedSecret()}
	if rotated, ok := old.(fosite.ClientWithSecretRotation); ok {
		hashes = append(hashes, rotated.GetRotatedHashes()...)
	}
	for _, h := range hashes {
		if len(h) > 0 {
			c.Secrets = append(c.Secrets, string(h))
		}
	}
	return c, nil
}
