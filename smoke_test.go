package oauth_test

import (
	"testing"
	"net/url"
	"github.com/grantwell/oauth/oauthtest"
	"github.com/stretchr/testify/require"
)

func TestSmoke(t *testing.T) {
	s := oauthtest.NewServer(t)
	c := s.Code(oauthtest.SPAClient)
	a := s.Redeem(c)
	t.Log(string(a.Body))
	b := s.Refresh(oauthtest.SPAClient, a.String("refresh_token"))
	t.Log(b.Status, string(b.Body))
	require.Equal(t, 200, b.Status)
	i := s.Introspect(b.String("access_token"))
	t.Log(i.Status, string(i.Body))
	b2 := s.Refresh(oauthtest.SPAClient, a.String("refresh_token"))
	require.Equal(t, b.String("refresh_token"), b2.String("refresh_token"))
	m := s.Token(oauthtest.MachineClient, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}})
	t.Log(m.Status, string(m.Body))
	rv := s.Post("/oauth/revoke", oauthtest.SPAClient, url.Values{"token": {b.String("refresh_token")}})
	require.Equal(t, 200, rv.Status)
	t.Log(string(s.Introspect(b.String("access_token")).Body))
	for _, r := range s.Store.Calls() { t.Log(r) }
	for _, e := range s.Events() { t.Log(e.LogValue()) }
}
