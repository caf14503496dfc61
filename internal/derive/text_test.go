package derive_test

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/internal/derive"
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func TestEncodeDecode(t *testing.T) {
	for _, prefix := range []string{"", "gw_", "a-long-prefix-of-some-host_", "é"} {
		for _, asHex := range []bool{false, true} {
			for n := range 700 {
				b := count(byte(n), n)
				text := derive.Encode(prefix, asHex, b)
				if asHex {
					require.Equal(t, prefix+hex.EncodeToString(b), text)
				} else {
					require.Equal(t, prefix+base64.RawURLEncoding.EncodeToString(b), text)
				}
				got, ok := derive.Decode(prefix, asHex, text)
				require.True(t, ok, "%d bytes", n)
				require.Equal(t, b, got)
			}
		}
	}
}

// RFC 4648, section 3.5: of all last characters only those without spare bits
// are accepted, 4, 16 or 64 of them.
func TestDecodeSpareBits(t *testing.T) {
	for _, c := range []struct{ size, accepted int }{{1, 4}, {2, 16}, {3, 64}, {16, 4}, {32, 16}, {40, 4}, {41, 16}, {42, 64}} {
		text := derive.Encode("", false, count(0xf0, c.size))
		values := make(map[string]bool)
		for last := range 256 {
			changed := text[:len(text)-1] + string([]byte{byte(last)})
			b, ok := derive.Decode("", false, changed)
			position := strings.IndexByte(alphabet, byte(last))
			want := position >= 0 && position%(64/c.accepted) == 0
			require.Equal(t, want, ok, "%d bytes, last character %q", c.size, last)
			if ok {
				require.Equal(t, changed, derive.Encode("", false, b))
				values[string(b)] = true
			}
		}
		assert.Len(t, values, c.accepted, "%d bytes", c.size)
	}
}

// No character but those of the alphabet is accepted anywhere. Package base64
// would skip line breaks.
func TestDecodeForeignCharacters(t *testing.T) {
	for _, asHex := range []bool{false, true} {
		accepted := alphabet
		if asHex {
			accepted = "0123456789abcdef"
		}
		for _, size := range []int{0, 1, 2, 3, 4, 41} {
			text := derive.Encode("gw_", asHex, count(0x20, size))
			for char := range 256 {
				if strings.IndexByte(accepted, byte(char)) >= 0 {
					continue
				}
				for at := len("gw_"); at <= len(text); at++ {
					for _, many := range []int{1, 2, 3, 4} {
						inserted := text[:at] + strings.Repeat(string([]byte{byte(char)}), many) + text[at:]
						_, ok := derive.Decode("gw_", asHex, inserted)
						require.False(t, ok, "%q", inserted)
					}
					if at < len(text) {
						replaced := text[:at] + string([]byte{byte(char)}) + text[at+1:]
						_, ok := derive.Decode("gw_", asHex, replaced)
						require.False(t, ok, "%q", replaced)
					}
				}
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		name, prefix string
		asHex        bool
		text         string
	}{
		{"RFC 4648 3.2 padding", "", false, "AQ=="},
		{"RFC 4648 3.2 one padding character", "", false, "AQI="},
		{"RFC 4648 3.2 part of the padding", "", false, "AQ="},
		{"RFC 4648 3.2 padding alone", "", false, "===="},
		{"RFC 4648 3.1 line feed at the end", "", false, "AQID\n"},
		{"RFC 4648 3.1 carriage return at the end", "", false, "AQID\r\n"},
		{"RFC 4648 3.1 line feed inside", "", false, "AQ\nID"},
		{"RFC 4648 3.1 line feed at the start", "", false, "\nAQID"},
		{"RFC 4648 3.1 line feed alone", "", false, "\n"},
		{"RFC 4648 3.3 space", "", false, "AQ ID"},
		{"RFC 4648 5 standard alphabet", "", false, "+/+/"},
		{"RFC 4648 3.5 spare bits of two characters", "", false, "AR"},
		{"RFC 4648 3.5 spare bits of three characters", "", false, "AQJ"},
		{"RFC 4648 4 one character", "", false, "A"},
		{"RFC 4648 4 five characters", "", false, "AQIDA"},
		{"hexadecimal with an upper-case digit", "", true, "0A"},
		{"hexadecimal all upper case", "", true, "ABCDEF"},
		{"hexadecimal of odd length", "", true, "abc"},
		{"hexadecimal with a line feed", "", true, "ab\n"},
		{"hexadecimal with 0x", "", true, "0xab"},
		{"hexadecimal with a g", "", true, "ag"},
		{"base64url read as hexadecimal", "", true, "AQID"},
		{"no prefix", "gw_", false, "AQID"},
		{"another prefix", "gw_", false, "gx_AQID"},
		{"prefix in upper case", "gw_", false, "GW_AQID"},
		{"half a prefix", "gw_", false, "gw"},
		{"prefix after a space", "gw_", false, " gw_AQID"},
		{"prefix twice", "gw.", false, "gw.gw.AQID"},
		{"line feed after the prefix", "gw_", false, "gw_\nAQID"},
		{"empty text", "gw_", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, ok := derive.Decode(c.prefix, c.asHex, c.text)
			assert.False(t, ok)
			assert.Nil(t, b)
		})
	}
}

// A prefix alone is the text of no bytes.
func TestDecodeNothing(t *testing.T) {
	for _, asHex := range []bool{false, true} {
		b, ok := derive.Decode("gw_", asHex, "gw_")
		assert.True(t, ok)
		assert.Empty(t, b)
		assert.Equal(t, "gw_", derive.Encode("gw_", asHex, nil))
	}
}

// One text per value: whatever decodes encodes to the same text, and what does
// not decode is the text of no value.
func FuzzDecode(f *testing.F) {
	f.Add("", false, "OkBBQkNERUZHSElKS0xNTk8BAgMEUaAZgKg_ETXp2izJdmToyViyzqc")
	f.Add("gw_", false, "gw_AQID")
	f.Add("gw_", true, "gw_0a1b")
	f.Add("gw_", true, "gw_0A1B")
	f.Add("", false, "AR")
	f.Add("", false, "AQ==")
	f.Add("", false, "AQ\nID\r\n")
	f.Fuzz(func(t *testing.T, prefix string, asHex bool, text string) {
		b, ok := derive.Decode(prefix, asHex, text)
		if ok {
			require.Equal(t, text, derive.Encode(prefix, asHex, b))
		} else if rest, has := strings.CutPrefix(text, prefix); has {
			loose, err := base64.RawURLEncoding.DecodeString(rest)
			if asHex {
				loose, err = hex.DecodeString(rest)
			}
			if err == nil {
				require.NotEqual(t, text, derive.Encode(prefix, asHex, loose), "the text of a value was refused")
			}
		}
		again, ok := derive.Decode(prefix, asHex, derive.Encode(prefix, asHex, []byte(text)))
		require.True(t, ok)
		require.Equal(t, text, string(again))
	})
}
