package kubestate

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// fakeAPI is an API server of JSON objects: lists by pages, watches with or
// without a list in them, field selectors on what the exporter selects by.
type fakeAPI struct {
	*httptest.Server
	watchList bool // whether a watch can begin with a list

	mu       sync.Mutex
	version  int
	expired  int // versions up to this one are gone
	kinds    map[string]*fakeKind
	failures map[string]int // status of calls by "list pods" or "watch pods"
	down     bool           // every connection is cut
	requests []string       // "list pods", "watch pods", ...
	done     chan struct{}
}

type fakeKind struct {
	apiVersion, kind string
	objects          []map[string]any
	history          []fakeChange
	watchers         map[chan fakeChange]struct{}
}

type fakeChange struct {
	Type    watch.EventType `json:"type"`
	Object  map[string]any  `json:"object"`
	version int
	end     bool // ends the watch
}

func newFakeAPI(t testing.TB, watchList bool) *fakeAPI {
	t.Helper()
	f := &fakeAPI{watchList: watchList, version: 1, failures: make(map[string]int), done: make(chan struct{}), kinds: map[string]*fakeKind{}}
	for _, k := range kinds() {
		list := reflect.TypeOf(bindAll(k).newList()).Elem().Name()
		f.kinds[k.plural()] = &fakeKind{
			apiVersion: k.version().String(), kind: strings.TrimSuffix(list, "List"), watchers: make(map[chan fakeChange]struct{}),
		}
	}
	for plural, k := range map[string][2]string{
		"customresourcedefinitions": {"apiextensions.k8s.io/v1", "CustomResourceDefinition"},
		"boats":                     {"harbour.io/v1", "Boat"}, "piers": {"harbour.io/v1", "Pier"},
	} {
		f.kinds[plural] = &fakeKind{apiVersion: k[0], kind: k[1], watchers: make(map[chan fakeChange]struct{})}
	}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(func() {
		close(f.done)
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

func (f *fakeAPI) config() *rest.Config { return &rest.Config{Host: f.URL} }

// object gives a minimal object.
func object(namespace, name string, more map[string]any) map[string]any {
	o := map[string]any{"metadata": map[string]any{"namespace": namespace, "name": name, "uid": "uid-" + name}}
	for k, v := range more {
		o[k] = v
	}
	return o
}

func nameOf(o map[string]any) string {
	u := unstructured.Unstructured{Object: o}
	return u.GetNamespace() + "/" + u.GetName()
}

// put adds or changes an object, and tells the watches.
func (f *fakeAPI) put(plural string, o map[string]any) { f.change(plural, o, false, true) }

// load puts an object in as it is, with its version.
func (f *fakeAPI) load(plural string, o map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.kinds[plural]
	o["apiVersion"], o["kind"] = k.apiVersion, k.kind
	k.objects = append(k.objects, o)
}

// putQuietly changes an object so that only a list can tell.
func (f *fakeAPI) putQuietly(plural string, o map[string]any) { f.change(plural, o, false, false) }

// remove takes an object out, and tells the watches.
func (f *fakeAPI) remove(plural string, o map[string]any) { f.change(plural, o, true, true) }

func (f *fakeAPI) change(plural string, o map[string]any, gone, tell bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	k := f.kinds[plural]
	o["apiVersion"], o["kind"] = k.apiVersion, k.kind
	o = (&unstructured.Unstructured{Object: o}).DeepCopy().Object
	(&unstructured.Unstructured{Object: o}).SetResourceVersion(strconv.Itoa(f.version))
	i := slices.IndexFunc(k.objects, func(other map[string]any) bool { return nameOf(other) == nameOf(o) })
	event := watch.Added
	switch {
	case gone:
		event = watch.Deleted
		k.objects = slices.Delete(k.objects, i, i+1)
	case i >= 0:
		event = watch.Modified
		k.objects[i] = o
	default:
		k.objects = append(k.objects, o)
	}
	if tell {
		f.tell(k, fakeChange{Type: event, Object: o, version: f.version})
	}
}

func (f *fakeAPI) tell(k *fakeKind, c fakeChange) {
	if c.Type != watch.Error && !c.end {
		k.history = append(k.history, c)
	}
	for w := range k.watchers {
		w <- c
	}
}

// expire forgets the history: watches end with 410 Gone.
func (f *fakeAPI) expire(plural string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	f.expired = f.version
	f.tell(f.kinds[plural], fakeChange{Type: watch.Error, Object: status(http.StatusGone, metav1.StatusReasonExpired)})
}

// endWatches ends all watches as a proxy may.
func (f *fakeAPI) endWatches() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.kinds {
		f.tell(k, fakeChange{end: true})
	}
}

// fail makes calls fail with a status; 0 ends that.
func (f *fakeAPI) fail(call string, code int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures[call] = code
}

// setDown cuts all connections, or takes new ones again.
func (f *fakeAPI) setDown(down bool) {
	f.mu.Lock()
	f.down = down
	f.mu.Unlock()
	if down {
		f.CloseClientConnections()
	}
}

// count says how often something was asked for.
func (f *fakeAPI) count(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if r == call {
			n++
		}
	}
	return n
}

func status(code int, reason metav1.StatusReason) map[string]any {
	return map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": string(reason), "code": int64(code), "message": "no: " + string(reason),
	}
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func (f *fakeAPI) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	down := f.down
	f.mu.Unlock()
	if down {
		panic(http.ErrAbortHandler)
	}
	if r.URL.Path == "/version" {
		reply(w, http.StatusOK, map[string]string{"gitVersion": "v1.37.2"})
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) > 3 && parts[len(parts)-4] == "namespaces" {
		f.get(w, parts[len(parts)-2], parts[len(parts)-3]+"/"+parts[len(parts)-1])
		return
	}
	plural, namespace := parts[len(parts)-1], ""
	if len(parts) > 2 && parts[len(parts)-3] == "namespaces" {
		namespace = parts[len(parts)-2]
	}
	query := r.URL.Query()
	verb := "list "
	if query.Get("watch") != "" {
		verb = "watch "
	}
	f.mu.Lock()
	f.requests = append(f.requests, verb+plural)
	k, code := f.kinds[plural], f.failures[verb+plural]
	f.mu.Unlock()
	selector, err := fields.ParseSelector(query.Get("fieldSelector"))
	switch {
	case k == nil:
		reply(w, http.StatusNotFound, status(http.StatusNotFound, metav1.StatusReasonNotFound))
	case code == http.StatusForbidden:
		reply(w, code, status(code, metav1.StatusReasonForbidden))
	case code != 0:
		reply(w, code, status(code, metav1.StatusReasonInternalError))
	case err != nil:
		reply(w, http.StatusBadRequest, status(http.StatusBadRequest, metav1.StatusReasonBadRequest))
	case verb == "list ":
		f.list(w, k, query.Get("limit"), query.Get("continue"), selected(namespace, selector))
	default:
		f.watch(w, r, k, selected(namespace, selector))
	}
}

func (f *fakeAPI) get(w http.ResponseWriter, plural, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, "get "+plural)
	for _, o := range f.kinds[plural].objects {
		if nameOf(o) == name {
			reply(w, http.StatusOK, o)
			return
		}
	}
	reply(w, http.StatusNotFound, status(http.StatusNotFound, metav1.StatusReasonNotFound))
}

func selected(namespace string, selector fields.Selector) func(map[string]any) bool {
	return func(o map[string]any) bool {
		u := unstructured.Unstructured{Object: o}
		node, _, _ := unstructured.NestedString(o, "spec", "nodeName")
		set := fields.Set{"metadata.namespace": u.GetNamespace(), "metadata.name": u.GetName(), "spec.nodeName": node}
		return (namespace == "" || namespace == u.GetNamespace()) && selector.Matches(set)
	}
}

func (f *fakeAPI) list(w http.ResponseWriter, k *fakeKind, limit, from string, want func(map[string]any) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	items := []map[string]any{}
	for _, o := range k.objects {
		if want(o) {
			items = append(items, o)
		}
	}
	head := map[string]any{"resourceVersion": strconv.Itoa(f.version)}
	start, _ := strconv.Atoi(from)
	items = items[min(start, len(items)):]
	if most, _ := strconv.Atoi(limit); most > 0 && len(items) > most {
		items = items[:most]
		head["continue"] = strconv.Itoa(start + most)
	}
	reply(w, http.StatusOK, map[string]any{"apiVersion": k.apiVersion, "kind": k.kind + "List", "metadata": head, "items": items})
}

func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request, k *fakeKind, want func(map[string]any) bool) {
	query := r.URL.Query()
	initial := query.Get("sendInitialEvents") == "true"
	if initial && !f.watchList {
		reply(w, http.StatusUnprocessableEntity, status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid))
		return
	}
	from, _ := strconv.Atoi(query.Get("resourceVersion"))
	f.mu.Lock()
	if !initial && from < f.expired {
		f.mu.Unlock()
		reply(w, http.StatusGone, status(http.StatusGone, metav1.StatusReasonExpired))
		return
	}
	events := make(chan fakeChange, 1000)
	if initial {
		for _, o := range k.objects {
			events <- fakeChange{Type: watch.Added, Object: o}
		}
		events <- fakeChange{Type: watch.Bookmark, Object: f.bookmark(k)}
	} else {
		for _, c := range k.history {
			if c.version > from {
				events <- c
			}
		}
	}
	k.watchers[events] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(k.watchers, events)
		f.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	encoder := json.NewEncoder(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case <-f.done:
			return
		case c := <-events:
			if c.end {
				return
			}
			if c.Type == watch.Error || c.Type == watch.Bookmark || want(c.Object) {
				_ = encoder.Encode(c)
				w.(http.Flusher).Flush()
			}
		}
	}
}

func (f *fakeAPI) bookmark(k *fakeKind) map[string]any {
	return map[string]any{"apiVersion": k.apiVersion, "kind": k.kind, "metadata": map[string]any{
		"resourceVersion": strconv.Itoa(f.version), "annotations": map[string]any{metav1.InitialEventsAnnotationKey: "true"},
	}}
}

// logBook keeps the lines of a log.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) count(part string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), part)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func TestFakeAPIPages(t *testing.T) {
	t.Parallel()
	f := newFakeAPI(t, false)
	for i := range 5 {
		f.put("pods", object("a", fmt.Sprint("p", i), nil))
	}
	resp, err := http.Get(f.URL + "/api/v1/namespaces/a/pods?limit=2&continue=4")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var list struct{ Items []any }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&list))
	require.Len(t, list.Items, 1)
}
