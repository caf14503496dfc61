package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/grantwell/oauth/internal/jose"
)

// A Format is how tokens look: [Opaque] or [JWT]. Whatever the format, expiry,
// revocation and checks are the same.
type Format interface{ format() }

// Opaque tokens mean nothing to anybody but this server. The zero value is
// base64url without a prefix.
type Opaque struct {
	// Prefix begins every token, for scanners that look for leaked secrets: ASCII
	// letters, digits, - and _.
	Prefix string
	// Hex writes the rest in hexadecimal.
	Hex bool
}

// JWT access tokens (RFC 9068) can be read and checked by others, who see their
// expiry but no revocation. Inside this process revocation is seen at once.
type JWT struct {
	// Type is the typ header. Zero: "at+jwt" (RFC 9068, section 2.1).
	Type string
	// Algorithm is that of the key that signs: the first one of [Config].Keys that
	// has it. Zero: that of the first key.
	Algorithm string
	// InsecureSymmetricKey signs with HS256 and this key of at least 32 bytes
	// instead of [Config].Keys: whoever can check tokens can then make them.
	InsecureSymmetricKey []byte `json:"-"`
	// Claims says what else a token says, after the members of RFC 9068 and in this
	// order. It cannot set those, and runs before the commit: an error is the answer
	// and nothing is lost. What everybody who holds the token may read is no place for
	// secrets. nil: nothing else.
	Claims func(context.Context, ClaimsRequest) (Fields, error) `json:"-"`
}

func (Opaque) format() {}
func (JWT) format()    {}

// String leaves the key out, and so do GoString and LogValue.
func (j JWT) String() string { return fmt.Sprintf("oauth.JWT(%q)", j.Type) }

// GoString is String, for the format %#v.
func (j JWT) GoString() string { return j.String() }

// LogValue implements [slog.LogValuer].
func (j JWT) LogValue() slog.Value { return slog.StringValue(j.String()) }

func (j JWT) typ() string {
	if j.Type == "" {
		return "at+jwt"
	}
	return j.Type
}

// ownFormat is the format with a key of its own.
func ownFormat(f Format) Format {
	if j, ok := f.(JWT); ok {
		j.InsecureSymmetricKey = bytes.Clone(j.InsecureSymmetricKey)
		return j
	}
	return f
}

// sameFormat reports whether two formats are one: what a token looks like, not
// what it says.
func sameFormat(a, b Format) bool {
	switch a := a.(type) {
	case Opaque:
		return a == b
	case JWT:
		b, ok := b.(JWT)
		return ok && a.typ() == b.typ() && a.Algorithm == b.Algorithm && bytes.Equal(a.InsecureSymmetricKey, b.InsecureSymmetricKey)
	}
	return false
}

// knownFormat is the format of the configuration that f is.
func (s *Server) knownFormat(f Format) (Format, bool) {
	for _, k := range s.formats {
		if sameFormat(k, f) {
			return k, true
		}
	}
	return nil, false
}

// checkFormats gathers the formats of access tokens and says what is wrong with
// them.
func (s *Server) checkFormats(fault func(string, ...any)) {
	if s.cfg.AccessToken == nil {
		s.cfg.AccessToken = Opaque{}
	}
	s.addFormat("AccessToken", s.cfg.AccessToken, fault)
	for i, f := range s.cfg.OtherFormats {
		if j, _ := f.(JWT); j.Claims != nil {
			if _, known := s.knownFormat(f); known { // it is chosen by how it looks
				fault("OtherFormats[%d].Claims would never be asked: another format looks the same", i)
			}
		}
		s.addFormat(fmt.Sprintf("OtherFormats[%d]", i), f, fault)
	}
	for i, r := range s.cfg.Resources {
		if r.AccessToken != nil {
			s.addFormat(fmt.Sprintf("Resources[%d].AccessToken", i), r.AccessToken, fault)
		}
	}
	if !slices.ContainsFunc(s.formats, func(f Format) bool { _, ok := f.(Opaque); return ok }) {
		s.addFormat("", Opaque{}, fault) // sealed by this server all the same: read, where no other is
	}
	switch f := s.cfg.RefreshToken.(type) {
	case nil:
	case Opaque:
		s.refreshOpaque = f
		checkPrefix("RefreshToken", f, fault)
	default:
		fault("RefreshToken is not Opaque: a JWT could be read by the client it must mean nothing to")
	}
}

func (s *Server) addFormat(field string, f Format, fault func(string, ...any)) {
	switch f := f.(type) {
	case Opaque:
		checkPrefix(field, f, fault)
	case JWT:
		switch {
		case f.InsecureSymmetricKey != nil && len(f.InsecureSymmetricKey) < 32:
			fault("%s.InsecureSymmetricKey is shorter than 32 bytes", field)
		case f.InsecureSymmetricKey != nil && f.Algorithm != "" && f.Algorithm != "HS256":
			fault("%s.Algorithm is %q, and that of an InsecureSymmetricKey is HS256", field, f.Algorithm)
		case f.InsecureSymmetricKey == nil && s.cfg.Keys == nil:
			fault("Keys is missing: %s is JWT", field)
		case f.InsecureSymmetricKey == nil && f.Algorithm != "" && !slices.Contains(signing, f.Algorithm):
			fault("%s.Algorithm is %q: it is one of %s", field, f.Algorithm, strings.Join(signing, ", "))
		case f.InsecureSymmetricKey == nil && s.staticKeys != nil && f.Algorithm != "" && !hasAlgorithm(s.staticKeys, f.Algorithm):
			fault("Keys has none for %s.Algorithm %q", field, f.Algorithm)
		}
	default:
		fault("%s is neither Opaque nor JWT", field)
	}
	if _, known := s.knownFormat(f); !known {
		s.formats = append(s.formats, f)
	}
}

// signing are the algorithms of keys that sign tokens.
var signing = []string{"ES256", "ES384", "RS256", "PS256", "EdDSA"}

func checkPrefix(field string, f Opaque, fault func(string, ...any)) {
	if !unreserved(f.Prefix) || strings.ContainsAny(f.Prefix, ".~") || len(f.Prefix) > 64 {
		fault("%s.Prefix is not of at most 64 ASCII letters, digits, - and _", field)
	}
}

func hasAlgorithm(keys []jose.Key, algorithm string) bool {
	return slices.ContainsFunc(keys, func(k jose.Key) bool { return k.Algorithm == algorithm })
}

// verifiers are the keys that tokens of this format may be signed with.
func (s *Server) verifiers(ctx context.Context, j JWT) ([]jose.Key, error) {
	if j.InsecureSymmetricKey != nil {
		return []jose.Key{{Algorithm: "HS256", Secret: j.InsecureSymmetricKey}}, nil
	}
	keys, err := s.keys(ctx)
	if err == nil && len(keys) == 0 {
		err = errors.New("no signing key")
	}
	return keys, err
}

// signer is the key that signs tokens of this format.
func (s *Server) signer(ctx context.Context, j JWT) (jose.Key, error) {
	keys, err := s.verifiers(ctx, j)
	if err != nil {
		return jose.Key{}, err
	}
	for _, k := range keys {
		if j.Algorithm == "" || k.Algorithm == j.Algorithm {
			return k, nil
		}
	}
	return jose.Key{}, fmt.Errorf("no signing key for %s", j.Algorithm)
}
