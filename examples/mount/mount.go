// Package mount has the authorization server on the routers that Go programs
// use. Each function is to be copied; none needs anything else of this package.
package mount

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	echo4 "github.com/labstack/echo/v4"
	"github.com/labstack/echo/v5"

	"github.com/grantwell/oauth"
)

const wellKnown = "/.well-known/oauth-authorization-server"

// ServeMux is net/http's own.
func ServeMux(srv *oauth.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/oauth/", srv.Handler())
	mux.Handle(wellKnown, srv.Handler())
	return mux
}

// Chi is github.com/go-chi/chi/v5.
func Chi(srv *oauth.Server) http.Handler {
	r := chi.NewRouter()
	r.Handle("/oauth/*", srv.Handler())
	r.Handle(wellKnown, srv.Handler())
	return r
}

// Gin is github.com/gin-gonic/gin.
func Gin(srv *oauth.Server) http.Handler {
	r := gin.New()
	r.Any("/oauth/*path", gin.WrapH(srv.Handler()))
	r.Any(wellKnown, gin.WrapH(srv.Handler()))
	return r
}

// Echo is github.com/labstack/echo/v5.
func Echo(srv *oauth.Server) http.Handler {
	e := echo.New()
	e.Any("/oauth/*", echo.WrapHandler(srv.Handler()))
	e.Any(wellKnown, echo.WrapHandler(srv.Handler()))
	return e
}

// Echo4 is github.com/labstack/echo/v4.
func Echo4(srv *oauth.Server) http.Handler {
	e := echo4.New()
	e.Any("/oauth/*", echo4.WrapHandler(srv.Handler()))
	e.Any(wellKnown, echo4.WrapHandler(srv.Handler()))
	return e
}

// Routes mounts what the Config says, wherever it says it: also the endpoints of
// an issuer with a path, and its metadata outside that path (RFC 8414, section 3.1).
func Routes(srv *oauth.Server) http.Handler {
	mux := http.NewServeMux()
	for path, h := range srv.Routes() {
		mux.Handle(path, h)
	}
	return mux
}

// StripPrefix is for a part of a program that does not know where it is mounted.
// The handlers do not look at the path, so they do not miss what was stripped.
func StripPrefix(srv *oauth.Server) http.Handler {
	part := http.NewServeMux()
	part.Handle("/authorize", srv.AuthorizeHandler())
	part.Handle("/token", srv.TokenHandler())
	part.Handle("/revoke", srv.RevokeHandler())
	part.Handle("/introspect", srv.IntrospectHandler())
	part.Handle("/userinfo", srv.UserInfoHandler())

	mux := http.NewServeMux()
	mux.Handle("/oauth/", http.StripPrefix("/oauth", part))
	mux.Handle(wellKnown, srv.MetadataHandler())
	return mux
}

// Elsewhere has single handlers at paths of its own, which the Config names, and
// does not serve the others:
//
//	Endpoints: oauth.Endpoints{
//		Authorize: "/login", Token: "/api/v1/token", Revoke: "/api/v1/token/revoke",
//		Introspect: "-", UserInfo: "-",
//	},
func Elsewhere(srv *oauth.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/login", srv.AuthorizeHandler())
	mux.Handle("/api/v1/token", srv.TokenHandler())
	mux.Handle("/api/v1/token/revoke", srv.RevokeHandler())
	mux.Handle(wellKnown, srv.MetadataHandler())
	return mux
}
