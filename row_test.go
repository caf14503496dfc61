package oauth_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/oauthtest"
)

// A row has its end for the store to sweep by, and no MAC is over it. It cannot prolong
// anything; an end that has come is believed, whether or not the row was swept.
func TestRowThatHasExpired(t *testing.T) {
	const web = oauthtest.WebClient
	l := newLab(t)
	expire := func() {
		r := l.vault.record(t)
		r.ExpiresAt = l.Clock.Now()
		l.vault.load(t, r)
	}
	t.Run("N007 its code", func(t *testing.T) {
		code := l.Code(web)
		expire()
		require.Equal(t, "400 invalid_grant", outcome(l.Token(web, code.Form())))
	})
	t.Run("N007 its tokens", func(t *testing.T) {
		l.vault.load(t)
		issued := l.Redeem(l.Code(web))
		active := func(token string) any {
			return l.Post("/oauth/introspect", web, url.Values{"token": {issued.String(token)}}).JSON["active"]
		}
		require.Equal(t, true, active("access_token"))
		require.Equal(t, true, active("refresh_token"))
		expire()
		require.Equal(t, false, active("access_token"))
		require.Equal(t, false, active("refresh_token"))
		require.Equal(t, "400 invalid_grant", outcome(l.Refresh(web, issued.String("refresh_token"))))
		_, err := l.VerifyToken(t.Context(), issued.String("access_token"))
		require.ErrorIs(t, err, oauth.InvalidToken)
	})
}

// folding is a store that finds a record by a name in other letters, as a column does
// whose collation folds case.
type folding struct {
	oauth.Storage
	id string
}

func (f folding) Get(ctx context.Context, id string) (oauth.Record, error) {
	if strings.EqualFold(id, f.id) {
		id = f.id
	}
	return f.Storage.Get(ctx, id)
}

func TestStoreThatFoldsCase(t *testing.T) {
	s := newServer(t)
	s.CodeFlow(oauthtest.WebClient)
	all, err := s.Authorizations(t.Context(), "alice")
	require.NoError(t, err)
	require.Len(t, all, 1)
	srv := s.WithStorage(folding{s.Config.Storage, all[0].ID})
	n, err := srv.Revoke(t.Context(), oauth.Selector{ID: "a_" + strings.ToUpper(strings.TrimPrefix(all[0].ID, "a_"))})
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = srv.Revoke(t.Context(), oauth.Selector{ID: all[0].ID})
	require.NoError(t, err)
	require.Equal(t, 1, n)
}
