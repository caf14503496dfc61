package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
)

// A Client is an application that may ask for tokens (RFC 6749, section 2). A
// registry hands out pointers that nobody changes afterwards.
type Client struct {
	// ID is the client_id, up to 2048 bytes.
	ID string
	// Name is what the resource owner is shown; zero: the ID.
	Name string
	// Public says that the client cannot keep a secret (RFC 6749, section 2.1): a
	// native or browser application. It has no Secrets and proves itself by PKCE.
	// Zero: confidential; without Secrets such a client cannot authenticate at all.
	Public bool
	// Secrets are hashes of the client's secrets as [HashSecret] makes them, or
	// bcrypt ($2b$…) or argon2id ($argon2id$…) hashes. Each of them is accepted, so
	// that a secret can be changed while the old one is in use.
	Secrets []string `json:"-"`
	// JWKS are the client's public keys, as a JWK Set (RFC 7517): it authenticates with
	// assertions signed by one of them, private_key_jwt (RFC 7523), each with iss, sub,
	// aud, exp, iat and jti. Zero: none.
	JWKS json.RawMessage `json:"-"`
	// JWKSURI is where the client publishes such keys: https, at a public address
	// unless [Config].Transport says otherwise. They are kept for a while, and asked
	// for again when an assertion names one that is new. Zero: none.
	JWKSURI string
	// InsecureSharedKey signs the assertions of client_secret_jwt, with HS256: at least
	// 32 bytes, which both sides keep in the clear. Zero: none.
	InsecureSharedKey []byte `json:"-"`
	// RedirectURIs are compared byte by byte, the port of http://127.0.0.1 and
	// http://[::1] excepted (RFC 8252, section 7.3).
	RedirectURIs []string
	// LocalhostPort lets http://localhost have any port too. The name can be made
	// to point elsewhere, so the literal addresses are better (RFC 8252, section 8.3).
	LocalhostPort bool
	// Grants are the grant types that the client may use. Zero:
	// authorization_code and refresh_token.
	Grants []string
	// Scopes are those that the client may ask for. Zero: none.
	Scopes []string
	// Introspect lets the client introspect tokens that were issued to others: it
	// is a resource server (RFC 7662). Zero: only its own.
	Introspect bool
	// Resources are those of [Config].Resources that this resource server is: of the
	// tokens of others, Introspect shows it those for one of them (RFC 7662, section 4).
	// nil: those for the authorization server itself, as all are where
	// Config.Resources is empty.
	Resources []string
	// Disabled refuses the client and every token that was issued to it.
	Disabled bool
	// Data is the host's own: hooks find it here.
	Data any `json:"-"`
}

// String names the client and leaves its secrets out, and so do GoString and
// LogValue.
func (c Client) String() string { return fmt.Sprintf("oauth.Client(%q)", c.ID) }

// GoString is String, for the format %#v.
func (c Client) GoString() string { return c.String() }

// LogValue implements [slog.LogValuer].
func (c Client) LogValue() slog.Value { return slog.StringValue(c.ID) }

// DisplayName is Name, or where that is empty the ID.
func (c *Client) DisplayName() string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID
}

// May reports whether the client may use this grant type.
func (c *Client) May(grantType string) bool {
	if c.Grants == nil {
		return grantType == authorizationCode || grantType == refreshToken
	}
	return slices.Contains(c.Grants, grantType)
}

// The grant types that are there when a Client names none.
const (
	authorizationCode = "authorization_code"
	refreshToken      = "refresh_token"
)

// A ClientRegistry knows the clients. It is asked on every request, the check
// of an access token included, so that ending a client ends its tokens.
type ClientRegistry interface {
	// Client returns the client with exactly this ID. ErrNotFound (it may be
	// wrapped) if there is none; any other error is a failure, answered with 503.
	Client(ctx context.Context, id string) (*Client, error)
}

// StaticClients is a registry of clients that are known at the start. [New]
// checks each of them.
func StaticClients(clients ...Client) ClientRegistry {
	r := &staticClients{all: slices.Clone(clients), byID: make(map[string]*Client, len(clients))}
	for i := range r.all {
		c := &r.all[i]
		c.Secrets, c.RedirectURIs = slices.Clone(c.Secrets), slices.Clone(c.RedirectURIs)
		c.JWKS, c.InsecureSharedKey = slices.Clone(c.JWKS), slices.Clone(c.InsecureSharedKey)
		c.Grants, c.Scopes, c.Resources = slices.Clone(c.Grants), slices.Clone(c.Scopes), slices.Clone(c.Resources)
		r.byID[c.ID] = c
	}
	return r
}

type staticClients struct {
	all  []Client
	byID map[string]*Client
}

func (r *staticClients) Client(_ context.Context, id string) (*Client, error) {
	if c := r.byID[id]; c != nil {
		return c, nil
	}
	return nil, ErrNotFound
}

const maxClientID = 2048 // bytes, as Record.ClientID

// client asks the registry. A client that is disabled is as unknown as one that
// never was; both are nil, without an error.
func (s *Server) client(ctx context.Context, id string) (*Client, *Error) {
	if id == "" || len(id) > maxClientID {
		return nil, nil
	}
	c, err := s.cfg.Clients.Client(ctx, id)
	switch {
	case isNotFound(err):
		return nil, nil
	case err != nil:
		return nil, unavailable(fmt.Errorf("client registry: %w", err))
	case c == nil || c.ID != id || c.Disabled: // a registry that folds case must not make two names of one client
		return nil, nil
	}
	return c, nil
}
