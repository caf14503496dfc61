package guard

// parts is how many slices of time a sliding window is cut into. The slice of now
// has only begun, so it and parts before it together are never shorter than the
// window.
const parts = 8

// A span is how a [Limit] is counted: in slices of time, of which the newest count.
// Its state is the number of the newest slice, then the counts from that one back.
type span struct {
	count  int64 // calls that pass
	length int64 // of a slice, in milliseconds
	slices int   // that count
}

func spanOf(l Limit) span {
	s := span{count: int64(l.Count), length: l.Window.Milliseconds(), slices: 1}
	if l.Sliding {
		s.length, s.slices = s.length/parts, parts+1
	}
	return s
}

// size is how many numbers a state has.
func (s span) size() int { return 1 + s.slices }

// at is the slice of a time in Unix milliseconds.
func (s span) at(now int64) int64 { return now / s.length }

// roll moves a state on to a slice. A slice before the newest leaves it alone, for
// another process may have a clock that is behind; one before all that counts means
// that this clock was put back, and what was counted has no meaning.
func (s span) roll(state []int64, slice int64) {
	shift := slice - state[0]
	switch counts := state[1:]; {
	case shift >= int64(s.slices), shift < -int64(s.slices):
		clear(counts)
		state[0] = slice
	case shift > 0:
		copy(counts[shift:], counts)
		clear(counts[:shift])
		state[0] = slice
	}
}

func (s span) sum(state []int64) (sum int64) {
	for _, n := range state[1:] {
		sum += n
	}
	return sum
}

// freed is when, in Unix milliseconds, so many of the sum of calls are forgotten that
// one more passes; if that is so now, when the oldest is forgotten.
func (s span) freed(state []int64, sum int64) int64 {
	back := s.slices - 1
	for more := max(1, sum-s.count+1); back > 0; back-- {
		if more -= state[1+back]; more <= 0 {
			break
		}
	}
	return (state[0] - int64(back) + int64(s.slices)) * s.length
}

// merge makes of into, slice by slice, the greater of the two.
func (s span) merge(into, from []int64) {
	s.roll(into, max(into[0], from[0]))
	behind := int(min(into[0]-from[0], int64(s.slices)))
	for i, n := range from[1 : 1+s.slices-behind] {
		into[1+behind+i] = max(into[1+behind+i], n)
	}
}
