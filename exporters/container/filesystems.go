package container

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// diskstat is a line of /proc/diskstats.
type diskstat struct {
	device deviceID
	name   string
	// reads, merged, sectors and milliseconds of reading, the same four of
	// writing, then under way, milliseconds busy, and weighted.
	counts [11]uint64
}

func parseDiskstats(data []byte) ([]diskstat, error) {
	var out []diskstat
	for line := range bytes.Lines(data) {
		fields := bytes.Fields(line)
		if len(fields) < 14 {
			return nil, formatError("a line of 14 numbers", line)
		}
		one := diskstat{name: string(fields[2])}
		d, ok := parseDeviceID(slices.Concat(fields[0], []byte{':'}, fields[1]))
		one.device = d
		for i := range one.counts {
			n, isNumber := digits(fields[3+i])
			one.counts[i], ok = n, ok && isNumber
		}
		if !ok {
			return nil, formatError("numbers of a device", line)
		}
		out = append(out, one)
	}
	return out, nil
}

// filesystem is a mount whose use is shown.
type filesystem struct {
	device string // as shown
	point  string
	number deviceID
}

// parseFilesystems takes out of /proc/PID/mountinfo the file systems that are
// on a disk or in memory, each once; of several mounts of one the first counts.
// Those that are a container's own are left out.
func parseFilesystems(data []byte) ([]filesystem, error) {
	var out []filesystem
	for line := range bytes.Lines(data) {
		before, after, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " - ")
		fields, tail := strings.Split(before, " "), strings.Split(after, " ")
		if !ok || len(fields) < 6 || len(tail) < 2 {
			continue
		}
		number, ok := parseDeviceID([]byte(fields[2]))
		if !ok {
			continue
		}
		f := filesystem{device: unescapeOctal(tail[1]), point: unescapeOctal(fields[4]), number: number}
		switch kind := tail[0]; {
		case (kind == "tmpfs" || kind == "overlay") && ofContainer(f.point):
			continue
		case kind == "tmpfs":
			f.device = f.point // all are called tmpfs
		case kind == "overlay":
			f.device = fmt.Sprintf("%s_%d-%d", f.device, number.major, number.minor)
		case strings.HasPrefix(kind, "ext"):
		case slices.Contains([]string{"xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "squashfs", "vfat", "exfat", "ntfs", "udf", "iso9660"}, kind):
		default:
			continue
		}
		if !slices.ContainsFunc(out, func(o filesystem) bool { return o.device == f.device }) {
			out = append(out, f)
		}
	}
	return out, nil
}

// ofContainer tells whether a mount point is one of those that runtimes and the
// kubelet make for each container and pod: its root, its shared memory, its
// tokens. They come and go by the hundred and are no file systems of the host. A
// kubelet shows those that it finds when it starts, and no others.
func ofContainer(point string) bool {
	for _, part := range [...]string{"/io.containerd.", "/containers/", "/docker/"} {
		if strings.Contains(point, part) {
			return true
		}
	}
	_, pod, ok := strings.Cut(point, "/pods/")
	return ok && strings.Contains(pod, "/volume")
}

// readFilesystems adds to the root what the host's file systems hold and what
// went on on their disks.
func (s *cgroupSource) readFilesystems(r *reader, c *Cgroup, want group) {
	if want&groupDisk == 0 {
		return
	}
	all, ok := parsed(r, filepath.Join(s.procfs, "1"), "mountinfo", parseFilesystems)
	if !ok {
		all, _ = parsed(r, filepath.Join(s.procfs, "self"), "mountinfo", parseFilesystems)
	}
	var disks []diskstat
	if want&groupDiskIO != 0 {
		disks, _ = parsed(r, s.procfs, "diskstats", parseDiskstats)
	}
	for _, f := range all {
		var st unix.Statfs_t
		if err := unix.Statfs(filepath.Join(s.rootfs, f.point), &st); err != nil {
			continue // not mounted in our namespace, or not to be seen by us
		}
		size := uint64(st.Bsize)
		c.add(fsInodesFree, float64(st.Ffree), f.device)
		c.add(fsInodes, float64(st.Files), f.device)
		c.add(fsLimit, float64(st.Blocks*size), f.device)
		c.add(fsUsage, float64((st.Blocks-st.Bfree)*size), f.device)
		if want&groupDiskIO == 0 {
			continue
		}
		var counts [11]uint64 // of a file system without a disk, 0
		for i := range disks {
			if d := &disks[i]; d.device == f.number || "/dev/"+d.name == f.device {
				counts = d.counts
			}
		}
		c.addDisk(f.device, &counts)
	}
}

// addDisk adds what the kernel says of a disk, but for what the cgroup itself
// has said of it.
func (c *Cgroup) addDisk(device string, counts *[11]uint64) {
	for i, row := range [...]struct {
		kind kind
		per  float64
	}{
		{ioReads, 1}, {ioReadsMerged, 1}, {ioSectorReads, 1}, {ioReadSeconds, 1e3},
		{ioWrites, 1}, {ioWritesMerged, 1}, {ioSectorWrites, 1}, {ioWriteSeconds, 1e3},
		{ioCurrent, 1}, {ioSeconds, 1e3}, {ioWeighted, 1e3},
	} {
		if !slices.ContainsFunc(c.more, func(l labelled) bool { return l.kind == row.kind && l.labels[0] == device }) {
			c.add(row.kind, float64(counts[i])/row.per, device)
		}
	}
}
