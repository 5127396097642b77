package container

import (
	"slices"
	"strings"
)

// RawCgroups says which cgroups /metrics shows that are of no container: raw ones,
// as cAdvisor calls them. The zero value is all.
type RawCgroups struct {
	// Hide leaves out all but the root and those of Prefixes (--docker_only,
	// which in spite of its name shows the containers of every runtime).
	Hide bool
	// Prefixes of the paths of those that are shown. Without any it is all, or
	// with Hide none (--raw_cgroup_prefix_whitelist).
	Prefixes []string
	// HideRoot leaves out the root (--disable_root_cgroup_stats).
	HideRoot bool
}

// shows says whether a cgroup is to be shown.
func (r *RawCgroups) shows(c *Cgroup) bool {
	switch {
	case c.ID == "/":
		return !r.HideRoot
	case c.who != nil:
		return true
	case len(r.Prefixes) == 0:
		return !r.Hide
	default:
		return slices.ContainsFunc(r.Prefixes, func(prefix string) bool { return strings.HasPrefix(c.ID, prefix) })
	}
}
