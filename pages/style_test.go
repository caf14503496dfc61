package pages_test

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestContrast(t *testing.T) {
	_, style, _ := strings.Cut(newBrowser(t, start(t)).begin().text, "<style>")
	light, dark, ok := strings.Cut(style, "@media (prefers-color-scheme: dark)")
	require.True(t, ok)
	for scheme, text := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(text, -1) {
			if _, seen := colours[m[1]]; !seen {
				colours[m[1]] = luminance(t, m[2])
			}
		}
		for _, c := range []struct {
			front, back string
			least       float64
		}{
			{"ink", "card", 4.5}, {"soft", "card", 4.5}, {"accent", "card", 4.5}, {"on-accent", "accent", 4.5}, {"ink", "button", 4.5},
			{"alert", "alert-back", 4.5}, {"note", "note-back", 4.5}, {"edge", "card", 3},
		} {
			front, ok := colours[c.front]
			back, ok2 := colours[c.back]
			require.True(t, ok && ok2, "%s: %s on %s", scheme, c.front, c.back)
			ratio := (max(front, back) + .05) / (min(front, back) + .05)
			assert.GreaterOrEqual(t, ratio, c.least, "WCAG 1.4.3, 1.4.11 %s: %s on %s", scheme, c.front, c.back)
		}
	}
}

func luminance(t *testing.T, colour string) float64 {
	v, err := strconv.ParseUint(colour[1:], 16, 32)
	require.NoError(t, err)
	sum := 0.0
	for i, weight := range []float64{.2126, .7152, .0722} {
		c := float64(v>>(16-8*i)&255) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
