package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/metric"
)

// cpuSys is the part of the collector cpu that reads /sys/devices/system/cpu.
// Which files there are is found out when a processor comes or goes; a scrape
// reads only those with numbers that move, and none on a virtual machine.
type cpuSys struct {
	dir       string
	reader    reader
	throttles []throttle
	isolated  []string
	// isolatedErr is that of the one time that the list was read: it cannot
	// change while the kernel runs.
	isolatedErr  error
	isolatedRead bool
	// online tells whether this machine can switch processors off.
	online bool
	labels map[int]string

	core, pkg, isolatedFamily, onlineFamily *metric.Family
}

// throttle is a file with a count, and the labels it is exposed with.
type throttle struct {
	path   string
	family *metric.Family
	labels []string
}

// maxCPUs is the largest number of processors that Linux can be built for.
const maxCPUs = 1 << 16

func newCPUSys(o *Options) cpuSys {
	return cpuSys{
		dir:    o.sysPath("devices", "system", "cpu"),
		labels: map[int]string{},
		core: metric.NewCounter("node_cpu_core_throttles_total",
			"Number of times this CPU core has been throttled.", "package", "core"),
		pkg: metric.NewCounter("node_cpu_package_throttles_total",
			"Number of times this CPU package has been throttled.", "package"),
		isolatedFamily: metric.NewGauge("node_cpu_isolated",
			"Whether each core is isolated, information from /sys/devices/system/cpu/isolated.", "cpu"),
		onlineFamily: metric.NewGauge("node_cpu_online",
			"CPUs that are online and being scheduled.", "cpu"),
	}
}

func (c *cpuSys) families() []*metric.Family {
	return []*metric.Family{c.core, c.pkg, c.isolatedFamily, c.onlineFamily}
}

// collect adds the samples. changed says that processors came or went since
// the scrape before.
func (c *cpuSys) collect(b *metric.Batch, changed bool) error {
	if changed {
		c.find()
	}
	if !c.isolatedRead {
		c.isolatedRead = true
		c.isolated, c.isolatedErr = c.readIsolated()
	}
	for _, cpu := range c.isolated {
		b.Add(c.isolatedFamily, 1, cpu)
	}
	for _, t := range c.throttles {
		// A processor that was switched off this very moment has no file.
		if v, err := c.reader.uint(t.path); err == nil {
			b.Add(t.family, float64(v), t.labels...)
		}
	}
	if !c.online {
		return c.isolatedErr
	}
	return errors.Join(c.isolatedErr, c.collectOnline(b))
}

// find looks for the files of throttling. Threads of a core and cores of a
// package show the same count, so that one file of each is enough.
func (c *cpuSys) find() {
	c.throttles = c.throttles[:0]
	c.online = unix.Access(filepath.Join(c.dir, "cpu0", "online"), unix.F_OK) == nil
	cpus, _ := filepath.Glob(filepath.Join(c.dir, "cpu[0-9]*"))
	seen := map[string]bool{}
	for _, dir := range cpus {
		pkg, err := c.reader.uint(filepath.Join(dir, "topology", "physical_package_id"))
		if err != nil {
			continue // switched off
		}
		core, err := c.reader.uint(filepath.Join(dir, "topology", "core_id"))
		if err != nil {
			continue
		}
		p, n := strconv.FormatUint(pkg, 10), strconv.FormatUint(core, 10)
		for _, t := range []throttle{
			{filepath.Join(dir, "thermal_throttle", "core_throttle_count"), c.core, []string{p, n}},
			{filepath.Join(dir, "thermal_throttle", "package_throttle_count"), c.pkg, []string{p}},
		} {
			key := t.family.Name() + strings.Join(t.labels, "/")
			if _, err := c.reader.uint(t.path); err == nil && !seen[key] {
				seen[key] = true
				c.throttles = append(c.throttles, t)
			}
		}
	}
}

func (c *cpuSys) readIsolated() ([]string, error) {
	ids, err := c.readList("isolated")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	labels := make([]string, len(ids))
	for i, id := range ids {
		labels[i] = strconv.Itoa(id)
	}
	return labels, err
}

// collectOnline exposes which of the processors that this kernel knows are
// online. It reads the list for all in place of a file for each.
func (c *cpuSys) collectOnline(b *metric.Batch) error {
	present, err := c.readList("present")
	if err != nil {
		return err
	}
	on, err := c.readList("online")
	if err != nil {
		return err
	}
	isOn := make(map[int]bool, len(on))
	for _, id := range on {
		isOn[id] = true
	}
	for _, id := range present {
		if c.labels[id] == "" {
			c.labels[id] = strconv.Itoa(id)
		}
		v := 0.0
		if isOn[id] {
			v = 1
		}
		b.Add(c.onlineFamily, v, c.labels[id])
	}
	return nil
}

func (c *cpuSys) readList(name string) ([]int, error) {
	path := filepath.Join(c.dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return parseCPUList(path, data)
}
