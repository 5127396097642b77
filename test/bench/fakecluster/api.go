package fakecluster

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

// version is the resource version of everything: nothing changes.
const version = "1000"

const protobufType = "application/vnd.kubernetes.protobuf"

// api is the part of an API server that is asked for.
type api struct {
	cluster *Cluster
	mux     *http.ServeMux
	proto   *protobuf.Serializer
	decoder runtime.Decoder
}

func newAPI(c *Cluster) *api {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, authenticationv1.AddToScheme, authorizationv1.AddToScheme, metav1.AddMetaToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err) // types that are compiled in
		}
	}
	a := &api{
		cluster: c, mux: http.NewServeMux(), proto: protobuf.NewSerializer(scheme, scheme),
		decoder: serializer.NewCodecFactory(scheme).UniversalDeserializer(),
	}
	a.routes()
	return a
}

// ServeHTTP implements http.Handler. Who has no certificate is nobody, as in a
// cluster.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		a.fail(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized)
		return
	}
	a.mux.ServeHTTP(w, r)
}

func (a *api) routes() {
	whole := func(path string, object any) {
		a.mux.HandleFunc("GET "+path+"/{$}", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, object) })
		a.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, object) })
	}
	whole("/version", map[string]string{"major": "1", "minor": "37", "gitVersion": "v1.37.2"})
	whole("/api", metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	whole("/apis", metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{}})
	resource := func(name, singular, kind string, namespaced bool) metav1.APIResource {
		return metav1.APIResource{Name: name, SingularName: singular, Kind: kind, Namespaced: namespaced, Verbs: metav1.Verbs{"get", "list", "watch"}}
	}
	whole("/api/v1", metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: "v1",
		APIResources: []metav1.APIResource{
			resource("namespaces", "namespace", "Namespace", false), resource("nodes", "node", "Node", false),
			resource("pods", "pod", "Pod", true), resource("services", "service", "Service", true),
		},
	})
	a.mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", a.review)
	a.mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", a.review)
	a.mux.HandleFunc("GET /api/v1/nodes", a.collection(collection{
		count: a.cluster.o.Nodes,
		at:    func(i int) runtime.Object { return a.cluster.node(i) },
		list: func(items []runtime.Object) runtime.Object {
			l := &corev1.NodeList{TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: version}}
			for _, o := range items {
				l.Items = append(l.Items, *o.(*corev1.Node))
			}
			return l
		},
		empty: func() runtime.Object {
			return &corev1.Node{TypeMeta: metav1.TypeMeta{Kind: "Node", APIVersion: "v1"}, ObjectMeta: bookmark()}
		},
	}))
	a.mux.HandleFunc("GET /api/v1/pods", a.collection(collection{
		count: len(a.cluster.pods),
		at:    func(i int) runtime.Object { return a.cluster.pod(i) },
		list: func(items []runtime.Object) runtime.Object {
			l := &metav1.PartialObjectMetadataList{
				TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadataList", APIVersion: "meta.k8s.io/v1"},
				ListMeta: metav1.ListMeta{ResourceVersion: version},
			}
			for _, o := range items {
				l.Items = append(l.Items, *o.(*metav1.PartialObjectMetadata))
			}
			return l
		},
		empty: func() runtime.Object {
			return &metav1.PartialObjectMetadata{
				TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"}, ObjectMeta: bookmark(),
			}
		},
	}))
	a.delegation()
	a.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		a.fail(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	})
}

// delegation serves the authorities of clients.
func (a *api) delegation() {
	const path = "/api/v1/namespaces/kube-system/configmaps"
	at := func(int) runtime.Object {
		return &corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"},
			ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "extension-apiserver-authentication", ResourceVersion: version},
			Data: map[string]string{
				"client-ca-file": string(a.cluster.authority.PEM()), "requestheader-client-ca-file": string(a.cluster.authority.PEM()),
				"requestheader-allowed-names": `["front-proxy"]`, "requestheader-username-headers": `["X-Remote-User"]`,
				"requestheader-group-headers": `["X-Remote-Group"]`, "requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`,
			},
		}
	}
	a.mux.HandleFunc("GET "+path+"/extension-apiserver-authentication", func(w http.ResponseWriter, r *http.Request) { a.write(w, r, at(0)) })
	a.mux.HandleFunc("GET "+path, a.collection(collection{
		count: 1, at: at,
		list: func(items []runtime.Object) runtime.Object {
			return &corev1.ConfigMapList{
				TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: version},
				Items: []corev1.ConfigMap{*items[0].(*corev1.ConfigMap)},
			}
		},
		empty: func() runtime.Object {
			return &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, ObjectMeta: bookmark()}
		},
	}))
}

// bookmark is the metadata of the event that ends the first part of a watch.
func bookmark() metav1.ObjectMeta {
	return metav1.ObjectMeta{ResourceVersion: version, Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}}
}

// review lets everybody do everything and knows no tokens.
func (a *api) review(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		a.fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
		return
	}
	obj, _, err := a.decoder.Decode(body, nil, nil)
	switch review := obj.(type) {
	case *authorizationv1.SubjectAccessReview:
		review.Status.Allowed = true
		review.TypeMeta = metav1.TypeMeta{Kind: "SubjectAccessReview", APIVersion: "authorization.k8s.io/v1"}
	case *authenticationv1.TokenReview:
		review.TypeMeta = metav1.TypeMeta{Kind: "TokenReview", APIVersion: "authentication.k8s.io/v1"}
	}
	if err != nil {
		a.fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
		return
	}
	a.write(w, r, obj)
}

// collection is a list of objects that can be watched.
type collection struct {
	count int
	at    func(i int) runtime.Object
	list  func([]runtime.Object) runtime.Object
	empty func() runtime.Object // the object of a bookmark
}

func (a *api) collection(c collection) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") != "" {
			a.watch(w, r, c)
			return
		}
		items := make([]runtime.Object, c.count)
		for i := range items {
			items[i] = c.at(i)
		}
		a.write(w, r, c.list(items))
	}
}

// watch sends what there is, when that is asked for, and then nothing.
func (a *api) watch(w http.ResponseWriter, r *http.Request, c collection) {
	contentType := "application/json"
	if wantsProtobuf(r) {
		contentType = protobufType + ";stream=watch"
	}
	w.Header().Set("Content-Type", contentType)
	out := bufio.NewWriterSize(w, 64<<10)
	send := func(kind string, o runtime.Object) error { return a.event(out, wantsProtobuf(r), kind, o) }
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		for i := range c.count {
			if send("ADDED", c.at(i)) != nil {
				return
			}
		}
		if send("BOOKMARK", c.empty()) != nil {
			return
		}
	}
	if out.Flush() != nil || http.NewResponseController(w).Flush() != nil {
		return
	}
	limit := time.NewTimer(time.Hour)
	defer limit.Stop()
	select {
	case <-r.Context().Done():
	case <-limit.C:
	}
}

func (a *api) event(w io.Writer, proto bool, kind string, o runtime.Object) error {
	if !proto {
		return json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": o})
	}
	var object bytes.Buffer
	if err := a.proto.Encode(o, &object); err != nil {
		return err
	}
	event := metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: object.Bytes()}}
	frame, err := event.Marshal()
	if err != nil {
		return err
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(frame)))); err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}

func wantsProtobuf(r *http.Request) bool {
	first, _, _ := strings.Cut(r.Header.Get("Accept"), ",")
	return strings.HasPrefix(first, protobufType)
}

func (a *api) write(w http.ResponseWriter, r *http.Request, o runtime.Object) {
	status := http.StatusOK
	if r.Method == http.MethodPost {
		status = http.StatusCreated
	}
	if !wantsProtobuf(r) {
		writeJSON(w, status, o)
		return
	}
	w.Header().Set("Content-Type", protobufType)
	w.WriteHeader(status)
	_ = a.proto.Encode(o, w) // the client has gone
}

func (a *api) fail(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	writeJSON(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason, Message: fmt.Sprintf("the fake cluster answers %s", reason),
	})
}

func writeJSON(w http.ResponseWriter, status int, o any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(o) // the client has gone
}
