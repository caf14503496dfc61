package oauthtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/resource"
)

// JWTs is an edit for [NewServer]: access tokens are JWTs (RFC 9068), signed with a
// new key of ES256, which [Server.RotateKeys] replaces.
func JWTs(c *oauth.Config) {
	c.AccessToken = oauth.JWT{}
	if keys := new(signingKeys); keys.rotate() == nil { // else New says that Keys is missing
		c.Keys = keys
	}
}

// errUnreachable is what RoundTrip answers where nobody answers.
var errUnreachable = errors.New("oauthtest: nobody answers there")

// RoundTrip implements [http.RoundTripper]: it serves a request to the Issuer's host,
// and to no other, without a socket. So a Server is the Transport of a
// [resource.JWT], a [resource.Introspection] or an [http.Client].
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return nil, err
		}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	issuer, err := url.Parse(s.Config.Issuer)
	if down || err != nil || r.URL.Scheme != issuer.Scheme || r.URL.Host != issuer.Host {
		return nil, errUnreachable
	}
	in := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), strings.NewReader(string(body)))
	in.Header = r.Header.Clone()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, in)
	res := w.Result()
	res.Request = r
	return res, nil
}

// Down lets every RoundTrip fail from now on, as if the network did, or work again.
func (s *Server) Down(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// TestVerifier puts a verifier to the contract of [resource.Verifier], one subtest per
// sentence, with tokens of servers that it makes by [NewServer] with the edits.
//
//	func TestMine(t *testing.T) {
//		oauthtest.TestVerifier(t, 30*time.Minute, func(t *testing.T, srv *oauthtest.Server) resource.Verifier {
//			return &mine.Verifier{Issuer: srv.Config.Issuer, HTTP: &http.Client{Transport: srv}, Now: srv.Clock.Now}
//		}, oauthtest.JWTs)
//	}
//
// Every subtest calls open for a new verifier of a new server. It asks that server, in
// process or by its RoundTrip, and it goes by srv.Clock. seen is how long after a
// revocation a token may still be taken: zero for a verifier that sees it at once, and
// for one that never does the 30 minutes that a token lives.
func TestVerifier(t *testing.T, seen time.Duration, open func(t *testing.T, srv *Server) resource.Verifier, edits ...func(*oauth.Config)) {
	t.Helper()
	for _, c := range verifierContract() {
		t.Run(c.says, func(t *testing.T) {
			srv := NewServer(t, edits...)
			v := &verifierTrial{Server: srv, ctx: t.Context(), seen: seen, edits: edits, open: func() resource.Verifier { return open(t, srv) }}
			v.verifier = v.open()
			if err := c.test(v); err != nil {
				t.Error(err)
			}
		})
	}
}

// A verifierCheck is a sentence of the contract and its proof.
type verifierCheck struct {
	says string
	test func(v *verifierTrial) error
}

// A verifierTrial is one verifier and the server whose tokens it is for.
type verifierTrial struct {
	*Server
	ctx      context.Context
	verifier resource.Verifier
	open     func() resource.Verifier
	seen     time.Duration
	edits    []func(*oauth.Config)
}

func verifierContract() []verifierCheck {
	return []verifierCheck{
		{"a live token is known", checkLiveToken},
		{"a token without a user has no Subject", checkClientToken},
		{"the Token is the caller's own", checkOwnToken},
		{"what is no token is refused", checkGarbage},
		{"other credentials are refused", checkOtherCredentials},
		{"an altered token is refused", checkAltered},
		{"a forged token is refused", checkForged},
		{"a token of another server is refused", checkOtherServers},
		{"a token ends when it says", checkExpiry},
		{"a revocation is seen in time", checkRevocation},
		{"what cannot be checked is not called invalid", checkOutage},
		{"a context that is done is no refusal", checkContext},
		{"it is safe for concurrent use", checkConcurrency},
	}
}

// accepts is the Token of a text that must be live.
func (v *verifierTrial) accepts(what, text string) (*resource.Token, error) {
	got, err := v.verifier.VerifyToken(v.ctx, text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: it was refused: %w", what, err)
	case got == nil:
		return nil, fmt.Errorf("%s: neither a Token nor an error", what)
	}
	return got, nil
}

// refuses checks that a text is refused as no live token, without repeating it.
func (v *verifierTrial) refuses(what, text string) error {
	got, err := v.verifier.VerifyToken(v.ctx, text)
	switch {
	case err == nil:
		return fmt.Errorf("%s: it was taken, as %+v", what, got)
	case got != nil:
		return fmt.Errorf("%s: a Token and an error", what)
	case !errors.Is(err, resource.InvalidToken):
		return fmt.Errorf("%s: the error is no InvalidToken: %w", what, err)
	}
	return silent(what, text, err)
}

// silent checks that an error does not repeat a token.
func silent(what, text string, err error) error {
	for part := range strings.SplitSeq(text, ".") {
		if len(part) >= 16 && strings.Contains(err.Error(), part) {
			return fmt.Errorf("%s: the text of the error has a part of the token", what)
		}
	}
	return nil
}

// approved is an access token of a user of whom the approval says everything.
func (v *verifierTrial) approved() string {
	now := v.Clock.Now()
	v.Interact(func(w http.ResponseWriter, r *http.Request, in *oauth.Interaction) {
		in.Approve(w, r, oauth.Approval{Subject: "alice", Scopes: in.Scopes(), AuthTime: now.Add(-time.Hour).Truncate(time.Second),
			ACR: "gold", AMR: []string{"pwd", "otp"}})
	})
	return v.Redeem(v.Code(SPAClient, "read", "write")).String("access_token")
}

func checkLiveToken(v *verifierTrial) error {
	text := v.approved()
	got, err := v.accepts("a live token", text)
	if err != nil {
		return err
	}
	want, err := v.Server.VerifyToken(v.ctx, text)
	if err != nil {
		return fmt.Errorf("the server itself: %w", err)
	}
	// What a verifier is not told it leaves empty; it never makes anything up.
	told := func(empty, equal bool) bool { return empty || equal }
	for _, c := range []struct {
		field string
		ok    bool
	}{
		{"ID", got.ID == want.ID},
		{"Issuer", got.Issuer == want.Issuer},
		{"ClientID", got.ClientID == want.ClientID},
		{"Subject", got.Subject == want.Subject},
		{"Scopes", slices.Equal(got.Scopes, want.Scopes)},
		{"Audience", slices.Equal(got.Audience, want.Audience)},
		{"IssuedAt", got.IssuedAt.Equal(want.IssuedAt)},
		{"ExpiresAt", got.ExpiresAt.Equal(want.ExpiresAt)},
		{"Confirmation", got.Confirmation == want.Confirmation},
		{"AuthTime", told(got.AuthTime.IsZero(), got.AuthTime.Equal(want.AuthTime))},
		{"ACR", told(got.ACR == "", got.ACR == want.ACR)},
		{"AMR", told(got.AMR == nil, slices.Equal(got.AMR, want.AMR))},
		{"AuthorizationID", told(got.AuthorizationID == "", got.AuthorizationID == want.AuthorizationID)},
		{"Includes", told(got.Includes == nil, slices.Equal(got.Includes, want.Includes))},
	} {
		if !c.ok {
			return fmt.Errorf("%s is wrong: got %+v, want %+v", c.field, got, want)
		}
	}
	return nil
}

func checkClientToken(v *verifierTrial) error {
	text := v.Token(MachineClient, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}).String("access_token")
	got, err := v.accepts("a client's own token", text)
	if err != nil {
		return err
	}
	if got.Subject != "" || got.ClientID != MachineClient {
		return fmt.Errorf("it is of the subject %q and the client %q", got.Subject, got.ClientID)
	}
	return nil
}

func checkOwnToken(v *verifierTrial) error {
	text := v.approved()
	first, err := v.accepts("a live token", text)
	if err != nil {
		return err
	}
	first.Subject, first.ExpiresAt = "root", time.Time{}
	for _, list := range [][]string{first.Scopes, first.Audience, first.AMR, first.Includes} {
		for i := range list {
			list[i] = "admin"
		}
	}
	second, err := v.accepts("the same token again", text)
	if err != nil {
		return err
	}
	if second.Subject != "alice" || second.ExpiresAt.IsZero() || second.Has("admin") || second.For("admin") || slices.Contains(second.AMR, "admin") {
		return errors.New("what one caller writes into the Token another one reads")
	}
	return nil
}

func checkGarbage(v *verifierTrial) error {
	live := v.approved()
	for what, text := range map[string]string{
		"nothing": "", "a letter": "x", "dots": "..", "a word": "null", "a path": "../../etc/passwd", "a NUL": "\x00", "no UTF-8": "\xff\xfe",
		"a line break": "a\r\nb", "JSON": `{"alg":"none"}`, "1 MiB of dots": strings.Repeat(".", 1<<20),
		"1 MiB": strings.Repeat("A", 1<<20), "1 MiB behind a header": "eyJ" + strings.Repeat("A", 1<<20) + "..",
		"a live token, then 1 MiB": live + strings.Repeat("A", 1<<20), "a scheme": "Bearer " + live, "two": live + "," + live,
		"a space after it": live + " ", "a line feed after it": live + "\n", "padding after it": live + "=", "a dot after it": live + ".",
		"five parts": live + ".AAAA.AAAA", "half of it": live[:len(live)/2],
	} {
		if err := v.refuses(what, text); err != nil {
			return err
		}
	}
	return nil
}

func checkOtherCredentials(v *verifierTrial) error {
	code := v.Code(SPAClient, "read")
	if err := v.refuses("an authorization code", code.Code); err != nil {
		return err
	}
	if err := v.refuses("a refresh token", v.Redeem(code).String("refresh_token")); err != nil {
		return err
	}
	return v.refuses("a client secret", Secret)
}

func checkAltered(v *verifierTrial) error {
	live := v.approved()
	if _, err := v.accepts("the token as it is", live); err != nil {
		return err
	}
	step := max(1, len(live)/64)
	for i := 0; i < len(live); i += step {
		with := byte('A')
		if live[i] == with {
			with = 'B'
		}
		if err := v.refuses(fmt.Sprintf("character %d of %d changed", i, len(live)), live[:i]+string(with)+live[i+1:]); err != nil {
			return err
		}
	}
	return nil
}

func checkExpiry(v *verifierTrial) error {
	text := v.approved()
	got, err := v.accepts("a new token", text)
	if err != nil {
		return err
	}
	v.Clock.Advance(got.ExpiresAt.Sub(v.Clock.Now()) - time.Second)
	if _, err := v.accepts("a token in its last second", text); err != nil {
		return err
	}
	v.Clock.Advance(time.Second)
	if err := v.refuses("a token that has just ended", text); err != nil {
		return err
	}
	v.Clock.Advance(24 * time.Hour)
	return v.refuses("a token that ended a day ago", text)
}

func checkRevocation(v *verifierTrial) error {
	text, other := v.approved(), v.AccessToken("bob", "read")
	for _, t := range []string{text, other} {
		if _, err := v.accepts("a live token", t); err != nil {
			return err
		}
	}
	if _, err := v.Revoke(v.ctx, oauth.Selector{Subject: "alice"}); err != nil {
		return fmt.Errorf("the server: %w", err)
	}
	v.Clock.Advance(v.seen)
	if err := v.refuses(fmt.Sprintf("a token %v after it was revoked", v.seen), text); err != nil {
		return err
	}
	if v.seen >= 30*time.Minute {
		return nil
	}
	_, err := v.accepts("the token of another user", other)
	return err
}

func checkContext(v *verifierTrial) error {
	text := v.approved()
	ctx, cancel := context.WithCancel(v.ctx)
	cancel()
	for range 2 { // before anything is known, and after
		got, err := v.verifier.VerifyToken(ctx, text)
		if errors.Is(err, resource.InvalidToken) || err == nil && got == nil {
			return fmt.Errorf("a live token, and a context that is done: %w", errors.Join(err, errors.New("the token was not to blame")))
		}
		if _, err := v.accepts("a live token", text); err != nil {
			return err
		}
	}
	return nil
}

func checkConcurrency(v *verifierTrial) error {
	live := []string{v.approved(), v.AccessToken("bob", "read"), v.AccessToken("carol", "write")}
	subjects := []string{"alice", "bob", "carol"}
	failures := make(chan error, 16)
	var all sync.WaitGroup
	for g := range cap(failures) {
		all.Go(func() {
			for i := range 12 {
				n := (g + i) % len(live)
				got, err := v.accepts("a live token", live[n])
				if err == nil && got.Subject != subjects[n] {
					err = fmt.Errorf("the token of %s was taken for one of %s", subjects[n], got.Subject)
				}
				if err == nil {
					err = v.refuses("no token", fmt.Sprintf("no-token-%d-%d", g, i))
				}
				if err != nil {
					failures <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failures)
	return <-failures // nil where there is none
}
