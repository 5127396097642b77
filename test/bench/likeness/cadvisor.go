package likeness

import "strings"

// CAdvisor gives the differences that are allowed to cAdvisor, wherever it runs;
// docs/compat-container.md tells of them.
func CAdvisor() []Difference {
	all := []Difference{
		{Kind: Missing, Family: "cadvisor_version_info", Why: "it is about cAdvisor itself"},
		{Kind: Added, Family: "strata_container_*", Why: "families of our own"},
		{Kind: Missing, Family: "container_fs_*", Where: mountedForContainer, Why: "file systems of containers are left out, there those that it finds when it starts are shown"},
		{Kind: Other, Family: "container_oom_events_total", Where: OfRoot, Why: "the kernel's count of the cgroup, there what was seen in its log since the start"},
	}
	for _, name := range []string{"read", "write", "io_time", "io_time_weighted"} {
		all = append(all, Difference{Kind: Other, Family: "container_fs_" + name + "_seconds_total", Where: OfRoot,
			Why: "the kernel's milliseconds are seconds here, there they are taken for nanoseconds"})
	}
	return all
}

// OfRoot tells whether a sample is of the root of the cgroups.
func OfRoot(s Sample) bool { return s.Labels["id"] == "/" }

// mountedForContainer tells whether a device of the root is the file system of a
// container or a volume of a pod.
func mountedForContainer(s Sample) bool {
	device := s.Labels["device"]
	return OfRoot(s) && (strings.HasPrefix(device, "overlay_") || strings.Contains(device, "/io.containerd.") || strings.Contains(device, "/pods/"))
}
