package pages_test

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/pages"
)

func TestNew(t *testing.T) {
	executed := template.Must(template.New("login").Parse("x"))
	require.NoError(t, executed.Execute(&strings.Builder{}, nil))
	for _, c := range []struct {
		name   string
		change func(*pages.Config)
		want   string
	}{
		{"no issuer", func(p *pages.Config) { p.Issuer = "" }, "Config.Issuer is missing"},
		{"issuer without a host", func(p *pages.Config) { p.Issuer = "as.example" }, "Config.Issuer is not an absolute URL"},
		{"issuer with a query", func(p *pages.Config) { p.Issuer += "?x=1" }, "Config.Issuer is not an absolute URL"},
		{"issuer on http", func(p *pages.Config) { p.Issuer = "http://as.example" }, "Config.Issuer is not https"},
		{"issuer of another scheme", func(p *pages.Config) { p.Issuer = "ftp://as.example" }, "Config.Issuer is not https"},
		{"no secrets", func(p *pages.Config) { p.Secrets = nil }, "Config.Secrets: no secret"},
		{"a short secret", func(p *pages.Config) { p.Secrets = [][]byte{[]byte("hush-hush")} }, "Config.Secrets: secret 0: 9 bytes"},
		{"no Login", func(p *pages.Config) { p.Login = nil }, "Config.Login is missing"},
		{"lifetime negative", func(p *pages.Config) { p.SessionLifetime = -1 }, "Config.SessionLifetime is -1ns"},
		{"lifetime too short", func(p *pages.Config) { p.SessionLifetime = time.Second }, "Config.SessionLifetime is 1s"},
		{"lifetime too long", func(p *pages.Config) { p.SessionLifetime = 30*24*time.Hour + 1 }, "Config.SessionLifetime is 720h"},
		{"style that ends its element", func(p *pages.Config) { p.Style = "a{}</style><script>" }, "Config.Style is not text, or would end"},
		{"style that is no text", func(p *pages.Config) { p.Style = "\xff" }, "Config.Style is not text"},
		{"templates of other names", func(p *pages.Config) { p.Templates = template.Must(template.New("login.html").Parse("x")) }, "Config.Templates: none is called login, consent"},
		{"templates of other fields", func(p *pages.Config) { p.Templates = template.Must(template.New("consent").Parse("{{.Password}}")) }, "Config.Templates: "},
		{"templates that call what is not there", func(p *pages.Config) {
			p.Templates = template.Must(template.New("login").Parse(`{{template "no-such"}}`))
		}, "Config.Templates: "},
		{"templates that cannot be escaped", func(p *pages.Config) {
			p.Templates = template.Must(template.New("login").Parse(`<a href="{{if .Name}}'{{else}}"{{end}}>`))
		}, "Config.Templates: "},
		{"templates that were executed", func(p *pages.Config) { p.Templates = executed }, "Config.Templates: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := pages.Config{Issuer: issuer, Secrets: [][]byte{oauth.NewSecret()}, Login: login}
			_, err := pages.New(cfg)
			require.NoError(t, err)
			c.change(&cfg)
			p, err := pages.New(cfg)
			require.ErrorContains(t, err, "pages: "+c.want)
			assert.Nil(t, p)
			assert.NotContains(t, err.Error(), "hush")
		})
	}
	t.Run("all faults at once", func(t *testing.T) {
		_, err := pages.New(pages.Config{SessionLifetime: -1, Style: "</"})
		for _, field := range []string{"Issuer", "Secrets", "Login", "SessionLifetime", "Style"} {
			assert.ErrorContains(t, err, "Config."+field)
		}
	})
	t.Run("the longest lifetime, and the shortest", func(t *testing.T) {
		for _, d := range []time.Duration{time.Minute, 30 * 24 * time.Hour} {
			_, err := pages.New(pages.Config{Issuer: "http://localhost:8080", Secrets: [][]byte{oauth.NewSecret()}, Login: login, SessionLifetime: d})
			assert.NoError(t, err)
		}
	})
	t.Run("nothing secret is printed", func(t *testing.T) {
		cfg := pages.Config{Issuer: issuer, Secrets: [][]byte{[]byte("hush-hush-hush-hush-hush-hush-hush")}, Login: login}
		p, err := pages.New(cfg)
		require.NoError(t, err)
		for _, v := range []any{cfg, p} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
				text := fmt.Sprintf(verb, v)
				assert.Contains(t, text, issuer)
				assert.NotContains(t, text, "hush")
				assert.NotContains(t, text, fmt.Sprint([]byte("hush")))
			}
		}
		assert.NotContains(t, cfg.LogValue().String()+p.LogValue().String(), "hush")
	})
}

func TestTemplates(t *testing.T) {
	with := func(set *template.Template) func(*pages.Config, *oauth.Config) {
		return func(p *pages.Config, _ *oauth.Config) { p.Templates = set }
	}
	t.Run("one is replaced, with a function and a part of the host's own", func(t *testing.T) {
		set := template.Must(template.New("").Funcs(template.FuncMap{"shout": strings.ToUpper}).Parse(
			`{{define "login"}}<h1>{{shout "welcome"}}</h1>{{template "part" .}}<input type="hidden" name="interaction" value="{{.Interaction}}">
<form action="{{.Action}}"><input name="password" autocomplete="current-password"></form>{{end}}{{define "part"}}<p>{{.Client}}</p>{{end}}`))
		s := start(t, with(set))
		b := newBrowser(t, s)
		p := b.begin("client_id", "hostile")
		assert.Contains(t, p.text, "<h1>WELCOME</h1>")
		assert.Contains(t, p.text, "&lt;svg/onload=1&gt;", "escaped there too")
		assert.NotContains(t, p.text, "<svg")
		assert.Contains(t, p.text, `<p class="service">as.example</p>`, "the layout is still ours")
		p = b.signIn(b.begin(), "alice")
		assert.Contains(t, p.text, "asks for access", "and so is the consent page")
		assert.Nil(t, set.Lookup("consent"), "the host's set is not changed")
		_, err := pages.New(pages.Config{Issuer: issuer, Secrets: [][]byte{oauth.NewSecret()}, Login: login, Templates: set})
		assert.NoError(t, err, "and can be used again")
	})
	t.Run("all are replaced", func(t *testing.T) {
		set := template.Must(template.New("").Parse(`{{define "login"}}L current-password <input name="interaction" value="{{.Interaction}}">{{end}}
{{define "consent"}}C {{.User}} {{.UserKey}} {{range .Scopes}}{{.Name}}={{.Description}}={{.Optional}};{{end}} {{.OnDevice}} {{.RedirectHost}}{{end}}
{{define "message"}}M {{.Heading}} {{.Text}}{{end}}{{define "layout"}}[{{.Title}}|{{.Heading}}|{{.Content}}]{{end}}`))
		b := newBrowser(t, start(t, with(set)))
		p := b.begin()
		handle := p.fields
		assert.True(t, strings.HasPrefix(p.text, "[as.example|Sign in|L "), p.text)
		p = b.signIn(p, "alice")
		assert.Regexp(t, `^\[as\.example\|Allow access\?\|C Alice Example [\w-]{22} read=Read your things=false;write=Change your things=false;profile=Know your name=true;  client\.example\]$`, p.text)
		p = b.post(handle, func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") })
		assert.Contains(t, p.text, "M This was not sent from here")
		assert.Equal(t, "DENY", p.Header.Get("X-Frame-Options"))
	})
	t.Run("one that fails later", func(t *testing.T) {
		set := template.Must(template.New("login").Funcs(template.FuncMap{"fail": func(name string) (string, error) {
			if name == "boom" {
				return "", context.Canceled
			}
			return "", nil
		}}).Parse(`half a page {{fail .Name}}`))
		p := newBrowser(t, start(t, with(set))).begin("login_hint", "boom")
		assert.Equal(t, http.StatusInternalServerError, p.Status)
		assert.NotContains(t, p.text, "half a page")
		assert.Equal(t, "DENY", p.Header.Get("X-Frame-Options"))
	})
}
