package adapter

import (
	"testing"

	"github.com/stretchr/testify/require"
	klabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/strata-metrics/strata/pipeline/journal"
)

// TestJournal: what an autoscaler is told can be read afterwards, with what was
// left out and with the errors; what others ask is not kept.
func TestJournal(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	load(t, st, sample{queueOf("a", "web"), ago(10), 1}, sample{queueOf("b", "web"), ago(90), 2})
	const hpa = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
	j := journal.New(journal.Options{Autoscalers: []string{hpa}})
	a := newAdapter(t, Options{Querier: local(t, st), Lister: pods("ns/a", "ns/b"), Journal: j}, agedRules)
	ctx := request.WithUser(t.Context(), &user.DefaultInfo{Name: hpa})

	_, _ = a.GetMetricBySelector(t.Context(), "ns", klabels.Everything(), podMetric("queue"), klabels.Everything())
	require.Empty(t, j.Entries(journal.Filter{}), "nobody's question")

	app := klabels.SelectorFromSet(klabels.Set{"app": "a"})
	_, err := a.GetMetricBySelector(ctx, "ns", klabels.Everything(), podMetric("queue"), app)
	require.NoError(t, err) // no series has that label: no values
	_, err = a.GetMetricBySelector(ctx, "ns", klabels.Everything(), podMetric("queue"), klabels.Everything())
	require.NoError(t, err)
	_, err = a.GetMetricByName(ctx, types.NamespacedName{Namespace: "ns", Name: "b"}, podMetric("queue"), klabels.Everything())
	require.Error(t, err)
	_, err = a.GetExternalMetric(ctx, "ns", klabels.SelectorFromSet(klabels.Set{"pod": "a"}), provider.ExternalMetricInfo{Metric: "queue"})
	require.NoError(t, err)
	_, err = a.GetMetricByName(ctx, types.NamespacedName{Namespace: "ns", Name: "b"}, podMetric("unknown"), klabels.Everything())
	require.Error(t, err)

	got := j.Entries(journal.Filter{})
	for _, e := range got {
		require.Equal(t, testTime(), e.Time)
		require.Equal(t, hpa, e.Requester)
	}
	pods := journal.Question{API: journal.Custom, Namespace: "ns", Resource: "pods", Metric: "queue"}
	selected, one, none := pods, pods, pods
	selected.MetricSelector = "app=a"
	one.Object, none.Object, none.Metric = "b", "b", "unknown"
	fresh := journal.Value{Object: "a", Value: 1, Time: ago(10).Local()}
	old := journal.Value{Object: "b", Value: 2, Time: ago(90).Local(), Stale: true}
	f := func(i int, q journal.Question, rule, err string, values ...journal.Value) {
		t.Helper()
		require.Equal(t, q, got[i].Question)
		require.Equal(t, rule, got[i].Rule)
		require.ElementsMatch(t, values, got[i].Values)
		if err == "" {
			require.Empty(t, got[i].Error)
		}
		require.Contains(t, got[i].Error, err)
	}
	require.Len(t, got, 5)
	f(0, selected, "", "")
	f(1, pods, "rules[0]", "", fresh, old)
	f(2, one, "rules[0]", "samples are too old", old)
	f(3, journal.Question{API: journal.External, Namespace: "ns", Metric: "queue", MetricSelector: "pod=a"}, "externalRules[0]", "",
		journal.Value{Value: 1, Time: ago(10).Local()})
	f(4, none, "", "unknown")
}
