package oauthtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/grantwell/oauth"
)

// TestRegistry puts a registry to the contract of [oauth.ClientRegistry], one subtest
// per sentence.
//
//	func TestClients(t *testing.T) {
//		oauthtest.TestRegistry(t, func(t *testing.T, clients []oauth.Client) oauth.ClientRegistry {
//			db := openTestDatabase(t)
//			for _, c := range clients {
//				insert(t, db, c)
//			}
//			return &mine.Registry{DB: db}
//		})
//	}
//
// Every subtest calls open for a registry that has these clients; others may be in it.
// How they get there is the host's own affair, and so are the fields JWKS, JWKSURI,
// InsecureSharedKey and Data, which no client of the suite has set.
func TestRegistry(t *testing.T, open func(t *testing.T, clients []oauth.Client) oauth.ClientRegistry) {
	t.Helper()
	for _, c := range registryContract() {
		t.Run(c.says, func(t *testing.T) {
			given := registryClients()
			r := &registryTrial{ctx: t.Context(), clients: registryClients()}
			r.registry = open(t, given)
			for i := range given { // what the caller does with its slices afterwards is nobody's business
				given[i] = oauth.Client{ID: "changed-by-the-caller"}
			}
			if err := c.test(r); err != nil {
				t.Errorf("oauth.ClientRegistry: %s: %v", c.says, err)
			}
		})
	}
}

// A registryCheck is a sentence of the contract and its proof.
type registryCheck struct {
	says string
	test func(r *registryTrial) error
}

// A registryTrial is one registry and the clients that are in it.
type registryTrial struct {
	ctx      context.Context
	registry oauth.ClientRegistry
	clients  []oauth.Client
}

func registryContract() []registryCheck {
	return []registryCheck{
		{"a client comes back as it was registered", checkRegistered},
		{"none and the default of Grants are told apart", checkRegisteredGrants},
		{"an ID is compared byte by byte", checkRegistryExact},
		{"an unknown ID is ErrNotFound", checkRegistryUnknown},
		{"a disabled client is never live", checkRegistryDisabled},
		{"nobody changes a client that was handed out", checkRegistryAliasing},
		{"a context that is done is not ErrNotFound", checkRegistryContext},
		{"it is safe for concurrent use", checkRegistryConcurrency},
	}
}

// The IDs of the suite that something depends on.
const (
	registryPlain    = "App"
	registryURL      = "https://app.example/oauth/client.json"
	registryDisabled = "ended"
	registryDefault  = "grants-default"
	registryNone     = "grants-none"
)

// registryClients are new ones with every call.
func registryClients() []oauth.Client {
	hash := func(secret string) string { return oauth.HashSecret(secret) }
	long := "https://app.example/" + strings.Repeat("x", 2048-len("https://app.example/"))
	return []oauth.Client{
		{ID: registryPlain, Name: "The App", Secrets: []string{hash("a-secret-that-is-new"), hash("a-secret-that-goes")},
			RedirectURIs: []string{"https://app.example/callback", "https://app.example/Callback?a=b&c"}, Scopes: []string{"read", "write"},
			Grants: []string{"authorization_code", "refresh_token", "client_credentials"}, Introspect: true},
		{ID: "app", Public: true, RedirectURIs: []string{"http://127.0.0.1/callback", "http://localhost/callback"}, LocalhostPort: true, Scopes: []string{"read"}},
		{ID: "APP", Name: "Ünïcode ✓", Public: true, RedirectURIs: []string{"com.example.app:/callback"}},
		{ID: registryURL, Public: true, RedirectURIs: []string{"https://app.example/callback"}, Scopes: []string{"read"}},
		{ID: long, Public: true, RedirectURIs: []string{"https://app.example/callback"}},
		{ID: "caf\u00e9", Name: "composed", Public: true, RedirectURIs: []string{"https://app.example/1"}},
		{ID: "cafe\u0301", Name: "decomposed", Public: true, RedirectURIs: []string{"https://app.example/2"}},
		{ID: "a_b%c'd\"e\\f", Public: true, RedirectURIs: []string{"https://app.example/3"}},
		{ID: "app ", Name: "with a space", Public: true, RedirectURIs: []string{"https://app.example/4"}},
		{ID: registryDefault, Public: true, RedirectURIs: []string{"https://app.example/5"}},
		{ID: registryNone, Secrets: []string{hash("a-resource-server")}, Grants: []string{}, Introspect: true, Resources: []string{"https://api.example/notes"}},
		{ID: "introspects-none", Secrets: []string{hash("another-server")}, Grants: []string{}, Introspect: true, Resources: []string{}},
		{ID: registryDisabled, Public: true, RedirectURIs: []string{"https://app.example/6"}, Disabled: true},
	}
}

// known is the client of an ID that is registered.
func (r *registryTrial) known(id string) (*oauth.Client, error) {
	c, err := r.registry.Client(r.ctx, id)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s was refused: %w", shortID(id), err)
	case c == nil:
		return nil, fmt.Errorf("%s: neither a client nor an error", shortID(id))
	case c.ID != id:
		return nil, fmt.Errorf("%s came back as %s", shortID(id), shortID(c.ID))
	}
	return c, nil
}

// unknown checks that an ID is ErrNotFound.
func (r *registryTrial) unknown(id string) error {
	c, err := r.registry.Client(r.ctx, id)
	switch {
	case c != nil:
		return fmt.Errorf("%s found %s", shortID(id), shortID(c.ID))
	case err == nil:
		return fmt.Errorf("%s: neither a client nor an error", shortID(id))
	case !errors.Is(err, oauth.ErrNotFound):
		return fmt.Errorf("%s: the error is not ErrNotFound, and so the answer 503: %w", shortID(id), err)
	}
	return nil
}

// shortID is an ID as a message shows it.
func shortID(id string) string {
	if len(id) > 60 {
		return fmt.Sprintf("%q… (%d bytes)", id[:40], len(id))
	}
	return fmt.Sprintf("%q", id)
}

// sameClient names the fields that are not as they were registered.
func sameClient(got, want *oauth.Client) error {
	var faults []error
	one := func(name string, same bool, got, registered any) {
		if !same {
			faults = append(faults, fmt.Errorf("%s of %s is %q, registered was %q", name, shortID(want.ID), fmt.Sprint(got), fmt.Sprint(registered)))
		}
	}
	one("Name", got.Name == want.Name, got.Name, want.Name)
	one("Public", got.Public == want.Public, got.Public, want.Public)
	one("Secrets", slices.Equal(got.Secrets, want.Secrets), hashes(got), hashes(want))
	one("RedirectURIs", slices.Equal(got.RedirectURIs, want.RedirectURIs), got.RedirectURIs, want.RedirectURIs)
	one("LocalhostPort", got.LocalhostPort == want.LocalhostPort, got.LocalhostPort, want.LocalhostPort)
	one("Grants", slices.Equal(got.Grants, want.Grants), got.Grants, want.Grants)
	one("Scopes", slices.Equal(got.Scopes, want.Scopes), got.Scopes, want.Scopes)
	// Of an API, none and the default are not the same.
	nils := !want.Introspect || (got.Resources == nil) == (want.Resources == nil)
	one("Resources", nils && slices.Equal(got.Resources, want.Resources), got.Resources, want.Resources)
	one("Introspect", got.Introspect == want.Introspect, got.Introspect, want.Introspect)
	return errors.Join(faults...)
}

// hashes are the secrets of a client as a message shows them.
func hashes(c *oauth.Client) string {
	var short []string
	for _, h := range c.Secrets {
		short = append(short, h[:min(len(h), 12)]+"…")
	}
	return strings.Join(short, " ")
}

// eachLive runs a check for every client that is not disabled.
func (r *registryTrial) eachLive(test func(want *oauth.Client) error) error {
	for i := range r.clients {
		if want := &r.clients[i]; !want.Disabled {
			if err := test(want); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkRegistered(r *registryTrial) error {
	return r.eachLive(func(want *oauth.Client) error {
		got, err := r.known(want.ID)
		if err != nil {
			return err
		}
		if got.Disabled {
			return fmt.Errorf("%s came back disabled", shortID(want.ID))
		}
		return sameClient(got, want)
	})
}

func checkRegisteredGrants(r *registryTrial) error {
	byDefault, err := r.known(registryDefault)
	if err != nil {
		return err
	}
	none, err := r.known(registryNone)
	if err != nil {
		return err
	}
	if !byDefault.May("authorization_code") || !byDefault.May("refresh_token") {
		return errors.New("the Grants that were nil, the default, came back empty: no grant at all")
	}
	if none.May("authorization_code") || none.May("refresh_token") {
		return errors.New("the Grants that were empty, no grant at all, came back nil: the default")
	}
	return nil
}

func checkRegistryExact(r *registryTrial) error {
	tried := map[string]bool{}
	for _, c := range r.clients {
		tried[c.ID] = true // those have clients of their own: the first check has seen them
	}
	for _, id := range []string{registryPlain, registryURL, "caf\u00e9"} {
		for _, other := range []string{
			strings.ToLower(id), strings.ToUpper(id), strings.ToTitle(id[:1]) + id[1:], swapCase(id),
			id + " ", " " + id, id + "\t", id + "\n", id + "/", id + "#", id + "?", id + ".", id + "%20", id + "\u200b", id + "\u0301",
			id[:len(id)-1], id[1:], id + id, id + ",app", id + "' OR '1'='1", `"` + id + `"`, "%", "_", "*", "%" + id, id[:1] + "%", id[:2] + "_",
			strings.ReplaceAll(id, "/", "%2F"), strings.Replace(id, "https", "http", 1), strings.Replace(id, "A", "\uff21", 1), strings.Replace(id, "\u00e9", "e", 1),
		} {
			if other == "" || tried[other] {
				continue
			}
			tried[other] = true
			if err := r.unknown(other); err != nil {
				return err
			}
		}
	}
	return nil
}

// swapCase makes of capitals small letters and the other way.
func swapCase(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'Z':
			return c - 'A' + 'a'
		}
		return c
	}, s)
}

func checkRegistryUnknown(r *registryTrial) error {
	for _, id := range []string{
		"nobody", "0", "-1", "null", "undefined", "../../etc/passwd", "https://app.example/other", "\U0001F511", "\u202eppa",
		strings.Repeat("y", 2048), "{}", "[]", "$ne", "1;DROP TABLE clients", "a\r\nb", "\x7f",
	} {
		if err := r.unknown(id); err != nil {
			return err
		}
	}
	return nil
}

func checkRegistryDisabled(r *registryTrial) error {
	c, err := r.registry.Client(r.ctx, registryDisabled)
	switch {
	case err == nil && c == nil:
		return errors.New("neither a client nor an error")
	case err == nil && !c.Disabled:
		return errors.New("it came back live")
	case err != nil && !errors.Is(err, oauth.ErrNotFound):
		return fmt.Errorf("it may be found, or ErrNotFound: %w", err)
	}
	return nil
}

func checkRegistryAliasing(r *registryTrial) error {
	var held []*oauth.Client
	err := r.eachLive(func(want *oauth.Client) error {
		got, err := r.known(want.ID)
		held = append(held, got)
		return err
	})
	if err != nil {
		return err
	}
	n := 0
	return r.eachLive(func(want *oauth.Client) error {
		got := held[n]
		n++
		if got.ID != want.ID {
			return fmt.Errorf("%s had turned into %s when the others had been asked for", shortID(want.ID), shortID(got.ID))
		}
		return sameClient(got, want)
	})
}

func checkRegistryContext(r *registryTrial) error {
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	return r.eachLive(func(want *oauth.Client) error {
		c, err := r.registry.Client(ctx, want.ID)
		switch {
		case errors.Is(err, oauth.ErrNotFound):
			return fmt.Errorf("%s is ErrNotFound: a client that exists was told that it does not", shortID(want.ID))
		case err == nil && c == nil:
			return fmt.Errorf("%s: neither a client nor an error", shortID(want.ID))
		case err == nil:
			return sameClient(c, want)
		}
		return nil
	})
}

func checkRegistryConcurrency(r *registryTrial) error {
	failures := make(chan error, 16)
	var all sync.WaitGroup
	for g := range cap(failures) {
		all.Go(func() {
			for i := range 4 * len(r.clients) {
				want := &r.clients[(g+i)%len(r.clients)]
				if want.Disabled {
					continue
				}
				got, err := r.known(want.ID)
				if err == nil {
					err = sameClient(got, want)
				}
				if err == nil {
					err = r.unknown(fmt.Sprintf("nobody-%d-%d", g, i))
				}
				if err != nil {
					failures <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failures)
	return <-failures // nil where there is none
}
