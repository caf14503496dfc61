package oauth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// stringsOf collects every string of a dump: the columns, Data as it is, the
// names and values inside it, and whatever these decode to.
func stringsOf(t testing.TB, records []oauth.Record) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	var value func(any)
	value = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, inner := range v {
				found[name] = true
				value(inner)
			}
		case []any:
			for _, inner := range v {
				value(inner)
			}
		case nil:
		default:
			found[fmt.Sprint(v)] = true
		}
	}
	for _, r := range records {
		for _, column := range []string{r.ID, string(r.Kind), r.ClientID, r.Subject, string(r.Data)} {
			found[column] = true
		}
		_, id, _ := strings.Cut(r.ID, "_")
		found[id] = true
		if len(r.Data) == 0 {
			continue
		}
		decoder := json.NewDecoder(bytes.NewReader(r.Data))
		decoder.UseNumber()
		var all map[string]any
		require.NoError(t, decoder.Decode(&all))
		value(all)
	}
	for text := range found {
		for _, b := range decoded(text) {
			for _, part := range append([][]byte{b}, windows(b)...) {
				found[string(part)] = true
				found[base64.RawURLEncoding.EncodeToString(part)] = true
				found[hex.EncodeToString(part)] = true
			}
		}
	}
	delete(found, "")
	return found
}

// decoded is what a text may mean in the usual encodings.
func decoded(text string) [][]byte {
	var all [][]byte
	for _, e := range []*base64.Encoding{base64.RawURLEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.StdEncoding} {
		if b, err := e.DecodeString(text); err == nil && len(b) > 0 {
			all = append(all, b)
			break
		}
	}
	if b, err := hex.DecodeString(text); err == nil && len(b) > 0 {
		all = append(all, b)
	}
	return all
}

// windows are the parts of a head and of a MAC: id, nonce, mark, and every part
// that is as long as a code.
func windows(b []byte) [][]byte {
	var all [][]byte
	switch len(b) {
	case 72:
		all = append(all, b[32:64], b[64:72], b[32:])
	case 33:
		all = append(all, b[1:], b[1:17], b[1:21])
	}
	for i := 0; i+41 <= len(b) && len(b) < 100; i++ {
		all = append(all, b[i:i+41])
	}
	return all
}

// A burglar tries a text at every endpoint, as every kind of credential.
type burglar struct {
	s    *oauthtest.Server
	open oauthtest.Code // whose verifier the burglar knows
	page *page          // whose cookie too
}

// accepted names the uses for which the text was good.
func (b burglar) accepted(text string) []string {
	var good []string
	try := func(as string, accepted bool) {
		if accepted {
			good = append(good, as)
		}
	}
	form := b.open.Form()
	form.Set("code", text)
	try("code", b.s.Token(b.open.Client, form).Status == 200)
	try("refresh token", b.s.Refresh(b.open.Client, text).Status == 200)
	try("access token", b.s.Introspect(text).JSON["active"] == true)
	_, err := b.s.VerifyToken(context.Background(), text)
	try("access token in process", err == nil)
	if !strings.ContainsAny(text, "\x00\r\n") {
		try("access token at userinfo", b.s.Get("/oauth/userinfo", text).Status == 200)
	}
	for _, id := range []string{oauthtest.WebClient, oauthtest.MachineClient, oauthtest.APIClient} {
		secret := url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}
		try("secret of "+id, postAs(b.s, secret, id, text).Status != 401)
	}
	p := *b.page
	p.handle = url.QueryEscape(text)
	try("handle", p.decide(b.s).Status == 303)
	return good
}

// worked names the uses for which the text was good and that end what it is of.
func (b burglar) worked(text string) []string {
	var good []string
	p := *b.page
	p.cookie = &http.Cookie{Name: p.cookie.Name, Value: text}
	if p.cookie.Valid() == nil && p.decide(b.s).Status == 303 {
		good = append(good, "cookie")
	}
	b.s.Store.Reset()
	for _, id := range []string{oauthtest.WebClient, oauthtest.SPAClient, oauthtest.MachineClient} {
		revoke(b.s, id, text)
	}
	written := func(method string) bool { return method == "Create" || method == "Update" }
	if slices.ContainsFunc(b.s.Store.Methods(), written) {
		good = append(good, "revocation")
	}
	return good
}

// S363: a copy of the database contains no usable credential.
func TestDumpHasNothingToUse(t *testing.T) {
	const web, spa, machine = oauthtest.WebClient, oauthtest.SPAClient, oauthtest.MachineClient
	for _, c := range []struct {
		name   string
		config func(*oauth.Config)
	}{
		{"V060 V061 S363 opaque", func(*oauth.Config) {}},
		{"S363 opaque in hexadecimal", func(c *oauth.Config) {
			c.AccessToken, c.RefreshToken = oauth.Opaque{Hex: true}, oauth.Opaque{Hex: true}
		}},
		{"S363 JWT", func(c *oauth.Config) { c.AccessToken = oauth.JWT{InsecureSymmetricKey: oauth.NewSecret()} }},
		{"S363 the clients in the store", func(c *oauth.Config) {
			old := client(c, "old")
			storesClients(c)
			require.NoError(t, c.Clients.(*oauth.ClientStore).Create(t.Context(), old))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, implicit, imports, resources, c.config)
			var issued []string
			keep := func(a *oauthtest.Answer) *oauthtest.Answer {
				require.Less(t, a.Status, 400, "%s", a.Body)
				_, params := a.Location()
				for _, v := range []string{a.String("access_token"), a.String("refresh_token"), params.Get("code"), params.Get("access_token")} {
					if v != "" {
						issued = append(issued, v)
					}
				}
				return a
			}
			detailed(l.Server, "alice")
			a, first := l.Authorize(web, url.Values{"scope": {"read"}, "resource": {"https://api.example"}})
			keep(a)
			keep(l.Refresh(spa, keep(l.Redeem(l.Code(spa))).String("refresh_token")))
			ended := keep(l.Redeem(l.Code(web))) // ended by its client
			revoke(l.Server, web, ended.String("refresh_token"))
			dead := keep(l.Redeem(l.Code(web))) // its access tokens ended
			revoke(l.Server, web, dead.String("access_token"))
			spent := l.Server.ClientToken(oauthtest.MachineClient, "read")
			revoke(l.Server, machine, spent)
			bare := l.Server.ClientToken(oauthtest.MachineClient, "read")
			issued = append(issued, spent, bare)
			keep(l.Refresh(web, foreignToken))
			old, _ := l.Authorize("old", url.Values{"response_type": {"token"}})
			keep(old)
			live := keep(l.Redeem(l.Code(web)))
			l.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
				in.Approve(w, r, oauth.Approval{Subject: "bob", Scopes: in.Scopes(), Remember: time.Hour})
			})
			remembered, _ := l.Authorize(spa, nil)
			keep(remembered)
			waiting := open(t, l.Server, web, nil)
			issued = append(issued, waiting.handle, waiting.cookie.Value, foreignToken, oauthtest.Secret, first.Verifier)

			dump := l.vault.dump(t)
			found := stringsOf(t, dump)
			require.Greater(t, len(found), 300)
			whole := string(fmt.Appendf(nil, "%+v", dump))
			for _, text := range issued {
				require.False(t, found[text])
				require.NotContains(t, whole, text)
				for _, b := range decoded(strings.ReplaceAll(text, ".", "")) {
					if len(b) == 41 { // its MAC is nowhere
						text = string(b[21:])
					}
				}
				for other := range found {
					require.NotContains(t, other, text)
				}
			}

			b := burglar{l.Server, first, waiting}
			for text := range found {
				require.Empty(t, append(b.accepted(text), b.worked(text)...), "%q of the dump was accepted", text)
			}
			require.Equal(t, dump, l.vault.dump(t), "and nothing has changed")

			// Had there been one, this would have found it.
			assert.Equal(t, []string{"code"}, b.accepted(first.Code))
			assert.Contains(t, b.accepted(live.String("access_token")), "access token at userinfo")
			assert.Equal(t, []string{"refresh token"}, b.accepted(live.String("refresh_token")))
			assert.Equal(t, []string{"revocation"}, b.worked(live.String("access_token")))
			assert.Contains(t, b.accepted(bare), "access token in process")
			assert.Contains(t, b.accepted(oauthtest.Secret), "secret of "+machine)
			assert.Contains(t, b.accepted(waiting.handle), "handle")
			assert.Equal(t, []string{"cookie"}, b.worked(waiting.cookie.Value))
		})
	}
}
