package metricrule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/pipeline/adapter"
)

// What of a status is shown, and which change of it is worth a write.
const (
	maxValues  = 5
	maxMessage = 1024
	// worthChange is by what part of it a value must have changed.
	worthChange = 0.1
	// worthAge is how far behind the time of the samples may be.
	worthAge = 5 * time.Minute
	// settle is how long after its start a replica, whose store may lack what
	// another's has, does not take back that a metric is served.
	settle = adapter.DefaultWindow
)

// observe evaluates a rule and says what its status should be. It is false while
// the cluster or the store cannot be asked.
func (c *Controller) observe(ctx context.Context, o *object) (Status, bool) {
	ctx, cancel := context.WithTimeout(ctx, evaluateFor)
	defer cancel()
	s := Status{ObservedGeneration: o.generation}
	reason, message, err := c.judge(ctx, o, &s)
	if err != nil {
		c.log.Debug("The status of a MetricRule is not known now", "err", err)
		return s, false
	}
	ready := metav1.ConditionFalse
	if reason == ReasonServed {
		ready = metav1.ConditionTrue
	}
	if slices.Contains([]string{ReasonInvalid, ReasonUnknownResource, ReasonFailed, ReasonNoObject}, reason) {
		s.Error = short(message)
	}
	s.Conditions = []metav1.Condition{{
		Type: ConditionReady, Status: ready, Reason: reason, Message: short(message),
		ObservedGeneration: o.generation,
	}}
	return s, true
}

// judge gives the reason and message of Ready and fills in the values. Its error
// means that now is no time to say anything.
func (c *Controller) judge(ctx context.Context, o *object, s *Status) (reason, message string, err error) {
	if o.err != nil {
		return ReasonInvalid, oneLine(o.err), nil
	}
	if reason, message, err = c.taken(ctx, o); reason != "" || err != nil {
		return reason, message, err
	}
	answers, err := c.adapter.Try(ctx, o.rule)
	switch {
	case errors.Is(err, adapter.ErrNotReady), errors.Is(err, context.Canceled):
		return "", "", err
	case errors.Is(err, context.DeadlineExceeded):
		return ReasonFailed, fmt.Sprintf("spec.query takes more than %s: select fewer series or a shorter range", evaluateFor), nil
	case err != nil:
		return ReasonFailed, "spec.query cannot be evaluated: " + oneLine(err), nil
	case len(answers) == 0:
		return ReasonNoData, c.missing(ctx, o), nil
	}
	return c.values(o, answers, s)
}

// taken says why a rule is not served though it could be evaluated, "" for not.
func (c *Controller) taken(ctx context.Context, o *object) (reason, message string, err error) {
	if o.spec.Type == Custom {
		namespaced, err := c.adapter.Namespaced(o.resource)
		switch {
		case errors.Is(err, adapter.ErrUnknownResource):
			return ReasonUnknownResource, fmt.Sprintf("the cluster has no resource %q: write it as kubectl api-resources does, plural and with its group, such as deployments.apps", o.spec.Resource), nil
		case err != nil:
			return "", "", err
		case !namespaced && o.resource.String() != "namespaces":
			return ReasonInvalid, fmt.Sprintf("spec.resource: %s have no namespace, and a MetricRule is about objects of its own; such a metric belongs into the server's --adapter.config", o.spec.Resource), nil
		}
	}
	if o.shadow != "" {
		return ReasonShadowed, fmt.Sprintf("the MetricRule %s of this namespace has the same metric and is older: give one of the two another spec.metric", o.shadow), nil
	}
	by, err := c.adapter.ClaimedBy(ctx, o.rule)
	if by != "" {
		return ReasonShadowed, fmt.Sprintf("%s of the server's configuration has the name %q, and it comes before MetricRules: give spec.metric another name", by, o.spec.Metric), nil
	}
	return "", "", err
}

// missing says which selector finds nothing.
func (c *Controller) missing(ctx context.Context, o *object) string {
	for _, s := range o.selectors {
		if found, err := c.adapter.HasSeries(ctx, s); err == nil && !found {
			return fmt.Sprintf("no series of the last minutes matches %s: is the target scraped (page Targets), and does it give the name and labels so?", s)
		}
	}
	return "spec.query gives no value, though each of its selectors finds series: do the labels of both sides match, and has a rate two samples in its range?"
}

// values fills in what a rule gives.
func (c *Controller) values(o *object, answers []adapter.Answer, s *Status) (reason, message string, err error) {
	label := o.spec.ObjectLabel
	fresh := slices.DeleteFunc(slices.Clone(answers), func(a adapter.Answer) bool {
		return a.Stale() || label != "" && a.Labels[label] == ""
	})
	named := slices.ContainsFunc(answers, func(a adapter.Answer) bool { return label == "" || a.Labels[label] != "" })
	switch {
	case !named:
		return ReasonNoObject, fmt.Sprintf("no value has the label %s, which names the object: keep it, such as by sum by (%s) (...), or name another with spec.objectLabel", label, label), nil
	case len(fresh) == 0:
		newest := slices.MaxFunc(answers, func(a, b adapter.Answer) int { return a.Time.Compare(b.Time) })
		t := metav1.NewTime(newest.Time.Truncate(time.Second))
		s.LastSampleTime = &t
		return ReasonStale, "the newest samples are older than maxAge allows: is the target still scraped (page Targets)?", nil
	}
	several := show(label, fresh, s)
	message = fmt.Sprintf("%s %q is served in this namespace", strings.ToLower(o.spec.Type), o.spec.Metric)
	if label != "" {
		message = fmt.Sprintf("%q of %s is served in this namespace", o.spec.Metric, o.spec.Resource)
	}
	reason = ReasonServed
	if o.spec.DryRun {
		reason, message = ReasonDryRun, fmt.Sprintf("%q has values and is not served: set dryRun: false to serve it", o.spec.Metric)
	}
	if several {
		message += fmt.Sprintf("; an object has several values, of which the last counts: aggregate, such as by sum by (%s) (...)", label)
	}
	return reason, message, nil
}

// show puts values that are there into a status. It tells whether an object has
// several of them.
func show(label string, fresh []adapter.Answer, s *Status) (several bool) {
	oldest := fresh[0].Time
	low, high, sum := math.Inf(1), math.Inf(-1), 0.0
	objects := map[string]bool{}
	for i := range fresh {
		a := &fresh[i]
		v := Value{Value: number(a.Value)}
		if label == "" {
			v.Labels = a.Labels
		} else {
			v.Object = a.Labels[label]
			several = several || objects[v.Object]
			objects[v.Object] = true
		}
		s.LastValues = append(s.LastValues, v)
		low, high, sum = min(low, a.Value), max(high, a.Value), sum+a.Value
		if a.Time.Before(oldest) {
			oldest = a.Time
		}
	}
	slices.SortStableFunc(s.LastValues, func(a, b Value) int {
		return cmp.Or(strings.Compare(a.Object, b.Object), slices.Compare(pairs(a.Labels), pairs(b.Labels)))
	})
	s.LastValues = s.LastValues[:min(len(s.LastValues), maxValues)]
	s.Count = int64(len(fresh))
	switch {
	case label == "": // an HPA adds them
		s.Value = number(sum)
	case low == high:
		s.Value = number(low)
	default:
		s.Value = number(low) + " to " + number(high)
	}
	t := metav1.NewTime(oldest.Truncate(time.Second))
	s.LastSampleTime = &t
	return several
}

func pairs(m map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k, m[k])
	}
	return out
}

// number is a value to the thousandth, as people write it.
func number(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", v), "0"), ".")
}

func short(message string) string {
	if len(message) > maxMessage {
		return strings.ToValidUTF8(message[:maxMessage-3], "") + "..."
	}
	return message
}

// worthy tells whether a status should replace the one that an object has, and
// fills in what that one keeps.
func (c *Controller) worthy(o *object, u *unstructured.Unstructured, s *Status, now time.Time) bool {
	var old Status
	if in, ok, _ := unstructured.NestedMap(u.Object, "status"); ok {
		if runtime.DefaultUnstructuredConverter.FromUnstructured(in, &old) != nil {
			old = Status{} // not ours; it is replaced
		}
	}
	ready, was := &s.Conditions[0], meta.FindStatusCondition(old.Conditions, ConditionReady)
	ready.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
	if was != nil && was.Status == ready.Status && !was.LastTransitionTime.IsZero() {
		ready.LastTransitionTime = was.LastTransitionTime
	}
	if was == nil || old.ObservedGeneration < o.generation {
		return true
	}
	if old.Updated != nil && now.Sub(old.Updated.Time) < statusEvery && !now.Before(old.Updated.Time) {
		return false
	}
	if was.Status == metav1.ConditionTrue && ready.Reason == ReasonNoData && now.Sub(c.started) < settle {
		return false
	}
	return was.Status != ready.Status || was.Reason != ready.Reason || was.Message != ready.Message || moved(&old, s)
}

// moved tells whether values have changed so much, or their time, that people
// should see it.
func moved(old, s *Status) bool {
	if old.Count != s.Count || len(old.LastValues) != len(s.LastValues) || (old.LastSampleTime == nil) != (s.LastSampleTime == nil) {
		return true
	}
	for i, v := range s.LastValues {
		was := old.LastValues[i]
		if was.Object != v.Object || !maps.Equal(was.Labels, v.Labels) || far(was.Value, v.Value) {
			return true
		}
	}
	// The ends of a range may be of objects that are not shown.
	a, b := strings.Split(old.Value, " to "), strings.Split(s.Value, " to ")
	if len(a) != len(b) || slices.ContainsFunc(pair(a, b), func(p [2]string) bool { return far(p[0], p[1]) }) {
		return true
	}
	return s.LastSampleTime != nil && s.LastSampleTime.Sub(old.LastSampleTime.Time).Abs() > worthAge
}

func pair(a, b []string) [][2]string {
	var out [][2]string
	for i := range a {
		out = append(out, [2]string{a[i], b[i]})
	}
	return out
}

func far(a, b string) bool {
	if a == b {
		return false
	}
	x, err := apiresource.ParseQuantity(a)
	y, err2 := apiresource.ParseQuantity(b)
	if err != nil || err2 != nil {
		return true
	}
	p, q := x.AsApproximateFloat64(), y.AsApproximateFloat64()
	return math.Abs(p-q) > worthChange*max(math.Abs(p), math.Abs(q))
}

// write replaces the status of an object, unless the object has changed.
func (c *Controller) write(ctx context.Context, u *unstructured.Unstructured, s *Status, now time.Time) {
	t := metav1.NewTime(now.Truncate(time.Second))
	s.Updated = &t
	result := "success"
	status, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
	if err == nil {
		out := u.DeepCopy()
		out.Object["status"] = status
		_, err = c.client.Namespace(u.GetNamespace()).UpdateStatus(ctx, out, metav1.UpdateOptions{FieldManager: "strata"})
	}
	switch {
	case err == nil:
	case apierrors.IsConflict(err), apierrors.IsNotFound(err), ctx.Err() != nil:
		result = "conflict" // the next round sees what there is then
	default:
		result = "error"
		c.complain(err)
	}
	c.metrics.writes.WithLabelValues(result).Inc()
	if result == "success" {
		c.complain(nil)
	}
}
