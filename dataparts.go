package oauth

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The parts of an authorization's Data are read and written by hand: every
// refresh does both, and encoding/json would be a third of its cost.

// A codePart is the request behind an authorization code. Once the code is
// redeemed all that is kept of it is what recognises an honest replay: every
// refresh writes Data again, so what nobody needs goes.
type codePart struct {
	Expires     int64  // Unix milliseconds
	RedirectURI string // where the code was sent
	Sent        bool   // the request named it: then the token request must too
	Challenge   string // PKCE, "" if there was none
	Asked       string // the scope of the request where less was approved, else ""
	Redeemed    int64  // Unix milliseconds
	Proof       string // of a redeemed code, instead of Expires, RedirectURI and Challenge
}

// exists reports whether there is or was a code.
func (c *codePart) exists() bool { return c.Expires != 0 || c.Redeemed != 0 }

// spend makes it the part of a redeemed code.
func (c *codePart) spend(at int64) {
	uri := ""
	if c.Sent {
		uri = c.RedirectURI
	}
	*c = codePart{Sent: c.Sent, Redeemed: at, Proof: codeProof(uri, c.Challenge)}
}

// codeProof is a hash of what a token request must repeat.
func codeProof(redirectURI, challenge string) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(len(redirectURI)) + " " + redirectURI + challenge))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func (c *codePart) appendTo(b []byte) []byte {
	b = append(b, '{')
	b = addInt(b, "expires", c.Expires)
	b = addText(b, "redirect_uri", c.RedirectURI)
	if !c.Sent { // the rare case: most requests name it
		b = append(addName(b, "redirect_left_out"), "true"...)
	}
	b = addText(b, "code_challenge", c.Challenge)
	b = addText(b, "asked", c.Asked)
	b = addInt(b, "redeemed", c.Redeemed)
	b = addText(b, "proof", c.Proof)
	return append(b, '}')
}

func (c *codePart) read(value []byte) (err error) {
	if len(value) == 0 || value[0] != '{' {
		return errAltered
	}
	c.Sent = true
	for name, v := range object(value) {
		switch string(name) {
		case `"expires"`:
			c.Expires, err = strconv.ParseInt(string(v), 10, 64)
		case `"redirect_uri"`:
			c.RedirectURI, err = readString(v)
		case `"redirect_left_out"`:
			c.Sent = string(v) != "true"
		case `"code_challenge"`:
			c.Challenge, err = readString(v)
		case `"asked"`:
			c.Asked, err = readString(v)
		case `"redeemed"`:
			c.Redeemed, err = strconv.ParseInt(string(v), 10, 64)
		case `"proof"`:
			c.Proof, err = readString(v)
		}
		if err != nil {
			return errAltered
		}
	}
	return nil
}

// A grantPart is what the resource owner approved.
type grantPart struct {
	Type      string // the grant type that began it
	Scopes    []string
	Resources []string
	End       int64 // Unix milliseconds: the absolute end
	AuthTime  int64 // Unix seconds
	ACR       string
	AMR       []string
	Session   string
	Extra     map[string]string
}

func (g *grantPart) appendTo(b []byte) []byte {
	b = append(b, '{')
	b = addText(b, "type", g.Type)
	b = addTexts(b, "scopes", g.Scopes)
	b = addTexts(b, "resources", g.Resources)
	b = addInt(b, "end", g.End)
	b = addInt(b, "auth_time", g.AuthTime)
	b = addText(b, "acr", g.ACR)
	b = addTexts(b, "amr", g.AMR)
	b = addText(b, "session", g.Session)
	if len(g.Extra) > 0 {
		b = append(addName(b, "extra"), '{')
		for _, name := range slices.Sorted(maps.Keys(g.Extra)) {
			b = appendString(addName(b, name), g.Extra[name])
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

func (g *grantPart) read(value []byte) (err error) {
	if len(value) == 0 || value[0] != '{' {
		return errAltered
	}
	for name, v := range object(value) {
		switch string(name) {
		case `"type"`:
			g.Type, err = readString(v)
		case `"scopes"`:
			g.Scopes, err = readStrings(v)
		case `"resources"`:
			g.Resources, err = readStrings(v)
		case `"end"`:
			g.End, err = strconv.ParseInt(string(v), 10, 64)
		case `"auth_time"`:
			g.AuthTime, err = strconv.ParseInt(string(v), 10, 64)
		case `"acr"`:
			g.ACR, err = readString(v)
		case `"amr"`:
			g.AMR, err = readStrings(v)
		case `"session"`:
			g.Session, err = readString(v)
		case `"extra"`:
			err = json.Unmarshal(v, &g.Extra)
		}
		if err != nil {
			return errAltered
		}
	}
	return nil
}

// addName begins a member of the object that b ends with.
func addName(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(appendString(b, name), ':')
}

// addText, addInt and addTexts add a member, unless it is empty.
func addText(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return appendString(addName(b, name), text)
}

func addInt(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(addName(b, name), n, 10)
}

func addTexts(b []byte, name string, texts []string) []byte {
	if len(texts) == 0 {
		return b
	}
	b = append(addName(b, name), '[')
	for i, text := range texts {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, text)
	}
	return append(b, ']')
}

// object yields the members of a JSON object, names in their quotes. b is valid
// JSON and begins with the brace.
func object(b []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for rest := skipSpace(b[1:]); rest[0] != '}'; {
			name := rest[:valueEnd(rest)]
			rest = skipSpace(rest[len(name):])
			rest = skipSpace(rest[1:]) // the colon
			end := valueEnd(rest)
			if !yield(name, rest[:end:end]) {
				return
			}
			rest = skipSpace(rest[end:])
			if rest[0] == ',' {
				rest = skipSpace(rest[1:])
			}
		}
	}
}

// readString reads a JSON string that is valid.
func readString(v []byte) (string, error) {
	plain := len(v) >= 2 && v[0] == '"'
	for _, c := range v {
		if c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	if plain {
		return string(v[1 : len(v)-1]), nil
	}
	var text string
	if v[0] != '"' { // Unmarshal takes null too
		return "", errAltered
	}
	err := json.Unmarshal(v, &text)
	return text, err
}

// readStrings reads a JSON array of strings that is valid.
func readStrings(v []byte) ([]string, error) {
	if v[0] != '[' {
		return nil, errAltered
	}
	var all []string
	for rest := skipSpace(v[1:]); rest[0] != ']'; {
		end := valueEnd(rest)
		text, err := readString(rest[:end])
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = make([]string, 0, bytes.Count(v, []byte{','})+1) // or less, where a comma is in a string
		}
		all = append(all, text)
		rest = skipSpace(rest[end:])
		if rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
	}
	return all, nil
}
