package oauthtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth"
	"github.com/grantwell/oauth/memstore"
)

// A lookup is a registry of one function.
type lookup func(ctx context.Context, id string) (*oauth.Client, error)

func (f lookup) Client(ctx context.Context, id string) (*oauth.Client, error) { return f(ctx, id) }

// The registries of the library, and one that answers as a host's may.
func TestRegistries(t *testing.T) {
	stored := func(store *oauth.ClientStore) func(*testing.T, []oauth.Client) oauth.ClientRegistry {
		return func(t *testing.T, clients []oauth.Client) oauth.ClientRegistry {
			s := &oauth.ClientStore{Storage: memstore.New(), CacheFor: store.CacheFor}
			for _, c := range clients {
				require.NoError(t, s.Create(t.Context(), c))
			}
			return s
		}
	}
	for name, open := range map[string]func(*testing.T, []oauth.Client) oauth.ClientRegistry{
		"StaticClients": func(_ *testing.T, clients []oauth.Client) oauth.ClientRegistry {
			return oauth.StaticClients(clients...)
		},
		"StoredClients":           stored(&oauth.ClientStore{}),
		"StoredClients, no cache": stored(&oauth.ClientStore{CacheFor: -1}),
		"a host's, which hides what is disabled, wraps its errors and honours the context": func(_ *testing.T, clients []oauth.Client) oauth.ClientRegistry {
			good := oauth.StaticClients(clients...)
			return lookup(func(ctx context.Context, id string) (*oauth.Client, error) {
				c, err := good.Client(ctx, id)
				switch {
				case ctx.Err() != nil:
					return nil, fmt.Errorf("query: %w", ctx.Err())
				case err != nil || c.Disabled:
					return nil, fmt.Errorf("no row: %w", oauth.ErrNotFound)
				}
				one := *c
				return &one, nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) { TestRegistry(t, open) })
	}
}

// A brokenRegistry is a mistake, and the sentence that finds it.
type brokenRegistry struct {
	name, fails string
	open        func(clients []oauth.Client) oauth.ClientRegistry
}

func brokenRegistries() []brokenRegistry {
	const (
		whole, grants   = "a client comes back as it was registered", "none and the default of Grants are told apart"
		exact, unknown  = "an ID is compared byte by byte", "an unknown ID is ErrNotFound"
		disabled, alias = "a disabled client is never live", "nobody changes a client that was handed out"
		done, parallel  = "a context that is done is not ErrNotFound", "it is safe for concurrent use"
	)
	// by finds the first client whose ID is the same in some eyes.
	by := func(same func(a, b string) bool) func([]oauth.Client) oauth.ClientRegistry {
		return func(clients []oauth.Client) oauth.ClientRegistry {
			good, kept := oauth.StaticClients(clients...), slices.Clone(clients)
			return lookup(func(ctx context.Context, id string) (*oauth.Client, error) {
				if c, err := good.Client(ctx, id); err == nil {
					return c, nil
				}
				for i := range kept {
					if same(kept[i].ID, id) {
						return &kept[i], nil
					}
				}
				return nil, oauth.ErrNotFound
			})
		}
	}
	// changed hands out copies that have something wrong with them.
	changed := func(change func(c *oauth.Client)) func([]oauth.Client) oauth.ClientRegistry {
		return func(clients []oauth.Client) oauth.ClientRegistry {
			good := oauth.StaticClients(clients...)
			return lookup(func(ctx context.Context, id string) (*oauth.Client, error) {
				c, err := good.Client(ctx, id)
				if err != nil {
					return nil, err
				}
				one := *c
				change(&one)
				return &one, nil
			})
		}
	}
	// wrapped changes the answer.
	wrapped := func(answer func(ctx context.Context, id string, c *oauth.Client, err error) (*oauth.Client, error)) func([]oauth.Client) oauth.ClientRegistry {
		return func(clients []oauth.Client) oauth.ClientRegistry {
			good := oauth.StaticClients(clients...)
			return lookup(func(ctx context.Context, id string) (*oauth.Client, error) {
				c, err := good.Client(ctx, id)
				return answer(ctx, id, c, err)
			})
		}
	}
	return []brokenRegistry{
		{"knows nobody", whole, func([]oauth.Client) oauth.ClientRegistry {
			return lookup(func(context.Context, string) (*oauth.Client, error) { return nil, oauth.ErrNotFound })
		}},
		{"answers with the ID in small letters", whole, changed(func(c *oauth.Client) { c.ID = strings.ToLower(c.ID) })},
		{"makes every client public", whole, changed(func(c *oauth.Client) { c.Public = true })},
		{"keeps the first secret alone", whole, changed(func(c *oauth.Client) { c.Secrets = c.Secrets[:min(1, len(c.Secrets))] })},
		{"keeps the first redirect URI alone", whole, changed(func(c *oauth.Client) { c.RedirectURIs = c.RedirectURIs[:min(1, len(c.RedirectURIs))] })},
		{"splits redirect URIs at commas and questions", whole, changed(func(c *oauth.Client) {
			c.RedirectURIs = strings.FieldsFunc(strings.Join(c.RedirectURIs, ","), func(r rune) bool { return r == ',' || r == '?' })
		})},
		{"forgets the scopes", whole, changed(func(c *oauth.Client) { c.Scopes = nil })},
		{"forgets which resources an API is", whole, changed(func(c *oauth.Client) { c.Resources = nil })},
		{"makes the server itself of no resources", whole, changed(func(c *oauth.Client) {
			if len(c.Resources) == 0 {
				c.Resources = nil
			}
		})},
		{"makes no resources of the server itself", whole, changed(func(c *oauth.Client) {
			if c.Resources == nil {
				c.Resources = []string{}
			}
		})},
		{"lets every client introspect", whole, changed(func(c *oauth.Client) { c.Introspect = true })},
		{"lets localhost have any port", whole, changed(func(c *oauth.Client) { c.LocalhostPort = true })},
		{"has no names", whole, changed(func(c *oauth.Client) { c.Name = "" })},
		{"disables everybody", whole, changed(func(c *oauth.Client) { c.Disabled = true })},
		{"makes the default of no grants", grants, changed(func(c *oauth.Client) {
			if len(c.Grants) == 0 {
				c.Grants = nil
			}
		})},
		{"makes no grants of the default", grants, changed(func(c *oauth.Client) {
			if c.Grants == nil {
				c.Grants = []string{}
			}
		})},
		{"folds case", exact, by(strings.EqualFold)},
		{"trims spaces", exact, by(func(a, b string) bool { return a == strings.TrimSpace(b) })},
		{"cuts spaces off the end alone, as SQL does", exact, by(func(a, b string) bool { return a == strings.TrimRight(b, " ") })},
		{"asks with LIKE", exact, by(func(a, b string) bool { return strings.Contains(b, "%") && strings.HasPrefix(a, strings.Trim(b, "%")) })},
		{"asks for a prefix", exact, by(func(a, b string) bool { return b != "" && strings.HasPrefix(a, b) })},
		{"ignores accents", exact, by(func(a, b string) bool { return strings.ReplaceAll(a, "\u00e9", "e") == b })},
		{"cleans URLs", exact, by(func(a, b string) bool { return strings.TrimRight(b, "/#?") == a })},
		{"ignores characters without width", exact, by(func(a, b string) bool { return strings.ReplaceAll(b, "\u200b", "") == a })},
		{"neither a client nor an error", unknown, wrapped(func(_ context.Context, _ string, c *oauth.Client, _ error) (*oauth.Client, error) { return c, nil })},
		{"an error of its own", unknown, wrapped(func(_ context.Context, _ string, c *oauth.Client, err error) (*oauth.Client, error) {
			if err != nil {
				return nil, errors.New("no rows in result set")
			}
			return c, nil
		})},
		{"a client and an error", unknown, wrapped(func(_ context.Context, id string, c *oauth.Client, err error) (*oauth.Client, error) {
			if err != nil {
				return &oauth.Client{ID: id}, err
			}
			return c, nil
		})},
		{"an error for long IDs", unknown, wrapped(func(_ context.Context, id string, c *oauth.Client, err error) (*oauth.Client, error) {
			if err != nil && len(id) > 255 {
				return nil, errors.New("value too long for type character varying(255)")
			}
			return c, err
		})},
		{"makes a client of whatever looks like a URL", unknown, wrapped(func(_ context.Context, id string, c *oauth.Client, err error) (*oauth.Client, error) {
			if err != nil && id == "https://app.example/other" {
				return &oauth.Client{ID: id, Public: true}, nil
			}
			return c, err
		})},
		{"brings the disabled back", disabled, changed(func(c *oauth.Client) { c.Disabled = false })},
		{"fails for the disabled", disabled, wrapped(func(_ context.Context, _ string, c *oauth.Client, err error) (*oauth.Client, error) {
			if err == nil && c.Disabled {
				return nil, errors.New("client is disabled")
			}
			return c, err
		})},
		{"one struct for all", alias, func(clients []oauth.Client) oauth.ClientRegistry {
			good := oauth.StaticClients(clients...)
			var mu sync.Mutex
			var one oauth.Client
			return lookup(func(ctx context.Context, id string) (*oauth.Client, error) {
				c, err := good.Client(ctx, id)
				if err != nil {
					return nil, err
				}
				mu.Lock()
				defer mu.Unlock()
				one = *c
				return &one, nil
			})
		}},
		{"keeps the slice of the caller", whole, func(clients []oauth.Client) oauth.ClientRegistry {
			return lookup(func(_ context.Context, id string) (*oauth.Client, error) {
				for i := range clients {
					if clients[i].ID == id {
						return &clients[i], nil
					}
				}
				return nil, oauth.ErrNotFound
			})
		}},
		{"calls a query that was cut short empty", done, wrapped(func(ctx context.Context, _ string, c *oauth.Client, err error) (*oauth.Client, error) {
			if ctx.Err() != nil {
				return nil, oauth.ErrNotFound
			}
			return c, err
		})},
		{"knows one question at a time", parallel, func(clients []oauth.Client) oauth.ClientRegistry {
			good := oauth.StaticClients(clients...)
			var busy sync.Mutex
			return lookup(func(ctx context.Context, id string) (*oauth.Client, error) {
				if !busy.TryLock() {
					return nil, errors.New("another query is in progress")
				}
				defer busy.Unlock()
				for range 50 {
					linger()
				}
				return good.Client(ctx, id)
			})
		}},
	}
}

// Each mistake is found by the sentence that is about it.
func TestRegistryFindsMistakes(t *testing.T) {
	found := map[string]bool{}
	for _, b := range brokenRegistries() {
		t.Run(b.name, func(t *testing.T) {
			at := slices.IndexFunc(registryContract(), func(c registryCheck) bool { return c.says == b.fails })
			err := lost(func() error {
				given := registryClients()
				r := &registryTrial{ctx: t.Context(), clients: registryClients(), registry: b.open(given)}
				for i := range given {
					given[i] = oauth.Client{ID: "changed-by-the-caller"}
				}
				return registryContract()[at].test(r)
			})
			require.Error(t, err)
			found[b.fails] = true
			assert.NotContains(t, err.Error(), oauth.HashSecret("a-secret-that-is-new")[7:], "the message has a hash")
		})
	}
	for _, c := range registryContract() {
		assert.True(t, found[c.says], "no mistake is found by %q", c.says)
	}
}
