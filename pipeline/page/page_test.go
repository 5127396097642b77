package page

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// assetPaths are the addresses that the index asks for, relative to its base.
func assetPaths(t *testing.T, index string) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile(`(?:src|href)="\./([^"]+\.[a-z]+)"`).FindAllStringSubmatch(index, -1) {
		out = append(out, m[1])
	}
	require.NotEmpty(t, out)
	return out
}

func get(t *testing.T, h http.Handler, path string, header map[string]string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(b)
}

func TestPaths(t *testing.T) {
	t.Parallel()
	h := Handler()
	for path, want := range map[string]int{
		"/":                        200,
		"/index.html":              200,
		"/targets":                 200,
		"/query?expr=up&range=1h":  200,
		"/graph?g0.expr=up":        200,
		"/explore":                 200,
		"/alerts":                  200,
		"/autoscaling":             200,
		"/dashboards/some-uid":     200,
		"/status":                  200,
		"/something/else":          200,
		"/icon.svg":                200,
		"/assets/index-missing.js": 404,
		"/assets/":                 404,
		"/assets/nothing":          404,
		"/favicon.ico":             404,
		"/api":                     404,
		"/api/v1/query":            404,
		"/apis/metrics.k8s.io":     404,
		"/metrics":                 404,
		"/-/healthy":               404,
		"/debug/pprof/":            404,
		"/../page.go":              404,
	} {
		resp := get(t, h, path, nil)
		require.Equal(t, want, resp.StatusCode, path)
		if want == 200 && path != "/icon.svg" {
			require.Contains(t, text(t, resp), `<main id="main"`, path)
		}
	}
}

func TestTypesAndCaching(t *testing.T) {
	t.Parallel()
	h := Handler()
	index := get(t, h, "/", nil)
	require.Equal(t, "text/html; charset=utf-8", index.Header.Get("Content-Type"))
	require.Equal(t, "no-cache", index.Header.Get("Cache-Control"))
	types := map[string]string{}
	for _, p := range assetPaths(t, text(t, index)) {
		resp := get(t, h, "/"+p, nil)
		require.Equal(t, 200, resp.StatusCode, p)
		require.NotEmpty(t, text(t, resp), p)
		types[p[strings.LastIndex(p, "."):]] = resp.Header.Get("Content-Type")
		require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"), p)
		if strings.HasPrefix(p, assetsDir) {
			require.Contains(t, resp.Header.Get("Cache-Control"), "immutable", p)
		}
	}
	require.Equal(t, map[string]string{
		".js":  "text/javascript; charset=utf-8",
		".css": "text/css; charset=utf-8",
		".svg": "image/svg+xml",
	}, types)
}

func TestNotModified(t *testing.T) {
	t.Parallel()
	h := Handler()
	plain, packed := get(t, h, "/", nil), get(t, h, "/", map[string]string{"Accept-Encoding": "gzip"})
	require.NotEmpty(t, plain.Header.Get("ETag"))
	require.NotEqual(t, plain.Header.Get("ETag"), packed.Header.Get("ETag"))
	again := get(t, h, "/", map[string]string{"If-None-Match": plain.Header.Get("ETag")})
	require.Equal(t, http.StatusNotModified, again.StatusCode)
	require.Empty(t, text(t, again))
	other := get(t, h, "/", map[string]string{"If-None-Match": `"other"`})
	require.Equal(t, http.StatusOK, other.StatusCode)
}

func TestGzip(t *testing.T) {
	t.Parallel()
	h := Handler()
	plain := text(t, get(t, h, "/", nil))
	for accept, want := range map[string]bool{
		"":                      false,
		"identity":              false,
		"gzip":                  true,
		"br, GZIP;q=0.5":        true,
		"*":                     true,
		"gzip;q=0, *":           false,
		"gzip; q=0":             false,
		"*;q=0":                 false,
		"gzip;q=broken":         false,
		"deflate, gzip;q=1.0,*": true,
	} {
		resp := get(t, h, "/", map[string]string{"Accept-Encoding": accept, "Range": "bytes=0-3"})
		require.Equal(t, want, resp.Header.Get("Content-Encoding") == "gzip", "Accept-Encoding: %q", accept)
		require.Equal(t, "Accept-Encoding", resp.Header.Get("Vary"))
		if !want {
			require.Equal(t, http.StatusPartialContent, resp.StatusCode)
			continue
		}
		zr, err := gzip.NewReader(resp.Body)
		require.NoError(t, err)
		body, err := io.ReadAll(zr)
		require.NoError(t, err)
		require.Equal(t, plain, string(body))
	}
}

// Parts that are loaded later must be as cacheable as what the index names.
func TestEveryAssetIsServed(t *testing.T) {
	t.Parallel()
	h := Handler()
	entries, err := fs.ReadDir(dist, "dist/assets")
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for _, e := range entries {
		resp := get(t, h, "/assets/"+e.Name(), nil)
		require.Equal(t, 200, resp.StatusCode, e.Name())
		require.Contains(t, resp.Header.Get("Cache-Control"), "immutable", e.Name())
	}
}

// The script is what a first view waits for.
func TestScriptStaysSmall(t *testing.T) {
	t.Parallel()
	h := Handler()
	var sum int
	for _, p := range assetPaths(t, text(t, get(t, h, "/", nil))) {
		sum += len(text(t, get(t, h, "/"+p, map[string]string{"Accept-Encoding": "gzip"})))
	}
	require.Less(t, sum, 100_000)
}

func TestMethods(t *testing.T) {
	t.Parallel()
	h := Handler()
	for method, want := range map[string]int{
		http.MethodHead: 200, http.MethodPost: 405, http.MethodPut: 405, http.MethodDelete: 405,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		require.Equal(t, want, w.Code, method)
		if method == http.MethodHead {
			require.Zero(t, w.Body.Len())
		} else {
			require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
		}
	}
}

// Nothing the page is made of may come from elsewhere, or run inline.
func TestNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	h := Handler()
	resp := get(t, h, "/", nil)
	policy := resp.Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.NotContains(t, policy, "unsafe")
	index := text(t, resp)
	require.NotRegexp(t, `(?i)(src|href)="(https?:)?//`, index)
	require.NotRegexp(t, `(?i)<script(?:[^>]*)>[^<]|<style|\sstyle=|\son[a-z]+=`, index)
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{
		"":         `<base href="/" />`,
		"/":        `<base href="/" />`,
		"/strata":  `<base href="/strata/" />`,
		"strata/":  `<base href="/strata/" />`,
		`/a/"><b>`: `<base href="/a/&#34;&gt;&lt;b&gt;/" />`,
	} {
		h, err := New(Options{Prefix: prefix})
		require.NoError(t, err)
		require.Contains(t, text(t, get(t, h, "/", nil)), want, prefix)
	}
}

func TestBrokenBuild(t *testing.T) {
	t.Parallel()
	index := &fstest.MapFile{Data: []byte("<html>" + baseTag)}
	for name, fsys := range map[string]fstest.MapFS{
		"no index":          {"dist/icon.svg": {Data: []byte("<svg/>")}},
		"no base":           {"dist/index.html": {Data: []byte("<html>")}},
		"unknown extension": {"dist/index.html": index, "dist/font.woff": {Data: []byte("x")}},
	} {
		_, err := load(fsys, "dist", "/")
		require.Error(t, err, name)
	}
	_, err := load(fstest.MapFS{"dist/icon.svg": {Data: []byte("<svg/>")}}, "dist", "/")
	require.ErrorIs(t, err, fs.ErrNotExist)
	files, err := load(fstest.MapFS{"dist/index.html": index}, "dist", "/x/")
	require.NoError(t, err)
	require.True(t, bytes.Contains(files["index.html"].body, []byte(`"/x/"`)))
}

func FuzzAcceptsGzip(f *testing.F) {
	for _, s := range []string{"", "gzip", "gzip;q=0", "*;q=0.1, gzip;q=0", "a;b;c,,;", "gzip;q=1e9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// Refusing gzip last must not depend on what stands after it.
		if acceptsGzip([]string{"gzip;q=0, " + s}) {
			t.Fatalf("gzip;q=0, %s: accepted", s)
		}
	})
}
