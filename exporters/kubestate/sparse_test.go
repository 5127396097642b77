package kubestate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// bindAs binds a kind with sparse sets of states or without.
func bindAs(k kind, sparse bool) *bound {
	return k.bind(settings{show: func(declaration) bool { return true }, sparse: sparse})
}

// TestSparseStates holds that sets of states lose their zeros and nothing
// else, and how many series of 10,000 pods that is.
func TestSparseStates(t *testing.T) {
	t.Parallel()
	lines := func(sparse bool, k kind, objects ...runtime.Object) (series []string) {
		for line := range strings.Lines(bodyOf(t, bindAs(k, sparse), objects...)) {
			if line[0] != '#' {
				series = append(series, line)
			}
		}
		return series
	}
	pod, job := benchPod(1), &batchv1.Job{}
	job.Status.Failed = 1
	job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: "True", Reason: "Evicted"}}
	for _, f := range []struct {
		kind   kind
		object runtime.Object
		sets   []string
	}{
		{pods(), pod, []string{"kube_pod_status_phase{", "kube_pod_status_qos_class{", "kube_pod_status_ready{", "kube_pod_status_scheduled{"}},
		{jobs(), job, []string{"kube_job_failed{", "kube_job_status_failed{"}},
	} {
		full, sparse := lines(false, f.kind, f.object), lines(true, f.kind, f.object)
		want := slices.DeleteFunc(slices.Clone(full), func(line string) bool {
			return strings.HasSuffix(line, " 0\n") && slices.ContainsFunc(f.sets, func(set string) bool { return strings.HasPrefix(line, set) })
		})
		require.Equal(t, want, sparse)
		require.Less(t, len(sparse), len(full))
	}
	full, sparse := len(lines(false, pods(), pod)), len(lines(true, pods(), pod))
	require.Equal(t, []int{51, 41}, []int{full, sparse}, "the series of a pod, as docs/compatibility.md says")
}

// moment is what is true of the pod and of the node at a scrape.
type moment struct {
	phase corev1.PodPhase
	ready corev1.ConditionStatus
	node  corev1.ConditionStatus
}

// scraped loads the bodies of some moments, one a minute, as a server would
// have them.
func scraped(t *testing.T, sparse bool, moments []moment) (ask func(query string) string) {
	t.Helper()
	podKind, nodeKind := bindAs(pods(), sparse), bindAs(nodes(), sparse)
	series := make(map[string][]string)
	for i, m := range moments {
		pod := benchPod(1)
		pod.Name, pod.Status.Phase = "p", m.phase
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: m.ready}}
		node := &corev1.Node{}
		node.Name = "n"
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: m.node}}
		body := bodyOf(t, podKind, pod) + bodyOf(t, nodeKind, node)
		now := make(map[string]string)
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, "kube_pod_status") || strings.HasPrefix(line, "kube_pod_info") || strings.HasPrefix(line, "kube_node_") {
				at := strings.LastIndexByte(line, ' ')
				now[line[:at]] = strings.TrimSpace(line[at:])
			}
		}
		for s := range now {
			if series[s] == nil {
				series[s] = slices.Repeat([]string{"_"}, i)
			}
		}
		for s, values := range series {
			if now[s] == "" {
				now[s] = "stale"
			}
			series[s] = append(values, now[s])
		}
	}
	var load strings.Builder
	load.WriteString("load 1m\n")
	for _, s := range slices.Sorted(maps.Keys(series)) {
		fmt.Fprintf(&load, "  %s %s\n", s, strings.Join(series[s], " "))
	}
	storage := promqltest.LoadedStorage(t, load.String())
	t.Cleanup(func() { _ = storage.Close() })
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	return func(query string) string {
		t.Helper()
		q, err := engine.NewInstantQuery(context.Background(), storage, nil, query, time.Unix(int64(60*(len(moments)-1)), 0).UTC())
		require.NoError(t, err, query)
		defer q.Close()
		result := q.Exec(context.Background())
		require.NoError(t, result.Err, query)
		lines := strings.Split(result.String(), "\n")
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
}

// TestQueriesOfSparseStates holds what docs/compatibility.md says of the
// queries of public dashboards and alerts: each is asked of the same history
// with and without sparse sets.
func TestQueriesOfSparseStates(t *testing.T) {
	t.Parallel()
	const yes, no = corev1.ConditionTrue, corev1.ConditionFalse
	moments := []moment{
		{corev1.PodPending, no, yes}, {corev1.PodRunning, no, no}, {corev1.PodRunning, yes, yes}, {corev1.PodRunning, yes, no}, {corev1.PodRunning, no, no},
	}
	full, sparse := scraped(t, false, moments), scraped(t, true, moments)
	goesOn := func(query string) {
		t.Helper()
		require.NotEmpty(t, full(query), query)
		require.Equal(t, full(query), sparse(query), query)
	}
	goesOn(`kube_pod_status_phase{phase=~"Pending|Running"} == 1`)
	goesOn(`kube_pod_status_phase > 0`)
	goesOn(`sum(kube_pod_status_phase{phase="Running"})`)
	goesOn(`sum by (phase) (kube_pod_status_phase) > 0`)
	goesOn(`max by (namespace, pod) (kube_pod_status_phase{phase=~"Pending|Running"} == 1)`)
	goesOn(`kube_pod_status_phase * on (namespace, pod) group_left () max by (namespace, pod) (kube_pod_status_ready{condition="false"} == 1) == 1`)
	goesOn(`count(kube_node_status_condition{condition="Ready", status="false"} == 1)`)

	// 0 becomes nothing, which or vector(0) turns back.
	needsZero := func(query string) {
		t.Helper()
		require.NotEmpty(t, full(query), query)
		require.Empty(t, sparse(query), query)
		require.Equal(t, full(query), sparse(query+" or vector(0)"), query)
	}
	needsZero(`sum(kube_pod_status_phase{phase="Pending"})`)
	needsZero(`sum(kube_node_status_condition{condition="Ready", status="true"})`)

	// These answer something else, without a word. The other query is right of
	// both, and says the same objects.
	who := func(query string) string { return "group by (namespace, pod, node) (" + query + ")" }
	instead := func(query, other string) {
		t.Helper()
		require.NotEqual(t, full(query), sparse(query), query)
		require.Equal(t, full(who(query)), full(who(other)), other)
		require.Equal(t, full(who(query)), sparse(who(other)), other)
	}
	instead(`kube_node_status_condition{condition="Ready", status="true"} == 0`,
		`kube_node_status_condition{condition="Ready", status!="true"} == 1`)
	instead(`kube_pod_status_phase{phase="Running"} == 1 and on (namespace, pod) kube_pod_status_ready{condition="true"} == 0`,
		`kube_pod_status_phase{phase="Running"} == 1 and on (namespace, pod) kube_pod_status_ready{condition!="true"} == 1`)
	instead(`sum by (node) (changes(kube_node_status_condition{condition="Ready", status="true"}[5m])) > 2`,
		`sum by (node) (changes((sum by (node) (kube_node_status_condition{condition="Ready", status="true"}) or 0 * group by (node) (kube_node_info))[5m:1m])) > 2`)
	instead(`max by (node) (kube_node_status_condition{condition="Ready", status="true"})`,
		`max by (node) (kube_node_status_condition{condition="Ready", status="true"}) or 0 * group by (node) (kube_node_info)`)
	instead(`min_over_time(kube_pod_status_phase{phase="Pending"}[5m]) > 0`,
		`count_over_time((kube_pod_status_phase{phase="Pending"} == 1)[5m:1m]) >= 5`)
	instead(`avg_over_time(kube_node_status_condition{condition="Ready", status="true"}[5m]) < 0.9`,
		`sum by (node) (sum_over_time(kube_node_status_condition{condition="Ready", status="true"}[5m])) / sum by (node) (count_over_time(kube_node_info[5m])) < 0.9`)
	instead(`absent(kube_pod_status_phase{pod="p", phase="Failed"})`, `absent(kube_pod_info{pod="p"}) and absent(kube_pod_status_phase{pod="p"})`)
	instead(`count(kube_pod_status_phase{phase="Pending"})`, `count(kube_pod_info)`)
}
