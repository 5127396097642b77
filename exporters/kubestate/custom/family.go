package custom

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/strata-metrics/strata/internal/metric"
)

// The types of families, in small letters: the configuration may write them in
// any.
const (
	typeGauge    = "gauge"
	typeInfo     = "info"
	typeStateSet = "stateset"
)

// Family is a family of one kind of custom resources.
type Family struct {
	family
}

// family is a Family without the labels that name the kind.
type family struct {
	name, help string
	verbosity  int
	common     map[string]string
	base       labels
	each       *each
}

// Series is one series of an object; its labels are sorted.
type Series struct {
	Names, Values []string
	Value         float64
}

// Families are those of a kind that the resource matches.
func (r *Resource) Families(group, version, kind string) []Family {
	list := make([]Family, len(r.families))
	for i, f := range r.families {
		common := map[string]string{
			"customresource_group": group, "customresource_version": version, "customresource_kind": kind,
		}
		maps.Copy(common, f.common)
		f.common = common
		list[i] = Family{f}
	}
	return list
}

// Name is the family's name.
func (f *Family) Name() string { return f.name }

// Help is what the configuration says of the family.
func (f *Family) Help() string { return f.help }

// IsStateSet says whether the series of an object are the states of a set.
func (f *Family) IsStateSet() bool { return f.each.kind == typeStateSet }

// Verbosity is from which verbosity on errors of Series are to be told; 0 is
// always.
func (f *Family) Verbosity() int { return f.verbosity }

// Series makes the series of an object, and errors about those that cannot be
// made.
func (f *Family) Series(object map[string]any) ([]Series, []error) {
	base := maps.Clone(f.common)
	f.base.add(object, base)
	values, errs := f.each.values(f.each.path.get(object))
	list := make([]Series, 0, len(values))
	for _, v := range values {
		all := maps.Clone(base)
		maps.Copy(all, v.labels)
		s := Series{Value: v.value, Names: slices.Sorted(maps.Keys(all))}
		for _, name := range s.Names {
			s.Values = append(s.Values, all[name])
		}
		list = append(list, s)
	}
	for i, err := range errs {
		errs[i] = fmt.Errorf("%s: %w", f.each.path, err)
	}
	return list, errs
}

// each says which series are made of what is at a path.
type each struct {
	kind         string
	path         path
	valueFrom    path
	labels       labels
	labelFromKey string
	nilIsZero    bool
	list         []string // the states
	labelName    string   // of the states
}

// value is a series without the labels of its family.
type value struct {
	labels map[string]string
	value  float64
}

func (e *each) values(v any) ([]value, []error) {
	switch e.kind {
	case typeGauge:
		return e.gauges(v)
	case typeInfo:
		return e.infos(v)
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var values []value
	var errs []error
	for _, element := range list {
		states, err := e.states(element)
		values = append(values, states...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	return values, errs
}

// gauges makes one series of a value, or one of each element of a list or map.
func (e *each) gauges(v any) (values []value, errs []error) {
	add := func(element any, place, key string) {
		got, err := e.gauge(element, key)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s%w", place, err))
		}
		if got == nil {
			return
		}
		if key != "" && e.labelFromKey != "" {
			got.labels[e.labelFromKey] = key
		}
		e.labels.add(element, got.labels)
		if key != "" {
			e.labels.add(v, got.labels)
		}
		values = append(values, *got)
	}
	switch all := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(all)) {
			add(all[key], "", key)
		}
	case []any:
		for i, element := range all {
			add(element, fmt.Sprintf("[%d]: ", i), "")
		}
	default:
		add(v, "", "")
	}
	return values, errs
}

// gauge gives the value of one element, nil where it has none. The element of
// a map is the value itself when its key is what valueFrom says; another that
// is no number is passed over, since a map holds all sorts of things.
func (e *each) gauge(element any, key string) (*value, error) {
	if key != "" && len(e.valueFrom) == 1 && e.valueFrom[0].part == key {
		n, err := number(element, e.nilIsZero)
		if err != nil {
			return nil, fmt.Errorf("[%s]: %w", key, err)
		}
		return &value{map[string]string{}, n}, nil
	}
	got := e.valueFrom.get(element)
	switch {
	case got == nil && e.nilIsZero:
		return &value{map[string]string{}, 0}, nil
	case got == nil && element == nil && key == "":
		return nil, errors.New("there is nothing at this path")
	case got == nil:
		return nil, nil
	}
	n, err := number(got, e.nilIsZero)
	if err != nil {
		if key != "" {
			return nil, nil
		}
		return nil, fmt.Errorf("%s: %w", e.valueFrom, err)
	}
	return &value{map[string]string{}, n}, nil
}

// infos makes a series of 1 of whatever gives labels.
func (e *each) infos(v any) (values []value, errs []error) {
	add := func(element any, key string) {
		if element == nil && key == "" {
			return
		}
		labels := make(map[string]string)
		if key != "" && e.labelFromKey != "" {
			labels[e.labelFromKey] = key
		}
		e.labels.add(element, labels)
		if len(labels) > 0 {
			values = append(values, value{labels, 1})
		}
	}
	switch all := v.(type) {
	case []any:
		for _, element := range all {
			add(element, "")
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(all)) {
			add(all[key], key)
		}
		add(v, "")
	default:
		add(v, "")
	}
	return values, nil
}

// states makes one series of each state, 1 for the one that is.
func (e *each) states(v any) ([]value, error) {
	got := e.valueFrom.get(v)
	if got == nil {
		return nil, nil // it may come later
	}
	is, ok := got.(string)
	if !ok {
		return nil, fmt.Errorf("%s: a state is text, and this is %T", e.valueFrom, got)
	}
	var values []value
	for _, state := range e.list {
		s := value{labels: map[string]string{e.labelName: state}}
		if state == is {
			s.value = 1
		}
		e.labels.add(v, s.labels)
		values = append(values, s)
	}
	return values, nil
}

// labels are made of what is at paths: first all entries of maps, then single
// values, which go before.
type labels struct {
	maps, single []labelPath // by name
}

type labelPath struct {
	name string // of a map: what stands before the names of its entries
	path path
}

func newLabels(paths map[string][]string) (labels, error) {
	var l labels
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		p, err := newPath(paths[name])
		if err != nil {
			return l, fmt.Errorf("labelsFromPath: %s: %w", name, err)
		}
		switch prefix, wild := strings.CutSuffix(name, "*"); {
		case wild:
			l.maps = append(l.maps, labelPath{prefix, p})
		case strings.HasPrefix(name, "*"):
			l.maps = append(l.maps, labelPath{"", p})
		case name == "":
			return l, errors.New("labelsFromPath: a label without a name")
		default:
			l.single = append(l.single, labelPath{labelName(name), p})
		}
	}
	return l, nil
}

// add adds the labels that a value has.
func (l *labels) add(v any, to map[string]string) {
	for _, m := range l.maps {
		entries, _ := m.path.get(v).(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			to[labelName(m.name+name)] = fmt.Sprint(entries[name])
		}
	}
	for _, s := range l.single {
		if got := s.path.get(v); got != nil {
			to[s.name] = fmt.Sprint(got)
		}
	}
}

// labelName makes a valid name of any text.
func labelName(s string) string {
	s = metric.SanitizeName(s)
	if !metric.ValidLabelName(s) { // it begins with a digit or two underscores
		s = "_" + strings.TrimLeft(s, "_")
	}
	return s
}

// number makes a number of what JSON can hold. Text may be a truth value, a
// time, a quantity, a percentage or a number.
func number(v any, nilIsZero bool) (float64, error) {
	switch v := v.(type) {
	case nil:
		if nilIsZero {
			return 0, nil
		}
		return 0, errors.New("a number is missing")
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	case int64:
		return float64(v), nil
	case float64:
		return v, nil
	case int:
		return float64(v), nil
	case string:
		return numberOfText(v)
	}
	return 0, fmt.Errorf("a %T is no number", v)
}

// longestNumber is the longest text that is tried as a quantity.
const longestNumber = 64

func numberOfText(s string) (float64, error) {
	switch strings.ToLower(s) {
	case "true", "yes":
		return 1, nil
	case "false", "no", "unknown":
		return 0, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return float64(t.Unix()), nil
	}
	// Numbers first: a quantity with a large exponent takes minutes to parse.
	n, err := strconv.ParseFloat(s, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return n, nil
	}
	if len(s) > longestNumber {
		return 0, fmt.Errorf("text of %d bytes is no number", len(s))
	}
	if q, err := resource.ParseQuantity(s); err == nil {
		return q.AsApproximateFloat64(), nil
	}
	if len(validation.IsValidPercent(s)) == 0 {
		n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
		return n / 100, err
	}
	return 0, fmt.Errorf("%q is no number", s)
}
