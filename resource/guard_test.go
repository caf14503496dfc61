package resource_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/grantwell/oauth/resource"
)

func TestRequireGuards(t *testing.T) {
	late := &resource.Error{Code: resource.TemporarilyUnavailable, Status: 429, RetryAfter: 30 * time.Second}
	tests := []struct {
		name, header string
		guard        error
		status       int
		after        string
		challenge    string
		seesToken    bool
	}{
		{"allowed", "Bearer live", nil, 200, "", "", true},
		{"S360 limited", "Bearer live", late, 429, "30", "", true},
		{"S360 limited without a token", "", late, 429, "30", "", false},
		{"S360 limited with a bad token", "Bearer x", late, 429, "30", "", false},
		{"S360 limited with a malformed header", "Bearer a b", late, 429, "30", "", false},
		{"S360 limited with a token for another audience", "Bearer alien", late, 429, "30", "", false},
		{"FP-13 address not listed", "Bearer live", &resource.Error{Code: resource.AccessDenied, Status: 403}, 403, "", "", true},
		{"guard's 401", "Bearer live", &resource.Error{Code: resource.AccessDenied, Status: 401}, 401, "", `Bearer scope="read"`, true},
		{"guard's 401 without a token", "", resource.InvalidToken, 401, "", `Bearer scope="read"`, false},
		{
			"guard asks for scopes", "Bearer live",
			&resource.Error{Code: resource.InsufficientScope, Scopes: []string{"a", "b"}}, 403, "",
			`Bearer scope="a b", error="insufficient_scope"`, true,
		},
		{"guard fails", "Bearer live", errors.New("limiter is down"), 503, "5", "", true},
		{"bad token, guard allows", "Bearer x", nil, 401, "", `Bearer scope="read", ` + bad, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			alien := live("read")
			alien.Audience = []string{"https://other.example"}
			v := verifierOf("live", live("read"))
			v.tokens["alien"] = alien
			ran := 0
			a := api(v)
			a.Guards = []resource.Guard{func(_ context.Context, c *resource.Call) error {
				ran++
				assert.Equal(t, "api", c.Endpoint)
				assert.Equal(t, start, c.Now)
				assert.Equal(t, "/limited", c.Request.URL.Path)
				assert.Equal(t, tt.seesToken, c.Token != nil)
				assert.Equal(t, tt.seesToken, c.ClientID == "app")
				c.Header.Set("X-RateLimit-Remaining", "7")
				return tt.guard
			}}
			var authorization []string
			if tt.header != "" {
				authorization = []string{tt.header}
			}
			res, body, reached := call(a.Require("read"), "/limited", authorization...)
			assert.Equal(t, 1, ran)
			assert.Equal(t, tt.status, res.StatusCode)
			assert.Equal(t, tt.status == 200, reached)
			assert.Equal(t, "7", res.Header.Get("X-RateLimit-Remaining"), "FS-26: on every answer")
			assert.Equal(t, tt.after, res.Header.Get("Retry-After"))
			assert.Equal(t, tt.challenge, res.Header.Get("WWW-Authenticate"))
			if tt.status == 429 {
				assert.Equal(t, `{"error":"temporarily_unavailable"}`, body)
			}
		})
	}
}

func TestRequireGuardsInOrder(t *testing.T) {
	var ran []string
	guard := func(name string, err error) resource.Guard {
		return func(context.Context, *resource.Call) error {
			ran = append(ran, name)
			return err
		}
	}
	a := api(verifierOf("live", live()))
	a.Guards = []resource.Guard{guard("one", nil), guard("two", &resource.Error{Code: resource.AccessDenied, Status: 403}), guard("three", nil)}
	res, _, _ := call(a.Require("scope that it lacks"), "/", "Bearer live")
	assert.Equal(t, 403, res.StatusCode)
	assert.Equal(t, []string{"one", "two"}, ran)
	assert.Empty(t, res.Header.Get("WWW-Authenticate"), "the guard's refusal, not that of the scopes")
}

func TestRequireGuardPanics(t *testing.T) {
	a := api(verifierOf("live", live()))
	a.Guards = []resource.Guard{func(context.Context, *resource.Call) error { panic("guard") }}
	assert.PanicsWithValue(t, "guard", func() { call(a.Require(), "/", "Bearer live") })
}
