package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// CodeChallenge reads code_challenge and code_challenge_method. It is "" where the
// request has neither, which only a confidential client may leave out, and that
// only if optional is set.
func (r *AuthorizeRequest) CodeChallenge(optional bool) (string, error) {
	challenge, method := r.Param("code_challenge"), r.Param("code_challenge_method")
	// RFC 9700, section 2.1.1: public clients must use PKCE.
	if optional && !r.Client.Public && challenge == "" && method == "" {
		return "", nil
	}
	if err := checkChallenge(challenge, method); err != nil {
		return "", err
	}
	return challenge, nil
}

// checkChallenge reads code_challenge and code_challenge_method of an
// authorization request. S256 is the one method there is: "plain" shows the
// verifier to whoever sees the request (RFC 9700, section 2.1.1).
func checkChallenge(challenge, method string) *Error {
	switch {
	case challenge == "":
		return missing("code_challenge")
	case method != "S256":
		return &Error{Code: InvalidRequest, Description: "code_challenge_method must be S256", Parameter: "code_challenge_method"}
	case !isChallenge(challenge):
		return &Error{Code: InvalidRequest, Description: "code_challenge is malformed", Parameter: "code_challenge"}
	}
	return nil
}

// isChallenge: BASE64URL(SHA256(verifier)), which is 43 characters and its
// last one has two spare bits (RFC 7636, section 4.2).
func isChallenge(s string) bool {
	var sum [sha256.Size]byte
	if len(s) != base64.RawURLEncoding.EncodedLen(len(sum)) || !unreserved(s) {
		return false
	}
	_, err := base64url.Decode(sum[:], []byte(s))
	return err == nil
}

// checkVerifier compares the verifier with the challenge of the authorization
// request.
func checkVerifier(challenge, verifier string) *Error {
	if challenge == "" {
		if verifier != "" {
			// RFC 9700, section 4.8.2: a verifier is accepted only where a challenge was sent.
			return &Error{Code: InvalidGrant, Description: "No code_challenge was sent for this code", Parameter: "code_verifier"}
		}
		return nil
	}
	if verifier == "" {
		return missing("code_verifier")
	}
	wrong := &Error{Code: InvalidGrant, Description: "code_verifier does not match", Parameter: "code_verifier"}
	if n := len(verifier); n < 43 || n > 128 || !unreserved(verifier) { // RFC 7636, section 4.1
		return wrong
	}
	// RFC 7636, section 4.6: if the values are not equal, "invalid_grant".
	if subtle.ConstantTimeCompare([]byte(challengeOf(verifier)), []byte(challenge)) != 1 {
		return wrong
	}
	return nil
}

// challengeOf is the S256 challenge of a verifier (RFC 7636, section 4.2).
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func unreserved(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~') {
			return false
		}
	}
	return true
}
