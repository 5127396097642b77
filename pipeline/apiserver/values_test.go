package apiserver

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	customapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
)

func mediaOf(t testing.TB, mediaType string) runtime.SerializerInfo {
	t.Helper()
	info, ok := runtime.SerializerInfoForMediaType(customapiserver.Codecs.SupportedMediaTypes(), mediaType)
	require.True(t, ok)
	return info
}

// byLibrary is a list as the library writes it.
func byLibrary(t testing.TB, list *custom_metrics.MetricValueList, version schema.GroupVersion, media runtime.SerializerInfo) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, customapiserver.Codecs.EncoderForVersion(media.Serializer, version).Encode(list, &b))
	return b.Bytes()
}

func requireLikeLibrary(t testing.TB, list *custom_metrics.MetricValueList) {
	t.Helper()
	for _, version := range []schema.GroupVersion{v1beta1.SchemeGroupVersion, v1beta2.SchemeGroupVersion} {
		for _, mediaType := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
			q := &valuesQuestion{version: version, media: mediaOf(t, mediaType)}
			encoder, object, err := (&values{}).encoder(q, list)
			require.NoError(t, err)
			var b bytes.Buffer
			require.NoError(t, encoder.Encode(object, &b))
			require.Equal(t, string(byLibrary(t, list, version, q.media)), b.String())
		}
	}
}

func TestValuesLikeTheLibrary(t *testing.T) {
	t.Parallel()
	minute := int64(60)
	selector := &metav1.LabelSelector{
		MatchLabels:      map[string]string{"b": "2", "a": "<&>"},
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "k", Operator: metav1.LabelSelectorOpIn, Values: []string{"x", "y"}}},
	}
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 678, time.FixedZone("east", 3600)))
	one := custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{APIVersion: "/v1", Kind: "Pod", Namespace: "shop", Name: "web-1"},
		Metric:          custom_metrics.MetricIdentifier{Name: "http_requests_per_second"}, Timestamp: at, Value: resource.MustParse("32600m"),
	}
	all := one
	all.DescribedObject = custom_metrics.ObjectReference{Kind: "K", Namespace: "N", Name: "n", UID: types.UID("u"), APIVersion: "g/v", ResourceVersion: "7", FieldPath: "spec"}
	all.Metric.Selector, all.WindowSeconds = selector, &minute
	same := all
	same.Value = resource.MustParse("1e9")
	requireLikeLibrary(t, &custom_metrics.MetricValueList{Items: []custom_metrics.MetricValue{}})
	requireLikeLibrary(t, &custom_metrics.MetricValueList{Items: []custom_metrics.MetricValue{{}}})
	requireLikeLibrary(t, &custom_metrics.MetricValueList{Items: []custom_metrics.MetricValue{one, all, same, one}})
	requireLikeLibrary(t, &custom_metrics.MetricValueList{
		ListMeta: metav1.ListMeta{ResourceVersion: "1", Continue: "c"}, Items: []custom_metrics.MetricValue{one}})
}

func FuzzValuesLikeTheLibrary(f *testing.F) {
	f.Add("web-1", "http_requests_per_second", "app", "web", int64(1700000000), int64(32600), int64(60))
	f.Add("a\"b\\c<>&\u2028\x7f\xff", "läuft/π", "", "\x00", int64(0), int64(-1), int64(-1))
	f.Fuzz(func(t *testing.T, name, metric, key, value string, seconds, milli, window int64) {
		v := custom_metrics.MetricValue{
			DescribedObject: custom_metrics.ObjectReference{Kind: key, Name: name, Namespace: value},
			Metric:          custom_metrics.MetricIdentifier{Name: metric},
			Value:           *resource.NewMilliQuantity(milli, resource.DecimalSI),
		}
		if seconds != 0 { // in the years that RFC 3339 has
			v.Timestamp = metav1.Unix(seconds%253402300800, 0)
		}
		if key != "" {
			v.Metric.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
		}
		if window >= 0 {
			v.WindowSeconds = &window
		}
		requireLikeLibrary(t, &custom_metrics.MetricValueList{Items: []custom_metrics.MetricValue{v, v}})
	})
}

func BenchmarkValues1500(b *testing.B) {
	list := &custom_metrics.MetricValueList{}
	for range 1500 {
		list.Items = append(list.Items, custom_metrics.MetricValue{
			DescribedObject: custom_metrics.ObjectReference{APIVersion: "/v1", Kind: "Pod", Namespace: "bench", Name: "web-7d9c5b6f4-00ff1"},
			Metric:          custom_metrics.MetricIdentifier{Name: "http_requests_per_second"},
			Timestamp:       metav1.Unix(1700000000, 0), Value: *resource.NewMilliQuantity(32612, resource.DecimalSI),
		})
	}
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			byLibrary(b, list, v1beta2.SchemeGroupVersion, mediaOf(b, runtime.ContentTypeJSON))
		}
	})
	b.Run("strata", func(b *testing.B) {
		encoder := valuesEncoder{"v1beta2", &sync.Pool{}}
		for b.Loop() {
			require.NoError(b, encoder.Encode(list, io.Discard))
		}
	})
}

// What is asked in the usual form is answered here, everything else by next.
func TestValuesTakesTheUsual(t *testing.T) {
	t.Parallel()
	const group = "/apis/custom.metrics.k8s.io/"
	resolver := &request.RequestInfoFactory{APIPrefixes: sets.NewString("apis", "api"), GrouplessAPIPrefixes: sets.NewString("api")}
	passed := false
	v := newValues(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true }), &fakeMetrics{})
	f := func(target, accept string, here bool, code int, want string) {
		t.Helper()
		method, target, _ := strings.Cut(target, " ")
		r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
		r.Header.Set("Accept", accept)
		info, err := resolver.NewRequestInfo(r)
		require.NoError(t, err)
		w := httptest.NewRecorder()
		passed = false
		v.ServeHTTP(w, r.WithContext(request.WithRequestInfo(r.Context(), info)))
		require.Equal(t, here, !passed, target)
		if here {
			require.Equal(t, code, w.Code, target)
			require.Contains(t, w.Body.String(), want, target)
		}
	}
	const pods = "GET " + group + "v1beta2/namespaces/shop/pods/*/http_requests"
	f(pods, "application/json", true, 200, `"namespace":"shop","name":"p"`)
	f(pods, "", true, 200, `"value":"7"`)
	f(pods, "application/vnd.kubernetes.protobuf, */*", true, 200, "k8s\x00")
	f(pods+"?labelSelector=app%3Dweb&metricLabelSelector=a%3Db", "*/*", true, 200, `"value":"7"`)
	f("GET "+group+"v1beta1/namespaces/shop/pods/one/http_requests", "*/*", true, 200, `"metricName":"http_requests"`)
	f("GET "+group+"v1beta2/nodes/n/http_requests", "*/*", true, 200, `"name":"n"`)
	f("GET "+group+"v1beta2/namespaces/shop/metrics/http_requests", "*/*", true, 200, `"name":"shop"`)
	f("GET "+group+"v1beta2/namespaces/shop/pods/*/unknown", "*/*", true, 404, "unknown")
	for _, other := range []string{
		"POST " + group + "v1beta2/namespaces/shop/pods/*/http_requests", "GET " + group + "v1/namespaces/shop/pods/*/http_requests",
		"GET " + group + "v1beta2/namespaces/shop/pods/*/a/b", "GET " + group + "v1beta2/namespaces/shop/pods", "GET " + group + "v1beta2",
		"GET /apis/external.metrics.k8s.io/v1beta1/namespaces/shop/m", pods + "?pretty=true", pods + "?watch=true", pods + "?fieldSelector=a%3Db",
		pods + "?labelSelector=%21%21", pods + "?labelSelector=a&labelSelector=b", pods + "?labelSelector=%zz",
	} {
		f(other, "application/json", false, 0, "")
	}
	f(pods, "application/yaml", false, 0, "")
	f(pods, "application/json;as=Table;g=meta.k8s.io;v=v1", false, 0, "")
}
