package compat

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// body maps the TYPE lines and series of a body to their values. What differs
// between two loads of the same objects is masked, and what is in a namespace
// of the cluster's own is left out.
func (l *loader) body(text string) map[string][]string {
	label := regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
	masked := regexp.MustCompile(`^kube_(.*_created|.*_metadata_resource_version|.*_deletion_timestamp|serviceaccount_deleted)$`)
	out := make(map[string][]string)
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "# TYPE ") {
			out[line] = []string{""}
		}
		if line == "" || line[0] == '#' {
			continue
		}
		name := line[:strings.IndexAny(line, "{ ")]
		end := strings.LastIndexByte(line, ' ')
		value, foreign, cronjob := line[end+1:], false, ""
		var labels []string
		for _, m := range label.FindAllStringSubmatch(line[:end], -1) {
			switch m[1] {
			case "uid":
				m[0] = `uid="*"`
			case "namespace":
				foreign = m[2] != "" && !l.namespaces[m[2]]
			case "cronjob":
				cronjob = m[2]
			}
			labels = append(labels, m[0])
		}
		if foreign {
			continue
		}
		soon := name == "kube_cronjob_next_schedule_time" && (cronjob == "yearly" || cronjob == "never-run")
		if soon || masked.MatchString(name) {
			value = "*"
		}
		slices.Sort(labels)
		id := name + "{" + strings.Join(labels, ",") + "}"
		out[id] = append(out[id], number(value))
	}
	return out
}

// number is a value in one way of writing it.
func number(value string) string {
	f, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return value
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}
