package jose

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	gojose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// MaxToken is the length in bytes beyond which a token is neither made nor looked at.
const MaxToken = 16 << 10

// ErrInvalid is every refusal of a token, for errors.Is. The text of a refusal is fixed: it never contains a part of the token.
var ErrInvalid = errors.New("jose: token refused")

// ErrUnknownKey is, for errors.Is, a refusal that other keys might change: none has the kid and alg of the token, or it has no kid
// and none of those without an ID verifies it. Any other refusal stands whatever the keys are.
var ErrUnknownKey = errors.New("jose: unknown key")

// refusal is the reason why a token was refused.
type refusal string

func (r refusal) Error() string { return "jose: token refused: " + string(r) }

func (r refusal) Is(target error) bool {
	return target == ErrInvalid || target == ErrUnknownKey && (r == errKey || r == errNameless)
}

const (
	errSize      = refusal("longer than MaxToken")
	errForm      = refusal("not a compact JWS in strict base64url")
	errHeader    = refusal("the header is not a JSON object with unique members")
	errMember    = refusal("a header member that is never accepted")
	errType      = refusal("typ")
	errAlgorithm = refusal("alg")
	errKid       = refusal("an empty kid")
	errKey       = refusal("no key of its kid and alg")
	errNameless  = refusal("signature, and there is no kid to say whose")
	errSignature = refusal("signature")
)

// strict refuses spare bits that are set and padding. It skips line breaks, which parse looks for itself.
var strict = base64.RawURLEncoding.Strict()

// Verify checks a compact JWS with one of the keys and returns its payload. Every refusal wraps [ErrInvalid]:
//
//   - more than [MaxToken] bytes; not exactly three parts (so JWE and the JSON serializations, too); a part that is not the one
//     base64url form of its bytes (RFC 7515, section 2);
//   - a header that is not a JSON object in UTF-8, or names a member twice (section 4);
//   - a member jwk, jku, x5u or x5c: a token does not bring its own key (RFC 8725, section 3.10); crit and b64: there is no
//     extension that this package understands (RFC 7515, section 4.1.11; RFC 7797); enc: that would be a JWE (RFC 7516, section 9);
//   - another type than typ, in the sense of RFC 7515, section 4.1.9: without regard to case, and with or without "application/".
//     Where typ is empty the header must have no typ at all;
//   - no key that fits. With a kid in the header only keys of that ID are looked at, without one only keys without an ID, and of
//     these only those whose Algorithm is the header's alg; keys that fail [Check] are passed over. Several are tried in turn;
//   - a signature that none of them verifies.
//
// The text of a token is no name for it: ECDSA signatures of one payload can be rewritten by anybody.
func Verify(token, typ string, keys []Key) ([]byte, error) {
	return Rules{Types: []string{typ}}.Verify(token, keys)
}

// Rules say which tokens are looked at.
type Rules struct {
	// Types are those that a token may have, compared as [Verify] does; "" allows a token without typ. None: no token passes.
	Types []string
	// Algorithms are those that a token may name; nil for those of the keys. "Ed25519" (RFC 9864) is another name for EdDSA with such
	// a key, and allowed only here: what this library signs is always called EdDSA.
	Algorithms []string
}

// Verify is the function [Verify] under these rules. Without keys it says whether any could verify the token: then the refusal is
// [ErrUnknownKey].
func (r Rules) Verify(token string, keys []Key) ([]byte, error) {
	if len(token) > MaxToken {
		return nil, errSize
	}
	h, err := parse(token)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(r.Types, h.is) {
		return nil, errType
	}
	if r.Algorithms != nil && !slices.Contains(r.Algorithms, h.alg) {
		return nil, errAlgorithm // RFC 8725, section 3.1.
	}
	alg := h.alg
	if alg == ed25519Name && r.Algorithms != nil {
		alg = eddsa
	}
	refused := errKey
	for _, k := range keys {
		// RFC 8725, section 3.1: the key has its algorithm, whatever the header would like.
		if k.ID != h.kid || k.Algorithm != alg {
			continue
		}
		with, err := k.verifier()
		if err != nil {
			continue
		}
		if h.alg == ed25519Name {
			if payload, ok := verifyEd25519(token, with); ok {
				return payload, nil
			}
			refused = errSignature
			continue
		}
		object, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(k.Algorithm)})
		if err != nil {
			return nil, errHeader
		}
		if payload, err := object.Verify(with); err == nil {
			return payload, nil
		}
		if refused = errSignature; h.kid == "" {
			refused = errNameless
		}
	}
	return nil, refused
}

// ed25519Name is what RFC 9864 calls EdDSA with an Ed25519 key. go-jose does not know it.
const ed25519Name = "Ed25519"

// verifyEd25519 verifies a token whose form was looked at.
func verifyEd25519(token string, key any) ([]byte, bool) {
	pub, ok := key.(ed25519.PublicKey)
	dot := strings.LastIndexByte(token, '.')
	signature, err := strict.DecodeString(token[dot+1:])
	if !ok || err != nil || !ed25519.Verify(pub, []byte(token[:dot]), signature) {
		return nil, false
	}
	payload, err := strict.DecodeString(token[strings.IndexByte(token, '.')+1 : dot])
	return payload, err == nil
}

// header is what a header says that is used.
type header struct {
	alg, kid string  // kid is empty where there is none
	typ      *string // nil: there is none
}

// parse looks at the form of a token and reads its header.
func parse(token string) (header, error) {
	first, rest, _ := strings.Cut(token, ".")
	second, third, ok := strings.Cut(rest, ".")
	// RFC 7515, section 2: "without the inclusion of any line breaks, whitespace, or other additional characters".
	if !ok || strings.ContainsAny(token, "\r\n") {
		return header{}, errForm
	}
	protected, err := strict.DecodeString(first)
	if err != nil {
		return header{}, errForm
	}
	for _, part := range [...]string{second, third} {
		if _, err := strict.DecodeString(part); err != nil {
			return header{}, errForm
		}
	}
	return parseHeader(protected)
}

// parseHeader reads with go-jose's own JSON decoder, which compares names exactly and refuses a name that comes twice, so that
// what is checked here and what go-jose reads later cannot differ.
func parseHeader(protected []byte) (header, error) {
	var members map[string]json.RawMessage
	// RFC 7515, section 5.2: UTF-8; a decoder would let different bytes that are none become one name.
	if !utf8.Valid(protected) || json.Unmarshal(protected, &members) != nil {
		return header{}, errHeader
	}
	for _, name := range [...]string{"crit", "b64", "jwk", "jku", "x5u", "x5c", "enc"} {
		if _, ok := members[name]; ok {
			return header{}, errMember
		}
	}
	alg, ok := text(members, "alg")
	if !ok || alg == nil {
		return header{}, errHeader // RFC 7515, section 4.1.1: alg is required.
	}
	typ, ok := text(members, "typ")
	if !ok {
		return header{}, errHeader
	}
	kid, ok := text(members, "kid")
	if !ok {
		return header{}, errHeader
	}
	h := header{alg: *alg, typ: typ}
	if kid != nil {
		if *kid == "" {
			return header{}, errKid // it would look like no kid at all
		}
		h.kid = *kid
	}
	return h, nil
}

// text is the string member of that name, nil where there is none. It is not ok where the member is no string.
func text(members map[string]json.RawMessage, name string) (*string, bool) {
	raw, ok := members[name]
	if !ok {
		return nil, true
	}
	var s *string
	err := json.Unmarshal(raw, &s)
	return s, err == nil && s != nil
}

// is reports whether the header's type is typ.
func (h header) is(typ string) bool {
	if h.typ == nil || typ == "" {
		return h.typ == nil && typ == ""
	}
	return mediaType(*h.typ) == mediaType(typ)
}

// mediaType is a typ in the form in which two can be compared. RFC 7515, section 4.1.9: "application/" may be left out where no
// other slash follows. RFC 2045, section 5.1: the case of ASCII letters does not matter; other letters are left alone, for some
// of them fold to ASCII.
func mediaType(typ string) string {
	typ = strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, typ)
	if rest, ok := strings.CutPrefix(typ, "application/"); ok && !strings.Contains(rest, "/") {
		return rest
	}
	return typ
}
