package main

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/oauthtest"
)

const documentBase = "https://auth-api.flowsta.com"

// document is a piece of the published page: a request, or a sample of an answer.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/document", name))
	require.NoError(t, err)
	return string(text)
}

// sampleURL is the document's authorization request on another base URL: it
// prints the URL in several lines.
func sampleURL(t *testing.T, base string) string {
	t.Helper()
	joined := strings.Join(strings.Fields(document(t, "authorize.url")), "")
	rest, found := strings.CutPrefix(joined, documentBase)
	require.True(t, found, joined)
	return base + rest
}

// A site is the host behind a real socket.
type site struct {
	t     *testing.T
	base  string
	clock *oauthtest.Clock
	dir   string // where curl runs, with its file of cookies
}

func newSite(t *testing.T, at time.Time) *site {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	s := &site{t: t, base: "http://localhost:" + port, clock: oauthtest.NewClock(at), dir: t.TempDir()}
	web := httptest.NewUnstartedServer(newHost(options{Issuer: s.base, Now: s.clock.Now}))
	require.NoError(t, web.Listener.Close())
	web.Listener = listener
	web.Start()
	t.Cleanup(web.Close)
	return s
}

// sh runs a command as it stands. The variables are name=value.
func (s *site) sh(command string, variables ...string) *answer {
	s.t.Helper()
	_, err := exec.LookPath("curl")
	require.NoError(s.t, err, "curl is needed: run make deps")
	return s.run(exec.Command("sh", "-c", command), append(variables, "B="+s.base))
}

func (s *site) run(cmd *exec.Cmd, variables []string) *answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	timed := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	timed.Dir, timed.Stdin = s.dir, cmd.Stdin
	// No settings of the machine's user: neither a proxy nor a .curlrc.
	timed.Env = append(variables, "PATH="+os.Getenv("PATH"), "HOME="+s.dir, "CURL_HOME="+s.dir, "no_proxy=*")
	var stdout, stderr strings.Builder
	timed.Stdout, timed.Stderr = &stdout, &stderr
	require.NoError(s.t, timed.Run(), "%s", &stderr)
	return read(s.t, stdout.String())
}

// read takes what curl -i prints apart: head, empty line, and the body as it was
// before it was cut into chunks.
func read(t *testing.T, printed string) *answer {
	t.Helper()
	head, body, found := strings.Cut(printed, "\r\n\r\n")
	require.True(t, found, printed)
	line, fields, _ := strings.Cut(head, "\r\n")
	words := strings.Fields(line) // HTTP/1.1 200 OK
	require.GreaterOrEqual(t, len(words), 2, printed)
	status, err := strconv.Atoi(words[1])
	require.NoError(t, err, printed)
	header, err := textproto.NewReader(bufio.NewReader(strings.NewReader(fields + "\r\n\r\n"))).ReadMIMEHeader()
	require.NoError(t, err, printed)
	return &answer{Status: status, Header: http.Header(header), Body: body}
}

// http sends a request as the document prints it, with curl; old and new are
// placeholders and what they stand for.
func (s *site) http(name string, oldnew ...string) *answer {
	s.t.Helper()
	text := strings.NewReplacer(oldnew...).Replace(document(s.t, name))
	head, body, hasBody := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	method, path, _ := strings.Cut(lines[0], " ")
	args := []string{"-i", "-X", method, s.base + path}
	for _, line := range lines[1:] {
		args = append(args, "-H", line)
	}
	if hasBody {
		args = append(args, "--data-binary", "@-")
	}
	cmd := exec.Command("curl", args...)
	cmd.Stdin = strings.NewReader(body)
	return s.run(cmd, nil)
}

// signIn signs the user in with curl, whose cookies are then in the file jar, and
// leaves its page in v.
func (s *site) signIn() {
	s.t.Helper()
	page := s.curl("-c", "jar", sampleURL(s.t, s.base))
	a := s.curl("-b", "jar", "-c", "jar", "-H", "Sec-Fetch-Site: same-origin", "--data-urlencode", "interaction="+field(s.t, page, "interaction"),
		"-d", "username="+userName, "-d", "password="+userPassword, s.base+"/oauth/authorize")
	require.Equal(s.t, http.StatusSeeOther, a.Status, a.Body)
}

// allow presses the button of a consent page.
func (s *site) allow(page *answer) *answer {
	s.t.Helper()
	return s.curl("-b", "jar", "-H", "Sec-Fetch-Site: same-origin", "--data-urlencode", "interaction="+field(s.t, page, "interaction"),
		"--data-urlencode", "user="+field(s.t, page, "user"), "-d", "scope=email", "-d", "decision=approve", s.base+"/oauth/authorize")
}

func (s *site) curl(args ...string) *answer {
	s.t.Helper()
	return s.run(exec.Command("curl", append([]string{"-i"}, args...)...), nil)
}

// field is a hidden field of a page.
func field(t *testing.T, page *answer, name string) string {
	t.Helper()
	for _, m := range hidden.FindAllStringSubmatch(page.Body, -1) {
		if m[1] == name {
			return m[2]
		}
	}
	t.Fatalf("the page has no field %s: %d %s", name, page.Status, page.Body)
	return ""
}

// like asserts that an answer has the members of a sample in the same order, and
// their values, but for those that the document cuts off or names as placeholders.
func (a *answer) like(t *testing.T, sample string) {
	t.Helper()
	want, got := members(t, sample), members(t, a.Body)
	require.Equal(t, names(t, sample), names(t, a.Body))
	for i, w := range want {
		text, isText := w.Value.(string)
		prefix, cut := strings.CutSuffix(text, "...")
		switch {
		case isText && strings.HasSuffix(text, "_here"):
			assert.IsType(t, "", got[i].Value, w.Name)
			assert.NotEmpty(t, got[i].Value, w.Name)
		case cut:
			value, _ := got[i].Value.(string)
			assert.True(t, strings.HasPrefix(value, prefix) && len(value) > len(prefix), "%s: %v", w.Name, got[i].Value)
		default:
			assert.Equal(t, w.Value, got[i].Value, w.Name)
		}
	}
}

// TestDocumentCommands runs curl on a whole flow, each command as it stands.
func TestDocumentCommands(t *testing.T) {
	s := newSite(t, time.Unix(1699564800, 0))
	s.signIn()
	page := s.sh(document(t, "authorize.sh"))
	require.Equal(t, http.StatusOK, page.Status)
	assert.Contains(t, page.Body, "Your App")
	back := s.allow(page)
	assert.Equal(t, http.StatusSeeOther, back.Status)
	assert.Equal(t, "random_state", back.callback().Get("state"))

	token := s.sh(document(t, "token.sh"), "CODE="+back.code())
	assert.Equal(t, http.StatusOK, token.Status)
	token.like(t, document(t, "token.json"))
	at := "AT=" + token.member("access_token")
	info := s.sh(document(t, "userinfo.sh"), at)
	assert.Equal(t, http.StatusOK, info.Status)
	info.like(t, document(t, "userinfo.json"))

	revoked := s.sh(document(t, "revoke.sh"), "RT="+token.member("refresh_token"))
	assert.Equal(t, http.StatusOK, revoked.Status)
	assert.Empty(t, revoked.Body)
	gone := s.sh(document(t, "userinfo.sh"), at)
	assert.Equal(t, http.StatusUnauthorized, gone.Status)
	gone.like(t, document(t, "error-401.json"))
}

// TestDocumentRequests sends the requests that the document prints.
func TestDocumentRequests(t *testing.T) {
	s := newSite(t, time.Unix(1699564800, 0))
	s.signIn()
	back := s.allow(s.curl("-b", "jar", sampleURL(t, s.base)))
	code := []string{"authorization_code_here", back.code()}

	a := s.http("token.http", append(code, `,
  "code_verifier": "your_pkce_code_verifier"`, "")...)
	assert.Equal(t, http.StatusBadRequest, a.Status)
	a.like(t, document(t, "error-400.json"))
	token := s.http("token.http", append(code, "your_pkce_code_verifier", verifier)...)
	assert.Equal(t, http.StatusOK, token.Status)
	token.like(t, document(t, "token.json"))

	a = s.http("userinfo.http", "<access_token>", token.member("access_token"))
	assert.Equal(t, http.StatusOK, a.Status)
	a.like(t, document(t, "userinfo.json"))
	a = s.http("revoke.http", "refresh_token_here", token.member("refresh_token"))
	assert.Equal(t, http.StatusOK, a.Status)
	assert.Empty(t, a.Body)
	a = s.http("userinfo.http") // with the placeholder for a token
	assert.Equal(t, http.StatusUnauthorized, a.Status)
	a.like(t, document(t, "error-401.json"))
}

// TestDocumentLimits gets the very numbers of the document: the fifth request of a
// minute that ends when the sample says.
func TestDocumentLimits(t *testing.T) {
	s := newSite(t, time.Unix(1699564800-25, 0))
	var a *answer
	for range 5 {
		a = s.curl(sampleURL(t, s.base))
	}
	for line := range strings.Lines(document(t, "limits.http")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		assert.Equal(t, value, a.Header.Get(name), name)
	}
}

// TestDocumentSamples shows that like can fail.
func TestDocumentSamples(t *testing.T) {
	sample := document(t, "token.json")
	good := `{"access_token":"eyJhbGciOiJIUzI1NiIsx","token_type":"Bearer","expires_in":3600,"refresh_token":"x","scope":"profile email"}`
	(&answer{Body: good}).like(t, sample)
	for _, change := range [][2]string{
		{`"expires_in":3600`, `"expires_in":"3600"`},
		{`"expires_in":3600`, `"expires_in":1800`},
		{`"Bearer"`, `"bearer"`},
		{`eyJhbGciOiJIUzI1NiIsx`, `eyJhbGciOiJSUzI1NiIsx`},
		{`eyJhbGciOiJIUzI1NiIsx`, `eyJhbGciOiJIUzI1NiIs`},
		{`"refresh_token":"x"`, `"refresh_token":""`},
		{`,"scope":"profile email"`, ``},
		{`"token_type":"Bearer","expires_in":3600`, `"expires_in":3600,"token_type":"Bearer"`},
		{`}`, `,"more":true}`},
	} {
		probe := &testing.T{}
		done := make(chan struct{})
		go func() { // require ends the goroutine that it fails in
			defer close(done)
			(&answer{Body: strings.Replace(good, change[0], change[1], 1)}).like(probe, sample)
		}()
		<-done
		assert.True(t, probe.Failed(), "%s instead of %s", change[1], change[0])
	}
}
