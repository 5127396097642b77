package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestBrokenWatch holds that a watch goes on where it was broken, or is told
// that it cannot, in both ways in which API servers say so.
func TestBrokenWatch(t *testing.T) {
	s := newAPIServer(100, false)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	require.NoError(t, err)
	pods := client.CoreV1().Pods("")

	page, err := pods.List(t.Context(), metav1.ListOptions{Limit: 60})
	require.NoError(t, err)
	var c churn
	for range 100 {
		c.change(s, 100)
	}
	rest, err := pods.List(t.Context(), metav1.ListOptions{Limit: 60, Continue: page.Continue})
	require.NoError(t, err)
	require.Len(t, rest.Items, 40, "a list by pages is of one moment")
	require.Equal(t, page.ResourceVersion, rest.ResourceVersion)

	from := metav1.ListOptions{ResourceVersion: page.ResourceVersion}
	w, err := pods.Watch(t.Context(), from)
	require.NoError(t, err)
	count := make(map[watch.EventType]int)
	for range 100 {
		count[(<-w.ResultChan()).Type]++
	}
	require.Equal(t, map[watch.EventType]int{watch.Added: c.creates, watch.Modified: c.updates, watch.Deleted: c.deletes}, count)
	s.drop("pods", true)
	_, open := <-w.ResultChan()
	require.False(t, open)
	_, err = pods.Watch(t.Context(), from)
	require.True(t, apierrors.IsResourceExpired(err), "%v", err)
	s.drop("pods", true)
	w, err = pods.Watch(t.Context(), from)
	require.NoError(t, err)
	e := <-w.ResultChan()
	require.Equal(t, watch.Error, e.Type)
	require.True(t, apierrors.IsResourceExpired(apierrors.FromObject(e.Object)))
	w.Stop()
}

// TestForgottenVersion holds that the journal is bounded.
func TestForgottenVersion(t *testing.T) {
	s := newAPIServer(100, false)
	first := s.version
	for range 2*kept + 1 {
		require.NoError(t, s.change(t.Context(), 1))
	}
	require.Len(t, s.journals["pods"].events, kept+1)
	recorder := httptest.NewRecorder()
	url := "/api/v1/pods?watch=1&resourceVersion="
	s.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, url+"1", nil))
	require.Equal(t, http.StatusGone, recorder.Code)
	body, err := io.ReadAll(recorder.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), "Expired")
	require.Less(t, first, s.journals["pods"].forgotten)
}

func TestDifference(t *testing.T) {
	for _, c := range []struct{ want, got, missing, added []string }{
		{[]string{"a", "b"}, []string{"a", "b"}, nil, nil},
		{[]string{"a", "b"}, []string{"b", "b", "c"}, []string{"a"}, []string{"b", "c"}},
		{nil, []string{"a"}, nil, []string{"a"}},
	} {
		missing, added := difference(c.want, c.got)
		require.Equal(t, c.missing, missing)
		require.Equal(t, c.added, added)
	}
	require.InDelta(t, 1.0, growthOf([]float64{5}), 0)
	require.InDelta(t, 2.0, growthOf([]float64{1, 10, 10, 20, 20}), 0)
	require.Equal(t, []string{"# HELP kube_a x", "# TYPE kube_a gauge", "kube_a 1"}, sorted([]byte("# HELP kube_a x\n# TYPE kube_a gauge\nkube_a 1\ngo_b 2\n")))
}
