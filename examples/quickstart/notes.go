package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
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
	db     *sql.DB
	now    func() time.Time
	logger *slog.Logger
}

const (
	maxNotes = 50  // of one owner, the oldest go
	maxText  = 200 // characters of a note
)

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
	mine, err := n.of(r.Context(), owner(r))
	if err != nil {
		n.unavailable(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string][]note{"notes": mine})
}

// of reads somebody's notes, the oldest first.
func (n *notes) of(ctx context.Context, owner string) ([]note, error) {
	rows, err := n.db.QueryContext(ctx, `SELECT text, at FROM notes WHERE owner = ? ORDER BY id`, owner)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has what went wrong
	all := []note{}
	for rows.Next() {
		var one note
		var at int64
		if err = rows.Scan(&one.Text, &at); err != nil {
			return nil, err
		}
		one.At = time.Unix(at, 0).UTC()
		all = append(all, one)
	}
	return all, rows.Err()
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
	err = inTx(r.Context(), n.db, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(r.Context(), `INSERT INTO notes (owner, text, at) VALUES (?, ?, ?)`, owner(r), in.Text, in.At.Unix())
		if err == nil {
			_, err = tx.ExecContext(r.Context(), `DELETE FROM notes WHERE owner = ?1 AND id NOT IN
				(SELECT id FROM notes WHERE owner = ?1 ORDER BY id DESC LIMIT ?2)`, owner(r), maxNotes)
		}
		return err
	})
	if err != nil {
		n.unavailable(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, in)
}

// unavailable tells the operator what is wrong, and the client to come again.
func (n *notes) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	n.logger.ErrorContext(r.Context(), "the notes are not available", "error", err)
	w.Header().Set("Retry-After", "2")
	writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": "temporarily_unavailable"})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client is gone: there is nobody to tell
}
