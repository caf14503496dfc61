package guard

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSpanFreed(t *testing.T) {
	s := span{count: 3, length: 1000, slices: 9}
	state := []int64{100, 1, 0, 0, 4, 0, 0, 0, 2, 1}
	assert.Equal(t, int64(8), s.sum(state))
	assert.Equal(t, int64(106_000), s.freed(state, 8), "more than the limit are counted after a merge: six must go")
	s.count = 8
	assert.Equal(t, int64(101_000), s.freed(state, 8), "one must go")
	s.count = 100
	assert.Equal(t, int64(101_000), s.freed(state, 8), "the oldest")
	state[9] = 0
	assert.Equal(t, int64(102_000), s.freed(state, 7), "the oldest that is counted")
}

func TestSpanMerge(t *testing.T) {
	s := span{count: 3, length: 1000, slices: 4}
	for _, tt := range []struct {
		name             string
		into, from, want []int64
	}{
		{"same slice", []int64{100, 2, 0, 1, 7}, []int64{100, 1, 5, 0, 8}, []int64{100, 2, 5, 1, 8}},
		{"from one that is behind", []int64{100, 2, 0, 1, 0}, []int64{98, 5, 3, 9, 9}, []int64{100, 2, 0, 5, 3}},
		{"from one that is ahead", []int64{98, 5, 3, 9, 9}, []int64{100, 2, 0, 1, 0}, []int64{100, 2, 0, 5, 3}},
		{"from one that is far behind", []int64{100, 2, 0, 1, 0}, []int64{90, 9, 9, 9, 9}, []int64{100, 2, 0, 1, 0}},
		{"from one that is far ahead", []int64{90, 9, 9, 9, 9}, []int64{100, 2, 0, 1, 0}, []int64{100, 2, 0, 1, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := append([]int64{}, tt.from...)
			s.merge(tt.into, tt.from)
			assert.Equal(t, tt.want, tt.into)
			assert.Equal(t, before, tt.from)
		})
	}
}
