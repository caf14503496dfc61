package oauth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/grantwell/oauth"
	"github.com/stretchr/testify/assert"
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func TestPKCEAtAuthorize(t *testing.T) {
	required, optional := watch(t), watch(t, pkceOptional)
	public := []string{"client_id=P", "redirect_uri=" + url.QueryEscape(backP)}
	confidential := []string{"client_id=C", "redirect_uri=" + url.QueryEscape(backC)}
	for _, test := range []struct {
		name    string
		changes []string
	}{
		{"S051 FS-04 no code_challenge and no method", []string{"-code_challenge", "-code_challenge_method"}},
		{"S051 no code_challenge", []string{"-code_challenge"}},
		{"S007 empty code_challenge", []string{"code_challenge="}},
		{"FS-07 method plain", []string{"code_challenge_method=plain"}},
		{"FS-07 method absent", []string{"-code_challenge_method"}},
		{"FS-07 method empty", []string{"code_challenge_method="}},
		{"FS-07 method s256", []string{"code_challenge_method=s256"}},
		{"FS-07 method S256 and a space", []string{"code_challenge_method=S256%20"}},
		{"FS-07 method S512", []string{"code_challenge_method=S512"}},
		{"S058 short", []string{"code_challenge=short"}},
		{"S058 42 characters", []string{"code_challenge=" + rfcChallenge[:42]}},
		{"S058 44 characters", []string{"code_challenge=" + rfcChallenge + "A"}},
		{"S058 129 characters", []string{"code_challenge=" + strings.Repeat("A", 129)}},
		{"S058 with +", []string{"code_challenge=%2B" + rfcChallenge[1:]}},
		{"S058 with /", []string{"code_challenge=/" + rfcChallenge[1:]}},
		{"S058 with =", []string{"code_challenge=" + rfcChallenge[:42] + "%3D"}},
		{"S058 padded", []string{"code_challenge=" + rfcChallenge + "%3D"}},
		{"S058 with ~", []string{"code_challenge=~" + rfcChallenge[1:]}},
		{"S058 with a line break", []string{"code_challenge=" + rfcChallenge[:42] + "%0A"}},
		{"S058 spare bits that are not zero", []string{"code_challenge=" + rfcChallenge[:42] + "N"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := required.on(t)
			w.re(w.get(az(append(public, test.changes...)...)), oauth.InvalidRequest)
			w.reTo(w.get(az(append(confidential, test.changes...)...)), oauth.InvalidRequest, backC+"?", "xyz")
			w = optional.on(t)
			w.re(w.get(az(append(public, test.changes...)...)), oauth.InvalidRequest)
			if !strings.Contains(test.name, "and no method") {
				// What is there must be right, also where it may be left out.
				w.reTo(w.get(az(append(append(confidential, "code_challenge_method=S256"), test.changes...)...)), oauth.InvalidRequest, backC+"?", "xyz")
			}
		})
	}
	t.Run("FT-04 RFC 9700 2.1.1 PKCEOptional lets confidential clients leave it out, and only them", func(t *testing.T) {
		w := optional.on(t)
		w.code(w.get(az(append(confidential, "-code_challenge", "-code_challenge_method")...)), backC+"?")
		w.code(w.get(az(append(confidential, "code_challenge=", "code_challenge_method=")...)), backC+"?")
		w.re(w.get(az("-code_challenge", "-code_challenge_method")), oauth.InvalidRequest)
	})
	t.Run("FS-08 RFC 7636 B the pair of the RFC", func(t *testing.T) {
		w := required.on(t)
		assert.Equal(t, rfcChallenge, challengeOf(rfcVerifier))
		got := w.code(w.get(az()), backP+"?")
		assert.Equal(t, http.StatusOK, w.redeem(caseP, got.Get("code"), backP).Status)
	})
}

func TestPKCEAtToken(t *testing.T) {
	w := watch(t, pkceOptional)
	form := func(code, redirect, verifier string) url.Values {
		return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier}}
	}
	for _, c := range []struct{ id, redirect string }{{caseP, backP}, {caseC, backC}} {
		own := []string{"client_id=" + c.id, "redirect_uri=" + url.QueryEscape(c.redirect)}
		for _, test := range []struct{ name, verifier, code string }{
			{"S053 verifier empty", "", "invalid_request"},
			{"S054 wrong verifier", strings.Repeat("x", 43), "invalid_grant"},
			{"S054 another case of the letters", strings.ToLower(rfcVerifier), "invalid_grant"},
			{"S060 the challenge as verifier", rfcChallenge, "invalid_grant"},
			{"S059 verifier cut", rfcVerifier[:42], "invalid_grant"},
			{"S059 verifier and a space", rfcVerifier + " ", "invalid_grant"},
		} {
			t.Run(test.name+" "+c.id, func(t *testing.T) {
				w := w.on(t)
				code := w.code(w.get(az(own...)), c.redirect+"?").Get("code")
				writes := w.writes()
				a := w.Token(c.id, form(code, c.redirect, test.verifier))
				assert.Equal(t, http.StatusBadRequest, a.Status)
				assert.Equal(t, test.code, a.String("error"))
				assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
				assert.Equal(t, writes, w.writes(), "nothing is consumed")
				assert.Equal(t, http.StatusOK, w.Token(c.id, form(code, c.redirect, rfcVerifier)).Status)
			})
		}
		t.Run("V027 S052 FS-12 verifier omitted "+c.id, func(t *testing.T) {
			w := w.on(t)
			code := w.code(w.get(az(own...)), c.redirect+"?").Get("code")
			f := form(code, c.redirect, "")
			f.Del("code_verifier")
			a := w.Token(c.id, f)
			assert.Equal(t, http.StatusBadRequest, a.Status)
			assert.Equal(t, `{"error":"invalid_request","error_description":"Missing required parameter: code_verifier"}`, string(a.Body))
			assert.Equal(t, http.StatusOK, w.Token(c.id, form(code, c.redirect, rfcVerifier)).Status)
		})
	}
	t.Run("V028 V029 V030 S055 a verifier where no challenge was sent", func(t *testing.T) {
		w := w.on(t)
		own := []string{"client_id=C", "redirect_uri=" + url.QueryEscape(backC), "-code_challenge", "-code_challenge_method"}
		code := w.code(w.get(az(own...)), backC+"?").Get("code")
		assert.Equal(t, "invalid_grant", w.Token(caseC, form(code, backC, rfcVerifier)).String("error"))
		assert.Equal(t, "invalid_grant", w.Token(caseC, form(code, backC, "x")).String("error"))
		assert.Equal(t, http.StatusOK, w.Token(caseC, form(code, backC, "")).Status)
	})
	for name, verifier := range map[string]string{"42 characters": strings.Repeat("a", 42), "129 characters": strings.Repeat("a", 129),
		"a character outside": strings.Repeat("a", 42) + "+", "text outside ASCII": strings.Repeat("é", 30)} {
		t.Run("S059 the challenge was made from a verifier that is none: "+name, func(t *testing.T) {
			w := w.on(t)
			code := w.code(w.get(az("code_challenge="+challengeOf(verifier))), backP+"?").Get("code")
			assert.Equal(t, "invalid_grant", w.Token(caseP, form(code, backP, verifier)).String("error"))
		})
	}
	for name, verifier := range map[string]string{"43 characters": strings.Repeat("a", 43), "128 characters": strings.Repeat("-._~", 32)} {
		t.Run("RFC 7636 4.1 the bounds are good: "+name, func(t *testing.T) {
			w := w.on(t)
			code := w.code(w.get(az("code_challenge="+challengeOf(verifier))), backP+"?").Get("code")
			assert.Equal(t, http.StatusOK, w.Token(caseP, form(code, backP, verifier)).Status)
		})
	}
	t.Run("S062 the code of one flow with the verifier of another", func(t *testing.T) {
		w := w.on(t)
		one, two := strings.Repeat("1", 43), strings.Repeat("2", 43)
		code1 := w.code(w.get(az("code_challenge="+challengeOf(one))), backP+"?").Get("code")
		code2 := w.code(w.get(az("code_challenge="+challengeOf(two))), backP+"?").Get("code")
		w.Clock.Advance(3 * time.Second)
		assert.Equal(t, "invalid_grant", w.Token(caseP, form(code1, backP, two)).String("error"))
		assert.Equal(t, "invalid_grant", w.Token(caseP, form(code2, backP, one)).String("error"))
		assert.Equal(t, http.StatusOK, w.Token(caseP, form(code1, backP, one)).Status)
		assert.Equal(t, http.StatusOK, w.Token(caseP, form(code2, backP, two)).Status)
	})
}
