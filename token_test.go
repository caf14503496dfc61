package oauth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/oauthtest"
)

// A wire is a server under test. Every answer of it is held against what all
// cases demand silently: headers, the members of an error, no 5xx that was not
// announced, and at the end no credential in the log or in an event.
type wire struct {
	*oauthtest.Server
	t    *testing.T
	log  *lockedBuffer
	may5 atomic.Bool // a 5xx is what the test provokes

	mu          sync.Mutex
	credentials map[string]bool // every one that went over the wire
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const formType = "application/x-www-form-urlencoded"

// The clients beside those of oauthtest.
const (
	otherWeb = "web2" // confidential, with oauthtest.Secret
	otherSPA = "spa2" // public
)

// wireClients are the clients of oauthtest, and another one of each type.
func wireClients() []oauth.Client {
	hash, scopes := []string{oauth.HashSecret(oauthtest.Secret)}, []string{"read", "write"}
	callback := []string{oauthtest.Callback}
	return []oauth.Client{
		{ID: oauthtest.WebClient, Secrets: hash, RedirectURIs: callback, Scopes: scopes},
		{ID: otherWeb, Secrets: hash, RedirectURIs: callback, Scopes: scopes},
		{ID: oauthtest.SPAClient, Public: true, RedirectURIs: callback, Scopes: scopes},
		{ID: otherSPA, Public: true, RedirectURIs: callback, Scopes: scopes},
		{ID: oauthtest.MachineClient, Secrets: hash, Grants: []string{"client_credentials"}, Scopes: scopes},
		{ID: oauthtest.APIClient, Secrets: hash, Grants: []string{}, Introspect: true},
	}
}

// withClients adds clients to those of the wire; one with an ID that is there
// replaces it.
func withClients(more ...oauth.Client) func(*oauth.Config) {
	all := slices.DeleteFunc(wireClients(), func(c oauth.Client) bool {
		return slices.ContainsFunc(more, func(m oauth.Client) bool { return m.ID == c.ID })
	})
	return func(c *oauth.Config) { c.Clients = oauth.StaticClients(append(all, more...)...) }
}

// withPolicy is the same policy for everybody.
func withPolicy(p oauth.Policy) func(*oauth.Config) {
	return func(c *oauth.Config) {
		c.Policy = func(context.Context, oauth.PolicyRequest) oauth.Policy { return p }
	}
}

func newWire(t *testing.T, edits ...func(*oauth.Config)) *wire {
	t.Helper()
	w := &wire{t: t, log: new(lockedBuffer), credentials: map[string]bool{oauthtest.Secret: true}}
	base := []func(*oauth.Config){withClients(), func(c *oauth.Config) {
		c.Logger = slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}}
	w.Server = newServer(t, append(base, edits...)...)
	w.Handler = w.watch(w.Handler)
	t.Cleanup(w.noCredentialTold)
	return w
}

// watch is the handler that checks each exchange.
func (w *wire) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.noteRequest(r)
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		w.noteAnswer(rec)
		w.conditions(r, rec)
		for name, values := range rec.Result().Header {
			rw.Header()[name] = values
		}
		rw.WriteHeader(rec.Code)
		rw.Write(rec.Body.Bytes())
	})
}

func (w *wire) note(credential string) {
	if len(credential) < 12 || strings.HasPrefix(credential, "a_") { // words of the test, and IDs of records
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.credentials[credential] = true
}

func (w *wire) noteRequest(r *http.Request) {
	for _, h := range r.Header.Values("Authorization") {
		_, text, _ := strings.Cut(h, " ")
		w.note(text)
		if pair, err := base64.StdEncoding.DecodeString(text); err == nil {
			_, secret, _ := strings.Cut(string(pair), ":")
			w.note(secret)
		}
	}
	if r.Body == nil || r.Header.Get("Content-Type") != formType {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	for _, name := range []string{"code", "refresh_token", "client_secret", "code_verifier", "token"} {
		for _, v := range form[name] {
			w.note(v)
		}
	}
}

func (w *wire) noteAnswer(rec *httptest.ResponseRecorder) {
	a := &oauthtest.Answer{Header: rec.Result().Header}
	_, params := a.Location()
	w.note(params.Get("code"))
	w.note(params.Get("access_token"))
	w.note(answered(rec, "access_token"))
	w.note(answered(rec, "refresh_token"))
}

func answered(rec *httptest.ResponseRecorder, member string) string {
	_, after, ok := strings.Cut(rec.Body.String(), `"`+member+`":"`)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(after, `"`)
	return value
}

// conditions are S123 and S124 for every answer.
func (w *wire) conditions(r *http.Request, rec *httptest.ResponseRecorder) {
	w.t.Helper()
	h, where := rec.Result().Header, r.Method+" "+r.URL.Path
	if strings.HasPrefix(r.URL.Path, "/api") || strings.Contains(r.URL.Path, "authorize") || strings.Contains(r.URL.Path, "well-known") ||
		r.Method == http.MethodOptions || strings.Contains(r.URL.Path, "jwks") {
		return
	}
	if !w.may5.Load() {
		assert.Less(w.t, rec.Code, 500, "%s: %s", where, rec.Body)
	}
	assert.Equal(w.t, "no-store", h.Get("Cache-Control"), where)
	assert.Equal(w.t, "no-cache", h.Get("Pragma"), where)
	assert.Equal(w.t, "nosniff", h.Get("X-Content-Type-Options"), where)
	assert.Empty(w.t, h.Values("Set-Cookie"), where)
	if rec.Body.Len() > 0 {
		assert.Equal(w.t, []string{"application/json"}, h.Values("Content-Type"), where)
	}
	if rec.Code < 400 {
		return
	}
	a := &oauthtest.Answer{}
	require.NoError(w.t, jsonInto(rec.Body.Bytes(), &a.JSON), where)
	for name := range a.JSON {
		assert.Contains(w.t, []string{"error", "error_description", "error_uri"}, name, where)
	}
	for _, bad := range []string{"*errors", "oauth.", "goroutine", ".go:", "oauthtest:", "storage"} {
		assert.NotContains(w.t, rec.Body.String(), bad, where)
	}
	if rec.Code == http.StatusServiceUnavailable {
		assert.NotEmpty(w.t, h.Get("Retry-After"), where)
	}
}

// noCredentialTold looks for every credential of the exchanges in the log and in
// the events.
func (w *wire) noCredentialTold() {
	told := w.log.String()
	for _, e := range w.Events() {
		told += fmt.Sprintf("%+v %v\n", e, e.LogValue())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.credentials {
		if strings.Contains(told, c) {
			w.t.Errorf("the log or an event has a credential: %q", c)
		}
	}
}

// send sends a request as it is.
func (w *wire) send(method, target, contentType, body string, edits ...func(*http.Request)) *oauthtest.Answer {
	r := httptest.NewRequest(method, w.Config.Issuer+target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for _, edit := range edits {
		edit(r)
	}
	return w.Do(r)
}

func basic(id, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

// active asks the introspection endpoint.
func (w *wire) active(token string) bool {
	w.t.Helper()
	a := w.Introspect(token)
	require.Equal(w.t, http.StatusOK, a.Status, string(a.Body))
	return a.JSON["active"] == true
}

// wantError holds an answer against a status and code.
func wantError(t *testing.T, a *oauthtest.Answer, status int, code oauth.ErrorCode) {
	t.Helper()
	require.Equal(t, status, a.Status, string(a.Body))
	require.Equal(t, string(code), a.String("error"), string(a.Body))
}

func wantOK(t *testing.T, a *oauthtest.Answer) *oauthtest.Answer {
	t.Helper()
	require.Equal(t, http.StatusOK, a.Status, string(a.Body))
	return a
}

// wantKeys holds the members of an answer, in their order, against a list.
func wantKeys(t *testing.T, a *oauthtest.Answer, keys ...string) {
	t.Helper()
	assert.Equal(t, keys, jsonKeys(t, a.Body))
}

func machineForm() url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}
}

func TestTokenBody(t *testing.T) {
	const token = "/oauth/token"
	w := newWire(t)
	t.Run("S094 credentials in the URI", func(t *testing.T) {
		q := url.Values{"client_id": {oauthtest.MachineClient}, "client_secret": {oauthtest.Secret}}
		a := w.send("POST", token+"?"+q.Encode(), formType, machineForm().Encode())
		wantError(t, a, 400, oauth.InvalidRequest)
		assert.NotContains(t, string(a.Body), oauthtest.Secret)
	})
	t.Run("S095 grant parameters in the URI", func(t *testing.T) {
		code := w.Code(oauthtest.SPAClient)
		f := code.Form()
		f.Set("client_id", oauthtest.SPAClient)
		wantError(t, w.send("POST", token+"?"+f.Encode(), formType, ""), 400, oauth.InvalidRequest)
		wantError(t, w.send("POST", token+"?"+f.Encode(), "", ""), 400, oauth.InvalidRequest)
		w.Redeem(code)
	})
	t.Run("S096 JSON body", func(t *testing.T) {
		a := w.send("POST", token, "application/json", `{"grant_type":"client_credentials"}`, basic(oauthtest.MachineClient, oauthtest.Secret))
		wantError(t, a, 400, oauth.InvalidRequest)
		assert.Contains(t, a.String("error_description"), formType)
	})
	t.Run("S097 multipart body", func(t *testing.T) {
		var body bytes.Buffer
		m := multipart.NewWriter(&body)
		require.NoError(t, m.WriteField("grant_type", "client_credentials"))
		part, err := m.CreateFormFile("file", "x")
		require.NoError(t, err)
		part.Write(bytes.Repeat([]byte("x"), 1000))
		require.NoError(t, m.Close())
		a := w.send("POST", token, m.FormDataContentType(), body.String(), basic(oauthtest.MachineClient, oauthtest.Secret))
		wantError(t, a, 400, oauth.InvalidRequest)
	})
	t.Run("RFC 6749 3.2 a body over 64 KiB is 413", func(t *testing.T) {
		a := w.send("POST", token, formType, machineForm().Encode()+"&x="+strings.Repeat("y", 64<<10), basic(oauthtest.MachineClient, oauthtest.Secret))
		wantError(t, a, 413, oauth.InvalidRequest)
		a = w.send("POST", token, formType, machineForm().Encode()+"&x="+strings.Repeat("y", 64<<10), basic(oauthtest.MachineClient, oauthtest.Secret),
			func(r *http.Request) { r.ContentLength = -1 })
		wantError(t, a, 413, oauth.InvalidRequest)
	})
	for name, body := range map[string]string{
		"grant_type":    "grant_type=client_credentials&grant_type=client_credentials&scope=read",
		"scope":         "grant_type=client_credentials&scope=read&scope=write",
		"unknown":       "grant_type=client_credentials&scope=read&x=1&x=2",
		"empty first":   "grant_type=client_credentials&scope=read&x=&x=2",
		"bad escape":    "grant_type=client_credentials&scope=read&x=%zz",
		"bad UTF-8":     "grant_type=client_credentials&scope=read&x=%ff",
		"bad name":      "grant_type=client_credentials&scope=read&%zz=1",
		"NUL":           "grant_type=client_credentials&scope=read&x=%00",
		"client_secret": "grant_type=client_credentials&scope=read&client_id=machine&client_secret=a&client_secret=b",
	} {
		t.Run("RFC 6749 3.2 malformed or repeated parameter: "+name, func(t *testing.T) {
			a := w.send("POST", token, formType, body, basic(oauthtest.MachineClient, oauthtest.Secret))
			wantError(t, a, 400, oauth.InvalidRequest)
		})
	}
	t.Run("RFC 6749 3.2 a parameter in query and body", func(t *testing.T) {
		auth := basic(oauthtest.MachineClient, oauthtest.Secret)
		wantError(t, w.send("POST", token+"?grant_type=refresh_token", formType, machineForm().Encode(), auth), 400, oauth.InvalidRequest)
		wantOK(t, w.send("POST", token+"?tenant=a&tenant=b&x=%zz", formType, machineForm().Encode(), auth))
	})
	t.Run("RFC 6749 3.2 only 100 parameters", func(t *testing.T) {
		var more strings.Builder
		for i := range 100 {
			fmt.Fprintf(&more, "&x%d=1", i)
		}
		wantError(t, w.send("POST", token, formType, machineForm().Encode()+more.String(), basic(oauthtest.MachineClient, oauthtest.Secret)), 400, oauth.InvalidRequest)
	})
	t.Run("RFC 6749 3.2 POST alone", func(t *testing.T) {
		for _, method := range []string{"GET", "PUT", "HEAD", "DELETE"} {
			a := w.send(method, token, formType, "", basic(oauthtest.MachineClient, oauthtest.Secret))
			assert.Equal(t, 405, a.Status, method)
			assert.Equal(t, "POST", a.Header.Get("Allow"))
		}
	})
}

func TestGrantType(t *testing.T) {
	w := newWire(t)
	t.Run("S101 missing", func(t *testing.T) {
		for _, f := range []url.Values{{}, {"grant_type": {""}}} {
			a := w.Token(oauthtest.WebClient, f)
			wantError(t, a, 400, oauth.InvalidRequest)
			assert.JSONEq(t, `{"error":"invalid_request","error_description":"Missing required parameter: grant_type"}`, string(a.Body))
		}
	})
	for _, name := range []string{"password", "urn:x", "Authorization_Code", "implicit", " client_credentials", "urn:ietf:params:oauth:grant-type:device_code"} {
		t.Run("S102 S163 unsupported: "+name, func(t *testing.T) {
			a := w.Token(oauthtest.WebClient, url.Values{"grant_type": {name}, "username": {"alice"}, "password": {"wonderland!!"}})
			wantError(t, a, 400, oauth.UnsupportedGrantType)
		})
	}
	t.Run("S103 not for this client", func(t *testing.T) {
		wantError(t, w.Token(oauthtest.SPAClient, machineForm()), 400, oauth.UnauthorizedClient)
		wantError(t, w.Token(oauthtest.WebClient, machineForm()), 400, oauth.UnauthorizedClient)
		wantError(t, w.Token(oauthtest.MachineClient, url.Values{"grant_type": {"authorization_code"}, "code": {"x"}}), 400, oauth.UnauthorizedClient)
		wantError(t, w.Token(oauthtest.APIClient, machineForm()), 400, oauth.UnauthorizedClient)
	})
	t.Run("S163 password is not in the metadata", func(t *testing.T) {
		a := w.send("GET", "/.well-known/oauth-authorization-server", "", "")
		assert.ElementsMatch(t, []any{"authorization_code", "refresh_token", "client_credentials"}, a.JSON["grant_types_supported"])
	})
}

func TestCode(t *testing.T) {
	t.Run("S125 FT-10 second redemption", func(t *testing.T) {
		w := newWire(t)
		code := w.Code(oauthtest.SPAClient)
		w.Redeem(code)
		wantError(t, w.Token(code.Client, code.Form()), 400, oauth.InvalidGrant)
	})
	t.Run("V010 S126 FT-10 a replay after 3 s ends what was issued", func(t *testing.T) {
		w := newWire(t)
		code := w.Code(oauthtest.SPAClient)
		a := w.Redeem(code)
		w.Clock.Advance(3 * time.Second)
		wantError(t, w.Token(code.Client, code.Form()), 400, oauth.InvalidGrant)
		assert.False(t, w.active(a.String("access_token")))
		wantError(t, w.Refresh(code.Client, a.String("refresh_token")), 400, oauth.InvalidGrant)
		assert.Len(t, w.Events(oauth.EventReuseDetected), 1)
	})
	for _, late := range []time.Duration{0, time.Second, 2 * time.Second, -time.Second} {
		t.Run(fmt.Sprintf("design 2 a second request that began %v after the redemption changes nothing", late), func(t *testing.T) {
			w := newWire(t)
			code := w.Code(oauthtest.SPAClient)
			a := w.Redeem(code)
			w.Clock.Advance(late)
			w.Store.Reset()
			wantError(t, w.Token(code.Client, code.Form()), 400, oauth.InvalidGrant)
			assert.Equal(t, []string{"Get"}, w.Store.Methods())
			assert.True(t, w.active(a.String("access_token")))
			wantOK(t, w.Refresh(code.Client, a.String("refresh_token")))
			assert.Len(t, w.Events(oauth.EventRaceLost), 1)
		})
	}
	t.Run("design 2 a replay 2.001 s later ends it", func(t *testing.T) {
		w := newWire(t)
		code := w.Code(oauthtest.SPAClient)
		a := w.Redeem(code)
		w.Clock.Advance(2001 * time.Millisecond)
		wantError(t, w.Token(code.Client, code.Form()), 400, oauth.InvalidGrant)
		assert.False(t, w.active(a.String("access_token")))
	})
	t.Run("design 2 nor does a used code with a redirect_uri that is not the client's", func(t *testing.T) {
		w := newWire(t)
		_, code := w.Authorize(oauthtest.SPAClient, url.Values{"redirect_uri": nil})
		left := changed(code.Form(), url.Values{"redirect_uri": nil})
		a := wantOK(t, w.Token(code.Client, left))
		w.Clock.Advance(time.Minute)
		wantError(t, w.Token(code.Client, changed(left, url.Values{"redirect_uri": {"https://evil.example/cb"}})), 400, oauth.InvalidGrant)
		assert.True(t, w.active(a.String("access_token")))
		wantError(t, w.Token(code.Client, changed(left, url.Values{"redirect_uri": {oauthtest.Callback}})), 400, oauth.InvalidGrant)
		assert.False(t, w.active(a.String("access_token")), "that one repeats what was meant")
	})
	t.Run("design 2 a used code that fails a check ends nothing", func(t *testing.T) {
		w := newWire(t)
		code := w.Code(oauthtest.SPAClient)
		a := w.Redeem(code)
		w.Clock.Advance(time.Minute)
		for _, change := range []url.Values{{"code_verifier": {strings.Repeat("v", 43)}}, {"code_verifier": nil}, {"redirect_uri": {oauthtest.Callback + "/"}}} {
			wantError(t, w.Token(code.Client, changed(code.Form(), change)), 400, oauth.InvalidGrant)
		}
		wantError(t, w.Token(code.Client, changed(code.Form(), url.Values{"redirect_uri": nil})), 400, oauth.InvalidRequest)
		wantError(t, w.Token(otherSPA, code.Form()), 400, oauth.InvalidGrant)
		assert.True(t, w.active(a.String("access_token")))
		wantOK(t, w.Refresh(code.Client, a.String("refresh_token")))
	})
	t.Run("V008 S130 FT-11 FS-15 the code lives until the boundary", func(t *testing.T) {
		for life, policy := range map[time.Duration]oauth.Policy{time.Minute: {}, 10 * time.Minute: {Code: 10 * time.Minute}} {
			w := newWire(t, withPolicy(policy))
			early, late := w.Code(oauthtest.SPAClient), w.Code(oauthtest.SPAClient)
			w.Clock.Advance(life - time.Millisecond)
			w.Redeem(early)
			w.Clock.Advance(time.Millisecond)
			wantError(t, w.Token(late.Client, late.Form()), 400, oauth.InvalidGrant)
			w.Clock.Advance(24 * time.Hour)
			n, err := w.DeleteExpired(t.Context(), 10)
			require.NoError(t, err)
			wantSwept(t, 1, n) // the record of the unused code
		}
	})
	t.Run("S376 the clock jumps back 1 h", func(t *testing.T) {
		w := newWire(t)
		code := w.Code(oauthtest.SPAClient)
		w.Redeem(code)
		w.Clock.Advance(-time.Hour)
		wantError(t, w.Token(code.Client, code.Form()), 400, oauth.InvalidGrant)
	})
}

// changed is a copy of a form with some parameters replaced, and those without a
// value removed.
func changed(f, change url.Values) url.Values {
	out := url.Values{}
	for name, values := range f {
		out[name] = slices.Clone(values)
	}
	for name, values := range change {
		out[name] = values
		if len(values) == 0 {
			out.Del(name)
		}
	}
	return out
}

// errorOfChange is what a change is refused with: a missing parameter is an
// invalid request.
func errorOfChange(change url.Values) string {
	for _, values := range change {
		if len(values) == 0 || values[0] == "" {
			return "invalid_request"
		}
	}
	return "invalid_grant"
}

func TestCodeChecksBurnNothing(t *testing.T) {
	w := newWire(t)
	check := func(name string, client string, change url.Values, description string) {
		t.Run(name, func(t *testing.T) {
			code := w.Code(oauthtest.SPAClient)
			w.Store.Reset()
			a := w.Token(client, changed(code.Form(), change))
			wantError(t, a, 400, oauth.ErrorCode(errorOfChange(change)))
			if description != "" {
				assert.Equal(t, description, a.String("error_description"))
			}
			assert.NotContains(t, w.Store.Methods(), "Update")
			w.Redeem(code)
		})
	}
	check("S129 V003 FT-14 another public client", otherSPA, nil, "")
	check("FT-14 another client, confidential", oauthtest.WebClient, nil, "")
	check("S131 FT-13 redirect_uri differs", oauthtest.SPAClient, url.Values{"redirect_uri": {oauthtest.Callback + "/"}}, "")
	check("S131 redirect_uri differs in case", oauthtest.SPAClient, url.Values{"redirect_uri": {strings.ToUpper(oauthtest.Callback)}}, "")
	check("S132 FT-13 redirect_uri missing", oauthtest.SPAClient, url.Values{"redirect_uri": nil}, "Missing required parameter: redirect_uri")
	check("S135 FS-11 wrong verifier", oauthtest.SPAClient, url.Values{"code_verifier": {strings.Repeat("v", 43)}}, "")
	check("RFC 7636 4.1 verifier too short", oauthtest.SPAClient, url.Values{"code_verifier": {"short"}}, "")
	check("RFC 7636 4.1 verifier too long", oauthtest.SPAClient, url.Values{"code_verifier": {strings.Repeat("v", 129)}}, "")
	check("FS-12 verifier missing", oauthtest.SPAClient, url.Values{"code_verifier": nil}, "Missing required parameter: code_verifier")
	check("FS-12 verifier empty", oauthtest.SPAClient, url.Values{"code_verifier": {""}}, "Missing required parameter: code_verifier")
	check("FS-12 code missing", oauthtest.SPAClient, url.Values{"code": nil}, "Missing required parameter: code")

	t.Run("FS-12 the exact body", func(t *testing.T) {
		code := w.Code(oauthtest.SPAClient)
		a := w.Token(code.Client, changed(code.Form(), url.Values{"code_verifier": nil}))
		assert.Equal(t, `{"error":"invalid_request","error_description":"Missing required parameter: code_verifier"}`, string(a.Body))
	})
	t.Run("RFC 6749 3.1.2.3 redirect_uri left out of both requests", func(t *testing.T) {
		_, code := w.Authorize(oauthtest.SPAClient, url.Values{"redirect_uri": {""}})
		f := code.Form()
		f.Del("redirect_uri")
		wantOK(t, w.Token(code.Client, f))
	})
	t.Run("S133 scope cannot widen", func(t *testing.T) {
		code := w.Code(oauthtest.SPAClient, "read")
		a := wantOK(t, w.Token(code.Client, changed(code.Form(), url.Values{"scope": {"read write"}})))
		assert.Equal(t, "read", a.String("scope"))
		assert.Equal(t, "read", w.Introspect(a.String("access_token")).String("scope"))
	})
	t.Run("RFC 9700 4.8.2 a verifier without a challenge", func(t *testing.T) {
		w := newWire(t, func(c *oauth.Config) {
			c.Grants = []oauth.Grant{grants.AuthorizationCode{PKCE: grants.PKCEOptional}, grants.RefreshToken{}, grants.ClientCredentials{}}
		})
		_, code := w.Authorize(oauthtest.WebClient, url.Values{"code_challenge": {""}, "code_challenge_method": {""}})
		require.NotEmpty(t, code.Code)
		wantError(t, w.Token(code.Client, changed(code.Form(), url.Values{"code_verifier": {strings.Repeat("v", 43)}})), 400, oauth.InvalidGrant)
		w.Redeem(code)
	})
}

func TestCredentialKinds(t *testing.T) {
	w := newWire(t)
	code := w.Code(oauthtest.SPAClient)
	a := w.Redeem(w.Code(oauthtest.SPAClient))
	access, refresh := a.String("access_token"), a.String("refresh_token")
	rec := w.Events(oauth.EventTokenIssued)[0].Authorization
	for name, text := range map[string]string{"an access token": access, "a refresh token": refresh, "a record ID": rec,
		"nothing known": "xyz", "a long text": strings.Repeat("A", 20000), "a code in upper case": strings.ToUpper(code.Code),
		"a longer code": code.Code + "A", "a shorter code": code.Code[:len(code.Code)-1]} {
		t.Run("S136 as a code: "+name, func(t *testing.T) {
			wantError(t, w.Token(code.Client, changed(code.Form(), url.Values{"code": {text}})), 400, oauth.InvalidGrant)
		})
	}
	for name, text := range map[string]string{"an access token": access, "a code": code.Code, "a record ID": rec} {
		t.Run("S136 as a refresh token: "+name, func(t *testing.T) {
			wantError(t, w.Refresh(code.Client, text), 400, oauth.InvalidGrant)
		})
	}
	for name, text := range map[string]string{"a refresh token": refresh, "a code": code.Code, "a record ID": rec} {
		t.Run("S136 as an access token: "+name, func(t *testing.T) {
			_, err := w.VerifyToken(t.Context(), text)
			require.ErrorIs(t, err, oauth.InvalidToken)
			assert.Equal(t, 401, w.send("GET", "/oauth/userinfo", "", "", header("Authorization", "Bearer "+text)).Status)
		})
	}
	w.Redeem(code)
	wantOK(t, w.Refresh(code.Client, refresh))
}

func TestTokenAnswer(t *testing.T) {
	t.Run("S123 FT-15 FS-13 members and headers", func(t *testing.T) {
		w := newWire(t)
		a := w.Redeem(w.Code(oauthtest.SPAClient))
		wantKeys(t, a, "access_token", "token_type", "expires_in", "refresh_token", "scope")
		assert.Equal(t, "Bearer", a.JSON["token_type"])
		assert.Equal(t, float64(1800), a.JSON["expires_in"])
		assert.Equal(t, "read write", a.JSON["scope"])
		assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
		b := wantOK(t, w.Refresh(oauthtest.SPAClient, a.String("refresh_token")))
		wantKeys(t, b, "access_token", "token_type", "expires_in", "refresh_token", "scope")
		assert.NotEqual(t, a.String("access_token"), b.String("access_token"))
	})
	t.Run("FT-15 Respond drops scope and keeps the order it asks for", func(t *testing.T) {
		w := newWire(t, func(c *oauth.Config) {
			c.Respond = func(_ context.Context, i *oauth.Issued, f *oauth.Fields) error {
				if i.Endpoint == "token" {
					f.Set("app", i.Client.ID)
					f.Select("app", "token_type", "access_token", "expires_in", "nowhere")
				}
				return nil
			}
		})
		wantKeys(t, w.Redeem(w.Code(oauthtest.SPAClient)), "app", "token_type", "access_token", "expires_in")
	})
	t.Run("S377 FT-18 FL-19 FS-16 expires_in is true", func(t *testing.T) {
		for life, policy := range map[time.Duration]oauth.Policy{30 * time.Minute: {}, time.Hour: {Access: time.Hour}, 24 * time.Hour: {Access: 24 * time.Hour}} {
			w := newWire(t, withPolicy(policy))
			a := w.Redeem(w.Code(oauthtest.SPAClient))
			require.Equal(t, life.Seconds(), a.JSON["expires_in"])
			exp := w.Introspect(a.String("access_token")).JSON["exp"].(float64)
			assert.InDelta(t, w.Clock.Now().Add(life).Unix(), exp, 1)
			w.Clock.Advance(life - time.Second)
			assert.True(t, w.active(a.String("access_token")))
			w.Clock.Advance(time.Second)
			assert.False(t, w.active(a.String("access_token")))
		}
	})
}

// jsonInto reads exactly one JSON object.
func jsonInto(body []byte, into *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %q", err, body)
	}
	if d.More() {
		return fmt.Errorf("more than one value: %q", body)
	}
	return nil
}

// jsonKeys are the names of an object's members, in order.
func jsonKeys(t *testing.T, body []byte) []string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	start, err := d.Token()
	require.NoError(t, err)
	require.Equal(t, json.Delim('{'), start)
	var keys []string
	for d.More() {
		name, err := d.Token()
		require.NoError(t, err)
		keys = append(keys, name.(string))
		var value json.RawMessage
		require.NoError(t, d.Decode(&value))
	}
	return keys
}

// A hostGrant is a grant of a host's own.
type hostGrant struct {
	name  string
	token func(context.Context, *oauth.TokenRequest) (*oauth.Issue, error)
}

func (g hostGrant) GrantType() string { return g.name }

func (g hostGrant) Token(ctx context.Context, r *oauth.TokenRequest) (*oauth.Issue, error) {
	return g.token(ctx, r)
}

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
