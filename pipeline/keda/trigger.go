package keda

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	klabels "k8s.io/apimachinery/pkg/labels"

	pb "github.com/strata-metrics/strata/pipeline/keda/externalscaler"
)

// The metadata of a trigger that is for Strata.
const (
	keyMetric     = "metric"              // the name of an external metric of the adapter
	keySelector   = "selector"            // which of its series, as kubectl's -l
	keyQuery      = "query"               // PromQL, instead of metric
	keyMaxAge     = "maxAge"              // how old the samples behind the query may be
	keyThreshold  = "threshold"           // the target, above 0
	keyActivation = "activationThreshold" // the value above which the trigger is active
)

// kedaKeys are metadata that KEDA itself reads and passes on.
func kedaKeys() []string {
	return []string{"scalerAddress", "enableTLS", "unsafeSsl", "caCert", "tlsCertFile", "tlsClientCert", "tlsClientKey"}
}

// maxField bounds the length of each piece of metadata, in bytes.
const maxField = 16 << 10

// queryName is the name of the metric of a trigger with a query. KEDA puts the
// trigger's index before it.
const queryName = "query"

// Question is what a trigger asks the store. Equal questions have one answer.
type Question struct {
	// Namespace is that of the ScaledObject.
	Namespace string
	// Metric is the name of an external metric; "" where Query is set.
	Metric string
	// Selector selects of its series, in the form of kubectl's -l.
	Selector string
	// Query is PromQL.
	Query string
	// MaxAge is how old the samples behind Query may be; 0 leaves it to the Source.
	MaxAge time.Duration
}

// String names the question in logs and errors.
func (q Question) String() string {
	switch {
	case q.Query != "":
		return fmt.Sprintf("query %q of namespace %s", q.Query, q.Namespace)
	case q.Selector != "":
		return fmt.Sprintf("metric %s{%s} of namespace %s", q.Metric, q.Selector, q.Namespace)
	}
	return fmt.Sprintf("metric %s of namespace %s", q.Metric, q.Namespace)
}

// trigger is a trigger whose metadata has been read.
type trigger struct {
	question   Question
	threshold  float64
	activation float64
}

// metric is the name that KEDA knows the trigger's metric by.
func (t *trigger) metric() string {
	if t.question.Query != "" {
		return queryName
	}
	return t.question.Metric
}

func (t *trigger) active(value float64) bool { return value > t.activation }

// invalid is an error about a field of the metadata.
func invalid(field, format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, "scalerMetadata.%s: %s", field, fmt.Sprintf(format, args...))
}

// parseTrigger reads the metadata of a trigger. Its errors are of the code
// InvalidArgument and name the field.
func parseTrigger(ref *pb.ScaledObjectRef) (*trigger, error) {
	if ref.GetNamespace() == "" {
		return nil, status.Error(codes.InvalidArgument, "namespace: it is empty; KEDA sends that of the ScaledObject")
	}
	m := ref.GetScalerMetadata()
	known := []string{keyMetric, keySelector, keyQuery, keyMaxAge, keyThreshold, keyActivation}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(known, key) && !slices.Contains(kedaKeys(), key) {
			return nil, invalid(key, "Strata has no such field; there are %s", strings.Join(known, ", "))
		}
		if len(m[key]) > maxField {
			return nil, invalid(key, "it is longer than %d bytes", maxField)
		}
	}
	t := &trigger{question: Question{Namespace: ref.GetNamespace(), Metric: m[keyMetric], Query: strings.TrimSpace(m[keyQuery])}}
	if err := t.parseQuestion(m); err != nil {
		return nil, err
	}
	var err error
	if t.threshold, err = parseNumber(m, keyThreshold); err != nil {
		return nil, err
	}
	if t.threshold <= 0 {
		return nil, invalid(keyThreshold, "%q is not above 0; it is the value that one replica is to have", m[keyThreshold])
	}
	if m[keyActivation] != "" {
		t.activation, err = parseNumber(m, keyActivation)
	}
	return t, err
}

func (t *trigger) parseQuestion(m map[string]string) error {
	q := &t.question
	switch {
	case q.Metric == "" && q.Query == "":
		return invalid(keyMetric, "neither metric nor query is set; give the name of an external metric, or PromQL")
	case q.Metric != "" && q.Query != "":
		return invalid(keyQuery, "both metric and query are set; give one of them")
	case m[keySelector] != "" && q.Metric == "":
		return invalid(keySelector, "it goes with metric; write matchers into the query")
	case m[keyMaxAge] != "" && q.Query == "":
		return invalid(keyMaxAge, "it goes with query; that of a metric is its rule's")
	case strings.ContainsAny(q.Metric, "/%"):
		return invalid(keyMetric, "%q has a slash or a percent sign, which no metric of the API can have", q.Metric)
	}
	if s := m[keySelector]; s != "" {
		parsed, err := klabels.Parse(s)
		if err != nil {
			return invalid(keySelector, "%v; write it as kubectl's -l, such as queue=orders,tier in (a,b)", err)
		}
		q.Selector = parsed.String() // sorted, so that equal ones are the same question
	}
	if s := m[keyMaxAge]; s != "" {
		d, err := model.ParseDuration(s)
		if err != nil || d <= 0 {
			return invalid(keyMaxAge, "%q is not a duration above 0, such as 2m", s)
		}
		q.MaxAge = time.Duration(d)
	}
	return nil
}

func parseNumber(m map[string]string, key string) (float64, error) {
	text, ok := m[key]
	if !ok || text == "" {
		return 0, invalid(key, "it is missing")
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, invalid(key, "%q is not a number", text)
	}
	return v, nil
}

// whole is a number for versions of KEDA that know whole ones only.
func whole(v float64) int64 {
	switch v = math.Round(v); {
	case v >= math.MaxInt64:
		return math.MaxInt64
	case v <= math.MinInt64:
		return math.MinInt64
	}
	return int64(v)
}
