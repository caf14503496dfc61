package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
)

// This file is for show: it keeps what the app sends and gets, and explains it.

// A step is one thing that happened, with the HTTP behind it.
type step struct {
	Title, Text string
	Exchanges   []exchange
	Refused     bool
	Failure     string // what went wrong where there was no answer
}

// An exchange is a request and its answer.
type exchange struct {
	Method, URL string
	Sent        []row
	Status      string // "" where the browser was sent and the app sees no answer
	OK          bool
	Got         []row
}

// A row is a parameter, a member or a header.
type row struct{ Name, Value, Meaning string }

// meanings explains the parameters of the protocol.
var meanings = map[string]string{
	"response_type":         "what the app wants back: a code, never a token in a URL",
	"client_id":             "which app asks",
	"redirect_uri":          "where the answer goes; it must be registered, to the letter",
	"scope":                 "what the app may do",
	"state":                 "random, comes back as it is: the answer belongs to this browser",
	"code_challenge":        "the SHA-256 of a verifier that only the app knows (PKCE)",
	"code_challenge_method": "how the challenge was made",
	"code":                  "good once, for 60 seconds",
	"iss":                   "which server answers (RFC 9207)",
	"error":                 "what went wrong, for programs",
	"error_description":     "the same for people",
	"grant_type":            "what the app has to offer",
	"code_verifier":         "its SHA-256 was the challenge",
	"access_token":          "what the API takes",
	"token_type":            "whoever bears it may use it",
	"expires_in":            "seconds",
	"refresh_token":         "for the next access token, without you",
	"token":                 "the refresh token",
	"Authorization: Basic":  "the app's id and secret",
	"Authorization: Bearer": "the access token",
	"sub":                   "who you are, the same every time",
	"WWW-Authenticate":      "what the API asks for (RFC 6750)",
}

// hidden are the values that would be worth something to whoever reads the screen.
var hidden = map[string]bool{"code": true, "code_verifier": true, "access_token": true, "refresh_token": true, "token": true}

func explain(name, value string) row {
	if hidden[name] {
		value = shorten(value)
	}
	return row{name, value, meanings[name]}
}

// shorten leaves enough of a token to tell it from another.
func shorten(token string) string {
	if len(token) < 24 {
		return strings.Repeat("•", min(len(token), 8))
	}
	return fmt.Sprintf("%s…%s (%d characters)", token[:8], token[len(token)-4:], len(token))
}

// navigation is a request that the browser makes because it was redirected.
func navigation(to string) exchange {
	at, query, _ := strings.Cut(to, "?")
	return exchange{Method: http.MethodGet, URL: at, Sent: parameters(query)}
}

// parameters lists those of a query or a form in their order.
func parameters(encoded string) (rows []row) {
	for pair := range strings.SplitSeq(encoded, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if value, err := url.QueryUnescape(value); err == nil && name != "" {
			rows = append(rows, explain(name, value))
		}
	}
	return rows
}

// members lists those of a JSON object in their order.
func members(body []byte) (rows []row) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return rows
		}
		var value any
		if err = dec.Decode(&value); err != nil {
			return rows
		}
		text, isText := value.(string)
		if !isText {
			b, _ := json.Marshal(value) // it has just been decoded
			text = string(b)
		}
		rows = append(rows, explain(fmt.Sprint(name), text))
	}
	return rows
}

// A recorder is the transport of one action of the app.
type recorder struct{ exchanges []exchange }

// context makes x/oauth2 use the recorder.
func (rec *recorder) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, rec.client())
}

func (rec *recorder) client() *http.Client {
	return &http.Client{Transport: rec, Timeout: callTimeout}
}

// send sends a request and reads the members of the answer into out.
func send(r *http.Request, out any) step {
	rec := &recorder{}
	resp, err := rec.client().Do(r)
	if err != nil {
		return step{Refused: true, Failure: failure(err, rec)}
	}
	defer resp.Body.Close() //nolint:errcheck // a buffer
	s := step{Exchanges: rec.exchanges, Refused: resp.StatusCode >= 300}
	if out != nil && !s.Refused && json.NewDecoder(resp.Body).Decode(out) != nil {
		s.Refused, s.Failure = true, "The answer is no JSON."
	}
	return s
}

// RoundTrip implements [http.RoundTripper].
func (rec *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchange{Method: r.Method, URL: r.URL.String(), Sent: sent(r)}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	x.Status, x.OK = resp.Status, resp.StatusCode < 300
	if challenge := resp.Header.Get("WWW-Authenticate"); challenge != "" {
		x.Got = append(x.Got, explain("WWW-Authenticate", challenge))
	}
	x.Got = append(x.Got, members(body)...)
	rec.exchanges = append(rec.exchanges, x)
	return resp, nil
}

// sent lists what a request carries, the credentials shortened.
func sent(r *http.Request) (rows []row) {
	scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch scheme {
	case "Basic":
		id, _, _ := r.BasicAuth()
		rows = append(rows, explain("Authorization: Basic", id+" and its secret"))
	case "Bearer":
		rows = append(rows, explain("Authorization: Bearer", shorten(credentials)))
	}
	if r.GetBody == nil {
		return rows
	}
	body, err := r.GetBody()
	if err != nil {
		return rows
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return rows
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return append(rows, members(text)...)
	}
	return append(rows, parameters(string(text))...)
}

// failure says why there was no answer; where there was one, it says enough.
func failure(err error, rec *recorder) string {
	if _, answered := errors.AsType[*oauth2.RetrieveError](err); answered || len(rec.exchanges) > 0 {
		return ""
	}
	return "The server did not answer."
}
