package apiserver

import (
	"net/http"
	"net/url"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	customapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver/metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// values answers the question that autoscalers ask all the time, the values of
// a custom metric as JSON or protobuf, without the library's route table,
// conversions and JSON by reflection, which took longer than finding the values.
// All other requests are next's, which gives the same answers: the bytes are held
// to be the same by a test.
type values struct {
	next      http.Handler
	provider  provider.CustomMetricsProvider // nil leaves all to next
	freshness metrics.FreshnessObserver
	buffers   sync.Pool // of bodies, *[]byte
}

func newValues(next http.Handler, p provider.CustomMetricsProvider) *values {
	return &values{next: next, provider: p, freshness: metrics.NewFreshnessObserver(custom_metrics.GroupName)}
}

// ServeHTTP implements http.Handler.
func (v *values) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, ok := v.question(r)
	if !ok {
		v.next.ServeHTTP(w, r)
		return
	}
	list, err := q.ask(r, v.provider)
	if err != nil {
		responsewriters.ErrorNegotiated(err, customapiserver.Codecs, q.version, w, r)
		return
	}
	for i := range list.Items {
		v.freshness.Observe(list.Items[i].Timestamp)
	}
	if encoder, object, err := v.encoder(q, list); err != nil {
		responsewriters.ErrorNegotiated(err, customapiserver.Codecs, q.version, w, r)
	} else {
		responsewriters.SerializeObject(q.media.MediaType, encoder, w, r, http.StatusOK, object)
	}
	if p, ok := v.provider.(recycler); ok && q.name == "*" {
		p.Recycle(list)
	}
}

// encoder writes what answers a question, in the form that it wants.
func (v *values) encoder(q *valuesQuestion, list *custom_metrics.MetricValueList) (runtime.Encoder, runtime.Object, error) {
	if q.media.MediaType == runtime.ContentTypeJSON {
		return valuesEncoder{q.version.Version, &v.buffers}, list, nil
	}
	object, err := versioned(list, q.version)
	return q.media.Serializer, object, err
}

// versioned is a list in a version of the API.
func versioned(list *custom_metrics.MetricValueList, version schema.GroupVersion) (runtime.Object, error) {
	kind := metav1.TypeMeta{Kind: "MetricValueList", APIVersion: version.String()}
	if version == v1beta1.SchemeGroupVersion {
		out := &v1beta1.MetricValueList{TypeMeta: kind}
		return out, v1beta1.Convert_custom_metrics_MetricValueList_To_v1beta1_MetricValueList(list, out, nil)
	}
	out := &v1beta2.MetricValueList{TypeMeta: kind}
	return out, v1beta2.Convert_custom_metrics_MetricValueList_To_v1beta2_MetricValueList(list, out, nil)
}

// recycler is a provider that makes its lists in the memory of those that have
// been written.
type recycler interface {
	Recycle(list *custom_metrics.MetricValueList)
}

// valuesQuestion is what a request asks.
type valuesQuestion struct {
	version   schema.GroupVersion
	media     runtime.SerializerInfo
	of        schema.GroupResource
	namespace string
	name      string // "*" for all that objects selects
	metric    string
	objects   labels.Selector
	series    labels.Selector
}

func (q *valuesQuestion) ask(r *http.Request, p provider.CustomMetricsProvider) (*custom_metrics.MetricValueList, error) {
	info := provider.CustomMetricInfo{GroupResource: q.of, Namespaced: q.namespace != "", Metric: q.metric}
	if q.name == "*" {
		return p.GetMetricBySelector(r.Context(), q.namespace, q.objects, info, q.series)
	}
	value, err := p.GetMetricByName(r.Context(), types.NamespacedName{Namespace: q.namespace, Name: q.name}, info, q.series)
	if err != nil {
		return nil, err
	}
	return &custom_metrics.MetricValueList{Items: []custom_metrics.MetricValue{*value}}, nil
}

// question reads a request; false for one that is not of the usual form.
func (v *values) question(r *http.Request) (*valuesQuestion, bool) {
	info, ok := request.RequestInfoFrom(r.Context())
	if !ok || v.provider == nil || r.Method != http.MethodGet || info.APIGroup != custom_metrics.GroupName {
		return nil, false
	}
	if info.APIVersion != v1beta1.SchemeGroupVersion.Version && info.APIVersion != v1beta2.SchemeGroupVersion.Version {
		return nil, false
	}
	q := &valuesQuestion{
		version: schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion},
		of:      schema.ParseGroupResource(info.Resource), namespace: info.Namespace, name: info.Name, metric: info.Subresource,
	}
	switch {
	case info.Namespace != "" && info.Resource == "metrics" && len(info.Parts) == 2: // namespaces/NAME/metrics/METRIC
		q.of, q.namespace, q.name, q.metric = schema.GroupResource{Resource: "namespaces"}, "", info.Namespace, info.Name
	case len(info.Parts) != 3:
		return nil, false
	}
	return q, q.metric != "" && q.selectors(r.URL) && q.form(r)
}

// selectors reads the parameters; false when there are others, or what is no
// selector, whose error is next's.
func (q *valuesQuestion) selectors(u *url.URL) bool {
	q.objects, q.series = labels.Everything(), labels.Everything()
	if u.RawQuery == "" {
		return true
	}
	params, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return false
	}
	for name, texts := range params {
		to := &q.objects
		switch {
		case len(texts) != 1:
			return false
		case name == "metricLabelSelector":
			to = &q.series
		case name != "labelSelector":
			return false
		}
		if *to, err = labels.Parse(texts[0]); err != nil {
			return false
		}
	}
	return true
}

// form finds the form of the answer; false for others than plain JSON and
// protobuf.
func (q *valuesQuestion) form(r *http.Request) bool {
	options, info, err := negotiation.NegotiateOutputMediaType(r, customapiserver.Codecs, negotiation.DefaultEndpointRestrictions)
	q.media = info
	return err == nil && !options.Pretty && options.Convert == nil &&
		(info.MediaType == runtime.ContentTypeJSON || info.MediaType == runtime.ContentTypeProtobuf)
}
