package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A row is an Authorization header and what all three APIs say to it.
type row struct {
	name          string
	authorization string
	want          verdict
}

func bearer(name, token string, want verdict) row { return row{name, "Bearer " + token, want} }

// Go with resource.JWT, Node with jose, Python with PyJWT: one table.
func TestAPIs(t *testing.T) {
	t.Parallel()
	a, other := startAuthority(t), startAuthority(t)
	three := startAPIs(t, a.issuer, notesAPI, "300")
	var rows []row
	rows = append(rows, issuedRows(t, a)...)
	rows = append(rows, headerRows(t, a)...)
	rows = append(rows, claimRows(t, a)...)
	rows = append(rows, forgedRows(t, a)...)
	rows = append(rows, otherRows(t, a, other)...)
	count := map[int]int{}
	for _, r := range rows {
		count[r.want.Status]++
		t.Run(r.name, func(t *testing.T) { three.all(t, r.want, http.MethodGet, r.authorization) })
	}
	t.Logf("%d tokens at three APIs: %v", len(rows), count)

	t.Run("RFC 6750 3.1 the scope of another route", func(t *testing.T) {
		reads, writes := "Bearer "+a.token(t, "ES256", "notes:read"), "Bearer "+a.token(t, "ES256", "notes:write")
		three.all(t, good("ES256", "alice", "notes:write"), http.MethodPost, writes)
		three.all(t, verdict{Status: 403, Scope: "notes:write", Error: "insufficient_scope"}, http.MethodPost, reads)
		three.all(t, lacking, http.MethodGet, writes)
	})
}

// issuedRows are tokens as the server issues them.
func issuedRows(t *testing.T, a *authority) (rows []row) {
	for _, alg := range algorithms {
		rows = append(rows,
			bearer(alg, a.token(t, alg, "notes:read"), good(alg, "alice", "notes:read")),
			bearer(alg+" of a client that acts for itself", a.machine(t, alg, notesAPI), good(alg, "", "notes:read")),
			bearer(alg+" without the scope", a.token(t, alg, "notes:write"), lacking),
			bearer(alg+" with another scope that begins alike", a.token(t, alg, "notes:reader"), lacking),
			bearer(alg+" for another API", a.machine(t, alg, filesAPI), invalid))
	}
	both := a.authorize(t, a.client("ES256", "notes:write", "notes:read"), filesAPI, notesAPI)
	return append(rows,
		bearer("RFC 8707 2 for two APIs", both.AccessToken, good("ES256", "alice", "notes:write notes:read")),
		bearer("RFC 8707 2 for none, so for the server itself", a.authorize(t, a.client("ES256", "notes:read")).AccessToken, invalid),
		bearer("an opaque token", a.token(t, "opaque", "notes:read"), invalid),
		bearer("a refresh token", both.RefreshToken, invalid))
}

// headerRows are requests with and without a token.
func headerRows(t *testing.T, a *authority) []row {
	token := a.token(t, "ES256", "notes:read")
	in := good("ES256", "alice", "notes:read")
	return []row{
		{"RFC 6750 3.1 no header", "", noToken},
		{"RFC 6750 3.1 another scheme", "Basic dXNlcjpwYXNz", noToken},
		{"RFC 6750 3.1 a scheme that begins alike", "Bearers " + token, noToken},
		{"RFC 9110 11.1 the scheme in other letters", "bEARER " + token, in},
		{"RFC 6750 2.1 two spaces", "Bearer  " + token, in},
		{"RFC 6750 2.1 no token", "Bearer", invalid},
		{"RFC 6750 2.1 two tokens", "Bearer " + token + " " + token, invalid},
		{"RFC 6750 2.1 a list", "Bearer " + token + ", Bearer " + token, invalid},
		{"RFC 6750 2.1 no b64token", "Bearer {" + token + "}", invalid},
		bearer("no JWT", "nonsense", invalid),
		bearer("dots", "..", invalid),
		bearer("only a header", token[:strings.Index(token, ".")+1], invalid),
		bearer("a part too many", token+".e30", invalid),
		bearer("padding", token+"==", invalid),
	}
}

// claimRows are tokens of the server's own key that it would not issue: who checks
// signatures alone lets them in.
func claimRows(t *testing.T, a *authority) (rows []row) {
	key, now := a.key(t, "ES256"), time.Now().Unix()
	in := good("ES256", "alice", "notes:read")
	for name, c := range map[string]struct {
		header, claims map[string]any
		want           verdict
	}{
		"RFC 9068 4 as control":                        {nil, nil, in},
		"RFC 9068 4 typ application/at+jwt":            {map[string]any{"typ": "application/at+jwt"}, nil, in},
		"RFC 7515 4.1.9 typ in other letters":          {map[string]any{"typ": "AT+JWT"}, nil, in},
		"RFC 9068 2.2 other claims":                    {nil, map[string]any{"roles": []string{"admin"}, "amr": []string{"otp"}, "auth_time": now}, in},
		"RFC 7519 4.1.3 aud is a list":                 {nil, map[string]any{"aud": []string{filesAPI, notesAPI}}, in},
		"RFC 7519 4.1.5 nbf is past":                   {nil, map[string]any{"nbf": now - 60}, in},
		"RFC 9068 4 typ JWT, as of an ID token":        {map[string]any{"typ": "JWT"}, nil, invalid},
		"RFC 9068 4 no typ":                            {map[string]any{"typ": nil}, nil, invalid},
		"RFC 9068 4 typ of a client assertion":         {map[string]any{"typ": "client-authentication+jwt"}, nil, invalid},
		"RFC 9068 4 typ of a signed introspection":     {map[string]any{"typ": "token-introspection+jwt"}, nil, invalid},
		"RFC 7515 4.1.11 crit":                         {map[string]any{"crit": []string{"policy"}, "policy": 1}, nil, invalid},
		"RFC 9068 4 expired":                           {nil, map[string]any{"exp": now - 1}, invalid},
		"RFC 7519 4.1.4 expires now":                   {nil, map[string]any{"exp": now}, invalid},
		"RFC 9068 2.2 no exp":                          {nil, map[string]any{"exp": nil}, invalid},
		"RFC 7519 4.1.4 exp is text":                   {nil, map[string]any{"exp": "tomorrow"}, invalid},
		"RFC 7519 4.1.5 nbf in ten minutes":            {nil, map[string]any{"nbf": now + 600}, invalid},
		"RFC 7519 4.1.6 iat in ten minutes":            {nil, map[string]any{"iat": now + 600, "exp": now + 1200}, invalid},
		"RFC 9068 4 aud of another API":                {nil, map[string]any{"aud": filesAPI}, invalid},
		"RFC 9068 4 aud begins alike":                  {nil, map[string]any{"aud": notesAPI + "/v2"}, invalid},
		"RFC 9068 4 aud with a slash":                  {nil, map[string]any{"aud": notesAPI + "/"}, invalid},
		"RFC 9068 4 aud is a list of others":           {nil, map[string]any{"aud": []string{filesAPI, a.issuer}}, invalid},
		"RFC 9068 4 aud is an empty list":              {nil, map[string]any{"aud": []string{}}, invalid},
		"RFC 9068 4 iss of another server":             {nil, map[string]any{"iss": "https://as.example"}, invalid},
		"RFC 9068 4 iss with a slash":                  {nil, map[string]any{"iss": a.issuer + "/"}, invalid},
		"RFC 9068 4 iss in other letters":              {nil, map[string]any{"iss": strings.ToUpper(a.issuer)}, invalid},
		"RFC 9068 2.2.3 no scope":                      {nil, map[string]any{"scope": nil}, lacking},
		"RFC 9068 2.2.3 an empty scope":                {nil, map[string]any{"scope": ""}, lacking},
		"RFC 6749 3.3 scope in other letters":          {nil, map[string]any{"scope": "Notes:Read"}, lacking},
		"RFC 9449 7.2 bound to a key (DPoP)":           {nil, map[string]any{"cnf": map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}, invalid},
		"RFC 8705 3 bound to a certificate":            {nil, map[string]any{"cnf": map[string]any{"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}, invalid},
		"RFC 9068 2.2 an hour ago, for another minute": {nil, map[string]any{"iat": now - 3600, "exp": now + 60}, in},
	} {
		rows = append(rows, bearer(name, sign(t, "ES256", key, c.header, a.claims(c.claims)), c.want))
	}
	for _, claim := range []string{"iss", "aud", "sub", "client_id", "iat", "jti"} {
		rows = append(rows, bearer("RFC 9068 2.2 no "+claim, sign(t, "ES256", key, nil, a.claims(map[string]any{claim: nil})), invalid))
	}
	return rows
}

// forgedRows are tokens of people who do not have the key.
func forgedRows(t *testing.T, a *authority) (rows []row) {
	claims, key := a.claims(nil), a.key(t, "ES256")
	token := sign(t, "ES256", key, nil, claims)
	front, signature := token[:strings.LastIndex(token, ".")], token[strings.LastIndex(token, ".")+1:]
	payload := strings.Split(token, ".")[1]
	admin, err := json.Marshal(a.claims(map[string]any{"sub": "root"}))
	require.NoError(t, err)
	rows = append(rows,
		bearer("RFC 7515 5.2 the signature is cut", token[:len(token)-4], invalid),
		bearer("RFC 7515 5.2 the signature is empty", front+".", invalid),
		bearer("RFC 7515 5.2 there is no signature", front, invalid),
		bearer("RFC 7515 5.2 other claims under the signature", strings.Replace(token, payload, b64(admin), 1), invalid),
		bearer("RFC 7515 5.2 the signature of another token", front+"."+strings.Split(sign(t, "ES256", key, nil, a.claims(map[string]any{"jti": "2"})), ".")[2], invalid),
		bearer("RFC 7515 5.2 a signature of zeros", front+"."+b64(make([]byte, 64)), invalid), // CVE-2022-21449
		bearer("RFC 7515 2 the signature spelled differently", respelled(token), invalid),
		bearer("RFC 7518 3.4 the signature in ASN.1", front+"."+b64(asn1(t, signature)), invalid),
	)
	for _, alg := range []string{"none", "None", "nOnE", ""} {
		header := map[string]any{"alg": alg, "typ": "at+jwt", "kid": key.ID}
		rows = append(rows,
			bearer("RFC 8725 3.1 alg "+alg, handmade(t, header, claims, func([]byte) []byte { return nil }), invalid),
			bearer("RFC 8725 3.1 alg "+alg+" with a signature", strings.TrimSuffix(handmade(t, header, claims, func([]byte) []byte { return nil }), ".")+"."+signature, invalid))
	}
	for _, alg := range algorithms {
		rows = append(rows, confusedRows(t, a, alg)...)
	}
	mine := stranger(t, key.ID)
	jwk := jose.JSONWebKey{Key: mine.Signer.Public(), KeyID: key.ID, Algorithm: "ES256", Use: "sig"}
	for name, header := range map[string]map[string]any{
		"a stranger's key under our kid":                    nil,
		"RFC 8725 3.10 the same, embedded":                  {"jwk": jwk},
		"RFC 8725 3.10 the same, embedded, of its own kid":  {"jwk": jwk, "kid": "mine"},
		"RFC 8725 3.10 at a jku":                            {"jku": "https://evil.example/jwks", "kid": "mine"},
		"RFC 8725 3.10 at an x5u":                           {"x5u": "https://evil.example/pem", "kid": "mine"},
		"RFC 7515 4.1.4 an unknown kid":                     {"kid": "unknown"},
		"RFC 7515 4.1.4 a kid that is a path":               {"kid": "../../../../dev/null"},
		"RFC 7515 4.1.4 a kid that is a statement":          {"kid": "x' UNION SELECT 'key"},
		"RFC 7515 4.1.4 no kid":                             {"kid": nil},
		"RFC 7515 4.1.4 an empty kid":                       {"kid": ""},
		"RFC 7515 4.1.4 the kid of the key of another kind": {"kid": "rs"},
	} {
		rows = append(rows, bearer(name, sign(t, "ES256", mine, header, claims), invalid))
	}
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES, Key: key.Signer.Public(), KeyID: key.ID},
		(&jose.EncrypterOptions{}).WithType("at+jwt"))
	require.NoError(t, err)
	object, err := encrypter.Encrypt([]byte(front))
	require.NoError(t, err)
	jwe, err := object.CompactSerialize()
	require.NoError(t, err)
	return append(rows, bearer("RFC 7516 a JWE to the server's key", jwe, invalid))
}

// confusedRows take a public key for a secret (RFC 8725, section 2.1), and a key for
// one of another algorithm.
func confusedRows(t *testing.T, a *authority, alg string) (rows []row) {
	key, claims := a.key(t, alg), a.claims(nil)
	der, err := x509.MarshalPKIXPublicKey(key.Signer.Public())
	require.NoError(t, err)
	jwk, err := json.Marshal(jose.JSONWebKey{Key: key.Signer.Public(), KeyID: key.ID, Algorithm: alg, Use: "sig"})
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for name, shared := range map[string][]byte{"DER": der, "PEM": text, "PEM without the last line break": text[:len(text)-1], "JWK": jwk, "nothing": {}} {
		header := map[string]any{"alg": "HS256", "typ": "at+jwt", "kid": key.ID}
		rows = append(rows, bearer("RFC 8725 2.1 HS256 with the "+alg+" key as "+name, handmade(t, header, claims, hs256(shared)), invalid))
	}
	wrong := map[string]string{"RS256": "PS256", "PS256": "RS256"}[alg]
	if wrong != "" {
		rows = append(rows, bearer("RFC 8725 3.1 "+wrong+" with a key for "+alg, sign(t, wrong, key, nil, claims), invalid))
	}
	return rows
}

// otherRows are tokens of another server of the same kind.
func otherRows(t *testing.T, a, other *authority) []row {
	theirs := other.key(t, "ES256")
	return []row{
		bearer("RFC 9068 4 of another server", other.token(t, "ES256", "notes:read"), invalid),
		bearer("RFC 9068 4 of another server, whose kid is the same", other.token(t, "RS256", "notes:read"), invalid),
		bearer("RFC 9068 4 of another server that lies about iss", sign(t, "ES256", theirs, nil, a.claims(nil)), invalid),
		bearer("RFC 9068 4 of another server that lies about iss and kid", sign(t, "ES256", theirs, map[string]any{"kid": a.key(t, "ES256").ID}, a.claims(nil)), invalid),
	}
}

// Keys come and go while the three APIs run.
func TestAPIsRotation(t *testing.T) {
	t.Parallel()
	a := startAuthority(t)
	long, short := startAPIs(t, a.issuer, notesAPI, "300"), startAPIs(t, a.issuer, notesAPI, "1", "ES256", "PS256")
	issue := func() (token, kid string) { return a.token(t, "ES256", "notes:read"), a.key(t, "ES256").ID }

	t.Run("RFC 9068 4 the server cannot be reached: nobody gets in", func(t *testing.T) {
		token, _ := issue()
		a.down.Store(true)
		short.all(t, down, http.MethodGet, "Bearer "+token)
		short.all(t, invalid, http.MethodGet, "Bearer nonsense")
		a.down.Store(false)
		short.ahead(t, "11s") // resource.JWT does not ask a server that is down with every request
		short.accepted(t, token)
	})

	t.Run("RFC 8725 3.1 an algorithm that is not on the list", func(t *testing.T) {
		for _, alg := range algorithms {
			token := a.token(t, alg, "notes:read")
			long.accepted(t, token)
			if alg == "ES256" || alg == "PS256" {
				short.accepted(t, token)
			} else {
				short.refused(t, token)
			}
		}
	})

	first, firstKid := issue()
	long.accepted(t, first)
	t.Run("a rotation: nobody notices", func(t *testing.T) {
		asked := a.asked.Load()
		a.ahead.Add(int64(25 * time.Hour)) // of the keys alone: the next one is published long enough
		at, err := a.keys.Rotate(t.Context())
		require.NoError(t, err)
		require.False(t, at.After(time.Now().Add(25*time.Hour)))
		token, kid := issue()
		require.NotEqual(t, firstKid, kid)
		long.accepted(t, token)
		long.accepted(t, first)
		assert.Equal(t, asked, a.asked.Load(), "the new key was known before it signed")
	})
	second, secondKid := issue()
	t.Run("a key that nobody has seen: accepted without a restart", func(t *testing.T) {
		require.NoError(t, a.keys.Retire(t.Context(), secondKid))
		token, kid := issue()
		require.NotEqual(t, secondKid, kid)
		long.accepted(t, second) // still believed
		asked := a.asked.Load()
		long.ahead(t, "11s")
		long.accepted(t, token)
		assert.Equal(t, asked+3, a.asked.Load(), "each has asked once")
		long.refused(t, second) // the new set does not have it
		long.accepted(t, first) // that key has only stopped signing
	})
	t.Run("a key that was retired: refused when the copies are old", func(t *testing.T) {
		token, kid := issue()
		short.ahead(t, "11s")
		eventually(t, short, token, 200)
		require.NoError(t, a.keys.Retire(t.Context(), kid))
		long.accepted(t, token) // until they ask again
		short.ahead(t, "6m")
		eventually(t, short, token, 401)
		replacement, _ := issue()
		short.ahead(t, "11s")
		short.accepted(t, replacement)
		short.refused(t, token)
	})
}

// eventually waits until all give an answer of this status to a token.
func eventually(t *testing.T, three apis, token string, status int) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for _, api := range three {
		for api.ask(t, http.MethodGet, "Bearer "+token).Status != status {
			select {
			case <-tick.C:
			case <-deadline.C:
				require.FailNow(t, "not in 20 seconds", "%s: status %d", api.name, status)
			}
		}
	}
}
