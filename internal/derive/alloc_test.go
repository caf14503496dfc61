//go:build !race

package derive_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/derive"
)

// Every request of every client passes here, so what it allocates is counted. The
// race detector makes sync.Pool forget things, hence the build constraint.
func TestAllocations(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	raw := unhex(t, known[1].credential)
	c, ok := derive.ParseCredential(raw)
	require.True(t, ok)
	text := derive.Encode("gw_", false, raw)
	sealed := r.Seal(nil, derive.Access, count(0, tokenSize))
	data := count(0, 600)
	for _, op := range []struct {
		name string
		most float64
		run  func()
	}{
		{"Derive", 1, func() {
			nonce := knownNonce
			r.Derive(derive.Refresh, knownKeyID, knownRecord, knownGeneration, &nonce)
		}},
		{"Authentic", 0, func() {
			nonce := knownNonce
			r.Authentic(derive.Refresh, c, &nonce)
		}},
		{"ParseCredential", 0, func() { derive.ParseCredential(raw) }},
		{"MAC", 0, func() { r.MAC(derive.Data, knownKeyID, knownParts[0], data) }},
		{"Seal", 1, func() { r.Seal(nil, derive.Access, data) }},
		{"Open", 1, func() { _, _ = r.Open(nil, derive.Access, sealed) }},
		{"Encode", 1, func() { derive.Encode("gw_", false, raw) }},
		{"Decode", 1, func() { derive.Decode("gw_", false, text) }},
	} {
		t.Run(op.name, func(t *testing.T) {
			assert.LessOrEqual(t, testing.AllocsPerRun(1000, op.run), op.most)
		})
	}
}
