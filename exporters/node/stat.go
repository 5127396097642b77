package node

import (
	"context"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// StatOptions of the collector stat.
type StatOptions struct {
	SoftIRQ bool // node_softirqs_total by vector
}

func statFlags(app *kingpin.Application, f *flagSet) {
	app.Flag("collector.stat.softirq", "Export softirq calls per vector.").BoolVar(&f.options.Stat.SoftIRQ)
}

// stat reads the lines of /proc/stat that are not about one processor.
type stat struct {
	path     string
	reader   reader
	text     *statText
	kept     []byte // text taken from it
	families [len(statKeys)]*metric.Family
	softirq  *metric.Family // nil when switched off
}

// statKeys are the first words of the lines, in the order of /proc/stat, and
// the places in statValues.
var statKeys = [...]string{"intr", "ctxt", "btime", "processes", "procs_running", "procs_blocked"}

// softirqVectors are the columns of the line softirq behind the sum, as in
// include/linux/interrupt.h.
var softirqVectors = [...]string{
	"hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched", "hrtimer", "rcu",
}

// statValues is what parseStat found.
type statValues struct {
	values  [len(statKeys)]uint64
	found   [len(statKeys)]bool
	softirq [len(softirqVectors)]uint64
	// vectors counts the softirq columns that there were.
	vectors int
}

func newStat(o *Options) collect.Collector {
	c := &stat{path: o.procPath("stat"), text: o.statText, families: [len(statKeys)]*metric.Family{
		metric.NewCounter("node_intr_total", "Total number of interrupts serviced."),
		metric.NewCounter("node_context_switches_total", "Total number of context switches."),
		metric.NewGauge("node_boot_time_seconds", "Node boot time, in unixtime."),
		metric.NewCounter("node_forks_total", "Total number of forks."),
		metric.NewGauge("node_procs_running", "Number of processes in runnable state."),
		metric.NewGauge("node_procs_blocked", "Number of processes blocked waiting for I/O to complete."),
	}}
	if o.Stat.SoftIRQ {
		c.softirq = metric.NewCounter("node_softirqs_total", "Number of softirq calls.", "vector")
	}
	return c
}

// Families implements collect.Collector.
func (c *stat) Families() []*metric.Family {
	all := c.families[:]
	if c.softirq != nil {
		all = append(all[:len(all):len(all)], c.softirq)
	}
	return all
}

// Collect implements collect.Collector.
func (c *stat) Collect(_ context.Context, b *metric.Batch) error {
	var err error
	data, ok := c.text.take(c.kept, time.Now())
	if ok {
		c.kept = data
	} else if data, err = c.reader.keep(c.path, 0); err != nil {
		return err
	}
	var s statValues
	err = parseStat(c.path, data, &s)
	for i, f := range c.families {
		if s.found[i] {
			b.Add(f, float64(s.values[i]))
		}
	}
	if c.softirq != nil {
		for i, v := range s.softirq[:s.vectors] {
			b.Add(c.softirq, float64(v), softirqVectors[i])
		}
	}
	return err
}

// parseStat reads the lines of statKeys and softirq, and skips those it does
// not know. It fails when one of statKeys is missing; what was found before is
// in s all the same.
func parseStat(path string, data []byte, s *statValues) error {
	l := newLines(path, data)
	for l.next() {
		key, rest := field(l.line)
		if string(key) == "softirq" {
			_, rest = field(rest) // the sum
			n, err := parseUints(rest, s.softirq[:])
			if err != nil {
				return l.errorf("softirq: %w", err)
			}
			s.vectors = n
			continue
		}
		for i, k := range statKeys {
			if string(key) != k {
				continue
			}
			number, _ := field(rest)
			v, err := parseUint(number)
			if err != nil {
				return l.errorf("%s: %s is not a number", k, quote(number))
			}
			s.values[i], s.found[i] = v, true
			break
		}
	}
	if err := l.end(); err != nil {
		return err
	}
	for i, found := range s.found {
		if !found {
			return l.errorf("the file ends without a line %s", statKeys[i])
		}
	}
	return nil
}

// statText is the text of /proc/stat on its way from the collector cpu to the
// collector stat. To make it, the kernel adds up the counts of all interrupts on all
// processors, so one read serves both. nil holds nothing.
type statText struct {
	mu   sync.Mutex
	text []byte // empty when it was taken
	at   time.Time
}

// statAge is how old a text may be to be of the same scrape. Without the
// collector before, or when it was long ago, the file is read.
const statAge = 50 * time.Millisecond

// put leaves a copy of the text that was read at a time.
func (s *statText) put(text []byte, at time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text, s.at = append(s.text[:0], text...), at
}

// take moves the text to dst, once. It says no when there is none, or an old one.
func (s *statText) take(dst []byte, now time.Time) ([]byte, bool) {
	if s == nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.text) == 0 || now.Sub(s.at) > statAge {
		return nil, false
	}
	dst = append(dst[:0], s.text...)
	s.text = s.text[:0]
	return dst, true
}
