package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/guard"
	"github.com/grantwell/oauth/memstore"
)

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func secretsStaySecret(t *testing.T) {
	t.Run("in storage", storedSecrets)
	t.Run("in what is told and printed", toldSecrets)
}

// storedSecrets tries everything that the store and the registry keep as a secret
// and as a token.
func storedSecrets(t *testing.T) {
	ctx, store := t.Context(), memstore.New()
	clients := oauth.StoredClients(store)
	require.NoError(t, clients.Create(ctx, client("kept", merchant{})))
	secret, err := clients.RotateSecret(ctx, "kept")
	require.NoError(t, err)

	l := newLab(func(o *options) { o.Storage = store })
	srv := l.server(t, environment{clients: clients}, func(c *oauth.Config) { c.Guards, c.Realm = nil, "" })
	token := granted(t, send(srv.TokenHandler(), http.MethodPost, "/"+grantQuery, "", raw("kept", secret)))
	_, err = srv.VerifyToken(ctx, token)
	require.NoError(t, err)

	var dump []string
	for _, kind := range []oauth.Kind{oauth.KindAuthorization, oauth.KindClient, oauth.KindConsent, oauth.KindKey, oauth.KindSpent} {
		for rec, err := range store.List(ctx, oauth.Filter{Kind: kind}) {
			require.NoError(t, err)
			assert.Equal(t, oauth.KindClient, rec.Kind, "tokens are not stored at all")
			dump = append(dump, rec.ID, rec.ClientID, string(rec.Data))
			dump = append(dump, strings.FieldsFunc(string(rec.Data), func(c rune) bool { return strings.ContainsRune(`{}[]":,`, c) })...)
		}
	}
	require.Greater(t, len(dump), 6)
	for _, text := range dump {
		assert.NotContains(t, text, secret)
		assert.NotContains(t, text, token)
		assert.NotEqual(t, 200, send(srv.TokenHandler(), http.MethodPost, "/"+grantQuery, "", raw("kept", text)).status)
		_, err := srv.VerifyToken(ctx, text)
		assert.ErrorIs(t, err, oauth.InvalidToken)
	}
	// Every merchant has hashes that are compared as such, in constant time.
	for _, id := range []string{harbor, northwind, quick, pending} {
		c, err := production.clients.Client(ctx, id)
		require.NoError(t, err)
		for _, kept := range c.Secrets {
			assert.Equal(t, oauth.HashSecret(id+"-secret"), kept)
			assert.Equal(t, 401, l.ask(raw(id, kept)).status)
		}
	}
}

// toldSecrets looks for credentials in logs, events, refusals and printed values.
func toldSecrets(t *testing.T) {
	var told bytes.Buffer
	key := oauth.NewSecret()
	l := newLab(func(o *options) {
		o.Secrets = [][]byte{key}
		o.Logger = slog.New(slog.NewJSONHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.Proxies = guard.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Header: "X-Forwarded-For"}
	})
	print := func(values ...any) {
		for _, v := range values {
			fmt.Fprintf(&told, "%v %+v %#v %s\n", v, v, v, v)
			if text, err := json.Marshal(v); err == nil {
				told.Write(text)
			}
			slog.New(slog.NewTextHandler(&told, nil)).Info("value", "v", v)
		}
	}
	secret, token := harbor+"-secret", l.token(t, harbor)
	basic := base64Of(harbor + ":" + secret)
	for _, a := range []answer{
		l.ask(raw(harbor, "x"+secret)), l.ask(raw("nobody", secret)), l.ask(header("Authorization", "Bearer "+basic)),
		l.ask(as(harbor), from(unlisted)), l.ask(as(harbor), plainly(unlisted)),
		l.ask(func(r *http.Request) { r.URL.RawQuery += "&client_secret=" + secret }),
		send(l, http.MethodPost, tokenPath, "client_secret="+secret+"&client_secret="+secret, header("Content-Type", "application/json")),
		l.order(token, from(unlisted)), l.order(token, plainly(unlisted)), l.order("x" + token), l.order(token + " " + token),
		send(l, http.MethodPost, ordersPath+"?access_token="+token, "", bearer(token)),
	} {
		assert.GreaterOrEqual(t, a.status, 400, a.body)
		fmt.Fprintln(&told, a)
	}
	var issued []any
	srv := l.server(t, production, func(c *oauth.Config) {
		c.Respond = func(_ context.Context, i *oauth.Issued, f *oauth.Fields) error {
			issued = append(issued, *i, *f, f)
			return nil
		}
		c.Guards = append(c.Guards, func(_ context.Context, call *oauth.Call) error {
			issued = append(issued, call.Token)
			return nil
		})
		c.Events = func(_ context.Context, e oauth.Event) { issued = append(issued, e) }
		print(*c)
	})
	granted(t, send(srv.TokenHandler(), http.MethodPost, "/"+grantQuery, "", as(harbor)))
	c, err := production.clients.Client(t.Context(), harbor)
	require.NoError(t, err)
	verified, err := srv.VerifyToken(t.Context(), token)
	require.NoError(t, err)
	_, failed := srv.VerifyToken(t.Context(), "x"+token)
	print(append(issued, srv, c, *c, verified, *verified, failed)...)

	require.Contains(t, told.String(), "token_issued")
	require.Contains(t, told.String(), harbor)
	for name, credential := range map[string]string{
		"secret": secret, "token": token, "half of the token": token[:len(token)/2], "Basic": basic, "hash": c.Secrets[0],
		"key": string(key), "key in base64": base64Of(string(key)), "key as numbers": strings.Trim(fmt.Sprint(key), "[]"),
	} {
		assert.NotContains(t, told.String(), credential, name)
	}
}

func noPlainHTTP(t *testing.T) {
	direct := newLab()
	const peer = listed
	want := direct.ask(as(northwind), plainly(peer))
	assert.Equal(t, "400 invalid_request", want.outcome())
	assert.Empty(t, want.header["Location"])
	assert.Equal(t, want, direct.ask(raw(northwind, "wrong"), plainly(peer)), "the secret was not compared")
	assert.Equal(t, want, direct.ask(as(northwind), plainly(peer), header("X-Forwarded-Proto", "https")), "nobody is trusted")
	assert.Equal(t, 200, direct.ask(as(northwind), from(peer)).status)

	token := direct.token(t, northwind, from(peer))
	for _, path := range []string{ordersPath, "/preprod" + ordersPath} {
		a := send(direct, http.MethodPost, path, "{}", bearer(token), plainly(peer))
		assert.Equal(t, "400 invalid_request", a.outcome(), path)
		assert.Empty(t, a.header["Location"], path)
	}
	assert.Equal(t, 201, direct.order(token, from(peer)).status)
	assert.Equal(t, 200, direct.ask(as(harbor)).status, "loopback, for development")
	assert.Equal(t, 400, direct.ask(as(harbor), header("X-Forwarded-For", "203.0.113.9")).status, "a proxy on this machine that nobody named")

	behind := newLab(func(o *options) {
		o.Proxies = guard.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Header: "X-Forwarded-For"}
	})
	client := header("X-Forwarded-For", "203.0.113.9")
	for scheme, status := range map[string]int{"https": 200, "http": 400, "http, https": 400, "https, http": 400} {
		a := behind.ask(as(northwind), plainly("10.1.2.3:1"), client, header("X-Forwarded-Proto", scheme))
		assert.Equal(t, status, a.status, scheme)
	}
	assert.Equal(t, 400, behind.ask(as(northwind), plainly("10.1.2.3:1"), client).status, "the proxy says nothing")
	assert.Equal(t, 400, behind.ask(as(northwind), plainly(peer), header("X-Forwarded-Proto", "https")).status, "another peer says so")

	_, err := build(options{ServerURL: "http://pay.example"})
	assert.ErrorContains(t, err, "not https")
}
