// Package page serves the built-in web page of Strata: overview, dashboards,
// Explore, alerts, autoscaling, targets and status, on the origin of the HTTP
// API that the page asks.
//
// The source is TypeScript in web/. Its build is committed in dist and embedded
// here, so that Go alone builds Strata; `make verify` builds it again and
// compares. All data comes from the Prometheus HTTP API v1; Dashboards adds the
// list of dashboard files to it.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed dist
var dist embed.FS

// contentSecurityPolicy allows what the page is made of and nothing from
// elsewhere. Trusted types make every sink of markup an error, so that a label
// value can never become an element.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

const (
	// assetsDir holds the files with a hash of their content in their name.
	assetsDir = "assets/"
	indexName = "index.html"
	// baseTag stands in the built index; the prefix of the server goes there.
	baseTag = `<base href="/" />`
)

// Options say where the page lives.
type Options struct {
	// Prefix is the path under which a browser sees the page and the API, such
	// as /strata behind a reverse proxy; empty and / mean the root. Requests
	// reach the handler with this prefix already removed (http.StripPrefix).
	Prefix string
}

// file is one embedded file, ready to be written.
type file struct {
	contentType string
	etag        string
	immutable   bool
	body        []byte
	gzipped     []byte // nil where compression does not pay
}

// handler serves a fixed set of files; it is never written to once made.
type handler struct {
	files map[string]*file // by path without a leading slash
}

// Handler returns the page for the root of a server. It panics only where the
// build embedded in this binary is broken, which a test rules out.
func Handler() http.Handler {
	h, err := New(Options{})
	if err != nil {
		panic(err)
	}
	return h
}

// New returns the page's handler. Paths of other handlers (/api, /metrics, /-,
// /debug) get 404 here rather than the page, so that a client of a route that
// is not registered is not handed HTML. Safe for concurrent use.
func New(o Options) (http.Handler, error) {
	files, err := load(dist, "dist", basePath(o.Prefix))
	if err != nil {
		return nil, fmt.Errorf("page: embedded build: %w (repair: npm run build in web/)", err)
	}
	return &handler{files: files}, nil
}

// basePath is a prefix with one slash at each end.
func basePath(prefix string) string {
	trimmed := strings.Trim(prefix, "/")
	if trimmed == "" {
		return "/"
	}
	return "/" + trimmed + "/"
}

// load reads the build under root, and writes base into its index.
func load(fsys fs.FS, root, base string) (map[string]*file, error) {
	files := make(map[string]*file)
	err := fs.WalkDir(fsys, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(name, root+"/")
		if rel == indexName {
			if bytes.Count(body, []byte(baseTag)) != 1 {
				return fmt.Errorf("%s has no %s", name, baseTag)
			}
			body = bytes.Replace(body, []byte(baseTag), []byte(`<base href="`+html.EscapeString(base)+`" />`), 1)
		}
		f, err := newFile(rel, body)
		if err != nil {
			return err
		}
		files[rel] = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	if files[indexName] == nil {
		return nil, fmt.Errorf("%s/%s is missing: %w", root, indexName, fs.ErrNotExist)
	}
	return files, nil
}

func newFile(name string, body []byte) (*file, error) {
	contentType, err := typeOf(name)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	f := &file{
		contentType: contentType,
		etag:        hex.EncodeToString(sum[:12]),
		immutable:   strings.HasPrefix(name, assetsDir),
		body:        body,
	}
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if buf.Len() < len(body) {
		f.gzipped = buf.Bytes()
	}
	return f, nil
}

// typeOf names the content type of a file. The system's MIME table is not
// asked: it differs between machines, and nosniff makes a wrong answer fatal.
func typeOf(name string) (string, error) {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8", nil
	case ".js":
		return "text/javascript; charset=utf-8", nil
	case ".css":
		return "text/css; charset=utf-8", nil
	case ".svg":
		return "image/svg+xml", nil
	default:
		return "", fmt.Errorf("%s: no content type for this extension", name)
	}
}

// ServeHTTP writes a file of the build, the index for an address of the page
// itself, or 404.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	f := h.find(r.URL.Path)
	if f == nil {
		http.NotFound(w, r)
		return
	}
	f.write(w, r)
}

// find returns the file for a path, or nil.
func (h *handler) find(urlPath string) *file {
	name := strings.TrimPrefix(urlPath, "/")
	if f, ok := h.files[name]; ok {
		return f
	}
	if reserved(name) || path.Ext(name) != "" || strings.HasPrefix(name, assetsDir) {
		return nil
	}
	return h.files[indexName]
}

// reserved tells whether a path belongs to other handlers of the server.
func reserved(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case "api", "apis", "metrics", "-", "debug", "federate", "healthz", "livez", "readyz", "openapi":
		return true
	}
	return false
}

func (f *file) write(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("Content-Security-Policy", contentSecurityPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Add("Vary", "Accept-Encoding")
	if f.immutable {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		header.Set("Cache-Control", "no-cache")
	}
	body, etag := f.body, f.etag
	if f.gzipped != nil && acceptsGzip(r.Header.Values("Accept-Encoding")) {
		body, etag = f.gzipped, f.etag+"-gzip"
		header.Set("Content-Encoding", "gzip")
		header.Set("Content-Length", strconv.Itoa(len(body)))
		// A range of the compressed form is of no use to anyone.
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	}
	header.Set("ETag", `"`+etag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// acceptsGzip reads Accept-Encoding: gzip or *, unless refused with q=0.
func acceptsGzip(headers []string) bool {
	wild := false
	for _, part := range strings.Split(strings.Join(headers, ","), ",") {
		coding, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		coding = strings.ToLower(strings.TrimSpace(coding))
		if coding != "gzip" && coding != "*" {
			continue
		}
		allowed := true
		if q, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); ok {
			weight, err := strconv.ParseFloat(q, 64)
			allowed = err == nil && weight > 0
		}
		if coding == "gzip" {
			return allowed
		}
		wild = allowed
	}
	return wild
}
