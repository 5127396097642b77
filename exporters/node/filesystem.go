package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// FilesystemOptions of the collector filesystem.
type FilesystemOptions struct {
	MountPoints, Types Filter
	// MountTimeout is how long a scrape waits for a mount that does not
	// answer. 0 means 5 s.
	MountTimeout time.Duration
	// StatWorkers is how many mounts are asked at once. One that does not
	// answer keeps none of the others waiting for long, however few there
	// are. 0 means 1.
	StatWorkers int
}

const (
	defaultMountPointsExcluded = "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"
	defaultTypesExcluded       = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$"
	defaultMountTimeout        = 5 * time.Second
	defaultStatWorkers         = 4
)

func filesystemFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.Filesystem
	f.filter(app, "filesystem.mount-points", "mount points", &o.MountPoints).
		formerly(app, "", "collector.filesystem.ignored-mount-points")
	f.filter(app, "filesystem.fs-types", "filesystem types", &o.Types).
		formerly(app, "", "collector.filesystem.ignored-fs-types")
	app.Flag("collector.filesystem.mount-timeout", "How long to wait for a mount to respond before marking it as stale.").
		Default(defaultMountTimeout.String()).DurationVar(&o.MountTimeout)
	app.Flag("collector.filesystem.stat-workers", "How many mounts to ask at once.").
		Hidden().Default(fmt.Sprint(defaultStatWorkers)).IntVar(&o.StatWorkers)
}

// filesystemTimeout leaves the collector time to say which mounts were late.
func filesystemTimeout(o *Options) time.Duration { return o.Filesystem.mountTimeout() + time.Second }

func (o *FilesystemOptions) mountTimeout() time.Duration {
	if o.MountTimeout <= 0 {
		return defaultMountTimeout
	}
	return o.MountTimeout
}

// filesystem reads the mounts of the host and asks each for its sizes.
type filesystem struct {
	options *Options
	reader  reader
	points  *filterCache
	types   *filterCache
	text    []byte   // the mountinfo that mounts was made from; empty when it was wrong
	mounts  []mount  // those wanted
	paths   []string // of the mounts, for statfs
	prober  *prober

	size, free, avail, purgeable, files, filesFree, readonly, deviceError, info *metric.Family
}

func newFilesystem(o *Options) collect.Collector {
	gauge := func(name, help string) *metric.Family {
		return metric.NewGauge("node_filesystem_"+name, help, "device", "mountpoint", "fstype", "device_error")
	}
	return &filesystem{
		options:     o,
		points:      newFilterCache(o.Filesystem.MountPoints),
		types:       newFilterCache(o.Filesystem.Types),
		prober:      newProber(unix.Statfs, o.Filesystem.mountTimeout(), o.Filesystem.StatWorkers),
		size:        gauge("size_bytes", "Filesystem size in bytes."),
		free:        gauge("free_bytes", "Filesystem free space in bytes."),
		avail:       gauge("avail_bytes", "Filesystem space available to non-root users in bytes."),
		purgeable:   gauge("purgeable_bytes", "Filesystem space that the system can free by itself; always 0 on Linux."),
		files:       gauge("files", "Filesystem total file nodes."),
		filesFree:   gauge("files_free", "Filesystem total free file nodes."),
		readonly:    gauge("readonly", "Filesystem read-only status."),
		deviceError: gauge("device_error", "Whether an error occurred while getting statistics for the given device."),
		info: metric.NewGauge("node_filesystem_mount_info", "Filesystem mount information.",
			"device", "major", "minor", "mountpoint"),
	}
}

// Families implements collect.Collector.
func (c *filesystem) Families() []*metric.Family {
	return []*metric.Family{c.size, c.free, c.avail, c.purgeable, c.files, c.filesFree, c.readonly, c.deviceError, c.info}
}

// Collect implements collect.Collector.
func (c *filesystem) Collect(ctx context.Context, b *metric.Batch) error {
	err := c.read()
	for i, result := range c.prober.probe(ctx, c.paths) {
		c.add(b, &c.mounts[i], result)
	}
	return err
}

// read brings c.mounts and c.paths to the mounts of process 1, which sees those
// of the host, or to our own where that is hidden. Most often nothing was
// mounted since the scrape before, and there is nothing to parse.
func (c *filesystem) read() error {
	path := c.options.procPath("1", "mountinfo")
	data, err := c.reader.read(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		path = c.options.procPath("self", "mountinfo")
		data, err = c.reader.read(path)
	}
	if err == nil && len(c.text) > 0 && bytes.Equal(data, c.text) {
		return nil
	}
	c.text, c.mounts, c.paths = c.text[:0], c.mounts[:0], c.paths[:0]
	if err != nil {
		return err
	}
	c.mounts, err = parseMountinfo(path, data, c.mounts)
	c.choose()
	if err == nil {
		c.text = append(c.text, data...)
	}
	return err
}

// choose keeps the wanted of c.mounts, each series once. Of several mounts on one
// another the last is the one that can be seen.
func (c *filesystem) choose() {
	type series struct{ device, point, fsType string }
	seen := make(map[series]int, len(c.mounts))
	kept := c.mounts[:0]
	for _, m := range c.mounts {
		m.point = stripRoot(m.point, c.options.Rootfs)
		if !c.points.pass([]byte(m.point)) || !c.types.pass([]byte(m.fsType)) {
			continue
		}
		key := series{m.device, m.point, m.fsType}
		if i, ok := seen[key]; ok {
			kept[i] = m
			continue
		}
		seen[key] = len(kept)
		kept = append(kept, m)
	}
	c.mounts = kept
	for i := range kept {
		c.paths = append(c.paths, filepath.Join(c.options.Rootfs, kept[i].point))
	}
}

// stripRoot gives a mount point as the host sees it, when mountinfo is that of
// a container that has the host's root at a path of its own.
func stripRoot(point, root string) string {
	root = strings.TrimSuffix(root, "/")
	rest, ok := strings.CutPrefix(point, root)
	switch {
	case !ok || rest != "" && rest[0] != '/':
		return point
	case rest == "":
		return "/"
	default:
		return rest
	}
}

func (c *filesystem) add(b *metric.Batch, m *mount, r probeResult) {
	readonly, failed, text := 0.0, 0.0, ""
	if m.readOnly {
		readonly = 1
	}
	if r.err != nil {
		failed, text = 1, r.err.Error()
	}
	b.Add(c.deviceError, failed, m.device, m.point, m.fsType, text)
	b.Add(c.readonly, readonly, m.device, m.point, m.fsType, text)
	if r.err != nil {
		return
	}
	block := float64(r.stat.Bsize)
	b.Add(c.size, float64(r.stat.Blocks)*block, m.device, m.point, m.fsType, "")
	b.Add(c.free, float64(r.stat.Bfree)*block, m.device, m.point, m.fsType, "")
	b.Add(c.avail, float64(r.stat.Bavail)*block, m.device, m.point, m.fsType, "")
	b.Add(c.purgeable, 0, m.device, m.point, m.fsType, "") // no kernel call tells it, but node_exporter has it since 1.11
	b.Add(c.files, float64(r.stat.Files), m.device, m.point, m.fsType, "")
	b.Add(c.filesFree, float64(r.stat.Ffree), m.device, m.point, m.fsType, "")
	b.Add(c.info, 1, m.device, m.major, m.minor, m.point)
}
