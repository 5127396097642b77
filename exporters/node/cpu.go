package node

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/procfs"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// CPUOptions of the collector cpu.
type CPUOptions struct {
	Guest bool // node_cpu_guest_seconds_total
	Info  bool // node_cpu_info and node_cpu_frequency_hertz from /proc/cpuinfo
	// Flags and Bugs choose what of these lines of /proc/cpuinfo is exposed;
	// nil is nothing. Given one of them, Info is on.
	Flags, Bugs *regexp.Regexp
}

func cpuFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.CPU
	app.Flag("collector.cpu.guest", "Enables metric node_cpu_guest_seconds_total.").Default("true").BoolVar(&o.Guest)
	app.Flag("collector.cpu.info", "Enables metric node_cpu_info.").BoolVar(&o.Info)
	f.pattern(app, "collector.cpu.info.flags-include", "Regexp of the flags in /proc/cpuinfo to expose.", &o.Flags)
	f.pattern(app, "collector.cpu.info.bugs-include", "Regexp of the bugs in /proc/cpuinfo to expose.", &o.Bugs)
}

// cpuModes are the columns of a processor's line in /proc/stat. The last two
// are time in guests, which is also part of user and nice.
var cpuModes = [...]string{
	"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "user", "nice",
}

const (
	idle       = 3
	firstGuest = 8
	// userHZ is the unit of /proc/stat, the same on every architecture that
	// Go runs on.
	userHZ = 100
	// jumpBack is how far, in ticks, the idle time of a processor falls when
	// it was taken offline and came back.
	jumpBack = 3 * userHZ
)

// cpu reads /proc/stat for the time of each processor, and what /sys says of
// the processors.
//
// The kernel's idle and iowait times are estimates and go back now and then,
// which rate() would take for a restart of the counter. So a value that falls
// is held at what it was; only when idle falls by three seconds or more, the
// processor is taken for one that was switched off and on, and all its values
// begin anew. node_exporter does the same.
type cpu struct {
	options *Options
	path    string
	reader  reader
	stats   map[int]*cpuTimes
	lines   []cpuLine
	round   uint64 // counts scrapes, to find processors that are gone
	sys     cpuSys

	seconds, guest *metric.Family // guest is nil when switched off
	info           *cpuInfo       // nil when switched off
}

// cpuLine is a processor's line of /proc/stat, in ticks.
type cpuLine struct {
	id    int
	ticks [len(cpuModes)]uint64
}

// cpuTimes is what was exposed for a processor.
type cpuTimes struct {
	label string
	ticks [len(cpuModes)]uint64
	round uint64
}

func newCPU(o *Options) collect.Collector {
	c := &cpu{
		options: o,
		path:    o.procPath("stat"),
		stats:   map[int]*cpuTimes{},
		seconds: metric.NewCounter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.", "cpu", "mode"),
		sys:     newCPUSys(o),
	}
	if o.CPU.Guest {
		c.guest = metric.NewCounter("node_cpu_guest_seconds_total", "Seconds the CPUs spent in guests (VMs) for each mode.", "cpu", "mode")
	}
	if o.CPU.Info || o.CPU.Flags != nil || o.CPU.Bugs != nil {
		c.info = newCPUInfo(o)
	}
	return c
}

// Families implements collect.Collector.
func (c *cpu) Families() []*metric.Family {
	all := append([]*metric.Family{c.seconds}, c.sys.families()...)
	if c.guest != nil {
		all = append(all, c.guest)
	}
	if c.info != nil {
		all = append(all, c.info.families()...)
	}
	return all
}

// Collect implements collect.Collector.
func (c *cpu) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.keep(c.path, 0)
	if err != nil {
		return err
	}
	c.options.statText.put(data, time.Now())
	if c.lines, err = parseCPUs(c.path, data, c.lines[:0]); err != nil {
		return err
	}
	changed := c.update()
	for _, line := range c.lines {
		t := c.stats[line.id]
		for mode, ticks := range t.ticks {
			switch {
			case mode < firstGuest:
				b.Add(c.seconds, float64(ticks)/userHZ, t.label, cpuModes[mode])
			case c.guest != nil:
				b.Add(c.guest, float64(ticks)/userHZ, t.label, cpuModes[mode])
			}
		}
	}
	err = c.sys.collect(b, changed)
	if c.info != nil {
		err = errors.Join(err, c.info.collect(b))
	}
	return err
}

// update brings c.stats to c.lines, and says whether processors came or went.
func (c *cpu) update() (changed bool) {
	c.round++
	for i := range c.lines {
		line := &c.lines[i]
		t := c.stats[line.id]
		if t == nil {
			changed = true
			t = &cpuTimes{label: strconv.Itoa(line.id)}
			c.stats[line.id] = t
		}
		t.round = c.round
		t.advance(&line.ticks)
	}
	if len(c.stats) == len(c.lines) {
		return changed
	}
	for id, t := range c.stats {
		if t.round != c.round {
			delete(c.stats, id)
			changed = true
		}
	}
	return changed
}

// advance takes new values over and keeps those that would fall.
func (t *cpuTimes) advance(now *[len(cpuModes)]uint64) {
	if t.ticks[idle] >= now[idle]+jumpBack {
		t.ticks = *now
		return
	}
	for i, v := range now {
		t.ticks[i] = max(t.ticks[i], v)
	}
}

// parseCPUs appends the lines of the single processors to dst. They stand at
// the beginning of /proc/stat; the rest is not looked at. Old kernels have
// fewer columns, which are 0 then.
func parseCPUs(path string, data []byte, dst []cpuLine) ([]cpuLine, error) {
	l := newLines(path, data)
	for l.next() {
		name, rest := field(l.line)
		if len(name) < 3 || string(name[:3]) != "cpu" {
			if len(dst) == 0 {
				return dst, l.errorf("%s is not the line of a processor, such as cpu0", quote(l.line))
			}
			return dst, nil
		}
		var line cpuLine
		n, err := parseUints(rest, line.ticks[:])
		switch {
		case err != nil:
			return dst, l.errorf("%s: %w", name, err)
		case n <= idle:
			return dst, l.errorf("%s has %d columns, at least %d are expected", quote(name), n, idle+1)
		case string(name) == "cpu":
			continue
		}
		id, err := strconv.ParseUint(string(name[3:]), 10, 31)
		if err != nil {
			return dst, l.errorf("%s is not the name of a processor", quote(name))
		}
		line.id = int(id)
		dst = append(dst, line)
	}
	if err := l.end(); err != nil {
		return dst, err
	}
	if len(dst) == 0 {
		return dst, l.errorf("the file ends without the line of a processor")
	}
	return dst, nil
}

// cpuInfo exposes /proc/cpuinfo, whose form differs between architectures: its
// parser is that of procfs.
type cpuInfo struct {
	options          *Options
	info, flag, bugs *metric.Family
	frequency        *metric.Family // nil when switched off
	frequencyLabels  []string
}

func newCPUInfo(o *Options) *cpuInfo {
	c := &cpuInfo{
		options:         o,
		frequencyLabels: []string{"package", "core"},
		info: metric.NewGauge("node_cpu_info", "CPU information from /proc/cpuinfo.",
			"package", "core", "cpu", "vendor", "family", "model", "model_name", "microcode", "stepping", "cachesize"),
		flag: metric.NewGauge("node_cpu_flag_info", "The `flags` field of CPU information from /proc/cpuinfo taken from the first core.", "flag"),
		bugs: metric.NewGauge("node_cpu_bug_info", "The `bugs` field of CPU information from /proc/cpuinfo taken from the first core.", "bug"),
	}
	// As in node_exporter, one flag switches both kinds of frequency.
	if o.on("cpufreq") {
		c.frequency = o.cpuFrequency
	}
	return c
}

func (c *cpuInfo) families() []*metric.Family {
	all := []*metric.Family{c.info, c.flag, c.bugs}
	if c.frequency != nil {
		all = append(all, c.frequency)
	}
	return all
}

func (c *cpuInfo) collect(b *metric.Batch) error {
	path := c.options.procPath("cpuinfo")
	fs, err := procfs.NewFS(c.options.Procfs)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	cpus, err := fs.CPUInfo()
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	for i := range cpus {
		p := &cpus[i]
		number := strconv.FormatUint(uint64(p.Processor), 10)
		b.Add(c.info, 1, p.PhysicalID, p.CoreID, number, p.VendorID, p.CPUFamily, p.Model, p.ModelName,
			p.Microcode, p.Stepping, p.CacheSize)
		if c.frequency != nil {
			b.AddExtra(c.frequency, p.CPUMHz*1e6, []string{number}, c.frequencyLabels, []string{p.PhysicalID, p.CoreID})
		}
	}
	if len(cpus) > 0 {
		addMatching(b, c.flag, cpus[0].Flags, c.options.CPU.Flags)
		addMatching(b, c.bugs, cpus[0].Bugs, c.options.CPU.Bugs)
	}
	return nil
}

func addMatching(b *metric.Batch, f *metric.Family, words []string, wanted *regexp.Regexp) {
	for _, word := range words {
		if wanted != nil && wanted.MatchString(word) {
			b.Add(f, 1, word)
		}
	}
}
