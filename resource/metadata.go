package resource

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/grantwell/oauth/internal/fetch"
	"github.com/grantwell/oauth/internal/wire"
)

// Metadata describes a protected resource to clients that do not know it yet (RFC
// 9728, section 2): above all which authorization servers they can go to.
type Metadata struct {
	// Resource is the resource's identifier, an https URL without query and fragment
	// (http for loopback hosts); "" for [API.Audience].
	Resource string
	// AuthorizationServers are the identifiers of the servers whose tokens are good
	// here.
	AuthorizationServers []string
	// Scopes are those that clients may have to ask for.
	Scopes []string
	// Name is what users are told this resource is called; the others are pages about
	// it. Each is left out where it is "".
	Name           string
	Documentation  string
	Policy         string
	TermsOfService string
}

var errMetadata = errors.New("resource: there is no Metadata, or neither its Resource nor the Audience is an https URL without query and fragment")

// MetadataHandler returns the handler of [API.Metadata] and the path that it
// belongs at, on the host of the resource: the well-known one with the path of the
// resource behind it (RFC 9728, section 3.1), escaped as in a URL, which is how
// [http.ServeMux] takes it. It is made for
//
//	mux.Handle(api.MetadataHandler())
//
// The answer is public: any origin may read it, and caches may keep it for 5
// minutes. Without Metadata, or without an identifier to derive its URL from, it
// is a 500.
func (a *API) MetadataHandler() (path string, h http.Handler) {
	u := a.metadataURL()
	if u == nil {
		return wellKnown, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a.writeError(w, r, &Error{Code: ServerError, Description: wordsServerError, Endpoint: "metadata", Cause: errMetadata})
		})
	}
	body := a.metadataDocument()
	return u.EscapedPath(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			h.Set("Content-Type", "application/json")
			h.Set("Cache-Control", "public, max-age=300")
			h.Set("X-Content-Type-Options", "nosniff")
			_, _ = w.Write(body) // a client that is gone is not ours to report
		case http.MethodOptions:
			h.Set("Access-Control-Allow-Methods", "GET, HEAD")
			h.Set("Access-Control-Allow-Headers", "*") // clients of MCP send a header of their own
			w.WriteHeader(http.StatusNoContent)
		default:
			h.Set("Allow", "GET, HEAD, OPTIONS")
			a.writeError(w, r, &Error{Code: InvalidRequest, Description: "Method is not allowed", Endpoint: "metadata",
				Status: http.StatusMethodNotAllowed})
		}
	})
}

func (a *API) writeError(w http.ResponseWriter, r *http.Request, e *Error) {
	e.SetHeader(w.Header())
	if a.Logger != nil {
		a.log(r.Context(), nil, e)
	}
	if a.Error == nil {
		WriteError(w, r, e)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a.Error(w, r, e)
}

const wellKnown = "/.well-known/oauth-protected-resource"

// resource is the identifier.
func (a *API) resource() string {
	if a.Metadata.Resource != "" {
		return a.Metadata.Resource
	}
	return a.Audience
}

// metadataURL is where the metadata is, nil where there is none.
func (a *API) metadataURL() *url.URL {
	if a.Metadata == nil {
		return nil
	}
	u, err := url.Parse(a.resource())
	// url.Parse lets characters stand in a host that no host has, and no escape can mend.
	if err != nil || u.Host == "" || wire.URI(u.Host) != u.Host || u.User != nil || strings.ContainsAny(a.resource(), "?#") ||
		u.Scheme != "https" && !(u.Scheme == "http" && fetch.IsLoopback(u.Hostname())) {
		return nil
	}
	// RFC 9728, section 3.1: the slash that follows the host goes where there is nothing behind it.
	path, raw := strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.RawPath, "/")
	if path != "" {
		path, raw = u.Path, u.RawPath
	}
	if u.Path = wellKnown + path; raw != "" {
		u.RawPath = wellKnown + raw
	}
	return u
}

func (a *API) metadataDocument() []byte {
	m := a.Metadata
	body, err := json.Marshal(struct {
		Resource             string   `json:"resource"`
		AuthorizationServers []string `json:"authorization_servers,omitempty"`
		Scopes               []string `json:"scopes_supported,omitempty"`
		BearerMethods        []string `json:"bearer_methods_supported"`
		Name                 string   `json:"resource_name,omitempty"`
		Documentation        string   `json:"resource_documentation,omitempty"`
		Policy               string   `json:"resource_policy_uri,omitempty"`
		TermsOfService       string   `json:"resource_tos_uri,omitempty"`
	}{
		a.resource(), m.AuthorizationServers, m.Scopes, []string{"header"}, // RFC 9700, section 4.3.2: nowhere else
		m.Name, m.Documentation, m.Policy, m.TermsOfService,
	})
	if err != nil {
		return nil // strings alone: it cannot be
	}
	return body
}
