package main

import (
	"encoding/json"
	"net/http"

	"github.com/grantwell/oauth/resource"
)

// mountAPI protects each route of the API with the scope that it needs.
func mountAPI(mux *http.ServeMux, host string, api *resource.API) {
	api.Metadata = nil // the API has no such document
	handle := func(method, path, scope string, h http.HandlerFunc) {
		mux.Handle(method+" "+host+path, cors(api.Require(scope)(h)))
	}
	handle("GET", "/v2/me", "account.public_profile", me)
	handle("GET", "/v2/me/scores", "scores.readonly", listScores)
	handle("POST", "/v2/me/scores", "scores", addScore)
	handle("POST", "/v2/scores/{id}/likes", "scores.social", likeScore)
	mux.Handle("OPTIONS "+host+"/v2/", cors(http.NotFoundHandler()))
}

// cors lets scripts of any web site read the answers: what they may see, their
// token says, and no cookie counts here.
func cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate")
		if r.Method != http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Methods", "GET, POST")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		h.Set("Access-Control-Max-Age", "3600")
		w.WriteHeader(http.StatusNoContent)
	})
}

// me is the user whom the token is from.
func me(w http.ResponseWriter, r *http.Request) {
	token, _ := resource.FromContext(r.Context())
	u := userByID(token.Subject)
	answer := map[string]string{"id": u.ID, "type": "user", "username": u.Username, "name": u.Name}
	if token.Has("account.education_profile") {
		answer["organization"] = u.Organization
	}
	writeJSON(w, http.StatusOK, answer)
}

func listScores(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, []map[string]string{{"id": "56ae21579a127715a02901a6", "title": "House of the Rising Sun"}})
}

func addScore(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusCreated, map[string]string{"id": "56ae21579a127715a02901a7"})
}

func likeScore(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"liked": r.PathValue("id")})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client is gone: there is nobody to tell
}
