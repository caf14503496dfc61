package adopt

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/ory/fosite"
)

// Split is a revocation or introspection endpoint of both servers: what asks about
// a token with this prefix ("ory_" for all of fosite's) goes to old, the rest to new.
func Split(prefix string, old, new http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const most = 1 << 20
		body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
		if err != nil || len(body) > most {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, err := url.ParseQuery(string(body))
		if err == nil && strings.HasPrefix(form.Get("token"), prefix) {
			old.ServeHTTP(w, r)
			return
		}
		new.ServeHTTP(w, r) // which also knows what to say of a malformed request
	})
}

// RevokeHandler is the old server's revocation endpoint (RFC 7009). A refresh
// token that was adopted meanwhile takes with it what it was adopted as.
func (t *Tokens) RevokeHandler(old fosite.OAuth2Provider) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := old.NewRevocationRequest(r.Context(), r)
		if err == nil {
			if err := t.revoked(r); err != nil {
				w.Header().Set("Retry-After", "2") // RFC 7009, section 2.2.1
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
		}
		old.WriteRevocationResponse(r.Context(), w, err)
	})
}

// revoked ends what was adopted of the token in a request that the old server has
// carried out. Its client is authenticated, but that the token is the client's
// fosite does not check where the token was used before.
func (t *Tokens) revoked(r *http.Request) error {
	signature, ok := t.signature(r.Context(), r.PostForm.Get("token"))
	if !ok {
		return nil
	}
	req, err := t.Store.GetRefreshTokenSession(r.Context(), signature, t.Session())
	switch {
	case errors.Is(err, fosite.ErrNotFound):
		return nil
	case err != nil && !errors.Is(err, fosite.ErrInactiveToken):
		return err
	case req == nil || req.GetClient().GetID() != clientID(r):
		return nil
	}
	return t.End(r.Context(), family(req))
}

// clientID is the client that a request authenticates as, found as fosite finds
// it; "" where it came with a client_assertion.
func clientID(r *http.Request) string {
	if r.PostForm.Has("client_assertion") {
		return ""
	}
	if name, _, ok := r.BasicAuth(); ok {
		id, _ := url.QueryUnescape(name)
		return id
	}
	return r.PostForm.Get("client_id")
}
