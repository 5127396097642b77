package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRouteByRules(t *testing.T) {
	t.Parallel()
	f := func(path, want string) {
		t.Helper()
		require.Equal(t, want, string(appendRoute(nil, path)))
	}
	f("/", "/")
	f("", "/")
	f("/healthz", "/healthz")
	f("/api/v1/orders", "/api/v1/orders")
	f("/api/v1/orders/", "/api/v1/orders/")
	f("/api/v1/orders/42", "/api/v1/orders/{id}")
	f("/api/v1/orders/42/items/7", "/api/v1/orders/{id}/items/{id}")
	f("/users/3fa85f64-5717-4562-b3fc-2c963f66afa6", "/users/{id}")
	f("/commits/9fceb02d", "/commits/{id}")
	f("/objects/507f1f77bcf86cd799439011", "/objects/{id}")
	f("/payments/pi_3MtwBwLkdIwHu7ix28a3tqPa", "/payments/{id}")
	f("/orders/order-20391", "/orders/{id}")
	f("/reports/2024-01-31", "/reports/{id}")
	f("/users/jo@example.org", "/users/{id}")
	f("/search/two words", "/search/{id}")
	f("/tags/größe", "/tags/{id}")
	f("/tags/\xff", "/tags/{id}")
	f("/hosts/10.1.2.3", "/hosts/{id}")
	f("/oauth2/token", "/oauth2/token")
	f("/sha256/utf8/v1beta1/s3", "/sha256/utf8/v1beta1/s3")
	f("/deadbeef/facade", "/deadbeef/facade")
	f("/index.html", "/index.html")
	f("/x/"+strings.Repeat("a", 50), "/x/{id}")
	f("/1/2/3/4/5/6/7/8/9/10", "/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{rest}")
	f(strings.Repeat("/"+strings.Repeat("a", 39), 8), strings.Repeat("/"+strings.Repeat("a", 39), 4)+"/{rest}")
}

func TestRoutePatterns(t *testing.T) {
	t.Parallel()
	r, err := newRouter([]string{
		"/api/orders/{id}", "/api/orders/new", "/files/{path...}", "/{tenant}/home", "/slash/", "/", "/api/orders/{id}/items/{item}",
	}, 10)
	require.NoError(t, err)
	f := func(path, want string) {
		t.Helper()
		require.Equal(t, want, r.route(path, 200))
	}
	f("/api/orders/7", "/api/orders/{id}")
	f("/api/orders/any-name-at-all", "/api/orders/{id}")
	f("/api/orders/new", "/api/orders/new")
	f("/api/orders/7/items/8", "/api/orders/{id}/items/{item}")
	f("/api/orders/", "/api/orders/")
	f("/api/orders", "/api/orders")
	f("/files/a/b/c", "/files/{path...}")
	f("/files/", "/files/{path...}")
	f("/acme/home", "/{tenant}/home")
	f("/slash/", "/slash/")
	f("/slash", "/slash")
	f("/", "/")
	f("/not/in/the/list/77", "/not/in/the/list/{id}")
	require.Equal(t, "/api/orders/{id}", r.route("/api/orders/7", 404), "a pattern needs no proof")
}

func TestRoutePatternBad(t *testing.T) {
	t.Parallel()
	f := func(pattern, want string) {
		t.Helper()
		_, err := newRouter([]string{pattern}, 10)
		require.ErrorContains(t, err, fmt.Sprintf("route pattern %q (--route.pattern): ", pattern))
		require.ErrorContains(t, err, want)
	}
	f("orders", "begins with /")
	f("", "begins with /")
	f("/a/{", "neither plain nor of the form {name}")
	f("/a/{}", "neither plain nor of the form {name}")
	f("/a/x{id}", "neither plain nor of the form {name}")
	f("/a/{id}{x}", "neither plain nor of the form {name}")
	f("/a/{rest...}/b", "more follows")
}

// The number of routes is bounded, and paths that the app does not know take
// no place.
func TestRouteLimit(t *testing.T) {
	t.Parallel()
	r, err := newRouter(nil, 3)
	require.NoError(t, err)
	for _, probe := range []string{"/wp-admin", "/.env", "/cgi-bin"} {
		require.Equal(t, otherRoute, r.route(probe, 404))
	}
	require.Equal(t, "/a", r.route("/a", 200))
	require.Equal(t, "/a", r.route("/a", 404), "known by now")
	require.Equal(t, "/b", r.route("/b", 500))
	require.Equal(t, "/c/{id}", r.route("/c/7", 403))
	require.Equal(t, otherRoute, r.route("/d", 200))
	require.Equal(t, "/c/{id}", r.route("/c/8", 200))
	known, full := r.counts()
	require.Equal(t, 3, known)
	require.EqualValues(t, 1, full)
}

func FuzzRoute(f *testing.F) {
	f.Add("/a/1", "/a/{b}")
	f.Add("//", "/{x...}")
	f.Add("/\xff/"+strings.Repeat("9", 300), "/")
	f.Fuzz(func(t *testing.T, path, pattern string) {
		made := string(appendRoute(nil, path))
		require.LessOrEqual(t, len(made), maxRoute+len("/"))
		for i := range len(made) {
			require.True(t, made[i] > ' ' && made[i] < 0x7f, "%q", made)
		}
		if tpl, err := parseTemplate(pattern); err == nil {
			tpl.matches(strings.Split(path, "/"))
		}
	})
}

func BenchmarkRoute(b *testing.B) {
	r, err := newRouter(nil, 10)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		r.route("/api/v1/orders/4711/items/3fa85f64-5717-4562-b3fc-2c963f66afa6", 200)
	}
}
