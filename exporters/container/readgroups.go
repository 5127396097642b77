package container

import (
	"math"
	"path/filepath"
	"strconv"
	"strings"
)

// names are the texts that labels are made of, made once and kept: a pass must
// not make thousands of strings that say the same as those of the last.
type names struct {
	cpus     []string // cpu00, cpu01...
	devices  map[deviceID]deviceName
	hugetlb  []string // sizes of huge pages as cgroups write them, 2MB
	blkio    string   // what leads the names of the blkio files that count
	blkioEnd string   // and ends them
}

// deviceName is how a block device is shown.
type deviceName struct{ path, major, minor string }

// cpu gives the label of a processor.
func (n *names) cpu(i int) string {
	if i < len(n.cpus) {
		return n.cpus[i]
	}
	return cpuName(i)
}

func cpuName(i int) string {
	s := strconv.Itoa(i)
	if i < 10 {
		s = "0" + s
	}
	return "cpu" + s
}

// device gives the names of a block device. One that the kernel does not list
// goes by its numbers: two without a name would be one series.
func (n *names) device(d deviceID) deviceName {
	if name, ok := n.devices[d]; ok {
		return name
	}
	major, minor := strconv.FormatUint(d.major, 10), strconv.FormatUint(d.minor, 10)
	return deviceName{major + ":" + minor, major, minor}
}

// learn reads what names are made of, before each pass, of what is wanted.
func (s *cgroupSource) learn(r *reader, want group) {
	n := &s.names
	if want&groupPerCPU != 0 && n.cpus == nil {
		for i := range 256 {
			n.cpus = append(n.cpus, cpuName(i))
		}
	}
	if want&groupHugetlb != 0 {
		n.hugetlb = n.hugetlb[:0]
		for _, h := range r.hugepages(filepath.Join(s.sysfs, "kernel/mm/hugepages")) {
			n.hugetlb = append(n.hugetlb, hugeSize(h.kilobytes))
		}
	}
	if want&groupDiskIO == 0 {
		return
	}
	stats, _ := parsed(r, s.procfs, "diskstats", parseDiskstats)
	if n.devices == nil {
		n.devices = map[deviceID]deviceName{}
	}
	for _, one := range stats {
		if old := n.devices[one.device]; old.path != "/dev/"+one.name {
			n.devices[one.device] = deviceName{"/dev/" + one.name, strconv.FormatUint(one.device.major, 10), strconv.FormatUint(one.device.minor, 10)}
		}
	}
	if !s.h.blkio.v2 && s.h.blkio.point != "" {
		n.blkio, n.blkioEnd = r.blkioFiles(s.h.blkio.point)
	}
}

// hugeSize writes a size as the names of hugetlb's files have it.
func hugeSize(kilobytes string) string {
	n, err := strconv.ParseUint(kilobytes, 10, 64)
	switch {
	case err != nil:
		return kilobytes + "KB"
	case n >= 1<<20:
		return strconv.FormatUint(n>>20, 10) + "GB"
	case n >= 1<<10:
		return strconv.FormatUint(n>>10, 10) + "MB"
	}
	return kilobytes + "KB"
}

// blkioFiles finds which of the kernel's schedulers counts: the first whose
// file of the root has a device in it, or the throttle, which is always there.
func (r *reader) blkioFiles(root string) (lead, end string) {
	for _, lead := range []string{"blkio.bfq.", "blkio."} {
		some, _ := parsed(r, root, lead+"io_serviced_recursive", func(data []byte) (bool, error) {
			found := false
			err := parseBlkio(data, func(deviceID, string, uint64) { found = true })
			return found, err
		})
		if some {
			return lead, "_recursive"
		}
	}
	if data, err := r.file(root, "blkio.throttle.io_serviced_recursive"); err == nil && len(data) > 0 {
		return "blkio.throttle.", "_recursive"
	}
	return "blkio.throttle.", ""
}

// readGroups reads the groups beside cpu and memory.
func (s *cgroupSource) readGroups(r *reader, f *found, c *Cgroup, want group) {
	v := &c.values
	v[health], v[nothing] = -1, 0
	if want&groupPerCPU != 0 && f.dirs.cpuacct != "" && !s.h.cpuacct.v2 {
		s.readPerCPU(r, f.dirs.cpuacct, c)
	}
	if want&groupPressure != 0 {
		s.readPressure(r, f, v)
	}
	if want&groupDiskIO != 0 && s.h.blkio.point != "" {
		s.readDisk(r, s.h.blkio.point+f.rel, c)
	}
	if want&groupHugetlb != 0 && s.h.hugetlb.point != "" {
		s.readHugetlb(r, s.h.hugetlb.point+f.rel, c)
	}
	if want&groupCPUSet != 0 {
		v[memMigrate] = 0
		if !s.h.cpuset.v2 && s.h.cpuset.point != "" {
			r.number(v, memMigrate, s.h.cpuset.point+f.rel, "cpuset.memory_migrate")
		}
	}
	if want&groupNuma != 0 && !s.h.memory.v2 && f.dirs.memory != "" {
		pages, _ := parsed(r, f.dirs.memory, "memory.numa_stat", parseNuma)
		for _, p := range pages {
			c.add(numaPages, p.pages, p.kind, p.scope, p.node)
		}
	}
	if want&groupOOM != 0 && f.dirs.memory != "" {
		s.readOOM(r, f.dirs.memory, v)
	}
	if want&(groupProcess|groupSched|groupReferenced) != 0 {
		s.readProcesses(r, f, c, want)
	}
}

// add notes a sample of a kind.
func (c *Cgroup) add(k kind, value float64, labels ...string) {
	c.more = append(c.more, labelledSample(k, value, labels))
}

func labelledSample(k kind, value float64, labels []string) labelled {
	one := labelled{kind: k, value: value}
	copy(one.labels[:], labels)
	return one
}

func (s *cgroupSource) readPerCPU(r *reader, dir string, c *Cgroup) {
	all, _ := parsed(r, dir, "cpuacct.usage_percpu", parsePerCPU)
	for i, nanos := range all {
		if nanos > 0 {
			c.add(perCPU, nanos/1e9, s.names.cpu(i))
		}
	}
}

// readPressure reads the files of pressure. On v1 there are none, and all is 0,
// as cAdvisor shows it.
func (s *cgroupSource) readPressure(r *reader, f *found, v *values) {
	for _, one := range [...]struct {
		h          hierarchy
		name       string
		some, full field
	}{
		{s.h.cpuacct, "cpu.pressure", psiCPUSome, psiCPUFull},
		{s.h.memory, "memory.pressure", psiMemSome, psiMemFull},
		{s.h.blkio, "io.pressure", psiIOSome, psiIOFull},
	} {
		before := r.failed
		var total [2]uint64
		ok := false
		if one.h.v2 {
			total, ok = parsed(r, one.h.point+f.rel, one.name, parsePSI)
		}
		if ok || r.failed == before {
			v[one.some], v[one.full] = float64(total[0])/1e6, float64(total[1])/1e6
		}
	}
}

// readOOM reads how many processes of the cgroup itself were killed. On v2
// memory.events has been read, which counts those below it too; where the
// kernel tells of the cgroup alone that counts.
func (s *cgroupSource) readOOM(r *reader, dir string, v *values) {
	before, below := r.failed, v[oomKills]
	name := "memory.oom_control"
	if s.h.memory.v2 {
		name = "memory.events.local"
	}
	v[oomKills] = math.NaN()
	if !r.keyed(v, dir, name, s.keys.oom) && r.failed == before {
		v[oomKills] = below
	}
	if math.IsNaN(v[oomKills]) && r.failed == before {
		v[oomKills] = 0 // the root, and kernels before 4.13, do not tell
	}
}

func (s *cgroupSource) readHugetlb(r *reader, dir string, c *Cgroup) {
	for _, size := range s.names.hugetlb {
		lead := "hugetlb." + size
		end := "usage_in_bytes"
		if s.h.hugetlb.v2 {
			end = "current"
		}
		// Reserved pages count where the kernel tells of them.
		at := lead + ".rsvd."
		used, ok := parsed(r, dir, at+end, parseUint)
		if !ok {
			at = lead + "."
			if used, ok = parsed(r, dir, at+end, parseUint); !ok {
				continue
			}
		}
		var most, failed uint64
		if s.h.hugetlb.v2 {
			failed, _ = parsed(r, dir, lead+".events", func(data []byte) (n uint64, err error) {
				err = parseKeyed(data, func(key []byte, value uint64) {
					if string(key) == "max" {
						n = value
					}
				})
				return n, err
			})
		} else {
			most, _ = parsed(r, dir, at+"max_usage_in_bytes", parseUint)
			failed, _ = parsed(r, dir, at+"failcnt", parseUint)
		}
		c.add(hugeUsage, float64(used), size)
		c.add(hugeMaxUsage, float64(most), size)
		c.add(hugeFailcnt, float64(failed), size)
	}
}

// ioKind is the family that an operation of a blkio file is shown in.
type ioKind struct {
	operation string
	kind      kind
	per       float64
}

// readDisk reads what a cgroup read and wrote on each device.
func (s *cgroupSource) readDisk(r *reader, dir string, c *Cgroup) {
	if s.h.blkio.v2 {
		whole(c, func() bool {
			_, ok := parsed(r, dir, "io.stat", func(data []byte) (struct{}, error) {
				return struct{}{}, parseIOStat(data, func(d deviceID, key []byte, n uint64) { s.addIO(c, s.names.device(d), key, float64(n)) })
			})
			return ok
		})
		return
	}
	read := func(file string, devices bool, kinds ...ioKind) {
		take := func(d deviceID, operation string, n uint64) {
			name := s.names.device(d)
			if devices {
				c.add(ioDevice, float64(n), name.path, name.major, name.minor, operation)
			}
			for _, k := range kinds {
				if k.operation == operation {
					c.add(k.kind, float64(n)/k.per, name.path)
				}
			}
		}
		whole(c, func() bool {
			_, ok := parsed(r, dir, s.names.blkio+file+s.names.blkioEnd, func(data []byte) (struct{}, error) {
				return struct{}{}, parseBlkio(data, take)
			})
			return ok
		})
	}
	read("io_serviced", false, ioKind{"Read", ioReads, 1}, ioKind{"Write", ioWrites, 1})
	read("io_service_bytes", true, ioKind{"Read", ioReadBytes, 1}, ioKind{"Write", ioWriteBytes, 1})
	if strings.HasPrefix(s.names.blkio, "blkio.throttle.") {
		return
	}
	read("sectors", false, ioKind{"Read", ioSectorReads, 1}, ioKind{"Write", ioSectorWrites, 1})
	read("io_merged", false, ioKind{"Read", ioReadsMerged, 1}, ioKind{"Write", ioWritesMerged, 1})
	read("io_service_time", false, ioKind{"Read", ioReadSeconds, 1e9}, ioKind{"Write", ioWriteSeconds, 1e9}, ioKind{"Total", ioSeconds, 1e9})
	read("io_queued", false, ioKind{"Total", ioCurrent, 1})
}

// whole takes back what read has added when it ends in the middle of a file.
func whole(c *Cgroup, read func() bool) {
	before := len(c.more)
	if !read() {
		c.more = c.more[:before]
	}
}

func (s *cgroupSource) addIO(c *Cgroup, name deviceName, key []byte, n float64) {
	switch string(key) {
	case "rbytes":
		c.add(ioReadBytes, n, name.path)
		c.add(ioDevice, n, name.path, name.major, name.minor, "Read")
	case "wbytes":
		c.add(ioWriteBytes, n, name.path)
		c.add(ioDevice, n, name.path, name.major, name.minor, "Write")
	case "rios":
		c.add(ioReads, n, name.path)
	case "wios":
		c.add(ioWrites, n, name.path)
	case "cost.usage":
		c.add(ioCostUsage, n/1e6, name.path)
	case "cost.wait":
		c.add(ioCostWait, n/1e6, name.path)
	case "cost.indebt":
		c.add(ioCostIndebt, n/1e6, name.path)
	case "cost.indelay":
		c.add(ioCostIndelay, n/1e6, name.path)
	}
}
