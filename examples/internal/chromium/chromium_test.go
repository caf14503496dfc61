package chromium

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestLook shows that what checks the pages can fail.
func TestLook(t *testing.T) {
	b := Start(t).Tab(t)
	show := func(page string) {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
			io.WriteString(w, page) //nolint:errcheck // the browser would say so
		}))
		t.Cleanup(web.Close)
		assert.Equal(t, http.StatusOK, b.Visit(web.URL))
	}
	const good = `<!doctype html><html lang="en"><title>Good</title><main><h1>Good</h1><p>This page is good.</p>
		<p><button style="min-height: 24px">Go</button></main>`
	show(good)
	assert.Empty(t, b.measure())
	assert.Empty(t, b.axe())

	for change, want := range map[[2]string]string{
		{` lang="en"`, ``}:                                                           "no lang",
		{`<title>Good</title>`, ``}:                                                  "no title",
		{`<h1>Good</h1>`, `<p>Good`}:                                                 "0 h1",
		{`<h1>`, `<h1>Twice</h1><h1>`}:                                               "2 h1",
		{`<p>`, `<p style="width: 200vw">`}:                                          "scrolls sideways",
		{`<p>`, `<p style="position: absolute; left: -9px">`}:                        "cut off",
		{`<p>`, `<p style="color: #808080">`}:                                        "contrast 3.95",
		{`<p>`, `<p style="color: rgb(0 0 0 / .4)">`}:                                "contrast 2.85",
		{`<main>`, `<main style="background: #222"><div style="background: #333a">`}: "contrast 1.",
		{`min-height: 24px`, `height: 20px; font-size: 9px`}:                         "small target",
	} {
		show(strings.Replace(good, change[0], change[1], 1))
		assert.Contains(t, strings.Join(b.measure(), "\n"), want)
	}
	show(strings.Replace(good, `<button style`, `<input name="x"><button style`, 1))
	assert.Contains(t, strings.Join(b.axe(), "\n"), "label: ")
}
