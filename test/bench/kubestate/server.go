package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/client-go/kubernetes/scheme"
)

// apiServer serves lists by pages, and watches that can begin with a list, as a
// real one does, in protobuf or JSON.
type apiServer struct {
	maker     *maker
	watchList bool

	mu       sync.Mutex
	version  int
	objects  map[string][]runtime.Object
	watchers map[string][]chan runtime.Object
	restarts int
}

func newAPIServer(pods int, watchList bool) *apiServer {
	m := newMaker()
	s := &apiServer{maker: m, watchList: watchList, objects: m.cluster(pods), watchers: make(map[string][]chan runtime.Object), version: 1}
	for _, objects := range s.objects {
		for _, o := range objects {
			s.number(o)
		}
	}
	return s
}

// number gives an object the next version.
func (s *apiServer) number(o runtime.Object) {
	s.version++
	if m, err := meta.Accessor(o); err == nil {
		m.SetResourceVersion(strconv.Itoa(s.version))
	}
}

// ServeHTTP implements http.Handler.
func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/version" {
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		_ = json.NewEncoder(w).Encode(map[string]string{"gitVersion": "v1.37.2"})
		return
	}
	plural, query := path.Base(r.URL.Path), r.URL.Query()
	if s.objects[plural] == nil {
		http.NotFound(w, r)
		return
	}
	info := negotiate(r)
	var err error
	if query.Get("watch") != "" {
		err = s.watch(w, r, plural, info)
	} else {
		limit, _ := strconv.Atoi(query.Get("limit"))
		from, _ := strconv.Atoi(query.Get("continue"))
		err = s.list(w, plural, info, from, limit)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// negotiate takes protobuf where the client does.
func negotiate(r *http.Request) runtime.SerializerInfo {
	want := runtime.ContentTypeJSON
	if strings.Contains(r.Header.Get("Accept"), runtime.ContentTypeProtobuf) {
		want = runtime.ContentTypeProtobuf
	}
	info, _ := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), want) // both are there
	return info
}

// list writes a page.
func (s *apiServer) list(w io.Writer, plural string, info runtime.SerializerInfo, from, limit int) error {
	s.mu.Lock()
	objects, version := s.objects[plural], s.version
	end := len(objects)
	if limit > 0 {
		end = min(end, from+limit)
	}
	page := append([]runtime.Object(nil), objects[from:end]...)
	s.mu.Unlock()
	kind := page[0].GetObjectKind().GroupVersionKind()
	kind.Kind += "List"
	list, err := scheme.Scheme.New(kind)
	if err != nil {
		return err
	}
	if err := meta.SetList(list, page); err != nil {
		return err
	}
	list.GetObjectKind().SetGroupVersionKind(kind)
	head, err := meta.ListAccessor(list)
	if err != nil {
		return err
	}
	head.SetResourceVersion(strconv.Itoa(version))
	if end < len(objects) {
		head.SetContinue(strconv.Itoa(end))
	}
	if h, ok := w.(http.ResponseWriter); ok {
		h.Header().Set("Content-Type", info.MediaType)
	}
	return info.Serializer.Encode(list, w)
}

// watch sends changes until the client leaves.
func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, plural string, info runtime.SerializerInfo) error {
	begins := r.URL.Query().Get("sendInitialEvents") == "true"
	if begins && !s.watchList {
		w.WriteHeader(http.StatusBadRequest)
		return json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
			Reason: metav1.StatusReasonBadRequest, Code: http.StatusBadRequest, Message: "no list by watch",
		})
	}
	changes := make(chan runtime.Object, 1<<16)
	s.mu.Lock()
	s.watchers[plural] = append(s.watchers[plural], changes)
	initial, version := append([]runtime.Object(nil), s.objects[plural]...), s.version
	s.mu.Unlock()
	w.Header().Set("Content-Type", info.MediaType+";stream=watch")
	w.WriteHeader(http.StatusOK)
	encoder := streaming.NewEncoder(info.StreamSerializer.NewFrameWriter(w), info.StreamSerializer.Serializer)
	send := func(kind string, o runtime.Object) error {
		raw, err := runtime.Encode(info.Serializer, o)
		if err != nil {
			return err
		}
		return encoder.Encode(&metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: raw}})
	}
	flush := http.NewResponseController(w).Flush
	if begins {
		for _, o := range initial {
			if send("ADDED", o) != nil {
				return nil // the client left
			}
		}
		if send("BOOKMARK", bookmark(initial[0], version)) != nil {
			return nil
		}
	}
	for {
		if len(changes) == 0 && flush() != nil {
			return nil
		}
		select {
		case o := <-changes:
			if send("MODIFIED", o) != nil {
				return nil
			}
		case <-r.Context().Done():
			return nil
		}
	}
}

// bookmark ends the list that a watch began with.
func bookmark(like runtime.Object, version int) runtime.Object {
	o, err := scheme.Scheme.New(like.GetObjectKind().GroupVersionKind())
	if err != nil {
		panic(fmt.Sprintf("a kind without a type: %v", err))
	}
	o.GetObjectKind().SetGroupVersionKind(like.GetObjectKind().GroupVersionKind())
	if m, err := meta.Accessor(o); err == nil {
		m.SetResourceVersion(strconv.Itoa(version))
		m.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return o
}

// change lets a container of n pods, taken by chance, end and begin anew.
func (s *apiServer) change(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pods := s.objects["pods"]
	for _, i := range rand.Perm(len(pods))[:n] {
		pod, ok := pods[i].(*corev1.Pod)
		if !ok {
			continue
		}
		pods[i] = s.maker.restart(pod)
		s.number(pods[i])
		s.restarts++
		for _, w := range s.watchers["pods"] {
			w <- pods[i]
		}
	}
}
