package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/client-go/kubernetes/scheme"
)

// apiServer serves lists by pages, and watches that can begin with a list, as a
// real one does, in protobuf or JSON.
type apiServer struct {
	maker     *maker
	watchList bool

	kinds map[string]schema.GroupVersionKind

	mu        sync.Mutex
	version   int
	objects   map[string][]runtime.Object
	journals  map[string]*journal
	snapshots map[string]snapshot // of the last list by pages
	changed   chan struct{}       // closed with each change
	restarts  int
}

func newAPIServer(pods int, watchList bool) *apiServer {
	m := newMaker()
	s := &apiServer{
		maker: m, watchList: watchList, objects: m.cluster(pods), version: 1, changed: make(chan struct{}),
		kinds: make(map[string]schema.GroupVersionKind), journals: make(map[string]*journal), snapshots: make(map[string]snapshot),
	}
	for plural, objects := range s.objects {
		s.kinds[plural], s.journals[plural] = objects[0].GetObjectKind().GroupVersionKind(), newJournal()
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
	if s.journals[plural] == nil {
		http.NotFound(w, r)
		return
	}
	info := negotiate(r)
	var err error
	if query.Get("watch") != "" {
		err = s.watch(w, r, plural, info)
	} else {
		limit, _ := strconv.Atoi(query.Get("limit"))
		err = s.list(w, plural, info, query.Get("continue"), limit)
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
func (s *apiServer) list(w io.Writer, plural string, info runtime.SerializerInfo, from string, limit int) error {
	page, version, next := s.page(plural, from, limit)
	kind := s.kinds[plural]
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
	head.SetContinue(next)
	if h, ok := w.(http.ResponseWriter); ok {
		h.Header().Set("Content-Type", info.MediaType)
	}
	return info.Serializer.Encode(list, w)
}

func status(reason metav1.StatusReason, code int32, message string) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Reason: reason, Code: code, Message: message,
	}
}

// refuse answers with a status.
func refuse(w http.ResponseWriter, s *metav1.Status) error {
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	w.WriteHeader(int(s.Code))
	return json.NewEncoder(w).Encode(s)
}

// watch sends changes until the client leaves or the watch is dropped.
func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, plural string, info runtime.SerializerInfo) error {
	begins := r.URL.Query().Get("sendInitialEvents") == "true"
	if begins && !s.watchList {
		return refuse(w, status(metav1.StatusReasonBadRequest, http.StatusBadRequest, "no list by watch"))
	}
	version, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	var initial []runtime.Object
	gone := false
	s.mu.Lock()
	j := s.journals[plural]
	cut := j.cut
	switch {
	case begins:
		initial, version = append(initial, s.objects[plural]...), s.version
	case j.gone || version < j.forgotten:
		j.gone = false
		j.refused++
		gone = true
	}
	inside := j.refused%2 == 0
	s.mu.Unlock()
	expired := status(metav1.StatusReasonExpired, http.StatusGone, "too old resource version")
	if gone && !inside {
		return refuse(w, expired)
	}
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
	if gone { // a real API server says it in either way
		_ = send("ERROR", expired)
		return nil
	}
	if begins {
		for _, o := range initial {
			if send("ADDED", o) != nil {
				return nil // the client left
			}
		}
		if send("BOOKMARK", s.bookmark(plural, version)) != nil {
			return nil
		}
	}
	s.follow(w, r, plural, version, cut, send)
	return nil
}

// follow sends the changes behind a version.
func (s *apiServer) follow(w http.ResponseWriter, r *http.Request, plural string, version int, cut <-chan struct{}, send func(string, runtime.Object) error) {
	flush := http.NewResponseController(w).Flush
	for {
		s.mu.Lock()
		events, changed := append([]event(nil), s.journals[plural].after(version)...), s.changed
		s.mu.Unlock()
		for _, e := range events {
			if send(e.kind, e.object) != nil {
				return
			}
			version = e.version
		}
		if flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-cut:
			panic(http.ErrAbortHandler) // the connection breaks in the midst
		case <-r.Context().Done():
			return
		}
	}
}

// bookmark ends the list that a watch began with.
func (s *apiServer) bookmark(plural string, version int) runtime.Object {
	o, err := scheme.Scheme.New(s.kinds[plural])
	if err != nil {
		panic(fmt.Sprintf("a kind without a type: %v", err))
	}
	o.GetObjectKind().SetGroupVersionKind(s.kinds[plural])
	if m, err := meta.Accessor(o); err == nil {
		m.SetResourceVersion(strconv.Itoa(version))
		m.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return o
}

func (s *apiServer) change(_ context.Context, n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range rand.Perm(len(s.objects["pods"]))[:n] {
		s.restart(i)
	}
	return nil
}

func (s *apiServer) begun() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restarts
}

// restart changes one pod. The lock is held.
func (s *apiServer) restart(i int) {
	pods := s.objects["pods"]
	pod, ok := pods[i].(*corev1.Pod)
	if !ok {
		return
	}
	pods[i] = s.maker.restart(pod)
	s.note("pods", "MODIFIED", pods[i])
	s.restarts++
}

// create adds a pod to a ReplicaSet taken by chance. The lock is held.
func (s *apiServer) create() {
	sets := s.objects["replicasets"]
	rs, ok := sets[rand.IntN(len(sets))].(*appsv1.ReplicaSet)
	if !ok {
		return
	}
	app := rs.OwnerReferences[0].Name
	pod := s.maker.pod(rs, app, strings.TrimPrefix(rs.Name, app+"-"), nodeName(rand.IntN(len(s.objects["nodes"]))), s.version)
	s.objects["pods"] = append(s.objects["pods"], pod)
	s.note("pods", "ADDED", pod)
}

// remove deletes a pod taken by chance. The lock is held.
func (s *apiServer) remove() {
	pods := s.objects["pods"]
	i, last := rand.IntN(len(pods)), len(pods)-1
	pod := pods[i].DeepCopyObject()
	pods[i] = pods[last]
	s.objects["pods"] = pods[:last:last]
	s.note("pods", "DELETED", pod)
}
