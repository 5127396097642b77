package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strata-metrics/strata/internal/serve"
)

// DashboardsPath is where the API of the dashboards is: the list itself, and
// below it each dashboard by its UID.
const DashboardsPath = "/api/strata/v1/dashboards"

const (
	// MaxDashboardBytes is the largest file that is read as a dashboard.
	MaxDashboardBytes = 4 << 20
	// maxDashboards is how many files of a directory are read.
	maxDashboards = 1000
	// maxDashboardDepth is how deep directories may lie in each other.
	maxDashboardDepth = 4
)

// DashboardsOptions say where dashboards come from.
type DashboardsOptions struct {
	// Builtin holds the files that belong to this program; nil for none.
	Builtin fs.FS
	// Dir is the user's directory, read again when its files change; empty for
	// none. A dashboard in it stands for the built-in one of the same UID.
	Dir string
	// Logger is told about files that cannot be shown, once for each change.
	Logger *slog.Logger
}

// Dashboards serves the list of the dashboards and each of them as JSON, in the
// envelope of the Prometheus HTTP API. Safe for concurrent use.
type Dashboards struct {
	sources []*dashboardSource // those that come later win
	logger  *slog.Logger

	mu sync.Mutex // guards the sources' files
}

// DashboardList is what the API answers to a request for the list.
type DashboardList struct {
	Dashboards []Dashboard `json:"dashboards"`
	// Problems are those of a directory as a whole.
	Problems []string `json:"problems"`
}

// dashboardSource is a tree of files and what was read of it.
type dashboardSource struct {
	fsys    fs.FS
	dir     string // "" for the built-in one
	files   map[string]dashboardFile
	problem string
}

// dashboardFile is what is known of a file for as long as it is not changed.
type dashboardFile struct {
	modified time.Time
	size     int64
	Dashboard
}

// NewDashboards makes the handler. A directory that is missing is no error
// here, since it may be mounted later; the list says so.
func NewDashboards(o DashboardsOptions) *Dashboards {
	d := &Dashboards{logger: o.Logger}
	if d.logger == nil {
		d.logger = slog.New(slog.DiscardHandler)
	}
	if o.Builtin != nil {
		d.sources = append(d.sources, &dashboardSource{fsys: o.Builtin})
	}
	if o.Dir != "" {
		d.sources = append(d.sources, &dashboardSource{fsys: os.DirFS(o.Dir), dir: o.Dir})
	}
	return d
}

// List reads what has changed and returns all dashboards by title, those that
// cannot be shown first.
func (d *Dashboards) List() DashboardList {
	d.mu.Lock()
	defer d.mu.Unlock()
	list, _ := d.list()
	return list
}

// list is List, with the source of each dashboard. Needs mu.
func (d *Dashboards) list() (DashboardList, map[string]*dashboardSource) {
	out := DashboardList{Dashboards: []Dashboard{}, Problems: []string{}}
	from := map[string]*dashboardSource{}
	at := map[string]int{}
	for _, s := range d.sources {
		s.refresh(d.logger)
		if s.problem != "" {
			out.Problems = append(out.Problems, s.problem)
		}
		for _, name := range sortedKeys(s.files) {
			f := s.files[name].Dashboard
			i, taken := at[f.UID]
			switch {
			case !taken:
				at[f.UID], from[f.UID] = len(out.Dashboards), s
				out.Dashboards = append(out.Dashboards, f)
			case out.Dashboards[i].Builtin && f.Error == nil:
				f.Note = "stands for the built-in dashboard " + out.Dashboards[i].File + ", which has the same uid"
				out.Dashboards[i], from[f.UID] = f, s
			default:
				f.Error = orSameUID(f, out.Dashboards[i])
				f.UID = free(at, f.UID)
				at[f.UID], from[f.UID] = len(out.Dashboards), s
				out.Dashboards = append(out.Dashboards, f)
			}
		}
	}
	slices.SortStableFunc(out.Dashboards, func(a, b Dashboard) int {
		if (a.Error != nil) != (b.Error != nil) {
			if a.Error != nil {
				return -1
			}
			return 1
		}
		return strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title))
	})
	return out, from
}

// orSameUID is the file's own fault, or that its UID is taken.
func orSameUID(f, first Dashboard) *DashboardError {
	if f.Error != nil {
		return f.Error
	}
	return &DashboardError{
		File:    f.File,
		Message: fmt.Sprintf("the uid %q is that of %s too, which is shown", f.UID, first.File),
		Repair:  "give one of them another uid",
	}
}

// free is a UID that is not taken yet, for an entry that cannot be shown.
func free(taken map[string]int, uid string) string {
	for n := 2; ; n++ {
		candidate := fmt.Sprintf("%s-%d", uid, n)
		if _, ok := taken[candidate]; !ok {
			return candidate
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// refresh reads the files that are new or changed and forgets those that left.
func (s *dashboardSource) refresh(logger *slog.Logger) {
	if s.dir == "" && s.files != nil {
		return // what is embedded never changes
	}
	names, err := dashboardNames(s.fsys, ".", 0, nil)
	s.problem = ""
	if err != nil {
		s.problem = fmt.Sprintf("directory %s of dashboards cannot be read: %v (repair: correct --page.dashboards, or its permissions)", s.dir, err)
	}
	if len(names) > maxDashboards {
		s.problem = fmt.Sprintf("directory %s has %d files of dashboards; the first %d are read (repair: move some elsewhere)", s.dir, len(names), maxDashboards)
		names = names[:maxDashboards]
	}
	files := make(map[string]dashboardFile, len(names))
	for _, name := range names {
		info, err := fs.Stat(s.fsys, name)
		if err != nil {
			continue // removed since it was listed
		}
		old, known := s.files[name]
		if known && old.modified.Equal(info.ModTime()) && old.size == info.Size() {
			files[name] = old
			continue
		}
		f := dashboardFile{modified: info.ModTime(), size: info.Size()}
		f.Dashboard, _, err = s.read(name)
		if err != nil {
			logger.Warn("dashboard is not shown", "dir", s.dir, "err", err)
			if known && old.Title != "" {
				// Its address stays the one that people have.
				f.UID = old.UID
			}
		}
		files[name] = f
	}
	s.files = files
}

// dashboardNames are the JSON files below a directory. Names that begin with a
// dot are left out: in a mounted ConfigMap those are the links' targets.
func dashboardNames(fsys fs.FS, dir string, depth int, names []string) ([]string, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return names, err
	}
	var errs []error
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := fs.Stat(fsys, name) // of a link, what it leads to
		switch {
		case err != nil:
			errs = append(errs, err)
		case info.IsDir() && depth < maxDashboardDepth:
			names, err = dashboardNames(fsys, name, depth+1, names)
			errs = append(errs, err)
		case info.Mode().IsRegular() && strings.EqualFold(path.Ext(name), ".json"):
			names = append(names, name)
		}
	}
	return names, errors.Join(errs...)
}

// read parses one file. What it returns is complete even with an error.
func (s *dashboardSource) read(name string) (Dashboard, json.RawMessage, error) {
	shown := name
	if s.dir != "" {
		shown = filepath.Join(s.dir, filepath.FromSlash(name))
	}
	content, err := readBounded(s.fsys, name)
	d := Dashboard{UID: uidOfFile(name), Tags: []string{}}
	var bare json.RawMessage
	if err == nil {
		d, bare, err = ParseDashboard(name, content)
	}
	d.File, d.Builtin = shown, s.dir == ""
	if err != nil {
		if !errors.As(err, &d.Error) {
			d.Error = &DashboardError{Message: err.Error(), Repair: "make the file readable, or remove it"}
		}
		d.Error.File, d.Title, err = shown, "", d.Error
	}
	return d, bare, err
}

func readBounded(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	content, err := io.ReadAll(io.LimitReader(f, MaxDashboardBytes+1))
	if err != nil {
		return nil, err
	}
	if len(content) > MaxDashboardBytes {
		return nil, &DashboardError{File: name, Message: fmt.Sprintf("the file is larger than %d MiB", MaxDashboardBytes>>20),
			Repair: "split the dashboard, or remove what is not part of it"}
	}
	return content, nil
}

// ServeHTTP answers GET of the list and of one dashboard.
func (d *Dashboards) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		serve.AnswerError(w, http.StatusMethodNotAllowed, "bad_data", errors.New("method not allowed"))
		return
	}
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), DashboardsPath)
	uid, err := url.PathUnescape(strings.Trim(rest, "/"))
	if !ok || err != nil {
		serve.AnswerError(w, http.StatusNotFound, "not_found", fmt.Errorf("no such address: %s", r.URL.Path))
		return
	}
	if uid == "" {
		serve.Answer(w, d.List())
		return
	}
	d.serveOne(w, uid)
}

// dashboardAnswer is one dashboard: what is known of its file, and the object.
type dashboardAnswer struct {
	Meta      Dashboard       `json:"meta"`
	Dashboard json.RawMessage `json:"dashboard"`
}

func (d *Dashboards) serveOne(w http.ResponseWriter, uid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list, from := d.list()
	i := slices.IndexFunc(list.Dashboards, func(f Dashboard) bool { return f.UID == uid })
	if i < 0 {
		serve.AnswerError(w, http.StatusNotFound, "not_found", fmt.Errorf("no dashboard has the uid %q", uid))
		return
	}
	meta := list.Dashboards[i]
	if meta.Error != nil {
		serve.AnswerError(w, http.StatusUnprocessableEntity, "bad_data", meta.Error)
		return
	}
	s := from[uid]
	name := meta.File
	if s.dir != "" {
		rel, err := filepath.Rel(s.dir, meta.File)
		if err != nil {
			serve.AnswerError(w, http.StatusInternalServerError, "internal", err)
			return
		}
		name = filepath.ToSlash(rel)
	}
	_, bare, err := s.read(name)
	if err != nil { // changed since it was listed
		serve.AnswerError(w, http.StatusUnprocessableEntity, "bad_data", err)
		return
	}
	serve.Answer(w, dashboardAnswer{Meta: meta, Dashboard: bare})
}
