package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/examples/internal/webtest"
)

// buildDir is where the program is built, for anybody to run.
var buildDir string

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "quickstart"); err == nil {
		err = os.Chmod(buildDir, 0o755) //nolint:gosec // a program
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(buildDir) //nolint:errcheck // a temporary directory
	os.Exit(code)
}

// build builds the program, as the tests were built: what they are made of is there.
var build = sync.OnceValues(func() (string, error) {
	file := filepath.Join(buildDir, "quickstart")
	args := []string{"build", "-o", file}
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			args = append(args, "-race")
		}
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

// A process is the program, running.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	guide  string // what it printed
	stderr bytes.Buffer
}

func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	file, err := build()
	require.NoError(t, err)
	cmd := exec.Command(file, args...)
	cmd.Dir = dir
	return cmd
}

// start runs the program in dir until it has printed what to do.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: command(t, dir, args...)}
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.cmd.Process.Kill() //nolint:errcheck // it may have ended
		p.cmd.Wait()         //nolint:errcheck // or have been waited for
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		p.guide += lines.Text() + "\n"
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			return p
		}
	}
	p.cmd.Wait() //nolint:errcheck // its words are below
	t.Fatalf("it did not start: %s", p.stderr.String())
	return nil
}

// stop sends the signal and waits for the end.
func (p *process) stop(signal syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(signal))
	err := p.cmd.Wait()
	if signal == syscall.SIGKILL {
		assert.ErrorContains(p.t, err, "signal: killed")
		return
	}
	assert.NoError(p.t, err, p.stderr.String())
}

// freeAddr is an address that will be free again after a restart: it is none of
// those that the system gives to whoever asks for any.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("localhost:%d", 10_000+rand.IntN(20_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			require.NoError(t, l.Close())
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// A device is a program of the user's with the client demo-spa, which goes through
// the code flow by itself.
type device struct {
	client   oauth2.Config
	verifier string
}

const deviceCallback = "http://127.0.0.1:53682/callback"

func newDevice(issuer string) *device {
	return &device{verifier: oauth2.GenerateVerifier(), client: oauth2.Config{
		ClientID: "demo-spa", RedirectURL: deviceCallback, Scopes: []string{"notes:read", "notes:write"},
		Endpoint: oauth2.Endpoint{AuthURL: issuer + "/oauth/authorize", TokenURL: issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
	}}
}

// code signs bob in, who allows it.
func (d *device) code(t *testing.T) string {
	t.Helper()
	b := webtest.New(t, deviceCallback)
	b.Open(d.client.AuthCodeURL("a state", oauth2.S256ChallengeOption(d.verifier)))
	b.Press("Sign in", "bob", "builder")
	b.Press("Allow")
	code := b.URL.Query().Get("code")
	require.NotEmpty(t, code, b.Text)
	return code
}

func (d *device) redeem(t *testing.T, code string) (*oauth2.Token, error) {
	t.Helper()
	return d.client.Exchange(t.Context(), code, oauth2.VerifierOption(d.verifier))
}

func (d *device) refresh(t *testing.T, token *oauth2.Token) (*oauth2.Token, error) {
	t.Helper()
	return d.client.TokenSource(t.Context(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
}

// TestRestart stops the program, politely or not, with everything under way.
func TestRestart(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGKILL": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			dir, addr := t.TempDir(), freeAddr(t)
			issuer := "http://" + addr
			p := start(t, dir, "-addr", addr, "-db", "notes.db")
			assert.Contains(t, p.guide, "Everything is kept in "+filepath.Join(dir, "notes.db")+"\n")
			assert.Contains(t, p.guide, "secret, which is in "+filepath.Join(dir, "notes.db.secret")+"\n")

			db, err := openFile(filepath.Join(dir, "notes.db"), "") // another process works with it meanwhile
			require.NoError(t, err)
			cheapen(t, db)
			require.NoError(t, db.Close())

			app := signedIn(t, issuer, "alice", "wonderland")
			app.Press("Add note", "tea at six")
			d := newDevice(issuer)
			used, unused := d.code(t), d.code(t)
			token, err := d.redeem(t, used)
			require.NoError(t, err)
			atLogin, atConsent := webtest.New(t, ""), webtest.New(t, "")
			for _, b := range []*webtest.Browser{atLogin, atConsent} {
				b.Open(issuer + "/")
				b.Press("Sign in")
			}
			atConsent.Press("Sign in", "bob", "builder")
			keys := jwks(t, issuer)

			p.stop(signal)
			p = start(t, dir, "-addr", addr, "-db", "notes.db")

			app.Open(issuer + "/")
			assert.Contains(t, app.Text, "Signed in as Alice")
			assert.Contains(t, latest(t, app), "tea at six", "what the buttons did")
			app.Press("Read my notes")
			assert.Contains(t, latest(t, app), "200 OK", "the access token")
			assert.Contains(t, latest(t, app), "tea at six")
			app.Press("Refresh")
			assert.Contains(t, latest(t, app), "200 OK")
			app.Press("Sign out of this app")
			app.Press("Sign in")
			app.Press("Allow") // without the password: the server's own session
			assert.Contains(t, app.Text, "Signed in as Alice")

			resp, members := call(t, "GET", issuer+"/api/notes", token.AccessToken, "")
			assert.Equal(t, http.StatusOK, resp.StatusCode, members)
			_, err = d.refresh(t, token)
			assert.NoError(t, err)
			_, err = d.redeem(t, used)
			assert.ErrorContains(t, err, "invalid_grant", "it was redeemed before")
			_, err = d.redeem(t, unused)
			assert.NoError(t, err, "it was not")

			atLogin.Press("Sign in", "alice", "wonderland")
			atLogin.Press("Allow")
			assert.Contains(t, atLogin.Text, "Signed in as Alice")
			atConsent.Press("Allow")
			assert.Contains(t, atConsent.Text, "Signed in as Bob")
			assert.Equal(t, keys, jwks(t, issuer))

			p.stop(syscall.SIGTERM)
			left, err := filepath.Glob(filepath.Join(dir, "*"))
			require.NoError(t, err)
			assert.Equal(t, []string{filepath.Join(dir, "notes.db"), filepath.Join(dir, "notes.db.secret")}, left, "a whole database without its log")
			for _, file := range left {
				info, err := os.Stat(file)
				require.NoError(t, err)
				assert.Equal(t, os.FileMode(0o600), info.Mode(), file)
			}
		})
	}
}

func jwks(t *testing.T, issuer string) string {
	t.Helper()
	resp, err := http.Get(issuer + "/oauth/jwks")
	require.NoError(t, err)
	defer resp.Body.Close() //nolint:errcheck // it is read here
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	return string(body)
}

// refusals are starts that fail; each gets a directory of its own.
var refusals = map[string]struct {
	prepare func(t *testing.T, dir string)
	args    []string
	want    string
}{
	"no directory": {nil, []string{"-db", "none/notes.db"}, "no such file or directory"},
	"below a file": {func(t *testing.T, dir string) { write(t, dir, "file", "") }, []string{"-db", "file/notes.db"}, "not a directory"},
	"a directory":  {func(t *testing.T, dir string) { require.NoError(t, os.Mkdir(filepath.Join(dir, "notes.db"), 0o700)) }, notesDB, "it is a directory or a device, not a file"},
	"a device":     {nil, []string{"-db", os.DevNull}, "it is a directory or a device, not a file"},
	"a directory that only others write to": {func(t *testing.T, dir string) {
		require.NoError(t, os.Chmod(dir, 0o555)) //nolint:gosec // it is to be seen
	}, notesDB, "permission denied"},
	"no database": {func(t *testing.T, dir string) {
		write(t, dir, "notes.db", strings.Repeat("Follow the white rabbit\n", 100))
	}, notesDB, "file is not a database"},
	"a database of another program":  {foreign("CREATE TABLE bookmarks (url TEXT)"), notesDB, "it is the database of another program"},
	"one of a store's own":           {foreign("CREATE TABLE oauth_schema (version INTEGER)"), notesDB, "it is the database of another program"},
	"a database of another server":   {foreign("CREATE TABLE quickstart (issuer TEXT); INSERT INTO quickstart VALUES ('http://localhost:9999')"), notesDB, "start with -addr localhost:9999"},
	"a database without its secret":  {foreign("CREATE TABLE quickstart (issuer TEXT); INSERT INTO quickstart VALUES ('http://localhost:9998')"), []string{"-db", "notes.db", "-addr", "localhost:9998"}, "notes.db.secret is missing"},
	"a secret that others can read":  {secretFile(0o644, oauth.NewSecret()), notesDB, "notes.db.secret is open to others than its owner (mode 0644): chmod 600 notes.db.secret"},
	"a secret that a group can read": {secretFile(0o640, oauth.NewSecret()), notesDB, "(mode 0640)"},
	"a secret that is too short":     {secretFile(0o600, oauth.NewSecret(), oauth.NewSecret()[:31]), notesDB, "line 2 is not 32 bytes or more in base64"},
	"a secret that is no base64":     {func(t *testing.T, dir string) { write(t, dir, "notes.db.secret", "open sesame\n") }, notesDB, "line 1 is not 32 bytes"},
	"a file without a secret":        {secretFile(0o600), notesDB, "notes.db.secret holds no secret"},
	"a directory of the secret":      {nil, []string{"-db", "notes.db", "-secret", "none/secret"}, "none/secret cannot be made: "},
	"a path that is no option":       {nil, []string{"notes.db"}, `"notes.db" is not understood; a database is given as -db file`},
	"a secret without a database":    {nil, []string{"-secret", "secret"}, "-secret is for -db"},
}

var notesDB = []string{"-db", "notes.db"}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

// foreign makes a database that is none of the quickstart's.
func foreign(ddl string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		db, err := sql.Open("sqlite", filepath.Join(dir, "notes.db"))
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), ddl)
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}
}

func secretFile(mode os.FileMode, secrets ...[]byte) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		var text string
		for _, s := range secrets {
			text += base64.StdEncoding.EncodeToString(s) + "\n"
		}
		write(t, dir, "notes.db.secret", text)
		require.NoError(t, os.Chmod(filepath.Join(dir, "notes.db.secret"), mode))
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp(buildDir, "refused") // where anybody may look
			require.NoError(t, err)
			if c.prepare != nil {
				c.prepare(t, dir)
			}
			before := contents(t, dir)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // it would serve for ever
			defer cancel()
			cmd := command(t, dir, append([]string{"-addr", "localhost:0"}, c.args...)...)
			if c.want == "permission denied" && os.Getuid() == 0 {
				require.NoError(t, os.Chown(dir, 65534, 65534))
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}} // root may write anywhere
			}
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			require.NoError(t, cmd.Start())
			defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })() //nolint:errcheck // it has ended
			err = cmd.Wait()
			exit, ok := errors.AsType[*exec.ExitError](err)
			require.True(t, ok, "%v %s", err, stdout.String())
			assert.Equal(t, 1, exit.ExitCode())
			assert.Empty(t, stdout.String())
			assert.Contains(t, stderr.String(), "quickstart: ")
			assert.Contains(t, stderr.String(), c.want)
			assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
			assert.NotContains(t, stderr.String(), "sesame", "nobody's secret")
			after := contents(t, dir)
			if before["notes.db"] == "" {
				delete(after, "notes.db") // it may have been made, empty
			}
			assert.Equal(t, before, after)
		})
	}
}

// contents are the files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if f.IsDir() {
			text, err = []byte("a directory"), nil
		}
		require.NoError(t, err)
		all[f.Name()] = string(text)
	}
	return all
}

// A second process has another address, so it is another server and gets a file of its own.
func TestSecondProgram(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	start(t, dir, "-addr", addr, "-db", "notes.db", "-secret", "elsewhere")
	token := machineToken(t, "http://"+addr)
	for other, want := range map[string]string{
		"localhost:0": "it belongs to the server at http://" + addr + ": start with -addr " + addr,
		addr:          "address already in use",
	} {
		out, err := command(t, dir, "-addr", other, "-db", "notes.db").CombinedOutput()
		assert.ErrorContains(t, err, "exit status 1")
		assert.Contains(t, string(out), want)
	}
	resp, _ := call(t, "GET", "http://"+addr+"/api/notes", token, "")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.FileExists(t, filepath.Join(dir, "elsewhere"))
	assert.NoFileExists(t, filepath.Join(dir, "notes.db.secret"))
}

// A lasting server has hosts on one file behind one address: several at once, or
// one after the other.
type lasting struct {
	t      *testing.T
	o      options
	hosts  atomic.Pointer[[]*host] // requests go round
	number atomic.Int64
	seen   func(r *http.Request, w *httptest.ResponseRecorder)
}

// serveFile starts n hosts on a new file.
func serveFile(t *testing.T, n int, o options) *lasting {
	t.Helper()
	s := &lasting{t: t, o: o}
	web := httptest.NewUnstartedServer(s)
	require.NoError(t, web.Listener.Close())
	var err error
	web.Listener, err = net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	s.o.Addr = public("localhost:0", web.Listener)
	s.o.DB = filepath.Join(t.TempDir(), "notes.db")
	s.restart(n)
	web.Start()
	t.Cleanup(web.Close)
	return s
}

// restart closes the hosts and makes n new ones.
func (s *lasting) restart(n int) {
	s.t.Helper()
	if old := s.hosts.Load(); old != nil {
		for _, h := range *old {
			require.NoError(s.t, h.Close())
		}
	}
	var hosts []*host
	for range n {
		hosts = append(hosts, startHost(s.t, s.o))
	}
	s.hosts.Store(&hosts)
}

func (s *lasting) issuer() string { return "http://" + s.o.Addr }

func (s *lasting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hosts := *s.hosts.Load()
	h := hosts[int(s.number.Add(1))%len(hosts)]
	if s.seen == nil {
		h.ServeHTTP(w, r)
		return
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	s.seen(r, rec)
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	w.Write(rec.Body.Bytes()) //nolint:errcheck // the client's affair
}

// Two processes with the same address, as behind a proxy, are one server.
func TestTwoProcesses(t *testing.T) {
	s := serveFile(t, 2, options{})
	alice := signedIn(t, s.issuer(), "alice", "wonderland")
	for range 2 {
		alice.Press("Read my notes")
		assert.Contains(t, latest(t, alice), "Follow the white rabbit")
		alice.Press("Refresh")
		assert.Contains(t, latest(t, alice), "200 OK")
	}
	d := newDevice(s.issuer())
	token, err := d.redeem(t, d.code(t))
	require.NoError(t, err)

	const writers = 16
	status := make([]int, writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			resp, _ := call(t, "POST", s.issuer()+"/api/notes", token.AccessToken, fmt.Sprintf(`{"text":"spanner %d"}`, i))
			status[i] = resp.StatusCode
		})
	}
	all.Wait()
	for _, code := range status {
		assert.Equal(t, http.StatusCreated, code)
	}
	_, members := call(t, "GET", s.issuer()+"/api/notes", token.AccessToken, "")
	assert.Len(t, members["notes"], 1+writers)

	alice.Press("Revoke") // by one, seen by the other
	for range 2 {
		alice.Press("Read my notes")
		assert.Contains(t, latest(t, alice), "401 Unauthorized")
	}
}

// Several start at once on a file that is not there.
func TestFirstStartAtOnce(t *testing.T) {
	o := options{DB: filepath.Join(t.TempDir(), "notes.db"), Now: time.Now}
	secrets, errs := make([]string, 4), make([]error, 4)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			db, err := openDatabase(t.Context(), o, "http://localhost:8080")
			if errs[i] = err; err == nil {
				secrets[i] = string(db.secrets[0])
				errs[i] = db.Close()
			}
		})
	}
	all.Wait()
	for i, err := range errs {
		require.NoError(t, err)
		assert.Equal(t, secrets[0], secrets[i])
	}
}

// A start that is stopped while it writes the secret, here by a limit on the size of
// files, does not stop the next one.
func TestStoppedAtTheSecret(t *testing.T) {
	const variable = "QUICKSTART_TEST_SECRET"
	if path := os.Getenv(variable); path != "" { // this test, started again by itself
		_, err := makeSecret(path)
		require.NoError(t, err)
		return
	}
	dir, addr := t.TempDir(), freeAddr(t)
	path := filepath.Join(dir, "notes.db.secret")
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command("sh", "-c", `ulimit -f 0; exec "$0" -test.run='^TestStoppedAtTheSecret$'`, self)
	cmd.Env = append(os.Environ(), variable+"="+path)
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Regexp(t, "SIGXFSZ|file too large", string(out))
	start(t, dir, "-addr", addr, "-db", "notes.db").stop(syscall.SIGTERM)

	before, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = makeSecret(path)
	require.ErrorIs(t, err, fs.ErrExist)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// TestCopy is a thief's look at a copy of the database.
func TestCopy(t *testing.T) {
	s := serveFile(t, 1, options{})
	var mu sync.Mutex
	credentials := map[string]string{"alice's password": "wonderland", "a client's secret": "demo-web-secret"}
	s.seen = func(r *http.Request, w *httptest.ResponseRecorder) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range w.Result().Cookies() {
			credentials["cookie "+c.Name] = c.Value
		}
		if to, err := w.Result().Location(); err == nil && to.Query().Has("code") {
			credentials["code"] = to.Query().Get("code")
		}
		var token oauth2.Token
		if r.URL.Path == "/oauth/token" && assert.NoError(t, json.Unmarshal(w.Body.Bytes(), &token)) {
			credentials["access token"], credentials["refresh token"] = token.AccessToken, token.RefreshToken
		}
	}
	b := signedIn(t, s.issuer(), "alice", "wonderland")
	b.Press("Add note", "tea at six")
	mu.Lock()
	defer mu.Unlock()
	text, err := os.ReadFile(s.o.secretFile())
	require.NoError(t, err)
	credentials["the server's secret in base64"] = strings.TrimSpace(string(text))
	credentials["the server's secret"] = string((*s.hosts.Load())[0].db.secrets[0])

	var stolen string
	for name, text := range contents(t, filepath.Dir(s.o.DB)) {
		if name != "notes.db.secret" {
			stolen += text
		}
	}
	for _, there := range []string{"alice@example.com", "tea at six", "demo-web", "$2a$04$"} {
		assert.Contains(t, stolen, there, "or this test would show nothing")
	}
	require.Len(t, credentials, 10, credentials)
	for what, value := range credentials {
		require.NotEmpty(t, value, what)
		assert.False(t, strings.Contains(stolen, value), "%s is in the database", what)
	}
}
