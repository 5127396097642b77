package main

import (
	"strings"

	"github.com/strata-metrics/strata/test/bench/likeness"
)

// differences are those that docs/compat-container.md tells of.
func differences() []likeness.Difference {
	const (
		unnamed    = "a device that the kernel does not list goes by its numbers, there it has no name"
		unreadable = "the memory of a process that may not be read is an error and the rest counts, there all is 0"
	)
	all := append(likeness.CAdvisor(), []likeness.Difference{
		{Kind: likeness.Added, Family: "container_cpu_usage_seconds_total", Where: totalCPU, Why: "what has used no CPU is 0, there it is missing until the first use"},
		{Kind: likeness.Missing, Family: "container_cpu_*", Where: memoryOnly, Why: "it is not in the hierarchies of the CPU, there that is 0"},
		{Kind: likeness.Other, Family: "container_cpu_schedstat_*", Where: likeness.OfRoot, Why: "of processes that have ended each program knows those since its own start"},
		{Kind: likeness.Other, Family: "container_network_udp*", Where: queued, Why: "rxqueued and txqueued are exchanged there"},
		{Kind: likeness.Other, Family: "container_referenced_bytes", Where: likeness.OfRoot, Why: unreadable},
		{Kind: likeness.Other, Family: "container_scrape_error", Why: unreadable},
		{Kind: likeness.Other, Family: "machine_cpu_cores", Why: "the processors that are online"},
	}...)
	for _, kind := range []likeness.Kind{likeness.Missing, likeness.Added} {
		for _, family := range []string{"container_fs_*", "container_blkio_*"} {
			all = append(all, likeness.Difference{Kind: kind, Family: family, Where: nameless, Why: unnamed})
		}
	}
	return all
}

// tolerances are of what moves both ways between readings.
func tolerances() []likeness.Tolerance {
	const (
		others = "what else runs on the machine"
		heap   = "the heap of the process in it, and the batches in which the kernel charges memory"
	)
	return []likeness.Tolerance{
		{Family: "container_memory_numa_pages", Where: likeness.OfRoot, Share: 0.2, By: 32 << 10, Why: others},
		{Family: "container_memory_*", Where: rootGauge, Share: 0.2, By: 128 << 20, Why: others},
		{Family: "container_file_descriptors", Where: likeness.OfRoot, Share: 0.5, By: 100, Why: others},
		{Family: "container_sockets", Where: likeness.OfRoot, Share: 0.5, By: 100, Why: others},
		{Family: "container_processes", Where: likeness.OfRoot, Share: 0.5, By: 100, Why: others},
		{Family: "container_network_*", Where: rootGauge, Share: 0.5, By: 100, Why: others},
		{Family: "container_fs_io_current", By: 100, Why: others},
		{Family: "container_fs_usage_bytes", Share: 0.05, By: 128 << 20, Why: others},
		{Family: "container_fs_inodes_free", Share: 0.05, Why: others},
		{Family: "container_memory_numa_pages", By: 256, Why: heap},
		{Family: "container_memory_*", Where: gauge, By: 1 << 20, Why: heap},
		{Family: "container_referenced_bytes", By: 4 << 20, Why: heap},
		{Family: "container_threads", By: 10, Why: "Go starts threads as it likes"},
	}
}

func gauge(s likeness.Sample) bool { return s.Type == "gauge" }

func rootGauge(s likeness.Sample) bool { return likeness.OfRoot(s) && gauge(s) }

func totalCPU(s likeness.Sample) bool { return s.Labels["cpu"] == "total" && s.Value == 0 }

func memoryOnly(s likeness.Sample) bool {
	return s.Labels["id"] == parent+"/"+memoryAlone && s.Value == 0
}

func queued(s likeness.Sample) bool {
	return s.Labels["udp_state"] == "rxqueued" || s.Labels["udp_state"] == "txqueued"
}

// nameless are of a device without a name.
func nameless(s likeness.Sample) bool {
	device := s.Labels["device"]
	return device == "" || strings.Trim(device, "0123456789:") == ""
}
