package node

import (
	"bytes"
	"context"
	"errors"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// cpuVulnerabilities reads what the kernel knows of the faults of the
// processors and what it does about them.
type cpuVulnerabilities struct {
	dir    string
	reader reader
	info   *metric.Family
}

func newCPUVulnerabilities(o *Options) collect.Collector {
	return &cpuVulnerabilities{
		dir: o.sysPath("devices", "system", "cpu", "vulnerabilities"),
		info: metric.NewGauge("node_cpu_vulnerabilities_info",
			"State and mitigation of each CPU vulnerability reported by sysfs.", "codename", "state", "mitigation"),
	}
}

// Families implements collect.Collector.
func (c *cpuVulnerabilities) Families() []*metric.Family { return []*metric.Family{c.info} }

// Collect implements collect.Collector. Before Linux 4.15 there is nothing to
// say, which is no failure.
func (c *cpuVulnerabilities) Collect(_ context.Context, b *metric.Batch) error {
	list, err := entries(c.dir)
	if errors.Is(err, collect.ErrNoData) {
		return nil
	}
	errs := err
	for _, name := range list {
		text, err := c.reader.text(c.dir + "/" + name)
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		state, mitigation := parseVulnerability(text)
		b.Add(c.info, 1, name, state, mitigation)
	}
	return errs
}

// parseVulnerability splits texts such as "Mitigation: PTI". Those of another
// form are unknown, with all that is said.
func parseVulnerability(text []byte) (state, mitigation string) {
	lower := bytes.ToLower(text)
	if hasPrefix(lower, "not affected") {
		return "not affected", ""
	}
	for _, state := range []string{"vulnerable", "mitigation", "unknown"} {
		if hasPrefix(lower, state) {
			words := bytes.Fields(text)
			return state, string(bytes.Join(words[1:], []byte(" ")))
		}
	}
	return "unknown", string(text)
}
