package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// cpufreq reads the frequencies of the processors from
// /sys/devices/system/cpu/cpu*/cpufreq, in kHz there, see
// Documentation/admin-guide/pm/cpufreq.rst of the kernel. Processors that
// share a policy share its directory, which is read once.
type cpufreq struct {
	dir      string
	reader   reader
	online   string // the list of processors for which policies were found
	policies []policy
	slow     time.Duration
	now      func() time.Time

	frequencies [len(cpufreqFiles)]*metric.Family
	governor    *metric.Family
}

// cpufreqFiles are the attributes with a frequency. Those that measure it
// stand first: some kernels take up to 50 ms for one.
var cpufreqFiles = [...]string{
	"cpuinfo_cur_freq", "cpuinfo_avg_freq", "scaling_cur_freq",
	"cpuinfo_min_freq", "cpuinfo_max_freq", "scaling_min_freq", "scaling_max_freq",
}

// slowCpufreq is how long a policy may take until the rest is read by several
// threads, of which there are cpufreqThreads.
const (
	slowCpufreq    = 2 * time.Millisecond
	cpufreqThreads = 32
)

// policy is a set of processors that have one frequency.
type policy struct {
	dir    string
	cpus   []string // numbers
	reader reader
	values [len(cpufreqFiles)]float64 // Hz
	found  [len(cpufreqFiles)]bool
	// governors and current are what is written in the attributes of those
	// names; available are the words of governors.
	governors, current []byte
	available          []string
	err                error
}

func newCpufreq(o *Options) collect.Collector {
	gauge := func(name, help string) *metric.Family { return metric.NewGauge("node_cpu_"+name, help, "cpu") }
	return &cpufreq{
		dir: o.sysPath("devices", "system", "cpu"), slow: slowCpufreq, now: time.Now,
		frequencies: [len(cpufreqFiles)]*metric.Family{
			o.cpuFrequency,
			gauge("frequency_avg_hertz", "Average CPU thread frequency in hertz."),
			gauge("scaling_frequency_hertz", "Current scaled CPU thread frequency in hertz."),
			gauge("frequency_min_hertz", "Minimum CPU thread frequency in hertz."),
			gauge("frequency_max_hertz", "Maximum CPU thread frequency in hertz."),
			gauge("scaling_frequency_min_hertz", "Minimum scaled CPU thread frequency in hertz."),
			gauge("scaling_frequency_max_hertz", "Maximum scaled CPU thread frequency in hertz."),
		},
		governor: metric.NewGauge("node_cpu_scaling_governor", "Current enabled CPU frequency governor.", "cpu", "governor"),
	}
}

// newCPUFrequency declares the family to which both cpufreq and, with other
// labels besides, cpu add.
func newCPUFrequency() *metric.Family {
	return metric.NewGauge("node_cpu_frequency_hertz", "Current CPU thread frequency in hertz.", "cpu")
}

// Families implements collect.Collector.
func (c *cpufreq) Families() []*metric.Family {
	return append(c.frequencies[:len(c.frequencies):len(c.frequencies)], c.governor)
}

// Collect implements collect.Collector.
func (c *cpufreq) Collect(ctx context.Context, b *metric.Batch) error {
	if err := c.find(); err != nil {
		return err
	}
	c.readAll(ctx)
	var errs error
	for i := range c.policies {
		p := &c.policies[i]
		errs = errors.Join(errs, p.err)
		for _, cpu := range p.cpus {
			for i, f := range c.frequencies {
				if p.found[i] {
					b.Add(f, p.values[i], cpu)
				}
			}
			for _, g := range p.available {
				v := 0.0
				if g == string(p.current) {
					v = 1
				}
				b.Add(c.governor, v, cpu, g)
			}
		}
	}
	return errs
}

// find looks for the policies when processors went on or off, and as long as
// there are none: a driver can be loaded late.
func (c *cpufreq) find() error {
	online, err := c.reader.text(filepath.Join(c.dir, "online"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(c.policies) > 0 && string(online) == c.online {
		return nil
	}
	c.online, c.policies = string(online), nil
	list, err := entries(c.dir)
	if err != nil {
		return err
	}
	byDir := map[string]int{}
	for _, name := range list {
		cpu := strings.TrimPrefix(name, "cpu")
		if _, err := strconv.ParseUint(cpu, 10, 31); err != nil || cpu == name {
			continue
		}
		dir := filepath.Join(c.dir, name, "cpufreq")
		if target, err := os.Readlink(dir); err == nil {
			dir = filepath.Join(c.dir, name, target)
		}
		if unix.Access(dir, unix.F_OK) != nil {
			continue
		}
		i, ok := byDir[dir]
		if !ok {
			i = len(c.policies)
			byDir[dir] = i
			c.policies = append(c.policies, policy{dir: dir})
		}
		c.policies[i].cpus = append(c.policies[i].cpus, cpu)
	}
	return nil
}

// readAll reads the policies, one after the other as long as they are fast.
func (c *cpufreq) readAll(ctx context.Context) {
	for i := range c.policies {
		start := c.now()
		c.policies[i].read()
		if c.now().Sub(start) < c.slow {
			continue
		}
		rest := c.policies[i+1:]
		var wg sync.WaitGroup
		for chunk := range slices.Chunk(rest, max(1, (len(rest)+cpufreqThreads-1)/cpufreqThreads)) {
			wg.Add(1)
			collect.Go(ctx, func() {
				defer wg.Done()
				for i := range chunk {
					chunk[i].read()
				}
			})
		}
		collect.Wait(ctx, wg.Wait)
		return
	}
}

// read reads what the policy has; drivers leave out what they cannot say, and
// the measured frequency may be for root alone.
func (p *policy) read() {
	const kHz = 1000.0
	p.err = nil
	for i, name := range cpufreqFiles {
		v, err := p.reader.uint(p.dir + "/" + name)
		p.found[i] = err == nil
		p.values[i] = float64(v) * kHz
		p.fail(err)
	}
	current, err := p.reader.text(p.dir + "/scaling_governor")
	p.current = append(p.current[:0], current...)
	p.fail(err)
	governors, err := p.reader.text(p.dir + "/scaling_available_governors")
	p.fail(err)
	if len(p.current) == 0 || err != nil {
		p.available, p.governors = nil, nil
		return
	}
	if string(governors) != string(p.governors) {
		p.governors = append(p.governors[:0], governors...)
		p.available = strings.Fields(string(governors))
	}
}

func (p *policy) fail(err error) {
	if err != nil && !absent(err) && !errors.Is(err, fs.ErrPermission) {
		p.err = errors.Join(p.err, fmt.Errorf("cpu %s: %w", strings.Join(p.cpus, ","), err))
	}
}
