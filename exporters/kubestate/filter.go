package kubestate

import (
	"fmt"
	"regexp"
)

// filter says which families are shown.
type filter struct{ allow, deny, optIn []*regexp.Regexp }

func newFilter(allow, deny, optIn []string) (*filter, error) {
	if len(allow) > 0 && len(deny) > 0 {
		return nil, fmt.Errorf("%w: --metric-allowlist and --metric-denylist exclude each other", ErrUsage)
	}
	f := &filter{}
	for _, list := range []struct {
		flag     string
		patterns []string
		to       *[]*regexp.Regexp
	}{
		{"--metric-allowlist", allow, &f.allow},
		{"--metric-denylist", deny, &f.deny},
		{"--metric-opt-in-list", optIn, &f.optIn},
	} {
		for _, pattern := range list.patterns {
			re, err := regexp.Compile(pattern)
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrUsage, list.flag, err)
			}
			*list.to = append(*list.to, re)
		}
	}
	return f, nil
}

func (f *filter) shows(d declaration) bool {
	name := d.family.Name()
	if d.optIn && !matches(f.optIn, name) {
		return false
	}
	if len(f.allow) > 0 {
		return matches(f.allow, name)
	}
	return !matches(f.deny, name)
}

// matches is not anchored, as in kube-state-metrics: kube_pod_status also
// matches kube_pod_status_phase.
func matches(list []*regexp.Regexp, name string) bool {
	for _, re := range list {
		if re.MatchString(name) {
			return true
		}
	}
	return false
}
