package kubestate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/strata-metrics/strata/internal/metric"
)

// Allowlist says, by the plural name of a resource, which labels or
// annotations of its objects are shown. The resource * stands for all and then
// is the only one that counts. A name may hold one *, which matches anything;
// * alone means all and must be the first.
type Allowlist map[string][]string

// ParseAllowlist reads the form of the flag --metric-labels-allowlist:
//
//	pods=[app,example.org/*],nodes=[*]
func ParseAllowlist(s string) (Allowlist, error) {
	list := Allowlist{}
	if strings.TrimSpace(s) == "" {
		return list, nil
	}
	for rest := s; ; {
		resource, after, ok := strings.Cut(rest, "=[")
		resource = strings.TrimSpace(resource)
		if !ok || resource == "" || strings.ContainsAny(resource, ",[]=") {
			return nil, allowlistError(s, "a resource and =[ expected at "+strconv.Quote(rest))
		}
		inside, after, ok := strings.Cut(after, "]")
		if !ok || strings.ContainsAny(inside, "[=") {
			return nil, allowlistError(s, "the ] of "+resource+" is missing")
		}
		names, err := parseNames(inside)
		if err != nil {
			return nil, allowlistError(s, resource+": "+err.Error())
		}
		list[resource] = append(list[resource], names...)
		if after == "" {
			return list, nil
		}
		if rest, ok = strings.CutPrefix(after, ","); !ok {
			return nil, allowlistError(s, "a comma expected at "+strconv.Quote(after))
		}
	}
}

func parseNames(s string) ([]string, error) {
	names := []string{}
	if s == "" {
		return names, nil
	}
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			return nil, fmt.Errorf("an empty name in %q", s)
		}
		if strings.Count(name, "*") > 1 {
			return nil, fmt.Errorf("more than one * in %q", name)
		}
		names = append(names, name)
	}
	return names, nil
}

func allowlistError(s, cause string) error {
	return fmt.Errorf("%w: allowlist %q: %s; the form is pods=[name,other],nodes=[*]", ErrUsage, s, cause)
}

// Merge adds the entries of another list, for a flag that is given twice.
func (a Allowlist) Merge(other Allowlist) {
	for resource, names := range other {
		a[resource] = append(a[resource], names...)
	}
}

// of gives the patterns for a resource.
func (a Allowlist) of(resource string) []pattern {
	names, ok := a["*"]
	if !ok {
		names = a[resource]
	}
	var list []pattern
	for i, name := range names {
		if name == "*" && i > 0 {
			continue // as in kube-state-metrics, lest it be given in passing
		}
		before, after, wild := strings.Cut(name, "*")
		list = append(list, pattern{before: before, after: after, wild: wild, all: name == "*"})
	}
	return list
}

// pattern is a name in which one * may stand for anything.
type pattern struct {
	before, after string
	wild, all     bool
}

func (p pattern) match(name string) bool {
	if !p.wild {
		return name == p.before
	}
	return len(name) >= len(p.before)+len(p.after) && strings.HasPrefix(name, p.before) && strings.HasSuffix(name, p.after)
}

// labelNames makes Prometheus label names of sorted Kubernetes names. Where
// two come out the same, all get a number: _conflict1, _conflict2 and so on,
// passing over names that are taken by then.
func labelNames(prefix string, keys []string) []string {
	names := make([]string, 0, len(keys))
	numbers := make(map[string]int) // last one given, of the names that met
	free := func(base string) string {
		for {
			numbers[base]++
			name := base + "_conflict" + strconv.Itoa(numbers[base])
			if !slices.Contains(names, name) {
				return name
			}
		}
	}
	for _, k := range keys {
		base := prefix + "_" + snakeCase(metric.SanitizeName(k))
		if first := slices.Index(names, base); first >= 0 && numbers[base] == 0 {
			names[first] = free(base)
		}
		if numbers[base] > 0 {
			base = free(base)
		}
		names = append(names, base)
	}
	return names
}

// snakeCase turns appVersion into app_version and GPU into gpu.
func snakeCase(s string) string {
	out := make([]byte, 0, len(s)+4)
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			if i > 0 && (s[i-1] >= 'a' && s[i-1] <= 'z' || s[i-1] >= '0' && s[i-1] <= '9') {
				out = append(out, '_')
			}
			c += 'a' - 'A'
		}
		out = append(out, c)
	}
	return string(out)
}
