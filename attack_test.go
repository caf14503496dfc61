package oauth_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/oauthtest"
)

// A thief has Config.Secrets and the source of this library.
type thief struct {
	issuer string
	ring   *derive.Ring
}

func newThief(t testing.TB, c oauth.Config) thief {
	t.Helper()
	ring, err := derive.NewRing(c.Issuer, "", c.Secrets)
	require.NoError(t, err)
	return thief{c.Issuer, ring}
}

// A forgery is what an access token shall say.
type forgery struct {
	record          [16]byte
	version         int64
	client, subject string
	scopes          []string
	at              time.Time
	confirm         string // the key that it is bound to
}

// access seals an access token as the server does, for a record with this nonce.
func (th thief) access(f forgery, nonce [32]byte) string {
	b := append([]byte{1}, f.record[:]...)
	b = append(b, rand.Text()[:16]...)
	b = binary.AppendVarint(b, f.version)
	b = binary.AppendVarint(b, f.at.Unix())
	b = binary.AppendVarint(b, 3600)
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	text(f.client)
	text(f.subject)
	text(f.confirm)
	b = binary.AppendUvarint(b, uint64(len(f.scopes)))
	for _, s := range f.scopes {
		text(s)
	}
	b = binary.AppendUvarint(b, 1)
	text(th.issuer)
	mac, _ := th.ring.MAC(derive.AccessRecord, th.ring.First(), b, nonce[:])
	return derive.Encode("", false, th.ring.Seal(nil, derive.Access, append(b, mac[:16]...)))
}

// credential derives a code or a refresh token.
func (th thief) credential(p derive.Purpose, record [16]byte, generation uint32, nonce [32]byte) string {
	raw, _ := th.ring.Derive(p, th.ring.First(), record, generation, &nonce)
	return derive.Encode("", false, raw)
}

// reseal gives a row that was edited the MAC that the server would give it.
func (th thief) reseal(r oauth.Record) oauth.Record {
	cut := bytes.LastIndex(r.Data, []byte(`,"mac":"`))
	mac, _ := th.ring.MAC(derive.Data, th.ring.First(), []byte(r.ID), []byte(r.Kind), []byte(r.ClientID), []byte(r.Subject), r.Data[:cut])
	text := base64.RawURLEncoding.EncodeToString(append([]byte{th.ring.First()}, mac[:20]...))
	r.Data = []byte(string(r.Data[:cut]) + `,"mac":"` + text + `"}`)
	return r
}

// idOf is the binary form of a record's ID.
func idOf(t testing.TB, r oauth.Record) [16]byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(r.ID, "a_"))
	require.NoError(t, err)
	require.Len(t, b, 16)
	return [16]byte(b)
}

const headAt, headTo = len(`{"head":"`), len(`{"head":"`) + 96

// headOf is the binary head of a row; withHead is the row with another one.
func headOf(t testing.TB, r oauth.Record) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(string(r.Data[headAt:headTo]))
	require.NoError(t, err)
	return b
}

func withHead(r oauth.Record, head []byte) oauth.Record {
	r.Data = []byte(string(r.Data[:headAt]) + base64.RawURLEncoding.EncodeToString(head) + string(r.Data[headTo:]))
	return r
}

func nonceOf(t testing.TB, r oauth.Record) [32]byte { return [32]byte(headOf(t, r)[32:64]) }

// A copy of the secrets alone makes no credential of an authorization.
func TestForgeryWithTheSecrets(t *testing.T) {
	const web, spa, machine = oauthtest.WebClient, oauthtest.SPAClient, oauthtest.MachineClient
	l := newLab(t)
	code, open := l.Code(web), l.Code(web)
	issued := l.Redeem(code)
	token, err := l.VerifyToken(t.Context(), issued.String("access_token"))
	require.NoError(t, err)
	record, err := l.vault.Get(t.Context(), token.AuthorizationID)
	require.NoError(t, err)
	openID, decoded := derive.Decode("", false, open.Code)
	require.True(t, decoded)
	before := l.vault.dump(t)

	th, id, now := newThief(t, l.Config), idOf(t, record), l.Clock.Now()
	var zero, random, swapped [32]byte
	rand.Read(random[:])
	copy(swapped[:], id[:])
	nonce := nonceOf(t, record)
	f := forgery{id, record.Version, web, "alice", []string{"read", "write"}, now, ""}
	none := forgery{client: machine, scopes: []string{"read"}, at: now}
	change := func(f forgery, edit func(*forgery)) forgery { edit(&f); return f }

	for _, c := range []struct {
		name  string
		token string
		good  bool
	}{
		{"N006 the format is right: with the database too it succeeds", th.access(f, nonce), true},
		{"N006 a nonce of zeros", th.access(f, zero), false},
		{"N006 a random nonce", th.access(f, random), false},
		{"N006 a nonce made of the record's id", th.access(f, swapped), false},
		{"N006 a high version", th.access(change(f, func(f *forgery) { f.version = 1 << 40 }), zero), false},
		{"N006 a record that is not there", th.access(change(f, func(f *forgery) { f.record[0] ^= 1 }), nonce), false},
		{"N006 with the nonce, but another subject than the record's", th.access(change(f, func(f *forgery) { f.subject = "bob" }), nonce), false},
		{"N006 with the nonce, but another client than the record's", th.access(change(f, func(f *forgery) { f.client = spa }), nonce), false},
		{"N006 with the nonce, but a scope that the client may not have", th.access(change(f, func(f *forgery) { f.scopes = []string{"admin"} }), nonce), false},
		{"N006 without a record the threat model says that it succeeds", th.access(none, zero), true},
		{"N006 without a record, for a subject", th.access(change(none, func(f *forgery) { f.subject = "alice" }), zero), false},
		{"N006 without a record, for a subject, as a client with users", th.access(change(none, func(f *forgery) { f.client, f.subject = web, "alice" }), zero), false},
		{"N006 without a record, as a public client", th.access(change(none, func(f *forgery) { f.client = spa }), zero), false},
		{"N006 without a record, as an unknown client", th.access(change(none, func(f *forgery) { f.client = "nobody" }), zero), false},
		{"N006 without a record, a scope that the client may not have", th.access(change(none, func(f *forgery) { f.scopes = []string{"admin"} }), zero), false},
		{"N006 without a record, expired", th.access(change(none, func(f *forgery) { f.at = now.Add(-2 * time.Hour) }), zero), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := l.VerifyToken(t.Context(), c.token)
			if c.good {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, oauth.InvalidToken)
			assert.Equal(t, "401 invalid_token", outcome(l.Server.Get("/oauth/userinfo", c.token)))
			assert.Equal(t, map[string]any{"active": false}, l.Introspect(c.token).JSON)
		})
	}
	for _, n := range []struct {
		name  string
		nonce [32]byte
	}{{"zeros", zero}, {"random", random}, {"the record's id", swapped}} {
		t.Run("N006 code and refresh token, nonce of "+n.name, func(t *testing.T) {
			form := open.Form()
			form.Set("code", th.credential(derive.Code, [16]byte(openID[1:17]), 0, n.nonce))
			assert.Equal(t, "400 invalid_grant", outcome(l.Token(web, form)))
			for generation := range uint32(4) {
				forged := th.credential(derive.Refresh, id, generation, n.nonce)
				assert.Equal(t, "400 invalid_grant", outcome(l.Refresh(web, forged)))
				assert.Equal(t, 200, revoke(l.Server, web, forged).Status)
			}
		})
	}
	assert.Equal(t, before, l.vault.dump(t), "no forgery changes anything")
	assert.Equal(t, "200", outcome(l.Refresh(web, th.credential(derive.Refresh, id, 1, nonce))), "with the database too it succeeds")
	assert.Equal(t, issued.String("refresh_token"), th.credential(derive.Refresh, id, 1, nonce))
}

// No release makes a token that is bound to a key yet. One that does may share a store
// with this one, which cannot check the binding: the token is no bearer token here.
func TestKeyBoundToken(t *testing.T) {
	const web = oauthtest.WebClient
	l := newLab(t)
	issued := l.Redeem(l.Code(web))
	record := l.vault.record(t)
	th := newThief(t, l.Config)
	f := forgery{idOf(t, record), record.Version, web, "alice", []string{"read", "write"}, l.Clock.Now(), ""}
	api := httptest.NewServer(l.API().Require("read")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	defer api.Close()
	server := httptest.NewServer(l.Handler)
	defer server.Close()
	get := func(url, scheme, token string) (status int, challenge string) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", scheme+" "+token)
		r.Header.Set("DPoP", "e30.e30.AA")
		a, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, a.Body.Close())
		return a.StatusCode, a.Header.Get("WWW-Authenticate")
	}
	for confirm, want := range map[string]int{"": 200, "jkt:x": 401, "x5t#S256:x": 401, "unknown:": 401} {
		f.confirm = confirm
		token := th.access(f, nonceOf(t, record))
		for name, url := range map[string]string{"userinfo": server.URL + "/oauth/userinfo", "an API": api.URL} {
			t.Run("RFC 9449 7.2 at "+name+", bound to "+confirm, func(t *testing.T) {
				status, challenge := get(url, "Bearer", token)
				assert.Equal(t, want, status)
				assert.Equal(t, want == 401, strings.Contains(challenge, `error="invalid_token"`), challenge)
				status, _ = get(url, "DPoP", token)
				assert.Equal(t, 401, status, "a scheme that is not there")
			})
		}
		t.Run("RFC 7662 2.2 RFC 9449 6.2 introspection says so, bound to "+confirm, func(t *testing.T) {
			a := l.Introspect(token)
			require.Equal(t, true, a.JSON["active"])
			assert.Equal(t, confirm != "", a.JSON["cnf"] != nil, "%s", a.Body)
		})
	}
	l.lives(t, issued.String("access_token"))
}

// Whoever has the secrets cannot sign.
func TestForgeryOfJWT(t *testing.T) {
	s := newServer(t, func(c *oauth.Config) { c.AccessToken = oauth.JWT{InsecureSymmetricKey: oauth.NewSecret()} })
	part := base64.RawURLEncoding.EncodeToString
	token := s.AccessToken("alice", "read")
	parts := strings.Split(token, ".")
	sign := func(header string, key []byte) string {
		input := part([]byte(header)) + "." + parts[1]
		m := hmac.New(sha256.New, key)
		m.Write([]byte(input))
		return input + "." + part(m.Sum(nil))
	}
	for name, forged := range map[string]string{
		"N006 alg none":                  part([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + parts[1] + ".",
		"N006 signed with the secret":    sign(`{"alg":"HS256","typ":"at+jwt"}`, s.Config.Secrets[0]),
		"N006 signed with nothing":       sign(`{"alg":"HS256","typ":"at+jwt"}`, nil),
		"N011 the header of an ID token": part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + parts[1] + "." + parts[2],
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.VerifyToken(t.Context(), forged)
			assert.ErrorIs(t, err, oauth.InvalidToken)
		})
	}
	_, err := s.VerifyToken(t.Context(), token)
	assert.NoError(t, err)
}

// detailed lets every request be approved with everything that an approval can say.
func detailed(s *oauthtest.Server, subject string) {
	s.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		in.Approve(w, r, oauth.Approval{Subject: subject, Scopes: []string{"read"}, AuthTime: s.Clock.Now(), ACR: "gold",
			AMR: []string{"pwd", "otp"}, Session: "s1", Extra: map[string]string{"tenant": "t1"}})
	})
}

func resources(c *oauth.Config) {
	c.Resources = []oauth.Resource{{Identifier: "https://api.example"}, {Identifier: "https://other.example"}}
}

// N007: somebody writes into the host's database.
func TestEditedRow(t *testing.T) {
	const web = oauthtest.WebClient
	// A redeemed code has other members than an open one: the edit is then that of proof.
	open := func(old, new string) func(*testing.T, oauth.Record) oauth.Record {
		return func(t *testing.T, r oauth.Record) oauth.Record {
			if strings.Contains(string(r.Data), `"redeemed":`) {
				old, new = `"proof":"`, `"proof":"A`
			}
			require.Equal(t, 1, strings.Count(string(r.Data), old), "%s in %s", old, r.Data)
			r.Data = []byte(strings.Replace(string(r.Data), old, new, 1))
			return r
		}
	}
	replace := func(old, new string) func(*testing.T, oauth.Record) oauth.Record {
		return func(t *testing.T, r oauth.Record) oauth.Record {
			require.Equal(t, 1, strings.Count(string(r.Data), old), "%s in %s", old, r.Data)
			r.Data = []byte(strings.Replace(string(r.Data), old, new, 1))
			return r
		}
	}
	head := func(at int) func(*testing.T, oauth.Record) oauth.Record {
		return func(t *testing.T, r oauth.Record) oauth.Record {
			h := headOf(t, r)
			h[at] ^= 2
			return withHead(r, h)
		}
	}
	row := func(edit func(*oauth.Record)) func(*testing.T, oauth.Record) oauth.Record {
		return func(_ *testing.T, r oauth.Record) oauth.Record { edit(&r); return r }
	}
	const lives, dies = true, false
	for _, c := range []struct {
		name   string
		edit   func(*testing.T, oauth.Record) oauth.Record
		access bool // whether an access token made before is still good
	}{
		{"scopes", replace(`"scopes":["read"]`, `"scopes":["read","write"]`), lives},
		{"resources", replace(`"resources":["https://api.example"]`, `"resources":["https://other.example"]`), lives},
		{"type", replace(`"type":"authorization_code"`, `"type":"refresh_token"`), lives},
		{"end", replace(`"end":1`, `"end":2`), lives},
		{"auth_time", replace(`"auth_time":1`, `"auth_time":2`), lives},
		{"acr", replace(`"gold"`, `"iron"`), lives},
		{"amr", replace(`"otp"`, `"hwk"`), lives},
		{"session", replace(`"s1"`, `"s2"`), lives},
		{"extra", replace(`"t1"`, `"t2"`), lives},
		{"code expires", open(`"code":{"expires":1`, `"code":{"expires":2`), lives},
		{"redirect_uri", open(`"redirect_uri":"https://client.example/callback"`, `"redirect_uri":"https://evil.example/"`), lives},
		{"redirect_left_out", replace(`"code":{`, `"code":{"redirect_left_out":true,`), lives},
		{"code_challenge", open(`"code_challenge":"`, `"code_challenge":"A`), lives},
		{"code left out", func(t *testing.T, r oauth.Record) oauth.Record {
			from, to := bytes.Index(r.Data, []byte(`"code":{`)), bytes.Index(r.Data, []byte(`"grant":{`))
			r.Data = append(bytes.Clone(r.Data[:from]), r.Data[to:]...)
			return r
		}, lives},
		{"a member added", replace(`"grant":{`, `"new":1,"grant":{`), lives},
		{"a member twice", replace(`,"mac":"`, `,"grant":{"scopes":["admin"]},"mac":"`), lives},
		{"a space", replace(`,"mac":"`, `, "mac":"`), lives},
		{"a member behind the mac", func(_ *testing.T, r oauth.Record) oauth.Record {
			r.Data = []byte(strings.TrimSuffix(string(r.Data), "}") + `,"grant":{"scopes":["admin"]}}`)
			return r
		}, lives},
		{"the mac", replace(`,"mac":"`, `,"mac":"A`), lives},
		{"the mac left out", func(_ *testing.T, r oauth.Record) oauth.Record {
			r.Data = append(bytes.Clone(r.Data[:bytes.LastIndex(r.Data, []byte(`,"mac"`))]), '}')
			return r
		}, lives},
		{"no JSON any more", row(func(r *oauth.Record) { r.Data = r.Data[:len(r.Data)-1] }), lives},
		{"no head any more", row(func(r *oauth.Record) { r.Data = []byte(`{"mac":""}`) }), dies},
		{"head: format 3, no such", head(0), dies},
		{"head: the flag of no refresh token", head(2), lives},
		{"head: key id", head(3), lives},
		{"head: generation", head(7), lives},
		{"head: rotated", head(15), lives},
		{"head: idle end", head(16), lives},
		{"head: floor raised", head(30), dies},
		{"head: nonce", head(32), dies},
		{"head: end of the nonce", head(63), dies},
		{"head: mark", head(71), lives},
		{"subject", row(func(r *oauth.Record) { r.Subject = "bob" }), dies},
		{"no subject", row(func(r *oauth.Record) { r.Subject = "" }), dies},
		{"client", row(func(r *oauth.Record) { r.ClientID = oauthtest.SPAClient }), dies},
	} {
		t.Run("N007 "+c.name, func(t *testing.T) {
			l := newLab(t, resources)
			detailed(l.Server, "alice")
			authorize := func() oauthtest.Code {
				_, code := l.Authorize(web, url.Values{"resource": {"https://api.example"}, "scope": {"read"}})
				require.NotEmpty(t, code.Code)
				return code
			}
			refused := l.count
			want := func(a *oauthtest.Answer, n int) {
				t.Helper()
				if strings.Contains(c.name, "format") {
					require.Equal(t, "503 temporarily_unavailable", outcome(a), "N013")
					require.Equal(t, n, refused(oauth.EventUnknownFormat))
					return
				}
				require.Equal(t, "400 invalid_grant", outcome(a))
				altered := l.Events(oauth.EventRecordAltered)
				require.Len(t, altered, n)
				require.NotEmpty(t, altered[n-1].Authorization)
				require.NotContains(t, altered[n-1].Err.Error(), "mac")
			}
			code := authorize()
			edited := c.edit(t, l.vault.record(t))
			l.vault.load(t, edited)
			want(l.Token(web, code.Form()), 1)
			require.Equal(t, edited, l.vault.record(t), "nothing was written")

			l.vault.load(t)
			issued := l.Redeem(authorize())
			edited = c.edit(t, l.vault.record(t))
			l.vault.load(t, edited)
			want(l.Refresh(web, issued.String("refresh_token")), 2)
			require.Equal(t, edited, l.vault.record(t), "nothing was written")
			token, err := l.VerifyToken(t.Context(), issued.String("access_token"))
			if c.access == dies {
				require.Error(t, err)
				require.Equal(t, !strings.Contains(c.name, "format"), errors.Is(err, oauth.InvalidToken))
				return
			}
			require.NoError(t, err)
			require.Equal(t, []string{"read"}, token.Scopes, "its own scopes")
			require.Equal(t, []string{"https://api.example"}, token.Audience)
			require.Empty(t, token.Extra, "what the approval said is not believed without its MAC")
			require.Empty(t, token.ACR)

			require.Equal(t, 200, revoke(l.Server, web, issued.String("access_token")).Status)
			l.gone(t, issued.String("access_token"))
			n, err := l.Revoke(t.Context(), oauth.Selector{ID: edited.ID, Erase: true})
			require.NoError(t, err, "Erase works where the MAC is wrong")
			require.Equal(t, 1, n)
			require.Empty(t, l.vault.record(t).Data)
		})
	}
}

func TestMovedRow(t *testing.T) {
	const web = oauthtest.WebClient
	move := func(t *testing.T) (l *lab, alice, bob *oauthtest.Answer, a, b oauth.Record) {
		l = newLab(t)
		alice = l.Redeem(l.Code(web))
		a = l.vault.record(t)
		l.vault.load(t)
		l.Approve("bob")
		bob = l.Redeem(l.Code(web))
		return l, alice, bob, a, l.vault.record(t)
	}
	t.Run("N007 one authorization under the id of another", func(t *testing.T) {
		l, alice, bob, a, b := move(t)
		moved := a
		moved.ID = b.ID // bob's refresh token shall become alice's
		l.vault.load(t, a, moved)
		assert.Equal(t, "400 invalid_grant", outcome(l.Refresh(web, bob.String("refresh_token"))))
		assert.Equal(t, 1, l.count(oauth.EventRecordAltered))
		l.gone(t, bob.String("access_token"))
		assert.Equal(t, "200", outcome(l.Refresh(web, alice.String("refresh_token"))), "alice's own is as it was")
	})
	t.Run("N007 the nonce of one in the row of another", func(t *testing.T) {
		l, alice, bob, a, b := move(t)
		h := headOf(t, b)
		nonce := nonceOf(t, a)
		copy(h[32:64], nonce[:])
		l.vault.load(t, a, withHead(b, h))
		assert.Equal(t, "400 invalid_grant", outcome(l.Refresh(web, bob.String("refresh_token"))))
		assert.Equal(t, 1, l.count(oauth.EventRecordAltered))
		l.gone(t, bob.String("access_token"))
		l.lives(t, alice.String("access_token"))
	})
	t.Run("N007 another kind, another realm", func(t *testing.T) {
		l, _, bob, _, b := move(t)
		for _, edit := range []func(*oauth.Record){
			func(r *oauth.Record) { r.Kind = oauth.KindSpent },
			func(r *oauth.Record) { r.Realm = "elsewhere" },
		} {
			edited := b
			edit(&edited)
			l.vault.load(t, edited)
			assert.Equal(t, "400 invalid_grant", outcome(l.Refresh(web, bob.String("refresh_token"))))
			l.gone(t, bob.String("access_token"))
		}
	})
	t.Run("N007 the row of an erased authorization filled with empty Data", func(t *testing.T) {
		l, _, bob, _, b := move(t)
		for _, data := range []string{"", "{}", "null", "[]", `""`} {
			edited := b
			edited.Data = []byte(data)
			l.vault.load(t, edited)
			assert.Equal(t, "400 invalid_grant", outcome(l.Refresh(web, bob.String("refresh_token"))))
			l.gone(t, bob.String("access_token"))
		}
	})
	t.Run("N007 the end taken back by hand", func(t *testing.T) {
		l, _, bob, _, b := move(t)
		require.Equal(t, 200, revoke(l.Server, web, bob.String("refresh_token")).Status)
		ended := l.vault.record(t)
		h := headOf(t, ended)
		h[2] = 0 // the flag
		l.vault.load(t, withHead(ended, h))
		assert.Equal(t, "400 invalid_grant", outcome(l.Refresh(web, bob.String("refresh_token"))))
		assert.Equal(t, 1, l.count(oauth.EventRecordAltered))
		require.Equal(t, b.ID, ended.ID)
	})
}

// A store that was taken back to a dump.
func TestLostTimeline(t *testing.T) {
	const web = oauthtest.WebClient
	restored := func(t *testing.T, codeOpen bool) (l *lab, first, lost *oauthtest.Answer, code oauthtest.Code) {
		l = newLab(t)
		code = l.Code(web)
		approved := l.vault.dump(t)
		first = l.Redeem(code)
		dump := l.vault.dump(t)
		lost = l.Refresh(web, l.Refresh(web, first.String("refresh_token")).String("refresh_token"))
		require.Equal(t, 200, lost.Status)
		if codeOpen {
			dump = approved
		}
		l.vault.load(t, dump...)
		return l, first, lost, code
	}
	t.Run("N003 Revoke ends a token that the store has never seen", func(t *testing.T) {
		l, first, lost, _ := restored(t, false)
		l.lives(t, lost.String("access_token"))
		n, err := l.Revoke(t.Context(), oauth.Selector{Subject: "alice"})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		l.gone(t, first.String("access_token"), lost.String("access_token"))
		assert.Equal(t, "401 invalid_token", outcome(l.Server.Get("/oauth/userinfo", lost.String("access_token"))))
		assert.Equal(t, "400 invalid_grant", outcome(l.Refresh(web, lost.String("refresh_token"))))
	})
	t.Run("N003 its own revocation ends it, and what comes after lives", func(t *testing.T) {
		l, first, lost, _ := restored(t, false)
		require.Equal(t, 200, revoke(l.Server, web, lost.String("access_token")).Status)
		l.gone(t, first.String("access_token"), lost.String("access_token"))
		next := l.Refresh(web, lost.String("refresh_token"))
		require.Equal(t, 200, next.Status)
		l.lives(t, next.String("access_token"))
		l.gone(t, lost.String("access_token"))
	})
	t.Run("N003 a lost refresh token can be revoked", func(t *testing.T) {
		l, first, lost, _ := restored(t, false)
		require.Equal(t, 200, revoke(l.Server, web, lost.String("refresh_token")).Status)
		l.gone(t, first.String("access_token"), lost.String("access_token"))
		assert.Equal(t, "400 invalid_grant", outcome(l.Refresh(web, lost.String("refresh_token"))))
	})
	t.Run("N003 of a record that the dump does not have", func(t *testing.T) {
		l, first, lost, _ := restored(t, false)
		l.vault.load(t)
		l.gone(t, first.String("access_token"), lost.String("access_token"))
		assert.Equal(t, "400 invalid_grant", outcome(l.Refresh(web, lost.String("refresh_token"))))
	})
	t.Run("N002 the code was open", func(t *testing.T) {
		l, _, lost, code := restored(t, true)
		next := l.Refresh(web, lost.String("refresh_token"))
		require.Equal(t, 200, next.Status)
		back := l.Events(oauth.EventStoreWentBack)
		require.Len(t, back, 1)
		assert.Equal(t, uint32(4), back[0].Generation, "presented + 1")
		assert.Equal(t, "400 invalid_grant", outcome(l.Token(web, code.Form())), "an open code is closed")
		l.lives(t, next.String("access_token"))
		l.Clock.Advance(3 * time.Second)
		assert.Equal(t, "400 invalid_grant", outcome(l.Token(web, code.Form())))
		assert.Equal(t, 1, l.count(oauth.EventReuseDetected))
		l.gone(t, next.String("access_token"))
	})
	t.Run("N002 a record that is kept, not rotated", func(t *testing.T) {
		l := newLab(t, keep)
		code := l.Code(web)
		dump := l.vault.dump(t)
		token := l.Redeem(code).String("refresh_token")
		l.vault.load(t, dump...)
		a := l.Refresh(web, token)
		require.Equal(t, 200, a.Status)
		assert.Len(t, l.Events(oauth.EventStoreWentBack), 1)
		assert.NotEqual(t, token, a.String("refresh_token"), "its generation is the presented one + 1")
		assert.Equal(t, "400 invalid_grant", outcome(l.Token(web, code.Form())))
		assert.Equal(t, "200", outcome(l.Refresh(web, a.String("refresh_token"))))
	})
}

// N008: a handle approves once, whatever becomes of its record.
func TestHandleOfASweptRecord(t *testing.T) {
	const web = oauthtest.WebClient
	for _, c := range []struct {
		name   string
		use    func(t *testing.T, l *lab, p *page)
		after  time.Duration
		record bool // whether the record must still be there
	}{
		{"the record expired with the handle", func(*testing.T, *lab, *page) {}, time.Hour + time.Minute + time.Millisecond, false},
		{"the code expired, the handle did not", func(*testing.T, *lab, *page) {}, time.Hour - time.Millisecond, true},
		{"revoked, the handle has not expired", func(t *testing.T, l *lab, p *page) {
			require.Equal(t, 200, revoke(l.Server, web, l.Redeem(p.code).String("refresh_token")).Status)
		}, 59 * time.Minute, true},
		{"erased, the handle has not expired", func(t *testing.T, l *lab, _ *page) {
			_, err := l.Revoke(t.Context(), oauth.Selector{Subject: "alice", Erase: true})
			require.NoError(t, err)
		}, 59 * time.Minute, true},
		{"erased, the handle has expired", func(t *testing.T, l *lab, _ *page) {
			_, err := l.Revoke(t.Context(), oauth.Selector{Subject: "alice", Erase: true})
			require.NoError(t, err)
		}, time.Hour + time.Minute + time.Millisecond, false},
	} {
		t.Run("N008 "+c.name, func(t *testing.T) {
			l := newLab(t)
			p := open(t, l.Server, web, nil)
			require.Equal(t, "303 code", result(p.decide(l.Server)))
			c.use(t, l, p)
			l.Clock.Advance(c.after)
			_, err := l.DeleteExpired(t.Context(), 100)
			require.NoError(t, err)
			require.Equal(t, c.record, len(l.vault.dump(t)) == 1)
			before := l.vault.dump(t)
			a := p.decide(l.Server)
			assert.Equal(t, "400", result(a))
			assert.Empty(t, a.Header.Get("Location"))
			assert.Equal(t, before, l.vault.dump(t))
		})
	}
}

// Members of Data that this version does not know, and a format that it does not.
func TestNewerData(t *testing.T) {
	const web = oauthtest.WebClient
	const future = `"future":{ "a" : [1, 2.50,"\u00e9\/"],"head":null}`
	l := newLab(t)
	th := newThief(t, l.Config)
	p := open(t, l.Server, web, nil)
	require.Equal(t, "303 code", result(p.decide(l.Server)))
	r := l.vault.record(t)
	r.Data = []byte(strings.Replace(string(r.Data), `"grant":`, future+`,"grant":`, 1))
	l.vault.load(t, th.reseal(r))
	still := func(t *testing.T) {
		t.Helper()
		data := string(l.vault.record(t).Data)
		require.Contains(t, data, `},`+future+`,"grant":{`)
	}
	issued := l.Redeem(p.code)
	t.Run("N013 after TK", still)
	second := l.Refresh(web, issued.String("refresh_token"))
	require.Equal(t, 200, second.Status)
	t.Run("N013 after RF", still)
	require.Equal(t, 200, revoke(l.Server, web, second.String("access_token")).Status)
	t.Run("N013 after the revocation of an access token", still)
	fresh := l.Refresh(web, second.String("refresh_token"))
	l.lives(t, fresh.String("access_token"))

	r = l.vault.record(t)
	h := headOf(t, r)
	h[0]++
	newer := th.reseal(withHead(r, h))
	l.vault.load(t, newer)
	for _, c := range []struct {
		name string
		send func() *oauthtest.Answer
	}{
		{"TK", func() *oauthtest.Answer { return l.Token(web, p.code.Form()) }},
		{"RF", func() *oauthtest.Answer { return l.Refresh(web, fresh.String("refresh_token")) }},
		{"userinfo", func() *oauthtest.Answer { return l.Server.Get("/oauth/userinfo", fresh.String("access_token")) }},
		{"introspection", func() *oauthtest.Answer { return l.Introspect(fresh.String("access_token")) }},
	} {
		t.Run("N013 a higher format, "+c.name, func(t *testing.T) {
			before := l.count(oauth.EventUnknownFormat)
			a := c.send()
			assert.Equal(t, "503 temporarily_unavailable", outcome(a))
			assert.NotEmpty(t, a.Header.Get("Retry-After"))
			assert.Greater(t, l.count(oauth.EventUnknownFormat), before, "an event")
		})
	}
	t.Run("N013 a higher format, revoke", func(t *testing.T) {
		for _, member := range []string{"access_token", "refresh_token"} {
			assert.Equal(t, "503 temporarily_unavailable", outcome(revoke(l.Server, web, fresh.String(member))))
		}
	})
	assert.Equal(t, newer, l.vault.record(t), "never a guess: nothing was written")
	l.vault.load(t, r)
	require.Equal(t, 200, revoke(l.Server, web, fresh.String("refresh_token")).Status)
	t.Run("N013 after the end", still)
}
