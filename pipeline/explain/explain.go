// Package explain says why a HorizontalPodAutoscaler scaled, or did not: what
// each of its metrics was when it asked, how old that was, how many replicas it
// asks for by the HPA's own formula, what limits it, and what happened when.
//
// It puts together what the cluster says (the object and its events), what the
// journal kept (the answers that the autoscaler got) and what the store has (its
// replicas over time). The sentences are for people; everything that they are
// made of is beside them.
package explain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"github.com/strata-metrics/strata/pipeline/journal"
)

// DefaultSince is how far back an explanation looks.
const DefaultSince = time.Hour

// maxPoints bounds the steps of the replicas' history.
const maxPoints = 240

// Ranger has the history of replicas; query.Querier is one.
type Ranger interface {
	Range(ctx context.Context, expr string, start, end time.Time, step time.Duration) (promql.Matrix, annotations.Annotations, error)
}

// Options are what an Explainer works with. Client is required.
type Options struct {
	// Client reads HPAs, their events and the scale of what they scale. RBAC:
	// get on horizontalpodautoscalers and on the subresource scale of
	// deployments, replicasets and statefulsets; list on events.
	Client kubernetes.Interface
	// Journal has the answers that were given; nil has none.
	Journal *journal.Journal
	// History has kube-state-metrics' series of the HPAs; nil has none.
	History Ranger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Explainer explains. It is safe for concurrent use.
type Explainer struct{ o Options }

// New makes an Explainer.
func New(o Options) (*Explainer, error) {
	if o.Client == nil {
		return nil, errors.New("explain: Options.Client is missing")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Explainer{o: o}, nil
}

// HPA is what there is to say of one HorizontalPodAutoscaler.
type HPA struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Scales is its target, as in Deployment/web.
	Scales  string `json:"scales"`
	Min     int32  `json:"minReplicas"`
	Max     int32  `json:"maxReplicas"`
	Current int32  `json:"currentReplicas"`
	Desired int32  `json:"desiredReplicas"`
	// LastScaled is when it last changed the replicas; nil is never.
	LastScaled *time.Time `json:"lastScaleTime,omitempty"`

	// Why is the explanation, a sentence each, the most important first.
	Why        []string    `json:"why"`
	Metrics    []Metric    `json:"metrics"`
	Conditions []Condition `json:"conditions"`
	Events     []Event     `json:"events"`
	Replicas   []Replicas  `json:"replicas"`
	// Notes say what could not be found out.
	Notes []string `json:"notes"`
}

// Metric is one of an HPA's metrics.
type Metric struct {
	// Type is that of the specification: Resource, ContainerResource, Pods,
	// Object or External.
	Type string `json:"type"`
	// Name is the metric's; Of is what it is measured of, as in Service/web or
	// container app.
	Name string `json:"name"`
	Of   string `json:"of,omitempty"`
	// TargetType is Utilization (percent of the requests), AverageValue (a
	// pod's) or Value.
	TargetType string  `json:"targetType"`
	Target     float64 `json:"target"`
	// Given is what the autoscaler last worked with; nil where it had none.
	Given *float64 `json:"given,omitempty"`
	// Asks is how many replicas the metric asks for, within its tolerance and
	// before any limit; nil where it is not known.
	Asks *int32 `json:"asksFor,omitempty"`
	// Answers are those that the autoscaler got of Strata, the oldest first.
	Answers []Answer `json:"answers"`
}

// Answer is one answer to an autoscaler in short.
type Answer struct {
	Time time.Time `json:"time"`
	// Value is the sum of all that was given, Objects how many they were.
	Value   float64 `json:"value"`
	Objects int     `json:"objects"`
	// Left are the objects whose values were too old to be given.
	Left []string `json:"leftOut,omitempty"`
	// AgeSeconds is how old the oldest of the given values was.
	AgeSeconds float64 `json:"ageSeconds"`
	Rule       string  `json:"rule,omitempty"`
	Error      string  `json:"error,omitempty"`
}

// Condition is one of the HPA's own words.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
}

// Event is one thing that happened.
type Event struct {
	Time    time.Time `json:"time"`
	Type    string    `json:"type"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Count   int32     `json:"count"`
}

// Replicas is how many there were, and were wanted, from a time on.
type Replicas struct {
	Time    time.Time `json:"time"`
	Current int32     `json:"current"`
	Desired int32     `json:"desired"`
}

// HPA explains one autoscaler by what happened since a time. Its error is the
// API server's where the object cannot be read; what else is missing is in the
// notes.
func (x *Explainer) HPA(ctx context.Context, namespace, name string, since time.Time) (*HPA, error) {
	h, err := x.o.Client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read HorizontalPodAutoscaler %s/%s: %w", namespace, name, err)
	}
	out := &HPA{
		Namespace: namespace, Name: name,
		Scales: h.Spec.ScaleTargetRef.Kind + "/" + h.Spec.ScaleTargetRef.Name,
		Min:    1, Max: h.Spec.MaxReplicas,
		Current: h.Status.CurrentReplicas, Desired: h.Status.DesiredReplicas,
		Metrics: []Metric{}, Conditions: []Condition{}, Events: []Event{}, Replicas: []Replicas{}, Notes: []string{},
	}
	if h.Spec.MinReplicas != nil {
		out.Min = *h.Spec.MinReplicas
	}
	if t := h.Status.LastScaleTime; t != nil {
		out.LastScaled = &t.Time
	}
	for _, c := range h.Status.Conditions {
		out.Conditions = append(out.Conditions, Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time})
	}
	x.metrics(ctx, h, out, since)
	x.events(ctx, out, since)
	x.replicas(ctx, out, since)
	out.Why = why(h, out)
	return out, nil
}

// metrics fills in the metrics of the specification.
func (x *Explainer) metrics(ctx context.Context, h *autoscalingv2.HorizontalPodAutoscaler, out *HPA, since time.Time) {
	selector, err := x.selector(ctx, h)
	if err != nil {
		out.Notes = append(out.Notes, err.Error())
	}
	for i := range h.Spec.Metrics {
		m, q := metricOf(h, &h.Spec.Metrics[i])
		if q != nil {
			q.Namespace = h.Namespace
			if q.Resource == podsResource {
				q.Selector = selector
			}
			for _, e := range x.o.Journal.Entries(journal.Filter{Question: *q, Since: since}) {
				// A filter leaves an empty field open; a question does not.
				if e.MetricSelector == q.MetricSelector {
					m.Answers = append(m.Answers, answerOf(e))
				}
			}
		}
		m.Asks = asks(h, &m)
		out.Metrics = append(out.Metrics, m)
	}
}

// selector is that of the pods which are scaled, in the form that the
// autoscaler sends.
func (x *Explainer) selector(ctx context.Context, h *autoscalingv2.HorizontalPodAutoscaler) (string, error) {
	if !slices.ContainsFunc(h.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool { return m.Pods != nil }) {
		return "", nil
	}
	ref, apps := h.Spec.ScaleTargetRef, x.o.Client.AppsV1()
	get := map[string]func(context.Context, string, metav1.GetOptions) (*autoscalingv1.Scale, error){
		"Deployment":  apps.Deployments(h.Namespace).GetScale,
		"StatefulSet": apps.StatefulSets(h.Namespace).GetScale,
		"ReplicaSet":  apps.ReplicaSets(h.Namespace).GetScale,
	}[ref.Kind]
	if get == nil {
		return "", fmt.Errorf("which pods a %s has is not known here: the answers about pods may be another autoscaler's, too", ref.Kind)
	}
	scale, err := get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("the answers about pods may be another autoscaler's, too: read the scale of %s/%s: %w", ref.Kind, ref.Name, err)
	}
	parsed, err := labels.Parse(scale.Status.Selector)
	if err != nil {
		return "", fmt.Errorf("the selector of %s/%s: %w", ref.Kind, ref.Name, err)
	}
	return parsed.String(), nil
}

func answerOf(e *journal.Entry) Answer {
	a := Answer{Time: e.Time, Rule: e.Rule, Error: e.Error}
	for _, v := range e.Values {
		if v.Stale {
			a.Left = append(a.Left, v.Object)
			continue
		}
		a.Value += v.Value
		a.Objects++
		a.AgeSeconds = math.Max(a.AgeSeconds, e.Time.Sub(v.Time).Seconds())
	}
	slices.Sort(a.Left)
	return a
}

// events fills in what the cluster noted about the autoscaler.
func (x *Explainer) events(ctx context.Context, out *HPA, since time.Time) {
	list, err := x.o.Client.CoreV1().Events(out.Namespace).List(ctx, metav1.ListOptions{FieldSelector: fields.Set{
		"involvedObject.kind": "HorizontalPodAutoscaler", "involvedObject.name": out.Name,
	}.String()})
	if err != nil {
		out.Notes = append(out.Notes, "its events cannot be read: "+err.Error())
		return
	}
	for i := range list.Items {
		e := &list.Items[i]
		if at := eventTime(e); !at.Before(since) && e.InvolvedObject.Name == out.Name {
			out.Events = append(out.Events, Event{Time: at, Type: e.Type, Reason: e.Reason, Message: e.Message, Count: max(e.Count, 1)})
		}
	}
	slices.SortFunc(out.Events, func(a, b Event) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Message, b.Message)) })
}

// eventTime is when an event was last seen; of its fields, writers fill some.
func eventTime(e *corev1.Event) time.Time {
	at := e.CreationTimestamp.Time
	for _, t := range []time.Time{e.EventTime.Time, e.LastTimestamp.Time} {
		if t.After(at) {
			at = t
		}
	}
	if e.Series != nil && e.Series.LastObservedTime.After(at) {
		at = e.Series.LastObservedTime.Time
	}
	return at
}

// replicas fills in the history of replicas, where it changed.
func (x *Explainer) replicas(ctx context.Context, out *HPA, since time.Time) {
	now := x.o.Now()
	if x.o.History == nil || !since.Before(now) {
		return
	}
	step := max(now.Sub(since)/maxPoints, time.Second).Round(time.Second)
	at := map[int64]*Replicas{}
	for status, set := range map[string]func(*Replicas, int32){
		"current": func(r *Replicas, v int32) { r.Current = v },
		"desired": func(r *Replicas, v int32) { r.Desired = v },
	} {
		expr := fmt.Sprintf("max(kube_horizontalpodautoscaler_status_%s_replicas{namespace=%q,horizontalpodautoscaler=%q})", status, out.Namespace, out.Name)
		m, _, err := x.o.History.Range(ctx, expr, since, now, step)
		if err != nil {
			out.Notes = append(out.Notes, "the history of replicas cannot be read: "+err.Error())
			return
		}
		for _, s := range m {
			for _, p := range s.Floats {
				if at[p.T] == nil {
					at[p.T] = &Replicas{Time: time.UnixMilli(p.T)}
				}
				set(at[p.T], int32(p.F))
			}
		}
	}
	for _, r := range at {
		out.Replicas = append(out.Replicas, *r)
	}
	slices.SortFunc(out.Replicas, func(a, b Replicas) int { return a.Time.Compare(b.Time) })
	out.Replicas = slices.CompactFunc(out.Replicas, func(a, b Replicas) bool { return a.Current == b.Current && a.Desired == b.Desired })
	if len(out.Replicas) == 0 {
		out.Notes = append(out.Notes, "the store has no history of its replicas: is the Kubernetes exporter scraped?")
	}
}

// LastAnswer is when the autoscaler was last answered, zero for never.
func (h *HPA) LastAnswer() time.Time {
	var last time.Time
	for _, m := range h.Metrics {
		if n := len(m.Answers); n > 0 && m.Answers[n-1].Time.After(last) {
			last = m.Answers[n-1].Time
		}
	}
	return last
}
