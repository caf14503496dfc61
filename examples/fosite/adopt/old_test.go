package adopt_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"
	"github.com/ory/fosite/token/jwt"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/grantwell/oauth/oauthtest"
)

// The clients of the old server. The confidential ones have oauthtest.Secret.
const (
	web     = "web"
	cli     = "cli" // public
	other   = "other"
	rotated = "rotated" // its secret was rotated: "the-new-secret" is the other
)

const audience = "https://api.example/"

// A session is what hosts put into fosite: OpenID's, with claims of their own.
type session struct {
	*openid.DefaultSession `json:"id_token"`
	Claims                 map[string]any `json:"extra"`
}

func newSession() fosite.Session {
	return &session{DefaultSession: openid.NewDefaultSession(), Claims: map[string]any{}}
}

func (s *session) GetExtraClaims() map[string]any { return s.Claims }

func (s *session) Clone() fosite.Session {
	return &session{s.DefaultSession.Clone().(*openid.DefaultSession), maps.Clone(s.Claims)}
}

// hashes are those of oauthtest.Secret and of "the-new-secret".
var hashes = sync.OnceValues(func() ([2][]byte, error) {
	first, err := bcrypt.GenerateFromPassword([]byte(oauthtest.Secret), bcrypt.MinCost)
	second, err2 := bcrypt.GenerateFromPassword([]byte("the-new-secret"), bcrypt.MinCost)
	return [2][]byte{first, second}, errors.Join(err, err2)
})

// An old server is a real one of fosite, as its users write it.
type old struct {
	http.Handler
	t        testing.TB
	config   *fosite.Config
	store    *storage.MemoryStore
	provider fosite.OAuth2Provider
	loginAt  time.Time
}

func newOld(t testing.TB) *old {
	t.Helper()
	hashed, err := hashes()
	require.NoError(t, err)
	client := func(id string) *fosite.DefaultClient {
		return &fosite.DefaultClient{
			ID: id, Secret: hashed[0], RedirectURIs: []string{oauthtest.Callback},
			GrantTypes: []string{"authorization_code", "refresh_token", "password", "implicit"}, ResponseTypes: []string{"code"},
			Scopes: []string{"offline", "photos", "albums"}, Audience: []string{audience},
		}
	}
	o := &old{t: t, store: storage.NewMemoryStore(), loginAt: time.Now().Add(-time.Hour).Truncate(time.Second)}
	for _, id := range []string{web, cli, other, rotated} {
		o.store.Clients[id] = client(id)
	}
	public := client(cli)
	public.Public, public.Secret = true, nil
	o.store.Clients[cli] = public
	with := client(rotated)
	with.RotatedSecrets = [][]byte{hashed[1]}
	o.store.Clients[rotated] = with
	o.store.Users["peter"] = storage.MemoryUserRelation{Username: "peter", Password: "pan"}

	o.config = &fosite.Config{
		GlobalSecret: []byte("the global secret of the old one"), RefreshTokenLifespan: 30 * 24 * time.Hour,
		EnforcePKCEForPublicClients: true, SendDebugMessagesToClients: true,
	}
	o.provider = compose.Compose(o.config, o.store, compose.NewOAuth2HMACStrategy(o.config),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2PKCEFactory,
		compose.OAuth2TokenIntrospectionFactory, compose.OAuth2TokenRevocationFactory,
		//lint:ignore SA1019 old servers have it, and refresh tokens that came of it
		compose.OAuth2ResourceOwnerPasswordCredentialsFactory)
	mux := http.NewServeMux()
	mux.HandleFunc("/oauth2/auth", o.authorize)
	mux.HandleFunc("/oauth2/token", o.token)
	mux.HandleFunc("/oauth2/introspect", o.introspect)
	mux.HandleFunc("/oauth2/revoke", func(w http.ResponseWriter, r *http.Request) {
		o.provider.WriteRevocationResponse(r.Context(), w, o.provider.NewRevocationRequest(r.Context(), r))
	})
	o.Handler = mux
	return o
}

// authorize approves everything as alice.
func (o *old) authorize(w http.ResponseWriter, r *http.Request) {
	ar, err := o.provider.NewAuthorizeRequest(r.Context(), r)
	if err != nil {
		o.provider.WriteAuthorizeError(r.Context(), w, ar, err)
		return
	}
	for _, s := range ar.GetRequestedScopes() {
		ar.GrantScope(s)
	}
	for _, a := range ar.GetRequestedAudience() {
		ar.GrantAudience(a)
	}
	s := newSession().(*session)
	s.Subject, s.Username = "alice", "alice@example.com"
	s.DefaultSession.Claims = &jwt.IDTokenClaims{
		Subject: "alice", AuthTime: o.loginAt,
		AuthenticationContextClassReference: "silver", AuthenticationMethodsReferences: []string{"pwd", "otp"},
	}
	s.Claims["tenant"], s.Claims["seats"], s.Claims["private"] = "t-17", 3, "stays there"
	response, err := o.provider.NewAuthorizeResponse(r.Context(), ar, s)
	if err != nil {
		o.provider.WriteAuthorizeError(r.Context(), w, ar, err)
		return
	}
	o.provider.WriteAuthorizeResponse(r.Context(), w, ar, response)
}

func (o *old) token(w http.ResponseWriter, r *http.Request) {
	ar, err := o.provider.NewAccessRequest(r.Context(), r, newSession())
	if err != nil {
		o.provider.WriteAccessError(r.Context(), w, ar, err)
		return
	}
	if ar.GetGrantTypes().ExactOne("password") {
		for _, s := range ar.GetRequestedScopes() {
			ar.GrantScope(s)
		}
	}
	response, err := o.provider.NewAccessResponse(r.Context(), ar)
	if err != nil {
		o.provider.WriteAccessError(r.Context(), w, ar, err)
		return
	}
	o.provider.WriteAccessResponse(r.Context(), w, ar, response)
}

func (o *old) introspect(w http.ResponseWriter, r *http.Request) {
	response, err := o.provider.NewIntrospectionRequest(r.Context(), r, newSession())
	if err != nil {
		o.provider.WriteIntrospectionError(r.Context(), w, err)
		return
	}
	o.provider.WriteIntrospectionResponse(r.Context(), w, response)
}

// A pair is what the old server answered.
type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
}

// post sends a form to the old server.
func (o *old) post(client string, form url.Values) (int, pair) {
	o.t.Helper()
	if client == cli {
		form.Set("client_id", cli)
	}
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != cli {
		r.SetBasicAuth(client, url.QueryEscape(oauthtest.Secret))
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r)
	var p pair
	require.NoError(o.t, json.Unmarshal(w.Body.Bytes(), &p), w.Body.String())
	return w.Code, p
}

// login is a whole code flow at the old server.
func (o *old) login(client string) pair {
	o.t.Helper()
	const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636, appendix B
	q := url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {oauthtest.Callback}, "state": {"state-of-8-or-more"},
		"scope": {"offline photos albums"}, "audience": {audience}, "code_challenge_method": {"S256"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"},
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/oauth2/auth?"+q.Encode(), nil))
	to, err := w.Result().Location()
	require.NoError(o.t, err, w.Body.String())
	require.NotEmpty(o.t, to.Query().Get("code"), to.String())
	status, p := o.post(client, url.Values{
		"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")},
		"redirect_uri": {oauthtest.Callback}, "code_verifier": {verifier},
	})
	require.Equal(o.t, http.StatusOK, status, p.Error)
	require.True(o.t, strings.HasPrefix(p.Refresh, "ory_rt_"), p.Refresh)
	return p
}

// refresh rotates a token at the old server.
func (o *old) refresh(client, token string) (int, pair) {
	o.t.Helper()
	return o.post(client, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// rows keeps sessions as SQL stores do: columns, and the session as JSON.
type rows struct {
	*old
	table map[string]row
}

type row struct {
	requestID, clientID string
	requestedAt         time.Time
	scopes, audience    []string
	session             []byte
	active              bool
}

// rowsOf reads everything out of the memory store.
func rowsOf(t testing.TB, o *old) *rows {
	t.Helper()
	r := &rows{o, map[string]row{}}
	for signature, kept := range o.store.RefreshTokens {
		data, err := json.Marshal(kept.GetSession())
		require.NoError(t, err)
		_, err = o.store.GetRefreshTokenSession(t.Context(), signature, nil)
		r.table[signature] = row{
			kept.GetID(), kept.GetClient().GetID(), kept.GetRequestedAt(),
			kept.GetGrantedScopes(), kept.GetGrantedAudience(), data, !errors.Is(err, fosite.ErrInactiveToken),
		}
	}
	return r
}

var _ interface {
	GetRefreshTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error)
} = oauth2.RefreshTokenStorage(nil)

func (r *rows) GetRefreshTokenSession(ctx context.Context, signature string, into fosite.Session) (fosite.Requester, error) {
	found, ok := r.table[signature]
	if !ok {
		return nil, fosite.ErrNotFound
	}
	if err := json.Unmarshal(found.session, into); err != nil {
		return nil, err
	}
	client, err := r.store.GetClient(ctx, found.clientID)
	if err != nil {
		return nil, err
	}
	req := &fosite.Request{
		ID: found.requestID, RequestedAt: found.requestedAt, Client: client, Session: into,
		GrantedScope: found.scopes, GrantedAudience: found.audience,
	}
	if !found.active {
		return req, fosite.ErrInactiveToken
	}
	return req, nil
}
