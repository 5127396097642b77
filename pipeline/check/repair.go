package check

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/util/strutil"
)

var unknownField = regexp.MustCompile(`unknown field "([^"]+)"`)

// repairs are what to do about errors that Prometheus' loaders give, by a part
// of their text; the first that fits holds.
func repairs() [][2]string {
	return [][2]string{
		{"could not parse expression", "mend the PromQL; the position counts from its first character"},
		{"could not parse template", "mend the template; $labels and $value are what it may use"},
		{"is repeated in the same file", "give each group a name of its own"},
		{"must be set in rule", "add it, or remove the rule"},
		{"only one of 'record' and 'alert' must be set", "make two rules of it"},
		{"one of 'record' or 'alert' must be set", "name the rule with record or alert"},
		{"invalid recording rule name", "use letters, digits, _ and :, such as job:requests:rate5m"},
		{"invalid field 'for' in recording rule", "for belongs to alerts; remove it"},
		{"invalid field 'annotations' in recording rule", "annotations belong to alerts; remove them"},
		{"scrape timeout greater than scrape interval", "set scrape_timeout to at most scrape_interval"},
		{"found multiple scrape configs with job name", "give each job a name of its own"},
		{"job_name is empty", "add job_name"},
		{"unknown relabel action", "use replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase or uppercase"},
		{"is not a valid hostname", "write host:port; scheme and path have fields of their own: scheme, metrics_path"},
		{"not a valid duration string", "write a number and a unit, such as 30s, 5m or 1h30m"},
		{"invalid rule file path", "only the last part of the path may hold a *"},
		{"did not find expected", "look at the indentation and brackets there and one line above"},
		{"mapping values are not allowed", "quote the value, or look for a missing space or line break"},
		{"cannot unmarshal", "look at the type: a list begins with -, a mapping with a key"},
		{"found character that cannot start any token", "indent with spaces and quote values that begin with @, ` or %"},
		{"unknown field", "remove it or correct its spelling"},
	}
}

// withRepair ends an error's line with what to do about it.
func withRepair(err error) error {
	text := err.Error()
	if m := unknownField.FindStringSubmatch(text); m != nil {
		if known := nearest(m[1], fieldNames()); known != "" {
			return fmt.Errorf("%w (did you mean %s?)", err, known)
		}
	}
	for _, r := range repairs() {
		if strings.Contains(text, r[0]) {
			return fmt.Errorf("%w (%s)", err, r[1])
		}
	}
	return err
}

// fieldNames are those of prometheus.yml and of rule files.
func fieldNames() []string {
	seen := map[reflect.Type]bool{}
	names := map[string]bool{}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		for slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Map}, t.Kind()) {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || seen[t] {
			return
		}
		seen[t] = true
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if name != "" && name != "-" {
				names[name] = true
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[config.Config]())
	walk(reflect.TypeFor[rulefmt.RuleGroups]())
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}

// likeness is how like a word must be to be proposed, from 0 to 1 (Jaro-Winkler).
const likeness = 0.9

// nearest is the word that is most like another, "" where none is.
func nearest(word string, words []string) string {
	best, at := "", likeness
	m := strutil.NewJaroWinklerMatcher(word)
	for _, w := range words {
		if score := m.Score(w); score > at {
			best, at = w, score
		}
	}
	return best
}
