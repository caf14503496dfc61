package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/grantwell/oauth/resource"
)

// A note is what the API is about.
type note struct {
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// notes is the protected API: everybody has some notes.
type notes struct {
	now func() time.Time
	mu  sync.Mutex
	of  map[string][]note // by owner
}

const (
	maxNotes = 50  // of one owner, the oldest go
	maxText  = 200 // characters of a note
)

func newNotes(now func() time.Time) *notes {
	at := now().UTC().Truncate(time.Second)
	return &notes{now: now, of: map[string][]note{
		"user alice":          {{"Follow the white rabbit", at}},
		"user bob":            {{"Can we fix it?", at}},
		"client demo-machine": {{"A program has notes of its own", at}},
	}}
}

// mount protects each route with the scope that it needs. Nobody gets as far as
// the handlers without a live token that has it.
func (n *notes) mount(mux *http.ServeMux, api *resource.API) {
	mux.Handle("GET /api/notes", api.Require("notes:read")(http.HandlerFunc(n.list)))
	mux.Handle("POST /api/notes", api.Require("notes:write")(http.HandlerFunc(n.add)))
}

// owner is whose notes a token opens: the user's, or those of a client that acts
// for itself. It is taken from the token, never from the request.
func owner(r *http.Request) string {
	token, ok := resource.FromContext(r.Context())
	switch {
	case !ok:
		return "" // not behind Require
	case token.Subject != "":
		return "user " + token.Subject
	}
	return "client " + token.ClientID
}

// list is GET /api/notes: {"notes":[{"text":"…","at":"…"}]}.
func (n *notes) list(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	mine := append([]note{}, n.of[owner(r)]...)
	n.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string][]note{"notes": mine})
}

// add is POST /api/notes with a body of {"text":"…"}; the answer is the note.
func (n *notes) add(w http.ResponseWriter, r *http.Request) {
	var in note
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&in)
	in.Text = strings.TrimSpace(in.Text)
	if err != nil || in.Text == "" || utf8.RuneCountInString(in.Text) > maxText {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "a note is a JSON object with a text of 1 to 200 characters"})
		return
	}
	in.At = n.now().UTC().Truncate(time.Second)
	n.mu.Lock()
	mine := append(n.of[owner(r)], in)
	n.of[owner(r)] = mine[max(0, len(mine)-maxNotes):]
	n.mu.Unlock()
	writeJSON(w, http.StatusCreated, in)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client is gone: there is nobody to tell
}
