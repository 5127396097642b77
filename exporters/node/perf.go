package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// PerfOptions of the collector perf.
type PerfOptions struct {
	// CPUs are the processors measured; empty means all that are online.
	CPUs []int
	// Tracepoints are counted besides, each as subsystem:event.
	Tracepoints []string
	// Hardware, Software and Cache name the counters; empty means all.
	Hardware, Software, Cache []string
	// NoHardware, NoSoftware and NoCache switch off the whole kind.
	NoHardware, NoSoftware, NoCache bool
}

func perfFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.Perf
	cpus := app.Flag("collector.perf.cpus", "List of CPUs from which perf metrics should be collected, such as 0,2-6 or 1-9:2.").String()
	app.Flag("collector.perf.tracepoint", "perf tracepoint that should be collected, as subsystem:event. (repeatable)").StringsVar(&o.Tracepoints)
	kinds := []struct {
		name string
		list *[]string
		off  *bool
	}{
		perfHardware: {"hardware", &o.Hardware, &o.NoHardware},
		perfSoftware: {"software", &o.Software, &o.NoSoftware},
		perfCache:    {"cache", &o.Cache, &o.NoCache},
	}
	for _, k := range kinds {
		app.Flag("collector.perf.disable-"+k.name+"-profilers", "disable perf "+k.name+" profilers").BoolVar(k.off)
		app.Flag("collector.perf."+k.name+"-profilers", "perf "+k.name+" profilers that should be collected (repeatable)").StringsVar(k.list)
	}
	f.finish = append(f.finish, func() (err error) {
		if o.CPUs, err = parsePerfCPUs(*cpus); err != nil {
			return fmt.Errorf("--collector.perf.cpus=%q: %w", *cpus, err)
		}
		for _, t := range o.Tracepoints {
			if subsystem, event, ok := strings.Cut(t, ":"); !ok || subsystem == "" || event == "" || strings.ContainsAny(t, "/.") {
				return fmt.Errorf("--collector.perf.tracepoint=%q is not of the form subsystem:event", t)
			}
		}
		for kind, k := range kinds {
			for _, name := range *k.list {
				if known := perfNames(perfKind(kind)); !slices.Contains(known, name) {
					return fmt.Errorf("--collector.perf.%s-profilers=%q is none of %s", k.name, name, strings.Join(known, ", "))
				}
			}
		}
		return nil
	})
}

// parsePerfCPUs reads numbers and ranges, each with a stride behind a colon or
// without, separated by commas.
func parsePerfCPUs(list string) ([]int, error) {
	if list == "" {
		return nil, nil
	}
	var cpus []int
	for part := range strings.SplitSeq(list, ",") {
		bounds, strideText, hasStride := strings.Cut(part, ":")
		from, to, isRange := strings.Cut(bounds, "-")
		if !isRange {
			to = from
		}
		stride := 1
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		var err3 error
		if hasStride {
			stride, err3 = strconv.Atoi(strideText)
		}
		if errors.Join(err1, err2, err3) != nil || first < 0 || last < first || last >= maxCPUs || stride < 1 {
			return nil, fmt.Errorf("%q is neither a number nor a range of processors", part)
		}
		for cpu := first; cpu <= last; cpu += stride {
			cpus = append(cpus, cpu)
		}
	}
	slices.Sort(cpus)
	return slices.Compact(cpus), nil
}

// perf counts events of the processors and the kernel, see perf_event_open(2).
// The counters are opened by the first scrape and stay open: they count from
// there.
type perf struct {
	reader    reader
	cpus      []int  // those asked for, nil for all
	online    string // path of the list of processors
	tracing   []string
	open      perfOpen
	events    []perfEvent
	counters  map[int][]io.ReadCloser // by processor, in the order of events; nil where there is none
	cpuLabels numbers
}

// perfOpen opens a counter of a processor. A read of it gives the value in 8
// bytes of this machine's order.
type perfOpen func(kind uint32, config uint64, cpu int) (io.ReadCloser, error)

func newPerf(o *Options) collect.Collector {
	c := &perf{
		cpus: o.Perf.CPUs, online: o.sysPath("devices/system/cpu/online"), open: openPerf, counters: map[int][]io.ReadCloser{},
		tracing: []string{o.sysPath("kernel/tracing"), o.sysPath("kernel/debug/tracing")},
	}
	for _, t := range slices.Compact(slices.Sorted(slices.Values(o.Perf.Tracepoints))) {
		subsystem, event, _ := strings.Cut(t, ":")
		c.events = append(c.events, perfEvent{
			name: t, tracepoint: subsystem + "/" + event, typ: unix.PERF_TYPE_TRACEPOINT,
			family: metric.NewCounter("node_perf_"+metric.SanitizeName(subsystem+"_"+event), "Perf tracepoint "+t, "cpu"),
		})
	}
	wanted := map[perfKind][]string{perfHardware: o.Perf.Hardware, perfSoftware: o.Perf.Software, perfCache: o.Perf.Cache}
	off := map[perfKind]bool{perfHardware: o.Perf.NoHardware, perfSoftware: o.Perf.NoSoftware, perfCache: o.Perf.NoCache}
	for _, e := range perfEvents() {
		if list := wanted[e.kind]; !off[e.kind] && (len(list) == 0 || slices.Contains(list, e.name)) {
			e.family = metric.NewCounter("node_perf_"+e.metric, e.help, "cpu")
			c.events = append(c.events, e)
		}
	}
	return c
}

// Families implements collect.Collector.
func (c *perf) Families() []*metric.Family {
	families := make([]*metric.Family, len(c.events))
	for i := range c.events {
		families[i] = c.events[i].family
	}
	return families
}

// Collect implements collect.Collector.
func (c *perf) Collect(ctx context.Context, b *metric.Batch) error {
	cpus, err := c.list()
	if err != nil {
		return err
	}
	for cpu := range maps.Keys(c.counters) {
		if !slices.Contains(cpus, cpu) {
			c.drop(cpu) // it is offline, where its counters stand still
		}
	}
	var errs error
	found := false
	for _, cpu := range cpus {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c.counters[cpu] == nil {
			counters, err := c.openAll(cpu)
			if err != nil {
				errs = errors.Join(errs, err)
				break // the same for the next
			}
			c.counters[cpu] = counters
		}
		n, err := c.read(b, cpu)
		errs = errors.Join(errs, err)
		found = found || n > 0
	}
	for i := range c.events {
		if err := c.events[i].err; err != nil {
			errs = errors.Join(errs, fmt.Errorf("opening the counter %s: %w", c.events[i].name, err))
		}
	}
	if errs == nil && !found {
		return fmt.Errorf("this machine has none of the counters: %w", collect.ErrNoData)
	}
	return errs
}

// list gives the processors to measure.
func (c *perf) list() ([]int, error) {
	data, err := c.reader.read(c.online)
	if absent(err) {
		if c.cpus != nil {
			return c.cpus, nil
		}
		all := make([]int, runtime.NumCPU())
		for i := range all {
			all[i] = i
		}
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	online, err := parseCPUList(c.online, data)
	if err != nil || c.cpus == nil {
		return online, err
	}
	return slices.DeleteFunc(online, func(cpu int) bool { return !slices.Contains(c.cpus, cpu) }), nil
}

// openAll opens the counters of a processor. Those that it does not have are
// nil; an error is one that all would have.
func (c *perf) openAll(cpu int) ([]io.ReadCloser, error) {
	counters := make([]io.ReadCloser, len(c.events))
	for i := range c.events {
		e := &c.events[i]
		config, err := c.config(e)
		if e.err = err; err != nil {
			continue // a tracepoint that this kernel lacks costs itself
		}
		if counters[i], err = c.open(e.typ, config, cpu); err == nil || absent(err) {
			continue
		}
		closeAll(counters[:i])
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			return nil, fmt.Errorf("opening the counter %s (it needs the capability PERFMON, or sysctl kernel.perf_event_paranoid=0): %w", e.name, err)
		}
		return nil, fmt.Errorf("opening the counter %s of processor %d: %w", e.name, cpu, err)
	}
	return counters, nil
}

// config is the number of an event. Those of tracepoints are in tracefs.
func (c *perf) config(e *perfEvent) (uint64, error) {
	if e.tracepoint == "" {
		return e.config, nil
	}
	var errs error
	for _, dir := range c.tracing {
		id, err := c.reader.uint(dir + "/events/" + e.tracepoint + "/id")
		if err == nil {
			return id, nil
		}
		errs = errors.Join(errs, err)
	}
	return 0, errs
}

// read adds the values of a processor, and says how many.
func (c *perf) read(b *metric.Batch, cpu int) (n int, err error) {
	label := c.cpuLabels.text(cpu)
	for i, counter := range c.counters[cpu] {
		if counter == nil {
			continue
		}
		value, err := readPerf(counter)
		if err != nil {
			c.drop(cpu) // the next scrape opens them anew
			return n, fmt.Errorf("reading the counter %s of processor %d: %w", c.events[i].name, cpu, err)
		}
		b.Add(c.events[i].family, float64(value), label)
		n++
	}
	return n, nil
}

func (c *perf) drop(cpu int) {
	closeAll(c.counters[cpu])
	delete(c.counters, cpu)
}

func closeAll(counters []io.ReadCloser) {
	for _, counter := range counters {
		if counter != nil {
			_ = counter.Close()
		}
	}
}
