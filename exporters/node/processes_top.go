package node

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/metric"
)

// ProcessesOptions of the collector processes.
type ProcessesOptions struct {
	// Top is how many groups of processes are exposed for each of processor
	// time, memory, input and output, and open files: those that use most. 0
	// exposes none. It is not among node_exporter's.
	Top int
	// TopBy says what makes a group: TopByName, which is the default, or
	// TopByCgroup.
	TopBy string
}

// What makes a group of processes.
const (
	TopByName   = "name"
	TopByCgroup = "cgroup"
)

func processesFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.Processes
	const top, by = "collector.processes.top", "collector.processes.top-by"
	app.Flag(top, "Number of groups of processes to expose for each of cpu, memory, io and open files. 0 exposes none.").
		Default("0").IntVar(&o.Top)
	app.Flag(by, "What makes a group of processes: name or cgroup.").Default(TopByName).StringVar(&o.TopBy)
	f.finish = append(f.finish, func() error {
		switch {
		case o.Top < 0:
			return fmt.Errorf("--%s=%d: a number of groups is not below 0", top, o.Top)
		case o.TopBy != TopByName && o.TopBy != TopByCgroup:
			return fmt.Errorf("--%s=%q: %s or %s is expected", by, o.TopBy, TopByName, TopByCgroup)
		}
		return nil
	})
}

// By what groups are chosen.
const (
	topCPU = iota
	topMemory
	topIO
	topFiles
	topCriteria // how many there are
)

const (
	// topGroups bounds the memory of groups. Those that have no process are
	// kept below it, so that their counters go on when they come back.
	topGroups = 10_000
	// cgroupAge is for how long a process is taken to be in the cgroup that
	// it was found in. A younger one is looked up each time, since who starts
	// a process moves it then.
	cgroupAge = time.Minute
	// kernelThread is PF_KTHREAD of the kernel's include/linux/sched.h.
	kernelThread = 0x00200000
)

// topProcesses shows which groups of processes use most. What a group has used
// is the sum of what each of its processes was seen to use more than before:
// the counters of a group go on when its processes end, and what a process
// used between the last scrape and its end is not in them.
type topProcesses struct {
	limit     int
	by        string
	dir       string // /proc
	kernels   bool   // whether it is the kernel's
	now       func() time.Time
	reader    reader
	pageSize  float64
	processes map[string]*topProcess // by pid
	groups    map[string]*topGroup
	pass      uint64    // counts the walks over all processes
	at        time.Time // of this walk
	before    time.Time // when the last walk ended; zero before the first
	ranked    []*topGroup

	cpu, memory, read, written, files *metric.Family
}

// topProcess is a process as it was last seen.
type topProcess struct {
	start              uint64 // tells it from another that had its number
	cpu, read, written uint64
	group              *topGroup // by cgroup
	first, looked      time.Time // when it was seen first, and its cgroup last
	pass               uint64
}

// topGroup is what the processes of a group have used and use.
type topGroup struct {
	name          string
	cpu           uint64 // ticks
	read, written uint64 // bytes
	rss, files    uint64 // pages and descriptors, in this walk
	pass          uint64 // the last in which it had a process
	spent         [topCriteria]uint64
	score         [topCriteria]float64
	shown         [topCriteria]bool
}

func newTopProcesses(o *Options) *topProcesses {
	counter := func(name, help string) *metric.Family {
		return metric.NewCounter("node_processes_top_"+name, help, "group")
	}
	gauge := func(name, help string) *metric.Family {
		return metric.NewGauge("node_processes_top_"+name, help, "group")
	}
	return &topProcesses{
		limit: o.Processes.Top, by: o.Processes.TopBy, dir: o.Procfs, now: time.Now, pageSize: float64(os.Getpagesize()),
		processes: map[string]*topProcess{}, groups: map[string]*topGroup{},
		cpu:     counter("cpu_seconds_total", "Processor time that the group's processes were seen to use, in seconds."),
		memory:  gauge("resident_memory_bytes", "Resident memory of the group's processes in bytes; what they share counts for each."),
		read:    counter("read_bytes_total", "Bytes that the group's processes were seen to have read from storage."),
		written: counter("written_bytes_total", "Bytes that the group's processes were seen to have caused to be written to storage."),
		files:   gauge("open_fds", "Open file descriptors of the group's processes."),
	}
}

func (t *topProcesses) families() []*metric.Family {
	return []*metric.Family{t.cpu, t.memory, t.read, t.written, t.files}
}

// begin starts a walk over all processes.
func (t *topProcesses) begin() {
	t.pass++
	t.at = t.now()
	var fs unix.Statfs_t
	t.kernels = unix.Statfs(t.dir, &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC
	for _, g := range t.groups {
		g.rss, g.files = 0, 0
	}
}

// see takes a process into account. Files that this user may not read, or of a
// process that has ended, are left out.
func (t *topProcesses) see(dir, pid string, stat procStat) error {
	p := t.processes[pid]
	if p == nil || p.start != stat.start {
		p = &topProcess{start: stat.start, first: t.at}
		t.processes[pid] = p
	}
	p.pass = t.pass
	g, err := t.groupOf(dir, p, stat)
	if err != nil || g == nil {
		return err
	}
	g.pass = t.pass
	used := rise(&p.cpu, stat.cpu)
	g.cpu += used
	g.spent[topCPU] += used
	g.rss += uint64(stat.rss)
	if stat.flags&kernelThread == 0 {
		g.files += t.openFiles(filepath.Join(dir, "fd"))
	}
	path := filepath.Join(dir, "io")
	data, err := t.reader.read(path)
	if err != nil {
		return nil
	}
	read, written, err := parseProcIO(path, data)
	if err != nil {
		return err
	}
	read, written = rise(&p.read, read), rise(&p.written, written)
	g.read += read
	g.written += written
	g.spent[topIO] += read + written
	return nil
}

// rise brings last to now and gives the difference. Where the kernel's number
// went back, it is none until last is reached again.
func rise(last *uint64, now uint64) uint64 {
	if now <= *last {
		return 0
	}
	more := now - *last
	*last = now
	return more
}

// groupOf gives the group of a process; nil when it has ended.
func (t *topProcesses) groupOf(dir string, p *topProcess, stat procStat) (*topGroup, error) {
	if t.by != TopByCgroup {
		return t.group(processGroup(stat)), nil
	}
	if p.group != nil && t.at.Sub(p.looked) < cgroupAge && t.at.Sub(p.first) >= cgroupAge {
		return p.group, nil
	}
	path := filepath.Join(dir, "cgroup")
	data, err := t.reader.read(path)
	if err != nil {
		return p.group, nil
	}
	cgroup, err := parseProcCgroup(path, data)
	if err != nil {
		return nil, err
	}
	p.group, p.looked = t.group(cgroup), t.at
	return p.group, nil
}

func (t *topProcesses) group(name []byte) *topGroup {
	if g, ok := t.groups[string(name)]; ok {
		return g
	}
	// Mended here, where names that are the same then become one group.
	text := strings.ToValidUTF8(string(name), "\uFFFD")
	g, ok := t.groups[text]
	if !ok {
		g = &topGroup{name: text}
		t.groups[text] = g
	}
	return g
}

// processGroup is the process' name; of a thread of the kernel, as ps shows it,
// the part that its likes have in common.
func processGroup(stat procStat) []byte {
	if stat.flags&kernelThread == 0 {
		return stat.name
	}
	name := stat.name
	if end := bytes.IndexAny(name, "/:"); end > 0 {
		name = name[:end]
	}
	return slices.Concat([]byte("["), name, []byte("]"))
}

// openFiles counts the entries of /proc/<pid>/fd. Since Linux 6.2 the size of
// the directory is their number, which everyone may see.
func (t *topProcesses) openFiles(path string) uint64 {
	var s unix.Stat_t
	if t.kernels && unix.Stat(path, &s) == nil && s.Size > 0 {
		return uint64(s.Size)
	}
	d, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = d.Close() }()
	names, _ := d.Readdirnames(-1)
	return uint64(len(names))
}

// parseProcIO reads /proc/<pid>/io, see proc_pid_io(5).
func parseProcIO(path string, data []byte) (read, written uint64, err error) {
	l := newLines(path, data)
	for l.next() {
		key, rest := field(l.line)
		target := &read
		switch string(key) {
		case "read_bytes:":
		case "write_bytes:":
			target = &written
		default:
			continue
		}
		value, _ := field(rest)
		if *target, err = strconv.ParseUint(string(value), 10, 64); err != nil {
			return 0, 0, l.errorf("%s %s is not a number", key, quote(value))
		}
	}
	return read, written, l.end()
}

// parseProcCgroup gives the cgroup of /proc/<pid>/cgroup, see cgroups(7): that
// of version 2, or where that is not used the one of the controller that tells
// most.
func parseProcCgroup(path string, data []byte) ([]byte, error) {
	best, chosen := math.MaxInt, []byte("/")
	l := newLines(path, data)
	for l.next() {
		parts := bytes.SplitN(l.line, []byte{':'}, 3)
		if len(parts) < 3 {
			return nil, l.errorf("%s is not an entry of a hierarchy", quote(l.line))
		}
		if rank := cgroupRank(parts[1]); rank < best && len(parts[2]) > 1 {
			best, chosen = rank, parts[2]
		}
	}
	return chosen, l.end()
}

func cgroupRank(controllers []byte) int {
	if len(controllers) == 0 {
		return 0 // version 2
	}
	order := []string{"cpuacct", "cpu", "memory", "pids", "name=systemd"}
	rank := len(order)
	for c := range bytes.SplitSeq(controllers, []byte{','}) {
		if i := slices.Index(order, string(c)); i >= 0 {
			rank = min(rank, i)
		}
	}
	return rank + 1
}
