package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grantwell/oauth/internal/jose"
)

// The times of a metadata document, which says where things are and holds no secret and no key.
const (
	metadataLeast = time.Minute
	metadataUsual = time.Hour
	metadataMost  = 24 * time.Hour
	metadataStale = 24 * time.Hour
	metadataPause = 10 * time.Second
	metadataLimit = 10 * time.Second
)

// Metadata is what this library asks of an authorization server's metadata (RFC 8414, section 2); "" for what it does not say.
type Metadata struct {
	JWKSURI               string
	IntrospectionEndpoint string
}

// Discover returns the metadata document of an issuer, loaded when it is first asked for.
func Discover(client *Client, issuer string) *Document[Metadata] {
	return &Document[Metadata]{Stale: metadataStale, Pause: metadataPause, Limit: metadataLimit,
		Load: func(ctx context.Context) (Metadata, time.Duration, error) { return discover(ctx, client, issuer) }}
}

// discover looks where RFC 8414 has the document, and where that is no good, where OpenID Connect Discovery has it.
func discover(ctx context.Context, client *Client, issuer string) (Metadata, time.Duration, error) {
	at, err := wellKnown(issuer)
	if err != nil {
		return Metadata{}, 0, err
	}
	var problems []error
	for _, target := range at {
		a, err := client.Get(ctx, target, "application/json")
		var m Metadata
		if err == nil {
			m, err = metadata(a, issuer)
		}
		if err == nil {
			return m, a.Keep(metadataLeast, metadataUsual, metadataMost), nil
		}
		problems = append(problems, fmt.Errorf("%s: %w", target, err))
		if a == nil && !errors.Is(err, ErrRedirect) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrEncoding) {
			break // nobody answers there
		}
	}
	return Metadata{}, 0, fmt.Errorf("metadata: %w", errors.Join(problems...))
}

// wellKnown returns where the metadata of an issuer can be: RFC 8414, section 3.1, between its host and its path, and OpenID Connect
// Discovery, section 4, behind its path.
func wellKnown(issuer string) ([2]string, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(issuer, "?#") {
		return [2]string{}, ErrURL
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := u.Scheme + "://" + u.Host
	return [2]string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + path + "/.well-known/openid-configuration",
	}, nil
}

// A Place is where a server has something: at a URL that is known, or at the one that its metadata names.
type Place struct {
	URL      string // "": what Member returns of Metadata
	Metadata *Document[Metadata]
	Name     string // of the member, for the error where there is none
	Member   func(Metadata) string
	Now      func() time.Time
}

// Try runs do with the URL. If that fails, a newer metadata document is asked for, no more often than its Pause allows: an issuer
// that moves something may drop the old URL long before the document that names it is old here. If the newer one names another URL,
// do runs once more.
func (p *Place) Try(ctx context.Context, do func(uri string) error) error {
	if p.URL != "" {
		return do(p.URL)
	}
	try := func(m Metadata) error {
		uri := p.Member(m)
		if uri == "" {
			return errors.New("the metadata has no " + p.Name)
		}
		return do(uri)
	}
	m, serial, err := p.Metadata.Get(ctx, p.Now, 0)
	if err != nil {
		return err
	}
	failed := try(m)
	if failed == nil {
		return nil
	}
	newer, _, err := p.Metadata.Get(ctx, p.Now, serial)
	if err != nil || p.Member(newer) == p.Member(m) {
		return failed
	}
	return try(newer)
}

func metadata(a *Answer, issuer string) (Metadata, error) {
	if a.Status != http.StatusOK || !a.Is("application/json") {
		return Metadata{}, fmt.Errorf("the answer is not a JSON document, status %d", a.Status)
	}
	o, err := jose.ParseObject(a.Body)
	if err != nil {
		return Metadata{}, err
	}
	said := o.Text("issuer")
	m := Metadata{JWKSURI: o.Text("jwks_uri"), IntrospectionEndpoint: o.Text("introspection_endpoint")}
	if err := o.Err(); err != nil {
		return Metadata{}, err
	}
	if said != issuer {
		return Metadata{}, errors.New("it names another issuer") // RFC 8414, section 3.3.
	}
	return m, nil
}
