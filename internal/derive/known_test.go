package derive_test

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/grantwell/oauth/internal/derive"
)

// What the known answers are made from. The key id of the secret is 0x3a.
const (
	knownIssuer     = "https://as.example"
	knownGeneration = 0x01020304
	knownKeyID      = 0x3a
	knownPlaintext  = "what is sealed"
)

var (
	knownSecret    = count(0x00, 32)
	knownRecord    = [16]byte(count(0x40, 16))
	knownNonce     = [32]byte(count(0x80, 32))
	knownSealNonce = count(0xa0, 24)
	knownParts     = [][]byte{[]byte("authorization"), {}, []byte("client")}
)

// known are the answers. They were computed by another program in another
// language, from the texts of RFC 2104, 5869, 8439 and the XChaCha draft, and
// must never change: tokens that are in use would stop working.
var known = []struct {
	purpose    derive.Purpose
	name       string // in the info of HKDF
	credential string // of knownRecord, knownGeneration and knownNonce
	mac        string // of knownParts
	sealed     string // knownPlaintext with knownSealNonce
}{
	{derive.Code, "code",
		"3a404142434445464748494a4b4c4d4e4f0102030451a01980a83f1135e9da2cc97664e8c958b2cea7",
		"9bfda3c99354217ffd5aa8b3159065048edbffd5f0047992ed1028b7b40dcec4",
		"3aa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b732a00ae200a642a2472b2184e91eb882ad84bd586067d17d2d39c7f8b559",
	},
	{derive.Refresh, "refresh",
		"3a404142434445464748494a4b4c4d4e4f010203048910c10c5aa1fa7565777e259edb73743de0b746",
		"91e611707c3ab741fd38e7611453319e0b9894126608240395ca98577b1d7a60",
		"3aa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7c571a923d96252c86e1535f1e0538bd769eace460c75510d924efc2df436",
	},
	{derive.Access, "access",
		"3a404142434445464748494a4b4c4d4e4f01020304111a13bab29b92621b2bd92bcaf99f4b45506fd8",
		"de6ce9cc15cb59d7f7fcb0315ca133297feac995da6bed2b6a34a1b161fd3bea",
		"3aa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7d2e719e8b51e55ee13b179244707e1bc06c1abe09f0a5c2ac2f88ba989da",
	},
	{derive.AccessRecord, "access-record",
		"3a404142434445464748494a4b4c4d4e4f010203047952968f146d3b3dbac090ecfc5d8f45f19b7366",
		"adcdc44ee39c222b708791d3d100f4dfe8c7b9fe48d423a1ad044ef5628f4801",
		"3aa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7a6de6fb05e594d148009127ecc5909d1a66873b9d641627192d28a9571f1",
	},
	{derive.Handle, "handle",
		"3a404142434445464748494a4b4c4d4e4f01020304f9e4da47d2f562cf8bda5940304ec307e99a0200",
		"5c85e85edf67794233e69ae9cd07867e508e3e05bdacdeba71d54917254ef24c",
		"3aa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b704ff6cc43fdabdc58388ddb6ccd4012bfabdd0adf286f828d7e5752f362f",
	},
	{derive.Data, "data",
		"3a404142434445464748494a4b4c4d4e4f01020304d115266b43b1075f4c889bff67ee892ecbdbbfad",
		"92496c5e817af07fd04bdcde8a84a66c6b14d8676a482cbfeaeeb8e5f2652322",
		"3aa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7acbbac86f7f9f590e1ed985d0cfb2d7e954f3e47e4ec859e00d5503b3282",
	},
	{derive.Browser, "browser",
		"3a404142434445464748494a4b4c4d4e4f01020304a4a96dd39f155bf717f9a1316029f7592f1c4be4",
		"b4234bf2b1dae373b60a7e06fda74cf54e88a2d049b7bab29cb9d4651c8530c7",
		"3aa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b78cf0ed98c9415095fecf22a835473924b42627644b0ca7e8e1332c2ce93d",
	},
	{derive.Session, "session",
		"3a404142434445464748494a4b4c4d4e4f01020304b1dda94bb9c63ffa228f3cd48e7ab951a1d96904",
		"5cc97ddef00370c43e19b2b9681aa81a526547d91f40053c6b2ee33bbf055c5c",
		"3aa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b772f8241e70accdf23b72d926256f2ab1edb26845d17fd611feb6c67cd4c2",
	},
	{derive.Import, "import",
		"3a404142434445464748494a4b4c4d4e4f010203043cb772928cece7e7b46133cad039691d2b293c18",
		"984295bdf6eb8f3b72cd69a5eeff0845809396d9a5966c1d43b9ad8353f9c23d",
		"3aa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7f967ae6e0f49aa6a7717d052ab223e53ddd6dd4767c7d914db019b7a3ed9",
	},
	{derive.SigningKey, "signing-key",
		"3a404142434445464748494a4b4c4d4e4f0102030404e8184661974518e1a92494be2108026b766721",
		"b351fa1375c5f08d8ac88e7d218851ab9b7118fc78fea269fcc7b2279f320ce4",
		"3aa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b755ec2de00994916ecddab0d9639c16f38818d925b1449a5e95746d16665a",
	},
}

// count returns n bytes that count up from first.
func count(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// subKey derives a sub-key without the package under test.
func subKey(t testing.TB, secret []byte, use, purpose, issuer string) []byte {
	t.Helper()
	key, err := hkdf.Key(sha256.New, secret, nil, "grantwell/oauth v1 "+use+" "+purpose+" "+issuer, 32)
	require.NoError(t, err)
	return key
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	return b
}

func newRing(t testing.TB, issuer string, secrets ...[]byte) *derive.Ring {
	t.Helper()
	r, err := derive.NewRing(issuer, "", secrets)
	require.NoError(t, err)
	return r
}

func TestKnownKeyID(t *testing.T) {
	id, err := hkdf.Key(sha256.New, knownSecret, nil, "grantwell/oauth v1 key id", 1)
	require.NoError(t, err)
	require.Equal(t, byte(knownKeyID), id[0])
	for _, issuer := range []string{knownIssuer, "https://other.example", ""} {
		r := newRing(t, issuer, knownSecret)
		assert.Equal(t, byte(knownKeyID), r.First(), "the key id depends on the secret alone")
	}
}

func TestKnownCredentials(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	for _, k := range known {
		t.Run(k.name, func(t *testing.T) {
			in := append([]byte{knownKeyID}, knownRecord[:]...)
			in = binary.BigEndian.AppendUint32(in, knownGeneration)
			h := hmac.New(sha256.New, subKey(t, knownSecret, "mac", k.name, knownIssuer))
			h.Write(append(bytes.Clone(in), knownNonce[:]...))
			want := append(in, h.Sum(nil)[:20]...)

			got, ok := r.Derive(k.purpose, knownKeyID, knownRecord, knownGeneration, &knownNonce)
			require.True(t, ok)
			assert.Equal(t, k.credential, hex.EncodeToString(got))
			assert.Equal(t, want, got)

			c, ok := derive.ParseCredential(got)
			require.True(t, ok)
			assert.Equal(t, derive.Credential{
				KeyID: knownKeyID, Record: knownRecord, Generation: knownGeneration, MAC: [20]byte(want[21:]),
			}, c)
			assert.True(t, r.Authentic(k.purpose, c, &knownNonce))
		})
	}
}

func TestKnownMACs(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	for _, k := range known {
		t.Run(k.name, func(t *testing.T) {
			got, ok := r.MAC(k.purpose, knownKeyID, knownParts...)
			require.True(t, ok)
			assert.Equal(t, k.mac, hex.EncodeToString(got[:]))
			assert.Equal(t, macOf(t, k.name, knownParts...), got[:])
		})
	}
}

// macOf is the MAC as its documentation says, made without the package.
func macOf(t *testing.T, purpose string, parts ...[]byte) []byte {
	var in []byte
	for _, part := range parts {
		in = binary.BigEndian.AppendUint64(in, uint64(len(part)))
		in = append(in, part...)
	}
	digest := sha256.Sum256(in)
	h := hmac.New(sha256.New, subKey(t, knownSecret, "mac", purpose, knownIssuer))
	h.Write(append([]byte{knownKeyID}, digest[:]...))
	return h.Sum(nil)
}

// A record has up to 64 KiB, and all of it is under the MAC.
func TestMACOfLongParts(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	for _, size := range []int{1, 1023, 1024, 1025, 2048, 3000, 64 << 10} {
		long := count(7, size)
		got, ok := r.MAC(derive.Data, knownKeyID, []byte("before"), long, []byte("after"))
		require.True(t, ok)
		assert.Equal(t, macOf(t, "data", []byte("before"), long, []byte("after")), got[:], "%d bytes", size)
		long[size-1] ^= 1
		other, _ := r.MAC(derive.Data, knownKeyID, []byte("before"), long, []byte("after"))
		assert.NotEqual(t, got, other, "%d bytes", size)
	}
}

func TestKnownSealed(t *testing.T) {
	r := newRing(t, knownIssuer, knownSecret)
	for _, k := range known {
		t.Run(k.name, func(t *testing.T) {
			sealed := unhex(t, k.sealed)
			got, err := r.Open([]byte("before "), k.purpose, sealed)
			require.NoError(t, err)
			assert.Equal(t, "before "+knownPlaintext, string(got))

			aead, err := chacha20poly1305.NewX(subKey(t, knownSecret, "seal", k.name, knownIssuer))
			require.NoError(t, err)
			data := []byte{byte(k.purpose), knownKeyID}
			want := append([]byte{knownKeyID}, knownSealNonce...)
			want = aead.Seal(want, knownSealNonce, []byte(knownPlaintext), data)
			assert.Equal(t, want, sealed)

			// What Seal makes now opens without the package, too.
			sealed = r.Seal(nil, k.purpose, []byte(knownPlaintext))
			require.Equal(t, byte(knownKeyID), sealed[0])
			got, err = aead.Open(nil, sealed[1:25], sealed[25:], data)
			require.NoError(t, err)
			assert.Equal(t, knownPlaintext, string(got))
		})
	}
}

// The numbers of the purposes are in sealed texts and may not move.
func TestKnownPurposes(t *testing.T) {
	require.Len(t, known, 10)
	for i, k := range known {
		assert.Equal(t, derive.Purpose(i+1), k.purpose, k.name)
	}
	assert.Equal(t, derive.SigningKey, known[len(known)-1].purpose, "a purpose without a known answer")
}

// Section 1 of the design gives a code and a refresh token 55 characters.
func TestKnownText(t *testing.T) {
	b := unhex(t, known[0].credential)
	text := derive.Encode("", false, b)
	assert.Len(t, text, 55)
	assert.Equal(t, "OkBBQkNERUZHSElKS0xNTk8BAgMEUaAZgKg_ETXp2izJdmToyViyzqc", text)
	assert.Equal(t, base64.RawURLEncoding.EncodeToString(b), text)
	assert.Equal(t, "gw_"+known[0].credential, derive.Encode("gw_", true, b))
}
