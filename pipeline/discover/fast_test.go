package discover

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// podTarget is one target as the discovery of pods gives it.
func podTarget(namespace, kind, controller string, n int) model.LabelSet {
	return model.LabelSet{
		model.AddressLabel: model.LabelValue(fmt.Sprintf("10.0.0.%d:80", n)), metaNamespace: model.LabelValue(namespace),
		metaControllerKind: model.LabelValue(kind), metaControllerName: model.LabelValue(controller),
	}
}

func fastConfig(jobs ...string) func() *config.Config {
	c := &config.Config{}
	for _, j := range jobs {
		c.ScrapeConfigs = append(c.ScrapeConfigs, &config.ScrapeConfig{JobName: j,
			ScrapeInterval: model.Duration(15 * time.Second), ScrapeTimeout: model.Duration(10 * time.Second)})
	}
	return func() *config.Config { return c }
}

func hpaOf(name, kind, target string, metric autoscalingv2.MetricSpec) *autoscalingv2.HorizontalPodAutoscaler {
	h := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	h.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{Kind: kind, Name: target}
	h.Spec.Metrics = []autoscalingv2.MetricSpec{metric}
	return h
}

func podsMetric() autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Pods: &autoscalingv2.PodsMetricSource{}}
}

// intervals are those that the groups of a job say, in the order of targets.
func intervals(groups []*targetgroup.Group) string {
	var all []string
	for _, g := range groups {
		for _, t := range g.Targets {
			all = append(all, fmt.Sprintf("%s/%s", t[model.ScrapeIntervalLabel], t[model.ScrapeTimeoutLabel]))
		}
	}
	return strings.Join(all, " ")
}

// TestFast: the pods of what an HPA scales by scraped metrics are scraped more
// often, from when the HPA is there until it is gone, and no others.
func TestFast(t *testing.T) {
	t.Parallel()
	cpu := autoscalingv2.MetricSpec{Resource: &autoscalingv2.ResourceMetricSource{}}
	client := fake.NewClientset(hpaOf("web", "Deployment", "web", podsMetric()), hpaOf("cpu", "Deployment", "cpu", cpu))
	reg := prometheus.NewRegistry()
	f, err := NewFast(FastOptions{Client: client, Registry: reg})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(t, <-ended)
	}()
	in := make(chan map[string][]*targetgroup.Group)
	out := f.Targets(ctx, in, fastConfig("pods", "other"))
	groups := map[string][]*targetgroup.Group{
		"pods": {{Source: "a", Targets: []model.LabelSet{
			podTarget("shop", "ReplicaSet", "web-5d4f", 1), podTarget("shop", "ReplicaSet", "cpu-5d4f", 2),
			podTarget("other", "ReplicaSet", "web-5d4f", 3), podTarget("shop", "StatefulSet", "db", 4),
			podTarget("shop", "ReplicaSet", "web-api-5d4f", 5), {model.AddressLabel: "10.0.0.6:80"},
		}}},
		"other": {{Source: "b", Targets: []model.LabelSet{podTarget("shop", "Job", "web", 7)}}},
	}
	expect := func(want string) {
		t.Helper()
		for got := range out {
			if intervals(got["pods"]) == want {
				require.Equal(t, "/", intervals(got["other"]))
				return
			}
		}
	}
	in <- groups
	expect("5s/5s / / / / /")
	require.NotContains(t, groups["pods"][0].Targets[0], model.ScrapeIntervalLabel, "what the discovery holds is not changed")
	hpas := client.AutoscalingV2().HorizontalPodAutoscalers("shop")
	_, err = hpas.Create(ctx, hpaOf("db", "StatefulSet", "db", autoscalingv2.MetricSpec{External: &autoscalingv2.ExternalMetricSource{}}), metav1.CreateOptions{})
	require.NoError(t, err)
	expect("5s/5s / / 5s/5s / /")
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP strata_fast_extra_scrapes_per_second Scrapes that are made beyond what the jobs say.
# TYPE strata_fast_extra_scrapes_per_second gauge
strata_fast_extra_scrapes_per_second 0.2666666666666667
# HELP strata_fast_interval_seconds How often these targets are scraped.
# TYPE strata_fast_interval_seconds gauge
strata_fast_interval_seconds 5
# HELP strata_fast_targets Targets behind autoscalers that are scraped more often than their job says.
# TYPE strata_fast_targets gauge
strata_fast_targets 2
`)))
	_, err = hpas.Update(ctx, hpaOf("web", "Deployment", "web", cpu), metav1.UpdateOptions{})
	require.NoError(t, err)
	expect("/ / / 5s/5s / /")
	require.NoError(t, hpas.Delete(ctx, "db", metav1.DeleteOptions{}))
	expect("/ / / / / /")
}

// TestFastBudget: with more targets than the budget pays for, the interval
// grows, up to that of the job.
func TestFastBudget(t *testing.T) {
	t.Parallel()
	f := func(targets int, budget float64, want string) {
		t.Helper()
		fast, err := NewFast(FastOptions{Client: fake.NewClientset(), Budget: budget})
		require.NoError(t, err)
		fast.count(hpaOf("web", "Deployment", "web", podsMetric()), 1)
		g := &targetgroup.Group{Labels: model.LabelSet{metaNamespace: "shop", metaControllerKind: "ReplicaSet", metaControllerName: "web-1"}}
		for i := range targets {
			g.Targets = append(g.Targets, model.LabelSet{model.AddressLabel: model.LabelValue(fmt.Sprint(i))})
		}
		got := fast.apply(map[string][]*targetgroup.Group{"pods": {g}}, fastConfig("pods")())
		require.Equal(t, strings.TrimSpace(strings.Repeat(want+" ", targets)), intervals(got["pods"]))
	}
	f(3, 0, "5s/5s")
	f(30, 4.1, "5s/5s")
	f(30, 3.9, "7s500ms/7s500ms")
	f(30, 1.1, "10s/10s")
	f(30, 0.5, "12s500ms/10s")
	f(30, 0.1, "/")
}

func TestFastOptions(t *testing.T) {
	t.Parallel()
	_, err := NewFast(FastOptions{})
	require.Error(t, err)
	_, err = NewFast(FastOptions{Client: fake.NewClientset(), Interval: time.Millisecond})
	require.ErrorContains(t, err, "below 1s")
}
