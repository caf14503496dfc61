package oauth

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/grantwell/oauth/internal/form"
	"github.com/grantwell/oauth/resource"
)

// A ClaimsRequest is what [Config].Claims and [JWT].Claims are asked for.
type ClaimsRequest struct {
	Subject  string // "" where the client acts for itself
	ClientID string
	Scopes   []string
	Audience []string          // of the access token
	Extra    map[string]string // of the approval
	// Names are the claims that the scopes give. More may be returned; they are left out.
	// nil for JWT.Claims: there everything counts.
	Names []string
}

// serveUserInfo answers with the claims that the token's scopes give (OpenID
// Connect Core, section 5.3). The token comes in the Authorization header alone.
func (s *Server) serveUserInfo(w http.ResponseWriter, r *http.Request) *refusal {
	api := s.API()
	var no *refusal
	api.Error = func(_ http.ResponseWriter, _ *http.Request, e *Error) { no = &refusal{Error: e} }
	api.Guards, api.Logger = nil, nil // the refusal is told of once, by this endpoint
	for _, g := range s.cfg.Guards {
		api.Guards = append(api.Guards, func(ctx context.Context, c *Call) error {
			c.Endpoint = nameUserInfo
			return g(ctx, c)
		})
	}
	api.Require()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		no = s.writeClaims(w, r)
	})).ServeHTTP(w, r)
	return no
}

func (s *Server) writeClaims(w http.ResponseWriter, r *http.Request) *refusal {
	t, _ := resource.FromContext(r.Context())
	event := Event{ClientID: t.ClientID, Subject: t.Subject, Authorization: t.AuthorizationID}
	if r.Method == http.MethodPost {
		body, err := form.Decoder{Form: true}.Read(r)
		if err != nil {
			return &refusal{Error: fromForm(err), event: event}
		}
		if body.Has("access_token") || body.ErrOf("access_token") != nil {
			// RFC 6750, section 2: not more than one method in each request.
			return &refusal{Error: refuse(InvalidRequest, "The token is in the body too"), event: event}
		}
	}
	if t.Subject == "" {
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
		return &refusal{Error: refuse(resource.InsufficientScope, "The token belongs to no user"), event: event}
	}
	claims, err := s.claims(r.Context(), t)
	if err != nil {
		return &refusal{Error: asError(err), event: event}
	}
	return s.writeFields(w, &claims)
}

// claims are those of the subject that the scopes of the token give.
func (s *Server) claims(ctx context.Context, t *Token) (Fields, error) {
	names := s.scopes.claims(t)
	var all Fields
	if s.cfg.Claims != nil {
		var err error
		all, err = s.cfg.Claims(ctx, ClaimsRequest{Subject: t.Subject, ClientID: t.ClientID,
			Scopes: slices.Clone(t.Scopes), Audience: slices.Clone(t.Audience), Extra: maps.Clone(t.Extra), Names: slices.Clone(names)})
		if err != nil {
			return Fields{}, err
		}
	}
	allowed := Fields{}
	allowed.Set("sub", t.Subject) // whatever the hook says
	for _, f := range all.list {
		if slices.Contains(names, f.name) && f.name != "sub" {
			allowed.put(f)
		}
	}
	return allowed, nil
}

// claims are the names that the token's scopes list, in the order of the table.
func (t *scopes) claims(token *Token) []string {
	var names []string
	for _, row := range t.rows {
		if !token.Has(row.Name) {
			continue
		}
		for _, c := range row.Claims {
			if !slices.Contains(names, c) {
				names = append(names, c)
			}
		}
	}
	return names
}
