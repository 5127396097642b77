package main

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestAPIServer holds that client-go takes the server for one, in both formats.
func TestAPIServer(t *testing.T) {
	for _, format := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		s := newAPIServer(120, true)
		server := httptest.NewServer(s)
		client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: format}})
		require.NoError(t, err)
		pods, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{Limit: 50})
		require.NoError(t, err)
		require.Len(t, pods.Items, 50)
		rest, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{Continue: pods.Continue})
		require.NoError(t, err)
		require.Len(t, rest.Items, 70)

		yes := true
		w, err := client.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{SendInitialEvents: &yes})
		require.NoError(t, err)
		var kinds []watch.EventType
		for range 121 {
			kinds = append(kinds, (<-w.ResultChan()).Type)
		}
		require.Equal(t, watch.Added, kinds[0])
		require.Equal(t, watch.Bookmark, kinds[120])
		require.NoError(t, s.change(t.Context(), 1))
		require.Equal(t, watch.Modified, (<-w.ResultChan()).Type)
		w.Stop()
		server.Close()
	}
}
