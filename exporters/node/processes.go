package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// processes counts the processes and threads of /proc by their state.
type processes struct {
	dir                  string
	threadsMax, pidMax   string // paths
	reader               reader
	states, threadStates [256]int // by the letter of the state
	threads, pids        int
	threadFamily, maxThreads,
	threadState, state,
	pidFamily, maxPIDs *metric.Family
	top *topProcesses // nil when switched off
}

func newProcesses(o *Options) collect.Collector {
	c := &processes{
		dir:          o.Procfs,
		threadsMax:   o.procPath("sys", "kernel", "threads-max"),
		pidMax:       o.procPath("sys", "kernel", "pid_max"),
		threadFamily: metric.NewGauge("node_processes_threads", "Allocated threads in system"),
		maxThreads:   metric.NewGauge("node_processes_max_threads", "Limit of threads in the system"),
		threadState:  metric.NewGauge("node_processes_threads_state", "Number of threads in each state.", "thread_state"),
		state:        metric.NewGauge("node_processes_state", "Number of processes in each state.", "state"),
		pidFamily:    metric.NewGauge("node_processes_pids", "Number of PIDs"),
		maxPIDs:      metric.NewGauge("node_processes_max_processes", "Number of max PIDs limit"),
	}
	if o.Processes.Top > 0 {
		c.top = newTopProcesses(o)
	}
	return c
}

// Families implements collect.Collector.
func (c *processes) Families() []*metric.Family {
	all := []*metric.Family{c.threadFamily, c.maxThreads, c.threadState, c.state, c.pidFamily, c.maxPIDs}
	if c.top != nil {
		all = append(all, c.top.families()...)
	}
	return all
}

// Collect implements collect.Collector.
func (c *processes) Collect(ctx context.Context, b *metric.Batch) error {
	if err := c.count(ctx); err != nil {
		return err
	}
	b.Add(c.threadFamily, float64(c.threads))
	b.Add(c.pidFamily, float64(c.pids))
	addStates(b, c.state, &c.states)
	addStates(b, c.threadState, &c.threadStates)
	if c.top != nil {
		c.top.end(b)
	}
	var errs error
	for path, f := range map[string]*metric.Family{c.threadsMax: c.maxThreads, c.pidMax: c.maxPIDs} {
		v, err := c.reader.uint(path)
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		b.Add(f, float64(v))
	}
	return errs
}

func addStates(b *metric.Batch, f *metric.Family, states *[256]int) {
	for letter, n := range states {
		if n > 0 {
			b.Add(f, float64(n), string(rune(letter)))
		}
	}
}

// count goes over all processes. Those that end meanwhile are left out.
func (c *processes) count(ctx context.Context) error {
	c.states, c.threadStates, c.threads, c.pids = [256]int{}, [256]int{}, 0, 0
	list, err := ids(c.dir)
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	if c.top != nil {
		c.top.begin()
	}
	for _, pid := range list {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("after %d of %d processes: %w", c.pids, len(list), err)
		}
		dir := filepath.Join(c.dir, pid)
		stat, err := c.readStat(filepath.Join(dir, "stat"))
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		c.pids++
		c.states[stat.state]++
		c.threads += int(stat.threads)
		if c.top != nil {
			if err := c.top.see(dir, pid, stat); err != nil {
				return err
			}
		}
		if err := c.countThreads(dir, pid, stat); err != nil {
			return err
		}
	}
	return nil
}

// countThreads counts the states of a process' threads, the first of which is
// the process itself.
func (c *processes) countThreads(dir, pid string, stat procStat) error {
	tasks := filepath.Join(dir, "task")
	if stat.threads == 1 {
		if unix.Access(tasks, unix.F_OK) == nil {
			c.threadStates[stat.state]++
		}
		return nil
	}
	list, err := ids(tasks)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing threads: %w", err)
	}
	for _, tid := range list {
		if tid == pid {
			c.threadStates[stat.state]++
			continue
		}
		thread, err := c.readStat(filepath.Join(tasks, tid, "stat"))
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		c.threadStates[thread.state]++
	}
	return nil
}

func (c *processes) readStat(path string) (procStat, error) {
	data, err := c.reader.read(path)
	if err != nil {
		return procStat{}, err
	}
	return parseProcStat(path, data)
}

// gone tells of a process that has ended.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// ids lists the names in a directory that are numbers.
func ids(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	n := 0
	for _, name := range names {
		if name[0] >= '1' && name[0] <= '9' {
			names[n] = name
			n++
		}
	}
	return names[:n], err
}

// procStat is what is read of /proc/<pid>/stat, see proc_pid_stat(5).
type procStat struct {
	name    []byte // at most 15 bytes of the program's name; of kernel threads more
	state   byte
	flags   uint64 // PF_* of the kernel's include/linux/sched.h
	cpu     uint64 // user and system time in ticks
	threads uint64
	start   uint64 // ticks after boot
	rss     int64  // pages
}

// parseProcStat reads the one line. The name is in brackets and may hold
// brackets, spaces and newlines itself.
func parseProcStat(path string, data []byte) (s procStat, err error) {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%s:1: %w: %w", path, errSyntax, fmt.Errorf(format, args...))
	}
	open, shut := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || shut < open {
		return s, wrong("%s has no name in brackets", quote(data))
	}
	s.name = data[open+1 : shut]
	state, rest := field(bytes.TrimRight(data[shut+1:], "\n"))
	if len(state) != 1 || state[0] >= 0x80 {
		return s, wrong("%s is not the state of a process", quote(state))
	}
	s.state = state[0]
	const parent, last = 4, 24 // numbers of fields, as the manual counts them
	for n := parent; n <= last; n++ {
		var f []byte
		f, rest = field(rest)
		v, err := strconv.ParseInt(string(f), 10, 64)
		switch n {
		case 9:
			s.flags = uint64(v)
		case 14, 15:
			s.cpu += uint64(v)
		case 20:
			s.threads = uint64(v)
		case 22:
			s.start = uint64(v)
		case last:
			s.rss = v
		default:
			continue // such as fault counters and addresses
		}
		if err != nil || v < 0 {
			return s, wrong("field %d, %s, is not a number", n, quote(f))
		}
	}
	return s, nil
}
