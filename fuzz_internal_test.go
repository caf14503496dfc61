package oauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/form"
)

// Fuzzing of what is read and decided inside, each against a second implementation.

// byDecoder reads the member of an object as encoding/json does, names to the letter as
// they are written. It is false where that is another type.
func byDecoder(value []byte, into map[string]any) bool {
	rest, names := json.NewDecoder(bytes.NewReader(value)), []member{}
	if t, err := rest.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	for rest.More() {
		from := rest.InputOffset()
		if _, err := rest.Token(); err != nil {
			return false
		}
		name := strings.TrimLeft(string(value[from:rest.InputOffset()]), ", \t\r\n") // as it is written
		var v json.RawMessage
		if rest.Decode(&v) != nil {
			return false
		}
		names = append(names, member{name, v})
	}
	for _, m := range names {
		target, known := into[strings.Trim(m.name, `"`)]
		if !known || !strings.HasPrefix(m.name, `"`) {
			continue
		}
		if list, is := target.(*[]string); is {
			var each []*string // a null is no string
			if json.Unmarshal(m.value, &each) != nil || slices.Contains(each, nil) || string(m.value) == "null" {
				return false
			}
			*list = nil
			for _, s := range each {
				*list = append(*list, *s)
			}
			continue
		}
		if _, isMap := target.(*map[string]string); !isMap && string(m.value) == "null" {
			return false
		}
		if json.Unmarshal(m.value, target) != nil {
			return false
		}
	}
	return true
}

// FuzzParts: the parts of an authorization that are read by hand are what encoding/json
// reads, and what was read is written so that it reads alike.
func FuzzParts(f *testing.F) {
	for _, a := range written(f, keeper(f)) {
		f.Add(a.code.appendTo(nil))
		f.Add(a.grant.appendTo(nil))
	}
	for _, text := range []string{`{}`, ` { } `, `{"expires":1,"redirect_uri":"\u0061\"é","redirect_left_out":true,"code_challenge":"x","asked":"a b","redeemed":-2,"proof":""}`,
		`{"expires":null}`, `{"expires":"1"}`, `{"expires":1e3}`, `{"expires":9223372036854775808}`, `{"redirect_left_out":"true"}`, `{"redirect_left_out":false}`, `{"asked":null}`,
		`{"type":"x","scopes":["a","b\\"],"resources":[ "é" , "\ud800" ],"end":1,"auth_time":-1,"acr":"g","amr":[],"session":"s","extra":{"a":"b","":""}}`,
		`{"scopes":[null]}`, `{"scopes":null}`, `{"scopes":[1]}`, `{"scopes":"a"}`, `{"scopes":[["a"]]}`, `{"extra":null}`, `{"extra":{"a":1}}`, `{"extra":[]}`, `{"end":-0}`,
		`{"end":1,"end":2,"scopes":["a"],"scopes":["b"]}`, `{"\u0065nd":7}`, `{"End":7}`, `{"new":{"x":[1,{"y":"]}"}]},"end":3}`, "{\"acr\":\"\xff\"}", `[]`, `"x"`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if !json.Valid(value) || len(bytes.TrimSpace(value)) != len(value) {
			return // splitMembers gives a value as it stands, and only a valid one
		}
		var code codePart
		var want codePart
		var left json.RawMessage
		ok := byDecoder(value, map[string]any{"expires": &want.Expires, "redirect_uri": &want.RedirectURI, "redirect_left_out": &left, "code_challenge": &want.Challenge,
			"asked": &want.Asked, "redeemed": &want.Redeemed, "proof": &want.Proof})
		want.Sent = string(left) != "true"
		if err := code.read(value); err == nil {
			require.True(t, ok, "%s", value)
			require.Equal(t, want, code)
			var again codePart
			require.NoError(t, again.read(code.appendTo(nil)))
			require.Equal(t, code, again)
		} else {
			require.ErrorIs(t, err, errAltered)
			require.False(t, ok && string(left) != "null", "%s is refused", value)
		}
		var grant, wanted grantPart
		ok = byDecoder(value, map[string]any{"type": &wanted.Type, "scopes": &wanted.Scopes, "resources": &wanted.Resources, "end": &wanted.End, "auth_time": &wanted.AuthTime,
			"acr": &wanted.ACR, "amr": &wanted.AMR, "session": &wanted.Session, "extra": &wanted.Extra})
		if err := grant.read(value); err != nil {
			require.False(t, ok, "%s is refused", value)
			return
		}
		require.True(t, ok, "%s", value)
		require.Equal(t, wanted, grant)
		text := grant.appendTo(nil)
		require.True(t, json.Valid(text), "%s", text)
		var again grantPart
		require.NoError(t, again.read(text))
		if len(grant.Extra) == 0 {
			grant.Extra, again.Extra = nil, nil
		}
		require.Equal(t, grant, again)
	})
}

// FuzzUpdateKeepsMembers: an update of a record leaves the members that only another
// version knows as they were, byte for byte and in their order.
func FuzzUpdateKeepsMembers(f *testing.F) {
	f.Add("device", []byte(`{ "user_code":"BCDF-GHJK",  "n": 1.50e1 }`), int64(5))
	f.Add("né\"w\\", []byte(`[null, "\u0065\/"]`), int64(-1))
	f.Add("head", []byte(`"x"`), int64(0))
	f.Add("mac", []byte(`"x"`), int64(1))
	f.Add("", []byte(" \t1 "), int64(1))
	s := keeper(f)
	f.Fuzz(func(t *testing.T, name string, value []byte, at int64) {
		if !json.Valid(value) || len(value)+len(name) > maxData/8 || name == "code" || name == "grant" {
			return
		}
		quoted := appendString(nil, name)
		text := slices.Concat([]byte(`"grant":{"type":"authorization_code","end":1},`), quoted, []byte(":"), value, []byte(`,"code":{"expires":1}`))
		a, err := s.decodeAuthorization(sealed(s, text))
		require.NoError(t, err)
		require.Len(t, a.members, 3)
		before := a.members[1]
		require.Equal(t, string(bytes.TrimSpace(value)), string(before.value))
		a.redeem(1, s.ring.First())
		a.stamp(fromMillis(at % 1e15))
		a.grant.Scopes = append(a.grant.Scopes, name)
		a.setGrant()
		rec := s.encodeAuthorization(a)
		require.True(t, json.Valid(rec.Data), "%s", rec.Data)
		again, err := s.decodeAuthorization(rec)
		require.NoError(t, err)
		require.Len(t, again.members, 3)
		require.Equal(t, before.name, again.members[1].name)
		require.Equal(t, string(before.value), string(again.members[1].value))
		require.Equal(t, a.head, again.head)
	})
}

// FuzzConsentRecord: what somebody put into a consent allows nothing; and a consent that
// grows by an approval holds what it had and what was approved, no more and not longer.
func FuzzConsentRecord(f *testing.F) {
	z := &authorization{rec: Record{Kind: KindConsent}}
	z.allow(&authorizeRequest{scopes: []string{"read"}}, &Approval{Subject: "alice", Scopes: []string{"read"}, Remember: time.Hour}, fromMillis(t0))
	f.Add([]byte(`"grant":`+string(z.grant.appendTo(nil))), false, "read write", "read", int64(3600))
	f.Add([]byte(`"grant":{"scopes":["read","admin"],"resources":["https://api.example"],"end":`+fmt.Sprint(t0+5000)+`},"new":1`), false, "write", "write", int64(60))
	f.Add([]byte(`"grant":{"scopes":["read"],"end":`+fmt.Sprint(t0-1)+`}`), false, "read", "", int64(60))
	f.Add([]byte(`"grant":{"end":9223372036854775807}`), false, "a b", "b", int64(1))
	f.Add([]byte(`{"head":"AQ","grant":{}}`), true, "read", "read", int64(1))
	s, now := keeper(f), fromMillis(t0)
	s.cfg.Now, s.log = func() time.Time { return now }, slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, text []byte, raw bool, asked, approved string, seconds int64) {
		if _, ok := parseScope(asked); !ok {
			return // no request has it
		}
		rec := sealed(s, text)
		if raw {
			rec.Data = text
		}
		old, err := s.readConsent(t.Context(), rec)
		if old == nil {
			require.True(t, err == nil || err == errNewerFormat, "%v", err)
			old = &authorization{rec: Record{ID: rec.ID, Kind: rec.Kind, ClientID: rec.ClientID}}
		} else {
			require.Greater(t, old.grant.End, int64(t0))
		}
		before := old.grant
		request := &authorizeRequest{scopes: strings.Fields(asked)}
		ap := &Approval{Subject: "alice", Remember: time.Duration(1+max(seconds, -seconds)%1e8) * time.Second}
		for _, n := range strings.Fields(approved) {
			if slices.Contains(request.scopes, n) { // Approve lets no more through
				ap.Scopes = append(ap.Scopes, n)
			}
		}
		if old.allow(request, ap, now) {
			require.Equal(t, before, old.grant)
			return
		}
		for _, n := range old.grant.Scopes {
			require.True(t, slices.Contains(ap.Scopes, n) || len(before.Resources) == 0 && slices.Contains(before.Scopes, n) && !slices.Contains(request.scopes, n), n)
		}
		require.True(t, subset(ap.Scopes, old.grant.Scopes))
		require.LessOrEqual(t, old.grant.End, millis(now.Add(ap.Remember)))
		old.rec.Version = 1
		stored := s.encodeAuthorization(old)
		if len(stored.Data) > maxData {
			return
		}
		again, err := s.decodeAuthorization(stored)
		require.NoError(t, err)
		require.ElementsMatch(t, old.grant.Scopes, again.grant.Scopes) // none may be nil or empty
		require.Equal(t, old.grant.End, again.grant.End)
	})
}

// FuzzClientRecord: a client that is read from the store is written so that it reads
// alike, and what this version does not know of it stays.
func FuzzClientRecord(f *testing.F) {
	for _, text := range []string{`"client":{"grants":null}`, `"client":{"name":"é","public":true,"redirect_uris":["https://a.example"],"localhost_port":true,"grants":[],"scopes":["a"],"introspect":true,"resources":["https://r.example"],"disabled":true}`,
		`"client":{"secrets":["x"],"jwks":{"keys":[ ]},"jwks_uri":"https://a.example","tls":{"dn":"CN=a"},"name":"<b>"},"more":[1, 2]`, `"client":{"NAME":"x","name":"y","Disabled":true}`, `"client":{"name":"x","name":"y"}`,
		`"client":1`, `"client":null`, `"client":{},"client":{"name":"second"}`, `"x":1`, ``, `"client":{"jwks":null}`, "\"client\":{\"name\":\"\xff\"}"} {
		f.Add([]byte(text), "New name", true)
	}
	f.Fuzz(func(t *testing.T, members []byte, name string, disabled bool) {
		data := append((&head{mark: newMark()}).appendTo(nil), ',')
		data = append(append(data, members...), '}')
		c, err := decodeClient(Record{ClientID: "c", Data: data})
		if err != nil {
			require.ErrorIs(t, err, errAltered)
			return
		}
		all, ok := membersByDecoder(data)
		require.True(t, ok, "encoding/json refuses it")
		edited := *c
		edited.Name, edited.Disabled = strings.ToValidUTF8(name, ""), disabled
		stored, err := encodeClient(data, &edited)
		if err != nil {
			require.Greater(t, len(members)+len(name), maxData/8, "%v", err)
			return
		}
		again, err := decodeClient(Record{ClientID: "c", Data: stored})
		require.NoError(t, err)
		want, got := edited, *again
		for _, each := range []*Client{&want, &got} { // what is empty is left out, and JSON may be written closer
			if string(each.JWKS) == "null" {
				each.JWKS = nil
			}
			var tight bytes.Buffer
			if len(each.JWKS) > 0 {
				require.NoError(t, json.Compact(&tight, each.JWKS))
				escaped, err := json.Marshal(json.RawMessage(tight.Bytes()))
				require.NoError(t, err)
				each.JWKS = escaped
			}
			for _, list := range []*[]string{&each.Secrets, &each.RedirectURIs, &each.Scopes, &each.Resources} {
				*list = slices.Clip(append([]string(nil), *list...))
			}
		}
		require.Equal(t, want, got)
		after, ok := membersByDecoder(stored)
		require.True(t, ok)
		keep := func(all []member) (unknown []string) {
			for _, m := range all {
				if m.name != "head" && m.name != clientMember {
					unknown = append(unknown, m.name+"\x00"+string(m.value))
				}
			}
			return unknown
		}
		require.Equal(t, keep(all), keep(after), "members of another version")
	})
}

// FuzzScopeText: RFC 6749, section 3.3, by its grammar.
func FuzzScopeText(f *testing.F) {
	for _, text := range []string{"", " ", "a", "a b", "a  b", " a", "a ", "a\tb", `a"b`, `a\b`, "é", "\x00", "a a", "!#[]~", "\x7f", strings.Repeat("a ", 99) + "b", "urn:x:y https://api.example/read"} {
		f.Add(text)
	}
	for _, n := range []int{99, 100, 101} {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprint("s", i))
		}
		f.Add(strings.Join(names, " "))
	}
	f.Fuzz(func(t *testing.T, text string) {
		names, ok := parseScope(text)
		legal := text != "" && text[0] != ' ' && text[len(text)-1] != ' ' && !strings.Contains(text, "  ")
		for _, c := range []byte(text) {
			legal = legal && (c == 0x20 || c == 0x21 || 0x23 <= c && c <= 0x5b || 0x5d <= c && c <= 0x7e)
		}
		tokens := strings.Fields(text)
		different := map[string]bool{}
		for _, n := range tokens {
			different[n] = true
		}
		if !ok {
			require.True(t, !legal || len(different) > maxScopes || len(different) == maxScopes && len(tokens) > maxScopes, "%q is refused", text)
			require.Empty(t, names)
			return
		}
		require.True(t, legal, "%q is taken", text)
		require.Len(t, names, len(different))
		for _, n := range names {
			require.True(t, different[n])
		}
		again, ok := parseScope(strings.Join(names, " "))
		require.True(t, ok)
		require.Equal(t, names, again)
	})
}

// FuzzScopeTable: a client gets no scope that is not in its reach, whatever the table
// includes in what, in circles too.
func FuzzScopeTable(f *testing.F) {
	f.Add([]byte{0x12, 0x23, 0x31, 0x45}, byte(0b00010), byte(0b01000), "b")
	f.Add([]byte{0x01, 0x12, 0x23, 0x34}, byte(0b00001), byte(0b10000), "a e")
	f.Add([]byte{}, byte(0), byte(1), "")
	f.Fuzz(func(t *testing.T, edges []byte, held, defaults byte, text string) {
		rows := make([]Scope, 5)
		for i := range rows {
			rows[i] = Scope{Name: string(rune('a' + i)), Default: defaults>>i&1 == 1}
		}
		reach := [5][5]bool{}
		for i := range reach {
			reach[i][i] = true
		}
		for _, e := range edges {
			from, to := int(e>>4)%5, int(e&15)%5
			rows[from].Includes = append(rows[from].Includes, rows[to].Name)
			reach[from][to] = true
		}
		for range reach { // Warshall's, often enough for any order
			for k := range reach {
				for i := range reach {
					for j := range reach {
						reach[i][j] = reach[i][j] || reach[i][k] && reach[k][j]
					}
				}
			}
		}
		table := newScopes(rows)
		c := &Client{}
		for i := range rows {
			if held>>i&1 == 1 {
				c.Scopes = append(c.Scopes, rows[i].Name)
			}
		}
		within := func(name string) bool {
			return len(name) == 1 && name[0] >= 'a' && name[0] <= 'e' && slices.ContainsFunc(c.Scopes, func(h string) bool { return reach[h[0]-'a'][name[0]-'a'] })
		}
		for i := range rows {
			require.Equal(t, within(rows[i].Name), table.covers(c.Scopes, []string{rows[i].Name}))
			implied := slices.Contains(table.implied(c.Scopes), rows[i].Name)
			require.Equal(t, within(rows[i].Name) && !slices.Contains(c.Scopes, rows[i].Name), implied)
		}
		got, err := table.requested(c, text)
		if err != nil {
			require.Equal(t, InvalidScope, err.Code)
			require.Empty(t, got)
			return
		}
		require.NotEmpty(t, got)
		for _, n := range got {
			require.True(t, within(n), n)
			require.True(t, slices.Contains(strings.Fields(text), n) || text == "" && defaults>>(n[0]-'a')&1 == 1, n)
		}
	})
}

// FuzzAim: an access token for some resources has no scope that it had not, or that
// none of them knows, no longer life than any allows, and a format that all can check.
func FuzzAim(f *testing.F) {
	f.Add([]byte{1, 2, 3}, "read write", byte(0b101), int64(60))
	f.Add([]byte{0, 7, 255, 16}, "read", byte(0b1011), int64(3600))
	f.Add([]byte{}, "", byte(0), int64(1))
	f.Add([]byte{0x48, 0x88}, "a", byte(0b11), int64(9000))
	formats := []Format{nil, Opaque{}, Opaque{Hex: true}, JWT{}}
	f.Fuzz(func(t *testing.T, shapes []byte, scope string, pick byte, access int64) {
		names := strings.Fields(scope)
		s := &Server{cfg: Config{Issuer: "https://as.example", AccessToken: Opaque{}}, scopes: newScopes([]Scope{{Name: "read"}, {Name: "write", Includes: []string{"read"}}, {Name: "a"}})}
		var named []string
		for i, shape := range shapes[:min(len(shapes), 6)] {
			r := Resource{Identifier: fmt.Sprint("https://r", i), AccessToken: formats[shape>>6], Access: time.Duration(shape&7) * time.Minute}
			if shape&8 != 0 {
				r.Scopes = []string{[]string{"read", "write", "a", "b"}[shape>>4&3]}
			}
			s.cfg.Resources = append(s.cfg.Resources, r)
			if pick>>i&1 == 1 {
				named = append(named, r.Identifier)
			}
		}
		if pick>>7 == 1 {
			named = append(named, "https://as.example")
		}
		p := Policy{Access: time.Duration(1+max(access, -access)%36000) * time.Second}
		token := &accessToken{scopes: slices.Clone(names)}
		life, format, err := s.aim(token, named, p)
		var kinds []Format
		open, allowed := len(named) == 0, []string{}
		for _, n := range named {
			r := s.resource(n)
			if r == nil {
				open = true
				continue
			}
			open, allowed = open || r.Scopes == nil, append(allowed, r.Scopes...)
			if r.AccessToken != nil && !slices.ContainsFunc(kinds, func(k Format) bool { return sameFormat(k, r.AccessToken) }) {
				kinds = append(kinds, r.AccessToken)
			}
			require.True(t, err != nil || r.Access == 0 || life <= r.Access)
		}
		if err != nil {
			require.True(t, err.Code == InvalidTarget && len(kinds) > 1 || err.Code == InvalidScope && !open, "%v", err)
			return
		}
		require.LessOrEqual(t, life, p.Access)
		require.Positive(t, life)
		require.LessOrEqual(t, len(kinds), 1)
		if require.NotNil(t, format); len(kinds) == 1 {
			require.True(t, sameFormat(kinds[0], format))
		}
		for _, n := range token.scopes {
			require.Contains(t, names, n)
			require.True(t, open || s.scopes.covers(allowed, []string{n}), n)
		}
		require.Equal(t, len(names) > 0, len(token.scopes) > 0)
		require.True(t, !open || slices.Equal(names, token.scopes))
		require.NotEmpty(t, token.audience)
	})
}

// FuzzStepUp: max_age by big numbers, acr_values by their words; and no approval passes
// that is older than the one or says none of the other.
func FuzzStepUp(f *testing.F) {
	for _, text := range []string{"", "0", "60", "060", "-1", "+1", "1.5", "0x10", "1_0", " 1", "18446744073709551615", "9223372036854775807", "9223372036854775808", "99999999999999999999999", "3162240000", "３"} {
		f.Add(text, "gold silver", "gold", int64(60), false)
		f.Add(text, " \tgold  x", "silver", int64(0), true)
		f.Add(text, "", "", int64(-5), true)
	}
	f.Fuzz(func(t *testing.T, maxAge, acrValues, acr string, ago int64, table bool) {
		s := &Server{cfg: Config{Now: func() time.Time { return fromMillis(t0) }}}
		if table {
			s.cfg.ACRValues = []string{"gold", "silver"}
		}
		query := "max_age=" + escapeQuery(maxAge) + "&acr_values=" + escapeQuery(acrValues)
		a := &authorizeRequest{params: form.ParseQuery(query, len(query))}
		if a.params.Err() != nil {
			return
		}
		err := s.readStepUp(a)
		n, isNumber := new(big.Int).SetString(maxAge, 10)
		legal := maxAge == "" || isNumber && strings.Trim(maxAge, "0123456789") == "" && n.IsInt64()
		if err != nil && err.Code == InvalidRequest {
			require.False(t, legal, maxAge)
			return
		}
		require.True(t, legal, maxAge)
		words := strings.Fields(acrValues)
		known := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w != "gold" && w != "silver" })
		if err != nil {
			require.Equal(t, UnmetAuthenticationRequirements, err.Code)
			require.True(t, table && len(words) > 0 && len(known) == 0)
			return
		}
		ago %= 1 << 33
		in := &Interaction{server: s, request: a, began: fromMillis(t0)}
		no := in.checkStepUp(&Approval{ACR: acr, AuthTime: fromMillis(t0).Add(-time.Duration(ago) * time.Second)})
		young := maxAge == "" || big.NewInt(ago).Cmp(n) <= 0 && ago <= int64(maxMaxAge/time.Second)
		named := !table || len(words) == 0 || slices.Contains(known, acr)
		require.Equal(t, young && named, no == nil, "%v", no)
		if maxAge != "" {
			require.NotNil(t, in.checkStepUp(&Approval{ACR: acr}), "without AuthTime")
		}
	})
}

func escapeQuery(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
