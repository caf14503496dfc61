package redisstore_test

import (
	"testing"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

func TestContract(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		t.Parallel() // miniredis is slow under the race detector
		oauthtest.TestStorage(t, func(t *testing.T) oauth.Storage { return e.open(t) })
	})
}

// Every process and test of a host shares one place.
func TestContractShared(t *testing.T) {
	e := redisEngine()
	shared := prefix()
	oauthtest.TestStorage(t, func(t *testing.T) oauth.Storage { return e.openAt(t, e.client(t), shared) })
}
