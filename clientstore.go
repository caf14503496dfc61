package oauth

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

// StoredClients is a registry of clients that are kept in a Storage, that of
// the server for one: ClientStore{Storage: storage}.
func StoredClients(storage Storage) *ClientStore { return &ClientStore{Storage: storage} }

// A ClientStore is a [ClientRegistry] whose clients can be changed while the
// server runs. What another process changes is seen after CacheFor. Its fields
// are not changed once a method was called.
type ClientStore struct {
	Storage Storage
	// Realm is that of the server, see [Config].Realm.
	Realm string
	// CacheFor is how long a client is remembered, at most 1 min: for so long one
	// that was disabled by another process is still good here. Zero: 2 s; negative:
	// not at all. At most 1000 clients are remembered, and none that is disabled.
	CacheFor time.Duration
	// Now is the clock. Zero: time.Now.
	Now func() time.Time

	deadline deadline // of commits

	mu      sync.Mutex
	cached  map[string]cachedClient
	changes int // made by this process: what was read before one is not remembered after it
}

type cachedClient struct {
	client      *Client
	from, until time.Time
}

const (
	clientPrefix  = "c_"
	maxCached     = 1000
	cacheFor      = 2 * time.Second
	maxCacheFor   = time.Minute
	clientMember  = "client"
	clientSecrets = 2 // live at once after RotateSecret
)

// clientPart is a client as it stands in Data.
type clientPart struct {
	Name          string          `json:"name,omitempty"`
	Public        bool            `json:"public,omitempty"`
	Secrets       []string        `json:"secrets,omitempty"`
	RedirectURIs  []string        `json:"redirect_uris,omitempty"`
	LocalhostPort bool            `json:"localhost_port,omitempty"`
	Grants        []string        `json:"grants"` // null and empty are not the same
	Scopes        []string        `json:"scopes,omitempty"`
	Introspect    bool            `json:"introspect,omitempty"`
	Resources     []string        `json:"resources,omitzero"` // null and empty are not the same
	JWKS          json.RawMessage `json:"jwks,omitempty"`
	JWKSURI       string          `json:"jwks_uri,omitempty"`
	Disabled      bool            `json:"disabled,omitempty"`
}

// Client implements [ClientRegistry].
func (s *ClientStore) Client(ctx context.Context, id string) (*Client, error) {
	now := s.now()
	c, changes := s.remembered(id, now)
	if c != nil {
		return c, nil
	}
	_, c, err := s.read(ctx, id)
	if err != nil {
		return nil, err
	}
	if !c.Disabled { // it takes a look at the store every time, like one that never was
		s.remember(c, now, changes)
	}
	return c, nil
}

// Create adds a client. Data is not stored. The errors are ErrExists, what is
// wrong with the client, and those of the store.
func (s *ClientStore) Create(ctx context.Context, c Client) error {
	if err := errors.Join(c.check()...); err != nil {
		return fmt.Errorf("oauth: client %q: %w", c.ID, err)
	}
	rec := Record{Realm: s.Realm, ID: s.recordID(c.ID), Kind: KindClient, ClientID: c.ID, CreatedAt: fromMillis(millis(s.now()))}
	var err error
	if rec.Data, err = encodeClient(nil, &c); err != nil {
		return err
	}
	err = write{create: true, rec: rec}.commit(ctx, s.Storage, &s.deadline)
	if errors.Is(err, errRaceLost) {
		return fmt.Errorf("oauth: client %q: %w", c.ID, ErrExists)
	}
	return err
}

// Update lets edit change a client and stores it; edit may be called again when
// somebody else changed the client meanwhile. The ID stays. The errors are
// ErrNotFound, that of edit, what is wrong with the client, and those of the store.
func (s *ClientStore) Update(ctx context.Context, id string, edit func(*Client) error) (*Client, error) {
	for range maxAttempts {
		rec, c, err := s.read(ctx, id)
		if err != nil {
			return nil, err
		}
		if err := edit(c); err != nil {
			return nil, err
		}
		c.ID = id
		if err := errors.Join(c.check()...); err != nil {
			return nil, fmt.Errorf("oauth: client %q: %w", id, err)
		}
		if rec.Data, err = encodeClient(rec.Data, c); err != nil {
			return nil, err
		}
		err = write{rec: rec}.commit(ctx, s.Storage, &s.deadline)
		s.forget(id)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, errRaceLost) {
			return nil, err
		}
	}
	return nil, unavailable(errRaceLost)
}

// RotateSecret gives a confidential client a new secret, which it returns and
// of which only the hash is stored. The secret before it stays good, those
// before that do not; a second call ends it. After an error the secret may have
// been stored all the same: call it again only when the client that has the one
// before can be told, or set Secrets with Update.
func (s *ClientStore) RotateSecret(ctx context.Context, id string) (string, error) {
	secret := rand.Text()
	_, err := s.Update(ctx, id, func(c *Client) error {
		if c.Public {
			return errors.New("oauth: a public client has no secret")
		}
		c.Secrets = slices.Insert(slices.Clone(c.Secrets), 0, HashSecret(secret))
		c.Secrets = c.Secrets[:min(len(c.Secrets), clientSecrets)]
		return nil
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// Erase removes a client and everything that is known of it. Its tokens are
// refused from then on; to end its authorizations and the remembered consents for
// good, so that they do not live again if a client of the same ID is ever created,
// call [Server.Revoke].
func (s *ClientStore) Erase(ctx context.Context, id string) error {
	for range maxAttempts {
		rec, _, err := s.read(ctx, id)
		if err != nil && !errors.Is(err, errAltered) && !errors.Is(err, errNewerFormat) { // nothing of what is erased is needed
			return err
		}
		rec.Data, rec.ExpiresAt = nil, fromMillis(millis(s.now()))
		err = write{rec: rec}.commit(ctx, s.Storage, &s.deadline)
		s.forget(id)
		if !errors.Is(err, errRaceLost) {
			return err
		}
	}
	return unavailable(errRaceLost)
}

// All yields the clients in no particular order, secrets left out.
func (s *ClientStore) All(ctx context.Context) iter.Seq2[*Client, error] {
	return func(yield func(*Client, error) bool) {
		for rec, err := range s.Storage.List(ctx, Filter{Realm: s.Realm, Kind: KindClient}) {
			if err == nil && len(rec.Data) == 0 {
				continue
			}
			var c *Client
			if err == nil {
				c, err = decodeClient(rec)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			c.Secrets = nil
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (s *ClientStore) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *ClientStore) recordID(id string) string {
	return hashID(clientPrefix, s.Realm, KindClient, id)
}

// read gets a client past the cache.
func (s *ClientStore) read(ctx context.Context, id string) (Record, *Client, error) {
	rec, err := s.Storage.Get(ctx, s.recordID(id))
	switch {
	case err != nil:
		return rec, nil, err
	case rec.Kind != KindClient || rec.Realm != s.Realm || rec.ClientID != id || len(rec.Data) == 0:
		return rec, nil, ErrNotFound
	}
	c, err := decodeClient(rec)
	return rec, c, err
}

func decodeClient(rec Record) (*Client, error) {
	fail := func(err error) (*Client, error) { return nil, fmt.Errorf("oauth: client %q: %w", rec.ClientID, err) }
	if _, err := parseHead(rec.Data); err != nil {
		return fail(err)
	}
	members, err := splitMembers(rec.Data)
	if err != nil {
		return fail(err)
	}
	for _, m := range members {
		var p clientPart
		if m.name != clientMember {
			continue
		}
		if m.value[0] != '{' || json.Unmarshal(m.value, &p) != nil { // Unmarshal takes null too
			return fail(errAltered)
		}
		return &Client{ID: rec.ClientID, Name: p.Name, Public: p.Public, Secrets: p.Secrets, RedirectURIs: p.RedirectURIs,
			LocalhostPort: p.LocalhostPort, Grants: p.Grants, Scopes: p.Scopes, Introspect: p.Introspect,
			Resources: p.Resources, Disabled: p.Disabled, JWKS: p.JWKS, JWKSURI: p.JWKSURI}, nil
	}
	return fail(errAltered)
}

// encodeClient puts a client into Data; members of another version stay.
func encodeClient(data []byte, c *Client) ([]byte, error) {
	if len(c.InsecureSharedKey) > 0 {
		return nil, fmt.Errorf("oauth: client %q: InsecureSharedKey would be in the store in the clear", c.ID)
	}
	part, err := json.Marshal(clientPart{Name: c.Name, Public: c.Public, Secrets: c.Secrets, RedirectURIs: c.RedirectURIs,
		LocalhostPort: c.LocalhostPort, Grants: c.Grants, Scopes: c.Scopes, Introspect: c.Introspect, Resources: c.Resources, Disabled: c.Disabled,
		JWKS: c.JWKS, JWKSURI: c.JWKSURI})
	if err != nil {
		return nil, err
	}
	var h head
	members := []member{{name: clientMember, value: part}}
	if len(data) > 0 {
		if h, err = parseHead(data); err != nil {
			return nil, err
		}
		old, err := splitMembers(data)
		if err != nil {
			return nil, err
		}
		for _, m := range old {
			switch m.name {
			case "head":
			case clientMember:
				if members[0].value, err = keepUnknown(part, m.value); err != nil {
					return nil, err
				}
			default:
				members = append(members, m)
			}
		}
	}
	h.mark = newMark()
	all := append(appendMembers(h.appendTo(nil), members), '}')
	if len(all) > maxData { // it could not be read again
		return nil, fmt.Errorf("oauth: client %q: it takes more than %d KiB", c.ID, maxData>>10)
	}
	return all, nil
}

// keepUnknown adds to a client the members of the old one that this version does
// not know.
func keepUnknown(part, old []byte) ([]byte, error) {
	members, err := splitMembers(old)
	if err != nil {
		return nil, err
	}
	known := []string{"name", "public", "secrets", "redirect_uris", "localhost_port", "grants", "scopes", "introspect", "resources", "disabled", "jwks", "jwks_uri"}
	// encoding/json reads a name in any case: what it has read for a known one must not be
	// read again, after the new one.
	members = slices.DeleteFunc(members, func(m member) bool {
		return slices.ContainsFunc(known, func(name string) bool { return strings.EqualFold(name, m.name) })
	})
	return append(appendMembers(slices.Clip(part[:len(part)-1]), members), '}'), nil
}

func (s *ClientStore) remembered(id string, now time.Time) (c *Client, changes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.cached[id]; ok && !now.Before(e.from) && now.Before(e.until) {
		return e.client, s.changes
	}
	return nil, s.changes
}

func (s *ClientStore) remember(c *Client, now time.Time, changes int) {
	keep := min(s.CacheFor, maxCacheFor)
	if keep == 0 {
		keep = cacheFor
	}
	if keep < 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes != changes {
		return
	}
	if len(s.cached) >= maxCached {
		clear(s.cached) // rather than an order to keep: what is in use comes back at once
	}
	if s.cached == nil {
		s.cached = map[string]cachedClient{}
	}
	s.cached[c.ID] = cachedClient{c, now, now.Add(keep)}
}

func (s *ClientStore) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	delete(s.cached, id)
}
