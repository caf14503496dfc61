// Package grants has the grants of RFC 6749, one in each file. A server serves
// those that are listed in [oauth.Config].Grants and no others.
package grants
