package resource_test

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantwell/oauth/resource"
)

func TestRule(t *testing.T) {
	const scope = `error="insufficient_scope", error_description="Access token lacks a required scope"`
	const stepUp = `error="insufficient_user_authentication", error_description="A more recent or a stronger authentication of the user is required"`
	ago := func(d time.Duration) time.Time { return start.Add(-d) }
	for _, tt := range []struct {
		name      string
		rule      resource.Rule
		scopes    []string
		auth      time.Time
		acr       string
		status    int
		challenge string
	}{
		{"zero", resource.Rule{}, nil, time.Time{}, "", 200, ""},
		{"all of", resource.Rule{Scopes: []string{"a", "b"}}, []string{"b", "a", "c"}, time.Time{}, "", 200, ""},
		{"RFC 6750 3.1 all of, one missing", resource.Rule{Scopes: []string{"a", "b"}}, []string{"a"}, time.Time{}, "", 403, `Bearer scope="a b", ` + scope},
		{"any of, the first", resource.Rule{AnyOf: []string{"a", "b"}}, []string{"a"}, time.Time{}, "", 200, ""},
		{"any of, the second", resource.Rule{AnyOf: []string{"a", "b"}}, []string{"b"}, time.Time{}, "", 200, ""},
		{"any of, what contains it", resource.Rule{AnyOf: []string{"a", "b"}}, []string{"all"}, time.Time{}, "", 200, ""},
		{"RFC 6750 3.1 any of, none", resource.Rule{AnyOf: []string{"a", "b"}}, []string{"c"}, time.Time{}, "", 403, `Bearer scope="a", ` + scope},
		{"all of and any of", resource.Rule{Scopes: []string{"c"}, AnyOf: []string{"a", "b"}}, []string{"b", "c"}, time.Time{}, "", 200, ""},
		{"all of and any of, all missing", resource.Rule{Scopes: []string{"c"}, AnyOf: []string{"a", "b"}}, []string{"b"}, time.Time{}, "", 403,
			`Bearer scope="c a", ` + scope},
		{"all of and any of, any missing", resource.Rule{Scopes: []string{"c"}, AnyOf: []string{"a", "b"}}, []string{"c"}, time.Time{}, "", 403,
			`Bearer scope="c a", ` + scope},

		{"MaxAge", resource.Rule{MaxAge: time.Minute}, nil, ago(time.Minute), "", 200, ""},
		{"RFC 9470 3 MaxAge, older", resource.Rule{MaxAge: time.Minute}, nil, ago(time.Minute + 1), "", 401, "Bearer " + stepUp + `, max_age="60"`},
		{"RFC 9470 3 MaxAge, not said", resource.Rule{MaxAge: 90 * time.Second}, nil, time.Time{}, "gold", 401, "Bearer " + stepUp + `, max_age="90"`},
		{"RFC 9470 3 MaxAge, not said, however long", resource.Rule{MaxAge: math.MaxInt64}, nil, time.Time{}, "", 401,
			"Bearer " + stepUp + `, max_age="9223372036"`},
		{"MaxAge, a clock that is ahead", resource.Rule{MaxAge: time.Minute}, nil, ago(-time.Second), "", 200, ""},
		{"MaxAge, negative, as of a time that has passed", resource.Rule{MaxAge: -time.Second}, nil, ago(-time.Hour), "", 401, "Bearer " + stepUp},
		{"ACRValues", resource.Rule{ACRValues: []string{"gold", "silver"}}, nil, time.Time{}, "silver", 200, ""},
		{"RFC 9470 3 ACRValues, another", resource.Rule{ACRValues: []string{"gold", "silver"}}, nil, time.Time{}, "bronze", 401,
			"Bearer " + stepUp + `, acr_values="gold silver"`},
		{"RFC 9470 3 ACRValues, not said", resource.Rule{ACRValues: []string{"gold"}}, nil, ago(0), "", 401, "Bearer " + stepUp + `, acr_values="gold"`},
		{"ACRValues, empty is none", resource.Rule{ACRValues: []string{""}}, nil, ago(0), "", 401, "Bearer " + stepUp + `, acr_values=""`},
		{"RFC 9470 3 both, and scopes at once", resource.Rule{Scopes: []string{"a"}, MaxAge: time.Hour, ACRValues: []string{"gold"}}, nil, ago(2 * time.Hour), "gold", 401,
			`Bearer scope="a", ` + stepUp + `, acr_values="gold", max_age="3600"`},
		{"authenticated well, scope missing", resource.Rule{Scopes: []string{"a"}, MaxAge: time.Hour, ACRValues: []string{"gold"}}, nil, ago(0), "gold", 403,
			`Bearer scope="a", ` + scope},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tok := live(tt.scopes...)
			tok.AuthTime, tok.ACR = tt.auth, tt.acr
			a := api(verifierOf("live", tok))
			a.Includes = map[string][]string{"all": {"b"}}
			res, body, reached := call(a.RequireRule(tt.rule), "/", "Bearer live")
			assert.Equal(t, tt.status, res.StatusCode)
			assert.Equal(t, tt.status == 200, reached)
			assert.Equal(t, tt.challenge, res.Header.Get("WWW-Authenticate"))
			if tt.status == 401 {
				assert.JSONEq(t, `{"error":"insufficient_user_authentication",
					"error_description":"A more recent or a stronger authentication of the user is required"}`, body)
			}

			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Authorization", "Bearer live")
			h := http.Header{}
			got, e := a.CheckRule(r, h, tt.rule)
			assert.Equal(t, tt.challenge, h.Get("WWW-Authenticate"), "CheckRule is the same")
			assert.Equal(t, tt.status == 200, got != nil)
			assert.Equal(t, tt.status != 200, e != nil)
			if tt.status == 401 {
				assert.Equal(t, tt.rule.MaxAge, e.MaxAge)
				assert.Equal(t, tt.rule.ACRValues, e.ACRValues)
			}
		})
	}
	t.Run("RFC 6750 3.1 without a token nothing is said of it", func(t *testing.T) {
		res, _, _ := call(api(verifierOf("live", live())).RequireRule(resource.Rule{AnyOf: []string{"a", "b"}, MaxAge: time.Minute}), "/")
		assert.Equal(t, `Bearer scope="a"`, res.Header.Get("WWW-Authenticate"))
	})
	// What is asked of the authentication is for those who have shown that they can get a token.
	expired, elsewhere := live(), live()
	expired.ExpiresAt, elsewhere.Audience = start, []string{"https://other.example"}
	known := &verifier{tokens: map[string]*resource.Token{"expired": expired, "elsewhere": elsewhere}}
	for _, text := range []string{"expired", "elsewhere", "unknown"} {
		t.Run("RFC 9470 9 a token that is no good here learns nothing: "+text, func(t *testing.T) {
			res, _, _ := call(api(known).RequireRule(resource.Rule{MaxAge: time.Minute, ACRValues: []string{"gold"}}), "/", "Bearer "+text)
			assert.Equal(t, 401, res.StatusCode)
			assert.Equal(t, "Bearer "+bad, res.Header.Get("WWW-Authenticate"))
		})
	}
}

// A route inside a router that is protected: only the rule is looked at, and the time goes on.
func TestRuleWithinRequire(t *testing.T) {
	now := start
	tok := live("a")
	tok.AuthTime = start
	v := verifierOf("live", tok)
	a := &resource.API{Verifier: v, Now: func() time.Time { return now }}
	end := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	inner := a.RequireRule(resource.Rule{AnyOf: []string{"a", "b"}, MaxAge: time.Minute})(end)
	send := func(pass time.Duration) int {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer live")
		w := httptest.NewRecorder()
		now = start
		a.Require("a")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			now = now.Add(pass)
			inner.ServeHTTP(w, r)
		})).ServeHTTP(w, r)
		return w.Code
	}
	assert.Equal(t, 204, send(time.Minute))
	assert.Equal(t, 401, send(time.Minute+time.Second))
	assert.Equal(t, 2, v.asked, "once per request")
}

func TestRuleIsCopied(t *testing.T) {
	rule := resource.Rule{Scopes: []string{"a"}, AnyOf: []string{"b"}, ACRValues: []string{"gold"}}
	tok := live("x", "y")
	tok.ACR = "tin"
	m := api(verifierOf("live", tok)).RequireRule(rule)
	rule.Scopes[0], rule.AnyOf[0], rule.ACRValues[0] = "x", "y", "tin"
	res, _, _ := call(m, "/", "Bearer live")
	assert.Equal(t, 401, res.StatusCode)
}

// A guard can ask for a better authentication too: after some time of sleep, from a new country.
func TestGuardAsksForStepUp(t *testing.T) {
	shared := &resource.Error{Code: resource.InsufficientUserAuthentication, MaxAge: time.Minute}
	a := api(verifierOf("live", live("read")))
	a.Guards = []resource.Guard{func(context.Context, *resource.Call) error { return shared }}
	res, _, _ := call(a.Require("read"), "/", "Bearer live")
	assert.Equal(t, 401, res.StatusCode)
	assert.Equal(t, `Bearer scope="read", error="insufficient_user_authentication", max_age="60"`, res.Header.Get("WWW-Authenticate"))
	assert.Nil(t, shared.Scopes)
	require.Equal(t, 401, shared.HTTPStatus())
}
