package adapter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/strata-metrics/strata/pipeline/journal"
)

var (
	_ provider.CustomMetricsProvider   = (*Adapter)(nil)
	_ provider.ExternalMetricsProvider = (*Adapter)(nil)
)

// retryAfterSeconds is what a client is told to wait for a store that starts.
const retryAfterSeconds = 5

// ErrNotListed means that the names of objects cannot be known now.
var ErrNotListed = errors.New("objects cannot be listed now")

// GetMetricByName implements provider.CustomMetricsProvider. The object is not
// looked up: that it has a series is enough.
func (a *Adapter) GetMetricByName(ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo, selector labels.Selector) (v *custom_metrics.MetricValue, err error) {
	defer a.observe("custom", time.Now(), &err)
	rec := a.record(ctx, journal.Question{API: journal.Custom, Namespace: name.Namespace, Resource: info.GroupResource.String(), Object: name.Name, Metric: info.Metric}, nil, selector)
	defer rec.end(&err)
	c, res, err := a.findCustom(ctx, name, info)
	if err != nil {
		return nil, err
	}
	names := Select(name.Name)
	answers, err := a.ask(ctx, c, Objects{Series: c.family, Resource: res.gvr.GroupResource(), Namespace: name.Namespace, Names: names}, info, selector)
	if err != nil {
		return nil, err
	}
	if answers = only(answers, names); len(answers) > 0 {
		rec.found(answers[0])
		if answers[0].Stale() {
			return nil, a.status(a.staleError(ctx, info.Metric+" of "+info.GroupResource.String()+" "+name.Name, &answers[0]))
		}
		v := metricValue(&answers[0], res, name.Namespace, info.Metric, echo(selector))
		return &v, nil
	}
	return nil, provider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name)
}

// GetMetricBySelector implements provider.CustomMetricsProvider. Objects
// without a value are left out, and those whose value is stale: an HPA counts
// what is missing carefully. When all are stale it is an error.
func (a *Adapter) GetMetricBySelector(ctx context.Context, namespace string, selector labels.Selector, info provider.CustomMetricInfo, metricSelector labels.Selector) (list *custom_metrics.MetricValueList, err error) {
	defer a.observe("custom", time.Now(), &err)
	rec := a.record(ctx, journal.Question{API: journal.Custom, Namespace: namespace, Resource: info.GroupResource.String(), Metric: info.Metric}, selector, metricSelector)
	defer rec.end(&err)
	c, res, err := a.findCustom(ctx, types.NamespacedName{Namespace: namespace}, info)
	if err != nil {
		return nil, err
	}
	names, err := a.objectNames(ctx, res, namespace, selector)
	if err != nil {
		return nil, err
	}
	if len(names.Names()) == 0 {
		return nil, provider.NewMetricNotFoundError(info.GroupResource, info.Metric)
	}
	answers, err := a.ask(ctx, c, Objects{Series: c.family, Resource: res.gvr.GroupResource(), Namespace: namespace, Names: names}, info, metricSelector)
	if err != nil {
		return nil, err
	}
	answers = only(answers, names)
	rec.found(answers...)
	answers, left := fresh(answers)
	if len(answers) == 0 && len(left) > 0 {
		what := fmt.Sprintf("%s of %d %s, such as %s", info.Metric, len(left), info.GroupResource.String(), left[0].Object)
		return nil, a.status(a.staleError(ctx, what, &left[0]))
	}
	list = a.newList(len(answers))
	shown := echo(metricSelector)
	for i := range answers {
		list.Items = append(list.Items, metricValue(&answers[i], res, namespace, info.Metric, shown))
	}
	return list, nil
}

// newList is an empty list with room for values.
func (a *Adapter) newList(values int) *custom_metrics.MetricValueList {
	if list, ok := a.written.Get().(*custom_metrics.MetricValueList); ok {
		list.Items = slices.Grow(list.Items, values)
		return list
	}
	return &custom_metrics.MetricValueList{Items: make([]custom_metrics.MetricValue, 0, values)}
}

// Recycle takes back the memory of a list of GetMetricBySelector that nobody
// uses any more: of 1,500 pods it is a third of a megabyte a request.
func (a *Adapter) Recycle(list *custom_metrics.MetricValueList) {
	clear(list.Items)
	list.Items = list.Items[:0]
	a.written.Put(list)
}

// only are the answers about objects of these names, in the memory of all.
func only(all []Answer, names *Selection) []Answer {
	return slices.DeleteFunc(all, func(ans Answer) bool { return !names.Has(ans.Object) })
}

// ListAllMetrics implements provider.CustomMetricsProvider. The list may be
// some seconds old; that a metric can be asked for does not depend on it.
func (a *Adapter) ListAllMetrics() []provider.CustomMetricInfo { return slices.Clone(a.lists().custom) }

// ListAllExternalMetrics implements provider.ExternalMetricsProvider, as
// ListAllMetrics.
func (a *Adapter) ListAllExternalMetrics() []provider.ExternalMetricInfo {
	return slices.Clone(a.lists().external)
}

// GetExternalMetric implements provider.ExternalMetricsProvider. No series
// that match the selector is an empty list, not an error; a stale value is one,
// since an HPA would take the sum of the others for the whole.
func (a *Adapter) GetExternalMetric(ctx context.Context, namespace string, selector labels.Selector, info provider.ExternalMetricInfo) (list *external_metrics.ExternalMetricValueList, err error) {
	defer a.observe("external", time.Now(), &err)
	rec := a.record(ctx, journal.Question{API: journal.External, Namespace: namespace, Metric: info.Metric}, nil, selector)
	defer rec.end(&err)
	c, err := a.external(ctx, namespace, info.Metric)
	if err != nil {
		return nil, a.status(err)
	}
	if c == nil {
		// What prometheus-adapter names in its message.
		var of schema.GroupResource
		if namespace == metav1.NamespaceDefault {
			of = namespaces
		}
		return nil, provider.NewMetricNotFoundError(of, info.Metric)
	}
	answers, err := a.Evaluate(ctx, c.rule, Objects{Series: c.family, Namespace: namespace}, selector)
	a.health.report(c.rule, "external", err)
	if err != nil {
		return nil, a.status(err)
	}
	rec.found(answers...)
	if i := slices.IndexFunc(answers, func(ans Answer) bool { return ans.Stale() }); i >= 0 {
		return nil, a.status(a.staleError(ctx, info.Metric, &answers[i]))
	}
	list = &external_metrics.ExternalMetricValueList{Items: make([]external_metrics.ExternalMetricValue, len(answers))}
	for i := range answers {
		list.Items[i] = external_metrics.ExternalMetricValue{
			MetricName:   info.Metric,
			MetricLabels: answers[i].Labels,
			Timestamp:    metav1.NewTime(answers[i].Time),
			Value:        quantity(answers[i].Value),
		}
	}
	return list, nil
}

// findCustom finds the series behind a metric of a resource, of one object or,
// without a name, of those in a namespace.
func (a *Adapter) findCustom(ctx context.Context, of types.NamespacedName, info provider.CustomMetricInfo) (*candidate, *resource, error) {
	res, err := a.resources.get(info.GroupResource)
	switch {
	case unknownResource(err), err == nil && res.namespaced != info.Namespaced:
		return nil, nil, provider.NewMetricNotFoundError(info.GroupResource, info.Metric)
	case err != nil:
		a.log.Warn("The API server does not say what a resource is", "resource", info.GroupResource.String(), "err", err)
		return nil, nil, unavailable("the resources of the cluster are not known")
	}
	c, err := a.custom(ctx, scope(res.gvr.GroupResource(), of.Namespace, of.Name), info.Metric, res)
	if err != nil {
		return nil, nil, a.status(err)
	}
	if c == nil {
		return nil, nil, provider.NewMetricNotFoundError(info.GroupResource, info.Metric)
	}
	return c, res, nil
}

// ask evaluates a rule of custom metrics, with the error that the API shows.
func (a *Adapter) ask(ctx context.Context, c *candidate, o Objects, info provider.CustomMetricInfo, selector labels.Selector) ([]Answer, error) {
	answers, err := a.Evaluate(ctx, c.rule, o, selector)
	a.health.report(c.rule, o.Resource.String(), err)
	if errors.Is(err, errUnmapped) {
		return nil, provider.NewMetricNotFoundError(info.GroupResource, info.Metric)
	}
	if err != nil {
		return nil, a.status(err)
	}
	return answers, nil
}

func (a *Adapter) objectNames(ctx context.Context, res *resource, namespace string, selector labels.Selector) (*Selection, error) {
	if a.lister == nil {
		return nil, unavailable("no cluster is connected to list objects of")
	}
	if selector == nil {
		selector = labels.Everything()
	}
	names, err := a.lister.ObjectNames(ctx, res.gvr, namespace, selector)
	switch {
	case errors.Is(err, ErrNotListed):
		return nil, unavailable(err.Error())
	case err != nil:
		a.log.Warn("Objects of a request for metrics cannot be listed", "resource", res.gvr.GroupResource().String(), "namespace", namespace, "err", err)
		return nil, apierrors.NewInternalError(errors.New("unable to list matching resources"))
	}
	return names, nil
}

// status is the error of the API. Causes are in the log: they can show other
// people's queries.
func (a *Adapter) status(err error) error {
	var timeout promql.ErrQueryTimeout
	switch {
	case errors.Is(err, ErrSelector):
		return apierrors.NewBadRequest(err.Error())
	case errors.Is(err, ErrStale):
		return unavailable(err.Error())
	case errors.Is(err, tsdb.ErrNotReady), errors.Is(err, errNoData):
		return unavailable("metrics are not ready: " + err.Error())
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout):
		return apierrors.NewTimeoutError("the query of the metric took too long", retryAfterSeconds)
	}
	a.log.Debug("Metrics cannot be fetched", "err", err)
	return apierrors.NewInternalError(errors.New("unable to fetch metrics"))
}

func unavailable(why string) error {
	err := apierrors.NewServiceUnavailable(why)
	err.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: retryAfterSeconds}
	return err
}

// observe counts a request that is over.
func (a *Adapter) observe(api string, start time.Time, err *error) {
	code := http.StatusOK
	if *err != nil {
		code = http.StatusInternalServerError
		if s := apierrors.APIStatus(nil); errors.As(*err, &s) {
			code = int(s.Status().Code)
		}
	}
	a.metrics.requests.WithLabelValues(api, strconv.Itoa(code)).Observe(time.Since(start).Seconds())
}

func metricValue(ans *Answer, res *resource, namespace, metric string, selector *metav1.LabelSelector) custom_metrics.MetricValue {
	return custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{
			// The core group has the slash too, as readers know it.
			APIVersion: res.kind.Group + "/" + res.kind.Version,
			Kind:       res.kind.Kind,
			Name:       ans.Object,
			Namespace:  namespace,
		},
		Metric:    custom_metrics.MetricIdentifier{Name: metric, Selector: selector},
		Timestamp: metav1.NewTime(ans.Time),
		Value:     quantity(ans.Value),
	}
}

// echo is the selector of the request as the answer repeats it, nil for none.
func echo(s labels.Selector) *metav1.LabelSelector {
	if s == nil || s.Empty() {
		return nil
	}
	out := &metav1.LabelSelector{}
	reqs, _ := s.Requirements()
	for _, r := range reqs {
		var op metav1.LabelSelectorOperator
		switch r.Operator() {
		case selection.Equals, selection.DoubleEquals:
			if out.MatchLabels == nil {
				out.MatchLabels = map[string]string{}
			}
			if _, twice := out.MatchLabels[r.Key()]; !twice {
				out.MatchLabels[r.Key()] = r.ValuesUnsorted()[0]
				continue
			}
			op = metav1.LabelSelectorOpIn
		case selection.In:
			op = metav1.LabelSelectorOpIn
		case selection.NotEquals, selection.NotIn:
			op = metav1.LabelSelectorOpNotIn
		case selection.Exists:
			op = metav1.LabelSelectorOpExists
		case selection.DoesNotExist:
			op = metav1.LabelSelectorOpDoesNotExist
		default:
			continue // refused before
		}
		out.MatchExpressions = append(out.MatchExpressions, metav1.LabelSelectorRequirement{Key: r.Key(), Operator: op, Values: r.Values().List()})
	}
	return out
}
