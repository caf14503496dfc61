package sqlstore_test

import (
	"testing"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

func TestContract(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		oauthtest.TestStorage(t, func(t *testing.T) oauth.Storage { return e.open(t) })
	})
}
