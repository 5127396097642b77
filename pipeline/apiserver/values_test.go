package apiserver

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	customapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
)

// libraryJSON is a list as the library writes it.
func libraryJSON(t testing.TB, list *custom_metrics.MetricValueList, version string) []byte {
	t.Helper()
	info, ok := runtime.SerializerInfoForMediaType(customapiserver.Codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	require.True(t, ok)
	encoder := customapiserver.Codecs.EncoderForVersion(info.Serializer, schema.GroupVersion{Group: custom_metrics.GroupName, Version: version})
	var b bytes.Buffer
	require.NoError(t, encoder.Encode(list, &b))
	return b.Bytes()
}

func requireLikeLibrary(t testing.TB, list *custom_metrics.MetricValueList) {
	t.Helper()
	for _, version := range []string{"v1beta1", "v1beta2"} {
		var b bytes.Buffer
		require.NoError(t, valuesEncoder{version, &sync.Pool{}}.Encode(list, &b))
		require.Equal(t, string(libraryJSON(t, list, version)), b.String())
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
			libraryJSON(b, list, "v1beta2")
		}
	})
	b.Run("strata", func(b *testing.B) {
		encoder := valuesEncoder{"v1beta2", &sync.Pool{}}
		for b.Loop() {
			require.NoError(b, encoder.Encode(list, io.Discard))
		}
	})
}
