package main

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/grantwell/oauth/resource"
)

// mountAPI puts the checkout and the marketing API below base. Every call needs a
// token of this environment, and comes from an address of its merchant.
func mountAPI(mux *http.ServeMux, base string, api *resource.API) {
	signedIn := api.Require()
	mux.Handle("POST "+base+"/api/checkout/v1/orders", signedIn(http.HandlerFunc(createOrder)))
	mux.Handle("GET "+base+"/api/marketing/v1/offers", signedIn(http.HandlerFunc(listOffers)))
}

const maxOrder = 1 << 20 // bytes

// createOrder answers with what it was sent and who sent it: this is a demo.
func createOrder(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOrder))
	if err != nil || !json.Valid(body) {
		reply(w, http.StatusBadRequest, map[string]any{"error": "the order is not JSON of at most 1 MiB"})
		return
	}
	id, m := caller(r)
	reply(w, http.StatusCreated, map[string]any{"client_id": id, "merchant": m.Name, "order": json.RawMessage(body)})
}

func listOffers(w http.ResponseWriter, r *http.Request) {
	id, m := caller(r)
	reply(w, http.StatusOK, map[string]any{"client_id": id, "merchant": m.Name, "offers": []string{}})
}

// caller is the merchant that the token was issued to.
func caller(r *http.Request) (clientID string, m merchant) {
	token, ok := resource.FromContext(r.Context())
	if !ok {
		return "", m
	}
	m, _ = token.ClientData.(merchant)
	return token.ClientID, m
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // the client is gone: there is nobody to tell
}
