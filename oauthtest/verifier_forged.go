package oauthtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/resource"
)

// checkForged makes what anybody can make who knows what is published: the keys, and
// the claims of a live token.
func checkForged(v *verifierTrial) error {
	live := v.approved()
	want, err := v.accepts("a live token", live)
	if err != nil {
		return err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": want.Issuer, "sub": "admin", "aud": want.Audience, "client_id": want.ClientID, "scope": "read write", "jti": want.ID,
		"iat": want.IssuedAt.Unix(), "exp": want.ExpiresAt.Add(time.Hour).Unix(),
	})
	if err != nil {
		return err
	}
	jwks := v.Do(httptest.NewRequest(http.MethodGet, v.Config.Issuer+"/oauth/jwks", nil)).Body
	encode := base64.RawURLEncoding.EncodeToString
	kid := ""
	if header, _, ok := strings.Cut(live, "."); ok {
		var h struct{ Kid string }
		if raw, err := base64.RawURLEncoding.DecodeString(header); err == nil && json.Unmarshal(raw, &h) == nil {
			kid = h.Kid
		}
	}
	for _, header := range []string{
		fmt.Sprintf(`{"alg":"none","typ":"at+jwt","kid":%q}`, kid), `{"alg":"none"}`, `{"alg":"NONE","typ":"at+jwt"}`,
		fmt.Sprintf(`{"alg":"HS256","typ":"at+jwt","kid":%q}`, kid), `{"alg":"HS256","typ":"at+jwt"}`,
		fmt.Sprintf(`{"alg":"ES256","typ":"at+jwt","kid":%q}`, kid),
		`{"alg":"HS256","typ":"at+jwt","jku":"https://evil.example/keys"}`, `{"alg":"HS256","typ":"at+jwt","jwk":{"kty":"oct","k":"AAAA"}}`,
	} {
		input := encode([]byte(header)) + "." + encode(claims)
		for name, secret := range map[string][]byte{"nothing": nil, "the published keys": jwks, "an empty secret": {}} {
			signature := ""
			if secret != nil {
				mac := hmac.New(sha256.New, secret)
				mac.Write([]byte(input))
				signature = encode(mac.Sum(nil))
			}
			if err := v.refuses("the header "+header+" signed with "+name, input+"."+signature); err != nil {
				return err
			}
		}
	}
	if parts := strings.Split(live, "."); len(parts) == 3 {
		return v.refuses("the signature of another token", parts[0]+"."+encode(claims)+"."+parts[2])
	}
	return nil
}

func checkOtherServers(v *verifierTrial) error {
	if _, err := v.accepts("a token of its own server", v.approved()); err != nil {
		return err
	}
	impostor := NewServer(v.t, append(v.edits[:len(v.edits):len(v.edits)], func(c *oauth.Config) {
		if c.Keys != nil {
			JWTs(c)
		}
	})...)
	if err := v.refuses("a token of a server that only has the same name", impostor.AccessToken("alice", "read")); err != nil {
		return err
	}
	sibling := NewServer(v.t, append(v.edits[:len(v.edits):len(v.edits)], func(c *oauth.Config) {
		c.Issuer, c.Secrets, c.Keys, c.Storage = "https://sibling.example", v.Config.Secrets, v.Config.Keys, v.Config.Storage
	})...)
	return v.refuses("a token of another issuer with the same secrets, keys and store", sibling.AccessToken("alice", "read"))
}

// checkOutage: nobody answers, and the store fails.
func checkOutage(v *verifierTrial) error {
	live := v.approved()
	impostor := NewServer(v.t, append(v.edits[:len(v.edits):len(v.edits)], func(c *oauth.Config) {
		if c.Keys != nil {
			JWTs(c)
		}
	})...).AccessToken("alice", "read")
	fails := func(is bool) {
		v.Down(is)
		v.Store.Fail(nil)
		if is {
			v.Store.Fail(func(StoreCall) Fault { return FailBefore })
		}
	}
	fresh, known := v.open(), v.verifier
	if _, err := v.accepts("a live token", live); err != nil {
		return err
	}
	fails(true)
	for what, verifier := range map[string]resource.Verifier{"a new verifier": fresh, "one that has worked before": known} {
		got, err := verifier.VerifyToken(v.ctx, live)
		if errors.Is(err, resource.InvalidToken) || err == nil && (got == nil || got.Subject != "alice") {
			return fmt.Errorf("%s called a live token invalid while nobody could be asked: %w", what, errors.Join(err, errUnreachable))
		}
		if err != nil {
			if err := silent(what, live, err); err != nil {
				return err
			}
		}
		if got, err := verifier.VerifyToken(v.ctx, impostor); err == nil {
			return fmt.Errorf("%s took a token that nobody could be asked about: %+v", what, got)
		}
	}
	fails(false)
	v.Clock.Advance(time.Minute)
	for _, v.verifier = range []resource.Verifier{fresh, known} {
		if _, err := v.accepts("a live token, a minute after everything works again", live); err != nil {
			return err
		}
		if err := v.refuses("a token of a server that only has the same name", impostor); err != nil {
			return err
		}
	}
	return nil
}
