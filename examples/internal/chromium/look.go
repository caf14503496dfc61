package chromium

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

//go:embed look.js
var look string

// runAxe checks what WCAG 2.0 to 2.2 ask for at the levels A and AA, as far as a
// program can tell.
const runAxe = `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], resultTypes: ["violations"]})
	.then((r) => r.violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + v.help + ": " + n.html)))`

// Look takes pictures of the page, narrow and wide, light and dark, and reports
// what is wrong with it. The pictures are kept under the -artifacts flag of go test.
func (b *Tab) Look(name string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{320, 1280} {
			b.t.Run(fmt.Sprintf("%s %s %d", name, scheme, width), func(t *testing.T) {
				b := &Tab{t: t, ctx: b.ctx}
				b.do(chromedp.EmulateViewport(width, 800), prefer(scheme))
				picture := get(b, chromedp.FullScreenshot(100))
				file := filepath.Join(t.ArtifactDir(), fmt.Sprintf("%s-%s-%d.png", name, scheme, width))
				if err := os.WriteFile(file, picture, 0o600); err != nil {
					t.Fatal(err)
				}
				for _, problem := range append(b.measure(), b.axe()...) {
					t.Error(problem)
				}
			})
		}
	}
	b.do(chromedp.ResetViewport(), prefer(""))
}

// measure finds what is wrong as far as look.js can tell.
func (b *Tab) measure() []string {
	b.t.Helper()
	return get(b, chromedp.Evaluate[[]string](look))
}

// axe finds what axe-core calls a violation.
func (b *Tab) axe() []string {
	b.t.Helper()
	if !get(b, chromedp.Evaluate[bool](`typeof axe === "object"`)) {
		b.do(chromedp.Evaluate[chromedp.Void](axeCore(b.t)))
	}
	return get(b, chromedp.Evaluate[[]string](runAxe, chromedp.EvalAwaitPromise))
}

// axeCore is the script, which make deps installs in the module's folder interop.
func axeCore(t *testing.T) string {
	t.Helper()
	const name = "interop/node_modules/axe-core/axe.min.js"
	for _, up := range []string{"..", "../.."} {
		if script, err := os.ReadFile(filepath.Join(up, name)); err == nil {
			return string(script)
		}
	}
	t.Fatalf("%s is missing: run make deps", name)
	return ""
}

// prefer is what the user has set for prefers-color-scheme; "" is nothing.
func prefer(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}
