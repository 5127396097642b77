package apiserver

import (
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"
)

// errNotValues is of an object that is no list of values.
var errNotValues = errors.New("not a list of custom metrics")

// valuesEncoder writes a *custom_metrics.MetricValueList as JSON of a version.
// Everything else, such as the status of an error, is the library's.
type valuesEncoder struct {
	version string
	buffers *sync.Pool // of *[]byte
}

// Identifier implements runtime.Encoder.
func (e valuesEncoder) Identifier() runtime.Identifier {
	return runtime.Identifier("strata-values-" + e.version)
}

// Encode implements runtime.Encoder.
func (e valuesEncoder) Encode(obj runtime.Object, w io.Writer) error {
	list, ok := obj.(*custom_metrics.MetricValueList)
	if !ok {
		return errNotValues
	}
	buf, _ := e.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	body, err := appendValues((*buf)[:0], list, e.version)
	if err == nil {
		_, err = w.Write(body)
	}
	*buf = body
	e.buffers.Put(buf)
	return err
}

// appendValues appends a list in the form of encoding/json.
func appendValues(b []byte, list *custom_metrics.MetricValueList, version string) ([]byte, error) {
	b = append(b, `{"kind":"MetricValueList","apiVersion":"`...)
	b = append(append(b, custom_metrics.GroupName...), '/')
	b = append(append(b, version...), `","metadata":`...)
	meta, err := json.Marshal(&list.ListMeta)
	if err != nil {
		return b, err
	}
	b = append(append(b, meta...), `,"items":[`...)
	var selectors selectorText
	for i := range list.Items {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendValue(b, &list.Items[i], version, &selectors); err != nil {
			return b, err
		}
	}
	return append(b, "]}\n"...), nil
}

func appendValue(b []byte, v *custom_metrics.MetricValue, version string, selectors *selectorText) ([]byte, error) {
	selector, err := selectors.of(v.Metric.Selector)
	if err != nil {
		return b, err
	}
	b = append(b, `{"describedObject":`...)
	b = appendReference(b, &v.DescribedObject)
	window := `,"window":`
	if version == v1beta1.SchemeGroupVersion.Version {
		b = appendString(append(b, `,"metricName":`...), v.Metric.Name)
	} else {
		window = `,"windowSeconds":`
		b = appendString(append(b, `,"metric":{"name":`...), v.Metric.Name)
		b = append(append(b, `,"selector":`...), selector...)
		b = append(b, '}')
	}
	b = appendTime(append(b, `,"timestamp":`...), &v.Timestamp)
	if v.WindowSeconds != nil {
		b = strconv.AppendInt(append(b, window...), *v.WindowSeconds, 10)
	}
	b = append(append(append(b, `,"value":"`...), v.Value.String()...), '"')
	if version == v1beta1.SchemeGroupVersion.Version {
		b = append(append(b, `,"selector":`...), selector...)
	}
	return append(b, '}'), nil
}

// selectorText is the JSON of a selector, which all values of a list share.
type selectorText struct {
	selector *metav1.LabelSelector
	text     []byte
}

func (s *selectorText) of(selector *metav1.LabelSelector) ([]byte, error) {
	if s.text != nil && s.selector == selector {
		return s.text, nil
	}
	text, err := json.Marshal(selector)
	s.selector, s.text = selector, text
	return text, err
}

func appendReference(b []byte, o *custom_metrics.ObjectReference) []byte {
	b = append(b, '{')
	for _, field := range [...]struct{ key, value string }{
		{`"kind":`, o.Kind}, {`"namespace":`, o.Namespace}, {`"name":`, o.Name}, {`"uid":`, string(o.UID)},
		{`"apiVersion":`, o.APIVersion}, {`"resourceVersion":`, o.ResourceVersion}, {`"fieldPath":`, o.FieldPath},
	} {
		if field.value == "" {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = appendString(append(b, field.key...), field.value)
	}
	return append(b, '}')
}

func appendTime(b []byte, t *metav1.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	return append(t.UTC().AppendFormat(append(b, '"'), time.RFC3339), '"')
}

// appendString appends what needs no escape as it is, as nearly all does.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0x7f {
			text, _ := json.Marshal(s) // of a string it cannot fail
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
