package oauthtest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// NoSecrets fails the test for every credential of this run that shows up where none
// belongs: codes, tokens, verifiers, client secrets, passwords, assertions, handles and
// cookies that the server has issued or received, and the Config's Secrets. It looks in
//
//   - these logs: a *bytes.Buffer or *strings.Builder that something wrote to,
//   - the events, with the text of their errors,
//   - error answers and HTML pages, for what had been received before; so a page that
//     shows a new token once, as some have to, is none of its business, nor is a handle
//     on a page.
//
// 20 characters in a row of one are enough to be found, as they are or as base64, hex,
// in a URL, in HTML or in JSON; of a shorter one, all of it; what is shorter than 6 is not looked
// for. Passwords are the form fields whose name contains "password".
func (s *Server) NoSecrets(t testing.TB, logs ...fmt.Stringer) {
	t.Helper()
	s.known.mu.Lock()
	all, pages := slices.Clone(s.known.all), slices.Clone(s.known.pages)
	s.known.mu.Unlock()
	for _, secret := range s.Config.Secrets {
		all = append(all, credential{name: "one of Config.Secrets", text: string(secret)})
	}
	finder := newFinder(all)
	for i, log := range logs {
		finder.look(t, fmt.Sprintf("log %d", i+1), log.String(), func(credential) bool { return true })
	}
	for i, e := range s.Events() {
		finder.look(t, fmt.Sprintf("event %d, %s,", i+1, e.Type), fmt.Sprintf("%+v %v", e, e.LogValue()), func(credential) bool { return true })
	}
	for _, p := range pages {
		finder.look(t, p.request, p.text, func(c credential) bool { return c.kind == received && c.at <= p.at })
	}
}

// A kind says where a credential is at home.
type kind int

const (
	issued   kind = iota // by the server: no page has it unless it was made for that
	received             // from somebody: no page repeats it
	browser              // a handle or a cookie: pages have them
)

// A credential is a text that is worth something.
type credential struct {
	name, text string
	kind       kind
	at         int // when it was first seen; credentials and pages are counted together
}

// A shown page is an answer that people or logs may see.
type shown struct {
	request, text string
	at            int
}

// credentials are all that a server has seen.
type credentials struct {
	mu    sync.Mutex
	count int
	place map[string]int // in all
	all   []credential
	seen  map[string]bool // pages
	pages []shown
}

// minCredential is how long a text must be to be told from a word, in bytes.
const minCredential = 6

func (k *credentials) add(name, text string, as kind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.enter(name, text, as)
}

func (k *credentials) enter(name, text string, as kind) {
	if len(text) < minCredential {
		return
	}
	if k.place == nil {
		k.place, k.seen = map[string]int{}, map[string]bool{}
	}
	k.count++
	if i, ok := k.place[text]; !ok {
		k.place[text] = len(k.all)
		k.all = append(k.all, credential{name, text, as, k.count})
	} else if as == received && k.all[i].kind != received {
		k.all[i].kind, k.all[i].at = received, k.count
	}
}

// hide is a text as a message shows it, without what is known. nil knows nothing.
func (k *credentials) hide(text string) string {
	if k == nil {
		return text
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.all {
		text = strings.ReplaceAll(text, c.text, hide(c.text))
	}
	return text
}

// note takes the credentials out of a request and its answer.
func (k *credentials) note(r Request, e *exchange) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, form := range []url.Values{r.Query, r.Form} {
		for name, values := range form {
			for _, value := range values {
				if name == handleName {
					k.enter(name, value, browser)
				} else if credentialName(name) {
					k.enter(name, value, received)
				}
			}
		}
	}
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if _, secret, ok := basic(text); ok && strings.EqualFold(scheme, "Basic") {
		k.enter("client_secret", secret, received)
	} else if text != "" {
		k.enter("Authorization", text, received)
	}
	k.cookies((&http.Request{Header: r.Header}).Cookies())
	k.shown(r, e)
	k.issued(e)
}

// shown keeps what people may see.
func (k *credentials) shown(r Request, e *exchange) {
	text := string(e.answer)
	isPage := strings.HasPrefix(e.Header().Get("Content-Type"), "text/html")
	if text == "" || e.status < http.StatusBadRequest && !isPage || k.seen[text] {
		return
	}
	if k.seen == nil {
		k.place, k.seen = map[string]int{}, map[string]bool{}
	}
	k.seen[text] = true
	k.count++
	k.pages = append(k.pages, shown{fmt.Sprintf("the answer %d to %s %s", e.status, r.Method, r.Path), text, k.count})
}

// issued takes credentials out of an answer.
func (k *credentials) issued(e *exchange) {
	var members map[string]any
	if strings.HasPrefix(e.Header().Get("Content-Type"), "application/json") && json.Unmarshal(e.answer, &members) == nil {
		for name, value := range members {
			if text, ok := value.(string); ok && credentialName(name) {
				k.enter(name, text, issued)
			}
		}
	}
	_, params := (&Answer{Header: e.Header()}).Location()
	for name, values := range params {
		for _, value := range values {
			if name == handleName {
				k.enter(name, value, browser)
			} else if credentialName(name) {
				k.enter(name, value, issued)
			}
		}
	}
	k.cookies((&http.Response{Header: e.Header()}).Cookies())
}

// cookies enters those that may be credentials: what is short is a setting.
func (k *credentials) cookies(all []*http.Cookie) {
	for _, c := range all {
		if len(c.Value) >= pieceLen {
			k.enter("cookie "+c.Name, c.Value, browser)
		}
	}
}

// A finder knows the pieces of all forms of some credentials.
type finder struct {
	all    []credential
	pieces map[string]int // of length pieceLen, to the index of the credential
	short  map[string]int // whole forms of those that are shorter
}

// pieceLen and pieceStep are such that each run of pieceLen+pieceStep characters of a
// credential contains a piece.
const (
	pieceLen  = 16
	pieceStep = 4
)

func newFinder(all []credential) *finder {
	f := &finder{all: all, pieces: map[string]int{}, short: map[string]int{}}
	for i, c := range all {
		for _, form := range forms(c.text) {
			if len(c.text) < pieceLen+pieceStep {
				f.short[form] = i
				continue
			}
			for at := 0; at+pieceLen <= len(form); at += pieceStep {
				f.pieces[form[at:at+pieceLen]] = i
			}
			f.pieces[form[len(form)-pieceLen:]] = i
		}
	}
	return f
}

// forms are a text as it is, as base64 at each of the three places that it may have in
// something longer, and as hex; base64 in the alphabet of URLs.
func forms(text string) []string {
	all := []string{alphabet.Replace(text), hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text)))}
	for before, mixed := range []int{0, 2, 3} { // how many characters have bits of what is before
		encoded := base64.RawURLEncoding.EncodeToString(append(make([]byte, before), text...))
		if (before+len(text))%3 != 0 {
			encoded = encoded[:len(encoded)-1] // has bits of what comes after
		}
		all = append(all, encoded[mixed:])
	}
	return all
}

// alphabet makes one of the two alphabets of base64.
var alphabet = strings.NewReplacer("+", "-", "/", "_")

// look fails the test for each credential that may not be in the text and is.
func (f *finder) look(t testing.TB, where, text string, counts func(credential) bool) {
	t.Helper()
	found := map[int]string{}
	views := []string{text}
	for _, view := range []string{percentDecoded(text), percentDecoded(strings.ReplaceAll(text, "+", " ")), html.UnescapeString(text), unquote.Replace(text)} {
		if view != text {
			views = append(views, view)
		}
	}
	for _, view := range views {
		plain := alphabet.Replace(view) // changes no length
		for at := 0; at+pieceLen <= len(plain); at++ {
			if i, ok := f.pieces[plain[at:at+pieceLen]]; ok && counts(f.all[i]) && found[i] == "" {
				found[i] = plain[max(0, at-30):at]
			}
		}
		for form, i := range f.short {
			if at := strings.Index(plain, form); at >= 0 && counts(f.all[i]) && found[i] == "" {
				found[i] = plain[max(0, at-30):at]
			}
		}
	}
	for i, before := range found {
		t.Errorf("oauthtest: %s has a credential: %s %s, after %q", where, f.all[i].name, hide(f.all[i].text), redactText(before))
	}
}

// unquote undoes what JSON and Go's %q do to the marks in a text.
var unquote = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\u0026`, "&", `\u003c`, "<", `\u003e`, ">", `\/`, "/")

// percentDecoded is a text with what is percent-encoded in it decoded, and all else as
// it is.
func percentDecoded(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if c, err := hex.DecodeString(text[i+1 : i+3]); err == nil {
				b.WriteByte(c[0])
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
