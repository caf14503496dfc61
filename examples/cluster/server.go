package main

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver of PostgreSQL
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/grants"
	"github.com/grantwell/oauth/pages"
	"github.com/grantwell/oauth/redisstore"
	"github.com/grantwell/oauth/resource"
	"github.com/grantwell/oauth/sqlstore"
)

// environment is the variable in which a process finds its deployment. The
// arguments of a process are for all users of a machine to see; this is not.
const environment = "CLUSTER_DEPLOYMENT"

// A deployment is what all processes of the server have in common. They need
// nothing else of each other. A real host has it where the password of its database
// is, and makes the secrets once.
type deployment struct {
	Issuer    string // what browsers and apps see: the proxy's URL
	Store     string // postgres://… or redis://…
	Secret    []byte // of oauth.Config: see oauth.NewSecret
	AppSecret string // of the client "app"
	APISecret string // of the client "api"
}

// newHost puts the authorization server and an API that it protects on one mux.
func newHost(d deployment, storage oauth.Storage, logger *slog.Logger) (*oauth.Server, http.Handler, error) {
	secrets := [][]byte{d.Secret}
	login, err := pages.New(pages.Config{
		Issuer:  d.Issuer,
		Secrets: secrets, // who is signed in is in a sealed cookie, so all processes know it
		Login:   signIn,
		Title:   "Cluster",
		Logger:  logger,
		// All users of the load have one address. A real host behind a proxy takes it
		// from the header that its proxy sets.
		Address: func(*http.Request) netip.Addr { return netip.Addr{} },
	})
	if err != nil {
		return nil, nil, err
	}
	srv, err := oauth.New(oauth.Config{
		Issuer:  d.Issuer,
		Storage: storage,
		Secrets: secrets,
		Clients: oauth.StaticClients(
			oauth.Client{
				ID: "app", Name: "The App", Secrets: []string{oauth.HashSecret(d.AppSecret)},
				RedirectURIs: []string{redirectURI}, Scopes: []string{"profile"},
			},
			oauth.Client{ID: "api", Secrets: []string{oauth.HashSecret(d.APISecret)}, Grants: []string{}, Introspect: true},
		),
		Grants:   []oauth.Grant{grants.AuthorizationCode{}, grants.RefreshToken{}},
		Scopes:   []oauth.Scope{{Name: "profile", Description: "See who you are"}},
		Interact: login.Interact,
		Logger:   logger,
	})
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	for path, handler := range srv.Routes() {
		mux.Handle(path, handler)
	}
	mux.Handle("GET /api/me", srv.API().Require("profile")(http.HandlerFunc(me)))
	return srv, mux, nil
}

const redirectURI = "https://app.example/callback"

// signIn stands for the host's own check of a password: it knows everybody.
func signIn(_ context.Context, name, password string) (*pages.User, error) {
	if password != "password of "+name {
		return nil, nil
	}
	return &pages.User{Subject: name}, nil
}

// me is the protected API: whose token it is.
func me(w http.ResponseWriter, r *http.Request) {
	token, _ := resource.FromContext(r.Context()) // Require has put it there
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(map[string]string{"sub": token.Subject}) //nolint:errcheck // the client is gone: there is nobody to tell
}

// openStore opens the store of a URL. Processes may do so at the same moment: one
// of them makes the tables, the others wait for it.
func openStore(ctx context.Context, uri string) (oauth.Storage, io.Closer, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, nil, errors.New("the store is not a URL") // the error would repeat the password
	}
	switch u.Scheme {
	case "postgres", "postgresql":
		db, err := sql.Open("pgx", uri)
		if err != nil {
			return nil, nil, err
		}
		// All processes together must stay below the server's max_connections (100).
		db.SetMaxOpenConns(16)
		db.SetMaxIdleConns(16)
		store, err := sqlstore.Open(db, sqlstore.PostgreSQL)
		if err == nil {
			err = store.Migrate(ctx)
		}
		return store, db, err
	case "redis", "rediss":
		o, err := redis.ParseURL(uri)
		if err != nil {
			return nil, nil, err
		}
		logging.Disable() // what it would print on stderr comes back as an error too
		client := redis.NewClient(o)
		store, err := redisstore.Open(ctx, client, redisstore.Config{})
		return store, client, err
	}
	return nil, nil, fmt.Errorf("the store is a %q: it is postgres://… or redis://…", u.Scheme)
}

// openTime is how long a store may take to answer when a process starts.
const openTime = 15 * time.Second

// tryStore says whether the store can be used, and leaves it ready.
func tryStore(ctx context.Context, uri string) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	_, closer, err := openStore(ctx, uri)
	if closer != nil {
		err = cmp.Or(err, closer.Close())
	}
	if err != nil {
		return fmt.Errorf("the store cannot be used: %w", err)
	}
	return nil
}

// serve is one process of the server. It prints the address on which it listens,
// and ends when its standard input does: with the program that started it.
func serve(addr, shared string) error {
	signal.Ignore(os.Interrupt) // Ctrl-C in a terminal goes to all; the parent ends first
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var d deployment
	if err := json.Unmarshal([]byte(shared), &d); err != nil {
		return fmt.Errorf("%s: %w", environment, err)
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	opening, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	storage, closer, err := openStore(opening, d.Store)
	if err != nil {
		return err
	}
	defer closer.Close() //nolint:errcheck // the end of the process
	srv, handler, err := newHost(d, storage, logger)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	go sweep(ctx, srv, logger)
	orphaned := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // it has ended, one way or another
		close(orphaned)
	}()
	fmt.Println(listener.Addr())

	select {
	case err := <-failed:
		return err
	case <-orphaned:
	}
	grace, cancel := context.WithTimeout(ctx, 10*time.Second) // for the requests under way
	defer cancel()
	return server.Shutdown(grace)
}

// sweep deletes what has expired. Every process may do it, at the same time too.
func sweep(ctx context.Context, srv *oauth.Server, logger *slog.Logger) {
	for wait(ctx, time.Minute) {
		if _, err := srv.DeleteExpired(ctx, 10_000); err != nil {
			logger.ErrorContext(ctx, "expired records were not deleted", "error", err)
		}
	}
}
