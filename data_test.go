package oauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/derive"
	"github.com/grantwell/oauth/internal/form"
)

// count is n bytes that count up.
func count(from byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

// keeper is a server as far as Data is concerned, with the secret of testdata.
func keeper(t testing.TB) *Server {
	t.Helper()
	ring, err := derive.NewRing("https://as.example", "", [][]byte{count(0, 32)})
	require.NoError(t, err)
	return &Server{cfg: Config{Issuer: "https://as.example"}, ring: ring}
}

// A golden is a record that some release has written.
type golden struct {
	ID       string          `json:"id"`
	Kind     Kind            `json:"kind"`
	ClientID string          `json:"client_id"`
	Subject  string          `json:"subject"`
	Data     json.RawMessage `json:"data"`
}

func (g golden) record() Record {
	return Record{ID: g.ID, Kind: g.Kind, ClientID: g.ClientID, Subject: g.Subject, Data: g.Data, Version: 1}
}

func readGolden(t testing.TB, path string) golden {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(text, &g))
	return g
}

const t0 = 1893553445000 // 2030-01-02T03:04:05Z, in milliseconds

// written is what the files of testdata/data/v1 say, by the name of the file.
func written(t testing.TB, s *Server) map[string]*authorization {
	t.Helper()
	at := fromMillis(t0)
	make := func(edit func(a *authorization)) *authorization {
		a := &authorization{rec: Record{ID: authorizationID([16]byte(count(16, 16))), Kind: KindAuthorization, ClientID: "web", Subject: "alice", Version: 1}}
		a.head = head{keyID: s.ring.First(), rotated: t0, idleEnd: t0 + 30*24*3600*1000, nonce: [32]byte(count(32, 32)), mark: [8]byte(count(64, 8))}
		a.code = codePart{Expires: t0 + 60_000, RedirectURI: "https://client.example/callback", Sent: true, Challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}
		a.grant = grantPart{Type: "authorization_code", Scopes: []string{"read", "write"}, End: t0 + 180*24*3600*1000}
		edit(a)
		if a.code != (codePart{}) {
			a.setCode()
		}
		a.setGrant()
		return a
	}
	redeemed := func(a *authorization) {
		a.redeem(0, s.ring.First())
		a.stamp(fromMillis(t0 + 1000))
	}
	all := map[string]*authorization{
		"code-open":     make(func(*authorization) {}),
		"code-redeemed": make(redeemed),
		"code-plain": make(func(a *authorization) { // no PKCE, redirect_uri left out
			a.code.Challenge, a.code.Sent = "", false
		}),
		"rotated": make(func(a *authorization) {
			redeemed(a)
			a.redeem(6, s.ring.First())
			a.head.rotated = t0 + 5000
		}),
		"access-revoked": make(func(a *authorization) { redeemed(a); a.head.floor = 3 }),
		"no-refresh":     make(func(a *authorization) { redeemed(a); a.head.flags = flagNoRefresh }),
		"ended":          make(func(a *authorization) { redeemed(a); a.head.flags = flagEnded }),
		"implicit": make(func(a *authorization) {
			a.code, a.grant.Type = codePart{}, "implicit"
		}),
		"imported": make(func(a *authorization) {
			a.code, a.grant.Type = codePart{}, "refresh_token"
			a.redeem(0, s.ring.First())
		}),
		"everything": make(func(a *authorization) {
			redeemed(a)
			a.head.flags = flagDetails
			a.grant.Resources = []string{"https://api.example/", "https://other.example"}
			a.grant.AuthTime, a.grant.ACR, a.grant.AMR = at.Unix(), "urn:example:gold", []string{"pwd", "otp"}
			a.grant.Session, a.grant.Extra = "session <1> & \"é\"", map[string]string{"tenant": "t1", "a": "\u2028\\"}
		}),
		"unknown-members": make(func(a *authorization) {
			redeemed(a)
			a.members = append(a.members, member{"device", []byte(`{ "user_code":"BCDF-GHJK",  "n": 1.50e1 }`)}, member{"né\"w", []byte(`[null, "\u0065\/"]`)})
		}),
	}
	return all
}

// middle is Data without its head and its mac.
func middle(t testing.TB, data []byte) string {
	t.Helper()
	require.Greater(t, len(data), headEnd+1+macTail)
	return string(data[headEnd+1 : len(data)-macTail])
}

// sameButMark asserts that two texts differ in nothing but the mark and the mac.
func sameButMark(t testing.TB, want, got []byte) {
	t.Helper()
	raw := func(data []byte) []byte {
		b, err := base64.RawURLEncoding.Strict().DecodeString(string(data[len(headPrefix):headEnd]))
		require.NoError(t, err)
		require.Len(t, b, headSize)
		return b[:64]
	}
	require.Equal(t, raw(want), raw(got), "the head, all but the mark")
	require.Equal(t, middle(t, want), middle(t, got), "the members")
	require.Len(t, got, len(want))
	require.NotEqual(t, string(want), string(got), "a fresh mark with every write")
}

// Data of every release is read for ever, and written back as it was.
func TestGoldenData(t *testing.T) {
	s := keeper(t)
	all := written(t, s)
	files, err := filepath.Glob("testdata/data/v1/*.json")
	require.NoError(t, err)
	require.Len(t, files, len(all)+2, "every file is known, none is missing")
	for name, want := range all {
		g := readGolden(t, "testdata/data/v1/"+name+".json")
		t.Run(name+" is what is written now", func(t *testing.T) {
			sameButMark(t, g.Data, s.encodeAuthorization(want).Data)
		})
		t.Run(name+" is read", func(t *testing.T) {
			a, err := s.decodeAuthorization(g.record())
			require.NoError(t, err)
			want.head.mark = [8]byte(count(64, 8))
			require.Equal(t, want.head, a.head)
			if name == "ended" {
				return // no more is read of it
			}
			require.Equal(t, want.code, a.code)
			require.Equal(t, want.grant, a.grant)
			require.Equal(t, len(want.members), len(a.members))
			again := s.encodeAuthorization(a)
			sameButMark(t, g.Data, again.Data)
			_, err = s.decodeAuthorization(again)
			require.NoError(t, err)
		})
	}
	t.Run("consent", func(t *testing.T) {
		s.cfg.Now = func() time.Time { return fromMillis(t0) }
		a := &authorizeRequest{client: &Client{ID: "web"}, redirectURI: "https://client.example:8443/callback?a=b",
			scopes: []string{"read", "write"}, resources: []string{"https://api.example/"}}
		z := &authorization{rec: Record{ID: s.consentID(a, "alice"), Kind: KindConsent, ClientID: "web"}}
		require.False(t, z.allow(a, &Approval{Subject: "alice", Scopes: []string{"read"}, Resources: a.resources, Remember: time.Hour}, fromMillis(t0)))
		g := readGolden(t, "testdata/data/v1/consent.json")
		require.Equal(t, g.ID, z.rec.ID)
		sameButMark(t, g.Data, s.encodeAuthorization(z).Data)
		got, err := s.decodeAuthorization(g.record())
		require.NoError(t, err)
		require.Equal(t, z.grant, got.grant)
	})
	t.Run("spent", func(t *testing.T) {
		g := readGolden(t, "testdata/data/v1/spent.json")
		assert.Equal(t, KindSpent, g.Kind)
		assert.Equal(t, hashID(spentPrefix, "", KindSpent, "token "+string(count(0, 16))), g.ID)
		h, err := parseHead(g.Data)
		require.NoError(t, err)
		assert.Equal(t, head{mark: [8]byte(count(64, 8))}, h)
		now := bareData()
		assert.Len(t, now, len(g.Data))
		assert.Equal(t, string(g.Data[:90]), string(now[:90]), "all but the mark")
	})
}

// What the flow of a code stores is what the golden files have.
func TestGoldenDataIsThatOfTheFlow(t *testing.T) {
	s := keeper(t)
	s.cfg.Now, s.cfg.HandleLifetime = func() time.Time { return fromMillis(t0) }, time.Hour
	in := &Interaction{server: s, id: [16]byte(count(16, 16)), expires: fromMillis(t0 + 3600_000), request: &authorizeRequest{
		client: &Client{ID: "web"}, redirectURI: "https://client.example/callback", scopes: []string{"read", "write"},
		issue: Issue{Code: true, CodeChallenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}}}
	in.request.params = form.ParseQuery("redirect_uri=https%3A%2F%2Fclient.example%2Fcallback", maxQuery)
	policy, err := Policy{}.complete(maxAccess)
	require.NoError(t, err)

	var z authorization
	require.Nil(t, s.newAuthorization(&z, in.id, in.request.client, "authorization_code", Approval{Subject: "alice", Scopes: in.request.scopes}))
	_, _, no := s.planApproval(t.Context(), in, &z, policy)
	require.Nil(t, no)
	open := readGolden(t, "testdata/data/v1/code-open.json")
	z.head.nonce = [32]byte(count(32, 32)) // the one thing that is random
	rec := s.encodeAuthorization(&z)
	sameButMark(t, open.Data, rec.Data)
	require.Equal(t, open.ID, rec.ID)

	z.redeem(0, s.ring.First())
	z.stamp(fromMillis(t0 + 1000))
	sameButMark(t, readGolden(t, "testdata/data/v1/code-redeemed.json").Data, s.encodeAuthorization(&z).Data)
}

// membersByDecoder is splitMembers as encoding/json does it.
func membersByDecoder(data []byte) (all []member, ok bool) {
	if !json.Valid(data) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, false
		}
		all = append(all, member{name.(string), value})
	}
	return all, true
}

func FuzzSplitMembers(f *testing.F) {
	for _, a := range written(f, keeper(f)) {
		f.Add(keeper(f).encodeAuthorization(a).Data)
	}
	for _, text := range []string{`{}`, ` { "a" : 1 , "b":[{"c":"]}"}, 2] ,"a":null}` + "\n", `{"\u0061\"":"\\\"}","b":-1.5e+3}`, `[]`, `"x"`, `1`, `{"a":1}}`,
		`{"a":{"b":[[],{}]},"":""}`, "{\"\xff\":\"\xff\"}", `{"a":true,"b":false}`, `{`, ``, " ", `{"a":1,}`, `{"a" 1}`, `nul`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		all, err := splitMembers(data)
		require.Equal(t, before, data, "the text is not changed")
		want, ok := membersByDecoder(data)
		if !ok || len(data) > maxData {
			require.ErrorIs(t, err, errAltered)
			return
		}
		require.NoError(t, err)
		require.Len(t, all, len(want))
		for i := range want {
			require.Equal(t, want[i].name, all[i].name)
			require.Equal(t, string(want[i].value), string(all[i].value))
			require.Equal(t, len(all[i].value), cap(all[i].value), "an append must not write into Data")
		}
	})
}

func FuzzParseHead(f *testing.F) {
	for _, a := range written(f, keeper(f)) {
		f.Add(keeper(f).encodeAuthorization(a).Data)
	}
	f.Add([]byte{})
	f.Add(bareData())
	f.Add([]byte(headPrefix + strings.Repeat("A", 96) + `"`))
	f.Add([]byte(headPrefix + strings.Repeat("_", 96) + `"}`))
	f.Add([]byte(headPrefix + strings.Repeat("\n", 96) + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := parseHead(data)
		switch {
		case len(data) == 0:
			require.NoError(t, err)
			require.Equal(t, head{flags: flagEnded}, h, "erased")
			return
		case err != nil:
			require.Equal(t, head{}, h)
			require.True(t, errors.Is(err, errAltered) || errors.Is(err, errNewerFormat))
			return
		}
		again := h.appendTo(nil)
		b, err := base64.RawURLEncoding.DecodeString(string(data[len(headPrefix):headEnd]))
		require.NoError(t, err)
		b[0] = headFormat // a lower one would be read alike
		require.Equal(t, headPrefix+base64.RawURLEncoding.EncodeToString(b)+`"`, string(again))
		same, err := parseHead(append(again, '}'))
		require.NoError(t, err)
		require.Equal(t, h, same)
	})
}

// sealed is the record whose Data has these members, under the server's MAC.
func sealed(s *Server, members []byte) Record {
	h := head{keyID: s.ring.First(), generation: 1, nonce: [32]byte(count(32, 32))}
	b := h.appendTo(nil)
	if len(members) > 0 {
		b = append(append(b, ','), members...)
	}
	rec := Record{ID: authorizationID([16]byte(count(16, 16))), Kind: KindAuthorization, ClientID: "web", Subject: "alice", Version: 1}
	mac, _ := s.recordMAC(s.ring.First(), rec, b)
	b = append(b, macMember...)
	b = base64.RawURLEncoding.AppendEncode(b, append([]byte{s.ring.First()}, mac[:macSize-1]...))
	rec.Data = append(b, '"', '}')
	return rec
}

// refused asserts that a record that somebody changed is good for nothing.
func refused(t *testing.T, s *Server, rec Record) {
	t.Helper()
	a, err := s.decodeAuthorization(rec)
	if err == nil {
		require.NotZero(t, a.head.flags&flagEnded, "%s", rec.Data)
		require.Empty(t, a.members, "nothing is read of it")
	}
}

func FuzzDecodeAuthorization(f *testing.F) {
	s := keeper(f)
	for _, a := range written(f, s) {
		data := s.encodeAuthorization(a).Data
		f.Add(true, data, uint(100), byte(1))
		f.Add(false, []byte(strings.TrimPrefix(middle(f, data), ",")), uint(300), byte(0x20))
	}
	for _, text := range []string{``, `"a":1`, `"code":{},"grant":{}`, `"code":null`, `"grant":{"scopes":["a"],"end":-1}`, `"grant":[]`, `"code":{"expires":"x"}`,
		`"mac":"x"`, `"head":"x", "head" : 2`, `"grant":{"end":1},"grant":{"end":2}`, ` "x" : "\ud800" `, "\"\xff\":1", `"a":1}`, `"a":1,`} {
		f.Add(false, []byte(text), uint(len(text)), byte(255))
	}
	f.Fuzz(func(t *testing.T, raw bool, text []byte, at uint, bits byte) {
		rec := sealed(s, text)
		if raw {
			rec.Data = text
		}
		a, err := s.decodeAuthorization(rec)
		if err != nil {
			require.True(t, errors.Is(err, errAltered) || errors.Is(err, errNewerFormat))
			return
		}
		if a.head.flags&flagEnded != 0 {
			return
		}
		again, err := s.decodeAuthorization(s.encodeAuthorization(a))
		if len(rec.Data) < maxData/8 { // names may be spelled longer
			require.NoError(t, err, "what decodes re-encodes")
			require.Equal(t, a.code, again.code)
			require.True(t, reflect.DeepEqual(a.grant, again.grant))
			require.Len(t, again.members, len(a.members))
			for i, m := range a.members {
				require.Equal(t, m.name, again.members[i].name)
				require.Equal(t, string(m.value), string(again.members[i].value), "byte for byte")
			}
		}
		if bits != 0 {
			changed := rec
			changed.Data = bytes.Clone(rec.Data)
			changed.Data[at%uint(len(changed.Data))] ^= bits
			refused(t, s, changed)
		}
		for _, edit := range []func(*Record){
			func(r *Record) { r.ID += "A" }, func(r *Record) { r.Kind = KindSpent }, func(r *Record) { r.ClientID = "spa" },
			func(r *Record) { r.Subject = "bob" }, func(r *Record) { r.ClientID, r.Subject = "weba", "lice" },
			func(r *Record) { r.Data = append(bytes.Clone(r.Data), ' ') }, func(r *Record) { r.Data = append([]byte{' '}, r.Data...) },
		} {
			changed := rec
			edit(&changed)
			_, err := s.decodeAuthorization(changed)
			require.ErrorIs(t, err, errAltered)
		}
	})
}

// Every bit of every byte.
func TestDecodeRefusesEveryFlippedBit(t *testing.T) {
	s := keeper(t)
	for name, a := range written(t, s) {
		if name == "ended" {
			continue
		}
		rec := s.encodeAuthorization(a)
		_, err := s.decodeAuthorization(rec)
		require.NoError(t, err)
		for i := range rec.Data {
			for bit := range 8 {
				changed := rec
				changed.Data = bytes.Clone(rec.Data)
				changed.Data[i] ^= 1 << bit
				refused(t, s, changed)
			}
		}
		for n := range rec.Data {
			if n > 0 { // without Data it has ended
				changed := rec
				changed.Data = rec.Data[:n]
				_, err := s.decodeAuthorization(changed)
				require.ErrorIs(t, err, errAltered)
			}
		}
	}
}

func FuzzParseAccessToken(f *testing.F) {
	token := accessToken{record: [16]byte(count(0, 16)), version: 300, serial: [16]byte(count(16, 16)), clientID: "web", subject: "alice",
		scopes: []string{"read", "write"}, audience: []string{"https://as.example"}, issued: t0 / 1000, expires: t0/1000 + 1800, confirm: "jkt:x"}
	f.Add(token.appendTo(nil), "web", "alice", "a b", int64(1), int64(2))
	f.Add((&accessToken{}).appendTo(nil), "", "", "", int64(-1), int64(1)<<62)
	f.Add([]byte{}, "\x00", "é", " ", int64(0), int64(0))
	f.Add(append([]byte{accessFormat}, bytes.Repeat([]byte{0xff}, 60)...), "", "", "", int64(0), int64(0))
	f.Add(token.appendTo(nil)[:40], "", "", "", int64(0), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, clientID, subject, scopes string, version, expires int64) {
		if got, ok := parseAccessToken(b); ok {
			again, ok := parseAccessToken(got.appendTo(nil))
			require.True(t, ok)
			require.Equal(t, got, again)
		}
		made := accessToken{version: version, issued: expires / 2, expires: expires, clientID: clientID, subject: subject, scopes: strings.Fields(scopes)}
		if len(made.scopes) == 0 {
			made.scopes = nil
		}
		copy(made.serial[:], b)
		text := made.appendTo(nil)
		got, ok := parseAccessToken(text)
		require.True(t, ok)
		require.Equal(t, made, got)
		for n := range text {
			_, ok := parseAccessToken(text[:n])
			require.False(t, ok, "cut to %d bytes", n)
		}
		_, ok = parseAccessToken(append(text, 0))
		require.False(t, ok, "with more behind it")
	})
}
