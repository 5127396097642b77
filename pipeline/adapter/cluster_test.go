package adapter

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	klabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/fake"
	metafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
)

func metadataClient(t testing.TB, o objects) *metafake.FakeMetadataClient {
	t.Helper()
	scheme := metafake.NewTestScheme()
	require.NoError(t, metav1.AddMetaToScheme(scheme))
	return metafake.NewSimpleMetadataClient(scheme, o.runtimeObjects()...)
}

func lists(c *metafake.FakeMetadataClient) int {
	n := 0
	for _, a := range c.Actions() {
		if a.GetVerb() == "list" {
			n++
		}
	}
	return n
}

// TestListerPods: once the watch is complete no request reaches the API
// server, and pods come and go as it sees them.
func TestListerPods(t *testing.T) {
	t.Parallel()
	o := pods("ns/web-0", "ns/web-1", "ns/api-0", "other/web-0")
	for i := range o {
		o[i].Annotations = map[string]string{"big": "text"}
	}
	client := metadataClient(t, o)
	l, err := NewLister(ListerOptions{Client: client})
	require.NoError(t, err)
	web, err := klabels.Parse("app=web")
	require.NoError(t, err)
	ask := func() []string {
		names, err := l.ObjectNames(t.Context(), podResource(), "ns", web)
		require.NoError(t, err)
		return slices.Sorted(slices.Values(names.Names()))
	}
	require.Equal(t, []string{"web-0", "web-1"}, ask(), "listed before the watch is there")

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	require.Eventually(t, l.HasSynced, 10*time.Second, time.Millisecond)
	before := lists(client)
	require.Equal(t, []string{"web-0", "web-1"}, ask())

	gone := client.Resource(podResource()).Namespace("ns").Delete(t.Context(), "web-0", metav1.DeleteOptions{})
	require.NoError(t, gone)
	require.Eventually(t, func() bool { return len(ask()) == 1 }, 10*time.Second, time.Millisecond)
	require.Equal(t, before, lists(client))
	same := func() bool {
		first, err := l.ObjectNames(t.Context(), podResource(), "ns", web)
		require.NoError(t, err)
		second, err := l.ObjectNames(t.Context(), podResource(), "ns", web)
		require.NoError(t, err)
		return first == second
	}
	require.Eventually(t, same, 10*time.Second, time.Millisecond, "nothing changes: it is not looked for again")
	api := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "api-0", Labels: map[string]string{"app": "web"}}}
	require.NoError(t, client.Tracker().Update(podResource(), api, "ns"))
	require.Eventually(t, func() bool { return slices.Equal([]string{"api-0", "web-1"}, ask()) }, 10*time.Second, time.Millisecond)
	for _, o := range l.pods.GetStore().List() {
		require.NotContains(t, o.(*metav1.PartialObjectMetadata).Annotations, "big")
	}
	cancel()
	require.NoError(t, <-done)
}

// TestListerLists: other resources are listed and remembered for seconds.
func TestListerLists(t *testing.T) {
	t.Parallel()
	var o objects
	for _, name := range []string{"node-1", "node-2"} {
		o = append(o, metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"n": name}}})
	}
	client := metadataClient(t, o)
	fail := false
	client.PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return fail, nil, errors.New("forbidden")
	})
	now := testTime()
	l, err := NewLister(ListerOptions{Client: client, Now: func() time.Time { return now }})
	require.NoError(t, err)
	nodes := schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	f := func(selector string, want, wantLists int) {
		t.Helper()
		s, err := klabels.Parse(selector)
		require.NoError(t, err)
		names, err := l.ObjectNames(t.Context(), nodes, "", s)
		require.NoError(t, err)
		require.Len(t, names.Names(), want)
		require.Equal(t, wantLists, lists(client))
	}
	f("", 2, 1)
	f("", 2, 1)
	f("n=node-1", 1, 2)
	now = now.Add(listedFor)
	f("", 2, 3)
	require.Len(t, l.listed, 1, "what is too old is dropped")

	fail = true
	now = now.Add(listedFor)
	_, err = l.ObjectNames(t.Context(), nodes, "", klabels.Everything())
	require.ErrorContains(t, err, "list nodes: forbidden")
	fail = false
	f("", 2, 5)
}

// TestMapperLooksAgain: a resource that comes later is found, and a name that
// is none does not make every request ask the API server.
func TestMapperLooksAgain(t *testing.T) {
	t.Parallel()
	d := &fake.FakeDiscovery{Fake: &clienttesting.Fake{}}
	d.Resources = []*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{
		{Name: "pods", SingularName: "pod", Namespaced: true, Kind: "Pod"}}}}
	m := NewMapper(d).(*freshMapper)
	now := testTime()
	m.now = func() time.Time { return now }
	gvr, err := m.ResourceFor(schema.GroupVersionResource{Resource: "pod"})
	require.NoError(t, err)
	require.Equal(t, podResource(), gvr)

	widget := schema.GroupVersionResource{Resource: "widgets"}
	_, err = m.ResourceFor(widget)
	require.True(t, meta.IsNoMatchError(err))
	d.Resources = append(d.Resources, &metav1.APIResourceList{GroupVersion: "x.io/v1", APIResources: []metav1.APIResource{
		{Name: "widgets", SingularName: "widget", Kind: "Widget"}}})
	asked := len(d.Actions())
	_, err = m.ResourceFor(widget)
	require.True(t, meta.IsNoMatchError(err))
	require.Len(t, d.Actions(), asked)
	now = now.Add(lookAgain)
	gvr, err = m.ResourceFor(widget)
	require.NoError(t, err)
	require.Equal(t, "x.io", gvr.Group)
	res, err := newResources(m, testTime).get(schema.GroupResource{Resource: "widgets"})
	require.NoError(t, err)
	require.False(t, res.namespaced)
	require.Equal(t, "widget", res.singular)
}
