package explain

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/strata-metrics/strata/pipeline/journal"
)

func now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

func ago(seconds int) time.Time { return now().Add(-time.Duration(seconds) * time.Second) }

// web is an HPA on requests a second of its pods, in the form of kubectl.
const web = `
metadata: {namespace: shop, name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 10
  metrics:
  - type: Pods
    pods: {metric: {name: http_requests_per_second}, target: {type: AverageValue, averageValue: "10"}}
status:
  currentReplicas: 3
  desiredReplicas: 4
  lastScaleTime: "2026-06-01T11:50:00Z"
  currentMetrics:
  - type: Pods
    pods: {metric: {name: http_requests_per_second}, current: {averageValue: 12500m}}
  conditions:
  - {type: AbleToScale, status: "True", reason: SucceededRescale, message: "the HPA controller was able to update the target scale to 4", lastTransitionTime: "2026-06-01T11:00:00Z"}
  - {type: ScalingActive, status: "True", reason: ValidMetricFound, message: "fine", lastTransitionTime: "2026-06-01T11:00:00Z"}
  - {type: ScalingLimited, status: "False", reason: DesiredWithinRange, message: "within", lastTransitionTime: "2026-06-01T11:00:00Z"}
`

// hpa is the object of a text, changed by others as kubectl patch would: a list
// takes the place of the one before.
func hpa(t *testing.T, text string, changes ...string) *autoscalingv2.HorizontalPodAutoscaler {
	t.Helper()
	object, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err)
	for _, c := range changes {
		patch, err := yaml.YAMLToJSON([]byte(c))
		require.NoError(t, err)
		object, err = jsonpatch.MergePatch(object, patch)
		require.NoError(t, err)
	}
	h := &autoscalingv2.HorizontalPodAutoscaler{}
	require.NoError(t, yaml.UnmarshalStrict(object, h))
	return h
}

// cluster has an HPA, some events and the scale of the Deployment web.
func cluster(objects ...runtime.Object) *fake.Clientset {
	c := fake.NewClientset(objects...)
	c.PrependReactor("get", "deployments", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "scale" {
			return false, nil, nil
		}
		return true, &autoscalingv1.Scale{Status: autoscalingv1.ScaleStatus{Selector: "app=web,track in (stable)"}}, nil
	})
	return c
}

func event(seconds int, object, message string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "shop", Name: message},
		InvolvedObject: corev1.ObjectReference{Kind: "HorizontalPodAutoscaler", Namespace: "shop", Name: object},
		LastTimestamp:  metav1.NewTime(ago(seconds)), Type: "Normal", Reason: "SuccessfulRescale", Message: message, Count: 1,
	}
}

// history is a store with the same points for every expression.
type history struct {
	points []promql.FPoint
	err    error
}

func (h history) Range(context.Context, string, time.Time, time.Time, time.Duration) (promql.Matrix, annotations.Annotations, error) {
	return promql.Matrix{{Metric: labels.EmptyLabels(), Floats: h.points}}, nil, h.err
}

func explainer(t *testing.T, o Options) *Explainer {
	t.Helper()
	o.Now = now
	x, err := New(o)
	require.NoError(t, err)
	return x
}

// TestHPA: the object, its answers, its events and its history come together,
// each of this autoscaler and of the time that was asked for.
func TestHPA(t *testing.T) {
	t.Parallel()
	j := journal.New(journal.Options{})
	pods := journal.Question{API: journal.Custom, Namespace: "shop", Resource: "pods", Metric: "http_requests_per_second", Selector: "app=web,track in (stable)"}
	record := func(q journal.Question, seconds int, err string, values ...journal.Value) {
		j.Record(&journal.Entry{Time: ago(seconds), Question: q, Rule: "rules[0]", Error: err, Values: values})
	}
	value := func(object string, v float64, age int, stale bool) journal.Value {
		return journal.Value{Object: object, Value: v, Time: ago(age), Stale: stale}
	}
	record(pods, 7200, "")
	record(pods, 30, "", value("web-1", 20, 33, false), value("web-2", 17.5, 38, false), value("web-3", 1, 300, true))
	other, withSelector := pods, pods
	other.Selector, withSelector.MetricSelector = "app=other", "code=500"
	record(other, 20, "")
	record(withSelector, 20, "")

	point := func(seconds int, v float64) promql.FPoint { return promql.FPoint{T: ago(seconds).UnixMilli(), F: v} }
	x := explainer(t, Options{
		Client:  cluster(hpa(t, web), event(600, "web", "New size: 3"), event(9000, "web", "long ago"), event(60, "other", "not mine")),
		Journal: j, History: history{points: []promql.FPoint{point(900, 2), point(600, 3), point(300, 3), point(0, 4)}},
	})
	got, err := x.HPA(t.Context(), "shop", "web", ago(3600))
	require.NoError(t, err)
	require.Empty(t, got.Notes)
	require.Equal(t, []string{
		"Deployment/web has 3 replicas and is to have 4 (between 2 and 10); it was last changed at 11:50:00Z.",
		"http_requests_per_second is 12.5 a pod, the target 10 a pod: 125 % of it, which asks for 4 replicas.",
		"That came from 2 values at 11:59:30Z, from samples up to 8s old, by rules[0].",
		"1 object left out, since the samples are older than maxAge: web-3.",
	}, got.Why)
	require.Equal(t, []Answer{{Time: ago(30), Value: 37.5, Objects: 2, Left: []string{"web-3"}, AgeSeconds: 8, Rule: "rules[0]"}}, got.Metrics[0].Answers)
	require.EqualValues(t, 4, *got.Metrics[0].Asks)
	require.Len(t, got.Events, 1)
	require.Equal(t, "New size: 3", got.Events[0].Message)
	require.Len(t, got.Replicas, 3, "only where it changes")
	require.EqualValues(t, 4, got.Replicas[2].Current)
	require.Len(t, got.Conditions, 3)
}

// TestWhy: each state of an HPA has its sentences.
func TestWhy(t *testing.T) {
	t.Parallel()
	f := func(change string, want ...string) {
		t.Helper()
		got, err := explainer(t, Options{Client: cluster(hpa(t, web, change))}).HPA(t.Context(), "shop", "web", ago(3600))
		require.NoError(t, err)
		for _, w := range want {
			require.Contains(t, got.Why, w)
		}
	}
	f(`status: {currentReplicas: 3, desiredReplicas: 3, currentMetrics: [{type: Pods, pods: {metric: {name: http_requests_per_second}, current: {averageValue: "9.5"}}}]}`,
		"Deployment/web has 3 replicas, as it is to have (between 2 and 10); it was last changed at 11:50:00Z.",
		"http_requests_per_second is 9.5 a pod, the target 10 a pod: near enough to it for no change.")
	f(`status: {conditions: [{type: ScalingActive, status: "False", reason: FailedGetPodsMetric, message: "unable to get metric: too old."}], currentMetrics: []}`,
		"It does not act on its metrics (FailedGetPodsMetric): unable to get metric: too old.",
		"http_requests_per_second has no value yet.")
	f(`status: {currentReplicas: 0, desiredReplicas: 0, conditions: [{type: ScalingActive, status: "False", reason: ScalingDisabled}]}`,
		"It is off: Deployment/web has 0 replicas, which turns autoscaling off until somebody sets another number.")
	f(`status: {conditions: []}`, "The HPA controller has not looked at it yet.")
	f(`{spec: {behavior: {scaleDown: {stabilizationWindowSeconds: 60}}}, status: {conditions: [{type: AbleToScale, status: "True", reason: ScaleDownStabilized}]}}`,
		"It waits: within the last 1m0s (its stabilization window) its metrics asked for more replicas.")
	f(`status: {conditions: [{type: AbleToScale, status: "True", reason: ScaleDownStabilized}]}`,
		"It waits: within the last 5m0s (its stabilization window) its metrics asked for more replicas.")
	f(`{spec: {behavior: {scaleUp: {stabilizationWindowSeconds: 30}}}, status: {conditions: [{type: AbleToScale, status: "True", reason: ScaleUpStabilized}]}}`,
		"It waits: within the last 30s (its stabilization window) its metrics asked for fewer replicas.")
	f(`status: {conditions: [{type: AbleToScale, status: "False", reason: FailedGetScale, message: "no such deployment"}]}`,
		"It cannot scale (FailedGetScale): no such deployment.")
	f(`status: {conditions: [{type: ScalingLimited, status: "True", reason: TooManyReplicas}]}`,
		"It is held at maxReplicas, 10: raise it if more is to be allowed.")
	f(`status: {conditions: [{type: ScalingLimited, status: "True", reason: TooFewReplicas}]}`, "It is held at minReplicas, 2.")
	f(`status: {conditions: [{type: ScalingLimited, status: "True", reason: ScaleUpLimit, message: "the desired count is increasing faster than the maximum rate"}]}`,
		"A policy of its behavior limits how fast it goes: the desired count is increasing faster than the maximum rate.")
	f(`
spec:
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
  - {type: External, external: {metric: {name: queue, selector: {matchLabels: {name: mail}}}, target: {type: Value, value: "100"}}}
  - {type: Object, object: {metric: {name: rate}, describedObject: {apiVersion: v1, kind: Service, name: web}, target: {type: Value, value: "8"}}}
  - {type: ContainerResource, containerResource: {name: memory, container: app, target: {type: AverageValue, averageValue: 1k}}}
  behavior: {scaleDown: {tolerance: 300m}}
status:
  currentMetrics:
  - {type: Resource, resource: {name: cpu, current: {averageUtilization: 30}}}
  - {type: External, external: {metric: {name: queue, selector: {matchLabels: {name: other}}}, current: {value: "1"}}}
  - {type: External, external: {metric: {name: queue, selector: {matchLabels: {name: mail}}}, current: {value: "200"}}}
  - {type: Object, object: {metric: {name: rate}, describedObject: {apiVersion: v1, kind: Service, name: web}, current: {value: "6"}}}
  - {type: ContainerResource, containerResource: {name: memory, container: app, current: {averageValue: 1200}}}
`,
		"cpu is 30 % of the requests, the target 50 % of the requests: 60 % of it, which asks for 2 replicas.",
		"queue is 200, the target 100: 200 % of it, which asks for 6 replicas.",
		"rate of Service/web is 6, the target 8: near enough to it for no change.",
		"memory of container app is 1200 a pod, the target 1000 a pod: 120 % of it, which asks for 4 replicas.",
		"Of its metrics the one that asks for the most decides: queue, 6.")
}

// TestQuestions: the answers about objects and external metrics are those that
// the metric's own selector asked for.
func TestQuestions(t *testing.T) {
	t.Parallel()
	j := journal.New(journal.Options{})
	record := func(q journal.Question, err string) {
		q.Namespace = "shop"
		j.Record(&journal.Entry{Time: ago(10), Question: q, Error: err, Values: []journal.Value{}})
	}
	record(journal.Question{API: journal.External, Metric: "queue", MetricSelector: "name=mail"}, "samples are too old.")
	record(journal.Question{API: journal.External, Metric: "queue"}, "")
	record(journal.Question{API: journal.Custom, Resource: "ingresses.networking.k8s.io", Object: "front", Metric: "rate"}, "")
	x := explainer(t, Options{Journal: j, Client: cluster(hpa(t, web, `
spec:
  metrics:
  - {type: External, external: {metric: {name: queue, selector: {matchLabels: {name: mail}}}, target: {type: Value, value: "100"}}}
  - {type: Object, object: {metric: {name: rate}, describedObject: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: front}, target: {type: Value, value: "8"}}}
`))})
	got, err := x.HPA(t.Context(), "shop", "web", ago(3600))
	require.NoError(t, err)
	require.Len(t, got.Metrics[0].Answers, 1)
	require.Len(t, got.Metrics[1].Answers, 1)
	require.Contains(t, got.Why, "queue has no value: at 11:59:50Z the answer was: samples are too old.")
}

// TestNotes: what cannot be found out is said, and the rest is there.
func TestNotes(t *testing.T) {
	t.Parallel()
	c := cluster(hpa(t, web))
	refuse := func(verb, resource string) {
		c.PrependReactor(verb, resource, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no rights"))
		})
	}
	refuse("list", "events")
	refuse("get", "deployments")
	x := explainer(t, Options{Client: c, History: history{err: errors.New("store away")}})
	got, err := x.HPA(t.Context(), "shop", "web", ago(3600))
	require.NoError(t, err)
	require.Len(t, got.Notes, 3, got.Notes)
	require.NotEmpty(t, got.Why)

	got, err = explainer(t, Options{Client: cluster(hpa(t, web, `spec: {scaleTargetRef: {kind: Rollout}}`)), History: history{}}).HPA(t.Context(), "shop", "web", ago(60))
	require.NoError(t, err)
	require.Contains(t, got.Notes[0], "which pods a Rollout has is not known here")
	require.Contains(t, got.Notes[1], "no history of its replicas")
	_, err = New(Options{})
	require.Error(t, err)
}

func TestAPI(t *testing.T) {
	t.Parallel()
	c := cluster(hpa(t, web))
	x := explainer(t, Options{Client: c})
	f := func(path string, code int, want string) {
		t.Helper()
		w := httptest.NewRecorder()
		x.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		require.Equal(t, code, w.Code, w.Body)
		require.True(t, json.Valid(w.Body.Bytes()))
		require.Contains(t, w.Body.String(), want)
	}
	f(Path+"shop/web", http.StatusOK, `"scales":"Deployment/web"`)
	f("/prefix"+Path+"shop/web?since=5m", http.StatusOK, `"asksFor":4`)
	f(Path+"shop/none", http.StatusNotFound, `not found`)
	f(Path+"shop", http.StatusNotFound, "NAMESPACE/NAME")
	f(Path+"shop/web/more", http.StatusNotFound, "NAMESPACE/NAME")
	f(Path+"shop/web?since=noon", http.StatusBadRequest, "a duration such as 30m")
	f(Path+"shop/web?since=1y", http.StatusBadRequest, "at most 31d")
	c.PrependReactor("get", "horizontalpodautoscalers", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "horizontalpodautoscalers"}, "web", errors.New("no rights"))
	})
	f(Path+"shop/web", http.StatusForbidden, "no rights")
	c.PrependReactor("get", "horizontalpodautoscalers", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("connection refused")
	})
	f(Path+"shop/web", http.StatusServiceUnavailable, "connection refused")

	w := httptest.NewRecorder()
	Unavailable().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, Path+"shop/web", nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.JSONEq(t, `{"status":"success","data":null,"infos":["this server is connected to no cluster"]}`, w.Body.String())
}
