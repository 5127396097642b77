package container

import (
	"errors"
	"io/fs"
	"maps"
	"math"

	"golang.org/x/sys/unix"
)

// ticks is USER_HZ, the unit of cpuacct.stat: 100 on every architecture.
const ticks = 100

// unlimited is what cgroups say when there is no limit, or more: the kernel
// rounds the greatest number down to pages.
const unlimited = 1 << 62

// reader reads the files of one cgroup after the other into one buffer. It is
// not safe for concurrent use, and is closed at the end.
type reader struct {
	buf    []byte
	names  []byte // of a directory
	failed int
	err    error

	// dir is the open directory that the last file was read from: most of
	// the cost of a file is to find it.
	dir string
	fd  int

	kept *keptFiles // of the cgroup that is read; nil keeps none
}

// close gives up the directory that is open.
func (r *reader) close() {
	if r.dir != "" {
		_ = unix.Close(r.fd) // nothing was written
		r.dir = ""
	}
}

// enter opens a directory unless it is the one that is open.
func (r *reader) enter(dir string) error {
	if r.dir == dir {
		return nil
	}
	r.close()
	fd, err := retry(func() (int, error) { return unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return err
	}
	r.dir, r.fd = dir, fd
	return nil
}

// fail notes an error that is not a vanished cgroup.
func (r *reader) fail(err error) {
	if err == nil || gone(err) {
		return
	}
	r.failed++
	if r.err == nil {
		r.err = err
	}
}

// gone tells that a file does not exist, or that its cgroup was removed or its
// process has ended while it was open. A thread of the kernel has no memory of
// its own, which the kernel says in the same way.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESRCH)
}

// file reads a whole file. The result is valid until the next call. The system
// calls are made directly: an os.File is made to wait and to be found by the
// garbage collector, of which files of the kernel need neither.
func (r *reader) file(dir, name string) ([]byte, error) {
	if fd, ok := r.kept.get(dir, name); ok {
		data, err := r.all(fd)
		if err == nil {
			return data, nil
		}
		r.kept.drop(dir, name) // there may be another by its name
	}
	if err := r.enter(dir); err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	fd, err := retry(func() (int, error) { return unix.Openat(r.fd, name, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir + "/" + name, Err: err}
	}
	data, err := r.all(fd)
	if err != nil || !r.kept.put(dir, name, fd) {
		_ = unix.Close(fd) // read-only: nothing to lose
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: dir + "/" + name, Err: err}
	}
	return data, nil
}

// all reads a file from its start.
func (r *reader) all(fd int) ([]byte, error) {
	if r.buf == nil {
		r.buf = make([]byte, 8<<10)
	}
	for n := 0; ; {
		if n == len(r.buf) {
			if n >= maxFile {
				return nil, unix.EFBIG
			}
			r.buf = append(r.buf, make([]byte, n)...)
		}
		m, err := retry(func() (int, error) { return unix.Pread(fd, r.buf[n:], int64(n)) })
		if err != nil {
			return nil, err
		}
		// The kernel gives at once what fits into half a page; more may come in
		// parts, of which none is smaller.
		if n += m; m == 0 || n < wholeBelow {
			return r.buf[:n], nil
		}
	}
}

// wholeBelow is what a first reading is shorter than when it was all.
const wholeBelow = 2 << 10

// maxFile bounds a file of the kernel; cgroup.procs of a host with a million
// processes stays below it.
const maxFile = 16 << 20

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// parsed reads a file with a parser. A file that is not there is no failure,
// but gives false.
func parsed[T any](r *reader, dir, name string, parse func([]byte) (T, error)) (T, bool) {
	data, err := r.file(dir, name)
	if err == nil {
		var v T
		if v, err = parse(data); err == nil {
			return v, true
		}
		err = &fs.PathError{Op: "parse", Path: dir + "/" + name, Err: err}
	}
	r.fail(err)
	var none T
	return none, false
}

// number reads a file of one number into a field. Where the kernel has no such
// file the field is 0, as cAdvisor shows it; where it cannot be read it stays
// unknown.
func (r *reader) number(v *values, f field, dir, name string) {
	before := r.failed
	n, ok := parsed(r, dir, name, parseUint)
	if ok || r.failed == before {
		v[f] = float64(n)
	}
}

// limit is number for a limit, infinite where there is none.
func (r *reader) limit(v *values, f field, dir, name string) {
	if r.number(v, f, dir, name); v[f] > unlimited {
		v[f] = math.Inf(1)
	}
}

// keyed reads a file of keys and numbers into the fields of the keys. Those of
// keys that the file lacks stay unknown: were they 0, a counter would go back.
// It tells whether the file was there and made sense.
func (r *reader) keyed(v *values, dir, name string, keys map[string]target) bool {
	_, ok := parsed(r, dir, name, func(data []byte) (struct{}, error) {
		return struct{}{}, parseKeyed(data, func(key []byte, n uint64) {
			if t, ok := keys[string(key)]; ok {
				v[t.field] = float64(n) / t.per
			}
		})
	})
	return ok
}

// target is the field that a key fills, and how many of the key's unit make
// one of the field's.
type target struct {
	field field
	per   float64
}

// keys names the fields in the files of keys and numbers.
type keys struct {
	cpu1, cpuacct1, memory1    map[string]target
	usage2, cpu2, memory2, ev2 map[string]target
	oom                        map[string]target
}

func newKeys() keys {
	bytesOf := func(pairs map[string]field) map[string]target {
		out := make(map[string]target, len(pairs))
		for k, f := range pairs {
			out[k] = target{f, 1}
		}
		return out
	}
	usage2 := map[string]target{"usage_usec": {cpuUsage, 1e6}, "user_usec": {cpuUser, 1e6}, "system_usec": {cpuSystem, 1e6}}
	cpu2 := map[string]target{
		"nr_periods": {cfsPeriods, 1}, "nr_throttled": {cfsThrottledPeriods, 1}, "throttled_usec": {cfsThrottled, 1e6},
		"nr_bursts": {cfsBurstPeriods, 1}, "burst_usec": {cfsBurst, 1e6},
	}
	maps.Copy(cpu2, usage2)
	return keys{
		usage2: usage2, cpu2: cpu2,
		cpuacct1: map[string]target{"user": {cpuUser, ticks}, "system": {cpuSystem, ticks}},
		cpu1: map[string]target{
			"nr_periods": {cfsPeriods, 1}, "nr_throttled": {cfsThrottledPeriods, 1}, "throttled_time": {cfsThrottled, 1e9},
			"nr_bursts": {cfsBurstPeriods, 1}, "burst_time": {cfsBurst, 1e9},
		},
		memory1: bytesOf(map[string]field{
			"total_cache": memCache, "total_rss": memRSS, "total_mapped_file": memMapped, "total_swap": memSwap,
			"total_active_file": memActiveFile, "total_inactive_file": memInactiveFile,
			// As cAdvisor: what v1 says of the cgroup alone.
			"pgfault": memFaults, "pgmajfault": memMajorFaults,
			"workingset_refault_file": memRefaultFile, "workingset_refault_anon": memRefaultAnon,
		}),
		memory2: bytesOf(map[string]field{
			"file": memCache, "anon": memRSS, "kernel": memKernel, "file_mapped": memMapped,
			"active_file": memActiveFile, "inactive_file": memInactiveFile, "slab_reclaimable": memSlab, "pgfault": memFaults, "pgmajfault": memMajorFaults,
			"file_dirty": memDirty, "file_writeback": memWriteback, "pgscan": memScanned, "pgsteal": memStolen,
			"workingset_refault_file": memRefaultFile, "workingset_refault_anon": memRefaultAnon,
		}),
		oom: bytesOf(map[string]field{"oom_kill": oomKills}),
		ev2: bytesOf(map[string]field{"high": memEventsHigh, "max": memEventsMax, "oom_kill": oomKills}),
	}
}

// dirs are the directories of one cgroup in the hierarchies, empty where it is
// not in one.
type dirs struct{ cpuacct, cpu, memory string }

// read fills c from the files of its directories. It is false when nothing was
// there: the cgroup is gone, or all of it is unreadable.
func (s *cgroupSource) read(r *reader, from *found, c *Cgroup, want group) bool {
	d := from.dirs
	r.kept = from.kept
	defer func() { r.kept = nil }()
	c.values = unknown()
	c.At = s.now()
	c.proc = firstOf(d.cpu, d.memory, d.cpuacct)
	var some bool
	if s.h.cpuacct.v2 {
		some = d.cpuacct != "" && s.readCPU2(r, d.cpuacct, &c.values)
	} else {
		some = s.readCPU1(r, d, &c.values)
	}
	if d.memory != "" {
		read := s.readMemory1
		if s.h.memory.v2 {
			read = s.readMemory2
		}
		some = read(r, d.memory, c.ID == "/", &c.values) || some
	}
	if some {
		s.readGroups(r, from, c, want)
	}
	return some
}

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// unknown are values of which none has been read.
func unknown() (v values) {
	for f := range v {
		v[f] = math.NaN()
	}
	return v
}

// usage reads the CPU time in seconds that a cgroup has used, and those below it.
func (s *cgroupSource) usage(r *reader, dir string) float64 {
	v := values{cpuUsage: math.NaN()}
	if s.h.cpuacct.v2 {
		r.keyed(&v, dir, "cpu.stat", s.keys.usage2)
	} else if nanos, ok := parsed(r, dir, "cpuacct.usage", parseUint); ok {
		v[cpuUsage] = float64(nanos) / 1e9
	}
	return v[cpuUsage]
}

func (s *cgroupSource) readCPU1(r *reader, d dirs, v *values) bool {
	some := false
	if d.cpuacct != "" {
		v[cpuUsage] = s.usage(r, d.cpuacct)
		some = r.keyed(v, d.cpuacct, "cpuacct.stat", s.keys.cpuacct1) || !math.IsNaN(v[cpuUsage])
	}
	if d.cpu == "" {
		return some
	}
	// Every live cgroup has shares.
	shares, ok := parsed(r, d.cpu, "cpu.shares", parseUint)
	if !ok {
		return some
	}
	v[specShares] = float64(shares)
	r.number(v, specPeriod, d.cpu, "cpu.cfs_period_us")
	if quota, ok := parsed(r, d.cpu, "cpu.cfs_quota_us", parseQuota); ok && quota > 0 {
		v[specQuota] = float64(quota)
		r.keyed(v, d.cpu, "cpu.stat", s.keys.cpu1)
	}
	return true
}

func (s *cgroupSource) readCPU2(r *reader, dir string, v *values) bool {
	// One reading of cpu.stat for both: which keys count depends on the quota.
	type quota struct{ micros, period uint64 }
	q, limited := parsed(r, dir, "cpu.max", func(data []byte) (quota, error) {
		n, period, err := parseCPUMax(data)
		return quota{n, period}, err
	})
	keys := s.keys.usage2
	if limited {
		v[specPeriod] = float64(q.period)
		if q.micros > 0 {
			v[specQuota] = float64(q.micros)
			keys = s.keys.cpu2
		}
	}
	if !r.keyed(v, dir, "cpu.stat", keys) {
		return false
	}
	if weight, ok := parsed(r, dir, "cpu.weight", parseUint); ok {
		v[specShares] = float64(sharesOfWeight(weight))
	}
	return true
}

func (s *cgroupSource) readMemory1(r *reader, dir string, root bool, v *values) bool {
	failed := r.failed
	if !r.keyed(v, dir, "memory.stat", s.keys.memory1) && r.failed == failed {
		return false // gone
	}
	r.number(v, memUsage, dir, "memory.usage_in_bytes")
	r.number(v, memMaxUsage, dir, "memory.max_usage_in_bytes")
	r.number(v, memFailcnt, dir, "memory.failcnt")
	r.number(v, memKernel, dir, "memory.kmem.usage_in_bytes")
	r.limit(v, specMemory, dir, "memory.limit_in_bytes")
	r.limit(v, specSwap, dir, "memory.memsw.limit_in_bytes")
	r.limit(v, specReservation, dir, "memory.soft_limit_in_bytes")
	if math.IsNaN(v[memSwap]) && !math.IsNaN(v[memRSS]) {
		v[memSwap] = 0 // the kernel does not account for swap
	}
	v[memFaultsAll], v[memMajorFaultsAll] = v[memFaults], v[memMajorFaults]
	// What cgroup v1 does not have, or not by these names, is 0, as cAdvisor
	// shows it.
	v[memEventsHigh], v[memEventsMax], v[memScanned], v[memStolen] = 0, 0, 0, 0
	v[memDirty], v[memWriteback] = 0, 0
	if root {
		s.rootLimits(r, v)
	}
	setWorkingSet(v)
	return !math.IsNaN(v[memUsage]) || !math.IsNaN(v[memRSS])
}

func (s *cgroupSource) readMemory2(r *reader, dir string, root bool, v *values) bool {
	failed := r.failed
	if !r.keyed(v, dir, "memory.stat", s.keys.memory2) && r.failed == failed {
		return false // gone, or the controller is not on for it
	}
	v[memFaultsAll], v[memMajorFaultsAll] = v[memFaults], v[memMajorFaults]
	r.keyed(v, dir, "memory.events", s.keys.ev2)
	v[memFailcnt] = v[memEventsMax]
	r.number(v, memMaxUsage, dir, "memory.peak")
	r.limit(v, specReservation, dir, "memory.min")
	if root {
		// The root has no memory.current: what it holds is the same as the
		// usage that cgroup v1 shows there.
		v[memUsage] = v[memRSS] + v[memCache]
		m, ok := s.rootLimits(r, v)
		if ok {
			v[memSwap] = float64(m.swapTotal - min(m.swapTotal, m.swapFree))
		}
	} else {
		r.number(v, memUsage, dir, "memory.current")
		r.number(v, memSwap, dir, "memory.swap.current")
		r.limit(v, specMemory, dir, "memory.max")
		r.limit(v, specSwap, dir, "memory.swap.max")
	}
	setWorkingSet(v)
	return !math.IsNaN(v[memUsage]) || !math.IsNaN(v[memRSS])
}

// rootLimits gives the root what the machine has.
func (s *cgroupSource) rootLimits(r *reader, v *values) (meminfo, bool) {
	m, ok := parsed(r, s.procfs, "meminfo", parseMeminfo)
	if ok {
		v[specMemory], v[specSwap] = float64(m.total), float64(m.swapTotal)
	}
	return m, ok
}

func setWorkingSet(v *values) {
	v[memWorkingSet] = max(v[memUsage]-v[memInactiveFile], 0) // NaN if either is
}
