package oauth_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// A registry is one that changes and fails while the server runs.
type registry struct {
	mu   sync.Mutex
	byID map[string]oauth.Client
	err  error
	fold bool // finds a client whatever the case of its ID
}

func newRegistry(clients ...oauth.Client) *registry {
	r := &registry{byID: map[string]oauth.Client{}}
	for _, c := range clients {
		r.byID[c.ID] = c
	}
	return r
}

func (r *registry) Client(_ context.Context, id string) (*oauth.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fold {
		id = strings.ToLower(id)
	}
	c, ok := r.byID[id]
	switch {
	case r.err != nil:
		return nil, r.err
	case !ok:
		return nil, fmt.Errorf("wrapped: %w", fmt.Errorf("twice: %w", oauth.ErrNotFound))
	}
	return &c, nil
}

func (r *registry) change(id string, f func(c *oauth.Client)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.byID[id]
	f(&c)
	r.byID[id] = c
}

func (r *registry) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func withRegistry(r *registry) func(*oauth.Config) {
	return func(c *oauth.Config) { c.Clients = r }
}

func machine(id string, hashes ...string) oauth.Client {
	return oauth.Client{ID: id, Secrets: hashes, Grants: []string{"client_credentials"}, Scopes: []string{"read"}}
}

// rawBasic is an Authorization header that is not form-encoded.
func rawBasic(id, secret string) func(*http.Request) {
	return header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
}

func inBody(id, secret string) url.Values {
	return url.Values{"client_id": {id}, "client_secret": {secret}}
}

// asClient posts a client_credentials request.
func (w *wire) asClient(form url.Values, edits ...func(*http.Request)) *oauthtest.Answer {
	return w.send("POST", "/oauth/token", formType, changed(machineForm(), form).Encode(), edits...)
}

const (
	oddID     = "a:b c"
	oddSecret = "p+w%:é"
)

func TestClientAuthentication(t *testing.T) {
	const id, secret = oauthtest.MachineClient, oauthtest.Secret
	w := newWire(t, withClients(machine(oddID, oauth.HashSecret(oddSecret)), machine("plus", oauth.HashSecret("p+w%2B-0123456789")),
		machine("colon", oauth.HashSecret("a:b:c"))))
	percent := func(text string) string {
		var b strings.Builder
		for i := range len(text) {
			fmt.Fprintf(&b, "%%%02x", text[i])
		}
		return b.String()
	}
	type edits = []func(*http.Request)
	for _, c := range []struct {
		name   string
		form   url.Values
		edits  edits
		status int
		code   oauth.ErrorCode
		header bool // WWW-Authenticate is expected
	}{
		{"RFC 6749 2.3.1 Basic", nil, edits{basic(id, secret)}, 200, "", false},
		{"RFC 6749 2.3.1 body", inBody(id, secret), nil, 200, "", false},
		{"S107 form-encoded id and secret", nil, edits{basic(oddID, oddSecret)}, 200, "", false},
		{"S107 in the body", inBody(oddID, oddSecret), nil, 200, "", false},
		{"S107 not encoded", nil, edits{rawBasic(oddID, oddSecret)}, 401, oauth.InvalidClient, true},
		{"S107 not encoded, a plus and a percent sign", nil, edits{rawBasic("plus", "p+w%2B-0123456789")}, 401, oauth.InvalidClient, true},
		{"S107 encoded, a plus and a percent sign", nil, edits{basic("plus", "p+w%2B-0123456789")}, 200, "", false},
		{"S107 a colon in the secret needs no encoding", nil, edits{rawBasic("colon", "a:b:c")}, 200, "", false},
		{"S108 FP-04 unreserved characters: both encodings", nil, edits{rawBasic(id, secret)}, 200, "", false},
		{"FP-04 every character percent-encoded", nil, edits{rawBasic(percent(id), percent(secret))}, 200, "", false},
		{"FP-04 scheme in lower case", nil, edits{header("Authorization", "basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))}, 200, "", false},
		{"FP-04 not base64", nil, edits{header("Authorization", "Basic %%%")}, 401, oauth.InvalidClient, true},
		{"FP-04 no colon", nil, edits{header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id)))}, 401, oauth.InvalidClient, true},
		{"S105 FP-05 wrong secret in the header", nil, edits{basic(id, "wrong")}, 401, oauth.InvalidClient, true},
		{"S105 wrong secret in the body", inBody(id, "wrong"), nil, 401, oauth.InvalidClient, false},
		{"S105 secret of another client", nil, edits{basic(id, oddSecret)}, 401, oauth.InvalidClient, true},
		{"S105 the hash as a secret", nil, edits{basic(id, oauth.HashSecret(secret))}, 401, oauth.InvalidClient, true},
		{"RFC 6749 2.3 nobody", nil, nil, 401, oauth.InvalidClient, false},
		{"RFC 6749 2.3 an id alone", url.Values{"client_id": {id}}, nil, 401, oauth.InvalidClient, false},
		{"RFC 6749 2.3 a secret alone", url.Values{"client_secret": {secret}}, nil, 401, oauth.InvalidClient, false},
		{"V057 S110 header and body", inBody(id, secret), edits{basic(id, secret)}, 400, oauth.InvalidRequest, false},
		{"S110 header and a secret alone in the body", url.Values{"client_secret": {secret}}, edits{basic(id, secret)}, 400, oauth.InvalidRequest, false},
		{"S110 header and assertion", url.Values{"client_assertion": {"x"}}, edits{basic(id, secret)}, 400, oauth.InvalidRequest, false},
		{"S110 secret and assertion", changed(inBody(id, secret), url.Values{"client_assertion": {"x"}}), nil, 400, oauth.InvalidRequest, false},
		{"S121 an assertion alone", url.Values{"client_id": {id}, "client_assertion": {"x"}, "client_assertion_type": {"urn:x"}}, nil, 400, oauth.InvalidRequest, false},
		{"V057 S111 two identities", url.Values{"client_id": {oauthtest.SPAClient}}, edits{basic(id, secret)}, 400, oauth.InvalidRequest, false},
		{"S111 two identities, the second unknown", url.Values{"client_id": {"nobody"}}, edits{basic(id, secret)}, 400, oauth.InvalidRequest, false},
		{"S112 the same id twice", url.Values{"client_id": {id}}, edits{basic(id, secret)}, 200, "", false},
		{"S115 a public client with a secret in the body", inBody(oauthtest.SPAClient, "x"), nil, 401, oauth.InvalidClient, false},
		{"S115 a public client with Basic", nil, edits{basic(oauthtest.SPAClient, "x")}, 401, oauth.InvalidClient, true},
		{"S115 a public client with Basic and no secret", nil, edits{basic(oauthtest.SPAClient, "")}, 401, oauth.InvalidClient, true},
		{"S116 Bearer", nil, edits{header("Authorization", "Bearer abc")}, 401, oauth.InvalidClient, true},
		{"S116 Bearer beside a good body", inBody(id, secret), edits{header("Authorization", "Bearer abc")}, 401, oauth.InvalidClient, true},
		{"S116 garbage", nil, edits{header("Authorization", "\x7f garbage")}, 401, oauth.InvalidClient, true},
		{"S116 an empty header", nil, edits{header("Authorization", "")}, 401, oauth.InvalidClient, true},
		{"S116 two headers", nil, edits{basic(id, secret), header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))}, 401, oauth.InvalidClient, true},
		{"S117 empty secret", nil, edits{rawBasic(id, "")}, 401, oauth.InvalidClient, true},
		{"S117 empty secret in the body", inBody(id, ""), nil, 401, oauth.InvalidClient, false},
		{"S122 a forged certificate header", url.Values{"client_id": {id}}, edits{header("X-Client-Cert", "x")}, 401, oauth.InvalidClient, false},
		{"an id over 2048 bytes", inBody(strings.Repeat("a", 2049), "x"), nil, 401, oauth.InvalidClient, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.asClient(c.form, c.edits...)
			if c.status == http.StatusOK {
				wantKeys(t, wantOK(t, a), "access_token", "token_type", "expires_in", "scope")
			} else {
				wantError(t, a, c.status, c.code)
			}
			assert.Equal(t, c.header, len(a.Header.Values("WWW-Authenticate")) == 1, "WWW-Authenticate: %q", a.Header.Values("WWW-Authenticate"))
			if c.header {
				assert.Equal(t, `Basic realm="oauth"`, a.Header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestClientUnknown(t *testing.T) {
	w := newWire(t, withClients(oauth.Client{ID: "gone", Disabled: true, Secrets: []string{oauth.HashSecret(oauthtest.Secret)},
		Grants: []string{"client_credentials"}, Scopes: []string{"read"}}, oauth.Client{ID: "gone-public", Public: true, Disabled: true}))
	t.Run("FP-05 unknown, disabled and wrong secret look alike", func(t *testing.T) {
		for name, send := range map[string]func(id, secret string) *oauthtest.Answer{
			"header": func(id, secret string) *oauthtest.Answer { return w.asClient(nil, basic(id, secret)) },
			"body":   func(id, secret string) *oauthtest.Answer { return w.asClient(inBody(id, secret)) },
			"revoke": func(id, secret string) *oauthtest.Answer {
				return w.send("POST", "/oauth/revoke", formType, "token=x", basic(id, secret))
			},
			"introspect": func(id, secret string) *oauthtest.Answer {
				return w.send("POST", "/oauth/introspect", formType, "token=x", basic(id, secret))
			},
		} {
			wrong := send(oauthtest.MachineClient, "wrong")
			wantError(t, wrong, 401, oauth.InvalidClient)
			for _, a := range []*oauthtest.Answer{send("nobody", "wrong"), send("gone", oauthtest.Secret), send("gone", "wrong"), send("gone-public", "x"), send(oauthtest.SPAClient, "x")} {
				assert.Equal(t, wrong.Status, a.Status, name)
				assert.Equal(t, string(wrong.Body), string(a.Body), name)
				assert.Equal(t, wrong.Header, a.Header, name)
			}
		}
		assert.NotEmpty(t, w.Events(oauth.EventClientRefused))
	})
	t.Run("RFC 6749 2.3 the event has the claimed id and the reason", func(t *testing.T) {
		w := newWire(t)
		w.asClient(nil, basic("nobody", "wrong"))
		e := w.Events()[0]
		assert.Equal(t, oauth.EventClientRefused, e.Type)
		assert.Equal(t, "nobody", e.ClientID)
		assert.Equal(t, "token", e.Endpoint)
		assert.ErrorContains(t, e.Err, "unknown client")
	})
}

func argon2id(secret string, memory, passes uint32) string {
	salt := []byte("salt of 16 bytes")
	sum := argon2.IDKey([]byte(secret), salt, passes, memory, 1, 32)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=1$%s$%s", memory, passes, b64.EncodeToString(salt), b64.EncodeToString(sum))
}

func bcryptHash(t *testing.T, secret string) string {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
	require.NoError(t, err)
	return string(b)
}

func TestSecretHashes(t *testing.T) {
	long72, long1024 := strings.Repeat("b", 72), strings.Repeat("s", 1024)
	w := newWire(t, withClients(
		machine("several", oauth.HashSecret("the old one 123"), bcryptHash(t, "the new one 123"), argon2id("the newest 1234", 64, 1)),
		machine("bcrypt", bcryptHash(t, long72)),
		machine("argon2id", argon2id("chosen by a person", 64, 2)),
		machine("long", oauth.HashSecret(long1024)), machine("longer", oauth.HashSecret(long1024+"x"), argon2id(long1024+"x", 64, 1))))
	for _, c := range []struct {
		name, id, secret string
		ok               bool
	}{
		{"RFC 6749 2.3.1 several live secrets: the first", "several", "the old one 123", true},
		{"RFC 6749 2.3.1 several live secrets: the second", "several", "the new one 123", true},
		{"RFC 6749 2.3.1 several live secrets: the third", "several", "the newest 1234", true},
		{"RFC 6749 2.3.1 several live secrets: none", "several", "the next one 12", false},
		{"S352 bcrypt", "bcrypt", long72, true},
		{"S352 bcrypt, longer than it looks at", "bcrypt", long72 + "x", false},
		{"S352 bcrypt, shorter", "bcrypt", long72[:71], false},
		{"S352 argon2id", "argon2id", "chosen by a person", true},
		{"S352 argon2id, wrong", "argon2id", "chosen by a persom", false},
		{"S352 1 KiB", "long", long1024, true},
		{"S352 over 1 KiB is refused, even the right one", "longer", long1024 + "x", false},
		{"S117 NUL", "bcrypt", long72[:71] + "\x00", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, a := range []*oauthtest.Answer{w.asClient(nil, basic(c.id, c.secret)), w.asClient(inBody(c.id, c.secret))} {
				assert.Equal(t, c.ok, a.Status == http.StatusOK, string(a.Body))
				assert.Less(t, a.Status, 500)
			}
		})
	}
	t.Run("S117 rows of a custom registry without a usable hash", func(t *testing.T) {
		reg := newRegistry(wireClients()...)
		for id, hashes := range map[string][]string{"none": nil, "empty": {""}, "prefix": {"sha256$"}, "argon": {"$argon2id$"}, "clear": {oauthtest.Secret},
			"hash of nothing": {oauth.HashSecret("")}, "bcrypt of nothing": {bcryptHash(t, "")}, "costly": {"$argon2id$v=19$m=4294967295,t=4294967295,p=16$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA"}} {
			reg.byID[id] = machine(id, hashes...)
		}
		w := newWire(t, withRegistry(reg))
		for id := range reg.byID {
			if reg.byID[id].Public || id == oauthtest.MachineClient {
				continue
			}
			wantError(t, w.asClient(nil, rawBasic(url.QueryEscape(id), "")), 401, oauth.InvalidClient)
			wantError(t, w.asClient(inBody(id, "")), 401, oauth.InvalidClient)
			wantError(t, w.asClient(inBody(id, "sha256$")), 401, oauth.InvalidClient)
		}
		wantError(t, w.asClient(inBody("clear", oauthtest.Secret)), 401, oauth.InvalidClient)
		wantOK(t, w.asClient(nil, basic(oauthtest.MachineClient, oauthtest.Secret)))
	})
}

// hashing counts the goroutines that compute an argon2id hash.
func hashing() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "argon2.IDKey(")
}

// until waits for a condition, looking every millisecond, for at most 20 s.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, 20*time.Second, time.Millisecond, what)
}

func TestSlowHashes(t *testing.T) {
	// About 16 passes over 32 MiB: long enough to be seen at work.
	slow := argon2id("chosen by a person", 32<<10, 16)
	places := max(1, runtime.GOMAXPROCS(0)/2)
	var guarded atomic.Int32
	w := newWire(t, withClients(machine("slow", slow)), func(c *oauth.Config) {
		c.Guards = []oauth.Guard{func(context.Context, *oauth.Call) error { guarded.Add(1); return nil }}
	})
	w.may5.Store(true)
	t.Run("S352 bounded, and a caller that gave up waits no longer", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		total := places + 4
		status := make(chan int, total)
		for range total {
			go func() {
				r := httptest.NewRequest("POST", oauthtest.Issuer+"/oauth/token", strings.NewReader(machineForm().Encode())).WithContext(ctx)
				r.Header.Set("Content-Type", formType)
				r.SetBasicAuth("slow", "wrong")
				status <- w.Do(r).Status
			}()
		}
		until(t, "all are in and a hash is at work", func() bool { return int(guarded.Load()) == total && hashing() > 0 })
		assert.LessOrEqual(t, hashing(), places)
		assert.Equal(t, 200, w.asClient(nil, basic(oauthtest.MachineClient, oauthtest.Secret)).Status, "others need not wait")
		assert.LessOrEqual(t, hashing(), places)
		cancel()
		seen := map[int]int{}
		for range total {
			seen[<-status]++
		}
		assert.Equal(t, total, seen[401]+seen[503], "%v", seen)
		assert.GreaterOrEqual(t, seen[503], 1)
		assert.GreaterOrEqual(t, seen[401], 1)
	})
	for name, edit := range map[string]func(*oauth.Config){
		"static":              func(c *oauth.Config) { c.Clients = oauth.StaticClients(machine("slow", slow)) },
		"a registry, learned": withRegistry(newRegistry(machine("slow", slow))),
	} {
		t.Run("S352 an unknown client costs the same kind of hash: "+name, func(t *testing.T) {
			w := newWire(t, edit)
			if strings.HasPrefix(name, "a registry") {
				wantOK(t, w.asClient(nil, basic("slow", "chosen by a person")))
			}
			done := make(chan *oauthtest.Answer, 1)
			go func() { done <- w.asClient(nil, basic("nobody", "wrong")) }()
			until(t, "a hash is at work", func() bool { return hashing() > 0 })
			wantError(t, <-done, 401, oauth.InvalidClient)
		})
	}
	t.Run("S352 over 1 KiB nothing is hashed", func(t *testing.T) {
		done := make(chan struct{})
		most := make(chan int)
		go func() {
			n := 0
			for {
				select {
				case <-done:
					most <- n
					return
				default:
					n = max(n, hashing())
				}
			}
		}()
		wantError(t, w.asClient(nil, basic("slow", strings.Repeat("x", 1025))), 401, oauth.InvalidClient)
		close(done)
		assert.Zero(t, <-most)
	})
}

func TestRegistry(t *testing.T) {
	setup := func(t *testing.T) (*wire, *registry) {
		reg := newRegistry(wireClients()...)
		return newWire(t, withRegistry(reg)), reg
	}
	t.Run("S335 a failure is no unknown client", func(t *testing.T) {
		w, reg := setup(t)
		do := endpointRequests(w)
		do["client_credentials"] = func() *oauthtest.Answer { return w.asClient(nil, basic(oauthtest.MachineClient, oauthtest.Secret)) }
		auth := basic(oauthtest.WebClient, oauthtest.Secret)
		do["as a confidential client"] = func() *oauthtest.Answer {
			return w.send("POST", "/oauth/revoke", formType, "token=x", auth)
		}
		reg.fail(errBoom)
		w.may5.Store(true)
		for name, send := range do {
			a := send()
			wantError(t, a, 503, oauth.TemporarilyUnavailable)
			assert.Empty(t, a.Header.Values("WWW-Authenticate"), name)
		}
		reg.fail(nil)
		w.may5.Store(false)
		for _, name := range []string{"code", "refresh", "introspect", "userinfo", "revoke", "client_credentials", "as a confidential client"} {
			require.Equal(t, 200, do[name]().Status, name)
		}
	})
	t.Run("S336 not found, wrapped twice", func(t *testing.T) {
		w, _ := setup(t)
		wantError(t, w.asClient(nil, basic("nobody", "x")), 401, oauth.InvalidClient)
	})
	t.Run("RFC 6749 2.2 a registry that folds case makes no second name", func(t *testing.T) {
		w, reg := setup(t)
		reg.fold = true
		wantOK(t, w.asClient(nil, basic("machine", oauthtest.Secret)))
		wantError(t, w.asClient(nil, basic("MACHINE", oauthtest.Secret)), 401, oauth.InvalidClient)
		code := w.Code(oauthtest.SPAClient)
		wantError(t, w.send("POST", "/oauth/token", formType, changed(code.Form(), url.Values{"client_id": {"SPA"}}).Encode()), 401, oauth.InvalidClient)
		w.Redeem(code)
	})
	t.Run("design 1 a disabled client's tokens end, and live again", func(t *testing.T) {
		w, reg := setup(t)
		a := w.Redeem(w.Code(oauthtest.SPAClient))
		m := wantOK(t, w.Token(oauthtest.MachineClient, machineForm()))
		for _, id := range []string{oauthtest.SPAClient, oauthtest.MachineClient} {
			reg.change(id, func(c *oauth.Client) { c.Disabled = true })
		}
		assert.False(t, w.active(a.String("access_token")))
		assert.False(t, w.active(m.String("access_token")))
		_, err := w.VerifyToken(t.Context(), a.String("access_token"))
		require.ErrorIs(t, err, oauth.InvalidToken)
		wantError(t, w.Refresh(oauthtest.SPAClient, a.String("refresh_token")), 401, oauth.InvalidClient)
		reg.change(oauthtest.SPAClient, func(c *oauth.Client) { c.Disabled = false })
		assert.True(t, w.active(a.String("access_token")))
		w.rotate(oauthtest.SPAClient, a.String("refresh_token"))
	})
	t.Run("design 1 a client that may no longer have a scope", func(t *testing.T) {
		w, reg := setup(t)
		both := w.Redeem(w.Code(oauthtest.SPAClient)).String("access_token")
		read := w.Redeem(w.Code(oauthtest.SPAClient, "read")).String("access_token")
		reg.change(oauthtest.SPAClient, func(c *oauth.Client) { c.Scopes = []string{"read"} })
		assert.False(t, w.active(both))
		assert.True(t, w.active(read))
	})
}

// headers sets one header several times.
func headers(name string, values []string) (edits []func(*http.Request)) {
	for _, v := range values {
		edits = append(edits, header(name, v))
	}
	return edits
}
