package adapter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Builtin are the names that need no rule: of each series with the labels
// namespace and pod,
//
//	a counter x_total         x_per_second            its rate
//	a gauge x                 x                       as it is
//	a histogram x             x_p50, p90, p95, p99    quantiles of what was observed
//	                          x_per_second            rate of observations
//
// of pods, of the namespace and, where the series has the label, of the service.
// The values of an object's series are added, buckets before the quantile is
// taken. Rates reach over four scrapes.
type Builtin struct {
	// Type is what the targets of a job say of a metric family; nil, and
	// model.MetricTypeUnknown or "" where it is not known, leave it to the
	// suffix of the name.
	Type func(job, family string) model.MetricType
	// Interval is how often the targets of a job are scraped; nil or 0 is
	// DefaultInterval.
	Interval func(job string) time.Duration
}

// DefaultInterval is how often jobs are scraped of which that is not known.
const DefaultInterval = 15 * time.Second

// builtinScrapes is how many scrapes are in the window of a rate.
const builtinScrapes = 4

// shape is a way to make an API metric of a family.
type shape struct {
	id     string // rate
	suffix string // of the API name
	query  string // of metricsQuery, [window] standing for the window
}

// familyKind is what a family of series is, as far as shapes go.
type familyKind int

const (
	kindNothing familyKind = iota // of no use by itself: a sum, a time of creation
	kindGauge
	kindCounter
	kindCount  // of a histogram or a summary
	kindBucket // of a classic histogram
	kindNative // a native histogram
)

const builtinSeries = `{__name__=<<printf "%q" .Series>>,<<.LabelMatchers>>}`

// shapes are what is offered of a family of a kind.
func (k familyKind) shapes() []shape {
	rate := "sum(rate(" + builtinSeries + "[window])) by (<<.GroupBy>>)"
	var buckets, id string
	switch k {
	case kindGauge:
		// The quantiles of a summary cannot be added.
		return []shape{{id: "gauge", query: `sum({__name__=<<printf "%q" .Series>>,quantile="",<<.LabelMatchers>>}) by (<<.GroupBy>>)`}}
	case kindCounter, kindCount:
		return []shape{{id: "rate", suffix: "_per_second", query: rate}}
	case kindBucket:
		buckets, id = "sum(rate("+builtinSeries+"[window])) by (le,<<.GroupBy>>)", ""
	case kindNative:
		buckets, id = rate, "native "
	default:
		return nil
	}
	var out []shape
	if k == kindNative {
		out = append(out, shape{id: id + "rate", suffix: "_per_second", query: "histogram_count(" + rate + ")"})
	}
	for _, q := range []string{"50", "90", "95", "99"} {
		out = append(out, shape{id: id + "p" + q, suffix: "_p" + q, query: "histogram_quantile(0." + q + "," + buckets + ")"})
	}
	return out
}

// cut is the suffix that a family of a kind loses in the name of the API.
func (k familyKind) cut() string {
	switch k {
	case kindCounter:
		return "_total"
	case kindCount:
		return "_count"
	case kindBucket:
		return "_bucket"
	}
	return ""
}

// offer is an API name and what is behind it.
type offer struct {
	name  string
	shape shape
}

func (k familyKind) offers(family string) []offer {
	base := strings.TrimSuffix(family, k.cut())
	if base == "" {
		return nil
	}
	var out []offer
	for _, s := range k.shapes() {
		name := base + s.suffix
		if name != "." && name != ".." && !strings.ContainsAny(name, "/%") {
			out = append(out, offer{name, s})
		}
	}
	return out
}

// families are those that an API name may be of, the one to prefer first.
func families(name string) []string {
	out := []string{name}
	if base, ok := strings.CutSuffix(name, "_per_second"); ok && base != "" {
		out = append(out, base+"_total", base, base+"_count")
	}
	for _, s := range kindBucket.shapes() {
		if base, ok := strings.CutSuffix(name, s.suffix); ok && base != "" {
			out = append(out, base+"_bucket", base)
		}
	}
	return out
}

// builtin makes and keeps the rules of Builtin.
type builtin struct {
	Builtin
	comp *compiler

	mu    sync.Mutex // guards rules
	rules map[string]*Rule
}

func newBuiltin(b *Builtin, comp *compiler) *builtin {
	if b == nil {
		return nil
	}
	out := &builtin{Builtin: *b, comp: comp, rules: map[string]*Rule{}}
	if out.Type == nil {
		out.Type = func(string, string) model.MetricType { return model.MetricTypeUnknown }
	}
	if out.Interval == nil {
		out.Interval = func(string) time.Duration { return 0 }
	}
	return out
}

// rule is that of a shape for series of a job.
func (b *builtin) rule(s shape, job string) (*Rule, error) {
	interval := b.Interval(job)
	if interval <= 0 {
		interval = DefaultInterval
	}
	query := strings.ReplaceAll(s.query, "[window]", "["+model.Duration(builtinScrapes*interval).String()+"]")
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.rules[query]; r != nil {
		return r, nil
	}
	r, err := b.comp.rule(kindRules, 0, &RuleConfig{
		SeriesQuery: `{namespace!="",pod!=""}`,
		Resources: ResourceMapping{Overrides: map[string]GroupResource{
			"namespace": {Resource: "namespaces"}, "pod": {Resource: "pods"}, "service": {Resource: "services"},
		}},
		MetricsQuery: query,
	})
	if err != nil {
		return nil, fmt.Errorf("zero configuration: %w", err)
	}
	r.id = "builtin[" + s.id + "]"
	b.rules[query] = r
	return r, nil
}

// kindOf tells what a family is, of which one series is given: by what its
// targets say, else by its name. has tells whether another family is there.
func (b *builtin) kindOf(family string, l seriesView, has func(family string) bool) familyKind {
	switch b.Type(l.job, family) {
	case model.MetricTypeCounter:
		return kindCounter
	case model.MetricTypeGauge, model.MetricTypeInfo, model.MetricTypeStateset:
		return kindGauge
	case model.MetricTypeHistogram:
		return kindNative
	case model.MetricTypeGaugeHistogram, model.MetricTypeSummary:
		return kindNothing
	}
	base, suffix := family, ""
	for _, s := range []string{"_total", "_bucket", "_count", "_sum", "_created"} {
		if cut, ok := strings.CutSuffix(family, s); ok && cut != "" {
			base, suffix = cut, s
		}
	}
	switch t := b.Type(l.job, base); {
	case suffix == "":
		return kindGauge
	case t == model.MetricTypeCounter, t == model.MetricTypeHistogram, t == model.MetricTypeGaugeHistogram, t == model.MetricTypeSummary:
		return partOf(t, suffix)
	}
	switch {
	case suffix == "_total":
		return kindCounter
	case suffix == "_bucket" && l.le:
		return kindBucket
	case suffix == "_count" && has(base+"_sum"):
		return kindCount
	case suffix == "_sum" && has(base+"_count"), suffix == "_created" && (has(base+"_total") || has(base+"_count")):
		return kindNothing
	}
	return kindGauge
}

// partOf is what the series with a suffix of a family of a type are.
func partOf(t model.MetricType, suffix string) familyKind {
	switch {
	case t == model.MetricTypeCounter && suffix == "_total":
		return kindCounter
	case t == model.MetricTypeHistogram && suffix == "_bucket":
		return kindBucket
	case (t == model.MetricTypeHistogram || t == model.MetricTypeSummary) && suffix == "_count":
		return kindCount
	}
	return kindNothing
}

// seriesView is what of a series counts here.
type seriesView struct {
	job     string
	le      bool
	service bool
}

// maxLook is how many series of a family are looked at to find one of pods
// where no namespace narrows them, maxLookListed for the list of metrics.
const (
	maxLook       = 10000
	maxLookListed = 20
)

// look finds a series of a family with the labels namespace and pod, and one
// more unless that is "".
func (a *Adapter) look(ctx context.Context, family, label string, most int, matchers ...*labels.Matcher) (view seriesView, found bool, err error) {
	now := a.now()
	err = a.index.Scan(ctx, now.Add(-a.window), now, family, func(l labels.Labels) bool {
		most--
		if l.Get("pod") == "" || l.Get("namespace") == "" || label != "" && l.Get(label) == "" {
			return most > 0
		}
		if !found {
			view, found = seriesView{job: strings.Clone(l.Get(model.JobLabel)), le: l.Has(model.BucketLabel)}, true
		}
		view.service = view.service || l.Get("service") != ""
		return label == "" && !view.service && most > 0
	}, matchers...)
	return view, found, err
}

// findBuiltin is the family behind a name of zero configuration, nil for none
// of which an object of the namespace has series. A namespace "" is any.
func (a *Adapter) findBuiltin(ctx context.Context, namespace, metric string, want *resource) (*candidate, error) {
	gauge, err := a.builtin.rule(kindGauge.shapes()[0], "")
	a.health.report(nil, "zero configuration", err)
	if err != nil {
		return nil, nil // it costs these names alone
	}
	label, err := gauge.labels.labelFor(want.gvr.GroupResource())
	if err != nil {
		if errors.Is(err, errUnmapped) {
			err = nil
		}
		return nil, err
	}
	var in []*labels.Matcher
	if namespace != "" {
		in = append(in, labels.MustNewMatcher(labels.MatchEqual, "namespace", namespace))
	}
	for _, family := range families(metric) {
		view, found, err := a.look(ctx, family, label, maxLook, in...)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		kind := a.builtin.kindOf(family, view, func(other string) bool {
			_, ok, _ := a.look(ctx, other, "", maxLook, in...)
			return ok
		})
		for _, o := range kind.offers(family) {
			if o.name == metric {
				rule, err := a.builtin.rule(o.shape, view.job)
				return &candidate{rule: rule, family: family}, err
			}
		}
	}
	return nil, nil
}
