package oauth

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// What is left of a shared deadline is never less than 4 s.
func TestLimitFresh(t *testing.T) {
	for left, want := range map[time.Duration]bool{
		time.Hour: true, 4 * time.Second: false, 3 * time.Second: false, -time.Second: false,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), left)
		defer cancel()
		assert.Equal(t, want, (&limit{Context: ctx}).fresh(), "%v", left)
	}
	now := (&limit{}).now()
	assert.NotEqual(t, now, now.Round(0), "outside of tests a clock is monotonic")
}
